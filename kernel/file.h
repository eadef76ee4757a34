/* SPDX-License-Identifier: MIT */
/*
 * VFS structures: vnodes (the tree of names), open files and their file_ops, descriptor tables.
 */
#ifndef KERNEL_FILE_H
#define KERNEL_FILE_H

#include "kernel/task.h"
#include "lib/mutex.h"
#include <quire/quire.h>

#define MODE_BITS 07777u /* of a mode: what chmod may set */

/* ---- vfs.c ----------------------------------------------------------------------------------- */

struct file_ops {
	/* buf is a user address. Bytes or a negative errno; *pos, the file's own or the call's, is
	 * theirs to move, by pos_take() and pos_done(). Two threads may be in here with one file. */
	long (*read)(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos);
	long (*write)(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos);
	/* One or many pieces of user memory at *pos as one call; how: O_APPEND, O_DSYNC and the rest of O_SYNC besides
	 * what the file's own flags say. NULL: piece by piece. */
	long (*pieces)(struct open_file *f, uintptr_t vec, unsigned long count, uint64_t *pos, unsigned how,
		       bool write);
	/* readv and writev of what has no positions, in one; NULL: piece by piece. */
	long (*vector)(struct open_file *f, uintptr_t vec, unsigned long count, bool write);
	/* The same with the kernel's memory: NULL: splice and its relatives cannot use it. nonblock: besides what
	 * the file's own flags say. */
	long (*read_kernel)(struct open_file *f, void *buf, size_t n, uint64_t *pos, bool nonblock);
	long (*write_kernel)(struct open_file *f, const void *buf, size_t n, uint64_t *pos, bool nonblock);
	long (*ioctl)(struct open_file *f, unsigned cmd, unsigned long arg);
	unsigned (*poll)(struct open_file *f); /* POLLIN, POLLOUT ... */
	/* Where its changes are told, as long as the file is there. Every ops with poll has it. */
	struct poll_head *(*poll_head)(struct open_file *f);
	int (*open)(struct open_file *f);
	void (*release)(struct open_file *f);
};

struct vnode_ops {
	/* A child that is made on demand, with a reference for the caller; NULL: none. */
	struct vnode *(*lookup)(struct vnode *dir, const char *name);
	/* Name and type of the i-th such child; false: no more. */
	bool (*readdir)(struct vnode *dir, unsigned i, char name[32], unsigned *mode);
	/* Where a symbolic link points now. */
	void (*readlink)(struct vnode *v, char *buf, size_t size);
	/* What it leads to whatever is called like that, with a reference, and its path; NULL: by the text. */
	struct vnode *(*jump)(struct vnode *v, char path[PATH_LEN]);
};

struct vnode {
	atomic_t refs;
	unsigned nlink;		     /* vfs_mutex */
	unsigned mode, dev;
	uint64_t ino, rdev;
	/* of a directory, no reference; NULL: it has been removed, and takes no entries; vfs_mutex */
	struct vnode *parent;
	struct list_head entries;    /* of a directory: struct dirent; vfs_mutex */
	struct quire_inode *contents; /* of a regular file */
	char *target;		     /* of a symbolic link */
	const struct vnode_ops *ops;
	const struct file_ops *fops;
	void *priv;
	uint64_t arg;
	uint64_t mtime_ns;
	bool memfd;		/* its seals count */
	struct lock_set *locks; /* NULL: it never had any; atomic */
	struct mount *mnt;     /* whose it is; NULL: the tree in memory; constant (mount.h) */
	struct mount *mounted; /* of a directory: what lies over it; vfs_mutex */
	uint8_t swapfile;      /* SWAPFILE_* (swapfile.h); atomic */
	bool loaded;	       /* its names are in entries; vfs_mutex */
};

struct dirent {
	struct list_head link; /* in the directory's entries; vfs_mutex */
	struct vnode *v;       /* with a reference */
	char name[];
};

struct open_file {
	atomic_t refs;
	unsigned flags;	     /* O_*; those that F_SETFL changes: pos_lock */
	spinlock_t pos_lock;
	uint64_t pos;	     /* pos_lock */
	struct mutex lock;   /* what ops keep in priv */
	struct vnode *v;
	const struct file_ops *ops;
	struct quire_file *qf; /* for mappings; made when first asked for, atomic */
	void *priv;
	struct list_head watched; /* struct epoll_item.of_file: instances of epoll that watch it; pos_lock */
	struct quire_mm *mm; /* of /proc/PID: the space when it was opened, grabbed, not used; or NULL */
	bool memfd;
	bool writes;	   /* it holds the right to write to v's contents */
	char path[];
};

