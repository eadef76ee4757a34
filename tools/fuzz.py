# SPDX-License-Identifier: MIT
"""Random scenarios, compared between machines in bulk (docs/oracle.md).

A seed is a scenario (user/fuzz_gen.c). Every machine runs the seeds of a slice in one boot and
prints a digest for each; where two machines' digests differ, the seed is run again with everything
that was seen, the first operation that differs is named, and the scenario is shrunk to the fewest
operations that still differ and written as an ordinary scenario file.

With --hog each machine is compared with itself: once with memory enough, once while another process
holds free memory at the low mark, so that the scenario's pages are evicted again and again.
"""
import collections
import os
import queue
import re
import subprocess
import threading
import time

import ask
import build
import machines
import oracle
import qemu
from arches import ARCHES
from common import (CANNOT, CannotRun, DIFFERENT, OK, TOP, Progress, bound_to_us,
                    build_folder, say)

# MACHINE:plenty and MACHINE:hog: the same small machine, with a disk to swap to.
PRESSURE = {'plenty': '--answers', 'hog': '--hog'}
PRESSURE_MEM = PRESSURE_SWAP = 64       # MiB
EVICTED = re.compile(r'^E \d+ (\d+)\r?$', re.M)
HOGS = re.compile(r'^H (\d+) (\d+)\r?$', re.M)
DIGEST = re.compile(r'^([DF]) (\d+) ([0-9a-f]+)\r?$', re.M)
ACTION = re.compile(r'(t\d: )?\w+\(.*\) = ')
ALL = (1 << 58) - 1
# machines on which the seeds of one architecture alone mean nothing
NEUTRAL = tuple(a.name for a in ARCHES.values() if not a.own_seeds)


def generation():
    """What digests depend on: the scenarios that seeds stand for, and what is looked at."""
    with open(os.path.join(TOP, 'user', 'fuzz.h')) as f:
        return re.search(r'#define FZ_GENERATION (\d+)', f.read()).group(1)


# ---- one run on one machine ------------------------------------------------------------------

