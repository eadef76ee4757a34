/* SPDX-License-Identifier: MIT */
/*
 * Access to pages of an address space by their frames, the one place for it: faulting them in (quire_fault_in),
 * copying to and from them (quire_mm_read, quire_mm_write), pinning them for a transfer (pin_user_pages). And
 * special mappings: pages of the kernel's that programs may see.
 */
#include "lib/string.h"
#include "mm/base/vmstat.h"
#include "mm/fault/memory.h"
#include "mm/object/filemap.h"
#include "mm/slab/slab.h"
#include <quire/abi.h>
#include <quire/os.h>

/* ---- faulting in and copying ------------------------------------------------------------------ */

/* What a forced access needs: the right that mprotect could give, or private memory that it could make
 * writable, of which a write makes a copy. */
static bool may_force(const struct vm_area_struct *vma, bool write)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return false;
	return write ? (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE : vma->vm_flags & VM_MAYREAD;
}

static bool may_access(const struct vm_area_struct *vma, bool write, bool force)
{
	if (write ? vma->vm_flags & VM_WRITE : vma_is_accessible(vma))
		return true;
	return force && may_force(vma, write);
}

/* The VMA of addr if the access is allowed there; mmap_lock for reading. */
static struct vm_area_struct *access_vma(struct mm_struct *mm, uintptr_t addr, bool write, bool force)
{
	struct vm_area_struct *vma;

	assert_held_any(&mm->mmap_lock);
	if (addr < mm->start || addr >= mm->task_size)
		return NULL;
	vma = find_extend_vma(mm, addr);
	return vma && may_access(vma, write, force) ? vma : NULL;
}

/* The page that the entry names, with so many references, if the access is allowed as it is; or NULL. The page of
 * zeros is never counted, as put_page() does not either. */
static struct page *page_of_entry(const pte_t *pte, bool write, bool copied, int refs)
{
	pte_t v = pte_get(pte);
	struct page *page;

	assert_pte_locked(pte);
	if (!pte_present(v) || (write && !pte_write(v) && !copied))
		return NULL;
	page = pfn_to_page(pte_pfn(v));
	if (write && !pte_write(v) && !PageAnon(page))
		return NULL;
	if (!is_zero_page(page))
		get_page(page);
	if (!is_zero_page(page) && refs > 1)
		__atomic_fetch_add(&page->_refcount, refs - 1, __ATOMIC_RELAXED);
	return page;
}

/*
 * The page of addr for a kernel access: faulted in as often as it takes, so that a write finds a page
 * of its own and not one shared by copy-on-write. Where the entry must not be writable (a forced write)
 * the page is our own once a write fault has been through, for no fork comes between. Ends with
 * put_user_page(), or with PIN_REFS references by unpin_user_pages(). flags: FAULT_FLAG_ALLOW_RETRY and
 * FAULT_FLAG_TRIED. mmap_lock for reading. 0, -EFAULT, -ENOMEM; -EAGAIN: mmap_lock was given up to wait.
 */
static int get_user_page(struct vm_area_struct *vma, uintptr_t addr, bool write, unsigned flags, int refs,
			 struct page **pp)
{
	struct mm_struct *mm = vma->vm_mm;
	bool forced = write && !(vma->vm_flags & VM_WRITE), copied = false;

	assert_held_any(&mm->mmap_lock);
	flags |= FAULT_FLAG_REMOTE | (write ? FAULT_FLAG_WRITE : 0);
	for (int tries = 0; tries < 16;) {
		pte_t *pte = pt_find(mm, addr);
		vm_fault_t ret;

		if (pte) {
			ptl_lock(pte_lockptr(pte));
			*pp = page_of_entry(pte, write, copied, refs);
			ptl_unlock(pte_lockptr(pte));
			if (*pp)
				return 0;
		}
		ret = handle_mm_fault(vma, addr, flags, NULL);
		if (ret & VM_FAULT_UNLOCKED)
			return -EAGAIN;
		if (ret & VM_FAULT_OOM)
			return -ENOMEM;
		if (ret & VM_FAULT_ERROR)
			return -EFAULT;
		/* Waiting for a page on the move is not one of the steps. */
		if (!(ret & VM_FAULT_RETRY)) {
			os_count_fault(ret & VM_FAULT_MAJOR || flags & FAULT_FLAG_TRIED);
			flags &= ~FAULT_FLAG_TRIED;
			tries++;
			copied = forced;
		}
	}
	return -EFAULT;
}

