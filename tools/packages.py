# SPDX-License-Identifier: MIT
"""What Quire needs of the machine it is built on, and how it gets there: Debian packages."""
import os
import shutil
import subprocess
import sys

from arches import ARCHES
from common import CannotRun, have, say

# package -> the program or file by which it is seen to be there
BUILD = {
    'gcc': 'gcc',
    'libc6-dev': '/usr/include/stdio.h',
    'binutils': 'ld',
    'meson': 'meson',
    'ninja-build': 'ninja',
    'pkg-config': 'pkg-config',
    **{p: mark for a in ARCHES.values() for p, mark in a.build_packages.items()},
}
RUN = {p: mark for a in ARCHES.values() for p, mark in a.run_packages.items()}
TEST = {
    'libcriterion-dev': '/usr/include/criterion/criterion.h',
    'libfdt-dev': '/usr/include/libfdt.h',
    'device-tree-compiler': 'dtc',
    'babeltrace2': 'babeltrace2',
    'musl-tools': 'musl-gcc',
    'patch': 'patch',
}
RECORD = {'linux-perf': 'perf'}
# Only benchmarks look for these: other allocators to be measured beside.
BENCH = {
    'libmimalloc-dev': '/usr/lib/x86_64-linux-gnu/libmimalloc.so',
    'libjemalloc-dev': '/usr/lib/x86_64-linux-gnu/libjemalloc.so',
}

FOR = {
    'build': {**BUILD, **RUN},
    'test': {**BUILD, **RUN, **TEST},
    'record': {'gcc': 'gcc', 'libc6-dev': '/usr/include/stdio.h', **RECORD},
    'bench': {**BUILD, **BENCH},
    'all': {**BUILD, **RUN, **TEST, **RECORD},
}


def missing(purpose='all'):
    """The packages that are not there, by name."""
    def there(mark):
        return os.path.exists(mark) if mark.startswith('/') else have(mark)
    return [p for p, mark in FOR[purpose].items() if not there(mark)]


def _install_command():
    """How to call apt-get here, or CannotRun."""
    if not shutil.which('apt-get'):
        raise CannotRun('this is no Debian system')
    if os.geteuid() == 0:
        return ['apt-get']
    if shutil.which('sudo'):
        return ['sudo', 'apt-get']
    raise CannotRun('installing needs root, and there is no sudo')


def ensure(purpose='all'):
    """Installs what is missing; says what. CannotRun names what still is."""
    wanted = missing(purpose)
    if not wanted:
        return
    names = ' '.join(wanted)
    try:
        apt = _install_command()
        say(f'quire: installing from Debian: {names}')
        env = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
        quiet = [] if sys.stderr.isatty() else ['-qq']
        for command in (['update'], ['install', '-y', '--no-install-recommends', *wanted]):
            if apt[0] == 'sudo':
                full = ['sudo', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', *quiet, *command]
            else:
                full = ['apt-get', *quiet, *command]
            status = subprocess.run(full, env=env, stdin=subprocess.DEVNULL,
                                    stdout=sys.stderr).returncode
            if status and command[0] == 'install':
                raise CannotRun(f'apt-get ended with status {status}')
    except CannotRun as e:
        raise CannotRun(f'{e}. Missing are: {names}') from None
    left = missing(purpose)
    if left:
        raise CannotRun(f'still missing after the installation: {" ".join(left)}')
