# SPDX-License-Identifier: MIT
"""What Quire needs of the machine it is built on, and how it gets there.

What is there is found by what it does, wherever it lies: a program that can be called, a header that
compiles, a library that links, an emulator that starts with its firmware. What is missing has a
package on Debian, which is installed; elsewhere its name is told (docs/install.md).
"""
import functools
import os
import re
import shutil
import subprocess
import sys

from arches import ARCHES, NAMES
from common import CannotRun, have, say

# package of Debian -> what shows that it is there, in the words of there()
BUILD = {
    'gcc': 'gcc',
    'libc6-dev': 'header:gcc stdio.h',
    'binutils': 'ld',
    'meson': 'meson',
    'ninja-build': 'ninja',
    'pkg-config': 'pkg-config',
}
TEST = {
    'libcriterion-dev': 'pkg:criterion',
    'spin': 'spin',
    'libfdt-dev': 'header:gcc libfdt.h',
    'device-tree-compiler': 'dtc',
    'babeltrace2': 'babeltrace2',
    'musl-tools': 'musl-gcc',
    'patch': 'patch',
    'ccache': 'ccache',
    'e2fsprogs': 'mke2fs|/usr/sbin/mke2fs',
}
RECORD = {'linux-perf': 'perf'}
# What `boot --gdb` recommends.
DEBUG = {'gdb-multiarch': 'gdb-multiarch'}
# The program that a real Linux gets as its init; Fedora has the static library apart.
ORACLE = {'libc6-dev': 'static:gcc'}
# Only benchmarks look for these: other allocators to be measured beside.
BENCH = {'libmimalloc-dev': 'library:gcc mimalloc', 'libjemalloc-dev': 'library:gcc jemalloc'}

# The same elsewhere: package of Debian -> what it is, Fedora's, Arch's and Nix's name ('': it has none).
ELSEWHERE = {
    'gcc': ('a C compiler', 'gcc', 'gcc', 'gcc'),
    'libc6-dev': ('the C library to compile with, also static', 'glibc-devel glibc-static', 'glibc', 'glibc.static'),
    'binutils': ('a linker', 'binutils', 'binutils', 'binutils'),
    'meson': ('meson', 'meson', 'meson', 'meson'),
    'ninja-build': ('ninja', 'ninja-build', 'ninja', 'ninja'),
    'pkg-config': ('pkg-config', 'pkgconf-pkg-config', 'pkgconf', 'pkg-config'),
    'qemu-system-x86': ('QEMU for x86-64', 'qemu-system-x86-core', 'qemu-system-x86', 'qemu'),
    'qemu-system-misc': ('QEMU for RISC-V', 'qemu-system-riscv-core', 'qemu-system-riscv', 'qemu'),
    'opensbi': ('OpenSBI where QEMU finds it', 'qemu-common', 'qemu-system-riscv-firmware', 'qemu'),
    'gcc-riscv64-linux-gnu': ('a C compiler for RISC-V', 'gcc-riscv64-linux-gnu', 'riscv64-linux-gnu-gcc',
                              'pkgsCross.riscv64.buildPackages.gcc'),
    'libc6-dev-riscv64-cross': ('its C library', '', 'riscv64-linux-gnu-glibc',
                                'pkgsCross.riscv64.buildPackages.gcc'),
    'e2fsprogs': ('mke2fs and e2fsck', 'e2fsprogs', 'e2fsprogs', 'e2fsprogs'),
    'libcriterion-dev': ('Criterion, for unit tests', 'criterion-devel', 'criterion', 'criterion'),
    'spin': ('spin, for models', '', 'spin', 'spin'),
    'libfdt-dev': ('libfdt, to test beside', 'libfdt-devel', 'dtc', 'dtc'),
    'device-tree-compiler': ('dtc', 'dtc', 'dtc', 'dtc'),
    'babeltrace2': ('babeltrace2', 'babeltrace2', 'babeltrace', 'babeltrace2'),
    'musl-tools': ('musl-gcc', 'musl-gcc', 'musl', 'musl.dev'),
    'patch': ('patch', 'patch', 'patch', 'patch'),
    'ccache': ('ccache', 'ccache', 'ccache', 'ccache'),
    'linux-perf': ('perf', 'perf', 'perf', 'linuxPackages.perf'),
    'gdb-multiarch': ('a gdb that knows both machines', 'gdb', 'gdb', 'gdb'),
    'libmimalloc-dev': ('mimalloc', 'mimalloc-devel', 'mimalloc', 'mimalloc'),
    'libjemalloc-dev': ('jemalloc', 'jemalloc-devel', 'jemalloc', 'jemalloc'),
}
SYSTEMS = {'fedora': (1, 'dnf install'), 'arch': (2, 'pacman -S'), 'nixos': (3, 'nix-shell -p')}
NO_NETWORK = re.compile(r'Temporary failure resolving|Could not resolve|Could not connect|Network is unreachable|'
                        r'Connection (refused|timed out|failed)|Unable to connect|No route to host')


# ---- what is there ---------------------------------------------------------------------------

