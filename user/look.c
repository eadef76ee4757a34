/* SPDX-License-Identifier: MIT */
/*
 * Looks between the actions of a scenario, as --look ordered them: lines of the kernel's monitor
 * (docs/kernel.md), which our own kernels take from /proc/quire/monitor and answer on the console.
 * In them %TASK is the number of a task's process, % alone that of the first task, %NAME a bound
 * name's value and @N the address of the arena's page N. A command with %* is given once for each task that
 * lives; * in place of the line: after every action, and before the first.
 */
#include "run.h"

static const char no_monitor[] = "     only Quire's own kernels can be looked into\n";

static bool word_ends(char c)
{
	return c == '\0' || c == '\n' || c == ' ';
}

static bool word_is(const struct run *r, struct scn_word w, const char *s, size_t n)
{
	return w.len == n && !__builtin_memcmp(r->scn.text + w.off, s, n);
}

/* What %NAME stands for; 0: nothing. each: the task that %* is now. */
static uint64_t value_of(const struct run *r, const char *s, size_t n, unsigned each)
{
	if (!n)
		return (uint64_t)r->b.pid[0];
	if (n == 1 && *s == '*')
		return (uint64_t)r->b.pid[each];
	for (unsigned i = 0; i < r->scn.ntasks; i++)
		if (word_is(r, r->scn.task[i], s, n))
			return (uint64_t)r->b.pid[i];
	for (unsigned i = 0; i < r->scn.nnames; i++)
		if (word_is(r, r->scn.name[i], s, n))
			return r->b.name[i];
	return 0;
}

/* Appends one word of a command and returns where it ended. */
static const char *add_word(const struct run *r, struct text *t, const char *s, unsigned each)
{
	const char *end = s;

	while (!word_ends(*end))
		end++;
	if (*s == '@') {
		s++;
		text_hex(t, SCN_ARENA + str_num(&s, 10) * U_PAGE);
	} else if (*s == '%') {
		text_udec(t, value_of(r, s + 1, (size_t)(end - s - 1), each));
	} else {
		text_mem(t, s, (size_t)(end - s));
	}
	return end;
}

static const char *line_end(const char *s)
{
	while (*s && *s != '\n')
		s++;
	return s;
}

static bool for_each_task(const char *s)
{
	for (; *s && *s != '\n'; s++)
		if (s[0] == '%' && s[1] == '*' && word_ends(s[2]))
			return true;
	return false;
}

/* Carries out one command; %* in it is the task each. */
static void look(struct u *u, struct run *r, const char *s, unsigned each)
{
	char buf[256], shown[320];
	struct text t = TEXT(buf), say = TEXT(shown);

	while (*s && *s != '\n')
		if (*s == ' ')
			text_chr(&t, *s++);
		else
			s = add_word(r, &t, s, each);
	text_str(&say, "     look: ");
	text_str(&say, buf);
	text_chr(&say, '\n');
	u_write(u, shown, say.n);
	if (put_file(u, "/proc/quire/monitor", buf) < 0)
		u_write(u, no_monitor, sizeof(no_monitor) - 1);
}

void run_look(struct u *u, struct run *r, uint32_t line)
{
	for (const char *s = r->looks; *s;) {
		bool wanted = *s == '*';

		if (wanted)
			s++;
		else
			wanted = str_num(&s, 10) == line;
		if (*s == ':')
			s++;
		if (wanted && !for_each_task(s))
			look(u, r, s, 0);
		for (unsigned i = 0; wanted && for_each_task(s) && i < r->scn.ntasks; i++)
			if (r->b.pid[i])
				look(u, r, s, i);
		s = line_end(s);
		if (*s == '\n')
			s++;
	}
}
