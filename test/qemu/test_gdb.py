# SPDX-License-Identifier: MIT
"""tools/gdb/quire.py in a gdb in batch mode, against a machine that stands still in the middle of a
scenario: what it shows must be what the scenario did. TAP on standard output.

usage: test_gdb.py MACHINE
"""
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.path.insert(0, os.path.join(TOP, 'test', 'tools'))
sys.dont_write_bytecode = True

import cpio  # noqa: E402
import qemu  # noqa: E402
import tap  # noqa: E402
from arches import ARCHES  # noqa: E402
from common import bound_to_us, build_folder, scratch  # noqa: E402

MACHINE = sys.argv.pop() if len(sys.argv) > 1 else 'x86_64'
GDB = not os.environ.get('QUIRE_ICOUNT') and (  # instructions are counted: the machine is not stopped
    shutil.which('gdb-multiarch') or (shutil.which('gdb') if MACHINE == 'x86_64' else None))
SCENARIO = """A = mmap(@0, 3p, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
store(A, 7) = ok
store(A+1p, 7) = ok
mprotect(A+2p, 1p, PROT_READ) = 0
fork(child)
child: store(A+1p, 9) = ok
munlockall() = 0
"""
# What is asked when the machine has come to munlockall(): {1} the scenario's first task, {2} its child.
LOOKS = ['quire tasks', 'quire vmas {1}', 'quire walk {1} 0x1000000000', 'quire walk {1} 0x1000001000',
         'quire walk {2} 0x1000001000', 'quire walk {1} 0x1000002000', 'quire page {1} 0x1000000000',
         'quire page {1} 0x1000001000', 'quire page {1} 0x1000002000', 'quire vmas 4711', 'quire walk 1', 'quire walk 1 0',
         'quire page 0xfffffffff']
ASK = """python
found = sorted(int(p['pid']) for p in processes())[-3:]
for look in {!r}:
    print('== ' + look)
    try:
        gdb.execute(look.format(*found))
    except gdb.error as e:
        print(e)
end
"""


def gdb(commands, image, folder):
    """What gdb says to a file of commands, the script loaded first."""
    path = os.path.join(folder, 'commands')
    with open(path, 'w') as f:
        f.write(commands)
    r = subprocess.run([GDB, '-nx', '-batch', image, '-x', os.path.join(TOP, 'tools', 'gdb', 'quire.py'), '-x', path],
                       capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)
    return r.stdout + r.stderr


