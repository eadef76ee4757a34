/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID reports of an address space, in Linux 5.10's formats: maps, smaps, status, statm,
 * pagemap, clear_refs; and the looks of the monitor: the table dump and the walk.
 */
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/fault/memory.h"
#include "mm/object/filemap.h"
#include <quire/abi.h>

#define KB(pages) ((unsigned long)(pages) << (PAGE_SHIFT - 10))

/* ---- maps ------------------------------------------------------------------------------------ */

#define MAPS_NAME_COLUMN 73

static const char *vma_name(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;

	assert_held_any(&mm->mmap_lock);
	if (vma->vm_file)
		return vma->vm_file->f_path;
	if (vma->vm_ops && vma->vm_ops->name)
		return vma->vm_ops->name(vma);
	if (vma->vm_start <= mm->brk && vma->vm_end >= mm->start_brk)
		return "[heap]";
	if (vma->vm_start <= mm->start_stack && vma->vm_end >= mm->start_stack)
		return "[stack]";
	return NULL;
}

/* A path as seq_file prints it: a newline must not end the line. */
static void emit_path(quire_emit_fn emit, void *ctx, const char *path)
{
	ASSERT(path);
	for (; *path; path++) {
		if (*path == '\n')
			emit(ctx, "\\012", 4);
		else
			emit(ctx, path, 1);
	}
}

static void show_map_vma(struct vm_area_struct *vma, quire_emit_fn emit, void *ctx)
{
	const struct quire_inode *inode = vma->vm_file ? file_inode(vma->vm_file) : NULL;
	uint32_t dev = inode ? inode->i_dev : 0;
	vm_flags_t f = vma->vm_flags;
	const char *name = vma_name(vma);
	char line[128];
	size_t n;

	assert_held_any(&vma->vm_mm->mmap_lock);
	n = scnprintf(line, sizeof(line), "%08lx-%08lx %c%c%c%c %08llx %02x:%02x %llu ",
		      (unsigned long)vma->vm_start, (unsigned long)vma->vm_end,
		      f & VM_READ ? 'r' : '-', f & VM_WRITE ? 'w' : '-', f & VM_EXEC ? 'x' : '-',
		      f & VM_MAYSHARE ? 's' : 'p',
		      inode ? (unsigned long long)vma->vm_pgoff << PAGE_SHIFT : 0ull, dev >> 20,
		      dev & 0xfffff, inode ? (unsigned long long)inode->i_ino : 0ull);
	emit(ctx, line, n);
	if (name) {
		for (; n < MAPS_NAME_COLUMN; n++)
			emit(ctx, " ", 1);
		emit_path(emit, ctx, name);
	}
	emit(ctx, "\n", 1);
}

void quire_show_maps(struct quire_mm *qmm, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);

	down_read(&mm->mmap_lock);
	for (struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next)
		show_map_vma(vma, emit, ctx);
	up_read(&mm->mmap_lock);
}

/* ---- smaps ----------------------------------------------------------------------------------- */

#define PSS_SHIFT 12

struct smaps {
	struct vm_area_struct *vma;
	unsigned long resident, shared_clean, shared_dirty, private_clean, private_dirty;
	unsigned long referenced, anonymous, lazyfree, swap;
	uint64_t pss, pss_anon, pss_file, pss_shmem, pss_locked, swap_pss; /* << PSS_SHIFT */
};

static void smaps_pss(struct smaps *s, const struct page *page, uint64_t pss)
{
	s->pss += pss;
	if (PageAnon(page))
		s->pss_anon += pss;
	else if (page_test(page, PG_swapbacked))
		s->pss_shmem += pss;
	else
		s->pss_file += pss;
	if (s->vma->vm_flags & VM_LOCKED)
		s->pss_locked += pss;
}

static void smaps_account(struct smaps *s, const struct page *page, struct pte_desc d)
{
	int mapcount = page_mapcount(page);
	uint64_t pss = ((uint64_t)PAGE_SIZE << PSS_SHIFT) / (mapcount > 1 ? mapcount : 1);
	bool dirty = d.dirty || page_test(page, PG_dirty);
	unsigned long *sum;

	ASSERT_DEBUG(s->vma);
	s->resident += PAGE_SIZE;
	if (PageAnon(page)) {
		s->anonymous += PAGE_SIZE;
		if (!page_test(page, PG_swapbacked) && !dirty)
			s->lazyfree += PAGE_SIZE;
	}
	if (d.accessed || page_test(page, PG_referenced))
		s->referenced += PAGE_SIZE;
	smaps_pss(s, page, pss);
	if (mapcount > 1)
		sum = dirty ? &s->shared_dirty : &s->shared_clean;
	else
		sum = dirty ? &s->private_dirty : &s->private_clean;
	*sum += PAGE_SIZE;
}

