/* SPDX-License-Identifier: MIT */
/*
 * Boot helpers that every port needs before there is a kernel: log lines, halting with a reason,
 * and the words of the command line that are the machine's own (boot_option). "arch.h" supplies
 * ARCH_LOG_PREFIX, which begins each line.
 */
#ifndef ARCH_COMMON_BOOT_H
#define ARCH_COMMON_BOOT_H

#include "arch/hal_kernel.h"
#include "lib/bug.h"

/* A line, without its newline. Any context. */
void boot_log(const char *fmt, ...) __printf(1, 2);

/* The same, and the end of the machine: it cannot go on. */
_Noreturn void boot_die(const char *fmt, ...) __printf(1, 2);

/* Copies the value of the word "name=value" to value, cut to its size; false: there is none. What
 * follows "--" is the first program's. */
bool boot_option(const char *cmdline, const char *name, char *value, size_t size);

/* What the boot loader gave hal_entropy() to start from; 0: nothing. */
extern uint64_t boot_seed;

#endif
