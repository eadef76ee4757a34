/* SPDX-License-Identifier: MIT */
/*
 * What a process has or shares of the names (CLONE_FS): the working directory, with its path in
 * words for getcwd, and the umask.
 */
#include "kernel.h"

#define UMASK 022u /* as Linux's first process has it */

static struct fs_context *fs_alloc(void)
{
	struct fs_context *fs = quire_kmalloc(sizeof(*fs), QUIRE_GFP_ZERO);

	if (!fs)
		return NULL;
	atomic_set(&fs->refs, 1);
	spin_lock_init_rank(&fs->lock, "fs_context", RANK_FILES);
	return fs;
}

struct fs_context *fs_new(void)
{
	struct fs_context *fs = fs_alloc();

	if (!fs)
		return NULL;
	fs->umask = UMASK;
	fs->cwd = root_vnode;
	strscpy(fs->cwd_path, "/", sizeof(fs->cwd_path));
	vnode_get(fs->cwd);
	return fs;
}

struct fs_context *fs_copy(struct fs_context *old, bool share)
{
	struct fs_context *fs;

	if (share) {
		atomic_inc(&old->refs);
		return old;
	}
	fs = fs_alloc();
	if (!fs)
		return NULL;
	fs->cwd = fs_cwd(old, fs->cwd_path);
	fs->umask = fs_umask(old);
	return fs;
}

void fs_put(struct fs_context *fs)
{
	if (!fs || !atomic_dec_and_test(&fs->refs))
		return;
	vnode_put(fs->cwd);
	quire_kfree(fs);
}

struct fs_context *process_fs(struct process *p)
{
	struct fs_context *fs;
	irqflags_t flags;

	spin_lock_irqsave(&tasks_lock, flags);
	fs = p->fs;
	if (fs)
		atomic_inc(&fs->refs);
	spin_unlock_irqrestore(&tasks_lock, flags);
	return fs;
}

struct vnode *fs_cwd(struct fs_context *fs, char path[PATH_LEN])
{
	struct vnode *v;

	spin_lock(&fs->lock);
	v = fs->cwd;
	vnode_get(v);
	strscpy(path, fs->cwd_path, PATH_LEN);
	spin_unlock(&fs->lock);
	return v;
}

int fs_set_cwd(struct fs_context *fs, struct vnode *v, const char *path)
{
	struct vnode *old;

	if (vnode_type(v) != S_IFDIR)
		return -ENOTDIR;
	vnode_get(v);
	spin_lock(&fs->lock);
	old = fs->cwd;
	fs->cwd = v;
	strscpy(fs->cwd_path, path, sizeof(fs->cwd_path));
	spin_unlock(&fs->lock);
	vnode_put(old);
	return 0;
}

unsigned fs_umask(struct fs_context *fs)
{
	return READ_ONCE(fs->umask);
}

SYSCALL1(umask, unsigned, mask)
{
	return atomic_xchg_of(&current->proc->fs->umask, mask & 0777);
}
