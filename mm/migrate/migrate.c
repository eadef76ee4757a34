/* SPDX-License-Identifier: MIT */
/*
 * Migration of one page: anonymous, of shared memory, or of the page cache.
 *
 * 1. The page lock of old and fresh; every space that maps old is held for reading by trylock: its
 *    VMAs and tables stay, it cannot fork. A space that is being changed right now is not worth
 *    waiting for. Its structure is kept (mmgrab), not its users: the last mmput() waits for
 *    mmap_lock and tears the space down, never the allocation that moves pages.
 * 2. Each entry of old becomes a migration entry (frame of old, was it writable) and is flushed.
 *    A fault that meets one waits for the page lock; MADV_DONTNEED may remove one.
 * 3. If the references left are exactly ours (and the cache's), the count is frozen at 0: no
 *    look-up can get old any more. In the cache fresh takes its place under the same lock.
 * 4. Contents and flags are copied; each migration entry becomes an entry of fresh. If step 3
 *    failed, of old again.
 *
 * The page is isolated first: taken off its list, under the lock that also keeps it from being freed
 * until a reference is taken (lru/lru.c). Compaction finds it there by its frame number. What is on no
 * list does not move: it is the kernel's own, or somebody else has isolated it. A reference of its
 * anon_vma is kept from the first step to the last, for between them no entry names the page.
 *
 * Locks: page lock -> i_mmap_rwsem or anon_vma root -> page table -> i_pages. mmap_lock only by
 * trylock.
 */
#include "mm/migrate/migrate.h"
#include "lib/mutex.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/phys/page_alloc.h"
#include "mm/phys/page_debug.h"
#include "mm/lru/spaces.h"
#include "mm/rmap/rmap.h"
#include "mm/space/mm.h"
#include "mm/swap/swap.h"
#include "mm/table/pgtable.h"
#include <quire/abi.h>

#define MIGRATE_SPACES 16 /* a page that more of them share stays where it is */

/* Flags that go with the contents. */
#define PAGE_FLAGS_MOVED                                                                      \
	(1ul << PG_uptodate | 1ul << PG_dirty | 1ul << PG_referenced | 1ul << PG_active |      \
	 1ul << PG_swapbacked | 1ul << PG_workingset | PAGE_FLAGS_POLICY)

struct migration {
	struct page *old, *to; /* to: what the entries shall name in the end */
	struct mm_struct *mm[MIGRATE_SPACES];
	unsigned nr_mm, locked; /* the first of mm[] are held for reading */
	struct anon_vma *anon_vma; /* of old, referenced; NULL: none */
	bool busy, exec;
};

static uint32_t migrating; /* atomic: 1 between begin and end, 2 if somebody sleeps until then */

