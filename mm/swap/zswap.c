/* SPDX-License-Identifier: MIT */
/*
 * Compressed swap: the copy of a page that belongs to a slot lies in the pool (zpool.c) instead of on the
 * device. Each cluster has, while one of its slots is compressed, a table of handles, by slot.
 *
 *      swap_writepage --> zswap_store --------> slot: handle of a compressed copy
 *                            |  poor, no memory       |         |           |
 *                            v                        |         |           | zswap_shrink: the pool is
 *                      the device               zswap_load   zswap_drop     | full: decompressed, and
 *                            ^                  (a copy      (slot freed,   | written
 *                            |                   stays)       new contents) |
 *                            +----------------------------------------------+
 *
 * Whose copy is it? While a page is cached for the slot, that of who holds the page lock: store and load
 * need no other lock. While none is, the cluster's: it goes when the slot is freed. Write-back makes a
 * page for the slot first, and so is the owner; if there is one already, it is valid, and the copy can be
 * dropped as it is, if only the page remembers that nobody else has its contents (PG_dirty).
 *
 * Compressing needs a workspace. There is one for each CPU, taken by a bit of a word and not bound to its
 * CPU: nobody is kept from being pre-empted meanwhile, and who finds none waits. Who has one waits for
 * nothing, so write-back, which may need one, comes before a page is compressed and not in between.
 *
 * Memory for the pool comes from above half of the min mark only, though reclaim may have all: what is
 * compressed takes a page of memory now and gives one back later. Where there is no device, the reserves
 * are the only place to go, and the page that leaves comes back a moment later.
 *
 * Locks: page lock -> cluster -> zpool.lock. The counters are atomic.
 */
#include "mm/swap/zswap.h"

#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/memalloc.h"
#include "mm/base/mmzone.h"
#include "mm/base/param.h"
#include "mm/base/vmstat.h"
#include "mm/slab/slab.h"
#include "mm/swap/zpool.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>
#include <quire/compress.h>
#include <quire/os.h>

/* In a handle: the object, if there is one, is the word with which the page is filled. */
#define ZHANDLE_SAME	ZHANDLE_USER
#define ZHANDLE_ZEROS	ZHANDLE_SAME /* without an object */
#define MAX_WORKS	64u
/* What one store looks at: a block may hold 256 objects, and who stores waits. */
#define WRITE_BACK_BLOCKS  4
#define WRITE_BACK_OBJECTS 64u
#define DEFAULT_PERCENT 20u
/* Where swap has no device: of memory, so that what cannot be compressed well does not fill all. */
#define IN_MEMORY_PERCENT 50u
/* More is not worth keeping: it would free less than an eighth of a page. */
#define WORTH_BYTES ((unsigned)(PAGE_SIZE - PAGE_SIZE / 8 - ZHEAD_SIZE))

#define POOL_GFP      (__GFP_KSWAPD_RECLAIM | __GFP_NORETRY | __GFP_NOWARN | __GFP_HIGH | __GFP_NOMEMALLOC)
#define IN_MEMORY_GFP (POOL_GFP & ~(__GFP_HIGH | __GFP_NOMEMALLOC)) /* reclaim may have all there is */

struct zswap_work {
	void *buf;   /* a page */
	void *state; /* the compressor's */
};

static struct {
	bool enabled;		/* atomic: released after what it says is there, acquired by who stores */
	unsigned max_pool_percent; /* atomic */
	const struct quire_compressor *compressor; /* constant while the core runs */
	unsigned nworks;	/* 0: not started; constant from then on */
	struct zswap_work works[MAX_WORKS];
	uint64_t idle;		/* atomic: a bit for each that is */
	uint32_t waiters;	/* atomic: somebody sleeps on it */
	struct quire_zswap_info n; /* the counters, each atomic */
} zswap;

static void count(uint64_t *what, int64_t n)
{
	__atomic_fetch_add(what, (uint64_t)n, __ATOMIC_RELAXED);
}

