/* SPDX-License-Identifier: MIT */
/*
 * The OOM killer over a kernel of the test's own: processes are entries of a table, a kill is noted,
 * time passes where the core sleeps. The reaper's thread runs when the test says so, on its stack.
 */
#include "space.h"

#include <setjmp.h>

#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/reclaim/oom.h"

/* ---- the kernel round the core ---------------------------------------------------------------- */

#define MOST 16

static struct proc {
	struct quire_mm *mm;
	int adj;
	bool unkillable, vfork, dying, killed;
} procs[MOST];
static unsigned nr_procs;
static struct proc *running; /* NULL: a thread of no process */
static char logged[16384], why[200];
static jmp_buf out;
static uint64_t now = 1000000000ull;
static unsigned sleeps, stop_after;
static void (*thread_fn)(void *);
static bool threads;

void os_for_each_owner(void (*fn)(void *owner, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < nr_procs; i++)
		fn(&procs[i], ctx);
}

bool os_owner_facts(void *owner, struct os_owner_facts *f)
{
	struct proc *p = owner;

	if (!p->mm)
		return false;
	*f = (struct os_owner_facts){.mm = p->mm, .pid = (uint32_t)(p - procs) + 1,
				     .oom_score_adj = p->adj, .unkillable = p->unkillable,
				     .in_vfork = p->vfork, .dying = p->dying};
	snprintf(f->comm, sizeof(f->comm), "proc%u", f->pid);
	quire_mm_grab(p->mm);
	return true;
}

void *os_current_owner(void)
{
	return running;
}

void os_kill(void *owner)
{
	struct proc *p = owner;

	p->killed = true;
}

bool os_current_is_victim(void)
{
	return running && running->killed;
}

uint64_t os_clock_ns(void)
{
	return now;
}

void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline)
{
	sleeps++;
	if (deadline != UINT64_MAX)
		now = deadline > now ? deadline : now;
}

int os_thread_start(const char *name, void (*fn)(void *), void *arg, struct os_thread **t)
{
	if (!threads)
		return -ENOSYS;
	thread_fn = fn;
	*t = (struct os_thread *)&threads;
	return 0;
}

bool os_thread_should_stop(void)
{
	return sleeps >= stop_after;
}

/* Until it has slept n times. */
static void run_reaper(unsigned n)
{
	sleeps = 0;
	stop_after = n;
	thread_fn(NULL);
}

void os_log(const char *line)
{
	size_t n = strlen(logged);

	snprintf(logged + n, sizeof(logged) - n, "%s\n", line);
}

_Noreturn void os_panic(const char *text)
{
	snprintf(why, sizeof(why), "%s", text);
	longjmp(out, 1);
}

#define PANICS(x)                             \
	({                                    \
		volatile bool panics_ = true; \
		if (!setjmp(out)) {           \
			(void)(x);            \
			panics_ = false;      \
		}                             \
		panics_;                      \
	})

/* A process with so many pages of its own, at AT(0). */
static struct proc *proc_new(unsigned pages)
{
	struct proc *p = &procs[nr_procs++];

	*p = (struct proc){.mm = nr_procs == 1 ? cur : space_new()};
	run_space(p->mm);
	mmap_at(AT(0), 512, RW, PRIV | FIX);
	for (unsigned i = 0; i < pages; i++)
		store_at(AT(i), i + 1);
	return p;
}

static void procs_up(void)
{
	space_up();
	stop_after = ~0u;
}

static void procs_down(void)
{
	for (unsigned i = 0; i < nr_procs; i++)
		if (procs[i].mm)
			space_put(procs[i].mm);
	if (nr_procs)
		cur = NULL;
	oom_reaper_stop();
	space_down();
}

static bool oom(void)
{
	bool r = out_of_memory(GFP_KERNEL, 0);

	fake_core_returned();
	return r;
}

static unsigned killed(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_procs; i++)
		n += procs[i].killed;
	return n;
}

/* ---- the choice --------------------------------------------------------------------------------- */

