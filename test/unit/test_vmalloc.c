/* SPDX-License-Identifier: MIT */
/* Kernel ranges: stacks with guards, areas that never overlap. */
#include "mm_test.h"

#include <setjmp.h>
#include <signal.h>

#include "mm/kmap.h"

#define MIB (1ull << 20)

static sigjmp_buf jump;

static void on_segv(int sig)
{
	siglongjmp(jump, 1);
}

/* True if the byte can be written. The machine's windows are host mappings, so the host tells. */
static bool writable(volatile char *p)
{
	struct sigaction sa = {.sa_handler = on_segv, .sa_flags = SA_NODEFER}, segv, bus;
	bool ok = false;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	if (!sigsetjmp(jump, 1)) {
		*p = 1;
		ok = true;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return ok;
}

Test(vmalloc, guard_pages)
{
	char *s[8];

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 8; i++) {
		s[i] = quire_stack_alloc(4);
		cr_assert(s[i]);
		memset(s[i], i, 4 * PAGE_SIZE);
	}
	for (unsigned i = 0; i < 8; i++) {
		cr_expect_not(writable(s[i] - 1), "the page below is not mapped");
		cr_expect_not(writable(s[i] + 4 * PAGE_SIZE), "nor is the one above");
		cr_expect_eq(s[i][100], i);
	}
	for (unsigned i = 0; i < 8; i++)
		quire_stack_free(s[i]);
	machine_down();
}

Test(vmalloc, freed_areas_are_unmapped)
{
	uint64_t before;
	char *p;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	p = vmalloc(100000);
	memset(p, 1, 100000);
	cr_expect(is_vmalloc_addr(p));
	vfree(p);
	cr_expect_not(writable(p));
	vfree(NULL);
	cr_expect_null(vmalloc(0));
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(vmalloc, stacks_are_kept_for_the_next)
{
	void *a;

	machine_up(64 * MIB, 1);
	a = quire_stack_alloc(4);
	quire_stack_free(a);
	cr_expect_eq(quire_stack_alloc(4), a);
	quire_stack_free(a);
	quire_drain();
	cr_expect_eq(vmalloc_nr_pages(), 0);
	machine_down();
}

Test(vmalloc, random_life)
{
	enum { N = 60 };
	static struct {
		unsigned char *p;
		unsigned pages;
	} a[N];
	uint64_t before;

	machine_up(64 * MIB, 2);
	before = free_pages_now();
	for (unsigned i = 0; i < 3000; i++) {
		unsigned k = rnd() % N;

		if (a[k].p) {
			cr_assert_eq(a[k].p[0], k);
			cr_assert_eq(a[k].p[a[k].pages * PAGE_SIZE - 1], k);
			if (k & 1)
				quire_stack_free(a[k].p);
			else
				vfree(a[k].p);
			a[k].p = NULL;
		} else {
			a[k].pages = 1 + rnd() % 9;
			a[k].p = k & 1 ? quire_stack_alloc(a[k].pages) :
					 vmalloc(a[k].pages * PAGE_SIZE);
			cr_assert(a[k].p);
			memset(a[k].p, k, a[k].pages * PAGE_SIZE);
		}
	}
	for (unsigned k = 0; k < N; k++)
		if (k & 1)
			quire_stack_free(a[k].p);
		else
			vfree(a[k].p);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(vmalloc, out_of_memory_leaves_nothing)
{
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	for (unsigned n = 1; n < 12; n++) {
		void *p;

		quire_inject_set(QUIRE_INJECT_PAGE, n);
		p = vmalloc(8 * PAGE_SIZE);
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		vfree(p);
		cr_assert_eq(free_pages_now(), before);
	}
	machine_down();
}

Test(vmalloc, foreign_pointer_is_caught, .exit_code = 1)
{
	machine_up(64 * MIB, 1);
	vfree((char *)vmalloc(2 * PAGE_SIZE) + PAGE_SIZE);
	exit(0);
}
