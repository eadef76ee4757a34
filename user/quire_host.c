/* SPDX-License-Identifier: MIT */
/*
 * quire-host-ENCODING [--trace FILE] [--mem SIZE] [--full] [--seed N] [--accident [diskN:]NAME=N]...
 *                     [--look LINE:COMMAND]... [--disk FILE[,ro]]... [--word WORD]... SCENARIO... | TABLE
 * quire-host-ENCODING --monitor [--mem SIZE] [--disk FILE[,ro]]... [--word WORD]...
 *
 * The machine `host`: the kernel and the core over the machine in software, with the scenario
 * runner or the replayer as the first program. Scenarios and replay tables are told apart by how
 * the file begins. Exit status: the program's; 2 as well if the machine could not be made.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/fake/fake_disk.h"
#include "quire/trace.h"
#include "user/replay_run.h"
#include "user/run.h"
#include "user/u_fake.h"

#define RING_SIZE (8ul << 20)

struct options {
	const char *trace;
	bool full, monitor;
	int first; /* index of the first file */
};

/* ---- the trace ------------------------------------------------------------------------------ */

struct drain {
	FILE *file;
	pthread_t thread;
	bool stop;
};

static uint64_t take_records(FILE *out, struct quire_trace_ring *ring, uint64_t capacity)
{
	const struct quire_trace_record *records = (const void *)((const char *)ring + 4096);
	uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), tail = ring->tail;

	for (uint64_t i = tail; i < head; i++)
		fwrite(&records[i % capacity], sizeof(*records), 1, out);
	__atomic_store_n(&ring->tail, head, __ATOMIC_RELEASE);
	return head - tail;
}

/* Follows the ring beside the machine, which waits when it is full. A dump of the live tables
 * waits for its reader, too; here nobody has a second opinion on them. */
static void *drain_ring(void *arg)
{
	struct drain *d = arg;
	struct quire_trace_ring *ring = NULL;
	bool stop;

	do {
		size_t size;

		stop = __atomic_load_n(&d->stop, __ATOMIC_ACQUIRE);
		if (!ring)
			ring = fake_trace_ring(&size);
		if (ring && __atomic_load_n(&ring->magic, __ATOMIC_ACQUIRE) == QUIRE_TRACE_MAGIC) {
			ring->reader = 1;
			if (take_records(d->file, ring, ring->capacity))
				continue;
			__atomic_store_n(&ring->dump_wait, 0, __ATOMIC_RELEASE);
		}
		usleep(200);
	} while (!stop);
	return NULL;
}

static bool drain_start(struct drain *d, const char *path)
{
	char head[sizeof(struct quire_trace_record)] = "quire-trace 1\n";

	d->file = fopen(path, "wb");
	if (!d->file || fwrite(head, sizeof(head), 1, d->file) != 1)
		return false;
	return !pthread_create(&d->thread, NULL, drain_ring, d);
}

static bool drain_end(struct drain *d)
{
	__atomic_store_n(&d->stop, true, __ATOMIC_RELEASE);
	pthread_join(d->thread, NULL);
	return !fclose(d->file);
}

/* ---- replay from a file --------------------------------------------------------------------- */

static const struct rp_header *table;
static bool full;

static void *read_table(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *buf = NULL;
	size_t room = 0;

	*n = 0;
	while (f && !feof(f) && !ferror(f)) {
		if (*n == room) {
			char *more = realloc(buf, room = room * 2 + 65536);

			if (!more)
				break;
			buf = more;
		}
		*n += fread(buf + *n, 1, room - *n, f);
	}
	if (f)
		fclose(f);
	return buf;
}

static void first_image(struct u *u, void *state)
{
	rp_start(u, state, "quire: begin replay");
}

/* Pipes and files, then the first image, as an exec: so that it has its break. */
static int replay_main(struct u *u, void *state, int argc, char **argv)
{
	const struct rp_exec *x = (const void *)((const char *)table + table->execs_off);
	struct rp *r = state;
	struct text dir = TEXT(r->data_dir);
	const char *none[] = { NULL };
	long ret;

	r->h = table;
	r->turn.at = table->steps_off;
	r->mine = true;
	r->full = full;
	text_str(&dir, "/tmp");
	ret = rp_prepare(u, r);
	if (ret >= 0)
		ret = u_exec(u, "/replay", none, x[0].heap, first_image, r, sizeof(*r));
	printf("replay: the files or pipes cannot be made: %ld\n", ret);
	return 2;
}

static const struct u_program replay_program = { replay_main, sizeof(struct rp), RP_BLOCK };

/* ---- options -------------------------------------------------------------------------------- */

static int usage(const char *self)
{
	fprintf(stderr, "usage: %s [--trace FILE] [--mem SIZE] [--full] [--seed N] "
			"[--accident [diskN:]NAME=N]... "
			"[--look LINE:COMMAND]... [--disk FILE[,ro]]... [--word WORD]... "
			"SCENARIO... | TABLE\n"
			"       %s --monitor [--mem SIZE] [--disk FILE[,ro]]... [--word WORD]...\n",
		self, self);
	return 2;
}

static uint64_t size_of(const char *s)
{
	char *end;
	double v = strtod(s, &end);

	switch (*end) {
	case 'k': case 'K':
		return (uint64_t)(v * 1024);
	case 'g': case 'G':
		return (uint64_t)(v * (1 << 30));
	default:
		return (uint64_t)(v * (1 << 20));
	}
}

static unsigned ndisks;

