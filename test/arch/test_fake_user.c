/* SPDX-License-Identifier: MIT */
/*
 * The fake's user mode and contexts under the smallest kernel that can be written: two processes
 * in one space, faults answered with a fresh page below LIMIT and with SIGSEGV above it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "arch/fake/fake_user.h"
#include "arch/hal_kernel.h"
#include "lib/spinlock.h"

#define LIMIT	 0x100000ul
#define ENTRIES	 (1u << ARCH_INDEX_BITS)
#define NR_yield 24
#define NR_fork	 56
#define NR_exec	 59
#define NR_exit	 231
#define NR_sigreturn 15
#define NR_keeps_irqs_off 1000
#define NR_keeps_a_lock	  1001
#define NR_drops_the_lock 1002

static struct arch_space space;
static uint64_t next_pfn;
static struct hal_context idle, first, second, *running;
static struct trap_frame child_frame;
static unsigned alive, ticks, events;
static struct fake_seen seen[8];
static DEFINE_SPINLOCK(a_lock);

/* ---- the kernel ------------------------------------------------------------------------------ */

static pfn_t page(void)
{
	pfn_t pfn = PFN(next_pfn++);

	hal_clear_page(hal_phys_to_virt(pfn.n << ARCH_PAGE_SHIFT));
	return pfn;
}

static void run(struct hal_context *next)
{
	struct hal_context *prev = running;

	running = next;
	hal_context_switch(prev, next);
}

static void yield(void)
{
	if (alive > 1)
		run(running == &first ? &second : &first);
}

static void enter_child(void *arg)
{
	hal_user_enter(&child_frame);
}

static void enter_first(void *arg)
{
	struct trap_frame tf;

	tf_init_user(&tf, 0, 0);
	hal_user_enter(&tf);
}

_Noreturn void kernel_main(const struct boot_info *bi)
{
	if (hal_space_init(&space, page(), true))
		hal_exit(90);
	hal_space_switch(&space);
	hal_timer_start(100000);
	alive = 1;
	running = &idle;
	hal_context_init(&first, NULL, 0, enter_first, NULL);
	run(&first);
	hal_exit(91);
}

static void do_exit(int status)
{
	struct hal_context *other = running == &first ? &second : &first;

	if (--alive == 0)
		hal_exit(status);
	run(other);
}

void kernel_syscall(struct trap_frame *tf)
{
	unsigned long mask, alt[3];

	tf->ret = 0;
	switch (tf_syscall_nr(tf)) {
	case NR_exit:
		do_exit((int)tf_syscall_arg(tf, 0));
		break;
	case NR_fork:
		alive++;
		child_frame = *tf;
		hal_context_init(&second, NULL, 0, enter_child, NULL);
		tf_set_syscall_ret(tf, 2);
		break;
	case NR_exec:
		tf_init_user(tf, 0, 0);
		break;
	case NR_yield:
		yield();
		break;
	case NR_sigreturn:
		hal_sigframe_pop(tf, NULL, &mask, alt);
		break;
	case NR_keeps_irqs_off:
		hal_irq_save();
		break;
	case NR_keeps_a_lock:
		spin_lock(&a_lock);
		break;
	case NR_drops_the_lock:
		spin_unlock(&a_lock);
		break;
	default:
		tf_set_syscall_ret(tf, -38);
	}
}

static pteval_t *slot(uintptr_t va)
{
	pfn_t table = space.root;

	for (unsigned l = hal_mmu_info()->levels - 1;; l--) {
		unsigned at = va >> (ARCH_PAGE_SHIFT + l * ARCH_INDEX_BITS) & (ENTRIES - 1);
		pteval_t *e = (pteval_t *)hal_phys_to_virt(table.n << ARCH_PAGE_SHIFT) + at;
		struct pte_desc d = arch_pte_decode(hal_pte_get(e), l);

		if (l == 0)
			return e;
		if (d.kind == PTE_NONE) {
			d = (struct pte_desc){.kind = PTE_TABLE, .pfn = page()};
			hal_pte_set(e, arch_pte_encode(d, l));
		}
		table = d.pfn;
	}
}

bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	struct pte_desc d = {.kind = PTE_LEAF, .r = true, .w = true, .user = true,
			     .accessed = true, .dirty = true};
	struct hal_siginfo si = {.signo = 11, .code = 1, .addr = fi->addr};
	struct hal_sigaction sa = {.handler = 0x1000};
	unsigned long alt[3] = {0};

	if (fi->addr >= LIMIT)
		return fi->user && !hal_sigframe_push(tf, NULL, &sa, &si, 0, 0, alt, 0);
	d.pfn = page();
	hal_pte_set(slot(fi->addr), arch_pte_encode(d, 0));
	hal_pt_published(&space, fi->addr);
	return true;
}

void kernel_timer_tick(struct trap_frame *tf)
{
	ticks++;
}

void kernel_irq_exit(void)
{
}

