/* SPDX-License-Identifier: MIT */
/*
 * Page-fault handlers: how an entry is filled or changed so that an access can go on. One function
 * for each row of the fault table in docs/fault.md. fault.c has found the VMA and decided that it
 * allows the access; here handle_mm_fault() decodes the level-0 entry once and takes one row:
 *
 *   entry empty
 *   |- VMA has no object: do_anonymous_page
 *   |  |- VM_UFFD_MISSING ....................... a program fills it: handle_userfault
 *   |  |- VM_SHARED ............................. SIGBUS (there is nowhere to keep what is written)
 *   |  |- read or fetch ......................... zero     do_zero_page
 *   |  `- write ................................. anon     do_anon_page
 *   `- VMA has an object: do_fault
 *      |- no fault method ....................... SIGBUS
 *      |- read or fetch: do_read_fault
 *      |  |- page cached, with neighbours ....... around   do_fault_around    } shmem, if the page
 *      |  |- page cached, alone ................. file     do_fault_around    } is of shared
 *      |  `- page to be read or made ............ file     finish_fault       } memory
 *      |- write, VM_SHARED ...................... file     do_shared_fault    }
 *      `- write, private ........................ cow      do_cow_fault
 *   swap entry ................................. swap     do_swap_page (swapin.c)
 *   entry for a page on the move ................ spurious migration_entry_wait
 *   entry of no known kind ...................... fault_panic
 *   entry present: do_present
 *   |- no longer what was decoded ............... spurious
 *   |- write to a read-only entry: do_wp_page
 *   |  |- marked, and VM_UFFD_WP ............... a program lets it: handle_userfault
 *   |  |- anonymous page, we are its sole owner . reuse    wp_page_reuse
 *   |  |- object's page, VM_WRITE and VM_SHARED . reuse    wp_page_shared
 *   |  `- else (the page of zeros too) .......... cow      wp_page_copy
 *   |- accessed, or on a write dirty, missing ... ad       set_access_flags
 *   `- nothing missing .......................... spurious published to the CPU once more
 *
 * A failed row ends as `oom` or `bus` (row_of_failure). Tables that are missing are made first.
 *
 * Terms. The *entry* is the page's word in a level-0 table. A page's *sole owner* holds the one
 * reference and the one entry that there are of it, and gets the page lock at the first try: as
 * no other thread can reach the page, it may be written in place. A fault is *spurious* when
 * there is nothing to do any more: another CPU was faster, or this one saw an old translation.
 *
 * Algorithm. Each row first prepares what may sleep (a page, an anon_vma, the object's page), then
 * locks the table, checks that the entry is still what was decoded, and only then stores. If it is
 * not, the row drops what it prepared and returns success: the access is repeated and faults again
 * if it must. So no row has to be undone, and an error leaves nothing changed.
 * - empty to present: count, store, hal_pt_published(), for machines that may cache an absent
 *   translation; no flush.
 * - present to another frame (wp_replace): through empty and a flush, so that no CPU reads the old
 *   frame while another writes the new one.
 * - present to more rights: stored in place and published.
 * - an executable page is made visible to instruction fetch before its entry is stored.
 *
 * Locks. mmap_lock for reading throughout: VMAs do not change and tables do not go. The lock of the
 * level-0 table (vmf->ptl) from the check to the store. An object's fault method returns the page
 * locked, which keeps truncation away until the entry is there. do_fault_around() takes the page
 * locks by trylock only, for it holds the table's lock.
 *
 * The rows `swap` and those of files give up mmap_lock while they wait for a device, once
 * (VM_FAULT_UNLOCKED): then nothing of the VMA may be looked at any more.
 *
 * Limits. No row for huge pages. The window of `around` is fault_around_bytes and never leaves a table.
 *
 * Tried and rejected. Decoding an entry into its fields, changing them and encoding it again: rows
 * ask for single bits and edit the word (arch_pte_has, arch_pte_edit), and new entries are made
 * from the VMA's ready word (vm_page_prot); with it a reuse went from 958 to 650 instructions.
 */
#include "mm/fault/memory.h"
#include "lib/string.h"
#include "mm/fault/fault.h"
#include "mm/migrate/migrate.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include <quire/trace.h>

uint64_t fault_rows[QUIRE_ROW_MAX];

