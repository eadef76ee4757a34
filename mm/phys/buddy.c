/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator: free blocks of each zone, kept as bits. A pageblock has one bit for each of
 * its 512 frames; as free blocks are always merged as far as they can be (I4), these bits alone say
 * which blocks there are: a block of order o is 2^o aligned set bits whose buddy is not all set. So
 * a page that is freed touches its pageblock's line and no other struct page, in whatever order
 * pages come.
 *
 * free_area[o].free_list[type] links the pageblocks of that type that have a block of order o; a
 * pageblock joins when its first such block appears and leaves with the last one. All free pages of
 * a pageblock are on the lists of its type. Blocks of order 9 are whole pageblocks, of order 10
 * two of one type, of which the first stands on the list.
 *
 * Everything here needs zone->lock; costs do not depend on the size of memory.
 */
#include "mm/phys/buddy.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/phys/page_debug.h"

/* Copies with constants in them are what the speed is for; a build that counts wants none. */
#ifdef __OPTIMIZE__
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE
#endif
#define WORD_ORDER 6 /* frames of one word of bits */
#define TWICE_FREE "on a per-CPU list and in the buddy"
#define OFFSET(pfn) ((unsigned)((pfn) & (PAGEBLOCK_PAGES - 1)))

/* Bits at which a block of each order may start. */
static const uint64_t starts[WORD_ORDER + 1] = {
	~0ull,		       0x5555555555555555ull, 0x1111111111111111ull, 0x0101010101010101ull,
	0x0001000100010001ull, 0x0000000100000001ull, 1ull,
};

/* The 2^order lowest bits. */
static ALWAYS_INLINE uint64_t low_bits(unsigned order)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	return order >= WORD_ORDER ? ~0ull : (1ull << (1u << order)) - 1;
}

static void area_count(struct free_area *a, long n)
{
	ASSERT_DEBUG_I("I5", (long)(a->nr_free + n) >= 0);
	__atomic_store_n(&a->nr_free, a->nr_free + n, __ATOMIC_RELAXED);
}

/* A plain store of a word: readers of watermarks take no lock. Isolated pages are not for use. */
static void zone_add_free(struct zone *z, unsigned mt, long pages)
{
	assert_held(&z->lock);
	if (likely(mt != MIGRATE_ISOLATE))
		__atomic_store_n(&z->nr_free, z->nr_free + pages, __ATOMIC_RELAXED);
}

/* Counts of a zone that change together: a batch sums them up and settles once. */
struct tally {
	long blocks[MAX_ORDER], pages;
	unsigned joined[WORD_ORDER + 1]; /* single pages that made a block of that order */
};

static void settle(struct zone *z, struct tally *t)
{
	unsigned larger = t->joined[WORD_ORDER];

	assert_held(&z->lock);
	/* Each made one block out of itself and a block of every lower order. */
	for (unsigned o = WORD_ORDER; o-- > 0; larger += t->joined[o])
		t->blocks[o] += (long)t->joined[o] - larger;
	for (unsigned o = 0; o < MAX_ORDER; o++)
		if (t->blocks[o])
			area_count(&z->free_area[o], t->blocks[o]);
	zone_add_free(z, MIGRATE_MOVABLE, t->pages);
}

/* ---- bits ------------------------------------------------------------------------------------ */

/* A relaxed store: PageBuddy() looks without the lock. */
static ALWAYS_INLINE void store_word(struct pageblock *b, unsigned w, uint64_t v)
{
	ASSERT_DEBUG(w < PAGEBLOCK_WORDS);
	__atomic_store_n(&b->free[w], v, __ATOMIC_RELAXED);
}

/* All of the block's frames are free; order < PAGEBLOCK_ORDER. */
static ALWAYS_INLINE bool range_free(const struct pageblock *b, unsigned off, unsigned order)
{
	ASSERT_DEBUG(off + (1u << order) <= PAGEBLOCK_PAGES);
	if (order < WORD_ORDER) {
		uint64_t m = low_bits(order) << (off & 63);

		return (b->free[off >> WORD_ORDER] & m) == m;
	}
	for (unsigned w = off >> WORD_ORDER; w < (off + (1u << order)) >> WORD_ORDER; w++)
		if (~b->free[w])
			return false;
	return true;
}

