/* SPDX-License-Identifier: MIT */
/*
 * Linux's numbers, once for the whole project: errors, signals, memory calls, files, processes.
 * What a user program passes to a system call or gets back from one. No dependencies, nothing but
 * macros, the same values on every architecture built here: x86-64 and RISC-V differ in none of
 * them, only in which they know at all (said where it is so).
 *
 * A hosted program may use libc's headers beside this one, if it includes them first: each group
 * stands back where the header of libc that has it was there before. <quire/quire.h> does not
 * include this file, so a program that has the numbers from libc does not need it.
 */
#ifndef QUIRE_ABI_H
#define QUIRE_ABI_H

/* <errno.h> */
#ifndef EPERM
#define EPERM		1
#define ENOENT		2
#define ESRCH		3
#define EINTR		4
#define EIO		5
#define ENXIO		6
#define E2BIG		7
#define ENOEXEC		8
#define EBADF		9
#define ECHILD		10
#define EAGAIN		11
#define ENOMEM		12
#define EACCES		13
#define EFAULT		14
#define ENOTBLK		15
#define EBUSY		16
#define EEXIST		17
#define EXDEV		18
#define ENODEV		19
#define ENOTDIR		20
#define EISDIR		21
#define EINVAL		22
#define ENFILE		23
#define EMFILE		24
#define ENOTTY		25
#define ETXTBSY		26
#define EFBIG		27
#define ENOSPC		28
#define ESPIPE		29
#define EROFS		30
#define EMLINK		31
#define EPIPE		32
#define EDOM		33
#define ERANGE		34
#define EDEADLK		35
#define ENAMETOOLONG	36
#define ENOSYS		38
#define ENOTEMPTY	39
#define ELOOP		40
#define EOVERFLOW	75
#define ELIBBAD		80
#define ENOTSOCK	88
#define EMSGSIZE	90
#define EPROTOTYPE	91
#define ENOPROTOOPT	92
#define EPROTONOSUPPORT	93
#define ESOCKTNOSUPPORT	94
#define EOPNOTSUPP	95
#define EAFNOSUPPORT	97
#define EADDRINUSE	98
#define ECONNRESET	104
#define EISCONN		106
#define ENOTCONN	107
#define ECONNREFUSED	111
#define ETIMEDOUT	110
#define EUCLEAN		117
#endif

/* Inside a kernel only: run the system call again, or answer EINTR. */
#define ERESTARTSYS	512
#define ERESTARTNOINTR	513

/* <sys/mman.h> */
#ifndef PROT_READ
#define PROT_NONE	0x0
#define PROT_READ	0x1
#define PROT_WRITE	0x2
#define PROT_EXEC	0x4
#define PROT_SEM	0x8
#define PROT_GROWSDOWN	0x01000000
#define PROT_GROWSUP	0x02000000

#define MAP_SHARED		0x01
#define MAP_PRIVATE		0x02
#define MAP_SHARED_VALIDATE	0x03
#define MAP_TYPE		0x0f
#define MAP_FIXED		0x10
#define MAP_ANONYMOUS		0x20
#define MAP_32BIT		0x40 /* x86-64 only: where pte.h defines ARCH_MAP_32BIT */
#define MAP_GROWSDOWN		0x0100
#define MAP_DENYWRITE		0x0800
#define MAP_EXECUTABLE		0x1000
#define MAP_LOCKED		0x2000
#define MAP_NORESERVE		0x4000
#define MAP_POPULATE		0x8000
#define MAP_NONBLOCK		0x10000
#define MAP_STACK		0x20000
#define MAP_HUGETLB		0x40000
#define MAP_SYNC		0x80000
#define MAP_FIXED_NOREPLACE	0x100000
#define MAP_HUGE_SHIFT		26
#define MAP_HUGE_MASK		0x3f

#define MREMAP_MAYMOVE		1
#define MREMAP_FIXED		2
#define MREMAP_DONTUNMAP	4

#define MADV_NORMAL		0
#define MADV_RANDOM		1
#define MADV_SEQUENTIAL		2
#define MADV_WILLNEED		3
#define MADV_DONTNEED		4
#define MADV_FREE		8
#define MADV_REMOVE		9
#define MADV_DONTFORK		10
#define MADV_DOFORK		11
#define MADV_MERGEABLE		12
#define MADV_UNMERGEABLE	13
#define MADV_HUGEPAGE		14
#define MADV_NOHUGEPAGE		15
#define MADV_DONTDUMP		16
#define MADV_DODUMP		17
#define MADV_WIPEONFORK		18
#define MADV_KEEPONFORK		19
#define MADV_COLD		20
#define MADV_PAGEOUT		21

