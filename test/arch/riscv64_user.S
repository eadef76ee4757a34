/* SPDX-License-Identifier: MIT */
/*
 * The user program of riscv64.c: one page, copied to 0x400000. Each label is a step that ends in a
 * trap; addresses are riscv64.c's. A step that finds something wrong ends in an illegal
 * instruction, which the row of such a step does not expect.
 */
#define DATA_VA	0x500000
#define RO_VA	0x501000
#define RSVD_VA	0x502000
#define BUS_VA	0x503000
#define LIVE_VA	0x504000
#define HOLE_VA	0x700000

	.option arch, rv64gc
	.option norelax
	.section .rodata
	.balign 4096
	.globl riscv_test_user, riscv_test_user_end
riscv_test_user:

	.macro STEP name
	.globl riscv_step_\name
riscv_step_\name:
	.endm

	.macro CALL nr
	li	a7, \nr
	ecall
	.endm

	/* call 1000 with the arguments that riscv64.c checks */
	.macro DONE
	li	a0, 0x10
	li	a1, 0x11
	li	a2, 0x12
	li	a3, 0x13
	li	a4, 0x14
	li	a5, 0x15
	CALL	1000
	.endm

STEP read
	li	t0, HOLE_VA + 0x123
	lb	t1, 0(t0)
STEP write
	li	t0, HOLE_VA + 0x124
	sb	t1, 0(t0)
STEP fetch
	li	t0, HOLE_VA + 0x126
	jr	t0
STEP amo
	li	t0, RO_VA + 16
	amoadd.w t1, t1, (t0)
STEP reserve
	li	t0, HOLE_VA + 0x130
	lr.w	t1, (t0)
STEP write_ro
	li	t0, RO_VA + 8
	sd	t1, 0(t0)
STEP fetch_nx
	li	t0, DATA_VA + 2
	jr	t0
STEP rsvd
	li	t0, RSVD_VA + 3
	lb	t1, 0(t0)
STEP bus_read
	li	t0, BUS_VA + 4
	lw	t1, 0(t0)
STEP bus_write
	li	t0, BUS_VA + 5
	sb	t1, 0(t0)
STEP bus_fetch
	li	t0, BUS_VA
	jr	t0
STEP kernel
	li	t0, 0xffffffff80200000
	lb	t1, 0(t0)
STEP far
	li	t0, 0x7000000000000000
	lb	t1, 0(t0)
STEP straddle
	li	t0, DATA_VA
	lla	t0, edge
	jr	t0
STEP illegal
	.4byte	0xffffffff
STEP zero
	.2byte	0
STEP csr
	csrr	t0, sstatus
STEP sret
	sret
STEP ebreak
	.option push
	.option norvc
	ebreak
	.option pop
STEP c_ebreak
	c.ebreak
STEP align
	li	t0, DATA_VA + 1
	amoadd.w t1, t1, (t0)
STEP misaligned
	li	t0, DATA_VA + 3
	li	t1, 0x0102030405060708
	sd	t1, 0(t0)
	ld	t2, 0(t0)
	bne	t1, t2, bad
	DONE
	/* the second store finds what the kernel did to the page after the first */
STEP protected
	li	t0, LIVE_VA + 1
	sb	zero, 0(t0)
	CALL	1010
	sb	zero, 0(t0)
STEP unmapped
	li	t0, LIVE_VA + 0x1002
	sb	zero, 0(t0)
	CALL	1011
	sb	zero, 0(t0)
STEP args
	DONE

STEP result
	mv	s11, sp
	mv	s10, gp
	li	ra, 1
	li	gp, 3
	li	tp, 4
	li	t0, 5
	li	t1, 6
	li	t2, 7
	li	s0, 8
	li	s1, 9
	li	a1, 11
	li	a2, 12
	li	a3, 13
	li	a4, 14
	li	a5, 15
	li	a6, 16
	li	s2, 18
	li	s3, 19
	li	s4, 20
	li	s5, 21
	li	s6, 22
	li	s7, 23
	li	s8, 24
	li	s9, 25
	li	t3, 28
	li	t4, 29
	li	t5, 30
	li	t6, 31
	li	a0, 10
	CALL	1003
	addi	a0, a0, 38
	bnez	a0, bad
	bne	sp, s11, bad
	.irp	r, ra, gp, tp, t0, t1, t2, s0, s1, a1, a2, a3, a4, a5, a6, s2, s3, s4, s5, s6, s7, s8, s9, t3, t4, t5, t6
	add	a0, a0, \r
	.endr
	/* 1 + 3 + 4 ... + 9 + 11 ... + 16 + 18 ... + 25 + 28 ... + 31 */
	addi	a0, a0, -(1 + 42 + 81 + 172 + 118)
	bnez	a0, bad
	DONE

	/* the first time round the kernel answers, steps back, and the call is made again */
STEP restart
	li	a0, 0x77
	CALL	1009
	li	t0, 0x78
	bne	a0, t0, bad
	DONE

STEP fp
	li	t0, 0x1234567
	fmv.d.x	fa0, t0
	fmv.d.x	ft11, t0
	fsrmi	2
	CALL	1004
	fmv.x.d	t1, fa0
	bne	t0, t1, bad
	fmv.x.d	t1, ft11
	bne	t0, t1, bad
	frrm	t1
	addi	t1, t1, -2
	bnez	t1, bad
	fsrmi	0
	li	t0, 0x7654321
	fmv.d.x	fa0, t0
	CALL	1007
	CALL	1008
	DONE

STEP lazy
	li	a0, DATA_VA + 0x10000 - 4
	CALL	1006
	DONE

STEP signal
	li	t0, 0x7654321
	fmv.d.x	fa0, t0
	lla	s2, handler
	lla	s3, restorer
	li	ra, 0x1111
	CALL	1002
	li	t1, 0x1111
	bne	ra, t1, bad
	fmv.x.d	t1, fa0
	li	t0, 0x7654321
	bne	t0, t1, bad
	DONE
handler:
	andi	t0, sp, 15
	bnez	t0, bad
	addi	t0, a0, -10		/* the signal, its siginfo, its context */
	bnez	t0, bad
	bne	a1, sp, bad
	lw	t0, 0(a1)
	bne	t0, a0, bad
	lw	t0, 16(a1)
	addi	t0, t0, -77
	bnez	t0, bad
	addi	t0, sp, 128
	bne	a2, t0, bad
	ld	t0, 40(a2)		/* uc_sigmask */
	li	t1, 0x5a5a
	bne	t0, t1, bad
	ld	t0, 176 + 8(a2)		/* uc_mcontext: pc, ra ... */
	li	t1, 0x1111
	bne	t0, t1, bad
	ld	t0, 176 + 256 + 80(a2)	/* fa0 */
	li	t1, 0x7654321
	bne	t0, t1, bad
	fmv.d.x	fa0, zero
	li	s2, -1
	li	a3, -1
	li	t6, -1
	ret
restorer:
	CALL	139

STEP tick
	li	s1, 0x1111
	li	t6, 0x2222
	CALL	1005
1:	j	1b
bad:
	.4byte	0xffffffff

	.org	riscv_test_user + 4094
edge:	.2byte	0x0013			/* half of a nop: the other half is on the next page */
riscv_test_user_end:
