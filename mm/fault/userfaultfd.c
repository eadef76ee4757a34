/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd: a program fills its own pages, or another one's. docs/userfaultfd.md.
 *
 * A context (struct quire_uffd) belongs to one space. An area that is registered names it (vm_userfaultfd_ctx) and
 * says by VM_UFFD_MISSING and VM_UFFD_WP which faults it is told of: of a page that is not there, of a write to a
 * page that is marked. Who faults stands in `pending` until its message is read, then in `told`, and sleeps without
 * mmap_lock until it is woken; then the fault begins anew.
 *
 *   fault -> handle_userfault --> pending -- quire_uffd_read --> told
 *                ^                   |                             |
 *                |                   +-------- uffd_wake_range ----+
 *                +--- the fault begins anew <----------+   quire_uffd_copy, _zeropage, _writeprotect, _wake,
 *                                                          _unregister, _release; a signal
 *
 * No wake-up is lost: who faults enters itself while it has mmap_lock for reading, and looks at its entry once more
 * before it gives the lock up. Who fills the page does so before it looks for whom to wake.
 *
 * A context outlives its descriptor as long as somebody waits by it. An area needs no reference: it is registered and
 * taken off under mmap_lock for writing, and the descriptor's end takes all of them off.
 *
 * Locks: mmap_lock for reading (faults, filling) or writing (registering, marks) -> u->lock, which covers the lists.
 *
 * After Linux 5.10's userfaultfd. Events of fork, mremap, madvise and munmap are not built,
 * and not offered: a child's areas are not registered, nor is an area that was moved.
 */
#include "mm/fault/memory.h"
#include "mm/base/lockrank.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include "mm/slab/slab.h"
#include "mm/space/mm.h"
#include <quire/abi.h>
#include <quire/os.h>

#define VM_UFFD (VM_UFFD_MISSING | VM_UFFD_WP)

struct quire_uffd {
	uint32_t refs; /* atomic: the descriptor's, and of each that waits */
	spinlock_t lock;
	struct list_head pending, told; /* struct uffd_wait; lock */
	struct mm_struct *mm; /* grabbed */
	uint32_t features; /* atomic */
	const struct quire_uffd_ops *ops;
	void *priv;
};

/* One that waits, on its stack. */
struct uffd_wait {
	struct list_head link; /* u->lock; in no list once it is woken */
	struct quire_uffd_fault fault;
	uint32_t woken; /* u->lock to set it */
};

static struct list_head *pending_of(struct quire_uffd *u)
{
	assert_held(&u->lock);
	return &u->pending;
}

static struct list_head *told_of(struct quire_uffd *u)
{
	assert_held(&u->lock);
	return &u->told;
}

static void uffd_put(struct quire_uffd *u)
{
	if (__atomic_sub_fetch(&u->refs, 1, __ATOMIC_ACQ_REL))
		return;
	ASSERT(list_empty(&u->pending) && list_empty(&u->told));
	mmdrop(u->mm);
	if (u->ops->gone)
		u->ops->gone(u->priv);
	kfree(u);
}

/* ---- who waits ----------------------------------------------------------------------------------- */

/* Does the entry still ask for what was told? mmap_lock for reading. */
static bool must_wait(struct mm_struct *mm, uintptr_t addr, vm_flags_t reason)
{
	pte_t *pte = pt_find(mm, addr);
	pte_t v = pte ? pte_get(pte) : 0;

	assert_held_any(&mm->mmap_lock);
	return pte_none(v) || (reason & VM_UFFD_WP && !pte_write(v));
}

static void wait_begin(struct quire_uffd *u, struct uffd_wait *w)
{
	ASSERT_DEBUG(!w->woken && w->fault.addr < u->mm->task_size);
	__atomic_add_fetch(&u->refs, 1, __ATOMIC_RELAXED);
	spin_lock(&u->lock);
	list_add_tail(&w->link, pending_of(u));
	spin_unlock(&u->lock);
}

/* Whoever woke us is done with w once we have had the lock. */
static void wait_end(struct quire_uffd *u, struct uffd_wait *w)
{
	spin_lock(&u->lock);
	if (!w->woken)
		list_del(&w->link);
	spin_unlock(&u->lock);
	uffd_put(u);
}

