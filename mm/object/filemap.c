/* SPDX-License-Identifier: MIT */
/*
 * The page cache: each inode's pages by their number in the file, found by mmap, read and write
 * alike, so that all three see the same bytes. Also truncation, hole punching,
 * fallocate and drop_caches. Shared memory (shmem.c) is the same without a file to read from.
 *
 * Structures. inode->i_mapping (struct address_space) has a radix tree, i_pages, from the page's
 * number to its struct page, and nrpages, how many there are. A page in the cache has one reference
 * for the cache (I15) and says where it belongs: page->mapping, page->index (I14). Both change only
 * under the page lock and i_lock together, so either is enough to read them.
 *
 * The life of a page in the cache:
 *
 *                    alloc_pages
 *                         |  new_cached_page -> add_to_page_cache
 *                         v
 *        +--------- locked, not valid
 *        |                |  read_page: readpage() or zeros, sets PG_uptodate
 *        |                v
 *        |              clean ----------------------------> dirty
 *        |                |    set_page_dirty, from            |
 *        |                |    write_page, do_shared_fault,    |
 *        |                |    wp_page_shared, zap_pte (an     |
 *        |                |    entry that was written to)      |
 *        |                |                                    |
 *        | filemap_get_   | truncate_page, remove_mapping      | truncate_page
 *        | page: the read |                                    |
 *        | failed         v                                    |
 *        +-----> delete_from_page_cache <----------------------+
 *                         |  put_page of the last holder (a read or a fault under way)
 *                         v
 *                     free frame
 *
 *   besides, while it is valid:   unmapped  --- finish_fault, filemap_map_one -->  mapped
 *                                           <-- page_remove_rmap ----------------
 *                                               (zap_pte, wp_replace, migration)
 *
 * The way from dirty to clean, of files that are written back, is writeback.c's; a dirty page of another
 * stays until it is truncated. Pages of shared memory are the only copy, so drop_caches spares them; only those
 * go to swap (shmem.c), and the slot of a page that lies there holds its entry, as a value.
 * Migration puts another frame into the page's slot, with its flags (migrate.c, replace_page).
 *
 * A page leaves the cache locked and unmapped (I16). A look-up may hold a reference meanwhile, so
 * after lock_page() it compares page->mapping again and starts over if the page has left.
 *
 * Truncation: first the size, so that no new fault finds the page; then the entries; then the
 * pages; then the entries once more, for a private copy may have been made in between. A fault
 * checks the size again under the page lock.
 *
 * Locks. i_rwsem (write, truncate, punch, fallocate) -> mmap_lock -> page lock -> i_mmap_rwsem ->
 * table lock -> i_lock. i_lock spins and covers the tree only; fault-around takes it under a table
 * lock. Tree nodes are asked for without sleeping under i_lock; where that fails, one is fetched
 * outside (add_spare) and the insertion is tried again. User memory is never copied with a page
 * locked: the user's page may be the very same page, and its fault would wait for the lock. So a
 * write goes through a page of its own (the bounce page), a read holds a reference only.
 *
 * Limits. Files of up to INT64_MAX bytes.
 */
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/lru/workingset.h"
#include "mm/object/file_def.h"
#include "mm/object/writeback.h"
#include "mm/phys/page_alloc.h"
#include "mm/slab/slab.h"
#include "mm/swap/swap.h"
#include "mm/table/pgtable.h"
#include <quire/abi.h>
#include <quire/os.h>

#define SHADOW_BATCH 256u /* slots looked at under one hold of i_lock */

static struct kmem_cache *radix_cachep;

/* ---- the tree -------------------------------------------------------------------------------- */

/* Nodes kept for one mapping, filled outside the lock; i_lock. Linked through slots[0]. */
static struct radix_node *node_alloc(void *ctx)
{
	struct address_space *m = ctx;
	struct radix_node *n = kmem_cache_alloc(radix_cachep, GFP_NOWAIT | __GFP_NOWARN);

	assert_held(&m->i_lock);
	if (!n && m->spare_nodes) {
		n = m->spare_nodes;
		m->spare_nodes = n->slots[0];
	}
	return n;
}

static void node_free(struct radix_node *n, void *ctx)
{
	assert_held(&((struct address_space *)ctx)->i_lock);
	kmem_cache_free(radix_cachep, n);
}

void mapping_init(struct address_space *m, struct quire_inode *host)
{
	ASSERT(host);
	m->host = host;
	spin_lock_init_rank(&m->i_lock, "i_pages", RANK_I_PAGES);
	radix_init(&m->i_pages, node_alloc, node_free, m);
	m->nrpages = 0;
	m->nr_swapped = 0;
	m->nr_shadows = m->nr_shadow_nodes = 0;
	m->nr_dirty = 0;
	m->dirtied_when = 0;
	m->wb_err = 0;
	m->spare_nodes = NULL;
	m->i_mmap = RB_ROOT;
	init_rwsem_named(&m->i_mmap_rwsem, "i_mmap_rwsem");
	m->i_mmap_writable = 0;
	m->unevictable = false;
}

static struct radix_node *take_spares(struct address_space *m)
{
	struct radix_node *n = m->spare_nodes;

	assert_held(&m->i_lock);
	m->spare_nodes = NULL;
	return n;
}

static void drop_spares(struct address_space *m)
{
	struct radix_node *n;

	spin_lock(&m->i_lock);
	n = take_spares(m);
	spin_unlock(&m->i_lock);
	while (n) {
		struct radix_node *next = n->slots[0];

		kmem_cache_free(radix_cachep, n);
		n = next;
	}
}

static void push_spare(struct address_space *m, struct radix_node *n)
{
	assert_held(&m->i_lock);
	n->slots[0] = m->spare_nodes;
	m->spare_nodes = n;
}

/* One more node, fetched where sleeping is allowed; the next insertion finds it. */
static bool add_spare(struct address_space *m, gfp_t gfp)
{
	struct radix_node *n = kmem_cache_alloc(radix_cachep, gfp & ~(__GFP_MOVABLE |
								       __GFP_HIGHMEM | __GFP_ZERO));

	if (!n)
		return false;
	spin_lock(&m->i_lock);
	push_spare(m, n);
	spin_unlock(&m->i_lock);
	return true;
}

