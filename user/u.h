/* SPDX-License-Identifier: MIT */
/*
 * The one view that a user program of ours has of its machine. Two implementations: u_linux.c for
 * every machine with Linux's system calls and real accesses (Linux itself, our kernels on real
 * processors), u_fake.c over the machine in software. Nothing above this header knows which.
 *
 * A program has no mutable globals: all it remembers is one block of state, which u_fork copies.
 * It may hold no pointers into itself, for the copy may lie elsewhere.
 */
#ifndef USER_U_H
#define USER_U_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct u; /* the machine as one process sees it */

#define U_PAGE 4096ul

/* What an access did. sig 0: it went through, and a load read value. Else signal, code, address. */
struct u_seen {
	uint64_t value;
	int sig, code;
	uintptr_t addr;
};

enum u_kind { U_LOAD = 0, U_STORE, U_FETCH };

/* Linux's system call of this architecture; pointer arguments must point into user memory that
 * the machine knows (see u_scratch). Returns Linux's result, errors as negative errno. */
long u_syscall(struct u *u, long nr, long a, long b, long c, long d, long e, long f);

/* One instruction: a load or store of 1, 2, 4 or 8 bytes, or a call of the code at addr. */
struct u_seen u_access(struct u *u, enum u_kind kind, uintptr_t addr, unsigned width,
		       uint64_t value);

/* The address and size of memory for pointer arguments. Never in a range that is traced. */
#ifndef U_SCRATCH_SIZE /* a program that forks often may be built with less */
#define U_SCRATCH_SIZE 0x21000ul
#endif
uintptr_t u_scratch(struct u *u);
/* Copies between it and the program's own memory; [at, at + n) lies in the scratch memory. */
void u_poke(struct u *u, uintptr_t at, const void *src, size_t n);
void u_peek(struct u *u, void *dst, uintptr_t at, size_t n);

/* A new process that starts in entry() with a copy of the size bytes of state and must not
 * return. Returns its number to the caller, or a negative errno. flags: 0, or U_CLONE_VFORK:
 * the child shares the space and the state, and the caller sleeps until its exec or exit. */
typedef void (*u_entry)(struct u *u, void *state);
#define U_CLONE_VFORK 0x4100ul /* Linux's CLONE_VM | CLONE_VFORK */
long u_fork(struct u *u, unsigned long flags, u_entry entry, void *state, size_t size);
_Noreturn void u_exit(struct u *u, int status);

/* Touches all memory that belongs to the program itself, so that faults counted later are not
 * its own. After a fork both sides call it. */
void u_warm(struct u *u, void *state, size_t size);

/* All of s to standard output. */
void u_write(struct u *u, const char *s, size_t n);

/* Reads a whole file of at most cap bytes, from where the program's arguments point to. Returns
 * its size, or a negative errno (-EFBIG if it does not fit). */
long u_read_file(struct u *u, const char *path, char *buf, size_t cap);

/* The word that a store of 8 bytes puts where fetches shall succeed: return instructions. */
uint64_t u_return_code(struct u *u);

/* Replaces the program by another image: the ELF file at path with the arguments argv (NULL-ended)
 * on a machine that runs ELF programs; on the fake a fresh space whose break starts at heap, in
 * which entry(u, copy of state) runs. Returns only if it failed: a negative errno. */
long u_exec(struct u *u, const char *path, const char *const *argv, uintptr_t heap, u_entry entry,
	    const void *state, size_t size);

/* Sizes of the block of memory that a program gets besides its state, where it has it to itself. */
#ifndef U_STACK_SIZE
#define U_STACK_SIZE	 0x10000ul
#endif
#define U_ALTSTACK_SIZE	 0x4000ul
#define U_BLOCK_SIZE	 (U_PAGE + U_SCRATCH_SIZE + U_ALTSTACK_SIZE + U_STACK_SIZE)

/* What a program is: its start, the size of its state (zeroed), and an address for its block, far
 * from everything that a kernel would choose. An ELF is built with U_PROGRAM naming its own. */
struct u_program {
	int (*main)(struct u *u, void *state, int argc, char **argv);
	size_t state_size;
	uintptr_t block;
};

#endif
