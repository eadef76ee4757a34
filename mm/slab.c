/* SPDX-License-Identifier: MIT */
/*
 * The slab allocator: caches of equal objects.
 *
 * Terms. A *slab* is one block of pages cut into objects of one cache; page->mapping of its head
 * names the cache, page->index the first free object, page->units how many are out and how many
 * there are. A slab is *partial* (some free, on cache->partial) or *full* (none free, on
 * cache->full). Each CPU has a LIFO array of free objects of each cache before that.
 *
 * An object is *in use* by somebody, *in an array*, or *free in its slab* (linked through its own
 * memory). Both kinds of free ones carry a mark, a word made of the object's address and a
 * secret, in the same place: freeing an object that carries its mark is a double free. With a
 * constructor, link and mark lie behind the object, for its contents must survive.
 *
 * Allocation pops this CPU's array: no lock, no atomic. Empty, it takes a batch from partial slabs
 * under cache->lock; are there none, the lock is dropped, pages are asked for, and only then is
 * the lock taken again (I12: the list lock is never held while asking for pages, for reclaim may
 * need this very cache). Freeing pushes; a full array gives its older half back to the slabs, and
 * slabs that became empty go back to the buddy beyond a few that are kept.
 *
 * Every free is checked: the pointer lies in a slab of this cache, on an object's start, and is
 * not free already. Free objects are poisoned for a memory checker.
 */
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/lockrank.h"
#include "mm/os.h"
#include "mm/page_alloc.h"
#include "mm/slab_def.h"
#include "mm/vmstat.h"

#define NO_ASAN __attribute__((no_sanitize_address))

LIST_HEAD(slab_caches);
spinlock_t slab_caches_lock = SPINLOCK_INIT("slab_caches");

/* kmalloc's classes; by index. */
static const uint16_t kmalloc_sizes[] = {8,   16,  32,	64,   96,   128,  192,
					 256, 512, 1024, 2048, 4096, 8192};
#define NR_KMALLOC   ARRAY_SIZE(kmalloc_sizes)
#define KMALLOC_MAX  8192u

static struct kmem_cache cache_cache; /* of struct kmem_cache */
static struct kmem_cache kmalloc_caches[NR_KMALLOC];
static struct slab_cpu *boot_arrays;
static unsigned boot_arrays_order;
static uintptr_t secret;

_Noreturn static void slab_bug(const struct kmem_cache *c, const void *obj, const char *why)
{
	char line[128];

	scnprintf(line, sizeof(line), "slab: %s: object %p of %s", why, obj, c ? c->name : "?");
	os_panic(line);
}

/* ---- link and mark inside free objects; they are poisoned, so no checker may look here ------- */

/* Differs for every address and every start: nobody writes it by accident. */
static inline uintptr_t mark_of(const void *obj)
{
	return ((uintptr_t)obj * 0x9e3779b97f4a7c15ul) ^ secret;
}

NO_ASAN static void *get_link(const struct kmem_cache *c, const void *obj)
{
	return *(void *const *)((const char *)obj + c->meta);
}

NO_ASAN static void set_link(const struct kmem_cache *c, void *obj, void *next)
{
	*(void **)((char *)obj + c->meta) = next;
}

NO_ASAN static bool test_mark(const struct kmem_cache *c, const void *obj)
{
	return ((const uintptr_t *)((const char *)obj + c->meta))[1] == mark_of(obj);
}

NO_ASAN static void set_mark(const struct kmem_cache *c, void *obj)
{
	((uintptr_t *)((char *)obj + c->meta))[1] = mark_of(obj);
}

NO_ASAN static void clear_mark(const struct kmem_cache *c, void *obj)
{
	((uintptr_t *)((char *)obj + c->meta))[1] = 0;
}

/* ---- slabs ----------------------------------------------------------------------------------- */

/* The slab of an object of c; anything else ends here. */
static inline struct page *object_page(const struct kmem_cache *c, const void *obj)
{
	struct page *page = compound_head(virt_to_page(obj));
	uintptr_t off;

	if (unlikely(!page_test(page, PG_slab)) || unlikely(page->mapping != c))
		slab_bug(c, obj, "foreign pointer freed");
	off = (uintptr_t)obj - (uintptr_t)page_address(page);
	if (unlikely((uint32_t)((uint64_t)off * c->recip >> 32) * c->size != off) ||
	    unlikely(off >= slab_total(page) * c->size))
		slab_bug(c, obj, "pointer into the middle of an object freed");
	return page;
}