/* Whether pages of this file have a source to be read from. */
static bool reads(const struct address_space *m)
{
	return m->host->ops->readpage && !mapping_shmem(m);
}

/* Slots that hold a shadow: how many, of this file and of all. */
static void count_shadows(struct address_space *m, long n)
{
	assert_held(&m->i_lock);
	m->nr_shadows += n;
	mod_node_page_state(NR_SHADOWS, n);
}

/* After each change of the tree of a file with shadows: nodes of it that hold nothing else. */
static void count_shadow_nodes(struct address_space *m)
{
	long n = (long)(locked_pages(m)->nr_value_nodes - m->nr_shadow_nodes);

	assert_held(&m->i_lock);
	if (!n || mapping_shmem(m)) /* there values are swap entries */
		return;
	m->nr_shadow_nodes += n;
	mod_node_page_state(WORKINGSET_NODES, n);
}

void account_cached(const struct address_space *m, long n)
{
	ASSERT_DEBUG(n == 1 || n == -1);
	mod_node_page_state(NR_FILE_PAGES, n);
	if (mapping_shmem(m))
		mod_node_page_state(NR_SHMEM, n);
}

/* Puts the page in its slot, and says so in the page, in one hold of i_lock. *shadow: what the slot
 * remembered of an earlier one. */
static int insert_page(struct address_space *m, struct page *page, uint64_t index, void **shadow)
{
	void *was;
	int err = 0;

	assert_page_locked(page);
	ASSERT_DEBUG(!page->mapping);
	spin_lock(&m->i_lock);
	was = radix_lookup(locked_pages(m), index);
	if (radix_is_value(was) && !mapping_shmem(m)) {
		*shadow = radix_replace(locked_pages(m), index, page);
		count_shadows(m, -1);
	} else {
		err = radix_insert(locked_pages(m), index, page);
	}
	count_shadow_nodes(m);
	if (!err) {
		WRITE_ONCE(page->mapping, m);
		page->index = index;
		__atomic_store_n(&m->nrpages, m->nrpages + 1, __ATOMIC_RELAXED);
	}
	spin_unlock(&m->i_lock);
	return err;
}

/* The cache's reference is taken before the page can be found: a look-up may put its own at any
 * time. */
int add_to_page_cache(struct page *page, struct address_space *m, uint64_t index, gfp_t gfp)
{
	void *shadow = NULL;
	int err;

	ASSERT_DEBUG_I("I14", page_count(page) > 0);
	assert_page_locked(page);
	BUG_ON(!page_test(page, PG_locked) || page->mapping);
	get_page(page);
	if (mapping_shmem(m))
		page_set(page, PG_swapbacked);
	/* At most as many nodes as the tree may grow higher. */
	for (int tries = 0;; tries++) {
		err = insert_page(m, page, index, &shadow);
		if (err != -ENOMEM || tries > 64 / RADIX_SHIFT + 1 || !add_spare(m, gfp))
			break;
	}
	drop_spares(m);
	if (err) {
		put_page(page);
		return err;
	}
	account_cached(m, 1);
	if (shadow)
		workingset_refault(page, radix_to_value(shadow), get_nr_swap_pages() > 0);
	if (unlikely(READ_ONCE(m->unevictable)))
		lru_cull(page);
	lru_cache_add(page);
	return 0;
}

/* I16: locked and unmapped, so that no fault or reader can start to use it as this file's page. */
void delete_from_page_cache(struct page *page)
{
	struct address_space *m = page->mapping;
	void *was;

	assert_page_locked(page);
	BUG_ON(!page_test(page, PG_locked) || page_mapcount(page) > 0);
	ASSERT(!page_test(page, PG_writeback));
	spin_lock(&m->i_lock);
	untag_dirty(m, page->index);
	was = radix_delete(locked_pages(m), page->index);
	count_shadow_nodes(m);
	__atomic_store_n(&m->nrpages, m->nrpages - 1, __ATOMIC_RELAXED);
	WRITE_ONCE(page->mapping, NULL); /* page_remove_rmap() reads it unlocked */
	spin_unlock(&m->i_lock);
	BUG_ON(was != page);
	page_clear(page, PG_dirty);
	page_clear(page, PG_reclaim);
	page_test_and_clear(page, PG_readahead);
	account_cached(m, -1);
	put_page(page);
}

struct page *find_get_page(struct address_space *m, uint64_t index)
{
	struct page *page;

	spin_lock(&m->i_lock);
	page = radix_lookup(locked_pages(m), index);
	if (radix_is_value(page))
		page = NULL;
	if (page)
		get_page(page);
	spin_unlock(&m->i_lock);
	return page;
}

/* What the slot of index holds: a page, a value, or nothing; without a reference. */
void *filemap_slot(struct address_space *m, uint64_t index)
{
	void *item;

	spin_lock(&m->i_lock);
	item = radix_lookup(locked_pages(m), index);
	spin_unlock(&m->i_lock);
	return item;
}

bool page_in_cache(struct address_space *m, uint64_t index)
{
	void *item = filemap_slot(m, index);

	return item && !radix_is_value(item);
}

/* The page may leave the cache while we wait for its lock: then look again. */
struct page *find_lock_page(struct address_space *m, uint64_t index)
{
	might_sleep();
	for (;;) {
		struct page *page = find_get_page(m, index);

		if (!page)
			return NULL;
		lock_page(page);
		if (page->mapping == m)
			return page;
		unlock_page(page);
		put_page(page);
	}
}

/* A page that is still being read does not count. */
bool page_cache_resident(struct address_space *m, uint64_t index)
{
	struct page *page = find_get_page(m, index);
	bool resident = page && PageUptodate(page);

	if (!page && mapping_shmem(m))
		return shmem_swap_resident(m, index);
	if (page)
		put_page(page);
	return resident;
}

