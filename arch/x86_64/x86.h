/* SPDX-License-Identifier: MIT */
/*
 * x86-64 internals, for the files of this folder only: instructions that C has no word for,
 * processor features, and the steps of boot in their order.
 */
#ifndef ARCH_X86_64_X86_H
#define ARCH_X86_64_X86_H

#include "arch/hal_kernel.h"
#include "arch/common/boot.h"
#include "arch/common/mmu.h"
#include "arch/common/uaccess.h"
#include "lib/bug.h"
#include <quire/abi.h>

/* ---- instructions ---------------------------------------------------------------------------- */

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
			 : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t read_cr0(void)
{
	uint64_t v;

	__asm__ volatile("movq %%cr0, %0" : "=r"(v));
	return v;
}

static inline void write_cr0(uint64_t v)
{
	__asm__ volatile("movq %0, %%cr0" : : "r"(v) : "memory");
}

static inline uint64_t read_cr3(void)
{
	uint64_t v;

	__asm__ volatile("movq %%cr3, %0" : "=r"(v) : : "memory");
	return v;
}

static inline void write_cr3(uint64_t v)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(v) : "memory");
}

static inline uint64_t read_cr4(void)
{
	uint64_t v;

	__asm__ volatile("movq %%cr4, %0" : "=r"(v));
	return v;
}

static inline void write_cr4(uint64_t v)
{
	__asm__ volatile("movq %0, %%cr4" : : "r"(v) : "memory");
}

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

/* A leaf that the processor does not have reads as zeros. */
struct cpuid x86_cpuid(uint32_t leaf, uint32_t subleaf);

#define CR0_MP (1ul << 1)
#define CR0_EM (1ul << 2)
#define CR0_TS (1ul << 3)
#define CR0_NE (1ul << 5)
#define CR0_WP (1ul << 16)
#define CR0_AM (1ul << 18)
#define CR4_PAE	       (1ul << 5)
#define CR4_PGE	       (1ul << 7)
#define CR4_OSFXSR     (1ul << 9)
#define CR4_OSXMMEXCPT (1ul << 10)
#define CR4_UMIP       (1ul << 11)
#define CR4_LA57       (1ul << 12)
#define CR4_OSXSAVE    (1ul << 18)
#define CR4_SMEP       (1ul << 20)
#define CR4_SMAP       (1ul << 21)

#define MSR_PAT		   0x277
#define MSR_APIC_BASE	   0x1b
#define MSR_EFER	   0xc0000080
#define MSR_STAR	   0xc0000081
#define MSR_LSTAR	   0xc0000082
#define MSR_CSTAR	   0xc0000083
#define MSR_FMASK	   0xc0000084
#define MSR_FS_BASE	   0xc0000100
#define MSR_GS_BASE	   0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX	   0xc0000103
#define EFER_SCE (1ul << 0)
#define EFER_NXE (1ul << 11)

#define RFLAGS_CF 0x1ul
#define RFLAGS_PF 0x4ul
#define RFLAGS_AF 0x10ul
#define RFLAGS_ZF 0x40ul
#define RFLAGS_SF 0x80ul
#define RFLAGS_TF 0x100ul
#define RFLAGS_IF 0x200ul
#define RFLAGS_DF 0x400ul
#define RFLAGS_OF 0x800ul
#define RFLAGS_IOPL 0x3000ul
#define RFLAGS_NT 0x4000ul
#define RFLAGS_RF 0x10000ul
#define RFLAGS_AC 0x40000ul

/* ---- what this processor has ----------------------------------------------------------------- */

extern bool x86_has_smap; /* trap.S reads it too */
extern bool x86_has_rdrand;
extern bool x86_has_1g;		 /* 1 GiB leaves */
extern unsigned x86_phys_bits;	 /* width of a physical address */
extern uint32_t x86_xstate_size; /* bytes of FP state in use; 512: FXSAVE, no XSAVE */
extern uint64_t x86_xfeatures;	 /* XCR0, 0 without XSAVE */

/* ---- boot, in this order --------------------------------------------------------------------- */

/* From boot.S, on the boot tables, with the physical address of the PVH start info. */
_Noreturn void x86_boot(uint64_t start_info);
void x86_console_init(void); /* before anything can be said */
/* Descriptor tables and per-CPU base: from here on a trap is told, not a triple fault. */
void x86_tables_init(unsigned cpu, void *stack_top);
/* Reads features and turns on what the kernel relies on, on this CPU. Ends the machine if something
 * is missing that it cannot run without. */
void x86_features_init(void);
/* Takes the start info apart: memory map, command line, initrd. */
void x86_start_info(uint64_t start_info);
/* Builds the kernel's tables and leaves the boot tables for them. */
void x86_mmu_init(void);
/* Reserves the trace ring if the command line asks for it. */
void x86_trace_ring_init(void);
void x86_time_init(void);
/* [pa, pa + n) is mapped one to one on the boot tables. */
bool x86_boot_reaches(uint64_t pa, uint64_t n);
/* Reads the firmware's tables, from the root pointer that the loader told (0: it did not). */
void x86_acpi_init(uint64_t rsdp);

/* The page map that boot made out of the firmware's: sorted, whole pages, no overlaps. */
struct x86_span {
	uint64_t start, end;
	bool ram; /* else reserved */
};
extern struct x86_span x86_spans[];
extern unsigned x86_nspans;
/* One zeroed page of RAM for a table, below 4 GiB (boot tables reach it); UINT64_MAX: none. */
pfn_t x86_early_page(void *ctx);

/* ---- traps ----------------------------------------------------------------------------------- */

extern const char x86_trap_stubs[];   /* 256 of 16 bytes, trap.S */
extern const char x86_syscall_entry[];
void x86_trap(struct trap_frame *tf, uint64_t cr2);
void x86_paranoid_trap(struct trap_frame *tf, uint64_t cr2);
bool x86_syscall(struct trap_frame *tf);
void x86_lapic_ack(void);
bool x86_has_lapic(void);
unsigned x86_lapic_id(void);
/* Turns this CPU's local APIC on, everything but calls and errors masked. */
void x86_lapic_init(void);
/* Sends an interrupt command, and waits until it is on its way. */
void x86_lapic_send(unsigned id, uint32_t command);

/* ---- other CPUs, smp.c ------------------------------------------------------------------------ */

/* Takes the list of CPUs from ACPI, if that can be used; before the boot tables go. */
struct acpi;
void x86_cpus_init(const struct acpi *a);
unsigned x86_apic_id(unsigned cpu);
/* [start, end) is RAM as the firmware's map has it. */
bool x86_in_ram(uint64_t start, uint64_t end);
extern const char x86_trampoline[], x86_trampoline_end[];
/* A device's message came, on one of its vectors. */
void x86_message(unsigned vector);
/* An address of width va_bits whose upper bits repeat its top one. */
bool x86_canonical(uint64_t va);

/* Symbols of link.ld: the image's parts, page-aligned. */
extern char __image_start[], __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern char __data_start[], __image_end[], __boot_stack_guard[], __boot_stack_top[];

#endif
