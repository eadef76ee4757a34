/* SPDX-License-Identifier: MIT */
/*
 * Compressed swap: the pool by itself against a model, contents of every kind there and back, a full pool,
 * damage, failures, and what spaces see of it. The compressor is the toy of toy_compressor.h.
 */
#include "space.h"

#include "lib/rand.h"
#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/reclaim/vmscan.h"
#include "mm/swap/swap.h"
#include "mm/swap/swap_def.h"
#include "mm/swap/zpool.h"

#include "device_wait.h"
#include "swapdev.h"
#include "toy_compressor.h"

#define PAGEOUT 21
#define WORTH ((unsigned)(PS - PS / 8 - 8)) /* bytes: what becomes larger is not kept */

static struct swapdev dev[2];
static const struct quire_compressor *with = &toy_compressor;

/* The pool may have percent of 64 MiB. */
static void up_with(const char *params)
{
	space_up_with(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		      &(struct quire_config){.params = params, .compressor = with});
	toy_spread = 0;
}

static void up(void)
{
	up_with("zswap.enabled=1");
}

static void disk_on(unsigned n, uint32_t pages)
{
	swapdev_init(&dev[n], n, pages);
	cr_assert_eq(quire_swapon(&dev[n].dev, NULL, 0), 0);
}

static void down(void)
{
	cr_expect_eq(check_swap(), 0);
	space_down();
	for (unsigned i = 0; i < 2; i++) {
		swapdev_free(&dev[i]);
		dev[i].data = NULL;
	}
}

static struct quire_zswap_info now(void)
{
	struct quire_zswap_info z;

	quire_zswap_info(&z);
	return z;
}

/* ---- the pool --------------------------------------------------------------------------------- */

#define THINGS 600

static struct {
	zhandle_t h;
	unsigned len;
	uint64_t tag;
} thing[THINGS];

static uint8_t bytes[65536], scratch[65536];

static void fill_bytes(uint64_t tag, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		bytes[i] = (uint8_t)hash64(tag + i);
}

static void look_at(unsigned i)
{
	const void *p = zpool_read(thing[i].h, scratch);

	cr_assert_eq(zpool_tag(thing[i].h), thing[i].tag);
	cr_assert_eq(zpool_len(thing[i].h), thing[i].len);
	fill_bytes(thing[i].tag, thing[i].len);
	cr_assert_eq(memcmp(p, bytes, thing[i].len), 0, "object %u of %u bytes", i, thing[i].len);
}

static void put_thing(unsigned i, uint64_t tag, unsigned len)
{
	while (!(thing[i].h = zpool_alloc(tag, len)))
		cr_assert_eq(zpool_grow(GFP_KERNEL, 4000), ZGROW_DONE);
	thing[i].len = len;
	thing[i].tag = tag;
	fill_bytes(tag, len);
	zpool_write(thing[i].h, bytes);
}

static void drop_thing(unsigned i)
{
	look_at(i);
	zpool_free(thing[i].h);
	thing[i].h = 0;
}

Test(zswap, pool_against_a_model)
{
	struct rand_state r;
	long broken = 0;

	memset(thing, 0, sizeof(thing));
	up();
	rand_seed(&r, 3);
	for (unsigned n = 0; n < 30000; n++) {
		/* Half of the time there are few, so that pages come and go. */
		unsigned i = (unsigned)rand_below(&r, n / 3000 % 2 ? 20 : THINGS);
		unsigned most = (unsigned)(rand_below(&r, 4) ? PS / 3 : PS - 8);

		if (thing[i].h)
			drop_thing(i);
		else
			put_thing(i, rand_u64(&r) >> 24, 1 + (unsigned)rand_below(&r, most));
		if (n % 64 == 0)
			cr_assert(zpool_check(&broken) <= THINGS && !broken, "step %u", n);
	}
	for (unsigned i = 0; i < THINGS; i++)
		if (thing[i].h)
			drop_thing(i);
	cr_expect_eq(zpool_pages(), 0);
	down();
}

/* Objects of a little more than half a page: seven to four pages, though no two fit into one. */
Test(zswap, pool_wastes_little)
{
	up();
	memset(thing, 0, sizeof(thing));
	for (unsigned i = 0; i < 210; i++)
		put_thing(i, i, (unsigned)(PS / 64 * 35 + 1));
	cr_expect_leq(zpool_pages(), 120);
	for (unsigned i = 0; i < 210; i++)
		drop_thing(i);
	cr_expect_eq(zpool_pages(), 0);
	/* A hole serves what is smaller, the smallest hole first. */
	put_thing(0, 0, (unsigned)(PS - 8));
	put_thing(1, 1, (unsigned)(PS - 8));
	for (unsigned i = 2; i < 66; i++)
		put_thing(i, i, (unsigned)(PS / 64 - 8));
	cr_expect_eq(zpool_pages(), 3);
	drop_thing(10);
	drop_thing(11);
	drop_thing(20);
	put_thing(20, 20, (unsigned)(PS / 64 - 8));
	put_thing(11, 11, (unsigned)(2 * PS / 64 - 8));
	cr_expect_eq(zpool_pages(), 3);
	for (unsigned i = 0; i < 66; i++)
		if (thing[i].h)
			drop_thing(i);
	cr_expect_eq(zpool_pages(), 0);
	down();
}

