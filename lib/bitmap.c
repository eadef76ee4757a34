/* SPDX-License-Identifier: MIT */
/* Searching and filling bitmaps, a word at a time where it pays. */
#include "lib/bitmap.h"

#include "lib/bits.h"

void bitmap_zero(unsigned long *map, size_t bits)
{
	for (size_t i = 0; i < BITS_TO_LONGS(bits); i++)
		map[i] = 0;
}

void bitmap_set(unsigned long *map, size_t start, size_t n)
{
	while (n--)
		bitmap_set_bit(map, start++);
}

void bitmap_clear(unsigned long *map, size_t start, size_t n)
{
	while (n--)
		bitmap_clear_bit(map, start++);
}

/* The first bit at or after start that is set in map ^ invert. */
static size_t find_from(const unsigned long *map, size_t bits, size_t start, unsigned long invert)
{
	while (start < bits) {
		size_t w = start / BITS_PER_LONG;
		unsigned long v = (map[w] ^ invert) >> (start % BITS_PER_LONG);

		if (v) {
			start += lowest_bit(v);
			return start < bits ? start : bits;
		}
		start = (w + 1) * BITS_PER_LONG;
	}
	return bits;
}

size_t find_next_bit(const unsigned long *map, size_t bits, size_t start)
{
	return find_from(map, bits, start, 0);
}

size_t find_next_zero_bit(const unsigned long *map, size_t bits, size_t start)
{
	return find_from(map, bits, start, ~0ul);
}

size_t bitmap_find_zero_area(const unsigned long *map, size_t bits, size_t start, size_t n,
			     size_t align)
{
	for (;;) {
		size_t pos = find_next_zero_bit(map, bits, start), stop;

		pos = (pos + align - 1) & ~(align - 1);
		if (pos > bits || n > bits - pos)
			return bits;
		stop = find_next_bit(map, pos + n, pos);
		if (stop >= pos + n)
			return pos;
		start = stop + 1;
	}
}

size_t bitmap_weight(const unsigned long *map, size_t bits)
{
	size_t i, c = 0;

	for (i = 0; i < bits / BITS_PER_LONG; i++)
		c += hweight64(map[i]);
	if (bits % BITS_PER_LONG)
		c += hweight64(map[i] & ((1ul << (bits % BITS_PER_LONG)) - 1));
	return c;
}
