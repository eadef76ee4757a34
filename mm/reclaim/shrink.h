/* SPDX-License-Identifier: MIT */
/*
 * What becomes of pages that were taken off their lists to be reclaimed (shrink_page.c, unmap.c): how a
 * run is bounded, and what it tells.
 */
#ifndef MM_SHRINK_H
#define MM_SHRINK_H

#include "mm/base/mm_types.h"
#include "mm/base/mmzone.h"
#include "mm/swap/swap.h"

#define DEF_PRIORITY	 12  /* a run begins with 1/4096 of each list */
#define SWAP_CLUSTER_MAX 32ul /* pages isolated at once, and the aim of a direct run */

/* Which lists may lose active pages in this run. */
#define DEACTIVATE_ANON 1u
#define DEACTIVATE_FILE 2u

/* One run of reclaim. Its thread's alone. */
struct scan_control {
	unsigned long nr_to_reclaim;
	gfp_t gfp_mask;
	unsigned order;		  /* what is wanted: 2^order pages in one block */
	enum zone_type reclaim_idx; /* pages of higher zones are no help */
	int priority;		  /* lists >> priority are scanned; DEF_PRIORITY down to 0 */
	bool kswapd;		  /* the background; false: who asks does it himself */
	bool on_request;	  /* so many pages shall go, however many are free */
	bool may_writepage;	  /* write to swap */
	bool may_unmap;		  /* take pages out of spaces */
	bool may_swap;		  /* anonymous pages */
	unsigned may_deactivate;  /* DEACTIVATE_*, chosen by shrink_node() */
	bool force_deactivate;	  /* whatever the lists' sizes say */
	bool skipped_deactivate;  /* an active list was passed over */
	bool cache_trim_mode;	  /* many inactive file pages: only those */
	bool file_is_tiny;	  /* hardly any file pages: only anonymous ones */
	bool compaction_ready;	  /* enough is free to move pages instead */
	unsigned long anon_cost, file_cost; /* what the two kinds cost of late */
	unsigned long nr_scanned; /* pages looked at */
	unsigned long nr_reclaimed;
	struct {
		unsigned dirty, unqueued_dirty, congested, writeback, immediate, file_taken, taken;
	} nr; /* pages met in this round of shrink_node() */
};

/* What shrink_page_list() met. */
struct reclaim_stat {
	unsigned nr_dirty, nr_unqueued_dirty, nr_congested, nr_writeback, nr_immediate;
	unsigned nr_pageout;	   /* writes begun: the cost of their kind */
	unsigned nr_activate[2];   /* anonymous, file */
	unsigned nr_ref_keep, nr_unmap_fail, nr_lazyfree_fail;
};

/*
 * Decides over each page of list, by page->lru, all isolated, with isolation's reference, not active.
 * Those that can go are freed. The others stay on list, for putback by their flags: PG_active set if
 * the page shall be active. ignore_references: used or not. How many were freed. No lock held.
 * Context: sleep.
 */
unsigned shrink_page_list(struct list_head *list, struct scan_control *sc,
			  struct reclaim_stat *stat, bool ignore_references);

/* Reclaims isolated pages, whether used or not, and puts back what stays; returns how many went. */
unsigned reclaim_pages(struct list_head *page_list);

/* ---- unmap.c ---------------------------------------------------------------------------------- */

#define UNMAP_SPACES 8u

/* Spaces that reclaim took entries from, with what has yet to be flushed there. Its thread's alone; all
 * zero: nothing. */
struct unmap_batch {
	unsigned nr;
	struct {
		struct mm_struct *mm; /* its mm_count is held, and its tlb_flush_batched says so */
		uintptr_t start, end;
	} space[UNMAP_SPACES];
};

/*
 * Takes all entries of a locked page away: those of a file's page become empty, those of an anonymous
 * one name its slot, or are empty if the page was given up by MADV_FREE and not written since. What was
 * dirty is told to the page. False: some entry is left (a locked VMA, a page that was written again, no
 * room to count). Translations may be left in any CPU, which go on reading the page, and writing to it
 * if they were dirty: until try_to_unmap_flush() the page stays locked. Context: sleep.
 */
bool try_to_unmap(struct page *page, struct unmap_batch *batch);
/* No CPU reaches the pages that were unmapped with this batch when it returns; the batch is empty.
 * Context: sleep. */
void try_to_unmap_flush(struct unmap_batch *batch);

#endif
