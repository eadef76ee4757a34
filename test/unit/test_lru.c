/* SPDX-License-Identifier: MIT */
/* Lists of pages by age: how pages come to them, who takes them off, what a scan leaves alone, and
 * three CPUs at once at the same pages. */
#include "space.h"

#include "mm/lru/workingset.h"
#include "mm/migrate/migrate.h"
#include "mm/reclaim/vmscan.h"

static struct page *page_at(uintptr_t a)
{
	return pfn_to_page(PFN(pfn_at(a)));
}

static void add_a_batch_more(unsigned at)
{
	for (unsigned i = 0; i < LRU_BATCH; i++)
		store_at(AT(at + i), 1);
}

/* ---- batches and lists -------------------------------------------------------------------------- */

Test(lru, what_lives_shortly_comes_to_no_list)
{
	space_up();
	lru_add_drain_all();
	cr_assert_eq(lruvec_size(LRU_INACTIVE_ANON), 0);
	for (unsigned i = 0; i < 4 * LRU_BATCH; i++) {
		mmap_at(AT(0), 1, RW, PRIV | FIX);
		store_at(AT(0), i);
		cr_assert(page_test(page_at(AT(0)), PG_batched));
		munmap_at(AT(0), 1);
	}
	cr_expect_eq(lruvec_size(LRU_INACTIVE_ANON), 0);
	space_down();
}

/* The slot whose turn comes again is still full: then all go to the list, the newest first. */
Test(lru, a_batch_keeps_its_order)
{
	struct page *page;
	unsigned n = 0;

	space_up();
	mmap_at(AT(0), 2 * LRU_BATCH, RW, PRIV | FIX);
	lru_add_drain_all();
	lru_batches[0].next = 5;
	add_a_batch_more(0);
	cr_expect_eq(lruvec_size(LRU_INACTIVE_ANON), 0);
	store_at(AT(LRU_BATCH), 1);
	cr_expect_eq(lruvec_size(LRU_INACTIVE_ANON), LRU_BATCH);
	cr_expect(page_test(page_at(AT(LRU_BATCH)), PG_batched));
	list_for_each_entry(page, &node_lruvec.lists[LRU_INACTIVE_ANON], lru) {
		n++;
		cr_assert_eq(page, page_at(AT(LRU_BATCH - n)), "place %u", n);
	}
	cr_expect_eq(check_phys(), 0);
	/* One in the middle, one in the batch: both are freed from where they are. */
	madvise_at(AT(7), 1, 4);
	madvise_at(AT(LRU_BATCH), 1, 4);
	cr_expect_eq(lruvec_size(LRU_INACTIVE_ANON), LRU_BATCH - 1);
	check_now();
	space_down();
}

/* Pages that a scan took off the cold end and keeps go to the warm end in the order that they had. */
Test(lru, a_scan_keeps_the_order)
{
	struct page *first;
	LIST_HEAD(taken);

	space_up();
	mmap_at(AT(0), 3, RW, PRIV | FIX);
	for (unsigned i = 0; i < 3; i++)
		store_at(AT(i), 1);
	lru_add_drain_all();
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(isolate_lru_page(page_at(AT(i))));
		list_add(&page_at(AT(i))->lru, &taken);
	}
	putback_lru_pages(&taken);
	first = list_last_entry(&node_lruvec.lists[LRU_INACTIVE_ANON], struct page, lru);
	cr_expect_eq(first, page_at(AT(0)));
	for (unsigned i = 1; i < 3; i++) {
		first = list_entry(first->lru.prev, struct page, lru);
		cr_expect_eq(first, page_at(AT(i)), "place %u", i);
	}
	check_now();
	space_down();
}

Test(lru, the_list_follows_from_the_flags)
{
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	page = page_at(AT(0));
	/* In the batch it belongs nowhere yet, but is told where it will. */
	lru_change_flags(page, 1ul << PG_active, 0);
	lru_add_drain_all();
	cr_expect_eq(lruvec_size(LRU_ACTIVE_ANON), 1);
	cr_assert_eq(quire_madvise(cur, AT(0), PS, 8 /* MADV_FREE */), 0);
	cr_expect_eq(lruvec_size(LRU_INACTIVE_FILE), 1, "given up: among the files");
	cr_expect_not(page_test(page, PG_active));
	cr_assert(isolate_lru_page(page));
	cr_expect_eq(page_count(page), 2);
	cr_expect_not(isolate_lru_page(page), "somebody has it");
	cr_expect_not(get_lru_page(page));
	cr_expect_eq(lruvec_size(LRU_INACTIVE_FILE), 0);
	putback_lru_page(page);
	cr_expect_eq(lruvec_size(LRU_INACTIVE_FILE), 1);
	rotate_reclaimable_page(page);
	cr_expect_eq(page_count(page), 1);
	check_now();
	space_down();
}