/* One of the block's frames is free; order <= PAGEBLOCK_ORDER. */
static ALWAYS_INLINE bool range_touched(const struct pageblock *b, unsigned off, unsigned order)
{
	ASSERT_DEBUG(off + (1u << order) <= PAGEBLOCK_PAGES);
	if (order < WORD_ORDER)
		return b->free[off >> WORD_ORDER] & low_bits(order) << (off & 63);
	for (unsigned w = off >> WORD_ORDER; w < (off + (1u << order)) >> WORD_ORDER; w++)
		if (b->free[w])
			return true;
	return false;
}

static ALWAYS_INLINE void set_range(struct pageblock *b, unsigned off, unsigned order, bool on)
{
	uint64_t m = low_bits(order) << (off & 63);
	unsigned w = off >> WORD_ORDER, end = (off + (1u << order)) >> WORD_ORDER;

	ASSERT_DEBUG(IS_ALIGNED(off, 1u << order));
	do
		store_word(b, w, on ? b->free[w] | m : b->free[w] & ~m);
	while (order > WORD_ORDER && ++w < end);
}

/* c: where 2^order aligned frames are free. Where twice as many are. */
static ALWAYS_INLINE uint64_t pairs_in_word(uint64_t c, unsigned order)
{
	ASSERT_DEBUG(order < WORD_ORDER);
	return c & c >> (1u << order) & starts[order + 1];
}

/* The bits at which blocks of exactly this order, smaller than a word, start. */
static uint64_t blocks_in_word(uint64_t word, unsigned order)
{
	uint64_t c = word, pair;

	ASSERT_DEBUG(order < WORD_ORDER);
	for (unsigned o = 0; o < order; o++)
		c = pairs_in_word(c, o);
	pair = pairs_in_word(c, order);
	return c & ~(pair | pair << (1u << order));
}

/* Where the first block of exactly this order is; PAGEBLOCK_PAGES: there is none. */
static unsigned find_block(const struct pageblock *b, unsigned order)
{
	unsigned step = 1u << order;

	ASSERT_DEBUG(order < MAX_ORDER);
	if (order >= PAGEBLOCK_ORDER)
		return range_free(b, 0, PAGEBLOCK_ORDER) ? 0 : PAGEBLOCK_PAGES;
	if (order >= WORD_ORDER) {
		for (unsigned off = 0; off < PAGEBLOCK_PAGES; off += step)
			if (range_free(b, off, order) && !range_free(b, off ^ step, order))
				return off;
		return PAGEBLOCK_PAGES;
	}
	for (unsigned w = 0; w < PAGEBLOCK_WORDS; w++) {
		uint64_t m = blocks_in_word(b->free[w], order);

		if (m)
			return (w << WORD_ORDER) + lowest_bit(m);
	}
	return PAGEBLOCK_PAGES;
}

unsigned block_nr_free(const struct pageblock *b)
{
	unsigned n = 0;

	for (unsigned w = 0; w < PAGEBLOCK_WORDS; w++)
		n += hweight64(b->free[w]);
	return n;
}

