/* SPDX-License-Identifier: MIT */
/*
 * What a kernel image without user mode is never asked for, for those that test something: each ends
 * the run. Whoever includes this defines unexpected(what, tf) before, which does not return, and
 * BARE_HEARS_KICKS if it has a kernel_kick() of its own.
 */
#ifndef TEST_ARCH_BARE_NONE_H
#define TEST_ARCH_BARE_NONE_H

#include "arch/hal_kernel.h"

void kernel_syscall(struct trap_frame *tf)
{
	unexpected("system call", tf);
}

void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code)
{
	unexpected("trap from user mode", tf);
}

_Noreturn void kernel_oops(struct trap_frame *tf, const char *what)
{
	unexpected(what, tf);
}

void kernel_timer_tick(struct trap_frame *tf)
{
}

#ifndef BARE_HEARS_KICKS
void kernel_kick(struct trap_frame *tf)
{
}
#endif

void kernel_irq_exit(void)
{
}

void kernel_return_to_user(struct trap_frame *tf)
{
}

#endif
