#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Finds names of mm/, lib/, drivers/, kernel/ and arch/ that are global for nothing: no other file of these
folders refers to them. Either nobody needs them, or their own file alone, which should say static.

usage: check_dead.py [--nm NM] [--exceptions FILE] BUILD_FOLDER

What refers to what is read from the objects of the build (nm), and from the text of those sources
of the same folders that this build does not compile (another machine's). What arch/fake and
arch/host offer is for tests, bench/, user/ and examples/ to use, too. Inline functions of headers
leave no symbol: for them the text decides. docs/documents-map.md names what is here because the
source documents have it; the exceptions are the rest, each with its reason.
"""
import argparse
import collections
import fnmatch
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRODUCT = ('arch', 'drivers', 'kernel', 'lib', 'mm')
USERS = PRODUCT + ('bench', 'examples', 'test', 'user')
FOR_TESTS = re.compile(r'arch/(fake|host)/')


def sources(folders, endings):
    for folder in folders:
        for at, _, files in sorted(os.walk(os.path.join(TOP, folder))):
            for name in sorted(files):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(at, name), TOP)


def text_of(path):
    """A source without comments and strings."""
    text = open(os.path.join(TOP, path), encoding='utf-8').read()
    text = re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


class Objects:
    """What the objects of one build define and refer to, by the source they were made from."""

    def __init__(self, folder, nm):
        self.flat = {s.replace('/', '_'): s for s in sources(USERS, ('.c', '.S'))}
        self.folder = folder
        self.defined = collections.defaultdict(set)
        self.referred = collections.defaultdict(set)
        self.compiled = set()
        objs = [os.path.join(at, f) for at, _, files in os.walk(folder) for f in files
                if f.endswith('.o') and self.source(os.path.join(at, f))]
        for i in range(0, len(objs), 500):
            self.read(nm, objs[i:i + 500])

    def source(self, obj):
        """arch/fake/libx.a.p/.._.._mm_space_vma.c.o is mm/space/vma.c."""
        at, name = os.path.split(os.path.relpath(obj, self.folder))
        name = re.sub(r'^(\.\._)+', '', name[:-len('.o')])
        parts = at.split(os.sep)[:-1]
        for n in range(len(parts), -1, -1):
            s = self.flat.get('_'.join(parts[:n] + [name]))
            if s:
                return s
        return None

    def read(self, nm, objs):
        out = subprocess.run([nm, '-P', '-A'] + objs, stdout=subprocess.PIPE, check=True,
                             text=True).stdout
        for line in out.splitlines():
            obj, rest = line.split(': ', 1)
            name, kind = rest.split()[:2]
            src = self.source(obj)
            self.compiled.add(src)
            if kind in 'TDBRC':
                self.defined[name].add(src)
            elif kind in 'Uvw':
                self.referred[name].add(src)


def tokens(text):
    return set(re.findall(r'\b[A-Za-z_]\w*', text))


def uncompiled_mentions(compiled):
    """Names in the product's sources that this build left out, and in linker scripts."""
    seen = set()
    for path in sources(PRODUCT, ('.c', '.S', '.ld')):
        if path not in compiled:
            seen |= tokens(text_of(path))
    return seen


def is_product(path):
    return path.startswith(tuple(f + '/' for f in PRODUCT))


def counts_as_use(user, definition):
    return is_product(user) or FOR_TESTS.match(definition)


def dead_symbols(objs):
    mentioned = uncompiled_mentions(objs.compiled)
    for name, where in sorted(objs.defined.items()):
        where = {s for s in where if is_product(s)}
        if not where or name in mentioned:
            continue
        home = min(where)
        users = objs.referred[name] - where
        if any(counts_as_use(u, home) for u in users):
            continue
        yield name, home, 'only tests refer to it' if users else 'no other file refers to it'


def inline_functions():
    """Those of the headers, and of them the ones that no source of the product calls, their own
    header included: (name to header, list of (name, header, why))."""
    used = collections.Counter()
    inline = {}
    for path in sources(PRODUCT + ('include',), ('.c', '.h', '.S')):
        text = text_of(path)
        used.update(re.findall(r'\b[A-Za-z_]\w*', text))
        if path.endswith('.h'):
            for m in re.finditer(r'^static inline [^;{]*?\b(\w+)\(', text, re.M):
                inline.setdefault(m[1], []).append(path)
                used[m[1]] -= 1
    extra = collections.Counter()
    for path in sources(('bench', 'examples', 'test', 'user'), ('.c', '.h')):
        extra.update(tokens(text_of(path)))
    return inline, [(name, homes[0], 'an inline function that nothing calls')
                    for name, homes in sorted(inline.items())
                    if used[name] <= 0 and not (extra[name] and FOR_TESTS.match(homes[0]))]


def of_documents():
    """Names that the source documents have, or that stand here for one of theirs."""
    names = set()
    for line in open(os.path.join(TOP, 'docs', 'documents-map.md'), encoding='utf-8'):
        cells = line.split('|')
        if len(cells) > 3 and cells[1].startswith(' `'):
            names |= tokens(cells[1]) | tokens(cells[3])
    return names


def read_exceptions(path):
    """Lines "PATTERN reason"; # begins a comment."""
    rows = []
    for n, line in enumerate(open(path, encoding='utf-8'), 1):
        words = line.split('#')[0].split(None, 1)
        if len(words) == 1:
            sys.exit(f'{path}:{n}: {words[0]}: no reason')
        if words:
            rows.append(words[0])
    return rows


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--nm', default='nm')
    ap.add_argument('--exceptions', default=os.path.join(TOP, 'test', 'tools', 'dead.txt'))
    ap.add_argument('build')
    args = ap.parse_args()
    objs = Objects(os.path.abspath(args.build), args.nm)
    allowed, documents, used, bad = read_exceptions(args.exceptions), of_documents(), set(), 0
    inline, unused = inline_functions()
    for name, home, why in list(dead_symbols(objs)) + unused:
        rule = next((p for p in allowed if fnmatch.fnmatchcase(name, p)), None)
        used.add(rule)
        if not rule and name not in documents:
            print(f'{home}: {name}: {why}')
            bad += 1
    known = {n for n, where in objs.defined.items() if any(is_product(s) for s in where)}
    known |= set(inline)
    for p in allowed:
        if p not in used and any(fnmatch.fnmatchcase(n, p) for n in known):
            print(f'{p}: an exception that nothing needs any more')
            bad += 1
    print(f'{len(objs.defined)} global names in {len(objs.compiled)} sources, {bad} complaints')
    return bad > 0


if __name__ == '__main__':
    sys.exit(main())
