# SPDX-License-Identifier: MIT
"""Builds: build/host, build/asan (the host build under sanitizers), build/bench (the host
build as a release), build/coverage (with gcov's counters), build/x86_64, build/riscv64, and
build/release-x86_64, build/release-riscv64: the kernels as releases, which ./quire bench measures;
build/latency-x86_64, build/latency-riscv64: releases that measure how long interrupts are off.

Each is an ordinary meson build folder; a change of the sources is rebuilt by the next call.
"""
import os
import shlex
import shutil
import subprocess
import sys

import lz4
import packages
import testlog
from arches import ARCHES, NAMES
from common import CannotRun, TOP, build_folder as folder, have, say, wait_for_lock

OPTIONS = {
    'host': [],
    # Warnings that only sanitizers and other optimisations bring are no errors. Of debug information what
    # a report's call stack needs: with all of it the compiler takes a third longer.
    'asan': ['-Db_sanitize=address,undefined', '-Db_lundef=false', '-Doptimization=1',
             '-Dwerror=false', '-Dencodings=x86_64', '-Dc_args=-g1'],
    # What is inlined always would count its branches, and those of its constants, for its caller.
    'coverage': ['-Db_coverage=true', '-Dbuildtype=debug', '-Dencodings=x86_64,invented',
                 '-Dwerror=false', '-Dc_args=-fprofile-update=prefer-atomic -Dalways_inline=unused'],
    'bench': ['--buildtype=release', '-Dencodings=x86_64'],
}
for _machine in NAMES:
    OPTIONS[_machine] = ['--cross-file', os.path.join(TOP, 'cross', _machine + '.ini')]
    OPTIONS['latency-' + _machine] = ['--buildtype=release', '-Dlatency=true',
                                     *OPTIONS[_machine]]
    OPTIONS['release-' + _machine] = ['--buildtype=release', *OPTIONS[_machine]]

# What runs need of each build; tests want all of it.
TARGETS = {
    'host': ['user/quire-host-x86_64', 'user/runner-native', 'user/replayer-native',
             'user/quire-fuzz-x86_64', 'user/fuzz-native'],
    **{m: ['kernel/quire.elf', 'user/runner', 'user/replayer', 'user/fuzz'] for m in NAMES},
}


def jobs():
    return str(len(os.sched_getaffinity(0)))


def _loud(argv, what):
    """Runs a build step; its output is shown only if it fails."""
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, cwd=TOP)
    if r.returncode:
        text = r.stdout.decode(errors='replace').splitlines()
        first = next((i for i, s in enumerate(text) if s.startswith('FAILED')), 0)
        text = [s for s in text[first:] if not s.startswith('[')] or text
        raise CannotRun(f'{what} failed:\n' + '\n'.join('    ' + s[:400] for s in text[-40:]))


def build(name, targets=()):
    """Brings one build up to date. One ./quire at a time: the others wait."""
    where = folder(name)
    try:
        os.makedirs(os.path.dirname(where), exist_ok=True)
        lock = open(where + '.lock', 'w')
    except OSError as e:
        raise CannotRun(f'{e.filename}: cannot be written: {e.strerror.lower()}') from None
    with lock:
        wait_for_lock(lock, f'the build of {name}')
        _build(name, where, targets)


def _cross_file(name, where):
    """More of a cross file, where the compiler has another name than in cross/: as --cross-file FILE."""
    arch = next((ARCHES[m] for m in NAMES if name.endswith(m)), None)
    prefixes = arch.cross_prefixes if arch else ()
    prefix = next((p for p in prefixes if have(p + 'gcc')), None)
    if not prefix or prefix == prefixes[0]:
        return []
    with open(where + '.cross.ini', 'w') as f:
        f.write('[binaries]\n' + ''.join(f"{k} = '{prefix}{v}'\n" for k, v in (
            ('c', 'gcc'), *((t, t) for t in ('ar', 'ld', 'objcopy', 'nm', 'strip')))))
    return ['--cross-file', where + '.cross.ini']


def _build(name, where, targets):
    if not os.path.exists(os.path.join(where, 'build.ninja')):
        say(f'quire: building {name} (the first time takes a while)')
        _loud(['meson', 'setup', where, TOP, *OPTIONS[name], *_cross_file(name, where)], f'meson setup of {name}')
    elif lz4.where() and not os.path.exists(os.path.join(where, 'lib', 'lz4.c')):
        # It was set up without, and the source has come since.
        _loud(['meson', 'setup', '--reconfigure', where, TOP], f'meson setup of {name}')
    _loud(['ninja', '-C', where, '-j', jobs(), *targets], f'the build of {name}')


def build_for(machines):
    """Installs and builds what these machines need; Linux's programs are the host build's."""
    packages.ensure('build', machines)
    for name in sorted({m if m in NAMES else 'host' for m in machines}):
        build(name, TARGETS[name])


def build_kernel(machine):
    """What other people's programs run on; nothing of ours to run there."""
    packages.ensure('build', [machine])
    build(machine, ['kernel/quire.elf'])


def without_shims():
    """A PATH in which python3 is the interpreter that runs this, and no script that looks for one: tests
    call ./quire hundreds of times, and such a script takes longer than the call."""
    path, here = os.environ.get('PATH', ''), sys.executable
    if not here or os.path.realpath(shutil.which('python3') or here) == os.path.realpath(here):
        return path
    return os.path.dirname(here) + os.pathsep + path


def meson_test(name, suites, extra=()):
    """Runs suites of a build, or the tests named last in extra; returns (passed, failed) and prints
    meson's own list, and to standard output why tests failed."""
    logs = os.path.join(folder(name), 'meson-logs')
    keeper, kept = os.path.join(TOP, 'tools', 'keep_output.sh'), os.path.join(logs, 'kept')
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept)
    log = os.path.join(logs, 'testlog-keep_output.sh.json')     # meson puts the wrapper into the name
    if os.path.exists(log):
        os.remove(log)
    argv = ['meson', 'test', '-C', folder(name), '--no-rebuild', '--wrapper', shlex.join([keeper, kept]), *extra]
    for s in suites:
        argv += ['--suite', s]
    # What a test says before its time is up is in the file by then.
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, cwd=TOP,
                       env={**os.environ, 'PATH': without_shims(), 'PYTHONUNBUFFERED': '1',
                            'PYTHONPYCACHEPREFIX': sys.pycache_prefix or ''})
    tests = testlog.read(log)
    for t in tests:
        for line in testlog.reasons(t, kept):
            print(line, flush=True)
    passed, failed = testlog.count(tests)
    if r.returncode and not failed:
        failed = 1
    return passed, failed
