/* SPDX-License-Identifier: MIT */
/*
 * What only RISC-V promises, as a kernel image of its own. The command line's first word says what
 * to try: one that breaks a rule of the kernel's own memory (the machine must stop it), or "user":
 * a program in user mode that causes every kind of trap, each checked to the last bit.
 *
 * The user program is riscv64_user.S. It has no flow of its own: for each step the kernel sets its
 * program counter to a label, the step ends in a trap, the trap is compared with the table.
 */
#include "bare_test.h"
#include <quire/abi.h>
#include <quire/trace.h>

#define CODE_VA	 0x400000ul
#define DATA_VA	 0x500000ul  /* read, write, no execution */
#define RO_VA	 0x501000ul
#define RSVD_VA	 0x502000ul  /* its entry has a reserved bit set */
#define BUS_VA	 0x503000ul  /* maps the firmware's memory, which PMP refuses */
#define LIVE_VA	 0x504000ul  /* two pages that change while they are in use */
#define LAZY_VA	 0x50f000ul  /* two pages that the first touch maps */
#define STACK_VA 0x600000ul
#define STACK_TOP (STACK_VA + 2 * PAGE)
#define HOLE_VA	 0x700000ul

extern const char riscv_test_user[];
extern char riscv_boot_stack_guard[];

static char word[32];
static const char *volatile expected_oops; /* what the machine should say of the rule broken */

/* ---- memory ----------------------------------------------------------------------------------- */

static uint64_t firmware;

static void note_range(const struct mem_range *r, void *ctx)
{
	if (nranges < sizeof(ranges) / sizeof(ranges[0]))
		ranges[nranges++] = *r;
	if (r->kind == MEM_KERNEL)
		next_page = (r->end + PAGE - 1) & -PAGE;
	if (r->kind == MEM_RESERVED && !strcmp(r->name, "reserved-memory"))
		firmware = r->start;
}

static void map_user(uintptr_t va, unsigned prot, pfn_t p)
{
	struct pte_desc d = kmap_prot(prot, MT_WB);

	d.user = true;
	d.global = false;
	if (kmap_map(&user_map, va, p.n * PAGE, PAGE, d))
		os_panic("no memory");
}

/* The entry of a page that is mapped. */
static pteval_t *entry(uintptr_t va)
{
	pteval_t *table = hal_phys_to_virt(user_map.root.n * PAGE);

	for (unsigned l = user_map.levels - 1; l; l--) {
		pteval_t *e = &table[va >> (12 + 9 * l) & 511];

		table = hal_phys_to_virt(arch_pte_decode(hal_pte_get(e), l).pfn.n * PAGE);
	}
	return &table[va >> 12 & 511];
}

static void make_space(void)
{
	pfn_t root = page(NULL), code;

	if (hal_space_init(&space, root, true))
		os_panic("no memory");
	user_map = (struct kmap){
		.root = root,
		.levels = hal_mmu_info()->levels,
		.leaf_levels = 1,
		.table_offset = (uintptr_t)hal_phys_to_virt(0),
		.alloc = page,
	};
	code = page(NULL);
	memcpy(hal_phys_to_virt(code.n * PAGE), riscv_test_user, PAGE);
	hal_icache_sync(hal_phys_to_virt(code.n * PAGE), PAGE);
	map_user(CODE_VA, KMAP_R | KMAP_X, code);
	map_user(DATA_VA, KMAP_R | KMAP_W, page(NULL));
	map_user(RO_VA, KMAP_R, page(NULL));
	map_user(RSVD_VA, KMAP_R | KMAP_W, page(NULL));
	map_user(BUS_VA, KMAP_R | KMAP_W | KMAP_X, PFN(firmware / PAGE));
	map_user(STACK_VA, KMAP_R | KMAP_W, page(NULL));
	map_user(STACK_VA + PAGE, KMAP_R | KMAP_W, page(NULL));
	map_user(LIVE_VA, KMAP_R | KMAP_W, page(NULL));
	map_user(LIVE_VA + PAGE, KMAP_R | KMAP_W, page(NULL));
	*entry(RSVD_VA) |= 1ull << 54;
	hal_irq_save();
	hal_space_switch(&space);
}

static unsigned long satp_asid(void)
{
	unsigned long v;

	__asm__ volatile("csrr %0, satp" : "=r"(v));
	return v >> 44 & 0xffff;
}

