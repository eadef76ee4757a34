/* SPDX-License-Identifier: MIT */
/* The scenario parser: what it accepts, and where and why it refuses. Nothing here runs. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "user/scenario.h"

static struct scenario *scn;
static char err_buf[256];

static const char *parse(const char *text)
{
	struct text err = TEXT(err_buf);

	err_buf[0] = 0;
	memset(scn, 0xa5, sizeof(*scn)); /* nothing may depend on what was there */
	scn->size = (uint32_t)strlen(text);
	memcpy(scn->text, text, scn->size);
	return scn_parse(scn, &err) ? NULL : err_buf;
}

static void setup(void)
{
	scn = malloc(sizeof(*scn));
}

static void teardown(void)
{
	free(scn);
}

TestSuite(scenario_parser, .init = setup, .fini = teardown);

static void refuses(const char *text, const char *why)
{
	const char *got = parse(text);

	cr_assert_not_null(got, "accepted: %s", text);
	cr_expect_str_eq(got, why, "of %s: %s", text, got);
}

static void accepts(const char *text)
{
	const char *got = parse(text);

	cr_assert_null(got, "refused: %s: %s", text, got);
}

Test(scenario_parser, a_whole_file)
{
	accepts("# Name: x\n\nA = mmap(@0, 2p, PROT_READ|PROT_WRITE, 0x22, -1, 0) = @0\n"
		"fork(child)\r\n\tchild: store(A+1p, 9, 4)  = ok faults=1 # why\nwait(child)");
	cr_assert_eq(scn->nactions, 4);
	cr_assert_eq(scn->ntasks, 2);
	cr_assert_eq(scn->action[0].bind, 0);
	cr_assert_eq(scn->action[2].task, 1);
	cr_assert_eq(scn->action[2].faults, 1);
	cr_assert_eq(scn->action[2].line, 5);
}

Test(scenario_parser, expectations)
{
	accepts("load(@1) = SIGSEGV SEGV_ACCERR @1+8\nmunmap(@0, 0) = -1 EINVAL\n"
		"load(@1) = -1\nmaps() = 0-1:rw-p  3-4:r--p@2\nload(0) = SIGBUS\nload(0) = any\n");
	cr_assert_eq(scn->action[0].want, WANT_SIGNAL);
	cr_assert_eq(scn->action[0].code, 2);
	cr_assert(scn->action[0].has_addr);
	cr_assert_eq(scn->action[1].err, 22);
	cr_assert_eq(scn->action[2].want, WANT_VALUE);
	cr_assert_eq(scn->action[3].want, WANT_TEXT);
	cr_assert_eq(scn->action[4].code, -1);
	cr_assert_eq(scn->action[5].want, WANT_ANY);
}

Test(scenario_parser, lines_of_one_architecture)
{
	accepts("[x86_64] brk(0)\n  [riscv64] A = brk(0) = 1\nfork(c)\n[riscv64] c: brk(0)\nbrk(A)\n");
	cr_assert_eq(scn->action[0].arch, 1);
	cr_assert_eq(scn->action[1].arch, 2);
	cr_assert_eq(scn->action[1].bind, 0);
	cr_assert_eq(scn->action[2].arch, 0);
	cr_assert_eq(scn->action[3].task, 1);
	refuses("[vax] brk(0)\n", "1:2: no architecture of this name: 'vax'");
	refuses("[x86_64 brk(0)\n", "1:9: a ] is missing");
	refuses("[x86_64] fork(a)\n", "1:10: tasks come and go on every architecture");
}