def _on_host(args, cases, seconds, folder, pressure, chance):
    program = os.path.join(build_folder('host'), 'user', 'quire-fuzz-x86_64')
    if pressure:
        args = ['--machine', f'{PRESSURE_MEM},{PRESSURE_SWAP},{chance}', *args]
    if cases is not None:
        path = os.path.join(folder, f'cases-{threading.get_ident()}')
        with open(path, 'w') as f:
            f.write(cases)
        args = args + ['--cases', path]
    try:
        r = subprocess.run([program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=seconds, preexec_fn=bound_to_us())
    except FileNotFoundError:
        raise CannotRun(f'host: {program} was not built') from None
    except subprocess.TimeoutExpired as e:
        return (e.output or b'').decode(errors='replace') + f'\nno end after {seconds} s\n'
    return r.stdout.decode(errors='replace')


def _guest(machine, args, cases):
    native = machine.startswith('linux')
    folder = build_folder('host' if native else machine)
    files = {'/fuzz': os.path.join(folder, 'user', 'fuzz-native' if native else 'fuzz')}
    if cases is not None:
        files['/cases'] = (cases.encode(), 0o644)
        args = args + ['--cases', '/cases']
    return files, args


def _on_oracle(machine, args, cases, seconds, pressure):
    files, args = _guest(machine, args, cases)
    job = oracle.Job('fuzz', ['/fuzz', *args], False, int(seconds))
    # No huge pages: what a run of calls gets of them is left to chance there.
    r = oracle.run_jobs([job], files, machine, PRESSURE_MEM if pressure else oracle.MEM,
                        words=['transparent_hugepage=never'],
                        swap=PRESSURE_SWAP << 20 if pressure else 0)[0]
    text = r.output.decode(errors='replace')
    return text if r.status is not None else text + f'\nno end after {seconds} s\n'


def _on_qemu(machine, args, cases, seconds, pressure):
    files, args = _guest(machine, args, cases)
    out = qemu.run(qemu.Config(machine, '/fuzz', args, files, ['norandmaps'], seconds=seconds,
                               mem=(PRESSURE_MEM if pressure else oracle.MEM) << 20,
                               swap=PRESSURE_SWAP << 20 if pressure else 0))
    return machines.program_output(out.log)


def run_on(machine, args, cases=None, seconds=600, folder='/tmp', chance=1):
    """What the program printed there. cases: lines `SEED MASK` instead of seeds. chance: when tasks
    are pre-empted on the host, under pressure."""
    machine, _, pressure = machine.partition(':')
    if pressure:
        args = [PRESSURE[pressure], *args]
    if machine == 'host':
        return _on_host(args, cases, seconds, folder, pressure, chance)
    if machine.startswith('linux-'):
        return _on_oracle(machine, args, cases, seconds, pressure)
    return _on_qemu(machine, args, cases, seconds, pressure)


def _patiently(machine, args, cases, seconds, folder, chance):
    """A real kernel that does not come up on a busy host is tried again."""
    for tries in range(3 if machine.startswith('linux') else 1, 0, -1):
        try:
            return run_on(machine, args, cases, seconds, folder, chance)
        except CannotRun:
            if tries == 1:
                raise


class Evictions:
    """What memory pressure did: pages written to swap in all, those of the scenarios that were seen
    to be there and later seen to be in swap, hogs that the OOM killer took."""

    def __init__(self, written=0, seen=0, killed=0):
        self.written, self.seen, self.killed = written, seen, killed

    def add(self, text):
        self.seen += sum(map(int, EVICTED.findall(text)))
        for killed, written in HOGS.findall(text):
            self.killed += int(killed)
            self.written += int(written)

    def say(self, seeds):
        return (f'{self.written} pages evicted, {self.written / max(seeds, 1):.1f} a scenario; of its own '
                f'{self.seen / max(seeds, 1):.1f} seen to go; {self.killed} hogs killed')


def digests(machine, first, end, ops, folder='/tmp', evictions=None):
    """Seed -> digest. A machine that dies on a seed goes on behind it; that seed's digest says so.
    evictions: where they are added up."""
    found = {}
    neutral = machine.partition(':')[0] in NEUTRAL
    while first < end:
        args = ['--ops', str(ops), '--seeds', f'{first}:{end}']
        if neutral:
            args.append('--neutral')
        try:
            text = _patiently(machine, args, None, 120 + (end - first) * (60 if ':' in machine else 0.5),
                              folder, first + 1)
        except CannotRun as e:
            if machine.startswith('linux'):
                raise
            text = str(e)
        got = {int(m.group(2)): m.group(3) if m.group(1) == 'D' else f'ended with {m.group(3)}'
               for m in DIGEST.finditer(text)}
        found.update(got)
        if evictions:
            evictions.add(text)
        last = max(got, default=first - 1)
        wanted = [s for s in range(last + 1, end) if not neutral or s % 4 != 3]
        if not wanted:
            break
        found[wanted[0]] = 'died: ' + ' '.join(text.strip().splitlines()[-1:])[:200]
        first = wanted[0] + 1
    return found


# ---- where two machines differ ---------------------------------------------------------------

def _texts(text):
    """Case -> the lines that were seen."""
    out, cur = collections.OrderedDict(), None
    for line in text.splitlines():
        m = re.match(r'S (\d+) seed \d+$', line)
        if m:
            cur = out.setdefault(int(m.group(1)), [])
        elif re.match(r'D \d+ [0-9a-f]{16}$', line):
            cur = None
        elif cur is not None:
            cur.append(line)
    return out


Divergence = collections.namedtuple('Divergence', 'op left right index before')


def first_difference(left, right):
    """The first line in which two texts differ, with the action that it belongs to; or None."""
    at = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))
    if at == len(left) == len(right):
        return None
    op = next((i for i in range(min(at, len(left) - 1), -1, -1) if ACTION.match(left[i])), 0)
    before = next((left[i] for i in range(op - 1, -1, -1) if left[i].startswith('maps:')), '')
    return Divergence(left[op] if left else '', left[at] if at < len(left) else '(nothing)',
                      right[at] if at < len(right) else '(nothing)', at, before)


def _differing(pair, candidates, seed, ops, folder):
    """Which of the masks still make the two machines differ."""
    cases = ''.join(f'{seed} {m:x}\n' for m in candidates)
    left, right = (dict((int(m.group(2)), m.group(3)) for m in DIGEST.finditer(
        run_on(x, ['--ops', str(ops)], cases, 300, folder))) for x in pair)
    return [m for i, m in enumerate(candidates) if left.get(i) != right.get(i)]