/* For meminfo, and for whoever looks for slabs that could be given back. */
static void account_slab(const struct kmem_cache *c, long pages)
{
	mod_node_page_state(c->flags & SLAB_RECLAIMABLE ? NR_SLAB_RECLAIMABLE :
							  NR_SLAB_UNRECLAIMABLE,
			    pages);
}

/* Cuts fresh pages into free objects. No lock: nobody knows this slab yet. */
static void setup_slab(struct kmem_cache *c, struct page *page)
{
	size_t bytes = PAGE_SIZE << compound_order(page);
	unsigned n = bytes / c->size;
	char *base = page_address(page);
	void *next = NULL;

	page->mapping = c;
	page->units = n << 16;
	page_set(page, PG_slab);
	for (unsigned i = n; i-- > 0;) {
		void *obj = base + (size_t)i * c->size;

		if (c->ctor)
			c->ctor(obj);
		set_link(c, obj, next);
		set_mark(c, obj);
		next = obj;
	}
	page->index = (unsigned long)next;
	hal_poison(base, bytes);
}

static struct page *new_slab(struct kmem_cache *c, gfp_t gfp)
{
	struct page *page;
	gfp_t flags = gfp & ~(__GFP_ZERO | __GFP_MOVABLE | __GFP_HIGHMEM | __GFP_COMP);

	if (c->flags & SLAB_RECLAIMABLE)
		flags |= __GFP_RECLAIMABLE;
	/* Larger slabs waste less; but a request is not to fail, nor to reclaim, for that. */
	if (c->order > order_base_2(DIV_ROUND_UP(c->size, PAGE_SIZE)))
		page = alloc_pages((flags & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) |
				   __GFP_NOWARN | __GFP_COMP, c->order);
	else
		page = NULL;
	if (!page) {
		unsigned least = order_base_2(DIV_ROUND_UP(c->size, PAGE_SIZE));

		page = alloc_pages(flags | (least ? __GFP_COMP : 0), least);
	}
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

	account_slab(c, -(1l << order));
	page_clear(page, PG_slab);
	page->mapping = NULL;
	page->index = 0;
	page->units = 0;
	__free_pages(page, order);
}

/* Outside the lock: freeing pages takes the zone's. */
static void discard_list(struct kmem_cache *c, struct list_head *dead)
{
	while (!list_empty(dead)) {
		struct page *page = list_first_entry(dead, struct page, lru);

		list_del_init(&page->lru);
		discard_slab(c, page);
	}
}

/* cache->lock held: a new slab joins. */
static void add_slab(struct kmem_cache *c, struct page *page)
{
	list_add(&page->lru, &c->partial);
	c->nr_partial++;
	c->nr_slabs++;
	c->nr_objs += slab_total(page);
	c->nr_free += slab_total(page);
	c->nr_pages += 1ul << compound_order(page);
}

/* cache->lock held: an empty slab leaves for the list of the dead. */
static void remove_slab(struct kmem_cache *c, struct page *page, struct list_head *dead)
{
	list_move(&page->lru, dead);
	c->nr_partial--;
	c->nr_slabs--;
	c->nr_objs -= slab_total(page);
	c->nr_free -= slab_total(page);
	c->nr_pages -= 1ul << compound_order(page);
}

/* cache->lock held. */
static void count_inuse(struct page *page, int n)
{
	__atomic_store_n(&page->units, page->units + n, __ATOMIC_RELAXED);
}

/* cache->lock held: takes one free object out of a partial slab. */
static void *slab_pop(struct kmem_cache *c, struct page *page)
{
	void *obj = (void *)page->index, *next = get_link(c, obj);

	if (unlikely(!test_mark(c, obj)) ||
	    unlikely(next && compound_head(virt_to_page(next)) != page))
		slab_bug(c, obj, "free object was written to");
	page->index = (unsigned long)next;
	count_inuse(page, 1);
	c->nr_free--;
	if (!next) {
		list_move(&page->lru, &c->full);
		c->nr_partial--;
	}
	return obj;
}

/* cache->lock held: an object comes home; a slab that is empty then may leave. */
static void slab_push(struct kmem_cache *c, void *obj, struct list_head *dead)
{
	struct page *page = compound_head(virt_to_page(obj));

	if (!page->index) {
		list_move(&page->lru, &c->partial);
		c->nr_partial++;
	}
	set_link(c, obj, (void *)page->index);
	page->index = (unsigned long)obj;
	count_inuse(page, -1);
	c->nr_free++;
	if (!slab_inuse(page) && c->nr_partial > SLAB_MIN_PARTIAL)
		remove_slab(c, page, dead);
}

