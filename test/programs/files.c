/* SPDX-License-Identifier: MIT */
/*
 * Threads and files, over the machine in software with kernel and core: at a chosen point of a chosen
 * call, usually in the middle of its copy, the others run. The verdict does not hang on chance, and
 * under the address sanitizer a file that goes too early is seen.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/hal_kernel.h"
#include <quire/abi.h>
#include <quire/quire.h>

#include "test/programs/meet.h"

#define NAMES	 (A + 0x1000)  /* paths */

enum { NR_READ, NR_WRITE, NR_OPEN, NR_CLOSE, NR_POLL = 7, NR_LSEEK, NR_MMAP, NR_PREAD = 17,
       NR_YIELD = 24, NR_DUP2 = 33, NR_EXIT = 60, NR_FCNTL = 72, NR_RENAME = 82, NR_MKDIR,
       NR_RMDIR, NR_UNLINK = 87, NR_GETDENTS = 217, NR_PIPE2 = 293 };

/* ---- the others run here --------------------------------------------------------------------- */

enum point { NOWHERE, BEFORE_COPY_TO_USER, COPY_TO_USER, COPY_FROM_USER, NEW_INODE, ALLOCATION, OPEN_FILE };

static enum point armed;
static unsigned skip; /* times that the point is passed before */

static void here(enum point p)
{
	if (!p || armed != p || skip--)
		return;
	skip = 0;
	armed = NOWHERE;
	for (int i = 0; i < TURNS; i++)
		schedule();
}

/* before: 0 (NOWHERE), or a point of its own before the function has begun. */
#define WRAP(type, name, parameters, arguments, before, point)   \
	type __real_##name parameters;                   \
	type __wrap_##name parameters;                   \
	type __wrap_##name parameters                    \
	{                                                \
		type r;                                  \
                                                         \
		here(before);                            \
		r = __real_##name arguments;             \
                                                         \
		here(point);                             \
		return r;                                \
	}
WRAP(size_t, hal_copy_to_user, (uintptr_t dst, const void *src, size_t n), (dst, src, n),
     BEFORE_COPY_TO_USER, COPY_TO_USER)
WRAP(size_t, hal_copy_from_user, (void *dst, uintptr_t src, size_t n), (dst, src, n), NOWHERE,
     COPY_FROM_USER)
WRAP(struct quire_inode *, quire_inode_create,
     (const struct quire_inode_ops *ops, void *priv, uint64_t ino, uint32_t dev, unsigned flags),
     (ops, priv, ino, dev, flags), NOWHERE, NEW_INODE)
WRAP(struct quire_file *, quire_file_open, (struct quire_inode * i, unsigned mode, const char *path),
     (i, mode, path), NOWHERE, OPEN_FILE)

/* Before the memory is there, and so before anything is done with it. */
void *__real_quire_kmalloc(size_t n, unsigned flags);
void *__wrap_quire_kmalloc(size_t n, unsigned flags);
void *__wrap_quire_kmalloc(size_t n, unsigned flags)
{
	here(ALLOCATION);
	return __real_quire_kmalloc(n, flags);
}

/* ---- checks, and what the programs share ------------------------------------------------------ */

static int fds[2];
static long answer; /* the other thread's */

static long path(const char *s)
{
	static unsigned next;
	uintptr_t at = NAMES + next++ % 8 * 256;

	fake_poke(at, s, strlen(s) + 1);
	return (long)at;
}

static int open_file(const char *name, unsigned flags)
{
	return (int)SC(NR_OPEN, path(name), flags, 0644);
}

/* n bytes of the pattern that begins with `from`, at a user address. */
static void pattern(uintptr_t at, unsigned from, size_t n)
{
	char c[256];

	for (size_t i = 0; i < n; i += sizeof(c)) {
		for (size_t k = 0; k < sizeof(c); k++)
			c[k] = (char)((from + i + k) * 7 >> 3);
		fake_poke(at + i, c, n - i < sizeof(c) ? n - i : sizeof(c));
	}
}

static int byte_at(uintptr_t at)
{
	unsigned char c = 0;

	fake_peek(&c, at, 1);
	return c;
}

