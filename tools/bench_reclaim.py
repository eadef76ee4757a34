# SPDX-License-Identifier: MIT
"""Row Q12 of the benchmark: processes that do not fit into memory, on Quire and on real Linux.

The patterns are the simulator's (simulate.py, docs/policy.md); a program (bench/reclaim.c) does the
same accesses as the first of every kernel, in one kind of machine: x86-64 in QEMU, one processor,
128 MiB, a disk to swap to, no readahead of swap. What counts is the pages read back from that disk,
as QEMU counts them. Time is the number of instructions executed (and real time where the machine
waits), so that a host that is busy with other things changes little.

Kernels leave a program more or less of 128 MiB. A ballast of locked pages makes the memory for users
equal: it is sized by measurement, so that the row `random` reads back as many pages as Linux 5.10
did when the table below was measured. Where no ballast is too much already the machine gets more
memory.

Each run's result is kept in build/bench-q12/results, under what was run; a command that is broken
off, or called again for more, goes on from there.
"""
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import time
from collections import namedtuple
from dataclasses import asdict, dataclass
from types import SimpleNamespace

import bench_q
import build
import cpio
import disks
import oracle
import qemu
import simulate
from arches import ARCHES
from common import BUILD, CannotRun, DIFFERENT, OK, Progress, TOP, build_folder, run as run_program, say, scratch

MACHINE = 'x86_64'
MEM = 128                   # MiB
MEM_STEP = 16               # so much more where no ballast is too much already
MEM_PLENTY = 1024           # nothing is reclaimed
SWAP = 512 << 20
PAGE = 4096
SECONDS = 1800              # after which a run counts as hung
NEAR = 0.005                # the search for a ballast ends here ...
NEAR_ENOUGH = 0.02          # ... or fails beyond this
TRIES = 8
SEARCH_RUNS = 2             # of each try: who gets ahead of whom changes `random` by 1 %
POLL = 0.05                 # s
REFERENCE = 'linux-5.10'
KERNELS = (REFERENCE, 'linux-6.12', 'linux-7.2')
POLICY = '/proc/sys/vm/reclaim_policy'
LINUX_WORDS = [*bench_q.LINUX_WORDS, 'zswap.enabled=0', 'no_timer_check']

# Measured before, two runs, the lower; what counts for a kernel that cannot be had.
TABLE = {
    'linux-5.10': {'in-order': 49241, 'random': 32733, 'zipf': 17775, 'window': 41870, 'hot-scan': 51487,
                   'idle-zipf': 3079, 'idle-order': 3118},
    'linux-6.12': {'in-order': 49330, 'random': 32469, 'zipf': 17396, 'window': 31468, 'hot-scan': 57243,
                   'idle-zipf': 1929, 'idle-order': 1985},
    'linux-7.2': {'in-order': 49327, 'random': 34540, 'zipf': 18175, 'window': 43503, 'hot-scan': 52605,
                  'idle-zipf': 3487, 'idle-order': 2720},
}
# The most that the second policy may read back, beside the best of the kernels.
LIMITS = {'in-order': 0.75, 'random': 1.02, 'zipf': 0.4, 'window': 1.1, 'hot-scan': 0.75, 'idle-zipf': 1.0,
          'idle-order': 1.0}
LIMIT_DEFAULT = 1.05        # the most that the first one may, beside 5.10
LIMIT_PROCESS = 1.1         # the most that one process of unequal ones may, beside 5.10
FEW = 100                   # of fewer pages read back, in all or by a process, so many are taken
LIMIT_COST = 0.7            # instructions for each page reclaimed, beside 5.10
TURN = 500                  # touches
COST_ROWS = ('in-order', 'random', 'zipf')

# Where the search for a ballast begins, in pages.
GUESS = {'linux-5.10': 3000, 'linux-6.12': 400, 'linux-7.2': 0, 'quire': 14400}

Contestant = namedtuple('Contestant', 'name linux policy')
OURS = Contestant('quire', None, 0)
TRIAL = Contestant('quire-trial', None, 1)
SLEEP = {k: v for k, v in simulate.MIXES.items() if k.startswith('sleep-')}
ROWS = {**simulate.ROWS, **SLEEP, **simulate.UNEVEN}
COST = 'cost'


