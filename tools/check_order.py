#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Finds memory order that neither a reader nor the thread sanitizer can follow, in mm/, lib/, drivers/ and kernel/:

    fence       a bare fence, which orders no word in particular
    barrier     an empty asm that is one for the compiler
    volatile    a cast to volatile, or a variable that is: no atomic access

What orders belongs to the word that is written and read: acquire and release on it, READ_ONCE() and
WRITE_ONCE() where nothing is ordered (lib/bug.h).

usage: check_order.py [ROOT]
"""
import glob
import os
import re
import sys

FOLDERS = ('drivers', 'include', 'kernel', 'lib', 'mm')
KINDS = {
    'fence': re.compile(r'\b(?:__atomic_(?:thread|signal)_fence|atomic_(?:thread|signal)_fence|'
                        r'__sync_synchronize|smp_[rw]?mb|hal_[rw]?mb)\b'),
    'barrier': re.compile(r'\bbarrier\s*\(|asm(?:__)?\s.*\(\s*""[\s:]*"memory"'),
    'volatile': re.compile(r'(?<!asm )(?<!asm__ )\bvolatile\b'),
}


def without_comments(text):
    """The same text, its comments blanked line by line."""
    return re.sub(r'/\*.*?\*/|//[^\n]*', lambda m: re.sub(r'[^\n]', ' ', m[0]), text, flags=re.S)


def faults(text):
    """(line, kind, what stands there) of one file's text."""
    out = []
    for number, line in enumerate(without_comments(text).split('\n'), 1):
        out += [(number, kind, line.strip()) for kind, wrong in KINDS.items() if wrong.search(line)]
    return out


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(
        os.path.abspath(__file__)))
    files = sorted(f for folder in FOLDERS
                   for f in glob.glob(os.path.join(root, folder, '**', '*.[chS]'), recursive=True))
    found = 0
    for path in files:
        with open(path, encoding='utf-8') as f:
            for number, kind, line in faults(f.read()):
                print(f'{os.path.relpath(path, root)}:{number}: {kind}: {line}')
                found += 1
    if not files:
        print(f'{root}: no files')
    return 1 if found or not files else 0


if __name__ == '__main__':
    sys.exit(main())
