# SPDX-License-Identifier: MIT
"""Traces: binary records of the core's ring, ftrace text, and the neutral events in both.

A binary trace file is 64 bytes of head (`quire-trace 1`, zero-padded) and records of 64 bytes as
include/quire/trace.h has them. Neutral events are what any two machines must agree on: user and
kernel faults between the runner's markers, inside given address ranges, without time, CPU, ip
and frame numbers.
"""
import os
import re
import struct
from dataclasses import dataclass

from common import CannotRun, Malformed

FILE_MAGIC = b'quire-trace 1\n'
RECORD = 64
RING_MAGIC = 0x6563617274717551
(PF_USER, PF_KERNEL, MM_FAULT, MISMATCH, X86_FAULT, RISCV_FAULT, MARKER, SYS_ENTER, SYS_EXIT, FORK,
 EXIT, EXEC, MMAP, PAGE_ALLOC, PAGE_FREE, TABLE_LEAF, TABLE_END) = range(1, 18)
# What each machine itself says of a fault: the record's name, its words.
RAW_FAULT = {X86_FAULT: ('x86_fault', ('cr2', 'error_code', 'ip')),
             RISCV_FAULT: ('riscv_fault', ('stval', 'scause', 'sepc'))}
KMALLOC, KMEM_CACHE_ALLOC, KFREE, KMEM_CACHE_FREE = range(32, 36)
KMEM = {KMALLOC: 'kmalloc', KMEM_CACHE_ALLOC: 'kmem_cache_alloc', KFREE: 'kfree',
        KMEM_CACHE_FREE: 'kmem_cache_free'}
PAGE_ALLOC_EXTFRAG, PAGE_PCPU_DRAIN, PAGE_ALLOC_FAIL = 24, 25, 26
(OOM_SCORE_ADJ_UPDATE, RECLAIM_RETRY_ZONE, MARK_VICTIM, WAKE_REAPER, START_TASK_REAPING,
 FINISH_TASK_REAPING, SKIP_TASK_REAPING, COMPACT_RETRY) = range(40, 48)
(KSWAPD_SLEEP, KSWAPD_WAKE, WAKEUP_KSWAPD, DIRECT_RECLAIM_BEGIN, DIRECT_RECLAIM_END,
 SHRINK_SLAB_START, SHRINK_SLAB_END, LRU_ISOLATE, LRU_SHRINK_INACTIVE,
 LRU_SHRINK_ACTIVE) = range(48, 58)
LRU_NAMES = ['inactive_anon', 'active_anon', 'inactive_file', 'active_file', 'unevictable']
# The events of oom:* that tell only of a process.
OOM_PID = {MARK_VICTIM: 'mark_victim', WAKE_REAPER: 'wake_reaper',
           START_TASK_REAPING: 'start_task_reaping', FINISH_TASK_REAPING: 'finish_task_reaping',
           SKIP_TASK_REAPING: 'skip_task_reaping'}
ZONES = ['DMA', 'DMA32', 'Normal', 'Movable']
PAGEBLOCK_ORDER = 9
FAIL_REASONS = ['?', 'order', 'zone', 'injected', 'no-wait', 'no-retry', 'costly', 'no-memory', 'victim']
# Linux 5.10's names of allocation flags, the longest combinations first, as its events print them.
GFP_NAMES = [
    ('GFP_TRANSHUGE', 0x1c24ca), ('GFP_TRANSHUGE_LIGHT', 0x1c20ca),
    ('GFP_HIGHUSER_MOVABLE', 0x100cca), ('GFP_HIGHUSER', 0x100cc2), ('GFP_USER', 0x100cc0),
    ('GFP_KERNEL_ACCOUNT', 0x400cc0), ('GFP_KERNEL', 0xcc0), ('GFP_NOFS', 0xc40),
    ('GFP_ATOMIC', 0xa20), ('GFP_NOIO', 0xc00), ('GFP_NOWAIT', 0x800), ('GFP_DMA', 0x1),
    ('__GFP_HIGHMEM', 0x2), ('GFP_DMA32', 0x4), ('__GFP_HIGH', 0x20), ('__GFP_ATOMIC', 0x200),
    ('__GFP_IO', 0x40), ('__GFP_FS', 0x80), ('__GFP_NOWARN', 0x2000),
    ('__GFP_RETRY_MAYFAIL', 0x4000), ('__GFP_NOFAIL', 0x8000), ('__GFP_NORETRY', 0x10000),
    ('__GFP_COMP', 0x40000), ('__GFP_ZERO', 0x100), ('__GFP_NOMEMALLOC', 0x80000),
    ('__GFP_MEMALLOC', 0x20000), ('__GFP_HARDWALL', 0x100000), ('__GFP_THISNODE', 0x200000),
    ('__GFP_RECLAIMABLE', 0x10), ('__GFP_MOVABLE', 0x8), ('__GFP_ACCOUNT', 0x400000),
    ('__GFP_WRITE', 0x1000), ('__GFP_RECLAIM', 0xc00), ('__GFP_DIRECT_RECLAIM', 0x400),
    ('__GFP_KSWAPD_RECLAIM', 0x800)]


