/* SPDX-License-Identifier: MIT */
/*
 * The operations of one task of cpus, and the model of what they do. A task's private memory is its
 * own, wherever its space is shared, and so is its page of the shared file. What all may change is
 * checked by contents that only one value can have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/migrate/compaction.h"
#include "mm/migrate/migrate.h"
#include "mm/object/filemap.h"
#include "mm/phys/page_alloc.h"
#include "test/preempt/cpus.h"
#include <quire/abi.h>
#include <quire/block.h>

static unsigned range(struct task *t, unsigned *first)
{
	*first = rnd(t, PAGES);
	return 1 + rnd(t, rnd(t, 3) ? 3 : PAGES) % (PAGES - *first);
}

/* ---- private memory -------------------------------------------------------------------------- */

static uint8_t fresh(const struct task *t, unsigned page, unsigned off)
{
	return t->origin[page] ? stamp(t->origin[page] - 1, off) : 0;
}

static void forget(struct task *t, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++) {
		t->lazy[i] = false;
		for (unsigned off = 0; off < PAGE; off++)
			t->bytes[i][off] = fresh(t, i, off);
	}
}

/* A page that was given up: whether it is still as it was. Reads all of it. */
static void settle(struct task *t, unsigned page, const char *when)
{
	static const uint8_t zero[PAGE];
	uint8_t seen[PAGE];

	REQUIRE(!hal_copy_from_user(seen, at(t, page), PAGE), "task %u page %u cannot be read %s",
		t->id, page, when);
	if (!memcmp(seen, t->bytes[page], PAGE))
		return;
	REQUIRE(!memcmp(seen, zero, PAGE), "task %u page %u, given up, is neither old nor zero %s",
		t->id, page, when);
	memset(t->bytes[page], 0, PAGE);
	t->lazy[page] = false;
}

/* n bytes as user mode reads them, one to eight at a time, or as the kernel copies them. */
static bool peek(struct task *t, uint8_t *seen, uintptr_t va, unsigned n)
{
	if (n > 64)
		return !hal_copy_from_user(seen, va, n);
	while (n) {
		unsigned width = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
		uint64_t v;

		if (!fake_user_load(va, width, &v, NULL))
			return false;
		memcpy(seen, &v, width);
		seen += width, va += width, n -= width;
	}
	return true;
}

static bool poke(struct task *t, uintptr_t va, const uint8_t *bytes, unsigned n)
{
	if (n > 32)
		return !hal_copy_to_user(va, bytes, n);
	while (n) {
		unsigned width = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
		uint64_t v = 0;

		memcpy(&v, bytes, width);
		if (!fake_user_store(va, width, v, NULL))
			return false;
		bytes += width, va += width, n -= width;
	}
	return true;
}

static void verify(struct task *t, unsigned page, unsigned off, unsigned n, const char *when)
{
	uint8_t seen[PAGE];
	bool ok;

	if (t->lazy[page] && t->prot[page] & PROT_READ) {
		settle(t, page, when);
		return;
	}
	ok = peek(t, seen, at(t, page) + off, n);
	if (!t->mapped[page] || !(t->prot[page] & PROT_READ)) {
		REQUIRE(!ok, "task %u page %u can be read %s", t->id, page, when);
		return;
	}
	REQUIRE(ok, "task %u page %u cannot be read %s", t->id, page, when);
	for (unsigned i = 0; i < n; i++)
		REQUIRE(seen[i] == t->bytes[page][off + i],
			"task %u page %u byte %u is %#x, not %#x, %s", t->id, page, off + i,
			seen[i], t->bytes[page][off + i], when);
}

void verify_all(struct task *t, const char *when)
{
	for (unsigned i = 0; i < PAGES; i++)
		verify(t, i, 0, PAGE, when);
}

static void op_verify(struct task *t)
{
	unsigned n = 1 + rnd(t, 200);

	verify(t, rnd(t, PAGES), rnd(t, PAGE - n), n, "by itself");
}

