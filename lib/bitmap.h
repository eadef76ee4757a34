/* SPDX-License-Identifier: MIT */
/* Bitmaps in arrays of unsigned long. Not atomic unless the name says so. */
#ifndef LIB_BITMAP_H
#define LIB_BITMAP_H

#include <stdbool.h>
#include <stddef.h>

#define BITS_PER_LONG	 (8 * sizeof(unsigned long))
#define BITS_TO_LONGS(n) (((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]

static inline bool bitmap_test(const unsigned long *map, size_t i)
{
	return map[i / BITS_PER_LONG] >> (i % BITS_PER_LONG) & 1;
}

static inline void bitmap_set_bit(unsigned long *map, size_t i)
{
	map[i / BITS_PER_LONG] |= 1ul << (i % BITS_PER_LONG);
}

static inline void bitmap_clear_bit(unsigned long *map, size_t i)
{
	map[i / BITS_PER_LONG] &= ~(1ul << (i % BITS_PER_LONG));
}

/* Sets bit i; tells whether it was set. Atomic. */
static inline bool bitmap_test_and_set(unsigned long *map, size_t i)
{
	unsigned long m = 1ul << (i % BITS_PER_LONG);

	return __atomic_fetch_or(&map[i / BITS_PER_LONG], m, __ATOMIC_ACQ_REL) & m;
}

/* Clears bit i; tells whether it was set. Atomic. */
static inline bool bitmap_test_and_clear(unsigned long *map, size_t i)
{
	unsigned long m = 1ul << (i % BITS_PER_LONG);

	return __atomic_fetch_and(&map[i / BITS_PER_LONG], ~m, __ATOMIC_ACQ_REL) & m;
}

void bitmap_zero(unsigned long *map, size_t bits);
void bitmap_set(unsigned long *map, size_t start, size_t n);
void bitmap_clear(unsigned long *map, size_t start, size_t n);
/* The first set (zero) bit at or after start; bits if there is none. */
size_t find_next_bit(const unsigned long *map, size_t bits, size_t start);
size_t find_next_zero_bit(const unsigned long *map, size_t bits, size_t start);
/* The first run of n zero bits at or after start whose position is a multiple of align (a power
 * of two); bits if there is none. */
size_t bitmap_find_zero_area(const unsigned long *map, size_t bits, size_t start, size_t n,
			     size_t align);
size_t bitmap_weight(const unsigned long *map, size_t bits);

#endif