static void pipe_new(void)
{
	CHECK(SC(NR_PIPE2, MAIN, 0) == 0);
	fake_peek(fds, MAIN, sizeof(fds));
}

/* ---- a file stays for as long as a call uses it ------------------------------------------------ */

static void read_a_byte(void)
{
	answer = SC(NR_READ, fds[0], OTHER, 1);
}

static void close_while_read(void)
{
	pipe_new();
	other_start(read_a_byte);
	others_run(); /* it sleeps */
	CHECK(SC(NR_CLOSE, fds[0]) == 0);
	others_run();
	CHECK(SC(NR_READ, fds[0], MAIN, 1) == -EBADF);
	fake_poke(MAIN, "x", 1);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == 1); /* the reader still is one */
	other_join();
	CHECK(answer == 1 && byte_at(OTHER) == 'x');
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == -EPIPE);
}

static void dup_while_read(void)
{
	int null = open_file("/dev/null", O_RDWR);

	pipe_new();
	other_start(read_a_byte);
	others_run();
	CHECK(SC(NR_DUP2, null, fds[0]) == fds[0]);
	CHECK(SC(NR_READ, fds[0], MAIN, 1) == 0);
	fake_poke(MAIN, "y", 1);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 1) == 1);
	other_join();
	CHECK(answer == 1 && byte_at(OTHER) == 'y');
}

static void use_unborn_pipe(void)
{
	int free = open_file("/dev/null", O_RDWR);

	answer = 0;
	for (int fd = 3; fd < 8; fd++) {
		if (fd == free)
			continue;
		answer += SC(NR_CLOSE, fd) != -EBADF;
		answer += SC(NR_FCNTL, fd, F_GETFD) != -EBADF;
	}
	answer += SC(NR_DUP2, free, 3) != -EBUSY;
	SC(NR_CLOSE, free);
}

/* Until the program has been told its descriptors, nobody can use them, and nobody gets their
 * numbers. */
static void pipe_seen_too_early(void)
{
	other_start(use_unborn_pipe);
	armed = COPY_TO_USER;
	CHECK(SC(NR_PIPE2, MAIN, 0) == 0);
	other_join();
	CHECK(answer == 0);
	fake_peek(fds, MAIN, sizeof(fds));
	CHECK(fds[0] == 3 && fds[1] == 4);
	/* The program's address is bad: nothing is left behind. */
	CHECK(SC(NR_PIPE2, 8, 0) == -EFAULT);
	CHECK(SC(NR_FCNTL, 5, F_GETFD) == -EBADF && SC(NR_FCNTL, 6, F_GETFD) == -EBADF);
	CHECK(open_file("/dev/null", O_RDWR) == 5);
}

/* ---- pipes ------------------------------------------------------------------------------------- */

static void two_readers(void)
{
	pipe_new();
	fake_poke(MAIN, "ab", 2);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 2) == 2);
	other_start(read_a_byte);
	armed = COPY_TO_USER; /* the first copies a byte, the second reads it, and both want one */
	CHECK(SC(NR_READ, fds[0], MAIN, 1) == 1);
	other_join();
	CHECK(answer == 1);
	CHECK(byte_at(MAIN) + byte_at(OTHER) == 'a' + 'b');
}

static void refill(void)
{
	answer = SC(NR_READ, fds[0], OTHER, 65536);
	pattern(OTHER, 1, 65536);
	answer += SC(NR_WRITE, fds[1], OTHER, 65536);
}

/* While one copies, the other empties the pipe and fills it anew: what was copied is overwritten. */
static void reader_overtaken(void)
{
	pipe_new();
	pattern(MAIN, 0, 65536);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 65536) == 65536);
	other_start(refill);
	armed = COPY_TO_USER;
	CHECK(SC(NR_READ, fds[0], MAIN, 4096) == 4096);
	other_join();
	CHECK(answer == 2 * 65536);
	for (unsigned i = 0; i < 4096; i++)
		CHECK(byte_at(MAIN + i) == (((1 + i) * 7 >> 3) & 0xff));
}

static void write_4096(void)
{
	answer = SC(NR_WRITE, fds[1], OTHER, 4096);
}

