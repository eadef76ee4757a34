/* SPDX-License-Identifier: MIT */
/*
 * The trace ring as it lies in memory, little-endian, shared between the core, which writes it,
 * and a reader, which may be another machine: the host that runs the emulator.
 *
 * A ring is one header page followed by records of 64 bytes. The writer stores a record, then
 * head; the reader takes records up to head, then stores tail. Both only ever grow; a record's
 * slot is its number modulo the capacity. When head - tail == capacity the writer waits: no record
 * is ever dropped.
 */
#ifndef QUIRE_TRACE_H
#define QUIRE_TRACE_H

#include <stdint.h>

#define QUIRE_TRACE_MAGIC   0x6563617274717551ull /* "Quqtrace" read as bytes */
#define QUIRE_TRACE_VERSION 1

struct quire_trace_ring {
	uint64_t magic;
	uint32_t version, record_size;
	uint64_t capacity;      /* records */
	uint64_t head;          /* written by the core */
	uint64_t tail;          /* written by the reader */
	uint64_t enabled;       /* 1 while records are written */
	uint64_t reader;        /* set by a reader that attached: the writer waits when full;
				   without one, writing stops when full and `stalled` counts */
	uint64_t stalled;
	/* After the records of a table dump and its QUIRE_TR_TABLE_END the writer sets this to 1
	 * plus its CPU's number and waits, the dumped space still live, until the reader, having compared, sets 0.
	 * Without a reader it never waits. */
	uint64_t dump_wait;
};

enum quire_trace_type {
	QUIRE_TR_NONE = 0,
	/* ip, error code (derived) follow the address in all of the first three */
	QUIRE_TR_PAGE_FAULT_USER = 1,   /* w0 address, w1 ip, w2 error_code */
	QUIRE_TR_PAGE_FAULT_KERNEL = 2, /* the same */
	/* w0 page address, w1 row | access << 8 | major << 16 | outcome << 24, w2 vm_start,
	 * w3 vm_end, w4 vm_flags, w5 ip */
	QUIRE_TR_MM_FAULT = 3,
	QUIRE_TR_FAULT_MISMATCH = 4,    /* w0 address, w1 derived, w2 raw, w3 mask */
	QUIRE_TR_X86_FAULT = 5,         /* w0 cr2, w1 error code, w2 ip */
	QUIRE_TR_RISCV_FAULT = 6,       /* w0 stval, w1 scause, w2 sepc */
	QUIRE_TR_MARKER = 7,            /* 48 bytes of text, NUL-padded */
	QUIRE_TR_SYS_ENTER = 8,         /* w0 number, w1..w5 arguments */
	QUIRE_TR_SYS_EXIT = 9,          /* w0 number, w1 result */
	QUIRE_TR_FORK = 10,             /* w0 child pid */
	QUIRE_TR_EXIT = 11,             /* w0 wait status */
	QUIRE_TR_EXEC = 12,             /* 48 bytes: file name */
	QUIRE_TR_MMAP = 13,             /* w0 start, w1 len, w2 pgoff, w3 vm_flags, w4 ino */
	QUIRE_TR_PAGE_ALLOC = 14,       /* w0 pfn, w1 order, w2 gfp, w3 migratetype */
	QUIRE_TR_PAGE_FREE = 15,        /* w0 pfn, w1 order */
	QUIRE_TR_TABLE_LEAF = 16,       /* dump: w0 va, w1 pa, w2 size, w3 r|w<<1|x<<2|u<<3|a<<4|d<<5 */
	QUIRE_TR_TABLE_END = 17,        /* w0 leaves in the dump, w1 asked-for id */
	/* w0 pfn, w1 order, w2 order of the block it was cut from, w3 migratetype, w4 the type that
	 * was stolen from, w5 whether the pageblock changed its type */
	QUIRE_TR_PAGE_ALLOC_EXTFRAG = 24,
	QUIRE_TR_PAGE_PCPU_DRAIN = 25,  /* w0 pfn, w1 order, w2 migratetype of the list */
	QUIRE_TR_PAGE_ALLOC_FAIL = 26,  /* w0 order, w1 gfp, w2 enum quire_alloc_failure, w3 free */
	QUIRE_TR_KMALLOC = 32,          /* w0 call site, w1 ptr, w2 bytes asked for, w3 given, w4 gfp */
	QUIRE_TR_KMEM_CACHE_ALLOC = 33, /* the same */
	QUIRE_TR_KFREE = 34,            /* w0 call site, w1 ptr */
	QUIRE_TR_KMEM_CACHE_FREE = 35,  /* the same */
	/* oom:*, as 5.10's events of the same names */
	QUIRE_TR_OOM_SCORE_ADJ_UPDATE = 40, /* w0 pid, w1 the new value, w2 and w3 comm */
	QUIRE_TR_RECLAIM_RETRY_ZONE = 41, /* w0 zone, w1 order | loops << 8 | enough << 32, w2 reclaimable,
					     w3 available, w4 min mark */
	QUIRE_TR_MARK_VICTIM = 42,	/* w0 pid */
	QUIRE_TR_WAKE_REAPER = 43,	/* the same */
	QUIRE_TR_START_TASK_REAPING = 44, /* the same */
	QUIRE_TR_FINISH_TASK_REAPING = 45, /* the same */
	QUIRE_TR_SKIP_TASK_REAPING = 46, /* the same */
	QUIRE_TR_COMPACT_RETRY = 47,	/* w0 order, w1 made progress, w2 retries, w3 most, w4 again */
	/* vmscan:*, as 5.10's events mm_vmscan_* and mm_shrink_slab_* */
	QUIRE_TR_KSWAPD_SLEEP = 48,	/* no words */
	QUIRE_TR_KSWAPD_WAKE = 49,	/* w0 order, w1 highest zone */
	QUIRE_TR_WAKEUP_KSWAPD = 50,	/* the same */
	QUIRE_TR_DIRECT_RECLAIM_BEGIN = 51, /* w0 order, w1 gfp */
	QUIRE_TR_DIRECT_RECLAIM_END = 52, /* w0 pages freed */
	QUIRE_TR_SHRINK_SLAB_START = 53, /* w0 shrinker, w1 owed, w2 gfp, w3 objects, w4 to do, w5 priority */
	QUIRE_TR_SHRINK_SLAB_END = 54,	/* w0 shrinker, w1 objects freed, w2 owed before, w3 owed now */
	/* w0 highest zone | order << 8 | list << 16, w1 asked for, w2 looked at, w3 passed over, w4 taken */
	QUIRE_TR_LRU_ISOLATE = 55,
	/* w0 taken | freed << 32; w1 dirty, written, congested, immediate, 16 bits each; w2 activated
	 * anonymous, activated file, kept for a use, not unmapped, the same; w3 priority | file << 8 */
	QUIRE_TR_LRU_SHRINK_INACTIVE = 56,
	/* w0 taken, w1 kept active, w2 deactivated, w3 used, w4 priority | file << 8 */
	QUIRE_TR_LRU_SHRINK_ACTIVE = 57,
};