def shrink(pair, seed, ops, folder='/tmp', rounds=12):
    """The smallest mask of operations, by taking away what can go, many tries in one boot."""
    mask = (1 << ops) - 1
    for _ in range(rounds):
        bits = [i for i in range(ops) if mask >> i & 1]
        size, tries = len(bits), {mask}
        width = (size + 1) // 2
        while width >= 1:
            for at in range(0, size, width):
                tries.add(mask & ~sum(1 << b for b in bits[at:at + width]))
            width = width // 2
        for keep in range(1, size):     # the end is not needed, or all but the end
            tries.add(sum(1 << b for b in bits[:keep]))
        tries.discard(mask)
        tries.discard(0)
        good = _differing(pair, sorted(tries), seed, ops, folder)
        if not good:
            break
        best = min(good, key=lambda m: bin(m).count('1'))
        single = [m for m in good if bin(mask ^ m).count('1') == 1]
        together = mask
        for m in single:
            together &= m
        mask = best
        if together and bin(together).count('1') < bin(best).count('1') and \
                _differing(pair, [together], seed, ops, folder):
            mask = together
    return mask


# ---- as a scenario file ----------------------------------------------------------------------

PROT = [('PROT_READ', 1), ('PROT_WRITE', 2), ('PROT_EXEC', 4), ('PROT_SEM', 8),
        ('PROT_GROWSDOWN', 1 << 24), ('PROT_GROWSUP', 1 << 25)]
MAP = [('MAP_FIXED', 0x10), ('MAP_ANONYMOUS', 0x20), ('MAP_32BIT', 0x40), ('MAP_GROWSDOWN', 0x100),
       ('MAP_DENYWRITE', 0x800), ('MAP_EXECUTABLE', 0x1000), ('MAP_LOCKED', 0x2000),
       ('MAP_NORESERVE', 0x4000), ('MAP_POPULATE', 0x8000), ('MAP_NONBLOCK', 0x10000),
       ('MAP_STACK', 0x20000), ('MAP_HUGETLB', 0x40000), ('MAP_SYNC', 0x80000),
       ('MAP_FIXED_NOREPLACE', 0x100000)]
MREMAP = [('MREMAP_MAYMOVE', 1), ('MREMAP_FIXED', 2), ('MREMAP_DONTUNMAP', 4)]
ADVICE = {0: 'NORMAL', 1: 'RANDOM', 2: 'SEQUENTIAL', 3: 'WILLNEED', 4: 'DONTNEED', 8: 'FREE',
          9: 'REMOVE', 10: 'DONTFORK', 11: 'DOFORK', 12: 'MERGEABLE', 13: 'UNMERGEABLE',
          14: 'HUGEPAGE', 15: 'NOHUGEPAGE', 16: 'DONTDUMP', 17: 'DODUMP', 18: 'WIPEONFORK',
          19: 'KEEPONFORK', 20: 'COLD', 21: 'PAGEOUT'}


def _flags(text, names, none='0'):
    v = int(text, 0)
    words = [n for n, bit in names if v & bit]
    rest = v & ~sum(bit for _, bit in names)
    if rest or v < 0:
        return text if v < 0 or not words else '|'.join(words + [hex(rest)])
    return '|'.join(words) or none


def _map_flags(text):
    v = int(text, 0)
    kind = {1: 'MAP_SHARED', 2: 'MAP_PRIVATE', 3: 'MAP_SHARED_VALIDATE'}.get(v & 15)
    rest = _flags(hex(v & ~15 if kind else v), MAP)
    return rest if not kind else kind if rest == '0' else f'{kind}|{rest}'


def _length(text):
    v = int(text, 0)
    return f'{v >> 12}p' if v and v % 4096 == 0 and v < 1 << 40 else text


NAMED = {
    'mmap': [None, _length, lambda t: _flags(t, PROT, 'PROT_NONE'), _map_flags],
    'munmap': [None, _length], 'mprotect': [None, _length, lambda t: _flags(t, PROT, 'PROT_NONE')],
    'mremap': [None, _length, _length, lambda t: _flags(t, MREMAP)],
    'madvise': [None, _length, lambda t: 'MADV_' + ADVICE[int(t, 0)] if int(t, 0) in ADVICE else t],
    'mlock': [None, _length], 'munlock': [None, _length], 'mlock2': [None, _length],
    'mlockall': [lambda t: _flags(t, [('MCL_CURRENT', 1), ('MCL_FUTURE', 2), ('MCL_ONFAULT', 4)])],
    'msync': [None, _length], 'mincore': [None, _length],
    'setrlimit': [lambda t: {2: 'RLIMIT_DATA', 3: 'RLIMIT_STACK', 8: 'RLIMIT_MEMLOCK',
                             9: 'RLIMIT_AS'}[int(t, 0)],
                  lambda t: 'RLIM_INFINITY' if t == '-1' else t],
}