/* ---- start and end ---------------------------------------------------------------------------- */

static void say(const char *what)
{
	char line[96];

	scnprintf(line, sizeof(line), "zswap: %s", what);
	os_log(line);
}

static void free_works(void)
{
	for (unsigned i = 0; i < MAX_WORKS; i++) {
		vfree(zswap.works[i].buf);
		zswap.works[i] = (struct zswap_work){NULL, NULL};
	}
}

int zswap_start(void)
{
	unsigned n = min(hal_cpu_count(), MAX_WORKS);
	bool ok = true;

	might_sleep();
	if (zswap.nworks)
		return 0;
	if (!zswap.compressor)
		return -ENODEV;
	for (unsigned i = 0; i < n && ok; i++) {
		zswap.works[i].buf = vzalloc(PAGE_SIZE + zswap.compressor->workspace);
		zswap.works[i].state = (char *)zswap.works[i].buf + PAGE_SIZE;
		ok = zswap.works[i].buf;
	}
	if (!ok || zpool_init()) {
		free_works();
		return -ENOMEM;
	}
	zswap.idle = n == MAX_WORKS ? UINT64_MAX : (1ull << n) - 1;
	__atomic_store_n(&zswap.nworks, n, __ATOMIC_RELEASE);
	return 0;
}

void zswap_init(void)
{
	uint64_t percent = boot_param_size("zswap.max_pool_percent", DEFAULT_PERCENT);

	memset(&zswap, 0, sizeof(zswap));
	zswap.compressor = init_config.compressor;
	zswap.max_pool_percent = percent <= 100 ? (unsigned)percent : DEFAULT_PERCENT;
	if (!boot_param_bool("zswap.enabled", false))
		return;
	if (!zswap.compressor)
		say("off: there is no compressor");
	else if (zswap_start())
		say("off: no memory");
	else
		zswap.enabled = true;
}

void zswap_exit(void)
{
	if (!zswap.nworks)
		return;
	free_works();
	zpool_exit();
	zswap.nworks = 0;
	zswap.enabled = false;
}

int quire_zswap_enable(bool on)
{
	int err = 0;

	might_sleep();
	swapon_lock();
	if (on)
		err = zswap_start();
	if (!err)
		__atomic_store_n(&zswap.enabled, on, __ATOMIC_RELEASE);
	swapon_unlock();
	return err;
}

int quire_zswap_set_max_pool_percent(unsigned percent)
{
	if (percent > 100)
		return -EINVAL;
	WRITE_ONCE(zswap.max_pool_percent, percent);
	return 0;
}

void quire_zswap_info(struct quire_zswap_info *info)
{
	const uint64_t *from = &zswap.n.stored_pages;
	uint64_t *to = &info->stored_pages;

	_Static_assert(offsetof(struct quire_zswap_info, decompress_fail) + sizeof(uint64_t) ==
			       sizeof(struct quire_zswap_info), "counters to the end");
	info->enabled = __atomic_load_n(&zswap.enabled, __ATOMIC_RELAXED);
	info->max_pool_percent = READ_ONCE(zswap.max_pool_percent);
	info->compressor = zswap.compressor ? zswap.compressor->name : NULL;
	info->pool_pages = __atomic_load_n(&zswap.nworks, __ATOMIC_ACQUIRE) ? zpool_pages() : 0;
	for (; to <= &info->decompress_fail; from++, to++)
		*to = __atomic_load_n(from, __ATOMIC_RELAXED);
}

/* ---- workspaces ------------------------------------------------------------------------------- */

static struct zswap_work *work_try_get(void)
{
	uint64_t idle = __atomic_load_n(&zswap.idle, __ATOMIC_RELAXED);

