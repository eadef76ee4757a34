/* SPDX-License-Identifier: MIT */
/*
 * What only strange objects, kernel-mode accesses, full gathers and odd arguments bring about. Each
 * has its answer, and leaves everything whole.
 */
#include "object.h"

#include "mm/base/vmstat.h"

#define MAYMOVE   MREMAP_MAYMOVE
#define FIXED_TO (MREMAP_MAYMOVE | MREMAP_FIXED)
#define DONTUNMAP MREMAP_DONTUNMAP
#define FREE	  8

/* ---- objects that answer faults as they like -------------------------------------------------- */

static vm_fault_t answer;	  /* what ->fault() or ->page_mkwrite() says instead */
static const struct vm_operations_struct *file_vm_ops;
static unsigned calls;

static vm_fault_t own_fault(struct vm_fault *vmf)
{
	vm_fault_t ret;

	calls++;
	if (answer & ~VM_FAULT_LOCKED)
		return answer & ~VM_FAULT_LOCKED;
	ret = file_vm_ops->fault(vmf);
	if (ret & VM_FAULT_LOCKED && !(answer & VM_FAULT_LOCKED)) {
		unlock_page(vmf->page);
		ret &= ~VM_FAULT_LOCKED;
	}
	return ret;
}

static bool forgets; /* the page leaves the tables while the object thinks, by another thread */
static uintptr_t thread = 1;

uintptr_t os_thread_id(void)
{
	return thread;
}

static vm_fault_t own_mkwrite(struct vm_fault *vmf)
{
	calls++;
	if (forgets && pte_present(pte_get(vmf->pte))) {
		thread = 2;
		quire_madvise(cur, vmf->address, PS, 4);
		thread = 1;
		forgets = false;
	}
	return answer;
}

static struct vm_operations_struct vm_ops;

/* A file of 16 pages whose areas have these operations, mapped over pages 0 to 8. */
static struct quire_file *mapped_object(unsigned long type)
{
	struct quire_file *f = object(&own_ops);

	file_vm_ops = &generic_file_vm_ops;
	object_vm_ops = &vm_ops;
	answer = 0;
	calls = 0;
	cr_assert_eq(mmap_file(AT(0), 8, RW, type | FIX, f, 0), (long)AT(0));
	return f;
}

Test(mm_rare, pages_that_come_unlocked)
{
	struct quire_file *f;

	space_up();
	vm_ops = (struct vm_operations_struct){.fault = own_fault};
	f = mapped_object(MAP_SHARED);
	cr_expect_eq(load_at(AT(1)) & 0xff, 2);
	cr_expect_eq(store_at(AT(2), 7), 0);
	mmap_file(AT(20), 2, RW, MAP_PRIVATE | FIX, f, 1);
	cr_expect_eq(store_at(AT(21), 5), 0);
	cr_expect_eq(load_at(AT(2)), 7);
	cr_expect_eq(calls, 3, "no window round the fault: it has no map_pages");
	quire_file_put(f);
	space_down();
}

Test(mm_rare, objects_that_refuse)
{
	static const struct {
		vm_fault_t answer;
		int refused;
	} all[] = {{VM_FAULT_SIGBUS, ADRERR}, {VM_FAULT_SIGSEGV, MAPERR}, {VM_FAULT_OOM, KILLED}};
	struct quire_file *f;

	space_up();
	vm_ops = (struct vm_operations_struct){.fault = own_fault};
	f = mapped_object(MAP_SHARED);
	mmap_file(AT(20), 2, RW, MAP_PRIVATE | FIX, f, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		answer = all[i].answer;
		cr_expect_eq(touch_at(AT(0)), all[i].refused, "%u", i);
		cr_expect_eq(store_at(AT(1), 1), all[i].refused, "%u", i);
		cr_expect_eq(store_at(AT(20), 1), all[i].refused, "%u", i);
		check_now();
	}
	cr_expect_eq(get_mm_rss(mm_now()), 0);
	/* The kernel is told, whatever it was; and it does not try for ever. */
	answer = VM_FAULT_SIGBUS;
	cr_expect_eq(quire_fault_in(cur, AT(0), false), -EFAULT);
	answer = VM_FAULT_OOM;
	cr_expect_eq(quire_fault_in(cur, AT(0), true), -ENOMEM);
	answer = VM_FAULT_NOPAGE;
	calls = 0;
	cr_expect_eq(quire_fault_in(cur, AT(0), true), -EFAULT);
	cr_expect_eq(calls, 16);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 0)), -ENOMEM);
	cr_expect_eq(calls, 32);
	cr_expect_eq(CALL(quire_munlockall(cur)), 0);
	vm_ops.fault = NULL;
	cr_expect_eq(touch_at(AT(0)), ADRERR, "nothing to ask");
	quire_file_put(f);
	space_down();
}

