/* SPDX-License-Identifier: MIT */
/* userfaultfd's core: who waits, who is woken, what is filled, and marks on their way through swap, fork and moves. */
#include "space.h"

#include "mm/base/vmstat.h"
#include "mm/migrate/migrate.h"
#include "device_wait.h"
#include "swapdev.h"

static struct swapdev dev;
static struct quire_uffd *u;
static unsigned told, gone;
static bool signals; /* one waits */
static void (*meanwhile)(void); /* what the program that fills does while somebody waits */

static void tell(void *priv)
{
	cr_expect(!rwsem_is_locked(&mm_now()->mmap_lock), "the space is locked while somebody waits");
	told++;
}

static void is_gone(void *priv)
{
	gone++;
}

static const struct quire_uffd_ops ops = {.tell = tell, .gone = is_gone};

bool os_signal_pending(void)
{
	return signals;
}

void os_wait_killable(const void *key, const uint32_t *word, uint32_t seen, bool any)
{
	cr_assert(meanwhile, "nobody could wake us");
	meanwhile();
}

static void up(void)
{
	space_up();
	told = gone = 0;
	signals = false;
	meanwhile = NULL;
	u = quire_uffd_create(cur, &ops, NULL);
	cr_assert(u);
}

static void down(void)
{
	quire_uffd_release(u);
	cr_expect_eq(gone, 1);
	space_down();
}

/* A page to copy from: of the running space. */
#define SRC AT(900)

static void source(uint64_t v)
{
	cr_assert_eq(store_at(SRC, v), 0);
}

static struct quire_uffd_fault seen;

static void fills(void)
{
	cr_assert(quire_uffd_read(u, &seen));
	source(0x77);
	cr_expect_eq(quire_uffd_copy(u, seen.addr, SRC, PS, false, true), (long)PS);
}

static void area(unsigned pages, unsigned long flags, unsigned mode)
{
	mmap_at(SRC, 1, RW, PRIV | FIX);
	source(0); /* no fault of its own while another one is under way: `last` is its answer */
	mmap_at(AT(0), pages, RW, flags | FIX);
	cr_assert_eq(CALL(quire_uffd_register(u, AT(0), pages * PS, mode)), 0);
}

static void missing_of(unsigned long flags)
{
	struct mm_struct *mm;
	uint64_t maj;

	up();
	mm = mm_now();
	area(4, flags, UFFDIO_REGISTER_MODE_MISSING);
	maj = mm->maj_flt;
	meanwhile = fills;
	cr_expect_eq(load_at(AT(1)), 0x77);
	cr_expect_eq(told, 1);
	cr_expect_eq(seen.addr, AT(1));
	cr_expect_eq(seen.flags, 0);
	cr_expect_eq(mm->maj_flt, maj + 1);
	cr_expect_eq(store_at(AT(2), 5), 0);
	cr_expect_eq(seen.flags, UFFD_PAGEFAULT_FLAG_WRITE);
	cr_expect_eq(load_at(AT(2)), 5);
	cr_expect_eq(told, 2);
	check_now();
	munmap_at(AT(0), 4);
	munmap_at(SRC, 1);
	down();
}

Test(userfaultfd, missing)
{
	missing_of(PRIV);
}

Test(userfaultfd, missing_of_shared_memory)
{
	missing_of(SHAR);
}

/* The page comes between the fault's look and its sleep: nobody would wake it. */
static void comes_first(void)
{
	cr_expect(false, "it slept");
}

Test(userfaultfd, filled_before_anybody_waits)
{
	up();
	area(2, PRIV, UFFDIO_REGISTER_MODE_MISSING);
	meanwhile = comes_first;
	source(9);
	cr_expect_eq(CALL(quire_uffd_copy(u, AT(0), SRC, PS, false, true)), (long)PS);
	cr_expect_eq(load_at(AT(0)), 9);
	cr_expect_eq(CALL(quire_uffd_zeropage(u, AT(1), PS, true)), (long)PS);
	cr_expect_eq(load_at(AT(1)), 0);
	cr_expect_eq(told, 0);
	cr_expect_eq(CALL(quire_uffd_copy(u, AT(0), SRC, 2 * PS, false, true)), -EEXIST);
	munmap_at(AT(0), 2);
	munmap_at(SRC, 1);
	down();
}

