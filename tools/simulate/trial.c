/* SPDX-License-Identifier: MIT */
/*
 * Trial by space: a page has to prove itself before it displaces one that has. docs/policy.md has
 * the reasons and what a kernel needs for it; this is the reference.
 *
 * Each space has a base and a trial.
 *
 *   base    fill: what came while there was room for it, not looked at yet; main: looked at from
 *           its tail, after fill; a page found accessed goes to the head of main, one that was not
 *           goes to `aged`, whose tail is the first to lose its place
 *   trial   fresh → old: a page comes in at fresh, and gets its accessed bit cleared when it is
 *           half-way; one that is found accessed at the end of old was used twice
 *
 * Time counts evictions and pages that were found in use: what an LRU list would have moved. Each
 * page has a stamp, the time at which it came in or was last found accessed, in units of 1/64 of
 * memory; the shadow of an evicted page keeps it.
 *
 * A fault. While memory is free all pages come into the base. Later
 *
 *   - a page of a space that has less than 7/8 of what it is entitled to comes into the base, and
 *     a space that has more yields one: the newest of its fill, without a look. Its accessed bit
 *     says nothing, and the oldest is what the program began with;
 *   - a page that was evicted before challenges: its interval tau is the time since its stamp. If
 *     a page of anyone's base has been idle for tau / 2 + tau² / memory, the two change places: a
 *     short interval wins easily, one longer than memory hardly ever, as LRU could not have used
 * it;
 *   - any other comes into the trial, and a page of its own space goes.
 *
 * A space gives up a page of its trial if that is longer than its target, else one of its base. A
 * page that wins with an interval shorter than memory after it had been evicted from the trial
 * shows that the trial was too short: the target grows by one; from the base, it shrinks by one. An
 * interval longer than memory shrinks it by 1/8. So a loop that does not fit keeps its base and
 * runs through a trial of 1/32; a working set that moves gets a long trial, which is second chance.
 *
 * A space is entitled to the smaller of an equal share and one by its size, resident or not; one
 * that still grows to an equal share, for nobody knows its size yet; one of which nothing could run for 1/64 of memory's evictions to nothing, and after 1/8 of memory's
 * its pages go first. Idle times of different spaces are compared weighted by how much of its
 * proportional share the space has, and one that has less and still grows is left alone.
 */
#include <assert.h>
#include <stdlib.h>

#include "sim.h"

enum { OFF, FILL, MAIN, AGED, FRESH, OLD, LISTS };

#define UNITS	   64u /* of time, in the time that as many evictions as frames take */
#define MIN_TRIAL  32u /* the trial has at least 1/32 of the space's pages */
#define MAX_AGED   4u  /* aged has at most 1/4 of them */
#define FRACTION   16  /* the target counts in 1/16 pages */
#define FAR_STEP   2   /* 1/8 page */
#define SWEEP	   8u  /* base pages looked at in a fault */
#define SAMPLE	   4u  /* spaces compared when one is chosen */
#define TRIES	   16u /* base pages a challenge looks at */
#define LOOKS	   64u /* looks in one eviction, after which the next page goes, accessed or not */
#define LOST_PLACE 1u  /* flag: its place in the base is gone, it leaves next */

struct trial_space {
	struct plist l[LISTS];
	uint64_t slept, grew; /* in evictions */
	int64_t target;	      /* of the trial's length, in FRACTION of a page */
	uint32_t debt;	      /* pages that are to go */
	uint32_t excess;      /* and those that it yields to others that grow */
	bool asleep;
	bool tried; /* the trial was set up */
};

struct trial {
	struct trial_space *sp;
	uint64_t time;
	uint64_t base; /* pages in all bases */
	unsigned next_base, next_above, next_idle, next_debtor;
};

static uint32_t trial_pages(const struct trial_space *sp)
{
	return sp->l[FRESH].count + sp->l[OLD].count;
}

static bool is_base(unsigned list)
{
	return list == FILL || list == MAIN || list == AGED;
}

static uint32_t base_pages(const struct trial_space *sp)
{
	return sp->l[FILL].count + sp->l[MAIN].count + sp->l[AGED].count;
}

static uint32_t pages_of(const struct trial_space *sp)
{
	return base_pages(sp) + trial_pages(sp);
}

static void link_page(struct sim *s, struct trial_space *sp, uint32_t page, unsigned list)
{
	struct trial *d = s->priv;

	d->base += is_base(list);
	s->pages[page].list = (uint8_t)list;
	list_add_head(s, &sp->l[list], page);
}

static void unlink_page(struct sim *s, struct trial_space *sp, uint32_t page)
{
	struct trial *d = s->priv;
	unsigned list = s->pages[page].list;

	d->base -= is_base(list);
	list_remove(s, &sp->l[list], page);
	s->pages[page].list = OFF;
}

