#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Recordings with memory for half of their resident set, and a disk to swap to: every byte is right,
every map is the same, and faults are only added. usage: half.py MACHINE RECORDING...; TAP on standard
output.

The resident set is the most that one process had at a time. The machine gets so much memory that half of
that is free above the high marks when the program starts, and what the kernel's stacks and tables take, which
cannot be swapped out."""
import collections
import math
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import compare  # noqa: E402
import machines  # noqa: E402
import trace  # noqa: E402
from common import CannotRun  # noqa: E402

PAGE = 4096
SWAP = 256 << 20
KERNEL = 300        # pages
SWAP_ROW = trace.ROWS.index('swap')


CLONE_VM = 0x100
MADV_DONTNEED = 4


def _range(pages, start, length):
    """Those of the pages that lie there."""
    first, end = start // PAGE, (start + length + PAGE - 1) // PAGE
    if end - first > len(pages):
        return {p for p in pages if first <= p < end}
    return pages.intersection(range(first, end))


def _call(pages, heap, name, args, result):
    """What a call takes away. heap: the break in a list of one."""
    if result < 0:
        return
    if name == 'brk':
        pages -= _range(pages, result, max(heap[0] - result, 0))
        heap[0] = result
    elif name == 'munmap' or name == 'madvise' and args[2] == MADV_DONTNEED:
        pages -= _range(pages, args[0], args[1])
    elif name == 'mmap':
        pages -= _range(pages, result, args[1])
    elif name == 'mremap':
        old = _range(pages, args[0], args[1])
        pages -= old
        pages |= {p - args[0] // PAGE + result // PAGE for p in old if p * PAGE < args[0] + args[2]}


def resident_pages(rec):
    """The most that one process had at a time, by its faults and what it gave back."""
    spaces, now, most = {}, 0, 0
    for e in rec.events:
        pages, heap = spaces.setdefault(now, (set(), [0]))
        if e[0] == 'p':
            now = e[1]
        elif e[0] in 'uk':
            pages.add(e[1] // PAGE)
            most = max(most, len(pages))
        elif e[0] == 'c':
            _call(pages, heap, e[1], e[2], e[3])
        elif e[0] == 'f':
            spaces[e[1]] = (pages, heap) if e[2] & CLONE_VM else (set(pages), list(heap))
        elif e[0] == 'x':
            spaces[now] = (set(), [e[2]])
        elif e[0] == 'e':
            spaces[now] = (set(), [0])
    return most


def high_marks(pages):
    """Of a machine of so many pages: 5.10's min_free_kbytes, and half of it more."""
    return int(math.sqrt(pages * PAGE / 1024 * 16)) * 1024 // PAGE * 3 // 2


def free_at_start(result):
    return int(re.search(r'^quire: \S+, (\d+) of \d+ pages free', result.log, re.M).group(1))


def run(subject, machine, mem=0):
    opt = machines.Options(mem=mem, swap=SWAP, seconds=600)
    return next(iter(machines.execute([subject], machine, opt)))[1]


def with_half(subject, machine, plenty, mem, wanted):
    """(result, pages for programs) of the smallest machine with so many, as far as QEMU gives memory by the
    MiB."""
    unit = 64 << 10 if machine == 'host' else 1 << 20
    wanted += KERNEL
    size = mem - (free_at_start(plenty) - wanted) * PAGE
    have, best = 0, None
    for _ in range(5):
        size = max(-(-size // unit) * unit, 4 << 20)
        result = run(subject, machine, size)
        if isinstance(result, CannotRun):
            return best or (result, 0)
        have = free_at_start(result) - high_marks(size // PAGE)
        near = wanted // 20
        if have >= wanted - near:
            best = result, have - KERNEL
        if -near <= have - wanted <= max(unit // PAGE, near):
            break
        size += (wanted - have) * PAGE
    return best or (result, have - KERNEL)


def faults(result):
    """Each process's accesses that faulted, in order. What was present may have left, so that bit of the
    code says nothing."""
    out = collections.defaultdict(list)
    for e in result.events:
        if e.kind == 'user':
            out[e.task].append((e.address & -PAGE, e.code & ~1))
    return out


def missing(few, many):
    """Of a list those that the other has not, in this order."""
    out, pos = [], 0
    for x in few:
        try:
            pos = many.index(x, pos) + 1
        except ValueError:
            out.append(x)
    return out


def swapped_in(result):
    """How many faults read a page back."""
    return sum(r.type == trace.MM_FAULT and r.w[1] & 0xff == SWAP_ROW
               for r in trace.read_records(result.trace_path))


def maps_of(result):
    """The digests without what is present."""
    return [re.sub(r' (present|pages)=\S+', '', s) for s in compare.digests(result)]


def problems(plenty, half):
    if isinstance(half, CannotRun):
        return str(half).splitlines()
    out = list(half.mismatches[:5])
    if half.status or plenty.status:
        out += [s for s in half.output.splitlines() if s.startswith(('call ', 'access ', 'pattern '))][:10]
        out.append(f'status {half.status}, with memory enough {plenty.status}')
    if maps_of(plenty) != maps_of(half):
        out.append('other maps')
    few, many = faults(plenty), faults(half)
    for task, f in few.items():
        gone = missing(f, many[task])
        if gone:
            out.append(f'task {task}: {len(gone)} of {len(f)} faults are not there, first '
                       f'{gone[0][0]:#x} code {gone[0][1]:#x}')
    return out


def main():
    machine, *paths = sys.argv[1:]
    print(f'1..{len(paths)}')
    bad = 0
    for n, path in enumerate(paths, 1):
        subject = machines.Subject(path)
        wanted = resident_pages(subject.rec) // 2
        plenty = run(subject, machine)
        why, have = [], 0
        if isinstance(plenty, CannotRun):
            why = str(plenty).splitlines()
        else:
            half, have = with_half(subject, machine, plenty, subject.memory(machines.Options()), wanted)
            why = problems(plenty, half)
        # QEMU gives memory by the MiB, and a board has to find place for the images.
        large = not why and have > wanted + max(wanted // 20, 2 << 20 >> 12)
        print(f'{"not " if why else ""}ok {n} - {machine}: {os.path.basename(path)}'
              + (' # SKIP no machine is so small' if large else ''))
        if have:
            print(f'# {wanted * 2} pages were resident, {have} for programs; '
                  f'{len(plenty.events)} faults and {len(half.events)}, {swapped_in(half)} of them from swap')
        for line in why[:20]:
            print('# ' + line)
        sys.stdout.flush()
        bad += bool(why)
    return bad != 0


if __name__ == '__main__':
    sys.exit(main())
