/* SPDX-License-Identifier: MIT */
/*
 * LZ4's block format, by the functions of Debian's source package lz4, which are built without a C library
 * and never allocate (lib/meson.build). Their hash table lies in the workspace. It is smaller than LZ4's
 * usual one, since it is cleared for each page and a page has 4096 places to remember; docs/zswap.md has the
 * figures. Beside that they need about 200 bytes of stack.
 */
#include "lib/lz4_compressor.h"

/* As lz4.h declares them, which is not there where this is only read. */
int LZ4_sizeofState(void);
int LZ4_compress_fast_extState(void *state, const char *src, char *dst, int src_size, int dst_capacity,
			       int acceleration);
int LZ4_decompress_safe(const char *src, char *dst, int compressed_size, int dst_capacity);

#define ACCELERATION 1 /* the best ratio that the fast functions have */

static size_t compress(const void *src, size_t n, void *dst, size_t max, void *workspace)
{
	int len = LZ4_compress_fast_extState(workspace, src, dst, (int)n, (int)max, ACCELERATION);

	return len > 0 ? (size_t)len : 0;
}

static size_t decompress(const void *src, size_t n, void *dst, size_t max)
{
	int len = n <= max ? LZ4_decompress_safe(src, dst, (int)n, (int)max) : -1;

	return len > 0 ? (size_t)len : 0;
}

const struct quire_compressor lz4_compressor = {
	.name = "lz4",
	/* LZ4_sizeofState(): the table and 32 bytes (held by the test lz4). */
	.workspace = (1u << LZ4_MEMORY_USAGE) + 32,
	.compress = compress,
	.decompress = decompress,
};
