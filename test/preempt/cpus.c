/* SPDX-License-Identifier: MIT */
/*
 * cpus: tasks on two to eight CPUs at once over the core, without kernel/. Round by round some spaces
 * are made, of which each has some threads; between the two halves of a round and at its end nobody
 * runs, and what only holds then is checked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/phys/page_alloc.h"
#include "test/preempt/cpus.h"
#include <quire/abi.h>
#include <quire/os.h>

#define ROUND 60u /* operations of a task, about */

struct world world;

const char *const program_name = "cpus";
/* There are many more points where every access is one. */
#ifdef WATCHED
const unsigned program_rates[5] = {300, 40, 1000, 150, 5000};
#else
const unsigned program_rates[5] = {10, 2, 30, 5, 150};
#endif

static char params[80];

void program_machine(struct fake_config *c, const struct plan *p)
{
	uint64_t bits = p->seed * 0x9e3779b97f4a7c15ull >> 40;

	c->cpus = p->cpus ? p->cpus : 2 + (bits >> 12) % 7;
	c->shared_points = bits & 0x8000;
	c->icaches = bits & 0x800;
	for (c->asid_bits = 1; 1u << c->asid_bits < 2 * c->cpus; c->asid_bits++)
		; /* as few as are used at all */
	snprintf(params, sizeof(params), "%s%s", bits & 256 ? "late_free=1 " : "",
		 (bits & 0x600) == 0x600 ? "slub_debug=FZPU" : "");
	world.plan = *p;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

/* As a machine's trap does it. */
static bool resolve(const struct fault_info *fi, void *ctx)
{
	struct quire_fault_result r;

	quire_page_fault(os_task()->mm, fi, &r);
	REQUIRE(r.outcome != QUIRE_FAULT_OOPS && r.outcome != QUIRE_FAULT_KILL,
		"a fault at %#lx ends in %d", (unsigned long)fi->addr, r.outcome);
	return r.outcome == QUIRE_FAULT_DONE;
}

struct task *task_new(void)
{
	for (unsigned i = 0; i < MAX_TASKS; i++) {
		struct task *t;

		if (world.task[i])
			continue;
		t = world.task[i] = calloc(1, sizeof(*t));
		REQUIRE(t, "the host is out of memory");
		t->id = t->root = i;
		t->base = BASE + i * STRIDE;
		return t;
	}
	return NULL;
}

static struct space *space_new(struct quire_mm *mm)
{
	for (unsigned i = 0; i < MAX_SPACES; i++)
		if (!world.space[i].mm) {
			world.space[i] = (struct space){.mm = mm};
			return &world.space[i];
		}
	fail("too many spaces");
}

static void space_put(struct space *s)
{
	struct quire_mm *mm = s->mm;

	*s = (struct space){.mm = NULL};
	quire_mm_put(mm);
}

struct task *task_copy(struct task *t, struct quire_mm *mm)
{
	struct task *c = task_new();
	unsigned id;

	if (!c)
		return NULL;
	id = c->id;
	*c = *t;
	c->os = (struct os_task){0};
	c->id = id;
	c->child = true;
	c->rng = rnd_of(&t->rng) * 0x9e3779b97f4a7c15ull | 1;
	c->children = 0;
	c->parent = t;
	c->space = space_new(mm);
	return c;
}

void task_begin(struct task *t, void (*fn)(void *arg))
{
	t->os.mm = t->space->mm;
	t->space->threads++;
	os_task_start(&t->os, fn, t);
}

/* The last thing that a task does. Who ends last in a space that nobody looks at gives it back. */
static void task_end(struct task *t)
{
	struct space *s = t->space;
	struct task *parent = t->parent;

	os_task_space(NULL);
	if (!--s->threads && !s->known)
		space_put(s);
	world.task[t->id] = NULL;
	t->os.next = world.dead;
	world.dead = &t->os;
	if (parent) {
		parent->children--;
		os_wake(&parent->children, ~0u);
	} else {
		world.running--;
		os_wake(&world.running, ~0u);
	}
}

void wait_children(struct task *t)
{
	uint32_t n;

	while ((n = t->children))
		os_wait(&t->children, &t->children, n);
}

/* Nobody runs while what only holds then is checked. */
static void quiet_point(struct task *t)
{
	uint32_t gate = world.gate;

	wait_children(t);
	world.waiting++;
	os_wake(&world.waiting, ~0u);
	while (world.gate == gate)
		os_wait(&world.gate, &world.gate, gate);
}

static void map_all(struct space *s)
{
	long ret = quire_mmap(s->mm, SHARED_AT, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, world.shared_file, 0);

	REQUIRE(ret == (long)SHARED_AT, "mmap: %ld", ret);
	ret = quire_mmap(s->mm, TORN_AT, TORN_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, world.torn_file, 0);
	REQUIRE(ret == (long)TORN_AT, "mmap: %ld", ret);
}

/* What it does in the space that it was started in. */
static void work(void *arg)
{
	struct task *t = arg;
	unsigned half = t->left / 2;

	if (!t->child) /* its page of the file has what the last round left there */
		REQUIRE(quire_inode_write(world.shared, t->id * PAGE, (uintptr_t)t->file, PAGE, false) == PAGE,
			"the shared file cannot be written");
	while (t->left) {
		if (t->left-- == half && !t->child)
			quiet_point(t);
		operate(t);
		fake_core_returned();
	}
	wait_children(t);
	verify_all(t, "at the end");
	task_end(t);
}

void child_main(void *arg)
{
	struct task *t = arg;

	verify_all(t, "in a child");
	work(t);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static unsigned world_rnd(unsigned n)
{
	return (rnd_of(&world.rng) >> 11) % n;
}

static void check(const char *when)
{
	long broken = quire_check(NULL);

	REQUIRE(!broken, "%ld invariants are broken %s", broken, when);
	for (unsigned i = 0; i < MAX_SPACES; i++)
		if (world.space[i].mm) {
			broken = quire_check(world.space[i].mm);
			REQUIRE(!broken, "%ld invariants of a space are broken %s", broken, when);
		}
	REQUIRE(!fake_tlb_audit(), "stale translations %s", when);
}

static unsigned start_round(void)
{
	unsigned n = world.plan.tasks ? world.plan.tasks : 1 + world_rnd(4), roots = 0;

	world.waiting = 0;
	for (unsigned i = 0; i < n; i++) {
		struct quire_mm *mm = quire_mm_create(&(struct quire_mm_params){.owner = NULL});
		unsigned threads = n == 1 ? 2 + world_rnd(5) : 1 + world_rnd(3);
		struct space *s;

		REQUIRE(mm, "no space");
		s = space_new(mm);
		s->known = true;
		map_all(s);
		for (; threads && roots < MAX_ROOTS; threads--, roots++) {
			struct task *t = task_new();

			t->rng = rnd_of(&world.rng) * 0x9e3779b97f4a7c15ull | 1;
			t->left = ROUND / 2 + world_rnd(ROUND);
			t->space = s;
			world.running++;
			task_begin(t, work);
		}
	}
	return roots;
}

static void wait_for(const uint32_t *word, uint32_t value)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_RELAXED)) != value)
		os_wait(word, word, seen);
}

