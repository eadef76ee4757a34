/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd: the descriptor by which a program is told of faults, and fills pages. What it means for memory is the
 * core's (quire_uffd_*); here are the hand-shake, messages, and the ioctls' structures. docs/userfaultfd.md.
 */
#include "kernel/kernel.h"

#define FEATURES (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_SIGBUS | UFFD_FEATURE_THREAD_ID)

/* Linux's structures (linux/userfaultfd.h). */
struct uffd_api {
	uint64_t api, features, ioctls;
};

struct uffd_range {
	uint64_t start, len;
};

struct uffd_register {
	struct uffd_range range;
	uint64_t mode, ioctls;
};

struct uffd_copy {
	uint64_t dst, src, len, mode;
	int64_t copy;
};

struct uffd_zeropage {
	struct uffd_range range;
	uint64_t mode;
	int64_t zeropage;
};

struct uffd_writeprotect {
	struct uffd_range range;
	uint64_t mode;
};

struct uffd_message {
	uint8_t event, reserved1;
	uint16_t reserved2;
	uint32_t reserved3;
	uint64_t flags, address;
	uint32_t ptid, pad;
};

_Static_assert(sizeof(struct uffd_message) == 32, "Linux's struct uffd_msg");

#define UFFD_IOWR(n, type) (3u << 30 | (unsigned)sizeof(type) << 16 | 0xaau << 8 | (n))
#define UFFD_IOR(n, type)  (2u << 30 | (unsigned)sizeof(type) << 16 | 0xaau << 8 | (n))
#define NR_REGISTER	0x00u
#define NR_UNREGISTER	0x01u
#define NR_WAKE		0x02u
#define NR_COPY		0x03u
#define NR_ZEROPAGE	0x04u
#define NR_WRITEPROTECT 0x06u
#define NR_API		0x3fu
#define BIT64(n) ((uint64_t)1 << (n))

struct userfaultfd {
	struct quire_uffd *u;
	uint32_t ready; /* the hand-shake is done; atomic */
	struct wait_head readable;
	struct poll_head polls;
};

static bool is_ready(const struct userfaultfd *c)
{
	return __atomic_load_n(&c->ready, __ATOMIC_ACQUIRE);
}

static uint64_t features(void)
{
	return FEATURES | (quire_uffd_has_wp() ? UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0);
}

/* ---- the core's side ----------------------------------------------------------------------------- */

static void uffd_tell(void *priv)
{
	struct userfaultfd *c = priv;

	wake_all(&c->readable);
	poll_tell(&c->polls, POLLIN);
}

static void uffd_gone(void *priv)
{
	quire_kfree(priv);
}

static const struct quire_uffd_ops core_ops = {.tell = uffd_tell, .gone = uffd_gone};

/* ---- messages ------------------------------------------------------------------------------------ */

static int copy_message(uintptr_t buf, const struct quire_uffd_fault *fault)
{
	struct uffd_message m = {.event = UFFD_EVENT_PAGEFAULT, .flags = fault->flags, .address = fault->addr,
				 .ptid = fault->pid};

	return COPY_OUT(buf, m) ? -EFAULT : 0;
}

/* As many as there are, and waits for the first. */
static long uffd_read(struct open_file *f, uintptr_t buf, size_t size, uint64_t *pos)
{
	struct userfaultfd *c = f->priv;
	struct quire_uffd_fault fault;
	long done = 0;

	if (!is_ready(c))
		return -EINVAL;
	for (;; done += sizeof(struct uffd_message)) {
		if (size - (size_t)done < sizeof(struct uffd_message))
			return done ? done : -EINVAL;
		if (!quire_uffd_read(c->u, &fault)) {
			if (done || file_flags(f) & O_NONBLOCK)
				return done ? done : -EAGAIN;
			if (wait_event(&c->readable, quire_uffd_read(c->u, &fault), true, 0))
				return -ERESTARTSYS;
		}
		if (copy_message(buf + (size_t)done, &fault))
			return done ? done : -EFAULT;
	}
}

