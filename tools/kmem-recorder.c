/* SPDX-License-Identifier: MIT */
/*
 * Runs a command under a real Linux kernel's tracer with the page and slab events on and prints,
 * in sections, what the kernel says of its free lists before and after, and the events between.
 * It is a static program for tools/kmem.py's reference kernel; /proc and tracefs are there.
 *
 * usage: kmem-recorder BUFFER_KB COMMAND [ARG...]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing/"

static const char *const events[] = {
	"mm_page_alloc", "mm_page_free", "mm_page_free_batched", "mm_page_alloc_extfrag",
	"mm_page_pcpu_drain", "mm_page_alloc_zone_locked",
	"kmalloc", "kmem_cache_alloc", "kmalloc_node", "kmem_cache_alloc_node",
	"kfree", "kmem_cache_free",
};

static void die(const char *what)
{
	fprintf(stderr, "kmem-recorder: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void set(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd))
		die(path);
}

static void show(const char *title, const char *path)
{
	static char buf[1 << 16];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		die(path);
	printf("== %s\n", title);
	fflush(stdout);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(1, buf, (size_t)n) != n)
			die("output");
	close(fd);
}

static int run(char **argv)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die(argv[0]);
	return status;
}

int main(int argc, char **argv)
{
	char path[128];
	struct utsname u;
	int status;

	if (argc < 3)
		die("usage: kmem-recorder BUFFER_KB COMMAND [ARG...]");
	set(TRACING "tracing_on", "0");
	set(TRACING "set_event_pid", "");
	set(TRACING "events/enable", "0");
	set(TRACING "options/overwrite", "0");
	set(TRACING "buffer_size_kb", argv[1]);
	set(TRACING "trace", "");
	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		snprintf(path, sizeof(path), TRACING "events/kmem/%s/enable", events[i]);
		set(path, "1");
	}
	uname(&u);
	printf("== kernel\n%s\n", u.release);
	show("buddyinfo before", "/proc/buddyinfo");
	show("pagetypeinfo before", "/proc/pagetypeinfo");
	show("zoneinfo before", "/proc/zoneinfo");
	fflush(stdout);
	set(TRACING "tracing_on", "1");
	status = run(argv + 2);
	set(TRACING "tracing_on", "0");
	show("buddyinfo after", "/proc/buddyinfo");
	show("pagetypeinfo after", "/proc/pagetypeinfo");
	show("slabinfo after", "/proc/slabinfo");
	printf("== status\n%d\n", status);
	show("stats", TRACING "per_cpu/cpu0/stats");
	show("trace", TRACING "trace");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
