#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Four times a machine's memory, in every kind and order (test/kernel/swap.c), or on the machine in
software (test/programs/swap_matrix.c).
usage: swap_matrix.py MACHINE IMAGE PROGRAM [DONE]
MACHINE host: IMAGE is that program and PROGRAM is -. Each of the 27 set-ups is a run of its own, with 64 MiB
of memory and 256 MiB that are touched; DONE is a file with those that passed, which are not run again."""
import itertools
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS, ORDERS, PROCESSES = ('private', 'shared', 'file'), ('forward', 'random', 'zipf'), ('1', '4', '16')
MEMORY, TOUCHED, DISK = '64', '256', '393216'   # MiB, MiB, KiB
SHOWN = ('nobody got on', 'pswpout', 'requests of', 'ended with', 'not so', 'word ', 'kB are in use')
SECONDS = 7200


def command(machine, image, program, what):
    if machine == 'host':
        return [image, *what, TOUCHED]
    return [sys.executable, os.path.join(HERE, 'run_program.py'), machine, image, '-t', str(SECONDS),
            '-m', MEMORY, '-w', 'swap=/dev/vda', '-d', DISK + ',swap',
            *(a for word in (*what, TOUCHED) for a in ('-a', word)), program]


def main():
    machine, image, program = sys.argv[1:4]
    path = sys.argv[4] if len(sys.argv) > 4 else os.devnull
    done = open(path).read().splitlines() if os.path.isfile(path) else []
    setups = list(itertools.product(KINDS, ORDERS, PROCESSES))
    print(f'1..{len(setups)}')
    bad = 0
    for n, what in enumerate(setups, 1):
        name = '-'.join(what)
        if name in done:
            print(f'ok {n} - {name}, before')
            continue
        begin = time.monotonic()
        r = subprocess.run(command(machine, image, program, what), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
        for line in r.stdout.splitlines():
            if r.returncode or any(s in line for s in SHOWN):
                print(line if line.startswith('#') else '# ' + line)
        print(f'{"not " if r.returncode else ""}ok {n} - {name}, {time.monotonic() - begin:.0f} s', flush=True)
        bad += r.returncode != 0
        if not r.returncode:
            with open(path, 'a') as f:
                f.write(name + '\n')
    return bad != 0


sys.exit(main())
