/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's checker of page-table changes: it follows what the live tables say, change by
 * change, so that it can tell at once what one did wrong. A table page is known from the moment it
 * is linked below a root that hal_space_init() was given; entries of a page that is not linked yet
 * are not the hardware's business and are counted when it is.
 */
#include <stdlib.h>

#include "arch/fake/machine.h"

static bool names_frame(struct pte_desc d)
{
	return d.kind == PTE_LEAF || d.kind == PTE_PROTNONE;
}

static bool live_kind(struct pte_desc d)
{
	return d.kind == PTE_LEAF || d.kind == PTE_TABLE;
}

/* Counts an entry of that level in (+1) or out (-1) of the frames that it names. */
static void count_live(struct pte_desc d, unsigned level, int delta)
{
	uint64_t n = fake_entry_size(level) >> ARCH_PAGE_SHIFT;

	for (uint64_t i = 0; names_frame(d) && i < n; i++) {
		struct frame *f = fake_frame(d.pfn.n + i);

		if (f)
			f->live += delta;
	}
}

static pteval_t *table_of(uint64_t pfn)
{
	return hal_phys_to_virt(pfn << ARCH_PAGE_SHIFT);
}

/* ---- tables come and go ---------------------------------------------------------------------- */

/* The page becomes a table of level whose first entry covers va. Recursion: one a level. */
static void link_table(struct fake_space *s, uint64_t pfn, unsigned level, uintptr_t va)
{
	struct frame *f = fake_frame(pfn);

	if (!f || f->table) {
		fake_accuse(FAKE_BAD_CALL, "pfn %#llx linked as a table at %#lx: %s",
			    (unsigned long long)pfn, (unsigned long)va,
			    f ? "it is one already" : "not RAM");
		return;
	}
	f->table = level + 1;
	f->space = s;
	f->va = va;
	for (unsigned i = 0; i < FAKE_INDEX; i++) {
		struct pte_desc d = arch_pte_decode(hal_pte_get(table_of(pfn) + i), level);

		count_live(d, level, 1);
		if (d.kind == PTE_TABLE)
			link_table(s, d.pfn.n, level - 1, va + i * fake_entry_size(level));
	}
}

static void unlink_table(uint64_t pfn)
{
	struct frame *f = fake_frame(pfn);
	unsigned level;

	if (!f || !f->table)
		return;
	level = f->table - 1;
	f->table = 0;
	for (unsigned i = 0; i < FAKE_INDEX; i++) {
		struct pte_desc d = arch_pte_decode(hal_pte_get(table_of(pfn) + i), level);

		count_live(d, level, -1);
		if (d.kind == PTE_TABLE)
			unlink_table(d.pfn.n);
	}
}

void books_link_root(struct fake_space *s)
{
	link_table(s, s->root.n, machine.mmu.levels - 1, 0);
}

void books_unlink_root(struct fake_space *s)
{
	unlink_table(s->root.n);
}

/* ---- code ------------------------------------------------------------------------------------ */

static uint64_t contents_sum(uint64_t pfn)
{
	const uint64_t *w = hal_phys_to_virt(pfn << ARCH_PAGE_SHIFT);
	uint64_t sum = 0;

	for (unsigned i = 0; i < FAKE_PAGE / 8; i++)
		sum = (sum ^ w[i]) * 0x100000001b3ull + (sum >> 29);
	return sum; /* zero for a page of zeros */
}

void books_synced(phys_addr_t pa, size_t n)
{
	for (uint64_t pfn = pa >> ARCH_PAGE_SHIFT; pfn << ARCH_PAGE_SHIFT < pa + n; pfn++) {
		struct frame *f = fake_frame(pfn);

		if (!f)
			continue;
		f->sum = contents_sum(pfn);
		f->synced = true;
		f->by_user = false;
	}
}

bool books_is_synced(uint64_t pfn)
{
	struct frame *f = fake_frame(pfn);

	return f && f->synced && !f->by_user && f->sum == contents_sum(pfn);
}

/* A leaf lets user mode run what is in its frames: the kernel must have published those bytes. A
 * page of zeros holds no code; what user mode wrote itself it must publish itself. */
