/* SPDX-License-Identifier: MIT */
/*
 * pidfd: a descriptor that names a process, and no other once that is gone. It can be read when the process
 * has ended.
 */
#include "kernel/kernel.h"

static struct poll_head ended = POLL_HEAD_INIT(ended); /* of all: one of them looks at its own */

void pidfd_tell(void)
{
	poll_tell(&ended, POLLIN | POLLRDNORM);
}

static unsigned pidfd_poll(struct open_file *f)
{
	struct process *p = f->priv;

	return __atomic_load_n(&p->zombie, __ATOMIC_ACQUIRE) ? POLLIN | POLLRDNORM : 0;
}

static struct poll_head *pidfd_poll_head(struct open_file *f)
{
	return &ended;
}

static void pidfd_release(struct open_file *f)
{
	process_put(f->priv);
}

static const struct file_ops pidfd_ops = {.poll = pidfd_poll, .poll_head = pidfd_poll_head,
					  .release = pidfd_release};

int pidfd_process(int fd, struct process **p)
{
	struct fd f = fdget(fd);
	irqflags_t flags;
	bool there;

	if (!f.file || f.file->ops != &pidfd_ops) {
		if (f.file)
			fdput(f);
		return -EBADF;
	}
	*p = f.file->priv;
	spin_lock_irqsave(&tasks_lock, flags);
	there = find_process((*p)->pid) == *p; /* not waited for yet */
	spin_unlock_irqrestore(&tasks_lock, flags);
	if (there)
		process_get(*p);
	fdput(f);
	return there ? 0 : -ESRCH;
}

/* A thread that is not its process's first is no process: -EINVAL. */
SYSCALL2(pidfd_open, int, pid, unsigned, flags)
{
	struct process *p;
	struct open_file *f;
	irqflags_t irq;
	bool thread;

	if (flags & ~(unsigned)O_NONBLOCK || pid <= 0)
		return -EINVAL;
	p = process_get_pid(pid);
	if (!p) {
		spin_lock_irqsave(&tasks_lock, irq);
		thread = find_task(pid);
		spin_unlock_irqrestore(&tasks_lock, irq);
		return thread ? -EINVAL : -ESRCH;
	}
	f = anon_file("anon_inode:[pidfd]", &pidfd_ops, p, O_RDWR | (flags & O_NONBLOCK));
	if (f)
		return file_install(f, O_CLOEXEC);
	process_put(p);
	return -ENOMEM;
}

SYSCALL4(pidfd_send_signal, int, fd, int, sig, uintptr_t, info, unsigned, flags)
{
	struct process *p;
	long err;

	if (flags)
		return -EINVAL;
	err = pidfd_process(fd, &p);
	if (err)
		return err;
	err = signal_by_pidfd(p, sig, info);
	process_put(p);
	return err;
}
