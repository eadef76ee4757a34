/* SPDX-License-Identifier: MIT */
/*
 * The contract test on the machine in software, in each of the moods that can be ordered. The
 * machine's accusations stand: one of them ends the program.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch/fake/fake.h"
#include "arch/hal_kernel.h"
#include "test/arch/contract.h"

const bool contract_image_protected = false; /* the host's business */
const struct contract_kernel contract_kernel = {hal_cpu_kick, hal_cpu_number};

/* What user mode would run is what it fetches. */
static void write_code(void *p, unsigned v)
{
	__atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED);
}

static bool run_code(uintptr_t va, unsigned *v)
{
	uint64_t word;
	bool ok = fake_user_fetch(va, 8, &word, NULL);

	*v = word;
	return ok;
}

const struct contract_code contract_code = {write_code, run_code, true};

static bool fault(const struct fault_info *fi, void *ctx)
{
	return contract_fault(fi);
}

static void to_stdout(const char *s, size_t n)
{
	fwrite(s, 1, n, stdout);
}

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
	static const struct {
		const char *name;
		struct fake_config cfg;
	} moods[] = {
		{"plain: ", {.ram = 256ull << 20}},
		{"absent entries cached: ", {.ram = 256ull << 20, .caches_invalid = true}},
		{"A and D by software: ", {.ram = 256ull << 20, .software_ad = true}},
		{"break before make: ", {.ram = 256ull << 20, .needs_bbm = true}},
		{"ASIDs: ", {.ram = 256ull << 20, .with_asids = true}},
		{"four ASIDs: ", {.ram = 256ull << 20, .with_asids = true, .asid_bits = 2}},
		{"four CPUs: ", {.ram = 256ull << 20, .cpus = 4, .with_asids = true, .icaches = true}},
		{"four CPUs, eight ASIDs: ", {.ram = 256ull << 20, .cpus = 4, .with_asids = true, .asid_bits = 3}},
		{"four CPUs without ASIDs: ", {.ram = 256ull << 20, .cpus = 4}},
		{"a small TLB: ", {.ram = 256ull << 20, .tlb_entries = 4, .seed = 7}},
		{"48 MiB: ", {.ram = 48ull << 20}},
		{"6 GiB: ", {.ram = 6ull << 30}},
	};
	unsigned next = 1, failed = 0, ran;

	for (unsigned i = 0; i < sizeof(moods) / sizeof(moods[0]); i++) {
		struct fake_config cfg = moods[i].cfg;

		cfg.log = to_stdout;
		if (fake_machine_create(&cfg))
			return 2;
		fake_on_fault(fault, NULL);
		fake_on_kick(contract_kicked);
		failed += contract_run(moods[i].name, next, &ran);
		fake_core_returned();
		next += ran;
		fake_machine_destroy();
	}
	printf("1..%u\n", next - 1);
	return failed ? 1 : 0;
}
