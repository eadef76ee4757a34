# SPDX-License-Identifier: MIT
"""How long interrupts and pre-emption are off: reads what kernels of a build with -Dlatency=true say at
their end, names the places, and holds them against docs/latency.md, which lists every stretch of more
than LIMIT instructions with its reason.

./quire test latency runs the QEMU suites on such kernels under -icount shift=0 (QUIRE_ICOUNT: a
folder; arches.py then lets every machine count instructions and keep its log there).
"""
import os
import re
import subprocess

from common import TOP, CannotRun

LIMIT = 20000
LINE = re.compile(r'latency: (interrupts|preemption) off for (\d+) instructions '
                  r'from (0x[0-9a-f]+) to (0x[0-9a-f]+)')
# What is inlined everywhere says nothing of the place.
COMMON = re.compile(r'^(hal_|spin_|os_preempt|latency_|lockdep_|pte_offset_map_lock|'
                    r'pte_unmap_unlock|pte_lock|assert)')


def places(elf, addresses):
    """address -> the innermost function that is not a lock's or an interrupt switch's own."""
    addresses = sorted(set(addresses))
    if not addresses:
        return {}
    r = subprocess.run(['addr2line', '-a', '-f', '-i', '-s', '-e', elf, *addresses],
                       capture_output=True, text=True)
    if r.returncode:
        raise CannotRun(f'addr2line: {r.stderr.strip()}')
    out, at, lines = {}, None, r.stdout.splitlines()
    i = 0
    while i < len(lines):
        if lines[i].startswith('0x'):
            at = int(lines[i], 16)
            i += 1
            continue
        name = lines[i]
        if at not in out or COMMON.match(out[at]):
            out[at] = name
        i += 2
    return {a: out.get(int(a, 16), a) for a in addresses}


def stretches(elf, log):
    """{(kind, from, to): longest} of one log."""
    found = LINE.findall(log)
    names = places(elf, [a for m in found for a in m[2:]])
    out = {}
    for kind, n, start, end in found:
        key = (kind, names[start], names[end])
        out[key] = max(out.get(key, 0), int(n))
    return out


def allowed():
    """(kind, from, to) of docs/latency.md's table."""
    rows = set()
    with open(os.path.join(TOP, 'docs', 'latency.md'), encoding='utf-8') as f:
        for line in f:
            m = re.match(r'\| (interrupts|preemption) \| `(\w+)` → `(\w+)` \|', line)
            if m:
                rows.add(m.groups())
    return rows
