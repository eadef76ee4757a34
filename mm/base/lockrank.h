/* SPDX-License-Identifier: MIT */
/*
 * The lock order of mm/'s spinning locks as numbers for lib/lockdep.h: a holder of one may only
 * take a higher one. The whole order, sleeping locks included, is drawn in docs/locking.md.
 */
#ifndef MM_LOCKRANK_H
#define MM_LOCKRANK_H

#define RANK_MMLIST	10 /* the list of all spaces */
#define RANK_OOM	12 /* victims that wait for the reaper */
#define RANK_PTL_UPPER	20 /* mm->page_table_lock: tables above level 0 */
#define RANK_PTL	30 /* one table of level 0; of two the lower address first */
#define RANK_I_PAGES	40 /* page-cache tree of one file */
#define RANK_SWAP_LIST	41 /* which swap areas there are */
#define RANK_SWAP	42 /* the slots of one swap cluster */
#define RANK_SWAP_AREA	43 /* an area's lists of clusters */
#define RANK_ZPOOL	44 /* the pool of compressed pages */
#define RANK_INODES	45 /* the list of all inodes */
#define RANK_LRU	46 /* what interrupts take: all above are held with interrupts on */
#define RANK_STACKS	47 /* kernel stacks kept for the next task */
#define RANK_VMALLOC	48 /* the kernel's own ranges */
#define RANK_VMALLOC_FREE 49 /* and those of it that are free */
#define RANK_SLAB	50 /* slab lists of one cache */
#define RANK_ZONE	60 /* buddy of one zone */
#define RANK_UFFD	64 /* who waits by one userfaultfd */
#define RANK_TRACE	90 /* trace ring: records may be written under any lock */

#endif
