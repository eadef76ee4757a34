/* SPDX-License-Identifier: MIT */
/*
 * Futexes with an owner (FUTEX_LOCK_PI and its relatives). The word holds the owner's number, with
 * FUTEX_WAITERS if the kernel is to be asked at the end; a lock that nobody waits for is the program's own
 * affair. There is one policy, so no priority to inherit: what is left of it is that a lock is handed over, to
 * the one who has waited longest, and never found free by somebody else in between; that who would wait for
 * himself is told (EDEADLK), over any number of locks and owners; and that an owner who ends leaves his
 * locks to who waits for them.
 *
 * pi_lock covers what is known here and every change that this file makes to a word: such a change is one
 * step (quire_mm_cmpxchg), for the program changes words too. A state exists while somebody waits, or has just
 * got a lock whose word he has still to correct: its last owner died, maybe in another space.
 */
#include "futex.h"

struct pi_state {
	struct list_head all;	  /* in states */
	struct list_head owned;	  /* in owner->pi_owned */
	struct list_head waiters; /* struct pi_waiter, who came first first */
	struct futex_key key;	  /* of somebody who waits, or of who got the lock */
	struct task *owner;
	bool inherited;		  /* the word does not name the owner yet, who will see to it */
};

/* On the stack of its task. */
struct pi_waiter {
	struct list_head link;
	struct task *task;
	struct wait_head wait;
	bool granted, inherited; /* it owns the lock; pi_lock */
};

static DEFINE_MUTEX(pi_lock);
static struct list_head states = LIST_HEAD_INIT(states); /* pi_lock */
static unsigned nr_states; /* written under pi_lock */

/* Nobody waits in it any more, and its word is right. */
static void drop_if_unused(struct pi_state *s)
{
	assert_mutex_held(&pi_lock);
	if (!list_empty(&s->waiters) || s->inherited)
		return;
	list_del(&s->all);
	list_del(&s->owned);
	__atomic_store_n(&nr_states, nr_states - 1, __ATOMIC_SEQ_CST);
	quire_kfree(s);
}

static struct pi_state *find_state(const struct futex_key *k)
{
	struct pi_state *s;

	assert_mutex_held(&pi_lock);
	list_for_each_entry(s, &states, all)
		if (s->key.at.object == k->at.object && s->key.word == k->word)
			return s;
	return NULL;
}

bool futex_is_pi(const struct futex_key *k)
{
	bool found;

	if (likely(!__atomic_load_n(&nr_states, __ATOMIC_SEQ_CST)))
		return false;
	mutex_lock(&pi_lock);
	found = find_state(k);
	mutex_unlock(&pi_lock);
	return found;
}

static struct pi_state *new_state(const struct futex_key *k, struct task *owner)
{
	struct pi_state *s = quire_kmalloc(sizeof(*s), QUIRE_GFP_ZERO);

	if (!s)
		return NULL;
	s->key = *k;
	s->owner = owner;
	INIT_LIST_HEAD(&s->waiters);
	list_add_tail(&s->all, &states);
	list_add_tail(&s->owned, &owner->pi_owned);
	__atomic_store_n(&nr_states, nr_states + 1, __ATOMIC_SEQ_CST);
	return s;
}

/* ---- the word ---------------------------------------------------------------------------------- */

/* What a word that we may write holds. 0, -EFAULT, -ENOMEM. */
static int read_word(unsigned long addr, uint32_t *v)
{
	int err;

	*v = 0;
	err = quire_mm_cmpxchg(current->proc->mm, addr, v, 0);
	return err == -EAGAIN ? 0 : err;
}

/* -EAGAIN: it was changed meanwhile. */
static int change_word(unsigned long addr, uint32_t old, uint32_t new)
{
	return quire_mm_cmpxchg(current->proc->mm, addr, &old, new);
}

/* The task that the word names, which has not begun to leave its locks: it stays while pi_lock is held, for
 * it needs that to leave them. -ESRCH: there is none, if the word still says so. */
static int find_owner(unsigned long addr, uint32_t word, struct task **owner)
{
	irqflags_t flags;
	uint32_t now;
	int err;

	spin_lock_irqsave(&tasks_lock, flags);
	*owner = find_task((int)(word & FUTEX_TID_MASK));
	if (*owner && (*owner)->pi_left)
		*owner = NULL;
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (*owner)
		return (*owner)->proc->is_init ? -EPERM : 0;
	err = read_word(addr, &now);
	return err ? err : now == word ? -ESRCH : -EAGAIN;
}

/* Does the word name the owner that we know? */
static bool agrees(const struct pi_state *s, uint32_t word)
{
	uint32_t tid = word & FUTEX_TID_MASK;

	/* a dying owner's locks are marked before they are handed over */
	return s->inherited || (!tid && word & FUTEX_OWNER_DIED) || tid == (uint32_t)s->owner->tid;
}

/* ---- locking ----------------------------------------------------------------------------------- */

/* Nobody waits. 0: it is ours; 1: *s is its state; -EAGAIN: once more. */
static int lock_unknown(unsigned long addr, const struct futex_key *k, uint32_t word, bool try, struct pi_state **s)
{
	struct task *owner;
	int err;

	if (anybody_waits(k->at.object, k->word)) /* who does not wait to own it */
		return -EINVAL;
	if (!(word & FUTEX_TID_MASK))
		return change_word(addr, word, (word & FUTEX_OWNER_DIED) | (uint32_t)current->tid);
	err = change_word(addr, word, word | FUTEX_WAITERS);
	if (!err)
		err = find_owner(addr, word | FUTEX_WAITERS, &owner);
	if (err)
		return err;
	*s = try ? NULL : new_state(k, owner);
	return try || *s ? 1 : -ENOMEM;
}