/* One page for user memory at addr of vma (the place for a placement policy). NULL: none. */
static struct page *alloc_pages_vma(gfp_t gfp, unsigned order, struct vm_area_struct *vma,
				    uintptr_t addr)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	return alloc_pages(gfp, order);
}

/* ---- common parts ---------------------------------------------------------------------------- */

void fault_lock(struct vm_fault *vmf)
{
	ASSERT_DEBUG(vmf->pte);
	vmf->ptl = pte_lockptr(vmf->pte);
	ptl_lock(vmf->ptl);
}

void fault_unlock(struct vm_fault *vmf)
{
	assert_ptl_held(vmf->ptl);
	ptl_unlock(vmf->ptl);
}

/* Stores an entry that is empty, and counted already, and lets the access see it. Table locked. */
static inline void store_pte(struct vm_fault *vmf, pte_t *p, uintptr_t addr, pte_t entry, struct page *page)
{
	assert_pte_locked(p);
	ASSERT_DEBUG_I("I29", pte_none(pte_get(p)));
	/* Instruction fetch must see what was written into the page through other addresses. */
	if (vmf->vma->vm_page_prot->d.x)
		hal_icache_sync(page_address(page), PAGE_SIZE);
	set_pte(p, entry);
	hal_pt_published(&vmf->vma->vm_mm->arch, addr);
}

/* The same of one that was not. vmf->ptl is the table's lock. */
static inline void install_pte(struct vm_fault *vmf, pte_t *p, uintptr_t addr, pte_t entry, struct page *page)
{
	assert_ptl_held(vmf->ptl);
	count_entries(container_of(vmf->ptl, struct page, ptl), 1);
	store_pte(vmf, p, addr, entry, page);
}

/* The reaper has taken private pages of a victim: what is missing is not what was there. Looked at with
 * the table locked, as the flag is set before the first entry goes. */
static inline bool is_unstable(const struct vm_fault *vmf)
{
	assert_ptl_held(vmf->ptl);
	return unlikely(READ_ONCE(vmf->vma->vm_mm->flags) & MMF_UNSTABLE) &&
	       !(vmf->vma->vm_flags & VM_SHARED);
}

/* ---- anonymous memory ------------------------------------------------------------------------ */

/* Row zero: a read of untouched anonymous memory sees the shared page of zeros. */
static vm_fault_t do_zero_page(struct vm_fault *vmf)
{
	vm_fault_t ret = 0;

	ASSERT_DEBUG_I("I33", vma_is_anonymous(vmf->vma));
	vmf->row = QUIRE_ROW_ZERO;
	fault_lock(vmf);
	if (is_unstable(vmf))
		ret = VM_FAULT_SIGBUS;
	else if (pte_none(pte_get(vmf->pte)))
		install_pte(vmf, vmf->pte, vmf->address,
			    mk_pte_special(zero_page, vmf->vma->vm_page_prot), zero_page);
	fault_unlock(vmf);
	return ret;
}

/* Row anon: a write to untouched anonymous memory gets a zeroed page. */
static vm_fault_t do_anon_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *page;
	vm_fault_t ret = 0;

	ASSERT_DEBUG(vma_is_anonymous(vma));
	vmf->row = QUIRE_ROW_ANON;
	if (anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	page = alloc_pages_vma(GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0, vma, vmf->address);
	if (!page)
		return VM_FAULT_OOM;
	fault_lock(vmf);
	if (is_unstable(vmf)) {
		ret = VM_FAULT_SIGBUS;
	} else if (pte_none(pte_get(vmf->pte))) {
		add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1);
		page_add_new_anon_rmap(page, vma, vmf->address);
		install_pte(vmf, vmf->pte, vmf->address,
			    mk_pte_dirty(page, vma->vm_page_prot), page);
		page = NULL;
	}
	fault_unlock(vmf);
	if (page)
		put_page(page);
	return ret;
}

/* A program fills this memory. Another one may just have. */
static __attribute__((noinline)) vm_fault_t do_missing(struct vm_fault *vmf)
{
	vm_fault_t ret = 0;
	bool none;

	fault_lock(vmf);
	none = pte_none(pte_get(vmf->pte));
	if (is_unstable(vmf))
		ret = VM_FAULT_SIGBUS;
	fault_unlock(vmf);
	if (ret)
		return ret;
	if (none)
		return handle_userfault(vmf, VM_UFFD_MISSING);
	vmf->row = QUIRE_ROW_SPURIOUS;
	return 0;
}