/* Whose count is zero is frozen, or on its way to the buddy: a look at frames takes nothing from it. */
Test(lru, a_page_without_references_is_not_isolated)
{
	struct page *page;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 7);
	page = page_at(AT(0));
	lru_add_drain_all();
	cr_assert(page_test(page, PG_lru));
	cr_assert(page_ref_freeze(page, 1));
	cr_expect_not(isolate_lru_frame(page));
	cr_expect_eq(page_count(page), 0);
	cr_expect(page_test(page, PG_lru), "it stays on its list");
	page_ref_unfreeze(page, 1);
	cr_expect(isolate_lru_frame(page));
	cr_expect_eq(page_count(page), 2);
	putback_lru_page(page);
	check_now();
	space_down();
}

/* A page that somebody isolated stays where it is for whoever moves pages; afterwards it moves. */
Test(lru, isolated_pages_do_not_move)
{
	struct page *page, *fresh;

	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	store_at(AT(0), 7);
	page = page_at(AT(0));
	cr_assert(isolate_lru_page(page));
	cr_assert(migrate_begin());
	get_page(page);
	fresh = alloc_pages(GFP_KERNEL, 0);
	cr_expect_eq(migrate_page(page, fresh), -EAGAIN);
	cr_expect_not(isolate_lru_frame(page));
	putback_lru_page(page);
	cr_assert(isolate_lru_frame(page));
	fresh = alloc_pages(GFP_KERNEL, 0);
	cr_expect_eq(migrate_isolated_page(page, fresh), 0);
	migrate_end();
	cr_expect_eq(page_at(AT(0)), fresh);
	cr_expect(page_on_lru(fresh));
	cr_expect_eq(node_page_state(NR_ISOLATED_ANON), 0);
	cr_expect_eq(load_at(AT(0)), 7);
	check_now();
	space_down();
}

/* ---- locked pages ------------------------------------------------------------------------------- */

Test(lru, locked_pages_by_their_counters)
{
	struct quire_mm *parent, *child;
	uint64_t culled;

	space_up();
	culled = sum_vm_event(UNEVICTABLE_PGCULLED);
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	for (unsigned i = 0; i < 4; i++)
		store_at(AT(i), i);
	cr_assert_eq(quire_mlock(cur, AT(0), 8 * PS, 0), 0);
	lru_add_drain_all();
	cr_expect_eq(node_page_state(NR_MLOCK), 8);
	cr_expect_eq(lruvec_size(LRU_UNEVICTABLE), 8);
	cr_expect_eq(sum_vm_event(UNEVICTABLE_PGCULLED), culled + 8);
	check_now();
	/* The child's copy is its own, and not locked; the parent's new page is. */
	parent = cur;
	cr_assert_eq(quire_mm_fork(parent, NULL, &child), 0);
	store_at(AT(0), 9);
	lru_add_drain_all();
	cr_expect_eq(node_page_state(NR_MLOCK), 8);
	run_space(child);
	cr_expect_not(page_test(page_at(AT(0)), PG_mlocked), "the parent was the only one to lock it");
	store_at(AT(1), 9);
	cr_expect_not(page_test(page_at(AT(1)), PG_mlocked));
	run_space(parent);
	space_put(child);
	cr_expect_eq(node_page_state(NR_MLOCK), 8);
	cr_assert_eq(quire_munlock(cur, AT(0), 2 * PS), 0);
	munmap_at(AT(6), 2);
	lru_add_drain_all();
	cr_expect_eq(node_page_state(NR_MLOCK), 4);
	cr_expect_eq(lruvec_size(LRU_UNEVICTABLE), 4);
	check_now();
	munmap_at(AT(0), 6);
	cr_expect_eq(node_page_state(NR_MLOCK), 0);
	space_down();
}