#define ACCESS_WRITE 1u
#define ACCESS_FORCE 2u
#define ACCESS_WAIT  4u /* mmap_lock may be given up to wait */
#define ACCESS_PIN   8u /* the page is pinned */

/* The same by address. mmap_lock is taken for reading, and held whatever the answer; *vma is that of addr.
 * After Linux' get_user_pages_remote, with and without `locked`. */
static int lock_user_page(struct mm_struct *mm, uintptr_t addr, unsigned how, struct vm_area_struct **vma,
			  struct page **pp)
{
	unsigned flags = how & ACCESS_WAIT ? FAULT_FLAG_ALLOW_RETRY : 0;
	int err;

	might_sleep();
	for (;;) {
		down_read(&mm->mmap_lock);
		*vma = access_vma(mm, addr, how & ACCESS_WRITE, how & ACCESS_FORCE);
		if (*vma && how & ACCESS_PIN && (*vma)->vm_flags & (VM_IO | VM_PFNMAP))
			return -EFAULT;
		/* A fatal signal may be why nothing was waited for. */
		if (!*vma || (flags & FAULT_FLAG_TRIED && os_fatal_signal_pending()))
			return -EFAULT;
		err = get_user_page(*vma, addr, how & ACCESS_WRITE, flags, how & ACCESS_PIN ? PIN_REFS : 1, pp);
		if (err != -EAGAIN)
			return err;
		flags |= FAULT_FLAG_TRIED;
	}
}

/*
 * The access is over. A page that was written behind the entries' back is dirty from now on,
 * whatever they say: MADV_FREE and the page cache must not take it for clean. Marked while the
 * reference still keeps it from being reclaimed.
 */
static void put_user_page(struct page *page, bool wrote)
{
	if (wrote)
		set_page_dirty_lock(page);
	put_page(page);
}

long pin_user_pages(struct mm_struct *mm, uintptr_t addr, unsigned n, bool write, struct page **pages)
{
	unsigned how = ACCESS_PIN | ACCESS_WAIT | (write ? ACCESS_WRITE : 0), i;
	struct vm_area_struct *vma;
	int err = 0;

	ASSERT(IS_ALIGNED(addr, PAGE_SIZE) && n);
	/* Before the first one is: a fork that comes later finds it. */
	if (!mm_has_flag(mm, MMF_HAS_PINNED))
		mm_set_flag(mm, MMF_HAS_PINNED);
	for (i = 0; i < n; i++, addr += PAGE_SIZE) {
		err = lock_user_page(mm, addr, how, &vma, &pages[i]);
		up_read(&mm->mmap_lock);
		if (err)
			break;
	}
	mod_node_page_state(NR_FOLL_PIN_ACQUIRED, i);
	return i ? (long)i : err;
}

void unpin_user_pages(struct page **pages, unsigned n, bool wrote)
{
	for (unsigned i = 0; i < n; i++) {
		if (is_zero_page(pages[i]))
			continue;
		if (wrote)
			set_page_dirty_lock(pages[i]);
		ASSERT_DEBUG(page_count(pages[i]) >= PIN_REFS);
		__atomic_fetch_sub(&pages[i]->_refcount, PIN_REFS - 1, __ATOMIC_ACQ_REL);
		put_page(pages[i]);
	}
	mod_node_page_state(NR_FOLL_PIN_RELEASED, n);
}

