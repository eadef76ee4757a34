/* SPDX-License-Identifier: MIT */
/*
 * exec-N [--data DIR] [--full]: one program image of a recording, replayed as an ordinary program.
 *
 * The image is this program with a table at RP_TABLE_ADDR and a page that ends at the recorded
 * heap start. It first makes sure that all of its own is in memory, then takes away whatever else
 * the kernel mapped (its stack too: we run on one of our own), and goes through the steps.
 */
#include "replay_run.h"

static const struct rp_header *const table = (const void *)RP_TABLE_ADDR;

static int cannot(struct u *u, const char *why, uint64_t at)
{
	char buf[200];
	struct text t = TEXT(buf);

	text_str(&t, "replay: ");
	text_str(&t, why);
	text_str(&t, ", at byte ");
	text_udec(&t, at);
	rp_line(u, &t);
	return 2;
}

static const char *check_table(struct u *u, uint64_t *at)
{
	*at = 0;
	if (u_access(u, U_LOAD, RP_TABLE_ADDR, 8, 0).sig)
		return "this program carries no table";
	if (table->steps_size > RP_HOLE_END - RP_TABLE_ADDR ||
	    table->steps_off > RP_HOLE_END - RP_TABLE_ADDR)
		return "the table is longer than the hole";
	return rp_check(table, table->steps_off + table->steps_size, at);
}

/* The folder that the program lies in: the other images lie there too. */
static void dir_name(const char *path, char *buf, size_t cap)
{
	struct text t = { buf, 0, cap };
	size_t n = str_len(path);

	while (n && path[n - 1] != '/')
		n--;
	text_mem(&t, n > 1 ? path : n ? "" : ".", n > 1 ? n - 1 : n ? 0 : 1);
}

static uint64_t number(const char *s)
{
	return str_num(&s, 10);
}

/* Options that say where to go on come from the image before. True: this is the first one. */
static bool options(struct rp *r, int argc, char **argv)
{
	struct text data = TEXT(r->data_dir);
	bool first = true;

	dir_name(argv[0], r->elf_dir, sizeof(r->elf_dir));
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (str_eq(argv[i], "--full"))
			r->full = true;
		else if (str_eq(argv[i], "--data"))
			text_str(&data, value);
		else if (str_eq(argv[i], "--at"))
			r->turn.at = number(value);
		else if (str_eq(argv[i], "--proc"))
			r->me = (uint16_t)number(value);
		else if (str_eq(argv[i], "--steps"))
			r->turn.steps = number(value);
		else if (str_eq(argv[i], "--faults"))
			r->turn.faults = number(value);
		else if (str_eq(argv[i], "--bad"))
			r->turn.bad = number(value);
		first = first && !str_eq(argv[i], "--at");
	}
	if (!data.n)
		text_str(&data, "/tmp");
	return first;
}

static void touch_table(struct u *u)
{
	uint64_t end = RP_TABLE_ADDR + table->steps_off + table->steps_size;

	for (uint64_t p = RP_TABLE_ADDR; p < end; p += U_PAGE)
		u_access(u, U_LOAD, p, 1, 0);
}

static int replayer_main(struct u *u, void *state, int argc, char **argv)
{
	struct rp *r = state;
	const char *why;
	uint64_t at;
	bool first;
	long ret;

	why = check_table(u, &at);
	if (why)
		return cannot(u, why, at);
	r->h = table;
	r->turn.at = table->steps_off;
	r->mine = true;
	first = options(r, argc, argv);
	if (r->turn.at < table->steps_off || r->turn.at % 8 || r->me >= table->nprocs)
		return cannot(u, "no such step or process", r->turn.at);
	ret = first ? rp_prepare(u, r) : 0;
	if (ret < 0)
		return cannot(u, "the files or pipes cannot be made", (uint64_t)-ret);
	touch_table(u);
	rp_start(u, r, first ? "quire: begin replay" : "quire: begin image");
}

const struct u_program replayer_program = { replayer_main, sizeof(struct rp), RP_BLOCK };