/* Up to n cached pages of [first, last], referenced; *first moves past the last one. */
static unsigned gang_get(struct address_space *m, struct page **pages, uint64_t *first,
			 uint64_t last, unsigned n)
{
	uint64_t at = *first;
	unsigned i = 0;
	struct page *page;

	ASSERT_DEBUG(n);
	spin_lock(&m->i_lock);
	while (i < n && at <= last && (page = radix_next(locked_pages(m), &at)) != NULL) {
		if (at > last)
			break;
		if (!radix_is_value(page)) {
			get_page(page);
			pages[i++] = page;
		}
		if (at++ == UINT64_MAX)
			break;
	}
	spin_unlock(&m->i_lock);
	*first = at;
	return i;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Fills a locked page that is in the cache but not valid. */
static int read_page(struct address_space *m, struct page *page)
{
	uint64_t size = i_size_read(m->host), at = (uint64_t)page->index << PAGE_SHIFT;
	char *p = page_address(page);
	int err;

	assert_page_locked(page);
	ASSERT_DEBUG_I("I14", page->mapping == m);
	if (reads(m)) {
		unsigned long saved = memalloc_nofs_save();

		err = m->host->ops->readpage(m->host, page->index, p);
		memalloc_nofs_restore(saved);
		if (err)
			return err;
		count_vm_events(PGPGIN, PAGE_SIZE / 1024);
		/* Beyond the end of the file a page reads as zeros. */
		if (at + PAGE_SIZE > size) {
			size_t keep = size > at ? size - at : 0;

			memset(p + keep, 0, PAGE_SIZE - keep);
		}
	} else {
		hal_clear_page(p);
	}
	SetPageUptodate(page);
	return 0;
}

/* A fresh page in the cache, locked, with one reference for the caller. */
static int new_cached_page(struct address_space *m, uint64_t index, struct page **out)
{
	gfp_t no = m->host->flags & QUIRE_S_DEVICE ? __GFP_FS : 0; /* a file system waits for it */
	struct page *page = alloc_pages(GFP_HIGHUSER_MOVABLE & ~no, 0);
	int err;

	if (!page)
		return -ENOMEM;
	/* Compaction may have a reference by frame number, and the lock while it looks. */
	lock_page(page);
	err = add_to_page_cache(page, m, index, GFP_KERNEL & ~no);
	if (err) {
		unlock_page(page);
		page_clear(page, PG_swapbacked);
		put_page(page);
		return err;
	}
	*out = page;
	return 0;
}

/* The page, locked, from the cache, or from swap if it lies there. -ENOENT: neither; -ENOMEM, -EIO. */
static int find_or_swap_in(struct address_space *m, uint64_t index, struct page **out, bool *major)
{
	int err;

	might_sleep();
	for (;;) {
		*out = find_lock_page(m, index);
		if (*out)
			return 0;
		if (!mapping_shmem(m) || !READ_ONCE(m->nr_swapped))
			return -ENOENT;
		err = shmem_swap_in(m, index, out, major);
		if (err != -EAGAIN)
			return err;
		os_cond_resched();
	}
}

/* The page, locked, valid or not. */
static int grab_page(struct address_space *m, uint64_t index, struct page **out, bool *major)
{
	int err;

	for (;;) {
		err = find_or_swap_in(m, index, out, major);
		if (err != -ENOENT)
			return err;
		err = new_cached_page(m, index, out);
		if (err != -EEXIST) /* else another CPU was first: use its page, or it went to swap */
			return err;
	}
}

/* One that could not be filled leaves again. Unlocks. */
static void drop_invalid(struct page *page)
{
	delete_from_page_cache(page);
	unlock_page(page);
	put_page(page);
}

int filemap_get_page(struct address_space *m, uint64_t index, struct page **out, bool *major)
{
	struct page *page;
	int err;

	if (major)
		*major = false;
	err = grab_page(m, index, &page, major);
	if (err)
		return err;
	if (!PageUptodate(page)) {
		err = read_page(m, page);
		if (err) {
			drop_invalid(page);
			return err;
		}
		if (major && reads(m))
			*major = true;
	}
	assert_page_locked(page);
	ASSERT_DEBUG_I("I17", page_test(page, PG_uptodate));
	*out = page;
	return 0;
}

/* ---- faults ---------------------------------------------------------------------------------- */

static uint64_t pages_of(uint64_t bytes)
{
	return (bytes >> PAGE_SHIFT) + !!(bytes & (PAGE_SIZE - 1));
}

void fault_unlock_for_io(struct vm_fault *vmf, struct file **pinned)
{
	if (*pinned || !fault_flag_allow_retry_first(vmf->flags))
		return;
	/* The mapping may go as soon as it is not locked, and its file with it. */
	*pinned = get_file(vmf->vma->vm_file);
	up_read(&vmf->vma->vm_mm->mmap_lock);
}

/* The fault's page of a file that is read from a device, locked and valid; what has to be waited for is waited
 * for without mmap_lock, if that is possible. *missing: the page was not there. 0, -ENOMEM, -EIO and the like. */
static int fault_get_page(struct vm_fault *vmf, struct address_space *m, struct file **pinned, bool *missing,
			  struct page **out)
{
	struct page *page;
	int err = 0;

	might_sleep();
	for (;;) {
		page = find_get_page(m, vmf->pgoff);
		if (!page) {
			*missing = true;
			err = new_cached_page(m, vmf->pgoff, &page);
			if (err == -EEXIST)
				continue;
			if (err)
				return err;
			break;
		}
		if (!trylock_page(page)) {
			fault_unlock_for_io(vmf, pinned);
			lock_page(page);
		}
		if (likely(page->mapping == m))
			break;
		unlock_page(page);
		put_page(page);
	}
	if (!PageUptodate(page)) {
		fault_unlock_for_io(vmf, pinned);
		err = read_page(m, page);
		if (err) {
			drop_invalid(page);
			return err;
		}
	}
	*out = page;
	return 0;
}

/* mmap_lock was given up: whatever came of it, the fault begins anew, and a failed read is tried again. */
static vm_fault_t fault_retry(struct file *pinned, struct page *page)
{
	if (page) {
		unlock_page(page);
		put_page(page);
	}
	fput(pinned);
	return VM_FAULT_RETRY | VM_FAULT_UNLOCKED;
}

static vm_fault_t filemap_fault_locked(struct vm_fault *vmf, struct address_space *m, struct page *page)
{
	assert_page_locked(page);
	/* The file may have shrunk before the page was locked; now it cannot. */
	if (vmf->pgoff >= pages_of(i_size_read(m->host))) {
		unlock_page(page);
		put_page(page);
		return VM_FAULT_SIGBUS;
	}
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/* The fault of what has no device behind it, but perhaps a slot of swap. */
static vm_fault_t memory_fault(struct vm_fault *vmf, struct address_space *m)
{
	struct page *page;
	vm_fault_t ret;
	bool major;
	int err;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	err = filemap_get_page(m, vmf->pgoff, &page, &major);
	if (err)
		return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	ret = filemap_fault_locked(vmf, m, page);
	return ret & VM_FAULT_LOCKED && major ? ret | VM_FAULT_MAJOR : ret;
}

/* vm_ops->fault of files: returns the page locked, so that it stays in the file until its entry is
 * set. After Linux' filemap_fault, maybe_unlock_mmap_for_io and lock_page_maybe_drop_mmap. */
vm_fault_t filemap_fault(struct vm_fault *vmf)
{
	struct address_space *m = vmf->vma->vm_file->f_mapping;
	struct file *pinned = NULL;
	struct page *page = NULL;
	bool missing = false;
	vm_fault_t major;
	int err;

	assert_held_any(&vmf->vma->vm_mm->mmap_lock);
	if (vmf->pgoff >= pages_of(i_size_read(m->host)))
		return VM_FAULT_SIGBUS;
	if (!reads(m))
		return memory_fault(vmf, m);
	if (mapping_reads_ahead(m))
		missing = filemap_fault_readahead(vmf, m, &pinned);
	err = fault_get_page(vmf, m, &pinned, &missing, &page);
	major = missing ? VM_FAULT_MAJOR : 0;
	if (pinned)
		return fault_retry(pinned, err ? NULL : page) | major;
	if (err)
		return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	return filemap_fault_locked(vmf, m, page) | major;
}

/* Maps one cached page of the window. Consumes the reference: it becomes the entry's, or is put. */
static void map_around_one(struct vm_fault *vmf, struct page *page, struct address_space *m)
{
	unsigned long index;
	bool mapped = false;

	assert_ptl_held(vmf->ptl);
	/* A page that marks where more is to be read shall be met by a fault of its own. */
	if (PageUptodate(page) && !page_test(page, PG_readahead) && trylock_page(page)) {
		index = page->index;
		if (page->mapping == m && PageUptodate(page) &&
		    index < pages_of(i_size_read(m->host)))
			mapped = filemap_map_one(vmf, page, index);
		unlock_page(page);
	}
	if (!mapped)
		put_page(page);
}

#define AROUND_BATCH 16

/* Fault-around: maps what of the window is cached, valid and unlocked now, and never waits. The
 * caller holds the table's lock, so pages are collected in batches under i_lock and locked after
 * it, and a window of more than one batch lets go of the table in between. */
void filemap_map_pages(struct vm_fault *vmf, unsigned long start, unsigned long end)
{
	struct address_space *m = vmf->vma->vm_file->f_mapping;
	struct page *pages[AROUND_BATCH];
	uint64_t at = start;

	assert_ptl_held(vmf->ptl);
	ASSERT_DEBUG(start <= end);
	while (at <= end) {
		unsigned n = gang_get(m, pages, &at, end, AROUND_BATCH);

		for (unsigned i = 0; i < n; i++)
			map_around_one(vmf, pages[i], m);
		if (n < AROUND_BATCH || at > end)
			break;
		/* As any walk that fills many entries: others may want the table. */
		ptl_unlock(vmf->ptl);
		ptl_lock(vmf->ptl);
	}
}

const struct vm_operations_struct generic_file_vm_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
};

/* There is to be room for bytes [off, off + len) of one page, which is locked. */
static int prepare_write(struct address_space *m, uint64_t off, size_t len)
{
	unsigned long saved;
	int err;

	if (!m->host->ops->prepare_write)
		return 0;
	saved = memalloc_nofs_save();
	err = m->host->ops->prepare_write(m->host, off, len);
	memalloc_nofs_restore(saved);
	return err;
}

/* vm_ops->page_mkwrite of files that are written back. The page is locked and stays so; it is dirty before
 * its entry can be written by, and nothing of it is on its way to the device. */
static vm_fault_t filemap_page_mkwrite(struct vm_fault *vmf)
{
	struct address_space *m = vmf->vma->vm_file->f_mapping;
	uint64_t at, size = i_size_read(m->host);

	assert_page_locked(vmf->page);
	/* It may have left the file before it was locked. */
	if (vmf->page->mapping != m)
		return VM_FAULT_NOPAGE;
	at = (uint64_t)vmf->page->index << PAGE_SHIFT;
	if (at >= size)
		return VM_FAULT_SIGBUS;
	if (prepare_write(m, at, min_t(uint64_t, PAGE_SIZE, size - at)))
		return VM_FAULT_SIGBUS;
	set_page_dirty(vmf->page);
	wait_on_page_writeback(vmf->page);
	return 0;
}

const struct vm_operations_struct written_file_vm_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
	.page_mkwrite = filemap_page_mkwrite,
};

