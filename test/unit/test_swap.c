/* SPDX-License-Identifier: MIT */
/* Swap areas, slots and the swap cache by themselves: no space is there. */
#include "mm_test.h"

#include <stdio.h>

#include "lib/rand.h"
#include "mm/base/vmstat.h"
#include "mm/swap/header.h"
#include "mm/swap/swap.h"
#include "mm/swap/swap_def.h"

#include "swapdev.h"

#define MIB (1ull << 20)

static struct swapdev dev[4];

static void up(unsigned cpus)
{
	machine_up(32 * MIB, cpus);
}

static void disk(unsigned n, uint32_t pages)
{
	swapdev_init(&dev[n], n, pages);
}

static int on(unsigned n, unsigned flags)
{
	return quire_swapon(&dev[n].dev, NULL, flags);
}

static void down(void)
{
	machine_down();
	for (unsigned i = 0; i < 4; i++)
		swapdev_free(&dev[i]);
}

/* A page as reclaim has it: valid, locked, nobody's. */
static struct page *fresh_page(uint64_t tag)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	cr_assert(page);
	*(uint64_t *)page_address(page) = tag;
	SetPageUptodate(page);
	page_set(page, PG_swapbacked);
	lock_page(page);
	return page;
}

static void drop(struct page *page)
{
	page_clear(page, PG_dirty);
	unlock_page(page);
	put_page(page);
}

static void check(void)
{
	cr_expect_eq(check_swap(), 0);
}

/* ---- headers ---------------------------------------------------------------------------------- */

static uint8_t hp[4096];

static void put32(size_t at, uint32_t v)
{
	memcpy(hp + at, &v, 4);
}

static void good_header(uint32_t last)
{
	memset(hp, 0, sizeof(hp));
	put32(1024, 1);
	put32(1028, last);
	memcpy(hp + 4086, "SWAPSPACE2", 10);
}

static int parse(uint64_t device)
{
	struct swap_header h;

	return swap_header_parse(&h, hp, 4096, device, 1ull << 35);
}

Test(swap, headers)
{
	struct swap_header h;

	good_header(99);
	cr_expect_eq(parse(100), 0);
	cr_expect_eq(parse(99), -EINVAL, "a page is missing");
	cr_expect_eq(swap_header_parse(&h, hp, 4096, 100, 50), 0);
	cr_expect_eq(h.slots, 50, "no more than can be named");
	hp[4090] = 'x';
	cr_expect_eq(parse(100), -EINVAL, "signature");
	good_header(99);
	put32(1024, 2);
	cr_expect_eq(parse(100), -EINVAL, "version");
	good_header(0);
	cr_expect_eq(parse(100), -EINVAL, "empty");
	good_header(UINT32_MAX);
	cr_expect_eq(parse(1ull << 32), 0);
	good_header(99);
	put32(1032, 637);
	for (int i = 0; i < 637; i++)
		put32(1536 + 4 * i, 7);
	cr_expect_eq(parse(100), -EINVAL, "637 bad pages of 99");
	good_header(999);
	put32(1032, 637);
	for (int i = 0; i < 637; i++)
		put32(1536 + 4 * i, 7 + i);
	cr_expect_eq(parse(1000), 0);
	put32(1032, 638);
	cr_expect_eq(parse(1000), -EINVAL, "there is room for 637");
	put32(1032, UINT32_MAX);
	cr_expect_eq(parse(1000), -EINVAL);
	put32(1032, 1);
	put32(1536, 0);
	cr_expect_eq(parse(1000), -EINVAL, "the header is no bad page");
	put32(1536, 1000);
	cr_expect_eq(parse(1000), -EINVAL, "outside");
	put32(1536, 999);
	cr_expect_eq(parse(1000), 0);
}