	while (idle)
		if (__atomic_compare_exchange_n(&zswap.idle, &idle, idle & (idle - 1), false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return &zswap.works[__builtin_ctzll(idle)];
	return NULL;
}

static struct zswap_work *work_get(void)
{
	struct zswap_work *w = work_try_get();

	might_sleep();
	while (!w) {
		/* As io_get(): said, then looked again; the other side gives back, then looks. */
		__atomic_store_n(&zswap.waiters, 1, __ATOMIC_SEQ_CST);
		w = work_try_get();
		if (!w) {
			os_wait(&zswap.waiters, &zswap.waiters, 1);
			w = work_try_get();
		}
	}
	return w;
}

static void work_put(struct zswap_work *w)
{
	__atomic_fetch_or(&zswap.idle, 1ull << (w - zswap.works), __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&zswap.waiters, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&zswap.waiters, 0, __ATOMIC_SEQ_CST);
		os_wake(&zswap.waiters, UINT32_MAX);
	}
}

static gfp_t pool_gfp(const struct swap_area *a)
{
	return a->dev->in_memory ? IN_MEMORY_GFP : POOL_GFP;
}

/* ---- the tables of handles -------------------------------------------------------------------- */

static zhandle_t handle_get(struct swap_area *a, uint64_t off)
{
	struct swap_cluster *c = slot_cluster(a, off);

	assert_held(&c->lock);
	return c->compressed ? c->compressed[off % SWAPFILE_CLUSTER] : 0;
}

/* The same for who has the page of the slot locked, or only wants a guess. */
static zhandle_t handle_peek(struct swap_area *a, uint64_t off)
{
	struct swap_cluster *c = slot_cluster(a, off);
	zhandle_t h;

	if (!READ_ONCE(c->compressed))
		return 0;
	spin_lock(&c->lock);
	h = handle_get(a, off);
	spin_unlock(&c->lock);
	return h;
}

/* The copy is the slot's from now on. False: no memory for a table. */
static bool handle_set(struct swap_area *a, uint64_t off, zhandle_t h)
{
	struct swap_cluster *c = slot_cluster(a, off);
	zhandle_t *fresh = NULL;

	if (!READ_ONCE(c->compressed))
		fresh = kzalloc(SWAPFILE_CLUSTER * sizeof(*fresh), pool_gfp(a));
	spin_lock(&c->lock);
	if (!c->compressed) {
		WRITE_ONCE(c->compressed, fresh);
		fresh = NULL;
	}
	/* It may have gone, with the last copy but this one, since it was looked for. */
	if (c->compressed) {
		ASSERT(!c->compressed[off % SWAPFILE_CLUSTER]);
		c->compressed[off % SWAPFILE_CLUSTER] = h;
		c->nr_compressed++;
	} else {
		h = 0;
	}
	spin_unlock(&c->lock);
	kfree(fresh);
	return h;
}

static void account(zhandle_t h, int sign)
{
	count(&zswap.n.stored_pages, sign);
	if (h & ZHANDLE_SAME)
		count(&zswap.n.same_filled_pages, sign);
	if (h != ZHANDLE_ZEROS)
		count(&zswap.n.stored_bytes, sign * (int64_t)zpool_len(h));
}

void zswap_drop(struct swap_area *a, uint64_t off)
{
	struct swap_cluster *c = slot_cluster(a, off);
	zhandle_t h = handle_get(a, off);

	assert_held(&c->lock);
	if (!h)
		return;
	c->compressed[off % SWAPFILE_CLUSTER] = 0;
	if (!--c->nr_compressed) {
		kfree(c->compressed);
		WRITE_ONCE(c->compressed, NULL);
	}
	account(h, -1);
	if (h != ZHANDLE_ZEROS)
		zpool_free(h);
}

static void drop_copy(struct swap_area *a, uint64_t off)
{
	struct swap_cluster *c = slot_cluster(a, off);

	spin_lock(&c->lock);
	zswap_drop(a, off);
	spin_unlock(&c->lock);
}

/* ---- contents --------------------------------------------------------------------------------- */

static bool page_same_filled(const void *p, uint64_t *value)
{
	const uint64_t *w = p;

	/* Most pages differ at one of their ends. */
	if (w[0] != w[PAGE_SIZE / sizeof(*w) - 1])
		return false;
	for (size_t i = 1; i < PAGE_SIZE / sizeof(*w); i++)
		if (w[i] != w[0])
			return false;
	*value = w[0];
	return true;
}

/* Fills the page, whose lock makes the copy the caller's, from it. False: it is damaged. */
static bool fill_from(struct page *page, zhandle_t h, uint64_t tag)
{
	uint64_t *to = page_address(page);
	struct zswap_work *w;
	unsigned len;
	bool ok;

	assert_page_locked(page);
	if (h == ZHANDLE_ZEROS) {
		memset(to, 0, PAGE_SIZE);
		return true;
	}
	len = zpool_len(h);
	if (zpool_tag(h) != tag || len > WORTH_BYTES)
		return false;
	w = work_get();
	if (h & ZHANDLE_SAME) {
		uint64_t value = *(const uint64_t *)zpool_read(h, w->buf);

		for (size_t i = 0; i < PAGE_SIZE / sizeof(*to); i++)
			to[i] = value;
		ok = len == sizeof(value);
	} else {
		ok = zswap.compressor->decompress(zpool_read(h, w->buf), len, to, PAGE_SIZE) == PAGE_SIZE;
	}
	work_put(w);
	return ok;
}

static unsigned long pool_limit(const struct swap_area *a)
{
	unsigned percent = READ_ONCE(zswap.max_pool_percent);

	if (a->dev->in_memory)
		percent = max(percent, IN_MEMORY_PERCENT);
	return totalram_pages() / 100 * percent + totalram_pages() % 100 * percent / 100;
}

static bool nearly_full(const struct swap_area *a)
{
	unsigned long limit = pool_limit(a);

	return zpool_pages() >= limit - limit / 8;
}

bool zswap_load(struct page *page)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_area *a = &swap_areas[swp_type(entry)];
	zhandle_t h = handle_peek(a, swp_offset(entry));

