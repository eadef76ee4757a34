/* SPDX-License-Identifier: MIT */
/*
 * The replayer: takes the steps of a table one after the other (docs/replay.md). It is an
 * interpreter over user/u.h alone, so that it runs as a program on every machine, and over the
 * machine in software.
 */
#include "replay_run.h"

static const struct rp_step *step_at(const struct rp *r, uint64_t at)
{
	return (const void *)((const char *)r->h + at);
}

static uint64_t steps_end(const struct rp *r)
{
	return r->h->steps_off + r->h->steps_size;
}

/* ---- lines ---------------------------------------------------------------------------------- */

void rp_line(struct u *u, struct text *t)
{
	text_chr(t, '\n');
	u_write(u, t->p, t->n);
}

void rp_about(struct rp *r, struct text *t, const char *what)
{
	text_str(t, what);
	text_chr(t, ' ');
	text_udec(t, r->turn.at);
	text_str(t, " p");
	text_udec(t, r->me);
}

static long scratch_string(struct u *u, const char *s)
{
	u_poke(u, u_scratch(u), s, str_len(s) + 1);
	return (long)u_scratch(u);
}

void rp_mark(struct u *u, const char *text)
{
	u_syscall(u, NR_write, RP_FD_MARKER, scratch_string(u, text), (long)str_len(text), 0, 0, 0);
}

/* ---- faults --------------------------------------------------------------------------------- */

static void report_access(struct u *u, struct rp *r, uint64_t addr, long a, long b)
{
	char buf[160];
	struct text t = TEXT(buf);

	r->turn.bad++;
	rp_about(r, &t, "access");
	text_chr(&t, ' ');
	text_hex(&t, addr);
	text_chr(&t, ' ');
	text_dec(&t, a);
	text_chr(&t, ' ');
	text_dec(&t, b);
	rp_line(u, &t);
}

/* The kernel copies one byte: out of a pipe to addr, or from addr into the pipe. */
static void kernel_access(struct u *u, struct rp *r, uint64_t addr, bool write, bool refused)
{
	long rd = RP_FD_COPY, wr = RP_FD_COPY + 1, sc = (long)u_scratch(u), ret;

	if (write)
		u_syscall(u, NR_write, wr, sc, 1, 0, 0, 0);
	ret = u_syscall(u, write ? NR_read : NR_write, write ? rd : wr, (long)addr, 1, 0, 0, 0);
	/* The byte is still in the pipe if it could not be delivered. */
	if (write == (ret != 1))
		u_syscall(u, NR_read, rd, sc, 1, 0, 0, 0);
	if ((ret != 1) != refused)
		report_access(u, r, addr, ret, 0);
}

/* A recording's addresses are x86-64's, where an instruction lies anywhere. */
static uint64_t fetch_addr(uint64_t addr)
{
	return addr & ~(U_CODE_ALIGN - 1);
}

static void plant(struct u *u, uint64_t addr)
{
	uint64_t code = u_return_code(u);

	for (unsigned i = 0; i < ((code & 0xff) == (code >> 8 & 0xff) ? 1 : 2); i++)
		u_access(u, U_STORE, addr + i, 1, code >> (8 * i) & 0xff);
}

static void do_fault(struct u *u, struct rp *r, const struct rp_step *s, const uint64_t *w)
{
	unsigned access = s->aux & RP_F_ACCESS;
	uint64_t addr = access == RP_F_FETCH ? fetch_addr(w[0]) : w[0];
	bool refused = s->aux & RP_F_REFUSED;
	uint64_t page = addr & -U_PAGE;
	struct u_seen seen;

	r->turn.faults++;
	if (s->aux & RP_F_KERNEL) {
		kernel_access(u, r, addr, access == RP_F_WRITE, refused);
	} else {
		if (s->aux & RP_F_PLANT)
			plant(u, addr);
		seen = u_access(u, access == RP_F_FETCH ? U_FETCH :
				   access == RP_F_WRITE ? U_STORE : U_LOAD, addr, 1, 0);
		if (!seen.sig == refused)
			report_access(u, r, addr, seen.sig, seen.code);
		if (seen.sig)
			return;
	}
	if (s->aux & RP_F_MARK)
		u_access(u, U_STORE, page, 8, RP_PATTERN(page));
}

