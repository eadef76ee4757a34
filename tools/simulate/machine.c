/* SPDX-License-Identifier: MIT */
/*
 * The machine: frames, accessed bits, faults and their counts. It knows no policy.
 *
 * A fault finds a free frame, or has the policy reclaim a batch first. The page comes in, the
 * policy links it (`added`), and then the access happens, which sets the accessed bit: so a page
 * that has just come is always found accessed at the first look, as with a real page table.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/work.h"
#include "sim.h"

void trace_add(struct trace *t, uint32_t page, unsigned space, enum access_kind kind)
{
	if (t->n == t->room) {
		t->room = t->room ? t->room * 2 : 1 << 16;
		t->a = realloc(t->a, t->room * sizeof *t->a);
		if (!t->a)
			abort();
	}
	t->a[t->n++] = (struct access){page, (uint16_t)space, (uint16_t)kind};
	if (kind == ACCESS_TOUCH && page >= t->pages)
		t->pages = page + 1;
	if (space >= t->processes)
		t->spaces = t->processes = space + 1;
}

void trace_free(struct trace *t)
{
	free(t->a);
	free(t->file);
	memset(t, 0, sizeof *t);
}

uint32_t pick(struct sim *s, uint32_t below)
{
	return (uint32_t)((work_random(&s->random) >> 32) * below >> 32);
}

void list_init(struct plist *l)
{
	l->head = l->tail = NONE;
	l->count = 0;
}

void list_add_head(struct sim *s, struct plist *l, uint32_t page)
{
	struct vpage *p = &s->pages[page];

	p->prev = NONE;
	p->next = l->head;
	*(l->head != NONE ? &s->pages[l->head].prev : &l->tail) = page;
	l->head = page;
	l->count++;
}

void list_add_tail(struct sim *s, struct plist *l, uint32_t page)
{
	struct vpage *p = &s->pages[page];

	p->next = NONE;
	p->prev = l->tail;
	*(l->tail != NONE ? &s->pages[l->tail].next : &l->head) = page;
	l->tail = page;
	l->count++;
}

void list_remove(struct sim *s, struct plist *l, uint32_t page)
{
	struct vpage *p = &s->pages[page];

	assert(l->count > 0);
	*(p->prev != NONE ? &s->pages[p->prev].next : &l->head) = p->next;
	*(p->next != NONE ? &s->pages[p->next].prev : &l->tail) = p->prev;
	l->count--;
}

bool look(struct sim *s, uint32_t page)
{
	struct vpage *p = &s->pages[page];
	bool was = p->accessed;

	assert(p->resident);
	s->looks++;
	p->accessed = 0;
	return was;
}

static void leave(struct sim *s, uint32_t page)
{
	struct vpage *p = &s->pages[page];
	struct space *sp = &s->spaces[p->owner];

	assert(p->resident && sp->resident);
	p->resident = p->accessed = 0;
	if (s->tlb && s->tlb[page % s->tlb_size] == page)
		s->tlb[page % s->tlb_size] = NONE;
	s->populated -= --sp->resident == 0;
	s->free++;
	assert(s->free <= s->frames);
}

void evict(struct sim *s, uint32_t page, uint64_t shadow)
{
	struct vpage *p = &s->pages[page];

	leave(s, page);
	p->shadow = shadow;
	s->evictions++;
	s->spaces[p->owner].evicted++;
}

static void fault(struct sim *s, uint32_t page, unsigned space)
{
	struct vpage *p = &s->pages[page];
	bool refault = p->touched;

	if (!s->free)
		s->policy->reclaim(s, s->batch);
	assert(s->free > 0);
	if (!refault) {
		p->file = s->t->file && s->t->file[page];
		p->owner = (uint16_t)(p->file ? s->t->spaces - 1 : space);
		s->spaces[p->owner].total++;
	}
	s->free--;
	s->populated += s->spaces[p->owner].resident++ == 0;
	p->resident = p->touched = 1;
	*(refault ? &s->refaults : &s->first) += 1;
	*(refault ? &s->spaces[space].refaults : &s->spaces[space].first) += 1;
	s->policy->added(s, page, refault);
}

static void drop(struct sim *s, uint32_t page)
{
	struct vpage *p = &s->pages[page];

	if (!p->touched || p->file)
		return;
	if (p->resident) {
		s->policy->removed(s, page);
		leave(s, page);
	}
	p->touched = 0;
	s->spaces[p->owner].total--;
}

static void space_ends(struct sim *s, unsigned space)
{
	for (uint32_t i = 0; i < s->t->pages; i++)
		if (s->pages[i].owner == space)
			drop(s, i);
}

/* Whether the processor walks the page table for this page. */
static bool translate(struct sim *s, uint32_t page)
{
	uint32_t *slot;

	if (!s->tlb)
		return true;
	slot = &s->tlb[page % s->tlb_size];
	if (*slot == page)
		return false;
	*slot = page;
	return true;
}

