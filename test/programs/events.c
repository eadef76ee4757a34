/* SPDX-License-Identifier: MIT */
/*
 * Files that tell of events, and who waits for them, over the machine in software with kernel and core: in the
 * middle of a wait's copy, or of an addition, the others run. Under the address sanitizer an item or a file
 * that goes too early is seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/hal_kernel.h"
#include <quire/abi.h>
#include <quire/quire.h>

#include "test/programs/meet.h"

enum { NR_READ, NR_WRITE, NR_CLOSE = 3, NR_POLL = 7, NR_MMAP = 9, NR_YIELD = 24, NR_DUP = 32, NR_NANOSLEEP = 35, NR_EXIT = 60, NR_KILL = 62,
       NR_EPOLL_WAIT = 232, NR_EPOLL_CTL, NR_TIMERFD_CREATE = 283, NR_TIMERFD_SETTIME = 286,
       NR_SIGNALFD4 = 289, NR_EVENTFD2, NR_EPOLL_CREATE1, NR_PIPE2 = 293, NR_SIGPROCMASK = 14 };

/* ---- the others run here --------------------------------------------------------------------- */

enum point { NOWHERE, COPY_TO_USER, ALLOCATION };

static enum point armed;

static void here(enum point p)
{
	if (armed != p)
		return;
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

/* ---- checks, and what the programs share ------------------------------------------------------ */

static int ep, fds[2];
static long answer;

/* The fake has the generic layout: the second word of eight bytes. */
static long control(int in, int op, int fd, uint32_t events)
{
	uint64_t e[2] = {events, (uint64_t)fd};

	fake_poke(OTHER + 0x800, e, sizeof(e));
	return SC(NR_EPOLL_CTL, in, op, fd, OTHER + 0x800);
}

static long wait_at(uintptr_t at, int in, int ms)
{
	return SC(NR_EPOLL_WAIT, in, at, 4, ms);
}

static void make_pipe(void)
{
	CHECK(SC(NR_PIPE2, MAIN, 0) == 0);
	fake_peek(fds, MAIN, sizeof(fds));
}

/* An instance that watches a pipe with a byte in it. */
static void make_ready(uint32_t events)
{
	make_pipe();
	ep = (int)SC(NR_EPOLL_CREATE1, 0);
	CHECK(control(ep, EPOLL_CTL_ADD, fds[0], events) == 0);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == 1);
}

/* ---- what goes while it is looked at ------------------------------------------------------------ */

static void close_watched(void)
{
	answer = SC(NR_CLOSE, fds[0]);
}

static void file_goes(void)
{
	make_ready(POLLIN);
	other_start(close_watched);
	armed = COPY_TO_USER;
	CHECK(wait_at(MAIN, ep, 0) <= 1);
	other_join();
	CHECK(answer == 0 && wait_at(MAIN, ep, 0) == 0);
	SC(NR_CLOSE, fds[1]);
	SC(NR_CLOSE, ep);
}

static void forget_watched(void)
{
	answer = control(ep, EPOLL_CTL_DEL, fds[0], 0);
}

static void item_goes(void)
{
	make_ready(POLLIN);
	other_start(forget_watched);
	armed = COPY_TO_USER;
	CHECK(wait_at(MAIN, ep, 0) == 0); /* it was removed before it was given */
	other_join();
	CHECK(answer == 0 && SC(NR_CLOSE, ep) == 0);
}

static void close_instance(void)
{
	answer = SC(NR_CLOSE, ep);
}

static void instance_goes(void)
{
	make_ready(POLLIN | EPOLLET);
	other_start(close_instance);
	armed = COPY_TO_USER;
	CHECK(wait_at(MAIN, ep, 0) <= 1);
	other_join();
	CHECK(answer == 0 && wait_at(MAIN, ep, 0) == -EBADF);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == 1); /* nobody is told */
}

static void take_too(void)
{
	answer = wait_at(OTHER, ep, 0);
}

/* Two who wait: what is given once only, one gets. */
static void once_means_once(void)
{
	const uint32_t how[] = {EPOLLET, EPOLLONESHOT};

	for (unsigned i = 0; i < 2; i++) {
		make_ready(POLLIN | how[i]);
		other_start(take_too);
		armed = COPY_TO_USER;
		answer = -1;
		CHECK(wait_at(MAIN, ep, 0) + answer == 1);
		other_join();
		SC(NR_CLOSE, ep);
	}
}

static void add_too(void)
{
	answer = control(ep, EPOLL_CTL_ADD, fds[0], POLLIN);
}

