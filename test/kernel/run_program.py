#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots a kernel image with one program as its first and checks how both end.
usage: run_program.py MACHINE IMAGE [-s STATUS] [-l TEXT] [-w WORD]... [-a ARGUMENT]... [-k TEXT [-n TEXT]] PROGRAM|ARCHIVE
The machine must end with STATUS (0), its log must hold TEXT, and unless the start failed on purpose
as many pages must be free after the program as before. -k: it must hang, and is
ended when its log says TEXT; -n: what that must not say a second later. A file named *.cpio is given as it is."""
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

SECONDS = 300


def command(machine, image, initrd, words, log):
    return [*arches.find(machine).command(128, log), '-kernel', image, '-initrd', initrd,
            '-append', ' '.join(words)]


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
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if args.hangs and re.search(args.hangs, read(log)):
                time.sleep(1 if args.never else 0)
                process.kill()
                return args.status, ''
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
            return -1, f'QEMU did not end within {SECONDS} s'
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
    p.add_argument('program')
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        initrd, log = os.path.join(tmp, 'initrd'), os.path.join(tmp, 'log')
        with open(args.program, 'rb') as f:
            data = f.read()
        if not args.program.endswith('.cpio'):
            data = cpio.build({'/program': (data, 0o755)})
        with open(initrd, 'wb') as f:
            f.write(data)
        words = ['init=/program', *args.word, *(['--', *args.argument] if args.argument else [])]
        code, err = run(args, command(args.machine, args.image, initrd, words, log), log)
        text = read(log)
    why = list(problems(args, code, text))
    print('1..1')
    for line in text.splitlines() + err.splitlines() + why:
        print('# ' + line)
    print(f'{"not " if why else ""}ok 1 - {os.path.basename(args.program)} on {args.machine}')
    return 1 if why else 0


sys.exit(main())
