#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks one thing at a time and asks whether a test notices.

Each NAME.patch here opens with
    What: one line that says what is broken
    Tests: the meson tests that must fail, by name
and, for what only a bare machine shows, with
    Machine: x86_64 or riscv64, whose build they belong to (else it is the host's)
    Targets: what of that build to make (else all of it)
and then holds a unified diff. What only a certain run shows has instead of Tests:
    Run: a target of the host's build and its arguments, the seed among them
    Says: what that run must say, a regular expression
The tree is copied, once for each of the workers that try mutants side by side, with what the tests
need of build/MACHINE where that is up to date, so that nothing is compiled twice. Each patch is
applied to a copy, what it changes is built there, the named tests run, at least one has to fail (a
test is ended at its first failed result), or the named run must fail and say so; then sources and
build are put back as they were. A patch that does not apply, does not build, or passes its tests is
a failure of this suite. Before the first patch the tests and runs must pass on the unchanged copies.

usage: run.py [--list] [--work DIR] [--times N] [NAME ...]   exit 0: all caught, 1: not, 2: unusable
--times N: the tests or the run are made N times: each time one of the tests has to fail, and a run has to
end the same way
"""
import argparse
import collections
import concurrent.futures
import functools
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIMIT = 120  # seconds of a named run
# A hang is noticed, not waited for: a test has so many times what it took on the unchanged tree, and seconds.
PATIENCE, LEAST = 5, 20
WORKERS = max(2, len(os.sched_getaffinity(0)))
printing = threading.Lock()
LONG = {'campaign', 'sweep'}  # suites that take hours; some of their tests have the names of short ones


def environment():
    """That of all builds here: compilers through ccache, which sees both copies as one."""
    env = dict(os.environ)
    if shutil.which('ccache'):
        env.update(CCACHE_NOHASHDIR='1', CCACHE_SLOPPINESS='time_macros,include_file_ctime,include_file_mtime')
        env['PATH'] = '/usr/lib/ccache' + os.pathsep + env.get('PATH', '')
    return env


ENV = environment()


class Mutant:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)[:-len('.patch')]
        self.what, self.tests, self.machine, self.targets = '', [], 'host', []
        self.run, self.says = [], ''
        for line in open(path, encoding='utf-8'):
            if line.startswith('--- '):
                break
            key, _, value = line.partition(':')
            if key == 'What':
                self.what = value.strip()
            elif key == 'Tests':
                self.tests = value.split()
            elif key == 'Machine':
                self.machine = value.strip()
            elif key == 'Targets':
                self.targets = value.split()
            elif key == 'Run':
                self.run, self.targets = value.split(), value.split()[:1]
            elif key == 'Says':
                self.says = value.strip()
        if not self.what or not (self.tests or self.run and self.says):
            raise ValueError(f'{path}: needs "What:", and "Tests:" or "Run:" and "Says:", before the diff')


def run(cmd, cwd, limit=None, env=None):
    """(exit status, output); a run over its limit counts as failed."""
    try:
        p = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=limit, text=True, errors='replace',
                           env=env or ENV)
        return p.returncode, p.stdout
    except subprocess.TimeoutExpired as e:
        return 124, f'no end within {limit} s'


def run_to_failure(cmd, cwd, limit, env):
    """As run(), but a test that says "not ok" is over: (1, output until then)."""
    out = []
    with subprocess.Popen(cmd, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', env=env,
                          start_new_session=True) as p:
        late = threading.Event()

        def end():
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        timer = threading.Timer(limit, lambda: (late.set(), end()))
        timer.start()
        bad = False
        for line in p.stdout:
            out.append(line)
            if re.match('not ok|Bail out!', line) and not bad:
                bad = True
                end()
        status = p.wait()
        timer.cancel()
    if bad:
        return 1, ''.join(out)
    return (124, f'no end within {limit:.0f} s') if late.is_set() else (status, ''.join(out))


def copy_tree(work):
    """Lays the tracked files into work, keeping the times of unchanged ones for quick builds."""
    names = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, stdout=subprocess.PIPE,
                           check=True).stdout.decode().split('\0')
    for name in filter(None, names):
        src, dst = os.path.join(ROOT, name), os.path.join(work, name)
        if not os.path.exists(src):
            continue
        old = open(dst, 'rb').read() if os.path.exists(dst) else None
        if old is None:     # with its time, for what was built from it may be copied too
            os.makedirs(os.path.dirname(dst), exist_ok=True)
            shutil.copy2(src, dst)
        elif old != open(src, 'rb').read():
            shutil.copy(src, dst)


def known_tests(work, where):
    """What meson knows of the tests of a build, by name. No mutant changes the build's description."""
    return _known_tests(os.path.join(work, where, 'meson-info', 'intro-tests.json'))


@functools.lru_cache(maxsize=None)
def _known_tests(path):
    with open(path, encoding='utf-8') as f:
        return {t['name']: t for t in json.load(f) if not LONG & {s.split(':')[-1] for s in t['suite']}}


def programs(work, where, tests):
    """The build's targets that these tests run, so that nothing else is built."""
    top = os.path.join(work, where) + os.sep
    known = known_tests(work, where)
    words = {os.path.normpath(word) for name in tests if name in known for word in known[name]['cmd']
             if word.startswith(top)}
    return sorted(word[len(top):] for word in words if word.startswith(top))


def described(work, machine):
    """(status, output) of having the build described to ninja, as the sources of work want it."""
    where = 'build/' + machine
    if not os.path.exists(os.path.join(work, where, 'build.ninja')):
        cross = [] if machine == 'host' else ['--cross-file', f'cross/{machine}.ini']
        return run(['meson', 'setup', where] + cross, work)
    return run(['ninja', '-C', where, 'build.ninja'], work)     # a copy from before may have other tests


def adopt(work, machine, targets, tests):
    """Takes over what ROOT's build has of these targets, or of those that the tests run, into a copy that
    has no build of this machine yet. Paths of ROOT become those of the copy: what they stand in, which are
    links and the tests' programs, is made again by the copy's ninja, like all that is out of date."""
    where = 'build/' + machine
    src, dst = os.path.join(ROOT, where), os.path.join(work, where)
    if os.path.exists(dst) or not os.path.exists(os.path.join(src, 'build.ninja')):
        return
    status, out = run(['ninja', '-C', src, '-n', 'build.ninja'], ROOT)
    if status or 'no work to do' not in out:
        return
    targets = sorted({*targets, *programs(ROOT, where, tests)})
    status, out = run(['ninja', '-C', src, '--quiet', '-t', 'inputs', *targets], ROOT)
    if status:
        return
    names = [n.strip() for n in out.splitlines() if not n.startswith(('.', '/', 'ninja:'))]
    for name in {*names, *targets, '.ninja_log', '.ninja_deps'}:
        if os.path.isfile(os.path.join(src, name)):
            os.makedirs(os.path.dirname(os.path.join(dst, name)), exist_ok=True)
            shutil.copy2(os.path.join(src, name), os.path.join(dst, name))
    for name in ('meson-private', 'meson-info'):
        shutil.copytree(os.path.join(src, name), os.path.join(dst, name))
    for name in ('meson-info/intro-tests.json', 'build.ninja'):     # this one last: it is the newest
        with open(os.path.join(src, name), encoding='utf-8') as f:
            text = f.read()
        with open(os.path.join(dst, name), 'w', encoding='utf-8') as f:
            f.write(re.sub(re.escape(ROOT) + r'(?![\w.-])', lambda m: work, text))


def build(work, machine, targets, tests):
    where = 'build/' + machine
    return run(['ninja', '-C', where] + (targets or programs(work, where, tests)), work)


class Kept:
    """A second name for each file of a build; restore() gives those that a mutant's build made anew
    their first contents and times back, so that ninja has nothing to do for the next mutant."""

    def __init__(self, folder):
        self.folder, self.store = folder, folder + '-kept'
        shutil.rmtree(self.store, ignore_errors=True)
        self.times = {}
        for path, entry in self.files():
            to = os.path.join(self.store, path)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            os.link(entry.path, to)
            self.times[path] = (entry.inode(), entry.stat().st_mtime_ns)

    def files(self, sub=''):
        with os.scandir(os.path.join(self.folder, sub)) as entries:
            for e in entries:
                path = os.path.join(sub, e.name)
                if e.is_dir(follow_symlinks=False):
                    yield from self.files(path)
                elif e.is_file(follow_symlinks=False) and not e.name.startswith('.ninja_'):
                    yield path, e

    def restore(self):
        for path, e in list(self.files()):
            inode, mtime = self.times.get(path, (0, 0))
            if inode == e.inode() and mtime == e.stat().st_mtime_ns:
                continue
            if inode == e.inode():      # written in place: its first contents are lost, ninja makes it anew
                os.utime(e.path, (0, 0))
                del self.times[path]
            elif inode:
                os.unlink(e.path)
                os.link(os.path.join(self.store, path), e.path)


class Sources:
    """The files that a patch changes, to be put back with their times."""

    def __init__(self, work, patch):
        with open(patch, encoding='utf-8') as f:
            names = re.findall(r'^(?:\+\+\+ b|--- a)/(\S+)', f.read(), re.M)
        self.kept = {}
        for path in {os.path.join(work, n) for n in names}:
            if os.path.exists(path):
                with open(path, 'rb') as f:
                    self.kept[path] = f.read(), os.stat(path).st_mtime_ns

    def restore(self):
        for path, (data, mtime) in self.kept.items():
            with open(path, 'wb') as f:
                f.write(data)
            os.utime(path, ns=(mtime, mtime))


took_unchanged = {}     # (machine, test) -> seconds


def limit_of(machine, t):
    took = took_unchanged.get((machine, t['name']))
    return t['timeout'] if took is None else min(t['timeout'], max(LEAST, PATIENCE * took))


def test(work, machine, tests):
    """(0, '') if all of the tests pass, else the status of the first that does not, and what it said.
    It calls them as meson test would, which takes a second to start."""
    known = known_tests(work, 'build/' + machine)
    for name in tests:
        if name not in known:
            return 2, f'{name}: there is no such test'
        t = known[name]
        # Criterion and the thread sanitizer end at the first that they find, too.
        stops = ['--fail-fast'] if '--tap' in t['cmd'] else []
        env = {**ENV, 'PYTHONUNBUFFERED': '1', **t['env']}
        if 'TSAN_OPTIONS' in t['env']:
            env['TSAN_OPTIONS'] += ' halt_on_error=1'
        status, out = run_to_failure(t['cmd'] + stops, t['workdir'] or os.path.join(work, 'build', machine),
                                     limit_of(machine, t), env)
        if status:
            return status, f'{name}: status {status}\n{out}'
    return 0, ''


def run_seed(work, m):
    """(exit status, output) of the mutant's named run; a signal that ended it is said in the output."""
    status, out = run([os.path.join(work, 'build/host', m.run[0])] + m.run[1:], work, LIMIT)
    return status, out + (f'\nended by signal {-status}' if status < 0 else '')


def without_addresses(line):
    """The line, but for the host's own addresses and what lies in memory that is freed: they are another each time."""
    return re.sub(r'0x[0-9a-f]{9,}', '0x...', line)


def try_run(m, work, times):
    """None if the named run fails, says what it should and does so each time, else why not."""
    first = None
    for _ in range(times):
        status, out = run_seed(work, m)
        said = re.search(f'.*(?:{m.says}).*', out)
        if status in (0, 2) or not said:
            return f'NOT CAUGHT by {" ".join(m.run)}, which ended with {status}:\n{out[-1000:]}'
        this = status, without_addresses(said[0])
        first = first or this
        if this != first:
            return f'not the same in two runs: {first[0]}, {first[1]}\nand {this[0]}, {this[1]}'
    return None


def try_mutant(m, work, times, spent):
    """None if the mutant was caught, else why not. spent: seconds of the build and of the tests."""
    sources, start = Sources(work, m.path), time.monotonic()
    try:
        status, out = run(['patch', '-p1', '--no-backup-if-mismatch', '-i', m.path], work)
        if status:
            return 'the patch does not apply:\n' + out
        status, out = build(work, m.machine, m.targets, m.tests)
        spent[0] = time.monotonic() - start
        if status:
            return 'it does not build, so nothing was tested:\n' + out[-2000:]
        if m.run:
            return try_run(m, work, times)
        for n in range(times):
            status, out = test(work, m.machine, m.tests)
            if status == 2 and 'no such test' in out:
                return out
            if not status:
                return f'NOT CAUGHT by {" ".join(m.tests)}' + (f', the {n + 1}th time' if n else '')
        return None
    finally:
        spent[1] = time.monotonic() - start - spent[0]
        sources.restore()


class Queue:
    """What is to be done, handed out from both ends, so that what stands together stays together."""

    def __init__(self, items):
        self.items, self.lock = collections.deque(items), threading.Lock()

    def take(self, worker):
        with self.lock:
            if not self.items:
                return None
            return self.items.popleft() if worker % 2 == 0 else self.items.pop()


def prepare(work, mutants):
    """A copy with all that the mutants need, built; None, or why there is none."""
    copy_tree(work)
    for machine in sorted({m.machine for m in mutants}):
        of = [m for m in mutants if m.machine == machine]
        targets = sorted({t for m in of for t in m.targets})
        tests = sorted({t for m in of for t in m.tests})
        adopt(work, machine, targets, tests)
        status, out = described(work, machine)
        if not status:
            status, out = build(work, machine, sorted({*targets, *programs(work, 'build/' + machine, tests)}), [])
        if status:
            return f'the unchanged tree does not build for {machine}:\n{out[-3000:]}'
    return None


def check(work, queue, worker):
    """None if all tests and runs that this worker takes pass on its unchanged copy, else what does not."""
    while job := queue.take(worker):
        if isinstance(job, Mutant):
            status, out = run_seed(work, job)
            if status:
                return f'{" ".join(job.run)} fails on the unchanged tree:\n{out[-3000:]}'
        else:
            start = time.monotonic()
            status, out = test(work, job[0], [job[1]])
            if status:
                return f'the tests fail on the unchanged tree, on {job[0]}:\n{out[-3000:]}'
            took_unchanged[tuple(job)] = time.monotonic() - start
    return None


def to_check(mutants):
    """Each test of each machine, the slow ones first, and each named run, once."""
    tests = sorted({(m.machine == 'host', m.machine, t) for m in mutants for t in m.tests})
    return [t[1:] for t in tests] + list({' '.join(m.run): m for m in mutants if m.run}.values())


def in_order(mutants):
    """Those of machines and of runs, which take long, first and last; of one test together."""
    return sorted(mutants, key=lambda m: (0 if m.machine != 'host' else 2 if m.run else 1, m.machine, m.tests,
                                          m.run, m.name))


def try_all(work, queue, worker, times, took):
    """Prints a line for each; returns how many were not caught."""
    failed = 0
    machines = [m for m in ('host', 'x86_64', 'riscv64') if os.path.exists(os.path.join(work, 'build', m))]
    kept = {m: Kept(os.path.join(work, 'build', m)) for m in machines}
    while m := queue.take(worker):
        spent = [0, 0]
        why = try_mutant(m, work, times, spent)
        kept[m.machine].restore()
        failed += bool(why)
        took.append((m, spent))
        lines = [f'{"not " if why else ""}ok - {m.name}: {m.what}']
        lines += ['# ' + line for line in (why or '').splitlines()]
        with printing:
            print('\n'.join(lines), flush=True)
    return failed


def cpu_time():
    """Seconds that processors worked for us until now, which does not depend on who else is at work."""
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def show_times(took, phases):
    """Where the time went, for people. phases: seconds and processors' seconds of each."""
    print('# ' + ', '.join(f'{n} {t:.0f} s ({c:.0f} s of processors)' for n, t, c in phases))
    print(f'# of all mutants: builds {sum(s[0] for _, s in took):.0f} s, tests {sum(s[1] for _, s in took):.0f} s; '
          'the longest:')
    for m, spent in sorted(took, key=lambda t: -sum(t[1]))[:12]:
        print(f'# {m.name}: build {spent[0]:.1f} s, test {spent[1]:.1f} s')


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--list', action='store_true', help='list the mutants and end')
    ap.add_argument('--work', default=os.path.join(ROOT, 'build/mutants'),
                    help='folder of the copy (default: build/mutants)')
    ap.add_argument('--times', type=int, default=1, help='tests and named runs are made so often (default: once)')
    ap.add_argument('names', nargs='*', help='only these')
    args = ap.parse_args()
    try:
        mutants = [Mutant(p) for p in sorted(glob.glob(os.path.join(HERE, '*.patch')))]
    except ValueError as e:
        sys.exit(f'run.py: {e}')
    if args.names:
        mutants = [m for m in mutants if m.name in args.names]
    if not mutants:
        print('run.py: no mutant of that name', file=sys.stderr)
        return 2
    if args.list:
        for m in mutants:
            print(f'{m.name}: {m.what}  [{" ".join(m.tests or m.run)}]')
        return 0
    works = [f'{os.path.abspath(args.work)}-{i}' for i in range(min(WORKERS, len(mutants)))]
    stops = [(time.monotonic(), cpu_time())]
    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        def each(function, *more):
            return [r.result() for r in [pool.submit(function, *a) for a in more]]
        bad = each(prepare, *[(w, mutants) for w in works])
        stops.append((time.monotonic(), cpu_time()))
        if not any(bad):
            queue = Queue(to_check(mutants))
            bad = each(check, *[(w, queue, i) for i, w in enumerate(works)])
        for why in filter(None, bad):
            print('Bail out! ' + why)
            return 2
        stops.append((time.monotonic(), cpu_time()))
        print(f'1..{len(mutants)}', flush=True)
        queue, took = Queue(in_order(mutants)), []
        failed = sum(each(try_all, *[(w, queue, i, args.times, took) for i, w in enumerate(works)]))
    stops.append((time.monotonic(), cpu_time()))
    show_times(took, [(n, b[0] - a[0], b[1] - a[1]) for n, a, b in
                      zip(('copies', 'unchanged tests', 'mutants'), stops, stops[1:])])
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