Test(zswap, pool_has_a_limit)
{
	struct zblock *b, *other;
	unsigned pos = 0, met = 0;
	zhandle_t h;
	uint64_t tag;

	up();
	cr_expect_eq(zpool_alloc(1, 100), 0);
	cr_expect(zpool_is_full(0, 100));
	cr_expect_eq(zpool_grow(GFP_KERNEL, 0), ZGROW_LIMIT);
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_eq(zpool_grow(GFP_KERNEL, 9), ZGROW_NO_PAGE);
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	quire_inject_set(QUIRE_INJECT_SLAB, 1);
	cr_expect_eq(zpool_grow(GFP_KERNEL, 9), ZGROW_NO_BLOCK);
	quire_inject_set(QUIRE_INJECT_SLAB, 0);
	cr_expect_eq(zpool_pages(), 0);
	put_thing(0, 5, 100);
	put_thing(1, 6, 200);
	cr_expect(zpool_is_full(1, (unsigned)PS - 8));
	cr_expect_not(zpool_is_full(1, 100));
	cr_expect_not(zpool_is_full(2, (unsigned)PS - 8));
	/* One that was taken: nothing joins it, and it goes with its last object. */
	b = zpool_take_oldest();
	cr_assert(b);
	cr_expect_null(zpool_take_oldest());
	cr_expect_eq(zpool_alloc(1, 100), 0);
	while (zpool_next(b, &pos, &h, &tag)) {
		cr_expect_eq(tag, 5 + met);
		cr_expect_eq(h, thing[met].h);
		met++;
	}
	cr_expect_eq(met, 2);
	drop_thing(0);
	drop_thing(1);
	zpool_give_back(b, false);
	cr_expect_eq(zpool_pages(), 0);
	/* Who comes back is the youngest, or the oldest as before. */
	for (unsigned i = 0; i < 8; i++)
		put_thing(i, i, (unsigned)PS - 8);
	b = zpool_take_oldest();
	zpool_give_back(b, true);
	cr_expect_eq(zpool_take_oldest(), b);
	zpool_give_back(b, false);
	other = zpool_take_oldest();
	cr_expect_neq(other, b);
	zpool_give_back(other, false);
	for (unsigned i = 0; i < 8; i++)
		drop_thing(i);
	down();
}

/* ---- contents --------------------------------------------------------------------------------- */

/* n words of a page are not zero, each with something of its own; the others are. */
static void write_page(struct page *page, uint64_t tag, size_t n)
{
	uint64_t *w = page_address(page);

	for (size_t i = 0; i < PS / 8; i++)
		w[i] = i < n ? hash64(tag + i) | 1 : 0;
}

static bool page_holds(struct page *page, uint64_t tag, size_t n)
{
	const uint64_t *w = page_address(page);

	for (size_t i = 0; i < PS / 8; i++)
		if (w[i] != (i < n ? hash64(tag + i) | 1 : 0))
			return false;
	return true;
}

static struct page *fresh_page(uint64_t tag, size_t n)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	cr_assert(page);
	write_page(page, tag, n);
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

/* Out of memory: named once, by e. */
static swp_entry_t page_out(struct page *page)
{
	swp_entry_t e;

	if (!PageSwapCache(page))
		cr_assert(add_to_swap(page));
	e = page_swap_entry(page);
	if (!swp_swapcount(e))
		cr_assert_eq(swap_duplicate(e), 0);
	page_clear(page, PG_dirty);
	cr_assert(swap_writepage(page, NULL));
	wait_on_page_writeback(page);
	cr_assert_not(page_test(page, PG_dirty));
	lock_page(page);
	delete_from_swap_cache(page);
	drop(page);
	return e;
}

/* Back, cached and locked. */
static struct page *page_in(swp_entry_t e)
{
	struct page *page;
	bool fresh;

	cr_assert(get_swap_device(e));
	page = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, &fresh);
	cr_assert(page);
	put_swap_device_of(e);
	lock_page(page);
	return page;
}

static void forget(struct page *page, swp_entry_t e)
{
	swap_free(e);
	cr_expect(try_to_free_swap(page));
	drop(page);
}

