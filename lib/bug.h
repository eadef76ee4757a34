/* SPDX-License-Identifier: MIT */
/*
 * Asserts and the small macros that everything uses. A failed assert is our own bug and ends the
 * machine through os_panic(), citing file, line and the condition; the world's errors are returned
 * instead.
 *
 * ASSERT stays in every build. ASSERT_DEBUG, and the assert_held() family of the locks, are off where
 * NDEBUG is defined (a release); what is off is compiled all the same, and costs nothing.
 */
#ifndef LIB_BUG_H
#define LIB_BUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reports through os_panic(). Does not return. Any context. */
_Noreturn void bug_at(const char *file, int line, const char *what);
/* Reports through os_log(). Any context. */
void warn_at(const char *file, int line, const char *what);

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define BUG() bug_at(__FILE__, __LINE__, "BUG")
#define BUG_ON(cond)                                           \
	do {                                                   \
		if (unlikely(cond))                            \
			bug_at(__FILE__, __LINE__, "BUG_ON(" #cond ")"); \
	} while (0)
#define ASSERT(cond)                                           \
	do {                                                   \
		if (unlikely(!(cond)))                         \
			bug_at(__FILE__, __LINE__, "ASSERT(" #cond ")"); \
	} while (0)
/* An assert that cites an invariant of docs/invariants.md, as in ASSERT_I("I7", ...). */
#define ASSERT_I(inv, cond)                                    \
	do {                                                   \
		if (unlikely(!(cond)))                         \
			bug_at(__FILE__, __LINE__, inv ": ASSERT(" #cond ")"); \
	} while (0)

#ifdef NDEBUG
#define DEBUG_ASSERTS 0
#else
#define DEBUG_ASSERTS 1
#endif
/* For paths that are too hot for an assert in a release. */
#define ASSERT_DEBUG(cond)                                     \
	do {                                                   \
		if (DEBUG_ASSERTS)                             \
			ASSERT(cond);                          \
	} while (0)
#define ASSERT_DEBUG_I(inv, cond)                              \
	do {                                                   \
		if (DEBUG_ASSERTS)                             \
			ASSERT_I(inv, cond);                   \
	} while (0)

/* The value of cond; the first time that it is true, a warning. */
#define WARN_ON_ONCE(cond)                                     \
	({                                                     \
		static bool warned_;                           \
		bool c_ = !!(cond);                            \
		if (unlikely(c_ && !READ_ONCE(warned_))) {     \
			WRITE_ONCE(warned_, true);             \
			warn_at(__FILE__, __LINE__, #cond);    \
		}                                              \
		c_;                                            \
	})
#define WARN_ON(cond)                                          \
	({                                                     \
		bool c_ = !!(cond);                            \
		if (unlikely(c_))                              \
			warn_at(__FILE__, __LINE__, #cond);    \
		c_;                                            \
	})

#ifndef container_of
#define container_of(ptr, type, member) \
	((type *)((uintptr_t)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))
#endif

#ifndef min
#define min(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ < b_ ? a_ : b_;      \
	})
#define max(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ > b_ ? a_ : b_;      \
	})
#endif
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define clamp(v, lo, hi)  min(max(v, lo), hi)
#define swap(a, b)                      \
	do {                            \
		__typeof__(a) t_ = (a); \
		(a) = (b);              \
		(b) = t_;               \
	} while (0)

/* a is a power of two. */
#define ALIGN_UP(x, a)	 (((x) + ((__typeof__(x))(a) - 1)) & ~((__typeof__(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))

/*
 * One load or store of a scalar (1 to 8 bytes) that others read or write meanwhile: a relaxed atomic,
 * which orders nothing. What is published by a store or relied on after a load takes release and
 * acquire on that word (lib/atomic.h); there is no bare fence in this tree.
 */
#define READ_ONCE(x)	 __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)                                              \
	do {                                                          \
		__typeof__(x) once_ = (v);                            \
		__atomic_store_n(&(x), once_, __ATOMIC_RELAXED);      \
	} while (0)

#define __must_check __attribute__((warn_unused_result))
#define __maybe_unused __attribute__((unused))
#ifndef __printf
#define __printf(f, a) __attribute__((format(printf, f, a)))
#endif

#endif
