/* SPDX-License-Identifier: MIT */
/* What is on the disk, and what goes there: for programs that want to know when bytes arrive. */
#ifndef TEST_KERNEL_DISK_H
#define TEST_KERNEL_DISK_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "check.h"

#define DISK_BYTES (16u << 20)

static const char *disk_name(void)
{
	return access("/dev/vda", F_OK) ? "/dev/nvme0n1" : "/dev/vda";
}

/* The disk as it is, past what is in memory of files. */
static const unsigned char *whole_disk(void)
{
	static unsigned char *image;
	int fd = open(disk_name(), O_RDONLY | O_DIRECT);
	size_t done = 0;
	ssize_t n;

	if (!image)
		CHECK(posix_memalign((void **)&image, 4096, DISK_BYTES) == 0);
	CHECK(fd >= 0);
	while (done < DISK_BYTES && (n = read(fd, image + done, DISK_BYTES - done)) > 0)
		done += (size_t)n;
	CHECK(done == DISK_BYTES);
	close(fd);
	return image;
}

/* A number of sector-sized bytes that are nowhere else. */
static void pattern(unsigned char *p, size_t n, uint64_t which)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(mix(i / 8 + (which << 20)) >> i % 8 * 8);
}

/* The sector that begins with the pattern; -1: none does. */
static long sector_of(uint64_t which)
{
	const unsigned char *image = whole_disk();
	unsigned char want[512];

	pattern(want, sizeof(want), which);
	for (size_t at = 0; at < DISK_BYTES; at += 512)
		if (!memcmp(image + at, want, 512))
			return (long)(at / 512);
	return -1;
}

/* Flushes that the disk was asked for. */
static inline long flushes_of_disk(void)
{
	char line[256], word[160];
	long n = -1, v;
	struct stat st = {0};
	FILE *f = fopen("/proc/quire/block", "r");

	CHECK(stat(disk_name(), &st) == 0);
	if (f) {
		snprintf(word, sizeof(word), "%s flush requests %%ld", disk_name() + 5);
	} else { /* by number: the node may have any name */
		f = fopen("/proc/diskstats", "r");
		snprintf(word, sizeof(word), " %u %u %%*s %s", major(st.st_rdev), minor(st.st_rdev),
			 "%*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %ld");
	}
	CHECK(f != NULL);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, word, &v) == 1)
			n = v;
	if (f)
		fclose(f);
	CHECK(n >= 0);
	return n;
}

#endif
