/* SPDX-License-Identifier: MIT */
/*
 * Page-fault entry, from the machine's description of a fault to the answer (resolved, SIGSEGV,
 * SIGBUS, kill): do_page_fault(), permission checks, the derived error code. The order is Linux's
 * on x86-64, on every machine, because it decides how many faults a program sees:
 *
 *   1. find the VMA; below a stack, grow it
 *   2. look at the entry as it is: that makes the derived error code, compared with the CPU's own
 *   3. is the access allowed? A read or fetch of an absent entry is let through to any accessible
 *      VMA; only the entry then made will refuse a fetch from a page without the right to execute
 *   4. handle_mm_fault() chooses one row (memory.c); trace, count, answer
 */
#include "mm/fault/fault.h"
#include "lib/printf.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/fault/memory.h"

/* As often may one access fault in a row with nothing left to do, before we call it a bug. A CPU
 * that caches absent entries needs one; more only if others change the tables meanwhile. */
#define SPURIOUS_MAX 1000

/* What is known of one fault while it is handled. The common way is inline, and gets the first three beside
 * it: so they stay in registers, though the structure's address is given away. */
struct fault_state {
	struct mm_struct *mm;
	const struct fault_info *fi;
	struct quire_fault_result *res;
	struct vm_area_struct *vma;
	pteval_t *walked; /* the last entry that the walk met; NULL: no canonical address */
	pteval_t entry;	  /* what it was */
	enum pte_kind kind;
	unsigned level;
	bool present;	  /* a leaf, at any level */
	bool grew;	  /* the stack did */
	bool tried;	  /* once already, and gave up mmap_lock to wait */
	bool dropped;	  /* just now */
	unsigned row;
};

void fault_init(void)
{
	for (unsigned i = 0; i < QUIRE_ROW_MAX; i++)
		fault_rows[i] = 0;
}

const char *fault_row_name(unsigned row)
{
	static const char *const names[QUIRE_ROW_MAX] = {
		"none",	 "zero",  "anon",     "cow",  "reuse", "file", "around", "shmem",
		"swap",	 "stack", "spurious", "segv", "bus",   "oom",  "ad",
	};

	return row < QUIRE_ROW_MAX ? names[row] : "?";
}

static void log_piece(void *ctx, const char *s, size_t n)
{
	char *line = ctx;
	size_t len = 0;

	while (line[len])
		len++;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n' || len == 120) {
			line[len] = '\0';
			os_log(line);
			len = 0;
		}
		if (s[i] != '\n')
			line[len++] = s[i];
	}
	line[len] = '\0';
}

_Noreturn void fault_panic(struct mm_struct *mm, uintptr_t addr, const char *why)
{
	char line[128] = "";

	quire_show_walk(from_mm(mm), addr, log_piece, line);
	os_panic(why);
}

/* ---- looking at the entry -------------------------------------------------------------------- */

/* Reads the entry before anything is resolved. One atomic load a level: no lock can make the
 * snapshot any truer, as the hardware looked earlier still. */
ARCH_INLINE void look_at_entry(struct fault_state *f, struct mm_struct *mm, uintptr_t addr)
{
	assert_held_any(&mm->mmap_lock);
	f->walked = pt_lookup(mm, addr, &f->entry, &f->level);
	if (!f->entry)
		f->kind = PTE_NONE;
	else if (likely(!f->level))
		f->kind = pte_desc(f->entry).kind;
	else
		f->kind = arch_pte_decode(f->entry, f->level).kind;
	f->present = f->kind == PTE_LEAF;
}

ARCH_INLINE uint32_t derive_code(const struct fault_info *fi, bool present)
{
	uint32_t code = present ? FAULT_CODE_PRESENT : 0;

	ASSERT_DEBUG(fi);
	if (fi->access == FAULT_WRITE)
		code |= FAULT_CODE_WRITE;
	if (fi->access == FAULT_FETCH)
		code |= FAULT_CODE_FETCH;
	if (fi->user)
		code |= FAULT_CODE_USER;
	if (fi->kind == FAULT_CORRUPT)
		code |= FAULT_CODE_RSVD | FAULT_CODE_PRESENT;
	return code;
}

