/* SPDX-License-Identifier: MIT */
/*
 * Refault distance.
 *
 * Between its eviction and its refault a page was away for as many evictions and activations as the
 * node's *age* grew meanwhile: that many more places in memory would have kept it. If the other lists
 * together are at least as large, pages were kept there that are used less often; the page becomes
 * active at once and competes with them. Eviction leaves the age in the page's place (a *shadow*: in
 * the file's tree, or in the swap table), together with whether the page had been active before.
 *
 * This is Linux 5.10's: the distance of a page of a file is compared with the active file list and all
 * anonymous pages, that of an anonymous page with all file pages and the active anonymous list;
 * anonymous pages count only while there is swap. A page that had been active when it left and is so
 * again is *restored*; that it had to be read back is noted as the cost of its kind of lists.
 *
 * Locks: the age is atomic; costs are under lru_lock.
 */
#include "mm/lru/workingset.h"
#include "mm/lru/policy.h"

/* One bit more for the working set. The uppermost of the 36 that a slot of the swap table can keep is
 * set in shadows of another policy. */
#define AGE_BITS 34
#define AGE_MASK ((1ull << AGE_BITS) - 1)

static uint64_t nonresident_age; /* evictions and activations; atomic */
static unsigned long lru_cost[2]; /* by kind: anonymous, file; lru_lock */

static uint64_t age_nonresident(void)
{
	return __atomic_fetch_add(&nonresident_age, 1, __ATOMIC_RELAXED);
}

uint64_t workingset_eviction(const struct page *page)
{
	const struct reclaim_policy *policy = reclaim_policy_now();

	if (unlikely(policy->page_evicted))
		return policy->page_evicted(page);
	return (age_nonresident() & AGE_MASK) << 1 | page_test(page, PG_workingset);
}

void workingset_activation(void)
{
	age_nonresident();
}

void workingset_refault(struct page *page, uint64_t shadow, bool swap)
{
	const struct reclaim_policy *policy = reclaim_policy_now();
	bool file = page_is_file_lru(page);
	uint64_t distance, size = lruvec_size(LRU_ACTIVE_FILE);

	ASSERT_DEBUG_I("I40", !page_on_lru(page));
	if (unlikely(policy->page_returned)) {
		inc_node_page_state(WORKINGSET_REFAULT_ANON + file);
		policy->page_returned(page, shadow);
		return;
	}
	distance = (__atomic_load_n(&nonresident_age, __ATOMIC_RELAXED) - (shadow >> 1)) & AGE_MASK;
	inc_node_page_state(WORKINGSET_REFAULT_ANON + file);
	if (!file)
		size += lruvec_size(LRU_INACTIVE_FILE);
	if (swap)
		size += lruvec_size(LRU_ACTIVE_ANON) + (file ? lruvec_size(LRU_INACTIVE_ANON) : 0);
	if (distance > size)
		return;
	page_set(page, PG_active);
	age_nonresident();
	inc_node_page_state(WORKINGSET_ACTIVATE_ANON + file);
	if (shadow & 1) {
		page_set(page, PG_workingset);
		lru_note_cost(file, 1);
		inc_node_page_state(WORKINGSET_RESTORE_ANON + file);
	}
}

/* Halved once they outgrow a quarter of the lists: what was long ago counts less and less. */
static void decay_costs(void)
{
	unsigned long pages = 0;

	assert_held(&node_lruvec.lru_lock);
	for (unsigned l = LRU_INACTIVE_ANON; l <= LRU_ACTIVE_FILE; l++)
		pages += lruvec_size((enum lru_list)l);
	if (lru_cost[0] + lru_cost[1] <= pages / 4)
		return;
	lru_cost[0] /= 2;
	lru_cost[1] /= 2;
}

void lru_note_cost(bool file, unsigned long pages)
{
	irqflags_t flags;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	lru_cost[file] += pages;
	decay_costs();
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

void lru_costs(unsigned long *anon, unsigned long *file)
{
	irqflags_t flags;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	*anon = lru_cost[0];
	*file = lru_cost[1];
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}
