/* SPDX-License-Identifier: MIT */
/*
 * x86-64 time: the TSC as clock, the local APIC's timer as tick, both measured once against the
 * PIT; the old interrupt controllers moved out of the exceptions' way and masked.
 */
#include "x86.h"

#define PIT_HZ 1193182u
#define PIT_CH2 0x42
#define PIT_CMD 0x43
#define PORT_B 0x61 /* bit 0: gate of channel 2, bit 1: speaker, bit 5: its output */
#define MEASURE_US 4000u

#define LAPIC_EOI 0xb0
#define LAPIC_SVR 0xf0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_TIMER_INIT 0x380
#define LAPIC_TIMER_NOW 0x390
#define LAPIC_TIMER_DIV 0x3e0
#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u

static volatile uint32_t *lapic;
static uint64_t tsc_hz, lapic_hz, tsc_boot;
static uint64_t ns_per_tsc; /* 32.32 fixed point */

static uint32_t lapic_read(unsigned reg)
{
	return lapic[reg / 4];
}

static void lapic_write(unsigned reg, uint32_t v)
{
	lapic[reg / 4] = v;
}

static void pic_mask(void)
{
	static const uint8_t words[][2] = {
		{0x20, 0x11}, {0xa0, 0x11},			   /* start, edge, cascade */
		{0x21, X86_VEC_PIC}, {0xa1, X86_VEC_PIC + 8},	   /* first vector */
		{0x21, 4}, {0xa1, 2}, {0x21, 1}, {0xa1, 1},	   /* wiring, 8086 mode */
		{0x21, 0xff}, {0xa1, 0xff},			   /* all lines masked */
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		outb(words[i][0], words[i][1]);
}

/* Runs channel 2 for MEASURE_US once and tells how far TSC and APIC timer came. False: there is
 * no PIT. */
static bool measure_once(uint64_t *tsc, uint64_t *ticks)
{
	const uint16_t count = (uint16_t)((uint64_t)PIT_HZ * MEASURE_US / 1000000);
	uint64_t start;
	uint32_t first;
	unsigned limit = 200000; /* reads of a port: 4 ms many times over */

	outb(PORT_B, (inb(PORT_B) & ~2u) | 1u);
	outb(PIT_CMD, 0xb0); /* channel 2, low then high byte, one shot */
	outb(PIT_CH2, (uint8_t)count);
	outb(PIT_CH2, (uint8_t)(count >> 8));
	first = lapic ? lapic_read(LAPIC_TIMER_NOW) : 0;
	start = rdtsc();
	while (!(inb(PORT_B) & 0x20) && --limit)
		hal_cpu_relax();
	*tsc = rdtsc() - start;
	*ticks = lapic ? first - lapic_read(LAPIC_TIMER_NOW) : 0;
	return limit > 0 && *tsc > MEASURE_US; /* an empty bus reads as done at once */
}

/* The shortest of three: a delay of the host's can only make a measurement longer. */
static void measure(void)
{
	uint64_t best_tsc = UINT64_MAX, best_ticks = UINT64_MAX;

	if (lapic) {
		lapic_write(LAPIC_TIMER_DIV, 0x3); /* by 16 */
		lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | X86_VEC_TIMER);
		lapic_write(LAPIC_TIMER_INIT, UINT32_MAX);
	}
	for (unsigned i = 0; i < 3; i++) {
		uint64_t tsc, ticks;

		if (!measure_once(&tsc, &ticks)) {
			boot_log("no PIT to measure time with, 1 GHz assumed");
			best_tsc = 1000 * MEASURE_US;
			best_ticks = best_tsc / 16;
			break;
		}
		best_tsc = tsc < best_tsc ? tsc : best_tsc;
		best_ticks = ticks < best_ticks ? ticks : best_ticks;
	}
	if (lapic)
		lapic_write(LAPIC_TIMER_INIT, 0);
	tsc_hz = best_tsc * (1000000 / MEASURE_US);
	lapic_hz = best_ticks * (1000000 / MEASURE_US);
	if (!tsc_hz)
		tsc_hz = 1000000000;
	ns_per_tsc = (1000000000ull << 32) / tsc_hz;
}

void x86_time_init(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	pic_mask();
	tsc_boot = rdtsc();
	if (x86_cpuid(1, 0).edx & (1u << 9)) {
		wrmsr(MSR_APIC_BASE, base | 1u << 11);
		lapic = mmu_map_device(base & X86_PTE_FRAME, PAGE_BYTES);
		lapic_write(LAPIC_SVR, 0x100 | X86_VEC_SPURIOUS);
		lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
		lapic_write(LAPIC_LVT_LINT1, 0x400); /* NMI */
	} else {
		boot_log("no local APIC: no timer interrupts");
	}
	measure();
}

void hal_timer_start(uint64_t period_ns)
{
	uint64_t count = lapic_hz / 1000 * (period_ns / 1000) / 1000;

	if (!lapic)
		return;
	if (!count)
		count = 1;
	lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | X86_VEC_TIMER);
	lapic_write(LAPIC_TIMER_INIT, count > UINT32_MAX ? UINT32_MAX : (uint32_t)count);
}

void x86_timer_ack(void)
{
	lapic_write(LAPIC_EOI, 0);
}

uint64_t hal_cycles(void)
{
	return rdtsc();
}

uint64_t hal_clock_ns(void)
{
	return (uint64_t)((unsigned __int128)(rdtsc() - tsc_boot) * ns_per_tsc >> 32);
}
