/* SPDX-License-Identifier: MIT */
/*
 * Slab allocator internals: struct kmem_cache, magazines and per-CPU state, the two fast paths, and
 * what the files of mm/slab/ call in each other. slab.c: magazines. slab_pages.c: slabs.
 * slab_cache.c: creating and destroying caches. kmalloc.c: size classes. slab_debug.c: corruption,
 * reports, checked caches. slab_info.c: /proc/slabinfo, and the invariants.
 */
#ifndef MM_SLAB_DEF_H
#define MM_SLAB_DEF_H

#include "lib/list.h"
#include "lib/mutex.h"
#include "lib/spinlock.h"
#include "mm/base/fail_inject.h"
#include "mm/base/slowpath.h"
#include "mm/phys/page_alloc.h"
#include "mm/slab/slab.h"

#define SLAB_NAME_MAX	 32
#define SLAB_MAX_ORDER	 3
#define SLAB_MIN_PARTIAL 10 /* slabs kept on the list even if they are empty */
#define SLAB_MAG_MAX	 126 /* a magazine is 1 KiB then */
#define SLAB_DEPOT_BYTES (256u << 10) /* free objects in a cache's depot, at most about so much */
#define SLAB_DEPOT_MAX	 16 /* and at most so many full magazines */

/* An array of free objects, LIFO. Belongs to one CPU, or lies in a depot, full or empty. */
struct slab_mag {
	struct slab_mag *next; /* in the depot; cache->lock */
	unsigned count;	       /* objects; a CPU's loaded one: see kmem_cache_cpu */
	void *obj[SLAB_MAG_MAX];
};

/*
 * One CPU's part of one cache: used with interrupts off on that CPU only. Without magazines (not
 * yet, or never) base, top and end are NULL, so that the fast paths fall through. A pointer rather
 * than an array and a number: a processor that renames memory then forwards what one call stored
 * to the next one's load without waiting for either address.
 */
struct kmem_cache_cpu {
	void **top;	     /* behind the newest object of the loaded magazine */
	void **base, **end;  /* its first place, and behind its last one */
	struct slab_mag *loaded;
	struct slab_mag *prev; /* always full or empty */
	unsigned prev_count; /* objects in it, for those who count; atomic */
	unsigned long allocs;
} __attribute__((aligned(64)));

/* The last allocation or free of an object of a checked cache (SLAB_STORE_USER). */
struct slab_track {
	uintptr_t addr; /* the caller; 0: none yet */
	uint64_t when;	/* ns */
	uint32_t cpu, pid;
};

struct kmem_cache {
	/* Constant once the cache is known; the fast paths need just this line. */
	unsigned offset;	    /* where in a free object its mark lies */
	unsigned size;		    /* distance of two objects */
	unsigned object_size;	    /* what the user may write to */
	uint32_t recip;		    /* ceil(2^32 / size): offset to number without a division */
	unsigned number;	    /* in slab_numbered; 0: none, and bound is 0 */
	uint64_t recip64, bound;    /* whether an offset is an object's: slab_quick_cache() */
	unsigned flags;
	unsigned cap;		    /* of a magazine; 0: none */
	bool hardened;		    /* free objects carry marks; constant for all caches */
	void (*ctor)(void *obj);
	gfp_t allocflags;	    /* for its pages */
	/* Constant, too. */
	unsigned inuse, red_left_pad; /* checked caches: end of object and right red zone; start */
	unsigned order, objs;	      /* of a new slab */
	unsigned bits_at;	      /* where in a slab its bits are; 0: in its struct page */
	unsigned align, depot_max;
	int refcount;		      /* callers that share it; slab_mutex */
	bool boot;		      /* one of the first: not from cache_cache */
	struct fault_attr fail;	      /* failures of this cache alone */

	spinlock_t lock __attribute__((aligned(64))); /* all below, and slabs' free lists, counts */
	struct list_head partial, full;
	struct slab_mag *mags_full, *mags_empty;
	unsigned nr_mags_full, nr_mags_empty;
	unsigned long nr_partial, nr_slabs, nr_objs;
	unsigned long nr_free;	      /* free objects in slabs (not in magazines) */
	unsigned long nr_empty_objs;  /* of those the ones in slabs that are empty */
	unsigned long nr_lost;	      /* retired after a corruption; never handed out again */
	unsigned long nr_pages;
	uint64_t random;	      /* slab_freelist_random=1: what comes next */
	struct list_head list;	      /* all caches; slab_mutex */
	char name[SLAB_NAME_MAX];
	/* One for each CPU, behind the rest rather than behind a pointer: kfree() finds the cache by
	 * a chain of loads, each of which counts. */
	struct kmem_cache_cpu cpu[];
};

