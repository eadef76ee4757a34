# SPDX-License-Identifier: MIT
"""./quire simulate: the front of tools/simulate/, which runs page-replacement policies over traces.

A trace is made from a pattern, by name or in the words of docs/policy.md, or from a recording: of
that, its faults are the touches, for nothing else is recorded; a page that stays mapped is touched
once. docs/policy.md has what the policies are and what came out.
"""
import json
import os
import re
import shutil
import subprocess
import threading

import build
import recording
from common import CannotRun, DIFFERENT, OK, Progress, build_folder, scratch

FRAMES = 16333

# name: (pattern, what it is). M: MiB.
ROWS = {
    'in-order': ('3*order:64M', 'three processes, once more in order'),
    'random': ('3*random:64M', 'three processes, any page, as often as they have pages'),
    'zipf': ('3*zipf:64M', 'the same, the page by the product of three uniform numbers'),
    'window': ('3*windowx32:64M', 'a window of a quarter, moved by an eighth after 8 passes'),
    'hot-scan': ('3*hotscanx2:64M', 'a hot twelfth and a scan by turns'),
    'idle-zipf': ('idle:48M:first+zipfx4:48M', 'one fills and sleeps, another works'),
    'idle-order': ('idle:48M:first+orderx5:48M', 'the same, the other one in order'),
}
MIXES = {
    'loop': ('orderx8:72M', 'one loop, a little larger than memory'),
    'loop-scan': ('orderx24:50M:exit+orderx6:200M:exit', 'a loop that fits beside a larger one'),
    'loops-16': ('+'.join(f'orderx6:{i}M' for i in range(4, 20)), '16 loops of 4 to 19 MiB'),
    'zipf-16': ('16*zipfx4:12M', '16 small Zipf ones'),
    'window-1': ('windowx64:192M', 'one window that moves'),
    'window-8': ('8*windowx64:32M', '8 of them, together as large as memory'),
    'order-zipf': ('3*orderx3/zipfx3:64M', 'in order first, then Zipf'),
    'zipf-order': ('3*zipfx3/orderx3:64M', 'Zipf first, then in order'),
    'loop-zipf': ('orderx6:100M:exit+zipfx6:100M:exit', 'a loop beside Zipf'),
    'random-order': ('randomx4:100M:exit+orderx4:100M:exit', 'any page beside in order'),
    'sleep-zipf': ('idle:48M+zipfx4:48M', 'as idle-zipf, but both fill together'),
    'sleep-order': ('idle:48M+orderx5:48M', 'as idle-order, but both fill together'),
    'window-scan': ('windowx64:100M:exit+orderx4:100M:exit', 'a window beside a scan'),
}
SIZES = {1: (190,), 4: (19, 38, 57, 76), 16: range(4, 20)}
UNEVEN = {f'{name}-uneven-{n}': ('+'.join(f'{work}:{i}M:exit' for i in SIZES[n]),
                                 f'{n} processes of {SIZES[n][0]} to {SIZES[n][-1]} MiB' if n > 1 else
                                 f'one process of {SIZES[n][0]} MiB')
          for name, work in (('in-order', 'orderx3'), ('random', 'randomx2'), ('zipf', 'zipfx2'),
                             ('window', 'windowx32'))
          for n in SIZES}
GROUPS = {'rows': ROWS, 'mixes': MIXES, 'uneven': UNEVEN}
PATTERNS = {**ROWS, **MIXES, **UNEVEN}


def program():
    return os.path.join(build_folder('host'), 'tools', 'simulate', 'quire-simulate')


def policies():
    """The simulator's own list: {name: what it is}."""
    out = subprocess.run([program(), '-l'], stdout=subprocess.PIPE, check=True).stdout.decode()
    return dict(line.split('\t') for line in out.splitlines())


def pattern_text(text):
    """Sizes in MiB as pages of 4 KiB."""
    return re.sub(r':(\d+)M\b', lambda m: f':{int(m.group(1)) * 256}', text)


# ---- recordings ------------------------------------------------------------------------------

WRITE = 2  # of a fault's code
MAP_ANONYMOUS = 0x20
MADV_DONTNEED = 4


