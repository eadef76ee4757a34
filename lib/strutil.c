/* SPDX-License-Identifier: MIT */
/* String helpers that the C library lacks, for hosted builds too. */
#include "lib/string.h"
#include <quire/abi.h>

#include <stdbool.h>

long strscpy(char *dst, const char *src, size_t size)
{
	size_t i;

	if (!size)
		return -E2BIG;
	for (i = 0; i < size - 1 && src[i]; i++)
		dst[i] = src[i];
	dst[i] = '\0';
	return src[i] ? -E2BIG : (long)i;
}

static unsigned digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 99;
}

static unsigned suffix_shift(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	default:
		return 0;
	}
}

int parse_u64(const char *s, uint64_t *value)
{
	unsigned base = 10, shift;
	const char *start;
	uint64_t v = 0;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	} else if (s[0] == '0' && s[1]) {
		base = 8;
	}
	for (start = s; digit_of(*s) < base; s++) {
		if (v > (UINT64_MAX - digit_of(*s)) / base)
			return -ERANGE;
		v = v * base + digit_of(*s);
	}
	if (s == start)
		return -EINVAL;
	shift = suffix_shift(*s);
	if (shift) {
		if (v > UINT64_MAX >> shift)
			return -ERANGE;
		v <<= shift;
		s++;
	}
	if (*s)
		return -EINVAL;
	*value = v;
	return 0;
}

char *next_word(const char **s, char *word)
{
	const char *p = *s;
	bool quoted = false;
	size_t n = 0;

	while (*p == ' ')
		p++;
	if (!*p) {
		*s = p;
		return NULL;
	}
	for (; *p && (quoted || *p != ' '); p++) {
		if (*p == '"') {
			quoted = !quoted;
			continue;
		}
		if (*p == '\\' && p[1])
			p++;
		word[n++] = *p;
	}
	word[n] = '\0';
	*s = p;
	return word;
}
