/* SPDX-License-Identifier: MIT */
/*
 * x86-64 processor set-up: descriptor tables, the features the kernel relies on, the `syscall`
 * registers, FP state, thread pointers, kernel contexts, idling. What is one CPU's own is in
 * struct cpu. Each CPU goes through the same steps (smp.c has how it gets here).
 */
#include "x86.h"
#include "lib/printf.h"
#include "lib/string.h"

bool x86_has_smap, x86_has_rdrand, x86_has_1g;
unsigned x86_phys_bits = 36;
uint32_t x86_xstate_size = 512;
uint64_t x86_xfeatures;

/* ---- descriptor tables ----------------------------------------------------------------------- */

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};

struct table_ptr {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#define IST_STACK 4096
#define GDT_ENTRIES 10

enum { IST_NMI = 1, IST_DF, IST_MC, IST_COUNT = IST_MC };

static struct cpu {
	struct x86_percpu pcpu;
	uint64_t gdt[GDT_ENTRIES];
	struct tss tss;
	uint8_t ist[IST_COUNT][IST_STACK] __attribute__((aligned(16)));
	struct hal_fpu bounce; /* what XSAVE takes, for a state that lies where it would refuse */
} cpus[ARCH_CPUS_MAX];

static struct gate idt[256] __attribute__((aligned(16)));

static void gate_set(unsigned vector, unsigned ist, bool user)
{
	uint64_t stub = (uint64_t)(x86_trap_stubs + vector * 16);

	idt[vector] = (struct gate){
		.offset_low = (uint16_t)stub,
		.selector = X86_KERNEL_CS,
		.ist = (uint8_t)ist,
		.type = user ? 0xee : 0x8e, /* interrupt gate: interrupts stay off */
		.offset_mid = (uint16_t)(stub >> 16),
		.offset_high = (uint32_t)(stub >> 32),
	};
}

static void gdt_fill(struct cpu *c)
{
	uint64_t tss = (uint64_t)&c->tss;

	c->gdt[X86_KERNEL_CS / 8] = 0x00af9b000000ffff;
	c->gdt[X86_KERNEL_DS / 8] = 0x00cf93000000ffff;
	/* entry 4 would be 32-bit user code; it stays absent, there is no 32-bit user mode */
	c->gdt[X86_USER_DS / 8] = 0x00cff3000000ffff;
	c->gdt[X86_USER_CS / 8] = 0x00affb000000ffff;
	c->gdt[X86_TSS_SEL / 8] = (sizeof(struct tss) - 1) | (tss & 0xffffff) << 16 |
				  0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	c->gdt[X86_TSS_SEL / 8 + 1] = tss >> 32;
}

void x86_tables_init(unsigned cpu, void *stack_top)
{
	struct cpu *c = &cpus[cpu];
	struct table_ptr gdt = {sizeof(c->gdt) - 1, (uint64_t)c->gdt};
	struct table_ptr idtp = {sizeof(idt) - 1, (uint64_t)idt};

	c->pcpu.cpu_id = cpu;
	for (unsigned i = 0; i < IST_COUNT; i++)
		c->tss.ist[i] = (uint64_t)c->ist[i] + IST_STACK;
	c->tss.iomap = sizeof(struct tss); /* no port is a user's */
	gdt_fill(c);
	for (unsigned v = 0; v < 256 && !cpu; v++)
		gate_set(v, v == X86_VEC_NMI ? IST_NMI : v == X86_VEC_DF ? IST_DF :
			 v == X86_VEC_MC     ? IST_MC  : 0, v == X86_VEC_BP || v == X86_VEC_OF);

	__asm__ volatile("lgdt %0; lidt %1; ltr %w2"
			 : : "m"(gdt), "m"(idtp), "r"(X86_TSS_SEL) : "memory");
	wrmsr(MSR_GS_BASE, (uint64_t)&c->pcpu);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
	wrmsr(MSR_FS_BASE, 0);
	hal_set_kernel_stack(stack_top);
}

void hal_set_kernel_stack(void *top)
{
	struct cpu *c = &cpus[hal_cpu_id()];

	c->tss.rsp[0] = (uint64_t)top;
	c->pcpu.kernel_stack = (uint64_t)top;
}

/* ---- features -------------------------------------------------------------------------------- */

struct cpuid x86_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;
	uint32_t max;

