/* SPDX-License-Identifier: MIT */
/*
 * Page tables: the walks, making and freeing tables, roots, split table locks, entries from rights
 * (protection_map). Which bits of an address index which level is drawn in pgtable.h.
 *
 * Terms. A *table* is one page of PTRS_PER_TABLE *entries*. A table of level 0 holds the pages'
 * entries; an entry of level n > 0 points to a table of level n - 1; the *root* is the table of
 * level pt_levels - 1. pgd, p4d, pud, pmd, pte name the levels as Linux does; a machine with fewer
 * has the upper names *folded* into one. This file knows of an entry only what arch_pte_encode()
 * and arch_pte_decode() say, and of the depth what hal_mmu_info() says, so it is the same on every
 * machine.
 *
 * Structures. A table is a zeroed order-0 page with PG_table set. Its struct page has
 *   private   how many entries are not empty (I29): 0 lets a walk leave the table at once
 *   ptl       level 0: the lock of its entries (a *split* lock: one for each table)
 *   index     above level 0: between which numbers entries have ever been (pt_widen)
 * and the space has a bitmap of the root's entries (pgd_used). mm->pgtables_bytes counts all tables
 * but the root, as in Linux.
 *
 * Walks.
 *   pt_find       down to level 0; NULL where a table is missing. No lock, allocates nothing.
 *   pt_make       the same, by the five names; missing tables are made. Faults, fork, mremap.
 *   pt_lookup     as the hardware would walk: stops at whatever is no table. For fault codes,
 *                 reports, and tables that cannot be trusted.
 *   pt_for_each   every level-0 table of a range, in order. It visits only entries that are there,
 *                 by pgd_used and the bounds: 64 TiB without a page cost as many steps as one page.
 *   free_pgd_range  the same downwards and back, taking away the tables of a range.
 *
 * The life of a table:
 *
 *   pte_alloc_one --> zeroed page, in no table
 *        | pt_populate: page_table_lock, still missing?    no: pt_page_free, another CPU was first
 *        v
 *   pt_hook: counted, then the pointer is stored (release: the zeros are visible before it)
 *        | set_pte_at, ptep_get_and_clear ...: entries come and go under its lock
 *        v
 *   pt_free_table: mmap_lock for writing, all entries empty; the pointer is cleared
 *        | tlb_remove_table: waits in the gather until the flush that covers it (I35)
 *        v
 *   pt_page_free
 *
 * Locks. Entries of level 0: the table's ptl; of two tables the lower address first. Entries above:
 * mm->page_table_lock. Readers take no lock: each step is one atomic load, and a table does not go
 * while they walk, because that needs mmap_lock for writing and VMAs that no reverse map leads to.
 * A walk that acts on an entry locks its table and reads it again.
 *
 * Limits. Two to five levels; no leaf above level 0 in a user's range (huge pages); the kernel's
 * half is the machine's (arch/common/mmu.c), shared by copying the root's upper entries.
 *
 * Tried and rejected. Visiting every entry of a range's tables: mapping, protecting and unmapping
 * 64 TiB took 54,578 instructions, with bitmap and bounds 4,102. A stock of tables that are zeroed
 * already would save some 520 instructions for a mapping that needs one; it is not built
 * (docs/performance.md, "Left out").
 */
#include "mm/table/pgtable.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/vmstat.h"
#include "mm/table/gather.h"
#include <quire/abi.h>

unsigned pt_levels;
/* High bits of an address that only repeat its sign. */
static unsigned pt_unused_bits;

/* ---- locks ----------------------------------------------------------------------------------- */

/* The lock is held: spins until our exchange finds it free. */
void ptl_wait(uint32_t *ptl)
{
	do {
		while (__atomic_load_n(ptl, __ATOMIC_RELAXED))
			hal_cpu_relax();
	} while (__atomic_exchange_n(ptl, 1, __ATOMIC_ACQUIRE));
}