Test(swap, a_header_of_the_other_byte_order)
{
	struct swap_header h;

	good_header(__builtin_bswap32(99));
	put32(1024, __builtin_bswap32(1));
	put32(1032, __builtin_bswap32(2));
	put32(1536, __builtin_bswap32(5));
	put32(1540, __builtin_bswap32(99));
	cr_expect_eq(swap_header_parse(&h, hp, 4096, 100, 1000), 0);
	cr_expect(h.swapped);
	cr_expect_eq(h.slots, 100);
	cr_expect_eq(swap_header_bad(&h, 0), 5);
	cr_expect_eq(swap_header_bad(&h, 1), 99);
}

/* ---- on and off ------------------------------------------------------------------------------- */

Test(swap, on)
{
	struct quire_swap_info info;

	up(1);
	disk(0, 100);
	disk(1, 100);
	cr_expect_eq(on(0, 1u << 20), -EINVAL, "flags");
	dev[0].dev.read_only = true;
	cr_expect_eq(on(0, 0), -EACCES);
	dev[0].dev.read_only = false;
	dev[0].fail_read = 1;
	cr_expect_eq(on(0, 0), -EIO);
	dev[0].data[PAGE_SIZE - 1] = 0;
	cr_expect_eq(on(0, 0), -EINVAL);
	swapdev_mkswap(&dev[0], 101);
	cr_expect_eq(on(0, 0), -EINVAL, "too short");
	swapdev_mkswap(&dev[0], 100);
	swapdev_put32(&dev[0], 1032, 1);
	swapdev_put32(&dev[0], 1536, 50);
	cr_expect_eq(get_nr_swap_pages(), 0);
	cr_expect_eq(on(0, 0), 0);
	check();
	cr_expect_eq(on(0, 0), -EBUSY);
	cr_expect_eq(get_nr_swap_pages(), 98);
	cr_expect_eq(total_swap_pages(), 98);
	cr_expect_eq(quire_swapon(&dev[1].dev, "/dev/sdb", QUIRE_SWAP_FLAG_PREFER | 7), 0);
	cr_expect_eq(total_swap_pages(), 197);
	cr_assert(quire_swap_info(0, &info));
	cr_expect_eq(info.prio, -2);
	cr_expect_str_eq(info.path, "sda");
	cr_assert(quire_swap_info(1, &info));
	cr_expect_eq(info.prio, 7);
	cr_expect_eq(info.pages, 99);
	cr_expect_not(quire_swap_info(2, &info));
	down();
}

Test(swap, on_without_memory)
{
	up(1);
	disk(0, 2000);
	for (unsigned n = 1;; n++) {
		int err;

		quire_inject_set(QUIRE_INJECT_PAGE, n);
		err = on(0, 0);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
		cr_assert_eq(total_swap_pages(), 0);
		check();
		cr_assert_lt(n, 100);
	}
	check();
	down();
}

Test(swap, swaps)
{
	struct text *t = calloc(1, sizeof(*t));

	up(1);
	disk(0, 100);
	disk(1, 100);
	quire_swapon(&dev[0].dev, "/dev/vda", 0);
	quire_swapon(&dev[1].dev, "/dev/vdb", QUIRE_SWAP_FLAG_PREFER | 5);
	quire_show_swaps(text_emit, t);
	if (PAGE_SIZE == 4096)
		cr_expect_str_eq(t->s, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
			"/dev/vda                                partition\t396\t\t0\t\t-2\n"
			"/dev/vdb                                partition\t396\t\t0\t\t5\n");
	down();
	free(t);
}

Test(swap, thirty_one_areas)
{
	static struct swapdev d[MAX_SWAPFILES + 1];

	up(1);
	for (unsigned i = 0; i <= MAX_SWAPFILES; i++) {
		swapdev_init(&d[i], i % 26, 10);
		cr_expect_eq(quire_swapon(&d[i].dev, NULL, 0), i < MAX_SWAPFILES ? 0 : -EPERM);
	}
	check();
	machine_down();
	for (unsigned i = 0; i <= MAX_SWAPFILES; i++)
		swapdev_free(&d[i]);
}