Test(mm_rare, writes_that_an_object_refuses)
{
	struct quire_file *f;

	space_up();
	vm_ops = (struct vm_operations_struct){.fault = own_fault, .page_mkwrite = own_mkwrite};
	f = mapped_object(MAP_SHARED);
	answer = VM_FAULT_SIGBUS;
	vm_ops.fault = filemap_fault;
	cr_expect_eq(store_at(AT(0), 1), ADRERR, "untouched");
	cr_expect_eq(load_at(AT(1)) & 0xff, 2);
	cr_expect_eq(store_at(AT(1), 1), ADRERR, "read before");
	check_now();
	cr_expect_eq(load_at(AT(1)) & 0xff, 2);
	answer = 0;
	calls = 0;
	forgets = true;
	cr_expect_eq(FAULTS(OK(store_at(AT(1), 9) == 0)), 2, "gone meanwhile: once more");
	cr_expect_eq(calls, 2);
	cr_expect_eq(load_at(AT(1)), 9);
	quire_file_put(f);
	space_down();
}

/* Shared memory without an object has nowhere to keep what is written. */
static int forgetful_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = NULL;
	return 0;
}

static const struct file_operations forgetful_ops = {.mmap = forgetful_mmap};

Test(mm_rare, shared_memory_of_nothing)
{
	struct quire_file *f;

	space_up();
	f = object(&forgetful_ops);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(touch_at(AT(0)), ADRERR);
	cr_expect_eq(store_at(AT(1), 1), ADRERR);
	quire_file_put(f);
	space_down();
}

/* Pages that only their tables know of: a fork has to copy the entries of shared areas too. */
Test(mm_rare, entries_of_mixed_areas_are_copied)
{
	struct quire_mm *parent, *child;
	struct quire_file *f;

	space_up();
	f = object(&own_ops);
	object_flags = VM_MIXEDMAP;
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(8), 4, PROT_READ, MAP_PRIVATE | FIX, f, 0);
	store_at(AT(1), 5);
	load_at(AT(8));
	parent = cur;
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_assert_eq(quire_check(child), 0);
	run_space(child);
	cr_expect(present_at(AT(1)) && present_at(AT(8)));
	cr_expect_not(pte_desc(pte_get(pt_find(mm_now(), AT(1)))).dirty, "who wrote it has it marked");
	cr_expect_eq(FAULTS(store_at(AT(1), 6)), 0, "and writable: it is shared");
	run_space(parent);
	cr_expect_eq(load_at(AT(1)), 6);
	space_put(child);
	quire_file_put(f);
	space_down();
}

/* ---- faults of the kernel itself --------------------------------------------------------------- */

static unsigned kernel_fault(struct quire_mm *mm, uintptr_t a, enum fault_access access,
			     uintptr_t fixup)
{
	struct fault_info fi = {.addr = a, .access = access, .fixup = fixup};

	quire_page_fault(mm, &fi, &last);
	return last.outcome;
}

Test(mm_rare, kernel_mode)
{
	struct fault_info fi = {.access = FAULT_READ, .kind = FAULT_BUS, .user = true};
	struct quire_mm *mm;

	space_up();
	mm = cur;
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(1), 1);
	cr_expect_eq(kernel_fault(mm, AT(0), FAULT_WRITE, 0), QUIRE_FAULT_DONE);
	cr_expect_eq(kernel_fault(mm, AT(9), FAULT_READ, 0), QUIRE_FAULT_OOPS);
	cr_expect_eq(kernel_fault(mm, AT(9), FAULT_READ, 0x1000), QUIRE_FAULT_FIXUP);
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_eq(kernel_fault(mm, AT(2), FAULT_WRITE, 0x1000), QUIRE_FAULT_FIXUP);
	quire_inject_set(QUIRE_INJECT_PAGE, 1);
	cr_expect_eq(kernel_fault(mm, AT(2), FAULT_WRITE, 0), QUIRE_FAULT_OOPS);
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	cr_expect_eq(kernel_fault(NULL, AT(0), FAULT_READ, 0), QUIRE_FAULT_OOPS, "without a space");
	cr_expect_eq(last.sig * 16 + last.code, MAPERR);
	/* The memory behind a good translation is not there: whose area it was is told. */
	for (int i = 0; i < 3; i++) {
		fi.addr = i == 0 ? AT(1) : i == 1 ? AT(30) : (uintptr_t)1 << 62;
		quire_page_fault(mm, &fi, &last);
		cr_expect_eq(refused(), ADRERR, "%d", i);
	}
	/* An address that no table can name. */
	fi.kind = FAULT_TRANSLATION;
	quire_page_fault(mm, &fi, &last);
	cr_expect_eq(refused(), MAPERR);
	fake_core_returned();
	space_down();
}

/* A machine that asks for accessed and dirty, of pages that lost them. */
Test(mm_rare, bits_asked_for)
{
	uint64_t asked;
	pte_t *pte;

	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1, .software_ad = true});
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	asked = fault_rows[QUIRE_ROW_AD];
	cr_expect_eq(madvise_at(AT(0), 1, FREE), 0);
	cr_expect_eq(FAULTS(store_at(AT(0), 2)), 1, "clean: the write has to be noticed");
	pte = pt_find(mm_now(), AT(0));
	ptl_lock(pte_lockptr(pte));
	pte_clear_accessed(pte, pte_desc(pte_get(pte)));
	ptl_unlock(pte_lockptr(pte));
	hal_tlb_flush(&mm_now()->arch, AT(0), AT(1), 0, false);
	cr_expect_eq(FAULTS(load_at(AT(0))), 1);
	cr_expect_eq(fault_rows[QUIRE_ROW_AD], asked + 2);
	cr_expect_eq(load_at(AT(0)), 2);
	cr_expect(pte_desc(pte_get(pte)).accessed && pte_desc(pte_get(pte)).dirty);
	space_down();
}

