/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's TLB: cached leaves, pointers to tables and, if ordered, absent entries. Real
 * processors forget at their own pleasure; this one forgets nothing unless it is told to (or
 * tlb_entries bounds it), because a translation that is kept is one that can be caught.
 *
 * One hash table for each space and CPU. Every frame counts the cached translations that lead to
 * it, and every space its stale ones, so that the questions "is any left?" cost nothing.
 */
#include <stdlib.h>

#include "arch/fake/machine.h"

static enum cached_kind kind_of(const struct cached *c)
{
	return c->d.kind == PTE_TABLE ? CACHED_TABLE :
	       c->d.kind == PTE_LEAF  ? CACHED_LEAF :
					CACHED_ABSENT;
}

static size_t slot(const struct tlb *t, uintptr_t va, unsigned level)
{
	uint64_t h = ((va >> ARCH_PAGE_SHIFT) + level * 0x51ull) * 0x9e3779b97f4a7c15ull;

	return (h >> 32) & (t->nbuckets - 1);
}

static uintptr_t align_to_level(uintptr_t va, unsigned level)
{
	return va & ~(fake_entry_size(level) - 1);
}

struct cached *tlb_find(struct tlb *t, uintptr_t va, unsigned level, enum cached_kind kind)
{
	struct cached *c;

	va = align_to_level(va, level);
	for (c = t->n ? t->bucket[slot(t, va, level)] : NULL; c; c = c->next)
		if (c->va == va && c->level == level && kind_of(c) == kind)
			return c;
	return NULL;
}

/* Adds delta to the count of every frame that c leads to. */
static void count_frames(const struct cached *c, int delta)
{
	uint64_t n = c->d.kind == PTE_LEAF ? fake_entry_size(c->level) >> ARCH_PAGE_SHIFT : 1;

	if (c->d.kind != PTE_LEAF && c->d.kind != PTE_TABLE)
		return;
	for (uint64_t i = 0; i < n; i++) {
		struct frame *f = fake_frame(c->d.pfn.n + i);

		if (f)
			f->cached += delta;
	}
}

static void grow(struct tlb *t)
{
	size_t old = t->nbuckets;
	struct cached **from = t->bucket;

	t->nbuckets = old ? old * 2 : 64;
	t->bucket = calloc(t->nbuckets, sizeof(*t->bucket));
	if (!t->bucket)
		abort();
	for (size_t i = 0; i < old; i++) {
		while (from[i]) {
			struct cached *c = from[i];
			size_t at = slot(t, c->va, c->level);

			from[i] = c->next;
			c->next = t->bucket[at];
			t->bucket[at] = c;
		}
	}
	free(from);
}

void tlb_drop(struct fake_space *s, unsigned cpu, struct cached *c)
{
	struct tlb *t = &s->tlb[cpu];
	struct cached **p = &t->bucket[slot(t, c->va, c->level)];

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	t->n--;
	s->stale -= c->stale;
	count_frames(c, -1);
	free(c);
}

/* Forgets one translation by chance: only leaves, as the bound counts those that matter. */
static void evict(struct fake_space *s, unsigned cpu)
{
	struct tlb *t = &s->tlb[cpu];
	size_t at = fake_random() & (t->nbuckets - 1);

	for (size_t i = 0; i < t->nbuckets; i++) {
		struct cached *c = t->bucket[(at + i) & (t->nbuckets - 1)];

		if (c && c->d.kind == PTE_LEAF) {
			tlb_drop(s, cpu, c);
			return;
		}
	}
}

void tlb_insert(struct fake_space *s, unsigned cpu, uintptr_t va, unsigned level,
		struct pte_desc d)
{
	struct tlb *t = &s->tlb[cpu];
	struct cached *c = malloc(sizeof(*c));
	size_t at;

	if (!c)
		abort();
	if (machine.cfg.tlb_entries && t->n >= machine.cfg.tlb_entries)
		evict(s, cpu);
	if (t->n >= t->nbuckets)
		grow(t);
	*c = (struct cached){.va = align_to_level(va, level), .d = d, .level = level};
	at = slot(t, c->va, level);
	c->next = t->bucket[at];
	t->bucket[at] = c;
	t->n++;
	count_frames(c, 1);
}

/* ---- flushing -------------------------------------------------------------------------------- */

static bool covers(const struct cached *c, uintptr_t start, uintptr_t last)
{
	return c->va <= last && c->va + (fake_entry_size(c->level) - 1) >= start;
}

