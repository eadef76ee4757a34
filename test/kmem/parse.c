/* SPDX-License-Identifier: MIT */
/* The reader of recordings: one line at a time, nothing believed, every refusal with its line. */
#include "test/kmem/kmem.h"

#include "lib/string.h"
#include <quire/abi.h>

struct line {
	const char *at, *end; /* without the newline */
};

static int refuse(const struct kmem_file *k, struct kmem_error *e, const char *why)
{
	*e = (struct kmem_error){why, k->line ? k->line : 1};
	return -EINVAL;
}

/* False: nothing is left. A last line may lack its newline. */
static bool next_line(struct kmem_file *k, struct line *l)
{
	if (k->at == k->end)
		return false;
	k->line++;
	l->at = k->at;
	while (k->at < k->end && *k->at != '\n')
		k->at++;
	l->end = k->at;
	if (k->at < k->end)
		k->at++;
	return true;
}

static bool number(struct line *l, uint64_t limit, uint64_t *v)
{
	const char *s = l->at;
	uint64_t n = 0;

	for (; s < l->end && *s >= '0' && *s <= '9'; s++) {
		n = n * 10 + (uint64_t)(*s - '0');
		if (n > limit)
			return false;
	}
	if (s == l->at || (s < l->end && *s != ' '))
		return false;
	l->at = s < l->end ? s + 1 : s;
	*v = n;
	return true;
}

static bool number32(struct line *l, uint32_t limit, uint32_t *v)
{
	uint64_t n;

	if (!number(l, limit, &n))
		return false;
	*v = (uint32_t)n;
	return true;
}

/* A word up to a blank, or (rest) everything up to the end of the line; printable ones only. */
static bool word(struct line *l, char *to, size_t size, bool rest)
{
	size_t n = 0;

	while (l->at < l->end && (rest || *l->at != ' ')) {
		if (n == size - 1 || (unsigned char)*l->at < 32)
			return false;
		to[n++] = *l->at++;
	}
	to[n] = 0;
	if (l->at < l->end)
		l->at++;
	return n;
}

static bool done(const struct line *l)
{
	return l->at == l->end;
}

static int read_blocks(struct kmem_file *k, struct line *l, struct kmem_blocks *b, unsigned *n,
		       struct kmem_error *e)
{
	if (*n == KMEM_ZONES)
		return refuse(k, e, "more zones than there are");
	b += *n;
	if (!word(l, b->zone, sizeof(b->zone), false))
		return refuse(k, e, "a zone's name is wanted");
	for (unsigned i = 0; i < KMEM_ORDERS; i++)
		if (!number(l, UINT32_MAX, &b->n[i]))
			return refuse(k, e, "eleven numbers of free blocks are wanted");
	if (!done(l))
		return refuse(k, e, "more than eleven numbers of free blocks");
	(*n)++;
	return 0;
}

static int read_gfp(struct kmem_file *k, struct line *l, struct kmem_error *e)
{
	uint64_t n;

	if (!number(l, KMEM_MAX_GFP - 1, &n) || n != k->ngfp)
		return refuse(k, e, "gfp lines are numbered from 0, 64 at most");
	if (!word(l, k->gfp[n], sizeof(k->gfp[n]), false) || !done(l))
		return refuse(k, e, "a gfp line names flags with bars between them");
	k->ngfp++;
	return 0;
}

/* One line of the header; 1: it was the last. */
static int header_line(struct kmem_file *k, struct line *l, struct kmem_error *e)
{
	char key[16];
	bool good;

	if (!word(l, key, sizeof(key), false))
		return refuse(k, e, "a header line starts with a name");
	if (!strcmp(key, "before"))
		return read_blocks(k, l, k->before, &k->nbefore, e);
	if (!strcmp(key, "after"))
		return read_blocks(k, l, k->after, &k->nafter, e);
	if (!strcmp(key, "gfp"))
		return read_gfp(k, l, e);
	if (!strcmp(key, "kernel"))
		good = word(l, k->kernel, sizeof(k->kernel), true);
	else if (!strcmp(key, "command"))
		good = word(l, k->command, sizeof(k->command), true);
	else if (!strcmp(key, "memory"))
		good = number32(l, 1u << 20, &k->memory) && k->memory;
	else if (!strcmp(key, "slab-pages"))
		good = number(l, UINT32_MAX, &k->slab_pages);
	else if (!strcmp(key, "skipped"))
		good = number(l, UINT32_MAX, &k->skipped);
	else if (!strcmp(key, "ids"))
		good = number32(l, KMEM_MAX_IDS, &k->page_ids) &&
		       number32(l, KMEM_MAX_IDS, &k->object_ids);
	else if (!strcmp(key, "events"))
		good = number32(l, KMEM_MAX_EVENTS, &k->events);
	else
		return refuse(k, e, "unknown header line");
	if (!good || !done(l))
		return refuse(k, e, "a header line's value makes no sense");
	return !strcmp(key, "events");
}

