/* SPDX-License-Identifier: MIT */
/*
 * What a scenario does: accesses, copies by the kernel, memory calls, files, limits. All numbers
 * of faults come from getrusage; everything that the measurement itself touches is touched
 * beforehand, so that only the action's own faults are in the difference.
 */
#include "run.h"

struct args {
	long v[SCN_MAX_ARGS];
};

static long sys(struct u *u, long nr, const struct args *x)
{
	return u_syscall(u, nr, x->v[0], x->v[1], x->v[2], x->v[3], x->v[4], x->v[5]);
}

/* ---- accesses ------------------------------------------------------------------------------- */

/* One access, and the faults it took. A first round on our own memory walks the same way. */
static struct u_seen measured(struct u *u, enum u_kind kind, uintptr_t addr, unsigned width,
			      uint64_t value, long *faults)
{
	struct u_seen seen = { 0 };

	for (int real = 0; real < 2; real++) {
		uint64_t before = run_faults(u);

		seen = real ? u_access(u, kind, addr, width, value) :
			      u_access(u, U_LOAD, u_scratch(u), 8, 0);
		*faults = (long)(run_faults(u) - before);
	}
	return seen;
}

static void seen_access(struct seen *s, const struct u_seen *x, long faults)
{
	s->kind = x->sig ? SEEN_SIGNAL : SEEN_OK;
	s->sig = x->sig;
	s->code = x->code;
	s->addr = x->addr;
	s->faults = faults;
	s->show_faults = true;
}

static void act_access(struct u *u, struct run *r, const struct scn_action *a, const struct args *x,
		       struct seen *s)
{
	enum u_kind kind = a->op == OP_LOAD ? U_LOAD : a->op == OP_STORE ? U_STORE : U_FETCH;
	unsigned at = a->op == OP_STORE ? 2 : 1;
	unsigned width = a->nargs > at ? (unsigned)x->v[at] : 8;
	struct u_seen seen;
	long faults;

	if (width != 1 && width != 2 && width != 4 && width != 8) {
		seen_result(s, -U_EINVAL);
		return;
	}
	seen = measured(u, kind, (uintptr_t)x->v[0], width, (uint64_t)x->v[1], &faults);
	seen_access(s, &seen, faults);
	if (a->op == OP_LOAD && !seen.sig) {
		s->kind = SEEN_VALUE;
		s->value = seen.value;
		s->known = known_load(r, (uint64_t)x->v[0], width, &s->stored);
	}
}

static void act_pattern(struct u *u, const struct scn_action *a, const struct args *x,
			struct seen *s)
{
	uintptr_t p = (uintptr_t)x->v[0], end = p + (uintptr_t)x->v[1];
	enum u_kind kind = a->op == OP_FILL ? U_STORE : U_LOAD;
	struct u_seen seen = { 0 };
	uint64_t before;

	run_faults(u);
	before = run_faults(u);
	for (; p < end && !seen.sig; p += 8) {
		uint64_t want = run_pattern(p, (uint64_t)x->v[2]);

		seen = u_access(u, kind, p, 8, want);
		if (kind == U_LOAD && !seen.sig && seen.value != want)
			break;
	}
	seen_access(s, &seen, (long)(run_faults(u) - before));
	if (!seen.sig && p < end) {
		s->kind = SEEN_VALUE;
		s->value = p;
		s->is_addr = true;
	}
}

/* ---- copies by the kernel ------------------------------------------------------------------- */

#define COPY_MAX 0x8000ul /* what a pipe surely holds */

static void put_words(struct u *u, uintptr_t at, size_t n, uint64_t value)
{
	for (size_t i = 0; i < n; i += 8)
		u_poke(u, at + i, &value, n - i < 8 ? n - i : 8);
}

/* Takes n bytes out of the pipe that nobody wants. */
static void drain(struct u *u, struct run *r, long n)
{
	while (n > 0) {
		long got = u_syscall(u, NR_read, r->copy_rd, (long)(u_scratch(u) + SC_IO),
				     n, 0, 0, 0);

		if (got <= 0)
			return;
		n -= got;
	}
}

