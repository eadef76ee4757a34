/* SPDX-License-Identifier: MIT */
/*
 * What only x86-64 promises, as a kernel image of its own. The command line says what to try:
 * one word that breaks a rule of the kernel's own memory (the machine must stop it), or "user":
 * a program in user mode that causes every kind of trap, each checked to the last bit.
 *
 * The user program is x86_64_user.S. It has no flow of its own: for each step the kernel sets its
 * instruction pointer to a label, the step ends in a trap, the trap is compared with the table.
 */
#include "bare_test.h"

#define CODE_VA	 0x400000ul
#define DATA_VA	 0x500000ul	/* read, write, no execution */
#define RO_VA	 0x501000ul
#define RSVD_VA	 0x502000ul	/* its entry has a reserved bit set */
#define STACK_VA 0x600000ul	/* two pages */
#define STACK_TOP (STACK_VA + 2 * PAGE)
#define HOLE_VA	 0x700000ul
#define NOT_CANONICAL 0x8000000000000000ul

extern char __boot_stack_guard[];
extern const char x86_test_user[], x86_test_user_end[];

static char words[256];
static const char *volatile expected_oops; /* what the machine should say of the rule broken */

/* ---- memory ---------------------------------------------------------------------------------- */

static void note_range(const struct mem_range *r, void *ctx)
{
	if (nranges < sizeof(ranges) / sizeof(ranges[0]))
		ranges[nranges++] = *r;
}

static void map_user(uintptr_t va, unsigned prot, const char *from)
{
	struct pte_desc d = kmap_prot(prot, MT_WB);
	pfn_t p = page(NULL);

	d.user = true;
	d.global = false;
	if (from)
		memcpy(hal_phys_to_virt(p.n * PAGE), from, PAGE);
	if (kmap_map(&user_map, va, p.n * PAGE, PAGE, d))
		os_panic("no memory");
}

/* Bit 51 lies beyond the emulated processor's 40 address bits. */
static void spoil(uintptr_t va)
{
	pteval_t *table = hal_phys_to_virt(user_map.root.n * PAGE);

	for (unsigned l = user_map.levels - 1; l; l--) {
		pteval_t *e = &table[va >> (12 + 9 * l) & 511];

		table = hal_phys_to_virt(arch_pte_decode(hal_pte_get(e), l).pfn.n * PAGE);
	}
	table[va >> 12 & 511] |= 1ull << 51;
}

static void make_space(void)
{
	pfn_t root = page(NULL);

	if (hal_space_init(&space, root, true))
		os_panic("no memory");
	user_map = (struct kmap){
		.root = root,
		.levels = hal_mmu_info()->levels,
		.leaf_levels = 1,
		.table_offset = (uintptr_t)hal_phys_to_virt(0),
		.alloc = page,
	};
	map_user(CODE_VA, KMAP_R | KMAP_X, x86_test_user);
	map_user(DATA_VA, KMAP_R | KMAP_W, NULL);
	map_user(RO_VA, KMAP_R, NULL);
	map_user(RSVD_VA, KMAP_R | KMAP_W, NULL);
	map_user(STACK_VA, KMAP_R | KMAP_W, NULL);
	map_user(STACK_VA + PAGE, KMAP_R | KMAP_W, NULL);
	spoil(RSVD_VA);
	hal_irq_save();
	hal_space_switch(&space);
}

/* ---- rules of the kernel's own memory -------------------------------------------------------- */

static const char constant[] = "a constant";
static char data_code[16] = {(char)0xc3}; /* ret */