static void do_verify(struct u *u, struct rp *r, const struct rp_step *s, const uint64_t *w)
{
	for (uint64_t page = w[0], n = s->aux; n--; page += U_PAGE) {
		struct u_seen seen = u_access(u, U_LOAD, page, 8, 0);
		char buf[160];
		struct text t = TEXT(buf);

		if (seen.sig) {
			report_access(u, r, page, seen.sig, seen.code);
		} else if (seen.value != RP_PATTERN(page)) {
			r->turn.bad++;
			rp_about(r, &t, "pattern");
			text_chr(&t, ' ');
			text_hex(&t, page);
			text_chr(&t, ' ');
			text_hex(&t, seen.value);
			rp_line(u, &t);
		}
	}
}

/* ---- calls ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	short nr;
} calls[RP_C_MAX] = {
	[RP_C_MMAP] = { "mmap", NR_mmap },
	[RP_C_MUNMAP] = { "munmap", NR_munmap },
	[RP_C_MPROTECT] = { "mprotect", NR_mprotect },
	[RP_C_MREMAP] = { "mremap", NR_mremap },
	[RP_C_BRK] = { "brk", NR_brk },
	[RP_C_MADVISE] = { "madvise", NR_madvise },
	[RP_C_MLOCK] = { "mlock", NR_mlock },
	[RP_C_MLOCK2] = { "mlock2", NR_mlock2 },
	[RP_C_MUNLOCK] = { "munlock", NR_munlock },
	[RP_C_MLOCKALL] = { "mlockall", NR_mlockall },
	[RP_C_MUNLOCKALL] = { "munlockall", NR_munlockall },
	[RP_C_MSYNC] = { "msync", NR_msync },
	[RP_C_OPEN] = { "open", 0 },
	[RP_C_MEMFD] = { "memfd", 0 },
	[RP_C_DUP] = { "dup", 0 },
	[RP_C_CLOSE] = { "close", NR_close },
	[RP_C_FTRUNCATE] = { "ftruncate", NR_ftruncate },
	[RP_C_FALLOCATE] = { "fallocate", NR_fallocate },
};

static void file_path(const struct rp *r, uint64_t number, char *buf, size_t cap)
{
	struct text t = { buf, 0, cap };

	text_str(&t, r->data_dir);
	text_str(&t, "/f");
	text_udec(&t, number);
}

/* Gives fd the number that the recording's calls use for it; 0 or a negative errno. */
static long place_fd(struct u *u, long fd, uint64_t wanted)
{
	long ret;

	if (fd < 0 || (uint64_t)fd == wanted)
		return fd < 0 ? fd : 0;
	ret = u_syscall(u, NR_dup3, fd, (long)wanted, 0, 0, 0, 0);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	return ret < 0 ? ret : 0;
}

/* Only how it is accessed counts: the file is there, and what it holds stays. */
static long do_open(struct u *u, struct rp *r, const uint64_t *w)
{
	char path[160];

	file_path(r, w[0], path, sizeof(path));
	return place_fd(u, u_syscall(u, NR_openat, U_AT_FDCWD, scratch_string(u, path),
				     (long)(w[1] & 3), 0, 0, 0), w[2]);
}

