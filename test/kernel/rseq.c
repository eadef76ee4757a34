/* SPDX-License-Identifier: MIT */
/*
 * Restartable sequences: what rseq() takes and refuses, the number of the CPU, and a section that is left
 * for its abort handler when it is switched, moved or interrupted by a signal's handler, and not otherwise;
 * one that cannot be is a SIGSEGV. "smp": there is a second CPU to be moved to.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

#ifdef __x86_64__
#define RSEQ_CALL 334
#define SIG_WORD  0x53053053
#define IP(uc)	  ((unsigned long)(uc)->uc_mcontext.gregs[REG_RIP])
#else
#define RSEQ_CALL 293
#define SIG_WORD  0xf1401073
#define IP(uc)	  ((uc)->uc_mcontext.__gregs[0])
#endif

struct area {
	uint32_t cpu_id_start, cpu_id;
	uint64_t section;
	uint32_t flags, pad[3];
} __attribute__((aligned(32)));

struct section {
	uint32_t version, flags;
	uint64_t start, length, abort;
} __attribute__((aligned(32)));

enum { NOT_ON_PREEMPT = 1, NOT_ON_SIGNAL = 2, NOT_ON_MIGRATE = 4, UNREGISTER = 1 };

/* Enters the section and waits in it until *stop is not 0: 0; 1: it was thrown out. */
long spin(struct area *a, const struct section *s, volatile long *stop);
extern char spin_start[], spin_end[], spin_abort[];

#define STRING_(x) #x
#define STRING(x)  STRING_(x)
#ifdef __x86_64__
__asm__(".pushsection .text\n.global spin, spin_start, spin_end, spin_abort\n"
	"spin:\n	movq %rsi, 8(%rdi)\n"
	"spin_start:\n	cmpq $0, (%rdx)\n	je spin_start\n"
	"spin_end:\n	xorl %eax, %eax\n	ret\n"
	".long " STRING(SIG_WORD) "\n"
	"spin_abort:\n	movl $1, %eax\n	ret\n.popsection\n");
#else
__asm__(".pushsection .text\n.global spin, spin_start, spin_end, spin_abort\n.balign 4\n"
	"spin:\n	sd a1, 8(a0)\n"
	"spin_start:\n	ld t0, (a2)\n	beqz t0, spin_start\n"
	"spin_end:\n	li a0, 0\n	ret\n"
	".balign 4\n.word " STRING(SIG_WORD) "\n"
	"spin_abort:\n	li a0, 1\n	ret\n.popsection\n");
#endif

static struct area mine;
static struct section section;
static volatile long *stop; /* shared with children */

static int rseq(volatile void *area, unsigned size, int flags, uint32_t sig)
{
	return syscall(RSEQ_CALL, area, size, flags, sig) ? errno : 0;
}

static void fresh_section(uint32_t flags)
{
	section = (struct section){0, flags, (uintptr_t)spin_start, spin_end - spin_start, (uintptr_t)spin_abort};
}

static void on_cpu(int pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(sched_setaffinity(pid, sizeof(set), &set) == 0);
}

/* ---- the call ------------------------------------------------------------------------------------- */

static void *in_thread(void *arg)
{
	static struct area own;

	/* its maker's is not its own */
	CHECK(rseq(&own, 32, 0, SIG_WORD) == 0);
	CHECK(own.cpu_id < 64 && own.cpu_id == own.cpu_id_start);
	CHECK(rseq(&own, 32, UNREGISTER, SIG_WORD) == 0 && own.cpu_id == ~0u && own.cpu_id_start == 0);
	return NULL;
}

