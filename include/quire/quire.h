/* SPDX-License-Identifier: MIT */
/*
 * Quire's public surface: what a kernel that embeds the memory manager calls. Names are quire_*
 * and QUIRE_*, nothing else. The machine stands below (arch/hal.h), the kernel itself above
 * (include/quire/os.h). docs/porting.md walks through a port.
 *
 * Return values: 0 or a negative errno (Linux's numbers), unless stated. "Context" tells from
 * where a function may be called: early (before quire_init), any, nosleep (interrupts off
 * allowed), sleep (a thread that may sleep, no spinlock held).
 */
#ifndef QUIRE_QUIRE_H
#define QUIRE_QUIRE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_info;      /* arch/hal_types.h */
struct quire_mm;        /* one address space */
struct quire_page;      /* a page of a file that is being written to its device */
struct quire_inode;     /* a file's contents: page cache and size */
struct quire_file;      /* an open file: what a mapping holds on to */

/* ---- start and end --------------------------------------------------------------------------- */

struct quire_config {
	void *trace_ring;	/* memory for trace records, or NULL: no trace */
	size_t trace_ring_size; /* bytes, a whole number of pages */
	bool aslr;		/* randomise mmap base, stack and brk of new spaces (aslr_seed=N) */
	/* Boot parameters with Linux's names ("page_owner=on init_on_free=1"), separated by
	 * spaces; NULL: none. Words that the core does not know are left alone. The text must
	 * live as long as the core. */
	const char *params;
	/* For compressed swap (<quire/compress.h>); it must live as long as the core. NULL: there is none. */
	const struct quire_compressor *compressor;
};

/* Starts the core on the memory of hal_memory_ranges(). Context: early. -ENOMEM, -EINVAL, -EBUSY
 * (it runs already), -EUCLEAN (a table of the kernel is corrupt); os_log() says which step
 * failed. */
int quire_init(const struct quire_config *cfg);
/* Starts the core's own threads, once os_thread_start() can make some; until then, and without any,
 * who needs memory does the work himself. -ENOMEM: some may run all the same. Context: sleep. */
int quire_threads_start(void);
/* Ends them; the core works on without. Context: sleep, or see os_thread_stop(). */
void quire_threads_stop(void);
/* Gives everything back to the state before quire_init(), threads first. All spaces and files must be
 * gone.
 * Returns the number of pages still allocated (0: nothing leaked). Context: sleep. */
long quire_exit(void);
/* Boot data (initramfs) is no longer needed: its pages join the free ones. Context: sleep. */
void quire_free_boot_data(const void *start, size_t n);

/* ---- memory for the kernel itself ------------------------------------------------------------ */

#define QUIRE_GFP_KERNEL 0x0u /* may sleep */
#define QUIRE_GFP_ATOMIC 0x1u /* must not */
#define QUIRE_GFP_ZERO	 0x2u /* zeroed */

void *quire_kmalloc(size_t n, unsigned gfp);	/* NULL if there is none */
void quire_kfree(const void *p);		/* NULL allowed */
void *quire_alloc_pages(unsigned order, unsigned gfp); /* direct-map address of 2^order pages */
void quire_free_pages(void *p, unsigned order);
/* A kernel stack of npages with an unmapped guard page below it. Context: sleep. */
void *quire_stack_alloc(unsigned npages);
void quire_stack_free(void *stack);

/* ---- files ----------------------------------------------------------------------------------- */

/* A part of one page of memory, at its kernel address. */
struct quire_piece {
	void *at;
	uint32_t len;
};

