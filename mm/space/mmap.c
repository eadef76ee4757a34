/* SPDX-License-Identifier: MIT */
/*
 * mmap and munmap: where a new mapping goes (get_unmapped_area), whether it may be made (do_mmap),
 * how it is made (mmap_region), and how it goes again (do_munmap). The heap: brk.c. Orders of
 * checks and of effects are Linux 5.10's, because a program can see them.
 *
 *   quire_mmap -> do_mmap            arguments, rights of the file, limits (mlock, RLIMIT_AS)
 *                 get_unmapped_area  MAP_FIXED: the address itself; else a free hint; else
 *                                    the highest hole below mmap_base, or the lowest in a legacy
 *                                    layout, by one descent of the VMA tree (gaps: vma.c)
 *                 mmap_region        commitment, then mmap_clear_and_map:
 *                                      what is in the way is unmapped
 *                                      vma_merge: a neighbour grows, and nothing is allocated
 *                                      else mmap_prepare (new VMA, object's mmap), mmap_place
 *                 mmap_finish        counters, trace, soft-dirty
 *                 mm_populate        MAP_POPULATE, MAP_LOCKED; after mmap_lock was released
 *
 *   quire_munmap -> do_munmap        split at both ends (all that can fail), take the VMAs out of
 *                                    list and tree, unmap_region (teardown.c), free the VMAs
 *
 * A failure after the old mapping was removed leaves a hole, as in 5.10; with keep_replaced
 * (mmap_replace) everything that can fail comes first.
 *
 * Locks: mmap_lock for writing for all of it.
 */
#include "mm/base/trace.h"
#include "mm/object/filemap.h"
#include "mm/space/range.h"
#include "mm/space/vma.h"
#include <quire/abi.h>

bool mmap_keeps_replaced;

/* ---- flags and accounting -------------------------------------------------------------------- */

vm_flags_t calc_vm_prot_bits(unsigned long prot)
{
	return prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* MAP_* to VM_*; calc_vm_flag_bits() in 5.10. */
static vm_flags_t calc_vm_flags(unsigned long flags)
{
	return (flags & MAP_GROWSDOWN ? VM_GROWSDOWN : 0) |
	       (flags & MAP_DENYWRITE ? VM_DENYWRITE : 0) | (flags & MAP_LOCKED ? VM_LOCKED : 0) |
	       (flags & MAP_SYNC ? VM_SYNC : 0);
}

static bool is_data_mapping(vm_flags_t flags)
{
	ASSERT_DEBUG(!(flags & VM_HUGETLB) || !(flags & VM_PFNMAP));
	return (flags & (VM_WRITE | VM_SHARED | VM_STACK)) == VM_WRITE;
}

bool may_expand_vm(struct mm_struct *mm, vm_flags_t flags, unsigned long npages)
{
	assert_held_any(&mm->mmap_lock);
	if (mm->total_vm + npages > rlimit(mm, RLIMIT_AS) >> PAGE_SHIFT)
		return false;
	if (!is_data_mapping(flags) ||
	    mm->data_vm + npages <= rlimit(mm, RLIMIT_DATA) >> PAGE_SHIFT)
		return true;
	/* A program that forbids its own heap to grow (valgrind does) means the break alone. */
	return rlimit(mm, RLIMIT_DATA) == 0 &&
	       mm->data_vm + npages <= rlimit_max(mm, RLIMIT_DATA) >> PAGE_SHIFT;
}

void vm_stat_account(struct mm_struct *mm, vm_flags_t flags, long npages)
{
	vm_count(&mm->total_vm, npages);
	if ((flags & (VM_EXEC | VM_WRITE | VM_STACK)) == VM_EXEC)
		vm_count(&mm->exec_vm, npages);
	else if (flags & VM_STACK)
		vm_count(&mm->stack_vm, npages);
	else if (is_data_mapping(flags))
		vm_count(&mm->data_vm, npages);
}

static unsigned long count_vma_pages_range(struct mm_struct *mm, uintptr_t addr, uintptr_t end)
{
	struct vm_area_struct *vma = find_vma_intersection(mm, addr, end);
	unsigned long n = 0;

	assert_held_write(&mm->mmap_lock);
	for (; vma && vma->vm_start < end; vma = vma->vm_next)
		n += (min(end, vma->vm_end) - max(addr, vma->vm_start)) >> PAGE_SHIFT;
	return n;
}

static bool accountable_mapping(const struct file *file, vm_flags_t flags)
{
	return (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE;
}

void perf_event_mmap(const struct vm_area_struct *vma)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	trace_mmap(vma->vm_start, vma->vm_end - vma->vm_start, vma->vm_pgoff, vma->vm_flags,
		   vma->vm_file ? file_inode(vma->vm_file)->i_ino : 0);
}

/* ---- choosing an address --------------------------------------------------------------------- */

static struct vm_area_struct *vma_of(struct rb_node *rb)
{
	return rb_entry(rb, struct vm_area_struct, vm_rb);
}

static bool subtree_fits(struct rb_node *rb, size_t len)
{
	ASSERT_DEBUG(len);
	return rb && vma_of(rb)->rb_subtree_gap >= len;
}

/* Does the gap below vma hold len bytes inside [low, high)? Then its usable part. */
static bool gap_fits(struct vm_area_struct *vma, size_t len, uintptr_t low, uintptr_t high,
		     uintptr_t *first, uintptr_t *last)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	*first = max(vma->vm_prev ? vm_end_gap(vma->vm_prev) : 0, low);
	*last = min(vm_start_gap(vma), high);
	return *last > *first && *last - *first >= len;
}

