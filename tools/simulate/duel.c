/* SPDX-License-Identifier: MIT */
/*
 * Duel by space: second chance, with the place of insertion found by a duel.
 *
 * Each space has three second-chance lists. Of its pages, by a hash, 1/32 are warm samples (they
 * come in at the warm end, as usual), 1/32 are cold samples (they come in at the cold end but for
 * one in 32, and are then the next to go), the rest follow whichever of the samples refaults less.
 * Each sample has its own share of the space's frames, 1/32. The vote begins on the side of cold.
 *
 * The victim's space: one that has not run for a quarter of memory's worth of evictions; else the
 * faulting one, if it has its fair share; else the largest.
 */
#include <stdlib.h>

#include "bench/work.h"
#include "sim.h"

enum { WARM, COLD, FOLLOW, GROUPS };
#define SHARE	 32u
#define VOTE_MAX 1024
#define FRESH	 1u /* came in cold: the access of the fault itself does not count */

struct duel_space {
	struct plist l[GROUPS];
	int vote; /* at least 0: cold */
	uint64_t ran;
};

struct duel {
	struct duel_space *sp;
};

static unsigned group_of(uint32_t page)
{
	uint64_t x = page;
	uint64_t h = work_random(&x) % SHARE;

	return h < 2 ? (unsigned)h : FOLLOW;
}

static void duel_init(struct sim *s)
{
	struct duel *d = calloc(1, sizeof *d);

	if (!d || !(d->sp = calloc(s->t->spaces + 1, sizeof *d->sp)))
		abort();
	for (unsigned i = 0; i < s->t->spaces; i++)
		for (unsigned g = 0; g < GROUPS; g++)
			list_init(&d->sp[i].l[g]);
	s->priv = d;
}

static void duel_done(struct sim *s)
{
	free(((struct duel *)s->priv)->sp);
	free(s->priv);
}

static void duel_runs(struct sim *s, unsigned space)
{
	struct duel *d = s->priv;

	d->sp[space].ran = s->evictions;
}

static void duel_added(struct sim *s, uint32_t page, bool refault)
{
	struct duel *d = s->priv;
	struct vpage *p = &s->pages[page];
	struct duel_space *sp = &d->sp[p->owner];
	unsigned g = group_of(page);
	bool cold = g == COLD || (g == FOLLOW && sp->vote >= 0);

	if (refault && g == WARM && sp->vote < VOTE_MAX)
		sp->vote++;
	if (refault && g == COLD && sp->vote > -VOTE_MAX)
		sp->vote--;
	p->list = (uint8_t)(g + 1);
	p->flags = 0;
	if (cold && pick(s, 32)) {
		p->flags = FRESH;
		list_add_tail(s, &sp->l[g], page);
	} else {
		list_add_head(s, &sp->l[g], page);
	}
}

static void duel_removed(struct sim *s, uint32_t page)
{
	struct duel *d = s->priv;
	struct vpage *p = &s->pages[page];

	list_remove(s, &d->sp[p->owner].l[p->list - 1], page);
	p->list = 0;
}

static unsigned victim_space(struct sim *s)
{
	struct duel *d = s->priv;
	unsigned largest = 0;

	for (unsigned i = 0; i < s->t->spaces; i++) {
		if (s->spaces[i].resident && i != s->running &&
		    s->evictions - d->sp[i].ran > s->frames / 4)
			return i;
		if (s->spaces[i].resident > s->spaces[largest].resident)
			largest = i;
	}
	if (s->running < s->t->spaces && s->populated &&
	    s->spaces[s->running].resident >= s->frames / s->populated)
		return s->running;
	return largest;
}

/* A sample that has more than its share gives up a page of its own, else a follower goes. */
static struct plist *victim_list(struct sim *s, struct duel_space *sp, uint32_t resident)
{
	uint32_t share = resident / SHARE;

	for (unsigned g = 0; g < FOLLOW; g++)
		if (sp->l[g].count > share)
			return &sp->l[g];
	for (unsigned g = FOLLOW + 1; g-- > 0;)
		if (sp->l[g].count)
			return &sp->l[g];
	abort();
}

static void duel_reclaim(struct sim *s, unsigned n)
{
	struct duel *d = s->priv;

	while (n && s->free < s->frames) {
		unsigned space = victim_space(s);
		struct plist *l = victim_list(s, &d->sp[space], s->spaces[space].resident);
		uint32_t page = l->tail;
		struct vpage *p = &s->pages[page];
		bool accessed = look(s, page) && !(p->flags & FRESH);

		p->flags = 0;
		list_remove(s, l, page);
		if (accessed) {
			list_add_head(s, l, page);
		} else {
			evict(s, page, 0);
			n--;
		}
	}
}

static const char *duel_check(struct sim *s)
{
	const struct duel *d = s->priv;

	for (unsigned i = 0; i < s->t->spaces; i++) {
		uint32_t pages = 0;

		for (unsigned g = 0; g < GROUPS; g++)
			pages += d->sp[i].l[g].count;
		if (pages != s->spaces[i].resident)
			return "a resident page is on no list of its space";
	}
	return NULL;
}

const struct policy policy_duel = {
	.name = "duel",
	.text = "duel by space: insertion warm or cold, as two samples of each space refault less",
	.init = duel_init,
	.done = duel_done,
	.runs = duel_runs,
	.added = duel_added,
	.removed = duel_removed,
	.reclaim = duel_reclaim,
	.check = duel_check,
};
