/* SPDX-License-Identifier: MIT */
/*
 * H1 to H6: pages, beside the libraries that --peer-lib names. Every loop exists once, as a macro,
 * and is made for our functions (alloc_pages and __free_pages, called in another object file) and
 * for the peer's (called through a pointer). A page is a word here: ours its struct page, theirs a
 * frame number.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/host/host.h"
#include "bench/bench.h"
#include "mm/phys/page_alloc.h"

#define FRAMES (1u << 18) /* 1 GiB */
#define RAM    ((uint64_t)FRAMES * 4096 * 5 / 4)
#define CPUS   2
#define NONE   0

static const struct page_peer *peer; /* whose round it is */

struct job {
	unsigned n;	   /* pages */
	uintptr_t *page;   /* room for n */
	uint32_t *order;   /* a permutation of them */
	unsigned cpu;
};

static inline uintptr_t our_get(unsigned cpu, unsigned order)
{
	return (uintptr_t)alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_NOWARN | __GFP_NORETRY, order);
}

static inline void our_put(unsigned cpu, uintptr_t p, unsigned order)
{
	__free_pages((struct page *)p, order);
}

/* Frame 0 must not look like none. */
static inline uintptr_t peer_get(unsigned cpu, unsigned order)
{
	return (uintptr_t)(peer->get(cpu, order) + 1);
}

static inline void peer_put(unsigned cpu, uintptr_t p, unsigned order)
{
	peer->put(cpu, p - 1, order);
}

/* Defines our_NAME and peer_NAME out of one body, which calls GET and PUT. */
#define MAKE_BOTH(LOOP)      \
	LOOP(our_get, our_put, our_)   \
	LOOP(peer_get, peer_put, peer_)

/* A peer's part in a row: its functions, and the loop over them. */
struct turn {
	const struct page_peer *peer;
	void (*round)(void *job, double *figures);
	struct job *job;
};

static void take_turn(void *ctx, double *figures)
{
	const struct turn *t = ctx;

	peer = t->peer;
	t->round(t->job, figures);
}

static void compare(const char *row, const char *unit, const char *const *workloads, unsigned n,
		    void (*ours)(void *, double *), void (*theirs)(void *, double *), struct job *job)
{
	struct contestant c[1 + BENCH_PEER_LIBS] = {{"quire", ours, job}};
	struct turn t[BENCH_PEER_LIBS];

	for (unsigned i = 0; i < bench_nr_page_peers; i++) {
		t[i] = (struct turn){&bench_page_peers[i], theirs, job};
		c[1 + i] = (struct contestant){bench_page_peers[i].name, take_turn, &t[i]};
	}
	bench_compare(row, unit, workloads, n, c, 1 + bench_nr_page_peers);
}

static void *room(size_t n)
{
	void *p = malloc(n);

	if (!p)
		bench_die("no memory");
	memset(p, 0, n); /* its own faults are nobody's business */
	return p;
}

static void up(struct job *j)
{
	bench_up(RAM, CPUS);
	for (unsigned i = 0; i < bench_nr_page_peers; i++)
		if (!bench_page_peers[i].init(FRAMES + FRAMES / 4, CPUS))
			bench_die("%s: peer_init() failed", bench_page_peers[i].name);
	*j = (struct job){.n = bench_ops(FRAMES)};
	j->page = room(j->n * sizeof(*j->page));
	j->order = bench_permutation(j->n);
}

static void down(struct job *j)
{
	free(j->page);
	free(j->order);
	for (unsigned i = 0; i < bench_nr_page_peers; i++)
		bench_page_peers[i].exit();
	bench_down();
}

/* ---- H1, H5: pairs ---------------------------------------------------------------------------- */

#define PAIRS(GET, PUT, who)                                                     \
	static double who##pairs(unsigned cpu, unsigned n, unsigned order)       \
	{                                                                        \
		double start = bench_now();                                      \
                                                                                 \
		for (unsigned i = 0; i < n; i++) {                               \
			uintptr_t p = GET(cpu, order);                           \
                                                                                 \
			PUT(cpu, p, order);                                      \
		}                                                                \
		return (bench_now() - start) / n;                                \
	}                                                                        \
	static void who##h1(void *ctx, double *f)                                \
	{                                                                        \
		f[0] = who##pairs(0, bench_ops(200000), 0);                      \
	}                                                                        \
	static void who##h5(void *ctx, double *f)                                \
	{                                                                        \
		f[0] = who##pairs(0, bench_ops(50000), 9);                       \
	}
