/* SPDX-License-Identifier: MIT */
/* Pressure stall information: the scheduler's side, and what /proc/pressure/memory shows. */
#ifndef KERNEL_PSI_H
#define KERNEL_PSI_H

#include <quire/quire.h>
#include <stdint.h>

void psi_init(void);
/* A task became runnable (1), or sleeps or ends (-1). Interrupts off. */
void psi_runnable(int n);
/* From the tick, interrupts off; now: ns. */
void psi_tick(uint64_t now);
/* Two lines as Linux has them. Any context. */
void psi_show(quire_emit_fn emit, void *ctx);

#endif
