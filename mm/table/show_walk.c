/* SPDX-License-Identifier: MIT */
/* Printing page tables: the walk of one address level by level, for the monitor and for a fault that
 * finds tables it cannot trust, which takes no lock; and all entries of a range. */
#include "lib/printf.h"
#include "mm/table/pgtable.h"
#include <quire/quire.h>

static void show_entry(quire_emit_fn emit, void *ctx, pteval_t v, unsigned level)
{
	static const char *const kinds[] = {"none", "table",	 "leaf",   "protnone",
					    "swap", "migration", "corrupt"};
	struct pte_desc d = arch_pte_decode(v, level);

	ASSERT(d.kind < ARRAY_SIZE(kinds));
	emitf(emit, ctx, "%#018llx %s", (unsigned long long)v, kinds[d.kind]);
	if (d.kind != PTE_NONE && d.kind != PTE_CORRUPT)
		emitf(emit, ctx, " pfn %#llx", (unsigned long long)d.pfn.n);
	if (d.kind == PTE_LEAF)
		emitf(emit, ctx, " %c%c%c%c%s%s%s%s", d.r ? 'r' : '-', d.w ? 'w' : '-',
		      d.x ? 'x' : '-', d.user ? 'u' : '-', d.accessed ? " accessed" : "",
		      d.dirty ? " dirty" : "", d.soft_dirty ? " soft-dirty" : "",
		      d.special ? " special" : "");
	emit(ctx, "\n", 1);
}

/* The classic name of a level, as the machine's tables use it. */
static const char *level_name(unsigned level)
{
	static const char *const names[] = {"pte", "pmd", "pud", "p4d", "pgd"};

	ASSERT(level < pt_levels);
	return names[level == pt_levels - 1 ? 4 : level];
}

void quire_show_walk(struct quire_mm *qmm, uintptr_t addr, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);
	pteval_t *table = mm->pgd;

	emitf(emit, ctx, "walk %#lx, root pfn %#llx\n", (unsigned long)addr,
	      (unsigned long long)page_to_pfn(virt_to_page(table)).n);
	for (unsigned level = pt_levels; level-- > 0;) {
		unsigned index = pt_index(addr, level);
		pteval_t v = hal_pte_get(table + index);

		emitf(emit, ctx, "  %s[%u] = ", level_name(level), index);
		show_entry(emit, ctx, v, level);
		if (!level || arch_pte_decode(v, level).kind != PTE_TABLE)
			return;
		table = pt_table_of(v, level);
	}
}

/* The entries of one table from start to end, within what it covers, each with what lies below it.
 * mmap_lock for reading: no table goes away. */
static void show_entries(struct mm_struct *mm, pteval_t *table, unsigned level, uintptr_t start, uintptr_t end,
			 quire_emit_fn emit, void *ctx)
{
	assert_held_any(&mm->mmap_lock);
	while (start < end) {
		pteval_t v = hal_pte_get(table + pt_index(start, level));
		enum pte_kind kind = arch_pte_decode(v, level).kind;
		uintptr_t next = (start | (pt_span(level) - 1)) + 1;

		if (!next || next > end)
			next = end;
		if (kind != PTE_NONE) {
			emitf(emit, ctx, "%*s%s %#lx = ", 2 * (int)(pt_levels - level), "", level_name(level),
			      (unsigned long)(start & ~(pt_span(level) - 1)));
			show_entry(emit, ctx, v, level);
		}
		if (level && kind == PTE_TABLE)
			show_entries(mm, pt_table_of(v, level), level - 1, start, next, emit, ctx);
		start = next;
	}
}

void quire_show_tables(struct quire_mm *qmm, uintptr_t start, uintptr_t end, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);

	if (start < mm->start)
		start = mm->start;
	if (!end || end > mm->task_size)
		end = mm->task_size;
	down_read(&mm->mmap_lock);
	emitf(emit, ctx, "tables, root pfn %#llx\n", (unsigned long long)page_to_pfn(virt_to_page(mm->pgd)).n);
	show_entries(mm, mm->pgd, pt_levels - 1, start, end, emit, ctx);
	up_read(&mm->mmap_lock);
}
