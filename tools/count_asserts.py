#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the functions of mm/ and what they assert: ASSERT, ASSERT_I, ASSERT_DEBUG, BUG_ON and BUG,
might_sleep, and the assert_*() of locks. A function is a definition in a .c or .h file of mm/; one
that a macro makes is counted once, where the macro stands.

usage: count_asserts.py [--floor N] [--doc FILE] [--by-file] [ROOT]
    --floor N    exit 1 if there are fewer than N assertions for each function
    --doc FILE   exit 1 if FILE does not say "A assertions in F functions of mm/" with a density that
                 is right within a twentieth
"""
import argparse
import glob
import os
import re
import sys

ASSERTION = re.compile(r'\b(?:ASSERT(?:_I|_DEBUG|_DEBUG_I)?|BUG(?:_ON)?|might_sleep|'
                       r'assert_[a-z_]+)\s*\(')
BODY = re.compile(r'\)(?:\s*\\)?\n\{')
DOC = re.compile(r'(\d[\d,]*) assertions in (\d[\d,]*) functions of `?mm/`?')


def without_comments(text):
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', lambda m: '""' if m[0][0] == '"' else '', text,
                  flags=re.S)


def count(path):
    """(functions, assertions) of one file; the definitions of the assertions are none."""
    text = without_comments(open(path, encoding='utf-8').read())
    text = re.sub(r'#define assert_\w+\(.*?[^\\]\n', '', text, flags=re.S)
    functions = len(BODY.findall(text)) + len(re.findall(r'\)\s*\\\n\t\{', text))
    return functions, len(ASSERTION.findall(text))


def files(root):
    return sorted(glob.glob(os.path.join(root, 'mm', '**', '*.[ch]'), recursive=True))


def check_doc(path, functions, asserts):
    """None, or what is wrong with the figures in the document."""
    said = DOC.search(open(path, encoding='utf-8').read())
    if not said:
        return f'{path}: no "A assertions in F functions of mm/"'
    a, f = (int(n.replace(',', '')) for n in said.groups())
    if abs(a / f - asserts / functions) > asserts / functions / 20:
        return f'{path}: says {a} in {f}, there are {asserts} in {functions}'
    return None


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--floor', type=float, default=0)
    ap.add_argument('--doc')
    ap.add_argument('--by-file', action='store_true')
    ap.add_argument('root', nargs='?',
                    default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    args = ap.parse_args()
    functions = asserts = 0
    for path in files(args.root):
        f, a = count(path)
        functions += f
        asserts += a
        if args.by_file:
            print(f'{a:4} / {f:4}  {os.path.relpath(path, args.root)}')
    density = asserts / functions if functions else 0
    print(f'mm/: {asserts} assertions in {functions} functions, {density:.2f} each')
    wrong = check_doc(args.doc, functions, asserts) if args.doc else None
    if wrong:
        print(wrong, file=sys.stderr)
    if density < args.floor:
        print(f'fewer than {args.floor} for each function', file=sys.stderr)
    return 1 if wrong or density < args.floor else 0


if __name__ == '__main__':
    sys.exit(main())
