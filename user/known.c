/* SPDX-License-Identifier: MIT */
/*
 * What a scenario last put into memory, so that a load of which nothing is expected still has a value to be
 * held against. Only what is certain is kept: whatever might have changed a byte in another way makes it
 * unknown, and an unknown byte is not checked.
 *
 * Each task has its own knowledge, which a fork copies, as it copies memory. Memory that others can change
 * (shared, or of a file) carries a number that changes with every store and file action that might have
 * reached it; knowledge of an older number counts for nothing.
 */
#include "run.h"
#include "names.h"

enum known_kind {
	KNOWN_WORDS,   /* value, whose byte i stands wherever an address is i modulo 8 */
	KNOWN_PATTERN, /* what fill() writes, with the seed value */
	AREA_PRIVATE,  /* anonymous */
	AREA_FILE,     /* a private mapping of a file */
	AREA_SHARED,
};

#define MADV_DONTNEED_	 4
#define MADV_FREE_	 8
#define MADV_REMOVE_	 9
#define MADV_WIPEONFORK_ 18
#define MREMAP_FIXED_	  2
#define MREMAP_DONTUNMAP_ 4
#define MAP_SHARED_	 1
#define MAP_FIXED_	 0x10
#define MAP_ANONYMOUS_	 0x20

/* ---- ranges --------------------------------------------------------------------------------- */

static uint64_t end_of(uint64_t start, uint64_t len)
{
	uint64_t end = start + ((len + U_PAGE - 1) & ~(U_PAGE - 1ull));

	return end < start ? ~0ull : end;
}

static void add(struct known_set *s, struct known k)
{
	if (k.start < k.end && s->n < KNOWN_MAX)
		s->k[s->n++] = k;
}

/* Nothing is known of [start, end) any more. */
static void cut(struct known_set *s, uint64_t start, uint64_t end)
{
	for (unsigned i = s->n; i-- > 0;) {
		struct known *k = &s->k[i], behind = *k;

		if (k->end <= start || end <= k->start)
			continue;
		behind.start = end;
		if (k->start < start)
			k->end = start;
		else
			*k = s->k[--s->n];
		add(s, behind);
	}
}

/* What is known of [from, from + len) is now so of the same range at to. */
static void move(struct known_set *s, uint64_t from, uint64_t len, uint64_t to)
{
	struct known_set old = *s;

	cut(s, from, from + len);
	cut(s, to, to + len);
	for (unsigned i = 0; i < old.n; i++) {
		struct known k = old.k[i];

		k.start = k.start < from ? from : k.start;
		k.end = k.end > from + len ? from + len : k.end;
		if (k.start >= k.end)
			continue;
		k.start = k.start - from + to;
		k.end = k.end - from + to;
		add(s, k);
	}
}

static const struct known *find(const struct known_set *s, uint64_t addr)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->k[i].start <= addr && addr < s->k[i].end)
			return &s->k[i];
	return NULL;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

uint64_t run_pattern(uintptr_t addr, uint64_t seed)
{
	return seed * 0x9e3779b97f4a7c15ull ^ (addr & (U_PAGE - 1));
}

static bool byte_at(const struct run *r, uint64_t addr, uint8_t *byte)
{
	const struct known *k = find(&r->bytes, addr);
	uint64_t word;

	if (!k || (k->shared && k->number != r->b.shared))
		return false;
	word = k->kind == KNOWN_PATTERN ? run_pattern(addr & ~7ull, k->value) : k->value;
	*byte = (uint8_t)(word >> 8 * (addr & 7));
	return true;
}

bool known_load(const struct run *r, uint64_t addr, unsigned width, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < width; i++) {
		uint8_t byte;

		if (!byte_at(r, addr + i, &byte))
			return false;
		*value |= (uint64_t)byte << 8 * i;
	}
	return width > 0;
}

/* Whether somebody else may see this task's shared memory, at another address or from another process. */
static bool others_see(const struct run *r)
{
	unsigned shared = 0, tasks = 0;

	for (unsigned i = 0; i < r->areas.n; i++)
		shared += r->areas.k[i].kind != AREA_PRIVATE;
	for (unsigned i = 0; i < r->scn.ntasks; i++)
		tasks += r->b.pid[i] != 0;
	return shared > 1 || tasks > 1;
}

/* Memory gets known contents; kind and value as in struct known. */
static void put(struct run *r, uint64_t start, uint64_t end, enum known_kind kind, uint64_t value)
{
	const struct known *area = find(&r->areas, start);
	bool shared = !area || area->kind != AREA_PRIVATE;

	cut(&r->bytes, start, end);
	if (shared && others_see(r))
		r->b.shared++;
	if (area && end <= area->end && !r->knows_nothing)
		add(&r->bytes, (struct known){ start, end, value, r->b.shared, kind, shared });
}