def scenario_line(line):
    """A line of the program's text as an action of a scenario, without what came of it."""
    m = re.match(r'((?:t\d: )?)(\w+)\((.*)\) = ', line)
    task, name, args = m.group(1), m.group(2), m.group(3).split(', ') if m.group(3) else []
    if name == 'mremap' and not int(args[3], 0) & 2 and not int(args[3], 0) & 4:
        args = args[:4]
    for i, fn in enumerate(NAMED.get(name, [])):
        if fn and i < len(args) and re.fullmatch(r'-?(0x[0-9a-f]+|\d+)', args[i]):
            args[i] = fn(args[i])
    return f'{task}{name}({", ".join(args)})'


SETUP = ['G = mmap(0, 1p, PROT_NONE, MAP_SHARED|MAP_ANONYMOUS, -1, 0)', 'munmap(G, 33p)',
         'G = mmap(0, 1p, PROT_NONE, MAP_SHARED|MAP_ANONYMOUS, -1, 0)']


def _areas(line):
    """smaps text: address -> (counters, flags)."""
    out = {}
    for m in re.finditer(r'(\S+?)-(?=[@GB0])(\S+?):(\S{4})\S*( \(deleted\))? ([\d,]+), ?([a-z ]*)',
                         line):
        out[m.group(1)] = (m.group(5).split(','), m.group(6).strip())
    return out


def _looks(left, right, task):
    """Scenario lines that look where the two texts differ."""
    fields = ['Rss', 'Pss', 'Shared_Clean', 'Shared_Dirty', 'Private_Clean', 'Private_Dirty',
              'Anonymous', 'Swap', 'Locked']
    out = [f'{task}maps()']
    a, b = _areas(left), _areas(right)
    for start in a:
        if start not in b or a[start] == b[start]:
            continue
        if a[start][1] != b[start][1]:
            out.append(f'{task}vmflags({start})')
        out += [f'{task}smaps({start}, {f})' for f, x, y in zip(fields, a[start][0], b[start][0])
                if x != y]
    if left.startswith('pages:') and right.startswith('pages:'):
        for i, (x, y) in enumerate(zip(left[7:], right[7:])):
            if x != y and x in '0123456789abcdef.' and y in '0123456789abcdef.':
                xv, yv = (int(c, 16) if c != '.' else 0 for c in (x, y))
                out += [f'{task}present(@{i})'] if (xv ^ yv) & 8 else []
                out += [f'{task}softdirty(@{i})'] if (xv ^ yv) & 1 else []
                out += [f'{task}mapcount(@{i})'] if (xv ^ yv) & 2 else []
                break
    return out


def as_scenario(lines, difference, seed):
    """A scenario file, what is expected still to be filled in."""
    ops, seen = [], 0
    for i, line in enumerate(lines[:difference.index + 1]):
        if ACTION.match(line) and 'look()' not in line:
            ops.append(scenario_line(line))
    m = re.match(r't\d: ', difference.op)
    body = ops + (_looks(difference.left, difference.right, m.group(0) if m else '')
                  if not ACTION.match(difference.left) else [])
    text = '\n'.join(body)
    setup = list(SETUP) if re.search(r'\bG[-+,)]|mmap\(0,|MAYMOVE', text) else []
    setup += ['B = brk(0)'] if re.search(r'\bB\b', text) else []
    return '\n'.join([f'# Name: random scenario {seed}', *setup, *body]) + '\n'


def answers(on, what):
    """[(machine, answer)] of a campaign's line about a seed, `MACHINE=ANSWER MACHINE=ANSWER …`."""
    names = '|'.join(re.escape(m) for m in on)
    return re.findall(rf'(?:^| )({names})=(.*?)(?= (?:{names})=|$)', what)


def pair_of(on, what):
    """Two machines that answered a seed differently, a real Linux one of them if it is among those."""
    got = answers(on, what)
    got.sort(key=lambda a: not a[0].startswith('linux-'))
    first = got[0]
    other = next((a for a in got if a[1] != first[1]), None)
    pair = [first[0], other[0]] if other else [got[0][0], got[-1][0]]
    return tuple(sorted(pair, key=on.index))


def _task_size(machine):
    arch = ARCHES.get(machine.partition(':')[0])
    return arch.task_size if arch else ARCHES['x86_64'].task_size


def by_task_size(pair, op):
    """Whether an operation means another thing to the two machines because user space ends elsewhere: a
    number in it lies between both ends."""
    low, high = sorted(map(_task_size, pair))
    return low != high and any(low <= int(n, 16) <= high for n in re.findall(r'0x[0-9a-f]+', op.rpartition(' = ')[0]))