void kernel_return_to_user(struct trap_frame *tf)
{
}

void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code)
{
	hal_exit(92);
}

_Noreturn void kernel_oops(struct trap_frame *tf, const char *what)
{
	hal_exit(93);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static int boot(fake_program program, struct fake_config cfg)
{
	int status;

	next_pfn = (2ull << 20) >> ARCH_PAGE_SHIFT;
	idle = first = second = (struct hal_context){0};
	ticks = events = 0;
	cfg.ram = 16 << 20;
	cr_assert_eq(fake_machine_create(&cfg), 0);
	status = fake_run(program, "first");
	fake_machine_destroy();
	return status;
}

static void accesses(void *state)
{
	cr_assert_str_eq(state, "first");
	seen[0] = fake_access(FAULT_WRITE, 0x5000, 8, 0x1234);
	seen[1] = fake_access(FAULT_READ, 0x5000, 2, 0);
	seen[2] = fake_access(FAULT_READ, LIMIT + 5, 1, 0);
	seen[3] = fake_access(FAULT_READ, 0x5000, 8, 0);
	seen[4].value = fake_signals_taken();
	fake_exit(7);
}

Test(fake_user, accesses_and_signals)
{
	cr_assert_eq(boot(accesses, (struct fake_config){0}), 7);
	cr_assert_eq(seen[0].sig, 0);
	cr_assert_eq(seen[1].value, 0x1234);
	cr_assert(seen[2].sig == 11 && seen[2].code == 1 && seen[2].addr == LIMIT + 5);
	cr_assert_eq(seen[3].value, 0x1234);
	cr_assert_eq(seen[4].value, 1u << 10);
}

static void image(void *state)
{
	cr_assert_str_eq(state, "image");
	events |= 4;
	fake_exit(5);
}

static void child(void *state)
{
	char *s = state;

	cr_assert_str_eq(s, "child");
	s[0] = 'C'; /* a copy: the parent's is as it was */
	events |= 2;
	fake_access(FAULT_WRITE, 0x6000, 8, 99);
	fake_exec(image, "image", 6, 0, 0, 0);
}

static void parent(void *state)
{
	char mine[] = "child";

	cr_assert_eq(fake_fork(0, child, mine, sizeof(mine)), 2);
	fake_syscall(NR_yield, 0, 0, 0, 0, 0, 0);
	cr_assert_str_eq(mine, "child");
	seen[0] = fake_access(FAULT_READ, 0x6000, 8, 0);
	events |= 1;
}

Test(fake_user, fork_exec_and_return)
{
	cr_assert_eq(boot(parent, (struct fake_config){0}), 0);
	cr_assert_eq(events, 7);
	cr_assert_eq(seen[0].value, 99);
}

static void spin(void *state)
{
	unsigned char buf[300], back[300];

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)(i * 3);
	cr_assert_eq(fake_poke(0x7f81, buf, sizeof(buf)), 0);
	cr_assert_eq(fake_peek(back, 0x7f81, sizeof(back)), 0);
	cr_assert_arr_eq(buf, back, sizeof(buf));
	cr_assert_eq(fake_poke(LIMIT - 10, buf, 20), 10);
	for (int i = 0; i < 20000; i++)
		fake_access(FAULT_READ, 0x7f81, 1, 0);
}

Test(fake_user, the_timer_interrupts_and_the_seed_decides)
{
	unsigned once;

	cr_assert_eq(boot(spin, (struct fake_config){.seed = 5, .caches_invalid = true}), 0);
	once = ticks;
	cr_assert_gt(once, 10);
	cr_assert_eq(boot(spin, (struct fake_config){.seed = 5, .caches_invalid = true}), 0);
	cr_assert_eq(ticks, once);
}

static void heard(enum fake_accusation what, const char *msg, void *ctx)
{
}

static unsigned accused_after(long nr, enum fake_accusation what)
{
	unsigned before = fake_accused(what);

	fake_syscall(nr, 0, 0, 0, 0, 0, 0);
	return fake_accused(what) - before;
}

static void leaves_things(void *state)
{
	cr_expect_eq(accused_after(NR_yield, FAKE_IRQ_ORDER), 0);
	cr_expect_eq(accused_after(NR_keeps_irqs_off, FAKE_IRQ_ORDER), 1);
	cr_expect_eq(accused_after(NR_yield, FAKE_IRQ_ORDER), 0, "put right");
	cr_expect_eq(accused_after(NR_keeps_a_lock, FAKE_CONTEXT), 1);
	cr_expect_eq(accused_after(NR_drops_the_lock, FAKE_CONTEXT), 0);
	events = 1;
	fake_exit(0);
}

Test(fake_user, what_may_not_be_taken_along)
{
	fake_on_accusation(heard, NULL);
	cr_assert_eq(boot(leaves_things, (struct fake_config){0}), 0);
	cr_assert_eq(events, 1);
	fake_on_accusation(NULL, NULL);
}