/* The highest address of a free stretch of len bytes in [low, high). */
static uintptr_t unmapped_area_topdown(struct mm_struct *mm, size_t len, uintptr_t low,
				       uintptr_t high)
{
	struct rb_node *rb = mm->mm_rb.rb_node, *last = rb_last(&mm->mm_rb);
	uintptr_t first = last ? vm_end_gap(vma_of(last)) : 0, end;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(len);
	if (high < len || high - len < low)
		return -ENOMEM;
	if (first <= high - len)
		return high - len;
	/* Down the right side as far as something fits there; a node comes before its left side. */
	while (subtree_fits(rb, len)) {
		struct rb_node *right = rb->rb_right;

		/* What lies right of a node that starts at or above high is of no use. */
		if (vm_end_gap(vma_of(rb)) < high && subtree_fits(right, len)) {
			rb = right;
			continue;
		}
		for (;;) {
			struct rb_node *child = rb;

			if (gap_fits(vma_of(rb), len, low, high, &first, &end))
				return end - len;
			if (vm_start_gap(vma_of(rb)) <= low)
				return -ENOMEM; /* all that follows lies lower still */
			if (subtree_fits(rb->rb_left, len)) {
				rb = rb->rb_left;
				break;
			}
			/* Up to the first ancestor whose right subtree this was. */
			do {
				child = rb;
				rb = rb_parent(rb);
			} while (rb && rb->rb_right != child);
			if (!rb)
				return -ENOMEM;
		}
	}
	return -ENOMEM;
}

/* The lowest address of a free stretch of len bytes in [low, high). */
static uintptr_t unmapped_area_bottomup(struct mm_struct *mm, size_t len, uintptr_t low,
					uintptr_t high)
{
	struct rb_node *rb = mm->mm_rb.rb_node, *last = rb_last(&mm->mm_rb);
	uintptr_t first, end;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(len);
	if (high < len || high - len < low)
		return -ENOMEM;
	while (subtree_fits(rb, len)) {
		if (vm_start_gap(vma_of(rb)) > low && subtree_fits(rb->rb_left, len)) {
			rb = rb->rb_left;
			continue;
		}
		for (;;) {
			struct rb_node *child = rb;

			if (gap_fits(vma_of(rb), len, low, high, &first, &end))
				return first;
			if (vm_end_gap(vma_of(rb)) >= high)
				return -ENOMEM;
			if (subtree_fits(rb->rb_right, len)) {
				rb = rb->rb_right;
				break;
			}
			do {
				child = rb;
				rb = rb_parent(rb);
			} while (rb && rb->rb_left != child);
			if (!rb)
				goto above_all;
		}
	}
above_all:
	first = max(last ? vm_end_gap(vma_of(last)) : 0, low);
	return first <= high - len ? first : (uintptr_t)-ENOMEM;
}

/* A hint is taken if it is free and does not straddle the ceiling of ordinary maps. */
static bool hint_fits(struct mm_struct *mm, uintptr_t addr, size_t len)
{
	struct vm_area_struct *vma;

	assert_held_write(&mm->mmap_lock);
	if (addr < mm->start || addr > mm->task_size - len)
		return false;
	if ((addr > mm->stack_top) != (addr + len > mm->stack_top))
		return false;
	vma = find_vma(mm, addr);
	return !vma || addr + len <= vm_start_gap(vma);
}

static uintptr_t lowest_address(struct mm_struct *mm)
{
	assert_held_write(&mm->mmap_lock);
	return max(mm->start, max((uintptr_t)PAGE_SIZE, lowest_mmap_addr()));
}