/* ---- slots ------------------------------------------------------------------------------------ */

Test(swap, priorities)
{
	struct page *page[300];

	up(1);
	disk(0, 100);
	disk(1, 300);
	disk(2, 300);
	on(0, QUIRE_SWAP_FLAG_PREFER | 9);
	on(1, QUIRE_SWAP_FLAG_PREFER | 1);
	on(2, QUIRE_SWAP_FLAG_PREFER | 1);
	for (int i = 0; i < 99 + 128; i++) {
		page[i] = fresh_page(i);
		cr_assert(add_to_swap(page[i]));
	}
	check();
	for (int i = 0; i < 99; i++)
		cr_expect_eq(swp_type(page_swap_entry(page[i])), 0, "the highest first");
	cr_expect_eq(swap_areas[1].inuse, 64, "equals take turns");
	cr_expect_eq(swap_areas[2].inuse, 64);
	for (int i = 0; i < 99 + 128; i++) {
		cr_expect(try_to_free_swap(page[i]));
		drop(page[i]);
	}
	check();
	cr_expect_eq(get_nr_swap_pages(), total_swap_pages());
	down();
}

Test(swap, the_last_slot)
{
	struct page *page[10], *more;

	up(2);
	disk(0, 10);
	on(0, 0);
	for (int i = 0; i < 9; i++) {
		page[i] = fresh_page(i);
		fake_cpu_switch(i % 2);
		cr_assert(add_to_swap(page[i]));
	}
	more = fresh_page(9);
	cr_expect_not(add_to_swap(more));
	cr_expect_eq(get_nr_swap_pages(), 0);
	check();
	cr_expect(try_to_free_swap(page[4]));
	cr_expect(add_to_swap(more));
	check();
	page[9] = more;
	for (int i = 0; i < 10; i++) {
		try_to_free_swap(page[i]);
		drop(page[i]);
	}
	fake_cpu_switch(0);
	down();
}

/* What one CPU has taken for itself another one may have when nothing else is left. */
Test(swap, a_cluster_of_another_cpu)
{
	struct page *page[3];

	up(2);
	disk(0, 20);
	on(0, 0);
	for (int i = 0; i < 3; i++) {
		fake_cpu_switch(i == 1);
		page[i] = fresh_page(i);
		cr_expect(add_to_swap(page[i]), "page %d", i);
		check();
	}
	for (int i = 0; i < 3; i++) {
		try_to_free_swap(page[i]);
		drop(page[i]);
	}
	fake_cpu_switch(0);
	down();
}

/* One that is about to leave memory: whoever froze its count is to have it alone. */
Test(swap, a_frozen_page_cannot_be_had)
{
	struct page *page;
	swp_entry_t e;

	up(1);
	disk(0, 100);
	on(0, 0);
	page = fresh_page(7);
	cr_assert(add_to_swap(page));
	e = page_swap_entry(page);
	cr_assert(page_ref_freeze(page, 2));
	cr_expect_null(lookup_swap_cache(e));
	cr_expect_eq(page_count(page), 0);
	page_ref_unfreeze(page, 2);
	cr_expect_eq(lookup_swap_cache(e), page);
	put_page(page);
	try_to_free_swap(page);
	drop(page);
	down();
}

Test(swap, counts)
{
	struct page *page;
	swp_entry_t e;

	up(1);
	disk(0, 100);
	on(0, 0);
	page = fresh_page(7);
	add_to_swap(page);
	e = page_swap_entry(page);
	cr_expect_eq(swp_swapcount(e), 0);
	for (int i = 0; i < 20000; i++)
		cr_assert_eq(swap_duplicate(e), 0);
	cr_expect_eq(swp_swapcount(e), 20000);
	cr_expect_not(try_to_free_swap(page), "entries name it");
	for (int i = 0; i < 19999; i++)
		swap_free(e);
	check();
	unlock_page(page);
	put_page(page); /* the cache's is left */
	free_swap_and_cache(e);
	cr_expect_eq(swp_swapcount(e), 0);
	cr_expect_eq(get_nr_swap_pages(), 99);
	cr_expect_eq(total_swapcache_pages(), 0);
	cr_expect_eq(swap_duplicate(e), -ENOENT);
	check();
	down();
}

