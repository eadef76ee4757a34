/* SPDX-License-Identifier: MIT */
/*
 * The checker of spaces is checked: each invariant is broken by hand, told of by its number, and
 * mended again. A checker that cannot see a thing broken would let every other test pass.
 */
#include "breaking.h"
#include "space.h"

#include "mm/base/vmstat.h"

static long check_told(struct quire_mm *mm)
{
	forget_told();
	return quire_check(mm);
}

/* Told under that number. */
#define BROKEN(id, do_it, undo_it) BREAK(check_told(cur), "check: " id ": ", do_it, undo_it)
#define SWAPPED(id, place, value)  SWAP(check_told(cur), "check: " id ": ", place, value)

static struct vm_area_struct *area(unsigned page)
{
	return vma_at(AT(page));
}

/* Rights side by side, two families, a file, shared memory, zeros, a hole. */
static void spaces_up(void)
{
	struct quire_file *f;

	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	mmap_at(AT(4), 4, PROT_READ, PRIV | FIX);
	for (int i = 0; i < 4; i++)
		store_at(AT(i), i);
	load_at(AT(4));
	mmap_at(AT(10), 4, RW, PRIV | FIX);
	store_at(AT(10), 1);
	mmap_at(AT(20), 4, RW, PRIV | FIX | MAP_LOCKED);
	f = file_new(8, FRW);
	mmap_file(AT(30), 8, RW | PROT_EXEC, MAP_SHARED | FIX, f, 0);
	store_at(AT(30), 1);
	store_at(AT(35), 1);
	quire_file_put(f);
	mmap_at(AT(40), 2, PROT_NONE, PRIV | FIX);
	mmap_at(AT(50), 2, RW, PRIV | FIX | MAP_GROWSDOWN);
	cr_assert_eq(check_told(cur), 0, "%s", told);
}

/* The entry of a page, changed as nobody may. */
static void entry_set(uintptr_t a, struct pte_desc d)
{
	hal_pte_xchg(pt_find(mm_now(), a), pte_make(d));
}

#define ENTRY(id, page, change)                                                     \
	do {                                                                        \
		struct pte_desc was_ = pte_desc(pte_get(pt_find(mm_now(), AT(page)))); \
		struct pte_desc d = was_;                                           \
		change;                                                             \
		BROKEN(id, entry_set(AT(page), d), entry_set(AT(page), was_));      \
	} while (0)

Test(check, areas)
{
	struct quire_mm *other;
	struct vm_area_struct *a;

	spaces_up();
	other = space_new();
	a = area(0);
	SWAPPED("I20", a->vm_end, a->vm_start);
	SWAPPED("I20", mm_now()->start, AT(1));
	SWAPPED("I20", mm_now()->task_size, AT(51));
	SWAPPED("I20", a->vm_end, AT(5));
	SWAPPED("I20", area(4)->vm_prev, NULL);
	SWAPPED("I20", a->vm_mm, to_mm(other));
	SWAPPED("I21", mm_now()->mmap, a->vm_next);
	SWAPPED("I21", mm_now()->mm_rb, RB_ROOT);
	SWAPPED("I21", mm_now()->mm_rb.rb_node->parent_color, 0);
	SWAPPED("I22", area(20)->rb_subtree_gap, PS);
	/* The reverse map's tree still counts on what was cut off. */
	SWAPPED("I25", area(30)->vm_end, AT(32));
	SWAPPED("I26", area(30)->vm_end, AT(32));
	SWAPPED("I23", mm_now()->map_count, 3);
	run_space(cur);
	space_put(other);
	space_down();
}

Test(check, sums)
{
	spaces_up();
	BROKEN("I24", mm_now()->total_vm++, mm_now()->total_vm--);
	BROKEN("I24", mm_now()->data_vm++, mm_now()->data_vm--);
	BROKEN("I24", mm_now()->exec_vm++, mm_now()->exec_vm--);
	BROKEN("I24", mm_now()->stack_vm--, mm_now()->stack_vm++);
	BROKEN("I24", mm_now()->locked_vm--, mm_now()->locked_vm++);
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		BROKEN("I28", mm_now()->rss[i]++, mm_now()->rss[i]--);
	BROKEN("I34", mod_node_page_state(NR_COMMITTED, 1), mod_node_page_state(NR_COMMITTED, -1));
	space_down();
}

