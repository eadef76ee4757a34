/* SPDX-License-Identifier: MIT */
/*
 * System V's shared memory as an ordinary program uses it. Exit status 0: all as on Linux 5.10. Runs on any
 * Linux too, as root, if nobody else has segments.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096ul
#define KEY  0x51534d31
#define BAD  ((void *)-1)
#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif
#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif
#define STAT_ANY 15

#define FAILS(call, why) CHECK((errno = 0, (call)) == -1 && errno == (why))
#define NO_PLACE(call, why) CHECK((errno = 0, (call)) == BAD && errno == (why))

static int make(size_t size)
{
	int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);

	CHECK(id >= 0);
	return id;
}

static struct shmid_ds told(int id)
{
	struct shmid_ds d;

	memset(&d, 0xee, sizeof(d));
	CHECK(shmctl(id, IPC_STAT, &d) == 0);
	return d;
}

static unsigned long nattch(int id)
{
	return told(id).shm_nattch;
}

static bool is_gone(int id)
{
	struct shmid_ds d;

	return shmctl(id, IPC_STAT, &d) == -1 && errno == EINVAL;
}

/* An identifier that nothing has. */
static int none(void)
{
	int id = make(1);

	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	return id;
}

/* The file's text, up to the room there is. */
static const char *text_of(const char *path)
{
	static char text[16384];
	int fd = open(path, O_RDONLY);
	ssize_t n, at = 0;

	while (fd >= 0 && (n = read(fd, text + at, sizeof(text) - 1 - (size_t)at)) > 0)
		at += n;
	if (fd >= 0)
		close(fd);
	text[at] = 0;
	return text;
}

static unsigned long long number_in(const char *path)
{
	return strtoull(text_of(path), NULL, 10);
}

static int put(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY), ok = fd >= 0 && write(fd, s, strlen(s)) == (ssize_t)strlen(s);

	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