static vm_fault_t do_anonymous_page(struct vm_fault *vmf)
{
	ASSERT_DEBUG(vma_is_anonymous(vmf->vma));
	/* Shared memory always has an object; one without would lose what is written. */
	if (vmf->vma->vm_flags & VM_SHARED)
		return VM_FAULT_SIGBUS;
	if (unlikely(vmf->vma->vm_flags & VM_UFFD_MISSING))
		return do_missing(vmf);
	return vmf->flags & FAULT_FLAG_WRITE ? do_anon_page(vmf) : do_zero_page(vmf);
}

/* ---- objects --------------------------------------------------------------------------------- */

static bool page_is_shmem(const struct page *page)
{
	return !PageAnon(page) && page_test(page, PG_swapbacked);
}

/* Asks the object for its page: vmf->page, locked and referenced, unless the result says else. */
static vm_fault_t __do_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	ret = vmf->vma->vm_ops->fault(vmf);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		return ret;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(vmf->page);
	assert_page_locked(vmf->page);
	return ret | VM_FAULT_LOCKED;
}

/* Maps the object's page, or the private copy of it, into a still empty entry. */
static vm_fault_t finish_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	bool cow = write && !(vma->vm_flags & VM_SHARED);
	struct page *page = cow ? vmf->cow_page : vmf->page;
	pte_t entry = write ? mk_pte_dirty(page, vma->vm_page_prot)
			    : mk_pte(page, vma->vm_page_prot);
	vm_fault_t ret = 0;

	assert_page_locked(vmf->page);
	ASSERT_DEBUG(page);
	fault_lock(vmf);
	if (is_unstable(vmf)) {
		ret = VM_FAULT_SIGBUS;
	} else if (!pte_none(pte_get(vmf->pte))) {
		ret = VM_FAULT_NOPAGE;
	} else {
		if (cow) {
			add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1);
			page_add_new_anon_rmap(page, vma, vmf->address);
		} else {
			add_mm_counter(vma->vm_mm, mm_counter(page), 1);
			page_add_file_rmap(page);
		}
		install_pte(vmf, vmf->pte, vmf->address, entry, page);
	}
	fault_unlock(vmf);
	return ret;
}

bool filemap_map_one(struct vm_fault *vmf, struct page *page, unsigned long index)
{
	struct vm_area_struct *vma = vmf->vma;
	uintptr_t addr = vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
	pte_t *pte = (pte_t *)((uintptr_t)vmf->pte & PAGE_MASK) + pt_index(addr, 0);

	assert_ptl_held(vmf->ptl);
	assert_page_locked(page);
	ASSERT_DEBUG_I("I17", page_test(page, PG_uptodate));
	ASSERT(addr >= vma->vm_start && addr < vma->vm_end);
	if (!pte_none(pte_get(pte)) || is_unstable(vmf))
		return false;
	add_mm_counter(vma->vm_mm, mm_counter(page), 1);
	page_add_file_rmap(page);
	install_pte(vmf, pte, addr, mk_pte(page, vma->vm_page_prot), page);
	vmf->mapped++;
	return true;
}

/* The row of a page of an object that was mapped as it is. */
static unsigned object_row(const struct page *page, bool several)
{
	if (page_is_shmem(page))
		return QUIRE_ROW_SHMEM;
	return several ? QUIRE_ROW_AROUND : QUIRE_ROW_FILE;
}

/*
 * Maps what the object has cached in a window round the fault, without waiting for anything. The
 * window is fault_around_bytes, aligned, cut at the VMA's start and end and at the table's end;
 * where the VMA's start cuts it, it still has its full length (5.10's own choice). True: the entry
 * is filled.
 */
