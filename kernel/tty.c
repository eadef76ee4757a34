/* SPDX-License-Identifier: MIT */
/*
 * The terminal, /dev/console and /dev/tty: one, over the machine's log channel, or over the memory that
 * the host shares (hostio.c). What is typed is edited a line at a time and echoed, or passed on byte by
 * byte, as its settings say; the keys for it send signals to the processes in the foreground.
 *
 * The tick takes what was typed: the line being edited is its own, but for a moment (con.typing). A whole line goes to the bytes that
 * read() takes from, the last of a line marked there; a line that ends in an end of file has a marked
 * byte for that too, which is nobody's. con.lock covers them. A reader copies without it and takes out
 * afterwards, if nobody else has meanwhile.
 */
#include "kernel.h"

#include "rawlock.h"

#define BYTES 4096u /* of a line, and of what waits to be read */
#define SMALL 256u  /* bytes of a read that go over the stack */

/* Linux's struct termios, and of its bits those that mean something here. */
struct settings {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t line, cc[19];
};
enum { INLCR = 0x40, IGNCR = 0x80, ICRNL = 0x100 };
enum { OPOST = 1, ONLCR = 4 };
enum { ISIG = 1, ICANON = 2, ECHO = 8, ECHOE = 0x10, ECHOCTL = 0x200, NOFLSH = 0x80 };
enum { VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSUSP = 10, VEOL };

static const struct settings usual = {
	ICRNL | 0x400, OPOST | ONLCR, 0xbf, 0x8a3b, 0,
	{3, 28, 0x7f, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22},
};

static struct {
	struct rawlock typing; /* line, len; the tick does without if another has it, until the next */
	char line[BYTES];   /* being typed */
	size_t len;
	spinlock_t lock;    /* what follows; interrupts off */
	struct settings set;
	int pgrp;	    /* in the foreground; 0: that of the first program */
	bool over;	    /* nothing more will be typed */
	char ready[BYTES];  /* at position % BYTES, from start up to end */
	uint64_t marks[BYTES / 64];
	uint64_t start, end;
	uint64_t taken;	    /* times that something was taken out, so that a reader knows of others */
	struct wait_head typed;
	struct poll_head polls;
} con = {.lock = SPINLOCK_INIT_RANK("console", RANK_CONSOLE), .set = usual};


void tty_init(void)
{
	poll_head_init(&con.polls);
	con.set = usual;
	con.pgrp = 0;
	con.over = false;
	con.len = 0;
	con.start = con.end = 0;
	memset(con.marks, 0, sizeof(con.marks));
}

static bool setting(uint32_t flag)
{
	return READ_ONCE(con.set.lflag) & flag;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Bytes as the settings want them, at most twice as many; how many. */
static size_t cook(const char *s, size_t n, char *out)
{
	bool crlf = (READ_ONCE(con.set.oflag) & (OPOST | ONLCR)) == (OPOST | ONLCR);
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n' && crlf)
			out[k++] = '\r';
		out[k++] = s[i];
	}
	return k;
}

/* What finds no room is lost: nobody can wait here. */
static void echo(const char *s, size_t n)
{
	char out[32];

	if (!setting(ECHO))
		return;
	if (!hostio_terminal()) {
		log_put(s, n, false);
		return;
	}
	for (size_t k; n; s += k, n -= k) {
		k = min(n, sizeof(out) / 2);
		hostio_put(out, cook(s, k, out));
	}
}

/* The log channel takes the line ends as they are: it belongs to the kernel too. */
static int put_piece(const char *s, size_t n)
{
	char out[2 * SMALL];
	int err = 0;

	if (hostio_terminal()) {
		err = hostio_wait(sizeof(out));
		if (!err)
			hostio_put(out, cook(s, n, out));
		return err;
	}
	log_put(s, n, false);
	return 0;
}

/* In pieces through the kernel's stack: the channels want kernel memory. */
static long console_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char piece[SMALL];
	size_t done = 0;

	while (done < n) {
		size_t k = min(n - done, sizeof(piece));
		size_t left = hal_copy_from_user(piece, buf + done, k);
		int err = put_piece(piece, k - left);

		if (err)
			return done ? (long)done : err;
		done += k - left;
		if (left)
			return done ? (long)done : -EFAULT;
	}
	return (long)done;
}

