/* SPDX-License-Identifier: MIT */
/* RISC-V for user programs: user/arch.h. */
#ifndef USER_ARCH_RISCV64_H
#define USER_ARCH_RISCV64_H

#define U_ARCH 2			     /* its place in U_ARCHES */
#define U_SYS_ARCH riscv64		     /* its column of arch/common/syscall_table.h */
#define U_ASM_HEADER "user/u_asm_riscv64.h"
#define U_CODE_ALIGN 2ull		     /* an instruction's address is a multiple of this */
#define U_TICK 100ul			     /* instructions a tick of u_clock() in QEMU's -icount */

static inline long u_raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
	register long a7 __asm__("a7") = nr;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
			 : "memory");
	return a0;
}

static inline uint64_t u_clock(void)
{
	uint64_t t;

	__asm__ volatile("rdtime %0" : "=r"(t) : : "memory");
	return t;
}

#endif
