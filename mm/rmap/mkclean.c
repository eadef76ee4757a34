/* SPDX-License-Identifier: MIT */
/*
 * A page of a file is about to be written to its device: every entry of a shared mapping loses its right
 * to write and its dirty bit, so that the next write faults and is noticed. The translations go before
 * the table's lock is let go: from then on nobody writes without having asked. Private mappings have no
 * entry of the page that could be written by.
 */
#include "mm/object/hooks.h"
#include "mm/rmap/rmap.h"
#include "mm/table/pgtable.h"

/* Table locked. True: it could be written by, or was. */
static bool clean_pte(struct vm_area_struct *vma, uintptr_t addr, pte_t *pte)
{
	pte_t v = pte_get(pte), now;
	const bool leaf = arch_pte_is_leaf(v); /* or PROT_NONE, which has no right to write */
	const unsigned bits = leaf ? PTE_BIT_W | PTE_BIT_DIRTY : PTE_BIT_DIRTY;

	assert_pte_locked(pte);
	if (!pte_write(v) && !arch_pte_has(v, PTE_BIT_DIRTY))
		return false;
	/* The hardware may set bits until the right to write is gone. */
	while ((now = hal_pte_cmpxchg(pte, v, arch_pte_edit(v, 0, bits))) != v)
		v = now;
	if (leaf)
		hal_tlb_flush(&vma->vm_mm->arch, addr, addr + PAGE_SIZE, 0, false);
	return true;
}

static bool mkclean_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	bool *cleaned = ctx;
	pte_t *pte, v;

	assert_page_locked(page);
	if (!(vma_flags_now(vma) & VM_SHARED))
		return true;
	pte = pt_find(vma->vm_mm, addr);
	if (!pte)
		return true;
	ptl_lock(pte_lockptr(pte));
	v = pte_get(pte);
	if (pte_present(v) && pte_pfn(v).n == page_to_pfn(page).n)
		*cleaned |= clean_pte(vma, addr, pte);
	ptl_unlock(pte_lockptr(pte));
	return true;
}

bool page_mkclean(struct page *page)
{
	bool cleaned = false;

	assert_page_locked(page);
	if (page_mapcount(page) > 0)
		rmap_walk(page, mkclean_one, &cleaned);
	return cleaned;
}