/* Some of each may be changed by others meanwhile. */
static inline unsigned file_flags(const struct open_file *f)
{
	return READ_ONCE(f->flags);
}

static inline unsigned vnode_type(const struct vnode *v)
{
	return READ_ONCE(v->mode) & S_IFMT;
}

struct path {
	struct vnode *parent; /* of the last component */
	struct vnode *v;      /* NULL: it does not exist (parent does) */
	char last[256];
	char full[PATH_LEN];  /* canonical */
	bool must_be_dir;     /* the path ended in a slash */
};

#define LOOKUP_NOFOLLOW 1u /* the last component, if a link, is the result */
#define LOOKUP_CREATE	2u /* the last component may be missing */

/* The tree of names: what directories contain, and their parents. */
extern struct mutex vfs_mutex;
extern struct vnode *root_vnode;
int vfs_init(void);
void vfs_exit(void);
struct vnode *vnode_new(unsigned mode);
/* The same without contents, with a number (0: a new one). NULL: no memory. */
struct vnode *vnode_alloc(unsigned mode, uint64_t ino);
void vnode_get(struct vnode *v);
void vnode_put(struct vnode *v);
/* Enters v into dir under name (takes a reference). -EEXIST, -ENOENT (dir was removed), -ENOMEM. */
int dir_add(struct vnode *dir, const char *name, struct vnode *v);
/* Takes the name out of dir, if it is there. */
void dir_unlink(struct vnode *dir, const char *name);
/* The child called name, with a reference, or NULL. */
struct vnode *dir_lookup(struct vnode *dir, const char *name);
/* The four steps that those are made of. An entry of no directory, with a reference to v; NULL: no
 * memory. */
struct dirent *dirent_new(const char *name, struct vnode *v);
void dirent_free(struct dirent *d);
/* The entry that stays where it is while vfs_mutex is held; NULL: none. */
struct dirent *dir_find(struct vnode *dir, const char *name);
/* Enters it; nothing of this name may be there. Takes it out, for dirent_free() without vfs_mutex. */
void dir_enter(struct vnode *dir, struct dirent *d);
void dir_remove(struct dirent *d);
/* No entry can be made here: the directory has been removed. vfs_mutex. */
bool dir_is_gone(const struct vnode *dir);
/* Makes every directory of an absolute path; the last one, with a reference. */
struct vnode *mkdir_path(const char *path);
/* Resolves; path_put() afterwards if it answered 0. start NULL: the working directory. */
int path_lookup(struct vnode *start, const char *start_path, const char *path, unsigned flags,
		struct path *out);
void path_put(struct path *p);
/* -EIO etc.; unpacks an initramfs into the root. */
int unpack_initramfs(const void *archive, size_t size);

/* ---- file.c ---------------------------------------------------------------------------------- */

struct open_file *file_alloc(struct vnode *v, const char *path, unsigned flags);
/* One that has no name in the tree, read and written by way of ops. NULL: no memory, and priv is still the
 * caller's; otherwise ops->release() gives it back. flags: O_RDWR and the like, O_NONBLOCK. */
struct open_file *anon_file(const char *path, const struct file_ops *ops, void *priv, unsigned flags);
/* A descriptor for a file that nobody else has, taken over: without one it is closed. flags: O_CLOEXEC. */
int file_install(struct open_file *f, unsigned flags);
void file_get(struct open_file *f);
/* A reference, unless the last one was given back. */
bool file_get_alive(struct open_file *f);
void file_put(struct open_file *f);
/* Reads or writes the pieces of an iovec by op, until one is cut short: bytes, or the first one's errno. (read_write.c) */
long each_piece(uintptr_t vec, unsigned long count, uint64_t *pos,
		long (*op)(void *ctx, uintptr_t buf, size_t n, uint64_t *pos), void *ctx);
/* What a mapping of f holds on to. NULL: no memory. */
struct quire_file *file_mapping(struct open_file *f);
#define MAX_RW_COUNT ((size_t)0x7ffff000) /* what Linux moves at most in one call */
/* A piece of a file that one call reads or writes. */
struct range {
	uint64_t start;
	size_t n;
};
/* The piece at *pos, which is f->pos or the call's own: up to n bytes, none behind size. The
 * position is behind it afterwards, so that two threads never get the same piece. */
struct range pos_take(struct open_file *f, uint64_t *pos, size_t n, uint64_t size);
/* Only `done` bytes of it were moved (an errno: none): the position goes back, unless another thread
 * has moved it on. */
