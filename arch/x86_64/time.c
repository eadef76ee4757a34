/* SPDX-License-Identifier: MIT */
/*
 * x86-64 time and interrupt controllers: the TSC as clock, the local APIC's timer as tick, both
 * measured once against the PIT's count; calls between CPUs; the old interrupt controllers moved out of
 * the exceptions' way and masked.
 */
#include "x86.h"
#include "lib/string.h"

#define PIT_HZ 1193182u
#define PIT_CH2 0x42
#define PIT_CMD 0x43
#define PORT_B 0x61 /* bit 0: gate of channel 2, bit 1: speaker, bit 5: its output */
#define MEASURE_US 4000u

#define LAPIC_ID 0x20
#define LAPIC_EOI 0xb0
#define LAPIC_SVR 0xf0
#define LAPIC_ICR_LOW 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_TIMER_INIT 0x380
#define LAPIC_TIMER_NOW 0x390
#define LAPIC_TIMER_DIV 0x3e0
#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u
#define TIMER_BY_16 0x3
#define ICR_PENDING 0x1000u

/* The clock that runs on a battery. */
#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71
enum { CMOS_SECOND = 0, CMOS_MINUTE = 2, CMOS_HOUR = 4, CMOS_DAY = 7, CMOS_MONTH = 8, CMOS_YEAR = 9, CMOS_A = 10,
       CMOS_B = 11 };
#define CMOS_UPDATING 0x80 /* of A */
#define CMOS_BINARY   0x04 /* of B: else two decimal digits */
#define CMOS_24_HOURS 0x02
#define CMOS_PM	      0x80 /* of the hour, if it has but 12 */
#define CMOS_TRIES    100000u

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

/* What three clocks said at about the same time. */
struct moment {
	uint64_t tsc;
	uint32_t ticks; /* of the APIC timer, counting down */
	uint16_t left;	/* of channel 2, counting down */
	uint64_t width; /* of the reading, by the TSC: a host may have held us up in the midst of it */
};

static struct moment look(void)
{
	uint64_t start = rdtsc();
	struct moment m;

	outb(PIT_CMD, 0x80); /* latch channel 2 */
	m.left = inb(PIT_CH2);
	m.left |= (uint16_t)(inb(PIT_CH2) << 8);
	m.ticks = lapic ? lapic_read(LAPIC_TIMER_NOW) : 0;
	m.tsc = rdtsc();
	m.width = m.tsc - start;
	return m;
}

/* The closest of a few. */
static struct moment look_closely(void)
{
	struct moment best = look();

	for (unsigned i = 0; i < 8; i++) {
		struct moment m = look();

		if (m.width < best.width)
			best = m;
	}
	return best;
}

static void start_count(void)
{
	outb(PORT_B, (inb(PORT_B) & ~2u) | 1u);
	outb(PIT_CMD, 0xb0); /* channel 2, low then high byte, one shot */
	outb(PIT_CH2, 0xff);
	outb(PIT_CH2, 0xff);
}

static bool count_is_over(void)
{
	return inb(PORT_B) & 0x20;
}

/* How far TSC and APIC timer came while channel 2 counted so many: about MEASURE_US, or as long as it was
 * until the host held us up for so long that the count was over. 0: there is no PIT. */
static unsigned measure_once(uint64_t *tsc, uint64_t *ticks)
{
	const unsigned enough = (unsigned)((uint64_t)PIT_HZ * MEASURE_US / 1000000);
	unsigned counted = 0, limit = 200000; /* reads of a port: 4 ms many times over */
	struct moment begin, end;

	start_count();
	begin = look_closely();
	while (counted < enough && --limit) {
		end = look_closely();
		if (end.left >= begin.left || count_is_over())
			break;
		counted = begin.left - end.left;
		*tsc = end.tsc - begin.tsc;
		*ticks = begin.ticks - end.ticks;
	}
	return counted;
}

#define MEASURE_TRIES 16

/* Of some measurements the longest; as a rule the first is long enough. Both clocks are read at both ends, so
 * that what the host takes away in between counts for all of them. */
