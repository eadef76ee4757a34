/* SPDX-License-Identifier: MIT */
/*
 * Four CPUs at once, each a host thread, over the core with every access watched by the thread
 * sanitizer: pages, pages that move, slabs, the kernel's range, files, and one address space with
 * faults, mmap, munmap, mprotect, madvise and fork in it. After each part all invariants are checked
 * and nothing may be missing. A data race ends the run with the sanitizer's report and its exit status.
 *
 * usage: concurrent [PART [ROUNDS]]; TAP on standard output.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/host/host.h"
#include "lib/bug.h"
#include "mm/base/vmstat.h"
#include "mm/fault/fault.h"
#include "mm/migrate/compaction.h"
#include "mm/migrate/migrate.h"
#include "mm/object/filemap.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_alloc.h"
#include "mm/reclaim/vmscan.h"
#include "mm/report/check.h"
#include "mm/slab/slab.h"
#include "mm/space/range.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>
#include <quire/block.h>
#include <quire/quire.h>

#include "../unit/toy_compressor.h"

#define CPUS  4
#define RAM   (128ull << 20)
#define ARENA ((uintptr_t)1 << 36)
#define SLOTS 64

static unsigned rounds;
static pthread_barrier_t barrier;

/* ---- threads ----------------------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	unsigned cpu;
	uint64_t x;
	void (*fn)(struct worker *w);
};

static uint64_t rnd(struct worker *w, uint64_t n)
{
	w->x ^= w->x << 13;
	w->x ^= w->x >> 7;
	w->x ^= w->x << 17;
	return (w->x >> 16) % n;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(&barrier);
	host_cpu_enter(w->cpu);
	w->fn(w);
	host_cpu_leave();
	return NULL;
}

/* fn on every CPU; the main thread is away meanwhile, and CPU 0 is a worker's. */
static void together(void (*fn)(struct worker *w))
{
	struct worker w[CPUS];

	host_cpu_leave();
	pthread_barrier_init(&barrier, NULL, CPUS);
	for (unsigned i = 0; i < CPUS; i++) {
		w[i] = (struct worker){.cpu = i, .x = 0x9e3779b97f4a7c15ull * (i + 1), .fn = fn};
		pthread_create(&w[i].thread, NULL, run, &w[i]);
	}
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(w[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	host_cpu_enter(0);
}

/* Exchanges with whoever left something here: what one CPU allocates, another frees. */
static void *swap_slot(void **slot, void *p)
{
	return __atomic_exchange_n(slot, p, __ATOMIC_ACQ_REL);
}

static void *slots[SLOTS];

/* ---- pages ------------------------------------------------------------------------------------- */

static const gfp_t kinds[] = {GFP_KERNEL, GFP_HIGHUSER_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE,
			      GFP_ATOMIC | __GFP_NOWARN};

static void put_block(struct page *p)
{
	if (p)
		__free_pages(p, (unsigned)p->private);
}

static void pages(struct worker *w)
{
	for (unsigned i = 0; i < rounds; i++) {
		unsigned order = rnd(w, 8) ? 0 : (unsigned)rnd(w, 5);
		struct page *p = alloc_pages(kinds[rnd(w, 4)], order);

		if (p) {
			memset(page_address(p), (int)w->cpu, 64);
			p->private = order;
		}
		put_block(swap_slot(&slots[rnd(w, SLOTS)], p));
		if (!rnd(w, 400))
			drain_all_pages();
	}
}

static void pages_end(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		put_block(swap_slot(&slots[i], NULL));
}

/* ---- the page model, at once ------------------------------------------------------------------- */

#define OWNED 100 /* blocks of each CPU */
#define MOVED 64  /* pages of a file that compaction moves meanwhile */

struct owned {
	struct page *page;
	unsigned order;
	uint64_t tag;
};

static struct owned owned[CPUS][OWNED];
static struct quire_inode *moving;

static void expect(bool good, const char *what)
{
	if (!good) {
		printf("not ok - %s\nBail out!\n", what);
		exit(1);
	}
}

/* A block that is nobody else's keeps what its owner wrote at both ends. */
static void check_owned(const struct owned *o)
{
	const uint64_t *first = page_address(o->page);
	const uint64_t *last = page_address(o->page + (1u << o->order) - 1);

	expect(page_count(o->page) == 1, "a block has one reference, its owner's");
	expect(*first == o->tag && last[1] == o->tag, "a block holds what its owner wrote");
}

static void own_or_free(struct worker *w, struct owned *o)
{
	if (o->page) {
		check_owned(o);
		if (!o->order && rnd(w, 4) == 0) {
			__atomic_store_n(&o->page->_refcount, 0, __ATOMIC_RELEASE);
			free_page_bulk(&o->page, 1);
		} else {
			__free_pages(o->page, o->order);
		}
		o->page = NULL;
		return;
	}
	o->order = rnd(w, 8) ? 0 : (unsigned)rnd(w, 10);
	o->tag = w->x;
	o->page = alloc_pages(kinds[rnd(w, 4)] | __GFP_NOWARN, o->order);
	if (!o->page)
		return;
	((uint64_t *)page_address(o->page))[0] = o->tag;
	((uint64_t *)page_address(o->page + (1u << o->order) - 1))[1] = o->tag;
}

/* Wherever it is by now: its place in the file and its contents are what they were. */
static void check_moving(struct worker *w)
{
	uint64_t index = rnd(w, MOVED);
	struct page *p = find_lock_page(&moving->i_mapping, index);

	expect(p != NULL, "a page of the file is there");
	expect(p->index == index && p->mapping == &moving->i_mapping,
	       "a page of the file knows where it belongs");
	expect(*(uint64_t *)page_address(p) == index + 1, "a page moves with its contents");
	unlock_page(p);
	put_page(p);
}

/* One page of the file to another frame, unless somebody is at it or moves pages himself. */
static void move_one(struct worker *w)
{
	struct page *old, *fresh;

	if (!migrate_begin())
		return;
	old = find_get_page(&moving->i_mapping, rnd(w, MOVED));
	fresh = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	expect(old && fresh, "there is a page to move, and where to");
	migrate_page(old, fresh);
	migrate_end();
}

static void page_model(struct worker *w)
{
	for (unsigned i = 0; i < rounds / 2; i++) {
		unsigned what = (unsigned)rnd(w, 400);

		if (what < 40)
			check_moving(w);
		else if (what == 40)
			drain_all_pages();
		else if (what == 41)
			compact_memory();
		else if (what < 50)
			move_one(w);
		else if (what == 50)
			unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, true);
		else
			own_or_free(w, &owned[w->cpu][rnd(w, OWNED)]);
	}
}

static void page_model_start(void)
{
	moving = quire_inode_create(NULL, NULL, 9, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(moving, MOVED * PAGE_SIZE);
	quire_inode_fallocate(moving, 0, 0, MOVED * PAGE_SIZE);
	for (uint64_t i = 0; i < MOVED; i++) {
		struct page *p = find_get_page(&moving->i_mapping, i);

		*(uint64_t *)page_address(p) = i + 1;
		put_page(p);
	}
}

/* The books: no frame has two owners, each is free or owned once all is given back. */
static void page_model_end(void)
{
	for (unsigned c = 0; c < CPUS; c++)
		for (unsigned i = 0; i < OWNED; i++) {
			struct owned *o = &owned[c][i];

			if (!o->page)
				continue;
			check_owned(o);
			__free_pages(o->page, o->order);
			o->page = NULL;
		}
	expect(sum_vm_event(PGMIGRATE_SUCCESS) > 0, "pages were moved");
	quire_inode_put(moving);
}

/* ---- slabs ------------------------------------------------------------------------------------- */

static struct kmem_cache *cache;

static void slabs(struct worker *w)
{
	for (unsigned i = 0; i < rounds; i++) {
		unsigned slot = (unsigned)rnd(w, SLOTS);
		void *p;

		if (slot & 1) {
			p = kmem_cache_alloc(cache, GFP_KERNEL);
			if (p)
				memset(p, (int)w->cpu, 120);
			p = swap_slot(&slots[slot], p);
			if (p)
				kmem_cache_free(cache, p);
		} else {
			p = kmalloc(rnd(w, 20) ? 16 + rnd(w, 500) : 9000, GFP_KERNEL);
			if (p)
				memset(p, (int)w->cpu, 16);
			kfree(swap_slot(&slots[slot], p));
		}
		if (!rnd(w, 500))
			kmem_cache_shrink(cache);
	}
}

static void slabs_end(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		void *p = swap_slot(&slots[i], NULL);

		if (p && i & 1)
			kmem_cache_free(cache, p);
		else
			kfree(p);
	}
	kmem_cache_destroy(cache);
}

static void slabs_start(void)
{
	cache = kmem_cache_create("concurrent", 120, 8, 0, NULL);
}

/* ---- the kernel's range ------------------------------------------------------------------------ */

static void kernel_range(struct worker *w)
{
	for (unsigned i = 0; i < rounds / 8; i++) {
		unsigned slot = (unsigned)rnd(w, SLOTS);

		if (slot & 1) {
			void *s = quire_stack_alloc(4);

			quire_stack_free(swap_slot(&slots[slot], s));
		} else {
			char *p = vmalloc((1 + rnd(w, 20)) * PAGE_SIZE);

			if (p)
				p[5] = 1;
			vfree(swap_slot(&slots[slot], p));
		}
		if (!rnd(w, 100))
			purge_vmap_area_lazy();
	}
}

static void kernel_range_end(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		void *p = swap_slot(&slots[i], NULL);

		i & 1 ? quire_stack_free(p) : vfree(p);
	}
}

