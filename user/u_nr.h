/* SPDX-License-Identifier: MIT */
/*
 * Numbers of Linux's interface that the user programs need: system calls by architecture, and a
 * few constants that are the same everywhere. The fake machine speaks x86-64's numbers.
 */
#ifndef USER_U_NR_H
#define USER_U_NR_H

/*          name           x86-64  riscv64 (the generic table) */
#if defined(__x86_64__)
#define NR(x86, generic) (x86)
#elif defined(__riscv)
#define NR(x86, generic) (generic)
#else
#error "no system call numbers for this architecture"
#endif

enum u_nr {
	NR_read = NR(0, 63),
	NR_write = NR(1, 64),
	NR_close = NR(3, 57),
	NR_mmap = NR(9, 222),
	NR_mprotect = NR(10, 226),
	NR_munmap = NR(11, 215),
	NR_brk = NR(12, 214),
	NR_rt_sigaction = NR(13, 134),
	NR_rt_sigreturn = NR(15, 139),
	NR_pread64 = NR(17, 67),
	NR_pwrite64 = NR(18, 68),
	NR_mremap = NR(25, 216),
	NR_msync = NR(26, 227),
	NR_mincore = NR(27, 232),
	NR_madvise = NR(28, 233),
	NR_sched_yield = NR(24, 124),
	NR_setitimer = NR(38, 103),
	NR_getpid = NR(39, 172),
	NR_clone = NR(56, 220),
	NR_execve = NR(59, 221),
	NR_wait4 = NR(61, 260),
	NR_uname = NR(63, 160),
	NR_fcntl = NR(72, 25),
	NR_ftruncate = NR(77, 46),
	NR_mkdirat = NR(258, 34),
	NR_getrusage = NR(98, 165),
	NR_capset = NR(126, 91),
	NR_sigaltstack = NR(131, 132),
	NR_mlock = NR(149, 228),
	NR_munlock = NR(150, 229),
	NR_mlockall = NR(151, 230),
	NR_munlockall = NR(152, 231),
	NR_prctl = NR(157, 167),
	NR_mount = NR(165, 40),
	NR_swapon = NR(167, 224),
	NR_swapoff = NR(168, 225),
	NR_reboot = NR(169, 142),
	NR_remap_file_pages = NR(216, 234),
	NR_exit_group = NR(231, 94),
	NR_openat = NR(257, 56),
	NR_unlinkat = NR(263, 35),
	NR_fallocate = NR(285, 47),
	NR_dup3 = NR(292, 24),
	NR_pipe2 = NR(293, 59),
	NR_prlimit64 = NR(302, 261),
	NR_memfd_create = NR(319, 279),
	NR_mlock2 = NR(325, 284),
};

#define U_AT_FDCWD (-100l)
#define U_SIGCHLD  17

/* errno */
#define U_EINTR	 4
#define U_EBADF	 9
#define U_ECHILD 10
#define U_EAGAIN 11
#define U_EFBIG	 27
#define U_EINVAL 22
#define U_ENOSYS 38

/* mmap */
#define U_PROT_READ	       1l
#define U_PROT_WRITE	       2l
#define U_PROT_EXEC	       4l
#define U_MAP_SHARED	       1l
#define U_MAP_PRIVATE	       2l
#define U_MAP_FIXED	       0x10l
#define U_MAP_ANONYMOUS	       0x20l
#define U_MAP_POPULATE	       0x8000l
#define U_MAP_FIXED_NOREPLACE  0x100000l
#define U_MREMAP_MAYMOVE       1l
#define U_MREMAP_FIXED	       2l
#define U_MADV_DONTNEED	       4l

/* open, fcntl */
#define U_O_RDONLY  0l
#define U_O_WRONLY  1l
#define U_O_RDWR    2l
#define U_O_CREAT   0100l
#define U_O_TRUNC   01000l
#define U_F_DUPFD   0l
#define U_F_ADD_SEALS 1033l

#endif
