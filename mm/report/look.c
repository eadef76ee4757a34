/* SPDX-License-Identifier: MIT */
/*
 * The monitor's views as text: one VMA, the tree of all of them, one frame and what maps it, a
 * range of frames, how often each fault row was taken. Nothing else depends on their form. They
 * read what other threads may be changing, so on a busy system each is a snapshot; no pointer is
 * followed that could be gone meanwhile.
 */
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/mmzone.h"
#include "mm/fault/fault.h"
#include "mm/fault/memory.h"
#include "mm/lru/lru.h"
#include "mm/object/filemap.h"
#include "mm/phys/buddy.h"
#include "mm/rmap/rmap.h"
#include <quire/trace.h>

/* ---- one VMA --------------------------------------------------------------------------------- */

static int count_present(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	unsigned long *n = ctx;

	assert_held_any(&mm->mmap_lock);
	for (; start != end; start += PAGE_SIZE, pte++)
		*n += pte_present(pte_get(pte));
	return 0;
}

static unsigned chain_length(const struct vm_area_struct *vma)
{
	const struct anon_vma_chain *avc;
	unsigned n = 0;

	assert_held_any(&vma->vm_mm->mmap_lock);
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		n++;
	return n;
}

/* The anon_vmas in which the reverse map finds this VMA, the oldest last. */
static void look_at_chain(const struct vm_area_struct *vma, quire_emit_fn emit, void *ctx)
{
	const struct anon_vma_chain *avc;

	emitf(emit, ctx, "  anon_vma of %u VMAs and %u children, chain of %u\n",
	      vma->anon_vma->num_active_vmas, vma->anon_vma->num_children, chain_length(vma));
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		emitf(emit, ctx, "  linked to anon_vma %#lx%s\n", (unsigned long)avc->anon_vma,
		      avc->anon_vma == vma->anon_vma ? ", its own" : "");
}

static void look_at_vma(struct vm_area_struct *vma, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long present = 0;

	assert_held_any(&mm->mmap_lock);
	pt_for_each(mm, vma->vm_start, vma->vm_end, count_present, &present);
	emitf(emit, ctx, "vma %#lx-%#lx, %lu pages, %lu present\n", (unsigned long)vma->vm_start,
	      (unsigned long)vma->vm_end, vma_pages(vma), present);
	emitf(emit, ctx, "  flags %#lx, page offset %#lx\n", (unsigned long)vma->vm_flags,
	      vma->vm_pgoff);
	if (vma->vm_file)
		emitf(emit, ctx, "  file %s\n", vma->vm_file->f_path);
	if (vma->anon_vma)
		look_at_chain(vma, emit, ctx);
	emitf(emit, ctx, "  gap below %#lx, largest in its subtree %#lx\n",
	      vma->vm_start - (vma->vm_prev ? vma->vm_prev->vm_end : 0), vma->rb_subtree_gap);
}

void quire_show_vma(struct quire_mm *qmm, uintptr_t addr, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;

	down_read(&mm->mmap_lock);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr)
		look_at_vma(vma, emit, ctx);
	else if (vma)
		emitf(emit, ctx, "%#lx is not mapped; the next is at %#lx\n", (unsigned long)addr,
		      (unsigned long)vma->vm_start);
	else
		emitf(emit, ctx, "%#lx is not mapped, nor is anything above\n", (unsigned long)addr);
	up_read(&mm->mmap_lock);
}

/* ---- the tree of VMAs ------------------------------------------------------------------------ */

static bool is_red(const struct rb_node *n)
{
	return !(n->parent_color & 1);
}

