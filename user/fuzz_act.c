/* SPDX-License-Identifier: MIT */
/*
 * Carries out one operation of a random scenario and writes it as a line of a scenario file: the
 * action, what came of it, how many faults it took.
 */
#include "fuzz.h"
#include "names.h"

#define ARG_MAX 300

static const char *const names[FZ_KINDS] = {
	[FZ_MMAP] = "mmap", [FZ_BIG] = "mmap", [FZ_MUNMAP] = "munmap", [FZ_MPROTECT] = "mprotect",
	[FZ_MREMAP] = "mremap", [FZ_BRK] = "brk", [FZ_MADVISE] = "madvise", [FZ_MLOCK] = "mlock",
	[FZ_MLOCK2] = "mlock2", [FZ_MUNLOCK] = "munlock", [FZ_MLOCKALL] = "mlockall",
	[FZ_MUNLOCKALL] = "munlockall", [FZ_MSYNC] = "msync", [FZ_MINCORE] = "mincore",
	[FZ_REMAP] = "remap_file_pages", [FZ_LOAD] = "load", [FZ_STORE] = "store",
	[FZ_EXEC] = "exec", [FZ_COPYIN] = "copyin", [FZ_COPYOUT] = "copyout", [FZ_FORK] = "fork",
	[FZ_EXIT] = "exit", [FZ_CLEARREFS] = "clearrefs", [FZ_SETRLIMIT] = "setrlimit",
	[FZ_DROPCAPS] = "dropcaps", [FZ_LOOK] = "look",
};

static const short calls[FZ_KINDS] = {
	[FZ_MMAP] = NR_mmap, [FZ_BIG] = NR_mmap, [FZ_MUNMAP] = NR_munmap,
	[FZ_MPROTECT] = NR_mprotect, [FZ_MREMAP] = NR_mremap, [FZ_BRK] = NR_brk,
	[FZ_MADVISE] = NR_madvise, [FZ_MLOCK] = NR_mlock, [FZ_MLOCK2] = NR_mlock2,
	[FZ_MUNLOCK] = NR_munlock, [FZ_MLOCKALL] = NR_mlockall, [FZ_MUNLOCKALL] = NR_munlockall,
	[FZ_MSYNC] = NR_msync, [FZ_REMAP] = NR_remap_file_pages,
};

/* ---- words ---------------------------------------------------------------------------------- */

static void show_from(struct text *t, const char *base, int64_t v)
{
	text_str(t, base);
	if (v == 0)
		return;
	text_chr(t, v < 0 ? '-' : '+');
	if (v % (int64_t)U_PAGE) {
		text_udec(t, (uint64_t)(v < 0 ? -v : v));
	} else {
		text_udec(t, (uint64_t)(v < 0 ? -v : v) / U_PAGE);
		text_chr(t, 'p');
	}
}

#define X86_TASK_SIZE 0x7ffffffff000ull

static void show_page(struct text *t, uint64_t v)
{
	text_chr(t, '@');
	text_udec(t, v / U_PAGE);
	if (v % U_PAGE) {
		text_chr(t, '+');
		text_udec(t, v % U_PAGE);
	}
}

void fz_show_addr(const struct fz *f, struct text *t, uint64_t addr)
{
	if (addr >= SCN_ARENA && addr < SCN_ARENA_END)
		show_page(t, addr - SCN_ARENA);
	else if (addr < f->guard + (1ull << 20) && addr + (1ull << 32) > f->guard)
		show_from(t, "G", (int64_t)(addr - f->guard));
	else if (addr >= f->heap - 4 * U_PAGE && addr < f->heap + (1ull << 24))
		show_from(t, "B", (int64_t)(addr - f->heap));
	else if (addr + (1ull << 20) > f->end && addr < f->end + (1ull << 20))
		text_hex(t, X86_TASK_SIZE + (addr - f->end)); /* the same everywhere */
	else
		text_hex(t, addr);
}

