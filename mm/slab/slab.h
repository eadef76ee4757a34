/* SPDX-License-Identifier: MIT */
/*
 * The slab allocator's interface inside mm/: kmem_cache_*() for caches of equal objects, kmalloc()
 * over size classes. Names and meanings are Linux 5.10's; docs/slab.md tells how it works. Unless
 * stated: any context that the gfp flags allow, no lock of the slab allocator held.
 */
#ifndef MM_SLAB_H
#define MM_SLAB_H

#include "mm/base/gfp.h"
#include <quire/quire.h>
#include <stdbool.h>
#include <stddef.h>

struct kmem_cache;

#define SLAB_HWCACHE_ALIGN	0x1u	/* objects begin on a cache line, if that wastes little */
#define SLAB_PANIC		0x2u	/* creation may not fail */
#define SLAB_RECLAIM_ACCOUNT	0x4u	/* its objects can be reclaimed: counted and placed so */
#define SLAB_RECLAIMABLE	SLAB_RECLAIM_ACCOUNT
#define SLAB_CACHE_DMA		0x8u	/* pages below 16 MiB */
#define SLAB_CACHE_DMA32	0x10u	/* pages below 4 GiB */
#define SLAB_ACCOUNT		0x20u	/* does not share slabs with caches that lack it */
#define SLAB_NO_MERGE		0x40u	/* never shares slabs with another cache */
#define SLAB_NO_MAGAZINE	0x80u	/* no per-CPU arrays: each object from its slab */
/* slub_debug's letters: F, Z, P, U, T. */
#define SLAB_CONSISTENCY_CHECKS 0x100u
#define SLAB_RED_ZONE		0x200u
#define SLAB_POISON		0x400u
#define SLAB_STORE_USER		0x800u
#define SLAB_TRACE		0x1000u
#define SLAB_DEBUG_FLAGS                                                                   \
	(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER | SLAB_TRACE)

/*
 * A cache of objects of size bytes (1 .. half of the largest slab), aligned to align (a power of
 * two, 0: to a word). ctor (may be NULL) runs once for each object when its slab is set up, and
 * the object keeps its contents while it is free. The cache may be one that another caller
 * already has, if nothing but the name differs (slab_nomerge). NULL: no memory, or a size that
 * cannot be. Context: sleep.
 */
struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *obj));
/* Every object must have been freed and c not be in use (NULL: nothing to do). Reports each object
 * that is still out and returns how many there are; in that case the cache stays, so that they can
 * still be freed. Context: sleep. */
size_t kmem_cache_destroy(struct kmem_cache *c);
/* One object, NULL if there is no memory or a failure was injected. */
void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp);
void *kmem_cache_zalloc(struct kmem_cache *c, gfp_t gfp);
/* obj is one of c's or NULL. A free that cannot be (twice, foreign, another cache's) is reported
 * and changes nothing. */
void kmem_cache_free(struct kmem_cache *c, void *obj);
/* n objects at once into p: n, or 0 and none. */
unsigned kmem_cache_alloc_bulk(struct kmem_cache *c, gfp_t gfp, unsigned n, void **p);
void kmem_cache_free_bulk(struct kmem_cache *c, unsigned n, void **p);
/* Drains the CPUs' magazines and gives every empty slab back; returns the pages given back.
 * Context: sleep (with interrupts off only this CPU's magazines are drained). */
size_t kmem_cache_shrink(struct kmem_cache *c);
/* Reclaim may run inside the slab allocator: these do nothing, and answer 0, where slab_mutex is held.
 * Context: sleep. */
/* Free objects that are of no use where they are: in magazines and depots, and in slabs without another.
 * What slab_shrink() could take. */
unsigned long slab_idle_objects(void);
/* kmem_cache_shrink() of one cache after the other, from where the last call ended, until n such objects are
 * gone or there are none. How many went; *pages grows by the pages given back. */
unsigned long slab_shrink(unsigned long n, unsigned long *pages);

/* n bytes, aligned to a word, powers of two to themselves. 0 bytes are 1 byte. NULL: no memory, or
 * more than the largest block. */
void *kmalloc(size_t n, gfp_t gfp);
void *kzalloc(size_t n, gfp_t gfp);
/* Like kmalloc, with the contents of p (may be NULL) moved; on NULL p is as it was. n 0: frees p. */
void *krealloc(const void *p, size_t n, gfp_t gfp);
void kfree(const void *p); /* NULL allowed */
/* How many bytes p really has; all of them may be used from then on. */
size_t ksize(const void *p);

/* Room for what tells a frame's cache. Early boot: RAM is known, and memblock still hands out some.
 * 0 or -ENOMEM. */
int slab_frames_init(void);

/* Failures of one cache, by its name in slabinfo: 0, -ENOENT, -EINVAL. a NULL: off. */
int kmem_cache_fail(const char *name, const struct quire_fault_attr *a);

#endif
