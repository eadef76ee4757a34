/* SPDX-License-Identifier: MIT */
/*
 * forktest [CHILDREN [PAGES]]: fills memory with each word's own address and forks many children
 * that run side by side. Each one checks what it inherited, writes its number over it, gives the
 * others time, checks again and exits; at the end the parent's memory must be what it was.
 */
#include "user/text.h"
#include "user/u.h"
#include "user/u_nr.h"

#define BASE 0x300000000ul

struct forktest {
	uint64_t pages, child;
};

static uint64_t wrong_words(struct u *u, const struct forktest *f, uint64_t key)
{
	uint64_t wrong = 0;

	for (uintptr_t p = BASE; p < BASE + f->pages * U_PAGE; p += 8) {
		struct u_seen seen = u_access(u, U_LOAD, p, 8, 0);

		wrong += seen.sig || seen.value != (p ^ key);
	}
	return wrong;
}

static void fill(struct u *u, const struct forktest *f, uint64_t key)
{
	for (uintptr_t p = BASE; p < BASE + f->pages * U_PAGE; p += 8)
		u_access(u, U_STORE, p, 8, p ^ key);
}

static void child(struct u *u, void *state)
{
	struct forktest *f = state;
	uint64_t key = f->child << 48, wrong = wrong_words(u, f, 0);

	fill(u, f, key);
	for (int i = 0; i < 4; i++) {
		u_syscall(u, NR_sched_yield, 0, 0, 0, 0, 0, 0);
		wrong += wrong_words(u, f, key);
	}
	u_exit(u, wrong ? 1 : 0);
}

static int wait_all(struct u *u, uint64_t children)
{
	int32_t status = 0;
	int bad = 0;

	for (uint64_t i = 0; i < children; i++) {
		long pid = u_syscall(u, NR_wait4, -1, (long)u_scratch(u), 0, 0, 0, 0);

		u_peek(u, &status, u_scratch(u), sizeof(status));
		bad += pid <= 0 || status != 0;
	}
	return bad;
}

static void say(struct u *u, uint64_t children, int bad, uint64_t wrong)
{
	char buf[128];
	struct text t = TEXT(buf);

	text_str(&t, "forktest: children ");
	text_udec(&t, children);
	text_str(&t, ", bad ");
	text_dec(&t, bad);
	text_str(&t, ", the parent's wrong words ");
	text_udec(&t, wrong);
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
}

static int demo_main(struct u *u, void *state, int argc, char **argv)
{
	const char *a1 = argc > 1 ? argv[1] : "64", *a2 = argc > 2 ? argv[2] : "32";
	struct forktest *f = state;
	uint64_t children = str_num(&a1, 10), started = 0, wrong;
	int bad;

	f->pages = str_num(&a2, 10);
	if (u_syscall(u, NR_mmap, BASE, (long)(f->pages * U_PAGE), U_PROT_READ | U_PROT_WRITE,
		      U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED, -1, 0) != (long)BASE)
		return 1;
	fill(u, f, 0);
	for (f->child = 1; f->child <= children; f->child++)
		started += u_fork(u, 0, child, f, sizeof(*f)) > 0;
	bad = wait_all(u, started) + (int)(children - started);
	wrong = wrong_words(u, f, 0);
	say(u, children, bad, wrong);
	return bad || wrong;
}

extern const struct u_program demo_program;
const struct u_program demo_program = { demo_main, sizeof(struct forktest), 0x200000000 };
