/* SPDX-License-Identifier: MIT */
/*
 * Memory runs out on the machine in software: of eight processes one leaks, and it is the one that
 * dies, whatever the order in which they run. Each seed is a machine of its own, with interrupts where
 * the seed has them; seven processes have a few pages each, all of different numbers, and in every other
 * seed go on asking for some while that one, whose memory is locked then, dies.
 *
 * usage: programs_oom FIRST-LAST [watched]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/hal_kernel.h"
#include "lib/lockdep.h"
#include <quire/abi.h>
#include <quire/quire.h>

#include "test/programs/programs.h"

enum { NR_MMAP = 9, NR_MUNMAP = 11, NR_YIELD = 24, NR_PAUSE = 34, NR_EXIT = 60, NR_WAIT4, NR_KILL, NR_MLOCK2 = 325 };

#define RAM	   (32ul << 20)
#define PROCESSES  8
#define PAGE	   4096ul
#define B	   0x200000000ul /* what a process takes */
#define MAP_ANON_FIXED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE)

#define B_MORE (B + RAM * 4)
#define MORE   24ul

#pragma weak fake_unwatched /* the instrumented core alone has it */

static unsigned seed, ready, random_state;
static long pids[PROCESSES];
static const char *wrong;
static bool watched; /* an instrumented core: interrupts at any access, and races are told of */
static char log_text[1 << 16];

static unsigned next(unsigned n)
{
	random_state = random_state * 1103515245u + 12345;
	return (random_state >> 16) % n;
}

/* With points at every access a victim dies so slowly that the reaper, which cannot have what is locked,
 * gives it up meanwhile, as 5.10's does; and another one dies. */
static bool locks(void)
{
	return seed % 2 && !watched;
}

/* Takes *state pages; all there are, if that is 0. */
static void process(void *state)
{
	unsigned long pages = *(unsigned long *)state, word = 1;

	SC(NR_MMAP, B, RAM * 2, PROT_READ | PROT_WRITE, MAP_ANON_FIXED, -1, 0);
	if (!pages && locks())
		SC(NR_MLOCK2, B, RAM * 2, MLOCK_ONFAULT);
	for (unsigned long i = 0; !pages || i < pages; i++) {
		if (!pages && !i) /* the others have theirs before it begins */
			while (__atomic_load_n(&ready, __ATOMIC_RELAXED) < PROCESSES - 1)
				SC(NR_YIELD, 0);
		fake_poke(B + i * PAGE, &word, sizeof(word));
	}
	__atomic_fetch_add(&ready, 1, __ATOMIC_RELAXED);
	for (;;) {
		if (!locks())
			SC(NR_PAUSE, 0);
		SC(NR_MMAP, B_MORE, MORE * PAGE, PROT_READ | PROT_WRITE, MAP_ANON_FIXED | MAP_POPULATE, -1, 0);
		SC(NR_YIELD, 0);
		SC(NR_MUNMAP, B_MORE, MORE * PAGE);
	}
}

static void judge(void)
{
	long leaks = pids[seed % PROCESSES];
	int status = 0;
	long pid = SC(NR_WAIT4, -1, A, 0, 0);

	fake_peek(&status, A, sizeof(status));
	if (pid != leaks)
		wrong = "another one died";
	else if (status != SIGKILL)
		wrong = "it was not killed";
	for (unsigned i = 0; i < PROCESSES; i++)
		if (pids[i] != pid) {
			if (SC(NR_WAIT4, pids[i], A, WNOHANG, 0) != 0)
				wrong = "a second one died";
			SC(NR_KILL, pids[i], SIGKILL);
			SC(NR_WAIT4, pids[i], A, 0, 0);
		}
}

static void first_program(void *state)
{
	static unsigned long pages[PROCESSES];

	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pages[i] = i == seed % PROCESSES ? 0 : 50 + next(400);
		pids[i] = fake_fork(0, process, &pages[i], 0);
		if (pids[i] < 0)
			wrong = "no process";
	}
	judge();
	fake_exit(0);
}

static void log_out(const char *s, size_t n)
{
	size_t used = strlen(log_text);

	if (used + n < sizeof(log_text))
		memcpy(log_text + used, s, n);
}

static unsigned count(const char *what)
{
	unsigned n = 0;

	for (const char *p = log_text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static bool run(void)
{
	struct fake_config c = {.log = log_out, .cmdline = "norandmaps", .ram = RAM, .seed = seed,
				.preempt_every = watched ? 40 + seed % 3 * 200 : 0,
				.watch_races = watched};

	wrong = NULL;
	ready = 0;
	random_state = seed * 2654435761u;
	memset(log_text, 0, sizeof(log_text));
	if (fake_machine_create(&c))
		return false;
	if (watched)
		fake_unwatched(lockdep_cpus, sizeof(lockdep_cpus)); /* an interrupt leaves them as they were */
	if (fake_run(first_program, NULL))
		wrong = "the machine failed";
	fake_machine_destroy();
	if (strstr(log_text, "not given back"))
		wrong = "pages were not given back";
	if (count("Out of memory: Killed process") != 1)
		wrong = "not one was killed";
	if (wrong)
		printf("# seed %u: %s\n# %s\n", seed, wrong, log_text);
	return !wrong;
}

int main(int argc, char **argv)
{
	unsigned first = 1, last = 10, good = 0;

	if (argc > 1 && sscanf(argv[1], "%u-%u", &first, &last) != 2)
		return 2;
	watched = argc > 2;
	printf("1..1\n");
	for (seed = first; seed <= last; seed++)
		good += run();
	printf("%sok 1 - the one that leaks dies, %u of %u seeds\n", good == last - first + 1 ? "" : "not ", good,
	       last - first + 1);
	return good != last - first + 1;
}