static void measure(void)
{
	uint64_t best_tsc = 0, best_ticks = 0;
	unsigned best = 0;

	if (lapic) {
		lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | X86_VEC_TIMER);
		lapic_write(LAPIC_TIMER_INIT, UINT32_MAX);
	}
	for (unsigned i = 0; i < MEASURE_TRIES && best < PIT_HZ / (1000000 / MEASURE_US); i++) {
		uint64_t tsc = 0, ticks = 0;
		unsigned counted = measure_once(&tsc, &ticks);

		if (counted > best) {
			best = counted;
			best_tsc = tsc;
			best_ticks = ticks;
		}
	}
	if (lapic)
		lapic_write(LAPIC_TIMER_INIT, 0);
	if (best) {
		tsc_hz = best_tsc * PIT_HZ / best;
		lapic_hz = best_ticks * PIT_HZ / best;
	} else {
		boot_log("no PIT to measure time with, 1 GHz assumed");
	}
	if (!tsc_hz) {
		tsc_hz = 1000000000;
		lapic_hz = tsc_hz / 16;
	}
	ns_per_tsc = (1000000000ull << 32) / tsc_hz;
}

void x86_lapic_init(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1u << 11);
	lapic_write(LAPIC_SVR, 0x100 | X86_VEC_SPURIOUS);
	lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
	lapic_write(LAPIC_LVT_LINT1, hal_cpu_id() ? LVT_MASKED : 0x400); /* NMI, to the first one */
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | X86_VEC_TIMER);
	lapic_write(LAPIC_TIMER_DIV, TIMER_BY_16);
}

/* The command's upper half is the CPU's, and an interrupt could send one between the two. */
void x86_lapic_send(unsigned id, uint32_t command)
{
	irqflags_t flags = hal_irq_save();

	lapic_write(LAPIC_ICR_HIGH, id << 24);
	lapic_write(LAPIC_ICR_LOW, command);
	while (lapic_read(LAPIC_ICR_LOW) & ICR_PENDING)
		hal_cpu_relax();
	hal_irq_restore(flags);
}

void x86_time_init(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	pic_mask();
	tsc_boot = rdtsc();
	if (x86_cpuid(1, 0).edx & (1u << 9)) {
		lapic = mmu_map_device(base & X86_PTE_FRAME, PAGE_BYTES);
		x86_lapic_init();
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

void x86_lapic_ack(void)
{
	lapic_write(LAPIC_EOI, 0);
}

bool x86_has_lapic(void)
{
	return lapic;
}

unsigned x86_lapic_id(void)
{
	return lapic_read(LAPIC_ID) >> 24;
}

uint64_t hal_cycles(void)
{
	return rdtsc();
}

uint64_t hal_clock_ns(void)
{
	return (uint64_t)((unsigned __int128)(rdtsc() - tsc_boot) * ns_per_tsc >> 32);
}

/* ---- the day ------------------------------------------------------------------------------------- */

struct cmos_time {
	uint8_t second, minute, hour, day, month, year;
};

static uint8_t cmos_read(uint8_t reg)
{
	outb(CMOS_INDEX, reg);
	return inb(CMOS_DATA);
}

static struct cmos_time cmos_look(void)
{
	for (unsigned i = 0; i < CMOS_TRIES && cmos_read(CMOS_A) & CMOS_UPDATING; i++)
		;
	return (struct cmos_time){cmos_read(CMOS_SECOND), cmos_read(CMOS_MINUTE), cmos_read(CMOS_HOUR),
				  cmos_read(CMOS_DAY), cmos_read(CMOS_MONTH), cmos_read(CMOS_YEAR)};
}

static unsigned cmos_number(uint8_t v, uint8_t b)
{
	return b & CMOS_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static unsigned cmos_hour(uint8_t v, uint8_t b)
{
	unsigned hour = cmos_number(v & (uint8_t)~CMOS_PM, b);

	return b & CMOS_24_HOURS ? cmos_number(v, b) : hour % 12 + (v & CMOS_PM ? 12 : 0);
}

/* Days from 1970 to a day of the years 2000 to 2099, of which each fourth is longer. */
static uint64_t days_to(unsigned year, unsigned month, unsigned day)
{
	static const uint16_t before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};

	return 10957 + year * 365ull + (year + 3) / 4 + before[month - 1] + (month > 2 && year % 4 == 0) + day - 1;
}

/* Read until two looks agree: no digit changed in between. */
uint64_t hal_realtime_ns(void)
{
	struct cmos_time t = cmos_look(), again;
	uint8_t b = cmos_read(CMOS_B);
	unsigned month;

	for (unsigned i = 0; i < 10; i++, t = again) {
		again = cmos_look();
		if (!memcmp(&t, &again, sizeof(t)))
			break;
	}
	month = cmos_number(t.month, b);
	if (month < 1 || month > 12) /* there is no such clock */
		return 0;
	return ((days_to(cmos_number(t.year, b), month, cmos_number(t.day, b)) * 24 + cmos_hour(t.hour, b)) * 3600 +
		cmos_number(t.minute, b) * 60 + cmos_number(t.second, b)) * 1000000000ull;
}