struct quire_inode_ops {
	/* Fills page index of the file at dst (a whole page). NULL: such pages read as zeros. */
	int (*readpage)(struct quire_inode *inode, uint64_t index, void *dst);
	/* The last reference is gone. NULL: nothing to do. */
	void (*release)(struct quire_inode *inode, void *priv);
	/*
	 * What a file needs that is written back; all NULL: its dirty pages stay in memory until it is
	 * gone. Context: sleep, unless it says else; a page or i_rwsem may be locked, so none of these
	 * calls quire_inode_* for the same file.
	 *
	 * Writing page index, of which src is the contents, is to begin; *page is handed back with
	 * quire_end_page_writeback(), once, when it is on the device or was given up. Bytes behind the
	 * file's end are zero. Nothing of the file is given away before that.
	 */
	void (*writepage)(struct quire_inode *inode, uint64_t index, const void *src,
			  struct quire_page *page);
	/* Bytes [off, off + len) of one page are going to be written: there must be room for them when
	 * writepage comes. 0, -ENOSPC, -EIO. NULL: there always is. */
	int (*prepare_write)(struct quire_inode *inode, uint64_t off, size_t len);
	/* The size, and what else is kept beside the pages, is to be written to the device. datasync: only
	 * what is needed to find the data again. NULL: nothing. */
	int (*write_inode)(struct quire_inode *inode, bool datasync);
	/* All that was written is to be made durable. NULL: nothing to do. */
	int (*flush)(struct quire_inode *inode);
	/* The file has a new size, and no page behind it any more: what lies behind is given back. */
	int (*truncate)(struct quire_inode *inode, uint64_t size);
	/* The same for whole pages [off, end) inside the file. NULL: holes cannot be made. */
	int (*punch)(struct quire_inode *inode, uint64_t off, uint64_t end);
	uint64_t max_size; /* of a file, 0: INT64_MAX */
	/* Reading n pages, from index on, is to begin: page i's contents come to dst[i], zeros behind the
	 * file's end as it is now, and *page[i] is handed back with quire_end_page_read(), once each, in any
	 * order. One that cannot be begun now is handed back at once with an error: it will be asked for by
	 * readpage, if anybody wants it. The pages are locked. NULL: nothing is read ahead. Context: sleep. */
	void (*readahead)(struct quire_inode *inode, uint64_t index, unsigned n, void *const dst[],
			  struct quire_page *const page[]);
	/* O_DIRECT: bytes from off on, a multiple of 512, straight between the device and n pieces of memory, each of
	 * which lies within a page, aligned and long by 512; waits. What is a hole reads as zeros. A write gets room
	 * behind the file's end, in whole blocks, and none inside. Bytes moved: fewer where a write comes to what it
	 * gets no room for, which is then written by way of the page cache; or -errno, and of what a write got behind
	 * the end nothing is left. i_rwsem is held, no page is locked. NULL: the file cannot be opened so. Context:
	 * sleep. */
	long (*direct_io)(struct quire_inode *inode, bool write, uint64_t off, const struct quire_piece *piece,
			  unsigned n);
};

#define QUIRE_S_SHMEM  0x1u /* memory only: shared memory's rules (holes, no write-back) */
#define QUIRE_S_DEVICE 0x2u /* a device's own cache: its lock comes inside those of other files, and
			     * what is asked for on its account enters no file system */

struct quire_inode *quire_inode_create(const struct quire_inode_ops *ops, void *priv, uint64_t ino,
				       uint32_t dev, unsigned flags); /* NULL: no memory */
void quire_inode_get(struct quire_inode *inode);
void quire_inode_put(struct quire_inode *inode);
void *quire_inode_private(struct quire_inode *inode);
uint64_t quire_inode_size(struct quire_inode *inode);
/* Pages that it has in memory, and of shared memory in swap. */
uint64_t quire_inode_cached_pages(struct quire_inode *inode);
/* Of them those in swap. */
uint64_t quire_inode_swapped_pages(struct quire_inode *inode);
/* Shared memory without a name, of size bytes, 1 .. INT64_MAX, device 00:01. All of it is charged to mm's commitment
 * now, unless noreserve (which strict overcommit overrules). NULL: that, or no memory. Context: sleep. */
struct quire_inode *quire_shmem_create(struct quire_mm *mm, uint64_t size, bool noreserve, uint64_t ino);
/* Pages of this shared memory are never swapped out, or may be again. Context: sleep. */
void quire_inode_set_unevictable(struct quire_inode *inode, bool on);
/* Whoever may write holds this, and whoever runs the file denies it: each excludes the other, several of one
 * kind may be. Open files with QUIRE_FMODE_WRITE hold it by themselves. 0 or -ETXTBSY. Context: any. */
int quire_inode_get_write(struct quire_inode *inode);
void quire_inode_put_write(struct quire_inode *inode);
int quire_inode_deny_write(struct quire_inode *inode);
void quire_inode_allow_write(struct quire_inode *inode);
int quire_inode_truncate(struct quire_inode *inode, uint64_t size);
/* Where from off on the next data are, or the next hole (there is one at the end). -ENXIO: none, or off is not
 * in the file. Context: sleep. */
int64_t quire_inode_seek(struct quire_inode *inode, uint64_t off, bool hole);
/* FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE and plain allocation. */
int quire_inode_fallocate(struct quire_inode *inode, int mode, uint64_t off, uint64_t len);
/* Reads and writes through the page cache. buf is a user address (fix-up on fault, -EFAULT if
 * nothing was copied) or a kernel address. Returns bytes. Context: sleep. */
long quire_inode_read(struct quire_inode *inode, uint64_t off, uintptr_t buf, size_t n, bool user);
long quire_inode_write(struct quire_inode *inode, uint64_t off, uintptr_t buf, size_t n, bool user);
/* Writes at the file's end, wherever that is once no other write is under way. *off: where that
 * was, if any byte was written. */
long quire_inode_append(struct quire_inode *inode, uintptr_t buf, size_t n, bool user,
			uint64_t *off);
/* readahead's end of one page: err 0, or -errno, which nobody is told. Any context. */
void quire_end_page_read(struct quire_page *page, int err);
/* writepage's end: err 0 or -errno, which fsync() and msync() then tell. Any context. */
void quire_end_page_writeback(struct quire_page *page, int err);
/* The file has no name any more: what is dirty need not be written when it goes. */
void quire_inode_discard(struct quire_inode *inode);
/* Something that write_inode writes has changed. Any context. */
void quire_inode_mark_dirty(struct quire_inode *inode);
/* Writes the file's dirty pages and what belongs to it, and waits. 0 or the first error. Does not make
 * durable. Context: sleep. */
