/* SPDX-License-Identifier: MIT */
/*
 * System V's shared memory: segments, their numbers, and what attaches them. shmctl and /proc are in shm_ctl.c,
 * docs/shm.md tells it as a whole.
 *
 *   shmget   a segment: memory of the core's without a name (quire_shmem_create), and a place in the table
 *   shmat    a file of its own over that memory, mapped; the file names the segment
 *   shmdt    what is left of that mapping goes
 *
 * Attachments are counted by areas, as 5.10 does: the core says when an area of such a file comes (mapped,
 * forked, cut in two) and goes. A segment that was removed goes with its last area.
 *
 * Identifiers are 5.10's: places in the table are given out in a circle, so that an identifier is not met again
 * soon, and each round has the next sequence number in front.
 *
 * Locks: mmap_lock -> shm_mutex -> what an allocation takes. Nothing touches user memory or a space with
 * shm_mutex held, and the last reference of a segment is dropped without it.
 */
#include "kernel/ipc/shm.h"
#include "lib/mutex.h"

#define CHUNK	     512u /* places of the table that are allocated together: a page */
#define CYCLE_MIN    64u  /* places that are gone through before one is used again, as in 5.10 */
#define KEY_BUCKETS  256u
#define MODE_PERMS   0777u
#define BYTES_MAX    (uint64_t)INT64_MAX

DEFINE_MUTEX(shm_mutex);
uint64_t shm_max, shm_all;
int shm_mni, shm_rmid_forced;
/* shm_mutex */
static struct shm_segment **table[IDX_COUNT / CHUNK];
static struct list_head keys[KEY_BUCKETS];
static struct shm_use in_use;
static unsigned next_idx, seq;
static int last_idx;
static uint64_t locked_pages; /* root's, by SHM_LOCK */

void shm_init(void)
{
	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < KEY_BUCKETS; i++)
		INIT_LIST_HEAD(&keys[i]);
	in_use = (struct shm_use){.top = -1};
	next_idx = seq = 0;
	last_idx = -1;
	locked_pages = 0;
	shm_max = shm_all = UINT64_MAX - (1ul << 24);
	shm_mni = 4096;
	shm_rmid_forced = 0;
}

/* ---- the table ---------------------------------------------------------------------------------- */

struct shm_use shm_in_use(void)
{
	assert_mutex_held(&shm_mutex);
	return in_use;
}

struct shm_segment *shm_at(unsigned idx)
{
	assert_mutex_held(&shm_mutex);
	return idx < IDX_COUNT && table[idx / CHUNK] ? table[idx / CHUNK][idx % CHUNK] : NULL;
}

struct shm_segment *shm_find(int id)
{
	struct shm_segment *s = id < 0 ? NULL : shm_at((unsigned)id % IDX_COUNT);

	return s && s->id == id ? s : NULL;
}

/* A free place of [from, end). -1: none. */
static int free_place(unsigned from, unsigned end)
{
	for (; from < end; from++)
		if (!shm_at(from))
			return (int)from;
	return -1;
}

/* Where the next segment goes, which is noted only by enter(): the circle is longer by half than what is in use. */
static int choose_place(void)
{
	unsigned end = min(max(in_use.segments * 3 / 2, CYCLE_MIN), IDX_COUNT);
	int idx = free_place(next_idx, end);

	assert_mutex_held(&shm_mutex);
	return idx < 0 ? free_place(0, min(next_idx, end)) : idx;
}

/* The sequence number that it has there. */
static unsigned seq_at(int idx)
{
	return idx <= last_idx ? (seq + 1) % SEQ_COUNT : seq;
}

static struct list_head *bucket(int key)
{
	return &keys[(unsigned)key * 2654435761u >> 24];
}

static struct shm_segment *find_key(int key)
{
	struct shm_segment *s;

	assert_mutex_held(&shm_mutex);
	list_for_each_entry(s, bucket(key), by_key)
		if (s->key == key)
			return s;
	return NULL;
}

void shm_forget_key(struct shm_segment *s)
{
	assert_mutex_held(&shm_mutex);
	if (s->key != IPC_PRIVATE)
		list_del(&s->by_key);
	s->key = IPC_PRIVATE;
}

