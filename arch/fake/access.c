/* SPDX-License-Identifier: MIT */
/*
 * What a compiler calls for -fsanitize=thread, answered by the fake machine instead of a
 * sanitizer's library: each access of the core and of kernel/ is a point, where by the seed an
 * interrupt arrives. Linked only to code that was compiled so (meson.build: x86_64-eyes).
 *
 * Races. An interrupt at a point may let other tasks run before the access is made. Meanwhile the
 * access stands in a table of watches, and whoever makes one that is in conflict with it is told:
 * nothing orders the two. Two accesses are in conflict if they overlap, one is a store, and not
 * both are marked: atomic or volatile (READ_ONCE). A load that found the same bytes in the end as
 * it would have at first is not told of. The interrupt itself counts as another task.
 *
 * Watches lie in a table by their cache line, one for each place, so that an access looks at one
 * word; a second one with the same place is not watched.
 *
 * Releases. Only one of the host's threads runs at a time, so nothing is ever reordered, and that a
 * store should have been a release is not seen by what it does. It is seen by what went before: with
 * watch_races, a task that took a word by an exchange which acquires (as it does a lock) and stores to
 * it next by a relaxed one is told of.
 *
 * Data of one CPU: what fake_per_cpu() named is looked at in each access.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/fake/access.h"
#include "arch/fake/machine.h"

#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* the compiler alone calls __tsan_* */

#define WATCHES	   256u
#define LINE_SHIFT 6
#define PIECE	   8u  /* the most that is watched of one access */
#define FRAMES	   12  /* callers told of */
#define PAIRS	   512 /* races told of, each once */
#define RANGES	   64
#define WORDS	   1024u /* that were taken */

enum how { LOAD = 0, STORE = 1, MARKED = 2 };

struct stack {
	uintptr_t pc[FRAMES];
};

struct watch {
	uintptr_t line; /* address >> LINE_SHIFT; 0: unused */
	uintptr_t addr;
	unsigned size, how;
	struct stack at;
	bool met; /* a store of another that is in conflict with our load */
	unsigned met_size, met_how;
	struct stack met_at;
};

struct range {
	uintptr_t start, end;
	int cpu;
};

static struct watch watches[WATCHES];
static uintptr_t unwatched_start, unwatched_end;
static struct range ranges[RANGES];
static unsigned nranges;
static uintptr_t ranges_start, ranges_end; /* around all of them */
static struct taken {
	uintptr_t addr; /* 0: unused */
	const void *by;
} taken[WORDS]; /* each at the place of its hash */
static uintptr_t told[PAIRS][2];
static unsigned ntold;

/* ---- telling --------------------------------------------------------------------------------- */

/* The callers by their frame pointers, which all of this build has; the first is given. */
static void take_stack(struct stack *s, uintptr_t pc, const void *frame)
{
	const uintptr_t *fp = frame;

	memset(s, 0, sizeof(*s));
	s->pc[0] = pc;
	for (unsigned n = 1; n < FRAMES; n++) {
		const uintptr_t *up = (const uintptr_t *)fp[0];

		if (up <= fp || (uintptr_t)up - (uintptr_t)fp > 1u << 16 || (uintptr_t)up % 8)
			break;
		s->pc[n] = up[1];
		fp = up;
	}
}

/* Names of up to n callers, as binutils know them; the bare addresses where they are missing. */
static void name_stack(const struct stack *s, char *buf, size_t size, unsigned n)
{
	char command[640], exe[200], line[256];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int at = 0, to = 0;
	FILE *f;

	exe[len > 0 ? len : 0] = 0;
	at = snprintf(command, sizeof(command), "addr2line -fpse '%s'", exe);
	for (unsigned i = 0; i < n && s->pc[i]; i++)
		at += snprintf(command + at, sizeof(command) - at, " %#lx",
			       (unsigned long)s->pc[i] - 1);
	snprintf(command + at, sizeof(command) - at, " 2>/dev/null");
	f = popen(command, "r");
	for (unsigned i = 0; i < n && s->pc[i]; i++) {
		if (!f || !fgets(line, sizeof(line), f))
			snprintf(line, sizeof(line), "%s+%#lx", exe, (unsigned long)s->pc[i]);
		line[strcspn(line, "\n")] = 0;
		to += snprintf(buf + to, to < size ? size - to : 0, "%s%s", i ? " < " : "", line);
		if (to >= size)
			break;
	}
	if (f)
		pclose(f);
}

static const char *how_name(unsigned how)
{
	static const char *const names[] = {"load", "store", "marked load", "marked store"};

	return names[how & 3];
}