static void do_call(struct u *u, struct rp *r, const struct rp_step *s, const uint64_t *w)
{
	char buf[160];
	struct text t = TEXT(buf);
	long ret;

	if (s->aux == RP_C_OPEN) {
		ret = do_open(u, r, w);
	} else if (s->aux == RP_C_MEMFD) {
		ret = place_fd(u, u_syscall(u, NR_memfd_create, scratch_string(u, "replay"), 0, 0,
					    0, 0, 0), w[2]);
	} else if (s->aux == RP_C_DUP) {
		ret = w[0] == w[2] ? 0 : u_syscall(u, NR_dup3, (long)w[0], (long)w[2], 0, 0, 0, 0);
		ret = ret < 0 ? ret : 0;
	} else {
		ret = u_syscall(u, calls[s->aux].nr, (long)w[0], (long)w[1], (long)w[2],
				(long)w[3], (long)w[4], (long)w[5]);
	}
	if ((uint64_t)ret == w[6])
		return;
	r->turn.bad++;
	rp_about(r, &t, "call");
	text_chr(&t, ' ');
	text_str(&t, calls[s->aux].name);
	text_str(&t, " = ");
	text_hex(&t, (uint64_t)ret);
	text_str(&t, ", recorded ");
	text_hex(&t, w[6]);
	rp_line(u, &t);
}

/* ---- turns and processes -------------------------------------------------------------------- */

static uint16_t slot_of(const struct rp *r, unsigned proc)
{
	const struct rp_proc *p = (const void *)((const char *)r->h + r->h->procs_off);

	return p[proc].slot;
}

static _Noreturn void give_up(struct u *u, const char *why, long err)
{
	char buf[160];
	struct text t = TEXT(buf);

	text_str(&t, "replay: ");
	text_str(&t, why);
	text_str(&t, ": ");
	text_dec(&t, err);
	rp_line(u, &t);
	u_exit(u, 2);
}

static void pass_turn(struct u *u, struct rp *r, unsigned proc)
{
	long fd = RP_FD_SLOT(slot_of(r, proc)) + 1, n;

	r->mine = false;
	u_poke(u, u_scratch(u), &r->turn, sizeof(r->turn));
	n = u_syscall(u, NR_write, fd, (long)u_scratch(u), sizeof(r->turn), 0, 0, 0);
	if (n != sizeof(r->turn))
		give_up(u, "the turn cannot be passed", n);
}

static void await_turn(struct u *u, struct rp *r)
{
	long fd = RP_FD_SLOT(slot_of(r, r->me)), n;

	do
		n = u_syscall(u, NR_read, fd, (long)u_scratch(u), sizeof(r->turn), 0, 0, 0);
	while (n == -U_EINTR);
	if (n != sizeof(r->turn))
		give_up(u, "no turn came", n);
	u_peek(u, &r->turn, u_scratch(u), sizeof(r->turn));
	r->mine = true;
}

static void child_entry(struct u *u, void *state)
{
	struct rp *r = state;

	r->me = r->newborn;
	if (!r->mine)
		u_warm(u, r, sizeof(*r));
	rp_life(u, r);
}

/* A child that shares our space has the turn at once, for we sleep until its exec or exit; it
 * writes into our state, so we take that back afterwards. */
static void do_fork(struct u *u, struct rp *r, const struct rp_step *s, const uint64_t *w)
{
	bool shares = w[0] & 0x100;
	struct rp saved = *r;
	long pid;

	r->newborn = (uint16_t)s->aux;
	r->mine = shares;
	r->turn.at += 16;
	pid = u_fork(u, shares ? U_CLONE_VFORK : 0, child_entry, r, sizeof(*r));
	*r = saved;
	if (pid < 0)
		give_up(u, "no process", pid);
	if (shares) {
		r->mine = false;
		await_turn(u, r);
		r->turn.at -= 16; /* the caller steps over it */
	} else {
		u_warm(u, r, sizeof(*r));
	}
}

static void do_wait(struct u *u)
{
	long ret;

	do
		ret = u_syscall(u, NR_wait4, -1, 0, 0, 0, 0, 0);
	while (ret == -U_EINTR);
}

static void number_arg(uint64_t v, char *buf, size_t cap)
{
	struct text t = { buf, 0, cap };

	text_udec(&t, v);
}

/* The next image in the same process, where it needs no arguments to know what it is. */
static void image_entry(struct u *u, void *state)
{
	rp_start(u, state, "quire: begin image");
}