#define MS_ASYNC	1
#define MS_INVALIDATE	2
#define MS_SYNC		4

#define MS_RDONLY 1 /* mount() */

#define SYNC_FILE_RANGE_WAIT_BEFORE 1u
#define SYNC_FILE_RANGE_WRITE	    2u
#define SYNC_FILE_RANGE_WAIT_AFTER  4u

#define MLOCK_ONFAULT	0x01
#define MCL_CURRENT	1
#define MCL_FUTURE	2
#define MCL_ONFAULT	4

#define MFD_CLOEXEC		0x1
#define MFD_ALLOW_SEALING	0x2
#define MFD_HUGETLB		0x4
#endif

/* <signal.h> */
#ifndef SIGHUP
#define SIGHUP		1
#define SIGINT		2
#define SIGQUIT		3
#define SIGILL		4
#define SIGTRAP		5
#define SIGABRT		6
#define SIGBUS		7
#define SIGFPE		8
#define SIGKILL		9
#define SIGSEGV		11
#define SIGPIPE		13
#define SIGALRM		14
#define SIGCHLD		17
#define SIGCONT		18
#define SIGSTOP		19
#define SIGTSTP		20
#define SIGTTIN		21
#define SIGTTOU		22
#define SIGURG		23
#define SIGWINCH	28
#define SIGXFSZ		25
#define SIGVTALRM	26
#define SIGPROF		27
#define SIGSYS		31

#define SI_USER		0
#define SI_KERNEL	0x80
#define SI_QUEUE	(-1)
#define SI_TIMER	(-2)
#define SI_TKILL	(-6)
#define ILL_ILLOPC	1
#define ILL_ILLOPN	2
#define FPE_FLTDIV	3
#define FPE_FLTOVF	4
#define FPE_FLTUND	5
#define FPE_FLTRES	6
#define FPE_FLTINV	7
#define SEGV_MAPERR	1
#define SEGV_ACCERR	2
#define BUS_ADRALN	1
#define BUS_ADRERR	2
#define TRAP_BRKPT	1
#define TRAP_TRACE	2
#define CLD_EXITED	1
#define CLD_KILLED	2
#define CLD_STOPPED	5
#define CLD_CONTINUED	6

#define SIG_DFL		0ul
#define SIG_IGN		1ul
#define SIG_BLOCK	0
#define SIG_UNBLOCK	1
#define SIG_SETMASK	2

#define SA_NOCLDSTOP	0x1ul
#define SA_NOCLDWAIT	0x2ul
#define SA_SIGINFO	0x4ul
#define SA_RESTORER	0x04000000ul /* x86-64 only */
#define SA_ONSTACK	0x08000000ul
#define SA_RESTART	0x10000000ul
#define SA_NODEFER	0x40000000ul
#define SA_RESETHAND	0x80000000ul

#define SS_ONSTACK	1
#define SS_DISABLE	2
#define MINSIGSTKSZ	2048
#endif

#ifndef SIGEV_SIGNAL
#define SIGEV_SIGNAL	0
#define SIGEV_NONE	1
#define SIGEV_THREAD_ID	4
#endif

/* <fcntl.h>, <sys/stat.h> */
#ifndef O_ACCMODE
#define O_ACCMODE	03
#define O_RDONLY	00
#define O_WRONLY	01
#define O_RDWR		02
#define O_CREAT		0100
#define O_EXCL		0200
#define O_TRUNC		01000
#define O_APPEND	02000
#define O_NONBLOCK	04000
#define O_DSYNC		010000
#define O_DIRECT	040000
#define O_DIRECTORY	0200000
#define O_NOFOLLOW	0400000
#define O_CLOEXEC	02000000
#define O_SYNC		04010000 /* a bit of its own, and O_DSYNC */
#define O_PATH		010000000
#define O_TMPFILE	020200000

#define AT_FDCWD		(-100)
#define AT_SYMLINK_NOFOLLOW	0x100
#define AT_REMOVEDIR		0x200
#define AT_SYMLINK_FOLLOW	0x400
#define AT_EMPTY_PATH		0x1000

#define F_DUPFD		0
#define F_GETFD		1
#define F_SETFD		2
#define F_GETFL		3
#define F_SETFL		4
#define F_GETLK		5
#define F_SETLK		6
#define F_SETLKW	7
#define F_OFD_GETLK	36
#define F_OFD_SETLK	37
#define F_OFD_SETLKW	38
#define F_RDLCK		0
#define F_WRLCK		1
#define F_UNLCK		2
#define F_DUPFD_CLOEXEC	1030
#define F_SETPIPE_SZ	1031
#define F_GETPIPE_SZ	1032
#define F_ADD_SEALS	1033
#define F_GET_SEALS	1034
#define FD_CLOEXEC	1