static unsigned long kb_in(const char *path, const char *name)
{
	const char *at = strstr(text_of(path), name);

	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

/* The line of /proc/self/maps of the area at addr, without the addresses; "" if nothing starts there. */
static const char *line_at(const void *addr, size_t *len)
{
	static char line[300];
	char start[40];
	const char *at, *end;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	at = strstr(text_of("/proc/self/maps"), start);
	line[0] = 0;
	if (!at)
		return line;
	end = strchr(at, '\n');
	if (len)
		*len = strtoul(at + strlen(start), NULL, 16) - (unsigned long)addr;
	at = strchr(at, ' ') + 1;
	snprintf(line, sizeof(line), "%.*s", (int)(end - at), at);
	return line;
}

/* ---- getting -------------------------------------------------------------------------------------- */

static void keys_and_sizes(void)
{
	int id = shmget(KEY, 3 * PAGE + 1, IPC_CREAT | IPC_EXCL | 0640), private, another;
	struct shmid_ds d;

	CHECK(id >= 0);
	d = told(id);
	CHECK(d.shm_perm.__key == KEY && d.shm_segsz == 3 * PAGE + 1 && d.shm_perm.mode == 0640);
	CHECK(d.shm_perm.uid == 0 && d.shm_perm.cuid == 0 && d.shm_perm.gid == 0 && d.shm_perm.cgid == 0);
	CHECK(d.shm_cpid == getpid() && d.shm_lpid == 0 && d.shm_nattch == 0);
	CHECK(d.shm_atime == 0 && d.shm_dtime == 0 && labs(d.shm_ctime - time(NULL)) <= 2);
	CHECK(shmget(KEY, 0, 0) == id);
	CHECK(shmget(KEY, 3 * PAGE + 1, IPC_CREAT) == id);
	CHECK(shmget(KEY, 1, IPC_EXCL) == id);
	FAILS(shmget(KEY, 3 * PAGE + 2, 0), EINVAL);
	FAILS(shmget(KEY, 4 * PAGE, IPC_CREAT), EINVAL);
	FAILS(shmget(KEY, 99 * PAGE, IPC_CREAT | IPC_EXCL), EEXIST);
	FAILS(shmget(KEY + 1, PAGE, 0600), ENOENT);
	FAILS(shmget(KEY + 1, PAGE, IPC_EXCL | 0600), ENOENT);
	FAILS(shmget(IPC_PRIVATE, 0, IPC_CREAT), EINVAL);
	FAILS(shmget(KEY + 1, 0, IPC_CREAT), EINVAL);
	FAILS(shmget(IPC_PRIVATE, ULONG_MAX - 4, 0), EINVAL);
	FAILS(shmget(IPC_PRIVATE, 1ul << 63, 0), EINVAL);
	FAILS(shmget(IPC_PRIVATE, 1ul << 50, 0), ENOMEM);
	FAILS(shmget(IPC_PRIVATE, PAGE, SHM_HUGETLB | 5 << 26), EINVAL);
	private = make(1); /* without a key each one is new */
	CHECK(private != id && told(private).shm_perm.__key == 0);
	another = shmget(IPC_PRIVATE, 1, 0);
	CHECK(another >= 0 && another != private && told(another).shm_perm.mode == 0);
	CHECK(shmctl(private, IPC_RMID, NULL) == 0 && shmctl(another, IPC_RMID, NULL) == 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(is_gone(id));
	FAILS(shmget(KEY, 0, 0), ENOENT);
	FAILS(shmctl(id, IPC_RMID, NULL), EINVAL);
}

/* Identifiers go up, place by place, and one that was used comes back with the next round. */
static void identifiers(void)
{
	int first = make(1), id = first, n = 0;

	CHECK(shmctl(first, IPC_RMID, NULL) == 0);
	for (; n < 64; n++) {
		int next = make(1);

		CHECK(next != first);
		CHECK(next == id + 1 || (next & 32767) <= (id & 32767));
		if (next >> 15 != id >> 15)
			CHECK(next >> 15 == (id >> 15) + 1);
		CHECK(shmctl(next, IPC_RMID, NULL) == 0);
		id = next;
	}
	CHECK(id == first + 32768); /* 64 places in a round */
}

static void limits(void)
{
	unsigned long long max = number_in("/proc/sys/kernel/shmmax"), all = number_in("/proc/sys/kernel/shmall");
	struct shminfo i;
	struct shm_info now;
	char text[40];
	int id;

	CHECK(max == ULONG_MAX - (1ul << 24) && all == ULONG_MAX - (1ul << 24));
	CHECK(number_in("/proc/sys/kernel/shmmni") == 4096);
	CHECK(shmctl(0, IPC_INFO, (void *)&i) >= 0);
	CHECK(i.shmmax == max && i.shmall == all && i.shmmin == 1 && i.shmmni == 4096 && i.shmseg == 4096);
	CHECK(put("/proc/sys/kernel/shmmax", "8192\n") == 0);
	FAILS(shmget(IPC_PRIVATE, 8193, 0600), EINVAL);
	id = make(8192);
	CHECK(shmctl(0, SHM_INFO, (void *)&now) >= 0);
	snprintf(text, sizeof(text), "%lu", now.shm_tot + 1);
	CHECK(put("/proc/sys/kernel/shmall", text) == 0);
	FAILS(shmget(IPC_PRIVATE, 4097, 0600), ENOSPC);
	CHECK(shmctl(make(4096), IPC_RMID, NULL) == 0);
	snprintf(text, sizeof(text), "%d", now.used_ids);
	CHECK(put("/proc/sys/kernel/shmmni", text) == 0);
	FAILS(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
	CHECK(shmctl(0, IPC_INFO, (void *)&i) >= 0 && i.shmmax == 8192 && i.shmmni == (unsigned long)now.used_ids);
	FAILS(put("/proc/sys/kernel/shmmni", "40000"), EINVAL);
	CHECK(put("/proc/sys/kernel/shmmni", "4096") == 0);
	snprintf(text, sizeof(text), "%llu", all);
	CHECK(put("/proc/sys/kernel/shmall", text) == 0);
	CHECK(put("/proc/sys/kernel/shmmax", text) == 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

/* ---- attaching ------------------------------------------------------------------------------------ */

static void twice_the_same(void)
{
	int id = make(2 * PAGE + 100);
	char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, 0), *r = shmat(id, NULL, SHM_RDONLY), want[100];
	struct shmid_ds d = told(id);
	size_t len = 0;

	CHECK(a != BAD && b != BAD && r != BAD && a != b);
	CHECK(d.shm_nattch == 3 && d.shm_lpid == getpid() && labs(d.shm_atime - time(NULL)) <= 2 && !d.shm_dtime);
	a[0] = 'x';
	b[3 * PAGE - 1] = 'y';
	CHECK(b[0] == 'x' && r[0] == 'x' && a[3 * PAGE - 1] == 'y' && r[PAGE] == 0);
	snprintf(want, sizeof(want), "rw-s 00000000 00:01 %-5d                      ", id);
	CHECK(!strncmp(line_at(a, &len), want, 24) && len == 3 * PAGE);
	CHECK(strstr(line_at(a, NULL), "/SYSV00000000 (deleted)"));
	CHECK(!strncmp(line_at(r, NULL), "r--s 0000", 9));
	CHECK(mprotect(r, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
	CHECK(shmdt(a) == 0 && shmdt(r) == 0);
	CHECK(b[0] == 'x' && nattch(id) == 1);
	d = told(id);
	CHECK(labs(d.shm_dtime - time(NULL)) <= 2);
	FAILS(shmdt(a), EINVAL);
	FAILS(shmdt(b + 1), EINVAL);
	FAILS(shmdt(b + PAGE), EINVAL);
	CHECK(shmdt(b) == 0 && nattch(id) == 0);
	a = shmat(id, NULL, 0); /* what nobody has attached stays as it is */
	CHECK(a != BAD && a[0] == 'x' && shmdt(a) == 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0 && is_gone(id));
	NO_PLACE(shmat(id, NULL, 0), EINVAL);
	NO_PLACE(shmat(-1, NULL, 0), EINVAL);
}

static void places(void)
{
	int id = make(2 * PAGE);
	char *room = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *a;

	memset(room, 1, 16 * PAGE);
	NO_PLACE(shmat(id, room + 4 * PAGE, 0), EINVAL); /* in use */
	NO_PLACE(shmat(id, room - PAGE, 0), EINVAL);	 /* its second page is */
	NO_PLACE(shmat(id, room + 4 * PAGE + 8, SHM_REMAP), EINVAL);
	NO_PLACE(shmat(id, NULL, SHM_REMAP), EINVAL);
	NO_PLACE(shmat(id, (void *)100, SHM_REMAP | SHM_RND), EINVAL);
	NO_PLACE(shmat(id, (void *)(ULONG_MAX - PAGE + 1), 0), EINVAL);
	NO_PLACE(shmat(id, (void *)(1ul << 62), 0), ENOMEM);
	CHECK(nattch(id) == 0 && room[4 * PAGE] == 1);
	a = shmat(id, room + 4 * PAGE, SHM_REMAP);
	CHECK(a == room + 4 * PAGE && a[0] == 0 && a[2 * PAGE] == 1 && a[-1] == 1 && nattch(id) == 1);
	CHECK(munmap(room + 8 * PAGE, 4 * PAGE) == 0);
	CHECK(shmat(id, room + 9 * PAGE, 0) == room + 9 * PAGE);
	NO_PLACE(shmat(id, room + 9 * PAGE, 0), EINVAL);
	CHECK(shmat(id, room + 9 * PAGE + 77, SHM_REMAP | SHM_RND) == room + 9 * PAGE);
	CHECK(nattch(id) == 2); /* the new one, and the one that it took away */
	CHECK(shmdt(room + 4 * PAGE) == 0 && shmdt(room + 9 * PAGE) == 0 && nattch(id) == 0);
	a = shmat(id, NULL, SHM_EXEC);
	CHECK(a != BAD && !strncmp(line_at(a, NULL), "rwxs", 4));
	CHECK(shmdt(a) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
	munmap(room, 16 * PAGE);
}

/* ---- counting ------------------------------------------------------------------------------------- */

/* Areas are counted: an attachment that is cut in two counts twice, and shmdt takes all that is left of it. */
static void pieces(void)
{
	int id = make(8 * PAGE), other = make(PAGE);
	char *a = shmat(id, NULL, 0), *moved, *room;

	CHECK(a != BAD && nattch(id) == 1);
	CHECK(munmap(a + 3 * PAGE, PAGE) == 0 && nattch(id) == 2);
	CHECK(munmap(a, PAGE) == 0 && nattch(id) == 2); /* the first is shorter now */
	CHECK(mprotect(a + 5 * PAGE, PAGE, PROT_READ) == 0 && nattch(id) == 4);
	CHECK(mprotect(a + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0 && nattch(id) == 4); /* never merged */
	CHECK(shmat(other, a + 3 * PAGE, 0) == a + 3 * PAGE); /* in the gap */
	a[2 * PAGE] = 'k';
	CHECK(shmdt(a + PAGE) == -1 && errno == EINVAL);
	CHECK(shmdt(a) == 0 && nattch(id) == 0 && nattch(other) == 1);
	CHECK(shmdt(a + 3 * PAGE) == 0 && nattch(other) == 0);
	FAILS(shmdt(a), EINVAL);

	/* What was moved away is found where it would begin. */
	a = shmat(id, NULL, 0);
	room = mmap(NULL, 32 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a[2 * PAGE] == 'k');
	moved = mremap(a + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE);
	CHECK(moved == room + 8 * PAGE && moved[0] == 'k' && nattch(id) == 3);
	CHECK(shmdt(moved - 2 * PAGE) == 0 && nattch(id) == 2);
	CHECK(shmdt(a) == 0 && nattch(id) == 0);
	/* Moved as a whole: one comes, one goes. */
	a = shmat(id, NULL, 0);
	moved = mremap(a, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE);
	CHECK(moved == room + 8 * PAGE && nattch(id) == 1);
	FAILS(shmdt(a), EINVAL);
	CHECK(mremap(moved, 8 * PAGE, 4 * PAGE, 0) == moved && nattch(id) == 1);
	CHECK(shmdt(moved) == 0 && nattch(id) == 0);
	/* Grown past the end: the rest is nowhere in the segment, and goes with it. */
	a = shmat(id, NULL, 0);
	moved = mremap(a, 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	CHECK(moved == room && nattch(id) == 1);
	CHECK(shmdt(moved) == 0 && nattch(id) == 0);
	CHECK(mprotect(room + 20 * PAGE, PAGE, PROT_READ) == 0 && mprotect(room, PAGE, PROT_READ) == -1);
	munmap(room, 32 * PAGE);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0 && shmctl(other, IPC_RMID, NULL) == 0);
}

static void removed_while_attached(void)
{
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600), again;
	char *a = shmat(id, NULL, 0), *b;
	struct shmid_ds d;

	a[5] = 'z';
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	d = told(id);
	CHECK(d.shm_perm.__key == IPC_PRIVATE && d.shm_perm.mode == (0600 | SHM_DEST) && d.shm_nattch == 1);
	CHECK(strstr(line_at(a, NULL), "/SYSV51534d31 (deleted)"));
	FAILS(shmget(KEY, 0, 0), ENOENT);
	again = shmget(KEY, PAGE, IPC_CREAT | 0600); /* the key is free */
	CHECK(again >= 0 && again != id);
	b = shmat(id, NULL, 0); /* it can still be attached by its number */
	CHECK(b != BAD && b[5] == 'z');
	CHECK(shmctl(id, IPC_RMID, NULL) == 0); /* once more does no harm */
	CHECK(shmdt(a) == 0 && b[5] == 'z' && nattch(id) == 1);
	CHECK(munmap(b, PAGE) == 0 && is_gone(id)); /* by munmap as well */
	CHECK(shmctl(again, IPC_RMID, NULL) == 0 && is_gone(again));
}

/* Runs f in a child, and what it answers. */
static int in_child(int (*f)(int id, char *a), int id, char *a)
{
	int pid = fork();

	if (!pid) {
		failures = 0;
		_exit(f(id, a));
	}
	return status_of(pid);
}

static int counts_two(int id, char *a)
{
	a[0] = 'c';
	return nattch(id) == 2 && told(id).shm_lpid == getppid() ? shmdt(a) || nattch(id) != 1 : 9;
}

static int just_ends(int id, char *a)
{
	return nattch(id) != 2;
}

static int runs_another(int id, char *a)
{
	char number[20];

	snprintf(number, sizeof(number), "%d", id);
	execl("/proc/self/exe", "shm", "attached-once", number, NULL);
	return 10;
}

static int is_killed(int id, char *a)
{
	raise(SIGKILL);
	return 0;
}

static void processes(void)
{
	int id = make(2 * PAGE), pid;
	char *a = shmat(id, NULL, 0);

	CHECK(in_child(counts_two, id, a) == 0 && a[0] == 'c' && nattch(id) == 1);
	CHECK(told(id).shm_lpid != getpid()); /* the child detached it */
	CHECK(in_child(just_ends, id, a) == 0 && nattch(id) == 1);
	CHECK(in_child(is_killed, id, a) == 256 + SIGKILL && nattch(id) == 1);
	CHECK(in_child(runs_another, id, a) == 0 && nattch(id) == 1);
	CHECK(madvise(a, PAGE, MADV_DONTFORK) == 0 && nattch(id) == 2);
	pid = fork();
	if (!pid)
		_exit(nattch(id) == 3 ? 0 : 1); /* one piece of two */
	CHECK(status_of(pid) == 0 && nattch(id) == 2);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	pid = fork();
	if (!pid) {
		usleep(50000);
		_exit(a[PAGE] != 0);
	}
	CHECK(shmdt(a) == 0 && !is_gone(id)); /* the child has it */
	CHECK(status_of(pid) == 0 && is_gone(id));
}

/* ---- rights --------------------------------------------------------------------------------------- */

/* Without the capabilities of this mask the owner's bits count, even for root. */
static int drop(uint64_t caps)
{
	struct {
		uint32_t version;
		int pid;
	} head = {0x20080522, 0};
	struct {
		uint32_t effective, permitted, inheritable;
	} data[2];

	if (syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~(uint32_t)caps;
	data[1].effective &= ~(uint32_t)(caps >> 32);
	return (int)syscall(SYS_capset, &head, data);
}

static int is_refused(int id, char *a)
{
	struct shmid_ds d;

	(void)a;
	CHECK(drop(1ull << 15 /* CAP_IPC_OWNER */) == 0);
	NO_PLACE(shmat(id, NULL, 0), EACCES);
	NO_PLACE(shmat(id, NULL, SHM_RDONLY | SHM_EXEC), EACCES);
	CHECK((a = shmat(id, NULL, SHM_RDONLY)) != BAD && shmdt(a) == 0);
	CHECK(shmget(KEY, PAGE, 0400) == id);
	CHECK(shmget(KEY, PAGE, 0040) == id); /* of any third of the mode */
	FAILS(shmget(KEY, PAGE, 0200), EACCES);
	FAILS(shmget(KEY, PAGE, IPC_CREAT | 0002), EACCES);
	FAILS(shmget(KEY, 2 * PAGE, 0200), EINVAL); /* its size is looked at first */
	CHECK(shmctl(id, IPC_STAT, &d) == 0);
	d.shm_perm.mode = 0200;
	CHECK(shmctl(id, IPC_SET, &d) == 0);
	FAILS(shmctl(id, IPC_STAT, &d), EACCES);
	NO_PLACE(shmat(id, NULL, SHM_RDONLY), EACCES);
	FAILS(shmctl(id & 32767, SHM_STAT, &d), EACCES);
	CHECK(shmctl(id & 32767, STAT_ANY, &d) == id && d.shm_perm.mode == 0200);
	return failures;
}

static int may_not_lock(int id, char *a)
{
	struct rlimit lim = {2 * PAGE, 2 * PAGE}, none_at_all = {0, 0};
	int small = make(2 * PAGE), one = make(1);

	(void)a;
	CHECK(drop(1ull << 14 /* CAP_IPC_LOCK */) == 0);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &lim) == 0);
	FAILS(shmctl(id, SHM_LOCK, NULL), ENOMEM); /* three pages */
	CHECK(shmctl(small, SHM_LOCK, NULL) == 0);
	FAILS(shmctl(one, SHM_LOCK, NULL), ENOMEM);
	CHECK(shmctl(small, SHM_LOCK, NULL) == 0);
	CHECK(shmctl(small, SHM_UNLOCK, NULL) == 0);
	CHECK(shmctl(one, SHM_LOCK, NULL) == 0 && told(one).shm_perm.mode == (0600 | SHM_LOCKED));
	CHECK(shmctl(one, IPC_RMID, NULL) == 0); /* which gives back what it counted */
	CHECK(shmctl(small, SHM_LOCK, NULL) == 0 && shmctl(small, SHM_UNLOCK, NULL) == 0);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &none_at_all) == 0);
	FAILS(shmctl(small, SHM_LOCK, NULL), EPERM);
	CHECK(shmctl(small, SHM_UNLOCK, NULL) == 0);
	CHECK(shmctl(small, IPC_RMID, NULL) == 0);
	return failures;
}

static void rights(void)
{
	int id = shmget(KEY, PAGE, IPC_CREAT | 0444), three = make(3 * PAGE), gone = none();
	struct shmid_ds d = told(id), before = d;

	CHECK(in_child(is_refused, id, NULL) == 0);
	d.shm_perm.uid = 12;
	d.shm_perm.gid = 34;
	d.shm_perm.mode = 0xfffff;
	d.shm_segsz = 17;
	CHECK(shmctl(id, IPC_SET, &d) == 0);
	d = told(id);
	CHECK(d.shm_perm.uid == 12 && d.shm_perm.gid == 34 && d.shm_perm.cuid == 0 && d.shm_perm.mode == 0777);
	CHECK(d.shm_segsz == PAGE && d.shm_ctime >= before.shm_ctime);
	d.shm_perm.uid = (uid_t)-1;
	FAILS(shmctl(id, IPC_SET, &d), EINVAL);
	FAILS(shmctl(id, IPC_SET, NULL), EFAULT);
	FAILS(shmctl(id, IPC_STAT, (void *)8), EFAULT);
	FAILS(shmctl(gone, IPC_SET, NULL), EFAULT); /* what is set comes first */
	FAILS(shmctl(gone, IPC_SET, &d), EINVAL);
	FAILS(shmctl(gone, SHM_LOCK, NULL), EINVAL);
	FAILS(shmctl(id, 99, NULL), EINVAL);
	FAILS(shmctl(-1, IPC_STAT, &d), EINVAL);
	FAILS(shmctl(-1, IPC_INFO, &d), EINVAL);
	FAILS(shmctl(0, IPC_INFO, NULL), EFAULT);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(in_child(may_not_lock, three, NULL) == 0);
	CHECK(shmctl(three, IPC_RMID, NULL) == 0);
}

/* ---- what is shown -------------------------------------------------------------------------------- */

static void shown(void)
{
	int id = shmget(KEY, 3 * PAGE - 5, IPC_CREAT | 0600), other = make(5 * PAGE), n;
	char *a = shmat(id, NULL, 0), want[400];
	struct shm_info i;
	struct shmid_ds d;
	const char *text, *line;

	a[0] = a[PAGE] = 1;
	text = text_of("/proc/sysvipc/shm");
	CHECK(!strncmp(text, "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      "
			     "atime      dtime      ctime                   rss                  swap\n", 154));
	d = told(id);
	snprintf(want, sizeof(want), "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10lu %10lu %10lu %21lu %21lu\n", KEY,
		 id, 0600, 3 * PAGE - 5, getpid(), getpid(), 1ul, 0, 0, 0, 0, d.shm_atime, 0ul, d.shm_ctime, 2 * PAGE, 0ul);
	line = strstr(text, want);
	CHECK(line);
	snprintf(want, sizeof(want), "%10d %10d  %4o %21lu %5u %5u  %5lu ", 0, other, 0600, 5 * PAGE, getpid(), 0, 0ul);
	CHECK(strstr(text, want));
	n = shmctl(0, SHM_INFO, (void *)&i);
	CHECK(n >= (other & 32767) && i.used_ids >= 2 && i.shm_tot >= 8 && i.shm_rss >= 2 && i.shm_swp == 0);
	CHECK(i.swap_attempts == 0 && i.swap_successes == 0);
	CHECK(shmctl(0, IPC_INFO, (void *)want) == n);
	CHECK(shmctl(id & 32767, SHM_STAT, &d) == id && d.shm_perm.__key == KEY && d.shm_segsz == 3 * PAGE - 5);
	CHECK(d.shm_perm.__seq == id >> 15);
	FAILS(shmctl(n + 1, SHM_STAT, &d), EINVAL);
	CHECK(shmctl(other, IPC_RMID, NULL) == 0 && shmdt(a) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(!strchr(strchr(text_of("/proc/sysvipc/shm"), '\n') + 1, '\n'));
	CHECK(shmctl(0, SHM_INFO, (void *)&i) == 0 && i.used_ids == 0 && i.shm_tot == 0);
}

/* ---- memory --------------------------------------------------------------------------------------- */

static unsigned long committed(void)
{
	return kb_in("/proc/meminfo", "Committed_AS:") / 4;
}

/* Some pages more or fewer are of others. */
static bool about(unsigned long is, unsigned long want)
{
	return is + 200 > want && is < want + 200;
}

static void commitment(void)
{
	unsigned long before = committed();
	int id = make(3000 * PAGE), free_of_charge;
	char *a;

	CHECK(about(committed(), before + 3000)); /* at once, whoever attaches it */
	a = shmat(id, NULL, 0);
	CHECK(a != BAD && about(committed(), before + 3000));
	free_of_charge = shmget(IPC_PRIVATE, 3000 * PAGE, SHM_NORESERVE | 0600);
	CHECK(free_of_charge >= 0 && about(committed(), before + 3000));
	CHECK(shmctl(id, IPC_RMID, NULL) == 0 && about(committed(), before + 3000));
	CHECK(shmdt(a) == 0 && about(committed(), before));
	CHECK(shmctl(free_of_charge, IPC_RMID, NULL) == 0);
}

/* A first write to a shared page counts as major on 5.10, for it looks twice. */
static long faults(const struct rusage *u)
{
	return u->ru_minflt + u->ru_majflt;
}

/* Holes are zeros, and what is behind the end is a bus error, as of any file. */
static void contents(void)
{
	int id = make(4 * PAGE), pid;
	char *a = shmat(id, NULL, 0);
	struct rusage u1, u2;

	CHECK(getrusage(RUSAGE_SELF, &u1) == 0);
	memset(a, 7, 4 * PAGE);
	CHECK(getrusage(RUSAGE_SELF, &u2) == 0);
	CHECK(faults(&u2) - faults(&u1) == 4); /* none maps its neighbours, which other shared memory's do */
	pid = fork();
	if (!pid) {
		volatile char *v = a;

		failures = 0;
		CHECK(getrusage(RUSAGE_SELF, &u1) == 0);
		for (int i = 0; i < 4; i++)
			CHECK(v[(unsigned long)i * PAGE] == 7);
		CHECK(getrusage(RUSAGE_SELF, &u2) == 0);
		CHECK(faults(&u2) - faults(&u1) == 4);
		_exit(failures);
	}
	CHECK(status_of(pid) == 0);
	CHECK(madvise(a + PAGE, PAGE, MADV_REMOVE) == 0 && a[PAGE] == 0 && a[2 * PAGE] == 7);
	CHECK(madvise(a, 4 * PAGE, MADV_DONTNEED) == 0 && a[0] == 7);
	pid = fork();
	if (!pid) {
		char *b = mremap(a, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE);

		b[3 * PAGE] = 1;
		b[4 * PAGE] = 1;
		_exit(0);
	}
	CHECK(status_of(pid) == 256 + SIGBUS && a[3 * PAGE] == 1);
	CHECK(shmdt(a) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

/* New pages of a locked segment lie where no scan looks at them, without being mlocked, until it is unlocked. */
static void locked_pages(void)
{
	unsigned long before = kb_in("/proc/meminfo", "Unevictable:"), mlocked = kb_in("/proc/meminfo", "Mlocked:");
	int id = make(600 * PAGE);
	char *a = shmat(id, NULL, 0);

	CHECK(shmctl(id, SHM_LOCK, NULL) == 0 && told(id).shm_perm.mode == (0600 | SHM_LOCKED));
	memset(a, 3, 600 * PAGE);
	CHECK(kb_in("/proc/meminfo", "Unevictable:") >= before + 2200); /* batches may be on their way */
	CHECK(kb_in("/proc/meminfo", "Mlocked:") <= mlocked + 100);
	CHECK(madvise(a, 600 * PAGE, MADV_PAGEOUT) == 0);
	CHECK(shmctl(id, SHM_UNLOCK, NULL) == 0 && told(id).shm_perm.mode == 0600);
	CHECK(kb_in("/proc/meminfo", "Unevictable:") <= before + 200);
	CHECK(a[599 * PAGE] == 3);
	CHECK(shmctl(id, SHM_LOCK, NULL) == 0);
	CHECK(shmdt(a) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(kb_in("/proc/meminfo", "Unevictable:") <= before + 200);
}

/* ---- with who made it ----------------------------------------------------------------------------- */

static void *makes_one(void *arg)
{
	*(int *)arg = make(PAGE);
	return NULL;
}

static void rmid_forced(void)
{
	int kept = make(PAGE), of_thread = -1, of_child[2], p[2], pid;
	pthread_t thread;

	CHECK(number_in("/proc/sys/kernel/shm_rmid_forced") == 0);
	CHECK(pthread_create(&thread, NULL, makes_one, &of_thread) == 0 && pthread_join(thread, NULL) == 0);
	CHECK(!is_gone(of_thread));
	usleep(20000); /* the thread's end may be told before its last step */
	CHECK(put("/proc/sys/kernel/shm_rmid_forced", "1") == 0);
	CHECK(is_gone(of_thread)); /* nobody's; and this thread's own is still somebody's */
	CHECK(!is_gone(kept));
	CHECK(pipe(p) == 0);
	pid = fork();
	if (!pid) {
		failures = 0;
		of_child[0] = make(PAGE);
		of_child[1] = make(PAGE);
		CHECK(shmat(of_child[0], NULL, 0) != BAD);
		CHECK(write(p[1], of_child, sizeof(of_child)) == sizeof(of_child));
		_exit(failures);
	}
	CHECK(read(p[0], of_child, sizeof(of_child)) == sizeof(of_child) && status_of(pid) == 0);
	CHECK(is_gone(of_child[0]) && is_gone(of_child[1]));
	CHECK(shmdt(shmat(kept, NULL, 0)) == 0 && is_gone(kept)); /* with the last attachment */
	FAILS(put("/proc/sys/kernel/shm_rmid_forced", "2"), EINVAL);
	CHECK(put("/proc/sys/kernel/shm_rmid_forced", "0") == 0);
	close(p[0]);
	close(p[1]);
}

/* ---- several at once ------------------------------------------------------------------------------ */

#define THREADS 4

static int shared_id, rounds = 300;

static void *attaches(void *arg)
{
	uint64_t x = (uintptr_t)arg;

	for (int i = 0; i < rounds; i++) {
		int own = shmget(IPC_PRIVATE, PAGE, 0600);
		char *a = shmat(shared_id, NULL, 0), *b = shmat(own, NULL, 0);

		x = mix(x + 1);
		if (a == BAD || b == BAD || shmctl(own, IPC_RMID, NULL))
			return (void *)1;
		a[x % PAGE] = 1;
		b[x % PAGE] = 1;
		if (x & 1 ? shmdt(b) : munmap(b, PAGE))
			return (void *)2;
		if (!is_gone(own) || shmdt(a))
			return (void *)3;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[THREADS];
	void *r;

	shared_id = make(PAGE);
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, attaches, (void *)(i * 1000 + 1)) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], &r) == 0 && r == NULL);
	CHECK(nattch(shared_id) == 0);
	CHECK(shmctl(shared_id, IPC_RMID, NULL) == 0);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "attached-once")) /* exec took the other one away */
		return nattch(atoi(argv[2])) != 1;
	if (argc == 2 && !strcmp(argv[1], "few")) /* each call is checked */
		rounds = 5;
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	identifiers();
	keys_and_sizes();
	limits();
	twice_the_same();
	places();
	pieces();
	removed_while_attached();
	processes();
	rights();
	shown();
	commitment();
	contents();
	locked_pages();
	rmid_forced();
	threads();
	printf(failures ? "%d checks failed\n" : "shm: all as expected\n", failures);
	return failures != 0;
}
