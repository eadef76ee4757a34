/* SPDX-License-Identifier: MIT */
/* Page tables by hand: the five names, folding, counts, the walk, the gather. */
#include "space.h"
#include "mm/base/vmstat.h"

static pte_t *map_by_names(struct mm_struct *mm, uintptr_t addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d = p4d_alloc(mm, pgd, addr);
	pud_t *pud = pud_alloc(mm, p4d, addr);
	pmd_t *pmd = pmd_alloc(mm, pud, addr);

	cr_assert_eq(pte_alloc(mm, pmd), 0);
	cr_expect_not(pgd_none(*pgd) || p4d_none(*p4d) || pud_none(*pud) || pmd_none(*pmd));
	cr_expect_eq((void *)p4d_offset(pgd, addr), (void *)p4d);
	cr_expect_eq((void *)pud_offset(p4d, addr), (void *)pud);
	cr_expect_eq((void *)pmd_offset(pud, addr), (void *)pmd);
	return pte_offset_map(pmd, addr);
}

static void free_all(struct mm_struct *mm, uintptr_t a)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, mm);
	SPACE_LOCKED(mm, free_pgd_range(&tlb, a, a + PS, 0, 0));
	tlb_finish_mmu(&tlb);
	cr_expect_eq(mm->pgtables_bytes, 0);
}

/* Each name that makes a table says when there is no memory for it; what is above stays. */
static void names_fail(struct mm_struct *mm, uintptr_t addr)
{
	struct mmu_gather tlb;
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

#define FAILS(x)                                            \
	({                                                  \
		uint64_t hits_ = quire_inject_hits(QUIRE_INJECT_PAGE); \
		bool none_;                                 \
		quire_inject_set(QUIRE_INJECT_PAGE, 1);     \
		none_ = !(x);                               \
		quire_inject_set(QUIRE_INJECT_PAGE, 0);     \
		cr_expect_eq(quire_inject_hits(QUIRE_INJECT_PAGE) - hits_, none_, "%s", #x); \
		none_;                                      \
	})
	cr_expect_eq(FAILS(p4d_alloc(mm, pgd, addr)), !pt_folded(P4D_LEVEL));
	cr_expect_eq(pgd_none(*pgd), !pt_folded(P4D_LEVEL));
	p4d = p4d_alloc(mm, pgd, addr);
	cr_expect_eq(FAILS(pud_alloc(mm, p4d, addr)), !pt_folded(PUD_LEVEL));
	cr_expect_eq(p4d_none(*p4d), !pt_folded(PUD_LEVEL));
	pud = pud_alloc(mm, p4d, addr);
	cr_expect_eq(FAILS(pmd_alloc(mm, pud, addr)), !pt_folded(PMD_LEVEL));
	cr_expect_eq(pud_none(*pud), !pt_folded(PMD_LEVEL));
	pmd = pmd_alloc(mm, pud, addr);
	cr_expect(FAILS(pte_alloc(mm, pmd) == 0));
	cr_expect(pmd_none(*pmd));
	/* An empty range frees nothing, and leads to no harm. */
	tlb_gather_mmu(&tlb, mm);
	SPACE_LOCKED(mm, free_pgd_range(&tlb, addr, addr, 0, 0));
	tlb_finish_mmu(&tlb);
}

static void names_on(unsigned levels)
{
	struct mm_struct *mm;
	pte_t *pte;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .levels = levels});
	mm = mm_now();
	cr_expect_eq(pt_find(mm, AT(3)), NULL);
	names_fail(mm, AT(3));
	pte = map_by_names(mm, AT(3));
	cr_expect_eq(pte, pt_find(mm, AT(3)));
	cr_expect_eq(pte, pt_make(mm, AT(3)));
	cr_expect_eq(mm->pgtables_bytes, (pt_levels - 1) * PS);
	cr_expect_eq(pt_page(pte)->private, 0);
	free_all(mm, AT(3));
	space_down();
}

Test(pgtable, five_names)
{
	names_on(0);
	if (PS == 4096) {
		names_on(3);
		names_on(5);
	}
}

/* Who comes second gives his table back, and without one there is nothing to hook. */
Test(pgtable, populate)
{
	struct mm_struct *mm;
	struct page *second;
	pmd_t *pmd, was;
	long tables;

	space_up();
	mm = mm_now();
	map_by_names(mm, AT(3));
	pmd = pmd_offset(pud_offset(p4d_offset(pgd_offset(mm, AT(3)), AT(3)), AT(3)), AT(3));
	was = pmdp_get(pmd);
	tables = node_page_state(NR_PAGETABLE);
	second = pte_alloc_one(mm);
	cr_assert_not_null(second);
	cr_expect_eq(node_page_state(NR_PAGETABLE), tables + 1);
	cr_expect_eq(pmd_populate(mm, pmd, second), 0);
	cr_expect_eq(pmdp_get(pmd).v, was.v);
	cr_expect_eq(node_page_state(NR_PAGETABLE), tables);
	cr_expect_eq(mm->pgtables_bytes, (pt_levels - 1) * PS);
	cr_expect_eq(pmd_populate(mm, pmd, NULL), -ENOMEM);
	check_now();
	free_all(mm, AT(3));
	space_down();
}