/* Two areas lock the same page: it stays until both have let go. */
Test(lru, a_shared_page_that_two_lock)
{
	struct quire_file *f;
	struct page *page;

	space_up();
	f = file_new(4, FRW);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(8), 4, RW, MAP_SHARED | FIX, f, 0);
	cr_assert_eq(quire_mlock(cur, AT(0), 4 * PS, 0), 0);
	cr_assert_eq(quire_mlock(cur, AT(8), 4 * PS, 0), 0);
	cr_expect_eq(node_page_state(NR_MLOCK), 4);
	page = page_at(AT(0));
	cr_assert_eq(quire_munlock(cur, AT(0), 4 * PS), 0);
	cr_expect(page_test(page, PG_mlocked));
	/* Moved, it is locked in its new place; cut off, it is nobody's. */
	cr_assert(migrate_begin());
	get_page(page);
	cr_assert_eq(migrate_page(page, alloc_pages(GFP_KERNEL, 0)), 0);
	migrate_end();
	cr_expect(page_test(page_at(AT(8)), PG_mlocked));
	cr_expect_eq(node_page_state(NR_MLOCK), 4);
	quire_inode_truncate(quire_file_inode(f), 2 * PS);
	cr_expect_eq(node_page_state(NR_MLOCK), 2);
	munmap_at(AT(8), 4);
	cr_expect_eq(node_page_state(NR_MLOCK), 0);
	quire_file_put(f);
	check_now();
	space_down();
}

/* Read and write, more than memory has: what is locked never leaves. */
Test(lru, locked_pages_stay_under_pressure)
{
	uint64_t pfn[8];

	space_up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	for (unsigned i = 0; i < 8; i++)
		store_at(AT(i), i);
	cr_assert_eq(quire_madvise(cur, AT(0), 8 * PS, 8 /* MADV_FREE */), 0);
	cr_assert_eq(quire_mlock(cur, AT(0), 4 * PS, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		pfn[i] = pfn_at(AT(i));
	for (unsigned i = 0; i < 4; i++)
		quire_reclaim(64);
	fake_core_returned();
	for (unsigned i = 0; i < 8; i++)
		cr_expect_eq(pfn_at(AT(i)), i < 4 ? pfn[i] : 0, "page %u", i);
	check_now();
	space_down();
}

/* ---- age ---------------------------------------------------------------------------------------- */

static unsigned reads;

static int source_readpage(struct quire_inode *inode, uint64_t index, void *dst)
{
	reads++;
	memset(dst, (int)index, PAGE_SIZE);
	return 0;
}

static const struct quire_inode_ops source = {source_readpage, NULL};

static struct quire_inode *inode_of(unsigned pages)
{
	struct quire_inode *inode = quire_inode_create(&source, NULL, 3, 1, 0);

	quire_inode_truncate(inode, (uint64_t)pages * PAGE_SIZE);
	return inode;
}

static void read_page_of(struct quire_inode *inode, uint64_t index)
{
	char c;

	cr_assert_eq(quire_inode_read(inode, index * PAGE_SIZE, (uintptr_t)&c, 1, false), 1);
	cr_assert_eq(c, (char)index);
}

/* Read twice, a page is active; to read on in the same page is no second use. */
Test(lru, a_second_read_activates)
{
	struct quire_inode *inode;
	uint64_t activated;
	char c;

	space_up();
	inode = inode_of(8);
	activated = sum_vm_event(PGACTIVATE);
	read_page_of(inode, 0);
	for (unsigned i = 1; i < 9; i++)
		quire_inode_read(inode, i, (uintptr_t)&c, 1, false);
	lru_add_drain_all();
	cr_expect_eq(lruvec_size(LRU_INACTIVE_FILE), 1);
	read_page_of(inode, 1);
	read_page_of(inode, 0);
	lru_add_drain_all();
	cr_expect_eq(lruvec_size(LRU_ACTIVE_FILE), 1);
	cr_expect_eq(lruvec_size(LRU_INACTIVE_FILE), 1);
	cr_expect_eq(sum_vm_event(PGACTIVATE), activated + 1);
	cr_expect_eq(check_phys(), 0);
	quire_inode_put(inode);
	space_down();
}

/* A hot set of a file is read again and again beside a scan of more than there is room for: each hot
 * page is read in once. */
Test(lru, a_hot_set_survives_a_scan)
{
	struct quire_inode *hot, *scan;
	unsigned before;

	space_up_cfg(&(struct fake_config){.ram = 16 * MIB * (PS / 4096), .cpus = 1});
	hot = inode_of(60);
	scan = inode_of(400);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < 60; i++)
			read_page_of(hot, i);
	before = reads;
	for (unsigned i = 0; i < 2000; i++) {
		read_page_of(scan, i % 400);
		if (i % 20 == 19)
			for (unsigned h = 0; h < 60; h++)
				read_page_of(hot, h);
		if (node_page_state(NR_FILE_PAGES) > 300)
			quire_reclaim(32);
	}
	cr_expect_gt(reads - before, 1500, "the scan is read again and again");
	before = reads;
	for (unsigned h = 0; h < 60; h++)
		read_page_of(hot, h);
	cr_expect_eq(reads, before);
	cr_expect_eq(check_phys(), 0);
	quire_inode_put(hot);
	quire_inode_put(scan);
	space_down();
}

/* A page that comes back before as much else was evicted as the active list has is active at once; one
 * that was away longer is not. */
Test(lru, refault_distance)
{
	struct quire_inode *inode;
	unsigned long refaults, activated;

	space_up();
	inode = inode_of(200);
	/* Twenty active pages. */
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < 20; i++)
			read_page_of(inode, 100 + i);
	for (unsigned i = 0; i < 40; i++)
		read_page_of(inode, i);
	quire_reclaim(1);
	cr_assert_eq(lruvec_size(LRU_ACTIVE_FILE), 20);
	cr_assert_not(page_cache_resident(&inode->i_mapping, 0));
	cr_expect_eq(node_page_state(NR_SHADOWS), 1);
	refaults = node_page_state(WORKINGSET_REFAULT_FILE);
	activated = node_page_state(WORKINGSET_ACTIVATE_FILE);
	quire_reclaim(14);
	read_page_of(inode, 0);
	lru_add_drain_all();
	cr_expect_eq(node_page_state(WORKINGSET_REFAULT_FILE), refaults + 1);
	cr_expect_eq(node_page_state(WORKINGSET_ACTIVATE_FILE), activated + 1);
	/* Thirty others and more went since page 1 did. */
	for (unsigned i = 40; i < 70; i++)
		read_page_of(inode, i);
	quire_reclaim(30);
	read_page_of(inode, 1);
	cr_expect_eq(node_page_state(WORKINGSET_REFAULT_FILE), refaults + 2);
	cr_expect_eq(node_page_state(WORKINGSET_ACTIVATE_FILE), activated + 1);
	cr_expect_eq(check_phys(), 0);
	quire_inode_truncate(inode, 0);
	cr_expect_eq(node_page_state(NR_SHADOWS), 0);
	quire_inode_put(inode);
	space_down();
}

