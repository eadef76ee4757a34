/* SPDX-License-Identifier: MIT */
/*
 * The scenario of a seed. Addresses crowd in a part of the arena that each seed chooses, so that
 * operations meet; errors and boundary values come often enough for every check to be met.
 * What could run a machine out of memory is not generated: nothing large is ever populated.
 */
#include "fuzz.h"

struct gen {
	uint64_t s;
	struct fz *f;
	bool x86;
	unsigned first, span; /* pages of the arena where things happen */
	unsigned task;
	bool alive[FZ_TASKS];
	bool locks; /* what is mapped from here on may be locked */
};

#define PROT_R	1
#define PROT_W	2
#define PROT_X	4
#define ONE_TIB (1ll << 40)

/* splitmix64 */
static uint64_t rnd(struct gen *g)
{
	uint64_t z = g->s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned below(struct gen *g, unsigned n)
{
	return (unsigned)(rnd(g) % n);
}

static bool percent(struct gen *g, unsigned n)
{
	return below(g, 100) < n;
}

#define PICK(g, array) ((array)[below(g, sizeof(array) / sizeof((array)[0]))])

/* ---- arguments ------------------------------------------------------------------------------ */

static struct fz_arg num(int64_t v)
{
	return (struct fz_arg){ v, FZ_NUM };
}

static struct fz_arg page(struct gen *g)
{
	return (struct fz_arg){ (FZ_LOW + g->first + below(g, g->span)) * (int64_t)U_PAGE, FZ_PAGE };
}

/* Addresses at the edges of what a call accepts. */
static struct fz_arg edge(struct gen *g)
{
	static const int64_t nums[] = { 0, 1, U_PAGE, -(int64_t)U_PAGE, -1, 1ll << 63,
					(int64_t)0xffff800000000000ull };
	unsigned what = below(g, 10);

	if (what < 7)
		return num(nums[what]);
	return (struct fz_arg){ what == 7 ? 1 : (what - 8) * (int64_t)U_PAGE, FZ_END };
}

static struct fz_arg addr(struct gen *g)
{
	unsigned what = below(g, 100);
	struct fz_arg a = page(g);

	if (what < 10)
		return (struct fz_arg){ -(1 + (int64_t)below(g, 24)) * (int64_t)U_PAGE, FZ_TOP };
	if (what < 14)
		return (struct fz_arg){ (int64_t)below(g, 12) * (int64_t)U_PAGE, FZ_HEAP };
	if (what < 16)
		return edge(g);
	if (what < 19)
		a.v += 1 + below(g, 4095);
	return a;
}

/* Nothing is ever mapped at 0: the program itself tries accesses there. */
static struct fz_arg not_null(struct fz_arg a)
{
	return a.base == FZ_NUM && (uint64_t)a.v < U_PAGE ? num((int64_t)U_PAGE) : a;
}

static int64_t pages(struct gen *g)
{
	unsigned n = percent(g, 65) ? 1 + below(g, 4) : 1 + below(g, g->span);

	return (int64_t)(n * U_PAGE);
}

static struct fz_arg length(struct gen *g)
{
	static const int64_t odd[] = { 0, 1, 4095, 4097, -1, -2, -(int64_t)U_PAGE, 1ll << 47,
				       (1ll << 47) - (int64_t)U_PAGE, 1ll << 63 };

	return num(percent(g, 94) ? pages(g) : percent(g, 50) ? pages(g) - 1 - below(g, 4095) :
								 PICK(g, odd));
}

static int64_t prot(struct gen *g)
{
	static const uint8_t usual[] = { 0, PROT_R, PROT_R, PROT_R | PROT_W, PROT_R | PROT_W,
					 PROT_R | PROT_W, PROT_R | PROT_W, PROT_R | PROT_W,
					 PROT_R | PROT_X, PROT_R | PROT_W | PROT_X, PROT_W };

	/* What may only be executed can be read on x86-64 all the same. */
	return g->x86 && percent(g, 6) ? PROT_X : PICK(g, usual);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static int64_t mmap_type(struct gen *g)
{
	static const uint8_t odd[] = { 0x20, 0x23, 0x02, 0x01, 0x00 };

	if (percent(g, 4))
		return PICK(g, odd);
	return percent(g, 15) ? 0x21 : 0x22;
}

static int64_t mmap_extra(struct gen *g)
{
	static const struct {
		uint32_t bit, chance;
	} extra[] = { { 0x100, 6 }, { 0x2000, 5 }, { 0x4000, 8 }, { 0x8000, 12 }, { 0x10000, 4 },
		      { 0x20000, 4 }, { 0x800, 2 }, { 0x1000, 2 }, { 0x40000, 1 }, { 0x80000, 1 },
		      { 0x200000, 1 } };
	int64_t flags = 0;

	for (unsigned i = 0; i < sizeof(extra) / sizeof(extra[0]); i++)
		if (percent(g, extra[i].chance))
			flags |= extra[i].bit;
	if (flags & 0x40000) /* huge pages that nobody promised would be there */
		flags &= ~0x4000;
	return g->x86 && percent(g, 3) ? flags | 0x40 : flags;
}

static struct fz_arg mmap_offset(struct gen *g)
{
	static const int64_t odd[] = { 1, 4095, 1ll << 62 };
	static const int64_t negative[] = { -(int64_t)U_PAGE, -2 * (int64_t)U_PAGE };

	if (percent(g, 88))
		return num(0);
	if (percent(g, 70))
		return num((int64_t)below(g, 32) * (int64_t)U_PAGE);
	/* Whether an offset has a sign is the architecture's choice. */
	return num(g->x86 && percent(g, 50) ? PICK(g, negative) : PICK(g, odd));
}

static void gen_mmap(struct gen *g, struct fz_op *op)
{
	unsigned how = below(g, 100);
	int64_t flags = mmap_type(g) | mmap_extra(g);

	op->a[0] = addr(g);
	if (how < 25)
		op->a[0] = num(0);
	else if (how < 35)
		flags |= 0x100000; /* FIXED_NOREPLACE */
	else if (how < 80)
		flags |= 0x10;
	if (flags & 0x100010)
		op->a[0] = not_null(op->a[0]);
	op->a[1] = length(g);
	op->a[2] = num(prot(g) | (percent(g, 1) ? 0x108 : 0));
	op->a[3] = num(flags);
	op->a[4] = num(percent(g, 95) ? -1 : 199);
	op->a[5] = mmap_offset(g);
}

/* A TiB that is mapped and taken away again, or refused: nobody has that much memory. Linux looks
 * at each page of what was locked. */
static void gen_big(struct gen *g, struct fz_op *op)
{
	op->a[0] = num(0);
	op->a[1] = num(ONE_TIB << below(g, 7));
	op->a[2] = num(percent(g, 50) ? 0 : PROT_R | PROT_W);
	op->a[3] = num(0x22);
	op->a[4] = num(-1);
	op->a[5] = num(0);
}

static void gen_mprotect(struct gen *g, struct fz_op *op)
{
	int64_t p = prot(g);

	if (percent(g, 4))
		p |= 0x01000000;
	if (percent(g, 1))
		p |= 0x02000000;
	if (percent(g, 2))
		p |= percent(g, 50) ? 8 : 0x100;
	op->a[0] = addr(g);
	op->a[1] = length(g);
	op->a[2] = num(p);
}

static void gen_mremap(struct gen *g, struct fz_op *op)
{
	static const uint8_t flags[] = { 0, 0, 1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 7, 7, 2, 4, 8 };
	unsigned how = below(g, 100);

	op->a[0] = addr(g);
	op->a[1] = percent(g, 4) ? num(0) : length(g);
	op->a[2] = how < 40 ? op->a[1] : length(g);
	op->a[3] = num(PICK(g, flags));
	op->a[4] = not_null(addr(g));
}

static void gen_brk(struct gen *g, struct fz_op *op)
{
	static const int64_t odd[] = { 0, 1, -1, 1ll << 46, 1ll << 62 };

	op->a[0] = (struct fz_arg){ ((int64_t)below(g, 24) - 1) * (int64_t)U_PAGE, FZ_HEAP };
	if (percent(g, 25))
		op->a[0].v += below(g, 4096);
	if (percent(g, 8))
		op->a[0] = num(PICK(g, odd));
}

static void gen_madvise(struct gen *g, struct fz_op *op)
{
	static const int8_t advice[] = { 0, 1, 2, 3, 4, 4, 4, 4, 8, 8, 9, 10, 10, 11, 12, 13, 14, 15,
					 16, 17, 18, 18, 19, 20, 21, 5, 22, 24, -1 };

	op->a[0] = addr(g);
	/* From below the program's own memory advice must not reach it. */
	op->a[1] = op->a[0].base == FZ_PAGE || op->a[0].base == FZ_TOP ? length(g) : num(pages(g));
	op->a[2] = num(PICK(g, advice));
}

static void gen_range(struct gen *g, struct fz_op *op)
{
	op->a[0] = addr(g);
	op->a[1] = length(g);
}

static void gen_flags(struct gen *g, struct fz_op *op)
{
	static const uint8_t mlock2[] = { 0, 1, 1, 1, 2 };
	static const uint8_t msync[] = { 0, 1, 2, 3, 4, 5, 6, 8 };

	gen_range(g, op);
	op->a[2] = num(op->kind == FZ_MLOCK2 ? PICK(g, mlock2) : PICK(g, msync));
}

static void gen_mincore(struct gen *g, struct fz_op *op)
{
	op->a[0] = addr(g);
	op->a[1] = percent(g, 5) ? num(1ll << 63) : num(pages(g) - (percent(g, 20) ? 17 : 0));
}

static void gen_remap(struct gen *g, struct fz_op *op)
{
	op->a[0] = addr(g);
	op->a[1] = length(g);
	op->a[2] = num(percent(g, 90) ? 0 : PROT_R);
	op->a[3] = num(below(g, 24));
	op->a[4] = num(percent(g, 80) ? 0 : 0x10000);
}

/* ---- accesses, copies ----------------------------------------------------------------------- */

static struct fz_arg word_addr(struct gen *g, unsigned width)
{
	static const uint16_t at[] = { 0, 0, 0, 8, 2048, 4088 };
	struct fz_arg a = addr(g);

	/* Wide accesses over a page border differ between the architectures. */
	if (a.base != FZ_NUM && a.base != FZ_END)
		a.v = (a.v & -(int64_t)U_PAGE) + PICK(g, at) + (width < 8 ? width : 0);
	else if (a.base == FZ_END || a.v < 0 || a.v > 65536)
		a = num((int64_t)(below(g, 32) * U_PAGE)); /* other machines' tables differ there */
	else
		a.v &= -8;
	return a;
}

static int64_t width(struct gen *g)
{
	return percent(g, 80) ? 8 : 1 << below(g, 3);
}

static void gen_access(struct gen *g, struct fz_op *op)
{
	int64_t w = width(g);
	bool store = op->kind == FZ_STORE;

	op->a[0] = word_addr(g, (unsigned)w);
	op->a[1] = store ? num((int64_t)(rnd(g) >> 40)) : num(w);
	op->a[2] = num(store ? w : 0);
	if (store && percent(g, 12)) {
		op->a[0] = page(g);
		op->a[0].v += FZ_CODE;
		op->a[1] = (struct fz_arg){ 0, FZ_RET };
		op->a[2] = num(8);
	}
}

static void gen_touch(struct gen *g, struct fz_op *op)
{
	op->a[0] = word_addr(g, 8);
	op->a[1] = num(2 + below(g, 14));
	op->a[2] = percent(g, 60) ? num((int64_t)(rnd(g) >> 40)) : num(-1);
}

static void gen_exec(struct gen *g, struct fz_op *op)
{
	op->a[0] = page(g);
	op->a[0].v += FZ_CODE;
}

static void gen_copy(struct gen *g, struct fz_op *op)
{
	static const uint16_t len[] = { 1, 8, 100, 3000, 4096, 4096 }; /* a pipe's page at most */

	op->a[0] = page(g);
	if (percent(g, 30))
		op->a[0].v += below(g, 4096);
	op->a[1] = num(PICK(g, len));
	op->a[2] = num((int64_t)(rnd(g) >> 40));
}

/* ---- processes, limits ---------------------------------------------------------------------- */

static void gen_fork(struct gen *g, struct fz_op *op)
{
	unsigned slot = 1 + below(g, FZ_TASKS - 1);

	op->a[0] = num(slot);
	g->alive[slot] = true;
}

static void gen_exit(struct gen *g, struct fz_op *op)
{
	op->a[0] = num(below(g, 8));
	if (op->task) {
		g->alive[op->task] = false;
		g->task = 0;
	}
}

static void gen_setrlimit(struct gen *g, struct fz_op *op)
{
	static const struct {
		uint8_t resource, base;
	} limit[] = { { 9, FZ_VMSIZE }, { 2, FZ_VMDATA }, { 8, FZ_VMLCK }, { 8, FZ_VMLCK },
		      { 3, FZ_NUM } };
	unsigned i = below(g, 5);

	op->a[0] = num(limit[i].resource);
	op->a[1] = (struct fz_arg){ (int64_t)(below(g, 25) * U_PAGE), limit[i].base };
	if (percent(g, 15))
		op->a[1] = num(-1);
	else if (percent(g, 5))
		op->a[1] = num(0);
}

static void gen_small(struct gen *g, struct fz_op *op)
{
	static const uint8_t mcl[] = { 1, 1, 2, 2, 3, 5, 6, 7, 4, 0, 8 };

	if (op->kind == FZ_MLOCKALL) {
		op->a[0] = num(PICK(g, mcl));
		g->locks |= op->a[0].v & 2;
	}
	else if (op->kind == FZ_CLEARREFS)
		op->a[0] = num(percent(g, 75) ? 4 : 1);
}

/* ---- the list ------------------------------------------------------------------------------- */

static const struct {
	void (*fill)(struct gen *g, struct fz_op *op);
	uint16_t weight;
	uint8_t nargs;
} kinds[FZ_KINDS] = {
	[FZ_MMAP] = { gen_mmap, 170, 6 },	[FZ_BIG] = { gen_big, 4, 6 },
	[FZ_MUNMAP] = { gen_range, 70, 2 },	[FZ_MPROTECT] = { gen_mprotect, 110, 3 },
	[FZ_MREMAP] = { gen_mremap, 110, 5 },	[FZ_BRK] = { gen_brk, 30, 1 },
	[FZ_MADVISE] = { gen_madvise, 110, 3 }, [FZ_MLOCK] = { gen_range, 22, 2 },
	[FZ_MLOCK2] = { gen_flags, 16, 3 },	[FZ_MUNLOCK] = { gen_range, 22, 2 },
	[FZ_MLOCKALL] = { gen_small, 7, 1 },	[FZ_MUNLOCKALL] = { gen_small, 5, 0 },
	[FZ_MSYNC] = { gen_flags, 12, 3 },	[FZ_MINCORE] = { gen_mincore, 16, 2 },
	[FZ_REMAP] = { gen_remap, 10, 5 },	[FZ_LOAD] = { gen_access, 70, 2 },
	[FZ_STORE] = { gen_access, 110, 3 },	[FZ_TOUCH] = { gen_touch, 60, 3 },
	[FZ_EXEC] = { gen_exec, 10, 1 },	[FZ_COPYIN] = { gen_copy, 16, 2 },
	[FZ_COPYOUT] = { gen_copy, 16, 3 },	[FZ_FORK] = { gen_fork, 34, 1 },
	[FZ_EXIT] = { gen_exit, 12, 1 },	[FZ_CLEARREFS] = { gen_small, 16, 1 },
	[FZ_SETRLIMIT] = { gen_setrlimit, 8, 2 }, [FZ_DROPCAPS] = { gen_small, 4, 0 },
	[FZ_LOOK] = { gen_small, 0, 0 },
};

static enum fz_kind pick_kind(struct gen *g)
{
	unsigned total = 0, at, i = 0;

	for (i = 0; i < FZ_KINDS; i++)
		total += kinds[i].weight;
	at = below(g, total);
	for (i = 0; at >= kinds[i].weight; i++)
		at -= kinds[i].weight;
	return i == FZ_BIG && g->locks ? FZ_LOOK : i;
}

static void pick_task(struct gen *g)
{
	unsigned t = below(g, FZ_TASKS);

	if (percent(g, 25) && g->alive[t])
		g->task = t;
}

static void fill(struct gen *g, struct fz_op *op, enum fz_kind kind)
{
	op->kind = (uint8_t)kind;
	op->task = (uint8_t)g->task;
	op->nargs = kinds[kind].nargs;
	kinds[kind].fill(g, op);
}

/* Looks by whoever lives, then the ends, children first whoever is whose child. */
static void put_tail(struct fz *f)
{
	static const uint8_t tail[FZ_TAIL][2] = { { FZ_LOOK, 2 }, { FZ_LOOK, 1 }, { FZ_LOOK, 0 },
						  { FZ_EXIT, 2 }, { FZ_EXIT, 1 }, { FZ_EXIT, 2 } };

	for (unsigned i = 0; i < FZ_TAIL; i++) {
		struct fz_op *op = &f->op[f->nops++];

		*op = (struct fz_op){ .kind = tail[i][0], .task = tail[i][1] };
		op->nargs = op->kind == FZ_EXIT;
	}
}

/* The scenario's ground: most of what follows shall meet something. */
static void first_map(struct gen *g, struct fz_op *op)
{
	op->a[0] = (struct fz_arg){ (FZ_LOW + g->first) * (int64_t)U_PAGE, FZ_PAGE };
	op->a[1] = num((int64_t)((percent(g, 50) ? g->span : 1 + below(g, g->span)) * U_PAGE));
	op->a[2] = num(percent(g, 75) ? PROT_R | PROT_W : prot(g));
	op->a[3] = num(percent(g, 80) ? 0x32 : 0x31);
	op->a[4] = num(-1);
	op->a[5] = num(0);
}

bool fz_of_x86(uint64_t seed)
{
	return seed % 4 == 3;
}

void fz_generate(struct fz *f, uint64_t seed, unsigned nops, uint64_t keep)
{
	struct gen g = { .s = seed * 0xd1342543de82ef95ull + 1, .f = f, .x86 = fz_of_x86(seed) };
	struct fz_op op;

	g.span = 4u << below(&g, 5);
	g.first = g.span < FZ_PAGES ? below(&g, FZ_PAGES - g.span) : 0;
	g.alive[0] = true;
	f->nops = 0;
	f->seed = seed;
	for (unsigned i = 0; i < nops; i++) {
		op = (struct fz_op){ 0 };
		if (i)
			pick_task(&g);
		fill(&g, &op, i && (i > 3 || percent(&g, 50)) ? pick_kind(&g) : FZ_MMAP);
		if (i == 0)
			first_map(&g, &op);
		if (keep >> i & 1)
			f->op[f->nops++] = op;
	}
	put_tail(f);
}
