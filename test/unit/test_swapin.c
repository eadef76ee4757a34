/* SPDX-License-Identifier: MIT */
/* Swap entries in page tables: out by MADV_PAGEOUT, and every place where a table is walked. */
#include "space.h"

#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/migrate/migrate.h"
#include "mm/reclaim/shrink.h"
#include "mm/swap/swap.h"

#include "device_wait.h"
#include "swapdev.h"

#define FREE	8
#define PAGEOUT 21
#define WILLNEED 3
#define DONTNEED 4
#define TAG(n) (0x5a00 + (uint64_t)(n))

static struct swapdev dev[2];

/* Two CPUs are two threads. */
uintptr_t os_thread_id(void)
{
	return hal_cpu_id() + 1;
}

static void up_cfg(struct fake_config *fc, uint32_t slots)
{
	space_up_cfg(fc);
	swapdev_init(&dev[0], 0, slots);
	cr_assert_eq(quire_swapon(&dev[0].dev, NULL, 0), 0);
}

static void up(void)
{
	up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1}, 2000);
}

static void down(void)
{
	space_down();
	swapdev_free(&dev[0]);
}

/* Every slot is free again, and no page is cached. */
static void all_free(void)
{
	cr_expect_eq(get_nr_swap_pages(), total_swap_pages());
	cr_expect_eq(total_swapcache_pages(), 0);
}

static void fill(uintptr_t from, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		cr_assert_eq(store_at(from + i * PS, TAG(i)), 0);
}

static void verify(uintptr_t from, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		cr_expect_eq(load_at(from + i * PS), TAG(i), "page %zu", i);
}

static unsigned long swapped(struct quire_mm *mm)
{
	return get_mm_counter(to_mm(mm), MM_SWAPENTS);
}

static void out(uintptr_t from, size_t pages)
{
	cr_assert_eq(madvise_at(from, pages, PAGEOUT), 0);
	swapdev_scan_cached(&dev[0]);
	check_now();
}

static bool swap_entry_at(uintptr_t a)
{
	return quire_pagemap(cur, a) >> 62 == 1;
}

static struct quire_mm *fork_now(void)
{
	struct quire_mm *child;

	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	check_now();
	cr_assert_eq(quire_check(child), 0);
	return child;
}

Test(swapin, out_and_in)
{
	up();
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	fill(AT(0), 64);
	out(AT(0), 64);
	cr_expect_eq(swapped(cur), 64);
	cr_expect_eq(get_mm_counter(mm_now(), MM_ANONPAGES), 0);
	cr_expect_eq(total_swapcache_pages(), 0, "they left memory");
	cr_expect_eq(dev[0].writes, 64);
	cr_expect(swap_entry_at(AT(3)));
	verify(AT(0), 64);
	check_now();
	cr_expect_eq(swapped(cur), 0);
	cr_expect_eq(dev[0].reads, 64 + 1);
	munmap_at(AT(0), 64);
	all_free();
	down();
}

Test(swapin, out_and_in_where_software_notes_writes)
{
	up_cfg(&(struct fake_config){.ram = 64 * MIB, .software_ad = true, .caches_invalid = true,
				     .needs_bbm = true}, 2000);
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	for (unsigned round = 0; round < 3; round++) {
		fill(AT(0), 64);
		out(AT(0), 64);
		cr_expect_eq(swapped(cur), 64);
		verify(AT(0), 64);
	}
	munmap_at(AT(0), 64);
	all_free();
	down();
}

/* A page that was only read need not be written a second time. */
Test(swapin, a_clean_page_keeps_its_slot)
{
	uint64_t major;
	struct quire_counts c;

	up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	fill(AT(0), 1);
	out(AT(0), 1);
	quire_get_counts(&c);
	major = c.major_faults;
	verify(AT(0), 1);
	quire_get_counts(&c);
	cr_expect_eq(c.major_faults, major + 1);
	cr_expect_eq(total_swapcache_pages(), 1, "read only: it stays in the cache");
	out(AT(0), 1);
	cr_expect_eq(dev[0].writes, 1);
	cr_expect(swap_entry_at(AT(0)));
	verify(AT(0), 1);
	cr_expect_eq(store_at(AT(0), 77), 0);
	check_now();
	out(AT(0), 1);
	cr_expect_eq(dev[0].writes, 2);
	cr_expect_eq(load_at(AT(0)), 77);
	down();
}

Test(swapin, a_write_takes_the_page_over)
{
	up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2);
	out(AT(0), 2);
	cr_expect_eq(FAULTS(store_at(AT(0) + 8, 1)), 1, "one fault: read in and made writable");
	check_now();
	cr_expect_eq(swp_swapcount(swp_entry(0, 1)), 0);
	cr_expect_eq(fault_rows[QUIRE_ROW_SWAP], 1);
	verify(AT(0), 1);
	cr_expect_eq(load_at(AT(1)), TAG(1));
	cr_expect_eq(FAULTS(store_at(AT(1) + 8, 1)), 1, "read first: the page is in the cache, so it is copied");
	cr_expect_eq(fault_rows[QUIRE_ROW_COW], 1);
	check_now();
	all_free();
	down();
}

