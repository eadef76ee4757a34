#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a bare kernel image in QEMU and passes its TAP lines on: run_bare.py MACHINE IMAGE [MIB [WORD...]].
The words are the kernel's command line; `la57` also gives the x86-64 processor 5-level paging, and
`smp=N` the machine N CPUs.
Everything else that it logs becomes a comment. Exit status: the image's own; 2 if QEMU is
missing, hangs, or ends in a way that no image asks for."""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import arches  # noqa: E402

SECONDS = 100  # a machine that hangs takes them; a busy host must not
TAP = re.compile(r'(not )?ok \d|1\.\.\d|Bail out!')


def command(machine, image, mib, words, log):
    arch = arches.find(machine)
    cpu = arch.cpu and arch.cpu.replace('la57=off', 'la57=on' if 'la57' in words else 'la57=off')
    smp = [w[4:] for w in words if w.startswith('smp=')]
    return [*arch.command(mib, log, cpu), *(['-smp', smp[0]] if smp else []), '-kernel', image,
            '-append', ' '.join(words)]


def status(machine, code):
    """What the image passed to hal_exit(), from QEMU's own exit code; 2: nothing that it asks for."""
    ended = arches.find(machine).ended(code)
    return 2 if ended is None else ended


def main():
    machine, image = sys.argv[1:3]
    seconds = SECONDS * arches.slowness()
    mib = sys.argv[3] if len(sys.argv) > 3 else '128'
    if any(w.startswith('smp=') for w in sys.argv[4:]) and os.environ.get('QUIRE_ICOUNT'):
        print('1..0 # SKIP instructions are counted on one CPU alone')
        return 0
    with tempfile.TemporaryDirectory() as tmp:
        log = os.path.join(tmp, 'log')
        try:
            run = subprocess.run(command(machine, image, mib, sys.argv[4:], log), timeout=seconds,
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True)
            code = status(machine, run.returncode)
            err = run.stderr
        except FileNotFoundError as e:
            code, err = 2, f'{e.filename} is not installed'
        except subprocess.TimeoutExpired:
            code, err = 2, f'QEMU did not end within {seconds} s'
        text = open(log, errors='replace').read() if os.path.exists(log) else ''
    for line in text.splitlines():
        print(line if TAP.match(line) or line.startswith('#') else '# ' + line)
    for line in err.splitlines():
        print('# ' + line)
    if code == 2:
        print('Bail out! the machine did not run to its end')
    return code


sys.exit(main())
