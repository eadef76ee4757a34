/* SPDX-License-Identifier: MIT */
/*
 * What a process can see of its own memory: the areas in the windows where a random scenario acts,
 * their flags and counters, the process's own, the state of each page. What a kernel may choose
 * freely (frame numbers, inode numbers, areas of the program itself) is left out.
 */
#include "fuzz.h"

#define LINE_MAX 320
#define KB	 (U_PAGE >> 10)

#define CHUNK 4096

/* Calls fn for each whole line in buf[0, n) and moves what is left to the front: its length. */
static size_t take_lines(char *buf, size_t n, fz_line_fn fn, void *ctx)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		if (buf[i] != '\n')
			continue;
		buf[i] = 0;
		fn(buf + from, ctx);
		from = i + 1;
	}
	__builtin_memmove(buf, buf + from, n - from);
	return n - from;
}

static bool read_lines(struct u *u, int fd, fz_line_fn fn, void *ctx)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_IO;
	char buf[CHUNK + LINE_MAX];
	size_t n = 0;
	long at = 0, got;

	while ((got = u_syscall(u, NR_pread64, fd, (long)sc, CHUNK, at, 0, 0)) > 0) {
		u_peek(u, buf + n, sc, (size_t)got);
		n = take_lines(buf, n + (size_t)got, fn, ctx);
		if (n >= LINE_MAX)
			return false;
		at += got;
	}
	return got == 0;
}

bool fz_read_path(struct u *u, const char *path, fz_line_fn fn, void *ctx)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	bool good;
	long fd;

	u_poke(u, sc, path, str_len(path) + 1);
	fd = u_syscall(u, NR_openat, U_AT_FDCWD, (long)sc, U_O_RDONLY, 0, 0, 0);
	if (fd < 0)
		return false;
	good = read_lines(u, (int)fd, fn, ctx);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	return good;
}

/* ---- areas ---------------------------------------------------------------------------------- */

struct area {
	struct fz *f;
	struct text *t;
	bool ours;	   /* the area that is read lies in a window */
	bool locked_other; /* it does not, and is locked: VmFlags come last */
	bool private;	   /* pages of its own, all of them anonymous */
	uint64_t pages, other_locked;
	uint64_t held; /* kB of it that are in memory or in swap */
};

static bool in_window(const struct fz *f, uint64_t a)
{
	return a < 1ull << 20 || (a >= 1ull << 30 && a < (1ull << 30) + (1ull << 20)) ||
	       (a >= SCN_ARENA && a < SCN_ARENA + (1ull << 20)) ||
	       (a >= f->heap && a < f->heap + (1ull << 20)) ||
	       (a >= f->guard - (1ull << 23) && a < f->guard);
}

static bool skip_to(const char **p, char c)
{
	while (**p && **p != c)
		(*p)++;
	return **p;
}

/* start-end perms offset dev inode name. What lies below a window's start is not ours. */
static bool area_line(struct area *a, const char *p)
{
	const char *s = p;
	uint64_t start = str_num(&p, 16), end, off;
	const char *perms;

	if (p == s || *p != '-')
		return false;
	p++;
	end = str_num(&p, 16);
	if (*p++ != ' ')
		return false;
	perms = p;
	skip_to(&p, ' ');
	p++;
	off = str_num(&p, 16);
	if (start < a->f->heap && end > a->f->heap)
		start = a->f->heap;
	a->pages = (end - start) / U_PAGE;
	a->private = perms[3] == 'p';
	a->held = 0;
	/* The program's own stack may have grown into the window below the guard. */
	a->ours = in_window(a->f, start) && !(start < a->f->guard && end > a->f->guard + (1ull << 23));
	if (!a->ours)
		return true;
	fz_show_addr(a->f, a->t, start);
	text_chr(a->t, '-');
	fz_show_addr(a->f, a->t, end);
	text_chr(a->t, ':');
	text_mem(a->t, perms, 4);
	if (off) {
		text_chr(a->t, '@');
		text_udec(a->t, off / U_PAGE);
	}
	if (skip_to(&p, '/') || perms[3] == 's')
		text_str(a->t, *p == '/' ? p : "?");
	text_chr(a->t, ' ');
	return true;
}

static void maps_line(const char *line, void *ctx)
{
	area_line(ctx, line);
}

/* ---- areas with their counters -------------------------------------------------------------- */