/* ---- leaving the cache ----------------------------------------------------------------------- */

/* False: it is no longer the file's; of shared memory it may lie in swap now. */
static bool truncate_page(struct address_space *m, struct page *page)
{
	bool ours;

	might_sleep();
	lock_page(page);
	ours = page->mapping == m;
	if (ours) {
		wait_on_page_writeback(page);
		/* A fault may have mapped it after the caller unmapped the range. */
		if (page_mapcount(page) > 0)
			unmap_mapping_range(m, (uint64_t)page->index << PAGE_SHIFT, PAGE_SIZE,
					    false);
		delete_from_page_cache(page);
	}
	unlock_page(page);
	return ours;
}

/* Slots of [start, end) forget what they remember of pages that left. */
static void forget_shadows(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t at = start;
	void *item;

	if (mapping_shmem(m) || !READ_ONCE(m->nr_shadows))
		return;
	spin_lock(&m->i_lock);
	while (m->nr_shadows && at < end && (item = radix_next(locked_pages(m), &at)) && at < end) {
		if (radix_is_value(item)) {
			radix_delete(locked_pages(m), at);
			count_shadows(m, -1);
			count_shadow_nodes(m);
		}
		if (at++ == UINT64_MAX)
			break;
		if (!(at % SHADOW_BATCH)) {
			spin_unlock(&m->i_lock);
			spin_lock(&m->i_lock);
		}
	}
	spin_unlock(&m->i_lock);
}