/* Dirty, it stays; what is around the bytes is the old, or zero. */
static void settle_written(struct task *t, unsigned page, unsigned off, unsigned n)
{
	uint8_t seen[PAGE], zero[PAGE] = {0};

	REQUIRE(peek(t, seen, at(t, page), PAGE), "task %u page %u cannot be read", t->id, page);
	memcpy(zero + off, t->bytes[page] + off, n);
	t->lazy[page] = false;
	if (!memcmp(seen, t->bytes[page], PAGE))
		return;
	REQUIRE(!memcmp(seen, zero, PAGE), "task %u page %u, given up and written, is wrong", t->id, page);
	memcpy(t->bytes[page], zero, PAGE);
}

/* Of a page that was given up, each of several stores may find it anew. */
static void op_store(struct task *t)
{
	unsigned page = rnd(t, PAGES), n = 1 + rnd(t, 64), off;
	uint8_t bytes[64];

	if (t->lazy[page])
		n = 1;
	off = rnd(t, PAGE - n);
	for (unsigned i = 0; i < n; i++)
		bytes[i] = rnd_of(&t->rng) >> 13;
	if (!t->mapped[page] || !(t->prot[page] & PROT_WRITE)) {
		REQUIRE(!poke(t, at(t, page) + off, bytes, n), "task %u page %u can be written", t->id,
			page);
		return;
	}
	REQUIRE(poke(t, at(t, page) + off, bytes, n), "task %u page %u cannot be written", t->id, page);
	memcpy(t->bytes[page] + off, bytes, n);
	if (t->lazy[page] && t->prot[page] & PROT_READ)
		settle_written(t, page, off, n);
}

static void op_map(struct task *t)
{
	unsigned first, n = range(t, &first), from = rnd(t, PAGES - n + 1);
	unsigned long flags = MAP_PRIVATE | MAP_FIXED | (rnd(t, 4) ? 0 : MAP_POPULATE);
	bool file = !rnd(t, 3);
	long ret = quire_mmap(t->space->mm, at(t, first), n * PAGE, PROT_READ | PROT_WRITE,
			      flags | (file ? 0 : MAP_ANONYMOUS), file ? world.constant_file : NULL,
			      file ? from * PAGE : 0);

	REQUIRE(ret == (long)at(t, first), "mmap: %ld", ret);
	for (unsigned i = 0; i < n; i++) {
		t->mapped[first + i] = true;
		t->prot[first + i] = PROT_READ | PROT_WRITE;
		t->origin[first + i] = file ? 1 + from + i : 0;
	}
	forget(t, first, n);
}

static void op_unmap(struct task *t)
{
	unsigned first, n = range(t, &first);
	long ret = quire_munmap(t->space->mm, at(t, first), n * PAGE);

	REQUIRE(!ret, "munmap: %ld", ret);
	memset(t->mapped + first, 0, n);
	memset(t->origin + first, 0, n);
	forget(t, first, n);
}

static bool all_mapped(const struct task *t, unsigned first, unsigned n)
{
	return !memchr(t->mapped + first, 0, n);
}

static void op_protect(struct task *t)
{
	static const uint8_t prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ,
					PROT_NONE};
	unsigned first, n = range(t, &first), prot = prots[rnd(t, 4)];
	long ret = quire_mprotect(t->space->mm, at(t, first), n * PAGE, prot);

	REQUIRE(ret == (all_mapped(t, first, n) ? 0 : -ENOMEM), "mprotect: %ld", ret);
	for (unsigned i = first; i < first + n && t->mapped[i]; i++)
		t->prot[i] = prot; /* up to the first hole it was done */
}

