/* SPDX-License-Identifier: MIT */
/* A seeded pseudo-random generator (xorshift64*): the same seed, the same numbers, everywhere. */
#ifndef LIB_RAND_H
#define LIB_RAND_H

#include <stdint.h>

#include "lib/hash.h"

struct rand_state {
	uint64_t s; /* never 0 */
};

static inline void rand_seed(struct rand_state *r, uint64_t seed)
{
	r->s = hash64(seed + 0x9e3779b97f4a7c15ull);
	if (!r->s)
		r->s = 1;
}

static inline uint64_t rand_u64(struct rand_state *r)
{
	r->s ^= r->s >> 12;
	r->s ^= r->s << 25;
	r->s ^= r->s >> 27;
	return r->s * 0x2545f4914f6cdd1dull;
}

/* 0 .. n - 1; n is not 0. The bias is below n / 2^64. */
static inline uint64_t rand_below(struct rand_state *r, uint64_t n)
{
	return rand_u64(r) % n;
}

#endif
