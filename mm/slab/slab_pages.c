/* SPDX-License-Identifier: MIT */
/*
 * Slab pages: making, emptying and freeing slabs, which are blocks of pages cut into the objects of
 * one cache. A slab is *partial* (some free, on cache->partial) or *full* (none free, on
 * cache->full). Its free objects are bits, in its struct page where one word holds them all, else
 * at the slab's end. So an object is returned and handed out again without touching its memory,
 * which may be cold, and a new slab is not written to until its objects are used.
 *
 * new_slab() makes one, slab_pop() takes a batch of objects out, slab_push() returns a batch,
 * discard_slab() gives the pages back. The middle two run under cache->lock, the outer two under no
 * lock at all (I12); slab_push() therefore leaves empty slabs and double frees to
 * slab_run_deferred(). This file calls the page allocator and knows nothing of magazines.
 */
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/base/vmstat.h"
#include "mm/slab/slab_def.h"
#include <quire/os.h>

bool slab_shuffle;

/* Slab and SReclaimable of meminfo. */
static void account_slab(const struct kmem_cache *c, long pages)
{
	mod_node_page_state(c->flags & SLAB_RECLAIM_ACCOUNT ? NR_SLAB_RECLAIMABLE :
							      NR_SLAB_UNRECLAIMABLE,
			    pages);
}

static void *nth_object(const struct kmem_cache *c, const struct page *page, unsigned i)
{
	ASSERT_DEBUG(i < slab_total(page));
	return (char *)page_address(page) + c->red_left_pad + (size_t)i * c->size;
}

/* Enters the cache of a slab's frames in slab_frames, or takes it out (on false). */
static void name_frames(const struct kmem_cache *c, const struct page *page, unsigned order, bool on)
{
	uint16_t *f = &slab_frames[((uintptr_t)page_address(page) - slab_base) >> PAGE_SHIFT];

	ASSERT(slab_frames);
	for (unsigned i = 0; c->number && order == c->order && i < 1u << order; i++)
		__atomic_store_n(&f[i], on ? c->number | i << SLAB_NUMBER_BITS : 0,
				 __ATOMIC_RELAXED);
}

unsigned slab_capacity(unsigned size, size_t bytes)
{
	unsigned n = bytes / size;

	ASSERT(size);
	while (n > SLAB_WORD_BITS && (size_t)n * size + SLAB_WORDS(n) * sizeof(uint64_t) > bytes)
		n--;
	return n;
}

/* Makes fresh pages a slab. No lock: it is on no list yet. */
static void setup_slab(struct kmem_cache *c, struct page *page)
{
	unsigned n = slab_capacity(c->size, slab_bytes(page));
	uint64_t *bits = slab_bits(c, page);

	ASSERT_I("I10", n);
	WRITE_ONCE(page->mapping, c);
	page->units = n << 16;
	page_set(page, PG_slab);
	if (slab_checked(c))
		slab_debug_setup(c, page);
	for (unsigned w = 0; w < SLAB_WORDS(n); w++)
		bits[w] = ~0ull >> (w == n / SLAB_WORD_BITS ? SLAB_WORD_BITS - n % SLAB_WORD_BITS : 0);
	for (unsigned i = 0; c->ctor && i < n; i++)
		c->ctor(nth_object(c, page, i));
	for (unsigned i = 0; c->hardened && i < n; i++)
		set_mark(c, nth_object(c, page, i));
	name_frames(c, page, compound_order(page), true);
	if (!slab_checked(c))
		hal_poison(page_address(page), n * c->size);
}

struct page *new_slab(struct kmem_cache *c, gfp_t gfp)
{
	unsigned least = order_base_2(DIV_ROUND_UP(c->size, PAGE_SIZE));
	gfp_t flags = (gfp & ~(__GFP_ZERO | __GFP_MOVABLE | __GFP_HIGHMEM | __GFP_COMP |
			       __GFP_DMA | __GFP_DMA32)) | c->allocflags;
	struct page *page = NULL;

	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	/* Larger slabs waste less; but a request is not to fail, nor to reclaim, for that. */
	if (c->order > least)
		page = alloc_pages((flags & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) |
				   __GFP_NOWARN | __GFP_COMP, c->order);
	if (!page)
		page = alloc_pages(flags | (least ? __GFP_COMP : 0), least);
	if (!page)
		return NULL;
	setup_slab(c, page);
	account_slab(c, 1l << compound_order(page));
	return page;
}

