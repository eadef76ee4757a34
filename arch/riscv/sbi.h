/* SPDX-License-Identifier: MIT */
/*
 * Calls to the firmware below: the RISC-V Supervisor Binary Interface, version 2.0 and the legacy
 * console that comes before it.
 */
#ifndef ARCH_RISCV_SBI_H
#define ARCH_RISCV_SBI_H

#define SBI_LEGACY_PUTCHAR 0x01
#define SBI_LEGACY_GETCHAR 0x02
#define SBI_BASE	   0x10
#define SBI_BASE_PROBE	   3
#define SBI_TIME	   0x54494d45
#define SBI_RFENCE	   0x52464e43
#define SBI_RFENCE_I	   0
#define SBI_RFENCE_VMA	   1
#define SBI_RFENCE_ASID	   2
#define SBI_IPI		   0x735049
#define SBI_IPI_SEND	   0
#define SBI_HSM		   0x48534d
#define SBI_HSM_START	   0
#define SBI_HSM_STATUS	   2
#define SBI_HSM_STOPPED	   1
#define SBI_SRST	   0x53525354
#define SBI_SRST_SHUTDOWN  0
#define SBI_SRST_FAILURE   1
#define SBI_DBCN	   0x4442434e
#define SBI_DBCN_WRITE	   0

struct sbi_ret {
	long error, value;
};

/* With five arguments, as fences of one ASID have. */
static inline struct sbi_ret sbi_call5(unsigned long ext, unsigned long fn, unsigned long x0,
				       unsigned long x1, unsigned long x2, unsigned long x3,
				       unsigned long x4)
{
	register unsigned long a0 __asm__("a0") = x0;
	register unsigned long a1 __asm__("a1") = x1;
	register unsigned long a2 __asm__("a2") = x2;
	register unsigned long a3 __asm__("a3") = x3;
	register unsigned long a4 __asm__("a4") = x4;
	register unsigned long a6 __asm__("a6") = fn;
	register unsigned long a7 __asm__("a7") = ext;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1)
			 : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
	return (struct sbi_ret){(long)a0, (long)a1};
}

static inline struct sbi_ret sbi_call(unsigned long ext, unsigned long fn, unsigned long x0,
				      unsigned long x1, unsigned long x2)
{
	register unsigned long a0 __asm__("a0") = x0;
	register unsigned long a1 __asm__("a1") = x1;
	register unsigned long a2 __asm__("a2") = x2;
	register unsigned long a6 __asm__("a6") = fn;
	register unsigned long a7 __asm__("a7") = ext;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	return (struct sbi_ret){(long)a0, (long)a1};
}

static inline _Bool sbi_has(unsigned long ext)
{
	struct sbi_ret r = sbi_call(SBI_BASE, SBI_BASE_PROBE, ext, 0, 0);

	return !r.error && r.value;
}

#endif