#define F_SEAL_SEAL		0x0001
#define F_SEAL_SHRINK		0x0002
#define F_SEAL_GROW		0x0004
#define F_SEAL_WRITE		0x0008
#define F_SEAL_FUTURE_WRITE	0x0010

#define LOCK_SH		1
#define LOCK_EX		2
#define LOCK_NB		4
#define LOCK_UN		8

#define FALLOC_FL_KEEP_SIZE	0x01
#define FALLOC_FL_PUNCH_HOLE	0x02
#define POSIX_FADV_NORMAL	0
#define POSIX_FADV_RANDOM	1
#define POSIX_FADV_SEQUENTIAL	2
#define POSIX_FADV_WILLNEED	3
#define POSIX_FADV_DONTNEED	4
#define POSIX_FADV_NOREUSE	5

#define S_IFMT	0170000
#define S_IFIFO	0010000
#define S_IFCHR	0020000
#define S_IFDIR	0040000
#define S_IFBLK	0060000
#define S_IFREG	0100000
#define S_IFLNK	0120000
#define S_IFSOCK	0140000
#endif

/* <linux/fs.h> */
#ifndef RWF_HIPRI
#define RWF_HIPRI	0x01
#define RWF_DSYNC	0x02
#define RWF_SYNC	0x04
#define RWF_NOWAIT	0x08
#define RWF_APPEND	0x10
#endif

/* <sys/socket.h> */
#ifndef AF_UNIX
#define AF_UNIX		1
#define SOCK_STREAM	1
#define SOCK_DGRAM	2
#define SOCK_RAW	3
#define SOCK_SEQPACKET	5
#define SHUT_RD		0
#define SHUT_WR		1
#define SHUT_RDWR	2
#define SOL_SOCKET	1
#define SO_REUSEADDR	2
#define SO_TYPE		3
#define SO_ERROR	4
#define SO_SNDBUF	7
#define SO_RCVBUF	8
#define SO_KEEPALIVE	9
#define SO_PASSCRED	16
#define SO_PEERCRED	17
#define SO_RCVTIMEO	20
#define SO_SNDTIMEO	21
#define SO_ACCEPTCONN	30
#define SO_PROTOCOL	38
#define SO_DOMAIN	39
#define SCM_RIGHTS	1
#define SCM_CREDENTIALS 2
#define MSG_OOB		0x1
#define MSG_PEEK	0x2
#define MSG_CTRUNC	0x8
#define MSG_TRUNC	0x20
#define MSG_DONTWAIT	0x40
#define MSG_WAITALL	0x100
#define MSG_NOSIGNAL	0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#endif

/* <stdio.h>, <unistd.h> */
#ifndef SEEK_SET
#define SEEK_SET	0
#define SEEK_CUR	1
#define SEEK_END	2
#define SEEK_DATA	3
#define SEEK_HOLE	4
#endif

/* <stdio.h>, with GNU extensions */
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE	1
#endif

/* <unistd.h> */
#ifndef X_OK
#define X_OK	1
#define W_OK	2
#define R_OK	4
#endif

/* <poll.h> */
#ifndef POLLIN
#define POLLIN		0x001
#define POLLOUT		0x004
#define POLLERR		0x008
#define POLLHUP		0x010
#define POLLNVAL	0x020
#endif
#ifndef POLLRDNORM
#define POLLRDNORM	0x040
#define POLLWRNORM	0x100
#endif
#ifndef POLLPRI
#define POLLPRI		0x002
#endif
#ifndef POLLRDHUP
#define POLLRDHUP	0x2000
#endif

/* <sys/epoll.h>, with the bits above EPOLLEXCLUSIVE */
#ifndef EPOLL_CTL_ADD
#define EPOLL_CTL_ADD	1
#define EPOLL_CTL_DEL	2
#define EPOLL_CTL_MOD	3
#define EPOLLEXCLUSIVE	(1u << 28)
#define EPOLLWAKEUP	(1u << 29)
#define EPOLLONESHOT	(1u << 30)
#define EPOLLET		(1u << 31)
#endif

/* <sys/eventfd.h>, <sys/timerfd.h>; their other flags are those of open() */
#ifndef EFD_SEMAPHORE
#define EFD_SEMAPHORE	1
#endif
#ifndef TFD_TIMER_ABSTIME
#define TFD_TIMER_ABSTIME	 1
#define TFD_TIMER_CANCEL_ON_SET 2
#endif