/* ---- teardown -------------------------------------------------------------------------------- */

/* More pages than the gather remembers; and memory for remembering that fails at each batch. */
Test(mm_rare, gathers_that_fill, .timeout = 60)
{
	enum { MANY = 11000, SOME = 2000 };
	uint64_t before, flushes;

	space_up_cfg(&(struct fake_config){.ram = 16384 * PS, .cpus = 1});
	mmap_at(AT(0), MANY, RW, PRIV | FIX | MAP_NORESERVE | MAP_POPULATE);
	munmap_at(AT(0), MANY);
	before = free_pages_now();
	mmap_at(AT(0), MANY, RW, PRIV | FIX | MAP_NORESERVE | MAP_POPULATE);
	cr_assert_eq(get_mm_rss(mm_now()), MANY);
	flushes = fake_counters()->flushes;
	munmap_at(AT(0), MANY);
	cr_expect_leq(fake_counters()->flushes, flushes + 3);
	cr_expect_eq(free_pages_now(), before);
	for (unsigned nth = 1; nth < 6; nth++) {
		mmap_at(AT(0), SOME, RW, PRIV | FIX | MAP_POPULATE);
		quire_inject_set(QUIRE_INJECT_PAGE, nth);
		munmap_at(AT(0), SOME);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		cr_assert_eq(free_pages_now(), before, "%u", nth);
	}
	space_down();
}

Test(mm_rare, ranges_of_a_file)
{
	struct address_space *m;
	struct quire_file *f;

	space_up();
	f = file_new(8, FRW);
	m = to_file(f)->f_mapping;
	mmap_file(AT(0), 8, RW, MAP_PRIVATE | FIX, f, 0);
	for (int i = 0; i < 8; i++)
		i & 1 ? (void)store_at(AT(i), 1) : (void)load_at(AT(i));
	unmap_mapping_range(m, PS + 1, PS - 1, true);
	check_now();
	cr_expect(present_at(AT(1)), "no whole page");
	unmap_mapping_range(m, 2 * PS, PS, false);
	unmap_mapping_range(m, 3 * PS, PS, false);
	check_now();
	cr_expect_not(present_at(AT(2)));
	cr_expect(present_at(AT(3)), "a copy is no page of the file");
	unmap_mapping_range(m, 6 * PS, UINT64_MAX - 5 * PS, true);
	check_now();
	cr_expect(present_at(AT(5)));
	cr_expect_not(present_at(AT(6)) || present_at(AT(7)), "a range that wraps goes to the end");
	quire_file_put(f);
	space_down();
}

/* ---- arguments ----------------------------------------------------------------------------------- */

Test(mm_rare, huge_pages_that_are_not_there)
{
	size_t huge = 2 * MIB, all;

	space_up();
	all = mm_now()->task_size & ~(huge - 1);
#define HUGE(addr, len, flags, off) \
	CALL(quire_mmap(cur, addr, len, RW, MAP_HUGETLB | MAP_ANONYMOUS | (flags), NULL, off))
	cr_expect_eq(HUGE(0, huge, MAP_PRIVATE | 25ul << MAP_HUGE_SHIFT, 0), -EINVAL, "no such size");
	cr_expect_eq(HUGE(0, all + (2ul << 30), MAP_PRIVATE, 0), -ENOMEM);
	cr_expect_eq(HUGE(all, 2 * huge, MAP_PRIVATE | FIX, 0), -ENOMEM);
	cr_expect_eq(HUGE(huge + PS, huge, MAP_PRIVATE | FIX, 0), -EINVAL);
	cr_expect_eq(HUGE(0, huge, MAP_SHARED_VALIDATE | MAP_SYNC, 0), -EOPNOTSUPP);
	cr_expect_eq(HUGE(0, huge, MAP_SHARED_VALIDATE, 0), -ENOMEM);
	cr_expect_eq(HUGE(0, huge, 0, 0), -EINVAL);
	cr_expect_eq(HUGE(0, huge, MAP_PRIVATE | MAP_GROWSDOWN, 0), -EINVAL);
	cr_expect_eq(HUGE(0, huge, MAP_PRIVATE, PS), -EINVAL);
	cr_expect_eq(HUGE(0, huge, MAP_PRIVATE, (uint64_t)INT64_MAX & ~(PS - 1)), -EOVERFLOW);
	limit_set(RLIMIT_AS, PS);
	cr_expect_eq(HUGE(0, huge, MAP_PRIVATE, PS), -ENOMEM, "no room even for that");
	limit_set(RLIMIT_AS, LIMIT_NONE);
	/* What was there is gone before memory is found wanting; unless it cannot be cut. */
	mmap_at(AT(0) - 2 * PS, huge / PS + 4, RW, PRIV | FIX);
	quire_sysctl_set("max_map_count", 1);
	cr_expect_eq(HUGE(AT(0), huge, MAP_PRIVATE | FIX, 0), -ENOMEM);
	cr_expect_eq(touch_at(AT(0)), 0);
	quire_sysctl_set("max_map_count", 65530);
	cr_expect_eq(HUGE(AT(0), huge, MAP_PRIVATE | FIX, 0), -ENOMEM);
	cr_expect_eq(touch_at(AT(0)), MAPERR);
	cr_expect_eq(touch_at(AT(0) - PS), 0);
	space_down();
}