/* mmap_lock is not held. A user's own access ends with any signal, a call's with a fatal one. */
static void wait_for_page(struct quire_uffd *u, struct uffd_wait *w, bool user)
{
	might_sleep();
	u->ops->tell(u->priv);
	while (!__atomic_load_n(&w->woken, __ATOMIC_ACQUIRE)) {
		if (os_fatal_signal_pending() || (user && os_signal_pending()))
			break;
		os_wait_killable(&w->woken, &w->woken, 0, user);
	}
}

vm_fault_t handle_userfault(struct vm_fault *vmf, vm_flags_t reason)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	struct quire_uffd *u = vmf->vma->vm_userfaultfd_ctx;
	bool user = vmf->flags & FAULT_FLAG_USER, wait;
	struct uffd_wait w;

	assert_held_any(&mm->mmap_lock);
	ASSERT_DEBUG(u && u->mm == mm);
	/* Nobody can be waited for: whoever asks has to keep the lock, or is at its end. */
	if (READ_ONCE(u->features) & UFFD_FEATURE_SIGBUS || !(vmf->flags & FAULT_FLAG_ALLOW_RETRY) ||
	    os_thread_ends())
		return VM_FAULT_SIGBUS;
	w.woken = 0;
	w.fault = (struct quire_uffd_fault){
		.addr = vmf->address,
		.flags = (vmf->flags & FAULT_FLAG_WRITE ? UFFD_PAGEFAULT_FLAG_WRITE : 0) |
			 (reason & VM_UFFD_WP ? UFFD_PAGEFAULT_FLAG_WP : 0),
		.pid = READ_ONCE(u->features) & UFFD_FEATURE_THREAD_ID ? os_current_pid() : 0,
	};
	wait_begin(u, &w);
	wait = must_wait(mm, vmf->address, reason);
	up_read(&mm->mmap_lock);
	if (wait)
		wait_for_page(u, &w, user);
	wait_end(u, &w);
	return VM_FAULT_RETRY | VM_FAULT_UNLOCKED;
}

/* Those of a list whose page lies in [start, start + len); all if len is 0. */
static void wake_list(struct quire_uffd *u, struct list_head *list, uintptr_t start, size_t len)
{
	struct uffd_wait *w, *next;

	assert_held(&u->lock);
	list_for_each_entry_safe(w, next, list, link) {
		if (len && (w->fault.addr < start || w->fault.addr - start >= len))
			continue;
		list_del(&w->link);
		__atomic_store_n(&w->woken, 1, __ATOMIC_RELEASE);
		os_wake(&w->woken, 1);
	}
}

static void uffd_wake_range(struct quire_uffd *u, uintptr_t start, size_t len)
{
	spin_lock(&u->lock);
	wake_list(u, pending_of(u), start, len);
	wake_list(u, told_of(u), start, len);
	spin_unlock(&u->lock);
}

bool quire_uffd_read(struct quire_uffd *u, struct quire_uffd_fault *fault)
{
	struct uffd_wait *w = NULL;

	spin_lock(&u->lock);
	if (!list_empty(pending_of(u))) {
		w = list_first_entry(pending_of(u), struct uffd_wait, link);
		list_del(&w->link);
		list_add_tail(&w->link, told_of(u));
		*fault = w->fault;
	}
	spin_unlock(&u->lock);
	return w != NULL;
}

bool quire_uffd_pending(struct quire_uffd *u)
{
	bool any;

	spin_lock(&u->lock);
	any = !list_empty(pending_of(u));
	spin_unlock(&u->lock);
	return any;
}

/* ---- areas --------------------------------------------------------------------------------------- */

/* 0, or -EINVAL: no range of whole pages that a program may have. */
static int validate_range(const struct mm_struct *mm, uintptr_t start, size_t len)
{
	ASSERT_DEBUG(mm->task_size);
	if (start & ~PAGE_MASK || len & ~PAGE_MASK || !len)
		return -EINVAL;
	if (start < (uintptr_t)vm_sysctl.mmap_min_addr || start >= mm->task_size || len > mm->task_size - start)
		return -EINVAL;
	return 0;
}