extern struct list_head slab_caches;
extern struct mutex slab_mutex; /* which caches there are; sleeps, so never in a free path */
extern struct kmem_cache *magazine_cache;
static inline struct list_head *cache_list(void)
{
	assert_mutex_held(&slab_mutex);
	return &slab_caches;
}
extern uintptr_t slab_secret;	/* differs in every start */

/*
 * Which cache a frame belongs to, in two bytes for each frame from the first of RAM on: the cache's
 * number and, above it, which page of its slab it is; 0: look at the struct page. So the way from a
 * pointer to its cache, which every free goes, takes a thirtieth of the cache lines that it would
 * over struct pages. Written when a slab comes and goes.
 */
#define SLAB_NUMBER_BITS 12
#define SLAB_NUMBERS	 512 /* caches beyond have none, and the slower way */
extern uint16_t *slab_frames;
extern uintptr_t slab_base;	 /* the first frame's address */
extern struct kmem_cache *slab_numbered[SLAB_NUMBERS]; /* what is unused: a cache without objects */

/* Allocations of objects since the start, for failure injection. Context: sleep. */
uint64_t slab_allocs_seen(void);

/* n objects more are given up. */
static inline void count_lost(struct kmem_cache *c, unsigned long n)
{
	assert_held(&c->lock);
	c->nr_lost += n;
}

/* ---- a slab's page --------------------------------------------------------------------------- */
/* mapping: the cache. units: how many objects there are (upper half, constant; read without a
 * lock) and how many are out. index: a bit for each object,
 * set while it is free in its slab, if a word has room for all. */

static inline unsigned slab_inuse(const struct page *p)
{
	return __atomic_load_n(&p->units, __ATOMIC_RELAXED) & 0xffff;
}

static inline unsigned slab_total(const struct page *p)
{
	return __atomic_load_n(&p->units, __ATOMIC_RELAXED) >> 16;
}

static inline bool slab_has_free(const struct page *p)
{
	return slab_inuse(p) != slab_total(p);
}

static inline size_t slab_bytes(const struct page *p)
{
	ASSERT_DEBUG(!page_test(p, PG_tail));
	return PAGE_SIZE << compound_order(p);
}

/* A slab of more objects than a word has bits keeps theirs at its end. */
#define SLAB_WORD_BITS 64u
#define SLAB_WORDS(n) (((n) + SLAB_WORD_BITS - 1) / SLAB_WORD_BITS)

static inline uint64_t *slab_bits(const struct kmem_cache *c, struct page *p)
{
	return c->bits_at ? (uint64_t *)((char *)page_address(p) + c->bits_at) :
			    (uint64_t *)&p->index;
}

/* ---- the word in a free object --------------------------------------------------------------- */
/*
 * A slab's free objects are bits beside it, so neither freeing an object nor taking it touches its
 * memory, which may be cold. In a hardened cache each free object, in its slab or in a magazine,
 * carries a mark at c->offset, made of its address and a secret: so a double free is seen at once,
 * and so is a write after free. Free objects are poisoned for a memory checker, which may not look
 * at these accesses.
 */
#define NO_ASAN __attribute__((no_sanitize_address))

static inline uintptr_t slab_mark(const void *obj)
{
	return ((uintptr_t)obj * 0x9e3779b97f4a7c15ul) ^ slab_secret;
}

NO_ASAN static inline bool marked_free(const struct kmem_cache *c, const void *obj)
{
	return *(const uintptr_t *)((const char *)obj + c->offset) == slab_mark(obj);
}

NO_ASAN static inline void set_mark(const struct kmem_cache *c, void *obj)
{
	*(uintptr_t *)((char *)obj + c->offset) = slab_mark(obj);
}

NO_ASAN static inline void clear_mark(const struct kmem_cache *c, void *obj)
{
	*(uintptr_t *)((char *)obj + c->offset) = 0;
}

/* ---- the fast paths -------------------------------------------------------------------------- */

#define RET_IP ((uintptr_t)__builtin_return_address(0))
#define slab_noinline __attribute__((noinline))

/* The frame of a kernel address, or NULL where the machine has no RAM. */
static inline struct page *slab_frame(const void *p)
{
	uint64_t pfn = hal_virt_to_phys(p) >> PAGE_SHIFT;

	return pfn_valid(PFN(pfn)) ? pfn_to_page(PFN(pfn)) : NULL;
}

/* True if obj is the start of an object of head's slab, of cache c. */
static inline bool slab_is_object(const struct kmem_cache *c, const struct page *head,
				  const void *obj)
{
	uintptr_t off = (uintptr_t)obj - (uintptr_t)page_address(head) - c->red_left_pad;
	uint32_t i = (uint32_t)((uint64_t)off * c->recip >> 32);

	return off < slab_bytes(head) && i * c->size == off && i < slab_total(head);
}

