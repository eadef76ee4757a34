/* SPDX-License-Identifier: MIT */
/*
 * System-call dispatch: the machine's number table names a handler call_<name>; the handlers live
 * all over this folder (SYSCALL1 ... in syscall.h), and a name that none of them defines answers
 * ENOSYS.
 */
#include "cpus.h"
#include "kernel.h"

#include <quire/os.h>
#include <quire/trace.h>

typedef long (*syscall_fn)(const unsigned long *a);

#define SYS(nr, name) long call_##name(const unsigned long *a) __attribute__((weak));
#include "arch/common/syscall_table.h"
#undef SYS

#define MAX_NR 512

/* By number; NULL: unknown, or known by name only. */
static const syscall_fn calls[MAX_NR] = {
#define SYS(nr, name) [nr] = call_##name,
#include "arch/common/syscall_table.h"
#undef SYS
};

static const char *const names[MAX_NR] = {
#define SYS(nr, name) [nr] = #name,
#include "arch/common/syscall_table.h"
#undef SYS
};

long copy_string(char *buf, uintptr_t src, size_t size)
{
	size_t done = 0;

	/* Never over a page's end at once: the string may end just before an unmapped one. */
	while (done < size) {
		size_t n = min(size - done, (size_t)(PAGE_SIZE - src % PAGE_SIZE));
		char *nul;

		n = min(n, (size_t)64);
		if (hal_copy_from_user(buf + done, src, n))
			return -EFAULT;
		nul = memchr(buf + done, 0, n);
		if (nul)
			return nul - buf;
		done += n;
		src += n;
	}
	return -ENAMETOOLONG;
}

/* Named once each: a program that asks in a loop must not fill the log. */
static long unknown(unsigned long nr)
{
	static bool named[MAX_NR];

	if (nr >= MAX_NR) {
		WARN_ON_ONCE(nr >= MAX_NR);
	} else if (!named[nr]) {
		named[nr] = true;
		klog("system call %lu (%s) is not built", nr, names[nr] ? names[nr] : "no name");
	}
	return -ENOSYS;
}

static void trace_enter(unsigned long nr, const unsigned long *a)
{
	uint64_t w[6] = {nr, a[0], a[1], a[2], a[3], a[4]};

	quire_trace_words(QUIRE_TR_SYS_ENTER, w, 6);
}

static void trace_leave(unsigned long nr, long ret)
{
	uint64_t w[2] = {nr, (uint64_t)ret};

	if (quire_trace_on)
		quire_trace_words(QUIRE_TR_SYS_EXIT, w, 2);
}

/* mem_check=1: whatever the call did to its space, every rule still holds. */
static void check_memory(unsigned long nr)
{
	if (current->proc && current->proc->mm && check_alone(current->proc->mm)) {
		klog("after system call %lu of task %d", nr, current->tid);
		os_panic("the memory manager's invariants are broken");
	}
}

/* With interrupts on from here to the way back. */
void kernel_syscall(struct trap_frame *tf)
{
	unsigned long a[6], nr = tf_syscall_nr(tf);
	syscall_fn fn = likely(nr < MAX_NR) ? calls[nr] : NULL;
	bool traced = quire_trace_on;
	enum latency_path before = latency_enter(PATH_CALL);
	long ret;

	current->utf = tf;
	hal_irq_enable();
	for (unsigned i = 0; i < 6; i++)
		a[i] = tf_syscall_arg(tf, i);
	if (unlikely(traced))
		trace_enter(nr, a);
	ret = likely(fn) ? fn(a) : unknown(nr);
	if (unlikely(traced))
		trace_leave(nr, ret);
	if (unlikely(options.mem_check))
		check_memory(nr);
	ASSERT_DEBUG(!hal_irqs_off());
	hal_irq_disable();
	latency_leave(before);
	if (unlikely(fn == call_rt_sigreturn))
		return; /* its registers are the interrupted program's */
	if (unlikely(ret == -ERESTARTSYS || ret == -ERESTARTNOINTR)) {
		current->restart = true;
		current->restart_always = ret == -ERESTARTNOINTR;
	} else {
		tf_set_syscall_ret(tf, ret);
	}
}
