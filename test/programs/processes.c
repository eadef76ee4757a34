/* SPDX-License-Identifier: MIT */
/*
 * Processes that end, wait and are looked at, over the machine in software with kernel and core: at a
 * chosen point of a chosen call the others run. The verdict does not hang on chance, and under the
 * address sanitizer a process that goes too early is seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/hal_kernel.h"
#include <quire/abi.h>
#include <quire/quire.h>

#include "test/programs/meet.h"


enum { NR_READ, NR_OPEN = 2, NR_CLOSE, NR_MMAP = 9, NR_PREAD = 17, NR_YIELD = 24, NR_PAUSE = 34, NR_NANOSLEEP,
       NR_SETITIMER = 38, NR_EXIT = 60, NR_WAIT4, NR_KILL, NR_MLOCK = 149, NR_GETTID = 186, NR_TKILL = 200,
       NR_SET_ROBUST_LIST = 273 };

/* ---- the others run here --------------------------------------------------------------------- */

enum point { NOWHERE, COPY_TO_USER, ALLOCATION, DELIVERY };

static enum point armed;
static unsigned skip; /* times that the point is passed before */
static bool delivering;

static void here(enum point p)
{
	if (armed != p || skip--)
		return;
	delivering = p == DELIVERY;
	skip = 0;
	armed = NOWHERE;
	for (int i = 0; i < TURNS; i++)
		schedule();
}

size_t __real_hal_copy_to_user(uintptr_t dst, const void *src, size_t n);
size_t __wrap_hal_copy_to_user(uintptr_t dst, const void *src, size_t n);
size_t __wrap_hal_copy_to_user(uintptr_t dst, const void *src, size_t n)
{
	here(COPY_TO_USER);
	return __real_hal_copy_to_user(dst, src, n);
}

void *__real_quire_kmalloc(size_t n, unsigned flags);
void *__wrap_quire_kmalloc(size_t n, unsigned flags);
void *__wrap_quire_kmalloc(size_t n, unsigned flags)
{
	here(ALLOCATION);
	return __real_quire_kmalloc(n, flags);
}

/* Before any signal is taken. */
void __real_deliver_signals(struct trap_frame *tf);
void __wrap_deliver_signals(struct trap_frame *tf);
void __wrap_deliver_signals(struct trap_frame *tf)
{
	here(DELIVERY);
	__real_deliver_signals(tf);
}

/* ---- checks, and what the programs share ------------------------------------------------------ */

static int child_goes, child_ran;
static long child, answer;

/* It gets as far as it can before this returns. */
static void start_other(void (*program)(void))
{
	other_start(program);
	others_run();
}

/* Ends with 7 when it is told to. */
static void child_main(void *state)
{
	while (!child_goes)
		SC(NR_YIELD, 0);
	child_ran = 1;
	fake_exit(7);
}

static void child_start(unsigned long flags)
{
	child_goes = child_ran = 0;
	child = fake_fork(flags, child_main, NULL, 0);
	CHECK(child > 0);
}

static int int_at(uintptr_t at)
{
	int v = -1;

	fake_peek(&v, at, sizeof(v));
	return v;
}

/* ---- who waits -------------------------------------------------------------------------------- */

static void wait_for_child(void)
{
	answer = SC(NR_WAIT4, child, OTHER, 0, 0);
}

static void two_sleep_for_one(void)
{
	long mine;

	child_start(0);
	start_other(wait_for_child);
	child_goes = 1;
	mine = SC(NR_WAIT4, child, MAIN, 0, 0);
	other_join();
	CHECK((mine == child && answer == -ECHILD) || (mine == -ECHILD && answer == child));
	CHECK(int_at(mine == child ? MAIN : OTHER) == 7 << 8);
}

/* The first has the child, and is in the middle of being told. */
static void second_comes_late(void)
{
	child_start(0);
	child_goes = 1;
	others_run();
	other_done = 0;
	CHECK(fake_fork(THREAD, other_main, (void *)wait_for_child, 0) > 0);
	armed = COPY_TO_USER;
	CHECK(SC(NR_WAIT4, child, MAIN, 0, 0) == child);
	CHECK(int_at(MAIN) == 7 << 8);
	other_join();
	CHECK(answer == -ECHILD);
}

static void told_nowhere(void)
{
	child_start(0);
	child_goes = 1;
	CHECK(SC(NR_WAIT4, child, 8, 0, 0) == -EFAULT);
	CHECK(SC(NR_WAIT4, child, MAIN, 0, 0) == -ECHILD);
}

/* ---- a process that is looked at ends --------------------------------------------------------- */

static void end_and_reap(void)
{
	child_goes = 1;
	answer = SC(NR_WAIT4, child, OTHER, 0, 0);
}