static void added_twice(void)
{
	make_pipe();
	ep = (int)SC(NR_EPOLL_CREATE1, 0);
	other_start(add_too);
	armed = ALLOCATION;
	CHECK(control(ep, EPOLL_CTL_ADD, fds[0], POLLIN) == -EEXIST);
	other_join();
	CHECK(answer == 0);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == 1 && wait_at(MAIN, ep, 0) == 1);
	SC(NR_CLOSE, fds[0]);
	CHECK(wait_at(MAIN, ep, 0) == 0);
}

/* ---- who sleeps ------------------------------------------------------------------------------- */

static void sleep_there(void)
{
	answer = wait_at(OTHER, ep, -1);
}

/* The write tells an instance two steps away. */
static void sleeps_behind_two(void)
{
	int in;

	make_pipe();
	in = (int)SC(NR_EPOLL_CREATE1, 0);
	ep = (int)SC(NR_EPOLL_CREATE1, 0);
	CHECK(control(in, EPOLL_CTL_ADD, fds[0], POLLIN) == 0);
	CHECK(control(ep, EPOLL_CTL_ADD, in, POLLIN) == 0);
	CHECK(control(in, EPOLL_CTL_ADD, ep, POLLIN) == -ELOOP);
	answer = 0;
	other_start(sleep_there);
	others_run();
	CHECK(!other_done);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == 1);
	other_join();
	CHECK(answer == 1);
}

static void read_timer(void)
{
	answer = SC(NR_READ, fds[0], OTHER, 8);
}

/* The timer rings although the descriptor is closed: the read holds the file. */
static void timer_closed_while_read(void)
{
	uint64_t when[4] = {0, 0, 0, 30000000};

	fds[0] = (int)SC(NR_TIMERFD_CREATE, CLOCK_MONOTONIC, 0);
	fake_poke(MAIN, when, sizeof(when));
	CHECK(SC(NR_TIMERFD_SETTIME, fds[0], 0, MAIN, 0) == 0);
	answer = 0;
	other_start(read_timer);
	others_run();
	CHECK(SC(NR_CLOSE, fds[0]) == 0);
	when[1] = 100000000; /* time goes on while all sleep */
	fake_poke(MAIN + 64, when, 16);
	CHECK(SC(NR_NANOSLEEP, MAIN + 64, 0) == 0);
	other_join();
	CHECK(answer == 8);
	fds[0] = (int)SC(NR_TIMERFD_CREATE, CLOCK_MONOTONIC, 0);
	CHECK(SC(NR_TIMERFD_SETTIME, fds[0], 0, MAIN, 0) == 0);
	CHECK(SC(NR_CLOSE, fds[0]) == 0); /* set, and gone */
}

/* A signal that is blocked is told to who watches, and read. */
static void signal_is_read(void)
{
	uint64_t set = 1ull << (SIGCHLD - 1);
	uint32_t got = 0;
	int s;

	fake_poke(MAIN, &set, sizeof(set));
	CHECK(SC(NR_SIGPROCMASK, SIG_BLOCK, MAIN, 0, 8) == 0);
	s = (int)SC(NR_SIGNALFD4, -1, MAIN, 8, 0);
	ep = (int)SC(NR_EPOLL_CREATE1, 0);
	CHECK(control(ep, EPOLL_CTL_ADD, s, POLLIN) == 0 && wait_at(MAIN, ep, 0) == 0);
	CHECK(SC(NR_KILL, 2, SIGCHLD) == 0);
	CHECK(wait_at(MAIN, ep, -1) == 1);
	CHECK(SC(NR_READ, s, MAIN, 256) == 128);
	fake_peek(&got, MAIN, sizeof(got));
	CHECK(got == SIGCHLD && wait_at(MAIN, ep, 0) == 0);
	SC(NR_CLOSE, s);
	CHECK(SC(NR_KILL, 2, SIGCHLD) == 0 && wait_at(MAIN, ep, 0) == 0);
}

/* ---- all of them ------------------------------------------------------------------------------ */

static const struct program_test tests[] = {
	{"a file that is watched goes while it is told", file_goes},
	{"an item is removed while it is told", item_goes},
	{"an instance is closed while it is waited for", instance_goes},
	{"of two who wait one gets an edge, and a single shot", once_means_once},
	{"of two who add one descriptor one does", added_twice},
	{"a change wakes who sleeps two instances away", sleeps_behind_two},
	{"a timer is closed while it is read, and while it is set", timer_closed_while_read},
	{"a blocked signal is told and read", signal_is_read},
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

	armed = NOWHERE;
	return run_on(&c, first_program, i);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, sizeof(tests) / sizeof(tests[0]), run);
}
