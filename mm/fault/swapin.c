/* SPDX-License-Identifier: MIT */
/*
 * Faults on swap entries: row `swap` of the fault table, and readahead by addresses.
 *
 *   do_swap_page
 *   |- the entry says that it could not be read ... SIGBUS
 *   |- the page is in the swap cache .............. minor
 *   |- else it is read, with its neighbours ....... major
 *   |- it is still being read: mmap_lock is given up meanwhile, once (VM_FAULT_UNLOCKED)
 *   |- another CPU was faster ..................... spurious: everything is let go
 *   |- the read failed ............................ SIGBUS, if this fault has started it
 *   `- the page takes the entry's place
 *      |- a write, and no other entry leads to the page: it leaves the cache and becomes writable
 *      |- a write else ............................ mapped, then do_wp_page: copied
 *      `- a read .................................. mapped read-only; it stays in the cache, so that it need not be
 *                                                   written again if nobody writes to it
 *
 * Readahead. On a device without seeks, neighbours by address are worth more than neighbours on the
 * device: what lies together in a VMA is used together, however it was written. A VMA remembers where
 * swap was last asked for, how large the window was and how many pages of it were of use
 * (vma->swap_ra); windows grow by use and shrink by half, up to 2^page-cluster. Where a device seeks,
 * neighbours on it are read (swap_cluster_readahead).
 *
 * Locks. mmap_lock for reading; the page lock is waited for without any table's. The area is kept by
 * get_swap_device() for as long as the entry is used without one of them.
 */
#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/fault/fault.h"
#include "mm/fault/memory.h"
#include "mm/rmap/rmap.h"
#include "mm/swap/swap.h"
#include <quire/trace.h>

/* ---- readahead by addresses -------------------------------------------------------------------- */

/* vma->swap_ra: the page's address, the window in the upper half of the bits below it, hits in the
 * lower one. */
#define RA_HIT_BITS 6u
#define RA_HITS_MAX ((1ul << RA_HIT_BITS) - 1)
#define RA_WIN_MAX_ORDER 5 /* a window fits its bits */
#define RA_FIRST_HITS 4ul  /* of a VMA that nothing is known of: begin with some */

static unsigned long ra_pack(uintptr_t addr, unsigned win, unsigned long hits)
{
	return (addr & PAGE_MASK) | (unsigned long)win << RA_HIT_BITS | min(hits, RA_HITS_MAX);
}

static unsigned ra_win(unsigned long ra)
{
	return (unsigned)((ra & ~PAGE_MASK) >> RA_HIT_BITS);
}

/* The page that was read ahead for the VMA is wanted, or one that was there anyway. */
static void note_cached(struct vm_fault *vmf, struct page *page, swp_entry_t entry)
{
	unsigned long ra = READ_ONCE(vmf->vma->swap_ra), hits = ra ? ra & RA_HITS_MAX : RA_FIRST_HITS;

	if (swap_readahead_hit(entry, page))
		hits++;
	WRITE_ONCE(vmf->vma->swap_ra, ra_pack(vmf->address, ra_win(ra), hits));
}

/* How many pages to read for one, as for neighbours on the device (5.10's __swapin_nr_pages). */
static unsigned window_size(uintptr_t prev, uintptr_t addr, unsigned long hits, unsigned most,
			    unsigned last)
{
	unsigned n = (unsigned)hits + 2;

	if (n == 2) {
		n = addr == prev + PAGE_SIZE || addr + PAGE_SIZE == prev ? 2 : 1;
	} else {
		unsigned up = 4;

		while (up < n)
			up <<= 1;
		n = up;
	}
	return max(min(n, most), last / 2);
}

