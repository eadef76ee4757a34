/* SPDX-License-Identifier: MIT */
/*
 * Where compressed pages lie. Objects have any size up to almost a page, come and go one by one, and
 * memory is scarce when one comes: so one page more must be enough to go on, any hole must serve any
 * object that fits, and a page without an object must leave at once.
 *
 * A *block* is up to four pages, anywhere in memory; each is divided into 64 *chunks*, and an object is a
 * run of chunks of one block. It may begin in one page and end in the next, or objects of a little more
 * than half a page, which are frequent, would waste the other half. Two bit maps of a word a page say
 * which chunks are busy, and where objects begin. Chunks of a page that is not there are busy.
 *
 *	page[0]            page[1]            page[2]        page[3]
 *	|aaaaaa|bbbb|ccccc|ccccc|  |dddddddd|ee|  (absent)    |fffffff|     |
 *
 * Blocks hang in 64 lists by the longest free run that they have; an object goes into the shortest run
 * of a block that holds it (best fit). The block that an object joined last is the youngest of the list
 * by age: what stays at its end has objects that nobody has needed for long.
 *
 * An object is preceded by a word with its length and its *tag*, by which who walks a block (write-back)
 * knows whose it is. The handle names frame and chunk; page->private of a pool's page leads to its block.
 *
 * Lock: zpool.lock, for all but the bytes of an object, which are its owner's. Pages are asked for
 * without it, and given back after it.
 */
#include "mm/swap/zpool.h"

#include "lib/list.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/slab/slab.h"
#include <quire/abi.h>

#define ZBLOCK_CHUNKS (ZBLOCK_PAGES * ZCHUNKS)
#define NOWHERE	      ZBLOCK_CHUNKS
#define ZTAG_BITS     40

struct zblock {
	struct list_head link; /* the list of its room, unless taken */
	struct list_head age;  /* zpool.age, unless taken */
	struct list_head lack; /* zpool.lack, while a page is absent, unless taken */
	struct page *page[ZBLOCK_PAGES]; /* NULL: absent */
	uint64_t busy[ZBLOCK_PAGES];
	uint64_t start[ZBLOCK_PAGES];
	uint8_t npages;
	uint8_t room; /* the longest free run, 64 at most */
	bool taken;   /* by who writes its objects back */
};

static struct {
	spinlock_t lock;
	struct list_head room[ZCHUNKS + 1]; /* blocks by their room */
	uint64_t rooms;		/* bit n - 1: room[n] is not empty */
	struct list_head age;	/* blocks, the youngest first */
	struct list_head lack;	/* blocks that could take another page */
	unsigned long pages;	/* of all blocks, and those on their way in */
	unsigned long objects;
	struct kmem_cache *cache; /* of blocks; constant while the pool is up */
} zpool;

int zpool_init(void)
{
	spin_lock_init_rank(&zpool.lock, "zpool", RANK_ZPOOL);
	for (unsigned i = 0; i <= ZCHUNKS; i++)
		INIT_LIST_HEAD(&zpool.room[i]);
	INIT_LIST_HEAD(&zpool.age);
	INIT_LIST_HEAD(&zpool.lack);
	zpool.rooms = 0;
	zpool.pages = zpool.objects = 0;
	zpool.cache = kmem_cache_create("zblock", sizeof(struct zblock), 0, 0, NULL);
	return zpool.cache ? 0 : -ENOMEM;
}

static struct list_head *block_list(void)
{
	assert_held(&zpool.lock);
	return &zpool.age;
}

void zpool_exit(void)
{
	struct zblock *b;

	ASSERT(!zpool.objects);
	spin_lock(&zpool.lock);
	while (!list_empty(block_list())) {
		b = list_first_entry(block_list(), struct zblock, age);
		list_del(&b->age);
		/* A page that was fetched for an object that found another place. */
		for (unsigned i = 0; i < ZBLOCK_PAGES; i++)
			if (b->page[i])
				put_page(b->page[i]);
		kmem_cache_free(zpool.cache, b);
	}
	spin_unlock(&zpool.lock);
	kmem_cache_destroy(zpool.cache);
	zpool.cache = NULL;
	zpool.pages = 0;
}