int quire_inode_write_out(struct quire_inode *inode);
/* syncfs(): the files of one device, by their i_dev, that are not QUIRE_S_DEVICE. Waits. */
void quire_sync_dev(uint32_t dev);
/* The size that a file has on its device. Nobody else knows the inode yet. */
void quire_inode_set_size(struct quire_inode *inode, uint64_t size);
/* Somebody besides the caller has a reference. */
bool quire_inode_shared(struct quire_inode *inode);
/* sync(): every file that can be written back, those with QUIRE_S_DEVICE last; then makes durable. */
void quire_sync(void);
/* Drops clean pages that nobody uses. How many. Context: sleep. */
unsigned long quire_inode_invalidate(struct quire_inode *inode);
/* Brings the pages of a range into the cache (readahead). */
int quire_inode_populate(struct quire_inode *inode, uint64_t off, uint64_t len);

#define QUIRE_FMODE_READ  0x1u
#define QUIRE_FMODE_WRITE 0x2u
#define QUIRE_FMODE_EXEC  0x4u
#define QUIRE_FMODE_NOMMAP 0x8u /* a directory, a pipe: mmap answers ENODEV */
#define QUIRE_FMODE_PATH  0x10u /* O_PATH: mmap answers EBADF */
#define QUIRE_FMODE_ZERO  0x20u /* /dev/zero: private is anonymous, shared is fresh memory */

/* An open file over inode (takes a reference of its own). path: for maps, copied. NULL: no memory. */
struct quire_file *quire_file_open(struct quire_inode *inode, unsigned fmode, const char *path);

/* Who is told of the areas that map a file, as System V's shared memory counts its attachments: one more (mapped,
 * forked, cut in two, moved by mremap), one fewer, and that the file itself goes. Areas of such a file are never
 * merged, and a fault maps one page. Context: sleep, for the first two with mmap_lock of a space held: they call
 * nothing that works on a space. */
struct quire_area_ops {
	void (*open)(struct quire_file *file);
	void (*close)(struct quire_file *file);
	void (*release)(struct quire_file *file);
};
/* quire_file_open() of shared memory, with all three of these. */
struct quire_file *quire_file_open_counted(struct quire_inode *inode, unsigned fmode, const char *path,
					   const struct quire_area_ops *ops, void *priv);
void *quire_file_private(struct quire_file *file); /* priv */
void quire_file_get(struct quire_file *file);
void quire_file_put(struct quire_file *file);
struct quire_inode *quire_file_inode(struct quire_file *file);
const char *quire_file_path(struct quire_file *file);
/* Whether the file's operations can read ahead: then quire_file_read() does. */
bool quire_inode_reads_ahead(struct quire_inode *inode);
/* Reads as quire_inode_read(), and ahead of that if the inode's operations can. Context: sleep. */
long quire_file_read(struct quire_file *file, uint64_t off, uintptr_t buf, size_t n, bool user);
/* Part of a user's memory. */
struct quire_segment {
	uintptr_t base;
	size_t len;
};
/* Whether the file's operations know direct_io. */
bool quire_inode_is_direct(struct quire_inode *inode);
/* Reads or writes past the page cache, as O_DIRECT of Linux 5.10: straight between the device and mm, which is the
 * running space, whose pages are pinned meanwhile. What is dirty there is written out first; a write takes what is
 * cached out before and after, and goes on by way of the cache (and waits until it is on the device) where it comes to
 * a hole. Bytes; -EINVAL: off, a base or a length is no multiple of 512; -EFAULT, -EIO, -ENOMEM, -ENOSPC, -EFBIG.
 * Context: sleep. */
long quire_file_read_direct(struct quire_file *file, struct quire_mm *mm, uint64_t off,
			    const struct quire_segment *seg, unsigned n);
/* append: at the file's end, which becomes *off. */
long quire_file_write_direct(struct quire_file *file, struct quire_mm *mm, uint64_t *off, bool append,
			     const struct quire_segment *seg, unsigned n);
/* posix_fadvise(): POSIX_FADV_* of abi.h for len bytes from off on, 0: to the end. 0, -EINVAL. Context: sleep. */
int quire_file_advise(struct quire_file *file, uint64_t off, uint64_t len, int advice);
/* fsync() of bytes [start, end) (end UINT64_MAX: all): written, durable, and an error that this file was not
 * told of yet. datasync: fdatasync(). Context: sleep. */
int quire_file_sync(struct quire_file *file, uint64_t start, uint64_t end, bool datasync);
/* sync_file_range(): SYNC_FILE_RANGE_* of abi.h. */
int quire_file_sync_range(struct quire_file *file, uint64_t start, uint64_t end, unsigned flags);
unsigned quire_file_seals(struct quire_file *file);
int quire_file_add_seals(struct quire_file *file, unsigned seals);

/* ---- address spaces -------------------------------------------------------------------------- */

