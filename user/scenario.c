/* SPDX-License-Identifier: MIT */
/*
 * The parser of the scenario language: recursive descent, one line at a time, no backtracking.
 * The first error ends it. What can be known to be wrong before anything runs is an error here:
 * unknown words, counts of arguments, names that are not bound above, tasks that do not live.
 */
#include "scenario.h"
#include "user/arch.h"
#include "names.h"

/* What an argument may be, a letter each: e an expression, w a word or a "string",
 * t a living task, n a new task. In upper case: may be left out, from there on. */
struct op_desc {
	const char *name, *args;
	bool whole_machine;
};

static const struct op_desc ops[OP_COUNT] = {
	[OP_MMAP] = { "mmap", "eeeeee" },
	[OP_MUNMAP] = { "munmap", "ee" },
	[OP_MPROTECT] = { "mprotect", "eee" },
	[OP_MREMAP] = { "mremap", "eeeeE" },
	[OP_BRK] = { "brk", "e" },
	[OP_MADVISE] = { "madvise", "eee" },
	[OP_MLOCK] = { "mlock", "ee" },
	[OP_MLOCK2] = { "mlock2", "eee" },
	[OP_MUNLOCK] = { "munlock", "ee" },
	[OP_MLOCKALL] = { "mlockall", "e" },
	[OP_MUNLOCKALL] = { "munlockall", "" },
	[OP_MSYNC] = { "msync", "eee" },
	[OP_MINCORE] = { "mincore", "eeE" },
	[OP_REMAP_FILE_PAGES] = { "remap_file_pages", "eeeee" },
	[OP_LOAD] = { "load", "eE" },
	[OP_STORE] = { "store", "eeE" },
	[OP_EXEC] = { "exec", "e" },
	[OP_FILL] = { "fill", "eee" },
	[OP_CHECK] = { "check", "eee" },
	[OP_COPYIN] = { "copyin", "ee" },
	[OP_COPYOUT] = { "copyout", "eeE" },
	[OP_FORK] = { "fork", "n" },
	[OP_WAIT] = { "wait", "t" },
	[OP_EXIT] = { "exit", "E" },
	[OP_MEMFD] = { "memfd", "wE" },
	[OP_OPEN] = { "open", "weE" },
	[OP_DUP] = { "dup", "e" },
	[OP_CLOSE] = { "close", "e" },
	[OP_FTRUNCATE] = { "ftruncate", "ee" },
	[OP_PREAD] = { "pread", "eee" },
	[OP_PWRITE] = { "pwrite", "eeee" },
	[OP_FALLOCATE] = { "fallocate", "eeee" },
	[OP_PIPE] = { "pipe", "" },
	[OP_SEAL] = { "seal", "ee" },
	[OP_UNLINK] = { "unlink", "w" },
	[OP_SETRLIMIT] = { "setrlimit", "ee" },
	[OP_DROPCAPS] = { "dropcaps", "" },
	[OP_SYSCTL] = { "sysctl", "wE", true },
	[OP_MAPS] = { "maps", "EE" },
	[OP_MAPNAME] = { "mapname", "e" },
	[OP_AREA] = { "area", "w" },
	[OP_VMFLAGS] = { "vmflags", "e" },
	[OP_SMAPS] = { "smaps", "ew" },
	[OP_STATUS] = { "status", "w" },
	[OP_MAPCOUNT] = { "mapcount", "e" },
	[OP_PRESENT] = { "present", "eE" },
	[OP_SOFTDIRTY] = { "softdirty", "eE" },
	[OP_EXCLUSIVE] = { "exclusive", "eE" },
	[OP_SAMEFRAME] = { "sameframe", "eeT" },
	[OP_FAULTS] = { "faults", "" },
	[OP_MEMINFO] = { "meminfo", "w" },
	[OP_CLEARREFS] = { "clearrefs", "e" },
	[OP_RECLAIM] = { "reclaim", "E", true },
	[OP_SWAPON] = { "swapon", "wE", true },
	[OP_SWAPOFF] = { "swapoff", "w", true },
	[OP_FAIL] = { "fail", "we", true },
};

#define NO_TASK 255

struct parser {
	struct scenario *s;
	struct text *err;
	const char *p, *line_start, *end; /* end: of the text */
	uint32_t line;
	unsigned depth;		  /* of parentheses and signs */
	bool gone[SCN_MAX_TASKS]; /* the task exited or was waited for */
};

