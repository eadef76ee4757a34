/* SPDX-License-Identifier: MIT */
/*
 * Tables that only a broken machine or a bug of ours can bring about: the core stops, and says what
 * it met and how it got there. What a kernel does next is its own business; here it is a jump.
 */
#include "space.h"

#include <setjmp.h>

static jmp_buf out;
static char why[200], logged[8192];

_Noreturn void os_panic(const char *text)
{
	snprintf(why, sizeof(why), "%s", text);
	longjmp(out, 1);
}

void os_log(const char *line)
{
	size_t n = strlen(logged);

	snprintf(logged + n, sizeof(logged) - n, "%s\n", line);
}

/* Does x end the machine? The text is in why. */
#define PANICS(x)                                   \
	({                                          \
		volatile bool panics_ = true;       \
		why[0] = logged[0] = 0;             \
		if (!setjmp(out)) {                 \
			(void)(x);                  \
			panics_ = false;            \
		}                                   \
		panics_;                            \
	})

static void fault_at(uintptr_t a, enum fault_access access, enum fault_kind kind)
{
	struct fault_info fi = {.addr = a, .access = access, .kind = kind, .user = true};

	quire_page_fault(cur, &fi, &last);
}

static void page_up(void)
{
	space_up();
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
}

/* An entry, and a table's entry above it, with a word that we never write. */
Test(panics, corrupt_entry)
{
	page_up();
	hal_pte_xchg(pt_find(mm_now(), AT(0)), pte_make((struct pte_desc){.kind = PTE_CORRUPT}));
	cr_expect(PANICS(fault_at(AT(0), FAULT_READ, FAULT_TRANSLATION)));
	cr_expect_str_eq(why, "corrupt page-table entry");
	cr_expect(strstr(logged, "walk 0x") && strstr(logged, "corrupt\n"), "%s", logged);
}

Test(panics, corrupt_table)
{
	pteval_t *entry, v;
	unsigned level;

	page_up();
	/* The walk stops at the entry above when there is nothing below it. */
	entry = pt_lookup(mm_now(), AT((uintptr_t)1 << (2 * PT_INDEX_BITS)), &v, &level);
	cr_assert(entry && level && !v);
	hal_pte_xchg(entry, pte_make((struct pte_desc){.kind = PTE_CORRUPT}));
	cr_expect(PANICS(fault_at(AT((uintptr_t)1 << (2 * PT_INDEX_BITS)), FAULT_READ, FAULT_TRANSLATION)));
	cr_expect_str_eq(why, "corrupt page-table entry");
}

/* The CPU complains of reserved bits, whatever we read a moment later. */
Test(panics, corrupt_says_the_cpu)
{
	page_up();
	cr_expect(PANICS(fault_at(AT(0), FAULT_READ, FAULT_CORRUPT)));
	cr_expect_eq(last.error_code, FAULT_CODE_PRESENT | FAULT_CODE_USER | FAULT_CODE_RSVD);
}

Test(panics, an_entry_of_no_known_kind)
{
	struct pte_desc d;

	page_up();
	d = pte_desc(pte_get(pt_find(mm_now(), AT(0))));
	d.kind = PTE_PROTNONE; /* of a VMA that allows access: nobody stores such a one */
	hal_pte_xchg(pt_find(mm_now(), AT(0)), pte_make(d));
	cr_expect(PANICS(fault_at(AT(0), FAULT_READ, FAULT_TRANSLATION)));
	cr_expect_str_eq(why, "entry of no known kind in a live VMA");
}

static int thousand_faults(void)
{
	for (int i = 0; i < 1000; i++)
		fault_at(AT(0), FAULT_WRITE, FAULT_TRANSLATION);
	return 0;
}

/* The tables allow the access, and the CPU faults all the same: a thousand times is no accident. */
Test(panics, the_same_fault_for_ever)
{
	static int round; /* lives through the jump */

	page_up();
	store_at(AT(1), 1);
	for (round = 0; round < 2; round++) {
		cr_assert_not(PANICS(thousand_faults()));
		/* Another page, then one that is really resolved: it starts to count anew. */
		cr_assert_not(PANICS(fault_at(AT(1), FAULT_WRITE, FAULT_TRANSLATION)));
	}
	mmap_at(AT(4), 1, RW, PRIV | FIX);
	cr_assert_not(PANICS(fault_at(AT(4), FAULT_WRITE, FAULT_TRANSLATION)));
	cr_expect_eq(mm_now()->spurious_count, 0);
	cr_assert_not(PANICS(thousand_faults()));
	cr_expect(PANICS(fault_at(AT(0), FAULT_WRITE, FAULT_TRANSLATION)));
	cr_expect_str_eq(why, "an access that the tables allow faults for ever");
}

/* The locks of a page and of a table assert themselves, by name. */
Test(panics, a_page_or_table_that_is_not_locked)
{
	struct page *page;
	pte_t *pte;

	page_up();
	pte = pt_find(mm_now(), AT(0));
	page = pfn_to_page(pte_pfn(pte_get(pte)));
	cr_expect(PANICS(({ assert_page_locked(page); 0; })));
	cr_expect(strstr(why, "test_panics.c:") && strstr(why, ": page lock is not held"), "%s", why);
	cr_expect(PANICS((unlock_page(page), 0)));
	cr_expect(strstr(why, "page lock is not held, and let go"), "%s", why);
	lock_page(page);
	cr_expect(!PANICS(({ assert_page_locked(page); 0; })), "%s", why);
	unlock_page(page);
	cr_expect(PANICS(({ assert_pte_locked(pte); 0; })));
	cr_expect(strstr(why, "test_panics.c:") && strstr(why, ": ptl is not held"), "%s", why);
	ptl_lock(pte_lockptr(pte));
	cr_expect(!PANICS(({ assert_pte_locked(pte); 0; })), "%s", why);
	cr_expect(!PANICS(({ assert_ptl_held(pte_lockptr(pte)); 0; })), "%s", why);
	ptl_unlock(pte_lockptr(pte));
	space_down();
}
