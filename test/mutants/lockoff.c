/* SPDX-License-Identifier: MIT */
/*
 * The host's side of lockoff.h, appended to lib/lockdep.c in the copy that locks.py makes. Told by the
 * environment: LOCK_OFF is the number of the place that takes nothing; LOCK_OFF_REACHED a file with a
 * byte for each place, set when it is passed; LOCK_OFF_SAID a file for what assertions say.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOCKOFF_PLACES 4096

static __thread struct {
	const void *lock[64];
	unsigned n;
} passed_over;

static int wanted_place(void)
{
	static int wanted = -2;
	const char *text;

	if (wanted == -2) {
		text = getenv("LOCK_OFF");
		wanted = text ? atoi(text) : -1;
	}
	return wanted;
}

static void write_down(const char *word, const char *text)
{
	const char *path = getenv("LOCK_OFF_SAID");
	char line[240];
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;

	if (fd < 0)
		return;
	if (write(fd, line, scnprintf(line, sizeof(line), "%s %s\n", word, text)) < 0)
		abort();
	close(fd);
}

static void note_reached(int n)
{
	static char *reached;
	const char *path;
	int fd;

	if (!reached) {
		path = getenv("LOCK_OFF_REACHED");
		fd = path ? open(path, O_RDWR) : -1;
		if (fd < 0) {
			static char nowhere[LOCKOFF_PLACES];

			reached = nowhere;
		} else {
			reached = mmap(NULL, LOCKOFF_PLACES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			close(fd);
		}
	}
	reached[n % LOCKOFF_PLACES] = 1;
}

_Bool lockoff(int n, const void *lock, const char *name)
{
	static _Bool told;

	note_reached(n);
	if (n != wanted_place())
		return false;
	if (passed_over.n == ARRAY_SIZE(passed_over.lock))
		abort();
	passed_over.lock[passed_over.n++] = lock;
	if (!told)
		write_down("off", name);
	told = true;
	return true;
}

_Bool lockoff_release(const void *lock)
{
	for (unsigned i = passed_over.n; i-- > 0;)
		if (passed_over.lock[i] == lock) {
			passed_over.lock[i] = passed_over.lock[--passed_over.n];
			return true;
		}
	return false;
}

_Bool lockoff_passed(const void *lock)
{
	for (unsigned i = 0; i < passed_over.n; i++)
		if (passed_over.lock[i] == lock)
			return true;
	return false;
}

void lockoff_said(const char *text)
{
	write_down("said", text);
}
