/* SPDX-License-Identifier: MIT */
/*
 * Policies to measure others by: LRU and Belady, which see each access, and FIFO, second chance
 * and random, which need next to nothing.
 *
 * Belady evicts the page whose next use is farthest: no policy refaults less. A heap by next use
 * has an entry for each access; one that a later access made stale is dropped when it comes up.
 * The page that is being accessed has to come in, so there is no bypass.
 */
#include <stdlib.h>

#include "sim.h"

/* ---- LRU ---- */

static void one_list_init(struct sim *s)
{
	s->priv = malloc(sizeof(struct plist));
	if (!s->priv)
		abort();
	list_init(s->priv);
}

static void free_priv(struct sim *s)
{
	free(s->priv);
}

static void one_list_added(struct sim *s, uint32_t page, bool refault)
{
	list_add_head(s, s->priv, page);
}

static void one_list_removed(struct sim *s, uint32_t page)
{
	list_remove(s, s->priv, page);
}

static void lru_touched(struct sim *s, uint32_t page)
{
	list_remove(s, s->priv, page);
	list_add_head(s, s->priv, page);
}

static void one_list_reclaim(struct sim *s, unsigned n)
{
	struct plist *l = s->priv;

	for (; n && l->count; n--) {
		uint32_t page = l->tail;

		list_remove(s, l, page);
		evict(s, page, 0);
	}
}

static const char *one_list_check(struct sim *s)
{
	const struct plist *l = s->priv;

	return l->count + s->free == s->frames ? NULL : "a resident page is on no list";
}

const struct policy policy_lru = {
	.name = "lru",
	.text = "least recently used, told of each access",
	.sees_all = true,
	.batch = 1,
	.init = one_list_init,
	.done = free_priv,
	.added = one_list_added,
	.touched = lru_touched,
	.reclaim = one_list_reclaim,
	.removed = one_list_removed,
	.check = one_list_check,
};

const struct policy policy_fifo = {
	.name = "fifo",
	.text = "first in, first out",
	.init = one_list_init,
	.done = free_priv,
	.added = one_list_added,
	.reclaim = one_list_reclaim,
	.removed = one_list_removed,
	.check = one_list_check,
};

/* ---- second chance ---- */

static void clock_reclaim(struct sim *s, unsigned n)
{
	struct plist *l = s->priv;

	while (n && l->count) {
		uint32_t page = l->tail;

		list_remove(s, l, page);
		if (look(s, page)) {
			list_add_head(s, l, page);
		} else {
			evict(s, page, 0);
			n--;
		}
	}
}

const struct policy policy_clock = {
	.name = "clock",
	.text = "one list with a second chance",
	.init = one_list_init,
	.done = free_priv,
	.added = one_list_added,
	.reclaim = clock_reclaim,
	.removed = one_list_removed,
	.check = one_list_check,
};

/* ---- random ---- */

struct table {
	uint32_t n;
	uint32_t page[];
};

static void random_init(struct sim *s)
{
	s->priv = calloc(1, sizeof(struct table) + s->frames * sizeof(uint32_t));
	if (!s->priv)
		abort();
}

static void random_added(struct sim *s, uint32_t page, bool refault)
{
	struct table *t = s->priv;

	s->pages[page].stamp = t->n;
	t->page[t->n++] = page;
}

static void random_removed(struct sim *s, uint32_t page)
{
	struct table *t = s->priv;
	uint32_t at = (uint32_t)s->pages[page].stamp;

	t->page[at] = t->page[--t->n];
	s->pages[t->page[at]].stamp = at;
}

static void random_reclaim(struct sim *s, unsigned n)
{
	struct table *t = s->priv;

	for (; n && t->n; n--) {
		uint32_t page = t->page[pick(s, t->n)];

		random_removed(s, page);
		evict(s, page, 0);
	}
}

const struct policy policy_random = {
	.name = "random",
	.text = "any page",
	.init = random_init,
	.done = free_priv,
	.added = random_added,
	.reclaim = random_reclaim,
	.removed = random_removed,
};

/* ---- Belady ---- */

struct use {
	uint32_t when, page;
};

struct heap {
	size_t n, room;
	struct use *u;
};

static void heap_push(struct heap *h, struct use x)
{
	size_t i = h->n++;

	if (h->n > h->room) {
		h->room = h->room ? h->room * 2 : 1 << 16;
		h->u = realloc(h->u, h->room * sizeof *h->u);
		if (!h->u)
			abort();
	}
	for (; i && h->u[(i - 1) / 2].when < x.when; i = (i - 1) / 2)
		h->u[i] = h->u[(i - 1) / 2];
	h->u[i] = x;
}

static struct use heap_pop(struct heap *h)
{
	struct use top = h->u[0], x = h->u[--h->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < h->n) {
		child += child + 1 < h->n && h->u[child + 1].when > h->u[child].when;
		if (x.when >= h->u[child].when)
			break;
		h->u[i] = h->u[child];
		i = child;
	}
	h->u[i] = x;
	return top;
}

static void belady_init(struct sim *s)
{
	s->priv = calloc(1, sizeof(struct heap));
	if (!s->priv)
		abort();
}

static void belady_done(struct sim *s)
{
	free(((struct heap *)s->priv)->u);
	free(s->priv);
}

static void belady_added(struct sim *s, uint32_t page, bool refault)
{
}

static void belady_touched(struct sim *s, uint32_t page)
{
	s->pages[page].stamp = s->next_use[s->now];
	heap_push(s->priv, (struct use){s->next_use[s->now], page});
}

static void belady_reclaim(struct sim *s, unsigned n)
{
	struct heap *h = s->priv;

	while (n && h->n) {
		struct use u = heap_pop(h);

		if (s->pages[u.page].resident && s->pages[u.page].stamp == u.when) {
			evict(s, u.page, 0);
			n--;
		}
	}
}

static void belady_removed(struct sim *s, uint32_t page)
{
	s->pages[page].stamp = 0; /* its entries are stale now */
}

const struct policy policy_belady = {
	.name = "belady",
	.text = "the page whose next use is farthest, told of the future: the least that is "
		"possible",
	.sees_all = true,
	.batch = 1,
	.init = belady_init,
	.done = belady_done,
	.added = belady_added,
	.touched = belady_touched,
	.reclaim = belady_reclaim,
	.removed = belady_removed,
};
