/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's user mode as host code, and its ways into the kernel: system calls, faults,
 * timer interrupts. Each builds a trap frame, calls the kernel as a trap entry does, and leaves
 * through kernel_return_to_user(). Signals are noted instead of running a handler: see
 * fake_access().
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/task.h"
#include "lib/lockdep.h"
#include <quire/abi.h>

#define NR_rt_sigaction 13
#define NR_rt_sigreturn 15
#define NR_clone	56
#define NR_execve	59
#define NR_exit_group	231

static struct hal_fpu unit[FAKE_MAX_CPUS]; /* one a CPU: a kernel that forgets it mixes them up */

/* ---- copies of programs' states -------------------------------------------------------------- */

/* Made by fake_fork(), owned by the child once it runs; one that never does is freed at the end.
 * What a program got from fake_alloc() has an owner from the start. */
struct copy {
	struct copy *next;
	struct fake_task *owner;
	max_align_t data[];
};

static struct copy *copies;
static pthread_mutex_t copies_lock = PTHREAD_MUTEX_INITIALIZER;

static void *copy_make(const void *state, size_t size)
{
	struct copy *c = malloc(sizeof(*c) + size);

	if (!c)
		return NULL;
	if (state)
		memcpy(c->data, state, size);
	else
		memset(c->data, 0, size);
	c->owner = state ? NULL : fake_me();
	pthread_mutex_lock(&copies_lock);
	c->next = copies;
	copies = c;
	pthread_mutex_unlock(&copies_lock);
	return c->data;
}

/* Frees a copy; anything else is left alone. */
static void copy_free(void *data)
{
	struct copy **p, *c;

	pthread_mutex_lock(&copies_lock);
	for (p = &copies; *p && (void *)(*p)->data != data; p = &(*p)->next)
		;
	c = *p;
	if (c)
		*p = c->next;
	pthread_mutex_unlock(&copies_lock);
	free(c);
}

void *fake_alloc(size_t n)
{
	return copy_make(NULL, n);
}

void fake_free(void *p)
{
	copy_free(p);
}

/* What the program of t allocated goes with it. */
static void free_owned(struct fake_task *t)
{
	struct copy **p = &copies, *c;

	pthread_mutex_lock(&copies_lock);
	while ((c = *p)) {
		if (c->owner != t) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		free(c);
	}
	pthread_mutex_unlock(&copies_lock);
}

void fake_user_task_ends(struct fake_task *t)
{
	free_owned(t);
	copy_free(t->owned);
	copy_free(t->exec_state);
}

void fake_user_ends(void)
{
	while (copies)
		copy_free(copies->data);
}

/* ---- into the kernel and back ---------------------------------------------------------------- */

/* The kernel is done, with interrupts off since it looked for work the last time, and holds nothing. */
static void check_leaves(void)
{
	if (!self.irqs_off)
		fake_accuse(FAKE_CONTEXT, "into user mode with interrupts on");
	if (self.irq_depth)
		fake_accuse(FAKE_IRQ_ORDER, "into user mode with a state saved at depth %u",
			    self.irq_depth);
	self.irq_depth = 0;
	if (lockdep_held() || lockdep_mutexes_held())
		fake_accuse(FAKE_CONTEXT, "into user mode with a lock");
}

/* The kernel looked at tf last: take over what it left for user mode. */
static void back_in_user(struct fake_task *t, struct trap_frame *tf)
{
	struct fake_space *s;

	check_leaves();
	fake_lock();
	s = fake_cpu()->space;
	if (s)
		books_check_stale(s, FAKE_STALE_RETURN, "the core returned to user mode");
	fake_unlock();
	t->frame.sp = tf->sp;
	t->frame.tls = tf->tls;
	t->in_user = true;
	self.irqs_off = false;
	fake_not_idle();
	if (tf->fresh) { /* an exec: what stood on this host stack is gone */
		t->frame = *tf;
		longjmp(t->base, 1);
	}
}

static struct trap_frame frame_of(struct fake_task *t)
{
	struct trap_frame tf = {.user = true, .ip = t->frame.ip, .sp = t->frame.sp,
				.tls = t->frame.tls};

	self.irqs_off = true;
	t->in_user = false;
	return tf;
}

static long trap(struct fake_task *t, struct trap_frame *tf)
{
	self.irqs_off = true; /* a call that is made again comes from user mode */
	t->in_user = false;
	kernel_syscall(tf);
	kernel_return_to_user(tf);
	back_in_user(t, tf);
	return tf->ret;
}

/* The handlers that would have run by now return, the last one first. */
static void end_handlers(struct fake_task *t)
{
	while (t->depth) {
		struct trap_frame tf = frame_of(t);

		tf.nr = NR_rt_sigreturn;
		trap(t, &tf);
	}
}

