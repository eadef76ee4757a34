/* SPDX-License-Identifier: MIT */
/*
 * execve: a new space with the program's image, its stack with strings, vectors and auxv as Linux
 * 5.10 builds them, fresh registers. Up to the point where the old space goes, every failure leaves
 * the caller as it was; after it, a failure kills.
 */
#include "kernel.h"

#include <quire/trace.h>

#define ARG_STRING_MAX (32 * PAGE_SIZE) /* of one string, its NUL included */
#define ARG_ROOM_MIN (128ul << 10)
#define ARG_ROOM_MAX (6ul << 20)  /* three quarters of the usual limit of a stack */
#define PER_TABLE    (PAGE_SIZE / sizeof(char *)) /* pages of strings that a page can name */
#define STACK_EXTRA  (128ul << 10) /* Linux: what a new stack is expanded by */
#define MAX_SHEBANG  128

enum { AT_NULL = 0, AT_PHDR = 3, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY,
       AT_UID = 11, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE = 23,
       AT_RANDOM = 25, AT_HWCAP2 = 26, AT_EXECFN = 31 };

/* ---- argument strings ------------------------------------------------------------------------ */

/*
 * Strings lie one after the other in single pages, so that a machine with little memory, and that in
 * pieces, has them too. Room is what 5.10 gives: a quarter of the stack's limit, at
 * least 128 KiB and at most 6 MiB, of which the vectors' pointers take their part first; and no more than
 * the stack itself may have.
 */
static int args_set_room(struct exec_args *a, size_t strings, size_t path)
{
	uint64_t stack = rlimit_cur(current->proc, RLIMIT_STACK);
	size_t room = max(min((uint64_t)ARG_ROOM_MAX, stack / 4), (uint64_t)ARG_ROOM_MIN);
	size_t pointers = strings * sizeof(long);

	if (room <= pointers)
		return -E2BIG;
	room -= pointers;
	stack = max(stack & PAGE_MASK, (uint64_t)PAGE_SIZE);
	a->room = min((uint64_t)room, stack - sizeof(long));
	if (path > a->room)
		return -E2BIG;
	a->room -= path;
	return 0;
}

/* The page that the next byte goes to; NULL: there is none. */
static char *args_page(struct exec_args *a)
{
	size_t i = a->bytes / PAGE_SIZE;
	char ***t = &a->table[i / PER_TABLE], **page;

	if (!*t)
		*t = quire_kmalloc(PAGE_SIZE, QUIRE_GFP_ZERO);
	if (!*t)
		return NULL;
	page = &(*t)[i % PER_TABLE];
	if (!*page)
		*page = quire_kmalloc(PAGE_SIZE, 0);
	return *page;
}

static int args_append(struct exec_args *a, const char *s, size_t n)
{
	size_t part;

	if (a->room && n > a->room - min(a->room, a->bytes))
		return -E2BIG;
	if (a->bytes + n > ARRAY_SIZE(a->table) * PER_TABLE * PAGE_SIZE)
		return -E2BIG;
	for (; n; n -= part, s += part, a->bytes += part) {
		char *page = args_page(a);

		if (!page)
			return -ENOMEM;
		part = min(n, PAGE_SIZE - a->bytes % PAGE_SIZE);
		memcpy(page + a->bytes % PAGE_SIZE, s, part);
	}
	return 0;
}

int exec_args_add(struct exec_args *a, const char *s, bool env)
{
	int err = args_append(a, s, strlen(s) + 1);

	if (err)
		return err;
	if (env)
		a->envc++;
	else
		a->argc++;
	return 0;
}

void exec_args_free(struct exec_args *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(a->table); i++) {
		for (size_t k = 0; a->table[i] && k < PER_TABLE; k++)
			quire_kfree(a->table[i][k]);
		quire_kfree(a->table[i]);
	}
	*a = (struct exec_args){0};
}

