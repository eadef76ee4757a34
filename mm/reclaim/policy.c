/* SPDX-License-Identifier: MIT */
/*
 * The policies that choose victims, by number (vm.reclaim_policy), and the change from one to another.
 *
 * A change needs nobody to stop. From the moment that another policy is in force, which lru_lock
 * decides, whatever comes to a list comes to one of its lists. What lies on the old ones is moved, the
 * coldest first, 32 pages at a time; until then a page's flags tell on whose list it is, so it can be
 * taken, freed or moved as ever. A run of reclaim that has begun under the old policy finds its lists
 * emptying, and puts what it has isolated where the new one says.
 */
#include "lib/mutex.h"
#include "mm/base/sysctl.h"
#include "mm/lru/spaces.h"
#include "mm/reclaim/vmscan.h"

#define MOVE_AT_ONCE 32u

static const struct reclaim_policy *const policies[] = {&lru_policy, &trial_policy};
static struct mutex change_mutex;

/* A list that belongs to the policy in force no more; NULL: they are all empty. */
static struct list_head *left_behind(bool by_space)
{
	static const enum page_kind order[] = {KIND_AGED, KIND_MAIN, KIND_FILL, KIND_OLD, KIND_FRESH};
	struct lru_space *sp;

	assert_held(&node_lruvec.lru_lock);
	if (by_space) {
		for (unsigned l = LRU_INACTIVE_ANON; l <= LRU_ACTIVE_FILE; l++)
			if (!list_empty(&node_lruvec.lists[l]))
				return &node_lruvec.lists[l];
		return NULL;
	}
	for (unsigned l = 0; l < NR_NODE_KINDS; l++)
		if (!list_empty(&node_spaces.list[l]))
			return &node_spaces.list[l];
	if (list_empty(&node_spaces.ring))
		return NULL;
	sp = list_first_entry(&node_spaces.ring, struct lru_space, ring);
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		if (!list_empty(space_list(sp, order[i])))
			return space_list(sp, order[i]);
	BUG(); /* it is in the ring because it has pages */
}

/* A few of them come to the lists of the policy in force; false: there were none. */
static bool move_some(bool by_space)
{
	struct list_head *from;
	irqflags_t flags;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	from = left_behind(by_space);
	for (unsigned i = 0; from && i < MOVE_AT_ONCE && !list_empty(from); i++) {
		struct page *page = list_last_entry(from, struct page, lru);

		lru_unlink(page);
		if (!by_space)
			__atomic_fetch_and(&page->flags, ~PAGE_FLAGS_POLICY, __ATOMIC_RELAXED);
		lru_link(page);
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	return from;
}

void reclaim_policy_changed(void)
{
	unsigned long n = (unsigned long)READ_ONCE(vm_sysctl.reclaim_policy);
	const struct reclaim_policy *policy;
	irqflags_t flags;

	might_sleep();
	mutex_lock(&change_mutex);
	policy = policies[n < ARRAY_SIZE(policies) ? n : 0];
	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	if (policy->page_added)
		spaces_start(totalram_pages());
	__atomic_store_n(&reclaim_policy, policy, __ATOMIC_RELEASE);
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
	while (move_some(policy->page_added))
		os_cond_resched();
	mutex_unlock(&change_mutex);
}

void reclaim_policy_init(void)
{
	mutex_init_named(&change_mutex, "reclaim_policy");
	__atomic_store_n(&reclaim_policy, policies[0], __ATOMIC_RELEASE);
}
