/* SPDX-License-Identifier: MIT */
/* One action of a scenario: its arguments, what it did, what was expected of it. */
#include "run.h"
#include "user/arch.h"
#include "names.h"

/* ---- expressions ---------------------------------------------------------------------------- */

uint64_t run_faults(struct u *u)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL + 2048;
	uint64_t usage[18];

	if (u_syscall(u, NR_getrusage, 0, (long)sc, 0, 0, 0, 0))
		return 0;
	u_peek(u, usage, sc, sizeof(usage));
	return usage[8] + usage[9]; /* ru_minflt, ru_majflt */
}

/* The first address that user space does not have: asked by mapping the page below. Probed from
 * the widest machine down; a page that is taken exists as well. */
static uint64_t task_size(struct u *u, struct run *r)
{
	static const uint64_t ends[] = { 1ull << 56, (1ull << 56) - U_PAGE, 1ull << 47,
					 (1ull << 47) - U_PAGE, 1ull << 38 };
	long flags = U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED_NOREPLACE;

	for (unsigned i = 0; i < 5 && !r->task_size; i++) {
		long at = (long)(ends[i] - U_PAGE);
		long ret = u_syscall(u, NR_mmap, at, U_PAGE, 0, flags, -1, 0);

		if (ret == at)
			u_syscall(u, NR_munmap, at, U_PAGE, 0, 0, 0, 0);
		if (ret == at || ret == -17)
			r->task_size = ends[i];
	}
	return r->task_size;
}

static uint64_t status_bytes(struct u *u, struct run *r, uint64_t where)
{
	char field[64];
	struct text t = TEXT(field);
	long v;

	text_mem(&t, r->scn.text + (where & 0xffffffff), where >> 32);
	v = proc_field(u, "/proc/self/status", field);
	return v < 0 ? 0 : (uint64_t)v << 10;
}

static uint64_t leaf(struct u *u, struct run *r, const struct scn_tok *t)
{
	switch (t->op) {
	case TOK_NAME:
		return r->b.name[t->value];
	case TOK_TASK_SIZE:
		return task_size(u, r);
	case TOK_MMAP_MIN:
		return 0x10000;
	case TOK_RET:
		return u_return_code(u);
	case TOK_STATUS:
		return status_bytes(u, r, t->value);
	default:
		return t->value;
	}
}

static uint64_t binary(enum scn_tok_op op, uint64_t a, uint64_t b)
{
	switch (op) {
	case TOK_ADD:
		return a + b;
	case TOK_SUB:
		return a - b;
	case TOK_MUL:
		return a * b;
	default:
		return a | b;
	}
}

uint64_t run_eval(struct u *u, struct run *r, const struct scn_expr *e)
{
	/* Each parenthesis keeps at most one value for each of the three ranks of operators. */
	uint64_t stack[3 * SCN_MAX_DEPTH + 4];
	unsigned n = 0;

	for (unsigned i = 0; i < e->count; i++) {
		const struct scn_tok *t = &r->scn.token[e->first + i];

		if (t->op < TOK_ADD) {
			stack[n++] = leaf(u, r, t);
		} else if (t->op == TOK_NEG || t->op == TOK_NOT) {
			stack[n - 1] = t->op == TOK_NEG ? 0 - stack[n - 1] : ~stack[n - 1];
		} else {
			n--;
			stack[n - 1] = binary(t->op, stack[n - 1], stack[n]);
		}
	}
	return stack[0];
}

void run_word(const struct run *r, const struct scn_arg *arg, char *buf)
{
	struct text t = { buf, 0, 256 };

	text_mem(&t, r->scn.text + arg->off, arg->len);
}

long run_string(struct u *u, const char *s)
{
	uintptr_t sc = u_scratch(u) + SC_SMALL;

	u_poke(u, sc, s, str_len(s) + 1);
	return (long)sc;
}

void seen_result(struct seen *s, long ret)
{
	if (ret < 0 && ret > -4096) {
		s->kind = SEEN_ERRNO;
		s->err = (int)-ret;
	} else {
		s->kind = SEEN_VALUE;
		s->value = (uint64_t)ret;
	}
}

/* ---- showing -------------------------------------------------------------------------------- */

/* Addresses in the arena as @page; others are the kernel's choice and stay unnamed in the
 * ordinary output, so that it is the same on every machine. */
static void show_addr(struct text *t, uint64_t v, bool exact)
{
	if (v >= SCN_ARENA && v < SCN_ARENA_END) {
		text_chr(t, '@');
		text_udec(t, (v - SCN_ARENA) >> 12);
		if (v & 4095) {
			text_chr(t, '+');
			text_udec(t, v & 4095);
		}
	} else if (exact) {
		text_hex(t, v);
	} else {
		text_str(t, "addr");
	}
}

static void show_number(struct text *t, uint64_t v)
{
	if ((int64_t)v >= -4096 && (int64_t)v < 10000000)
		text_dec(t, (int64_t)v);
	else
		text_hex(t, v);
}

static void show_name(struct text *t, const char *name, int number)
{
	if (name)
		text_str(t, name);
	else
		text_dec(t, number);
}

static void show_signal(struct text *t, const struct seen *s)
{
	show_name(t, signal_name(s->sig), s->sig);
	if (s->code == -1)
		return;
	text_chr(t, ' ');
	show_name(t, code_name(s->sig, s->code), s->code);
	text_chr(t, ' ');
	if (s->addr < SCN_ARENA || s->addr >= SCN_ARENA_END)
		text_hex(t, s->addr);
	else
		show_addr(t, s->addr, true);
}

