/* SPDX-License-Identifier: MIT */
/*
 * The OOM killer: out_of_memory(), the choice of a victim, its end, and the reaper that takes its
 * memory away while it dies. docs/oom.md has it on one page.
 *
 * Terms. A *process* is what os_for_each_owner() names; several may share one space. A *victim* is a
 * process that was killed so that its memory becomes free, and its space is marked MMF_OOM_VICTIM. The
 * *points* of a process are the pages that its end would free, plus what its oom_score_adj says.
 *
 *   out_of_memory
 *    |- the caller is dying anyway ....... it becomes a victim, nobody else does
 *    |- select_bad_process ............... the most points; nobody while a victim is still dying
 *    |   `- oom_evaluate_task, oom_badness
 *    `- oom_kill_process ................. told of, killed with all that share its space
 *        `- queue_oom_reaper ............. two seconds later, should it still have its memory:
 *            `- oom_reap_task ............ ten tries, 100 ms apart
 *                `- oom_reap_task_mm ..... takes away private pages that are not locked
 *
 * A space that is a victim's stands in everybody's way until it is marked MMF_OOM_SKIP: by exit_mmap()
 * when it has given its pages back, or by the reaper when it has done what it can. Either comes in
 * bounded time, so there is no deadlock with a victim that waits for what only the killer's memory
 * would bring about: then the next one is chosen.
 *
 * The two seconds are 5.10's: a victim that dies in time tells others of the robust mutexes that it
 * held, and for that it needs its own memory.
 *
 * Locks. The page allocator calls with oom_lock, one at a time. It may hold any sleeping lock besides,
 * so mmap_lock is only tried for here, and nothing here allocates. The list of spaces that wait for the
 * reaper: oom_reaper_lock. A space is kept by mmgrab(), never by mmget(): tearing one down is not for
 * somebody who is out of memory.
 *
 * Who runs swapoff fills memory on purpose and loses nothing by stopping: it is chosen first.
 *
 * Without threads whoever kills reaps at once, one try.
 */
#include "mm/reclaim/oom.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/memalloc.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/space/range.h"
#include "mm/swap/swap.h"
#include <quire/abi.h>

#define MAX_OOM_REAP_RETRIES 10
#define OOM_REAP_PAUSE_NS    100000000ull
#define OOM_REAPER_DELAY_NS  2000000000ull

static spinlock_t oom_reaper_lock = SPINLOCK_INIT_RANK("oom_reaper_lock", RANK_OOM);
static struct list_head reap_list = LIST_HEAD_INIT(reap_list); /* mm.oom_reap; oom_reaper_lock */
static uint32_t reap_events; /* atomic: grows with each space that is queued */
static struct os_thread *reaper;
static void *oom_origin; /* who runs swapoff, NULL: nobody; atomic */

static struct list_head *reap_queue(void)
{
	assert_held(&oom_reaper_lock);
	return &reap_list;
}

/* ---- the choice ------------------------------------------------------------------------------ */

/* Facts of a process whose space stays until put_facts(). */
static bool get_facts(void *owner, struct os_owner_facts *f)
{
	return owner && os_owner_facts(owner, f);
}

static void put_facts(struct os_owner_facts *f)
{
	mmdrop(to_mm(f->mm));
	f->mm = NULL;
}

long oom_badness(const struct os_owner_facts *f, unsigned long totalpages)
{
	const struct mm_struct *mm = to_mm(f->mm);

	ASSERT(mm);
	if (f->unkillable || f->oom_score_adj == OOM_SCORE_ADJ_MIN || f->in_vfork ||
	    mm_has_flag(mm, MMF_OOM_SKIP))
		return OOM_NEVER;
	return (long)(get_mm_rss(mm) + get_mm_counter(mm, MM_SWAPENTS) +
		      READ_ONCE(mm->pgtables_bytes) / PAGE_SIZE) +
	       f->oom_score_adj * (long)(totalpages / 1000);
}

static unsigned long total_pages(void)
{
	return totalram_pages() + total_swap_pages();
}

void set_oom_origin(void *owner)
{
	WRITE_ONCE(oom_origin, owner);
}