void ptl_lock_two(const pte_t *a, const pte_t *b)
{
	uint32_t *la = pte_lockptr(a), *lb = pte_lockptr(b);

	ptl_lock_order(la < lb ? la : lb, false);
	if (la != lb)
		ptl_lock_order(la < lb ? lb : la, true);
}

void ptl_unlock_two(const pte_t *a, const pte_t *b)
{
	uint32_t *la = pte_lockptr(a), *lb = pte_lockptr(b);

	if (la != lb)
		ptl_unlock(la < lb ? lb : la);
	ptl_unlock(la < lb ? la : lb);
}

/* ---- table pages ----------------------------------------------------------------------------- */

/* The bounds of a table that never had an entry; see pt_widen(). */
#define PT_BOUNDS_NONE 0xfffful

struct page *pte_alloc_one(struct mm_struct *mm)
{
	struct page *page = alloc_pages(GFP_PGTABLE, 0);

	if (!page)
		return NULL;
	page_set(page, PG_table);
	page->ptl = 0;
	page->private = 0;
	page->index = PT_BOUNDS_NONE;
	inc_node_page_state(NR_PAGETABLE);
	return page;
}

void pt_page_free(struct page *table)
{
	ASSERT_DEBUG_I("I29", page_test(table, PG_table));
	ASSERT(table->private == 0);
	page_clear(table, PG_table);
	table->private = 0;
	table->ptl = 0;
	dec_node_page_state(NR_PAGETABLE);
	put_page(table);
}

/*
 * Keeps the space's bitmap of the entries that its root has. Written under mm->page_table_lock; a
 * reader without it may miss a table that comes at this moment, as it could miss its entry.
 */
static void pt_note(struct mm_struct *mm, const pteval_t *entry, bool used)
{
	unsigned long *word, bit;

	if (entry < mm->pgd || entry >= mm->pgd + PTRS_PER_TABLE)
		return;
	word = &mm->pgd_used[(entry - mm->pgd) / BITS_PER_LONG];
	bit = 1ul << (entry - mm->pgd) % BITS_PER_LONG;
	__atomic_store_n(word, used ? *word | bit : *word & ~bit, __ATOMIC_RELAXED);
}

/* The first noted entry from number i to last; last + 1: there is none. */
static unsigned pt_noted(const struct mm_struct *mm, unsigned i, unsigned last)
{
	ASSERT_DEBUG(last < PTRS_PER_TABLE);
	while (i <= last) {
		unsigned long rest = __atomic_load_n(&mm->pgd_used[i / BITS_PER_LONG],
						     __ATOMIC_RELAXED) >> i % BITS_PER_LONG;

		if (rest) {
			i += (unsigned)__builtin_ctzl(rest);
			break;
		}
		i = (i / BITS_PER_LONG + 1) * BITS_PER_LONG;
	}
	return min(i, last + 1);
}

/*
 * A table above level 0 remembers in page->index between which numbers its entries have ever lain,
 * the lower in the low half: written under mm->page_table_lock, widened only.
 */

static void pt_widen(struct page *table, unsigned i)
{
	unsigned long lo = table->index & 0xffff, hi = table->index >> 16;

	ASSERT_DEBUG(i < PTRS_PER_TABLE);
	WRITE_ONCE(table->index, min(lo, (unsigned long)i) | max(hi, (unsigned long)i) << 16);
}

/* Stores a table pointer into an empty entry of that level. mm->page_table_lock. */
static void pt_hook(struct mm_struct *mm, pteval_t *entry, unsigned level, struct page *table)
{
	struct pte_desc d = {.kind = PTE_TABLE, .pfn = page_to_pfn(table)};

	assert_held(&mm->page_table_lock);
	ASSERT_DEBUG_I("I29", !hal_pte_get(entry));
	count_entry(entry, 1);
	pt_note(mm, entry, true);
	pt_widen(pt_page(entry), (unsigned)((uintptr_t)entry % PAGE_SIZE / sizeof(*entry)));
	__atomic_fetch_add(&mm->pgtables_bytes, PAGE_SIZE, __ATOMIC_RELAXED);
	/* A release: the zeroes of the table are visible to whoever acquires the pointer by the
	 * hal_pte_get() of pt_find(), pt_lookup() or pt_for_each_below(). */
	hal_pte_set(entry, arch_pte_encode(d, level));
}