void pos_done(struct open_file *f, uint64_t *pos, const struct range *r, long done);
/* Where it is now. */
uint64_t pos_get(struct open_file *f, const uint64_t *pos);
/* From where it is to `to`; false: it is elsewhere. */
bool pos_move(struct open_file *f, uint64_t from, uint64_t to);
/* O_DIRECT means something: it is on a disk, or is one. */
bool file_may_be_direct(const struct open_file *f);
bool file_readable(const struct open_file *f);
bool file_writable(const struct open_file *f);
/* F_SEAL_*; only a memfd has any. */
unsigned file_seals(struct open_file *f);
extern const struct file_ops regular_ops;

/* Bytes from `at` on that the soft limit leaves of a write of n, -EFBIG: none, and SIGXFSZ was sent. */
long file_size_room(const struct open_file *f, uint64_t at, size_t n);

/* ---- pipe.c, for transfer.c -------------------------------------------------------------------- */

/* What a FIFO's vnode opens by. */
const struct file_ops *fifo_ops(void);
bool is_pipe(const struct open_file *f);
bool same_pipe(const struct open_file *a, const struct open_file *b);
/* Waits until there is something to read: 1; 0: no writer is left; -EAGAIN, -ERESTARTSYS. */
int pipe_wait_data(struct open_file *f, bool nonblock);
/* Waits for room: how much; -EPIPE (with SIGPIPE), -EAGAIN, -ERESTARTSYS. */
long pipe_wait_room(struct open_file *f, bool nonblock);
/* Copies what lies `skip` bytes in, at most n; *taken: for pipe_drop(), which takes n bytes out unless others
 * have taken some since. */
size_t pipe_peek(struct open_file *f, size_t skip, void *buf, size_t n, uint64_t *taken);
void pipe_drop(struct open_file *f, uint64_t taken, size_t n);

/* ---- blkdev.c -------------------------------------------------------------------------------- */

/* Bytes of the device behind a node; 0: it is no block device's. */
uint64_t blkdev_file_size(const struct vnode *v);
/* What was written there is durable; 0 for anything else. 0 or -errno. Sleeps. */
int blkdev_file_sync(const struct vnode *v);

/* ---- poll.c ---------------------------------------------------------------------------------- */

/* What of a file's state its changes are told to. The tellers' order: the state is stored, then they tell;
 * the watchers': they enter themselves, then they look at the state. */
struct poll_head {
	spinlock_t lock; /* RANK_POLL */
	struct list_head watches;
};

/* One whose own state may change with that of what it watches: it is told once, later, by whoever told it,
 * without the lock of the head that it was told under. */
struct poll_relay {
	struct poll_head head;	/* its own watchers */
	struct list_head link;	/* while queued */
	uint32_t queued;	/* somebody is about to tell; atomic */
	unsigned users;		/* tellers; atomic */
};

struct poll_watch {
	struct list_head link;	/* head->lock */
	struct poll_head *head;
	bool exclusive;		/* one of such is enough */
	/* head->lock is held. events: what has come, 0: not known. Says whether somebody was woken. What
	 * it made ready in turn goes into relays, by poll_relay(). */
	bool (*told)(struct poll_watch *w, unsigned events, struct list_head *relays);
};

#define POLL_HEAD_INIT(h) { SPINLOCK_INIT_RANK("poll_head", RANK_POLL), LIST_HEAD_INIT((h).watches) }

void poll_head_init(struct poll_head *h);
/* A file may have become ready: its new state is stored. Any context, nothing held of RANK_POLL or after. */
void poll_tell(struct poll_head *h, unsigned events);
void poll_watch_add(struct poll_watch *w, struct poll_head *h);
void poll_watch_remove(struct poll_watch *w);
/* To be called from told(). */
void poll_relay(struct poll_relay *r, struct list_head *relays);
/* Nobody tells r any more, once nothing that it watched knows it. Context: sleep. */
void poll_relay_end(struct poll_relay *r);
/* What a file is ready for: one without poll always is, as a regular one. */
unsigned poll_file(struct open_file *f);
/* Somebody waits in poll or select for some file, the console maybe. */
bool poll_awaited(void);

/* ---- files/locks.c --------------------------------------------------------------------------- */

/* F_GETLK and its relatives: what fcntl() answers. */
long fcntl_lock(int fd, struct open_file *f, unsigned cmd, uintptr_t arg);
/* A descriptor of table t is closed: t's record locks on the file end. */
void locks_close(struct vnode *v, const struct fd_table *t);
/* The last reference to f is gone: its own locks end. */
void locks_file_gone(struct open_file *f);
/* NULL allowed. Nobody holds a lock any more. */
void locks_free(struct lock_set *s);

/* ---- events/ --------------------------------------------------------------------------------- */