@dataclass(frozen=True)
class Setting:
    """One run: everything that its result depends on, but for the images."""
    row: str                # its name, or a pattern
    mem: int                # MiB
    ballast: int = 0        # pages
    policy: int = 0
    number: int = 0         # of runs that are otherwise the same
    seed: int = 1
    turn: int = 0           # touches after which a process hands the turn on; 0: it never does


@dataclass
class Result:
    read: int               # pages, from the disk
    written: int
    processes: list         # major faults of each
    vmstat: dict            # what it grew by
    seconds: float
    instructions: int = 0   # from the first access to the last

    @property
    def reclaimed(self):
        return self.vmstat.get('pgsteal_kswapd', 0) + self.vmstat.get('pgsteal_direct', 0)


# ---- a run -----------------------------------------------------------------------------------

def turn(row):
    """Unequal processes end after a few milliseconds, some before others begin, and of two that fill at the
    same time it matters which is ahead: there the turns are the simulator's, so that no scheduler decides."""
    return TURN if row in simulate.UNEVEN or row in SLEEP else 0


def pattern(row):
    """A row's pattern; another word is one itself."""
    return ROWS[row][0] if row in ROWS else row


def arguments(setting, device, wait):
    """What the program is told."""
    parts = []
    for part in simulate.pattern_text(pattern(setting.row)).split('+'):
        count, _, rest = part.rpartition('*')
        works, _, tail = rest.partition(':')
        works = '/'.join(w if re.search(r'x\d+$', w) else w + 'x1' for w in works.split('/'))
        parts += [f'p={works}:{tail}'] * int(count or 1)
    return [f'swap={device}', f'policy={setting.policy}', f'ballast={setting.ballast}', f'wait={wait}',
            f'seed={setting.seed}', f'turn={setting.turn}', *parts]


def program():
    return os.path.join(build_folder(bench_q.release(MACHINE)), 'user', 'reclaim')


def command(contestant, image, setting, folder):
    """QEMU for one run."""
    arch = ARCHES[MACHINE]
    path = lambda name: os.path.join(folder, name)     # noqa: E731
    disk = disks.swap_image(folder, SWAP)
    begin, end = symbols(program(), ('q12_begin', 'q12_end'))
    counting = ['-icount', 'shift=0', '-plugin',
                f'{plugin()},out={path("count")},begin={begin:#x},end={end:#x}']
    if contestant.linux:
        files = cpio.build({'/init': (program(), 0o755)}, nodes={'/dev/console': (0o20600, 5, 1)})
        words = ['console=ttyS0', *LINUX_WORDS, '--', *arguments(setting, '/dev/nvme0n1', 2)]
        machine = [*arch.command(setting.mem, None, arch.counted_cpu), '-serial', 'file:' + path('log'),
                   *disks.nvme_options([disk])]
    else:
        files = cpio.build({'/reclaim': (program(), 0o755)})
        words = ['init=/reclaim', 'norandmaps', '--', *arguments(setting, disks.name(0), 0)]
        machine = [*arch.command(setting.mem, path('log'), arch.counted_cpu),
                   *disks.options(arch, [disk])]
    with open(path('initrd'), 'wb') as f:
        f.write(files)
    return [*machine, *counting, '-qmp', f'unix:{path("qmp")},server=on,wait=off', '-kernel', image,
            '-initrd', path('initrd'), '-append', ' '.join(words)]


class Watch:
    """Looks on: the program's words, and the disk's counters before it swaps and when it is done."""

    def __init__(self, folder):
        self.log_path = os.path.join(folder, 'log')
        self.monitor = qemu.Monitor(os.path.join(folder, 'qmp'))
        self.before = self.after = None

    def log(self):
        try:
            with open(self.log_path, 'rb') as f:
                return f.read().decode(errors='replace').replace('\r', '')
        except OSError:
            return ''

    def counters(self):
        for device in self.monitor.command('query-blockstats'):
            if device.get('device') == 'disk0':
                return device['stats']
        raise CannotRun('QEMU\'s monitor knows no disk0')

    def step(self):
        """True once the program is done. Words are read first: what is counted after them is what
        was there when they had been said."""
        log = self.log()
        failed = re.search(r'^q12 failed: .*$', log, re.M)
        if failed:
            raise CannotRun(f'the program said: {failed.group(0)}')
        begun, done = (re.search(rf'^q12 {w} \d+$', log, re.M) for w in ('begin', 'done'))
        if not begun:
            return False
        now = self.counters()
        if not now['wr_bytes']:
            self.before = now
        if done:
            self.after = now
            return True
        if not self.before:
            raise CannotRun('pages were written to the swap disk before its counters could be read')
        return False