/* What lies from `at` on in one piece. */
static const char *args_piece(const struct exec_args *a, size_t at, size_t *n)
{
	size_t page = at / PAGE_SIZE;

	*n = min(a->bytes - at, PAGE_SIZE - at % PAGE_SIZE);
	return a->table[page / PER_TABLE][page % PER_TABLE] + at % PAGE_SIZE;
}

/* Where the string after the one at `at` begins. */
static size_t next_string(const struct exec_args *a, size_t at)
{
	while (at < a->bytes) {
		size_t n;
		const char *s = args_piece(a, at, &n), *nul = memchr(s, 0, n);

		if (nul)
			return at + (size_t)(nul - s) + 1;
		at += n;
	}
	return at;
}

/* Pointers before the NULL that ends a user's vector; -EFAULT. */
static long count_strings(uintptr_t vec)
{
	unsigned long p;
	long n = 0;

	for (; vec; vec += sizeof(p), n++) {
		if (COPY_IN(p, vec))
			return -EFAULT;
		if (!p)
			break;
	}
	return n;
}

/* One string of a user's, a page at a time. */
static int arg_from_user(struct exec_args *a, char *page, uintptr_t src)
{
	for (size_t n = 0; n < ARG_STRING_MAX; n += PAGE_SIZE) {
		long len = copy_string(page, src + n, PAGE_SIZE);
		int err;

		if (len < 0 && len != -ENAMETOOLONG)
			return (int)len;
		err = args_append(a, page, len < 0 ? PAGE_SIZE : (size_t)len + 1);
		if (err || len >= 0)
			return err;
	}
	return -E2BIG;
}

/* Strings of a user's vector. */
static int args_from_user(struct exec_args *a, uintptr_t vec, long count, bool env)
{
	char *page = quire_kmalloc(PAGE_SIZE, 0);
	unsigned long p;
	int err = page ? 0 : -ENOMEM;

	for (; !err && count--; vec += sizeof(p)) {
		err = COPY_IN(p, vec) ? -EFAULT : arg_from_user(a, page, p);
		if (!err)
			*(env ? &a->envc : &a->argc) += 1;
	}
	quire_kfree(page);
	return err;
}

/* ---- the new stack --------------------------------------------------------------------------- */

struct new_stack {
	uintptr_t sp;	    /* grows down from the top */
	uintptr_t execfn;
	uintptr_t strings;  /* the first of the argument strings, in ascending order from here */
	struct quire_mm_random random;
	bool randomised;
};

/*
 * Makes the stack's VMA and puts the strings on it: a word of zeros at the top, the program's
 * name, then, below, the environment and the arguments, ascending in memory in vector order.
 */
static int put_strings(struct quire_mm *mm, const char *path, const struct exec_args *a,
		       bool exec, struct new_stack *st)
{
	uintptr_t top = hal_stack_top() - st->random.stack;
	size_t name = strlen(path) + 1, used = sizeof(long) + name + a->bytes, size, n;
	int err;

	size = ALIGN_UP(used, PAGE_SIZE) + STACK_EXTRA;
	size = min(size, (size_t)(rlimit_cur(current->proc, RLIMIT_STACK) & PAGE_MASK));
	if (size < ALIGN_UP(used, PAGE_SIZE))
		return -E2BIG;
	err = quire_mm_setup_stack(mm, top, size, exec);
	if (err)
		return err;
	st->execfn = top - sizeof(long) - name;
	st->strings = st->execfn - a->bytes;
	st->sp = st->strings;
	if (quire_mm_write(mm, st->execfn, path, name) != name)
		return -ENOMEM;
	for (size_t at = 0; at < a->bytes; at += n) {
		const char *s = args_piece(a, at, &n);

		if (quire_mm_write(mm, st->strings + at, s, n) != n)
			return -ENOMEM;
	}
	return 0;
}

/* Words on their way to the stack, in ascending order. */
struct table {
	uintptr_t at;
	unsigned n;
	bool failed;
	unsigned long w[64];
};

