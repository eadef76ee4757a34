/* SPDX-License-Identifier: MIT */
/*
 * futex: WAIT and WAKE, with their bitset and requeue relatives; and robust lists. A private futex is
 * known by space and address, any other by where its word lives (quire_mm_place): never by its frame,
 * which copy-on-write changes under those who wait. Requeue wakes those whom it would have moved:
 * they find out by themselves.
 */
#include "futex.h"

/* A word has four bytes: the low bits of its place are free to tell apart what must not meet. */
#define KEY_SHARED 1u

int futex_get_key(unsigned long addr, bool private, struct futex_key *k)
{
	struct quire_mm *mm = current->proc->mm;
	int err;

	if (addr & 3)
		return -EINVAL;
	if (private) {
		*k = (struct futex_key){{mm, addr, NULL}, addr};
		return 0;
	}
	err = quire_mm_place(mm, addr, &k->at);
	k->word = k->at.offset | KEY_SHARED;
	return err;
}

void futex_put_key(const struct futex_key *k)
{
	quire_place_put(&k->at);
}

static long futex_wake(unsigned long addr, bool private, unsigned n)
{
	struct futex_key k;
	int err = futex_get_key(addr, private, &k);
	long woken;

	if (err)
		return err;
	woken = futex_is_pi(&k) ? -EINVAL : (long)wake_up(k.at.object, k.word, n);
	futex_put_key(&k);
	return woken;
}

void futex_wake_address(unsigned long addr)
{
	(void)futex_wake(addr, false, 1); /* an address that is none has no waiters */
}

/* 0 in *deadline: for ever. clock: the one that an absolute time is of. */
static int deadline_of(uintptr_t ts_addr, bool absolute, unsigned long clock, uint64_t *deadline)
{
	uint64_t ts[2];

	*deadline = 0;
	if (!ts_addr)
		return 0;
	if (COPY_IN(ts, ts_addr))
		return -EFAULT;
	if (ts[1] >= NS_PER_SEC || (int64_t)ts[0] < 0)
		return -EINVAL;
	ts[0] = min(ts[0], INT64_MAX / NS_PER_SEC); /* longer than that is for ever, too */
	*deadline = ts[0] * NS_PER_SEC + ts[1];
	*deadline = absolute ? clock_to_boot(clock, *deadline) : *deadline + hal_clock_ns();
	if (!*deadline)
		*deadline = 1;
	return 0;
}

/* In the list before the word is read, which may fault and sleep: whoever changes it and wakes after
 * that finds us. If it is not what we were told, and a wake-up has hit us, it was meant for somebody
 * who does wait. */
static long wait_at(const struct futex_key *k, unsigned long addr, uint32_t value, uint64_t deadline)
{
	struct waiter w;
	uint32_t now;
	int err;

	waiter_add(&w, k->at.object, k->word);
	err = COPY_IN(now, addr) ? -EFAULT : now != value ? -EAGAIN : 0;
	if (!err) {
		err = waiter_sleep(&w, true, deadline);
		return err == -EINTR && !deadline ? -ERESTARTSYS : err;
	}
	if (!waiter_remove(&w))
		wake_up(k->at.object, k->word, 1);
	return err;
}

static long futex_wait(unsigned long addr, bool private, uint32_t value, uint64_t deadline)
{
	struct futex_key k;
	long r = futex_get_key(addr, private, &k);

	if (r)
		return r;
	r = wait_at(&k, addr, value, deadline);
	futex_put_key(&k);
	return r;
}