/* Nodes of a file's tree that hold shadows alone are counted, and reclaim takes those that are too many; where
 * a page is, its neighbours' shadows stay. */
Test(lru, nodes_of_shadows)
{
	struct quire_inode *inode;
	unsigned long pages = 0, before;

	space_up();
	inode = inode_of(6 * 64);
	before = node_page_state(WORKINGSET_NODERECLAIM);
	for (unsigned i = 0; i < 6 * 64; i++)
		read_page_of(inode, i);
	lru_add_drain_all();
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 0);
	quire_reclaim(6 * 64);
	cr_assert_eq(node_page_state(NR_SHADOWS), 6 * 64);
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 6);
	read_page_of(inode, 3 * 64 + 5);
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 5);
	cr_expect_eq(check_phys(), 0);
	/* Half of them are asked for in a round; few are owed until they are all. */
	for (unsigned round = 0; round < 4; round++)
		shrink_slab(GFP_KERNEL & ~__GFP_FS, 0, &pages);
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 5, "not for who holds a file's locks");
	for (unsigned round = 0; round < 4; round++)
		shrink_slab(GFP_KERNEL, 0, &pages);
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 0);
	cr_expect_eq(node_page_state(WORKINGSET_NODERECLAIM), before + 5);
	cr_expect_eq(node_page_state(NR_SHADOWS), 63);
	quire_drop_caches();
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 1);
	cr_expect_eq(check_phys(), 0);
	quire_inode_put(inode);
	cr_expect_eq(node_page_state(WORKINGSET_NODES), 0);
	space_down();
}

/* So that the next access marks its entry again. */
static void forget_translations(void)
{
	hal_tlb_flush(&mm_now()->arch, AT(0), AT(16), 0, false);
}

/* Mapped pages that are used are passed over by a first scan, and kept by a second; used no more, they
 * go. Without swap anonymous pages are not looked at. */
