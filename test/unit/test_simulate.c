/* SPDX-License-Identifier: MIT */
/*
 * The simulator's own: Belady against all choices, LRU against a naive model, the invariants of
 * each policy, what the parsers refuse.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/work.h"
#include "sim.h"

const struct policy *const policies[] = {&policy_linux510, &policy_lru,	   &policy_fifo,
					 &policy_clock,	   &policy_random, &policy_duel,
					 &policy_trial,	   &policy_belady, NULL};

#define SMALL 13

static struct trace random_trace(uint64_t seed, unsigned n, uint32_t pages, unsigned spaces)
{
	struct trace t = {0};

	while (t.n < n) {
		uint32_t page = (uint32_t)(work_random(&seed) % pages);

		trace_add(&t, page, page % spaces, ACCESS_TOUCH);
	}
	return t;
}

static const char *run_it(struct sim *s, const struct trace *t, const struct policy *p,
			  uint32_t frames, uint32_t batch, size_t every)
{
	struct run run = {.frames = frames, .batch = batch, .seed = 1, .check_every = every};

	return sim_run(s, t, p, &run);
}

static uint64_t refaults(const struct trace *t, const struct policy *p, uint32_t frames,
			 uint32_t batch, size_t every)
{
	struct sim s;
	const char *wrong = run_it(&s, t, p, frames, batch, every);
	uint64_t n = s.refaults;

	cr_assert_null(wrong, "%s: %s", p->name, wrong);
	sim_free(&s);
	return n;
}

/* The least number of faults from access i on, by trying every victim. */
static unsigned least(const struct trace *t, size_t i, const uint32_t *mem, unsigned n,
		      unsigned frames)
{
	uint32_t next[SMALL];
	unsigned best = UINT32_MAX;

	if (i == t->n)
		return 0;
	for (unsigned k = 0; k < n; k++)
		if (mem[k] == t->a[i].page)
			return least(t, i + 1, mem, n, frames);
	memcpy(next, mem, n * sizeof *mem);
	if (n < frames) {
		next[n] = t->a[i].page;
		return 1 + least(t, i + 1, next, n + 1, frames);
	}
	for (unsigned k = 0; k < n; k++) {
		unsigned faults;

		next[k] = t->a[i].page;
		faults = 1 + least(t, i + 1, next, n, frames);
		next[k] = mem[k];
		best = faults < best ? faults : best;
	}
	return best;
}

Test(simulate, belady_is_the_least)
{
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct trace t = random_trace(seed, SMALL, 6, 1);
		unsigned frames = 2 + seed % 3;
		struct sim s;

		cr_assert_null(run_it(&s, &t, &policy_belady, frames, 1, 1));
		cr_assert_eq(s.first + s.refaults, least(&t, 0, NULL, 0, frames), "seed %d",
			     (int)seed);
		sim_free(&s);
		trace_free(&t);
	}
}

static unsigned naive_lru(const struct trace *t, uint32_t frames)
{
	size_t last[64] = {0};
	bool in[64] = {false};
	unsigned faults = 0, n = 0;

	for (size_t i = 0; i < t->n; i++) {
		uint32_t page = t->a[i].page, victim = 64;

		if (!in[page]) {
			faults++;
			for (uint32_t k = 0; n == frames && k < 64; k++)
				if (in[k] && (victim == 64 || last[k] < last[victim]))
					victim = k;
			if (victim < 64)
				in[victim] = false;
			else
				n++;
			in[page] = true;
		}
		last[page] = i;
	}
	return faults;
}

Test(simulate, lru_is_the_model)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct trace t = random_trace(seed, 2000, 40, 2);
		uint32_t frames = 3 + (uint32_t)(seed % 30);
		struct sim s;

		cr_assert_null(run_it(&s, &t, &policy_lru, frames, 1, 100));
		cr_assert_eq(s.first + s.refaults, naive_lru(&t, frames), "seed %d", (int)seed);
		sim_free(&s);
		trace_free(&t);
	}
}

static const char *const mixes[] = {
	"3*order:256",
	"3*random:256",
	"3*zipfx3:256",
	"3*windowx24:256",
	"3*hotscanx2:256",
	"idle:192:first+zipfx4:192",
	"orderx3/zipfx2:300:exit+randomx2:200:exit+windowx16:100",
	"16*zipfx2:48:exit",
	"orderx4:64:nofill+orderx4:290",
};