Test(zswap, there_and_back)
{
	static const size_t words[] = {0, 1, 2, 7, 50, 51, 100, 200, 256, 300, 380, 440};
	enum { N = ARRAY_SIZE(words) };
	swp_entry_t e[N * 8];

	up();
	disk_on(0, 600);
	for (unsigned i = 0; i < N * 8; i++)
		e[i] = page_out(fresh_page(i, words[i % N]));
	cr_expect_eq(dev[0].writes, 0);
	cr_expect_eq(now().stored_pages, N * 8);
	cr_expect_eq(now().same_filled_pages, 8, "zeros");
	cr_expect_gt(now().pool_pages, 0);
	cr_expect_eq(sum_vm_event(PSWPOUT), 0);
	cr_expect_eq(check_swap(), 0);
	for (unsigned i = 0; i < N * 8; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(PageUptodate(page) && page_holds(page, i, words[i % N]), "%u", i);
		forget(page, e[i]);
	}
	cr_expect_eq(dev[0].reads, 1, "the header");
	cr_expect_eq(sum_vm_event(PSWPIN), 0);
	cr_expect_eq(now().loaded_pages, N * 8);
	cr_expect_eq(now().stored_pages, 0);
	cr_expect_eq(now().stored_bytes, 0);
	cr_expect_eq(now().pool_pages, 0);
	down();
}

Test(zswap, one_word_all_over)
{
	struct page *page = NULL;
	swp_entry_t e;
	uint64_t *w;

	up();
	disk_on(0, 100);
	toy_calls = 0;
	page = fresh_page(0, 0);
	w = page_address(page);
	for (size_t i = 0; i < PS / 8; i++)
		w[i] = 0xfeedfacecafebeefull;
	e = page_out(page);
	cr_expect_eq(toy_calls, 0);
	cr_expect_eq(now().same_filled_pages, 1);
	cr_expect_eq(now().stored_bytes, 8);
	page = page_in(e);
	w = page_address(page);
	for (size_t i = 0; i < PS / 8; i++)
		cr_assert_eq(w[i], 0xfeedfacecafebeefull);
	/* It differs in one word, not the last. */
	w[5]++;
	page_out(page);
	cr_expect_eq(toy_calls, 1);
	cr_expect_eq(now().same_filled_pages, 0);
	page = page_in(e);
	cr_expect_eq(((uint64_t *)page_address(page))[5], 0xfeedfacecafebef0ull);
	forget(page, e);
	cr_expect_eq(now().pool_pages, 0);
	down();
}

Test(zswap, what_cannot_be_compressed_goes_to_the_device)
{
	size_t limit = (WORTH - TOY_HEAD) / 8;
	struct page *page;
	swp_entry_t e, f;

	up();
	disk_on(0, 100);
	e = page_out(fresh_page(1, limit));
	cr_expect_eq(dev[0].writes, 0);
	f = page_out(fresh_page(2, limit + 1));
	cr_expect_eq(dev[0].writes, 1);
	cr_expect_eq(now().reject_compress_poor, 1);
	page = page_in(e);
	cr_expect(page_holds(page, 1, limit));
	forget(page, e);
	page = page_in(f);
	cr_expect(PageUptodate(page) && page_holds(page, 2, limit + 1));
	forget(page, f);
	down();
}

/* The slot has an old copy when new contents go to the device, for any reason. */
Test(zswap, an_old_copy_does_not_come_back)
{
	struct page *page;
	swp_entry_t e;

	up();
	disk_on(0, 100);
	e = page_out(fresh_page(1, 9));
	page = page_in(e);
	cr_expect_eq(now().stored_pages, 1, "the copy stays");
	write_page(page, 2, 9);
	page_out(page);
	cr_expect_eq(now().duplicate_entry, 1);
	page = page_in(e);
	cr_assert(page_holds(page, 2, 9), "compressed again");
	write_page(page, 3, PS / 8);
	page_out(page);
	cr_expect_eq(now().stored_pages, 0);
	page = page_in(e);
	cr_assert(page_holds(page, 3, PS / 8), "could not be compressed");
	write_page(page, 4, 9);
	page_out(page);
	page = page_in(e);
	cr_assert_eq(quire_zswap_enable(false), 0);
	write_page(page, 5, 9);
	page_out(page);
	cr_expect_eq(now().stored_pages, 0);
	page = page_in(e);
	cr_assert(page_holds(page, 5, 9), "switched off");
	forget(page, e);
	down();
}

Test(zswap, switched)
{
	struct page *page;
	swp_entry_t e, f;

	up_with("zswap.enabled=0 zswap.max_pool_percent=7");
	disk_on(0, 100);
	cr_expect_not(now().enabled);
	cr_expect_eq(now().max_pool_percent, 7);
	cr_expect_str_eq(now().compressor, "toy");
	e = page_out(fresh_page(1, 9));
	cr_expect_eq(dev[0].writes, 1);
	cr_expect_eq(quire_zswap_enable(true), 0);
	f = page_out(fresh_page(2, 9));
	cr_expect_eq(dev[0].writes, 1);
	cr_expect_eq(quire_zswap_enable(false), 0);
	page = page_in(f);
	cr_expect(page_holds(page, 2, 9), "what is there stays");
	forget(page, f);
	page = page_in(e);
	cr_expect(page_holds(page, 1, 9));
	forget(page, e);
	cr_expect_eq(quire_zswap_set_max_pool_percent(101), -EINVAL);
	cr_expect_eq(quire_zswap_set_max_pool_percent(100), 0);
	cr_expect_eq(now().max_pool_percent, 100);
	down();
}