/* <linux/userfaultfd.h> */
#ifndef UFFD_API
#define UFFD_API		  0xaaull
#define UFFD_EVENT_PAGEFAULT	  0x12
#define UFFD_PAGEFAULT_FLAG_WRITE 1ull
#define UFFD_PAGEFAULT_FLAG_WP	  2ull
#define UFFD_FEATURE_PAGEFAULT_FLAG_WP (1u << 0)
#define UFFD_FEATURE_MISSING_SHMEM     (1u << 5)
#define UFFD_FEATURE_SIGBUS	       (1u << 7)
#define UFFD_FEATURE_THREAD_ID	       (1u << 8)
#define UFFDIO_REGISTER_MODE_MISSING   1u
#define UFFDIO_REGISTER_MODE_WP	       2u
#define UFFDIO_COPY_MODE_DONTWAKE      1u
#define UFFDIO_COPY_MODE_WP	       2u
#define UFFDIO_ZEROPAGE_MODE_DONTWAKE  1u
#define UFFDIO_WRITEPROTECT_MODE_WP    1u
#define UFFDIO_WRITEPROTECT_MODE_DONTWAKE 2u
#endif

/* <sys/resource.h> */
#ifndef RLIM_INFINITY
#define RLIMIT_CPU	0
#define RLIMIT_FSIZE	1
#define RLIMIT_DATA	2
#define RLIMIT_STACK	3
#define RLIMIT_CORE	4
#define RLIMIT_RSS	5
#define RLIMIT_NPROC	6
#define RLIMIT_NOFILE	7
#define RLIMIT_MEMLOCK	8
#define RLIMIT_AS	9
#define RLIMIT_SIGPENDING 11
#define RLIMIT_NICE	13
#define RLIM_NLIMITS	16
#define RLIM_INFINITY	(~0ull)

#define RUSAGE_SELF	0
#define RUSAGE_CHILDREN	(-1)
#define RUSAGE_THREAD	1
#endif

/* <linux/capability.h> */
#ifndef CAP_LAST_CAP
#define CAP_SETGID	6
#define CAP_SETUID	7
#define CAP_IPC_LOCK			14
#define CAP_IPC_OWNER			15
#define CAP_SYS_RAWIO			17
#define CAP_SYS_ADMIN			21
#define CAP_SYS_PTRACE			19
#define CAP_SYS_NICE			23
#define CAP_SYS_TIME			25
#define CAP_SYS_RESOURCE		24
#define CAP_LAST_CAP			40
#define _LINUX_CAPABILITY_VERSION_3	0x20080522
#endif

/* <sys/wait.h> */
#ifndef WNOHANG
#define WNOHANG		1
#define WSTOPPED	2
#define WEXITED		4
#define WCONTINUED	8
#define WNOWAIT		0x01000000
#define __WNOTHREAD	0x20000000
#define __WALL		0x40000000
#define __WCLONE	0x80000000
#endif

/* <sched.h> */
#ifndef CLONE_VM
#define CLONE_VM		0x00000100
#define CLONE_FS		0x00000200
#define CLONE_FILES		0x00000400
#define CLONE_SIGHAND		0x00000800
#define CLONE_VFORK		0x00004000
#define CLONE_PARENT		0x00008000
#define CLONE_THREAD		0x00010000
#define CLONE_NEWNS		0x00020000
#define CLONE_SETTLS		0x00080000
#define CLONE_PARENT_SETTID	0x00100000
#define CLONE_CHILD_CLEARTID	0x00200000
#define CLONE_CHILD_SETTID	0x01000000
#define CLONE_NEWCGROUP		0x02000000
#define CLONE_NEWUTS		0x04000000
#define CLONE_NEWIPC		0x08000000
#define CLONE_NEWUSER		0x10000000
#define CLONE_NEWPID		0x20000000
#define CLONE_NEWNET		0x40000000
#endif

/* <linux/futex.h> */
#ifndef FUTEX_WAIT
#define FUTEX_WAIT		0
#define FUTEX_WAKE		1
#define FUTEX_REQUEUE		3
#define FUTEX_CMP_REQUEUE	4
#define FUTEX_LOCK_PI		6
#define FUTEX_UNLOCK_PI		7
#define FUTEX_TRYLOCK_PI	8
#define FUTEX_WAIT_BITSET	9
#define FUTEX_WAKE_BITSET	10
#define FUTEX_PRIVATE_FLAG	128
#define FUTEX_CLOCK_REALTIME	256
#define FUTEX_WAITERS		0x80000000
#define FUTEX_OWNER_DIED	0x40000000
#define FUTEX_TID_MASK		0x3fffffff
#endif

