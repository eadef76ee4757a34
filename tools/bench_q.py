# SPDX-License-Identifier: MIT
"""Rows Q0 to Q15 of the benchmark: system calls and faults in instructions, beside real Linux.

One static program (bench/q.c) is the first program of every kernel measured, in one kind of
machine: QEMU with -icount shift=0, where time is the number of instructions executed and a run
gives the same figures again. Our kernels are release builds, build/release-MACHINE.
"""
import hashlib
import os
import re
import shutil
import subprocess
from collections import namedtuple

import build
import cpio
import oracle
import profile_q
import qemu
from arches import ARCHES, NAMES, image_machine
from columns import Columns
from common import CANNOT, CannotRun, OK, bound_to_us, build_folder, say, scratch

MACHINES = NAMES
UNIT = 'instructions'
MANY = 10000            # other areas in the process, beside 0
SECONDS = 900
# What Linux may not do twice: its own settling, its mitigations, huge pages, memory groups.
LINUX_WORDS = ['panic=-1', 'quiet', 'transparent_hugepage=never', 'init_on_alloc=0',
               'cgroup_disable=memory', 'preempt=none', 'mitigations=off', 'nokaslr', 'norandmaps',
               'rdinit=/init']

Row = namedtuple('Row', 'name workload floor alone', defaults=[False])
# floor: what no kernel can go below: two crossings a call, 512 stores to clear a page.
ROWS = [
    Row('Q0', 'getppid', 70),
    Row('Q1', 'mmap + munmap, 1 page', 140),
    Row('Q2', 'mmap + write + munmap, 1 page', 800),
    Row('Q3', 'write fault, 4 MiB, a page', 660),
    Row('Q4', 'read fault, 4 MiB, a page', 150),
    Row('Q5', 'munmap 4 MiB resident, a page', 10),
    Row('Q6', 'mprotect 1 page of 16, and back', 140),
    Row('Q7', 'brk +1 page, -1 page', 140),
    Row('Q7w', 'brk +1 page, write, -1 page', 800),
    Row('Q8', 'mremap move of 1 page', 70),
    Row('Q8p', 'mremap move of 4 MiB, misaligned, a page', 6),
    Row('Q9', 'copy-on-write fault that copies', 600),
    Row('Q9r', 'copy-on-write fault that reuses', 80),
    Row('Q10', 'fork of 8 MiB resident', 16384),
    Row('Q10e', 'fork + exit + wait', 10000),
    Row('Q11', 'write faults at random over 5,000 areas', 680, True),
    Row('Q13', 'munmap 1 page of 16, map it back', 140),
    Row('Q14', 'madvise(DONTNEED) + write, 1 page', 730),
    Row('Q15', 'mmap + mprotect + munmap of 64 TiB', 210, True),
    Row('Q15p', 'the same of 1 page', 210, True),
]
NAMES = [r.name for r in ROWS]


def release(machine):
    """The build whose kernel and program are measured."""
    return 'release-' + machine


def prepare():
    """Builds the kernels and the program as releases, for both machines."""
    for machine in MACHINES:
        build.build(release(machine), ['kernel/quire.elf', 'user/q'])


def kernel_image(machine):
    return qemu.kernel_image(release(machine))