static void smaps_swap(struct smaps *s, swp_entry_t entry)
{
	unsigned long n = swp_swapcount(entry);

	s->swap += PAGE_SIZE;
	s->swap_pss += ((uint64_t)PAGE_SIZE << PSS_SHIFT) / (n > 1 ? n : 1);
}

/* Pages of shared memory that lie in swap: all that a shared mapping can see, or a private one that is not
 * written; else those that no entry hides. As 5.10, SwapPss leaves them out. */
static void smaps_shmem_swap(struct smaps *s)
{
	struct vm_area_struct *vma = s->vma;
	struct address_space *m = vma->vm_file->f_mapping;
	bool all = vma->vm_flags & VM_SHARED || !(vma->vm_flags & VM_WRITE);
	uint64_t last = vma->vm_pgoff + vma_pages(vma) - 1, at = vma->vm_pgoff;

	assert_held_any(&vma->vm_mm->mmap_lock);
	for (; at <= last && shmem_next_swapped(m, &at) && at <= last; at++) {
		pte_t *pte = pt_find(vma->vm_mm, vma->vm_start + ((at - vma->vm_pgoff) << PAGE_SHIFT));

		if (all || !pte || pte_none(pte_get(pte)))
			s->swap += PAGE_SIZE;
	}
}

static void smaps_pte(struct smaps *s, const pte_t *pte)
{
	pte_t v = pte_get(pte);
	struct pte_desc d = pte_desc(v);
	struct page *page;

	assert_pte_locked(pte);
	if (d.kind == PTE_SWAP)
		smaps_swap(s, pte_to_swp_entry(v));
	if (pte_present(v))
		page = vm_normal_page(s->vma, v);
	else
		page = d.kind == PTE_MIGRATION ? pfn_to_page(d.pfn) : NULL;
	if (page)
		smaps_account(s, page, d);
}