def parse(log):
    """(major faults of each process, what /proc/vmstat grew by) of the program's words."""
    found = {int(n): int(major) for n, major in re.findall(r'^q12 process (\d+) (\d+) \d+$', log, re.M)}
    then, now = (dict(re.findall(rf'^q12 {when} (\w+) (\d+)$', log, re.M)) for when in ('then', 'now'))
    if not found or not now or sorted(found) != list(range(len(found))):
        raise CannotRun('the program said nothing of its processes, or not all of them')
    return ([found[n] for n in sorted(found)],
            {name: int(v) - int(then.get(name, 0)) for name, v in now.items()})


def run(contestant, image, setting):
    """Runs it in QEMU. Returns a Result."""
    what = f'{setting.row} on {contestant.name}'
    folder, process = scratch('reclaim', big=True), None
    progress, begin = Progress(f'Q12:{what}'), time.monotonic()
    try:
        argv = command(contestant, image, setting, folder)
        with open(os.path.join(folder, 'error'), 'wb') as error:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=error)
        watch = Watch(folder)
        while not watch.step():
            if process.poll() is not None:
                raise CannotRun(f'QEMU ended with status {process.returncode}')
            spent = time.monotonic() - begin
            if spent > SECONDS:
                raise CannotRun(f'no end after {SECONDS} s')
            progress.update(f'{spent:.0f} s')
            time.sleep(POLL)
        log = watch.log()
        result = Result(0, 0, *parse(log), round(time.monotonic() - begin, 1))
        start = watch.before or watch.after
        result.read = (watch.after['rd_bytes'] - start['rd_bytes']) // PAGE
        result.written = (watch.after['wr_bytes'] - start['wr_bytes']) // PAGE
        result.instructions = counted(os.path.join(folder, 'count'))
        return result
    except FileNotFoundError as e:
        raise CannotRun(f'{what}: {e.filename} is missing (./quire setup installs it)') from None
    except (CannotRun, OSError) as e:
        raise CannotRun(f'{what}, {setting.mem} MiB, ballast of {setting.ballast} pages: {e}; what it '
                        f'said last:\n{tail(folder)}') from None
    finally:
        progress.done()
        if process and process.poll() is None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def tail(folder, lines=15):
    text = ''
    for name in ('error', 'log'):
        try:
            with open(os.path.join(folder, name), 'rb') as f:
                text += f.read().decode(errors='replace').replace('\r', '')
        except OSError:
            pass
    return '\n'.join('    ' + s for s in text.splitlines()[-lines:]) or '    (nothing)'


# ---- instructions ----------------------------------------------------------------------------

def symbols(path, names):
    text = run_program(['nm', path], 'the program\'s symbols').decode()
    found = {w[2]: int(w[0], 16) for w in (line.split() for line in text.splitlines()) if len(w) == 3}
    return [found[n] for n in names]


def plugin():
    """QEMU's plugin that counts them, built once per source text."""
    source = os.path.join(TOP, 'bench', 'count-plugin.c')
    with open(source, 'rb') as f:
        digest = hashlib.sha256(f.read()).hexdigest()[:16]
    os.makedirs(store(), exist_ok=True)
    path = os.path.join(store(), f'count-{digest}.so')
    if not os.path.exists(path):
        new = f'{path}.{os.getpid()}'
        run_program(['gcc', '-O2', '-shared', '-fPIC', '-fvisibility=hidden', '-o', new, source],
                    'building the plugin that counts')
        os.replace(new, path)
    return path


def counted(path):
    """Instructions between q12_begin and q12_end."""
    with open(path, 'rb') as f:
        _, begin, end = struct.unpack('<3Q', f.read(24))
    if not 0 < begin < end:
        raise CannotRun('the plugin did not see where the work begins and ends')
    return end - begin


# ---- results that are kept -------------------------------------------------------------------

def store():
    return os.path.join(BUILD, 'bench-q12')