/*
 * The cache of a pointer that is surely one of its objects; NULL: the slow path has to look closer,
 * as at every object of a checked cache, and at all of them while there are hooks.
 *
 * recip64 is the least whole number above 2^64 / size, so size times it is 2^64 + e, e at most
 * size. The k-th object's offset gives k * e, any other offset recip64 and more; bound is objs * e.
 */
static inline struct kmem_cache *slab_quick_cache(const void *obj)
{
	uint64_t n = ((uintptr_t)obj - slab_base) >> PAGE_SHIFT;
	unsigned word, off = (uintptr_t)obj & ~PAGE_MASK;
	struct kmem_cache *c;

	if (unlikely(n >= __atomic_load_n(&slab_quick_frames, __ATOMIC_RELAXED)))
		return NULL;
	word = __atomic_load_n(&slab_frames[n], __ATOMIC_RELAXED);
	off |= word >> SLAB_NUMBER_BITS << PAGE_SHIFT;
	c = slab_numbered[word & ((1u << SLAB_NUMBER_BITS) - 1)];
	return likely(off * c->recip64 < c->bound) ? c : NULL;
}

/* Pops this CPU's loaded magazine. NULL: it is empty, or the object had been written to while it
 * was free (then it is in *bad). */
static inline void *slab_alloc(struct kmem_cache *c, void **bad)
{
	irqflags_t flags = hal_irq_save();
	struct kmem_cache_cpu *k = &c->cpu[hal_cpu_id()];
	void **top = k->top, *obj;

	if (unlikely(top == k->base)) {
		hal_irq_restore(flags);
		return NULL;
	}
	assert_irqs_off();
	obj = *--top;
	k->top = top;
	k->allocs++;
	hal_irq_restore(flags);
	if (c->hardened) {
		if (unlikely(!marked_free(c, obj))) {
			*bad = obj;
			return NULL;
		}
		clear_mark(c, obj);
	}
	return obj;
}

/* Pushes onto this CPU's loaded magazine, whichever CPU allocated the object. obj is known to be
 * one of c's. False: the magazine is full, or the object is free already. */
static inline bool slab_free(struct kmem_cache *c, void *obj)
{
	irqflags_t flags = hal_irq_save();
	struct kmem_cache_cpu *k = &c->cpu[hal_cpu_id()];
	void **top = k->top;

	if (unlikely(top == k->end) || unlikely(c->hardened && marked_free(c, obj))) {
		hal_irq_restore(flags);
		return false;
	}
	if (c->hardened)
		set_mark(c, obj);
	hal_poison(obj, c->size);
	assert_irqs_off();
	*top = obj;
	k->top = top + 1;
	hal_irq_restore(flags);
	return true;
}

/* slab.c: the slow paths. bad: see slab_alloc(). ip: the caller. */
void *slab_alloc_miss(struct kmem_cache *c, size_t n, gfp_t gfp, void *bad, uintptr_t ip);
void __slab_free(struct kmem_cache *c, void *obj, uintptr_t ip);
/* The fast and slow path with hooks. n: bytes asked for. event: QUIRE_TR_*. */
void *slab_alloc_hooked(struct kmem_cache *c, size_t n, gfp_t gfp, unsigned event, uintptr_t ip);
void slab_free_hooked(struct kmem_cache *c, void *obj, unsigned event, uintptr_t ip);

/* ---- slab_debug.c: hooks and wrong pointers -------------------------------------------------- */

bool slab_pre_alloc(struct kmem_cache *c, gfp_t gfp);
void slab_post_alloc(struct kmem_cache *c, void *obj, size_t n, gfp_t gfp, unsigned event,
		     uintptr_t ip);
void slab_pre_free(struct kmem_cache *c, void *obj, unsigned event, uintptr_t ip);
/* Whether obj is an object of c; reported if not. */
bool slab_good_pointer(struct kmem_cache *c, const void *obj, uintptr_t ip);

/* ---- slab_pages.c: slabs --------------------------------------------------------------------- */

/* Work that slab_push() defers until cache->lock is free: both kinds take other locks. */
struct slab_deferred {
	struct list_head empty; /* slabs to give back to the page allocator */
	void *double_free;	/* an object that was free in its slab already; NULL: none */
};

#define SLAB_DEFERRED(d) struct slab_deferred d = {.empty = LIST_HEAD_INIT(d.empty)}

/* Objects in so many bytes, beside their bits if those need room in them. */
unsigned slab_capacity(unsigned size, size_t bytes);
/* A new slab, on no list yet; NULL: no memory. No lock held, interrupts as the caller likes. */
struct page *new_slab(struct kmem_cache *c, gfp_t gfp);
/* All below: cache->lock held. */
void add_slab(struct kmem_cache *c, struct page *page);
/* Up to n free objects of a partial slab; returns how many. *broken (false before): its bits are
 * not those of its free objects, and the slab was given up. */