/* The first time that these two meet. */
static bool news(uintptr_t a, uintptr_t b)
{
	for (unsigned i = 0; i < ntold; i++)
		if ((told[i][0] == a && told[i][1] == b) || (told[i][0] == b && told[i][1] == a))
			return false;
	if (ntold < PAIRS) {
		told[ntold][0] = a;
		told[ntold++][1] = b;
	}
	return true;
}

static void tell_race(const struct watch *w, unsigned size, unsigned how, const struct stack *s)
{
	char mine[2048], other[2048];
	bool irqs_off = self.irqs_off;

	if (!news(w->at.pc[0], s->pc[0]))
		return;
	self.irqs_off = true;
	name_stack(&w->at, mine, sizeof(mine), FRAMES);
	name_stack(s, other, sizeof(other), FRAMES);
	fprintf(stderr,
		"data race at %#lx: %s of %u bytes\n\tby  %s\n\tbefore a %s of %u bytes\n\tby  %s\n",
		(unsigned long)w->addr, how_name(how), size, other, how_name(w->how), w->size, mine);
	name_stack(&w->at, mine, sizeof(mine), 1);
	name_stack(s, other, sizeof(other), 1);
	fake_accuse(FAKE_RACE, "%s by %.200s, before a %s by %.200s", how_name(how), other,
		    how_name(w->how), mine);
	self.irqs_off = irqs_off;
}

/* ---- watches --------------------------------------------------------------------------------- */

static struct watch *watch_of(uintptr_t line)
{
	return &watches[(line ^ line >> 8) % WATCHES];
}

static __attribute__((noinline)) void meet(struct watch *w, uintptr_t a, size_t size, unsigned how,
					   uintptr_t pc, const void *frame)
{
	struct stack s;

	if (a >= w->addr + w->size || a + size <= w->addr || (how & w->how & MARKED) ||
	    !((how | w->how) & STORE))
		return;
	take_stack(&s, pc, frame);
	if (w->how & STORE) {
		tell_race(w, size, how, &s);
	} else if (!w->met) {
		w->met = true;
		w->met_size = size;
		w->met_how = how;
		w->met_at = s;
	}
}

/* The lines beyond the first of an access that crosses a border. */
static __attribute__((noinline)) void look_on(uintptr_t a, size_t size, unsigned how, uintptr_t pc,
					      const void *frame)
{
	for (uintptr_t line = (a >> LINE_SHIFT) + 1; line <= (a + size - 1) >> LINE_SHIFT; line++) {
		struct watch *w = watch_of(line);

		if (w->line == line)
			meet(w, a, size, how, pc, frame);
	}
}

void fake_unwatched(const void *p, size_t n)
{
	unwatched_start = (uintptr_t)p;
	unwatched_end = unwatched_start + n;
}

static bool on_own_stack(uintptr_t a)
{
	static __thread uintptr_t start, end;
	uintptr_t from, to;

	if (fake_turn_stack(&from, &to))
		return a >= from && a < to;
	if (!end) {
		pthread_attr_t attr;
		void *base;
		size_t size;

		if (pthread_getattr_np(pthread_self(), &attr))
			return true;
		pthread_attr_getstack(&attr, &base, &size);
		pthread_attr_destroy(&attr);
		start = (uintptr_t)base;
		end = start + size;
	}
	return a >= start && a < end;
}

/* The interrupt, with the access watched. */
static __attribute__((noinline)) void interrupt_before(uintptr_t a, size_t size, unsigned how,
						       uintptr_t pc, const void *frame)
{
	unsigned n = size < PIECE ? size : PIECE;
	uint64_t before = 0, after = 0;
	struct watch *w;

	if (size > PIECE) /* one of its pieces */
		a += machine.point_gap % (size / PIECE) * PIECE;
	w = watch_of(a >> LINE_SHIFT);
	if (!machine.cfg.watch_races || w->line || a >> LINE_SHIFT != (a + n - 1) >> LINE_SHIFT ||
	    (a >= unwatched_start && a < unwatched_end) || on_own_stack(a)) {
		fake_interrupt();
		return;
	}
	*w = (struct watch){.addr = a, .size = n, .how = how};
	take_stack(&w->at, pc, frame);
	memcpy(&before, (const void *)a, n);
	w->line = a >> LINE_SHIFT;
	fake_interrupt();
	w->line = 0;
	if (!w->met)
		return;
	memcpy(&after, (const void *)a, n);
	if (before != after)
		tell_race(w, w->met_size, w->met_how, &w->met_at);
}

/* ---- releases -------------------------------------------------------------------------------- */

static __attribute__((noinline)) void tell_relaxed(size_t size, uintptr_t pc, const void *frame)
{
	struct stack s;
	char by[2048];

	if (!news(pc, 0))
		return;
	take_stack(&s, pc, frame);
	name_stack(&s, by, sizeof(by), FRAMES);
	fake_accuse(FAKE_RELAXED, "%zu bytes that were acquired are let go without a release: %.400s",
		    size, by);
}