static bool do_fault_around(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long nr = vm_sysctl.fault_around_bytes >> PAGE_SHIFT, start, end, last;
	uintptr_t mask = ~((uintptr_t)nr * PAGE_SIZE - 1) & PAGE_MASK;
	uintptr_t first = max(vmf->address & mask, vma->vm_start);
	unsigned off = ((vmf->address - first) >> PAGE_SHIFT) & (PTRS_PER_PTE - 1);
	pte_t *pte = vmf->pte, v;
	bool filled;

	assert_held_any(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(nr);
	/* A table shorter than the window cuts its start too: `first` may lie in the one before. */
	off = min(off, pt_index(vmf->address, 0));
	first = vmf->address - ((uintptr_t)off << PAGE_SHIFT);
	start = vmf->pgoff - off;
	end = start - pt_index(first, 0) + PTRS_PER_PTE - 1;
	last = vma->vm_pgoff + vma_pages(vma) - 1;
	end = min(end, min(last, start + nr - 1));

	vmf->mapped = 0;
	vmf->pte = pte - off;
	fault_lock(vmf);
	vma->vm_ops->map_pages(vmf, start, end);
	vmf->pte = pte;
	v = pte_get(pte);
	filled = !pte_none(v);
	/* Looked at here: once the table is unlocked, a truncation may take the entry away. Who filled it
	 * before us may have moved its page on, too. */
	if (pte_present(v))
		vmf->row = object_row(pfn_to_page(pte_pfn(v)), vmf->mapped > 1);
	fault_unlock(vmf);
	return filled;
}

/* Rows file, around, shmem: a read of an object. */
static vm_fault_t do_read_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	ASSERT_DEBUG(!(vmf->flags & FAULT_FLAG_WRITE));
	vmf->row = QUIRE_ROW_FILE;
	if (vmf->vma->vm_ops->map_pages && vm_sysctl.fault_around_bytes >> PAGE_SHIFT > 1 &&
	    do_fault_around(vmf))
		return 0;
	ret = __do_fault(vmf);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		return ret;
	vmf->row = object_row(vmf->page, false);
	ret |= finish_fault(vmf);
	unlock_page(vmf->page);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE))
		put_page(vmf->page);
	return ret;
}

/* Row cow, first kind: a write to private memory of an object copies at once. */
static vm_fault_t do_cow_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	vm_fault_t ret;

	ASSERT_DEBUG(!(vma->vm_flags & VM_SHARED));
	vmf->row = QUIRE_ROW_COW;
	if (anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	vmf->cow_page = alloc_pages_vma(GFP_HIGHUSER_MOVABLE, 0, vma, vmf->address);
	if (!vmf->cow_page)
		return VM_FAULT_OOM;
	ret = __do_fault(vmf);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		goto drop;
	hal_copy_page(page_address(vmf->cow_page), page_address(vmf->page));
	ret |= finish_fault(vmf);
	unlock_page(vmf->page);
	put_page(vmf->page);
	if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)))
		return ret;
drop:
	put_page(vmf->cow_page);
	return ret;
}

/* The object's say before a shared page becomes writable. The page stays locked if it agrees. */
static vm_fault_t do_page_mkwrite(struct vm_fault *vmf)
{
	const struct vm_operations_struct *ops = vmf->vma->vm_ops;

	assert_page_locked(vmf->page);
	return ops->page_mkwrite ? ops->page_mkwrite(vmf) : 0;
}

/* Rows file, shmem: a write to shared memory of an object. */
static vm_fault_t do_shared_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	ASSERT_DEBUG(vmf->vma->vm_flags & VM_SHARED);
	vmf->row = QUIRE_ROW_FILE;
	ret = __do_fault(vmf);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		return ret;
	vmf->row = object_row(vmf->page, false);
	ret |= do_page_mkwrite(vmf);
	if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)))
		ret |= finish_fault(vmf);
	if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)))
		set_page_dirty(vmf->page);
	unlock_page(vmf->page);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE))
		put_page(vmf->page);
	return ret;
}

static vm_fault_t do_fault(struct vm_fault *vmf)
{
	ASSERT_DEBUG(!vma_is_anonymous(vmf->vma));
	vmf->pgoff = linear_page_index(vmf->vma, vmf->address);
	if (!vmf->vma->vm_ops->fault)
		return VM_FAULT_SIGBUS;
	if (!(vmf->flags & FAULT_FLAG_WRITE))
		return do_read_fault(vmf);
	return vmf->vma->vm_flags & VM_SHARED ? do_shared_fault(vmf) : do_cow_fault(vmf);
}

