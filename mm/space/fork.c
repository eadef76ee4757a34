/* SPDX-License-Identifier: MIT */
/*
 * fork and exit of address spaces: copying a space copy-on-write (dup_mmap), and freeing one
 * (exit_mmap).
 *
 * A fork copies the VMAs, and the entries of those that may hold anonymous pages; what only maps an
 * object is left empty in the child, which will find the pages in the object again. Entries that a
 * private VMA may write lose the right in both spaces, and only those: the next write copies.
 * A private page that is pinned is copied at once, and stays the parent's alone: what a device stores there comes to
 * whom it was asked for.
 * Every VMA is linked in the child before its entries are copied, so that a failure in the middle
 * leaves an ordinary, smaller space that exit_mmap() knows how to take down.
 */
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/space/range.h"
#include <quire/abi.h>

struct fork_copy {
	struct vm_area_struct *dst, *src;
	bool cow, exec, hw_accessed;
	bool failed; /* an entry could not be copied */
	bool pinned; /* the parent may have pinned pages */
	struct page *page; /* for the next copy of one; NULL: */
	bool wants_page;   /* there was one, and none for it */
	unsigned long looked; /* entries of the last batch */
	uintptr_t protected_first, protected_end; /* what lost its W in the parent */
};

/* A leaf that a private VMA may write loses the right here too; the word as it was at that very
 * moment, but for the right. */
static pte_t protect_source(struct fork_copy *c, pte_t *src, uintptr_t addr)
{
	assert_pte_locked(src);
	ASSERT_DEBUG_I("I32", c->cow);
	c->protected_first = min(c->protected_first, addr);
	c->protected_end = addr + PAGE_SIZE;
	return arch_pte_edit(hal_pte_wrprotect(src, 0), 0, PTE_BIT_W);
}

/* Copies one live entry v; both tables locked. The child's table counts it before it is unlocked. */
static inline void copy_pte(struct fork_copy *c, pte_t *dst, pte_t *src, pte_t v, uintptr_t addr,
			    long rss[])
{
	struct page *page;

	assert_pte_locked(src);
	assert_pte_locked(dst);
	ASSERT_DEBUG_I("I29", pte_none(pte_get(dst)));
	if (arch_pte_is_leaf(v) && c->cow && arch_pte_has(v, PTE_BIT_W))
		v = protect_source(c, src, addr);
	if (!arch_pte_has(v, PTE_BIT_SPECIAL)) {
		page = pfn_to_page(pte_pfn(v));
		get_page(page);
		page_dup_rmap(page);
		rss[mm_counter(page)]++;
	}
	if (c->src->vm_flags & VM_SHARED)
		v = arch_pte_edit(v, 0, PTE_BIT_DIRTY);
	/* The child did not touch it; but never cost it a fault to say so. Its areas are registered nowhere. */
	if (c->hw_accessed)
		v = arch_pte_edit(v, 0, PTE_BIT_ACCESSED | PTE_BIT_UFFD_WP);
	else if (ARCH_UFFD_WP)
		v = arch_pte_edit(v, 0, PTE_BIT_UFFD_WP);
	set_pte(dst, v);
}

/* The pages of private memory that a device may be writing to; of others the next write copies. */
static bool copies_now(const struct fork_copy *c, pte_t v)
{
	const struct page *page;

	if (likely(!c->pinned) || !c->cow || arch_pte_has(v, PTE_BIT_SPECIAL))
		return false;
	page = pfn_to_page(pte_pfn(v));
	return PageAnon(page) && page_maybe_pinned(page);
}

/* The child's own copy of such a page; the parent's entry stays as it is. False: c->page has to be there first.
 * Both tables locked. */
static bool copy_pinned(struct fork_copy *c, pte_t *dst, pte_t *src, pte_t v, uintptr_t addr, long rss[])
{
	struct page *page = c->page;

	assert_pte_locked(src);
	assert_pte_locked(dst);
	c->wants_page = !page;
	if (!page)
		return false;
	c->page = NULL;
	hal_copy_page(page_address(page), page_address(pfn_to_page(pte_pfn(v))));
	if (unlikely(c->exec))
		hal_icache_sync(page_address(page), PAGE_SIZE);
	page_add_new_anon_rmap(page, c->dst, addr);
	rss[MM_ANONPAGES]++;
	set_pte(dst, mk_pte_dirty(page, c->dst->vm_page_prot));
	return true;
}

