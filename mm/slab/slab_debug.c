/* SPDX-License-Identifier: MIT */
/*
 * Slab debugging: detecting corruption, reporting it, and containing it or ending the machine
 * (slub_debug, slab_bug, init_on_alloc, init_on_free); and the *checked* caches, whose objects have
 * red zones, poison and the names of their users.
 *
 *   slub_debug[=FLAGS][,CACHE...][;...]  F consistency, Z red zones, P poison, U owners, T trace;
 *                        no flags: FZPU; no caches: all; '-': none. CACHE may end in '*'.
 *   slab_nomerge         caches never share slabs
 *   slab_bug=panic|contain  what a corruption does; without it a build with NDEBUG contains
 *   slab_hardened=1      free objects carry a mark in magazines too: a double free and a write
 *                        to a free object's mark are seen; without it a build with NDEBUG has none
 *   slab_freelist_random=1  new slabs hand their objects out in random order
 *   init_on_alloc=1, init_on_free=1
 *
 * Contained means: what is damaged is never handed out again, is counted, and the machine goes on.
 * A checked cache has no magazines: every call works on the slab, under the cache's lock. Its
 * objects are laid out as in Linux (slab_cache.c, calculate_sizes), with the same patterns.
 */
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/param.h"
#include "mm/base/trace.h"
#include "mm/slab/slab_def.h"
#include <quire/abi.h>
#include <quire/os.h>