	assert_page_locked(page);
	if (!h && !a->dev->in_memory)
		return false;
	if (h && fill_from(page, h, entry.val)) {
		count(&zswap.n.loaded_pages, 1);
		SetPageUptodate(page);
		/* The copy spares the next compression, if there is room for both. */
		if (nearly_full(a)) {
			page_set(page, PG_dirty);
			drop_copy(a, swp_offset(entry));
		}
		return true;
	}
	/* As a read of the device that failed. */
	count(&zswap.n.decompress_fail, 1);
	page_set(page, PG_error);
	return true;
}

bool swap_is_compressed(swp_entry_t entry)
{
	struct swap_area *a = get_swap_device(entry);
	zhandle_t h;

	if (!a)
		return false;
	h = handle_peek(a, swp_offset(entry));
	put_swap_device(a);
	return h;
}

/* ---- a full pool ------------------------------------------------------------------------------ */

/* The object is the slot's, whose page the caller has locked. */
static bool is_copy(struct swap_area *a, uint64_t off, zhandle_t object)
{
	return (handle_peek(a, off) & ~ZHANDLE_SAME) == object;
}

/* A page that is in memory has the contents: the copy can go, as long as the page does not. True: it
 * has gone. */
static bool drop_for_cached(struct swap_area *a, struct page *page, zhandle_t h)
{
	swp_entry_t entry;
	bool ok;

	if (!trylock_page(page))
		return false;
	entry = page_swap_entry(page);
	ok = PageSwapCache(page) && swp_type(entry) == a->type && PageUptodate(page) &&
	     !page_test(page, PG_writeback) && is_copy(a, swp_offset(entry), h);
	if (ok) {
		page_set(page, PG_dirty);
		drop_copy(a, swp_offset(entry));
		count(&zswap.n.dropped_pages, 1);
	}
	unlock_page(page);
	return ok;
}

/* The contents go to the device, by a page that was made for them, locked, in the cache. True: the copy
 * has gone. */
