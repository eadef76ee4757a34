#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pins what libquire gives and asks: exported names are exactly the functions that the public
header declares, undefined ones are the contract's (hal_*, os_*) and four memory functions. The
defaults of the contract above define every os_* that libquire asks for, and ask for hal_* alone.

usage: check_symbols.py [--nm NM] [--defaults ARCHIVE] HEADER OBJECT [OBJECT ...]   exit 0: so it is, 1: it is not
"""
import argparse
import re
import subprocess
import sys

MEMORY = {'memcpy', 'memset', 'memmove', 'memcmp'}


def declared(header):
    """Names of the functions that the header declares."""
    text = re.sub(r'/\*.*?\*/', '', open(header, encoding='utf-8').read(), flags=re.S)
    return (set(re.findall(r'\b(quire_\w+)\s*\((?!\*)[^;{}]*\)\s*;', text)) |
            set(re.findall(r'\bextern \w+ (quire_\w+);', text)))


def symbols(nm, obj):
    """(exported, undefined) names of an object file."""
    out = subprocess.run([nm, '-P', obj], stdout=subprocess.PIPE, check=True, text=True).stdout
    rows = [line.split() for line in out.splitlines() if len(line.split()) >= 2]
    # an archive's lines name a member first, by one word
    return ({n for n, t, *_ in rows if t in 'TDBRVWC'}, {n for n, t, *_ in rows if t in 'Uvw'})


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--nm', default='nm')
    ap.add_argument('--defaults', metavar='ARCHIVE', help='os_default.c as an archive or object')
    ap.add_argument('header')
    ap.add_argument('objects', nargs='+')
    args = ap.parse_args()
    want, bad = declared(args.header), 0
    given, asked = symbols(args.nm, args.defaults) if args.defaults else (set(), set())
    for n in sorted(asked - given):
        if not n.startswith('hal_') and n not in MEMORY:
            print(f'{args.defaults}: {n}: undefined and not the machine\'s', file=sys.stderr)
            bad += 1
    for obj in args.objects:
        have, need = symbols(args.nm, obj)
        asks = {n for n in need if not re.match(r'(hal|os)_', n) and n not in MEMORY}
        for what, names in (('declared but not exported', want - have),
                            ('exported but not declared', have - want),
                            ('undefined and outside the contract', asks),
                            ('without a default', {n for n in need if n.startswith('os_')}
                             - given if args.defaults else set())):
            for n in sorted(names):
                print(f'{obj}: {n}: {what}', file=sys.stderr)
            bad += len(names)
        print(f'{obj}: {len(have)} exported, {len(need)} undefined, {len(want)} declared')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
