# SPDX-License-Identifier: MIT
"""Many programs in few boots of a machine: Quire's or a real Linux (tools/batch.c is what runs them there).

run() gives for each job how it ended and what it printed. A machine that dies under a job is started
again behind it.
"""
import hashlib
import os
import re
import shutil
import signal
from dataclasses import dataclass, field

import build
import hostio
import oracle
import qemu
from arches import ARCHES
from common import BUILD, CannotRun, TOP, TimedOut, have, run as run_command, scratch

ENVIRONMENT = ['HOME=/tmp', 'PATH=/usr/local/bin:/bin:/usr/bin:/sbin:/usr/sbin', 'TERM=linux', 'LANG=C']
BOOT_SECONDS = 90           # that a machine may take besides what its jobs may
DIED, LATE = 'died', 'time-out'


@dataclass
class Job:
    """argv[0] is what the program is told, path what is run. files, links: as for cpio.build."""
    name: str
    path: str
    argv: list
    seconds: int = 30
    mem: int = 256 << 20
    alone: bool = False             # in a boot of its own
    files: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    environment: list = None


@dataclass
class Result:
    """ended: '0', '3', 'SIGSEGV', DIED (the machine), LATE, or '' (it was not run)."""
    ended: str = ''
    output: bytes = b''
    why: str = ''                   # of a machine that died


def _runner(machine):
    """The program that runs the jobs there, built once per source text."""
    source = os.path.join(TOP, 'tools', 'batch.c')
    arch = machine if machine in ARCHES else oracle.KERNELS[machine]['machine']
    compiler = next((c for c in ARCHES[arch].compilers if have(c)), None)
    if not compiler:
        raise CannotRun(f'{machine}: there is no C compiler for {arch} ({", ".join(ARCHES[arch].compilers)})')
    with open(source, 'rb') as f:
        digest = hashlib.sha256(f.read()).hexdigest()[:16]
    folder = os.path.join(BUILD, 'batch')
    os.makedirs(folder, exist_ok=True)
    binary = os.path.join(folder, f'batch-{arch}-{digest}')
    if not os.path.exists(binary):
        temporary = f'{binary}.{os.getpid()}'
        run_command([compiler, '-O1', '-static', '-o', temporary, source], 'building the batch runner')
        os.replace(temporary, binary)
    return binary


def _list(jobs):
    """/.batch"""
    words = []
    for j in jobs:
        env = ENVIRONMENT if j.environment is None else j.environment
        words += [str(j.seconds), str(len(j.argv)), str(len(env)), j.path, *j.argv, *env]
    return b''.join(os.fsencode(w) + b'\0' for w in words)


def _ended(word):
    if word == b'timeout':
        return LATE
    code = os.waitstatus_to_exitcode(int(word))
    return str(code) if code >= 0 else signal.Signals(-code).name


def _parse(text, count):
    """([Result] of as many jobs as ended, whether another one had begun)."""
    results, at = [], 0
    while True:
        begin = re.compile(rb'QJOB (\d+)\n').match(text, at)
        if not begin:
            return results, False
        end = re.compile(rb'QEND (\d+) (\S+) (\d+)\n').match(text, begin.end())
        if not end or end.end() + int(end[3]) > len(text):
            return results, True
        at = end.end() + int(end[3])
        results.append(Result(_ended(end[2]), text[end.end():at]))
        at += 1


def _size(files):
    return sum(os.path.getsize(f[0] if isinstance(f, tuple) else f) for f in files.values()
               if isinstance(f, str) or (isinstance(f, tuple) and isinstance(f[0], str)))


def _groups(jobs):
    """Jobs of one boot each: of one size of memory, of which their files take no more than a quarter."""
    group, taken = [], {}
    for j in jobs:
        more = {k: v for k, v in j.files.items() if k not in taken}
        if group and (j.alone or group[-1].alone or j.mem != group[-1].mem
                      or _size(taken) + _size(more) > j.mem // 4):
            yield group
            group, taken, more = [], {}, j.files
        group.append(j)
        taken.update(more)
    if group:
        yield group


def _boot(machine, jobs, out):
    """One boot; what was said goes to the file. Says why it ended too early, '' if it did not."""
    files, links = {}, {}
    for j in jobs:
        files.update(j.files)
        links.update(j.links)
    files['/.batch-run'], files['/.batch'] = (_runner(machine), 0o755), (_list(jobs), 0o644)
    limit = BOOT_SECONDS + sum(j.seconds for j in jobs)
    argv, mem = ['/.batch-run'], jobs[0].mem
    with open(os.devnull, 'rb') as null, open(os.devnull, 'wb') as err:
        streams = hostio.Streams(null.fileno(), out.fileno(), err.fileno())
        try:
            if machine in ARCHES:
                r = qemu.run(qemu.Config(machine, argv[0], files=files, links=links, words=['norandmaps'], mem=mem,
                                         seconds=limit, argv=argv, environment=ENVIRONMENT, streams=streams,
                                         quiet=True))
                return '' if r.status == 0 else f'the machine ended with status {r.status}'
            job = oracle.Job('batch', argv, False, limit, environment=ENVIRONMENT, streams=streams)
            r = oracle.run_jobs([job], files, machine, max(mem >> 20, 512), links=links)[0]
            return '' if r.status == 0 else f'the list ended with status {r.status}'
        except (CannotRun, TimedOut) as e:
            return str(e).splitlines()[0]


def run(machine, jobs, progress=None):
    """[Result] of the jobs, in their order. progress(done, all)."""
    if machine in ARCHES:
        build.build_kernel(machine)
    else:
        oracle.kernel_image(machine)
    results, done, folder = {}, 0, scratch('batch')
    try:
        for group in _groups(jobs):
            again = 1
            while group:
                path = os.path.join(folder, 'out')
                with open(path, 'w+b', buffering=0) as out:
                    why = _boot(machine, group, out)
                    out.seek(0)
                    found, begun = _parse(out.read(), len(group))
                if len(found) < len(group):
                    if not begun and not found:
                        if again:
                            again -= 1
                            continue
                        raise CannotRun(f'{machine}: no job was run: {why or "the list ended"}')
                    found.append(Result(DIED, why=why))
                for j, r in zip(group, found):
                    results[id(j)] = r
                group = group[len(found):]
                done += len(found)
                if progress:
                    progress(done, len(jobs))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [results.get(id(j), Result()) for j in jobs]


def first_difference(a, b):
    """The first line that differs, as (number, one, other); None: all the same."""
    one, other = (t.decode(errors='replace').splitlines() for t in (a, b))
    for n in range(max(len(one), len(other))):
        x, y = (t[n] if n < len(t) else '(nothing)' for t in (one, other))
        if x != y:
            return n + 1, x, y
    return None if a == b else (len(one), 'ends otherwise', '')
