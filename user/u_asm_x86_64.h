/* SPDX-License-Identifier: MIT */
/*
 * What u_linux.c needs of x86-64: program start, the system call instruction, the accesses, and
 * the way back from a signal.
 *
 * Each access is a tiny function whose one interesting instruction lies between u_stubs and
 * u_stubs_end. It returns two registers: what was read, and 0. If the instruction is refused, the
 * signal handler continues at a fix-up with the address in the first and signal and code in the
 * second: no variable is needed, so nothing of it is shared between processes.
 */
#ifndef USER_U_ASM_X86_64_H
#define USER_U_ASM_X86_64_H

#define U_RETURN_CODE 0xc3c3c3c3c3c3c3c3ull /* ret, in any byte */

/* Start: the stack as the kernel made it is the argument. */
__asm__(".pushsection .text\n"
	".globl _start\n"
	"_start:\n"
	"	xorl %ebp, %ebp\n"
	"	movq %rsp, %rdi\n"
	"	andq $-16, %rsp\n"
	"	call u_start\n"
	"	hlt\n"
	".popsection\n");

#define U_STUB_LOAD(n, insn)                                                                       \
	"u_load" #n ":	" insn "\n"                                                                \
	"	xorl %edx, %edx\n"                                                                 \
	"	ret\n"
#define U_STUB_STORE(n, insn)                                                                      \
	"u_store" #n ":	" insn "\n"                                                                \
	"	xorl %edx, %edx\n"                                                                 \
	"	ret\n"

/* u_fetch: a refused fetch happens at the address called, with our return address on the stack;
 * the handler knows it by that. The last stub is where every refused access ends. */
__asm__(".pushsection .text\n"
	"	.p2align 8\n"
	"u_stubs:\n" U_STUB_LOAD(1, "movzbl (%rdi), %eax") U_STUB_LOAD(2, "movzwl (%rdi), %eax")
		U_STUB_LOAD(4, "movl (%rdi), %eax") U_STUB_LOAD(8, "movq (%rdi), %rax")
			U_STUB_STORE(1, "movb %sil, (%rdi)")
				U_STUB_STORE(2, "movw %si, (%rdi)")
					U_STUB_STORE(4, "movl %esi, (%rdi)")
						U_STUB_STORE(8, "movq %rsi, (%rdi)")
	"u_stubs_end:\n"
	"u_fetch:\n"
	"	xorl %eax, %eax\n" /* zeros as code then fault at address 0 */
	"	call *%rdi\n"
	"u_fetched:\n"
	"	xorl %edx, %edx\n"
	"u_refused:\n"
	"	ret\n"
	"u_restorer:\n"
	"	movl $15, %eax\n"
	"	syscall\n"
	".popsection\n");

/* Linux's ucontext here: flags, link, stack_t, then 23 general registers. */
enum { U_REG_RDX = 12, U_REG_RAX = 13, U_REG_RSP = 15, U_REG_RIP = 16 };

extern char u_stubs[], u_stubs_end[], u_fetched[], u_refused[], u_restorer[];

/* Continues the interrupted access at its fix-up. False: it was none of ours. */
static inline bool u_resume(void *ucontext, uint64_t addr, uint64_t why)
{
	uint64_t *reg = (uint64_t *)((char *)ucontext + 40);
	char *ip = (char *)reg[U_REG_RIP];

	if (ip < u_stubs || ip >= u_stubs_end) {
		/* A fetch: back to our caller, past the return address of the call. */
		if (*(char **)reg[U_REG_RSP] != u_fetched)
			return false;
		reg[U_REG_RSP] += 8;
	}
	reg[U_REG_RIP] = (uint64_t)u_refused;
	reg[U_REG_RAX] = addr;
	reg[U_REG_RDX] = why;
	return true;
}

#define U_SA_RESTORER	 0x04000000ul
#define U_SIGACTION_WORDS 4 /* handler, flags, restorer, mask */

/* What is in the third word of a sigaction here. */
static inline uint64_t u_third_word(void)
{
	return (uint64_t)u_restorer;
}

static inline void u_sync_code(void)
{
}

/* Runs fn(arg) on another stack; comes back only if fn does. */
static inline void u_on_stack(void *top, void (*fn)(void *), void *arg)
{
	__asm__ volatile("movq %%rsp, %%rbx\n"
			 "movq %0, %%rsp\n"
			 "call *%1\n"
			 "movq %%rbx, %%rsp\n"
			 :
			 : "r"(top), "r"(fn), "D"(arg)
			 : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory");
}

/* clone() onto another stack; the child runs fn(arg) there and never returns. */
static inline long u_clone_on(long flags, void *top, void (*fn)(void *), void *arg)
{
	long ret;

	__asm__ volatile("movq %4, %%r12\n"
			 "movq %5, %%r13\n"
			 "xorl %%r10d, %%r10d\n"
			 "xorl %%r8d, %%r8d\n"
			 "syscall\n"
			 "testq %%rax, %%rax\n"
			 "jnz 1f\n"
			 "movq %%r13, %%rdi\n"
			 "call *%%r12\n"
			 "hlt\n"
			 "1:\n"
			 : "=a"(ret)
			 : "a"(56l), "D"(flags), "S"(top), "r"(fn), "r"(arg), "d"(0l)
			 : "rcx", "r8", "r10", "r11", "r12", "r13", "memory");
	return ret;
}

#endif