/* ---- per-CPU arrays; interrupts off ---------------------------------------------------------- */

/* A batch of objects for an empty array, from the slab that was used last. */
static void refill(struct kmem_cache *c, struct slab_cpu *sc)
{
	spin_lock(&c->lock);
	while (sc->count < c->batch && !list_empty(&c->partial))
		sc->obj[sc->count++] =
			slab_pop(c, list_first_entry(&c->partial, struct page, lru));
	spin_unlock(&c->lock);
}

/* Gives the n oldest objects back; the slabs that became free are put on dead. */
static void flush_array(struct kmem_cache *c, struct slab_cpu *sc, unsigned n,
			struct list_head *dead)
{
	n = min(n, sc->count);
	spin_lock(&c->lock);
	for (unsigned i = 0; i < n; i++)
		slab_push(c, sc->obj[i], dead);
	spin_unlock(&c->lock);
	sc->count -= n;
	memmove(sc->obj, sc->obj + n, sc->count * sizeof(void *));
}

/* Gets a new slab in between, with interrupts as the caller had them; false: no memory. */
static bool grow(struct kmem_cache *c, gfp_t gfp)
{
	struct page *page = new_slab(c, gfp);
	irqflags_t flags;

	if (!page)
		return false;
	spin_lock_irqsave(&c->lock, flags);
	add_slab(c, page);
	spin_unlock_irqrestore(&c->lock, flags);
	return true;
}

/* The documents' slab_alloc: this CPU's array, then partial slabs, then a new slab. The CPU may
 * have changed while pages were asked for, so it starts over then. */
static inline void *slab_alloc(struct kmem_cache *c, gfp_t gfp)
{
	irqflags_t flags;
	void *obj;

	if (should_fail(QUIRE_INJECT_SLAB) && !(gfp & __GFP_NOFAIL))
		return NULL;
	for (;;) {
		unsigned cpu;
		struct slab_cpu *sc;

		flags = hal_irq_save();
		cpu = hal_cpu_id();
		sc = &c->cpu[cpu];
		if (unlikely(!sc->count))
			refill(c, sc);
		if (likely(sc->count)) {
			obj = sc->obj[--sc->count];
			__count_vm_events(cpu, SLAB_ALLOC_CALLS, 1);
			hal_irq_restore(flags);
			break;
		}
		hal_irq_restore(flags);
		if (!grow(c, gfp))
			return NULL;
	}
	if (unlikely(!test_mark(c, obj)))
		slab_bug(c, obj, "free object was written to");
	clear_mark(c, obj);
	return obj;
}

/* The documents' slab_free: onto this CPU's array, wherever the object came from. */
static inline void slab_free(struct kmem_cache *c, void *obj)
{
	struct slab_cpu *sc;
	irqflags_t flags;
	LIST_HEAD(dead);

	if (unlikely(test_mark(c, obj)))
		slab_bug(c, obj, "double free");
	set_mark(c, obj);
	hal_poison(obj, c->size);
	flags = hal_irq_save();
	sc = &c->cpu[hal_cpu_id()];
	if (unlikely(sc->count >= c->cap))
		flush_array(c, sc, c->batch, &dead);
	sc->obj[sc->count++] = obj;
	hal_irq_restore(flags);
	if (unlikely(!list_empty(&dead)))
		discard_list(c, &dead);
}

/* ---- caches ---------------------------------------------------------------------------------- */

void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp)
{
	void *obj = slab_alloc(c, gfp);

	if (unlikely(!obj))
		return NULL;
	hal_unpoison(obj, c->object_size);
	if (gfp & __GFP_ZERO)
		memset(obj, 0, c->object_size);
	return obj;
}

void *kmem_cache_zalloc(struct kmem_cache *c, gfp_t gfp)
{
	return kmem_cache_alloc(c, gfp | __GFP_ZERO);
}

void kmem_cache_free(struct kmem_cache *c, void *obj)
{
	if (!obj)
		return;
	object_page(c, obj);
	slab_free(c, obj);
}

