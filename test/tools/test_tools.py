# SPDX-License-Identifier: MIT
"""The host-side tools: formats, parsers, comparisons. No QEMU, no root, no network."""
import contextlib
import glob
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import arches  # noqa: E402
import ask  # noqa: E402
import bench  # noqa: E402
import bench_q  # noqa: E402
import bench_reclaim  # noqa: E402
import build  # noqa: E402
import check_order  # noqa: E402
import check_rooms  # noqa: E402
import commands  # noqa: E402
import common  # noqa: E402
import compare  # noqa: E402
import compile_replay  # noqa: E402
import coverage  # noqa: E402
import cpio  # noqa: E402
import ctf  # noqa: E402
import disks  # noqa: E402
import fuzz  # noqa: E402
import kmem  # noqa: E402
import machines  # noqa: E402
import oracle  # noqa: E402
import profile_q  # noqa: E402
import qemu  # noqa: E402
import record  # noqa: E402
import recording  # noqa: E402
import tap  # noqa: E402
import testlog  # noqa: E402
import trace  # noqa: E402


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='quire-test-')
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name, data=None):
        p = os.path.join(self.folder, name)
        if data is not None:
            with open(p, 'wb') as f:
                f.write(data)
        return p


class Rooms(Folder):
    """A core of two rooms, the lower one with a hook."""
    ORDER = ['low', 'high']

    def setUp(self):
        super().setUp()
        for d in ('mm/low', 'mm/high', 'lib'):
            os.makedirs(self.path(d))
        self.path('mm/meson.build', b"mm_rooms = ['low', 'high']\n")
        self.path('mm/low/hooks.h', b'/* high/a.c. reaches(x); */\nint reach(int x);\n')
        self.path('mm/high/a.c', b'#include "mm/low/hooks.h"\n')

    def included(self):
        errors = []
        check_rooms.check_includes(self.folder, check_rooms.room_order(self.folder), errors)
        return errors

    def named(self, hooks, *lines):
        said = ''.join(f'x.a:.._mm_{s}\n' for s in lines)
        tool = self.path('nm', f'#!/bin/sh\ncat <<E\n{said}E\n'.encode())
        os.chmod(tool, 0o755)
        errors = []
        with mock.patch.dict(os.environ, PATH=self.folder + ':' + os.environ['PATH']), \
                mock.patch.object(check_rooms, 'HOOKS', hooks):
            check_rooms.check_names(self.folder, 'x.a', self.ORDER, errors)
        return errors

    def test_downward_is_fine(self):
        self.assertEqual(self.included(), [])
        self.assertEqual(self.named({}, 'high_a.c.o:   U base', 'low_b.c.o:0000 T base')[1:], [])

    def test_an_include_upward(self):
        self.path('mm/low/b.c', b'#include "mm/high/a.h"\n')
        self.assertEqual(self.included(),
                         ['mm/low/b.c:1: low stands below high, and includes mm/high/a.h'])

    def test_others_rooms(self):
        self.path('mm/low/b.c', b'#include <quire/os.h>\n#include "kernel/kernel.h"\n')
        self.path('lib/l.c', b'#include "arch/hal.h"\n\n#include "mm/low/hooks.h"\n')
        self.path('mm/c.h', b'')
        self.assertEqual(len(self.included()), 3)

    def test_a_name_upward(self):
        lines = ('low_b.c.o:     U reach', 'high_a.c.o:0000 T reach')
        self.assertIn('mm/low/b.c: uses reach of high, which stands above', self.named({}, *lines))
        self.assertEqual(self.named({('low', 'reach'): 'a reason'}, *lines), [])

    def test_a_hook_is_declared_and_called(self):
        hooks = {('low', 'reach'): '', ('low', 'other'): ''}
        lines = ('low_b.c.o:   U reach', 'low_b.c.o:   U other', 'high_a.c.o:0 T reach',
                 'high_a.c.o:0 D other')
        self.assertEqual(self.named(hooks, *lines),
                         ['mm/low/hooks.h: other of high is not declared there'])
        self.assertIn('check_rooms.py: HOOKS names other, which low does not call',
                      self.named(hooks, *lines[::2]))

    def test_an_archive_without_the_core(self):
        self.assertIn('x.a: no objects of mm/ in it', self.named({('low', 'reach'): ''}))


class Order(unittest.TestCase):
    """Fences, barriers and volatile in a text of the core."""

    def kinds(self, text):
        return [(line, kind) for line, kind, _ in check_order.faults(text)]

    def test_what_is_refused(self):
        self.assertEqual(self.kinds('int x;\n\tsmp_wmb();\n\t__atomic_thread_fence(__ATOMIC_RELEASE);'),
                         [(2, 'fence'), (3, 'fence')])
        self.assertEqual(self.kinds('barrier();\n__asm__ volatile("" ::: "memory");'),
                         [(1, 'barrier'), (2, 'barrier')])
        self.assertEqual(self.kinds('*(volatile int *)p = 1;\nstatic volatile bool stop;'),
                         [(1, 'volatile'), (2, 'volatile')])

    def test_what_is_fine(self):
        self.assertEqual(self.kinds('/* no smp_mb(),\n * not volatile */\n'
                                    '__asm__ volatile("pause");\nasm volatile("" : "+r"(x));\n'
                                    '__atomic_store_n(p, 1, __ATOMIC_RELEASE);'), [])


class Kmem(Folder):
    HEAD = ('== kernel\n5.10.0-test\n== buddyinfo before\n'
            'Node 0, zone      DMA      1      0      0      1      2      0      1      0      1      1      3 \n'
            '== buddyinfo after\n'
            'Node 0, zone      DMA      1      0      0      1      2      0      1      0      1      1      3 \n'
            '== stats\noverrun: 0\ndropped events: 0\n== trace\n# tracer: nop\n')

    def converted(self, *events, head=HEAD):
        lines = [f'     a-program-72      [000] d...    40.{i:06}: {e}\n' for i, e in enumerate(events)]
        return kmem.convert(head + ''.join(lines), 'true', 64).splitlines()

    def events(self, *events):
        out = self.converted(*events)
        i = next(i for i, s in enumerate(out) if s.startswith('events '))
        self.assertEqual(out[i], f'events {len(out) - i - 1}')
        return out[i + 1:]

    def test_numbers_instead_of_addresses(self):
        got = self.events(
            'mm_page_alloc: page=ffffea01 pfn=34602 order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE',
            'kmalloc: call_site=f+0x1/0x2 ptr=ffff88801c bytes_req=60 bytes_alloc=64 gfp_flags=GFP_KERNEL',
            'mm_page_free: page=ffffea01 pfn=34602 order=0',
            'kfree: call_site=f+0x1/0x2 ptr=ffff88801c',
            'kfree: call_site=f+0x1/0x2 ptr=0000000000000000',
            'kmem_cache_alloc_node: call_site=f ptr=ffff88801d bytes_req=6 bytes_alloc=8 gfp_flags=GFP_KERNEL node=-1',
            'mm_page_pcpu_drain: page=ffffea01 pfn=7 order=0 migratetype=1',
            'mm_page_alloc_extfrag: page=ffffea01 pfn=7 alloc_order=0 fallback_order=9')
        self.assertEqual(got, ['p 0 0 1 0', 'k 0 60 64 1', 'P 0', 'K 0', 'c 0 6 8 1', 'd', 'x'])

    def test_one_event_for_one_thing(self):
        got = self.events(
            'mm_page_alloc: page=1 pfn=16 order=3 migratetype=0 gfp_flags=GFP_KERNEL|__GFP_COMP',
            'kmalloc: call_site=f ptr=ffff10 bytes_req=20000 bytes_alloc=32768 gfp_flags=GFP_KERNEL',
            'mm_page_alloc: page=1 pfn=32 order=1 migratetype=0 '
            'gfp_flags=GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP',
            'kfree: call_site=f ptr=ffff10', 'mm_page_free: page=1 pfn=16 order=3',
            'mm_page_free: page=1 pfn=32 order=1')
        self.assertEqual(got, ['k 0 20000 32768 1', 'K 0'])

    def test_what_was_there_before_is_left_out(self):
        out = self.converted('mm_page_free: page=1 pfn=16 order=3', 'kfree: call_site=f ptr=ffff10')
        self.assertIn('skipped 2', out)
        self.assertEqual(out[-1], 'events 0')

    def test_failures_are_kept(self):
        got = self.events('mm_page_alloc: page=0 pfn=0 order=9 migratetype=1 gfp_flags=GFP_ATOMIC',
                          'kmalloc: call_site=f ptr=0000 bytes_req=9 bytes_alloc=16 gfp_flags=GFP_ATOMIC')
        self.assertEqual(got, ['f 9 1 0', 'g 9 16 0'])

    def test_lost_events_are_an_error(self):
        with self.assertRaisesRegex(common.CannotRun, 'lost events'):
            self.converted(head=self.HEAD.replace('overrun: 0', 'overrun: 12'))
        with self.assertRaisesRegex(common.CannotRun, 'said nothing'):
            kmem.convert('== kernel\n5.10\n', 'true', 64)

    def test_known_by_its_head(self):
        for path in glob.glob(os.path.join(TOP, 'test', 'recording', '*.kmem.xz')):
            self.assertTrue(kmem.is_kmem(path))
        self.assertFalse(kmem.is_kmem(glob.glob(os.path.join(TOP, 'test/recording/*.rec.xz'))[0]))
        self.assertFalse(kmem.is_kmem(self.path('x', b'quire')))
        with self.assertRaisesRegex(common.Malformed, 'not a whole xz'):
            kmem.read(self.path('y', b'\xfd7zXZ\0damaged'))


