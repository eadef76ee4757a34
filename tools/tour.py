#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the pictures of docs/tour/, each from a run of its scenario on the machine in software.

usage: tour.py [--check] [FOLDER]

What is drawn was read out of the run: the records of its trace, and what the monitor said between
the actions (--look). Frames, tables and anon_vmas are named F1, T1, V1 … in the order in which they
are met, and no time is shown, so the same behaviour gives the same bytes. --check only tells which
pictures are no longer what a run gives: exit status 1.
"""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
sys.dont_write_bytecode = True

import machines  # noqa: E402
import trace  # noqa: E402
from common import CannotRun, scratch  # noqa: E402
from svg import MUTED, Picture  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
FOLDER = os.path.join(TOP, 'docs', 'tour')
PAGE = 4096
WIDTH = 760
MOVABLE = 1                     # migratetype of a program's pages


# ---- a run, taken apart ----------------------------------------------------------------------

class Run:
    """One scenario on the host: what each action gave, what the looks showed, the trace by line."""

    def __init__(self, scenario, looks=()):
        path = os.path.join(TOP, 'test', 'scenario', scenario + '.scn')
        folder = scratch('tour')
        try:
            opt = machines.Options(trace_dir=folder, looks=list(looks))
            _, result = next(iter(machines.execute([machines.Subject(path)], 'host', opt)))
            if isinstance(result, CannotRun):
                raise result
            if result.status:
                raise CannotRun(f'{path}: not as expected:\n{result.output}')
            self.records = self._by_line(result.trace_path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.action, self.looks = {}, {}
        self._read(result.output)

    @staticmethod
    def _by_line(path):
        """The records after each line's marker, until the next; 0: before the first."""
        out, line = {0: []}, 0
        for r in trace.read_records(path):
            m = r.type == trace.MARKER and re.match(r'quire: (?:line|only) (\d+)', r.text)
            line = int(m.group(1)) if m else line
            out.setdefault(line, []).append(r)
        return out

    def _read(self, output):
        line, shown = 0, None
        for s in output.splitlines():
            action = re.match(r' *(\d+)  (.*) = (.*)$', s)
            look = re.match(r' +look: (.*)$', s)
            if look:
                shown = self.looks.setdefault(line, {}).setdefault(look.group(1), [])
            elif action:
                line, shown = int(action.group(1)), None
                self.action[line] = (action.group(2), action.group(3))
            elif shown is not None:
                shown.append(s)

    def look(self, line, what):
        """The lines of the look whose command matches what."""
        for command, lines in self.looks.get(line, {}).items():
            if re.fullmatch(what, command):
                return lines
        raise CannotRun(f'there is no look {what} after line {line}')

    def of_type(self, kind, *lines):
        return [r for n in lines for r in self.records.get(n, []) if r.type == kind]


class Names:
    """F1, F2 … for numbers that mean nothing to a reader, in order of first sight."""

    def __init__(self, letter):
        self.letter, self.seen = letter, {}

    def of(self, raw):
        return self.seen.setdefault(raw, f'{self.letter}{len(self.seen) + 1}')


def walk(lines):
    """[(level, index, kind, pfn, flags)] from the root down; the root's own frame comes first."""
    root = int(re.search(r'root pfn (0x\w+)', lines[0]).group(1), 16)
    steps = []
    for s in lines[1:]:
        m = re.match(r'  (\w+)\[(\d+)\] = \w+ (\w+)(?: pfn (0x\w+))?(?: (.*))?$', s)
        pfn = int(m.group(4), 16) if m.group(4) else None
        steps.append((m.group(1), int(m.group(2)), m.group(3), pfn, m.group(5) or ''))
    return root, steps


def leaf(lines):
    """(frame, flags) of the entry that a walk ends in, or None."""
    _, _, kind, pfn, flags = walk(lines)[1][-1]
    return (pfn, flags) if kind == 'leaf' else None


