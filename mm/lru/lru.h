/* SPDX-License-Identifier: MIT */
/*
 * Lists of pages by age, for reclaim: five lists under one lock, the batches through which fresh
 * pages reach them, and isolation, which takes a page off its list. lru.c has the theory.
 */
#ifndef MM_LRU_H
#define MM_LRU_H

#include "mm/base/mmzone.h"
#include "mm/base/vmstat.h"
#include <quire/os.h>

/* In the order of the amounts NR_INACTIVE_ANON and so on: active is one more than inactive. */
enum lru_list {
	LRU_INACTIVE_ANON = NR_INACTIVE_ANON,
	LRU_ACTIVE_ANON = NR_ACTIVE_ANON,
	LRU_INACTIVE_FILE = NR_INACTIVE_FILE,
	LRU_ACTIVE_FILE = NR_ACTIVE_FILE,
	LRU_UNEVICTABLE = NR_UNEVICTABLE,
};
_Static_assert(NR_UNEVICTABLE + 1 == NR_LRU_LISTS, "the first amounts are the lists'");

/* Where pages leave for lists of their own: the five lists of the one node. */
struct lruvec {
	spinlock_t lru_lock;
	struct list_head lists[NR_LRU_LISTS]; /* newest first, by page->lru; lru_lock */
};
extern struct lruvec node_lruvec;

/* Fresh pages of one CPU. Only that CPU fills a slot, with pre-emption off; any may empty it. */
#define LRU_BATCH 32u
struct lru_batch {
	struct page *slot[LRU_BATCH]; /* atomic */
	unsigned next;		      /* the slot to be filled next; its own CPU's */
} __attribute__((aligned(512)));      /* a power of two: a shift finds a CPU's own */
extern struct lru_batch *lru_batches;

/* Flags of a page that a VMA locks. */
#define PAGE_FLAGS_MLOCKED (1ul << PG_mlocked | 1ul << PG_unevictable)
/* Flags of a page that is on a list, or about to be. */
#define PAGE_FLAGS_ON_LRU (1ul << PG_lru | 1ul << PG_batched)

static inline bool is_file_lru(enum lru_list l)
{
	return l == LRU_INACTIVE_FILE || l == LRU_ACTIVE_FILE;
}

static inline bool is_active_lru(enum lru_list l)
{
	return l == LRU_ACTIVE_ANON || l == LRU_ACTIVE_FILE;
}

/* Whether the page would go to its file, not to swap. What MADV_FREE marked is such a page too. */
static inline bool page_is_file_lru(const struct page *page)
{
	return !page_test(page, PG_swapbacked);
}

/* The list where a page with these flags belongs. */
static inline enum lru_list flags_lru(unsigned long f)
{
	if (unlikely(f & 1ul << PG_unevictable))
		return LRU_UNEVICTABLE;
	return (f >> PG_swapbacked & 1 ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE) +
	       (f >> PG_active & 1);
}

/* The list where the page's flags say that it belongs. */
static inline enum lru_list page_lru(const struct page *page)
{
	return flags_lru(__atomic_load_n(&page->flags, __ATOMIC_RELAXED));
}

/* Pages on a list, of all zones or of one. Exact under lru_lock, any context without. */
static inline unsigned long lruvec_size(enum lru_list l)
{
	return node_page_state((enum node_stat_item)l);
}

static inline unsigned long zone_lru_size(const struct zone *z, enum lru_list l)
{
	ASSERT_DEBUG((unsigned)l < NR_LRU_LISTS);
	return __atomic_load_n(&lru_size[z->idx][l], __ATOMIC_RELAXED);
}

/* ---- joining --------------------------------------------------------------------------------- */

/* Empties all batches; what was added before the call is on a list, or isolated, afterwards. Any
 * context. */
void lru_add_drain_all(void);

static inline struct page **lru_slot(uint32_t slot)
{
	return &lru_batches[slot / LRU_BATCH].slot[slot % LRU_BATCH];
}

/* The same as lru_cache_add_new() where the slot whose turn it is is full: empties the batch first. */
void lru_cache_add_full(struct page *page, unsigned long add);

