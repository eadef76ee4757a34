# SPDX-License-Identifier: MIT
"""Writes a trace as CTF 1.8, the format that babeltrace2 and its viewers read."""
import os
import struct
import uuid

import trace

FIELDS = {
    trace.PF_USER: ('page_fault_user', ['address', 'ip', 'error_code']),
    trace.PF_KERNEL: ('page_fault_kernel', ['address', 'ip', 'error_code']),
    trace.MM_FAULT: ('mm_fault', ['address', 'row', 'vm_start', 'vm_end', 'vm_flags', 'ip']),
    trace.MISMATCH: ('fault_mismatch', ['address', 'derived', 'raw', 'mask']),
    **{n: (name, list(fields)) for n, (name, fields) in trace.RAW_FAULT.items()},
    trace.MARKER: ('print', None),
    trace.SYS_ENTER: ('sys_enter', ['nr', 'a0', 'a1', 'a2', 'a3', 'a4']),
    trace.SYS_EXIT: ('sys_exit', ['nr', 'ret']),
    trace.FORK: ('sched_process_fork', ['child_pid']),
    trace.EXIT: ('sched_process_exit', ['status']),
    trace.EXEC: ('sched_process_exec', None),
    trace.MMAP: ('mmap', ['start', 'len', 'pgoff', 'vm_flags', 'ino']),
    trace.PAGE_ALLOC: ('mm_page_alloc', ['pfn', 'order', 'gfp_flags', 'migratetype']),
    trace.PAGE_FREE: ('mm_page_free', ['pfn', 'order']),
    trace.PAGE_ALLOC_EXTFRAG: ('mm_page_alloc_extfrag',
                               ['pfn', 'alloc_order', 'fallback_order', 'alloc_migratetype',
                                'fallback_migratetype', 'change_ownership']),
    trace.PAGE_PCPU_DRAIN: ('mm_page_pcpu_drain', ['pfn', 'order', 'migratetype']),
    trace.PAGE_ALLOC_FAIL: ('page_alloc_fail', ['order', 'gfp_flags', 'reason', 'free']),
    trace.OOM_SCORE_ADJ_UPDATE: ('oom_score_adj_update',
                                 ['pid', 'oom_score_adj', 'comm0', 'comm1']),
    trace.RECLAIM_RETRY_ZONE: ('reclaim_retry_zone',
                               ['zone', 'order_loops_enough', 'reclaimable', 'available', 'min_wmark']),
    **{kind: (name, ['pid']) for kind, name in trace.OOM_PID.items()},
    trace.COMPACT_RETRY: ('compact_retry',
                          ['order', 'progress', 'retries', 'max_retries', 'should_retry']),
    trace.KSWAPD_SLEEP: ('mm_vmscan_kswapd_sleep', []),
    trace.KSWAPD_WAKE: ('mm_vmscan_kswapd_wake', ['order', 'highest_zone']),
    trace.WAKEUP_KSWAPD: ('mm_vmscan_wakeup_kswapd', ['order', 'zid']),
    trace.DIRECT_RECLAIM_BEGIN: ('mm_vmscan_direct_reclaim_begin', ['order', 'gfp_flags']),
    trace.DIRECT_RECLAIM_END: ('mm_vmscan_direct_reclaim_end', ['nr_reclaimed']),
    trace.SHRINK_SLAB_START: ('mm_shrink_slab_start',
                              ['shr', 'nr_objects_to_shrink', 'gfp_flags', 'cache_items',
                               'total_scan', 'priority']),
    trace.SHRINK_SLAB_END: ('mm_shrink_slab_end', ['shr', 'retval', 'unused_scan', 'new_scan']),
    trace.LRU_ISOLATE: ('mm_vmscan_lru_isolate',
                        ['zone_order_lru', 'nr_requested', 'nr_scanned', 'nr_skipped', 'nr_taken']),
    trace.LRU_SHRINK_INACTIVE: ('mm_vmscan_lru_shrink_inactive',
                                ['scanned_reclaimed', 'dirty_writeback_congested_immediate',
                                 'activate_ref_keep_unmap_fail', 'priority_file']),
    trace.LRU_SHRINK_ACTIVE: ('mm_vmscan_lru_shrink_active',
                              ['nr_taken', 'nr_active', 'nr_deactivated', 'nr_referenced',
                               'priority_file']),
    trace.KMALLOC: ('kmalloc', ['call_site', 'ptr', 'bytes_req', 'bytes_alloc', 'gfp_flags']),
    trace.KMEM_CACHE_ALLOC: ('kmem_cache_alloc',
                             ['call_site', 'ptr', 'bytes_req', 'bytes_alloc', 'gfp_flags']),
    trace.KFREE: ('kfree', ['call_site', 'ptr']),
    trace.KMEM_CACHE_FREE: ('kmem_cache_free', ['call_site', 'ptr']),
    trace.TABLE_LEAF: ('table_leaf', ['va', 'pa', 'size', 'flags']),
    trace.TABLE_END: ('table_end', ['leaves']),
}
MAGIC = 0xC1FC1FC1
PACKET_RECORDS = 4096
HEAD = '/* CTF 1.8 */\n'