static void check_code(struct pte_desc d, unsigned level, uintptr_t va)
{
	uint64_t n = fake_entry_size(level) >> ARCH_PAGE_SHIFT;

	for (uint64_t i = 0; i < n; i++) {
		struct frame *f = fake_frame(d.pfn.n + i);

		if (!f || f->by_user || contents_sum(d.pfn.n + i) == (f->synced ? f->sum : 0))
			continue;
		fake_accuse(FAKE_ICACHE, "pfn %#llx mapped executable at %#lx, its code %s",
			    (unsigned long long)d.pfn.n + i, (unsigned long)va,
			    f->synced ? "changed since hal_icache_sync()" : "never synchronised");
		return;
	}
}

/* ---- one entry changes ----------------------------------------------------------------------- */

static bool moves(struct pte_desc a, struct pte_desc b)
{
	return a.kind != b.kind || a.pfn.n != b.pfn.n;
}

/* Any CPU still translates va to another frame or size than the new entry. The same frame with
 * other rights may follow without a flush in between. */
static bool leads_elsewhere(struct fake_space *s, uintptr_t va, unsigned level, struct pte_desc to)
{
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		struct cached *c = tlb_find(&s->tlb[cpu], va, level, CACHED_LEAF);

		if (!c)
			c = tlb_find(&s->tlb[cpu], va, level, CACHED_TABLE);
		if (c && moves(c->d, to))
			return true;
	}
	return false;
}

static void check_break(struct fake_space *s, uintptr_t va, unsigned level, struct pte_desc from,
			struct pte_desc to)
{
	if (!machine.cfg.needs_bbm || !live_kind(to))
		return;
	if (live_kind(from) && moves(from, to))
		fake_accuse(FAKE_NO_BBM,
			    "level %u entry of %#lx went from pfn %#llx to %#llx without a break",
			    level, (unsigned long)va, (unsigned long long)from.pfn.n,
			    (unsigned long long)to.pfn.n);
	else if (!live_kind(from) && leads_elsewhere(s, va, level, to))
		fake_accuse(FAKE_NO_BBM, "level %u entry of %#lx made before the old one was flushed",
			    level, (unsigned long)va);
}

/* Cached translations that the change may have made untrue are judged again. */
static void judge(struct fake_space *s, uintptr_t va, unsigned level, struct pte_desc from,
		  struct pte_desc to)
{
	uintptr_t last = va + (fake_entry_size(level) - 1);

	if (from.kind == PTE_TABLE || to.kind == PTE_TABLE) {
		tlb_judge_range(s, va, last);
		return;
	}
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		struct cached *c = tlb_find(&s->tlb[cpu], va, level, CACHED_LEAF);

		if (c)
			tlb_judge(s, c);
	}
}

/* Between the look at a live entry and a plain store over it another CPU may set its accessed or
 * dirty bit, and the store would take it back. Nothing is lost where the bit is set already, where
 * the new word sets it, or where the hardware sets none. */
void books_plain_store(const pteval_t *p, pteval_t old, pteval_t new)
{
	uintptr_t pa = (uintptr_t)p - fake_direct_base;
	struct pte_desc from, to;
	struct frame *f;

	if ((uintptr_t)p < fake_direct_base || !machine.mmu.hw_accessed_dirty)
		return;
	f = fake_frame(pa >> ARCH_PAGE_SHIFT);
	if (!f || !f->table)
		return;
	from = arch_pte_decode(old, f->table - 1);
	to = arch_pte_decode(new, f->table - 1);
	if (from.kind == PTE_LEAF &&
	    ((!from.accessed && !to.accessed) || (from.w && !from.dirty && !to.dirty)))
		fake_accuse(FAKE_LOST_BITS, "plain store over the live entry of %#lx",
			    (unsigned long)(f->va + (pa & (FAKE_PAGE - 1)) / sizeof(pteval_t) *
							   fake_entry_size(f->table - 1)));
}

void books_entry_changed(pteval_t *p, pteval_t old, pteval_t new)
{
	uintptr_t pa = (uintptr_t)p - fake_direct_base;
	struct frame *f;
	struct pte_desc from, to;
	unsigned level;
	uintptr_t va;

	if ((uintptr_t)p < fake_direct_base || old == new)
		return;
	f = fake_frame(pa >> ARCH_PAGE_SHIFT);
	if (!f || !f->table)
		return;
	level = f->table - 1;
	va = f->va + (pa & (FAKE_PAGE - 1)) / sizeof(pteval_t) * fake_entry_size(level);
	from = arch_pte_decode(old, level);
	to = arch_pte_decode(new, level);
	check_break(f->space, va, level, from, to);
	count_live(from, level, -1);
	count_live(to, level, 1);
	if (from.kind == PTE_TABLE && moves(from, to))
		unlink_table(from.pfn.n);
	if (to.kind == PTE_TABLE && moves(from, to))
		link_table(f->space, to.pfn.n, level - 1, va);
	if (to.kind == PTE_LEAF && to.x && !machine.cfg.no_icache_check &&
	    (from.kind != PTE_LEAF || !from.x || moves(from, to)))
		check_code(to, level, va);
	judge(f->space, va, level, from, to);
}