/* ---- one address space ------------------------------------------------------------------------- */

static struct quire_mm *space;
static struct quire_file *file;
static struct quire_inode *inode;

/* A fault as this machine's user mode would take it; whether it is resolved is chance. */
static void fault(struct quire_mm *mm, uintptr_t addr, bool write)
{
	const struct fault_info fi = {
		.addr = addr, .access = write ? FAULT_WRITE : FAULT_READ, .user = true,
	};
	struct quire_fault_result res;

	quire_page_fault(mm, &fi, &res);
}

static uintptr_t place(struct worker *w, unsigned pages)
{
	return ARENA + rnd(w, 256 - pages) * PAGE_SIZE;
}

static void fork_and_touch(struct worker *w)
{
	struct quire_mm *child;

	if (quire_mm_fork(space, NULL, &child))
		return;
	for (unsigned i = 0; i < 16; i++)
		fault(child, place(w, 1), rnd(w, 2));
	quire_mm_put(child);
}

static void change(struct worker *w)
{
	unsigned n = 1 + (unsigned)rnd(w, 24);
	uintptr_t at = place(w, n);
	size_t len = n * PAGE_SIZE;

	switch (rnd(w, 8)) {
	case 0:
	case 1:
		quire_mmap(space, at, len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
		break;
	case 2:
		quire_mmap(space, at, len, PROT_READ | PROT_WRITE,
			   (rnd(w, 2) ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED, file, 0);
		break;
	case 3:
		quire_munmap(space, at, len);
		break;
	case 4:
		quire_mprotect(space, at, len, rnd(w, 2) ? PROT_READ : PROT_READ | PROT_WRITE);
		break;
	case 5:
		quire_madvise(space, at, len, MADV_DONTNEED);
		break;
	case 6:
		fork_and_touch(w);
		break;
	default:
		quire_mremap(space, at, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     place(w, 1));
	}
}

static void one_space(struct worker *w)
{
	for (unsigned i = 0; i < rounds / 2; i++) {
		if (rnd(w, 12))
			fault(space, place(w, 1), rnd(w, 2));
		else
			change(w);
	}
}

static void one_space_start(void)
{
	struct quire_mm_params p = {.owner = NULL};

	space = quire_mm_create(&p);
	inode = quire_inode_create(NULL, NULL, 7, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, 32 * PAGE_SIZE);
	file = quire_file_open(inode, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE, "/shared");
	quire_mmap(space, ARENA, 256 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
}

static long one_space_check(void)
{
	return quire_check(space);
}

static void one_space_end(void)
{
	quire_mm_put(space);
	quire_file_put(file);
	quire_inode_put(inode);
}

/* ---- the same space and others, with pages that go to swap and come back ------------------------- */

#define OWN	  48 /* pages of each CPU in the space, which only it writes */
#define OWN_AT(c) (ARENA + (512 + (uintptr_t)(c) * OWN) * PAGE_SIZE)
#define DISKS	  2

static struct swap_disk {
	struct quire_blkdev dev;
	uint8_t *data;
	uint32_t on; /* atomic */
} disks[DISKS];

static uint64_t lost; /* atomic: pages that held something else */

/* Answers at once; each of its sectors is locked by nobody, for no two transfers of one slot may be
 * under way together: that would be a race, and the sanitizer's to tell. */
static struct quire_bio *swap_disk_submit(struct quire_blkdev *dev, struct quire_bio *chain, bool wait)
{
	struct swap_disk *d = dev->driver;

	while (chain) {
		struct quire_bio *bio = chain;
		uint8_t *at = d->data + (bio->sector << QUIRE_SECTOR_SHIFT);
		irqflags_t flags;

		chain = bio->next;
		if (bio->op == QUIRE_BIO_WRITE)
			memcpy(at, hal_phys_to_virt(bio->phys), bio->len);
		else
			memcpy(hal_phys_to_virt(bio->phys), at, bio->len);
		flags = hal_irq_save();
		bio->end_io(bio, 0);
		hal_irq_restore(flags);
	}
	return NULL;
}

static const struct quire_blkdev_ops swap_disk_ops = {.submit = swap_disk_submit};

static void swap_disk_make(struct swap_disk *d, const char *name, uint32_t slots, bool in_memory)
{
	uint32_t head[3] = {1, slots - 1, 0};

	d->data = calloc(slots, PAGE_SIZE);
	memcpy(d->data + 1024, head, sizeof(head));
	memcpy(d->data + PAGE_SIZE - 10, "SWAPSPACE2", 10);
	d->dev = (struct quire_blkdev){.name = name, .sectors = (uint64_t)slots << (PAGE_SHIFT - 9),
				       .queue_depth = 32, .ops = &swap_disk_ops, .driver = d,
				       .in_memory = in_memory};
	d->on = !quire_swapon(&d->dev, NULL, 0);
}

static void swap_on_off(struct worker *w)
{
	struct swap_disk *d = &disks[rnd(w, DISKS)];

	if (__atomic_exchange_n(&d->on, 2, __ATOMIC_ACQ_REL) == 1)
		__atomic_store_n(&d->on, quire_swapoff(&d->dev) ? 1 : 0, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&d->on, quire_swapon(&d->dev, NULL, 0) ? 0 : 1, __ATOMIC_RELEASE);
}

/* Compressing is switched, and the pool has a hundredth of memory or nothing. */
static void zswap_turn(struct worker *w)
{
	quire_zswap_enable(rnd(w, 4));
	quire_zswap_set_max_pool_percent((unsigned)rnd(w, 2));
}

static void swapping(struct worker *w)
{
	uint64_t tag[OWN] = {0}, v;

	for (unsigned i = 0; i < rounds; i++) {
		unsigned page = (unsigned)rnd(w, OWN), what = (unsigned)rnd(w, 64);
		uintptr_t at = OWN_AT(w->cpu) + page * PAGE_SIZE;

		if (what < 2) {
			quire_reclaim(1 + rnd(w, 100));
		} else if (what < 5) {
			quire_madvise(space, OWN_AT(rnd(w, CPUS)), OWN * PAGE_SIZE, MADV_PAGEOUT);
		} else if (what < 6) {
			quire_madvise(space, ARENA, 256 * PAGE_SIZE, MADV_PAGEOUT);
		} else if (what < 10) {
			change(w);
		} else if (what < 11 && !rnd(w, 8)) {
			swap_on_off(w);
		} else if (what < 12 && !rnd(w, 8)) {
			zswap_turn(w);
		} else if (what < 30) {
			fault(space, place(w, 1), rnd(w, 2));
		} else if (what < 46) {
			v = ((uint64_t)w->cpu + 1) << 56 | i;
			if (quire_mm_write(space, at, &v, 8) == 8)
				tag[page] = v;
		} else if (quire_mm_read(space, at, &v, 8) == 8 && v != tag[page]) {
			__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
		}
	}
}

static void swapping_up(bool in_memory)
{
	one_space_start();
	quire_mmap(space, OWN_AT(0), CPUS * OWN * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
	swap_disk_make(&disks[0], "a", 3000, false);
	swap_disk_make(&disks[1], "b", 300, in_memory);
	lost = 0;
}

static void swapping_start(void)
{
	swapping_up(false);
}

/* The same with compressed copies, and one of the two without a device behind them. */
static void compressing_start(void)
{
	toy_spread = 3000;
	swapping_up(true);
}

static long swapping_check(void);

static long compressing_check(void)
{
	struct quire_zswap_info z;

	quire_zswap_info(&z);
	if (!z.loaded_pages || !z.written_back_pages)
		printf("# %lu loaded, %lu written back, %lu dropped\n", z.loaded_pages, z.written_back_pages,
		       z.dropped_pages);
	return swapping_check() + !z.loaded_pages + (long)z.decompress_fail;
}

static long swapping_check(void)
{
	if (lost)
		printf("# %lu pages held something else\n", (unsigned long)lost);
	return quire_check(space) + (long)lost;
}

static void swapping_end(void)
{
	struct quire_swap_info info;

	quire_mm_put(space);
	quire_file_put(file);
	quire_inode_put(inode);
	while (quire_swap_info(0, &info))
		if (info.used || quire_swapoff(info.dev)) {
			printf("# %lu slots are in use\n", info.used);
			break;
		}
	for (unsigned i = 0; i < DISKS; i++)
		free(disks[i].data);
}

/* ---- a file mapped by many, growing and shrinking ------------------------------------------------ */

static struct quire_mm *spaces[CPUS];

static void one_file(struct worker *w)
{
	struct quire_mm *mm = spaces[w->cpu];

	for (unsigned i = 0; i < rounds / 2; i++) {
		unsigned what = (unsigned)rnd(w, 40);

		if (what == 0)
			quire_inode_truncate(inode, (1 + rnd(w, 64)) * PAGE_SIZE);
		else if (what == 1)
			quire_munmap(mm, place(w, 8), 8 * PAGE_SIZE);
		else if (what == 2)
			quire_mmap(mm, place(w, 16), 16 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, file, rnd(w, 40) * PAGE_SIZE);
		else
			fault(mm, place(w, 1), rnd(w, 2));
	}
}

static void one_file_start(void)
{
	struct quire_mm_params p = {.owner = NULL};

	inode = quire_inode_create(NULL, NULL, 8, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, 64 * PAGE_SIZE);
	file = quire_file_open(inode, QUIRE_FMODE_READ | QUIRE_FMODE_WRITE, "/growing");
	for (unsigned i = 0; i < CPUS; i++) {
		spaces[i] = quire_mm_create(&p);
		for (unsigned k = 0; k < 256; k += 64)
			quire_mmap(spaces[i], ARENA + k * PAGE_SIZE, 64 * PAGE_SIZE,
				   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
	}
}

static long one_file_check(void)
{
	long n = 0;

	for (unsigned i = 0; i < CPUS; i++)
		n += quire_check(spaces[i]);
	return n;
}

static void one_file_end(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		quire_mm_put(spaces[i]);
	quire_file_put(file);
	quire_inode_put(inode);
}

/* ---- pages that are made while others read the file ---------------------------------------------- */

static unsigned long stale_words; /* of other people's data */

static void file_reads_start(void)
{
	inode = quire_inode_create(NULL, NULL, 8, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, 64 * PAGE_SIZE);
}

static void file_reads(struct worker *w)
{
	static __thread uint64_t buf[512];

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t at = rnd(w, 16) * PAGE_SIZE;

		if (w->cpu == 0) {
			if (rnd(w, 8) == 0) {
				quire_inode_truncate(inode, 0);
				quire_inode_truncate(inode, 64 * PAGE_SIZE);
			}
			quire_inode_fallocate(inode, 0, at, PAGE_SIZE);
			usleep(50); /* no lock of the file's meanwhile: nothing but the bit orders it */
		} else if (w->cpu == 1) {
			struct page *p = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);

			if (p) {
				memset(page_address(p), 0xa5, PAGE_SIZE);
				__free_pages(p, 0);
			}
		} else {
			long n = quire_inode_read(inode, at, (uintptr_t)buf, PAGE_SIZE, false);

			for (long k = 0; k < n / 8; k++)
				if (buf[k])
					__atomic_fetch_add(&stale_words, 1, __ATOMIC_RELAXED);
		}
	}
}

static long file_reads_check(void)
{
	return (long)stale_words;
}

static void file_reads_end(void)
{
	quire_inode_put(inode);
}

/* ---- a stack grows while others fault in it ---------------------------------------------------- */

#define STACK_TOP (ARENA + (1ull << 32))

static void stack_start(void)
{
	struct quire_mm_params p = {.owner = NULL};

	space = quire_mm_create(&p);
	quire_mmap(space, STACK_TOP - 64 * PAGE_SIZE, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, NULL, 0);
	fault(space, STACK_TOP - PAGE_SIZE, true);
}

static void stack_grows(struct worker *w)
{
	uintptr_t low = STACK_TOP - 64 * PAGE_SIZE;

	for (unsigned i = 0; i < rounds; i++) {
		uintptr_t at = STACK_TOP - (1 + rnd(w, 60)) * PAGE_SIZE;

		if (w->cpu == 0) {
			low -= PAGE_SIZE;
			fault(space, low, i & 1);
		} else {
			fault(space, at, true);
			if (!rnd(w, 2))
				quire_madvise(space, at, PAGE_SIZE, MADV_DONTNEED);
		}
	}
}

static void stack_end(void)
{
	quire_mm_put(space);
}

/* ---- a space whose pages are moved by compaction meanwhile -------------------------------------- */

static bool allowed_now(struct quire_mm *mm, uintptr_t addr, bool write)
{
	pte_t *pte;
	pte_t v;

	down_read(&to_mm(mm)->mmap_lock);
	pte = pt_find(to_mm(mm), addr);
	v = pte ? pte_get(pte) : 0;
	up_read(&to_mm(mm)->mmap_lock);
	return arch_pte_is_leaf(v) && (!write || arch_pte_has(v, PTE_BIT_W));
}

static void moving_space(struct worker *w)
{
	for (unsigned i = 0; i < rounds; i++) {
		uintptr_t at = place(w, 1);
		bool write = rnd(w, 2);

		if (w->cpu == 0 && i % 16 == 0)
			compact_memory();
		else if (w->cpu == 1 && rnd(w, 4) == 0)
			quire_madvise(space, at, PAGE_SIZE, MADV_DONTNEED);
		else if (w->cpu == 2 && rnd(w, 200) == 0)
			quire_inode_truncate(inode, rnd(w, 2) * 32 * PAGE_SIZE);
		else if (!allowed_now(space, at, write))
			fault(space, at, write);
	}
}

static void moving_space_start(void)
{
	one_space_start();
	quire_mmap(space, ARENA + 64 * PAGE_SIZE, 32 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, file, 0);
}

/* ---- a space that is reclaimed meanwhile: to swap, and back ------------------------------------- */

static void reclaimed_start(void)
{
	moving_space_start();
	swap_disk_make(&disks[0], "a", 2048, false);
	ASSERT(disks[0].on);
}

static bool two_policies;

static void two_policies_start(void)
{
	reclaimed_start();
	two_policies = true;
	ASSERT(quire_sysctl_set("reclaim_policy", 1) == 0);
}

/* One CPU reclaims and moves pages, one gives them up and locks them, one cuts the file and forks. */
static void reclaimed_space(struct worker *w)
{
	for (unsigned i = 0; i < rounds / 2; i++) {
		uintptr_t at = place(w, 8);
		unsigned what = (unsigned)rnd(w, 64);

		if (w->cpu == 0 && what < 8)
			quire_reclaim(1 + rnd(w, 64));
		else if (w->cpu == 0 && what == 8)
			compact_memory();
		else if (w->cpu == 0 && what == 9 && two_policies)
			quire_sysctl_set("reclaim_policy", (long)rnd(w, 2));
		else if (w->cpu == 3 && what == 9)
			rnd(w, 2) ? quire_mm_sleeps(space) : quire_mm_runs(space);
		else if (w->cpu == 1 && what < 4)
			quire_madvise(space, at, 8 * PAGE_SIZE, what & 1 ? MADV_FREE : MADV_PAGEOUT);
		else if (w->cpu == 1 && what < 6)
			what & 1 ? quire_mlock(space, at, 8 * PAGE_SIZE, 0) :
				   quire_munlock(space, at, 8 * PAGE_SIZE);
		else if (w->cpu == 2 && what == 0)
			quire_inode_truncate(inode, rnd(w, 2) * 32 * PAGE_SIZE);
		else if (w->cpu == 2 && what == 1)
			fork_and_touch(w);
		else if (w->cpu == 3 && what < 2)
			quire_madvise(space, at, 8 * PAGE_SIZE, MADV_DONTNEED);
		else
			fault(space, at, rnd(w, 2));
	}
}

static void reclaimed_end(void)
{
	uint64_t out = sum_vm_event(PSWPOUT);

	quire_munlock(space, ARENA, 256 * PAGE_SIZE);
	ASSERT(quire_swapoff(&disks[0].dev) == 0);
	ASSERT(out);
	one_space_end();
	free(disks[0].data);
}

static void two_policies_end(void)
{
	two_policies = false;
	reclaimed_end();
}

/* ---- a page that is valid, seen without its lock ------------------------------------------------ */

static struct page *valid_pages[CPUS];

static void valid_start(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		valid_pages[i] = alloc_pages(GFP_KERNEL, 0);
}

/* Each fills a page of its own and says so, then reads its neighbour's as soon as that is valid. */
static void valid(struct worker *w)
{
	struct page *mine = valid_pages[w->cpu], *theirs = valid_pages[(w->cpu + 1) % CPUS];

	for (unsigned i = 0; i < rounds / 64; i++) {
		pthread_barrier_wait(&barrier);
		for (unsigned k = 0; k < 8; k++) /* the sanitizer sees no memset() of so little */
			((unsigned long *)page_address(mine))[k] = i;
		SetPageUptodate(mine);
		while (!PageUptodate(theirs))
			host_yield();
		for (unsigned k = 0; k < 8; k++)
			ASSERT(((unsigned long *)page_address(theirs))[k] == i);
		pthread_barrier_wait(&barrier);
		page_clear(mine, PG_uptodate);
	}
}

static void valid_end(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		__free_pages(valid_pages[i], 0);
}

/* ---- families of spaces that end on other CPUs than they began ---------------------------------- */

static void leave_space(struct worker *w, struct quire_mm *mm)
{
	struct quire_mm *other = swap_slot(&slots[rnd(w, SLOTS)], mm);

	if (other)
		quire_mm_put(other);
}

static void families(struct worker *w)
{
	for (unsigned i = 0; i < rounds / 16; i++) {
		struct quire_mm_params p = {.owner = NULL};
		struct quire_mm *first = quire_mm_create(&p), *child, *grandchild;

		quire_mmap(first, ARENA, 16 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
		fault(first, ARENA, true);
		if (!quire_mm_fork(first, NULL, &child)) {
			fault(child, ARENA, true);
			if (!quire_mm_fork(child, NULL, &grandchild))
				leave_space(w, grandchild);
			leave_space(w, child);
		}
		leave_space(w, first);
	}
}

static void families_end(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct quire_mm *mm = swap_slot(&slots[i], NULL);

		if (mm)
			quire_mm_put(mm);
	}
}

/* ---- a semaphore that is handed over, and freed by whoever got it last ------------------------- */

#define USES_EACH 8 /* what a CPU does with one semaphore */

static struct shared {
	struct rw_semaphore sem;
	unsigned uses;	 /* atomic: how many may still come; who takes the last frees */
	unsigned inside; /* atomic: readers */
	unsigned long count, twin;
	uint64_t padding[4];
} *shared;

static unsigned long rwsem_wrong, rwsem_writes_done;

static struct shared *shared_new(void)
{
	struct shared *s = kzalloc(sizeof(*s), GFP_KERNEL);

	init_rwsem_named(&s->sem, "handed over");
	s->uses = CPUS * USES_EACH;
	return s;
}

static void rwsem_wrong_if(bool wrong)
{
	if (wrong)
		__atomic_fetch_add(&rwsem_wrong, 1, __ATOMIC_RELAXED);
}

static void reads(struct shared *s)
{
	__atomic_fetch_add(&s->inside, 1, __ATOMIC_RELAXED);
	rwsem_wrong_if(s->count != s->twin);
	host_yield();
	rwsem_wrong_if(s->count != s->twin);
	__atomic_fetch_sub(&s->inside, 1, __ATOMIC_RELAXED);
}

static void writes(struct shared *s)
{
	rwsem_wrong_if(__atomic_load_n(&s->inside, __ATOMIC_RELAXED) != 0);
	s->count++;
	host_yield();
	s->twin++;
}

/* In any way; true: this was the last use, and all before it have let go. */
static bool use(struct worker *w, struct shared *s)
{
	bool last;

	if (rnd(w, 3)) {
		down_read(&s->sem);
		reads(s);
		last = __atomic_sub_fetch(&s->uses, 1, __ATOMIC_RELAXED) == 0;
		up_read(&s->sem);
	} else {
		down_write(&s->sem);
		writes(s);
		last = __atomic_sub_fetch(&s->uses, 1, __ATOMIC_RELAXED) == 0;
		if (rnd(w, 2)) {
			downgrade_write(&s->sem);
			reads(s);
			up_read(&s->sem);
		} else {
			up_write(&s->sem);
		}
	}
	if (last) /* those inside have said so, and may be letting go right now */
		down_write(&s->sem);
	return last;
}

/* Everybody uses the same one a number of times; who had it last waits for those inside and frees it,
 * while they may still be in the call that let it go. */
static void rwsems(struct worker *w)
{
	for (unsigned i = 0; i < rounds / USES_EACH; i++) {
		struct shared *s;

		pthread_barrier_wait(&barrier);
		s = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
		for (unsigned k = 0; k < USES_EACH; k++) {
			if (!use(w, s))
				continue;
			__atomic_fetch_add(&rwsem_writes_done, s->count, __ATOMIC_RELAXED);
			__atomic_store_n(&shared, shared_new(), __ATOMIC_RELEASE);
			up_write(&s->sem);
			kfree(s);
		}
	}
}

static void rwsems_start(void)
{
	rwsem_wrong = rwsem_writes_done = 0;
	shared = shared_new();
}

static long rwsems_check(void)
{
	return (long)rwsem_wrong + (shared->uses != CPUS * USES_EACH) + !rwsem_writes_done;
}

static void rwsems_end(void)
{
	kfree(shared);
}

/* ---- the run ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*start)(void);
	void (*work)(struct worker *w);
	long (*check)(void);
	void (*end)(void);
	const char *params;
} parts[] = {
	{"pages", NULL, pages, NULL, pages_end},
	{"page-model", page_model_start, page_model, NULL, page_model_end},
	{"pages-late", NULL, pages, NULL, pages_end, "late_free=1"},
	{"page-model-late", page_model_start, page_model, NULL, page_model_end, "late_free=1"},
	{"slabs", slabs_start, slabs, NULL, slabs_end},
	{"kernel-range", NULL, kernel_range, NULL, kernel_range_end},
	{"one-space", one_space_start, one_space, one_space_check, one_space_end},
	{"one-file", one_file_start, one_file, one_file_check, one_file_end},
	{"file-reads", file_reads_start, file_reads, file_reads_check, file_reads_end},
	{"stack", stack_start, stack_grows, one_space_check, stack_end},
	{"valid-pages", valid_start, valid, NULL, valid_end},
	{"families", NULL, families, NULL, families_end},
	{"rwsems", rwsems_start, rwsems, rwsems_check, rwsems_end},
	{"swapping", swapping_start, swapping, swapping_check, swapping_end},
	{"compressing", compressing_start, swapping, compressing_check, swapping_end,
	 "zswap.enabled=1 zswap.max_pool_percent=1"},
	{"moving-space", moving_space_start, moving_space, one_space_check, one_space_end},
	{"reclaimed-space", reclaimed_start, reclaimed_space, one_space_check, reclaimed_end},
	{"two-policies", two_policies_start, reclaimed_space, one_space_check, two_policies_end},
};

static bool part(unsigned i)
{
	long broken, held;

	if (host_machine_create(RAM, CPUS) ||
	    quire_init(&(struct quire_config){.params = parts[i].params, .compressor = &toy_compressor}))
		return false;
	if (parts[i].start)
		parts[i].start();
	together(parts[i].work);
	broken = check_phys();
	if (parts[i].check)
		broken += parts[i].check();
	if (parts[i].end)
		parts[i].end();
	broken += check_phys();
	held = quire_exit();
	host_machine_destroy();
	if (broken || held)
		printf("# %ld invariants are broken, %ld pages are held\n", broken, held);
	return !broken && !held;
}

int main(int argc, char **argv)
{
	unsigned n = 0, failed = 0;

	rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 4000;
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		bool good;

		if (argc > 1 && strcmp(argv[1], "all") && strcmp(argv[1], parts[i].name))
			continue;
		good = part(i);
		failed += !good;
		printf("%sok %u - %s on %u CPUs\n", good ? "" : "not ", ++n, parts[i].name, CPUS);
		fflush(stdout);
	}
	printf("1..%u\n", n);
	return failed || !n;
}
