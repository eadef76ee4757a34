/* SPDX-License-Identifier: MIT */
/*
 * Locks that can be turned off, for locks.py: in its copy of the tree each place of mm/ that takes a
 * lock is numbered and goes through one of these, as does each place that lets go. The place whose
 * number LOCK_OFF names takes nothing; the release that belongs to it then does nothing either. Included
 * before every source, so it may use only what its users have declared by then.
 */
#ifndef TEST_LOCKOFF_H
#define TEST_LOCKOFF_H

/* Notes that place n was reached. True: it is off, and what it would lock is remembered. name: how an
 * assertion has to call it. */
_Bool lockoff(int n, const void *lock, const char *name);
/* True, once, if this thread passed over taking the lock. */
_Bool lockoff_release(const void *lock);
/* The same, and it stays remembered. */
_Bool lockoff_passed(const void *lock);
/* A lock was named by an assertion. */
void lockoff_said(const char *text);

#define LOCKOFF_FLAGS 0x0ff10ff1ul /* what an interrupt state is that was never saved */

#define off_spin_lock(n, l) (lockoff(n, l, (l)->name) ? (void)0 : spin_lock(l))
#define off_spin_lock_nested(n, l) (lockoff(n, l, (l)->name) ? (void)0 : spin_lock_nested(l))
#define off_spin_trylock(n, l) (lockoff(n, l, (l)->name) || spin_trylock(l))
#define off_spin_unlock(l) (lockoff_release(l) ? (void)0 : spin_unlock(l))
#define off_spin_lock_irqsave(n, l, flags)                  \
	do {                                                \
		if (lockoff(n, l, (l)->name))               \
			(flags) = LOCKOFF_FLAGS;            \
		else                                        \
			spin_lock_irqsave(l, flags);        \
	} while (0)
#define off_spin_unlock_irqrestore(l, flags)                \
	do {                                                \
		off_spin_unlock(l);                         \
		off_hal_irq_restore(flags);                 \
	} while (0)

static const char lockoff_irqs; /* stands for the interrupts of whatever CPU */
#define off_hal_irq_save(n, ...) (lockoff(n, &lockoff_irqs, "interrupts") ? LOCKOFF_FLAGS : hal_irq_save())
#define off_hal_irq_restore(flags) ((flags) == LOCKOFF_FLAGS ? (void)0 : hal_irq_restore(flags))

#define off_down_read(n, s) (lockoff(n, s, (s)->name) ? (void)0 : down_read(s))
#define off_down_write(n, s) (lockoff(n, s, (s)->name) ? (void)0 : down_write(s))
#define off_down_write_nested(n, s) (lockoff(n, s, (s)->name) ? (void)0 : down_write_nested(s))
#define off_down_read_trylock(n, s) (lockoff(n, s, (s)->name) || down_read_trylock(s))
#define off_down_write_trylock(n, s) (lockoff(n, s, (s)->name) || down_write_trylock(s))
#define off_up_read(s) (lockoff_release(s) ? (void)0 : up_read(s))
#define off_downgrade_write(s) (lockoff_passed(s) ? (void)0 : downgrade_write(s))
#define off_up_write(s) (lockoff_release(s) ? (void)0 : up_write(s))
#define off_mutex_lock(n, m) (lockoff(n, m, (m)->name) ? (void)0 : mutex_lock(m))
#define off_mutex_trylock(n, m) (lockoff(n, m, (m)->name) || mutex_trylock(m))
#define off_mutex_unlock(m) (lockoff_release(m) ? (void)0 : mutex_unlock(m))

#define off_lock_page(n, p) (lockoff(n, p, "page lock") ? (void)0 : lock_page(p))
#define off_trylock_page(n, p) (lockoff(n, p, "page lock") || trylock_page(p))
#define off_page_set_locked(n, p) (lockoff(n, p, "page lock") ? (void)0 : page_set(p, PG_locked))
#define off_unlock_page(p) (lockoff_release(p) ? (void)0 : unlock_page(p))

#define off_ptl_lock(n, l) (lockoff(n, l, "ptl") ? (void)0 : ptl_lock(l))
#define off_ptl_unlock(l) (lockoff_release(l) ? (void)0 : ptl_unlock(l))
#define off_ptl_lock_two(n, a, b) (lockoff(n, a, "ptl") ? (void)0 : ptl_lock_two(a, b))
#define off_ptl_unlock_two(a, b) (lockoff_release(a) ? (void)0 : ptl_unlock_two(a, b))
#define off_fault_lock(n, vmf)                                              \
	do {                                                                \
		if (lockoff(n, pte_lockptr((vmf)->pte), "ptl"))             \
			(vmf)->ptl = pte_lockptr((vmf)->pte);               \
		else                                                        \
			fault_lock(vmf);                                    \
	} while (0)
#define off_fault_unlock(vmf) (lockoff_release((vmf)->ptl) ? (void)0 : fault_unlock(vmf))

#define off_anon_vma_lock_write(n, av) \
	(lockoff(n, &(av)->root->rwsem, "anon_vma") ? (void)0 : anon_vma_lock_write(av))
#define off_anon_vma_lock_read(n, av) \
	(lockoff(n, &(av)->root->rwsem, "anon_vma") ? (void)0 : anon_vma_lock_read(av))
#define off_anon_vma_unlock_write(av) \
	(lockoff_release(&(av)->root->rwsem) ? (void)0 : anon_vma_unlock_write(av))
#define off_anon_vma_unlock_read(av) \
	(lockoff_release(&(av)->root->rwsem) ? (void)0 : anon_vma_unlock_read(av))

#endif
