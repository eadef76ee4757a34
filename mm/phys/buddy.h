/* SPDX-License-Identifier: MIT */
/*
 * Buddy, migrate types and per-CPU lists: internals of the page allocator, for the files of
 * mm/phys/ and for those that walk free memory (compaction, checks, reports). Everything needs
 * zone->lock unless it says otherwise.
 */
#ifndef MM_BUDDY_H
#define MM_BUDDY_H

#include "mm/base/mmzone.h"

/* ---- buddy.c ---------------------------------------------------------------------------------- */

/* A block of order pages of exactly this type, cut to size; NULL if there is none. */
struct page *__rmqueue_smallest(struct zone *z, unsigned order, unsigned mt);
/* Puts a block back and merges it. mt: its pageblock's type. False: some of it is free already;
 * nothing was changed. */
bool __free_one_page(struct page *page, struct zone *z, unsigned order, unsigned mt);
/* Puts n single pages of per-CPU lists back, those of one word together; counts are settled once
 * for all. */
void free_single_pages(struct zone *z, struct page *const *pages, unsigned n);
/* The smallest block of pageblock b that has at least order, cut to size; NULL if there is none.
 * mt is b's type. */
struct page *rmqueue_from_block(struct zone *z, struct pageblock *b, unsigned order, unsigned mt);
/* As __rmqueue_smallest, but takes what lies together at once: up to most blocks of order, 64 at
 * most. cut: a larger one may be cut for that. Bit i of the result: the block that begins i blocks
 * behind *first. 0: there is none. */
uint64_t rmqueue_run(struct zone *z, unsigned order, unsigned mt, unsigned most, bool cut,
		     struct page **first);
/* The largest free block that page is in: its first frame and order. page is PageBuddy. */
uint64_t buddy_block(const struct page *page, unsigned *order);
/* Free pages of a pageblock. */
unsigned block_nr_free(const struct pageblock *b);
/* Blocks of exactly this order that the bits of b tell of. */
unsigned block_count(const struct pageblock *b, unsigned order);
/* Gives the pageblock another type and moves its free blocks to that type's lists; pages that
 * become isolated are no longer counted as free. b must not be in an order-10 block with a
 * neighbour that keeps its type: such a block is split. */
void set_block_type(struct zone *z, struct pageblock *b, unsigned mt);

/* The place of an order in link[]. */
static inline struct list_head *block_link(struct pageblock *b, unsigned order)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	return &b->link[order < PAGEBLOCK_ORDER ? order : order - PAGEBLOCK_ORDER];
}

/* The pageblock whose place in a list of this order l is. */
static inline struct pageblock *link_block(struct list_head *l, unsigned order)
{
	ASSERT_DEBUG(order < MAX_ORDER);
	l -= order < PAGEBLOCK_ORDER ? order : order - PAGEBLOCK_ORDER;
	return container_of(l, struct pageblock, link[0]);
}

static inline struct pageblock *first_block(struct zone *z, unsigned order, unsigned mt)
{
	struct list_head *head = &z->free_area[order].free_list[mt];

	assert_held(&z->lock);
	return list_empty(head) ? NULL : link_block(head->next, order);
}

static inline unsigned block_type(const struct pageblock *b)
{
	return __atomic_load_n(&pageblock_types[b->pfn >> PAGEBLOCK_ORDER], __ATOMIC_RELAXED);
}

/* ---- mobility.c ------------------------------------------------------------------------------- */

/* A block of the request's own type, else stolen from another. NULL: nothing is left. */
struct page *__rmqueue(struct zone *z, unsigned order, unsigned mt, unsigned alloc_flags);
/* Up to n blocks of order into out[], the first to be taken last, marked as on a list (PG_pcp);
 * returns how many: half are enough where more would mean to cut a larger block. */
unsigned rmqueue_bulk(struct zone *z, unsigned order, unsigned n, struct page **out, unsigned mt,
		      unsigned alloc_flags);
/* The type from which a request of type mt steals a block of this order; -1: none has one.
 * *can_steal: whether the whole pageblock may change its type. */
int find_suitable_fallback(const struct free_area *area, unsigned order, unsigned mt,
			   bool *can_steal);
/* Sets a pageblock aside for requests that may not wait. Takes zone->lock. */
void reserve_highatomic_pageblock(struct page *page, struct zone *z);
/* Gives one such pageblock back, the last too if force. Takes zone->lock; true: one was found. */
bool unreserve_highatomic_pageblock(struct zonelist *zl, unsigned highest, bool force);
/* Takes a pageblock's free pages out of use, and back. Take zone->lock. -EBUSY: something in it
 * can never move, or it is isolated already. */