/* Bottom-up from a third of the space, as Linux's legacy layout and its last resort. */
static uintptr_t arch_get_unmapped_area(struct mm_struct *mm, uintptr_t addr, size_t len)
{
	uintptr_t top = addr > mm->stack_top ? mm->task_size : mm->stack_top;

	assert_held_write(&mm->mmap_lock);
	return unmapped_area_bottomup(mm, len, mm->mmap_legacy_base, top);
}

#ifdef ARCH_MAP_32BIT
/* Linux's window for MAP_32BIT: [1 GiB, 2 GiB), bottom-up, and nothing else will do. */
static uintptr_t unmapped_area_32bit(struct mm_struct *mm, uintptr_t addr, size_t len)
{
	assert_held_write(&mm->mmap_lock);
	if (addr && addr + len <= 0x80000000ul && hint_fits(mm, addr, len))
		return addr;
	return unmapped_area_bottomup(mm, len, 0x40000000ul, 0x80000000ul);
}
#endif

static uintptr_t arch_get_unmapped_area_topdown(struct mm_struct *mm, uintptr_t addr, size_t len,
						unsigned long flags)
{
	uintptr_t high = mm->mmap_base, got;

	assert_held_write(&mm->mmap_lock);
	if (flags & MAP_FIXED)
		return addr;
#ifdef ARCH_MAP_32BIT
	if (flags & MAP_32BIT)
		return unmapped_area_32bit(mm, addr & PAGE_MASK, len);
#endif
	addr &= PAGE_MASK;
	if (addr && hint_fits(mm, addr, len))
		return addr;
	if (mm->legacy_layout)
		return arch_get_unmapped_area(mm, addr, len);
	if (addr > mm->stack_top)
		high += mm->task_size - mm->stack_top;
	got = unmapped_area_topdown(mm, len, lowest_address(mm), high);
	return IS_ERR_VALUE(got) ? arch_get_unmapped_area(mm, addr, len) : got;
}

uintptr_t get_unmapped_area(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			    unsigned long pgoff, unsigned long flags)
{
	int err;

	assert_held_write(&mm->mmap_lock);
	if (len > mm->task_size - mm->start)
		return -ENOMEM;
	if (file && file->f_op->get_unmapped_area)
		addr = file->f_op->get_unmapped_area(mm, file, addr, len, pgoff, flags);
	else if (mm->get_unmapped_area)
		addr = mm->get_unmapped_area(mm, file, addr, len, pgoff, flags);
	else
		addr = arch_get_unmapped_area_topdown(mm, addr, len, flags);
	if (IS_ERR_VALUE(addr))
		return addr;
	if (addr < mm->start || addr > mm->task_size - len)
		return -ENOMEM;
	if (addr & ~PAGE_MASK)
		return -EINVAL;
	err = security_mmap_addr(mm, addr);
	return err ? (uintptr_t)err : addr;
}

/* ---- unmapping ------------------------------------------------------------------------------- */

/* Empties and frees what a detached chain mapped; prev and next are its live neighbours. */
static void unmap_region(struct mm_struct *mm, struct vm_area_struct *vma,
			 struct vm_area_struct *prev, uintptr_t start, uintptr_t end)
{
	struct vm_area_struct *next = prev ? prev->vm_next : mm->mmap;
	struct mmu_gather tlb;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(start < end);
	tlb_gather_mmu(&tlb, mm);
	update_hiwater_rss(mm);
	unmap_vmas(&tlb, vma, start, end);
	free_pgtables(&tlb, vma, prev ? prev->vm_end : mm_floor(mm),
		      next ? next->vm_start : mm_ceiling(mm));
	tlb_finish_mmu(&tlb);
}

/* Takes the chain out of all sums and frees it. */
static void remove_vma_list(struct mm_struct *mm, struct vm_area_struct *vma)
{
	long accounted = 0;

	assert_held_write(&mm->mmap_lock);
	update_hiwater_vm(mm);
	while (vma) {
		long n = vma_pages(vma);

		if (vma->vm_flags & VM_ACCOUNT)
			accounted += n;
		vm_stat_account(mm, vma->vm_flags, -n);
		vma = remove_vma(vma);
	}
	vm_unacct_memory(accounted);
}