/* <time.h> */
#ifndef CLOCK_REALTIME
#define CLOCK_REALTIME			0
#define CLOCK_MONOTONIC			1
#define CLOCK_PROCESS_CPUTIME_ID	2
#define CLOCK_THREAD_CPUTIME_ID		3
#define CLOCK_REALTIME_COARSE		5
#define CLOCK_BOOTTIME			7
#define CLOCK_REALTIME_ALARM		8
#define CLOCK_BOOTTIME_ALARM		9
#define CLOCK_TAI			11
#define TIMER_ABSTIME			1
#endif

/* <sys/time.h> */
#ifndef ITIMER_REAL
#define ITIMER_REAL	0
#define ITIMER_VIRTUAL	1
#define ITIMER_PROF	2
#endif

/* <sys/prctl.h> */
#ifndef PR_SET_NAME
#define PR_SET_PDEATHSIG	1
#define PR_GET_DUMPABLE		3
#define PR_SET_DUMPABLE		4
#define PR_SET_NAME		15
#define PR_GET_NAME		16
#define PR_CAPBSET_READ		23
#define PR_CAPBSET_DROP		24
#define PR_SET_MM		35
#define PR_SET_MM_START_DATA	3
#define PR_SET_MM_END_DATA	4
#define PR_SET_MM_START_BRK	6
#define PR_SET_MM_BRK		7
#define PR_SET_NO_NEW_PRIVS	38
#endif

/* <sys/random.h> */
#ifndef GRND_NONBLOCK
#define GRND_NONBLOCK	0x01
#define GRND_RANDOM	0x02
#define GRND_INSECURE	0x04
#endif

/* <sys/ioctl.h> */
#ifndef TCGETS
#define TCGETS		0x5401
#define TCSETS		0x5402
#define TCSETSW		0x5403
#define TCSETSF		0x5404
#define TIOCSCTTY	0x540e
#define TIOCGPGRP	0x540f
#define TIOCSPGRP	0x5410
#define TIOCGWINSZ	0x5413
#define TIOCOUTQ	0x5411
#define FIONREAD	0x541b
#define FIONBIO		0x5421
#define FIONCLEX	0x5450
#define FIOCLEX		0x5451
#define FIOASYNC	0x5452
#endif

/* <linux/fs.h> */
#ifndef BLKROGET
#define BLKROGET		0x125e
#define BLKGETSIZE		0x1260
#define BLKFLSBUF		0x1261
#define BLKSSZGET		0x1268
#define BLKGETSIZE64		0x80081272
#endif

/* <linux/reboot.h> */
#ifndef LINUX_REBOOT_MAGIC1
#define LINUX_REBOOT_MAGIC1		0xfee1dead
#define LINUX_REBOOT_CMD_RESTART	0x01234567
#define LINUX_REBOOT_CMD_HALT		0xcdef0123
#define LINUX_REBOOT_CMD_POWER_OFF	0x4321fedc
#endif

/* <linux/mempolicy.h> */
#ifndef MPOL_F_STATIC_NODES
#define MPOL_DEFAULT		0
#define MPOL_PREFERRED		1
#define MPOL_INTERLEAVE		3
#define MPOL_LOCAL		4
#define MPOL_MAX		5 /* 5.10's: later kernels have more modes */
#define MPOL_F_STATIC_NODES	(1 << 15)
#define MPOL_F_RELATIVE_NODES	(1 << 14)
#define MPOL_MODE_FLAGS		(MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)
#define MPOL_F_NODE		(1 << 0)
#define MPOL_F_ADDR		(1 << 1)
#define MPOL_F_MEMS_ALLOWED	(1 << 2)
#define MPOL_MF_STRICT		(1 << 0)
#define MPOL_MF_MOVE		(1 << 1)
#define MPOL_MF_MOVE_ALL	(1 << 2)
#endif

/* <linux/personality.h> */
#ifndef UNAME26
#define UNAME26			0x0020000
#define ADDR_NO_RANDOMIZE	0x0040000
#define MMAP_PAGE_ZERO		0x0100000
#define ADDR_COMPAT_LAYOUT	0x0200000
#define READ_IMPLIES_EXEC	0x0400000
#endif

/* <linux/elf-em.h> */
#ifndef EM_X86_64
#define EM_X86_64	62
#define EM_RISCV	243
#endif

/* <linux/magic.h> */
#ifndef TMPFS_MAGIC
#define TMPFS_MAGIC	0x01021994
#endif

#endif
