#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the rooms of mm/ to their order: no room includes, or uses a name of, one above it.

The order is mm_rooms of mm/meson.build. What a room asks of one above is declared in its own hooks.h
and listed in HOOKS with its reason. Names are read from the objects of an archive, so that a call
hidden in a macro or an inline function is seen as well.
"""
import argparse
import os
import re
import subprocess
import sys

HOOKS = {
    # (room that calls, name): why the call goes upward
    ('lru', 'anon_page_space'): 'whose a page is, for lists by space: the reverse map knows',
    ('phys', 'try_to_compact_pages'): 'a request for a block waits for pages to be moved',
    ('phys', 'compaction_defer_reset'): 'only the allocator knows that the block was there',
    ('phys', 'try_to_free_pages'): 'direct reclaim: who holds pages is known above',
    ('phys', 'zone_reclaimable_pages'): 'whether another round of reclaim could bring the page',
    ('phys', 'out_of_memory'): 'the last resort of a request',
    ('phys', 'wakeup_kswapd'): 'background reclaim starts where the low mark is seen to be missed',
    ('phys', 'kswapd_is_running'): 'marks are boosted only where somebody lowers them again',
    ('object', 'filemap_map_one'): 'fault-around: the cache walks its tree, the fault fills entries',
    ('object', 'handle_userfault'): 'a page of shared memory that a program fills',
    ('object', 'unmap_mapping_range'): 'a truncated page leaves every space first',
    ('object', 'page_mkclean'): 'what is written back is written by nobody meanwhile: the reverse map knows who could',
    ('space', 'handle_mm_fault'): 'populate and mlock fault pages in',
    ('space', 'pageout_range'): 'MADV_PAGEOUT',
}
MOST_HOOKS = 14     # a hook more wants a reason as good as the others'

# What else may be included, by prefix: contracts and lib/ below, never a machine, kernel/ or a test.
BELOW = ('lib/', 'arch/hal.h', 'arch/hal_types.h', 'quire/', 'pte.h', 'cpu.h', 'std')
LIB_BELOW = ('lib/', 'arch/hal.h', 'arch/hal_types.h', 'quire/', 'std')
DRIVERS_BELOW = ('drivers/', 'lib/', 'arch/hal.h', 'arch/hal_kernel.h', 'quire/', 'std')


def room_order(root):
    with open(os.path.join(root, 'mm', 'meson.build'), encoding='utf-8') as f:
        m = re.search(r'mm_rooms = \[(.*?)\]', f.read(), re.S)
    return re.findall(r"'(\w+)'", m.group(1))


def sources(root, folder):
    for d, _, files in sorted(os.walk(os.path.join(root, folder))):
        for name in sorted(files):
            if name.endswith(('.c', '.h')):
                yield os.path.relpath(os.path.join(d, name), root)


def includes(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        for n, line in enumerate(f, 1):
            m = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
            if m:
                yield n, m.group(1)


def check_includes(root, order, errors):
    seen = 0
    for path in sources(root, 'mm'):
        parts = path.split('/')
        if len(parts) != 3 or parts[1] not in order:
            errors.append(f'{path}: lies in no room of mm_rooms (mm/meson.build)')
            continue
        for n, what in includes(root, path):
            seen += 1
            m = re.match(r'mm/(\w+)/', what)
            if m and m.group(1) in order:
                if order.index(m.group(1)) > order.index(parts[1]):
                    errors.append(f'{path}:{n}: {parts[1]} stands below {m.group(1)}, and '
                                  f'includes {what}')
            elif not what.startswith(BELOW):
                errors.append(f'{path}:{n}: the core does not know {what}')
    for folder, below in ('lib', LIB_BELOW), ('drivers', DRIVERS_BELOW):
        for path in sources(root, folder):
            for n, what in includes(root, path):
                if not what.startswith(below):
                    errors.append(f'{path}:{n}: {folder}/ does not know {what}')
    return seen


def declared_hooks(root, room):
    path = os.path.join(root, 'mm', room, 'hooks.h')
    if not os.path.exists(path):
        return set()
    with open(path, encoding='utf-8') as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    return set(re.findall(r'\b(\w+)\([^;{]*\);', text))


def read_names(archive, order, errors):
    """(defined: name -> room, used: (room, file) -> names) of the archive's objects."""
    r = subprocess.run(['nm', '-A', archive], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       universal_newlines=True)
    if r.returncode:
        errors.append(f'nm {archive}: {r.stderr.strip()}')
    defined, used = {}, {}
    for line in r.stdout.splitlines():
        m = re.search(r'mm_(\w+?)_(\w+)\.c\.o:\s*(?:[0-9a-f]+)?\s+(\w) (\S+)$', line)
        if not m or m.group(1) not in order:
            continue
        room, file, kind, name = m.groups()
        if kind == 'U':
            used.setdefault((room, file), set()).add(name)
        elif kind.isupper():
            defined[name] = room
    return defined, used


def check_names(root, archive, order, errors):
    defined, used = read_names(archive, order, errors)
    called, crossing = set(), 0
    if not defined:
        errors.append(f'{archive}: no objects of mm/ in it')
    for (room, file), names in sorted(used.items()):
        for name in sorted(names):
            home = defined.get(name)
            crossing += home is not None and home != room
            if home is None or order.index(home) <= order.index(room):
                continue
            called.add((room, name))
            if (room, name) not in HOOKS:
                errors.append(f'mm/{room}/{file}.c: uses {name} of {home}, which stands above')
            elif name not in declared_hooks(root, room):
                errors.append(f'mm/{room}/hooks.h: {name} of {home} is not declared there')
    for room, name in sorted(set(HOOKS) - called):
        errors.append(f'check_rooms.py: HOOKS names {name}, which {room} does not call')
    for room in order:
        for name in sorted(declared_hooks(root, room)):
            if (room, name) not in HOOKS:
                errors.append(f'mm/{room}/hooks.h: {name} is not in HOOKS of check_rooms.py')
    return crossing


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('archive', help='an archive that holds the objects of mm/')
    ap.add_argument('root', nargs='?', default=os.path.join(os.path.dirname(__file__), '..'))
    args = ap.parse_args()
    errors = []
    order = room_order(args.root)
    if len(HOOKS) > MOST_HOOKS:
        errors.append(f'check_rooms.py: {len(HOOKS)} hooks, at most {MOST_HOOKS} are allowed')
    seen = check_includes(args.root, order, errors)
    crossing = check_names(args.root, args.archive, order, errors)
    for e in errors:
        print(e)
    print(f'{len(order)} rooms, {seen} includes, {crossing} uses across rooms, {len(HOOKS)} hooks; '
          f'{len(errors)} errors')
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
