/* SPDX-License-Identifier: MIT */
/*
 * RISC-V trap entry and exit, the switch between kernel contexts, floating-point registers, and the
 * few loops that touch user memory. sscratch tells where a trap came from (csr.h).
 */
#include "csr.h"

#define PROBE_FAULTED 1

	.macro	for_saved_regs op
	\op	x1, 8(sp)
	\op	x3, 24(sp)
	\op	x4, 32(sp)
	\op	x5, 40(sp)
	\op	x6, 48(sp)
	\op	x7, 56(sp)
	\op	x8, 64(sp)
	\op	x9, 72(sp)
	\op	x10, 80(sp)
	\op	x11, 88(sp)
	\op	x12, 96(sp)
	\op	x13, 104(sp)
	\op	x14, 112(sp)
	\op	x15, 120(sp)
	\op	x16, 128(sp)
	\op	x17, 136(sp)
	\op	x18, 144(sp)
	\op	x19, 152(sp)
	\op	x20, 160(sp)
	\op	x21, 168(sp)
	\op	x22, 176(sp)
	\op	x23, 184(sp)
	\op	x24, 192(sp)
	\op	x25, 200(sp)
	\op	x26, 208(sp)
	\op	x27, 216(sp)
	\op	x28, 224(sp)
	\op	x29, 232(sp)
	\op	x30, 240(sp)
	\op	x31, 248(sp)
	.endm

	.text
	.balign 4
	.globl riscv_trap_entry
riscv_trap_entry:
	csrrw	sp, sscratch, sp
	beqz	sp, .Lfrom_kernel
	addi	sp, sp, -SSCRATCH_ENTERING
	beqz	sp, .Lno_stack
	addi	sp, sp, SSCRATCH_ENTERING - TF_SIZE /* the kernel stack's top was there */
	for_saved_regs sd
	ld	tp, TF_SIZE(sp)			/* and in it this hart's own data */
	csrrw	t0, sscratch, zero
	j	.Lsaved

	/* The first store is to the frame's lowest word: if that has a page, all of it has. */
.Lfrom_kernel:
	csrr	sp, sscratch
	csrwi	sscratch, SSCRATCH_ENTERING
	addi	sp, sp, -TF_SIZE
	sd	zero, 0(sp)
	csrwi	sscratch, 0
	for_saved_regs sd
	addi	t0, sp, TF_SIZE

	/* scause, stval and sepc before anything else can trap; SUM off while the kernel works */
.Lsaved:
	csrr	a1, scause
	csrr	a2, stval
	csrr	a3, sepc
	li	t1, SSTATUS_SUM
	csrrc	a4, sstatus, t1
	sd	t0, 16(sp)
	sd	a3, 0(sp)
	sd	a4, TF_STATUS(sp)
	sd	a1, TF_CAUSE(sp)
	sd	a2, TF_TVAL(sp)
	sd	a0, TF_ORIG_A0(sp)
	mv	a0, sp
	mv	fp, zero
	call	riscv_trap
	mv	a0, sp

	/* a0: the frame to continue. Only four bits of its sstatus count: FS stays what it is now,
	 * since a task switch may have changed whose registers these are. */
	.globl riscv_trap_return
riscv_trap_return:
	mv	sp, a0
	csrci	sstatus, SSTATUS_SIE
	ld	t0, TF_STATUS(sp)
	andi	t1, t0, SSTATUS_SPP
	bnez	t1, 3f
	ld	t2, RV_PCPU_STACK(tp)
	csrw	sscratch, t2
1:	li	t1, SSTATUS_SPP | SSTATUS_SPIE | SSTATUS_SUM | SSTATUS_MXR
	and	t0, t0, t1
	not	t1, t1
	csrr	t2, sstatus
	and	t2, t2, t1
	or	t0, t0, t2
	csrw	sstatus, t0
	ld	t0, 0(sp)
	csrw	sepc, t0
	/* a reservation of the interrupted code must not outlive this */
	sc.d	zero, t0, (sp)
	for_saved_regs ld
	ld	sp, 16(sp)
	sret
	/* kernel code goes on with the data of the hart that it is on now */
