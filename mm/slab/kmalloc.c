/* SPDX-License-Identifier: MIT */
/*
 * kmalloc, kfree, krealloc, ksize: memory by size, out of caches of 8 .. 8192 bytes (powers of two,
 * and 96 and 192), and beyond them straight from the page allocator. Each class exists three times,
 * as in Linux: plain, for reclaimable objects (kmalloc-rcl-*), and below 16 MiB (dma-kmalloc-*).
 */
#include "lib/bits.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/slab/slab_def.h"

enum kmalloc_cache_type { KMALLOC_NORMAL, KMALLOC_RECLAIM, KMALLOC_DMA, NR_KMALLOC_TYPES };

static const uint16_t kmalloc_sizes[] = {8,   16,  32,	64,   96,   128,  192,
					 256, 512, 1024, 2048, 4096, 8192};
#define NR_KMALLOC ARRAY_SIZE(kmalloc_sizes)

static struct kmem_cache *kmalloc_caches[NR_KMALLOC_TYPES][NR_KMALLOC];

/* The class of n, 1 .. 8192: by the eighth up to 1024, by the thousand beyond. */
static inline unsigned kmalloc_index(size_t n)
{
	ASSERT_DEBUG(n && n <= KMALLOC_MAX);
#define TIMES2(c) c, c
#define TIMES4(c) TIMES2(c), TIMES2(c)
#define TIMES8(c) TIMES4(c), TIMES4(c)
#define TIMES32(c) TIMES8(c), TIMES8(c), TIMES8(c), TIMES8(c)
	static const uint8_t eighths[128] = {0, 1, TIMES2(2), TIMES4(3), TIMES4(4), TIMES4(5),
					     TIMES8(6), TIMES8(7), TIMES32(8), TIMES32(9),
					     TIMES32(9)};
	static const uint8_t thousands[8] = {9, 10, 11, 11, TIMES4(12)};

	return likely(n <= 1024) ? eighths[(n - 1) / 8] : thousands[(n - 1) / 1024];
}

static inline enum kmalloc_cache_type kmalloc_type(gfp_t gfp)
{
	if (likely(!(gfp & (__GFP_DMA | __GFP_RECLAIMABLE))))
		return KMALLOC_NORMAL;
	return gfp & __GFP_DMA ? KMALLOC_DMA : KMALLOC_RECLAIM;
}

/* The cache that serves n bytes. */
static inline struct kmem_cache *kmalloc_slab(size_t n, gfp_t gfp)
{
	return kmalloc_caches[kmalloc_type(gfp)][kmalloc_index(n)];
}

unsigned kmalloc_nr_caches(void)
{
	return NR_KMALLOC_TYPES * NR_KMALLOC;
}

void kmalloc_setup(struct kmem_cache *c, unsigned i)
{
	static const struct {
		const char *prefix;
		unsigned flags;
	} types[NR_KMALLOC_TYPES] = {{"kmalloc", 0},
				     {"kmalloc-rcl", SLAB_RECLAIM_ACCOUNT},
				     {"dma-kmalloc", SLAB_CACHE_DMA}};
	unsigned type = i / NR_KMALLOC, size = kmalloc_sizes[i % NR_KMALLOC];
	char name[SLAB_NAME_MAX];

	ASSERT(i < kmalloc_nr_caches());
	scnprintf(name, sizeof(name), size < 1024 ? "%s-%u" : "%s-%uk", types[type].prefix,
		  size < 1024 ? size : size / 1024);
	/* Powers of two are aligned to themselves, as kmalloc's users expect. */
	slab_cache_setup(c, name, size, is_power_of_2(size) ? size : 8, types[type].flags, NULL);
	kmalloc_caches[type][i % NR_KMALLOC] = c;
}

/* ---- large ones ------------------------------------------------------------------------------ */

