/* SPDX-License-Identifier: MIT */
/*
 * user/u.h on every machine with Linux's system calls: raw calls, real accesses, real forks. A
 * program of it is a plain static ELF without a libc.
 *
 * All its memory is one block that is mapped at start, at an address that the program names:
 * struct u, scratch memory, signal stack, stack, state. So what the kernel mapped (its stack, the
 * vdso) is not needed afterwards, and the block never stands next to what a scenario maps.
 */
#include "u.h"
#include "text.h"
#include "u_nr.h"
#include "user/arch.h"
#include U_ASM_HEADER

struct u {
	uintptr_t scratch, altstack, stack, state, end;
	int argc;
	char **argv;
};

#define U_SIGBUS   7
/* SA_SIGINFO, SA_ONSTACK, SA_NODEFER */
#define U_SA_FLAGS (0x4ul | 0x08000000ul | 0x40000000ul | U_SA_RESTORER)

struct u_raw {
	uint64_t value, why; /* why: signal | code << 8, the code with its sign; 0: no signal */
};

struct u_raw u_load1(uintptr_t addr), u_load2(uintptr_t addr);
struct u_raw u_load4(uintptr_t addr), u_load8(uintptr_t addr);
struct u_raw u_store1(uintptr_t addr, uint64_t v), u_store2(uintptr_t addr, uint64_t v);
struct u_raw u_store4(uintptr_t addr, uint64_t v), u_store8(uintptr_t addr, uint64_t v);
struct u_raw u_fetch(uintptr_t addr);
void u_start(long *sp);
extern const struct u_program U_PROGRAM;
extern char __executable_start[];

long u_syscall(struct u *u, long nr, long a, long b, long c, long d, long e, long f)
{
	return u_raw_syscall(nr, a, b, c, d, e, f);
}

void u_exit(struct u *u, int status)
{
	for (;;)
		u_raw_syscall(NR_exit_group, status, 0, 0, 0, 0, 0);
}

/* A signal at one of our accesses goes on at its fix-up. Any other one is a bug of the program:
 * it ends at once, with the status a shell would give. */
static void on_signal(int sig, void *info, void *ucontext)
{
	int code = ((int *)info)[2];
	uint64_t addr = ((uint64_t *)info)[2];

	if (!u_resume(ucontext, addr, (uint64_t)sig | (uint64_t)(int64_t)code << 8))
		u_exit(NULL, 128 + sig);
}

