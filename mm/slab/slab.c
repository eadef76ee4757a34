/* SPDX-License-Identifier: MIT */
/*
 * The slab allocator's core: kmem_cache_alloc() and kmem_cache_free() with their slow paths, the
 * bulk calls, and the per-CPU magazines between them and the slabs.
 *
 * Terms. A *cache* has objects of one size. A *slab* is a block of pages cut into them; *partial*:
 * some are free, *full*: none is. A *magazine* is an array of pointers to free objects (Bonwick and
 * Adams, "Magazines and Vmem"). The *depot* of a cache holds its magazines that no CPU has. A
 * *hardened* cache has a mark in each free object, a *checked* one red zones, poison and owners.
 *
 * Structures.
 *
 *      CPU 0            CPU 1              kmem_cache
 *   loaded  previous  loaded  previous      depot                     slabs
 *    |##|     |##|     | #|     |  |        full: ## ## ##            partial: 0110 1000 ...
 *    |##|     |##|     | #|     |  |        empty: __ __              full:    0000 ...
 *     interrupts off, no lock               cache->lock               cache->lock
 *
 * Each CPU has two magazines for each cache: the *loaded* one, of which top, base and end are kept
 * as pointers, and the *previous* one, which is always full or empty. So a CPU that allocates and
 * frees around a boundary swaps the two and does not go to the depot each time. A slab's free
 * objects are bits in its struct page, or at its end if a word is too short (slab_pages.c).
 *
 * Allocation. slab_alloc() pops the loaded magazine: no lock, no atomic. If it is empty,
 * __slab_alloc(): swap with the previous one if that is full; else exchange it for a full one of
 * the depot; else refill it with a batch of a partial slab's objects; else ask the page allocator
 * for a new slab (grow) and start over.
 *
 * Freeing. slab_free() pushes onto this CPU's loaded magazine, whichever CPU the object came from.
 * If it is full, __slab_free(): swap with the previous one if that is empty; else the previous one
 * goes to the depot for an empty one; when the depot has enough, its objects are drained into their
 * slabs under one hold of the lock. So what one CPU allocates and another frees costs a lock once a
 * magazine, not once an object.
 *
 * States of an object: out (its user's) | in one magazine | free in its slab (its bit). Never two
 * of them (I10). A slab that becomes empty stays on the partial list if there are at most ten, else
 * it goes back to the page allocator, after cache->lock is released (struct slab_deferred).
 *
 * Locks. Magazines of a CPU: interrupts off on that CPU. cache->lock (rank 50): depot, lists, bits,
 * counts. slab_mutex: which caches there are; never in a free path. Pages are asked for with none
 * of them held (I12), because reclaim may free objects of the very same cache. Magazines are
 * objects of magazine_cache, which has none itself; without memory for them a cache works object by
 * object.
 *
 * Limits. Objects of up to half the largest slab (order 3); 126 objects a magazine, fewer for
 * larger objects; a depot of 16 full magazines or about 256 KiB; 511 caches whose objects are found
 * by frame (slab_frames), any number beyond by struct page.
 *
 * Tried and rejected (figures: docs/slab.md).
 * - A linked list through the free objects: taking and returning one touches memory that may be
 *   cold. Random frees of a million took 2.3 times mimalloc's time with it, 1.3 to 1.5 with bits.
 * - Struct pages on the way from a pointer to its cache: two bytes a frame in a table are a
 *   thirtieth of the cache lines; 1.0 to 1.2 times.
 * - Magazines of 62 for small objects too: 126 halve the locks; 0.9 to 1.1 times.
 * - An index into the magazine instead of a pointer: a pair of kmalloc 8.4 ns against 5.3.
 * - The mark in every build: it is a look at an object that may be cold, so it is an option.
 */
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/slab/slab_def.h"

/* ---- magazines; interrupts off --------------------------------------------------------------- */

static void load(struct kmem_cache *c, struct kmem_cache_cpu *k, struct slab_mag *m)
{
	ASSERT_DEBUG(m->count <= c->cap);
	k->loaded = m;
	k->base = m->obj;
	k->top = m->obj + m->count;
	k->end = m->obj + c->cap;
}

