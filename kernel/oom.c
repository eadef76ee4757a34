/* SPDX-License-Identifier: MIT */
/*
 * What the core's OOM killer asks of the kernel: which processes there are, what each of them is worth
 * and may be done to, and its end. A process is known to it by number (process_owner()). All of it
 * under tasks_lock, and none of it needs memory.
 */
#include "kernel.h"
#include <quire/os.h>
#include <quire/trace.h>

void os_for_each_owner(void (*fn)(void *owner, void *ctx), void *ctx)
{
	struct process *p;

	for (int pid = 0; (p = process_get_next(pid)) != NULL; process_put(p)) {
		pid = p->pid;
		fn(process_owner(pid), ctx);
	}
}

/* No thread of it runs programs again. */
static bool all_dying(const struct process *p)
{
	const struct task *t;

	assert_held(&tasks_lock);
	list_for_each_entry(t, &p->threads, thread)
		if (!t->dying && !fatal_signal_pending(t))
			return false;
	return true;
}

/* Until it runs a program of its own, or has ended. */
static bool in_vfork(const struct process *p)
{
	const struct task *t;

	assert_held(&tasks_lock);
	if (p->parent)
		list_for_each_entry(t, &p->parent->threads, thread)
			if (t->vfork_child == p)
				return p->parent->mm == p->mm;
	return false;
}

static void get_facts(struct process *p, struct os_owner_facts *f)
{
	assert_held(&tasks_lock);
	*f = (struct os_owner_facts){
		.mm = p->mm,
		.pid = (uint32_t)p->pid,
		.oom_score_adj = p->oom_score_adj,
		.unkillable = p->is_init,
		.in_vfork = in_vfork(p),
		.dying = all_dying(p),
	};
	memcpy(f->comm, p->comm, sizeof(f->comm));
	quire_mm_grab(p->mm);
}

bool os_owner_facts(void *owner, struct os_owner_facts *facts)
{
	struct process *p;
	irqflags_t flags;
	bool found;

	spin_lock_irqsave(&tasks_lock, flags);
	p = find_process((int)(uintptr_t)owner);
	found = p && p->mm;
	if (found)
		get_facts(p, facts);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return found;
}

void *os_current_owner(void)
{
	return current->proc ? process_owner(current->proc->pid) : NULL;
}

void os_kill(void *owner)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	struct process *p;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	p = find_process((int)(uintptr_t)owner);
	if (p) {
		WRITE_ONCE(p->oom_victim, true);
		post_signal_process(p, &si);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
}

bool os_current_is_victim(void)
{
	return current->proc && READ_ONCE(current->proc->oom_victim);
}

/* The core's own choice is Linux's. */
bool os_out_of_memory(unsigned gfp, unsigned order)
{
	return false;
}

/* ---- oom_score_adj --------------------------------------------------------------------------- */

static void trace_adj(const struct process *p)
{
	uint64_t w[4] = {(uint64_t)p->pid, (uint64_t)(int64_t)p->oom_score_adj};

	assert_held(&tasks_lock);
	memcpy(&w[2], p->comm, sizeof(p->comm));
	quire_trace_words(QUIRE_TR_OOM_SCORE_ADJ_UPDATE, w, 4);
}

/* All that share a space get the same, as they can only die together; who borrows its parent's is
 * alone with it. */
static bool same_adj(const struct process *q, const struct process *p)
{
	assert_held(&tasks_lock);
	if (q == p)
		return true;
	return p->mm && q->mm == p->mm && !q->is_init && !in_vfork(p) && !in_vfork(q);
}

int oom_adj_set(struct process *p, int adj, bool legacy)
{
	bool may_lower = capable(CAP_SYS_RESOURCE);
	struct process *q;
	irqflags_t flags;
	int err = 0;

	spin_lock_irqsave(&tasks_lock, flags);
	if (!may_lower && adj < (legacy ? p->oom_score_adj : p->oom_score_adj_min))
		err = -EACCES;
	list_for_each_entry(q, &all_processes, all) {
		if (err || !same_adj(q, p))
			continue;
		q->oom_score_adj = adj;
		if (!legacy && may_lower)
			q->oom_score_adj_min = adj;
		trace_adj(q);
	}
	spin_unlock_irqrestore(&tasks_lock, flags);
	return err;
}