static void catch_signals(struct u *u)
{
	static const int sigs[] = { 4, 5, U_SIGBUS, 8, 11 }; /* ILL TRAP BUS FPE SEGV */
	uint64_t stack[3] = { u->altstack, 0, U_ALTSTACK_SIZE };
	uint64_t act[U_SIGACTION_WORDS] = { (uint64_t)on_signal, U_SA_FLAGS, u_third_word() };

	u_raw_syscall(NR_sigaltstack, (long)stack, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		u_raw_syscall(NR_rt_sigaction, sigs[i], (long)act, 0, 8, 0, 0);
}

static struct u_raw access_raw(enum u_kind kind, uintptr_t addr, unsigned width, uint64_t value)
{
	bool store = kind == U_STORE;

	if (kind == U_FETCH)
		return u_fetch(addr);
	switch (width) {
	case 1:
		return store ? u_store1(addr, value) : u_load1(addr);
	case 2:
		return store ? u_store2(addr, value) : u_load2(addr);
	case 4:
		return store ? u_store4(addr, value) : u_load4(addr);
	default:
		return store ? u_store8(addr, value) : u_load8(addr);
	}
}

struct u_seen u_access(struct u *u, enum u_kind kind, uintptr_t addr, unsigned width,
		       uint64_t value)
{
	struct u_raw r = access_raw(kind, addr, width, value);

	if (!r.why)
		return (struct u_seen){ .value = kind == U_LOAD ? r.value : 0 };
	/* What was fetched was no return instruction: a fetch it was, all the same. */
	if (kind == U_FETCH && ((r.why & 0xff) < U_SIGBUS || r.value - addr >= 16))
		return (struct u_seen){ 0 };
	return (struct u_seen){ .sig = r.why & 0xff, .code = (int)(r.why >> 8), .addr = r.value };
}

uintptr_t u_scratch(struct u *u)
{
	return u->scratch;
}

void u_poke(struct u *u, uintptr_t at, const void *src, size_t n)
{
	__builtin_memcpy((void *)at, src, n);
}

void u_peek(struct u *u, void *dst, uintptr_t at, size_t n)
{
	__builtin_memcpy(dst, (const void *)at, n);
}

struct newborn {
	struct u *u;
	u_entry entry;
	void *state;
};

static void begin(void *arg)
{
	struct newborn *n = arg;

	n->entry(n->u, n->state);
	u_exit(n->u, 0);
}

long u_fork(struct u *u, unsigned long flags, u_entry entry, void *state, size_t size)
{
	struct newborn n = { u, entry, state };
	char *below = (char *)((uintptr_t)__builtin_frame_address(0) & -16ul) - 8192;
	long pid;

	/* A child that shares our memory runs further down on our stack while we sleep. */
	if (flags)
		return u_clone_on((long)flags | U_SIGCHLD, below, begin, &n);
	pid = u_raw_syscall(NR_clone, U_SIGCHLD, 0, 0, 0, 0, 0);
	if (pid == 0)
		begin(&n);
	return pid;
}

/* The image's end by its own program headers: the linker's _end may lie a page further on, where
 * the heap begins. */
static uintptr_t image_end(void)
{
	const char *image = __executable_start;
	uint64_t phoff = *(const uint64_t *)(image + 32), end = 0;
	unsigned count = *(const uint16_t *)(image + 56);

	for (const char *ph = image + phoff; count; count--, ph += 56) {
		uint64_t v = *(const uint64_t *)(ph + 16) + *(const uint64_t *)(ph + 40);

		if (*(const uint32_t *)ph == 1 && v > end) /* PT_LOAD */
			end = v;
	}
	return end;
}

void u_warm(struct u *u, void *state, size_t size)
{
	uintptr_t end = image_end();

	for (uintptr_t p = (uintptr_t)u; p < u->end; p += U_PAGE)
		*(volatile char *)p = *(volatile char *)p;
	/* The program's own pages; accesses that may fail, for there may be gaps between them. */
	for (uintptr_t p = (uintptr_t)__executable_start; p < end; p += U_PAGE)
		u_access(u, U_LOAD, p, 1, 0);
	u_access(u, U_LOAD, 0, 1, 0); /* the signal's way */
}

void u_write(struct u *u, const char *s, size_t n)
{
	while (n) {
		long w = u_raw_syscall(NR_write, 1, (long)s, (long)n, 0, 0, 0);

		if (w == -U_EINTR)
			continue;
		if (w <= 0)
			return;
		s += w;
		n -= (size_t)w;
	}
}

long u_read_file(struct u *u, const char *path, char *buf, size_t cap)
{
	long fd = u_raw_syscall(NR_openat, U_AT_FDCWD, (long)path, U_O_RDONLY, 0, 0, 0);
	size_t n = 0;
	long r = fd;
	char more;

	if (fd < 0)
		return fd;
	while (n < cap) {
		r = u_raw_syscall(NR_read, fd, (long)(buf + n), (long)(cap - n), 0, 0, 0);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	if (n == cap && u_raw_syscall(NR_read, fd, (long)&more, 1, 0, 0, 0) == 1)
		r = -U_EFBIG;
	u_raw_syscall(NR_close, fd, 0, 0, 0, 0, 0);
	return r < 0 ? r : (long)n;
}

uint64_t u_return_code(struct u *u)
{
	return U_RETURN_CODE;
}

/* The arguments must lie where the program's own memory does not end with its image: scratch. */
long u_exec(struct u *u, const char *path, const char *const *argv, uintptr_t heap, u_entry entry,
	    const void *state, size_t size)
{
	const char **copy = (const char **)u->scratch;
	char *strings = (char *)(u->scratch + 512), *end = (char *)(u->scratch + U_PAGE);
	size_t n, i = 0;

	for (; argv[i]; i++) {
		n = str_len(argv[i]) + 1;
		if (i == 63 || n > (size_t)(end - strings))
			return -U_EINVAL;
		__builtin_memcpy(strings, argv[i], n);
		copy[i] = strings;
		strings += n;
	}
	copy[i] = NULL; /* which serves as the empty environment, too */
	return u_raw_syscall(NR_execve, (long)path, (long)copy, (long)(copy + i), 0, 0, 0);
}

static void run_main(void *arg)
{
	struct u *u = arg;

	u_exit(u, U_PROGRAM.main(u, (void *)u->state, u->argc, u->argv));
}

static _Noreturn void no_memory(void)
{
	static const char msg[] = "cannot map the program's own memory\n";

	u_raw_syscall(NR_write, 2, (long)msg, sizeof(msg) - 1, 0, 0, 0);
	u_exit(NULL, 2);
}

void u_start(long *sp)
{
	size_t size = U_BLOCK_SIZE + ((U_PROGRAM.state_size + U_PAGE - 1) & -U_PAGE);
	long at = u_raw_syscall(NR_mmap, (long)U_PROGRAM.block, (long)size,
				U_PROT_READ | U_PROT_WRITE,
				U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED_NOREPLACE |
					U_MAP_POPULATE, -1, 0);
	struct u *u = (struct u *)at;

	if (at != (long)U_PROGRAM.block)
		no_memory();
	u->scratch = (uintptr_t)u + U_PAGE;
	u->altstack = u->scratch + U_SCRATCH_SIZE;
	u->stack = u->altstack + U_ALTSTACK_SIZE;
	u->state = u->stack + U_STACK_SIZE;
	u->end = (uintptr_t)u + size;
	u->argc = (int)sp[0];
	u->argv = (char **)(sp + 1);
	catch_signals(u);
	u_on_stack((void *)u->state, run_main, u);
	u_exit(u, 0);
}