/* To another place of the task's own; where that fails the place is empty. */
static void op_remap(struct task *t)
{
	unsigned from, n = range(t, &from), to = rnd(t, PAGES - n + 1);
	bool whole = all_mapped(t, from, n);
	long ret;

	if (to < from + n && from < to + n)
		return;
	ret = quire_mremap(t->space->mm, at(t, from), n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   at(t, to));
	REQUIRE(ret == (long)at(t, to) || (ret == -EFAULT && (!whole || n > 1)), "mremap: %ld", ret);
	memset(t->mapped + to, 0, n);
	memset(t->origin + to, 0, n);
	if (ret > 0) {
		memmove(t->mapped + to, t->mapped + from, n);
		memmove(t->prot + to, t->prot + from, n);
		memmove(t->origin + to, t->origin + from, n);
		memmove(t->bytes[to], t->bytes[from], n * PAGE);
		memmove(t->lazy + to, t->lazy + from, n);
		memset(t->mapped + from, 0, n);
		memset(t->origin + from, 0, n);
		forget(t, from, n);
	} else {
		forget(t, to, n);
	}
}

static void op_advise(struct task *t)
{
	static const int nothing_seen[] = {MADV_NORMAL, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_PAGEOUT,
					   MADV_PAGEOUT};
	unsigned first, n = range(t, &first), how = rnd(t, 6);
	long ret;

	if (how < 3) {
		quire_madvise(t->space->mm, at(t, first), n * PAGE, nothing_seen[rnd(t, 6)]);
		return;
	}
	if (how == 3) { /* files refuse, which ends it there */
		ret = quire_madvise(t->space->mm, at(t, first), n * PAGE, MADV_FREE);
		for (unsigned i = first; i < first + n; i++)
			t->lazy[i] |= t->mapped[i] && !t->origin[i];
		REQUIRE(ret == -EINVAL || ret == (all_mapped(t, first, n) ? 0 : -ENOMEM), "MADV_FREE: %ld",
			ret);
		return;
	}
	ret = quire_madvise(t->space->mm, at(t, first), n * PAGE, MADV_DONTNEED);
	REQUIRE(ret == (all_mapped(t, first, n) ? 0 : -ENOMEM), "madvise: %ld", ret);
	forget(t, first, n);
}

/* As a debugger does it, from outside. */
static void op_outside(struct task *t)
{
	unsigned page = rnd(t, PAGES), n = 1 + rnd(t, 64), off = rnd(t, PAGE - n);
	uint8_t bytes[64];
	size_t done;

	if (t->lazy[page] || !t->mapped[page])
		return;
	done = quire_mm_read(t->space->mm, at(t, page) + off, bytes, n);
	for (unsigned i = 0; i < done; i++)
		REQUIRE(bytes[i] == t->bytes[page][off + i], "task %u page %u byte %u is %#x from outside",
			t->id, page, off + i, bytes[i]);
	for (unsigned i = 0; i < n; i++)
		bytes[i] = rnd_of(&t->rng) >> 13;
	done = quire_mm_write(t->space->mm, at(t, page) + off, bytes, n);
	memcpy(t->bytes[page] + off, bytes, done);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void op_file(struct task *t)
{
	unsigned n = 1 + rnd(t, 64), off = rnd(t, PAGE - n), how = rnd(t, 6);
	uint64_t pos = t->root * PAGE + off;
	uint8_t bytes[64];
	long ret = n;

	if (t->child)
		return;
	for (unsigned i = 0; i < n; i++)
		bytes[i] = rnd_of(&t->rng) >> 9;
	if (how == 4) { /* all pages leave the tables, others' too; none changes */
		ret = quire_madvise(t->space->mm, SHARED_AT, FILE_PAGES * PAGE, MADV_DONTNEED);
		REQUIRE(!ret, "madvise: %ld", ret);
		return;
	}
	if (how == 5) { /* a hole where the page is: gone from every table at once */
		ret = quire_inode_fallocate(world.shared, 3, t->root * PAGE, PAGE);
		REQUIRE(!ret, "fallocate: %ld", ret);
		memset(t->file, 0, PAGE);
		how = 2;
		ret = n;
	}
	if (how == 0)
		ret = quire_inode_write(world.shared, pos, (uintptr_t)bytes, n, false);
	else if (how == 1)
		REQUIRE(poke(t, SHARED_AT + pos, bytes, n), "the shared file cannot be written");
	else if (how == 2)
		REQUIRE(peek(t, bytes, SHARED_AT + pos, n), "the shared file cannot be read");
	else
		ret = quire_inode_read(world.shared, pos, (uintptr_t)bytes, n, false);
	REQUIRE(ret == (long)n, "shared file, way %u: %ld", how, ret);
	if (how < 2)
		memcpy(t->file + off, bytes, n);
	else
		REQUIRE(!memcmp(bytes, t->file + off, n), "task %u reads another's bytes of the file, way %u",
			t->id, how);
}

/* Every page of the shared file comes into the tables of this space, and leaves them: their counts change
 * on all CPUs at once. */
static void op_crowd(struct task *t)
{
	uint64_t v;
	long ret;

	for (unsigned page = 0; page < FILE_PAGES; page++)
		REQUIRE(fake_user_load(SHARED_AT + page * PAGE, 8, &v, NULL), "the shared file cannot be read");
	if (rnd(t, 4)) {
		ret = quire_madvise(t->space->mm, SHARED_AT, FILE_PAGES * PAGE, MADV_DONTNEED);
		REQUIRE(!ret, "madvise: %ld", ret);
	}
}

static void check_torn(unsigned page, unsigned off, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!bytes[i] || bytes[i] == stamp(page, off + i),
			"file that is cut: page %u byte %u is %#x", page, off + i, bytes[i]);
}