unsigned block_count(const struct pageblock *b, unsigned order)
{
	unsigned n = 0;

	ASSERT(order < MAX_ORDER);
	if (order >= PAGEBLOCK_ORDER)
		return b->nr[order]; /* the bits of one pageblock do not tell 9 from 10 */
	if (order < WORD_ORDER) {
		for (unsigned w = 0; w < PAGEBLOCK_WORDS; w++)
			n += hweight64(blocks_in_word(b->free[w], order));
		return n;
	}
	for (unsigned off = 0; off < PAGEBLOCK_PAGES; off += 1u << order)
		n += range_free(b, off, order) && !range_free(b, off ^ 1u << order, order);
	return n;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Whether the type has such blocks, for the watermark checks, which take no lock. */
static void area_note(struct free_area *a, unsigned mt)
{
	unsigned bit = 1u << mt;

	ASSERT_DEBUG(mt < MIGRATE_TYPES);
	__atomic_store_n(&a->types, list_empty(&a->free_list[mt]) ? a->types & ~bit : a->types | bit,
			 __ATOMIC_RELAXED);
}

/* At the end: a pageblock that was in use before is emptied first. */
static void block_link_add(struct zone *z, struct pageblock *b, unsigned order, unsigned mt)
{
	struct free_area *a = &z->free_area[order];

	assert_held(&z->lock);
	ASSERT_DEBUG_I("I2", b->nr[order]);
	list_add_tail(block_link(b, order), &a->free_list[mt]);
	area_note(a, mt);
}

static void block_link_del(struct zone *z, struct pageblock *b, unsigned order, unsigned mt)
{
	assert_held(&z->lock);
	ASSERT_DEBUG_I("I2", !b->nr[order]);
	list_del(block_link(b, order));
	area_note(&z->free_area[order], mt);
}

/* t: NULL where the caller has no batch to sum up. */
static ALWAYS_INLINE void block_add_in(struct zone *z, struct pageblock *b, unsigned order,
				       unsigned mt, struct tally *t)
{
	assert_held(&z->lock);
	if (unlikely(!b->nr[order]++))
		block_link_add(z, b, order, mt);
	if (t)
		t->blocks[order]++;
	else
		area_count(&z->free_area[order], 1);
}

static ALWAYS_INLINE void block_del_in(struct zone *z, struct pageblock *b, unsigned order,
				       unsigned mt, struct tally *t)
{
	assert_held(&z->lock);
	if (unlikely(!--b->nr[order]))
		block_link_del(z, b, order, mt);
	if (t)
		t->blocks[order]--;
	else
		area_count(&z->free_area[order], -1);
}

static void block_add(struct zone *z, struct pageblock *b, unsigned order, unsigned mt)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	block_add_in(z, b, order, mt, NULL);
}

static void block_del(struct zone *z, struct pageblock *b, unsigned order, unsigned mt)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	ASSERT_DEBUG_I("I2", b->nr[order]);
	block_del_in(z, b, order, mt, NULL);
}

/* Types that may share a block: what is set aside must not spread by merging. */
static bool migratetype_is_mergeable(unsigned mt)
{
	ASSERT_DEBUG(mt < MIGRATE_TYPES);
	return mt < MIGRATE_PCPTYPES;
}

static struct pageblock *neighbour(struct pageblock *b)
{
	return b->pfn & PAGEBLOCK_PAGES ? b - 1 : b + 1;
}

/* b has just become wholly free: with its neighbour, if that is too, it makes the largest block.
 * The neighbour takes b's type, so that all of the block is on one list. */
static void add_whole_block(struct zone *z, struct pageblock *b, unsigned mt)
{
	struct pageblock *n = neighbour(b);
	unsigned nmt = block_type(n);

	assert_held(&z->lock);
	ASSERT_DEBUG_I("I2", !b->nr[PAGEBLOCK_ORDER]);
	if (!n->nr[PAGEBLOCK_ORDER] ||
	    (nmt != mt && !(migratetype_is_mergeable(mt) && migratetype_is_mergeable(nmt)))) {
		block_add(z, b, PAGEBLOCK_ORDER, mt);
		return;
	}
	block_del(z, n, PAGEBLOCK_ORDER, nmt);
	__atomic_store_n(&pageblock_types[n->pfn >> PAGEBLOCK_ORDER], (uint8_t)mt,
			 __ATOMIC_RELAXED);
	block_add(z, min(b, n), MAX_ORDER - 1, mt);
}

/* The words of a block that is not on a list yet merge with those around them. */
static void merge_words(struct zone *z, struct pageblock *b, unsigned off, unsigned o, unsigned mt,
			struct tally *t)
{
	assert_held(&z->lock);
	ASSERT_DEBUG(o >= WORD_ORDER);
	for (; o < PAGEBLOCK_ORDER && range_free(b, off ^ 1u << o, o); o++) {
		block_del_in(z, b, o, mt, t);
		off &= ~(1u << o);
	}
	if (o == PAGEBLOCK_ORDER)
		add_whole_block(z, b, mt);
	else
		block_add_in(z, b, o, mt, t);
}