def build_id(machine):
    """Names the kernel image: the start of its contents' SHA-256."""
    with open(kernel_image(machine), 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def program(machine):
    return os.path.join(build_folder(release(machine)), 'user', 'q')


def chosen(words):
    """Row names for words of the command line: Q7 means all rows that begin with Q7 and a letter."""
    if not words:
        return list(NAMES)
    out = []
    for w in words:
        found = [n for n in NAMES if re.fullmatch(re.escape(w) + '[a-z]?', n)]
        if not found:
            raise CannotRun(f'{w}: no such row (there are {", ".join(NAMES)})')
        out += found
    return [n for n in NAMES if n in out]


# ---- one machine -----------------------------------------------------------------------------

def _counting(machine, mib, log=None):
    """A machine whose instructions are counted; one processor."""
    arch = ARCHES[machine]
    return arch.command(mib, log, arch.counted_cpu)


def quire_command(machine, folder, args):
    """QEMU with our kernel and the program as its first, counting instructions."""
    with open(os.path.join(folder, 'initrd'), 'wb') as f:
        f.write(cpio.build({'/q': (program(machine), 0o755)}))
    return [*_counting(machine, 512, os.path.join(folder, 'log')), '-icount', 'shift=0,sleep=off', '-kernel', kernel_image(machine),
            '-initrd', os.path.join(folder, 'initrd'),
            '-append', ' '.join(['init=/q', 'norandmaps', '--', *args])]


def _linux_command(machine, kernel, folder, args):
    with open(os.path.join(folder, 'initrd'), 'wb') as f:
        f.write(cpio.build({'/init': (program(machine), 0o755)},
                           nodes={'/dev/console': (0o20600, 5, 1)}))
    words = ['console=ttyS0', *LINUX_WORDS, *ARCHES[machine].peer_words]
    return [*_counting(machine, 1024), '-serial', 'file:' + os.path.join(folder, 'log'),
            '-icount', 'shift=0,sleep=off', '-kernel', kernel,
            '-initrd', os.path.join(folder, 'initrd'), '-append', ' '.join([*words, '--', *args])]


def _parse(log, what):
    figures = {}
    failed = re.search(r'^q failed: .*$', log, re.M)
    if failed:
        raise CannotRun(f'{what}: {failed.group(0)}')
    for m in re.finditer(r'^q (Q\w+) (\d+) (\d+) (\d+)\r?$', log, re.M):
        figures[m.group(1), int(m.group(2))] = (int(m.group(3)) / 10, int(m.group(4)) / 10)
    if not re.search(r'^q done:', log, re.M):
        tail = '\n'.join('    ' + s for s in log.splitlines()[-15:])
        raise CannotRun(f'{what}: the program did not come to its end; its log ends with\n{tail}')
    return figures


def _run(command_for, what, seconds=SECONDS):
    folder = scratch('bench')
    try:
        command = command_for(folder)
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, timeout=seconds, preexec_fn=bound_to_us())
        except FileNotFoundError:
            raise CannotRun(f'{what}: {command[0]} is missing (./quire setup installs it)') from None
        except subprocess.TimeoutExpired:
            raise CannotRun(f'{what}: no end after {seconds} s') from None
        with open(os.path.join(folder, 'log'), 'rb') as f:
            return _parse(f.read().decode(errors='replace').replace('\r', ''), what)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _args(rows, others, wait=0):
    return [f'wait={wait}', f'others={others}', 'row=' + ','.join(rows)]


def measure(machine, rows, linux=None):
    """(row, others) -> (minimum, median) of one kernel: ours, or the Linux image given."""
    figures = {}
    for others in (0, MANY):
        wanted = [r.name for r in ROWS if r.name in rows and not (others and r.alone)]
        if not wanted:
            continue
        if linux:
            name, image = linux
            # A 5.10 has settled when its init starts; later ones go on for a while.
            args = _args(wanted, others, 1 if '5.10' in name else 60)
            say(f'quire: bench: {name} on {machine}, {others} other areas')
            figures |= _run(lambda f: _linux_command(machine, image, f, args), name)
        else:
            say(f'quire: bench: Quire on {machine}, {others} other areas')
            figures |= _run(lambda f: quire_command(machine, f, _args(wanted, others)),
                            f'Quire on {machine}')
    return figures


def _check_peer(word):
    """The machine of a kernel that the command line names."""
    name, _, path = word.partition('=')
    if path and not os.path.isfile(path):
        raise CannotRun(f'--peer {word}: there is no file {path}')
    if not path and name not in oracle.KERNELS:
        raise CannotRun(f'--peer {word}: wants one of {", ".join(oracle.KERNELS)}, or NAME=FILE')
    machine = image_machine(path) if path else oracle.KERNELS[name]['machine']
    if not machine:
        raise CannotRun(f'--peer {word}: not a kernel image of x86-64 or RISC-V')
    return machine


