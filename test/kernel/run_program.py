#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots a kernel image with one program as its first and checks how both end.
usage: run_program.py MACHINE IMAGE [-s STATUS] [-l TEXT] [-w WORD]... [-a ARGUMENT]... [-d DISK]... [-m MIB] [-t SECONDS] [-k TEXT [-n TEXT]] PROGRAM|ARCHIVE
The machine must end with STATUS (0), its log must hold TEXT, and unless the start failed on purpose
as many pages must be free after the program as before. -k: it must hang, and is
ended when its log says TEXT; -n: what that must not say a second later. A file named *.cpio is given as it is.
-m: memory of the machine (128). -t: time until it counts as hung (300; six times
that where instructions are counted).
DISK: KiB[,swap][,ro][,iops=N][,bad-read=SECTOR][,bad-write=SECTOR], zeros; with swap the first page
is mkswap's header; the sector fails; iops: requests a second at most. Or image=FILE[,iops=N], which keeps what is
written. -a now: the argument is now=SECONDS, the time of the day here."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import arches  # noqa: E402
import cpio  # noqa: E402
import disks  # noqa: E402

SECONDS = 300


def make_disk(folder, n, text):
    if text.startswith('image='):
        path, *words = text[len('image='):].split(',')
        return disks.Disk(path, iops=int(words[0][len('iops='):]) if words else 0)
    size, *words = text.split(',')
    disk = disks.Disk(os.path.join(folder, f'disk{n}'))
    with open(disk.path, 'wb') as f:
        f.truncate(int(size) << 10)
    for w in words:
        if w == 'ro':
            disk.read_only = True
        elif w.startswith('iops='):
            disk.iops = int(w[5:])
        elif w == 'swap':
            with open(disk.path, 'r+b') as f:
                f.write(disks.swap_header(int(size) << 10))
        else:
            kind, sector = re.fullmatch(r'bad-(read|write)=(\d+)', w).groups()
            disk.bad_sectors = disks.bad_sectors(folder, [int(sector)], kind)
    return disk


def command(args, tmp, initrd, words, log):
    arch = arches.find(args.machine)
    found = [make_disk(tmp, n, d) for n, d in enumerate(args.disk)]
    cpus = ['-smp', str(args.cpus)] if args.cpus else []
    return [*arch.command(args.memory, log), *cpus, *disks.options(arch, found), '-kernel', args.image,
            '-initrd', initrd, '-append', ' '.join(words)]


def problems(args, code, log):
    said = re.search(r'the first program ended with status (\d+)', log)
    if said:  # QEMU's own status is too narrow for the large ones
        code = int(said[1])
    if code != args.status:
        yield f'the machine ended with status {code}, not {args.status}'
    if args.log and args.log not in log:
        yield f'the log does not say "{args.log}"'
    if args.hangs:
        if not re.search(args.hangs, log):
            yield f'the log does not say "{args.hangs}"'
        if args.never and re.search(args.never, log):
            yield f'the log says "{args.never}"'
        return
    pages = re.search(r'free pages before=(\d+) after=(\d+), .* (-?\d+) tables', log)
    # Tables of the kernel's own range stay, however many stacks there were; a space's would be named.
    if pages and int(pages[1]) - int(pages[2]) != int(pages[3]):
        yield f'{pages[1]} pages were free before the program, {pages[2]} after it'
    if not pages and not args.log:
        yield 'the log says nothing of free pages'
    if 'were not given back' in log:
        yield 'pages were not given back'


def read(log):
    return open(log, errors='replace').read() if os.path.exists(log) else ''


def run(args, argv, log):
    """(the machine's status, what QEMU said); one that hangs on purpose is ended, status 0."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + args.time
        while process.poll() is None and time.monotonic() < deadline:
            if args.hangs and re.search(args.hangs, read(log)):
                time.sleep(1 if args.never else 0)
                process.kill()
                return args.status, ''
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
            return -1, f'QEMU did not end within {args.time} s'
        return arches.find(args.machine).ended(process.returncode), process.stdout.read()


def main():
    p = argparse.ArgumentParser()
    p.add_argument('machine')
    p.add_argument('image')
    p.add_argument('-s', '--status', type=int, default=0)
    p.add_argument('-l', '--log')
    p.add_argument('-k', '--hangs')
    p.add_argument('-n', '--never')
    p.add_argument('-w', '--word', action='append', default=[])
    p.add_argument('-a', '--argument', action='append', default=[])
    p.add_argument('-c', '--cpus', type=int)
    p.add_argument('-m', '--memory', type=int, default=128)
    p.add_argument('-t', '--time', type=int, default=SECONDS)
    p.add_argument('-d', '--disk', action='append', default=[])
    p.add_argument('program')
    args = p.parse_args()
    args.time *= arches.slowness()
    args.argument = [f'now={int(time.time())}' if a == 'now' else a for a in args.argument]
    if args.cpus and os.environ.get('QUIRE_ICOUNT'):
        print('1..0 # SKIP instructions are counted on one CPU alone')
        return 0
    with tempfile.TemporaryDirectory() as tmp:
        initrd, log = os.path.join(tmp, 'initrd'), os.path.join(tmp, 'log')
        with open(args.program, 'rb') as f:
            data = f.read()
        if not args.program.endswith('.cpio'):
            data = cpio.build({'/program': (data, 0o755)})
        with open(initrd, 'wb') as f:
            f.write(data)
        words = ['init=/program', *args.word, *(['--', *args.argument] if args.argument else [])]
        code, err = run(args, command(args, tmp, initrd, words, log), log)
        text = read(log)
    why = list(problems(args, code, text))
    print('1..1')
    for line in text.splitlines() + err.splitlines() + why:
        print('# ' + line)
    print(f'{"not " if why else ""}ok 1 - {os.path.basename(args.program)} on {args.machine}')
    return 1 if why else 0


sys.exit(main())
