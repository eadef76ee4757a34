/* SPDX-License-Identifier: MIT */
/*
 * Runs a program without address randomisation and stops it, and every process it makes, for a
 * moment after each exec and before each exit, to write down its memory map: what exec mapped,
 * and at the end the final map with each area's resident set. Uses ptrace only for these stops,
 * so system calls and faults run as they would without it.
 *
 * usage: quire-watch LOG COMMAND ARG...     The exit status is the command's.
 *
 * The log: blocks of `exec|exit PID`, `stat TEXT` (/proc/PID/stat), `file MAJ:MIN INO SIZE PATH`,
 * `map` lines as in /proc/PID/maps, each followed by `rss KIB` at an exit, and `end`.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *out;

static void proc_name(char *buf, size_t n, pid_t pid, const char *what)
{
	snprintf(buf, n, "/proc/%d/%s", (int)pid, what);
}

/* A mapped file's size is taken while its name still leads to it. */
static void write_file(const char *maps_line)
{
	const char *path = strchr(maps_line, '/');
	char name[4096];
	struct stat st;

	if (!path)
		return;
	snprintf(name, sizeof(name), "%s", path);
	name[strcspn(name, "\n")] = 0;
	if (stat(name, &st))
		return;
	fprintf(out, "file %x:%x %llu %lld %s\n", major(st.st_dev), minor(st.st_dev),
		(unsigned long long)st.st_ino, (long long)st.st_size, name);
}

static int is_map_line(const char *line)
{
	return strspn(line, "0123456789abcdef") && line[strspn(line, "0123456789abcdef")] == '-';
}

static void write_block(const char *event, pid_t pid, int status)
{
	char name[64], line[4352];
	long kib;
	FILE *f;

	fprintf(out, "%s %d %d\n", event, (int)pid, status);
	proc_name(name, sizeof(name), pid, "stat");
	f = fopen(name, "r");
	if (f) {
		if (fgets(line, sizeof(line), f))
			fprintf(out, "stat %s", line);
		fclose(f);
	}
	proc_name(name, sizeof(name), pid, "smaps");
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (is_map_line(line)) {
			write_file(line);
			fprintf(out, "map %s", line);
		} else if (sscanf(line, "Rss: %ld", &kib) == 1) {
			fprintf(out, "rss %ld\n", kib);
		} else if (!strncmp(line, "VmFlags:", 8)) {
			fprintf(out, "flags%s", line + 8);
		}
	}
	if (f)
		fclose(f);
	fprintf(out, "end\n");
}

/* Whether a thread is the first of its process; only that one's exit tells of the process. */
static int is_leader(pid_t tid)
{
	char name[64], line[256];
	int tgid = -1;
	FILE *f;

	proc_name(name, sizeof(name), tid, "status");
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	if (f)
		fclose(f);
	return tgid == tid;
}

static void handle_stop(pid_t pid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	unsigned long message = 0;

	switch (event) {
	case PTRACE_EVENT_EXEC:
		write_block("exec", pid, 0);
		break;
	case PTRACE_EVENT_EXIT:
		ptrace(PTRACE_GETEVENTMSG, pid, NULL, &message);
		if (is_leader(pid))
			write_block("exit", pid, (int)message);
		break;
	case PTRACE_EVENT_STOP:
		if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
			ptrace(PTRACE_LISTEN, pid, NULL, NULL);
			return;
		}
		break;
	case 0:
		ptrace(PTRACE_CONT, pid, NULL, (void *)(long)sig);
		return;
	}
	ptrace(PTRACE_CONT, pid, NULL, NULL);
}

static pid_t start(char **argv)
{
	int go[2];
	pid_t pid;
	char c;

	if (pipe(go))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		personality(ADDR_NO_RANDOMIZE);
		if (read(go[0], &c, 1) != 1)
			_exit(126);
		close(go[0]);
		fclose(out);
		execvp(argv[0], argv);
		fprintf(stderr, "quire-watch: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(go[0]);
	if (pid > 0 && ptrace(PTRACE_SEIZE, pid, NULL,
			      PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK |
			      PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)) {
		perror("quire-watch: ptrace");
		kill(pid, SIGKILL);
		return -1;
	}
	fprintf(out, "start %d\n", (int)pid);
	fflush(out);
	if (pid > 0 && write(go[1], "g", 1) != 1)
		return -1;
	close(go[1]);
	return pid;
}

int main(int argc, char **argv)
{
	int status, result = 126;
	pid_t first, pid;

	if (argc < 3) {
		fprintf(stderr, "usage: quire-watch LOG COMMAND ARG...\n");
		return 126;
	}
	out = fopen(argv[1], "we");
	if (!out) {
		perror(argv[1]);
		return 126;
	}
	signal(SIGINT, SIG_IGN);
	first = start(argv + 2);
	if (first < 0)
		return 126;
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid < 0)
			continue;
		if (WIFSTOPPED(status))
			handle_stop(pid, status);
		else if (pid == first)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	fclose(out);
	return result;
}
