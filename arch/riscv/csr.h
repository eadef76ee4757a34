/* SPDX-License-Identifier: MIT */
/*
 * RISC-V control and status registers: bits of the supervisor's CSRs and the layout constants that
 * assembly and C share. Numbers only. (The RISC-V Instruction Set Manual, volume II.)
 */
#ifndef ARCH_RISCV_CSR_H
#define ARCH_RISCV_CSR_H

#define SSTATUS_SIE	0x00000002
#define SSTATUS_SPIE	0x00000020
#define SSTATUS_SPP	0x00000100
#define SSTATUS_FS	0x00006000
#define SSTATUS_FS_INIT 0x00002000
#define SSTATUS_FS_CLEAN 0x00004000
#define SSTATUS_FS_DIRTY 0x00006000
#define SSTATUS_SUM	0x00040000
#define SSTATUS_MXR	0x00080000

#define SIE_SSIE 0x002
#define SIE_STIE 0x020
#define SIE_SEIE 0x200

#define SATP_MODE_SHIFT 60
#define SATP_MODE_SV39	8 /* and 9 and 10: one more level each */
#define SATP_ASID_SHIFT 44
#define SATP_ASID_MASK	0xffff

/* struct trap_frame in trapframe.h, which checks these. */
#define TF_SIZE	  288
#define TF_STATUS 256
#define TF_CAUSE  264
#define TF_TVAL	  272
#define TF_ORIG_A0 280

/* struct rv_percpu in cpu.h, checked in cpu.c. */
#define RV_PCPU_STACK 0
#define RV_PCPU_ID    8
#define RV_PCPU_HART  12
#define RV_PCPU_SATP  16
#define RV_PCPU_SP    24
#define RV_PCPU_ENTRY 32
#define RV_PCPU_SELF  40
#define RV_PCPU_TASK  48
#define RV_PCPU_SIZE  72

/* The word at a kernel stack's very end: the struct rv_percpu of the hart that it is in use on. */
#define RV_STACK_WORD 16

/* sscratch: 0 in the kernel, 1 while a kernel trap's frame is not yet known to have a stack, the
 * kernel stack's top in user mode. */
#define SSCRATCH_ENTERING 1

#endif