/* Each space has an ASID to itself; when all have been given out, the old ones count no more. */
static void check_asids(void)
{
	unsigned long n = 1ul << hal_mmu_info()->asid_bits, mine = satp_asid();
	struct arch_space other = {0};
	uint64_t generation = space.generation;
	pfn_t root = page(NULL);
	bool apart = mine != 0;

	if (n == 1)
		return;
	for (unsigned long i = 0; i < n; i++) {
		hal_space_switch(NULL);
		hal_space_init(&other, root, true);
		hal_space_switch(&other);
		if (other.generation == generation)
			apart = apart && satp_asid() && satp_asid() != mine;
	}
	ok(apart, "no two spaces of a generation share an ASID");
	ok(other.generation > generation, "a new generation begins when all are given out");
	hal_space_switch(&space);
	ok(space.generation == other.generation && satp_asid() != other.asid,
	   "a space of the old generation gets an ASID of the new one");
}

/* ---- rules of the kernel's own memory --------------------------------------------------------- */

static const char constant[] = "a constant";
static uint32_t data_code = 0x00008067; /* ret */

static __attribute__((noinline)) unsigned recurse(unsigned n)
{
	volatile char frame[512];

	frame[0] = (char)n;
	return n ? recurse(n - 1) + (unsigned)frame[0] : 0;
}

/* A trap that finds no room for its own frame. */
static void trap_at_guard(void)
{
	__asm__ volatile("addi sp, %0, 100\n\tsd zero, 8(zero)" : : "r"(riscv_boot_stack_guard + PAGE));
}

static void store(const volatile void *p)
{
	*(volatile char *)(uintptr_t)p = 1;
}

static void run(const void *p)
{
	((void (*)(void))(uintptr_t)p)();
}

static const void *alias(const void *p)
{
	return hal_phys_to_virt(hal_virt_to_phys(p));
}

static void break_rule(const char *rule)
{
	const void *text = (const void *)(uintptr_t)break_rule;

	expected_oops = "page fault in the kernel";
	if (!strcmp(rule, "text")) {
		store(text);
	} else if (!strcmp(rule, "text-alias")) {
		store(alias(text));
	} else if (!strcmp(rule, "constant")) {
		store(constant);
	} else if (!strcmp(rule, "constant-alias")) {
		store(alias(constant));
	} else if (!strcmp(rule, "run-data")) {
		run(&data_code);
	} else if (!strcmp(rule, "run-direct")) {
		run(alias(text));
	} else if (!strcmp(rule, "firmware")) {
		store(hal_phys_to_virt(firmware));
	} else if (!strcmp(rule, "null")) {
		expected_oops = "kernel touches user memory outside a user copy";
		store(NULL);
	} else if (!strcmp(rule, "touch-user")) {
		expected_oops = "kernel touches user memory outside a user copy";
		store((const void *)DATA_VA);
	} else if (!strcmp(rule, "run-user")) {
		expected_oops = "kernel runs user memory";
		run((const void *)CODE_VA);
	} else if (!strcmp(rule, "overflow")) {
		expected_oops = "kernel stack overflow";
		recurse(40); /* 20 KiB: into the guard, not through it */
	} else if (!strcmp(rule, "trap-overflow")) {
		expected_oops = "kernel stack overflow";
		trap_at_guard();
	}
	expected_oops = NULL;
	ok(false, rule);
	end();
}

_Noreturn void kernel_oops(struct trap_frame *tf, const char *what)
{
	say("# %s\n", what);
	ok(expected_oops && !strcmp(what, expected_oops), word);
	end();
}

/* ---- the user program's steps ----------------------------------------------------------------- */

enum event { EV_FAULT, EV_BUS, EV_TRAP, EV_SYSCALL, EV_TICK };

static const struct step {
	const char *what;
	const char *at; /* label in the program */
	enum event event;
	uint64_t addr;	  /* of a fault */
	uint32_t code;	  /* EV_FAULT, EV_BUS: the raw code; EV_TRAP: the kind */
	uint64_t ip;	  /* where it is not the label's page: the exact one; 0: do not care */
} steps[];

static unsigned step;
static struct hal_fpu fpu, other_fpu;
static struct trap_frame pushed;
static unsigned restarts;
static uint64_t raw[3]; /* the last raw record */

static void go(struct trap_frame *tf)
{
	const struct step *s = &steps[step];

	if (!s->what)
		end();
	tf_init_user(tf, CODE_VA + (uintptr_t)(s->at - riscv_test_user), STACK_TOP - 64);
}

