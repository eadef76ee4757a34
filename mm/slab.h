/* SPDX-License-Identifier: MIT */
/* The slab allocator's face inside mm/: caches of equal objects, and kmalloc over size classes. */
#ifndef MM_SLAB_H
#define MM_SLAB_H

#include "mm/gfp.h"
#include <stdbool.h>
#include <stddef.h>

struct kmem_cache;

#define SLAB_HWCACHE_ALIGN 0x1u
#define SLAB_PANIC	   0x2u
#define SLAB_RECLAIMABLE   0x4u

/* ctor (may be NULL) runs once when an object's slab page is set up. NULL: no memory. */
struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *obj));
/* All objects must be back; reports each leak and returns how many there were. */
size_t kmem_cache_destroy(struct kmem_cache *c);
void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp);
void *kmem_cache_zalloc(struct kmem_cache *c, gfp_t gfp);
void kmem_cache_free(struct kmem_cache *c, void *obj);
size_t kmem_cache_shrink(struct kmem_cache *c); /* pages given back */

void *kmalloc(size_t n, gfp_t gfp);
void *kzalloc(size_t n, gfp_t gfp);
void *krealloc(const void *p, size_t n, gfp_t gfp);
void kfree(const void *p);
size_t ksize(const void *p);

#endif