Test(oom, points)
{
	struct os_owner_facts f;
	struct proc *p;
	unsigned long rss, tables;

	procs_up();
	p = proc_new(100);
	os_owner_facts(p, &f);
	rss = get_mm_rss(to_mm(p->mm));
	tables = to_mm(p->mm)->pgtables_bytes / PS;
	cr_assert(rss == 100 && tables >= 2);
	cr_expect_eq(oom_badness(&f, 50000), (long)(rss + tables));
	add_mm_counter(to_mm(p->mm), MM_SWAPENTS, 7);
	cr_expect_eq(oom_badness(&f, 50000), (long)(rss + tables + 7), "what is swapped out counts");
	add_mm_counter(to_mm(p->mm), MM_SWAPENTS, -7);
	f.oom_score_adj = 10;
	cr_expect_eq(oom_badness(&f, 50999), (long)(rss + tables + 500));
	f.oom_score_adj = -999;
	cr_expect_eq(oom_badness(&f, 50000), (long)(rss + tables) - 999 * 50, "below 0 is no never");
	f.oom_score_adj = -1000;
	cr_expect_eq(oom_badness(&f, 50000), OOM_NEVER);
	f.oom_score_adj = 0;
	f.in_vfork = true;
	cr_expect_eq(oom_badness(&f, 50000), OOM_NEVER);
	f.in_vfork = false;
	f.unkillable = true;
	cr_expect_eq(oom_badness(&f, 50000), OOM_NEVER);
	quire_mm_drop(f.mm);
	cr_expect_eq(quire_oom_score(p), (1000 + (rss + tables) * 1000 / totalram_pages()) * 2 / 3);
	p->adj = -1000;
	cr_expect_eq(quire_oom_score(p), 0);
	procs_down();
}

Test(oom, the_largest_dies)
{
	char line[200];
	uint64_t count;

	procs_up();
	proc_new(50);
	proc_new(200);
	proc_new(100);
	count = sum_vm_event(OOM_KILL);
	cr_expect(oom());
	cr_expect(killed() == 1 && procs[1].killed);
	cr_expect_eq(sum_vm_event(OOM_KILL), count + 1);
	cr_expect(strstr(logged, " invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"));
	cr_expect(strstr(logged, "Mem-Info:\n") && strstr(logged, "Tasks state (memory values in pages):\n"));
	cr_expect(strstr(logged, "task=proc2,pid=2,uid=0\n"));
	snprintf(line, sizeof(line), "Out of memory: Killed process 2 (proc2) total-vm:%lukB, anon-rss:%lukB, "
		 "file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:", 512 * PS / 1024, 200 * PS / 1024);
	cr_expect(strstr(logged, line), "%s", logged);
	procs_down();
}

/* Of two equal ones the later, as 5.10 goes through all and takes what is not smaller. */
Test(oom, of_equal_ones_the_last)
{
	procs_up();
	proc_new(50);
	proc_new(100);
	proc_new(100);
	proc_new(20);
	cr_expect(oom());
	cr_expect(killed() == 1 && procs[2].killed);
	procs_down();
}

Test(oom, those_that_are_left_out)
{
	procs_up();
	proc_new(200)->adj = -1000;
	proc_new(150)->unkillable = true;
	proc_new(120)->vfork = true;
	proc_new(10);
	cr_expect(oom());
	cr_expect(killed() == 1 && procs[3].killed);
	procs_down();
}

Test(oom, who_runs_swapoff_comes_first)
{
	procs_up();
	proc_new(200);
	proc_new(10);
	set_oom_origin(&procs[1]);
	cr_expect(oom());
	cr_expect(killed() == 1 && procs[1].killed);
	set_oom_origin(NULL);
	procs_down();
}

/* All that use the space die with the victim: it would not be free without. */
Test(oom, all_that_share_a_space)
{
	procs_up();
	proc_new(100);
	proc_new(20);
	procs[nr_procs] = procs[0];
	procs[nr_procs++].adj = -1000;
	quire_mm_get(procs[0].mm);
	cr_expect(oom());
	cr_expect(procs[0].killed && procs[2].killed && !procs[1].killed);
	procs_down();
}

/* Process 1 keeps the memory that it shares with the victim; the next search goes on without. */
Test(oom, a_space_that_init_uses)
{
	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100);
	proc_new(20);
	procs[nr_procs] = procs[0];
	procs[nr_procs++].unkillable = true;
	quire_mm_get(procs[0].mm);
	cr_expect(oom());
	cr_expect(procs[0].killed && !procs[2].killed);
	cr_expect(strstr(logged, "oom killer 1 (proc1) has mm pinned by 3 (proc3)\n"));
	cr_expect_not(mm_victims_left());
	run_space(procs[0].mm);
	cr_expect(present_at(AT(0)));
	cr_expect(oom());
	cr_expect(procs[1].killed);
	procs_down();
}

