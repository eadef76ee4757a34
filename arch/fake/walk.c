/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's page-table walker (its MMU), written after the two manuals' algorithm (Intel
 * SDM vol. 3 ch. 4, RISC-V privileged ch. "Virtual Address Translation Process"): cached leaf, else
 * the deepest cached table pointer, else the root; at each level read, decode, and go down, stop,
 * or fault. It shares nothing with mm/'s walker.
 */
#include "arch/fake/machine.h"

/* Whether va is one that tables of this machine can translate for a user or supervisor space. */
static bool in_range(uintptr_t va)
{
	return va >> (machine.mmu.va_bits - 1) == 0;
}

static unsigned top_level(void)
{
	return machine.mmu.levels - 1;
}

static uint64_t index_of(uintptr_t va, unsigned level)
{
	return va >> (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS) & (FAKE_INDEX - 1);
}

/* The live entry of va in a table of that level; NULL if the table is not in RAM. */
static pteval_t *entry_of(uint64_t table, uintptr_t va, unsigned level)
{
	if (!fake_frame(table))
		return NULL;
	return (pteval_t *)hal_phys_to_virt(table << ARCH_PAGE_SHIFT) + index_of(va, level);
}

static bool allows(struct pte_desc d, enum fault_access access, bool user)
{
	if (user && !d.user)
		return false;
	/* as SMEP and RISC-V without SUM for code: the kernel never runs a user's page */
	if (access == FAULT_FETCH && !user && d.user)
		return false;
	return access == FAULT_READ ? d.r : access == FAULT_WRITE ? d.w : d.x;
}

/* What A and D lack for this access; on return d has them. */
static bool lacks_ad(struct pte_desc *d, enum fault_access access)
{
	bool lacks = !d->accessed || (access == FAULT_WRITE && !d->dirty);

	d->accessed = true;
	d->dirty |= access == FAULT_WRITE;
	return lacks;
}

static bool refuse(struct walk *w, enum fault_kind why, bool present)
{
	w->fault = why;
	w->present = present;
	return false;
}

/* The address that a leaf of w->level leads to. */
static bool finish(struct walk *w, uintptr_t va)
{
	w->pa = (w->d.pfn.n << ARCH_PAGE_SHIFT) + (va & (fake_entry_size(w->level) - 1));
	if (!fake_is_ram(w->pa, 1))
		return refuse(w, FAULT_BUS, true);
	return true;
}

/* A cached leaf that allows the access; a cached absent entry ends the matter as well. */
static bool try_cached(struct fake_space *s, unsigned cpu, uintptr_t va, enum fault_access access,
		       bool user, struct walk *w, bool *done)
{
	struct tlb *t = &s->tlb[cpu];

	*done = true;
	if (machine.cfg.caches_invalid && tlb_find(t, va, 0, CACHED_ABSENT))
		return refuse(w, FAULT_TRANSLATION, false);
	for (unsigned level = 0; level <= top_level(); level++) {
		struct cached *c;
		struct pte_desc d;

		if (!(ARCH_LEAF_LEVELS >> level & 1))
			continue;
		c = tlb_find(t, va, level, CACHED_LEAF);
		if (!c)
			continue;
		d = c->d;
		if (allows(d, access, user) && !lacks_ad(&d, access)) {
			machine.count.tlb_hits++;
			w->d = d;
			w->level = level;
			return finish(w, va);
		}
		/* Some processors refuse by what they cached until they are told of the change. */
		if (machine.cfg.caches_invalid &&
		    (machine.cfg.software_ad || !allows(c->d, access, user)))
			return refuse(w, FAULT_TRANSLATION, true);
		/* Others look up anew, the tables may allow it. What is cached stays: some drop it
		 * at a fault, but no caller may rely on that. */
	}
	*done = false;
	return false;
}

/* Where a walk may start: the deepest cached pointer to a table, else the root. */
static uint64_t start_table(struct fake_space *s, unsigned cpu, uintptr_t va, unsigned *level)
{
	for (unsigned l = 1; l <= top_level(); l++) {
		struct cached *c = tlb_find(&s->tlb[cpu], va, l, CACHED_TABLE);

		if (c) {
			*level = l - 1;
			return c->d.pfn.n;
		}
	}
	*level = top_level();
	return s->root.n;
}

