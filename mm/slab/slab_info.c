/* SPDX-License-Identifier: MIT */
/* /proc/slabinfo, in Linux's format, and the checker of the slab allocator's invariants. */
#include "lib/printf.h"
#include "mm/slab/slab_def.h"

/* ---- slabinfo -------------------------------------------------------------------------------- */

/* What makes no sense, because it was read while it moved, counts for nothing: the owners' stores are the
 * fast paths, and plain. */
__attribute__((no_sanitize("thread")))
unsigned long slab_in_magazines(const struct kmem_cache *c)
{
	unsigned long n = 0;

	assert_held(&c->lock);
	for (unsigned i = 0; i < hal_cpu_count(); i++) {
		const struct kmem_cache_cpu *k = &c->cpu[i];

		size_t loaded = __atomic_load_n(&k->top, __ATOMIC_RELAXED) -
				__atomic_load_n(&k->base, __ATOMIC_RELAXED);

		n += (loaded <= c->cap ? loaded : 0) + READ_ONCE(k->prev_count);
	}
	for (const struct slab_mag *m = c->mags_full; m; m = m->next)
		n += m->count;
	return n;
}

static void show_cache(struct kmem_cache *c, quire_emit_fn emit, void *ctx)
{
	unsigned long objs, slabs, idle;
	irqflags_t flags;

	spin_lock_irqsave(&c->lock, flags);
	objs = c->nr_objs;
	slabs = c->nr_slabs;
	idle = c->nr_free + slab_in_magazines(c);
	spin_unlock_irqrestore(&c->lock, flags);
	emitf(emit, ctx, "%-17s %6lu %6lu %6u %4u %4lu", c->name, objs - min(objs, idle), objs,
	      c->size, c->objs, 1ul << c->order);
	emitf(emit, ctx, " : tunables %4u %4u %4u", 0u, 0u, 0u);
	emitf(emit, ctx, " : slabdata %6lu %6lu %6lu\n", slabs, slabs, 0ul);
}

/* Newest cache first, as in Linux. */
void quire_show_slabinfo(quire_emit_fn emit, void *ctx)
{
	struct kmem_cache *c;

	emitf(emit, ctx,
	      "slabinfo - version: 2.1\n"
	      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
	      " : tunables <limit> <batchcount> <sharedfactor>"
	      " : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
	mutex_lock(&slab_mutex);
	list_for_each_entry_reverse(c, cache_list(), list)
		show_cache(c, emit, ctx);
	mutex_unlock(&slab_mutex);
}

/* ---- invariants ------------------------------------------------------------------------------ */

static long check_slab_page(struct kmem_cache *c, struct page *page, unsigned long *free)
{
	long bad = 0;

	assert_held(&c->lock);
	bad += !page_test(page, PG_slab) || page->mapping != c;
	bad += !slab_bits_sound(c, page);
	*free += slab_total(page) - slab_inuse(page);
	/* A slab that was given up has free objects on no list, which are not told from others. */
	if (slab_checked(c) && !c->nr_lost)
		bad += slab_debug_check(c, page);
	return bad;
}

/* The objects of an array are free, and each in one array only. */
static long check_array(struct kmem_cache *c, void *const *obj, unsigned n)
{
	long bad = n > SLAB_MAG_MAX;

	assert_held(&c->lock);
	for (unsigned i = 0; i < n && i < SLAB_MAG_MAX; i++) {
		struct page *page = compound_head(virt_to_page(obj[i]));

		bad += page->mapping != c || slab_object_is_free(c, page, obj[i]) ||
		       (c->hardened && !marked_free(c, obj[i]));
	}
	return bad;
}

static long check_magazines(struct kmem_cache *c)
{
	unsigned n = 0;
	long bad = 0;

	assert_held(&c->lock);
	for (unsigned i = 0; i < hal_cpu_count(); i++) {
		const struct kmem_cache_cpu *k = &c->cpu[i];

		bad += k->top > k->end || k->top < k->base;
		bad += check_array(c, k->base, k->top - k->base);
		if (k->prev) {
			bad += k->prev->count && k->prev->count != c->cap;
			bad += check_array(c, k->prev->obj, k->prev->count);
		}
	}
	for (const struct slab_mag *m = c->mags_full; m; m = m->next, n++)
		bad += check_array(c, m->obj, m->count) + (m->count != c->cap);
	bad += n != c->nr_mags_full || n > c->depot_max + hal_cpu_count();
	n = 0;
	for (const struct slab_mag *m = c->mags_empty; m; m = m->next)
		n++;
	return bad + (n != c->nr_mags_empty);
}

long slab_check(struct kmem_cache *c)
{
	unsigned long free = 0, full = 0, partial = 0, objs = 0, empty = 0;
	struct page *page;
	irqflags_t flags;
	long bad = 0;

	spin_lock_irqsave(&c->lock, flags);
	list_for_each_entry(page, &c->partial, lru) {
		bad += check_slab_page(c, page, &free) + !slab_has_free(page);
		objs += slab_total(page);
		empty += slab_inuse(page) ? 0 : slab_total(page);
		partial++;
	}
	list_for_each_entry(page, &c->full, lru) {
		bad += check_slab_page(c, page, &free) + slab_has_free(page);
		objs += slab_total(page);
		full++;
	}
	bad += free != c->nr_free;
	bad += empty != c->nr_empty_objs;
	bad += objs != c->nr_objs;
	bad += partial != c->nr_partial;
	bad += partial + full != c->nr_slabs;
	bad += c->nr_free + slab_in_magazines(c) + c->nr_lost > c->nr_objs;
	bad += check_magazines(c);
	spin_unlock_irqrestore(&c->lock, flags);
	return bad;
}