class Kept:
    """Results by what was run: the images' digests and the setting. A line of JSON each; one that
    was broken off counts as not there."""

    def __init__(self, path):
        self.path, self.found, self.digests = path, {}, {}
        try:
            with open(path, encoding='utf-8') as f:
                for line in f:
                    self.take(line)
        except FileNotFoundError:
            pass

    def take(self, line):
        try:
            d = json.loads(line)
            self.found[d['key']] = Result(**d['result'])
        except (ValueError, TypeError, KeyError):
            pass

    def digest(self, path):
        if path not in self.digests:
            with open(path, 'rb') as f:
                self.digests[path] = hashlib.sha256(f.read()).hexdigest()[:16]
        return self.digests[path]

    def key(self, contestant, image, setting):
        words = [self.digest(image), self.digest(program()), contestant.linux or '',
                 *(f'{k}={v}' for k, v in {**asdict(setting), 'row': pattern(setting.row)}.items())]
        return hashlib.sha256('\n'.join(words).encode()).hexdigest()[:24]

    def get(self, contestant, image, setting):
        """The result, measured now if it was not before."""
        key = self.key(contestant, image, setting)
        if key not in self.found:
            r = run(contestant, image, setting)
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, 'a', encoding='utf-8') as f:
                f.write(json.dumps({'key': key, 'on': contestant.name, 'setting': asdict(setting),
                                    'result': asdict(r)}) + '\n')
            self.found[key] = r
            say(f'quire: bench: Q12:{setting.row} on {contestant.name}, {setting.mem} MiB, ballast '
                f'{setting.ballast:,}: {r.read:,} pages read back, {r.written:,} written, '
                f'{r.instructions:,} instructions, {r.seconds:.0f} s')
        return self.found[key]


# ---- equal memory ----------------------------------------------------------------------------

def find_ballast(measure, target, guess):
    """(MiB of the machine, pages of ballast, [(MiB, ballast, pages read back)] of the search).
    measure(mem, ballast): pages that the row `random` reads back. One page more of ballast is one
    touch in `touches / pages` that has to be read back: about one."""
    mem, ballast, tries, best = MEM, guess, [], None
    for _ in range(TRIES):
        got = measure(mem, ballast)
        tries.append((mem, ballast, got))
        off = abs(got / target - 1)
        if best is None or off < best[0]:
            best = off, mem, ballast
        if off <= NEAR:
            break
        ballast += target - got
        while ballast < 0:
            mem, ballast = mem + MEM_STEP, ballast + (MEM_STEP << 20) // PAGE
    if best[0] > NEAR_ENOUGH:
        raise CannotRun(f'no ballast makes `random` read back {target:,} pages: tried {tries}')
    return best[1], best[2], tries


class Contest:
    """All that is measured in one command."""

    def __init__(self, kept, images, rounds):
        self.kept, self.images, self.rounds = kept, images, rounds
        self.equal, self.unable = {}, {}

    def ballast(self, contestant):
        """(MiB, pages) of a kernel, and the search: the policies of ours have the same."""
        kernel = contestant.linux or OURS.name
        if kernel not in self.equal:
            base = Contestant(kernel, contestant.linux, 0)
            self.equal[kernel] = find_ballast(
                lambda mem, ballast: sum(self.kept.get(base, self.images[kernel],
                                                       Setting('random', mem, ballast, number=n)).read
                                         for n in range(SEARCH_RUNS)) // SEARCH_RUNS,
                TABLE[REFERENCE]['random'], GUESS[kernel])
        return self.equal[kernel]

    def results(self, contestant, row):
        """Results of all rounds; of a kernel that is not to be had, none."""
        kernel = contestant.linux or OURS.name
        if kernel not in self.images or contestant in self.unable:
            return []
        try:
            mem, ballast, _ = self.ballast(contestant)
            return [self.kept.get(contestant, self.images[kernel],
                                  Setting(row, mem, ballast, contestant.policy, number=n, turn=turn(row)))
                    for n in range(self.rounds)]
        except CannotRun as e:
            self.unable[contestant] = str(e)
            say(f'quire: bench: {e}')
            return []

    def cost(self, contestant, row):
        """Instructions for each page reclaimed, beyond what the same run takes with plenty."""
        kernel = contestant.linux or OURS.name
        mem, ballast, _ = self.ballast(contestant)
        short, plenty = (self.kept.get(contestant, self.images[kernel],
                                       Setting(row, m, b, contestant.policy))
                         for m, b in ((mem, ballast), (MEM_PLENTY, 0)))
        if plenty.reclaimed or not short.reclaimed:
            raise CannotRun(f'{row} on {contestant.name}: {short.reclaimed} pages reclaimed with {mem} MiB, '
                            f'{plenty.reclaimed} with {MEM_PLENTY}')
        return (short.instructions - plenty.instructions) / short.reclaimed, short, plenty


