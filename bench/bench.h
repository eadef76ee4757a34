/* SPDX-License-Identifier: MIT */
/*
 * What the side-by-side benchmarks of the host share. A *workload* is run by *contestants*, the
 * first of them ours, one after the other in every round, so that all of them meet the same
 * noise; the least and the median of all rounds are printed as one line of JSON a figure.
 *
 * Rows are named H1 ... as in docs/bench.md. A file of rows defines a table of struct bench_row
 * and is named in bench/main.c.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_row {
	const char *name;
	const char *what;  /* one line for --list */
	void (*run)(void); /* prints by bench_compare(), as often as the row has workloads */
};

/* One who runs a workload. round() does it once and stores a figure (nanoseconds an operation, or
 * whatever the unit is) for each name in the workload's list. NULL: a peer that is not there. */
struct contestant {
	const char *name;
	void (*round)(void *ctx, double *figures);
	void *ctx;
};

#define BENCH_MAX_FIGURES 8
#define BENCH_MAX_CONTESTANTS 8

/* Runs c[0] (ours) and its peers c[1..n) side by side and prints a line for each of the nfigures
 * workloads of row. The peer of a line is the best one that is there. */
void bench_compare(const char *row, const char *unit, const char *const *workloads,
		   unsigned nfigures, const struct contestant *c, unsigned n);

/* The core on a bare machine of host threads, watermarks and accounting on; the caller is CPU 0. */
void bench_up(uint64_t ram, unsigned cpus);
void bench_down(void);

double bench_now(void); /* nanoseconds, from some point on */
/* xorshift; the same sequence after every bench_seed(). */
uint64_t bench_rnd(void);
void bench_seed(uint64_t seed);
/* 0 .. n-1 in random order; the caller frees it. */
uint32_t *bench_permutation(uint32_t n);
/* fn(ctx, i) on n threads at once, thread i being CPU i; returns the nanoseconds from the moment
 * when all were ready until the last one ended. */
double bench_threads(unsigned n, void (*fn)(void *ctx, unsigned i), void *ctx);
/* Rounds to run, and the divisor of sizes for a quick run (1: full). */
extern unsigned bench_rounds, bench_quick;
/* n operations, less in a quick run. */
static inline unsigned bench_ops(unsigned n)
{
	return n / bench_quick ? n / bench_quick : 1;
}

_Noreturn __attribute__((format(printf, 1, 2))) void bench_die(const char *why, ...);

/* ---- peers ------------------------------------------------------------------------------------ */

/* Allocators of the host; alloc is NULL where the package is missing. */
struct malloc_peer {
	const char *name;
	void *(*alloc)(size_t n);
	void (*free)(void *p);
};
#define BENCH_MALLOCS 3
extern struct malloc_peer bench_mallocs[BENCH_MALLOCS]; /* mimalloc, jemalloc, glibc */

/* Page allocators: the functions of bench/peer.h, each set out of a library of its own. */
struct page_peer {
	char name[32];
	bool (*init)(uint64_t frames, unsigned cpus);
	int64_t (*get)(unsigned cpu, unsigned order);
	void (*put)(unsigned cpu, uint64_t frame, unsigned order);
	void (*exit)(void);
};
#define BENCH_PEER_LIBS 4
extern struct page_peer bench_page_peers[BENCH_PEER_LIBS];
extern unsigned bench_nr_page_peers;

/* Finds the allocators of the host that are installed. */
void bench_find_peers(void);
/* Takes a page allocator in; word is NAME=FILE.so. Ends the program with what is wrong with it. */
void bench_add_peer_lib(const char *word);

#endif