static long syscall_frame(struct fake_task *t, struct trap_frame *tf)
{
	const struct trap_frame asked = *tf;
	long ret;

	do {
		*tf = asked;
		ret = trap(t, tf);
		end_handlers(t);
	} while (tf->again);
	t->sync.signo = 0;
	return ret;
}

long fake_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	struct fake_task *t = fake_me();
	struct trap_frame tf;

	fake_poll();
	tf = frame_of(t);
	tf.nr = nr;
	memcpy(tf.arg, (unsigned long[]){a, b, c, d, e, f}, sizeof(tf.arg));
	return syscall_frame(t, &tf);
}

void fake_kernel_irq(void (*fn)(void *arg), void *arg)
{
	struct fake_task *t = fake_me();
	struct trap_frame tf = {0};
	bool user = t->in_user;

	if (user)
		tf = frame_of(t);
	self.irqs_off = true;
	if (fn)
		fn(arg);
	else
		kernel_timer_tick(&tf);
	if (user) {
		kernel_return_to_user(&tf);
		back_in_user(t, &tf);
		end_handlers(t);
	} else {
		kernel_irq_exit();
	}
	self.irqs_off = false;
}

void fake_kernel_timer(void)
{
	fake_kernel_irq(NULL, NULL);
}

/* Faults of user mode and of the kernel's user copies. true: try again. */
bool fake_kernel_fault(const struct fault_info *fault, void *ctx)
{
	struct fake_task *t = fake_me();
	struct fault_info fi = *fault;
	struct trap_frame tf = {0};

	if (!fi.user)
		return kernel_page_fault(&tf, &fi);
	tf = frame_of(t);
	fi.ip = tf.ip;
	hal_irq_enable();
	if (!kernel_page_fault(&tf, &fi))
		kernel_oops(&tf, "a user fault was not resolved");
	hal_irq_disable();
	kernel_return_to_user(&tf);
	back_in_user(t, &tf);
	end_handlers(t);
	return !t->sync.signo;
}

/* ---- programs -------------------------------------------------------------------------------- */

/* Chooses what the frame starts: a forked child's entry, an exec'ed program, a plain function. */
static void choose_entry(struct fake_task *t)
{
	struct trap_frame *f = &t->frame;

	if (f->fork_entry) {
		t->entry = f->fork_entry;
		t->state = f->fork_state;
		t->owned = f->fork_owned ? t->state : NULL;
	} else if (f->ip) {
		t->entry = (fake_program)f->ip;
		t->state = NULL;
	} else if (t->exec_entry) {
		copy_free(t->owned);
		free_owned(t);
		t->entry = t->exec_entry;
		t->state = t->owned = t->exec_state;
		t->exec_entry = NULL;
		t->exec_state = NULL;
	} else {
		t->entry = fake_first_program;
		t->state = fake_first_state;
	}
	f->ip = (unsigned long)t->entry;
	f->fork_entry = NULL;
	f->fresh = false;
}

_Noreturn void hal_user_enter(struct trap_frame *tf)
{
	struct fake_task *t = fake_me();

	hal_irq_disable();
	kernel_return_to_user(tf);
	check_leaves();
	t->frame = *tf;
	t->frame.fresh = false;
	setjmp(t->base); /* an exec comes back here */
	choose_entry(t);
	t->in_user = true;
	self = (struct self){.cpu = self.cpu};
	fake_not_idle();
	end_handlers(t);
	t->entry(t->state);
	fake_exit(0);
}

long fake_fork(unsigned long flags, fake_program entry, const void *state, size_t size)
{
	struct fake_task *t = fake_me();
	void *copy = size ? copy_make(state, size) : NULL;
	struct trap_frame tf;
	long pid;

	if (size && !copy)
		return -ENOMEM;
	fake_poll();
	tf = frame_of(t);
	tf.nr = NR_clone;
	tf.arg[0] = flags | SIGCHLD;
	tf.fork_entry = entry;
	tf.fork_state = size ? copy : (void *)state;
	tf.fork_owned = size;
	pid = syscall_frame(t, &tf);
	if (pid < 0)
		copy_free(copy);
	return pid;
}

long fake_exec(fake_program entry, const void *state, size_t size, uintptr_t path, uintptr_t argv,
	       uintptr_t envp)
{
	struct fake_task *t = fake_me();
	long err;

	t->exec_state = size ? copy_make(state, size) : (void *)state;
	if (size && !t->exec_state)
		return -ENOMEM;
	t->exec_entry = entry;
	err = fake_syscall(NR_execve, path, argv, envp, 0, 0, 0);
	copy_free(t->exec_state);
	t->exec_state = NULL;
	t->exec_entry = NULL;
	return err;
}

_Noreturn void fake_exit(int status)
{
	for (;;)
		fake_syscall(NR_exit_group, status, 0, 0, 0, 0, 0);
}

/* ---- accesses -------------------------------------------------------------------------------- */

