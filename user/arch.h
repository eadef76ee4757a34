/* SPDX-License-Identifier: MIT */
/*
 * Which architecture the user programs are built for: the one place in user/ and bench/ that asks.
 * Its arch_NAME.h holds the instructions and words that any of them may need, its asm_NAME.h what
 * u_linux.c needs besides. The fake machine speaks x86-64, like the host that it runs on.
 */
#ifndef USER_ARCH_H
#define USER_ARCH_H

#include <stdint.h>

/* The names that `[NAME]` may give in a scenario, from 1 on; 0 is every machine. */
#define U_ARCHES "x86_64", "riscv64"

#if defined(__x86_64__)
#include "user/arch_x86_64.h"
#elif defined(__riscv)
#include "user/arch_riscv64.h"
#else
#error "the user programs do not know this architecture"
#endif

#endif