Test(simulate, invariants_hold_and_belady_is_below)
{
	for (unsigned m = 0; m < sizeof mixes / sizeof *mixes; m++) {
		struct trace t;
		uint64_t bound;

		cr_assert_null(pattern_make(&t, mixes[m], m, &(struct turns){7, 7}), "%s", mixes[m]);
		bound = refaults(&t, &policy_belady, 256, 1, 1);
		for (const struct policy *const *p = policies; *p; p++) {
			cr_assert_geq(refaults(&t, *p, 256, 1, 1), bound, "%s %s", (*p)->name,
				      mixes[m]);
			refaults(&t, *p, 256, 32, 1);
			refaults(&t, *p, 97, 5, 1);
		}
		trace_free(&t);
	}
}

Test(simulate, all_that_fits_is_never_evicted)
{
	struct trace t;

	cr_assert_null(pattern_make(&t, "2*randomx3:100+zipfx3:48", 1, &(struct turns){10, 10}));
	for (const struct policy *const *p = policies; *p; p++)
		cr_assert_eq(refaults(&t, *p, 248, 1, 1), 0, "%s", (*p)->name);
	trace_free(&t);
}

/* What a kernel cannot know is asked for by LRU and Belady only. */
Test(simulate, others_are_blind)
{
	for (const struct policy *const *p = policies; *p; p++)
		cr_assert_eq((*p)->sees_all, *p == &policy_lru || *p == &policy_belady);
	for (const struct policy *const *p = policies; *p; p++)
		cr_assert(!(*p)->touched || (*p)->sees_all, "%s", (*p)->name);
}

Test(simulate, second_chance)
{
	static const uint32_t pages[] = {0, 1, 2, 3, 1, 4, 1, 2};
	struct trace t = {0};

	for (unsigned i = 0; i < 8; i++)
		trace_add(&t, pages[i], 0, ACCESS_TOUCH);
	/* 3 clears all bits and takes 0's frame; 1 is hit; 4 passes it by and takes 2's; so 1 is
	 * there and 2 is not. FIFO takes 1's frame. */
	cr_assert_eq(refaults(&t, &policy_clock, 3, 1, 1), 1);
	cr_assert_eq(refaults(&t, &policy_fifo, 3, 1, 1), 2);
	trace_free(&t);
}

/* A translation that stays in the TLB hides that its page is used; another space's turn drops it.
 */
Test(simulate, tlb_hides_use)
{
	static const struct access row[] = {
		{0, 0, 0}, {1, 0, 0}, {2, 0, 0}, {3, 0, 0}, {1, 0, 0}, {4, 0, 0}, {1, 0, 0},
	};
	struct run run = {.frames = 3, .batch = 1, .tlb = 8, .check_every = 1};
	struct trace t = {0};
	struct sim s;

	for (unsigned i = 0; i < sizeof row / sizeof *row; i++)
		trace_add(&t, row[i].page, row[i].space, ACCESS_TOUCH);
	/* 3 clears all bits; the hit of 1 goes by the TLB; so 4 takes 1's frame. */
	cr_assert_null(sim_run(&s, &t, &policy_clock, &run));
	cr_assert_eq(s.refaults, 1);
	sim_free(&s);
	t.n = 4;
	trace_add(&t, 3, 1, ACCESS_TOUCH);
	for (unsigned i = 4; i < 7; i++)
		trace_add(&t, row[i].page, row[i].space, ACCESS_TOUCH);
	cr_assert_null(sim_run(&s, &t, &policy_clock, &run));
	cr_assert_eq(s.refaults, 0);
	sim_free(&s);
	trace_free(&t);
}

/* A page that comes back within the distance starts active: else a window that fills memory loses
 * page after page, 17,000 in all. */
Test(simulate, linux_activates_what_comes_back_soon)
{
	struct trace t;

	cr_assert_null(pattern_make(&t, "windowx64:2048", 1, &(struct turns){500, 500}));
	cr_assert_lt(refaults(&t, &policy_linux510, 512, 1, 0), 9000);
	trace_free(&t);
}

Test(simulate, trial_keeps_a_part_of_a_loop)
{
	struct trace t;
	uint64_t all = 9 * 1152, n;

	cr_assert_null(pattern_make(&t, "orderx9:1152", 1, &(struct turns){500, 500}));
	cr_assert_eq(refaults(&t, &policy_lru, 1024, 1, 0), all);
	cr_assert_eq(refaults(&t, &policy_linux510, 1024, 1, 0), all);
	n = refaults(&t, &policy_trial, 1024, 1, 0);
	cr_assert_lt(n, all / 5, "%d", (int)n);
	trace_free(&t);
}