	__asm__ volatile("cpuid" : "=a"(max) : "a"(leaf & 0x80000000u) : "ebx", "ecx", "edx");
	if (leaf > max)
		return (struct cpuid){0};
	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

/* Turns on XSAVE for x87, SSE and AVX, as far as they are there. */
static void fpu_features(uint32_t leaf1_ecx)
{
	struct cpuid d;

	write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	if (!(leaf1_ecx & (1u << 26)))
		return;
	write_cr4(read_cr4() | CR4_OSXSAVE);
	x86_xfeatures = x86_cpuid(0xd, 0).eax & 0x7;
	__asm__ volatile("xsetbv" : : "a"((uint32_t)x86_xfeatures), "d"(0), "c"(0));
	d = x86_cpuid(0xd, 0);
	if (d.ebx > X86_XSTATE_MAX) /* no processor lays AVX out wider than this */
		boot_die("the FP state is larger than a task's room for it");
	x86_xstate_size = d.ebx;
}

static void syscall_registers(void)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
	/* sysret takes CS from base + 16 and SS from base + 8 */
	wrmsr(MSR_STAR, (uint64_t)(X86_USER_CS - 16) << 48 | (uint64_t)X86_KERNEL_CS << 32);
	wrmsr(MSR_LSTAR, (uint64_t)x86_syscall_entry);
	wrmsr(MSR_FMASK, RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC);
}

void x86_features_init(void)
{
	struct cpuid one = x86_cpuid(1, 0), seven = x86_cpuid(7, 0);
	struct cpuid ext = x86_cpuid(0x80000001, 0), width = x86_cpuid(0x80000008, 0);
	uint64_t cr4 = read_cr4() | CR4_PGE;

	if (!(ext.edx & (1u << 20)))
		boot_die("the processor cannot forbid execution of data (no NX)");
	if (!(ext.edx & (1u << 11)) || !(one.edx & (1u << 24)))
		boot_die("the processor has no syscall or no fxsave instruction");
	if (!(one.edx & (1u << 16)) || !(one.edx & (1u << 13)))
		boot_die("the processor has no PAT or no global pages");
	x86_has_1g = ext.edx & (1u << 26);
	x86_has_rdrand = one.ecx & (1u << 30);
	if (width.eax & 0xff)
		x86_phys_bits = width.eax & 0xff;
	if (x86_phys_bits > ARCH_PFN_BITS + ARCH_PAGE_SHIFT)
		x86_phys_bits = ARCH_PFN_BITS + ARCH_PAGE_SHIFT;

	x86_has_smap = seven.ebx & (1u << 20);
	cr4 |= seven.ebx & (1u << 7) ? CR4_SMEP : 0;
	cr4 |= x86_has_smap ? CR4_SMAP : 0;
	cr4 |= seven.ecx & (1u << 2) ? CR4_UMIP : 0;
	write_cr4(cr4);
	write_cr0(read_cr0() | CR0_WP | CR0_AM);

	/* 0 WB, 1 WC, 2 UC-, 3 UC, twice: what pte.h numbers by PCD and PWT */
	wrmsr(MSR_PAT, 0x0007010600070106ull);
	fpu_features(one.ecx);
	syscall_registers();
	/* what rdtscp and rdpid tell, in Linux's form: the node above bit 12 */
	if (ext.edx & (1u << 27))
		wrmsr(MSR_TSC_AUX, hal_cpu_id());
}

unsigned long hal_elf_hwcap(void)
{
	return x86_cpuid(1, 0).edx;
}

/* Family and model as the manual adds them up. The flags are told by AT_HWCAP and by cpuid itself. */
size_t hal_cpu_describe(unsigned cpu, char *buf, size_t size)
{
	struct cpuid zero = x86_cpuid(0, 0), one = x86_cpuid(1, 0);
	uint32_t family = one.eax >> 8 & 15, model = one.eax >> 4 & 15;
	uint32_t vendor[3] = {zero.ebx, zero.edx, zero.ecx}, name[13] = {0};

	if (family == 6 || family == 15)
		model |= one.eax >> 12 & 0xf0;
	if (family == 15)
		family += one.eax >> 20 & 0xff;
	for (uint32_t i = 0; i < 3; i++) {
		struct cpuid c = x86_cpuid(0x80000002 + i, 0);

		memcpy(&name[4 * i], (uint32_t[]){c.eax, c.ebx, c.ecx, c.edx}, 16);
	}
	return (size_t)scnprintf(buf, size,
				 "vendor_id\t: %.12s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %.48s\n"
				 "stepping\t: %u\napicid\t\t: %u\nfpu\t\t: yes\ncpuid level\t: %u\n"
				 "address sizes\t: %u bits physical, %u bits virtual\n",
				 (const char *)vendor, family, model, (const char *)name, one.eax & 15,
				 x86_apic_id(cpu), zero.eax, x86_phys_bits, mmu_info.va_bits);
}

/* ---- FP state -------------------------------------------------------------------------------- */

static bool fpu_aligned(const struct hal_fpu *f)
{
	return !((uintptr_t)f & 63);
}