static void show_arg(struct text *t, const struct fz_arg *a)
{
	static const char *const base[] = { [FZ_TOP] = "G", [FZ_HEAP] = "B", [FZ_END] = "TASK_SIZE",
					    [FZ_VMSIZE] = "VmSize", [FZ_VMDATA] = "VmData",
					    [FZ_VMLCK] = "VmLck", [FZ_RET] = "RET" };

	if (a->base == FZ_PAGE)
		show_page(t, (uint64_t)a->v);
	else if (a->base != FZ_NUM)
		show_from(t, base[a->base], a->v);
	else if (a->v >= -1 && a->v < 4096)
		text_dec(t, a->v);
	else
		text_hex(t, (uint64_t)a->v);
}

static uint64_t value(struct u *u, struct fz *f, const struct fz_arg *a)
{
	switch (a->base) {
	case FZ_PAGE:
		return SCN_ARENA + (uint64_t)a->v;
	case FZ_TOP:
		return f->guard + (uint64_t)a->v;
	case FZ_HEAP:
		return f->heap + (uint64_t)a->v;
	case FZ_END:
		return f->end + (uint64_t)a->v;
	case FZ_VMSIZE:
		return (uint64_t)(fz_status(u, f, "VmSize") << 10) + (uint64_t)a->v;
	case FZ_VMDATA:
		return (uint64_t)(fz_status(u, f, "VmData") << 10) + (uint64_t)a->v;
	case FZ_VMLCK:
		return (uint64_t)(fz_status(u, f, "VmLck") << 10) + (uint64_t)a->v;
	case FZ_RET:
		return u_return_code(u);
	default:
		return (uint64_t)a->v;
	}
}

static void show_action(const struct fz *f, const struct fz_op *op, struct text *t)
{
	if (op->task) {
		text_chr(t, 't');
		text_udec(t, op->task);
		text_str(t, ": ");
	}
	text_str(t, names[op->kind]);
	text_chr(t, '(');
	if (op->kind == FZ_FORK)
		text_chr(t, 't');
	for (unsigned i = 0; i < op->nargs; i++) {
		if (i)
			text_str(t, ", ");
		show_arg(t, &op->a[i]);
	}
	text_str(t, ") = ");
}

static void show_errno(struct text *t, long err)
{
	const char *name = errno_name((int)err);

	text_str(t, "-1 ");
	if (name)
		text_str(t, name);
	else
		text_dec(t, err);
}

static bool failed(long ret)
{
	return ret < 0 && ret > -4096;
}

static void show_result(const struct fz *f, struct text *t, long ret, bool is_addr)
{
	if (failed(ret))
		show_errno(t, -ret);
	else if (is_addr)
		fz_show_addr(f, t, (uint64_t)ret);
	else
		text_dec(t, ret);
}

/* ---- accesses ------------------------------------------------------------------------------- */

static uint64_t faults(struct u *u)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL + 2048;
	uint64_t usage[18];

	if (u_syscall(u, NR_getrusage, 0, (long)sc, 0, 0, 0, 0))
		return 0;
	u_peek(u, usage, sc, sizeof(usage));
	return usage[8] + usage[9]; /* ru_minflt, ru_majflt */
}

static void show_faults(const struct fz *f, struct text *t, uint64_t n)
{
	if (f->answers)
		return;
	text_str(t, " faults=");
	text_udec(t, n);
}

static void show_signal(const struct fz *f, struct text *t, const struct u_seen *s)
{
	const char *sig = signal_name(s->sig), *code = code_name(s->sig, s->code);

	text_str(t, sig ? sig : "SIG?");
	text_chr(t, ' ');
	if (code)
		text_str(t, code);
	else
		text_dec(t, s->code);
	text_chr(t, ' ');
	fz_show_addr(f, t, s->addr);
}

static struct u_seen one_access(struct u *u, struct fz *f, enum u_kind kind, uint64_t addr,
				unsigned width, uint64_t v, struct text *t)
{
	uint64_t before = faults(u);
	struct u_seen s = u_access(u, kind, addr, width, v);
	uint64_t n = faults(u) - before;

	if (s.sig) {
		show_signal(f, t, &s);
		return s;
	}
	if (kind != U_LOAD)
		text_str(t, "ok");
	else if (addr % U_PAGE == FZ_CODE) /* machines differ in what it is */
		text_str(t, s.value == u_return_code(u) ? "RET" : "any");
	else
		text_udec(t, s.value);
	show_faults(f, t, n);
	return s;
}