Test(mm_rare, heaps_that_cannot_grow)
{
	uintptr_t end;

	space_up();
	end = mm_now()->task_size & PAGE_MASK;
	quire_mm_set_layout(cur, &(struct quire_mm_layout){.start_brk = end - 4 * PS,
							   .brk = end - 4 * PS});
	cr_expect_eq(CALL(quire_brk(cur, end + PS)), end - 4 * PS, "beyond the space");
	cr_expect_eq(CALL(quire_brk(cur, ~(uintptr_t)0)), end - 4 * PS, "wraps");
	cr_expect_eq(CALL(quire_brk(cur, end - 2 * PS)), end - 2 * PS);
	quire_sysctl_set("overcommit_memory", 2);
	quire_sysctl_set("overcommit_kbytes", 1);
	cr_expect_eq(CALL(quire_brk(cur, end - PS)), end - 2 * PS, "nothing left to promise");
	quire_sysctl_set("overcommit_memory", 0);
	cr_expect_eq(CALL(quire_mm_setup_stack(cur, AT(50), 2 * PS, true)), 0);
	store_at(AT(49), 1);
	cr_expect_eq(exec_at(AT(49)), 0, "a stack that may be executed");
	space_down();
}

Test(mm_rare, moves_that_are_odd)
{
	struct quire_file *f;
	size_t all;

	space_up();
	all = mm_now()->task_size;
	f = file_new(8, FRW);
	mmap_at(AT(0), 4, PROT_READ, PRIV | FIX);
	/* Growing past the end of the number line, and past the end of the space. */
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 4 * PS, -AT(1), 0, 0)), -ENOMEM);
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 4 * PS, all - AT(0) + PS, 0, 0)), -ENOMEM);
	/* The place cannot be cleared: one area too many. */
	mmap_at(AT(20), 8, RW, PRIV | FIX);
	store_at(AT(20), 1);
	quire_sysctl_set("max_map_count", mm_now()->map_count + 6);
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), PS, PS, FIXED_TO, AT(22))), (long)AT(22));
	quire_inject_set(QUIRE_INJECT_SLAB, 1);
	cr_expect_eq(CALL(quire_mremap(cur, AT(1), PS, PS, FIXED_TO, AT(24))), -ENOMEM);
	quire_inject_set(QUIRE_INJECT_SLAB, 0);
	quire_sysctl_set("max_map_count", 65530);
	cr_expect_eq(load_at(AT(20)), 1);
	/* Only anonymous memory may leave an empty area behind. */
	mmap_file(AT(40), 2, RW, MAP_PRIVATE | FIX, f, 0);
	cr_expect_eq(CALL(quire_mremap(cur, AT(40), PS, PS, MAYMOVE | DONTUNMAP, 0)), -EINVAL);
	quire_file_put(f);
	space_down();
}

Test(mm_rare, arguments_of_locks)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 2)), -EINVAL);
	no_caps = true;
	limit_set(RLIMIT_MEMLOCK, 3 * PS);
	cr_expect_eq(CALL(quire_mlockall(cur, 1)), -ENOMEM, "four pages, three may be locked");
	cr_expect_eq(mm_now()->locked_vm, 0);
	limit_set(RLIMIT_MEMLOCK, 4 * PS);
	cr_expect_eq(CALL(quire_mlockall(cur, 1)), 0);
	no_caps = false;
	limit_set(RLIMIT_MEMLOCK, LIMIT_NONE);
	cr_expect_eq(mm_now()->locked_vm, 4);
	cr_expect_eq(CALL(quire_munlockall(cur)), 0);
	/* A signal ends the populating, not the lock. */
	mmap_at(AT(8), 8, RW, PRIV | FIX);
	dies_in = 3;
	cr_expect_eq(CALL(quire_mlock(cur, AT(8), 8 * PS, 0)), 0);
	cr_expect_eq(mm_now()->locked_vm, 8);
	cr_expect_eq(dies_in, 0);
	munmap_at(AT(8), 8);
	mmap_at(AT(8), 8, RW, PRIV | FIX);
	space_down();
}

/* MADV_FREE made the page clean; who asks for it to be written makes it count as written. */
Test(mm_rare, wanted_pages_are_not_lost)
{
	struct quire_mm *child, *parent;
	struct page *page;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 5);
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	cr_expect_eq(madvise_at(AT(0), 1, FREE), 0);
	cr_expect_not(pte_desc(pte_get(pt_find(mm_now(), AT(0)))).dirty);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 0)), 0);
	cr_expect(page_test(page, PG_dirty), "populated for writing");
	cr_expect_eq(CALL(quire_munlock(cur, AT(0), PS)), 0);
	/* Marked dirty: it is taken only from its sole owner. */
	parent = cur;
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_expect_eq(madvise_at(AT(0), 1, FREE), 0);
	cr_expect(page_test(page, PG_dirty));
	space_put(child);
	run_space(parent);
	cr_expect_eq(madvise_at(AT(0), 1, FREE), 0);
	cr_expect_not(page_test(page, PG_dirty));
	cr_expect_eq(load_at(AT(0)), 5);
	space_down();
}

