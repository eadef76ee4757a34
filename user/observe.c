/* SPDX-License-Identifier: MIT */
/*
 * What a scenario looks at: /proc of the task itself, in Linux's formats. Numbers that a kernel
 * may choose freely (addresses outside the arena, frame numbers) are not shown.
 */
#include "run.h"

#define LINE_MAX 512

/* ---- lines of a /proc file ------------------------------------------------------------------ */

/* Gets a line without its newline; false: no more is wanted. */
typedef bool (*line_fn)(const char *line, void *ctx);

struct lines {
	char line[LINE_MAX];
	size_t n;
	line_fn fn;
	void *ctx;
	bool stop;
};

static void take_bytes(struct lines *l, const char *p, size_t n)
{
	for (size_t i = 0; i < n && !l->stop; i++) {
		if (p[i] != '\n') {
			if (l->n + 1 < LINE_MAX)
				l->line[l->n++] = p[i];
			continue;
		}
		l->line[l->n] = 0;
		l->n = 0;
		l->stop = !l->fn(l->line, l->ctx);
	}
}

static long proc_lines(struct u *u, const char *path, line_fn fn, void *ctx)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	struct lines l = { .fn = fn, .ctx = ctx };
	char buf[1024];
	long fd, n = 0;

	fd = u_syscall(u, NR_openat, U_AT_FDCWD, run_string(u, path), U_O_RDONLY, 0, 0, 0);
	if (fd < 0)
		return fd;
	while (!l.stop) {
		n = u_syscall(u, NR_read, fd, (long)sc, SC_IO_SIZE, 0, 0, 0);
		if (n <= 0)
			break;
		for (long at = 0; at < n; at += (long)sizeof(buf)) {
			size_t part = n - at < (long)sizeof(buf) ? (size_t)(n - at) : sizeof(buf);

			u_peek(u, buf, sc + (uintptr_t)at, part);
			take_bytes(&l, buf, part);
		}
	}
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	return n < 0 ? n : 0;
}

long put_file(struct u *u, const char *path, const char *text)
{
	long fd = u_syscall(u, NR_openat, U_AT_FDCWD, run_string(u, path), U_O_WRONLY, 0, 0, 0);
	long ret;

	if (fd < 0)
		return fd;
	ret = u_syscall(u, NR_write, fd, run_string(u, text), (long)str_len(text), 0, 0, 0);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	return ret < 0 ? ret : 0;
}

static bool first_line(const char *line, void *ctx)
{
	*(long *)ctx = (long)str_num(&line, 10);
	return false;
}

long get_number(struct u *u, const char *path)
{
	long value = 0, ret = proc_lines(u, path, first_line, &value);

	return ret < 0 ? ret : value;
}

struct field {
	const char *name;
	long value;
};

static long number_after(const char *p)
{
	while (*p == ':' || *p == ' ' || *p == '\t')
		p++;
	return (long)str_num(&p, 10);
}

static bool field_line(const char *line, void *ctx)
{
	struct field *f = ctx;
	size_t n = str_len(f->name);

	if (!str_starts(line, f->name) || line[n] != ':')
		return true;
	f->value = number_after(line + n);
	return false;
}

long proc_field(struct u *u, const char *path, const char *name)
{
	struct field f = { name, -2 }; /* ENOENT */
	long ret = proc_lines(u, path, field_line, &f);

	return ret < 0 ? ret : f.value;
}

/* ---- maps ----------------------------------------------------------------------------------- */

struct map_line {
	uint64_t start, end, off, ino;
	char perms[5];
	const char *name; /* the rest of the line */
};

/* start-end perms offset dev inode path; false if it is no such line. */
static bool parse_map(const char *p, struct map_line *m)
{
	const char *s = p;

	m->start = str_num(&p, 16);
	if (p == s || *p++ != '-')
		return false;
	m->end = str_num(&p, 16);
	if (*p++ != ' ')
		return false;
	for (int i = 0; i < 4; i++) {
		if (!p[0])
			return false;
		m->perms[i] = *p++;
	}
	m->perms[4] = 0;
	while (*p == ' ')
		p++;
	m->off = str_num(&p, 16);
	while (*p == ' ')
		p++;
	while (*p && *p != ' ') /* the device */
		p++;
	while (*p == ' ')
		p++;
	m->ino = str_num(&p, 10);
	while (*p == ' ')
		p++;
	m->name = p;
	return true;
}

struct maps_ctx {
	uint64_t base, start, end;
	struct text *out;
};

static bool maps_line(const char *line, void *ctx)
{
	struct maps_ctx *c = ctx;
	struct map_line m;

	if (!parse_map(line, &m) || m.end <= c->start || m.start >= c->end)
		return true;
	if (c->out->n)
		text_chr(c->out, ' ');
	text_dec(c->out, (int64_t)(m.start - c->base) / 4096);
	text_chr(c->out, '-');
	text_dec(c->out, (int64_t)(m.end - c->base) / 4096);
	text_chr(c->out, ':');
	text_str(c->out, m.perms);
	if (m.ino) {
		text_chr(c->out, '@');
		text_udec(c->out, m.off >> 12);
	}
	return true;
}