static void free_dead(void)
{
	while (world.dead) {
		struct os_task *t = world.dead;

		world.dead = t->next;
		free(t);
	}
}

static void play_round(void)
{
	unsigned roots = start_round();

	wait_for(&world.waiting, roots);
	check("in the middle of a round");
	world.gate++;
	os_wake(&world.gate, ~0u);
	wait_for(&world.running, 0);
	while (fake_contexts() > 1 + world.threads)
		os_cond_resched();
	free_dead();
	check("after a round");
	for (unsigned i = 0; i < MAX_SPACES; i++)
		if (world.space[i].mm)
			space_put(&world.space[i]);
	check("with no space left");
	progress->rounds++;
}

static struct quire_file *file_new(struct quire_inode **inode, unsigned pages, const char *name)
{
	static uint64_t ino = 10;
	struct quire_file *f;

	*inode = quire_inode_create(NULL, NULL, ino++, 1, QUIRE_S_SHMEM);
	REQUIRE(*inode && !quire_inode_truncate(*inode, pages * PAGE), "no file");
	f = quire_file_open(*inode, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE, name);
	REQUIRE(f, "no file");
	return f;
}

static void file_end(struct quire_file *f, struct quire_inode *inode)
{
	quire_file_put(f);
	quire_inode_put(inode);
}

static void files_start(void)
{
	uint8_t bytes[PAGE];

	world.constant_file = file_new(&world.constant, PAGES, "constant");
	world.shared_file = file_new(&world.shared, FILE_PAGES, "shared");
	world.torn_file = file_new(&world.torn, TORN_PAGES, "torn");
	for (unsigned page = 0; page < PAGES; page++) {
		for (unsigned i = 0; i < PAGE; i++)
			bytes[i] = stamp(page, i);
		REQUIRE(quire_inode_write(world.constant, page * PAGE, (uintptr_t)bytes, PAGE, false) ==
				PAGE, "no file");
	}
}

static void first_task(void *arg)
{
	world.rng = world.plan.seed * 0x9e3779b97f4a7c15ull | 1;
	REQUIRE(!quire_threads_start(), "no threads");
	world.threads = fake_contexts() - 1;
	disks_start();
	files_start();
	while (progress->operations < world.plan.operations)
		play_round();
	file_end(world.constant_file, world.constant);
	file_end(world.shared_file, world.shared);
	file_end(world.torn_file, world.torn);
	disks_end();
	quire_threads_stop();
	while (fake_contexts() > 1)
		os_cond_resched();
	free_dead();
}

int program_run(const struct plan *p)
{
	long left;

	REQUIRE(!quire_init(&(struct quire_config){.params = params}), "no core");
	fake_on_fault(resolve, NULL);
	os_run(first_task, NULL);
	left = quire_exit();
	REQUIRE(!left, "%ld pages are left", left);
	return 0;
}