/* Two small writes and room for one: whichever is second waits, and neither is cut. */
static void two_writers(void)
{
	pipe_new();
	pattern(MAIN, 5, 65536);
	CHECK(SC(NR_WRITE, fds[1], MAIN, 65536 - 4096 - 100) == 65536 - 4096 - 100);
	fake_poke(MAIN, "1", 1);
	fake_poke(MAIN + 4095, "2", 1);
	fake_poke(OTHER, "3", 1);
	fake_poke(OTHER + 4095, "4", 1);
	SC(NR_FCNTL, fds[1], F_SETFL, O_WRONLY | O_NONBLOCK);
	other_start(write_4096);
	armed = COPY_FROM_USER;
	CHECK(SC(NR_WRITE, fds[1], MAIN, 4096) == -EAGAIN);
	other_join();
	CHECK(answer == 4096);
	CHECK(SC(NR_READ, fds[0], MAIN, 65536) == 65536 - 100);
	CHECK(byte_at(MAIN + 65536 - 4096 - 100) == '3' && byte_at(MAIN + 65536 - 101) == '4');
}

static void write_a_byte(void)
{
	answer = SC(NR_WRITE, fds[1], OTHER, 1);
}

/* The byte comes after poll has looked, while it tells the program so. */
static void poll_misses_nothing(void)
{
	struct {
		int fd;
		short events, revents;
	} p;

	pipe_new();
	p.fd = fds[0];
	p.events = POLLIN;
	fake_poke(MAIN + 64, &p, sizeof(p));
	other_start(write_a_byte);
	armed = COPY_TO_USER;
	CHECK(SC(NR_POLL, MAIN + 64, 1, -1) == 1);
	fake_peek(&p, MAIN + 64, sizeof(p));
	CHECK(p.revents == POLLIN);
	other_join();
}

/* ---- positions --------------------------------------------------------------------------------- */

static int shared;

static void read_100(void)
{
	answer = SC(NR_READ, shared, OTHER, 100);
}

static void two_positions(void)
{
	shared = open_file("/tmp/f", O_RDWR | O_CREAT);
	pattern(MAIN, 0, 256);
	CHECK(SC(NR_WRITE, shared, MAIN, 150) == 150);
	CHECK(SC(NR_LSEEK, shared, 0, SEEK_SET) == 0);
	other_start(read_100);
	armed = COPY_TO_USER;
	CHECK(SC(NR_READ, shared, MAIN, 100) == 100);
	other_join();
	CHECK(answer == 50);
	CHECK(byte_at(MAIN) == 0 && byte_at(OTHER) == (100 * 7 >> 3));
	CHECK(SC(NR_LSEEK, shared, 0, SEEK_CUR) == 150);
	/* What could not be copied is given back. */
	CHECK(SC(NR_LSEEK, shared, 10, SEEK_SET) == 10);
	CHECK(SC(NR_READ, shared, 8, 100) == -EFAULT);
	CHECK(SC(NR_LSEEK, shared, 0, SEEK_CUR) == 10);
}

static void append_100(void)
{
	int fd = open_file("/tmp/a", O_WRONLY | O_APPEND);

	answer = SC(NR_WRITE, fd, OTHER, 100);
	SC(NR_CLOSE, fd);
}

static void two_appends(void)
{
	int fd = open_file("/tmp/a", O_RDWR | O_CREAT | O_APPEND);

	fake_poke(MAIN, "m", 1);
	fake_poke(OTHER, "o", 1);
	other_start(append_100);
	armed = COPY_FROM_USER;
	CHECK(SC(NR_WRITE, fd, MAIN, 100) == 100);
	other_join();
	CHECK(answer == 100);
	CHECK(SC(NR_LSEEK, fd, 0, SEEK_END) == 200);
	CHECK(SC(NR_PREAD, fd, MAIN, 200, 0) == 200);
	CHECK(byte_at(MAIN) + byte_at(MAIN + 100) == 'm' + 'o');
}

static void read_entries(void)
{
	answer = SC(NR_GETDENTS, shared, OTHER, 4096);
}

static unsigned count_entries(uintptr_t at, long n)
{
	unsigned entries = 0;
	uint16_t len;

	for (long k = 0; k < n; k += len, entries++)
		fake_peek(&len, at + (unsigned long)k + 16, sizeof(len));
	return entries;
}

