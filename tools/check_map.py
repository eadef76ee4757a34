#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds docs/documents-map.md against docs/documents-names.txt, the sources and the built kernels.

Every name of the list must have one row, in the list's order. A row that says `built` or
`corrected` names a file, and what it names there must be in the file and, where a kernel image is
given, in that image's debug information. A call `a -> b` must be a call in a's body, or in one of the
functions that its row says it goes through ("via `x`, `y`"); where the row says `corrected`, the
calls `x` -> `y` that its remark names are checked instead. The test column names existing files.
A row of docs/documents-physical.md names a function of the list (or one beside it), its file, and one
test of one test file. docs/parameters.md has every word that the core's start asks for.

usage: check_map.py [--elf KERNEL ...] [ROOT]      exit 0: all holds, 1: it does not
"""
import argparse
import os
import re
import subprocess
import sys

STATES = ('built', 'corrected', 'pending', 'not built')
errors = []


def read_names(path):
    """The list: [(section, name)], remarks in brackets dropped."""
    out, section = [], None
    for line in open(path, encoding='utf-8'):
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        m = re.fullmatch(r'\[(.+)\]', line)
        if m:
            section = m.group(1)
            continue
        out.append((section, re.sub(r'\s*\(.*\)$', '', line)))
    return out


def read_map(path):
    """The map: [(section, name, state, where, test, remark, line number)]."""
    rows, section = [], None
    for n, line in enumerate(open(path, encoding='utf-8'), 1):
        m = re.match(r'## (.+)', line)
        if m:
            section = m.group(1).strip().lower()
        if not line.startswith('| `'):
            continue
        cells = [c.strip() for c in line.strip().strip('|').split('|')]
        if len(cells) != 5:
            errors.append(f'{path}:{n}: {len(cells)} columns, expected 5')
            continue
        name, state, where, test, remark = cells
        rows.append((section, name.strip('`'), state, where, test, remark, n))
    return rows


class Sources:
    """The project's files without their comments, and the bodies of their functions."""

    def __init__(self, root):
        self.root, self.cache = root, {}

    def text(self, rel):
        if rel not in self.cache:
            path = os.path.join(self.root, rel)
            text = open(path, encoding='utf-8').read() if os.path.isfile(path) else None
            if text is not None:
                text = re.sub(r'/\*.*?\*/', lambda m: re.sub(r'[^\n]', ' ', m.group(0)), text,
                              flags=re.S)
            self.cache[rel] = text
        return self.cache[rel]

    def body(self, rel, func):
        """The body of func in file rel, or None. Definitions start in the first column."""
        text = self.text(rel) or ''
        m = re.search(r'^[A-Za-z_][^\n;={}]*?\b' + re.escape(func) +
                      r'\s*\((?:[^;{}]|\n)*?\)\s*\{', text, re.M)
        if not m:
            return None
        depth, i = 1, m.end()
        while i < len(text) and depth:
            depth += {'{': 1, '}': -1}.get(text[i], 0)
            i += 1
        return text[m.end():i]


def debug_names(elf):
    """All names of the image's debug information."""
    out = subprocess.run(['readelf', '--debug-dump=info', elf], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, check=True, text=True, errors='replace').stdout
    return {line.rsplit(': ', 1)[1].strip() for line in out.splitlines() if 'DW_AT_name' in line}


def check_call(at, name, rel, remark, src):
    """a -> b -> c: each step is a call in the body, or in a function named after "via"."""
    steps = [s.strip() for s in name.split('->')]
    via = re.search(r'via ((?:`\w+`(?:, )?)+)', remark)
    helpers = re.findall(r'`(\w+)`', via.group(1)) if via else []
    pairs = [(a, b) for a, bs in zip(steps, steps[1:]) for b in re.split(r',\s*', bs)]
    files = [rel] + re.findall(r'`([\w/]+\.[ch])`', remark)
    for a, b in pairs:
        bodies = [src.body(f, x) for f in files for x in [a] + helpers]
        if not any(body and re.search(r'\b' + re.escape(b) + r'\b', body) for body in bodies):
            errors.append(f'{at}: {b} is not called by {a} in {", ".join(files)}')


