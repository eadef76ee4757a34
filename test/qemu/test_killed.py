# SPDX-License-Identifier: MIT
"""./quire is ended again and again at any moment of a run, every second time by SIGKILL: no process of the run
lives on, and nothing is left in /dev/shm. TAP on standard output.

usage: test_killed.py MACHINE RUNS [FIRST]; a run's number decides what is run, how it ends and when.
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

from common import _locked, build_folder  # noqa: E402

# The command, without building anything.
COMMAND = [sys.executable, '-c', f'import sys; sys.path.insert(0, {os.path.join(TOP, "tools")!r})\n'
           'sys.dont_write_bytecode = True\nimport machines, packages, build, commands\n'
           'machines.prepare = build.build_for = build.build_kernel = lambda *a, **k: None\n'
           'packages.ensure = lambda *a: None\nsys.exit(commands.main(sys.argv[1:]))']
MARK = b'QUIRE_TEST_KILLED='
LATEST = 2.5        # seconds after its start; a boot and a scenario take about one
GONE = 20           # seconds that the kernel has to reap what was told to die


def marked(mark):
    """Processes of a run: they inherit its environment."""
    out = []
    for name in os.listdir('/proc'):
        try:
            with open(f'/proc/{name}/environ', 'rb') as f:
                if name.isdigit() and int(name) != os.getpid() and MARK + mark in f.read().split(b'\0'):
                    out.append(name)
        except OSError:
            pass
    return out


def shared():
    """What lies in /dev/shm under our names and has no owner any more; others may be at work beside us."""
    out = set()
    for name in os.listdir('/dev/shm') if os.path.isdir('/dev/shm') else ():
        path = os.path.join('/dev/shm', name)
        if not name.startswith('quire'):
            continue
        try:
            fd = _locked(path) if os.path.isdir(path) else os.open(path, os.O_RDONLY)
        except OSError:                 # it has no lock
            fd = -1
        if fd is not None:
            out.add(name)
        if fd is not None and fd >= 0:
            os.close(fd)
    return out


def words(machine, chance, folder):
    scenario = os.path.join(TOP, 'test', 'scenario', 'write-after-fork.scn')
    return chance.choice([
        ['boot', machine],
        ['run', '--on', machine, scenario],
        ['run', '--on', machine, '--swap', '16M', '--trace', os.path.join(folder, 'trace'), scenario],
        ['exec', machine, os.path.join(build_folder(machine), 'user', 'runner')],
        ['diff', '--on', f'{machine},host', scenario],
    ])


def one(machine, number, folder):
    """Starts a run and ends it; what lives on, as text, or ''."""
    chance = random.Random(number)
    how = signal.SIGKILL if number % 2 else chance.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
    mark, command = f'{os.getpid()}-{number}'.encode(), words(machine, chance, folder)
    env = {**os.environ, MARK[:-1].decode(): mark.decode(), 'TMPDIR': folder}
    p = subprocess.Popen([*COMMAND, *command], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True,
                         preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (1, 3, 15)] and
                         signal.signal(2, signal.default_int_handler))
    try:
        p.wait(chance.uniform(0, LATEST))
    except subprocess.TimeoutExpired:
        p.send_signal(how)
    if how == signal.SIGINT:        # a program has it handed on: who insists ends the machine
        end = time.monotonic() + 10
        while p.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
            p.send_signal(how)
    try:
        p.wait(60)
    except subprocess.TimeoutExpired:
        p.kill()
        return f'run {number} ({" ".join(command[:3])}): {how.name} did not end it'
    end = time.monotonic() + GONE
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.02)
    left = marked(mark)
    return f'run {number} ({" ".join(command[:3])}, {how.name}): processes {left} live on' if left else ''


def main():
    machine, runs = sys.argv[1], int(sys.argv[2])
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    print('1..3', flush=True)
    before = shared()
    with tempfile.TemporaryDirectory(prefix='test-killed-') as folder:
        bad = [why for n in range(first, first + runs) for why in [one(machine, n, folder)] if why]
        print(f'{"not " if bad else ""}ok 1 - {runs} runs that were ended leave no process')
        for why in bad[:10]:
            print('# ' + why)
        left = sorted(shared() - before)
        print(f'{"not " if left else ""}ok 2 - nor anything in /dev/shm')
        for name in left[:10]:
            print(f'# /dev/shm/{name}')
        # What SIGKILL left in the scratch folder the next run removes, once it is old enough.
        for name in os.listdir(folder):
            os.utime(os.path.join(folder, name), (0, 0))
        subprocess.run([*COMMAND, 'run', '--on', machine, os.path.join(TOP, 'test', 'scenario', 'zero-page.scn')],
                       env={**os.environ, 'TMPDIR': folder}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=120)
        left = [n for n in os.listdir(folder) if n != 'trace']
        print(f'{"not " if left else ""}ok 3 - nor scratch folders, after the next run')
        for name in left[:10]:
            print(f'# {name}')


main()
