/* SPDX-License-Identifier: MIT */
/*
 * Random calls and accesses against a simple model: an array of pages with their rights and what
 * was stored in them. After every step the invariants hold and the machine finds no stale
 * translation; every so often all rights and contents are compared. Forks go on in the child, and
 * the parent is found unchanged afterwards. Then the same with allocations failing.
 */
#include <stdlib.h>

#include "space.h"

#define N 40 /* pages of the arena */

struct mpage {
	bool mapped, shared;
	int prot;
	uint64_t value; /* of private memory; shared memory is looked up in its object */
	uint64_t *obj;	/* shared: where the value lives */
};

struct model {
	struct mpage p[N];
};

static struct model m;
static uint64_t objects[100000];
static unsigned nobjects;
static bool failing; /* allocations fail: then only the invariants are asked for */
static uint64_t did; /* steps so far */

static uint64_t *value_of(struct mpage *p)
{
	return p->shared ? p->obj : &p->value;
}

static unsigned pick(unsigned n)
{
	return rnd() % n;
}

static int pick_prot(void)
{
	static const int prots[] = {PROT_NONE, PROT_READ, RW, RW, RW, PROT_READ | PROT_EXEC,
				    RW | PROT_EXEC};

	return prots[pick(7)];
}

/* What the call said, against what the model says. */
static bool agreed(long got, bool ok, const char *what, int a, int n, int b)
{
	if (failing)
		return false;
	if (ok != !IS_ERR_VALUE(got))
		cr_assert_fail("%s(%d, %d, %d) = %ld, model says %s; layout %s", what, a, n, b, got,
			       ok ? "yes" : "no", layout());
	return ok;
}

static bool all_mapped(int a, int n)
{
	for (int i = a; i < a + n; i++)
		if (!m.p[i].mapped)
			return false;
	return true;
}

static void step_mmap(int a, int n)
{
	bool shared = !pick(4);
	int prot = pick_prot();

	if (!agreed(mmap_at(AT(a), n, prot, (shared ? SHAR : PRIV) | FIX), true, "mmap", a, n, prot))
		return;
	for (int i = a; i < a + n; i++)
		m.p[i] = (struct mpage){true, shared, prot, 0,
					shared ? &objects[nobjects++ % 100000] : NULL};
	for (int i = a; shared && i < a + n; i++)
		*m.p[i].obj = 0;
}

static void step_munmap(int a, int n)
{
	if (agreed(munmap_at(AT(a), n), true, "munmap", a, n, 0))
		memset(&m.p[a], 0, n * sizeof(m.p[0]));
}

static void step_mprotect(int a, int n)
{
	int prot = pick_prot();
	bool ok = all_mapped(a, n);

	agreed(mprotect_at(AT(a), n, prot), ok, "mprotect", a, n, prot);
	/* What lies before a hole has changed all the same. */
	for (int i = a; i < a + n && m.p[i].mapped; i++)
		m.p[i].prot = prot;
}

static bool count_locked(int a, int n)
{
	for (struct vm_area_struct *v = vma_at(AT(a)); v && v->vm_start < AT(a + n);
	     v = v->vm_next)
		if (v->vm_flags & VM_LOCKED)
			return true;
	return false;
}

static void step_dontneed(int a, int n)
{
	bool ok = all_mapped(a, n);

	if (count_locked(a, n))
		return;
	agreed(madvise_at(AT(a), n, 4), ok, "madvise", a, n, 4);
	for (int i = a; i < a + n; i++)
		if (m.p[i].mapped && !m.p[i].shared)
			m.p[i].value = 0;
}

/* Is [a, a + n) inside one VMA? Then mremap may move it. */
static bool one_vma(int a, int n)
{
	struct vm_area_struct *v = vma_at(AT(a));

	return v && v->vm_start <= AT(a) && v->vm_end >= AT(a + n);
}

static void step_mremap(int a, int n)
{
	int to = pick(N - n + 1);
	struct mpage moved[N];
	bool apart = to >= a + n || to + n <= a, ok = apart && one_vma(a, n);
	long r;

	r = CALL(quire_mremap(cur, AT(a), n * PS, n * PS, 3, AT(to)));
	if (agreed(r, ok, "mremap", a, n, to)) {
		memcpy(moved, &m.p[a], n * sizeof(moved[0]));
		memset(&m.p[a], 0, n * sizeof(m.p[0]));
		memcpy(&m.p[to], moved, n * sizeof(moved[0]));
	} else if (apart) {
		/* The destination was cleared before the source was looked at. */
		memset(&m.p[to], 0, n * sizeof(m.p[0]));
	}
}

