# SPDX-License-Identifier: MIT
"""`./quire exec`: a program as the first one of a machine, as if it ran here (docs/exec.md).

Its standard input, output and error are this process's; what the kernel says comes on standard error
behind `quire: `, over a channel of its own. The exit status is the program's.
"""
import os
import re
import signal
import stat
import sys
import termios
import time
import tty

import build
import common
import hostio
import oracle
import qemu
from arches import NAMES, elf_machine
from common import CannotRun, TimedOut, is_elf, lock_folder, parse_size, say

MACHINES = (*NAMES, 'linux-5.10')
ENVIRONMENT = {'HOME': '/', 'PATH': '/bin:/usr/bin:/sbin:/usr/sbin', 'TERM': 'linux'}
STRING_MOST = 131071        # of one argument, as on Linux with pages of 4 KiB
STRINGS_MOST = 1 << 20      # of all together
SECONDS = 180
MEMORY = 128 << 20
INSISTS = 3                 # so many Ctrl-C within
WITHIN = 2.0                # seconds end the machine, whatever the program does


# ---- what the guest is given -------------------------------------------------------------------

def _pair(option, text):
    host, colon, guest = text.rpartition(':/')
    if not colon:
        raise CannotRun(f'{option} {text}: wants HOST:/GUEST')
    return host, '/' + guest.rstrip('/')


def _readable(path, what=''):
    try:
        with open(path, 'rb') as f:
            f.read(1)
    except FileNotFoundError:
        raise CannotRun(f'{what}{path}: no such file') from None
    except OSError as e:
        raise CannotRun(f'{what}{path}: cannot be read: {e.strerror.lower()}') from None


def _folder(top, guest):
    """(files, links) of a folder, for cpio.build."""
    files, links = {guest: None}, {}

    def failed(e):
        raise CannotRun(f'--dir {top}: {e.filename}: {e.strerror.lower()}')
    for where, folders, names in os.walk(top, onerror=failed):
        at = guest + where[len(top.rstrip('/')):]
        for name in folders + names:
            path, inside = os.path.join(where, name), f'{at.rstrip("/")}/{name}'
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                links[inside] = os.readlink(path)
            elif stat.S_ISREG(mode):
                _readable(path, f'--dir {top}: ')
                files[inside] = (path, mode & 0o777)
            elif stat.S_ISDIR(mode):
                files[inside] = None
    return files, links


def guest_files(args):
    """(files, links) of --file and --dir, for cpio.build."""
    files, links = {}, {}
    for text in args.file or []:
        host, guest = _pair('--file', text)
        if os.path.isdir(host):
            raise CannotRun(f'--file {text}: {host} is a folder (--dir takes one)')
        _readable(host, f'--file {text}: ')
        files[guest] = (host, os.stat(host).st_mode & 0o777)
    for text in args.dir or []:
        host, guest = _pair('--dir', text)
        if not os.path.isdir(host):
            raise CannotRun(f'--dir {text}: there is no folder {host}')
        f, n = _folder(host, guest)
        files.update(f)
        links.update(n)
    return files, links


def environment(options):
    """NAME=VALUE strings: a few usual ones, and those of --env; NAME alone has the value it has here."""
    env = dict(ENVIRONMENT)
    for text in options or []:
        name, given, value = text.partition('=')
        if not name:
            raise CannotRun(f'--env {text}: wants NAME=VALUE or NAME')
        if not given and name not in os.environ:
            raise CannotRun(f'--env {name}: is not set here')
        env[name] = value if given else os.environ[name]
    return [f'{name}={value}' for name, value in env.items()]


def _check_strings(argv, env):
    for word in argv + env:
        if len(os.fsencode(word)) > STRING_MOST:
            raise CannotRun(f'an argument or a variable of {len(os.fsencode(word))} bytes: at most '
                            f'{STRING_MOST}, as on Linux')
    if sum(len(os.fsencode(w)) + 1 for w in argv + env) > STRINGS_MOST:
        raise CannotRun(f'arguments and environment: more than {STRINGS_MOST} bytes')


def _check_program(path, machine):
    if os.path.isdir(path):
        raise CannotRun(f'{path}: is a folder')
    _readable(path)
    if not is_elf(path):
        raise CannotRun(f'{path}: not an ELF program')
    arch = elf_machine(path)
    if arch != machine:
        raise CannotRun(f'{path}: is for {arch or "another machine"}, not for {machine}')


# ---- this side's terminal and signals ------------------------------------------------------------

