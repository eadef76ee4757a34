/* SPDX-License-Identifier: MIT */
/* lib/list.h, lib/bits.h, lib/cpio.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bits.h"
#include "lib/cpio.h"
#include "lib/list.h"
#include "lib/rand.h"

struct node {
	int v;
	struct list_head l;
};

Test(lib_list, order_splice_and_safe_deletion)
{
	LIST_HEAD(a);
	LIST_HEAD(b);
	struct node n[6], *p, *next;
	int want[] = {3, 4, 5, 0, 1, 2}, i = 0;

	for (i = 0; i < 6; i++) {
		n[i].v = i;
		list_add_tail(&n[i].l, i < 3 ? &a : &b);
	}
	list_splice_init(&b, &a);
	cr_assert(list_empty(&b));
	i = 0;
	list_for_each_entry(p, &a, l)
		cr_assert_eq(p->v, want[i++]);
	cr_assert_eq(i, 6);
	list_for_each_entry_reverse(p, &a, l)
		cr_assert_eq(p->v, want[--i]);
	list_for_each_entry_safe(p, next, &a, l)
		if (p->v % 2)
			list_del(&p->l);
	list_move(&n[2].l, &a);
	cr_assert_eq(list_first_entry(&a, struct node, l)->v, 2);
	cr_assert_eq(list_last_entry(&a, struct node, l)->v, 0);
}

Test(lib_bits, powers_and_positions)
{
	cr_assert_eq(ilog2(1), 0);
	cr_assert_eq(ilog2(~0ull), 63);
	cr_assert_eq(fls64(0), 0);
	cr_assert_eq(order_base_2(1), 0);
	cr_assert_eq(order_base_2(5), 3);
	cr_assert_eq(roundup_pow_of_two(4096), 4096);
	cr_assert_eq(roundup_pow_of_two(4097), 8192);
	for (unsigned i = 0; i < 64; i++) {
		cr_assert_eq(hweight64(~0ull >> i), 64 - i);
		cr_assert_eq(ilog2(1ull << i), i);
	}
}

static size_t put_entry(unsigned char *at, const char *name, const char *data, unsigned size)
{
	size_t n = (size_t)sprintf((char *)at, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
				   1, 0100644, 0, 0, 1, 0, size, 0, 0, 0, 0,
				   (unsigned)strlen(name) + 1, 0);

	memcpy(at + n, name, strlen(name) + 1);
	n += strlen(name) + 1;
	while (n & 3)
		at[n++] = 0;
	memcpy(at + n, data, size);
	n += size;
	while (n & 3)
		at[n++] = 0;
	return n;
}

static size_t make_archive(unsigned char *buf)
{
	size_t n = put_entry(buf, "hello", "world\n", 6);

	n += put_entry(buf + n, "empty", "", 0);
	n += put_entry(buf + n, "TRAILER!!!", "", 0);
	memset(buf + n, 0, 64);
	n += 64;
	n += put_entry(buf + n, "second", "archive", 7);
	return n + put_entry(buf + n, "TRAILER!!!", "", 0);
}

Test(lib_cpio, reads_concatenated_archives)
{
	unsigned char buf[2048];
	size_t n = make_archive(buf);
	struct cpio_reader r;
	struct cpio_entry e;

	cpio_open(&r, buf, n);
	cr_assert_eq(cpio_next(&r, &e), 1);
	cr_assert_str_eq(e.name, "hello");
	cr_assert_eq(e.size, 6);
	cr_assert_eq(memcmp(e.data, "world\n", 6), 0);
	cr_assert_eq(e.mode, 0100644);
	cr_assert_eq(cpio_next(&r, &e), 1);
	cr_assert_str_eq(e.name, "empty");
	cr_assert_eq(cpio_next(&r, &e), 1);
	cr_assert_str_eq(e.name, "second");
	cr_assert_eq(cpio_next(&r, &e), 0);
}

Test(lib_cpio, malformed_archives_say_where_and_why)
{
	unsigned char buf[2048];
	size_t n = make_archive(buf);
	struct cpio_reader r;
	struct cpio_entry e;

	buf[6 + 8 * 6] = 'z'; /* file size of the first entry */
	cpio_open(&r, buf, n);
	cr_assert_eq(cpio_next(&r, &e), -EINVAL);
	cr_assert_eq(r.error_offset, 6 + 8 * 6);
	cr_assert_str_eq(r.error, "bad hexadecimal digit");
	make_archive(buf);
	memcpy(buf + 6 + 8 * 6, "FFFFFFFF", 8);
	cpio_open(&r, buf, n);
	cr_assert_eq(cpio_next(&r, &e), -EINVAL);
	cr_assert_str_eq(r.error, "data runs past the end");
	cpio_open(&r, "hello", 5);
	cr_assert_eq(cpio_next(&r, &e), -EINVAL);
	cr_assert_str_eq(r.error, "header cut off");
}

Test(lib_cpio, damaged_archives_never_read_outside)
{
	static unsigned char good[2048];
	size_t n = make_archive(good);
	struct rand_state rs;

	rand_seed(&rs, 11);
	for (int i = 0; i < 20000; i++) {
		size_t len = rand_below(&rs, n + 1), sum = 0;
		unsigned char *copy = malloc(len + !len);
		struct cpio_reader r;
		struct cpio_entry e;

		memcpy(copy, good, len);
		for (int k = 0; len && k < 3; k++)
			copy[rand_below(&rs, len)] = (unsigned char)"0123456789ABCDEF"[rand_below(&rs, 16)];
		cpio_open(&r, copy, len);
		while (cpio_next(&r, &e) == 1) {
			sum += strlen(e.name);
			for (size_t k = 0; k < e.size; k++)
				sum += ((const unsigned char *)e.data)[k];
		}
		cr_assert_lt(sum, 1000000);
		free(copy);
	}
}