/*
 * Puts a page that only the caller knows on its way to the list that its flags and add (a mask of
 * flags that are set at the same time) say. Pre-emption off.
 */
static inline void lru_cache_add_new(struct page *page, unsigned long add)
{
	unsigned cpu = hal_cpu_id();
	struct lru_batch *b = &lru_batches[cpu];
	unsigned i = __atomic_load_n(&b->next, __ATOMIC_RELAXED) % LRU_BATCH;

	ASSERT_DEBUG_I("I40", !(page->flags & PAGE_FLAGS_ON_LRU));
	/* Apart, so that the common way calls nothing. */
	if (unlikely(__atomic_load_n(&b->slot[i], __ATOMIC_RELAXED))) {
		lru_cache_add_full(page, add);
		return;
	}
	__atomic_store_n(&b->next, i + 1, __ATOMIC_RELAXED);
	page->slot = cpu * LRU_BATCH + i;
	__atomic_store_n(&page->flags, page->flags | add | 1ul << PG_listed | 1ul << PG_batched,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&b->slot[i], page, __ATOMIC_RELEASE);
}

/* The same for a page that others know already: it is in a cache. The caller holds a reference.
 * Any context but interrupts. */
void lru_cache_add(struct page *page);

/* ---- leaving --------------------------------------------------------------------------------- */

/* Takes pages whose reference counts are 0 off their lists, or out of the batches: before they are
 * freed. Interrupts off. */
void lru_release(struct page *const *pages, unsigned n);

static inline bool page_on_lru(const struct page *page)
{
	return __atomic_load_n(&page->flags, __ATOMIC_ACQUIRE) & PAGE_FLAGS_ON_LRU;
}

/*
 * Isolation: the page is on no list then, its lru links are the caller's, and the caller has a
 * reference more. False: it is on no list, or (the second) free. Any context.
 * isolate_lru_page: the caller holds a reference already; a batch is emptied for it.
 * isolate_lru_frame: the page was found by its frame number.
 */
bool isolate_lru_page(struct page *page);
bool isolate_lru_frame(struct page *page);
/* A reference of a page found by its frame number, if it is on a list. Any context. */
bool get_lru_page(struct page *page);
/* Puts an isolated page on the list that its flags say; the reference stays. Any context. */
void lru_putback(struct page *page);
/* The same, and drops isolation's reference. */
static inline void putback_lru_page(struct page *page)
{
	lru_putback(page);
	put_page(page);
}

/* ---- changing lists -------------------------------------------------------------------------- */

/* Sets and clears flags that say where the page belongs, and moves it there if it is on a list: to
 * the warm end. Any context. The caller holds a reference, or an entry whose table it has locked. */
void lru_change_flags(struct page *page, unsigned long set, unsigned long clear);

/* A VMA that locks the page maps it, or none does any more: PG_mlocked and the list of pages that are
 * never scanned, or back from it. True: it was not so before. How long it stays so is the caller's
 * business. The caller holds a reference, or an entry whose table it has locked. Any context. */
bool lru_mlock(struct page *page);
bool lru_munlock(struct page *page);
/* The page's file keeps its pages in memory: to the list of those that are never scanned. And back, unless a
 * VMA locks it. The page is locked. */
void lru_cull(struct page *page);
void lru_rescue(struct page *page);
/* A write of the page to its device has ended, and it was to be reclaimed: to the cold end of its
 * inactive list, where the next scan finds it clean. Any context, interrupts too. */
void rotate_reclaimable_page(struct page *page);
/* The page was found to be used: inactive and not referenced becomes referenced, that becomes active.
 * The caller holds a reference, or an entry whose table it has locked. Any context. */
void mark_page_accessed(struct page *page);

/* ---- with lru_lock held, for who scans ------------------------------------------------------- */

/* Unlinks a page that is on a list; it keeps its flags but PG_lru. */
void lru_unlink(struct page *page);
/* Links a page at the warm end of the list that its flags say, and sets PG_lru. */
void lru_link(struct page *page);

/* ---- start and end --------------------------------------------------------------------------- */

/* batches: zeroed, one for each CPU. Early. */
void lru_init(struct lru_batch *batches);
/* Pages still on lists or in batches. */
unsigned long lru_exit(void);

#endif