static void flush_words(struct table *t)
{
	t->failed |= hal_copy_to_user(t->at, t->w, t->n * sizeof(t->w[0])) != 0;
	t->at += t->n * sizeof(t->w[0]);
	t->n = 0;
}

static void put_word(struct table *t, unsigned long w)
{
	t->w[t->n++] = w;
	if (t->n == ARRAY_SIZE(t->w))
		flush_words(t);
}

static void put_aux(struct table *t, unsigned long key, unsigned long value)
{
	put_word(t, key);
	put_word(t, value);
}

/* count pointers to strings from *s of a on, which lie behind `there` on the stack. */
static void put_vector(struct table *t, const struct exec_args *a, size_t *s, uintptr_t there, int count)
{
	while (count-- > 0) {
		put_word(t, there + *s);
		*s = next_string(a, *s);
	}
	put_word(t, 0);
}

#define AUX_PAIRS 18 /* without AT_PLATFORM */

/* The order of 5.10. No AT_SYSINFO_EHDR: there is no vdso to find. */
static void put_auxv(struct table *t, const struct elf_image *img, uintptr_t execfn,
		     uintptr_t random, uintptr_t platform)
{
	put_aux(t, AT_HWCAP, hal_elf_hwcap());
	put_aux(t, AT_PAGESZ, PAGE_SIZE);
	put_aux(t, AT_CLKTCK, 100);
	put_aux(t, AT_PHDR, img->phdr_addr);
	put_aux(t, AT_PHENT, sizeof(struct elf_phdr));
	put_aux(t, AT_PHNUM, img->nr_ph);
	put_aux(t, AT_BASE, img->interp_base);
	put_aux(t, AT_FLAGS, 0);
	put_aux(t, AT_ENTRY, img->entry);
	put_aux(t, AT_UID, 0);
	put_aux(t, AT_EUID, 0);
	put_aux(t, AT_GID, 0);
	put_aux(t, AT_EGID, 0);
	put_aux(t, AT_SECURE, 0);
	put_aux(t, AT_RANDOM, random);
	put_aux(t, AT_HWCAP2, 0);
	put_aux(t, AT_EXECFN, execfn);
	if (platform)
		put_aux(t, AT_PLATFORM, platform);
	put_aux(t, AT_NULL, 0);
}

/* argc, argv, envp and auxv, below the strings. */
static int put_tables(const struct exec_args *a, const struct elf_image *img, struct new_stack *st)
{
	const char *platform = hal_elf_platform();
	uint64_t random[2] = {hal_entropy(), hal_entropy()};
	uintptr_t p = (st->sp - st->random.sp) & ~15ul, u_platform = 0, u_random;
	size_t words = (size_t)a->argc + (size_t)a->envc + 3 + 2 * (AUX_PAIRS + (platform != NULL)), s = 0;
	struct table t = {.n = 0};

	if (platform) {
		p -= strlen(platform) + 1;
		u_platform = p;
		if (hal_copy_to_user(p, platform, strlen(platform) + 1))
			return -EFAULT;
	}
	p -= sizeof(random);
	u_random = p;
	if (hal_copy_to_user(p, random, sizeof(random)))
		return -EFAULT;
	st->sp = (p - words * sizeof(long)) & ~15ul;
	t.at = st->sp;
	put_word(&t, (unsigned long)a->argc);
	put_vector(&t, a, &s, st->strings, a->argc);
	put_vector(&t, a, &s, st->strings, a->envc);
	put_auxv(&t, img, st->execfn, u_random, u_platform);
	flush_words(&t);
	ASSERT(t.at == st->sp + words * sizeof(long));
	return t.failed ? -EFAULT : 0;
}

/* ---- exec itself ----------------------------------------------------------------------------- */

