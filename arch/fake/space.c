/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's address spaces and live entries (hal_space_*, hal_pte_*), user accesses
 * through the walker, and copies between the kernel and user memory, which go the same way.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/fake/arch.h"
#include "arch/fake/machine.h"
#include "lib/lockdep.h"

/* Refusals of one access before it is called a livelock; the core resolves any fault in a few. */
#define FAULT_LIMIT 200

/* ---- live entries ---------------------------------------------------------------------------- */

pteval_t hal_pte_xchg(pteval_t *p, pteval_t v)
{
	pteval_t old;

	fake_cross();
	fake_lock();
	old = __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
	books_entry_changed(p, old, v);
	fake_unlock();
	return old;
}

void hal_pte_set(pteval_t *p, pteval_t v)
{
	pteval_t old;

	fake_cross();
	fake_lock();
	old = __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
	books_plain_store(p, old, v);
	books_entry_changed(p, old, v);
	fake_unlock();
}

pteval_t hal_pte_cmpxchg(pteval_t *p, pteval_t old, pteval_t v)
{
	pteval_t seen = old;

	fake_cross();
	fake_lock();
	if (__atomic_compare_exchange_n(p, &seen, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		books_entry_changed(p, old, v);
	fake_unlock();
	return seen;
}

static bool leaf_like(struct pte_desc d)
{
	return d.kind == PTE_LEAF || d.kind == PTE_PROTNONE;
}

pteval_t hal_pte_clear_accessed(pteval_t *p, unsigned level)
{
	pteval_t old = hal_pte_get(p), seen;

	for (;; old = seen) {
		struct pte_desc d = arch_pte_decode(old, level);

		if (!leaf_like(d) || !d.accessed)
			return old;
		d.accessed = false;
		seen = hal_pte_cmpxchg(p, old, arch_pte_encode(d, level));
		if (seen == old)
			return old;
	}
}

pteval_t hal_pte_wrprotect(pteval_t *p, unsigned level)
{
	pteval_t old = hal_pte_get(p), seen;

	for (;; old = seen) {
		struct pte_desc d = arch_pte_decode(old, level);

		if (d.kind != PTE_LEAF || !d.w)
			return old;
		d.w = false;
		seen = hal_pte_cmpxchg(p, old, arch_pte_encode(d, level));
		if (seen == old)
			return old;
	}
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static bool table_is_zero(pfn_t pfn)
{
	const uint64_t *w = hal_phys_to_virt(pfn.n << ARCH_PAGE_SHIFT);

	for (unsigned i = 0; i < FAKE_INDEX; i++)
		if (w[i])
			return false;
	return true;
}

int hal_space_init(struct arch_space *as, pfn_t root, bool user)
{
	struct fake_space *s;

	if (!fake_frame(root.n) || !table_is_zero(root)) {
		fake_accuse(FAKE_BAD_CALL, "hal_space_init: root pfn %#llx is no zeroed page of RAM",
			    (unsigned long long)root.n);
		return -12;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -12;
	*s = (struct fake_space){.arch = as, .root = root, .user = user};
	*as = (struct arch_space){.root = root, .user = user, .fs = s};
	fake_lock();
	s->next = machine.spaces;
	machine.spaces = s;
	books_link_root(s);
	fake_unlock();
	return 0;
}

/* CPUs other than ours that run the space or, if so asked, hold translations of it. */
static uint64_t others_of(const struct fake_space *s, bool holders)
{
	uint64_t cpus = 0;

	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if (cpu != self.cpu && (machine.cpu[cpu].space == s || (holders && s->tlb[cpu].n)))
			cpus |= 1ull << cpu;
	return cpus;
}

static void leave_space(void *arg)
{
	if (fake_cpu()->space == arg)
		hal_space_switch(NULL);
}

void hal_space_destroy(struct arch_space *as)
{
	struct fake_space *s = as->fs, **p;

	if (!s) {
		fake_accuse(FAKE_BAD_CALL, "hal_space_destroy: not a space, or destroyed twice");
		return;
	}
	if (machine.in_turns)
		fake_call_cpus(others_of(s, false), leave_space, s);
	fake_lock();
	tags_give_up(s);
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		if (machine.cpu[cpu].space == s) {
			/* a lazy CPU is moved to the kernel's own space by the machine */
			machine.cpu[cpu].space = NULL;
			__atomic_store_n(&mmu_running[cpu], NULL, __ATOMIC_SEQ_CST);
		}
		free(s->tlb[cpu].bucket);
		s->tlb[cpu] = (struct tlb){0};
	}
	books_unlink_root(s);
	for (p = &machine.spaces; *p != s; p = &(*p)->next)
		;
	*p = s->next;
	fake_unlock();
	free(s);
	as->fs = NULL;
}

void hal_space_switch(struct arch_space *as)
{
	struct fake_space *s = as ? as->fs : NULL;
	struct cpu *c = fake_cpu();

	if (!self.irqs_off)
		fake_accuse(FAKE_CONTEXT, "hal_space_switch with interrupts on");
	if (as && !s)
		fake_accuse(FAKE_BAD_CALL, "hal_space_switch to a space that is none");
	if (c->space == s)
		return;
	machine.count.switches++;
	tags_switch(as);
}

void hal_pt_published(struct arch_space *as, uintptr_t va)
{
	struct fake_space *s = as->fs;

	if (!s)
		return;
	fake_cross();
	fake_lock();
	machine.count.published++;
	tlb_flush_range(s, self.cpu, va, va, 0, CACHED_ABSENT);
	for (unsigned level = 0; machine.cfg.caches_invalid && level < machine.mmu.levels; level++)
		tlb_flush_range(s, self.cpu, va, va, level, CACHED_LEAF);
	fake_unlock();
}

struct flush {
	struct fake_space *s;
	uintptr_t start, last;
	unsigned level;
	bool freed_tables;
};

/* Removes exactly what was asked for: the leaves of that level, and everything else in the range
 * only if tables were taken away. Lock held. */
static void flush_cpu(const struct flush *f, unsigned cpu)
{
	if (f->freed_tables) {
		machine.count.flushed += tlb_flush_range(f->s, cpu, f->start, f->last, -1, 0);
		return;
	}
	machine.count.flushed += tlb_flush_range(f->s, cpu, f->start, f->last, f->level, CACHED_LEAF);
	if (f->level == 0)
		tlb_flush_range(f->s, cpu, f->start, f->last, 0, CACHED_ABSENT);
}

static void flush_called(void *arg)
{
	fake_lock();
	flush_cpu(arg, self.cpu);
	fake_unlock();
}

/* Where the CPUs take turns the others flush when they take the call, and read through what they hold
 * until then; else all do it now. */
void hal_tlb_flush(struct arch_space *as, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables)
{
	struct fake_space *s = as->fs;
	struct flush f = {s, start, end - 1, level, freed_tables};
	uint64_t others;

	if (!s || start >= end || level >= machine.mmu.levels) {
		if (s && start == end)
			return;
		fake_accuse(FAKE_BAD_CALL, "hal_tlb_flush(%#lx-%#lx, level %u)",
			    (unsigned long)start, (unsigned long)end, level);
		return;
	}
	lockdep_waits_for_cpus();
	if (self.irqs_off && others_of(s, false))
		fake_accuse(FAKE_IPI_IRQS_OFF, "hal_tlb_flush(%#lx-%#lx) with interrupts off while "
			    "another CPU runs the space", (unsigned long)start, (unsigned long)end);
	fake_lock();
	machine.count.flushes++;
	others = tags_flush(s, f.start, f.last);
	flush_cpu(&f, self.cpu);
	for (unsigned cpu = 0; cpu < machine.cfg.cpus && (!machine.in_turns || self.irqs_off); cpu++)
		if (others >> cpu & 1)
			flush_cpu(&f, cpu);
	others &= others_of(s, true);
	fake_unlock();
	if (machine.in_turns && !self.irqs_off)
		fake_call_cpus(others, flush_called, &f);
}

/* ---- user accesses --------------------------------------------------------------------------- */

void fake_on_fault(fake_fault_fn fn, void *ctx)
{
	machine.on_fault = fn;
	machine.fault_ctx = ctx;
}

/* What the processor itself says about a fault, in the neutral layout. */
static void describe(struct fault_info *fi, uintptr_t va, enum fault_access access, bool user,
		     const struct walk *w)
{
	*fi = (struct fault_info){
		.addr = va,
		.access = access,
		.kind = w->fault,
		.user = user,
		.fixup = user ? 0 : 1,
		.raw_code = (w->present ? FAULT_CODE_PRESENT : 0) |
			    (access == FAULT_WRITE ? FAULT_CODE_WRITE : 0) |
			    (user ? FAULT_CODE_USER : 0) |
			    (w->fault == FAULT_CORRUPT ? FAULT_CODE_RSVD : 0) |
			    (access == FAULT_FETCH ? FAULT_CODE_FETCH : 0),
		/* a cached absent entry says "not present" of what may be present by now */
		.raw_mask = 0x1f & ~(machine.cfg.caches_invalid ? FAULT_CODE_PRESENT : 0),
	};
}

/* An access that is allowed and faults all the same, as processors may. */
static bool spurious(bool user)
{
	if (!user || !machine.cfg.spurious_every)
		return false;
	return ++self.access % machine.cfg.spurious_every == 0;
}

static void mark_written(phys_addr_t pa)
{
	struct frame *f = fake_frame(pa >> ARCH_PAGE_SHIFT);

	if (f)
		f->by_user = true;
}

/* One attempt. true: *pa is where to go, and the machine stays locked: a flush by another CPU waits for
 * an access that is under way, as it does on any machine. */
static bool attempt(uintptr_t va, enum fault_access access, bool user, phys_addr_t *pa,
		    struct fault_info *fi)
{
	struct fake_space *s;
	struct walk w = {.fault = FAULT_TRANSLATION};
	bool ok = false;

	fake_lock();
	s = fake_cpu()->space;
	if (s) {
		if (user)
			books_check_stale(s, FAKE_STALE_USER, "user mode runs");
		ok = fake_walk(s, self.cpu, va, access, user, &w);
	}
	if (ok && spurious(user)) {
		machine.count.spurious++;
		w.fault = FAULT_TRANSLATION;
		w.present = true;
		ok = false;
	}
	if (ok && access == FAULT_WRITE)
		mark_written(w.pa);
	if (!ok)
		machine.count.faults++;
	*pa = w.pa;
	describe(fi, va, access, user, &w);
	if (!ok)
		fake_unlock();
	return ok;
}

/* Whether the address still leads there. Machine locked. */
static bool still_leads_to(uintptr_t va, enum fault_access access, phys_addr_t pa)
{
	struct fake_space *s = fake_cpu()->space;
	struct walk w = {.fault = FAULT_TRANSLATION};

	return s && fake_walk(s, self.cpu, va, access, true, &w) && w.pa == pa;
}

/* Translates one address, resolving faults. True: the caller makes the access with the result, and
 * unlocks the machine. */
static bool resolve(uintptr_t va, enum fault_access access, bool user, phys_addr_t *pa,
		    struct fault_info *fi)
{
	for (unsigned n = 0; !attempt(va, access, user, pa, fi); n++) {
		if (n == FAULT_LIMIT) {
			fake_accuse(FAKE_LIVELOCK, "access %d of %#lx faulted %u times in a row",
				    access, (unsigned long)va, n);
			return false;
		}
		if (!machine.on_fault || !machine.on_fault(fi, machine.fault_ctx))
			return false;
	}
	return true;
}

/* An access of width bytes: every page of it is translated before any byte moves. */
static bool user_access(uintptr_t va, unsigned width, enum fault_access access, uint64_t *value,
			struct fault_info *out)
{
	struct fault_info fi;
	phys_addr_t first, second = 0;
	unsigned here = FAKE_PAGE - (va & (FAKE_PAGE - 1));
	bool ok;

	fake_poll();
	if (here > width)
		here = width;
	ok = resolve(va, access, true, &first, &fi);
	while (ok && here < width) {
		fake_unlock();
		ok = resolve(va + here, access, true, &second, &fi);
		if (!ok)
			break;
		fake_unlock();
		ok = resolve(va, access, true, &first, &fi);
		if (!ok || still_leads_to(va + here, access, second))
			break;
	}
	if (!ok) {
		if (out)
			*out = fi;
		return false;
	}
	for (unsigned i = 0; i < width; i++) {
		unsigned char *b = hal_phys_to_virt(i < here ? first + i : second + i - here);

		if (access == FAULT_WRITE)
			__atomic_store_n(b, (unsigned char)(*value >> 8 * i), __ATOMIC_RELAXED);
		else if (access == FAULT_FETCH)
			*value = (i ? *value : 0) |
				 (uint64_t)tags_fetch((uintptr_t)b - fake_direct_base) << 8 * i;
		else
			*value = (i ? *value : 0) |
				 (uint64_t)__atomic_load_n(b, __ATOMIC_RELAXED) << 8 * i;
	}
	fake_unlock();
	return true;
}

bool fake_user_load(uintptr_t va, unsigned width, uint64_t *value, struct fault_info *fi)
{
	return user_access(va, width, FAULT_READ, value, fi);
}

bool fake_user_store(uintptr_t va, unsigned width, uint64_t value, struct fault_info *fi)
{
	return user_access(va, width, FAULT_WRITE, &value, fi);
}

bool fake_user_fetch(uintptr_t va, unsigned width, uint64_t *value, struct fault_info *fi)
{
	return user_access(va, width, FAULT_FETCH, value, fi);
}

/* By the live tables alone. */
static phys_addr_t live_phys(uintptr_t va, struct pte_desc *d)
{
	struct fake_space *s = fake_cpu()->space;
	unsigned level;

	*d = (struct pte_desc){0};
	if (!s)
		return UINT64_MAX;
	*d = fake_live_leaf(s, va, &level);
	if (d->kind != PTE_LEAF)
		return UINT64_MAX;
	return (d->pfn.n << ARCH_PAGE_SHIFT) + (va & (fake_entry_size(level) - 1));
}

phys_addr_t fake_user_phys(uintptr_t va)
{
	struct pte_desc d;
	phys_addr_t pa;

	fake_lock();
	pa = live_phys(va, &d);
	fake_unlock();
	return pa;
}

/* ---- copies with fix-up ---------------------------------------------------------------------- */

/* User copies may fault, so they may sleep: not inside hal_irq_save(), not under a spinlock; nor with
 * a mutex, which whoever ends the sleep may need. */
static void check_may_sleep(const char *who)
{
	if (self.irq_depth)
		fake_accuse(FAKE_CONTEXT, "%s inside hal_irq_save()", who);
	else if (lockdep_held())
		fake_accuse(FAKE_CONTEXT, "%s under a spinlock", who);
	else if (lockdep_mutexes_held())
		fake_accuse(FAKE_CONTEXT, "%s with a mutex", who);
}

enum copy { COPY_IN, COPY_OUT, COPY_ZERO };

static size_t user_copy(enum copy how, uintptr_t user, char *kernel, size_t n)
{
	enum fault_access access = how == COPY_IN ? FAULT_READ : FAULT_WRITE;

	if (user >= machine.mmu.user_end || n > machine.mmu.user_end - user)
		return n;
	while (n) {
		size_t chunk = FAKE_PAGE - (user & (FAKE_PAGE - 1));
		struct fault_info fi;
		phys_addr_t pa;

		if (chunk > n)
			chunk = n;
		if (!resolve(user, access, false, &pa, &fi))
			return n;
		if (how == COPY_IN)
			memcpy(kernel, hal_phys_to_virt(pa), chunk);
		else if (how == COPY_OUT)
			memcpy(hal_phys_to_virt(pa), kernel, chunk);
		else
			memset(hal_phys_to_virt(pa), 0, chunk);
		fake_unlock();
		user += chunk;
		kernel += how == COPY_ZERO ? 0 : chunk;
		n -= chunk;
	}
	return 0;
}

size_t hal_copy_from_user(void *dst, uintptr_t src, size_t n)
{
	check_may_sleep("hal_copy_from_user");
	return user_copy(COPY_IN, src, dst, n);
}

size_t hal_copy_to_user(uintptr_t dst, const void *src, size_t n)
{
	check_may_sleep("hal_copy_to_user");
	return user_copy(COPY_OUT, dst, (char *)src, n);
}

size_t hal_clear_user(uintptr_t dst, size_t n)
{
	check_may_sleep("hal_clear_user");
	return user_copy(COPY_ZERO, dst, NULL, n);
}
