/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests of mm/ share: a machine in software with the core on it, taken down again
 * with every invariant checked and nothing leaked.
 */
#ifndef TEST_UNIT_MM_TEST_H
#define TEST_UNIT_MM_TEST_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake.h"
#include "mm/phys/page_alloc.h"
#include "mm/report/check.h"
#include <quire/quire.h>

static inline void machine_up_cfg(const struct fake_config *fc, const struct quire_config *qc)
{
	cr_assert_eq(fake_machine_create(fc), 0);
	cr_assert_eq(quire_init(qc), 0);
	cr_assert_eq(check_phys(), 0);
}

static inline void machine_up(uint64_t ram, unsigned cpus)
{
	machine_up_cfg(&(struct fake_config){.ram = ram, .cpus = cpus}, NULL);
}

static inline void machine_down(void)
{
	cr_expect_eq(check_phys(), 0);
	cr_expect_eq(quire_exit(), 0);
	fake_machine_destroy();
}

/* Pages free once every list is drained. */
static inline uint64_t free_pages_now(void)
{
	struct quire_counts c;

	quire_drain();
	quire_get_counts(&c);
	return c.free_pages;
}

/* The value of expr, which reads or changes what the zone's lock covers. */
#define ZONE_LOCKED(z, expr)                                   \
	({                                                     \
		struct zone *z_ = (z);                         \
		irqflags_t flags_;                             \
		__typeof__(expr) v_;                           \
                                                               \
		spin_lock_irqsave(&z_->lock, flags_);          \
		v_ = (expr);                                   \
		spin_unlock_irqrestore(&z_->lock, flags_);     \
		v_;                                            \
	})

/* A sink for reports. */
struct text {
	char s[32768];
	size_t n;
};

static inline void text_emit(void *ctx, const char *s, size_t n)
{
	struct text *t = ctx;

	if (n > sizeof(t->s) - 1 - t->n)
		n = sizeof(t->s) - 1 - t->n;
	memcpy(t->s + t->n, s, n);
	t->n += n;
	t->s[t->n] = 0;
}

static uint64_t rnd_state = 0x9e3779b97f4a7c15ull;

/* xorshift: the same sequence everywhere. */
static inline uint64_t rnd(void)
{
	uint64_t x = rnd_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return rnd_state = x;
}

#endif
