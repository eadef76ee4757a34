#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the pages of docs/, the READMEs of the folders and the sources against each other.

- A number that stands before `<!--n:WHAT-->` is counted again; --write puts the right one there.
- A file or folder that is named in code type, or linked to, exists.
- A function, or a name with an underscore, that stands in code type is in the sources.
- A file that a comment of a source names by its path exists.
- docs/hal.md and docs/os.md have every name of their headers.
- docs/sysctl.md has the rows of the table in mm/base/sysctl.c; --sysctl prints them.
- Each room of mm/ has a README.md that names all its files, docs/kernel.md names those of kernel/, and
  docs/architecture.md and mm/README.md have the rooms in their order.

usage: check_docs.py [--write | --sysctl] [ROOT]      exit 0: all holds, 1: it does not
"""
import argparse
import glob
import os
import re
import sys

import facts

FOLDERS = ('arch', 'bench', 'cross', 'docs', 'examples', 'include', 'kernel', 'lib', 'mm',
           'test', 'tools', 'user')
SOURCES = ('.c', '.h', '.py', '.S', '.ld', '.sh', '.build', '.supp')

# A name that stands for any: test_X.c, fuzz_NAME.
PLACEHOLDER = re.compile(r'[A-Z]{4}|(?<![A-Za-z])X(?![A-Za-z])')

# Pages that cite what is gone, or other people's files.
PATHS_FREE = ('docs/moved.md', 'docs/documents-map.md')

# Named, and not ours: whose they are.
FOREIGN = {
    'balloon_deflate': 'differences.md: not here',
    'balloon_inflate': 'differences.md: not here',
    'balloon_migrate': 'differences.md: not here',
    'extfrag_threshold': 'a tunable of Linux that differences.md misses here',
    'pkey_alloc': 'a system call that is not there',
    'remap_vmalloc_range': 'differences.md: not here',
    'shrink_inactive_list': 'reclaim to come, named by the documents',
    'shrink_zones': 'reclaim to come, named by the documents',
    'vm_map_ram': 'differences.md: not here',
}


def read(*parts):
    with open(os.path.join(*parts), encoding='utf-8') as f:
        return f.read()


def without_comments(text):
    return re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)


# ---- counts --------------------------------------------------------------------------------------

def files(root, *pattern):
    return len(glob.glob(os.path.join(root, *pattern), recursive=True))


def words_of(root, path, begin, end, item):
    text = read(root, path)
    return len(re.findall(item, text[text.index(begin):].split(end, 1)[0], re.M))


def fact_list(root, shown):
    folder = os.path.join(root, 'test/scenario')
    known = facts.read_list(os.path.join(folder, 'facts.txt'))
    named = facts.read_scenarios(folder)[0]
    return len([i for i in known if i in named or not shown])


COUNTS = {
    'scenarios': lambda r: files(r, 'test/scenario/**/*.scn'),
    'found': lambda r: files(r, 'test/scenario/found/*.scn'),
    'recordings': lambda r: files(r, 'test/recording/*.rec.xz'),
    'kmem-recordings': lambda r: files(r, 'test/recording/*.kmem.xz'),
    'mutants': lambda r: files(r, 'test/mutants/*.patch'),
    'unit-tests': lambda r: files(r, 'test/unit/test_*.c'),
    'fuzz-targets': lambda r: files(r, 'test/fuzz/fuzz_*.c'),
    'facts': lambda r: fact_list(r, False),
    'facts-shown': lambda r: fact_list(r, True),
    'rooms': lambda r: len(rooms(r)),
    'core-files': lambda r: files(r, 'mm/*/*.c'),
    'kernel-files': lambda r: files(r, 'kernel/**/*.c'),
    'hooks': lambda r: words_of(r, 'tools/check_rooms.py', 'HOOKS = {', '\n}', r"^    \('"),
    'calls': lambda r: len(re.findall(r'^SYS_ROW\(', read(r, 'arch/common/syscall_table.h'), re.M)),
    'tunables': lambda r: len(tunables(r)),
    'invariants': lambda r: len(re.findall(r'^\| I\d+ ', read(r, 'docs/invariants.md'), re.M)),
}
MARK = re.compile(r'(\d[\d,]*)<!--n:([\w-]+)-->')


def check_counts(root, page, write, errors):
    text = read(root, page)

    def right(m):
        if m.group(2) not in COUNTS:
            errors.append(f'{page}: nobody counts {m.group(2)!r} (COUNTS of check_docs.py)')
            return m.group(0)
        n = f'{COUNTS[m.group(2)](root):,}'
        if n != m.group(1) and not write:
            errors.append(f'{page}: {m.group(1)} {m.group(2)}, but there are {n} '
                          '(check_docs.py --write mends it)')
        return f'{n}<!--n:{m.group(2)}-->'

    new = MARK.sub(right, text)
    if write and new != text:
        with open(os.path.join(root, page), 'w', encoding='utf-8') as f:
            f.write(new)
    return len(MARK.findall(text))


# ---- names ---------------------------------------------------------------------------------------

def code_of(text):
    """The pieces in code type of a page, and the lines of its blocks."""
    blocks = re.findall(r'^```\w*\n(.*?)^```', text, re.M | re.S)
    inline = re.findall(r'`([^`\n]+)`', re.sub(r'^```.*?^```', '', text, flags=re.M | re.S))
    return inline, blocks


def check_paths(root, page, names, errors):
    text, seen = read(root, page), 0
    here = os.path.dirname(page)
    for target in re.findall(r'\]\(([^)#\s]+)[^)]*\)', text):
        if '://' in target:
            continue
        seen += 1
        if not os.path.exists(os.path.join(root, here, target)):
            errors.append(f'{page}: links to {target}, which is not there')
    if page in PATHS_FREE:
        return seen
    for word in code_of(text)[0]:
        m = re.match(r'((?:%s)/[\w./*+-]*)$' % '|'.join(FOLDERS), word)
        if m:
            seen += 1
            path = m.group(1)
            at = [os.path.join(root, path), os.path.join(root, here, path)]
            if not any(glob.glob(a) for a in at) and not PLACEHOLDER.search(path):
                errors.append(f'{page}: {word} is not there')
        elif re.match(r'[\w-]+\.\w+$', word) and word.endswith(SOURCES):
            seen += 1
            if word not in names and not PLACEHOLDER.search(word):
                errors.append(f'{page}: no file is called {word}')
    return seen


def check_names(root, page, known, errors):
    """Functions and other names with an underscore that stand in code type."""
    seen = 0
    for word in code_of(read(root, page))[0]:
        word = re.sub(r'[\w./*-]*(/|\.[chS]\b|\.py\b|\.md\b|\.txt\b)[\w./*-]*', ' ', word)
        for name in re.findall(r'\b([A-Za-z_]\w+)\(\)|\b([a-z]\w*_\w*[a-z0-9])\b(?!\*)', word):
            name = name[0] or name[1]
            seen += 1
            if name not in known and name not in FOREIGN:
                errors.append(f'{page}: {name} is nowhere in the sources')
    return seen


def check_comments(root, path, errors):
    """Files that a comment of a source names by their whole path."""
    rel = os.path.relpath(path, root)
    for word in re.findall(r'(?<![\w/.-])(?:%s)/[\w./-]+\.(?:c|h|py|md|scn|S|txt)\b'
                           % '|'.join(FOLDERS), read(path)):
        if not os.path.exists(os.path.join(root, word)):
            errors.append(f'{rel}: names {word}, which is not there')


def sources(root):
    for folder in FOLDERS:
        for d, _, found in sorted(os.walk(os.path.join(root, folder))):
            for name in sorted(found):
                yield os.path.join(d, name)


# ---- tunables ------------------------------------------------------------------------------------

VALUES = {'NOBODY': -1, 'INT32_MIN': -2**31, 'INT32_MAX': 2**31 - 1, 'INT64_MIN': -2**63,
          'INT64_MAX': 2**63 - 1, 'KB_MAX': 2**53 - 1, 'MAX_NR_ZONES': 4, 'OVERCOMMIT_GUESS': 0,
          'OVERCOMMIT_NEVER': 2, 'CAP_SYS_RAWIO': 17}


def value(word):
    return VALUES[word] if word in VALUES else int(word, 0)


def tunables(root):
    text = read(root, 'mm/base/sysctl.c')
    return re.findall(r'\{ \{ "([\w-]+)",\s*"([^"]*)",\s*(0\d+), (\w+), (\w+), (\w+), (\w+), '
                      r'\{ ([^}]*) \} \},', text)


def tunable_rows(root):
    for name, text, mode, _, cap, low, high, initial in tunables(root):
        lo, hi = value(low), value(high)
        if mode == '0200' and lo < 0:
            takes = 'anything'
        elif hi >= 2**31 - 1:
            takes = 'any number' if lo < 0 else f'from {lo}'
        else:
            takes = f'{lo} to {hi}'
        rights = mode if cap == 'NOBODY' else f'{mode}, {cap}'
        default = ' '.join(str(value(v)) for v in initial.split(', '))
        if mode == '0200':
            default = '–'
        elif 'at the start the' in text:
            default = 'computed'
        yield f'| `{name}` | {rights} | {default} | {takes} | {text} |'


def check_tunables(root, errors):
    rows = list(tunable_rows(root))
    have = [line for line in read(root, 'docs/sysctl.md').split('\n') if line.startswith('| `')]
    if len(rows) != len(re.findall(r'^\t\{ \{ "', read(root, 'mm/base/sysctl.c'), re.M)):
        errors.append('mm/base/sysctl.c: a row of vm_tunables[] cannot be read')
    for row in rows:
        if row not in have:
            errors.append(f'docs/sysctl.md: lacks, or has otherwise: {row}')
    for row in have:
        if row not in rows:
            errors.append(f'docs/sysctl.md: is not in mm/base/sysctl.c: {row}')
    return len(rows)


# ---- contracts -----------------------------------------------------------------------------------

def check_contracts(root, errors):
    """What a contract's header declares has its row on the contract's page."""
    for header, page, prefix in (('arch/hal.h', 'docs/hal.md', '(?:hal|arch)_'),
                                 ('include/quire/os.h', 'docs/os.md', 'os_')):
        text = read(root, page)
        for name in sorted(set(re.findall(r'\b(%s\w+)\s*\(' % prefix,
                                          without_comments(read(root, header))))):
            if not re.search(r'\b%s\b' % name, text):
                errors.append(f'{page}: lacks {name} of {header}')


# ---- rooms ---------------------------------------------------------------------------------------

def rooms(root):
    return re.findall(r"'(\w+)'", re.search(r'mm_rooms = \[(.*?)\]', read(root, 'mm/meson.build'),
                                            re.S).group(1))


def names_all(root, page, folder, errors):
    text = read(root, page)
    top = os.path.join(root, folder)
    for d, _, names in sorted(os.walk(top)):
        for name in sorted(os.path.relpath(os.path.join(d, n), top) for n in names):
            if name.endswith(('.c', '.h')) and f'`{name}`' not in text:
                errors.append(f'{page}: does not name {name}')


def check_rooms(root, errors):
    order = rooms(root)
    page = read(root, 'docs/architecture.md')
    told = re.findall(r'^\| `mm/(\w+)/` ', page, re.M)
    if told != order:
        errors.append(f'docs/architecture.md: rooms {told}, but mm/meson.build has {order}')
    told = re.findall(r'^\| \[`(\w+)/`\]', read(root, 'mm/README.md'), re.M)
    if told != order:
        errors.append(f'mm/README.md: rooms {told}, but mm/meson.build has {order}')
    for room in order:
        path = os.path.join(root, 'mm', room, 'README.md')
        if not os.path.exists(path):
            errors.append(f'mm/{room}/README.md: is not there')
            continue
        names_all(root, f'mm/{room}/README.md', f'mm/{room}', errors)
    names_all(root, 'docs/kernel.md', 'kernel', errors)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--write', action='store_true', help='put the counts right')
    ap.add_argument('--sysctl', action='store_true', help='print the rows of docs/sysctl.md')
    ap.add_argument('root', nargs='?', default=os.path.join(os.path.dirname(__file__), '..'))
    args = ap.parse_args()
    root, errors = args.root, []
    if args.sysctl:
        print('\n'.join(tunable_rows(root)))
        return 0
    pages = sorted(os.path.relpath(p, root) for p in
                   [os.path.join(root, 'README.md'), os.path.join(root, 'README.zh.md')] +
                   [p for f in FOLDERS for p in glob.glob(os.path.join(root, f, '**/*.md'),
                                                          recursive=True)] if os.path.exists(p))
    names, known = set(), set()
    for path in sources(root):
        names.add(os.path.basename(path))
        if path.endswith(SOURCES) and not path.endswith('check_docs.py'):
            text = read(path)
            text = without_comments(text) if path.endswith(('.c', '.h')) else text
            known.update(re.findall(r'[A-Za-z_]\w+', text))
        if path.endswith(('.c', '.h', '.S')):
            check_comments(root, path, errors)
    known.update(re.findall(r'[A-Za-z_]\w+', read(root, 'meson_options.txt') + read(root, 'meson.build')))
    counts = sum(check_counts(root, p, args.write, errors) for p in pages)
    paths = sum(check_paths(root, p, names, errors) for p in pages)
    functions = sum(check_names(root, p, known, errors) for p in pages if p not in PATHS_FREE)
    rows = check_tunables(root, errors)
    check_contracts(root, errors)
    check_rooms(root, errors)
    for e in errors:
        print(e, file=sys.stderr)
    print(f'{len(pages)} pages: {counts} counts, {paths} paths, {functions} names, '
          f'{rows} tunables; {len(errors)} errors')
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
