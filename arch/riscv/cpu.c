/* SPDX-License-Identifier: MIT */
/*
 * RISC-V: the hart and the few devices that the contract needs: console, exit, clock and timer,
 * floating-point state, kernel contexts, whole pages. And riscv_start(), where C begins.
 */
#include "lib/printf.h"
#include "lib/string.h"
#include "riscv.h"
#include "sbi.h"
#include <quire/abi.h>

#define UART_DATA    0
#define UART_FCR     2
#define UART_LSR     5
#define UART_LSR_DR  0x01
#define UART_LSR_THRE 0x20
#define UART_FIFO    16
#define UART_REGS    8

#define TEST_PASS 0x5555u
#define TEST_FAIL 0x3333u

_Static_assert(offsetof(struct rv_percpu, kernel_stack) == RV_PCPU_STACK, "trap.S");
_Static_assert(offsetof(struct rv_percpu, cpu_id) == RV_PCPU_ID, "hal_cpu_id");
_Static_assert(offsetof(struct rv_percpu, hart) == RV_PCPU_HART, "boot.S");
_Static_assert(sizeof(struct rv_percpu) == RV_PCPU_SIZE && ARCH_CPUS_MAX == 16, "boot.S");
_Static_assert(offsetof(struct rv_percpu, satp) == RV_PCPU_SATP, "boot.S");
_Static_assert(offsetof(struct rv_percpu, stack) == RV_PCPU_SP, "boot.S");
_Static_assert(offsetof(struct rv_percpu, entry) == RV_PCPU_ENTRY, "boot.S");
_Static_assert(offsetof(struct rv_percpu, self) == RV_PCPU_SELF, "boot.S");
_Static_assert(offsetof(struct rv_percpu, task) == RV_PCPU_TASK, "hal_task");

static volatile uint8_t *uart;
static volatile uint32_t *test_device;
static bool has_dbcn;
static bool has_fp;
static uint64_t boot_time;

/* ---- console and exit ------------------------------------------------------------------------ */

static volatile uint8_t *uart_reg(unsigned n)
{
	return &uart[n << rv_platform.uart_shift];
}

/* An empty FIFO takes sixteen bytes without another look. */
static void uart_write(const char *s, size_t n)
{
	while (n) {
		while (!(*uart_reg(UART_LSR) & UART_LSR_THRE))
			hal_cpu_relax();
		for (unsigned i = 0; i < UART_FIFO && n; i++, n--)
			*uart_reg(UART_DATA) = (uint8_t)*s++;
	}
}

/* The firmware reads physical memory: by way of the image, since s may lie on a mapped stack. */
static void dbcn_write(const char *s, size_t n)
{
	static char bounce[128];
	struct sbi_ret r = {0, 0};

	for (; n && !r.error; n -= (size_t)r.value, s += r.value) {
		size_t part = min(n, sizeof(bounce));

		memcpy(bounce, s, part);
		r = sbi_call(SBI_DBCN, SBI_DBCN_WRITE, part, hal_virt_to_phys(bounce), 0);
	}
}

static void sbi_write(const char *s, size_t n)
{
	if (has_dbcn) {
		dbcn_write(s, n);
		return;
	}
	while (n--)
		(void)sbi_call(SBI_LEGACY_PUTCHAR, 0, (uint8_t)*s++, 0, 0);
}

void hal_log(const char *s, size_t n)
{
	irqflags_t flags = hal_irq_save();

	if (uart)
		uart_write(s, n);
	else
		sbi_write(s, n);
	hal_irq_restore(flags);
}

int hal_console_getc(void)
{
	long c;

	if (uart)
		return *uart_reg(UART_LSR) & UART_LSR_DR ? *uart_reg(UART_DATA) : -1;
	c = sbi_call(SBI_LEGACY_GETCHAR, 0, 0, 0, 0).error;
	return c < 0 ? -1 : (int)c;
}

