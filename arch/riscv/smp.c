/* SPDX-License-Identifier: MIT */
/*
 * The other harts of RISC-V: which there are (the device tree's, if the firmware holds them back), their
 * start by SBI HSM, interrupts to them by SBI IPI, and flushes of their translations by SBI RFENCE.
 *
 * The firmware makes those flushes in machine mode: a hart whose interrupts are off makes them, too. So
 * nobody has to have interrupts on to flush, as on machines where the others are called.
 */
#include "riscv.h"
#include "arch.h"
#include "sbi.h"
#include <quire/abi.h>

struct rv_percpu rv_percpu[ARCH_CPUS_MAX];

static bool has_rfence;

void riscv_secondary_start(void);
extern const char riscv_secondary_mapped[];
_Noreturn void riscv_secondary(void);

/* ---- which there are ------------------------------------------------------------------------- */

static bool hart_waits(unsigned hart)
{
	struct sbi_ret r = sbi_call(SBI_HSM, SBI_HSM_STATUS, hart, 0, 0);

	if (!r.error && r.value == SBI_HSM_STOPPED)
		return true;
	boot_log("hart %u is not stopped (error %ld, state %ld): left out", hart, r.error, r.value);
	return false;
}

void rv_cpus_init(void)
{
	uint64_t harts = rv_platform.harts & ~(1ull << rv_platform.boot_hart);

	rv_percpu[0].hart = rv_platform.boot_hart;
	has_rfence = sbi_has(SBI_RFENCE);
	for (unsigned hart = 0; harts; hart++, harts >>= 1) {
		if (!(harts & 1) || !hart_waits(hart))
			continue;
		if (hal_cpus == ARCH_CPUS_MAX) {
			boot_log("hart %u and later ones are more than there is room for: left out", hart);
			return;
		}
		rv_percpu[hal_cpus].cpu_id = hal_cpus;
		rv_percpu[hal_cpus].hart = hart;
		hal_cpus++;
	}
}

/* ---- the start of one ------------------------------------------------------------------------ */

bool arch_cpu_start(unsigned cpu, void *stack_top)
{
	struct rv_percpu *c = &rv_percpu[cpu];
	struct sbi_ret r;

	c->kernel_stack = ((unsigned long)stack_top & ~15ul) - RV_STACK_WORD;
	c->satp = rv_kernel_satp();
	c->stack = c->kernel_stack;
	c->entry = (unsigned long)riscv_secondary_mapped;
	c->self = c;
	__asm__ volatile("fence rw, rw" : : : "memory");
	r = sbi_call(SBI_HSM, SBI_HSM_START, c->hart, hal_virt_to_phys((void *)riscv_secondary_start),
		     hal_virt_to_phys(c));
	return !r.error;
}

/* From boot.S: on the kernel's tables and its own stack. */
void riscv_secondary(void)
{
	hal_set_kernel_stack((char *)rv_percpu[hal_cpu_id()].stack + RV_STACK_WORD);
	rv_hart_init();
	smp_cpu_main();
}

/* ---- what reaches them ------------------------------------------------------------------------ */

static unsigned long hart_mask(uint64_t cpus)
{
	unsigned long mask = 0;

	for (unsigned c = 0; cpus; c++, cpus >>= 1)
		if (cpus & 1)
			mask |= 1ul << rv_percpu[c].hart;
	return mask;
}

void arch_call(unsigned cpu)
{
	(void)sbi_call(SBI_IPI, SBI_IPI_SEND, 1ul << rv_percpu[cpu].hart, 0, 0);
}

static void fence_i(void *arg)
{
	arch_fence_i();
}

void arch_fence_i_others(uint64_t cpus)
{
	struct sbi_ret r = {-1, 0};

	if (has_rfence)
		r = sbi_call(SBI_RFENCE, SBI_RFENCE_I, hart_mask(cpus), 0, 0);
	if (r.error)
		smp_call(cpus, fence_i, NULL);
}

/* A size of all ones is everything; a fence of an address leaves global leaves of others, so the
 * kernel's half is fenced for every ASID. */
bool arch_flush_others(uint64_t cpus, const struct mmu_flush *f)
{
	unsigned long start = f->n ? f->start : 0, size = f->n ? f->n * f->step : -1ul;
	struct sbi_ret r;

	if (!has_rfence)
		return false;
	if (f->user && mmu_info.asid_bits)
		r = sbi_call5(SBI_RFENCE, SBI_RFENCE_ASID, hart_mask(cpus), 0, start, size, f->s->asid);
	else
		r = sbi_call5(SBI_RFENCE, SBI_RFENCE_VMA, hart_mask(cpus), 0, start, size, 0);
	return !r.error;
}

unsigned hal_cpu_number(unsigned cpu)
{
	return (unsigned)rv_percpu[cpu].hart;
}