static __attribute__((noinline)) unsigned recurse(unsigned n)
{
	volatile char frame[512];

	frame[0] = (char)n;
	return n ? recurse(n - 1) + (unsigned)frame[0] : 0;
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
	expected_oops = "page fault in the kernel";
	if (!strcmp(rule, "text")) {
		store((const void *)(uintptr_t)break_rule);
	} else if (!strcmp(rule, "text-alias")) {
		store(alias((const void *)(uintptr_t)break_rule));
	} else if (!strcmp(rule, "constant")) {
		store(constant);
	} else if (!strcmp(rule, "constant-alias")) {
		store(alias(constant));
	} else if (!strcmp(rule, "run-data")) {
		run(data_code);
	} else if (!strcmp(rule, "run-direct")) {
		run(alias(data_code));
	} else if (!strcmp(rule, "null")) {
		store(NULL);
	} else if (!strcmp(rule, "overflow")) {
		expected_oops = "kernel stack overflow";
		recurse(1000);
	} else if (!strcmp(rule, "touch-user")) {
		expected_oops = "kernel touches a user page outside a user copy (SMAP)";
		store((const void *)DATA_VA);
	} else if (!strcmp(rule, "run-user")) {
		expected_oops = "kernel runs a user page (SMEP)";
		run((const void *)CODE_VA);
	}
	expected_oops = NULL;
	ok(false, rule);
	end();
}

_Noreturn void kernel_oops(struct trap_frame *tf, const char *what)
{
	say("# %s\n", what);
	ok(expected_oops && !strcmp(what, expected_oops) &&
	   (strcmp(words, "overflow") || tf_sp(tf) - (uintptr_t)__boot_stack_guard < 2 * PAGE), words);
	end();
}

/* ---- the user program's steps ---------------------------------------------------------------- */

enum event { EV_FAULT, EV_TRAP, EV_SYSCALL, EV_TICK };

static const struct step {
	const char *what;
	const char *at; /* label in the program */
	enum event event;
	uint64_t addr;	  /* EV_FAULT: the address; EV_TRAP: likewise, 1: the instruction's own */
	uint32_t code;	  /* EV_FAULT: the raw code; EV_TRAP: the kind */
	int sig_code;	  /* EV_TRAP */
	bool closed;	  /* the program set AC and DF: the kernel must not see them */
} steps[];

static unsigned step;
static struct hal_fpu fpu, other_fpu;
static struct trap_frame pushed;
static unsigned long mask_back;

static void go(struct trap_frame *tf)
{
	const struct step *s = &steps[step];

	if (!s->what)
		end();
	tf_init_user(tf, CODE_VA + (uintptr_t)(s->at - x86_test_user), STACK_TOP - 64);
	tf->rflags |= 1; /* CF: something to give back */
}

#define IF (1ul << 9)

/* In the kernel: AC and DF off. A page fault leaves interrupts as they were, all else turns them off. */
static bool closed(const struct trap_frame *tf, enum event event)
{
	unsigned long flags, on = event == EV_FAULT ? tf->rflags & IF : 0;

	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	return !(flags & (1ul << 18 | 1ul << 10)) && (flags & IF) == on;
}

static void arrived(struct trap_frame *tf, enum event event, bool good)
{
	const struct step *s = &steps[step];

	good = good && event == s->event && closed(tf, event) && tf_user(tf);
	if (s->closed)
		good = good && tf->rflags & 1ul << 18 && tf->rflags & 1ul << 10;
	ok(good, s->what);
	step++;
	go(tf);
}

bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	const struct step *s = &steps[step];
	const enum fault_access access = s->code & FAULT_CODE_FETCH ? FAULT_FETCH :
					 s->code & FAULT_CODE_WRITE ? FAULT_WRITE : FAULT_READ;
	/* where the machine does not say "present" */
	bool silent = s->addr >= hal_mmu_info()->user_end || s->code & FAULT_CODE_RSVD;
	uint32_t mask = silent ? 0x1e : 0x1f;
	bool good = fi->addr == s->addr && fi->raw_code == (s->code & mask) &&
		    fi->access == access && fi->raw_mask == mask;

	if (!tf_user(tf))
		return false;
	good = good && fi->user && fi->ip == tf->rip && !fi->fixup;
	good = good && fi->kind == (s->code & FAULT_CODE_RSVD ? FAULT_CORRUPT : FAULT_TRANSLATION);
	if (!good)
		say("# address %#lx code %#x mask %#x access %d kind %d\n", fi->addr, fi->raw_code,
		    fi->raw_mask, fi->access, fi->kind);
	arrived(tf, EV_FAULT, good);
	return true;
}