static void swap_magazines(struct kmem_cache *c, struct kmem_cache_cpu *k)
{
	struct slab_mag *m = k->prev;

	assert_irqs_off();
	k->loaded->count = k->top - k->base;
	k->prev = k->loaded;
	WRITE_ONCE(k->prev_count, k->prev->count);
	load(c, k, m);
}

static slab_noinline void *__slab_alloc(struct kmem_cache *c, gfp_t gfp, void *bad, uintptr_t ip);

/* An empty magazine; NULL: no memory. Any context, no lock held. No caller asked for it, so it
 * takes no injected failure and writes no trace record. */
static struct slab_mag *new_magazine(void)
{
	struct slab_mag *m = __slab_alloc(magazine_cache, GFP_NOWAIT | __GFP_NOWARN, NULL, RET_IP);

	if (m) {
		hal_unpoison(m, sizeof(*m));
		m->count = 0;
	}
	return m;
}

static void free_magazine(struct slab_mag *m)
{
	ASSERT_DEBUG(!m || m->count <= SLAB_MAG_MAX);
	if (m)
		__slab_free(magazine_cache, m, RET_IP);
}

/* Gives a CPU its first two magazines. False: no memory, it works object by object. */
static bool cpu_magazines_alloc(struct kmem_cache *c, struct kmem_cache_cpu *k)
{
	struct slab_mag *a, *b;

	assert_irqs_off();
	ASSERT_DEBUG(!k->loaded);
	if (!c->cap)
		return false;
	a = new_magazine();
	b = a ? new_magazine() : NULL;
	if (!b) {
		free_magazine(a);
		return false;
	}
	load(c, k, a);
	k->prev = b;
	WRITE_ONCE(k->prev_count, 0);
	return true;
}

/* cache->lock held: takes the first of a list. */
static struct slab_mag *depot_take(struct kmem_cache *c, struct slab_mag **list, unsigned *n)
{
	struct slab_mag *m = *list;

	assert_held(&c->lock);
	if (m) {
		*list = m->next;
		--*n;
	}
	return m;
}

static void depot_put(struct kmem_cache *c, struct slab_mag **list, unsigned *n,
		      struct slab_mag *m)
{
	assert_held(&c->lock);
	m->next = *list;
	*list = m;
	++*n;
}

/* Returns n objects to their slabs. */
static void push_all(struct kmem_cache *c, void **obj, unsigned n, struct slab_deferred *d)
{
	assert_irqs_off();
	/* slab_push() needs these one after the other: fetch them all at once. */
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(virt_to_page(obj[i]), 1);
	spin_lock(&c->lock);
	slab_push(c, obj, n, d);
	spin_unlock(&c->lock);
}

/* Up to n objects of partial slabs, most recently used slab first; cache->lock held. *broken: a
 * slab that was retired, to be reported once the lock is free. */
static unsigned pop_some(struct kmem_cache *c, void **obj, unsigned n, void **broken)
{
	unsigned got = 0;
	bool bad = false;

	assert_held(&c->lock);
	while (got < n && !bad && !list_empty(&c->partial)) {
		struct page *page = list_first_entry(&c->partial, struct page, lru);

		got += slab_pop(c, page, obj + got, n - got, &bad);
		if (unlikely(bad))
			*broken = page_address(page);
	}
	return got;
}

/* Refills the empty loaded magazine: by a full one of the depot, or from partial slabs. */
static bool refill(struct kmem_cache *c, struct kmem_cache_cpu *k, void **broken)
{
	struct slab_mag *m;

	assert_irqs_off();
	ASSERT_DEBUG_I("I10", k->top == k->base);
	if (k->prev->count) {
		swap_magazines(c, k);
		return true;
	}
	spin_lock(&c->lock);
	m = depot_take(c, &c->mags_full, &c->nr_mags_full);
	if (m) {
		k->loaded->count = 0;
		depot_put(c, &c->mags_empty, &c->nr_mags_empty, k->loaded);
		load(c, k, m);
	} else {
		k->top += pop_some(c, k->base, c->cap, broken);
	}
	spin_unlock(&c->lock);
	return k->top != k->base;
}