static int smaps_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct page *table = pt_page(pte);

	assert_held_any(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	for (; start != end; start += PAGE_SIZE, pte++) {
		smaps_pte(ctx, pte);
		ptl_breathe(&table->ptl, pte_index_of(pte) + 1);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

static void show_vma_flags(const struct vm_area_struct *vma, quire_emit_fn emit, void *ctx)
{
	assert_held_any(&vma->vm_mm->mmap_lock);
	/* By bit; "??" is what 5.10 prints for a flag without a name. */
	static const char names[64][3] = {
		[0] = "rd",  [1] = "wr",  [2] = "ex",  [3] = "sh",  [4] = "mr",	 [5] = "mw",
		[6] = "me",  [7] = "ms",  [8] = "gd",  [9] = "um",  [10] = "pf", [11] = "dw",
		[12] = "uw", [13] = "lo", [14] = "io", [15] = "sr", [16] = "rr", [17] = "dc",
		[18] = "de", [19] = "??", [20] = "ac", [21] = "nr", [22] = "ht", [23] = "sf",
		[24] = "ar", [25] = "wf", [26] = "dd", [27] = "sd", [28] = "mm", [29] = "hg",
		[30] = "nh", [31] = "mg",
	};

	emitf(emit, ctx, "VmFlags: ");
	for (unsigned bit = 0; bit < 64; bit++)
		if (vma->vm_flags >> bit & 1)
			emitf(emit, ctx, "%s ", names[bit][0] ? names[bit] : "??");
	emit(ctx, "\n", 1);
}

static void emit_kb(quire_emit_fn emit, void *ctx, const char *name, unsigned long bytes)
{
	emitf(emit, ctx, "%-15s %8lu kB\n", name, bytes >> 10);
}

/* Adds what is there of s->vma. */
static void smaps_add(struct smaps *s)
{
	struct vm_area_struct *vma = s->vma;

	assert_held_any(&vma->vm_mm->mmap_lock);
	pt_for_each(vma->vm_mm, vma->vm_start, vma->vm_end, smaps_range, s);
	if (vma->vm_file && mapping_shmem(vma->vm_file->f_mapping))
		smaps_shmem_swap(s);
}

static void emit_smaps(const struct smaps *s, bool rollup, quire_emit_fn emit, void *ctx)
{
	emit_kb(emit, ctx, "Rss:", s->resident);
	emit_kb(emit, ctx, "Pss:", s->pss >> PSS_SHIFT);
	if (rollup) {
		emit_kb(emit, ctx, "Pss_Anon:", s->pss_anon >> PSS_SHIFT);
		emit_kb(emit, ctx, "Pss_File:", s->pss_file >> PSS_SHIFT);
		emit_kb(emit, ctx, "Pss_Shmem:", s->pss_shmem >> PSS_SHIFT);
	}
	emit_kb(emit, ctx, "Shared_Clean:", s->shared_clean);
	emit_kb(emit, ctx, "Shared_Dirty:", s->shared_dirty);
	emit_kb(emit, ctx, "Private_Clean:", s->private_clean);
	emit_kb(emit, ctx, "Private_Dirty:", s->private_dirty);
	emit_kb(emit, ctx, "Referenced:", s->referenced);
	emit_kb(emit, ctx, "Anonymous:", s->anonymous);
	emit_kb(emit, ctx, "LazyFree:", s->lazyfree);
	emit_kb(emit, ctx, "AnonHugePages:", 0);
	emit_kb(emit, ctx, "ShmemPmdMapped:", 0);
	emit_kb(emit, ctx, "FilePmdMapped:", 0);
	emit_kb(emit, ctx, "Shared_Hugetlb:", 0);
	emitf(emit, ctx, "Private_Hugetlb: %7lu kB\n", 0ul);
	emit_kb(emit, ctx, "Swap:", s->swap);
	emit_kb(emit, ctx, "SwapPss:", s->swap_pss >> PSS_SHIFT);
	emit_kb(emit, ctx, "Locked:", s->pss_locked >> PSS_SHIFT);
}

static void show_smap(struct vm_area_struct *vma, quire_emit_fn emit, void *ctx)
{
	struct smaps s = {.vma = vma};

	smaps_add(&s);
	show_map_vma(vma, emit, ctx);
	emit_kb(emit, ctx, "Size:", vma->vm_end - vma->vm_start);
	emit_kb(emit, ctx, "KernelPageSize:", PAGE_SIZE);
	emit_kb(emit, ctx, "MMUPageSize:", PAGE_SIZE);
	emit_smaps(&s, false, emit, ctx);
	emitf(emit, ctx, "THPeligible:    %d\n", 0);
	show_vma_flags(vma, emit, ctx);
}

void quire_show_smaps(struct quire_mm *qmm, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);

	down_read(&mm->mmap_lock);
	for (struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next)
		show_smap(vma, emit, ctx);
	up_read(&mm->mmap_lock);
}

/* One head for all areas, from the first one's start to the last one's end. */
void quire_show_smaps_rollup(struct quire_mm *qmm, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);
	struct smaps s = {0};
	uintptr_t start, end = 0;
	char line[64];
	size_t n;

	down_read(&mm->mmap_lock);
	start = mm->mmap ? mm->mmap->vm_start : 0;
	for (s.vma = mm->mmap; s.vma; s.vma = s.vma->vm_next) {
		smaps_add(&s);
		end = s.vma->vm_end;
	}
	up_read(&mm->mmap_lock);
	n = scnprintf(line, sizeof(line), "%08lx-%08lx ---p 00000000 00:00 0 ", (unsigned long)start,
		      (unsigned long)end);
	emitf(emit, ctx, "%s%*s[rollup]\n", line, (int)(MAPS_NAME_COLUMN - n), "");
	emit_smaps(&s, true, emit, ctx);
}

/* ---- status, statm --------------------------------------------------------------------------- */

static unsigned long text_bytes(const struct mm_struct *mm, unsigned long exec)
{
	unsigned long text = PAGE_ALIGN(mm->end_code) - (mm->start_code & PAGE_MASK);

	return min(text, exec);
}

uint64_t quire_mm_peak_rss(struct quire_mm *qmm)
{
	struct mm_struct *mm = to_mm(qmm);

	return max(READ_ONCE(mm->hiwater_rss), get_mm_rss(mm));
}

