/* SPDX-License-Identifier: MIT */
/*
 * quire_check() of address spaces: recomputes what the core keeps as sums, links and counts (VMAs,
 * entries, reverse maps, counters, commitment), and compares. Numbers are those of
 * docs/invariants.md. For tests and the monitor: slow, and exact only while no other thread changes
 * the space. Physical memory: check_phys.c.
 */
#include "mm/report/check.h"
#include "lib/printf.h"
#include "mm/base/mmzone.h"
#include "mm/base/vmstat.h"
#include "mm/fault/memory.h"
#include "mm/object/file_def.h"
#include "mm/phys/page_alloc.h"
#include "mm/rmap/rmap.h"

struct check {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	long broken;
	bool busy; /* another thread changes a space, or holds pages, at this moment */
	long rss[NR_MM_COUNTERS];
};

/* Counts one broken invariant and says the first ones. */
static void broken(struct check *c, const char *id, const char *what, uintptr_t at,
		   unsigned long seen, unsigned long expected)
{
	char line[160];

	ASSERT(id);
	if (c->broken++ >= 8)
		return;
	scnprintf(line, sizeof(line), "check: %s: %s at %#lx: %#lx, expected %#lx", id, what,
		  (unsigned long)at, seen, expected);
	os_log(line);
}

#define EXPECT(c, id, what, at, seen, expected)                                               \
	do {                                                                                  \
		unsigned long s_ = (unsigned long)(seen), e_ = (unsigned long)(expected);      \
		if (s_ != e_)                                                                 \
			broken(c, id, what, at, s_, e_);                                      \
	} while (0)

/* ---- list, tree, sums ------------------------------------------------------------------------ */

static void check_list(struct check *c)
{
	struct mm_struct *mm = c->mm;
	struct rb_node *rb = rb_first(&mm->mm_rb);
	struct vm_area_struct *vma, *prev = NULL;
	int n = 0;

	assert_held_any(&mm->mmap_lock);
	EXPECT(c, "I21", "red-black rules of the VMA tree", 0, rb_check(&mm->mm_rb), 0);
	for (vma = mm->mmap; vma; prev = vma, vma = vma->vm_next, n++) {
		EXPECT(c, "I20", "empty or unaligned VMA", vma->vm_start,
		       vma->vm_start < vma->vm_end &&
			       !((vma->vm_start | vma->vm_end) & ~PAGE_MASK), 1);
		EXPECT(c, "I20", "VMA outside its space", vma->vm_start,
		       vma->vm_start >= mm->start && vma->vm_end <= mm->task_size, 1);
		EXPECT(c, "I20", "VMAs out of order", vma->vm_start,
		       !prev || prev->vm_end <= vma->vm_start, 1);
		EXPECT(c, "I20", "vm_prev", vma->vm_start, vma->vm_prev, prev);
		EXPECT(c, "I20", "vm_mm", vma->vm_start, vma->vm_mm, mm);
		EXPECT(c, "I21", "tree order", vma->vm_start,
		       rb ? rb_entry(rb, struct vm_area_struct, vm_rb) : NULL, vma);
		EXPECT(c, "I22", "gap below a subtree", vma->vm_start, vma->rb_subtree_gap,
		       vma_compute_gap(vma));
		rb = rb ? rb_next(rb) : NULL;
	}
	EXPECT(c, "I21", "tree has more than the list", 0, rb, NULL);
	EXPECT(c, "I23", "map_count", 0, mm->map_count, n);
}

static void check_sums(struct check *c)
{
	struct mm_struct *mm = c->mm, sum = {.total_vm = 0};

	assert_held_any(&c->mm->mmap_lock);
	for (struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next) {
		vm_stat_account(&sum, vma->vm_flags, vma_pages(vma));
		if (vma->vm_flags & VM_LOCKED)
			sum.locked_vm += vma_pages(vma);
	}
	EXPECT(c, "I24", "total_vm", 0, mm->total_vm, sum.total_vm);
	EXPECT(c, "I24", "data_vm", 0, mm->data_vm, sum.data_vm);
	EXPECT(c, "I24", "exec_vm", 0, mm->exec_vm, sum.exec_vm);
	EXPECT(c, "I24", "stack_vm", 0, mm->stack_vm, sum.stack_vm);
	EXPECT(c, "I24", "locked_vm", 0, mm->locked_vm,
	       sum.locked_vm + mm->locked_stale);
}