/* Makes room when the loaded magazine is full: an empty one takes its place, and a full one goes to
 * the depot or, when that has enough, is drained into the slabs. */
static void make_room(struct kmem_cache *c, struct kmem_cache_cpu *k, struct slab_deferred *d)
{
	struct slab_mag *m = NULL;
	bool wanted;

	assert_irqs_off();
	ASSERT_DEBUG_I("I10", k->top == k->end);
	if (k->prev->count) {
		spin_lock(&c->lock);
		wanted = c->nr_mags_full < c->depot_max;
		if (wanted)
			m = depot_take(c, &c->mags_empty, &c->nr_mags_empty);
		spin_unlock(&c->lock);
		if (wanted && !m)
			m = new_magazine();
		if (m) {
			spin_lock(&c->lock);
			depot_put(c, &c->mags_full, &c->nr_mags_full, k->prev);
			spin_unlock(&c->lock);
			k->prev = m;
		} else {
			push_all(c, k->prev->obj, k->prev->count, d);
			k->prev->count = 0;
		}
	}
	swap_magazines(c, k);
}

/* ---- the slow halves of slab_alloc and slab_free --------------------------------------------- */

/* The loaded magazine is not empty. */
static void *mag_pop(struct kmem_cache_cpu *k)
{
	assert_irqs_off();
	ASSERT_DEBUG(k->top > k->base);
	return *--k->top;
}

/* It is not full. */
static void mag_push(struct kmem_cache_cpu *k, void *obj)
{
	assert_irqs_off();
	ASSERT_DEBUG(k->top < k->end);
	*k->top++ = obj;
}

/* With interrupts off: one object, if one can be had without asking for pages. */
static void *alloc_local(struct kmem_cache *c, void **broken)
{
	struct kmem_cache_cpu *k = &c->cpu[hal_cpu_id()];
	void *obj = NULL;

	assert_irqs_off();
	if (k->loaded || cpu_magazines_alloc(c, k)) {
		if (k->top != k->base || refill(c, k, broken))
			obj = mag_pop(k);
	} else {
		spin_lock(&c->lock);
		pop_some(c, &obj, 1, broken);
		spin_unlock(&c->lock);
	}
	if (obj)
		k->allocs++;
	return obj;
}

/* Adds a new slab to the cache; false: no memory. The CPU may have changed when it returns. */
static bool grow(struct kmem_cache *c, gfp_t gfp)
{
	struct page *page = new_slab(c, gfp);
	irqflags_t flags;

	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	if (!page)
		return false;
	spin_lock_irqsave(&c->lock, flags);
	add_slab(c, page);
	spin_unlock_irqrestore(&c->lock, flags);
	return true;
}

/* obj came out of a magazine and had been written to while free: it is never handed out again. */
static void retire_object(struct kmem_cache *c, void *obj, uintptr_t ip)
{
	irqflags_t flags;

	ASSERT(c->hardened);
	slab_report(c, obj, SLAB_BUG_WRITTEN, ip);
	spin_lock_irqsave(&c->lock, flags);
	count_lost(c, 1);
	spin_unlock_irqrestore(&c->lock, flags);
}

static slab_noinline void *__slab_alloc(struct kmem_cache *c, gfp_t gfp, void *bad, uintptr_t ip)
{
	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	for (;;) {
		void *obj, *broken = NULL;
		irqflags_t flags;

		if (unlikely(bad))
			retire_object(c, bad, ip);
		if (slab_checked(c))
			return slab_debug_alloc(c, gfp, ip);
		flags = hal_irq_save();
		obj = alloc_local(c, &broken);
		hal_irq_restore(flags);
		if (unlikely(broken))
			slab_report(c, broken, SLAB_BUG_FREELIST, ip);
		if (likely(obj) && !c->hardened)
			return obj;
		if (likely(obj) && likely(marked_free(c, obj))) {
			clear_mark(c, obj);
			return obj;
		}
		bad = obj;
		if (!obj && !broken && !grow(c, gfp))
			return NULL;
	}
}