void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code)
{
	const struct step *s = &steps[step];
	unsigned long want = s->addr == 1 ? tf->rip : s->addr;

	if (kind != s->code || addr != want || code != s->sig_code)
		say("# kind %d address %#lx code %d\n", kind, addr, code);
	arrived(tf, EV_TRAP, kind == s->code && addr == want && code == s->sig_code);
}

void kernel_timer_tick(struct trap_frame *tf)
{
	hal_timer_start(1000000000000);
	/* the loop's registers as it set them, wherever it was hit */
	arrived(tf, EV_TICK, tf->rbx == 0x1111 && tf->r15 == 0x2222);
}

void kernel_kick(struct trap_frame *tf)
{
}

void kernel_irq_exit(void)
{
}

/* A signal frame there and back: the handler clobbers registers, xmm0 and the flags. */
static void push_signal(struct trap_frame *tf)
{
	const struct hal_sigaction sa = {
		.handler = CODE_VA + (uintptr_t)tf->rbx,
		.flags = 0x04000000,
		.restorer = CODE_VA + (uintptr_t)tf->r12,
	};
	const struct hal_siginfo si = {.signo = 10, .code = -6, .pid = 77};
	const unsigned long alt[3] = {1, 2, 3};

	pushed = *tf;
	hal_fpu_save(&fpu);
	if (hal_sigframe_push(tf, &fpu, &sa, &si, 0x5a5a, tf_sp(tf), alt, 0))
		ok(false, "a signal frame is built");
	hal_fpu_restore(&fpu);
}

static void pop_signal(struct trap_frame *tf)
{
	unsigned long alt[3];
	bool good = !hal_sigframe_pop(tf, &fpu, &mask_back, alt) && mask_back == 0x5a5a &&
		    alt[0] == 1 && alt[1] == 2 && alt[2] == 3;

	hal_fpu_restore(&fpu);
	pushed.vector = tf->vector;
	pushed.error = tf->error;
	good = good && !memcmp(&pushed, tf, sizeof(pushed));
	ok(good, "registers come back through a signal frame");
}

static bool syscall_good(struct trap_frame *tf)
{
	bool good = true;

	for (unsigned i = 0; i < 6; i++)
		good = good && tf_syscall_arg(tf, i) == 0x10 + i;
	return good;
}