void quire_show_status(struct quire_mm *qmm, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);
	unsigned long anon = get_mm_counter(mm, MM_ANONPAGES);
	unsigned long file = get_mm_counter(mm, MM_FILEPAGES);
	unsigned long shmem = get_mm_counter(mm, MM_SHMEMPAGES);
	/* once, for it may shrink meanwhile */
	unsigned long exec = READ_ONCE(mm->exec_vm) << PAGE_SHIFT, text = text_bytes(mm, exec);
	unsigned long rss = anon + file + shmem;
	const struct {
		const char *name;
		unsigned long kb;
	} rows[] = {
		{"VmPeak", KB(max(READ_ONCE(mm->hiwater_vm), READ_ONCE(mm->total_vm)))},
		{"VmSize", KB(READ_ONCE(mm->total_vm))},
		{"VmLck", KB(READ_ONCE(mm->locked_vm))},
		{"VmPin", 0},
		{"VmHWM", KB(max(READ_ONCE(mm->hiwater_rss), rss))},
		{"VmRSS", KB(rss)},
		{"RssAnon", KB(anon)},
		{"RssFile", KB(file)},
		{"RssShmem", KB(shmem)},
		{"VmData", KB(READ_ONCE(mm->data_vm))},
		{"VmStk", KB(READ_ONCE(mm->stack_vm))},
		{"VmExe", text >> 10},
		{"VmLib", (exec - text) >> 10},
		{"VmPTE", READ_ONCE(mm->pgtables_bytes) >> 10},
		{"VmSwap", KB(get_mm_counter(mm, MM_SWAPENTS))},
		{"HugetlbPages", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		emitf(emit, ctx, "%s:\t%8lu kB\n", rows[i].name, rows[i].kb);
}

void quire_statm(struct quire_mm *qmm, unsigned long out[7])
{
	struct mm_struct *mm = to_mm(qmm);

	out[0] = READ_ONCE(mm->total_vm);
	out[2] = get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_SHMEMPAGES);
	out[1] = out[2] + get_mm_counter(mm, MM_ANONPAGES);
	out[3] = (PAGE_ALIGN(mm->end_code) - (mm->start_code & PAGE_MASK)) >> PAGE_SHIFT;
	out[4] = 0;
	out[5] = READ_ONCE(mm->data_vm) + READ_ONCE(mm->stack_vm);
	out[6] = 0;
}

/* ---- pagemap, clear_refs --------------------------------------------------------------------- */

#define PM_SOFT_DIRTY	  (1ull << 55)
#define PM_MMAP_EXCLUSIVE (1ull << 56)
#define PM_FILE		  (1ull << 61)
#define PM_SWAP		  (1ull << 62)
#define PM_PRESENT	  (1ull << 63)
#define PM_PFN_MASK	  ((1ull << 55) - 1)
/* A page on the move has a swap entry's form there: the type, with the offset above it. */
#define PM_MIGRATION_READ 30
#define PM_SWAP_TYPE_BITS 5

static uint64_t pagemap_entry(struct vm_area_struct *vma, uintptr_t addr)
{
	pte_t *pte = pt_find(vma->vm_mm, addr);
	pte_t v = pte ? pte_get(pte) : 0;
	uint64_t word = vma->vm_flags & VM_SOFTDIRTY ? PM_SOFT_DIRTY : 0;
	struct pte_desc d = pte_desc(v);
	struct page *page;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (pte_present(v)) {
		word |= PM_PRESENT | (d.pfn.n & PM_PFN_MASK);
		page = vm_normal_page(vma, v);
	} else if (d.kind == PTE_MIGRATION) {
		word |= PM_SWAP | (d.pfn.n << PM_SWAP_TYPE_BITS & PM_PFN_MASK) |
			(PM_MIGRATION_READ + d.w);
		page = pfn_to_page(d.pfn);
	} else if (d.kind == PTE_SWAP) {
		swp_entry_t entry = pte_to_swp_entry(v);

		word |= PM_SWAP | (swp_offset(entry) << PM_SWAP_TYPE_BITS & PM_PFN_MASK) |
			swp_type(entry);
		page = NULL;
	} else {
		return word;
	}
	if (d.soft_dirty)
		word |= PM_SOFT_DIRTY;
	if (!page)
		return word;
	if (!PageAnon(page))
		word |= PM_FILE;
	if (page_mapcount(page) == 1)
		word |= PM_MMAP_EXCLUSIVE;
	return word;
}

uint64_t quire_pagemap(struct quire_mm *qmm, uintptr_t addr)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;
	uint64_t word = 0;

	down_read(&mm->mmap_lock);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr)
		word = pagemap_entry(vma, addr);
	up_read(&mm->mmap_lock);
	return word;
}