/* ---- entries --------------------------------------------------------------------------------- */

struct rmap_count {
	struct page *page;
	const struct mm_struct *mm; /* the entry looked for; NULL: all are counted */
	uintptr_t addr;
	long entries;
	bool met;
};

/* Does the VMA's table name the page there? Counts it; stops at the entry looked for. */
static bool rmap_count_one(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx)
{
	pte_t *pte = pt_find(vma->vm_mm, addr);
	struct rmap_count *r = ctx;
	pte_t v = pte ? pte_get(pte) : 0;

	if (!pte_present(v) || pte_pfn(v).n != page_to_pfn(page).n)
		return true;
	r->entries++;
	if (vma->vm_mm == r->mm && addr == r->addr)
		r->met = true;
	return !r->met;
}

/* I27: from the entry to the page, and back. */
static void check_page(struct check *c, struct page *page, uintptr_t addr)
{
	struct rmap_count r = {.mm = c->mm, .page = page, .addr = addr};

	ASSERT_DEBUG(page);
	c->rss[mm_counter(page)]++;
	/* A page of the kernel's has no reverse map; one without references must not be walked from. */
	if (!page->mapping || page_count(page) <= 0)
		return;
	rmap_walk(page, rmap_count_one, &r);
	EXPECT(c, "I27", "entry not found by the reverse map", addr, r.met, true);
}

/* I25, I32, I33: may the entry be what it is? */
static void check_entry(struct check *c, struct pte_desc d, uintptr_t addr)
{
	struct vm_area_struct *vma = c->vma;
	struct page *page = d.special ? NULL : pfn_to_page(d.pfn);
	vm_flags_t f = vma->vm_flags;

	assert_held_any(&c->mm->mmap_lock);
	EXPECT(c, "I25", "kind of entry against the VMA's rights", addr, d.kind,
	       vma_is_accessible(vma) ? PTE_LEAF : PTE_PROTNONE);
	EXPECT(c, "I25", "entry writable, VMA not", addr, d.w && !(f & VM_WRITE), 0);
	if (d.kind == PTE_LEAF)
		EXPECT(c, "I25", "user bit", addr, d.user, c->mm->user);
	if (!page) {
		EXPECT(c, "I33", "special entry without the page of zeros", addr, d.pfn.n,
		       page_to_pfn(zero_page).n);
		EXPECT(c, "I33", "writable page of zeros", addr, d.w, 0);
		return;
	}
	if (!(f & VM_SHARED) && d.w)
		EXPECT(c, "I32", "writable private entry of a shared page", addr,
		       PageAnon(page) && page_mapcount(page) == 1 &&
			       (!PageSwapCache(page) || !page_swapcount(page)), 1);
}

/* I41: the slot is counted for it; the VMA can be asked which spaces have the page. */
static void check_swap_entry(struct check *c, swp_entry_t entry, uintptr_t addr)
{
	assert_held_any(&c->mm->mmap_lock);
	c->rss[MM_SWAPENTS]++;
	if (!is_swapin_error(entry))
		EXPECT(c, "I41", "swap entry of a slot that nobody names", addr, swp_swapcount(entry) > 0, 1);
	EXPECT(c, "I41", "swap entry in a VMA without anon_vma", addr, c->vma->anon_vma != NULL, 1);
}

static int check_range(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	struct check *c = ctx;

	assert_held_any(&mm->mmap_lock);
	for (; start != end; start += PAGE_SIZE, pte++) {
		struct pte_desc d = pte_desc(pte_get(pte));

		if (d.kind == PTE_NONE)
			continue;
		if (d.kind == PTE_SWAP) {
			check_swap_entry(c, pte_to_swp_entry(pte_get(pte)), start);
			continue;
		}
		if (d.kind != PTE_LEAF && d.kind != PTE_PROTNONE) {
			broken(c, "I25", "kind of entry", start, d.kind, PTE_LEAF);
			continue;
		}
		check_entry(c, d, start);
		if (!d.special)
			check_page(c, pfn_to_page(d.pfn), start);
	}
	return 0;
}

