/* SPDX-License-Identifier: MIT */
/*
 * The first program of a real Linux kernel that serves as oracle: it reads a list of jobs from
 * /jobs, runs each one in a fresh tmpfs with the kernel's own tracer on, and writes what the
 * job printed, what the tracer saw and how the job ended to the raw disk given as channel: a
 * serial line would take minutes. It ends by switching the machine off.
 *
 * /jobs: `disk NAME DEVICE READ-ONLY` (this kernel's name for it), `swap NAME`, and then for each job
 * `job NAME SECONDS TRACE STDIO`, `path`, `arg` and `env` lines, `end`. Each of those is followed by a
 * number of bytes, and on the next line by so many. STDIO: 0: the output goes to the disk; 1: standard
 * input, output and error are the host's, over memory that it shares (kernel/hostio.h): a device of
 * QEMU's whose BAR 2 is that memory; 2: the same with a terminal.
 * The disk: frames of a 16-byte head (magic "QFRM", kind, length) and the contents.
 */
#define _GNU_SOURCE
#include "../kernel/hostio.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum frame { FRAME_JOB = 1, FRAME_OUTPUT, FRAME_TRACE, FRAME_STATUS, FRAME_END, FRAME_LOG };

#define TRACING "/sys/kernel/tracing/"
#define MAX_ARGS 65536

enum { STDIO_NONE, STDIO_PIPE, STDIO_TTY };

struct job {
	char *argv[MAX_ARGS + 1], *envp[MAX_ARGS + 1];
	char name[256], *path;
	int argc, envc, seconds, trace, stdio;
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

/* ---- the host's rings ------------------------------------------------------------------------ */

#define IVSHMEM "0x1af40x1110" /* vendor and device */
#define RING_AT(i)   (4096u + ((uint64_t)(i) << 18))
#define RING_SIZE    (1u << 18)

static struct hostio *io;
static int ours[HOSTIO_RINGS] = {-1, -1, -1}; /* our ends of the program's pipes; a terminal: ours[0] alone */

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static int read_word(const char *device, const char *name, char *out)
{
	char path[300];
	FILE *f;
	int n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, name);
	f = fopen(path, "re");
	n = f ? fscanf(f, "%15s", out) : 0;
	if (f)
		fclose(f);
	return n == 1;
}

/* Finds the device and makes the rings in its memory. */
static void map_rings(void)
{
	DIR *d = opendir("/sys/bus/pci/devices");
	char path[300], id[32];
	struct dirent *e;

	while (d && !io && (e = readdir(d))) {
		int fd;
		void *p;

		if (!read_word(e->d_name, "vendor", id) ||
		    !read_word(e->d_name, "device", id + strlen(id)) || strcmp(id, IVSHMEM))
			continue;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", e->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		p = mmap(NULL, RING_AT(HOSTIO_RINGS), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p != MAP_FAILED)
			io = p;
		close(fd);
	}
	if (d)
		closedir(d);
	for (int i = 0; io && i < HOSTIO_RINGS; i++)
		io->ring[i] = (struct hostio_ring){.offset = RING_AT(i), .size = RING_SIZE};
	if (io)
		store(&io->magic, HOSTIO_MAGIC);
}

static void shut(int which)
{
	if (ours[which] >= 0)
		close(ours[which]);
	ours[which] = -1;
}

/* From the host to the program. */
static int pump_in(int to, int terminal)
{
	struct hostio_ring *r = &io->ring[HOSTIO_IN];
	uint64_t closed = load(&r->closed), at = r->tail, n = load(&r->head) - at;
	static int told_end;
	ssize_t w;

	if (to < 0)
		return 0;
	if (!n && closed && !told_end) {
		told_end = 1;
		if (!terminal)
			shut(HOSTIO_IN);
		else if (write(to, "\004", 1) != 1)
			told_end = 0;
		return 1;
	}
	if (n > RING_SIZE - at % RING_SIZE)
		n = RING_SIZE - at % RING_SIZE;
	w = n ? write(to, (char *)io + r->offset + at % RING_SIZE, n) : 0;
	if (w < 0 && errno != EAGAIN && !terminal)
		shut(HOSTIO_IN);
	if (w > 0)
		store(&r->tail, at + w);
	return w > 0;
}

/* Nothing more comes from there, or nobody wants it. */
static void stop(int which)
{
	shut(ours[which] < 0 ? HOSTIO_IN : which);
}