class Touches:
    """The touches of a recording, page by page. A fault on a file's page is one of that page,
    unless it writes to a private mapping; any other page belongs to the space that it is in."""

    def __init__(self, rec):
        self.rec = rec
        self.lines, self.numbers, self.pages = [], {}, 0
        self.now, self.program = 1, {}     # the process that runs; how often each has called exec
        self.areas, self.open_files = {1: []}, {}

    def page(self, key):
        if key not in self.numbers:
            self.numbers[key] = self.pages
            self.pages += 1
        return self.numbers[key]

    def file_page(self, address, code):
        """(file, page) if the newest mapping there is a file's that this access goes to."""
        for start, end, file, offset, shared in reversed(self.areas[self.now]):
            if start <= address < end:
                if not file or (code & WRITE and not shared):
                    return None
                return file, (address - start + offset) >> 12
        return None

    def fault(self, address, code):
        file = self.file_page(address, code)
        key = file or self.own(address >> 12)
        self.lines.append(f'{"f" if file else "a"} {self.now - 1} {self.page(key)}')

    def call(self, name, args, result, file):
        if name == 'mmap' and result < 1 << 63:
            offset = args[5] if len(args) > 5 else 0
            shared = len(args) > 3 and args[3] & 1
            if len(args) > 3 and args[3] & MAP_ANONYMOUS:
                file = 0
            self.areas[self.now].append((result, result + args[1], self.open_files.get(file, 0),
                                         offset, shared))
            self.drop(result, args[1])
        elif name == 'munmap' and result == 0:
            self.areas[self.now].append((args[0], args[0] + args[1], 0, 0, False))
            self.drop(args[0], args[1])
        elif name == 'madvise' and result == 0 and args[2] == MADV_DONTNEED:
            self.drop(args[0], args[1])

    def drop(self, start, length):
        """The contents of these pages of the space are gone."""
        for at in range(start >> 12, (start + length + 4095) >> 12):
            page = self.numbers.pop(self.own(at), None)
            if page is not None:
                self.lines.append(f'd {self.now - 1} {page}')

    def own(self, at):
        return 'space', self.now, self.program.get(self.now, 0), at

    def space_ends(self):
        self.lines.append(f'x {self.now - 1} 0')
        self.areas[self.now] = []

    def event(self, e):
        kind = e[0]
        if kind == 'p':
            self.now = e[1]
        elif kind in 'uk':
            self.fault(e[1], e[2])
        elif kind == 'c':
            self.call(*e[1:])
        elif kind == 'm':
            a = e[1]
            self.areas[self.now].append((a.start, a.end, a.file, a.offset, a.perms[3] == 's'))
        elif kind == 'o':
            self.open_files[e[1]] = e[2]
        elif kind == 'a':
            for i in range(e[2], e[3] + 1):
                self.lines.append(f'f {self.now - 1} {self.page((e[1], i))}')
        elif kind == 'f':
            self.areas[e[1]] = list(self.areas[self.now])
        elif kind == 'x':
            self.space_ends()
            self.program[self.now] = self.program.get(self.now, 0) + 1
        elif kind == 'e':
            self.space_ends()

    def write(self, path):
        for e in self.rec.events:
            self.event(e)
        with open(path, 'w', encoding='ascii') as f:
            f.write('quire-touches 1\n' + ''.join(line + '\n' for line in self.lines))
        return self.pages


# ---- running ---------------------------------------------------------------------------------

