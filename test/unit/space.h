/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests of address spaces share: a machine, the core, spaces with a fault handler
 * behind them, and short names for calls and accesses. After each call every invariant is checked
 * and the machine is told that the core returned, so that it can look for stale translations.
 */
#ifndef TEST_UNIT_SPACE_H
#define TEST_UNIT_SPACE_H

#include "mm_test.h"

#include <stdio.h>

#include "mm/fault/fault.h"
#include "mm/fault/memory.h"
#include "mm/object/filemap.h"
#include "mm/rmap/rmap.h"
#include <quire/abi.h>
#include <quire/os.h>
#include <quire/trace.h>

#define MIB  (1ull << 20)
#define RW   (PROT_READ | PROT_WRITE)
#define PRIV (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHAR (MAP_SHARED | MAP_ANONYMOUS)
#define FIX  MAP_FIXED
#define BASE ((uintptr_t)1 << 36)
#define PS   PAGE_SIZE
#define AT(n) (BASE + (uintptr_t)(n) * PS)

static struct quire_mm *cur; /* the running space */
static struct quire_fault_result last; /* the answer to the last fault */
static unsigned taken;		 /* faults that were resolved */

/* Limits and capabilities of the tasks under test; the kernel's part, by overriding the defaults. */
static uint64_t limits[16];
static bool no_caps;

uint64_t os_rlimit(void *owner, int resource)
{
	return limits[resource] ? limits[resource] - 1 : RLIM_INFINITY;
}

static uint64_t hard_limits = RLIM_INFINITY;

uint64_t os_rlimit_max(void *owner, int resource)
{
	return hard_limits;
}

bool os_capable(void *owner, int cap)
{
	return !no_caps;
}

/* A fatal signal is there when the core asks for the n-th time; 0: never. */
static unsigned dies_in;
static bool is_dying; /* it is there, and stays */

bool os_fatal_signal_pending(void)
{
	return is_dying || (dies_in && --dies_in == 0);
}

/* Bytes; LIMIT_NONE takes it away. */
#define LIMIT_NONE UINT64_MAX
static inline void limit_set(int resource, uint64_t v)
{
	limits[resource] = v == LIMIT_NONE ? 0 : v + 1;
}

static bool space_fault(const struct fault_info *fi, void *ctx)
{
	quire_page_fault(cur, fi, &last);
	if (last.outcome == QUIRE_FAULT_DONE)
		taken++;
	return last.outcome == QUIRE_FAULT_DONE;
}

static inline void run_space(struct quire_mm *mm)
{
	irqflags_t f = hal_irq_save();

	cur = mm;
	quire_mm_switch(mm);
	hal_irq_restore(f);
}

static inline struct quire_mm *space_new(void)
{
	struct quire_mm_params p = {.owner = NULL};
	struct quire_mm *mm = quire_mm_create(&p);

	cr_assert(mm);
	return mm;
}

static inline void space_up_with(const struct fake_config *fc, const struct quire_config *qc)
{
	machine_up_cfg(fc, qc);
	fake_on_fault(space_fault, NULL);
	taken = 0;
	run_space(space_new());
}

static inline void space_up_cfg(const struct fake_config *fc)
{
	space_up_with(fc, NULL);
}

static inline void space_up(void)
{
	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1});
}

static inline void check_now(void)
{
	fake_core_returned();
	cr_assert_eq(quire_check(cur), 0);
}

static inline void space_put(struct quire_mm *mm)
{
	if (mm == cur)
		run_space(NULL);
	quire_mm_put(mm);
	fake_core_returned();
}

static inline void space_down(void)
{
	if (cur) {
		check_now();
		space_put(cur);
	}
	cr_expect_eq(vm_memory_committed(), 0);
	cr_expect_eq(fake_tlb_audit(), 0);
	machine_down();
}

/* ---- calls ------------------------------------------------------------------------------------ */

static inline long mmap_at(uintptr_t a, size_t pages, unsigned long prot, unsigned long flags)
{
	long r = quire_mmap(cur, a, pages * PS, prot, flags, NULL, 0);

	check_now();
	return r;
}

static inline long mmap_file(uintptr_t a, size_t pages, unsigned long prot, unsigned long flags,
			     struct quire_file *f, unsigned long pgoff)
{
	long r = quire_mmap(cur, a, pages * PS, prot, flags, f, (uint64_t)pgoff * PS);

	check_now();
	return r;
}

#define CALL(x)                          \
	({                               \
		long r_ = (long)(x);     \
		check_now();             \
		r_;                      \
	})
#define munmap_at(a, pages)	     CALL(quire_munmap(cur, a, (pages) * PS))
#define mprotect_at(a, pages, prot)  CALL(quire_mprotect(cur, a, (pages) * PS, prot))
#define madvise_at(a, pages, advice) CALL(quire_madvise(cur, a, (pages) * PS, advice))

