/* SPDX-License-Identifier: MIT */
/* LZ4 as compressed swap uses it: there and back, what does not fit, and damage, which may cost the contents
 * and nothing else: source and destination end at pages that cannot be touched. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/lz4_compressor.h"
#include "lib/rand.h"

#define PS 4096u

int LZ4_sizeofState(void);

static char page[PS], packed[PS];
static void *state;

/* n bytes that end where the next cannot be touched. */
static char *at_the_edge(size_t n)
{
	char *p = mmap(NULL, 3 * PS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED && n <= PS);
	cr_assert_eq(mprotect(p, PS, PROT_NONE), 0);
	cr_assert_eq(mprotect(p + 2 * PS, PS, PROT_NONE), 0);
	return p + 2 * PS - n;
}

/* Kinds of contents: zeros, text, numbers that count, pointers, half and half, noise. */
static void fill(char *p, unsigned kind, struct rand_state *r)
{
	static const char *const words[] = {"struct ", "page", " *", "lock", "; ", "return ", "\n\t", "0x"};
	size_t n = 0;

	memset(p, 0, PS);
	switch (kind) {
	case 0:
		break;
	case 1:
		while (n < PS - 16) {
			const char *w = words[rand_below(r, 8)];

			memcpy(p + n, w, strlen(w));
			n += strlen(w);
		}
		break;
	case 2:
		for (unsigned i = 0; i < PS / 4; i++)
			((uint32_t *)p)[i] = i / 8 * 3;
		break;
	case 3:
		for (unsigned i = 0; i < PS / 8; i++)
			((uint64_t *)p)[i] = 0x7f0000000000 + (rand_below(r, 1 << 20) << 4);
		break;
	default:
		for (unsigned i = 0; i < (kind == 4 ? PS / 16 : PS / 8); i++)
			((uint64_t *)p)[i] = rand_u64(r);
	}
}

static void up(void)
{
	state = malloc(lz4_compressor.workspace);
	cr_assert(state);
}

Test(lz4, workspace)
{
	cr_expect_leq((size_t)LZ4_sizeofState(), lz4_compressor.workspace);
}

Test(lz4, there_and_back, .init = up)
{
	struct rand_state r;

	rand_seed(&r, 1);
	for (unsigned i = 0; i < 600; i++) {
		size_t most = 3576, n;
		char *to = at_the_edge(PS), *from;

		memset(state, (int)i, lz4_compressor.workspace);
		fill(page, i % 6, &r);
		n = lz4_compressor.compress(page, PS, packed, most, state);
		cr_expect_leq(n, i % 6 == 0 ? 40u : most);
		cr_assert_eq(n == 0, i % 6 == 5, "kind %u is %zu bytes", i % 6, n);
		if (n) {
			from = at_the_edge(n);
			memcpy(from, packed, n);
			cr_assert_eq(lz4_compressor.decompress(from, n, to, PS), PS);
			cr_assert_eq(memcmp(to, page, PS), 0);
			munmap((void *)((uintptr_t)from / PS * PS - PS), 3 * PS);
		}
		munmap(to - PS, 3 * PS);
	}
	free(state);
}

Test(lz4, damage, .init = up)
{
	char *to = at_the_edge(PS);
	unsigned refused = 0, other = 0;
	struct rand_state r;

	rand_seed(&r, 2);
	for (unsigned i = 0; i < 30000; i++) {
		size_t n = 1 + (size_t)rand_below(&r, 600), got;
		static char *from; /* one place for all: their end is what matters */

		if (!from)
			from = at_the_edge(PS);
		if (i % 2) {
			fill(page, (unsigned)rand_below(&r, 5), &r);
			n = lz4_compressor.compress(page, PS, packed, PS - 1, state);
			cr_assert(n);
			for (unsigned k = 0; k < 1 + i % 3; k++)
				packed[rand_below(&r, n)] ^= (char)(1 << rand_below(&r, 8));
			n -= rand_below(&r, 2) ? 0 : (size_t)rand_below(&r, n);
		} else {
			for (size_t k = 0; k < n; k++)
				packed[k] = (char)rand_u64(&r);
		}
		memcpy(from + PS - n, packed, n);
		got = lz4_compressor.decompress(from + PS - n, n, to, PS);
		cr_assert_leq(got, PS);
		refused += got != PS;
		other += got == PS;
	}
	cr_expect_gt(refused, 15000);
	cr_expect_gt(other, 100, "a flipped literal is not seen");
	cr_expect_eq(lz4_compressor.decompress(packed, 0, to, PS), 0);
	free(state);
}
