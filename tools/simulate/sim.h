/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the simulator share: traces, pages, the machine, policies.
 *
 * A trace is a row of accesses. The machine runs it over a number of frames: a page that is
 * resident gets its accessed bit, any other page is a fault, for which a frame has to be found.
 * Which page gives it up is the policy's business. A page that comes back after it was evicted is
 * a refault; the first touch of a page is none, whatever the policy.
 *
 * With a TLB the bit is set only where the processor has to walk the page table, as 5.10 on x86
 * clears it without a flush: a page that is used all the time looks idle until its translation is
 * displaced, or another space runs.
 *
 * A policy sees what a kernel sees: faults, which space runs, and the accessed bit of a page that
 * it looks at, which clears the bit. It is not told of accesses that hit. The two that are
 * (`sees_all`: LRU and Belady) stand for what no kernel can do.
 */
#ifndef SIMULATE_SIM_H
#define SIMULATE_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NONE	   UINT32_MAX
#define MAX_SPACES 1024u
#define MAX_PAGES  (1u << 24)

enum access_kind {
	ACCESS_TOUCH,
	ACCESS_EXIT,  /* the space ends and its pages are gone */
	ACCESS_DROP,  /* the page is unmapped and its contents are gone */
	ACCESS_SLEEP, /* no thread of the space can run until its next access */
};

struct access {
	uint32_t page; /* numbered through all spaces */
	uint16_t space;
	uint16_t kind;
};

struct trace {
	struct access *a;
	size_t n, room;
	uint32_t pages;
	unsigned spaces, processes;
	uint8_t *file; /* by page: 1 if it belongs to a file; NULL: none does. Pages of files have
			* the last space to themselves, which is then no process. */
};

void trace_add(struct trace *t, uint32_t page, unsigned space, enum access_kind kind);
void trace_free(struct trace *t);

/* Accesses in a turn of a process that fills its memory, and of one that works. */
struct turns {
	uint32_t fill, work;
};

/*
 * Makes the trace that a description names: PART[+PART…], PART =
 * [COUNT*]WORK[/WORK…]:PAGES[:FLAG…], WORK = KIND[xPASSES]. Each process touches its pages once in
 * order, then does its works; they take turns. Returns NULL, or what is wrong with the text.
 */
const char *pattern_make(struct trace *t, const char *text, uint64_t seed, const struct turns *turns);

/* Reads a trace as tools/simulate.py writes it. Returns NULL, or what is wrong with the file. */
const char *trace_read(struct trace *t, const char *path);

/* One page: the machine's fields first, the rest is for the policy in charge. */
struct vpage {
	uint32_t next, prev;
	uint64_t shadow; /* what evict() was given */
	uint64_t stamp;
	uint16_t owner; /* the space that touched it first */
	uint8_t resident : 1, accessed : 1, touched : 1, file : 1;
	uint8_t list; /* which list it is on, 0: none */
	uint8_t flags;
};

struct plist {
	uint32_t head, tail; /* head: where pages come in; tail: the next to be looked at */
	uint32_t count;
};

struct space {
	uint32_t resident;
	uint32_t total; /* its pages, resident or evicted */
	uint64_t accesses, first, refaults, evicted;
};

struct sim;

struct policy {
	const char *name, *text;
	bool sees_all;
	unsigned batch; /* pages evicted at a time; 0: as the machine is told */
	void (*init)(struct sim *s);
	void (*done)(struct sim *s);
	/* `space` starts to run; another one did before. May be NULL. */
	void (*runs)(struct sim *s, unsigned space);
	/* Nothing of `space` can run any more, until it runs again. May be NULL. */
	void (*sleeps)(struct sim *s, unsigned space);
	/* A page has come in by a fault of the space that runs; if it was evicted before, its
	 * shadow is in the page. */
	void (*added)(struct sim *s, uint32_t page, bool refault);
	/* Only for those that see all: each access of a resident page, after added() too. */
	void (*touched)(struct sim *s, uint32_t page);
	/* Evicts at least one page, if it can n. */
	void (*reclaim)(struct sim *s, unsigned n);
	/* The page goes because it was unmapped, or its space ended. */
	void (*removed)(struct sim *s, uint32_t page);
	/* Invariants of the policy's own structures; NULL if all hold, else what does not. */
	const char *(*check)(struct sim *s);
};

struct sim {
	const struct trace *t;
	const struct policy *policy;
	void *priv;
	struct vpage *pages;
	struct space *spaces;
	uint32_t *tlb; /* what the processor has translated: slot of a page by its number; NULL: it
			* looks into the page table each time */
	uint32_t tlb_size;
	const uint32_t *next_use; /* by access: the next one of the same page, NONE: never */
	uint32_t frames, free, batch;
	unsigned running;   /* the space that runs */
	unsigned populated; /* spaces with a resident page */
	size_t now;
	uint64_t evictions, looks, refaults, first;
	uint64_t random;
};

/* What a run needs besides trace and policy. */
struct run {
	uint32_t frames, batch;
	uint32_t tlb; /* entries of the TLB, 0: none */
	uint64_t seed;
	size_t check_every; /* accesses between two tests of invariants, 0: none */
	void (*progress)(double share);
};

/* Runs a whole trace. Returns NULL, or what invariant broke. sim_free() is called in any case. */
const char *sim_run(struct sim *s, const struct trace *t, const struct policy *p,
		    const struct run *run);
void sim_free(struct sim *s);

/* Tests the accessed bit and clears it: one entry looked at. */
bool look(struct sim *s, uint32_t page);
/* The page leaves memory. The policy has unlinked it. */
void evict(struct sim *s, uint32_t page, uint64_t shadow);
uint32_t pick(struct sim *s, uint32_t below); /* a random number of the policy's own stream */

/* A page is on one list at most; `list` of the page is the caller's. */
void list_init(struct plist *l);
void list_add_head(struct sim *s, struct plist *l, uint32_t page);
void list_add_tail(struct sim *s, struct plist *l, uint32_t page);
void list_remove(struct sim *s, struct plist *l, uint32_t page);

extern const struct policy policy_lru, policy_belady, policy_fifo, policy_clock, policy_random,
	policy_linux510, policy_duel, policy_trial;
extern const struct policy *const policies[];

#endif
