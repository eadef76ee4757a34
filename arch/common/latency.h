/* SPDX-License-Identifier: MIT */
/*
 * How long interrupts are off, and how long pre-emption: a meter that a build with -Dlatency=true has
 * and any other has not (then all of this is empty). Where the state changes is told here; the
 * longest stretches are kept by the place where they ended, in the machine's count of instructions,
 * which is exact under QEMU's -icount shift=0 on one CPU (that of several is of all together).
 */
#ifndef ARCH_COMMON_LATENCY_H
#define ARCH_COMMON_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Which path the CPU is on, for the records of might_sleep(): what is entered says so, gives the answer
 * back when it leaves, and a switch of tasks carries it along.
 */
enum latency_path { PATH_BOOT, PATH_IDLE, PATH_THREAD, PATH_CALL, PATH_FAULT, PATH_TICK, PATH_RETURN,
		    PATH_DUMP, PATH_DEVICE, LATENCY_PATHS };

#ifdef MEASURE_LATENCY
/* Interrupts have just gone off, or are about to come on; both harmless if they already were. */
void latency_irqs_off(void);
void latency_irqs_on(void);
/* The depth of pre-emption leaves 0, or comes back to it, at this address. */
void latency_preempt_off(uintptr_t at);
void latency_preempt_on(uintptr_t at);
/* A handler that an interrupt brought in is through, interrupts still off: its time, since they went off,
 * is none of the stretch of pre-emption that it interrupted. */
void latency_interrupted(void);
/* Returns the path that was left, for latency_leave(). */
enum latency_path latency_enter(enum latency_path path);
void latency_leave(enum latency_path before);
/* might_sleep() was passed here. */
void latency_might_sleep(void);
/* Calls fn for each path and state in which might_sleep() was passed, n times. */
void latency_show_paths(void (*fn)(const char *path, bool irqs_off, bool preempt_off, uint64_t n));
/* Measures from here on: the start ran with interrupts off. They are off. */
void latency_start(void);
/* Calls fn for every stretch of more than `least` instructions, the longest of each place it ended at.
 * kind: "interrupts" or "preemption"; from, to: code addresses. "lost": n stretches found no room. */
void latency_show(uint64_t least, void (*fn)(const char *kind, uint64_t n, uintptr_t from,
					     uintptr_t to));
#else
static inline void latency_irqs_off(void)
{
}

static inline void latency_irqs_on(void)
{
}

static inline void latency_preempt_off(uintptr_t at)
{
}

static inline void latency_preempt_on(uintptr_t at)
{
}

static inline void latency_interrupted(void)
{
}

static inline enum latency_path latency_enter(enum latency_path path)
{
	return path;
}

static inline void latency_leave(enum latency_path before)
{
}

static inline void latency_might_sleep(void)
{
}

static inline void latency_show_paths(void (*fn)(const char *path, bool irqs_off, bool preempt_off,
						 uint64_t n))
{
}

static inline void latency_start(void)
{
}

static inline void latency_show(uint64_t least, void (*fn)(const char *kind, uint64_t n,
							   uintptr_t from, uintptr_t to))
{
}
#endif

#endif
