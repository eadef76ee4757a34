/* SPDX-License-Identifier: MIT */
/*
 * What u_linux.c needs of RISC-V: program start, the system call instruction, the accesses, and
 * the way back from a signal. u_asm_x86_64.h tells how the accesses work.
 *
 * The signal handler does not return here: Linux's RISC-V has its return trampoline in the vdso,
 * which a replay unmaps. It loads the registers that a call preserves and goes to the fix-up;
 * the signal was not blocked, and leaving the alternate stack is all that the kernel wants.
 */
#ifndef USER_U_ASM_RISCV64_H
#define USER_U_ASM_RISCV64_H

#define U_RETURN_CODE 0x8082808280828082ull /* c.jr ra, at any even address */

__asm__(".pushsection .text\n"
	".globl _start\n"
	"_start:\n"
	"	.option push\n"
	"	.option norelax\n"
	"	la gp, __global_pointer$\n"
	"	.option pop\n"
	"	mv a0, sp\n"
	"	andi sp, sp, -16\n"
	"	call u_start\n"
	"	unimp\n"
	".popsection\n");

#define U_STUB(name, insn)                                                                         \
	name ":	" insn "\n"                                                                        \
	     "	li a1, 0\n"                                                                        \
	     "	ret\n"

/* u_fetch keeps its own return address in a register that the called code leaves alone. */
__asm__(".pushsection .text\n"
	"	.p2align 8\n"
	"	.option push\n"
	"	.option norvc\n"
	"u_stubs:\n" U_STUB("u_load1", "lbu a0, 0(a0)") U_STUB("u_load2", "lhu a0, 0(a0)")
		U_STUB("u_load4", "lwu a0, 0(a0)") U_STUB("u_load8", "ld a0, 0(a0)")
			U_STUB("u_store1", "sb a1, 0(a0)") U_STUB("u_store2", "sh a1, 0(a0)")
				U_STUB("u_store4", "sw a1, 0(a0)")
					U_STUB("u_store8", "sd a1, 0(a0)")
	"u_stubs_end:\n"
	"u_fetch:\n"
	"	mv t2, ra\n"
	"	fence.i\n"
	"	jalr ra, 0(a0)\n"
	"u_fetched:\n"
	"	mv ra, t2\n"
	"	li a1, 0\n"
	"u_refused:\n"
	"	ret\n"
	"	.option pop\n"
	/* u_leap(gregs, a0, a1): all that a call preserves, then the fix-up. */
	"u_leap:\n"
	"	ld ra, 8(a0)\n"
	"	ld sp, 16(a0)\n"
	"	ld gp, 24(a0)\n"
	"	ld tp, 32(a0)\n"
	"	ld s0, 64(a0)\n"
	"	ld s1, 72(a0)\n"
	"	ld s2, 144(a0)\n"
	"	ld s3, 152(a0)\n"
	"	ld s4, 160(a0)\n"
	"	ld s5, 168(a0)\n"
	"	ld s6, 176(a0)\n"
	"	ld s7, 184(a0)\n"
	"	ld s8, 192(a0)\n"
	"	ld s9, 200(a0)\n"
	"	ld s10, 208(a0)\n"
	"	ld s11, 216(a0)\n"
	"	mv a0, a1\n"
	"	mv a1, a2\n"
	"	j u_refused\n"
	".popsection\n");

extern char u_stubs[], u_stubs_end[], u_fetched[];
_Noreturn void u_leap(uint64_t *gregs, uint64_t addr, uint64_t why);

/* Linux's ucontext here: flags, link, stack_t, 128 bytes of mask, then pc and x1..x31. */
static inline bool u_resume(void *ucontext, uint64_t addr, uint64_t why)
{
	uint64_t *reg = (uint64_t *)((char *)ucontext + 176);
	char *pc = (char *)reg[0];

	if (pc < u_stubs || pc >= u_stubs_end) {
		if ((char *)reg[1] != u_fetched)
			return false;
		reg[1] = reg[7]; /* ra = t2: our caller */
	}
	u_leap(reg, addr, why);
}

#define U_SA_RESTORER	 0ul
#define U_SIGACTION_WORDS 3 /* handler, flags, mask */

/* What is in the third word of a sigaction here. */
static inline uint64_t u_third_word(void)
{
	return 0;
}

static inline void u_sync_code(void)
{
	__asm__ volatile("fence.i" ::: "memory");
}

/* Runs fn(arg) on another stack; comes back only if fn does. */
static inline void u_on_stack(void *top, void (*fn)(void *), void *arg)
{
	register void *a0 __asm__("a0") = arg;

	__asm__ volatile("mv s1, sp\n"
			 "mv sp, %1\n"
			 "jalr ra, 0(%2)\n"
			 "mv sp, s1\n"
			 : "+r"(a0)
			 : "r"(top), "r"(fn)
			 : "s1", "ra", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2",
			   "t3", "t4", "t5", "t6", "memory");
}

/* clone() onto another stack; the child runs fn(arg) there and never returns. */
static inline long u_clone_on(long flags, void *top, void (*fn)(void *), void *arg)
{
	register long a7 __asm__("a7") = 220;
	register long a0 __asm__("a0") = flags;
	register void *a1 __asm__("a1") = top;
	register long a2 __asm__("a2") = 0;
	register long a3 __asm__("a3") = 0;
	register long a4 __asm__("a4") = 0;
	register void *s2 __asm__("s2") = (void *)fn;
	register void *s3 __asm__("s3") = arg;

	__asm__ volatile("ecall\n"
			 "bnez a0, 1f\n"
			 "mv a0, s3\n"
			 "jalr ra, 0(s2)\n"
			 "unimp\n"
			 "1:\n"
			 : "+r"(a0)
			 : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(s2), "r"(s3)
			 : "ra", "memory");
	return a0;
}

#endif
