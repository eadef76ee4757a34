/* SPDX-License-Identifier: MIT */
/*
 * Device files (/dev/null, zero, full, random) and getrandom. The terminal is in tty.c.
 */
#include "kernel.h"
#include "lib/rand.h"

/* ---- null, zero, random ---------------------------------------------------------------------- */

static long null_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return 0;
}

static long null_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return (long)n;
}

static long null_write_kernel(struct open_file *f, const void *buf, size_t n, uint64_t *pos, bool nonblock)
{
	return (long)n;
}

static long zero_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	size_t left = hal_clear_user(buf, n);

	return left == n && n ? -EFAULT : (long)(n - left);
}

static DEFINE_SPINLOCK(entropy_lock);
static struct rand_state entropy; /* entropy_lock */

/* Not for keys: a generator that the machine's entropy has seeded once. */
void random_bytes(void *dst, size_t n)
{
	unsigned char *d = dst;

	spin_lock(&entropy_lock);
	if (!entropy.s)
		rand_seed(&entropy, hal_entropy());
	while (n--)
		*d++ = (unsigned char)(rand_u64(&entropy) >> 32);
	spin_unlock(&entropy_lock);
}

static long random_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	char tmp[64];
	size_t done = 0;

	while (done < n) {
		size_t k = min(n - done, sizeof(tmp));

		random_bytes(tmp, k);
		if (hal_copy_to_user(buf + done, tmp, k))
			return done ? (long)done : -EFAULT;
		done += k;
	}
	return (long)done;
}

static long full_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	return -ENOSPC;
}

const struct file_ops full_ops = {.read = zero_read, .write = full_write};
const struct file_ops null_ops = {.read = null_read, .write = null_write, .write_kernel = null_write_kernel};
const struct file_ops zero_ops = {.read = zero_read, .write = null_write};
const struct file_ops random_ops = {.read = random_read, .write = null_write};

SYSCALL3(getrandom, uintptr_t, buf, size_t, n, unsigned long, flags)
{
	if (flags & ~(unsigned long)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	return random_read(NULL, buf, min(n, 0x1fffffful), NULL);
}
