#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes every single allocation of scenarios and recordings fail in turn, one a run.

usage: sweep.py PROGRAM [--all] [--seconds N] [--jobs N] [FILE…]

A first run writes down every allocation and its call stack. In a scenario each of them then fails
once, with every invariant checked after each call (--all; else, as in recordings, the first, the
second and the last of each call stack). What a program answers to a failure is its own business;
no run may crash, hang, break an invariant, be accused by the machine or keep a page. TAP on
standard output, with the number of injection points.
"""
import argparse
import concurrent.futures
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import compile_replay  # noqa: E402
import recording  # noqa: E402

WRONG = re.compile(r'PANIC|OOPS|accuses|check: |were not given back|are still held|AddressSanitizer|'
                   r'runtime error')
KINDS = ('page', 'slab')


def run(program, path, env, seconds=60):
    return subprocess.run([program, path], env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)


def problem(result):
    """What is wrong with a run in which one allocation failed, or None."""
    text = result.stdout.decode(errors='replace')
    m = WRONG.search(text)
    if m:
        return next(s for s in text.splitlines() if m[0] in s)
    if result.returncode < 0:
        return f'killed by signal {-result.returncode}'
    return None


def points(log, every, before):
    """[(kind, n)]: which allocations are to fail; and how many stacks there are. before: the records
    of the subject before, or None: what both do alike at their start (the kernel's own start, the
    runner's) has failed there already. They become this subject's."""
    with open(log, 'rb') as f:
        records = list(struct.iter_unpack('<QQ', f.read()))
    alike = 0
    while alike < min(len(records), len(before)) and records[alike] == before[alike]:
        alike += 1
    before[:] = records
    seen, stacks = [0, 0], {}
    for i, (kind, stack) in enumerate(records):
        seen[kind] += 1
        if i >= alike:
            stacks.setdefault((kind, stack), []).append(seen[kind])
    if every:
        chosen = {(k, n) for (k, _), hits in stacks.items() for n in hits}
    else:
        chosen = {(k, n) for (k, _), hits in stacks.items() for n in {*hits[:2], hits[-1]}}
    return sorted(chosen), len(stacks)


class Subject:
    """A scenario as it is, or a recording as a replay table in a file of its own."""

    def __init__(self, path, folder):
        self.path, self.name = path, os.path.basename(path)
        self.is_recording = path.endswith(('.rec', '.rec.xz'))
        self.input = path
        if self.is_recording:
            table = compile_replay.compile_recording(recording.read(path))
            self.input = os.path.join(folder, self.name + '.table')
            with open(self.input, 'wb') as f:
                f.write(table.data)

    def env(self):
        return {} if self.is_recording else {'SWEEP_CHECK': '1'}


def sweep(program, subject, every, pool, end, folder, before):
    """(points tried, points in all, stacks, [(kind, n, what was wrong)])."""
    log = os.path.join(folder, 'log')
    first = run(program, subject.input, {**subject.env(), 'SWEEP_LOG': log})
    if problem(first):
        return 0, 0, 0, [(0, 0, 'without any failure: ' + problem(first))]
    chosen, stacks = points(log, every and not subject.is_recording, before)
    bad, tried = [], 0

    def one(point):
        if time.monotonic() > end:
            return None
        env = {**subject.env(), 'SWEEP_FAIL': f'{point[0]}:{point[1]}'}
        try:
            return point, problem(run(program, subject.input, env))
        except subprocess.TimeoutExpired:
            return point, 'no end after a minute'

    for result in pool.map(one, chosen):
        if result:
            tried += 1
            if result[1]:
                bad.append((*result[0], result[1]))
    return tried, len(chosen), stacks, bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument('program')
    p.add_argument('file', nargs='+')
    p.add_argument('--all', action='store_true')
    p.add_argument('--seconds', type=float, default=1e9)
    p.add_argument('--jobs', type=int, default=len(os.sched_getaffinity(0)))
    args = p.parse_args()
    end = time.monotonic() + args.seconds
    total = number = failed = 0
    before = []
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for path in args.file:
            if 'fail(' in open(path, errors='replace').read(100000):
                continue  # it orders failures of its own
            subject = Subject(path, folder)
            tried, wanted, stacks, bad = sweep(args.program, subject, args.all, pool, end,
                                              folder, before)
            number += 1
            total += tried
            failed += bool(bad)
            for kind, n, why in bad[:10]:
                print(f'# {subject.name}: {KINDS[kind]} {n}: {why}')
            cut = '' if tried == wanted or bad else f', {wanted - tried} left out for want of time'
            print(f'{"not " if bad else ""}ok {number} - {subject.name}: {tried} injection points, '
                  f'{stacks} call stacks{cut}', flush=True)
    print(f'# {total} injection points')
    print(f'1..{number}')
    return bool(failed)


sys.exit(main())
