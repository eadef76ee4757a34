/* SPDX-License-Identifier: MIT */
/*
 * signalfd: signals that are read. A read takes those of its set that wait for the reader, whoever made the
 * file; they are to be blocked, or else they are delivered first.
 *
 * All such files have one list of watchers, which whoever sends a signal tells, if there is any such file.
 */
#include "kernel/kernel.h"

static unsigned files; /* atomic: of signalfd, anywhere */
static struct wait_head sent;
static struct poll_head polls = POLL_HEAD_INIT(polls);

void signalfd_tell(void)
{
	if (likely(!atomic_load_of(&files)))
		return;
	wake_all(&sent);
	poll_tell(&polls, POLLIN | POLLRDNORM);
}

/* <sys/signalfd.h> */
struct signalfd_siginfo {
	uint32_t signo;
	int32_t errno_, code;
	uint32_t pid, uid;
	int32_t fd;
	uint32_t tid, band, overrun, trapno;
	int32_t status, int_;
	uint64_t ptr, utime, stime, addr;
	uint16_t addr_lsb, pad2;
	int32_t syscall;
	uint64_t call_addr;
	uint32_t arch;
	uint8_t pad[28];
};
_Static_assert(sizeof(struct signalfd_siginfo) == 128, "struct signalfd_siginfo");

static uint64_t set_of(const struct open_file *f)
{
	return __atomic_load_n((const uint64_t *)f->priv, __ATOMIC_RELAXED);
}

static int put_info(uintptr_t dst, const struct hal_siginfo *si)
{
	struct signalfd_siginfo i = {.signo = (uint32_t)si->signo, .errno_ = si->errno_, .code = si->code,
				     .pid = (uint32_t)si->pid, .uid = (uint32_t)si->uid,
				     .status = si->status, .addr = si->addr};

	return COPY_OUT(dst, i);
}

static long signalfd_read(struct open_file *f, uintptr_t buf, size_t size, uint64_t *pos)
{
	const size_t one = sizeof(struct signalfd_siginfo);
	struct hal_siginfo si;
	size_t done = 0;

	if (size < one)
		return -EINVAL;
	while (size - done >= one) {
		if (!signal_take(set_of(f), &si)) {
			if (done)
				break;
			if (file_flags(f) & O_NONBLOCK)
				return -EAGAIN;
			if (wait_event(&sent, signal_take(set_of(f), &si), true, 0))
				return -ERESTARTSYS;
		}
		if (put_info(buf + done, &si))
			return done ? (long)done : -EFAULT;
		done += one;
	}
	return (long)done;
}

static unsigned signalfd_poll(struct open_file *f)
{
	return signals_waiting() & set_of(f) ? POLLIN | POLLRDNORM : 0;
}

static struct poll_head *signalfd_poll_head(struct open_file *f)
{
	return &polls;
}

static void signalfd_release(struct open_file *f)
{
	atomic_sub_of(&files, 1);
	quire_kfree(f->priv);
}

static const struct file_ops signalfd_ops = {.read = signalfd_read, .poll = signalfd_poll,
					     .poll_head = signalfd_poll_head,
					     .release = signalfd_release};

/* Another set for one that is there. */
static long change(int fd, uint64_t set)
{
	struct fd f = fdget(fd);
	long r = fd;

	if (!f.file)
		return -EBADF;
	if (f.file->ops == &signalfd_ops)
		__atomic_store_n((uint64_t *)f.file->priv, set, __ATOMIC_RELAXED);
	else
		r = -EINVAL;
	fdput(f);
	if (r >= 0) {
		wake_all(&sent);
		poll_tell(&polls, POLLIN | POLLRDNORM);
	}
	return r;
}

static long create(uint64_t set, unsigned flags)
{
	uint64_t *kept = quire_kmalloc(sizeof(*kept), 0);
	struct open_file *f;

	if (!kept)
		return -ENOMEM;
	*kept = set;
	f = anon_file("anon_inode:[signalfd]", &signalfd_ops, kept, O_RDWR | (flags & O_NONBLOCK));
	if (!f) {
		quire_kfree(kept);
		return -ENOMEM;
	}
	atomic_add_of(&files, 1);
	return file_install(f, flags);
}

static long do_signalfd(int fd, uintptr_t set_src, size_t size, unsigned flags)
{
	uint64_t set;

	if (size != sizeof(set))
		return -EINVAL;
	if (COPY_IN(set, set_src))
		return -EFAULT;
	if (flags & ~(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	set &= ~(sigbit(SIGKILL) | sigbit(SIGSTOP));
	return fd == -1 ? create(set, flags) : change(fd, set);
}

SYSCALL4(signalfd4, int, fd, uintptr_t, set, size_t, size, unsigned, flags)
{
	return do_signalfd(fd, set, size, flags);
}

SYSCALL3(signalfd, int, fd, uintptr_t, set, size_t, size)
{
	return do_signalfd(fd, set, size, 0);
}