struct quire_mm_params {
	void *owner;		/* handed back in os_rlimit(), os_capable(), os_kill(), as long as the
				 * space lives: maybe longer than the process that it was made for */
	bool supervisor;	/* a kernel-mode space (unikernel): no U bit */
	uintptr_t start, end;	/* its range; 0, 0: the machine's whole user range. What the root's
				 * entries under it lead to is the space's own, partly touched or not */
	uintptr_t stack_top;	/* where the stack ends, for the mmap base; 0: end */
	bool not_random;	/* the mmap base is where it is without randomisation */
	bool bottom_up;		/* areas are placed from low addresses on */
};

/* A fresh space without mappings. Its range is whole pages, at least one, and ends at or below the
 * machine's user_end; a supervisor space may have the whole lower half of the addresses, which
 * reaches a page further where user mode must not have the last one. The upper half is the
 * kernel's. stack_top is page-aligned, above start and not above end. NULL: no memory, or a range
 * that cannot be. */
struct quire_mm *quire_mm_create(const struct quire_mm_params *p);
/* A copy-on-write copy for a new owner; the caller's space is parent. -ENOMEM undoes everything. */
int quire_mm_fork(struct quire_mm *parent, void *owner, struct quire_mm **child);
/* References: the last put tears the space down and returns every page. Context: sleep. */
void quire_mm_get(struct quire_mm *mm);
void quire_mm_put(struct quire_mm *mm);
/* Keeps the structure, not what is mapped: for a name of the space that may outlive it. With such a
 * name quire_mm_tryget() takes a reference as above; false: the space is torn down. The last drop
 * frees the structure. Any context, no lock of the space held. */
void quire_mm_grab(struct quire_mm *mm);
void quire_mm_drop(struct quire_mm *mm);
bool quire_mm_tryget(struct quire_mm *mm);
/* Makes mm the running CPU's space, which runs then; NULL: none. Interrupts off. */
void quire_mm_switch(struct quire_mm *mm);
/* No thread of the space can run from now on: each sleeps until something happens outside of it, and
 * none waits for a page or a lock of the core. And: one can again. Pages of who has slept for long leave
 * first (vm.reclaim_policy 1). A kernel that never tells has spaces that never sleep; telling twice, or
 * too late, does no harm. mm is not torn down. Any context, whatever is held. */
void quire_mm_sleeps(struct quire_mm *mm);
void quire_mm_runs(struct quire_mm *mm);

/* How likely the owner's process is killed when memory is out: 0 .. 1333, as /proc/PID/oom_score has it.
 * Any context. */
unsigned long quire_oom_score(void *owner);

/* Layout facts that an ELF loader sets and /proc shows (all addresses in bytes). */
struct quire_mm_layout {
	uintptr_t start_code, end_code, start_data, end_data;
	uintptr_t start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
};
void quire_mm_set_layout(struct quire_mm *mm, const struct quire_mm_layout *l);
void quire_mm_get_layout(struct quire_mm *mm, struct quire_mm_layout *l);
/* Faults that the space ever took, those of populating and of remote copies included. */
void quire_mm_faults(struct quire_mm *mm, uint64_t *minor, uint64_t *major);
/* How far the places of a new program are from where they would be without randomisation, in
 * bytes; false, and all 0, without it. With the boot parameter aslr_seed=N the n-th program of each
 * start gets the same ones. Context: any. */
struct quire_mm_random {
	uintptr_t stack; /* whole pages, less than 16 GiB: the stack's end is lower */
	uintptr_t sp;	 /* less than 8 KiB, in 16 bytes: the first stack pointer is lower */
	uintptr_t brk;	 /* whole pages, less than 32 MiB: the heap begins higher */
};
bool quire_mm_random(struct quire_mm_random *r);
/* The most pages that the space ever had in memory. Any context. */
uint64_t quire_mm_peak_rss(struct quire_mm *mm);
/* The stack VMA [end - size, end) of a new program, growing down. */
int quire_mm_setup_stack(struct quire_mm *mm, uintptr_t end, size_t size, bool exec);
/* A special mapping of kernel-owned pages (the vdso's kind), named in maps. */
int quire_mm_install_special(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned prot,
			     const void *const *pages, const char *name);

/* ---- the memory system calls; mm is the caller's space, results as Linux's ------------------- */

long quire_mmap(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned long prot,
		unsigned long flags, struct quire_file *file, uint64_t off);
long quire_munmap(struct quire_mm *mm, uintptr_t addr, size_t len);
/* Unmaps what is left of a mapping of a file with these ops whose first byte was at addr: every area that still
 * stands where that put it. -EINVAL: there is none, or addr is no page's. */
long quire_munmap_pieces(struct quire_mm *mm, uintptr_t addr, const struct quire_area_ops *ops);
/* Nothing is mapped in [addr, addr + len), at this moment. Context: sleep. */
bool quire_mm_range_free(struct quire_mm *mm, uintptr_t addr, size_t len);
long quire_mprotect(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned long prot);
long quire_mremap(struct quire_mm *mm, uintptr_t addr, size_t old_len, size_t new_len,
		  unsigned long flags, uintptr_t new_addr);
