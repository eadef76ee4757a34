/* SPDX-License-Identifier: MIT */
/*
 * memfd_create: a file of shared memory that has no name, and the seals on it (F_ADD_SEALS).
 */
#include "kernel.h"

#define MEMFD_DEV   1u /* 00:01, as 5.10 shows shared memory */
#define NAME_PREFIX "/memfd:"
#define PREFIX_LEN  (sizeof(NAME_PREFIX) - 1)
#define NAME_ROOM   250 /* of the name that the program gives, with its NUL */

SYSCALL2(memfd_create, uintptr_t, name, unsigned, flags)
{
	char path[PATH_LEN] = NAME_PREFIX;
	long n = copy_string(path + PREFIX_LEN, name, NAME_ROOM);
	struct vnode *v;
	struct open_file *f;
	int fd;

	if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING))
		return -EINVAL; /* huge pages are not built */
	if (n < 0)
		return n == -ENAMETOOLONG ? -EINVAL : n;
	strscpy(path + PREFIX_LEN + n, " (deleted)", sizeof(path) - PREFIX_LEN - NAME_ROOM);
	v = vnode_new(S_IFREG | 0777);
	if (!v)
		return -ENOMEM;
	quire_inode_put(v->contents);
	v->dev = MEMFD_DEV;
	v->memfd = true;
	v->contents = quire_inode_create(NULL, v, v->ino, v->dev, QUIRE_S_SHMEM);
	f = v->contents ? file_alloc(v, path, O_RDWR) : NULL;
	vnode_put(v);
	if (!f)
		return -ENOMEM;
	if (!file_mapping(f)) {
		file_put(f);
		return -ENOMEM;
	}
	if (!(flags & MFD_ALLOW_SEALING))
		quire_file_add_seals(f->qf, F_SEAL_SEAL);
	fd = fd_add(f, flags & MFD_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}

long memfd_add_seals(struct open_file *f, unsigned seals)
{
	struct quire_file *qf;

	if (!f->memfd)
		return -EINVAL;
	if (!file_writable(f))
		return -EPERM;
	qf = file_mapping(f);
	return qf ? quire_file_add_seals(qf, seals) : -ENOMEM;
}