static bool write_back_page(struct swap_area *a, struct page *page, zhandle_t h, struct swap_plug *plug)
{
	swp_entry_t entry = page_swap_entry(page);

	assert_page_locked(page);
	/* The slot was freed and is somebody else's by now. */
	if (!is_copy(a, swp_offset(entry), h)) {
		swap_readpage(page, plug);
		return false;
	}
	if (!fill_from(page, handle_peek(a, swp_offset(entry)), entry.val)) {
		/* Who needs it will see. */
		count(&zswap.n.decompress_fail, 1);
		delete_from_swap_cache(page);
		unlock_page(page);
		return false;
	}
	SetPageUptodate(page);
	drop_copy(a, swp_offset(entry));
	count(&zswap.n.written_back_pages, 1);
	page_set(page, PG_reclaim); /* it leaves memory as soon as it is written */
	swap_write_to_device(page, plug);
	return true;
}

/* One copy leaves the pool: *gone then. False: no memory to do it. */
static bool write_back(swp_entry_t entry, zhandle_t h, struct swap_plug *plug, bool *gone)
{
	struct swap_area *a = get_swap_device(entry);
	struct page *page;
	bool fresh = false, no_memory = false;

	if (!a)
		return true;
	if (a->dev->in_memory)
		page = lookup_swap_cache(entry);
	else
		page = swap_cache_page_to_write(entry, &fresh, &no_memory);
	if (page && fresh)
		*gone |= write_back_page(a, page, h, plug);
	else if (page)
		*gone |= drop_for_cached(a, page, h);
	if (page)
		put_page(page);
	put_swap_device(a);
	return !no_memory;
}

/* The objects of the block that was left alone for the longest go to their devices, *left of them at most.
 * False: that is over, for want of memory or of blocks. */
static bool shrink_block(unsigned *left, struct swap_plug *plug)
{
	struct zblock *b = zpool_take_oldest();
	bool gone = false, go_on = true;
	unsigned pos = 0;
	uint64_t tag;
	zhandle_t h;

	if (!b)
		return false;
	for (; go_on && *left && zpool_next(b, &pos, &h, &tag); --*left)
		go_on = write_back((swp_entry_t){tag}, h, plug, &gone);
	/* If there was too much in it, the rest comes next; if nothing could go, others do. */
	zpool_give_back(b, gone && !*left);
	return go_on && *left;
}

/* Makes room for one page. False: there is none. */
static bool make_room(unsigned long limit, struct swap_plug *plug)
{
	unsigned left = WRITE_BACK_OBJECTS;

	if (!zpool_is_full(limit, WORTH_BYTES))
		return true;
	count(&zswap.n.pool_limit_hit, 1);
	for (int i = 0; i < WRITE_BACK_BLOCKS; i++) {
		bool go_on = shrink_block(&left, plug);

		if (!zpool_is_full(limit, WORTH_BYTES))
			return true;
		if (!go_on)
			break;
	}
	count(&zswap.n.reject_reclaim_fail, 1);
	return false;
}

/* ---- storing ---------------------------------------------------------------------------------- */

/* Room for len bytes in the pool; 0, and it is counted why. */
static zhandle_t pool_alloc(struct swap_area *a, uint64_t tag, unsigned len, unsigned long limit)
{
	zhandle_t h;

	while (!(h = zpool_alloc(tag, len))) {
		switch (zpool_grow(pool_gfp(a), limit)) {
		case ZGROW_DONE:
			continue;
		case ZGROW_LIMIT: /* others were quicker */
			count(&zswap.n.pool_limit_hit, 1);
			return 0;
		case ZGROW_NO_PAGE:
			count(&zswap.n.reject_alloc_fail, 1);
			return 0;
		case ZGROW_NO_BLOCK:
			count(&zswap.n.reject_kmemcache_fail, 1);
			return 0;
		}
	}
	return h;
}

