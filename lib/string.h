/* SPDX-License-Identifier: MIT */
/*
 * The C library's string functions that freestanding code needs, with the C library's promises,
 * and a few of our own. Hosted builds use libc's; the others get mem.c and string.c.
 */
#ifndef LIB_STRING_H
#define LIB_STRING_H

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memchr(const void *p, int c, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

/* Copies src into dst[size], always NUL-terminated if size > 0. Returns the length copied, or
 * -E2BIG if it was cut. */
long strscpy(char *dst, const char *src, size_t size);
/* Takes the next word of *s into word, which has room for the rest of *s and a NUL. Blanks end a
 * word, but not between double quotes; a backslash takes the next character as it is. Returns NULL
 * when there is no more word, else word. */
char *next_word(const char **s, char *word);
/* A whole unsigned number with the prefix rules of base 0 (0x, 0) and an optional K, M or G after
 * it, from s to its end. 0 or -EINVAL, -ERANGE. */
int parse_u64(const char *s, uint64_t *value);

#endif