class Run:
    """One pattern or recording with what it takes to simulate it."""

    def __init__(self, what, args, folder):
        self.name, self.frames = what, args.frames or FRAMES
        if what in PATTERNS:
            self.source = ['-p', pattern_text(PATTERNS[what][0])]
        elif os.path.exists(what):
            path = os.path.join(folder, f'{len(os.listdir(folder))}.touches')
            pages = Touches(recording.read(what)).write(path)
            self.source = ['-t', path]
            self.frames = args.frames or max(64, pages // 2)
        elif ':' in what:
            self.source = ['-p', pattern_text(what)]
        else:
            raise CannotRun(f'simulate: {what}: no such pattern, group or recording '
                            '(--list shows the patterns)')
        self.options = ['-f', str(self.frames), '-b', str(args.batch), '-s', str(args.seed),
                        '-q', str(args.quantum), '-F', str(args.fill), '-T', str(args.tlb), '-v',
                        *(['-c', '4999'] if args.check else [])]

    def results(self, names):
        """[a policy's result], in the order of names."""
        argv = [program(), *self.options, ','.join(names), *self.source]
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        errors, out = [], []
        reader = threading.Thread(target=lambda: out.append(p.stdout.read()))
        reader.start()
        progress, done = Progress(self.name), 0
        for line in p.stderr:
            if re.fullmatch(r'\d\.\d+\n', line):
                done += line == '0.000\n'
                progress.update(f'{names[min(done, len(names)) - 1]} {float(line):.0%}')
            else:
                errors.append(line.rstrip())
        reader.join()
        progress.done()
        p.stdout.close()
        p.stderr.close()
        if p.wait() == 1:
            raise Broken('\n'.join(errors))
        if p.returncode:
            raise CannotRun('simulate: ' + ('\n'.join(errors) or f'ended with {p.returncode}'))
        return [{'pattern': self.name, **json.loads(line)} for line in out[0].splitlines()]


class Broken(Exception):
    """An invariant of a policy does not hold."""


# ---- tables ----------------------------------------------------------------------------------

def table(head, rows):
    """Lines of a table; the first column is text, the others are numbers."""
    rows = [head, *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = ([r[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(r[1:], widths[1:]))] for r in rows)
    return ['  '.join(line).rstrip() for line in lines]


def looks(result):
    """Entries looked at for each page evicted."""
    return f'{result["looks"] / result["evictions"]:.2f}' if result['evictions'] else '-'


def details(results):
    """One pattern: a line a policy, with each process."""
    one = results[0]
    yield (f'{one["pattern"]}: {one["frames"]:,} frames, {one["pages"]:,} pages, '
           f'{one["accesses"]:,} accesses')
    n = len(one['processes'])
    head = ['policy', 'refaults', *(f'#{i + 1}' for i in range(n) if n > 1), 'looks/eviction']
    yield from table(head, [[r['policy'], f'{r["refaults"]:,}',
                             *(f'{p["refaults"]:,}' for p in r['processes'] if n > 1), looks(r)]
                            for r in results])


def summary(all_results, names):
    yield 'refaults'
    yield from table(['pattern', *names], [[rs[0]['pattern'], *(f'{r["refaults"]:,}' for r in rs)]
                                           for rs in all_results])
    yield ''
    yield 'entries looked at for each page evicted'
    yield from table(['pattern', *names], [[rs[0]['pattern'], *(looks(r) for r in rs)]
                                           for rs in all_results])


def show_list():
    for name, text in policies().items():
        print(f'{name:18} {text}')
    for group, patterns in GROUPS.items():
        print(f'\n{group}:')
        for name, (text, what) in patterns.items():
            print(f'{name:18} {what}: {text if len(text) < 60 else text[:57] + "..."}')


def chosen(args):
    names = args.policy.split(',') if args.policy else list(policies())
    for name in names:
        if name not in policies():
            raise CannotRun(f'simulate: {name}: no such policy (there are {", ".join(policies())})')
    if args.frames and args.frames < 64:
        raise CannotRun(f'simulate: --frames {args.frames}: wants at least 64')
    if args.batch < 1 or args.quantum < 1 or args.fill < 0 or args.seed < 0 or not 0 <= args.tlb <= 1 << 20:
        raise CannotRun('simulate: --batch and --quantum want at least 1, --fill and --seed at '
                        'least 0, --tlb at most 1048576')
    if args.batch > (args.frames or FRAMES) // 2:
        raise CannotRun(f'simulate: --batch {args.batch}: wants at most half of the frames')
    return names


def expand(words):
    for word in words or ['rows']:
        yield from GROUPS.get(word, [word])


def show(args, names, runs):
    done = []
    for run in runs:
        results = run.results(names)
        done.append(results)
        if args.json:
            for r in results:
                print(json.dumps(r), flush=True)
        elif args.processes or len(runs) == 1:
            print('\n'.join([*details(results), '']), flush=True)
    if len(runs) > 1 and not args.json:
        print('\n'.join(summary(done, names)))


def command(args):
    build.build('host', ['tools/simulate/quire-simulate'])
    if args.list:
        show_list()
        return OK
    names = chosen(args)
    folder = scratch('simulate')
    try:
        show(args, names, [Run(what, args, folder) for what in expand(args.what)])
    except Broken as e:
        print(e)
        return DIFFERENT
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return OK