/* More of them in one table than are copied under one hold of the locks, between pages and holes. */
Test(swapin, fork_copies_many_entries)
{
	struct quire_mm *parent, *child;

	up();
	parent = cur;
	mmap_at(AT(0), 500, RW, PRIV | FIX);
	fill(AT(0), 200);
	fill(AT(300), 200);
	out(AT(50), 150);
	out(AT(300), 150);
	child = fork_now();
	cr_expect_eq(swapped(child), swapped(parent));
	cr_expect_geq(swapped(child), 300);
	run_space(child);
	verify(AT(0), 200);
	verify(AT(300), 200);
	check_now();
	run_space(parent);
	space_put(child);
	munmap_at(AT(0), 500);
	all_free();
	down();
}

Test(swapin, fork_copies_entries)
{
	struct quire_mm *parent, *child;

	up();
	parent = cur;
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	fill(AT(0), 8);
	out(AT(0), 4);
	child = fork_now();
	cr_expect_eq(swapped(child), 4);
	cr_expect_eq(swp_swapcount(swp_entry(0, 1)), 2);
	run_space(child);
	verify(AT(0), 8);
	cr_expect_eq(store_at(AT(0), 1), 0);
	cr_expect_eq(store_at(AT(1), 2), 0);
	check_now();
	run_space(parent);
	verify(AT(0), 8);
	cr_expect_eq(store_at(AT(2), 3), 0);
	run_space(child);
	cr_expect_eq(load_at(AT(0)), 1);
	cr_expect_eq(load_at(AT(2)), TAG(2));
	run_space(parent);
	space_put(child);
	check_now();
	munmap_at(AT(0), 8);
	all_free();
	down();
}

/* Both write: the last one need not copy. */
Test(swapin, writers_after_fork)
{
	struct quire_mm *parent, *child;

	up();
	parent = cur;
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	fill(AT(0), 1);
	out(AT(0), 1);
	child = fork_now();
	cr_expect_eq(store_at(AT(0), 5), 0);
	cr_expect_eq(fault_rows[QUIRE_ROW_COW], 1, "mapped, then copied");
	check_now();
	run_space(child);
	cr_expect_eq(load_at(AT(0)), TAG(0));
	cr_expect_eq(store_at(AT(0), 6), 0);
	check_now();
	run_space(parent);
	cr_expect_eq(load_at(AT(0)), 5);
	space_put(child);
	munmap_at(AT(0), 1);
	all_free();
	down();
}

Test(swapin, ten_thousand_forks)
{
	static struct quire_mm *child[10000];

	up_cfg(&(struct fake_config){.ram = 512 * MIB}, 2000);
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	fill(AT(0), 1);
	out(AT(0), 1);
	for (unsigned i = 0; i < 10000; i++)
		cr_assert_eq(quire_mm_fork(cur, NULL, &child[i]), 0);
	cr_expect_eq(swp_swapcount(swp_entry(0, 1)), 10001);
	for (unsigned i = 0; i < 10000; i++)
		quire_mm_put(child[i]);
	verify(AT(0), 1);
	munmap_at(AT(0), 1);
	all_free();
	down();
}

Test(swapin, fork_without_memory)
{
	struct quire_mm *child;

	up();
	mmap_at(AT(0), 600, RW, PRIV | FIX);
	fill(AT(0), 600);
	out(AT(0), 600);
	for (unsigned n = 1;; n++) {
		int err;

		quire_inject_set(QUIRE_INJECT_PAGE, n);
		err = quire_mm_fork(cur, NULL, &child);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		check_now();
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
		cr_assert_eq(swp_swapcount(swp_entry(0, 1)), 1, "after a failure at %u", n);
	}
	cr_expect_eq(swp_swapcount(swp_entry(0, 1)), 2);
	space_put(child);
	verify(AT(0), 600);
	down();
}

Test(swapin, unmapping_gives_slots_back)
{
	up();
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	fill(AT(0), 64);
	out(AT(0), 64);
	munmap_at(AT(0), 16);
	cr_expect_eq(get_nr_swap_pages(), (long)total_swap_pages() - 48);
	cr_expect_eq(swapped(cur), 48);
	cr_expect_eq(madvise_at(AT(16), 16, DONTNEED), 0);
	cr_expect_eq(swapped(cur), 32);
	cr_expect_eq(load_at(AT(16)), 0, "zeros, and not what lies on the device");
	cr_expect_eq(madvise_at(AT(32), 16, FREE), 0);
	cr_expect_eq(swapped(cur), 16);
	cr_expect_eq(load_at(AT(40)), 0);
	for (int i = 48; i < 64; i++)
		cr_expect_eq(load_at(AT(i)), TAG(i));
	check_now();
	munmap_at(AT(0), 64);
	all_free();
	down();
}

