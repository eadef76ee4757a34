/* SPDX-License-Identifier: MIT */
/* shmctl, /proc/sysvipc/shm, and the limits of System V's shared memory in /proc/sys/kernel. */
#include "kernel/ipc/shm.h"
#include "kernel/proc/proc.h"
#include "lib/mutex.h"

#define IPC_RMID     0
#define IPC_SET	     1
#define IPC_STAT     2
#define IPC_INFO     3
#define SHM_LOCK     11
#define SHM_UNLOCK   12
#define SHM_STAT     13
#define SHM_INFO     14
#define SHM_STAT_ANY 15

#define READ_MODE 0444u
#define PERMS	  0777u
#define NO_ID	  UINT32_MAX /* what no user and no group has */

/* Linux's 64-bit layouts, alike on both machines. */
struct user_perm {
	int32_t key;
	uint32_t uid, gid, cuid, cgid, mode;
	uint16_t seq, pad;
	uint64_t unused[2];
};
struct user_shmid {
	struct user_perm perm;
	uint64_t size;
	int64_t atime, dtime, ctime;
	int32_t cpid, lpid;
	uint64_t nattch, unused[2];
};
struct user_shminfo {
	uint64_t max, min, mni, seg, all, unused[4];
};
struct user_shm_info {
	int32_t used_ids, pad;
	uint64_t pages, resident, swapped, swap_attempts, swap_successes;
};
_Static_assert(sizeof(struct user_shmid) == 112 && sizeof(struct user_shminfo) == 72 &&
	       sizeof(struct user_shm_info) == 48, "as <linux/shm.h>");

/* Pages of its memory that are in memory, and in swap. */
static void resident(const struct shm_segment *s, uint64_t *rss, uint64_t *swapped)
{
	uint64_t cached = quire_inode_cached_pages(s->memory);

	*swapped = min(quire_inode_swapped_pages(s->memory), cached);
	*rss = cached - *swapped;
}

/* ---- told --------------------------------------------------------------------------------------- */

static int top_place(const struct shm_use *use)
{
	return max(use->top, 0);
}

static long tell_limits(uintptr_t buf)
{
	struct user_shminfo i = {
		.max = READ_ONCE(shm_max),
		.min = SHM_SIZE_MIN,
		.mni = (uint64_t)READ_ONCE(shm_mni),
		.seg = (uint64_t)READ_ONCE(shm_mni),
		.all = READ_ONCE(shm_all),
	};
	struct shm_use use;

	mutex_lock(&shm_mutex);
	use = shm_in_use();
	mutex_unlock(&shm_mutex);
	return COPY_OUT(buf, i) ? -EFAULT : top_place(&use);
}

static long tell_use(uintptr_t buf)
{
	struct user_shm_info i = {0};
	struct shm_use use;

	mutex_lock(&shm_mutex);
	use = shm_in_use();
	i.used_ids = (int)use.segments;
	i.pages = use.pages;
	for (int idx = 0; idx <= use.top; idx++) {
		struct shm_segment *s = shm_at((unsigned)idx);
		uint64_t rss = 0, swapped = 0;

		if (s)
			resident(s, &rss, &swapped);
		i.resident += rss;
		i.swapped += swapped;
	}
	mutex_unlock(&shm_mutex);
	return COPY_OUT(buf, i) ? -EFAULT : top_place(&use);
}

static void fill_shmid(const struct shm_segment *s, struct user_shmid *u)
{
	*u = (struct user_shmid){
		.perm = {.key = s->key, .uid = s->uid, .gid = s->gid, .mode = s->mode, .seq = (uint16_t)s->seq},
		.size = s->size,
		.atime = (int64_t)s->atime,
		.dtime = (int64_t)s->dtime,
		.ctime = (int64_t)s->ctime,
		.cpid = s->cpid,
		.lpid = s->lpid,
		.nattch = s->nattch,
	};
}

/* By identifier, or (SHM_STAT and SHM_STAT_ANY) by place, and then the answer is the identifier. */
static long tell_segment(int id, int cmd, uintptr_t buf)
{
	struct shm_segment *s;
	struct user_shmid u;
	long r;

	mutex_lock(&shm_mutex);
	s = cmd == IPC_STAT ? shm_find(id) : shm_at((unsigned)id % IDX_COUNT);
	r = !s ? -EINVAL : cmd != SHM_STAT_ANY && !shm_permits(s, READ_MODE) ? -EACCES : 0;
	if (!r) {
		fill_shmid(s, &u);
		r = cmd == IPC_STAT ? 0 : s->id;
	}
	mutex_unlock(&shm_mutex);
	return r >= 0 && COPY_OUT(buf, u) ? -EFAULT : r;
}

/* ---- changed ------------------------------------------------------------------------------------ */

static long set_owner(int id, uintptr_t buf)
{
	struct shm_segment *s;
	struct user_shmid u;
	long r;

	if (COPY_IN(u, buf))
		return -EFAULT;
	mutex_lock(&shm_mutex);
	s = shm_find(id);
	r = !s || u.perm.uid == NO_ID || u.perm.gid == NO_ID ? -EINVAL : 0;
	if (!r) {
		s->uid = u.perm.uid;
		s->gid = u.perm.gid;
		s->mode = (s->mode & ~PERMS) | (u.perm.mode & PERMS);
		s->ctime = realtime_ns() / NS_PER_SEC;
	}
	mutex_unlock(&shm_mutex);
	return r;
}