/* What each part of the policy is for: without it the figure is beyond the bound. */
Test(simulate, trial_keeps_and_renews)
{
	static const struct {
		const char *pattern;
		unsigned below;
	} rows[] = {
		{"3*order:512", 1100},		   /* bits cleared half-way: 1536 */
		{"3*zipf:512", 270},		   /* the same: 537 */
		{"orderx6:600", 700},		   /* the stamp in the shadow: 942 */
		{"3*windowx32:512", 960},	   /* sweep: 1107; length adapted: 1053 */
		{"idle:384:first+zipfx4:384", 20}, /* entitlement: 45 */
	};

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct trace t;

		cr_assert_null(pattern_make(&t, rows[i].pattern, 1, &(struct turns){50, 50}));
		cr_assert_lt(refaults(&t, &policy_trial, 512, 1, 0), rows[i].below, "%s",
			     rows[i].pattern);
		trace_free(&t);
	}
}

/* One that sleeps gives way to one that fills memory and works. */
Test(simulate, trial_evicts_who_sleeps)
{
	struct trace t;

	cr_assert_null(pattern_make(&t, "idle:768:first+orderx9:768", 1, &(struct turns){500, 500}));
	cr_assert_lt(refaults(&t, &policy_trial, 1024, 1, 0), 768 / 10);
	trace_free(&t);
}

Test(simulate, an_end_frees_the_pages)
{
	struct trace t = {0};
	struct sim s;

	for (uint32_t i = 0; i < 100; i++)
		trace_add(&t, i, 0, ACCESS_TOUCH);
	trace_add(&t, 3, 0, ACCESS_DROP);
	trace_add(&t, 3, 0, ACCESS_TOUCH);
	trace_add(&t, 0, 0, ACCESS_EXIT);
	for (uint32_t i = 100; i < 150; i++)
		trace_add(&t, i, 1, ACCESS_TOUCH);
	for (const struct policy *const *p = policies; *p; p++) {
		cr_assert_null(run_it(&s, &t, *p, 128, 1, 1));
		cr_assert_eq(s.free, 78);
		cr_assert_eq(s.first, 151);
		cr_assert_eq(s.evictions, 0);
		sim_free(&s);
	}
	trace_free(&t);
}

Test(simulate, what_patterns_are_refused)
{
	static const char *const bad[] = {
		"",	      "order",		"order:47",	"order:x",	"3*:64",
		"3order:64",  "orderx:64",	"orderx0:64",	"zorder:64",	"order:64:never",
		"order:64+",  "order/:64",	"2000*idle:64", "order:64junk", "order:99999999",
		"orderx2x:9", "order:64:exit:", "-1*order:64",
	};
	struct trace t;

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_not_null(pattern_make(&t, bad[i], 1, &(struct turns){10, 10}), "%s", bad[i]);
		trace_free(&t);
	}
}

static const char *read_text(const char *text, struct trace *t)
{
	char path[] = "/tmp/quire-touches-XXXXXX";
	int fd = mkstemp(path);
	const char *wrong;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	wrong = trace_read(t, path);
	unlink(path);
	return wrong;
}

Test(simulate, traces_are_read)
{
	struct trace t;

	cr_assert_null(
		read_text("quire-touches 1\na 0 0\nf 1 1\na 1 2\nd 1 2\ns 0 0\nx 1 0\n", &t));
	cr_assert_eq(t.n, 6);
	cr_assert_eq(t.pages, 3);
	cr_assert_eq(t.processes, 2);
	cr_assert_eq(t.spaces, 3);
	cr_assert(t.file[1] && !t.file[2]);
	for (const struct policy *const *p = policies; *p; p++)
		refaults(&t, *p, 64, 1, 1);
	trace_free(&t);
}

Test(simulate, what_traces_are_refused)
{
	static const char *const bad[] = {
		"",
		"quire-touches 2\na 0 0\n",
		"quire-touches 1\n",
		"quire-touches 1\na 0\n",
		"quire-touches 1\nq 0 0\n",
		"quire-touches 1\na 5000 0\n",
		"quire-touches 1\na 0 4000000000\n",
	};
	struct trace t;

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_not_null(read_text(bad[i], &t), "%u", i);
		trace_free(&t);
	}
	cr_assert_not_null(trace_read(&t, "/nonexistent/touches"));
	trace_free(&t);
}