unsigned long quire_oom_score(void *owner)
{
	unsigned long total = total_pages();
	struct os_owner_facts f;
	long points = OOM_NEVER;

	if (get_facts(owner, &f)) {
		points = oom_badness(&f, total);
		put_facts(&f);
	}
	return points == OOM_NEVER ? 0 : (unsigned long)((1000 + points * 1000 / (long)total) * 2 / 3);
}

/* Of two with the same points it is the later one. */
static void oom_evaluate_task(void *owner, void *ctx)
{
	struct oom_control *oc = ctx;
	struct os_owner_facts f;
	long points;

	oc->owners++;
	if (!get_facts(owner, &f))
		return;
	points = oom_badness(&f, oc->totalpages);
	/* It brings on what memory there is for, and can stop at any time. */
	if (owner == READ_ONCE(oom_origin) && !f.unkillable)
		points = INT64_MAX;
	put_facts(&f);
	if (points == OOM_NEVER || (oc->found && points < oc->chosen_points))
		return;
	oc->found = true;
	oc->chosen = owner;
	oc->chosen_points = points;
}

/* Nobody is chosen while a victim is about to give its memory back. */
static void select_bad_process(struct oom_control *oc)
{
	oc->aborted = mm_victims_left();
	if (!oc->aborted)
		os_for_each_owner(oom_evaluate_task, oc);
}

/* ---- who is dying anyway --------------------------------------------------------------------- */

/* Whether others that share a space will give it up too. */
struct sharing {
	const struct quire_mm *mm;
	bool all_dying;
};

static void look_at_sharer(void *owner, void *ctx)
{
	struct sharing *s = ctx;
	struct os_owner_facts f;

	if (!s->all_dying || !get_facts(owner, &f))
		return;
	if (f.mm == s->mm && !f.dying)
		s->all_dying = false;
	put_facts(&f);
}

/* The space will be free soon, without anybody's being killed. */
static bool task_will_free_mem(const struct os_owner_facts *f)
{
	struct sharing s = {f->mm, true};

	if (!f->dying || mm_has_flag(to_mm(f->mm), MMF_OOM_SKIP))
		return false;
	if (READ_ONCE(to_mm(f->mm)->mm_users) > 1)
		os_for_each_owner(look_at_sharer, &s);
	return s.all_dying;
}

/* ---- the reaper ------------------------------------------------------------------------------ */

/* False: try again later. */
static bool oom_reap_task_mm(struct mm_struct *mm)
{
	if (!down_read_trylock(&mm->mmap_lock)) {
		trace_oom_pid(QUIRE_TR_SKIP_TASK_REAPING, mm->oom_pid);
		return false;
	}
	if (mm_has_flag(mm, MMF_OOM_SKIP)) {
		trace_oom_pid(QUIRE_TR_SKIP_TASK_REAPING, mm->oom_pid);
	} else {
		trace_oom_pid(QUIRE_TR_START_TASK_REAPING, mm->oom_pid);
		oom_reap_mm(mm);
		oom_log("oom_reaper: reaped process %u (%s), now anon-rss:%lukB, file-rss:%lukB, shmem-rss:%lukB",
			mm->oom_pid, mm->oom_comm, get_mm_counter(mm, MM_ANONPAGES) << (PAGE_SHIFT - 10),
			get_mm_counter(mm, MM_FILEPAGES) << (PAGE_SHIFT - 10),
			get_mm_counter(mm, MM_SHMEMPAGES) << (PAGE_SHIFT - 10));
		trace_oom_pid(QUIRE_TR_FINISH_TASK_REAPING, mm->oom_pid);
	}
	up_read(&mm->mmap_lock);
	return true;
}

static void reaper_pause(uint64_t until)
{
	static const uint32_t never;

	while (os_clock_ns() < until && !os_thread_should_stop())
		os_wait_until(&never, &never, 0, until);
}

/* The caller's reference of the structure is given back. */
static void oom_reap_task(struct mm_struct *mm)
{
	unsigned attempts = 1;

	while (!oom_reap_task_mm(mm) && attempts < MAX_OOM_REAP_RETRIES && reaper) {
		reaper_pause(os_clock_ns() + OOM_REAP_PAUSE_NS);
		attempts++;
	}
	if (!mm_has_flag(mm, MMF_UNSTABLE | MMF_OOM_SKIP))
		oom_log("oom_reaper: unable to reap pid:%u (%s)", mm->oom_pid, mm->oom_comm);
	/* Done, or it cannot be done: it hides from others that there is nobody to wait for. */
	mm_oom_skip(mm);
	mmdrop(mm);
}