Test(swap, more_than_the_count_holds)
{
	struct page *page;
	swp_entry_t e;
	uint64_t w;

	up(1);
	disk(0, 100);
	on(0, 0);
	page = fresh_page(7);
	add_to_swap(page);
	e = page_swap_entry(page);
	w = swap_areas[0].words[swp_offset(e)];
	swap_areas[0].words[swp_offset(e)] = w | SWAP_COUNT_MAX << SLOT_COUNT_SHIFT;
	cr_expect_eq(swap_duplicate(e), -ENOMEM);
	cr_expect_eq(swp_swapcount(e), SWAP_COUNT_MAX);
	swap_areas[0].words[swp_offset(e)] = w;
	try_to_free_swap(page);
	drop(page);
	down();
}

/* ---- input and output ------------------------------------------------------------------------- */

/* Out, and the page leaves memory: its slot alone is left, named once. */
static swp_entry_t swap_out(uint64_t tag)
{
	struct page *page = fresh_page(tag);
	swp_entry_t e;

	cr_assert(add_to_swap(page));
	e = page_swap_entry(page);
	swap_duplicate(e);
	page_clear(page, PG_dirty);
	cr_assert(swap_writepage(page, NULL));
	wait_on_page_writeback(page);
	cr_assert_not(page_test(page, PG_dirty));
	lock_page(page);
	delete_from_swap_cache(page);
	drop(page);
	return e;
}

static uint64_t swap_in(swp_entry_t e)
{
	bool fresh;
	struct page *page = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, &fresh);
	uint64_t tag;

	cr_assert(page && fresh);
	lock_page(page);
	cr_assert(PageUptodate(page));
	tag = *(uint64_t *)page_address(page);
	swap_free(e);
	cr_expect(try_to_free_swap(page));
	drop(page);
	return tag;
}

Test(swap, out_and_in)
{
	swp_entry_t e[50];

	up(1);
	disk(0, 100);
	on(0, 0);
	for (int i = 0; i < 50; i++)
		e[i] = swap_out(1000 + i);
	check();
	cr_expect_eq(total_swapcache_pages(), 0);
	for (int i = 49; i >= 0; i--)
		cr_expect_eq(swap_in(e[i]), 1000u + i);
	check();
	cr_expect_eq(get_nr_swap_pages(), 99);
	cr_expect_eq(sum_vm_event(PSWPIN), 50);
	cr_expect_eq(sum_vm_event(PSWPOUT), 50);
	cr_expect_eq(node_page_state(NR_WRITEBACK), 0);
	down();
}

Test(swap, a_page_is_found_in_the_cache)
{
	struct page *a, *b;
	swp_entry_t e;
	bool fresh;

	up(1);
	disk(0, 100);
	on(0, 0);
	e = swap_out(5);
	cr_expect_null(lookup_swap_cache(e));
	dev[0].hold = true;
	a = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, &fresh);
	cr_expect(fresh && page_test(a, PG_locked) && !PageUptodate(a));
	b = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, &fresh);
	cr_expect(!fresh && a == b, "one copy");
	cr_expect_not(swap_cache_resident(e), "it is still being read");
	swapdev_release(&dev[0]);
	cr_expect(swap_cache_resident(e));
	cr_expect_eq(dev[0].reads, 2, "the header, and the page");
	put_page(b);
	lock_page(a);
	swap_free(e);
	try_to_free_swap(a);
	drop(a);
	down();
}

