/* SPDX-License-Identifier: MIT */
/*
 * lib/fdt.c against libfdt: trees that libfdt writes are read alike; blobs that are cut off or
 * damaged are refused, or read without leaving them (each ends at a page that may not be touched).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/fdt.h"

#define BLOB_MAX 16384
#define PAGE	 4096

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- blobs ----------------------------------------------------------------------------------- */

static void random_props(void *b, int depth)
{
	static const char *const names[] = {"reg", "status", "compatible", "x,long-name-of-a-thing"};
	unsigned char bytes[40];

	for (uint32_t i = rnd(4); i < 4; i++) {
		uint32_t len = rnd(sizeof(bytes));

		for (uint32_t j = 0; j < len; j++)
			bytes[j] = (unsigned char)rnd(256);
		cr_assert_eq(fdt_property(b, names[i], bytes, (int)len), 0);
	}
	cr_assert_eq(fdt_property_u32(b, "depth", (uint32_t)depth), 0);
}

static void random_nodes(void *b, int depth)
{
	char name[24];

	random_props(b, depth);
	for (uint32_t i = rnd(4); depth < 5 && i; i--) {
		snprintf(name, sizeof(name), "node%u@%x", i, rnd(4096));
		cr_assert_eq(fdt_begin_node(b, name), 0);
		random_nodes(b, depth + 1);
		cr_assert_eq(fdt_end_node(b), 0);
	}
}

static void random_blob(void *b)
{
	cr_assert_eq(fdt_create(b, BLOB_MAX), 0);
	for (uint32_t i = rnd(4); i; i--)
		cr_assert_eq(fdt_add_reservemap_entry(b, 0x1000 * (i + 1), 0x100 + i), 0);
	cr_assert_eq(fdt_finish_reservemap(b), 0);
	cr_assert_eq(fdt_begin_node(b, ""), 0);
	random_nodes(b, 0);
	cr_assert_eq(fdt_end_node(b), 0);
	cr_assert_eq(fdt_finish(b), 0);
}

/* What a board's tree looks like, with buses of different widths. */
static void board_blob(void *b)
{
	static const uint32_t mem[] = {0, 0x80000000, 0, 0x1000000, 1, 0, 2, 0};
	static const uint32_t wide[] = {1, 0, 0, 5};

	cr_assert_eq(fdt_create(b, BLOB_MAX), 0);
	cr_assert_eq(fdt_add_reservemap_entry(b, 0x80000000, 0x20000), 0);
	cr_assert_eq(fdt_finish_reservemap(b), 0);
	fdt_begin_node(b, "");
	fdt_property_u32(b, "#address-cells", 2);
	fdt_property_u32(b, "#size-cells", 2);
	fdt_begin_node(b, "memory@80000000");
	fdt_property_string(b, "device_type", "memory");
	{
		uint32_t be[8];

		for (int i = 0; i < 8; i++)
			be[i] = cpu_to_fdt32(mem[i]);
		fdt_property(b, "reg", be, sizeof(be));
		fdt_property(b, "odd", be, 12);
		fdt_property(b, "empty", be, 0);
	}
	fdt_end_node(b);
	fdt_begin_node(b, "bus");
	fdt_property_u32(b, "#address-cells", 1);
	fdt_property_u32(b, "#size-cells", 1);
	{
		uint32_t be[] = {cpu_to_fdt32(0x100000), 0, cpu_to_fdt32(0x4000000),
				 cpu_to_fdt32(0x1000)};

		fdt_property(b, "ranges", be, sizeof(be));
	}
	fdt_begin_node(b, "uart@100100");
	fdt_property(b, "compatible", "acme,u2\0ns16550a", sizeof("acme,u2\0ns16550a"));
	{
		uint32_t be[] = {cpu_to_fdt32(0x100100), cpu_to_fdt32(8)};

		fdt_property(b, "reg", be, sizeof(be));
	}
	fdt_end_node(b);
	fdt_begin_node(b, "far@200000");
	fdt_end_node(b);
	fdt_end_node(b);
	fdt_begin_node(b, "pci");
	fdt_property_u32(b, "#address-cells", 3);
	fdt_property_u32(b, "#size-cells", 1);
	fdt_begin_node(b, "wide");
	{
		uint32_t be[4];

		for (int i = 0; i < 4; i++)
			be[i] = cpu_to_fdt32(wide[i]);
		fdt_property(b, "reg", be, sizeof(be));
	}
	fdt_end_node(b);
	fdt_end_node(b);
	fdt_begin_node(b, "chosen");
	fdt_property_string(b, "bootargs", "a b");
	fdt_property_u64(b, "big", 0x123456789abcdef0ull);
	fdt_property(b, "cut", "abc", 3);
	fdt_end_node(b);
	fdt_end_node(b);
	cr_assert_eq(fdt_finish(b), 0);
}