Test(lru, what_entries_say)
{
	struct quire_inode *inode;
	struct quire_file *f;
	vm_flags_t flags;

	space_up();
	inode = inode_of(4);
	f = quire_file_open(inode, FRW, "source");
	mmap_file(AT(0), 4, PROT_READ, MAP_SHARED | FIX, f, 0);
	mmap_at(AT(8), 1, RW, PRIV | FIX);
	store_at(AT(8), 1);
	load_at(AT(0));
	cr_expect_eq(page_referenced(page_at(AT(0)), false, &flags), 1);
	cr_expect(flags & VM_READ);
	cr_expect_eq(page_referenced(page_at(AT(0)), false, &flags), 0);
	forget_translations();
	load_at(AT(0));
	for (unsigned i = 0; i < 2; i++) {
		quire_reclaim(8);
		cr_expect(present_at(AT(0)), "round %u", i);
		forget_translations();
		load_at(AT(0));
	}
	cr_expect(page_test(page_at(AT(0)), PG_active));
	for (unsigned i = 0; i < 6 && present_at(AT(0)); i++)
		quire_reclaim(8);
	fake_core_returned();
	cr_expect_not(present_at(AT(0)));
	cr_expect(present_at(AT(8)));
	check_now();
	quire_file_put(f);
	quire_inode_put(inode);
	space_down();
}

/* ---- several CPUs -------------------------------------------------------------------------------- */

#define RACE_ROUNDS 600
static unsigned racing; /* atomic: CPUs that still run */
static unsigned isolated; /* atomic */
static struct page *seen[64]; /* frames that the first CPU used lately; atomic */

/* Pages are born, put into a batch, and freed: from the batch or from a list, as it comes. */
static void births_and_deaths(void *arg)
{
	struct page *pages[48];

	/* On a busy machine the others may come late. */
	for (unsigned round = 0; round < RACE_ROUNDS || !__atomic_load_n(&isolated, __ATOMIC_RELAXED); round++) {
		unsigned n = 1 + round % ARRAY_SIZE(pages);

		for (unsigned i = 0; i < n; i++) {
			pages[i] = alloc_pages(GFP_KERNEL, 0);
			cr_assert(pages[i]);
			os_preempt(1);
			lru_cache_add_new(pages[i], i & 1 ? 1ul << PG_swapbacked : 0);
			os_preempt(-1);
			__atomic_store_n(&seen[(round + i) % ARRAY_SIZE(seen)], pages[i],
					 __ATOMIC_RELEASE);
		}
		if (round & 1) {
			for (unsigned i = 0; i < n; i++)
				put_page(pages[i]);
			continue;
		}
		/* In bulk, as far as nobody else has a reference. */
		for (unsigned i = 0; i < n;)
			if (__atomic_sub_fetch(&pages[i]->_refcount, 1, __ATOMIC_ACQ_REL))
				pages[i] = pages[--n];
			else
				i++;
		free_page_bulk(pages, n);
	}
	__atomic_sub_fetch(&racing, 1, __ATOMIC_SEQ_CST);
}

static void drains(void *arg)
{
	while (__atomic_load_n(&racing, __ATOMIC_SEQ_CST) > 2)
		lru_add_drain_all();
	__atomic_sub_fetch(&racing, 1, __ATOMIC_SEQ_CST);
}

/* Frames are taken off their lists as compaction does, frozen where nobody else has them, and put back
 * or let go. */
static void isolates(void *arg)
{
	unsigned taken = 0, frozen = 0;

	while (__atomic_load_n(&racing, __ATOMIC_SEQ_CST) > 2)
		for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
			struct page *page = __atomic_load_n(&seen[i], __ATOMIC_ACQUIRE);

			if (!page || !isolate_lru_frame(page))
				continue;
			taken++;
			__atomic_store_n(&isolated, taken, __ATOMIC_RELAXED);
			cr_assert(page_count(page) > 0 && !page_on_lru(page));
			if (page_ref_freeze(page, 1)) {
				frozen++;
				cr_assert_not(get_page_unless_zero(page));
				page_ref_unfreeze(page, 1);
			}
			if (i & 1)
				putback_lru_page(page);
			else
				put_page(page);
		}
	__atomic_store_n((unsigned *)arg, taken, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&racing, 1, __ATOMIC_SEQ_CST);
}

Test(lru, births_drains_and_isolation_on_three_cpus, .timeout = 110)
{
	unsigned long before;
	unsigned taken = 0;

	machine_up(64 * MIB, 4);
	drain_all_pages();
	before = nr_free_buddy();
	racing = 3;
	cr_assert_eq(fake_cpu_start(1, births_and_deaths, NULL), 0);
	cr_assert_eq(fake_cpu_start(2, drains, NULL), 0);
	cr_assert_eq(fake_cpu_start(3, isolates, &taken), 0);
	for (unsigned c = 1; c < 4; c++)
		fake_cpu_join(c);
	cr_expect_gt(taken, 0);
	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		cr_expect_eq(lruvec_size((enum lru_list)l), 0);
	drain_all_pages();
	cr_expect_eq(nr_free_buddy(), before, "no page is lost, none is free twice");
	cr_expect_eq(check_phys(), 0);
	machine_down();
}
