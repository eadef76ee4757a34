/* SPDX-License-Identifier: MIT */
/*
 * epoll: a file that watches files.
 *
 * An item stands for one descriptor that an instance watches. It stands in the instance's tree, in the list of
 * the file's watchers (open_file.watched), and in the poll_head that the file's changes are told to. Being
 * told, it enters the instance's list of items that may be ready. A wait goes along that list and asks each
 * file itself:
 *
 *	told ---> [on the list] ---> asked: not ready, and not told meanwhile ---> off the list
 *	               ^  |                 ready, level-triggered             ---> at the list's end
 *	               |  '-- EPOLLET: off the list before it is asked         ---> off until told again
 *	               '----- EPOLL_CTL_ADD, _MOD: if it is ready by then
 *
 * Files are asked without a lock, for they may be instances of epoll too; the item and its file are
 * held by references meanwhile. No item holds a reference to its file: the last close takes the item away.
 * Who removes an item is one of three, DEL, the close of its file, that of the instance; the one who marks it
 * dead does the rest, and the closing file waits until that is done.
 *
 * Which instance watches which other one changes under graph_mutex, so that there is no ring and no chain
 * of more than MAX_NESTS.
 */
#include "kernel/kernel.h"

#define MAX_NESTS    5 /* instances in a chain of which each watches the next */
#define PRIVATE_BITS (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)
#define EXCLUSIVE_OK (EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLET | POLLIN | POLLOUT | POLLERR | POLLHUP)
#define MAX_EVENTS   (INT32_MAX / 12)

struct epoll {
	atomic_t refs;		/* the file, each item */
	spinlock_t lock;	/* RANK_EPOLL: items and ready, what stands at the fields of items */
	struct rb_root items;	/* by file and descriptor */
	struct list_head ready;
	unsigned nr_ready;
	unsigned waiters;	/* in epoll_wait; atomic */
	struct wait_head wait;	/* an item was told */
	struct poll_relay relay; /* its own watchers */
	struct open_file *file; /* no reference: it holds us; gone before the last item's */
};

struct epoll_item {
	atomic_t refs;
	struct rb_node node;	/* ep->lock */
	struct list_head of_file; /* in file->watched; its pos_lock */
	struct list_head ready;	/* ep->lock; empty: not on the list */
	struct poll_watch watch;
	struct epoll *ep;	/* with a reference */
	struct open_file *file;
	int fd;
	bool dead;		/* ep->lock */
	unsigned told;		/* how often; ep->lock */
	struct epoll_event event; /* ep->lock; without a bit but PRIVATE_BITS: waits for MOD */
};

static const struct file_ops epoll_ops;
static DEFINE_MUTEX(graph_mutex);
static unsigned sleepers; /* in epoll_wait; atomic */

bool epoll_awaited(void)
{
	return atomic_load_of(&sleepers);
}

static void epoll_put(struct epoll *ep)
{
	if (!atomic_dec_and_test(&ep->refs))
		return;
	poll_relay_end(&ep->relay);
	ASSERT(RB_EMPTY_ROOT(&ep->items) && list_empty(&ep->relay.head.watches));
	quire_kfree(ep);
}

static void item_put(struct epoll_item *it)
{
	if (!atomic_dec_and_test(&it->refs))
		return;
	epoll_put(it->ep);
	quire_kfree(it);
}

/* ---- the list of ready items ----------------------------------------------------------------- */

static void list_item(struct epoll_item *it)
{
	assert_held(&it->ep->lock);
	if (!list_empty(&it->ready) || it->dead)
		return;
	list_add_tail(&it->ready, &it->ep->ready);
	it->ep->nr_ready++;
}

static void unlist_item(struct epoll_item *it)
{
	assert_held(&it->ep->lock);
	if (list_empty(&it->ready))
		return;
	list_del_init(&it->ready);
	it->ep->nr_ready--;
}