static void refusals(void)
{
	CHECK(rseq(&mine, 32, UNREGISTER, SIG_WORD) == EINVAL);
	CHECK(rseq(&mine, 31, 0, SIG_WORD) == EINVAL && rseq(&mine, 64, 0, SIG_WORD) == EINVAL);
	CHECK(rseq((char *)&mine + 8, 32, 0, SIG_WORD) == EINVAL);
	CHECK(rseq(&mine, 32, 2, SIG_WORD) == EINVAL && rseq(&mine, 32, 3, SIG_WORD) == EINVAL);
	CHECK(rseq((void *)(1ul << 63), 32, 0, SIG_WORD) == EFAULT);
	CHECK(rseq(NULL, 32, UNREGISTER, SIG_WORD) == EINVAL);
	mine.cpu_id = mine.cpu_id_start = 77;
	CHECK(rseq(&mine, 32, 0, SIG_WORD) == 0);
	CHECK(mine.cpu_id == (unsigned)sched_getcpu() && mine.cpu_id_start == mine.cpu_id);
	CHECK(rseq(&mine, 32, 0, SIG_WORD) == EBUSY);
	CHECK(rseq(&mine, 32, 0, SIG_WORD + 1) == EPERM);
	CHECK(rseq(&mine + 1, 32, 0, SIG_WORD) == EINVAL && rseq(&mine, 64, 0, SIG_WORD) == EINVAL);
	CHECK(rseq(&mine, 32, UNREGISTER, SIG_WORD + 1) == EPERM);
	CHECK(rseq(&mine, 64, UNREGISTER, SIG_WORD) == EINVAL);
	CHECK(rseq(&mine + 1, 32, UNREGISTER, SIG_WORD) == EINVAL);
	CHECK(rseq(&mine, 32, UNREGISTER | 2, SIG_WORD) == EINVAL);
	CHECK(rseq(&mine, 32, UNREGISTER, SIG_WORD) == 0);
	CHECK(mine.cpu_id == ~0u && mine.cpu_id_start == 0);
	usleep(1000);
	CHECK(mine.cpu_id == ~0u);
}

/* Threads begin without, other processes go on with it, new programs begin without. */
static void who_has_it(char *self)
{
	pthread_t t;
	int pid;

	CHECK(rseq(&mine, 32, 0, SIG_WORD) == 0);
	CHECK(pthread_create(&t, NULL, in_thread, NULL) == 0 && pthread_join(t, NULL) == 0);
	pid = fork();
	if (!pid) {
		CHECK(mine.cpu_id == (unsigned)sched_getcpu());
		CHECK(rseq(&mine, 32, 0, SIG_WORD) == EBUSY);
		CHECK(rseq(&mine, 32, UNREGISTER, SIG_WORD) == 0);
		_exit(failures);
	}
	CHECK(status_of(pid) == 0);
	pid = fork();
	if (!pid) {
		execl(self, self, "exec", NULL);
		_exit(99);
	}
	CHECK(status_of(pid) == 0);
}

/* ---- sections ------------------------------------------------------------------------------------- */

/* A process that wants the same CPU; it ends after so many ms of its own, and says stop. */
static int rival(int ms)
{
	int pid = fork();

	if (!pid) {
		struct timespec t;

		do
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		while (t.tv_sec * 1000 + t.tv_nsec / 1000000 < ms);
		*stop = 1;
		for (;;)
			usleep(1000);
	}
	return pid;
}

static void end(int pid)
{
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 256 + SIGKILL);
}

static void by_switch(void)
{
	int pid;

	fresh_section(0);
	*stop = 0;
	pid = rival(2000);
	CHECK(spin(&mine, &section, stop) == 1);
	CHECK(mine.section == 0 && !*stop);
	end(pid);
	/* who does not mind stays */
	fresh_section(NOT_ON_PREEMPT | NOT_ON_MIGRATE);
	pid = rival(60);
	CHECK(spin(&mine, &section, stop) == 0);
	CHECK(*stop == 1);
	end(pid);
	/* by the flags of the structure too */
	fresh_section(0);
	mine.flags = NOT_ON_PREEMPT | NOT_ON_MIGRATE;
	*stop = 0;
	pid = rival(60);
	CHECK(spin(&mine, &section, stop) == 0);
	end(pid);
	mine.flags = 0;
	/* outside of it, it is forgotten at the next switch */
	mine.section = (uintptr_t)&section;
	usleep(1000);
	CHECK(mine.section == 0);
}

static volatile unsigned long seen_ip;
static volatile uint64_t seen_section;

static void handler(int sig, siginfo_t *si, void *uc)
{
	seen_ip = IP((ucontext_t *)uc);
	seen_section = mine.section;
	*stop = 1;
}

static void by_signal(void)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	struct itimerval soon = {.it_value = {.tv_usec = 30000}};

	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	fresh_section(NOT_ON_PREEMPT | NOT_ON_MIGRATE);
	*stop = 0;
	CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	CHECK(spin(&mine, &section, stop) == 1);
	CHECK(seen_ip == (uintptr_t)spin_abort && seen_section == 0);
	/* who minds neither is interrupted in the middle */
	fresh_section(NOT_ON_PREEMPT | NOT_ON_SIGNAL | NOT_ON_MIGRATE);
	*stop = 0;
	CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	CHECK(spin(&mine, &section, stop) == 0);
	CHECK(seen_ip >= (uintptr_t)spin_start && seen_ip < (uintptr_t)spin_end);
}