void hal_fpu_init(struct hal_fpu *f)
{
	memset(f, 0, sizeof(*f));
	f->area[0] = 0x7f; /* FCW: all exceptions masked, extended precision */
	f->area[1] = 0x03;
	f->area[24] = 0x80; /* MXCSR: all masked */
	f->area[25] = 0x1f;
}

void hal_fpu_save(struct hal_fpu *f)
{
	struct hal_fpu *to = fpu_aligned(f) ? f : &cpus[hal_cpu_id()].bounce;

	if (x86_xfeatures)
		__asm__ volatile("xsave64 (%0)" : : "r"(to), "a"((uint32_t)x86_xfeatures), "d"(0)
				 : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(to) : "memory");
	if (to != f)
		memcpy(f, to, x86_xstate_size);
}

void hal_fpu_restore(const struct hal_fpu *f)
{
	const struct hal_fpu *from = f;

	if (!fpu_aligned(f)) {
		struct hal_fpu *bounce = &cpus[hal_cpu_id()].bounce;

		memcpy(bounce, f, x86_xstate_size);
		from = bounce;
	}
	if (x86_xfeatures)
		__asm__ volatile("xrstor64 (%0)" : : "r"(from), "a"((uint32_t)x86_xfeatures),
				 "d"(0) : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" : : "r"(from) : "memory");
}

/* ---- thread pointers ------------------------------------------------------------------------- */

void hal_tls_set(struct trap_frame *tf, unsigned long tls)
{
	hal_tls_restore(tls);
}

unsigned long hal_tls_save(void)
{
	return rdmsr(MSR_FS_BASE);
}

void hal_tls_restore(unsigned long tls)
{
	/* a base that is not canonical would be a trap here; no program can have set one */
	wrmsr(MSR_FS_BASE, x86_canonical(tls) ? tls : 0);
}

void x86_reset_user_gs(void)
{
	wrmsr(MSR_KERNEL_GS_BASE, 0); /* while the kernel runs, the user's waits there */
}

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define ARCH_GET_CPUID 0x1011
#define ARCH_SET_CPUID 0x1012

static long arch_prctl(struct trap_frame *tf)
{
	unsigned long code = tf_syscall_arg(tf, 0), addr = tf_syscall_arg(tf, 1), base;

	switch (code) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (addr >= hal_mmu_info()->user_end)
			return -EPERM;
		wrmsr(code == ARCH_SET_FS ? MSR_FS_BASE : MSR_KERNEL_GS_BASE, addr);
		return 0;
	case ARCH_GET_FS:
	case ARCH_GET_GS:
		base = rdmsr(code == ARCH_GET_FS ? MSR_FS_BASE : MSR_KERNEL_GS_BASE);
		return hal_copy_to_user(addr, &base, sizeof(base)) ? -EFAULT : 0;
	case ARCH_GET_CPUID:
		return 1; /* cpuid is not trapped */
	case ARCH_SET_CPUID:
		return -ENODEV;
	default:
		return -EINVAL;
	}
}

long hal_arch_syscall(struct trap_frame *tf, const char *name)
{
	return strcmp(name, "arch_prctl") ? -ENOSYS : arch_prctl(tf);
}

/* ---- kernel contexts ------------------------------------------------------------------------- */

void x86_switch_stacks(uint64_t *save_rsp, uint64_t next_rsp);
void x86_context_start(void);

/* What x86_switch_stacks() pops: r15 r14 r13 r12 rbx rbp, then where to. */
void hal_context_init(struct hal_context *c, void *stack, size_t size, void (*fn)(void *),
		      void *arg)
{
	uint64_t *sp = (uint64_t *)(((uintptr_t)stack + size) & ~15ul);

	*--sp = 0; /* so that x86_context_start() calls with the alignment the ABI asks for */
	*--sp = (uint64_t)x86_context_start;
	*--sp = 0;		/* rbp: the last frame */
	*--sp = (uint64_t)fn;	/* rbx */
	*--sp = (uint64_t)arg;	/* r12 */
	*--sp = 0;
	*--sp = 0;
	*--sp = 0;
	c->rsp = (uint64_t)sp;
	/* a forked task goes on with its maker's GS base, as Linux has it */
	c->user_gs = rdmsr(MSR_KERNEL_GS_BASE);
}

void hal_context_switch(struct hal_context *prev, struct hal_context *next)
{
	prev->user_gs = rdmsr(MSR_KERNEL_GS_BASE);
	if (next->user_gs != prev->user_gs)
		wrmsr(MSR_KERNEL_GS_BASE, next->user_gs);
	x86_switch_stacks(&prev->rsp, next->rsp);
}

/* ---- interrupts and idling ------------------------------------------------------------------- */

void hal_idle(void)
{
	/* sti takes effect after the next instruction: no interrupt slips in before hlt */
	latency_irqs_on();
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	latency_irqs_off();
}