/* The smallest order that wastes little and holds a fair number of objects. */
static unsigned calculate_order(unsigned size)
{
	unsigned least = order_base_2(DIV_ROUND_UP(size, PAGE_SIZE));

	for (unsigned want = 8; want; want /= 2)
		for (unsigned fraction = 16; fraction >= 4; fraction /= 2)
			for (unsigned o = least; o <= SLAB_MAX_ORDER; o++) {
				size_t bytes = PAGE_SIZE << o;

				if (bytes / size >= want && bytes % size <= bytes / fraction)
					return o;
			}
	return least;
}

/* Sizes, offsets and limits of a cache, all constant from here on. */
static void cache_setup(struct kmem_cache *c, const char *name, size_t size, size_t align,
			unsigned flags, void (*ctor)(void *obj))
{
	memset(c, 0, sizeof(*c));
	strscpy(c->name, name, sizeof(c->name));
	if (flags & SLAB_HWCACHE_ALIGN && size > 32)
		align = max(align, (size_t)64);
	align = max(align, sizeof(void *));
	c->object_size = size;
	c->align = align;
	c->flags = flags;
	c->ctor = ctor;
	c->meta = ctor ? ALIGN_UP(size, sizeof(void *)) : 0;
	c->size = ALIGN_UP(max(size, (size_t)c->meta + 2 * sizeof(void *)), align);
	c->recip = (uint32_t)(((1ull << 32) + c->size - 1) / c->size);
	c->cap = c->size <= 256 ? SLAB_CPU_MAX : c->size <= 1024 ? 32 : c->size <= 4096 ? 12 : 6;
	c->batch = c->cap / 2;
	c->order = calculate_order(c->size);
	c->objs = (PAGE_SIZE << c->order) / c->size;
	spin_lock_init_rank(&c->lock, "slab", RANK_SLAB);
	INIT_LIST_HEAD(&c->partial);
	INIT_LIST_HEAD(&c->full);
}

static void cache_publish(struct kmem_cache *c)
{
	irqflags_t flags;

	spin_lock_irqsave(&slab_caches_lock, flags);
	list_add_tail(&c->list, &slab_caches);
	spin_unlock_irqrestore(&slab_caches_lock, flags);
}

/* The cache is known to reports and drains only when it is whole. */
struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *obj))
{
	struct kmem_cache *c = NULL;

	if (size && size <= PAGE_SIZE << SLAB_MAX_ORDER >> 1)
		c = kmem_cache_alloc(&cache_cache, GFP_KERNEL);
	if (c) {
		cache_setup(c, name, size, align, flags, ctor);
		c->cpu = kzalloc(hal_cpu_count() * sizeof(*c->cpu), GFP_KERNEL);
		if (c->cpu) {
			cache_publish(c);
			return c;
		}
		kmem_cache_free(&cache_cache, c);
	}
	if (flags & SLAB_PANIC)
		os_panic("slab: cannot create a cache that must exist");
	return NULL;
}

/* Every CPU's array at once; nobody may be using the cache. */
static void flush_all_arrays(struct kmem_cache *c)
{
	irqflags_t flags = hal_irq_save();
	LIST_HEAD(dead);

	for (unsigned i = 0; i < hal_cpu_count(); i++)
		if (c->cpu[i].count)
			flush_array(c, &c->cpu[i], c->cpu[i].count, &dead);
	hal_irq_restore(flags);
	discard_list(c, &dead);
}

/* All empty slabs, also those that are kept against the next burst. */
static size_t discard_empty(struct kmem_cache *c)
{
	struct page *page, *next;
	size_t before, after;
	irqflags_t flags;
	LIST_HEAD(dead);

	spin_lock_irqsave(&c->lock, flags);
	before = c->nr_pages;
	list_for_each_entry_safe(page, next, &c->partial, lru)
		if (!slab_inuse(page))
			remove_slab(c, page, &dead);
	after = c->nr_pages;
	spin_unlock_irqrestore(&c->lock, flags);
	discard_list(c, &dead);
	return before - after;
}

/* An object without its mark is one that somebody still has. */
static void report_leaks(struct kmem_cache *c, struct list_head *slabs, size_t *n)
{
	struct page *page;
	char line[96];

	list_for_each_entry(page, slabs, lru) {
		char *obj = page_address(page);

		for (unsigned i = 0; i < slab_total(page); i++, obj += c->size) {
			if (test_mark(c, obj))
				continue;
			if ((*n)++ >= 8)
				continue;
			scnprintf(line, sizeof(line), "slab: %s: object %p was never freed",
				  c->name, (void *)obj);
			os_log(line);
		}
	}
}

