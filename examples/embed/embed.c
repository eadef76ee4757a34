/* SPDX-License-Identifier: MIT */
/*
 * The smallest kernel that embeds Quire: no tasks, no system calls, no files. It creates one
 * address space of its own mode, maps a range, touches pages that are not there, changes their
 * rights, unmaps them and gives everything back. It is what a unikernel with demand paging does
 * at its start; docs/porting.md walks through it.
 *
 * It needs a machine (arch/), libquire and the defaults of include/quire/os.h; nothing of kernel/.
 */
#include "arch/hal_kernel.h"
#include "embed.h"
#include <quire/abi.h>
#include <quire/quire.h>

#define PAGES	64ul
#define RW	(PROT_READ | PROT_WRITE)
#define PRIVATE_ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define PAGE	((uintptr_t)1 << ARCH_PAGE_SHIFT)

static struct quire_mm *space;
static unsigned long faults;

static void say(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	hal_log(s, n);
}

static _Noreturn void fail(const char *what)
{
	say("embed: FAILED: ");
	say(what);
	say("\n");
	hal_exit(1);
}

/* The machine tells of a fault; the core resolves it or the example ends. */
bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	struct quire_fault_result res;

	faults++;
	quire_page_fault(space, fi, &res);
	if (res.outcome != QUIRE_FAULT_DONE)
		fail("a fault was refused");
	return true;
}

/* The switch itself wants no interrupt in between. */
static void enter(struct quire_mm *mm)
{
	irqflags_t flags = hal_irq_save();

	quire_mm_switch(mm);
	hal_irq_restore(flags);
}

/* Maps PAGES pages, writes every second one, reads them all back. */
static void touch(void)
{
	long base = quire_mmap(space, 0, PAGES * PAGE, RW, PRIVATE_ANON, NULL, 0);
	uintptr_t i;

	if (base < 0 && base > -4096)
		fail("mmap");
	for (i = 0; i < PAGES; i += 2)
		embed_store(base + i * PAGE, i + 1);
	if (faults != PAGES / 2)
		fail("a store to a fresh page is one fault");
	for (i = 0; i < PAGES; i++)
		if (embed_load(base + i * PAGE) != (i % 2 ? 0 : i + 1))
			fail("a byte is wrong");
	if (faults != PAGES)
		fail("a load of a fresh page is one fault");
	if (quire_mprotect(space, base, PAGES * PAGE / 2, PROT_READ))
		fail("mprotect");
	if (embed_load(base) != 1)
		fail("mprotect lost a byte");
	if (quire_check(space))
		fail("an invariant is broken");
	if (quire_munmap(space, base, PAGES * PAGE))
		fail("munmap");
}

_Noreturn void kernel_main(const struct boot_info *bi)
{
	struct quire_config cfg = {.aslr = false};
	struct quire_mm_params params = {.supervisor = true};
	struct quire_counts before, after;

	if (quire_init(&cfg))
		fail("quire_init");
	quire_drain();
	quire_get_counts(&before);
	space = quire_mm_create(&params);
	if (!space)
		fail("quire_mm_create");
	enter(space);
	touch();
	enter(NULL);
	quire_mm_put(space);
	quire_drain();
	quire_get_counts(&after);
	if (before.free_pages != after.free_pages)
		fail("a page stayed behind");
	if (quire_exit())
		fail("quire_exit left pages");
	say("embed: ok\n");
	hal_exit(0);
}

/* What an example without user mode never sees. */
void kernel_syscall(struct trap_frame *tf)
{
	fail("a system call");
}

void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code)
{
	fail("a trap from user mode");
}

_Noreturn void kernel_oops(struct trap_frame *tf, const char *what)
{
	fail(what);
}

void kernel_timer_tick(struct trap_frame *tf)
{
}

void kernel_kick(struct trap_frame *tf)
{
}

void kernel_irq_exit(void)
{
}

void kernel_return_to_user(struct trap_frame *tf)
{
}