/* Exit with pages on the device, in the cache, and both. */
Test(swapin, exit_gives_slots_back)
{
	struct quire_mm *parent, *child;

	up();
	parent = cur;
	child = fork_now();
	run_space(child);
	mmap_at(AT(0), 32, RW, PRIV | FIX);
	fill(AT(0), 32);
	out(AT(0), 32);
	for (int i = 0; i < 8; i++)
		load_at(AT(i));
	run_space(parent);
	space_put(child);
	all_free();
	down();
}

Test(swapin, moved_by_mremap)
{
	up();
	mmap_at(AT(0), 16, RW, PRIV | FIX);
	fill(AT(0), 16);
	out(AT(0), 8);
	cr_expect_eq(CALL(quire_clear_refs(cur, 4)), 0);
	cr_expect_not(quire_pagemap(cur, AT(3)) >> 55 & 1, "soft-dirty of an entry");
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 16 * PS, 16 * PS, MREMAP_MAYMOVE | MREMAP_FIXED,
				       AT(700))), (long)AT(700));
	cr_expect(quire_pagemap(cur, AT(703)) >> 55 & 1, "moved is dirty, as in Linux");
	cr_expect(swap_entry_at(AT(703)));
	cr_expect_eq(swapped(cur), 8);
	verify(AT(700), 16);
	check_now();
	down();
}

Test(swapin, soft_dirty_survives)
{
	up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2);
	CALL(quire_clear_refs(cur, 4));
	cr_expect_eq(store_at(AT(1), TAG(1)), 0);
	out(AT(0), 2);
	cr_expect_not(quire_pagemap(cur, AT(0)) >> 55 & 1);
	cr_expect(quire_pagemap(cur, AT(1)) >> 55 & 1);
	verify(AT(0), 2);
	cr_expect_not(quire_pagemap(cur, AT(0)) >> 55 & 1);
	cr_expect(quire_pagemap(cur, AT(1)) >> 55 & 1);
	down();
}

Test(swapin, mprotect_passes_entries_over)
{
	up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	fill(AT(0), 8);
	out(AT(0), 8);
	cr_expect_eq(mprotect_at(AT(0), 4, PROT_READ), 0);
	cr_expect_eq(swapped(cur), 8);
	verify(AT(0), 8);
	cr_expect_eq(store_at(AT(0), 1), ACCERR);
	cr_expect_eq(mprotect_at(AT(0), 8, PROT_NONE), 0);
	out(AT(0), 8);
	cr_expect_eq(swapped(cur), 8, "out of reach, it leaves all the same");
	cr_expect_eq(touch_at(AT(0)), ACCERR);
	cr_expect_eq(mprotect_at(AT(0), 8, RW), 0);
	verify(AT(0), 8);
	down();
}

static unsigned char core_at(uintptr_t a, uintptr_t scratch)
{
	cr_assert_eq(quire_mincore(cur, a, PS, scratch), 0);
	return (unsigned char)load_at(scratch);
}

Test(swapin, mincore_asks_the_cache)
{
	up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	mmap_at(AT(10), 1, RW, PRIV | FIX);
	store_at(AT(10), 0);
	fill(AT(0), 2);
	out(AT(0), 2);
	cr_expect_eq(core_at(AT(0), AT(10)), 0);
	cr_expect_eq(madvise_at(AT(0), 1, WILLNEED), 0);
	cr_expect_eq(core_at(AT(0), AT(10)), 1, "read ahead: in memory, and not mapped");
	cr_expect_eq(core_at(AT(1), AT(10)), 0);
	cr_expect_eq(dev[0].reads, 2);
	verify(AT(0), 2);
	down();
}

static unsigned long smaps_line(const char *name)
{
	struct text *t = calloc(1, sizeof(*t));
	unsigned long n = 0;
	const char *at;

	quire_show_smaps(cur, text_emit, t);
	for (at = t->s; (at = strstr(at, name)) != NULL; at++)
		n += strtoul(at + strlen(name), NULL, 10);
	free(t);
	return n;
}

Test(swapin, what_is_shown)
{
	struct text *t = calloc(1, sizeof(*t));
	struct quire_mm *child;
	char line[64];

	up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	fill(AT(0), 8);
	out(AT(0), 8);
	cr_expect_eq(smaps_line("\nSwap:"), 8 * PS / 1024);
	cr_expect_eq(smaps_line("\nSwapPss:"), 8 * PS / 1024);
	cr_expect_eq(smaps_line("\nRss:"), 0);
	child = fork_now();
	cr_expect_eq(smaps_line("\nSwap:"), 8 * PS / 1024);
	cr_expect_eq(smaps_line("\nSwapPss:"), 4 * PS / 1024);
	space_put(child);
	quire_show_status(cur, text_emit, t);
	snprintf(line, sizeof(line), "VmSwap:\t%8lu kB\n", (unsigned long)(8 * PS / 1024));
	cr_expect(strstr(t->s, line), "%s", t->s);
	cr_expect_eq(quire_pagemap(cur, AT(0)) & 31, 0, "type");
	cr_expect_eq(quire_pagemap(cur, AT(0)) >> 5 & 0xffffff, 1, "offset");
	cr_expect(quire_pagemap(cur, AT(0)) >> 62 == 1);
	free(t);
	down();
}