void hal_exit(int status)
{
	unsigned code = status & 0xff;

	if (status && !code)
		code = 1; /* a failure stays one when the emulator cuts it to a byte */
	hal_irq_save();
	if (test_device)
		*test_device = code ? code << 16 | TEST_FAIL : TEST_PASS;
	(void)sbi_call(SBI_SRST, 0, SBI_SRST_SHUTDOWN, code ? SBI_SRST_FAILURE : 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

/* The registers through the boot page tables: lines and failures of the boot itself. */
void rv_devices_early(void)
{
	const struct rv_platform *p = &rv_platform;

	if (p->uart && p->uart < RV_EARLY_DIRECT_SIZE) {
		uart = hal_phys_to_virt(p->uart);
		*uart_reg(UART_FCR) = 1;
	}
	if (p->test && p->test < RV_EARLY_DIRECT_SIZE)
		test_device = hal_phys_to_virt(p->test);
}

static void devices_late(void)
{
	const struct rv_platform *p = &rv_platform;

	uart = NULL;
	test_device = NULL;
	if (p->uart)
		uart = mmu_map_device(p->uart, UART_REGS << p->uart_shift);
	if (p->test)
		test_device = mmu_map_device(p->test, 4);
	rv_plic_init();
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t hal_cycles(void)
{
	return csr_read(time);
}

uint64_t hal_clock_ns(void)
{
	uint64_t t = csr_read(time) - boot_time, hz = rv_platform.timebase;

	return t / hz * 1000000000u + t % hz * 1000000000u / hz;
}

static void set_timer(uint64_t at)
{
	(void)sbi_call(SBI_TIME, 0, at, 0, 0);
}

void hal_timer_start(uint64_t period_ns)
{
	uint64_t hz = rv_platform.timebase;

	struct rv_percpu *c = &rv_percpu[hal_cpu_id()];

	c->timer_period = period_ns / 1000000000u * hz + period_ns % 1000000000u * hz / 1000000000u;
	if (!c->timer_period)
		c->timer_period = 1;
	c->timer_next = csr_read(time) + c->timer_period;
	set_timer(c->timer_next);
	csr_set(sie, SIE_STIE);
}

/* The next tick; ticks that were missed are not made up for. */
void rv_timer_irq(void)
{
	struct rv_percpu *c = &rv_percpu[hal_cpu_id()];
	uint64_t now = csr_read(time);

	c->timer_next += c->timer_period;
	if (c->timer_next <= now)
		c->timer_next = now + c->timer_period;
	set_timer(c->timer_next);
}

/* wfi ends when one is pending, whether or not it may interrupt; then it may, for a moment. */
void hal_idle(void)
{
	latency_irqs_on();
	__asm__ volatile("wfi" : : : "memory");
	latency_irqs_off();
	hal_irq_enable();
	hal_irq_disable();
}

/* ---- pages ----------------------------------------------------------------------------------- */

void hal_clear_page(void *page)
{
	uint64_t *p = page;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i += 8) {
		p[i] = p[i + 1] = p[i + 2] = p[i + 3] = 0;
		p[i + 4] = p[i + 5] = p[i + 6] = p[i + 7] = 0;
	}
}

void hal_copy_page(void *dst, const void *src)
{
	const uint64_t *s = src;
	uint64_t *d = dst;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i += 8, s += 8, d += 8) {
		uint64_t a = s[0], b = s[1], c = s[2], e = s[3];
		uint64_t f = s[4], g = s[5], h = s[6], j = s[7];

		d[0] = a, d[1] = b, d[2] = c, d[3] = e;
		d[4] = f, d[5] = g, d[6] = h, d[7] = j;
	}
}

/* ---- kernel contexts ------------------------------------------------------------------------- */

void hal_context_init(struct hal_context *c, void *stack, size_t size, void (*fn)(void *),
		      void *arg)
{
	unsigned long *sp = (unsigned long *)((((uintptr_t)stack + size) & ~15ul) - RV_STACK_WORD);

	/* what hal_context_switch() takes: ra, s0, s1, s2 ... */
	sp -= 14;
	memset(sp, 0, 14 * sizeof(*sp));
	sp[0] = (unsigned long)riscv_context_start;
	sp[2] = (unsigned long)fn;
	sp[3] = (unsigned long)arg;
	c->sp = (unsigned long)sp;
}

void riscv_context_ended(void)
{
	boot_die("a kernel context returned");
}

void hal_set_kernel_stack(void *top)
{
	struct rv_percpu *c = &rv_percpu[hal_cpu_id()];

	c->kernel_stack = ((unsigned long)top & ~15ul) - RV_STACK_WORD;
	*(struct rv_percpu **)c->kernel_stack = c;
}

void hal_user_enter(struct trap_frame *tf)
{
	hal_irq_disable();
	kernel_return_to_user(tf);
	latency_irqs_on();
	riscv_trap_return(tf);
}

/* ---- floating point -------------------------------------------------------------------------- */

/*
 * sstatus.FS says whether the registers differ from what was loaded: only Dirty ones are saved.
 * The kernel itself is compiled without floating point, so they are always the user's.
 */
void hal_fpu_init(struct hal_fpu *f)
{
	memset(f, 0, sizeof(*f));
}

void hal_fpu_save(struct hal_fpu *f)
{
	if (!has_fp || (csr_read(sstatus) & SSTATUS_FS) != SSTATUS_FS_DIRTY)
		return;
	riscv_fp_save(f);
	csr_clear(sstatus, SSTATUS_FS);
	csr_set(sstatus, SSTATUS_FS_CLEAN);
}

void hal_fpu_restore(const struct hal_fpu *f)
{
	if (!has_fp)
		return;
	csr_set(sstatus, SSTATUS_FS);
	riscv_fp_load(f);
	csr_clear(sstatus, SSTATUS_FS);
	csr_set(sstatus, SSTATUS_FS_CLEAN);
}

void hal_tls_set(struct trap_frame *tf, unsigned long tls)
{
	tf->x[RV_TP] = tls;
}

unsigned long hal_tls_save(void)
{
	return 0;
}

void hal_tls_restore(unsigned long tls)
{
}

/* ---- identity -------------------------------------------------------------------------------- */

unsigned long hal_elf_hwcap(void)
{
	return rv_platform.hwcap;
}

size_t hal_cpu_describe(unsigned cpu, char *buf, size_t size)
{
	static const char letters[] = "imafdqcbvh"; /* in the order of the manual */
	size_t n = (size_t)scnprintf(buf, size, "hart\t\t: %u\nisa\t\t: rv64", rv_percpu[cpu].hart);

	for (const char *l = letters; *l; l++)
		if (rv_platform.hwcap >> (*l - 'a') & 1)
			n += (size_t)scnprintf(buf + n, size - n, "%c", *l);
	return n + (size_t)scnprintf(buf + n, size - n, "\nmmu\t\t: sv%u\n", mmu_info.va_bits);
}

/* ---- the beginning --------------------------------------------------------------------------- */

void rv_hart_init(void)
{
	struct hal_fpu fresh;

	hal_fpu_init(&fresh);
	hal_fpu_restore(&fresh);
	/* user programs may read the clock, the cycle and the instruction counter */
	csr_write(scounteren, 7);
	csr_set(sie, SIE_SSIE); /* other harts' calls */
}

static void cpu_init(void)
{
	unsigned long fd = 1ul << ('f' - 'a') | 1ul << ('d' - 'a');

	has_fp = (rv_platform.hwcap & fd) == fd;
	boot_time = csr_read(time);
	boot_seed = rv_platform.seed;
	rv_hart_init();
}

/* trace=SIZE: a ring that the host finds by the line about it. */
static void take_trace_ring(struct boot_info *bi)
{
	char word[24];
	uint64_t size;

	if (!boot_option(rv_platform.cmdline, "trace", word, sizeof(word)))
		return;
	if (parse_u64(word, &size) || !size)
		boot_die("trace=%s: not a size", word);
	size = ALIGN_UP(size, PAGE_SIZE);
	bi->trace_ring_phys = rv_boot_alloc(size, MEM_TRACE, "trace ring", UINT64_MAX);
	if (bi->trace_ring_phys == UINT64_MAX)
		boot_die("trace=%s: no room for it in RAM", word);
	bi->trace_ring = hal_phys_to_virt(bi->trace_ring_phys);
	bi->trace_ring_size = size;
}

static void say_hello(const struct boot_info *bi)
{
	const struct mmu_info *mi = hal_mmu_info();
	char line[96];
	size_t n;

	boot_log("hart %u (%u more wait), Sv%u, %u ASID bits, A/D by %s",
	       rv_platform.boot_hart, hal_cpus - 1, mi->va_bits, mi->asid_bits,
	       mi->hw_accessed_dirty ? "hardware" : "software");
	if (!bi->trace_ring)
		return;
	n = scnprintf(line, sizeof(line), "quire: trace ring phys=0x%lx size=0x%zx\n",
		      bi->trace_ring_phys, bi->trace_ring_size);
	hal_log(line, n);
}

static unsigned wanted_sv(void)
{
	char word[8];
	uint64_t sv = 48;

	if (boot_option(rv_platform.cmdline, "sv", word, sizeof(word)) &&
	    (parse_u64(word, &sv) || (sv != 39 && sv != 48 && sv != 57)))
		boot_die("sv=: 39, 48 or 57");
	return (unsigned)sv;
}

void riscv_start(unsigned long hart, phys_addr_t fdt, uintptr_t image_offset)
{
	static struct boot_info bi;

	hal_image_offset = image_offset;
	has_dbcn = sbi_has(SBI_DBCN);
	rv_platform_init(fdt, (unsigned)hart);
	rv_cpus_init();
	rv_mmu_init(wanted_sv());
	devices_late();
	cpu_init();
	bi.cmdline = rv_platform.cmdline;
	bi.initrd_size = rv_platform.initrd_end - rv_platform.initrd_start;
	if (bi.initrd_size)
		bi.initrd = hal_phys_to_virt(rv_platform.initrd_start);
	take_trace_ring(&bi);
	say_hello(&bi);
	hal_set_kernel_stack(riscv_boot_stack_top);
	kernel_main(&bi);
}