class Coverage(Folder):
    PAGE = ('| file | percent |\n|---|---|\n| `mm/a.c` | 90 |\n\n| file | line | why |\n'
            '| `*` | `ASSERT(` | a |\n| `mm/a.c` | `x \\| y` | b |\n| `mm/b.c` | `check()` | c |\n')

    def test_rules(self):
        r = coverage.Rules(self.PAGE)
        self.assertEqual(r.thresholds, {'mm/a.c': 90.0})
        self.assertTrue(r.excluded('mm/z.c', 'f', '\tASSERT(p);'))
        self.assertTrue(r.excluded('mm/a.c', 'f', '\tif (x | y)'))
        self.assertFalse(r.excluded('mm/b.c', 'f', '\tif (x | y)'))
        self.assertFalse(r.excluded('mm/a.c', 'check', 'if (z)'))
        self.assertEqual(r.unused(), [('mm/b.c', 'check()')])
        self.assertTrue(r.excluded('mm/b.c', 'check', 'if (z)'))
        self.assertEqual(r.unused(), [])

    def test_a_line_without_reason_is_refused(self):
        with self.assertRaisesRegex(common.CannotRun, 'coverage.md:2: neither'):
            coverage.Rules('| file | line | why |\n| `mm/a.c` | `x` |  |\n')

    def test_the_page_itself(self):
        with open(coverage.PAGE) as f:
            r = coverage.Rules(f.read())
        for name in [*r.thresholds, *(f for f, _ in r.exclusions if f != '*')]:
            self.assertTrue(os.path.exists(os.path.join(TOP, name)), name)


TESTS = '''
project('some')
sh = find_program('sh')
foreach name, script : {
    'before': 'echo 1..2; echo "ok 1 - a"; echo "# the reason"; echo "not ok 2 - b"; exit 1',
    'behind': 'echo 1..2; echo "not ok 1 - c"; echo "# because"; echo "ok 2 - d"',
    'good': 'echo 1..1; echo "# nobody asks"; echo "ok 1 - e"',
    'slow': 'echo 1..1; echo "# the last word"; exec sleep 100'}
  test(name, sh, args: ['-c', script], protocol: 'tap', timeout: name == 'slow' ? 4 : 60, suite: 'some')
endforeach
test('broken', sh, args: ['-c', 'echo "two words"; echo trouble >&2; kill -9 $$'], suite: 'some')
'''


class Testlog(Folder):
    """Why a test failed is said, of each kind of failure, and no more than somebody reads."""

    def test_run(self):
        self.path('meson.build', TESTS.encode())
        where = self.path('of')
        subprocess.run(['meson', 'setup', where, self.folder], stdout=subprocess.DEVNULL, check=True)
        with mock.patch.object(build, 'folder', lambda name: where), \
                mock.patch.object(build, 'TOP', TOP), open(os.devnull, 'w') as nowhere, \
                contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(build.meson_test('some', ['some']), (3, 4))
        said = out.getvalue().splitlines()
        for name, result, lines in (
                ('before', 'ERROR', ['not ok 2 - b', '# the reason']),
                ('behind', 'FAIL', ['not ok 1 - c', '# because']),
                ('slow', 'TIMEOUT', ['# the last word']),
                ('broken', 'FAIL', ['two words', 'trouble'])):
            at = [i for i, s in enumerate(said) if s.startswith(f'{name}: {result} after ')]
            self.assertEqual(len(at), 1, said)
            for n, line in enumerate(lines):
                self.assertEqual(said[at[0] + 1 + n], '    ' + line)
        self.assertNotIn('nobody', out.getvalue())

    def reasons(self, stdout, result='FAIL', stderr=''):
        return testlog.reasons({'name': 'x', 'result': result, 'stdout': stdout, 'stderr': stderr})

    def test_what_firmware_says_is_no_reason(self):
        told = ['# OpenSBI v1.1', '#    ____', '# Platform Name : x', '# Boot HART MEDELEG : 0xf0b509', '# quire: bad']
        self.assertEqual(self.reasons('\n'.join(['not ok 1', '# ', *told]))[1:], ['    not ok 1', '    # quire: bad'])

    def test_one_long_reason(self):
        told = [f'# line {n}' for n in range(500)]
        lines = self.reasons('\n'.join(['ok 1', *told, 'not ok 2', 'ok 3']))
        self.assertLessEqual(len(lines), testlog.LINES + 1)
        self.assertEqual(lines[-1], '    # line 499')
        self.assertIn(' lines more', lines[2])

    def test_many_failures(self):
        every = [s for n in range(300) for s in (f'not ok {n}', *['# a'] * n, f'# why {n}')]
        lines = self.reasons('\n'.join(every), stderr='\n'.join(['noise'] * 300 + ['the end']))
        self.assertLessEqual(len(lines), testlog.LINES + 1)
        self.assertEqual(lines[1], '    not ok 0')
        self.assertIn('    # why 0', lines)
        self.assertIn('    # why 5', lines)
        self.assertEqual(lines[-1], '    the end')
        self.assertTrue(any('failed results more' in s for s in lines))

    def test_reason_of_another(self):
        """What stands between two failures is said once."""
        lines = self.reasons('not ok 1\n# of the first\nnot ok 2\nnot ok 3')
        self.assertEqual([s.strip() for s in lines[1:]], ['not ok 1', '# of the first', 'not ok 2', 'not ok 3'])

    def test_good(self):
        self.assertEqual(self.reasons('ok 1', result='OK'), [])


class Cpio(unittest.TestCase):
    def entries(self, data):
        at, out = 0, {}
        while True:
            self.assertEqual(data[at:at + 6], b'070701')
            f = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
            name = data[at + 110:at + 110 + f[11] - 1].decode()
            at = (at + 110 + f[11] + 3) & ~3
            if name == 'TRAILER!!!':
                return out
            out[name] = (f[1], data[at:at + f[6]])
            at = (at + f[6] + 3) & ~3

    def test_contents_and_folders(self):
        got = self.entries(cpio.build({'/a/b/c': b'xyz', '/run': (b'12345', 0o600)},
                                      links={'/l': 'run'}))
        self.assertEqual(got['a/b/c'], (0o100755, b'xyz'))
        self.assertEqual(got['run'], (0o100600, b'12345'))
        self.assertEqual(got['l'], (0o120777, b'run'))
        self.assertEqual(got['a'][0], 0o40755)
        self.assertLess(list(got).index('a'), list(got).index('a/b'))

    def test_same_bytes_for_same_input(self):
        files = {'/z': b'1', '/a': b'2'}
        self.assertEqual(cpio.build(files), cpio.build(dict(reversed(files.items()))))


def make_recording(events, files=()):
    rec = recording.Recording(header={'release': 'test', 'command': 'x'})
    for f in files:
        rec.files[f.id] = f
    rec.events = list(events)
    rec.path = 'test.rec'
    return rec


HEAP = 0x555555600000
STACK = recording.Area(0x7ffffffde000, 0x7ffffffff000, 'rw-p', 0, 0, '[stack]', 4)
START = [('p', 1), ('x', 1, HEAP, 0x7fffffffe000, '/bin/x'), ('m', STACK)]
END = [('e', 0), ('m', STACK)]


