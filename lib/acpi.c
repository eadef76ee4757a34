/* SPDX-License-Identifier: MIT */
/*
 * ACPI's static tables: every length is checked before it is used, every checksum before anything else
 * of a table is believed. Tables need not be aligned, so numbers are read a byte at a time.
 */
#include "lib/acpi.h"

#include "lib/string.h"

#define RSDP_V1_SIZE 20
#define RSDP_V2_SIZE 36
#define HEADER_SIZE  36
#define TABLE_MAX    (1u << 20) /* real ones have some kilobytes */
#define MCFG_FIRST   44
#define MCFG_ENTRY   16
#define MADT_FIRST   44
#define MADT_LAPIC   0
#define MADT_X2APIC  9
#define CPU_ENABLED  1u

static uint64_t number(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

/* The bytes of a right table add up to 0. */
static bool adds_up(const uint8_t *p, uint32_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return !sum;
}

/* The whole table at pa, or NULL: it cannot be seen, or its length or checksum is wrong. */
static const uint8_t *table_at(const struct acpi *a, uint64_t pa, uint32_t *len)
{
	const uint8_t *p = pa ? a->map(a->ctx, pa, HEADER_SIZE) : NULL;
	uint32_t n;

	if (!p)
		return NULL;
	n = (uint32_t)number(p + 4, 4);
	if (n < HEADER_SIZE || n > TABLE_MAX)
		return NULL;
	p = a->map(a->ctx, pa, n);
	if (!p || !adds_up(p, n))
		return NULL;
	*len = n;
	return p;
}

static bool is_root_pointer(const uint8_t *p)
{
	return !memcmp(p, "RSD PTR ", 8) && adds_up(p, RSDP_V1_SIZE);
}

uint64_t acpi_scan(const struct acpi *a, uint64_t start, uint64_t end)
{
	const uint8_t *p = end > start ? a->map(a->ctx, start, end - start) : NULL;

	for (uint64_t at = 0; p && at + RSDP_V1_SIZE <= end - start; at += 16)
		if (is_root_pointer(p + at))
			return start + at;
	return 0;
}

static bool take_root(struct acpi *a, uint64_t pa, const char *signature, unsigned width)
{
	uint32_t len = 0;
	const uint8_t *p = table_at(a, pa, &len);

	if (!p || memcmp(p, signature, 4))
		return false;
	a->root = p;
	a->width = width;
	a->entries = (len - HEADER_SIZE) / width;
	return true;
}

const char *acpi_open(struct acpi *a, uint64_t pa)
{
	const uint8_t *p = pa ? a->map(a->ctx, pa, RSDP_V1_SIZE) : NULL;
	uint32_t n;

	a->root = NULL;
	a->entries = 0;
	if (!p)
		return "the root pointer is out of reach";
	if (!is_root_pointer(p))
		return "the root pointer is damaged";
	if (p[15] < 2)
		return take_root(a, number(p + 16, 4), "RSDT", 4) ? NULL : "the RSDT is damaged";
	p = a->map(a->ctx, pa, RSDP_V2_SIZE);
	n = p ? (uint32_t)number(p + 20, 4) : 0;
	if (n < RSDP_V2_SIZE || n > 4096)
		return "the root pointer has no sensible length";
	p = a->map(a->ctx, pa, n);
	if (!p || !adds_up(p, n))
		return "the root pointer's second part is damaged";
	if (take_root(a, number(p + 24, 8), "XSDT", 8) ||
	    take_root(a, number(p + 16, 4), "RSDT", 4))
		return NULL;
	return "neither XSDT nor RSDT can be used";
}

const uint8_t *acpi_table(const struct acpi *a, const char *signature, uint32_t *len)
{
	for (uint32_t i = 0; i < a->entries; i++) {
		uint64_t pa = number(a->root + HEADER_SIZE + (size_t)i * a->width, a->width);
		const uint8_t *p = pa ? a->map(a->ctx, pa, HEADER_SIZE) : NULL;

		if (!p || memcmp(p, signature, 4))
			continue;
		p = table_at(a, pa, len);
		if (p)
			return p;
	}
	return NULL;
}

bool acpi_mcfg(const struct acpi *a, unsigned i, struct acpi_mcfg *m)
{
	uint32_t len = 0;
	const uint8_t *p = acpi_table(a, "MCFG", &len);
	uint64_t at = MCFG_FIRST + (uint64_t)i * MCFG_ENTRY;

	if (!p || at + MCFG_ENTRY > len)
		return false;
	p += at;
	*m = (struct acpi_mcfg){number(p, 8), (uint16_t)number(p + 8, 2), p[10], p[11]};
	return m->base && !(m->base & ((1u << 20) - 1)) && m->first_bus <= m->last_bus &&
	       m->base <= UINT64_MAX - (256ull << 20);
}

/* One that is not enabled, though it might be plugged in later, is not there. */
bool acpi_cpu(const struct acpi *a, unsigned i, struct acpi_cpu *c)
{
	uint32_t len = 0;
	const uint8_t *p = acpi_table(a, "APIC", &len);

	for (uint64_t at = MADT_FIRST; p && at + 2 <= len; at += p[at + 1]) {
		const uint8_t *e = p + at;
		bool small = e[0] == MADT_LAPIC && e[1] >= 8;
		bool large = e[0] == MADT_X2APIC && e[1] >= 16;

		if (e[1] < 2 || at + e[1] > len)
			return false;
		if ((!small && !large) || i--)
			continue;
		c->apic_id = small ? e[3] : (uint32_t)number(e + 4, 4);
		c->usable = number(e + (small ? 4 : 8), 4) & CPU_ENABLED;
		return true;
	}
	return false;
}