class Interrupts:
    """Ctrl-C goes to the guest's foreground processes. Who insists ends the machine."""

    def __init__(self, streams):
        self.streams, self.times = streams, []

    def __enter__(self):
        self.old = signal.signal(signal.SIGINT, self.caught)
        self.old_window = signal.signal(signal.SIGWINCH, lambda *_: self.streams.window())
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.old)
        signal.signal(signal.SIGWINCH, self.old_window)

    def caught(self, number, frame):
        now = time.monotonic()
        self.times = [t for t in self.times if now - t < WITHIN] + [now]
        if len(self.times) >= INSISTS or not self.streams.signal(number):
            raise KeyboardInterrupt


class RawTerminal:
    """While the guest has a terminal of its own, ours passes every byte on."""

    def __init__(self, streams):
        self.fd = streams.fds[0] if streams.terminal and os.isatty(streams.fds[0]) else None

    def __enter__(self):
        if self.fd is not None:
            self.old = termios.tcgetattr(self.fd)
            tty.setraw(self.fd, termios.TCSADRAIN)
            common.line_end = '\r\n'

    def __exit__(self, *_):
        if self.fd is not None:
            common.line_end = '\n'
            try:
                termios.tcsetattr(self.fd, termios.TCSADRAIN, self.old)
            except (OSError, termios.error):    # it is gone
                pass


# ---- a run -----------------------------------------------------------------------------------

def _on_quire(args, streams, guest, given, trace):
    found, swap = args.disks
    out = qemu.run(qemu.Config(args.machine, guest, files=given[0], links=given[1],
                               words=['norandmaps', *args.more_words], mem=args.memory or MEMORY,
                               smp=args.smp, seconds=args.seconds, trace_path=trace,
                               argv=args.argv, environment=args.environment,
                               disks=found, swap=swap, streams=streams, kept_log=args.kernel_log))
    return out.status


def linux_notices(log):
    """Of a real kernel's messages those that tell why a program ended."""
    lines = (re.sub(r'^<\d+>(\[[ 0-9.]+\] ?)?', '', s) for s in log.splitlines())
    return [s for s in lines if re.search(r'\]: segfault at |^traps: |: Killed process ', s)]


def _on_linux(args, streams, guest, given, trace):
    """A real kernel, in a machine of the same options."""
    mem = args.memory >> 20 if args.memory else oracle.MEM
    found, swap = args.disks
    oracle.check_machine(args.machine, mem, args.smp)
    job = oracle.Job('exec', args.argv, bool(trace), args.seconds, path=guest,
                     environment=args.environment, streams=streams)
    r = oracle.run_jobs([job], given[0], args.machine, mem, words=args.more_words, smp=args.smp, disks=found, swap=swap,
                        links=given[1])[0]
    if trace:
        with open(trace, 'w') as f:
            f.write(r.trace)
    if args.kernel_log:
        with open(args.kernel_log, 'w') as f:
            f.write(r.log)
    for line in linux_notices(r.log):
        say(f'quire: {line}')
    if r.status is None:
        raise TimedOut(f'{args.machine}: the program did not end in {args.seconds} s')
    return r.status


def execute(args, disks, swap, words):
    """The command; its exit status. words: more of the kernel's command line."""
    if args.machine not in MACHINES:
        raise CannotRun(f'exec: {args.machine}: wants {", ".join(NAMES)} or linux-5.10')
    if args.smp < 1:
        raise CannotRun(f'exec: --smp {args.smp}: wants at least 1')
    if args.seconds is None:
        args.seconds = 0 if args.tty else SECONDS
    if args.seconds < 0:
        raise CannotRun(f'exec: --seconds {args.seconds}: wants 0 (no limit) or more')
    args.memory = parse_size(args.mem) if args.mem else 0
    real = args.machine not in NAMES
    arch = oracle.KERNELS[args.machine]['machine'] if real else args.machine
    _check_program(args.program, arch)
    args.disks, args.more_words = (disks, swap), words
    guest = '/' + os.path.basename(args.program)
    args.argv = [guest, *args.args]
    args.environment = environment(args.env)
    _check_strings(args.argv, args.environment)
    files, links = guest_files(args)
    files[guest] = (args.program, 0o755)
    trace, lock = '', None
    if args.trace:
        lock = lock_folder(args.trace)
        suffix = 'trace.txt' if real else 'trace'
        trace = os.path.join(args.trace, f'{os.path.basename(guest)}.{args.machine}.{suffix}')
    if not real:
        build.build_kernel(args.machine)
    sys.stdout.flush()
    streams = hostio.Streams(terminal=args.tty)
    with Interrupts(streams), RawTerminal(streams):
        status = (_on_linux if real else _on_quire)(args, streams, guest, (files, links), trace)
    if trace:
        say(f'trace: {trace}')
    del lock
    return status
