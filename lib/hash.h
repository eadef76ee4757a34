/* SPDX-License-Identifier: MIT */
/* Small hash functions, the same on every machine. */
#ifndef LIB_HASH_H
#define LIB_HASH_H

#include <stdint.h>

/* Mixes every bit of x into every bit of the result; a bijection. */
static inline uint64_t hash64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

#endif