/* The first slot of [*at, end) that is in use: a page, referenced, or a value. NULL: none. */
static void *next_item(struct address_space *m, uint64_t *at, uint64_t end)
{
	void *item;

	spin_lock(&m->i_lock);
	item = radix_next(locked_pages(m), at);
	if (item && *at >= end)
		item = NULL;
	if (item && !radix_is_value(item))
		get_page(item);
	spin_unlock(&m->i_lock);
	return item;
}

/* Pages go to swap and come back meanwhile: a slot is done when what was found there is gone, and else
 * is looked at again. */
static void truncate_shmem(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t at = start;
	void *item;

	might_sleep();
	while (at < end && (item = next_item(m, &at, end)) != NULL) {
		bool done;

		if (radix_is_value(item)) {
			done = shmem_forget(m, at, item);
		} else {
			done = truncate_page(m, item);
			put_page(item);
		}
		if (done && at++ == UINT64_MAX)
			break;
		os_cond_resched();
	}
}

void truncate_inode_pages(struct address_space *m, uint64_t start, uint64_t end)
{
	struct page *pages[16];
	uint64_t at = start;

	might_sleep();
	if (mapping_shmem(m)) {
		truncate_shmem(m, start, end);
		return;
	}
	while (at < end) {
		unsigned n = gang_get(m, pages, &at, end - 1, ARRAY_SIZE(pages));

		for (unsigned i = 0; i < n; i++) {
			truncate_page(m, pages[i]);
			put_page(pages[i]);
		}
		if (n < ARRAY_SIZE(pages))
			break;
		os_cond_resched();
	}
	forget_shadows(m, start, end);
}

/* Frees up to n nodes of one file that hold nothing but shadows; how many. */
static unsigned long forget_shadow_nodes_of(struct address_space *m, unsigned long n)
{
	unsigned long gone = 0;
	uint64_t first = 0;

	spin_lock(&m->i_lock);
	while (gone < n && radix_next_value_node(locked_pages(m), &first)) {
		for (unsigned i = 0; i < RADIX_SLOTS; i++)
			if (radix_delete(locked_pages(m), first + i))
				count_shadows(m, -1);
		count_shadow_nodes(m);
		gone++;
		spin_unlock(&m->i_lock); /* who waits for it comes in between */
		spin_lock(&m->i_lock);
	}
	spin_unlock(&m->i_lock);
	return gone;
}

unsigned long forget_shadow_nodes(unsigned long n)
{
	struct quire_inode *inode = NULL;
	unsigned long gone = 0;

	might_sleep();
	while ((inode = inode_next(inode)) != NULL)
		if (gone < n && READ_ONCE(inode->i_mapping.nr_shadow_nodes))
			gone += forget_shadow_nodes_of(&inode->i_mapping, n - gone);
	mod_node_page_state(WORKINGSET_NODERECLAIM, (long)gone);
	return gone;
}

bool filemap_remove_frozen(struct page *page)
{
	struct address_space *m = page->mapping;
	void *was;

	assert_page_locked(page);
	ASSERT_DEBUG_I("I14", m && !PageAnon(page));
	spin_lock(&m->i_lock);
	/* Ours and the cache's; a look-up that has one may be about to use it. */
	if (!page_ref_freeze(page, 2)) {
		spin_unlock(&m->i_lock);
		return false;
	}
	/* Looked at after the count: who made it dirty had a reference, or an entry, that is gone. */
	if (page_test(page, PG_dirty) || page_test(page, PG_writeback)) {
		page_ref_unfreeze(page, 2);
		spin_unlock(&m->i_lock);
		return false;
	}
	untag_dirty(m, page->index);
	for (unsigned tag = 0; tag < RADIX_TAGS; tag++) /* a value in its place has none */
		radix_tag_clear(locked_pages(m), page->index, tag);
	if (reads(m)) {
		was = radix_replace(locked_pages(m), page->index,
				    radix_mk_value(workingset_eviction(page)));
		count_shadows(m, 1);
	} else {
		was = radix_delete(locked_pages(m), page->index);
	}
	count_shadow_nodes(m);
	__atomic_store_n(&m->nrpages, m->nrpages - 1, __ATOMIC_RELAXED);
	WRITE_ONCE(page->mapping, NULL);
	spin_unlock(&m->i_lock);
	BUG_ON(was != page);
	page_clear(page, PG_reclaim);
	page_test_and_clear(page, PG_readahead);
	account_cached(m, -1);
	return true;
}

/* Removes a page from the cache if it is clean, unmapped, unlocked, and only the cache and the
 * caller have references. */
static bool remove_mapping(struct address_space *m, struct page *page)
{
	bool gone = false;

	ASSERT_DEBUG_I("I15", page_count(page) > 0);
	if (!trylock_page(page))
		return false;
	if (page->mapping == m && !page_test(page, PG_dirty) && !page_test(page, PG_writeback) &&
	    page_mapcount(page) <= 0 && page_count(page) == 2) {
		delete_from_page_cache(page);
		gone = true;
	}
	unlock_page(page);
	return gone;
}

unsigned long invalidate_mapping_pages(struct address_space *m, uint64_t start, uint64_t end)
{
	struct page *pages[16];
	unsigned long gone = 0;
	uint64_t at = start;

	might_sleep();
	/* Shared memory is the only copy. */
	while (!mapping_shmem(m) && at < end) {
		unsigned n = gang_get(m, pages, &at, end - 1, ARRAY_SIZE(pages));

		for (unsigned i = 0; i < n; i++) {
			gone += remove_mapping(m, pages[i]);
			put_page(pages[i]);
		}
		if (n < ARRAY_SIZE(pages))
			break;
	}
	return gone;
}

/* Whoever else has a reference keeps a page that is no longer the file's. */
static int invalidate_one(struct address_space *m, struct page *page)
{
	int err = 0;

	might_sleep();
	lock_page(page);
	if (page->mapping == m) {
		wait_on_page_writeback(page);
		if (page_mapcount(page) > 0)
			unmap_mapping_range(m, (uint64_t)page->index << PAGE_SHIFT, PAGE_SIZE, false);
		if (page_test(page, PG_dirty))
			err = -EBUSY;
		else
			delete_from_page_cache(page);
	}
	unlock_page(page);
	return err;
}