/* In the kernel: user memory closed. A fault leaves interrupts as they were, all else turns them off. */
static bool closed(const struct trap_frame *tf, bool fault)
{
	bool on = fault && tf->status & SSTATUS_SPIE;
	unsigned long v;

	__asm__ volatile("csrr %0, sstatus" : "=r"(v));
	return !(v & (SSTATUS_SUM | SSTATUS_MXR)) && !(v & SSTATUS_SIE) == !on;
}

static void arrived(struct trap_frame *tf, enum event event, bool good)
{
	const struct step *s = &steps[step];

	good = good && closed(tf, event == EV_FAULT || event == EV_BUS);
	ok(good && event == s->event && tf_user(tf), s->what);
	step++;
	go(tf);
}

static bool fault_good(const struct trap_frame *tf, const struct fault_info *fi)
{
	const struct step *s = &steps[step];
	const enum fault_access access = s->code & FAULT_CODE_FETCH ? FAULT_FETCH :
					 s->code & FAULT_CODE_WRITE ? FAULT_WRITE : FAULT_READ;

	return fi->addr == s->addr && fi->raw_code == s->code && fi->access == access &&
	       fi->raw_mask == 0x16 && fi->user && fi->ip == tf_ip(tf) && !fi->fixup &&
	       (!s->ip || fi->ip == s->ip) && raw[0] == s->addr && raw[2] == fi->ip;
}

/* The copy of step "lazy" waits for these pages; every other fault of the kernel is refused. */
static bool kernel_fault(const struct trap_frame *tf, const struct fault_info *fi)
{
	uintptr_t va = fi->addr & -PAGE;

	if (!closed(tf, true))
		ok(false, "user memory is closed while a fault of a user copy is handled");
	if (va < LAZY_VA || va > LAZY_VA + PAGE)
		return false;
	map_user(va, KMAP_R | KMAP_W, page(NULL));
	hal_pt_published(&space, va);
	return true;
}

bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	bool good;

	if (!tf_user(tf))
		return kernel_fault(tf, fi);
	good = fault_good(tf, fi);
	if (!good)
		say("# address %#lx code %#x mask %#x access %d kind %d ip %#lx raw %#lx %#lx\n",
		    fi->addr, fi->raw_code, fi->raw_mask, fi->access, fi->kind, fi->ip, raw[0],
		    raw[1]);
	arrived(tf, fi->kind == FAULT_BUS ? EV_BUS : EV_FAULT, good);
	return true;
}

void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code)
{
	const struct step *s = &steps[step];
	bool good = kind == s->code && addr == tf_ip(tf) && code == 1;

	if (!good)
		say("# kind %d address %#lx code %d ip %#lx\n", kind, addr, code, tf_ip(tf));
	arrived(tf, EV_TRAP, good);
}

void kernel_timer_tick(struct trap_frame *tf)
{
	hal_timer_start(1000000000000);
	/* the loop's registers as it set them, wherever it was hit */
	arrived(tf, EV_TICK, tf->x[9] == 0x1111 && tf->x[31] == 0x2222);
}

void kernel_kick(struct trap_frame *tf)
{
}

void kernel_irq_exit(void)
{
}

/* ---- signals ---------------------------------------------------------------------------------- */

static void push_signal(struct trap_frame *tf)
{
	const struct hal_sigaction sa = {
		.handler = tf->x[18],
		.restorer = tf->x[19],
	};
	const struct hal_siginfo si = {.signo = 10, .code = -6, .pid = 77};
	const unsigned long alt[3] = {1, 2, 3};

	pushed = *tf;
	hal_fpu_save(&fpu);
	if (hal_sigframe_push(tf, &fpu, &sa, &si, 0x5a5a, tf_sp(tf) - 8, alt, 0))
		ok(false, "a signal frame is built");
	hal_fpu_restore(&fpu);
	if (hal_sigframe_push(&(struct trap_frame){0}, &fpu, &sa, &si, 0, HOLE_VA, alt, 0) != -EFAULT)
		ok(false, "a frame where there is no stack is refused");
}

static void pop_signal(struct trap_frame *tf)
{
	unsigned long alt[3], mask;
	struct trap_frame odd = *tf;
	uint32_t bad = 1, zero = 0;
	uintptr_t reserved = tf_sp(tf) + 1088 - 4;
	bool good;

	odd.x[RV_SP] += 8;
	good = hal_sigframe_pop(&odd, &fpu, &mask, alt) == -EFAULT;
	good = good && !hal_copy_to_user(reserved, &bad, 4) &&
	       hal_sigframe_pop(tf, &fpu, &mask, alt) == -EFAULT &&
	       !hal_copy_to_user(reserved, &zero, 4);
	good = good && !hal_sigframe_pop(tf, &fpu, &mask, alt) && mask == 0x5a5a && alt[0] == 1 &&
	       alt[1] == 2 && alt[2] == 3 && !memcmp(pushed.x, tf->x, sizeof(pushed.x));
	hal_fpu_restore(&fpu);
	ok(good, "registers come back through a signal frame");
}