def rights(flags):
    """rw-u accessed dirty … as a reader needs it."""
    return flags.replace(' soft-dirty', '').replace(' special', '')


def page_look(lines):
    """Frame, entries, anon_vma or None, [(address, root frame)] of a look at a page."""
    head = re.match(r'page (0x\w+), .* (\d+) entries,', lines[0])
    anon = re.search(r'anon_vma (0x\w+)', lines[0])
    mapped = [re.match(r'  mapped at (0x\w+).* root pfn (0x\w+)', s).groups() for s in lines[1:]]
    return (int(head.group(1), 16), int(head.group(2)), anon and anon.group(1),
            [(int(a, 16), int(r, 16)) for a, r in mapped])


# ---- 1: page tables --------------------------------------------------------------------------

LEVELS = ['pgd', 'pud', 'pmd', 'pte']
COLUMN = {'pgd': 20, 'pud': 165, 'pmd': 310, 'pte': 455, 'frame': 600}
SLOT, ROW, BOX = 56, 20, 105


class Tables:
    """The tables that lead to some addresses, as a tree: children by table frame and index."""

    def __init__(self, walks):
        self.leaves, self.children, self.level, self.order = [], {}, {}, []
        for address, lines in walks:
            table, steps = walk(lines)
            for level, index, _, pfn, flags in steps:
                self._note(table, level)
                child = (address, pfn, flags) if level == 'pte' else pfn
                self.children[table].setdefault(index, child)
                table = pfn
            self.leaves.append((address, pfn, flags))

    def _note(self, table, level):
        if table not in self.children:
            self.children[table] = {}
            self.level[table] = level
            self.order.append(table)


def _place(tables, top):
    """The middle of each leaf and table: a table stands beside the middle of what it leads to."""
    middle = {x: top + i * SLOT + 20 for i, x in enumerate(tables.leaves)}
    for table in reversed(tables.order):
        of = [middle[c] for c in tables.children[table].values()]
        middle[table] = sum(of) / len(of)
    return middle


def _address_split(p, walks, y):
    """How an address is cut into indices, a row for each address."""
    xs = [175, 265, 355, 445, 535]
    for x, words in zip(xs, ['pgd: 9 bits', 'pud: 9 bits', 'pmd: 9 bits', 'pte: 9 bits', 'offset: 12 bits']):
        p.text(x + 44, y, words, 11, anchor='middle', colour=MUTED)
    for i, (address, lines) in enumerate(walks):
        p.mono(20, y + 22 + i * 22, f'0x{address:x}', 13)
        indices = [str(s[1]) for s in walk(lines)[1]] + [f'0x{address % PAGE:03x}']
        for x, words, colour in zip(xs, indices, ['blue'] * 4 + ['gray']):
            p.label(x, y + 7 + i * 22, 88, 20, words, colour)


def _made(run, last):
    """frame → line of the scenario in which it was taken from the page allocator."""
    out = {}
    for line in range(1, last + 1):
        for r in run.of_type(trace.PAGE_ALLOC, line):
            out[r.w[0]] = line
    return out


def _compare_with_dump(run, tables):
    """The kernel's dump of the live tables at the end must have the same leaves, but for the page
    that was unmapped meanwhile."""
    dump = {r.w[0]: r.w[1] // PAGE for lines in run.records.values() for r in lines
            if r.type == trace.TABLE_LEAF}
    for address, pfn, _ in tables.leaves[:-1]:
        if dump.get(address) != pfn:
            raise CannotRun(f'the walk of 0x{address:x} ends at frame {pfn}, the dump says '
                            f'{dump.get(address)}')


