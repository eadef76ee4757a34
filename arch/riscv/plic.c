/* SPDX-License-Identifier: MIT */
/*
 * The platform-level interrupt controller (RISC-V PLIC 1.0): lines of devices to the boot hart's
 * S-mode. A line that is up is claimed, which keeps it from interrupting again, its handler is called,
 * and it is completed. Lines are level-triggered: the handler quiets the device.
 */
#include "riscv.h"
#include <quire/abi.h>

#define PRIORITY(irq)	    (4ul * (irq))
#define ENABLE(ctx, irq)    (0x2000ul + 0x80ul * (ctx) + 4ul * ((irq) / 32))
#define THRESHOLD(ctx)	    (0x200000ul + 0x1000ul * (ctx))

#define MAX_IRQ		    128u

static char *priority, *enable, *context; /* mapped registers; NULL: there is no controller */

static struct {
	void (*fn)(void *arg); /* changed with interrupts off */
	void *arg;
} lines[MAX_IRQ];

static unsigned irq_limit(void)
{
	return min(rv_platform.plic_sources + 1, MAX_IRQ);
}

void rv_plic_init(void)
{
	const struct rv_platform *p = &rv_platform;

	if (!p->plic)
		return;
	priority = mmu_map_device(p->plic, PRIORITY(MAX_IRQ));
	enable = mmu_map_device(p->plic + ENABLE(p->plic_context, 0), MAX_IRQ / 8);
	context = mmu_map_device(p->plic + THRESHOLD(p->plic_context), 8);
	for (unsigned i = 0; i < MAX_IRQ / 32; i++)
		hal_reg_write(enable + 4 * i, 4, 0);
	hal_reg_write(context, 4, 0);
	csr_set(sie, SIE_SEIE);
}

static void set_enabled(unsigned irq, bool on)
{
	char *word = enable + 4 * (irq / 32);
	uint32_t v = hal_reg_read(word, 4), bit = 1u << irq % 32;

	hal_reg_write(word, 4, on ? v | bit : v & ~bit);
	hal_reg_write(priority + 4 * irq, 4, on);
}

int hal_irq_request(unsigned irq, void (*fn)(void *arg), void *arg)
{
	irqflags_t flags;

	if (!context || !irq || irq >= irq_limit())
		return -EINVAL;
	if (lines[irq].fn)
		return -EBUSY;
	flags = hal_irq_save();
	lines[irq].fn = fn;
	lines[irq].arg = arg;
	set_enabled(irq, true);
	hal_irq_restore(flags);
	return 0;
}

void hal_irq_free(unsigned irq)
{
	irqflags_t flags = hal_irq_save();

	set_enabled(irq, false);
	lines[irq].fn = NULL;
	hal_irq_restore(flags);
}

int hal_msi_request(void (*fn)(void *arg), void *arg, uint64_t *address, uint32_t *data)
{
	return -ENOSPC;
}

/* One line a trap: another one that is up, or the same again, interrupts anew. So interrupts are off for one
 * handler, however fast a device is. A claim of 0: it is down by now; one that nobody asked for is completed and
 * left masked. */
void rv_external_irq(void)
{
	uint32_t irq = hal_reg_read(context + 4, 4);

	if (!irq)
		return;
	if (irq < MAX_IRQ && lines[irq].fn)
		lines[irq].fn(lines[irq].arg);
	else
		boot_log("interrupt %u that nobody asked for", irq);
	hal_reg_write(context + 4, 4, irq);
}
