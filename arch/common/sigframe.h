/* SPDX-License-Identifier: MIT */
/*
 * The parts of Linux's rt_sigframe that have one layout on every 64-bit architecture: siginfo_t,
 * stack_t. Where they stand in the frame, and the registers beside them, is the machine's business.
 */
#ifndef ARCH_COMMON_SIGFRAME_H
#define ARCH_COMMON_SIGFRAME_H

#include "arch/hal_kernel.h"
#include <quire/abi.h>

struct user_stack {
	uint64_t sp;
	int32_t flags, pad;
	uint64_t size;
};

struct user_siginfo {
	int32_t signo, errno_, code, pad;
	union {
		struct {
			int32_t pid, uid, status;
		} sender;
		struct {
			int32_t pid, uid;
			uint64_t value;
		} queued;
		uint64_t addr;
		uint8_t bytes[112];
	};
};

_Static_assert(sizeof(struct user_stack) == 24, "stack_t");
_Static_assert(sizeof(struct user_siginfo) == 128, "siginfo_t");

/* Signals of a fault carry an address, if the kernel raised them (a code above zero). */
static inline bool siginfo_has_addr(const struct hal_siginfo *si)
{
	const uint32_t faults = 1u << SIGSEGV | 1u << SIGBUS | 1u << SIGILL | 1u << SIGFPE |
				1u << SIGTRAP;

	return si->code > 0 && si->signo < 32 && (faults >> si->signo & 1);
}

/* u: zeroed before. SI_KERNEL tells of a fault without saying where: its address reads as 0. */
static inline void siginfo_fill(struct user_siginfo *u, const struct hal_siginfo *si)
{
	u->signo = si->signo;
	u->errno_ = si->errno_;
	u->code = si->code;
	if (siginfo_has_addr(si)) {
		u->addr = si->code == SI_KERNEL ? 0 : si->addr;
		return;
	}
	u->sender.pid = si->pid;
	u->sender.uid = si->uid;
	if (si->code < 0 && si->code != SI_TKILL)
		u->queued.value = si->value;
	else
		u->sender.status = si->status;
}

/* The alternate stack as hal_sigframe_push() and _pop() have it: address, flags, size. */
static inline struct user_stack altstack_to_user(const unsigned long altstack[3])
{
	return (struct user_stack){altstack[0], (int32_t)altstack[1], 0, altstack[2]};
}

static inline void altstack_from_user(unsigned long altstack[3], const struct user_stack *s)
{
	altstack[0] = s->sp;
	altstack[1] = (unsigned)s->flags;
	altstack[2] = s->size;
}

#endif