def explained(on, different, ops, folder='/tmp'):
    """Seeds whose first difference is that of the architectures' own ends of user space, with the operation."""
    out, pairs = {}, collections.defaultdict(list)
    for seed, what in different.items():
        pair = pair_of(on, what)
        if len(set(map(_task_size, pair))) > 1 and 'died' not in what:
            pairs[pair].append(seed)
    for pair, seeds in pairs.items():
        cases = ''.join(f'{s} {(1 << ops) - 1:x}\n' for s in seeds)
        left, right = (_texts(run_on(m, ['--ops', str(ops), '--verbose'], cases, 300, folder)) for m in pair)
        for i, seed in enumerate(seeds):
            d = first_difference(left.get(i, []), right.get(i, []))
            if d and by_task_size(pair, d.op):
                out[seed] = d.op
    return out


def examine(pair, seed, ops, folder, found=''):
    """Prints the first operation that differs, the shrunk scenario, and what each machine says."""
    mask = shrink(pair, seed, ops, folder)
    texts = [_texts(run_on(m, ['--ops', str(ops), '--verbose'], f'{seed} {mask:x}\n', 300, folder))
             for m in pair]
    left, right = (t.get(0, []) for t in texts)
    d = first_difference(left, right)
    if not d:
        print(f'seed {seed}: {pair[0]} and {pair[1]} differ only now and then')
        return
    print(f'seed {seed}, operations {mask:x}: {d.op}\n    {pair[0]}: {d.left}\n    {pair[1]}: '
          f'{d.right}')
    text = as_scenario(right if len(right) > d.index else left, d, seed)
    print(''.join('    | ' + s + '\n' for s in text.splitlines()), end='', flush=True)
    if found:
        os.makedirs(found, exist_ok=True)
        path = os.path.join(found, f'seed-{seed}.scn')
        with open(path, 'w') as f:
            f.write(text)
        if any(m.startswith('linux-') for m in pair):
            ask.record([path], next(m for m in pair if m.startswith('linux-')))
        print(f'    written to {path}')


# ---- campaigns -------------------------------------------------------------------------------

