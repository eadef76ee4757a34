/* SPDX-License-Identifier: MIT */
/* The check of a replay table: a whole one passes, each damage is found and told where. */
#include <criterion/criterion.h>
#include <string.h>

#include "user/replay.h"

struct table {
	struct rp_header h;
	struct rp_proc proc[4];
	struct rp_file file[1];
	struct rp_run run[1];
	struct rp_exec exec[1];
	uint64_t steps[32];
};

static struct table t;
static uint64_t where;

static void step(unsigned *n, unsigned op, unsigned words, unsigned proc, uint32_t aux,
		 const uint64_t *w)
{
	struct rp_step s = { (uint8_t)op, (uint8_t)words, (uint16_t)proc, aux };

	memcpy(&t.steps[(*n)++], &s, 8);
	for (unsigned i = 0; i < words; i++)
		t.steps[(*n)++] = w ? w[i] : 0;
}

static void build(void)
{
	const uint64_t addr = 0x555555554000;
	const uint64_t call[7] = { addr, 4096, 3, 0x32, (uint64_t)-1, 0, addr };
	unsigned n = 0;

	memset(&t, 0, sizeof(t));
	memcpy(t.h.magic, RP_MAGIC, 16);
	t.h.header_size = sizeof(t.h);
	t.h.nprocs = 2;
	t.h.nslots = 2;
	t.h.nfiles = t.h.nruns = t.h.nexecs = 1;
	t.h.procs_off = offsetof(struct table, proc);
	t.h.files_off = offsetof(struct table, file);
	t.h.runs_off = offsetof(struct table, run);
	t.h.execs_off = offsetof(struct table, exec);
	t.h.steps_off = offsetof(struct table, steps);
	t.proc[1].slot = 1;
	t.file[0] = (struct rp_file){ 8192, 0, 1 };
	t.run[0] = (struct rp_run){ 0, 2 };
	step(&n, RP_CALL, 7, 0, RP_C_MMAP, call);
	step(&n, RP_FAULT, 1, 0, RP_F_WRITE | RP_F_MARK, &addr);
	step(&n, RP_FORK, 1, 0, 1, NULL);
	step(&n, RP_EXIT, 0, 1, 0, NULL);
	step(&n, RP_WAIT, 0, 0, 1, NULL);
	step(&n, RP_VERIFY, 1, 0, 1, &addr);
	step(&n, RP_DIGEST, 0, 0, RP_AT_EXIT, NULL);
	step(&n, RP_EXIT, 0, 0, 0, NULL);
	t.h.steps_size = n * 8;
}

static const char *check(void)
{
	return rp_check(&t, sizeof(t), &where);
}

TestSuite(replay_table, .init = build);

Test(replay_table, whole)
{
	cr_assert_null(check());
}

Test(replay_table, header)
{
	t.h.magic[13] = '2';
	cr_assert_str_eq(check(), "not a replay table of version 1");
	build();
	cr_assert_str_eq(rp_check(&t, 20, &where), "shorter than its header");
	t.h.steps_size = sizeof(t);
	cr_assert_str_eq(check(), "an array that is longer than the table");
	build();
	t.h.procs_off = ~0ull & ~7ull;
	cr_assert_not_null(check());
	build();
	t.h.nslots = RP_MAX_SLOTS + 1;
	cr_assert_str_eq(check(), "too many or no processes");
}

Test(replay_table, files)
{
	t.run[0].count = 3;
	cr_assert_str_eq(check(), "cached pages behind the file's end");
	build();
	t.file[0].runs = 2;
	cr_assert_str_eq(check(), "no such run of pages");
	build();
	t.proc[0].slot = 2;
	cr_assert_str_eq(check(), "no such slot or process");
}

Test(replay_table, steps)
{
	t.h.steps_size -= 8;
	((struct rp_step *)&t.steps[0])->op = RP_OP_MAX;
	cr_assert_str_eq(check(), "no such step");
	cr_assert_eq(where, t.h.steps_off);
	build();
	t.steps[9] = 0x20000;
	cr_assert_str_eq(check(), "an access in the hole");
	cr_assert_eq(where, t.h.steps_off + 64);
	build();
	((struct rp_step *)&t.steps[0])->words = 200;
	cr_assert_str_eq(check(), "the last step is cut off");
	build();
	((struct rp_step *)&t.steps[0])->proc = 2;
	cr_assert_str_eq(check(), "no such process");
	build();
	((struct rp_step *)&t.steps[0])->aux = RP_C_OPEN;
	cr_assert_str_eq(check(), "no such file");
}

/* Any single changed byte: an answer, never an access outside (the sanitizers' build sees one). */
Test(replay_table, any_byte_changed)
{
	for (size_t i = 0; i < sizeof(t); i++)
		for (unsigned v = 0; v < 256; v += 5) {
			build();
			((unsigned char *)&t)[i] = (unsigned char)v;
			check();
		}
}