/* Marks are for anonymous memory alone, as in 5.10. */
static bool vma_can_userfault(const struct vm_area_struct *vma, vm_flags_t mode)
{
	if (vma->vm_flags & VM_SPECIAL)
		return false;
	return vma_is_anonymous(vma) ? !(vma->vm_flags & VM_SHARED) : vma_is_shmem(vma) && !(mode & VM_UFFD_WP);
}

/* Of all areas of the range, before anything is changed: 0, -EINVAL, -EPERM, -EBUSY. u NULL: to take them off. */
static int check_areas(const struct vm_area_struct *vma, uintptr_t end, const struct quire_uffd *u, vm_flags_t mode)
{
	assert_held_write(&vma->vm_mm->mmap_lock);
	for (; vma && vma->vm_start < end; vma = vma->vm_next) {
		if (!vma_can_userfault(vma, u ? mode : vma->vm_flags))
			return -EINVAL;
		if (!u)
			continue;
		/* What is filled is filled whatever its rights are: not what could never be written. */
		if (!(vma->vm_flags & VM_MAYWRITE))
			return -EPERM;
		if (vma->vm_userfaultfd_ctx && vma->vm_userfaultfd_ctx != u)
			return -EBUSY;
	}
	return 0;
}

/* The part [start, end) of vma gets these flags and this context; *prev: the area that is it then. */
static int change_area(struct vm_area_struct *vma, struct vm_area_struct **prev, uintptr_t start, uintptr_t end,
		       vm_flags_t flags, struct quire_uffd *u)
{
	int err;

	assert_held_write(&vma->vm_mm->mmap_lock);
	err = vma_modify(&vma, prev, start, end, flags, vma->vm_policy, u);
	if (err)
		return err;
	/* An area that took the range in keeps what else it is (soft-dirty). */
	vma_set_flags(vma, (vma->vm_flags & ~VM_UFFD) | (flags & VM_UFFD));
	vma->vm_userfaultfd_ctx = u;
	return 0;
}

/* Of the areas of [start, end) from vma on: on, each gets the mode besides what it has; else each loses all, and who
 * waits there is woken. An error leaves those before it changed. */
static int change_areas(struct vm_area_struct *vma, uintptr_t start, uintptr_t end, struct quire_uffd *on,
			vm_flags_t mode)
{
	struct vm_area_struct *prev = start > vma->vm_start ? vma : vma->vm_prev;
	int err = 0;

	assert_held_write(&vma->vm_mm->mmap_lock);
	for (; vma && vma->vm_start < end && !err; vma = prev->vm_next) {
		struct quire_uffd *was = vma->vm_userfaultfd_ctx;
		bool done = on ? was == on && (vma->vm_flags & mode) == mode : !was;
		uintptr_t from = max(start, vma->vm_start), to = min(end, vma->vm_end);

		if (done) {
			prev = vma;
			continue;
		}
		if (!on)
			uffd_wake_range(was, from, to - from);
		err = change_area(vma, &prev, from, to, on ? vma->vm_flags | mode : vma->vm_flags & ~VM_UFFD, on);
	}
	return err;
}

/* The first area that [start, end) touches. 0; -ENOMEM: there is none from start on; -EINVAL: it lies behind. */
static int first_area(struct mm_struct *mm, uintptr_t start, uintptr_t end, struct vm_area_struct **vma)
{
	assert_held_write(&mm->mmap_lock);
	*vma = find_vma(mm, start);
	if (!*vma)
		return -ENOMEM;
	return (*vma)->vm_start >= end ? -EINVAL : 0;
}

static int change_range(struct quire_uffd *u, uintptr_t start, size_t len, bool on, vm_flags_t mode)
{
	struct mm_struct *mm = u->mm;
	struct vm_area_struct *vma;
	int err = validate_range(mm, start, len);

	if (err)
		return err;
	if (!mmget_not_zero(mm))
		return -ENOMEM;
	down_write(&mm->mmap_lock);
	err = first_area(mm, start, start + len, &vma);
	if (!err)
		err = check_areas(vma, start + len, on ? u : NULL, mode);
	if (!err)
		err = change_areas(vma, start, start + len, on ? u : NULL, mode);
	up_write(&mm->mmap_lock);
	quire_mm_put(from_mm(mm));
	return err;
}

