/* SPDX-License-Identifier: MIT */
/* The inside of the slab allocator, for slab.c, its report and its checker. */
#ifndef MM_SLAB_DEF_H
#define MM_SLAB_DEF_H

#include "lib/list.h"
#include "lib/spinlock.h"
#include "mm/page.h"
#include "mm/slab.h"

#define SLAB_CPU_MAX 64
#define SLAB_NAME_MAX 32
#define SLAB_MAX_ORDER 3
#define SLAB_MIN_PARTIAL 5 /* slabs kept on the list even if they are empty */

/* One CPU's free objects of one cache: LIFO, used with interrupts off on that CPU only. */
struct slab_cpu {
	unsigned count;
	void *obj[SLAB_CPU_MAX];
} __attribute__((aligned(64)));

struct kmem_cache {
	unsigned object_size;	/* what the user asked for */
	unsigned size;		/* distance of two objects */
	unsigned meta;		/* where in a free object link and mark lie */
	uint32_t recip;		/* ceil(2^32 / size): offset to number without a division */
	unsigned cap, batch;	/* of the per-CPU arrays */
	unsigned order, objs;	/* of a new slab */
	unsigned align, flags;
	void (*ctor)(void *obj);
	struct slab_cpu *cpu;	/* one for each CPU */
	spinlock_t lock;	/* everything below, and the slabs' free lists and counts */
	struct list_head partial, full;
	unsigned long nr_partial, nr_slabs, nr_objs;
	unsigned long nr_free;	/* free objects in slabs (not in per-CPU arrays) */
	unsigned long nr_pages;
	struct list_head list;	/* all caches; slab_caches_lock */
	char name[SLAB_NAME_MAX];
};

/* A slab's page: mapping is the cache, index the first free object, units how many objects there
 * are (upper half, constant; whoever frees reads it without a lock) and how many are out. */
static inline unsigned slab_inuse(const struct page *p)
{
	return __atomic_load_n(&p->units, __ATOMIC_RELAXED) & 0xffff;
}

static inline unsigned slab_total(const struct page *p)
{
	return __atomic_load_n(&p->units, __ATOMIC_RELAXED) >> 16;
}

extern struct list_head slab_caches;
extern spinlock_t slab_caches_lock;

int slab_init(void);   /* after the buddy; 0 or -ENOMEM */
void slab_exit(void);  /* every cache but the first ones is gone, or reported */
/* Per-CPU arrays back to the slabs, empty slabs back to the buddy. Context: sleep. */
void slab_drain(void);
/* The invariants of one cache: how many are broken. */
long slab_check(struct kmem_cache *c);

#endif