/* The context that runs, or its thread. */
static const void *who(void)
{
	return self.context ? (const void *)self.context : &self;
}

/* An atomic store, or an exchange that took place: is it how a word is taken, or let go? */
static inline void exchanged(const volatile void *p, size_t size, int order, const void *pc,
			     const void *frame)
{
	uintptr_t a = (uintptr_t)p;
	struct taken *t = &taken[(a >> 2 ^ a >> 12) % WORDS];

	if (!machine.cfg.watch_races)
		return;
	if (order == __ATOMIC_ACQUIRE) {
		*t = (struct taken){a, who()};
	} else if (t->addr == a) {
		if (order == __ATOMIC_RELAXED && t->by == who())
			tell_relaxed(size, (uintptr_t)pc, frame);
		t->addr = 0;
	}
}

/* Another atomic change: a count that releases lets go too, and its memory may be somebody else's next. */
static inline void changed(const volatile void *p, int order)
{
	uintptr_t a = (uintptr_t)p;
	struct taken *t = &taken[(a >> 2 ^ a >> 12) % WORDS];

	if (machine.cfg.watch_races && order >= __ATOMIC_RELEASE && t->addr == a)
		t->addr = 0;
}

#define EXCHANGED(p, size, order) \
	exchanged(p, size, order, __builtin_return_address(0), __builtin_frame_address(0))

/* ---- data of one CPU ------------------------------------------------------------------------- */

void fake_per_cpu(const void *p, size_t n, int cpu)
{
	uintptr_t a = (uintptr_t)p;
	unsigned i;

	for (i = 0; i < nranges && ranges[i].start != a; i++)
		;
	if (cpu < 0) {
		if (i < nranges)
			ranges[i] = ranges[--nranges];
		return;
	}
	if (i == RANGES) {
		fake_accuse(FAKE_BAD_CALL, "fake_per_cpu: more than %u ranges", RANGES);
		return;
	}
	nranges += i == nranges;
	ranges[i] = (struct range){a, a + n, cpu};
	if (nranges == 1) {
		ranges_start = a;
		ranges_end = a + n;
	}
	ranges_start = a < ranges_start ? a : ranges_start;
	ranges_end = a + n > ranges_end ? a + n : ranges_end;
}

static __attribute__((noinline)) void look_per_cpu(uintptr_t a, size_t size, uintptr_t pc,
						   const void *frame)
{
	for (unsigned i = 0; i < nranges; i++) {
		const struct range *r = &ranges[i];
		struct stack s;
		char by[2048];

		if (a + size <= r->start || a >= r->end ||
		    (r->cpu == self.cpu && (self.irqs_off || self.in_irq)))
			continue;
		take_stack(&s, pc, frame);
		name_stack(&s, by, sizeof(by), FRAMES);
		fake_accuse(FAKE_PER_CPU, "CPU %u, interrupts %s, touches CPU %d's: %.400s",
			    self.cpu, self.irqs_off ? "off" : "on", r->cpu, by);
	}
}

void fake_forget_accesses(void)
{
	memset(watches, 0, sizeof(watches));
	memset(taken, 0, sizeof(taken));
	nranges = ntold = 0;
}

