/* SPDX-License-Identifier: MIT */
/* On a bare machine an access is an access: the processor faults, the trap entry calls
 * kernel_page_fault(), the instruction runs again. */
#include "embed.h"

void embed_store(uintptr_t addr, uint64_t value)
{
	*(volatile uint64_t *)addr = value;
}

uint64_t embed_load(uintptr_t addr)
{
	return *(volatile uint64_t *)addr;
}