Test(mm_rare, what_mincore_sees)
{
	struct quire_inode *z;
	struct quire_file *zero;

	space_up();
	mmap_at(AT(100), 1, RW, PRIV | FIX);
	store_at(AT(100), 0);
	z = quire_inode_create(NULL, NULL, 5, 6, 0);
	zero = quire_file_open(z, FRW | QUIRE_FMODE_ZERO, "/dev/zero");
	mmap_file(AT(0), 3, RW, MAP_PRIVATE | FIX, zero, 0);
	store_at(AT(1), 1);
	cr_expect_eq(CALL(quire_mincore(cur, AT(0), 3 * PS, AT(100))), 0);
	cr_expect_eq(load_at(AT(100)), 0x000100ull);
	cr_expect_eq(CALL(quire_mincore(cur, AT(200), PS, AT(100))), -ENOMEM, "nothing above");
	quire_file_put(zero);
	quire_inode_put(z);
	space_down();
}

/* ---- parts --------------------------------------------------------------------------------------- */

Test(mm_rare, looks_along_the_reverse_map)
{
	struct vm_area_struct *v;
	struct page *page;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	v = vma_at(AT(0));
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	cr_expect_eq(vma_address(page, v), AT(0));
	page->index += 2;
	cr_expect_eq((long)vma_address(page, v), -EFAULT);
	page->index -= 3;
	cr_expect_eq((long)vma_address(page, v), -EFAULT);
	page->index += 1;
	/* A page that left its file has nobody to ask. */
	page = alloc_pages(GFP_KERNEL, 0);
	rmap_walk(page, NULL, NULL);
	__free_pages(page, 0);
	space_down();
}

/* Areas that differ in what their embedder says of them do not become one, nor share anon_vmas. */
Test(mm_rare, opaque_words_keep_areas_apart)
{
	struct vm_area_struct *a, *b;
	int policy, context;

	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	a = vma_at(AT(0));
	a->vm_policy = &policy;
	mmap_at(AT(2), 2, RW, PRIV | FIX);
	cr_expect_eq(mm_now()->map_count, 2);
	b = vma_at(AT(2));
	store_at(AT(0), 1);
	store_at(AT(2), 1);
	cr_expect_neq(a->anon_vma, b->anon_vma);
	a->vm_policy = NULL;
	a->vm_userfaultfd_ctx = &context;
	mmap_at(AT(4), 2, RW, PRIV | FIX);
	mprotect_at(AT(0), 1, PROT_READ);
	mprotect_at(AT(0), 1, RW);
	EXPECT_LAYOUT("0-2:rw-p 2-6:rw-p");
	a = vma_at(AT(0));
	a->vm_userfaultfd_ctx = NULL;
	space_down();
}

/* A limit that was met before it was set does not forbid what adds nothing to it. */
Test(mm_rare, rights_beyond_the_limit)
{
	space_up();
	mmap_at(AT(0), 2, PROT_READ, PRIV | FIX);
	mmap_at(AT(2), 2, RW, PRIV | FIX);
	limit_set(RLIMIT_DATA, PS);
	cr_expect_eq(mprotect_at(AT(0), 2, RW), -ENOMEM);
	limit_set(RLIMIT_AS, PS);
	cr_expect_eq(mprotect_at(AT(0), 2, RW), 0, "beyond either limit as it was, too");
	limit_set(RLIMIT_AS, LIMIT_NONE);
	limit_set(RLIMIT_DATA, LIMIT_NONE);
	space_down();
}

Test(mm_rare, special_mappings)
{
	const void *pages[2] = {page_address(zero_page), NULL};
	struct quire_mm *child;

	space_up();
	pages[0] = page_address(zero_page);
	mmap_at(AT(1), 1, RW, PRIV | FIX);
	cr_expect_eq(CALL(quire_mm_install_special(cur, AT(0), 2 * PS, PROT_READ, pages, "[own]")),
		     -ENOMEM, "something is there");
	munmap_at(AT(1), 1);
	cr_expect_eq(CALL(quire_mm_install_special(cur, AT(0), 2 * PS, PROT_READ, pages, "[own]")), 0);
	/* Neither grows, nor merges; a cut makes two, a fork two more, all of one set of pages. */
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 2 * PS, 4 * PS, MAYMOVE, 0)), -EFAULT);
	cr_expect_eq(mprotect_at(AT(1), 1, PROT_NONE), 0);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), PS, PS, FIXED_TO, AT(8))), (long)AT(8));
	cr_expect_eq(touch_at(AT(0)), MAPERR);
	cr_expect_eq(touch_at(AT(1)), ACCERR);
	space_put(child);
	/* Beyond what there is: an area that a move made longer than its pages. */
	vma_at(AT(8))->vm_pgoff = 2;
	cr_expect_eq(touch_at(AT(8)), ADRERR);
	vma_at(AT(8))->vm_pgoff = 0;
	munmap_at(AT(0), 16);
	space_down();
}