@unittest.skipUnless(GDB, 'no gdb here that knows this machine')
class Script(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """One machine, one gdb: each look's lines stand behind an echo of it."""
        folder = scratch('gdb')
        cls.addClassCleanup(shutil.rmtree, folder, True)
        socket, initrd = os.path.join(folder, 'gdb'), os.path.join(folder, 'initrd')
        with open(os.path.join(folder, 's.scn'), 'w') as f:
            f.write(SCENARIO)
        with open(initrd, 'wb') as f:
            f.write(cpio.build({'/runner': os.path.join(build_folder(MACHINE), 'user', 'runner'),
                                '/s.scn': (os.path.join(folder, 's.scn'), 0o644)}))
        image = qemu.kernel_image(MACHINE)
        command = [*qemu.base_command(MACHINE, 128 << 20, 1, None, os.path.join(folder, 'log')), '-initrd', initrd,
                   '-kernel', image, '-append', 'norandmaps init=/runner -- --machine quire /s.scn',
                   '-chardev', f'socket,path={socket},server=on,wait=off,id=g', '-gdb', 'chardev:g', '-S']
        machine = subprocess.Popen(command, preexec_fn=bound_to_us(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            cls.output = gdb('set pagination off\nset width 0\n'
                             f'target remote {socket}\nhbreak quire_munlockall\ncontinue\n'
                             + ASK.format(LOOKS) + 'kill\n', image, folder)
        finally:
            machine.kill()
            machine.wait()
        cls.shown = dict(re.findall(r'(?ms)^== (.*?)\n(.*?)(?=^== |\Z)', cls.output))

    def look(self, what):
        self.assertIn(what, self.shown, self.output)
        return self.shown[what]

    def test_tasks(self):
        tasks = re.findall(r'^ +(\d+) +(\d+) +(\d+) (\w+) +(\d+) runner', self.look('quire tasks'), re.M)
        self.assertEqual(len(tasks), 3, self.output)        # the runner, the first task and its child
        self.assertEqual(tasks[2][2], tasks[1][0])
        self.assertIn('running', [t[3] for t in tasks])

    def test_areas(self):
        found = self.look('quire vmas {1}')
        self.assertRegex(found, r'(?m)^0x1000000000-0x1000002000 rw-p flags')
        self.assertRegex(found, r'(?m)^0x1000002000-0x1000003000 r--p flags')
        self.assertRegex(found, r'(?m)^0x[0-9a-f]{9,}-0x[0-9a-f]+ rw-p flags [0-9a-fx]+ stack')
        self.assertNotIn('map_count says', found)

    def test_walks(self):
        """Page 0 is shared after the fork; of page 1 the child has a copy; page 2 was never touched."""
        first, mine, copy = (self.look(f'quire walk {w}') for w in
                             ('{1} 0x1000000000', '{1} 0x1000001000', '{2} 0x1000001000'))
        self.assertRegex(first, r'^  pgd\[0\] = 0x\w{16} table pfn 0x\w+\n  pud\[64\] = .*\n  pmd\[0\] = .*\n'
                                r'  pte\[0\] = 0x\w{16} leaf pfn 0x\w+ r--u')
        frames = [re.search(r'leaf pfn (0x\w+) (r..u)', w).groups() for w in (mine, copy)]
        self.assertNotEqual(frames[0][0], frames[1][0])
        self.assertEqual(frames[1][1], 'rw-u')
        self.assertRegex(self.look('quire walk {1} 0x1000002000'), r'pte\[2\] = 0x0{16} none\n')

    def test_pages(self):
        shared, own = self.look('quire page {1} 0x1000000000'), self.look('quire page {1} 0x1000001000')
        frame = re.search(r'leaf pfn (0x\w+)', self.look('quire walk {1} 0x1000000000'))[1]
        self.assertIn(f'frame {frame}, zone', shared)
        self.assertIn('swapbacked', shared)
        self.assertRegex(shared, r'2 entries, anon_vma 0x\w+, index')
        self.assertRegex(own, r'1 entries, anon_vma 0x\w+, index')

    def test_mistakes(self):
        self.assertIn('no process 4711', self.look('quire vmas 4711'))
        self.assertIn('wants PID ADDRESS', self.look('quire walk 1'))
        self.assertIn('process 1 has no address space', self.look('quire walk 1 0'))
        self.assertIn('has no struct page', self.look('quire page 0xfffffffff'))
        self.assertIn('no page is present', self.look('quire page {1} 0x1000002000'))
        self.assertNotIn('Traceback', self.output)


# In the place of QEMU: the same with a gdb to wait for.
STAND_IN = """#!/bin/sh
exec {} "$@" -chardev socket,path={},server=on,wait=off,id=g -gdb chardev:g -S
"""
KILL_IT = """set pagination off
target remote {}
hbreak quire_munlockall
continue
python
process = max(processes(), key=lambda p: int(p['pid']))
gdb.execute(f'call (void)os_panic({{int(process["comm"].address)}})')
end
"""


@unittest.skipUnless(GDB, 'no gdb here that knows this machine')
class Panic(unittest.TestCase):
    """The kernel's end under a program, made by calling for it: what ./quire exec says then."""

    def test_a_panic_is_told_as_the_kernels_end(self):
        folder = scratch('gdb')
        self.addCleanup(shutil.rmtree, folder, True)
        emulator = ARCHES[MACHINE].emulator
        socket, stand_in, scn = (os.path.join(folder, n) for n in ('gdb', emulator, 's.scn'))
        with open(stand_in, 'w') as f:
            f.write(STAND_IN.format(shutil.which(emulator), socket))
        os.chmod(stand_in, 0o755)
        with open(scn, 'w') as f:
            f.write(SCENARIO)
        # Without a build: the images that are there.
        command = [sys.executable, '-c', f'import sys; sys.path.insert(0, {os.path.join(TOP, "tools")!r})\n'
                   'import build, commands\nbuild.build_kernel = lambda *a: None\n'
                   'sys.exit(commands.main(sys.argv[1:]))']
        run = subprocess.Popen([*command, 'exec', '--file', f'{scn}:/s.scn', MACHINE,
                                os.path.join(build_folder(MACHINE), 'user', 'runner'), '--machine', 'quire', '/s.scn'],
                               env={**os.environ, 'PATH': folder + ':' + os.environ['PATH'],
                                    'PYTHONDONTWRITEBYTECODE': '1'},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            for _ in range(1000):
                if os.path.exists(socket):
                    break
                time.sleep(0.02)
            said = gdb(KILL_IT.format(socket), qemu.kernel_image(MACHINE), folder)
            out, err = run.communicate(timeout=120)
        finally:
            run.kill()
        self.assertEqual(run.returncode, 2, err + said)
        self.assertEqual(len(re.findall(r'^quire: PANIC: runner$', err, re.M)), 1, err)
        self.assertTrue(err.rstrip().endswith(f"quire: {MACHINE}: the kernel's end, not the program's"), err)
        self.assertIn('store(A, 7) = ok', out)      # what the program wrote before is there
        self.assertNotIn('quire:', out)


if __name__ == '__main__':
    tap.main()