int pt_populate(struct mm_struct *mm, pteval_t *entry, unsigned level, struct page *table)
{
	bool first;

	ASSERT_DEBUG(level && level < pt_levels);
	if (!table)
		return -ENOMEM;
	spin_lock(&mm->page_table_lock);
	first = !hal_pte_get(entry);
	if (likely(first))
		pt_hook(mm, entry, level, table);
	spin_unlock(&mm->page_table_lock);
	if (unlikely(!first))
		pt_page_free(table);
	return 0;
}

/* ---- walks ----------------------------------------------------------------------------------- */

pte_t *pt_find(struct mm_struct *mm, uintptr_t addr)
{
	pteval_t *table = mm->pgd;

	for (unsigned shift = pt_shift(pt_levels - 1); shift > PAGE_SHIFT; shift -= PT_INDEX_BITS) {
		pteval_t v = hal_pte_get(table + ((addr >> shift) & (PTRS_PER_TABLE - 1)));

		if (!v)
			return NULL;
		table = pt_table_of(v, 1);
	}
	return table + pt_index(addr, 0);
}

pte_t *pt_make(struct mm_struct *mm, uintptr_t addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d = p4d_alloc(mm, pgd, addr);
	pud_t *pud = p4d ? pud_alloc(mm, p4d, addr) : NULL;
	pmd_t *pmd = pud ? pmd_alloc(mm, pud, addr) : NULL;

	return pmd && !pte_alloc(mm, pmd) ? pte_offset_map(pmd, addr) : NULL;
}

pteval_t *pt_lookup(struct mm_struct *mm, uintptr_t addr, pteval_t *pv, unsigned *plevel)
{
	unsigned level = pt_levels - 1, shift = pt_shift(level);
	pteval_t *entry = mm->pgd, v = 0;

	if (unlikely((uintptr_t)((intptr_t)(addr << pt_unused_bits) >> pt_unused_bits) != addr)) {
		*pv = 0;
		*plevel = level;
		return NULL;
	}
	for (; level; level--, shift -= PT_INDEX_BITS) {
		entry += (addr >> shift) & (PTRS_PER_TABLE - 1);
		v = hal_pte_get(entry);
		if (unlikely(!arch_pte_is_table(v, 1)))
			goto out;
		entry = pt_table_of(v, 1);
	}
	entry += pt_index(addr, 0);
	v = hal_pte_get(entry);
out:
	*pv = v;
	*plevel = level;
	return entry;
}

/*
 * The first entry of a table, from number i to last, that is not empty; last + 1: there is none.
 * What the root has is noted in the space, and the tables below it know their bounds, so that a
 * range of any size without pages is passed over in a few steps.
 */
static unsigned pt_next_entry(const struct mm_struct *mm, const pteval_t *table, unsigned i,
			      unsigned last)
{
	unsigned long bounds;
	unsigned end;

	ASSERT_DEBUG(last < PTRS_PER_TABLE);
	if (table == mm->pgd)
		return pt_noted(mm, i, last);
	bounds = READ_ONCE(virt_to_page(table)->index);
	end = min(last, (unsigned)(bounds >> 16));
	i = max(i, (unsigned)(bounds & 0xffff));
	while (i <= end && !hal_pte_get(table + i))
		i++;
	return i <= end ? i : last + 1;
}