/* Cuts VMAs so that [start, end) begins and ends with whole ones. 0 or -ENOMEM. */
static int munmap_split(struct mm_struct *mm, struct vm_area_struct *vma, uintptr_t start,
			uintptr_t end, struct vm_area_struct **prev)
{
	struct vm_area_struct *last;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(start < vma->vm_end && end > vma->vm_start);
	*prev = vma->vm_prev;
	if (start > vma->vm_start) {
		/* Only a hole in the middle makes one VMA more than before. */
		if (end < vma->vm_end && mm->map_count >= vm_sysctl.max_map_count)
			return -ENOMEM;
		err = __split_vma(mm, vma, start, false);
		if (err)
			return err;
		*prev = vma;
	}
	last = find_vma(mm, end);
	if (last && end > last->vm_start)
		return __split_vma(mm, last, end, true);
	return 0;
}

int do_munmap(struct mm_struct *mm, uintptr_t start, size_t len)
{
	struct vm_area_struct *vma, *prev;
	uintptr_t end;
	int err;

	assert_held_write(&mm->mmap_lock);
	if ((start & ~PAGE_MASK) || start > mm->task_size || len > mm->task_size - start)
		return -EINVAL;
	len = PAGE_ALIGN(len);
	if (!len)
		return -EINVAL;
	end = start + len;
	vma = find_vma_intersection(mm, start, end);
	if (!vma)
		return 0;
	err = munmap_split(mm, vma, start, end, &prev);
	if (err)
		return err;
	vma = prev ? prev->vm_next : mm->mmap;
	for (struct vm_area_struct *v = vma; mm->locked_vm && v && v->vm_start < end; v = v->vm_next)
		if (v->vm_flags & VM_LOCKED) {
			vm_count(&mm->locked_vm, -(long)vma_pages(v));
			munlock_vma_pages_range(v, v->vm_start, v->vm_end);
		}
	detach_vmas_to_be_unmapped(mm, vma, prev, end);
	unmap_region(mm, vma, prev, start, end);
	remove_vma_list(mm, vma);
	return 0;
}

int munmap_vma_range(struct mm_struct *mm, uintptr_t start, size_t len,
		     struct vm_area_struct **pprev, struct rb_node ***link, struct rb_node **parent)
{
	assert_held_write(&mm->mmap_lock);
	while (find_vma_links(mm, start, start + len, pprev, link, parent))
		if (do_munmap(mm, start, len))
			return -ENOMEM;
	return 0;
}

/* ---- mapping --------------------------------------------------------------------------------- */

/* Lets the object behind a new VMA have its say. On error nothing of it is left in vma. */
static int mmap_attach_object(struct vm_area_struct *vma, struct file *file)
{
	vm_flags_t flags = vma->vm_flags;
	int err;

	assert_held_write(&vma->vm_mm->mmap_lock);
	ASSERT_DEBUG(!vma->vm_file);
	if (!file) {
		if (flags & VM_SHARED)
			return shmem_zero_setup(vma);
		vma_set_anonymous(vma);
		return 0;
	}
	if (flags & VM_DENYWRITE) {
		err = deny_write_access(file);
		if (err)
			return err;
	}
	if (flags & VM_SHARED) {
		err = mapping_map_writable(file->f_mapping);
		if (err)
			goto allow;
	}
	vma->vm_file = get_file(file);
	err = file->f_op->mmap(file, vma);
	if (err) {
		fput(vma->vm_file);
		vma->vm_file = NULL;
	}
	if (err && (flags & VM_SHARED))
		mapping_unmap_writable(file->f_mapping);
allow:
	if (err && (flags & VM_DENYWRITE))
		allow_write_access(file);
	return err;
}

/* The rights that a VMA held until it was linked; from then on it is counted for itself. */
static void mmap_drop_rights(struct file *file, vm_flags_t vm_flags)
{
	if (file && (vm_flags & VM_SHARED))
		mapping_unmap_writable(file->f_mapping);
	if (file && (vm_flags & VM_DENYWRITE))
		allow_write_access(file);
}

/* The VMA of a new mapping, not linked yet, its object asked. */
static int mmap_prepare(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			vm_flags_t vm_flags, unsigned long pgoff, struct vm_area_struct **pvma)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(len && IS_ALIGNED(addr | len, PAGE_SIZE));
	if (!vma)
		return -ENOMEM;
	vma->vm_start = addr;
	vma->vm_end = addr + len;
	vma->vm_flags = vm_flags;
	vma->vm_pgoff = pgoff;
	vma_set_page_prot(vma);
	err = mmap_attach_object(vma, file);
	if (err)
		vm_area_free(vma);
	else
		*pvma = vma;
	return err;
}