/* Sets the block's bits and merges upwards. False: some were set. Below a word's size all that
 * happens in one register. */
static ALWAYS_INLINE bool free_block(struct zone *z, uint64_t pfn, unsigned order, unsigned mt,
				     struct tally *t)
{
	struct pageblock *b = pfn_to_block(pfn);
	unsigned off = OFFSET(pfn), o = order;

	assert_held(&z->lock);
	ASSERT_DEBUG(order <= PAGEBLOCK_ORDER);
	if (unlikely(range_touched(b, off, order)))
		return false;
	set_range(b, off, order, true);
	if (o < WORD_ORDER) {
		uint64_t word = b->free[off >> WORD_ORDER];

		for (uint64_t m; o < WORD_ORDER; o++) {
			m = low_bits(o) << ((off ^ 1u << o) & 63);
			if ((word & m) != m)
				break;
			block_del_in(z, b, o, mt, t);
			off &= ~(1u << o);
		}
	}
	if (unlikely(o >= WORD_ORDER))
		merge_words(z, b, off, o, mt, t);
	else
		block_add_in(z, b, o, mt, t);
	return true;
}

bool __free_one_page(struct page *page, struct zone *z, unsigned order, unsigned mt)
{
	uint64_t pfn = page_to_pfn(page).n;

	assert_held(&z->lock);
	ASSERT_DEBUG(page_zone(page) == z);
	ASSERT_DEBUG_I("I3", IS_ALIGNED(pfn, 1ull << order));
	if (unlikely(order == MAX_ORDER - 1)) {
		/* Half by half; both find each other. */
		unsigned mt2 = block_type(pfn_to_block(pfn) + 1);

		return __free_one_page(page, z, order - 1, mt) &&
		       __free_one_page(page + PAGEBLOCK_PAGES, z, order - 1, mt2);
	}
	if (unlikely(!free_block(z, pfn, order, mt, NULL)))
		return false;
	zone_add_free(z, mt, 1l << order);
	return true;
}

/* n blocks of one order more, or fewer. */
static void block_change(struct zone *z, struct pageblock *b, unsigned order, unsigned mt, int n,
			 struct tally *t)
{
	unsigned before = b->nr[order];

	assert_held(&z->lock);
	ASSERT_DEBUG_I("I2", (int)before + n >= 0);
	t->blocks[order] += n;
	b->nr[order] = (uint16_t)(before + n);
	if (!before)
		block_link_add(z, b, order, mt);
	else if (!b->nr[order])
		block_link_del(z, b, order, mt);
}

/* Several frames of one word at once; none of them is free. Which blocks that makes and unmakes is
 * the difference of the word before and after; only a word that is full now merges further. */
static void free_in_word(struct zone *z, struct pageblock *b, unsigned w, uint64_t mask,
			 unsigned mt, struct tally *t)
{
	uint64_t old = b->free[w], now = old | mask;

	assert_held(&z->lock);
	ASSERT_DEBUG_I("I6", !(old & mask));
	store_word(b, w, now);
	for (unsigned o = 0; o < WORD_ORDER && now; o++) {
		uint64_t was = old, is = now;

		old = pairs_in_word(was, o);
		now = pairs_in_word(is, o);
		was &= ~(old | old << (1u << o));
		is &= ~(now | now << (1u << o));
		if (was != is) {
			int n = (int)hweight64(is) - (int)hweight64(was);

			if (n)
				block_change(z, b, o, mt, n, t);
		}
	}
	if (now)
		merge_words(z, b, w << WORD_ORDER, WORD_ORDER, mt, t);
}

/* Pages of a list that lie in one word, up to most of them; returns how many they were. Those that
 * the bits call free already stay out. */
static unsigned free_word_of_list(struct zone *z, struct page *const *pages, unsigned most,
				  struct tally *t)
{
	uint64_t pfn = page_to_pfn(pages[0]).n, first = pfn & ~63ull, mask = 0;
	struct pageblock *b = pfn_to_block(pfn);
	unsigned mt = block_type(b), w = OFFSET(pfn) >> WORD_ORDER, n = 0;