Test(scenario_parser, refusals_say_where)
{
	refuses("maps(\n", "1:6: a number, a name or an address is missing");
	refuses("\n  mmap(@0)\n", "2:10: too few arguments for 'mmap'");
	refuses("brk(0, 1)\n", "1:8: too many arguments for 'brk'");
	refuses("frob(1)\n", "1:1: no action of this name: 'frob'");
	refuses("load(B)\n", "1:6: no constant and no name bound above: 'B'");
	refuses("B = brk(B)\n", "1:9: no constant and no name bound above: 'B'");
	refuses("child: load(0)\n", "1:1: no task forked above: 'child'");
	refuses("fork(a)\nfork(a)\n", "2:6: there is a task of this name already: 'a'");
	refuses("load(0) = SIGFOO\n", "1:11: no signal of this name: 'SIGFOO'");
	refuses("load(0) = SIGSEGV BUS_ADRERR\n",
		"1:19: this signal has no such code: 'BUS_ADRERR'");
	refuses("brk(0) = -1 EFOO\n", "1:13: no error of this name: 'EFOO'");
	refuses("brk(0) 5\n", "1:8: this is too much in the line");
	refuses("brk(0x)\n", "1:7: digits are missing");
	refuses("brk(08)\n", "1:6: no digit and no unit (p k m g)");
	refuses("brk(18446744073709551616)\n", "1:25: the number does not fit into 64 bits");
	refuses("brk(0x10000000000000000)\n", "1:24: the number does not fit into 64 bits");
	refuses("brk(0x10000000000000p)\n", "1:21: the number does not fit into 64 bits");
	refuses("load(@0x10000000000000)\n", "1:23: the number does not fit into 64 bits");
	refuses("brk(4q)\n", "1:6: no digit and no unit (p k m g)");
	refuses("brk((1)\n", "1:8: a , or ) is missing");
	refuses("memfd(\"x)\n", "1:7: this string has no end");
	refuses("PROT_READ = brk(0)\n", "1:1: a constant cannot be bound: 'PROT_READ'");
	refuses("exit(0)\n", "1:1: the first task ends with the file, not by itself");
	refuses("fork(a)\na: exit(0)\na: load(0)\n", "3:1: this task has ended: 'a'");
	refuses("swapon()\n", "1:8: too few arguments for 'swapon'");
	refuses("swapoff(\"/dev/vda\", 1)\n", "1:21: too many arguments for 'swapoff'");
	refuses("reclaim(1, 2)\n", "1:12: too many arguments for 'reclaim'");
	refuses("wait(main)\n", "1:6: this is the first task, nobody forked it: 'main'");
	refuses("", "1:1: the file has no action");
	refuses("# only\n\x01\n", "2:1: this file is not text");
}

Test(scenario_parser, depth_and_size_are_bounded)
{
	char *text = malloc(70000);

	strcpy(text, "brk(");
	memset(text + 4, '(', 5000);
	strcpy(text + 5004, "1\n");
	cr_assert_str_eq(parse(text), "1:29: too many parentheses and signs in one another");
	for (int i = 0; i < 600; i++)
		memcpy(text + i * 7, "brk(0)\n", 8);
	cr_assert_str_eq(parse(text), "513:1: the file has too many actions");
	free(text);
}

Test(scenario_parser, whole_machine)
{
	accepts("brk(0)\nsysctl(\"vm.overcommit_memory\", 1)\n");
	cr_assert_eq(scn_whole_machine(scn)->line, 2);
	accepts("brk(0)\nsysctl(\"vm.max_map_count\")\n");
	cr_assert_eq(scn_whole_machine(scn)->line, 2);
	accepts("brk(0)\n");
	cr_assert_null(scn_whole_machine(scn));
}

/* Whatever the bytes are: an answer, and nothing outside the structure is touched. */
Test(scenario_parser, any_bytes)
{
	static const char letters[] = "ab@(),=|+-~*# \n\t\"019pkSIGE:_xmaplod";
	char text[200];
	uint32_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		int n = 0;

		for (; n < 120; n++) {
			seed = seed * 1664525 + 1013904223;
			text[n] = letters[(seed >> 16) % (sizeof(letters) - 1)];
		}
		text[n] = 0;
		parse(text);
	}
}
