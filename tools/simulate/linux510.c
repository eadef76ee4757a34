/* SPDX-License-Identifier: MIT */
/*
 * The lists of Linux 5.10, one node, without control groups.
 *
 * Four lists: inactive and active, of anonymous and of file pages. A new page starts inactive; a
 * page that is found accessed once is kept and marked referenced, a second time it is activated.
 * An active page is deactivated whether it was accessed or not. The age counts evictions and
 * activations; a refault whose distance (age now less age at eviction) is within what it could
 * have had beside it comes back active. Reclaim goes by priorities: it looks at a list's
 * length >> priority, 32 at a time, from 12 downwards until 32 pages are free. The cost of
 * refaults and rotations balances anonymous against file pages (swappiness 60).
 *
 * Left out: readahead of swap, executable file pages' privilege, dirty pages, and that anonymous
 * pages with many mappings are activated at once.
 */
#include <stdlib.h>

#include "sim.h"

enum { INACTIVE_ANON, ACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE, LISTS };
#define REFERENCED 1u
#define WORKINGSET 2u
#define SWAPPINESS 60u
#define CLUSTER	   32u
#define PRIORITY   12

struct lruvec {
	struct plist l[LISTS];
	uint64_t age;
	uint64_t cost[2]; /* anonymous, file */
};

static void put(struct sim *s, uint32_t page, unsigned list)
{
	struct lruvec *v = s->priv;

	list_add_head(s, &v->l[list], page);
	s->pages[page].list = (uint8_t)(list + 1);
}

static unsigned take(struct sim *s, uint32_t page)
{
	struct lruvec *v = s->priv;
	unsigned list = s->pages[page].list - 1u;

	list_remove(s, &v->l[list], page);
	s->pages[page].list = 0;
	return list;
}

static void linux_init(struct sim *s)
{
	struct lruvec *v = calloc(1, sizeof *v);

	if (!v)
		abort();
	for (unsigned i = 0; i < LISTS; i++)
		list_init(&v->l[i]);
	s->priv = v;
}

static void linux_done(struct sim *s)
{
	free(s->priv);
}

static void note_cost(struct lruvec *v, bool file, uint64_t pages)
{
	uint64_t size = 0;

	v->cost[file] += pages;
	for (unsigned i = 0; i < LISTS; i++)
		size += v->l[i].count;
	if (v->cost[0] + v->cost[1] > size / 4) {
		v->cost[0] /= 2;
		v->cost[1] /= 2;
	}
}

/* Whether a page that comes back would have stayed, had all others beside it been evicted. */
static bool is_workingset(const struct lruvec *v, const struct vpage *p)
{
	uint64_t distance = v->age - (p->shadow >> 1);
	uint64_t size = v->l[ACTIVE_FILE].count + v->l[ACTIVE_ANON].count;

	size += v->l[p->file ? INACTIVE_ANON : INACTIVE_FILE].count;
	return distance <= size;
}

static void linux_added(struct sim *s, uint32_t page, bool refault)
{
	struct lruvec *v = s->priv;
	struct vpage *p = &s->pages[page];
	bool active = refault && is_workingset(v, p);

	p->flags = 0;
	if (active) {
		v->age++;
		if (p->shadow & 1) {
			p->flags |= WORKINGSET;
			note_cost(v, p->file, 1);
		}
	}
	put(s, page, (p->file ? INACTIVE_FILE : INACTIVE_ANON) + active);
}

static void linux_removed(struct sim *s, uint32_t page)
{
	take(s, page);
}

/* Looks at one inactive page; true if it was evicted. */
static bool shrink_page(struct sim *s, uint32_t page)
{
	struct lruvec *v = s->priv;
	struct vpage *p = &s->pages[page];
	unsigned list = take(s, page);

	if (!look(s, page)) {
		evict(s, page, v->age++ << 1 | (p->flags & WORKINGSET ? 1 : 0));
		return true;
	}
	if (p->flags & REFERENCED) {
		p->flags &= ~REFERENCED;
		v->age++;
		put(s, page, list + 1);
	} else {
		p->flags |= REFERENCED;
		put(s, page, list);
	}
	return false;
}