/* Returns how many objects are out; the cache then stays as it is. */
static size_t cache_empty(struct kmem_cache *c)
{
	size_t leaks = 0;

	flush_all_arrays(c);
	discard_empty(c);
	report_leaks(c, &c->full, &leaks);
	report_leaks(c, &c->partial, &leaks);
	return leaks;
}

size_t kmem_cache_destroy(struct kmem_cache *c)
{
	irqflags_t flags;
	size_t leaks;

	if (!c)
		return 0;
	leaks = cache_empty(c);
	spin_lock_irqsave(&slab_caches_lock, flags);
	list_del_init(&c->list);
	spin_unlock_irqrestore(&slab_caches_lock, flags);
	if (leaks)
		return leaks; /* whoever holds them may still free them: keep what that needs */
	kfree(c->cpu);
	kmem_cache_free(&cache_cache, c);
	return 0;
}

static void flush_local(struct kmem_cache *c)
{
	irqflags_t flags = hal_irq_save();
	struct slab_cpu *sc = &c->cpu[hal_cpu_id()];
	LIST_HEAD(dead);

	if (sc->count)
		flush_array(c, sc, sc->count, &dead);
	hal_irq_restore(flags);
	discard_list(c, &dead);
}

static void flush_one_on_cpu(void *arg)
{
	flush_local(arg);
}

size_t kmem_cache_shrink(struct kmem_cache *c)
{
	unsigned n = hal_cpu_count();

	flush_local(c);
	if (n > 1 && !hal_irqs_off())
		hal_ipi_call(n < 64 ? (1ull << n) - 1 : ~0ull, flush_one_on_cpu, c);
	return discard_empty(c);
}

void slab_drain(void)
{
	struct kmem_cache *c;

	/* Caches come and go at start-up and tear-down only: the list may be walked unlocked. */
	list_for_each_entry(c, &slab_caches, list)
		kmem_cache_shrink(c);
}

/* ---- kmalloc --------------------------------------------------------------------------------- */

/* By table up to 192, where two classes are no power of two; by logarithm beyond. */
static inline unsigned kmalloc_index(size_t n)
{
	if (n <= 192) {
		static const uint8_t small[24] = {0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4,
						  5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6};

		return small[(n - 1) / 8];
	}
	return ilog2(n - 1) + 1 - 8 + 7; /* 256 is the eighth class */
}

/* Beyond the classes it is the buddy's business; the compound head remembers the size. */
static void *kmalloc_large(size_t n, gfp_t gfp)
{
	unsigned order = order_base_2(DIV_ROUND_UP(n, PAGE_SIZE));
	struct page *page;

	if (n > PAGE_SIZE << (MAX_ORDER - 1))
		return NULL;
	if (should_fail(QUIRE_INJECT_SLAB) && !(gfp & __GFP_NOFAIL))
		return NULL;
	count_vm_event(SLAB_ALLOC_CALLS);
	/* Compound even for one page's order, so that kfree() finds the size. */
	page = alloc_pages(gfp | __GFP_COMP, max(order, 1u));
	if (!page)
		return NULL;
	mod_node_page_state(NR_SLAB_UNRECLAIMABLE, 1l << compound_order(page));
	return page_address(page);
}

void *kmalloc(size_t n, gfp_t gfp)
{
	struct kmem_cache *c;
	void *obj;

	if (unlikely(n > KMALLOC_MAX))
		return kmalloc_large(n, gfp);
	if (unlikely(!n))
		n = 1;
	c = &kmalloc_caches[kmalloc_index(n)];
	obj = slab_alloc(c, gfp);
	if (unlikely(!obj))
		return NULL;
	hal_unpoison(obj, n);
	if (gfp & __GFP_ZERO)
		memset(obj, 0, n);
	return obj;
}

void *kzalloc(size_t n, gfp_t gfp)
{
	return kmalloc(n, gfp | __GFP_ZERO);
}

void kfree(const void *p)
{
	struct page *page;
	struct kmem_cache *c;

	if (!p)
		return;
	if (unlikely(!pfn_valid(PFN(hal_virt_to_phys(p) >> PAGE_SHIFT))))
		slab_bug(NULL, p, "pointer outside memory freed");
	page = compound_head(virt_to_page(p));
	if (likely(page_test(page, PG_slab))) {
		c = page->mapping;
		object_page(c, p);
		slab_free(c, (void *)p);
		return;
	}
	if (!page_test(page, PG_head) || page_address(page) != p)
		slab_bug(NULL, p, "foreign pointer freed");
	mod_node_page_state(NR_SLAB_UNRECLAIMABLE, -(1l << compound_order(page)));
	__free_pages(page, compound_order(page));
}