def draw_tables():
    addresses = [1 << 36, (1 << 36) + PAGE, (1 << 36) + 2 * PAGE, (1 << 36) + (2 << 20),
                 (1 << 36) + (1 << 30)]
    run = Run('tour-tables', ['0:sysctl trace_pages 1'] + [f'9:walk % 0x{a:x}' for a in addresses])
    walks = [(a, run.look(9, rf'walk \d+ 0x{a:x}')) for a in addresses]
    tables, made = Tables(walks), _made(run, 9)
    _compare_with_dump(run, tables)
    zero = {r.w[0] for r in run.of_type(trace.MM_FAULT, *range(1, 10))
            if trace.ROWS[r.w[1] & 0xff] == 'zero'}
    p = Picture(WIDTH, 'Five pages and the tables that lead to them',
                'Addresses cut into indices, and the tree of page tables with its used entries.')
    _address_split(p, walks, 58)
    top = 58 + 22 * len(walks) + 60
    for name, words in zip(LEVELS + ['frame'], LEVELS + ['page frame']):
        p.text(COLUMN[name], top - 18, words, bold=True)
    middle, tn, fn = _place(tables, top), Names('T'), Names('F')
    names = {t: tn.of(t) for t in tables.order}
    for t in tables.order:
        _draw_table(p, tables, t, middle, names, made)
    for x in tables.leaves:
        _draw_frame(p, x, middle[x], fn, x[0] in zero, made)
    return p


def _draw_table(p, tables, t, middle, names, made):
    entries = sorted(tables.children[t].items())
    x, h = COLUMN[tables.level[t]], ROW * (len(entries) + 1)
    y = middle[t] - h / 2
    p.box(x, y, BOX, h, 'yellow')
    p.text(x + 6, y + 14, names[t], bold=True)
    p.text(x + BOX - 6, y + 14, f'line {made[t]}' if t in made else 'was there', 10, anchor='end',
           colour=MUTED)
    for i, (index, child) in enumerate(entries):
        ey = y + ROW * (i + 1)
        p.box(x, ey, BOX, ROW)
        p.mono(x + 6, ey + 14, f'[{index}]')
        p.arrow(x + BOX, ey + ROW / 2, _left_of(tables, child), middle[child])


def _left_of(tables, child):
    return COLUMN['frame' if isinstance(child, tuple) else tables.level[child]]


def _draw_frame(p, x, y, names, is_zero, made):
    _, pfn, flags = x
    p.box(COLUMN['frame'], y - 19, 140, 38, 'gray' if is_zero else 'green')
    p.text(COLUMN['frame'] + 6, y - 4, 'the zero page' if is_zero else names.of(pfn), bold=True)
    if pfn in made:
        p.text(COLUMN['frame'] + 134, y - 4, f'line {made[pfn]}', 10, anchor='end', colour=MUTED)
    p.mono(COLUMN['frame'] + 6, y + 13, rights(flags), 10)


# ---- 2: the buddy ----------------------------------------------------------------------------

BAR_X, BAR_W = 20, 720


def _window(frames):
    """The smallest aligned block of frames that holds all of these."""
    order = 0
    while min(frames) >> order != max(frames) >> order:
        order += 1
    return min(frames) >> order << order, 1 << order


def _runs(lines):
    """[(first, n, kind, order or None)] of a look at a range of frames."""
    out = []
    for s in lines:
        m = re.match(r'frames (0x\w+)-0x\w+: (\d+), (.*?)(?:, order (\d+))?$', s)
        out.append((int(m.group(1), 16), int(m.group(2)), m.group(3),
                    int(m.group(4)) if m.group(4) else None))
    return out


def _pieces(runs, ours):
    """Cuts runs of anonymous pages where the scenario's own begin and end."""
    for first, n, kind, order in runs:
        if kind != 'anonymous':
            yield first, n, kind, order
            continue
        at = first
        while at < first + n:
            end = at
            while end < first + n and (end in ours) == (at in ours):
                end += 1
            yield at, end - at, 'ours' if at in ours else 'anonymous', None
            at = end


BUDDY_COLOURS = {'free': 'green', 'ours': 'blue', 'on a per-CPU list': 'yellow', 'anonymous': 'gray',
                 'reserved': 'dark'}