static void touch(struct sim *s, const struct access *a)
{
	s->spaces[a->space].accesses++;
	if (!s->pages[a->page].resident)
		fault(s, a->page, a->space);
	if (translate(s, a->page))
		s->pages[a->page].accessed = 1;
	if (s->policy->touched)
		s->policy->touched(s, a->page);
}

static void step(struct sim *s, const struct access *a)
{
	if (a->space != s->running) {
		s->running = a->space;
		if (s->tlb)
			memset(s->tlb, 0xff, s->tlb_size * sizeof *s->tlb);
		if (s->policy->runs)
			s->policy->runs(s, a->space);
	}
	switch (a->kind) {
	case ACCESS_EXIT:
		space_ends(s, a->space);
		break;
	case ACCESS_DROP:
		drop(s, a->page);
		break;
	case ACCESS_SLEEP:
		if (s->policy->sleeps)
			s->policy->sleeps(s, a->space);
		break;
	default:
		touch(s, a);
	}
}

static uint32_t *find_next_uses(const struct trace *t)
{
	uint32_t *next = malloc((t->n + 1) * sizeof *next);
	uint32_t *last = malloc((t->pages + 1) * sizeof *last);

	if (!next || !last)
		abort();
	memset(last, 0xff, (t->pages + 1) * sizeof *last);
	for (size_t i = t->n; i-- > 0;) {
		next[i] = NONE;
		if (t->a[i].kind != ACCESS_TOUCH)
			continue;
		next[i] = last[t->a[i].page];
		last[t->a[i].page] = (uint32_t)i;
	}
	free(last);
	return next;
}

static const char *check(struct sim *s)
{
	uint32_t resident = 0, populated = 0, touched = 0, total = 0;

	for (unsigned i = 0; i < s->t->spaces; i++) {
		resident += s->spaces[i].resident;
		total += s->spaces[i].total;
		populated += s->spaces[i].resident > 0;
	}
	for (uint32_t i = 0; i < s->t->pages; i++)
		touched += s->pages[i].touched;
	if (touched != total)
		return "the sizes of spaces are wrong";
	if (resident + s->free != s->frames)
		return "frames are lost";
	if (populated != s->populated)
		return "the number of populated spaces is wrong";
	return s->policy->check ? s->policy->check(s) : NULL;
}

static void set_up(struct sim *s, const struct trace *t, const struct policy *p,
		   const struct run *run)
{
	*s = (struct sim){.t = t,
			  .policy = p,
			  .frames = run->frames,
			  .free = run->frames,
			  .batch = p->batch ? p->batch : run->batch,
			  .random = run->seed,
			  .running = MAX_SPACES,
			  .tlb_size = run->tlb};
	s->pages = calloc(t->pages + 1, sizeof *s->pages);
	s->spaces = calloc(t->spaces + 1, sizeof *s->spaces);
	s->tlb = run->tlb ? malloc(run->tlb * sizeof *s->tlb) : NULL;
	if (!s->pages || !s->spaces || (run->tlb && !s->tlb))
		abort();
	s->next_use = p->sees_all ? find_next_uses(t) : NULL;
}

const char *sim_run(struct sim *s, const struct trace *t, const struct policy *p,
		    const struct run *run)
{
	size_t every = run->check_every;
	const char *wrong = NULL;

	set_up(s, t, p, run);
	p->init(s);
	for (s->now = 0; s->now < t->n && !wrong; s->now++) {
		step(s, &t->a[s->now]);
		if (every && s->now % every == 0)
			wrong = check(s);
		if (run->progress && s->now % (1 << 18) == 0)
			run->progress((double)s->now / t->n);
	}
	if (!wrong && every)
		wrong = check(s);
	p->done(s);
	return wrong;
}

void sim_free(struct sim *s)
{
	free(s->pages);
	free(s->spaces);
	free((void *)s->next_use);
	free(s->tlb);
}
