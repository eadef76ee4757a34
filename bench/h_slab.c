/* SPDX-License-Identifier: MIT */
/*
 * H7, H8, H9: small objects, beside the host's allocators. Every loop exists once, as a macro, and
 * is made for our functions (kmem_cache and kmalloc, called in another object file) and for the
 * peers' (called through a pointer).
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host/host.h"
#include "bench/bench.h"
#include "mm/slab/slab.h"

#define RAM	     (1ull << 30)
#define CONTESTANTS (1 + BENCH_MALLOCS)

struct job {
	struct kmem_cache *cache;
	struct malloc_peer *peer;
	size_t size;
	unsigned n;	   /* objects */
	void **obj;	   /* room for n */
	uint32_t *order;   /* a permutation of them */
	uint32_t *sizes;   /* one a step, where they differ */
};

/* Makes name_kmalloc, name_cache, name_peer out of a loop over ALLOC(j, n) and FREE(j, p). */
#define KM_ALLOC(j, n)	 kmalloc(n, GFP_KERNEL)
#define KM_FREE(j, p)	 kfree(p)
#define CA_ALLOC(j, n)	 kmem_cache_alloc((j)->cache, GFP_KERNEL)
#define CA_FREE(j, p)	 kmem_cache_free((j)->cache, p)
#define PEER_ALLOC(j, n) (j)->peer->alloc(n)
#define PEER_FREE(j, p)	 (j)->peer->free(p)
#define MAKE_ALL(LOOP, name)                        \
	LOOP(name##_kmalloc, KM_ALLOC, KM_FREE)     \
	LOOP(name##_cache, CA_ALLOC, CA_FREE)       \
	LOOP(name##_peer, PEER_ALLOC, PEER_FREE)

/* Ours by fn, then each peer that is there; all share the job's sizes. */
static void compare(const char *row, const char *const *workloads, unsigned nfigures,
		    void (*ours)(void *, double *), void (*peer)(void *, double *), struct job *job)
{
	struct contestant c[CONTESTANTS] = {{"quire", ours, job}};
	struct job jobs[BENCH_MALLOCS];

	for (unsigned i = 0; i < BENCH_MALLOCS; i++) {
		jobs[i] = *job;
		jobs[i].peer = &bench_mallocs[i];
		c[1 + i] = (struct contestant){bench_mallocs[i].name,
					       bench_mallocs[i].alloc ? peer : NULL, &jobs[i]};
	}
	bench_compare(row, "ns", workloads, nfigures, c, CONTESTANTS);
}

/* ---- H7: a pair -------------------------------------------------------------------------------- */

#define PAIR(fn, ALLOC, FREE)                                              \
	static void fn(void *ctx, double *f)                               \
	{                                                                  \
		struct job *j = ctx;                                       \
		double start = bench_now();                                \
                                                                           \
		for (unsigned i = 0; i < j->n; i++) {                      \
			void *p = ALLOC(j, j->size);                       \
                                                                           \
			*(volatile char *)p = 1;                           \
			FREE(j, p);                                        \
		}                                                          \
		f[0] = (bench_now() - start) / j->n;                       \
	}
MAKE_ALL(PAIR, pair)

static void h7(void)
{
	static const struct {
		size_t size;
		const char *cache, *kmalloc;
	} sizes[] = {{64, "cache pair 64 B", "kmalloc pair 64 B"},
		     {256, "cache pair 256 B", "kmalloc pair 256 B"}};

	bench_up(RAM / 16, 1);
	for (unsigned i = 0; i < 2; i++) {
		struct job j = {.size = sizes[i].size, .n = bench_ops(200000)};

		j.cache = kmem_cache_create("bench", j.size, 0, 0, NULL);
		compare("H7", &sizes[i].cache, 1, pair_cache, pair_peer, &j);
		compare("H7", &sizes[i].kmalloc, 1, pair_kmalloc, pair_peer, &j);
		kmem_cache_destroy(j.cache);
	}
	bench_down();
}

/* ---- H8: a million objects --------------------------------------------------------------------- */

#define MASS(fn, ALLOC, FREE)                                              \
	static void fn(void *ctx, double *f)                               \
	{                                                                  \
		struct job *j = ctx;                                       \
		double t[5];                                               \
                                                                           \
		t[0] = bench_now();                                        \
		for (unsigned i = 0; i < j->n; i++) {                      \
			j->obj[i] = ALLOC(j, j->size);                     \
			*(volatile char *)j->obj[i] = 1;                   \
		}                                                          \
		t[1] = bench_now();                                        \
		for (unsigned i = 0; i < j->n; i++)                        \
			FREE(j, j->obj[i]);                                \
		t[2] = bench_now();                                        \
		for (unsigned i = 0; i < j->n; i++) {                      \
			j->obj[i] = ALLOC(j, j->size);                     \
			*(volatile char *)j->obj[i] = 1;                   \
		}                                                          \
		t[3] = bench_now();                                        \
		for (unsigned i = 0; i < j->n; i++)                        \
			FREE(j, j->obj[j->order[i]]);                      \
		t[4] = bench_now();                                        \
		f[0] = (t[1] - t[0]) / j->n;                               \
		f[1] = (t[2] - t[1]) / j->n;                               \
		f[2] = (t[4] - t[3]) / j->n;                               \
	}
MAKE_ALL(MASS, mass)

static void h8(void)
{
	static const char *const cache[] = {"1 M x 64 B: allocate (cache)", "free FIFO (cache)",
					    "free random (cache)"};
	static const char *const km[] = {"1 M x 64 B: allocate (kmalloc)", "free FIFO (kmalloc)",
					 "free random (kmalloc)"};
	struct job j = {.size = 64, .n = bench_ops(1000000)};

	bench_up(RAM, 1);
	bench_seed(8);
	j.obj = calloc(j.n, sizeof(void *));
	j.order = bench_permutation(j.n);
	j.cache = kmem_cache_create("bench", j.size, 0, 0, NULL);
	compare("H8", cache, 3, mass_cache, mass_peer, &j);
	compare("H8", km, 3, mass_kmalloc, mass_peer, &j);
	kmem_cache_destroy(j.cache);
	free(j.order);
	free(j.obj);
	bench_down();
}

/* ---- H9: churn, producer and consumer, bulk ---------------------------------------------------- */

#define CHURN_LIVE 100000

/* Each step frees one of the live objects and takes another of the step's size. */
#define CHURN(fn, ALLOC, FREE)                                             \
	static void fn(void *ctx, double *f)                               \
	{                                                                  \
		struct job *j = ctx;                                       \
		double start;                                              \
                                                                           \
		for (unsigned i = 0; i < CHURN_LIVE; i++)                  \
			j->obj[i] = ALLOC(j, j->sizes[i % j->n]);          \
		start = bench_now();                                       \
		for (unsigned i = 0; i < j->n; i++) {                      \
			void **slot = &j->obj[j->order[i]];                \
                                                                           \
			FREE(j, *slot);                                    \
			*slot = ALLOC(j, j->sizes[i]);                     \
			*(volatile char *)*slot = 1;                       \
		}                                                          \
		f[0] = (bench_now() - start) / j->n;                       \
		for (unsigned i = 0; i < CHURN_LIVE; i++)                  \
			FREE(j, j->obj[i]);                                \
	}
MAKE_ALL(CHURN, churn)

static void churn_rows(void)
{
	static const char *const same[] = {"churn of 100 k live, 64 B (cache)"};
	static const char *const km[] = {"churn of 100 k live, 64 B (kmalloc)"};
	static const char *const mixed[] = {"churn of 100 k live, 8-1024 B (kmalloc)"};
	struct job j = {.size = 64, .n = bench_ops(1000000)};

	bench_seed(9);
	j.obj = calloc(CHURN_LIVE, sizeof(void *));
	j.order = malloc(j.n * sizeof(*j.order));
	j.sizes = malloc(j.n * sizeof(*j.sizes));
	for (unsigned i = 0; i < j.n; i++) {
		j.order[i] = bench_rnd() % CHURN_LIVE;
		j.sizes[i] = 64;
	}
	j.cache = kmem_cache_create("bench", j.size, 0, 0, NULL);
	compare("H9", same, 1, churn_cache, churn_peer, &j);
	compare("H9", km, 1, churn_kmalloc, churn_peer, &j);
	kmem_cache_destroy(j.cache);
	for (unsigned i = 0; i < j.n; i++)
		j.sizes[i] = (8u << bench_rnd() % 7) + bench_rnd() % 8;
	compare("H9", mixed, 1, churn_kmalloc, churn_peer, &j);
	free(j.sizes);
	free(j.order);
	free(j.obj);
}

/* A ring of one producer and one consumer; each keeps its own index on its own line. */
#define RING 1024
struct ring {
	struct job *job;
	void *slot[RING];
	unsigned head __attribute__((aligned(64)));
	unsigned tail __attribute__((aligned(64)));
};

/* Lets another thread run when the other end is late: this machine may have one core to give. */
static void wait_turn(unsigned *spins)
{
	if (++*spins % 1000 == 0)
		sched_yield();
	else
		hal_cpu_relax();
}

#define PASS(fn, ALLOC, FREE)                                                          \
	static void fn##_member(void *ctx, unsigned i)                                 \
	{                                                                              \
		struct ring *r = ctx;                                                  \
		struct job *j = r->job;                                                \
		unsigned spins = 0;                                                    \
                                                                                       \
		for (unsigned k = 0; k < j->n; k++) {                                  \
			if (i == 0) {                                                  \
				void *p = ALLOC(j, j->size);                           \
                                                                                       \
				*(volatile char *)p = 1;                               \
				while (k - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) == RING) \
					wait_turn(&spins);                               \
				r->slot[k % RING] = p;                                 \
				__atomic_store_n(&r->head, k + 1, __ATOMIC_RELEASE);   \
			} else {                                                       \
				while (__atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == k) \
					wait_turn(&spins);                               \
				FREE(j, r->slot[k % RING]);                            \
				__atomic_store_n(&r->tail, k + 1, __ATOMIC_RELEASE);   \
			}                                                              \
		}                                                                      \
	}                                                                              \
	static void fn(void *ctx, double *f)                                           \
	{                                                                              \
		struct ring r = {.job = ctx};                                          \
                                                                                       \
		f[0] = bench_threads(2, fn##_member, &r) / r.job->n;                   \
	}
MAKE_ALL(PASS, pass)

static void pass_rows(void)
{
	static const char *const cache[] = {"producer -> consumer, 64 B (cache)"};
	static const char *const km[] = {"producer -> consumer, 64 B (kmalloc)"};
	struct job j = {.size = 64, .n = bench_ops(200000)};

	j.cache = kmem_cache_create("bench", j.size, 0, 0, NULL);
	compare("H9", cache, 1, pass_cache, pass_peer, &j);
	compare("H9", km, 1, pass_kmalloc, pass_peer, &j);
	kmem_cache_destroy(j.cache);
}

#define BULK 32

static void take_bulk(struct job *j)
{
	if (kmem_cache_alloc_bulk(j->cache, GFP_KERNEL, BULK, j->obj) != BULK)
		bench_die("no memory for a bulk");
}

static void give_bulk(struct job *j)
{
	kmem_cache_free_bulk(j->cache, BULK, j->obj);
}

/* The peers have no call for many at once: theirs is a loop over the same objects. */
static void take_each(struct job *j)
{
	for (unsigned i = 0; i < BULK; i++)
		j->obj[i] = PEER_ALLOC(j, j->size);
}

static void give_each(struct job *j)
{
	for (unsigned i = 0; i < BULK; i++)
		PEER_FREE(j, j->obj[i]);
}

#define BULK_PAIR(fn, TAKE, GIVE)                                          \
	static void fn(void *ctx, double *f)                               \
	{                                                                  \
		struct job *j = ctx;                                       \
		double start = bench_now();                                \
                                                                           \
		for (unsigned i = 0; i < j->n; i++) {                      \
			TAKE(j);                                           \
			*(volatile char *)j->obj[i % BULK] = 1;            \
			GIVE(j);                                           \
		}                                                          \
		f[0] = (bench_now() - start) / j->n / BULK;                \
	}
BULK_PAIR(bulk_cache, take_bulk, give_bulk)
BULK_PAIR(bulk_peer, take_each, give_each)

static void bulk_rows(void)
{
	static const char *const name[] = {"bulk of 32, 64 B: an object's pair (cache)"};
	void *obj[BULK];
	struct job j = {.size = 64, .n = bench_ops(100000), .obj = obj};

	j.cache = kmem_cache_create("bench", j.size, 0, 0, NULL);
	compare("H9", name, 1, bulk_cache, bulk_peer, &j);
	kmem_cache_destroy(j.cache);
}

static void h9(void)
{
	bench_up(RAM / 2, 2);
	churn_rows();
	pass_rows();
	bulk_rows();
	bench_down();
}

const struct bench_row h_slab_rows[] = {
	{"H7", "slab pair, 64 and 256 B", h7},
	{"H8", "a million objects of 64 B: allocate, free in order, free at random", h8},
	{"H9", "churn of 100,000 live objects; producer to consumer; bulk of 32", h9},
	{0},
};