# ---- judging ---------------------------------------------------------------------------------

def least(results):
    return min((r.read for r in results), default=None)


def worst_process(ours, reference):
    """The most that a process refaults beside the reference, by major faults; both: results of all
    rounds, of which each process's fewest count. None if either is missing."""
    if not ours or not reference:
        return None
    mine, theirs = ([min(p) for p in zip(*(r.processes for r in rs))] for rs in (ours, reference))
    return max(max(a, FEW) / max(b, FEW) for a, b in zip(mine, theirs))


def ratio(a, b):
    """Of pages; fewer than FEW say nothing."""
    return None if a is None or b is None else max(a, FEW) / max(b, FEW)


def judge(row, figures, worst):
    """{what: (ratio, limit)} of a row. figures: {contestant: pages}, None where not measured; worst:
    the unequal processes' (worst_process) of the second policy."""
    kernels = [figures[k] for k in KERNELS if figures.get(k) is not None]
    best = min(kernels, default=None)
    out = {'quire/5.10': (ratio(figures.get(OURS.name), figures.get(REFERENCE)), LIMIT_DEFAULT)}
    if row in LIMITS:
        out['trial/best'] = ratio(figures.get(TRIAL.name), best), LIMITS[row]
    else:
        out['worst process'] = worst, LIMIT_PROCESS
    return out


def kept_limit(value, limit):
    """Whether a ratio is within its limit; None: not known."""
    return None if value is None else round(value, 3) <= limit


def belady(row):
    args = SimpleNamespace(frames=0, batch=1, seed=1, quantum=500, fill=0, tlb=0, check=False)
    return simulate.Run(row, args, '').results(['belady'])[0]['refaults']


# ---- the table -------------------------------------------------------------------------------

COLUMNS = (*KERNELS, OURS.name, TRIAL.name)


def number(v):
    return '-' if v is None else f'{v:,.0f}'


def judged(value, limit):
    ok = kept_limit(value, limit)
    return '-' if ok is None else f'{value:.2f} of {limit:.2f}{"" if ok else " !"}'


def table(lines):
    """Lines of a table of a row each, for people."""
    head = ['row', *COLUMNS, 'belady', 'quire/5.10', 'trial/best', 'worst process']
    rows = [[d['row'].partition(':')[2],
             *(number(d['figures'].get(c)) + ('*' if c in d['from_table'] else '') for c in COLUMNS),
             number(d['belady']), *(judged(*d['ratios'].get(h, (None, 0))) for h in head[-3:])]
            for d in lines]
    return simulate.table(head, rows)


def line(row, contest):
    """A row's figures and what they are judged by."""
    contestants = [*(Contestant(k, k, 0) for k in KERNELS), OURS, TRIAL]
    results = {c.name: contest.results(c, row) for c in contestants}
    figures = {name: least(rs) for name, rs in results.items()}
    from_table = [k for k in KERNELS if figures[k] is None and row in TABLE[k]]
    figures |= {k: TABLE[k][row] for k in from_table}
    worst = worst_process(results[TRIAL.name], results[REFERENCE])
    ratios = judge(row, figures, worst)
    best, name = min(((figures[k], k) for k in KERNELS if figures[k] is not None), default=(None, None))
    ours = figures[TRIAL.name] if figures[TRIAL.name] is not None else figures[OURS.name]
    return {'row': f'Q12:{row}', 'workload': ROWS[row][1], 'machine': MACHINE, 'unit': 'pages read back',
            'ours': ours, 'peer': best, 'peer_name': name or 'no peer',
            'ratio': round(best / ours, 3) if best is not None and ours else None,
            'figures': figures, 'from_table': from_table, 'belady': belady(row), 'ratios': ratios,
            'runs': {n: [r.read for r in rs] for n, rs in results.items()},
            'processes': {n: [r.processes for r in rs] for n, rs in results.items()}}