static void check_sigreturn_code(void)
{
	size_t n;
	const uint32_t *code = hal_sigreturn_code(&n);

	ok(n == 8 && code[0] == 0x08b00893 && code[1] == 0x73,
	   "the way back from a handler is what unwinders look for");
}

/* ---- system calls ------------------------------------------------------------------------------ */

static bool args_good(struct trap_frame *tf)
{
	bool good = true;

	for (unsigned i = 0; i < 6; i++)
		good = good && tf_syscall_arg(tf, i) == 0x10 + i;
	return good;
}

/* Another task ran meanwhile; what this one had is in memory and then back. */
static void swap_fp(void)
{
	hal_fpu_save(&fpu);
	if (fpu.f[10] != 0x1234567 || fpu.f[31] != 0x1234567 || fpu.fcsr >> 5 != 2)
		ok(false, "FP registers are saved");
	hal_fpu_init(&other_fpu);
	hal_fpu_restore(&other_fpu);
	hal_fpu_restore(&fpu);
}

/* Only registers that the program changed are saved again. */
static void save_fp(bool changed)
{
	fpu.f[10] = 0xdead;
	hal_fpu_save(&fpu);
	if (fpu.f[10] != (changed ? 0x7654321 : 0xdead))
		ok(false, changed ? "changed FP registers are saved" : "others are not");
	fpu.f[10] = 0x7654321;
}

/* Twelve bytes, over the boundary of two pages that are not there yet. */
static void copy_lazily(uintptr_t to)
{
	char back[12];

	if (hal_copy_to_user(to, "hello, world", 12) || hal_copy_from_user(back, to, 12) ||
	    memcmp(back, "hello, world", 12))
		ok(false, "a copy goes on where a fault was resolved");
}

void kernel_syscall(struct trap_frame *tf)
{
	tf_set_syscall_ret(tf, 0);
	switch (tf_syscall_nr(tf)) {
	case 1000: /* the last instruction of a step */
		arrived(tf, EV_SYSCALL, args_good(tf));
		break;
	case 1002:
		push_signal(tf);
		break;
	case 139:
		pop_signal(tf);
		break;
	case 1003: /* a result and untouched registers, checked by the program */
		tf_set_syscall_ret(tf, -38);
		break;
	case 1004:
		swap_fp();
		break;
	case 1005:
		hal_timer_start(1000000);
		break;
	case 1006:
		copy_lazily(tf_syscall_arg(tf, 0));
		break;
	case 1007:
	case 1008:
		save_fp(tf_syscall_nr(tf) == 1007);
		break;
	case 1009:
		tf_set_syscall_ret(tf, restarts ? (long)tf_syscall_arg(tf, 0) + 1 : -4);
		if (!restarts++)
			tf_syscall_restart(tf);
		break;
	case 1010:
		hal_pte_wrprotect(entry(LIVE_VA), 0);
		hal_tlb_flush(&space, LIVE_VA, LIVE_VA + PAGE, 0, false);
		break;
	case 1011:
		hal_pte_set(entry(LIVE_VA + PAGE), 0);
		hal_tlb_flush(&space, LIVE_VA + PAGE, LIVE_VA + 2 * PAGE, 0, true);
		break;
	default:
		ok(false, "an expected system call");
		end();
	}
}

void kernel_return_to_user(struct trap_frame *tf)
{
	if (!hal_irqs_off())
		ok(false, "interrupts are off on the way out");
}

#define LABEL(name) extern const char riscv_step_##name[]
LABEL(read); LABEL(write); LABEL(fetch); LABEL(amo); LABEL(reserve); LABEL(write_ro);
LABEL(fetch_nx); LABEL(rsvd); LABEL(bus_read); LABEL(bus_write); LABEL(bus_fetch); LABEL(kernel);
LABEL(far); LABEL(straddle); LABEL(illegal); LABEL(zero); LABEL(csr); LABEL(sret); LABEL(ebreak);
LABEL(c_ebreak); LABEL(align); LABEL(misaligned); LABEL(args); LABEL(result); LABEL(restart);
LABEL(fp); LABEL(lazy); LABEL(protected); LABEL(unmapped); LABEL(signal); LABEL(tick);

