#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Recordings of page and slab events on one machine, and what the replay must not take: damaged ones.
usage: run_kmem.py MACHINE FILE…; TAP on standard output."""
import os
import re
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import kmem  # noqa: E402
from common import CannotRun  # noqa: E402

count = 0
failed = 0


def report(good, name, lines=()):
    global count, failed
    count += 1
    failed += not good
    for line in lines:
        print('# ' + line)
    print(f'{"" if good else "not "}ok {count} - {name}', flush=True)


def damaged(text):
    """(name, text, what must be said) of recordings that are wrong in one way each."""
    head, _, events = text.partition(b'\nevents ')
    number, _, events = events.partition(b'\n')
    lines = events.split(b'\n')
    page = next(i for i, s in enumerate(lines) if s.startswith(b'p '))
    twice = lines[:page + 1] + lines[page:]
    less = b'\nevents %d\n' % (int(number) + 1)
    whole = b'\nevents %s\n' % number
    yield 'cut off', text[:len(text) // 2], 'line'
    yield 'fewer events than it says', head + less + events, 'ends before the last'
    yield 'more events than it says', text + b'd\n', 'more events'
    yield 'a number allocated twice', head + less + b'\n'.join(twice), 'is there already'
    yield 'a free of nothing', head + whole + b'P 0\n' + events[events.index(b'\n') + 1:], \
        'frees what is not there'
    yield 'no such order', head + whole + re.sub(rb'^p (\d+) \d+ ', rb'p \1 11 ', events, 1, re.M), \
        'make no sense'
    yield 'a foreign version', text.replace(b'quire-kmem 1', b'quire-kmem 2', 1), 'version'
    yield 'no recording', b'hello\n', 'not a recording'
    yield 'unknown flags', text.replace(b'GFP_KERNEL', b'GFP_KERMIT', 1), 'unknown flag'


def main():
    machine, files = sys.argv[1], sys.argv[2:]
    for path in files:
        try:
            status, lines = kmem.replay(path, machine)
        except CannotRun as e:
            status, lines = 2, str(e).splitlines()
        report(status == 0, f'{machine}: {os.path.basename(path)}', lines)
    cases = list(damaged(kmem.read(files[-1])))
    for name, text, said in cases if machine == 'host' else cases[:2]:
        with tempfile.NamedTemporaryFile() as f:
            f.write(text)
            f.flush()
            try:
                status, lines = kmem.replay(f.name, machine)
            except CannotRun as e:
                status, lines = -1, str(e).splitlines()
        report(status == 2 and said in lines[-1], f'{machine}: refused: {name}',
               [] if status == 2 else lines[-5:])
    print(f'1..{count}')
    return bool(failed)


sys.exit(main())