/* The space that waits longest, off the list; NULL: none. */
static struct mm_struct *next_to_reap(void)
{
	struct mm_struct *mm = NULL;
	irqflags_t flags;

	spin_lock_irqsave(&oom_reaper_lock, flags);
	if (!list_empty(reap_queue())) {
		mm = list_first_entry(reap_queue(), struct mm_struct, oom_reap);
		list_del_init(&mm->oom_reap);
	}
	spin_unlock_irqrestore(&oom_reaper_lock, flags);
	return mm;
}

static void oom_reaper(void *arg)
{
	while (!os_thread_should_stop()) {
		uint32_t seen = __atomic_load_n(&reap_events, __ATOMIC_ACQUIRE);
		struct mm_struct *mm = next_to_reap();

		if (mm) {
			reaper_pause(mm->oom_reap_at);
			trace_oom_pid(QUIRE_TR_WAKE_REAPER, mm->oom_pid);
			oom_reap_task(mm);
		} else {
			os_wait_until(&reap_events, &reap_events, seen, UINT64_MAX);
		}
	}
}

/* Once for each space. */
static void queue_oom_reaper(struct mm_struct *mm)
{
	irqflags_t flags;

	if (mm_set_flag(mm, MMF_OOM_REAP_QUEUED) & MMF_OOM_REAP_QUEUED)
		return;
	mmgrab(mm);
	if (!reaper) {
		oom_reap_task(mm);
		return;
	}
	spin_lock_irqsave(&oom_reaper_lock, flags);
	mm->oom_reap_at = os_clock_ns() + OOM_REAPER_DELAY_NS;
	list_add_tail(&mm->oom_reap, reap_queue());
	spin_unlock_irqrestore(&oom_reaper_lock, flags);
	__atomic_fetch_add(&reap_events, 1, __ATOMIC_RELEASE);
	os_wake(&reap_events, 1);
}

int oom_reaper_start(void)
{
	int err = os_thread_start("oom_reaper", oom_reaper, NULL, &reaper);

	return err == -ENOSYS ? 0 : err;
}

void oom_reaper_stop(void)
{
	struct mm_struct *mm;

	if (reaper)
		os_thread_stop(reaper);
	reaper = NULL;
	while ((mm = next_to_reap()))
		oom_reap_task(mm);
}

/* ---- the end of a victim --------------------------------------------------------------------- */

static void mark_oom_victim(const struct os_owner_facts *f)
{
	struct mm_struct *mm = to_mm(f->mm);

	if (!mm_has_flag(mm, MMF_OOM_REAP_QUEUED)) {
		mm->oom_pid = f->pid;
		memcpy(mm->oom_comm, f->comm, sizeof(mm->oom_comm));
	}
	mm_mark_victim(mm);
	trace_oom_pid(QUIRE_TR_MARK_VICTIM, f->pid);
}

/* It dies by itself: only a way to its end, by the reserves, and somebody who helps. */
static void help_to_die(void *owner, const struct os_owner_facts *f)
{
	os_kill(owner);
	mark_oom_victim(f);
	queue_oom_reaper(to_mm(f->mm));
}

/* Who shares the victim's space dies with it, or nothing is won. */
struct sharers {
	const struct oom_control *oc;
	const struct os_owner_facts *victim;
	bool can_reap;
};

static void kill_sharer(void *owner, void *ctx)
{
	struct sharers *s = ctx;
	struct os_owner_facts f;

	if (!get_facts(owner, &f))
		return;
	if (f.mm == s->victim->mm && f.pid != s->victim->pid) {
		if (f.unkillable) {
			s->can_reap = false;
			mm_oom_skip(to_mm(f.mm));
			oom_log("oom killer %u (%s) has mm pinned by %u (%s)", s->victim->pid,
				s->victim->comm, f.pid, f.comm);
		} else {
			os_kill(owner);
		}
	}
	put_facts(&f);
}

static unsigned long kb(const struct mm_struct *mm, int member)
{
	return get_mm_counter(mm, member) << (PAGE_SHIFT - 10);
}