static void move_page(struct sim *s, struct trial_space *sp, uint32_t page, unsigned list)
{
	unlink_page(s, sp, page);
	link_page(s, sp, page, list);
}

/* ---- time ---- */

static uint64_t now(const struct sim *s)
{
	const struct trial *d = s->priv;
	uint64_t unit = s->frames / UNITS;

	return d->time / unit * unit;
}

static uint64_t idle_time(const struct sim *s, uint32_t page)
{
	return now(s) - s->pages[page].stamp;
}

/* The page was found in use: it moves as it would in an LRU list. */
static void renew(struct sim *s, struct trial_space *sp, uint32_t page)
{
	struct trial *d = s->priv;

	move_page(s, sp, page, MAIN);
	d->time++;
	s->pages[page].stamp = now(s);
}

/* ---- spaces ---- */

static bool sleeps_for(const struct sim *s, unsigned space, uint64_t evictions)
{
	const struct trial *d = s->priv;
	const struct trial_space *sp = &d->sp[space];

	return sp->asleep && s->evictions - sp->slept > evictions;
}

/* Frames by the size of the space, counting its evicted pages. A kernel keeps the sums. */
static uint64_t proportional(const struct sim *s, unsigned space, bool awake, unsigned *n)
{
	uint64_t total = 0;

	*n = 0;
	for (unsigned i = 0; i < s->t->spaces; i++) {
		if (!s->spaces[i].resident || (awake && sleeps_for(s, i, s->frames / 64)))
			continue;
		total += s->spaces[i].total;
		++*n;
	}
	return total ? (uint64_t)s->frames * s->spaces[space].total / total : s->frames;
}

/* It has touched a page for the first time not long ago. */
static bool grows(const struct sim *s, unsigned space)
{
	const struct trial *d = s->priv;

	return s->evictions - d->sp[space].grew < s->frames / 4;
}

static uint32_t entitled(const struct sim *s, unsigned space)
{
	unsigned n;
	uint64_t part = proportional(s, space, true, &n);

	if (sleeps_for(s, space, s->frames / 64))
		return 0;
	if (n && (part > s->frames / n || grows(s, space)))
		part = s->frames / n;
	return (uint32_t)part;
}

static uint32_t equal_share(const struct sim *s, unsigned space)
{
	unsigned n;

	proportional(s, space, true, &n);
	return n ? s->frames / n : s->frames;
}

/* Of the next few spaces the one that has most above what it is entitled to. */
static struct trial_space *most_above(struct sim *s)
{
	struct trial *d = s->priv;
	struct trial_space *best = NULL;
	int64_t most = INT64_MIN;
	unsigned seen = 0;

	for (unsigned k = 0; k < s->t->spaces && seen < SAMPLE; k++) {
		unsigned i = d->next_above++ % s->t->spaces;
		int64_t above = (int64_t)pages_of(&d->sp[i]) - entitled(s, i);

		if (!pages_of(&d->sp[i]))
			continue;
		seen++;
		if (above > most) {
			most = above;
			best = &d->sp[i];
		}
	}
	return best;
}

/* ---- the base ---- */

static uint32_t base_tail(const struct trial_space *sp)
{
	if (sp->l[AGED].count)
		return sp->l[AGED].tail;
	return sp->l[FILL].count ? sp->l[FILL].tail : sp->l[MAIN].tail;
}

/* Looks at a few pages of the base, so that what is not used is known when it is asked for. */
static void sweep(struct sim *s, struct trial_space *sp)
{
	for (unsigned i = 0; i < SWEEP && sp->l[MAIN].count + sp->l[FILL].count; i++) {
		uint32_t page = sp->l[FILL].count ? sp->l[FILL].tail : sp->l[MAIN].tail;

		if (sp->l[AGED].count > pages_of(sp) / MAX_AGED || !idle_time(s, page))
			return;
		if (look(s, page))
			renew(s, sp, page);
		else
			move_page(s, sp, page, AGED);
	}
}

/* How idle the space's idlest page is, weighted by the space's part of its share: at most by 2. */
static uint64_t weighted_idle(const struct sim *s, unsigned space)
{
	const struct trial *d = s->priv;
	const struct trial_space *sp = &d->sp[space];
	unsigned n;
	uint64_t idle = idle_time(s, base_tail(sp)), share = proportional(s, space, false, &n) + 1;
	uint64_t weighted = idle * pages_of(sp) / share;

	if (pages_of(sp) < share && grows(s, space))
		return 0;
	if (weighted < idle / 2)
		return idle / 2;
	return weighted > idle * 2 ? idle * 2 : weighted;
}

/* Of the next few spaces the one whose base has the idlest page. */
static struct trial_space *idlest(struct sim *s, uint64_t *idle)
{
	struct trial *d = s->priv;
	struct trial_space *best = NULL;
	unsigned seen = 0;

