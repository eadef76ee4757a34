/* SPDX-License-Identifier: MIT */
/*
 * Atomic access to live page-table entries, for machines whose tables are ordinary memory: each
 * entry changed by one access, so that a hardware walker sees the old word or the new. Besides, no
 * memory checker that would want to know of free pages. A machine's cpu.h includes it and adds the
 * two calls that know the encoding (hal_pte_clear_accessed, hal_pte_wrprotect).
 */
#ifndef ARCH_COMMON_LIVE_H
#define ARCH_COMMON_LIVE_H

#include "arch/hal_types.h"

#define HAL_INLINE_pte
static inline pteval_t hal_pte_get(const pteval_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void hal_pte_set(pteval_t *p, pteval_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline pteval_t hal_pte_xchg(pteval_t *p, pteval_t v)
{
	return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}

static inline pteval_t hal_pte_cmpxchg(pteval_t *p, pteval_t old, pteval_t v)
{
	__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return old;
}

#define HAL_INLINE_poison
static inline void hal_poison(const void *p, size_t n)
{
}

static inline void hal_unpoison(const void *p, size_t n)
{
}

#endif