def gfp_text(gfp):
    """As Linux's show_gfp_flags(): names, and what has none as a number."""
    names = []
    for name, bits in GFP_NAMES:
        if gfp & bits == bits:
            names.append(name)
            gfp &= ~bits
    if gfp:
        names.append(f'0x{gfp:x}')
    return '|'.join(names) or 'none'

ROWS = ['none', 'zero', 'anon', 'cow', 'reuse', 'file', 'around', 'shmem', 'swap', 'stack',
        'spurious', 'segv', 'bus', 'oom', 'ad']
ACCESSES = ['read', 'write', 'fetch', '?']
OUTCOMES = ['ok', 'signal', 'fixup', 'oops', 'kill']
ARENA = (1 << 36, 1 << 37)
BEGIN, END = 'quire: begin', 'quire: end'
LINE_MARK, ONLY_MARK = 'quire: line', 'quire: only'     # of every machine; of one architecture


class TraceWriter:
    """Appends raw records to a trace file."""

    def __init__(self, path):
        self.file = open(path, 'wb')
        self.file.write(FILE_MAGIC.ljust(RECORD, b'\0'))

    def write(self, data):
        self.file.write(data)

    def close(self):
        self.file.close()


@dataclass
class Record:
    time: int
    type: int
    cpu: int
    pid: int
    w: tuple
    text: str = ''


def read_records(path):
    """The records of a trace file, one by one."""
    with open(path, 'rb') as f:
        head = f.read(RECORD)
        if not head.startswith(b'quire-trace '):
            raise Malformed(f'{path}: not a trace (it should start with "quire-trace 1")')
        if not head.startswith(FILE_MAGIC):
            raise Malformed(f'{path}: format {head.split(bytes(1))[0].decode(errors="replace")!r} '
                            'is unknown here')
        while True:
            data = f.read(RECORD * 4096)
            if len(data) % RECORD:
                raise Malformed(f'{path}: cut short in the middle of a record')
            if not data:
                return
            for at in range(0, len(data), RECORD):
                yield parse_record(data, at)


def parse_record(data, at=0):
    time, kind, cpu, pid = struct.unpack_from('<QHHI', data, at)
    w = struct.unpack_from('<6Q', data, at + 16)
    text = ''
    if kind in (MARKER, EXEC):
        text = data[at + 16:at + RECORD].split(b'\0')[0].decode(errors='replace')
    return Record(time, kind, cpu, pid, w, text)


# ---- ftrace text -----------------------------------------------------------------------------

def vm_flags_text(flags):
    """The bits of a VMA that people look for, smaps' own letters."""
    names = [(1, 'rd'), (2, 'wr'), (4, 'ex'), (8, 'sh'), (0x100, 'gd'), (0x2000, 'lo')]
    return ','.join(n for bit, n in names if flags & bit) or '-'


