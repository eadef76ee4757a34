/* SPDX-License-Identifier: MIT */
/*
 * The replay table: a recording of real programs, compiled into steps that the replayer (replay.c)
 * takes one by one, on any machine. tools/compile_replay.py writes it, docs/replay.md explains it.
 *
 * A table is a file of little-endian words: this header, then the four arrays it points to, then
 * the steps. Offsets are bytes from the header and multiples of 8. Whoever reads a table checks
 * it first with rp_check(): nothing is replayed from a table that is not whole.
 */
#ifndef USER_REPLAY_H
#define USER_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#define RP_MAGIC "quire-replay 1\n" /* with its NUL the 16 bytes of the magic */

/* The hole that the recorded program never touches: everything of the replayer's lies in it. */
#define RP_HOLE_START 0x10000ul
#define RP_TABLE_ADDR 0x80000ul /* where an ELF maps the table (below it: code, data, stacks) */
#define RP_HOLE_END   0x400000ul

/* File descriptors: the recorded program's are renumbered by the compiler into [FIRST, LAST]. */
#define RP_FD_FIRST	 16
#define RP_FD_LAST	 191
#define RP_FD_COPY	 192	       /* and 193: the pipe for kernel copies */
#define RP_FD_SLOT(s)	 (200 + 2 * (s)) /* and + 1: the pipe that brings slot s its turn */
#define RP_MAX_SLOTS	 24
#define RP_MAX_PROCS	 4096

struct rp_header {
	char magic[16];
	uint32_t header_size;	 /* sizeof(struct rp_header) */
	uint32_t nprocs;	 /* processes; number 0 is the first */
	uint32_t nslots;	 /* most processes that are alive at once */
	uint32_t nfiles, nexecs, nruns;
	uint64_t procs_off;	 /* struct rp_proc[nprocs] */
	uint64_t files_off;	 /* struct rp_file[nfiles] */
	uint64_t runs_off;	 /* struct rp_run[nruns] */
	uint64_t execs_off;	 /* struct rp_exec[nexecs]; number 0 is the first program */
	uint64_t steps_off, steps_size;
};

struct rp_proc {
	uint16_t slot;	 /* no two processes alive at the same time share one */
	uint16_t parent; /* its own number for process 0 */
};

/* A file that the recorded program mapped: made anew, under the name f<number>. */
struct rp_file {
	uint64_t size;
	uint32_t first_run, runs; /* the pages that were cached: really written before the run */
};

struct rp_run {
	uint32_t page, count;
};

/* One program image. Its ELF is exec-<number>; heap is where its break starts. */
struct rp_exec {
	uint64_t heap;
};

/*
 * A step: this word, then `words` 64-bit words. proc is who takes it; the others wait.
 */
struct rp_step {
	uint8_t op, words;
	uint16_t proc;
	uint32_t aux;
};

enum rp_op {
	RP_FAULT = 1, /* aux RP_F_*; w0 the exact address */
	RP_CALL,      /* aux enum rp_call; words = 7: six arguments, the expected result */
	RP_FORK,      /* aux: number of the child; w0 clone flags (VM and VFORK count) */
	RP_EXEC,      /* aux: number of the program image */
	RP_EXIT,      /* aux: exit status, 0..255 */
	RP_WAIT,      /* aux: number of the child; directly after its RP_EXIT, so that it is gone */
	RP_VERIFY,    /* aux pages from w0 (page-aligned) each carry their pattern */
	RP_DIGEST,    /* aux enum rp_when: say what the maps and the present bits are */
	RP_OP_MAX
};

/* RP_FAULT: the access. A user access touches one byte. */
#define RP_F_READ   0u
#define RP_F_WRITE  1u
#define RP_F_FETCH  2u
#define RP_F_ACCESS 3u	/* mask of the three */
#define RP_F_KERNEL 4u	/* by the kernel: a copy of one byte through a pipe */
#define RP_F_MARK   8u	/* after a write: the page's first 8 bytes get its pattern */
#define RP_F_PLANT  16u /* before a fetch: store a return instruction there (page is writable) */
#define RP_F_REFUSED 32u /* the recorded program was refused this (a signal, EFAULT) */

/* The pattern of a page, 8 bytes at its start. */
#define RP_PATTERN(page_addr) ((uint64_t)(page_addr) ^ 0x5155495245000001ull)

/*
 * RP_CALL: the arguments are Linux's, in its order; file descriptors are renumbered ones, and an
 * address that the kernel chose is asked for with MAP_FIXED. The result is Linux's, errors as
 * negative errno. Nothing else than these is replayed.
 */
enum rp_call {
	RP_C_MMAP = 1, RP_C_MUNMAP, RP_C_MPROTECT, RP_C_MREMAP, RP_C_BRK, RP_C_MADVISE,
	RP_C_MLOCK, RP_C_MLOCK2, RP_C_MUNLOCK, RP_C_MLOCKALL, RP_C_MUNLOCKALL, RP_C_MSYNC,
	RP_C_OPEN,	/* file number, O_* flags, wanted descriptor; result: 0 */
	RP_C_MEMFD,	/* 0, 0, wanted descriptor; result: 0 */
	RP_C_DUP,	/* old, 0, new; result: 0 */
	RP_C_CLOSE, RP_C_FTRUNCATE, RP_C_FALLOCATE,
	RP_C_MAX
};

enum rp_when { RP_AT_EXEC = 1, RP_AT_FORK, RP_AT_EXIT, RP_AT_COUNT };

/*
 * Checks a table of n bytes: every offset, count, number and step. Returns NULL if it is whole,
 * else what is wrong; *where then is the byte offset of it.
 */
const char *rp_check(const void *table, size_t n, uint64_t *where);

#endif