static void step_access(int a)
{
	struct mpage *p = &m.p[a];
	uint64_t v = rnd();
	int r;

	if (failing) {
		if (pick(2))
			store_at(AT(a), v);
		else
			touch_at(AT(a));
	} else if (pick(2)) {
		r = store_at(AT(a), v);
		cr_assert_eq(r, !p->mapped ? MAPERR : p->prot & PROT_WRITE ? 0 : ACCERR,
			     "store %d: %d; %s", a, r, layout());
		if (!r)
			*value_of(p) = v;
	} else {
		r = touch_at(AT(a));
		cr_assert_eq(r, !p->mapped ? MAPERR : p->prot ? 0 : ACCERR, "load %d: %d; %s", a, r,
			     layout());
		if (!r)
			cr_assert_eq(load_at(AT(a)), *value_of(p), "page %d; %s", a, layout());
	}
}

static void step_lock(int a, int n)
{
	if (pick(2))
		CALL(quire_mlock(cur, AT(a), n * PS, pick(2)));
	else
		CALL(quire_munlock(cur, AT(a), n * PS));
}

static void compare_all(void)
{
	if (failing)
		return;
	for (int i = 0; i < N; i++) {
		struct vm_area_struct *v = vma_at(AT(i));
		struct mpage *p = &m.p[i];
		bool mapped = v && v->vm_start <= AT(i);

		cr_assert_eq(mapped, p->mapped, "page %d; %s", i, layout());
		if (!mapped)
			continue;
		cr_assert_eq(v->vm_flags & 7, (unsigned)p->prot, "page %d; %s", i, layout());
		if (p->prot)
			cr_assert_eq(load_at(AT(i)), *value_of(p), "page %d; %s", i, layout());
	}
}

static void steps(unsigned n, unsigned depth);

/* A child goes its own way for a while; then the parent must be what it was. */
static void step_fork(unsigned depth)
{
	struct quire_mm *parent = cur, *child;
	struct model before = m;
	int r;

	r = quire_mm_fork(cur, NULL, &child);
	check_now();
	if (r) {
		cr_assert(failing && r == -ENOMEM);
		return;
	}
	run_space(child);
	check_now();
	steps(20, depth + 1);
	if (pick(2)) { /* the parent goes on for a while beside it */
		struct model childs = m;

		run_space(parent);
		m = before;
		steps(5, depth + 1);
		before = m;
		m = childs;
		run_space(child);
		compare_all();
	}
	run_space(parent);
	space_put(child);
	m = before;
	check_now();
	compare_all();
}

static void steps(unsigned n, unsigned depth)
{
	while (n--) {
		int a = pick(N), len = 1 + pick(pick(3) ? 4 : N);

		did++;
		len = a + len > N ? N - a : len;
		if (failing && !pick(3))
			quire_inject_set(pick(2) ? QUIRE_INJECT_PAGE : QUIRE_INJECT_SLAB, 1 + pick(6));
		switch (pick(16)) {
		case 0:
		case 1:
			step_mmap(a, len);
			break;
		case 2:
			step_munmap(a, len);
			break;
		case 3:
		case 4:
			step_mprotect(a, len);
			break;
		case 5:
			step_dontneed(a, len);
			break;
		case 6:
			step_mremap(a, len);
			break;
		case 7:
			step_lock(a, len);
			break;
		case 8:
			if (depth < 3)
				step_fork(depth);
			break;
		default:
			step_access(a);
			check_now();
		}
		quire_inject_set(QUIRE_INJECT_PAGE, 0);
		quire_inject_set(QUIRE_INJECT_SLAB, 0);
	}
}

Test(mm_model, random_calls, .timeout = 600)
{
	for (int round = 0; round < 12; round++) {
		space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .software_ad = round % 3 == 1,
						   .caches_invalid = round % 3 == 2});
		memset(&m, 0, sizeof(m));
		for (int i = 0; i < 8; i++) {
			steps(40, 0);
			compare_all();
		}
		space_down();
	}
}

Test(mm_model, random_calls_with_allocations_failing, .timeout = 600)
{
	failing = true;
	for (int round = 0; round < 6; round++) {
		space_up();
		for (int i = 0; i < 8; i++)
			steps(60, 0);
		space_down();
	}
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

/* As many steps as asked for (QUIRE_STEPS, QUIRE_SEED), in lives of a few hundred: every kind of
 * machine, memory plenty or failing. Small machines, for every check looks at every frame. */
#ifndef CAMPAIGN_SECONDS
#define CAMPAIGN_SECONDS 600
#endif

Test(mm_model, campaign, .timeout = CAMPAIGN_SECONDS)
{
	uint64_t want = number_of("QUIRE_STEPS", 500), told = 0;

	rnd_state += number_of("QUIRE_SEED", 1) << 20;
	for (unsigned life = 0; did < want; life++) {
		failing = life % 4 == 3;
		space_up_cfg(&(struct fake_config){.ram = 8 * MIB, .software_ad = life % 3 == 1,
						   .caches_invalid = life % 3 == 2});
		memset(&m, 0, sizeof(m));
		for (int i = 0; i < 8; i++) {
			steps(40, 0);
			compare_all();
		}
		space_down();
		if (did - told >= 100000) {
			told = did;
			fprintf(stderr, "mm_model: %llu steps\n", (unsigned long long)did);
		}
	}
}