/* Whoever waits for the instance learns that an item is listed. The watchers' own heads are told later. */
static bool wake_waiters(struct epoll *ep, struct list_head *relays)
{
	bool waits = atomic_load_of(&ep->waiters);

	assert_held(&ep->lock);
	if (waits)
		wake_all(&ep->wait);
	poll_relay(&ep->relay, relays);
	return waits;
}

/* One that is exclusive has answered only if somebody waits for just that. */
static bool answers(const struct epoll_item *it, unsigned events)
{
	events &= POLLIN | POLLOUT;
	return !(it->event.events & EPOLLEXCLUSIVE) || !events || events & it->event.events;
}

static bool item_told(struct poll_watch *w, unsigned events, struct list_head *relays)
{
	struct epoll_item *it = container_of(w, struct epoll_item, watch);
	struct epoll *ep = it->ep;
	bool woken = false;
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	if (!it->dead && it->event.events & ~PRIVATE_BITS && (!events || events & it->event.events)) {
		it->told++;
		list_item(it);
		woken = wake_waiters(ep, relays) && answers(it, events);
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	return woken;
}

/* The item that a walk looks at, and what it was then. */
struct look {
	struct epoll_item *it; /* with a reference, and so is its file */
	unsigned told;
	struct epoll_event event;
};

/* The next one of at most *left. peek: it stays as it is. */
static bool next_ready(struct epoll *ep, unsigned *left, bool peek, struct look *l)
{
	struct epoll_item *it;
	bool found = false;
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	*left = min(*left, ep->nr_ready);
	while (!found && *left) {
		--*left;
		it = list_first_entry(&ep->ready, struct epoll_item, ready);
		found = file_get_alive(it->file);
		if (!found) {
			unlist_item(it);
			continue;
		}
		atomic_inc(&it->refs);
		*l = (struct look){it, it->told, it->event};
		if (it->event.events & EPOLLET && !peek)
			unlist_item(it);
		else
			list_move_tail(&it->ready, &ep->ready);
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	return found;
}

static void look_done(struct look *l)
{
	file_put(l->it->file);
	item_put(l->it);
}

/* What of the events asked for has come. */
static unsigned ask(const struct look *l)
{
	return poll_file(l->it->file) & l->event.events;
}

/* Not ready after all. */
static void drop_idle(struct epoll *ep, struct look *l)
{
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	if (l->it->told == l->told)
		unlist_item(l->it);
	spin_unlock_irqrestore(&ep->lock, flags);
}

/* It was given to the caller, unless another thread was given it first or it changed. */
static bool commit(struct epoll *ep, struct look *l, unsigned events)
{
	struct epoll_item *it = l->it;
	irqflags_t flags;
	bool ours;

	spin_lock_irqsave(&ep->lock, flags);
	ours = !it->dead && events & it->event.events;
	if (ours && it->event.events & EPOLLONESHOT) {
		it->event.events &= PRIVATE_BITS;
		unlist_item(it);
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	return ours;
}

static void list_again(struct epoll *ep, struct look *l)
{
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	list_item(l->it);
	spin_unlock_irqrestore(&ep->lock, flags);
}

/* Gives up to max events to the user: how many, or -EFAULT for the first. */
static long give_events(struct epoll *ep, uintptr_t dst, long max)
{
	const size_t size = abi_epoll_event_size();
	unsigned left = ~0u;
	struct look l = {.it = NULL};
	long n = 0;

	while (n < max && next_ready(ep, &left, false, &l)) {
		struct epoll_event e = {ask(&l), l.event.data};
		int err = 0;

		if (!e.events) {
			drop_idle(ep, &l);
		} else {
			err = abi_put_epoll_event(dst + (size_t)n * size, &e);
			if (err)
				list_again(ep, &l);
			else
				n += commit(ep, &l, e.events);
		}
		look_done(&l);
		if (err)
			return n ? n : err;
	}
	return n;
}

/* ---- as a file ------------------------------------------------------------------------------- */

static unsigned epoll_poll(struct open_file *f)
{
	struct epoll *ep = f->priv;
	unsigned left = ~0u;
	bool ready = false;
	struct look l;

	while (!ready && next_ready(ep, &left, true, &l)) {
		ready = ask(&l);
		if (!ready)
			drop_idle(ep, &l);
		look_done(&l);
	}
	return ready ? POLLIN | POLLRDNORM : 0;
}

static struct poll_head *epoll_poll_head(struct open_file *f)
{
	struct epoll *ep = f->priv;

	return &ep->relay.head;
}

static void unlink_from_file(struct epoll_item *it)
{
	struct open_file *f = it->file;

	spin_lock(&f->pos_lock);
	list_del_init(&it->of_file);
	spin_unlock(&f->pos_lock);
}

/* false: somebody else does so. The caller has a reference; the tree's is given back. */
static bool remove_item(struct epoll_item *it)
{
	struct epoll *ep = it->ep;
	irqflags_t flags;
	bool ours;

	spin_lock_irqsave(&ep->lock, flags);
	ours = !it->dead;
	if (ours) {
		unlist_item(it);
		it->dead = true;
		rb_erase(&it->node, &ep->items);
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	if (!ours)
		return false;
	poll_watch_remove(&it->watch);
	unlink_from_file(it); /* the file may go from here on */
	item_put(it);
	return true;
}

/* The first of the tree, with a reference; NULL: there is none. */
static struct epoll_item *first_item(struct epoll *ep)
{
	struct epoll_item *it = NULL;
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	if (!RB_EMPTY_ROOT(&ep->items)) {
		it = rb_entry(rb_first(&ep->items), struct epoll_item, node);
		atomic_inc(&it->refs);
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	return it;
}

static void epoll_release(struct open_file *f)
{
	struct epoll *ep = f->priv;
	struct epoll_item *it;

	while ((it = first_item(ep))) {
		remove_item(it);
		item_put(it);
	}
	epoll_put(ep);
}

static struct epoll_item *first_watcher(struct open_file *f)
{
	struct epoll_item *it = NULL;

	spin_lock(&f->pos_lock);
	if (!list_empty(&f->watched)) {
		it = list_first_entry(&f->watched, struct epoll_item, of_file);
		atomic_inc(&it->refs);
	}
	spin_unlock(&f->pos_lock);
	return it;
}

void epoll_file_gone(struct open_file *f)
{
	struct epoll_item *it;

	while ((it = first_watcher(f))) {
		if (!remove_item(it))
			schedule(); /* who does so unlinks it in a moment */
		item_put(it);
	}
}

static const struct file_ops epoll_ops = {.poll = epoll_poll, .poll_head = epoll_poll_head,
					  .release = epoll_release};

/* ---- who watches whom ------------------------------------------------------------------------ */

static struct epoll *epoll_of(const struct open_file *f)
{
	return f->ops == &epoll_ops ? f->priv : NULL;
}

/* The i-th instance that ep watches, its file with a reference; NULL: there are no more. */
static struct epoll *nth_below(struct epoll *ep, unsigned i)
{
	struct epoll *found = NULL;
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	for (struct rb_node *n = rb_first(&ep->items); n && !found; n = rb_next(n)) {
		struct epoll_item *it = rb_entry(n, struct epoll_item, node);
		struct epoll *e = epoll_of(it->file);

		if (e && !i--)
			found = file_get_alive(it->file) ? e : NULL;
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	return found;
}

/* Instances in the longest chain that begins with ep; more than there may be if `meets` is in one. An item
 * that goes meanwhile may hide another one, which is then not counted: nothing is worse for it than a
 * chain that is too long. graph_mutex. */
static unsigned depth_below(struct epoll *ep, const struct epoll *meets, unsigned most)
{
	unsigned deepest = 0;
	struct epoll *next;

	assert_mutex_held(&graph_mutex);
	if (ep == meets || !most)
		return MAX_NESTS + 1;
	for (unsigned i = 0; (next = nth_below(ep, i)); i++) {
		deepest = max(deepest, depth_below(next, meets, most - 1));
		file_put(next->file);
	}
	return min(deepest + 1, MAX_NESTS + 1u);
}

/* The i-th instance that watches ep, with a reference; NULL: there are no more. */
static struct epoll *nth_above(struct epoll *ep, unsigned i)
{
	struct epoll *found = NULL;
	struct epoll_item *it;

	spin_lock(&ep->file->pos_lock);
	list_for_each_entry(it, &ep->file->watched, of_file)
		if (!i--) {
			found = it->ep;
			atomic_inc(&found->refs);
			break;
		}
	spin_unlock(&ep->file->pos_lock);
	return found;
}

/* Instances in the longest chain that ends with ep, whose file stays. graph_mutex. */
static unsigned depth_above(struct epoll *ep, unsigned most)
{
	unsigned deepest = 0;
	struct epoll *up;

	if (!most)
		return MAX_NESTS + 1;
	for (unsigned i = 0; (up = nth_above(ep, i)); i++) {
		if (file_get_alive(up->file)) {
			deepest = max(deepest, depth_above(up, most - 1));
			file_put(up->file);
		}
		epoll_put(up);
	}
	return min(deepest + 1, MAX_NESTS + 1u);
}

/* ---- adding, changing, removing -------------------------------------------------------------- */

static int compare(const struct epoll_item *it, const struct open_file *f, int fd)
{
	if (it->file != f)
		return f < it->file ? -1 : 1;
	return fd < it->fd ? -1 : fd > it->fd;
}

static struct epoll_item *find_item(struct epoll *ep, const struct open_file *f, int fd)
{
	struct rb_node *n = ep->items.rb_node;

	assert_held(&ep->lock);
	while (n) {
		struct epoll_item *it = rb_entry(n, struct epoll_item, node);
		int c = compare(it, f, fd);

		if (!c)
			return it;
		n = c < 0 ? n->rb_left : n->rb_right;
	}
	return NULL;
}

static void insert_item(struct epoll_item *it)
{
	struct rb_node **link = &it->ep->items.rb_node, *parent = NULL;

	assert_held(&it->ep->lock);
	while (*link) {
		parent = *link;
		link = compare(rb_entry(parent, struct epoll_item, node), it->file, it->fd) < 0
			       ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&it->node, parent, link);
	rb_insert_color(&it->node, &it->ep->items);
}

/* Of an item that is new or has changed: if it is ready by now, those who wait learn it. */
static void tell_if_ready(struct epoll_item *it)
{
	struct look l = {.it = it};
	LIST_HEAD(relays);
	irqflags_t flags;

	spin_lock_irqsave(&it->ep->lock, flags);
	l.event = it->event;
	spin_unlock_irqrestore(&it->ep->lock, flags);
	if (!ask(&l))
		return;
	spin_lock_irqsave(&it->ep->lock, flags);
	list_item(it);
	if (atomic_load_of(&it->ep->waiters))
		wake_all(&it->ep->wait);
	spin_unlock_irqrestore(&it->ep->lock, flags);
	poll_tell(&it->ep->relay.head, POLLIN | POLLRDNORM);
}

/* The item is in the tree from here on: whoever finds it waits for nothing. 0 or -EEXIST. */
static int enter_item(struct epoll_item *it)
{
	struct epoll *ep = it->ep;
	irqflags_t flags;
	int err = 0;

	spin_lock(&it->file->pos_lock);
	list_add_tail(&it->of_file, &it->file->watched);
	spin_unlock(&it->file->pos_lock);
	poll_watch_add(&it->watch, it->file->ops->poll_head(it->file));
	spin_lock_irqsave(&ep->lock, flags);
	if (find_item(ep, it->file, it->fd)) {
		err = -EEXIST;
	} else {
		it->dead = false;
		insert_item(it);
	}
	spin_unlock_irqrestore(&ep->lock, flags);
	if (err) {
		poll_watch_remove(&it->watch);
		unlink_from_file(it);
	}
	return err;
}

static long add_item(struct epoll *ep, struct open_file *f, int fd, const struct epoll_event *e)
{
	struct epoll_item *it = quire_kmalloc(sizeof(*it), QUIRE_GFP_ZERO);
	int err;

	if (!it)
		return -ENOMEM;
	atomic_set(&it->refs, 2); /* the tree's and ours */
	atomic_inc(&ep->refs);
	it->ep = ep;
	it->file = f;
	it->fd = fd;
	it->event = *e;
	it->dead = true; /* not in the tree yet: nobody tells it */
	it->watch.told = item_told;
	it->watch.exclusive = e->events & EPOLLEXCLUSIVE;
	INIT_LIST_HEAD(&it->ready);
	err = enter_item(it);
	if (err)
		item_put(it);
	else
		tell_if_ready(it);
	item_put(it);
	return err;
}

/* The item of that file and descriptor, with a reference; NULL: it is not watched. */
static struct epoll_item *get_item(struct epoll *ep, const struct open_file *f, int fd)
{
	struct epoll_item *it;
	irqflags_t flags;

	spin_lock_irqsave(&ep->lock, flags);
	it = find_item(ep, f, fd);
	if (it)
		atomic_inc(&it->refs);
	spin_unlock_irqrestore(&ep->lock, flags);
	return it;
}

/* An exclusive one cannot be changed, and none becomes one. */
static long change_item(struct epoll_item *it, const struct epoll_event *e)
{
	irqflags_t flags;

	if (e->events & EPOLLEXCLUSIVE || it->watch.exclusive)
		return -EINVAL;
	spin_lock_irqsave(&it->ep->lock, flags);
	it->event = *e;
	spin_unlock_irqrestore(&it->ep->lock, flags);
	tell_if_ready(it);
	return 0;
}

static long change_or_remove(struct epoll *ep, int op, struct open_file *f, int fd,
			     const struct epoll_event *e)
{
	struct epoll_item *it = get_item(ep, f, fd);
	long r = 0;

	if (!it)
		return -ENOENT;
	if (op == EPOLL_CTL_MOD)
		r = change_item(it, e);
	else if (!remove_item(it))
		r = -ENOENT;
	item_put(it);
	return r;
}

/* Adds one instance to another, unless that makes a ring or too long a chain. */
static long add_instance(struct epoll *ep, struct open_file *f, int fd, const struct epoll_event *e)
{
	long r = -ELOOP;

	mutex_lock(&graph_mutex);
	if (depth_below(epoll_of(f), ep, MAX_NESTS) + depth_above(ep, MAX_NESTS) <= MAX_NESTS)
		r = add_item(ep, f, fd, e);
	mutex_unlock(&graph_mutex);
	return r;
}

static long control(struct epoll *ep, int op, struct open_file *f, int fd, struct epoll_event *e)
{
	bool exclusive = op != EPOLL_CTL_DEL && e->events & EPOLLEXCLUSIVE;

	if (exclusive && op == EPOLL_CTL_ADD && (epoll_of(f) || e->events & ~EXCLUSIVE_OK))
		return -EINVAL;
	if (exclusive && op == EPOLL_CTL_MOD)
		return -EINVAL;
	e->events |= POLLERR | POLLHUP;
	switch (op) {
	case EPOLL_CTL_ADD:
		return epoll_of(f) ? add_instance(ep, f, fd, e) : add_item(ep, f, fd, e);
	case EPOLL_CTL_MOD:
	case EPOLL_CTL_DEL:
		return change_or_remove(ep, op, f, fd, e);
	default:
		return -EINVAL;
	}
}

SYSCALL4(epoll_ctl, int, epfd, int, op, int, fd, uintptr_t, event)
{
	struct epoll_event e = {0};
	struct fd in, f;
	long r = -EBADF;

	if (op != EPOLL_CTL_DEL && abi_get_epoll_event(event, &e))
		return -EFAULT;
	in = fdget(epfd);
	f = fdget(fd);
	if (in.file && f.file && !(file_flags(f.file) & O_PATH) && !(file_flags(in.file) & O_PATH)) {
		if (!f.file->ops || !f.file->ops->poll)
			r = -EPERM;
		else if (f.file == in.file || !epoll_of(in.file))
			r = -EINVAL;
		else
			r = control(epoll_of(in.file), op, f.file, fd, &e);
	}
	fdput(f);
	fdput(in);
	return r;
}

/* ---- making one, waiting --------------------------------------------------------------------- */

static long create(unsigned flags)
{
	struct epoll *ep;

	if (flags & ~O_CLOEXEC)
		return -EINVAL;
	ep = quire_kmalloc(sizeof(*ep), QUIRE_GFP_ZERO);
	if (!ep)
		return -ENOMEM;
	atomic_set(&ep->refs, 1);
	spin_lock_init_rank(&ep->lock, "epoll", RANK_EPOLL);
	ep->items = RB_ROOT;
	INIT_LIST_HEAD(&ep->ready);
	poll_head_init(&ep->relay.head);
	ep->file = anon_file("anon_inode:[eventpoll]", &epoll_ops, ep, O_RDWR);
	if (ep->file)
		return file_install(ep->file, flags);
	epoll_put(ep);
	return -ENOMEM;
}

SYSCALL1(epoll_create1, unsigned, flags)
{
	return create(flags);
}

SYSCALL1(epoll_create, int, size)
{
	return size <= 0 ? -EINVAL : create(0);
}

/* Stopped and let go on meanwhile, it ends, though no handler ran: so does Linux. */
static long wait_for_events(struct epoll *ep, uintptr_t dst, long max, uint64_t deadline)
{
	unsigned stops = current->stops;
	long n = 0;
	int err;

	atomic_add_of(&ep->waiters, 1);
	atomic_add_of(&sleepers, 1);
	err = wait_event(&ep->wait, (n = give_events(ep, dst, max)) != 0 || current->stops != stops, true,
			 deadline);
	atomic_sub_of(&sleepers, 1);
	atomic_sub_of(&ep->waiters, 1);
	return err == -EINTR || (!n && current->stops != stops) ? -EINTR : n;
}

/* deadline: 0: none. */
static long do_wait(int epfd, uintptr_t dst, int max, uint64_t deadline, bool wait)
{
	struct fd f;
	struct epoll *ep;
	long r;

	if (max <= 0 || max > MAX_EVENTS)
		return -EINVAL;
	f = fdget(epfd);
	if (!f.file)
		return -EBADF;
	ep = epoll_of(f.file);
	if (!ep)
		r = -EINVAL;
	else
		r = wait ? wait_for_events(ep, dst, max, deadline) : give_events(ep, dst, max);
	fdput(f);
	return r;
}

static long wait_ms(int epfd, uintptr_t dst, int max, int ms)
{
	return do_wait(epfd, dst, max, ms > 0 ? hal_clock_ns() + (uint64_t)ms * NS_PER_MS : 0, ms != 0);
}

SYSCALL4(epoll_wait, int, epfd, uintptr_t, dst, int, max, int, ms)
{
	return wait_ms(epfd, dst, max, ms);
}

SYSCALL6(epoll_pwait, int, epfd, uintptr_t, dst, int, max, int, ms, uintptr_t, mask, size_t, size)
{
	int err = call_mask_begin(mask, size);

	return err ? err : call_mask_end(wait_ms(epfd, dst, max, ms));
}
