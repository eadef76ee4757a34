/* SPDX-License-Identifier: MIT */
/*
 * futex: WAIT and WAKE, with their bitset and requeue relatives. A private futex is known by space
 * and address, a shared one by the physical place of its word, so that it is the same one in every
 * space that maps it. Requeue wakes those whom it would have moved: they find out by themselves.
 */
#include "kernel.h"

struct futex_key {
	const void *space;
	uintptr_t addr;
};

/* -EINVAL, -EFAULT, -ENOMEM. */
static int key_of(unsigned long addr, bool private, struct futex_key *k)
{
	struct quire_mm *mm = current->proc->mm;
	int err;

	if (addr & 3)
		return -EINVAL;
	if (private) {
		*k = (struct futex_key){mm, addr};
		return 0;
	}
	err = quire_fault_in(mm, addr, true); /* for writing: the page must not be copied later */
	if (err)
		return err;
	/* The low 55 bits of a pagemap word are the frame number. */
	k->space = &all_processes;
	k->addr = (quire_pagemap(mm, addr) & ((1ull << 55) - 1)) * PAGE_SIZE + addr % PAGE_SIZE;
	return 0;
}

void futex_wake_address(unsigned long addr)
{
	struct futex_key k;

	for (int private = 0; private < 2; private++)
		if (!key_of(addr, private, &k))
			wake_up(k.space, k.addr, 1);
}

/* 0 in *deadline: for ever. */
static int deadline_of(uintptr_t ts_addr, bool absolute, uint64_t *deadline)
{
	uint64_t ts[2];

	*deadline = 0;
	if (!ts_addr)
		return 0;
	if (COPY_IN(ts, ts_addr))
		return -EFAULT;
	if (ts[1] >= NS_PER_SEC || (int64_t)ts[0] < 0)
		return -EINVAL;
	*deadline = ts[0] * NS_PER_SEC + ts[1] + (absolute ? 0 : hal_clock_ns());
	if (!*deadline)
		*deadline = 1;
	return 0;
}

/* The word is read after the key is made and before the sleep, with nobody in between. */
static long futex_wait(unsigned long addr, bool private, uint32_t value, uint64_t deadline)
{
	struct futex_key k;
	uint32_t now;
	int err = key_of(addr, private, &k);

	if (err)
		return err;
	if (COPY_IN(now, addr))
		return -EFAULT;
	if (now != value)
		return -EAGAIN;
	err = sleep_on(k.space, k.addr, true, deadline);
	return err == -EINTR && !deadline ? -ERESTARTSYS : err;
}

static long futex_wake(unsigned long addr, bool private, unsigned n)
{
	struct futex_key k;
	int err = key_of(addr, private, &k);

	return err ? err : (long)wake_up(k.space, k.addr, n);
}

SYSCALL6(futex, uintptr_t, addr, unsigned long, command, uint32_t, value, uintptr_t, timeout,
	 uintptr_t, addr2, uint32_t, value3)
{
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
		err = deadline_of(timeout, op == FUTEX_WAIT_BITSET, &deadline);
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
	default:
		return -ENOSYS;
	}
}