/* ---- an access ------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) void seen(const volatile void *p, size_t size,
						       unsigned how, const void *pc,
						       const void *frame)
{
	uintptr_t a = (uintptr_t)p, line = a >> LINE_SHIFT;
	struct watch *w = watch_of(line);

	if (__builtin_expect(w->line == line, 0))
		meet(w, a, size, how, (uintptr_t)pc, frame);
	if (__builtin_expect(size > 1 && line != (a + size - 1) >> LINE_SHIFT, 0))
		look_on(a, size, how, (uintptr_t)pc, frame);
	if (__builtin_expect(nranges && !(how & MARKED) && a < ranges_end && a + size > ranges_start,
			     0))
		look_per_cpu(a, size, (uintptr_t)pc, frame);
	if (machine.cfg.shared_points && !(how & MARKED) &&
	    (a < machine.layout.vmemmap_base || a >= machine.layout.vmemmap_end))
		return;
	if (fake_point())
		interrupt_before(a, size, how, (uintptr_t)pc, frame);
}

#define SEEN(p, size, how) \
	seen(p, size, how, __builtin_return_address(0), __builtin_frame_address(0))

#define PLAIN(n)                                              \
	void __tsan_read##n(void *p)                          \
	{                                                     \
		SEEN(p, n, LOAD);                             \
	}                                                     \
	void __tsan_write##n(void *p)                         \
	{                                                     \
		SEEN(p, n, STORE);                            \
	}                                                     \
	void __tsan_unaligned_read##n(void *p)                \
	{                                                     \
		SEEN(p, n, LOAD);                             \
	}                                                     \
	void __tsan_unaligned_write##n(void *p)               \
	{                                                     \
		SEEN(p, n, STORE);                            \
	}                                                     \
	void __tsan_volatile_read##n(void *p)                 \
	{                                                     \
		SEEN(p, n, LOAD | MARKED);                    \
	}                                                     \
	void __tsan_volatile_write##n(void *p)                \
	{                                                     \
		SEEN(p, n, STORE | MARKED);                   \
	}                                                     \
	void __tsan_unaligned_volatile_read##n(void *p)       \
	{                                                     \
		SEEN(p, n, LOAD | MARKED);                    \
	}                                                     \
	void __tsan_unaligned_volatile_write##n(void *p)      \
	{                                                     \
		SEEN(p, n, STORE | MARKED);                   \
	}
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *p, long n)
{
	if (n > 0)
		SEEN(p, n, LOAD);
}

void __tsan_write_range(void *p, long n)
{
	if (n > 0)
		SEEN(p, n, STORE);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
}

void __tsan_func_exit(void)
{
}

#define FETCH(bits, type, name, op)                                          \
	type __tsan_atomic##bits##_##name(volatile type *p, type v, int mo)  \
	{                                                                    \
		SEEN(p, sizeof(type), STORE | MARKED);                       \
		changed(p, mo);                                              \
		return op(p, v, __ATOMIC_SEQ_CST);                           \
	}

#define COMPARE(bits, type, strength)                                                             \
	bool __tsan_atomic##bits##_compare_exchange_##strength(volatile type *p, type *old, type v, \
							       int mo, int fail)                  \
	{                                                                                         \
		SEEN(p, sizeof(type), STORE | MARKED);                                            \
		if (!__atomic_compare_exchange_n(p, old, v, false, __ATOMIC_SEQ_CST,              \
						 __ATOMIC_SEQ_CST))                               \
			return false;                                                             \
		EXCHANGED(p, sizeof(type), mo);                                                   \
		return true;                                                                      \
	}

#define ATOMIC(bits, type)                                                    \
	type __tsan_atomic##bits##_load(const volatile type *p, int mo)       \
	{                                                                     \
		SEEN(p, sizeof(type), LOAD | MARKED);                         \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);                  \
	}                                                                     \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int mo)    \
	{                                                                     \
		SEEN(p, sizeof(type), STORE | MARKED);                        \
		EXCHANGED(p, sizeof(type), mo);                               \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST);                     \
	}                                                                     \
	type __tsan_atomic##bits##_exchange(volatile type *p, type v, int mo) \
	{                                                                     \
		SEEN(p, sizeof(type), STORE | MARKED);                        \
		EXCHANGED(p, sizeof(type), mo);                               \
		return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);           \
	}                                                                     \
	FETCH(bits, type, fetch_add, __atomic_fetch_add)                      \
	FETCH(bits, type, fetch_sub, __atomic_fetch_sub)                      \
	FETCH(bits, type, fetch_and, __atomic_fetch_and)                      \
	FETCH(bits, type, fetch_or, __atomic_fetch_or)                        \
	FETCH(bits, type, fetch_xor, __atomic_fetch_xor)                      \
	FETCH(bits, type, fetch_nand, __atomic_fetch_nand)                    \
	COMPARE(bits, type, strong)                                           \
	COMPARE(bits, type, weak)
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int mo)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void __tsan_atomic_signal_fence(int mo)
{
}

/* ---- memory functions, which access.h puts in the place of the library's --------------------- */

void *fake_memset(void *p, int c, size_t n)
{
	if (n)
		SEEN(p, n, STORE);
	return memset(p, c, n);
}

static inline __attribute__((always_inline)) void seen_copy(void *dst, const void *src, size_t n,
							    const void *pc, const void *frame)
{
	if (!n)
		return;
	seen(src, n, LOAD, pc, frame);
	seen(dst, n, STORE, pc, frame);
}

void *fake_memcpy(void *dst, const void *src, size_t n)
{
	seen_copy(dst, src, n, __builtin_return_address(0), __builtin_frame_address(0));
	return memcpy(dst, src, n);
}

void *fake_memmove(void *dst, const void *src, size_t n)
{
	seen_copy(dst, src, n, __builtin_return_address(0), __builtin_frame_address(0));
	return memmove(dst, src, n);
}

int fake_memcmp(const void *a, const void *b, size_t n)
{
	if (n) {
		SEEN(a, n, LOAD);
		SEEN(b, n, LOAD);
	}
	return memcmp(a, b, n);
}