int invalidate_inode_pages2_range(struct address_space *m, uint64_t first, uint64_t last)
{
	struct page *pages[16];
	uint64_t at = first;
	unsigned n;
	int err = 0;

	ASSERT(!mapping_shmem(m));
	if (!READ_ONCE(m->nrpages))
		return 0;
	do {
		n = gang_get(m, pages, &at, last, ARRAY_SIZE(pages));
		for (unsigned i = 0; i < n; i++) {
			int busy = invalidate_one(m, pages[i]);

			err = err ? err : busy;
			put_page(pages[i]);
		}
	} while (n == ARRAY_SIZE(pages) && at <= last);
	return err;
}

/* Every inode in turn, each held by a reference only while it is looked at. */
static unsigned long drop_page_cache(void)
{
	struct quire_inode *inode = NULL;
	unsigned long gone = 0;

	might_sleep();
	while ((inode = inode_next(inode)) != NULL)
		if (!mapping_shmem(&inode->i_mapping))
			gone += invalidate_mapping_pages(&inode->i_mapping, 0, UINT64_MAX);
	return gone;
}

void quire_drop_caches(void)
{
	count_vm_event(DROP_PAGECACHE);
	drop_page_cache();
}

/* ---- read, write, truncate ------------------------------------------------------------------- */

/* src NULL: zeros. Returns the bytes copied. */
static size_t copy_out(uintptr_t buf, const void *src, size_t n, bool user)
{
	ASSERT_DEBUG(n);
	if (user)
		assert_no_mutex();
	if (user)
		return n - (src ? hal_copy_to_user(buf, src, n) : hal_clear_user(buf, n));
	if (src)
		memcpy((void *)buf, src, n);
	else
		memset((void *)buf, 0, n);
	return n;
}

/* The page for a reader, unlocked and referenced; NULL in *page: a hole, to be read as zeros. */
static int page_for_read(struct address_space *m, struct file_ra_state *ra, uint64_t index, uint64_t wanted,
			 struct page **page)
{
	int err;

	might_sleep();
	*page = NULL;
	if (reads(m)) {
		*page = find_get_page(m, index);
		if (!*page && ra) {
			page_cache_sync_readahead(m, ra, index, wanted);
			*page = find_get_page(m, index);
		}
		if (*page && ra && page_test(*page, PG_readahead))
			page_cache_async_readahead(m, ra, *page, index, wanted);
		if (*page && PageUptodate(*page))
			return 0;
		if (*page)
			put_page(*page);
	} else {
		*page = find_get_page(m, index);
		if (*page ? PageUptodate(*page) : !filemap_slot(m, index))
			return 0;
		if (*page)
			put_page(*page);
	}
	err = filemap_get_page(m, index, page, NULL);
	if (!err)
		unlock_page(*page); /* the user's page may be this very one */
	return err;
}

/* Stops at the end of the file, at an error, or at a bad address; then what was copied counts. */
static long read_pages(struct quire_inode *inode, struct file_ra_state *ra, uint64_t off, uintptr_t buf, size_t n,
		       bool user)
{
	struct address_space *m = &inode->i_mapping;
	uint64_t last = pages_of(off + n);
	long done = 0;

	while (n) {
		uint64_t size = i_size_read(inode);
		size_t in = off & (PAGE_SIZE - 1), part = min(n, PAGE_SIZE - in), copied;
		struct page *page;
		int err;

		if (off >= size)
			break;
		part = min_t(uint64_t, part, size - off);
		err = page_for_read(m, ra, off >> PAGE_SHIFT, last - (off >> PAGE_SHIFT), &page);
		if (err)
			return done ? done : err;
		inc_node_page_state(NR_COPIED_OUT);
		copied = copy_out(buf, page ? (char *)page_address(page) + in : NULL, part, user);
		/* Reading on in the same page is no second use. */
		if (page && off >> PAGE_SHIFT != READ_ONCE(inode->prev_read))
			mark_page_accessed(page);
		WRITE_ONCE(inode->prev_read, off >> PAGE_SHIFT);
		if (page)
			put_page(page);
		dec_node_page_state(NR_COPIED_OUT);
		done += copied;
		if (copied < part)
			return done ? done : -EFAULT;
		off += part;
		buf += part;
		n -= part;
	}
	return done;
}

long quire_inode_read(struct quire_inode *inode, uint64_t off, uintptr_t buf, size_t n, bool user)
{
	return read_pages(inode, NULL, off, buf, n, user);
}

long quire_file_read(struct quire_file *file, uint64_t off, uintptr_t buf, size_t n, bool user)
{
	struct file *f = to_file(file);
	struct file_ra_state *ra = mapping_reads_ahead(f->f_mapping) ? &f->f_ra : NULL;
	long done;

	might_sleep();
	done = read_pages(f->f_inode, ra, off, buf, n, user);
	if (done > 0)
		WRITE_ONCE(f->f_ra.prev, (off + (uint64_t)done - 1) >> PAGE_SHIFT);
	return done;
}

/* The page of off for a write of n bytes there, locked and valid but for those bytes: what is overwritten
 * as a whole, or lies behind the end, is not read. */
static int write_begin(struct address_space *m, uint64_t off, size_t n, struct page **out)
{
	uint64_t at = off & PAGE_MASK;
	struct page *page;
	int err;

	if (!mapping_writes(m))
		return filemap_get_page(m, off >> PAGE_SHIFT, out, NULL);
	err = grab_page(m, off >> PAGE_SHIFT, &page, NULL);
	if (err)
		return err;
	if (!PageUptodate(page)) {
		if (at >= i_size_read(m->host))
			hal_clear_page(page_address(page));
		else if (n != PAGE_SIZE)
			err = read_page(m, page);
	}
	if (!err)
		err = prepare_write(m, off, n);
	if (err && !PageUptodate(page)) {
		drop_invalid(page);
		return err;
	}
	wait_on_page_writeback(page);
	if (!err) {
		*out = page;
		return 0;
	}
	unlock_page(page);
	put_page(page);
	return err;
}

/* The file grew from `old` on inside a page. A mapping that may write the page asked for the part before only:
 * it asks again. i_rwsem held, no page locked. */
static void page_grew(struct address_space *m, uint64_t old)
{
	struct page *page;

	if (!mapping_writes(m) || !m->host->ops->prepare_write || !(old & (PAGE_SIZE - 1)))
		return;
	page = find_lock_page(m, old >> PAGE_SHIFT);
	if (!page)
		return;
	if (page_mkclean(page))
		set_page_dirty(page);
	unlock_page(page);
	put_page(page);
}