MAKE_BOTH(PAIRS)

static void h1(void)
{
	static const char *const names[] = {"order-0 get + put"};
	struct job j;

	up(&j);
	compare("H1", "ns", names, 1, our_h1, peer_h1, &j);
	down(&j);
}

/* ---- H2, H3: 1 GiB of single pages ------------------------------------------------------------ */

#define FILL(GET, PUT, who)                                                      \
	static double who##fill(unsigned cpu, uintptr_t *page, unsigned n)       \
	{                                                                        \
		double start = bench_now();                                      \
                                                                                 \
		for (unsigned i = 0; i < n; i++)                                 \
			page[i] = GET(cpu, 0);                                   \
		return (bench_now() - start) / n;                                \
	}                                                                        \
	static double who##drop(unsigned cpu, uintptr_t *page, unsigned n)       \
	{                                                                        \
		double start = bench_now();                                      \
                                                                                 \
		for (unsigned i = 0; i < n; i++)                                 \
			PUT(cpu, page[i], 0);                                    \
		return (bench_now() - start) / n;                                \
	}                                                                        \
	static void who##h2(void *ctx, double *f)                                \
	{                                                                        \
		struct job *j = ctx;                                             \
                                                                                 \
		f[0] = who##fill(0, j->page, j->n);                              \
		f[1] = who##drop(0, j->page, j->n);                              \
	}                                                                        \
	static void who##h3(void *ctx, double *f)                                \
	{                                                                        \
		struct job *j = ctx;                                             \
		double start;                                                    \
                                                                                 \
		who##fill(0, j->page, j->n);                                     \
		start = bench_now();                                             \
		for (unsigned i = 0; i < j->n; i++)                              \
			PUT(0, j->page[j->order[i]], 0);                         \
		f[0] = (bench_now() - start) / j->n;                             \
	}
MAKE_BOTH(FILL)

static void h2(void)
{
	static const char *const names[] = {"1 GiB of order 0: get", "1 GiB of order 0: put"};
	struct job j;

	up(&j);
	compare("H2", "ns", names, 2, our_h2, peer_h2, &j);
	down(&j);
}

static void h3(void)
{
	static const char *const names[] = {"1 GiB of order 0: put in random order"};
	struct job j;

	up(&j);
	compare("H3", "ns", names, 1, our_h3, peer_h3, &j);
	down(&j);
}

/* ---- H4: churn at 90 % full -------------------------------------------------------------------- */

#define CHURN(GET, PUT, who)                                                     \
	static double who##churn(unsigned cpu, uintptr_t *page, unsigned n, unsigned ops) \
	{                                                                        \
		double start;                                                    \
                                                                                 \
		for (unsigned i = 0; i < n; i++)                                 \
			page[i] = GET(cpu, 0);                                   \
		start = bench_now();                                             \
		for (unsigned i = 0; i < ops; i++) {                             \
			unsigned k = bench_rnd() % n;                            \
                                                                                 \
			PUT(cpu, page[k], 0);                                    \
			page[k] = GET(cpu, 0);                                   \
		}                                                                \
		start = (bench_now() - start) / ops;                             \
		for (unsigned i = 0; i < n; i++)                                 \
			PUT(cpu, page[i], 0);                                    \
		return start;                                                    \
	}                                                                        \
	static void who##h4(void *ctx, double *f)                                \
	{                                                                        \
		struct job *j = ctx;                                             \
                                                                                 \
		f[0] = who##churn(0, j->page, j->n, j->n);                       \
	}
MAKE_BOTH(CHURN)

/* FRAMES is 80 % of the machine's RAM; less its own data, about 90 % of what there is to have. */
static void h4(void)
{
	static const char *const names[] = {"churn, 90 % full: put + get of a random page"};
	struct job j;

	up(&j);
	compare("H4", "ns", names, 1, our_h4, peer_h4, &j);
	down(&j);
}

/* ---- H5: large blocks after churn --------------------------------------------------------------- */

/* A quarter live on average, each page come and gone many times; then: how many of the 2 MiB blocks
 * that the free pages could make cannot be had? */
