# SPDX-License-Identifier: MIT
"""What every tool shares: where things lie, how errors and progress are shown.

Python's standard library only, for the command must start on a bare Debian 12.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.environ.get('QUIRE_BUILD', os.path.join(TOP, 'build'))

OK, DIFFERENT, CANNOT = 0, 1, 2


def build_folder(name):
    """Where a build lies: build/NAME, or what a test that runs inside a build says."""
    return os.environ.get('QUIRE_BUILD_' + name.upper().replace('-', '_')) or os.path.join(BUILD, name)


class CannotRun(Exception):
    """The world's fault, not a result: the command ends with exit code 2 and this text."""


class Malformed(CannotRun):
    """An input file that cannot be read; the text says where and why."""


def say(text):
    """A line for people, never part of a result."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """One line that is rewritten on a terminal; silent elsewhere, where logs would fill up."""

    def __init__(self, what):
        self.what = what
        self.shown = 0.0
        self.width = 0
        self.tty = sys.stderr.isatty()

    def update(self, text):
        now = time.monotonic()
        if not self.tty or now - self.shown < 0.1:
            return
        self.shown = now
        line = f'{self.what}: {text}'[:100]
        sys.stderr.write('\r' + line.ljust(self.width))
        sys.stderr.flush()
        self.width = len(line)

    def done(self):
        if self.tty and self.width:
            sys.stderr.write('\r' + ' ' * self.width + '\r')
            sys.stderr.flush()
            self.width = 0


def run(argv, what=None, timeout=600, **kw):
    """Runs a program to its end and returns its standard output; CannotRun if it fails."""
    try:
        r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                           stdin=subprocess.DEVNULL, **kw)
    except FileNotFoundError:
        raise CannotRun(f'{what or argv[0]}: the program {argv[0]} is missing') from None
    except subprocess.TimeoutExpired:
        raise CannotRun(f'{what or argv[0]}: no end after {timeout} s') from None
    if r.returncode:
        tail = (r.stderr or r.stdout).decode(errors='replace').strip().splitlines()[-15:]
        raise CannotRun(f'{what or " ".join(argv[:3])}: failed with status {r.returncode}\n' +
                        '\n'.join('    ' + line for line in tail))
    return r.stdout


def have(program):
    """Whether a program can be called; administrators' folders count even if PATH lacks them."""
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    return shutil.which(program, path=path) is not None


def scratch(prefix, big=False):
    """A fresh folder that the caller removes. big: for RAM images, so in memory if there is room."""
    base = None
    if big and os.path.isdir('/dev/shm') and os.access('/dev/shm', os.W_OK):
        st = os.statvfs('/dev/shm')
        if st.f_bavail * st.f_frsize > 4 << 30:
            base = '/dev/shm'
    return tempfile.mkdtemp(prefix=f'quire-{prefix}-', dir=base)


def parse_size(text):
    """'64M' as bytes; a bare number is MiB, as QEMU's -m."""
    units = {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
    t = text.strip().upper().removesuffix('IB').removesuffix('B')
    try:
        if t and t[-1] in units:
            return int(float(t[:-1]) * units[t[-1]])
        return int(t) << 20
    except ValueError:
        raise CannotRun(f'{text}: not a size (examples: 128M, 1G)') from None


def is_elf(path):
    """True if the file starts like an ELF file."""
    try:
        with open(path, 'rb') as f:
            return f.read(4) == b'\x7fELF'
    except OSError:
        return False