/* Beyond the classes it is the page allocator's business; the compound head remembers the size. */
static void *kmalloc_large(size_t n, gfp_t gfp, uintptr_t ip)
{
	unsigned order = order_base_2(DIV_ROUND_UP(n, PAGE_SIZE));
	struct page *page;

	ASSERT(n > KMALLOC_MAX);
	if (n > PAGE_SIZE << (MAX_ORDER - 1))
		return NULL;
	if (kmem_hooked() && !slab_pre_alloc(NULL, gfp))
		return NULL;
	count_vm_event(SLAB_ALLOC_CALLS);
	/* Compound even for one page, so that kfree() finds the size. */
	page = alloc_pages(gfp | __GFP_COMP, max(order, 1u));
	if (!page)
		return NULL;
	mod_node_page_state(NR_SLAB_UNRECLAIMABLE, 1l << compound_order(page));
	if (kmem_hooked())
		trace_kmem_alloc(QUIRE_TR_KMALLOC, ip, page_address(page), n, slab_bytes(page), gfp);
	return page_address(page);
}

static void kfree_large(const void *p, struct page *page, uintptr_t ip)
{
	if (!page || !page_test(page, PG_head) || page_address(page) != p) {
		slab_report(NULL, p, SLAB_BUG_FOREIGN, ip);
		return;
	}
	if (kmem_hooked())
		slab_pre_free(NULL, (void *)p, QUIRE_TR_KFREE, ip);
	mod_node_page_state(NR_SLAB_UNRECLAIMABLE, -(1l << compound_order(page)));
	__free_pages(page, compound_order(page));
}

/* ---- the calls ------------------------------------------------------------------------------- */

void *kmalloc(size_t n, gfp_t gfp)
{
	struct kmem_cache *c;
	void *obj, *bad = NULL;

	if (unlikely(n > KMALLOC_MAX))
		return kmalloc_large(n, gfp, RET_IP);
	if (unlikely(!n))
		n = 1;
	c = kmalloc_slab(n, gfp);
	if (unlikely(kmem_hook_word() | (gfp & __GFP_ZERO)))
		return slab_alloc_hooked(c, n, gfp, QUIRE_TR_KMALLOC, RET_IP);
	obj = slab_alloc(c, &bad);
	if (unlikely(!obj))
		return slab_alloc_miss(c, n, gfp, bad, RET_IP);
	hal_unpoison(obj, n);
	return obj;
}

void *kzalloc(size_t n, gfp_t gfp)
{
	if (unlikely(n > KMALLOC_MAX))
		return kmalloc_large(n, gfp | __GFP_ZERO, RET_IP);
	if (unlikely(!n))
		n = 1;
	return slab_alloc_hooked(kmalloc_slab(n, gfp), n, gfp | __GFP_ZERO, QUIRE_TR_KMALLOC, RET_IP);
}

/* Not the quick way: hooks, a large one, a checked cache, NULL, or nothing of ours. */
static slab_noinline void kfree_slow(const void *p, uintptr_t ip)
{
	struct page *page;

	if (!p)
		return;
	page = slab_frame(p);
	page = page ? compound_head(page) : NULL;
	if (page && page_test(page, PG_slab))
		slab_free_hooked(page->mapping, (void *)p, QUIRE_TR_KFREE, ip);
	else
		kfree_large(p, page, ip);
}

void kfree(const void *p)
{
	struct kmem_cache *c = slab_quick_cache(p);

	if (unlikely(!c))
		kfree_slow(p, RET_IP);
	else if (unlikely(!slab_free(c, (void *)p)))
		__slab_free(c, (void *)p, RET_IP);
}

size_t ksize(const void *p)
{
	struct page *page;
	size_t n;

	if (!p)
		return 0;
	page = compound_head(virt_to_page(p));
	if (page_test(page, PG_slab)) {
		const struct kmem_cache *c = page->mapping;

		n = c->object_size;
		if (slab_checked(c))
			return n;
	} else {
		n = slab_bytes(page);
	}
	/* The caller may use all of it from now on. */
	hal_unpoison(p, n);
	return n;
}

void *krealloc(const void *p, size_t n, gfp_t gfp)
{
	size_t old = ksize(p);
	void *new_;

	if (!n) {
		kfree(p);
		return NULL;
	}
	if (p && n <= old)
		return (void *)p;
	new_ = kmalloc(n, gfp);
	if (new_ && p) {
		memcpy(new_, p, old);
		kfree(p);
	}
	return new_;
}