def cost_lines(contest):
    for row in COST_ROWS:
        costs = {}
        for c in (Contestant(REFERENCE, REFERENCE, 0), OURS, TRIAL):
            try:
                if (c.linux or OURS.name) in contest.images and c not in contest.unable:
                    costs[c.name] = round(contest.cost(c, row)[0])
            except CannotRun as e:
                say(f'quire: bench: {e}')
        ours, peer = costs.get(TRIAL.name, costs.get(OURS.name)), costs.get(REFERENCE)
        yield {'row': 'Q12:cost', 'workload': f'a page reclaimed, {row}', 'machine': MACHINE,
               'unit': 'instructions', 'ours': ours, 'peer': peer,
               'peer_name': REFERENCE if peer else 'no peer',
               'ratio': round(peer / ours, 3) if peer and ours else None, 'figures': costs,
               'ratios': {name: (ratio(costs.get(name), peer), LIMIT_COST)
                          for name in (OURS.name, TRIAL.name)}}


def cost_table(lines):
    head = ['instructions a page reclaimed', REFERENCE, OURS.name, TRIAL.name, 'quire/5.10', 'trial/5.10']
    return simulate.table(head, [[d['workload'].rpartition(' ')[2],
                                  *(number(d['figures'].get(c)) for c in (REFERENCE, OURS.name, TRIAL.name)),
                                  *(judged(*d['ratios'][c]) for c in (OURS.name, TRIAL.name))]
                                 for d in lines])


# ---- from outside ----------------------------------------------------------------------------

def chosen(words):
    """Rows for words of the command line, Q12 or Q12:NAME; a name that others begin with and a dash
    (random: random-uneven-4) is itself alone."""
    names = [*ROWS, COST]
    groups = {'rows': list(simulate.ROWS), 'uneven': list(simulate.UNEVEN)}
    out = []
    for w in words:
        name = w.partition(':')[2]
        if ':' in w and name not in names and name not in groups:
            raise CannotRun(f'{w}: no such row (there are {", ".join("Q12:" + n for n in [*groups, *names])})')
        out += groups.get(name, [name] if ':' in w else names)
    return [n for n in names if n in out]


def is_row(word):
    return re.fullmatch(r'Q12(:.*)?', word) is not None


def prepare(wanted):
    """Builds, and finds the kernels: {name: image}."""
    build.build(bench_q.release(MACHINE), ['kernel/quire.elf', 'user/reclaim'])
    build.build('host', ['tools/simulate/quire-simulate'])
    images = {OURS.name: bench_q.kernel_image(MACHINE)}
    for k in wanted:
        try:
            images[k] = oracle.kernel_image(k)
        except CannotRun as e:
            say(f'quire: bench: {e}: what was measured before counts')
    return images


def main(words, rounds=0, peers=(), no_peer=False, emit=None):
    """Measures rows and prints them; emit(line): called for each result instead. An exit code:
    DIFFERENT if a limit is not kept."""
    rows = chosen(words)
    for k in peers or ():
        if k not in KERNELS:
            raise CannotRun(f'--peer {k}: row Q12 wants one of {", ".join(KERNELS)}')
    contest = Contest(Kept(os.path.join(store(), 'results')),
                      prepare(() if no_peer else peers or KERNELS), rounds or 2)
    lines = []
    for row in rows:
        for d in cost_lines(contest) if row == COST else [line(row, contest)]:
            lines.append(d)
            if emit:
                emit(d)
    if not emit:
        show(lines, contest)
    missed = [f'{d["row"]}, {what}: {value:.3f}, at most {limit}' for d in lines
              for what, (value, limit) in d['ratios'].items() if kept_limit(value, limit) is False]
    for m in missed:
        say(f'quire: bench: limit not kept: {m}')
    return DIFFERENT if missed else OK


def show(lines, contest):
    for kernel, (mem, ballast, tries) in contest.equal.items():
        searched = ', '.join(f'{b:,}: {got:,}' for _, b, got in tries)
        print(f'{kernel}: {mem} MiB, ballast of {ballast:,} pages'
              + (f' (random read back, by ballast: {searched})' if tries else ''))
    rows, cost = ([d for d in lines if (d['row'] == 'Q12:cost') == is_cost] for is_cost in (False, True))
    if rows:
        print(f'\npages read back from swap, the fewest of {contest.rounds} runs (*: measured before; '
              '!: not within its limit)')
        print('\n'.join(table(rows)))
    if cost:
        print('\n' + '\n'.join(cost_table(cost)))
