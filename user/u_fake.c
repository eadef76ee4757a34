/* SPDX-License-Identifier: MIT */
/*
 * user/u.h over the machine in software: a program is a C function on a thread of the host, its
 * system calls and accesses go through arch/fake's user mode. What it keeps for itself (struct u,
 * state, stack) is host memory, which the simulated space never holds; only the scratch memory
 * lies in that space, for the kernel's copies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/u_fake.h"
#include "user/u_nr.h"
#include <quire/abi.h>

#define WRITE_ROOM U_PAGE /* behind the scratch memory: what u_write hands to the kernel */

struct u {
	uintptr_t block; /* scratch memory, then WRITE_ROOM */
};

/* What a new process starts with; the state follows. */
struct start {
	struct u u;
	u_entry entry;
	uintptr_t heap; /* after an exec: where the break starts; 0: it is a fork */
	max_align_t state[];
};

struct first {
	const struct u_program *program;
	int argc;
	char **argv;
};

long u_syscall(struct u *u, long nr, long a, long b, long c, long d, long e, long f)
{
	return fake_syscall(nr, a, b, c, d, e, f);
}

struct u_seen u_access(struct u *u, enum u_kind kind, uintptr_t addr, unsigned width,
		       uint64_t value)
{
	static const enum fault_access kinds[] = { [U_LOAD] = FAULT_READ, [U_STORE] = FAULT_WRITE,
						   [U_FETCH] = FAULT_FETCH };
	struct fake_seen s = fake_access(kinds[kind], addr, kind == U_FETCH ? 1 : width, value);

	return (struct u_seen){ .value = kind == U_LOAD ? s.value : 0, .sig = s.sig,
				.code = s.code, .addr = s.addr };
}

uintptr_t u_scratch(struct u *u)
{
	return u->block;
}

static _Noreturn void lost(const char *what)
{
	fprintf(stderr, "the program's own memory: %s\n", what);
	fake_exit(2);
}

/* A program that has unmapped itself dies of it, here as on a real machine. */
void u_poke(struct u *u, uintptr_t at, const void *src, size_t n)
{
	if (fake_poke(at, src, n))
		fake_die();
}

void u_peek(struct u *u, void *dst, uintptr_t at, size_t n)
{
	if (fake_peek(dst, at, n))
		fake_die();
}

void u_exit(struct u *u, int status)
{
	fake_exit(status);
}

/* ---- memory of its own ---------------------------------------------------------------------- */

static void map_block(struct u *u)
{
	long size = U_SCRATCH_SIZE + WRITE_ROOM;
	long at = fake_syscall(NR_mmap, (long)u->block, size, U_PROT_READ | U_PROT_WRITE,
			       U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED_NOREPLACE |
				       U_MAP_POPULATE, -1, 0);

	if (at != (long)u->block)
		lost("cannot be mapped");
}

/* A signal needs a handler to be told of; the machine calls none. */
static void catch_signals(struct u *u)
{
	static const int sigs[] = { 4, 5, 7, 8, 11 };

	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (fake_catch_signal(sigs[i], u->block))
			lost("no signal handler");
}

void u_warm(struct u *u, void *state, size_t size)
{
	char c;

	for (uintptr_t p = u->block; p < u->block + U_SCRATCH_SIZE + WRITE_ROOM; p += U_PAGE) {
		u_peek(u, &c, p, 1);
		u_poke(u, p, &c, 1);
	}
}

/* ---- processes ------------------------------------------------------------------------------ */

static void begin(void *arg)
{
	struct start *s = arg;

	s->entry(&s->u, s->state);
	fake_exit(0);
}

static struct start *start_make(struct u *u, u_entry entry, const void *state, size_t size)
{
	struct start *s = fake_alloc(sizeof(*s) + size);

	if (!s)
		return NULL;
	s->u = *u;
	s->entry = entry;
	s->heap = 0;
	memcpy(s->state, state, size);
	return s;
}

/* A child that shares our space shares the state as well, as it does on a real machine. */
struct shared_start {
	struct u *u;
	u_entry entry;
	void *state;
};

static void begin_shared(void *arg)
{
	struct shared_start *s = arg;

	s->entry(s->u, s->state);
	fake_exit(0);
}