/* I25: nothing is mapped between the VMAs. */
static int check_hole(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end, void *ctx)
{
	assert_held_any(&mm->mmap_lock);
	for (; start != end; start += PAGE_SIZE, pte++)
		if (!pte_none(pte_get(pte)))
			broken(ctx, "I25", "entry outside every VMA", start, pte_get(pte), 0);
	return 0;
}

static void check_entries(struct check *c)
{
	struct mm_struct *mm = c->mm;
	uintptr_t at = mm->start;

	assert_held_any(&mm->mmap_lock);
	for (c->vma = mm->mmap; c->vma; c->vma = c->vma->vm_next) {
		pt_for_each(mm, at, c->vma->vm_start, check_hole, c);
		pt_for_each(mm, c->vma->vm_start, c->vma->vm_end, check_range, c);
		at = c->vma->vm_end;
	}
	pt_for_each(mm, at, mm->task_size, check_hole, c);
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		EXPECT(c, "I28", "rss counter", i, mm->rss[i], c->rss[i]);
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Returns how many tables hang below, and checks each one's count of live entries. */
static unsigned long check_table(struct check *c, pteval_t *table, unsigned level, bool root)
{
	struct page *page = virt_to_page(table);
	unsigned long live = 0, tables = 0, first = 0, n = PTRS_PER_TABLE;

	assert_held_any(&c->mm->mmap_lock);
	ASSERT(level < pt_levels);
	EXPECT(c, "I29", "table page not marked", (uintptr_t)table, page_test(page, PG_table), 1);
	if (root) {
		/* The root holds the kernel's half too: only the space's own part is ours. */
		first = pt_index(c->mm->start, level);
		n = pt_index(c->mm->task_size - 1, level) + 1;
	}
	for (unsigned long i = first; i < n; i++) {
		pteval_t v = hal_pte_get(table + i);

		if (!v)
			continue;
		live++;
		if (level)
			tables += 1 + check_table(c, pt_table_of(v, level), level - 1, false);
	}
	EXPECT(c, "I29", "live entries of a table", (uintptr_t)table, page->private, live);
	return tables;
}

static void check_tables(struct check *c)
{
	unsigned long n = check_table(c, c->mm->pgd, pt_levels - 1, true);

	assert_held_any(&c->mm->mmap_lock);
	EXPECT(c, "I29", "pgtables_bytes", 0, c->mm->pgtables_bytes, n << PAGE_SHIFT);
}

/* ---- reverse maps ---------------------------------------------------------------------------- */

static bool file_rmap_has(struct vm_area_struct *vma)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct vm_area_struct *v;
	bool found = false;

	down_read(&mapping->i_mmap_rwsem);
	vma_interval_tree_foreach(v, i_mmap_read(mapping), vma->vm_pgoff, vma->vm_pgoff)
		found |= v == vma;
	up_read(&mapping->i_mmap_rwsem);
	return found;
}

/* I31: a VMA is where its reverse maps look for it. */
static void check_rmaps(struct check *c)
{
	assert_held_any(&c->mm->mmap_lock);
	for (struct vm_area_struct *vma = c->mm->mmap; vma; vma = vma->vm_next) {
		struct anon_vma_chain *avc;
		bool own = false;

		if (vma->vm_file)
			EXPECT(c, "I31", "VMA not in its file's tree", vma->vm_start,
			       file_rmap_has(vma), 1);
		list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
			own |= avc->anon_vma == vma->anon_vma;
			EXPECT(c, "I31", "chain link of another VMA", vma->vm_start, avc->vma, vma);
			EXPECT(c, "I31", "chain of two families", vma->vm_start,
			       avc->anon_vma->root, vma->anon_vma ? vma->anon_vma->root : NULL);
		}
		EXPECT(c, "I31", "own anon_vma in the chain", vma->vm_start, own, vma->anon_vma != NULL);
	}
}