/* ---- what is typed --------------------------------------------------------------------------- */

static void mark(uint64_t at, bool yes)
{
	uint64_t bit = 1ull << (at % 64);
	uint64_t *word = &con.marks[at % BYTES / 64];

	*word = yes ? *word | bit : *word & ~bit;
}

static bool marked(uint64_t at)
{
	return con.marks[at % BYTES / 64] >> (at % 64) & 1;
}

static void push(char c, bool last)
{
	assert_held(&con.lock);
	if (con.end - con.start == BYTES)
		return;
	con.ready[con.end % BYTES] = c;
	mark(con.end++, last);
}

/* What was typed goes to the next reader. eof: with an end of file behind it instead of a line end. */
static void line_done(bool eof)
{
	irqflags_t flags;

	spin_lock_irqsave(&con.lock, flags);
	for (size_t i = 0; i < con.len; i++)
		push(con.line[i], !eof && i + 1 == con.len && setting(ICANON));
	if (eof)
		push('\0', true);
	spin_unlock_irqrestore(&con.lock, flags);
	con.len = 0;
	wake_all(&con.typed);
	poll_tell(&con.polls, POLLIN | POLLRDNORM);
}

/* No lock is held: sending takes tasks_lock. */
void signal_foreground(int sig)
{
	struct hal_siginfo si = {.signo = sig, .code = SI_KERNEL};
	int pgrp = READ_ONCE(con.pgrp);
	struct process *p;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	list_for_each_entry(p, &all_processes, all)
		if (p->pgid == (pgrp ? pgrp : FIRST_PROGRAM))
			post_signal_process(p, &si);
	spin_unlock_irqrestore(&tasks_lock, flags);
}

static int signal_of(uint8_t c)
{
	const uint8_t *cc = con.set.cc;

	if (!c || !setting(ISIG))
		return 0;
	return c == cc[VINTR] ? SIGINT : c == cc[VQUIT] ? SIGQUIT : c == cc[VSUSP] ? SIGTSTP : 0;
}

static void interrupt(int sig, char c)
{
	char text[] = {'^', (char)(c ^ 0x40), '\n'};
	irqflags_t flags;

	if (!setting(NOFLSH)) {
		spin_lock_irqsave(&con.lock, flags);
		con.start = con.end;
		con.taken++;
		spin_unlock_irqrestore(&con.lock, flags);
		con.len = 0;
	}
	echo(text, sizeof(text));
	signal_foreground(sig);
}

static bool shown_as_two(char c)
{
	return (unsigned char)c < ' ' && c != '\n' && c != '\t' && setting(ECHOCTL);
}

static void echo_typed(char c)
{
	char text[] = {'^', (char)(c ^ 0x40)};

	if (shown_as_two(c))
		echo(text, sizeof(text));
	else
		echo(&c, 1);
}

static void erase(size_t n)
{
	for (; n && con.len; n--)
		echo("\b \b\b \b", shown_as_two(con.line[--con.len]) ? 6 : 3);
}

/* Of a line that is edited. */
static void edit(char c)
{
	const uint8_t *cc = con.set.cc;

	if ((uint8_t)c == cc[VEOF] && c) {
		line_done(true);
	} else if (((uint8_t)c == cc[VERASE] && c) || c == '\b') {
		erase(1);
	} else if ((uint8_t)c == cc[VKILL] && c) {
		erase(con.len);
	} else if (con.len < sizeof(con.line) - 1 || c == '\n') {
		con.line[con.len++] = c;
		echo_typed(c);
		if (c == '\n' || (c && (uint8_t)c == cc[VEOL]))
			line_done(false);
	}
}

static void typed(char c)
{
	uint32_t iflag = READ_ONCE(con.set.iflag);
	int sig;

	if (c == '\r' && iflag & IGNCR)
		return;
	if (c == '\r' && iflag & ICRNL)
		c = '\n';
	else if (c == '\n' && iflag & INLCR)
		c = '\r';
	sig = signal_of((uint8_t)c);
	if (sig) {
		interrupt(sig, c);
	} else if (setting(ICANON)) {
		edit(c);
	} else {
		con.line[con.len++] = c;
		echo_typed(c);
		line_done(false);
	}
}

/* Room for a line that is full. */
static bool may_type(void)
{
	return BYTES - (READ_ONCE(con.end) - READ_ONCE(con.start)) > con.len;
}

static void look_at_window(void)
{
	static uint64_t seen;
	uint64_t now = hostio_window();

	if (now == seen)
		return;
	seen = now;
	signal_foreground(SIGWINCH);
}

static void take_typed(void)
{
	int c;

	if (!hostio_terminal()) {
		while ((c = hal_console_getc()) >= 0)
			typed((char)c);
		return;
	}
	look_at_window();
	while (may_type() && (c = hostio_getc()) >= 0)
		typed((char)c);
	if (!con.over && hostio_ended()) {
		line_done(true);
		WRITE_ONCE(con.over, true);
		wake_all(&con.typed);
	}
}

/* Called by the timer: the machine has no interrupt for a typed byte. */
void console_tick(void)
{
	if (!raw_trylock(&con.typing))
		return;
	take_typed();
	raw_unlock(&con.typing);
}

/* ---- readers --------------------------------------------------------------------------------- */

/* The piece that a read gets. */
struct piece {
	uint64_t taken;
	size_t n;    /* bytes, which are the reader's */
	size_t take; /* positions that go with them */
};

/* Where the first line ends, its marked byte included; start: there is no whole line. */
static uint64_t end_of_line(void)
{
	assert_held(&con.lock);
	for (uint64_t at = con.start; at < con.end; at++)
		if (marked(at))
			return at + 1;
	return con.start;
}

/* A marked byte of an end of file is taken with the bytes before it, and is none. */
static bool find_piece(size_t most, struct piece *p)
{
	uint64_t end = setting(ICANON) ? end_of_line() : con.end;

	assert_held(&con.lock);
	if (end == con.start)
		return false;
	p->taken = con.taken;
	p->take = p->n = min(most, (size_t)(end - con.start));
	if (con.ready[(con.start + p->n - 1) % BYTES] == '\0' && marked(con.start + p->n - 1))
		p->n--;
	else if (con.start + p->n + 1 == end && con.ready[(end - 1) % BYTES] == '\0' && marked(end - 1))
		p->take++;
	return true;
}

/* Up to most of the bytes, which stay. false: there is nothing to read. */
static bool con_peek(char *buf, size_t most, struct piece *p)
{
	irqflags_t flags;
	bool any;

	spin_lock_irqsave(&con.lock, flags);
	any = find_piece(most, p);
	for (size_t i = 0; any && i < p->n; i++)
		buf[i] = con.ready[(con.start + i) % BYTES];
	spin_unlock_irqrestore(&con.lock, flags);
	return any;
}

/* Takes out what con_peek() showed. false: another reader was first. */
static bool con_take(const struct piece *p)
{
	irqflags_t flags;
	bool ours;

	spin_lock_irqsave(&con.lock, flags);
	ours = con.taken == p->taken;
	if (ours) {
		con.taken++;
		con.start += p->take;
	}
	spin_unlock_irqrestore(&con.lock, flags);
	return ours;
}

static bool con_ready(void)
{
	struct piece p;
	irqflags_t flags;
	bool any;

	spin_lock_irqsave(&con.lock, flags);
	any = find_piece(1, &p);
	spin_unlock_irqrestore(&con.lock, flags);
	return any;
}

static size_t con_there(void)
{
	irqflags_t flags;
	size_t n;

	spin_lock_irqsave(&con.lock, flags);
	n = con.end - con.start;
	spin_unlock_irqrestore(&con.lock, flags);
	return n;
}

/* Waits until there is something. 0; 1: nothing will come, or not in time; -errno. Of bytes that are
 * passed on singly VMIN 0 says not to wait, or not longer than VTIME tenths of a second. */
static int wait_for_input(const struct open_file *f)
{
	uint8_t tenths = con.set.cc[VTIME];
	uint64_t deadline = 0;
	int err;

	if (READ_ONCE(con.over))
		return 1;
	if (file_flags(f) & O_NONBLOCK)
		return -EAGAIN;
	if (!setting(ICANON) && !con.set.cc[VMIN]) {
		if (!tenths)
			return 1;
		deadline = hal_clock_ns() + tenths * 100 * NS_PER_MS;
	}
	err = wait_event(&con.typed, con_ready() || READ_ONCE(con.over), true, deadline);
	return err == -EINTR ? -ERESTARTSYS : err == -ETIMEDOUT;
}

