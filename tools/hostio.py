# SPDX-License-Identifier: MIT
"""The host's side of a program's standard input, output and error (docs/exec.md): three rings in
memory that the guest shares, laid out as kernel/hostio.h has it.
"""
import fcntl
import os
import select
import signal
import struct
import termios
import time

from common import CannotRun

MAGIC = int.from_bytes(b'UICSTIO1', 'little')
ENDED = 1 << 32
W_MAGIC, W_STATUS, W_SIGNAL, W_WINDOW = range(4)
IN, OUT, ERR = range(3)
NAMES = ('standard input', 'standard output', 'standard error')
RING_WORDS = 8                  # the head's, and each ring's after it
W_OFFSET, W_SIZE, W_HEAD, W_TAIL, W_CLOSED = range(5)
HEAD_BYTES = 8 * RING_WORDS * 4
PIECE = 1 << 16


class Ring:
    """One of them. It has one writer and one reader; this process is the one or the other."""

    def __init__(self, memory, words, which):
        self.words, self.at = words, RING_WORDS * (1 + which)
        offset, self.size = self.get(W_OFFSET), self.get(W_SIZE)
        self.data = memory[offset:offset + self.size]

    def get(self, word):
        return self.words[self.at + word]

    def set(self, word, value):
        self.words[self.at + word] = value

    def used(self):
        return min(self.get(W_HEAD) - self.get(W_TAIL), self.size)

    def room(self):
        return self.size - self.used()

    def close(self):
        self.set(W_CLOSED, 1)

    def closed(self):
        return bool(self.get(W_CLOSED))

    def put(self, data):
        """Appends what fits; returns how much."""
        at, n = self.get(W_HEAD), min(len(data), self.room())
        first = min(n, self.size - at % self.size)
        self.data[at % self.size:at % self.size + first] = data[:first]
        self.data[:n - first] = data[first:n]
        self.set(W_HEAD, at + n)
        return n

    def peek(self):
        """What is in it, as far as it lies in one piece."""
        at = self.get(W_TAIL) % self.size
        return bytes(self.data[at:at + min(self.used(), self.size - at, PIECE)])

    def take(self, n):
        self.set(W_TAIL, self.get(W_TAIL) + n)


class Streams:
    """Descriptors of this process, joined with a guest's rings as soon as there is a guest."""

    def __init__(self, stdin=0, stdout=1, stderr=2, terminal=False):
        self.fds = (stdin, stdout, stderr)
        self.terminal = terminal        # the guest's side is a terminal
        self.words = self.rings = None

    def attach(self, memory):
        """memory: a writable memoryview of the block. False: the guest has not filled it in yet."""
        words = memory[:HEAD_BYTES].cast('Q')
        if words[W_MAGIC] != MAGIC:
            return False
        self.words = words
        self.rings = [Ring(memory, words, i) for i in (IN, OUT, ERR)]
        self.window()
        return True

    def detach(self):
        self.words = self.rings = None

    def status(self):
        """How the program ended, 0..255; None: it has not said so."""
        word = self.words[W_STATUS] if self.words else 0
        return word & 0xff if word & ENDED else None

    def signal(self, number):
        """Sent to the guest's foreground processes. False: there is no guest, or it does not take
        signals any more."""
        if not self.words or self.words[W_SIGNAL]:
            return False
        self.words[W_SIGNAL] = number
        return True

    def window(self):
        """Tells the guest how large the terminal is."""
        if not (self.words and self.terminal):
            return
        for fd in self.fds:
            try:
                rows, columns = struct.unpack('HHHH', fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))[:2]
            except OSError:
                continue
            self.words[W_WINDOW] = rows << 32 | columns
            return

    def step(self):
        """Moves what can be moved; True if that was anything."""
        if not self.rings:
            return False
        moved = self._from_guest(OUT) | self._from_guest(ERR)
        return self._to_guest() | moved

    def drain(self):
        """What the guest has left."""
        while self.rings and self._from_guest(OUT) | self._from_guest(ERR):
            pass

    def unread(self):
        """Nobody reads the output any more."""
        return bool(self.rings and self.rings[OUT].closed())

    def wait(self, seconds):
        """Until there is input that the guest has room for, but not longer than that."""
        ring = self.rings[IN] if self.rings else None
        if not ring or ring.closed() or not ring.room():
            time.sleep(seconds)
            return
        try:
            select.select([self.fds[IN]], [], [], seconds)
        except (OSError, ValueError):
            time.sleep(seconds)

    def _to_guest(self):
        ring = self.rings[IN]
        if ring.closed() or not ring.room():
            return False
        try:
            if not select.select([self.fds[IN]], [], [], 0)[0]:
                return False
            data = os.read(self.fds[IN], min(ring.room(), PIECE))
        except (OSError, ValueError):   # closed, or not to be read: as if it had ended
            data = b''
        if data:
            ring.put(data)
        else:
            ring.close()
        return True

    def _from_guest(self, which):
        ring = self.rings[which]
        data = ring.peek()
        if not data:
            return False
        if not ring.closed():
            try:
                ring.take(os.write(self.fds[which], data))
                return True
            except BrokenPipeError:     # nobody reads: the program gets a SIGPIPE
                ring.close()
                if self.terminal:
                    self.signal(signal.SIGHUP)
            except OSError as e:
                raise CannotRun(f'{NAMES[which]}: {e.strerror.lower()}') from None
        ring.take(len(data))
        return True
