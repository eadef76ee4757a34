/* SPDX-License-Identifier: MIT */
/*
 * preempt [OPTION]... FIRST[-LAST] OPERATIONS, and cpus the same
 *
 * Random operations of several tasks at once, machine by machine: one for each seed, each in a host
 * process of its own, so that a broken one, or one that hangs, ends alone. A seed with its options
 * is one run, always the same.
 *
 *   --every N   mean of points between interrupts (fake.h), 0: only the clock's; by the seed
 *   --at K      one interrupt at exactly the K-th point
 *   --tasks N   processes of each round, instead of by the seed
 *   --cpus N    instead of by the seed; of preempt there is one
 *   --without X,Y ...  operations of these names are not done
 *   --races     two accesses that nothing orders are failures, too
 *   --limit N   seconds for one seed. 120
 *   --done FILE seeds that FILE names are passed over, those that pass are added to it
 *   --log       the kernel's own lines as they come
 *   --go-on     after a seed that failed, too
 *
 * exit 0: all seeds passed, 1: the first that did not is told, 2: unusable
 */
#define _GNU_SOURCE
#include <execinfo.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/lockdep.h"
#include "test/preempt/run.h"

#pragma weak fake_unwatched /* with the instrumented core only */

#define BY_SEED UINT32_MAX

struct progress *progress;

static struct plan plan;
static unsigned every = BY_SEED;
static unsigned limit = 120;
static bool log_on, go_on;
static const char *done_file;

/* ---- what went wrong ------------------------------------------------------------------------- */

static char kept[4096]; /* the kernel's last words */
static size_t nkept;

static void keep_log(const char *s, size_t n)
{
	if (log_on)
		fwrite(s, 1, n, stderr);
	for (; n; n--)
		kept[nkept++ % sizeof(kept)] = *s++;
}

/* Where the host stands, by binutils; frames of libraries are left as they are. */
static void tell_stack(void)
{
	void *pc[40];
	char command[1024], line[512];
	int n = backtrace(pc, 40), len;
	FILE *f;

	len = snprintf(command, sizeof(command), "addr2line -fipse /proc/%d/exe", (int)getpid());
	for (int i = 1; i < n; i++)
		len += snprintf(command + len, sizeof(command) - len, " %#lx", (long)pc[i] - 1);
	f = popen(command, "r");
	while (f && fgets(line, sizeof(line), f))
		if (line[0] != '?')
			fprintf(stderr, "    %s", line);
	if (f)
		pclose(f);
}

static _Noreturn void end_run(void)
{
	size_t first = nkept > sizeof(kept) ? nkept - sizeof(kept) : 0;

	progress->points = fake_points();
	for (size_t i = log_on ? nkept : first; i < nkept; i++)
		fputc(kept[i % sizeof(kept)], stderr);
	tell_stack();
	fflush(stderr);
	_exit(1);
}

static void note(const char *why)
{
	if (!progress->why[0])
		snprintf(progress->why, sizeof(progress->why), "%s", why);
}

void fail(const char *why, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	fprintf(stderr, "%s: %s\n", program_name, text);
	note(text);
	end_run();
}

static void on_crash(int sig)
{
	char text[40];

	signal(sig, SIG_DFL);
	snprintf(text, sizeof(text), "host signal %d", sig);
	note(text);
	end_run();
}

/* Races are gathered, for they are told by the seed as well as by the place; the rest is fatal. */
static void accused(enum fake_accusation what, const char *msg, void *ctx)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: %s", fake_accusation_name(what), msg);
	note(text);
	progress->races++;
	if (what != FAKE_RACE) {
		fprintf(stderr, "%s: %s\n", program_name, text);
		end_run();
	}
}

/* The core's and the kernel's panics come here first. */
_Noreturn void __real_os_panic(const char *why);
_Noreturn void __wrap_os_panic(const char *why);
void __wrap_os_panic(const char *why)
{
	fail("panic: %s", why);
}

/* ---- one machine ----------------------------------------------------------------------------- */

/* What kind of machine it is hangs on the seed, too. */
static struct fake_config machine_of(const struct plan *p)
{
	uint64_t bits = p->seed * 0x9e3779b97f4a7c15ull >> 40;
	struct fake_config c = {
		.ram = 32u << 20,
		.seed = p->seed,
		.preempt_every = p->every,
		.preempt_at = p->at,
		.with_asids = bits & 1,
		.software_ad = (bits & 6) == 6,
		.caches_invalid = bits & 8,
		.needs_bbm = bits & 16,
		.watch_races = p->races,
		.tlb_entries = bits & 32 ? 16 : 0,
		.spurious_every = bits & 64 ? 50 : 0,
		.kernel_tables = bits & 128,
		.log = keep_log,
	};

	program_machine(&c, p);
	return c;
}