	assert_held(&z->lock);
	ASSERT_DEBUG(most);
	do {
		uint64_t bit = 1ull << (pfn & 63);

		if (unlikely((mask | b->free[w]) & bit))
			bad_page(pages[n], TWICE_FREE, 0);
		mask |= bit & ~b->free[w];
		set_pcp_flag(pages[n], false);
	} while (++n < most && (pfn = page_to_pfn(pages[n]).n) - first < 64);
	free_in_word(z, b, w, mask, mt, t);
	if (likely(mt != MIGRATE_ISOLATE))
		t->pages += hweight64(mask);
	return n;
}

/* The order of the block that a free frame of this word belongs to. No branch: where pages come in
 * random order none could be foretold. */
static ALWAYS_INLINE unsigned order_in_word(uint64_t c, unsigned bit)
{
	unsigned order = 0;

	ASSERT_DEBUG(bit < 64);
	for (unsigned o = 0; o < WORD_ORDER; o++) {
		c = pairs_in_word(c, o);
		order += c >> (bit & -(2u << o)) & 1;
	}
	return order;
}

/* A page that made a block of order o with one block of each lower order: what that does to the
 * counts, four orders a word. Where no count falls below 0 no borrow leaves its 16 bits. */
#define LANES 0x0001000100010001ull
static const uint64_t joined[WORD_ORDER + 1][2] = {
	{1ull, 0},
	{(1ull << 16) - 1, 0},
	{(1ull << 32) - 0x10001, 0},
	{(1ull << 48) - 0x100010001, 0},
	{-LANES, 1},
	{-LANES, (1ull << 16) - 1},
	{-LANES, -0x10001ull},
};

/* The orders (in a word of four counts, the first of them given) that had no block or have none. */
static void relink(struct zone *z, struct pageblock *b, uint64_t crossed, unsigned first,
		   unsigned mt)
{
	assert_held(&z->lock);
	for (; crossed; crossed &= crossed - 1) {
		unsigned order = first + lowest_bit(crossed) / 16;

		if (b->nr[order])
			block_link_add(z, b, order, mt);
		else
			block_link_del(z, b, order, mt);
	}
}

/* Counts stay below 0x8000, so adding 0x7fff sets the top bit of all that are not 0. */
static ALWAYS_INLINE uint64_t not_zero(uint64_t lanes)
{
	return (lanes + LANES * 0x7fff) & LANES << 15;
}

static void retire_pageblock(struct zone *z, struct pageblock *b, unsigned order, unsigned mt);

/* free_block() for a single page. False, too, if the pageblock was damaged and is retired. */
static ALWAYS_INLINE bool free_single(struct zone *z, struct pageblock *b, unsigned off,
				      unsigned mt, struct tally *t)
{
	unsigned w = off >> WORD_ORDER, bit = off & 63, o;
	uint64_t word = b->free[w], low = b->nr_of_4[0], high = b->nr_of_4[1];
	uint64_t low_now, high_now, low_crossed, high_crossed;

	assert_held(&z->lock);
	ASSERT_DEBUG(off < PAGEBLOCK_PAGES);
	if (unlikely(word >> bit & 1))
		return false;
	word |= 1ull << bit;
	o = order_in_word(word, bit);
	low_now = low + joined[o][0];
	high_now = high + joined[o][1];
	/* Below 0: the bits name a block that the counts do not have. */
	if (unlikely((low_now | high_now) & LANES << 15)) {
		retire_pageblock(z, b, o, mt);
		return false;
	}
	store_word(b, w, word);
	b->nr_of_4[0] = low_now;
	b->nr_of_4[1] = high_now;
	t->joined[o]++;
	low_crossed = not_zero(low) ^ not_zero(low_now);
	high_crossed = not_zero(high) ^ not_zero(high_now);
	if (unlikely(low_crossed | high_crossed)) {
		relink(z, b, low_crossed, 0, mt);
		relink(z, b, high_crossed, 4, mt);
	}
	if (unlikely(o == WORD_ORDER))
		merge_words(z, b, off & ~63u, WORD_ORDER, mt, t);
	return true;
}