/* ---- bit maps --------------------------------------------------------------------------------- */

static bool chunk_busy(const struct zblock *b, unsigned at)
{
	assert_held(&zpool.lock);
	return b->busy[at / ZCHUNKS] >> at % ZCHUNKS & 1;
}

/* The longest free run of the block; *at: where the shortest one of at least want chunks begins. */
static unsigned find_run(const struct zblock *b, unsigned want, unsigned *at)
{
	unsigned best = 0, run = 0, fit = NOWHERE + 1, n;

	assert_held(&zpool.lock);
	*at = NOWHERE;
	for (unsigned i = 0; i < ZBLOCK_CHUNKS; i += n) {
		uint64_t w = b->busy[i / ZCHUNKS] >> i % ZCHUNKS;
		unsigned left = ZCHUNKS - i % ZCHUNKS;
		bool busy = w & 1;

		if (busy)
			w = ~w;
		n = w ? min((unsigned)__builtin_ctzll(w), left) : left;
		run = busy ? 0 : run + n;
		/* It ends here, or at the end of a word and goes on. */
		if (run < want || (i + n < ZBLOCK_CHUNKS && !chunk_busy(b, i + n)))
			continue;
		best = max(best, run);
		if (run < fit) {
			fit = run;
			*at = i + n - run;
		}
	}
	return best;
}

/* n <= 64 chunks from `at` on are busy, or free. */
static void mark_run(struct zblock *b, unsigned at, unsigned n, bool busy)
{
	assert_held(&zpool.lock);
	ASSERT_DEBUG(n && at + n <= ZBLOCK_CHUNKS);
	while (n) {
		unsigned part = min(n, ZCHUNKS - at % ZCHUNKS);
		uint64_t mask = (part == ZCHUNKS ? UINT64_MAX : (1ull << part) - 1) << at % ZCHUNKS;

		ASSERT_DEBUG((b->busy[at / ZCHUNKS] & mask) == (busy ? 0 : mask));
		b->busy[at / ZCHUNKS] ^= mask;
		at += part;
		n -= part;
	}
}

static void toggle_start(struct zblock *b, unsigned at)
{
	assert_held(&zpool.lock);
	b->start[at / ZCHUNKS] ^= 1ull << at % ZCHUNKS;
}

static bool starts_at(const struct zblock *b, unsigned at)
{
	assert_held(&zpool.lock);
	return b->start[at / ZCHUNKS] >> at % ZCHUNKS & 1;
}

/* ---- lists ------------------------------------------------------------------------------------ */

static void leave_room(struct zblock *b)
{
	assert_held(&zpool.lock);
	list_del(&b->link);
	if (b->room && list_empty(&zpool.room[b->room]))
		zpool.rooms &= ~(1ull << (b->room - 1));
}

static void join_room(struct zblock *b)
{
	unsigned at, n = find_run(b, 1, &at);

	assert_held(&zpool.lock);
	b->room = (uint8_t)min(n, ZCHUNKS);
	list_add(&b->link, &zpool.room[b->room]);
	if (b->room)
		zpool.rooms |= 1ull << (b->room - 1);
}

/* The block has one page more, or was given back. */
static void join_lists(struct zblock *b)
{
	assert_held(&zpool.lock);
	join_room(b);
	list_add(&b->age, block_list());
	if (b->npages < ZBLOCK_PAGES)
		list_add(&b->lack, &zpool.lack);
}

static void leave_lists(struct zblock *b)
{
	assert_held(&zpool.lock);
	leave_room(b);
	list_del(&b->age);
	if (b->npages < ZBLOCK_PAGES)
		list_del(&b->lack);
}

