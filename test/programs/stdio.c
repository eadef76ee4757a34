/* SPDX-License-Identifier: MIT */
/*
 * Standard input and output that the host gives (kernel/hostio.c), and the terminal over it (kernel/tty.c), on
 * the machine in software: the test plays the host, too. It finds the block of rings where the kernel's log
 * says that it is, and what takes place while the program sleeps comes from a thread of the host's.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/hal_kernel.h"
#include <quire/abi.h>

#include "kernel/hostio.h"
#include "test/programs/meet.h"

enum { NR_READ, NR_WRITE, NR_FSTAT = 5, NR_POLL = 7, NR_LSEEK, NR_MMAP, NR_IOCTL = 16, NR_FCNTL = 72 };
#define NONBLOCK 04000l
#define NOWHERE	 0x500000000l /* no area is there */
#define PIPE_MOST 4096u

/* ---- the host's side ------------------------------------------------------------------------- */

static struct hostio *io;

static struct hostio_ring *ring(int n)
{
	return &io->ring[n];
}

static void find_block(void)
{
	const char *s = strstr(log_text, "stdio phys=");
	unsigned long long phys = s ? strtoull(s + strlen("stdio phys="), NULL, 0) : 0;

	io = phys ? hal_phys_to_virt(phys) : NULL;
	if (!io || io->magic != HOSTIO_MAGIC) {
		printf("# there is no block\n");
		exit(2);
	}
}

static void host_gives(const void *data, size_t n)
{
	struct hostio_ring *r = ring(HOSTIO_IN);
	uint64_t head = r->head;

	for (size_t i = 0; i < n; i++)
		((char *)io + r->offset)[(head + i) % r->size] = ((const char *)data)[i];
	__atomic_store_n(&r->head, head + n, __ATOMIC_RELEASE);
}

static void host_types(const char *s)
{
	host_gives(s, strlen(s));
}

/* All that is in a ring, as a string; it must not be more than fits. */
static const char *host_takes(int n)
{
	static char buf[300000];
	struct hostio_ring *r = ring(n);
	uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE), count = head - r->tail;

	CHECK(count <= r->size);
	for (uint64_t i = 0; i < count && count <= r->size; i++)
		buf[i] = ((char *)io + r->offset)[(r->tail + i) % r->size];
	buf[count <= r->size ? count : 0] = '\0';
	__atomic_store_n(&r->tail, head, __ATOMIC_RELEASE);
	return buf;
}

static void host_closes(int n)
{
	__atomic_store_n(&ring(n)->closed, 1, __ATOMIC_RELEASE);
}

/* Something that the host does while the program sleeps. */
static pthread_t thread;
static void (*later)(void);

static void *in_a_while(void *unused)
{
	usleep(30000);
	later();
	return NULL;
}

static void meanwhile(void (*what)(void))
{
	later = what;
	CHECK(!pthread_create(&thread, NULL, in_a_while, NULL));
}

static void joined(void)
{
	pthread_join(thread, NULL);
}

/* ---- the program's side ---------------------------------------------------------------------- */

static char got[140000];

/* A read of n bytes; what came is in got, as a string. */
static long reads(size_t n)
{
	long r = SC(NR_READ, 0, OTHER, n);

	memset(got, 0, sizeof(got));
	if (r > 0)
		fake_peek(got, OTHER, (size_t)r);
	return r;
}

static long writes(int fd, const char *s, size_t n)
{
	fake_poke(OTHER, s, n);
	return SC(NR_WRITE, fd, OTHER, n);
}

static void flags(int fd, long to)
{
	CHECK(SC(NR_FCNTL, fd, 4 /* F_SETFL */, to) == 0);
}

static int polled(int fd)
{
	struct {
		int fd;
		short events, revents;
	} p = {fd, POLLIN | POLLOUT, 0};

	fake_poke(MAIN, &p, sizeof(p));
	CHECK(SC(NR_POLL, MAIN, 1, 0) >= 0);
	fake_peek(&p, MAIN, sizeof(p));
	return p.revents;
}

static int asked(int fd, unsigned cmd)
{
	int n = -1;

	CHECK(SC(NR_IOCTL, fd, cmd, MAIN) == 0);
	fake_peek(&n, MAIN, sizeof(n));
	return n;
}