/* At the skip-th allocation of the read, and at the one after: while the text is made. */
static void read_of_who_ends(const char *name)
{
	char path[64];

	for (unsigned k = 0; k < 3; k++) {
		long fd, got;

		child_start(0);
		snprintf(path, sizeof(path), "/proc/%ld/%s", child, name);
		fake_poke(MAIN, path, strlen(path) + 1);
		fd = SC(NR_OPEN, MAIN, 0, 0);
		CHECK(fd >= 0);
		other_done = 0;
		CHECK(fake_fork(THREAD, other_main, (void *)end_and_reap, 0) > 0);
		skip = k;
		armed = ALLOCATION;
		got = SC(NR_READ, fd, MAIN + 0x400, 2000);
		armed = NOWHERE;
		skip = 0;
		other_join();
		CHECK(answer == child && (got >= 0 || got == -ESRCH));
		CHECK(SC(NR_READ, fd, MAIN + 0x400, 2000) <= 0);
		SC(NR_CLOSE, fd);
	}
}

static void look_at_who_ends(void)
{
	read_of_who_ends("status");
	read_of_who_ends("stat");
	read_of_who_ends("maps");
	read_of_who_ends("limits");
}

/* ---- vfork ------------------------------------------------------------------------------------ */

static void let_child_go(void)
{
	for (int i = 0; i < TURNS; i++)
		SC(NR_YIELD, 0);
	answer = child_ran;
	child_goes = 1;
}

static void vfork_waits(void)
{
	start_other(let_child_go);
	other_done = 0;
	child_start(CLONE_VFORK);
	CHECK(child_ran);
	CHECK(SC(NR_WAIT4, child, MAIN, 0, 0) == child);
}

/* It is not ours, but process 1's. */
static void wait_for_orphan(void)
{
	CHECK(SC(NR_WAIT4, -1, MAIN, 0, 0) == -ECHILD);
	while (!child_ran)
		SC(NR_YIELD, 0);
}

static void vforks(void *state)
{
	child_start(CLONE_VFORK); /* the child goes on without us */
	CHECK(!"killed");
}

static void killed_in_vfork(void)
{
	long parent = fake_fork(0, vforks, NULL, 0);

	others_run();
	CHECK(SC(NR_KILL, parent, SIGKILL) == 0);
	others_run();
	CHECK(SC(NR_WAIT4, parent, MAIN, WNOHANG, 0) == parent && int_at(MAIN) == SIGKILL);
	child_goes = 1;
	wait_for_orphan();
}

/* ---- exec beside threads ---------------------------------------------------------------------- */

static int images, image_waits;

static void image(void *state)
{
	images++;
	while (image_waits)
		SC(NR_YIELD, 0);
	fake_exit(*(int *)state);
}

static void run_image(int status)
{
	fake_poke(MAIN, "image", 6);
	fake_exec(image, &status, sizeof(status), MAIN, 0, 0);
}

static void runs_another(void)
{
	run_image(4);
	other_done = 1;
	for (;;)
		SC(NR_PAUSE, 0);
}

static void yields(void *state)
{
	for (;;)
		SC(NR_YIELD, 0);
}

static void sleeps(void *state)
{
	for (;;)
		SC(NR_PAUSE, 0);
}

/* Two threads exec at once, the one in the middle of the other's; one more computes and one sleeps. */
static void exec_twice(void *at)
{
	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_fork(THREAD, yields, NULL, 0);
	fake_fork(THREAD, sleeps, NULL, 0);
	fake_fork(THREAD, other_main, (void *)runs_another, 0);
	skip = *(unsigned *)at;
	armed = ALLOCATION;
	run_image(3);
	for (;;)
		SC(NR_YIELD, 0);
}

static void exec_beside_threads(void)
{
	for (unsigned k = 0; k < 6; k++) {
		int status;
		long pid;

		images = 0;
		pid = fake_fork(0, exec_twice, &k, sizeof(k));
		CHECK(SC(NR_WAIT4, pid, MAIN, 0, 0) == pid);
		armed = NOWHERE;
		skip = 0;
		status = int_at(MAIN);
		CHECK(images == 1 && (status == 3 << 8 || status == 4 << 8));
	}
}

static void is_signalled(void)
{
	fake_catch_signal(SIGINT, OTHER);
	armed = DELIVERY;
	SC(NR_TKILL, SC(NR_GETTID, 0), SIGINT);
	for (;;)
		SC(NR_PAUSE, 0);
}

/* The signal by which exec ends the other thread comes when that one is about to take another. */
static void exec_beside_a_signal(void *state)
{
	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_fork(THREAD, other_main, (void *)is_signalled, 0);
	while (!delivering)
		SC(NR_YIELD, 0);
	run_image(3);
	for (;;)
		SC(NR_YIELD, 0);
}

static void exec_ends_threads_alone(void)
{
	long pid;

	delivering = false;
	pid = fake_fork(0, exec_beside_a_signal, NULL, 0);
	CHECK(SC(NR_WAIT4, pid, MAIN, 0, 0) == pid);
	CHECK(delivering && int_at(MAIN) == 3 << 8);
}

/* ---- alarms ----------------------------------------------------------------------------------- */

