# SPDX-License-Identifier: MIT
"""./quire exec on one machine: its program is compiled here (exec_checks.c), few boots look at much each.
usage: test_exec.py MACHINE [large]; TAP on standard output. large: 64 MiB go through the pipe."""
import fcntl
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import oracle  # noqa: E402
from arches import ARCHES  # noqa: E402
from common import CannotRun, have  # noqa: E402

LARGE, SECONDS = 64 << 20, 20
count = failed = 0


def report(good, name, *why):
    global count, failed
    count += 1
    failed += not good
    print(f'{"" if good else "not "}ok {count} - {name}')
    for line in '\n'.join(map(str, why)).splitlines() if not good else ():
        print('# ' + line[:200])
    sys.stdout.flush()


class Machine:
    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.quire = name in ARCHES
        self.arch = ARCHES[name if self.quire else oracle.KERNELS[name]['machine']]
        self.program = os.path.join(folder, 'a program')
        compiler = next(c for c in self.arch.compilers if have(c))
        subprocess.run([compiler, '-O1', '-static', '-o', self.program, os.path.join(HERE, 'exec_checks.c')],
                       check=True)

    def start(self, options, *words, **kw):
        return subprocess.Popen([os.path.join(TOP, 'quire'), 'exec', *options, self.name, self.program, *words],
                                stdin=subprocess.PIPE, stdout=kw.pop('stdout', subprocess.PIPE),
                                stderr=subprocess.PIPE, **kw)

    def run(self, options, *words, given=b''):
        p = self.start(options, *words)
        out, err = p.communicate(given, timeout=300)
        return p.returncode, out, err.decode(errors='replace').splitlines()


def all_at_once(m):
    """Bytes, arguments, environment, files, what the descriptors are, how a program ends."""
    given = os.path.join(m.folder, 'given')
    os.makedirs(os.path.join(given, 'a folder'))
    with open(os.path.join(given, 'a folder', 'file'), 'w') as f:
        f.write('contents\n')
    os.symlink('a folder/file', os.path.join(given, 'link'))
    data = bytes(range(256)) * 1000 + b'\r\nquire: PANIC: none\nquire: kernel panic test\n\xff'
    words = ['', 'a "b\\" c', 'line\nend', 'x' * 131071]
    status, out, err = m.run(['--env', 'A=' + 'y' * 100000, '--dir', given + ':/given'], '255', *words,
                             given=data)
    report(status == 255 and out == data, f'{m.name}: bytes come back unchanged, with the exit status',
           status, len(out), *err)
    report(err[:6] == ['pipes 3, terminals 000, seek no',
                       'access 0 1, at the end poll 1 revents 0x10 FIONREAD 0 0',
                       'argument 0 ""', 'argument 8 "a "b\\" c"', 'argument 8 "line', 'end"'],
           f'{m.name}: descriptors are pipes; arguments with blanks and line ends', *err)
    report(err[6:7] == ['argument 131071 "xxxxxxxxxxxx"'] and
           any(re.fullmatch(r'variables 4, 1000\d\d bytes, A=y{100000}', s) for s in err),
           f'{m.name}: 128 KiB of arguments, 100 KiB of environment', *err)
    report(err[8:10] == ['/given/a folder/file: contents', '/given/link: contents'],
           f'{m.name}: a folder is there, with its links', *err)


def what_the_kernel_tells(m):
    """One boot: a child that is killed, a program that is no static one, a call that is not built."""
    dynamic = os.path.join(m.folder, 'dynamic')
    with open(dynamic, 'wb') as f:      # an interpreter is wanted, and no segment is there
        f.write(struct.pack('<4s12sHHIQQQIHHHHHH', b'\x7fELF', b'\2\1\1', 2, m.arch.elf, 1, 0x1000, 64, 0, 0,
                            64, 56, 1, 0, 0, 0))
        f.write(struct.pack('<IIQQQQQQ', 3, 4, 120, 120, 120, 8, 8, 1) + b'/ld.so\0\0')
    os.chmod(dynamic, 0o755)
    status, _, err = m.run(['--file', dynamic + ':/dynamic'], 'child')
    report(status == 137, f'{m.name}: an exit status above 96', status, *err)
    tests = [('a child killed by a signal', r'quire: a program\[\d+\]: killed by signal 11 \(SIGSEGV\), code 1 '
              r'SEGV_MAPERR, address 0x40 \(is not mapped\), instruction 0x[0-9a-f]+, stack 0x[0-9a-f]+'),
             ('a program that is no static ELF', r'quire: /dynamic: not run: .*(interp|dynamic|static).*'),
             ('a system call that is not built', r'quire: system call \d+ \(quotactl\) is not built')]
    for what, line in tests:
        report(sum(bool(re.fullmatch(line, s)) for s in err) == 1, f'{m.name}: {what} is told once', *err)