static int lock_step(unsigned long addr, const struct futex_key *k, bool try, struct pi_state **s)
{
	uint32_t word;
	int err = read_word(addr, &word);

	if (err)
		return err;
	if ((word & FUTEX_TID_MASK) == (uint32_t)current->tid)
		return -EDEADLK;
	*s = find_state(k);
	if (!*s)
		return lock_unknown(addr, k, word, try, s);
	return agrees(*s, word) ? 1 : -EINVAL;
}

/* Whoever owns it waits, maybe over others, for a lock of ours. */
static bool waits_for_us(const struct pi_state *s)
{
	assert_mutex_held(&pi_lock);
	for (; s; s = s->owner->pi_waits)
		if (s->owner == current)
			return true;
	return false;
}

/* pi_lock is held, and let go while it sleeps. 0: granted. */
static int wait_for_grant(struct pi_state *s, struct pi_waiter *w, uint64_t deadline)
{
	int err;

	assert_mutex_held(&pi_lock);
	*w = (struct pi_waiter){.task = current};
	list_add_tail(&w->link, &s->waiters);
	current->pi_waits = s;
	mutex_unlock(&pi_lock);
	err = wait_event(&w->wait, READ_ONCE(w->granted), true, deadline);
	mutex_lock(&pi_lock);
	if (w->granted)
		return 0;
	current->pi_waits = NULL;
	list_del(&w->link);
	drop_if_unused(s);
	return err == -EINTR ? -ERESTARTNOINTR : err;
}

/* A lock whose owner died names us from now on, and says what happened. */
static int inherit(unsigned long addr, const struct futex_key *k)
{
	struct pi_state *s = find_state(k);
	uint32_t word;
	int err;

	assert_mutex_held(&pi_lock);
	ASSERT(s && s->inherited && s->owner == current);
	do {
		err = read_word(addr, &word);
		if (!err)
			err = change_word(addr, word, FUTEX_OWNER_DIED | FUTEX_WAITERS | (uint32_t)current->tid);
	} while (err == -EAGAIN);
	s->inherited = false;
	drop_if_unused(s);
	return err;
}

static long lock_known(unsigned long addr, const struct futex_key *k, bool try, uint64_t deadline)
{
	struct pi_state *s;
	struct pi_waiter w;
	int err;

	for (;;) {
		mutex_lock(&pi_lock);
		err = lock_step(addr, k, try, &s);
		if (err != -EAGAIN)
			break;
		mutex_unlock(&pi_lock);
		os_cond_resched();
	}
	if (err == 1 && try) {
		err = -EAGAIN;
	} else if (err == 1 && waits_for_us(s)) {
		drop_if_unused(s);
		err = -EDEADLK;
	} else if (err == 1) {
		err = wait_for_grant(s, &w, deadline);
		if (!err && w.inherited)
			err = inherit(addr, k);
	}
	mutex_unlock(&pi_lock);
	return err;
}

long futex_lock_pi(unsigned long addr, bool private, bool try, uint64_t deadline)
{
	struct futex_key k;
	long r = futex_get_key(addr, private, &k);

	if (r)
		return r;
	r = lock_known(addr, &k, try, deadline);
	futex_put_key(&k);
	return r;
}

/* ---- handing over ------------------------------------------------------------------------------ */

static struct pi_waiter *first_waiter(struct pi_state *s)
{
	return list_empty(&s->waiters) ? NULL : list_first_entry(&s->waiters, struct pi_waiter, link);
}

/* w, the first one, is the owner from now on. It does not go away before pi_lock is let go. */
static void hand_over(struct pi_state *s, struct pi_waiter *w, bool died)
{
	assert_mutex_held(&pi_lock);
	list_del(&w->link);
	list_move_tail(&s->owned, &w->task->pi_owned);
	s->owner = w->task;
	s->inherited = w->inherited = died;
	w->task->pi_waits = NULL;
	WRITE_ONCE(w->granted, true);
	wake_all(&w->wait);
	drop_if_unused(s);
}

/* -EAGAIN: the word was changed, but is still ours to give. */
static int unlock_step(unsigned long addr, const struct futex_key *k)
{
	struct pi_state *s = find_state(k);
	struct pi_waiter *w = s ? first_waiter(s) : NULL;
	uint32_t word, me = (uint32_t)current->tid;
	int err = read_word(addr, &word);

	if (err)
		return err;
	if ((word & FUTEX_TID_MASK) != me)
		return -EPERM;
	if ((s && s->owner != current) || (!s && anybody_waits(k->at.object, k->word)))
		return -EINVAL;
	err = change_word(addr, word, w ? FUTEX_WAITERS | (uint32_t)w->task->tid : 0);
	if (!err && w)
		hand_over(s, w, false);
	return err;
}

long futex_unlock_pi(unsigned long addr, bool private)
{
	struct futex_key k;
	uint32_t word;
	long r;

	if (COPY_IN(word, addr))
		return -EFAULT;
	if ((word & FUTEX_TID_MASK) != (uint32_t)current->tid)
		return -EPERM;
	r = futex_get_key(addr, private, &k);
	if (r)
		return r;
	do {
		mutex_lock(&pi_lock);
		r = unlock_step(addr, &k);
		mutex_unlock(&pi_lock);
		os_cond_resched();
	} while (r == -EAGAIN);
	futex_put_key(&k);
	return r;
}

void futex_pi_leave(struct task *t, bool ends)
{
	struct pi_state *s;

	mutex_lock(&pi_lock);
	t->pi_left = ends;
	while (!list_empty(&t->pi_owned)) {
		s = list_first_entry(&t->pi_owned, struct pi_state, owned);
		ASSERT(!s->inherited);
		hand_over(s, first_waiter(s), true);
	}
	mutex_unlock(&pi_lock);
}