static unsigned shrink_inactive_list(struct sim *s, unsigned list, unsigned n)
{
	struct lruvec *v = s->priv;
	unsigned freed = 0;

	for (; n && v->l[list].count; n--)
		freed += shrink_page(s, v->l[list].tail);
	return freed;
}

static void shrink_active_list(struct sim *s, unsigned list, unsigned n)
{
	struct lruvec *v = s->priv;

	for (; n && v->l[list].count; n--) {
		uint32_t page = v->l[list].tail;

		take(s, page);
		look(s, page);
		s->pages[page].flags = WORKINGSET; /* it was active once */
		put(s, page, list - 1);
	}
}

static bool inactive_is_low(const struct lruvec *v, bool file)
{
	unsigned list = file ? INACTIVE_FILE : INACTIVE_ANON;
	uint64_t pages = v->l[list].count + v->l[list + 1].count;
	uint64_t gb = pages >> 18, ratio = 1;

	while (gb && (ratio + 1) * (ratio + 1) <= 10 * gb)
		ratio++;
	return v->l[list].count * ratio < v->l[list + 1].count;
}

/* How many of each list a round of this priority looks at. */
static void get_scan_count(const struct lruvec *v, int priority, uint64_t nr[LISTS])
{
	uint64_t total = v->cost[0] + v->cost[1];
	uint64_t part[2];

	part[0] = SWAPPINESS * (total + 1) / (total + v->cost[0] + 1);
	part[1] = (200 - SWAPPINESS) * (total + 1) / (total + v->cost[1] + 1);
	for (unsigned i = 0; i < LISTS; i++) {
		nr[i] = v->l[i].count >> priority;
		if (priority && v->l[INACTIVE_FILE].count + v->l[ACTIVE_FILE].count)
			nr[i] = nr[i] * part[i >= INACTIVE_FILE] / (part[0] + part[1]);
	}
}

static unsigned shrink_list(struct sim *s, unsigned list, unsigned n)
{
	const struct lruvec *v = s->priv;

	if (list == INACTIVE_ANON || list == INACTIVE_FILE)
		return shrink_inactive_list(s, list, n);
	if (inactive_is_low(v, list == ACTIVE_FILE))
		shrink_active_list(s, list, n);
	return 0;
}

static unsigned shrink_lruvec(struct sim *s, int priority, unsigned wanted)
{
	struct lruvec *v = s->priv;
	uint64_t nr[LISTS];
	unsigned freed = 0;

	get_scan_count(v, priority, nr);
	while (nr[INACTIVE_ANON] || nr[ACTIVE_FILE] || nr[INACTIVE_FILE]) {
		for (unsigned i = 0; i < LISTS; i++) {
			unsigned n = nr[i] < CLUSTER ? (unsigned)nr[i] : CLUSTER;

			nr[i] -= n;
			freed += n ? shrink_list(s, i, n) : 0;
		}
		if (freed >= wanted && priority < PRIORITY)
			break;
	}
	if (inactive_is_low(v, false))
		shrink_active_list(s, ACTIVE_ANON, CLUSTER);
	return freed;
}

static void linux_reclaim(struct sim *s, unsigned n)
{
	unsigned freed = 0;

	/* Priority 0 looks at everything; what is accessed then is found unaccessed by the next. */
	for (int priority = PRIORITY; !s->free || freed<n; priority -= priority> 0) {
		unsigned got = shrink_lruvec(s, priority, n - (freed < n ? freed : n - 1));

		freed += got;
		if (!priority && !got && s->free)
			break;
	}
}

static const char *linux_check(struct sim *s)
{
	const struct lruvec *v = s->priv;
	uint64_t pages = 0;

	for (unsigned i = 0; i < LISTS; i++)
		pages += v->l[i].count;
	return pages + s->free == s->frames ? NULL : "a resident page is on no list";
}

const struct policy policy_linux510 = {
	.name = "5.10",
	.text = "Linux 5.10's active and inactive lists with refault distances",
	.batch = CLUSTER,
	.init = linux_init,
	.done = linux_done,
	.added = linux_added,
	.removed = linux_removed,
	.reclaim = linux_reclaim,
	.check = linux_check,
};