class Campaign:
    """Slices of seeds, compared one after the other by a few workers; a file keeps what is done."""

    def __init__(self, on, first, end, ops, progress='', slice_size=500):
        self.on, self.ops, self.path = on, ops, progress
        self.head = f'quire-fuzz 1 generation={generation()} ops={ops} on={",".join(on)}'
        self.lock = threading.Lock()
        self.done, self.different, self.errors = [], {}, []
        self.evictions = Evictions()
        self._read()
        self.todo = queue.Queue()
        self.count = end - first
        for a in range(first, end, slice_size):
            b = min(a + slice_size, end)
            if not any(x <= a and b <= y for x, y in self.done):
                self.todo.put((a, b))
        self.line = Progress('fuzz')

    def _read(self):
        if not self.path or not os.path.exists(self.path):
            return
        with open(self.path) as f:
            lines = f.read().splitlines()
        if lines and lines[0] != self.head:
            raise CannotRun(f'{self.path}: is of another campaign: {lines[0]}')
        for line in lines[1:]:
            w = line.split(None, 2)
            if w[0] == 'done':
                self.done.append((int(w[1]), int(w[2])))
            elif w[0] == 'evicted':
                self.evictions = Evictions(*map(int, ' '.join(w[1:]).split()))
            elif w[0] == 'differs':
                self.different[int(w[1])] = w[2]

    def _note(self, lines):
        if not self.path:
            return
        new = not os.path.exists(self.path) or not os.path.getsize(self.path)
        with open(self.path, 'a') as f:
            f.write(('' if not new else self.head + '\n') + ''.join(s + '\n' for s in lines))

    def _slice(self, a, b):
        evictions = Evictions()
        got = [digests(m, a, b, self.ops, **({'evictions': evictions} if m.endswith(':hog') else {}))
               for m in self.on]
        lines = []
        for seed in range(a, b):
            values = [g[seed] for g in got if seed in g]
            if len(values) > 1 and len(set(values)) > 1:
                what = ' '.join(f'{m}={g[seed]}' for m, g in zip(self.on, got) if seed in g)
                lines.append((seed, what))
        with self.lock:
            self.done.append((a, b))
            self.different.update(lines)
            e = self.evictions
            e.written, e.seen = e.written + evictions.written, e.seen + evictions.seen
            e.killed += evictions.killed
            self._note([f'differs {s} {w}' for s, w in lines] + [f'done {a} {b}'] +
                       ([f'evicted {e.written} {e.seen} {e.killed}'] if e.written else []))
            self.line.update(f'{self.seeds()} seeds, {len(self.different)} differ'
                             + (f', {e.written} evictions' if e.written else ''))

    def seeds(self):
        return sum(y - x for x, y in self.done)

    def _work(self, deadline):
        while not self.errors and (not deadline or time.monotonic() < deadline):
            try:
                a, b = self.todo.get_nowait()
            except queue.Empty:
                return
            try:
                self._slice(a, b)
            except Exception as e:      # told by whoever waits for the workers
                self.errors.append(e)
                return

    def run(self, shards, minutes=0):
        deadline = time.monotonic() + 60 * minutes if minutes else 0
        workers = [threading.Thread(target=self._work, args=(deadline,), daemon=True)
                   for _ in range(shards)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        self.line.done()
        if self.errors:
            raise self.errors[0]
        return self.todo.empty()


def record_digests(path, first, end, ops):
    """Writes what 5.10 says of the seeds, to be compared where its kernel cannot be had."""
    got = digests('linux-5.10', first, end, ops)
    with open(path, 'w') as f:
        f.write(f'quire-fuzz 1 generation={generation()} ops={ops} linux-5.10\n')
        f.writelines(f'{s} {d}\n' for s, d in sorted(got.items()))
    print(f'{path}: {len(got)} digests')
    return OK


def read_digests(path):
    """(operations, seed -> digest) of a recorded file; of this generation only."""
    with open(path) as f:
        head, *lines = f.read().splitlines()
    if f'generation={generation()}' not in head:
        raise CannotRun(f'{path}: was recorded by another generation of the program; record it '
                        'again: ./quire fuzz --record')
    ops = int(re.search(r'ops=(\d+)', head).group(1))
    return ops, {int(s.split()[0]): s.split(None, 1)[1] for s in lines}


def _check_machines(names):
    for n in names:
        if n == 'linux' or n not in machines.MACHINES:
            raise CannotRun(f'fuzz: {n}: wants some of {", ".join([*machines.QUIRES, "linux-5.10"])}')


def _parse_seeds(text):
    m = re.fullmatch(r'(\d+):(\d+)|(\d+)', text)
    if not m:
        raise CannotRun(f'--seeds {text}: wants FIRST:END or one number')
    first, end = (int(m.group(1)), int(m.group(2))) if m.group(1) else \
        (int(m.group(3)), int(m.group(3)) + 1)
    if end <= first:
        raise CannotRun(f'--seeds {text}: the end comes before the beginning')
    return first, end


def command(args):
    on = args.on.split(',')
    _check_machines(on)
    if not 1 <= args.ops <= 58:
        raise CannotRun('--ops: 1 to 58')
    first, end = _parse_seeds(args.seeds)
    build.build_for(on)
    if args.hog:
        on = [f'{m}:{p}' for m in on for p in PRESSURE]
    if args.record:
        return record_digests(args.record, first, end, args.ops)
    if args.show:
        for seed in range(first, end):
            for m in on:
                print(f'== seed {seed} on {m}')
                print(run_on(m, ['--ops', str(args.ops), '--verbose', '--seeds', str(seed)]), end='')
        return OK
    if len(on) < 2:
        raise CannotRun('fuzz wants at least two machines: --on host,linux-5.10')
    c = Campaign(on, first, end, args.ops, args.progress or '', args.slice)
    whole = c.run(args.shards, args.minutes)
    total = c.seeds()
    known = {} if args.hog else explained(on, c.different, args.ops)
    for seed, op in sorted(known.items())[:20]:
        print(f'seed {seed}: user space ends elsewhere: {op}')
    different = sorted(set(c.different) - set(known))
    for seed in different[:args.examine]:
        examine(pair_of(on, c.different[seed]), seed, args.ops, '/tmp', args.found or '')
    for seed in different[args.examine:][:20]:
        print(f'seed {seed}: {c.different[seed]}')
    print(f'{total} scenarios of {args.ops} operations on {",".join(on)}: '
          f'{len(different)} differ' + (f', {len(known)} more by TASK_SIZE' if known else '')
          + ('' if whole else '; not all done yet'))
    if args.hog:
        print(c.evictions.say(total * len(on) // 2))
    return DIFFERENT if different else OK if whole else CANNOT