int quire_uffd_register(struct quire_uffd *u, uintptr_t start, size_t len, unsigned mode)
{
	vm_flags_t flags = (mode & UFFDIO_REGISTER_MODE_MISSING ? VM_UFFD_MISSING : 0) |
			   (mode & UFFDIO_REGISTER_MODE_WP ? VM_UFFD_WP : 0);

	if (!flags || mode & ~(UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP))
		return -EINVAL;
	if (flags & VM_UFFD_WP && !quire_uffd_has_wp())
		return -EINVAL;
	return change_range(u, start, len, true, flags);
}

int quire_uffd_unregister(struct quire_uffd *u, uintptr_t start, size_t len)
{
	return change_range(u, start, len, false, 0);
}

int quire_uffd_wake(struct quire_uffd *u, uintptr_t start, size_t len)
{
	int err = validate_range(u->mm, start, len);

	if (!err)
		uffd_wake_range(u, start, len);
	return err;
}

/* ---- filling ------------------------------------------------------------------------------------- */

/* The area that the range lies in as a whole, if it is registered; NULL: there is none. */
static struct vm_area_struct *find_dst_vma(struct mm_struct *mm, uintptr_t start, size_t len)
{
	struct vm_area_struct *vma = find_vma(mm, start);

	assert_held_any(&mm->mmap_lock);
	if (!vma || start < vma->vm_start || len > vma->vm_end - start)
		return NULL;
	return vma->vm_userfaultfd_ctx ? vma : NULL;
}

static bool behind_end(const struct vm_area_struct *vma, uintptr_t addr)
{
	uint64_t at = (uint64_t)linear_page_index(vma, addr) << PAGE_SHIFT;

	assert_held_any(&vma->vm_mm->mmap_lock);
	return vma->vm_file && !vma_is_anonymous(vma) && at >= i_size_read(file_inode(vma->vm_file));
}

/* Stores the entry if there is none yet. page: what it counts, locked if it is a file's; NULL: nothing. 0, -EEXIST,
 * -EFAULT. */
static int fill_entry(struct vm_area_struct *vma, uintptr_t addr, pte_t *pte, pte_t v, struct page *page)
{
	struct mm_struct *mm = vma->vm_mm;
	int err = -EEXIST;

	assert_held_any(&mm->mmap_lock);
	if (page && vma->vm_page_prot->d.x)
		hal_icache_sync(page_address(page), PAGE_SIZE);
	ptl_lock(pte_lockptr(pte));
	if (behind_end(vma, addr)) {
		err = -EFAULT;
	} else if (pte_none(pte_get(pte))) {
		err = 0;
		if (page && page->mapping) {
			add_mm_counter(mm, mm_counter(page), 1);
			page_add_file_rmap(page);
		} else if (page) {
			add_mm_counter(mm, MM_ANONPAGES, 1);
			page_add_new_anon_rmap(page, vma, addr);
		}
		set_pte_at(mm, addr, pte, v);
		hal_pt_published(&mm->arch, addr);
	}
	ptl_unlock(pte_lockptr(pte));
	return err;
}

/* A page of private memory. page NULL: the page of zeros; else its reference becomes the entry's if the answer is 0. */
static int fill_private(struct vm_area_struct *vma, uintptr_t addr, struct page *page, bool wp)
{
	pte_t *pte = pt_make(vma->vm_mm, addr), v;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (!pte)
		return -ENOMEM;
	if (!page)
		return fill_entry(vma, addr, pte, mk_pte_special(zero_page, vma->vm_page_prot), NULL);
	v = mk_pte_dirty(page, vma->vm_page_prot);
	if (wp && vma->vm_flags & VM_WRITE)
		v = pte_mkuffd_wp(v);
	return fill_entry(vma, addr, pte, v, page);
}