/* A leaf was read at w->entry: check it, set A and D in the live entry, keep it. */
static bool use_leaf(struct fake_space *s, unsigned cpu, uintptr_t va, enum fault_access access,
		     bool user, pteval_t word, struct walk *w)
{
	struct cached *old;

	if (!(ARCH_LEAF_LEVELS >> w->level & 1))
		return refuse(w, FAULT_CORRUPT, true);
	if (!allows(w->d, access, user))
		return refuse(w, FAULT_TRANSLATION, true);
	if (lacks_ad(&w->d, access)) {
		if (machine.cfg.software_ad)
			return refuse(w, FAULT_TRANSLATION, true);
		/* Every other writer of a linked table holds the machine's lock, as we do. */
		__atomic_compare_exchange_n(w->entry, &word, arch_pte_encode(w->d, w->level), false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		machine.count.ad_sets++;
	}
	if (!finish(w, va))
		return false;
	old = tlb_find(&s->tlb[cpu], va, w->level, CACHED_LEAF);
	if (old)
		tlb_drop(s, cpu, old);
	tlb_insert(s, cpu, va, w->level, w->d);
	return true;
}

/* The walk met an entry that the hardware sees nothing in. */
static bool absent(struct fake_space *s, unsigned cpu, uintptr_t va, struct walk *w)
{
	if (machine.cfg.caches_invalid)
		tlb_insert(s, cpu, va, 0, (struct pte_desc){.kind = PTE_NONE});
	return refuse(w, FAULT_TRANSLATION, false);
}

bool fake_walk(struct fake_space *s, unsigned cpu, uintptr_t va, enum fault_access access,
	       bool user, struct walk *w)
{
	uint64_t table;
	bool done, ok;

	*w = (struct walk){0};
	if (!in_range(va))
		return refuse(w, FAULT_TRANSLATION, false);
	ok = try_cached(s, cpu, va, access, user, w, &done);
	if (done)
		return ok;
	machine.count.walks++;
	table = start_table(s, cpu, va, &w->level);
	for (;; w->level--) {
		pteval_t word;

		w->entry = entry_of(table, va, w->level);
		if (!w->entry)
			return refuse(w, FAULT_BUS, false);
		word = hal_pte_get(w->entry);
		w->d = arch_pte_decode(word, w->level);
		if (w->d.kind == PTE_CORRUPT)
			return refuse(w, FAULT_CORRUPT, true);
		if (w->d.kind == PTE_LEAF)
			return use_leaf(s, cpu, va, access, user, word, w);
		if (w->d.kind != PTE_TABLE)
			return absent(s, cpu, va, w);
		if (w->level == 0)
			return refuse(w, FAULT_CORRUPT, true);
		tlb_insert(s, cpu, va, w->level, w->d);
		table = w->d.pfn.n;
	}
}

/* ---- by the tables alone --------------------------------------------------------------------- */

static struct pte_desc descend(struct fake_space *s, uintptr_t va, unsigned stop, unsigned *at)
{
	uint64_t table = s->root.n;
	struct pte_desc d = {.kind = PTE_NONE};

	for (*at = top_level();; --*at) {
		pteval_t *entry = in_range(va) ? entry_of(table, va, *at) : NULL;

		if (!entry)
			return (struct pte_desc){.kind = PTE_NONE};
		d = arch_pte_decode(hal_pte_get(entry), *at);
		if (*at == stop || d.kind != PTE_TABLE || *at == 0)
			return d;
		table = d.pfn.n;
	}
}

struct pte_desc fake_live(struct fake_space *s, uintptr_t va, unsigned level)
{
	unsigned at;
	struct pte_desc d = descend(s, va, level, &at);

	if (at == level)
		return d;
	if (d.kind != PTE_LEAF)
		return (struct pte_desc){.kind = PTE_NONE};
	/* a larger leaf stands where the smaller one was */
	d.pfn.n += (va & (fake_entry_size(at) - 1)) >> ARCH_PAGE_SHIFT;
	return d;
}

struct pte_desc fake_live_leaf(struct fake_space *s, uintptr_t va, unsigned *level)
{
	return descend(s, va, 0, level);
}