Test(zswap, without_a_compressor)
{
	with = NULL;
	up();
	disk_on(0, 100);
	cr_expect_not(now().enabled);
	cr_expect_null(now().compressor);
	cr_expect_eq(quire_zswap_enable(true), -ENODEV);
	cr_expect_eq(quire_zswap_enable(false), 0);
	swapdev_init(&dev[1], 1, 100);
	dev[1].dev.in_memory = true;
	cr_expect_eq(quire_swapon(&dev[1].dev, NULL, 0), -ENODEV);
	down();
	with = &toy_compressor;
}

Test(zswap, without_memory_to_begin)
{
	unsigned n;
	int err;

	for (int kind = 0; kind < 2; kind++) {
		up_with("");
		for (n = 1;; n++) {
			quire_inject_set(kind ? QUIRE_INJECT_SLAB : QUIRE_INJECT_PAGE, n);
			err = quire_zswap_enable(true);
			quire_inject_set(kind ? QUIRE_INJECT_SLAB : QUIRE_INJECT_PAGE, 0);
			if (!err)
				break;
			cr_assert_eq(err, -ENOMEM);
			cr_assert_not(now().enabled);
			cr_assert_lt(n, 100);
		}
		cr_expect_gt(n, 2);
		down();
	}
}

/* ---- a full pool ------------------------------------------------------------------------------ */

static unsigned long pages_of(unsigned percent)
{
	return totalram_pages() * percent / 100;
}

Test(zswap, a_full_pool_writes_the_oldest_back)
{
	unsigned n = (unsigned)pages_of(1) * 4;
	swp_entry_t *e;

	up_with("zswap.enabled=1 zswap.max_pool_percent=1");
	n = (unsigned)pages_of(1) * 4;
	e = calloc(n, sizeof(*e));
	disk_on(0, n + 1000);
	/* Two to a page. */
	for (unsigned i = 0; i < n; i++) {
		e[i] = page_out(fresh_page(i, PS / 8 * 7 / 16));
		cr_assert_leq(now().pool_pages, pages_of(1));
	}
	cr_expect_gt(now().written_back_pages, n / 2 - 8);
	cr_expect_eq(now().written_back_pages, dev[0].writes);
	cr_expect_eq(sum_vm_event(PSWPOUT), dev[0].writes);
	cr_expect_eq(now().stored_pages + dev[0].writes, n);
	cr_expect_eq(now().reject_reclaim_fail, 0);
	cr_expect_gt(now().pool_limit_hit, 0);
	cr_expect_eq(check_swap(), 0);
	/* What was written leaves memory next. The first have gone, the last are here. */
	cr_expect_geq(quire_reclaim(n), dev[0].writes);
	dev[0].reads = 0;
	for (unsigned i = n - n / 4; i < n; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(page_holds(page, i, PS / 8 * 7 / 16));
		forget(page, e[i]);
	}
	cr_expect_eq(dev[0].reads, 0);
	for (unsigned i = 0; i < n - n / 4; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(PageUptodate(page) && page_holds(page, i, PS / 8 * 7 / 16));
		forget(page, e[i]);
	}
	cr_expect_gt(dev[0].reads, 0);
	cr_expect_eq(now().pool_pages, 0);
	free(e);
	down();
}

/* A page that is in memory, valid, has what the copy has: the copy goes, and nothing is written. */
Test(zswap, a_full_pool_drops_what_is_in_memory)
{
	unsigned n;
	struct page **page;
	swp_entry_t *e;

	up_with("zswap.enabled=1 zswap.max_pool_percent=1");
	n = (unsigned)pages_of(1) * 2 - 8;
	e = calloc(2 * n, sizeof(*e));
	page = calloc(n, sizeof(*page));
	disk_on(0, 2 * n + 1000);
	for (unsigned i = 0; i < n; i++)
		e[i] = page_out(fresh_page(i, PS / 8 * 7 / 16));
	cr_expect_eq(dev[0].writes, 0);
	quire_zswap_set_max_pool_percent(100);
	for (unsigned i = 0; i < n; i++) {
		page[i] = page_in(e[i]);
		cr_assert_not(page_test(page[i], PG_dirty));
		if (i)
			unlock_page(page[i]);
	}
	quire_zswap_set_max_pool_percent(1);
	for (unsigned i = n; i < 2 * n; i++)
		e[i] = page_out(fresh_page(i, PS / 8 * 7 / 16));
	cr_expect_eq(now().written_back_pages, 0);
	cr_expect_geq(now().dropped_pages, n - 16);
	cr_expect_not(page_test(page[0], PG_dirty), "locked by somebody: left alone");
	cr_expect(page_test(page[1], PG_dirty));
	cr_expect_eq(check_swap(), 0);
	unlock_page(page[0]);
	for (unsigned i = 0; i < n; i++) {
		lock_page(page[i]);
		cr_assert(page_holds(page[i], i, PS / 8 * 7 / 16));
		/* Out once more: it is dirty, so it is not lost. */
		if (page_test(page[i], PG_dirty))
			page_out(page[i]);
		else {
			delete_from_swap_cache(page[i]);
			drop(page[i]);
		}
	}
	for (unsigned i = 0; i < 2 * n; i++) {
		struct page *p = page_in(e[i]);

		cr_assert(PageUptodate(p) && page_holds(p, i, PS / 8 * 7 / 16), "%u", i);
		forget(p, e[i]);
	}
	free(e);
	free(page);
	down();
}