/* A copy of blob[0, n) whose end is the end of the readable world. */
static unsigned char *at_the_edge(const void *blob, size_t n)
{
	static unsigned char *area;
	unsigned char *p;

	if (!area) {
		area = mmap(NULL, BLOB_MAX + 2 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		cr_assert_neq(area, MAP_FAILED);
		cr_assert_eq(mprotect(area + BLOB_MAX + PAGE, PAGE, PROT_NONE), 0);
	}
	p = area + BLOB_MAX + PAGE - n;
	memcpy(p, blob, n);
	return p;
}

/* Calls everything on every node; what it finds does not matter, that it stays inside does. */
static unsigned walk_all(const struct dtb *d)
{
	uint64_t a, s;
	unsigned n = 0;
	int depth = 0;

	for (unsigned i = 0; dtb_reservation(d, i, &a, &s); i++)
		n++;
	for (dtb_node i = dtb_root(d); i >= 0; i = dtb_next(d, i, &depth)) {
		uint32_t len = 0;
		const unsigned char *p = dtb_prop(d, i, "reg", &len);

		for (uint32_t j = 0; p && j < len; j++)
			n += p[j];
		n += (unsigned)strlen(dtb_name(d, i));
		(void)dtb_string(d, i, "status");
		(void)dtb_string_in(d, i, "compatible", "x");
		(void)dtb_number(d, i, "depth", &a);
		(void)dtb_reg(d, i, "reg", rnd(4), &a, &s);
		a = rnd(1u << 30);
		(void)dtb_translate(d, i, &a);
		(void)dtb_first_child(d, i);
		(void)dtb_next_sibling(d, i);
	}
	(void)dtb_compatible(d, DTB_NONE, "ns16550a");
	(void)dtb_path(d, "/chosen");
	return n;
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void same_node(const struct dtb *d, const void *b, dtb_node n, int off)
{
	int len, lp;

	cr_assert_str_eq(dtb_name(d, n), fdt_get_name(b, off, &len));
	fdt_for_each_property_offset(lp, b, off) {
		const char *name;
		const void *want = fdt_getprop_by_offset(b, lp, &name, &len);
		uint32_t mine = 0;
		const void *got = dtb_prop(d, n, name, &mine);

		cr_assert_eq(got, want, "%s: another place", name);
		cr_assert_eq((int)mine, len);
	}
	cr_assert_null(dtb_prop(d, n, "no such", NULL));
	cr_assert_eq(dtb_parent(d, n), off ? fdt_parent_offset(b, off) : DTB_NONE);
	len = fdt_first_subnode(b, off);
	cr_assert_eq(dtb_first_child(d, n), len < 0 ? DTB_NONE : len);
	len = off ? fdt_next_subnode(b, off) : -1;
	cr_assert_eq(dtb_next_sibling(d, n), len < 0 ? DTB_NONE : len);
}

Test(fdt, reads_what_libfdt_writes)
{
	static uint32_t blob[BLOB_MAX / 4];

	for (int round = 0; round < 200; round++) {
		struct dtb_error e;
		struct dtb d;
		int off = 0, depth = 0, mine = 0;
		uint64_t a, s, la, ls;
		unsigned r = 0;

		random_blob(blob);
		cr_assert_eq(dtb_open(&d, blob, BLOB_MAX, &e), 0);
		for (dtb_node n = dtb_root(&d); n >= 0; n = dtb_next(&d, n, &mine)) {
			cr_assert_eq(n, off);
			cr_assert_eq(mine, depth);
			same_node(&d, blob, n, off);
			off = fdt_next_node(blob, off, &depth);
		}
		cr_assert(off < 0 || depth < 0, "libfdt has more nodes");
		for (; dtb_reservation(&d, r, &a, &s); r++) {
			cr_assert_eq(fdt_get_mem_rsv(blob, (int)r, &la, &ls), 0);
			cr_assert(a == la && s == ls);
		}
		cr_assert_eq((int)r, fdt_num_mem_rsv(blob));
	}
}

Test(fdt, a_board)
{
	static uint32_t blob[BLOB_MAX / 4];
	struct dtb_error e;
	struct dtb d;
	dtb_node n;
	uint64_t a, s;

	board_blob(blob);
	cr_assert_eq(dtb_open(&d, blob, BLOB_MAX, &e), 0);
	n = dtb_path(&d, "/memory");
	cr_assert_str_eq(dtb_name(&d, n), "memory@80000000");
	cr_assert_eq(dtb_path(&d, "/memory@80000000"), n);
	cr_assert_eq(dtb_path(&d, "/memory@8"), DTB_NONE);
	cr_assert_eq(dtb_path(&d, "/mem"), DTB_NONE);
	cr_assert_eq(dtb_reg(&d, n, "reg", 0, &a, &s), 0);
	cr_assert(a == 0x80000000 && s == 0x1000000);
	cr_assert_eq(dtb_reg(&d, n, "reg", 1, &a, &s), 0);
	cr_assert(a == 1ull << 32 && s == 2ull << 32);
	cr_assert_eq(dtb_reg(&d, n, "reg", 2, &a, &s), -ENOENT);
	cr_assert_eq(dtb_reg(&d, n, "odd", 0, &a, &s), -EINVAL);
	cr_assert_eq(dtb_reg(&d, n, "empty", 0, &a, &s), -ENOENT);
	cr_assert_eq(dtb_reg(&d, n, "none", 0, &a, &s), -ENOENT);

	n = dtb_compatible(&d, DTB_NONE, "ns16550a");
	cr_assert_str_eq(dtb_name(&d, n), "uart@100100");
	cr_assert_eq(dtb_compatible(&d, n, "ns16550a"), DTB_NONE);
	cr_assert_eq(dtb_compatible(&d, DTB_NONE, "ns16550"), DTB_NONE);
	cr_assert_eq(dtb_reg(&d, n, "reg", 0, &a, &s), 0);
	cr_assert(a == 0x100100 && s == 8);
	cr_assert_eq(dtb_translate(&d, n, &a), 0);
	cr_assert_eq(a, 0x4000100);
	a = 0x101000;
	cr_assert_eq(dtb_translate(&d, n, &a), -ENOENT);
	n = dtb_path(&d, "/pci/wide");
	cr_assert_eq(dtb_reg(&d, n, "reg", 0, &a, &s), -EINVAL, "an address of 65 bits");
	a = 5;
	cr_assert_eq(dtb_translate(&d, n, &a), -ENOENT, "a bus without ranges maps nothing");

	n = dtb_path(&d, "/chosen");
	cr_assert_str_eq(dtb_string(&d, n, "bootargs"), "a b");
	cr_assert_null(dtb_string(&d, n, "cut"));
	cr_assert_eq(dtb_number(&d, n, "big", &a), 0);
	cr_assert_eq(a, 0x123456789abcdef0ull);
	cr_assert_eq(dtb_number(&d, n, "cut", &a), -EINVAL);
	cr_assert_eq(dtb_number(&d, n, "none", &a), -ENOENT);
	cr_assert_eq(dtb_path(&d, "/"), dtb_root(&d));
	cr_assert_eq(dtb_first_child(&d, n), DTB_NONE);
	cr_assert_eq(dtb_next_sibling(&d, n), DTB_NONE);
	cr_assert_null(dtb_prop(&d, DTB_NONE, "reg", NULL));
	cr_assert_null(dtb_prop(&d, 2, "reg", NULL));
	cr_assert_null(dtb_prop(&d, 0x7ffffffc, "reg", NULL));
}

static void refused(const void *blob, size_t n, const char *why)
{
	struct dtb_error e = {0};
	struct dtb d;

	cr_assert_eq(dtb_open(&d, at_the_edge(blob, n), n, &e), -EINVAL, "accepted, not: %s", why);
	cr_assert_not_null(e.why);
	cr_assert_eq(strcmp(e.why, why), 0, "refused as \"%s\", not as \"%s\"", e.why, why);
}

Test(fdt, says_what_is_wrong)
{
	static uint32_t blob[BLOB_MAX / 4], bad[BLOB_MAX / 4];
	size_t n;

	board_blob(blob);
	n = fdt_totalsize(blob);
#define BREAK(stmt, why)             \
	do {                         \
		memcpy(bad, blob, n); \
		stmt;                \
		refused(bad, n, why); \
	} while (0)
	BREAK(bad[0] ^= 1, "no device tree (magic)");
	BREAK(fdt_set_totalsize(bad, n + 1), "total size is impossible");
	BREAK(fdt_set_totalsize(bad, 39), "total size is impossible");
	BREAK(fdt_set_version(bad, 16), "version is not 17 or compatible with it");
	BREAK(fdt_set_last_comp_version(bad, 18), "version is not 17 or compatible with it");
	BREAK(fdt_set_off_dt_struct(bad, n + 4), "structure block outside the blob");
	BREAK(fdt_set_off_dt_struct(bad, 2), "structure block outside the blob");
	BREAK(fdt_set_size_dt_struct(bad, n), "structure block outside the blob");
	BREAK(fdt_set_size_dt_struct(bad, 16), "property cut off");
	BREAK(fdt_set_off_dt_strings(bad, n + 1), "strings block outside the blob");
	BREAK(fdt_set_size_dt_strings(bad, n), "strings block outside the blob");
	BREAK(fdt_set_size_dt_strings(bad, 3), "property name outside the strings block");
	BREAK(fdt_set_size_dt_strings(bad, fdt_size_dt_strings(bad) - 1),
	      "property name without end");
	BREAK(fdt_set_off_mem_rsvmap(bad, n + 8), "reservation block outside the blob");
	BREAK(fdt_set_off_mem_rsvmap(bad, n & ~7ul), "reservation block without end");
	BREAK(memset((char *)bad + fdt_off_mem_rsvmap(bad), 0xff, 16), "reservation wraps round");
	BREAK(bad[fdt_off_dt_struct(bad) / 4] = cpu_to_fdt32(7), "unknown token");
	/* the first property's length: one whose end, rounded up, is the beginning again */
	BREAK(bad[fdt_off_dt_struct(bad) / 4 + 3] = cpu_to_fdt32(0xfffffffe),
	      "property longer than its block");
	BREAK(bad[fdt_off_dt_struct(bad) / 4] = cpu_to_fdt32(2), "node closed that is not open");
	BREAK(bad[fdt_off_dt_struct(bad) / 4] = cpu_to_fdt32(9), "tree ends inside a node");
	BREAK(bad[fdt_off_dt_struct(bad) / 4] = cpu_to_fdt32(4),
	      "unknown token"); /* the name that follows is none */
#undef BREAK
	refused(blob, 39, "shorter than a header");
	refused(blob, 0, "shorter than a header");
}

Test(fdt, cut_off_anywhere)
{
	static uint32_t blob[BLOB_MAX / 4];

	for (int round = 0; round < 8; round++) {
		struct dtb_error e;
		struct dtb d;
		size_t n;

		random_blob(blob);
		n = fdt_totalsize(blob);
		for (size_t len = 0; len < n; len++) {
			unsigned char *p = at_the_edge(blob, len);

			cr_assert_eq(dtb_open(&d, p, len, &e), -EINVAL);
			if (len < 8)
				continue;
			fdt_set_totalsize(p, (uint32_t)len);
			if (!dtb_open(&d, p, len, &e))
				walk_all(&d);
		}
	}
}

Test(fdt, damaged_anywhere)
{
	static uint32_t blob[BLOB_MAX / 4];
	unsigned accepted = 0;

	for (int round = 0; round < 20000; round++) {
		struct dtb_error e;
		struct dtb d;
		unsigned char *p;
		size_t n;

		if (round % 500 == 0)
			random_blob(blob);
		n = fdt_totalsize(blob);
		p = at_the_edge(blob, n);
		for (uint32_t i = 1 + rnd(3); i; i--) {
			uint32_t at = rnd(2) ? rnd((uint32_t)n) : rnd(64);

			p[at] = rnd(2) ? (unsigned char)rnd(256) : p[at] ^ 1u << rnd(8);
		}
		if (dtb_open(&d, p, n, &e)) {
			cr_assert_not_null(e.why);
			continue;
		}
		accepted++;
		walk_all(&d);
	}
	cr_assert_gt(accepted, 1000, "damage in values should not matter");
}
