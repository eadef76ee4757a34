/* SPDX-License-Identifier: MIT */
/*
 * Which pages leave memory: the one interface behind which a policy stands. docs/policy.md tells which
 * there are. Numbers, and the change from one to another: reclaim/policy.c.
 */
#ifndef MM_LRU_POLICY_H
#define MM_LRU_POLICY_H

#include "mm/base/page.h"

struct scan_control;

/*
 * One policy is in force for the node (vm.reclaim_policy). It keeps each page with PG_lru on a list of
 * its own choice; the amounts of Active and Inactive follow from the page's flags whatever it does.
 * Where a function is NULL the five lists of node_lruvec, and what Linux 5.10 does, stand in for it.
 */
struct reclaim_policy {
	const char *name;

	/* lru_lock held. Links the page, which may be locked in memory, to a list, and may change
	 * PG_active with it.
	 * page_added: it comes out of a batch: a fault brought it, a call, or migration.
	 * page_back: it was isolated, or its flags have changed, and it belongs somewhere again. */
	void (*page_added)(struct page *page);
	void (*page_back)(struct page *page);

	/* page_evicted: the page leaves memory: the shadow to keep in its place, at most 36 bits.
	 * page_returned: it came back into a fresh page that is on no list and in no batch yet.
	 * page_claimed: a page of the swap cache is mapped by a space (its number). Any context. */
	uint64_t (*page_evicted)(const struct page *page);
	void (*page_returned)(struct page *page, uint64_t shadow);
	void (*page_claimed)(struct page *page, unsigned space);

	/* Reclaims, at the priority and within the limits that sc says, until sc->nr_to_reclaim pages
	 * are free or the share of this priority is scanned. Adds to sc->nr_reclaimed and nr_scanned.
	 * No lock held. Context: sleep. */
	void (*shrink_lruvec)(struct scan_control *sc);
	/* kswapd begins a round: what has to be looked at though nothing of it has to go. The same. */
	void (*age)(struct scan_control *sc);
};

/* The one in force. Changes under lru_lock, read anywhere. */
extern const struct reclaim_policy *reclaim_policy;

static inline const struct reclaim_policy *reclaim_policy_now(void)
{
	return __atomic_load_n(&reclaim_policy, __ATOMIC_ACQUIRE);
}

#endif