/* Why there was no page. */
enum quire_alloc_failure {
	QUIRE_FAIL_ORDER = 1, /* larger than the largest block */
	QUIRE_FAIL_ZONE,      /* no zone of this machine may serve it */
	QUIRE_FAIL_INJECTED,
	QUIRE_FAIL_NO_WAIT,   /* below the marks, and the caller may not reclaim */
	QUIRE_FAIL_NO_RETRY,  /* one round of reclaim did not suffice */
	QUIRE_FAIL_COSTLY,    /* a large block: no OOM kill for it */
	QUIRE_FAIL_NO_MEMORY, /* nothing left to reclaim, no victim to kill */
	QUIRE_FAIL_VICTIM,    /* its process is to die, and the reserves have no more for it */
};

/* Rows of the fault table, in the order of docs/fault.md; names are the trace's. */
enum quire_fault_row {
	QUIRE_ROW_NONE = 0,
	QUIRE_ROW_ZERO,     /* zero page mapped */
	QUIRE_ROW_ANON,     /* zeroed page mapped */
	QUIRE_ROW_COW,      /* copied */
	QUIRE_ROW_REUSE,    /* sole owner: made writable */
	QUIRE_ROW_FILE,     /* one page of the cache mapped */
	QUIRE_ROW_AROUND,   /* several */
	QUIRE_ROW_SHMEM,    /* a page of shared memory */
	QUIRE_ROW_SWAP,
	QUIRE_ROW_STACK,    /* the stack grew, then anon or zero */
	QUIRE_ROW_SPURIOUS,
	QUIRE_ROW_SEGV,
	QUIRE_ROW_BUS,
	QUIRE_ROW_OOM,
	QUIRE_ROW_AD,       /* accessed or dirty set by software */
	QUIRE_ROW_MAX
};

struct quire_trace_record {
	uint64_t time_ns;
	uint16_t type;
	uint16_t cpu;
	uint32_t pid;
	union {
		uint64_t w[6];
		char text[48];
	};
};

#endif