def _works(argv, text=''):
    try:
        return subprocess.run(argv, input=text.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _compiles(compiler, header, *flags):
    return _works([compiler, '-x', 'c', '-', '-o', os.devnull, *flags],
                  f'#include <{header}>\nint main(void) {{ return 0; }}\n')


@functools.cache
def there(mark):
    """Whether one of these, parted by |, is there: the name of a program; `header:COMPILER NAME`, which
    compiles; `library:COMPILER NAME` and `static:COMPILER`, which link; `pkg:NAME` of pkg-config;
    `boots:EMULATOR BOARD`, which starts with its own firmware."""
    if '|' in mark:
        return any(map(there, mark.split('|')))
    kind, colon, what = mark.partition(':')
    if not colon:
        return have(mark)
    first, _, rest = what.partition(' ')
    if kind == 'header':
        return have(first) and _compiles(first, rest, '-fsyntax-only')
    if kind == 'library':
        return have(first) and _compiles(first, 'stddef.h', '-l' + rest)
    if kind == 'static':
        return have(first) and _compiles(first, 'stdio.h', '-static')
    if kind == 'pkg':
        return have('pkg-config') and _works(['pkg-config', '--exists', first])
    assert kind == 'boots'
    return have(first) and _works([first, '-M', rest, '-accel', 'tcg', '-bios', 'default', '-display', 'none',
                                   '-serial', 'none', '-S', '-monitor', 'stdio'], 'quit\n')


def needs(purpose, machines=None):
    """{package: mark} of a purpose, for some machines alone (as in machines.py); None: for all."""
    arches = [ARCHES[m] for m in NAMES if machines is None or m in machines]
    of = {p: mark for a in arches for p, mark in {**a.build_packages, **a.run_packages}.items()}
    real = machines is None or any(m.startswith('linux-') for m in machines)
    if real:                # a real Linux of x86-64
        of = {**ARCHES['x86_64'].run_packages, **ORACLE, **of}
    return {
        'build': {**BUILD, **of},
        'test': {**BUILD, **of, **TEST},
        'record': {'gcc': 'gcc', 'libc6-dev': 'header:gcc stdio.h', **RECORD},
        'bench': {**BUILD, **of, **BENCH},
        'all': {**BUILD, **of, **TEST, **RECORD, **DEBUG},
    }[purpose]


def missing(purpose='all', machines=None):
    """The packages that are not there, by Debian's name."""
    return [p for p, mark in needs(purpose, machines).items() if not there(mark)]


# ---- getting it ------------------------------------------------------------------------------

def system(path='/etc/os-release'):
    """What this system is called: of SYSTEMS, or ''."""
    try:
        with open(path) as f:
            words = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', f.read(), re.M)
    except OSError:
        return ''
    return next((w for s in words for w in s.split() if w in SYSTEMS), '')


def elsewhere(wanted):
    """What is missing, for a system without apt-get: what it is, and how it is called there."""
    text = 'Missing are: ' + ', '.join(ELSEWHERE[p][0] for p in wanted)
    name = system()
    if name:
        column, command = SYSTEMS[name]
        names = dict.fromkeys(ELSEWHERE[p][column] for p in wanted if ELSEWHERE[p][column])
        none = [ELSEWHERE[p][0] for p in wanted if not ELSEWHERE[p][column]]
        text += f'. To install: {command} {" ".join(names)}' if names else ''
        text += f'. Without a package there: {", ".join(none)}' if none else ''
    return text + ' (docs/install.md)'


def _install_command(wanted):
    """How to call apt-get here, or CannotRun."""
    if not shutil.which('apt-get'):
        raise CannotRun(f'this system has no apt-get. {elsewhere(wanted)}')
    if os.geteuid() == 0:
        return ['apt-get']
    if shutil.which('sudo'):
        return ['sudo', 'apt-get']
    raise CannotRun(f'installing needs root, and there is no sudo. Missing are: {" ".join(wanted)}')


def _apt(argv, wanted):
    """Runs apt-get; what it says is passed on. CannotRun: it cannot reach anybody."""
    said = []
    with subprocess.Popen(argv, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C.UTF-8'},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors='replace') as p:
        for line in p.stdout:
            said.append(line)
            sys.stderr.write(line)
    if NO_NETWORK.search(''.join(said)):
        raise CannotRun('no network: the package mirror cannot be reached. Missing are: ' + ' '.join(wanted))
    return p.returncode


def ensure(purpose='all', machines=None):
    """Installs what is missing; says what. CannotRun names what still is."""
    wanted = missing(purpose, machines)
    if not wanted:
        return
    apt = _install_command(wanted)
    say(f'quire: installing from Debian: {" ".join(wanted)}')
    full = ['sudo', 'DEBIAN_FRONTEND=noninteractive', 'apt-get'] if apt[0] == 'sudo' else apt
    quiet = [] if sys.stderr.isatty() else ['-qq']
    for command in (['update'], ['install', '-y', '--no-install-recommends', *wanted]):
        status = _apt([*full, *quiet, *command], wanted)
        if status and command[0] == 'install':
            raise CannotRun(f'apt-get ended with status {status}. Missing are: {" ".join(wanted)}')
    there.cache_clear()
    left = missing(purpose, machines)
    if left:
        raise CannotRun(f'still missing after the installation: {" ".join(left)}')
