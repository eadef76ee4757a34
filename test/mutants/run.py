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
The tree is copied twice, so that two mutants are tried at a time. Each patch is applied to a copy, the
copy is built, the named tests run, at least one has to fail, or the named run must fail and say so,
and the patch is taken back. A patch that does not apply, does not build, or passes its tests is a
failure of this suite. Before the first patch the tests and runs must pass on the unchanged copies.
Compiled objects come from ccache where it is installed: what a patch broke has been compiled whole before.

usage: run.py [--list] [--work DIR] [--times N] [NAME ...]   exit 0: all caught, 1: not, 2: unusable
--times N: each named run is made N times, and has to end the same way each time
"""
import argparse
import concurrent.futures
import functools
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIMIT = 120  # seconds; a hang is noticed, not waited for
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


def copy_tree(work):
    """Lays the tracked files into work, keeping the times of unchanged ones for quick builds."""
    names = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, stdout=subprocess.PIPE,
                           check=True).stdout.decode().split('\0')
    for name in filter(None, names):
        src, dst = os.path.join(ROOT, name), os.path.join(work, name)
        if not os.path.exists(src):
            continue
        old = open(dst, 'rb').read() if os.path.exists(dst) else None
        if old != open(src, 'rb').read():
            os.makedirs(os.path.dirname(dst), exist_ok=True)
            shutil.copy(src, dst)


@functools.lru_cache(maxsize=None)
def known_tests(work, where):
    """What meson knows of the tests of a build, by name. No mutant changes the build's description."""
    run(['ninja', '-C', where, 'build.ninja'], work)    # a copy from before may have other tests
    status, out = run(['meson', 'introspect', '--tests', where], work)
    return {t['name']: t for t in (json.loads(out) if not status else [])
            if not LONG & {s.split(':')[-1] for s in t['suite']}}


def programs(work, where, tests):
    """The build's targets that these tests run, so that nothing else is built."""
    top = os.path.join(work, where) + os.sep
    known = known_tests(work, where)
    words = {os.path.normpath(word) for name in tests if name in known for word in known[name]['cmd']
             if word.startswith(top)}
    return sorted(word[len(top):] for word in words if word.startswith(top))


def build(work, machine, targets, tests):
    where = 'build/' + machine
    if not os.path.exists(os.path.join(work, where, 'build.ninja')):
        cross = [] if machine == 'host' else ['--cross-file', f'cross/{machine}.ini']
        status, out = run(['meson', 'setup', where] + cross, work)
        if status:
            return status, out
    return run(['ninja', '-C', where] + (targets or programs(work, where, tests)), work)


def test(work, machine, tests):
    """(0, '') if all of the tests pass, else the status of the first that does not, and what it said.
    It calls them as meson test would, which takes a second to start."""
    known = known_tests(work, 'build/' + machine)
    for name in tests:
        if name not in known:
            return 2, f'{name}: there is no such test'
        t = known[name]
        status, out = run(t['cmd'], t['workdir'] or os.path.join(work, 'build', machine),
                          min(LIMIT, t['timeout'] / 2), {**ENV, **t['env']})
        if not status and t['protocol'] == 'tap' and re.search(r'^(not ok|Bail out!)', out, re.M):
            status = 1
        if status:
            return status, f'{name}: status {status}\n{out}'
    return 0, ''


def run_seed(work, m):
    """(exit status, output) of the mutant's named run; a signal that ended it is said in the output."""
    status, out = run([os.path.join(work, 'build/host', m.run[0])] + m.run[1:], work, LIMIT)
    return status, out + (f'\nended by signal {-status}' if status < 0 else '')


def check_runs(work, mutants):
    """None if every named run passes, else what does not."""
    of = {' '.join(m.run): m for m in mutants if m.run}
    if not of:
        return None
    status, out = build(work, 'host', sorted({m.run[0] for m in of.values()}), [])
    if status:
        return f'the unchanged tree does not build:\n{out[-3000:]}'
    for words, m in of.items():
        status, out = run_seed(work, m)
        if status:
            return f'{words} fails on the unchanged tree:\n{out[-3000:]}'
    return None


