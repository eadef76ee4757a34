/* SPDX-License-Identifier: MIT */
/*
 * struct page and its flags: one for every frame of RAM, in the vmemmap, 64 bytes. Its reference
 * count says how many may still touch the frame; its map count how many user page-table entries
 * name it.
 */
#ifndef MM_PAGE_H
#define MM_PAGE_H

#include "arch/hal.h"
#include "lib/list.h"
#include "lib/lockdep.h"

#define PAGE_SHIFT ARCH_PAGE_SHIFT
#define PAGE_SIZE  ((uintptr_t)1 << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))
#define PAGE_ALIGN(x)	   (((uintptr_t)(x) + PAGE_SIZE - 1) & PAGE_MASK)

enum pageflags {
	PG_locked = 0,	/* the page lock: contents being read, written, truncated */
	PG_reserved = 1, /* never given out: firmware, image, holes */
	PG_error = 2,	/* the last transfer from or to a device failed */
	PG_slab = 3,	/* belongs to the slab allocator */
	PG_head,	/* head of a compound page; order in page->private */
	PG_tail,	/* tail of one; head in page->mapping */
	PG_table,	/* a page table */
	PG_uptodate,	/* contents valid */
	PG_dirty,
	PG_referenced,
	PG_lru,		/* on a list of its node (lru/lru.c); changes under lru_lock */
	PG_active,
	PG_swapbacked,	/* anonymous or shared memory: goes to swap, not to a file */
	PG_swapcache,
	PG_writeback,
	PG_reclaim,
	PG_mlocked,
	PG_unevictable,
	PG_workingset,
	PG_pcp,		/* free, on a per-CPU list: the block's head */
	PG_isolated,
	PG_listed,	/* was given to the lists: others may find it there, until it is freed */
	PG_batched,	/* in a slot of a CPU's batch, on its way to a list */
	PG_readahead = 27, /* read in before anybody asked for it, and not asked for yet */
	PG_zone0 = 28,	/* two bits: number of the zone */
	PG_inspace = 30, /* PG_lru, on a list of its space or of kinds (lru/spaces.h, which has bits 32 up) */
};

struct page {
	unsigned long flags;	  /* atomic bit operations; PG_zone0.. set once */
	int32_t _refcount;	  /* atomic; 0: free or frozen */
	int32_t _mapcount;	  /* atomic; user entries naming it, minus one */
	struct list_head lru;	  /* LRU (its lock), slab list (its lock) */
	void *mapping;		  /* address_space, or anon_vma | PAGE_MAPPING_ANON; slab: cache */
	unsigned long index;	  /* page offset in mapping; slab: see slab.c; table: pgtable.c */
	unsigned long private;	  /* compound: order; swap cache: entry; table: live entries */
	union {
		uint32_t ptl;	  /* table: its split lock */
		uint32_t units;	  /* slab: objects in use */
		uint32_t slot;	  /* user page: its slot while PG_batched (lru/lru.c) */
	};
	uint32_t waiters;	  /* atomic; sleepers on PG_locked or PG_writeback (page_wait.c) */
};

#define PAGE_MAPPING_ANON 1ul

/* The vmemmap of the running machine; set once by mem_init(). */
extern struct page *vmemmap;
/* One frame number past the last that has a struct page. */
extern uint64_t max_pfn;

static inline struct page *pfn_to_page(pfn_t pfn)
{
	return vmemmap + pfn.n;
}

static inline pfn_t page_to_pfn(const struct page *page)
{
	return PFN(page - vmemmap);
}

static inline void *page_address(const struct page *page)
{
	return hal_phys_to_virt((phys_addr_t)page_to_pfn(page).n << PAGE_SHIFT);
}

static inline struct page *virt_to_page(const void *va)
{
	return pfn_to_page(PFN(hal_virt_to_phys(va) >> PAGE_SHIFT));
}

/* True if the frame has a struct page (it may still be reserved). */
bool pfn_valid(pfn_t pfn);

static inline bool page_test(const struct page *p, enum pageflags f)
{
	return __atomic_load_n(&p->flags, __ATOMIC_RELAXED) >> f & 1;
}

static inline void page_set(struct page *p, enum pageflags f)
{
	__atomic_fetch_or(&p->flags, 1ul << f, __ATOMIC_RELAXED);
}

static inline void page_clear(struct page *p, enum pageflags f)
{
	__atomic_fetch_and(&p->flags, ~(1ul << f), __ATOMIC_RELAXED);
}

static inline bool page_test_and_set(struct page *p, enum pageflags f)
{
	return __atomic_fetch_or(&p->flags, 1ul << f, __ATOMIC_ACQ_REL) >> f & 1;
}

