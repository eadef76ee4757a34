/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target reads bytes and must neither crash nor leave them. With -Dfuzz=true and clang it
 * is a libFuzzer program; otherwise driver.c damages its seeds the same way on every run, as a
 * test of the host suite.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(x)                                                              \
	do {                                                                       \
		if (!(x)) {                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);    \
			abort();                                                   \
		}                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* True if s is text that ends by its NUL inside the n bytes at p. */
static inline int fuzz_text_inside(const char *s, const uint8_t *p, size_t n)
{
	const uint8_t *at = (const uint8_t *)s;

	return at >= p && at < p + n && memchr(at, 0, p + n - at) != NULL;
}

#endif