static long read_into(struct open_file *f, uintptr_t buf, char *bytes, size_t n)
{
	struct piece p;
	int err;

	for (;;) {
		if (!con_peek(bytes, n, &p)) {
			err = wait_for_input(f);
			if (err && !con_ready())
				return err > 0 ? 0 : err;
			continue;
		}
		if (hal_copy_to_user(buf, bytes, p.n))
			return -EFAULT;
		if (con_take(&p))
			return (long)p.n;
	}
}

/* A read gets at most what is there, and at most a line. Bytes that the user cannot take stay. */
static long console_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char small[SMALL], *page;
	long r;

	if (!n)
		return 0;
	if (n <= sizeof(small))
		return read_into(f, buf, small, n);
	page = quire_alloc_pages(0, 0);
	if (!page)
		return -ENOMEM;
	r = read_into(f, buf, page, min(n, (size_t)BYTES));
	quire_free_pages(page, 0);
	return r;
}

static unsigned console_poll(struct open_file *f)
{
	return POLLOUT | POLLWRNORM | (con_ready() ? POLLIN | POLLRDNORM : 0) |
	       (READ_ONCE(con.over) ? POLLIN | POLLRDNORM | POLLHUP : 0);
}

static struct poll_head *console_poll_head(struct open_file *f)
{
	return &con.polls;
}

/* ---- settings -------------------------------------------------------------------------------- */

/* What was typed so far of a line that is not edited any more can be read. */
static long set_settings(uintptr_t src, bool flush)
{
	struct settings s;
	irqflags_t flags;
	bool was;

	if (COPY_IN(s, src))
		return -EFAULT;
	spin_lock_irqsave(&con.lock, flags);
	was = con.set.lflag & ICANON;
	con.set = s;
	if (flush) {
		con.start = con.end;
		con.taken++;
	}
	spin_unlock_irqrestore(&con.lock, flags);
	if (was && !(s.lflag & ICANON)) {
		flags = hal_irq_save();
		raw_lock(&con.typing);
		line_done(false);
		raw_unlock(&con.typing);
		hal_irq_restore(flags);
	}
	return 0;
}

static long get_window(uintptr_t dst)
{
	uint64_t w = hostio_window();
	uint16_t size[4] = {w ? (uint16_t)(w >> 32) : 24, w ? (uint16_t)w : 80, 0, 0};

	return COPY_OUT(dst, size);
}

static long console_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	struct settings s;
	irqflags_t flags;
	int n;

	switch (cmd) {
	case TCGETS:
		spin_lock_irqsave(&con.lock, flags);
		s = con.set;
		spin_unlock_irqrestore(&con.lock, flags);
		return COPY_OUT(arg, s);
	case TCSETS:
	case TCSETSW:
		return set_settings(arg, false);
	case TCSETSF:
		return set_settings(arg, true);
	case TIOCGWINSZ:
		return get_window(arg);
	case TIOCGPGRP:
		n = READ_ONCE(con.pgrp) ? READ_ONCE(con.pgrp) : FIRST_PROGRAM;
		return COPY_OUT(arg, n);
	case TIOCSPGRP:
		if (COPY_IN(n, arg))
			return -EFAULT;
		if (n <= 0)
			return -EINVAL;
		WRITE_ONCE(con.pgrp, n);
		return 0;
	case TIOCSCTTY:
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
				     .poll = console_poll, .poll_head = console_poll_head,
				     .ioctl = console_ioctl};

/* A line for the monitor, without its newline. Sleeps. */
size_t console_line(char *buf, size_t size)
{
	char bytes[SMALL];
	struct piece p;
	size_t n;

	do {
		while (!con_peek(bytes, sizeof(bytes), &p)) {
			if (kthread_should_stop()) {
				buf[0] = '\0';
				return 0;
			}
			(void)wait_event(&con.typed, con_ready(), true, 0);
		}
	} while (!con_take(&p));
	n = p.n && bytes[p.n - 1] == '\n' ? p.n - 1 : p.n;
	n = min(n, size - 1);
	memcpy(buf, bytes, n);
	buf[n] = '\0';
	return n;
}