/* Each entry goes to one of the two. */
static void two_read_a_directory(void)
{
	long n;

	CHECK(SC(NR_MKDIR, path("/tmp/d"), 0755) == 0);
	SC(NR_CLOSE, open_file("/tmp/d/1", O_CREAT));
	SC(NR_CLOSE, open_file("/tmp/d/2", O_CREAT));
	shared = open_file("/tmp/d", O_DIRECTORY);
	other_start(read_entries);
	armed = COPY_TO_USER;
	n = SC(NR_GETDENTS, shared, MAIN, 4096);
	other_join();
	CHECK(count_entries(MAIN, n) + count_entries(OTHER, answer) == 4);
}

/* ---- names ------------------------------------------------------------------------------------- */

static unsigned create_flags;

static void create_n(void)
{
	answer = open_file("/tmp/n", create_flags);
}

static void one_creates(void)
{
	create_flags = O_CREAT | O_EXCL | O_RDWR;
	other_start(create_n);
	armed = NEW_INODE;
	CHECK(SC(NR_OPEN, path("/tmp/n"), create_flags, 0644) == -EEXIST);
	other_join();
	CHECK(answer >= 0);
	/* Without O_EXCL it is one file for both. */
	CHECK(SC(NR_UNLINK, path("/tmp/n")) == 0);
	create_flags = O_CREAT | O_RDWR;
	other_start(create_n);
	armed = NEW_INODE;
	shared = open_file("/tmp/n", create_flags);
	other_join();
	CHECK(shared >= 0 && answer >= 0);
	CHECK(SC(NR_WRITE, shared, MAIN, 10) == 10);
	CHECK(SC(NR_READ, answer, MAIN, 100) == 10);
}

static void remove_directory(void)
{
	answer = SC(NR_RMDIR, path("/tmp/e"));
}

/* A name is made in a directory that goes meanwhile. */
static void create_in_what_goes(void)
{
	CHECK(SC(NR_MKDIR, path("/tmp/e"), 0755) == 0);
	other_start(remove_directory);
	armed = NEW_INODE;
	CHECK(open_file("/tmp/e/x", O_CREAT | O_RDWR) == -ENOENT);
	other_join();
	CHECK(answer == 0);
}

static void unlink_old(void)
{
	answer = SC(NR_UNLINK, path("/tmp/old"));
}

/* The name goes after its path was resolved, when the entry for the new one is made. */
static void rename_what_goes(void)
{
	SC(NR_CLOSE, open_file("/tmp/old", O_CREAT));
	other_start(unlink_old);
	skip = 2; /* each path takes memory as it is resolved */
	armed = ALLOCATION;
	CHECK(SC(NR_RENAME, path("/tmp/old"), path("/tmp/new")) == -ENOENT);
	other_join();
	CHECK(answer == 0);
	CHECK(open_file("/tmp/new", O_RDONLY) == -ENOENT);
	/* Nothing can be renamed to "." or be called so. */
	CHECK(SC(NR_MKDIR, path("/tmp/p"), 0755) == 0 && SC(NR_MKDIR, path("/tmp/q"), 0755) == 0);
	CHECK(SC(NR_RENAME, path("/tmp/p"), path("/tmp/q/.")) == -EBUSY);
	CHECK(SC(NR_RMDIR, path("/tmp/q")) == 0);
}

/* ---- /proc, mappings, the console ---------------------------------------------------------------- */

