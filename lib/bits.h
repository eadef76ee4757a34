/* SPDX-License-Identifier: MIT */
/* Bit arithmetic. Positions count from 0 unless stated. */
#ifndef LIB_BITS_H
#define LIB_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define BIT(n)	      (1ul << (n))
#define BITS_PER_LONG (8 * sizeof(unsigned long))

/*
 * Spelled out rather than left to the compiler: where the machine has no such instruction, its
 * builtins call a library that freestanding code does not have.
 */

/* Position of the highest set bit; x is not 0. */
static inline unsigned ilog2(uint64_t x)
{
	unsigned n = 0;

	for (unsigned half = 32; half; half /= 2)
		if (x >> half) {
			x >>= half;
			n += half;
		}
	return n;
}

/* Position of the lowest set bit; x is not 0. A de Bruijn sequence times that bit has the position
 * in its top six bits: one multiplication, no branch. */
static inline unsigned lowest_bit(uint64_t x)
{
	static const uint8_t position[64] = {
		0,  1,	2,  53, 3,  7,	54, 27, 4,  38, 41, 8,	34, 55, 48, 28,
		62, 5,	39, 46, 44, 42, 22, 9,	24, 35, 59, 56, 49, 18, 29, 11,
		63, 52, 6,  26, 37, 40, 33, 47, 61, 45, 43, 21, 23, 58, 17, 10,
		51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19, 15, 30, 14, 13, 12,
	};

	return position[(x & -x) * 0x022fdd63cc95386dull >> 58];
}

/* 1 + position of the highest set bit, 0 for 0. */
static inline unsigned fls64(uint64_t x)
{
	return x ? ilog2(x) + 1 : 0;
}

static inline unsigned hweight64(uint64_t x)
{
	x -= x >> 1 & 0x5555555555555555ull;
	x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (unsigned)(x * 0x0101010101010101ull >> 56);
}

static inline bool is_power_of_2(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* The least power of two >= x; x is at least 1 and at most 1 << 63. */
static inline uint64_t roundup_pow_of_two(uint64_t x)
{
	return x <= 1 ? 1 : 1ull << (ilog2(x - 1) + 1);
}

/* The least order with 1 << order >= x; x is at least 1. */
static inline unsigned order_base_2(uint64_t x)
{
	return x <= 1 ? 0 : ilog2(x - 1) + 1;
}

#endif