/* 0 or -ENOMEM. */
static int make_room(int idx)
{
	struct shm_segment ***chunk = &table[(unsigned)idx / CHUNK];

	assert_mutex_held(&shm_mutex);
	if (!*chunk)
		*chunk = quire_kmalloc(CHUNK * sizeof(**chunk), QUIRE_GFP_KERNEL | QUIRE_GFP_ZERO);
	return *chunk ? 0 : -ENOMEM;
}

/* There is room for it. The table has the reference that it was made with. */
static void enter(struct shm_segment *s)
{
	unsigned idx = (unsigned)s->id % IDX_COUNT;

	assert_mutex_held(&shm_mutex);
	table[idx / CHUNK][idx % CHUNK] = s;
	next_idx = idx + 1;
	last_idx = (int)idx;
	seq = s->seq;
	if (s->key != IPC_PRIVATE)
		list_add(&s->by_key, bucket(s->key));
	in_use.segments++;
	in_use.pages += shm_pages(s);
	in_use.top = max(in_use.top, (int)idx);
}

void shm_take_out(struct shm_segment *s)
{
	unsigned idx = (unsigned)s->id % IDX_COUNT;

	assert_mutex_held(&shm_mutex);
	ASSERT(shm_at(idx) == s && !s->nattch);
	table[idx / CHUNK][idx % CHUNK] = NULL;
	shm_forget_key(s);
	(void)shm_count_locked(s, false);
	in_use.segments--;
	in_use.pages -= shm_pages(s);
	while (in_use.top >= 0 && !shm_at((unsigned)in_use.top))
		in_use.top--;
}

void shm_put(struct shm_segment *s)
{
	if (!s || !atomic_dec_and_test(&s->refs))
		return;
	quire_inode_put(s->memory);
	quire_kfree(s);
}

/* ---- rights and limits -------------------------------------------------------------------------- */

bool shm_permits(const struct shm_segment *s, unsigned mode)
{
	unsigned wanted = mode >> 6 | mode >> 3 | mode;

	assert_mutex_held(&shm_mutex);
	/* Everybody is root, who made it: the owner's bits count. */
	return !(wanted & ~(s->mode >> 6) & 7) || capable(CAP_IPC_OWNER);
}

int shm_count_locked(struct shm_segment *s, bool lock)
{
	uint64_t most;

	assert_mutex_held(&shm_mutex);
	if (s->locked == lock)
		return 0;
	most = lock ? rlimit_cur(current->proc, RLIMIT_MEMLOCK) : 0;
	if (lock && most != RLIM_INFINITY && locked_pages + shm_pages(s) > most / PAGE_SIZE &&
	    !capable(CAP_IPC_LOCK))
		return -ENOMEM;
	locked_pages += lock ? shm_pages(s) : -shm_pages(s);
	s->locked = lock;
	return 0;
}

/* It goes by itself, as nobody has it attached. */
static bool may_go(const struct shm_segment *s)
{
	assert_mutex_held(&shm_mutex);
	return !s->nattch && (shm_rmid_forced || s->mode & SHM_DEST);
}

struct shm_segment *shm_take_orphan(unsigned *idx)
{
	assert_mutex_held(&shm_mutex);
	for (; (int)*idx <= in_use.top; ++*idx) {
		struct shm_segment *s = shm_at(*idx);

		if (!s || s->creator || !may_go(s))
			continue;
		shm_take_out(s);
		return s;
	}
	return NULL;
}

/* One attachment fewer; out of the table, if that was the last: then it is returned for shm_put(). */
static struct shm_segment *detached(struct shm_segment *s)
{
	assert_mutex_held(&shm_mutex);
	ASSERT(s->nattch);
	s->nattch--;
	if (!may_go(s))
		return NULL;
	shm_take_out(s);
	return s;
}

