/* SPDX-License-Identifier: MIT */
/*
 * A plugin of QEMU 7.2 that counts the instructions of a machine's only processor. Built by
 * tools/bench_reclaim.py with the machine's compiler:
 *
 *   -plugin FILE.so,out=PATH,begin=ADDRESS,end=ADDRESS
 *
 * PATH gets three words, which stay up to date: how many instructions were executed so far, how many
 * when the one at `begin` was last executed, and the same of `end`. A block of code that is left by a
 * fault half-way counts as a whole.
 *
 * Debian has no package of the emulator's header; what is used of the interface stands here.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated_fn)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*executed_fn)(unsigned cpu, void *arg);
#define NO_REGISTERS 0
#define ADD_U64	     0
#define VISIBLE	     __attribute__((visibility("default")))

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_fn fn);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *at, uint64_t by);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, executed_fn fn, int flags,
					    void *arg);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

VISIBLE int qemu_plugin_version = 1;
VISIBLE int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

static uint64_t *words, marks[2];

static void marked(unsigned cpu, void *arg)
{
	words[(uintptr_t)arg] = words[0];
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &words[0], n);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		for (uintptr_t m = 0; m < 2; m++)
			if (qemu_plugin_insn_vaddr(insn) == marks[m])
				qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, NO_REGISTERS,
								       (void *)(m + 1));
	}
}

static bool map_words(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	if (fd < 0 || ftruncate(fd, 3 * sizeof(*words)))
		return false;
	words = mmap(NULL, 3 * sizeof(*words), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return words != MAP_FAILED;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	bool out = false;

	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = map_words(argv[i] + 4);
		else if (!strncmp(argv[i], "begin=", 6))
			marks[0] = strtoull(argv[i] + 6, NULL, 0);
		else if (!strncmp(argv[i], "end=", 4))
			marks[1] = strtoull(argv[i] + 4, NULL, 0);
	}
	if (!out || !marks[0] || !marks[1])
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
