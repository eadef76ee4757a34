/* SPDX-License-Identifier: MIT */
/*
 * ACPI's static tables, read only: from the root pointer to a table by its signature, and what of
 * them the kernel needs. Allocates nothing; never reads outside what its caller lets it see, whatever
 * is in the tables. (ACPI 6.4, 5.2, of which 5.2.12 for MADT; PCI Firmware 3.2, 4.1.2 for MCFG.)
 */
#ifndef LIB_ACPI_H
#define LIB_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acpi {
	/* n bytes of physical memory at pa, or NULL: they cannot be seen. What it gave stays. */
	const void *(*map)(void *ctx, uint64_t pa, uint64_t n);
	void *ctx;
	const uint8_t *root; /* RSDT or XSDT */
	uint32_t entries;
	unsigned width;	     /* bytes of an entry: 4 or 8 */
};

/* Starts from the root pointer at pa; map and ctx of *a are set. NULL, or why it cannot be used: one
 * line for people. */
const char *acpi_open(struct acpi *a, uint64_t pa);
/* Looks for a root pointer in [start, end), which map shows, on multiples of 16 as firmware of PCs
 * leaves it. Its address, or 0. */
uint64_t acpi_scan(const struct acpi *a, uint64_t start, uint64_t end);

/* The first table with that signature (four letters) whose length and checksum are right; *len: its
 * bytes, the header included. NULL: there is none. */
const uint8_t *acpi_table(const struct acpi *a, const char *signature, uint32_t *len);

/* Where configuration space of PCI buses lies: the i-th entry of MCFG. false: there is none, or it
 * makes no sense. */
struct acpi_mcfg {
	uint64_t base;	  /* of bus 0, whether or not the entry covers it */
	uint16_t segment;
	uint8_t first_bus, last_bus;
};
bool acpi_mcfg(const struct acpi *a, unsigned i, struct acpi_mcfg *m);

/* A processor: the i-th one of MADT, of those with a local APIC or x2APIC. false: there are no more, or
 * the table ends in the middle of an entry. usable: it is there, and may be started. */
struct acpi_cpu {
	uint32_t apic_id;
	bool usable;
};
bool acpi_cpu(const struct acpi *a, unsigned i, struct acpi_cpu *c);

#endif