/* Who polls must not wait in a read that another reader was faster than: only then is there an answer. */
static unsigned uffd_poll(struct open_file *f)
{
	struct userfaultfd *c = f->priv;

	if (!is_ready(c) || !(file_flags(f) & O_NONBLOCK))
		return POLLERR;
	return quire_uffd_pending(c->u) ? POLLIN : 0;
}

static struct poll_head *uffd_poll_head(struct open_file *f)
{
	struct userfaultfd *c = f->priv;

	return &c->polls;
}

static void uffd_release(struct open_file *f)
{
	struct userfaultfd *c = f->priv;

	quire_uffd_release(c->u);
}

/* ---- ioctls -------------------------------------------------------------------------------------- */

/* A refused hand-shake leaves zeros. */
static long refuse_api(uintptr_t arg, long err)
{
	struct uffd_api a = {0};

	return COPY_OUT(arg, a) ? -EFAULT : err;
}

static long uffd_api(struct userfaultfd *c, uintptr_t arg)
{
	uint32_t not_yet = 0;
	struct uffd_api a;
	uint64_t wanted;

	if (is_ready(c))
		return -EINVAL;
	if (COPY_IN(a, arg))
		return -EFAULT;
	wanted = a.features;
	if (a.api != UFFD_API || wanted & ~features())
		return refuse_api(arg, -EINVAL);
	a.features = features();
	a.ioctls = BIT64(NR_REGISTER) | BIT64(NR_UNREGISTER) | BIT64(NR_API);
	if (COPY_OUT(arg, a))
		return -EFAULT;
	quire_uffd_set_features(c->u, (uint32_t)wanted);
	if (!__atomic_compare_exchange_n(&c->ready, &not_yet, 1, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		return -EINVAL;
	return 0;
}

static long uffd_register(struct userfaultfd *c, uintptr_t arg)
{
	uint64_t ioctls = BIT64(NR_WAKE) | BIT64(NR_COPY) | BIT64(NR_ZEROPAGE);
	struct uffd_register r;
	int err;

	if (hal_copy_from_user(&r, arg, offsetof(struct uffd_register, ioctls)))
		return -EFAULT;
	if (!r.mode || r.mode & ~(uint64_t)(UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP))
		return -EINVAL;
	err = quire_uffd_register(c->u, r.range.start, r.range.len, (unsigned)r.mode);
	if (err)
		return err;
	if (r.mode & UFFDIO_REGISTER_MODE_WP)
		ioctls |= BIT64(NR_WRITEPROTECT);
	return COPY_OUT(arg + offsetof(struct uffd_register, ioctls), ioctls) ? -EFAULT : 0;
}

static long uffd_unregister(struct userfaultfd *c, uintptr_t arg)
{
	struct uffd_range r;

	return COPY_IN(r, arg) ? -EFAULT : quire_uffd_unregister(c->u, r.start, r.len);
}

static long uffd_wake(struct userfaultfd *c, uintptr_t arg)
{
	struct uffd_range r;

	return COPY_IN(r, arg) ? -EFAULT : quire_uffd_wake(c->u, r.start, r.len);
}

/* What was filled, or why nothing was, is told at `told` of the structure; all or -EAGAIN. */
static long tell_filled(uintptr_t told, int64_t n, uint64_t len)
{
	if (n == -ESRCH)
		return -ESRCH;
	if (COPY_OUT(told, n))
		return -EFAULT;
	if (n < 0)
		return n;
	return (uint64_t)n == len ? 0 : -EAGAIN;
}

static long uffd_copy(struct userfaultfd *c, uintptr_t arg)
{
	struct uffd_copy r;
	int err;

	if (hal_copy_from_user(&r, arg, offsetof(struct uffd_copy, copy)))
		return -EFAULT;
	err = quire_uffd_check_range(c->u, r.dst, r.len);
	if (err)
		return err;
	if (r.src + r.len <= r.src || r.mode & ~(uint64_t)(UFFDIO_COPY_MODE_DONTWAKE | UFFDIO_COPY_MODE_WP))
		return -EINVAL;
	return tell_filled(arg + offsetof(struct uffd_copy, copy),
			   quire_uffd_copy(c->u, r.dst, r.src, r.len, r.mode & UFFDIO_COPY_MODE_WP,
					   !(r.mode & UFFDIO_COPY_MODE_DONTWAKE)), r.len);
}

static long uffd_zeropage(struct userfaultfd *c, uintptr_t arg)
{
	struct uffd_zeropage r;
	int err;

	if (hal_copy_from_user(&r, arg, offsetof(struct uffd_zeropage, zeropage)))
		return -EFAULT;
	err = quire_uffd_check_range(c->u, r.range.start, r.range.len);
	if (err)
		return err;
	if (r.mode & ~(uint64_t)UFFDIO_ZEROPAGE_MODE_DONTWAKE)
		return -EINVAL;
	return tell_filled(arg + offsetof(struct uffd_zeropage, zeropage),
			   quire_uffd_zeropage(c->u, r.range.start, r.range.len,
					       !(r.mode & UFFDIO_ZEROPAGE_MODE_DONTWAKE)), r.range.len);
}

/* Taking marks off lets those who wait for it go on; putting them on is nothing to wait for. */
static long uffd_writeprotect(struct userfaultfd *c, uintptr_t arg)
{
	struct uffd_writeprotect r;
	bool on, dontwake;
	int err;

	if (COPY_IN(r, arg))
		return -EFAULT;
	err = quire_uffd_check_range(c->u, r.range.start, r.range.len);
	if (err)
		return err;
	if (r.mode & ~(uint64_t)(UFFDIO_WRITEPROTECT_MODE_WP | UFFDIO_WRITEPROTECT_MODE_DONTWAKE))
		return -EINVAL;
	on = r.mode & UFFDIO_WRITEPROTECT_MODE_WP;
	dontwake = r.mode & UFFDIO_WRITEPROTECT_MODE_DONTWAKE;
	if (on && dontwake)
		return -EINVAL;
	return quire_uffd_writeprotect(c->u, r.range.start, r.range.len, on, !on && !dontwake);
}

static long uffd_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	struct userfaultfd *c = f->priv;

	if (cmd == UFFD_IOWR(NR_API, struct uffd_api))
		return uffd_api(c, arg);
	if (!is_ready(c))
		return -EINVAL;
	switch (cmd) {
	case UFFD_IOWR(NR_REGISTER, struct uffd_register):
		return uffd_register(c, arg);
	case UFFD_IOR(NR_UNREGISTER, struct uffd_range):
		return uffd_unregister(c, arg);
	case UFFD_IOR(NR_WAKE, struct uffd_range):
		return uffd_wake(c, arg);
	case UFFD_IOWR(NR_COPY, struct uffd_copy):
		return uffd_copy(c, arg);
	case UFFD_IOWR(NR_ZEROPAGE, struct uffd_zeropage):
		return uffd_zeropage(c, arg);
	case UFFD_IOWR(NR_WRITEPROTECT, struct uffd_writeprotect):
		return quire_uffd_has_wp() ? uffd_writeprotect(c, arg) : -EINVAL;
	default:
		return -EINVAL;
	}
}

static const struct file_ops userfaultfd_ops = {.read = uffd_read, .ioctl = uffd_ioctl, .poll = uffd_poll,
						.poll_head = uffd_poll_head, .release = uffd_release};

SYSCALL1(userfaultfd, unsigned, flags)
{
	struct userfaultfd *c;
	struct open_file *f;

	if (!quire_uffd_unprivileged() && !capable(CAP_SYS_PTRACE))
		return -EPERM;
	if (flags & ~(unsigned)(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	c = quire_kmalloc(sizeof(*c), QUIRE_GFP_ZERO);
	if (!c)
		return -ENOMEM;
	poll_head_init(&c->polls);
	c->u = quire_uffd_create(current->proc->mm, &core_ops, c);
	if (!c->u) {
		quire_kfree(c);
		return -ENOMEM;
	}
	f = anon_file("anon_inode:[userfaultfd]", &userfaultfd_ops, c, O_RDONLY | (flags & O_NONBLOCK));
	if (f)
		return file_install(f, flags);
	quire_uffd_release(c->u);
	return -ENOMEM;
}
