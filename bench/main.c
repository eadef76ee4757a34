/* SPDX-License-Identifier: MIT */
/*
 * The benchmarks of the host: rows by name, one line of JSON for each figure. ./quire bench builds
 * and runs this program and shows the lines as a table.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arch/host/host.h"
#include "bench/bench.h"
#include <quire/quire.h>

#define ROUNDS	     21
#define QUICK_DIVIDE 50
/* jemalloc wants more thread-local storage than a program that did not expect it sets aside. */
#define TUNABLES "GLIBC_TUNABLES"
#define STATIC_TLS "glibc.rtld.optional_static_tls=16384"

/* A file that is not linked in leaves its table out. */
#define TABLE __attribute__((weak))
extern const struct bench_row h_pages_rows[] TABLE, h_slab_rows[] TABLE, h_vma_rows[] TABLE;
static const struct bench_row *const tables[] = {h_pages_rows, h_slab_rows, h_vma_rows};

unsigned bench_rounds = ROUNDS, bench_quick = 1;
static FILE *out; /* the lines of JSON; the machine's own log goes to standard error */

_Noreturn void bench_die(const char *why, ...)
{
	va_list args;

	va_start(args, why);
	fprintf(stderr, "bench: ");
	vfprintf(stderr, why, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(2);
}

/* ---- measuring -------------------------------------------------------------------------------- */

double bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static uint64_t rnd_state = 88172645463325252ull;

void bench_seed(uint64_t seed)
{
	rnd_state = seed * 0x9e3779b97f4a7c15ull | 1;
}

uint64_t bench_rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

uint32_t *bench_permutation(uint32_t n)
{
	uint32_t *p = malloc(n * sizeof(*p));

	if (!p)
		bench_die("no memory");
	for (uint32_t i = 0; i < n; i++)
		p[i] = i;
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = bench_rnd() % i, t = p[i - 1];

		p[i - 1] = p[j];
		p[j] = t;
	}
	return p;
}

struct team {
	void (*fn)(void *ctx, unsigned i);
	void *ctx;
	pthread_barrier_t ready;
	double end[64];
	unsigned next;
};

static void *member(void *arg)
{
	struct team *t = arg;
	unsigned i = __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED);

	host_cpu_enter(i);
	pthread_barrier_wait(&t->ready);
	t->fn(t->ctx, i);
	t->end[i] = bench_now();
	return NULL;
}

double bench_threads(unsigned n, void (*fn)(void *ctx, unsigned i), void *ctx)
{
	struct team t = {.fn = fn, .ctx = ctx};
	pthread_t id[64];
	double start, last = 0;

	pthread_barrier_init(&t.ready, NULL, n + 1);
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&id[i], NULL, member, &t))
			bench_die("no thread");
	pthread_barrier_wait(&t.ready);
	start = bench_now();
	for (unsigned i = 0; i < n; i++) {
		pthread_join(id[i], NULL);
		last = t.end[i] > last ? t.end[i] : last;
	}
	pthread_barrier_destroy(&t.ready);
	return last - start;
}

void bench_up(uint64_t ram, unsigned cpus)
{
	if (host_machine_create(ram, cpus))
		bench_die("the host has no memory for the machine");
	if (quire_init(NULL))
		bench_die("the core did not start");
}

void bench_down(void)
{
	quire_exit();
	host_machine_destroy();
}

/* ---- comparing -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct figures {
	double *v; /* [round] */
	double min, median;
};

static void summarise(struct figures *f)
{
	qsort(f->v, bench_rounds, sizeof(*f->v), by_value);
	f->min = f->v[0];
	f->median = f->v[bench_rounds / 2];
	free(f->v);
}