def _draw_bar(p, y, words, runs, ours, base, count):
    p.text(BAR_X, y, words)
    scale = BAR_W / count
    for first, n, kind, order in _pieces(runs, ours):
        x, w = BAR_X + (first - base) * scale, n * scale
        p.box(x, y + 7, w, 30, BUDDY_COLOURS.get(kind, 'gray'), round_=0)
        text = str(order) if kind == 'free' else str(n)
        if w > 7 * len(text) + 2:
            p.mono(x + w / 2, y + 26, text, 11, 'middle', bold=kind == 'free')
    free = [(o, n) for _, n, _, o in runs if o is not None]
    orders = sorted({o for o, _ in free})
    p.text(BAR_X, y + 53, 'free: ' + (', '.join(
        f'{sum(o == q for o, _ in free)} of order {q}' for q in orders) or 'none') +
        f' – {sum(n for _, n in free)} frames', 11, colour=MUTED)


def draw_buddy():
    quiet = ['0:sysctl trace_pages 1', '0:drain']
    first = Run('tour-buddy', quiet)
    ours = {r.w[0] for r in first.of_type(trace.PAGE_ALLOC, 3, 4) if r.w[3] == MOVABLE}
    base, count = _window(ours)
    look = f'frames 0x{base:x} {count}'
    run = Run('tour-buddy', quiet + [f'{n}:{look}' for n in (0, 3, 4, 6)] + ['7:drain', f'7:{look}'])
    p = Picture(WIDTH, f'{count} frames while {len(ours)} of them are taken and come back',
                'Bars of frames: free blocks with their orders, pages in use, pages on per-CPU lists.')
    steps = [(0, 'before the first action'), (3, 'line 3: the first page is written'),
             (4, 'line 4: 63 more pages are written'), (6, 'line 6: all 64 are unmapped'),
             (7, 'afterwards: the per-CPU lists are drained')]
    for i, (line, words) in enumerate(steps):
        _draw_bar(p, 62 + i * 76, words, _runs(run.look(line, look)), ours, base, count)
    p.legend(62 + len(steps) * 76, [('green', 'a free block and its order'), ('blue', 'ours'),
                                    ('yellow', 'on a per-CPU list'), ('gray', 'of others'),
                                    ('dark', 'reserved')])
    return p


# ---- 3: the slab -----------------------------------------------------------------------------

def _cache(lines, size):
    """Name, objects in use, objects a slab, pages a slab of the VMAs' cache."""
    for s in lines:
        m = re.match(r'(vm_area_struct) +(\d+) +\d+ +(\d+) +(\d+) +(\d+) :', s)
        if m and int(m.group(3)) == size:
            return m.group(1), int(m.group(2)), int(m.group(4)), int(m.group(5))
    raise CannotRun(f'no cache of VMAs with objects of {size} bytes')