/* ---- characters and words ------------------------------------------------------------------- */

static bool fail_at(struct parser *ps, const char *at, const char *reason, const char *what,
		    size_t n)
{
	text_udec(ps->err, ps->line);
	text_chr(ps->err, ':');
	text_udec(ps->err, (uint64_t)(at - ps->line_start) + 1);
	text_str(ps->err, ": ");
	text_str(ps->err, reason);
	if (what) {
		text_str(ps->err, " '");
		text_mem(ps->err, what, n);
		text_chr(ps->err, '\'');
	}
	return false;
}

static bool fail(struct parser *ps, const char *reason)
{
	return fail_at(ps, ps->p, reason, NULL, 0);
}

static char peek(struct parser *ps)
{
	return ps->p < ps->end ? *ps->p : '\n';
}

static void skip_blanks(struct parser *ps)
{
	while (peek(ps) == ' ' || peek(ps) == '\t' || peek(ps) == '\r')
		ps->p++;
	if (peek(ps) == '#')
		while (peek(ps) != '\n')
			ps->p++;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The word at the cursor, which moves behind it; length 0: there is none. */
static size_t word(struct parser *ps, const char **start)
{
	*start = ps->p;
	if (!is_digit(peek(ps)))
		while (is_word(peek(ps)))
			ps->p++;
	return (size_t)(ps->p - *start);
}

static bool expect_char(struct parser *ps, char c, const char *reason)
{
	skip_blanks(ps);
	if (peek(ps) != c)
		return fail(ps, reason);
	ps->p++;
	return true;
}

static int find_word(const struct scenario *s, const struct scn_word *tab, uint32_t count,
		     const char *p, size_t n)
{
	for (uint32_t i = 0; i < count; i++)
		if (tab[i].len == n && !__builtin_memcmp(s->text + tab[i].off, p, n))
			return (int)i;
	return -1;
}

/* ---- expressions ---------------------------------------------------------------------------- */

static bool expression(struct parser *ps);

static bool emit(struct parser *ps, enum scn_tok_op op, uint64_t value)
{
	struct scenario *s = ps->s;

	if (s->ntokens == SCN_MAX_TOKENS)
		return fail(ps, "the file has too many expressions");
	s->token[s->ntokens++] = (struct scn_tok){ value, op };
	return true;
}

/* Do the digits from s up to end say more than 64 bits hold? */
static bool overflows(const char *s, const char *end, unsigned base)
{
	uint64_t v = 0;

	for (; s < end; s++) {
		unsigned d = is_digit(*s) ? (unsigned)(*s - '0') : (unsigned)((*s | 0x20) - 'a' + 10);

		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
			return true;
	}
	return false;
}

/* Decimal, octal or hexadecimal, with a unit: p pages, k, m, g. */
static bool number(struct parser *ps, uint64_t *v)
{
	const char *start = ps->p;
	unsigned base = 10, unit;

	if (peek(ps) == '0' && ps->p + 1 < ps->end && (ps->p[1] == 'x' || ps->p[1] == 'X')) {
		ps->p += 2;
		start = ps->p;
		base = 16;
	} else if (peek(ps) == '0') {
		base = 8;
	}
	*v = str_num(&ps->p, base);
	if (ps->p == start)
		return fail(ps, "digits are missing");
	if (overflows(start, ps->p, base))
		return fail(ps, "the number does not fit into 64 bits");
	switch (peek(ps)) {
	case 'p':
		unit = 12;
		break;
	case 'k':
		unit = 10;
		break;
	case 'm':
		unit = 20;
		break;
	case 'g':
		unit = 30;
		break;
	default:
		if (is_word(peek(ps)))
			return fail(ps, "no digit and no unit (p k m g)");
		return true;
	}
	if (*v << unit >> unit != *v)
		return fail(ps, "the number does not fit into 64 bits");
	*v <<= unit;
	ps->p++;
	if (is_word(peek(ps)))
		return fail(ps, "a number ends with its unit");
	return true;
}

static bool named(struct parser *ps)
{
	const char *w;
	size_t n = word(ps, &w);
	uint64_t v;
	int i;

	if (mem_is(w, n, "TASK_SIZE"))
		return emit(ps, TOK_TASK_SIZE, 0);
	if (mem_is(w, n, "MMAP_MIN"))
		return emit(ps, TOK_MMAP_MIN, 0);
	if (mem_is(w, n, "RET"))
		return emit(ps, TOK_RET, 0);
	i = find_word(ps->s, ps->s->name, ps->s->nnames, w, n);
	if (i >= 0)
		return emit(ps, TOK_NAME, (uint64_t)i);
	if (const_by_name(w, n, &v))
		return emit(ps, TOK_NUM, v);
	if (n > 2 && w[0] == 'V' && w[1] == 'm')
		return emit(ps, TOK_STATUS, (uint64_t)(w - ps->s->text) | (uint64_t)n << 32);
	return fail_at(ps, w, "no constant and no name bound above:", w, n);
}

static bool primary(struct parser *ps);

/* A sign or a parenthesis, and what follows it. Our stack is small: not too deep. */
static bool nested(struct parser *ps, char c)
{
	bool ok;

	if (ps->depth == SCN_MAX_DEPTH)
		return fail(ps, "too many parentheses and signs in one another");
	ps->depth++;
	ps->p++;
	if (c == '(')
		ok = expression(ps) && expect_char(ps, ')', "a ) is missing");
	else
		ok = primary(ps) && emit(ps, c == '-' ? TOK_NEG : TOK_NOT, 0);
	ps->depth--;
	return ok;
}

static bool primary(struct parser *ps)
{
	uint64_t v;
	char c;

	skip_blanks(ps);
	c = peek(ps);
	if (c == '-' || c == '~' || c == '(')
		return nested(ps, c);
	if (c == '@') {
		ps->p++;
		if (!number(ps, &v))
			return false;
		if (v << 12 >> 12 != v)
			return fail(ps, "the number does not fit into 64 bits");
		return emit(ps, TOK_NUM, SCN_ARENA + v * 4096);
	}
	if (is_digit(c))
		return number(ps, &v) && emit(ps, TOK_NUM, v);
	if (is_word(c))
		return named(ps);
	return fail(ps, "a number, a name or an address is missing");
}

static bool product(struct parser *ps)
{
	if (!primary(ps))
		return false;
	for (;;) {
		skip_blanks(ps);
		if (peek(ps) != '*')
			return true;
		ps->p++;
		if (!primary(ps) || !emit(ps, TOK_MUL, 0))
			return false;
	}
}

static bool sum(struct parser *ps)
{
	char c;

	if (!product(ps))
		return false;
	for (;;) {
		skip_blanks(ps);
		c = peek(ps);
		if (c != '+' && c != '-')
			return true;
		ps->p++;
		if (!product(ps) || !emit(ps, c == '+' ? TOK_ADD : TOK_SUB, 0))
			return false;
	}
}

static bool expression(struct parser *ps)
{
	if (!sum(ps))
		return false;
	for (;;) {
		skip_blanks(ps);
		if (peek(ps) != '|')
			return true;
		ps->p++;
		if (!sum(ps) || !emit(ps, TOK_OR, 0))
			return false;
	}
}

static bool whole_expression(struct parser *ps, struct scn_expr *e)
{
	uint32_t first = ps->s->ntokens;

	if (!expression(ps))
		return false;
	e->first = (uint16_t)first;
	e->count = (uint16_t)(ps->s->ntokens - first);
	return true;
}

/* ---- arguments ------------------------------------------------------------------------------ */

static bool arg_word(struct parser *ps, struct scn_arg *a)
{
	const char *start;

	a->kind = ARG_WORD;
	skip_blanks(ps);
	if (peek(ps) == '"') {
		start = ++ps->p;
		while (peek(ps) != '"' && peek(ps) != '\n')
			ps->p++;
		if (peek(ps) != '"')
			return fail_at(ps, start - 1, "this string has no end", NULL, 0);
		a->len = (uint32_t)(ps->p++ - start);
	} else {
		a->len = (uint32_t)word(ps, &start);
	}
	a->off = (uint32_t)(start - ps->s->text);
	if (!a->len || a->len > 200)
		return fail_at(ps, start, "a word of 1 to 200 letters is missing", NULL, 0);
	return true;
}

static bool arg_task(struct parser *ps, struct scn_arg *a)
{
	const char *w;
	size_t n;
	int t;

	a->kind = ARG_TASK;
	skip_blanks(ps);
	n = word(ps, &w);
	t = find_word(ps->s, ps->s->task, ps->s->ntasks, w, n);
	if (!n || t < 0)
		return fail_at(ps, w, "no task forked above:", w, n);
	if (t == 0)
		return fail_at(ps, w, "this is the first task, nobody forked it:", w, n);
	a->task = (uint32_t)t;
	return true;
}

static bool arg_new_task(struct parser *ps, struct scn_arg *a, uint8_t parent)
{
	struct scenario *s = ps->s;
	const char *w;
	size_t n;

	a->kind = ARG_TASK;
	skip_blanks(ps);
	n = word(ps, &w);
	if (!n)
		return fail(ps, "the new task's name is missing");
	if (find_word(s, s->task, s->ntasks, w, n) >= 0)
		return fail_at(ps, w, "there is a task of this name already:", w, n);
	if (s->ntasks == SCN_MAX_TASKS)
		return fail(ps, "too many tasks");
	s->task[s->ntasks] = (struct scn_word){ (uint32_t)(w - s->text), (uint32_t)n };
	s->parent[s->ntasks] = parent;
	a->task = s->ntasks++;
	return true;
}

static bool argument(struct parser *ps, char kind, struct scn_action *a)
{
	struct scn_arg *arg = &a->arg[a->nargs++];

	switch (kind) {
	case 'e':
	case 'E':
		arg->kind = ARG_EXPR;
		return whole_expression(ps, &arg->expr);
	case 't':
	case 'T':
		return arg_task(ps, arg);
	case 'n':
		return arg_new_task(ps, arg, a->task);
	default:
		return arg_word(ps, arg);
	}
}

static bool arguments(struct parser *ps, struct scn_action *a, const struct op_desc *d)
{
	const char *k = d->args;

	if (!expect_char(ps, '(', "a ( is missing"))
		return false;
	skip_blanks(ps);
	for (bool first = true; peek(ps) != ')'; first = false) {
		if (!first && !expect_char(ps, ',', "a , or ) is missing"))
			return false;
		skip_blanks(ps);
		if (!*k)
			return fail_at(ps, ps->p, "too many arguments for", d->name,
				       str_len(d->name));
		if (!argument(ps, *k++, a))
			return false;
		skip_blanks(ps);
	}
	if (*k >= 'a')
		return fail_at(ps, ps->p, "too few arguments for", d->name, str_len(d->name));
	ps->p++;
	return true;
}

/* ---- what is expected ----------------------------------------------------------------------- */

static bool gives_text(const struct scn_action *a)
{
	return a->op == OP_MAPS || a->op == OP_MAPNAME || a->op == OP_VMFLAGS ||
	       (a->op == OP_MINCORE && a->nargs < 3);
}

/* faults=N, if it stands here. */
static bool want_faults(struct parser *ps, struct scn_action *a)
{
	uint64_t n;

	skip_blanks(ps);
	if (ps->end - ps->p < 7 || __builtin_memcmp(ps->p, "faults=", 7))
		return true;
	ps->p += 7;
	if (!number(ps, &n))
		return false;
	a->faults = (int32_t)n;
	return true;
}

static bool want_errno(struct parser *ps, struct scn_action *a)
{
	const char *w;
	size_t n;

	ps->p += 2;
	skip_blanks(ps);
	n = word(ps, &w);
	a->want = WANT_ERRNO;
	a->err = errno_by_name(w, n);
	if (!a->err)
		return fail_at(ps, w, "no error of this name:", w, n);
	return want_faults(ps, a);
}

static bool want_signal(struct parser *ps, struct scn_action *a)
{
	const char *w;
	size_t n = word(ps, &w);

	a->want = WANT_SIGNAL;
	a->code = -1;
	a->sig = signal_by_name(w, n);
	if (!a->sig)
		return fail_at(ps, w, "no signal of this name:", w, n);
	skip_blanks(ps);
	if (is_word(peek(ps))) {
		n = word(ps, &w);
		a->code = code_by_name(w, n, a->sig);
		if (a->code < 0)
			return fail_at(ps, w, "this signal has no such code:", w, n);
	}
	skip_blanks(ps);
	if (peek(ps) == '\n')
		return true;
	a->has_addr = true;
	return whole_expression(ps, &a->value);
}

/* -1 ENAME, as strace prints an error; a plain -1 is a value. */
static bool is_errno(const struct parser *ps)
{
	const char *p = ps->p;

	if (ps->end - p < 4 || p[0] != '-' || p[1] != '1')
		return false;
	for (p += 2; p < ps->end && (*p == ' ' || *p == '\t'); p++)
		;
	return p < ps->end && *p == 'E' && p > ps->p + 2;
}

static bool is_any_of(const struct parser *ps, const char *w)
{
	size_t n = str_len(w);

	return (size_t)(ps->end - ps->p) >= n && !__builtin_memcmp(ps->p, w, n) &&
	       (ps->p + n == ps->end || !is_word(ps->p[n]));
}

static bool wanted(struct parser *ps, struct scn_action *a)
{
	const char *start;

	skip_blanks(ps);
	start = ps->p;
	a->want_off = (uint32_t)(start - ps->s->text);
	if (is_errno(ps))
		return want_errno(ps, a);
	if (is_any_of(ps, "ok") || is_any_of(ps, "any")) {
		a->want = peek(ps) == 'o' ? WANT_OK : WANT_ANY;
		ps->p += a->want == WANT_OK ? 2 : 3;
		return want_faults(ps, a);
	}
	if (peek(ps) == 'S' && ps->end - ps->p > 3 && ps->p[1] == 'I' && ps->p[2] == 'G')
		return want_signal(ps, a);
	if (gives_text(a) || (a->op == OP_PREAD && is_any_of(ps, "eof"))) {
		a->want = WANT_TEXT;
		while (peek(ps) != '\n' && peek(ps) != '#')
			ps->p++;
		return true;
	}
	a->want = WANT_VALUE;
	return whole_expression(ps, &a->value) && want_faults(ps, a);
}

static bool expectation(struct parser *ps, struct scn_action *a)
{
	a->faults = -1;
	skip_blanks(ps);
	if (peek(ps) != '=')
		return true;
	ps->p++;
	if (!wanted(ps, a))
		return false;
	a->want_len = (uint32_t)(ps->p - ps->s->text) - a->want_off;
	while (a->want_len) {
		char c = ps->s->text[a->want_off + a->want_len - 1];

		if (c != ' ' && c != '\t' && c != '\r')
			break;
		a->want_len--;
	}
	if (!a->want_len)
		return fail(ps, "what is expected is missing after =");
	return true;
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* `[NAME]` of an architecture: the line is left out on others. */
static bool architecture(struct parser *ps, struct scn_action *a)
{
	static const char names[][8] = { U_ARCHES };
	const char *w;
	size_t n;

	if (peek(ps) != '[')
		return true;
	ps->p++;
	n = word(ps, &w);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mem_is(w, n, names[i]))
			a->arch = (uint8_t)(i + 1);
	if (!a->arch)
		return fail_at(ps, w, "no architecture of this name:", w, n);
	if (!expect_char(ps, ']', "a ] is missing"))
		return false;
	skip_blanks(ps);
	return true;
}

/* `task:` and `NAME =` in front of the call; leaves the call's own word in *w. */
static bool prefixes(struct parser *ps, struct scn_action *a, const char **w, size_t *n,
		     const char **bind, size_t *bind_len)
{
	int t = 0;

	*bind = NULL;
	*n = word(ps, w);
	skip_blanks(ps);
	if (*n && peek(ps) == ':') {
		t = find_word(ps->s, ps->s->task, ps->s->ntasks, *w, *n);
		if (t < 0)
			return fail_at(ps, *w, "no task forked above:", *w, *n);
		if (ps->gone[t])
			return fail_at(ps, *w, "this task has ended:", *w, *n);
		ps->p++;
		skip_blanks(ps);
		*n = word(ps, w);
		skip_blanks(ps);
	}
	a->task = (uint8_t)t;
	if (*n && peek(ps) == '=') {
		*bind = *w;
		*bind_len = *n;
		ps->p++;
		skip_blanks(ps);
		*n = word(ps, w);
	}
	return true;
}

static bool bind_name(struct parser *ps, struct scn_action *a, const char *w, size_t n)
{
	struct scenario *s = ps->s;
	uint64_t v;
	int i;

	if (const_by_name(w, n, &v) || mem_is(w, n, "TASK_SIZE") || mem_is(w, n, "RET") ||
	    mem_is(w, n, "MMAP_MIN"))
		return fail_at(ps, w, "a constant cannot be bound:", w, n);
	i = find_word(s, s->name, s->nnames, w, n);
	if (i < 0) {
		if (s->nnames == SCN_MAX_NAMES)
			return fail_at(ps, w, "too many names", NULL, 0);
		i = (int)s->nnames++;
		s->name[i] = (struct scn_word){ (uint32_t)(w - s->text), (uint32_t)n };
	}
	a->bind = (int8_t)i;
	return true;
}

static bool task_ends(struct parser *ps, struct scn_action *a, const char *at)
{
	if (a->op == OP_EXIT) {
		if (a->task == 0)
			return fail_at(ps, at, "the first task ends with the file, not by itself",
				       NULL, 0);
		ps->gone[a->task] = true;
	}
	if (a->op == OP_WAIT)
		ps->gone[a->arg[0].task] = true;
	return true;
}

static bool call(struct parser *ps, struct scn_action *a)
{
	const char *w, *bind;
	size_t n, bind_len = 0;
	int op = 0;

	a->off = (uint32_t)(ps->p - ps->s->text);
	a->bind = -1;
	if (!architecture(ps, a))
		return false;
	if (!prefixes(ps, a, &w, &n, &bind, &bind_len))
		return false;
	if (!n)
		return fail(ps, "the name of an action is missing");
	while (op < OP_COUNT && !mem_is(w, n, ops[op].name))
		op++;
	if (op == OP_COUNT)
		return fail_at(ps, w, "no action of this name:", w, n);
	a->op = (enum scn_op)op;
	if (a->arch && a->op >= OP_FORK && a->op <= OP_EXIT)
		return fail_at(ps, w, "tasks come and go on every architecture", NULL, 0);
	if (!arguments(ps, a, &ops[op]))
		return false;
	a->len = (uint32_t)(ps->p - ps->s->text) - a->off;
	/* Bound after the arguments: a name is not known in the line that binds it. */
	if (bind && !bind_name(ps, a, bind, bind_len))
		return false;
	return task_ends(ps, a, w);
}

static bool line(struct parser *ps)
{
	struct scenario *s = ps->s;
	struct scn_action *a = &s->action[s->nactions];

	skip_blanks(ps);
	if (peek(ps) == '\n')
		return true;
	if (s->nactions == SCN_MAX_ACTIONS)
		return fail(ps, "the file has too many actions");
	__builtin_memset(a, 0, sizeof(*a));
	a->line = ps->line;
	if (!call(ps, a) || !expectation(ps, a))
		return false;
	skip_blanks(ps);
	if (peek(ps) != '\n')
		return fail(ps, "this is too much in the line");
	s->nactions++;
	return true;
}

static bool check_bytes(struct parser *ps)
{
	for (const char *p = ps->p; p < ps->end; p++)
		if ((unsigned char)*p < 32 && *p != '\n' && *p != '\t' && *p != '\r') {
			ps->line = 1;
			ps->line_start = ps->s->text;
			for (const char *q = ps->s->text; q < p; q++)
				if (*q == '\n') {
					ps->line++;
					ps->line_start = q + 1;
				}
			return fail_at(ps, p, "this file is not text", NULL, 0);
		}
	return true;
}

bool scn_parse(struct scenario *s, struct text *err)
{
	struct parser ps = { .s = s, .err = err, .p = s->text, .end = s->text + s->size };

	s->nactions = s->ntokens = s->nnames = 0;
	/* The first task's name stands behind the text, where no line reaches. */
	if (s->size + 5 > SCN_MAX_TEXT)
		return fail_at(&ps, s->text, "the file is too long", NULL, 0);
	__builtin_memcpy(s->text + s->size, "main", 5);
	s->task[0] = (struct scn_word){ s->size, 4 };
	s->ntasks = 1;
	if (!check_bytes(&ps))
		return false;
	for (ps.line = 1; ps.p < ps.end; ps.line++) {
		ps.line_start = ps.p;
		if (!line(&ps))
			return false;
		if (ps.p < ps.end)
			ps.p++;
	}
	if (!s->nactions) {
		ps.line_start = ps.p;
		return fail(&ps, "the file has no action");
	}
	return true;
}

const struct scn_action *scn_whole_machine(const struct scenario *s)
{
	for (uint32_t i = 0; i < s->nactions; i++)
		if (ops[s->action[i].op].whole_machine)
			return &s->action[i];
	return NULL;
}