/* The next program image goes on behind this step, as the same process. */
static void do_exec(struct u *u, struct rp *r, const struct rp_step *s)
{
	const struct rp_exec *x = (const void *)((const char *)r->h + r->h->execs_off);
	char path[200], at[24], proc[24], counts[3][24];
	struct text t = TEXT(path);
	const char *argv[14] = { path, "--at", at, "--proc", proc, "--steps", counts[0],
				 "--faults", counts[1], "--bad", counts[2], "--data",
				 r->data_dir, r->full ? "--full" : NULL };
	const char *args[15] = { NULL };
	struct rp next = *r;

	next.turn.at += 8;
	next.turn.steps++;
	next.mine = true;
	text_str(&t, r->elf_dir);
	text_str(&t, "/exec-");
	text_udec(&t, s->aux);
	number_arg(next.turn.at, at, sizeof(at));
	number_arg(r->me, proc, sizeof(proc));
	number_arg(next.turn.steps, counts[0], sizeof(counts[0]));
	number_arg(r->turn.faults, counts[1], sizeof(counts[1]));
	number_arg(r->turn.bad, counts[2], sizeof(counts[2]));
	__builtin_memcpy(args, argv, sizeof(argv));
	rp_mark(u, "quire: end image");
	give_up(u, path, u_exec(u, path, args, x[s->aux].heap, image_entry, &next, sizeof(next)));
}

static void end_replay(struct u *u, struct rp *r)
{
	char buf[200];
	struct text t = TEXT(buf);

	rp_mark(u, "quire: end replay");
	for (uint32_t i = 0; i < r->h->nfiles; i++) {
		file_path(r, i, buf, sizeof(buf));
		u_syscall(u, NR_unlinkat, U_AT_FDCWD, scratch_string(u, buf), 0, 0, 0, 0);
	}
	text_str(&t, "end steps=");
	text_udec(&t, r->turn.steps);
	text_str(&t, " faults=");
	text_udec(&t, r->turn.faults);
	text_str(&t, " bad=");
	text_udec(&t, r->turn.bad);
	rp_line(u, &t);
}

/* The recorded status is only a shell's business; the first process tells how the replay went. */
static _Noreturn void do_exit(struct u *u, struct rp *r, const struct rp_step *s)
{
	uint64_t next = r->turn.at + 8 + 8ull * s->words;

	r->turn.steps++;
	r->turn.at = next;
	if (next == steps_end(r))
		end_replay(u, r);
	else
		pass_turn(u, r, step_at(r, next)->proc);
	u_exit(u, r->me ? (int)s->aux & 255 : r->turn.bad != 0);
}

static void take_step(struct u *u, struct rp *r, const struct rp_step *s)
{
	const uint64_t *w = (const void *)(s + 1);

	switch (s->op) {
	case RP_FAULT:
		do_fault(u, r, s, w);
		break;
	case RP_CALL:
		do_call(u, r, s, w);
		break;
	case RP_FORK:
		do_fork(u, r, s, w);
		break;
	case RP_EXEC:
		do_exec(u, r, s);
		break;
	case RP_EXIT:
		do_exit(u, r, s);
	case RP_WAIT:
		do_wait(u);
		break;
	case RP_VERIFY:
		do_verify(u, r, s, w);
		break;
	default:
		rp_digest(u, r, s->aux);
		break;
	}
	r->turn.steps++;
}

void rp_life(struct u *u, struct rp *r)
{
	for (;;) {
		const struct rp_step *s;

		if (!r->mine)
			await_turn(u, r);
		if (r->turn.at >= steps_end(r)) {
			end_replay(u, r);
			u_exit(u, r->turn.bad != 0);
		}
		s = step_at(r, r->turn.at);
		if (s->proc != r->me) {
			pass_turn(u, r, s->proc);
			continue;
		}
		take_step(u, r, s);
		r->turn.at += 8 + 8ull * s->words;
	}
}

/* ---- before the first step ------------------------------------------------------------------ */

struct mapped {
	uint64_t start, end;
};

struct to_unmap {
	unsigned n;
	struct mapped range[64];
};

static void collect(struct u *u, const struct rp_map *m, void *ctx)
{
	struct to_unmap *all = ctx;

	if (all->n < 64)
		all->range[all->n++] = (struct mapped){ m->start, m->end };
}