def _objects(run, lines, slab_bytes, size):
    """What each line took or gave back: (line, object's number, taken?)."""
    out, slabs = [], set()
    for line in lines:
        for r in run.records.get(line, []):
            if r.type == trace.KMEM_CACHE_ALLOC and r.w[2] != size:
                continue
            if r.type in (trace.KMEM_CACHE_ALLOC, trace.KMEM_CACHE_FREE):
                taken = r.type == trace.KMEM_CACHE_ALLOC
                ptr = r.w[1]
                slabs.add(ptr // slab_bytes)
                out.append((line, ptr % slab_bytes // size, taken))
    if len(slabs) != 1:
        raise CannotRun('the objects lie in several slabs; the picture shows one')
    return out


def _area(run, line):
    """@N of the line's mmap or munmap."""
    return re.search(r'\((@\d+)', run.action[line][0]).group(1)


def _strip(p, y, words, n, cells, note):
    p.text(20, y, words)
    w = 720 / n
    for i in range(n):
        colour, text, dashed = cells.get(i, ('gray', '', False))
        p.label(20 + i * w, y + 8, w, 34, text, colour, 11, dashed=dashed)
        p.text(20 + i * w + w / 2, y + 55, i, 10, anchor='middle', colour=MUTED)
    p.text(20, y + 74, note, colour=MUTED)


def _which(events):
    return ', '.join(str(n) for _, n, _ in events)


def draw_slab():
    run = Run('tour-slab', ['0:sysctl trace_kmem 1', '0:slab', '9:slab', '12:slab', '15:slab'])
    size = run.of_type(trace.KMEM_CACHE_ALLOC, 2)[0].w[2]
    name, before, per_slab, pages = _cache(run.look(0, 'slab'), size)
    events = _objects(run, range(2, 16), pages * PAGE, size)
    p = Picture(WIDTH, f'One slab of {name}: {pages * PAGE} bytes, {per_slab} objects of {size} bytes',
                'Three strips of objects: handed out, given back, handed out again.')
    parts = [[e for e in events if a <= e[0] <= b] for a, b in ((2, 9), (10, 12), (13, 15))]
    cells, y = {}, 62
    notes = [(9, 'lines 2 to 9: eight areas are mapped', 'handed out, in this order: objects {}'),
             (12, 'lines 10 to 12: three are unmapped', 'given back, in this order: objects {}'),
             (15, 'lines 13 to 15: three others are mapped',
              'handed out, in this order: objects {} – the last that came back is the first to go')]
    for part, (line, words, note) in zip(parts, notes):
        new = 'green' if line != 15 else 'orange'
        for at, n, taken in part:
            cells[n] = (new, _area(run, at), False) if taken else ('yellow', 'free', True)
        used = _cache(run.look(line, 'slab'), size)[1]
        _strip(p, y, f'{words} ({used} of {per_slab} objects in use)', per_slab, cells,
               note.format(_which(part)))
        y += 104
    p.legend(y - 8, [('green', 'handed out for the area at that page'), ('yellow', 'free again'),
                     ('orange', 'handed out a second time')])
    p.legend(y + 16, [('gray', f'not touched in these lines ({before} of them were in use before)')])
    return p


# ---- 4: the VMA tree and its gaps ------------------------------------------------------------

class Node:
    def __init__(self, s, names):
        m = re.match(r'(0x\w+)-(0x\w+) (\w+), gap below (\w+), largest in its subtree (\w+), '
                     r'(?:under (0x\w+)|the root)', s)
        self.start, self.end, self.gap, self.largest = (int(m.group(i), 16) for i in (1, 2, 4, 5))
        self.red = m.group(3) == 'red'
        self.parent = int(m.group(6), 16) if m.group(6) else None
        self.name = names.get(self.start, '')


def _pages(n):
    if n >= 1 << 40:
        return f'{n >> 40} TiB'
    if n >= 1 << 30:
        return f'{n >> 30} GiB'
    return f'{n // PAGE:,} page' + ('s' if n != PAGE else '') if n < 64 << 20 else f'{n >> 20:,} MiB'


def _area_names(run, lines):
    """start → name bound in the scenario, from the trace's mmap events."""
    out = {}
    for line in lines:
        m = re.match(r'(\w+) = mmap', run.action[line][0])
        for r in run.of_type(trace.MMAP, line):
            if m:
                out[r.w[0]] = m.group(1)
    return out


def _depth(nodes, node):
    by_start = {n.start: n for n in nodes}
    d = 0
    while node.parent is not None:
        node, d = by_start[node.parent], d + 1
    return d


def _draw_node(p, n, x, y):
    p.box(x - 56, y, 112, 62, 'red' if n.red else 'dark')
    p.text(x, y + 16, n.name, anchor='middle', bold=True)
    p.text(x, y + 30, _pages(n.end - n.start), 10, anchor='middle')
    p.text(x, y + 43, f'gap {_pages(n.gap)}' if n.gap else 'no gap', 10, anchor='middle')
    p.text(x, y + 56, f'largest {_pages(n.largest)}', 10, anchor='middle', bold=True)


def _draw_line_of_areas(p, y, words, nodes, fresh=()):
    """The areas from low to high, not to scale; between them the gaps."""
    p.text(20, y, words)
    slot = 720 / len(nodes)
    for i, n in enumerate(nodes):
        x = 20 + i * slot
        if n.gap:
            p.text(x + slot * 0.26, y + 25, _pages(n.gap), 9 if slot > 90 else 8, anchor='middle',
                   colour=MUTED)
            p.line(x + 3, y + 31, x + slot * 0.52 - 3, y + 31)
        p.label(x + slot * 0.52, y + 10, slot * 0.48, 34, n.name,
                'orange' if n.name in fresh else 'blue', font='sans', size=10)


def draw_vmas():
    run = Run('tour-vmas', ['11:tree %', '14:tree %'])
    names = _area_names(run, range(2, 15))
    nodes = [Node(s, names) for s in run.look(11, r'tree \d+')]
    nodes[0].name, nodes[-1].name = 'runner', 'stack'
    after = [Node(s, names) for s in run.look(14, r'tree \d+')]
    after[0].name, after[-1].name = 'runner', 'stack'
    p = Picture(WIDTH, 'The areas of a process, and the same as a tree that knows its gaps',
                'A row of areas with gaps, the red-black tree of them, and the row after three mmaps.')
    _draw_line_of_areas(p, 62, 'line 11: areas from low to high addresses (not to scale), and the gaps '
                        'below them', nodes)
    slot = 720 / len(nodes)
    place = {n.start: (20 + (i + 0.5) * slot, 142 + 92 * _depth(nodes, n)) for i, n in enumerate(nodes)}
    for n in nodes:
        if n.parent is not None:
            x, y = place[n.parent]
            p.line(x, y + 62, place[n.start][0], place[n.start][1])
    for n in nodes:
        _draw_node(p, n, *place[n.start])
    y = 142 + 92 * (1 + max(_depth(nodes, n) for n in nodes))
    p.legend(y - 10, [('red', 'a red node'), ('dark', 'a black node'),
                      ('orange', 'mapped by lines 12 to 14')])
    _draw_line_of_areas(p, y + 40, 'line 14: after P (1 page), Q (3 pages) and R (2 pages) were mapped', after,
                        'PQR')
    return p


# ---- 5: copy-on-write ------------------------------------------------------------------------

def _draw_entry(p, x, y, who, at):
    """The last-level entry of a process; at: (frame, flags) or None."""
    p.box(x, y, 96, 52, 'yellow' if at else 'gray', dashed=not at)
    p.text(x + 48, y + 15, who, anchor='middle', bold=True)
    if at:
        flags = rights(at[1])
        p.mono(x + 48, y + 31, flags.split(' ')[0], 13, 'middle')
        p.text(x + 48, y + 45, ', '.join(flags.split(' ')[1:]), 9, anchor='middle', colour=MUTED)
    else:
        p.text(x + 48, y + 34, 'not there yet', 10, anchor='middle', colour=MUTED)


def _draw_panel(p, x, y, words, note, entries, frames, names, holds):
    p.box(x, y, 352, 172, 'plain')
    p.text(x + 10, y + 20, words, bold=True)
    p.text(x + 10, y + 162, note, 11, colour=MUTED)
    mine = sorted({at[0] for at in entries.values() if at}, key=lambda f: int(names.of(f)[1:]))
    place = {}
    for i, f in enumerate(mine):
        fy = y + (62 if len(mine) == 1 else 36 + 56 * i)
        place[f] = fy + 24
        p.box(x + 128, fy, 96, 48, 'green')
        p.text(x + 176, fy + 19, f'{names.of(f)} holds {holds[f]}', anchor='middle', bold=True)
        p.text(x + 176, fy + 36, f'entries: {frames[f]}', 10, anchor='middle')
    for who, left in (('parent', True), ('child', False)):
        ex = x + 10 if left else x + 246
        _draw_entry(p, ex, y + 60, who, entries[who])
        if entries[who]:
            fy = place[entries[who][0]]
            p.arrow(ex + 96 if left else ex, y + 86, x + 128 if left else x + 224, fy)


COW_STEPS = [(3, 'line 3: the parent writes 7'), (4, 'line 4: fork'), (7, 'line 7: the child writes 9'),
             (9, 'line 9: the parent writes 8')]


def _rows(run, line):
    """What the trace says of the faults of a line."""
    rows = [trace.ROWS[r.w[1] & 0xff] for r in run.of_type(trace.MM_FAULT, line)
            if trace.ARENA[0] <= r.w[0] < trace.ARENA[1]]
    return 'fault: ' + ', '.join(rows) if rows else 'no fault'


def draw_cow():
    looks = [f'{n}:{what} {who} @0' for n, _ in COW_STEPS for who in ('%', '%child')
             for what in ('walk', 'page') if n > 3 or who == '%']
    run = Run('tour-cow', looks)
    p = Picture(WIDTH, 'One page, two processes: shared until one of them writes',
                'Four panels with the entries of parent and child and the frames that they name.')
    names, holds, pid = Names('F'), {}, {}
    for i, (line, words) in enumerate(COW_STEPS):
        entries, frames = {'parent': None, 'child': None}, {}
        for command, lines in run.looks[line].items():
            what, number, _ = command.split(' ')
            who = pid.setdefault(number, 'parent' if not pid else 'child')
            if what == 'walk':
                entries[who] = leaf(lines)
            else:
                frame, count, _, _ = page_look(lines)
                frames[frame] = count
        stored = re.match(r'(?:(child): )?store\(A, (\d+)\)', run.action[line][0])
        if stored:
            holds[entries[stored.group(1) or 'parent'][0]] = stored.group(2)
        for who in ('parent', 'child'):
            if entries[who]:
                names.of(entries[who][0])
        _draw_panel(p, 20 + 368 * (i % 2), 48 + 188 * (i // 2), words, _rows(run, line), entries, frames,
                    names, holds)
    return p


# ---- 6: the reverse map ----------------------------------------------------------------------

class Vma:
    """A look at a VMA: its anon_vmas, or its file."""

    def __init__(self, who, name, root, lines):
        m = re.match(r'vma (0x\w+)-(0x\w+)', lines[0])
        self.who, self.name, self.root = who, name, root
        self.start, self.end = int(m.group(1), 16), int(m.group(2), 16)
        self.links = [x.group(1) for x in map(re.compile(r'  linked to anon_vma (0x\w+)').match, lines)
                      if x]
        self.file = any(s.startswith('  file ') for s in lines)


RMAP_LINE = 14
RMAP_AREAS = [('A', 0), ('B', 16), ('C', 32)]


def _rmap_run():
    looks = [f'{RMAP_LINE}:{what}' for who in ('%', '%child') for n in (0, 16, 32)
             for what in (f'vma {who} @{n}', f'walk {who} @{n}')]
    looks += [f'{RMAP_LINE}:page {w}' for w in ('% @0', '%child @0', '% @17')]
    run = Run('tour-rmap', looks)
    vmas, pages = [], []
    pids = []
    for command, lines in run.looks[RMAP_LINE].items():
        what, pid, address = command.split(' ')
        pids += [pid] if pid not in pids else []
        who = ['parent', 'child'][pids.index(pid)]
        if what == 'vma':
            name = {n: a for a, n in RMAP_AREAS}[(int(address, 16) - trace.ARENA[0]) // PAGE]
            vmas.append(Vma(who, name, None, lines))
        elif what == 'walk':
            vmas[-1].root = walk(lines)[0]
        else:
            pages.append(page_look(lines))
    return vmas, pages


def draw_rmap():
    vmas, pages = _rmap_run()
    p = Picture(WIDTH, 'From a page to every entry that names it',
                'Pages, the anon_vmas and the file that know their areas, the areas, and the entries.')
    for x, words in ((20, 'page frame'), (180, 'knows who may map it'), (390, 'areas (VMAs)'),
                     (600, 'page table entry')):
        p.text(x, 62, words, bold=True)
    anon = [v for v in vmas if v.links]
    files = [v for v in vmas if v.file]
    vma_y = {id(v): 78 + 58 * i for i, v in enumerate(anon + files)}
    keys = Names('V')
    hubs = {}
    for _, _, av, _ in pages:
        key = av or 'file'
        members = [v for v in vmas if (v.file if key == 'file' else key in v.links)]
        hubs.setdefault(key, (keys.of(key) if av else None, members))
    fn = Names('F')
    taken = 78
    for frame, count, av, mapped in pages:
        name, members = hubs[av or 'file']
        middle = sum(vma_y[id(v)] + 21 for v in members) / len(members)
        middle = max(middle, taken + 21)
        taken = middle + 37
        p.box(20, middle - 21, 110, 42, 'green')
        p.text(75, middle - 4, fn.of(frame), anchor='middle', bold=True)
        p.text(75, middle + 12, f'entries: {count}', 10, anchor='middle')
        p.label(180, middle - 21, 130, 42, f'anon_vma {name}' if name else 'the file: page 1',
                'purple' if name else 'orange', font='sans')
        p.arrow(130, middle, 180, middle)
        for v in members:
            y = vma_y[id(v)] + 21
            hit = [a for a, root in mapped if root == v.root and v.start <= a < v.end]
            p.arrow(310, middle, 390, y, dashed=not hit)
            for a in hit:
                p.arrow(540, y, 600, y)
                p.label(600, y - 18, 140, 36, f'{v.who} @{(a - trace.ARENA[0]) // PAGE} → {fn.of(frame)}',
                        'yellow', font='sans', size=11)
    for v in anon + files:
        y = vma_y[id(v)]
        p.box(390, y, 150, 42, 'blue')
        p.text(465, y + 17, f'{v.who}: {v.name}', anchor='middle', bold=True)
        p.text(465, y + 33, f'pages @{(v.start - trace.ARENA[0]) // PAGE} to '
               f'@{(v.end - trace.ARENA[0]) // PAGE - 1}', 10, anchor='middle')
    y = max(vma_y.values()) + 66
    p.text(20, y, 'full arrow: the area has an entry with this frame; dashed: the walk looks there, and '
           'finds none', 11, colour=MUTED)
    return p


# ---- all of them -----------------------------------------------------------------------------

PICTURES = {'tables': draw_tables, 'buddy': draw_buddy, 'slab': draw_slab, 'vmas': draw_vmas,
            'cow': draw_cow, 'rmap': draw_rmap}


def stale(folder=FOLDER):
    """The pictures that are not what a run gives: their names."""
    out = []
    for name, draw in PICTURES.items():
        path = os.path.join(folder, name + '.svg')
        drawn = draw().svg()
        if not os.path.exists(path) or open(path, encoding='utf-8').read() != drawn:
            out.append(name)
    return out


def main(argv):
    check = argv[:1] == ['--check']
    folder = argv[check] if len(argv) > check else FOLDER
    if check:
        bad = stale(folder)
        for name in bad:
            print(f'{folder}/{name}.svg is not what a run gives; tools/tour.py draws it again')
        return bool(bad)
    os.makedirs(folder, exist_ok=True)
    for name, draw in PICTURES.items():
        with open(os.path.join(folder, name + '.svg'), 'w', encoding='utf-8') as f:
            f.write(draw().svg())
        print(f'{folder}/{name}.svg')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except CannotRun as e:
        print(f'tour: {e}', file=sys.stderr)
        sys.exit(2)
