/* SPDX-License-Identifier: MIT */
/*
 * kmem_cache_create(), kmem_cache_destroy() and kmem_cache_shrink(): a cache's sizes and limits,
 * sharing (merging) of caches, leak reports, start and end of the slab allocator.
 *
 * kmem_cache_create() first looks for an existing cache that differs in nothing but the name and
 * only counts another user of it; otherwise slab_cache_setup() computes the layout of an object
 * (size, mark, red zones, alignment), the order of a slab, the size of a magazine, and
 * number_cache() gives it a number, by which a pointer's frame leads to it (slab_frames). The first
 * two caches, of magazines and of struct kmem_cache, lie in boot memory.
 *
 * Destroying a cache drains every CPU's magazines and the depot. If an object is still out, each is
 * reported and the cache stays, for its owner may still free it.
 *
 * Locks. slab_mutex: which caches there are; held by everything that walks them, so never taken in
 * a free path.
 */
#include "lib/bits.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/vmstat.h"
#include "mm/phys/memblock.h"
#include "mm/slab/slab_def.h"
#include <quire/abi.h>
#include <quire/os.h>

LIST_HEAD(slab_caches);
DEFINE_MUTEX(slab_mutex);
static struct kmem_cache *cache_cache;
struct kmem_cache *magazine_cache;
uintptr_t slab_secret;
uint16_t *slab_frames;
uintptr_t slab_base;
struct kmem_cache *slab_numbered[SLAB_NUMBERS];
static struct kmem_cache no_cache; /* has no object: every pointer is looked at more closely */

static char *boot_caches;    /* the first ones: of magazines, of struct kmem_cache, kmalloc's */
static unsigned boot_order;
static uint64_t gone_allocs; /* of caches that were destroyed */

#define NR_FIRST 2
#define LEAKS_SHOWN 8

/* ---- sizes ----------------------------------------------------------------------------------- */

/* The smallest order that wastes little and holds a fair number of objects. */
static unsigned calculate_order(unsigned size)
{
	unsigned least = order_base_2(DIV_ROUND_UP(size, PAGE_SIZE));

	ASSERT(size);
	for (unsigned want = 8; want; want /= 2)
		for (unsigned fraction = 16; fraction >= 4; fraction /= 2)
			for (unsigned o = least; o <= SLAB_MAX_ORDER; o++) {
				size_t bytes = PAGE_SIZE << o;

				if (bytes / size >= want && bytes % size <= bytes / fraction)
					return o;
			}
	return least;
}

/* A cache line, or less for what is so small that several fit; a word at least. */
static size_t calculate_alignment(size_t size, size_t align, unsigned flags)
{
	ASSERT(!(align & (align - 1)));
	if (flags & SLAB_HWCACHE_ALIGN) {
		size_t line = 64;

		while (size <= line / 2)
			line /= 2;
		align = max(align, line);
	}
	return ALIGN_UP(max(align, sizeof(void *)), sizeof(void *));
}

/*
 * The parts of an object, as Linux lays them out: the object, a right red zone, the free word if it
 * may not lie in the object, two owners; before it a left red zone.
 */
static void calculate_sizes(struct kmem_cache *c)
{
	unsigned size = ALIGN_UP(c->object_size, (unsigned)sizeof(void *));

	ASSERT(c->object_size && c->align);
	if (c->flags & SLAB_RED_ZONE && size == c->object_size)
		size += sizeof(void *);
	c->inuse = size;
	/* The mark: in the middle, where an overflow of the neighbour does not reach; but on the
	 * first cache line, which the next user touches anyway. */
	c->offset = ALIGN_DOWN(min(c->object_size / 2, 56u), (unsigned)sizeof(void *));
	c->red_left_pad = 0;
	if (c->ctor || slab_checked(c)) {
		c->offset = size;
		size += sizeof(void *);
	}
	if (c->flags & SLAB_STORE_USER)
		size += 2 * sizeof(struct slab_track);
	if (c->flags & SLAB_RED_ZONE) {
		c->red_left_pad = ALIGN_UP((unsigned)sizeof(void *), c->align);
		size += sizeof(void *) + c->red_left_pad;
	}
	c->size = ALIGN_UP(size, c->align);
}