/* Ends every other thread of the process. */
static int kill_other_threads(struct process *p)
{
	struct hal_siginfo si = {.signo = SIGKILL, .code = SI_KERNEL};
	irqflags_t flags;
	struct task *t;

	spin_lock_irqsave(&tasks_lock, flags);
	/* Another thread was first with an exec, or the process ends: let it. */
	if (current->leave || p->group_exit) {
		spin_unlock_irqrestore(&tasks_lock, flags);
		return -EINTR;
	}
	list_for_each_entry(t, &p->threads, thread)
		if (t != current) {
			WRITE_ONCE(t->leave, true); /* it looks on its way to user mode */
			post_signal_task(t, &si);
		}
	spin_unlock_irqrestore(&tasks_lock, flags);
	/* No others come: who is to leave makes no threads. */
	wait_event(&p->thread_ended, READ_ONCE(p->nr_threads) == 1 || READ_ONCE(p->group_exit),
		   false, 0);
	return READ_ONCE(p->group_exit) ? -EINTR : 0;
}

/* Whichever thread it was, it is the only one now. */
static void become_leader(struct process *p)
{
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	current->tid = p->pid;
	spin_unlock_irqrestore(&tasks_lock, flags);
}

/* comm is the last component, cut to 15 bytes; exe is the whole path. */
static void set_names(struct process *p, const char *path)
{
	const char *base = strrchr(path, '/');
	char text[48] = {0};
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	task_set_name(current, base ? base + 1 : path);
	strscpy(p->exe, path, sizeof(p->exe));
	spin_unlock_irqrestore(&tasks_lock, flags);
	strscpy(text, path, sizeof(text));
	quire_trace_words(QUIRE_TR_EXEC, (const uint64_t *)(const void *)text, 6);
}

/* The old program goes, mm takes its place. */
static void take_space(struct process *p, struct quire_mm *mm)
{
	struct quire_mm *old = set_task_mm(p, mm);

	use_mm(mm);
	if (old)
		quire_mm_put(old);
	process_exec_done(p);
}

/* Behind the image; if places are random, some way behind it, and the heap of a PIE, which lies
 * among the maps, goes where 5.10 would have put a PIE with an interpreter. */
static uintptr_t start_of_heap(const struct elf_image *img, const struct new_stack *st)
{
	if (!st->randomised)
		return img->brk;
	return ALIGN_UP(img->bias && !img->interp_base ? hal_stack_top() / 3 * 2 : img->brk, PAGE_SIZE) + st->random.brk;
}

static void set_layout(struct quire_mm *mm, const struct elf_image *img,
		       const struct exec_args *a, const struct new_stack *st)
{
	uintptr_t heap = start_of_heap(img, st);
	struct quire_mm_layout l = {
		.start_code = img->start_code, .end_code = img->end_code,
		.start_data = img->start_data, .end_data = img->end_data,
		.start_brk = heap, .brk = heap,
		.start_stack = st->sp, .arg_start = st->strings,
	};
	size_t s = 0;

	for (int i = 0; i < a->argc; i++)
		s = next_string(a, s);
	l.arg_end = l.env_start = st->strings + s;
	l.env_end = st->strings + a->bytes;
	quire_mm_set_layout(mm, &l);
}

/* Registers, FP state and thread pointer of a program at its first instruction. */
static void fresh_task(struct task *t, uintptr_t entry, uintptr_t sp)
{
	irqflags_t flags = hal_irq_save();

	hal_fpu_init(&t->fpu);
	hal_fpu_restore(&t->fpu);
	hal_irq_restore(flags);
	tf_init_user(t->utf, entry, sp);
	hal_tls_set(t->utf, 0);
	t->altstack[0] = t->altstack[2] = 0;
	t->altstack[1] = 2; /* SS_DISABLE */
	t->clear_child_tid = 0;
	t->restart = false;
	rseq_forget(t);
	t->personality &= ~READ_IMPLIES_EXEC;
}