/* ---- writes to read-only entries ------------------------------------------------------------- */

/* Row reuse: the entry gets its right to write. Table locked; unlocks. */
static inline void __wp_page_reuse(struct vm_fault *vmf)
{
	const unsigned bits = PTE_BIT_W | PTE_BIT_ACCESSED | PTE_BIT_DIRTY | PTE_BIT_SOFT_DIRTY;

	assert_pte_locked(vmf->pte);
	ASSERT_DEBUG(pte_get(vmf->pte) == vmf->orig_pte);
	vmf->row = QUIRE_ROW_REUSE;
	set_pte(vmf->pte, arch_pte_edit(vmf->orig_pte, bits, 0));
	hal_pt_published(&vmf->vma->vm_mm->arch, vmf->address);
	fault_unlock(vmf);
}

/* The same where code may lie in the page. */
static __attribute__((noinline)) void wp_code_page_reuse(struct vm_fault *vmf)
{
	sync_code(vmf->orig_pte);
	__wp_page_reuse(vmf);
}

static void wp_page_reuse(struct vm_fault *vmf)
{
	if (unlikely(vmf->vma->vm_flags & VM_EXEC))
		wp_code_page_reuse(vmf);
	else
		__wp_page_reuse(vmf);
}

/* A write past the area's rights (quire_mm_write_forced) to a page that is our own already: the entry stays
 * read-only. Table locked; unlocks. */
static __attribute__((noinline)) void wp_page_forced(struct vm_fault *vmf)
{
	const unsigned bits = PTE_BIT_ACCESSED | PTE_BIT_DIRTY | PTE_BIT_SOFT_DIRTY;

	assert_pte_locked(vmf->pte);
	vmf->row = QUIRE_ROW_REUSE;
	set_pte(vmf->pte, arch_pte_edit(vmf->orig_pte, bits, 0));
	hal_pt_published(&vmf->vma->vm_mm->arch, vmf->address);
	fault_unlock(vmf);
}

/* A filled copy of the old page, or a zeroed one for the page of zeros; NULL: no memory. */
static struct page *wp_new_page(struct vm_fault *vmf, struct page *old)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE | (old ? 0 : __GFP_ZERO);
	struct page *page = alloc_pages_vma(gfp, 0, vmf->vma, vmf->address);

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	if (!page)
		return NULL;
	if (old)
		hal_copy_page(page_address(page), page_address(old));
	return page;
}

/* Puts new in old's place. Table locked. */
static void wp_replace(struct vm_fault *vmf, struct page *old, struct page *new_)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	pte_t entry = mk_pte_dirty(new_, vma->vm_page_prot);

	assert_pte_locked(vmf->pte);
	ASSERT_DEBUG_I("I35", !old || page_count(old) > 1);
	if (!old || !PageAnon(old)) {
		if (old)
			add_mm_counter(mm, mm_counter(old), -1);
		add_mm_counter(mm, MM_ANONPAGES, 1);
	}
	/*
	 * Through absent, with a flush: no CPU may read the old frame once another can write the
	 * new one, and some machines demand it of any change of frame. It stays counted: a walker
	 * that passed over the table would miss the old page, which has its mapping until the end.
	 */
	hal_pte_xchg(vmf->pte, 0);
	hal_tlb_flush(&mm->arch, vmf->address, vmf->address + PAGE_SIZE, 0, false);
	page_add_new_anon_rmap(new_, vma, vmf->address);
	store_pte(vmf, vmf->pte, vmf->address, entry, new_);
	if (old)
		page_remove_rmap(old);
}

/* Row cow, second kind. old: the page, with a reference of ours; NULL: the page of zeros. */
static vm_fault_t wp_page_copy(struct vm_fault *vmf, struct page *old)
{
	struct page *new_ = NULL;
	bool replaced = false;

	ASSERT_DEBUG(!old || page_count(old) > 0);
	vmf->row = QUIRE_ROW_COW;
	if (!anon_vma_prepare(vmf->vma))
		new_ = wp_new_page(vmf, old);
	if (!new_) {
		if (old)
			put_page(old);
		return VM_FAULT_OOM;
	}
	fault_lock(vmf);
	if (pte_get(vmf->pte) == vmf->orig_pte) {
		wp_replace(vmf, old, new_);
		replaced = true;
	}
	fault_unlock(vmf);
	if (!replaced)
		put_page(new_);
	if (old && replaced) {
		/* Ours was the entry that locked it, perhaps. */
		if (unlikely(vmf->vma->vm_flags & VM_LOCKED))
			munlock_page(old);
		free_swap_cache(old); /* nobody may need its slot any more */
		put_page(old);	      /* the entry's */
	}
	if (old)
		put_page(old);
	return 0;
}

