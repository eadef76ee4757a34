/* SPDX-License-Identifier: MIT */
/* x86-64 for user programs: user/arch.h. */
#ifndef USER_ARCH_X86_64_H
#define USER_ARCH_X86_64_H

#define U_ARCH 1			     /* its place in U_ARCHES */
#define U_SYS_ARCH x86_64		     /* its column of arch/common/syscall_table.h */
#define U_ASM_HEADER "user/u_asm_x86_64.h"
#define U_CODE_ALIGN 1ull		     /* an instruction's address is a multiple of this */
#define U_TICK 1ul			     /* instructions a tick of u_clock() in QEMU's -icount */

static inline long u_raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "+a"(nr)
			 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return nr;
}

static inline uint64_t u_clock(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

#endif