static void *moves(void *arg)
{
	usleep(30000);
	on_cpu((int)(long)arg, 1);
	return NULL;
}

static void by_move(void)
{
	pthread_t t;

	fresh_section(NOT_ON_PREEMPT);
	*stop = 0;
	CHECK(mine.cpu_id == 0);
	CHECK(pthread_create(&t, NULL, moves, (void *)(long)getpid()) == 0);
	CHECK(spin(&mine, &section, stop) == 1);
	CHECK(mine.cpu_id == 1 && mine.cpu_id_start == 1);
	CHECK(pthread_join(t, NULL) == 0);
	on_cpu(0, 0);
	CHECK(mine.cpu_id == 0);
}

/* The child says that it is in a section, and is switched. */
static int ends_of(void (*spoil)(void))
{
	int pid = fork();

	if (!pid) {
		fresh_section(0);
		mine.section = (uintptr_t)&section;
		spoil();
		usleep(1000);
		_exit(0);
	}
	return status_of(pid);
}

static void nothing(void) {}
static void version_1(void) { section.version = 1; }
static void nowhere(void) { mine.section = 16; }
static void in_the_kernel(void) { mine.section = 1ul << 63; }
static void start_in_the_kernel(void) { section.start = 1ul << 63; }
static void abort_inside(void) { section.abort = section.start; }
static void abort_unmarked(void) { section.abort += 1; }
static void abort_nowhere(void) { section.abort = 64; }
static void too_long(void) { section.length = -section.start; }
static void only_signals(void)
{
	section.start = 0;
	section.length = 1ul << 38;
	section.abort = 1;
	section.flags = NOT_ON_SIGNAL;
}

static char elsewhere[8192] __attribute__((aligned(4096)));

static void area_gone(void)
{
	CHECK(rseq(&mine, 32, UNREGISTER, SIG_WORD) == 0);
	CHECK(rseq(elsewhere, 32, 0, SIG_WORD) == 0);
	munmap(elsewhere, 4096);
}

static void area_read_only(void)
{
	CHECK(rseq(&mine, 32, UNREGISTER, SIG_WORD) == 0);
	CHECK(rseq(elsewhere, 32, 0, SIG_WORD) == 0);
	mprotect(elsewhere, 4096, PROT_READ);
}

static volatile int caught_times;

/* The second one waits until the handler is through, and finds none. */
static void caught(int sig)
{
	if (caught_times++)
		_exit(7);
}

static void handler_helps_once(void)
{
	signal(SIGSEGV, caught);
	section.version = 1;
}

static void exits(int sig)
{
	_exit(7);
}

static void handler_runs(void)
{
	signal(SIGSEGV, exits);
	section.version = 1;
}

static void bad_ones(void)
{
	CHECK(ends_of(nothing) == 0);
	CHECK(ends_of(version_1) == 256 + SIGSEGV);
	CHECK(ends_of(nowhere) == 256 + SIGSEGV);
	CHECK(ends_of(in_the_kernel) == 256 + SIGSEGV);
	CHECK(ends_of(start_in_the_kernel) == 256 + SIGSEGV);
	CHECK(ends_of(abort_inside) == 256 + SIGSEGV);
	CHECK(ends_of(abort_unmarked) == 256 + SIGSEGV);
	CHECK(ends_of(abort_nowhere) == 256 + SIGSEGV);
	CHECK(ends_of(too_long) == 256 + SIGSEGV);
	CHECK(ends_of(only_signals) == 256 + SIGSEGV);
	CHECK(ends_of(area_gone) == 256 + SIGSEGV);
	CHECK(ends_of(area_read_only) == 256 + SIGSEGV);
	CHECK(ends_of(handler_helps_once) == 256 + SIGSEGV);
	CHECK(ends_of(handler_runs) == 7);
}

int main(int argc, char **argv)
{
	int smp = argc > 1 && !strcmp(argv[1], "smp");

	/* a C library that registers by itself is told not to */
	if (!getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
		return 98;
	}
	if (argc > 1 && !strcmp(argv[1], "exec"))
		return rseq(&mine, 32, 0, SIG_WORD) != 0;
	stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	on_cpu(0, 0);
	refusals();
	who_has_it("/proc/self/exe");
	by_switch();
	by_signal();
	if (smp)
		by_move();
	bad_ones();
	printf("%d failures\n", failures);
	return failures != 0;
}
