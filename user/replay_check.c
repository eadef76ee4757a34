/* SPDX-License-Identifier: MIT */
/*
 * Checks a replay table before anything of it is believed. A table comes from a file that anybody
 * may have written; after this check the replayer reads it without looking again.
 */
#include "replay.h"

struct check {
	const unsigned char *base;
	size_t n;
	const struct rp_header *h;
	uint64_t at;
	const char *why;
};

static const char *bad(struct check *c, uint64_t at, const char *why)
{
	c->at = at;
	c->why = why;
	return why;
}

/* The array at *off, a word of the header, lies in the table and begins at a multiple of 8. */
static const char *array(struct check *c, const uint64_t *off, uint64_t count, uint64_t size)
{
	uint64_t at = (const unsigned char *)off - c->base;

	if (*off % 8 || *off < c->h->header_size || *off > c->n)
		return bad(c, at, "an offset outside the table or not a multiple of 8");
	if (count > (c->n - *off) / size)
		return bad(c, at, "an array that is longer than the table");
	return NULL;
}

static const char *header(struct check *c)
{
	static const char magic[16] = RP_MAGIC;
	const struct rp_header *h = c->h;

	if (c->n < sizeof(*h))
		return bad(c, 0, "shorter than its header");
	for (unsigned i = 0; i < sizeof(magic); i++)
		if (h->magic[i] != magic[i])
			return bad(c, 0, "not a replay table of version 1");
	if (h->header_size != sizeof(*h))
		return bad(c, 16, "a header of another size");
	if (!h->nprocs || h->nprocs > RP_MAX_PROCS || !h->nslots || h->nslots > RP_MAX_SLOTS)
		return bad(c, 20, "too many or no processes");
	if (!h->nexecs)
		return bad(c, 32, "no program image");
	if (array(c, &h->procs_off, h->nprocs, sizeof(struct rp_proc)) ||
	    array(c, &h->files_off, h->nfiles, sizeof(struct rp_file)) ||
	    array(c, &h->runs_off, h->nruns, sizeof(struct rp_run)) ||
	    array(c, &h->execs_off, h->nexecs, sizeof(struct rp_exec)))
		return c->why;
	return array(c, &h->steps_off, h->steps_size, 1);
}

static const char *procs_and_files(struct check *c)
{
	const struct rp_proc *p = (const void *)(c->base + c->h->procs_off);
	const struct rp_file *f = (const void *)(c->base + c->h->files_off);
	const struct rp_run *r = (const void *)(c->base + c->h->runs_off);

	for (uint32_t i = 0; i < c->h->nprocs; i++)
		if (p[i].slot >= c->h->nslots || p[i].parent >= c->h->nprocs)
			return bad(c, c->h->procs_off + i * sizeof(*p), "no such slot or process");
	for (uint32_t i = 0; i < c->h->nfiles; i++) {
		if (f[i].size > 1ull << 40)
			return bad(c, c->h->files_off + i * sizeof(*f), "a file too large");
		if (f[i].first_run > c->h->nruns || f[i].runs > c->h->nruns - f[i].first_run)
			return bad(c, c->h->files_off + i * sizeof(*f), "no such run of pages");
		for (uint32_t k = 0; k < f[i].runs; k++) {
			const struct rp_run *run = &r[f[i].first_run + k];
			uint64_t pages = (f[i].size + 4095) / 4096;

			if (run->page > pages || run->count > pages - run->page)
				return bad(c, c->h->files_off + i * sizeof(*f),
					   "cached pages behind the file's end");
		}
	}
	return NULL;
}

static const char *call(const struct rp_header *h, const struct rp_step *s, const uint64_t *w)
{
	if (!s->aux || s->aux >= RP_C_MAX)
		return "no such call";
	if (s->words != 7)
		return "a call wants 7 words";
	if (s->aux == RP_C_OPEN && w[0] >= h->nfiles)
		return "no such file";
	if ((s->aux == RP_C_OPEN || s->aux == RP_C_MEMFD || s->aux == RP_C_DUP) &&
	    (w[2] < RP_FD_FIRST || w[2] > RP_FD_LAST))
		return "a descriptor that is not the recording's";
	if (s->aux == RP_C_CLOSE && (w[0] < RP_FD_FIRST || w[0] > RP_FD_LAST))
		return "a descriptor that is not the recording's";
	return NULL;
}

static const char *step(const struct rp_header *h, const struct rp_step *s, const uint64_t *w)
{
	switch (s->op) {
	case RP_FAULT:
		if (s->words != 1 || s->aux > 63 || (s->aux & RP_F_ACCESS) == 3)
			return "no such access";
		return w[0] >= RP_HOLE_START && w[0] < RP_HOLE_END ? "an access in the hole" : NULL;
	case RP_CALL:
		return call(h, s, w);
	case RP_FORK:
		if (s->words != 1 || !s->aux || s->aux >= h->nprocs)
			return "no such process";
		return NULL;
	case RP_WAIT:
		return s->aux >= h->nprocs ? "no such process" : NULL;
	case RP_EXEC:
		return s->aux >= h->nexecs ? "no such program image" : NULL;
	case RP_VERIFY:
		return s->words != 1 || w[0] % 4096 ? "no page" : NULL;
	case RP_EXIT:
	case RP_DIGEST:
		return NULL;
	default:
		return "no such step";
	}
}

static const char *steps(struct check *c)
{
	uint64_t at = c->h->steps_off, end = at + c->h->steps_size;
	const char *why;

	if (at == end)
		return bad(c, at, "no steps");
	while (at < end) {
		const struct rp_step *s = (const void *)(c->base + at);
		const uint64_t *w = (const void *)(s + 1);

		if (end - at < 8 || (end - at - 8) / 8 < s->words)
			return bad(c, at, "the last step is cut off");
		if (s->proc >= c->h->nprocs)
			return bad(c, at, "no such process");
		why = step(c->h, s, w);
		if (why)
			return bad(c, at, why);
		at += 8 + 8ull * s->words;
	}
	return NULL;
}

const char *rp_check(const void *table, size_t n, uint64_t *where)
{
	struct check c = { .base = table, .n = n, .h = table };

	if (!header(&c) && !procs_and_files(&c))
		steps(&c);
	*where = c.at;
	return c.why;
}