/* A copy of the page in the pool; 0: none could be made. */
static zhandle_t compress_page(struct swap_area *a, struct page *page, unsigned long limit)
{
	uint64_t tag = page_swap_entry(page).val, value;
	const void *from = page_address(page);
	struct zswap_work *w;
	zhandle_t h = 0;
	unsigned len;

	assert_page_locked(page);
	if (page_same_filled(from, &value)) {
		if (!value)
			return ZHANDLE_ZEROS;
		h = pool_alloc(a, tag, sizeof(value), limit);
		if (!h)
			return 0;
		zpool_write(h, &value);
		return h | ZHANDLE_SAME;
	}
	w = work_get();
	len = (unsigned)zswap.compressor->compress(from, PAGE_SIZE, w->buf, WORTH_BYTES, w->state);
	ASSERT(len <= WORTH_BYTES);
	if (!len)
		count(&zswap.n.reject_compress_poor, 1);
	else
		h = pool_alloc(a, tag, len, limit);
	if (h)
		zpool_write(h, w->buf);
	work_put(w);
	return h;
}

bool zswap_store(struct page *page, struct swap_plug *plug)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_area *a = &swap_areas[swp_type(entry)];
	unsigned long limit = pool_limit(a);
	zhandle_t h;

	assert_page_locked(page);
	ASSERT(PageSwapCache(page) && PageUptodate(page) && !page_test(page, PG_writeback));
	if (handle_peek(a, swp_offset(entry))) {
		count(&zswap.n.duplicate_entry, 1);
		drop_copy(a, swp_offset(entry));
	}
	if (!a->dev->in_memory && !__atomic_load_n(&zswap.enabled, __ATOMIC_ACQUIRE))
		return false;
	if (!make_room(limit, plug))
		return false;
	h = compress_page(a, page, limit);
	if (!h)
		return false;
	/* Before others can meet it: once it is the slot's, it may be dropped. */
	account(h, 1);
	if (handle_set(a, swp_offset(entry), h))
		return true;
	account(h, -1);
	count(&zswap.n.reject_kmemcache_fail, 1);
	if (h != ZHANDLE_ZEROS)
		zpool_free(h);
	return false;
}

/* ---- check ------------------------------------------------------------------------------------ */

/* Objects of a cluster, each of which says that it is this slot's. */
static unsigned long check_cluster(struct swap_area *a, struct swap_cluster *c, unsigned long *zeros,
				   long *broken)
{
	uint64_t first = (uint64_t)(c - a->clusters) * SWAPFILE_CLUSTER;
	unsigned long n = 0, objects = 0;

	spin_lock(&c->lock);
	for (unsigned i = 0; i < SWAPFILE_CLUSTER; i++) {
		enum slot_state state = slot_state(slot_get(a, first + i));
		zhandle_t h = c->compressed ? c->compressed[i] : 0;

		n += h != 0;
		*zeros += h == ZHANDLE_ZEROS;
		*broken += h && state < SLOT_COUNT;
		/* Where else should the contents be? */
		*broken += !h && state == SLOT_COUNT && a->dev->in_memory;
		if (h && h != ZHANDLE_ZEROS) {
			objects++;
			*broken += zpool_tag(h) != swp_entry(a->type, first + i).val ||
				   zpool_len(h) > WORTH_BYTES;
		}
	}
	*broken += n != c->nr_compressed || (c->compressed && !n);
	spin_unlock(&c->lock);
	return objects;
}

long check_zswap(void)
{
	unsigned long objects = 0, zeros = 0;
	long broken = 0;

	if (!zswap.nworks)
		return 0;
	for (unsigned i = 0; i < MAX_SWAPFILES; i++)
		for (uint32_t k = 0; READ_ONCE(swap_areas[i].users) && k < swap_areas[i].nr_clusters; k++)
			objects += check_cluster(&swap_areas[i], &swap_areas[i].clusters[k], &zeros,
						 &broken);
	broken += zpool_check(&broken) != objects;
	broken += __atomic_load_n(&zswap.n.stored_pages, __ATOMIC_RELAXED) != objects + zeros;
	if (broken)
		say("check: I42: handles, objects and their sums do not agree");
	return broken;
}
