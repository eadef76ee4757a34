/* SPDX-License-Identifier: MIT */
/*
 * Device registers after boot: where they are mapped, and single accesses to them. "arch.h" supplies
 *
 *   ARCH_IO_WRITE_BARRIER   text of an instruction before a write to a register, "" if there need be none
 *   ARCH_IO_READ_BARRIER    and after a read
 */
#include "arch/common/mmu.h"
#include "arch/hal_kernel.h"
#include "arch.h"

uint32_t hal_reg_read(const void *reg, unsigned width)
{
	uint32_t v;

	if (width == 1)
		v = *(const volatile uint8_t *)reg;
	else if (width == 2)
		v = *(const volatile uint16_t *)reg;
	else
		v = *(const volatile uint32_t *)reg;
	__asm__ volatile(ARCH_IO_READ_BARRIER : : : "memory");
	return v;
}

void hal_reg_write(void *reg, unsigned width, uint32_t v)
{
	__asm__ volatile(ARCH_IO_WRITE_BARRIER : : : "memory");
	if (width == 1)
		*(volatile uint8_t *)reg = (uint8_t)v;
	else if (width == 2)
		*(volatile uint16_t *)reg = (uint16_t)v;
	else
		*(volatile uint32_t *)reg = v;
}
