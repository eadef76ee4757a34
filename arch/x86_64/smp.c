/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs of x86-64: which there are (ACPI's MADT), and their start by INIT and SIPI. A CPU so
 * started is in real mode, on a page below 1 MiB; the code there (boot.S) takes it on the boot tables,
 * which are still in the image, to the upper half, where it loads the kernel's own. One starts at a time.
 */
#include "arch.h"
#include "lib/acpi.h"
#include "lib/string.h"

#define TRAMPOLINE 0x8000ul /* boot.S is assembled for it; in what start.c claims as low memory */

#define ICR_INIT    0x4500u
#define ICR_STARTUP 0x4600u
#define ICR_FIXED   0x4000u

static uint8_t apic_ids[ARCH_CPUS_MAX]; /* by CPU number */

/* What the next CPU to start reads, beside the trampoline's own words. */
uint64_t x86_start_cr3, x86_start_stack;
static unsigned starting;
static bool arrived; /* that one has read them; atomic */

extern uint32_t x86_trampoline_cr3, x86_trampoline_cr4;
extern char x86_boot_root[]; /* the boot tables' own, of as many levels as are in use; boot.S */
extern char x86_boot_root_la57[];

/* ---- which there are ------------------------------------------------------------------------- */

unsigned x86_apic_id(unsigned cpu)
{
	return apic_ids[cpu];
}

static bool known(unsigned id)
{
	for (unsigned c = 0; c < hal_cpus; c++)
		if (apic_ids[c] == id)
			return true;
	return false;
}

/* Numbers are given in the order of the list; the one that boots is 0, wherever it stands. */
void x86_cpus_init(const struct acpi *a)
{
	struct acpi_cpu c;
	unsigned left_out = 0;

	apic_ids[0] = (uint8_t)(x86_cpuid(1, 0).ebx >> 24);
	for (unsigned i = 0; acpi_cpu(a, i, &c); i++) {
		if (!c.usable || (c.apic_id < 255 && known(c.apic_id)))
			continue;
		if (c.apic_id >= 255 || hal_cpus == ARCH_CPUS_MAX)
			left_out++;
		else
			apic_ids[hal_cpus++] = (uint8_t)c.apic_id;
	}
	if (left_out)
		boot_log("%u CPUs are more than there is room for, or have large APIC ids: left out",
			 left_out);
}

/* ---- the start of one ------------------------------------------------------------------------ */

static void wait_us(unsigned us)
{
	uint64_t from = hal_clock_ns();

	while (hal_clock_ns() - from < us * 1000ull)
		hal_cpu_relax();
}

static void lay_trampoline(void)
{
	char *to = hal_phys_to_virt(TRAMPOLINE);
	uint64_t cr4 = read_cr4() & CR4_LA57;
	uint32_t root = (uint32_t)hal_virt_to_phys(cr4 ? x86_boot_root_la57 : x86_boot_root);
	size_t n = (size_t)(x86_trampoline_end - x86_trampoline);

	memcpy(to, x86_trampoline, n);
	cr4 |= CR4_PAE;
	memcpy(to + ((char *)&x86_trampoline_cr3 - x86_trampoline), &root, 4);
	memcpy(to + ((char *)&x86_trampoline_cr4 - x86_trampoline), &cr4, 4);
}

bool arch_cpu_start(unsigned cpu, void *stack_top)
{
	unsigned id = apic_ids[cpu];

	if (!x86_has_lapic() || !x86_in_ram(TRAMPOLINE, TRAMPOLINE + PAGE_BYTES))
		return false;
	/* one that never came is put back to where it waits for a SIPI, lest it come now */
	if (starting && !__atomic_load_n(&arrived, __ATOMIC_ACQUIRE))
		x86_lapic_send(apic_ids[starting], ICR_INIT);
	lay_trampoline();
	x86_start_cr3 = mmu_kernel.root.n << ARCH_PAGE_SHIFT;
	x86_start_stack = (uint64_t)stack_top;
	starting = cpu;
	__atomic_store_n(&arrived, false, __ATOMIC_SEQ_CST);
	x86_lapic_send(id, ICR_INIT);
	wait_us(10000);
	/* the second is for processors that missed the first; one that runs takes none */
	for (unsigned i = 0; i < 2; i++) {
		x86_lapic_send(id, ICR_STARTUP | TRAMPOLINE >> ARCH_PAGE_SHIFT);
		wait_us(200);
	}
	return true;
}

/* From boot.S: in the upper half, on the kernel's tables and its own stack. */
_Noreturn void x86_secondary(void);
void x86_secondary(void)
{
	x86_tables_init(starting, (void *)x86_start_stack);
	__atomic_store_n(&arrived, true, __ATOMIC_RELEASE);
	x86_features_init();
	x86_lapic_init();
	smp_cpu_main();
}

void arch_call(unsigned cpu)
{
	x86_lapic_send(apic_ids[cpu], ICR_FIXED | X86_VEC_CALL);
}

unsigned hal_cpu_number(unsigned cpu)
{
	return apic_ids[cpu];
}
