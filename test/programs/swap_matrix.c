/* SPDX-License-Identifier: MIT */
/*
 * swap_matrix [KIND ORDER PROCESSES [MIB]]: several times the memory of a machine in software, over
 * kernel, core and driver: test/kernel/swap.c without a compiler's program. KIND: private, shared, file.
 * ORDER: forward, random, zipf. Each process fills its part, compares every byte in its order, rewrites
 * every third page, and compares again; never does a minute of the host pass in which nobody gets on. At
 * the end all slots are free, and all pages. Without
 * arguments a small one, 24 MiB on 16.
 */
#include <pthread.h>
#include <unistd.h>

#include "test/programs/storm.h"

#define PAGE	   4096ul
#define WORDS	   (PAGE / 8)
#define B	   0x200000000ul /* what they fill */
#define NAMES	   (A + 16 * PAGE)
#define STALL_SECS 60u

static struct {
	const char *kind, *order;
	unsigned procs;
	size_t each; /* pages of a process */
} setup;

struct part {
	unsigned who;
	uint64_t *buf; /* of a page */
};

static uint64_t steps; /* pages filled or looked at by all */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t key_of(unsigned who, size_t page, unsigned version)
{
	return mix(((uint64_t)who << 40) + page * 4 + version);
}

static uintptr_t at(const struct part *p, size_t page)
{
	return B + ((setup.kind[0] == 's' ? (p->who - 1) * setup.each : 0) + page) * PAGE;
}

static void put_page(struct part *p, size_t page, unsigned version)
{
	for (unsigned i = 0; i < WORDS; i++)
		p->buf[i] = key_of(p->who, page, version) + i * 0x9e3779b97f4a7c15ull;
	CHECK(!fake_poke(at(p, page), p->buf, PAGE), "page %zu of %u", page, p->who);
	steps++;
}

static void look(struct part *p, size_t page, unsigned version)
{
	uint64_t key = key_of(p->who, page, page % 3 ? 0 : version);

	CHECK(!fake_peek(p->buf, at(p, page), PAGE), "page %zu of %u", page, p->who);
	steps++;
	for (unsigned i = 0; i < WORDS; i++)
		if (p->buf[i] != key + i * 0x9e3779b97f4a7c15ull) {
			CHECK(false, "page %zu of %u, word %u: %llx", page, p->who, i,
			      (unsigned long long)p->buf[i]);
			return;
		}
}

/* The i-th page of n to be looked at: of `random` all of them, of `zipf` the product of three uniforms. */
static size_t nth(const char *order, size_t i, size_t n, uint64_t rnd)
{
	double u = 1;

	if (order[0] == 'f')
		return i;
	if (order[0] == 'r') {
		size_t m = 1;

		while (m < n)
			m <<= 1;
		return (size_t)((mix(rnd) + i * (2 * (mix(rnd + 1) % (m / 2)) + 1)) % m);
	}
	for (unsigned k = 1; k < 8; k = k * 2 + 1)
		u *= (double)(mix(rnd + i * k + k) >> 40) / (1 << 24);
	return (size_t)((double)n * u);
}

static void look_at_all(struct part *p, const char *order, unsigned version)
{
	size_t turns = setup.each;

	if (order[0] == 'r')
		for (turns = 1; turns < setup.each; turns <<= 1)
			;
	for (size_t i = 0; i < turns; i++) {
		size_t page = nth(order, i, setup.each, p->who * 1000 + version);

		if (page < setup.each)
			look(p, page, version);
	}
}

static void map_own(const struct part *p)
{
	long fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
	char name[32];

	if (setup.kind[0] == 's')
		return;
	if (setup.kind[0] == 'f') {
		snprintf(name, sizeof(name), "/tmp/swap%u", p->who);
		fake_poke(NAMES, name, sizeof(name));
		fd = CALL(NR_openat, AT_FDCWD, NAMES, O_CREAT | O_RDWR, 0600);
		CHECK(fd >= 0 && !CALL(NR_ftruncate, fd, (long)(setup.each * PAGE)), "%s: %ld", name, fd);
		flags = MAP_SHARED | MAP_FIXED;
	}
	CHECK(CALL(NR_mmap, B, (long)(setup.each * PAGE), PROT_READ | PROT_WRITE, flags, fd, 0) == (long)B, "%u",
	      p->who);
}