static void __oom_kill_process(struct oom_control *oc, const struct os_owner_facts *f,
			       const char *message)
{
	struct sharers s = {oc, f, true};
	struct mm_struct *mm = to_mm(f->mm);

	count_vm_event(OOM_KILL);
	mark_oom_victim(f);
	os_kill(oc->chosen);
	oom_log("%s: Killed process %u (%s) total-vm:%lukB, anon-rss:%lukB, file-rss:%lukB, shmem-rss:%lukB, UID:%u pgtables:%lukB oom_score_adj:%d",
		message, f->pid, f->comm, READ_ONCE(mm->total_vm) << (PAGE_SHIFT - 10),
		kb(mm, MM_ANONPAGES), kb(mm, MM_FILEPAGES), kb(mm, MM_SHMEMPAGES), f->uid,
		READ_ONCE(mm->pgtables_bytes) >> 10, f->oom_score_adj);
	os_for_each_owner(kill_sharer, &s);
	if (s.can_reap)
		queue_oom_reaper(mm);
}

/* Ten reports in five seconds; the lines that name victims are never left out. */
static bool report_allowed(void)
{
	static uint64_t begun;
	static unsigned told;
	uint64_t now = os_clock_ns();

	if (now - begun > 5000000000ull || !begun) {
		begun = now ? now : 1;
		told = 0;
	}
	return told++ < 10;
}

static void oom_kill_process(struct oom_control *oc, const char *message)
{
	struct os_owner_facts f;

	/* It has ended meanwhile: the caller looks for memory again. */
	if (!get_facts(oc->chosen, &f))
		return;
	if (task_will_free_mem(&f)) {
		help_to_die(oc->chosen, &f);
	} else {
		if (report_allowed())
			dump_header(oc, &f);
		__oom_kill_process(oc, &f, message);
	}
	put_facts(&f);
}

/* ---- memory is out --------------------------------------------------------------------------- */

static void count_owner(void *owner, void *ctx)
{
	++*(unsigned *)ctx;
}

static bool is_anybody_there(void)
{
	unsigned n = 0;

	os_for_each_owner(count_owner, &n);
	return n;
}

/* The caller has a fatal signal, or is on its way out: what it needs it gets of the reserves. */
static bool current_is_dying(void)
{
	void *owner = os_current_owner();
	struct os_owner_facts f;
	bool dying;

	if (!get_facts(owner, &f))
		return false;
	dying = task_will_free_mem(&f);
	if (dying)
		help_to_die(owner, &f);
	put_facts(&f);
	return dying;
}

static void check_panic_on_oom(const struct oom_control *oc)
{
	long how = READ_ONCE(vm_sysctl.panic_on_oom);

	if (!how)
		return;
	dump_header(oc, NULL);
	os_panic(how == 2 ? "Out of memory: compulsory panic_on_oom is enabled" :
			    "Out of memory: system-wide panic_on_oom is enabled");
}

/* vm.oom_kill_allocating_task: who asks dies, unless it may not be killed. */
static bool kill_allocating_task(struct oom_control *oc)
{
	struct os_owner_facts f;
	bool may;

	if (!READ_ONCE(vm_sysctl.oom_kill_allocating_task) || !get_facts(os_current_owner(), &f))
		return false;
	may = !f.unkillable && f.oom_score_adj != OOM_SCORE_ADJ_MIN;
	put_facts(&f);
	if (!may)
		return false;
	oc->chosen = os_current_owner();
	oom_kill_process(oc, "Out of memory (oom_kill_allocating_task)");
	return true;
}

bool out_of_memory(gfp_t gfp, unsigned order)
{
	struct oom_control oc = {.gfp = gfp, .order = order, .totalpages = total_pages()};

	ASSERT(order < MAX_ORDER);
	if (os_out_of_memory(gfp, order) || current_is_dying())
		return true;
	if (!is_anybody_there())
		return false;
	/* Files may hold what others need to die; who may not enter them waits for those who may. */
	if (!(gfp & __GFP_FS))
		return true;
	check_panic_on_oom(&oc);
	if (kill_allocating_task(&oc))
		return true;
	select_bad_process(&oc);
	if (oc.aborted)
		return true;
	if (!oc.found) {
		dump_header(&oc, NULL);
		oom_log("Out of memory and no killable processes...");
		os_panic("System is deadlocked on memory");
	}
	oom_kill_process(&oc, "Out of memory");
	return true;
}
