# SPDX-License-Identifier: MIT
"""A profile by function of what a benchmark row executes, exact and not sampled.

QEMU runs the program that repeats the row for ever. Once it says so, the emulator is told to
execute one instruction at a time and to write each one's address into a pipe; what lies between
the program's q_begin and q_end is counted by the symbol it belongs to, until enough rounds have
been seen. So the sum is the row's own figure, and nothing of the measured image is changed.
"""
import bisect
import collections
import os
import re
import subprocess
import threading
import time

import qemu
from common import CannotRun, bound_to_us, run, say

ADDRESS = re.compile(rb'\[[0-9a-f]+/([0-9a-f]+)/')
ROUNDS = 3
LIMIT = 30_000_000          # instructions looked at, at most
SECONDS = 300


class Symbols:
    """Function by address, from nm of several images."""

    def __init__(self, images):
        found = {}
        for image in images:
            for line in run(['nm', '--defined-only', image], 'nm').decode().splitlines():
                word = line.split()
                if len(word) == 3 and word[1] in 'tTwW' and not word[2].startswith(('.', '$')):
                    found.setdefault(int(word[0], 16), word[2])
        self.starts = sorted(found)
        self.names = [found[a] for a in self.starts]
        self.address = {n: a for a, n in found.items()}

    def name(self, address):
        i = bisect.bisect_right(self.starts, address) - 1
        return self.names[i] if i >= 0 else '?'


def _wait_for_loop(log, process):
    """Operations a round, once the program repeats its row."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with open(log, 'rb') as f:
                m = re.search(rb'q loop: operations (\d+)', f.read())
        except OSError:
            m = None
        if m:
            return int(m.group(1))
        time.sleep(0.05)
    raise CannotRun('profile: the program did not start its loop')


def _count(pipe, symbols):
    """Instructions by address between q_begin and q_end, and the rounds seen."""
    begin, end = symbols.address['q_begin'], symbols.address['q_end']
    counts, rounds, inside, seen = collections.Counter(), 0, False, 0
    for line in pipe:
        m = ADDRESS.search(line)
        if not m:
            continue
        pc, seen = int(m.group(1), 16), seen + 1
        if pc == begin:
            inside, part = True, collections.Counter()
        elif pc == end and inside:
            counts += part
            inside, rounds = False, rounds + 1
            if rounds == ROUNDS:
                break
        elif inside:
            part[pc] += 1
        if seen > LIMIT:
            break
    return counts, rounds


def _watch(command, folder, symbols):
    fifo, qmp, log = (os.path.join(folder, n) for n in ('fifo', 'qmp', 'log'))
    os.mkfifo(fifo)
    process = subprocess.Popen([*command, '-D', fifo, '-d', 'nochain',
                                '-qmp', f'unix:{qmp},server=on,wait=off'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, preexec_fn=bound_to_us())
    pipe = open(fifo, 'rb')
    try:
        monitor = qemu.Monitor(qmp)
        ops = _wait_for_loop(log, process)

        def switch_on():
            for line in ('singlestep on', 'log exec,nochain'):
                monitor.human(line)
        threading.Thread(target=switch_on, daemon=True).start()
        return (*_count(pipe, symbols), ops)
    finally:
        process.kill()
        process.wait()
        pipe.close()


def show(machine, row, command, folder, images, most=45):
    """Prints the profile of one row."""
    symbols = Symbols(images)
    counts, rounds, ops = _watch(command, folder, symbols)
    if not rounds:
        raise CannotRun(f'profile: {row}: no whole round among {LIMIT:,} instructions')
    functions = collections.Counter()
    for address, n in counts.items():
        functions[symbols.name(address)] += n
    total = sum(functions.values())
    print(f'\n{row} on {machine}: {total / rounds / ops:,.1f} instructions an operation, '
          f'{rounds} rounds of {ops} operations')
    for name, n in functions.most_common(most):
        print(f'  {n / rounds / ops:9.1f} {100 * n / total:5.1f} %  {name}')
    rest = functions.most_common()[most:]
    if rest:
        print(f'  {sum(n for _, n in rest) / rounds / ops:9.1f}          {len(rest)} others')
