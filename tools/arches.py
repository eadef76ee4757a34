# SPDX-License-Identifier: MIT
"""The architectures that Quire boots on: all that the tools and the tests' runners know of one.

A third one is a row here (docs/porting.md names the other files). Its name is that of the build
(build/NAME, cross/NAME.ini), of the machine in ./quire, and of `[NAME]` lines in scenarios.
"""
import os
import tempfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Arch:
    name: str
    folder: str                 # its place in arch/
    elf: int                    # e_machine of its programs
    emulator: str               # QEMU's program ...
    board: str                  # ... and its -M
    log: str                    # the option that takes file:PATH and shows the kernel's log
    boot_magic: tuple           # (offset, bytes) in a Linux kernel image for it
    peer: str                   # Linux beside us in the benchmark (oracle.KERNELS)
    peer_words: tuple           # what that one is told besides
    compilers: tuple            # of programs with a C library, tried in this order
    build_packages: dict        # Debian's, beside the host's own: package -> what shows it (packages.py)
    run_packages: dict
    cross_prefixes: tuple = ()  # of the compiler and its tools, the one of cross/NAME.ini first
    cpu: str = None             # -cpu; None: the board's own
    counted_cpu: str = None     # the same where instructions are counted
    devices: tuple = ()         # beside the board's: what ends the machine with a status
    disk_device: str = ''       # -device of a disk, {n} its number
    disk_options: tuple = ()    # and what the board wants once for all
    task_size: int = 1 << 47    # the first address that a program cannot have
    even_code: bool = False     # instructions lie at even addresses only
    own_seeds: bool = False     # random scenarios hold calls and rights of this one alone
    exit_shift: int = 0         # the exit device's status: 0, or what it adds before 2n + 1
    ram_base: int = 0           # where RAM begins
    ram_split: tuple = None     # (below this size all RAM is low, else low RAM ends here)

    def ended(self, code):
        """QEMU's exit status as the guest's; None: the guest did not end by itself."""
        if not self.exit_shift:
            return code
        return (code >> 1) - self.exit_shift if code & 1 and code >> 1 >= self.exit_shift else None

    def ram_offset(self, size, phys):
        """Where in the file behind guest memory a physical address lies."""
        if not self.ram_split or phys < 1 << 32:
            return phys - self.ram_base
        limit, low = self.ram_split
        return (low if size >= limit else limit) + phys - (1 << 32)

    def command(self, mib, log=None, cpu=None, backend=''):
        """QEMU for so much memory, without a kernel; log: the file that its words go to."""
        counted = os.environ.get('QUIRE_ICOUNT')    # a folder: instructions are counted, logs kept
        if counted:
            cpu = cpu and self.counted_cpu and cpu.replace(self.cpu, self.counted_cpu)
        cpu = cpu or counted and self.counted_cpu or self.cpu
        return [self.emulator, '-accel', 'tcg', '-M', self.board + backend,
                *(['-cpu', cpu] if cpu else []), '-m', f'{mib}M', '-display', 'none', '-nodefaults',
                '-no-reboot', *self.devices, *self._log(log, counted)]

    def _log(self, log, counted):
        if not log:
            return []
        if not counted:
            return [self.log, f'file:{log}']
        fd, kept = tempfile.mkstemp(prefix=self.name + '-', suffix='.log', dir=counted)
        os.close(fd)
        name = self.log.strip('-')  # the one that QEMU's own option looks for
        return ['-icount', 'shift=0,sleep=on', self.log, 'chardev:' + name,
                '-chardev', f'file,id={name},path={log},logfile={kept}']


RISCV_PREFIXES = ('riscv64-linux-gnu-', 'riscv64-unknown-linux-gnu-')
_X86_CPU = 'max,la57=off,pku=off'

ARCHES = {a.name: a for a in (
    Arch(name='x86_64', folder='x86_64', elf=62,
         emulator='qemu-system-x86_64', board='q35', cpu=_X86_CPU,
         # The string instructions' fast forms off: the emulator counts a byte as one instruction.
         counted_cpu=_X86_CPU + ',-erms,-fsrm', log='-debugcon',
         devices=('-device', 'isa-debug-exit,iobase=0xf4,iosize=4'), exit_shift=0x10,
         disk_device='virtio-blk-pci,disable-legacy=on',
         task_size=(1 << 47) - 4096,     # a page less: SYSRET behind its last instruction would fault
         ram_split=(0xb0000000, 0x80000000), boot_magic=(0x202, b'HdrS'),
         peer='linux-5.10', peer_words=(), compilers=('musl-gcc', 'gcc'), build_packages={},
         run_packages={'qemu-system-x86': 'qemu-system-x86_64'}, own_seeds=True),
    Arch(name='riscv64', folder='riscv', elf=243,
         emulator='qemu-system-riscv64', board='virt', log='-serial', ram_base=0x80000000,
         boot_magic=(0x30, b'RISCV'), peer='linux-6.12-riscv64', peer_words=('no5lvl',),
         compilers=('riscv64-linux-gnu-gcc',),
         build_packages={
             'gcc-riscv64-linux-gnu': '|'.join(p + 'gcc' for p in RISCV_PREFIXES),
             'libc6-dev-riscv64-cross': '|'.join(f'header:{p}gcc stdio.h' for p in RISCV_PREFIXES)},
         cross_prefixes=RISCV_PREFIXES,
         disk_device='virtio-blk-device,bus=virtio-mmio-bus.{n}',
         disk_options=('-global', 'virtio-mmio.force-legacy=false'),
         even_code=True,
         run_packages={
             'qemu-system-misc': 'qemu-system-riscv64',
             'opensbi': 'boots:qemu-system-riscv64 virt'}),
)}
NAMES = tuple(ARCHES)


def slowness():
    """What limits of time in tests are multiplied by: a machine that counts instructions is slow."""
    return 6 if os.environ.get('QUIRE_ICOUNT') else 1


def find(name):
    """By its name or its folder in arch/."""
    return next(a for a in ARCHES.values() if name in (a.name, a.folder))


def elf_machine(path):
    """The name by a program's ELF header, or None."""
    with open(path, 'rb') as f:
        head = f.read(20)
    if len(head) < 20 or head[:4] != b'\x7fELF' or head[4] != 2:
        return None
    machine = int.from_bytes(head[18:20], 'little')
    return next((a.name for a in ARCHES.values() if a.elf == machine), None)


def image_machine(path):
    """The name that a Linux kernel image is for, by its boot header; None if it is no such image."""
    with open(path, 'rb') as f:
        head = f.read(0x210)
    for a in ARCHES.values():
        at, magic = a.boot_magic
        if head[at:at + len(magic)] == magic:
            return a.name
    return elf_machine(path)