/* What follows from an object's size and a slab's order. */
static void calculate_slab(struct kmem_cache *c)
{
	size_t bytes = PAGE_SIZE << c->order;

	ASSERT(c->size && c->size <= bytes);
	c->recip = (uint32_t)(((1ull << 32) + c->size - 1) / c->size);
	c->objs = slab_capacity(c->size, bytes);
	c->recip64 = (is_power_of_2(c->size) ? 1ull << (64 - ilog2(c->size)) : ~0ull / c->size) + 1;
	if (c->objs > SLAB_WORD_BITS)
		c->bits_at = bytes - SLAB_WORDS(c->objs) * sizeof(uint64_t);
	c->random = slab_mark(c);
}

void slab_cache_setup(struct kmem_cache *c, const char *name, size_t size, size_t align,
		      unsigned flags, void (*ctor)(void *obj))
{
	ASSERT(size);
	strscpy(c->name, name, sizeof(c->name));
	c->object_size = size;
	c->align = calculate_alignment(size, align, flags);
	c->flags = flags | slab_debug_flags(name, flags);
	c->ctor = ctor;
	c->hardened = slab_hardened || slab_checked(c);
	c->refcount = 1;
	calculate_sizes(c);
	c->order = calculate_order(c->size);
	calculate_slab(c);
	c->allocflags = (flags & SLAB_CACHE_DMA ? __GFP_DMA : 0) |
			(flags & SLAB_CACHE_DMA32 ? __GFP_DMA32 : 0) |
			(flags & SLAB_RECLAIM_ACCOUNT ? __GFP_RECLAIMABLE : 0);
	if (!(c->flags & SLAB_NO_MAGAZINE) && !slab_checked(c))
		c->cap = c->size <= 64	   ? SLAB_MAG_MAX
			 : c->size <= 256  ? 62
			 : c->size <= 1024 ? 30
			 : c->size <= 4096 ? 12
					   : 6;
	if (c->cap)
		c->depot_max = clamp(SLAB_DEPOT_BYTES / (c->cap * c->size), 2u, (unsigned)SLAB_DEPOT_MAX);
	spin_lock_init_rank(&c->lock, "slab", RANK_SLAB);
	INIT_LIST_HEAD(&c->partial);
	INIT_LIST_HEAD(&c->full);
	INIT_LIST_HEAD(&c->list);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* slab_mutex held, or at start. A checked cache has no number, so that its frees take the slow
 * path. */
static void number_cache(struct kmem_cache *c)
{
	ASSERT(!c->number);
	for (unsigned i = 1; !slab_checked(c) && i < SLAB_NUMBERS; i++)
		if (slab_numbered[i] == &no_cache) {
			slab_numbered[i] = c;
			c->number = i;
			c->bound = c->recip64 * c->size * c->objs; /* e * objs, for 2^64 is 0 */
			break;
		}
}

/* ---- creation -------------------------------------------------------------------------------- */

/* Flags that two caches must have in common to be one. */
#define MERGE_SAME (SLAB_RECLAIM_ACCOUNT | SLAB_CACHE_DMA | SLAB_CACHE_DMA32 | SLAB_ACCOUNT)
#define MERGE_NEVER (SLAB_DEBUG_FLAGS | SLAB_NO_MERGE | SLAB_NO_MAGAZINE)

/* A cache that can serve such objects without wasting a word on any; slab_mutex held. */
static struct kmem_cache *find_mergeable(const char *name, size_t size, size_t align,
					 unsigned flags, void (*ctor)(void *obj))
{
	struct kmem_cache *c;

	assert_mutex_held(&slab_mutex);
	flags |= slab_debug_flags(name, flags);
	if (slab_nomerge || ctor || flags & MERGE_NEVER)
		return NULL;
	align = calculate_alignment(size, align, flags);
	size = ALIGN_UP(ALIGN_UP(size, sizeof(void *)), align);
	list_for_each_entry(c, cache_list(), list) {
		if (c->flags & MERGE_NEVER || c->ctor || (c->flags ^ flags) & MERGE_SAME)
			continue;
		/* Of a size that the alignment divides, so every object has it as well. */
		if (size > c->size || c->size - size >= sizeof(void *))
			continue;
		return c;
	}
	return NULL;
}

/* Sharing: both users may write to as much as the larger of them asked for. */
static void merge(struct kmem_cache *c, size_t size)
{
	assert_mutex_held(&slab_mutex);
	ASSERT(c->refcount);
	c->refcount++;
	c->object_size = max((size_t)c->object_size, ALIGN_UP(size, sizeof(void *)));
	c->inuse = max(c->inuse, c->object_size);
}

/* slab_mutex held. The cache is known to reports and drains only when it is whole. */
static struct kmem_cache *create_cache(const char *name, size_t size, size_t align, unsigned flags,
				       void (*ctor)(void *obj))
{
	struct kmem_cache *c = kmem_cache_zalloc(cache_cache, GFP_KERNEL);

	assert_mutex_held(&slab_mutex);
	if (!c)
		return NULL;
	slab_cache_setup(c, name, size, align, flags, ctor);
	number_cache(c);
	list_add_tail(&c->list, cache_list());
	return c;
}

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *obj))
{
	struct kmem_cache *c = NULL;

	if (size && size <= PAGE_SIZE << SLAB_MAX_ORDER >> 1 && align <= PAGE_SIZE &&
	    !(align & (align - 1))) {
		mutex_lock(&slab_mutex);
		c = find_mergeable(name, size, align, flags, ctor);
		if (c)
			merge(c, size);
		else
			c = create_cache(name, size, align, flags, ctor);
		mutex_unlock(&slab_mutex);
	}
	if (!c && flags & SLAB_PANIC)
		os_panic("slab: cannot create a cache that must exist");
	return c;
}