long u_fork(struct u *u, unsigned long flags, u_entry entry, void *state, size_t size)
{
	struct shared_start shared = { u, entry, state };
	struct start *s;
	long pid;

	if (flags)
		return fake_fork(flags, begin_shared, &shared, 0);
	s = start_make(u, entry, state, size);
	if (!s)
		return -12; /* ENOMEM */
	pid = fake_fork(0, begin, s, sizeof(*s) + size);
	fake_free(s);
	return pid;
}

#define FIRST_HEAP	    0x809000ul /* about where a small ELF file ends; nothing larger than a page fits */
#define FIRST_DATA	    0x400000ul /* Linux takes an image's last segment for its data, */
#define FIRST_DATA_END	    0x408d00ul /* here the only one; RLIMIT_DATA counts it */

/* The break of a program without an ELF file that would tell. */
static void set_heap(uintptr_t heap)
{
	fake_syscall(NR_prctl, PR_SET_MM, PR_SET_MM_START_BRK, (long)heap, 0, 0, 0);
	fake_syscall(NR_prctl, PR_SET_MM, PR_SET_MM_BRK, (long)heap, 0, 0, 0);
}

static void set_data(uintptr_t start, uintptr_t end)
{
	fake_syscall(NR_prctl, PR_SET_MM, PR_SET_MM_START_DATA, (long)start, 0, 0, 0);
	fake_syscall(NR_prctl, PR_SET_MM, PR_SET_MM_END_DATA, (long)end, 0, 0, 0);
}

static void begin_image(void *arg)
{
	struct start *s = arg;

	map_block(&s->u);
	catch_signals(&s->u);
	if (s->heap)
		set_heap(s->heap);
	begin(s);
}

long u_exec(struct u *u, const char *path, const char *const *argv, uintptr_t heap, u_entry entry,
	    const void *state, size_t size)
{
	struct start *s = start_make(u, entry, state, size);
	uint64_t ptr[2] = { u->block + 64, 0 };
	long ret;

	if (!s)
		return -12;
	s->heap = heap;
	u_poke(u, u->block, ptr, sizeof(ptr));
	u_poke(u, u->block + 64, path, strlen(path) + 1);
	ret = fake_exec(begin_image, s, sizeof(*s) + size, u->block + 64, u->block, u->block + 8);
	fake_free(s);
	return ret;
}

/* ---- the world outside ---------------------------------------------------------------------- */

void u_write(struct u *u, const char *s, size_t n)
{
	uintptr_t at = u->block + U_SCRATCH_SIZE;

	while (n) {
		size_t part = n < WRITE_ROOM ? n : WRITE_ROOM;
		long w;

		u_poke(u, at, s, part);
		w = fake_syscall(NR_write, 1, (long)at, (long)part, 0, 0, 0);
		if (w == -U_EINTR)
			continue;
		if (w <= 0)
			return;
		s += w;
		n -= (size_t)w;
	}
}

/* The arguments of a program are the host's: so are its files. */
long u_read_file(struct u *u, const char *path, char *buf, size_t cap)
{
	FILE *f = fopen(path, "rb");
	size_t n;
	bool more;

	if (!f)
		return -2; /* ENOENT */
	n = fread(buf, 1, cap, f);
	more = n == cap && fgetc(f) != EOF;
	fclose(f);
	return more ? -U_EFBIG : (long)n;
}

uint64_t u_return_code(struct u *u)
{
	return 0xc3c3c3c3c3c3c3c3ull; /* fetched, never executed */
}

/* ---- the first program ---------------------------------------------------------------------- */

static void first_program(void *arg)
{
	struct first *f = arg;
	struct u *u = fake_alloc(sizeof(*u));
	void *state = fake_alloc(f->program->state_size + 1);
	int status = 2;

	if (u && state) {
		u->block = f->program->block;
		map_block(u);
		catch_signals(u);
		set_data(FIRST_DATA, FIRST_DATA_END);
		set_heap(FIRST_HEAP);
		status = f->program->main(u, state, f->argc, f->argv);
	}
	fake_exit(status);
}

int u_fake_run(const struct u_program *program, int argc, char **argv)
{
	struct first f = { program, argc, argv };

	return fake_run(first_program, &f);
}