	for (unsigned k = 0; k < s->t->spaces && seen < SAMPLE; k++) {
		unsigned i = d->next_base++ % s->t->spaces;
		uint64_t x;

		if (!base_pages(&d->sp[i]))
			continue;
		x = weighted_idle(s, i);
		if (!seen++ || x > *idle) {
			*idle = x;
			best = &d->sp[i];
		}
	}
	return best;
}

/* A page was used again after tau: the space at whose base's tail a page has been idle for longer
 * than that allows, or NULL. */
static struct trial_space *challenge(struct sim *s, uint64_t tau)
{
	struct trial *d = s->priv;
	uint64_t need = tau / 2 + tau * tau / s->frames;

	for (unsigned i = 0; i < TRIES && d->base; i++) {
		uint64_t idle = 0;
		struct trial_space *sp = idlest(s, &idle);
		uint32_t page = base_tail(sp);

		if (!idle || idle < need)
			return NULL;
		if (!look(s, page))
			return sp;
		renew(s, sp, page);
	}
	return NULL;
}

/* ---- faults ---- */

static void adapt(struct trial_space *sp, int64_t by)
{
	int64_t pages = (int64_t)pages_of(sp) * FRACTION;

	sp->target += by;
	if (sp->target > pages * 7 / 8)
		sp->target = pages * 7 / 8;
	if (sp->target < pages / MIN_TRIAL)
		sp->target = pages / MIN_TRIAL;
}

/* The idlest page of this base has lost its place: it is the next to leave its space. */
static void lose(struct sim *s, struct trial_space *sp)
{
	uint32_t page = base_tail(sp);

	unlink_page(s, sp, page);
	list_add_tail(s, &sp->l[OLD], page);
	s->pages[page].list = OLD;
	s->pages[page].flags = LOST_PLACE;
	sp->debt++;
}

/* A page is back: whether it has won a place in the base. */
static bool comes_back(struct sim *s, struct trial_space *sp, const struct vpage *p)
{
	uint64_t tau = now(s) - (p->shadow >> 1);
	struct trial_space *loser = challenge(s, tau);

	if (tau >= s->frames)
		adapt(sp, -FAR_STEP);
	else if (loser)
		adapt(sp, p->shadow & 1 ? FRACTION : -FRACTION);
	if (loser)
		lose(s, loser);
	return loser;
}

static void trial_added(struct sim *s, uint32_t page, bool refault)
{
	struct trial *d = s->priv;
	struct vpage *p = &s->pages[page];
	struct trial_space *sp = &d->sp[p->owner];
	unsigned list = MAIN;

	p->flags = 0;
	if (s->evictions && s->free < s->batch) {
		uint32_t share;

		if (refault) {
			sweep(s, sp);
			share = entitled(s, p->owner);
		} else {
			sp->grew = s->evictions;
			share = equal_share(s, p->owner);
		}
		if (pages_of(sp) < share / 8 * 7) {
			most_above(s)->excess++;
		} else if (!refault || !comes_back(s, sp, p)) {
			sp->debt++;
			list = FRESH;
		}
	}
	link_page(s, sp, page, list == MAIN && !refault ? FILL : list);
	p->stamp = now(s);
}

/* ---- reclaim ---- */

static void evict_page(struct sim *s, struct trial_space *sp, uint32_t page, bool of_trial)
{
	struct trial *d = s->priv;

	unlink_page(s, sp, page);
	evict(s, page, s->pages[page].stamp << 1 | of_trial);
	d->time++;
}

static void balance_trial(struct sim *s, struct trial_space *sp)
{
	while (sp->l[FRESH].count > sp->l[OLD].count) {
		uint32_t page = sp->l[FRESH].tail;

		look(s, page);
		move_page(s, sp, page, OLD);
	}
}

/* The last page of the trial: it goes, or stays, if it was used; true if a page went. */
static bool try_last(struct sim *s, struct trial_space *sp, bool must)
{
	uint32_t page;
	struct vpage *p;
	struct trial_space *loser;

	balance_trial(s, sp);
	page = sp->l[OLD].tail;
	p = &s->pages[page];
	if (!look(s, page) || must || (p->flags & LOST_PLACE)) {
		evict_page(s, sp, page, !(p->flags & LOST_PLACE));
		return true;
	}
	loser = challenge(s, idle_time(s, page));
	p->stamp = now(s);
	if (loser)
		evict_page(s, loser, base_tail(loser), false);
	move_page(s, sp, page, loser ? MAIN : FRESH);
	return loser;
}

/* The newest pages of a base that was filled while memory was free go on trial, as many as shall be left
 * there once the space has given what it owes. */
