/* SPDX-License-Identifier: MIT */
/*
 * Fault injection: allocations that are made to fail. A fault_attr has Linux's knobs
 * (Documentation: fault injection): interval, probability, space, times; and "the n-th from now",
 * which hits once. Pages have one, slabs have one for all caches together, and each cache may have
 * its own. Off, a request costs one load and a predictable branch. Any context.
 */
#ifndef MM_FAIL_INJECT_H
#define MM_FAIL_INJECT_H

#include "lib/bug.h"
#include <quire/quire.h>

struct fault_attr {
	uint32_t armed;	      /* read first: anything below may hit; set by fault_attr_set() */
	uint64_t nth;	      /* this many requests from now, once; 0: off */
	uint64_t count;	      /* requests seen while interval > 1 */
	uint64_t hits;	      /* failures so far */
	uint64_t seed;	      /* of this attribute's dice: the same run fails alike */
	int64_t space;	      /* bytes that pass before the first may fail */
	int32_t times;	      /* failures left; -1: no end */
	uint32_t interval;    /* only each so many-th request; 0, 1: every one */
	uint32_t probability; /* per cent; 0: off */
};

/* True if this request of size bytes has to fail. */
bool fault_attr_hit(struct fault_attr *a, size_t size);
/* Takes the knobs of set over; what is counted starts anew. */
void fault_attr_set(struct fault_attr *a, const struct quire_fault_attr *set);
/* "interval,probability,space,times", as in Linux's boot parameters: 0 or -EINVAL (a unchanged). */
int fault_attr_parse(struct fault_attr *a, const char *text);

static inline bool fault_attr_fails(struct fault_attr *a, size_t size)
{
	return unlikely(__atomic_load_n(&a->armed, __ATOMIC_RELAXED)) && fault_attr_hit(a, size);
}

extern struct fault_attr inject_attr[QUIRE_INJECT_KINDS];

/* Boot parameters fail_page_alloc= and failslab=. Switched off again at the end. */
void fail_inject_init(void);
void fail_inject_exit(void);
#endif