/* A shared page that became read-only so that its first write is noticed. Table locked; unlocks. */
static vm_fault_t wp_page_shared(struct vm_fault *vmf, struct page *page)
{
	vm_fault_t ret = 0;

	assert_pte_locked(vmf->pte);
	ASSERT_DEBUG(!PageAnon(page));
	get_page(page);
	if (vmf->vma->vm_ops->page_mkwrite) {
		fault_unlock(vmf);
		lock_page(page);
		vmf->page = page;
		ret = do_page_mkwrite(vmf);
		if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE))) {
			fault_lock(vmf);
			if (pte_get(vmf->pte) == vmf->orig_pte) {
				wp_page_reuse(vmf);
				set_page_dirty(page);
			} else {
				fault_unlock(vmf);
				vmf->row = QUIRE_ROW_SPURIOUS;
			}
		}
		/* Not before: nobody writes it back between the object's say and the entry. */
		unlock_page(page);
		ret &= ~VM_FAULT_NOPAGE; /* it left the file: the entry is gone, once more */
	} else {
		wp_page_reuse(vmf);
		set_page_dirty(page);
	}
	put_page(page);
	return ret;
}

/* Nobody else holds the anonymous page: nobody can come by it while it is locked. */
static bool sole_owner(const struct page *page)
{
	assert_page_locked(page);
	return page_mapcount(page) == 1 && page_count(page) == 1;
}

/*
 * A write to a present, read-only entry of a VMA that allows writing. An anonymous page is reused
 * only by its sole owner: one entry, one reference, and the page lock at the first try. Table
 * locked; unlocks.
 */
vm_fault_t do_wp_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *page = vm_normal_page(vma, vmf->orig_pte);

	assert_pte_locked(vmf->pte);
	ASSERT_DEBUG(vma->vm_flags & VM_WRITE || vmf->flags & FAULT_FLAG_REMOTE);
	if (unlikely(vma->vm_flags & VM_UFFD_WP) && pte_uffd_wp(vmf->orig_pte)) {
		fault_unlock(vmf);
		return handle_userfault(vmf, VM_UFFD_WP);
	}
	if (page && PageAnon(page)) {
		if (page_count(page) == 1 && trylock_page(page)) {
			bool sole = sole_owner(page);

			unlock_page(page);
			if (sole) {
				if (likely(vma->vm_flags & VM_WRITE))
					wp_page_reuse(vmf);
				else
					wp_page_forced(vmf);
				return 0;
			}
		}
	} else if (page && (vma->vm_flags & (VM_WRITE | VM_SHARED)) == (VM_WRITE | VM_SHARED)) {
		return wp_page_shared(vmf, page);
	}
	if (page)
		get_page(page);
	fault_unlock(vmf);
	return wp_page_copy(vmf, page);
}

/* ---- the choice ------------------------------------------------------------------------------ */

/* Row ad: a machine that does not set accessed and dirty itself asks us. One that sets some of them
 * may do so this moment: its bit must not be lost, so the access is tried again. Table locked. */
static __attribute__((noinline)) void set_access_flags(struct vm_fault *vmf, bool write)
{
	const unsigned bits = PTE_BIT_DIRTY | PTE_BIT_SOFT_DIRTY;
	pte_t set = arch_pte_edit(vmf->orig_pte, PTE_BIT_ACCESSED | (write ? bits : 0), 0);

	assert_pte_locked(vmf->pte);
	vmf->row = QUIRE_ROW_AD;
	sync_code(set);
	if (hal_pte_cmpxchg(vmf->pte, vmf->orig_pte, set) != vmf->orig_pte)
		vmf->row = QUIRE_ROW_SPURIOUS;
	hal_pt_published(&vmf->vma->vm_mm->arch, vmf->address);
}