struct fake_seen fake_access(enum fault_access kind, uintptr_t addr, unsigned width,
			     uint64_t value)
{
	struct fake_task *t = fake_me();
	struct fake_seen seen = {0};
	bool ok;

	t->sync.signo = 0;
	if (kind == FAULT_WRITE)
		ok = fake_user_store(addr, width, value, NULL);
	else if (kind == FAULT_READ)
		ok = fake_user_load(addr, width, &seen.value, NULL);
	else
		ok = fake_user_fetch(addr, width, &value, NULL);
	if (!ok)
		seen = (struct fake_seen){.sig = t->sync.signo, .code = t->sync.code,
					  .addr = t->sync.addr};
	t->sync.signo = 0;
	return seen;
}

/* The largest width that is aligned at va and fits into n. */
static unsigned step(uintptr_t va, size_t n)
{
	unsigned w = 8;

	while (w > n || va % w)
		w /= 2;
	return w;
}

size_t fake_poke(uintptr_t dst, const void *src, size_t n)
{
	const char *from = src;

	while (n) {
		unsigned w = step(dst, n);
		uint64_t v = 0;

		memcpy(&v, from, w);
		if (fake_access(FAULT_WRITE, dst, w, v).sig)
			return n;
		dst += w;
		from += w;
		n -= w;
	}
	return 0;
}

size_t fake_peek(void *dst, uintptr_t src, size_t n)
{
	char *to = dst;

	while (n) {
		unsigned w = step(src, n);
		struct fake_seen s = fake_access(FAULT_READ, src, w, 0);

		if (s.sig)
			return n;
		memcpy(to, &s.value, w);
		src += w;
		to += w;
		n -= w;
	}
	return 0;
}

/* ---- signals --------------------------------------------------------------------------------- */

long fake_catch_signal(int sig, uintptr_t scratch)
{
	/* handler, flags (SA_SIGINFO), mask: the generic struct sigaction */
	const uint64_t act[3] = {0x1000, 4, 0};

	if (fake_poke(scratch, act, sizeof(act)))
		return -EFAULT;
	return fake_syscall(NR_rt_sigaction, sig, scratch, 0, 8, 0, 0);
}

uint64_t fake_signals_taken(void)
{
	struct fake_task *t = fake_me();
	uint64_t set = t->signals;

	t->signals = 0;
	return set;
}

static bool synchronous(int sig)
{
	return sig == 4 || sig == 5 || sig == 7 || sig == 8 || sig == 11;
}

int hal_sigframe_push(struct trap_frame *tf, struct hal_fpu *fpu, const struct hal_sigaction *sa,
		      const struct hal_siginfo *si, unsigned long oldmask, unsigned long sp,
		      const unsigned long altstack[3], uint32_t fault_code)
{
	struct fake_task *t = fake_me();

	if (t->depth == FAKE_SIG_DEPTH)
		return -EFAULT;
	t->mask[t->depth++] = oldmask;
	t->signals |= 1ull << (si->signo - 1);
	if (synchronous(si->signo))
		t->sync = *si;
	return 0;
}

int hal_sigframe_pop(struct trap_frame *tf, struct hal_fpu *fpu, unsigned long *mask,
		     unsigned long altstack[3])
{
	struct fake_task *t = fake_me();

	if (!t->depth)
		return -EFAULT;
	*mask = t->mask[--t->depth];
	return 0;
}

_Noreturn void fake_die(void)
{
	fake_me()->depth = FAKE_SIG_DEPTH; /* no room for another frame */
	for (;;)
		fake_access(FAULT_READ, UINTPTR_MAX & ~(uintptr_t)7, 8, 0);
}

/* ---- the rest of the contract ---------------------------------------------------------------- */

void hal_fpu_init(struct hal_fpu *f)
{
	*f = (struct hal_fpu){{0}};
}

void hal_fpu_save(struct hal_fpu *f)
{
	*f = unit[self.cpu];
}

void hal_fpu_restore(const struct hal_fpu *f)
{
	unit[self.cpu] = *f;
}

void hal_tls_set(struct trap_frame *tf, unsigned long tls)
{
	tf->tls = tls;
}

unsigned long hal_tls_save(void)
{
	return 0; /* all of it lives in the frame */
}

void hal_tls_restore(unsigned long tls)
{
}

long hal_arch_syscall(struct trap_frame *tf, const char *name)
{
	return -ENOSYS;
}

unsigned long hal_elf_hwcap(void)
{
	return 0;
}

const char *hal_elf_platform(void)
{
	return NULL;
}

size_t hal_cpu_describe(unsigned cpu, char *buf, size_t size)
{
	return 0;
}

const char *hal_machine_name(void)
{
	return "fake-" ARCH_NAME;
}

unsigned hal_elf_machine(void)
{
	return 0;
}

uintptr_t hal_stack_top(void)
{
	return hal_mmu_info()->user_end;
}
