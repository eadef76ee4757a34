/* SPDX-License-Identifier: MIT */
/*
 * RISC-V boot entry, from the firmware's jump to C in the upper half. a0: hart, a1: physical
 * address of the device tree, paging off. Everything here finds its way relative to pc, so that the
 * image runs wherever it was loaded (at a multiple of 2 MiB).
 *
 * The first tables are Sv39's, which every machine of this kind has: the image in 2 MiB leaves,
 * readable, writable and executable for the few moments until mmu.c has made the real ones, and
 * the first 128 GiB of physical memory. Sv48's and Sv57's first tables point to them from their
 * last entry, so that mmu.c can try those modes without moving.
 */
#include "csr.h"

#define PTE_TABLE 0x01
#define PTE_RWX	  0xef /* D A G X W R V */
#define PTE_RW	  0xe7 /* D A G W R V */
#define PAGE_SIZE 4096
#define RV_CPUS_MAX 16

/* Sv39's index of the image base, of the early direct map, and its length in GiB. */
#define IMAGE_SLOT  510
#define DIRECT_SLOT 256
#define DIRECT_GIB  128
#define MEGA_SHIFT  21

	.section .text.boot, "ax"
	.globl _start
_start:
	csrw	sie, zero
	csrci	sstatus, SSTATUS_SIE
	mv	s3, a0			/* s0 is the frame pointer, cleared below */
	mv	s1, a1

	/* One hart starts the machine. The firmware's call to start another is not atomic (OpenSBI before
	 * 1.3: its state says so before its address does), and that one may come here instead. */
	lla	t0, riscv_started
	li	t1, 1
	amoadd.w.aqrl t1, t1, (t0)
	bnez	t1, .Lsecond

	/* s2: what to add to a linked address to get the loaded one */
	lla	s2, _start
	ld	t0, .Llinked_start
	sub	s2, s2, t0

	lla	t0, __bss_start
	lla	t1, __bss_end
1:	bgeu	t0, t1, 2f
	sd	zero, 0(t0)
	addi	t0, t0, 8
	j	1b

	/* the image, from its own first 2 MiB on, as far as it reaches */
2:	lla	t0, riscv_early_image
	lla	t1, _start
	lla	t2, __image_end
	li	t4, 1 << MEGA_SHIFT
	ld	t5, .Llinked_start
	srli	t5, t5, MEGA_SHIFT
	andi	t5, t5, 511
	slli	t5, t5, 3
	add	t0, t0, t5
3:	srli	t3, t1, 12
	slli	t3, t3, 10
	ori	t3, t3, PTE_RWX
	sd	t3, 0(t0)
	addi	t0, t0, 8
	add	t1, t1, t4
	bltu	t1, t2, 3b

	lla	t0, riscv_early_sv39
	lla	t1, riscv_early_image
	srli	t1, t1, 2
	ori	t1, t1, PTE_TABLE
	li	t2, IMAGE_SLOT * 8
	add	t2, t0, t2
	sd	t1, 0(t2)

	li	t2, DIRECT_SLOT * 8
	add	t2, t0, t2
	li	t1, PTE_RW
	li	t3, 1 << 28 /* one GiB further, in the entry's frame field */
	li	t4, DIRECT_GIB
4:	sd	t1, 0(t2)
	add	t1, t1, t3
	addi	t2, t2, 8
	addi	t4, t4, -1
	bnez	t4, 4b

	/* the wider modes' last entries */
	lla	t1, riscv_early_sv48
	srli	t2, t0, 2
	ori	t2, t2, PTE_TABLE
	li	t3, 511 * 8
	add	t4, t1, t3
	sd	t2, 0(t4)
	lla	t4, riscv_early_sv57
	srli	t2, t1, 2
	ori	t2, t2, PTE_TABLE
	add	t4, t4, t3
	sd	t2, 0(t4)

	/* Paging on. The next fetch is at an address that is not mapped any more: the trap it makes
	 * leads to the same instruction in the upper half. */
	lla	t1, 5f
	sub	t1, t1, s2
	csrw	stvec, t1
	srli	t0, t0, 12
	li	t1, SATP_MODE_SV39
	slli	t1, t1, SATP_MODE_SHIFT
	or	t0, t0, t1
	sfence.vma
	csrw	satp, t0
	.balign 4
5:	lla	t0, riscv_trap_entry
	csrw	stvec, t0
	csrw	sscratch, zero
	lla	sp, riscv_boot_stack_top
	addi	sp, sp, -RV_STACK_WORD
	lla	tp, rv_percpu
	mv	fp, zero
	mv	ra, zero
	mv	a0, s3
	mv	a1, s1
	neg	a2, s2
	call	riscv_start
6:	wfi
	j	6b

	/* The struct of this hart, which was filled before it was to start. */
.Lsecond:
	fence	rw, rw
	lla	a1, rv_percpu
	li	t1, RV_CPUS_MAX
8:	lwu	t2, RV_PCPU_HART(a1)
	ld	t3, RV_PCPU_SELF(a1)
	beqz	t3, 9f
	beq	t2, s3, riscv_secondary_start
9:	addi	a1, a1, RV_PCPU_SIZE
	addi	t1, t1, -1
	bnez	t1, 8b
	j	6b

	.balign 8
.Llinked_start:
	.dword	_start

	/* Another hart, from the firmware, paging off: a1 is the physical address of its struct
	 * rv_percpu. The same trap leads it to the upper half, on the kernel's own tables at once. */
	.globl riscv_secondary_start, riscv_secondary_mapped
riscv_secondary_start:
	csrw	sie, zero
	csrci	sstatus, SSTATUS_SIE
	ld	t0, RV_PCPU_SATP(a1)
	ld	sp, RV_PCPU_SP(a1)
	ld	tp, RV_PCPU_SELF(a1)
	ld	t1, RV_PCPU_ENTRY(a1)
	csrw	stvec, t1
	sfence.vma
	csrw	satp, t0
	.balign 4
riscv_secondary_mapped:
	lla	t0, riscv_trap_entry
	csrw	stvec, t0
	csrw	sscratch, zero
	sfence.vma
	mv	fp, zero
	mv	ra, zero
	call	riscv_secondary
7:	wfi
	j	7b


	.section .bss.pages, "aw", @nobits
	.balign PAGE_SIZE
	.globl riscv_early_sv39, riscv_early_sv48, riscv_early_sv57, riscv_early_image
riscv_early_sv39:
	.skip	PAGE_SIZE
riscv_early_sv48:
	.skip	PAGE_SIZE
riscv_early_sv57:
	.skip	PAGE_SIZE
riscv_early_image:
	.skip	PAGE_SIZE

	/* Stacks of the image: link.ld gives this section pages of its own, mmu.c leaves each first
	 * page unmapped. */
	.section .stacks, "aw", @nobits
	.balign PAGE_SIZE
	.globl riscv_boot_stack_guard, riscv_boot_stack_top
riscv_boot_stack_guard:
	.skip	PAGE_SIZE
	.skip	4 * PAGE_SIZE
riscv_boot_stack_top:
	.globl riscv_panic_stack_guard, riscv_panic_stack_top
riscv_panic_stack_guard:
	.skip	PAGE_SIZE
	.skip	2 * PAGE_SIZE
riscv_panic_stack_top:

	.section .data
	.balign 4
riscv_started:
	.word	0