/* The layout of the arena, or of a range, in pages from its start. */
static void see_maps(struct u *u, const uint64_t *x, unsigned nargs, struct seen *s)
{
	struct maps_ctx c = { SCN_ARENA, SCN_ARENA, SCN_ARENA_END, &s->text };
	long ret;

	if (nargs) {
		c.base = c.start = x[0];
		c.end = nargs > 1 ? x[0] + x[1] : x[0] + 1;
	}
	ret = proc_lines(u, "/proc/self/maps", maps_line, &c);
	seen_result(s, ret);
	if (ret < 0)
		return;
	s->kind = SEEN_TEXT;
	if (!s->text.n)
		text_str(&s->text, "none");
}

struct name_ctx {
	uint64_t addr;	  /* of the area whose name is asked for */
	const char *name; /* or the name of the area whose start is asked for */
	bool found;
	uint64_t start;
	struct text *out;
};

static bool name_line(const char *line, void *ctx)
{
	struct name_ctx *c = ctx;
	struct map_line m;

	if (!parse_map(line, &m))
		return true;
	if (c->name ? !str_eq(m.name, c->name) : c->addr < m.start || c->addr >= m.end)
		return true;
	c->found = true;
	c->start = m.start;
	text_str(c->out, m.name[0] ? m.name : "none");
	return false;
}

/* The name that stands behind an area; or (name given) where the area of that name starts. */
static void see_name(struct u *u, uint64_t addr, const char *name, struct seen *s)
{
	struct name_ctx c = { .addr = addr, .name = name, .out = &s->text };
	long ret = proc_lines(u, "/proc/self/maps", name_line, &c);

	if (ret >= 0 && !c.found)
		ret = -12; /* ENOMEM: nothing is mapped there */
	seen_result(s, ret);
	if (ret < 0)
		return;
	s->kind = name ? SEEN_VALUE : SEEN_TEXT;
	s->value = c.start;
	s->is_addr = name;
}

struct smaps_ctx {
	uint64_t addr;
	const char *field;
	bool inside, found;
	long value;
	struct text *flags;
};

/* Two letters each; sd (soft-dirty) is left out, not every kernel is built with it. */
static void copy_flags(const char *p, struct text *t)
{
	while (*p) {
		while (*p == ' ')
			p++;
		if (!p[0] || !p[1])
			return;
		if (p[0] != 's' || p[1] != 'd') {
			if (t->n)
				text_chr(t, ' ');
			text_mem(t, p, 2);
		}
		p += 2;
	}
}

static bool smaps_line(const char *line, void *ctx)
{
	struct smaps_ctx *c = ctx;
	struct map_line m;
	size_t n = str_len(c->field);

	if (parse_map(line, &m)) {
		if (c->inside)
			return false;
		c->inside = m.start <= c->addr && c->addr < m.end;
		return true;
	}
	if (!c->inside || !str_starts(line, c->field) || line[n] != ':')
		return true;
	c->found = true;
	if (c->flags)
		copy_flags(line + n + 1, c->flags);
	else
		c->value = number_after(line + n);
	return false;
}

static void see_smaps(struct u *u, uint64_t addr, const char *field, struct seen *s)
{
	struct smaps_ctx c = { .addr = addr, .field = field };
	long ret;

	if (str_eq(field, "VmFlags"))
		c.flags = &s->text;
	ret = proc_lines(u, "/proc/self/smaps", smaps_line, &c);
	if (ret >= 0 && !c.inside)
		ret = -12; /* ENOMEM: nothing is mapped there */
	if (ret >= 0 && !c.found)
		ret = -2; /* ENOENT: no such field */
	seen_result(s, ret < 0 ? ret : c.value);
	if (ret >= 0 && c.flags)
		s->kind = SEEN_TEXT;
}

/* ---- single pages --------------------------------------------------------------------------- */

#define PM_PRESENT   (1ull << 63)
#define PM_SOFTDIRTY (1ull << 55)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_FRAME     ((1ull << 55) - 1)

/* The pagemap word of addr, of task pid (0: the own one). Negative: an error. */
static long pagemap(struct u *u, long pid, uint64_t addr, uint64_t *word)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	char path[64];
	struct text t = TEXT(path);
	long fd, n;

	text_str(&t, "/proc/");
	if (pid)
		text_dec(&t, pid);
	else
		text_str(&t, "self");
	text_str(&t, "/pagemap");
	fd = u_syscall(u, NR_openat, U_AT_FDCWD, run_string(u, path), U_O_RDONLY, 0, 0, 0);
	if (fd < 0)
		return fd;
	n = u_syscall(u, NR_pread64, fd, (long)sc, 8, (long)(addr / U_PAGE * 8), 0, 0);
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	*word = 0;
	if (n == 8)
		u_peek(u, word, sc, 8);
	return n < 0 ? n : 0;
}

