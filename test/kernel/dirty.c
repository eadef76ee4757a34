/* SPDX-License-Identifier: MIT */
/*
 * The tunables of what may be dirty, in /proc/sys/vm: what each takes and what it sets back, the limits that follow
 * (/proc/vmstat), and that the flusher and writers go by them. On a real Linux too: ./quire exec --disk FILE linux-5.10.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "disk.h"

#define M   "/mnt"
#define MIB (1l << 20)

static unsigned char buf[64 << 10];
static uint64_t which;

static long get(const char *name)
{
	char path[96], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return atol(text);
}

/* 0 or the errno. */
static int put(const char *name, const char *text)
{
	char path[96];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	fd = open(path, O_WRONLY);
	err = fd < 0 ? 1000 : write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
	return err;
}

static void set(const char *name, long v)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", v);
	CHECK(put(name, text) == 0 && get(name) == v);
}

static long vmstat(const char *name)
{
	char word[64];
	long v, n = -1;
	FILE *f = fopen("/proc/vmstat", "r");

	while (fscanf(f, "%63s %ld", word, &v) == 2)
		if (!strcmp(word, name))
			n = v;
	fclose(f);
	CHECK(n >= 0);
	return n;
}

static void rest(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

/* ---- what each takes --------------------------------------------------------------------------- */

static void all_are(long ratio, long bytes, long background_ratio, long background_bytes, int line)
{
	if (get("dirty_ratio") != ratio || get("dirty_bytes") != bytes ||
	    get("dirty_background_ratio") != background_ratio || get("dirty_background_bytes") != background_bytes) {
		printf("line %d: %ld %ld %ld %ld\n", line, get("dirty_ratio"), get("dirty_bytes"),
		       get("dirty_background_ratio"), get("dirty_background_bytes"));
		failures++;
	}
}

#define ALL_ARE(a, b, c, d) all_are(a, b, c, d, __LINE__)

static void values(void)
{
	ALL_ARE(20, 0, 10, 0);
	CHECK(get("dirty_expire_centisecs") == 3000 && get("dirty_writeback_centisecs") == 500);

	CHECK(put("dirty_ratio", "101") == EINVAL && put("dirty_ratio", "-1") == EINVAL);
	CHECK(put("dirty_background_ratio", "101") == EINVAL && put("dirty_background_ratio", "x") == EINVAL);
	CHECK(put("dirty_bytes", "0") == EINVAL && put("dirty_bytes", "8191") == EINVAL);
	CHECK(put("dirty_background_bytes", "0") == EINVAL);
	CHECK(put("dirty_expire_centisecs", "-1") == EINVAL && put("dirty_expire_centisecs", "2147483648") == EINVAL);
	ALL_ARE(20, 0, 10, 0);

	set("dirty_bytes", 8192);
	ALL_ARE(0, 8192, 10, 0);
	set("dirty_background_bytes", 1);
	ALL_ARE(0, 8192, 0, 1);
	set("dirty_ratio", 30);
	ALL_ARE(30, 0, 0, 1);
	set("dirty_background_ratio", 0);
	ALL_ARE(30, 0, 0, 0);
	set("dirty_background_ratio", 7);
	/* A negative number of bytes is passed over; of the background's the ratio goes all the same. */
	CHECK(put("dirty_bytes", "-5") == 0);
	ALL_ARE(30, 0, 7, 0);
	CHECK(put("dirty_background_bytes", "-5") == 0);
	ALL_ARE(30, 0, 0, 0);
	set("dirty_background_bytes", 4096);
	set("dirty_background_ratio", 0); /* the same as it was */
	ALL_ARE(30, 0, 0, 0);
	set("dirty_ratio", 0);
	set("dirty_bytes", 65536);
	set("dirty_ratio", 0); /* the same: nothing changes */
	ALL_ARE(0, 65536, 0, 0);
	CHECK(put("dirty_ratio", "0x10\n") == 0);
	ALL_ARE(16, 0, 0, 0);

	CHECK(put("dirty_writeback_centisecs", "-1") == 0 && get("dirty_writeback_centisecs") == -1);
	CHECK(put("dirty_writeback_centisecs", "2147483648") == EINVAL);
	set("dirty_writeback_centisecs", 0);
	set("dirty_expire_centisecs", 0);
}

static int near(long a, long b)
{
	return labs(a - b) <= b / 50 + 64;
}

static void limits(void)
{
	long all;

	set("dirty_bytes", 8 * MIB + 1);
	set("dirty_background_bytes", MIB);
	CHECK(vmstat("nr_dirty_threshold") == 2049 && vmstat("nr_dirty_background_threshold") == 256);
	set("dirty_bytes", 8192); /* the background's is at most half */
	CHECK(vmstat("nr_dirty_threshold") == 2 && vmstat("nr_dirty_background_threshold") == 1);
	set("dirty_ratio", 100);
	set("dirty_background_ratio", 50);
	all = vmstat("nr_dirty_threshold");
	CHECK(near(vmstat("nr_dirty_background_threshold"), all / 2));
	CHECK(all > vmstat("nr_free_pages") / 2);
	CHECK(all <= vmstat("nr_free_pages") + vmstat("nr_inactive_file") + vmstat("nr_active_file") + 64);
	set("dirty_ratio", 10);
	set("dirty_background_ratio", 3);
	CHECK(near(vmstat("nr_dirty_threshold"), all / 10));
	CHECK(near(vmstat("nr_dirty_background_threshold"), all * 3 / 100));
}

/* ---- what follows ------------------------------------------------------------------------------ */

static long held(void)
{
	return vmstat("nr_dirty") + vmstat("nr_writeback");
}

/* Nothing is dirty, and nothing becomes clean by itself. */
static void quiet(void)
{
	set("dirty_bytes", 256 * MIB);
	set("dirty_background_bytes", 128 * MIB);
	set("dirty_expire_centisecs", 1000000);
	set("dirty_writeback_centisecs", 100000);
	rest(500); /* the round that another interval has begun */
	sync();
}

static int one_dirty(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	pattern(buf, 4096, ++which);
	CHECK(fd >= 0 && write(fd, buf, 4096) == 4096);
	return fd;
}

/* Within so many ms the page is on the disk. */
static int comes(long ms)
{
	for (; ms > 0; ms -= 200) {
		rest(200);
		if (sector_of(which) >= 0)
			return 1;
	}
	return 0;
}

static void ages(void)
{
	int fd;

	quiet();
	set("dirty_writeback_centisecs", 50);
	rest(500);
	fd = one_dirty(M "/young");
	CHECK(!comes(1500)); /* too young */
	set("dirty_expire_centisecs", 10);
	CHECK(comes(3000));
	close(fd);

	set("dirty_writeback_centisecs", 0);
	fd = one_dirty(M "/old");
	CHECK(!comes(1500)); /* nobody looks */
	set("dirty_writeback_centisecs", 60);
	CHECK(comes(2000));
	close(fd);

	quiet();
	fd = one_dirty(M "/young");
	CHECK(!comes(600));
	set("dirty_writeback_centisecs", 99999); /* another one than before: all is written */
	CHECK(comes(2000));
	close(fd);
	fd = one_dirty(M "/young");
	set("dirty_writeback_centisecs", 99999); /* the same */
	CHECK(!comes(1000));
	close(fd);
}

/* Writes so many pieces of 64 KiB; the most that was dirty or on its way. */
static long write_pieces(const char *name, unsigned n)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	long most = 0, now;

	for (unsigned i = 0; i < n; i++) {
		memset(buf, (int)i + 1, sizeof(buf));
		CHECK(write(fd, buf, sizeof(buf)) == sizeof(buf));
		now = held();
		most = now > most ? now : most;
	}
	close(fd);
	return most;
}

static void background(void)
{
	quiet();
	CHECK(write_pieces(M "/many", 48) >= 700);
	rest(1000);
	CHECK(held() >= 700); /* below the limit nothing happens */
	quiet();
	set("dirty_background_bytes", MIB);
	write_pieces(M "/many", 48);
	rest(2000);
	CHECK(held() < 300);
	quiet();
	set("dirty_background_ratio", 0);
	write_pieces(M "/many", 48);
	rest(2000);
	CHECK(held() < 100);
}

static void held_up(void)
{
	quiet();
	CHECK(write_pieces(M "/many", 128) >= 1900);
	quiet();
	set("dirty_bytes", 2 * MIB);
	CHECK(write_pieces(M "/many", 128) <= 2 * 512);
	quiet();
	set("dirty_ratio", 1);
	CHECK(write_pieces(M "/many", 128) <= 2 * vmstat("nr_dirty_threshold"));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir(M, 0755);
	CHECK(mount(disk_name(), M, "ext2", 0, NULL) == 0);
	values();
	limits();
	ages();
	background();
	held_up();
	CHECK(umount(M) == 0 && rmdir(M) == 0);
	printf("%d failures\n", failures);
	return failures != 0;
}