static void show_seen(struct text *t, const struct seen *s, bool exact)
{
	switch (s->kind) {
	case SEEN_OK:
		text_str(t, "ok");
		break;
	case SEEN_VALUE:
		if (s->is_addr)
			show_addr(t, s->value, exact);
		else
			show_number(t, s->value);
		break;
	case SEEN_ERRNO:
		text_str(t, "-1 ");
		show_name(t, errno_name(s->err), s->err);
		break;
	case SEEN_SIGNAL:
		show_signal(t, s);
		return;
	case SEEN_TEXT:
		text_mem(t, s->text.p, s->text.n);
		break;
	case SEEN_CANNOT:
		text_str(t, "not to be done on this machine");
		return;
	case SEEN_NOBODY:
		text_str(t, "not done: this task is not there");
		return;
	}
	if (s->show_faults) {
		text_str(t, " faults=");
		text_dec(t, s->faults);
	}
}

/* ---- comparing ------------------------------------------------------------------------------ */

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Equal but for the amount of white space. */
static bool same_words(const char *a, size_t an, const char *b, size_t bn)
{
	size_t i = 0, j = 0;

	for (;;) {
		while (i < an && blank(a[i]))
			i++;
		while (j < bn && blank(b[j]))
			j++;
		if (i == an || j == bn)
			return i == an && j == bn;
		while (i < an && j < bn && !blank(a[i]) && a[i] == b[j]) {
			i++;
			j++;
		}
		if ((i < an && !blank(a[i])) || (j < bn && !blank(b[j])))
			return false;
	}
}

static bool as_wanted(struct u *u, struct run *r, const struct scn_action *a, const struct seen *s)
{
	bool good = s->kind != SEEN_ERRNO && s->kind != SEEN_SIGNAL;

	if (a->want == WANT_NOTHING || a->want == WANT_OK)
		if (a->op == OP_LOAD && s->kind == SEEN_VALUE && s->known && s->value != s->stored)
			return false;
	switch (a->want) {
	case WANT_OK:
		return good;
	case WANT_VALUE:
		return s->kind == SEEN_VALUE && s->value == run_eval(u, r, &a->value);
	case WANT_ERRNO:
		return s->kind == SEEN_ERRNO && s->err == a->err;
	case WANT_SIGNAL:
		return s->kind == SEEN_SIGNAL && s->sig == a->sig &&
		       (a->code < 0 || s->code == a->code) &&
		       (!a->has_addr || s->addr == run_eval(u, r, &a->value));
	case WANT_TEXT:
		return s->kind == SEEN_TEXT &&
		       same_words(s->text.p, s->text.n, r->scn.text + a->want_off, a->want_len);
	default:
		return true;
	}
}

/* ---- one action ----------------------------------------------------------------------------- */

static void report(struct u *u, struct run *r, const struct scn_action *a, const struct seen *s)
{
	char buf[SEEN_TEXT_MAX + 1024];
	struct text t = TEXT(buf);

	if (a->line < 10)
		text_chr(&t, ' ');
	if (a->line < 100)
		text_chr(&t, ' ');
	text_udec(&t, a->line);
	text_str(&t, "  ");
	text_mem(&t, r->scn.text + a->off, a->len);
	text_str(&t, " = ");
	show_seen(&t, s, false);
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
}

static void report_mismatch(struct u *u, struct run *r, const struct scn_action *a,
			    const struct seen *s)
{
	char buf[SEEN_TEXT_MAX + 1024];
	struct text t = TEXT(buf);

	text_str(&t, r->path);
	text_chr(&t, ':');
	text_udec(&t, a->line);
	text_str(&t, ": expected ");
	if (a->op == OP_LOAD && s->known && a->want != WANT_VALUE) {
		show_number(&t, s->stored);
		text_str(&t, ", which was last stored there,");
	} else {
		text_mem(&t, r->scn.text + a->want_off, a->want_len);
	}
	text_str(&t, " seen ");
	show_seen(&t, s, true);
	if (a->faults >= 0 && !s->show_faults) {
		text_str(&t, " faults=");
		text_dec(&t, s->faults);
	}
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
}

static void carry_out(struct u *u, struct run *r, const struct scn_action *a, struct seen *s)
{
	if (a->op == OP_FORK)
		task_fork(u, r, a, s);
	else if (a->op == OP_WAIT)
		task_wait(u, r, a, s);
	else if (a->op >= OP_MAPS && a->op <= OP_CLEARREFS)
		observe(u, r, a, s);
	else
		act(u, r, a, s);
}

void run_action(struct u *u, struct run *r, const struct scn_action *a)
{
	char text[SEEN_TEXT_MAX];
	struct seen s = { .text = { text, 0, sizeof(text) } };
	bool equal;

	if (a->arch && a->arch != U_ARCH)
		return;
	run_mark(u, r, a->arch ? "only" : "line", a->line, true);
	carry_out(u, r, a, &s);
	if (a->bind >= 0)
		r->b.name[a->bind] = s.kind == SEEN_VALUE ? s.value : 0;
	report(u, r, a, &s);
	if (s.kind == SEEN_CANNOT)
		r->b.cannot = true;
	equal = as_wanted(u, r, a, &s) && (a->faults < 0 || a->faults == s.faults);
	if (!equal && s.kind != SEEN_CANNOT) {
		report_mismatch(u, r, a, &s);
		r->b.failed++;
	}
	run_look(u, r, a->line);
}

void run_absent(struct u *u, struct run *r, const struct scn_action *a)
{
	struct seen s = { .kind = SEEN_NOBODY };

	if (a->arch && a->arch != U_ARCH)
		return;
	run_mark(u, r, a->arch ? "only" : "line", a->line, true);
	report(u, r, a, &s);
	r->b.cannot = true;
	run_look(u, r, a->line);
}