/* How many pages of [x0, x0 + x1) have the bit; one page without a length. */
static void count_bits(struct u *u, const uint64_t *x, unsigned nargs, uint64_t bit,
		       struct seen *s)
{
	uint64_t end = x[0] + (nargs > 1 ? x[1] : 1), word;
	long ret = 0, count = 0;

	for (uint64_t p = x[0]; p < end && ret >= 0; p += U_PAGE) {
		ret = pagemap(u, 0, p, &word);
		count += ret >= 0 && (word & bit);
	}
	seen_result(s, ret < 0 ? ret : count);
}

static void see_sameframe(struct u *u, struct run *r, const struct scn_action *a,
			  const uint64_t *x, struct seen *s)
{
	uint64_t w0, w1;
	long pid = a->nargs > 2 ? r->b.pid[a->arg[2].task] : 0;
	long ret = pagemap(u, 0, x[0], &w0);

	if (ret >= 0)
		ret = pagemap(u, pid, x[1], &w1);
	if (ret < 0) {
		seen_result(s, ret);
		return;
	}
	/* Without the right to see them, frame numbers read as 0. */
	if ((w0 & PM_PRESENT) && !(w0 & PM_FRAME)) {
		s->kind = SEEN_CANNOT;
		return;
	}
	seen_result(s, (w0 & PM_PRESENT) && (w1 & PM_PRESENT) &&
			       (w0 & PM_FRAME) == (w1 & PM_FRAME));
}

/* How often the page at addr is mapped, by all processes together. */
static void see_mapcount(struct u *u, uint64_t addr, struct seen *s)
{
	uintptr_t sc = u_scratch(u) + SC_IO;
	uint64_t word, count = 0;
	long fd, n, ret = pagemap(u, 0, addr, &word);

	if (ret < 0 || !(word & PM_PRESENT)) {
		seen_result(s, ret);
		return;
	}
	fd = u_syscall(u, NR_openat, U_AT_FDCWD, run_string(u, "/proc/kpagecount"), U_O_RDONLY, 0,
		       0, 0);
	n = u_syscall(u, NR_pread64, fd, (long)sc, 8, (long)((word & PM_FRAME) * 8), 0, 0);
	if (n == 8)
		u_peek(u, &count, sc, 8);
	if (fd >= 0)
		u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	if (n == 8 && (word & PM_FRAME))
		seen_result(s, (long)count);
	else
		s->kind = SEEN_CANNOT;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static long do_clearrefs(struct u *u, uint64_t what)
{
	char text[24];
	struct text t = TEXT(text);

	text_udec(&t, what);
	return put_file(u, "/proc/self/clear_refs", text);
}

/* Without the calls that look, faults() says what came since it was last asked. */
static void see_faults(struct u *u, struct run *r, struct seen *s)
{
	uint64_t now = run_faults(u);

	seen_result(s, (long)(now - r->faults));
	r->faults = now;
}

void observe(struct u *u, struct run *r, const struct scn_action *a, struct seen *s)
{
	uint64_t x[SCN_MAX_ARGS] = { 0 };
	char word[256] = "";

	for (unsigned i = 0; i < a->nargs; i++) {
		if (a->arg[i].kind == ARG_EXPR)
			x[i] = run_eval(u, r, &a->arg[i].expr);
		if (a->arg[i].kind == ARG_WORD)
			run_word(r, &a->arg[i], word);
	}
	switch (a->op) {
	case OP_MAPS:
		see_maps(u, x, a->nargs, s);
		break;
	case OP_MAPNAME:
		see_name(u, x[0], NULL, s);
		break;
	case OP_AREA:
		see_name(u, 0, word, s);
		break;
	case OP_VMFLAGS:
		see_smaps(u, x[0], "VmFlags", s);
		break;
	case OP_SMAPS:
		see_smaps(u, x[0], word, s);
		break;
	case OP_STATUS:
		seen_result(s, proc_field(u, "/proc/self/status", word));
		break;
	case OP_MEMINFO:
		seen_result(s, proc_field(u, "/proc/meminfo", word));
		break;
	case OP_MAPCOUNT:
		see_mapcount(u, x[0], s);
		break;
	case OP_PRESENT:
		count_bits(u, x, a->nargs, PM_PRESENT, s);
		break;
	case OP_SOFTDIRTY:
		count_bits(u, x, a->nargs, PM_SOFTDIRTY, s);
		break;
	case OP_EXCLUSIVE:
		count_bits(u, x, a->nargs, PM_EXCLUSIVE, s);
		break;
	case OP_SAMEFRAME:
		see_sameframe(u, r, a, x, s);
		break;
	case OP_CLEARREFS:
		seen_result(s, do_clearrefs(u, x[0]));
		break;
	default:
		see_faults(u, r, s);
		break;
	}
}