/* A file whose size changes under everybody: each byte is 0 or the only value it is ever given. */
static void op_torn(struct task *t)
{
	unsigned page = rnd(t, TORN_PAGES), n = 1 + rnd(t, 32), off = rnd(t, PAGE - n);
	uint64_t pos = (uint64_t)page * PAGE + off;
	uint8_t bytes[32];
	long ret;

	for (unsigned i = 0; i < n; i++)
		bytes[i] = stamp(page, off + i);
	switch (rnd(t, 6)) {
	case 0:
		ret = quire_inode_truncate(world.torn, rnd(t, TORN_PAGES * PAGE));
		REQUIRE(!ret, "truncate: %ld", ret);
		break;
	case 1:
		ret = quire_inode_fallocate(world.torn, 3, pos, 1 + rnd(t, 3 * PAGE));
		REQUIRE(!ret, "fallocate: %ld", ret);
		break;
	case 2:
		ret = quire_inode_write(world.torn, pos, (uintptr_t)bytes, n, false);
		REQUIRE(ret == (long)n, "write: %ld", ret);
		break;
	case 3:
		ret = quire_inode_read(world.torn, pos, (uintptr_t)bytes, n, false);
		REQUIRE(ret >= 0 && ret <= (long)n, "read: %ld", ret);
		check_torn(page, off, bytes, ret);
		break;
	case 4:
		poke(t, TORN_AT + pos, bytes, n); /* may end in SIGBUS */
		break;
	default:
		if (peek(t, bytes, TORN_AT + pos, n))
			check_torn(page, off, bytes, n);
	}
}

/*
 * A page of the file that is cut, or two of them, alone in a table: its count of entries says that there is
 * something, or nothing, while the page is on its way. Whoever takes the page away from all tables goes by
 * that count.
 */