static void print_line(const char *row, const char *workload, const char *unit,
		       const struct contestant *c, unsigned n, struct figures *f, unsigned stride)
{
	const char *comma = "";
	unsigned best = 0;

	for (unsigned i = 1; i < n; i++)
		if (c[i].round && (!best || f[i * stride].min < f[best * stride].min))
			best = i;
	fprintf(out, "{\"row\": \"%s\", \"workload\": \"%s\", \"machine\": \"host\", \"unit\": \"%s\", "
	       "\"ours\": %.2f, \"ours_median\": %.2f, ",
	       row, workload, unit, f[0].min, f[0].median);
	if (best)
		fprintf(out, "\"peer\": %.2f, \"peer_median\": %.2f, \"peer_name\": \"%s\", "
		       "\"ratio\": %.3f, ",
		       f[best * stride].min, f[best * stride].median, c[best].name,
		       f[best * stride].min / f[0].min);
	else
		fprintf(out, "\"peer\": null, \"peer_name\": \"no peer\", \"ratio\": null, ");
	fprintf(out, "\"peers\": {");
	for (unsigned i = 1; i < n; i++) {
		if (c[i].round)
			fprintf(out, "%s\"%s\": %.2f", comma, c[i].name, f[i * stride].min);
		else
			fprintf(out, "%s\"%s\": null", comma, c[i].name);
		comma = ", ";
	}
	fprintf(out, "}}\n");
	fflush(out);
}

void bench_compare(const char *row, const char *unit, const char *const *workloads,
		   unsigned nfigures, const struct contestant *c, unsigned n)
{
	struct figures f[BENCH_MAX_CONTESTANTS][BENCH_MAX_FIGURES] = {0};
	double now[BENCH_MAX_FIGURES];

	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < nfigures; j++)
			f[i][j].v = calloc(bench_rounds, sizeof(double));
	for (unsigned r = 0; r < bench_rounds; r++)
		for (unsigned i = 0; i < n; i++) {
			if (!c[i].round)
				continue;
			c[i].round(c[i].ctx, now);
			for (unsigned j = 0; j < nfigures; j++)
				f[i][j].v[r] = now[j];
		}
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < nfigures; j++)
			summarise(&f[i][j]);
	for (unsigned j = 0; j < nfigures; j++)
		print_line(row, workloads[j], unit, c, n, &f[0][j], BENCH_MAX_FIGURES);
}

/* ---- rows ------------------------------------------------------------------------------------- */

static const struct bench_row *find_row(const char *name)
{
	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct bench_row *r = tables[t]; r && r->name; r++)
			if (!strcmp(r->name, name))
				return r;
	return NULL;
}

static void list_rows(void)
{
	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct bench_row *r = tables[t]; r && r->name; r++)
			printf("%s %s\n", r->name, r->what);
}

static void run_all(void)
{
	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct bench_row *r = tables[t]; r && r->name; r++)
			r->run();
}

/* Starts this program again with room for peers' thread-local storage. */
static void reserve_tls(char **argv)
{
	if (getenv(TUNABLES))
		return;
	setenv(TUNABLES, STATIC_TLS, 1);
	execv("/proc/self/exe", argv);
}

static const char usage[] =
	"usage: bench [--list] [--quick] [--rounds N] [--peer-lib NAME=FILE.so]... [ROW...]";
static bool only_list;

/* Takes the options in; returns the number of the first word that is none. */
static int take_options(int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--list")) {
			only_list = true;
		} else if (!strcmp(argv[i], "--quick")) {
			bench_quick = QUICK_DIVIDE;
			bench_rounds = 2;
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc && atoi(argv[i + 1]) > 0) {
			bench_rounds = atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--peer-lib") && i + 1 < argc) {
			bench_add_peer_lib(argv[++i]);
		} else {
			bench_die(usage);
		}
	}
	return i;
}

int main(int argc, char **argv)
{
	int i;

	reserve_tls(argv);
	i = take_options(argc, argv);
	if (only_list) {
		list_rows();
		return 0;
	}
	for (int k = i; k < argc; k++)
		if (!find_row(argv[k]))
			bench_die("no such row; --list names them");
	out = fdopen(dup(STDOUT_FILENO), "w");
	if (!out || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		bench_die("no output");
	bench_find_peers();
	for (; i < argc; i++) {
		find_row(argv[i])->run();
		if (i == argc - 1)
			return 0;
	}
	run_all();
	return 0;
}
