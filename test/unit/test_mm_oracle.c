/* SPDX-License-Identifier: MIT */
/*
 * What a real Linux 5.10 answered to random memory calls and accesses (oracle/mm-5.10.txt, made by
 * oracle/mm_random.c), asked of the core: results, layouts with offsets, present, soft-dirty,
 * exclusive and file bits of every page, faults an access takes, signals, smaps, VM sizes, over
 * forks. After every line the invariants hold and the machine finds no stale translation.
 *
 * Left out, because 5.10 itself miscounts there: the sums and the "ac" flags of a round from its
 * first mremap(MREMAP_DONTUNMAP) on.
 */
#include "space.h"

#define N 48

static FILE *in;
static char line[1 << 16];
static unsigned long line_nr;
static struct quire_file *files[3];
static struct quire_inode *inodes[3];
static struct quire_mm *parents[8];
static unsigned depth;
static bool dontunmap; /* seen in this round */

static bool next_line(void)
{
	if (!fgets(line, sizeof(line), in))
		return false;
	line[strcspn(line, "\n")] = 0;
	line_nr++;
	return true;
}

static void same(const char *what, const char *got)
{
	cr_assert_str_eq(got, line, "line %lu, %s", line_nr, what);
}

static void check_layout(void)
{
	char got[8192] = "L ";
	size_t n = 2;

	for (struct vm_area_struct *v = mm_now()->mmap; v; v = v->vm_next)
		n += snprintf(got + n, sizeof(got) - n, "%lu-%lu:%c%c%c%c@%lx ",
			      (unsigned long)(v->vm_start - BASE) / PS,
			      (unsigned long)(v->vm_end - BASE) / PS,
			      v->vm_flags & VM_READ ? 'r' : '-', v->vm_flags & VM_WRITE ? 'w' : '-',
			      v->vm_flags & VM_EXEC ? 'x' : '-',
			      v->vm_flags & VM_MAYSHARE ? 's' : 'p', v->vm_file ? v->vm_pgoff : 0);
	same("layout", got);
}

static void check_pages(void)
{
	char got[N + 3] = "P ";

	for (int i = 0; i < N; i++) {
		uint64_t w = quire_pagemap(cur, AT(i));

		got[2 + i] = "0123456789abcdef"[w >> 63 | (w >> 55 & 1) << 1 | (w >> 56 & 1) << 2 |
						(w >> 61 & 1) << 3];
	}
	same("pagemap", got);
}

static void check_smaps(void)
{
	static const char *const rows[] = {"Rss:", "Pss:", "Shared_Clean:", "Shared_Dirty:",
					   "Private_Clean:", "Private_Dirty:", "Anonymous:",
					   "Locked:"};
	static struct text t;
	char got[16384] = "F ", *l;
	size_t n = 2;

	t.n = 0;
	t.s[0] = 0;
	quire_show_smaps(cur, text_emit, &t);
	for (l = strtok(t.s, "\n"); l; l = strtok(NULL, "\n")) {
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			if (!strncmp(l, rows[i], strlen(rows[i])))
				n += snprintf(got + n, sizeof(got) - n, "%ld,",
					      strtol(l + strlen(rows[i]), NULL, 10));
		if (!strncmp(l, "VmFlags:", 8))
			n += snprintf(got + n, sizeof(got) - n, "%s;", l + 8);
	}
	if (!dontunmap)
		same("smaps", got);
}

static void check_status(void)
{
	struct mm_struct *mm = mm_now();
	char got[200];

	snprintf(got, sizeof(got), "S %lu %lu %lu %lu", mm->total_vm * 4, mm->locked_vm * 4,
		 mm->data_vm * 4, mm->stack_vm * 4);
	/* A child's sums there are relative to its parent's program. */
	if (!dontunmap && !depth)
		same("status", got);
}

static void round_start(void)
{
	static const int pages[3] = {N, N, 5};

	dontunmap = false;
	run_space(space_new());
	for (int i = 0; i < 3; i++) {
		inodes[i] = quire_inode_create(NULL, NULL, 5, 1, QUIRE_S_SHMEM);
		quire_inode_truncate(inodes[i], pages[i] * PS);
		files[i] = quire_file_open(inodes[i], FRW, "/memfd:x (deleted)");
		quire_inode_put(inodes[i]);
	}
}

static void round_end(void)
{
	struct quire_mm *mm = cur;

	run_space(NULL);
	quire_mm_put(mm);
	for (int i = 0; i < 3; i++)
		quire_file_put(files[i]);
	cr_assert_eq(vm_memory_committed(), 0);
}