#define POISON_INUSE	   0x5a /* never yet used; padding */
#define POISON_FREE	   0x6b
#define POISON_END	   0xa5 /* last byte of a free object */
#define SLUB_RED_INACTIVE  0xbb
#define SLUB_RED_ACTIVE	   0xcc
#define DEBUG_DEFAULT_FLAGS                                                                \
	(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

bool slab_nomerge, slab_hardened;
static char debug_text[128]; /* slub_debug= */
static bool debug_wanted, contain;
static uint64_t bugs_seen[NR_SLAB_BUGS];

/* What a check found: nothing if size is 0. */
struct finding {
	enum slab_bug bug;
	const char *what;
	uint8_t *at;
	size_t size;
	uint8_t got, want;
};

/* ---- boot parameters ------------------------------------------------------------------------- */

void slab_debug_init(void)
{
	char word[16];

	debug_wanted = boot_param("slub_debug", debug_text, sizeof(debug_text));
	slab_nomerge = boot_param_bool("slab_nomerge", false) ||
		       boot_param_bool("slub_nomerge", false);
#ifdef NDEBUG
	slab_hardened = boot_param_bool("slab_hardened", false);
#else
	slab_hardened = boot_param_bool("slab_hardened", true);
#endif
	slab_shuffle = boot_param_bool("slab_freelist_random", false);
#ifdef NDEBUG
	contain = true;
#else
	contain = false;
#endif
	if (boot_param("slab_bug", word, sizeof(word)))
		contain = !strcmp(word, "contain");
	memset(bugs_seen, 0, sizeof(bugs_seen));
	kmem_hook_set(KMEM_HOOK_INIT_ALLOC, boot_param_bool("init_on_alloc", false));
	kmem_hook_set(KMEM_HOOK_INIT_FREE, boot_param_bool("init_on_free", false));
}

/* The letters up to a comma, a semicolon or the end. */
static const char *parse_letters(const char *s, unsigned *flags)
{
	if (!*s || *s == ',') { /* no letters: all of the usual ones */
		*flags = DEBUG_DEFAULT_FLAGS;
		return s;
	}
	*flags = 0;
	for (; *s && *s != ',' && *s != ';'; s++) {
		switch (*s | 0x20) {
		case 'f': *flags |= SLAB_CONSISTENCY_CHECKS; break;
		case 'z': *flags |= SLAB_RED_ZONE; break;
		case 'p': *flags |= SLAB_POISON; break;
		case 'u': *flags |= SLAB_STORE_USER; break;
		case 't': *flags |= SLAB_TRACE; break;
		case '-': *flags = 0; break;
		default: break; /* Linux: unknown letters are said and skipped */
		}
	}
	return s;
}

/* Whether name is in a list "a,b*,c" that ends at a semicolon or the end. */
static bool in_list(const char *s, const char *name)
{
	while (*s && *s != ';') {
		size_t n = 0;
		bool star;

		while (s[n] && s[n] != ',' && s[n] != ';')
			n++;
		star = n && s[n - 1] == '*';
		if (star ? !strncmp(s, name, n - 1) : strlen(name) == n && !strncmp(s, name, n))
			return true;
		s += n;
		if (*s == ',')
			s++;
	}
	return false;
}

/* As in 5.10: a block that names the cache wins over one that names none. */
unsigned slab_debug_flags(const char *name, unsigned flags)
{
	const char *s = debug_text;
	unsigned block, all = 0;

	if (!debug_wanted || flags & SLAB_NO_MAGAZINE)
		return 0;
	for (;;) {
		s = parse_letters(s, &block);
		if (*s == ',') {
			if (in_list(s + 1, name))
				return block;
			while (*s && *s != ';')
				s++;
		} else {
			all = block;
		}
		if (!*s++)
			return all;
	}
}

/* ---- saying it ------------------------------------------------------------------------------- */

static const char *const bug_names[NR_SLAB_BUGS] = {
	[SLAB_BUG_DOUBLE_FREE] = "Object already free",
	[SLAB_BUG_FOREIGN] = "Attempt to free object outside of slab",
	[SLAB_BUG_MIDDLE] = "Invalid object pointer",
	[SLAB_BUG_WRONG_CACHE] = "Wrong slab cache",
	[SLAB_BUG_WRITTEN] = "Freepointer corrupt",
	[SLAB_BUG_FREELIST] = "Freechain corrupt",
	[SLAB_BUG_REDZONE] = "Redzone overwritten",
	[SLAB_BUG_POISON] = "Poison overwritten",
	[SLAB_BUG_PADDING] = "Object padding overwritten",
	[SLAB_BUG_LEAK] = "Object remaining in cache on destruction",
};

static struct slab_track *track_of(const struct kmem_cache *c, const void *obj, bool freed)
{
	return (struct slab_track *)((char *)obj + c->offset + sizeof(void *)) + freed;
}

NO_ASAN static void set_track(const struct kmem_cache *c, void *obj, bool freed, uintptr_t ip)
{
	struct slab_track *t = track_of(c, obj, freed);

	ASSERT_DEBUG(slab_checked(c));
	if (!(c->flags & SLAB_STORE_USER))
		return;
	t->addr = ip;
	t->when = os_clock_ns();
	t->cpu = hal_cpu_id();
	t->pid = os_current_pid();
}

void slab_owner(const struct kmem_cache *c, const void *obj, char *buf, size_t n)
{
	const struct slab_track *a, *f;
	size_t used;

	ASSERT(n);
	buf[0] = 0;
	if (!(c->flags & SLAB_STORE_USER))
		return;
	a = track_of(c, obj, false);
	f = track_of(c, obj, true);
	used = scnprintf(buf, n, "Allocated in 0x%lx cpu=%u pid=%u", (unsigned long)a->addr, a->cpu,
			 a->pid);
	if (f->addr)
		scnprintf(buf + used, n - used, ", Freed in 0x%lx cpu=%u pid=%u",
			  (unsigned long)f->addr, f->cpu, f->pid);
}

/* Counts and tells; the last line ends the machine unless it is contained. A leak is no damage. */
static void report(const struct kmem_cache *c, const void *obj, enum slab_bug bug, const char *what,
		   const char *owner, uintptr_t ip)
{
	char line[256];

	ASSERT(bug < NR_SLAB_BUGS);
	__atomic_fetch_add(&bugs_seen[bug], 1, __ATOMIC_RELAXED);
	scnprintf(line, sizeof(line), "BUG %s: %s%s%s: object 0x%lx, called from 0x%lx%s%s",
		  c ? c->name : "kmalloc", what ? what : "", what ? " " : "", bug_names[bug],
		  (unsigned long)obj, (unsigned long)ip, *owner ? "; " : "", owner);
	if (!contain && bug != SLAB_BUG_LEAK)
		os_panic(line);
	os_log(line);
}

void slab_report(struct kmem_cache *c, const void *obj, enum slab_bug bug, uintptr_t ip)
{
	bool known = c && bug != SLAB_BUG_FOREIGN && bug != SLAB_BUG_MIDDLE &&
		     bug != SLAB_BUG_WRONG_CACHE && bug != SLAB_BUG_FREELIST;
	char owner[160] = "";

	if (known)
		slab_owner(c, obj, owner, sizeof(owner));
	report(c, obj, bug, NULL, owner, ip);
}

uint64_t slab_bugs_seen(enum slab_bug bug)
{
	ASSERT(bug < NR_SLAB_BUGS);
	return __atomic_load_n(&bugs_seen[bug], __ATOMIC_RELAXED);
}

bool slab_good_pointer(struct kmem_cache *c, const void *obj, uintptr_t ip)
{
	struct page *page = slab_frame(obj);

	page = page ? compound_head(page) : NULL;
	if (!page || !page_test(page, PG_slab))
		slab_report(c, obj, SLAB_BUG_FOREIGN, ip);
	else if (page->mapping != c)
		slab_report(c, obj, SLAB_BUG_WRONG_CACHE, ip);
	else if (!slab_is_object(c, page, obj))
		slab_report(c, obj, SLAB_BUG_MIDDLE, ip);
	else
		return true;
	return false;
}

/* ---- patterns -------------------------------------------------------------------------------- */

static bool poisoned(const struct kmem_cache *c)
{
	return c->flags & SLAB_POISON && !c->ctor;
}

/* Zones and contents of an object that changes hands. */
static void init_object(struct kmem_cache *c, uint8_t *obj, bool active)
{
	uint8_t red = active ? SLUB_RED_ACTIVE : SLUB_RED_INACTIVE;

	ASSERT_DEBUG(slab_checked(c));
	if (c->flags & SLAB_RED_ZONE) {
		memset(obj - c->red_left_pad, red, c->red_left_pad);
		memset(obj + c->object_size, red, c->inuse - c->object_size);
	}
	if (poisoned(c) && !active) {
		memset(obj, POISON_FREE, c->object_size - 1);
		obj[c->object_size - 1] = POISON_END;
	}
}

void slab_debug_setup(struct kmem_cache *c, struct page *page)
{
	uint8_t *base = page_address(page);

	ASSERT_DEBUG(slab_checked(c));
	memset(base, c->flags & SLAB_POISON ? POISON_INUSE : 0, slab_bytes(page));
	for (unsigned i = 0; i < slab_total(page); i++) {
		uint8_t *obj = base + c->red_left_pad + (size_t)i * c->size;

		init_object(c, obj, false);
		if (c->flags & SLAB_STORE_USER)
			memset(track_of(c, obj, false), 0, 2 * sizeof(struct slab_track));
	}
}

/* False, and *f filled, if a byte of [p, p + n) is not want. */
static bool check_bytes(struct finding *f, enum slab_bug bug, const char *what, uint8_t *p, size_t n,
			uint8_t want)
{
	size_t first = 0, last = n;

	while (first < n && p[first] == want)
		first++;
	if (first == n)
		return true;
	while (p[last - 1] == want)
		last--;
	*f = (struct finding){bug, what, p + first, last - first, p[first], want};
	return false;
}

/* Where padding begins behind an object, and where the next slot does. */
static size_t pad_start(const struct kmem_cache *c)
{
	return c->offset + sizeof(void *) +
	       (c->flags & SLAB_STORE_USER ? 2 * sizeof(struct slab_track) : 0);
}

static bool check_object(struct kmem_cache *c, uint8_t *obj, bool active, struct finding *f)
{
	uint8_t red = active ? SLUB_RED_ACTIVE : SLUB_RED_INACTIVE;

	ASSERT_DEBUG(slab_checked(c));
	if (c->flags & SLAB_RED_ZONE &&
	    !(check_bytes(f, SLAB_BUG_REDZONE, "Left", obj - c->red_left_pad, c->red_left_pad, red) &&
	      check_bytes(f, SLAB_BUG_REDZONE, "Right", obj + c->object_size,
			  c->inuse - c->object_size, red)))
		return false;
	if (poisoned(c) && !active &&
	    !(check_bytes(f, SLAB_BUG_POISON, NULL, obj, c->object_size - 1, POISON_FREE) &&
	      check_bytes(f, SLAB_BUG_POISON, NULL, obj + c->object_size - 1, 1, POISON_END)))
		return false;
	return !(c->flags & SLAB_POISON) ||
	       check_bytes(f, SLAB_BUG_PADDING, NULL, obj + pad_start(c),
			   c->size - c->red_left_pad - pad_start(c), POISON_INUSE);
}

/* What is left behind the last object of a slab, before its bits if they lie there. */
static bool check_slab_pad(struct kmem_cache *c, struct page *page, struct finding *f)
{
	size_t used = (size_t)slab_total(page) * c->size;
	size_t end = c->bits_at ? c->bits_at : slab_bytes(page);

	ASSERT(used <= end);
	return !(c->flags & SLAB_POISON) ||
	       check_bytes(f, SLAB_BUG_PADDING, "Slab", (uint8_t *)page_address(page) + used,
			   end - used, POISON_INUSE);
}

/* Says what was found and puts the pattern back, so that it is found once. */
static void report_finding(struct kmem_cache *c, const void *obj, const struct finding *f,
			   uintptr_t ip)
{
	char line[160], owner[160];

	ASSERT(f->size);
	ASSERT_DEBUG_I("I12", !lockdep_holds(&c->lock));
	slab_owner(c, obj, owner, sizeof(owner));
	scnprintf(line, sizeof(line), "INFO: 0x%lx-0x%lx. First byte 0x%x instead of 0x%x",
		  (unsigned long)f->at, (unsigned long)(f->at + f->size - 1), f->got, f->want);
	os_log(line);
	report(c, obj, f->bug, f->what, owner, ip);
	memset(f->at, f->want, f->size);
	scnprintf(line, sizeof(line), "FIX %s: Restoring 0x%lx-0x%lx=0x%x", c->name,
		  (unsigned long)f->at, (unsigned long)(f->at + f->size - 1), f->want);
	os_log(line);
}

/* ---- checked caches -------------------------------------------------------------------------- */

static void trace_object(const struct kmem_cache *c, const void *obj, bool alloc, unsigned inuse)
{
	char line[96];

	ASSERT_DEBUG(slab_checked(c));
	if (!(c->flags & SLAB_TRACE))
		return;
	scnprintf(line, sizeof(line), "TRACE %s %s 0x%lx inuse=%u", c->name, alloc ? "alloc" : "free",
		  (unsigned long)obj, inuse);
	os_log(line);
}

/* cache->lock held: an object of a slab that has one, or what is wrong with it; then the slab is
 * given up. */
static void *take_checked(struct kmem_cache *c, struct page *page, uintptr_t ip, struct finding *f)
{
	bool broken = false;
	void *obj;

	assert_held(&c->lock);
	if (!slab_pop(c, page, &obj, 1, &broken)) {
		*f = (struct finding){.bug = SLAB_BUG_FREELIST};
		return page_address(page);
	}
	if (!marked_free(c, obj))
		*f = (struct finding){.bug = SLAB_BUG_WRITTEN};
	else if (check_slab_pad(c, page, f) && check_object(c, obj, false, f)) {
		clear_mark(c, obj);
		set_track(c, obj, false, ip);
		init_object(c, obj, true);
		return obj;
	}
	count_lost(c, 1);
	if (slab_has_free(page))
		slab_give_up(c, page);
	return obj;
}

void *slab_debug_alloc(struct kmem_cache *c, gfp_t gfp, uintptr_t ip)
{
	ASSERT_DEBUG(slab_checked(c));
	for (;;) {
		struct finding f = {.bug = NR_SLAB_BUGS};
		struct page *page;
		irqflags_t flags;
		void *obj = NULL;

		spin_lock_irqsave(&c->lock, flags);
		page = list_first_entry_or_null(&c->partial, struct page, lru);
		if (page)
			obj = take_checked(c, page, ip, &f);
		spin_unlock_irqrestore(&c->lock, flags);
		if (obj && f.bug == NR_SLAB_BUGS) {
			trace_object(c, obj, true, slab_inuse(page));
			return obj;
		}
		if (obj) {
			if (f.size)
				report_finding(c, obj, &f, ip);
			else
				slab_report(c, obj, f.bug, ip);
			continue;
		}
		page = new_slab(c, gfp);
		if (!page)
			return NULL;
		spin_lock_irqsave(&c->lock, flags);
		add_slab(c, page);
		spin_unlock_irqrestore(&c->lock, flags);
	}
}

void slab_debug_free(struct kmem_cache *c, void *obj, uintptr_t ip)
{
	struct page *page = compound_head(virt_to_page(obj));
	struct finding f = {.bug = NR_SLAB_BUGS};
	irqflags_t flags;
	SLAB_DEFERRED(d);

	ASSERT_DEBUG(slab_checked(c));
	spin_lock_irqsave(&c->lock, flags);
	if (slab_object_is_free(c, page, obj)) {
		f.bug = SLAB_BUG_DOUBLE_FREE;
	} else if (!check_slab_pad(c, page, &f) || !check_object(c, obj, true, &f)) {
		count_lost(c, 1); /* not freed: what overran it may write here again */
	} else {
		set_track(c, obj, true, ip);
		init_object(c, obj, false);
		set_mark(c, obj);
		slab_push(c, &obj, 1, &d);
	}
	spin_unlock_irqrestore(&c->lock, flags);
	if (f.bug == SLAB_BUG_DOUBLE_FREE)
		slab_report(c, obj, f.bug, ip);
	else if (f.size)
		report_finding(c, obj, &f, ip);
	else
		trace_object(c, obj, false, slab_inuse(page));
	slab_run_deferred(c, &d, ip);
}

long slab_debug_check(struct kmem_cache *c, struct page *page)
{
	uint8_t *obj = (uint8_t *)page_address(page) + c->red_left_pad;
	struct finding f;
	long bad = !check_slab_pad(c, page, &f);

	assert_held(&c->lock);
	for (unsigned i = 0; i < slab_total(page); i++, obj += c->size)
		bad += !check_object(c, obj, !slab_object_is_free(c, page, obj), &f);
	return bad;
}

/* ---- what the fast path leaves to others ----------------------------------------------------- */

bool slab_pre_alloc(struct kmem_cache *c, gfp_t gfp)
{
	size_t size = c ? c->object_size : KMALLOC_MAX;

	if (gfp & __GFP_NOFAIL)
		return true;
	return !fault_attr_fails(&inject_attr[QUIRE_INJECT_SLAB], size) &&
	       !(c && fault_attr_fails(&c->fail, size));
}

/* init_on_alloc and init_on_free leave alone what has contents of its own while it is free. */
static bool want_init(const struct kmem_cache *c, uint32_t hook)
{
	return kmem_hooks & hook && !c->ctor && !(c->flags & SLAB_POISON);
}

void slab_post_alloc(struct kmem_cache *c, void *obj, size_t n, gfp_t gfp, unsigned event,
		     uintptr_t ip)
{
	if (obj && !(gfp & __GFP_ZERO) && want_init(c, KMEM_HOOK_INIT_ALLOC)) {
		hal_unpoison(obj, c->object_size);
		memset(obj, 0, c->object_size);
		if (!slab_checked(c))
			hal_poison(obj, c->object_size);
	}
	trace_kmem_alloc(event, ip, obj, n, c->size, gfp);
}

/* c NULL: too large for any cache. */
void slab_pre_free(struct kmem_cache *c, void *obj, unsigned event, uintptr_t ip)
{
	trace_kmem_free(event, ip, obj);
	if (!c || !want_init(c, KMEM_HOOK_INIT_FREE) || (c->hardened && marked_free(c, obj)))
		return;
	hal_unpoison(obj, c->object_size);
	memset(obj, 0, c->object_size);
}

int kmem_cache_fail(const char *name, const struct quire_fault_attr *a)
{
	static const struct quire_fault_attr off;
	struct kmem_cache *c;
	bool any = false;
	int err = -ENOENT;

	ASSERT(name);
	if (a && (a->probability > 100 || a->times < -1))
		return -EINVAL;
	mutex_lock(&slab_mutex);
	c = slab_find(name);
	if (c) {
		fault_attr_set(&c->fail, a ? a : &off);
		err = 0;
	}
	list_for_each_entry(c, cache_list(), list)
		any = any || c->fail.armed;
	kmem_hook_set(KMEM_HOOK_CACHE_FAIL, any);
	mutex_unlock(&slab_mutex);
	return err;
}