/* A page that was brought back keeps its copy only while there is room for both. */
Test(zswap, a_copy_stays_if_there_is_room)
{
	unsigned n;
	struct page *page;
	swp_entry_t *e;

	up_with("zswap.enabled=1 zswap.max_pool_percent=1");
	n = (unsigned)pages_of(1) * 2 - 8;
	e = calloc(n, sizeof(*e));
	disk_on(0, n + 1000);
	for (unsigned i = 0; i < n; i++)
		e[i] = page_out(fresh_page(i, PS / 8 * 7 / 16));
	page = page_in(e[0]);
	cr_expect(page_holds(page, 0, PS / 8 * 7 / 16));
	cr_expect(page_test(page, PG_dirty), "it has no copy any more");
	cr_expect_eq(now().stored_pages, n - 1);
	page_out(page);
	cr_expect_eq(now().stored_pages, n);
	quire_zswap_set_max_pool_percent(2);
	page = page_in(e[0]);
	cr_expect(page_holds(page, 0, PS / 8 * 7 / 16));
	cr_expect_not(page_test(page, PG_dirty));
	cr_expect_eq(now().stored_pages, n);
	forget(page, e[0]);
	for (unsigned i = 1; i < n; i++)
		forget(page_in(e[i]), e[i]);
	cr_expect_eq(dev[0].writes, 0);
	free(e);
	down();
}

/* A percentage that was lowered: the pool shrinks to it with what comes next. */
Test(zswap, a_smaller_limit)
{
	swp_entry_t e[64];

	up();
	disk_on(0, 1000);
	for (unsigned i = 0; i < 64; i++)
		e[i] = page_out(fresh_page(i, PS / 8 * 7 / 16));
	cr_expect_geq(now().pool_pages, 30);
	cr_expect_eq(quire_zswap_set_max_pool_percent(0), 0);
	for (unsigned i = 0; i < 64; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(page_holds(page, i, PS / 8 * 7 / 16));
		write_page(page, i + 100, 9);
		page_out(page);
	}
	cr_expect_lt(now().pool_pages, 3);
	for (unsigned i = 0; i < 64; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(page_holds(page, i + 100, 9));
		forget(page, e[i]);
	}
	down();
}

/* Small objects are many in a block: one store does not wait for all of them. */
Test(zswap, write_back_has_an_end)
{
	unsigned n = 250, gone = 0;
	swp_entry_t e[250];

	up();
	disk_on(0, 1000);
	for (unsigned i = 0; i < n; i++)
		e[i] = page_out(fresh_page(i, 2));
	cr_expect_eq(now().stored_pages, n);
	cr_expect_eq(quire_zswap_set_max_pool_percent(0), 0);
	for (unsigned k = 1; k <= 5; k++) {
		swp_entry_t f = page_out(fresh_page(1000, 2));
		unsigned most = k * 64 < n ? k * 64 : n;

		gone = (unsigned)now().written_back_pages;
		cr_expect_eq(gone, most, "%u stores: %u", k, gone);
		forget(page_in(f), f);
	}
	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(page_holds(page, i, 2));
		forget(page, e[i]);
	}
	down();
}

/* A write that fails when the pool is full: the page stays, with its contents. */
Test(zswap, write_back_fails)
{
	unsigned n, kept = 0;
	swp_entry_t *e;

	up_with("zswap.enabled=1 zswap.max_pool_percent=1");
	n = (unsigned)pages_of(1) * 2 + 100;
	e = calloc(n, sizeof(*e));
	disk_on(0, n + 1000);
	for (unsigned i = 0; i < n; i++) {
		dev[0].broken = true;
		e[i] = page_out(fresh_page(i, PS / 8 * 7 / 16));
	}
	cr_expect_gt(now().written_back_pages, 50);
	dev[0].broken = false;
	for (unsigned i = 0; i < n; i++) {
		struct page *page = page_in(e[i]);

		cr_assert(PageUptodate(page) && page_holds(page, i, PS / 8 * 7 / 16), "%u", i);
		kept += page_test(page, PG_error);
		forget(page, e[i]);
	}
	cr_expect_eq(kept, now().written_back_pages);
	cr_expect_eq(check_swap(), 0);
	free(e);
	down();
}

