/* SPDX-License-Identifier: MIT */
/*
 * set_mempolicy, get_mempolicy, mbind: on which nodes memory is to lie. This machine has one, number 0, and
 * every page lies there: what is left is what the calls answer, which policy a thread and an area have, and
 * that areas of different policies are not one.
 *
 * A policy is a word, so that two are equal if their words are; 0: the default. A set of nodes that may name
 * absent ones is kept only where Linux tells it back (static and relative ones), and of it the first 32.
 */
#include "kernel.h"

#define MODE(p)	       ((unsigned)(p) & 7)
#define POLICY_LOCAL   8ul /* preferred: where the thread runs */
#define USER_NODES(p)  ((p) >> 32)
#define MAX_NODES      1024 /* that a set may have; of x86-64's 5.10 */
#define NODES_PRESENT  1ul

struct nodes {
	uint64_t low; /* 0 .. 63 */
	bool any;     /* some is in it */
};

/* max: one more than the bits that src has, as the call counts. */
static int get_nodes(uintptr_t src, unsigned long max, struct nodes *n)
{
	*n = (struct nodes){0};
	if (!src || max <= 1)
		return 0;
	max--;
	if (max > PAGE_SIZE * 8)
		return -EINVAL;
	for (unsigned long bit = 0; bit < max; bit += 64) {
		uint64_t word;

		if (COPY_IN(word, src + bit / 8))
			return -EFAULT;
		if (max - bit < 64)
			word &= (1ull << (max - bit)) - 1;
		if (word && bit >= MAX_NODES)
			return -EINVAL;
		if (!bit)
			n->low = word;
		n->any |= word != 0;
	}
	return 0;
}

/* One of those that are present must be meant; relative ones count round them. */
static int check_present(unsigned flags, const struct nodes *n)
{
	return flags & MPOL_F_RELATIVE_NODES || n->low & NODES_PRESENT ? 0 : -EINVAL;
}

/* The word of a policy, 0: the default. -EINVAL. */
static int make_policy(unsigned mode, const struct nodes *n, uintptr_t *policy)
{
	unsigned flags = mode & MPOL_MODE_FLAGS;

	mode &= ~(unsigned)MPOL_MODE_FLAGS;
	*policy = 0;
	if (mode == MPOL_DEFAULT)
		return n->any ? -EINVAL : 0;
	if (mode == MPOL_LOCAL || (mode == MPOL_PREFERRED && !n->any)) {
		*policy = MPOL_PREFERRED | POLICY_LOCAL;
		return n->any || flags ? -EINVAL : 0;
	}
	if (!n->any)
		return -EINVAL;
	*policy = mode | flags | (flags ? n->low << 32 : 0);
	return check_present(flags, n);
}

static int check_mode(unsigned mode)
{
	return (mode & ~(unsigned)MPOL_MODE_FLAGS) >= MPOL_MAX || (mode & MPOL_MODE_FLAGS) == MPOL_MODE_FLAGS ? -EINVAL : 0;
}

static uint64_t nodes_of(uintptr_t policy)
{
	if (policy & MPOL_MODE_FLAGS)
		return USER_NODES(policy);
	return policy && !(policy & POLICY_LOCAL) ? NODES_PRESENT : 0;
}

SYSCALL3(set_mempolicy, unsigned, mode, uintptr_t, src, unsigned long, max)
{
	uintptr_t policy;
	struct nodes n;
	int err = check_mode(mode);

	if (!err)
		err = get_nodes(src, max, &n);
	if (!err)
		err = make_policy(mode, &n, &policy);
	if (!err)
		current->mempolicy = policy;
	return err;
}

SYSCALL6(mbind, uintptr_t, start, size_t, len, unsigned, mode, uintptr_t, src, unsigned long, max, unsigned, flags)
{
	size_t bytes = (len + PAGE_SIZE - 1) & PAGE_MASK;
	uintptr_t policy;
	struct nodes n;
	int err = check_mode(mode);

	if (!err)
		err = get_nodes(src, max, &n);
	if (err)
		return err;
	if (flags & ~(unsigned)(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	if (flags & MPOL_MF_MOVE_ALL && !capable(CAP_SYS_NICE))
		return -EPERM;
	if (start % PAGE_SIZE || start + bytes < start)
		return -EINVAL;
	if (!bytes)
		return 0;
	err = make_policy(mode, &n, &policy);
	return err ? err : quire_mbind(current->proc->mm, start, bytes, policy, !policy);
}

/* Whole words, as many as max says; behind those that the machine's nodes fill there are zeros. */
static int put_nodes(uintptr_t dst, unsigned long max, uint64_t nodes)
{
	size_t n = ALIGN_UP(max - 1, 64ul) / 8;

	if (n > sizeof(nodes)) {
		if (n > PAGE_SIZE)
			return -EINVAL;
		if (hal_clear_user(dst + sizeof(nodes), n - sizeof(nodes)))
			return -EFAULT;
		n = sizeof(nodes);
	}
	return hal_copy_to_user(dst, &nodes, n) ? -EFAULT : 0;
}

/* Whose policy is asked for, and of that what: into *answer. 0 or an errno. */
static int ask_policy(uintptr_t addr, unsigned flags, uintptr_t *policy, int *answer)
{
	struct quire_mm *mm = current->proc->mm;
	int err = 0;

	*policy = current->mempolicy;
	if (flags & MPOL_F_ADDR)
		err = quire_mm_policy(mm, addr, policy);
	else if (addr)
		err = -EINVAL;
	*answer = (int)(MODE(*policy) | (*policy & MPOL_MODE_FLAGS));
	if (err || !(flags & MPOL_F_NODE))
		return err;
	*answer = 0; /* the node that the page is on, or that the next one will be on */
	if (flags & MPOL_F_ADDR)
		return quire_fault_in(mm, addr, false);
	return MODE(*policy) == MPOL_INTERLEAVE ? 0 : -EINVAL;
}

SYSCALL5(get_mempolicy, uintptr_t, mode_dst, uintptr_t, nodes_dst, unsigned long, max, uintptr_t, addr,
	 unsigned long, flags)
{
	uint64_t nodes = NODES_PRESENT;
	uintptr_t policy;
	int answer = 0, err;

	if ((nodes_dst && max < 1) || flags & ~(unsigned long)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
		return -EINVAL;
	if (flags & MPOL_F_MEMS_ALLOWED) {
		if (flags != MPOL_F_MEMS_ALLOWED)
			return -EINVAL;
	} else {
		err = ask_policy(addr, (unsigned)flags, &policy, &answer);
		if (err)
			return err;
		nodes = nodes_of(policy);
	}
	if (mode_dst && COPY_OUT(mode_dst, answer))
		return -EFAULT;
	return nodes_dst ? put_nodes(nodes_dst, max, nodes) : 0;
}