/* The one before takes the VMA in. NULL: it does not. On success vma is gone. */
static struct vm_area_struct *mmap_merge_prepared(struct mm_struct *mm, struct vm_area_struct *vma,
						  struct vm_area_struct *prev)
{
	struct vm_area_struct *merged;

	assert_held_write(&mm->mmap_lock);
	merged = vma_merge(mm, prev, vma->vm_start, vma->vm_end, vma->vm_flags, NULL, vma->vm_file,
			   vma->vm_pgoff, NULL, NULL);
	if (!merged)
		return NULL;
	if (vma->vm_file)
		fput(vma->vm_file);
	vm_area_free(vma);
	return merged;
}

/* A prepared VMA takes its place, which is empty. vm_flags: what was asked for. merge: a neighbour
 * may take it in. Cannot fail. */
static struct vm_area_struct *mmap_place(struct mm_struct *mm, struct file *file,
					 struct vm_area_struct *vma, vm_flags_t vm_flags, bool merge)
{
	struct vm_area_struct *prev, *merged = NULL;
	struct rb_node **link, *parent;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(vma->vm_mm == mm);
	/* The object's mmap may have slept, but the tree cannot change under our lock. */
	if (find_vma_links(mm, vma->vm_start, vma->vm_end, &prev, &link, &parent))
		BUG();
	if (merge)
		merged = mmap_merge_prepared(mm, vma, prev);
	if (!merged)
		vma_link(mm, vma, prev, link, parent);
	mmap_drop_rights(file, vm_flags);
	return merged ? merged : vma;
}

void mmap_finish(struct mm_struct *mm, struct vm_area_struct *vma, vm_flags_t vm_flags,
			unsigned long npages)
{
	assert_held_write(&mm->mmap_lock);
	perf_event_mmap(vma);
	vm_stat_account(mm, vm_flags, npages);
	if (vm_flags & VM_LOCKED) {
		if ((vm_flags & VM_SPECIAL) || is_vm_hugetlb_page(vma) || vma == get_gate_vma(mm))
			vma_set_flags(vma, vma->vm_flags & VM_LOCKED_CLEAR_MASK);
		else
			vm_count(&mm->locked_vm, npages);
	}
	vma_set_flags(vma, vma->vm_flags | VM_SOFTDIRTY);
	vma_set_page_prot(vma);
}

/* A fixed mapping may replace what is counted already. */
static bool may_replace(struct mm_struct *mm, uintptr_t addr, size_t len, vm_flags_t vm_flags)
{
	unsigned long old = count_vma_pages_range(mm, addr, addr + len);

	assert_held_write(&mm->mmap_lock);
	return may_expand_vm(mm, vm_flags, (len >> PAGE_SHIFT) - old);
}

/* Pages of the range that are charged (VM_ACCOUNT). */
static unsigned long count_accounted_range(struct mm_struct *mm, uintptr_t addr, uintptr_t end)
{
	unsigned long n = 0;

	assert_held_write(&mm->mmap_lock);
	for (struct vm_area_struct *v = find_vma_intersection(mm, addr, end); v && v->vm_start < end;
	     v = v->vm_next)
		if (v->vm_flags & VM_ACCOUNT)
			n += (min(end, v->vm_end) - max(addr, v->vm_start)) >> PAGE_SHIFT;
	return n;
}

/*
 * With keep_replaced: nothing is taken away before all is there that may be missing. Only cutting
 * what is there can fail after that, and leaves it whole. charged: pages to charge, or 0.
 */
static int mmap_replace(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			vm_flags_t vm_flags, unsigned long pgoff, long charged,
			struct vm_area_struct **pvma)
{
	long old = min((long)count_accounted_range(mm, addr, addr + len), charged);
	struct vm_area_struct *prev;
	struct rb_node **link, *parent;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	ASSERT(charged >= 0);
	if (charged > old)
		err = security_vm_enough_memory_mm(mm, charged - old);
	if (err)
		return err;
	/* What goes gives back as much. */
	vm_acct_memory(old);
	err = mmap_prepare(mm, file, addr, len, vm_flags, pgoff, pvma);
	if (!err && munmap_vma_range(mm, addr, len, &prev, &link, &parent)) {
		mmap_drop_rights(file, vm_flags);
		remove_vma(*pvma);
		err = -ENOMEM;
	}
	if (err)
		vm_unacct_memory(charged);
	else
		*pvma = mmap_place(mm, file, *pvma, vm_flags, true);
	return err;
}