/* A page of shared memory becomes the file's, and is mapped; its reference becomes the entry's if the answer is 0. */
static int fill_shared(struct vm_area_struct *vma, uintptr_t addr, struct page *page)
{
	pte_t *pte = pt_make(vma->vm_mm, addr);
	int err = -ENOMEM;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (!pte)
		return err;
	if (behind_end(vma, addr))
		return -EFAULT;
	err = shmem_add_page(vma->vm_file->f_mapping, linear_page_index(vma, addr), page);
	if (err)
		return err;
	assert_page_locked(page);
	err = fill_entry(vma, addr, pte, mk_pte_dirty(page, vma->vm_page_prot), page);
	if (err)
		delete_from_page_cache(page);
	else
		set_page_dirty(page);
	unlock_page(page);
	return err;
}

/* What one call fills pages with. */
struct filling {
	struct mm_struct *mm;
	uintptr_t start, dst;	/* the whole range's, and where it has come to */
	size_t len;
	uintptr_t src;		/* in the running space */
	bool zero, wp;		/* zeros, not src; the pages are marked */
};

/* One page of the range. page NULL: zeros, -EAGAIN if that takes a page; else it is filled already, and its
 * reference becomes the entry's if the answer is 0. mmap_lock for reading. */
static int fill_one(const struct filling *f, struct page *page)
{
	struct vm_area_struct *vma = find_dst_vma(f->mm, f->start, f->len);

	assert_held_any(&f->mm->mmap_lock);
	if (!vma)
		return -ENOENT;
	if (f->wp && !(vma->vm_flags & VM_UFFD_WP))
		return -EINVAL;
	if (vma->vm_flags & VM_SHARED)
		return page ? fill_shared(vma, f->dst, page) : -EAGAIN;
	if (anon_vma_prepare(vma))
		return -ENOMEM;
	return fill_private(vma, f->dst, page, f->wp);
}

static int try_fill(const struct filling *f, struct page *page)
{
	int err;

	ASSERT_DEBUG(!page || page_count(page) > 0);
	down_read(&f->mm->mmap_lock);
	err = fill_one(f, page);
	up_read(&f->mm->mmap_lock);
	return err;
}

/* Whether there is a place to fill, asked before anything is copied: its error comes first. */
static int check_place(const struct filling *f)
{
	struct vm_area_struct *vma;
	int err = 0;

	down_read(&f->mm->mmap_lock);
	vma = find_dst_vma(f->mm, f->start, f->len);
	if (!vma)
		err = -ENOENT;
	else if (f->wp && !(vma->vm_flags & VM_UFFD_WP))
		err = -EINVAL;
	up_read(&f->mm->mmap_lock);
	return err;
}

/* No lock is held: the source may lie in memory that is filled in the same way. */
static int fill_from_user(const struct filling *f, struct page *page)
{
	might_sleep();
	assert_no_mutex();
	return hal_copy_from_user(page_address(page), f->src + (f->dst - f->start), PAGE_SIZE) ? -EFAULT : 0;
}

static int fill_page(const struct filling *f)
{
	int err = f->zero ? try_fill(f, NULL) : check_place(f);
	struct page *page;

	ASSERT_DEBUG(f->dst >= f->start && f->dst - f->start < f->len);
	if (f->zero ? err != -EAGAIN : err != 0)
		return err;
	page = alloc_pages(GFP_HIGHUSER_MOVABLE | (f->zero ? __GFP_ZERO : 0), 0);
	if (!page)
		return -ENOMEM;
	err = f->zero ? 0 : fill_from_user(f, page);
	if (!err)
		err = try_fill(f, page);
	if (err)
		put_page(page);
	return err;
}

static long fill_range(struct quire_uffd *u, struct filling *f, bool wake)
{
	size_t done;
	int err = 0;

	might_sleep();
	if (!mmget_not_zero(u->mm))
		return -ESRCH;
	f->mm = u->mm;
	f->dst = f->start;
	while (f->dst - f->start < f->len && !err) {
		err = fill_page(f);
		if (err)
			break;
		f->dst += PAGE_SIZE;
		if (os_fatal_signal_pending())
			err = -EINTR;
		os_cond_resched();
	}
	quire_mm_put(from_mm(u->mm));
	done = f->dst - f->start;
	if (done && wake)
		uffd_wake_range(u, f->start, done);
	return done ? (long)done : err;
}