static _Noreturn void run_machine(const struct plan *p)
{
	struct fake_config c = machine_of(p);
	int status;

	signal(SIGSEGV, on_crash);
	signal(SIGBUS, on_crash);
	signal(SIGABRT, on_crash);
	fake_on_accusation(accused, NULL);
	if (fake_machine_create(&c))
		_exit(2);
	if (&fake_unwatched)
		fake_unwatched(lockdep_cpus, sizeof(lockdep_cpus));
	status = program_run(p);
	progress->points = fake_points();
	progress->switches = fake_counters()->timer_irqs + fake_counters()->turns;
	if (status)
		fail("the machine ended with status %d", status);
	if (progress->races)
		_exit(1);
	fake_machine_destroy();
	_exit(0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* true: passed. */
static bool run_seed(const struct plan *p)
{
	double end = now() + limit;
	int status = 0;
	pid_t pid;

	memset(progress, 0, sizeof(*progress));
	progress->last = -1;
	fflush(NULL);
	pid = fork();
	if (!pid)
		run_machine(p);
	while (pid > 0 && !waitpid(pid, &status, WNOHANG)) {
		usleep(1000);
		if (now() < end)
			continue;
		note("it hangs");
		kill(pid, SIGKILL);
		end = 1e300;
	}
	if (pid < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 2)) {
		fprintf(stderr, "%s: no machine\n", program_name);
		exit(2);
	}
	if (!status)
		return true;
	if (!progress->why[0])
		snprintf(progress->why, sizeof(progress->why), "host status %#x", status);
	return false;
}

/* ---- operations ------------------------------------------------------------------------------ */

static bool listed(const char *name, const char *list)
{
	const char *s = list;
	size_t n = strlen(name);

	for (; s && (s = strstr(s, name)); s += n)
		if ((s == list || s[-1] == ',') && (!s[n] || s[n] == ','))
			return true;
	return false;
}

unsigned choose_operation(const struct operation *ops, unsigned n, const struct plan *p, uint64_t *rng)
{
	unsigned sum = 0, pick, op;

	if (p->only) {
		do
			op = (rnd_of(rng) >> 11) % n;
		while (!listed(ops[op].name, p->only));
		return op;
	}
	for (unsigned i = 0; i < n; i++)
		sum += ops[i].weight;
	do {
		pick = (rnd_of(rng) >> 11) % sum;
		for (op = 0; pick >= ops[op].weight; op++)
			pick -= ops[op].weight;
	} while (listed(ops[op].name, p->without));
	return op;
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static bool seed_done(uint64_t seed)
{
	FILE *f = done_file ? fopen(done_file, "r") : NULL;
	unsigned long long s, ops;
	bool found = false;

	while (f && !found && fscanf(f, "%llu %llu\n", &s, &ops) == 2)
		found = s == seed && ops == plan.operations;
	if (f)
		fclose(f);
	return found;
}

static void mark_done(uint64_t seed)
{
	FILE *f = done_file ? fopen(done_file, "a") : NULL;

	if (!f)
		return;
	fprintf(f, "%llu %llu\n", (unsigned long long)seed, (unsigned long long)plan.operations);
	fclose(f);
}

static void tell_failure(void)
{
	printf("# seed %llu, operation %llu (%s), round %llu, point %llu: %s\n"
	       "# again: %s --every %u%s%s%s%s%s %llu %llu\n",
	       (unsigned long long)plan.seed, (unsigned long long)progress->operations,
	       operation_name(progress->last), (unsigned long long)progress->rounds,
	       (unsigned long long)progress->points, progress->why, program_name, plan.every,
	       plan.tasks ? " --tasks N" : "", plan.cpus ? " --cpus N" : "", plan.only ? " --only '" : "",
	       plan.only ? plan.only : "", plan.only ? "'" : "", (unsigned long long)plan.seed,
	       (unsigned long long)plan.operations);
	fflush(stdout);
}

static int run_all(uint64_t first, uint64_t last)
{
	uint64_t ran = 0, failed = 0, points = 0, switches = 0, operations = 0;

	for (plan.seed = first; plan.seed <= last; plan.seed++) {
		if (seed_done(plan.seed))
			continue;
		ran++;
		plan.every = every == BY_SEED ? program_rates[plan.seed % 5] : every;
		if (run_seed(&plan)) {
			mark_done(plan.seed);
		} else {
			failed++;
			tell_failure();
			if (!go_on)
				break;
		}
		points += progress->points;
		switches += progress->switches;
		operations += progress->operations;
	}
	printf("1..1\n%sok 1 - %llu of seeds %llu-%llu, %llu operations, %llu points, "
	       "%llu interrupts or turns%s\n", failed ? "not " : "", (unsigned long long)ran, (unsigned long long)first,
	       (unsigned long long)last, (unsigned long long)operations,
	       (unsigned long long)points, (unsigned long long)switches, failed ? ": failed" : "");
	return failed != 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: %s [--every N] [--at K] [--tasks N] [--cpus N] [--without NAME,...] [--only NAME,...]\n"
			"               [--races] [--limit N] [--done FILE] [--log] [--go-on] "
			"FIRST[-LAST] OPERATIONS\n", program_name);
	return 2;
}

/* So that addresses, and what is sorted or hashed by them, are the same in every run. */
static void fix_addresses(char **argv)
{
	int was = personality(0xffffffff);

	if (was >= 0 && !(was & ADDR_NO_RANDOMIZE) && personality(was | ADDR_NO_RANDOMIZE) >= 0)
		execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	unsigned long long first, last;
	int i;

	fix_addresses(argv);
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--log"))
			log_on = true;
		else if (!strcmp(argv[i], "--races"))
			plan.races = true;
		else if (!strcmp(argv[i], "--go-on"))
			go_on = true;
		else if (i + 1 == argc)
			return usage();
		else if (!strcmp(argv[i], "--every"))
			every = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--at"))
			plan.at = strtoull(argv[++i], NULL, 0), every = 0;
		else if (!strcmp(argv[i], "--tasks"))
			plan.tasks = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--cpus"))
			plan.cpus = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--without"))
			plan.without = argv[++i];
		else if (!strcmp(argv[i], "--only"))
			plan.only = argv[++i];
		else if (!strcmp(argv[i], "--limit"))
			limit = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--done"))
			done_file = argv[++i];
		else
			return usage();
	}
	if (argc - i != 2)
		return usage();
	switch (sscanf(argv[i], "%llu-%llu", &first, &last)) {
	case 1:
		last = first;
		break;
	case 2:
		break;
	default:
		return usage();
	}
	plan.operations = strtoull(argv[i + 1], NULL, 0);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (progress == MAP_FAILED || !plan.operations)
		return usage();
	return run_all(first, last);
}
