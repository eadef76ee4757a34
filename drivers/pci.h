/* SPDX-License-Identifier: MIT */
/* PCI functions behind memory-mapped configuration space (ECAM): finding them, their capabilities,
 * their registers, and an interrupt by message (MSI-X). drivers/pci.c. */
#ifndef DRIVERS_PCI_H
#define DRIVERS_PCI_H

#include <stdbool.h>
#include <stdint.h>

struct pci_function {
	char *config;	/* its 4 KiB, mapped */
	unsigned dev, fn; /* on bus 0 */
	uint16_t vendor, device;
};

#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_CAP_VENDOR	 0x09
#define PCI_CAP_MSIX	 0x11

/* Calls fn for every function of bus 0 of the configuration space at phys. */
void pci_scan(uint64_t phys, uint64_t size, void (*fn)(const struct pci_function *f));

uint32_t pci_read(const struct pci_function *f, unsigned off, unsigned width);
/* Where the nth capability of that kind begins, of which `len` bytes lie in configuration space; 0:
 * there are not so many. */
unsigned pci_capability(const struct pci_function *f, unsigned id, unsigned nth, unsigned len);
/* It answers to its registers, and may read and write memory; or does neither any more. */
void pci_enable(const struct pci_function *f, bool on);
/* Maps [off, off + len) of a BAR; NULL: it is no memory, has no address or is not so long. */
char *pci_map(const struct pci_function *f, unsigned bar, uint64_t off, uint64_t len);
/* fn(arg) is called for message 0, the others stay masked. The interrupt's number, or -errno. */
int pci_msix_start(const struct pci_function *f, void (*fn)(void *arg), void *arg);
void pci_msix_stop(const struct pci_function *f, int irq);

#endif
