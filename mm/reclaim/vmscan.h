/* SPDX-License-Identifier: MIT */
/*
 * Page reclaim inside its room: what one run may do and has done, the step that decides over each
 * isolated page, shrinkers, and the choice of victims. What lower rooms call is declared in their
 * hooks.h.
 */
#ifndef MM_VMSCAN_H
#define MM_VMSCAN_H

#include "mm/base/mm_types.h"
#include "mm/lru/lru.h"
#include "mm/lru/policy.h"
#include "mm/phys/hooks.h"
#include "mm/reclaim/shrink.h"
#include "mm/space/hooks.h"

#define MAX_KSWAPD_FAILURES 16u /* runs without success until kswapd waits for somebody else's */

static inline unsigned long scan_zone_size(enum lru_list l, enum zone_type highest)
{
	unsigned long n = 0;

	for (unsigned z = 0; z <= highest; z++)
		n += zone_lru_size(&zones[z], l);
	return n;
}

/* ---- vmscan.c -------------------------------------------------------------------------------- */

/* No VMA locks the page, and its file does not forbid it. */
static inline bool page_evictable(const struct page *page)
{
	return !page_test(page, PG_mlocked);
}

/* Puts isolated pages back by their flags and drops isolation's references; the list is empty then. */
void putback_lru_pages(struct list_head *list);
/* Frees isolated pages of which nobody has a reference; the list is empty then. */
void free_dead_pages(struct list_head *dead);
/* One round at the priority that sc says over all lists and shrinkers; true: something was freed. */
bool shrink_node(struct scan_control *sc);
unsigned long shrink_inactive_list(unsigned long nr_to_scan, struct scan_control *sc, enum lru_list l);
/* Free pages after this run are those that the last one is compared with. */
void snapshot_refaults(void);
/* Pages of the zone that reclaim could have. */
unsigned long zone_reclaimable_pages(const struct zone *z);

/* ---- the choice of victims (policy.c) -------------------------------------------------------- */

extern const struct reclaim_policy lru_policy;	 /* Linux 5.10's lists: the default, number 0 */
extern const struct reclaim_policy trial_policy; /* trial by space, number 1 (trial.c) */
/* vm.reclaim_policy has changed: the policy that it names is in force, and all pages are on its lists.
 * Context: sleep. */
void reclaim_policy_changed(void);
/* The default one is in force: before anything may be reclaimed. Early. */
void reclaim_policy_init(void);

/* ---- shrinkers (shrinker.c) ------------------------------------------------------------------ */

/* What else can be freed: a cache of something besides pages on lists. */
struct shrinker {
	const char *name;
	/* Objects that could go; 0: none. Any context. */
	unsigned long (*count)(void);
	/* Frees about n of them; how many went. *pages grows by the pages that came back at once.
	 * Context: sleep. */
	unsigned long (*scan)(unsigned long n, gfp_t gfp, unsigned long *pages);
	unsigned seeks;		 /* how dear one is to get again; 2 is usual, 0: costs nothing */
	unsigned long deferred;	 /* left over from rounds that did less than they should; atomic */
};

/* Asks each shrinker for its share at this priority; objects freed. *pages grows by the pages that came
 * back. Context: sleep. */
unsigned long shrink_slab(gfp_t gfp, int priority, unsigned long *pages);
/* Asks them for everything, until hardly anything comes any more: vm.drop_caches, 2. Context: sleep. */
void drop_slab(void);

/* ---- kswapd.c -------------------------------------------------------------------------------- */

/* The background's runs have failed too often: who asks must see for himself. */
bool kswapd_hopeless(void);
/* Somebody freed something: kswapd may try again. */
void kswapd_encourage(void);
/* Waits while the reserve of who reclaims is more than half gone; true: the caller shall die rather
 * than go on. Context: sleep. */
bool throttle_direct_reclaim(gfp_t gfp);
/* Start and end of the threads kswapd and kcompactd. Without threads everything is done by who asks.
 * Context: sleep. */
void kswapd_run(void);
void kswapd_stop(void);

#endif
