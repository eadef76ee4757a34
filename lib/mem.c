/* SPDX-License-Identifier: MIT */
/*
 * memcpy, memmove, memset, memcmp for builds without a C library: the compiler calls them by
 * itself. Words where the addresses allow it, bytes elsewhere.
 */
#include "lib/string.h"

#ifndef __clang__
/* Or the compiler sees memcpy in memcpy's own loop, and calls it. */
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

/* A word that may alias anything. */
typedef unsigned long __attribute__((may_alias)) word;

#define WORD sizeof(word)
#define ALIGNED(p) (((uintptr_t)(p) & (WORD - 1)) == 0)

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if ((((uintptr_t)d ^ (uintptr_t)s) & (WORD - 1)) == 0) {
		for (; n && !ALIGNED(d); n--)
			*d++ = *s++;
		for (; n >= 4 * WORD; n -= 4 * WORD, d += 4 * WORD, s += 4 * WORD) {
			const word *q = (const word *)s;
			word *p = (word *)d;
			word a = q[0], b = q[1], c = q[2], e = q[3];

			p[0] = a, p[1] = b, p[2] = c, p[3] = e;
		}
		for (; n >= WORD; n -= WORD, d += WORD, s += WORD)
			*(word *)d = *(const word *)s;
	}
	while (n--)
		*d++ = *s++;
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (d == s || n == 0)
		return dst;
	if ((uintptr_t)d - (uintptr_t)s >= n) {
		/* Forwards is safe; but memcpy may assume no overlap at all. */
		if (ALIGNED(d) && ALIGNED(s))
			for (; n >= WORD; n -= WORD, d += WORD, s += WORD)
				*(word *)d = *(const word *)s;
		while (n--)
			*d++ = *s++;
		return dst;
	}
	while (n--)
		d[n] = s[n];
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	unsigned char *d = dst;
	word w = (unsigned char)c * (~0ul / 255);

	for (; n && !ALIGNED(d); n--)
		*d++ = (unsigned char)c;
	for (; n >= 4 * WORD; n -= 4 * WORD, d += 4 * WORD) {
		word *p = (word *)d;

		p[0] = p[1] = p[2] = p[3] = w;
	}
	for (; n >= WORD; n -= WORD, d += WORD)
		*(word *)d = w;
	while (n--)
		*d++ = (unsigned char)c;
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (; n--; p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}