/* The last reference is gone: those who watch it forget it. */
void epoll_file_gone(struct open_file *f);
/* Somebody sleeps in epoll_wait. */
bool epoll_awaited(void);
/* A signal was sent that is not delivered yet. tasks_lock. */
void signalfd_tell(void);

/* ---- memfd.c --------------------------------------------------------------------------------- */

long memfd_add_seals(struct open_file *f, unsigned seals);

/* ---- read_write.c ---------------------------------------------------------------------------- */

/* Calls pieces() with a buffer to write by way of, since nothing is held over a copy from the user: a
 * small one on the stack if that does for n bytes, else a page. What it gives, or -ENOMEM. Context: sleep. */
long write_by_pieces(struct open_file *f, uintptr_t buf, size_t n,
		     long (*pieces)(struct open_file *f, uintptr_t buf, size_t n, char *piece, size_t size));

/* ---- fd.c ------------------------------------------------------------------------------------ */

/* A file that a call uses by its descriptor; NULL: there is none. */
struct fd {
	struct open_file *file;
	bool counted; /* with a reference */
};

/* From here to fdput() the file stays, whoever closes the descriptor: with a reference, unless
 * nobody else can close it. */
struct fd fdget(int fd);
static inline void fdput(struct fd f)
{
	if (f.counted)
		file_put(f.file);
}
bool fd_exists(int fd);
/* Reserves the two lowest free descriptors, which lead to no file yet and nobody else gets, and tells the user
 * at dst their numbers. 0 or an errno: then none is reserved. */
int fd_reserve_pair(int fd[2], uintptr_t dst, bool cloexec);
/* A reserved descriptor leads to f from now on (takes f over). */
void fd_install(int fd, struct open_file *f);
/* The lowest free descriptor leads to f. -EMFILE: f is still the caller's. */
int fd_add(struct open_file *f, bool cloexec);
/* The file of a descriptor of any table, with a reference; NULL: none. */
struct open_file *files_get_file(struct fd_table *t, unsigned fd);
/* The first descriptor from fd on that leads to a file; -1: there is none. */
int files_next(struct fd_table *t, unsigned fd);
/* An empty table; the same one with a reference more, or a copy, for a child. NULL: no memory. */
struct fd_table *files_new(void);
struct fd_table *files_copy(struct fd_table *old, bool share);
/* The last reference closes everything. */
void files_put(struct fd_table *t);
/* The table of any process, with a reference; NULL: it has ended. */
struct fd_table *process_files(struct process *p);
void files_close_on_exec(struct fd_table *t);

/* ---- fs_context.c ---------------------------------------------------------------------------- */

/* The root and the usual umask; the same one with a reference more, or a copy. NULL: no memory. */
struct fs_context *fs_new(void);
struct fs_context *fs_copy(struct fs_context *old, bool share);
void fs_put(struct fs_context *fs);
/* That of any process, with a reference; NULL: it has ended. */
struct fs_context *process_fs(struct process *p);
/* The working directory, with a reference, and its path. */
struct vnode *fs_cwd(struct fs_context *fs, char path[PATH_LEN]);
/* Takes a reference of its own to v. -ENOTDIR. */
int fs_set_cwd(struct fs_context *fs, struct vnode *v, const char *path);
unsigned fs_umask(struct fs_context *fs);

/* ---- open.c ---------------------------------------------------------------------------------- */

/* Resolves a user's path below dirfd (AT_FDCWD); path_put() afterwards if it answered 0. */
int user_path(int dirfd, uintptr_t path, unsigned flags, struct path *out);
/* The same of a path that is copied already. */
int kernel_path(const char *path, unsigned flags, struct path *out);
/* 0, or why the path leads nowhere. */
int path_exists(int dirfd, uintptr_t path);
int open_vnode(struct path *p, unsigned flags, unsigned mode, struct open_file **out);

/* ---- dev.c ----------------------------------------------------------------------------------- */

extern const struct file_ops null_ops, zero_ops, full_ops, random_ops;
/* What /dev/random gives. May sleep. */
void random_bytes(void *dst, size_t n);

/* procfs.c: what a character device of that number opens by; NULL: there is none. */
const struct file_ops *device_ops(uint64_t rdev);

/* ---- tty.c ----------------------------------------------------------------------------------- */

extern const struct file_ops console_ops;
/* Its settings as they are at the start. Before any task runs. */
void tty_init(void);
void console_tick(void);
/* Sends a signal to the processes in the foreground. Any context, no lock
 * held. */
void signal_foreground(int sig);
/* Who sleeps on this key waits for a typed byte. */
bool console_wakes(const void *key);
/* A typed line without its newline, for the monitor; its length. Sleeps. */
size_t console_line(char *buf, size_t size);

#endif