static bool wanted(const struct cached *c, uintptr_t start, uintptr_t last, int level,
		   enum cached_kind kind)
{
	return covers(c, start, last) && (level < 0 || ((int)c->level == level && kind_of(c) == kind));
}

/* level < 0: every kind of every level. */
unsigned long tlb_flush_range(struct fake_space *s, unsigned cpu, uintptr_t start, uintptr_t last,
			      int level, enum cached_kind kind)
{
	struct tlb *t = &s->tlb[cpu];
	unsigned long dropped = 0;

	if (level >= 0 && ((last - start) >> (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS)) < t->n) {
		uintptr_t va = align_to_level(start, level);

		for (; va <= last; va += fake_entry_size(level)) {
			struct cached *c = tlb_find(t, va, level, kind);

			if (c)
				tlb_drop(s, cpu, c), dropped++;
			if (va + fake_entry_size(level) < va)
				break;
		}
		return dropped;
	}
	for (size_t i = 0; t->n && i < t->nbuckets; i++) {
		struct cached *c, *next;

		for (c = t->bucket[i]; c; c = next) {
			next = c->next;
			if (wanted(c, start, last, level, kind))
				tlb_drop(s, cpu, c), dropped++;
		}
	}
	return dropped;
}

unsigned long tlb_drop_stale(struct fake_space *s, unsigned cpu, uintptr_t start, uintptr_t last)
{
	struct tlb *t = &s->tlb[cpu];
	unsigned long dropped = 0;

	for (size_t i = 0; t->n && i < t->nbuckets; i++) {
		struct cached *c, *next;

		for (c = t->bucket[i]; c; c = next) {
			next = c->next;
			if (c->stale && covers(c, start, last))
				tlb_drop(s, cpu, c), dropped++;
		}
	}
	return dropped;
}

unsigned long tlb_flush_all(struct fake_space *s, unsigned cpu)
{
	return tlb_flush_range(s, cpu, 0, UINTPTR_MAX, -1, CACHED_LEAF);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* Whether the live entry allows all that the cached one does, to the same memory. */
static bool still_true(const struct cached *c, struct pte_desc live)
{
	if (c->d.kind == PTE_NONE)
		return true; /* an absent entry allows no access */
	if (live.kind != c->d.kind || live.pfn.n != c->d.pfn.n)
		return false;
	if (c->d.kind == PTE_TABLE)
		return true;
	/* a cached dirty bit would let writes pass without setting the live one */
	return c->d.r <= live.r && c->d.w <= live.w && c->d.x <= live.x && c->d.user <= live.user &&
	       !(c->d.w && c->d.dirty && !live.dirty);
}

void tlb_judge(struct fake_space *s, struct cached *c)
{
	bool stale = !still_true(c, fake_live(s, c->va, c->level));

	s->stale += stale - c->stale;
	if (stale && !c->stale) {
		c->by = fake_stayer();
		c->stay = machine.stays[c->by];
	}
	c->stale = stale;
}

void tlb_judge_range(struct fake_space *s, uintptr_t start, uintptr_t last)
{
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		struct tlb *t = &s->tlb[cpu];

		for (size_t i = 0; t->n && i < t->nbuckets; i++)
			for (struct cached *c = t->bucket[i]; c; c = c->next)
				if (covers(c, start, last))
					tlb_judge(s, c);
	}
}

struct cached *tlb_any_forgotten(struct fake_space *s, unsigned *cpu)
{
	for (*cpu = 0; *cpu < machine.cfg.cpus; ++*cpu) {
		struct tlb *t = &s->tlb[*cpu];

		for (size_t i = 0; t->n && i < t->nbuckets; i++)
			for (struct cached *c = t->bucket[i]; c; c = c->next)
				if (c->stale && c->stay != machine.stays[c->by])
					return c;
	}
	return NULL;
}

unsigned long fake_tlb_audit(void)
{
	unsigned long stale = 0;

	fake_lock();
	for (struct fake_space *s = machine.spaces; s; s = s->next) {
		tlb_judge_range(s, 0, UINTPTR_MAX);
		stale += s->stale;
	}
	fake_unlock();
	return stale;
}

unsigned long fake_tlb_held(unsigned cpu, struct arch_space *as)
{
	struct fake_space *s = as ? as->fs : fake_cpu()->space;

	return s && cpu < FAKE_MAX_CPUS ? s->tlb[cpu].n : 0;
}