/* Of the machine in software: NAME=NUMBER; of its n-th disk: diskN:NAME=NUMBER. */
static bool order_accident(const char *text)
{
	const char *eq = strchr(text, '=');
	uint64_t value = eq ? strtoull(eq + 1, NULL, 0) : 1;
	char name[64] = "";
	unsigned disk;
	int at = 0;

	snprintf(name, sizeof(name), "%.*s", (int)(eq ? eq - text : 63), text);
	if (sscanf(name, "disk%u:%n", &disk, &at) == 1 && at)
		return disk < ndisks && fake_disk_accident(disk, name + at, value);
	return fake_accident(name, value);
}

static char cmdline[512] = "norandmaps";

/* Of the kernel's command line. */
static void add_word(const char *word)
{
	size_t n = strlen(cmdline);

	snprintf(cmdline + n, sizeof(cmdline) - n, " %s", word);
}

static bool parse(int argc, char **argv, struct options *o, struct fake_config *c)
{
	int i;

	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--full")) {
			o->full = true;
			continue;
		}
		if (!strcmp(argv[i], "--monitor")) {
			o->monitor = true;
			add_word("monitor");
			continue;
		}
		if (!value)
			return false;
		i++;
		if (!strcmp(argv[i - 1], "--trace"))
			o->trace = value;
		else if (!strcmp(argv[i - 1], "--mem"))
			c->ram = size_of(value);
		else if (!strcmp(argv[i - 1], "--seed"))
			c->seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i - 1], "--word"))
			add_word(value);
		else if (strcmp(argv[i - 1], "--accident") && strcmp(argv[i - 1], "--look") &&
			 strcmp(argv[i - 1], "--disk"))
			return false;
	}
	o->first = i;
	return o->monitor || i < argc;
}

static bool accidents(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--accident") && !order_accident(argv[i + 1])) {
			fprintf(stderr, "no accident of this name: %s\n", argv[i + 1]);
			return false;
		}
	return true;
}

/* FILE[,ro]: a disk whose contents are the file's. */
static bool add_disk(const char *text)
{
	size_t n = strlen(text);
	bool ro = n > 3 && !strcmp(text + n - 3, ",ro");
	char path[4096];
	struct stat st;
	void *image;
	int fd;

	snprintf(path, sizeof(path), "%.*s", (int)(ro ? n - 3 : n), text);
	fd = open(path, ro ? O_RDONLY : O_RDWR);
	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		return false;
	}
	image = mmap(NULL, (size_t)st.st_size, ro ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (image != MAP_FAILED &&
	    fake_disk_add(&(struct fake_disk_config){.sectors = (uint64_t)st.st_size / 512, .image = image,
						     .read_only = ro, .no_cache = true}) >= 0) {
		ndisks++;
		return true;
	}
	fprintf(stderr, "%s: cannot be a disk\n", path);
	return false;
}

static bool add_disks(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--disk") && !add_disk(argv[i + 1]))
			return false;
	return true;
}

static void log_out(const char *s, size_t n)
{
	fwrite(s, 1, n, stdout);
	fflush(stdout);
}

/* ---- what is run ---------------------------------------------------------------------------- */

static int run_table(const char *path, size_t n, const struct options *o)
{
	uint64_t at;
	const char *why = rp_check(table, n, &at);

	if (why) {
		fprintf(stderr, "%s: byte %llu: %s\n", path, (unsigned long long)at, why);
		return 2;
	}
	full = o->full;
	return u_fake_run(&replay_program, 0, NULL);
}

/* argv before first are our options, of which the runner takes --look; the files follow. */
static int run_scenarios(int argc, char **argv, int first)
{
	char **args = calloc((size_t)argc + 4, sizeof(*args));
	int status, n = 0, count = argc - first;

	if (!args)
		return 2;
	args[n++] = (char *)"runner";
	args[n++] = (char *)"--machine";
	args[n++] = (char *)"host";
	for (int i = 1; i < first - 1; i++)
		if (!strcmp(argv[i], "--look")) {
			args[n++] = argv[i++];
			args[n++] = argv[i];
		}
	memcpy(args + n, argv + first, (size_t)count * sizeof(*args));
	status = u_fake_run(&runner_program, n + count, args);
	free(args);
	return status;
}

static int run(int argc, char **argv, const struct options *o)
{
	const char *path = o->monitor ? NULL : argv[o->first];
	size_t n = 0;
	void *contents = path ? read_table(path, &n) : NULL;
	int status;

	table = contents;
	if (o->monitor)
		status = fake_run(NULL, NULL);
	else if (n >= 13 && !memcmp(contents, "quire-replay ", 13))
		status = run_table(path, n, o);
	else
		status = run_scenarios(argc, argv, o->first);
	free(contents);
	return status < 0 ? 2 : status;
}

int main(int argc, char **argv)
{
	struct fake_config c = { .log = log_out, .cmdline = cmdline };
	struct drain d = { 0 };
	struct options o = { 0 };
	int status;

	if (!parse(argc, argv, &o, &c))
		return usage(argv[0]);
	c.console = o.monitor;
	if (o.trace)
		c.trace_ring_size = RING_SIZE;
	if (fake_machine_create(&c) || !add_disks(argc, argv) || !accidents(argc, argv))
		return 2;
	if (o.trace && !drain_start(&d, o.trace)) {
		fprintf(stderr, "%s: cannot be written\n", o.trace);
		return 2;
	}
	status = run(argc, argv, &o);
	if (o.trace && !drain_end(&d)) {
		fprintf(stderr, "%s: could not be written whole\n", o.trace);
		status = 2;
	}
	fake_machine_destroy();
	return status;
}