/* Copies one swap entry: one more names the slot. False: it cannot be counted. Both tables locked. */
static bool copy_swap_pte(pte_t *dst, pte_t *src, pte_t v, long rss[])
{
	assert_pte_locked(src);
	assert_pte_locked(dst);
	if (swap_duplicate(pte_to_swp_entry(v)))
		return false;
	rss[MM_SWAPENTS]++;
	if (unlikely(pte_uffd_wp(v))) {
		struct pte_desc d = pte_desc(v);

		d.uffd_wp = false;
		v = pte_make(d);
	}
	set_pte(dst, v);
	return true;
}

/* Copies up to `batch` entries of a table that are not empty; both tables locked. Where the next one
 * would be; *copied: how many the child has; c->looked: how many that were. c->failed: one could not be. */
static __attribute__((noinline)) uintptr_t copy_pte_batch(struct fork_copy *c, pte_t *dst, pte_t *src, uintptr_t start, uintptr_t end,
				unsigned long batch, unsigned long *copied, long rss[])
{
	unsigned long n = 0, passed = 0;

	if (unlikely(c->exec))
		sync_code_batch(src, (end - start) >> PAGE_SHIFT, batch);
	for (; start != end && batch; start += PAGE_SIZE, dst++, src++) {
		pte_t v = pte_get(src);

		if (pte_none(v))
			continue;
		batch--;
		if (likely(pte_present(v))) {
			if (likely(!copies_now(c, v)))
				copy_pte(c, dst, src, v, start, rss);
			else if (!copy_pinned(c, dst, src, v, start, rss))
				break;
			n++;
		} else if (is_swap_pte(v)) {
			if (!copy_swap_pte(dst, src, v, rss)) {
				c->failed = true;
				break;
			}
			n++;
			batch -= min(batch, PTL_BATCH_COPY / PTL_BATCH_SLOW - 1ul); /* a slot's count costs more */
		} else {
			passed++;
		}
	}
	*copied = n;
	c->looked = n + passed;
	return start;
}

static int copy_pte_range(struct mm_struct *src_mm, pte_t *src, uintptr_t start, uintptr_t end,
			  void *ctx)
{
	/* Reclaim may take entries away meanwhile, and adds none. Acquire: its mark is seen then. */
	unsigned long left = __atomic_load_n(&pt_page(src)->private, __ATOMIC_ACQUIRE), batch, copied;
	long rss[NR_MM_COUNTERS] = {0};
	struct fork_copy *c = ctx;
	uintptr_t at;
	pte_t *dst;

	ASSERT_DEBUG(src_mm != c->dst->vm_mm);
	if (!left)
		return 0;
	dst = pt_make(c->dst->vm_mm, start);
	if (!dst)
		return -ENOMEM;
	for (at = start; at != end && left && !c->failed; left -= min(left, c->looked)) {
		unsigned long done = (at - start) >> PAGE_SHIFT;

		batch = min(left, c->exec ? (unsigned long)PTL_BATCH_SLOW : PTL_BATCH_COPY);
		ptl_lock_two(dst, src);
		count_entries(pt_page(dst), batch); /* as many as there may be */
		at = copy_pte_batch(c, dst + done, src + done, at, end, batch, &copied, rss);
		count_entries(pt_page(dst), (long)copied - (long)batch);
		ptl_unlock_two(dst, src);
		if (unlikely(c->wants_page)) {
			c->wants_page = false;
			c->page = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
			c->failed |= !c->page;
		}
	}
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		if (rss[i])
			add_mm_counter(c->dst->vm_mm, i, rss[i]);
	return c->failed ? -ENOMEM : 0;
}

