/* SPDX-License-Identifier: MIT */
/*
 * PCI by ECAM. Only bus 0 is looked at: what an emulator plugs in lies there, and nothing here sets up
 * bridges. Addresses are those that the firmware gave; a function without any is left alone. Only
 * messages are used for interrupts: where a function's line goes stands in ACPI's byte code.
 *
 * What a function says of itself is checked: capabilities may point anywhere or in a circle, and lie
 * about how long a BAR is.
 */
#include "drivers/pci.h"

#include "arch/hal_kernel.h"
#include "drivers/drivers.h"
#include "lib/bug.h"
#include <quire/abi.h>

#define BUS_SIZE      (1u << 20)
#define FUNCTION_SIZE 4096u
#define CLASSIC_SIZE  256u /* capabilities lie in there */

#define REG_VENDOR	0x00
#define REG_DEVICE	0x02
#define REG_COMMAND	0x04
#define REG_STATUS	0x06
#define REG_HEADER_TYPE 0x0e
#define REG_BAR(n)	(0x10u + 4 * (n))
#define REG_CAPS	0x34

#define COMMAND_MEMORY	 0x0002u
#define COMMAND_MASTER	 0x0004u
#define COMMAND_NO_INTX	 0x0400u
#define STATUS_CAPS	 0x0010u
#define HEADER_MULTI	 0x80u
#define BAR_IO		 0x1u
#define BAR_TYPE	 0x6u
#define BAR_TYPE_64	 0x4u

#define MSIX_CONTROL	 2
#define MSIX_TABLE	 4
#define MSIX_ENABLE	 0x8000u
#define MSIX_MASK_ALL	 0x4000u
#define MSIX_ENTRY_MASK	 1u

uint32_t pci_read(const struct pci_function *f, unsigned off, unsigned width)
{
	return hal_reg_read(f->config + off, width);
}

static void pci_write(const struct pci_function *f, unsigned off, unsigned width, uint32_t v)
{
	hal_reg_write(f->config + off, width, v);
}

static bool look(char *bus, unsigned dev, unsigned fn, struct pci_function *f)
{
	*f = (struct pci_function){.config = bus + (dev << 15 | fn << 12), .dev = dev, .fn = fn};
	f->vendor = (uint16_t)pci_read(f, REG_VENDOR, 2);
	f->device = (uint16_t)pci_read(f, REG_DEVICE, 2);
	return f->vendor != 0xffff;
}

void pci_scan(uint64_t phys, uint64_t size, void (*fn)(const struct pci_function *f))
{
	char *bus = size >= BUS_SIZE ? hal_map_device(phys, BUS_SIZE) : NULL;
	struct pci_function f;

	if (!bus) {
		drivers_log("pci: its configuration space cannot be mapped");
		return;
	}
	for (unsigned dev = 0; dev < 32; dev++) {
		if (!look(bus, dev, 0, &f))
			continue;
		fn(&f);
		if (!(pci_read(&f, REG_HEADER_TYPE, 1) & HEADER_MULTI))
			continue;
		for (unsigned i = 1; i < 8; i++)
			if (look(bus, dev, i, &f))
				fn(&f);
	}
}

unsigned pci_capability(const struct pci_function *f, unsigned id, unsigned nth, unsigned len)
{
	unsigned at;

	if (!(pci_read(f, REG_STATUS, 2) & STATUS_CAPS))
		return 0;
	at = pci_read(f, REG_CAPS, 1) & ~3u;
	/* no list is longer than there is room for, unless it is a circle */
	for (unsigned i = 0; at >= 0x40 && i < CLASSIC_SIZE / 4; i++) {
		if (pci_read(f, at, 1) == id && at + len <= CLASSIC_SIZE && !nth--)
			return at;
		at = pci_read(f, at + 1, 1) & ~3u;
	}
	return 0;
}

void pci_enable(const struct pci_function *f, bool on)
{
	uint32_t v = pci_read(f, REG_COMMAND, 2) | COMMAND_NO_INTX;

	v = on ? v | COMMAND_MEMORY | COMMAND_MASTER : v & ~(COMMAND_MEMORY | COMMAND_MASTER);
	pci_write(f, REG_COMMAND, 2, v);
}

/* How long a BAR is: those bits of its address that stay 0. It does not answer meanwhile. */
static uint64_t bar_size(const struct pci_function *f, unsigned bar, bool wide)
{
	uint32_t command = pci_read(f, REG_COMMAND, 2);
	uint32_t low = pci_read(f, REG_BAR(bar), 4), high = 0;
	uint64_t mask;

	pci_write(f, REG_COMMAND, 2, command & ~COMMAND_MEMORY);
	pci_write(f, REG_BAR(bar), 4, 0xffffffff);
	mask = 0xffffffff00000000ull | (pci_read(f, REG_BAR(bar), 4) & ~0xfu);
	if (wide) {
		high = pci_read(f, REG_BAR(bar + 1), 4);
		pci_write(f, REG_BAR(bar + 1), 4, 0xffffffff);
		mask = (uint64_t)pci_read(f, REG_BAR(bar + 1), 4) << 32 | (uint32_t)mask;
		pci_write(f, REG_BAR(bar + 1), 4, high);
	}
	pci_write(f, REG_BAR(bar), 4, low);
	pci_write(f, REG_COMMAND, 2, command);
	return ~mask + 1;
}

char *pci_map(const struct pci_function *f, unsigned bar, uint64_t off, uint64_t len)
{
	uint32_t low;
	uint64_t phys, size;
	bool wide;

	if (bar > 5)
		return NULL;
	low = pci_read(f, REG_BAR(bar), 4);
	wide = (low & BAR_TYPE) == BAR_TYPE_64;
	if (low & BAR_IO || (wide && bar == 5))
		return NULL;
	phys = low & ~0xfu;
	if (wide)
		phys |= (uint64_t)pci_read(f, REG_BAR(bar + 1), 4) << 32;
	size = bar_size(f, bar, wide);
	if (!phys || !len || off > size || len > size - off)
		return NULL;
	return hal_map_device(phys + off, len);
}

/* ---- messages -------------------------------------------------------------------------------- */

int pci_msix_start(const struct pci_function *f, void (*fn)(void *arg), void *arg)
{
	unsigned cap = pci_capability(f, PCI_CAP_MSIX, 0, 12);
	uint32_t place = cap ? pci_read(f, cap + MSIX_TABLE, 4) : 0;
	char *entry = cap ? pci_map(f, place & 7, place & ~7u, 16) : NULL;
	uint64_t address;
	uint32_t data;
	int irq;

	if (!entry)
		return -ENODEV;
	irq = hal_msi_request(fn, arg, &address, &data);
	if (irq < 0)
		return irq;
	/* all masked while the table is written; an entry's own mask is set by reset */
	pci_write(f, cap + MSIX_CONTROL, 2, MSIX_ENABLE | MSIX_MASK_ALL);
	hal_reg_write(entry, 4, (uint32_t)address);
	hal_reg_write(entry + 4, 4, (uint32_t)(address >> 32));
	hal_reg_write(entry + 8, 4, data);
	hal_reg_write(entry + 12, 4, hal_reg_read(entry + 12, 4) & ~MSIX_ENTRY_MASK);
	pci_write(f, cap + MSIX_CONTROL, 2, MSIX_ENABLE);
	return irq;
}

void pci_msix_stop(const struct pci_function *f, int irq)
{
	unsigned cap = pci_capability(f, PCI_CAP_MSIX, 0, 12);

	if (cap)
		pci_write(f, cap + MSIX_CONTROL, 2, MSIX_MASK_ALL);
	hal_irq_free((unsigned)irq);
}