/* ---- failures --------------------------------------------------------------------------------- */

Test(zswap, damage_is_a_failed_read)
{
	struct page *page;
	zhandle_t h;
	swp_entry_t e;
	bool fresh;

	up();
	disk_on(0, 100);
	for (unsigned what = 0; what < 4; what++) {
		uint64_t *head, was[2];

		e = page_out(fresh_page(what, 40));
		h = swap_areas[0].clusters[0].compressed[swp_offset(e)];
		head = (uint64_t *)((char *)page_address(pfn_to_page(PFN(h >> ZHANDLE_PFN_SHIFT))) +
				    (h >> ZHANDLE_CHUNK_SHIFT) % ZCHUNKS * ZCHUNK_SIZE);
		memcpy(was, head, sizeof(was));
		if (what == 0)
			head[0] ^= 4; /* whose it is */
		else if (what == 1)
			head[0] = (head[0] & ((1ull << 40) - 1)) | (uint64_t)PS << 40; /* how long */
		else if (what == 2)
			head[1] = 1000; /* what the compressor goes by */
		else
			head[1]--;
		page = read_swap_cache_async(e, GFP_HIGHUSER_MOVABLE, &fresh);
		cr_assert(page && fresh);
		lock_page(page);
		cr_expect_not(PageUptodate(page));
		cr_expect(page_test(page, PG_error));
		cr_expect_eq(now().decompress_fail, what + 1);
		memcpy(head, was, sizeof(was));
		delete_from_swap_cache(page);
		drop(page);
		page = page_in(e);
		cr_expect(PageUptodate(page) && page_holds(page, what, 40));
		forget(page, e);
	}
	cr_expect_eq(dev[0].reads, 1);
	down();
}

/* Each allocation of a store fails in turn: the page goes to the device, whole. */
Test(zswap, no_memory_at_every_point)
{
	for (int kind = 0; kind < 2; kind++)
		for (unsigned n = 1;; n++) {
			unsigned long stored;
			struct page *page;
			swp_entry_t e;

			up();
			disk_on(0, 100);
			page = fresh_page(n, 40);
			quire_inject_set(kind ? QUIRE_INJECT_SLAB : QUIRE_INJECT_PAGE, n);
			e = page_out(page);
			quire_inject_set(kind ? QUIRE_INJECT_SLAB : QUIRE_INJECT_PAGE, 0);
			stored = now().stored_pages;
			cr_assert_eq(stored + dev[0].writes, 1);
			cr_assert_eq(now().reject_alloc_fail + now().reject_kmemcache_fail, 1 - stored);
			cr_assert_eq(check_swap(), 0);
			page = page_in(e);
			cr_assert(PageUptodate(page) && page_holds(page, n, 40));
			forget(page, e);
			cr_assert(!now().stored_pages);
			down();
			if (stored)
				break;
			cr_assert_lt(n, 20);
		}
}

/* What reclaim compresses does not take the last half of the min mark. */
Test(zswap, the_reserves_are_left_alone)
{
	unsigned long flags, left;
	struct page *hog = NULL, *page[64];
	swp_entry_t e[64];

	up();
	disk_on(0, 1000);
	for (unsigned i = 0; i < 64; i++)
		page[i] = fresh_page(i, PS / 8 * 7 / 16);
	flags = memalloc_noreclaim_save();
	for (;;) {
		struct page *p = alloc_pages(GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN, 0);

		if (!p)
			break;
		p->private = (unsigned long)hog;
		hog = p;
	}
	quire_drain();
	left = nr_free_buddy();
	for (unsigned i = 0; i < 64; i++) {
		cr_assert(add_to_swap(page[i]));
		e[i] = page_swap_entry(page[i]);
		swap_duplicate(e[i]);
		page_clear(page[i], PG_dirty);
		cr_assert(swap_writepage(page[i], NULL));
	}
	quire_drain();
	cr_expect_geq(nr_free_buddy() + 40, left, "%lu of %lu pages are free", nr_free_buddy(), left);
	cr_expect_gt(now().reject_alloc_fail + now().reject_kmemcache_fail, 20);
	memalloc_noreclaim_restore(flags);
	while (hog) {
		struct page *p = hog;

		hog = (struct page *)p->private;
		p->private = 0;
		put_page(p);
	}
	for (unsigned i = 0; i < 64; i++) {
		lock_page(page[i]);
		forget(page[i], e[i]);
	}
	down();
}

/* ---- spaces ----------------------------------------------------------------------------------- */

