/* SPDX-License-Identifier: MIT */
/*
 * Disks of the fake machine: virtio-blk devices behind memory-mapped registers, so that the real
 * drivers stand between. A request is carried out, and interrupts, at a moment that the seed decides;
 * until then the memory is the disk's, and freeing it is an accusation. Accidents are ordered by name.
 *
 *   fake_machine_create(&cfg);
 *   fake_disk_add(&(struct fake_disk_config){.sectors = 65536});      the first one is vda
 *   quire_init(&qc); drivers_init(); ... drivers_exit(); quire_exit();    or fake_run()
 *   fake_machine_destroy();
 */
#ifndef ARCH_FAKE_FAKE_DISK_H
#define ARCH_FAKE_FAKE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_MAX_DISKS 8

struct fake_disk_config {
	uint64_t sectors;    /* of 512 bytes */
	void *image;	     /* its contents, which outlive the machine; NULL: zeros of its own */
	bool read_only;
	bool no_cache;	     /* no volatile cache, no flush: a write that completes is in the image */
	uint64_t latency_ns; /* of virtual time, the mean; a call of the machine takes 200. 0: 20 us */
	unsigned queue_size; /* entries; 0: 256 */
	unsigned seg_max;    /* pieces of a request, told to the driver; 0: not told */
	bool no_tables;	     /* takes no indirect descriptors */
	bool old;	     /* registers of the old layout */
};

/* After fake_machine_create(), before drivers_init(). Its number, or -1. */
int fake_disk_add(const struct fake_disk_config *cfg);

/*
 * Orders an accident; false: no such name.
 *   "fail" n        the n-th request from now on fails (1: the next); 0: none
 *   "fail-reads" n, "fail-writes" n, "fail-flushes" n   the same, of one kind
 *   "fail-all" b    all fail while b is not 0
 *   "bad-sector" s  every transfer that touches sector s fails; UINT64_MAX: none
 *   "slow" f        every request from now on takes f times as long
 *   "stall" b       nothing completes while b is not 0
 *   "reversed" b    what is under way completes at once, the last first
 *   "tear" n        of the n-th write from now on only the first half arrives, and it fails
 *   "lie-id" n      the n-th answer from now on names a chain that is not out
 *   "lie-twice" n   the n-th answer is given twice
 *   "lie-count" n   the n-th answer moves the index further than the queue is long
 *   "mute" n        the n-th answer leaves the status byte as it is
 */
bool fake_disk_accident(unsigned disk, const char *name, uint64_t value);

/* The power fails: of what was not flushed each sector is there or not, as the seed decides; what is
 * under way is lost or torn. The disk answers nothing any more; its image holds what is left. */
void fake_disk_power_cut(unsigned disk);

struct fake_disk_counters {
	uint64_t reads, writes, flushes, failed, sectors_read, sectors_written, interrupts, notified;
	unsigned under_way, most_under_way;
	unsigned most_read, most_write; /* bytes of one request */
	uint64_t overtaken; /* requests that ended before one that was made earlier */
};
const struct fake_disk_counters *fake_disk_counters(unsigned disk);

/* Contents as a reader of the disk would get them now, and changing them behind the driver. */
void fake_disk_peek(unsigned disk, uint64_t sector, void *buf, unsigned sectors);
void fake_disk_poke(unsigned disk, uint64_t sector, const void *buf, unsigned sectors);

#endif
