/* SPDX-License-Identifier: MIT */
/*
 * Atomic integers as types of their own, over the compiler's builtins. Functions that return a
 * value are full barriers; plain reads, sets, adds and subs are relaxed. Fields that are not of
 * these types use the atomic_*_of() macros.
 */
#ifndef LIB_ATOMIC_H
#define LIB_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
	int32_t counter;
} atomic_t;

typedef struct {
	int64_t counter;
} atomic64_t;

#define ATOMIC_INIT(v) { (v) }

#define ATOMIC_DEFINE(pfx, type, val)                                                          \
	static inline val pfx##_read(const type *a)                                            \
	{                                                                                      \
		return __atomic_load_n(&a->counter, __ATOMIC_RELAXED);                         \
	}                                                                                      \
	static inline void pfx##_set(type *a, val v)                                           \
	{                                                                                      \
		__atomic_store_n(&a->counter, v, __ATOMIC_RELAXED);                            \
	}                                                                                      \
	static inline void pfx##_add(val v, type *a)                                           \
	{                                                                                      \
		__atomic_fetch_add(&a->counter, v, __ATOMIC_RELAXED);                          \
	}                                                                                      \
	static inline void pfx##_sub(val v, type *a)                                           \
	{                                                                                      \
		__atomic_fetch_sub(&a->counter, v, __ATOMIC_RELAXED);                          \
	}                                                                                      \
	static inline void pfx##_inc(type *a)                                                  \
	{                                                                                      \
		pfx##_add(1, a);                                                               \
	}                                                                                      \
	static inline void pfx##_dec(type *a)                                                  \
	{                                                                                      \
		pfx##_sub(1, a);                                                               \
	}                                                                                      \
	static inline val pfx##_add_return(val v, type *a)                                     \
	{                                                                                      \
		return __atomic_add_fetch(&a->counter, v, __ATOMIC_SEQ_CST);                   \
	}                                                                                      \
	static inline val pfx##_sub_return(val v, type *a)                                     \
	{                                                                                      \
		return __atomic_sub_fetch(&a->counter, v, __ATOMIC_SEQ_CST);                   \
	}                                                                                      \
	static inline val pfx##_inc_return(type *a)                                            \
	{                                                                                      \
		return pfx##_add_return(1, a);                                                 \
	}                                                                                      \
	static inline val pfx##_dec_return(type *a)                                            \
	{                                                                                      \
		return pfx##_sub_return(1, a);                                                 \
	}                                                                                      \
	static inline bool pfx##_dec_and_test(type *a)                                         \
	{                                                                                      \
		return pfx##_sub_return(1, a) == 0;                                            \
	}                                                                                      \
	static inline bool pfx##_sub_and_test(val v, type *a)                                  \
	{                                                                                      \
		return pfx##_sub_return(v, a) == 0;                                            \
	}                                                                                      \
	static inline val pfx##_xchg(type *a, val v)                                           \
	{                                                                                      \
		return __atomic_exchange_n(&a->counter, v, __ATOMIC_SEQ_CST);                  \
	}                                                                                      \
	static inline val pfx##_cmpxchg(type *a, val old, val v)                               \
	{                                                                                      \
		__atomic_compare_exchange_n(&a->counter, &old, v, false, __ATOMIC_SEQ_CST,     \
					    __ATOMIC_SEQ_CST);                                 \
		return old;                                                                    \
	}                                                                                      \
	/* Adds v unless the counter is u; tells whether it did. */                            \
	static inline bool pfx##_add_unless(type *a, val v, val u)                             \
	{                                                                                      \
		val c = pfx##_read(a);                                                         \
		while (c != u)                                                                 \
			if (__atomic_compare_exchange_n(&a->counter, &c, c + v, false,         \
							__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))   \
				return true;                                                   \
		return false;                                                                  \
	}                                                                                      \
	static inline bool pfx##_inc_not_zero(type *a)                                         \
	{                                                                                      \
		return pfx##_add_unless(a, 1, 0);                                              \
	}

ATOMIC_DEFINE(atomic, atomic_t, int32_t)
ATOMIC_DEFINE(atomic64, atomic64_t, int64_t)

/* The same for plain integer fields. */
#define atomic_load_of(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define atomic_store_of(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define atomic_add_of(p, v)   __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)
#define atomic_sub_of(p, v)   __atomic_sub_fetch(p, v, __ATOMIC_SEQ_CST)
#define atomic_xchg_of(p, v)  __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define atomic_cmpxchg_of(p, old, v)                                                           \
	({                                                                                     \
		__typeof__(*(p)) o_ = (old);                                                   \
		__atomic_compare_exchange_n(p, &o_, v, false, __ATOMIC_SEQ_CST,                \
					    __ATOMIC_SEQ_CST);                                 \
		o_;                                                                            \
	})

#endif