def event_text(r):
    """Name and fields of one record, Linux's own where Linux has the event."""
    w = r.w
    if r.type in (PF_USER, PF_KERNEL):
        name = 'page_fault_user' if r.type == PF_USER else 'page_fault_kernel'
        return f'{name}: address=0x{w[0]:x} ip=0x{w[1]:x} error_code=0x{w[2]:x}'
    if r.type == MM_FAULT:
        row, access, major, outcome = (w[1] >> s & 0xff for s in (0, 8, 16, 24))
        result = OUTCOMES[outcome] if outcome < len(OUTCOMES) else str(outcome)
        return (f'mm_fault: address=0x{w[0]:x} access={ACCESSES[access & 3]} '
                f'row={ROWS[row] if row < len(ROWS) else row} '
                f'vma=0x{w[2]:x}-0x{w[3]:x} flags={vm_flags_text(w[4])} '
                f'{"major" if major else "minor"} result={result}')
    if r.type == MISMATCH:
        return f'fault_mismatch: address=0x{w[0]:x} derived=0x{w[1]:x} raw=0x{w[2]:x} mask=0x{w[3]:x}'
    if r.type in RAW_FAULT:
        name, fields = RAW_FAULT[r.type]
        return f'{name}: ' + ' '.join(f'{f.removesuffix("_code")}=0x{v:x}'
                                     for f, v in zip(fields, w))
    if r.type == MARKER:
        return f'tracing_mark_write: {r.text}'
    if r.type == SYS_ENTER:
        return f'sys_enter: NR {w[0]} ({", ".join(f"{a:x}" for a in w[1:6])})'
    if r.type == SYS_EXIT:
        return f'sys_exit: NR {w[0]} = {w[1] - (1 << 64) if w[1] >> 63 else w[1]}'
    if r.type == FORK:
        return f'sched_process_fork: child_pid={w[0]}'
    if r.type == EXIT:
        return f'sched_process_exit: status=0x{w[0]:x}'
    if r.type == EXEC:
        return f'sched_process_exec: filename={r.text}'
    if r.type == MMAP:
        return (f'mmap: start=0x{w[0]:x} len=0x{w[1]:x} pgoff=0x{w[2]:x} '
                f'flags={vm_flags_text(w[3])} ino={w[4]}')
    if r.type == PAGE_ALLOC:
        return f'mm_page_alloc: pfn=0x{w[0]:x} order={w[1]} migratetype={w[3]} gfp_flags={gfp_text(w[2])}'
    if r.type == PAGE_FREE:
        return f'mm_page_free: pfn=0x{w[0]:x} order={w[1]}'
    if r.type == PAGE_ALLOC_EXTFRAG:
        return (f'mm_page_alloc_extfrag: pfn=0x{w[0]:x} alloc_order={w[1]} fallback_order={w[2]} '
                f'pageblock_order={PAGEBLOCK_ORDER} alloc_migratetype={w[3]} '
                f'fallback_migratetype={w[4]} fragmenting={int(w[2] < PAGEBLOCK_ORDER)} '
                f'change_ownership={w[5]}')
    if r.type == PAGE_PCPU_DRAIN:
        return f'mm_page_pcpu_drain: pfn=0x{w[0]:x} order={w[1]} migratetype={w[2]}'
    if r.type == PAGE_ALLOC_FAIL:
        reason = FAIL_REASONS[w[2]] if w[2] < len(FAIL_REASONS) else w[2]
        return (f'page_alloc_fail: order={w[0]} gfp_flags={gfp_text(w[1])} reason={reason} '
                f'free={w[3]}')
    if r.type in OOM_PID:
        return f'{OOM_PID[r.type]}: pid={w[0]}'
    if r.type == OOM_SCORE_ADJ_UPDATE:
        comm = struct.pack('<2Q', w[2], w[3]).split(b'\0')[0].decode(errors='replace')
        return (f'oom_score_adj_update: pid={w[0]} comm={comm} '
                f'oom_score_adj={w[1] - (1 << 64) if w[1] >> 63 else w[1]}')
    if r.type == RECLAIM_RETRY_ZONE:
        return (f'reclaim_retry_zone: node=0 zone={ZONES[w[0] & 3]:<8} order={w[1] & 255} '
                f'reclaimable={w[2]} available={w[3]} min_wmark={w[4]} '
                f'no_progress_loops={w[1] >> 8 & 0xffffff} wmark_check={w[1] >> 32}')
    if r.type == COMPACT_RETRY:
        return (f'compact_retry: order={w[0]} result={"progress" if w[1] else "none"} '
                f'retries={w[2]} max_retries={w[3]} should_retry={w[4]}')
    if KSWAPD_SLEEP <= r.type <= LRU_SHRINK_ACTIVE:
        return vmscan_text(r.type, w)
    if r.type in KMEM:
        if r.type in (KMALLOC, KMEM_CACHE_ALLOC):
            return (f'{KMEM[r.type]}: call_site=0x{w[0]:x} ptr=0x{w[1]:x} bytes_req={w[2]} '
                    f'bytes_alloc={w[3]} gfp_flags={gfp_text(w[4])}')
        return f'{KMEM[r.type]}: call_site=0x{w[0]:x} ptr=0x{w[1]:x}'
    if r.type == TABLE_LEAF:
        flags = ''.join(c if w[3] >> i & 1 else '-' for i, c in enumerate('rwxuad'))
        return f'table_leaf: va=0x{w[0]:x} pa=0x{w[1]:x} size=0x{w[2]:x} {flags}'
    if r.type == TABLE_END:
        return f'table_end: leaves={w[0]}'
    return f'event_{r.type}: ' + ' '.join(f'{x:x}' for x in w)