/* 5.10's way: what is in the way goes first, and a failure after that leaves a hole. */
static int mmap_clear_and_map(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			      vm_flags_t vm_flags, unsigned long pgoff, long charged,
			      struct vm_area_struct **pvma)
{
	struct vm_area_struct *prev, *vma;
	struct rb_node **link, *parent;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(charged >= 0);
	if (munmap_vma_range(mm, addr, len, &prev, &link, &parent) ||
	    (charged && security_vm_enough_memory_mm(mm, charged)))
		return -ENOMEM;
	*pvma = vma_merge(mm, prev, addr, addr + len, vm_flags, NULL, file, pgoff, NULL, NULL);
	if (*pvma)
		return 0;
	err = mmap_prepare(mm, file, addr, len, vm_flags, pgoff, &vma);
	if (err)
		vm_unacct_memory(charged);
	else /* the object's mmap may have changed the flags, so that the one before takes it in */
		*pvma = mmap_place(mm, file, vma, vm_flags, file && vma->vm_flags != vm_flags);
	return err;
}

static uintptr_t mmap_region(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
			     vm_flags_t vm_flags, unsigned long pgoff)
{
	unsigned long npages = len >> PAGE_SHIFT, charged = 0;
	struct vm_area_struct *vma;
	int err;

	assert_held_write(&mm->mmap_lock);
	ASSERT_DEBUG(IS_ALIGNED(addr | len, PAGE_SIZE));
	if (!may_expand_vm(mm, vm_flags, npages) && !may_replace(mm, addr, len, vm_flags))
		return -ENOMEM;
	if (accountable_mapping(file, vm_flags)) {
		charged = npages;
		vm_flags |= VM_ACCOUNT;
	}
	if (unlikely(mmap_keeps_replaced))
		err = mmap_replace(mm, file, addr, len, vm_flags, pgoff, charged, &vma);
	else
		err = mmap_clear_and_map(mm, file, addr, len, vm_flags, pgoff, charged, &vma);
	if (err)
		return err;
	mmap_finish(mm, vma, vma->vm_flags, npages);
	return addr;
}

#ifdef ARCH_MAP_32BIT
#define KNOWN_MAP_32BIT MAP_32BIT
#else
#define KNOWN_MAP_32BIT 0
#endif

/* Flags that mmap knew before it began to refuse unknown ones. */
#define LEGACY_MAP_MASK                                                                        \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE |                \
	 MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |          \
	 MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | KNOWN_MAP_32BIT | (21ul << MAP_HUGE_SHIFT) |       \
	 (30ul << MAP_HUGE_SHIFT) | 0x4000000 /* MAP_UNINITIALIZED, accepted and ignored */)

/* Files end at 2^63 - 1 bytes; a device has no end. */
static bool file_mmap_ok(const struct file *file, unsigned long pgoff, size_t len)
{
	uint64_t most = file->f_mode & QUIRE_FMODE_ZERO ? UINT64_MAX : INT64_MAX;

	ASSERT_DEBUG(len <= INT64_MAX);
	return pgoff <= (most - len) >> PAGE_SHIFT; /* no length is larger than the space */
}

/* Checks a mapping of a file and adds its flags. 0 or -errno. */
static int do_mmap_file(struct file *file, size_t len, unsigned long prot, unsigned long flags,
			unsigned long pgoff, vm_flags_t *vm_flags)
{
	ASSERT_DEBUG(file);
	if (!file_mmap_ok(file, pgoff, len))
		return -EOVERFLOW;
	switch (flags & MAP_TYPE) {
	case MAP_SHARED:
	case MAP_SHARED_VALIDATE:
		if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (flags & ~LEGACY_MAP_MASK))
			return -EOPNOTSUPP;
		if ((prot & PROT_WRITE) && !(file->f_mode & QUIRE_FMODE_WRITE))
			return -EACCES;
		*vm_flags |= VM_SHARED | VM_MAYSHARE;
		if (!(file->f_mode & QUIRE_FMODE_WRITE))
			*vm_flags &= ~(VM_MAYWRITE | VM_SHARED);
		break;
	case MAP_PRIVATE:
		break;
	default:
		return -EINVAL;
	}
	if (!(file->f_mode & QUIRE_FMODE_READ))
		return -EACCES;
	if (!file->f_op->mmap)
		return -ENODEV;
	return *vm_flags & VM_GROWSDOWN ? -EINVAL : 0;
}

static int do_mmap_anon(uintptr_t addr, unsigned long flags, unsigned long *pgoff,
			vm_flags_t *vm_flags)
{
	ASSERT_DEBUG(IS_ALIGNED(addr, PAGE_SIZE));
	switch (flags & MAP_TYPE) {
	case MAP_SHARED:
		if (*vm_flags & VM_GROWSDOWN)
			return -EINVAL;
		*pgoff = 0;
		*vm_flags |= VM_SHARED | VM_MAYSHARE;
		return 0;
	case MAP_PRIVATE:
		*pgoff = addr >> PAGE_SHIFT;
		return 0;
	default:
		return -EINVAL;
	}
}