/* Copies entries of src to the forked dst, write-protecting both. 0 or -ENOMEM. */
static int copy_page_range(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct mm_struct *old = src->vm_mm;
	struct fork_copy c;
	int err;

	assert_held_write(&old->mmap_lock);
	assert_held_write(&dst->vm_mm->mmap_lock);
	/* Without an anon_vma there is nothing that a refault would not find again. */
	if (!(src->vm_flags & (VM_HUGETLB | VM_PFNMAP | VM_MIXEDMAP)) && !src->anon_vma)
		return 0;
	c = (struct fork_copy){
		.dst = dst,
		.src = src,
		.cow = is_cow_mapping(src->vm_flags),
		.exec = src->vm_flags & VM_EXEC,
		.hw_accessed = hal_mmu_info()->hw_accessed_dirty,
		.protected_first = UINTPTR_MAX,
		.pinned = mm_has_flag(old, MMF_HAS_PINNED),
	};
	err = pt_for_each(old, src->vm_start, src->vm_end, copy_pte_range, &c);
	if (unlikely(c.page))
		put_page(c.page);
	/* On failure too: the parent's right to write is gone already. */
	if (c.protected_first < c.protected_end)
		hal_tlb_flush(&old->arch, c.protected_first, c.protected_end, 0, false);
	/* Else the parent might go on writing to a page that the child finds in the swap cache. */
	flush_tlb_batched_pending(old);
	return err;
}

/* ---- VMAs ------------------------------------------------------------------------------------ */

/* The child joins its parent in the file's reverse map. */
static void dup_link_file(struct vm_area_struct *vma)
{
	struct address_space *mapping;

	if (!vma->vm_file)
		return;
	get_file(vma->vm_file);
	mapping = vma->vm_file->f_mapping;
	down_write(&mapping->i_mmap_rwsem);
	if (vma->vm_flags & VM_SHARED)
		__atomic_fetch_add(&mapping->i_mmap_writable, 1, __ATOMIC_RELAXED);
	if (vma->vm_flags & VM_DENYWRITE)
		deny_write_again(vma->vm_file);
	vma_interval_tree_insert(vma, i_mmap_write(mapping));
	up_write(&mapping->i_mmap_rwsem);
}

/* A copy of src for mm, not linked anywhere yet but in the reverse map; NULL: no memory. */
static struct vm_area_struct *dup_vma(struct mm_struct *mm, struct vm_area_struct *src)
{
	struct vm_area_struct *vma = vm_area_dup(src);

	assert_held_write(&mm->mmap_lock);
	assert_held_write(&src->vm_mm->mmap_lock);
	if (!vma)
		return NULL;
	vma->vm_mm = mm;
	if (vma->vm_flags & VM_WIPEONFORK) {
		vma->anon_vma = NULL;
	} else if (anon_vma_fork(vma, src)) {
		vm_area_free(vma);
		return NULL;
	}
	vma->vm_flags &= VM_LOCKED_CLEAR_MASK & ~(VM_UFFD_MISSING | VM_UFFD_WP);
	vma->vm_userfaultfd_ctx = NULL; /* whoever fills the parent knows nothing of the child */
	dup_link_file(vma);
	return vma;
}

/* Appends vma as the last of mm. */
static void dup_append(struct mm_struct *mm, struct vm_area_struct *vma,
		       struct vm_area_struct *prev)
{
	struct rb_node **link = &mm->mm_rb.rb_node, *parent = NULL;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG_I("I20", !prev || prev->vm_end <= vma->vm_start);
	if (prev) {
		link = &prev->vm_rb.rb_right;
		parent = &prev->vm_rb;
	}
	__vma_link_list(mm, vma, prev);
	__vma_link_rb(mm, vma, link, parent);
	mm->map_count++;
}

