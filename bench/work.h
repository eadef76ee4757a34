/* SPDX-License-Identifier: MIT */
/*
 * What a process of a pattern does (docs/policy.md, "The simulator"): which of its pages it touches
 * next. The simulator (tools/simulate/) and the program that is measured on kernels (bench/reclaim.c)
 * have it from here, so that the same seed gives both the same touches. Integers only: a machine
 * without a floating-point unit does the same.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdint.h>

/*
 *   order     its pages in order, PASSES times
 *   random    PASSES × PAGES times any of them
 *   zipf      the same, the page is PAGES × the product of three uniform numbers
 *   window    PASSES passes over a quarter of the pages, which moves by an eighth of all after
 *             every 8 of them
 *   hotscan   PASSES × PAGES accesses, by turns any page of the first twelfth and the next one of a
 *             scan
 *   idle      none: it sleeps
 */
enum work_kind { WORK_ORDER, WORK_RANDOM, WORK_ZIPF, WORK_WINDOW, WORK_HOTSCAN, WORK_IDLE, WORK_KINDS };

#define WORK_NAMES {"order", "random", "zipf", "window", "hotscan", "idle"}

struct work {
	enum work_kind kind;
	uint32_t passes;
};

/* The generator of patterns (splitmix64). */
static inline uint64_t work_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* The generator's start for process n of a pattern. */
static inline uint64_t work_seed(uint64_t seed, uint32_t n)
{
	uint64_t state = seed * 1000003 + n + 1;

	work_random(&state);
	return state;
}

/* A uniform number below `below`, which is at most 2^53. */
static inline uint64_t work_uniform(uint64_t *random, uint64_t below)
{
	return (uint64_t)((unsigned __int128)(work_random(random) >> 11) * below >> 53);
}

/* How often a process of so many pages touches one of them; at least 48 pages. */
static inline uint64_t work_touches(const struct work *w, uint32_t pages)
{
	switch (w->kind) {
	case WORK_IDLE:
		return 0;
	case WORK_WINDOW:
		return (uint64_t)w->passes * (pages / 4);
	default:
		return (uint64_t)w->passes * pages;
	}
}

/* Its touch number `step`, counted from 0. */
static inline uint32_t work_page(enum work_kind kind, uint32_t pages, uint64_t step, uint64_t *random)
{
	uint64_t one = 1ull << 53;

	switch (kind) {
	case WORK_RANDOM:
		return (uint32_t)work_uniform(random, pages);
	case WORK_ZIPF: /* the products as numbers below 2^53 */
		one = work_uniform(random, work_uniform(random, one));
		return (uint32_t)((unsigned __int128)work_uniform(random, one) * pages >> 53);
	case WORK_WINDOW:
		return (uint32_t)((step / (pages / 4) / 8 * (pages / 8) + step % (pages / 4)) % pages);
	case WORK_HOTSCAN:
		return step % 2 ? (uint32_t)(step / 2 % pages) :
				  (uint32_t)work_uniform(random, pages / 12);
	default:
		return (uint32_t)(step % pages);
	}
}

#endif
