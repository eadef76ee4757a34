/* SPDX-License-Identifier: MIT */
/*
 * Traces: made from a description, or read from a file.
 *
 * A process of a description first touches its pages once, in order (the fill), and then works, as
 * bench/work.h has it.
 *
 * Flags: `first`: it fills before the others begin; `exit`: it ends with its last access, which
 * frees its pages; `nofill`: no fill.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/work.h"
#include "sim.h"

static const char *const kind_names[WORK_KINDS] = WORK_NAMES;
#define MAX_WORKS 8

struct process {
	struct work works[MAX_WORKS];
	unsigned nr_works;
	uint32_t base, pages;
	bool first, exits, fill;
	/* where it stands */
	bool filled;
	unsigned work;
	uint64_t step;
	uint64_t random;
	bool over;
};

struct mix {
	struct process p[MAX_SPACES];
	unsigned n;
	uint32_t pages;
};

/* The process's next access; false once there is none. */
static bool advance(struct process *p, uint32_t *page)
{
	if (p->fill && !p->filled) {
		*page = p->base + (uint32_t)p->step++;
		if (p->step == p->pages) {
			p->step = 0;
			p->filled = true;
		}
		return true;
	}
	while (p->work < p->nr_works) {
		const struct work *w = &p->works[p->work];

		if (p->step < work_touches(w, p->pages)) {
			*page = p->base + work_page(w->kind, p->pages, p->step, &p->random);
			p->step++;
			return true;
		}
		p->step = 0;
		p->work++;
	}
	return false;
}

static void turn(struct trace *t, struct mix *m, unsigned i, const struct turns *turns)
{
	struct process *p = &m->p[i];
	unsigned quantum = p->fill && !p->filled ? turns->fill : turns->work;
	uint32_t page;

	for (unsigned k = 0; k < quantum; k++) {
		if (!advance(p, &page)) {
			p->over = true;
			trace_add(t, 0, i, p->exits ? ACCESS_EXIT : ACCESS_SLEEP);
			return;
		}
		trace_add(t, page, i, ACCESS_TOUCH);
	}
}

static void run_all(struct trace *t, struct mix *m, const struct turns *turns, bool first)
{
	unsigned left;

	do {
		left = 0;
		for (unsigned i = 0; i < m->n; i++) {
			if (m->p[i].over || (first && !m->p[i].first))
				continue;
			turn(t, m, i, turns);
			left += !m->p[i].over;
		}
	} while (left);
}

/* A number that ends at one of the characters of `ends`, or at the text's end. */
static bool number(const char **at, uint32_t *value, const char *ends)
{
	char *end;
	unsigned long v;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	v = strtoul(*at, &end, 10);
	if (errno || v > MAX_PAGES || !v || (*end && !strchr(ends, *end)))
		return false;
	*value = (uint32_t)v;
	*at = end;
	return true;
}

static bool word(const char **at, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(*at, name, n) || ((*at)[n] >= 'a' && (*at)[n] <= 'z' && (*at)[n] != 'x'))
		return false;
	*at += n;
	return true;
}

static const char *parse_work(struct process *p, const char **at)
{
	struct work *w = &p->works[p->nr_works];
	uint32_t passes = 1;
	unsigned kind = 0;

	if (p->nr_works == MAX_WORKS)
		return "too many works in one process";
	while (kind < WORK_KINDS && !word(at, kind_names[kind]))
		kind++;
	if (kind == WORK_KINDS)
		return "no such work (order, random, zipf, window, hotscan, idle)";
	if (**at == 'x') {
		++*at;
		if (!number(at, &passes, "/:"))
			return "wants a number of passes";
	}
	*w = (struct work){(enum work_kind)kind, passes};
	p->nr_works++;
	return NULL;
}

static const char *parse_flags(struct process *p, const char **at)
{
	while (**at == ':') {
		++*at;
		if (word(at, "first"))
			p->first = true;
		else if (word(at, "exit"))
			p->exits = true;
		else if (word(at, "nofill"))
			p->fill = false;
		else
			return "no such flag (first, exit, nofill)";
	}
	return NULL;
}

static const char *parse_part(struct mix *m, const char **at, uint64_t seed)
{
	struct process p = {.fill = true};
	uint32_t count = 1;
	const char *wrong;

	if (number(at, &count, "*") && *(*at)++ != '*')
		return "wants COUNT*WORK:PAGES";
	do {
		wrong = parse_work(&p, at);
		if (wrong)
			return wrong;
	} while (**at == '/' && *++*at);
	if (*(*at)++ != ':' || !number(at, &p.pages, ":+") || p.pages < 48)
		return "wants :PAGES, at least 48, after the works";
	wrong = parse_flags(&p, at);
	if (wrong)
		return wrong;
	if (m->n + count > MAX_SPACES || (uint64_t)count * p.pages + m->pages > MAX_PAGES)
		return "too many processes or pages";
	for (uint32_t i = 0; i < count; i++, m->pages += p.pages) {
		p.base = m->pages;
		p.random = work_seed(seed, m->n);
		m->p[m->n++] = p;
	}
	return NULL;
}

const char *pattern_make(struct trace *t, const char *text, uint64_t seed, const struct turns *turns)
{
	struct mix *m = calloc(1, sizeof *m);
	const char *wrong;

	if (!m)
		abort();
	memset(t, 0, sizeof *t);
	do {
		wrong = parse_part(m, &text, seed);
		if (!wrong && *text && *text != '+')
			wrong = "wants + or the end after a part";
	} while (!wrong && *text++ == '+');
	if (!wrong) {
		run_all(t, m, turns, true);
		run_all(t, m, turns, false);
	}
	free(m);
	return wrong;
}

static const char *read_line(struct trace *t, const char *line)
{
	unsigned space;
	uint32_t page;
	char kind;

	if (sscanf(line, "%c %u %u", &kind, &space, &page) != 3 || space >= MAX_SPACES - 1 ||
	    page >= MAX_PAGES)
		return "malformed line";
	if (kind == 'a' || kind == 'f')
		trace_add(t, page, space, ACCESS_TOUCH);
	else if (kind == 'd')
		trace_add(t, page, space, ACCESS_DROP);
	else if (kind == 'x')
		trace_add(t, 0, space, ACCESS_EXIT);
	else if (kind == 's')
		trace_add(t, 0, space, ACCESS_SLEEP);
	else
		return "unknown kind of line";
	if (kind == 'f')
		t->file[page] = 1;
	return NULL;
}

const char *trace_read(struct trace *t, const char *path)
{
	FILE *f = fopen(path, "r");
	const char *wrong = NULL;
	char line[64];

	memset(t, 0, sizeof *t);
	if (!f)
		return "cannot be opened";
	t->file = calloc(MAX_PAGES, 1);
	if (!t->file)
		abort();
	if (!fgets(line, sizeof line, f) || strcmp(line, "quire-touches 1\n"))
		wrong = "is no trace of touches";
	while (!wrong && fgets(line, sizeof line, f))
		wrong = read_line(t, line);
	fclose(f);
	t->spaces++;
	if (!wrong && !t->pages)
		wrong = "touches no page";
	return wrong;
}