uintptr_t quire_brk(struct quire_mm *mm, uintptr_t brk); /* the break that holds now */
long quire_madvise(struct quire_mm *mm, uintptr_t addr, size_t len, int advice);
long quire_mlock(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned flags);
long quire_munlock(struct quire_mm *mm, uintptr_t addr, size_t len);
long quire_mlockall(struct quire_mm *mm, unsigned flags);
long quire_munlockall(struct quire_mm *mm);
long quire_msync(struct quire_mm *mm, uintptr_t addr, size_t len, int flags);
long quire_mincore(struct quire_mm *mm, uintptr_t addr, size_t len, uintptr_t vec);
long quire_remap_file_pages(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned long prot,
			    size_t pgoff, unsigned long flags);

/* The policy of an area, a word that is the caller's to choose: areas of different ones are not merged; 0: a
 * new area's. holes: the range may have some. start and len are whole pages, len is not 0. 0, -EFAULT: a hole,
 * or nothing in the range; -ENOMEM. Then the policy of the area at addr; -EFAULT: there is none. */
long quire_mbind(struct quire_mm *mm, uintptr_t start, size_t len, uintptr_t policy, bool holes);
int quire_mm_policy(struct quire_mm *mm, uintptr_t addr, uintptr_t *policy);

/* ---- faults ---------------------------------------------------------------------------------- */

enum quire_fault_outcome {
	QUIRE_FAULT_DONE = 0, /* resume the access */
	QUIRE_FAULT_SIGNAL,   /* user mode: send sig/code/addr */
	QUIRE_FAULT_FIXUP,    /* kernel mode: resume at fi->fixup */
	QUIRE_FAULT_OOPS,     /* kernel mode, no fix-up: a bug of the kernel's */
	QUIRE_FAULT_KILL,     /* out of memory: kill the process */
};

struct quire_fault_result {
	enum quire_fault_outcome outcome;
	int sig, code;	    /* Linux's numbers: SIGSEGV 11, SIGBUS 7; SEGV_MAPERR 1 ... */
	uintptr_t addr;
	uint32_t error_code; /* derived, x86 layout */
	bool counted;	    /* counts as a page fault of the task (getrusage) */
	bool major;
};

/* Resolves one fault in mm (NULL: no space is active). Context: sleep if the fault came with
 * interrupts on; a fault in atomic context gets FIXUP or OOPS. */
void quire_page_fault(struct quire_mm *mm, const struct fault_info *fi,
		      struct quire_fault_result *res);
/*
 * A userfaultfd's context: a program that fills pages of its own space, or decides about writes to them. One space's;
 * keeps it by its structure. docs/userfaultfd.md.
 */
struct quire_uffd;
struct quire_uffd_fault {
	uintptr_t addr; /* of the page */
	uint64_t flags; /* UFFD_PAGEFAULT_FLAG_* */
	uint32_t pid;	/* os_current_pid() of who faults with UFFD_FEATURE_THREAD_ID, else 0 */
};
struct quire_uffd_ops {
	/* Somebody waits whose fault can be read. Context: sleep, nothing held. */
	void (*tell)(void *priv);
	/* Nobody uses the context any more. May be NULL. */
	void (*gone)(void *priv);
};
/* NULL: no memory. Context of all: sleep. */
struct quire_uffd *quire_uffd_create(struct quire_mm *mm, const struct quire_uffd_ops *ops, void *priv);
/* UFFD_FEATURE_SIGBUS, UFFD_FEATURE_THREAD_ID; before anything is registered. */
void quire_uffd_set_features(struct quire_uffd *u, uint32_t features);
/* The end: its areas are registered no more, who waits tries again. */
void quire_uffd_release(struct quire_uffd *u);
/* This machine has room for marks (UFFDIO_REGISTER_MODE_WP). */
bool quire_uffd_has_wp(void);
/* vm.unprivileged_userfaultfd: without CAP_SYS_PTRACE too. */
bool quire_uffd_unprivileged(void);
/* A range that a call may name: 0 or -EINVAL. */
int quire_uffd_check_range(struct quire_uffd *u, uintptr_t start, size_t len);
/* mode: UFFDIO_REGISTER_MODE_*. 0; -EINVAL: the range, or an area that cannot be; -ENOMEM: nothing is mapped there, or no
 * memory; -EPERM: it may never be written; -EBUSY: another context's. */