def how_it_ends(m):
    status, _, err = m.run([], 'protected')
    line = (r'quire: a program\[2\]: killed by signal 11 \(SIGSEGV\), code 2 SEGV_ACCERR, address 0x[0-9a-f]+ '
            r'\([0-9a-f]+-[0-9a-f]+ r--p without a name\), instruction 0x[0-9a-f]+, stack 0x[0-9a-f]+')
    if not m.quire:
        line = r'quire: a program\[\d+\]: segfault at .*'
    report(status == 139 and sum(bool(re.fullmatch(line, s)) for s in err) == 1,
           f'{m.name}: killed by a signal: status 139, and what was there', status, *err)
    if m.quire:
        status, _, err = m.run(['--mem', '32M'], 'memory')
        report(status == 137 and sum(': Killed process ' in s for s in err) == 1 and len(err) <= 2,
               f'{m.name}: killed for memory: status 137, one line', status, *err)
    p = m.start([], 'pause')
    p.stdout.readline()
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    report(p.returncode == 130, f'{m.name}: Ctrl-C reaches the program', p.returncode, err)


# What is expected to come at the terminal, and what is typed then.
CONVERSATION = [(rb'terminals 111, 33 x 99\r\n', b'onx\x7fe\n'),
                (rb'onx\x08 \x08e\r\nread 4 "one"\r\nchild\r\n', b'\3'),
                (rb'\^C.*ended by 2\r\nbytes\r\n', b'\3'),
                (rb'^3\r\n', b'')]


def terminal(m):
    """One conversation with the program, and how it ends."""
    pid, fd = pty.fork()
    if not pid:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 99, 0, 0))
        os.execv(os.path.join(TOP, 'quire'), ['quire', 'exec', '--tty', '--seconds', '100', m.name, m.program,
                                              'terminal'])
    said, begin, steps = b'', 0, list(CONVERSATION)
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:                 # the other side is closed
            break
        said += data
        if steps and re.search(steps[0][0], said[begin:], re.S):
            begin = len(said)
            os.write(fd, steps.pop(0)[1])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    report(status == 7 and not steps, f'{m.name}: a terminal: its size, a line that is edited, Ctrl-C to the '
           'foreground, single bytes', status, repr(said))


def large(m):
    path = os.path.join(m.folder, 'large')
    data = os.urandom(1 << 20) * (LARGE >> 20)
    p = m.start([], '0', stdout=open(path, 'wb'))
    begin = time.monotonic()
    p.communicate(data, timeout=600)
    took = time.monotonic() - begin
    with open(path, 'rb') as f:
        same = f.read() == data
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'# {m.name}: {LARGE >> 20} MiB in {took:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, the boot included')
    report(same and p.returncode == 0 and took < SECONDS, f'{m.name}: {LARGE >> 20} MiB unchanged, in time',
           p.returncode, same, took)


def main():
    name = sys.argv[1]
    if name not in ARCHES:
        try:
            oracle.kernel_image(name)
        except CannotRun as e:
            print(f'1..0 # SKIP {e}')
            return 0
    with tempfile.TemporaryDirectory() as folder:
        m = Machine(name, folder)
        if sys.argv[2:] == ['large']:
            large(m)
        else:
            all_at_once(m)
            if m.quire:
                what_the_kernel_tells(m)
            how_it_ends(m)
            terminal(m)
    print(f'1..{count}')
    return bool(failed)


sys.exit(main())