static int pt_for_each_below(struct mm_struct *mm, pteval_t *table, unsigned level,
			     uintptr_t start, uintptr_t end, pt_range_fn fn, void *ctx)
{
	unsigned i = pt_index(start, level), last = pt_index(end - 1, level);
	uintptr_t base = start & ~(pt_span(level + 1) - 1), from, to;

	ASSERT_DEBUG(level && start < end);
	for (; (i = pt_next_entry(mm, table, i, last)) <= last; i++) {
		pteval_t v = hal_pte_get(table + i), *below = pt_table_of(v, level);
		int err;

		if (unlikely(!v)) /* noted, and not there yet */
			continue;
		from = max(start, base + ((uintptr_t)i << pt_shift(level)));
		to = pt_addr_end(from, end, level);
		if (level == 1)
			err = fn(mm, below + pt_index(from, 0), from, to, ctx);
		else
			err = pt_for_each_below(mm, below, level - 1, from, to, fn, ctx);
		if (err)
			return err;
	}
	return 0;
}

int pt_for_each(struct mm_struct *mm, uintptr_t start, uintptr_t end, pt_range_fn fn, void *ctx)
{
	pte_t *pte;

	if (start >= end)
		return 0;
	if (start / PMD_SPAN != (end - 1) / PMD_SPAN)
		return pt_for_each_below(mm, mm->pgd, pt_levels - 1, start, end, fn, ctx);
	/* Most ranges need one table. */
	pte = pt_find(mm, start);
	return pte ? fn(mm, pte, start, end, ctx) : 0;
}

static void pt_unhook(struct mm_struct *mm, pteval_t *entry)
{
	assert_held(&mm->page_table_lock);
	hal_pte_set(entry, 0);
	count_entry(entry, -1);
	pt_note(mm, entry, false);
}

/* Takes the table below an entry away, if the caller may have all that it spans. */
static void pt_free_table(struct mmu_gather *tlb, pteval_t *entry, pteval_t *below,
			  uintptr_t start, uintptr_t end)
{
	struct mm_struct *mm = tlb->mm;

	spin_lock(&mm->page_table_lock);
	pt_unhook(mm, entry);
	spin_unlock(&mm->page_table_lock);
	__atomic_fetch_sub(&mm->pgtables_bytes, PAGE_SIZE, __ATOMIC_RELAXED);
	tlb_remove_table(tlb, virt_to_page(below), start, end);
}

static void pt_free_below(struct mmu_gather *tlb, pteval_t *table, unsigned level, uintptr_t start,
			  uintptr_t end, uintptr_t floor, uintptr_t ceiling)
{
	unsigned i = pt_index(start, level), last = pt_index(end - 1, level);
	uintptr_t base = start & ~(pt_span(level + 1) - 1), from, to;

	assert_held_write(&tlb->mm->mmap_lock);
	ASSERT_DEBUG(level);
	for (; (i = pt_next_entry(tlb->mm, table, i, last)) <= last; i++) {
		uintptr_t first = base + ((uintptr_t)i << pt_shift(level));
		pteval_t v = hal_pte_get(table + i), *below = pt_table_of(v, level);

		if (unlikely(!v)) /* noted, and not there yet */
			continue;
		from = max(start, first);
		to = pt_addr_end(from, end, level);
		if (level > 1)
			pt_free_below(tlb, below, level - 1, from, to, floor, ceiling);
		if (first >= floor && first + (pt_span(level) - 1) <= ceiling - 1)
			pt_free_table(tlb, table + i, below, from, to);
	}
}

void free_pgd_range(struct mmu_gather *tlb, uintptr_t start, uintptr_t end, uintptr_t floor,
		    uintptr_t ceiling)
{
	uintptr_t first = start & ~(PMD_SPAN - 1), last = (end - 1) | (PMD_SPAN - 1);

	assert_held_write(&tlb->mm->mmap_lock);
	if (start >= end)
		return;
	/* One level-0 table that belongs to a neighbour too: so does every table above it. */
	if (last - first < PMD_SPAN && (first < floor || last > ceiling - 1))
		return;
	pt_free_below(tlb, tlb->mm->pgd, pt_levels - 1, start, end, floor, ceiling);
}