static void compare_codes(const struct fault_info *fi, uint32_t code)
{
	if (likely(!((code ^ fi->raw_code) & fi->raw_mask)))
		return;
	count_vm_event(CODE_DISAGREEMENTS);
	trace_fault_mismatch(fi->addr, code, fi->raw_code, fi->raw_mask);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The access cannot be: a signal for a user, the fix-up for a kernel copy, else the kernel's bug. */
static void refuse(struct fault_state *f, int sig, int code, unsigned row)
{
	ASSERT(row < QUIRE_ROW_MAX);
	f->row = row;
	f->res->sig = sig;
	f->res->code = code;
	if (f->fi->user)
		f->res->outcome = QUIRE_FAULT_SIGNAL;
	else
		f->res->outcome = f->fi->fixup ? QUIRE_FAULT_FIXUP : QUIRE_FAULT_OOPS;
}

static void refuse_oom(struct fault_state *f)
{
	ASSERT(f->fi);
	refuse(f, 0, 0, QUIRE_ROW_OOM);
	if (f->fi->user)
		f->res->outcome = QUIRE_FAULT_KILL;
}

static void trace_outcome(const struct fault_state *f)
{
	const struct vm_area_struct *vma = f->vma;

	ASSERT(f->row < QUIRE_ROW_MAX);
	trace_mm_fault(f->fi->addr & PAGE_MASK, f->row, f->fi->access, f->res->major,
		       f->res->outcome, vma ? vma->vm_start : 0, vma ? vma->vm_end : 0,
		       vma ? vma->vm_flags : 0, f->fi->ip);
}

/* ---- is it allowed? -------------------------------------------------------------------------- */

static bool entry_allows(const struct fault_state *f)
{
	struct pte_desc d = arch_pte_decode(f->entry, f->level);

	ASSERT_DEBUG(f->present);
	return f->fi->access == FAULT_FETCH ? d.x : d.r;
}

ARCH_INLINE bool access_error(const struct fault_state *f, const struct mm_struct *mm,
			      const struct fault_info *fi)
{
	ASSERT_DEBUG(f->vma);
	if (fi->user && !mm->user)
		return true; /* a supervisor space is not user mode's */
	if (fi->access == FAULT_WRITE)
		return !(f->vma->vm_flags & VM_WRITE);
	if (f->present)
		return !entry_allows(f);
	return !vma_is_accessible(f->vma);
}

/* No VMA covers the address: the one above may be a stack. False: it is not, or may not grow. */
static __attribute__((noinline)) bool grow_fault_vma(struct fault_state *f)
{
	bool stack = f->vma->vm_flags & VM_GROWSDOWN;

	f->vma = stack ? find_grown_vma(f->mm, f->fi->addr) : NULL;
	/* mmap_lock was given up: the table that was walked may be gone. */
	if (stack)
		look_at_entry(f, f->mm, f->fi->addr);
	f->grew = true;
	return f->vma != NULL;
}

/* Finds the VMA, growing a stack. False: nothing is mapped there. */
ARCH_INLINE bool find_fault_vma(struct fault_state *f, struct mm_struct *mm, uintptr_t addr)
{
	assert_held_any(&mm->mmap_lock);
	if (!f->walked || addr < mm->start || addr >= mm->task_size)
		return false;
	f->vma = find_vma(mm, addr);
	if (!f->vma)
		return false;
	return likely(f->vma->vm_start <= addr) || grow_fault_vma(f);
}

/* The same access again and again, with nothing to do for us: the tables say yes, the CPU no. */
ARCH_INLINE void bound_spurious(const struct fault_state *f, struct mm_struct *mm, uintptr_t addr)
{
	uintptr_t page = addr & PAGE_MASK;

	ASSERT_DEBUG(f->row < QUIRE_ROW_MAX);
	if (f->row != QUIRE_ROW_SPURIOUS) {
		if (unlikely(READ_ONCE(mm->spurious_count))) /* a store would share the line for all */
			WRITE_ONCE(mm->spurious_count, 0);
		return;
	}
	if (__atomic_exchange_n(&mm->spurious_addr, page, __ATOMIC_RELAXED) != page)
		__atomic_store_n(&mm->spurious_count, 0, __ATOMIC_RELAXED);
	if (__atomic_add_fetch(&mm->spurious_count, 1, __ATOMIC_RELAXED) > SPURIOUS_MAX)
		fault_panic(mm, addr, "an access that the tables allow faults for ever");
}

ARCH_INLINE void count_fault(struct mm_struct *mm, struct quire_fault_result *res)
{
	ASSERT_DEBUG(!res->counted);
	res->counted = true;
	__atomic_fetch_add(res->major ? &mm->maj_flt : &mm->min_flt, 1, __ATOMIC_RELAXED);
}

/* It was allowed, but could not be. */
static void refuse_failed(struct fault_state *f, vm_fault_t ret)
{
	ASSERT(ret & VM_FAULT_ERROR);
	if (ret & VM_FAULT_OOM)
		refuse_oom(f);
	else if (ret & VM_FAULT_SIGSEGV)
		refuse(f, SIGSEGV, SEGV_MAPERR, QUIRE_ROW_SEGV);
	else
		refuse(f, SIGBUS, BUS_ADRERR, QUIRE_ROW_BUS);
}

/* The access is allowed: resolve it. mmap_lock for reading. */
ARCH_INLINE void resolve(struct fault_state *f, struct mm_struct *mm, const struct fault_info *fi,
			 struct quire_fault_result *res)
{
	unsigned flags = (fi->access == FAULT_WRITE ? FAULT_FLAG_WRITE : 0) |
			 (fi->access == FAULT_FETCH ? FAULT_FLAG_INSTRUCTION : 0) |
			 (fi->user ? FAULT_FLAG_USER : 0) | FAULT_FLAG_ALLOW_RETRY |
			 (unlikely(f->tried) ? FAULT_FLAG_TRIED : 0);
	vm_fault_t ret;

	assert_held_any(&mm->mmap_lock);
	ASSERT_DEBUG(f->vma && f->vma->vm_start <= fi->addr && fi->addr < f->vma->vm_end);
	count_vm_event(PGFAULT); /* of each try, as in 5.10 */
	ret = __handle_mm_fault(f->vma, fi->addr, flags, f->level ? NULL : f->walked, &f->row);
	if (unlikely(ret & VM_FAULT_MAJOR)) {
		res->major = true;
		count_vm_event(PGMAJFAULT);
	}
	if (unlikely(ret & VM_FAULT_UNLOCKED)) {
		f->dropped = f->tried = true;
		return;
	}
	if (unlikely(ret & VM_FAULT_ERROR)) {
		refuse_failed(f, ret);
		return;
	}
	/* Waiting for a page on the move is no mistake, however often it has to be. */
	if (likely(!(ret & VM_FAULT_RETRY)))
		bound_spurious(f, mm, fi->addr);
	if (f->grew && (f->row == QUIRE_ROW_ANON || f->row == QUIRE_ROW_ZERO))
		f->row = QUIRE_ROW_STACK;
	/* What had to wait is major, whoever read the page. */
	if (unlikely(f->tried))
		res->major = true;
	count_fault(mm, res);
}

/* mmap_lock for reading. */
ARCH_INLINE void fault_locked(struct fault_state *f, struct mm_struct *mm, const struct fault_info *fi,
			      struct quire_fault_result *res)
{
	assert_held_any(&mm->mmap_lock);
	if (fi->kind == FAULT_BUS) {
		f->vma = f->walked ? find_vma_intersection(mm, fi->addr, fi->addr + 1)
				      : NULL;
		refuse(f, SIGBUS, BUS_ADRERR, QUIRE_ROW_BUS);
	} else if (!find_fault_vma(f, mm, fi->addr)) {
		refuse(f, SIGSEGV, SEGV_MAPERR, QUIRE_ROW_SEGV);
	} else if (access_error(f, mm, fi)) {
		refuse(f, SIGSEGV, SEGV_ACCERR, QUIRE_ROW_SEGV);
	} else {
		resolve(f, mm, fi, res);
	}
}

/* mmap_lock was given up to wait, so anything may have changed: from the start. A device is not waited for
 * so a second time. Apart, so that the common way is one piece. */
static __attribute__((noinline)) void fault_again(struct fault_state *f)
{
	while (f->dropped) {
		f->dropped = false;
		f->vma = NULL;
		down_read(&f->mm->mmap_lock);
		/* The signal first: perhaps nothing else has ended the wait. A program's own access is made again
		 * behind its handler. */
		if (os_fatal_signal_pending() || (f->fi->user && os_signal_pending())) {
			if (!f->fi->user)
				refuse(f, SIGBUS, BUS_ADRERR, QUIRE_ROW_BUS);
			return;
		}
		look_at_entry(f, f->mm, f->fi->addr);
		fault_locked(f, f->mm, f->fi, f->res);
	}
}

/* quire_page_fault()'s work on a space. */
static void do_page_fault(struct mm_struct *mm, const struct fault_info *fi,
			  struct quire_fault_result *res)
{
	struct fault_state f;

	f.mm = mm;
	f.fi = fi;
	f.res = res;
	f.vma = NULL;
	f.grew = f.tried = f.dropped = false;
	f.row = QUIRE_ROW_NONE;
	down_read(&mm->mmap_lock);
	look_at_entry(&f, mm, fi->addr);
	res->error_code = derive_code(fi, f.present);
	trace_page_fault(fi->user, fi->addr, fi->ip, res->error_code);
	compare_codes(fi, res->error_code);
	if (unlikely(fi->kind == FAULT_CORRUPT || f.kind == PTE_CORRUPT))
		fault_panic(mm, fi->addr, "corrupt page-table entry");
	fault_locked(&f, mm, fi, res);
	if (unlikely(f.dropped))
		fault_again(&f);
	if (unlikely(quire_trace_on))
		trace_outcome(&f);
	up_read(&mm->mmap_lock);
}

/* Without a space every address is unmapped. */
static void fault_without_space(const struct fault_info *fi, struct quire_fault_result *res)
{
	struct fault_state f = {.fi = fi, .res = res};

	res->error_code = derive_code(fi, f.present);
	trace_page_fault(fi->user, fi->addr, fi->ip, res->error_code);
	refuse(&f, SIGSEGV, SEGV_MAPERR, QUIRE_ROW_SEGV);
	trace_outcome(&f);
}

void quire_page_fault(struct quire_mm *mm, const struct fault_info *fi,
		      struct quire_fault_result *res)
{
	res->outcome = QUIRE_FAULT_DONE;
	res->sig = res->code = 0;
	res->addr = fi->addr;
	res->counted = res->major = false;
	if (mm)
		do_page_fault(to_mm(mm), fi, res);
	else
		fault_without_space(fi, res);
}
