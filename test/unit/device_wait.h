/* SPDX-License-Identifier: MIT */
/* Sleeping for a test without a kernel whose devices interrupt: its thread looks again and again, and
 * the machine's interrupts come in between. */
#ifndef TEST_UNIT_DEVICE_WAIT_H
#define TEST_UNIT_DEVICE_WAIT_H

#include <criterion/criterion.h>

#include "arch/hal.h"
#include <quire/os.h>

static uint64_t device_waits; /* sleeps so far */

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	device_waits++;
	for (unsigned i = 0; i < 10000000; i++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen)
			return;
		hal_irq_restore(hal_irq_save()); /* a moment for interrupts, without giving the host's CPU away */
	}
	cr_assert(false, "the only thread sleeps for ever");
}

#endif