int quire_uffd_register(struct quire_uffd *u, uintptr_t start, size_t len, unsigned mode);
/* Whoever's they are. 0, -EINVAL, -ENOMEM. */
int quire_uffd_unregister(struct quire_uffd *u, uintptr_t start, size_t len);
/* The oldest fault that was not read yet; false: there is none. */
bool quire_uffd_read(struct quire_uffd *u, struct quire_uffd_fault *fault);
bool quire_uffd_pending(struct quire_uffd *u);
/* Those who wait for pages of the range try again. 0, -EINVAL. */
int quire_uffd_wake(struct quire_uffd *u, uintptr_t start, size_t len);
/*
 * Fills pages that are not there, with what lies at src of the running space, or with zeros; wp: marked; wake: who waits
 * for them tries again. Bytes, fewer if an error came after them. -ENOENT: no area of the context's space that is
 * registered has the whole range; -EEXIST: the page is there; -EFAULT: src, or behind the end of the file; -EINVAL,
 * -ENOMEM, -ESRCH (the space is gone), -EINTR.
 */
long quire_uffd_copy(struct quire_uffd *u, uintptr_t dst, uintptr_t src, size_t len, bool wp, bool wake);
long quire_uffd_zeropage(struct quire_uffd *u, uintptr_t start, size_t len, bool wake);
/* Marks the pages that are there, or takes the marks off. 0, -ENOENT, -EINVAL, -ESRCH. */
int quire_uffd_writeprotect(struct quire_uffd *u, uintptr_t start, size_t len, bool on, bool wake);
/* Faults a user page in for write or read without touching it. 0, -EFAULT, -ENOMEM. */
int quire_fault_in(struct quire_mm *mm, uintptr_t addr, bool write);
/*
 * Where the word at addr lives, the same for every space that maps it: object memory by inode and
 * offset (inode is referenced), private memory by space and address. It stays the same when the
 * page is copied on write, moved or swapped; a futex is known by it. 0, -ENOMEM; -EFAULT: not
 * mapped, or private memory that can never change. Context: sleep.
 */
struct quire_place {
	const void *object;	   /* the inode or the space */
	uint64_t offset;	   /* bytes into the object, or the address */
	struct quire_inode *inode; /* NULL: private memory */
};
int quire_mm_place(struct quire_mm *mm, uintptr_t addr, struct quire_place *place);
/* Drops what the place holds. Context: sleep. */
void quire_place_put(const struct quire_place *place);
/* Stores new in the word at addr, which is aligned, if it holds *old, in one step for everybody who has it
 * mapped. 0; -EAGAIN: it does not, and *old is what it holds; -EFAULT: it cannot be written; -ENOMEM.
 * Context: sleep. */
int quire_mm_cmpxchg(struct quire_mm *mm, uintptr_t addr, uint32_t *old, uint32_t new);
/* Copies to or from a space that is not the running one (loader, debugger). Bytes copied. */
size_t quire_mm_write(struct quire_mm *mm, uintptr_t addr, const void *src, size_t n);
size_t quire_mm_read(struct quire_mm *mm, uintptr_t addr, void *dst, size_t n);
/* The same past the rights of what is mapped, as a debugger needs it: what mprotect could make readable is
 * read, and private memory is written to, in a copy of the page. */
size_t quire_mm_write_forced(struct quire_mm *mm, uintptr_t addr, const void *src, size_t n);
size_t quire_mm_read_forced(struct quire_mm *mm, uintptr_t addr, void *dst, size_t n);

/* ---- looking ---------------------------------------------------------------------------------- */

/* Text sink for everything that is shown to people: called with pieces in order. */
typedef void (*quire_emit_fn)(void *ctx, const char *s, size_t n);

void quire_show_maps(struct quire_mm *mm, quire_emit_fn emit, void *ctx);
void quire_show_smaps(struct quire_mm *mm, quire_emit_fn emit, void *ctx);
/* smaps' sums over all areas, as /proc/PID/smaps_rollup has them. Context: sleep. */
void quire_show_smaps_rollup(struct quire_mm *mm, quire_emit_fn emit, void *ctx);
/* The Vm* and Rss* lines of /proc/PID/status. */
void quire_show_status(struct quire_mm *mm, quire_emit_fn emit, void *ctx);
void quire_show_meminfo(quire_emit_fn emit, void *ctx);
void quire_show_vmstat(quire_emit_fn emit, void *ctx);
void quire_show_buddyinfo(quire_emit_fn emit, void *ctx);
void quire_show_pagetypeinfo(quire_emit_fn emit, void *ctx);
void quire_show_zoneinfo(quire_emit_fn emit, void *ctx);
/* The owner of each page, as Linux's page_owner file; empty without the parameter page_owner=on. */
void quire_show_page_owner(quire_emit_fn emit, void *ctx);
void quire_show_slabinfo(quire_emit_fn emit, void *ctx);
void quire_show_vmallocinfo(quire_emit_fn emit, void *ctx);
/* /proc/PID/statm's seven numbers, in pages. */
void quire_statm(struct quire_mm *mm, unsigned long out[7]);
/* The /proc/PID/pagemap word of addr, in Linux's layout. */
uint64_t quire_pagemap(struct quire_mm *mm, uintptr_t addr);
/* A frame's words of /proc/kpagecount and /proc/kpageflags, in Linux's layout: how many entries map it, and
 * what it is; 0 and NOPAGE where there is no RAM of ours. Moments' truths: nothing is locked, and nothing
 * that a frame holds is told. And one frame number past the last. Context: any. */
