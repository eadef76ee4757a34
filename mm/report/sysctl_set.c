/* SPDX-License-Identifier: MIT */
/*
 * Reading and setting the tunables of mm/base/sysctl.c, by number and as the text of /proc/sys/vm,
 * and what setting one does beyond keeping the value. A write is taken as Linux 5.10 takes it:
 * numbers in any base of C between white space, as many as the tunable has; what follows them is
 * left unread. A number out of bounds, or none, is EINVAL; of a tunable with several numbers those
 * before the first bad one count, and the write never fails.
 */
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/sysctl.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/migrate/compaction.h"
#include "mm/migrate/migrate.h"
#include "mm/object/writeback.h"
#include "mm/phys/page_alloc.h"
#include "mm/reclaim/vmscan.h"
#include <quire/abi.h>

/* ---- effects --------------------------------------------------------------------------------- */

static void drop_caches(void)
{
	long what = READ_ONCE(vm_sysctl.drop_caches);

	if (what & 1)
		quire_drop_caches();
	if (what & 2)
		drop_slab();
}

static void compact_all(void)
{
	ASSERT(!hal_irqs_off());
	while (compact_memory() == -EBUSY)
		migrate_wait();
}

/* At least a page, at most a table, and a power of two below. */
static int round_window(long *value)
{
	long v = min(max(*value, (long)PAGE_SIZE), (long)(PAGE_SIZE << ARCH_INDEX_BITS));

	while (v & (v - 1))
		v &= v - 1;
	*value = v;
	return 0;
}

static int no_negative_ratios(long *value)
{
	for (unsigned i = 0; i < MAX_NR_ZONES; i++)
		value[i] = max(value[i], 0l);
	return 0;
}

static int at_most_half(long *value)
{
	long kb = (long)(totalram_pages() << (PAGE_SHIFT - 10));

	return *value > kb / 2 ? -EINVAL : 0;
}

/* A value set by hand stays, whatever memory joins later. */
static void keep_min_free(void)
{
	min_free_kbytes_user = true;
	setup_per_zone_wmarks();
}

/* The whole promise or the ratio, never both. */
static void forget_ratio(void)
{
	vm_sysctl.overcommit_ratio = 0;
}

static void forget_kbytes(void)
{
	vm_sysctl.overcommit_kbytes = 0;
}

/* Bytes or a ratio, never both. The limit's other half goes only when this one changes, the background's
 * with each write: so it is in Linux. */
static int one_dirty_limit(long *value)
{
	if (*value == vm_sysctl.dirty_bytes)
		return 0;
	if (*value < 2 * (long)PAGE_SIZE)
		return -EINVAL;
	vm_sysctl.dirty_ratio = 0;
	return 0;
}

static int one_dirty_ratio(long *value)
{
	if (*value != vm_sysctl.dirty_ratio)
		vm_sysctl.dirty_bytes = 0;
	return 0;
}

static void forget_background_ratio(void)
{
	vm_sysctl.dirty_background_ratio = 0;
}

static void forget_background_bytes(void)
{
	vm_sysctl.dirty_background_bytes = 0;
}

static void trace_pages(void)
{
	trace_set_pages(vm_sysctl.trace_pages);
}

static void trace_kmem(void)
{
	trace_set_kmem(vm_sysctl.trace_kmem);
}

static const struct effect {
	const long *of;
	int (*admit)(long *value); /* rounds or refuses what is within the bounds */
	void (*then)(void);	   /* called once the value stands */
	void (*changed)(void);	   /* called then if it is another one than before */
} effects[] = {
	{&vm_sysctl.compact_memory, NULL, compact_all},
	{&vm_sysctl.dirty_background_bytes, NULL, forget_background_ratio},
	{&vm_sysctl.dirty_background_ratio, NULL, forget_background_bytes},
	{&vm_sysctl.dirty_bytes, one_dirty_limit, NULL},
	{&vm_sysctl.dirty_ratio, one_dirty_ratio, NULL},
	{&vm_sysctl.dirty_writeback_centisecs, NULL, NULL, flusher_interval_changed},
	{&vm_sysctl.drop_caches, NULL, drop_caches},
	{&vm_sysctl.fault_around_bytes, round_window, NULL},
	{vm_sysctl.lowmem_reserve_ratio, no_negative_ratios, setup_per_zone_lowmem_reserve},
	{&vm_sysctl.min_free_kbytes, at_most_half, keep_min_free},
	{&vm_sysctl.overcommit_kbytes, NULL, forget_ratio},
	{&vm_sysctl.overcommit_ratio, NULL, forget_kbytes},
	{&vm_sysctl.reclaim_policy, NULL, reclaim_policy_changed},
	{&vm_sysctl.trace_kmem, NULL, trace_kmem},
	{&vm_sysctl.trace_pages, NULL, trace_pages},
	{&vm_sysctl.watermark_scale_factor, NULL, setup_per_zone_wmarks},
};

static const struct effect *effect_of(const struct vm_tunable *t)
{
	static const struct effect none;

	for (unsigned i = 0; i < ARRAY_SIZE(effects); i++)
		if (effects[i].of == t->value)
			return &effects[i];
	return &none;
}

