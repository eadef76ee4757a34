/* SPDX-License-Identifier: MIT */
/*
 * Timers: a function that runs at a time.
 */
#ifndef KERNEL_TIMER_H
#define KERNEL_TIMER_H

#include "lib/rbtree.h"
#include <stdbool.h>
#include <stdint.h>

struct ktimer {
	struct rb_node node;
	uint64_t at; /* ns since boot */
	void (*fn)(struct ktimer *t); /* in the tick, interrupts off, no lock held */
	bool armed;
};

void timers_init(void);
/* Runs t->fn at the first tick from `at` on; one that was set already is set anew. Any context. */
void timer_set(struct ktimer *t, uint64_t at);
/* It will not begin to run any more, but may still be running, on the first CPU. Harmless for one that is
 * not set. Any context. */
void timer_cancel(struct ktimer *t);
/* The same, and its function does not run on the first CPU any more either: what it lies in may be freed.
 * Not from the tick, nor with a lock held that the function takes. */
void timer_cancel_wait(struct ktimer *t);
bool timers_waiting(void);
/* From the tick. */
void timers_expire(uint64_t now);

#endif