/* ---- objects ---------------------------------------------------------------------------------- */

static unsigned chunks_of(unsigned len)
{
	return (unsigned)DIV_ROUND_UP(len + ZHEAD_SIZE, ZCHUNK_SIZE);
}

/* The block of an object, and where it begins there. */
static struct zblock *block_of(zhandle_t h, unsigned *at)
{
	const struct page *page = pfn_to_page(PFN(h >> ZHANDLE_PFN_SHIFT));

	ASSERT_DEBUG(h & ZHANDLE_OBJECT);
	*at = (unsigned)page->index * ZCHUNKS + (unsigned)(h >> ZHANDLE_CHUNK_SHIFT) % ZCHUNKS;
	return (struct zblock *)page->private;
}

static char *chunk_address(const struct zblock *b, unsigned at)
{
	return (char *)page_address(b->page[at / ZCHUNKS]) + at % ZCHUNKS * ZCHUNK_SIZE;
}

static uint64_t *head_of(zhandle_t h)
{
	const struct page *page = pfn_to_page(PFN(h >> ZHANDLE_PFN_SHIFT));

	return (uint64_t *)((char *)page_address(page) +
			    (h >> ZHANDLE_CHUNK_SHIFT) % ZCHUNKS * ZCHUNK_SIZE);
}

uint64_t zpool_tag(zhandle_t h)
{
	return *head_of(h) & ((1ull << ZTAG_BITS) - 1);
}

unsigned zpool_len(zhandle_t h)
{
	return (unsigned)(*head_of(h) >> ZTAG_BITS);
}

static zhandle_t handle_of(const struct zblock *b, unsigned at)
{
	return page_to_pfn(b->page[at / ZCHUNKS]).n << ZHANDLE_PFN_SHIFT |
	       (uint64_t)(at % ZCHUNKS) << ZHANDLE_CHUNK_SHIFT | ZHANDLE_OBJECT;
}

zhandle_t zpool_alloc(uint64_t tag, unsigned len)
{
	unsigned n = chunks_of(len), at;
	zhandle_t h = 0;
	struct zblock *b;
	uint64_t fit;

	ASSERT(n <= ZCHUNKS && tag >> ZTAG_BITS == 0);
	spin_lock(&zpool.lock);
	fit = zpool.rooms & (UINT64_MAX << (n - 1));
	if (fit) {
		b = list_first_entry(&zpool.room[__builtin_ctzll(fit) + 1], struct zblock, link);
		leave_room(b);
		find_run(b, n, &at);
		mark_run(b, at, n, true);
		toggle_start(b, at);
		h = handle_of(b, at);
		/* Before anybody can meet it on a walk. */
		*head_of(h) = (uint64_t)len << ZTAG_BITS | tag;
		join_room(b);
		list_del(&b->age);
		list_add(&b->age, block_list());
		zpool.objects++;
	}
	spin_unlock(&zpool.lock);
	return h;
}

/* Takes the page out of its block. */
static struct page *detach_page(struct zblock *b, unsigned i)
{
	struct page *page = b->page[i];

	assert_held(&zpool.lock);
	if (b->npages-- == ZBLOCK_PAGES && !b->taken)
		list_add(&b->lack, &zpool.lack);
	b->page[i] = NULL;
	b->busy[i] = UINT64_MAX;
	page->private = 0;
	page->index = 0;
	WRITE_ONCE(zpool.pages, zpool.pages - 1);
	return page;
}

void zpool_free(zhandle_t h)
{
	struct page *gone[2] = {NULL, NULL};
	unsigned at, n, left = 0;
	struct zblock *b;

	spin_lock(&zpool.lock);
	b = block_of(h, &at);
	BUG_ON(!starts_at(b, at));
	n = chunks_of(zpool_len(h));
	if (!b->taken)
		leave_room(b);
	toggle_start(b, at);
	mark_run(b, at, n, false);
	for (unsigned i = at / ZCHUNKS; i <= (at + n - 1) / ZCHUNKS; i++)
		if (!b->busy[i])
			gone[left++] = detach_page(b, i);
	zpool.objects--;
	if (!b->taken)
		join_room(b);
	if (!b->npages && !b->taken)
		leave_lists(b);
	else
		b = NULL;
	spin_unlock(&zpool.lock);
	while (left)
		put_page(gone[--left]);
	kmem_cache_free(zpool.cache, b);
}

