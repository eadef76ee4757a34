/* SPDX-License-Identifier: MIT */
/*
 * Text for user programs without a libc: a bounded buffer that is appended to, and the few string
 * functions that we need. Too long a text is cut, never written beyond its room.
 */
#ifndef USER_TEXT_H
#define USER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *p;
	size_t n, cap; /* cap counts the NUL that always ends it */
};

#define TEXT(buf) ((struct text){ (buf), 0, sizeof(buf) })

void text_chr(struct text *t, char c);
void text_str(struct text *t, const char *s);
void text_mem(struct text *t, const char *s, size_t n);
void text_dec(struct text *t, int64_t v);
void text_udec(struct text *t, uint64_t v);
void text_hex(struct text *t, uint64_t v); /* with 0x */

size_t str_len(const char *s);
bool str_eq(const char *a, const char *b);
bool str_starts(const char *s, const char *head);
/* NAME of n bytes equals the NUL-terminated s. */
bool mem_is(const char *p, size_t n, const char *s);
/* A number in base at *p (no sign, no 0x); moves *p behind it. */
uint64_t str_num(const char **p, unsigned base);

#endif