Test(swapin, access_from_outside)
{
	uint64_t v = 0;

	up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2);
	out(AT(0), 2);
	cr_expect_eq(quire_mm_read(cur, AT(0), &v, 8), 8);
	cr_expect_eq(v, TAG(0));
	v = 99;
	cr_expect_eq(quire_mm_write(cur, AT(1), &v, 8), 8);
	check_now();
	cr_expect_eq(load_at(AT(1)), 99);
	down();
}

Test(swapin, populate_and_mlock_bring_it_in)
{
	up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	fill(AT(0), 8);
	out(AT(0), 8);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 8 * PS, 0)), 0);
	cr_expect_eq(swapped(cur), 0);
	cr_expect_eq(madvise_at(AT(0), 8, PAGEOUT), -EINVAL, "locked");
	verify(AT(0), 8);
	cr_expect_eq(CALL(quire_munlock(cur, AT(0), 8 * PS)), 0);
	out(AT(0), 8);
	cr_expect_eq(swapped(cur), 8);
	down();
}

/* A private copy of a file's page goes to swap; truncation takes it away all the same. */
Test(swapin, private_copies_of_a_file)
{
	struct quire_file *f;

	up();
	f = file_new(8, FRW);
	mmap_file(AT(0), 8, RW, MAP_PRIVATE | FIX, f, 0);
	fill(AT(0), 4);
	load_at(AT(5));
	out(AT(0), 8);
	cr_expect_eq(swapped(cur), 4);
	verify(AT(0), 4);
	out(AT(0), 4);
	cr_expect_eq(quire_inode_fallocate(quire_file_inode(f), 3, 0, PS), 0);
	cr_expect_eq(load_at(AT(0)), TAG(0), "a hole leaves private copies alone");
	out(AT(0), 4);
	cr_expect_eq(quire_inode_truncate(quire_file_inode(f), 2 * PS), 0);
	check_now();
	cr_expect_eq(swapped(cur), 2);
	cr_expect_eq(touch_at(AT(2)), ADRERR);
	verify(AT(0), 2);
	munmap_at(AT(0), 8);
	all_free();
	quire_file_put(f);
	down();
}

/* ---- when the device is slow, or fails ---------------------------------------------------------- */

Test(swapin, a_failed_read_is_a_bus_error)
{
	up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2);
	out(AT(0), 2);
	quire_sysctl_set("page-cluster", 0);
	dev[0].broken = true;
	cr_expect_eq(touch_at(AT(0)), ADRERR);
	cr_expect_eq(store_at(AT(0), 1), ADRERR);
	check_now();
	dev[0].broken = false;
	cr_expect_eq(load_at(AT(1)), TAG(1), "the others live");
	cr_expect_eq(load_at(AT(0)), TAG(0), "and the next one to touch it may have more luck");
	munmap_at(AT(0), 2);
	all_free();
	down();
}

Test(swapin, a_failed_write_keeps_the_page)
{
	up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	fill(AT(0), 4);
	dev[0].fail_write = 2;
	out(AT(0), 4);
	cr_expect_eq(swapped(cur), 4);
	cr_expect_eq(total_swapcache_pages(), 1, "one is still in memory");
	check_now();
	verify(AT(0), 4);
	for (int i = 0; i < 4; i++)
		store_at(AT(i), TAG(i));
	check_now();
	out(AT(0), 4);
	cr_expect_eq(total_swap_pages(), 1998, "its slot is not used again");
	cr_expect_eq(total_swapcache_pages(), 0);
	verify(AT(0), 4);
	munmap_at(AT(0), 4);
	all_free();
	down();
}

/* While the device takes its time nobody waits for mmap_lock. */
static struct quire_mm *slow_mm;

static void answer_later(void *arg)
{
	/* The reader waits for the page with the space unlocked: this would wait for ever otherwise. */
	while (!__atomic_load_n(&dev[0].nheld, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
	while (rwsem_is_locked(&to_mm(slow_mm)->mmap_lock))
		hal_cpu_relax();
	cr_expect(down_write_trylock(&to_mm(slow_mm)->mmap_lock));
	up_write(&to_mm(slow_mm)->mmap_lock);
	swapdev_release(&dev[0]);
}

Test(swapin, a_slow_device_does_not_hold_the_space, .timeout = 20)
{
	up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2}, 2000);
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2);
	out(AT(0), 2);
	slow_mm = cur;
	dev[0].hold = true;
	fake_cpu_start(1, answer_later, NULL);
	cr_expect_eq(load_at(AT(0)), TAG(0));
	cr_expect(last.major);
	fake_cpu_join(1);
	check_now();
	down();
}

