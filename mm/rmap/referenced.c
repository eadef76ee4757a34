/* SPDX-License-Identifier: MIT */
/* Was a page used lately? Asks every entry that names it, and lets each forget. And is it locked? */
#include "mm/rmap/rmap.h"
#include "mm/table/pgtable.h"

struct referenced {
	int seen;	     /* entries that said so */
	int left;	     /* entries that are still to be asked */
	vm_flags_t vm_flags; /* of their VMAs */
};

/* One entry: true goes on. The translation may stay cached, as in Linux on x86-64: a CPU then does not
 * mark the page again for a while, which makes it look a little older than it is. */
static bool referenced_pte(struct referenced *r, struct vm_area_struct *vma, pte_t *pte)
{
	struct pte_desc d = pte_desc(pte_get(pte));

	assert_pte_locked(pte);
	if (d.accessed) {
		pte_clear_accessed(pte, d);
		/* Who reads in order has no use for the page a second time. */
		if (!(vma_flags_now(vma) & VM_SEQ_READ)) {
			r->seen++;
			r->vm_flags |= vma_flags_now(vma);
		}
	}
	return --r->left > 0;
}

static bool page_referenced_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr,
				void *ctx)
{
	struct referenced *r = ctx;
	pte_t *pte = pt_find(vma->vm_mm, addr), v;
	bool on = true;

	if (!pte)
		return true;
	ptl_lock(pte_lockptr(pte));
	v = pte_get(pte);
	if (pte_present(v) && pte_pfn(v).n == page_to_pfn(page).n) {
		if (vma_flags_now(vma) & VM_LOCKED) { /* it stays, whatever the others say */
			r->vm_flags |= VM_LOCKED;
			on = false;
		} else {
			on = referenced_pte(r, vma, pte);
		}
	}
	ptl_unlock(pte_lockptr(pte));
	return on;
}

int page_referenced(struct page *page, bool locked, vm_flags_t *vm_flags)
{
	struct referenced r = {.left = page_mapcount(page)};
	bool ours = false;

	*vm_flags = 0;
	if (r.left <= 0)
		return 0;
	/* A file's tree of VMAs may only be looked at while the page stays its own. */
	if (!locked && !PageAnon(page)) {
		ours = trylock_page(page);
		if (!ours)
			return 1;
	}
	rmap_walk(page, page_referenced_one, &r);
	if (ours)
		unlock_page(page);
	*vm_flags = r.vm_flags;
	return r.seen;
}

/* ---- locked areas ------------------------------------------------------------------------------ */

static bool mlocked_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	pte_t *pte = vma_flags_now(vma) & VM_LOCKED ? pt_find(vma->vm_mm, addr) : NULL, v;
	bool *locks = ctx;

	assert_page_locked(page);
	if (!pte)
		return true;
	ptl_lock(pte_lockptr(pte));
	v = pte_get(pte);
	*locks = pte_present(v) && pte_pfn(v).n == page_to_pfn(page).n;
	ptl_unlock(pte_lockptr(pte));
	return !*locks;
}

bool page_mlocked_by_vma(struct page *page)
{
	bool locks = false;

	assert_page_locked(page);
	if (page_mapcount(page) > 0)
		rmap_walk(page, mlocked_one, &locks);
	return locks;
}