void shm_exit_task(struct task *t)
{
	struct shm_segment *s;
	bool go;

	if (!t->made_shm)
		return;
	for (unsigned idx = 0;; idx++) {
		mutex_lock(&shm_mutex);
		for (; (int)idx <= in_use.top; idx++)
			if ((s = shm_at(idx)) != NULL && s->creator == t)
				break;
		if ((int)idx > in_use.top)
			break;
		s->creator = NULL;
		go = shm_rmid_forced && may_go(s);
		if (go)
			shm_take_out(s);
		mutex_unlock(&shm_mutex);
		if (go)
			shm_put(s);
	}
	mutex_unlock(&shm_mutex);
}

void shm_exit(void)
{
	for (unsigned idx = 0; idx < IDX_COUNT; idx++) {
		struct shm_segment *s;

		mutex_lock(&shm_mutex);
		s = shm_at(idx);
		if (s)
			shm_take_out(s);
		mutex_unlock(&shm_mutex);
		shm_put(s);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		quire_kfree(table[i]);
	memset(table, 0, sizeof(table));
}

/* ---- areas that map one ------------------------------------------------------------------------- */

static void area_opened(struct quire_file *file)
{
	struct shm_segment *s = quire_file_private(file);

	mutex_lock(&shm_mutex);
	s->atime = realtime_ns() / NS_PER_SEC;
	s->lpid = current->proc ? current->proc->pid : 0;
	s->nattch++;
	mutex_unlock(&shm_mutex);
}

static void area_closed(struct quire_file *file)
{
	struct shm_segment *s = quire_file_private(file), *last;

	mutex_lock(&shm_mutex);
	s->dtime = realtime_ns() / NS_PER_SEC;
	s->lpid = current->proc ? current->proc->pid : 0;
	last = detached(s);
	mutex_unlock(&shm_mutex);
	shm_put(last);
}

static void file_released(struct quire_file *file)
{
	shm_put(quire_file_private(file));
}

static const struct quire_area_ops shm_area_ops = {
	.open = area_opened,
	.close = area_closed,
	.release = file_released,
};

/* ---- shmget ------------------------------------------------------------------------------------- */

/* What is wrong with a new segment of that size; 0: nothing. */
static int check_size(uint64_t size, int flags)
{
	uint64_t pages = size / PAGE_SIZE + !!(size % PAGE_SIZE), all = READ_ONCE(shm_all);
	unsigned huge = (unsigned)flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

	assert_mutex_held(&shm_mutex);
	if (size < SHM_SIZE_MIN || size > READ_ONCE(shm_max))
		return -EINVAL;
	if (in_use.pages + pages < pages || in_use.pages + pages > all)
		return -ENOSPC;
	if (flags & SHM_HUGETLB) /* of sizes that there are the pool is empty, as for mmap */
		return huge && huge != 21 && huge != 30 ? -EINVAL : -ENOMEM;
	return size > BYTES_MAX ? -EINVAL : 0;
}

/* What it is called in maps, and its memory, for the place that it is going to have. 0 or an errno. */
static int fill(struct shm_segment *s, int key, uint64_t size, int flags)
{
	int idx = choose_place();

	assert_mutex_held(&shm_mutex);
	s->key = key;
	s->size = size;
	s->mode = (unsigned)flags & MODE_PERMS;
	s->seq = idx < 0 ? 0 : seq_at(idx);
	s->id = idx < 0 ? 0 : (int)(s->seq << IDX_BITS) + idx;
	s->cpid = current->proc->pid;
	s->ctime = realtime_ns() / NS_PER_SEC;
	s->creator = current;
	scnprintf(s->path, sizeof(s->path), "/SYSV%08x (deleted)", (unsigned)key);
	s->memory = quire_shmem_create(current->proc->mm, size, flags & SHM_NORESERVE, (uint64_t)s->id);
	if (!s->memory)
		return -ENOMEM;
	if (idx < 0 || in_use.segments >= (unsigned)READ_ONCE(shm_mni))
		return -ENOSPC;
	return make_room(idx);
}

static long new_segment(int key, uint64_t size, int flags)
{
	struct shm_segment *s;
	int err = check_size(size, flags);

	assert_mutex_held(&shm_mutex);
	if (err)
		return err;
	s = quire_kmalloc(sizeof(*s), QUIRE_GFP_KERNEL | QUIRE_GFP_ZERO);
	if (!s)
		return -ENOMEM;
	atomic_set(&s->refs, 1);
	err = fill(s, key, size, flags);
	if (err) {
		quire_inode_put(s->memory);
		quire_kfree(s);
		return err;
	}
	enter(s);
	current->made_shm = true;
	return s->id;
}

static long get_segment(int key, uint64_t size, int flags)
{
	struct shm_segment *s = key == IPC_PRIVATE ? NULL : find_key(key);

	assert_mutex_held(&shm_mutex);
	if (!s)
		return key == IPC_PRIVATE || flags & IPC_CREAT ? new_segment(key, size, flags) : -ENOENT;
	if (flags & IPC_CREAT && flags & IPC_EXCL)
		return -EEXIST;
	if (s->size < size)
		return -EINVAL;
	return shm_permits(s, (unsigned)flags) ? s->id : -EACCES;
}

SYSCALL3(shmget, int, key, size_t, size, int, flags)
{
	long r;

	mutex_lock(&shm_mutex);
	r = get_segment(key, size, flags);
	mutex_unlock(&shm_mutex);
	return r;
}

/* ---- shmat, shmdt ------------------------------------------------------------------------------- */

/* One attachment of it more, for the time of the call: the segment, or an errno. */
static int attach_begin(int id, unsigned mode, struct shm_segment **out)
{
	struct shm_segment *s;
	int err = 0;

	mutex_lock(&shm_mutex);
	s = shm_find(id);
	if (!s)
		err = -EINVAL;
	else if (!shm_permits(s, mode))
		err = -EACCES;
	else
		s->nattch++;
	mutex_unlock(&shm_mutex);
	*out = s;
	return err;
}

static void attach_end(struct shm_segment *s)
{
	struct shm_segment *last;

	mutex_lock(&shm_mutex);
	last = detached(s);
	mutex_unlock(&shm_mutex);
	shm_put(last);
}

/* The place that a call asks for, rounded. 0 or -EINVAL. */
static int attach_place(uintptr_t *addr, int flags)
{
	if (!*addr)
		return flags & SHM_REMAP ? -EINVAL : 0;
	if (*addr % PAGE_SIZE && !(flags & SHM_RND))
		return -EINVAL;
	*addr &= PAGE_MASK;
	return !*addr && flags & SHM_REMAP ? -EINVAL : 0;
}

static long attach_file(struct shm_segment *s, uintptr_t addr, bool fixed, int flags)
{
	unsigned long prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
	unsigned long map = MAP_SHARED | (fixed ? MAP_FIXED : 0);
	struct quire_mm *mm = current->proc->mm;
	struct quire_file *qf;
	bool empty = addr && !(flags & SHM_REMAP); /* it has to be, there */
	long r;

	if (empty && (addr + s->size < addr || !quire_mm_range_free(mm, addr, s->size)))
		return -EINVAL;
	qf = quire_file_open_counted(s->memory, QUIRE_FMODE_READ | (flags & SHM_RDONLY ? 0 : QUIRE_FMODE_WRITE),
				     s->path, &shm_area_ops, s);
	if (!qf)
		return -ENOMEM;
	atomic_inc(&s->refs); /* the file's */
	r = quire_mmap(mm, addr, s->size, implied_prot(prot), map | (empty ? MAP_FIXED_NOREPLACE : 0), qf, 0);
	quire_file_put(qf);
	return r == -EEXIST ? -EINVAL : r; /* another thread was faster */
}

SYSCALL3(shmat, int, id, uintptr_t, addr, int, flags)
{
	unsigned mode = 0444u | (flags & SHM_RDONLY ? 0 : 0222u) | (flags & SHM_EXEC ? 0111u : 0);
	bool fixed = addr != 0;
	struct shm_segment *s;
	long r;

	if (id < 0)
		return -EINVAL;
	r = attach_place(&addr, flags);
	if (!r)
		r = attach_begin(id, mode, &s);
	if (r)
		return r;
	r = attach_file(s, addr, fixed, flags);
	attach_end(s);
	return r;
}

SYSCALL1(shmdt, uintptr_t, addr)
{
	return quire_munmap_pieces(current->proc->mm, addr, &shm_area_ops);
}