static void process(void *state)
{
	struct part *p = state;

	p->buf = fake_alloc(PAGE);
	map_own(p);
	for (size_t i = 0; i < setup.each; i++)
		put_page(p, i, 0);
	look_at_all(p, setup.order, 0);
	for (size_t i = 0; i < setup.each; i += 3)
		put_page(p, i, 1);
	look_at_all(p, setup.order, 1);
	look_at_all(p, "forward", 1);
	if (setup.kind[0] == 'f')
		CHECK(!CALL(NR_unlinkat, AT_FDCWD, NAMES, 0), "%u", p->who);
	fake_exit(0);
}

static uint64_t info(unsigned word)
{
	uint64_t w[14] = {0};

	CALL(NR_sysinfo, NAMES + 1024);
	fake_peek(w, NAMES + 1024, sizeof(w));
	return w[word];
}

/* 8 and 9 are the swap in all, and what of it is free. */
static void first_program(void *state)
{
	size_t all = setup.procs * setup.each * PAGE;
	struct part own = {0};

	CALL(NR_mmap, A, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_poke(NAMES, "/tmp", 5);
	CALL(NR_mkdirat, AT_FDCWD, NAMES, 0755);
	if (setup.kind[0] == 's')
		CHECK(CALL(NR_mmap, B, (long)all, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == (long)B, "shared");
	for (unsigned i = 0; i < setup.procs; i++) {
		own.who = i + 1;
		CHECK(fake_fork(0, process, &own, sizeof(own)) > 0, "%u", i);
	}
	for (unsigned i = 0; i < setup.procs; i++)
		CHECK(CALL(NR_wait4, -1, 0, 0, 0) > 0, "%u", i);
	own.buf = fake_alloc(PAGE);
	for (unsigned i = 0; i < setup.procs && setup.kind[0] == 's'; i++) {
		own.who = i + 1;
		look_at_all(&own, "forward", 1);
	}
	CALL(NR_munmap, B, (long)all);
	/* A page or two of this program may be out there. */
	CHECK(info(8) && info(8) - info(9) <= 40 * PAGE, "%llu of %llu", (unsigned long long)info(9),
	      (unsigned long long)info(8));
	fake_exit(0);
}

static void *watch(void *stop)
{
	uint64_t seen = 0;
	unsigned still = 0;

	while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE)) {
		uint64_t now = __atomic_load_n(&steps, __ATOMIC_RELAXED);

		usleep(100000);
		still = now == seen ? still + 1 : 0;
		seen = now;
		if (still > STALL_SECS * 10) {
			printf("# nobody got on for a minute, after %llu pages\n", (unsigned long long)now);
			abort();
		}
	}
	return NULL;
}

static bool run_setup(const char *kind, const char *order, unsigned procs, unsigned mib, unsigned ram)
{
	size_t slots = (size_t)(mib + mib / 2) << 8;
	uint32_t head[3] = {1, (uint32_t)slots - 1, 0};
	unsigned char *image = calloc(slots, PAGE);
	struct fake_config c = {.log = log_out, .cmdline = "norandmaps swap=/dev/vda",
				.ram = (uint64_t)ram << 20, .seed = seed};
	pthread_t watcher;
	bool stop = false, good;
	int status;

	setup.kind = kind;
	setup.order = order;
	setup.procs = procs;
	setup.each = ((size_t)mib << 8) / procs;
	steps = failures = 0;
	memset(log_text, 0, sizeof(log_text));
	memcpy(image + 1024, head, sizeof(head));
	memcpy(image + PAGE - 10, "SWAPSPACE2", 10);
	fake_on_accusation(accused, NULL);
	if (fake_machine_create(&c))
		return false;
	fake_disk_add(&(struct fake_disk_config){.sectors = slots * PAGE / 512, .image = image});
	pthread_create(&watcher, NULL, watch, &stop);
	status = fake_run(first_program, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(watcher, NULL);
	printf("# %s %s %u: %llu pages, %llu sectors written, %llu read\n", kind, order, procs,
	       (unsigned long long)steps, (unsigned long long)fake_disk_counters(0)->sectors_written,
	       (unsigned long long)fake_disk_counters(0)->sectors_read);
	CHECK(fake_disk_counters(0)->sectors_written >= (uint64_t)(mib - ram) << 11, "it was not written");
	good = machine_down(status);
	free(image);
	return good;
}

int main(int argc, char **argv)
{
	bool good;

	seed = 1;
	good = argc > 3 ? run_setup(argv[1], argv[2], (unsigned)atoi(argv[3]), argc > 4 ? (unsigned)atoi(argv[4]) : 256, 64) :
			  run_setup("file", "random", 3, 24, 16);
	printf("1..1\n%sok 1 - %s %s %u\n", good ? "" : "not ", setup.kind, setup.order, setup.procs);
	return !good;
}
