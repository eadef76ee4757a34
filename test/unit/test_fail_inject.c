/* SPDX-License-Identifier: MIT */
/* Failures on order: Linux's knobs, the n-th, and the words of the boot parameters. */
#include "mm_test.h"

#include "mm/base/param.h"

/* A bit for each of the next n single pages: set where the request failed. */
static uint64_t failures(unsigned n)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < n; i++) {
		struct page *p = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0);

		if (p)
			__free_pages(p, 0);
		else
			bits |= 1ull << i;
	}
	return bits;
}

static void set(struct quire_fault_attr a)
{
	cr_assert_eq(quire_inject_attr(QUIRE_INJECT_PAGE, &a), 0);
}

Test(fail_inject, knobs)
{
	uint64_t dice;

	machine_up(64 << 20, 1);
	cr_expect_eq(failures(64), 0);
	set((struct quire_fault_attr){.probability = 100, .times = -1});
	cr_expect_eq(failures(8), 0xff);
	cr_expect_eq(quire_inject_hits(QUIRE_INJECT_PAGE), 8);
	set((struct quire_fault_attr){.probability = 100, .times = 3});
	cr_expect_eq(failures(8), 0x07);
	set((struct quire_fault_attr){.probability = 100, .times = -1, .interval = 4});
	cr_expect_eq(failures(16), 0x8888);
	/* Two pages pass: what is left must exceed the request to let it through. */
	set((struct quire_fault_attr){.probability = 100, .times = -1, .space = 3 * PAGE_SIZE});
	cr_expect_eq(failures(4), 0xc);
	set((struct quire_fault_attr){.nth = 3});
	cr_expect_eq(failures(8), 0x4);
	set((struct quire_fault_attr){.probability = 30, .times = -1});
	dice = failures(64);
	cr_expect(__builtin_popcountll(dice) > 8 && __builtin_popcountll(dice) < 32);
	set((struct quire_fault_attr){.probability = 30, .times = -1});
	cr_expect_eq(failures(64), dice, "the same dice every time");
	/* Nobody may refuse a request that must not fail. */
	set((struct quire_fault_attr){.probability = 100, .times = -1});
	struct page *p = alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0);
	cr_assert(p);
	__free_pages(p, 0);
	set((struct quire_fault_attr){0});
	cr_expect_eq(quire_inject_attr(QUIRE_INJECT_PAGE,
				       &(struct quire_fault_attr){.probability = 101}), -22);
	cr_expect_eq(quire_inject_attr(QUIRE_INJECT_KINDS, &(struct quire_fault_attr){0}), -22);
	machine_down();
}

Test(fail_inject, text)
{
	static const char *const bad[] = {"",	   "1",	     "1,2,3",	 "1,101,0,1", "-1,1,0,1",
					  "1,1,0,-2", "1,1,0,1x", "1,1,0,1,1", "99999999999,1,0,1"};
	struct fault_attr a = {0};

	cr_expect_eq(fault_attr_parse(&a, "2,50,0,-1"), 0);
	cr_expect(a.interval == 2 && a.probability == 50 && a.times == -1 && a.armed);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(fault_attr_parse(&a, bad[i]), -22, "%s", bad[i]);
	cr_expect_eq(a.interval, 2, "left as it was");
}

Test(fail_inject, boot_parameters)
{
	struct quire_config cfg = {
		.params = "a=1 flag fail_page_alloc=1,100,0,2 failslab=rubbish size=3M  a=on bad=3x "
			  "long=0123456789 no=off -- a=off last=1"};
	char v[8];

	/* Two failures early at start: it says so and leaves nothing behind. */
	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 64 << 20, .cpus = 1}), 0);
	cr_expect_eq(quire_init(&cfg), -12);
	cr_expect(boot_param("a", v, sizeof(v)) && !strcmp(v, "on"), "the last one counts");
	cr_expect(boot_param("flag", v, sizeof(v)) && !v[0]);
	cr_expect(boot_param("long", v, sizeof(v)) && !strcmp(v, "0123456"));
	cr_expect_not(boot_param("last", v, sizeof(v)), "behind --");
	cr_expect_not(boot_param("fla", v, sizeof(v)));
	cr_expect(boot_param_bool("flag", false) && boot_param_bool("a", false));
	cr_expect_not(boot_param_bool("no", true));
	cr_expect(boot_param_bool("size", true) && boot_param_bool("none", true));
	cr_expect_eq(boot_param_size("size", 1), 3 << 20);
	cr_expect_eq(boot_param_size("bad", 1), 1);
	cr_expect_eq(boot_param_size("flag", 1), 1);
	cr_expect_eq(boot_param_size("none", 7), 7);
	fail_inject_exit();
	fake_machine_destroy();
}