/* The entry is there. One of: write to read-only, accessed or dirty missing, spurious. */
static vm_fault_t do_present(struct vm_fault *vmf)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	ASSERT_DEBUG(pte_present(vmf->orig_pte));
	fault_lock(vmf);
	if (pte_get(vmf->pte) != vmf->orig_pte) {
		/* Another CPU resolved it, or the hardware set a bit: repeat the access. */
		vmf->row = QUIRE_ROW_SPURIOUS;
		fault_unlock(vmf);
		return 0;
	}
	if (write && !arch_pte_has(vmf->orig_pte, PTE_BIT_W))
		return do_wp_page(vmf);
	if (!arch_pte_has(vmf->orig_pte, PTE_BIT_ACCESSED) ||
	    (write && !arch_pte_has(vmf->orig_pte, PTE_BIT_DIRTY))) {
		set_access_flags(vmf, write);
	} else {
		vmf->row = QUIRE_ROW_SPURIOUS;
		hal_pt_published(&vmf->vma->vm_mm->arch, vmf->address);
	}
	fault_unlock(vmf);
	return 0;
}

/* An access past the rights of an area that has none; no other one comes to such an entry. */
static __attribute__((noinline)) vm_fault_t do_past_rights(struct vm_fault *vmf)
{
	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	fault_lock(vmf);
	if (vmf->flags & FAULT_FLAG_WRITE && pte_get(vmf->pte) == vmf->orig_pte)
		return do_wp_page(vmf);
	vmf->row = QUIRE_ROW_SPURIOUS;
	fault_unlock(vmf);
	return 0;
}

static vm_fault_t handle_pte_fault(struct vm_fault *vmf)
{
	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	vmf->orig_pte = pte_get(vmf->pte);
	if (pte_none(vmf->orig_pte))
		return vma_is_anonymous(vmf->vma) ? do_anonymous_page(vmf) : do_fault(vmf);
	if (unlikely(!arch_pte_is_leaf(vmf->orig_pte))) {
		if (is_swap_pte(vmf->orig_pte))
			return do_swap_page(vmf);
		if (pte_desc(vmf->orig_pte).kind == PTE_PROTNONE && vmf->flags & FAULT_FLAG_REMOTE)
			return do_past_rights(vmf);
		if (pte_desc(vmf->orig_pte).kind != PTE_MIGRATION)
			fault_panic(vmf->vma->vm_mm, vmf->address, "entry of no known kind in a live VMA");
		vmf->row = QUIRE_ROW_SPURIOUS;
		migration_entry_wait(vmf->pte);
		return VM_FAULT_RETRY;
	}
	return do_present(vmf);
}

/* The row of what did not end in an entry of ours. */
static unsigned row_of_failure(const struct vm_fault *vmf, vm_fault_t ret)
{
	ASSERT_DEBUG(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE));
	if (ret & VM_FAULT_OOM)
		return QUIRE_ROW_OOM;
	if (ret & VM_FAULT_ERROR)
		return QUIRE_ROW_BUS;
	return vmf->row ? vmf->row : QUIRE_ROW_SPURIOUS;
}

vm_fault_t __handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags, pte_t *pte,
			     unsigned *row)
{
	struct vm_fault vmf;
	vm_fault_t ret = VM_FAULT_OOM;

	assert_held_any(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(addr >= vma->vm_start && addr < vma->vm_end);
	/* What only some rows use, they set. */
	vmf.vma = vma;
	vmf.address = addr & PAGE_MASK;
	vmf.flags = flags;
	vmf.page = vmf.cow_page = NULL;
	vmf.row = QUIRE_ROW_NONE;
	vmf.pte = likely(pte) ? pte : pt_make(vma->vm_mm, vmf.address);
	if (likely(vmf.pte))
		ret = handle_pte_fault(&vmf);
	if (unlikely(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)))
		vmf.row = row_of_failure(&vmf, ret);
	if (likely(!(ret & VM_FAULT_UNLOCKED)))
		__atomic_fetch_add(&fault_rows[vmf.row], 1, __ATOMIC_RELAXED);
	if (row)
		*row = vmf.row;
	return ret;
}

vm_fault_t handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags,
			   unsigned *row)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	return __handle_mm_fault(vma, addr, flags, NULL, row);
}
