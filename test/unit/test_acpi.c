/* SPDX-License-Identifier: MIT */
/* lib/acpi.c over tables that the test lays out in a piece of memory: right ones, and each wrong in one
 * way. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/acpi.h"

#define SIZE 8192
#define RSDP 0x100
#define RSDT 0x400
#define XSDT 0x600
#define MCFG 0x803 /* tables need not be aligned */
#define FACP 0x900

static uint8_t m[SIZE];

static const void *map(void *ctx, uint64_t pa, uint64_t n)
{
	return n <= SIZE && pa <= SIZE - n ? m + pa : NULL;
}

static void put(unsigned at, uint64_t v, unsigned n)
{
	for (; n; n--, v >>= 8)
		m[at++] = (uint8_t)v;
}

static void sum(unsigned at, unsigned n, unsigned place)
{
	uint8_t total = 0;

	m[at + place] = 0;
	for (unsigned i = 0; i < n; i++)
		total = (uint8_t)(total + m[at + i]);
	m[at + place] = (uint8_t)-total;
}

static void table(unsigned at, const char *signature, unsigned len)
{
	memcpy(m + at, signature, 4);
	put(at + 4, len, 4);
	sum(at, len, 9);
}

/* revision 0: RSDT only; 2: XSDT too. */
static void lay_out(unsigned revision)
{
	memset(m, 0, sizeof(m));
	memcpy(m + RSDP, "RSD PTR ", 8);
	m[RSDP + 15] = (uint8_t)revision;
	put(RSDP + 16, RSDT, 4);
	put(RSDP + 20, 36, 4);
	put(RSDP + 24, XSDT, 8);
	sum(RSDP, 20, 8);
	sum(RSDP, 36, 32);
	put(RSDT + 36, FACP, 4);
	put(RSDT + 40, MCFG, 4);
	table(RSDT, "RSDT", 44);
	put(XSDT + 36, 0, 8);
	put(XSDT + 44, UINT64_MAX - 3, 8);
	put(XSDT + 52, FACP, 8);
	put(XSDT + 60, MCFG, 8);
	table(XSDT, "XSDT", 68);
	table(FACP, "FACP", 100);
	put(MCFG + 44, 0xb0000000, 8);
	put(MCFG + 52, 0, 2);
	m[MCFG + 54] = 0;
	m[MCFG + 55] = 255;
	put(MCFG + 60, 0x80000000, 8);
	put(MCFG + 68, 1, 2);
	m[MCFG + 70] = 2;
	m[MCFG + 71] = 9;
	table(MCFG, "MCFG", 76);
}

static const char *open_at(struct acpi *a, uint64_t pa)
{
	*a = (struct acpi){.map = map};
	return acpi_open(a, pa);
}

Test(acpi, both_kinds_of_root)
{
	for (unsigned revision = 0; revision <= 2; revision += 2) {
		struct acpi_mcfg c;
		struct acpi a;
		uint32_t len = 0;

		lay_out(revision);
		cr_assert_null(open_at(&a, RSDP));
		cr_expect_eq(acpi_scan(&a, 0, SIZE), RSDP);
		cr_expect_eq(acpi_scan(&a, RSDP + 16, SIZE), 0);
		cr_expect_eq(acpi_table(&a, "FACP", &len), m + FACP);
		cr_expect_eq(len, 100);
		cr_expect_null(acpi_table(&a, "APIC", &len));
		cr_assert(acpi_mcfg(&a, 0, &c));
		cr_expect(c.base == 0xb0000000 && !c.segment && !c.first_bus && c.last_bus == 255);
		cr_assert(acpi_mcfg(&a, 1, &c));
		cr_expect(c.base == 0x80000000 && c.segment == 1 && c.first_bus == 2 && c.last_bus == 9);
		cr_expect(!acpi_mcfg(&a, 2, &c));
	}
}

Test(acpi, a_damaged_root_pointer)
{
	struct acpi a;

	lay_out(2);
	cr_expect_not_null(open_at(&a, 0));
	cr_expect_not_null(open_at(&a, SIZE - 19));
	m[RSDP + 8]++;
	cr_expect_str_eq(open_at(&a, RSDP), "the root pointer is damaged");
	cr_expect_eq(acpi_scan(&a, 0, SIZE), 0);
	lay_out(2);
	m[RSDP + 32]++;
	cr_expect_str_eq(open_at(&a, RSDP), "the root pointer's second part is damaged");
	lay_out(2);
	put(RSDP + 20, 20, 4);
	sum(RSDP, 36, 32);
	cr_expect_str_eq(open_at(&a, RSDP), "the root pointer has no sensible length");
	lay_out(0);
	m[RSDT + 9]++;
	cr_expect_str_eq(open_at(&a, RSDP), "the RSDT is damaged");
}

