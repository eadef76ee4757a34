/* SPDX-License-Identifier: MIT */
/*
 * What compressed swap (docs/zswap.md) needs of a compressor. A kernel that has one fills in this
 * structure and hands it to quire_init() in quire_config.compressor; the kernel here plugs LZ4 in.
 */
#ifndef QUIRE_COMPRESS_H
#define QUIRE_COMPRESS_H

#include <stddef.h>

/* Both functions are called by several threads at once, each with memory of its own, with no lock held.
 * They allocate nothing and wait for nobody; what they leave of the stack is the caller's business. */
struct quire_compressor {
	const char *name;
	size_t workspace; /* bytes of scratch memory that compress() needs; 0: none */
	/* Compresses n bytes (a page) to at most max bytes at dst: how many there are then, or 0 if they
	 * do not fit. workspace: aligned to a word, its contents whatever the last call left. */
	size_t (*compress)(const void *src, size_t n, void *dst, size_t max, void *workspace);
	/* Restores what compress() made of a page of `max` bytes: how many there are then, or 0 if the n
	 * bytes at src are none of compress()'s. Whatever src holds, nothing outside of the two is read or
	 * written. */
	size_t (*decompress)(const void *src, size_t n, void *dst, size_t max);
};

#endif
