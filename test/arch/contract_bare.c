/* SPDX-License-Identifier: MIT */
/*
 * The contract test as a kernel of its own: what a machine calls when it starts and when it traps.
 */
#include "arch/hal_kernel.h"
#include "arch/common/boot.h"
#include "lib/printf.h"
#include "lib/string.h"
#include <quire/quire.h>
#include "test/arch/contract.h"

const bool contract_image_protected = true;
const struct contract_kernel contract_kernel = {hal_cpu_kick, hal_cpu_number};

static void write_code(void *p, unsigned v)
{
	uint32_t *word = p;

#ifdef __riscv
	__atomic_store_n(&word[1], 0x00008067, __ATOMIC_RELAXED);	    /* ret */
	__atomic_store_n(&word[0], 0x00000513 | v << 20, __ATOMIC_RELAXED); /* li a0, v */
#else
	__atomic_store_n(&word[2], 0xc3, __ATOMIC_RELAXED);	  /* ret */
	__atomic_store_n(&word[0], 0xb8909090, __ATOMIC_RELAXED); /* nop; nop; nop; mov eax, */
	__atomic_store_n(&word[1], v, __ATOMIC_RELAXED);
#endif
}

static bool run_code(uintptr_t va, unsigned *v)
{
	*v = ((unsigned (*)(void))va)();
	return true;
}

const struct contract_code contract_code = {write_code, run_code, false};

static uintptr_t user_page; /* a mapped user page to copy through, or 0 */

/* A kernel address is tried by copying from or to it: the fault is fixed up. The copy's other side
 * is user memory that the test mapped for this. */
bool contract_kernel_may(void *p, bool write)
{
	unsigned char *byte = p;

	if (!contract_scratch_user(&user_page))
		return false;
	if (hal_copy_to_user(user_page, byte, 1))
		return false;
	return !write || hal_copy_from_user(byte, user_page, 1) == 0;
}

/* By way of a word of the CPU's own in a user page. */
bool contract_kernel_read(const uint64_t *p, unsigned cpu, uint64_t *v)
{
	uintptr_t word = user_page + 8 * cpu;

	return !hal_copy_to_user(word, p, 8) && !hal_copy_from_user(v, word, 8);
}

static _Noreturn void unexpected(const char *what, const struct trap_frame *tf)
{
	char line[160];
	int n = scnprintf(line, sizeof(line), "Bail out! %s at ip %#lx\n", what,
			  tf ? tf_ip(tf) : 0ul);

	hal_log(line, n);
	hal_exit(2);
}

_Noreturn void kernel_main(const struct boot_info *bi)
{
	unsigned ran, failed;
	char line[64], smp[8];
	uint64_t n;

	if (boot_option(bi->cmdline, "smp", smp, sizeof(smp)) && !parse_u64(smp, &n) &&
	    hal_cpu_count() != n) {
		hal_log(line, scnprintf(line, sizeof(line), "Bail out! %u CPUs, not %s\n",
					hal_cpu_count(), smp));
		hal_exit(2);
	}

	if (hal_cpu_count() > 1)
		hal_irq_enable(); /* who waits for other CPUs answers them */
	failed = contract_run("", 1, &ran);

	hal_log(line, scnprintf(line, sizeof(line), "1..%u\n", ran));
	hal_exit(failed ? 1 : 0);
}

bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	if (!fi->fixup)
		unexpected("page fault of the kernel's own", tf);
	return contract_fault(fi);
}

void kernel_kick(struct trap_frame *tf)
{
	contract_kicked();
}

#define BARE_HEARS_KICKS
#include "test/arch/bare_none.h" /* ends with unexpected() */

/* As the core has it: nothing is recorded. */
bool quire_trace_on;

/* Machines record raw faults through the core; there is none here. */
void quire_trace_words(unsigned type, const uint64_t *w, unsigned n)
{
}
