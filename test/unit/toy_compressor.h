/* SPDX-License-Identifier: MIT */
/*
 * A compressor for the tests of compressed swap, so simple that a test can say how large a page becomes:
 * zeros at the end are left out. A check sum lets it see damage.
 */
#ifndef TEST_UNIT_TOY_COMPRESSOR_H
#define TEST_UNIT_TOY_COMPRESSOR_H

#include "lib/rand.h"
#include <quire/compress.h>
#include <stdint.h>
#include <string.h>

#define TOY_HEAD 16u /* bytes before the words: how many there are, and their sum */

/* Not 0: so many bytes more at most, by the contents, so that sizes differ. */
static unsigned toy_spread;
static uint32_t toy_calls; /* of compress(); atomic */

static inline uint64_t toy_sum(const uint64_t *w, size_t n)
{
	uint64_t sum = 0x746f79 + n;

	for (size_t i = 0; i < n; i++)
		sum = hash64(sum ^ w[i]);
	return sum;
}

static inline size_t toy_compress(const void *src, size_t n, void *dst, size_t max, void *workspace)
{
	const uint64_t *w = src;
	uint64_t head[2] = {n / 8, 0};
	size_t len;

	__atomic_fetch_add(&toy_calls, 1, __ATOMIC_RELAXED);
	memset(workspace, 0x5a, 64);
	while (head[0] && !w[head[0] - 1])
		head[0]--;
	head[1] = toy_sum(w, head[0]);
	len = TOY_HEAD + head[0] * 8;
	if (toy_spread)
		len += hash64(w[0]) % toy_spread;
	if (len > max)
		return 0;
	memset(dst, 0x33, len);
	memcpy(dst, head, TOY_HEAD);
	memcpy((char *)dst + TOY_HEAD, src, head[0] * 8);
	return len;
}

static inline size_t toy_decompress(const void *src, size_t n, void *dst, size_t max)
{
	uint64_t head[2];

	if (n < TOY_HEAD)
		return 0;
	memcpy(head, src, TOY_HEAD);
	if (head[0] > (n - TOY_HEAD) / 8 || head[0] > max / 8)
		return 0;
	memset(dst, 0, max);
	memcpy(dst, (const char *)src + TOY_HEAD, head[0] * 8);
	return toy_sum(dst, head[0]) == head[1] ? max : 0;
}

static const struct quire_compressor toy_compressor = {
	.name = "toy", .workspace = 64, .compress = toy_compress, .decompress = toy_decompress};

#endif