/* A hint that no ordinary process may use becomes the lowest that it may. */
static uintptr_t round_hint_to_min(uintptr_t hint)
{
	hint &= PAGE_MASK;
	if (hint && hint < lowest_mmap_addr())
		return PAGE_ALIGN(lowest_mmap_addr());
	return hint;
}

/* The size of the pages that MAP_HUGETLB asks for, 0 if there are none such. */
static size_t huge_size(unsigned long flags)
{
	unsigned long log = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

	return !log || log == 21 ? 1ul << 21 : log == 30 ? 1ul << 30 : 0;
}

/* As get_unmapped_area(): a fixed place must suit the pages' size. */
static uintptr_t hugetlb_get_unmapped_area(struct mm_struct *mm, uintptr_t addr, size_t len,
					   unsigned long flags)
{
	assert_held_write(&mm->mmap_lock);
	if (len > mm->task_size)
		return -ENOMEM;
	if (flags & MAP_FIXED)
		return addr & (huge_size(flags) - 1) ? -EINVAL :
		       addr > mm->task_size - len ? -ENOMEM : addr;
	return get_unmapped_area(mm, NULL, 0, len, 0, flags);
}

/* What a mapping of huge pages comes to when its pool is empty, as it always is here: old mappings
 * go, then there is no memory. */
static uintptr_t hugetlb_mmap(struct mm_struct *mm, uintptr_t addr, size_t len, unsigned long flags,
			      vm_flags_t vm_flags, unsigned long pgoff)
{
	unsigned long type = flags & MAP_TYPE;

	assert_held_write(&mm->mmap_lock);
	ASSERT(huge_size(flags));
	if (pgoff > (INT64_MAX - len) >> PAGE_SHIFT)
		return -EOVERFLOW;
	if (type == MAP_SHARED_VALIDATE && (flags & ~LEGACY_MAP_MASK))
		return -EOPNOTSUPP;
	if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE && type != MAP_PRIVATE)
		return -EINVAL;
	if (vm_flags & VM_GROWSDOWN)
		return -EINVAL;
	if (type != MAP_PRIVATE)
		vm_flags |= VM_SHARED | VM_MAYSHARE;
	if (!may_expand_vm(mm, vm_flags, len >> PAGE_SHIFT) &&
	    !may_replace(mm, addr, len, vm_flags))
		return -ENOMEM;
	if (do_munmap(mm, addr, len))
		return -ENOMEM;
	return pgoff << PAGE_SHIFT & (huge_size(flags) - 1) ? -EINVAL : -ENOMEM;
}

