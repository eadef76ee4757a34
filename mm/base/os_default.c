/* SPDX-License-Identifier: MIT */
/*
 * Weak defaults of the os_*() functions (include/quire/os.h), for a kernel that has nothing of its
 * own yet: one thread, no background work, out of memory is an error. A kernel overrides them one
 * at a time. docs/os.md is the table. This file needs nothing but the machine (hal_*): no library,
 * and no other file of this tree.
 */
#include <quire/os.h>
#include "arch/hal.h"
#include <quire/abi.h>

#define DEFAULT __attribute__((weak))

/* Stage 0: through the machine's own log. */
DEFAULT void os_log(const char *line)
{
	size_t n = 0;

	while (line[n]) {
		n++;
		__asm__ volatile(""); /* else the compiler makes a call of strlen() of it */
	}
	hal_log(line, n);
	hal_log("\n", 1);
}

DEFAULT _Noreturn void os_panic(const char *why)
{
	os_log("panic:");
	os_log(why);
	hal_exit(1);
}

/* Stage 1: no preemption. */
DEFAULT void os_preempt(int delta)
{
}

/* Stage 2: a lone thread that would sleep is a deadlock. */
DEFAULT void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
		os_panic("os_wait: the only thread would sleep for ever");
}

DEFAULT void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
}

DEFAULT void os_wait_killable(const void *key, const uint32_t *word, uint32_t seen, bool any_signal)
{
	os_wait(key, word, seen);
}

DEFAULT void os_wake(const void *key, unsigned n)
{
}

DEFAULT uintptr_t os_thread_id(void)
{
	return 1;
}

DEFAULT unsigned long *os_thread_word(void)
{
	static unsigned long word;

	return &word;
}

DEFAULT void os_cond_resched(void)
{
}

/* Stage 3: no threads; time and entropy are what the machine's counter gives. */
DEFAULT int os_thread_start(const char *name, void (*fn)(void *arg), void *arg,
			    struct os_thread **thread)
{
	return -ENOSYS;
}

DEFAULT void os_thread_stop(struct os_thread *thread)
{
}

DEFAULT bool os_thread_should_stop(void)
{
	return false;
}

DEFAULT void os_thread_urgent(void)
{
}

DEFAULT uint64_t os_clock_ns(void)
{
	return hal_cycles();
}

DEFAULT uint64_t os_entropy(void)
{
	return hal_cycles() * 0x9e3779b97f4a7c15ull;
}

/* Stage 4: no limits, every capability, no process to kill. */
DEFAULT uint64_t os_rlimit(void *owner, int resource)
{
	return RLIM_INFINITY;
}

DEFAULT uint64_t os_rlimit_max(void *owner, int resource)
{
	return RLIM_INFINITY;
}

DEFAULT bool os_capable(void *owner, int cap)
{
	return true;
}

DEFAULT bool os_fatal_signal_pending(void)
{
	return false;
}

DEFAULT bool os_signal_pending(void)
{
	return false;
}

DEFAULT bool os_thread_ends(void)
{
	return false;
}

DEFAULT void os_for_each_owner(void (*fn)(void *owner, void *ctx), void *ctx)
{
}

DEFAULT bool os_owner_facts(void *owner, struct os_owner_facts *facts)
{
	return false;
}

DEFAULT void *os_current_owner(void)
{
	return (void *)0;
}

DEFAULT void os_kill(void *owner)
{
}

DEFAULT bool os_current_is_victim(void)
{
	return false;
}

DEFAULT bool os_out_of_memory(unsigned gfp, unsigned order)
{
	return false;
}

DEFAULT void os_count_fault(bool major)
{
}

DEFAULT void os_memstall(bool begin)
{
}

DEFAULT uint32_t os_current_pid(void)
{
	return 0;
}

DEFAULT const char *os_current_comm(void)
{
	return "";
}