/* The window round the fault, inside VMA and table: [*start, *end). False: the page alone. */
static bool ra_window(struct vm_fault *vmf, uintptr_t *start, uintptr_t *end)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long ra = READ_ONCE(vma->swap_ra);
	uintptr_t addr = vmf->address, prev = ra & PAGE_MASK, low, high, table = addr & ~(PMD_SPAN - 1);
	unsigned most = 1u << min(READ_ONCE(vm_sysctl.page_cluster), (long)RA_WIN_MAX_ORDER), win;
	size_t before;

	if (most == 1)
		return false;
	win = window_size(prev, addr, ra ? ra & RA_HITS_MAX : RA_FIRST_HITS, most, ra_win(ra));
	WRITE_ONCE(vma->swap_ra, ra_pack(addr, win, 0));
	if (win == 1)
		return false;
	if (addr == prev + PAGE_SIZE) /* upwards */
		before = 0;
	else if (addr + PAGE_SIZE == prev)
		before = win - 1;
	else
		before = (win - 1) / 2;
	low = max(vma->vm_start, table);
	high = min(vma->vm_end, table + PMD_SPAN);
	*start = addr - low > before << PAGE_SHIFT ? addr - (before << PAGE_SHIFT) : low;
	before = win - before;
	*end = high - addr > before << PAGE_SHIFT ? addr + (before << PAGE_SHIFT) : high;
	return true;
}

/* Starts to read what one entry of the window names, if it is a swap entry. */
static void read_ahead(pte_t v, gfp_t gfp, struct swap_plug *plug)
{
	swp_entry_t entry;
	struct page *page;
	bool fresh;

	if (!is_swap_pte(v))
		return;
	entry = pte_to_swp_entry(v);
	/* It was read without a lock, so it may be gone by now. */
	if (is_swapin_error(entry) || swap_is_compressed(entry) || !get_swap_device(entry))
		return;
	page = swap_cache_page_of(entry, SWAP_READAHEAD_GFP(gfp), &fresh);
	if (page && fresh) {
		page_set(page, PG_readahead);
		count_vm_event(SWAP_RA);
		swap_readpage(page, plug);
	}
	if (page)
		put_page(page);
	put_swap_device_of(entry);
}

/* The entry's page, being read or there, referenced; NULL: no memory, or nobody needs it any more. The
 * area is kept by the caller. *alone: as swap_cluster_readahead() says. */
static struct page *swapin_readahead(struct vm_fault *vmf, swp_entry_t entry, gfp_t gfp, bool *alone)
{
	struct swap_plug plug = SWAP_PLUG_INIT;
	uintptr_t start, end;
	struct page *page;
	bool fresh;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	if (swap_is_rotational(entry))
		return swap_cluster_readahead(entry, gfp, alone);
	page = swap_cache_page_of(entry, gfp, &fresh);
	if (!page || !fresh)
		return page;
	/* What no device was asked for tells nothing of what reading ahead is worth. */
	if (!swap_readpage(page, &plug))
		return page;
	*alone = !ra_window(vmf, &start, &end);
	if (!*alone)
		for (uintptr_t at = start; at < end; at += PAGE_SIZE)
			if (at != vmf->address)
				read_ahead(pte_get(vmf->pte + ((intptr_t)(at - vmf->address) >>
							       PAGE_SHIFT)),
					   gfp, &plug);
	swap_plug_flush(&plug);
	return page;
}

/* ---- the row ----------------------------------------------------------------------------------- */

/* The page lock. False: mmap_lock was given up instead, and the page was waited for. */
static bool lock_page_or_retry(struct vm_fault *vmf, struct page *page)
{
	if (trylock_page(page))
		return true;
	if (!fault_flag_allow_retry_first(vmf->flags)) {
		lock_page(page);
		return true;
	}
	up_read(&vmf->vma->vm_mm->mmap_lock);
	wait_on_page_locked(page);
	return false;
}