int quire_fault_in(struct quire_mm *qmm, uintptr_t addr, bool write)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;
	struct page *page;
	int err = lock_user_page(mm, addr, ACCESS_WAIT | (write ? ACCESS_WRITE : 0), &vma, &page);

	up_read(&mm->mmap_lock);
	if (!err)
		put_user_page(page, write);
	return err;
}

/* vma maps addr, of which page is a page. mmap_lock for reading. */
static int place_of(struct vm_area_struct *vma, uintptr_t addr, bool writable, struct page *page,
		    struct quire_place *place)
{
	bool private = !(vma->vm_flags & VM_SHARED);

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (private && writable) {
		*place = (struct quire_place){from_mm(vma->vm_mm), addr, NULL};
		return 0;
	}
	/* Private memory that no thread can write any more is nothing to wait for. */
	if (!vma->vm_file || (private && (PageAnon(page) || is_zero_page(page))))
		return -EFAULT;
	place->inode = file_inode(vma->vm_file);
	place->object = place->inode;
	place->offset = ((uint64_t)linear_page_index(vma, addr) << PAGE_SHIFT) + addr % PAGE_SIZE;
	quire_inode_get(place->inode);
	return 0;
}

int quire_mm_place(struct quire_mm *qmm, uintptr_t addr, struct quire_place *place)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;
	bool writable = true;
	struct page *page;
	int err = lock_user_page(mm, addr, ACCESS_WAIT | ACCESS_WRITE, &vma, &page);

	if (!vma) {
		writable = false;
		up_read(&mm->mmap_lock);
		err = lock_user_page(mm, addr, ACCESS_WAIT, &vma, &page);
	}
	if (!err) {
		err = place_of(vma, addr, writable, page, place);
		put_user_page(page, false);
	}
	up_read(&mm->mmap_lock);
	return err;
}

void quire_place_put(const struct quire_place *place)
{
	if (place->inode)
		quire_inode_put(place->inode);
}

/* Copies within one page. Returns 0 or -errno. */
static int access_one(struct mm_struct *mm, uintptr_t addr, void *buf, size_t n, unsigned how)
{
	bool write = how & ACCESS_WRITE;
	struct vm_area_struct *vma;
	struct page *page;
	char *at;
	int err;

	ASSERT(n && n <= PAGE_SIZE - (addr & ~PAGE_MASK));
	err = lock_user_page(mm, addr, how, &vma, &page);
	if (!err) {
		at = (char *)page_address(page) + (addr & ~PAGE_MASK);
		if (write)
			memcpy(at, buf, n);
		else
			memcpy(buf, at, n);
		if (write && (vma->vm_flags & VM_EXEC))
			hal_icache_sync(at, n);
	}
	up_read(&mm->mmap_lock);
	if (!err)
		put_user_page(page, write);
	return err;
}

/* Other CPUs' programs see it as one of their own: it is one instruction on the page that they have mapped. */
int quire_mm_cmpxchg(struct quire_mm *qmm, uintptr_t addr, uint32_t *old, uint32_t new)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;
	bool stored = false;
	struct page *page;
	int err;

	ASSERT(IS_ALIGNED(addr, sizeof(*old)));
	err = lock_user_page(mm, addr, ACCESS_WRITE, &vma, &page);
	if (!err)
		stored = __atomic_compare_exchange_n((uint32_t *)((char *)page_address(page) + (addr & ~PAGE_MASK)),
						     old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	up_read(&mm->mmap_lock);
	if (err)
		return err;
	put_user_page(page, stored);
	return stored ? 0 : -EAGAIN;
}

static size_t access_mm(struct mm_struct *mm, uintptr_t addr, void *buf, size_t n, unsigned how)
{
	size_t done = 0, part;

	for (; done < n; done += part) {
		part = min(n - done, PAGE_SIZE - ((addr + done) & ~PAGE_MASK));
		if (access_one(mm, addr + done, (char *)buf + done, part, how))
			break;
	}
	return done;
}

