/* SPDX-License-Identifier: MIT */
/* lib/printf.c against libc's; strscpy, parse_u64; the freestanding string functions. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/printf.h"
#include "lib/rand.h"
#include "lib/string.h"

/* The freestanding ones under other names, beside libc's. */
#define memcpy my_memcpy
#define memmove my_memmove
#define memset my_memset
#define memcmp my_memcmp
#define memchr my_memchr
#define strlen my_strlen
#define strcmp my_strcmp
#define strncmp my_strncmp
#define strchr my_strchr
#define strrchr my_strrchr
#undef LIB_STRING_H
#include "lib/string.h"
#include "lib/string.c"
#include "lib/mem.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-truncation"

#define SAME(fmt, ...)                                                              \
	do {                                                                        \
		char a[300], b[300];                                                \
		size_t n = scnprintf(a, sizeof(a), fmt, __VA_ARGS__);               \
		snprintf(b, sizeof(b), fmt, __VA_ARGS__);                           \
		cr_assert_str_eq(a, b, "%s: [%s], libc [%s]", fmt, a, b);           \
		cr_assert_eq(n, strlen(b));                                         \
	} while (0)

Test(lib_printf, fixed_cases)
{
	SAME("%d %i %u", 0, -1, 4294967295u);
	SAME("%5d|%-5d|%05d|%+d|% d", 42, 42, -42, 42, 42);
	SAME("%x %X %#x %#X %#x", 0xbeefu, 0xbeefu, 0xbeefu, 0xbeefu, 0u);
	SAME("%o %#o %#o", 8u, 8u, 0u);
	SAME("%lx %llu %zu %ld", 0xdeadbeefcafel, ~0ull, (size_t)7, -9223372036854775807l - 1);
	SAME("%hd %hhd %hu %hhu", 70000, 300, 70000, 300);
	SAME("%p", (void *)0x1234);
	SAME("%s|%10s|%-10s|%.2s|%.*s", "abc", "abc", "abc", "abc", 1, "abc");
	SAME("%*d|%-*d|%*d", 6, 1, 6, 1, -6, 1);
	SAME("%c%c%%%5c", 'a', 'b', 'c');
	SAME("%.5d|%8.5d|%-8.5d|%08.5d|%.0d", 42, 42, 42, 42, 0);
	SAME("%08lx-%08lx %c%c%c%c %08llx %02x:%02x %lu", 0x400000l, 0x401000l, 'r', '-', 'x', 'p',
	     0x1000ull, 0u, 5u, 123l);
	SAME("%*s%s", 40, "", "wide");
}

Test(lib_printf, random_conversions_match_libc)
{
	static const char flags[] = "-+ 0#", conv[] = "duxXo";
	static const char *const lengths[] = {"", "h", "hh", "l", "ll", "z"};
	struct rand_state r;

	rand_seed(&r, 3);
	for (int i = 0; i < 20000; i++) {
		char fmt[64], *p = fmt;
		uint64_t v = rand_u64(&r) >> rand_below(&r, 64);
		const char *len = lengths[rand_below(&r, 6)];

		*p++ = '%';
		for (uint64_t n = rand_below(&r, 3); n--;)
			*p++ = flags[rand_below(&r, 5)];
		if (rand_below(&r, 2))
			p += sprintf(p, "%u", 1 + (unsigned)rand_below(&r, 30));
		if (rand_below(&r, 3) == 0)
			p += sprintf(p, ".%u", (unsigned)rand_below(&r, 25));
		sprintf(p, "%s%c", len, conv[rand_below(&r, 5)]);
		if (*len == 'l' || *len == 'z')
			SAME(fmt, v);
		else
			SAME(fmt, (int)v);
	}
}

Test(lib_printf, output_is_cut_and_terminated)
{
	char buf[8] = "xxxxxxx";

	cr_assert_eq(scnprintf(buf, sizeof(buf), "%s", "a long text"), 7);
	cr_assert_str_eq(buf, "a long ");
	cr_assert_eq(scnprintf(buf, 1, "%d", 5), 0);
	cr_assert_str_eq(buf, "");
	cr_assert_eq(scnprintf(NULL, 0, "%d", 5), 0);
}

Test(lib_string, own_helpers)
{
	char b[4];
	uint64_t v = 0;

	cr_assert_eq(strscpy(b, "abc", sizeof(b)), 3);
	cr_assert_eq(strscpy(b, "abcd", sizeof(b)), -E2BIG);
	cr_assert_str_eq(b, "abc");
	cr_assert_eq(parse_u64("64M", &v), 0);
	cr_assert_eq(v, 64u << 20);
	cr_assert_eq(parse_u64("0x1fK", &v), 0);
	cr_assert_eq(v, 0x1fu << 10);
	cr_assert_eq(parse_u64("0", &v), 0);
	cr_assert_eq(v, 0);
	cr_assert_eq(parse_u64("017", &v), 0);
	cr_assert_eq(v, 15);
	cr_assert_eq(parse_u64("", &v), -EINVAL);
	cr_assert_eq(parse_u64("12x", &v), -EINVAL);
	cr_assert_eq(parse_u64("18446744073709551615", &v), 0);
	cr_assert_eq(parse_u64("18446744073709551616", &v), -ERANGE);
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

Test(lib_string, words)
{
	static const struct {
		const char *line, *words[4];
	} cases[] = {
		{"", {NULL}},
		{"   ", {NULL}},
		{"a bc  d", {"a", "bc", "d"}},
		{" \"two words\" b", {"two words", "b"}},
		{"x\"y z\"w \"\"", {"xy zw", ""}},
		{"a\\ b \\\" \\\\", {"a b", "\"", "\\"}},
		{"\"no end", {"no end"}},
		{"last\\", {"last\\"}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *s = cases[i].line;
		char word[32];

		for (int k = 0; cases[i].words[k]; k++)
			cr_expect_str_eq(next_word(&s, word), cases[i].words[k], "%s", cases[i].line);
		cr_expect_null(next_word(&s, word), "%s", cases[i].line);
		cr_expect_null(next_word(&s, word));
	}
}

Test(lib_string, freestanding_functions_match_libc)
{
	struct rand_state r;
	char a[64], b[64], c[64];

	rand_seed(&r, 4);
	for (int i = 0; i < 20000; i++) {
		size_t o = rand_below(&r, 16), p = rand_below(&r, 16), n = rand_below(&r, 40);
		int ch = 'a' + (int)rand_below(&r, 4);

		for (unsigned k = 0; k < 63; k++)
			a[k] = (char)('a' + rand_below(&r, 3));
		a[rand_below(&r, 60)] = a[63] = 0;
		memcpy(b, a, 64);
		memcpy(c, a, 64);
		cr_assert_eq(my_strlen(a + o), strlen(a + o));
		cr_assert_eq(sign(my_strcmp(a + o, a + p)), sign(strcmp(a + o, a + p)));
		cr_assert_eq(sign(my_strncmp(a + o, a + p, n)), sign(strncmp(a + o, a + p, n)));
		cr_assert_eq(my_strchr(a + o, ch), strchr(a + o, ch));
		cr_assert_eq(my_strrchr(a + o, ch), strrchr(a + o, ch));
		cr_assert_eq(my_memchr(a + o, ch, n), memchr(a + o, ch, n));
		cr_assert_eq(sign(my_memcmp(a + o, a + p, n)), sign(memcmp(a + o, a + p, n)));
		my_memmove(b + o, b + p, n);
		memmove(c + o, c + p, n);
		cr_assert_eq(memcmp(b, c, 64), 0);
		my_memset(b + o, ch, n);
		memset(c + o, ch, n);
		cr_assert_eq(memcmp(b, c, 64), 0);
		my_memcpy(b + o, a, n);
		memcpy(c + o, a, n);
		cr_assert_eq(memcmp(b, c, 64), 0);
	}
}