def vmscan_text(kind, w):
    """The events of vmscan:*, in 5.10's words."""
    def flags(x):
        return f'RECLAIM_WB_{"FILE" if x >> 8 & 1 else "ANON"}|RECLAIM_WB_ASYNC'

    def four(x):
        return [x >> i & 0xffff for i in (0, 16, 32, 48)]
    if kind == KSWAPD_SLEEP:
        return 'mm_vmscan_kswapd_sleep: nid=0'
    if kind == KSWAPD_WAKE:
        return f'mm_vmscan_kswapd_wake: nid=0 order={w[0]}'
    if kind == WAKEUP_KSWAPD:
        return f'mm_vmscan_wakeup_kswapd: nid=0 order={w[0]}'
    if kind == DIRECT_RECLAIM_BEGIN:
        return f'mm_vmscan_direct_reclaim_begin: order={w[0]} gfp_flags={gfp_text(w[1])}'
    if kind == DIRECT_RECLAIM_END:
        return f'mm_vmscan_direct_reclaim_end: nr_reclaimed={w[0]}'
    if kind == SHRINK_SLAB_START:
        return (f'mm_shrink_slab_start: 0x{w[0]:x}: nid: 0 objects to shrink {w[1]} '
                f'gfp_flags {gfp_text(w[2])} cache items {w[3]} total_scan {w[4]} priority {w[5]}')
    if kind == SHRINK_SLAB_END:
        return (f'mm_shrink_slab_end: 0x{w[0]:x}: nid: 0 unused scan count {w[2]} '
                f'new scan count {w[3]} last shrinker return val {w[1]}')
    if kind == LRU_ISOLATE:
        return (f'mm_vmscan_lru_isolate: isolate_mode=0 classzone={w[0] & 255} '
                f'order={w[0] >> 8 & 255} nr_requested={w[1]} nr_scanned={w[2]} nr_skipped={w[3]} '
                f'nr_taken={w[4]} lru={LRU_NAMES[w[0] >> 16 & 7]}')
    if kind == LRU_SHRINK_ACTIVE:
        return (f'mm_vmscan_lru_shrink_active: nid=0 nr_taken={w[0]} nr_active={w[1]} '
                f'nr_deactivated={w[2]} nr_referenced={w[3]} priority={w[4] & 255} '
                f'flags={flags(w[4])}')
    dirty, writeback, congested, immediate = four(w[1])
    anon, file, keep, unmap = four(w[2])
    return (f'mm_vmscan_lru_shrink_inactive: nid=0 nr_scanned={w[0] & 0xffffffff} '
            f'nr_reclaimed={w[0] >> 32} nr_dirty={dirty} nr_writeback={writeback} '
            f'nr_congested={congested} nr_immediate={immediate} nr_activate_anon={anon} '
            f'nr_activate_file={file} nr_ref_keep={keep} nr_unmap_fail={unmap} '
            f'priority={w[3] & 255} flags={flags(w[3])}')


def record_line(r, comm='task'):
    """One line of ftrace text."""
    micro = r.time // 1000
    return (f'{comm}-{r.pid} [{r.cpu:03d}] {micro // 1000000}.{micro % 1000000:06d}: '
            f'{event_text(r)}')


def text_lines(path):
    comm = {}
    for r in read_records(path):
        if r.type == EXEC:
            comm[r.pid] = os.path.basename(r.text)[:15] or 'task'
        elif r.type == FORK:
            comm[r.w[0]] = comm.get(r.pid, 'task')
        yield record_line(r, comm.get(r.pid, 'task'))


# ---- neutral events --------------------------------------------------------------------------

@dataclass(frozen=True)
class Neutral:
    """One fault that machines must agree on. task: numbered in order of first sight."""
    kind: str       # 'user' or 'kernel'
    address: int
    code: int
    task: int = 0

    def __str__(self):
        access = 'fetch' if self.code & 16 else 'write' if self.code & 2 else 'read'
        return (f'page_fault_{self.kind}: address=0x{self.address:x} error_code=0x{self.code:x} '
                f'({access}, task {self.task})')


LINE = re.compile(r'^\s*(.+?)-(\d+)\s+(?:\(.*?\)\s+)?\[\d+\]\s+(?:\S{4,5}\s+)?([\d.]+): (\w+): ?(.*)$')
FAULT = re.compile(r'address=(?:0x)?([0-9a-f]+) ip=\S+ error_code=0x([0-9a-f]+)')


