#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Searches the models of this folder exhaustively with spin, within the bounds that each run names.

A run with a mistake has to end in an error, one without in none; a search that its depth cut off is
a failure. Every place that a model names (`file: function`) has to exist. `--large` takes the bounds
that need minutes and gigabytes.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
DEPTH = 500000

WRITES = ['WRITES', 'OPS=2', 'ROUNDS=2']
DONTNEED = ['DONTNEED', 'OPS=1', 'ROUNDS=1']
SWAPOFF = ['SWAPOFF', 'OPS=1', 'ROUNDS=1', 'TRIES=2']
# model, its bounds, mistakes that it has to find
RUNS = [('swap.pml', WRITES, (1, 2, 3, 4, 8)),
        ('swap.pml', DONTNEED, (3, 4, 5, 7)),
        ('swap.pml', SWAPOFF, (3, 4, 6)),
        ('space.pml', ['SWITCHES=1'], (1, 2, 3)),
        ('unmap.pml', ['FAULTS=2', 'USES=2'], (1, 2, 3, 4)),
        ('rwsem.pml', ['THREADS=3', 'ROUNDS=1'], (1, 3, 4))]
LARGE = [('swap.pml', ['WRITES', 'OPS=3', 'ROUNDS=3'], ()),
         ('swap.pml', ['DONTNEED', 'OPS=2', 'ROUNDS=2'], ()),
         ('swap.pml', ['SWAPOFF', 'DONTNEED', 'OPS=1', 'ROUNDS=1', 'TRIES=1'], ()),
         ('rwsem.pml', ['THREADS=3', 'ROUNDS=2'], ())]


def check_places(path):
    """The places that a model names and the sources do not have."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    for file, name in sorted(set(re.findall(r'((?:arch|drivers|lib|mm)/[\w/]+\.[ch]): (\w+)', text))):
        try:
            with open(os.path.join(TOP, file), encoding='utf-8') as f:
                there = re.search(rf'\b{name}\(', f.read())
        except FileNotFoundError:
            there = None
        if not there:
            yield f'{os.path.basename(path)}: {file} has no {name}()'


def search(model, defines, big):
    """(errors, states, what spin says) of one search. big: of minutes, so that optimising pays; the others
    take less time than their compiler would."""
    with tempfile.TemporaryDirectory() as folder:
        def run(*argv):
            r = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
            return r.returncode, r.stdout + r.stderr

        code, out = run('spin', '-a', *(f'-D{d}' for d in defines), os.path.join(HERE, model))
        if code:
            raise SystemExit(f'spin: {out}')
        code, out = run('gcc', '-O1' if big else '-O0', '-w', '-DSAFETY', '-DNOFAIR', '-DCOLLAPSE', '-DVECTORSZ=2048',
                        '-DMEMLIM=12000', '-o', 'pan', 'pan.c')
        if code:
            raise SystemExit(f'gcc: {out}')
        _, out = run('./pan', f'-m{DEPTH}')
    errors = re.search(r'errors: (\d+)', out)
    states = re.search(r'([\d.e+]+) states, stored', out)
    if not errors or not states or 'max search depth too small' in out or 'pan: reached' in out:
        raise SystemExit(f'{model} {defines}: the search was not finished:\n{out}')
    said = re.search(r'pan:1: (.*)', out)
    return int(errors[1]), int(float(states[1])), said[1] if said else ''


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--large', action='store_true', help='the larger bounds, without mistakes')
    args = parser.parse_args()
    failed = 0

    for path in sorted(f for f in os.listdir(HERE) if f.endswith('.pml')):
        for line in check_places(os.path.join(HERE, path)):
            print(line)
            failed += 1
    for model, bounds, mistakes in LARGE if args.large else RUNS:
        errors, states, said = search(model, bounds, args.large)
        print(f'{"ok" if not errors else "FAILED"}  {model} {" ".join(bounds)}: {states:,} states, '
              f'{errors} errors {said}', flush=True)
        failed += errors > 0
        for m in mistakes:
            errors, states, said = search(model, [*bounds, f'MISTAKE={m}'], False)
            print(f'{"ok" if errors else "FAILED"}  {model} {bounds[0]} with mistake {m}: '
                  f'{said or "not found"}', flush=True)
            failed += errors == 0
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
