/* SPDX-License-Identifier: MIT */
/*
 * Page tables: the generic walker and the five classic names over it. Knows of entries only what
 * arch_pte_encode() and arch_pte_decode() say, and how many levels hal_mmu_info() reports.
 *
 * A table page is a zeroed order-0 page with PG_table set; page->private counts its entries that
 * are not empty, page->ptl is the lock of a level-0 table. The root is not counted in
 * mm->pgtables_bytes, as in Linux.
 */
#include "mm/pgtable.h"
#include "lib/errno.h"
#include "mm/gather.h"
#include "mm/lockrank.h"
#include "mm/vmstat.h"

unsigned pt_levels, pt_unused_bits;

/* ---- locks ----------------------------------------------------------------------------------- */

/* Somebody holds it: until our exchange finds it free. */
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

struct page *pte_alloc_one(struct mm_struct *mm)
{
	struct page *page = alloc_pages(GFP_PGTABLE, 0);

	if (!page)
		return NULL;
	page_set(page, PG_table);
	page->ptl = 0;
	page->private = 0;
	inc_node_page_state(NR_PAGETABLE);
	return page;
}

void pt_page_free(struct page *table)
{
	ASSERT(table->private == 0);
	page_clear(table, PG_table);
	table->private = 0;
	table->ptl = 0;
	dec_node_page_state(NR_PAGETABLE);
	put_page(table);
}