void zpool_write(zhandle_t h, const void *src)
{
	unsigned at, len = zpool_len(h);
	const struct zblock *b = block_of(h, &at);
	size_t pos = at % ZCHUNKS * ZCHUNK_SIZE + ZHEAD_SIZE, part = min(PAGE_SIZE - pos, (size_t)len);

	memcpy(chunk_address(b, at) + ZHEAD_SIZE, src, part);
	if (part < len)
		memcpy(chunk_address(b, ALIGN_UP(at + 1, ZCHUNKS)), (const char *)src + part, len - part);
}

const void *zpool_read(zhandle_t h, void *scratch)
{
	unsigned at, len = zpool_len(h);
	const struct zblock *b = block_of(h, &at);
	size_t pos = at % ZCHUNKS * ZCHUNK_SIZE + ZHEAD_SIZE, part = min(PAGE_SIZE - pos, (size_t)len);

	if (part == len)
		return chunk_address(b, at) + ZHEAD_SIZE;
	memcpy(scratch, chunk_address(b, at) + ZHEAD_SIZE, part);
	memcpy((char *)scratch + part, chunk_address(b, ALIGN_UP(at + 1, ZCHUNKS)), len - part);
	return scratch;
}

/* ---- size ------------------------------------------------------------------------------------- */

unsigned long zpool_pages(void)
{
	return READ_ONCE(zpool.pages);
}

bool zpool_is_full(unsigned long limit, unsigned len)
{
	bool full;

	spin_lock(&zpool.lock);
	full = zpool.pages > limit ||
	       (zpool.pages == limit && !(zpool.rooms & (UINT64_MAX << (chunks_of(len) - 1))));
	spin_unlock(&zpool.lock);
	return full;
}

/* The page joins a block that lacks one, or the fresh one (NULL: none at hand). False: neither. */
static bool attach_page(struct page *page, struct zblock *fresh, bool *used_fresh)
{
	struct zblock *b = fresh;
	unsigned i = 0;

	assert_held(&zpool.lock);
	*used_fresh = false;
	if (!list_empty(&zpool.lack)) {
		b = list_first_entry(&zpool.lack, struct zblock, lack);
		leave_lists(b);
	} else if (b) {
		memset(b->busy, 0xff, sizeof(b->busy));
		*used_fresh = true;
	} else {
		return false;
	}
	while (b->page[i])
		i++;
	ASSERT(i < ZBLOCK_PAGES);
	b->page[i] = page;
	b->busy[i] = 0;
	b->npages++;
	page->private = (unsigned long)b;
	page->index = i;
	join_lists(b);
	return true;
}

enum zgrow zpool_grow(gfp_t gfp, unsigned long limit)
{
	struct zblock *fresh = NULL;
	enum zgrow ret = ZGROW_NO_PAGE;
	struct page *page;
	bool used, ok;

	spin_lock(&zpool.lock);
	ok = zpool.pages < limit;
	WRITE_ONCE(zpool.pages, zpool.pages + ok);
	spin_unlock(&zpool.lock);
	if (!ok)
		return ZGROW_LIMIT;
	page = alloc_pages(gfp, 0);
	if (page) {
		spin_lock(&zpool.lock);
		ok = attach_page(page, NULL, &used);
		spin_unlock(&zpool.lock);
		if (ok)
			return ZGROW_DONE;
		ret = ZGROW_NO_BLOCK;
		fresh = kmem_cache_zalloc(zpool.cache, gfp);
	}
	spin_lock(&zpool.lock);
	used = false;
	ok = page && attach_page(page, fresh, &used);
	WRITE_ONCE(zpool.pages, zpool.pages - !ok);
	spin_unlock(&zpool.lock);
	if (!used)
		kmem_cache_free(zpool.cache, fresh);
	if (ok)
		return ZGROW_DONE;
	if (page)
		put_page(page);
	return ret;
}