static void act_access(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	bool store = op->kind == FZ_STORE;
	unsigned width = (unsigned)op->a[store ? 2 : 1].v;
	uint64_t v = store ? value(u, f, &op->a[1]) : 0;

	one_access(u, f, store ? U_STORE : U_LOAD, value(u, f, &op->a[0]), width, v, t);
}

/* A run of accesses, a page apart, a line each. */
static void act_touch(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	bool store = op->a[2].v != -1;
	struct fz_op one = { .kind = store ? FZ_STORE : FZ_LOAD, .task = op->task };

	one.nargs = store ? 3 : 2;
	for (int64_t i = 0; i < op->a[1].v; i++) {
		one.a[0] = op->a[0];
		one.a[0].v += i * (int64_t)U_PAGE;
		one.a[1] = store ? op->a[2] : (struct fz_arg){ 8, FZ_NUM };
		one.a[2] = (struct fz_arg){ 8, FZ_NUM };
		one.a[1].v += store ? i : 0;
		if (i)
			text_chr(t, '\n');
		show_action(f, &one, t);
		act_access(u, f, &one, t);
	}
}

/* Only what is known to be return instructions, or cannot be reached, is called. */
static void act_exec(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	uint64_t addr = value(u, f, &op->a[0]);
	struct fz_op load = { .kind = FZ_LOAD, .task = op->task, .nargs = 1, .a = { op->a[0] } };
	struct u_seen s;

	show_action(f, &load, t);
	s = one_access(u, f, U_LOAD, addr, 8, 0, t);
	if (!s.sig && s.value != u_return_code(u))
		return;
	text_chr(t, '\n');
	show_action(f, op, t);
	one_access(u, f, U_FETCH, addr, 8, 0, t);
}

/* ---- copies by the kernel ------------------------------------------------------------------- */

static void put_words(struct u *u, uintptr_t at, size_t n, uint64_t v)
{
	for (size_t i = 0; i < n; i += 8)
		u_poke(u, at + i, &v, n - i < 8 ? n - i : 8);
}

static void drain(struct u *u, struct fz *f, long n)
{
	while (n > 0) {
		long got = u_syscall(u, NR_read, f->copy_rd, (long)(u_scratch(u) + FZ_SC_IO), n, 0,
				     0, 0);

		if (got <= 0)
			return;
		n -= got;
	}
}