void kernel_syscall(struct trap_frame *tf)
{
	switch (tf_syscall_nr(tf)) {
	case 1000: /* the last instruction of a step */
		arrived(tf, EV_SYSCALL, syscall_good(tf));
		break;
	case 1001: /* go back to an address that is not canonical */
		tf_set_syscall_ret(tf, 0);
		tf_set_ip(tf, NOT_CANONICAL);
		break;
	case 1002:
		push_signal(tf);
		break;
	case 15:
		pop_signal(tf);
		break;
	case 1003: /* a result and untouched registers, checked by the program */
		tf_set_syscall_ret(tf, -38);
		break;
	case 1004: /* another task ran meanwhile */
		hal_fpu_save(&fpu);
		hal_fpu_init(&other_fpu);
		hal_fpu_restore(&other_fpu);
		hal_fpu_restore(&fpu);
		break;
	case 1005:
		hal_timer_start(1000000);
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

#define LABEL(name) extern const char x86_step_##name[]
LABEL(read); LABEL(write); LABEL(fetch); LABEL(write_ro); LABEL(fetch_nx); LABEL(rsvd);
LABEL(kernel); LABEL(ud2); LABEL(int3); LABEL(div); LABEL(hlt); LABEL(in); LABEL(far); LABEL(jump);
LABEL(sysret); LABEL(args); LABEL(result); LABEL(fp); LABEL(signal); LABEL(ac_syscall);
LABEL(ac_trap); LABEL(ac_fault); LABEL(step); LABEL(tick); LABEL(int80);

#define FAULT(text, label, address, c) \
	{.what = text, .at = x86_step_##label, .event = EV_FAULT, .addr = address, .code = c}
#define TRAP(text, label, address, kind, c) \
	{.what = text, .at = x86_step_##label, .event = EV_TRAP, .addr = address, .code = kind, \
	 .sig_code = c}
#define CALL(text, label) {.what = text, .at = x86_step_##label, .event = EV_SYSCALL}

static const struct step steps[] = {
	FAULT("a read of nothing", read, HOLE_VA + 0x123, 0x4),
	FAULT("a write of nothing", write, HOLE_VA + 0x124, 0x6),
	FAULT("a fetch of nothing", fetch, HOLE_VA + 0x125, 0x14),
	FAULT("a write of a read-only page", write_ro, RO_VA + 8, 0x7),
	FAULT("a fetch of a page without execution", fetch_nx, DATA_VA + 1, 0x15),
	FAULT("a reserved bit makes the entry corrupt", rsvd, RSVD_VA + 3, 0xd),
	FAULT("the kernel's text is not a user's", kernel, 0xffffffff80100000, 0x4),
	TRAP("an undefined instruction", ud2, 1, TRAP_ILLEGAL, 2),
	TRAP("a breakpoint", int3, 0, TRAP_BREAKPOINT, 0x80),
	TRAP("a division by zero", div, 1, TRAP_DIVIDE, 1),
	TRAP("a privileged instruction", hlt, 0, TRAP_PROTECTION, 0x80),
	TRAP("a port is not a user's", in, 0, TRAP_PROTECTION, 0x80),
	TRAP("a read of an address that is not canonical", far, 0, TRAP_PROTECTION, 0x80),
	TRAP("a jump to one", jump, 0, TRAP_PROTECTION, 0x80),
	TRAP("a system call that returns to one", sysret, 0, TRAP_PROTECTION, 0x80),
	TRAP("there is no 32-bit system call", int80, 0, TRAP_PROTECTION, 0x80),
	TRAP("a single step", step, 1, TRAP_BREAKPOINT, 2),
	CALL("six arguments arrive", args),
	CALL("a result, and no other register changes", result),
	CALL("FP state is kept", fp),
	CALL("a signal is taken and left", signal),
	{.what = "AC and DF are off in a system call", .at = x86_step_ac_syscall,
	 .event = EV_SYSCALL, .closed = true},
	{.what = "AC and DF are off in a trap", .at = x86_step_ac_trap, .event = EV_TRAP,
	 .code = TRAP_BREAKPOINT, .sig_code = 0x80, .closed = true},
	{.what = "AC and DF are off in a fault", .at = x86_step_ac_fault, .event = EV_FAULT,
	 .addr = HOLE_VA, .code = 0x4, .closed = true},
	{.what = "the timer interrupts a loop", .at = x86_step_tick, .event = EV_TICK},
	{0},
};

_Noreturn void kernel_main(const struct boot_info *bi)
{
	struct trap_frame tf;

	strscpy(words, bi->cmdline, sizeof(words));
	next_page = 0x100000; /* above the first MiB, which the firmware uses */
	hal_memory_ranges(note_range, NULL);
	make_space();
	if (strcmp(words, "user"))
		break_rule(words);
	hal_fpu_init(&fpu);
	hal_fpu_restore(&fpu);
	go(&tf);
	hal_user_enter(&tf);
}

/* ---- what the library asks for --------------------------------------------------------------- */

/* As the core has it: faults are recorded. */
bool quire_trace_on = true;

void quire_trace_words(unsigned type, const uint64_t *w, unsigned n)
{
	static bool nested;
	uint64_t byte;

	if (nested)
		return; /* that is the record of the fault below */
	nested = true;
	/* a fault of the kernel's own, fixed up, on the way: CR2 is no longer the user's */
	if (hal_copy_from_user(&byte, HOLE_VA + 0x800, 1) != 1)
		ok(false, "a copy from nothing fails");
	nested = false;
}