def peers(machine, named):
    """The kernels to stand beside ours on a machine: a list of (name, image), and why others are
    missing. named: known names, or NAME=FILE of any kernel image for that machine."""
    have, missing = [], []
    for word in named or [ARCHES[machine].peer]:
        name, _, path = word.partition('=')
        if _check_peer(word) != machine:
            continue
        try:
            have.append((name, path or oracle.kernel_image(name)))
        except CannotRun as e:
            missing.append(f'{name}: {e}')
    return have, missing


# ---- the table -------------------------------------------------------------------------------

def _lines(machine, rows, ours, theirs):
    """A result a row and number of other areas; the peer is the best of those measured."""
    out = []
    for row in (r for r in ROWS if r.name in rows):
        for others in (0, MANY):
            if (row.name, others) not in ours:
                continue
            best = min(((f[row.name, others][0], name) for name, f in theirs.items()
                        if (row.name, others) in f), default=(None, None))
            value, median = ours[row.name, others]
            out.append({
                'row': row.name,
                'workload': row.workload + (f', {MANY:,} other areas' if others else ''),
                'machine': machine, 'unit': UNIT, 'ours': value, 'peer': best[0],
                'peer_name': best[1] or 'no peer',
                'ratio': round(best[0] / value, 3) if best[0] and value else None,
                'median': median, 'floor': row.floor})
    return out


def _number(v):
    return '-' if v is None else f'{v:,.0f}' if v >= 100 else f'{v:.1f}'


TABLE = Columns(5, 38, -9, -9, -5, -7)
TABLE_OF_PEERS = Columns(5, 26, -9, -9, -5, -7, 11)     # where not every row has the same one


def show(machine, lines):
    """Prints the table of one machine, in 80 columns."""
    names = sorted({r['peer_name'] for r in lines if r['peer'] is not None})
    table, beside = (TABLE_OF_PEERS, '') if len(names) > 1 else (TABLE, f', beside {names[0]}' if names else '')
    print(f'\n{machine}, release image {build_id(machine)}{beside}:\n'
          'instructions an operation, the lowest of nine rounds')
    print(table.text('row', 'workload', 'ours', 'peer', 'ratio', 'floor', 'peer'))
    for r in lines:
        ratio = '-' if r['ratio'] is None else f'{r["ratio"]:.2f}'
        print(table.text(r['row'], r['workload'], _number(r['ours']), _number(r['peer']), ratio,
                         _number(r['floor']), r['peer_name']))


def run(words, named_peers=(), on=MACHINES, no_peer=False, emit=None):
    """Measures rows on our kernels and their peers. emit(line): called for each result; without it
    tables are printed. Returns an exit code."""
    rows, code = chosen(words), OK
    for word in named_peers or ():
        _check_peer(word)
    prepare()
    for machine in on:
        have, missing = ([], []) if no_peer else peers(machine, named_peers)
        ours, theirs = measure(machine, rows), {}
        for name, image in have:
            try:
                theirs[name] = measure(machine, rows, (name, image))
            except CannotRun as e:
                missing.append(str(e))
        for why in missing:
            say(f'quire: bench: no peer: {why}')
        if missing and ARCHES[machine].peer == 'linux-5.10':
            code = CANNOT
        lines = _lines(machine, rows, ours, theirs)
        if emit:
            for line in lines:
                emit(line)
        else:
            show(machine, lines)
    return code


def profile(word, on=MACHINES, others=0):
    """Where the instructions of a row go, by function."""
    rows = chosen([word])
    prepare()
    for machine in on:
        for row in rows:
            folder = scratch('profile')
            try:
                args = [*_args([row], others), 'loop=1']
                profile_q.show(machine, row, quire_command(machine, folder, args), folder,
                               [kernel_image(machine), program(machine)])
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return OK
