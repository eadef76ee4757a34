/* SPDX-License-Identifier: MIT */
/*
 * Lists of pages by space, for the policy "trial by space": what each space has of each kind, time, and
 * to whom a page belongs. spaces.c has the theory; reclaim/trial.c chooses victims from them.
 */
#ifndef MM_SPACES_H
#define MM_SPACES_H

#include "mm/lru/lru.h"
#include "mm/lru/policy.h"

struct mm_struct;

/* Where a page is. The first five are lists of its space, the others are the node's. */
enum page_kind {
	KIND_NONE,
	KIND_FILL,	 /* base: came while there was room for it, and was never looked at; newest first */
	KIND_MAIN,	 /* base: in use, newest first */
	KIND_AGED,	 /* base: was not in use when it was looked at last */
	KIND_FRESH,	 /* on trial, its accessed bit says nothing yet */
	KIND_OLD,	 /* on trial, its accessed bit was cleared when it came here */
	KIND_CHALLENGER, /* is back after an eviction, and not judged yet */
	KIND_UNCLAIMED,	 /* read in before anybody asked for it */
	KIND_LEAVING,	 /* the next to go: chosen and still written, or given up by a program */
	NR_KINDS
};
#define NR_SPACE_KINDS 5 /* lists of a space: KIND_FILL .. KIND_OLD */
#define NR_NODE_KINDS  (NR_KINDS - NR_SPACE_KINDS - 1)

/* In page->flags, all but the first only while the policy is in force, and under lru_lock or by who has
 * isolated the page. */
#define PG_SPACE	32 /* 12 bits: the space's number, SPACE_* */
#define PG_KIND		44 /* 4 bits: enum page_kind */
#define PG_RETURNED	48 /* came back after an eviction, and is not judged yet */
#define PG_OF_TRIAL	49 /* was evicted from the trial, or is now */
#define PG_STAMP	50 /* 11 bits: when it was last known to be used, in units of time */
#define PAGE_FLAGS_POLICY (~0ul << PG_SPACE)
#define SPACE_BITS	12
#define KIND_MASK	15ul
#define STAMP_BITS	11
#define STAMP_MASK	((1ul << STAMP_BITS) - 1)

enum {
	SPACE_NOBODY, /* of pages that nobody has asked for */
	SPACE_FILES,
	SPACE_SHMEM,
	SPACE_FIRST, /* of the first process */
	NR_SPACES = 1 << SPACE_BITS
};

/* The pages of one process, of all files, or of all shared memory. lru_lock, but for what says
 * otherwise. */
struct lru_space {
	struct list_head list[NR_SPACE_KINDS]; /* of KIND_FILL .., newest first */
	uint32_t count[NR_KINDS]; /* pages of each kind, on the node's lists too */
	uint32_t all;		  /* their sum */
	uint32_t debt;		  /* pages that are to go */
	uint32_t excess;	  /* and pages that it gives up for others that grow */
	uint32_t back;		  /* pages that came back to the base, and no sweep was made for them */
	int64_t target;		  /* of the trial's length, in TRIAL_FRACTION of a page */
	uint64_t slept;		  /* the mm's word, when that has ended */
	uint64_t grew;		  /* in evictions: when it got a page that it had never had */
	uint32_t size;		  /* pages, those in swap too, at the last count */
	uint16_t number;
	bool used;		  /* a process, or pages, have it */
	bool tried;		  /* its trial has begun */
	bool awake;		  /* at the last count */
	bool cleared;		  /* accessed bits were, and translations may be left that hide a use */
	struct mm_struct *mm;	  /* NULL: none, or ended */
	struct list_head ring;	  /* node_spaces.ring while it has pages; free ones: node_spaces.free */
	struct list_head debtor;  /* node_spaces.debtors, or empty */
	struct list_head sleeper; /* node_spaces.sleepers, or empty */
};

#define TRIAL_FRACTION 16 /* targets count in 1/16 pages */