void free_single_pages(struct zone *z, struct page *const *pages, unsigned n)
{
	struct tally t = {0};

	assert_held(&z->lock);
	for (unsigned i = 0; i < n;) {
		uint64_t pfn = page_to_pfn(pages[i]).n;
		struct pageblock *b = pfn_to_block(pfn);
		unsigned mt = get_pageblock_migratetype(pages[i]);

		if (i + 1 < n && (page_to_pfn(pages[i + 1]).n ^ pfn) < 64) {
			i += free_word_of_list(z, pages + i, n - i, &t);
			continue;
		}
		set_pcp_flag(pages[i], false);
		if (unlikely(!free_single(z, b, OFFSET(pfn), mt, &t)))
			bad_page(pages[i], TWICE_FREE, 0);
		else
			t.pages += mt != MIGRATE_ISOLATE;
		i++;
	}
	settle(z, &t);
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* The block of order high at off has just left its list: give back all but 2^low pages. */
static void expand(struct zone *z, struct pageblock *b, unsigned low, unsigned high, unsigned mt)
{
	assert_held(&z->lock);
	ASSERT_DEBUG(low <= high);
	if (high == MAX_ORDER - 1 && low < high) {
		high--;
		block_add(z, b + 1, high, mt);
	}
	while (high > low) {
		high--;
		block_add(z, b, high, mt);
	}
}

/* Bits and lists disagree: struct pageblock was overwritten. Its free pages are never handed out
 * again; everything else goes on. */
static void retire_pageblock(struct zone *z, struct pageblock *b, unsigned order, unsigned mt)
{
	unsigned long lost = 0;

	assert_held(&z->lock);
	/* As the counts have it: the bits may be what was overwritten. */
	for (unsigned o = 0; o < MAX_ORDER; o++)
		lost += (unsigned long)b->nr[o] << o;
	bad_block(b, order, lost);
	zone_add_free(z, mt, -(long)lost);
	for (unsigned w = 0; w < PAGEBLOCK_WORDS; w++) {
		store_word(b, w, 0);
		if (b->nr[MAX_ORDER - 1])
			store_word(b + 1, w, 0);
	}
	for (unsigned o = 0; o < MAX_ORDER; o++)
		while (b->nr[o])
			block_del(z, b, o, mt);
}

/* The first block of order have in b, cut to order want; NULL: there is none after all. */
static struct page *take_block(struct zone *z, struct pageblock *b, unsigned want, unsigned have,
			       unsigned mt)
{
	unsigned off = find_block(b, have);

	assert_held(&z->lock);
	ASSERT_DEBUG(want <= have);
	if (unlikely(off == PAGEBLOCK_PAGES)) {
		retire_pageblock(z, b, have, mt);
		return NULL;
	}
	block_del(z, b, have, mt);
	set_range(b, off, min(want, (unsigned)PAGEBLOCK_ORDER), false);
	if (want == MAX_ORDER - 1)
		set_range(b + 1, 0, PAGEBLOCK_ORDER, false);
	if (have > want)
		expand(z, b, want, have, mt);
	zone_add_free(z, mt, -(1l << want));
	return pfn_to_page(PFN(b->pfn + off));
}

struct page *__rmqueue_smallest(struct zone *z, unsigned order, unsigned mt)
{
	assert_held(&z->lock);
	ASSERT_DEBUG(order < MAX_ORDER);
	for (unsigned o = order; o < MAX_ORDER; o++) {
		struct pageblock *b;

		while ((b = first_block(z, o, mt)) != NULL) {
			struct page *page = take_block(z, b, order, o, mt);

			if (likely(page))
				return page;
		}
	}
	return NULL;
}

/* As many single pages without a free neighbour as one word of b has; b has some. */
static uint64_t take_loose(struct zone *z, struct pageblock *b, unsigned mt, unsigned most,
			   struct page **first)
{
	unsigned off = find_block(b, 0), w = off >> WORD_ORDER, n;
	uint64_t mask;

	assert_held(&z->lock);
	ASSERT_DEBUG(most);
	if (unlikely(off == PAGEBLOCK_PAGES)) {
		retire_pageblock(z, b, 0, mt);
		return 0;
	}
	mask = blocks_in_word(b->free[w], 0);
	for (n = hweight64(mask); n > most; n--)
		mask &= ~(1ull << ilog2(mask));
	store_word(b, w, b->free[w] & ~mask);
	b->nr[0] -= n;
	if (!b->nr[0])
		block_link_del(z, b, 0, mt);
	area_count(&z->free_area[0], -(long)n);
	zone_add_free(z, mt, -(long)n);
	*first = pfn_to_page(PFN(b->pfn + off));
	return mask >> (off & 63);
}

uint64_t rmqueue_run(struct zone *z, unsigned order, unsigned mt, unsigned most, bool cut,
		     struct page **first)
{
	unsigned fits = order + ilog2(min(most, 64u));

	assert_held(&z->lock);
	ASSERT_DEBUG(most);
	for (unsigned o = order; o < MAX_ORDER && (cut || o <= fits); o++) {
		unsigned want = min(o, fits);
		struct pageblock *b;

		while ((b = first_block(z, o, mt)) != NULL) {
			uint64_t run = low_bits(want - order);

			if (o)
				*first = take_block(z, b, want, o, mt);
			else
				run = take_loose(z, b, mt, most, first);
			if (likely(run && *first))
				return run;
		}
	}
	return 0;
}

struct page *rmqueue_from_block(struct zone *z, struct pageblock *b, unsigned order, unsigned mt)
{
	assert_held(&z->lock);
	ASSERT_DEBUG_I("I2", block_type(b) == mt);
	for (unsigned o = order; o <= PAGEBLOCK_ORDER; o++)
		if (b->nr[o])
			return take_block(z, b, order, o, mt);
	return NULL;
}

uint64_t buddy_block(const struct page *page, unsigned *order)
{
	uint64_t pfn = page_to_pfn(page).n;
	struct pageblock *b = pfn_to_block(pfn);
	unsigned off = OFFSET(pfn), o = 0;

	while (o < PAGEBLOCK_ORDER && range_free(b, off ^ 1u << o, o)) {
		off &= ~(1u << o);
		o++;
	}
	if (o == PAGEBLOCK_ORDER && !b->nr[o]) {
		o++;
		b = b->pfn & PAGEBLOCK_PAGES ? b - 1 : b;
	}
	*order = o;
	return b->pfn + off;
}

/* ---- types ----------------------------------------------------------------------------------- */

/* Two whole pageblocks of one type that stood as one block. */
static void split_largest(struct zone *z, struct pageblock *b)
{
	unsigned mt = block_type(b);

	assert_held(&z->lock);
	if (b->pfn & PAGEBLOCK_PAGES)
		b--;
	if (!b->nr[MAX_ORDER - 1])
		return;
	block_del(z, b, MAX_ORDER - 1, mt);
	block_add(z, b, PAGEBLOCK_ORDER, mt);
	block_add(z, b + 1, PAGEBLOCK_ORDER, mt);
}

void set_block_type(struct zone *z, struct pageblock *b, unsigned mt)
{
	unsigned old = block_type(b), free = block_nr_free(b);

	assert_held(&z->lock);
	ASSERT(mt < MIGRATE_TYPES);
	if (old == mt)
		return;
	if (free == PAGEBLOCK_PAGES)
		split_largest(z, b);
	__atomic_store_n(&pageblock_types[b->pfn >> PAGEBLOCK_ORDER], (uint8_t)mt,
			 __ATOMIC_RELAXED);
	zone_add_free(z, old, -(long)free);
	zone_add_free(z, mt, free);
	if (b->nr[PAGEBLOCK_ORDER]) {
		block_del(z, b, PAGEBLOCK_ORDER, old);
		add_whole_block(z, b, mt);
		return;
	}
	for (unsigned o = 0; o < PAGEBLOCK_ORDER; o++)
		if (b->nr[o]) {
			list_move_tail(block_link(b, o), &z->free_area[o].free_list[mt]);
			area_note(&z->free_area[o], old);
			area_note(&z->free_area[o], mt);
		}
}