size_t ksize(const void *p)
{
	struct page *page;
	size_t n;

	if (!p)
		return 0;
	page = compound_head(virt_to_page(p));
	if (page_test(page, PG_slab))
		n = ((struct kmem_cache *)page->mapping)->object_size;
	else
		n = PAGE_SIZE << compound_order(page);
	/* Whoever asks is about to use all of it. */
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

/* ---- start and end --------------------------------------------------------------------------- */

static uint64_t any_entropy(void)
{
	return os_entropy() ^ hal_cycles() * 0x2545f4914f6cdd1dull;
}

int slab_init(void)
{
	unsigned n = hal_cpu_count(), i;
	char name[SLAB_NAME_MAX];
	struct page *page;

	boot_arrays_order = order_base_2(
		DIV_ROUND_UP((NR_KMALLOC + 1) * n * sizeof(struct slab_cpu), PAGE_SIZE));
	page = alloc_pages(GFP_KERNEL | __GFP_ZERO, boot_arrays_order);
	if (!page)
		return -ENOMEM;
	boot_arrays = page_address(page);
	secret = any_entropy() | 1;
	INIT_LIST_HEAD(&slab_caches);
	cache_setup(&cache_cache, "kmem_cache", sizeof(struct kmem_cache), 0, SLAB_HWCACHE_ALIGN,
		    NULL);
	cache_cache.cpu = boot_arrays;
	cache_publish(&cache_cache);
	for (i = 0; i < NR_KMALLOC; i++) {
		struct kmem_cache *c = &kmalloc_caches[i];
		unsigned size = kmalloc_sizes[i];

		scnprintf(name, sizeof(name), size < 1024 ? "kmalloc-%u" : "kmalloc-%uk",
			  size < 1024 ? size : size / 1024);
		/* Powers of two are aligned to themselves, as whoever uses kmalloc expects. */
		cache_setup(c, name, size, is_power_of_2(size) && size > 8 ? size : 8, 0, NULL);
		c->cpu = boot_arrays + (i + 1) * n;
		cache_publish(c);
	}
	return 0;
}

void slab_exit(void)
{
	cache_empty(&cache_cache);
	for (unsigned i = 0; i < NR_KMALLOC; i++)
		cache_empty(&kmalloc_caches[i]);
	__free_pages(virt_to_page(boot_arrays), boot_arrays_order);
	boot_arrays = NULL;
	INIT_LIST_HEAD(&slab_caches);
}

uint64_t slab_allocs_seen(void)
{
	return sum_vm_event(SLAB_ALLOC_CALLS);
}

/* ---- checking -------------------------------------------------------------------------------- */

/* The free list is walked with a limit: a broken one may run in a circle. */
static long check_slab_page(struct kmem_cache *c, struct page *page, unsigned long *free)
{
	unsigned n = 0;
	long bad = 0;

	bad += !page_test(page, PG_slab) || page->mapping != c;
	for (void *obj = (void *)page->index; obj; obj = get_link(c, obj)) {
		if (compound_head(virt_to_page(obj)) != page || !test_mark(c, obj) ||
		    ++n > slab_total(page)) {
			bad++;
			break;
		}
	}
	bad += n != slab_total(page) - slab_inuse(page);
	*free += n;
	return bad;
}

long slab_check(struct kmem_cache *c)
{
	unsigned long free = 0, slabs = 0, partial = 0;
	struct page *page;
	irqflags_t flags;
	long bad = 0;

	spin_lock_irqsave(&c->lock, flags);
	list_for_each_entry(page, &c->partial, lru) {
		bad += check_slab_page(c, page, &free) + !page->index;
		partial++;
	}
	list_for_each_entry(page, &c->full, lru) {
		bad += check_slab_page(c, page, &free) + !!page->index;
		slabs++;
	}
	bad += free != c->nr_free;
	bad += partial != c->nr_partial;
	bad += partial + slabs != c->nr_slabs;
	for (unsigned i = 0; i < hal_cpu_count(); i++) {
		bad += c->cpu[i].count > c->cap;
		for (unsigned j = 0; j < c->cpu[i].count && j < c->cap; j++)
			bad += !test_mark(c, c->cpu[i].obj[j]);
	}
	spin_unlock_irqrestore(&c->lock, flags);
	return bad;
}
