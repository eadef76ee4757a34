/* SPDX-License-Identifier: MIT */
/*
 * Files about the machine as a whole: its load, the kernel's command line, and what each frame of memory
 * is (kpagecount, kpageflags). The last two tell numbers and kinds, never what a frame holds.
 */
#include "kernel/proc/proc.h"

static void show_command_line(struct text *t, struct process *p)
{
	say(t, "%s\n", kernel_command_line());
}

/* ---- a word of each frame -------------------------------------------------------------------------- */

/* Eight bytes a frame. *pos goes on over what was handed out, a word that could not be included: -EFAULT
 * even behind others, as on Linux. */
static long copy_words(uint64_t (*word)(uint64_t pfn), uintptr_t buf, const struct range *r, size_t *done)
{
	uint64_t words[64];

	for (*done = 0; *done < r->n;) {
		size_t most = min((r->n - *done) / sizeof(uint64_t), ARRAY_SIZE(words)), left;

		for (size_t k = 0; k < most; k++)
			words[k] = word((r->start + *done) / sizeof(uint64_t) + k);
		left = hal_copy_to_user(buf + *done, words, most * sizeof(uint64_t));
		*done += (most * sizeof(uint64_t) - left) & ~(sizeof(uint64_t) - 1);
		if (left)
			return -EFAULT;
	}
	return (long)*done;
}

/* In step with the frames; behind the last one there is nothing. */
static long frames_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos, uint64_t (*word)(uint64_t pfn))
{
	uint64_t end = quire_max_pfn() * sizeof(uint64_t);
	size_t done = 0;
	struct range r;
	long ret;

	if (n % sizeof(uint64_t))
		return -EINVAL;
	r = pos_take(f, pos, n, end);
	ret = r.start % sizeof(uint64_t) ? -EINVAL : copy_words(word, buf, &r, &done);
	pos_done(f, pos, &r, ret == -EFAULT ? (long)done : ret);
	return ret;
}

static long kpagecount_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return frames_read(f, buf, n, pos, quire_kpagecount);
}

static long kpageflags_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return frames_read(f, buf, n, pos, quire_kpageflags);
}

static const struct file_ops kpagecount_ops = {.read = kpagecount_read};
static const struct file_ops kpageflags_ops = {.read = kpageflags_read};

const struct proc_file machine_files[] = {
	{"/proc/loadavg", show_loadavg, NULL, NULL},
	{"/proc/cmdline", show_command_line, NULL, NULL},
	{"/proc/kpagecount", NULL, NULL, &kpagecount_ops, .mode = 0400},
	{"/proc/kpageflags", NULL, NULL, &kpageflags_ops, .mode = 0400},
	{0},
};