static uint32_t stalled; /* atomic: the thread that faults says that it waits for memory */
static bool stalled_then;

void os_memstall(bool begin)
{
	__atomic_store_n(&stalled, begin, __ATOMIC_RELEASE);
}

static void answer_and_look(void *arg)
{
	while (!__atomic_load_n(&dev[0].nheld, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
	while (rwsem_is_locked(&to_mm(slow_mm)->mmap_lock))
		hal_cpu_relax();
	stalled_then = __atomic_load_n(&stalled, __ATOMIC_ACQUIRE);
	swapdev_release(&dev[0]);
}

/* Whether pressure counts the wait for one page. */
static bool wait_counts(long cluster)
{
	up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2}, 2000);
	cr_assert_eq(quire_sysctl_set("page-cluster", cluster), 0);
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	fill(AT(0), 8);
	out(AT(0), 8);
	slow_mm = cur;
	dev[0].hold = true;
	fake_cpu_start(1, answer_and_look, NULL);
	cr_expect_eq(load_at(AT(3)), TAG(3));
	fake_cpu_join(1);
	cr_expect_eq(__atomic_load_n(&stalled, __ATOMIC_ACQUIRE), 0);
	quire_sysctl_set("page-cluster", 3);
	down();
	return stalled_then;
}

/* As in 5.10: one that is read alone is waited for in the name of memory, however long ago it left; where
 * others are read with it, only if it was of the working set. */
Test(swapin, a_page_read_alone_is_a_stall, .timeout = 20)
{
	cr_expect(wait_counts(0));
	cr_expect_not(wait_counts(3));
}

/* Given back while somebody who keeps mmap_lock waits for the device. */
static void gives_back(void *arg)
{
	while (!__atomic_load_n(&dev[0].nheld, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
	cr_expect_eq(quire_madvise(slow_mm, AT(0), PS, 4 /* MADV_DONTNEED */), 0);
	swapdev_release(&dev[0]);
}

Test(swapin, given_back_while_it_is_read, .timeout = 20)
{
	uint32_t v = 0;

	up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 2}, 2000);
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	fill(AT(0), 1);
	out(AT(0), 1);
	slow_mm = cur;
	dev[0].hold = true;
	fake_cpu_start(1, gives_back, NULL);
	/* of those that wait with mmap_lock held */
	cr_expect_eq(quire_mm_cmpxchg(cur, AT(0), &v, 0), 0, "what stands there now");
	fake_cpu_join(1);
	cr_expect_eq(v, 0);
	check_now();
	cr_expect_eq(swapped(cur), 0);
	/* The page was locked when its slot lost its last name: it stays cached until a scan meets it. */
	swapdev_scan_cached(&dev[0]);
	all_free();
	down();
}

/* ---- allocation failures ------------------------------------------------------------------------ */

Test(swapin, reading_without_memory)
{
	up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	fill(AT(0), 1);
	out(AT(0), 1);
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_eq(touch_at(AT(0)), KILLED);
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	check_now();
	verify(AT(0), 1);
	down();
}

/* ---- no slot is left ---------------------------------------------------------------------------- */

Test(swapin, a_full_device)
{
	up_cfg(&(struct fake_config){.ram = 64 * MIB}, 11);
	mmap_at(AT(0), 32, RW, PRIV | FIX);
	fill(AT(0), 32);
	out(AT(0), 32);
	cr_expect_eq(swapped(cur), 10);
	verify(AT(0), 32);
	cr_expect_lt(total_swapcache_pages(), 10, "scarce slots are given up");
	for (int i = 0; i < 32; i++)
		store_at(AT(i), TAG(i));
	check_now();
	out(AT(0), 32);
	verify(AT(0), 32);
	munmap_at(AT(0), 32);
	all_free();
	down();
}

/* ---- readahead ---------------------------------------------------------------------------------- */

Test(swapin, readahead_by_address)
{
	unsigned chains;

	up();
	mmap_at(AT(0), 256, RW, PRIV | FIX);
	fill(AT(0), 256);
	out(AT(0), 256);
	chains = dev[0].chains;
	verify(AT(0), 256);
	cr_expect_leq(dev[0].chains - chains, 256 / 8 + 8, "%u", dev[0].chains - chains);
	cr_expect_eq(dev[0].reads, 257, "nothing twice");
	munmap_at(AT(0), 256);
	all_free();
	quire_sysctl_set("page-cluster", 0);
	mmap_at(AT(0), 16, RW, PRIV | FIX);
	fill(AT(0), 16);
	out(AT(0), 16);
	chains = dev[0].chains;
	verify(AT(0), 16);
	cr_expect_eq(dev[0].chains - chains, 16, "off");
	down();
}