static void look_at_node(struct vm_area_struct *vma, quire_emit_fn emit, void *ctx)
{
	struct rb_node *parent = rb_parent(&vma->vm_rb);

	assert_held_any(&vma->vm_mm->mmap_lock);
	emitf(emit, ctx, "%#lx-%#lx %s, gap below %#lx, largest in its subtree %#lx, ",
	      (unsigned long)vma->vm_start, (unsigned long)vma->vm_end,
	      is_red(&vma->vm_rb) ? "red" : "black", vma->rb_own_gap, vma->rb_subtree_gap);
	if (parent)
		emitf(emit, ctx, "under %#lx\n",
		      (unsigned long)rb_entry(parent, struct vm_area_struct, vm_rb)->vm_start);
	else
		emitf(emit, ctx, "the root\n");
}

void quire_show_tree(struct quire_mm *qmm, quire_emit_fn emit, void *ctx)
{
	struct mm_struct *mm = to_mm(qmm);
	struct vm_area_struct *vma;

	down_read(&mm->mmap_lock);
	for (vma = mm->mmap; vma; vma = vma->vm_next)
		look_at_node(vma, emit, ctx);
	up_read(&mm->mmap_lock);
}

/* ---- one frame ------------------------------------------------------------------------------- */

static void look_at_flags(const struct page *page, quire_emit_fn emit, void *ctx)
{
	static const char *const names[] = {
		[PG_locked] = "locked", [PG_reserved] = "reserved",
		[PG_slab] = "slab", [PG_head] = "head", [PG_tail] = "tail", [PG_table] = "table",
		[PG_uptodate] = "uptodate", [PG_dirty] = "dirty", [PG_referenced] = "referenced",
		[PG_lru] = "lru", [PG_active] = "active", [PG_swapbacked] = "swapbacked",
		[PG_swapcache] = "swapcache", [PG_writeback] = "writeback",
		[PG_reclaim] = "reclaim", [PG_mlocked] = "mlocked",
		[PG_unevictable] = "unevictable", [PG_workingset] = "workingset",
		[PG_pcp] = "pcp", [PG_isolated] = "isolated",
		[PG_listed] = "listed", [PG_batched] = "batched",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i] && page_test(page, i))
			emitf(emit, ctx, " %s", names[i]);
}

struct rmap_look {
	quire_emit_fn emit;
	void *ctx;
	unsigned found;
};

static bool look_at_mapping(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	struct rmap_look *l = ctx;
	pte_t *pte = pt_find(vma->vm_mm, addr);
	struct pte_desc d;

	ASSERT(l->emit);
	if (!pte || !pte_present(pte_get(pte)) || pte_pfn(pte_get(pte)).n != page_to_pfn(page).n)
		return true;
	d = pte_desc(pte_get(pte));
	l->found++;
	emitf(l->emit, l->ctx, "  mapped at %#lx%s in the space with root pfn %#llx\n",
	      (unsigned long)addr, d.w ? ", writable," : "",
	      (unsigned long long)page_to_pfn(virt_to_page(vma->vm_mm->pgd)).n);
	return true;
}

/* The page is ours to look at: it has an owner, whose reference and lock are taken, so that neither it
 * nor the file that it is of goes away. It was found by its frame number, so only its list tells. */
static bool hold_mapped_page(struct page *page)
{
	lru_add_drain_all();
	if (!get_lru_page(page))
		return false;
	if (trylock_page(page)) {
		if (page_mapcount(page))
			return true;
		unlock_page(page);
	}
	put_page(page);
	return false;
}

/* All entries that map the page. */
static void look_at_rmap(struct page *page, quire_emit_fn emit, void *ctx)
{
	struct rmap_look l = {emit, ctx, 0};

	if (!page_mapcount(page))
		return;
	if (!page_test(page, PG_listed)) {
		/* A page of the kernel's own that a special area shows. */
		emitf(emit, ctx, "  the reverse map finds 0 of %d entries\n", page_mapcount(page));
		return;
	}
	if (!hold_mapped_page(page)) {
		emitf(emit, ctx, "  isolated: the reverse map is not asked\n");
		return;
	}
	if (READ_ONCE(page->mapping))
		rmap_walk(page, look_at_mapping, &l);
	if ((int)l.found != page_mapcount(page))
		emitf(emit, ctx, "  the reverse map finds %u of %d entries\n", l.found,
		      page_mapcount(page));
	unlock_page(page);
	put_page(page);
}