unsigned slab_pop(struct kmem_cache *c, struct page *page, void **obj, unsigned n, bool *broken);
/* Returns n objects to their slabs. */
void slab_push(struct kmem_cache *c, void *const *obj, unsigned n, struct slab_deferred *d);
/* Retires a damaged slab: its free objects are never handed out again. */
void slab_give_up(struct kmem_cache *c, struct page *page);
/* Whether obj is free in its slab (not merely in a magazine). */
bool slab_object_is_free(const struct kmem_cache *c, struct page *page, const void *obj);
/* Whether a slab's bits are as many as its free objects, and none leads beyond the last one. */
bool slab_bits_sound(const struct kmem_cache *c, struct page *page);
/* Does the deferred work of slab_push(). No lock held: this takes the zone's. ip: the caller. */
void slab_run_deferred(struct kmem_cache *c, struct slab_deferred *d, uintptr_t ip);
void discard_empty(struct kmem_cache *c);
extern bool slab_shuffle; /* objects leave their slab in random order: slab_freelist_random=1 */

/* ---- slab.c: magazines ----------------------------------------------------------------------- */

/* Drains a CPU's magazines into the slabs and frees them. Called on that CPU, or when the cache is
 * not in use. */
void flush_cpu(struct kmem_cache *c, unsigned cpu);
/* Drains the depot in the same way. */
void flush_depot(struct kmem_cache *c);

/* ---- slab_cache.c ---------------------------------------------------------------------------- */

/* c is zeroed. */
void slab_cache_setup(struct kmem_cache *c, const char *name, size_t size, size_t align,
		      unsigned flags, void (*ctor)(void *obj));
int slab_init(void);   /* after the buddy; 0 or -ENOMEM */
void slab_exit(void);  /* every cache but the first ones is gone, or reported */
/* All magazines back to the slabs, empty slabs back to the buddy. Context: sleep. */
void slab_drain(void);
/* Free objects in magazines; cache->lock held. Those of other CPUs may move meanwhile. */
unsigned long slab_in_magazines(const struct kmem_cache *c);
struct kmem_cache *slab_find(const char *name); /* slab_mutex held; NULL: none */

/* ---- kmalloc.c ------------------------------------------------------------------------------- */

#define KMALLOC_MAX 8192u
unsigned kmalloc_nr_caches(void);
/* Makes c the i-th of kmalloc's caches. */
void kmalloc_setup(struct kmem_cache *c, unsigned i);

/* ---- slab_debug.c ---------------------------------------------------------------------------- */

/* Boot parameters slub_debug, slab_nomerge, slab_bug, init_on_alloc, init_on_free. */
void slab_debug_init(void);
extern bool slab_nomerge, slab_hardened;
/* The debugging flags that slub_debug= adds to a cache of that name. */
unsigned slab_debug_flags(const char *name, unsigned flags);
/* One more corruption: says what, where and whose; ends the machine unless it is contained. */
enum slab_bug {
	SLAB_BUG_DOUBLE_FREE,
	SLAB_BUG_FOREIGN,	/* in no slab at all */
	SLAB_BUG_MIDDLE,	/* not at an object's start */
	SLAB_BUG_WRONG_CACHE,
	SLAB_BUG_WRITTEN,	/* a free object's word */
	SLAB_BUG_FREELIST,	/* a slab's bits are not those of its free objects */
	SLAB_BUG_REDZONE,
	SLAB_BUG_POISON,
	SLAB_BUG_PADDING,
	SLAB_BUG_LEAK,
	NR_SLAB_BUGS
};
void slab_report(struct kmem_cache *c, const void *obj, enum slab_bug bug, uintptr_t ip);
uint64_t slab_bugs_seen(enum slab_bug bug); /* since start */
/* Checked caches: everything one by one, under the cache's lock. */
void *slab_debug_alloc(struct kmem_cache *c, gfp_t gfp, uintptr_t ip);
void slab_debug_free(struct kmem_cache *c, void *obj, uintptr_t ip);
void slab_debug_setup(struct kmem_cache *c, struct page *page);
/* How many of a slab's objects are damaged (said, not repaired); cache->lock held. */
long slab_debug_check(struct kmem_cache *c, struct page *page);
/* The owner of obj as text; "" if it was not recorded. */
void slab_owner(const struct kmem_cache *c, const void *obj, char *buf, size_t n);
static inline bool slab_checked(const struct kmem_cache *c)
{
	return c->flags & SLAB_DEBUG_FLAGS;
}

/* ---- slab_info.c ----------------------------------------------------------------------------- */

/* The invariants of one cache: how many are broken. */
long slab_check(struct kmem_cache *c);

#endif