Test(swapin, readahead_of_a_device_that_seeks)
{
	unsigned chains;

	up();
	dev[0].dev.rotational = true;
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	fill(AT(0), 64);
	out(AT(0), 64);
	chains = dev[0].chains;
	verify(AT(0), 64);
	cr_expect_leq(dev[0].chains - chains, 64 / 8 + 8, "%u", dev[0].chains - chains);
	down();
}

/* ---- shared memory ------------------------------------------------------------------------------ */

/* A file of shared memory, as behind a memfd. */
static struct quire_file *memory_file(unsigned pages)
{
	struct quire_inode *inode = quire_inode_create(NULL, NULL, 7, 1, QUIRE_S_SHMEM);
	struct quire_file *f;

	cr_assert(inode);
	quire_inode_truncate(inode, (uint64_t)pages * PS);
	f = quire_file_open(inode, FRW, "/memfd:thing (deleted)");
	quire_inode_put(inode);
	cr_assert(f);
	return f;
}

static struct address_space *mapping_of(struct quire_file *f)
{
	return to_file(f)->f_mapping;
}

Test(swapin, shared_memory_out_and_in)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	up();
	parent = cur;
	f = memory_file(32);
	mmap_file(AT(0), 32, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(0), 32);
	out(AT(0), 32);
	cr_expect_eq(mapping_of(f)->nrpages, 0);
	cr_expect_eq(mapping_of(f)->nr_swapped, 32);
	cr_expect_eq(swapped(cur), 0, "VmSwap leaves it out, as in Linux");
	cr_expect_eq(node_page_state(NR_SHMEM), 0);
	cr_expect_eq(quire_inode_cached_pages(quire_file_inode(f)), 32);
	cr_expect_eq(smaps_line("\nSwap:"), 32 * PS / 1024);
	cr_expect_eq(smaps_line("\nSwapPss:"), 0);
	child = fork_now();
	run_space(child);
	cr_expect_eq(load_at(AT(3)), TAG(3));
	cr_expect(last.major);
	cr_expect_eq(store_at(AT(4), 99), 0);
	run_space(parent);
	cr_expect_eq(load_at(AT(4)), 99);
	cr_expect_eq(store_at(AT(4), TAG(4)), 0);
	verify(AT(0), 32);
	check_now();
	cr_expect_eq(mapping_of(f)->nr_swapped, 0);
	all_free();
	space_put(child);
	munmap_at(AT(0), 32);
	quire_file_put(f);
	down();
}

Test(swapin, shared_anonymous_memory)
{
	up();
	mmap_at(AT(0), 32, RW, SHAR | FIX);
	fill(AT(0), 32);
	out(AT(0), 32);
	cr_expect_eq(get_nr_swap_pages(), (long)total_swap_pages() - 32);
	verify(AT(0), 16);
	munmap_at(AT(0), 32);
	all_free();
	down();
}

/* Read and written by calls, where some of it lies in swap and some was never made. */
Test(swapin, shared_memory_by_calls)
{
	struct quire_inode *inode;
	struct quire_file *f;
	uint64_t v = 0;

	up();
	f = memory_file(16);
	inode = quire_file_inode(f);
	mmap_file(AT(0), 16, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(0), 8);
	out(AT(0), 8);
	cr_expect_eq(quire_inode_read(inode, 3 * PS, (uintptr_t)&v, 8, false), 8);
	cr_expect_eq(v, TAG(3));
	cr_expect_eq(quire_inode_read(inode, 12 * PS, (uintptr_t)&v, 8, false), 8);
	cr_expect_eq(v, 0, "a hole");
	cr_expect_null(find_get_page(mapping_of(f), 12), "and none is made for that");
	v = 55;
	cr_expect_eq(quire_inode_write(inode, 4 * PS + 8, (uintptr_t)&v, 8, false), 8);
	cr_expect_eq(load_at(AT(4)), TAG(4), "the rest of the page is what it was");
	cr_expect_eq(load_at(AT(4) + 8), 55);
	cr_expect_eq(quire_inode_fallocate(inode, 0, 0, 16 * PS), 0);
	verify(AT(0), 8);
	check_now();
	all_free();
	munmap_at(AT(0), 16);
	quire_file_put(f);
	down();
}