/* Shorter than its keys: areas of a file found from their reverse map, in every order. */
Test(mm_rare, many_areas_of_one_file)
{
	enum { N = 60 };
	unsigned start[N], pages[N], found = 0;
	struct vm_area_struct *v;
	struct address_space *m;
	struct quire_file *f;

	space_up();
	f = file_new(2, FRW);
	m = to_file(f)->f_mapping;
	for (int round = 0; round < 40; round++) {
		for (unsigned i = 0; i < N; i++) {
			start[i] = rnd() % 300;
			pages[i] = 1 + rnd() % (rnd() % 8 ? 4 : 100);
			cr_assert_eq(quire_mmap(cur, AT(i * 200), pages[i] * PS, PROT_READ,
						MAP_SHARED | FIX, f, (uint64_t)start[i] * PS),
				     (long)AT(i * 200));
		}
		check_now();
		for (unsigned k = 0; k < 60; k++) {
			unsigned first = rnd() % 400, last = first + rnd() % 3, want = 0, got = 0;
			unsigned long before = 0;

			for (unsigned i = 0; i < N; i++)
				want += start[i] <= last && start[i] + pages[i] > first;
			vma_interval_tree_foreach(v, &m->i_mmap, first, last) {
				cr_assert_geq(v->vm_pgoff, before, "in order");
				before = v->vm_pgoff;
				got++;
			}
			cr_assert_eq(got, want, "%u to %u", first, last);
			found += got;
		}
		quire_munmap(cur, AT(0), N * 200 * PS);
	}
	cr_expect_gt(found, 1000);
	quire_file_put(f);
	space_down();
}

/* Ranges that no space can have: nothing is made and nothing is lost. User mode's addresses end at
 * end, the lower half at half. */
static void refuse_ranges(uintptr_t end, uintptr_t half)
{
	const struct {
		struct quire_mm_params p;
		const char *what;
	} bad[] = {
		{{.start = 4 * PS, .end = 4 * PS}, "empty"},
		{{.start = 8 * PS, .end = 4 * PS}, "ends before it begins"},
		{{.start = 4 * PS}, "ends at 0"},
		{{.start = 4 * PS + 1, .end = 8 * PS}, "begins inside a page"},
		{{.start = 4 * PS, .end = 8 * PS - 1, .stack_top = 6 * PS}, "ends inside a page"},
		{{.start = PS / 2, .end = PS / 2 + PS}, "both inside a page"},
		{{.end = end + PS}, "ends above user mode's addresses"},
		{{.end = half * 4}, "beyond the machine's addresses"},
		{{.start = half * 2, .end = half * 4}, "wholly beyond them"},
		{{.end = PAGE_MASK}, "all addresses, the kernel's half among them"},
		{{.start = -half, .end = PAGE_MASK}, "the kernel's half"},
		{{.end = half + PS, .supervisor = true}, "a supervisor's that ends in no man's land"},
		{{.start = -half, .end = PAGE_MASK, .supervisor = true}, "a supervisor's kernel half"},
		{{.start = PS + 8, .end = 9 * PS, .supervisor = true}, "a supervisor's unaligned one"},
		{{.start = 3 * PS, .end = 3 * PS, .supervisor = true}, "a supervisor's empty one"},
		{{.stack_top = end + PS}, "a stack above the space"},
		{{.start = 8 * PS, .end = 16 * PS, .stack_top = 8 * PS}, "a stack below the space"},
		{{.stack_top = end - 8}, "a stack that ends inside a page"},
	};
	uint64_t before = free_pages_now();

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_null(quire_mm_create(&bad[i].p), "%s", bad[i].what);
	cr_expect_eq(free_pages_now(), before);
}

Test(mm_rare, ranges_that_cannot_be)
{
	space_up();
	refuse_ranges(hal_mmu_info()->user_end, 1ul << (hal_mmu_info()->va_bits - 1));
	space_down();
}

/* The widest and the narrowest that can be, used at both ends. */
static void use_ranges(uintptr_t end, uintptr_t half)
{
	const struct quire_mm_params good[] = {
		{.end = end},
		{.start = end - PS, .end = end},
		{.start = 4 * PS, .end = 5 * PS, .stack_top = 5 * PS},
		{.end = half, .supervisor = true},
		{.start = half - PS, .end = half, .supervisor = true},
	};

	quire_sysctl_set("mmap_min_addr", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		space_put(cur);
		run_space(quire_mm_create(&good[i]));
		cr_assert(cur, "range %u", i);
		for (unsigned k = 0; k < 2; k++) {
			uintptr_t at = k ? good[i].end - PS : good[i].start;

			cr_expect_eq(mmap_at(at, 1, RW, PRIV | FIX), (long)at, "range %u", i);
			cr_expect_eq(quire_fault_in(cur, at, true), 0, "range %u", i);
			check_now();
		}
	}
}

Test(mm_rare, ranges_at_the_bounds)
{
	space_up();
	use_ranges(hal_mmu_info()->user_end, 1ul << (hal_mmu_info()->va_bits - 1));
	space_down();
}