class Extractor:
    """Collects neutral events from a stream of (pid, event, text or numbers). only: what the
    markers have to name, where one trace holds several programs."""

    def __init__(self, ranges, kernel=True, markers=True, only=''):
        self.ranges, self.kernel, self.only = ranges, kernel, only
        self.on, self.muted = not markers, False
        self.tasks, self.events = {}, []
        self.begun = self.ended = 0

    def marker(self, text):
        text = text.strip()
        if text.startswith((LINE_MARK, ONLY_MARK)):
            self.muted = text.startswith(ONLY_MARK)
            return
        if self.only and not text.endswith(' ' + self.only):
            return                      # another program's, or a line number
        if text.startswith(BEGIN):
            self.on, self.muted = True, False
            self.begun += 1
        elif text.startswith(END):
            self.on = False
            self.ended += 1

    def fault(self, pid, user, address, code):
        if not self.on or self.muted or not user and not self.kernel:
            return
        if not any(a <= address < b for a, b in self.ranges):
            return
        task = self.tasks.setdefault(pid, len(self.tasks))
        self.events.append(Neutral('user' if user else 'kernel', address, code, task))


def neutral_from_binary(path, ranges, kernel=True, markers=True, only='', records=None):
    """Returns (events, mismatches, count of all records). records: those of path, read before."""
    ex, mismatches, count = Extractor(ranges, kernel, markers, only), [], 0
    for r in records if records is not None else read_records(path):
        count += 1
        if r.type == MARKER:
            ex.marker(r.text)
        elif r.type in (PF_USER, PF_KERNEL):
            ex.fault(r.pid, r.type == PF_USER, r.w[0], r.w[2])
        elif r.type == MISMATCH:
            mismatches.append(event_text(r))
    _check_markers(ex, path, markers)
    return ex.events, mismatches, count


def neutral_from_text(text, ranges, kernel=True, markers=True, where='trace'):
    """From ftrace text, a real Linux's own `trace` file included. Linux's x86-64 copies to and from
    programs try a refused copy a second time, byte by byte, for the exact count of what is left:
    the same kernel fault at once again, which counts as one."""
    ex, last = Extractor(ranges, kernel, markers), None
    if 'LOST' in text and re.search(r'^CPU:\d+ \[LOST \d+ EVENTS\]', text, re.M):
        raise CannotRun(f'{where}: Linux\'s tracer lost events')
    for line in text.splitlines():
        m = LINE.match(line)
        if not m:
            continue
        pid, event, rest = int(m.group(2)), m.group(4), m.group(5)
        if event == 'tracing_mark_write':
            ex.marker(rest)
        elif event in ('page_fault_user', 'page_fault_kernel'):
            f = FAULT.search(rest)
            key = (pid, event, f and f.groups())
            if f and (key != last or event == 'page_fault_user'):
                ex.fault(pid, event == 'page_fault_user', int(f.group(1), 16), int(f.group(2), 16))
            last = key
    _check_markers(ex, where, markers)
    return ex.events


def _check_markers(ex, where, markers):
    if markers and not ex.begun:
        raise CannotRun(f'{where}: the trace has no "{BEGIN}" marker: the program never started')
    if markers and not ex.ended:
        raise CannotRun(f'{where}: the trace has no "{END}" marker: the program did not finish')


# ---- comparison ------------------------------------------------------------------------------

@dataclass
class Difference:
    """The first event at which two machines differ; count: how many differ in all."""
    index: int
    left: object
    right: object
    count: int
    context: list


def compare(left, right, context=3):
    """None if both lists of events are equal, else the Difference."""
    if left == right:
        return None
    n = min(len(left), len(right))
    index = next((i for i in range(n) if left[i] != right[i]), n)
    count = sum(1 for i in range(n) if left[i] != right[i]) + abs(len(left) - len(right))
    return Difference(index, left[index] if index < len(left) else None,
                      right[index] if index < len(right) else None, count,
                      left[max(0, index - context):index])


def difference_text(d, left_name, right_name, left, right, context=3):
    """The difference for people: what both had before, then what each one has from there on."""
    lines = [f'first difference at event {d.index} ({d.count} in all)']
    lines += [f'    both: {e}' for e in d.context]
    for name, events in ((left_name, left), (right_name, right)):
        following = events[d.index:d.index + context]
        lines += [f'  {name}: {e}' for e in following] or [f'  {name}: (the end)']
    return '\n'.join(lines)