#define LOST(GET, PUT, who)                                                      \
	static void who##lost(void *ctx, double *f)                              \
	{                                                                        \
		struct job *j = ctx;                                             \
		uintptr_t *large = room(j->n / 512 * 2 * sizeof(*large));        \
		unsigned slots = j->n / 2, live = 0, got = 0;                    \
                                                                                 \
		memset(j->page, 0, slots * sizeof(*j->page));                    \
		bench_seed(7);                                                   \
		for (unsigned i = 0; i < 4 * j->n; i++) {                        \
			uintptr_t *p = &j->page[bench_rnd() % slots];            \
                                                                                 \
			if (*p != NONE) {                                        \
				PUT(0, *p, 0);                                   \
				*p = NONE;                                       \
				live--;                                          \
			} else if ((*p = GET(0, 0)) != NONE) {                   \
				live++;                                          \
			}                                                        \
		}                                                                \
		while (got < (j->n - live) / 512 && (large[got] = GET(0, 9)) != NONE) \
			got++;                                                   \
		f[0] = 1 + (j->n - live) / 512 - got;                            \
		while (got)                                                      \
			PUT(0, large[--got], 9);                                 \
		for (unsigned i = 0; i < slots; i++)                             \
			if (j->page[i] != NONE)                                  \
				PUT(0, j->page[i], 0);                           \
		free(large);                                                     \
	}
MAKE_BOTH(LOST)

static void h5(void)
{
	static const char *const pair[] = {"order-9 get + put"};
	static const char *const lost[] = {"2 MiB blocks missing after churn, plus 1"};
	struct job j;

	up(&j);
	compare("H5", "ns", pair, 1, our_h5, peer_h5, &j);
	compare("H5", "blocks", lost, 1, our_lost, peer_lost, &j);
	down(&j);
}

/* ---- H6: two threads --------------------------------------------------------------------------- */

struct half {
	struct job *j;
	double (*work)(struct job *j, unsigned cpu);
	double ns[CPUS];
};

static void on_half(void *ctx, unsigned i)
{
	struct half *h = ctx;

	h->ns[i] = h->work(h->j, i);
}

static double both(struct job *j, double (*work)(struct job *j, unsigned cpu))
{
	struct half h = {.j = j, .work = work};

	bench_threads(CPUS, on_half, &h);
	return h.ns[0] > h.ns[1] ? h.ns[0] : h.ns[1];
}

#define TWO(GET, PUT, who)                                                       \
	static double who##two_pairs(struct job *j, unsigned cpu)                \
	{                                                                        \
		return who##pairs(cpu, bench_ops(200000), 0);                    \
	}                                                                        \
	static double who##two_get(struct job *j, unsigned cpu)                  \
	{                                                                        \
		return who##fill(cpu, j->page + cpu * (j->n / 2), j->n / 2);     \
	}                                                                        \
	static double who##two_put(struct job *j, unsigned cpu)                  \
	{                                                                        \
		return who##drop(cpu, j->page + cpu * (j->n / 2), j->n / 2);     \
	}                                                                        \
	static double who##two_swap(struct job *j, unsigned cpu)                 \
	{                                                                        \
		return who##drop(cpu, j->page + (1 - cpu) * (j->n / 2), j->n / 2); \
	}                                                                        \
	static void who##h6(void *ctx, double *f)                                \
	{                                                                        \
		f[0] = both(ctx, who##two_pairs);                                \
		f[1] = both(ctx, who##two_get);                                  \
		f[2] = both(ctx, who##two_put);                                  \
		both(ctx, who##two_get);                                         \
		f[3] = both(ctx, who##two_swap);                                 \
	}
MAKE_BOTH(TWO)

static void h6(void)
{
	static const char *const names[] = {"two threads: order-0 get + put", "two threads: get",
					    "two threads: put", "two threads: put on the other CPU"};
	struct job j;

	up(&j);
	compare("H6", "ns", names, 4, our_h6, peer_h6, &j);
	down(&j);
}

extern const struct bench_row h_pages_rows[];
const struct bench_row h_pages_rows[] = {
	{"H1", "a page, got and put", h1},
	{"H2", "1 GiB of pages", h2},
	{"H3", "the same, put in random order", h3},
	{"H4", "random churn, 90 % full", h4},
	{"H5", "2 MiB blocks: a pair; how many are left after churn", h5},
	{"H6", "two threads", h6},
	{NULL, NULL, NULL},
};