/* ---- walking the oldest ----------------------------------------------------------------------- */

struct zblock *zpool_take_oldest(void)
{
	struct zblock *b = NULL;

	spin_lock(&zpool.lock);
	if (!list_empty(block_list())) {
		b = list_entry(zpool.age.prev, struct zblock, age);
		leave_lists(b);
		b->taken = true;
	}
	spin_unlock(&zpool.lock);
	return b;
}

bool zpool_next(struct zblock *b, unsigned *pos, zhandle_t *h, uint64_t *tag)
{
	bool found = false;

	spin_lock(&zpool.lock);
	ASSERT(b->taken);
	for (; *pos < ZBLOCK_CHUNKS && !found; ++*pos)
		if (starts_at(b, *pos)) {
			*h = handle_of(b, *pos);
			*tag = zpool_tag(*h);
			found = true;
		}
	spin_unlock(&zpool.lock);
	return found;
}

void zpool_give_back(struct zblock *b, bool oldest)
{
	struct zblock *empty = b;

	spin_lock(&zpool.lock);
	b->taken = false;
	if (b->npages) {
		join_lists(b);
		if (oldest)
			list_move_tail(&b->age, block_list());
		empty = NULL;
	}
	spin_unlock(&zpool.lock);
	kmem_cache_free(zpool.cache, empty);
}

/* ---- check ------------------------------------------------------------------------------------ */

/* Objects of a block, if they and the free runs fill it without gap or overlap. */
static unsigned long check_block(const struct zblock *b, long *broken)
{
	unsigned long objects = 0;
	unsigned at = 0, npages = 0;

	assert_held(&zpool.lock);
	while (at < ZBLOCK_CHUNKS) {
		const struct page *page = b->page[at / ZCHUNKS];
		unsigned n = 1;

		if (at % ZCHUNKS == 0 && page) {
			npages++;
			*broken += (struct zblock *)page->private != b || page->index != at / ZCHUNKS;
		}
		if (starts_at(b, at)) {
			n = page ? chunks_of(zpool_len(handle_of(b, at))) : 1;
			*broken += !page || at + n > ZBLOCK_CHUNKS;
			for (unsigned i = at; i < min(at + n, ZBLOCK_CHUNKS); i++)
				*broken += !chunk_busy(b, i) ||
					   (i > at && starts_at(b, i));
			/* The page in which it ends is met here. */
			if ((at + n - 1) / ZCHUNKS != at / ZCHUNKS && (at + n) % ZCHUNKS)
				npages += b->page[at / ZCHUNKS + 1] != NULL;
			objects++;
		} else {
			*broken += chunk_busy(b, at) != !page;
		}
		at += n;
	}
	*broken += npages != b->npages;
	return objects;
}

unsigned long zpool_check(long *broken)
{
	unsigned long objects = 0, pages = 0;
	struct zblock *b;

	if (!zpool.cache)
		return 0;
	spin_lock(&zpool.lock);
	list_for_each_entry(b, block_list(), age) {
		unsigned at, room = find_run(b, 1, &at);

		objects += check_block(b, broken);
		pages += b->npages;
		*broken += b->room != min(room, ZCHUNKS) || b->taken || !b->npages;
	}
	for (unsigned i = 1; i <= ZCHUNKS; i++)
		*broken += (zpool.rooms >> (i - 1) & 1) == list_empty(&zpool.room[i]);
	*broken += objects != zpool.objects || pages != zpool.pages;
	spin_unlock(&zpool.lock);
	return objects;
}
