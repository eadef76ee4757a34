/* SPDX-License-Identifier: MIT */
/*
 * Processor services that need no instruction: the names that programs are told (uname), entropy
 * from a generator or, without one, from the clock.
 * "arch.h" supplies ARCH_ELF_MACHINE, ARCH_ELF_PLATFORM (may be NULL) and
 *
 *   bool arch_random(uint64_t *v);     the processor's own generator; false: it has none to give
 */
#include "arch/common/boot.h"
#include "arch.h"

const char *hal_machine_name(void)
{
	return ARCH_NAME;
}

const char *hal_elf_platform(void)
{
	return ARCH_ELF_PLATFORM;
}

unsigned hal_elf_machine(void)
{
	return ARCH_ELF_MACHINE;
}

uint64_t boot_seed;

/* The clock between calls, and what the boot loader gave, stirred (splitmix64's constants). */
uint64_t hal_entropy(void)
{
	uint64_t z;

	if (arch_random(&z))
		return z;
	z = __atomic_add_fetch(&boot_seed, 0x9e3779b97f4a7c15ull + hal_cycles(), __ATOMIC_RELAXED);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void hal_context_destroy(struct hal_context *c)
{
	*c = (struct hal_context){0};
}