def _metadata(ident):
    out = [HEAD, f'''
typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 16; align = 8; signed = false; }} := uint16_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
typealias integer {{ size = 64; align = 8; signed = false; }} := uint64_t;
typealias integer {{ size = 64; align = 8; signed = false; base = 16; }} := hex64_t;
trace {{
  major = 1; minor = 8; byte_order = le; uuid = "{ident}";
  packet.header := struct {{ uint32_t magic; uint8_t uuid[16]; uint32_t stream_id; }};
}};
clock {{ name = monotonic; freq = 1000000000; offset = 0; }};
typealias integer {{ size = 64; align = 8; signed = false; map = clock.monotonic.value; }} := time_t;
stream {{
  id = 0;
  packet.context := struct {{
    time_t timestamp_begin; time_t timestamp_end;
    uint64_t content_size; uint64_t packet_size; uint64_t events_discarded;
  }};
  event.header := struct {{ uint16_t id; time_t timestamp; }};
  event.context := struct {{ uint16_t cpu; uint32_t pid; }};
}};
''']
    for kind, (name, fields) in FIELDS.items():
        body = 'string text;' if fields is None else ' '.join(f'hex64_t {f};' for f in fields)
        out.append(f'event {{ id = {kind}; name = "{name}"; stream_id = 0; '
                   f'fields := struct {{ {body} }}; }};\n')
    return ''.join(out)


def _event(r):
    head = struct.pack('<HQHI', r.type, r.time, r.cpu, r.pid)
    fields = FIELDS[r.type][1]
    if fields is None:
        return head + r.text.encode() + b'\0'
    return head + struct.pack(f'<{len(fields)}Q', *r.w[:len(fields)])


def _packet(ident, begin, end, body):
    size = 4 + 16 + 4 + 5 * 8 + len(body)
    return (struct.pack('<I16sI', MAGIC, ident.bytes, 0) +
            struct.pack('<5Q', begin, end, size * 8, size * 8, 0) + body)


def convert(path, folder):
    """Writes folder/metadata and folder/stream; returns the number of events."""
    os.makedirs(folder, exist_ok=True)
    ident = uuid.uuid5(uuid.NAMESPACE_URL, 'quire:' + os.path.basename(path))
    with open(os.path.join(folder, 'metadata'), 'w') as f:
        f.write(_metadata(ident))
    count = 0
    with open(os.path.join(folder, 'stream'), 'wb') as f:
        batch, first, last = [], 0, 0
        for r in trace.read_records(path):
            if r.type not in FIELDS:
                continue
            last = max(last, r.time)    # a packet's times may not run backwards
            r.time = last
            first = first if batch else r.time
            batch.append(_event(r))
            count += 1
            if len(batch) == PACKET_RECORDS:
                f.write(_packet(ident, first, last, b''.join(batch)))
                batch = []
        if batch:
            f.write(_packet(ident, first, last, b''.join(batch)))
    return count