/* The slow path of an allocation whose magazine was empty. */
slab_noinline void *slab_alloc_miss(struct kmem_cache *c, size_t n, gfp_t gfp, void *bad,
				    uintptr_t ip)
{
	void *obj = __slab_alloc(c, gfp, bad, ip);

	if (obj)
		hal_unpoison(obj, n);
	return obj;
}

slab_noinline void __slab_free(struct kmem_cache *c, void *obj, uintptr_t ip)
{
	struct kmem_cache_cpu *k;
	irqflags_t flags;
	SLAB_DEFERRED(d);

	ASSERT_DEBUG(obj);
	if (slab_checked(c)) {
		slab_debug_free(c, obj, ip);
		return;
	}
	if (c->hardened) {
		if (unlikely(marked_free(c, obj))) {
			slab_report(c, obj, SLAB_BUG_DOUBLE_FREE, ip);
			return;
		}
		set_mark(c, obj);
	}
	hal_poison(obj, c->size);
	flags = hal_irq_save();
	k = &c->cpu[hal_cpu_id()];
	if (k->loaded || cpu_magazines_alloc(c, k)) {
		if (k->top == k->end)
			make_room(c, k, &d);
		mag_push(k, obj);
	} else {
		push_all(c, &obj, 1, &d);
	}
	hal_irq_restore(flags);
	slab_run_deferred(c, &d, ip);
}

/* ---- the public calls ------------------------------------------------------------------------ */

slab_noinline void *slab_alloc_hooked(struct kmem_cache *c, size_t n, gfp_t gfp, unsigned event,
				      uintptr_t ip)
{
	bool hooked = kmem_hooked();
	void *obj, *bad = NULL;

	if (hooked && !slab_pre_alloc(c, gfp))
		return NULL;
	obj = slab_alloc(c, &bad);
	if (unlikely(!obj))
		obj = __slab_alloc(c, gfp, bad, ip);
	if (gfp & __GFP_ZERO && obj) {
		/* All that ksize() reports, not only what was asked for. */
		hal_unpoison(obj, c->object_size);
		memset(obj, 0, c->object_size);
		if (!slab_checked(c))
			hal_poison(obj, c->object_size);
	}
	if (hooked)
		slab_post_alloc(c, obj, n, gfp, event, ip);
	if (obj)
		hal_unpoison(obj, n);
	return obj;
}

slab_noinline void slab_free_hooked(struct kmem_cache *c, void *obj, unsigned event, uintptr_t ip)
{
	if (!obj || !slab_good_pointer(c, obj, ip))
		return;
	if (kmem_hooked())
		slab_pre_free(c, obj, event, ip);
	if (unlikely(!slab_free(c, obj)))
		__slab_free(c, obj, ip);
}

void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp)
{
	void *obj, *bad = NULL;

	if (likely(!(kmem_hook_word() | (gfp & __GFP_ZERO)))) {
		obj = slab_alloc(c, &bad);
		if (likely(obj)) {
			hal_unpoison(obj, c->object_size);
			return obj;
		}
		return slab_alloc_miss(c, c->object_size, gfp, bad, RET_IP);
	}
	return slab_alloc_hooked(c, c->object_size, gfp, QUIRE_TR_KMEM_CACHE_ALLOC, RET_IP);
}

void *kmem_cache_zalloc(struct kmem_cache *c, gfp_t gfp)
{
	return slab_alloc_hooked(c, c->object_size, gfp | __GFP_ZERO, QUIRE_TR_KMEM_CACHE_ALLOC,
				 RET_IP);
}

void kmem_cache_free(struct kmem_cache *c, void *obj)
{
	if (unlikely(slab_quick_cache(obj) != c))
		slab_free_hooked(c, obj, QUIRE_TR_KMEM_CACHE_FREE, RET_IP);
	else if (unlikely(!slab_free(c, obj)))
		__slab_free(c, obj, RET_IP);
}