void quire_show_page(uint64_t pfn, quire_emit_fn emit, void *ctx)
{
	struct page *page;
	unsigned order;

	if (!pfn_valid(PFN(pfn))) {
		emitf(emit, ctx, "frame %#llx is no RAM of ours\n", (unsigned long long)pfn);
		return;
	}
	page = pfn_to_page(PFN(pfn));
	emitf(emit, ctx, "page %#llx, zone %s, %d references, %d entries,", (unsigned long long)pfn,
	      page_zone(page)->name, page_count(page), page_mapcount(page));
	look_at_flags(page, emit, ctx);
	if (PageBuddy(page)) {
		uint64_t head = buddy_block(page, &order);

		emitf(emit, ctx, " buddy, in the free block of order %u at %#llx", order,
		      (unsigned long long)head);
	} else if (!page_mapcount(page)) {
		;
	} else if (PageAnon(page)) {
		emitf(emit, ctx, ", anonymous, index %#lx, anon_vma %#lx", (unsigned long)page->index,
		      (unsigned long)page_anon_vma(page));
	} else if (page->mapping) {
		emitf(emit, ctx, ", of a file, index %#lx", (unsigned long)page->index);
	}
	emit(ctx, "\n", 1);
	look_at_rmap(page, emit, ctx);
}

/* ---- a range of frames ----------------------------------------------------------------------- */

/* What a frame that is in no free block is, in a word. */
static const char *frame_kind(const struct page *page)
{
	if (page_test(page, PG_pcp))
		return "on a per-CPU list";
	if (page_test(page, PG_table))
		return "table";
	if (page_test(page, PG_slab))
		return "slab";
	if (page_mapcount(page))
		return PageAnon(page) ? "anonymous" : "file";
	return page_test(page, PG_reserved) ? "reserved" : "in use";
}

/* Emits one line for [pfn, next) and returns next: a free block, or frames of one kind. */
static uint64_t look_at_frames(uint64_t pfn, uint64_t end, quire_emit_fn emit, void *ctx)
{
	struct page *page = pfn_to_page(PFN(pfn));
	uint64_t next = pfn + 1;
	const char *kind;
	unsigned order;

	if (PageBuddy(page)) {
		next = buddy_block(page, &order);
		next += 1ull << order;
		emitf(emit, ctx, "frames %#llx-%#llx: %llu, free, order %u\n",
		      (unsigned long long)pfn, (unsigned long long)next - 1,
		      (unsigned long long)(next - pfn), order);
		return next;
	}
	kind = frame_kind(page);
	while (next < end && pfn_valid(PFN(next)) && !PageBuddy(pfn_to_page(PFN(next))) &&
	       frame_kind(pfn_to_page(PFN(next))) == kind)
		next++;
	emitf(emit, ctx, "frames %#llx-%#llx: %llu, %s\n", (unsigned long long)pfn,
	      (unsigned long long)next - 1, (unsigned long long)(next - pfn), kind);
	return next;
}

void quire_show_frames(uint64_t pfn, uint64_t count, quire_emit_fn emit, void *ctx)
{
	uint64_t end = pfn + count;

	while (pfn < end)
		pfn = pfn_valid(PFN(pfn)) ? look_at_frames(pfn, end, emit, ctx) : pfn + 1;
}

/* ---- faults ---------------------------------------------------------------------------------- */

void quire_show_faults(quire_emit_fn emit, void *ctx)
{
	for (unsigned row = 0; row < QUIRE_ROW_MAX; row++) {
		uint64_t n = __atomic_load_n(&fault_rows[row], __ATOMIC_RELAXED);

		if (n)
			emitf(emit, ctx, "%-10s %llu\n", fault_row_name(row), (unsigned long long)n);
	}
}
