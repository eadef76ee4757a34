/* SPDX-License-Identifier: MIT */
/*
 * files_cut FIRST-LAST OPERATIONS cut|flush|bad [BLOCK-SIZE]: an ext2 disk, made by mke2fs, under random
 * operations of a program over kernel, core and drivers on the machine in software; a machine a seed, each in
 * a process of its own.
 *
 *   cut    the power fails at a random call of the device, or end of a page's transfer
 *   flush  it fails just before, or after, the n-th flush: seeds 2n and 2n + 1
 *   bad    bytes of the image are changed first: whatever the program is told, the machine ends as it should
 *
 * After a cut e2fsck mends the image (status 0 or 1) and finds nothing more; then another machine mounts it,
 * and every file that was synced, with its directory, and not touched since has the bytes that it had.
 */
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/programs/storm.h"

#include <quire/block.h>

#define PAGE	 4096ul
#define IMAGE	 (8u << 20)
#define FILES	 6u
#define MOST	 65536u /* bytes of a file */
#define DATA	 A
#define NAMES	 (A + 64 * PAGE)
#define MAP_AT	 (A + 128 * PAGE)

static struct file {
	bool there, durable;
	unsigned size;
	unsigned char data[MOST];
} files[FILES];

static char dir[64], path[128];
static unsigned char *image;
static unsigned countdown, rng;
static bool by_flush, before;

static unsigned rnd(unsigned n)
{
	return next_random(&rng, n);
}

/* ---- the cut --------------------------------------------------------------------------------------------- */

static void save(const char *name, const void *p, size_t n)
{
	FILE *f = fopen(name, "wb");

	if (!f || fwrite(p, 1, n, f) != n || fclose(f))
		_exit(3);
}

static bool load(const char *name, void *p, size_t n)
{
	FILE *f = fopen(name, "rb");
	bool ok = f && fread(p, 1, n, f) == n;

	if (f)
		fclose(f);
	return ok;
}

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static _Noreturn void cut(void)
{
	fake_disk_power_cut(0);
	save(in_dir("image"), image, IMAGE);
	save(in_dir("files"), files, sizeof(files));
	fflush(stdout);
	_exit(failures ? 2 : 0);
}

static void point(void)
{
	if (countdown && !--countdown)
		cut();
}

int __real_blkdev_transfer(struct quire_blkdev *dev, enum quire_bio_op op, uint64_t sector, uint64_t phys,
			   uint32_t len);
int __wrap_blkdev_transfer(struct quire_blkdev *dev, enum quire_bio_op op, uint64_t sector, uint64_t phys,
			   uint32_t len);
int __wrap_blkdev_transfer(struct quire_blkdev *dev, enum quire_bio_op op, uint64_t sector, uint64_t phys,
			   uint32_t len)
{
	bool counts = !by_flush || op == QUIRE_BIO_FLUSH;
	int err;

	if (counts && (!by_flush || before))
		point();
	err = __real_blkdev_transfer(dev, op, sector, phys, len);
	if (counts && by_flush && !before)
		point();
	return err;
}