static void act_copy(struct u *u, struct run *r, const struct scn_action *a,
		     const struct args *x, struct seen *s)
{
	bool out = a->op == OP_COPYOUT;
	uintptr_t sc = u_scratch(u) + SC_IO;
	uint64_t before;
	long ret;

	if ((unsigned long)x->v[1] > COPY_MAX) {
		seen_result(s, -U_EINVAL);
		return;
	}
	if (out) {
		put_words(u, sc, (size_t)x->v[1], (uint64_t)x->v[2]);
		u_syscall(u, NR_write, r->copy_wr, (long)sc, x->v[1], 0, 0, 0);
	}
	run_faults(u);
	before = run_faults(u);
	ret = u_syscall(u, out ? NR_read : NR_write, out ? r->copy_rd : r->copy_wr, x->v[0],
			x->v[1], 0, 0, 0);
	s->faults = (long)(run_faults(u) - before);
	s->show_faults = ret >= 0;
	seen_result(s, ret);
	drain(u, r, out ? x->v[1] - (ret > 0 ? ret : 0) : ret);
}

/* ---- files ---------------------------------------------------------------------------------- */

static void do_pread(struct u *u, const struct args *x, struct seen *s)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	unsigned long len = (unsigned long)x->v[1];
	uint64_t value = 0;
	long ret = u_syscall(u, NR_pread64, x->v[0], (long)sc, len < 8 ? (long)len : 8, x->v[2],
			     0, 0);

	seen_result(s, ret);
	if (ret == 0) {
		s->kind = SEEN_TEXT;
		text_str(&s->text, "eof");
	} else if (ret > 0) {
		u_peek(u, &value, sc, (size_t)ret);
		s->value = value;
	}
}

/* Writes len bytes of the repeated value, in pieces that the scratch memory holds. */
static void do_pwrite(struct u *u, const struct args *x, struct seen *s)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	long done = 0, ret = 0;

	put_words(u, sc, COPY_MAX, (uint64_t)x->v[1]);
	while (done < x->v[2]) {
		long n = x->v[2] - done < (long)COPY_MAX ? x->v[2] - done : (long)COPY_MAX;

		ret = u_syscall(u, NR_pwrite64, x->v[0], (long)sc, n, x->v[3] + done, 0, 0);
		if (ret <= 0)
			break;
		done += ret;
	}
	seen_result(s, ret < 0 && !done ? ret : done);
}

/* The reading end of a pipe that nobody writes into. */
static long do_pipe(struct u *u)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	long ret = u_syscall(u, NR_pipe2, (long)sc, 0, 0, 0, 0, 0);
	int fd[2];

	if (ret < 0)
		return ret;
	u_peek(u, fd, sc, sizeof(fd));
	u_syscall(u, NR_close, fd[1], 0, 0, 0, 0, 0);
	return fd[0];
}

static long act_file(struct u *u, const struct run *r, const struct scn_action *a,
		     const struct args *x)
{
	char word[256];

	if (a->arg[0].kind == ARG_WORD)
		run_word(r, &a->arg[0], word);
	switch (a->op) {
	case OP_MEMFD:
		return u_syscall(u, NR_memfd_create, run_string(u, word), x->v[1], 0, 0, 0, 0);
	case OP_OPEN:
		return u_syscall(u, NR_openat, U_AT_FDCWD, run_string(u, word), x->v[1],
				 a->nargs > 2 ? x->v[2] : 0600, 0, 0);
	case OP_PIPE:
		return do_pipe(u);
	case OP_SEAL:
		return u_syscall(u, NR_fcntl, x->v[0], U_F_ADD_SEALS, x->v[1], 0, 0, 0);
	case OP_UNLINK:
		return u_syscall(u, NR_unlinkat, U_AT_FDCWD, run_string(u, word), 0, 0, 0, 0);
	case OP_DUP:
		return u_syscall(u, NR_fcntl, x->v[0], U_F_DUPFD, 0, 0, 0, 0);
	case OP_CLOSE:
		return sys(u, NR_close, x);
	case OP_FTRUNCATE:
		return sys(u, NR_ftruncate, x);
	default:
		return sys(u, NR_fallocate, x);
	}
}

