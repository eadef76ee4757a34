# SPDX-License-Identifier: MIT
"""Side-by-side benchmarks: which rows there are, who measures them, how they are shown.

A *suite* has a letter for its rows: H (here), allocators of one host process; Q (bench_q.py),
system calls and faults in QEMU; of its rows Q12 (bench_reclaim.py), memory that is too small, takes
hours and is measured only where it is named. To add one, name it in SUITES. However a suite shows its table, a
line of its JSON is: row, workload, machine, unit, ours, peer, peer_name, ratio (peer/ours; above 1
we are faster or smaller); a missing peer has peer and ratio null and peer_name 'no peer'. More keys
are allowed.
"""
import dataclasses
import json
import os
import re
import subprocess

import bench_q
import bench_reclaim
import build
import packages
from columns import Columns
from common import CANNOT, OK, CannotRun, build_folder, run, say

KEYS = ('row', 'workload', 'machine', 'unit', 'ours', 'peer', 'peer_name', 'ratio')
ROWS = [f'H{n}' for n in range(1, 11)]


@dataclasses.dataclass
class Options:
    as_json: bool = False
    rounds: int = 0         # H: rounds of a workload, Q12: runs of a row; 0: as these want
    quick: bool = False     # H: only that everything runs; the figures mean nothing
    peer_libs: tuple = ()   # H: page allocators, NAME=FILE.so
    machines: tuple = bench_q.MACHINES  # Q
    peers: tuple = ()                   # Q
    no_peer: bool = False               # Q


# ---- H: allocators of one host process ---------------------------------------------------------

def check_peer_lib(word):
    """A word of --peer-lib, NAME=FILE.so, as far as it can be judged before anything is built; the
    program itself looks into the library. Returns it with the file's full path."""
    name, _, path = word.partition('=')
    if not re.fullmatch(r'[A-Za-z0-9.\-_+]{1,31}', name) or not path:
        raise CannotRun(f'--peer-lib {word}: wants NAME=FILE.so, NAME of up to 31 letters, digits '
                        'and .-_+')
    if not os.path.isfile(path):
        raise CannotRun(f'--peer-lib {word}: there is no file {path}')
    return f'{name}={os.path.abspath(path)}'


def chosen(words):
    """Row names for words of the command line; none: all of them."""
    for w in words:
        if w not in ROWS:
            raise CannotRun(f'{w}: no such row (there are {", ".join(ROWS)})')
    return [r for r in ROWS if r in words or not words]


def _command(options):
    build.build('bench', ['bench/bench'])
    argv = [os.path.join(build_folder('bench'), 'bench', 'bench')]
    if options.quick:
        argv.append('--quick')
    elif options.rounds:
        argv += ['--rounds', str(options.rounds)]
    for word in options.peer_libs:
        argv += ['--peer-lib', word]
    return argv


def measure(rows, options):
    """A line for each figure of these rows; each row is a process of its own."""
    argv = _command(options)
    there = {s.split()[0] for s in run([*argv, '--list'], 'bench').decode().splitlines()}
    for row in rows:
        if row not in there:
            say(f'quire: bench: this build has no row {row}')
            continue
        with subprocess.Popen([*argv, row], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True) as p:
            for text in p.stdout:
                yield json.loads(text)
            log = p.stderr.read()
        if p.returncode:
            raise CannotRun(f'bench: {row} ended with status {p.returncode}\n{log[-2000:]}')


def _number(value):
    return '-' if value is None else f'{value:,.0f}' if value >= 1000 else f'{value:.1f}'


TABLE = Columns(4, 28, 5, -9, -9, -5, 9)     # mimalloc, jemalloc, no peer


def table_line(line):
    ratio = '-' if line['ratio'] is None else f'{line["ratio"]:.2f}'
    return TABLE.text(line['row'], line['workload'], line['unit'], _number(line['ours']), _number(line['peer']),
                      ratio, line['peer_name'])


def run_h(words, options):
    """Rows H. Returns an exit code: a missing peer is shown, and no failure."""
    packages.ensure('bench', ['host'])
    rows, count = chosen(words), 0
    if not options.as_json:
        print('\nhost: the least of all rounds; peers in the same process')
        print(TABLE.text('row', 'workload', 'unit', 'ours', 'peer', 'ratio', 'peer'), flush=True)
    for line in measure(rows, options):
        missing = [k for k in KEYS if k not in line]
        if missing:
            raise CannotRun(f'bench: a line without {", ".join(missing)}: {line}')
        print(json.dumps(line) if options.as_json else table_line(line), flush=True)
        count += 1
    return OK if count else CANNOT


# ---- all suites --------------------------------------------------------------------------------

def run_q(words, options):
    emit = (lambda line: print(json.dumps(line), flush=True)) if options.as_json else None
    slow = [w for w in words if bench_reclaim.is_row(w)]
    quick = [w for w in words if w not in slow]
    code = OK
    if quick or not slow:
        code = bench_q.run(quick, options.peers, options.machines, options.no_peer, emit)
    if slow:
        code = max(code, bench_reclaim.main(slow, options.rounds, options.peers, options.no_peer, emit))
    return code


SUITES = {'H': run_h, 'Q': run_q}


def split(words):
    """{letter: its rows} in the order of SUITES; no words, or a letter alone: all of its rows."""
    asked = {}
    for w in words or SUITES:
        letter = w[:1].upper()
        if letter not in SUITES:
            raise CannotRun(f'{w}: no such row (rows begin with {" or ".join(SUITES)})')
        asked.setdefault(letter, []).append(letter + w[1:])
    return {k: [] if k in asked[k] else asked[k] for k in SUITES if k in asked}


def main(words, options):
    """Measures and prints; an exit code."""
    return max(SUITES[letter](rows, options) for letter, rows in split(words).items())