static void op_alone(struct task *t)
{
	uintptr_t va = t->base + STRIDE / 2 + STRIDE / 4, to = va + STRIDE / 8;
	unsigned how = rnd(t, 5), page = rnd(t, 2);
	struct quire_mm *mm = t->space->mm, *child;
	uint64_t v;
	long ret;

	if (how == 4) {
		ret = quire_inode_fallocate(world.torn, 3, page * PAGE, PAGE);
		REQUIRE(!ret, "fallocate: %ld", ret);
		return;
	}
	ret = quire_mmap(mm, va, 2 * PAGE, PROT_READ | PROT_WRITE, (how ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED,
			 world.torn_file, page * PAGE);
	REQUIRE(ret == (long)va, "mmap: %ld", ret);
	fake_user_load(va, 8, &v, NULL); /* may end in SIGBUS, as all of these */
	if (!how) { /* with a copy of its own it goes to a child */
		fake_user_store(va + PAGE, 8, 1, NULL);
		ret = quire_mm_fork(mm, NULL, &child);
		REQUIRE(!ret, "fork: %ld", ret);
		quire_mm_put(child);
	} else if (how == 1) {
		ret = quire_mremap(mm, va, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		REQUIRE(ret == (long)to, "mremap: %ld", ret);
		va = to;
	}
	ret = quire_munmap(mm, va, 2 * PAGE);
	REQUIRE(!ret, "munmap: %ld", ret);
}

/* Code of the constant file, wherever its pages are by now, and whatever was fetched from there before. */
static void op_code(struct task *t)
{
	uintptr_t va = t->base + STRIDE / 2 + STRIDE / 16;
	unsigned n = 1 + rnd(t, 3), first = rnd(t, PAGES - n), how = rnd(t, 8);
	struct quire_mm *mm = t->space->mm;
	long ret = quire_mmap(mm, va, n * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
			      world.constant_file, first * PAGE);

	REQUIRE(ret == (long)va, "mmap: %ld", ret);
	for (unsigned i = 0; i < 12; i++) { /* of few lines, which stay where they were fetched */
		unsigned page = rnd(t, n), off = rnd(t, 4) * PAGE / 4;
		uint64_t v;

		REQUIRE(fake_user_fetch(va + page * PAGE + off, 8, &v, NULL), "code cannot be fetched");
		for (unsigned b = 0; b < 8; b++)
			REQUIRE((uint8_t)(v >> 8 * b) == stamp(first + page, off + b),
				"code: page %u byte %u is %#x", first + page, off + b,
				(uint8_t)(v >> 8 * b));
		if (i == 6 && how < 2)
			quire_madvise(mm, va, n * PAGE, how ? MADV_PAGEOUT : MADV_DONTNEED);
	}
	if (how < 6)
		REQUIRE(!quire_munmap(mm, va, n * PAGE), "munmap");
}

/* ---- what all threads of a space change ------------------------------------------------------ */

#define RACY_MAGIC 0x5eed000000000000ull

/* Says where in its page it was stored, and by that which values there are. */
static uint64_t racy_value(unsigned off, uint64_t by)
{
	return RACY_MAGIC | (by & 0xff) << 32 | (off * 2654435761u & 0xffff0000u) | off;
}

/* Of a private mapping of the file that is cut: each byte of v may be one that the file is given there. */
static bool torn_value(unsigned off, uint64_t v)
{
	for (unsigned page = 0; page < TORN_PAGES; page++) {
		unsigned i = 0;

		while (i < 8 && (!(v >> 8 * i & 0xff) || (v >> 8 * i & 0xff) == stamp(page, off + i)))
			i++;
		if (i == 8)
			return true;
	}
	return false;
}

static void racy_access(struct task *t, uintptr_t page)
{
	unsigned off = rnd(t, PAGE / 8) * 8;
	uint64_t v;

	if (rnd(t, 2)) {
		fake_user_store(page + off, 8, racy_value(off, t->id), NULL);
		return;
	}
	if (fake_user_load(page + off, 8, &v, NULL))
		REQUIRE(!v || v == racy_value(off, v >> 32) || torn_value(off, v), "page %#lx holds %#llx at %u",
			(unsigned long)page, (unsigned long long)v, off);
}

static void op_racy(struct task *t)
{
	unsigned n = 1 + rnd(t, 6), first = rnd(t, RACY_PAGES - n), to = rnd(t, RACY_PAGES - n);
	uintptr_t va = RACY_AT + first * PAGE;
	struct quire_mm *mm = t->space->mm;
	size_t len = n * PAGE;

	switch (rnd(t, 16)) {
	case 0:
		quire_mmap(mm, va, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, world.torn_file,
			   rnd(t, TORN_PAGES) * PAGE);
		break;
	case 1:
	case 2:
		quire_mmap(mm, va, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			   NULL, 0);
		break;
	case 3:
		quire_munmap(mm, va, len);
		break;
	case 4:
		quire_mprotect(mm, va, len, rnd(t, 2) ? PROT_READ : PROT_READ | PROT_WRITE);
		break;
	case 5:
		quire_madvise(mm, va, len, rnd(t, 2) ? MADV_DONTNEED : MADV_PAGEOUT);
		break;
	case 6:
		quire_mremap(mm, va, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, RACY_AT + to * PAGE);
		break;
	case 7:
		rnd(t, 2) ? quire_mlock(mm, va, len, 0) : quire_munlock(mm, va, len);
		break;
	default:
		racy_access(t, va);
	}
}

/* A stack of its own: it grows by a fault below, and what was stored stays. */
static void op_grow(struct task *t)
{
	uintptr_t top = t->base + STRIDE / 2, page;
	uint64_t v;

	if (!t->stack_pages) {
		long ret = quire_mmap(t->space->mm, top - PAGE, PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, NULL, 0);

		REQUIRE(ret == (long)(top - PAGE), "mmap: %ld", ret);
	} else if (t->stack_pages == STACK_PAGES) {
		quire_munmap(t->space->mm, top - STACK_PAGES * PAGE, STACK_PAGES * PAGE);
		t->stack_pages = 0;
		return;
	}
	page = top - ++t->stack_pages * PAGE;
	REQUIRE(fake_user_store(page + 8, 8, page ^ t->root, NULL), "a stack does not grow");
	page = top - (1 + rnd(t, t->stack_pages)) * PAGE;
	REQUIRE(fake_user_load(page + 8, 8, &v, NULL) && v == (page ^ t->root),
		"a stack lost what was stored");
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static void op_fork(struct task *t)
{
	struct quire_mm *mm;
	struct task *c;
	long ret;

	if (t->children >= CHILDREN)
		return;
	ret = quire_mm_fork(t->space->mm, NULL, &mm);
	REQUIRE(!ret, "fork: %ld", ret);
	c = task_copy(t, mm);
	if (!c) {
		quire_mm_put(mm);
		return;
	}
	c->left = 2 + rnd(t, 8);
	t->children++;
	task_begin(c, child_main);
}

static void op_wait(struct task *t)
{
	wait_children(t);
}

static void sink(void *ctx, const char *s, size_t n)
{
}

/* Looks at any space, whatever runs in it. */
static void op_look(struct task *t)
{
	struct space *s = &world.space[rnd(t, MAX_SPACES)];
	uint8_t bytes[32];

	if (!s->known)
		return;
	switch (rnd(t, 6)) {
	case 0:
		quire_show_maps(s->mm, sink, NULL);
		break;
	case 1:
		quire_show_smaps(s->mm, sink, NULL);
		break;
	case 2:
		quire_mm_read(s->mm, BASE + rnd(t, MAX_ROOTS) * STRIDE + rnd(t, PAGES) * PAGE, bytes, 32);
		break;
	case 3:
		quire_clear_refs(s->mm, 4);
		break;
	case 4:
		quire_pagemap(s->mm, RACY_AT + rnd(t, RACY_PAGES) * PAGE);
		break;
	default:
		quire_show_status(s->mm, sink, NULL);
	}
}

/* ---- memory as a whole ----------------------------------------------------------------------- */

/* One page of the shared file to another frame, unless somebody is at it or moves pages himself. */
static void move_page(struct task *t)
{
	struct page *old, *to;

	if (!migrate_begin())
		return;
	old = find_get_page(&world.shared->i_mapping, rnd(t, FILE_PAGES));
	to = old ? alloc_pages(GFP_HIGHUSER_MOVABLE, 0) : NULL;
	if (to)
		migrate_page(old, to);
	else if (old)
		put_page(old);
	migrate_end();
}

static void op_migrate(struct task *t)
{
	if (rnd(t, 3))
		move_page(t);
	else
		compact_memory();
}

static void op_reclaim(struct task *t)
{
	switch (rnd(t, 8)) {
	case 0:
		quire_drop_caches();
		break;
	case 1:
		quire_drain();
		break;
	default:
		quire_reclaim(1 + rnd(t, 64));
	}
}

#define DISKS 2

static struct disk {
	struct quire_blkdev dev;
	uint8_t *data;
	bool on, busy;
} disks[DISKS];

static struct quire_bio *disk_submit(struct quire_blkdev *dev, struct quire_bio *chain, bool wait)
{
	struct disk *d = dev->driver;

	while (chain) {
		struct quire_bio *bio = chain;
		uint8_t *place = d->data + (bio->sector << QUIRE_SECTOR_SHIFT);
		irqflags_t flags;

		chain = bio->next;
		if (bio->op == QUIRE_BIO_WRITE)
			memcpy(place, hal_phys_to_virt(bio->phys), bio->len);
		else
			memcpy(hal_phys_to_virt(bio->phys), place, bio->len);
		flags = hal_irq_save();
		bio->end_io(bio, 0);
		hal_irq_restore(flags);
	}
	return NULL;
}

static const struct quire_blkdev_ops disk_ops = {.submit = disk_submit};

static void disk_make(struct disk *d, const char *name, uint32_t slots)
{
	uint32_t head[3] = {1, slots - 1, 0};

	d->data = calloc(slots, PAGE);
	REQUIRE(d->data, "the host is out of memory");
	memcpy(d->data + 1024, head, sizeof(head));
	memcpy(d->data + PAGE - 10, "SWAPSPACE2", 10);
	d->dev = (struct quire_blkdev){.name = name, .sectors = (uint64_t)slots * (PAGE >> QUIRE_SECTOR_SHIFT),
				       .queue_depth = 32, .ops = &disk_ops, .driver = d};
	d->on = !quire_swapon(&d->dev, NULL, 0);
	REQUIRE(d->on, "no swap");
}

void disks_start(void)
{
	disk_make(&disks[0], "a", 2000);
	disk_make(&disks[1], "b", 200);
}

void disks_end(void)
{
	for (unsigned i = 0; i < DISKS; i++) {
		REQUIRE(!disks[i].on || !quire_swapoff(&disks[i].dev), "a disk stays");
		free(disks[i].data);
	}
}

static void op_swap(struct task *t)
{
	struct disk *d = &disks[rnd(t, DISKS)];

	if (d->busy)
		return;
	d->busy = true;
	d->on = d->on ? quire_swapoff(&d->dev) != 0 : !quire_swapon(&d->dev, NULL, 0);
	d->busy = false;
}

/* ---- which ----------------------------------------------------------------------------------- */

static const struct operation ops[] = {
	{op_store, "store", 30}, {op_verify, "verify", 20}, {op_map, "mmap", 8},
	{op_unmap, "munmap", 6}, {op_protect, "mprotect", 8}, {op_remap, "mremap", 8},
	{op_advise, "madvise", 10}, {op_outside, "outside", 4}, {op_file, "shared file", 10},
	{op_crowd, "crowd", 6}, {op_torn, "file cut", 12}, {op_racy, "racy", 40}, {op_fork, "fork", 5}, {op_wait, "wait", 1},
	{op_look, "look", 3}, {op_grow, "grow", 5}, {op_migrate, "migrate", 4}, {op_reclaim, "reclaim", 4},
	{op_swap, "swap", 1}, {op_alone, "alone", 0}, {op_code, "code", 0}, /* if asked for */
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

const char *operation_name(int op)
{
	return op >= 0 && op < (int)OPS ? ops[op].name : "none";
}

void operate(struct task *t)
{
	unsigned op = choose_operation(ops, OPS, &world.plan, &t->rng);

	progress->operations++;
	progress->last = op;
	ops[op].fn(t);
}