class RecordingFile(Folder):
    def sample(self):
        f = recording.File(1, 'fe:0', 12, 5000, '/lib/with blank.so', [(0, 1)])
        return make_recording(START + [
            ('o', 1, 1, 0), ('c', 'mmap', [0, 8192, 3, 2, 3, 0], 0x7ffff7000000, 1),
            ('u', 0x7ffff7000010, 6), ('k', 0x7ffff7000020, 2),
            ('c', 'munmap', [1, 2], recording.U64 - 22, 0), ('z', 1), ('f', 2, 0x1200000),
            ('p', 2), ('e', 256), ('p', 1), ('a', 1, 0, 3)] + END, [f])

    def test_written_and_read_again(self):
        rec = self.sample()
        for name in ('a.rec', 'a.rec.xz'):
            recording.write(rec, self.path(name))
            got = recording.read(self.path(name))
            self.assertEqual(got.events, rec.events)
            self.assertEqual(got.files, rec.files)
            self.assertEqual(got.header, rec.header)

    def test_unknown_version(self):
        with self.assertRaisesRegex(common.Malformed, 'quire-recording 2'):
            recording.read(self.path('v2', b'quire-recording 2\nevents 0\n'))

    def test_malformed_line_is_named(self):
        recording.write(self.sample(), self.path('a'))
        with open(self.path('a')) as f:
            lines = f.read().splitlines()
        first = next(i for i, s in enumerate(lines) if s.startswith('events'))
        for i in range(first, len(lines)):
            broken = lines[:i] + ['u zz 4'] + lines[i + 1:]
            with self.assertRaises(common.Malformed):
                recording.read(self.path('b', '\n'.join(broken).encode()))

    def test_cut_anywhere_is_refused(self):
        recording.write(self.sample(), self.path('a.xz'))
        with open(self.path('a.xz'), 'rb') as f:
            data = f.read()
        for n in range(0, len(data) - 1, 7):
            with self.assertRaises(common.CannotRun):
                recording.read(self.path('cut', data[:n]))

    def test_process_must_be_made_first(self):
        rec = make_recording([('p', 2), ('e', 0)])
        recording.write(rec, self.path('a'))
        with self.assertRaisesRegex(common.Malformed, 'before it was made'):
            recording.read(self.path('a'))


class Compile(unittest.TestCase):
    """The table is checked by its own reader (rp_check, tested in C); here: what steps come."""

    def compile(self, events, files=()):
        c = compile_replay.Compiler(make_recording(events, files))
        c.prepare()
        c.run()
        return c

    def ops(self, c, op):
        return [s for s in c.steps if s[0] == op]

    def test_header(self):
        table = compile_replay.compile_recording(make_recording(START + END))
        self.assertEqual(table.data[:16], b'quire-replay 1\n\0')
        self.assertEqual(struct.unpack_from('<6I', table.data, 16)[:3], (88, 1, 1))
        self.assertEqual(len(table.data) % 8, 0)
        self.assertEqual(table.heaps, [HEAP])

    def test_chosen_addresses_become_fixed(self):
        c = self.compile(START + [('c', 'mmap', [0, 4096, 3, 0x22, 0xffffffff, 0], 0x7ffff7000000,
                                   0)] + END)
        call = [s for s in self.ops(c, compile_replay.OP_CALL) if s[3][0] == 0x7ffff7000000][0]
        self.assertEqual(call[3][3], 0x32)

    def test_written_pages_are_verified_before_they_go(self):
        at = 0x7ffff7000000
        c = self.compile(START + [('c', 'mmap', [0, 8192, 3, 0x22, 0xffffffff, 0], at, 0),
                                  ('u', at + 4096, 6), ('u', at, 4),
                                  ('c', 'munmap', [at, 8192], 0, 0)] + END)
        fault = self.ops(c, compile_replay.OP_FAULT)[0]
        self.assertEqual(fault[2], compile_replay.F_WRITE | compile_replay.F_MARK)
        verify = self.ops(c, compile_replay.OP_VERIFY)
        self.assertEqual([(v[2], v[3]) for v in verify], [(1, [at + 4096])])
        self.assertEqual(c.steps[c.steps.index(verify[0]) + 1][3][0], at)

    def test_vdso_is_left_out_and_counted(self):
        vdso = recording.Area(0x7ffff7fc0000, 0x7ffff7fc2000, 'r-xp', 0, 0, '[vdso]')
        c = self.compile(START + [('m', vdso), ('u', 0x7ffff7fc0020, 4)] + END)
        self.assertEqual(c.rules['vdso'], 1)
        self.assertFalse(self.ops(c, compile_replay.OP_FAULT))

    def test_fork_and_wait(self):
        c = self.compile(START + [('f', 2, 0x1200000), ('p', 2), ('e', 0), ('p', 1)] + END)
        ops = [s[0] for s in c.steps]
        i = ops.index(compile_replay.OP_EXIT)
        self.assertEqual((c.steps[i][1], ops[i + 1], c.steps[i + 1][2]),
                         (1, compile_replay.OP_WAIT, 1))

    def test_the_first_process_ends_last(self):
        c = self.compile(START + [('f', 2, 0)] + END + [('p', 2), ('e', 0)])
        self.assertEqual([s[1] for s in c.steps if s[0] == compile_replay.OP_EXIT], [1, 0])

    def test_the_hole_is_kept_free(self):
        with self.assertRaisesRegex(common.CannotRun, 'where the replayer lives'):
            self.compile(START + [('c', 'mmap', [0x20000, 4096, 3, 0x32, 0xffffffff, 0], 0x20000,
                                   0)] + END)

    def test_checked_in_recordings_compile(self):
        paths = glob.glob(os.path.join(TOP, 'test', 'recording', '*.rec.xz'))
        self.assertGreaterEqual(len(paths), 4)
        for p in paths:
            rec = recording.read(p)
            table = compile_replay.compile_recording(rec)
            self.assertGreater(table.faults, 1000, p)
            self.assertLess(sum(table.rules.values()), table.faults / 100, p)

    def test_elf(self):
        base = bytearray(64 + 56)
        base[:6] = b'\x7fELF\x02\x01'
        struct.pack_into('<Q', base, 32, 64)
        struct.pack_into('<HH', base, 54, 56, 1)
        struct.pack_into('<IIQQQQQQ', base, 64, 1, 5, 0, 0x10000, 0x10000, 120, 120, 4096)
        elf = compile_replay.build_elf(bytes(base), b'TABLE' * 100, HEAP)
        phoff, = struct.unpack_from('<Q', elf, 32)
        count, = struct.unpack_from('<H', elf, 56)
        loads = [struct.unpack_from('<IIQQQQQQ', elf, phoff + 56 * i) for i in range(count)]
        self.assertEqual(loads[-1][3] + loads[-1][6], HEAP)
        self.assertEqual(loads[-1][5], 0)
        table = loads[-2]
        self.assertEqual(elf[table[2]:table[2] + 5], b'TABLE')
        for p in loads:
            self.assertEqual(p[2] % 4096, p[3] % 4096)


def raw(kind, *w, pid=1, time=1000, text=None):
    body = (text or b'').ljust(48, b'\0') if text else struct.pack('<6Q', *(list(w) + [0] * 6)[:6])
    return struct.pack('<QHHI', time, kind, 0, pid) + body


ARENA = trace.ARENA[0]


