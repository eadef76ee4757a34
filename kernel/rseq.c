/* SPDX-License-Identifier: MIT */
/*
 * rseq: a thread registers a structure of its own memory, in which the kernel keeps the number of the CPU,
 * and in which the thread says of which instructions it wants to be thrown out, to abort_ip, when they were
 * not run in one go on one CPU: by a switch, by a move to another CPU, or for a signal's handler.
 *
 * What happens is noted where it happens (rseq_happened()); user memory is looked at where the thread is
 * about to return to user mode, and before a signal's frame is built. Looking may fault and sleep, which
 * happens again: kernel_return_to_user() comes back until nothing is left. A structure that cannot be used is a
 * SIGSEGV.
 */
#include "kernel.h"

/* struct rseq and struct rseq_cs as <linux/rseq.h> has them; both lie in 32 bytes. */
struct rseq_area {
	uint32_t cpu_id_start, cpu_id;
	uint64_t section;
	uint32_t flags, pad[3];
};

struct rseq_section {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

#define RSEQ_SIZE	     sizeof(struct rseq_area)
#define RSEQ_UNREGISTER	     1u
#define RSEQ_NOT_REGISTERED  UINT32_MAX /* cpu_id */

static uintptr_t field(const struct task *t, size_t offset)
{
	return t->rseq + offset;
}

#define FIELD(t, name) field(t, offsetof(struct rseq_area, name))

/* Its own CPU's, interrupts off, or t does not run. */
void rseq_happened(struct task *t, uint32_t event)
{
	if (likely(!READ_ONCE(t->rseq)))
		return;
	__atomic_fetch_or(&t->rseq_events, event, __ATOMIC_RELAXED);
	WRITE_ONCE(t->rseq_notify, true);
}

void rseq_forget(struct task *t)
{
	/* First the place: a switch from here on, which is on this CPU, notes nothing. */
	WRITE_ONCE(t->rseq, 0);
	t->rseq_sig = 0;
	__atomic_store_n(&t->rseq_events, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&t->rseq_notify, false, __ATOMIC_RELEASE);
}

/* A thread of another space, made by fork, goes on with what its maker registered. */
void rseq_inherit(struct task *t, const struct task *from)
{
	t->rseq = from->rseq;
	t->rseq_sig = from->rseq_sig;
	t->rseq_events = READ_ONCE(from->rseq_events);
	rseq_happened(t, RSEQ_MIGRATE);
}

/* ---- what lies in user memory ---------------------------------------------------------------- */

static int put_cpu(struct task *t, uint32_t start, uint32_t id)
{
	return COPY_OUT(FIELD(t, cpu_id_start), start) || COPY_OUT(FIELD(t, cpu_id), id) ? -EFAULT : 0;
}

static int leave_section(struct task *t)
{
	uint64_t none = 0;

	return COPY_OUT(FIELD(t, section), none);
}

/* Could an attacker have made it up? It ends in user space, leads out of itself, and what stands before the
 * place that it leads to is the word that was registered. */
static int check_section(const struct task *t, const struct rseq_section *s)
{
	uintptr_t end = hal_mmu_info()->user_end;
	uint32_t sig;

	if (s->start >= end || s->start + s->length >= end || s->abort >= end || s->version)
		return -EINVAL;
	if (s->start + s->length < s->start || s->abort - s->start < s->length)
		return -EINVAL;
	if (COPY_IN(sig, s->abort - sizeof(sig)))
		return -EFAULT;
	return sig == t->rseq_sig ? 0 : -EINVAL;
}

/* The section that the thread says it is in; an empty one: none. */
static int get_section(const struct task *t, struct rseq_section *s)
{
	uint64_t at;

	*s = (struct rseq_section){0};
	if (COPY_IN(at, FIELD(t, section)))
		return -EFAULT;
	if (!at)
		return 0;
	if (at >= hal_mmu_info()->user_end)
		return -EINVAL;
	if (COPY_IN(*s, at))
		return -EFAULT;
	return check_section(t, s);
}

/* 1: what happened throws the thread out, 0: it does not mind that. Whoever minds no signal must not mind
 * the rest either, for a handler may be switched and moved. */
static int must_abort(struct task *t, uint32_t minds_not)
{
	const uint32_t others = RSEQ_PREEMPT | RSEQ_MIGRATE;
	uint32_t flags;

	if (COPY_IN(flags, FIELD(t, flags)))
		return -EFAULT;
	flags |= minds_not;
	if (flags & RSEQ_SIGNAL && (flags & others) != others)
		return -EINVAL;
	return (__atomic_exchange_n(&t->rseq_events, 0, __ATOMIC_RELAXED) & ~flags) != 0;
}

/* 0: tf goes on where it should. */
static int fix_ip(struct task *t, struct trap_frame *tf)
{
	struct rseq_section s;
	int err = get_section(t, &s);

	if (err)
		return err;
	if (tf_ip(tf) - s.start >= s.length)
		return leave_section(t);
	err = must_abort(t, s.flags);
	if (err <= 0)
		return err;
	err = leave_section(t);
	if (!err)
		tf_set_ip(tf, s.abort);
	return err;
}

/* Its action may not be a handler again if it is just this signal whose frame was to be built. */
static void segv(int sig)
{
	if (sig == SIGSEGV)
		signal_reset(SIGSEGV);
	force_signal(&(struct hal_siginfo){.signo = SIGSEGV, .code = SI_KERNEL});
}

/* What happened after the flag was taken back sets it again. */
void rseq_resume(struct trap_frame *tf, int sig)
{
	struct task *t = current;
	uint32_t cpu;

	WRITE_ONCE(t->rseq_notify, false);
	cpu = hal_cpu_id();
	if (fix_ip(t, tf) || put_cpu(t, cpu, cpu))
		segv(sig);
}

void rseq_signal(struct trap_frame *tf, int sig)
{
	if (likely(!current->rseq))
		return;
	rseq_happened(current, RSEQ_SIGNAL);
	rseq_resume(tf, sig);
}

/* ---- the call ---------------------------------------------------------------------------------- */

static long rseq_unregister(struct task *t, uintptr_t area, uint32_t size, uint32_t sig)
{
	int err;

	if (!t->rseq || t->rseq != area || size != RSEQ_SIZE)
		return -EINVAL;
	if (t->rseq_sig != sig)
		return -EPERM;
	err = put_cpu(t, 0, RSEQ_NOT_REGISTERED);
	if (!err)
		rseq_forget(t);
	return err;
}

SYSCALL4(rseq, uintptr_t, area, uint32_t, size, uint32_t, flags, uint32_t, sig)
{
	struct task *t = current;

	if (flags == RSEQ_UNREGISTER)
		return rseq_unregister(t, area, size, sig);
	if (flags)
		return -EINVAL;
	if (t->rseq) {
		if (t->rseq != area || size != RSEQ_SIZE)
			return -EINVAL;
		return t->rseq_sig == sig ? -EBUSY : -EPERM;
	}
	if (area % RSEQ_SIZE || size != RSEQ_SIZE)
		return -EINVAL;
	if (area > hal_mmu_info()->user_end - RSEQ_SIZE)
		return -EFAULT;
	t->rseq_sig = sig;
	WRITE_ONCE(t->rseq, area);
	rseq_happened(t, 0);
	return 0;
}
