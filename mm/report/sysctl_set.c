/* SPDX-License-Identifier: MIT */
/* /proc/sys/vm by name: the tunables of the virtual half here, the others in the physical half. */
#include "lib/string.h"
#include "mm/report/init.h"
#include "mm/space/mm.h"
#include <quire/abi.h>

struct tunable {
	const char *name;
	long *value;
	long low, high;
};

#define KB_MAX (INT64_MAX >> 10)

static const struct tunable tunables[] = {
	{"overcommit_memory", &vm_sysctl.overcommit_memory, 0, 2},
	{"overcommit_ratio", &vm_sysctl.overcommit_ratio, INT32_MIN, INT32_MAX},
	{"overcommit_kbytes", &vm_sysctl.overcommit_kbytes, 0, KB_MAX},
	{"max_map_count", &vm_sysctl.max_map_count, 0, INT32_MAX},
	{"mmap_min_addr", &vm_sysctl.mmap_min_addr, 0, INT64_MAX},
	{"stack_guard_gap", &vm_sysctl.stack_guard_gap, 0, INT32_MAX},
	{"legacy_va_layout", &vm_sysctl.legacy_va_layout, 0, INT32_MAX},
	{"admin_reserve_kbytes", &vm_sysctl.admin_reserve_kbytes, 0, KB_MAX},
	{"user_reserve_kbytes", &vm_sysctl.user_reserve_kbytes, 0, KB_MAX},
	{"fault_around_bytes", &vm_sysctl.fault_around_bytes, 0, INT32_MAX},
};

static const struct tunable *find_tunable(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tunables); i++)
		if (!strcmp(tunables[i].name, name))
			return &tunables[i];
	return NULL;
}

int quire_sysctl_get(const char *name, long *value)
{
	const struct tunable *t = find_tunable(name);

	if (!t)
		return phys_sysctl(name, value, false);
	*value = *t->value;
	return 0;
}

int quire_sysctl_set(const char *name, long value)
{
	const struct tunable *t = find_tunable(name);

	if (!t)
		return phys_sysctl(name, &value, true);
	if (value < t->low || value > t->high)
		return -EINVAL;
	if (t->value == &vm_sysctl.fault_around_bytes) {
		/* At least a page, at most a table, and a power of two below. */
		value = min(max(value, (long)PAGE_SIZE), (long)(PAGE_SIZE << ARCH_INDEX_BITS));
		while (value & (value - 1))
			value &= value - 1;
	}
	*t->value = value;
	/* The whole promise or the ratio, never both. */
	if (t->value == &vm_sysctl.overcommit_kbytes)
		vm_sysctl.overcommit_ratio = 0;
	if (t->value == &vm_sysctl.overcommit_ratio)
		vm_sysctl.overcommit_kbytes = 0;
	return 0;
}