static void copy_flags(struct area *a, const char *p)
{
	bool locked = false;

	for (; *p; p++)
		if (p[0] == 'l' && p[1] == 'o')
			locked = true;
	if (locked && !a->ours)
		a->other_locked += a->pages;
}

static const char *const fields[] = { "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean",
				      "Private_Dirty", "Anonymous", "Swap", "Locked" };
#define FIELD_RSS  0
#define FIELD_SWAP 7

/* Where answers alone count, only how much there is in all: Rss and Swap together. */
static void counter(struct area *a, unsigned field, uint64_t value)
{
	if (a->f->answers) {
		a->held += field == FIELD_RSS || field == FIELD_SWAP ? value : 0;
		return;
	}
	text_udec(a->t, value);
	text_chr(a->t, ',');
}

static void smaps_line(const char *line, void *ctx)
{
	struct area *a = ctx;
	const char *p = line;

	if (area_line(a, line))
		return;
	if (str_starts(line, "VmFlags:")) {
		copy_flags(a, line + 8);
		if (a->ours) {
			if (a->f->answers && a->private)
				text_udec(a->t, a->held);
			text_str(a->t, line + 8);
			text_chr(a->t, '\n');
		}
		return;
	}
	if (!a->ours || !skip_to(&p, ':'))
		return;
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (mem_is(line, (size_t)(p - line), fields[i])) {
			for (p++; *p == ' '; p++)
				;
			counter(a, i, str_num(&p, 10));
			return;
		}
}

static uint64_t see_smaps(struct u *u, struct fz *f, struct text *t)
{
	struct area a = { .f = f, .t = t };

	text_str(t, "smaps: ");
	if (!read_lines(u, f->fd[FZ_FD_SMAPS], smaps_line, &a))
		text_str(t, "?");
	text_chr(t, '\n');
	return a.other_locked;
}

static void see_maps(struct u *u, struct fz *f, struct text *t)
{
	struct area a = { .f = f, .t = t };

	text_str(t, "maps: ");
	if (!read_lines(u, f->fd[FZ_FD_MAPS], maps_line, &a))
		text_str(t, "?");
	text_chr(t, '\n');
}

/* ---- the process ---------------------------------------------------------------------------- */

struct status {
	long peak, size, lck, pin, data, stk;
};

static void status_line(const char *line, void *ctx)
{
	static const char *const names[] = { "VmPeak:", "VmSize:", "VmLck:", "VmPin:", "VmData:",
					     "VmStk:" };
	long *v = ctx;

	for (unsigned i = 0; i < 6; i++)
		if (str_starts(line, names[i])) {
			line += str_len(names[i]);
			while (*line == ' ' || *line == '\t')
				line++;
			v[i] = (long)str_num(&line, 10);
		}
}

static struct status status(struct u *u, struct fz *f)
{
	long v[6] = { 0 };

	read_lines(u, f->fd[FZ_FD_STATUS], status_line, v);
	return (struct status){ v[0], v[1], v[2], v[3], v[4], v[5] };
}

long fz_status(struct u *u, struct fz *f, const char *field)
{
	struct status s = status(u, f);

	return str_eq(field, "VmSize") ? s.size : str_eq(field, "VmData") ? s.data :
	       str_eq(field, "VmStk") ? s.stk : s.lck;
}

static void number(struct text *t, const char *name, long v)
{
	text_chr(t, ' ');
	text_str(t, name);
	text_chr(t, '=');
	text_dec(t, v);
}

/* Sizes as differences from the scenario's start; other_locked: pages of the program itself. */
static void see_status(struct u *u, struct fz *f, uint64_t other_locked, struct text *t)
{
	struct status s = status(u, f);

	text_str(t, "status:");
	number(t, "VmPeak", s.peak - f->size0);
	number(t, "VmSize", s.size - f->size0);
	number(t, "VmData", s.data - f->data0);
	number(t, "VmStk", s.stk - f->stk0);
	number(t, "VmPin", s.pin);
	number(t, "VmLck", s.lck - (long)(other_locked * KB));
	text_chr(t, '\n');
}

static void first_line(const char *line, void *ctx)
{
	char *to = ctx;

	for (unsigned i = 0; i < 63 && line[i]; i++)
		to[i] = line[i];
}