int set_migratetype_isolate(struct page *page);
void unset_migratetype_isolate(struct page *page, unsigned mt);
/* An allocated page that could be moved elsewhere. A guess, made without locks. */
bool looks_movable(const struct page *p);

/* ---- pcp.c ------------------------------------------------------------------------------------ */

/* Fills an empty list of this CPU. Interrupts off; takes zone->lock. False: there is nothing. */
bool pcp_refill(struct zone *z, struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
		    unsigned alloc_flags);
/* Gives the n oldest blocks of a list back. Interrupts off; takes zone->lock. */
void free_pcppages_bulk(struct zone *z, struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
			unsigned n);

/* The list of an order: 0..4, or PCP_ORDERS if it is not kept per CPU. */
static inline unsigned pcp_slot(unsigned order)
{
	if (order < PCP_ORDERS - 1)
		return order;
	return order == PAGEBLOCK_ORDER ? PCP_ORDERS - 1 : PCP_ORDERS;
}

static inline unsigned slot_order(unsigned slot)
{
	ASSERT_DEBUG(slot < PCP_ORDERS);
	return slot < PCP_ORDERS - 1 ? slot : PAGEBLOCK_ORDER;
}

static inline unsigned pcp_count(const struct per_cpu_pages *pcp, unsigned slot, unsigned mt)
{
	const struct pcp_list *l = &pcp->list[slot][mt];

	ASSERT_DEBUG(slot < PCP_ORDERS && mt < MIGRATE_PCPTYPES);
	return __atomic_load_n(&l->head, __ATOMIC_RELAXED) -
	       __atomic_load_n(&l->tail, __ATOMIC_RELAXED);
}

/* The i-th place of a list, counted as head and tail are. */
static inline struct page **pcp_entry(struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
				      unsigned i)
{
	return likely(!slot) ? &pcp->pages[mt][i & (PCP_CAPACITY - 1)]
			     : &pcp->blocks[slot - 1][mt][i & (PCP_BLOCKS - 1)];
}

static inline void pcp_push(struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
			    struct page *page)
{
	unsigned head = pcp->list[slot][mt].head;

	assert_irqs_off();
	*pcp_entry(pcp, slot, mt, head) = page;
	__atomic_store_n(&pcp->list[slot][mt].head, head + 1, __ATOMIC_RELAXED);
}

/* The list is not empty. */
static inline struct page *pcp_pop(struct per_cpu_pages *pcp, unsigned slot, unsigned mt)
{
	unsigned head = pcp->list[slot][mt].head - 1;

	assert_irqs_off();
	ASSERT_DEBUG_I("I6", pcp_count(pcp, slot, mt));
	__atomic_store_n(&pcp->list[slot][mt].head, head, __ATOMIC_RELAXED);
	return *pcp_entry(pcp, slot, mt, head);
}

/* ---- deferred frees (page_alloc.c) ----------------------------------------------------------- */

/*
 * Single pages whose free is deferred. A cache miss on the struct page stops a CPU for fifty
 * instructions or more; prefetching it and coming back when LATE_FREES others have been freed does
 * not. Until then the page stays allocated, with its reference. Each CPU has its own ring, used
 * with interrupts off; drain_local_pages() and the slow path of an allocation drain it. NULL: no
 * free is deferred (late_free=0, the default of a build without NDEBUG, so that a double free is
 * reported where it happens; also while page_slow).
 */
#define LATE_FREES 16
struct late_frees {
	struct page *page[LATE_FREES]; /* a ring; NULL: free slot. Other CPUs read it atomically */
	unsigned next;
} __attribute__((aligned(64)));
extern struct late_frees *late_frees;

/* Frees what this CPU has deferred. Any context. */
void free_late_pages(void);

/* Flags that survive freeing: the number of the zone. */
#define PAGE_FLAGS_KEPT (3ul << PG_zone0)

/* PG_pcp makes a second free of the page visible, and tells the checker where it is. */
static inline void set_pcp_flag(struct page *p, bool on)
{
	unsigned long f = p->flags & PAGE_FLAGS_KEPT;

	__atomic_store_n(&p->flags, on ? f | 1ul << PG_pcp : f, __ATOMIC_RELAXED);
}

#endif