/* ---- whoever is dying --------------------------------------------------------------------------- */

Test(oom, one_at_a_time)
{
	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100);
	proc_new(50);
	cr_expect(oom() && oom());
	/* It is on its way out, and no longer the largest. */
	run_space(procs[0].mm);
	munmap_at(AT(0), 90);
	cr_expect(oom() && oom());
	cr_expect(killed() == 1 && procs[0].killed);
	/* The victim's end makes room for the next. */
	space_put(procs[0].mm);
	procs[0].mm = NULL;
	cr_expect_not(mm_victims_left());
	cr_expect(oom());
	cr_expect_eq(killed(), 2);
	procs_down();
}

Test(oom, who_asks_is_dying)
{
	uint64_t count;

	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100);
	running = proc_new(20);
	count = sum_vm_event(OOM_KILL);
	running->dying = true;
	cr_expect(oom());
	cr_expect_not(procs[0].killed);
	cr_expect(running->killed, "its way out is by the reserves");
	cr_expect_eq(sum_vm_event(OOM_KILL), count);
	cr_expect(mm_victims_left());
	procs_down();
}

/* Another that shares the space lives: nothing will be free of it. */
Test(oom, who_asks_is_dying_alone)
{
	procs_up();
	proc_new(100);
	running = proc_new(20);
	running->dying = true;
	procs[nr_procs] = *running;
	procs[nr_procs++].dying = false;
	quire_mm_get(running->mm);
	cr_expect(oom());
	cr_expect(procs[0].killed && !running->killed);
	procs_down();
}

Test(oom, the_chosen_is_dying)
{
	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100)->dying = true;
	proc_new(20);
	cr_expect(oom());
	cr_expect(mm_victims_left());
	cr_expect_not(procs[1].killed);
	cr_expect_not(strstr(logged, "Killed process"), "it is not told of: it dies by itself");
	procs_down();
}

/* ---- the reaper --------------------------------------------------------------------------------- */

/* Private memory goes, locked and shared memory stays, and what is missing then is not zero. */
Test(oom, the_reaper)
{
	struct quire_file *f;
	struct mm_struct *mm;
	uint64_t t;

	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100);
	mm = to_mm(cur);
	f = file_new(8, FRW);
	mmap_file(AT(600), 4, RW, MAP_PRIVATE | FIX, f, 0);
	store_at(AT(600), 9);
	touch_at(AT(601));
	mmap_file(AT(700), 4, RW, MAP_SHARED | FIX, f, 4);
	store_at(AT(700), 5);
	mmap_at(AT(800), 4, RW, SHAR | FIX);
	store_at(AT(800), 6);
	mmap_at(AT(900), 2, RW, PRIV | FIX);
	store_at(AT(900), 7);
	cr_assert_eq(CALL(quire_mlock(cur, AT(900), PS, 0)), 0);
	t = now;
	cr_expect(oom());
	cr_expect(present_at(AT(5)), "two seconds are the victim's own");
	cr_expect_not(mm_has_flag(mm, MMF_UNSTABLE));
	run_reaper(2);
	cr_expect_geq(now, t + 2000000000ull);
	fake_core_returned();
	cr_expect_not(present_at(AT(5)) || present_at(AT(600)));
	cr_expect(present_at(AT(700)) && present_at(AT(800)) && present_at(AT(900)));
	cr_expect(strstr(logged, "oom_reaper: reaped process 1 (proc1), now anon-rss:"));
	cr_expect_not(mm_victims_left());
	/* Who still runs must not take it for untouched. */
	cr_expect_eq(store_at(AT(5), 1), ADRERR);
	cr_expect_eq(touch_at(AT(5)), ADRERR);
	cr_expect_eq(touch_at(AT(600)), ADRERR);
	cr_expect_eq(touch_at(AT(601)), ADRERR);
	cr_expect_eq(store_at(AT(602), 1), ADRERR);
	cr_expect_eq(load_at(AT(700)), 5);
	cr_expect_eq(touch_at(AT(701)), 0);
	cr_expect_eq(load_at(AT(800)), 6);
	cr_expect_eq(load_at(AT(900)), 7);
	quire_file_put(f);
	procs_down();
}