uint64_t quire_kpagecount(uint64_t pfn);
uint64_t quire_kpageflags(uint64_t pfn);
uint64_t quire_max_pfn(void);
/* /proc/PID/clear_refs: 1..5 as Linux; 4 clears soft-dirty. */
int quire_clear_refs(struct quire_mm *mm, int what);

/* A tunable of /proc/sys/vm (docs/sysctl.md has them all). */
#define QUIRE_SYSCTL_NUMBERS 4 /* no tunable has more */
struct quire_sysctl {
	const char *name, *help;
	unsigned mode;	/* of its file: 0644, or 0200 if writing only makes something happen */
	unsigned count; /* numbers it has */
	int capability; /* that the caller's user must have to write it; -1: none */
	long low, high; /* bounds of each number */
	long initial[QUIRE_SYSCTL_NUMBERS]; /* a 0 may be computed from memory at the start */
};
/* The tunables in the order of their names; NULL past the last. The core checks no rights:
 * mode and capability are the caller's to obey. */
const struct quire_sysctl *quire_sysctl_at(unsigned i);
/* The first number, and the other way; -ENOENT, -EINVAL. Context: sleep. */
int quire_sysctl_get(const char *name, long *value);
int quire_sysctl_set(const char *name, long value);
/* As the text of Linux's file, and what is written to it from its start: bytes taken, -ENOENT or
 * -EINVAL. Context: sleep. */
int quire_sysctl_show(const char *name, quire_emit_fn emit, void *ctx);
long quire_sysctl_write(const char *name, const char *text, size_t n);

/* One leaf of a space's tables as the core's own walk sees it; in order of address. */
struct quire_leaf {
	uintptr_t va;
	uint64_t pa;
	size_t size;
	bool r, w, x, user, accessed, dirty;
};
void quire_dump_tables(struct quire_mm *mm, void (*fn)(const struct quire_leaf *l, void *ctx),
		       void *ctx);
/* How addr translates, level by level, as text ("walk" of the monitor). */
void quire_show_walk(struct quire_mm *mm, uintptr_t addr, quire_emit_fn emit, void *ctx);
/* The entries of all tables that translate addresses from start to end (0: to the space's end) and are not
 * empty, a line each, a table before what it leads to. Takes mmap_lock for reading. Context: sleep. */
void quire_show_tables(struct quire_mm *mm, uintptr_t start, uintptr_t end, quire_emit_fn emit, void *ctx);
/* What is mapped at addr; all that is mapped, as the nodes of the tree; what the frame pfn is
 * used for and what maps it; what count frames from pfn on are, and which free blocks they form;
 * how often each row of a fault was taken. For people: the form may change. Context: sleep. */
void quire_show_vma(struct quire_mm *mm, uintptr_t addr, quire_emit_fn emit, void *ctx);
void quire_show_tree(struct quire_mm *mm, quire_emit_fn emit, void *ctx);
void quire_show_page(uint64_t pfn, quire_emit_fn emit, void *ctx);
void quire_show_frames(uint64_t pfn, uint64_t count, quire_emit_fn emit, void *ctx);
void quire_show_faults(quire_emit_fn emit, void *ctx);
/* Checks every invariant of docs/invariants.md; says the first broken one through os_log().
 * Returns how many are broken. mm NULL: the global ones only. Context: sleep. */
long quire_check(struct quire_mm *mm);

struct quire_counts {
	uint64_t free_pages;	/* buddy and per-CPU lists together */
	uint64_t managed_pages; /* all the core ever got */
	uint64_t reserved_pages;
	uint64_t cache_pages;	/* page cache */
	uint64_t table_pages;	/* page tables, the kernel's own ranges' included */
	uint64_t slab_pages;
	uint64_t shmem_pages;	/* shared memory that is in memory */
	uint64_t swap_pages, free_swap_pages; /* slots of all areas */
	uint64_t minor_faults, major_faults;
	uint64_t code_disagreements; /* derived fault codes that the CPU contradicted */
	uint64_t unmapped_entries, unmap_flushes; /* by reclaim: entries taken away, flushes for them */
};
void quire_get_counts(struct quire_counts *c);
/* Empties per-CPU lists and empty slabs, so that free_pages is exact. Context: sleep. */
void quire_drain(void);
/* Drops clean, unmapped page cache. */
void quire_drop_caches(void);
/* Reclaims about n pages, as if somebody had asked for as many; how many went. Context: sleep. */
unsigned long quire_reclaim(unsigned long n);

/* ---- swap (docs/swap.md) ---------------------------------------------------------------------- */

struct quire_blkdev; /* include/quire/block.h */

/* Linux's flags of swapon(2): a priority of one's own, in the low bits. */
#define QUIRE_SWAP_FLAG_PRIO_MASK 0x7fffu
#define QUIRE_SWAP_FLAG_PREFER	  0x8000u
#define QUIRE_SWAP_FLAGS_VALID	  0x7ffffu /* those for discarding are accepted and meaningless */