struct kmem_cache *slab_find(const char *name)
{
	struct kmem_cache *c;

	assert_mutex_held(&slab_mutex);
	list_for_each_entry(c, cache_list(), list)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

/* ---- destruction ----------------------------------------------------------------------------- */

/* Every object that is not free in its slab was never freed. */
static size_t report_leaks(struct kmem_cache *c, struct list_head *slabs, size_t n)
{
	struct page *page;

	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	list_for_each_entry(page, slabs, lru) {
		char *obj = (char *)page_address(page) + c->red_left_pad;

		for (unsigned i = 0; i < slab_total(page); i++, obj += c->size) {
			if (slab_object_is_free(c, page, obj))
				continue;
			if (n++ < LEAKS_SHOWN)
				slab_report(c, obj, SLAB_BUG_LEAK, 0);
		}
	}
	return n;
}

/* Returns how many objects are still out; the cache must not be in use. */
static size_t cache_empty(struct kmem_cache *c)
{
	for (unsigned i = 0; i < hal_cpu_count(); i++)
		flush_cpu(c, i);
	flush_depot(c);
	discard_empty(c);
	return report_leaks(c, &c->partial, report_leaks(c, &c->full, 0));
}

static uint64_t cache_allocs(const struct kmem_cache *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < hal_cpu_count(); i++)
		n += __atomic_load_n(&c->cpu[i].allocs, __ATOMIC_RELAXED);
	return n;
}

/* No report and no drain knows it from now on. */
static void unlist_cache(struct kmem_cache *c)
{
	assert_mutex_held(&slab_mutex);
	list_del_init(&c->list);
	gone_allocs += cache_allocs(c);
}

