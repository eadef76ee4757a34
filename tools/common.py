# SPDX-License-Identifier: MIT
"""What every tool shares: where things lie, how errors and progress are shown.

Python's standard library only, for the command must start on a bare Debian 12.
"""
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.environ.get('QUIRE_BUILD', os.path.join(TOP, 'build'))

OK, DIFFERENT, CANNOT, TIMED_OUT = 0, 1, 2, 124


def build_folder(name):
    """Where a build lies: build/NAME, or what a test that runs inside a build says."""
    return os.environ.get('QUIRE_BUILD_' + name.upper().replace('-', '_')) or os.path.join(BUILD, name)


class CannotRun(Exception):
    """The world's fault, not a result: the command ends with exit code 2 and this text."""


class TimedOut(CannotRun):
    """The time that a run was given is over."""


class Malformed(CannotRun):
    """An input file that cannot be read; the text says where and why."""


class Stopped(BaseException):
    """A signal asks this process to end: what it started ends, what it left about is removed."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def stop_on_signals():
    """The usual signals that end a process raise Stopped from here on, once."""
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
               if signal.getsignal(n) != signal.SIG_IGN]

    def caught(number, frame):
        for n in numbers:
            signal.signal(n, signal.SIG_IGN)
        raise Stopped(number)
    for n in numbers:
        signal.signal(n, caught)


line_end = '\n'         # '\r\n' while the terminal passes every byte on


def say(text):
    """A line for people, never part of a result."""
    try:
        print(text.replace('\n', line_end), file=sys.stderr, flush=True, end=line_end)
    except OSError:     # the terminal is gone, say: then nobody listens
        pass


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


PR_SET_PDEATHSIG = 1


def bound_to_us():
    """For subprocess's preexec_fn: a child that does not outlive this process, not even one that is
    killed."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl     # looked up here: a child between fork and exec does little

    def enter():
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:      # too late to be told
            os._exit(1)
    return enter


def have(program):
    """Whether a program can be called; administrators' folders count even if PATH lacks them."""
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    return shutil.which(program, path=path) is not None


_ours = {}          # folders of this process -> descriptors that lock them, which nobody inherits
ABANDONED = 60      # seconds: younger folders may just not be locked yet


def _locked(folder, flags=0):
    """A descriptor that holds the folder's lock; None: somebody else does."""
    fd = os.open(os.path.join(folder, '.lock'), os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def lock_folder(folder):
    """Makes the folder if need be; what is returned keeps every other ./quire out of it until it is
    closed or collected. A scratch folder of this process is its own already."""
    if folder in _ours:
        return None
    try:
        os.makedirs(folder, exist_ok=True)
        file = open(os.path.join(folder, '.lock'), 'w')
    except OSError as e:
        raise CannotRun(f'{folder}: cannot be written: {e.strerror.lower()}') from None
    wait_for_lock(file, folder)
    return file


def wait_for_lock(file, what):
    """Takes the file's lock; says so if it has to wait."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f'quire: waiting for another ./quire that uses {what}')
        fcntl.flock(file, fcntl.LOCK_EX)


def sweep(base):
    """Removes the scratch folders whose owners were killed."""
    for name in os.listdir(base):
        path = os.path.join(base, name)
        try:
            if not name.startswith('quire-') or time.time() - os.stat(path).st_mtime < ABANDONED:
                continue
            fd = _locked(path)
        except OSError:                 # another user's, or none of ours, or gone already
            continue
        if fd is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


def scratch(prefix, big=False):
    """A fresh folder that the caller removes; what a killed caller leaves, a later one removes. big: for
    RAM images, so in memory if there is room."""
    base = tempfile.gettempdir()
    if big and os.path.isdir('/dev/shm') and os.access('/dev/shm', os.W_OK):
        st = os.statvfs('/dev/shm')
        if st.f_bavail * st.f_frsize > 4 << 30:
            base = '/dev/shm'
    if not _ours:
        sweep(base)
    folder = tempfile.mkdtemp(prefix=f'quire-{prefix}-', dir=base)
    _ours[folder] = _locked(folder, os.O_CREAT)
    return folder


def parse_size(text):
    """'64M' as bytes; a bare number is MiB, as QEMU's -m."""
    units = {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
    t = text.strip().upper().removesuffix('IB').removesuffix('B')
    try:
        size = int(float(t[:-1]) * units[t[-1]]) if t and t[-1] in units else int(t) << 20
    except (ValueError, OverflowError):
        size = 0
    if not 0 < size < 1 << 48:
        raise CannotRun(f'{text}: not a size (examples: 128M, 1G)') from None
    return size


def is_elf(path):
    """True if the file starts like an ELF file."""
    try:
        with open(path, 'rb') as f:
            return f.read(4) == b'\x7fELF'
    except OSError:
        return False