/* All numbers of t, each within its bounds. */
static int commit_values(const struct vm_tunable *t, long *value)
{
	const struct effect *e = effect_of(t);
	int err = e->admit ? e->admit(value) : 0;
	bool changed = *value != *t->value;

	if (err)
		return err;
	for (unsigned i = 0; i < t->shown.count && t->kind != SYSCTL_TRIGGER; i++)
		WRITE_ONCE(t->value[i], value[i]);
	if (e->then)
		e->then();
	if (e->changed && changed)
		e->changed();
	return 0;
}

/* ---- by number ------------------------------------------------------------------------------- */

const struct quire_sysctl *quire_sysctl_at(unsigned i)
{
	const struct vm_tunable *t = vm_tunable_at(i);

	return t ? &t->shown : NULL;
}

int quire_sysctl_get(const char *name, long *value)
{
	const struct vm_tunable *t = vm_tunable_find(name);

	if (!t)
		return -ENOENT;
	*value = *t->value;
	return 0;
}

static bool in_bounds(const struct vm_tunable *t, long value)
{
	return value >= t->shown.low && value <= t->shown.high;
}

int quire_sysctl_set(const char *name, long value)
{
	const struct vm_tunable *t = vm_tunable_find(name);
	long all[QUIRE_SYSCTL_NUMBERS];

	if (!t)
		return -ENOENT;
	if (!in_bounds(t, value))
		return -EINVAL;
	memcpy(all, t->value, t->shown.count * sizeof(long));
	all[0] = value;
	return commit_values(t, all);
}

/* ---- as text --------------------------------------------------------------------------------- */

int quire_sysctl_show(const char *name, quire_emit_fn emit, void *ctx)
{
	const struct vm_tunable *t = vm_tunable_find(name);
	char text[24];

	if (!t)
		return -ENOENT;
	for (unsigned i = 0; i < t->shown.count; i++)
		emit(ctx, text, (size_t)scnprintf(text, sizeof(text), i ? "\t%ld" : "%ld",
						  t->value[i]));
	emit(ctx, "\n", 1);
	return 0;
}

/* Text that is being read. */
struct cursor {
	const char *s, *end;
};

static bool at_space(const struct cursor *c)
{
	return c->s < c->end && (*c->s == ' ' || (*c->s >= '\t' && *c->s <= '\r'));
}

/* Of white space only these end a number. */
static bool at_end(const struct cursor *c)
{
	return c->s == c->end || *c->s == ' ' || *c->s == '\t' || *c->s == '\n';
}

static void skip_space(struct cursor *c)
{
	while (at_space(c))
		c->s++;
}

static unsigned digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return (unsigned)(ch - '0');
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? (unsigned)(ch - 'a') + 10 : 16;
}

/* 0x and 0 as in C. Moves on only past digits. */
static unsigned read_base(struct cursor *c)
{
	if (c->end - c->s < 2 || c->s[0] != '0')
		return 10;
	if ((c->s[1] | 0x20) != 'x')
		return 8;
	c->s += 2;
	return 16;
}

/* One number and the white space before it. */
static int read_number(struct cursor *c, bool *negative, uint64_t *value)
{
	const char *first;
	unsigned base;
	uint64_t v = 0;

	skip_space(c);
	*negative = c->s < c->end && *c->s == '-';
	c->s += *negative;
	base = read_base(c);
	for (first = c->s; c->s < c->end && digit(*c->s) < base; c->s++) {
		if (v > (UINT64_MAX - digit(*c->s)) / base)
			return -EINVAL;
		v = v * base + digit(*c->s);
	}
	if (c->s == first || !at_end(c))
		return -EINVAL;
	*value = v;
	return 0;
}

/* The next number of t into *value; a negative one of a kind that has none leaves it alone. */
static int read_value(struct cursor *c, const struct vm_tunable *t, long *value)
{
	bool negative;
	uint64_t v;
	int err = read_number(c, &negative, &v);

	if (err)
		return err;
	if (negative && t->kind == SYSCTL_ULONG)
		return 0;
	if (v > INT64_MAX || !in_bounds(t, negative ? -(long)v : (long)v))
		return -EINVAL;
	*value = negative ? -(long)v : (long)v;
	return 0;
}

long quire_sysctl_write(const char *name, const char *text, size_t n)
{
	struct cursor c = {text, text + n};
	const struct vm_tunable *t = vm_tunable_find(name);
	long value[QUIRE_SYSCTL_NUMBERS] = {0};
	int err = 0;

	if (!t)
		return -ENOENT;
	if (!n)
		return 0;
	for (unsigned i = 0; i < t->shown.count; i++)
		value[i] = READ_ONCE(t->value[i]);
	if (t->kind == SYSCTL_TRIGGER)
		c.s = c.end;
	for (unsigned i = 0; i < t->shown.count && t->kind != SYSCTL_TRIGGER && !err; i++)
		err = read_value(&c, t, &value[i]);
	if (err && t->shown.count == 1)
		return err;
	skip_space(&c);
	err = commit_values(t, value);
	return err ? err : c.s - text;
}