static void read_anew(void)
{
	SC(NR_MMAP, A - 0x10000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	answer = SC(NR_PREAD, shared, OTHER, 64, 0);
}

/* A read from 0 makes a new text, while another hands the old one out. */
static void text_replaced(void)
{
	char a[65] = "", b[65] = "";

	shared = open_file("/proc/self/maps", O_RDONLY);
	other_start(read_anew);
	armed = BEFORE_COPY_TO_USER;
	CHECK(SC(NR_READ, shared, MAIN, 64) == 64);
	other_join();
	CHECK(answer == 64);
	fake_peek(a, MAIN, 64);
	fake_peek(b, OTHER, 64);
	CHECK(!strncmp(a, "100000000-", 10) && !strncmp(b, "ffff0000-", 9));
}

static void read_64(void)
{
	answer = SC(NR_READ, shared, OTHER, 64);
}

/* Two that read one descriptor get different pieces. */
static void text_shared(void)
{
	char a[129] = "", b[65] = "";

	shared = open_file("/proc/self/status", O_RDONLY);
	CHECK(SC(NR_PREAD, shared, MAIN, 128, 0) == 128);
	fake_peek(a, MAIN, 128);
	other_start(read_64);
	armed = COPY_TO_USER;
	CHECK(SC(NR_READ, shared, MAIN, 64) == 64);
	other_join();
	fake_peek(b, OTHER, 64);
	CHECK(answer == 64 && !memcmp(a + 64, b, 64));
}

static void map_it(void)
{
	answer = SC(NR_MMAP, 0, 4096, PROT_READ, MAP_PRIVATE, shared, 0);
}

/* Both make what mappings of the file hold on to: one of them stays, and nothing is lost. */
static void two_mappings(void)
{
	shared = open_file("/tmp/m", O_RDWR | O_CREAT);
	CHECK(SC(NR_WRITE, shared, MAIN, 100) == 100);
	other_start(map_it);
	armed = OPEN_FILE;
	CHECK(SC(NR_MMAP, 0, 4096, PROT_READ, MAP_PRIVATE, shared, 0) > 0);
	other_join();
	CHECK(answer > 0);
	/* What is no regular file does not become one by the attempt to map it. */
	for (int i = 0; i < 2; i++) {
		shared = open_file("/proc/meminfo", O_RDONLY);
		CHECK(SC(NR_MMAP, 0, 4096, PROT_READ, MAP_PRIVATE, shared, 0) == -ENODEV);
	}
}

static void read_console(void)
{
	answer = SC(NR_READ, 0, OTHER, 3);
}

static void two_at_the_console(void)
{
	char both[7] = "";

	for (int i = 0; i < 20; i++) /* until the tick has read what is typed */
		SC(NR_POLL, 0, 0, 10);
	other_start(read_console);
	armed = COPY_TO_USER;
	CHECK(SC(NR_READ, 0, MAIN, 3) == 3);
	other_join();
	CHECK(answer == 3);
	fake_peek(both, MAIN, 3);
	fake_peek(both + 3, OTHER, 3);
	CHECK(!strcmp(both, "ab\ncd\n") || !strcmp(both, "cd\nab\n"));
}

/* ---- one machine for each ------------------------------------------------------------------------ */

static const struct program_test tests[] = {
	{"a file that is closed stays until the read ends", close_while_read},
	{"a descriptor that is replaced leaves the read alone", dup_while_read},
	{"a pipe cannot be used before its descriptors are told", pipe_seen_too_early},
	{"two readers of a pipe get different bytes", two_readers},
	{"a reader that was overtaken begins again", reader_overtaken},
	{"small writes go in whole", two_writers},
	{"poll misses nothing", poll_misses_nothing},
	{"two reads at one position get different pieces", two_positions},
	{"appended pieces do not overlap", two_appends},
	{"two readers of a directory share it out", two_read_a_directory},
	{"one of two creators wins", one_creates},
	{"no name is made in a directory that is gone", create_in_what_goes},
	{"a rename finds its file gone", rename_what_goes},
	{"a text stays while it is handed out", text_replaced},
	{"two readers of a text get different pieces", text_shared},
	{"two mappings make one file", two_mappings},
	{"two at the console get different lines", two_at_the_console},
};

static void first_program(void *state)
{
	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_catch_signal(SIGPIPE, MAIN);
	tests[*(unsigned *)state].run();
	fake_exit(0);
}

/* What is typed. */
static void type(const char *s)
{
	int p[2];

	if (pipe(p) || write(p[1], s, strlen(s)) < 0)
		exit(2);
	close(p[1]);
	dup2(p[0], 0);
	close(p[0]);
}

static bool run(unsigned i)
{
	struct fake_config c = {.cmdline = "norandmaps", .console = true};

	armed = NOWHERE;
	skip = 0;
	type("ab\ncd\n");
	return run_on(&c, first_program, i);
}

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, sizeof(tests) / sizeof(tests[0]), run);
}