static inline bool page_test_and_clear(struct page *p, enum pageflags f)
{
	return __atomic_fetch_and(&p->flags, ~(1ul << f), __ATOMIC_ACQ_REL) >> f & 1;
}

/* The contents are valid: whoever sees the bit without the page lock sees what was written before. */
static inline bool PageUptodate(const struct page *p)
{
	return __atomic_load_n(&p->flags, __ATOMIC_ACQUIRE) >> PG_uptodate & 1;
}

static inline void SetPageUptodate(struct page *p)
{
	__atomic_fetch_or(&p->flags, 1ul << PG_uptodate, __ATOMIC_RELEASE);
}

static inline int page_count(const struct page *p)
{
	return __atomic_load_n(&p->_refcount, __ATOMIC_RELAXED);
}

static inline int page_mapcount(const struct page *p)
{
	return __atomic_load_n(&p->_mapcount, __ATOMIC_RELAXED) + 1;
}

static inline void get_page(struct page *p)
{
	ASSERT_DEBUG_I("I7", page_count(p) > 0);
	__atomic_fetch_add(&p->_refcount, 1, __ATOMIC_RELAXED);
}

/* A reference of a page that the caller holds none of; false: it is free, being freed, or frozen. What
 * keeps the frame from being used for something else meanwhile is the caller's business. */
static inline bool get_page_unless_zero(struct page *p)
{
	int32_t n = page_count(p);

	while (n > 0)
		if (__atomic_compare_exchange_n(&p->_refcount, &n, n + 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

/* The count goes from n, all of which the caller knows of, to 0: nobody can get the page any more.
 * False: somebody else has a reference. */
static inline bool page_ref_freeze(struct page *p, int32_t n)
{
	ASSERT_DEBUG(n > 0);
	return __atomic_compare_exchange_n(&p->_refcount, &n, 0, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/* A frozen page has n references again. */
static inline void page_ref_unfreeze(struct page *p, int32_t n)
{
	ASSERT_DEBUG(n > 0 && page_count(p) == 0);
	__atomic_store_n(&p->_refcount, n, __ATOMIC_RELEASE);
}

/* Drops a reference; the last one frees the page. Any context. */
void put_page(struct page *p);

static inline bool PageAnon(const struct page *p)
{
	return (uintptr_t)READ_ONCE(p->mapping) & PAGE_MAPPING_ANON;
}

/* The page lock (may sleep); trylock any context. Lock order: docs/locking.md. */
void lock_page(struct page *p);
bool trylock_page(struct page *p);
void unlock_page(struct page *p);

/* Until whoever has the page lock now has let it go. Context: sleep. */
void wait_on_page_locked(struct page *p);
/* Until what is being written from the page to a device has been written. Context: sleep. */
void wait_on_page_writeback(struct page *p);
/* It has: clears PG_writeback and wakes who waits. Any context. */
void end_page_writeback(struct page *p);

/* The page is locked; by whom, nobody notes. */
#define assert_page_locked(p)                                                              \
	do {                                                                               \
		if (DEBUG_ASSERTS && unlikely(!page_test(p, PG_locked)))                   \
			lock_not_held(__FILE__, __LINE__, "page lock", "is not held");     \
	} while (0)

/* ---- page_alloc.c ---------------------------------------------------------------------------- */

#include "mm/base/gfp.h"

#define MAX_ORDER 11 /* orders 0 .. 10 */

/* 2^order pages with a reference count of one, or NULL. Context: by gfp. */
struct page *alloc_pages(gfp_t gfp, unsigned order);
void __free_pages(struct page *page, unsigned order); /* drops a reference, then frees */
void free_pages(uintptr_t addr, unsigned order);
uintptr_t __get_free_pages(gfp_t gfp, unsigned order);
uintptr_t get_zeroed_page(gfp_t gfp);
/* Frees n order-0 pages whose reference counts already are zero, in one go. */
void free_page_bulk(struct page **pages, unsigned n);
/*
 * A page that a device, or the kernel, works in by its frame is pinned: so many references at once, that it is known
 * from those who only look. More of them than entries explain; a page with as many look-ups passes for one. It keeps
 * its entry (reclaim), its frame (migration), and is never shared with a child (fork).
 */
#define PIN_REFS 1024
static inline bool page_maybe_pinned(const struct page *p)
{
	return page_count(p) - page_mapcount(p) >= PIN_REFS;
}
/* The shared page of zeros: reserved, never freed, never counted in map counts. */
extern struct page *zero_page;
static inline bool is_zero_page(const struct page *p)
{
	return p == zero_page;
}

#endif
