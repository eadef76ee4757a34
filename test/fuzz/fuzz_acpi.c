/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as physical memory with ACPI's tables: nothing outside them is read. As they are, and with
 * every checksum on the way put right, so that what lies behind it is reached.
 */
#include "fuzz.h"

#include "lib/acpi.h"

static const uint8_t *memory;
static size_t memory_size;

/* A block of exactly the bytes that were asked for: a sanitizer sees one too many. */
static uint8_t *blocks[4096];
static unsigned nblocks;

static const void *map(void *ctx, uint64_t pa, uint64_t n)
{
	if (n > memory_size || pa > memory_size - n || nblocks == 4096)
		return NULL;
	blocks[nblocks] = malloc(n ? n : 1);
	FUZZ_CHECK(blocks[nblocks]);
	memcpy(blocks[nblocks], memory + pa, n);
	return blocks[nblocks++];
}

static void look(const uint8_t *data, size_t size)
{
	struct acpi a = {.map = map};
	struct acpi_mcfg m;
	uint64_t at;

	memory = data;
	memory_size = size;
	at = acpi_scan(&a, 16, size);
	FUZZ_CHECK(!at || at + 20 <= size);
	if (!acpi_open(&a, at ? at : 16)) {
		uint32_t len = 0;

		for (unsigned i = 0; i < 8 && acpi_mcfg(&a, i, &m); i++)
			FUZZ_CHECK(m.base && m.first_bus <= m.last_bus);
		if (acpi_table(&a, "APIC", &len))
			FUZZ_CHECK(len >= 36 && len <= size);
		for (unsigned i = 0; i < 64; i++) {
			struct acpi_cpu c;

			if (!acpi_cpu(&a, i, &c))
				break;
			FUZZ_CHECK(i < size / 8);
		}
	}
	while (nblocks)
		free(blocks[--nblocks]);
}

static uint64_t number(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

/* The byte at `sum` makes n bytes at `at` add up to 0, if they lie inside. */
static void put_right(uint8_t *p, size_t size, uint64_t at, uint64_t n, unsigned sum)
{
	uint8_t total = 0;

	if (at >= size || n > size - at || sum >= n)
		return;
	p[at + sum] = 0;
	for (uint64_t i = 0; i < n; i++)
		total = (uint8_t)(total + p[at + i]);
	p[at + sum] = (uint8_t)-total;
}

static void put_table_right(uint8_t *p, size_t size, uint64_t at)
{
	if (at < size && size - at >= 36)
		put_right(p, size, at, number(p + at + 4, 4), 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p;
	uint64_t root;

	look(data, size);
	if (size < 128)
		return 0;
	p = malloc(size);
	FUZZ_CHECK(p);
	memcpy(p, data, size);
	for (unsigned wide = 0; wide < 2; wide++) {
		root = wide ? number(p + 16 + 24, 8) : number(p + 16 + 16, 4);
		for (unsigned i = 0; i < 4 && root < size && size - root >= 36 + 8 * 4; i++)
			put_table_right(p, size, number(p + root + 36 + i * (wide ? 8 : 4), wide ? 8 : 4));
		put_table_right(p, size, root);
	}
	put_right(p, size, 16, 20, 8);
	put_right(p, size, 16, number(p + 16 + 20, 4), 32);
	look(p, size);
	free(p);
	return 0;
}
