/* SPDX-License-Identifier: MIT */
/*
 * Somebody who holds free memory at the low mark while random scenarios run, so that reclaim and swap
 * have to make room for each of their pages.
 *
 * The hog is a process with locked memory. It takes whatever is free above the low marks of all zones,
 * and thereby wakes kswapd; what that frees, it takes again. Of the evictable pages there are then only
 * the scenario's and the programs' own. What a scenario needs beyond the marks the hog gives back, if it
 * comes to run in time; if not, the OOM killer is told to take it before anybody else, and the next
 * scenario gets a new one.
 */
#include "fuzz.h"
#include <quire/abi.h>

#define HOG_AT	  0x300000000ul /* its memory; behind the program's own block */
#define HOG_CHUNK 64l		/* pages that it takes or gives at a time */
#define HOG_MOST  0x100000l	/* pages */
#define MAP_HOG	  (U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED | U_MAP_LOCKED | U_MAP_POPULATE)
#define HOG_TEXT  (FZ_SC_SMALL + 2048) /* in the scratch memory */

struct marks {
	long min, low, reserve; /* pages of all zones; reserve: what ordinary requests leave to others */
};

static void zone_line(const char *line, void *ctx)
{
	static const char *const name[] = { "min ", "low " };
	struct marks *m = ctx;

	while (*line == ' ')
		line++;
	for (unsigned i = 0; i < 2; i++)
		if (str_starts(line, name[i])) {
			for (line += 4; *line == ' '; line++)
				;
			*(i ? &m->low : &m->min) += (long)str_num(&line, 10);
			return;
		}
	if (str_starts(line, "protection: (")) {
		long most = 0;

		for (line += 13; *line && *line != ')'; line += *line == ' ' || *line == ',') {
			long n = (long)str_num(&line, 10);

			most = n > most ? n : most;
		}
		m->reserve += most;
	}
}

/* To write into a file, or negative. */
static long open_out(struct u *u, const char *path)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;

	u_poke(u, sc, path, str_len(path) + 1);
	return u_syscall(u, NR_openat, U_AT_FDCWD, (long)sc, U_O_WRONLY, 0, 0, 0);
}

static void write_out(struct u *u, const char *path, const char *text)
{
	uintptr_t sc = u_scratch(u) + HOG_TEXT;
	long fd = open_out(u, path);

	if (fd < 0)
		return;
	u_poke(u, sc, text, str_len(text));
	u_syscall(u, NR_write, fd, (long)sc, (long)str_len(text), 0, 0, 0);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
}

static long free_pages(struct u *u)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	uint64_t info[14] = { 0 };

	if (u_syscall(u, NR_sysinfo, (long)sc, 0, 0, 0, 0, 0))
		return 0;
	u_peek(u, info, sc, sizeof(info));
	return (long)(info[5] / U_PAGE);
}

/* Takes or gives some pages; held: how many it has. reclaim: a file, or negative. */
static long hold(struct u *u, const struct marks *m, long held, long reclaim)
{
	long spare = free_pages(u) - m->low - m->reserve;
	long n = spare < HOG_CHUNK ? spare : HOG_CHUNK;

	if (spare > 0 && held + n < HOG_MOST) {
		u_syscall(u, NR_mmap, (long)(HOG_AT + (uintptr_t)held * U_PAGE), n * (long)U_PAGE,
			  U_PROT_READ | U_PROT_WRITE, MAP_HOG, -1, 0);
		return held + n;
	}
	if (spare < (m->min - m->low) / 2 && held) {
		n = held < HOG_CHUNK ? held : HOG_CHUNK;
		u_syscall(u, NR_munmap, (long)(HOG_AT + (uintptr_t)(held - n) * U_PAGE), n * (long)U_PAGE, 0,
			  0, 0, 0);
		return held - n;
	}
	/* kswapd gives up when it has found nothing for long; where there is something now, it tries again. */
	if (reclaim >= 0)
		u_syscall(u, NR_pwrite64, reclaim, (long)(u_scratch(u) + HOG_TEXT), 2, 0, 0, 0);
	u_syscall(u, NR_sched_yield, 0, 0, 0, 0, 0, 0);
	return held;
}

static void hog(struct u *u, void *state)
{
	struct fz *f = state;
	struct marks m = { 0 };
	long held = 0, reclaim;

	write_out(u, "/proc/self/oom_score_adj", "1000");
	reclaim = open_out(u, "/proc/quire/reclaim");
	u_poke(u, u_scratch(u) + HOG_TEXT, "99", 2);
	if (!fz_read_path(u, "/proc/zoneinfo", zone_line, &m) || !m.low)
		u_exit(u, 2);
	while (free_pages(u) > m.low + m.reserve)
		held = hold(u, &m, held, -1);
	u_syscall(u, NR_write, f->hog_ready, (long)u_scratch(u), 1, 0, 0, 0);
	for (;;)
		held = hold(u, &m, held, reclaim);
}

/* Starts the hog; the scenarios' machine is short of memory when it returns. */
long fz_hog_start(struct u *u, struct fz *f)
{
	uintptr_t sc = u_scratch(u) + FZ_SC_SMALL;
	long ret = u_syscall(u, NR_pipe2, (long)sc, 0, 0, 0, 0, 0);
	int fd[2];

	if (ret < 0)
		return ret;
	u_peek(u, fd, sc, sizeof(fd));
	f->hog_ready = fd[1];
	ret = u_fork(u, 0, hog, f, sizeof(*f));
	u_syscall(u, NR_close, fd[1], 0, 0, 0, 0, 0);
	if (ret > 0) {
		f->hog = (int32_t)ret;
		/* It says so by a byte, unless it dies before. */
		ret = u_syscall(u, NR_read, fd[0], (long)sc, 1, 0, 0, 0) == 1 ? 0 : -U_EAGAIN;
	}
	u_syscall(u, NR_close, fd[0], 0, 0, 0, 0, 0);
	return ret;
}

static void swapped_line(const char *line, void *ctx)
{
	if (str_starts(line, "pswpout ")) {
		line += 8;
		*(long *)ctx = (long)str_num(&line, 10);
	}
}

long fz_swapped_out(struct u *u)
{
	long n = 0;

	return fz_read_path(u, "/proc/vmstat", swapped_line, &n) ? n : 0;
}

void fz_hog_end(struct u *u, struct fz *f)
{
	if (!f->hog)
		return;
	u_syscall(u, NR_kill, f->hog, SIGKILL, 0, 0, 0, 0);
	u_syscall(u, NR_wait4, f->hog, 0, 0, 0, 0, 0);
	f->hog = 0;
}
