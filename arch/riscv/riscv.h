/* SPDX-License-Identifier: MIT */
/*
 * RISC-V internals: what the files of arch/riscv call in each other. No other folder includes it.
 */
#ifndef ARCH_RISCV_RISCV_H
#define ARCH_RISCV_RISCV_H

#include "arch/hal_kernel.h"
#include "arch/common/boot.h"
#include "arch/common/mmu.h"
#include "arch/common/uaccess.h"
#include "lib/bug.h"
#include "lib/fdt.h"

#define PAGE_SIZE PAGE_BYTES

/* ---- platform.c: what the device tree says --------------------------------------------------- */

#define RV_MAX_RANGES 64
#define RV_MAX_VIRTIO 32

struct rv_range {
	struct mem_range r;
	bool no_map; /* not even a translation to it may exist */
};

struct rv_platform {
	struct rv_range ranges[RV_MAX_RANGES];
	unsigned nr_ranges;
	char cmdline[2048];
	phys_addr_t initrd_start, initrd_end; /* equal: there is none */
	phys_addr_t uart;		      /* 0: there is none */
	unsigned uart_shift;		      /* log2 of the distance of its registers */
	phys_addr_t test;		      /* sifive_test, 0: there is none */
	uint64_t timebase;		      /* ticks of rdtime a second */
	uint64_t seed;			      /* of the boot loader's entropy */
	unsigned long hwcap;		      /* bit n: the single-letter extension 'A' + n */
	unsigned boot_hart;
	phys_addr_t plic;		      /* 0: there is none */
	unsigned plic_context;		      /* the boot hart's, for S-mode */
	unsigned plic_sources;		      /* interrupt numbers 1 .. plic_sources */
	struct rv_virtio {
		phys_addr_t regs;
		uint64_t size;
		unsigned irq;
	} virtio[RV_MAX_VIRTIO];	      /* by address */
	unsigned nr_virtio;
	phys_addr_t rtc;		      /* a goldfish clock's registers; 0: there is none */
	uint64_t harts;			      /* bit n: hart n is there */
};

extern struct rv_platform rv_platform;

/* Reads everything from the tree at fdt; early direct map. Does not return if it is unusable. */
void rv_platform_init(phys_addr_t fdt, unsigned boot_hart);
/* Takes whole pages from the top of RAM for good, marks them with kind; UINT64_MAX: none left. */
phys_addr_t rv_boot_alloc(uint64_t size, enum mem_range_kind kind, const char *name,
			  phys_addr_t limit);
/* Forgets RAM at and above limit, where no direct map reaches, and says so. */
void rv_clip_ram(phys_addr_t limit);
/* True if [a, a + n) lies in one bank of RAM. */
bool rv_is_ram(phys_addr_t a, uint64_t n);

/* ---- mmu.c ----------------------------------------------------------------------------------- */

/* Makes the real tables for want levels, or as many as satp takes, and moves to them. */
void rv_mmu_init(unsigned want_sv);
/* True while a fault with a fix-up is part of probing the machine. */
extern bool rv_probing;

/* ---- cpu.c ----------------------------------------------------------------------------------- */

/* The console and the exit device, found through the boot page tables or the real ones. */
void rv_devices_early(void);
void rv_timer_irq(void);

/* ---- plic.c ---------------------------------------------------------------------------------- */

/* Maps the interrupt controller, if there is one, with everything masked. */
void rv_plic_init(void);
void rv_external_irq(void);

/* ---- trap.S ---------------------------------------------------------------------------------- */

void riscv_trap_entry(void);
_Noreturn void riscv_trap_return(struct trap_frame *tf);
void riscv_trap(struct trap_frame *tf);
_Noreturn void riscv_stack_overflow(struct trap_frame *tf);
void riscv_context_start(void);
_Noreturn void riscv_context_ended(void);
void riscv_fp_save(struct hal_fpu *f);
void riscv_fp_load(const struct hal_fpu *f);
int riscv_probe_store(void *p);
extern const char riscv_sigreturn_code[], riscv_sigreturn_code_end[];

/* ---- boot.S and link.ld ---------------------------------------------------------------------- */

extern pteval_t riscv_early_sv39[], riscv_early_sv48[], riscv_early_sv57[];
extern pteval_t riscv_early_image[];
extern char riscv_boot_stack_guard[], riscv_boot_stack_top[];
extern char riscv_panic_stack_guard[], riscv_panic_stack_top[];
extern char __image_start[], __text_end[], __rodata_end[], __image_end[];

/* Physical memory that the boot tables reach: 128 GiB from 0. */
#define RV_EARLY_DIRECT_BASE 0xffffffc000000000ul
#define RV_EARLY_DIRECT_SIZE (128ull << 30)

/* ---- smp.c ------------------------------------------------------------------------------------- */

extern struct rv_percpu rv_percpu[]; /* by CPU number */
/* Numbers the harts that the firmware holds back for us; says which are left out. */
void rv_cpus_init(void);
/* What each hart sets up for itself, the first one too. */
void rv_hart_init(void);
/* satp for the kernel's own tables. */
unsigned long rv_kernel_satp(void);

_Noreturn void riscv_start(unsigned long hart, phys_addr_t fdt, uintptr_t image_offset);

#endif