Test(check, entries)
{
	struct quire_mm *child;
	uint64_t pfn;

	spaces_up();
	pfn = pfn_at(AT(10));
	SWAPPED("I25", area(0)->vm_flags, area(0)->vm_flags & ~VM_ACCESS_FLAGS);
	SWAPPED("I25", area(0)->vm_flags, area(0)->vm_flags & ~VM_WRITE);
	SWAPPED("I25", mm_now()->user, false);
	ENTRY("I25", 0, d.kind = PTE_PROTNONE);
	ENTRY("I41", 0, d.kind = PTE_SWAP);
	ENTRY("I33", 4, d.pfn.n = pfn);
	ENTRY("I33", 4, d.w = true);
	ENTRY("I28", 0, d = (struct pte_desc){.kind = PTE_NONE});
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	ENTRY("I32", 0, d.w = true);
	space_put(child);
	/* So many that not all are told. */
	mm_now()->user = false;
	cr_expect_gt(check_told(cur), 8);
	cr_expect_eq(lines, 8, "the first of them: %u", lines);
	mm_now()->user = true;
	space_down();
}

Test(check, tables)
{
	struct page *table;

	spaces_up();
	table = pt_page(pt_find(mm_now(), AT(0)));
	BROKEN("I29", page_clear(table, PG_table), page_set(table, PG_table));
	BROKEN("I29", table->private++, table->private--);
	BROKEN("I29", mm_now()->pgtables_bytes += PS, mm_now()->pgtables_bytes -= PS);
	space_down();
}

Test(check, reverse_maps)
{
	struct anon_vma_chain *avc;
	struct vm_area_struct *v;
	struct rb_root *tree;

	spaces_up();
	v = area(30);
	tree = &v->vm_file->f_mapping->i_mmap;
	BROKEN("I31", vma_interval_tree_remove(v, tree), vma_interval_tree_insert(v, tree));
	v = area(0);
	avc = list_first_entry(&v->anon_vma_chain, struct anon_vma_chain, same_vma);
	SWAPPED("I31", avc->vma, area(10));
	SWAPPED("I31", avc->anon_vma, area(10)->anon_vma);
	SWAPPED("I31", v->anon_vma, NULL);
	space_down();
}

/* References and entries of each kind of page: one too many, and one too few. */
static uintptr_t thread = 1;

uintptr_t os_thread_id(void)
{
	return thread;
}

Test(check, counts_of_pages)
{
	static const unsigned pages[] = {0, 30};
	struct quire_mm *other;
	void *own;

	spaces_up();
	other = space_new();
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		struct page *page = pfn_to_page(PFN(pfn_at(AT(pages[i]))));

		BROKEN("I30", page->_refcount++, page->_refcount--);
		BROKEN("I30", page->_refcount--, page->_refcount++);
		BROKEN("I26", page->_mapcount++, page->_mapcount--);
		BROKEN("I27", page->index += 100, page->index -= 100);
		/* While somebody else is at work he may hold it; nobody may have let go of it. */
		thread = 2;
		down_read(&to_mm(other)->mmap_lock);
		thread = 1;
		page->_refcount++;
		cr_expect_eq(check_told(cur), 0, "%s", told);
		page->_refcount -= 2;
		cr_expect_gt(check_told(cur), 0);
		page->_refcount++;
		mod_node_page_state(NR_COMMITTED, 1);
		cr_expect_eq(check_told(cur), 0, "%s", told);
		mod_node_page_state(NR_COMMITTED, -1);
		thread = 2;
		up_read(&to_mm(other)->mmap_lock);
		thread = 1;
	}
	/* The kernel's own page has its owner's reference, and others' as they please. */
	own = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	cr_assert_eq(quire_mm_install_special(cur, AT(60), PS, PROT_READ,
					      &(const void *){own}, "[own]"), 0);
	load_at(AT(60));
	get_page(virt_to_page(own));
	cr_expect_eq(check_told(cur), 0, "%s", told);
	put_page(virt_to_page(own));
	BROKEN("I30", virt_to_page(own)->_refcount--, virt_to_page(own)->_refcount++);
	munmap_at(AT(60), 1);
	quire_free_pages(own, 0);
	cr_expect_eq(check_told(NULL), 0, "without a space: memory alone");
	space_put(other);
	space_down();
}

/* Truncation and reads to a user hold a file's pages for a moment. */
Test(check, who_may_hold_a_files_page)
{
	struct page *page;
	struct quire_inode *inode;

	spaces_up();
	inode = file_inode(area(30)->vm_file);
	page = pfn_to_page(PFN(pfn_at(AT(30))));
	get_page(page);
	cr_expect_gt(check_told(cur), 0);
	down_write(&inode->i_rwsem);
	cr_expect_eq(check_told(cur), 0, "%s", told);
	up_write(&inode->i_rwsem);
	inc_node_page_state(NR_COPIED_OUT);
	cr_expect_eq(check_told(cur), 0, "%s", told);
	dec_node_page_state(NR_COPIED_OUT);
	cr_expect_gt(check_told(cur), 0);
	put_page(page);
	space_down();
}