/* Now, or with the last attachment; until then no key leads to it. */
static long remove_segment(int id)
{
	struct shm_segment *s, *gone = NULL;

	mutex_lock(&shm_mutex);
	s = shm_find(id);
	if (s && s->nattch) {
		s->mode |= SHM_DEST;
		shm_forget_key(s);
	} else if (s) {
		shm_take_out(s);
		gone = s;
	}
	mutex_unlock(&shm_mutex);
	shm_put(gone);
	return s ? 0 : -EINVAL;
}

static int may_lock(bool lock)
{
	if (capable(CAP_IPC_LOCK))
		return 0;
	return lock && !rlimit_cur(current->proc, RLIMIT_MEMLOCK) ? -EPERM : 0;
}

static long lock_segment(int id, bool lock)
{
	struct shm_segment *s;
	long r;

	mutex_lock(&shm_mutex);
	s = shm_find(id);
	r = s ? may_lock(lock) : -EINVAL;
	if (!r)
		r = shm_count_locked(s, lock);
	if (!r && !(s->mode & SHM_LOCKED) == lock) {
		s->mode ^= SHM_LOCKED;
		quire_inode_set_unevictable(s->memory, lock);
	}
	mutex_unlock(&shm_mutex);
	return r;
}

SYSCALL3(shmctl, int, id, int, cmd, uintptr_t, buf)
{
	if (id < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
		return tell_limits(buf);
	case SHM_INFO:
		return tell_use(buf);
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY:
		return tell_segment(id, cmd, buf);
	case IPC_SET:
		return set_owner(id, buf);
	case IPC_RMID:
		return remove_segment(id);
	case SHM_LOCK:
	case SHM_UNLOCK:
		return lock_segment(id, cmd == SHM_LOCK);
	default:
		return -EINVAL;
	}
}

/* ---- /proc -------------------------------------------------------------------------------------- */

static void show_shm(struct text *t, struct process *p)
{
	say(t, "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
	       "      atime      dtime      ctime                   rss                  swap\n");
	mutex_lock(&shm_mutex);
	for (int idx = 0; idx <= shm_in_use().top; idx++) {
		struct shm_segment *s = shm_at((unsigned)idx);
		uint64_t rss, swapped;

		if (!s)
			continue;
		resident(s, &rss, &swapped);
		say(t, "%10d %10d  %4o %21llu %5u %5u  %5lu %5u %5u %5u %5u %10llu %10llu %10llu %21llu %21llu\n",
		    s->key, s->id, s->mode, (unsigned long long)s->size, (unsigned)s->cpid, (unsigned)s->lpid,
		    s->nattch, s->uid, s->gid, 0u, 0u, (unsigned long long)s->atime,
		    (unsigned long long)s->dtime, (unsigned long long)s->ctime,
		    (unsigned long long)(rss * PAGE_SIZE), (unsigned long long)(swapped * PAGE_SIZE));
	}
	mutex_unlock(&shm_mutex);
}

static void show_max(struct text *t, struct process *p)
{
	say(t, "%llu\n", (unsigned long long)READ_ONCE(shm_max));
}

static void show_all(struct text *t, struct process *p)
{
	say(t, "%llu\n", (unsigned long long)READ_ONCE(shm_all));
}

static void show_mni(struct text *t, struct process *p)
{
	say(t, "%d\n", READ_ONCE(shm_mni));
}

static void show_rmid_forced(struct text *t, struct process *p)
{
	say(t, "%d\n", READ_ONCE(shm_rmid_forced));
}

/* 0 or -EINVAL, and then *to is as it was. */
static long write_number(uint64_t *to, const char *s, uint64_t most)
{
	uint64_t v;

	if (parse_number(s, &v) || v > most)
		return -EINVAL;
	WRITE_ONCE(*to, v);
	return 0;
}

static long write_max(const char *s, size_t n, struct process *p)
{
	return write_number(&shm_max, s, UINT64_MAX);
}

static long write_all(const char *s, size_t n, struct process *p)
{
	return write_number(&shm_all, s, UINT64_MAX);
}

static long write_mni(const char *s, size_t n, struct process *p)
{
	uint64_t v;
	long err = write_number(&v, s, IDX_COUNT);

	if (!err)
		WRITE_ONCE(shm_mni, (int)v);
	return err;
}

/* From now on segments go with their last attachment, and with who made them: those that nobody has go. */
static long write_rmid_forced(const char *s, size_t n, struct process *p)
{
	struct shm_segment *gone = NULL;
	unsigned idx = 0;
	uint64_t v;
	long err = write_number(&v, s, 1);

	if (err)
		return err;
	WRITE_ONCE(shm_rmid_forced, (int)v);
	while (v) {
		mutex_lock(&shm_mutex);
		gone = shm_take_orphan(&idx);
		mutex_unlock(&shm_mutex);
		if (!gone)
			break;
		shm_put(gone);
	}
	return 0;
}

#define KERNEL "/proc/sys/kernel/"

const struct proc_file shm_files[] = {
	{"/proc/sysvipc/shm", show_shm, NULL, NULL},
	{KERNEL "shmmax", show_max, write_max, NULL},
	{KERNEL "shmall", show_all, write_all, NULL},
	{KERNEL "shmmni", show_mni, write_mni, NULL},
	{KERNEL "shm_rmid_forced", show_rmid_forced, write_rmid_forced, NULL},
	{0},
};