/* ---- every page that is mapped --------------------------------------------------------------- */

/* Is a space being changed, a page pinned, or a user's copy of one under way? Then sums may be half done. */
static bool core_is_in_use(void)
{
	struct mm_struct *mm;
	bool busy = node_page_state(NR_COPIED_OUT) ||
		    node_page_state(NR_FOLL_PIN_ACQUIRED) != node_page_state(NR_FOLL_PIN_RELEASED);

	spin_lock(&mmlist_lock);
	list_for_each_entry(mm, mm_list(), mmlist)
		busy |= rwsem_is_locked(&mm->mmap_lock);
	spin_unlock(&mmlist_lock);
	return busy;
}

/*
 * I26, I30, from the page: all that maps it is found by its reverse map, and only entries and the
 * cache have references. One of the kernel's own has no reverse map, and its owner's reference.
 */
static void check_mapped_page(struct check *c, struct page *page, uint64_t pfn)
{
	const struct address_space *m = PageAnon(page) ? NULL : page->mapping;
	int wanted = page_mapcount(page) + !PageAnon(page) + PageSwapCache(page);
	struct rmap_count r = {.page = page};

	ASSERT(page_mapcount(page) > 0);
	if (page->mapping && page_count(page) > 0) {
		rmap_walk(page, rmap_count_one, &r);
		EXPECT(c, "I26", "entries, and mapcount of frame", pfn, r.entries,
		       page_mapcount(page));
	}
	if (c->busy || !page->mapping || (m && rwsem_is_locked(&m->host->i_rwsem)))
		EXPECT(c, "I30", "too few references of frame", pfn, page_count(page) < wanted, 0);
	else
		EXPECT(c, "I30", "references of frame", pfn, page_count(page), wanted);
}

static void check_mapped_pages(struct check *c)
{
	might_sleep();
	for (uint64_t pfn = 0; pfn < max_pfn; pfn++) {
		struct page *page = pfn_to_page(PFN(pfn));

		if (!pfn_valid(PFN(pfn))) {
			pfn |= SECTION_PAGES - 1;
			continue;
		}
		if (page_mapcount(page) > 0 && !page_test(page, PG_slab) &&
		    !page_test(page, PG_tail))
			check_mapped_page(c, page, pfn);
	}
}

/* ---- commitment ------------------------------------------------------------------------------ */

static unsigned long accounted_pages(const struct mm_struct *mm)
{
	unsigned long n = 0;

	for (const struct vm_area_struct *vma = mm->mmap; vma; vma = vma->vm_next)
		if (vma->vm_flags & VM_ACCOUNT)
			n += vma_pages(vma);
	return n;
}

/* I34: what is charged is what VMAs and shared memory were charged. Only when no space is busy. */
static void check_commitment(struct check *c)
{
	unsigned long n = 0;
	struct quire_inode *inode;
	struct mm_struct *mm;

	spin_lock(&mmlist_lock);
	list_for_each_entry(mm, mm_list(), mmlist) {
		c->busy |= rwsem_is_locked(&mm->mmap_lock);
		n += c->busy ? 0 : accounted_pages(mm);
	}
	spin_unlock(&mmlist_lock);
	spin_lock(&inodes_lock);
	list_for_each_entry(inode, inode_list(), all)
		n += inode->charged;
	spin_unlock(&inodes_lock);
	if (!c->busy)
		EXPECT(c, "I34", "pages promised", 0, vm_memory_committed(), n);
}

long quire_check(struct quire_mm *qmm)
{
	struct check c = {.mm = to_mm(qmm), .busy = core_is_in_use()};

	if (c.mm) {
		down_read(&c.mm->mmap_lock);
		check_list(&c);
		check_sums(&c);
		check_entries(&c);
		check_tables(&c);
		check_rmaps(&c);
		up_read(&c.mm->mmap_lock);
	}
	check_mapped_pages(&c);
	check_commitment(&c);
	return c.broken + check_phys();
}
