/* SPDX-License-Identifier: MIT */
/*
 * The user program of x86_64.c: one page, copied to 0x400000. Each label is a step that ends in a
 * trap; addresses are x86_64.c's. A step that finds something wrong ends in ud2, which no table
 * row of a step with a check expects.
 */
#define DATA_VA	0x500000
#define RO_VA	0x501000
#define RSVD_VA	0x502000
#define HOLE_VA	0x700000

	.section .rodata
	.balign 4096
	.globl x86_test_user, x86_test_user_end
x86_test_user:

.macro STEP name
	.globl x86_step_\name
x86_step_\name:
.endm

/* system call 1000 with the arguments that x86_64.c checks */
.macro DONE
	movl $0x10, %edi
	movl $0x11, %esi
	movl $0x12, %edx
	movl $0x13, %r10d
	movl $0x14, %r8d
	movl $0x15, %r9d
	movl $1000, %eax
	syscall
.endm

STEP read
	movb HOLE_VA + 0x123, %al
STEP write
	movb %al, HOLE_VA + 0x124
STEP fetch
	movl $(HOLE_VA + 0x125), %eax
	jmp *%rax
STEP write_ro
	movq %rax, RO_VA + 8
STEP fetch_nx
	movl $(DATA_VA + 1), %eax
	jmp *%rax
STEP rsvd
	movb RSVD_VA + 3, %al
STEP kernel
	movabsq $0xffffffff80100000, %rax
	movb (%rax), %al
STEP ud2
	ud2
STEP int3
	/* the frame's ip is behind it; x86_64.c expects no address */
	int3
STEP div
	xorl %edx, %edx
	xorl %ecx, %ecx
	divl %ecx
STEP hlt
	hlt
STEP in
	inb $0x60, %al
STEP far
	movabsq $0x8000000000000000, %rax
	movb (%rax), %al
STEP jump
	movabsq $0x8000000000000000, %rax
	jmp *%rax
STEP sysret
	movl $1001, %eax
	syscall
STEP int80
	int $0x80
STEP step
	pushfq
	orl $0x100, (%rsp)
	popfq
	nop
	nop
STEP args
	DONE

STEP result
	movl $1, %ebx
	movl $2, %ebp
	movl $3, %r12d
	movl $4, %r13d
	movl $5, %r14d
	movl $6, %r15d
	movl $7, %edi
	movl $8, %esi
	movl $9, %edx
	movl $10, %r8d
	movl $11, %r9d
	movl $12, %r10d
	movl $1003, %eax
	stc
	syscall
	jnc bad
	cmpq $-38, %rax
	jne bad
	leaq (%rbx, %rbp), %rax
	addq %r12, %rax
	addq %r13, %rax
	addq %r14, %rax
	addq %r15, %rax
	addq %rdi, %rax
	addq %rsi, %rax
	addq %rdx, %rax
	addq %r8, %rax
	addq %r9, %rax
	addq %r10, %rax
	cmpq $78, %rax
	jne bad
	DONE

STEP fp
	movl $0x1234567, %eax
	movd %eax, %xmm7
	fld1
	movl $1004, %eax
	syscall
	movd %xmm7, %eax
	cmpl $0x1234567, %eax
	jne bad
	fld1
	fucomip %st(1), %st
	fstp %st(0)
	jne bad
	DONE

STEP signal
	movl $0x7654321, %eax
	movd %eax, %xmm0
	movl $(handler - x86_test_user), %ebx
	movl $(restorer - x86_test_user), %r12d
	movq $0x1234, -128(%rsp)	/* the red zone is left alone */
	movl $1002, %eax
	syscall
	cmpq $0x1234, -128(%rsp)
	jne bad
	movd %xmm0, %eax
	cmpl $0x7654321, %eax
	jne bad
	DONE
handler:
	movq %rsp, %rax			/* as after a call: 8 below a multiple of 16 */
	andl $15, %eax
	cmpl $8, %eax
	jne bad
	cmpl $10, %edi			/* the signal, its siginfo, its context */
	jne bad
	cmpl $10, (%rsi)
	jne bad
	cmpl $77, 16(%rsi)
	jne bad
	cmpq $0x5a5a, 296(%rdx)		/* uc_sigmask */
	jne bad
	movq 224(%rdx), %rax		/* uc_mcontext.fpregs: xmm0 is at 160 */
	cmpl $0x7654321, 160(%rax)
	jne bad
	movd %xmm0, %eax		/* the handler's own FP state is fresh */
	testl %eax, %eax
	jnz bad
	movl $-1, %eax
	movd %eax, %xmm0
	movl %eax, %ebx
	movl %eax, %ebp
	movl %eax, %r12d
	ret
restorer:
	movl $15, %eax
	syscall

STEP ac_syscall
	pushfq
	orl $0x40400, (%rsp)
	popfq
	DONE
STEP ac_trap
	pushfq
	orl $0x40400, (%rsp)
	popfq
	int3
STEP ac_fault
	pushfq
	orl $0x40400, (%rsp)
	popfq
	movb HOLE_VA, %al
STEP tick
	movl $0x1111, %ebx		/* before the timer starts: it may come at once */
	movl $0x2222, %r15d
	movl $1005, %eax
	syscall
1:	pause
	jmp 1b
bad:
	ud2
x86_test_user_end:
	.org x86_test_user + 4096	/* an error if the program is larger than its page */
	.section .note.GNU-stack, "", @progbits