static void begin_trial(struct sim *s, struct trial_space *sp)
{
	sp->tried = true;
	while (((int64_t)trial_pages(sp) - sp->debt) * FRACTION <= sp->target && sp->l[MAIN].count + sp->l[FILL].count) {
		uint32_t page = sp->l[FILL].count ? sp->l[FILL].head : sp->l[MAIN].head;

		unlink_page(s, sp, page);
		list_add_tail(s, &sp->l[FRESH], page);
		s->pages[page].list = FRESH;
	}
}

static void evict_one(struct sim *s, struct trial_space *sp)
{
	uint64_t limit;

	adapt(sp, 0);
	if (!sp->tried)
		begin_trial(s, sp);
	balance_trial(s, sp);
	limit = s->looks + LOOKS;
	for (;;) {
		uint32_t page;

		if (trial_pages(sp) * FRACTION > sp->target || !base_pages(sp)) {
			if (try_last(s, sp, s->looks >= limit))
				return;
			continue;
		}
		page = base_tail(sp);
		if (!look(s, page) || s->looks >= limit) {
			evict_page(s, sp, page, false);
			return;
		}
		renew(s, sp, page);
	}
}

static struct trial_space *asleep(struct sim *s)
{
	struct trial *d = s->priv;

	for (unsigned k = 0; k < s->t->spaces; k++) {
		unsigned i = d->next_idle % s->t->spaces;

		if (pages_of(&d->sp[i]) && sleeps_for(s, i, s->frames / 8))
			return &d->sp[i];
		d->next_idle++;
	}
	return NULL;
}

/* The next space that is to give up a page; yields: for others that grow. */
static struct trial_space *debtor(struct sim *s, bool *yields)
{
	struct trial *d = s->priv;

	for (unsigned k = 0; k < s->t->spaces; k++) {
		struct trial_space *sp = &d->sp[d->next_debtor % s->t->spaces];

		if ((sp->debt || sp->excess) && pages_of(sp)) {
			*yields = sp->excess > 0;
			*(sp->excess ? &sp->excess : &sp->debt) -= 1;
			return sp;
		}
		sp->debt = sp->excess = 0;
		d->next_debtor++;
	}
	return NULL;
}

static void trial_reclaim(struct sim *s, unsigned n)
{
	while (n-- && s->free < s->frames) {
		struct trial_space *sp = asleep(s);
		bool yields = false;

		if (!sp)
			sp = debtor(s, &yields);
		if (!sp) {
			sp = most_above(s);
			yields = true;
		}
		if (yields && sp->l[FILL].count)
			evict_page(s, sp, sp->l[FILL].head, false);
		else
			evict_one(s, sp);
	}
}

/* ---- the rest ---- */

static void trial_init(struct sim *s)
{
	struct trial *d = calloc(1, sizeof *d);

	if (!d || !(d->sp = calloc(s->t->spaces + 1, sizeof *d->sp)))
		abort();
	for (unsigned i = 0; i < s->t->spaces; i++)
		for (unsigned l = 0; l < LISTS; l++)
			list_init(&d->sp[i].l[l]);
	s->priv = d;
}

static void trial_done(struct sim *s)
{
	free(((struct trial *)s->priv)->sp);
	free(s->priv);
}

static void trial_runs(struct sim *s, unsigned space)
{
	struct trial *d = s->priv;

	d->sp[space].asleep = false;
}

static void trial_sleeps(struct sim *s, unsigned space)
{
	struct trial *d = s->priv;

	d->sp[space].asleep = true;
	d->sp[space].slept = s->evictions;
}

static void trial_removed(struct sim *s, uint32_t page)
{
	struct trial *d = s->priv;

	unlink_page(s, &d->sp[s->pages[page].owner], page);
}

static const char *trial_check(struct sim *s)
{
	const struct trial *d = s->priv;
	uint64_t base = 0;

	for (unsigned i = 0; i < s->t->spaces; i++) {
		const struct trial_space *sp = &d->sp[i];

		if (pages_of(sp) != s->spaces[i].resident)
			return "a resident page is on no list of its space";
		base += base_pages(sp);
	}
	for (uint32_t i = 0; i < s->t->pages; i++) {
		if (!s->pages[i].resident != (s->pages[i].list == OFF))
			return "a page that is not resident is on a list";
		if (s->pages[i].resident && s->pages[i].stamp > now(s))
			return "a stamp lies in the future";
	}
	return base == d->base ? NULL : "the number of base pages is wrong";
}

const struct policy policy_trial = {
	.name = "trial",
	.text = "trial by space: a page has to prove itself before it displaces one that has",
	.init = trial_init,
	.done = trial_done,
	.runs = trial_runs,
	.sleeps = trial_sleeps,
	.added = trial_added,
	.removed = trial_removed,
	.reclaim = trial_reclaim,
	.check = trial_check,
};