/* ---- entries --------------------------------------------------------------------------------- */

void sync_code(pte_t v)
{
	if (arch_pte_is_leaf(v) && pte_desc(v).x)
		hal_icache_sync(hal_phys_to_virt((phys_addr_t)pte_pfn(v).n << PAGE_SHIFT), PAGE_SIZE);
}

void sync_code_batch(const pte_t *pte, unsigned long n, unsigned long most)
{
	for (; n && most; n--, pte++) {
		pte_t v = pte_get(pte);

		if (pte_none(v))
			continue;
		sync_code(v);
		most--;
	}
}

pte_t pte_modify(pte_t pte, pgprot_t prot)
{
	struct pte_desc old = pte_desc(pte);

	prot.d.pfn = old.pfn;
	prot.d.accessed = old.accessed;
	prot.d.dirty = old.dirty;
	prot.d.soft_dirty = old.soft_dirty;
	prot.d.special = old.special;
	prot.d.uffd_wp = old.uffd_wp;
	return pte_make(prot.d);
}

pgprot_t protection_map[2][16];

/* The entry's rights, before any page is known. */
static struct pte_desc prot_desc(bool user, vm_flags_t flags)
{
	if (!(flags & VM_ACCESS_FLAGS))
		return (struct pte_desc){.kind = PTE_PROTNONE};
	return (struct pte_desc){
		.kind = PTE_LEAF,
		.user = user,
		/* Linux lets every writable page be read, on machines that could tell them apart
		 * too. */
		.r = flags & (VM_READ | VM_WRITE),
		.w = (flags & (VM_WRITE | VM_SHARED)) == (VM_WRITE | VM_SHARED),
		.x = flags & VM_EXEC,
	};
}

static void protection_map_init(void)
{
	for (unsigned i = 0; i < 32; i++) {
		vm_flags_t flags = i & 15;
		pgprot_t *prot = &protection_map[i / 16][flags];
		struct pte_desc d = prot_desc(i / 16, flags);

		prot->d = d;
		d.accessed = true;
		prot->word = pte_make(d);
		d.special = true;
		prot->special_word = pte_make(d);
		d.special = false;
		d.dirty = d.soft_dirty = true;
		d.w = flags & VM_WRITE;
		prot->dirty_word = pte_make(d);
	}
}

void pgtable_init(void)
{
	ASSERT(hal_mmu_info()->levels <= ARCH_MAX_LEVELS);
	pt_levels = hal_mmu_info()->levels;
	pt_unused_bits = 64 - hal_mmu_info()->va_bits;
	protection_map_init();
}

/* ---- roots ----------------------------------------------------------------------------------- */

/* Prepares a fresh root page. 0 or an error. */
static int pgd_init(struct mm_struct *mm, struct page *root)
{
	int err = hal_space_init(&mm->arch, page_to_pfn(root), mm->user);

	ASSERT(!mm->pgd);
	if (err)
		return err;
	mm->pgd = page_address(root);
	memset(mm->pgd_used, 0, sizeof(mm->pgd_used));
	/* A supervisor's range may lie where the machine has put entries of its own. */
	if (!mm->user)
		for (unsigned i = 0; i < PTRS_PER_TABLE; i++)
			if (hal_pte_get(mm->pgd + i))
				pt_note(mm, mm->pgd + i, true);
	return 0;
}

int pgd_alloc(struct mm_struct *mm)
{
	struct page *root = pte_alloc_one(mm);
	int err;

	if (!root)
		return -ENOMEM;
	err = pgd_init(mm, root);
	if (err)
		pt_page_free(root);
	return err;
}

void pgd_free(struct mm_struct *mm)
{
	struct page *root = virt_to_page(mm->pgd);

	ASSERT(mm->pgd);
	hal_space_destroy(&mm->arch);
	mm->pgd = NULL;
	pt_page_free(root);
}