enum { CLEAR_REFS_ALL = 1, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED, CLEAR_REFS_SOFT_DIRTY,
       CLEAR_REFS_MM_HIWATER_RSS };

struct clear_refs {
	struct vm_area_struct *vma;
	int what;
};

static void clear_refs_pte(const struct clear_refs *c, pte_t *pte, bool hw_ad)
{
	struct pte_desc d = pte_desc(pte_get(pte));

	assert_pte_locked(pte);
	if (d.kind == PTE_SWAP && c->what == CLEAR_REFS_SOFT_DIRTY)
		set_pte(pte, arch_pte_edit(pte_get(pte), 0, PTE_BIT_SOFT_DIRTY));
	if (d.kind != PTE_LEAF && d.kind != PTE_PROTNONE)
		return;
	if (c->what == CLEAR_REFS_SOFT_DIRTY) {
		d = pte_desc(hal_pte_xchg(pte, 0));
		d.soft_dirty = false;
		d.w = false;
		sync_code(pte_make(d));
		set_pte(pte, pte_make(d));
		return;
	}
	if (!d.special)
		page_clear(pfn_to_page(d.pfn), PG_referenced);
	/* Where software sets the bit, clearing it would cost a fault. */
	if (hw_ad)
		pte_clear_accessed(pte, d);
}

static int clear_refs_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end,
			    void *ctx)
{
	bool hw_ad = hal_mmu_info()->hw_accessed_dirty;
	struct page *table = pt_page(pte);

	assert_held_write(&mm->mmap_lock);
	ptl_lock(&table->ptl);
	for (; start != end; start += PAGE_SIZE, pte++) {
		clear_refs_pte(ctx, pte, hw_ad);
		ptl_breathe(&table->ptl, pte_index_of(pte) + 1);
	}
	ptl_unlock(&table->ptl);
	return 0;
}

/* mmap_lock for writing. */
static void clear_refs_vma(struct vm_area_struct *vma, int what)
{
	struct clear_refs c = {.vma = vma, .what = what};

	assert_held_write(&vma->vm_mm->mmap_lock);
	if ((what == CLEAR_REFS_ANON && vma->vm_file) ||
	    (what == CLEAR_REFS_MAPPED && !vma->vm_file))
		return;
	if (what == CLEAR_REFS_SOFT_DIRTY) {
		vma_set_flags(vma, vma->vm_flags & ~VM_SOFTDIRTY);
		vma_set_page_prot(vma);
	}
	pt_for_each(vma->vm_mm, vma->vm_start, vma->vm_end, clear_refs_range, &c);
}

int quire_clear_refs(struct quire_mm *qmm, int what)
{
	struct mm_struct *mm = to_mm(qmm);

	if (what < CLEAR_REFS_ALL || what > CLEAR_REFS_MM_HIWATER_RSS)
		return -EINVAL;
	down_write(&mm->mmap_lock);
	if (what == CLEAR_REFS_MM_HIWATER_RSS) {
		mm->hiwater_rss = get_mm_rss(mm);
	} else {
		for (struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next)
			clear_refs_vma(vma, what);
		hal_tlb_flush(&mm->arch, mm->start, mm->task_size, 0, false);
	}
	up_write(&mm->mmap_lock);
	return 0;
}

/* ---- the tables themselves ------------------------------------------------------------------- */

struct dump {
	void (*fn)(const struct quire_leaf *l, void *ctx);
	void *ctx;
};

static int dump_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct dump *dump = ctx;

	assert_held_any(&mm->mmap_lock);
	for (; start != end; start += PAGE_SIZE, pte++) {
		struct pte_desc d = pte_desc(pte_get(pte));
		struct quire_leaf l = {
			.va = start,
			.pa = d.pfn.n << PAGE_SHIFT,
			.size = PAGE_SIZE,
			.r = d.r,
			.w = d.w,
			.x = d.x,
			.user = d.user,
			.accessed = d.accessed,
			.dirty = d.dirty,
		};

		if (d.kind == PTE_LEAF)
			dump->fn(&l, dump->ctx);
	}
	return 0;
}

void quire_dump_tables(struct quire_mm *qmm, void (*fn)(const struct quire_leaf *l, void *ctx),
		       void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);
	struct dump dump = {.fn = fn, .ctx = ctx};

	down_read(&mm->mmap_lock);
	pt_for_each(mm, mm->start, mm->task_size, dump_range, &dump);
	up_read(&mm->mmap_lock);
}
