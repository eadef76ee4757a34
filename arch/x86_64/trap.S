/* SPDX-License-Identifier: MIT */
/*
 * x86-64 entry to and exit from the kernel: 256 trap stubs, the `syscall` entry, the ways back to
 * user mode, the switch between kernel stacks, and the user copies with their fix-up table.
 *
 * Every way in ends in the same frame (trapframe.h). GS is the kernel's while in kernel mode:
 * swapgs on each crossing, decided by the saved CS. NMI, double fault and machine check can hit
 * between a crossing and its swapgs, so they run on stacks of their own (IST) and look at the GS
 * base itself: a user's is never in the upper half.
 */
#define USER_DS 0x2b
#define USER_CS 0x33
#define VEC_SYSCALL 0x100
#define MSR_GS_BASE 0xc0000101
/* offsets in struct trap_frame, checked against C in trap.c */
#define TF_RBX 40
#define TF_R11 48
#define TF_RCX 88
#define TF_VECTOR 120
#define TF_RIP 136
#define TF_CS 144
#define TF_RSP 160
/* offsets in struct x86_percpu */
#define PCPU_STACK 0
#define PCPU_USER_RSP 8

	.text

.macro PUSH_REGS
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rax
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
.endm

.macro POP_REGS
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
.endm

/* A user program may have set AC, which opens SMAP, and an interrupt does not clear it. */
.macro CLOSE_SMAP
	cmpb $0, x86_has_smap(%rip)
	je 77f
	clac
77:
.endm

	/* Stub n, 16 bytes: an error code where the CPU pushes none, the vector, the common part. */
	.balign 16
	.globl x86_trap_stubs
x86_trap_stubs:
vector = 0
	.rept 256
	.balign 16
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || \
	    vector == 29 || vector == 30
	.else
	pushq $0
	.endif
	pushq $vector
	.if vector == 2 || vector == 8 || vector == 18
	jmp paranoid_trap
	.elseif vector == 14
	jmp page_fault
	.else
	jmp common_trap
	.endif
vector = vector + 1
	.endr
	.balign 16

page_fault:
	PUSH_REGS
	/* nothing may fault before this: the address would be the later fault's */
	movq %cr2, %rsi
	jmp enter_trap
common_trap:
	PUSH_REGS
	xorl %esi, %esi
enter_trap:
	cld
	testb $3, TF_CS(%rsp)
	jz 1f
	swapgs
1:	CLOSE_SMAP
	movq %rsp, %rdi
	xorl %ebp, %ebp
	call x86_trap
	testb $3, TF_CS(%rsp)
	jz back_to_kernel
back_to_user:
	POP_REGS
	addq $16, %rsp
	swapgs
	iretq
back_to_kernel:
	POP_REGS
	addq $16, %rsp
	iretq

paranoid_trap:
	PUSH_REGS
	cld
	CLOSE_SMAP
	movq %cr2, %r12			/* given back below: an NMI may land before #PF reads it */
	movl $MSR_GS_BASE, %ecx
	rdmsr
	xorl %ebx, %ebx
	testl %edx, %edx
	js 1f
	swapgs
	movl $1, %ebx
1:	movq %rsp, %rdi
	movq %r12, %rsi
	call x86_paranoid_trap
	movq %r12, %cr2
	testl %ebx, %ebx
	jz back_to_kernel
	jmp back_to_user

	/* rcx = user rip, r11 = user rflags; IF, DF, TF, AC already masked */
	.balign 16
	.globl x86_syscall_entry
x86_syscall_entry:
	swapgs
	movq %rsp, %gs:PCPU_USER_RSP
	movq %gs:PCPU_STACK, %rsp
	pushq $USER_DS
	pushq %gs:PCPU_USER_RSP
	pushq %r11
	pushq $USER_CS
	pushq %rcx
	pushq %rax			/* the number, kept where a trap has its error code */
	pushq $VEC_SYSCALL
	PUSH_REGS
	movq %rsp, %rdi
	xorl %ebp, %ebp
	call x86_syscall
	testb %al, %al
	jz back_to_user
	/* sysret: rcx and r11 in the frame are rip and rflags, and rip is a user's */
	POP_REGS
	movq TF_RSP - TF_VECTOR(%rsp), %rsp
	swapgs
	sysretq

	/* x86_enter_user(tf): leave through this frame, wherever it lies */
	.globl x86_enter_user
x86_enter_user:
	movq %rdi, %rsp
	jmp back_to_user

	/* x86_switch_stacks(&saved_rsp, next_rsp) */
	.globl x86_switch_stacks
x86_switch_stacks:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret

	/* the first thing a new context runs: rbx(r12) */
	.globl x86_context_start
x86_context_start:
	movq %r12, %rdi
	call *%rbx
	ud2

.macro FIXUP ip, target
	.pushsection __ex_table, "a"
	.balign 4
	.long \ip - ., \target - .
	.popsection
.endm

.macro OPEN_SMAP
	cmpb $0, x86_has_smap(%rip)
	je 77f
	stac
77:
.endm

	/*
	 * arch_copy_to_user(dst, src, n), arch_copy_from_user(dst, src, n): bytes not copied. Bytes
	 * until the user's address is a multiple of 8, then words, then bytes: so no word straddles
	 * two pages, a fault tells exactly what is left, and a refused copy faults once, as on
	 * other machines. r8: bytes of the head; rdx: what follows the part that rcx counts.
	 */
	.globl arch_copy_to_user, arch_copy_from_user
arch_copy_to_user:
	movq %rdi, %r8
	jmp 1f
arch_copy_from_user:
	movq %rsi, %r8
1:	negq %r8
	andl $7, %r8d
	cmpq %rdx, %r8
	cmovaq %rdx, %r8
	subq %r8, %rdx
	movq %r8, %rcx
	OPEN_SMAP
2:	rep movsb
	movq %rdx, %rcx
	andl $7, %edx
	shrq $3, %rcx
3:	rep movsq
	movq %rdx, %rcx
4:	rep movsb
5:	movq %rcx, %rax
	CLOSE_SMAP
	ret
6:	addq %rdx, %rcx
	jmp 5b
7:	leaq (%rdx, %rcx, 8), %rcx
	jmp 5b
	FIXUP 2b, 6b
	FIXUP 3b, 7b
	FIXUP 4b, 5b

	/* arch_clear_user(dst, n): bytes not cleared; in the same three parts */
	.globl arch_clear_user
arch_clear_user:
	movq %rdi, %r8
	negq %r8
	andl $7, %r8d
	cmpq %rsi, %r8
	cmovaq %rsi, %r8
	subq %r8, %rsi
	movq %r8, %rcx
	xorl %eax, %eax
	OPEN_SMAP
2:	rep stosb
	movq %rsi, %rcx
	andl $7, %esi
	shrq $3, %rcx
3:	rep stosq
	movq %rsi, %rcx
4:	rep stosb
5:	movq %rcx, %rax
	CLOSE_SMAP
	ret
6:	addq %rsi, %rcx
	jmp 5b
7:	leaq (%rsi, %rcx, 8), %rcx
	jmp 5b
	FIXUP 2b, 6b
	FIXUP 3b, 7b
	FIXUP 4b, 5b
	.section .note.GNU-stack, "", @progbits
