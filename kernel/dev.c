/* SPDX-License-Identifier: MIT */
/*
 * Device files (/dev/null, zero, full, random, the console as tty) and getrandom. The console's
 * output goes to the machine's log channel; its input is edited a line at a time (erase, end of
 * file, interrupt) and echoed, as a terminal in its usual mode does.
 */
#include "kernel.h"
#include "lib/rand.h"

/* ---- null, zero, random ---------------------------------------------------------------------- */

static long null_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return 0;
}

static long null_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return (long)n;
}

static long zero_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	size_t left = hal_clear_user(buf, n);

	return left == n && n ? -EFAULT : (long)(n - left);
}

static DEFINE_SPINLOCK(entropy_lock);
static struct rand_state entropy; /* entropy_lock */

/* Not for keys: a generator that the machine's entropy has seeded once. */
static void random_bytes(void *dst, size_t n)
{
	unsigned char *d = dst;

	spin_lock(&entropy_lock);
	if (!entropy.s)
		rand_seed(&entropy, hal_entropy());
	while (n--)
		*d++ = (unsigned char)(rand_u64(&entropy) >> 32);
	spin_unlock(&entropy_lock);
}

static long random_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char tmp[64];
	size_t done = 0;

	while (done < n) {
		size_t k = min(n - done, sizeof(tmp));

		random_bytes(tmp, k);
		if (hal_copy_to_user(buf + done, tmp, k))
			return done ? (long)done : -EFAULT;
		done += k;
	}
	return (long)done;
}

const struct file_ops null_ops = {.read = null_read, .write = null_write};
const struct file_ops zero_ops = {.read = zero_read, .write = null_write};
const struct file_ops random_ops = {.read = random_read, .write = null_write};

SYSCALL3(getrandom, uintptr_t, buf, size_t, n, unsigned long, flags)
{
	if (flags & ~(unsigned long)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	return random_read(NULL, buf, min(n, 0x1fffffful), NULL);
}

/* ---- console --------------------------------------------------------------------------------- */

static struct {
	char line[512];	 /* being typed: the tick's alone */
	size_t len;
	spinlock_t lock; /* what follows; interrupts off */
	char ready[512]; /* typed: what read() takes from */
	size_t start, end;
	uint64_t taken;	 /* times that something was taken out, so that a reader knows of others */
	bool eof;
	struct wait_head typed;
} con = {.lock = SPINLOCK_INIT_RANK("console", RANK_CONSOLE)};

static void echo(const char *s, size_t n)
{
	hal_log(s, n);
}

/* The line goes to the next reader; what finds no room is lost, as on a terminal. */
static void line_done(void)
{
	irqflags_t flags;

	spin_lock_irqsave(&con.lock, flags);
	con.eof = con.len == 0 || con.eof;
	if (con.start == con.end)
		con.start = con.end = 0;
	for (size_t i = 0; i < con.len && con.end < sizeof(con.ready); i++)
		con.ready[con.end++] = con.line[i];
	spin_unlock_irqrestore(&con.lock, flags);
	con.len = 0;
	wake_all(&con.typed);
	poll_wake();
}

/* ^C: there is no foreground process group, so the first program gets it. No lock is held: sending
 * takes tasks_lock. */
static void interrupt(void)
{
	struct hal_siginfo si = {.signo = SIGINT, .code = SI_KERNEL};

	con.len = 0;
	echo("^C\n", 3);
	if (init_process)
		send_signal_process(init_process, &si);
}

static void typed(char c)
{
	if (c == '\r')
		c = '\n';
	if (c == 3) {
		interrupt();
	} else if (c == 4) {
		line_done();
	} else if (c == 0x7f || c == '\b') {
		if (con.len) {
			con.len--;
			echo("\b \b", 3);
		}
	} else if (con.len < sizeof(con.line)) {
		con.line[con.len++] = c;
		echo(&c, 1);
		if (c == '\n')
			line_done();
	}
}

/* Called by the timer: the machine has no interrupt for a typed byte. */
void console_tick(void)
{
	int c;

	while ((c = hal_console_getc()) >= 0)
		typed((char)c);
}

/* ---- the console's readers ------------------------------------------------------------------- */

static size_t con_there(void)
{
	irqflags_t flags;
	size_t n;

	spin_lock_irqsave(&con.lock, flags);
	n = con.end - con.start;
	spin_unlock_irqrestore(&con.lock, flags);
	return n;
}

static bool con_ready(void)
{
	irqflags_t flags;
	bool ready;

	spin_lock_irqsave(&con.lock, flags);
	ready = con.start != con.end || con.eof;
	spin_unlock_irqrestore(&con.lock, flags);
	return ready;
}

/* Up to n of the bytes typed, which stay. false: there is nothing, and no end of file either. */
static bool con_peek(char *buf, size_t n, size_t *got, uint64_t *taken)
{
	irqflags_t flags;
	bool any;

	spin_lock_irqsave(&con.lock, flags);
	any = con.start != con.end || con.eof;
	*got = min(n, con.end - con.start);
	*taken = con.taken;
	memcpy(buf, con.ready + con.start, *got);
	spin_unlock_irqrestore(&con.lock, flags);
	return any;
}

/* Takes out n bytes that con_peek() showed, and the end of file. false: another reader was first. */
static bool con_take(size_t n, uint64_t taken)
{
	irqflags_t flags;
	bool ours;

	spin_lock_irqsave(&con.lock, flags);
	ours = con.taken == taken;
	if (ours) {
		con.taken++;
		con.start += n;
		con.eof = false;
	}
	spin_unlock_irqrestore(&con.lock, flags);
	return ours;
}

/* A read gets at most what is there, and waits only if nothing is. Bytes that the user cannot take
 * stay. */
static long console_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char bytes[sizeof(con.ready)];
	uint64_t taken;
	size_t got;

	for (;;) {
		if (!con_peek(bytes, min(n, sizeof(bytes)), &got, &taken)) {
			if (file_flags(f) & O_NONBLOCK)
				return -EAGAIN;
			if (wait_event(&con.typed, con_ready(), true, 0) == -EINTR)
				return -ERESTARTSYS;
			continue;
		}
		if (hal_copy_to_user(buf, bytes, got))
			return -EFAULT;
		if (con_take(got, taken))
			return (long)got;
	}
}