/* Stores a table pointer into an empty entry of that level. mm->page_table_lock. */
static void pt_hook(struct mm_struct *mm, pteval_t *entry, unsigned level, struct page *table)
{
	struct pte_desc d = {.kind = PTE_TABLE, .pfn = page_to_pfn(table)};

	count_entry(entry, 1);
	__atomic_fetch_add(&mm->pgtables_bytes, PAGE_SIZE, __ATOMIC_RELAXED);
	/* The zeroes of the table must be visible to a walker before the pointer is. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	hal_pte_set(entry, arch_pte_encode(d, level));
}

/* The table below an entry of level > 0, made if it is missing; NULL: no memory. */
static pteval_t *pt_table_alloc(struct mm_struct *mm, pteval_t *entry, unsigned level)
{
	pteval_t v = hal_pte_get(entry);
	struct page *table;

	if (likely(v))
		return pt_table_of(v, level);
	table = pte_alloc_one(mm);
	if (!table)
		return NULL;
	spin_lock(&mm->page_table_lock);
	v = hal_pte_get(entry);
	if (likely(!v)) {
		pt_hook(mm, entry, level, table);
		v = hal_pte_get(entry);
		table = NULL;
	}
	spin_unlock(&mm->page_table_lock);
	if (table)
		pt_page_free(table);
	return pt_table_of(v, level);
}

/* ---- the walker ------------------------------------------------------------------------------ */

pte_t *pt_find(struct mm_struct *mm, uintptr_t addr)
{
	pteval_t *table = mm->pgd;

	for (unsigned level = pt_levels - 1; level > 0; level--) {
		pteval_t v = hal_pte_get(table + pt_index(addr, level));

		if (!v)
			return NULL;
		table = pt_table_of(v, level);
	}
	return table + pt_index(addr, 0);
}

pte_t *pt_make(struct mm_struct *mm, uintptr_t addr)
{
	pteval_t *table = mm->pgd;

	for (unsigned level = pt_levels - 1; level > 0; level--) {
		table = pt_table_alloc(mm, table + pt_index(addr, level), level);
		if (!table)
			return NULL;
	}
	return table + pt_index(addr, 0);
}

pteval_t *pt_lookup(struct mm_struct *mm, uintptr_t addr, pteval_t *v, unsigned *level)
{
	pteval_t *entry = mm->pgd;

	*v = 0;
	*level = pt_levels - 1;
	if ((uintptr_t)((intptr_t)(addr << pt_unused_bits) >> pt_unused_bits) != addr)
		return NULL;
	for (;; --*level) {
		entry += pt_index(addr, *level);
		*v = hal_pte_get(entry);
		if (!arch_pte_is_table(*v, *level))
			return entry;
		entry = pt_table_of(*v, *level);
	}
}

static int pt_for_each_below(struct mm_struct *mm, pteval_t *table, unsigned level,
			     uintptr_t start, uintptr_t end, pt_range_fn fn, void *ctx)
{
	uintptr_t next;

	for (; start != end; start = next) {
		pteval_t v = hal_pte_get(table + pt_index(start, level));
		pteval_t *below;
		int err;

		next = pt_addr_end(start, end, level);
		if (!v)
			continue;
		below = pt_table_of(v, level);
		if (level == 1)
			err = fn(mm, below + pt_index(start, 0), start, next, ctx);
		else
			err = pt_for_each_below(mm, below, level - 1, start, next, fn, ctx);
		if (err)
			return err;
	}
	return 0;
}

int pt_for_each(struct mm_struct *mm, uintptr_t start, uintptr_t end, pt_range_fn fn, void *ctx)
{
	if (start >= end)
		return 0;
	return pt_for_each_below(mm, mm->pgd, pt_levels - 1, start, end, fn, ctx);
}

static void pt_free_below(struct mmu_gather *tlb, pteval_t *table, unsigned level, uintptr_t start,
			  uintptr_t end, uintptr_t floor, uintptr_t ceiling)
{
	struct mm_struct *mm = tlb->mm;
	uintptr_t next;

	for (; start != end; start = next) {
		pteval_t *entry = table + pt_index(start, level);
		pteval_t v = hal_pte_get(entry);
		uintptr_t first = start & ~(pt_span(level) - 1);
		uintptr_t last = first + pt_span(level) - 1;
		pteval_t *below;

		next = pt_addr_end(start, end, level);
		if (!v)
			continue;
		below = pt_table_of(v, level);
		if (level > 1)
			pt_free_below(tlb, below, level - 1, start, next, floor, ceiling);
		if (first < floor || last > ceiling - 1)
			continue;
		spin_lock(&mm->page_table_lock);
		hal_pte_set(entry, 0);
		count_entry(entry, -1);
		spin_unlock(&mm->page_table_lock);
		__atomic_fetch_sub(&mm->pgtables_bytes, PAGE_SIZE, __ATOMIC_RELAXED);
		tlb_remove_table(tlb, virt_to_page(below), start, next);
	}
}

void free_pgd_range(struct mmu_gather *tlb, uintptr_t start, uintptr_t end, uintptr_t floor,
		    uintptr_t ceiling)
{
	if (start < end)
		pt_free_below(tlb, tlb->mm->pgd, pt_levels - 1, start, end, floor, ceiling);
}

/* ---- entries --------------------------------------------------------------------------------- */

pte_t pte_modify(pte_t pte, pgprot_t prot)
{
	struct pte_desc old = pte_desc(pte);

	prot.d.pfn = old.pfn;
	prot.d.accessed = old.accessed;
	prot.d.dirty = old.dirty;
	prot.d.soft_dirty = old.soft_dirty;
	prot.d.special = old.special;
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
		/* Linux lets every writable page be read, on machines that could tell them apart too. */
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

pgprot_t vm_get_page_prot(vm_flags_t flags)
{
	return *protection(true, flags);
}

void pgtable_init(void)
{
	pt_levels = hal_mmu_info()->levels;
	pt_unused_bits = 64 - hal_mmu_info()->va_bits;
	protection_map_init();
}

/* ---- roots ----------------------------------------------------------------------------------- */

int pgd_init(struct mm_struct *mm, struct page *root)
{
	int err = hal_space_init(&mm->arch, page_to_pfn(root), mm->user);

	if (err)
		return err;
	mm->pgd = page_address(root);
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

	hal_space_destroy(&mm->arch);
	mm->pgd = NULL;
	pt_page_free(root);
}

/* ---- the five names, folded where a level is absent ------------------------------------------- */

/* The levels that the names stand for when they exist; the root takes the highest that does. */
enum { LVL_PMD = 1, LVL_PUD = 2, LVL_P4D = 3, LVL_PGD = 4 };

static unsigned pgd_level(void)
{
	return pt_levels - 1;
}

/* The entry in the table below e, or e itself where that level is folded away. */
static void *below_or_same(void *e, bool exists, unsigned level, uintptr_t addr)
{
	pteval_t *entry = e;

	if (!exists)
		return e;
	return pt_table_of(hal_pte_get(entry), level + 1) + pt_index(addr, level);
}

pgd_t *pgd_offset(struct mm_struct *mm, uintptr_t addr)
{
	return (pgd_t *)(mm->pgd + pt_index(addr, pgd_level()));
}

p4d_t *p4d_offset(pgd_t *pgd, uintptr_t addr)
{
	return below_or_same(pgd, PT_HAS_P4D, LVL_P4D, addr);
}

pud_t *pud_offset(p4d_t *p4d, uintptr_t addr)
{
	return below_or_same(p4d, PT_HAS_PUD, LVL_PUD, addr);
}

pmd_t *pmd_offset(pud_t *pud, uintptr_t addr)
{
	return below_or_same(pud, PT_HAS_PMD, LVL_PMD, addr);
}

pte_t *pte_offset(pmd_t *pmd, uintptr_t addr)
{
	return pt_table_of(hal_pte_get(&pmd->v), LVL_PMD) + pt_index(addr, 0);
}

bool pgd_none(pgd_t e)
{
	return PT_HAS_P4D && !e.v;
}

bool p4d_none(p4d_t e)
{
	return PT_HAS_PUD && !e.v;
}

bool pud_none(pud_t e)
{
	return PT_HAS_PMD && !e.v;
}

bool pmd_none(pmd_t e)
{
	return !e.v;
}

void pgd_populate(struct mm_struct *mm, pgd_t *e, struct page *table)
{
	pt_hook(mm, &e->v, LVL_PGD, table);
}

void p4d_populate(struct mm_struct *mm, p4d_t *e, struct page *table)
{
	pt_hook(mm, &e->v, LVL_P4D, table);
}

void pud_populate(struct mm_struct *mm, pud_t *e, struct page *table)
{
	pt_hook(mm, &e->v, LVL_PUD, table);
}

void pmd_populate(struct mm_struct *mm, pmd_t *e, struct page *table)
{
	pt_hook(mm, &e->v, LVL_PMD, table);
}

static void *alloc_below(struct mm_struct *mm, void *e, bool exists, unsigned level, uintptr_t addr)
{
	pteval_t *table;

	if (!exists)
		return e;
	table = pt_table_alloc(mm, e, level + 1);
	return table ? table + pt_index(addr, level) : NULL;
}

p4d_t *p4d_alloc(struct mm_struct *mm, pgd_t *e, uintptr_t addr)
{
	return alloc_below(mm, e, PT_HAS_P4D, LVL_P4D, addr);
}

pud_t *pud_alloc(struct mm_struct *mm, p4d_t *e, uintptr_t addr)
{
	return alloc_below(mm, e, PT_HAS_PUD, LVL_PUD, addr);
}

pmd_t *pmd_alloc(struct mm_struct *mm, pud_t *e, uintptr_t addr)
{
	return alloc_below(mm, e, PT_HAS_PMD, LVL_PMD, addr);
}

int pte_alloc(struct mm_struct *mm, pmd_t *e)
{
	return pt_table_alloc(mm, &e->v, LVL_PMD) ? 0 : -ENOMEM;
}