Test(swapin, shared_memory_is_cut)
{
	struct quire_inode *inode;
	struct quire_file *f;
	uint64_t v = 1;

	up();
	f = memory_file(16);
	inode = quire_file_inode(f);
	mmap_file(AT(0), 16, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(0), 16);
	out(AT(0), 12);
	cr_expect_eq(quire_inode_fallocate(inode, 3, 2 * PS, 4 * PS), 0);
	cr_expect_eq(mapping_of(f)->nr_swapped, 8);
	cr_expect_eq(load_at(AT(2)), 0);
	cr_expect_eq(load_at(AT(6)), TAG(6));
	cr_expect_eq(quire_inode_truncate(inode, 8 * PS + 4), 0);
	check_now();
	cr_expect_eq(touch_at(AT(9)), ADRERR);
	cr_expect_eq(quire_inode_truncate(inode, 16 * PS), 0);
	cr_expect_eq(load_at(AT(9)), 0, "what was cut off does not come back from swap");
	cr_expect_eq(load_at(AT(8)), TAG(8));
	out(AT(8), 1);
	cr_expect_eq(quire_inode_truncate(inode, 8 * PS + 1), 0);
	cr_expect_eq(quire_inode_truncate(inode, 16 * PS), 0);
	cr_expect_eq(quire_inode_read(inode, 8 * PS, (uintptr_t)&v, 8, false), 8);
	cr_expect_eq(v, TAG(8) & 0xff, "the part of a page that lies in swap");
	munmap_at(AT(0), 16);
	quire_file_put(f);
	all_free();
	down();
}

Test(swapin, shared_memory_mincore_and_willneed)
{
	struct quire_file *f;

	up();
	f = memory_file(8);
	mmap_file(AT(0), 8, RW, MAP_SHARED | FIX, f, 0);
	mmap_at(AT(10), 1, RW, PRIV | FIX);
	store_at(AT(10), 0);
	fill(AT(0), 8);
	out(AT(0), 8);
	cr_expect_eq(core_at(AT(2), AT(10)), 0);
	cr_expect_eq(madvise_at(AT(2), 1, WILLNEED), 0);
	cr_expect_eq(core_at(AT(2), AT(10)), 1);
	cr_expect_eq(core_at(AT(3), AT(10)), 0);
	verify(AT(0), 8);
	munmap_at(AT(0), 8);
	quire_file_put(f);
	all_free();
	down();
}

/* A private mapping of shared memory: its own copies go by its entries, the rest by the file's slots. */
Test(swapin, private_copies_of_shared_memory)
{
	struct quire_file *f;

	up();
	f = memory_file(8);
	mmap_file(AT(20), 8, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(20), 8);
	mmap_file(AT(0), 8, RW, MAP_PRIVATE | FIX, f, 0);
	for (int i = 0; i < 4; i++)
		store_at(AT(i), 100 + i);
	out(AT(0), 8);
	out(AT(20), 8);
	cr_expect_eq(swapped(cur), 4);
	cr_expect_eq(mapping_of(f)->nr_swapped, 8);
	cr_expect_eq(smaps_line("\nSwap:"), (8 + 4 + 4) * PS / 1024, "what the private one hides is not its");
	for (int i = 0; i < 4; i++)
		cr_expect_eq(load_at(AT(i)), 100 + i);
	for (int i = 4; i < 8; i++)
		cr_expect_eq(load_at(AT(i)), TAG(i));
	verify(AT(20), 8);
	munmap_at(AT(0), 8);
	munmap_at(AT(20), 8);
	quire_file_put(f);
	all_free();
	down();
}

Test(swapin, shared_memory_that_cannot_be_read)
{
	struct quire_file *f;
	uint64_t v;

	up();
	f = memory_file(2);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(0), 2);
	out(AT(0), 2);
	quire_sysctl_set("page-cluster", 0);
	dev[0].broken = true;
	cr_expect_eq(touch_at(AT(0)), ADRERR);
	cr_expect_eq(quire_inode_read(quire_file_inode(f), 0, (uintptr_t)&v, 8, false), -EIO);
	dev[0].broken = false;
	check_now();
	munmap_at(AT(0), 2);
	quire_file_put(f);
	all_free();
	down();
}

/* A page that is mapped and keeps its slot moves to another frame with it. */
Test(swapin, a_cached_page_moves)
{
	struct page *old, *fresh;
	uint64_t pfn;

	up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	fill(AT(0), 2);
	out(AT(0), 2);
	verify(AT(0), 2);
	pfn = pfn_at(AT(0));
	old = pfn_to_page(PFN(pfn));
	cr_assert(PageSwapCache(old));
	cr_assert(migrate_begin());
	cr_assert(isolate_lru_page(old));
	fresh = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	cr_expect_eq(migrate_isolated_page(old, fresh), 0);
	migrate_end();
	check_now();
	cr_expect_neq(pfn_at(AT(0)), pfn);
	cr_expect(PageSwapCache(pfn_to_page(PFN(pfn_at(AT(0))))));
	verify(AT(0), 2);
	out(AT(0), 2);
	cr_expect_eq(dev[0].writes, 2, "its slot is as good as before");
	verify(AT(0), 2);
	munmap_at(AT(0), 2);
	all_free();
	down();
}

/* ---- swapoff ------------------------------------------------------------------------------------ */