/* The slab is on no list any more. No lock. */
static void discard_slab(struct kmem_cache *c, struct page *page)
{
	unsigned order = compound_order(page);

	ASSERT_I("I11", page_test(page, PG_slab));
	ASSERT_I("I10", !slab_inuse(page));
	account_slab(c, -(1l << order));
	name_frames(c, page, order, false);
	page_clear(page, PG_slab);
	WRITE_ONCE(page->mapping, NULL);
	page->index = 0;
	page->units = 0;
	__free_pages(page, order);
}

static void discard_list(struct kmem_cache *c, struct list_head *dead)
{
	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	while (!list_empty(dead)) {
		struct page *page = list_first_entry(dead, struct page, lru);

		list_del_init(&page->lru);
		discard_slab(c, page);
	}
}

void slab_run_deferred(struct kmem_cache *c, struct slab_deferred *d, uintptr_t ip)
{
	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	discard_list(c, &d->empty);
	if (unlikely(d->double_free))
		slab_report(c, d->double_free, SLAB_BUG_DOUBLE_FREE, ip);
}

void add_slab(struct kmem_cache *c, struct page *page)
{
	assert_held(&c->lock);
	ASSERT_DEBUG_I("I10", !slab_inuse(page));
	list_add(&page->lru, &c->partial);
	c->nr_partial++;
	c->nr_slabs++;
	c->nr_objs += slab_total(page);
	c->nr_free += slab_total(page);
	c->nr_empty_objs += slab_total(page);
	c->nr_pages += 1ul << compound_order(page);
}

static void remove_slab(struct kmem_cache *c, struct page *page, struct list_head *dead)
{
	assert_held(&c->lock);
	ASSERT_DEBUG_I("I10", !slab_inuse(page));
	list_move(&page->lru, dead);
	c->nr_partial--;
	c->nr_slabs--;
	c->nr_objs -= slab_total(page);
	c->nr_free -= slab_total(page);
	c->nr_empty_objs -= slab_total(page);
	c->nr_pages -= 1ul << compound_order(page);
}

/* cache->lock held; others read it without. */
static void count_inuse(struct page *page, int n)
{
	assert_held(&((const struct kmem_cache *)page->mapping)->lock);
	__atomic_store_n(&page->units, page->units + n, __ATOMIC_RELAXED);
}

void slab_give_up(struct kmem_cache *c, struct page *page)
{
	unsigned lost = slab_total(page) - slab_inuse(page);

	assert_held(&c->lock);
	if (lost == slab_total(page))
		c->nr_empty_objs -= lost;
	memset(slab_bits(c, page), 0, SLAB_WORDS(slab_total(page)) * sizeof(uint64_t));
	count_inuse(page, lost);
	c->nr_free -= lost;
	count_lost(c, lost);
	c->nr_partial--;
	list_move(&page->lru, &c->full);
}

/* The number of an object of a slab. */
static unsigned object_number(const struct kmem_cache *c, const struct page *page, const void *obj)
{
	uint64_t off = (uintptr_t)obj - (uintptr_t)page_address(page) - c->red_left_pad;

	ASSERT_DEBUG((uintptr_t)obj >= (uintptr_t)page_address(page));
	return off * c->recip >> 32;
}

bool slab_object_is_free(const struct kmem_cache *c, struct page *page, const void *obj)
{
	unsigned i = object_number(c, page, obj);

	return slab_bits(c, page)[i / SLAB_WORD_BITS] >> i % SLAB_WORD_BITS & 1;
}

bool slab_bits_sound(const struct kmem_cache *c, struct page *page)
{
	unsigned total = slab_total(page), words = SLAB_WORDS(total), n = 0;
	const uint64_t *bits = slab_bits(c, page);

	assert_held(&c->lock);
	for (unsigned w = 0; w < words; w++)
		n += hweight64(bits[w]);
	return n == total - slab_inuse(page) &&
	       !(total % SLAB_WORD_BITS && bits[words - 1] >> total % SLAB_WORD_BITS);
}

/* The n first ones, the very first at the end: what is popped off an array then comes in the order
 * of its addresses, which processors foresee best. */