static void act_copy(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	bool out = op->kind == FZ_COPYOUT;
	uintptr_t sc = u_scratch(u) + FZ_SC_IO;
	uint64_t addr = value(u, f, &op->a[0]), before;
	long ret, len = (long)op->a[1].v;

	if (out) {
		put_words(u, sc, (size_t)len, (uint64_t)op->a[2].v);
		u_syscall(u, NR_write, f->copy_wr, (long)sc, len, 0, 0, 0);
	}
	before = faults(u);
	ret = u_syscall(u, out ? NR_read : NR_write, out ? f->copy_rd : f->copy_wr, (long)addr, len,
			0, 0, 0);
	before = faults(u) - before;
	show_result(f, t, ret, false);
	if (ret >= 0)
		show_faults(f, t, before);
	drain(u, f, out ? len - (ret > 0 ? ret : 0) : ret);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void act_mincore(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_IO;
	uint64_t len = value(u, f, &op->a[1]);
	long ret = u_syscall(u, NR_mincore, (long)value(u, f, &op->a[0]), (long)len, (long)sc, 0, 0,
			     0);
	unsigned char in;

	if (ret) {
		show_errno(t, -ret);
		return;
	}
	text_chr(t, '[');
	for (size_t i = 0; !f->answers && i < (len + U_PAGE - 1) / U_PAGE && i < 256; i++) {
		u_peek(u, &in, sc + i, 1);
		text_chr(t, in & 1 ? '1' : '0');
	}
	text_chr(t, ']');
}

static void act_call(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	bool is_addr = op->kind == FZ_MMAP || op->kind == FZ_MREMAP || op->kind == FZ_BRK;
	long a[FZ_ARGS] = { 0 }, ret;
	uint64_t before;

	for (unsigned i = 0; i < op->nargs; i++)
		a[i] = (long)value(u, f, &op->a[i]);
	before = faults(u);
	ret = u_syscall(u, calls[op->kind], a[0], a[1], a[2], a[3], a[4], a[5]);
	before = faults(u) - before;
	/* What is only offered may go at once, later, or never: here it goes now. */
	if (f->answers && op->kind == FZ_MADVISE && a[2] == U_MADV_FREE)
		u_syscall(u, NR_madvise, a[0], a[1], U_MADV_DONTNEED, 0, 0, 0);
	if (op->kind == FZ_BIG && !failed(ret)) {
		text_str(t, "any");
		u_syscall(u, NR_munmap, ret, a[1], 0, 0, 0, 0);
	} else {
		show_result(f, t, ret, is_addr);
	}
	show_faults(f, t, before);
}

/* ---- limits, /proc -------------------------------------------------------------------------- */

static long setrlimit(struct u *u, uint64_t resource, uint64_t soft)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	uint64_t lim[2];
	long ret = u_syscall(u, NR_prlimit64, 0, (long)resource, 0, (long)sc, 0, 0);

	if (ret)
		return ret;
	u_peek(u, lim, sc, sizeof(lim));
	lim[0] = soft;
	lim[1] = lim[0] > lim[1] ? lim[0] : lim[1];
	u_poke(u, sc, lim, sizeof(lim));
	return u_syscall(u, NR_prlimit64, 0, (long)resource, (long)sc, 0, 0, 0);
}

static long dropcaps(struct u *u)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	uint32_t cap[8] = { 0x20080522 }; /* version 3; this process; three empty sets twice */

	u_poke(u, sc, cap, sizeof(cap));
	return u_syscall(u, NR_capset, (long)sc, (long)sc + 8, 0, 0, 0, 0);
}

static long clearrefs(struct u *u, struct fz *f, int64_t what)
{
	static const char path[] = "/proc/self/clear_refs";
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	char digit = (char)('0' + what);
	long fd, ret;

	u_poke(u, sc, path, sizeof(path));
	u_poke(u, sc + 64, &digit, 1);
	fd = u_syscall(u, NR_openat, U_AT_FDCWD, (long)sc, U_O_WRONLY, 0, 0, 0);
	if (fd < 0)
		return fd;
	ret = u_syscall(u, NR_write, fd, (long)sc + 64, 1, 0, 0, 0);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	/* The program's own pages take faults again: now, not later. */
	fz_warm(u, f);
	return ret < 0 ? ret : 0;
}

static void act_other(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	long ret = 0;

	if (op->kind == FZ_SETRLIMIT)
		ret = setrlimit(u, (uint64_t)op->a[0].v, value(u, f, &op->a[1]));
	else if (op->kind == FZ_DROPCAPS)
		ret = dropcaps(u);
	else if (op->kind == FZ_CLEARREFS)
		ret = clearrefs(u, f, op->a[0].v);
	show_result(f, t, ret, false);
}

void fz_act(struct u *u, struct fz *f, const struct fz_op *op, struct text *t)
{
	if (op->kind != FZ_TOUCH && op->kind != FZ_EXEC)
		show_action(f, op, t);
	if (op->kind == FZ_TOUCH)
		act_touch(u, f, op, t);
	else if (op->kind == FZ_EXEC)
		act_exec(u, f, op, t);
	else if (op->kind == FZ_LOAD || op->kind == FZ_STORE)
		act_access(u, f, op, t);
	else if (op->kind == FZ_COPYIN || op->kind == FZ_COPYOUT)
		act_copy(u, f, op, t);
	else if (op->kind == FZ_MINCORE)
		act_mincore(u, f, op, t);
	else if (op->kind == FZ_FORK)
		fz_fork(u, f, (unsigned)op->a[0].v, t);
	else if (calls[op->kind])
		act_call(u, f, op, t);
	else
		act_other(u, f, op, t);
}