3:	sd	tp, 32(sp)
	j	1b

	/* A kernel trap's frame had no page: the stack ran into its guard. The registers of the
	 * first trap are partly gone; the panic stack shows what is left. */
.Lno_stack:
	lla	sp, riscv_panic_stack_top
	addi	sp, sp, -TF_SIZE
	for_saved_regs sd
	csrr	t0, sscratch
	csrwi	sscratch, 0
	addi	t0, t0, TF_SIZE
	sd	t0, 16(sp)
	csrr	t0, sepc
	sd	t0, 0(sp)
	csrr	t0, sstatus
	sd	t0, TF_STATUS(sp)
	csrr	t0, scause
	sd	t0, TF_CAUSE(sp)
	csrr	t0, stval
	sd	t0, TF_TVAL(sp)
	mv	a0, sp
	call	riscv_stack_overflow
2:	wfi
	j	2b

/* ---- kernel contexts ------------------------------------------------------------------------- */

	/* void hal_context_switch(struct hal_context *prev, struct hal_context *next) */
	.globl hal_context_switch
hal_context_switch:
	addi	sp, sp, -112
	sd	ra, 0(sp)
	sd	s0, 8(sp)
	sd	s1, 16(sp)
	sd	s2, 24(sp)
	sd	s3, 32(sp)
	sd	s4, 40(sp)
	sd	s5, 48(sp)
	sd	s6, 56(sp)
	sd	s7, 64(sp)
	sd	s8, 72(sp)
	sd	s9, 80(sp)
	sd	s10, 88(sp)
	sd	s11, 96(sp)
	sd	sp, 0(a0)
	ld	sp, 0(a1)
	ld	ra, 0(sp)
	ld	s0, 8(sp)
	ld	s1, 16(sp)
	ld	s2, 24(sp)
	ld	s3, 32(sp)
	ld	s4, 40(sp)
	ld	s5, 48(sp)
	ld	s6, 56(sp)
	ld	s7, 64(sp)
	ld	s8, 72(sp)
	ld	s9, 80(sp)
	ld	s10, 88(sp)
	ld	s11, 96(sp)
	addi	sp, sp, 112
	ret

	/* A fresh context's ra: s1(s2), which hal_context_init() put there. */
	.globl riscv_context_start
riscv_context_start:
	mv	a0, s2
	mv	fp, zero
	jalr	s1
	call	riscv_context_ended

/* ---- floating point: registers to and from f[32], fcsr --------------------------------------- */

	.option push
	.option arch, rv64gc
	.macro	for_fp_regs op
	\op	f0, 0(a0)
	\op	f1, 8(a0)
	\op	f2, 16(a0)
	\op	f3, 24(a0)
	\op	f4, 32(a0)
	\op	f5, 40(a0)
	\op	f6, 48(a0)
	\op	f7, 56(a0)
	\op	f8, 64(a0)
	\op	f9, 72(a0)
	\op	f10, 80(a0)
	\op	f11, 88(a0)
	\op	f12, 96(a0)
	\op	f13, 104(a0)
	\op	f14, 112(a0)
	\op	f15, 120(a0)
	\op	f16, 128(a0)
	\op	f17, 136(a0)
	\op	f18, 144(a0)
	\op	f19, 152(a0)
	\op	f20, 160(a0)
	\op	f21, 168(a0)
	\op	f22, 176(a0)
	\op	f23, 184(a0)
	\op	f24, 192(a0)
	\op	f25, 200(a0)
	\op	f26, 208(a0)
	\op	f27, 216(a0)
	\op	f28, 224(a0)
	\op	f29, 232(a0)
	\op	f30, 240(a0)
	\op	f31, 248(a0)
	.endm

	.globl riscv_fp_save
