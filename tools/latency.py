# SPDX-License-Identifier: MIT
"""How long interrupts and pre-emption are off: reads what kernels of a build with -Dlatency=true say at
their end, names the places, and holds them against docs/latency.md, which lists every stretch of more
than LIMIT instructions with its reason.

./quire test latency runs the QEMU suites on such kernels under -icount shift=0 (QUIRE_ICOUNT: a
folder; arches.py then lets every machine count instructions and keep its log there). The same runs
say on which paths and in which states might_sleep() was passed; docs/kernel.md's table of contexts is
held against that.
"""
import bisect
import glob
import os
import re
import subprocess
import tempfile

import build
import qemu
from arches import NAMES
from common import TOP, CannotRun

LIMIT = 20000
LINE = re.compile(r'latency: (interrupts|preemption) off for (\d+) instructions '
                  r'from (0x[0-9a-f]+) to (0x[0-9a-f]+)')
# What is inlined everywhere says nothing of the place.
COMMON = re.compile(r'^(hal_|spin_|os_preempt|latency_|lockdep_|pte_offset_map_lock|'
                    r'pte_unmap_unlock|pte_lock|ptl_|assert|\$)')


def symbols(elf):
    """(addresses, names) of all functions, in order; a RISC-V mapping symbol ($x) is none."""
    r = subprocess.run(['nm', '-n', elf], capture_output=True, text=True)
    if r.returncode:
        raise CannotRun(f'nm: {r.stderr.strip()}')
    found = [line.split() for line in r.stdout.splitlines()]
    found = [f for f in found if len(f) == 3 and f[1] in 'tTwW' and not f[2].startswith('$')]
    return [int(f[0], 16) for f in found], [f[2] for f in found]


def symbol_of(at, starts, names):
    i = bisect.bisect_right(starts, at) - 1
    return names[i] if i >= 0 else hex(at)


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
    starts, names = symbols(elf)
    i = 0
    while i < len(lines):
        if lines[i].startswith('0x'):
            at = int(lines[i], 16)
            i += 1
            continue
        name = lines[i]
        if name.startswith(('$', '?')):    # no line of the source is known for it
            name = symbol_of(at, starts, names)
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


PATH_LINE = re.compile(r'latency: might_sleep in ([a-z ]+), interrupts (on|off), pre-emption (on|off), '
                       r'(\d+) times')


def contexts():
    """path -> (interrupts, pre-emption, may sleep) of docs/kernel.md's table, each "on", "off" ..."""
    rows = {}
    with open(os.path.join(TOP, 'docs', 'kernel.md'), encoding='utf-8') as f:
        for line in f:
            m = re.match(r'\| ([a-z -]+) \| (on|off|as it was) \| (on|off) \| (yes|no) \|', line)
            if m:
                rows[m[1]] = m.groups()[1:]
    return rows


def check_paths(log):
    """What the log says against the table: a line each that disagrees."""
    table = contexts()
    for path, irqs, preempt, n in PATH_LINE.findall(log):
        row = table.get(path)
        if not row:
            yield f'might_sleep in "{path}", which docs/kernel.md does not have'
        elif row[2] == 'no':
            yield f'might_sleep passed {n} times in "{path}", which may not sleep'
        elif irqs not in (row[0], 'on') or preempt not in (row[1], 'on'):
            yield f'might_sleep in "{path}" with interrupts {irqs}, pre-emption {preempt} ({n} times)'


def measure(machine, tests=()):
    """Runs the suites of one machine; (passed, failed, stretches, broken rules)."""
    name = 'latency-' + machine
    build.build(name)
    longest, broken = {}, set()
    with tempfile.TemporaryDirectory() as folder:
        os.environ['QUIRE_ICOUNT'] = folder
        try:
            passed, failed = build.meson_test(name, ['qemu-' + machine],
                                              ['--timeout-multiplier', '6', *tests])
        finally:
            del os.environ['QUIRE_ICOUNT']
        for path in glob.glob(os.path.join(folder, '*.log')):
            with open(path, errors='replace') as f:
                log = f.read()
            for key, n in stretches(qemu.kernel_image(name), log).items():
                longest[key] = max(longest.get(key, 0), n)
            broken.update(check_paths(log))
    return passed, failed, longest, broken


def run(tests=()):
    """(passed, failed): the suites' tests, and for each machine whether everything is short enough and
    every path does what its row says."""
    total = [0, 0]
    for machine in NAMES:
        passed, failed, longest, broken = measure(machine, tests)
        known = allowed()
        worst = sorted(longest.items(), key=lambda x: -x[1])
        for (kind, start, end), n in worst[:12]:
            print(f'  {machine}: {kind} off for {n} instructions, {start} to {end}')
        bad = [f'{kind} off for {n} instructions from {start} to {end}: more than {LIMIT}, and not in '
               'docs/latency.md' for (kind, start, end), n in worst
               if n > LIMIT and (kind, start, end) not in known] + sorted(broken)
        if not longest:
            bad.append('no kernel said anything')
        for line in bad:
            print(f'  {machine}: {line}')
        total[0] += passed + (not bad)
        total[1] += failed + bool(bad)
    return tuple(total)
