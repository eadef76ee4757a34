/* SPDX-License-Identifier: MIT */
/* Text for user programs: appending to bounded buffers, and small string functions. */
#include "text.h"

void text_mem(struct text *t, const char *s, size_t n)
{
	for (size_t i = 0; i < n && t->n + 1 < t->cap; i++)
		t->p[t->n++] = s[i];
	if (t->cap)
		t->p[t->n] = 0;
}

void text_chr(struct text *t, char c)
{
	text_mem(t, &c, 1);
}

void text_str(struct text *t, const char *s)
{
	text_mem(t, s, str_len(s));
}

static void put_base(struct text *t, uint64_t v, unsigned base)
{
	char buf[24];
	size_t i = sizeof(buf);

	do {
		buf[--i] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	text_mem(t, buf + i, sizeof(buf) - i);
}

void text_udec(struct text *t, uint64_t v)
{
	put_base(t, v, 10);
}

void text_dec(struct text *t, int64_t v)
{
	if (v < 0)
		text_chr(t, '-');
	put_base(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10);
}

void text_hex(struct text *t, uint64_t v)
{
	text_str(t, "0x");
	put_base(t, v, 16);
}

size_t str_len(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool str_starts(const char *s, const char *head)
{
	while (*head)
		if (*s++ != *head++)
			return false;
	return true;
}

bool str_eq(const char *a, const char *b)
{
	return mem_is(a, str_len(a), b);
}

bool mem_is(const char *p, size_t n, const char *s)
{
	size_t i = 0;

	while (i < n && s[i] && p[i] == s[i])
		i++;
	return i == n && !s[i];
}

uint64_t str_num(const char **p, unsigned base)
{
	uint64_t v = 0;

	for (;; (*p)++) {
		char c = **p;
		unsigned d = c >= '0' && c <= '9' ? c - '0' :
			     c >= 'a' && c <= 'f' ? c - 'a' + 10 :
			     c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;

		if (d >= base)
			return v;
		v = v * base + d;
	}
}
