/* SPDX-License-Identifier: MIT */
/*
 * x86-64 devices: where ACPI says that PCI's configuration space and other CPUs are, and interrupts by message. A
 * message is a write to the local APIC's address; its data is the vector. So each has a vector and a
 * handler of its own, and no routing of lines is needed (that would take ACPI's byte code).
 */
#include "x86.h"
#include "lib/acpi.h"

#define BIOS_AREA     0xe0000u
#define BIOS_AREA_END 0x100000u
#define EBDA_POINTER  0x40eu
#define MSI_ADDRESS   0xfee00000u

static struct acpi_mcfg ecam; /* base 0: there is none */

static struct {
	void (*fn)(void *arg); /* changed with interrupts off */
	void *arg;
} messages[X86_NR_MSI];

/* ---- ACPI, on the boot tables ---------------------------------------------------------------- */

static const void *map_low(void *ctx, uint64_t pa, uint64_t n)
{
	return x86_boot_reaches(pa, n) ? (const void *)pa : NULL;
}

/* The loader told where the root pointer is, or it lies where firmware of PCs leaves it. */
static uint64_t root_pointer(const struct acpi *a, uint64_t told)
{
	const uint8_t *pointer = a->map(a->ctx, EBDA_POINTER, 2);
	uint64_t ebda, found = told;

	__asm__("" : "+r"(pointer)); /* a compiler knows of no object there */
	ebda = (uint64_t)(pointer[0] | pointer[1] << 8) << 4;
	if (!found && ebda >= 0x80000 && ebda < 0xa0000)
		found = acpi_scan(a, ebda, ebda + 1024);
	return found ? found : acpi_scan(a, BIOS_AREA, BIOS_AREA_END);
}

void x86_acpi_init(uint64_t rsdp)
{
	struct acpi a = {.map = map_low};
	const char *why = acpi_open(&a, root_pointer(&a, rsdp));
	struct acpi_mcfg m;

	if (why) {
		boot_log("acpi: %s: no PCI, one CPU", why);
		return;
	}
	x86_cpus_init(&a);
	for (unsigned i = 0; acpi_mcfg(&a, i, &m); i++) {
		if (!m.segment && !m.first_bus) {
			ecam = m;
			return;
		}
	}
}

void hal_devices(void (*fn)(const struct hal_device *d, void *ctx), void *ctx)
{
	if (ecam.base)
		fn(&(struct hal_device){.kind = HAL_PCI_ECAM, .regs = ecam.base,
					.size = (ecam.last_bus + 1ull) << 20}, ctx);
}

/* ---- messages -------------------------------------------------------------------------------- */

int hal_irq_request(unsigned irq, void (*fn)(void *arg), void *arg)
{
	return -EINVAL; /* there are no lines */
}

int hal_msi_request(void (*fn)(void *arg), void *arg, uint64_t *address, uint32_t *data)
{
	for (unsigned i = 0; i < X86_NR_MSI && x86_has_lapic(); i++) {
		irqflags_t flags;

		if (messages[i].fn)
			continue;
		flags = hal_irq_save();
		messages[i].fn = fn;
		messages[i].arg = arg;
		hal_irq_restore(flags);
		*address = MSI_ADDRESS | (uint64_t)x86_lapic_id() << 12;
		*data = X86_VEC_MSI + i;
		return (int)i;
	}
	return -ENOSPC;
}

void hal_irq_free(unsigned irq)
{
	irqflags_t flags = hal_irq_save();

	messages[irq].fn = NULL;
	hal_irq_restore(flags);
}

void x86_message(unsigned vector)
{
	unsigned i = vector - X86_VEC_MSI;

	x86_lapic_ack();
	if (messages[i].fn)
		messages[i].fn(messages[i].arg);
	else
		boot_log("message interrupt %u that nobody asked for", vector);
}
