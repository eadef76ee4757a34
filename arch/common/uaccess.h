/* SPDX-License-Identifier: MIT */
/*
 * User copies and their fix-up. An architecture supplies, in assembly:
 *
 *   size_t arch_copy_to_user(void *dst, const void *src, size_t n);      bytes NOT copied
 *   size_t arch_copy_from_user(void *dst, const void *src, size_t n);
 *   size_t arch_clear_user(void *dst, size_t n);
 *
 * The range lies below user_end. Each instruction of theirs that may fault has an entry in the
 * section __ex_table, between link.ld's __ex_table_start and __ex_table_end: two words of 32 bits,
 * the distances from each word itself to the instruction and to where the copy goes on. Such a
 * table needs no relocation and looks the same on every architecture.
 */
#ifndef ARCH_COMMON_UACCESS_H
#define ARCH_COMMON_UACCESS_H

#include "arch/hal_types.h"

size_t arch_copy_to_user(void *dst, const void *src, size_t n);
size_t arch_copy_from_user(void *dst, const void *src, size_t n);
size_t arch_clear_user(void *dst, size_t n);

struct ex_entry {
	int32_t insn, fixup;
};

extern const struct ex_entry __ex_table_start[], __ex_table_end[];

static inline uintptr_t ex_target(const int32_t *distance)
{
	return (uintptr_t)distance + (uintptr_t)(long)*distance;
}

/* Where the kernel goes on after an unresolved fault at ip; 0: nowhere. The table
 * holds a handful of entries, so it is searched from its start. Inline: as a call it would cost
 * every trap the registers that it preserves. */
static inline uintptr_t search_fixup(uintptr_t ip)
{
	for (const struct ex_entry *e = __ex_table_start; e < __ex_table_end; e++)
		if (ex_target(&e->insn) == ip)
			return ex_target(&e->fixup);
	return 0;
}

#endif