/* Pops up to n objects off the loaded magazine, as long as their marks are good. */
static unsigned bulk_local(struct kmem_cache *c, unsigned n, void **p)
{
	irqflags_t flags = hal_irq_save();
	struct kmem_cache_cpu *k = &c->cpu[hal_cpu_id()];
	unsigned got = 0;

	while (got < n && k->top != k->base) {
		void *obj = k->top[-1];

		if (c->hardened) {
			if (unlikely(!marked_free(c, obj)))
				break; /* slab_alloc() reports it */
			clear_mark(c, obj);
		}
		p[got++] = mag_pop(k);
	}
	k->allocs += got;
	hal_irq_restore(flags);
	return got;
}

unsigned kmem_cache_alloc_bulk(struct kmem_cache *c, gfp_t gfp, unsigned n, void **p)
{
	unsigned got = 0;

	ASSERT_DEBUG(p);
	while (got < n) {
		unsigned more = kmem_hooked() ? 0 : bulk_local(c, n - got, p + got);

		for (unsigned i = got; i < got + more; i++) {
			hal_unpoison(p[i], c->object_size);
			if (gfp & __GFP_ZERO)
				memset(p[i], 0, c->object_size);
		}
		got += more;
		if (got == n)
			break;
		p[got] = kmem_cache_alloc(c, gfp);
		if (!p[got]) {
			kmem_cache_free_bulk(c, got, p);
			return 0;
		}
		got++;
	}
	return got;
}

/* Pushes objects onto the loaded magazine until it is full or one looks wrong; returns how many. */
static unsigned bulk_free_local(struct kmem_cache *c, unsigned n, void **p)
{
	irqflags_t flags = hal_irq_save();
	struct kmem_cache_cpu *k = &c->cpu[hal_cpu_id()];
	unsigned done = 0;

	for (; done < n && k->top != k->end; done++) {
		void *obj = p[done];

		if (unlikely(slab_quick_cache(obj) != c || (c->hardened && marked_free(c, obj))))
			break; /* kmem_cache_free() reports it */
		if (c->hardened)
			set_mark(c, obj);
		hal_poison(obj, c->size);
		mag_push(k, obj);
	}
	hal_irq_restore(flags);
	return done;
}

void kmem_cache_free_bulk(struct kmem_cache *c, unsigned n, void **p)
{
	while (n) {
		unsigned done = bulk_free_local(c, n, p);

		p += done;
		n -= done;
		if (!n)
			break;
		kmem_cache_free(c, *p++);
		n--;
	}
}

/* ---- draining -------------------------------------------------------------------------------- */

void flush_cpu(struct kmem_cache *c, unsigned cpu)
{
	irqflags_t flags = hal_irq_save();
	struct kmem_cache_cpu *k = &c->cpu[cpu];
	struct slab_mag *loaded = k->loaded, *prev = k->prev;
	SLAB_DEFERRED(d);

	if (loaded) {
		push_all(c, k->base, k->top - k->base, &d);
		push_all(c, prev->obj, prev->count, &d);
		k->top = k->base = k->end = NULL;
		k->loaded = k->prev = NULL;
		WRITE_ONCE(k->prev_count, 0);
	}
	hal_irq_restore(flags);
	slab_run_deferred(c, &d, RET_IP);
	free_magazine(loaded);
	free_magazine(prev);
}

void flush_depot(struct kmem_cache *c)
{
	irqflags_t flags;
	SLAB_DEFERRED(d);

	for (;;) {
		struct slab_mag *m;

		spin_lock_irqsave(&c->lock, flags);
		m = depot_take(c, &c->mags_full, &c->nr_mags_full);
		if (m)
			slab_push(c, m->obj, m->count, &d);
		else
			m = depot_take(c, &c->mags_empty, &c->nr_mags_empty);
		spin_unlock_irqrestore(&c->lock, flags);
		if (!m)
			break;
		free_magazine(m);
	}
	slab_run_deferred(c, &d, RET_IP);
}