/* Somebody holds mmap_lock, whom the victim waits for, or who waits for the victim. */
Test(oom, a_space_that_cannot_be_locked)
{
	struct mm_struct *mm;
	uint64_t t;

	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100);
	mm = to_mm(cur);
	proc_new(50);
	cr_expect(oom());
	down_write(&mm->mmap_lock);
	t = now + 2000000000ull;
	run_reaper(1 + 9 + 1);
	cr_expect_eq(now, t + 9 * 100000000ull, "ten tries, 100 ms apart");
	up_write(&mm->mmap_lock);
	cr_expect(strstr(logged, "oom_reaper: unable to reap pid:1 (proc1)\n"));
	cr_expect_not(mm_victims_left());
	run_space(procs[0].mm);
	cr_expect(present_at(AT(5)));
	/* There is nobody to wait for any more. */
	cr_expect(oom());
	cr_expect(procs[1].killed);
	procs_down();
}

/* 5.10's events, in their order. */
Test(oom, what_a_trace_has)
{
	static char ring[64 << 10] __attribute__((aligned(4096)));
	static const unsigned want[] = {QUIRE_TR_FINISH_TASK_REAPING, QUIRE_TR_START_TASK_REAPING,
					QUIRE_TR_WAKE_REAPER, QUIRE_TR_MARK_VICTIM};
	struct quire_trace_record r[4];

	threads = true;
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1},
		       &(struct quire_config){.trace_ring = ring, .trace_ring_size = sizeof(ring)});
	fake_on_fault(space_fault, NULL);
	run_space(space_new());
	oom_reaper_start();
	proc_new(20);
	quire_trace_enable(true);
	cr_expect(oom());
	run_reaper(2);
	fake_core_returned();
	quire_trace_enable(false);
	cr_assert_eq(quire_trace_last(r, 4), 4);
	for (unsigned i = 0; i < 4; i++)
		cr_expect(r[i].type == want[i] && r[i].w[0] == 1, "%u: %u", i, r[i].type);
	procs_down();
}

/* Without threads the killer does it at once. */
Test(oom, no_reaper)
{
	procs_up();
	proc_new(100);
	cr_expect(oom());
	cr_expect_not(present_at(AT(5)));
	cr_expect_not(mm_victims_left());
	procs_down();
}

/* ---- when nobody is killed -------------------------------------------------------------------- */

Test(oom, nobody_is_there)
{
	procs_up();
	cr_expect_not(oom());
	cr_expect_not(out_of_memory(GFP_NOFS, 0));
	procs_down();
}

Test(oom, not_from_within_a_file)
{
	procs_up();
	proc_new(100);
	cr_expect(out_of_memory(GFP_NOFS, 0) && out_of_memory(GFP_NOIO, 0));
	cr_expect_eq(killed(), 0);
	procs_down();
}

Test(oom, nobody_may_be_killed)
{
	procs_up();
	proc_new(100)->adj = -1000;
	cr_expect(PANICS(oom()));
	cr_expect_str_eq(why, "System is deadlocked on memory");
	cr_expect(strstr(logged, "Out of memory and no killable processes...\n"));
	procs_down();
}

Test(oom, panic_on_oom)
{
	procs_up();
	proc_new(100);
	quire_sysctl_set("panic_on_oom", 1);
	cr_expect(PANICS(oom()));
	cr_expect_str_eq(why, "Out of memory: system-wide panic_on_oom is enabled");
	quire_sysctl_set("panic_on_oom", 2);
	cr_expect(PANICS(oom()));
	cr_expect_str_eq(why, "Out of memory: compulsory panic_on_oom is enabled");
	cr_expect_eq(killed(), 0);
	procs_down();
}

Test(oom, who_asks)
{
	procs_up();
	proc_new(100);
	running = proc_new(5);
	quire_sysctl_set("oom_kill_allocating_task", 1);
	quire_sysctl_set("oom_dump_tasks", 0);
	cr_expect(oom());
	cr_expect(running->killed && killed() == 1);
	cr_expect(strstr(logged, "Out of memory (oom_kill_allocating_task): Killed process 2 (proc2)"));
	cr_expect_not(strstr(logged, "Tasks state"));
	procs_down();
}

Test(oom, who_asks_may_not_be_killed)
{
	procs_up();
	proc_new(100);
	running = proc_new(5);
	running->adj = -1000;
	quire_sysctl_set("oom_kill_allocating_task", 1);
	cr_expect(oom());
	cr_expect(procs[0].killed && killed() == 1);
	procs_down();
}