/* A damaged XSDT is no reason to give up where there is an RSDT. */
Test(acpi, the_other_root)
{
	struct acpi_mcfg c;
	struct acpi a;

	lay_out(2);
	m[XSDT + 9]++;
	cr_assert_null(open_at(&a, RSDP));
	cr_expect_eq(a.width, 4);
	cr_expect(acpi_mcfg(&a, 0, &c));
	m[RSDT + 9]++;
	cr_expect_str_eq(open_at(&a, RSDP), "neither XSDT nor RSDT can be used");
}

Test(acpi, a_damaged_table_is_none)
{
	struct acpi_mcfg c;
	struct acpi a;
	uint32_t len;

	lay_out(2);
	cr_assert_null(open_at(&a, RSDP));
	m[MCFG + 9]++;
	cr_expect(!acpi_mcfg(&a, 0, &c));
	lay_out(2);
	put(MCFG + 4, 35, 4); /* shorter than a header, and right but for that */
	sum(MCFG, 35, 9);
	cr_expect_null(acpi_table(&a, "MCFG", &len));
	put(MCFG + 4, SIZE, 4); /* runs out of memory */
	cr_expect_null(acpi_table(&a, "MCFG", &len));
	put(MCFG + 4, UINT32_MAX, 4);
	cr_expect_null(acpi_table(&a, "MCFG", &len));
}

Test(acpi, an_entry_that_makes_no_sense)
{
	static const struct {
		unsigned at, n;
		uint64_t v;
	} wrong[] = {{44, 8, 0}, {44, 8, 0xb0001000}, {44, 8, UINT64_MAX << 20}, {54, 2, 0x0102}};
	struct acpi_mcfg c;
	struct acpi a;

	for (unsigned i = 0; i < 4; i++) {
		lay_out(2);
		cr_assert_null(open_at(&a, RSDP));
		put(MCFG + wrong[i].at, wrong[i].v, wrong[i].n);
		sum(MCFG, 76, 9);
		cr_expect(!acpi_mcfg(&a, 0, &c), "%u", i);
	}
	lay_out(2); /* cut in the middle of the second entry */
	table(MCFG, "MCFG", 75);
	cr_assert_null(open_at(&a, RSDP));
	cr_expect(acpi_mcfg(&a, 0, &c));
	cr_expect(!acpi_mcfg(&a, 1, &c));
}

/* ---- processors ------------------------------------------------------------------------------ */

/* MADT in the place of FACP: entries of the given bytes, one after the other. */
static void processors(const uint8_t *entries, unsigned n)
{
	lay_out(2);
	memset(m + FACP + 36, 0, 8);
	memcpy(m + FACP + 44, entries, n);
	table(FACP, "APIC", 44 + n);
}

Test(acpi, processors_of_both_kinds)
{
	static const uint8_t entries[] = {
		0, 8, 0, 0, 1, 0, 0, 0,				     /* APIC 0 */
		1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0,	     /* an I/O APIC */
		0, 8, 1, 4, 1, 0, 0, 0,				     /* APIC 4 */
		0, 8, 2, 5, 0, 0, 0, 0,				     /* not there */
		0, 8, 3, 6, 2, 0, 0, 0,				     /* might be plugged in */
		9, 16, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, /* x2APIC 0x1234 */
		9, 8, 0, 0, 1, 0, 0, 0,				     /* too short to be one */
		0, 8, 4, 7, 1, 0, 0, 0,
	};
	static const struct acpi_cpu want[] = {{0, true}, {4, true}, {5, false}, {6, false},
					       {0x1234, true}, {7, true}};
	struct acpi_cpu c;
	struct acpi a;

	processors(entries, sizeof(entries));
	cr_assert_null(open_at(&a, RSDP));
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		cr_assert(acpi_cpu(&a, i, &c), "%u", i);
		cr_expect_eq(c.apic_id, want[i].apic_id, "%u", i);
		cr_expect_eq(c.usable, want[i].usable, "%u", i);
	}
	cr_expect(!acpi_cpu(&a, 6, &c));
}

Test(acpi, a_list_of_processors_that_ends_in_an_entry)
{
	static const uint8_t cut[] = {0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 1, 1, 0, 0};
	static const uint8_t endless[] = {0, 8, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0};
	struct acpi_cpu c;
	struct acpi a;

	processors(cut, sizeof(cut));
	cr_assert_null(open_at(&a, RSDP));
	cr_expect(acpi_cpu(&a, 0, &c));
	cr_expect(!acpi_cpu(&a, 1, &c));
	processors(endless, sizeof(endless));
	cr_expect(acpi_cpu(&a, 0, &c));
	cr_expect(!acpi_cpu(&a, 1, &c));
	lay_out(2);
	cr_expect(!acpi_cpu(&a, 0, &c), "there is no such table");
}