static void fill(uintptr_t at, unsigned n, uint64_t tag)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 8; k++)
			cr_assert_eq(store_at(at + i * PS + k * 8, hash64(tag + i) + k), 0);
}

static bool holds(uintptr_t at, unsigned n, uint64_t tag)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 8; k++)
			if (load_at(at + i * PS + k * 8) != hash64(tag + i) + k)
				return false;
	return true;
}

static void out(uintptr_t at, unsigned n)
{
	cr_assert_eq(quire_madvise(cur, at, n * PS, PAGEOUT), 0);
}

Test(zswap, a_space_out_and_in)
{
	struct quire_mm *parent, *child;

	up();
	disk_on(0, 1000);
	parent = cur;
	mmap_at(AT(0), 40, RW, PRIV | FIX);
	mmap_at(AT(100), 20, RW, SHAR | FIX);
	fill(AT(0), 40, 1);
	fill(AT(100), 20, 2);
	out(AT(0), 40);
	out(AT(100), 20);
	cr_expect_eq(now().stored_pages, 60);
	check_now();
	/* Two spaces name the same copies. */
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	run_space(child);
	cr_expect(holds(AT(0), 40, 1));
	fill(AT(0), 20, 3);
	check_now();
	run_space(parent);
	cr_expect(holds(AT(0), 40, 1));
	cr_expect(holds(AT(100), 20, 2));
	check_now();
	run_space(child);
	cr_expect(holds(AT(0), 20, 3));
	out(AT(0), 40);
	run_space(parent);
	space_put(child);
	check_now();
	out(AT(0), 40);
	munmap_at(AT(0), 40);
	munmap_at(AT(100), 20);
	check_now();
	cr_expect_eq(now().stored_pages, 0);
	cr_expect_eq(now().pool_pages, 0);
	cr_expect_eq(get_nr_swap_pages(), total_swap_pages());
	cr_expect_eq(dev[0].writes, 0);
	cr_expect_eq(dev[0].reads, 1);
	down();
}

/* Neighbours that are compressed are not brought in ahead: there is no device to be waited for. */
Test(zswap, nothing_is_read_ahead_from_the_pool)
{
	up();
	disk_on(0, 1000);
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	fill(AT(0), 64, 1);
	out(AT(0), 64);
	for (unsigned i = 10; i < 14; i++)
		cr_expect(holds(AT(i), 1, 1 + i));
	cr_expect_eq(now().loaded_pages, 4);
	cr_expect_eq(sum_vm_event(SWAP_RA), 0);
	munmap_at(AT(0), 64);
	/* One on the device among them: it is alone. */
	cr_assert_eq(quire_zswap_enable(false), 0);
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	fill(AT(0), 64, 1);
	out(AT(20), 1);
	cr_assert_eq(quire_zswap_enable(true), 0);
	out(AT(0), 64);
	cr_expect_eq(dev[0].writes, 1);
	cr_expect(holds(AT(20), 1, 21));
	cr_expect_eq(now().loaded_pages, 4);
	munmap_at(AT(0), 64);
	down();
}

Test(zswap, swapoff_with_compressed_pages)
{
	up_with("zswap.enabled=1 zswap.max_pool_percent=1");
	disk_on(0, 3000);
	mmap_at(AT(0), 400, RW, PRIV | FIX);
	mmap_at(AT(1000), 100, RW, SHAR | FIX);
	toy_spread = (unsigned)PS / 2;
	fill(AT(0), 400, 1);
	fill(AT(1000), 100, 2);
	out(AT(0), 400);
	out(AT(1000), 100);
	cr_expect_gt(now().stored_pages, 100);
	cr_expect_gt(now().pool_pages, 20);
	cr_assert_eq(quire_swapoff(&dev[0].dev), 0);
	check_now();
	cr_expect_eq(now().stored_pages, 0);
	cr_expect_eq(now().pool_pages, 0);
	cr_expect(holds(AT(0), 400, 1));
	cr_expect(holds(AT(1000), 100, 2));
	down();
}

/* A copy that is damaged: SIGBUS for who touches it, and after swapoff too. */
Test(zswap, damage_is_a_bus_error)
{
	zhandle_t h = 0;
	uint64_t v;

	up();
	disk_on(0, 100);
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2, 1);
	out(AT(0), 1);
	for (unsigned i = 0; i < SWAPFILE_CLUSTER && !h; i++)
		h = swap_areas[0].clusters[0].compressed[i];
	cr_assert(h);
	((uint64_t *)((char *)page_address(pfn_to_page(PFN(h >> ZHANDLE_PFN_SHIFT))) +
		      (h >> ZHANDLE_CHUNK_SHIFT) % ZCHUNKS * ZCHUNK_SIZE))[2]++;
	cr_expect_not(fake_user_load(AT(0), 8, &v, &(struct fault_info){0}));
	cr_expect_eq(last.sig, SIGBUS);
	cr_expect(holds(AT(1), 1, 2));
	cr_assert_eq(quire_swapoff(&dev[0].dev), 0);
	cr_expect_not(fake_user_load(AT(0), 8, &v, &(struct fault_info){0}));
	cr_expect_eq(last.sig, SIGBUS);
	munmap_at(AT(0), 2);
	check_now();
	down();
}