/* The bytes of value one after the other from addr on, again and again. */
static void put_words(struct run *r, uint64_t addr, uint64_t len, uint64_t value)
{
	unsigned turn = 8 * (addr & 7);

	put(r, addr, addr + len, KNOWN_WORDS, turn ? value << turn | value >> (64 - turn) : value);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void forget(struct run *r, uint64_t start, uint64_t end)
{
	cut(&r->bytes, start, end);
	cut(&r->areas, start, end);
}

static void note_mmap(struct run *r, const long *v, const struct seen *s)
{
	bool shared = v[3] & MAP_SHARED_, anonymous = v[3] & MAP_ANONYMOUS_;
	uint64_t start = s->kind == SEEN_VALUE ? s->value : (uint64_t)v[0], end = end_of(start, (uint64_t)v[1]);

	if (s->kind == SEEN_VALUE || v[3] & MAP_FIXED_)
		forget(r, start, end);
	if (s->kind != SEEN_VALUE)
		return;
	add(&r->areas, (struct known){ start, end, 0, 0, shared ? AREA_SHARED : anonymous ? AREA_PRIVATE : AREA_FILE,
				       false });
	if (anonymous)
		put(r, start, end, KNOWN_WORDS, 0);
}

/* The rest of an area that grew, or that stays behind, is a page of zeros each where it is nobody else's. */
static void put_zeros(struct run *r, uint64_t start, uint64_t end, bool private)
{
	if (private)
		put(r, start, end, KNOWN_WORDS, 0);
	else
		cut(&r->bytes, start, end);
}

static void note_mremap(struct run *r, const long *v, const struct seen *s)
{
	uint64_t old = (uint64_t)v[0], old_end = end_of(old, (uint64_t)v[1]), len = end_of(0, (uint64_t)v[2]);
	uint64_t kept = old_end - old < len ? old_end - old : len, to = s->value;
	const struct known *found = find(&r->areas, old);
	struct known area = found ? *found : (struct known){ 0 };
	bool private = found && area.kind == AREA_PRIVATE && old_end <= area.end;

	if (s->kind != SEEN_VALUE || old == old_end || !private) { /* of others little is certain */
		forget(r, old, old_end);
		if (s->kind == SEEN_VALUE || v[3] & MREMAP_FIXED_)
			forget(r, s->kind == SEEN_VALUE ? to : (uint64_t)v[4], end_of(s->kind == SEEN_VALUE ? to : (uint64_t)v[4], len));
		r->b.shared++;
		return;
	}
	if (to != old) {
		forget(r, to, to + len);
		move(&r->bytes, old, kept, to);
		if (!(v[3] & MREMAP_DONTUNMAP_))
			forget(r, old, old_end);
		else
			put_zeros(r, old, old_end, true);
	} else if (old + kept < old_end) {
		forget(r, old + kept, old_end);
	}
	cut(&r->areas, to, to + len);
	area.start = to;
	area.end = to + len;
	add(&r->areas, area);
	if (kept < len)
		put_zeros(r, to + kept, to + len, true);
}

static void note_madvise(struct run *r, const long *v, const struct seen *s)
{
	uint64_t start = (uint64_t)v[0], end = end_of(start, (uint64_t)v[1]);
	const struct known *area = find(&r->areas, start);

	if (v[2] == MADV_WIPEONFORK_)
		r->knows_nothing = true;
	if (v[2] == MADV_REMOVE_)
		r->b.shared++;
	if (v[2] == MADV_DONTNEED_ && s->kind == SEEN_VALUE && area && end <= area->end) {
		if (area->kind != AREA_SHARED)
			put_zeros(r, start, end, area->kind == AREA_PRIVATE);
	} else if ((v[2] >= 4 && v[2] <= 9) || v[2] >= 22) {
		cut(&r->bytes, start, end);
	}
	if (r->knows_nothing)
		r->bytes.n = 0;
}

static void note_copyout(struct run *r, const long *v, const struct seen *s)
{
	cut(&r->bytes, (uint64_t)v[0], (uint64_t)v[0] + (uint64_t)v[1]);
	if (s->kind == SEEN_VALUE && s->value)
		put_words(r, (uint64_t)v[0], s->value, (uint64_t)v[2]);
}

static void note_access(struct run *r, const struct scn_action *a, const long *v, const struct seen *s)
{
	uint64_t addr = (uint64_t)v[0];

	if (a->op == OP_STORE && s->kind == SEEN_OK)
		put_words(r, addr, a->nargs > 2 ? (uint64_t)v[2] : 8, (uint64_t)v[1]);
	else if (a->op == OP_FILL && s->kind == SEEN_OK && !(addr & 7))
		put(r, addr, addr + ((uint64_t)v[1] & ~7ull), KNOWN_PATTERN, (uint64_t)v[2]);
	else if (a->op == OP_FILL)
		cut(&r->bytes, addr, addr + (uint64_t)v[1] + 8);
}

void known_note(struct run *r, const struct scn_action *a, const long *v, const struct seen *s)
{
	switch (a->op) {
	case OP_MMAP:
		note_mmap(r, v, s);
		break;
	case OP_MUNMAP:
		forget(r, (uint64_t)v[0], end_of((uint64_t)v[0], (uint64_t)v[1]));
		break;
	case OP_MREMAP:
		note_mremap(r, v, s);
		break;
	case OP_BRK: /* who knows where the heap lies */
		forget(r, 0, ~0ull);
		break;
	case OP_MADVISE:
		note_madvise(r, v, s);
		break;
	case OP_REMAP_FILE_PAGES:
		cut(&r->bytes, (uint64_t)v[0], end_of((uint64_t)v[0], (uint64_t)v[1]));
		r->b.shared++;
		break;
	case OP_STORE:
	case OP_FILL:
		note_access(r, a, v, s);
		break;
	case OP_COPYOUT:
		note_copyout(r, v, s);
		break;
	case OP_OPEN: /* O_TRUNC */
	case OP_FTRUNCATE:
	case OP_PWRITE:
	case OP_FALLOCATE:
		r->b.shared++;
		break;
	default:
		break;
	}
}
