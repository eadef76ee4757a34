/* SPDX-License-Identifier: MIT */
/* Write-back of files (writeback.c): for who changes pages, who wants them on the device, who starts the core. */
#ifndef MM_WRITEBACK_H
#define MM_WRITEBACK_H

#include "mm/object/filemap.h"

/* Begins to write what is dirty of pages [first, last] of a file now. wait: also what is being written
 * already, once more, when that is over. Context: sleep, no page of the file locked. */
void filemap_fdatawrite_range(struct address_space *m, uint64_t first, uint64_t last, bool wait);
/* Waits for what is being written of them. Context: sleep. */
void filemap_fdatawait_range(struct address_space *m, uint64_t first, uint64_t last);
/* Both, of what was dirty: 0, or what went wrong meanwhile. Context: sleep. */
int filemap_write_and_wait_range(struct address_space *m, uint64_t first, uint64_t last);
/* fsync() of bytes [start, end): 0, or an error, of which this open file was not told before. Context: sleep. */
int file_write_and_wait_range(struct file *f, uint64_t start, uint64_t end, bool datasync);
/* Who has made a page of the file dirty waits if there are too many. Context: sleep, no page locked. */
void balance_dirty_pages(struct address_space *m);
/* From how many dirty pages on the flusher writes all, and how many there are to be at most. */
void global_dirty_limits(unsigned long *background, unsigned long *most);
/* Page index is no longer dirty, or leaves the file. i_lock. */
void untag_dirty(struct address_space *m, uint64_t index);
/* The last reference of the file is gone: what is dirty is written unless it was discarded. Context: sleep. */
void inode_write_last(struct quire_inode *inode);

/* Calls the flusher, if there is one; all: for everything, however young. Any context. */
void wakeup_flusher(bool all);
/* Its interval is another one: if there is one, what is dirty is written now. Any context. */
void flusher_interval_changed(void);
/* One round of it: what has been dirty for long enough at `now`, or everything while there is too much.
 * Context: sleep. */
void write_back_old(uint64_t now);
void flusher_run(void);
void flusher_stop(void);

#endif