/* ---- limits, the machine -------------------------------------------------------------------- */

/* Only the soft limit, so that it can be taken back without any right. */
static long do_setrlimit(struct u *u, const struct args *x)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	uint64_t lim[2];
	long ret = u_syscall(u, NR_prlimit64, 0, x->v[0], 0, (long)sc, 0, 0);

	if (ret)
		return ret;
	u_peek(u, lim, sc, sizeof(lim));
	lim[0] = (uint64_t)x->v[1];
	lim[1] = lim[0] > lim[1] ? lim[0] : lim[1];
	u_poke(u, sc, lim, sizeof(lim));
	return u_syscall(u, NR_prlimit64, 0, x->v[0], (long)sc, 0, 0, 0);
}

static long do_dropcaps(struct u *u)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	uint32_t cap[8] = { 0x20080522 }; /* version 3; this process; three empty sets twice */

	u_poke(u, sc, cap, sizeof(cap));
	return u_syscall(u, NR_capset, (long)sc, (long)sc + 8, 0, 0, 0, 0);
}

/* Sets a file of /proc/sys, or reads its number. */
static long do_sysctl(struct u *u, const struct run *r, const struct scn_action *a, long value)
{
	char word[256], path[300], text[32];
	struct text p = TEXT(path), t = TEXT(text);

	run_word(r, &a->arg[0], word);
	text_str(&p, "/proc/sys/");
	for (const char *c = word; *c; c++)
		text_chr(&p, *c == '.' ? '/' : *c);
	if (a->nargs < 2)
		return get_number(u, path);
	text_dec(&t, value);
	return put_file(u, path, text);
}

/* Our own kernels let the n-th allocation of a kind from here on fail. */
static long do_fail(struct u *u, const char *kind, long n)
{
	char text[300];
	struct text t = TEXT(text);
	long ret;

	text_str(&t, kind);
	text_chr(&t, ' ');
	text_dec(&t, n);
	ret = put_file(u, "/proc/quire/inject", text);
	return ret == -2 ? -U_ENOSYS : ret; /* ENOENT: another kernel */
}

#define RECLAIM_ALL    (1l << 30)
#define RECLAIM_ROUNDS 4 /* used and active: the first finds that, the next makes it inactive, then it goes */

/* So many pages leave memory, as if somebody had asked for as many; or all that can. */
static long do_reclaim(struct u *u, long pages)
{
	char text[24];
	struct text t = TEXT(text);
	long ret = 0;

	text_dec(&t, pages);
	for (unsigned i = 0; !ret && i < (pages == RECLAIM_ALL ? RECLAIM_ROUNDS : 1); i++)
		ret = put_file(u, "/proc/quire/reclaim", text);
	return ret == -2 ? -U_ENOSYS : ret; /* ENOENT: another kernel */
}

static void act_limit(struct u *u, struct run *r, const struct scn_action *a,
		      const struct args *x, struct seen *s)
{
	char word[256];

	if (a->arg[0].kind == ARG_WORD)
		run_word(r, &a->arg[0], word);
	switch (a->op) {
	case OP_SETRLIMIT:
		seen_result(s, do_setrlimit(u, x));
		return;
	case OP_DROPCAPS:
		seen_result(s, do_dropcaps(u));
		return;
	case OP_SYSCTL:
		seen_result(s, do_sysctl(u, r, a, x->v[1]));
		return;
	case OP_SWAPON:
		seen_result(s, u_syscall(u, NR_swapon, run_string(u, word), x->v[1], 0, 0, 0, 0));
		return;
	case OP_SWAPOFF:
		seen_result(s, u_syscall(u, NR_swapoff, run_string(u, word), 0, 0, 0, 0, 0));
		return;
	case OP_FAIL:
		seen_result(s, do_fail(u, word, x->v[1]));
		break;
	case OP_RECLAIM:
		seen_result(s, do_reclaim(u, a->nargs ? (long)x->v[0] : RECLAIM_ALL));
		break;
	default:
		seen_result(s, -U_ENOSYS); /* no kernel offers it to programs */
		break;
	}
	if (s->kind == SEEN_ERRNO && s->err == U_ENOSYS)
		s->kind = SEEN_CANNOT;
}