class Traces(Folder):
    def trace(self, *records):
        w = trace.TraceWriter(self.path('t'))
        w.write(b''.join(records))
        w.close()
        return self.path('t')

    def sample(self):
        return self.trace(
            raw(trace.PF_USER, ARENA, 1, 6), raw(trace.MARKER, text=b'quire: begin x'),
            raw(trace.PF_USER, ARENA + 0x1000, 0x401000, 6, pid=7),
            raw(trace.PF_KERNEL, ARENA + 0x2000, 0, 2, pid=8),
            raw(trace.MM_FAULT, ARENA, 3 | 1 << 8, ARENA, ARENA + 4096, 3, 0),
            raw(trace.PF_USER, 0x1000, 0, 4), raw(trace.MISMATCH, 1, 2, 3, 4),
            raw(trace.MARKER, text=b'quire: end'), raw(trace.PF_USER, ARENA, 1, 6))

    def test_neutral_events(self):
        events, mismatches, count = trace.neutral_from_binary(self.sample(), [trace.ARENA])
        self.assertEqual([(e.kind, e.address, e.code, e.task) for e in events],
                         [('user', ARENA + 0x1000, 6, 0), ('kernel', ARENA + 0x2000, 2, 1)])
        self.assertEqual((len(mismatches), count), (1, 9))

    def test_what_one_architecture_does_alone_is_not_compared(self):
        path = self.trace(
            raw(trace.MARKER, text=b'quire: begin x'), raw(trace.MARKER, text=b'quire: only 3'),
            raw(trace.PF_USER, ARENA, 1, 6), raw(trace.MARKER, text=b'quire: line 4'),
            raw(trace.PF_USER, ARENA + 0x1000, 1, 6), raw(trace.MARKER, text=b'quire: end x'))
        for only in ('', 'x'):
            events = trace.neutral_from_binary(path, [trace.ARENA], only=only)[0]
            self.assertEqual([e.address for e in events], [ARENA + 0x1000])

    def test_text_has_linux_names(self):
        text = list(trace.text_lines(self.sample()))
        self.assertIn('task-7 [000] 0.000001: page_fault_user: address=0x1000001000 ip=0x401000 '
                      'error_code=0x6', text)
        self.assertTrue(any('mm_fault:' in s and 'row=cow' in s and 'access=write' in s
                            for s in text))

    def test_text_and_binary_agree(self):
        path = self.sample()
        text = '\n'.join(trace.text_lines(path))
        self.assertEqual(trace.neutral_from_text(text, [trace.ARENA]),
                         trace.neutral_from_binary(path, [trace.ARENA])[0])

    def test_real_linux_lines(self):
        text = '''# tracer: nop
               t-72      [000] ....     2.823376: tracing_mark_write: quire: begin
               t-72      [000] d...     2.823583: page_fault_user: address=0x1000000000 ip=0x401685 error_code=0x4
          a b-c-73      [000] d...     2.823593: page_fault_kernel: address=0x1000001000 ip=copy error_code=0x0
               t-72      [000] ....     2.825186: tracing_mark_write: quire: end
'''
        events = trace.neutral_from_text(text, [trace.ARENA])
        self.assertEqual([(e.kind, e.address, e.code, e.task) for e in events],
                         [('user', 1 << 36, 4, 0), ('kernel', (1 << 36) + 4096, 0, 1)])

    def test_a_trace_without_markers_is_no_result(self):
        with self.assertRaisesRegex(common.CannotRun, 'never started'):
            trace.neutral_from_binary(self.trace(raw(trace.PF_USER, ARENA, 1, 6)), [trace.ARENA])
        with self.assertRaisesRegex(common.CannotRun, 'did not finish'):
            trace.neutral_from_binary(self.trace(raw(trace.MARKER, text=b'quire: begin')),
                                      [trace.ARENA])

    def test_not_a_trace(self):
        for data in (b'', b'x' * 64, b'quire-trace 2\n'.ljust(64, b'\0')):
            with self.assertRaises(common.Malformed):
                list(trace.read_records(self.path('bad', data)))

    def test_differences(self):
        a = [trace.Neutral('user', n, 4) for n in range(9)]
        b = list(a)
        self.assertIsNone(trace.compare(a, b))
        b[4] = trace.Neutral('user', 4, 6)
        d = trace.compare(a, b)
        self.assertEqual((d.index, d.count, len(d.context)), (4, 1, 3))
        self.assertIn('first difference at event 4', trace.difference_text(d, 'x', 'y', a, b))
        d = trace.compare(a, a[:5])
        self.assertEqual((d.index, d.right, d.count), (5, None, 4))

    @unittest.skipUnless(shutil.which('babeltrace2'), 'no babeltrace2')
    def test_ctf_is_read_by_babeltrace(self):
        path = self.sample()
        self.assertEqual(ctf.convert(path, self.path('ctf')), 9)
        out = subprocess.run(['babeltrace2', self.path('ctf')], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(len(out.stdout.splitlines()), 9)
        self.assertIn('address = 0x1000001000', out.stdout)


class Disks(Folder):
    def refused(self, text, why):
        with self.assertRaises(common.CannotRun) as e:
            disks.parse(text)
        self.assertIn(why, str(e.exception))

    def test_options(self):
        path = os.path.join(self.folder, 'a,b')
        with open(path, 'wb') as f:
            f.truncate(1 << 20)
        self.assertEqual(disks.parse(path), disks.Disk(path))
        self.assertEqual(disks.parse(path + ',ro'), disks.Disk(path, True))
        self.assertEqual(disks.parse(path + ',rw'), disks.Disk(path))
        self.refused(path + 'c', 'no such file')
        self.refused(self.folder, 'is no regular file')
        with open(path, 'ab') as f:
            f.write(b'x')
        self.refused(path, '1048577 bytes long, which is no whole number of sectors')
        with open(path, 'wb'):
            pass
        self.refused(path, '0 bytes long')

    def test_how_many(self):
        one = disks.Disk('x')
        disks.check_count([one] * disks.MOST, 0)
        for n, swap in (disks.MOST, 1 << 20), (disks.MOST + 1, 0):
            with self.assertRaises(common.CannotRun):
                disks.check_count([one] * n, swap)

    def test_swap_header(self):
        head = disks.swap_header(1 << 20)
        self.assertEqual(len(head), 4096)
        self.assertEqual(head[4086:], b'SWAPSPACE2')
        self.assertEqual(struct.unpack_from('<III', head, 1024), (1, 255, 0))
        for size in 4096 * 9, (1 << 20) + 512:
            with self.assertRaises(common.CannotRun):
                disks.check_swap(size)
        disks.check_swap(4096 * 10)

    def test_swap_comes_last(self):
        found, words = disks.with_swap([disks.Disk('x')], 1 << 20, self.folder)
        self.assertEqual(words, ['swap=/dev/vdb'])
        self.assertEqual(os.path.getsize(found[1].path), 1 << 20)
        self.assertEqual(disks.with_swap(found, 0, self.folder), (found, []))

    def test_commas_are_doubled_for_qemu(self):
        out = disks.options(arches.ARCHES['riscv64'], [disks.Disk('a,b', True)])
        self.assertIn('if=none,id=disk0,format=raw,file=a,,b,readonly=on', out)
        self.assertIn('virtio-blk-device,bus=virtio-mmio-bus.0,drive=disk0', out)
        self.assertEqual(disks.options(arches.ARCHES['x86_64'], []), [])


class Monitor(unittest.TestCase):
    def test_x86_tlb(self):
        text = ('0000001000000000: 0000000002345000 X--DA--UW\n'
                '0000001000001000: 0000000002346000 ----A--U-\n'
                '0000001000200000: 0000000004000000 --P-A--UW\n'
                'ffff888000000000: 0000000000000000 XG-DA---W\n')
        got = qemu.parse_info_tlb_x86(text)
        self.assertEqual(got[0x1000000000], (0x2345000, qemu.R | qemu.W | qemu.U | qemu.A | qemu.D))
        self.assertEqual(got[0x1000001000], (0x2346000, qemu.R | qemu.X | qemu.U | qemu.A))
        self.assertEqual(got[0x10003ff000][0], 0x41ff000)
        self.assertEqual(len(got), 514)

    def test_x86_mem(self):
        got = qemu.parse_info_mem_x86('0000001000000000-0000001000002000 0000000000002000 urw\n'
                                      '0000001000002000-0000001000003000 0000000000001000 ur-\n')
        self.assertEqual(got, {0x1000000000: True, 0x1000001000: True, 0x1000002000: False})

    def test_riscv_mem(self):
        got = qemu.parse_info_mem_riscv(
            'vaddr            paddr            size             attr\n'
            '---------------- ---------------- ---------------- -------\n'
            '0000001000000000 0000000082345000 0000000000002000 rw-u-ad\n'
            'ffffaf8000000000 0000000080000000 0000000040000000 rwx-gad\n')
        self.assertEqual(got[0x1000001000],
                         (0x82346000, qemu.R | qemu.W | qemu.U | qemu.A | qemu.D))
        self.assertEqual(len(got), 2)

    def test_a_difference_is_said(self):
        lines = qemu.compare_tables({4096: (8192, 3)}, {4096: (8192, 1), 0: (0, 1)})
        self.assertEqual(len(lines), 2)
        self.assertIn('rw----', lines[1])

    def test_ram_split(self):
        self.assertEqual(arches.ARCHES['x86_64'].ram_offset(1 << 30, 0x1000), 0x1000)
        self.assertEqual(arches.ARCHES['x86_64'].ram_offset(3 << 30, 1 << 32), 0x80000000)
        self.assertEqual(arches.ARCHES['riscv64'].ram_offset(1 << 30, 0x80001000), 0x1000)

    def test_exit_status(self):
        self.assertEqual(arches.ARCHES['x86_64'].ended(33), 0)
        self.assertEqual(arches.ARCHES['x86_64'].ended(35), 1)
        self.assertIsNone(arches.ARCHES['x86_64'].ended(0))
        self.assertIsNone(arches.ARCHES['x86_64'].ended(1))
        self.assertEqual(arches.ARCHES['riscv64'].ended(3), 3)


class Ring(Folder):
    def test_a_guest_that_ended_before_anybody_looked(self):
        """On a busy host the ring may first be seen when all is over: nothing is lost."""
        run = qemu.Run(qemu.Config('riscv64', '/x', trace_path=os.path.join(self.folder, 'trace')))
        self.addCleanup(run.close)
        with open(run.path('log'), 'w') as f:
            f.write('quire: trace ring phys=0x80001000 size=0x2000\n')
        words = [qemu.RING_MAGIC, 1, 64, 3, 0, 1, 0, 0, 0]
        with open(run.memory, 'wb', closefd=False) as f:
            f.write(bytes(4096) + struct.pack('<9Q', *words).ljust(4096, b'\0') +
                    (bytes(range(64)) * 3).ljust(4096, b'\0'))
        run.step()
        run.close()
        self.assertEqual(run.outcome.records, 3)
        with open(os.path.join(self.folder, 'trace'), 'rb') as f:
            self.assertEqual(f.read()[qemu.RECORD:], bytes(range(64)) * 3)

    def test_a_dump_that_nobody_waited_for_is_not_part_of_the_next(self):
        run = qemu.Run(qemu.Config('riscv64', '/x', trace_path=os.path.join(self.folder, 'trace')))
        self.addCleanup(run.close)

        def record(kind, *words):
            return struct.pack('<QB7x4Q', 0, kind, *words, *[0] * (4 - len(words))).ljust(64, b'\0')

        end = record(qemu.TABLE_END, 1)
        run.take(record(qemu.TABLE_LEAF, 0x1000, 0x5000, 4096, 3) + end)
        run.take(record(qemu.TABLE_LEAF, 0x2000, 0x6000, 4096, 1) + end)
        self.assertEqual(run.dump, {0x2000: (0x6000, 1)})
        run.take(end)
        self.assertEqual(run.dump, {})


class Output(unittest.TestCase):
    def test_arguments_on_the_command_line(self):
        self.assertEqual([qemu.quoted(w) for w in ['a', '', 'b c', 'q"\\']],
                         ['a', '""', '"b c"', '"q\\"\\\\"'])
        with self.assertRaises(common.CannotRun):
            qemu.quoted('a\nb')

    def test_program_output(self):
        log = 'OpenSBI\nriscv: x\nquire: up\nhello\nquire: odd\nno end\x1e\nquire: a\nquire: b\n'
        self.assertEqual(machines.program_output(log), 'hello\nno end')


class Against(unittest.TestCase):
    def test_rules(self):
        rec = make_recording(START + [('u', 0x500000, 6), ('u', 0x501000, 4), ('u', 0x502000, 6)])
        table = compile_replay.Table(expected=[(1, 'u', a, c) for _, a, c in rec.events[3:]])

        class Subject:
            pass
        s = Subject()
        s.rec, s.table = rec, table

        class Result:
            events = [trace.Neutral('user', 0x500000, 6), trace.Neutral('user', 0x502000, 7)]
        got = compare.against_recording(s, Result)
        self.assertEqual((got.recorded, got.taken, got.unexplained), (3, 1, []))
        self.assertEqual(got.rules, {'present-earlier': 1, 'other-code': 1})


class PerfLines(unittest.TestCase):
    def recorder(self):
        block = record.Block()
        block.stat = '5 (x y) ' + ' '.join(str(i) for i in range(3, 60))
        return record.Recorder(5, {('exec', 5): [block], ('exit', 5): [block]})

    def test_stream(self):
        r = self.recorder()
        r.run(iter([
            (5, 5, 'exec-begins', 'exec: x:5/5'),
            (5, 5, 'syscalls:sys_enter_openat', 'dfd: 0xffffff9c, filename: 0x7f, flags: 0x80000'),
            (5, 5, 'syscalls:sys_exit_openat', '0x3'),
            (5, 5, 'syscalls:sys_enter_mmap',
             'addr: 0x0, len: 0x2000, prot: 0x1, flags: 0x2, fd: 0x3, off: 0x0'),
            (5, 5, 'PERF_RECORD_MMAP2', '5/5: [0x7f0000000000(0x2000) @ 0 fe:00 77 0]: r--p /l.so'),
            (5, 5, 'syscalls:sys_exit_mmap', '0x7f0000000000'),
            (9, 9, 'exceptions:page_fault_user', 'address=0x1 ip=0x2 error_code=0x4'),
            (5, 5, 'exceptions:page_fault_user', 'address=0x7f0000000000 ip=0x2 error_code=0x4'),
            (5, 5, 'task:task_newtask', 'pid=6 comm=x clone_flags=1200000 oom_score_adj=0'),
            (6, 6, 'exceptions:page_fault_user', 'address=0x7f0000001000 ip=0x2 error_code=0x4'),
        ]))
        events = record._finish(r, {(0xfe, 0, 77): 1})
        self.assertEqual([e for e in events if e[0] != 'm'][2:], [
            ('o', 1, 1, 0), ('c', 'mmap', [0, 0x2000, 1, 2, 3, 0], 0x7f0000000000, 1),
            ('u', 0x7f0000000000, 4), ('f', 2, 0x1200000), ('p', 2), ('u', 0x7f0000001000, 4)])

    def test_line(self):
        m = record.LINE.match(' 8283/8284   1410.595166:              exceptions:page_fault_kernel: '
                              'address=0x558d5d6ce0e8 ip=elf_load error_code=0x2')
        self.assertEqual((m.group(2), m.group(5)), ('8284', 'exceptions:page_fault_kernel'))


class Facts(Folder):
    """The list of facts against the scenarios' heads."""

    def check(self, listed, *heads):
        folder = self.path('s')
        os.makedirs(os.path.join(folder, 'sub'), exist_ok=True)
        with open(os.path.join(folder, 'facts.txt'), 'w') as f:
            f.write(listed)
        for n, head in enumerate(heads):
            with open(os.path.join(folder, 'sub', f'{n}.scn'), 'w') as f:
                f.write(head + '\nmaps()\n# Fact: ZZ99\n')
        return subprocess.run(['python3', os.path.join(TOP, 'tools', 'facts.py'), folder],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_shown_or_with_a_reason(self):
        r = self.check('[g]\nAB01\nAB02 needs a disk\nAB03\n', '# Name: x\n# Fact: AB01 AB03')
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        self.assertIn('2 of 3', r.stdout)
        self.assertIn('AB02 - needs a disk', r.stdout)

    def test_what_is_wrong_is_said(self):
        for listed, head, why in (
                ('AB01\n', '', 'AB01: no scenario'), ('AB01\nAB01\n', '', 'stood above'),
                ('AB01 why\n', '# Fact: AB01', 'AB01: has a reason'),
                ('AB01 why\n', '# Fact: AB02', 'AB02: named by'),
                ('AB01 why\n', '# Facts AB01', 'no list of facts')):
            r = self.check(listed, head)
            self.assertEqual(r.returncode, 1, head)
            self.assertIn(why, r.stderr)


class Bench(Folder):
    LOG = 'boot\nq Q0 0 700 712\nq Q7w 10000 25001 26000\nq done: status 0\n'

    def test_figures(self):
        self.assertEqual(bench_q._parse(self.LOG, 'x'),
                         {('Q0', 0): (70.0, 71.2), ('Q7w', 10000): (2500.1, 2600.0)})

    def test_a_run_that_broke_off_is_no_result(self):
        for text in ('q Q0 0 700 712\n', 'q failed: mmap -12\n' + self.LOG):
            with self.assertRaises(common.CannotRun):
                bench_q._parse(text, 'x')

    def test_rows(self):
        self.assertEqual(bench_q.chosen(['Q7', 'Q1']), ['Q1', 'Q7', 'Q7w'])
        self.assertEqual(bench_q.chosen([]), bench_q.NAMES)
        with self.assertRaisesRegex(common.CannotRun, 'Q16: no such row'):
            bench_q.chosen(['Q16'])

    def test_lines_name_the_best_peer(self):
        lines = bench_q._lines('x86_64', ['Q0', 'Q1'], {('Q0', 0): (100.0, 101.0), ('Q1', 0): (9.0, 9.0)},
                               {'a': {('Q0', 0): (250.0, 251.0)}, 'b': {('Q0', 0): (240.0, 260.0)}})
        self.assertEqual([(r['row'], r['ours'], r['peer'], r['peer_name'], r['ratio']) for r in lines],
                         [('Q0', 100.0, 240.0, 'b', 2.4), ('Q1', 9.0, None, 'no peer', None)])

    def test_rows_of_two_suites(self):
        self.assertEqual(bench.split(['Q7', 'H8', 'h7']), {'H': ['H8', 'H7'], 'Q': ['Q7']})
        self.assertEqual(bench.split([]), {'H': [], 'Q': []})
        self.assertEqual(bench.split(['h', 'H7']), {'H': []})
        self.assertEqual(bench.chosen(['H8', 'H1']), ['H1', 'H8'])
        with self.assertRaisesRegex(common.CannotRun, 'X1: no such row'):
            bench.split(['X1'])
        with self.assertRaisesRegex(common.CannotRun, 'H77: no such row'):
            bench.chosen(['H77'])

    def test_a_line_without_a_peer(self):
        line = {'row': 'H7', 'workload': 'pair', 'machine': 'host', 'unit': 'ns', 'ours': 4.04,
                'peer': None, 'peer_name': 'no peer', 'ratio': None}
        self.assertRegex(bench.table_line(line), r'^  H7 .* 4\.0 +- +- no peer$')

    def test_tables_fit_80_columns(self):
        rows = [{'row': r.name, 'workload': r.workload + ', 10,000 other areas', 'ours': 147147716.5,
                 'peer': 247785123.0, 'ratio': 11.25, 'floor': r.floor, 'peer_name': name}
                for r in bench_q.ROWS for name in ('linux-5.10', 'linux-6.12-riscv64')]
        for lines in (rows, rows[::2], [dict(r, peer=None, peer_name='no peer', ratio=None) for r in rows]):
            out = io.StringIO()
            with contextlib.redirect_stdout(out), mock.patch.object(bench_q, 'build_id', lambda m: 'f' * 16):
                bench_q.show('riscv64', lines)
            self.assertLessEqual(max(map(len, out.getvalue().splitlines())), 80)
            for r in lines:
                self.assertIn(f'  {r["row"]} ', out.getvalue())
        line = {'row': 'H10', 'workload': 'one allocates, another frees, 64 B in bulk of 32 each (cache)',
                'unit': 'bytes', 'ours': 123456.7, 'peer': 345678.9, 'ratio': 2.8, 'peer_name': 'mimalloc-2.0.9-secure'}
        text = bench.table_line(line)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        for word in line['workload'].split():
            self.assertIn(word, text)

    def test_help_names_every_row(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), mock.patch.dict(os.environ, COLUMNS='80'), \
                self.assertRaises(SystemExit):
            commands.main(['bench', '--help'])
        self.assertLessEqual(max(map(len, out.getvalue().splitlines())), 80)
        for name in [*bench.ROWS, *(r.name for r in bench_q.ROWS), 'Q12']:
            self.assertRegex(out.getvalue(), rf'\b{name}\b')

    def test_a_library_as_a_peer(self):
        lib = self.path('lib.so', b'')
        self.assertEqual(bench.check_peer_lib(f'mine-1.0={lib}'), f'mine-1.0={lib}')
        for word, why in ((lib, 'wants NAME=FILE'), ('=' + lib, 'wants NAME=FILE'),
                          ('mine=', 'wants NAME=FILE'), (f'a b={lib}', 'wants NAME=FILE'),
                          (f'mine={self.folder}/missing.so', 'there is no file')):
            with self.assertRaisesRegex(common.CannotRun, why):
                bench.check_peer_lib(word)

    def test_kernel_images(self):
        for name, head, machine in (('a', b'\0' * 0x202 + b'HdrS' + b'\0' * 16, 'x86_64'),
                                    ('b', b'\0' * 0x30 + b'RISCV' + b'\0' * 16, 'riscv64'),
                                    ('c', b'text', None)):
            self.assertEqual(arches.image_machine(self.path(name, head)), machine)

    def test_profile_counts_between_begin_and_end(self):
        class Symbols:
            address = {'q_begin': 0x10, 'q_end': 0x20}
        lines = [b'Trace 0: 0x7f [0/%016x/0/0] f\n' % a
                 for a in (5, 0x10, 5, 6, 0x20, 6, 0x10, 5, 0x20, 0x10, 5)]
        counts, rounds = profile_q._count(lines, Symbols)
        self.assertEqual((dict(counts), rounds), ({5: 2, 6: 1}, 2))


class Reclaim(Folder):
    """Row Q12: what is told to the program, what is read from it, what is made of it."""
    LOG = ('boot\nq12 then pswpin 7\nq12 then nr_free_pages 90\nq12 begin 2\nq12 now pswpin 27\n'
           'q12 now nr_free_pages 50\nq12 now pgsteal_kswapd 5\nq12 process 1 12 3\nq12 process 0 8 4\nq12 done 2\n')

    @staticmethod
    def result(read, processes=(1,)):
        return bench_reclaim.Result(read, 2 * read, list(processes), {}, 1.0)

    def test_arguments(self):
        setting = bench_reclaim.Setting('idle:48M:first+2*orderx3/zipf:2M:exit', 128, 70, 1, seed=5)
        self.assertEqual(bench_reclaim.arguments(setting, '/dev/x', 2), [
            'swap=/dev/x', 'policy=1', 'ballast=70', 'wait=2', 'seed=5', 'turn=0', 'p=idlex1:12288:first',
            'p=orderx3/zipfx1:512:exit', 'p=orderx3/zipfx1:512:exit'])

    def test_words_of_the_program(self):
        self.assertEqual(bench_reclaim.parse(self.LOG),
                         ([8, 12], {'pswpin': 20, 'nr_free_pages': -40, 'pgsteal_kswapd': 5}))
        for gone in ('q12 process 0 8 4\n', 'q12 process 1 12 3\nq12 process 0 8 4\n'):
            with self.assertRaises(common.CannotRun):
                bench_reclaim.parse(self.LOG.replace(gone, ''))

    def watch(self, *stats):
        """One over a log that grows by a line a look, and counters as they are listed."""
        stats = list(stats)
        with mock.patch.object(qemu, 'Monitor') as monitor:
            monitor.return_value.command = lambda _: [
                {'device': 'other', 'stats': {}}, {'device': 'disk0', 'stats': stats.pop(0)}]
            return bench_reclaim.Watch(self.folder)

    @staticmethod
    def stats(read, written):
        return {'rd_bytes': read, 'wr_bytes': written}

    def test_counters_from_before_the_first_write_to_the_end(self):
        w = self.watch(self.stats(100, 0), self.stats(4096, 0), self.stats(9000, 8192),
                       self.stats(9999, 9000))
        for text, done in (('', False), ('q12 begin 2\n', False), ('q12 begin 2\n', False),
                           ('q12 begin 2\n', False), (self.LOG, True)):
            self.path('log', text.encode())
            self.assertEqual(w.step(), done)
        self.assertEqual((w.before['rd_bytes'], w.after['rd_bytes']), (4096, 9999))

    def test_a_watch_that_came_too_late_is_no_result(self):
        w = self.watch(self.stats(100, 4096))
        self.path('log', b'q12 begin 2\n')
        with self.assertRaisesRegex(common.CannotRun, 'before its counters'):
            w.step()
        self.path('log', b'q12 failed: mlock -12\n')
        with self.assertRaisesRegex(common.CannotRun, 'mlock -12'):
            w.step()

    def test_instructions(self):
        for words, want in (((900, 100, 350), 250), ((900, 0, 350), None), ((900, 350, 100), None)):
            path = self.path('count', struct.pack('<3Q', *words))
            if want:
                self.assertEqual(bench_reclaim.counted(path), want)
            else:
                with self.assertRaises(common.CannotRun):
                    bench_reclaim.counted(path)

    def test_ballast_is_searched(self):
        def kernel(memory, noise=0):
            return lambda mem, ballast: 49152 - (memory + (mem - 128) * 256 - ballast) * 9 // 10 + noise
        mem, ballast, tries = bench_reclaim.find_ballast(kernel(30000), 32733, 0)
        self.assertEqual(mem, 128)
        self.assertLess(abs(kernel(30000)(mem, ballast) / 32733 - 1), 0.01)
        self.assertEqual(tries[0], (128, 0, kernel(30000)(128, 0)))
        # One that leaves less than wanted gets a larger machine; one that cannot be helped is no peer.
        mem, ballast, _ = bench_reclaim.find_ballast(kernel(15000), 32733, 500)
        self.assertEqual(mem, 144)
        self.assertGreaterEqual(ballast, 0)
        self.assertLess(abs(kernel(15000)(mem, ballast) / 32733 - 1), 0.01)
        with self.assertRaisesRegex(common.CannotRun, 'no ballast'):
            bench_reclaim.find_ballast(lambda mem, ballast: 1000, 32733, 0)

    def kept(self):
        return bench_reclaim.Kept(self.path('sub/results'))

    def test_results_are_kept(self):
        image, other, runs = self.path('image', b'1'), self.path('other', b'2'), []

        def run(contestant, image, setting):
            runs.append((contestant.name, image, setting))
            return self.result(len(runs))
        setting = bench_reclaim.Setting('zipf', 128, 5)
        with mock.patch.multiple(bench_reclaim, run=run, program=lambda: image, say=lambda text: None):
            self.assertEqual(self.kept().get(bench_reclaim.OURS, image, setting).read, 1)
            self.assertEqual(self.kept().get(bench_reclaim.OURS, image, setting).read, 1)
            with open(self.path('sub/results'), 'a', encoding='utf-8') as f:
                f.write('{"key": "broken o')
            kept = self.kept()
            self.assertEqual(kept.get(bench_reclaim.OURS, image, setting).read, 1)
            # Anything else is another run.
            for n, (where, what) in enumerate((
                    (other, setting), (image, bench_reclaim.Setting('random', 128, 5)),
                    (image, bench_reclaim.Setting('zipf', 144, 5)), (image, bench_reclaim.Setting('zipf', 128, 6)),
                    (image, bench_reclaim.Setting('zipf', 128, 5, 1)),
                    (image, bench_reclaim.Setting('zipf', 128, 5, turn=1)),
                    (image, bench_reclaim.Setting('zipf', 128, 5, number=1)))):
                self.assertEqual(kept.get(bench_reclaim.OURS, where, what).read, n + 2)

    def test_judging(self):
        figures = {'linux-5.10': 1000, 'linux-6.12': 800, 'linux-7.2': None, 'quire': 1050, 'quire-trial': 321}
        ratios = bench_reclaim.judge('zipf', figures, None)
        self.assertEqual(ratios, {'quire/5.10': (1.05, 1.05), 'trial/best': (0.40125, 0.4)})
        self.assertEqual([bench_reclaim.kept_limit(*r) for r in ratios.values()], [True, False])
        ratios = bench_reclaim.judge('zipf-uneven-4', {**figures, 'quire-trial': None}, None)
        self.assertEqual(ratios, {'quire/5.10': (1.05, 1.05), 'worst process': (None, 1.1)})
        self.assertIsNone(bench_reclaim.kept_limit(None, 1.1))
        # A handful of pages more or less is no difference.
        ratios = bench_reclaim.judge('idle-zipf', {'linux-5.10': 4, 'quire': 9, 'quire-trial': 250}, None)
        self.assertEqual(ratios, {'quire/5.10': (1.0, 1.05), 'trial/best': (2.5, 1.0)})

    def test_worst_process(self):
        ours = [self.result(0, (110, 3000)), self.result(0, (90, 4000))]
        self.assertEqual(bench_reclaim.worst_process(ours, [self.result(0, (10, 2000))]), 1.5)
        self.assertEqual(bench_reclaim.worst_process(ours, [self.result(0, (10, 6000))]), 1.0)
        self.assertIsNone(bench_reclaim.worst_process(ours, []))

    def test_a_table(self):
        d = {'row': 'Q12:zipf', 'belady': 624, 'from_table': ['linux-7.2'],
             'figures': {'linux-5.10': 17775, 'linux-6.12': 17396, 'linux-7.2': 18175, 'quire': 20000},
             'ratios': {'quire/5.10': (1.125, 1.05), 'trial/best': (None, 0.4)}}
        self.assertRegex(bench_reclaim.table([d])[1],
                         r'^zipf +17,775 +17,396 +18,175\* +20,000 +- +624 +1\.12 of 1\.05 ! +- +-$')

    def test_rows(self):
        self.assertEqual(bench_reclaim.chosen(['Q12:zipf', 'Q12:random']), ['random', 'zipf'])
        self.assertEqual(len(bench_reclaim.chosen(['Q12:rows'])), 7)
        self.assertEqual(bench_reclaim.chosen(['Q12'])[-1], 'cost')
        self.assertIn('zipf-uneven-16', bench_reclaim.chosen(['Q12:uneven']))
        self.assertEqual([bench_reclaim.turn(r) for r in ('zipf', 'zipf-uneven-4', 'sleep-zipf')],
                         [0, 500, 500])
        for w in ('Q12:nosuch', 'Q12:'):
            with self.assertRaisesRegex(common.CannotRun, 'no such row'):
                bench_reclaim.chosen([w])
        self.assertEqual(set(bench_reclaim.TABLE['linux-5.10']), set(bench_reclaim.LIMITS))

    def test_only_where_it_is_named(self):
        seen = []
        with mock.patch.object(bench_q, 'run', lambda words, *a: seen.append(('q', words)) or 0), \
                mock.patch.object(bench_reclaim, 'main', lambda words, *a: seen.append(('12', words)) or 1):
            self.assertEqual(bench.run_q([], bench.Options()), 0)
            self.assertEqual(bench.run_q(['Q1', 'Q12:zipf'], bench.Options()), 1)
            self.assertEqual(bench.run_q(['Q12'], bench.Options()), 1)
        self.assertEqual(seen, [('q', []), ('q', ['Q1']), ('12', ['Q12:zipf']), ('12', ['Q12'])])


# As much of a program's file as is looked at before it runs.
ELF_X86_64 = b'\x7fELF\2' + b'\0' * 13 + b'\x3e\0'


class Command(Folder):
    def quire(self, *args):
        return subprocess.run([os.path.join(TOP, 'quire'), *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_help_everywhere(self):
        self.assertEqual(self.quire('--help').returncode, 0)
        for c in ('setup', 'demo', 'test', 'run', 'diff', 'record', 'exec', 'boot', 'trace',
                  'compile'):
            r = self.quire(c, '--help')
            self.assertEqual(r.returncode, 0, c)
            self.assertIn('exit codes', r.stdout)

    def test_bad_input_is_exit_2(self):
        bad = self.path('x.rec', b'quire-recording 9\n')
        program = self.path('program', ELF_X86_64)
        for args in ((), ('nosuch',), ('run', '/nonexistent'), ('run', bad),
                     ('run', '--on', 'vax', bad), ('trace', bad), ('record', '-o', 'x'),
                     ('exec', 'x86_64', '/nonexistent'),
                     ('bench', '--peer-lib', 'x=/nonexistent.so', 'H1'), ('bench', 'Q12:nosuch'),
                     ('exec', '--smp', '0', 'x86_64', program)):
            r = self.quire(*args)
            self.assertEqual(r.returncode, 2, args)
            self.assertTrue(r.stderr.strip(), args)
            self.assertNotIn('Traceback', r.stderr)

    def test_machines_that_a_real_kernel_does_not_start_in(self):
        program = self.path('program', ELF_X86_64)
        for option, why in (('--mem=32M', 'wants at least 64M'), ('--mem=0', 'not a size'),
                            ('--mem=x', 'not a size'), ('--smp=0', 'wants at least 1'),
                            ('--smp=33', '33 processors: wants 1 to 32')):
            r = self.quire('exec', option, 'linux-5.10', program)
            self.assertEqual(r.returncode, 2, option)
            self.assertIn(why, r.stderr)


class Vfork(unittest.TestCase):
    """A parent that wakes while its vfork child's exec is not yet reported."""

    def test_late_exec(self):
        events = [('f', 2, 0x4100), ('p', 2), ('u', 1, 4), ('p', 1), ('u', 5, 4), ('p', 2),
                  ('k', 9, 2), ('x', 'a'), ('m', 'area'), ('u', 3, 4)]
        self.assertEqual(compile_replay.settle_vforks(events), [
            ('f', 2, 0x4100), ('p', 2), ('u', 1, 4), ('x', 'a'), ('m', 'area'), ('k', 9, 2),
            ('p', 1), ('u', 5, 4), ('p', 2), ('u', 3, 4)])

    def test_what_came_before_the_wait_stays(self):
        events = [('f', 2, 0x4100), ('k', 5, 2), ('p', 2), ('u', 1, 4), ('x', 'a'), ('p', 1),
                  ('u', 6, 4)]
        self.assertEqual(compile_replay.settle_vforks(events), events)


class Ask(unittest.TestCase):
    """Expectations from what a kernel answered."""

    def test_fills_in_what_is_not_said_or_wrong(self):
        text = ('# Name: x\nA = mmap(@0, 1p, 3, 34, -1, 0)\nload(A) = 1 # why\nstore(A, 2) = ok\n'
                'mprotect(A, 1p, 0) = 0\n')
        seen = {2: 'addr faults=0', 3: '0 faults=1', 4: 'ok faults=0', 5: '0 faults=0'}
        lines = ask.fill(text, seen, {3}).splitlines()
        self.assertRegex(lines[1], r'^A = mmap\(.*\) += any$')
        self.assertRegex(lines[2], r'^load\(A\) += 0 # why$')
        self.assertEqual(lines[3:], ['store(A, 2) = ok', 'mprotect(A, 1p, 0) = 0'])


class Fuzz(unittest.TestCase):
    """Random scenarios: where two texts differ, and as a scenario file."""
    LEFT = ['mmap(@16, 0x4000, 3, 0x32, -1, 0) = @16 faults=0', 'maps: @16-@20:rw-p ',
            't1: mremap(@16, 0x1000, 0x2000, 1, @30) = G-2p faults=0', 'maps: @17-@20:rw-p ']

    def test_first_difference_names_its_operation(self):
        right = self.LEFT[:3] + ['maps: @16-@20:rw-p ']
        d = fuzz.first_difference(self.LEFT, right)
        self.assertEqual((d.index, d.op), (3, self.LEFT[2]))
        self.assertIsNone(fuzz.first_difference(self.LEFT, list(self.LEFT)))

    def test_a_text_that_ends_early_differs(self):
        d = fuzz.first_difference(self.LEFT, self.LEFT[:2])
        self.assertEqual((d.index, d.right), (2, '(nothing)'))

    def test_lines_become_actions(self):
        self.assertEqual(fuzz.scenario_line(self.LEFT[0]),
                         'mmap(@16, 4p, PROT_READ|PROT_WRITE, '
                         'MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0)')
        self.assertEqual(fuzz.scenario_line(self.LEFT[2]),
                         't1: mremap(@16, 1p, 2p, MREMAP_MAYMOVE)')

    def test_a_scenario_of_both(self):
        d = fuzz.first_difference(self.LEFT, self.LEFT[:3] + ['maps: @16-@20:rw-p '])
        text = fuzz.as_scenario(self.LEFT, d, 7)
        self.assertIn('t1: maps()', text)
        self.assertTrue(text.startswith('# Name: random scenario 7\nG = mmap(0, 1p'))

    def test_shrinks_to_what_is_needed(self):
        """Operations 3 and 17 together make the difference; everything else goes."""
        real = fuzz._differing
        fuzz._differing = lambda pair, tries, seed, ops, folder: [
            m for m in tries if m >> 3 & 1 and m >> 17 & 1]
        try:
            self.assertEqual(fuzz.shrink(('a', 'b'), 1, 40), 1 << 3 | 1 << 17)
        finally:
            fuzz._differing = real

    def test_the_pair_that_differs(self):
        on = ['host', 'x86_64', 'riscv64', 'linux-5.10']
        for what, pair in (('host=a x86_64=a riscv64=b linux-5.10=a', ('riscv64', 'linux-5.10')),
                           ('host=a x86_64=b riscv64=a linux-5.10=b', ('host', 'linux-5.10')),
                           ('host=a x86_64=a riscv64=a linux-5.10=b', ('host', 'linux-5.10')),
                           ('host=a x86_64=died: no = end of it riscv64=a', ('host', 'x86_64')),
                           ('host=a riscv64=b', ('host', 'riscv64'))):
            self.assertEqual(fuzz.pair_of(on, what), pair, what)
        self.assertEqual(fuzz.pair_of(['host:plenty', 'host:hog'], 'host:plenty=a host:hog=b'),
                         ('host:plenty', 'host:hog'))

    def test_ends_of_user_space(self):
        op = 'munmap(@36, 0x7ffffffff000) = 0 faults=0'
        self.assertTrue(fuzz.by_task_size(('host', 'riscv64'), op))
        self.assertTrue(fuzz.by_task_size(('riscv64', 'linux-5.10'), 'mlock(@1, 0x800000000000) = 0'))
        self.assertFalse(fuzz.by_task_size(('host', 'x86_64'), op))
        self.assertFalse(fuzz.by_task_size(('host', 'riscv64'), 'munmap(@36, 0x1000) = 0x7ffffffff000'))

    def test_examined_are_those_that_differ(self):
        """Four machines, one of which differs in two seeds: in one by the end of its user space."""
        texts = {0: ('munmap(@3, 0x7ffffffff000) = -1 EINVAL', 'munmap(@3, 0x7ffffffff000) = 0'),
                 1: ('munmap(@3, 0x1000) = 0', 'munmap(@3, 0x1000) = -1 EINVAL')}
        asked = []

        def run_on(machine, words, cases=None, *_, **__):
            asked.append(machine)
            return ''.join(f'S {i} seed {line.split()[0]}\n{texts[int(line.split()[0])][machine == "riscv64"]}\n'
                           for i, line in enumerate(cases.splitlines()))
        out = io.StringIO()
        argv = ['fuzz', '--seeds', '0:3', '--on', 'host,x86_64,riscv64,linux-5.10']
        with mock.patch.object(fuzz, 'run_on', run_on), mock.patch.object(fuzz.build, 'build_for'), \
                mock.patch.object(commands.packages, 'ensure'), \
                mock.patch.object(fuzz, 'digests', lambda m, a, b, *_, **__: {
                    s: 'b' if m == 'riscv64' and s < 2 else 'a' for s in range(a, b)}), \
                mock.patch.object(fuzz, 'shrink', lambda pair, *_: asked.append(pair) or 1), \
                contextlib.redirect_stdout(out):
            status = commands.main(argv)
        self.assertEqual(status, 1, out.getvalue())
        self.assertIn(('riscv64', 'linux-5.10'), asked)
        self.assertEqual(len([a for a in asked if isinstance(a, tuple)]), 1)
        self.assertIn('seed 0: user space ends elsewhere: munmap(@3, 0x7ffffffff000)', out.getvalue())
        self.assertIn('1 differ, 1 more by TASK_SIZE', out.getvalue())
        self.assertNotIn('now and then', out.getvalue())

    def test_a_campaign_goes_on_where_it_was(self):
        real = fuzz.digests
        fuzz.digests = lambda m, a, b, ops, folder='/tmp': {
            s: '1' if m == 'host' and s == 5 else '0' for s in range(a, b)}
        path = os.path.join(tempfile.mkdtemp(), 'progress')
        try:
            c = fuzz.Campaign(['host', 'linux-5.10'], 0, 20, 40, path, 10)
            self.assertTrue(c.run(1))
            self.assertEqual(list(c.different), [5])
            again = fuzz.Campaign(['host', 'linux-5.10'], 0, 30, 40, path, 10)
            self.assertEqual((again.todo.qsize(), list(again.different)), (1, [5]))
            with self.assertRaises(common.CannotRun):
                fuzz.Campaign(['host', 'x86_64'], 0, 30, 40, path, 10)
        finally:
            fuzz.digests = real
            shutil.rmtree(os.path.dirname(path))


if __name__ == '__main__':
    tap.main()