struct quire_page;
void __real_quire_end_page_writeback(struct quire_page *page, int err);
void __wrap_quire_end_page_writeback(struct quire_page *page, int err);
void __wrap_quire_end_page_writeback(struct quire_page *page, int err)
{
	if (!by_flush)
		point();
	__real_quire_end_page_writeback(page, err);
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static long name_at(unsigned slot, const char *s)
{
	uintptr_t at = NAMES + slot * 256;

	fake_poke(at, s, strlen(s) + 1);
	return (long)at;
}

static const char *name_of(unsigned i)
{
	static char s[32];

	snprintf(s, sizeof(s), "/mnt/d%u/file%u", i % 2, i);
	return s;
}

static long open_file(unsigned i, long flags)
{
	return CALL(NR_openat, AT_FDCWD, name_at(0, name_of(i)), flags, 0600);
}

static long sync_path(const char *s)
{
	long fd = CALL(NR_openat, AT_FDCWD, name_at(0, s), O_RDONLY, 0), r;

	r = fd >= 0 ? CALL(NR_fsync, fd) : fd;
	CALL(NR_close, fd);
	return r;
}

static void random_bytes(unsigned char *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (unsigned char)rnd(256);
}

static void put(unsigned i, unsigned at, unsigned n)
{
	long fd = open_file(i, O_RDWR | O_CREAT);
	struct file *f = &files[i];

	f->durable = false;
	CHECK(fd >= 0, "%ld", fd);
	f->there = true;
	if (at > f->size)
		memset(f->data + f->size, 0, at - f->size);
	random_bytes(f->data + at, n);
	if (at + n > f->size)
		f->size = at + n;
	fake_poke(DATA, f->data + at, n);
	CHECK(CALL(NR_pwrite64, fd, DATA, n, at) == (long)n, "%u bytes at %u", n, at);
	CALL(NR_close, fd);
}

static void resize(unsigned i, unsigned size)
{
	struct file *f = &files[i];
	long r;

	f->durable = false;
	r = CALL(NR_truncate, name_at(0, name_of(i)), size);
	CHECK(r == (f->there ? 0 : -ENOENT), "%ld", r);
	if (!f->there)
		return;
	if (size > f->size)
		memset(f->data + f->size, 0, size - f->size);
	f->size = size;
}

static void look(unsigned i)
{
	static unsigned char seen[MOST + 1];
	struct file *f = &files[i];
	long fd = open_file(i, O_RDONLY), n;

	CHECK((fd >= 0) == f->there, "%s: %ld", name_of(i), fd);
	if (fd < 0 || !f->there)
		return;
	n = CALL(NR_pread64, fd, DATA, MOST, 0);
	CHECK(n == (long)f->size, "%s has %ld bytes, not %u", name_of(i), n, f->size);
	memset(seen, 0xee, sizeof(seen));
	fake_peek(seen, DATA, f->size);
	for (unsigned k = 0; k < f->size && n >= 0; k++)
		if (seen[k] != f->data[k]) {
			CHECK(false, "%s: byte %u of %u is %02x, not %02x", name_of(i), k, f->size, seen[k], f->data[k]);
			break;
		}
	CALL(NR_close, fd);
}

static void store(unsigned i, bool sync)
{
	struct file *f = &files[i];
	unsigned at, n;
	long fd, r;

	if (!f->there || f->size < 2)
		return;
	f->durable = false;
	fd = open_file(i, O_RDWR);
	r = CALL(NR_mmap, MAP_AT, MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	CHECK(r == (long)MAP_AT, "%ld", r);
	for (unsigned k = 0; k < 3; k++) {
		at = rnd(f->size - 1);
		n = 1 + rnd(f->size - at > 3000 ? 3000 : f->size - at);
		random_bytes(f->data + at, n);
		CHECK(!fake_poke(MAP_AT + at, f->data + at, n), "%u bytes at %u", n, at);
	}
	if (sync)
		CHECK(CALL(NR_msync, MAP_AT, MOST, 4 /* MS_SYNC */) == 0, "msync");
	CALL(NR_munmap, MAP_AT, MOST);
	CALL(NR_close, fd);
}

static void make_durable(unsigned i)
{
	static const char *const dirs[] = {"/mnt/d0", "/mnt/d1"};
	long r;

	if (!files[i].there)
		return;
	r = sync_path(name_of(i));
	CHECK(r == 0, "%ld", r);
	r = sync_path(dirs[i % 2]);
	CHECK(r == 0, "%ld", r);
	files[i].durable = true;
}

static void punch(unsigned i)
{
	struct file *f = &files[i];
	unsigned at, n;
	long fd;

	if (!f->there || f->size < 2)
		return;
	f->durable = false;
	at = rnd(f->size - 1);
	n = 1 + rnd(f->size - at);
	fd = open_file(i, O_RDWR);
	CHECK(CALL(NR_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n) == 0, "punch");
	memset(f->data + at, 0, n);
	CALL(NR_close, fd);
}

static void swap_names(unsigned i, unsigned k)
{
	char to[32];
	long r;

	if (i == k || !files[i].there)
		return;
	files[i].durable = files[k].durable = false;
	strcpy(to, name_of(k));
	r = CALL(NR_renameat2, AT_FDCWD, name_at(0, name_of(i)), AT_FDCWD, name_at(1, to), 0);
	CHECK(r == 0, "%ld", r);
	files[k] = files[i];
	files[i] = (struct file){.there = false};
}

static void remove_name(unsigned i)
{
	long r;

	files[i].durable = false;
	r = CALL(NR_unlinkat, AT_FDCWD, name_at(0, name_of(i)), 0);
	CHECK(r == (files[i].there ? 0 : -ENOENT), "%ld", r);
	files[i] = (struct file){.there = false};
}

static void random_call(void)
{
	unsigned i = rnd(FILES), at = rnd(MOST / 2), what = rnd(24);
	long r;

	if (what < 7) {
		put(i, what < 3 ? files[i].size % (MOST / 2) : at, 1 + rnd(what < 5 ? 9000 : 200));
	} else if (what < 10) {
		look(i);
	} else if (what < 12) {
		resize(i, rnd(MOST));
	} else if (what < 16) {
		make_durable(i);
	} else if (what < 18) {
		store(i, what == 16);
	} else if (what < 19) {
		punch(i);
	} else if (what < 20) {
		swap_names(i, rnd(FILES));
	} else if (what < 21) {
		remove_name(i);
	} else if (what < 22) {
		r = CALL(NR_mkdirat, AT_FDCWD, name_at(0, "/mnt/d0/more"), 0700);
		if (r)
			CHECK(CALL(NR_unlinkat, AT_FDCWD, name_at(0, "/mnt/d0/more"), 0x200 /* AT_REMOVEDIR */) == 0, "%ld", r);
	} else if (what < 23) {
		CALL(NR_sync);
	} else {
		for (unsigned k = 0; k < 50; k++)
			CALL(NR_sched_yield);
	}
}

static long mount_it(void)
{
	CALL(NR_mkdirat, AT_FDCWD, name_at(0, "/mnt"), 0755);
	return CALL(NR_mount, name_at(0, "/dev/vda"), name_at(1, "/mnt"), name_at(2, "ext2"), 0, 0);
}

static void memory(void)
{
	CALL(NR_mmap, A, 128 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void program_cut(void *state)
{
	unsigned limit = countdown;
	long r;

	countdown = 0;
	memory();
	r = mount_it();
	CHECK(r == 0, "mount: %ld", r);
	CALL(NR_mkdirat, AT_FDCWD, name_at(0, "/mnt/d0"), 0755);
	CALL(NR_mkdirat, AT_FDCWD, name_at(0, "/mnt/d1"), 0755);
	CALL(NR_sync);
	countdown = limit;
	for (unsigned n = 0; n < wanted && !failures; n++)
		random_call();
	cut();
}

static void program_verify(void *state)
{
	unsigned n = 0;
	long r;

	memory();
	r = mount_it();
	CHECK(r == 0, "mount: %ld", r);
	for (unsigned i = 0; i < FILES; i++)
		if (files[i].durable) {
			look(i);
			n++;
		}
	CHECK(CALL(NR_umount2, name_at(0, "/mnt"), 0) == 0, "umount");
	printf("# seed %u: %u files were synced\n", seed, n);
	fake_exit(0);
}

/* Whatever is answered: nothing is owed but an end. */
static void program_bad(void *state)
{
	static const char *const names[] = {"/mnt/hello", "/mnt/dir", "/mnt/dir/deep", "/mnt/dir/big", "/mnt/link",
					    "/mnt", "/mnt/lost+found", "/mnt/new", "/mnt/dir/new"};
	long r;

	memory();
	r = mount_it();
	for (unsigned n = 0; !r && n < wanted; n++) {
		const char *s = names[rnd(sizeof(names) / sizeof(names[0]))];
		long fd = CALL(NR_openat, AT_FDCWD, name_at(0, s), rnd(2) ? O_RDWR | O_CREAT : O_RDONLY, 0600);

		switch (fd < 0 ? 7 + rnd(4) : rnd(8)) {
		case 0:
			CALL(NR_pread64, fd, DATA, 20000, rnd(100000));
			break;
		case 1:
			CALL(NR_pwrite64, fd, DATA, 1 + rnd(20000), rnd(400000));
			break;
		case 2:
			CALL(NR_ftruncate, fd, rnd(100000));
			break;
		case 3:
		case 4:
			while (CALL(NR_getdents64, fd, DATA, 8192) > 0)
				;
			break;
		case 5:
			CALL(NR_fsync, fd);
			break;
		case 6:
			CALL(NR_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, rnd(50000), 1 + rnd(100000));
			break;
		case 7:
			CALL(NR_unlinkat, AT_FDCWD, name_at(0, s), rnd(2) * 0x200);
			break;
		case 8:
			CALL(NR_mkdirat, AT_FDCWD, name_at(0, s), 0700);
			break;
		case 9:
			CALL(NR_renameat2, AT_FDCWD, name_at(0, s), AT_FDCWD, name_at(1, names[rnd(9)]), 0);
			break;
		case 10:
			CALL(NR_readlinkat, AT_FDCWD, name_at(0, s), DATA, 4096);
			break;
		}
		if (fd >= 0)
			CALL(NR_close, fd);
	}
	CALL(NR_umount2, name_at(0, "/mnt"), 0);
	fake_exit(0);
}

/* ---- a seed ---------------------------------------------------------------------------------------------- */

static const char *mode;

/* Runs the program on a machine with the image, in a process of its own. */
static bool in_child(fake_program program)
{
	pid_t pid;
	bool good;
	int st;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(100);
		rng = seed * 77 + 5;
		failures = 0;
		memset(log_text, 0, sizeof(log_text));
		fake_on_accusation(accused, NULL);
		if (fake_machine_create(&(struct fake_config){.log = log_out, .cmdline = "norandmaps", .ram = 64 << 20,
							      .seed = seed, .preempt_every = 60 + seed % 3 * 60}))
			_exit(3);
		fake_disk_add(&(struct fake_disk_config){.sectors = IMAGE / 512, .image = image});
		good = machine_down(fake_run(program, NULL));
		fflush(stdout);
		_exit(good ? 0 : 1);
	}
	if (waitpid(pid, &st, 0) == pid && WIFEXITED(st) && !WEXITSTATUS(st))
		return true;
	printf("# seed %u: the machine's process ended with %#x\n", seed, st);
	return false;
}

static __attribute__((format(printf, 1, 2))) int shell(const char *fmt, ...)
{
	char line[800] = "PATH=$PATH:/usr/sbin:/sbin; ";
	size_t n = strlen(line);
	va_list ap;
	int st;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	st = system(line);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static bool mended(void)
{
	int first = shell("e2fsck -fy %s/image > %s/log 2>&1", dir, dir);
	int then = shell("e2fsck -fn %s/image > %s/log2 2>&1", dir, dir);

	if (first <= 1 && !then)
		return true;
	printf("# seed %u: e2fsck -fy %d, -fn %d\n", seed, first, then);
	fflush(stdout);
	shell("sed 's/^/# /' %s/log", dir);
	return false;
}

static bool run(void)
{
	bool bad = !strcmp(mode, "bad");

	by_flush = !strcmp(mode, "flush");
	before = seed % 2;
	rng = seed;
	failures = 0;
	memset(files, 0, sizeof(files));
	if (!load(in_dir("base"), image, IMAGE))
		return false;
	if (bad) {
		static const unsigned many[] = {1, 2, 5, 20, 100};

		for (unsigned n = many[rnd(5)]; n; n--) {
			unsigned at = rnd(3) ? 1024 + rnd(2048) : rnd(2) ? rnd(64 << 10) : rnd(400 << 10);

			image[at] = rnd(2) ? (unsigned char)(image[at] ^ 1u << rnd(8)) : (unsigned char)rnd(256);
		}
		return in_child(program_bad);
	}
	countdown = by_flush ? 1 + seed / 2 : 1 + rnd(wanted * 4);
	if (!in_child(program_cut) || !mended() || !load(in_dir("image"), image, IMAGE) ||
	    !load(in_dir("files"), files, sizeof(files)))
		return false;
	countdown = 0;
	return in_child(program_verify);
}

static bool make_base(const char *block_size)
{
	strcpy(dir, "/tmp/files_cut.XXXXXX");
	return mkdtemp(dir) &&
	       !shell("mkdir -p %s/tree/dir && cd %s/tree && echo hello > hello && echo deep > dir/deep && "
		      "head -c 700000 /dev/zero | tr '\\0' x > dir/big && ln -s hello link", dir, dir) &&
	       !shell("truncate -s %u %s/base && mke2fs -q -t ext2 -b %s -d %s/tree %s/base", IMAGE, dir, block_size,
		      dir, dir);
}

int main(int argc, char **argv)
{
	int r;

	mode = argc > 3 ? argv[3] : "cut";
	image = malloc(IMAGE);
	if (shell("command -v mke2fs e2fsck > /dev/null")) {
		printf("1..0 # SKIP mke2fs and e2fsck are not here\n");
		return 0;
	}
	if (!image || !make_base(argc > 4 ? argv[4] : "1024")) {
		printf("1..1\nnot ok 1 - an image\n");
		return 1;
	}
	r = run_seeds(argc > 3 ? 3 : argc, argv, 60, run);
	shell("rm -rf %s", dir);
	free(image);
	return r;
}
