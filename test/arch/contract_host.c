/* SPDX-License-Identifier: MIT */
/* The contract test on the bare machine of host threads. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch/host/host.h"
#include "test/arch/contract.h"

const bool contract_image_protected = false;
const struct contract_kernel contract_kernel;
const struct contract_code contract_code;

/* The host's own page tables stand for the kernel's half: ask them without touching. */
bool contract_kernel_may(void *p, bool write)
{
	unsigned char byte;
	struct iovec here = {&byte, 1}, there = {p, 1};

	if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != 1)
		return false;
	return !write || process_vm_writev(getpid(), &here, 1, &there, 1, 0) == 1;
}

bool contract_kernel_read(const uint64_t *p, unsigned cpu, uint64_t *v)
{
	struct iovec here = {v, 8}, there = {(void *)p, 8};

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 8;
}

int main(void)
{
	unsigned ran, failed;

	if (host_machine_create(128ull << 20, 1))
		return 2;
	host_on_fault(contract_fault);
	failed = contract_run("", 1, &ran);
	printf("1..%u\n", ran);
	host_machine_destroy();
	return failed ? 1 : 0;
}