/* lru_lock, but for what says otherwise. */
struct node_spaces {
	struct list_head list[NR_NODE_KINDS]; /* of KIND_CHALLENGER .., newest first */
	struct list_head ring;	    /* spaces that have pages */
	struct list_head debtors, sleepers;
	struct list_head free;	    /* spaces that nobody has */
	unsigned long pages;	    /* on all lists of spaces, and of the node */
	unsigned long nr[NR_KINDS]; /* the same by kind */
	unsigned nr_ring;
	uint64_t time;		    /* evictions, and pages found in use; atomic */
	uint64_t evictions;	    /* atomic */
	uint64_t counted;	    /* evictions when the sizes below were counted */
	uint64_t flushed;	    /* evictions when translations were */
	unsigned unit_shift;	    /* log2 of the unit of stamps, in time */
	unsigned long total, total_awake; /* sum of the spaces' sizes */
	unsigned nr_awake;	    /* that are awake and not tiny */
	bool is_short;		    /* memory is: who comes owes a page */
	unsigned long until_free;   /* so many more pages without a run of reclaim, and it is not */
};
extern struct node_spaces node_spaces;

/* ---- spaces ---------------------------------------------------------------------------------- */

/* A space begins: mm->lru_space. Where as many as there is room for have a number it is SPACE_SHMEM.
 * Any context. */
void lru_space_begin(struct mm_struct *mm);
/* It ends: its pages, if others still have some, are nobody's who runs. Any context. */
void lru_space_end(struct mm_struct *mm);

struct lru_space *lru_space_of(unsigned number);
/* So many numbers there are. */
unsigned lru_spaces_known(void);

/* ---- with lru_lock held ---------------------------------------------------------------------- */

static inline enum page_kind page_kind(const struct page *page)
{
	return (enum page_kind)(READ_ONCE(page->flags) >> PG_KIND & KIND_MASK);
}

static inline uint32_t base_pages(const struct lru_space *sp)
{
	return sp->count[KIND_FILL] + sp->count[KIND_MAIN] + sp->count[KIND_AGED];
}

static inline uint32_t trial_pages(const struct lru_space *sp)
{
	return sp->count[KIND_FRESH] + sp->count[KIND_OLD];
}

static inline uint32_t pages_of(const struct lru_space *sp)
{
	return base_pages(sp) + trial_pages(sp) + sp->count[KIND_CHALLENGER];
}

static inline unsigned long node_base_pages(void)
{
	return node_spaces.nr[KIND_FILL] + node_spaces.nr[KIND_MAIN] + node_spaces.nr[KIND_AGED];
}

static inline struct lru_space *page_space(const struct page *page)
{
	return lru_space_of(READ_ONCE(page->flags) >> PG_SPACE & (NR_SPACES - 1));
}

/* The kind of which an isolated page will be from when it is linked. */
void space_set_kind(struct page *page, enum page_kind kind);
/* The page has left its list, which lru.c does: the counts. */
void space_unlinked(struct page *page, unsigned long flags);
/* For the end of a write: the next one to be looked at. */
void space_rotate(struct page *page);
/* The list of a kind. */
struct list_head *space_list(struct lru_space *sp, enum page_kind kind);
/* How long ago the page was known to be used, in time. */
uint64_t page_idle_time(const struct page *page);
/* It is known to be used now. */
void page_stamp(struct page *page);
/* The space is to give up a page. */
void space_owes(struct lru_space *sp);
/* Pages by the space's size: of all, or of those awake. */
unsigned long space_proportional(const struct lru_space *sp, bool awake);
bool space_sleeps_for(const struct lru_space *sp, uint64_t evictions);
/* It got a page that it had never had not long ago: in a quarter of memory's evictions. */
bool space_grows(const struct lru_space *sp);
/* Of the next few spaces the one that has most above what it is entitled to; NULL: none has a page. */
struct lru_space *space_most_above(void);
/* Counts the sizes of all spaces, if that was long ago. */
void spaces_count(void);

/* ---- the policy's functions ------------------------------------------------------------------ */

void trial_page_added(struct page *page);
void trial_page_back(struct page *page);
uint64_t trial_page_evicted(const struct page *page);
void trial_page_returned(struct page *page, uint64_t shadow);
void trial_page_claimed(struct page *page, unsigned space);

/* table: room for n of them, at least SPACE_FIRST and at most NR_SPACES. Early. */
void spaces_init(struct lru_space *table, unsigned n);
/* The policy comes into force, on a machine of so many pages. lru_lock held. */
void spaces_start(unsigned long pages);

#endif
