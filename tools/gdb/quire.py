# SPDX-License-Identifier: MIT
"""Looks into Quire's kernel from gdb: what the monitor shows at its prompt, of a machine that stands still.

    gdb-multiarch build/x86_64/kernel/quire.elf -x tools/gdb/quire.py -ex 'target remote :1234'

quire tasks, quire vmas PID, quire walk PID ADDRESS, quire page FRAME (or PID ADDRESS). Nothing in the
machine is called or changed: memory is read as it is, locked or not.
"""
import gdb

PAGE = 4096
LEVEL_NAMES = ['pte', 'pmd', 'pud', 'p4d', 'pgd']
STATES = ['running', 'sleeping', 'dead']


def u64(value):
    return int(value) & (1 << 64) - 1


def variable(name):
    value = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
    if not value:
        raise gdb.GdbError(f'{name} is not known: is this quire.elf, with its debugging information?')
    return value.value()


def offset_of(kind, field):
    return next(f.bitpos // 8 for f in kind.fields() if f.name == field)


def listed(head, kind, field):
    """The structures on a list_head, in order."""
    kind = gdb.lookup_type(kind)
    link, offset, seen = head['next'], offset_of(kind, field), 0
    while u64(link) != u64(head.address) and seen < 1 << 20:
        yield gdb.Value(u64(link) - offset).cast(kind.pointer()).dereference()
        link, seen = link['next'], seen + 1


def processes():
    return listed(variable('all_processes'), 'struct process', 'all')


def text(array):
    return bytes(u64(array[i]) & 0xff for i in range(array.type.range()[1] + 1)).split(b'\0')[0].decode(errors='replace')


def process(pid):
    for p in processes():
        if int(p['pid']) == pid:
            return p
    raise gdb.GdbError(f'no process {pid} (quire tasks lists them)')


def space(pid):
    mm = process(pid)['mm']
    if not u64(mm):
        raise gdb.GdbError(f'process {pid} has no address space')
    return mm.cast(gdb.lookup_type('struct mm_struct').pointer()).dereference()


def numbers(argument, *names):
    words = gdb.string_to_argv(argument)
    if len(words) != len(names):
        raise gdb.GdbError('wants ' + ' '.join(names))
    try:
        return [u64(gdb.parse_and_eval(w)) for w in words]
    except gdb.error as e:
        raise gdb.GdbError(str(e)) from None


# ---- page tables -----------------------------------------------------------------------------

def on_riscv():
    return 'riscv' in gdb.selected_inferior().architecture().name()


def decode(entry, level):
    """(kind, frame, flags) of an entry, as arch/NAME/pte.h has it."""
    if not entry:
        return 'none', 0, ''
    if on_riscv():
        frame = entry >> 10 & (1 << 44) - 1
        if not entry & 1:
            return {1: 'protnone', 2: 'swap', 3: 'migration'}.get(entry >> 1 & 7, 'corrupt'), frame, ''
        if not entry & 14:
            return 'table', frame, ''
        bits = [(2, 'r'), (4, 'w'), (8, 'x'), (16, 'u')]
        flags = ''.join(c if entry & b else '-' for b, c in bits)
        return 'leaf', frame, flags + (' accessed' if entry & 64 else '') + (' dirty' if entry & 128 else '')
    frame = (entry & (1 << 52) - 1) >> 12
    if not entry & 1:
        return 'not present', frame, ''
    if level and not entry & 128:
        return 'table', frame, ''
    flags = 'r' + ('w' if entry & 2 else '-') + ('-' if entry >> 63 else 'x') + ('u' if entry & 4 else '-')
    return 'leaf', frame, flags + (' accessed' if entry & 32 else '') + (' dirty' if entry & 64 else '')


def word_at(physical):
    base = u64(variable('hal_direct_base'))
    pointer = gdb.lookup_type('unsigned long').pointer()
    return u64(gdb.Value(base + physical & (1 << 64) - 1).cast(pointer).dereference())


def walk(mm, address):
    """[(level, index, entry, kind, frame, flags)] from the root down."""
    levels = int(variable('pt_levels'))
    table = u64(mm['pgd']) - u64(variable('hal_direct_base')) & (1 << 64) - 1
    out = []
    for level in range(levels - 1, -1, -1):
        index = address >> 12 + 9 * level & 511
        entry = word_at(table + 8 * index)
        kind, frame, flags = decode(entry, level)
        name = LEVEL_NAMES[4 if level == levels - 1 else level]
        out.append((name, index, entry, kind, frame, flags))
        if kind != 'table':
            break
        table = frame * PAGE
    return out


# ---- commands --------------------------------------------------------------------------------

class Quire(gdb.Command):
    """Looks into Quire's kernel: quire tasks, vmas, walk, page."""

    def __init__(self):
        super().__init__('quire', gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)


class Tasks(gdb.Command):
    """quire tasks: processes and their threads."""

    def __init__(self):
        super().__init__('quire tasks', gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        print(f'{"PID":>5} {"TID":>5} {"PARENT":>6} {"STATE":9} {"VMAS":>5} NAME')
        for p in processes():
            mm = p['mm']
            count = int(mm.cast(gdb.lookup_type('struct mm_struct').pointer())['map_count']) if u64(mm) else 0
            name = text(p['comm']) + (' (zombie)' if p['zombie'] else '')
            threads = list(listed(p['threads'], 'struct task', 'thread'))
            for t in threads or [None]:
                state = STATES[int(t['state'])] if t else '-'
                tid = int(t['tid']) if t else '-'
                print(f'{int(p["pid"]):5} {tid:>5} {int(p["ppid"]):6} {state:9} {count:5} {name}')


class Vmas(gdb.Command):
    """quire vmas PID: the areas of a process, by address."""

    def __init__(self):
        super().__init__('quire vmas', gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        pid, = numbers(argument, 'PID')
        mm = space(pid)
        vma, count = mm['mmap'], 0
        while u64(vma):
            flags = u64(vma['vm_flags'])
            perms = ''.join(c if flags & b else '-' for c, b in zip('rwx', (1, 2, 4))) + ('s' if flags & 8 else 'p')
            more = f' file offset 0x{u64(vma["vm_pgoff"]) * PAGE:x}' if u64(vma['vm_file']) else \
                ' stack' if flags & 0x100 else ''
            print(f'0x{u64(vma["vm_start"]):x}-0x{u64(vma["vm_end"]):x} {perms} flags 0x{flags:x}{more}')
            vma, count = vma['vm_next'], count + 1
        if count != int(mm['map_count']):
            print(f'the list has {count} areas, map_count says {int(mm["map_count"])}')


class Walk(gdb.Command):
    """quire walk PID ADDRESS: how an address translates, level by level."""

    def __init__(self):
        super().__init__('quire walk', gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        pid, address = numbers(argument, 'PID', 'ADDRESS')
        for name, index, entry, kind, frame, flags in walk(space(pid), address):
            where = f' pfn 0x{frame:x}' if kind != 'none' else ''
            print(f'  {name}[{index}] = 0x{entry:016x} {kind}{where}{" " + flags if flags else ""}')


class Page(gdb.Command):
    """quire page FRAME, quire page PID ADDRESS: what a frame is used for."""

    def __init__(self):
        super().__init__('quire page', gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        if len(gdb.string_to_argv(argument)) == 2:
            pid, address = numbers(argument, 'PID', 'ADDRESS')
            last = walk(space(pid), address)[-1]
            if last[3] != 'leaf':
                raise gdb.GdbError(f'no page is present at 0x{address:x}')
            frame = last[4]
        else:
            frame, = numbers(argument, 'FRAME (or PID ADDRESS)')
        if frame >= u64(variable('max_pfn')):
            raise gdb.GdbError(f'frame 0x{frame:x} has no struct page')
        page = (variable('vmemmap') + frame).dereference()
        flags = u64(page['flags'])
        names = {f.enumval: f.name.removeprefix('PG_') for f in gdb.lookup_type('enum pageflags').fields()}
        zone = names.pop(28, None) and flags >> 28 & 3
        print(f'frame 0x{frame:x}, zone {zone}: {" ".join(n for b, n in sorted(names.items()) if flags >> b & 1) or "no flags"}')
        mapping = u64(page['mapping'])
        what = 'nothing' if not mapping else f'anon_vma 0x{mapping & ~1:x}' if mapping & 1 else f'mapping 0x{mapping:x}'
        print(f'  {int(page["_refcount"])} references, {int(page["_mapcount"]) + 1} entries, {what}, '
              f'index {u64(page["index"])}')


for command in (Quire, Tasks, Vmas, Walk, Page):
    command()
