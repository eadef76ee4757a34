/* SPDX-License-Identifier: MIT */
/*
 * Writing a system-call handler: the SYSCALLn macros, arguments out of user memory and
 * results into it, and the shapes that the machines' user ABIs do not share (abi.c).
 */
#ifndef KERNEL_SYSCALL_H
#define KERNEL_SYSCALL_H

#include "arch/hal_kernel.h"
#include "lib/string.h"
#include <quire/abi.h>
#include <quire/quire.h>

/*
 * A handler: SYSCALL3(read, int, fd, uintptr_t, buf, size_t, n) { ... } has its arguments by name
 * and type. The dispatcher calls call_read(), which takes them out of the six registers; another
 * handler may call sys_read().
 */
#define SYSCALL_AS(name, parameters, ...)                                              \
	long call_##name(const unsigned long *a);                                       \
	static inline long sys_##name parameters;                                       \
	long call_##name(const unsigned long *a)                                        \
	{                                                                               \
		return sys_##name(__VA_ARGS__);                                         \
	}                                                                               \
	static inline long sys_##name parameters
#define SYSCALL0(name) SYSCALL_AS(name, (void))
#define SYSCALL1(name, t0, n0) SYSCALL_AS(name, (t0 n0), (t0)a[0])
#define SYSCALL2(name, t0, n0, t1, n1) SYSCALL_AS(name, (t0 n0, t1 n1), (t0)a[0], (t1)a[1])
#define SYSCALL3(name, t0, n0, t1, n1, t2, n2)                                         \
	SYSCALL_AS(name, (t0 n0, t1 n1, t2 n2), (t0)a[0], (t1)a[1], (t2)a[2])
#define SYSCALL4(name, t0, n0, t1, n1, t2, n2, t3, n3)                                 \
	SYSCALL_AS(name, (t0 n0, t1 n1, t2 n2, t3 n3), (t0)a[0], (t1)a[1], (t2)a[2], (t3)a[3])
#define SYSCALL5(name, t0, n0, t1, n1, t2, n2, t3, n3, t4, n4)                         \
	SYSCALL_AS(name, (t0 n0, t1 n1, t2 n2, t3 n3, t4 n4), (t0)a[0], (t1)a[1],       \
		   (t2)a[2], (t3)a[3], (t4)a[4])
#define SYSCALL6(name, t0, n0, t1, n1, t2, n2, t3, n3, t4, n4, t5, n5)                 \
	SYSCALL_AS(name, (t0 n0, t1 n1, t2 n2, t3 n3, t4 n4, t5 n5), (t0)a[0], (t1)a[1], \
		   (t2)a[2], (t3)a[3], (t4)a[4], (t5)a[5])
#define COPY_IN(dst, src)  (hal_copy_from_user(&(dst), (src), sizeof(dst)) ? -EFAULT : 0)
#define COPY_OUT(dst, src) (hal_copy_to_user((dst), &(src), sizeof(src)) ? -EFAULT : 0)

/* To the user's memory, or the kernel's own. Bytes that were not copied. */
static inline size_t put_bytes(uintptr_t dst, const void *src, size_t n, bool user)
{
	if (user)
		return hal_copy_to_user(dst, src, n);
	memcpy((void *)dst, src, n);
	return 0;
}

static inline size_t get_bytes(void *dst, uintptr_t src, size_t n, bool user)
{
	if (user)
		return hal_copy_from_user(dst, src, n);
	memcpy(dst, (const void *)src, n);
	return 0;
}

/* A user string into buf. Length, -EFAULT or -ENAMETOOLONG. */
long copy_string(char *buf, uintptr_t src, size_t size);

/* ---- sysmem.c -------------------------------------------------------------------------------- */

/* What a mapping with these rights gets, by the caller's personality. */
unsigned long implied_prot(unsigned long prot);

/* ---- time.c ---------------------------------------------------------------------------------- */

/* The user's struct timespec, in ns; a very long one is cut to what cannot overflow. 0, -EFAULT, -EINVAL. */
int get_timespec(uintptr_t src, uint64_t *ns);
/* 0 or -EFAULT. */
int put_timespec(uintptr_t dst, uint64_t ns);
/* What CLOCK_REALTIME is ahead of the time since boot, ns. */
uint64_t realtime_offset(void);
/* The time of the day, ns since 1970. */
uint64_t realtime_ns(void);
/* A time of that clock as time since boot, where 0 would say never. */
uint64_t clock_to_boot(unsigned long id, uint64_t at);
/* The machine's clock of the day is asked. Boot. */
void realtime_init(void);

#define MAX_IOV 1024 /* of them in one call, as Linux has it */

struct iovec {
	uint64_t base, len;
};

/* siginfo as a call returns it: the members of a signal that a process sent. */
struct user_siginfo {
	int32_t signo, errno_, code, pad, pid, uid;
	union {
		int32_t status;
		uint64_t value;
	};
	int32_t rest[24];
};
_Static_assert(sizeof(struct user_siginfo) == 128, "siginfo_t");

/* ---- abi.c ----------------------------------------------------------------------------------- */

/* Where the machines' user ABIs differ in more than numbers (abi.c). */
struct stat_info {
	uint64_t dev, ino, rdev, size, blocks, mtime_ns;
	uint32_t mode, nlink;
};
int abi_put_stat(uintptr_t dst, const struct stat_info *s);
int abi_get_sigaction(uintptr_t src, struct hal_sigaction *sa);
int abi_put_sigaction(uintptr_t dst, const struct hal_sigaction *sa);
struct epoll_event {
	uint32_t events;
	uint64_t data;
};
size_t abi_epoll_event_size(void);
int abi_get_epoll_event(uintptr_t src, struct epoll_event *e);
int abi_put_epoll_event(uintptr_t dst, const struct epoll_event *e);
/* clone()'s thread pointer and child-tid arguments, which one of them swaps. */
void abi_clone_args(unsigned long arg3, unsigned long arg4, unsigned long *tls,
		    unsigned long *ctid);
/* The call that a signal handler's end makes, mapped for programs that bring none: its address. */
unsigned long abi_map_sigreturn(struct quire_mm *mm);
/* Before the first program, and after the last. */
void abi_init(void);
void abi_exit(void);

#endif