size_t kmem_cache_destroy(struct kmem_cache *c)
{
	size_t leaks = 0;

	ASSERT(!c || c->refcount > 0);
	if (!c)
		return 0;
	mutex_lock(&slab_mutex);
	if (--c->refcount == 0) {
		leaks = cache_empty(c);
		unlist_cache(c);
		/* Objects that are still out may yet be freed: then the cache must be there. */
		if (!leaks) {
			if (c->number)
				slab_numbered[c->number] = &no_cache;
			kmem_cache_free(cache_cache, c);
		}
	}
	mutex_unlock(&slab_mutex);
	return leaks;
}

/* ---- giving back ----------------------------------------------------------------------------- */

static void flush_on_this_cpu(void *arg)
{
	flush_cpu(arg, hal_cpu_id());
}

static unsigned long pages_of_cache(struct kmem_cache *c)
{
	unsigned long n;
	irqflags_t flags;

	spin_lock_irqsave(&c->lock, flags);
	n = c->nr_pages;
	spin_unlock_irqrestore(&c->lock, flags);
	return n;
}

size_t kmem_cache_shrink(struct kmem_cache *c)
{
	unsigned long before = pages_of_cache(c), after;
	unsigned n = hal_cpu_count();

	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	os_preempt(1); /* the others are those that this one is not */
	flush_on_this_cpu(c);
	if (n > 1 && !hal_irqs_off())
		hal_ipi_call(n < 64 ? (1ull << n) - 1 : ~0ull, flush_on_this_cpu, c);
	os_preempt(-1);
	flush_depot(c);
	discard_empty(c);
	/* Many went while the magazines were emptied. Meanwhile others may have asked for more. */
	after = pages_of_cache(c);
	return before > after ? before - after : 0;
}

/* slab_mutex held. The cache of magazines comes last, for the others give theirs back. */
static size_t shrink_all(void)
{
	struct kmem_cache *c;
	size_t pages = 0;

	assert_mutex_held(&slab_mutex);
	list_for_each_entry_reverse(c, cache_list(), list)
		pages += kmem_cache_shrink(c);
	return pages;
}

void slab_drain(void)
{
	mutex_lock(&slab_mutex);
	shrink_all();
	mutex_unlock(&slab_mutex);
}

static unsigned long idle_objects(struct kmem_cache *c)
{
	unsigned long n;
	irqflags_t flags;

	spin_lock_irqsave(&c->lock, flags);
	n = c->nr_empty_objs + slab_in_magazines(c);
	spin_unlock_irqrestore(&c->lock, flags);
	return n;
}

unsigned long slab_idle_objects(void)
{
	unsigned long n = 0;
	struct kmem_cache *c;

	if (!mutex_trylock(&slab_mutex))
		return 0;
	list_for_each_entry(c, cache_list(), list)
		n += idle_objects(c);
	mutex_unlock(&slab_mutex);
	return n;
}

/* Caches from number first to last of the list: shrinks those that have something, until n objects are
 * gone. *at: the number of the one after the last that was looked at. */
static unsigned long shrink_some(unsigned first, unsigned last, unsigned long n, unsigned *at,
				 unsigned long *pages)
{
	unsigned long gone = 0;
	struct kmem_cache *c;
	unsigned i = 0;

	assert_mutex_held(&slab_mutex);
	list_for_each_entry(c, cache_list(), list) {
		unsigned long idle;

		if (gone >= n || i > last)
			break;
		if (i++ < first)
			continue;
		idle = idle_objects(c);
		if (idle)
			*pages += kmem_cache_shrink(c);
		gone += idle;
		*at = i;
	}
	return gone;
}

