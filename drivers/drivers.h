/* SPDX-License-Identifier: MIT */
/* What a kernel calls of drivers/: finding the machine's disks, and letting go of them. The disks are
 * then known by name and number (drivers/block.h). */
#ifndef DRIVERS_DRIVERS_H
#define DRIVERS_DRIVERS_H

#include "lib/printf.h"
#include <quire/block.h>

/* Brings up every disk that the machine has. After quire_init(), interrupts may be off. What cannot
 * be used is said in the log, and left alone. Context: sleep. */
void drivers_init(void);
/* Nobody submits any more: ends the thread that drivers have. What is under way ends in interrupts from
 * now on. Context: sleep, or the boot context. */
void drivers_quiet(void);
/* Lets go of all of them, and of their memory. Nothing is under way. Context: sleep. */
void drivers_exit(void);

/* One line for people. Context: any. */
void drivers_log(const char *fmt, ...) __printf(1, 2);

#endif