/* ---- accesses: 0, or the signal's number * 16 + code, or KILLED ---------------------------------- */

#define KILLED (-1)

static inline int refused(void)
{
	return last.outcome == QUIRE_FAULT_KILL ? KILLED : last.sig * 16 + last.code;
}

static inline int store_at(uintptr_t a, uint64_t v)
{
	struct fault_info fi;

	if (fake_user_store(a, 8, v, &fi))
		return 0;
	return refused();
}

static inline int touch_at(uintptr_t a)
{
	struct fault_info fi;
	uint64_t v;

	return fake_user_load(a, 8, &v, &fi) ? 0 : refused();
}

static inline int exec_at(uintptr_t a)
{
	struct fault_info fi;
	uint64_t v;

	return fake_user_fetch(a, 1, &v, &fi) ? 0 : refused();
}

static inline uint64_t load_at(uintptr_t a)
{
	uint64_t v = 0xdeadull << 32;

	cr_expect(fake_user_load(a, 8, &v, NULL), "load %#lx refused", (unsigned long)a);
	return v;
}

#define MAPERR (11 * 16 + 1)
#define ACCERR (11 * 16 + 2)
#define ADRERR (7 * 16 + 2)

/* An expectation as an expression. */
#define OK(x)                     \
	({                        \
		cr_expect(x, #x); \
		0;                \
	})

/* Faults that an expression takes. */
#define FAULTS(x)                    \
	({                           \
		unsigned t_ = taken; \
		(void)(x);           \
		taken - t_;          \
	})

/* ---- looking ----------------------------------------------------------------------------------- */

/* Does what only a writer of the space may. */
#define SPACE_LOCKED(mm, stmt)                         \
	do {                                           \
		struct mm_struct *mm_ = (mm);          \
                                                       \
		down_write(&mm_->mmap_lock);           \
		stmt;                                  \
		up_write(&mm_->mmap_lock);             \
	} while (0)

static inline struct vm_area_struct *vma_in(struct mm_struct *mm, uintptr_t addr)
{
	struct vm_area_struct *vma;

	down_read(&mm->mmap_lock);
	vma = find_vma(mm, addr);
	up_read(&mm->mmap_lock);
	return vma;
}

static inline struct mm_struct *mm_now(void)
{
	return to_mm(cur);
}

static inline struct vm_area_struct *vma_at(uintptr_t addr)
{
	return vma_in(mm_now(), addr);
}

/* The layout of the arena as the scenarios write it: "0-1:rw-p 1-2:---p". */
static inline const char *layout(void)
{
	static char s[4096];
	size_t n = 0;

	s[0] = 0;
	for (struct vm_area_struct *v = mm_now()->mmap; v; v = v->vm_next)
		if (v->vm_start >= BASE && v->vm_start < AT(1 << 20))
			n += snprintf(s + n, sizeof(s) - n, "%s%lu-%lu:%c%c%c%c", n ? " " : "",
				      (unsigned long)((v->vm_start - BASE) / PS),
				      (unsigned long)((v->vm_end - BASE) / PS),
				      v->vm_flags & VM_READ ? 'r' : '-',
				      v->vm_flags & VM_WRITE ? 'w' : '-',
				      v->vm_flags & VM_EXEC ? 'x' : '-',
				      v->vm_flags & VM_MAYSHARE ? 's' : 'p');
	return s;
}

#define EXPECT_LAYOUT(want) cr_expect_str_eq(layout(), want)

static inline uint64_t pfn_at(uintptr_t a)
{
	uint64_t w = quire_pagemap(cur, a);

	return w >> 63 ? w & ((1ull << 55) - 1) : 0;
}

static inline bool present_at(uintptr_t a)
{
	return quire_pagemap(cur, a) >> 63;
}

/* A file whose page n is full of the byte n + 1, all of it in the cache. */
static int pattern_readpage(struct quire_inode *inode, uint64_t index, void *dst)
{
	memset(dst, index + 1, PS);
	return 0;
}

static const struct quire_inode_ops pattern_ops = {.readpage = pattern_readpage};

static inline struct quire_file *file_new(unsigned pages, unsigned fmode)
{
	struct quire_inode *inode = quire_inode_create(&pattern_ops, NULL, 42, 8 << 20 | 1, 0);
	struct quire_file *f;

	cr_assert(inode);
	quire_inode_truncate(inode, (uint64_t)pages * PS);
	quire_inode_populate(inode, 0, (uint64_t)pages * PS);
	f = quire_file_open(inode, fmode, "/bin/thing");
	quire_inode_put(inode);
	cr_assert(f);
	return f;
}

#define FRW (QUIRE_FMODE_READ | QUIRE_FMODE_WRITE)

#endif