static void sets_alarm(void *state)
{
	const long often[4] = {0, 1000, 0, 1000};

	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_catch_signal(SIGALRM, MAIN);
	fake_poke(MAIN, often, sizeof(often));
	SC(NR_SETITIMER, 0, MAIN, 0);
	SC(NR_PAUSE, 0);
	fake_exit(fake_signals_taken() == 1ull << (SIGALRM - 1) ? 0 : 1);
}

/* The process ends with its alarm set; as a zombie and after nothing rings. */
static void alarm_of_the_dead(void)
{
	const long while_[2] = {0, 50000000};
	long pid = fake_fork(0, sets_alarm, NULL, 0);

	fake_poke(MAIN, while_, sizeof(while_));
	CHECK(SC(NR_NANOSLEEP, MAIN, 0) == 0);
	CHECK(SC(NR_WAIT4, pid, MAIN + 64, 0, 0) == pid && int_at(MAIN + 64) == 0);
	CHECK(SC(NR_NANOSLEEP, MAIN, 0) == 0);
}

/* ---- a space outlives the process that it was made for ----------------------------------------- */

static void grandchild(void *state)
{
	while (!child_goes)
		SC(NR_YIELD, 0);
	answer = SC(NR_MLOCK, A, 4096, 0); /* asks for limits and capabilities */
	child_ran = 1;
	fake_exit(0);
}

static void shares_and_ends(void *state)
{
	child_goes = child_ran = 0;
	fake_fork(CLONE_VM, grandchild, NULL, 0);
	fake_exit(0);
}

static void owner_ends_first(void)
{
	long pid = fake_fork(0, shares_and_ends, NULL, 0);

	CHECK(SC(NR_WAIT4, pid, MAIN, 0, 0) == pid);
	child_goes = 1;
	wait_for_orphan();
	CHECK(answer == 0);
}

/* ---- what others see of an end ------------------------------------------------------------------ */

/* A list of one lock, which lies in the word behind its entry. */
static void holds_a_lock(void)
{
	const uintptr_t list[3] = {OTHER + 64, 8, 0}, entry = OTHER;
	uint32_t word = (uint32_t)SC(NR_GETTID, 0);

	fake_poke(OTHER, list, sizeof(list));
	fake_poke(OTHER + 64, &entry, sizeof(entry));
	fake_poke(OTHER + 72, &word, sizeof(word));
	CHECK(SC(NR_SET_ROBUST_LIST, OTHER, sizeof(list)) == 0);
}

static void lock_of_the_dead(void)
{
	start_other(holds_a_lock);
	other_join();
	others_run();
	CHECK(int_at(OTHER + 72) == FUTEX_OWNER_DIED);
}

/* Tells when its memory can be looked at, and waits to become another program. */
static void exec_when_told(void *state)
{
	int v = 0x55;

	fake_poke(A, &v, sizeof(v));
	child_ran = 1;
	while (!child_goes)
		SC(NR_YIELD, 0);
	run_image(3);
}

/* What was opened as its memory is that memory, and not what the same process has after exec. */
static void memory_of_before_exec(void)
{
	char path[32];
	long pid, fd;

	child_goes = child_ran = 0;
	pid = fake_fork(0, exec_when_told, NULL, 0);
	while (!child_ran)
		SC(NR_YIELD, 0);
	snprintf(path, sizeof(path), "/proc/%ld/mem", pid);
	fake_poke(MAIN, path, sizeof(path));
	fd = SC(NR_OPEN, MAIN, 0);
	CHECK(fd >= 0);
	CHECK(SC(NR_PREAD, fd, MAIN, 4, A) == 4 && int_at(MAIN) == 0x55);
	image_waits = 1;
	child_goes = 1;
	others_run();
	CHECK(images == 1);
	CHECK(SC(NR_PREAD, fd, MAIN, 4, A) == 0);
	image_waits = 0;
	CHECK(SC(NR_WAIT4, pid, MAIN, 0, 0) == pid);
	SC(NR_CLOSE, fd);
}

/* ---- all of them ------------------------------------------------------------------------------ */

static const struct program_test tests[] = {
	{"of two who wait for a child one gets it", two_sleep_for_one},
	{"a child whose status is being told is nobody else's", second_comes_late},
	{"a child is reaped before its status is told", told_nowhere},
	{"a process ends while its texts are made", look_at_who_ends},
	{"vfork waits for the child's end", vfork_waits},
	{"who waits in vfork can be killed", killed_in_vfork},
	{"of two threads that run another program one does", exec_beside_threads},
	{"exec ends the other threads and nothing else", exec_ends_threads_alone},
	{"an alarm ends with its process", alarm_of_the_dead},
	{"a space outlives its owner", owner_ends_first},
	{"a thread that ends gives up its locks", lock_of_the_dead},
	{"memory that was opened does not follow exec", memory_of_before_exec},
};

static void first_program(void *state)
{
	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	tests[*(unsigned *)state].run();
	fake_exit(0);
}

static bool run(unsigned i)
{
	struct fake_config c = {.cmdline = "norandmaps"};

	images = image_waits = 0;
	armed = NOWHERE;
	skip = 0;
	return run_on(&c, first_program, i);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, sizeof(tests) / sizeof(tests[0]), run);
}