riscv_fp_save:
	for_fp_regs fsd
	frcsr	t0
	sw	t0, 256(a0)
	ret

	.globl riscv_fp_load
riscv_fp_load:
	for_fp_regs fld
	lw	t0, 256(a0)
	fscsr	t0
	ret
	.option pop

/* ---- memory that may fault ------------------------------------------------------------------- */

	/* The instruction may fault; if it cannot be resolved, the kernel goes on at \fixup.
	 * Both are stored relative to the table, which so needs no relocation. */
	.macro	may_fault fixup, insn:vararg
9990:	\insn
	.pushsection __ex_table, "a"
	.balign 4
	.word	9990b - .
	.word	\fixup - .
	.popsection
	.endm

	/*
	 * arch_copy_to_user(dst, src, n), arch_copy_from_user(dst, src, n): bytes not copied; one
	 * loop serves both. SUM is on only in here (a trap turns it off and back on). Words where
	 * both addresses are aligned alike: an aligned word never crosses a page, so what is left
	 * is exact.
	 */
	.globl arch_copy_to_user, arch_copy_from_user
arch_copy_to_user:
arch_copy_from_user:
	li	t5, SSTATUS_SUM
	csrs	sstatus, t5
	xor	t0, a0, a1
	andi	t0, t0, 7
	bnez	t0, 3f
1:	andi	t0, a0, 7
	beqz	t0, 2f
	beqz	a2, 4f
	may_fault 4f, lbu t1, 0(a1)
	may_fault 4f, sb t1, 0(a0)
	addi	a0, a0, 1
	addi	a1, a1, 1
	addi	a2, a2, -1
	j	1b
2:	li	t2, 8
	bltu	a2, t2, 3f
	may_fault 4f, ld t1, 0(a1)
	may_fault 4f, sd t1, 0(a0)
	addi	a0, a0, 8
	addi	a1, a1, 8
	addi	a2, a2, -8
	j	2b
3:	beqz	a2, 4f
	may_fault 4f, lbu t1, 0(a1)
	may_fault 4f, sb t1, 0(a0)
	addi	a0, a0, 1
	addi	a1, a1, 1
	addi	a2, a2, -1
	j	3b
4:	csrc	sstatus, t5
	mv	a0, a2
	ret

	/* arch_clear_user(dst, n): bytes not cleared. */
	.globl arch_clear_user
arch_clear_user:
	li	t5, SSTATUS_SUM
	csrs	sstatus, t5
1:	andi	t0, a0, 7
	beqz	t0, 2f
	beqz	a1, 4f
	may_fault 4f, sb zero, 0(a0)
	addi	a0, a0, 1
	addi	a1, a1, -1
	j	1b
2:	li	t2, 8
3:	bltu	a1, t2, 5f
	may_fault 4f, sd zero, 0(a0)
	addi	a0, a0, 8
	addi	a1, a1, -8
	j	3b
5:	beqz	a1, 4f
	may_fault 4f, sb zero, 0(a0)
	addi	a0, a0, 1
	addi	a1, a1, -1
	j	5b
4:	csrc	sstatus, t5
	mv	a0, a1
	ret

	/* int riscv_probe_store(void *p): 0, or 1 if a store to p faults. */
	.globl riscv_probe_store
riscv_probe_store:
	mv	t0, a0
	li	a0, PROBE_FAULTED
	may_fault 1f, sd zero, 0(t0)
	li	a0, 0
1:	ret

/* ---- what the kernel maps for signal handlers to return to ------------------------------------ */

	.section .rodata
	.globl riscv_sigreturn_code, riscv_sigreturn_code_end
	.balign 8
riscv_sigreturn_code:
	.option push
	.option norvc
	li	a7, 139 /* rt_sigreturn */
	ecall
	.option pop
riscv_sigreturn_code_end:
