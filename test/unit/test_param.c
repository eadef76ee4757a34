/* SPDX-License-Identifier: MIT */
/* Boot parameters: found among other words, cut to size, and read as switches and sizes. */
#include "mm_test.h"

#include "mm/base/param.h"

static const char *of(const char *params, const char *name, size_t n)
{
	static char buf[64];

	init_config.params = params;
	strcpy(buf, "untouched");
	return boot_param(name, buf, n) ? buf : NULL;
}

Test(param, words)
{
	cr_expect_null(of(NULL, "a", 64));
	cr_expect_null(of("", "a", 64));
	cr_expect_str_eq(of("a=1", "a", 64), "1");
	cr_expect_str_eq(of("  x=0   a=1 b=2", "a", 64), "1");
	cr_expect_str_eq(of("a", "a", 64), "");
	cr_expect_str_eq(of("a b", "a", 64), "", "a word alone is an empty value");
	cr_expect_null(of("ab=1", "a", 64), "another word's beginning");
	cr_expect_null(of("a", "ab", 64));
	cr_expect_null(of("b", "a", 64));
	cr_expect_str_eq(of("a=1 a=2", "a", 64), "2", "the last one counts");
	cr_expect_str_eq(of("a=123456789", "a", 4), "123", "as much as there is room for");
	cr_expect_str_eq(of("a=1 -- a=2", "a", 64), "1", "what follows is the first program's");
	cr_expect_str_eq(of("-a=1 -x --long a=3", "a", 64), "3");
	cr_expect_null(of("-x", "x", 64));
}

Test(param, switches)
{
	static const char *const on[] = {"s", "s=", "s=on", "s=1", "s=y"};
	static const char *const off[] = {"s=off", "s=0", "s=n"};

	for (unsigned i = 0; i < 5; i++) {
		init_config.params = on[i];
		cr_expect(boot_param_bool("s", false), "%s", on[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		init_config.params = off[i];
		cr_expect_not(boot_param_bool("s", true), "%s", off[i]);
	}
	init_config.params = "s=perhaps";
	cr_expect(boot_param_bool("s", true), "neither: as it was");
	cr_expect_not(boot_param_bool("s", false));
	cr_expect(boot_param_bool("t", true));
}

Test(param, sizes)
{
	static const struct {
		const char *text;
		uint64_t want;
	} all[] = {
		{"n=0", 0}, {"n=4096", 4096}, {"n=4k", 4096}, {"n=4K", 4096}, {"n=3m", 3 << 20},
		{"n=2G", 2ull << 30}, {"n=", 7}, {"n=k", 7}, {"n=4q", 7}, {"n=4kb", 7},
		{"n=-1", 7}, {"m=1", 7}, {"n=99999999999999999999999", 7},
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		init_config.params = all[i].text;
		cr_expect_eq(boot_param_size("n", 7), all[i].want, "%s: %llu", all[i].text,
			     (unsigned long long)boot_param_size("n", 7));
	}
}