/* From the program to the host. 0: nothing came. */
static int pump_out(int which, int from)
{
	struct hostio_ring *r = &io->ring[which];
	uint64_t at = r->head, room = RING_SIZE - (at - load(&r->tail));
	ssize_t got;

	if (from < 0)
		return 0;
	if (load(&r->closed)) {
		stop(which);
		return 0;
	}
	if (room > RING_SIZE - at % RING_SIZE)
		room = RING_SIZE - at % RING_SIZE;
	if (!room) {
		usleep(500);
		return 1;
	}
	got = read(from, (char *)io + r->offset + at % RING_SIZE, room);
	if (got > 0)
		store(&r->head, at + got);
	else if (!got || errno != EAGAIN)
		stop(which);
	return got > 0;
}

/* What the host wants sent, and how large its terminal is. */
static void obey(pid_t pid, int terminal)
{
	static uint64_t window;
	uint64_t now = load(&io->window);
	int sig = (int)load(&io->signal);
	pid_t group = pid;

	if (terminal && now != window) {
		struct winsize w = {.ws_row = now >> 32, .ws_col = now};

		window = now;
		ioctl(ours[HOSTIO_IN], TIOCSWINSZ, &w);
	}
	if (!sig)
		return;
	if (terminal)
		ioctl(ours[HOSTIO_IN], TIOCGPGRP, &group);
	kill(-group, sig);
	store(&io->signal, 0);
}

static int pump(pid_t pid, int terminal)
{
	int moved;

	obey(pid, terminal);
	moved = pump_in(ours[HOSTIO_IN], terminal);
	moved |= pump_out(HOSTIO_OUT, terminal ? ours[HOSTIO_IN] : ours[HOSTIO_OUT]);
	return moved | pump_out(HOSTIO_ERR, ours[HOSTIO_ERR]);
}

/* Both ends of what the program gets; theirs[] are its descriptors. */
static void make_ends(int terminal, int theirs[HOSTIO_RINGS])
{
	int p[2];

	if (terminal) {
		ours[HOSTIO_IN] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		grantpt(ours[HOSTIO_IN]);
		unlockpt(ours[HOSTIO_IN]);
		theirs[0] = open(ptsname(ours[HOSTIO_IN]), O_RDWR | O_NOCTTY);
		theirs[1] = theirs[2] = theirs[0];
		ioctl(theirs[0], TIOCSWINSZ, &(struct winsize){ .ws_row = 24, .ws_col = 80 });
		return;
	}
	for (int i = 0; i < HOSTIO_RINGS; i++) {
		if (pipe(p))
			fprintf(stderr, "oracle: pipe: %s\n", strerror(errno));
		theirs[i] = p[i != HOSTIO_IN];
		ours[i] = p[i == HOSTIO_IN];
		fcntl(ours[i], F_SETFL, O_NONBLOCK | (i == HOSTIO_IN ? O_WRONLY : O_RDONLY));
		fcntl(ours[i], F_SETFD, FD_CLOEXEC);
	}
}

/* ---- a job ----------------------------------------------------------------------------------- */