Test(swap, a_failed_write_keeps_the_page_and_retires_the_slot)
{
	struct page *page;
	swp_entry_t e;

	up(1);
	disk(0, 100);
	on(0, 0);
	page = fresh_page(5);
	add_to_swap(page);
	e = page_swap_entry(page);
	swap_duplicate(e);
	page_clear(page, PG_dirty);
	dev[0].fail_write = 1;
	cr_assert(swap_writepage(page, NULL));
	wait_on_page_writeback(page);
	cr_expect(page_test(page, PG_dirty) && page_test(page, PG_error));
	cr_expect(PageSwapCache(page), "it is the only copy");
	lock_page(page);
	swap_free(e);
	cr_expect(try_to_free_swap(page));
	cr_expect_not(page_test(page, PG_error));
	check();
	cr_expect_eq(total_swap_pages(), 98, "the slot is not given out again");
	cr_expect_eq(get_nr_swap_pages(), 98);
	drop(page);
	down();
}

Test(swap, a_failed_read)
{
	struct page *page;
	swp_entry_t e;
	bool fresh;

	up(1);
	disk(0, 100);
	on(0, 0);
	e = swap_out(5);
	dev[0].fail_read = 1;
	page = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, &fresh);
	lock_page(page);
	cr_expect(page_test(page, PG_error) && !PageUptodate(page));
	delete_from_swap_cache(page);
	drop(page);
	cr_expect_eq(swap_in(e), 5, "the next one may do better");
	down();
}

Test(swap, nothing_is_written_that_nobody_needs)
{
	struct page *page;

	up(1);
	disk(0, 100);
	on(0, 0);
	page = fresh_page(5);
	add_to_swap(page);
	get_page(page);
	cr_assert(swap_writepage(page, NULL));
	cr_expect_eq(dev[0].writes, 0);
	cr_expect_not(PageSwapCache(page));
	put_page(page);
	lock_page(page);
	drop(page);
	check();
	down();
}

Test(swap, writes_go_out_together)
{
	struct swap_plug plug = SWAP_PLUG_INIT;
	struct page *page[40];

	up(1);
	disk(0, 100);
	on(0, 0);
	for (int i = 0; i < 40; i++) {
		page[i] = fresh_page(i);
		add_to_swap(page[i]);
		swap_duplicate(page_swap_entry(page[i]));
		page_clear(page[i], PG_dirty);
		cr_assert(swap_writepage(page[i], &plug));
	}
	cr_expect_eq(dev[0].chains, 2, "the header's, and 32");
	cr_expect(page_test(page[39], PG_writeback));
	swap_plug_flush(&plug);
	cr_expect_eq(dev[0].chains, 3);
	for (int i = 0; i < 40; i++) {
		cr_expect_not(page_test(page[i], PG_writeback));
		lock_page(page[i]);
		swap_free(page_swap_entry(page[i]));
		try_to_free_swap(page[i]);
		drop(page[i]);
	}
	down();
}

Test(swap, readahead_grows_with_its_use)
{
	swp_entry_t e[64];
	unsigned before;
	bool alone;

	up(1);
	disk(0, 200);
	on(0, 0);
	for (int i = 0; i < 64; i++)
		e[i] = swap_out(i);
	before = dev[0].reads;
	for (int i = 0; i < 64; i++) {
		struct page *page = lookup_swap_cache(e[i]);

		if (page)
			swap_readahead_hit(e[i], page);
		else
			page = swap_cluster_readahead(e[i], GFP_HIGHUSER_MOVABLE, &alone);
		cr_assert(page);
		lock_page(page);
		cr_expect_eq(*(uint64_t *)page_address(page), i);
		swap_free(e[i]);
		try_to_free_swap(page);
		drop(page);
	}
	cr_expect_eq(dev[0].reads - before, 64, "nothing twice");
	cr_expect_lt(dev[0].chains, 64 + 1 + 30, "in order: most of it comes in windows of eight");
	cr_expect_gt(sum_vm_event(SWAP_RA_HIT), 40);
	check();
	down();
}