/* One VMA of the parent; *prev is the child's last, and becomes the new one. */
static int dup_one(struct mm_struct *mm, struct vm_area_struct *src, struct vm_area_struct **prev)
{
	struct vm_area_struct *vma;
	long charge = src->vm_flags & VM_ACCOUNT ? (long)vma_pages(src) : 0;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	assert_held_write(&src->vm_mm->mmap_lock);
	if (src->vm_flags & VM_DONTCOPY) {
		vm_stat_account(mm, src->vm_flags, -(long)vma_pages(src));
		return 0;
	}
	if (os_fatal_signal_pending())
		return -EINTR;
	if (charge && security_vm_enough_memory_mm(src->vm_mm, charge))
		return -ENOMEM;
	vma = dup_vma(mm, src);
	if (!vma) {
		vm_unacct_memory(charge);
		return -ENOMEM;
	}
	dup_append(mm, vma, *prev);
	*prev = vma;
	if (!(vma->vm_flags & VM_WIPEONFORK))
		err = copy_page_range(vma, src);
	if (vma->vm_ops && vma->vm_ops->open)
		vma->vm_ops->open(vma);
	return err;
}

static void dup_layout(struct mm_struct *mm, const struct mm_struct *old)
{
	assert_held_write(&mm->mmap_lock);
	assert_held_write(&old->mmap_lock);
	mm->total_vm = old->total_vm;
	mm->data_vm = old->data_vm;
	mm->exec_vm = old->exec_vm;
	mm->stack_vm = old->stack_vm;
	mm->start_code = old->start_code;
	mm->end_code = old->end_code;
	mm->start_data = old->start_data;
	mm->end_data = old->end_data;
	mm->start_brk = old->start_brk;
	mm->brk = old->brk;
	mm->start_stack = old->start_stack;
	mm->arg_start = old->arg_start;
	mm->arg_end = old->arg_end;
	mm->env_start = old->env_start;
	mm->env_end = old->env_end;
	mm->get_unmapped_area = old->get_unmapped_area;
}

int dup_mmap(struct mm_struct *mm, struct mm_struct *old)
{
	struct vm_area_struct *prev = NULL;
	int err = 0;

	ASSERT_DEBUG_I("I23", !mm->map_count);
	ASSERT(!mm->mmap);
	down_write(&old->mmap_lock);
	/* Nobody else has the child yet, so the two can be taken in no other order; but its pages may be
	 * found by frame number. */
	down_write_nested(&mm->mmap_lock);
	dup_layout(mm, old);
	for (struct vm_area_struct *vma = old->mmap; vma && !err; vma = vma->vm_next)
		err = dup_one(mm, vma, &prev);
	WRITE_ONCE(mm->hiwater_rss, get_mm_rss(mm));
	mm->hiwater_vm = mm->total_vm;
	up_write(&mm->mmap_lock);
	up_write(&old->mmap_lock);
	return err;
}

/* ---- exit ------------------------------------------------------------------------------------ */

/* What a victim has to give at once it gives first: locked pages, tables and areas take their time. The
 * reaper may be at it too. */
static void exit_victim(struct mm_struct *mm)
{
	down_read(&mm->mmap_lock);
	oom_reap_mm(mm);
	up_read(&mm->mmap_lock);
}

void exit_mmap(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	struct mmu_gather tlb;
	long accounted = 0;
	bool victim = mm_has_flag(mm, MMF_OOM_VICTIM);

	ASSERT(!READ_ONCE(mm->mm_users));
	if (unlikely(victim))
		exit_victim(mm);
	down_write(&mm->mmap_lock);
	vma = mm->mmap;
	for (struct vm_area_struct *v = vma; mm->locked_vm && v; v = v->vm_next)
		if (v->vm_flags & VM_LOCKED)
			munlock_vma_pages_range(v, v->vm_start, v->vm_end);
	mm->mmap = NULL;
	mm->mm_rb = RB_ROOT;
	mm->vmacache = NULL;
	tlb_gather_mmu(&tlb, mm);
	unmap_vmas(&tlb, vma, 0, UINTPTR_MAX);
	free_pgtables(&tlb, vma, mm_floor(mm), mm_ceiling(mm));
	tlb_finish_mmu(&tlb);
	while (vma) {
		if (vma->vm_flags & VM_ACCOUNT)
			accounted += vma_pages(vma);
		mm->map_count--;
		vma = remove_vma(vma);
	}
	vm_unacct_memory(accounted);
	up_write(&mm->mmap_lock);
	/* Not before: what was locked may be most of it, and the next one would die for nothing. */
	if (unlikely(victim))
		mm_oom_skip(mm);
}