bool migrate_begin(void)
{
	uint32_t idle = 0;

	if (hal_irqs_off() ||
	    !__atomic_compare_exchange_n(&migrating, &idle, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	/* What waits to be freed, and what waits to come to a list. */
	drain_all_pages();
	lru_add_drain_all();
	return true;
}

void migrate_end(void)
{
	ASSERT(migrate_running());
	if (__atomic_exchange_n(&migrating, 0, __ATOMIC_RELEASE) == 2)
		os_wake(&migrating, UINT32_MAX);
}

void migrate_wait(void)
{
	uint32_t runs = 1;

	might_sleep();
	if (__atomic_compare_exchange_n(&migrating, &runs, 2, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) || runs == 2)
		os_wait(&migrating, &migrating, 2);
}

bool migrate_running(void)
{
	return __atomic_load_n(&migrating, __ATOMIC_RELAXED);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static bool lock_space(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	struct migration *m = ctx;

	ASSERT(m->nr_mm <= MIGRATE_SPACES && m->locked <= m->nr_mm);
	for (unsigned i = 0; i < m->nr_mm; i++)
		if (m->mm[i] == vma->vm_mm)
			return true;
	m->busy = true;
	if (m->nr_mm == MIGRATE_SPACES)
		return false;
	/* exit_mmap() takes the VMA out of this tree, whose lock we hold, before the space goes. */
	mmgrab(vma->vm_mm);
	m->mm[m->nr_mm++] = vma->vm_mm;
	if (!down_read_trylock(&vma->vm_mm->mmap_lock))
		return false;
	m->locked++;
	m->busy = false;
	return true;
}

/* The last user may have gone meanwhile: then mmdrop() frees the structure. */
static void unlock_spaces(struct migration *m)
{
	ASSERT(m->locked <= m->nr_mm);
	for (unsigned i = 0; i < m->nr_mm; i++) {
		if (i < m->locked)
			up_read(&m->mm[i]->mmap_lock);
		mmdrop(m->mm[i]);
	}
}

static bool space_is_held(const struct migration *m, const struct mm_struct *mm)
{
	ASSERT(m->locked <= MIGRATE_SPACES);
	for (unsigned i = 0; i < m->locked; i++)
		if (m->mm[i] == mm)
			return true;
	return false;
}

/* ---- entries --------------------------------------------------------------------------------- */

/* The entry of the page becomes a migration entry, flushed. */
static void unmap_pte(struct migration *m, struct page *page, struct vm_area_struct *vma,
		      uintptr_t addr, pte_t *pte)
{
	struct pte_desc d = pte_desc(pte_get(pte));
	pte_t entry = pte_make((struct pte_desc){.kind = PTE_MIGRATION,
						 .pfn = page_to_pfn(page),
						 .w = d.w,
						 .soft_dirty = d.soft_dirty,
						 .uffd_wp = d.uffd_wp});

	assert_pte_locked(pte);
	assert_page_locked(page);
	d = pte_desc(hal_pte_xchg(pte, entry));
	if (d.kind == PTE_LEAF)
		hal_tlb_flush(&vma->vm_mm->arch, addr, addr + PAGE_SIZE, 0, false);
	/* As 5.10: the page remembers, the new entry begins clean and old. What MADV_FREE has made
	 * clean therefore stays so. */
	if (d.dirty)
		set_page_dirty(page);
	m->exec |= d.x;
	page_remove_rmap(page);
	__atomic_fetch_sub(&page->_refcount, 1, __ATOMIC_ACQ_REL);
}

static bool unmap_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	struct migration *m = ctx;
	pte_t *pte, v;

	assert_page_locked(page);
	/* A space that came to this file after all were locked. */
	if (!space_is_held(m, vma->vm_mm)) {
		m->busy = true;
		return false;
	}
	assert_held_read(&vma->vm_mm->mmap_lock);
	pte = pt_find(vma->vm_mm, addr);
	if (!pte)
		return true;
	ptl_lock(pte_lockptr(pte));
	v = pte_get(pte);
	if (pte_present(v) && pte_pfn(v).n == page_to_pfn(page).n)
		unmap_pte(m, page, vma, addr, pte);
	ptl_unlock(pte_lockptr(pte));
	return true;
}

/* The migration entry becomes one of page, with the right to write that it remembers. */
static void remap_pte(struct migration *m, struct page *page, struct vm_area_struct *vma,
		      uintptr_t addr, pte_t *pte)
{
	struct pte_desc d = pte_desc(pte_get(pte)), now = pte_desc(mk_pte(page, vma->vm_page_prot));

	assert_pte_locked(pte);
	assert_page_locked(page);
	ASSERT(d.pfn.n == page_to_pfn(m->old).n); /* one page moves at a time */
	now.w = d.w;
	now.soft_dirty = d.soft_dirty;
	now.uffd_wp = d.uffd_wp;
	now.accessed = now.dirty = false;
	get_page(page);
	if (PageAnon(page))
		page_add_anon_rmap(page, vma, addr);
	else
		page_add_file_rmap(page);
	/* It was let go with the last entry. */
	if (unlikely(vma->vm_flags & VM_LOCKED))
		lru_mlock(page);
	sync_code(pte_make(now)); /* also where the old page stays after all */
	set_pte(pte, pte_make(now));
	hal_pt_published(&vma->vm_mm->arch, addr);
}

/* page is what the entry shall name from now on. */
static bool remap_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	struct migration *m = ctx;
	pte_t *pte;

	assert_page_locked(page);
	if (!space_is_held(m, vma->vm_mm))
		return true;
	assert_held_read(&vma->vm_mm->mmap_lock);
	pte = pt_find(vma->vm_mm, addr);
	if (!pte)
		return true;
	ptl_lock(pte_lockptr(pte));
	if (pte_desc(pte_get(pte)).kind == PTE_MIGRATION)
		remap_pte(m, page, vma, addr, pte);
	ptl_unlock(pte_lockptr(pte));
	return true;
}

/*
 * While the entry is there its old page is locked, and free at the earliest when that lock is let go. So
 * the lock is waited for without a reference, which cannot be had once the count is frozen: what is
 * looked at is the struct page, whose memory stays. Should the frame be another's by then, the wait is
 * for that one's lock, as harmless as short. Trying again at once instead would keep the CPU from who
 * moves the page, up to the end of our slice.
 */
void migration_entry_wait(const pteval_t *pte)
{
	struct page *page = NULL;
	struct pte_desc d;

	ptl_lock(pte_lockptr(pte));
	d = pte_desc(pte_get(pte));
	if (d.kind == PTE_MIGRATION)
		page = pfn_to_page(d.pfn);
	ptl_unlock(pte_lockptr(pte));
	if (page)
		wait_on_page_locked(page);
}

/* ---- one page -------------------------------------------------------------------------------- */

/* A user's page that we know how to move. It is locked. */
static bool page_movable(const struct page *page)
{
	const unsigned long never = 1ul << PG_slab | 1ul << PG_table | 1ul << PG_reserved |
				    1ul << PG_head | 1ul << PG_tail | 1ul << PG_writeback;

	assert_page_locked(page);
	/* Others may wait for the lock, which is a bit of the same word. */
	if (__atomic_load_n(&page->flags, __ATOMIC_RELAXED) & never || !page->mapping)
		return false;
	/* An anonymous page without an entry is on its way out. */
	return !PageAnon(page) || page_mapcount(page) > 0;
}

/* Step 3. After it only we have a reference of old, and look-ups in the cache find fresh. Each
 * entry has a reference, so the count alone tells whether one is left. */
static bool replace_page(struct page *old, struct page *fresh)
{
	struct address_space *mapping = old->mapping;
	bool ok;

	assert_page_locked(old);
	assert_page_locked(fresh);
	fresh->index = old->index;
	if (PageAnon(old)) {
		ok = page_ref_freeze(old, 1 + PageSwapCache(old));
		WRITE_ONCE(fresh->mapping, ok ? old->mapping : NULL);
		if (ok && PageSwapCache(old))
			replace_in_swap_cache(old, fresh);
		return ok;
	}
	spin_lock(&mapping->i_lock);
	ok = page_ref_freeze(old, 2);
	if (ok) {
		WRITE_ONCE(fresh->mapping, mapping);
		get_page(fresh);
		radix_replace(locked_pages(mapping), old->index, fresh);
	}
	spin_unlock(&mapping->i_lock);
	return ok;
}

static void move_contents(struct migration *m, struct page *fresh)
{
	struct page *old = m->old;

	assert_page_locked(old);
	assert_page_locked(fresh);
	hal_copy_page(page_address(fresh), page_address(old));
	if (m->exec)
		hal_icache_sync(page_address(fresh), PAGE_SIZE);
	__atomic_fetch_or(&fresh->flags, old->flags & PAGE_FLAGS_MOVED, __ATOMIC_RELEASE);
	page_owner_copy(fresh, old);
}

static int migrate_locked(struct migration *m, struct page *fresh)
{
	struct page *old = m->old;
	bool ok;

	assert_page_locked(old);
	assert_page_locked(fresh);
	if (!page_movable(old))
		return -EAGAIN;
	m->anon_vma = page_get_anon_vma(old);
	if (PageAnon(old) && !m->anon_vma)
		return -EAGAIN;
	rmap_walk_held(old, m->anon_vma, lock_space, m);
	if (m->busy)
		return -EAGAIN;
	rmap_walk_held(old, m->anon_vma, unmap_one, m);
	ok = !m->busy && replace_page(old, fresh);
	m->to = ok ? fresh : old;
	if (ok)
		move_contents(m, fresh);
	rmap_walk_held(m->to, m->anon_vma, remap_one, m);
	if (!ok)
		return -EAGAIN;
	WRITE_ONCE(old->mapping, NULL);
	page_ref_unfreeze(old, 1);
	return 0;
}

int migrate_isolated_page(struct page *old, struct page *fresh)
{
	struct migration m = {.old = old};
	bool file = page_is_file_lru(old);
	int err = -EAGAIN;

	ASSERT(migrate_running());
	ASSERT_I("I7", page_count(fresh) == 1);
	ASSERT_I("I40", !page_on_lru(old) && page_test(old, PG_listed));
	mod_node_page_state(NR_ISOLATED_ANON + file, 1);
	if (trylock_page(old)) {
		/* No other CPU knows fresh yet. */
		page_set(fresh, PG_locked);
		err = migrate_locked(&m, fresh);
		if (!err)
			lru_cache_add(fresh);
		unlock_page(fresh);
		unlock_page(old);
	}
	if (m.anon_vma)
		put_anon_vma(m.anon_vma);
	unlock_spaces(&m);
	count_vm_event(err ? PGMIGRATE_FAIL : PGMIGRATE_SUCCESS);
	mod_node_page_state(NR_ISOLATED_ANON + file, -1);
	if (err)
		lru_putback(old);
	put_page(old);
	put_page(fresh);
	return err;
}

int migrate_page(struct page *old, struct page *fresh)
{
	ASSERT(migrate_running());
	if (isolate_lru_page(old)) {
		put_page(old); /* the caller's keeps it as well */
		return migrate_isolated_page(old, fresh);
	}
	count_vm_event(PGMIGRATE_FAIL);
	put_page(old);
	put_page(fresh);
	return -EAGAIN;
}