static void takes_off(void)
{
	cr_assert(quire_uffd_read(u, &seen));
	cr_expect_eq(quire_uffd_unregister(u, AT(0), 4 * PS), 0);
}

static void closes(void)
{
	quire_uffd_release(u);
}

static void comes_a_signal(void)
{
	signals = true;
}

static void dies(void)
{
	is_dying = true;
}

Test(userfaultfd, ends_of_waiting)
{
	uint8_t c;

	up();
	area(4, PRIV, UFFDIO_REGISTER_MODE_MISSING);
	meanwhile = takes_off;
	cr_expect_eq(load_at(AT(0)), 0);
	cr_expect_eq(CALL(quire_uffd_register(u, AT(0), 4 * PS, UFFDIO_REGISTER_MODE_MISSING)), 0);
	/* The access is over, and is made again behind the handler; a call is not. */
	meanwhile = comes_a_signal;
	quire_page_fault(cur, &(struct fault_info){.addr = AT(1), .user = true}, &last);
	cr_expect_eq(last.outcome, QUIRE_FAULT_DONE);
	cr_expect(!last.counted && !present_at(AT(1)));
	cr_expect(!quire_uffd_pending(u), "who does not wait any more is not told of");
	meanwhile = fills;
	quire_page_fault(cur, &(struct fault_info){.addr = AT(1), .fixup = 1}, &last);
	cr_expect_eq(last.outcome, QUIRE_FAULT_DONE);
	cr_expect(present_at(AT(1)), "a signal that is not fatal does not end a call's access");
	signals = false;
	meanwhile = dies;
	quire_page_fault(cur, &(struct fault_info){.addr = AT(2), .fixup = 1}, &last);
	cr_expect_eq(last.outcome, QUIRE_FAULT_FIXUP);
	cr_expect_eq(quire_mm_read(cur, AT(2), &c, 1), 0);
	is_dying = false;
	/* What may not give the space up does not wait. */
	meanwhile = NULL;
	cr_expect_eq(quire_mm_read_forced(cur, AT(2), &c, 1), 0);
	meanwhile = closes;
	cr_expect_eq(load_at(AT(3)), 0);
	cr_expect_eq(gone, 1);
	cr_expect_eq(vma_at(AT(0))->vm_userfaultfd_ctx, NULL);
	munmap_at(AT(0), 4);
	munmap_at(SRC, 1);
	space_down();
}

/* ---- marks --------------------------------------------------------------------------------------- */

static bool marked(uintptr_t a)
{
	pte_t *pte = pt_find(mm_now(), a);

	return pte && pte_uffd_wp(pte_get(pte));
}

