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
import shutil
import subprocess
import tempfile

import build
import qemu
from arches import NAMES, slowness
from common import TOP, CannotRun, build_folder

LIMIT = 20000
LINE = re.compile(r'latency: (interrupts|preemption) off for (\d+) instructions '
                  r'from (0x[0-9a-f]+) to (0x[0-9a-f]+)')
LOST = re.compile(r'latency: lost off for (\d+)')
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


def judge(longest, known):
    """A line for each stretch that is too long and not in the table."""
    for kind, start, end in sorted(too_long(longest, known), key=lambda key: -longest[key]):
        yield (f'{kind} off for {longest[kind, start, end]} instructions from {start} to {end}: more than {LIMIT}, '
               'and not in docs/latency.md')


def too_long(longest, known):
    return [key for key, n in longest.items() if n > LIMIT and key not in known]


def keep(name, logs):
    """The logs of kernels whose stretches were too long stay in the build; prints which."""
    folder = os.path.join(build_folder(name), 'meson-logs', 'latency')
    shutil.rmtree(folder, ignore_errors=True)
    for key, path in logs.items():
        os.makedirs(folder, exist_ok=True)
        kept = shutil.copy(path, folder)
        print(f'  {key[0]} off from {key[1]} to {key[2]}: all that kernel said is in {os.path.relpath(kept, TOP)}')


def not_met(seen, known):
    """A line for each row of the table that no machine had a reason for; how long a checker takes differs
    with what there is to check, so this is to be looked at, and no failure."""
    for row in sorted(known):
        most = max(longest.get(row, 0) for longest in seen)
        if most <= LIMIT:
            yield '{} off from {} to {} is in docs/latency.md, but took {} at most'.format(*row, most)


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


def check_lost(log):
    """A full table of the meter: what it had no room for nobody knows."""
    for n in LOST.findall(log):
        yield f'the meter had no room for {n} stretches'


def measure(machine, tests=()):
    """Runs the suites of one machine; (passed, failed, stretches, broken rules)."""
    name = 'latency-' + machine
    build.build(name)
    longest, told, broken, kernels = {}, {}, set(), 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ['QUIRE_ICOUNT'] = folder
        try:
            passed, failed = build.meson_test(name, ['qemu-' + machine],
                                              ['--timeout-multiplier', str(slowness()), *tests])
        finally:
            del os.environ['QUIRE_ICOUNT']
        for path in glob.glob(os.path.join(folder, '*.log')):
            with open(path, errors='replace') as f:
                log = f.read()
            found = stretches(qemu.kernel_image(name), log)
            kernels += bool(found)
            for key, n in found.items():
                if n > longest.get(key, 0):
                    longest[key], told[key] = n, path
            broken.update(check_paths(log))
            broken.update(check_lost(log))
        keep(name, {key: told[key] for key in too_long(longest, allowed())})
    print(f'  {machine}: {kernels} kernels told {len(longest)} stretches', flush=True)
    if not longest:
        broken.add('no kernel said anything')
    return passed, failed, longest, broken


def run(tests=()):
    """(passed, failed): the suites' tests, and for each machine whether everything is short enough and
    every path does what its row says. Shows rows of the table that seem to have no reason any more."""
    total, known, seen = [0, 0], allowed(), []
    for machine in NAMES:
        passed, failed, longest, broken = measure(machine, tests)
        seen.append(longest)
        worst = sorted(longest.items(), key=lambda x: -x[1])
        long = sum(n > LIMIT for _, n in worst)
        for (kind, start, end), n in worst[:long + 8]:
            print(f'  {machine}: {kind} off for {n} instructions, {start} to {end}'
                  f'{" (listed)" if (kind, start, end) in known else ""}')
        bad = [*judge(longest, known), *sorted(broken)]
        for line in bad:
            print(f'  {machine}: {line}', flush=True)
        total[0] += passed + (not bad)
        total[1] += failed + bool(bad)
    for line in not_met(seen, known):
        print(f'  {line}')
    return tuple(total)
