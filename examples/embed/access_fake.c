/* SPDX-License-Identifier: MIT */
/* On the host the machine is software: it is started here, and an access of the kernel's own mode
 * is a copy of one word through its MMU. */
#include "arch/fake/fake.h"
#include "arch/hal_kernel.h"
#include "embed.h"

void embed_store(uintptr_t addr, uint64_t value)
{
	if (hal_copy_to_user(addr, &value, sizeof(value)))
		hal_exit(1);
}

uint64_t embed_load(uintptr_t addr)
{
	uint64_t value;

	if (hal_copy_from_user(&value, addr, sizeof(value)))
		hal_exit(1);
	return value;
}

static bool fault(const struct fault_info *fi, void *ctx)
{
	return kernel_page_fault(NULL, fi);
}

int main(void)
{
	struct boot_info bi = {.cmdline = ""};

	if (fake_machine_create(NULL))
		return 2;
	fake_on_fault(fault, NULL);
	kernel_main(&bi);
}