SYSCALL6(futex, uintptr_t, addr, unsigned long, command, uint32_t, value, uintptr_t, timeout,
	 uintptr_t, addr2, uint32_t, value3)
{
	unsigned long clock = command & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	bool private = command & FUTEX_PRIVATE_FLAG;
	unsigned op = command & ~(unsigned long)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
	uint64_t deadline;
	uint32_t now;
	int err;

	switch (op) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		if (op == FUTEX_WAIT_BITSET && !value3)
			return -EINVAL;
		err = deadline_of(timeout, op == FUTEX_WAIT_BITSET, clock, &deadline);
		return err ? err : futex_wait(addr, private, value, deadline);
	case FUTEX_WAKE:
	case FUTEX_WAKE_BITSET:
		return futex_wake(addr, private, (unsigned)value);
	case FUTEX_CMP_REQUEUE:
		if (COPY_IN(now, addr))
			return -EFAULT;
		if (now != value3)
			return -EAGAIN;
		return futex_wake(addr, private, ~0u);
	case FUTEX_REQUEUE:
		return futex_wake(addr, private, ~0u);
	case FUTEX_LOCK_PI:
		err = deadline_of(timeout, true, CLOCK_REALTIME, &deadline);
		return err ? err : futex_lock_pi(addr, private, false, deadline);
	case FUTEX_TRYLOCK_PI:
		return futex_lock_pi(addr, private, true, 0);
	case FUTEX_UNLOCK_PI:
		return futex_unlock_pi(addr, private);
	default:
		return -ENOSYS;
	}
}

/* ---- robust lists ---------------------------------------------------------------------------- */

/* As <linux/futex.h> has it: a thread's list of the locks that it holds. */
struct robust_list_head {
	uintptr_t next;	   /* of entries, a ring back to this word; bit 0: a lock that inherits priority */
	long futex_offset; /* from an entry to its lock's word */
	uintptr_t pending; /* an entry on its way in or out */
};

#define ROBUST_LIST_LIMIT 2048 /* entries: the list is the program's, and may be a ring without end */

SYSCALL2(set_robust_list, uintptr_t, head, size_t, size)
{
	if (size != sizeof(struct robust_list_head))
		return -EINVAL;
	current->robust_list = head;
	return 0;
}

/* musl asks for its own, to learn whether there are robust lists at all. */
SYSCALL3(get_robust_list, int, tid, uintptr_t, head_to, uintptr_t, size_to)
{
	size_t size = sizeof(struct robust_list_head);
	uintptr_t head = 0;
	irqflags_t flags;
	struct task *t;

	spin_lock_irqsave(&tasks_lock, flags);
	t = tid ? find_task(tid) : current;
	if (t)
		head = t->robust_list;
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (!t)
		return -ESRCH;
	if (COPY_OUT(size_to, size))
		return -EFAULT;
	return COPY_OUT(head_to, head);
}

#define ROBUST_PI 1ul /* in a pointer to an entry: the lock's waiters wait to own it */

/* The dying thread t holds the lock of that entry, or may: a waiter is woken and told; who waits to own it is
 * told by futex_pi_leave(). pending: it was about to take or release it. false: there is no such word. */
static bool robust_lock_dies(const struct task *t, uintptr_t entry, long offset, bool pending)
{
	unsigned long addr = (entry & ~ROBUST_PI) + (unsigned long)offset;
	bool pi = entry & ROBUST_PI;
	uint32_t word;
	int err;

	if (addr & 3 || COPY_IN(word, addr))
		return false;
	/* Released already, but no waiter was woken. */
	if (pending && !word && !pi) {
		futex_wake_address(addr);
		return true;
	}
	do {
		if ((word & FUTEX_TID_MASK) != (uint32_t)t->tid)
			return true;
		err = quire_mm_cmpxchg(t->proc->mm, addr, &word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
	} while (err == -EAGAIN);
	if (!err && !pi && word & FUTEX_WAITERS)
		futex_wake_address(addr);
	return !err;
}

void exit_robust_list(struct task *t)
{
	uintptr_t head = t->robust_list, entry, next;
	struct robust_list_head h;

	t->robust_list = 0;
	if (!head || COPY_IN(h, head))
		return;
	entry = h.next;
	for (unsigned n = 0; (entry & ~ROBUST_PI) != head && n < ROBUST_LIST_LIMIT; n++, entry = next) {
		/* The next one first: a lock that is given on may be taken off the list at once. */
		if (COPY_IN(next, entry & ~ROBUST_PI))
			return;
		if ((entry & ~ROBUST_PI) != (h.pending & ~ROBUST_PI) &&
		    !robust_lock_dies(t, entry, h.futex_offset, false))
			return;
	}
	if (h.pending & ~ROBUST_PI)
		robust_lock_dies(t, h.pending, h.futex_offset, true);
}