/* ---- the way of a request ---------------------------------------------------------------------- */

static struct page *taken_pages[20000];
static unsigned nr_taken;

/* All that a request like this may have; the last one fails, or finds memory that a kill made free. */
static struct page *take_all(gfp_t gfp)
{
	struct page *p;

	while ((p = alloc_pages(gfp | __GFP_NOWARN, 0)) && !killed())
		taken_pages[nr_taken++] = p;
	return p;
}

static void give_all(void)
{
	while (nr_taken)
		__free_pages(taken_pages[--nr_taken], 0);
}

Test(oom, a_request_gets_what_a_victim_had)
{
	struct page *p;

	procs_up();
	proc_new(20);
	proc_new(300);
	p = take_all(GFP_KERNEL);
	cr_expect(p, "the reaper's work is the request's");
	cr_expect(procs[1].killed && killed() == 1);
	__free_pages(p, 0);
	give_all();
	procs_down();
}

/* Who may not retry, may not be asked to kill for it: the request fails. */
Test(oom, requests_that_fail_instead)
{
	procs_up();
	proc_new(100);
	cr_expect_null(take_all(GFP_KERNEL | __GFP_NORETRY));
	cr_expect_null(take_all(GFP_KERNEL | __GFP_RETRY_MAYFAIL));
	cr_expect_null(take_all(GFP_NOWAIT));
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, PAGE_ALLOC_COSTLY_ORDER + 1));
	cr_expect_null(take_all(GFP_KERNEL | GFP_DMA), "a victim has few pages there");
	cr_expect_eq(killed(), 0);
	give_all();
	procs_down();
}

/* Reserves: who reclaims takes all, who is dying half of the min mark, and neither waits for itself. */
Test(oom, reserves)
{
	unsigned long left, saved, min = 0;
	struct zone *z;
	unsigned ordinary;

	threads = true;
	procs_up();
	oom_reaper_start();
	proc_new(100)->adj = -1000;
	for_each_populated_zone(z)
		min += z->watermark[WMARK_MIN];
	cr_expect_null(take_all(GFP_KERNEL | __GFP_NORETRY));
	ordinary = nr_taken;
	running = &procs[0];
	running->killed = running->dying = true;
	while ((taken_pages[nr_taken] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		nr_taken++;
	left = nr_free_buddy();
	cr_expect(nr_taken > ordinary && left > min / 4 && left < min * 3 / 4, "%lu of %lu left", left, min);
	cr_expect_null(alloc_pages(GFP_KERNEL | __GFP_NOMEMALLOC | __GFP_NOWARN, 0));
	running = NULL;
	procs[0].killed = procs[0].dying = false;
	saved = memalloc_noreclaim_save();
	cr_expect_eq(saved, 0);
	while ((taken_pages[nr_taken] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		nr_taken++;
	cr_expect_leq(nr_free_buddy(), 1);
	memalloc_noreclaim_restore(saved);
	cr_expect_eq(current_flags(), 0);
	give_all();
	procs_down();
}

Test(oom, contexts)
{
	unsigned long a, b;

	procs_up();
	cr_expect_eq(current_gfp_context(GFP_KERNEL), GFP_KERNEL);
	a = memalloc_nofs_save();
	cr_expect_eq(current_gfp_context(GFP_KERNEL), GFP_NOFS);
	b = memalloc_noio_save();
	cr_expect_eq(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	memalloc_noio_restore(b);
	b = memalloc_nofs_save(); /* they nest */
	memalloc_nofs_restore(b);
	cr_expect_eq(current_gfp_context(GFP_USER), GFP_USER & ~__GFP_FS);
	memalloc_nofs_restore(a);
	cr_expect_eq(current_gfp_context(GFP_KERNEL), GFP_KERNEL);
	procs_down();
}

/* A fault kills the largest and goes on; the one that faults is told of nothing. */
Test(oom, a_fault_reaches_it)
{
	procs_up();
	running = proc_new(20);
	proc_new(300);
	take_all(GFP_KERNEL | __GFP_NORETRY);
	run_space(running->mm);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(store_at(AT(100 + i), 1), 0);
	cr_expect(procs[1].killed && killed() == 1);
	for (unsigned i = 0; i < 20; i++)
		cr_expect_eq(load_at(AT(i)), i + 1);
	give_all();
	procs_down();
}
