/* SPDX-License-Identifier: MIT */
/* What futex.c and futex_pi.c share: how a futex is known. */
#ifndef KERNEL_FUTEX_H
#define KERNEL_FUTEX_H

#include "kernel.h"

struct futex_key {
	struct quire_place at;
	uintptr_t word; /* the place's offset, and whether it may be shared */
};

/* Ends with futex_put_key(). -EINVAL, -EFAULT, -ENOMEM. */
int futex_get_key(unsigned long addr, bool private, struct futex_key *k);
void futex_put_key(const struct futex_key *k);

/* ---- futex_pi.c -------------------------------------------------------------------------------- */

/* FUTEX_LOCK_PI, and FUTEX_TRYLOCK_PI (try), until the deadline (ns since boot, 0: none). 0, -EDEADLK,
 * -ESRCH, -EPERM, -EINVAL, -EAGAIN (try), -ETIMEDOUT, -ERESTARTNOINTR, -EFAULT, -ENOMEM. May sleep. */
long futex_lock_pi(unsigned long addr, bool private, bool try, uint64_t deadline);
/* FUTEX_UNLOCK_PI. 0, -EPERM, -EINVAL, -EFAULT, -ENOMEM. */
long futex_unlock_pi(unsigned long addr, bool private);
/* Somebody waits there to become the owner: nobody is woken there otherwise. */
bool futex_is_pi(const struct futex_key *k);

#endif
