/* SPDX-License-Identifier: MIT */
/*
 * The first program of a real Linux kernel that serves as oracle: it reads a list of jobs from
 * /jobs, runs each one in a fresh tmpfs with the kernel's own tracer on, and writes what the
 * job printed, what the tracer saw and how the job ended to the raw disk given as channel: a
 * serial line would take minutes. It ends by switching the machine off.
 *
 * /jobs: `job NAME SECONDS TRACE`, then `arg TEXT` lines, then `end`.
 * The disk: frames of a 16-byte head (magic "QFRM", kind, length) and the contents.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum frame { FRAME_JOB = 1, FRAME_OUTPUT, FRAME_TRACE, FRAME_STATUS, FRAME_END };

#define TRACING "/sys/kernel/tracing/"
#define MAX_ARGS 64

struct job {
	char *argv[MAX_ARGS + 1];
	char name[256];
	int argc, seconds, trace;
};

static int channel = -1;

static void put(const void *p, size_t n)
{
	const char *c = p;

	while (n) {
		ssize_t w = write(channel, c, n);

		if (w <= 0) {
			fprintf(stderr, "oracle: channel: %s\n", strerror(errno));
			return;
		}
		c += w;
		n -= w;
	}
}

static void frame_head(enum frame kind, uint64_t n)
{
	uint32_t k = kind;

	put("QFRM", 4);
	put(&k, 4);
	put(&n, 8);
}

static void frame(enum frame kind, const void *p, size_t n)
{
	frame_head(kind, n);
	put(p, n);
}

/* A file's contents as a frame. Its size is not asked of stat: tracefs does not know it. */
static void frame_file(enum frame kind, const char *path)
{
	size_t n = 0, room = 1 << 20;
	char *buf = malloc(room);
	int fd = open(path, O_RDONLY);
	ssize_t r;

	while (buf && fd >= 0 && (r = read(fd, buf + n, room - n)) > 0) {
		n += r;
		if (n == room) {
			char *more = realloc(buf, room * 2);

			if (!more)
				break;
			buf = more;
			room *= 2;
		}
	}
	if (fd >= 0)
		close(fd);
	frame(kind, buf, n);
	free(buf);
}

static void set(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "oracle: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void tracer_setup(void)
{
	set(TRACING "tracing_on", "0");
	set(TRACING "buffer_size_kb", "131072");
	set(TRACING "options/event-fork", "1");
	set(TRACING "options/overwrite", "0");
	set(TRACING "events/exceptions/page_fault_user/enable", "1");
	set(TRACING "events/exceptions/page_fault_kernel/enable", "1");
}

static void child(struct job *j, int go)
{
	char c;
	int out = open("/out", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (read(go, &c, 1) != 1)
		_exit(126);
	if (out > 2)
		close(out);
	if (null > 2)
		close(null);
	close(channel);
	close(go);
	if (chdir("/tmp"))
		_exit(126);
	execve(j->argv[0], j->argv, (char *[]){ "HOME=/tmp", "PATH=/bin", NULL });
	fprintf(stderr, "%s: %s\n", j->argv[0], strerror(errno));
	_exit(127);
}

static void on_alarm(int sig)
{
}

/* Reaps everything; the first child's status is the job's, -1 if its time ran out. */
static int wait_for(pid_t pid, int seconds)
{
	int status, result = -1;
	pid_t p;

	alarm(seconds);
	for (;;) {
		p = waitpid(-1, &status, 0);
		if (p == pid) {
			result = status;
			break;
		}
		if (p < 0)
			break;
	}
	alarm(0);
	kill(-pid, SIGKILL);
	while (waitpid(-1, &status, WNOHANG) > 0)
		;
	return result;
}

static void run(struct job *j)
{
	char text[64];
	int go[2], status;
	pid_t pid;

	mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
	frame(FRAME_JOB, j->name, strlen(j->name));
	if (pipe(go))
		return;
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		child(j, go[0]);
	}
	close(go[0]);
	if (j->trace) {
		snprintf(text, sizeof(text), "%d", pid);
		set(TRACING "set_event_pid", text);
		set(TRACING "trace", "");
		set(TRACING "tracing_on", "1");
	}
	if (write(go[1], "g", 1) != 1)
		return;
	close(go[1]);
	status = wait_for(pid, j->seconds);
	set(TRACING "tracing_on", "0");
	frame_file(FRAME_OUTPUT, "/out");
	if (j->trace)
		frame_file(FRAME_TRACE, TRACING "trace");
	snprintf(text, sizeof(text), "%d", status);
	frame(FRAME_STATUS, text, strlen(text));
	umount2("/tmp", MNT_DETACH);
	unlink("/out");
}

static void mounts(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

static void read_jobs(FILE *f)
{
	static struct job j;
	char line[8192];

	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "job %255s %d %d", j.name, &j.seconds, &j.trace) == 3) {
			j.argc = 0;
		} else if (!strncmp(line, "arg ", 4) && j.argc < MAX_ARGS) {
			j.argv[j.argc++] = strdup(line + 4);
		} else if (!strcmp(line, "end") && j.argc) {
			j.argv[j.argc] = NULL;
			run(&j);
		}
	}
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	FILE *f;

	sigaction(SIGALRM, &sa, NULL);
	mounts();
	f = fopen("/jobs", "re");
	channel = open("/dev/nvme0n1", O_WRONLY | O_CLOEXEC);
	if (!f || channel < 0)
		fprintf(stderr, "oracle: no %s\n", f ? "channel" : "jobs");
	tracer_setup();
	if (f && channel >= 0)
		read_jobs(f);
	frame(FRAME_END, "", 0);
	fsync(channel);
	close(channel);
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
