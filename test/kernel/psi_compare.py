#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same stall on a real 5.10 (psi=1) and on one of our machines: what /proc/pressure/memory adds up.
usage: psi_compare.py MACHINE IMAGE PROGRAM; TAP on standard output.
The disk answers so many requests a second; the program (psi.c) reads more than memory holds."""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import disks  # noqa: E402
import oracle  # noqa: E402
from common import CannotRun, run  # noqa: E402

IOPS, DISK, MEM = 20, 65536, 128       # a second, so that a guest's own work is little beside; KiB; MiB
ROWS = {'forward': ['forward', '150', '400', '1', '0'], 'random': ['random', '150', '400', '2', '3']}
WITHIN, QUIET = 0.10, 0.95
SOME, FULL = 7, 8       # groups of LINE
LINE = re.compile(r'psi: (\d+) resident, (\d+) accesses, (\d+) major, (\d+) refaults, (\d+) restored, '
                  r'([\d.]+) s, some ([\d.]+), full ([\d.]+)')


def part(found, i):
    return float(found.group(i)) / float(found.group(6))


def on_linux(program, words):
    with tempfile.TemporaryDirectory() as tmp:
        disk = disks.Disk(os.path.join(tmp, 'swap'), iops=IOPS)
        with open(disk.path, 'wb') as f:
            f.write(disks.swap_header(DISK << 10))
            f.truncate(DISK << 10)
        job = oracle.Job('psi', ['/psi', *words], False, 900)
        with open(program, 'rb') as f:
            files = {'/psi': (f.read(), 0o755)}
        r = oracle.run_jobs([job], files, mem=MEM, words=['psi=1'], disks=[disk])[0]
        return r.output.decode(errors='replace')


def on_quire(machine, image, program, words):
    argv = [sys.executable, os.path.join(TOP, 'test', 'kernel', 'run_program.py'), machine, image, '-t', '1200',
            '-m', str(MEM), '-d', f'{DISK},swap,iops={IOPS}']
    return subprocess.run([*argv, *(a for w in words for a in ('-a', w)), program], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, errors='replace').stdout


def linux_program(folder):
    """The program for 5.10, by the compiler that makes x86-64's."""
    path = os.path.join(folder, 'psi')
    here = os.path.dirname(os.path.abspath(__file__))
    run(['musl-gcc', '-static', '-O1', '-o', path, os.path.join(here, 'psi.c')], 'compiling psi.c')
    return path


def main():
    machine, image, program = sys.argv[1:]
    print(f'1..{len(ROWS)}')
    bad = 0
    for n, (row, words) in enumerate(ROWS.items(), 1):
        text = on_quire(machine, image, program, words)
        got = LINE.search(text)
        print(f'# {machine} {row}: {got.group(0) if got else text[-1500:]}', flush=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                text = on_linux(linux_program(folder), words)
        except CannotRun as e:
            print(f'ok {n} - {row} # SKIP {str(e).splitlines()[0]}')
            continue
        theirs = LINE.search(text)
        print(f'# linux-5.10 {row}: {theirs.group(0) if theirs else text[-500:]}')
        # By the time that each has spent: how many waits there were is not psi's doing.
        fields = [SOME, FULL]
        if theirs and part(theirs, FULL) < QUIET * part(theirs, SOME):
            # While the host runs others, whatever 5.10 does between two waits takes long, and somebody is
            # runnable then: `full` tells of the host's load.
            print('# the host is too busy to compare full')
            fields = [SOME]
        good = got and theirs and all(abs(part(got, i) - part(theirs, i)) <= WITHIN * part(theirs, i)
                                      for i in fields)
        print(f'{"" if good else "not "}ok {n} - {machine} {row}: within {WITHIN:.0%} of 5.10', flush=True)
        bad += not good
    return bad != 0


sys.exit(main())