static char *pattern(size_t n, unsigned seed)
{
	static char buf[140000];

	for (size_t i = 0; i < n; i++)
		buf[i] = (char)((i * 31 + seed) % 251);
	return buf;
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static void input_and_its_end(void)
{
	host_gives("a\r\n\0\xff" "b", 6);
	CHECK(reads(4) == 4 && !memcmp(got, "a\r\n\0", 4));
	host_closes(HOSTIO_IN);
	CHECK(reads(100) == 2 && !memcmp(got, "\xff" "b", 2));
	CHECK(reads(100) == 0);
	CHECK(reads(0) == 0);
}

/* More than the ring holds, in pieces that cross its end. */
static void round_the_ring(void)
{
	size_t piece = 40000;

	for (unsigned i = 0; i < 5; i++) {
		host_gives(pattern(piece, i), piece);
		for (size_t at = 0, n; at < piece; at += n) {
			n = (size_t)reads(A_SIZE / 4);
			CHECK((long)n > 0 && !memcmp(got, pattern(piece, i) + at, n));
			if ((long)n <= 0)
				return;
		}
	}
	CHECK(ring(HOSTIO_IN)->tail == 5 * piece);
}

static void give_x(void)
{
	host_types("x");
}

static void close_input(void)
{
	host_closes(HOSTIO_IN);
}

static void a_reader_is_woken(void)
{
	meanwhile(give_x);
	CHECK(reads(5) == 1 && got[0] == 'x');
	joined();
	meanwhile(close_input);
	CHECK(reads(5) == 0);
	joined();
}

static void nobody_waits_who_need_not(void)
{
	flags(0, NONBLOCK);
	CHECK(reads(5) == -EAGAIN);
	host_types("x");
	CHECK(reads(5) == 1);
	CHECK(reads(5) == -EAGAIN);
	host_closes(HOSTIO_IN);
	CHECK(reads(5) == 0);
}

static void output_in_order(void)
{
	size_t n = 30000;

	for (unsigned i = 0; i < 9; i++) {
		CHECK(writes(1, pattern(n, i), n) == (long)n);
		CHECK(ring(HOSTIO_OUT)->head - ring(HOSTIO_OUT)->tail == n);
		CHECK(!memcmp(host_takes(HOSTIO_OUT), pattern(n, i), n));
	}
	CHECK(writes(2, "error\r\n", 7) == 7);
	CHECK(!strcmp(host_takes(HOSTIO_ERR), "error\r\n"));
	CHECK(!*host_takes(HOSTIO_OUT));
}

/* Fills standard error but for some bytes. */
static void leave_room(size_t left)
{
	struct hostio_ring *r = ring(HOSTIO_ERR);

	__atomic_store_n(&r->head, r->tail + r->size - left, __ATOMIC_RELEASE);
}

/* As in a pipe: up to 4096 bytes go in whole or not at all, of more as much as goes. */
static void small_writes_are_whole(void)
{
	flags(2, NONBLOCK);
	leave_room(100);
	CHECK(writes(2, pattern(200, 0), 200) == -EAGAIN);
	CHECK(writes(2, pattern(PIPE_MOST, 0), PIPE_MOST) == -EAGAIN);
	CHECK(ring(HOSTIO_ERR)->head - ring(HOSTIO_ERR)->tail == ring(HOSTIO_ERR)->size - 100);
	CHECK(writes(2, pattern(PIPE_MOST + 1, 0), PIPE_MOST + 1) == 100);
	CHECK(writes(2, "x", 1) == -EAGAIN);
	leave_room(200);
	CHECK(writes(2, pattern(200, 0), 200) == 200);
}

static void empty_errors(void)
{
	host_takes(HOSTIO_ERR);
}

static void a_writer_is_woken(void)
{
	leave_room(1);
	meanwhile(empty_errors);
	CHECK(writes(2, "abc", 3) == 3);
	joined();
	CHECK(!strcmp(host_takes(HOSTIO_ERR), "abc"));
}

static void close_errors(void)
{
	host_closes(HOSTIO_ERR);
}

static void nobody_reads_any_more(void)
{
	leave_room(0);
	meanwhile(close_errors);
	CHECK(writes(2, "abc", 3) == -EPIPE);
	joined();
	CHECK(fake_signals_taken() == 1ull << (SIGPIPE - 1));
	CHECK(writes(2, "abc", 3) == -EPIPE);
	CHECK(writes(1, "abc", 3) == 3);
	CHECK(!strcmp(host_takes(HOSTIO_OUT), "abc"));
}

static void poll_tells(void)
{
	CHECK(polled(0) == 0);
	CHECK(polled(1) == POLLOUT);
	host_types("xy");
	CHECK(polled(0) == POLLIN);
	CHECK(asked(0, FIONREAD) == 2);
	host_closes(HOSTIO_IN);
	CHECK(polled(0) == (POLLIN | POLLHUP));
	CHECK(reads(5) == 2);
	CHECK(polled(0) == POLLHUP);
	leave_room(PIPE_MOST - 1);
	CHECK(polled(2) == 0);
	leave_room(PIPE_MOST);
	CHECK(polled(2) == POLLOUT);
	host_closes(HOSTIO_ERR);
	CHECK(polled(2) & POLLERR);
}

static void they_are_pipes(void)
{
	uint32_t words[36] = {0};

	CHECK(SC(NR_IOCTL, 0, TCGETS, MAIN) == -ENOTTY);
	CHECK(SC(NR_LSEEK, 0, 0, 0) == -ESPIPE);
	CHECK(SC(NR_FSTAT, 1, MAIN) == 0);
	fake_peek(words, MAIN, sizeof(words));
	CHECK((words[4] & S_IFMT) == S_IFIFO);
	CHECK(SC(NR_WRITE, 0, OTHER, 1) == -EBADF);
	CHECK(SC(NR_READ, 1, OTHER, 1) == -EBADF);
}

/* Bytes that the user cannot take stay; of a write what can be read is written. */
static void bad_addresses(void)
{
	host_types("abc");
	CHECK(SC(NR_READ, 0, NOWHERE, 3) == -EFAULT);
	CHECK(reads(5) == 3 && !strcmp(got, "abc"));
	CHECK(SC(NR_WRITE, 1, NOWHERE, 3) == -EFAULT);
	CHECK(!*host_takes(HOSTIO_OUT));
}

/* A host that says what cannot be gets no further than its ring. */
static void a_host_that_lies(void)
{
	struct hostio_ring *in = ring(HOSTIO_IN), *out = ring(HOSTIO_OUT);

	__atomic_store_n(&in->head, in->tail + 10 * in->size, __ATOMIC_RELEASE);
	CHECK(asked(0, FIONREAD) == (int)in->size);
	CHECK(reads(100) == 100);
	CHECK(in->tail == 100);
	flags(1, NONBLOCK);
	__atomic_store_n(&out->tail, out->head + 5, __ATOMIC_RELEASE);
	CHECK(writes(1, "abc", 3) == -EAGAIN);
	__atomic_store_n(&out->tail, out->head, __ATOMIC_RELEASE);
	CHECK(writes(1, "abc", 3) == 3);
	CHECK(!strcmp(host_takes(HOSTIO_OUT), "abc"));
	__atomic_store_n(&in->head, in->tail, __ATOMIC_RELEASE);
}

static void send_term(void)
{
	__atomic_store_n(&io->signal, SIGTERM, __ATOMIC_RELEASE);
}

static void signals_from_the_host(void)
{
	CHECK(fake_catch_signal(SIGTERM, MAIN) == 0);
	meanwhile(send_term);
	CHECK(reads(5) == -EINTR);
	joined();
	CHECK(fake_signals_taken() == 1ull << (SIGTERM - 1));
	CHECK(io->signal == 0);
}

/* ---- the terminal ---------------------------------------------------------------------------- */

struct settings {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t line, cc[19];
};

static struct settings settings(void)
{
	struct settings s = {0};

	CHECK(SC(NR_IOCTL, 0, TCGETS, MAIN) == 0);
	fake_peek(&s, MAIN, sizeof(s));
	return s;
}

static void set(struct settings s)
{
	fake_poke(MAIN, &s, sizeof(s));
	CHECK(SC(NR_IOCTL, 0, TCSETS, MAIN) == 0);
}

/* Typed, read at once, and echoed. */
static void line_is(const char *keys, const char *line, const char *echo)
{
	const char *shown;

	host_types(keys);
	CHECK(reads(4096) == (long)strlen(line) && !strcmp(got, line));
	shown = host_takes(HOSTIO_OUT);
	if (strcmp(shown, echo))
		printf("# echoed: %s\n", shown);
	CHECK(!strcmp(shown, echo));
}

static void lines_are_edited(void)
{
	line_is("abc\n", "abc\n", "abc\r\n");
	line_is("ab\x7f" "c\r", "ac\n", "ab\b \bc\r\n");
	line_is("\x7f" "a\n", "a\n", "a\r\n");
	line_is("a\x01\x7f\n", "a\n", "a^A\b \b\b \b\r\n");
	line_is("abc\x15" "de\n", "de\n", "abc\b \b\b \b\b \bde\r\n");
}

static void a_read_is_a_line(void)
{
	host_types("one\ntwo\n");
	CHECK(reads(100) == 4 && !strcmp(got, "one\n"));
	CHECK(reads(2) == 2 && !strcmp(got, "tw"));
	CHECK(reads(100) == 2 && !strcmp(got, "o\n"));
}

/* Behind bytes it ends the line, alone it is the end of the file; neither is a byte. */
static void end_of_file_is_typed(void)
{
	line_is("ab\x04", "ab", "ab");
	line_is("\x04", "", "");
	line_is("c\n", "c\n", "c\r\n");
	/* A read that takes all the bytes before it takes it along. */
	host_types("de\x04" "f\n");
	CHECK(reads(2) == 2 && !strcmp(got, "de"));
	CHECK(reads(100) == 2 && !strcmp(got, "f\n"));
	host_closes(HOSTIO_IN);
	CHECK(reads(100) == 0);
	CHECK(reads(100) == 0);
	CHECK(polled(0) & POLLHUP);
}

static void type_interrupt(void)
{
	host_types("gone\x03");
}

static void keys_send_signals(void)
{
	CHECK(fake_catch_signal(SIGINT, MAIN) == 0);
	CHECK(fake_catch_signal(SIGQUIT, MAIN) == 0);
	meanwhile(type_interrupt);
	CHECK(reads(100) == -EINTR);
	joined();
	CHECK(fake_signals_taken() == 1ull << (SIGINT - 1));
	CHECK(!strcmp(host_takes(HOSTIO_OUT), "gone^C\r\n"));
	line_is("here\n", "here\n", "here\r\n"); /* what was typed before the key is gone */
	host_types("\x1c");
	CHECK(reads(100) == -EINTR);
	CHECK(fake_signals_taken() == 1ull << (SIGQUIT - 1));
}

static void bytes_one_by_one(void)
{
	struct settings s = settings();

	s.lflag &= ~(2u | 8u | 1u); /* ICANON, ECHO, ISIG */
	s.iflag = 0;
	set(s);
	line_is("a\x03\r\x7f\x04", "a\x03\r\x7f\x04", "");
	s.cc[6] = 0; /* VMIN */
	set(s);
	CHECK(reads(10) == 0);
	host_types("x");
	s.cc[5] = 20; /* VTIME: two seconds */
	set(s);
	CHECK(reads(10) == 1);
	s.cc[5] = 1;
	set(s);
	CHECK(reads(10) == 0);
}

static void line_ends(void)
{
	struct settings s = settings();

	CHECK(writes(1, "a\nb\n", 4) == 4);
	CHECK(!strcmp(host_takes(HOSTIO_OUT), "a\r\nb\r\n"));
	s.oflag = 0;
	set(s);
	CHECK(writes(1, "a\nb\n", 4) == 4);
	CHECK(!strcmp(host_takes(HOSTIO_OUT), "a\nb\n"));
	s.iflag = 0x80; /* IGNCR */
	set(s);
	line_is("a\rb\n", "ab\n", "ab\n");
	s.iflag = 0x40; /* INLCR */
	s.cc[11] = '\r'; /* VEOL: it ends a line, too */
	s.lflag &= ~8u; /* ECHO */
	set(s);
	host_types("a\nb\x04");
	CHECK(reads(100) == 2 && !strcmp(got, "a\r"));
	CHECK(reads(100) == 1 && !strcmp(got, "b"));
}

/* A line that is longer than the terminal holds keeps its beginning and its end. */
static void a_long_line(void)
{
	char *s = pattern(6000, 0);

	memset(s, 'x', 6000);
	host_gives(s, 6000);
	host_types("\n");
	CHECK(reads(4096) == 4096);
	CHECK(got[0] == 'x' && got[4094] == 'x' && got[4095] == '\n');
}

static void resize(void)
{
	__atomic_store_n(&io->window, 40ull << 32 | 132, __ATOMIC_RELEASE);
}

static void its_size(void)
{
	uint16_t size[4];

	CHECK(SC(NR_IOCTL, 0, TIOCGWINSZ, MAIN) == 0);
	fake_peek(size, MAIN, sizeof(size));
	CHECK(size[0] == 24 && size[1] == 80);
	CHECK(fake_catch_signal(SIGWINCH, MAIN) == 0);
	meanwhile(resize);
	CHECK(reads(5) == -EINTR);
	joined();
	CHECK(fake_signals_taken() == 1ull << (SIGWINCH - 1));
	CHECK(SC(NR_IOCTL, 0, TIOCGWINSZ, MAIN) == 0);
	fake_peek(size, MAIN, sizeof(size));
	CHECK(size[0] == 40 && size[1] == 132);
}

static void what_is_seen_of_it(void)
{
	uint32_t words[36] = {0};

	CHECK(SC(NR_FSTAT, 0, MAIN) == 0);
	fake_peek(words, MAIN, sizeof(words));
	CHECK((words[4] & S_IFMT) == S_IFCHR);
	CHECK(polled(0) == POLLOUT);
	host_types("ab\n");
	CHECK(reads(1) == 1);
	CHECK(polled(0) == (POLLIN | POLLOUT));
	CHECK(asked(0, FIONREAD) == 2);
	CHECK(SC(NR_READ, 0, NOWHERE, 5) == -EFAULT);
	CHECK(reads(5) == 2 && !strcmp(got, "b\n"));
}

/* ---- the machine ----------------------------------------------------------------------------- */

static const struct {
	struct program_test t;
	bool tty;
} tests[] = {
	{{"input as it was given, and its end", input_and_its_end}, false},
	{{"more than the ring holds", round_the_ring}, false},
	{{"a reader is woken by bytes and by the end", a_reader_is_woken}, false},
	{{"nobody waits who need not", nobody_waits_who_need_not}, false},
	{{"output in order, errors apart", output_in_order}, false},
	{{"small writes are whole", small_writes_are_whole}, false},
	{{"a writer is woken", a_writer_is_woken}, false},
	{{"nobody reads any more", nobody_reads_any_more}, false},
	{{"poll and FIONREAD", poll_tells}, false},
	{{"they are pipes", they_are_pipes}, false},
	{{"addresses that cannot be used", bad_addresses}, false},
	{{"a host that lies", a_host_that_lies}, false},
	{{"a signal from the host", signals_from_the_host}, false},
	{{"terminal: lines are edited", lines_are_edited}, true},
	{{"terminal: a read is a line", a_read_is_a_line}, true},
	{{"terminal: the end of file is typed", end_of_file_is_typed}, true},
	{{"terminal: keys send signals", keys_send_signals}, true},
	{{"terminal: bytes one by one", bytes_one_by_one}, true},
	{{"terminal: line ends", line_ends}, true},
	{{"terminal: a long line", a_long_line}, true},
	{{"terminal: its size", its_size}, true},
	{{"terminal: what is seen of it", what_is_seen_of_it}, true},
};

static void first_program(void *state)
{
	SC(NR_MMAP, A, A_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fake_catch_signal(SIGPIPE, MAIN);
	find_block();
	tests[*(unsigned *)state].t.run();
	fake_exit(7);
}

static bool run(unsigned i)
{
	struct fake_config c = {.log = log_out, .ram = 64 << 20, .seed = i + 1,
				.cmdline = tests[i].tty ? "norandmaps stdio=tty" : "norandmaps stdio=pipe"};
	int status;

	failures = 0;
	memset(log_text, 0, sizeof(log_text));
	if (fake_machine_create(&c))
		return false;
	status = fake_run(first_program, &i);
	CHECK(status == 7);
	CHECK(io->status == (HOSTIO_ENDED | 7)); /* the host is told */
	CHECK(!strstr(log_text, "not given back"));
	fake_machine_destroy();
	if (failures)
		printf("# %s\n", log_text);
	return !failures;
}

int main(int argc, char **argv)
{
	struct program_test list[sizeof(tests) / sizeof(tests[0])];

	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		list[i] = tests[i].t;
	return run_tests(argc, argv, list, sizeof(tests) / sizeof(tests[0]), run);
}