/* Everything that needs the new space to be the running one. */
static int build(struct quire_mm *mm, struct open_file *f, const char *path, struct exec_args *a,
		 struct elf_image *img)
{
	struct new_stack st;
	int err;

	st.random = (struct quire_mm_random){0};
	st.randomised = !(current->personality & ADDR_NO_RANDOMIZE) && quire_mm_random(&st.random);
	err = put_strings(mm, path, a, img->exec_stack, &st);
	if (!err && f)
		err = elf_map_image(mm, f, img);
	if (err)
		return err;
	if (current->personality & MMAP_PAGE_ZERO) /* for programs that read there; it may fail */
		(void)quire_mmap(mm, 0, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
	set_layout(mm, img, a, &st);
	current->proc->vdso = abi_map_sigreturn(mm);
	err = put_tables(a, img, &st);
	if (err)
		return err;
	set_layout(mm, img, a, &st);
	fresh_task(current, img->interp_entry ? img->interp_entry : img->entry, st.sp);
	return 0;
}

/* The point of no return is take_space(): before it errors go back to the caller. */
static int exec_image(struct open_file *f, const char *path, struct exec_args *a,
		      struct elf_image *img)
{
	struct process *p = current->proc;
	struct quire_mm_params params = {.owner = process_owner(p->pid), .stack_top = hal_stack_top(),
					 .not_random = current->personality & ADDR_NO_RANDOMIZE,
					 .bottom_up = current->personality & ADDR_COMPAT_LAYOUT};
	struct quire_mm *mm = quire_mm_create(&params);
	int err;

