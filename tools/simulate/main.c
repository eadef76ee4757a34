/* SPDX-License-Identifier: MIT */
/*
 * The simulator's program; ./quire simulate is its front.
 *
 * usage: quire-simulate [-f FRAMES] [-b BATCH] [-s SEED] [-q QUANTUM] [-F FILL] [-c EVERY] [-T TLB] [-v]
 *        POLICY[,POLICY…] (-p PATTERN | -t FILE), or -l, which lists the policies
 *
 * Writes one line of JSON for each policy. -c checks invariants every so many accesses, -v shows
 * the share done on standard error. Exit: 0, 1 an invariant broke, 2 wrong arguments or input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

const struct policy *const policies[] = {&policy_linux510, &policy_lru,	   &policy_fifo,
					 &policy_clock,	   &policy_random, &policy_duel,
					 &policy_trial,	   &policy_belady, NULL};

struct options {
	struct run run;
	struct turns turns;
	const char *pattern, *file;
};

static int refuse(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	return 2;
}

static void list_policies(void)
{
	for (const struct policy *const *p = policies; *p; p++)
		printf("%s\t%s\n", (*p)->name, (*p)->text);
}

static void show_progress(double share)
{
	fprintf(stderr, "%.3f\n", share);
}

static void print_result(const struct sim *s)
{
	printf("{\"policy\": \"%s\", \"frames\": %u, \"accesses\": %zu, \"pages\": %u, "
	       "\"first\": %llu, \"refaults\": %llu, \"evictions\": %llu, \"looks\": %llu, "
	       "\"processes\": [",
	       s->policy->name, s->frames, s->t->n, s->t->pages, (unsigned long long)s->first,
	       (unsigned long long)s->refaults, (unsigned long long)s->evictions,
	       (unsigned long long)s->looks);
	for (unsigned i = 0; i < s->t->processes; i++) {
		const struct space *sp = &s->spaces[i];

		printf("%s{\"accesses\": %llu, \"first\": %llu, \"refaults\": %llu}", i ? ", " : "",
		       (unsigned long long)sp->accesses, (unsigned long long)sp->first,
		       (unsigned long long)sp->refaults);
	}
	printf("]}\n");
	fflush(stdout);
}

static int run_policy(const struct options *o, const struct trace *t, const char *name)
{
	const struct policy *const *p = policies;
	struct sim s;
	const char *wrong;

	while (*p && strcmp((*p)->name, name))
		p++;
	if (!*p)
		return refuse(name, "no such policy");
	wrong = sim_run(&s, t, *p, &o->run);
	if (!wrong)
		print_result(&s);
	else
		fprintf(stderr, "%s: access %zu: %s\n", name, s.now, wrong);
	sim_free(&s);
	return wrong ? 1 : 0;
}

static bool parse(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "f:b:s:q:F:c:T:vp:t:")) != -1) {
		switch (c) {
		case 'f':
			o->run.frames = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'b':
			o->run.batch = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			o->run.seed = strtoull(optarg, NULL, 10);
			break;
		case 'q':
			o->turns.work = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'F':
			o->turns.fill = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			o->run.check_every = strtoul(optarg, NULL, 10);
			break;
		case 'T':
			o->run.tlb = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'v':
			o->run.progress = show_progress;
			break;
		case 'p':
			o->pattern = optarg;
			break;
		case 't':
			o->file = optarg;
			break;
		default:
			return false;
		}
	}
	if (!o->turns.fill)
		o->turns.fill = o->turns.work;
	return o->run.frames >= 64 && o->run.batch && o->turns.work && !o->pattern != !o->file &&
	       optind + 1 == argc && o->run.batch <= o->run.frames / 2;
}

int main(int argc, char **argv)
{
	struct options o = { .run = { .frames = 16333, .batch = 1, .seed = 1 }, .turns = { .work = 500 } };
	struct trace t;
	const char *wrong;
	int status = 0;

	if (argc == 2 && !strcmp(argv[1], "-l")) {
		list_policies();
		return 0;
	}
	if (!parse(argc, argv, &o))
		return refuse("quire-simulate", "wrong arguments");
	wrong = o.pattern ? pattern_make(&t, o.pattern, o.run.seed, &o.turns)
			  : trace_read(&t, o.file);
	if (wrong) {
		trace_free(&t);
		return refuse(o.pattern ? o.pattern : o.file, wrong);
	}
	for (char *name = strtok(argv[optind], ","); name && status < 2; name = strtok(NULL, ",")) {
		int r = run_policy(&o, &t, name);

		status = r > status ? r : status;
	}
	trace_free(&t);
	return status;
}