/* Pages may go to the device from now on. It carries a header of mkswap's; path: for the list below,
 * copied (NULL: the device's name). The device has to stay until quire_swapoff() or quire_exit(). 0;
 * -EINVAL: flags, or no usable header; -EACCES: it cannot be written; -EBUSY: it is in use for that
 * already; -EPERM: there are 31 areas; -ENOMEM; an error of the device. Rights are the caller's to
 * check. Context: sleep. */
int quire_swapon(struct quire_blkdev *dev, const char *path, unsigned flags);
/* Brings everything back that lies on the device, and lets it go. 0; -EINVAL: it is not in use;
 * -ENOMEM: memory does not hold it all, -EINTR: a fatal signal: then it is in use as before, and
 * nothing is lost. Context: sleep. */
int quire_swapoff(struct quire_blkdev *dev);

#define QUIRE_SWAP_PATH 64
struct quire_swap_info {
	char path[QUIRE_SWAP_PATH];
	unsigned long pages, used; /* slots */
	int prio;
	unsigned errors;	   /* transfers that failed */
	struct quire_blkdev *dev;
};
/* The nth area that is on; false: there are fewer. Context: sleep. */
bool quire_swap_info(unsigned n, struct quire_swap_info *info);
/* The same as /proc/swaps has it. */
void quire_show_swaps(quire_emit_fn emit, void *ctx);

/* Compressed swap (docs/zswap.md): pages stay in memory, compressed, before they go to a device. Names of
 * what is counted are those of Linux's debugfs where it has them. */
struct quire_zswap_info {
	bool enabled;
	unsigned max_pool_percent;
	const char *compressor;	       /* NULL: there is none */
	uint64_t pool_pages;	       /* pages of memory that hold compressed ones */
	uint64_t stored_pages;	       /* pages that are compressed now, */
	uint64_t same_filled_pages;    /* of them with one word all over */
	uint64_t stored_bytes;	       /* what they take, without what the pool wastes */
	uint64_t loaded_pages;	       /* from here on since the start: brought back from the pool */
	uint64_t written_back_pages;   /* the pool was full: went to the device after all */
	uint64_t dropped_pages;	       /* the pool was full: the page was in memory too */
	uint64_t pool_limit_hit;       /* stores that found it full */
	uint64_t reject_reclaim_fail;  /* and nothing could be written back */
	uint64_t reject_alloc_fail;    /* no memory for the pool, */
	uint64_t reject_kmemcache_fail; /* or for what it is kept with */
	uint64_t reject_compress_poor; /* not worth keeping */
	uint64_t duplicate_entry;      /* stored again, with new contents */
	uint64_t decompress_fail;      /* what came out of the pool was no page: a failed read */
};
/* Context: any. */
void quire_zswap_info(struct quire_zswap_info *info);
/* From now on pages are compressed, or no longer (what is compressed stays so until it is needed). 0,
 * -ENODEV: no compressor, -ENOMEM. Context: sleep. */
int quire_zswap_enable(bool on);
/* How much of memory the pool in front of devices may take. -EINVAL: above 100. */
int quire_zswap_set_max_pool_percent(unsigned percent);

/* ---- fault injection -------------------------------------------------------------------------- */

enum quire_inject { QUIRE_INJECT_PAGE, QUIRE_INJECT_SLAB, QUIRE_INJECT_KINDS };
/* The nth next allocation of that kind fails, once (1: the very next; 0: off). */
void quire_inject_set(enum quire_inject kind, uint64_t nth);
/* Failures by Linux's knobs, or by number (above), or both. */
struct quire_fault_attr {
	uint32_t probability; /* per cent; 0: never */
	uint32_t interval;    /* only each so many-th request; 0, 1: every one */
	int32_t times;	      /* at most so many failures; -1: no end */
	int64_t space;	      /* bytes that pass before the first failure */
	uint64_t nth;	      /* this request from now, once; 0: none */
};
int quire_inject_attr(enum quire_inject kind, const struct quire_fault_attr *a); /* 0, -EINVAL */
/* Allocations of that kind seen since quire_init(). */
uint64_t quire_inject_seen(enum quire_inject kind);
/* Failures injected since the attribute was set. */
uint64_t quire_inject_hits(enum quire_inject kind);

/* ---- traces ----------------------------------------------------------------------------------- */

/* The format of ring and records is docs/trace.md and include/quire/trace.h. */
void quire_trace_enable(bool on);
bool quire_trace_enabled(void);
/* The same, for paths that count instructions; only read it. */
extern bool quire_trace_on;
/* tracefs' trace_marker: up to 40 bytes of text in one record. */
void quire_trace_marker(const char *text, size_t n);
/* A record of any type with up to six words. */
void quire_trace_words(unsigned type, const uint64_t *w, unsigned n);
/* The newest records still in the ring, newest first; fills up to n and returns how many. Takes no
 * lock: for a panic. Context: any. */
struct quire_trace_record;
unsigned quire_trace_last(struct quire_trace_record *out, unsigned n);

#endif