def check_unchanged(work, mutants):
    """None if everything builds and every named test and run passes, else what does not."""
    for machine in sorted({m.machine for m in mutants if m.tests}):
        of = [m for m in mutants if m.machine == machine and m.tests]
        tests = {t for m in of for t in m.tests}
        status, out = build(work, machine, [], tests)
        if status:
            return f'the unchanged tree does not build for {machine}:\n{out[-3000:]}'
        status, out = test(work, machine, sorted(tests))
        if status:
            return f'the tests fail on the unchanged tree, on {machine}:\n{out[-3000:]}'
    return check_runs(work, mutants)


def try_run(m, work, times):
    """None if the named run fails, says what it should and does so each time, else why not."""
    first = None
    for _ in range(times):
        status, out = run_seed(work, m)
        said = re.search(f'.*(?:{m.says}).*', out)
        if status in (0, 2) or not said:
            return f'NOT CAUGHT by {" ".join(m.run)}, which ended with {status}:\n{out[-1000:]}'
        first = first or (status, said[0])
        if (status, said[0]) != first:
            return f'not the same in two runs: {first[0]}, {first[1]}\nand {status}, {said[0]}'
    return None


def try_mutant(m, work, times):
    """None if the mutant was caught, else why not."""
    status, out = run(['patch', '-p1', '--no-backup-if-mismatch', '-i', m.path], work)
    if status:
        return 'the patch does not apply:\n' + out
    try:
        status, out = build(work, m.machine, m.targets, m.tests)
        if status:
            return 'it does not build, so nothing was tested:\n' + out[-2000:]
        if m.run:
            return try_run(m, work, times)
        status, out = test(work, m.machine, m.tests)
        if status == 2 and 'no such test' in out:
            return out
        return None if status else f'NOT CAUGHT by {" ".join(m.tests)}'
    finally:
        status, out = run(['patch', '-R', '-p1', '--no-backup-if-mismatch', '-i', m.path], work)
        if status:
            sys.exit(f'{m.name}: cannot be taken back:\n{out}')


def split(mutants):
    """Two lists to be worked through side by side, of about the same length; a machine's own
    mutants stay together, and so do those with named runs, so that what only they need is built in
    one copy only."""
    bare = [m for m in mutants if m.machine != 'host']
    runs = [m for m in mutants if m.run]
    host = [m for m in mutants if m.machine == 'host' and not m.run]
    extra = min(len(host), max(0, (len(host) + len(runs) - len(bare)) // 2))
    return [half for half in (runs + host[extra:], bare + host[:extra]) if half]


def prepare(work, mutants):
    copy_tree(work)
    return check_unchanged(work, mutants)


def try_all(work, mutants, times):
    """Prints a line for each; returns how many were not caught."""
    failed = 0
    for m in mutants:
        why = try_mutant(m, work, times)
        failed += bool(why)
        lines = [f'{"not " if why else ""}ok - {m.name}: {m.what}']
        lines += ['# ' + line for line in (why or '').splitlines()]
        with printing:
            print('\n'.join(lines), flush=True)
    return failed


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--list', action='store_true', help='list the mutants and end')
    ap.add_argument('--work', default=os.path.join(ROOT, 'build/mutants'),
                    help='folder of the copy (default: build/mutants)')
    ap.add_argument('--times', type=int, default=1, help='named runs are made so often (default: once)')
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
    halves = split(mutants)
    with concurrent.futures.ThreadPoolExecutor(len(halves)) as pool:
        ready = [pool.submit(prepare, f'{os.path.abspath(args.work)}-{i}', half)
                 for i, half in enumerate(halves)]
        for r in ready:
            if r.result():
                print('Bail out! ' + r.result())
                return 2
        print(f'1..{len(mutants)}', flush=True)
        tried = [pool.submit(try_all, f'{os.path.abspath(args.work)}-{i}', half, args.times)
                 for i, half in enumerate(halves)]
    return 1 if sum(t.result() for t in tried) else 0


if __name__ == '__main__':
    sys.exit(main())