void file_grew(struct quire_inode *inode, uint64_t size)
{
	uint64_t old = inode->i_size;

	ASSERT(size > old);
	i_size_write(inode, size);
	page_grew(&inode->i_mapping, old);
}

/* One page's part of a write, from kernel memory. */
static int write_page(struct address_space *m, uint64_t off, const void *src, size_t n)
{
	uint64_t old = i_size_read(m->host);
	struct page *page;
	int err = write_begin(m, off, n, &page);

	ASSERT_DEBUG(n && n <= PAGE_SIZE - (off & (PAGE_SIZE - 1)));
	assert_held_write(&m->host->i_rwsem);
	if (err)
		return err;
	memcpy((char *)page_address(page) + (off & (PAGE_SIZE - 1)), src, n);
	SetPageUptodate(page);
	set_page_dirty(page);
	/* Before the page is unlocked: one behind the end is not written back. */
	if (off + n > i_size_read(m->host))
		i_size_write(m->host, off + n);
	unlock_page(page);
	put_page(page);
	if (off + n > old)
		page_grew(m, old);
	balance_dirty_pages(m);
	return 0;
}

/* i_rwsem held. User bytes go through a page of our own: they may lie in the very page that is
 * written, whose lock a fault would then wait for. */
long write_locked(struct quire_inode *inode, uint64_t off, uintptr_t buf, size_t n, char *bounce)
{
	long done = 0;
	int err = 0;

	assert_held_write(&inode->i_rwsem);
	while (n && !err) {
		size_t part = min(n, PAGE_SIZE - (off & (PAGE_SIZE - 1))), got = part;
		const void *src = (const void *)buf;

		if (bounce) {
			assert_no_mutex();
			got -= hal_copy_from_user(bounce, buf, part);
			src = bounce;
		}
		if (got)
			err = write_page(&inode->i_mapping, off, src, got);
		if (!err) {
			done += got;
			off += got;
			buf += got;
			n -= got;
			if (got < part)
				err = -EFAULT;
		}
	}
	return done ? done : err;
}

uint64_t max_file_size(const struct quire_inode *inode)
{
	return inode->ops->max_size ? inode->ops->max_size : INT64_MAX;
}

/* At *off, or at the end, which then becomes *off. */
static long inode_write(struct quire_inode *inode, uint64_t *off, bool append, uintptr_t buf,
			size_t n, bool user)
{
	uintptr_t bounce = user && n ? __get_free_pages(GFP_KERNEL, 0) : 0;
	uint64_t at;
	long ret;

	if (user && n && !bounce)
		return -ENOMEM;
	down_write(&inode->i_rwsem);
	if (append)
		*off = inode->i_size;
	at = *off;
	if (inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) ||
	    (inode->seals & F_SEAL_GROW && at + n > inode->i_size))
		ret = -EPERM;
	else if (at + n < at || at + n > max_file_size(inode))
		ret = -EFBIG;
	else
		ret = write_locked(inode, at, buf, n, (char *)bounce);
	up_write(&inode->i_rwsem);
	free_pages(bounce, 0);
	return ret;
}

long quire_inode_write(struct quire_inode *inode, uint64_t off, uintptr_t buf, size_t n, bool user)
{
	return inode_write(inode, &off, false, buf, n, user);
}

long quire_inode_append(struct quire_inode *inode, uintptr_t buf, size_t n, bool user,
			uint64_t *off)
{
	return inode_write(inode, off, true, buf, n, user);
}

/* What readahead or MADV_WILLNEED would bring in. */
int quire_inode_populate(struct quire_inode *inode, uint64_t off, uint64_t len)
{
	uint64_t size = i_size_read(inode), end, i;

	might_sleep();
	if (off >= size || !len)
		return 0;
	end = len > size - off ? size : off + len;
	if (mapping_reads_ahead(&inode->i_mapping)) {
		force_page_cache_readahead(&inode->i_mapping, off >> PAGE_SHIFT, pages_of(end) - (off >> PAGE_SHIFT));
		return 0;
	}
	for (i = off >> PAGE_SHIFT; i < pages_of(end); i++) {
		struct page *page;
		int err = filemap_get_page(&inode->i_mapping, i, &page, NULL);

		if (err)
			return err;
		unlock_page(page);
		put_page(page);
	}
	return 0;
}

/* The part [from, to) of the page at index becomes zeros, if it is cached: a hole reads as zeros
 * already, and what is read later is cut at the size. */
static int zero_partial_page(struct address_space *m, uint64_t index, unsigned from, unsigned to)
{
	struct page *page;
	int err;

	ASSERT_DEBUG(from < to && to <= PAGE_SIZE);
	/* What is behind the page would be read again once the file grows: it has to change too. */
	if (mapping_writes(m)) {
		err = filemap_get_page(m, index, &page, NULL);
		if (err)
			return err;
		wait_on_page_writeback(page);
	} else if (find_or_swap_in(m, index, &page, NULL)) {
		return 0; /* one that cannot be read in now cannot be read later either */
	}
	if (PageUptodate(page)) {
		memset((char *)page_address(page) + from, 0, to - from);
		set_page_dirty(page);
	}
	unlock_page(page);
	put_page(page);
	return 0;
}

int quire_inode_truncate(struct quire_inode *inode, uint64_t size)
{
	struct address_space *m = &inode->i_mapping;
	uint64_t old, hole = pages_of(size);
	int err = 0;

	if (size > max_file_size(inode))
		return -EFBIG;
	down_write(&inode->i_rwsem);
	old = inode->i_size;
	if ((size < old && inode->seals & F_SEAL_SHRINK) ||
	    (size > old && inode->seals & F_SEAL_GROW)) {
		err = -EPERM;
		goto out;
	}
	/* First the size, so that no fault brings a page back; then entries, then pages. */
	i_size_write(inode, size);
	if (size > old)
		page_grew(m, old);
	/* Also at the same size: what was stored behind the end is gone afterwards (FL02). */
	if (size <= old) {
		unmap_mapping_range(m, hole << PAGE_SHIFT, 0, true);
		truncate_inode_pages(m, hole, UINT64_MAX);
		if (size & (PAGE_SIZE - 1))
			err = zero_partial_page(m, size >> PAGE_SHIFT, size & (PAGE_SIZE - 1),
						PAGE_SIZE);
		/* A private copy may have been made of a page between the first two steps. */
		unmap_mapping_range(m, hole << PAGE_SHIFT, 0, true);
	}
	if (inode->ops->truncate) {
		unsigned long saved = memalloc_nofs_save();
		int gave = inode->ops->truncate(inode, size);

		memalloc_nofs_restore(saved);
		err = err ? err : gave;
	}
out:
	up_write(&inode->i_rwsem);
	return err;
}