/* Spaces that cannot be made, and promises to those without rights. */
Test(mm_rare, spaces_that_cannot_be_made)
{
	struct quire_mm_params p = {.owner = NULL};
	struct quire_mm *mm;
	unsigned failed = 0;
	uint64_t before;

	space_up();
	quire_mm_put(quire_mm_create(&p));
	before = free_pages_now();
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned n = 1; n < 4; n++) {
			quire_inject_set(kind, n);
			mm = quire_mm_create(&p);
			quire_inject_set(kind, 0);
			failed += !mm;
			if (mm)
				quire_mm_put(mm);
			cr_assert_eq(free_pages_now(), before);
		}
	cr_expect_geq(failed, 2);
	quire_sysctl_set("overcommit_memory", 2);
	quire_sysctl_set("overcommit_kbytes", 20 * PS / 1024);
	quire_sysctl_set("user_reserve_kbytes", 0);
	quire_sysctl_set("admin_reserve_kbytes", 10 * PS / 1024);
	cr_expect_eq(mmap_at(AT(0), 12, RW, PRIV | FIX), (long)AT(0), "what is kept back is for him");
	munmap_at(AT(0), 12);
	no_caps = true;
	cr_expect_eq(mmap_at(AT(0), 12, RW, PRIV | FIX), -ENOMEM);
	cr_expect_eq(mmap_at(AT(0), 9, RW, PRIV | FIX), (long)AT(0));
	no_caps = false;
	space_down();
}

/* A stack that promised nothing promises nothing as it grows; memory that nobody may touch needs no
 * distance from it. */
Test(mm_rare, stacks_of_other_kinds)
{
	long committed;

	space_up();
	mmap_at(AT(990), 1, PROT_NONE, PRIV | FIX);
	mmap_at(AT(1000), 1, RW, PRIV | FIX | MAP_GROWSDOWN | MAP_NORESERVE);
	committed = vm_memory_committed();
	cr_expect_eq(store_at(AT(991), 1), 0, "up to its very border");
	cr_expect_eq(vm_memory_committed(), committed);
	cr_expect_eq(store_at(AT(990), 1), ACCERR);
	EXPECT_LAYOUT("990-991:---p 991-1001:rw-p");
	space_down();
}

Test(mm_rare, populating)
{
	struct quire_file *f;
	uint64_t minor, major;

	space_up();
	f = file_new(4, FRW);
	quire_drop_caches();
	mmap_file(AT(0), 2, PROT_READ, MAP_PRIVATE | FIX | MAP_POPULATE, f, 0);
	quire_mm_faults(cur, &minor, &major);
	cr_expect_eq(major, 0, "the second try of each finds it, and knows of no first one, as in 5.10");
	cr_expect(present_at(AT(0)) && present_at(AT(1)));
	mmap_at(AT(8), 4, RW, PRIV | FIX);
	dies_in = 1;
	cr_expect_eq(CALL(quire_mlock(cur, AT(8), 4 * PS, 0)), -EINTR, "nothing was done yet");
	dies_in = 0;
	/* Only locked when it comes: what may not be written is not marked as wanted. */
	mmap_at(AT(16), 2, PROT_READ, PRIV | FIX);
	cr_expect_eq(CALL(quire_mlock(cur, AT(16), 2 * PS, 1)), 0);
	cr_expect_not(present_at(AT(16)));
	cr_expect_eq(CALL(quire_munlock(cur, AT(16), -8 * PS)), -EINVAL, "wraps");
	quire_file_put(f);
	space_down();
}

/* ---- files whose pages are not all to be had ----------------------------------------------------- */

static int failing_readpage(struct quire_inode *inode, uint64_t index, void *dst)
{
	if (index == 2)
		return -EIO;
	memset(dst, index + 1, PS);
	return 0;
}

static const struct quire_inode_ops failing_ops = {.readpage = failing_readpage};

Test(mm_rare, pages_that_cannot_be_read)
{
	struct quire_inode *inode;
	struct quire_file *f;
	struct page *page;

	space_up();
	inode = quire_inode_create(&failing_ops, NULL, 9, 1, 0);
	quire_inode_truncate(inode, 8 * PS);
	f = quire_file_open(inode, FRW, "/f");
	mmap_file(AT(0), 8, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(20), 8, RW, MAP_PRIVATE | FIX, f, 0);
	cr_expect_eq(touch_at(AT(2)), ADRERR);
	cr_expect_eq(store_at(AT(2), 1), ADRERR);
	cr_expect_eq(store_at(AT(22), 1), ADRERR);
	cr_expect_eq(load_at(AT(3)) & 0xff, 4);
	/* Cached, but not valid; cached, but behind the end: the window leaves them out. */
	page = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	cr_assert(trylock_page(page));
	cr_assert_eq(add_to_page_cache(page, &inode->i_mapping, 1, GFP_KERNEL), 0);
	unlock_page(page);
	put_page(page);
	cr_assert_eq(filemap_get_page(&inode->i_mapping, 0, &page, NULL), 0);
	unlock_page(page);
	put_page(page);
	quire_inode_truncate(inode, 3 * PS);
	cr_assert_eq(filemap_get_page(&inode->i_mapping, 3, &page, NULL), 0);
	unlock_page(page);
	put_page(page);
	madvise_at(AT(0), 8, 4);
	cr_expect_eq(load_at(AT(0)) & 0xff, 1);
	cr_expect_not(present_at(AT(1)) || present_at(AT(3)));
	cr_expect_eq(touch_at(AT(3)), ADRERR);
	/* Pages still mapped as their file loses them: whoever mapped them last minute loses them too. */
	truncate_inode_pages(&inode->i_mapping, 0, 1);
	check_now();
	cr_expect_not(present_at(AT(0)));
	cr_expect_eq(quire_inode_read(inode, 0, AT(100), 8, true), -EFAULT);
	quire_file_put(f);
	quire_inode_put(inode);
	space_down();
}

