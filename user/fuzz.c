/* SPDX-License-Identifier: MIT */
/*
 * fuzz [--ops N] [--keep MASK] [--verbose] [--neutral] [--answers | --hog]
 *      --seeds FIRST:END | --cases FILE
 *
 * Carries out the random scenarios of the seeds [FIRST, END), each in processes of its own, and
 * prints for each `D SEED DIGEST`, or `F SEED STATUS` if it did not come to its end. --verbose
 * prints everything that was seen. --neutral leaves out the seeds that mean something on x86-64
 * only. --answers leaves faults, residency and frames out of the digest, and prints as well
 * `E SEED PAGES`, how many pages of the scenario were found in swap that had been in memory; --hog does
 * so while another process holds free memory at the low mark (fuzz_hog.c). FILE: lines `SEED MASK`, the operations to keep; each is answered under its line's number.
 * Exit status: 0, 1 if any did not come to its end, 2 could not run.
 */
#include "fuzz.h"

struct options {
	unsigned ops;
	uint64_t first, end, keep;
	bool verbose, neutral, answers, hog;
	const char *cases;
};

/* a, n; behind them b, m, unless b is empty. */
static void say(struct u *u, const char *a, uint64_t n, const char *b, uint64_t m)
{
	char buf[256];
	struct text t = TEXT(buf);

	text_str(&t, a);
	text_udec(&t, n);
	text_str(&t, b);
	if (*b)
		text_udec(&t, m);
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
}

/* 0, or 1 if it did not come to its end. */
static int one(struct u *u, struct fz *f, const struct options *o, uint64_t seed, uint64_t keep,
	       uint64_t name)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	int32_t status = -1;
	long pid, got;

	if (o->hog && !f->hog && fz_hog_start(u, f))
		return 1;
	fz_generate(f, seed, o->ops, keep);
	f->seed = name;
	f->b = (struct fz_baton){ .reap = FZ_NOBODY };
	f->verbose = o->verbose;
	f->answers = o->answers || o->hog;
	__builtin_memset(f->there, 0, sizeof(f->there));
	if (o->verbose)
		say(u, "S ", name, " seed ", seed);
	pid = u_fork(u, 0, fz_first_task, f, sizeof(*f));
	if (pid < 0)
		return 1;
	/* Whoever else turns up lost its parent; but the hog was killed, for want of memory. */
	do {
		got = u_syscall(u, NR_wait4, -1, (long)sc, 0, 0, 0, 0);
		if (got > 0 && got == f->hog) {
			f->hog = 0;
			f->hogs_killed++;
		}
	} while (got != pid && (got > 0 || got == -U_EINTR));
	if (got == pid)
		u_peek(u, &status, sc, sizeof(status));
	if (!status)
		return 0;
	say(u, "F ", name, " ", (uint64_t)(uint32_t)status);
	fz_pipes(u, f);
	return 1;
}

/* On the stack, for the state is copied at every fork. */
static int from_file(struct u *u, struct fz *f, const struct options *o)
{
	char buf[16384];
	long n = u_read_file(u, o->cases, buf, sizeof(buf) - 1);
	const char *p = buf;
	int worst = 0;
	uint64_t line = 0;

	if (n < 0) {
		say(u, "the cases cannot be read: error ", (uint64_t)-n, "", 0);
		return 2;
	}
	buf[n] = 0;
	while (*p) {
		uint64_t seed = str_num(&p, 10), keep;
		int r;

		while (*p == ' ')
			p++;
		keep = str_num(&p, 16);
		r = one(u, f, o, seed, keep, line++);
		worst = r > worst ? r : worst;
		while (*p && *p != '\n')
			p++;
		while (*p == '\n')
			p++;
	}
	return worst;
}

static int from_seeds(struct u *u, struct fz *f, const struct options *o)
{
	int worst = 0;

	for (uint64_t seed = o->first; seed < o->end; seed++) {
		int r = o->neutral && fz_of_x86(seed) ? 0 : one(u, f, o, seed, o->keep, seed);

		worst = r > worst ? r : worst;
	}
	return worst;
}

static bool parse(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		const char *v = i + 1 < argc ? argv[i + 1] : NULL;

		if (str_eq(argv[i], "--verbose")) {
			o->verbose = true;
		} else if (str_eq(argv[i], "--neutral")) {
			o->neutral = true;
		} else if (str_eq(argv[i], "--answers")) {
			o->answers = true;
		} else if (str_eq(argv[i], "--hog")) {
			o->hog = true;
		} else if (!v) {
			return false;
		} else if (str_eq(argv[i], "--ops")) {
			o->ops = (unsigned)str_num(&v, 10);
			i++;
		} else if (str_eq(argv[i], "--keep")) {
			o->keep = str_num(&v, 16);
			i++;
		} else if (str_eq(argv[i], "--cases")) {
			o->cases = v;
			i++;
		} else if (str_eq(argv[i], "--seeds")) {
			o->first = str_num(&v, 10);
			o->end = *v == ':' ? (v++, str_num(&v, 10)) : o->first + 1;
			i++;
		} else {
			return false;
		}
	}
	return o->ops > 0 && o->ops <= FZ_MAX_OPS && (o->cases || o->end > o->first);
}

static int fuzz_main(struct u *u, void *state, int argc, char **argv)
{
	struct options o = { .ops = 40, .keep = ~0ull };
	struct fz *f = state;
	int worst;
	long err;

	if (!parse(argc, argv, &o)) {
		static const char usage[] = "usage: fuzz [--ops N] [--keep MASK] [--verbose] "
					    "[--neutral] [--answers | --hog] --seeds FIRST:END | "
					    "--cases FILE\n";

		u_write(u, usage, sizeof(usage) - 1);
		return 2;
	}
	err = fz_setup(u, f);
	if (err < 0) {
		say(u, "cannot be set up: error ", (uint64_t)-err, "", 0);
		return 2;
	}
	worst = o.cases ? from_file(u, f, &o) : from_seeds(u, f, &o);
	if (o.hog) {
		fz_hog_end(u, f);
		say(u, "H ", f->hogs_killed, " ", (uint64_t)fz_swapped_out(u));
	}
	return worst;
}

const struct u_program fuzz_program = { fuzz_main, sizeof(struct fz), 0x200000000 };