Test(swapin, off)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	up();
	parent = cur;
	swapdev_init(&dev[1], 1, 500);
	cr_expect_eq(quire_swapoff(&dev[1].dev), -EINVAL);
	f = memory_file(32);
	mmap_at(AT(0), 64, RW, PRIV | FIX);
	mmap_file(AT(100), 32, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(0), 64);
	fill(AT(100), 32);
	out(AT(0), 64);
	out(AT(100), 32);
	child = fork_now();
	load_at(AT(5)); /* one in the cache */
	cr_expect_eq(CALL(quire_swapoff(&dev[0].dev)), 0);
	cr_expect_eq(total_swap_pages(), 0);
	cr_expect_eq(get_nr_swap_pages(), 0);
	cr_expect_eq(swapped(parent), 0);
	cr_expect_eq(swapped(child), 0);
	memset(dev[0].data, 0xee, 100 * PS);
	verify(AT(0), 64);
	verify(AT(100), 32);
	run_space(child);
	verify(AT(0), 64);
	store_at(AT(0), 5);
	check_now();
	run_space(parent);
	verify(AT(0), 64);
	space_put(child);
	/* And on again. */
	swapdev_mkswap(&dev[0], 2000);
	cr_expect_eq(quire_swapon(&dev[0].dev, NULL, 0), 0);
	out(AT(0), 64);
	verify(AT(0), 64);
	munmap_at(AT(0), 64);
	munmap_at(AT(100), 32);
	quire_file_put(f);
	all_free();
	swapdev_free(&dev[1]);
	down();
}

/* Out of memory on the way: the area is on as before, and no byte is lost; then it works. */
Test(swapin, off_without_memory)
{
	struct quire_file *f;

	up();
	f = memory_file(16);
	mmap_at(AT(0), 16, RW, PRIV | FIX);
	mmap_file(AT(100), 16, RW, MAP_SHARED | FIX, f, 0);
	for (unsigned n = 1;; n++) {
		int err;

		fill(AT(0), 16);
		fill(AT(100), 16);
		out(AT(0), 16);
		out(AT(100), 16);
		quire_inject_set(QUIRE_INJECT_PAGE, n);
		err = quire_swapoff(&dev[0].dev);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		check_now();
		verify(AT(0), 16);
		verify(AT(100), 16);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
		cr_assert_eq(total_swap_pages(), 1999);
		cr_assert_lt(n, 200);
	}
	munmap_at(AT(0), 16);
	munmap_at(AT(100), 16);
	quire_file_put(f);
	down();
}

Test(swapin, off_is_interrupted)
{
	up();
	mmap_at(AT(0), 16, RW, PRIV | FIX);
	fill(AT(0), 16);
	out(AT(0), 16);
	dies_in = 5;
	cr_expect_eq(CALL(quire_swapoff(&dev[0].dev)), -EINTR);
	cr_expect_eq(total_swap_pages(), 1999);
	cr_expect_gt(swapped(cur), 0);
	verify(AT(0), 16);
	down();
}

/* What could not be read stays a bus error when the device has gone. */
Test(swapin, off_with_pages_that_cannot_be_read)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	up();
	f = memory_file(2);
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	mmap_file(AT(100), 2, RW, MAP_SHARED | FIX, f, 0);
	fill(AT(0), 2);
	fill(AT(100), 2);
	out(AT(0), 2);
	out(AT(100), 2);
	dev[0].broken = true;
	cr_expect_eq(CALL(quire_swapoff(&dev[0].dev)), 0);
	cr_expect_eq(total_swap_pages(), 0);
	cr_expect_eq(touch_at(AT(0)), ADRERR);
	cr_expect_eq(touch_at(AT(100)), ADRERR);
	parent = cur;
	child = fork_now();
	run_space(child);
	cr_expect_eq(store_at(AT(1), 1), ADRERR);
	run_space(parent);
	space_put(child);
	munmap_at(AT(100), 2);
	quire_file_put(f);
	down();
}

Test(swapin, strict_overcommit_counts_swap)
{
	unsigned long limit;

	up();
	limit = vm_commit_limit();
	cr_expect_eq(CALL(quire_swapoff(&dev[0].dev)), 0);
	cr_expect_eq(vm_commit_limit(), limit - 1999);
	cr_expect_eq(quire_swapon(&dev[0].dev, NULL, 0), 0);
	quire_sysctl_set("overcommit_memory", 2);
	cr_expect_eq(quire_sysctl_set("overcommit_ratio", 0), 0);
	cr_expect_lt(mmap_at(AT(0), 2500, RW, PRIV | FIX), 0);
	quire_sysctl_set("admin_reserve_kbytes", 0);
	quire_sysctl_set("user_reserve_kbytes", 0);
	cr_expect_eq(mmap_at(AT(0), 1500, RW, PRIV | FIX), (long)AT(0));
	cr_expect_eq(CALL(quire_swapoff(&dev[0].dev)), -ENOMEM, "what is promised needs it");
	munmap_at(AT(0), 1500);
	down();
}