/* A hole is read by a user as zeros, without a page; soft-dirty pages of an object that wants to
 * know of writes get their right back only if they are known to be dirty in either sense. */
Test(mm_rare, holes_and_notices)
{
	struct quire_inode *inode;
	struct quire_file *f;

	space_up();
	inode = quire_inode_create(NULL, NULL, 9, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, 8 * PS);
	mmap_at(AT(100), 1, RW, PRIV | FIX);
	store_at(AT(100), 7);
	cr_expect_eq(quire_inode_read(inode, PS, AT(100), 8, true), 8);
	cr_expect_eq(load_at(AT(100)), 0);
	cr_expect_eq(quire_inode_cached_pages(inode), 0);
	quire_inode_put(inode);

	vm_ops = (struct vm_operations_struct){.fault = filemap_fault, .page_mkwrite = own_mkwrite};
	f = mapped_object(MAP_SHARED);
	for (int i = 0; i < 3; i++)
		store_at(AT(i), i);
	quire_clear_refs(cur, 4);
	calls = 0;
	store_at(AT(1), 1);
	cr_expect_eq(calls, 1);
	mprotect_at(AT(0), 8, PROT_READ);
	mprotect_at(AT(0), 8, RW);
	cr_expect_eq(FAULTS(store_at(AT(1), 2)), 0, "written since");
	cr_expect_eq(FAULTS(store_at(AT(0), 2)), 0, "nobody asks which since the last time");
	/* The area becomes soft-dirty as a whole: single pages are noticed again. */
	vma_at(AT(0))->vm_flags |= VM_SOFTDIRTY;
	mprotect_at(AT(0), 8, PROT_READ);
	mprotect_at(AT(0), 8, RW);
	cr_expect_eq(FAULTS(store_at(AT(2), 2)), 1);
	quire_file_put(f);
	space_down();
}

/* ---- notes in place of pages ---------------------------------------------------------------------- */

/* Puts a note where a page was, as who moves it does; he keeps the entry's reference. */
static struct page *note(uintptr_t a, enum pte_kind kind, pte_t *was)
{
	pte_t *pte = pt_find(mm_now(), a);
	struct pte_desc d;
	struct page *page;

	ptl_lock(pte_lockptr(pte));
	*was = hal_pte_xchg(pte, 0);
	d = pte_desc(*was);
	page = pfn_to_page(d.pfn);
	d.kind = kind;
	hal_pte_set(pte, pte_make(d));
	hal_tlb_flush(&mm_now()->arch, a, a + PS, 0, false);
	page_remove_rmap(page);
	ptl_unlock(pte_lockptr(pte));
	return page;
}

Test(mm_rare, notes_are_taken_away)
{
	struct quire_inode *z;
	struct quire_file *f, *zero;
	struct vm_area_struct *vma;
	struct page *page;
	pte_t was;

	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 5);
	store_at(AT(1), 6);
	page = note(AT(0), PTE_MIGRATION, &was);
	quire_madvise(cur, AT(0), PS, 4);
	put_page(page);
	check_now();
	cr_expect_eq(load_at(AT(0)), 0, "given back while it moved");
	/* A copy on the move is no page of the file, and stays when the file loses its own. */
	f = file_new(4, FRW);
	mmap_file(AT(8), 4, RW, MAP_PRIVATE | FIX, f, 0);
	store_at(AT(8), 7);
	page = note(AT(8), PTE_MIGRATION, &was);
	unmap_mapping_range(to_file(f)->f_mapping, 0, 4 * PS, false);
	cr_expect_eq(pte_desc(pte_get(pt_find(mm_now(), AT(8)))).kind, PTE_MIGRATION);
	vma = vma_at(AT(8));
	ptl_lock(pte_lockptr(pt_find(mm_now(), AT(8))));
	page_add_anon_rmap(page, vma, AT(8));
	ptl_unlock(pte_lockptr(pt_find(mm_now(), AT(8))));
	hal_pte_set(pt_find(mm_now(), AT(8)), was);
	hal_pt_published(&mm_now()->arch, AT(8));
	check_now();
	cr_expect_eq(load_at(AT(8)), 7);
	quire_file_put(f);
	/* The page of zeros is nobody's. */
	z = quire_inode_create(NULL, NULL, 5, 6, 0);
	zero = quire_file_open(z, FRW | QUIRE_FMODE_ZERO, "/dev/zero");
	mmap_file(AT(16), 2, RW, MAP_PRIVATE | FIX, zero, 0);
	load_at(AT(16));
	store_at(AT(17), 1);
	unmap_mapping_range(to_file(zero)->f_mapping, 0, 2 * PS, false);
	check_now();
	cr_expect_not(present_at(AT(16)));
	cr_expect_eq(load_at(AT(17)), 1);
	quire_file_put(zero);
	quire_inode_put(z);
	space_down();
}