uintptr_t do_mmap(struct mm_struct *mm, struct file *file, uintptr_t addr, size_t len,
		  unsigned long prot, unsigned long flags, unsigned long pgoff, size_t *populate)
{
	bool huge = flags & MAP_HUGETLB;
	vm_flags_t vm_flags;
	int err;

	assert_held_write(&mm->mmap_lock);
	*populate = 0;
	if (!len)
		return -EINVAL;
	if (flags & MAP_FIXED_NOREPLACE)
		flags |= MAP_FIXED;
	if (!(flags & MAP_FIXED))
		addr = round_hint_to_min(addr);
	len = PAGE_ALIGN(len);
	if (!len)
		return -ENOMEM;
	if (pgoff + (len >> PAGE_SHIFT) < pgoff)
		return -EOVERFLOW;
	if (mm->map_count > vm_sysctl.max_map_count)
		return -ENOMEM;
	addr = huge ? hugetlb_get_unmapped_area(mm, addr, len, flags)
		    : get_unmapped_area(mm, file, addr, len, pgoff, flags);
	if (IS_ERR_VALUE(addr))
		return addr;
	if ((flags & MAP_FIXED_NOREPLACE) && find_vma_intersection(mm, addr, addr + len))
		return -EEXIST;
	vm_flags = calc_vm_prot_bits(prot) | calc_vm_flags(flags) | mm->def_flags | VM_MAYREAD |
		   VM_MAYWRITE | VM_MAYEXEC;
	if ((flags & MAP_LOCKED) && !can_do_mlock(mm))
		return -EPERM;
	if (mlock_future_check(mm, vm_flags, len))
		return -EAGAIN;
	if (huge)
		return hugetlb_mmap(mm, addr, len, flags, vm_flags, pgoff);
	err = file ? do_mmap_file(file, len, prot, flags, pgoff, &vm_flags)
		   : do_mmap_anon(addr, flags, &pgoff, &vm_flags);
	if (err)
		return err;
	if ((flags & MAP_NORESERVE) && vm_sysctl.overcommit_memory != OVERCOMMIT_NEVER)
		vm_flags |= VM_NORESERVE;
	addr = mmap_region(mm, file, addr, len, vm_flags, pgoff);
	if (!IS_ERR_VALUE(addr) && ((vm_flags & VM_LOCKED) ||
				    (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE))
		*populate = len;
	return addr;
}

/* The byte offset of the call in pages; where the call takes it signed, the sign is kept. */
static unsigned long offset_pages(uint64_t off)
{
#ifdef ARCH_MMAP_OFFSET_SIGNED
	return (unsigned long)((int64_t)off >> PAGE_SHIFT);
#else
	return off >> PAGE_SHIFT;
#endif
}

long quire_mmap(struct quire_mm *qmm, uintptr_t addr, size_t len, unsigned long prot,
		unsigned long flags, struct quire_file *qfile, uint64_t off)
{
	struct file *file = flags & MAP_ANONYMOUS ? NULL : to_file(qfile);
	struct mm_struct *mm = to_mm(qmm);
	size_t populate;
	uintptr_t ret;

	if (off & ~PAGE_MASK)
		return -EINVAL;
	if (!(flags & MAP_ANONYMOUS) && (!file || (file->f_mode & QUIRE_FMODE_PATH)))
		return -EBADF;
	if (flags & MAP_HUGETLB) {
		if (file || !huge_size(flags))
			return -EINVAL;
		len = (len + huge_size(flags) - 1) & ~(huge_size(flags) - 1);
	}
	flags &= ~(unsigned long)MAP_EXECUTABLE;
	down_write(&mm->mmap_lock);
	ret = do_mmap(mm, file, addr, len, prot, flags, offset_pages(off), &populate);
	up_write(&mm->mmap_lock);
	if (populate)
		mm_populate(mm, ret, populate);
	return ret;
}

long quire_munmap(struct quire_mm *qmm, uintptr_t addr, size_t len)
{
	struct mm_struct *mm = to_mm(qmm);
	int err;

	down_write(&mm->mmap_lock);
	err = do_munmap(mm, addr, len);
	up_write(&mm->mmap_lock);
	return err;
}

/* The area is a piece of a mapping of such a file whose first byte was at addr. */
static bool is_piece(const struct vm_area_struct *vma, uintptr_t addr, const struct quire_area_ops *ops)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	return vma->vm_file && vma->vm_file->f_areas == ops &&
	       (vma->vm_start - addr) >> PAGE_SHIFT == vma->vm_pgoff;
}

static int munmap_pieces(struct mm_struct *mm, uintptr_t addr, const struct quire_area_ops *ops)
{
	struct vm_area_struct *vma = find_vma(mm, addr), *next;
	const struct file *file;
	uintptr_t end;
	int err = 0;

	assert_held_write(&mm->mmap_lock);
	while (vma && !is_piece(vma, addr, ops))
		vma = vma->vm_next;
	if (!vma)
		return -EINVAL;
	/* The file may go with its last piece: from here on it is only compared. The first piece may have grown
	 * past the file's end (mremap), and goes with all that it has. */
	file = vma->vm_file;
	end = max(addr + PAGE_ALIGN(i_size_read(file_inode(file))), vma->vm_end);
	for (; !err && vma && vma->vm_end <= end; vma = next) {
		next = vma->vm_next;
		if (is_piece(vma, addr, ops) && vma->vm_file == file)
			err = do_munmap(mm, vma->vm_start, vma->vm_end - vma->vm_start);
	}
	return err;
}

long quire_munmap_pieces(struct quire_mm *qmm, uintptr_t addr, const struct quire_area_ops *ops)
{
	struct mm_struct *mm = to_mm(qmm);
	int err;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	down_write(&mm->mmap_lock);
	err = munmap_pieces(mm, addr, ops);
	up_write(&mm->mmap_lock);
	return err;
}

bool quire_mm_range_free(struct quire_mm *qmm, uintptr_t addr, size_t len)
{
	struct mm_struct *mm = to_mm(qmm);
	bool used;

	down_read(&mm->mmap_lock);
	used = find_vma_intersection(mm, addr, addr + len) != NULL;
	up_read(&mm->mmap_lock);
	return !used;
}
