/* SPDX-License-Identifier: MIT */
/*
 * Copies to and from user memory (hal_copy_to_user and its relatives): the range is checked here,
 * the loops are the architecture's.
 */
#include "arch/common/uaccess.h"
#include "arch/common/mmu.h"

static bool user_range(uintptr_t va, size_t n)
{
	return va <= mmu_info.user_end && n <= mmu_info.user_end - va;
}

size_t hal_copy_from_user(void *dst, uintptr_t src, size_t n)
{
	return user_range(src, n) ? arch_copy_from_user(dst, (const void *)src, n) : n;
}

size_t hal_copy_to_user(uintptr_t dst, const void *src, size_t n)
{
	return user_range(dst, n) ? arch_copy_to_user((void *)dst, src, n) : n;
}

size_t hal_clear_user(uintptr_t dst, size_t n)
{
	return user_range(dst, n) ? arch_clear_user((void *)dst, n) : n;
}
