/* SPDX-License-Identifier: MIT */
/*
 * Fault injection of allocations: whether this one fails, and the attributes for pages and for
 * objects. Several CPUs may ask at once: what must hit exactly once is counted down by
 * compare-and-exchange, the rest may race, as in Linux.
 */
#include "mm/base/fail_inject.h"
#include "lib/string.h"
#include "mm/base/param.h"
#include "mm/base/slowpath.h"
#include <quire/abi.h>
#include <quire/os.h>

struct fault_attr inject_attr[QUIRE_INJECT_KINDS];

#define FAULT_SEED 0x9e3779b97f4a7c15ull

/* Counts v down to 0 but never below; returns what it was. */
static uint64_t count_down(uint64_t *v)
{
	uint64_t left = __atomic_load_n(v, __ATOMIC_RELAXED);

	while (left && !__atomic_compare_exchange_n(v, &left, left - 1, false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED))
		;
	return left;
}

static void fault_attr_arm(struct fault_attr *a)
{
	uint32_t on = __atomic_load_n(&a->nth, __ATOMIC_RELAXED) != 0 || a->probability != 0;

	__atomic_store_n(&a->armed, on, __ATOMIC_RELAXED);
	if (a == &inject_attr[QUIRE_INJECT_SLAB])
		kmem_hook_set(KMEM_HOOK_INJECT, on);
}

static bool hit_nth(struct fault_attr *a)
{
	if (count_down(&a->nth) != 1)
		return false;
	fault_attr_arm(a);
	return true;
}

/* Spends one of the failures that are left; false: there is none. */
static bool spend_time(struct fault_attr *a)
{
	int32_t left = __atomic_load_n(&a->times, __ATOMIC_RELAXED);

	ASSERT(left >= -1);
	while (left > 0 && !__atomic_compare_exchange_n(&a->times, &left, left - 1, false,
							__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return left != 0;
}

static uint64_t throw_dice(struct fault_attr *a)
{
	uint64_t x = __atomic_load_n(&a->seed, __ATOMIC_RELAXED);

	ASSERT(x); /* of 0 nothing but 0 would follow */
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	__atomic_store_n(&a->seed, x, __ATOMIC_RELAXED);
	return x >> 16;
}

static bool hit_dice(struct fault_attr *a, size_t size)
{
	ASSERT_DEBUG(a->probability <= 100);
	if (!a->probability || !__atomic_load_n(&a->times, __ATOMIC_RELAXED))
		return false;
	if (__atomic_load_n(&a->space, __ATOMIC_RELAXED) > (int64_t)size) {
		__atomic_fetch_sub(&a->space, (int64_t)size, __ATOMIC_RELAXED);
		return false;
	}
	if (a->interval > 1 &&
	    __atomic_add_fetch(&a->count, 1, __ATOMIC_RELAXED) % a->interval)
		return false;
	return throw_dice(a) % 100 < a->probability && spend_time(a);
}

bool fault_attr_hit(struct fault_attr *a, size_t size)
{
	ASSERT_DEBUG(a->probability <= 100);
	if (!hit_nth(a) && !hit_dice(a, size))
		return false;
	__atomic_fetch_add(&a->hits, 1, __ATOMIC_RELAXED);
	return true;
}

void fault_attr_set(struct fault_attr *a, const struct quire_fault_attr *set)
{
	ASSERT(set->probability <= 100);
	ASSERT(set->times >= -1);
	__atomic_store_n(&a->armed, 0, __ATOMIC_RELAXED);
	a->probability = set->probability;
	a->interval = set->interval;
	__atomic_store_n(&a->times, set->times, __ATOMIC_RELAXED);
	__atomic_store_n(&a->space, set->space, __ATOMIC_RELAXED);
	__atomic_store_n(&a->nth, set->nth, __ATOMIC_RELAXED);
	a->count = 0;
	a->hits = 0;
	a->seed = FAULT_SEED;
	fault_attr_arm(a);
}

/* One decimal number and the comma or the end after it; NULL if that is not what stands there. */
static const char *parse_number(const char *s, bool last, long *out)
{
	bool minus = *s == '-';
	long n = 0;

	ASSERT_DEBUG(s);
	s += minus;
	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (n > INT32_MAX / 10)
			return NULL;
		n = n * 10 + (*s - '0');
	}
	*out = minus ? -n : n;
	if (last)
		return *s ? NULL : s;
	return *s == ',' ? s + 1 : NULL;
}

int fault_attr_parse(struct fault_attr *a, const char *text)
{
	long v[4];

	ASSERT(text);
	for (unsigned i = 0; i < 4; i++) {
		text = parse_number(text, i == 3, &v[i]);
		if (!text)
			return -EINVAL;
	}
	if (v[0] < 0 || v[1] < 0 || v[1] > 100 || v[2] < 0 || v[3] < -1)
		return -EINVAL;
	fault_attr_set(a, &(struct quire_fault_attr){.interval = v[0], .probability = v[1],
						     .space = v[2], .times = v[3]});
	return 0;
}

void fail_inject_init(void)
{
	static const char *const names[QUIRE_INJECT_KINDS] = {"fail_page_alloc", "failslab"};
	char text[64];

	/* What was armed before the start stays: start-up itself may be what should fail. */
	for (unsigned k = 0; k < QUIRE_INJECT_KINDS; k++)
		if (boot_param(names[k], text, sizeof(text)) &&
		    fault_attr_parse(&inject_attr[k], text))
			os_log("fault injection: expected interval,probability,space,times");
}

void fail_inject_exit(void)
{
	for (unsigned k = 0; k < QUIRE_INJECT_KINDS; k++)
		fault_attr_set(&inject_attr[k], &(struct quire_fault_attr){0});
}

void quire_inject_set(enum quire_inject kind, uint64_t nth)
{
	struct fault_attr *a;

	if (kind >= QUIRE_INJECT_KINDS)
		return;
	a = &inject_attr[kind];
	__atomic_store_n(&a->nth, nth, __ATOMIC_RELAXED);
	fault_attr_arm(a);
}

int quire_inject_attr(enum quire_inject kind, const struct quire_fault_attr *set)
{
	if (kind >= QUIRE_INJECT_KINDS || set->probability > 100 || set->times < -1)
		return -EINVAL;
	fault_attr_set(&inject_attr[kind], set);
	return 0;
}

uint64_t quire_inject_hits(enum quire_inject kind)
{
	return kind < QUIRE_INJECT_KINDS ? __atomic_load_n(&inject_attr[kind].hits, __ATOMIC_RELAXED)
					 : 0;
}