static void start(struct job *j)
{
	static char *const usual[] = { "HOME=/tmp", "PATH=/bin", NULL };
	const char *path = j->path ? j->path : j->argv[0];

	close(channel);
	if (chdir(j->stdio ? "/" : "/tmp"))
		_exit(126);
	execve(path, j->argv, j->envc ? j->envp : usual);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void child(struct job *j, int go, const int theirs[HOSTIO_RINGS])
{
	char c;
	int out = j->stdio ? theirs[1] : open("/out", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	int in = j->stdio ? theirs[0] : open("/dev/null", O_RDONLY);
	int err = j->stdio ? theirs[2] : out;

	if (j->stdio == STDIO_TTY) {
		setsid();
		ioctl(in, TIOCSCTTY, 0);
	} else {
		setpgid(0, 0);
	}
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (read(go, &c, 1) != 1)
		_exit(126);
	for (int fd = 3; fd < 64; fd++)
		if (fd != channel)
			close(fd);
	start(j);
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

/* The same, while its input and output flow. What it leaves running ends with it. */
static int wait_and_pump(pid_t pid, struct job *j)
{
	int status, result = -1, terminal = j->stdio == STDIO_TTY;
	time_t end = time(NULL) + j->seconds;

	while (!j->seconds || time(NULL) < end) {
		struct pollfd p[] = { { ours[terminal ? 0 : 1], POLLIN, 0 }, { ours[2], POLLIN, 0 } };
		pid_t ended;

		if (!pump(pid, terminal))
			poll(p, 2, 1);
		while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
			if (ended == pid)
				result = status;
		if (result >= 0)
			break;
	}
	kill(-1, SIGKILL);
	while (waitpid(-1, &status, 0) > 0)
		;
	while (pump_out(HOSTIO_OUT, ours[terminal ? 0 : 1]) | pump_out(HOSTIO_ERR, ours[2]))
		;
	for (int i = 0; i < HOSTIO_RINGS; i++)
		shut(i);
	return result;
}

/* What the kernel said meanwhile. */
static void frame_log(void)
{
	static char text[1 << 18];
	int n = klogctl(3, text, sizeof(text));

	frame(FRAME_LOG, text, n > 0 ? n : 0);
}

static void run(struct job *j)
{
	char text[64];
	int go[2], theirs[HOSTIO_RINGS], status;
	pid_t pid;

	mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
	frame(FRAME_JOB, j->name, strlen(j->name));
	if (j->stdio && !io) {
		fprintf(stderr, "oracle: no memory is shared\n");
		return;
	}
	if (j->stdio)
		make_ends(j->stdio == STDIO_TTY, theirs);
	if (pipe(go))
		return;
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		signal(SIGPIPE, SIG_DFL);
		child(j, go[0], theirs);
	}
	close(go[0]);
	for (int i = 0; j->stdio && i < (j->stdio == STDIO_TTY ? 1 : HOSTIO_RINGS); i++)
		close(theirs[i]);
	if (j->trace) {
		snprintf(text, sizeof(text), "%d", pid);
		set(TRACING "set_event_pid", text);
		set(TRACING "trace", "");
		set(TRACING "tracing_on", "1");
	}
	if (write(go[1], "g", 1) != 1)
		return;
	close(go[1]);
	status = j->stdio ? wait_and_pump(pid, j) : wait_for(pid, j->seconds);
	set(TRACING "tracing_on", "0");
	if (!j->stdio)
		frame_file(FRAME_OUTPUT, "/out");
	else
		frame_log();
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
	mkdir("/dev/pts", 0755);
	mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666");
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

/* A node of its own, by the name that other machines have for it. Its driver is not done at once. */
static void disk(const char *name, const char *device, int read_only)
{
	struct stat st;
	int fd = -1;

	for (int i = 0; i < 1000 && (fd = open(device, O_RDONLY | O_CLOEXEC)) < 0; i++)
		usleep(10000);
	if (fd < 0 || ioctl(fd, BLKROSET, &read_only) || fstat(fd, &st) ||
	    mknod(name, st.st_mode, st.st_rdev))
		fprintf(stderr, "oracle: %s: %s\n", device, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* So many bytes and a line end, as a string. */
static char *bytes(FILE *f, size_t n)
{
	char *p = malloc(n + 1);

	if (!p || fread(p, 1, n, f) != n || getc(f) != '\n')
		return NULL;
	p[n] = 0;
	return p;
}

static void begin(struct job *j)
{
	for (int i = 0; i < j->argc; i++)
		free(j->argv[i]);
	for (int i = 0; i < j->envc; i++)
		free(j->envp[i]);
	free(j->path);
	j->path = NULL;
	j->argc = j->envc = 0;
}

static void read_jobs(FILE *f)
{
	static struct job j, next;
	char line[512], name[64], device[64];
	size_t n;
	int read_only;

	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "disk %63s %63s %d", name, device, &read_only) == 3) {
			disk(name, device, read_only);
		} else if (sscanf(line, "swap %63s", name) == 1) {
			if (swapon(name, 0))
				fprintf(stderr, "oracle: swapon %s: %s\n", name, strerror(errno));
		} else if (sscanf(line, "job %255s %d %d %d", next.name, &next.seconds, &next.trace,
				  &next.stdio) == 4) {
			begin(&j);
			memcpy(j.name, next.name, sizeof(j.name));
			j.seconds = next.seconds;
			j.trace = next.trace;
			j.stdio = next.stdio;
		} else if (sscanf(line, "path %zu", &n) == 1) {
			j.path = bytes(f, n);
		} else if (sscanf(line, "arg %zu", &n) == 1 && j.argc < MAX_ARGS) {
			j.argv[j.argc++] = bytes(f, n);
		} else if (sscanf(line, "env %zu", &n) == 1 && j.envc < MAX_ARGS) {
			j.envp[j.envc++] = bytes(f, n);
		} else if (!strcmp(line, "end") && j.argc) {
			j.argv[j.argc] = j.envp[j.envc] = NULL;
			run(&j);
		}
	}
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	FILE *f;

	sigaction(SIGALRM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	mounts();
	map_rings();
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
