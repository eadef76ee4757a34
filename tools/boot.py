# SPDX-License-Identifier: MIT
"""`./quire boot`: a machine with its monitor, or a program of one's own, on this terminal."""
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time

import build
import cpio
import disks
import program
import qemu
from arches import ARCHES, NAMES
from common import CANNOT, OK, CannotRun, TimedOut, bound_to_us, build_folder, parse_size, say, scratch

# What the kernel and the core know (docs/kernel.md, docs/parameters.md): WORD, or WORD=VALUE.
WORDS = {
    'init', 'args', 'trace', 'mem_check', 'preempt', 'dump_tables', 'swap', 'ramdisk', 'aslr', 'aslr_seed',
    'monitor', 'verbose', 'norandmaps', 'stdio', 'zram',
    'kernelcore', 'movablecore', 'late_free', 'bad_page', 'debug_pagealloc', 'page_poison', 'page_owner',
    'init_on_alloc', 'init_on_free', 'slub_debug', 'slab_bug', 'slab_hardened', 'slab_freelist_random',
    'slab_nomerge', 'slub_nomerge', 'fail_page_alloc', 'failslab', 'keep_replaced',
}
UP = re.compile(rb'^quire: .* pages free\r?$', re.M)


def check_words(words):
    """What stands before `--` must be known: a word that nobody knows is a mistake of typing."""
    for word in words:
        if word == '--':
            return
        if word.partition('=')[0] not in WORDS and not word.startswith('zswap.'):
            raise CannotRun(f'boot: {word}: no word of the kernel command line (docs/kernel.md and '
                            'docs/parameters.md list them)')


def _command(args, words, folder):
    initrd = os.path.join(folder, 'initrd')
    with open(initrd, 'wb') as f:
        f.write(cpio.build(*program.guest_files(args)))
    found, more = disks.with_swap(*args.disks, folder)
    command = qemu.base_command(args.machine, args.memory, args.smp)
    command += disks.options(ARCHES[args.machine], found)
    command += ['-chardev', f'stdio,id=c,mux=on,signal=off,logfile={os.path.join(folder, "log")}',
                '-mon', 'chardev=c', '-serial', 'chardev:c', '-initrd', initrd,
                '-kernel', qemu.kernel_image(args.machine)]
    if args.gdb:
        command += ['-gdb', 'tcp::1234', '-S']
        script = os.path.join(os.path.dirname(os.path.realpath(__file__)), 'gdb', 'quire.py')
        say(f'quire: waiting for gdb: gdb-multiarch {qemu.kernel_image(args.machine)} -x {script} '
            "-ex 'target remote :1234'\nquire: there: quire tasks, quire vmas PID, quire walk PID ADDRESS, quire page FRAME")
    words = more + words
    return command + (['-append', ' '.join(words)] if words else [])


def _host_command(args, words, folder):
    if args.gdb:
        raise CannotRun('boot: --gdb: host is a process of this machine: start gdb on it')
    if args.file or args.dir:
        raise CannotRun('boot: host runs no programs, and takes no files')
    found, more = disks.with_swap(*args.disks, folder)
    command = [os.path.join(build_folder('host'), 'user', 'quire-host-x86_64'), '--monitor', '--mem', args.mem]
    command += [a for d in found for a in ('--disk', d.path + (',ro' if d.read_only else ''))]
    return command + [a for w in more + words for a in ('--word', w)]


class _Terminal:
    """As it was, whatever QEMU leaves: its settings, and that reads of it wait."""

    def __enter__(self):
        self.flags = [(fd, fcntl.fcntl(fd, fcntl.F_GETFL)) for fd in (0, 1) if _is_open(fd)]
        self.settings = termios.tcgetattr(0) if os.isatty(0) else None

    def __exit__(self, *_):
        try:
            for fd, flags in self.flags:
                fcntl.fcntl(fd, fcntl.F_SETFL, flags)
            if self.settings:
                termios.tcsetattr(0, termios.TCSADRAIN, self.settings)
        except (OSError, termios.error):        # it is gone
            pass


def _is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _feed(process, log):
    """Passes standard input on once the kernel is up: what comes before that firmware and serial port throw
    away."""
    while process.poll() is None:
        try:
            with open(log, 'rb') as f:
                if UP.search(f.read()):
                    break
        except OSError:
            pass
        time.sleep(0.02)
    try:
        while data := os.read(0, 4096):
            process.stdin.write(data)
            process.stdin.flush()
        process.stdin.close()
    except (OSError, ValueError):       # it has ended, or we have nothing to read from
        pass


def _run(command, seconds, log):
    """The exit status, None: time is over. log: where the console's output is kept; '': nowhere, and then
    nothing that is typed is lost."""
    feed = log and not os.isatty(0)
    with _Terminal():
        try:
            process = subprocess.Popen(command, preexec_fn=bound_to_us(),
                                       stdin=subprocess.PIPE if feed else None)
        except FileNotFoundError as e:
            raise CannotRun(f'{e.filename} is missing (./quire setup installs it)') from None
        if feed:
            threading.Thread(target=_feed, args=(process, log), daemon=True).start()
        try:
            return process.wait(seconds or None)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _status(args, code, log):
    """What the machine ended with. In words it is whole: QEMU's own status is too narrow for some."""
    if args.machine == 'host':
        if code < 0:
            raise CannotRun(f'boot: host: ended by {signal.Signals(-code).name}')
        return code
    try:
        with open(log, 'rb') as f:
            said = re.findall(rb'quire: the first program ended with status (\d+)\r?\n', f.read())
    except OSError:
        said = []
    status = ARCHES[args.machine].ended(code)
    if said and status is not None:
        return int(said[-1]) & 0xff
    return CANNOT if status is None and code else status or OK


def execute(args, words, found, swap):
    """The command; words: what followed `--`."""
    if args.seconds < 0:
        raise CannotRun(f'boot: --seconds {args.seconds}: wants 0 (no limit) or more')
    if args.smp < 1:
        raise CannotRun(f'boot: --smp {args.smp}: wants at least 1')
    check_words(words)
    args.memory = parse_size(args.mem)
    args.disks = found, swap
    if args.machine in NAMES:
        build.build_kernel(args.machine)
    else:
        build.build_for([args.machine])
    folder = scratch('boot')
    log = os.path.join(folder, 'log')
    try:
        command = (_command if args.machine in NAMES else _host_command)(args, words, folder)
        if args.machine in NAMES and os.isatty(0):
            say('quire: end with Ctrl-A X')
        sys.stdout.flush()
        code = _run(command, args.seconds, log if args.machine in NAMES else '')
        if code is None:
            raise TimedOut(f'boot: {args.machine} did not end in {args.seconds} s')
        return _status(args, code, log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