unsigned long slab_shrink(unsigned long n, unsigned long *pages)
{
	static unsigned hand; /* slab_mutex */
	unsigned long gone;
	unsigned from;

	if (!mutex_trylock(&slab_mutex))
		return 0;
	from = hand;
	gone = shrink_some(from, UINT32_MAX, n, &hand, pages);
	if (gone < n && from)
		gone += shrink_some(0, from - 1, n - gone, &hand, pages);
	mutex_unlock(&slab_mutex);
	return gone;
}

/* ---- start and end --------------------------------------------------------------------------- */

static uint64_t any_entropy(void)
{
	return os_entropy() ^ hal_cycles() * 0x2545f4914f6cdd1dull;
}

/* Two bytes for each frame between the first and the last, holes too. */
int slab_frames_init(void)
{
	uint64_t start = 0, end;

	ASSERT(max_pfn);
	if (!memblock_next_memory(&start, &end))
		return -ENOMEM;
	slab_base = (uintptr_t)hal_phys_to_virt(start << PAGE_SHIFT);
	slab_nr_frames = slab_quick_frames = max_pfn - start;
	slab_frames = memblock_alloc_zeroed(slab_nr_frames * sizeof(*slab_frames));
	for (unsigned i = 0; i < SLAB_NUMBERS; i++)
		slab_numbered[i] = &no_cache;
	return slab_frames ? 0 : -ENOMEM;
}

/* Bytes of a cache, every CPU's part included. */
static size_t cache_bytes(void)
{
	return sizeof(struct kmem_cache) + hal_cpu_count() * sizeof(struct kmem_cache_cpu);
}

static struct kmem_cache *boot_cache(unsigned i)
{
	ASSERT(boot_caches);
	return (struct kmem_cache *)(boot_caches + i * cache_bytes());
}

int slab_init(void)
{
	unsigned n = NR_FIRST + kmalloc_nr_caches();
	struct page *page;

	ASSERT(!boot_caches);
	slab_debug_init();
	boot_order = order_base_2(DIV_ROUND_UP(n * cache_bytes(), PAGE_SIZE));
	page = alloc_pages(GFP_KERNEL | __GFP_ZERO, boot_order);
	if (!page)
		return -ENOMEM;
	boot_caches = page_address(page);
	slab_secret = any_entropy() | 1;
	gone_allocs = 0;
	INIT_LIST_HEAD(&slab_caches);
	magazine_cache = boot_cache(0);
	cache_cache = boot_cache(1);
	slab_cache_setup(magazine_cache, "slab_magazine", sizeof(struct slab_mag), 64,
			 SLAB_NO_MAGAZINE, NULL);
	slab_cache_setup(cache_cache, "kmem_cache", cache_bytes(), 64, SLAB_NO_MERGE, NULL);
	for (unsigned i = 0; i < kmalloc_nr_caches(); i++)
		kmalloc_setup(boot_cache(NR_FIRST + i), i);
	for (unsigned i = 0; i < n; i++) {
		boot_cache(i)->boot = true;
		number_cache(boot_cache(i));
		list_add_tail(&boot_cache(i)->list, &slab_caches);
	}
	return 0;
}

/* In reverse: what a cache is made of outlives it. */
void slab_exit(void)
{
	struct kmem_cache *c;

	ASSERT(boot_caches);
	list_for_each_entry_reverse(c, &slab_caches, list)
		if (c->boot)
			cache_empty(c);
	__free_pages(virt_to_page(boot_caches), boot_order);
	boot_caches = NULL;
	INIT_LIST_HEAD(&slab_caches);
	kmem_hook_set(~KMEM_HOOK_TRACE, false);
}

uint64_t slab_allocs_seen(void)
{
	uint64_t sum = gone_allocs + sum_vm_event(SLAB_ALLOC_CALLS);
	struct kmem_cache *c;

	mutex_lock(&slab_mutex);
	list_for_each_entry(c, cache_list(), list)
		if (c != magazine_cache)
			sum += cache_allocs(c);
	mutex_unlock(&slab_mutex);
	return sum;
}