static void pop_first(const struct kmem_cache *c, uint64_t *bits, char *base, void **obj, unsigned n)
{
	assert_held(&c->lock);
	for (; n; base += SLAB_WORD_BITS * c->size) {
		uint64_t word = *bits;

		/* The caller will write to this one, and soon to its neighbours. */
		for (; n && word; word &= word - 1) {
			obj[--n] = base + lowest_bit(word) * c->size;
			__builtin_prefetch(obj[n], 1);
		}
		*bits++ = word;
	}
}

/* n of the free ones, each as likely as any other. */
static void pop_random(struct kmem_cache *c, uint64_t *bits, char *base, void **obj, unsigned n,
		       unsigned free)
{
	assert_held(&c->lock);
	ASSERT_DEBUG(n <= free);
	for (; n; n--, free--) {
		unsigned w = 0, skip, i;
		uint64_t word;

		c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
		skip = (c->random >> 33) % free;
		for (; (i = hweight64(bits[w])) <= skip; w++)
			skip -= i;
		for (word = bits[w]; skip; skip--)
			word &= word - 1;
		i = lowest_bit(word);
		bits[w] &= ~(1ull << i);
		*obj++ = base + (w * SLAB_WORD_BITS + i) * c->size;
	}
}

unsigned slab_pop(struct kmem_cache *c, struct page *page, void **obj, unsigned n, bool *broken)
{
	unsigned free = slab_total(page) - slab_inuse(page);

	assert_held(&c->lock);
	ASSERT_DEBUG_I("I10", free);
	if (unlikely(!slab_bits_sound(c, page))) {
		*broken = true;
		slab_give_up(c, page);
		return 0;
	}
	n = min(n, free);
	if (free == slab_total(page))
		c->nr_empty_objs -= free;
	if (unlikely(slab_shuffle))
		pop_random(c, slab_bits(c, page), nth_object(c, page, 0), obj, n, free);
	else
		pop_first(c, slab_bits(c, page), nth_object(c, page, 0), obj, n);
	count_inuse(page, n);
	c->nr_free -= n;
	if (n == free) {
		list_move(&page->lru, &c->full);
		c->nr_partial--;
	}
	return n;
}

/* Moves a slab between lists: the first object returned to a full slab, or the last one to any. */
static __attribute__((noinline)) void slab_change_list(struct kmem_cache *c, struct page *page,
						       bool was_full, struct list_head *dead)
{
	assert_held(&c->lock);
	if (was_full) {
		list_move(&page->lru, &c->partial);
		c->nr_partial++;
	}
	if (slab_inuse(page))
		return;
	c->nr_empty_objs += slab_total(page);
	if (c->nr_partial > SLAB_MIN_PARTIAL)
		remove_slab(c, page, dead);
}

void slab_push(struct kmem_cache *c, void *const *obj, unsigned n, struct slab_deferred *d)
{
	assert_held(&c->lock);
	c->nr_free += n;
	for (unsigned k = 0; k < n; k++) {
		struct page *page = virt_to_page(obj[k]), *head = compound_head(page);
		uint64_t off = ((uintptr_t)obj[k] & ~PAGE_MASK) + ((page - head) << PAGE_SHIFT);
		unsigned i = (off - c->red_left_pad) * c->recip >> 32;
		uint64_t *word = slab_bits(c, head) + i / SLAB_WORD_BITS;
		uint64_t bit = 1ull << i % SLAB_WORD_BITS;
		uint32_t units = head->units, out = units & 0xffff;

		if (unlikely(*word & bit)) {
			d->double_free = obj[k];
			c->nr_free--;
			continue;
		}
		*word |= bit;
		__atomic_store_n(&head->units, units - 1, __ATOMIC_RELAXED);
		if (unlikely(units >> 16 == out) || unlikely(out == 1))
			slab_change_list(c, head, units >> 16 == out, &d->empty);
	}
}

/* All empty slabs, also those that are kept against the next burst. */
void discard_empty(struct kmem_cache *c)
{
	struct page *page, *next;
	irqflags_t flags;
	LIST_HEAD(dead);

	spin_lock_irqsave(&c->lock, flags);
	list_for_each_entry_safe(page, next, &c->partial, lru)
		if (!slab_inuse(page))
			remove_slab(c, page, &dead);
	spin_unlock_irqrestore(&c->lock, flags);
	discard_list(c, &dead);
}