int quire_uffd_check_range(struct quire_uffd *u, uintptr_t start, size_t len)
{
	return validate_range(u->mm, start, len);
}

long quire_uffd_copy(struct quire_uffd *u, uintptr_t dst, uintptr_t src, size_t len, bool wp, bool wake)
{
	struct filling f = {.start = dst, .len = len, .src = src, .wp = wp};
	int err = validate_range(u->mm, dst, len);

	return err ? err : fill_range(u, &f, wake);
}

long quire_uffd_zeropage(struct quire_uffd *u, uintptr_t start, size_t len, bool wake)
{
	struct filling f = {.start = start, .len = len, .zero = true};
	int err = validate_range(u->mm, start, len);

	return err ? err : fill_range(u, &f, wake);
}

/* mmap_lock for writing: no fault is under way that has read a mark. */
static int mark_range(struct mm_struct *mm, uintptr_t start, size_t len, bool on)
{
	struct vm_area_struct *vma = find_dst_vma(mm, start, len);

	assert_held_write(&mm->mmap_lock);
	if (!vma || !(vma->vm_flags & VM_UFFD_WP) || !vma_is_anonymous(vma))
		return -ENOENT;
	change_uffd_wp(vma, start, start + len, on);
	return 0;
}

int quire_uffd_writeprotect(struct quire_uffd *u, uintptr_t start, size_t len, bool on, bool wake)
{
	int err = validate_range(u->mm, start, len);

	if (err)
		return err;
	if (!mmget_not_zero(u->mm))
		return -ESRCH;
	down_write(&u->mm->mmap_lock);
	err = mark_range(u->mm, start, len, on);
	up_write(&u->mm->mmap_lock);
	quire_mm_put(from_mm(u->mm));
	if (!err && wake)
		uffd_wake_range(u, start, len);
	return err;
}

bool quire_uffd_unprivileged(void)
{
	return vm_sysctl.unprivileged_userfaultfd;
}

bool quire_uffd_has_wp(void)
{
	return ARCH_UFFD_WP;
}

/* ---- begin and end ------------------------------------------------------------------------------- */

struct quire_uffd *quire_uffd_create(struct quire_mm *mm, const struct quire_uffd_ops *ops, void *priv)
{
	struct quire_uffd *u = kzalloc(sizeof(*u), GFP_KERNEL);

	might_sleep();
	if (!u)
		return NULL;
	u->refs = 1;
	spin_lock_init_rank(&u->lock, "userfaultfd", RANK_UFFD);
	INIT_LIST_HEAD(&u->pending);
	INIT_LIST_HEAD(&u->told);
	u->mm = to_mm(mm);
	mmgrab(u->mm);
	u->ops = ops;
	u->priv = priv;
	return u;
}

void quire_uffd_set_features(struct quire_uffd *u, uint32_t features)
{
	WRITE_ONCE(u->features, features);
}

/* Nobody can come to wait once no area names u. An area that does not find the memory to be split or merged is not:
 * it loses its context all the same. */
static void take_off_all(struct quire_uffd *u)
{
	struct mm_struct *mm = u->mm;
	struct vm_area_struct *vma, *prev = NULL, *merged;

	down_write(&mm->mmap_lock);
	for (vma = mm->mmap; vma; prev = vma, vma = vma->vm_next) {
		vm_flags_t flags = vma->vm_flags & ~VM_UFFD;

		if (vma->vm_userfaultfd_ctx != u)
			continue;
		merged = vma_merge(mm, prev, vma->vm_start, vma->vm_end, flags, vma->anon_vma, vma->vm_file,
				   vma->vm_pgoff, vma->vm_policy, NULL);
		if (merged)
			vma = merged;
		vma_set_flags(vma, vma->vm_flags & ~VM_UFFD);
		vma->vm_userfaultfd_ctx = NULL;
	}
	up_write(&mm->mmap_lock);
}

void quire_uffd_release(struct quire_uffd *u)
{
	might_sleep();
	if (mmget_not_zero(u->mm)) {
		take_off_all(u);
		quire_mm_put(from_mm(u->mm));
	}
	uffd_wake_range(u, 0, 0);
	uffd_put(u);
}