/* What lies behind whole pages of the file is given back. */
static int punch_pages(struct quire_inode *inode, uint64_t off, uint64_t end)
{
	unsigned long saved;
	int err;

	if (!inode->ops->punch)
		return 0;
	saved = memalloc_nofs_save();
	err = inode->ops->punch(inode, off, end);
	memalloc_nofs_restore(saved);
	return err;
}

/* i_rwsem held. */
static int punch(struct address_space *m, uint64_t off, uint64_t end)
{
	uint64_t first = pages_of(off), last = end >> PAGE_SHIFT;
	unsigned head = off & (PAGE_SIZE - 1), tail = end & (PAGE_SIZE - 1);

	assert_held_write(&m->host->i_rwsem);
	ASSERT(off <= end);
	int err = 0;

	if (mapping_writes(m)) { /* behind the end is nothing, and stays nothing */
		end = min(end, (uint64_t)ALIGN_UP(m->host->i_size, PAGE_SIZE));
		if (off >= end)
			return 0;
		last = end >> PAGE_SHIFT;
		tail = end & (PAGE_SIZE - 1);
	}
	if (first < last) {
		unmap_mapping_range(m, first << PAGE_SHIFT, (last - first) << PAGE_SHIFT, false);
		truncate_inode_pages(m, first, last);
		err = punch_pages(m->host, first << PAGE_SHIFT, last << PAGE_SHIFT);
	}
	if (err)
		return err;
	if (head && off >> PAGE_SHIFT == end >> PAGE_SHIFT)
		return zero_partial_page(m, off >> PAGE_SHIFT, head, tail);
	if (head)
		err = zero_partial_page(m, off >> PAGE_SHIFT, head, PAGE_SIZE);
	if (tail && !err)
		err = zero_partial_page(m, last, 0, tail);
	return err;
}

/* Hole punch in bytes, for madvise(MADV_REMOVE) and fallocate. */
static int inode_punch_hole(struct quire_inode *inode, uint64_t off, uint64_t len)
{
	int err = 0;

	down_write(&inode->i_rwsem);
	if (inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		err = -EPERM;
	else if (inode->ops->writepage && !inode->ops->punch)
		err = -EOPNOTSUPP;
	else
		err = punch(&inode->i_mapping, off, off + len);
	up_write(&inode->i_rwsem);
	return err;
}

/* i_rwsem held: all pages of the range exist afterwards. */
static int preallocate(struct quire_inode *inode, uint64_t off, uint64_t len, bool keep_size)
{
	assert_held_write(&inode->i_rwsem);
	ASSERT(len);
	for (uint64_t i = off >> PAGE_SHIFT; i < pages_of(off + len); i++) {
		struct page *page;
		int err = filemap_get_page(&inode->i_mapping, i, &page, NULL);

		if (err)
			return err == -ENOMEM ? -ENOSPC : err;
		set_page_dirty(page);
		unlock_page(page);
		put_page(page);
		if (os_fatal_signal_pending())
			return -EINTR;
	}
	if (!keep_size && off + len > inode->i_size)
		i_size_write(inode, off + len);
	return 0;
}

int quire_inode_fallocate(struct quire_inode *inode, int mode, uint64_t off, uint64_t len)
{
	int err;

	if (!len || off > INT64_MAX || len > INT64_MAX)
		return -EINVAL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if (off + len > INT64_MAX)
		return -EFBIG;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return mode & FALLOC_FL_KEEP_SIZE ? inode_punch_hole(inode, off, len) :
						    -EOPNOTSUPP;
	if (inode->ops->writepage) /* ext2 has nowhere to note a block that was never written */
		return -EOPNOTSUPP;
	down_write(&inode->i_rwsem);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && inode->seals & F_SEAL_GROW &&
	    off + len > inode->i_size)
		err = -EPERM;
	else
		err = preallocate(inode, off, len, mode & FALLOC_FL_KEEP_SIZE);
	up_write(&inode->i_rwsem);
	return err;
}

/* The first page from index on that there is, or that there is not; none before `end`: that. */
static uint64_t seek_page(struct address_space *m, uint64_t index, uint64_t end, bool hole)
{
	uint64_t at = index;

	spin_lock(&m->i_lock);
	while (at < end) {
		uint64_t next = at;

		if (!radix_next(locked_pages(m), &next))
			next = end;
		if (!hole || next != at) {
			at = hole ? at : min(next, end);
			break;
		}
		at++;
	}
	spin_unlock(&m->i_lock);
	return min(at, end);
}

int64_t quire_inode_seek(struct quire_inode *inode, uint64_t off, bool hole)
{
	uint64_t size, to;

	down_read(&inode->i_rwsem);
	size = inode->i_size;
	if (off >= size) {
		up_read(&inode->i_rwsem);
		return -ENXIO;
	}
	if (mapping_shmem(&inode->i_mapping))
		to = seek_page(&inode->i_mapping, off >> PAGE_SHIFT, pages_of(size), hole) << PAGE_SHIFT;
	else
		to = hole ? size : off;
	up_read(&inode->i_rwsem);
	if (to <= off)
		return (int64_t)off;
	if (to < size)
		return (int64_t)to;
	return hole ? (int64_t)size : -ENXIO;
}

/* ---- start and end --------------------------------------------------------------------------- */

int filemap_init(void)
{
	int err = files_init();

	ASSERT(!radix_cachep);
	if (err)
		return err;
	radix_cachep = kmem_cache_create("radix_tree_node", sizeof(struct radix_node), 0,
					 SLAB_RECLAIMABLE, NULL);
	if (!radix_cachep) {
		files_exit();
		return -ENOMEM;
	}
	shmem_init();
	return 0;
}

void filemap_exit(void)
{
	files_exit();
	kmem_cache_destroy(radix_cachep);
	radix_cachep = NULL;
}