/* ---- frames are freed and handed out --------------------------------------------------------- */

/* Whether a stale translation that leads to the frame, or was read from it, is still cached. */
static void accuse_cached(uint64_t pfn, const struct frame *f)
{
	fake_accuse(FAKE_STALE_FREE, "pfn %#llx freed with %u cached translations that lead to it",
		    (unsigned long long)pfn, f->cached);
}

/* After an accusation that a hook took: nothing leads to the frame any more. */
static void forget_cached(uint64_t pfn)
{
	for (struct fake_space *s = machine.spaces; s; s = s->next) {
		for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
			struct tlb *t = &s->tlb[cpu];

			for (size_t i = 0; t->n && i < t->nbuckets; i++) {
				struct cached *c, *next;

				for (c = t->bucket[i]; c; c = next) {
					next = c->next;
					if (c->d.pfn.n == pfn && c->d.kind != PTE_NONE)
						tlb_drop(s, cpu, c);
				}
			}
		}
	}
}

void books_frame_freed(uint64_t pfn)
{
	struct frame *f = fake_frame(pfn);

	if (!f)
		return;
	if (f->live)
		fake_accuse(FAKE_FREED_MAPPED, "pfn %#llx freed while %u live entries name it",
			    (unsigned long long)pfn, f->live);
	if (f->table)
		fake_accuse(FAKE_FREED_TABLE, "table pfn %#llx of level %u (%#lx) freed while linked",
			    (unsigned long long)pfn, f->table - 1u, (unsigned long)f->va);
	if (f->cached) {
		accuse_cached(pfn, f);
		forget_cached(pfn);
	}
	if (f->dma)
		fake_accuse(FAKE_FREED_DMA, "pfn %#llx freed while a disk transfers it",
			    (unsigned long long)pfn);
	f->synced = f->by_user = false;
}

void books_frame_taken(uint64_t pfn)
{
	struct frame *f = fake_frame(pfn);

	if (f && (f->live || f->table))
		fake_accuse(FAKE_TAKEN_MAPPED, "pfn %#llx handed out: %u entries name it%s",
			    (unsigned long long)pfn, f->live, f->table ? ", and it is a table" : "");
	if (f)
		f->synced = f->by_user = false;
}

unsigned fake_stayer(void)
{
	if (self.stayer_of == machine.number)
		return self.stayer;
	self.stayer_of = machine.number;
	if (!(machine.nstays & (machine.nstays - 1))) {
		size_t room = machine.nstays ? 2 * machine.nstays : 1;

		machine.stays = realloc(machine.stays, room * sizeof(*machine.stays));
		if (!machine.stays)
			abort();
	}
	self.stayer = machine.nstays++;
	machine.stays[self.stayer] = 0;
	return self.stayer;
}

/* This thread is outside the core: what it made stale it must have flushed. Another one may stand
 * between its change and its flush. */
void books_check_stale(struct fake_space *s, enum fake_accusation what, const char *when)
{
	unsigned cpu, me;
	struct cached *c;

	if (!s->stale)
		return;
	me = fake_stayer(); /* which may move the array */
	machine.stays[me]++;
	c = tlb_any_forgotten(s, &cpu);
	if (!c)
		return;
	fake_accuse(what, "%s, CPU %u still has level %u %s of %#lx to pfn %#llx (%lu stale)", when,
		    cpu, c->level, c->d.kind == PTE_TABLE ? "table" : "translation",
		    (unsigned long)c->va, (unsigned long long)c->d.pfn.n, s->stale);
	while ((c = tlb_any_forgotten(s, &cpu)))
		tlb_drop(s, cpu, c);
}

void fake_core_returned(void)
{
	fake_lock();
	for (struct fake_space *s = machine.spaces; s; s = s->next)
		books_check_stale(s, FAKE_STALE_RETURN, "the core returned");
	fake_unlock();
}

unsigned fake_frame_mapped(pfn_t pfn)
{
	struct frame *f = fake_frame(pfn.n);

	return f ? f->live : 0;
}