/* The short form: size, and data with stacks. */
static void see_statm(struct u *u, struct fz *f, struct text *t)
{
	char line[64] = "";
	const char *p = line;
	long v[6] = { 0 };

	read_lines(u, f->fd[FZ_FD_STATM], first_line, line);
	for (unsigned i = 0; i < 6; i++) {
		v[i] = (long)str_num(&p, 10);
		p += *p == ' ';
	}
	text_str(t, "statm:");
	number(t, "size", v[0] - f->size0 / (long)KB);
	number(t, "data", v[5] - (f->data0 + f->stk0) / (long)KB);
	text_chr(t, '\n');
}

/* ---- pages ---------------------------------------------------------------------------------- */

#define PM_PRESENT    (1ull << 63)
#define PM_SWAP	      (1ull << 62)
#define PM_FILE	      (1ull << 61)
#define PM_ONCE	      (1ull << 56)
#define PM_SOFT_DIRTY (1ull << 55)

/* A digit: 8 present, 4 of a file or shared memory, 2 mapped once, 1 soft-dirty. */
static char page_state(uint64_t w)
{
	unsigned d = (w & PM_PRESENT ? 8 : 0) | (w & PM_FILE ? 4 : 0) | (w & PM_ONCE ? 2 : 0) |
		     (w & PM_SOFT_DIRTY ? 1 : 0);

	return d ? "0123456789abcdef"[d] : '.';
}

/* Whether the process has a page of its own there, in memory or in swap, and whether it is soft-dirty.
 * Of shared memory the entry may go at any time, and what it said goes with it. */
static char page_answer(uint64_t w)
{
	if ((w & PM_FILE) || !(w & (PM_PRESENT | PM_SWAP)))
		return '.';
	return w & PM_SOFT_DIRTY ? 's' : 'p';
}

static void count_evicted(struct fz *f, unsigned window, unsigned page, uint64_t w)
{
	uint64_t *there = &f->there[window][page / 64], bit = 1ull << page % 64;

	f->b.evicted += (w & PM_SWAP) && (*there & bit);
	*there = w & PM_PRESENT ? *there | bit : *there & ~bit;
}

static void see_pages(struct u *u, struct fz *f, unsigned window, uint64_t from, unsigned n, struct text *t)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_IO;
	uint64_t w[64];
	char digits[64];
	long got = u_syscall(u, NR_pread64, f->fd[FZ_FD_PAGEMAP], (long)sc, n * 8l,
			     (long)(from / U_PAGE * 8), 0, 0);

	text_str(t, "pages: ");
	if (got != (long)n * 8)
		text_str(t, "?");
	for (unsigned at = 0; got == (long)n * 8 && at < n; at += 64) {
		u_peek(u, w, sc + at * 8, sizeof(w));
		for (unsigned i = 0; i < 64; i++) {
			count_evicted(f, window, at + i, w[i]);
			digits[i] = f->answers ? page_answer(w[i]) : page_state(w[i]);
		}
		text_mem(t, digits, sizeof(digits));
	}
	text_chr(t, '\n');
}

void fz_see(struct u *u, struct fz *f, enum fz_level level, struct text *t)
{
	uint64_t other_locked = 0;

	if (level == FZ_SEE_ALL)
		other_locked = see_smaps(u, f, t);
	else if (level >= FZ_SEE_MAPS)
		see_maps(u, f, t);
	if (level == FZ_SEE_ALL)
		see_status(u, f, other_locked, t);
	else if (level >= FZ_SEE_STATUS)
		see_statm(u, f, t);
	see_pages(u, f, 0, SCN_ARENA, 128, t);
	if (level >= FZ_SEE_STATUS) {
		see_pages(u, f, 1, f->guard - 64 * U_PAGE, 64, t);
		see_pages(u, f, 2, f->heap, 64, t);
	}
}

/* ---- files ---------------------------------------------------------------------------------- */

long fz_open_proc(struct u *u, struct fz *f)
{
	static const char *const path[FZ_FDS] = { "/proc/self/maps", "/proc/self/smaps",
						  "/proc/self/status", "/proc/self/statm",
						  "/proc/self/pagemap" };
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;

	for (unsigned i = 0; i < FZ_FDS; i++) {
		if (f->fd[i])
			u_syscall(u, NR_close, f->fd[i], 0, 0, 0, 0, 0);
		u_poke(u, sc, path[i], str_len(path[i]) + 1);
		f->fd[i] = (int)u_syscall(u, NR_openat, U_AT_FDCWD, (long)sc, U_O_RDONLY, 0, 0, 0);
		if (f->fd[i] < 0)
			return f->fd[i];
	}
	return 0;
}