size_t quire_mm_write(struct quire_mm *mm, uintptr_t addr, const void *src, size_t n)
{
	return access_mm(to_mm(mm), addr, (void *)(uintptr_t)src, n, ACCESS_WRITE | ACCESS_WAIT);
}

size_t quire_mm_read(struct quire_mm *mm, uintptr_t addr, void *dst, size_t n)
{
	return access_mm(to_mm(mm), addr, dst, n, ACCESS_WAIT);
}

size_t quire_mm_write_forced(struct quire_mm *mm, uintptr_t addr, const void *src, size_t n)
{
	return access_mm(to_mm(mm), addr, (void *)(uintptr_t)src, n, ACCESS_WRITE | ACCESS_FORCE);
}

size_t quire_mm_read_forced(struct quire_mm *mm, uintptr_t addr, void *dst, size_t n)
{
	return access_mm(to_mm(mm), addr, dst, n, ACCESS_FORCE);
}

/* ---- special mappings ------------------------------------------------------------------------- */

struct special_mapping {
	uint32_t refcount; /* atomic: VMAs that use it */
	size_t npages;
	const char *name;
	const void *pages[]; /* kernel addresses of whole pages; NULL: nothing there */
};

static void special_open(struct vm_area_struct *vma)
{
	struct special_mapping *sm = vma->vm_private_data;

	ASSERT(sm->refcount);
	__atomic_fetch_add(&sm->refcount, 1, __ATOMIC_RELAXED);
}

static void special_close(struct vm_area_struct *vma)
{
	struct special_mapping *sm = vma->vm_private_data;

	ASSERT(sm->refcount);
	if (__atomic_sub_fetch(&sm->refcount, 1, __ATOMIC_ACQ_REL) == 0)
		kfree(sm);
}

static vm_fault_t special_fault(struct vm_fault *vmf)
{
	struct special_mapping *sm = vmf->vma->vm_private_data;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	if (vmf->pgoff >= sm->npages || !sm->pages[vmf->pgoff])
		return VM_FAULT_SIGBUS;
	vmf->page = virt_to_page(sm->pages[vmf->pgoff]);
	get_page(vmf->page);
	lock_page(vmf->page);
	return VM_FAULT_LOCKED;
}

static const char *special_name(struct vm_area_struct *vma)
{
	return ((struct special_mapping *)vma->vm_private_data)->name;
}

static const struct vm_operations_struct special_vm_ops = {
	.open = special_open,
	.close = special_close,
	.fault = special_fault,
	.name = special_name,
};

int quire_mm_install_special(struct quire_mm *qmm, uintptr_t addr, size_t len, unsigned prot,
			     const void *const *pages, const char *name)
{
	struct mm_struct *mm = to_mm(qmm);
	size_t n = PAGE_ALIGN(len) >> PAGE_SHIFT;
	struct special_mapping *sm = kzalloc(sizeof(*sm) + n * sizeof(sm->pages[0]), GFP_KERNEL);
	struct vm_area_struct *vma = vm_area_alloc(mm);
	int err = -ENOMEM;

	ASSERT(IS_ALIGNED(addr, PAGE_SIZE));
	if (!sm || !vma)
		goto fail;
	sm->refcount = 1;
	sm->npages = n;
	sm->name = name;
	for (size_t i = 0; i < n; i++)
		sm->pages[i] = pages[i];
	vma->vm_start = addr;
	vma->vm_end = addr + (n << PAGE_SHIFT);
	vma->vm_flags = calc_vm_prot_bits(prot) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC |
			VM_DONTEXPAND | VM_SOFTDIRTY;
	vma->vm_ops = &special_vm_ops;
	vma->vm_private_data = sm;
	vma_set_page_prot(vma);
	down_write(&mm->mmap_lock);
	err = insert_vm_struct(mm, vma);
	if (!err)
		vm_stat_account(mm, vma->vm_flags, n);
	up_write(&mm->mmap_lock);
	if (!err)
		return 0;
fail:
	if (vma)
		vm_area_free(vma);
	kfree(sm);
	return err;
}