	if (!mm)
		return -ENOMEM;
	err = kill_other_threads(p);
	if (!err)
		err = signals_exec(p);
	if (err) {
		quire_mm_put(mm);
		return err;
	}
	exit_robust_list(current);
	futex_pi_leave(current, false);
	posix_timers_end(p);
	become_leader(p);
	set_names(p, f ? f->path : path);
	take_space(p, mm);
	files_close_on_exec(p->fds);
	err = build(mm, f, path, a, img);
	if (err) { /* too late to go back: the callers clean up, then the signal takes effect */
		klog("%s: cannot be loaded: error %d", path, -err);
		force_signal(&(struct hal_siginfo){.signo = SIGSEGV, .code = SI_KERNEL});
	}
	return err;
}

/* "#! interpreter [one argument]": puts both and the script's name before the arguments. */
static int script_args(const char *line, const char *path, struct exec_args *a, char *interp)
{
	struct exec_args n = {.room = a->room};
	const char *s = line + 2, *e, *piece;
	size_t at, len;
	char word[MAX_SHEBANG];
	int err = 0;

	for (int i = 0; i < 2 && !err; i++) {
		while (*s == ' ' || *s == '\t')
			s++;
		for (e = s; *e && *e != '\n' && (i || (*e != ' ' && *e != '\t'));)
			e++;
		if (e == s)
			break;
		strscpy(word, s, (size_t)(e - s) + 1);
		if (i == 0)
			strscpy(interp, word, MAX_SHEBANG);
		err = exec_args_add(&n, word, false);
		s = e;
	}
	if (!err && !n.argc)
		err = -ENOEXEC;
	if (!err)
		err = exec_args_add(&n, path, false);
	for (at = next_string(a, 0); !err && at < a->bytes; at += len) { /* argv[0] is replaced */
		piece = args_piece(a, at, &len);
		err = args_append(&n, piece, len);
	}
	n.argc += a->argc - 1;
	n.envc = a->envc;
	if (err) {
		exec_args_free(&n);
		return err;
	}
	exec_args_free(a);
	*a = n;
	return 0;
}

static int exec_file(const char *path, struct exec_args *a, int depth);

static int exec_opened(struct open_file *f, const char *path, struct exec_args *a, int depth)
{
	char line[MAX_SHEBANG + 1] = {0}, interp[MAX_SHEBANG];
	struct elf_image img;
	int err;

	quire_inode_read(f->v->contents, 0, (uintptr_t)line, MAX_SHEBANG, false);
	if (line[0] == '#' && line[1] == '!') {
		err = depth > 3 ? -ELOOP : script_args(line, path, a, interp);
		return err ? err : exec_file(interp, a, depth + 1);
	}
	err = elf_read(f, path, &img);
	if (!err) {
		err = exec_image(f, path, a, &img);
		elf_free(&img);
	}
	return err;
}

/* depth: how many interpreters of scripts brought us here. */
static int exec_file(const char *path, struct exec_args *a, int depth)
{
	struct open_file *f;
	struct path p;
	int err = path_lookup(NULL, NULL, path, 0, &p);

	if (err)
		return err;
	if (vnode_type(p.v) != S_IFREG || !(p.v->mode & 0111) || !p.v->contents) {
		path_put(&p);
		return -EACCES;
	}
	f = file_alloc(p.v, p.full, 0);
	path_put(&p);
	if (!f)
		return -ENOMEM;
	/* Who has it open for writing must not change it under the loader; its mappings see to the rest. */
	err = quire_inode_deny_write(f->v->contents);
	if (!err) {
		err = exec_opened(f, path, a, depth);
		quire_inode_allow_write(f->v->contents);
	}
	file_put(f);
	return err;
}

int do_exec(const char *path, struct exec_args *a)
{
	struct elf_image none = {0};

	/* A machine without ELF brings its program along: a space, a stack, entry 0. */
	if (!hal_elf_machine())
		return exec_image(NULL, path, a, &none);
	return exec_file(path, a, 0);
}

/* A program without any argument gets an empty one, as since CVE-2021-4034. */
static int args_of_call(struct exec_args *a, uintptr_t argv, uintptr_t envp, size_t path)
{
	long argc = count_strings(argv), envc = argc < 0 ? argc : count_strings(envp);
	int err;

	if (envc < 0)
		return (int)envc;
	err = args_set_room(a, (size_t)max(argc, 1l) + (size_t)envc, path);
	if (!err)
		err = argc ? args_from_user(a, argv, argc, false) : exec_args_add(a, "", false);
	return err ? err : args_from_user(a, envp, envc, true);
}

SYSCALL3(execve, uintptr_t, path_src, uintptr_t, argv, uintptr_t, envp)
{
	struct exec_args args = {0};
	char path[PATH_LEN];
	long n = copy_string(path, path_src, sizeof(path));
	int err = n < 0 ? (int)n : args_of_call(&args, argv, envp, (size_t)n + 1);

	if (!err)
		err = do_exec(path, &args);
	exec_args_free(&args);
	return err;
}

/* Relative to a folder, or the descriptor's own file. */
SYSCALL5(execveat, int, dirfd, uintptr_t, path_src, uintptr_t, argv, uintptr_t, envp, unsigned, flags)
{
	struct exec_args args = {0};
	struct path p;
	char first;
	int err;

	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	if (flags & AT_EMPTY_PATH && !COPY_IN(first, path_src) && !first && dirfd != AT_FDCWD) {
		struct fd f = fdget(dirfd);

		err = f.file ? args_of_call(&args, argv, envp, strlen(f.file->path) + 1) : -EBADF;
		if (!err)
			err = do_exec(f.file->path, &args);
		fdput(f);
		exec_args_free(&args);
		return err;
	}
	err = user_path(dirfd, path_src, flags & AT_SYMLINK_NOFOLLOW ? LOOKUP_NOFOLLOW : 0, &p);
	if (err)
		return err;
	if (vnode_type(p.v) == S_IFLNK)
		err = -ELOOP;
	if (!err)
		err = args_of_call(&args, argv, envp, strlen(p.full) + 1);
	if (!err)
		err = do_exec(p.full, &args);
	path_put(&p);
	exec_args_free(&args);
	return err;
}
