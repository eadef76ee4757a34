/* SPDX-License-Identifier: MIT */
/*
 * A recording of a real kernel's page and slab events (docs/kmem.md): read line by line, and replayed
 * on the core's own allocators. Freestanding: the same on the host and on the bare machines.
 */
#ifndef TEST_KMEM_H
#define TEST_KMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMEM_ORDERS	11
#define KMEM_ZONES	4
#define KMEM_MAX_GFP	64
#define KMEM_MAX_IDS	(1u << 22)
#define KMEM_MAX_EVENTS (1u << 28)
#define KMEM_MAX_BYTES	(1u << 22) /* of one object, as the largest block */

enum kmem_kind {
	KMEM_PAGE_ALLOC = 'p',	 /* id order migratetype gfp */
	KMEM_PAGE_FREE = 'P',	 /* id */
	KMEM_PAGE_FAILED = 'f',	 /* order migratetype gfp */
	KMEM_KMALLOC = 'k',	 /* id asked given gfp */
	KMEM_CACHE_ALLOC = 'c',	 /* the same, from a cache of its own size */
	KMEM_OBJECT_FREE = 'K',	 /* id */
	KMEM_OBJECT_FAILED = 'g', /* asked given gfp */
	KMEM_EXTFRAG = 'x',	 /* a block of another type was used */
	KMEM_PCP_DRAIN = 'd',	 /* a page left a per-CPU list for the buddy */
};

struct kmem_event {
	enum kmem_kind kind;
	uint32_t id;
	uint32_t order, migratetype; /* pages */
	uint32_t asked, given;	     /* objects, bytes */
	uint32_t gfp;		     /* index into the header's list */
};

/* One zone's free blocks of each order. */
struct kmem_blocks {
	char zone[12];
	uint64_t n[KMEM_ORDERS];
};

/* Where and why a recording was refused. */
struct kmem_error {
	const char *why;
	unsigned line; /* from 1 */
};

struct kmem_file {
	const char *at, *end; /* what was not read yet */
	unsigned line;
	char kernel[64], command[400];
	uint32_t memory;      /* MiB of the recorded machine */
	struct kmem_blocks before[KMEM_ZONES], after[KMEM_ZONES];
	unsigned nbefore, nafter;
	char gfp[KMEM_MAX_GFP][160]; /* names with bars between them */
	unsigned ngfp;
	uint64_t slab_pages, skipped;
	uint32_t page_ids, object_ids, events;
	uint32_t seen;	      /* events read so far */
};

/* Reads the header of the n bytes at text, which must stay. 0, or -EINVAL and *e. */
int kmem_open(struct kmem_file *k, const char *text, size_t n, struct kmem_error *e);
/* The next event: 1; 0 at the end, if as many came as the header says; else -EINVAL and *e. Numbers
 * are in range: ids below the header's, orders below KMEM_ORDERS, gfp an entry of the list. */
int kmem_next(struct kmem_file *k, struct kmem_event *ev, struct kmem_error *e);

/* Replays text on the running core; what happened goes to say(), line by line. 0: as recorded, all
 * given back, every invariant holds; 1: not; 2: the recording is no recording. */
int kmem_replay(const char *text, size_t n, void (*say)(const char *line));

#endif
