/* SPDX-License-Identifier: MIT */
/*
 * runner [--machine NAME] [--trace] [--check] [--look LINE:COMMAND]... FILE...
 *
 * Runs scenarios, each in a fresh process, and says for each action what was seen and where that
 * is not what the file expects. Exit status: 0 as expected, 1 not, 2 could not run (a malformed
 * file, an action that cannot be done here). On the machine `linux`, which is somebody's own,
 * nothing is run that would change the whole machine. --trace switches a Linux's tracer on for
 * the run; our own machines are always traced. --look has our own kernels' monitor show something
 * after the action of a line (look.c).
 */
#include "run.h"

struct options {
	const char *machine;
	bool trace, check;
	char looks[2048]; /* as in struct run */
};

static void say(struct u *u, const char *a, const char *b, const char *c)
{
	char buf[1024];
	struct text t = TEXT(buf);

	text_str(&t, a);
	text_str(&t, b);
	text_str(&t, c);
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
}

/* ---- one file ------------------------------------------------------------------------------- */

static bool load(struct u *u, struct run *r, const char *path)
{
	char err[512];
	struct text t = TEXT(err), p = TEXT(r->path);
	long n;

	__builtin_memset(r, 0, sizeof(*r));
	text_str(&p, path);
	n = u_read_file(u, path, r->scn.text, SCN_MAX_TEXT - 8);
	if (n < 0) {
		text_dec(&t, n);
		say(u, path, n == -U_EFBIG ? ": the file is too long" : ": cannot be read: error ",
		    n == -U_EFBIG ? "" : err);
		return false;
	}
	r->scn.size = (uint32_t)n;
	if (scn_parse(&r->scn, &t))
		return true;
	say(u, path, ":", err);
	return false;
}

/* The developer's own kernel must not be changed by a scenario. */
static bool allowed(struct u *u, struct run *r, const struct options *o)
{
	const struct scn_action *a = scn_whole_machine(&r->scn);
	char buf[256];
	struct text t = TEXT(buf);

	if (!a || !str_eq(o->machine, "linux"))
		return true;
	text_chr(&t, ':');
	text_udec(&t, a->line);
	text_str(&t, ": this action changes the whole machine and is not run on the machine "
		     "linux; nothing was run: use the machine linux-5.10");
	say(u, r->path, buf, "");
	return false;
}

static void first_task(struct u *u, void *state)
{
	task_life(u, state);
}

static int result_of(struct u *u, struct run *r, int32_t status)
{
	char buf[32];
	struct text t = TEXT(buf);

	if (!(status & 0x7f))
		return status >> 8 & 0xff;
	text_dec(&t, status & 0x7f);
	say(u, r->path, ": the scenario's first task was killed by signal ", buf);
	return 2;
}

static void close_pipes(struct u *u, struct run *r)
{
	for (unsigned i = 0; i < r->scn.ntasks; i++) {
		u_syscall(u, NR_close, r->rd[i], 0, 0, 0, 0, 0);
		u_syscall(u, NR_close, r->wr[i], 0, 0, 0, 0, 0);
	}
	u_syscall(u, NR_close, r->copy_rd, 0, 0, 0, 0, 0);
	u_syscall(u, NR_close, r->copy_wr, 0, 0, 0, 0, 0);
	if (r->marker >= 0)
		u_syscall(u, NR_close, r->marker, 0, 0, 0, 0, 0);
}

static int run_file(struct u *u, struct run *r, const char *path, const struct options *o)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;
	int32_t status = 2 << 8;
	long pid, got;

	if (!load(u, r, path) || !allowed(u, r, o))
		return 2;
	if (o->check)
		return 0;
	say(u, path, "", "");
	__builtin_memcpy(r->looks, o->looks, sizeof(r->looks));
	r->traced = o->trace || !str_starts(o->machine, "linux");
	pid = task_setup(u, r);
	if (pid >= 0)
		pid = u_fork(u, 0, first_task, r, sizeof(*r));
	if (pid < 0) {
		say(u, path, ": no pipe or no process for it", "");
		return 2;
	}
	/* Whoever else turns up lost its parent: reaped, not waited for. */
	do
		got = u_syscall(u, NR_wait4, -1, (long)sc, 0, 0, 0, 0);
	while (got != pid && (got > 0 || got == -U_EINTR));
	if (got == pid)
		u_peek(u, &status, sc, sizeof(status));
	close_pipes(u, r);
	return result_of(u, r, status);
}

/* ---- the machine ---------------------------------------------------------------------------- */

/* As the first program of a machine: what a Linux kernel leaves to user space. */
static void mount_all(struct u *u)
{
	static const char *const what[][2] = { { "proc", "/proc" },
					       { "sysfs", "/sys" },
					       { "devtmpfs", "/dev" },
					       { "tmpfs", "/tmp" },
					       { "tracefs", "/sys/kernel/tracing" } };
	uintptr_t sc = u_scratch(u) + SC_SMALL;

	for (unsigned i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		u_poke(u, sc, what[i][0], str_len(what[i][0]) + 1);
		u_poke(u, sc + 512, what[i][1], str_len(what[i][1]) + 1);
		u_syscall(u, NR_mkdirat, U_AT_FDCWD, (long)sc + 512, 0755, 0, 0, 0);
		u_syscall(u, NR_mount, (long)sc, (long)sc + 512, (long)sc, 0, 0, 0);
	}
}

/* Linux's release says whose kernel it is, where the caller does not. */
static const char *guess_machine(struct u *u, bool first)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	char release[65];

	if (u_syscall(u, NR_uname, (long)sc, 0, 0, 0, 0, 0))
		return "linux";
	u_peek(u, release, sc + 2 * 65, sizeof(release));
	for (const char *p = release; *p; p++)
		if (str_starts(p, "-quire"))
			return "quire";
	return first ? "linux-5.10" : "linux";
}

static int usage(struct u *u)
{
	say(u, "usage: runner [--machine NAME] [--trace] [--check] [--look LINE:COMMAND]... FILE...", "",
	    "");
	return 2;
}

static void add_look(struct text *looks, const char *s)
{
	text_str(looks, s);
	text_chr(looks, '\n');
}

static int runner_main(struct u *u, void *state, int argc, char **argv)
{
	bool first = u_syscall(u, NR_getpid, 0, 0, 0, 0, 0, 0) == 1;
	struct options o = { 0 };
	struct text looks = TEXT(o.looks);
	int worst = 0, i;

	for (i = 1; i < argc && str_starts(argv[i], "--"); i++) {
		if (str_eq(argv[i], "--machine") && i + 1 < argc)
			o.machine = argv[++i];
		else if (str_eq(argv[i], "--trace"))
			o.trace = true;
		else if (str_eq(argv[i], "--check"))
			o.check = true;
		else if (str_eq(argv[i], "--look") && i + 1 < argc)
			add_look(&looks, argv[++i]);
		else
			return usage(u);
	}
	if (i >= argc)
		return usage(u);
	if (!o.machine)
		o.machine = guess_machine(u, first);
	if (first)
		mount_all(u);
	for (; i < argc; i++) {
		int ret = run_file(u, state, argv[i], &o);

		worst = ret > worst ? ret : worst;
	}
	/* LINUX_REBOOT_CMD_POWER_OFF; our own kernels end with their first program. */
	if (first && str_starts(o.machine, "linux"))
		u_syscall(u, NR_reboot, 0xfee1deadl, 672274793l, 0x4321fedcl, 0, 0, 0);
	return worst;
}

const struct u_program runner_program = { runner_main, sizeof(struct run), 0x200000000 };
