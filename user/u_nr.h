/* SPDX-License-Identifier: MIT */
/*
 * Numbers of Linux's interface that the user programs need: system calls by architecture, and a
 * few constants that are the same everywhere. The fake machine speaks x86-64's numbers.
 */
#ifndef USER_U_NR_H
#define USER_U_NR_H

#include "user/arch.h"

/* NR_read, NR_write ... */
#pragma push_macro("SYS_ARCH")
#undef SYS_ARCH
#define SYS_ARCH U_SYS_ARCH
#define SYS(nr, name) NR_##name = nr,
enum u_nr {
#include "arch/common/syscall_table.h"
};
#undef SYS
#pragma pop_macro("SYS_ARCH")

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
#define U_MAP_LOCKED	       0x2000l
#define U_MAP_POPULATE	       0x8000l
#define U_MAP_FIXED_NOREPLACE  0x100000l
#define U_MREMAP_MAYMOVE       1l
#define U_MREMAP_FIXED	       2l
#define U_MADV_DONTNEED	       4l
#define U_MADV_FREE	       8l

/* open, fcntl */
#define U_O_RDONLY  0l
#define U_O_WRONLY  1l
#define U_O_RDWR    2l
#define U_O_CREAT   0100l
#define U_O_TRUNC   01000l
#define U_F_DUPFD   0l
#define U_F_ADD_SEALS 1033l

#endif
