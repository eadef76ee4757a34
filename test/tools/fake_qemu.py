#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stands where QEMU is looked for, and behaves to ./quire as a guest would (docs/exec.md), as FAKE says:
echo: what comes in goes out, and "to stderr" to standard error; signal: waits for one; hang: never ends;
asleep: says nothing and stays; panic: says that the kernel is at its end; silent: says nothing and goes; full: writes until nobody reads;
console: a machine on standard input and output (boot).
FAKE_STATUS: how the program ends; FAKE_LOG: more lines of the kernel's; FAKE_PID: where its number goes."""
import mmap
import os
import re
import struct
import sys
import time

AT, IN, OUT, ERR = 0x100000, 0, 1, 2
SIZES = (1 << 16, 1 << 17, 1 << 15)
LINE = ' '.join(sys.argv)
STATUS = int(os.environ.get('FAKE_STATUS', '0'))


def end(status):
    """As the exit device of the board ends the emulator."""
    os._exit(((0x10 + min(status, 0x60)) << 1) | 1)


class Guest:
    def __init__(self):
        size = int(re.search(r'id=ram,size=(\d+)', LINE)[1])
        fd = int(re.search(r'mem-path=/proc/self/fd/(\d+)', LINE)[1])
        os.ftruncate(fd, size)
        self.memory = memoryview(mmap.mmap(fd, 1 << 18, offset=AT))
        self.words = self.memory[:256].cast('Q')
        self.log = open(re.search(r'-debugcon file:(\S+)', LINE)[1], 'w', buffering=1)
        at = 4096
        for i, n in enumerate(SIZES):
            self.words[8 * (1 + i)], self.words[8 * (1 + i) + 1] = at, n
            at += n
        self.words[0] = int.from_bytes(b'UICSTIO1', 'little')
        self.log.write(f'some firmware\nquire: stdio phys={AT:#x} size=0x40000\nquire: 1 of 2 pages free\n')

    def move(self, ring, data=None):
        """Up to a few bytes out of a ring, or all of data into it."""
        base = 8 * (1 + ring)
        while True:
            offset, size, head, tail, closed = self.words[base:base + 5]
            if data is None:
                if head == tail:
                    return None if closed else b''
                n = min(head - tail, 5000, size - tail % size)
                got = bytes(self.memory[offset + tail % size:offset + tail % size + n])
                self.words[base + 3] = tail + n
                return got
            if closed:
                return False
            n = min(len(data), size - (head - tail), size - head % size)
            self.memory[offset + head % size:offset + head % size + n] = data[:n]
            self.words[base + 2] = head + n
            data = data[n:]
            if not data:
                return True
            time.sleep(0.001)

    def ends(self, status):
        self.log.write(os.environ.get('FAKE_LOG', ''))
        self.log.close()
        self.words[1] = 1 << 32 | status
        end(status)


def echo(g):
    g.move(ERR, b'to stderr\n')
    while (data := g.move(IN)) is not None:
        if data:
            g.move(OUT, data)
        else:
            time.sleep(0.001)
    g.ends(STATUS)


def signalled(g):
    g.move(OUT, b'ready\n')
    while not g.words[2]:
        time.sleep(0.001)
    number, g.words[2] = g.words[2], 0
    g.ends(128 + number)


def full(g):
    while g.move(OUT, b'y\n' * 1000):
        pass
    g.log.write('quire: x[2]: killed by signal 13 (SIGPIPE)\n')
    g.ends(141)


def panic(g):
    g.log.write('quire: PANIC: it is broken\nquire: tasks:\n')
    end(3)


def hang(g):
    g.move(OUT, b'ready\n')
    time.sleep(1000)


def console():
    """A mux over standard input and output, with a log of what it shows."""
    with open(re.search(r'logfile=([^, ]+)', LINE)[1], 'w') as log:
        for text in (f'quire: 1 of 2 pages free\nquire: the first program ended with status 1\nquire> ',
                     f'quire: the first program ended with status {STATUS}\n'):
            log.write(text)
            log.flush()
            print(text, end='', flush=True)
            if 'ended with status 1\n' in text:
                print(sys.stdin.readline(), end='', flush=True)
    end(STATUS)


if 'FAKE_PID' in os.environ:
    with open(os.environ['FAKE_PID'] + '.new', 'w') as f:
        f.write(str(os.getpid()))
    os.rename(os.environ['FAKE_PID'] + '.new', os.environ['FAKE_PID'])
how = os.environ['FAKE']
if how == 'silent':
    sys.exit(0)
if how == 'asleep':
    time.sleep(1000)
if how == 'console':
    console()
{'echo': echo, 'signal': signalled, 'full': full, 'panic': panic, 'hang': hang}[how](Guest())