Test(pgtable, entries)
{
	pgprot_t prot;
	struct pte_desc d;
	pte_t v;

	space_up();
	prot = *vm_get_page_prot(true, VM_READ | VM_WRITE);
	v = mk_pte(zero_page, &prot);
	cr_expect(pte_present(v) && !pte_write(v), "private memory is read-only at first");
	cr_expect_eq(pte_pfn(v).n, page_to_pfn(zero_page).n);
	cr_expect(pte_write(mk_pte(zero_page, vm_get_page_prot(true, VM_READ | VM_WRITE | VM_SHARED))));
	v = pte_modify(v, *vm_get_page_prot(true, 0));
	d = pte_desc(v);
	cr_expect_eq(d.kind, PTE_PROTNONE);
	cr_expect(pte_present(v) && !pte_none(v));
	cr_expect_eq(pte_pfn(v).n, page_to_pfn(zero_page).n);
	v = pte_modify(v, *vm_get_page_prot(true, VM_READ | VM_EXEC));
	cr_expect_eq(pte_desc(v).kind, PTE_LEAF);
	cr_expect(pte_desc(v).x);
	cr_expect(pte_desc(v).accessed);
	cr_expect(pte_desc(mk_pte(zero_page, vm_get_page_prot(true, VM_WRITE))).r, "W means R");
	space_down();
}

/* Out of memory in the middle of a walk leaves nothing that is not counted. */
Test(pgtable, failing_allocations)
{
	unsigned n;

	space_up();
	for (n = 1; n < 10; n++) {
		pte_t *pte;

		quire_inject_set(QUIRE_INJECT_PAGE, 1);
		pte = pt_make(mm_now(), AT(7));
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		check_now();
		if (pte)
			break;
		/* One level more each time. */
		pgd_offset(mm_now(), AT(7));
		quire_inject_set(QUIRE_INJECT_PAGE, 2);
		pt_make(mm_now(), AT(7));
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
	}
	cr_expect_leq(n, pt_levels);
	free_all(mm_now(), AT(7));
	space_down();
}

/* Entries looked at while a range without pages is mapped, protected and unmapped. */
static uint64_t reads_of(size_t len)
{
	uint64_t before = fake_entry_reads;
	long at = quire_mmap(cur, 0, len, RW, PRIV | MAP_NORESERVE, NULL, 0);

	cr_assert_gt(at, 0);
	cr_expect_eq(quire_mprotect(cur, (uintptr_t)at, len, PROT_READ), 0);
	cr_expect_eq(quire_munmap(cur, (uintptr_t)at, len), 0);
	before = fake_entry_reads - before;
	check_now();
	return before;
}

/* Whatever its size, and with pages mapped round it at every distance. */
Test(pgtable, a_range_without_pages_is_passed_over)
{
	uint64_t page, half;
	size_t sizes[] = {PMD_SPAN * 3, MIB << 10, MIB << 14, 0};

	space_up();
	sizes[3] = mm_now()->task_size / 2;
	for (uintptr_t a = PS; a < mm_now()->task_size; a *= 8) {
		mmap_at(BASE % a + a, 1, RW, PRIV | FIX);
		store_at(BASE % a + a, 1);
	}
	page = reads_of(PS);
	for (unsigned i = 0; i < 4; i++) {
		half = reads_of(sizes[i]);
		cr_expect_leq(half, page + 3 * 8 * pt_levels, "%zu bytes: %llu entries, a page: %llu",
			      sizes[i], (unsigned long long)half, (unsigned long long)page);
	}
	space_down();
}

Test(pgtable, floor_and_ceiling)
{
	struct mm_struct *mm;
	struct mmu_gather tlb;
	uintptr_t next = BASE + PMD_SPAN;

	space_up();
	mm = mm_now();
	pt_make(mm, BASE);
	pt_make(mm, next);
	cr_expect_eq(mm->pgtables_bytes, pt_levels * PS);
	tlb_gather_mmu(&tlb, mm);
	SPACE_LOCKED(mm, free_pgd_range(&tlb, BASE, next, BASE + PS, 0));
	tlb_finish_mmu(&tlb);
	cr_expect_eq(mm->pgtables_bytes, pt_levels * PS, "the table starts below the floor");
	tlb_gather_mmu(&tlb, mm);
	SPACE_LOCKED(mm, free_pgd_range(&tlb, BASE, next, 0, next));
	tlb_finish_mmu(&tlb);
	cr_expect_eq(mm->pgtables_bytes, (pt_levels - 1) * PS);
	tlb_gather_mmu(&tlb, mm);
	SPACE_LOCKED(mm, free_pgd_range(&tlb, next, next + PS, 0, 0));
	tlb_finish_mmu(&tlb);
	cr_expect_eq(mm->pgtables_bytes, 0);
	space_down();
}