/* The page takes the place of the entry. Page and table locked; unlocks both. */
static vm_fault_t map_swapped_in(struct vm_fault *vmf, struct page *page, swp_entry_t entry)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	bool write = vmf->flags & FAULT_FLAG_WRITE, own = write && reuse_swap_page(page);
	pte_t v = own ? mk_pte_dirty(page, vma->vm_page_prot) : mk_pte(page, vma->vm_page_prot);

	assert_page_locked(page);
	assert_pte_locked(vmf->pte);
	if (pte_desc(vmf->orig_pte).soft_dirty)
		v = arch_pte_edit(v, PTE_BIT_SOFT_DIRTY, 0);
	if (unlikely(pte_uffd_wp(vmf->orig_pte)))
		v = pte_mkuffd_wp(v);
	add_mm_counter(mm, MM_ANONPAGES, 1);
	add_mm_counter(mm, MM_SWAPENTS, -1);
	if (vma->vm_page_prot->d.x)
		hal_icache_sync(page_address(page), PAGE_SIZE);
	do_page_add_anon_rmap(page, vma, vmf->address, own);
	set_pte_at(mm, vmf->address, vmf->pte, v);
	hal_pt_published(&mm->arch, vmf->address);
	swap_free(entry);
	if (vm_swap_full() || vma->vm_flags & VM_LOCKED || page_test(page, PG_mlocked))
		try_to_free_swap(page);
	unlock_page(page);
	if (write && (!own || unlikely(pte_uffd_wp(v)))) {
		vmf->orig_pte = v;
		return do_wp_page(vmf); /* unlocks the table */
	}
	fault_unlock(vmf);
	return 0;
}

/* The page is there, referenced, and maybe still being read; ours: the read is the one that this fault
 * has started, alone: without others. Consumes the reference, or makes it the entry's. */
static vm_fault_t swap_page_found(struct vm_fault *vmf, struct page *page, swp_entry_t entry, bool ours,
				  bool alone)
{
	unsigned long stall = alone ? psi_memstall_enter() : 0;
	bool locked = lock_page_or_retry(vmf, page);
	vm_fault_t ret = 0;

	if (alone)
		psi_memstall_leave(stall);
	if (!locked) {
		put_page(page);
		return VM_FAULT_RETRY | VM_FAULT_UNLOCKED;
	}
	/* It may have left the cache before it was locked, and be another's by now. */
	if (unlikely(!swap_cache_page_is(page, entry)))
		goto spurious;
	fault_lock(vmf);
	if (unlikely(pte_get(vmf->pte) != vmf->orig_pte)) {
		fault_unlock(vmf);
		goto spurious;
	}
	if (likely(PageUptodate(page)))
		return map_swapped_in(vmf, page, entry);
	fault_unlock(vmf);
	/* It leaves the cache, so that the next one to come reads again. Somebody else's read, maybe
	 * ahead of any need, is not this access's: it tries for itself. */
	delete_from_swap_cache(page);
	if (ours) {
		ret = VM_FAULT_SIGBUS;
		goto drop;
	}
spurious:
	vmf->row = QUIRE_ROW_SPURIOUS;
drop:
	unlock_page(page);
	put_page(page);
	return ret;
}

/* NULL was the answer: is it the memory that is missing, or the need? */
static vm_fault_t no_page(struct vm_fault *vmf)
{
	bool same;

	fault_lock(vmf);
	same = pte_get(vmf->pte) == vmf->orig_pte;
	fault_unlock(vmf);
	if (same)
		return VM_FAULT_OOM;
	vmf->row = QUIRE_ROW_SPURIOUS;
	return 0;
}

vm_fault_t do_swap_page(struct vm_fault *vmf)
{
	swp_entry_t entry = pte_to_swp_entry(vmf->orig_pte);
	vm_fault_t ret = 0;
	struct page *page;
	bool alone = false;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	ASSERT(vmf->vma->anon_vma);
	vmf->row = QUIRE_ROW_SWAP;
	if (is_swapin_error(entry))
		return VM_FAULT_SIGBUS;
	if (unlikely(!get_swap_device(entry))) {
		/* swapoff has just brought it in. */
		vmf->row = QUIRE_ROW_SPURIOUS;
		return 0;
	}
	page = lookup_swap_cache(entry);
	if (page) {
		note_cached(vmf, page, entry);
	} else {
		page = swapin_readahead(vmf, entry, GFP_HIGHUSER_MOVABLE, &alone);
		ret = page ? VM_FAULT_MAJOR : 0;
	}
	ret |= page ? swap_page_found(vmf, page, entry, ret, alone) : no_page(vmf);
	put_swap_device_of(entry);
	return ret;
}