/* In pieces through the kernel's stack: the machine's log wants kernel memory. */
static long console_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char tmp[256];
	size_t done = 0;

	while (done < n) {
		size_t k = min(n - done, sizeof(tmp));
		size_t left = hal_copy_from_user(tmp, buf + done, k);

		hal_log(tmp, k - left);
		if (k > left)
			console_midline = tmp[k - left - 1] != '\n';
		done += k - left;
		if (left)
			return done ? (long)done : -EFAULT;
	}
	return (long)done;
}

static unsigned console_poll(struct open_file *f)
{
	return POLLOUT | (con_ready() ? POLLIN : 0);
}

static long console_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	/* iflag oflag cflag lflag line cc[19]: a terminal that edits lines and echoes */
	static const struct {
		uint32_t flags[4];
		uint8_t line, cc[19];
	} termios = {{0x500, 0x5, 0xbf, 0x8a3b}, 0, {3, 28, 0x7f, 21, 4, 0, 1}};
	static const uint16_t size[4] = {24, 80, 0, 0};
	int n;

	switch (cmd) {
	case TCGETS:
		return COPY_OUT(arg, termios);
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		return 0;
	case TIOCGWINSZ:
		return COPY_OUT(arg, size);
	case TIOCGPGRP:
		n = current->proc->pgid;
		return COPY_OUT(arg, n);
	case TIOCSPGRP:
		return 0;
	case FIONREAD:
		n = (int)con_there();
		return COPY_OUT(arg, n);
	default:
		return -ENOTTY;
	}
}

bool console_wakes(const void *key)
{
	return key == &con.typed;
}

const struct file_ops console_ops = {.read = console_read, .write = console_write,
				     .poll = console_poll, .ioctl = console_ioctl};

/* A line for the monitor, without its newline. Sleeps. */
size_t console_line(char *buf, size_t size)
{
	char bytes[sizeof(con.ready)], *newline;
	size_t got, n;
	uint64_t taken;

	do {
		while (!con_peek(bytes, sizeof(bytes), &got, &taken))
			(void)wait_event(&con.typed, con_ready(), false, 0);
		newline = memchr(bytes, '\n', got);
		n = newline ? (size_t)(newline - bytes) : got;
	} while (!con_take(newline ? n + 1 : n, taken));
	n = min(n, size - 1);
	memcpy(buf, bytes, n);
	buf[n] = '\0';
	return n;
}