/* ---- memory calls --------------------------------------------------------------------------- */

static void do_mincore(struct u *u, const struct scn_action *a, const struct args *x,
		       struct seen *s)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	size_t pages = ((size_t)x->v[1] + U_PAGE - 1) / U_PAGE;
	long ret;

	if (a->nargs > 2) {
		seen_result(s, sys(u, NR_mincore, x));
		return;
	}
	/* Lengths that no kernel takes may well be tried. */
	if (pages > SEEN_TEXT_MAX - 8 && x->v[1] >= 0 && x->v[1] < 1l << 38) {
		seen_result(s, -U_EINVAL);
		return;
	}
	ret = u_syscall(u, NR_mincore, x->v[0], x->v[1], (long)sc, 0, 0, 0);
	seen_result(s, ret);
	if (ret)
		return;
	s->kind = SEEN_TEXT;
	text_chr(&s->text, '[');
	for (size_t i = 0; i < pages; i++) {
		unsigned char in;

		u_peek(u, &in, sc + i, 1);
		text_chr(&s->text, in & 1 ? '1' : '0');
	}
	text_chr(&s->text, ']');
}

static long memory_nr(enum scn_op op)
{
	static const short nr[] = {
		[OP_MMAP] = NR_mmap, [OP_MUNMAP] = NR_munmap, [OP_MPROTECT] = NR_mprotect,
		[OP_MREMAP] = NR_mremap, [OP_BRK] = NR_brk, [OP_MADVISE] = NR_madvise,
		[OP_MLOCK] = NR_mlock, [OP_MLOCK2] = NR_mlock2, [OP_MUNLOCK] = NR_munlock,
		[OP_MLOCKALL] = NR_mlockall, [OP_MUNLOCKALL] = NR_munlockall,
		[OP_MSYNC] = NR_msync, [OP_REMAP_FILE_PAGES] = NR_remap_file_pages,
	};

	return nr[op];
}

static void act_memory(struct u *u, const struct scn_action *a, const struct args *x,
		       struct seen *s)
{
	uint64_t before;

	run_faults(u);
	before = run_faults(u);
	if (a->op == OP_MINCORE)
		do_mincore(u, a, x, s);
	else
		seen_result(s, sys(u, memory_nr(a->op), x));
	s->faults = (long)(run_faults(u) - before);
	s->is_addr = a->op == OP_MMAP || a->op == OP_MREMAP || a->op == OP_BRK;
}

void act(struct u *u, struct run *r, const struct scn_action *a, struct seen *s)
{
	struct args x = { { 0 } };

	for (unsigned i = 0; i < a->nargs; i++)
		if (a->arg[i].kind == ARG_EXPR)
			x.v[i] = (long)run_eval(u, r, &a->arg[i].expr);
	if (a->op <= OP_REMAP_FILE_PAGES)
		act_memory(u, a, &x, s);
	else if (a->op <= OP_EXEC)
		act_access(u, r, a, &x, s);
	else if (a->op <= OP_CHECK)
		act_pattern(u, a, &x, s);
	else if (a->op <= OP_COPYOUT)
		act_copy(u, r, a, &x, s);
	else if (a->op == OP_EXIT)
		s->kind = SEEN_OK; /* the end itself comes after this line is printed */
	else if (a->op == OP_PREAD)
		do_pread(u, &x, s);
	else if (a->op == OP_PWRITE)
		do_pwrite(u, &x, s);
	else if (a->op <= OP_UNLINK)
		seen_result(s, act_file(u, r, a, &x));
	else
		act_limit(u, r, a, &x, s);
	known_note(r, a, x.v, s);
}