/* ---- an area without a device ----------------------------------------------------------------- */

static void memory_on(uint32_t pages)
{
	swapdev_init(&dev[1], 1, pages);
	memset(dev[1].data, 0xee, PS); /* nobody looks for a header */
	dev[1].broken = true;
	dev[1].dev.in_memory = true;
	cr_assert_eq(quire_swapon(&dev[1].dev, "/dev/zram0", 0), 0);
}

Test(zswap, an_area_in_memory)
{
	struct quire_swap_info info;

	up_with("");
	swapdev_init(&dev[1], 1, 1);
	dev[1].dev.in_memory = true;
	cr_expect_eq(quire_swapon(&dev[1].dev, NULL, 0), -EINVAL, "no slot");
	swapdev_free(&dev[1]);
	memory_on(300);
	cr_expect_not(now().enabled, "that is for devices");
	cr_assert(quire_swap_info(0, &info));
	cr_expect_eq(info.pages, 299);
	mmap_at(AT(0), 200, RW, PRIV | FIX);
	mmap_at(AT(300), 50, RW, SHAR | FIX);
	fill(AT(0), 200, 1);
	fill(AT(300), 50, 2);
	out(AT(0), 200);
	out(AT(300), 50);
	cr_expect_eq(now().stored_pages, 250);
	check_now();
	cr_expect(holds(AT(0), 200, 1));
	cr_expect(holds(AT(300), 50, 2));
	out(AT(0), 200);
	check_now();
	cr_expect_eq(dev[1].writes + dev[1].reads, 0);
	cr_assert_eq(quire_swapoff(&dev[1].dev), 0);
	cr_expect_eq(now().pool_pages, 0);
	cr_expect(holds(AT(0), 200, 1));
	cr_expect(holds(AT(300), 50, 2));
	check_now();
	down();
}

/* What cannot be compressed, or finds no room, stays in memory, and nothing of it is lost. */
Test(zswap, an_area_in_memory_may_say_no)
{
	up_with("");
	memory_on(1000);
	mmap_at(AT(0), 60, RW, PRIV | FIX);
	fill(AT(0), 60, 1);
	toy_spread = 1000000; /* hardly anything fits */
	out(AT(0), 60);
	cr_expect_gt(now().reject_compress_poor, 50);
	cr_expect_lt(now().stored_pages, 10);
	check_now();
	cr_expect(holds(AT(0), 60, 1));
	toy_spread = 0;
	/* No memory, but for what the pool has. */
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){.interval = 1, .probability = 100,
									.times = -1});
	out(AT(0), 60);
	quire_inject_attr(QUIRE_INJECT_PAGE, &(struct quire_fault_attr){0});
	cr_expect_gt(now().reject_alloc_fail, 0);
	check_now();
	cr_expect(holds(AT(0), 60, 1));
	out(AT(0), 60);
	cr_expect_eq(now().stored_pages, 60);
	check_now();
	cr_expect(holds(AT(0), 60, 1));
	munmap_at(AT(0), 60);
	cr_expect_eq(now().pool_pages, 0);
	down();
}

Test(zswap, both_kinds_share_the_pool)
{
	unsigned n;

	up_with("zswap.enabled=1 zswap.max_pool_percent=1");
	n = (unsigned)pages_of(1);
	swapdev_init(&dev[0], 0, 4 * n + 1000);
	cr_assert_eq(quire_swapon(&dev[0].dev, NULL, 0), 0);
	memory_on(n + 1);
	dev[1].broken = true;
	cr_assert_eq(quire_swapoff(&dev[0].dev), 0);
	cr_assert_eq(quire_swapon(&dev[0].dev, NULL, 0), 0); /* behind the other now */
	mmap_at(AT(0), 3 * n, RW, PRIV | FIX);
	toy_spread = 100;
	for (unsigned i = 0; i < 3 * n; i++)
		for (unsigned k = 0; k < PS / 8 / 2; k++)
			cr_assert_eq(store_at(AT(i) + k * 8, hash64(i) + k), 0);
	out(AT(0), 3 * n);
	cr_expect_gt(now().stored_pages, n);
	cr_expect_gt(dev[0].writes, n / 2);
	check_now();
	for (unsigned i = 0; i < 3 * n; i++)
		for (unsigned k = 0; k < PS / 8 / 2; k += 17)
			cr_assert_eq(load_at(AT(i) + k * 8), hash64(i) + k, "page %u", i);
	check_now();
	munmap_at(AT(0), 3 * n);
	cr_expect_eq(now().pool_pages, 0);
	down();
}