def check_row(row, src, images):
    section, name, state, where, test, remark, n = row
    at = f'docs/documents-map.md:{n}: {name}'
    kind = next((s for s in STATES if state.startswith(s)), None)
    if kind is None:
        errors.append(f'{at}: state {state!r} is none of {", ".join(STATES)}')
        return
    if kind == 'not built' and ':' not in state:
        errors.append(f'{at}: "not built" needs its reason after a colon')
    if kind in ('pending', 'not built'):
        return
    if kind == 'corrected' and not remark:
        errors.append(f'{at}: "corrected" needs what the document says and what 5.10 does')
    m = re.match(r'`([^`]+)`(?: `([^`]+)`)?', where)
    text = src.text(m.group(1)) if m else None
    if text is None:
        errors.append(f'{at}: {where!r} names no file of the project')
        return
    rel, last = m.group(1), (m.group(2) or name).split('.')[-1]
    if section == 'calls':
        calls = re.findall(r'`(\w+)` -> `(\w+)`', remark)
        if kind == 'corrected' and not calls:
            errors.append(f'{at}: the remark names no call `x` -> `y` of ours')
        for call in [f'{a} -> {b}' for a, b in calls] if kind == 'corrected' else [name]:
            check_call(at, call, rel, remark, src)
    elif not re.search(r'\b' + re.escape(last) + r'\b', text):
        errors.append(f'{at}: {last} is not in {rel}')
    elif not re.search(r'^\s*#define\s+' + re.escape(last) + r'\b', text, re.M):
        lacking = [elf for elf, found in images if last not in found]
        if not rel.startswith('arch/') or len(lacking) == len(images):  # one machine's is enough
            errors.extend(f'{at}: {last} is not in {elf}' for elf in lacking)
    tests = re.findall(r'`([^`]+)`', test)
    errors.extend(f'{at}: no test {t}' for t in tests
                  if not os.path.exists(os.path.join(src.root, t)))
    if not tests:
        errors.append(f'{at}: names no test')


def check_chapters(rel, src):
    """The page of single tests: each row's function and its test exist. How many rows."""
    rows = 0
    path = os.path.join(src.root, rel)
    for n, line in enumerate(open(path, encoding='utf-8'), 1):
        if not line.startswith('| `'):
            continue
        rows += 1
        cells = [c.strip() for c in line.strip().strip('|').split('|')]
        m = re.fullmatch(r'`(\w+)` `([\w/.]+)` `([\w/.]+)` `(\w+)`', ' '.join(cells[:3]))
        if len(cells) != 4 or not m:
            errors.append(f'{rel}:{n}: expected | `name` | `file` | `test file` `test` | remark |')
            continue
        name, where, file, test = m.groups()
        if not re.search(r'\b' + name + r'\b', src.text(where) or ''):
            errors.append(f'{rel}:{n}: {name} is not in {where}')
        if not re.search(r'^Test\(\w+, ' + test + r'\b', src.text(file) or '', re.M):
            errors.append(f'{rel}:{n}: {file} has no test {test}')
    return rows


def check_parameters(rel, src):
    """Every name in a call of boot_param(), or in a table beside one, is on the page."""
    page = open(os.path.join(src.root, rel), encoding='utf-8').read()
    asked = set()
    core = os.path.join(src.root, 'mm')
    for file in sorted(os.path.join(d, f) for d, _, files in os.walk(core) for f in files):
        text = src.text(os.path.relpath(file, src.root)) if file.endswith('.c') else None
        if text and os.path.basename(file) != 'param.c':
            asked.update(re.findall(r'boot_param\w*\("(\w+)"', text))
            for call in re.finditer(r'boot_param\w*\((?!")', text):  # by a table above
                table = text[:call.start()].rsplit('static const', 1)[1]
                asked.update(re.findall(r'[{\s]"(\w+)"', table))
    for name in sorted(asked):
        if not re.search(r'`' + name + r'[`=\[]', page):
            errors.append(f'{rel}: {name} is not there')
    return len(asked)


def check_order(names, rows):
    have = [(r[0], r[1]) for r in rows]
    for item in names:
        if have.count(item) != 1:
            errors.append(f'documents-map.md: [{item[0]}] {item[1]}: {have.count(item)} rows')
    for item in have:
        if item not in names:
            errors.append(f'documents-map.md: [{item[0]}] {item[1]} is not in the list of names')
    if not errors and names != have:
        errors.append('documents-map.md: rows are not in the order of documents-names.txt')


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--elf', action='append', default=[], help='a built kernel image')
    ap.add_argument('root', nargs='?', default=os.path.join(os.path.dirname(__file__), '..'))
    args = ap.parse_args()
    rows = read_map(os.path.join(args.root, 'docs/documents-map.md'))
    check_order(read_names(os.path.join(args.root, 'docs/documents-names.txt')), rows)
    src = Sources(args.root)
    images = [(elf, debug_names(elf)) for elf in args.elf if os.path.exists(elf)]
    for row in rows:
        check_row(row, src, images)
    chapters = check_chapters('docs/documents-physical.md', src)
    words = check_parameters('docs/parameters.md', src)
    for e in errors:
        print(e, file=sys.stderr)
    count = {s: sum(r[2].startswith(s) for r in rows) for s in STATES}
    print(f'{len(rows)} names: ' + ', '.join(f'{v} {k}' for k, v in count.items()) +
          f'; {chapters} rows of single tests; {words} boot parameters; {len(errors)} errors; '
          f'{len(images)} kernel images read')
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