/* ---- against a model ---------------------------------------------------------------------------- */

#define MODEL_PAGES 700

/* What one thing that was swapped out is, as the model has it. */
struct thing {
	bool live;
	swp_entry_t e;
	struct page *page; /* cached, and our reference of it; NULL: on the device */
	unsigned count;
	uint64_t tag;
};

static struct thing things[MODEL_PAGES];

static void model_step(struct rand_state *r)
{
	struct thing *t = &things[rand_below(r, MODEL_PAGES)];
	bool fresh;

	if (!t->live) {
		struct page *page = fresh_page(t->tag = rand_u64(r));

		if (!add_to_swap(page)) {
			cr_assert_eq(get_nr_swap_pages(), 0);
			drop(page);
			return;
		}
		*t = (struct thing){true, page_swap_entry(page), page, 0, t->tag};
		for (unsigned i = 0; i < MODEL_PAGES; i++)
			cr_assert(&things[i] == t || !things[i].live || things[i].e.val != t->e.val);
		return;
	}
	switch (rand_below(r, 6)) {
	case 0:
		cr_assert_eq(swap_duplicate(t->e), 0);
		t->count++;
		return;
	case 1: /* one name fewer */
		if (!t->count || (t->count == 1 && !t->page && rand_below(r, 2)))
			return;
		if (rand_below(r, 2))
			swap_free(t->e);
		else
			free_swap_and_cache(t->e); /* finds the page locked, by us */
		t->live = --t->count || t->page;
		return;
	case 2: /* to the device */
		if (!t->page || !t->count)
			return;
		page_clear(t->page, PG_dirty);
		cr_assert(swap_writepage(t->page, NULL));
		wait_on_page_writeback(t->page);
		lock_page(t->page);
		delete_from_swap_cache(t->page);
		drop(t->page);
		t->page = NULL;
		return;
	case 3: /* and back */
		if (t->page)
			return;
		t->page = read_swap_cache_async(t->e, GFP_HIGHUSER_MOVABLE, &fresh);
		cr_assert(t->page && fresh);
		lock_page(t->page);
		return;
	case 4:
		if (t->page) {
			cr_assert_eq(*(uint64_t *)page_address(t->page), t->tag);
			cr_assert_eq(try_to_free_swap(t->page), !t->count);
			if (!t->count) {
				drop(t->page);
				t->live = false;
			}
		}
		return;
	default:
		cr_assert_eq(swp_swapcount(t->e), t->count);
		cr_assert_eq(swap_cache_resident(t->e), t->page != NULL);
	}
}

static void model_run(uint64_t seed, unsigned steps)
{
	struct rand_state r;

	memset(things, 0, sizeof(things));
	rand_seed(&r, seed);
	up(3);
	disk(0, 600);
	disk(1, 40);
	on(0, 0);
	on(1, seed % 2 ? QUIRE_SWAP_FLAG_PREFER | 3 : 0);
	for (unsigned i = 0; i < steps; i++) {
		fake_cpu_switch((unsigned)rand_below(&r, 3));
		model_step(&r);
		if (i % 64 == 0)
			cr_assert_eq(check_swap(), 0, "seed %lu step %u", (unsigned long)seed, i);
	}
	for (unsigned i = 0; i < MODEL_PAGES; i++) {
		struct thing *t = &things[i];

		if (!t->live)
			continue;
		for (; t->count; t->count--)
			swap_free(t->e);
		if (t->page) {
			cr_assert(try_to_free_swap(t->page));
			drop(t->page);
		}
	}
	cr_assert_eq(check_swap(), 0);
	cr_assert_eq(get_nr_swap_pages(), total_swap_pages());
	fake_cpu_switch(0);
	down();
}

Test(swap, model)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		model_run(seed, 20000);
}