int kmem_open(struct kmem_file *k, const char *text, size_t n, struct kmem_error *e)
{
	static const char head[] = "quire-kmem ";
	struct line l;
	int r = 0;

	*k = (struct kmem_file){.at = text, .end = text + n};
	if (!next_line(k, &l) || (size_t)(l.end - l.at) < sizeof(head) ||
	    memcmp(l.at, head, sizeof(head) - 1))
		return refuse(k, e, "not a recording of page and slab events (quire-kmem)");
	if (l.end - l.at != sizeof(head) || l.at[sizeof(head) - 1] != '1')
		return refuse(k, e, "a version of the format that this program does not know");
	while (!r) {
		if (!next_line(k, &l))
			return refuse(k, e, "the header ends before its events line");
		r = header_line(k, &l, e);
	}
	if (r < 0)
		return r;
	if (!k->memory)
		return refuse(k, e, "the header says nothing of the machine's memory");
	return 0;
}

static bool page_fields(struct kmem_file *k, struct line *l, struct kmem_event *ev)
{
	return number32(l, KMEM_ORDERS - 1, &ev->order) && number32(l, 5, &ev->migratetype) &&
	       k->ngfp && number32(l, k->ngfp - 1, &ev->gfp);
}

static bool object_fields(struct kmem_file *k, struct line *l, struct kmem_event *ev)
{
	return number32(l, KMEM_MAX_BYTES, &ev->asked) && number32(l, KMEM_MAX_BYTES, &ev->given) &&
	       ev->asked <= ev->given && k->ngfp && number32(l, k->ngfp - 1, &ev->gfp);
}

static bool id(struct line *l, uint32_t ids, struct kmem_event *ev)
{
	return ids && number32(l, ids - 1, &ev->id);
}

/* Whether the line's fields are those of its kind. */
static bool fields(struct kmem_file *k, struct line *l, struct kmem_event *ev)
{
	switch (ev->kind) {
	case KMEM_PAGE_ALLOC:
		return id(l, k->page_ids, ev) && page_fields(k, l, ev);
	case KMEM_PAGE_FREE:
		return id(l, k->page_ids, ev);
	case KMEM_PAGE_FAILED:
		return page_fields(k, l, ev);
	case KMEM_KMALLOC:
	case KMEM_CACHE_ALLOC:
		return id(l, k->object_ids, ev) && object_fields(k, l, ev);
	case KMEM_OBJECT_FREE:
		return id(l, k->object_ids, ev);
	case KMEM_OBJECT_FAILED:
		return object_fields(k, l, ev);
	case KMEM_EXTFRAG:
	case KMEM_PCP_DRAIN:
		return true;
	}
	return false;
}

int kmem_next(struct kmem_file *k, struct kmem_event *ev, struct kmem_error *e)
{
	struct line l;

	if (!next_line(k, &l)) {
		if (k->seen == k->events)
			return 0;
		return refuse(k, e, "the recording ends before the last of its events");
	}
	if (k->seen == k->events)
		return refuse(k, e, "more events than the header says");
	*ev = (struct kmem_event){0};
	if (done(&l) || (l.end - l.at > 1 && l.at[1] != ' '))
		return refuse(k, e, "an event starts with its letter");
	ev->kind = (enum kmem_kind)*l.at;
	l.at += l.end - l.at > 1 ? 2 : 1;
	if (!fields(k, &l, ev) || !done(&l))
		return refuse(k, e, "an event's fields make no sense");
	k->seen++;
	return 1;
}