static void lets_it(void)
{
	cr_assert(quire_uffd_read(u, &seen));
	cr_expect_eq(seen.flags, UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	cr_expect_eq(quire_uffd_writeprotect(u, seen.addr, PS, false, true), 0);
}

static bool marks_up(unsigned pages)
{
	up();
	if (!quire_uffd_has_wp()) {
		mmap_at(AT(0), pages, RW, PRIV | FIX);
		cr_expect_eq(quire_uffd_register(u, AT(0), PS, UFFDIO_REGISTER_MODE_WP), -EINVAL);
		munmap_at(AT(0), pages);
		down();
		return false;
	}
	area(pages, PRIV, UFFDIO_REGISTER_MODE_WP);
	for (unsigned i = 0; i < pages; i++)
		cr_assert_eq(store_at(AT(i), i + 1), 0);
	cr_expect_eq(CALL(quire_uffd_writeprotect(u, AT(0), pages * PS, true, false)), 0);
	meanwhile = lets_it;
	return true;
}

static void marks_down(unsigned pages)
{
	munmap_at(AT(0), pages);
	munmap_at(SRC, 1);
	down();
}

Test(userfaultfd, a_marked_page_is_asked_for)
{
	if (!marks_up(2))
		return;
	cr_expect(marked(AT(0)));
	cr_expect_eq(load_at(AT(0)), 1);
	cr_expect_eq(told, 0);
	cr_expect_eq(store_at(AT(0), 10), 0);
	cr_expect_eq(told, 1);
	cr_expect_eq(seen.addr, AT(0));
	cr_expect_eq(load_at(AT(0)), 10);
	cr_expect(!marked(AT(0)) && marked(AT(1)));
	cr_expect_eq(store_at(AT(0), 11), 0);
	cr_expect_eq(told, 1);
	/* mprotect keeps what it finds. */
	mprotect_at(AT(0), 2, PROT_READ);
	mprotect_at(AT(0), 2, RW);
	cr_expect(marked(AT(1)));
	cr_expect_eq(store_at(AT(1), 12), 0);
	cr_expect_eq(told, 2);
	marks_down(2);
}

Test(userfaultfd, marks_and_fork)
{
	struct quire_mm *parent, *child;

	if (!marks_up(2))
		return;
	parent = cur;
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	run_space(child);
	cr_expect(!marked(AT(0)) && !(vma_at(AT(0))->vm_flags & VM_UFFD_WP));
	cr_expect_eq(store_at(AT(0), 20), 0);
	cr_expect_eq(told, 0);
	run_space(parent);
	space_put(child);
	cr_expect(marked(AT(0)));
	cr_expect_eq(store_at(AT(0), 21), 0);
	cr_expect_eq(told, 1);
	marks_down(2);
}

Test(userfaultfd, marks_survive_a_move_to_another_frame)
{
	struct page *page;

	if (!marks_up(1))
		return;
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	get_page(page);
	cr_assert(migrate_begin());
	cr_expect_eq(migrate_page(page, alloc_pages(GFP_KERNEL, 0)), 0);
	migrate_end();
	check_now();
	cr_expect_neq(pfn_at(AT(0)), page_to_pfn(page).n);
	cr_expect(marked(AT(0)));
	cr_expect_eq(store_at(AT(0), 30), 0);
	cr_expect_eq(told, 1);
	marks_down(1);
}

/* Marked while it is in swap, too; a write brings it in and asks, a read does not. Swapoff brings it in marked. */
Test(userfaultfd, marks_survive_swap)
{
	if (!marks_up(5))
		return;
	swapdev_init(&dev, 0, 2000);
	cr_assert_eq(quire_swapon(&dev.dev, NULL, 0), 0);
	cr_assert_eq(madvise_at(AT(0), 5, 21 /* MADV_PAGEOUT */), 0);
	swapdev_scan_cached(&dev);
	check_now();
	cr_expect(!present_at(AT(0)) && marked(AT(0)));
	cr_expect_eq(load_at(AT(0)), 1);
	cr_expect(present_at(AT(0)) && marked(AT(0)));
	cr_expect_eq(told, 0);
	cr_expect_eq(store_at(AT(0), 40), 0);
	cr_expect_eq(told, 1);
	cr_expect_eq(store_at(AT(1), 41), 0);
	cr_expect_eq(told, 2);
	cr_expect_eq(load_at(AT(1)), 41);
	/* The mark goes while the page is out. */
	cr_assert_eq(madvise_at(AT(2), 3, 21), 0);
	swapdev_scan_cached(&dev);
	cr_expect(!present_at(AT(2)));
	cr_expect_eq(CALL(quire_uffd_writeprotect(u, AT(2), PS, false, true)), 0);
	cr_expect_eq(store_at(AT(2), 42), 0);
	cr_expect_eq(told, 2);
	cr_expect_eq(quire_swapoff(&dev.dev), 0);
	check_now();
	cr_expect(marked(AT(3)));
	cr_expect_eq(store_at(AT(3), 43), 0);
	cr_expect_eq(told, 3);
	marks_down(5);
	swapdev_free(&dev);
}

/* Whatever cannot be had, nothing is half done. */
Test(userfaultfd, no_memory)
{
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned i = 1; i < 8; i++) {
			long r;

			up();
			mmap_at(SRC, 1, RW, PRIV | FIX);
			mmap_at(AT(0), 6, RW, (i & 1 ? PRIV : SHAR) | FIX);
			source(3);
			quire_inject_set(kind, i);
			r = quire_uffd_register(u, AT(1), 2 * PS, UFFDIO_REGISTER_MODE_MISSING);
			if (!r)
				r = quire_uffd_copy(u, AT(1), SRC, PS, false, true);
			if (r > 0)
				r = quire_uffd_zeropage(u, AT(2), PS, true);
			quire_inject_set(kind, 0);
			cr_expect(r == (long)PS || r == -ENOMEM, "%ld", r);
			check_now();
			munmap_at(AT(0), 6);
			munmap_at(SRC, 1);
			down();
		}
}