#define FAULT(text, label, address, c) \
	{.what = text, .at = riscv_step_##label, .event = EV_FAULT, .addr = address, .code = c}
#define BUS(text, label, address, c) \
	{.what = text, .at = riscv_step_##label, .event = EV_BUS, .addr = address, .code = c}
#define TRAP(text, label, kind) \
	{.what = text, .at = riscv_step_##label, .event = EV_TRAP, .code = kind}
#define CALL(text, label) {.what = text, .at = riscv_step_##label, .event = EV_SYSCALL}

static const struct step steps[] = {
	FAULT("a read of nothing", read, HOLE_VA + 0x123, 0x4),
	FAULT("a write of nothing", write, HOLE_VA + 0x124, 0x6),
	FAULT("a fetch of nothing", fetch, HOLE_VA + 0x126, 0x14),
	FAULT("an atomic operation is a write", amo, RO_VA + 16, 0x6),
	FAULT("a load with reservation is a read", reserve, HOLE_VA + 0x130, 0x4),
	FAULT("a write of a read-only page", write_ro, RO_VA + 8, 0x6),
	FAULT("a fetch of a page without execution", fetch_nx, DATA_VA + 2, 0x14),
	FAULT("a reserved bit is a fault like another", rsvd, RSVD_VA + 3, 0x4),
	BUS("a read that the bus refuses", bus_read, BUS_VA + 4, 0x4),
	BUS("a write that the bus refuses", bus_write, BUS_VA + 5, 0x6),
	BUS("a fetch that the bus refuses", bus_fetch, BUS_VA, 0x14),
	FAULT("the kernel's text is not a user's", kernel, 0xffffffff80200000, 0x4),
	FAULT("an address that no page can have", far, 0x7000000000000000, 0x4),
	{.what = "the second half of an instruction", .at = riscv_step_straddle,
	 .event = EV_FAULT, .addr = CODE_VA + PAGE, .code = 0x14, .ip = CODE_VA + PAGE - 2},
	TRAP("an undefined instruction", illegal, TRAP_ILLEGAL),
	TRAP("a zero is one", zero, TRAP_ILLEGAL),
	TRAP("a supervisor's register", csr, TRAP_ILLEGAL),
	TRAP("a supervisor's return", sret, TRAP_ILLEGAL),
	TRAP("a breakpoint", ebreak, TRAP_BREAKPOINT),
	TRAP("a short breakpoint", c_ebreak, TRAP_BREAKPOINT),
	TRAP("an atomic operation on a crooked address", align, TRAP_ALIGN),
	CALL("loads and stores may be crooked", misaligned),
	FAULT("a write right that was taken away is gone", protected, LIVE_VA + 1, 0x6),
	FAULT("a page that was taken away is gone", unmapped, LIVE_VA + 0x1002, 0x6),
	CALL("six arguments arrive", args),
	CALL("a result, and no other register changes", result),
	CALL("a call is made again with its arguments", restart),
	CALL("FP state is kept", fp),
	CALL("a copy waits for its pages", lazy),
	CALL("a signal is taken and left", signal),
	{.what = "the timer interrupts a loop", .at = riscv_step_tick, .event = EV_TICK},
	{0},
};

_Noreturn void kernel_main(const struct boot_info *bi)
{
	struct trap_frame tf;

	for (unsigned i = 0; bi->cmdline[i] && bi->cmdline[i] != ' ' && i < sizeof(word) - 1; i++)
		word[i] = bi->cmdline[i];
	hal_memory_ranges(note_range, NULL);
	make_space();
	if (strcmp(word, "user"))
		break_rule(word);
	check_asids();
	check_sigreturn_code();
	hal_fpu_init(&fpu);
	hal_fpu_restore(&fpu);
	go(&tf);
	hal_user_enter(&tf);
}

/* ---- what the machine asks for ------------------------------------------------------------------ */

/* As the core has it: faults are recorded. */
bool quire_trace_on = true;

/* A fault of the kernel's own, fixed up, on the way: stval and scause are no longer the user's. */
void quire_trace_words(unsigned type, const uint64_t *w, unsigned n)
{
	static bool nested;
	uint64_t byte;

	if (nested || type != QUIRE_TR_RISCV_FAULT || n != 3)
		return;
	memcpy(raw, w, sizeof(raw));
	nested = true;
	if (hal_copy_from_user(&byte, HOLE_VA + 0x800, 1) != 1)
		ok(false, "a copy from nothing fails");
	nested = false;
}