/* Takes away whatever the kernel mapped outside our hole. */
static void unmap_rest(struct u *u)
{
	struct to_unmap all = { 0 };

	rp_maps(u, collect, &all);
	for (unsigned i = 0; i < all.n; i++)
		u_syscall(u, NR_munmap, (long)all.range[i].start,
			  (long)(all.range[i].end - all.range[i].start), 0, 0, 0, 0);
}

void rp_start(struct u *u, struct rp *r, const char *mark)
{
	unmap_rest(u);
	u_warm(u, r, sizeof(*r));
	rp_mark(u, mark);
	rp_life(u, r);
}

static long pipe_at(struct u *u, long first)
{
	int fd[2];
	long ret = u_syscall(u, NR_pipe2, (long)u_scratch(u), 0, 0, 0, 0, 0);

	if (ret < 0)
		return ret;
	u_peek(u, fd, u_scratch(u), sizeof(fd));
	ret = place_fd(u, fd[0], (uint64_t)first);
	return ret < 0 ? ret : place_fd(u, fd[1], (uint64_t)first + 1);
}

#define FILL 0x10000ul

/* Really writes the pages that were cached, with return instructions, up to the file's end. */
static long write_run(struct u *u, long fd, const struct rp_run *run, uint64_t size)
{
	uint64_t at = (uint64_t)run->page * U_PAGE, end = at + (uint64_t)run->count * U_PAGE;
	long n = 0;

	end = end < size ? end : size;
	for (; at < end && n >= 0; at += FILL)
		n = u_syscall(u, NR_pwrite64, fd, (long)(u_scratch(u) + U_PAGE),
			      (long)(end - at < FILL ? end - at : FILL), (long)at, 0, 0);
	return n < 0 ? n : 0;
}

static long make_file(struct u *u, struct rp *r, uint32_t number)
{
	const struct rp_file *f = (const void *)((const char *)r->h + r->h->files_off);
	const struct rp_run *run = (const void *)((const char *)r->h + r->h->runs_off);
	char path[160];
	long fd, ret;

	f += number;
	file_path(r, number, path, sizeof(path));
	fd = u_syscall(u, NR_openat, U_AT_FDCWD, scratch_string(u, path),
		       U_O_RDWR | U_O_CREAT | U_O_TRUNC, 0755, 0, 0);
	if (fd < 0)
		return fd;
	ret = u_syscall(u, NR_ftruncate, fd, (long)f->size, 0, 0, 0, 0);
	for (uint32_t i = 0; i < f->runs && ret >= 0; i++)
		ret = write_run(u, fd, &run[f->first_run + i], f->size);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	return ret;
}

/* Our machines trace from here on; a Linux's tracer, which somebody has set up, traces already. */
static void tracing_on(struct u *u)
{
	long fd = u_syscall(u, NR_openat, U_AT_FDCWD,
			    scratch_string(u, "/sys/kernel/tracing/tracing_on"), U_O_WRONLY, 0, 0,
			    0);

	if (fd < 0)
		return;
	u_syscall(u, NR_write, fd, scratch_string(u, "1"), 1, 0, 0, 0);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
}

long rp_prepare(struct u *u, struct rp *r)
{
	uint64_t code = u_return_code(u);
	long ret = pipe_at(u, RP_FD_COPY);

	for (uint32_t i = 0; i < r->h->nslots && ret >= 0; i++)
		ret = pipe_at(u, RP_FD_SLOT(i));
	place_fd(u, u_syscall(u, NR_openat, U_AT_FDCWD,
			      scratch_string(u, "/sys/kernel/tracing/trace_marker"), U_O_WRONLY,
			      0, 0, 0), RP_FD_MARKER);
	tracing_on(u);
	for (unsigned i = 0; i < FILL; i += 8)
		u_poke(u, u_scratch(u) + U_PAGE + i, &code, 8);
	for (uint32_t i = 0; i < r->h->nfiles && ret >= 0; i++)
		ret = make_file(u, r, i);
	return ret < 0 ? ret : 0;
}