static void do_access(void)
{
	bool write = line[0] == 's', ok;
	unsigned long value;
	unsigned before = taken;
	uint64_t v = 0;
	char got[200];
	int a;

	cr_assert_eq(sscanf(strchr(line, ' '), " %d %lu", &a, &value), 2);
	ok = write ? fake_user_store(AT(a), 8, value, NULL) : fake_user_load(AT(a), 8, &v, NULL);
	if (ok)
		snprintf(got, sizeof(got), "%s %d %lu = ok %lu f %u", write ? "store" : "load", a,
			 value, (unsigned long)v, taken - before);
	else
		snprintf(got, sizeof(got), "%s %d %lu = sig %d %d", write ? "store" : "load", a,
			 value, last.sig, last.code);
	same("access", got);
}

/* A call with its result; false: the line is none. */
static bool do_call(void)
{
	long want, got, off, len;
	int a, n, x, to;
	unsigned flags;

	if (sscanf(line, "mmap %d %d %d %u %d %ld = %ld", &a, &n, &x, &flags, &to, &off, &want) == 7)
		got = quire_mmap(cur, AT(a), n * PS, x, flags, to < 0 ? NULL : files[to], off * PS);
	else if (sscanf(line, "munmap %d %d = %ld", &a, &n, &want) == 3)
		got = quire_munmap(cur, AT(a), n * PS);
	else if (sscanf(line, "mprotect %d %d %d = %ld", &a, &n, &x, &want) == 4)
		got = quire_mprotect(cur, AT(a), n * PS, x);
	else if (sscanf(line, "madvise %d %d %d = %ld", &a, &n, &x, &want) == 4)
		got = quire_madvise(cur, AT(a), n * PS, x);
	else if (sscanf(line, "mremap %d %d %d %u %d = %ld", &a, &n, &x, &flags, &to, &want) == 6)
		dontunmap |= flags & 4,
			got = quire_mremap(cur, AT(a), n * PS, x * PS, flags, AT(to));
	else if (sscanf(line, "mlock %d %d %d = %ld", &a, &n, &x, &want) == 4)
		got = quire_mlock(cur, AT(a), n * PS, x);
	else if (sscanf(line, "munlock %d %d = %ld", &a, &n, &want) == 3)
		got = quire_munlock(cur, AT(a), n * PS);
	else if (sscanf(line, "msync %d %d %d = %ld", &a, &n, &x, &want) == 4)
		got = quire_msync(cur, AT(a), n * PS, x);
	else if (sscanf(line, "punch %d %ld %ld = %ld", &x, &off, &len, &want) == 4)
		got = quire_inode_fallocate(inodes[x], 3, off, len);
	else if (sscanf(line, "trunc %d %ld", &x, &len) == 2)
		want = 0, got = quire_inode_truncate(inodes[x], len);
	else if (!strcmp(line, "clear_refs"))
		want = 0, got = quire_clear_refs(cur, 4);
	else
		return false;
	cr_assert_eq(got, want, "line %lu: %s; the core: %ld", line_nr, line, got);
	return true;
}

static void do_fork(void)
{
	struct quire_mm *child;

	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	parents[depth++] = cur;
	run_space(child);
}

static void child_ends(void)
{
	struct quire_mm *child = cur;

	run_space(parents[--depth]);
	quire_mm_put(child);
}

static void one_line(void)
{
	if (!strncmp(line, "round ", 6))
		round_start();
	else if (!strcmp(line, "done"))
		round_end();
	else if (!strcmp(line, "fork"))
		do_fork();
	else if (!strcmp(line, "end"))
		child_ends();
	else if (!strncmp(line, "L ", 2))
		check_layout();
	else if (!strncmp(line, "P ", 2))
		check_pages();
	else if (!strncmp(line, "F ", 2))
		check_smaps();
	else if (!strncmp(line, "S ", 2))
		check_status();
	else if (!strncmp(line, "store ", 6) || !strncmp(line, "load ", 5))
		do_access();
	else
		cr_assert(do_call(), "line %lu is no line of an oracle: %s", line_nr, line);
}

Test(mm_oracle, linux_5_10, .timeout = 600)
{
	const char *file = getenv("QUIRE_MM_ORACLE");

	cr_assert(file && (in = fopen(file, "r")), "QUIRE_MM_ORACLE names no file");
	cr_assert(next_line());
	cr_assert_str_eq(line, "quire-mm-oracle 1");
	machine_up(64 * MIB, 1);
	fake_on_fault(space_fault, NULL);
	while (next_line() && strcmp(line, "all done")) {
		one_line();
		fake_core_returned();
		if (cur)
			cr_assert_eq(quire_check(cur), 0, "line %lu: %s", line_nr, line);
		if (!strcmp(line, "done"))
			cur = NULL;
	}
	cr_assert_str_eq(line, "all done");
	machine_down();
}
