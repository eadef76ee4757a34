# SPDX-License-Identifier: MIT
"""What ./quire finds on a machine and says where something is missing, by simulated PATHs: folders with
stand-ins for compilers, QEMU and apt-get. TAP on standard output."""
import contextlib
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import tempfile
import unittest
from unittest import mock

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import build  # noqa: E402
import commands  # noqa: E402
import common  # noqa: E402
import oracle  # noqa: E402
import packages  # noqa: E402
import tap  # noqa: E402

HOST = {'gcc': 'exit 0', 'ld': '', 'meson': '', 'ninja': '', 'pkg-config': 'exit 0'}
X86 = {'qemu-system-x86_64': ''}
RISCV = {'riscv64-linux-gnu-gcc': 'exit 0', 'qemu-system-riscv64': 'exit 0'}

SYSTEM = packages.system


class Path(unittest.TestCase):
    """A PATH that has only what a test puts there."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for p in (mock.patch.dict(os.environ, PATH=self.folder),
                  mock.patch.object(packages, 'have', lambda name: shutil.which(name, path=self.folder) is not None),
                  mock.patch.object(build, 'have', lambda name: shutil.which(name, path=self.folder) is not None)):
            p.start()
            self.addCleanup(p.stop)
        packages.there.cache_clear()
        self.addCleanup(packages.there.cache_clear)

    def put(self, programs):
        for name, body in programs.items():
            path = os.path.join(self.folder, name)
            with open(path, 'w') as f:
                f.write(f'#!/bin/sh\n{body}\n')
            os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

    def said(self, *words):
        out = io.StringIO()
        with contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
            status = commands.main(list(words))
        return status, out.getvalue()

    def release(self, text):
        """What /etc/os-release says."""
        path = os.path.join(self.folder, 'os-release')
        with open(path, 'w') as f:
            f.write(text)
        p = mock.patch.object(packages, 'system', lambda: SYSTEM(path))
        p.start()
        self.addCleanup(p.stop)


class Found(Path):
    def test_host_needs_no_emulator_and_no_cross_compiler(self):
        self.put(HOST)
        self.assertEqual(packages.missing('build', ['host']), [])

    def test_each_machine_needs_its_own(self):
        self.put(HOST)
        self.assertEqual(packages.missing('build', ['host', 'x86_64']), ['qemu-system-x86'])
        self.assertEqual(packages.missing('build', ['linux-5.10']), ['qemu-system-x86'])
        self.assertEqual(packages.missing('build', ['riscv64']),
                         ['gcc-riscv64-linux-gnu', 'libc6-dev-riscv64-cross', 'qemu-system-misc', 'opensbi'])
        self.put({**X86, **RISCV})
        packages.there.cache_clear()
        self.assertEqual(packages.missing('build'), [])

    def test_what_it_does_counts(self):
        """A compiler without headers, an emulator without firmware, a compiler of another name."""
        self.put({**HOST, **X86, **RISCV, 'gcc': 'exit 1', 'qemu-system-riscv64': 'echo "Unable to find fw" >&2; exit 1'})
        self.assertEqual(packages.missing('build'), ['libc6-dev', 'opensbi'])
        os.remove(os.path.join(self.folder, 'riscv64-linux-gnu-gcc'))
        self.put({'gcc': 'exit 0', 'qemu-system-riscv64': 'exit 0', 'riscv64-unknown-linux-gnu-gcc': 'exit 0'})
        packages.there.cache_clear()
        self.assertEqual(packages.missing('build'), [])

    def test_a_static_c_library(self):
        """Wanted where a real Linux gets an init, and there alone."""
        self.put({**HOST, **X86, 'gcc': 'case "$*" in *-static*) exit 1; esac; exit 0'})
        self.assertEqual(packages.missing('build', ['host', 'x86_64']), [])
        self.assertEqual(packages.missing('build', ['linux-5.10']), ['libc6-dev'])

    def test_compiler_of_another_name_is_told_to_meson(self):
        where = os.path.join(self.folder, 'riscv64')
        self.put({'riscv64-unknown-linux-gnu-gcc': ''})
        words = build._cross_file('riscv64', where)
        self.assertEqual(words[0], '--cross-file')
        with open(words[1]) as f:
            self.assertIn("c = 'riscv64-unknown-linux-gnu-gcc'", f.read())
        self.assertEqual(build._cross_file('host', where), [])
        self.put(RISCV)
        self.assertEqual(build._cross_file('release-riscv64', where), [])

    def test_real_programs(self):
        """The marks mean something to what is installed here: what the tests run on is found."""
        with mock.patch.dict(os.environ, PATH='/usr/bin:/bin:/usr/local/bin'), \
                mock.patch.object(packages, 'have', common.have):
            packages.there.cache_clear()
            self.assertTrue(packages.there('header:gcc stdio.h'))
            self.assertFalse(packages.there('header:gcc no/such/header.h'))
            self.assertTrue(packages.there('static:gcc'))
            self.assertTrue(packages.there('library:gcc m'))
            self.assertFalse(packages.there('library:gcc no_such_library'))
            self.assertFalse(packages.there('pkg:no-such-package'))
            self.assertFalse(packages.there('boots:qemu-system-riscv64 no-such-board'))

    def test_every_package_has_a_name_elsewhere(self):
        for purpose in ('all', 'bench'):
            for p in packages.needs(purpose):
                self.assertEqual(len(packages.ELSEWHERE[p]), 4, p)


class Missing(Path):
    def test_other_systems_are_told_their_names(self):
        self.put(HOST)
        for text, command, words in (
                ('ID=fedora\n', 'dnf install', 'gcc-riscv64-linux-gnu qemu-system-riscv-core qemu-common'),
                ('ID=endeavouros\nID_LIKE=arch\n', 'pacman -S', 'riscv64-linux-gnu-gcc riscv64-linux-gnu-glibc'),
                ('ID=nixos\n', 'nix-shell -p', 'pkgsCross.riscv64.buildPackages.gcc qemu')):
            self.release(text)
            status, output = self.said('run', '--on', 'riscv64', os.path.join(TOP, 'test', 'scenario', 'zero-page.scn'))
            self.assertEqual(status, 2)
            self.assertIn(f'To install: {command} ', output)
            self.assertIn(words, output)
            self.assertIn('docs/install.md', output)
            self.assertIn('this system has no apt-get', output)
            self.assertNotIn('Traceback', output)

    def test_unknown_system(self):
        self.release('ID=plan9\n')
        status, output = self.said('setup')
        self.assertEqual(status, 2)
        self.assertIn('Missing are: a C compiler, the C library', output)
        self.assertNotIn('To install', output)

    def test_no_network(self):
        self.put({**HOST, 'apt-get': 'echo "Err:1 mirror Temporary failure resolving mirror" >&2; exit 0'})
        with mock.patch.object(os, 'geteuid', lambda: 0):
            status, output = self.said('boot', 'x86_64')
        self.assertEqual(status, 2)
        self.assertIn('no network: the package mirror cannot be reached. Missing are: qemu-system-x86', output)

    def test_installation_that_fails(self):
        self.put({**HOST, 'apt-get': 'case "$*" in *install*) echo "E: broken packages"; exit 100; esac'})
        with mock.patch.object(os, 'geteuid', lambda: 0):
            status, output = self.said('boot', 'x86_64')
        self.assertEqual(status, 2)
        self.assertIn('apt-get ended with status 100. Missing are: qemu-system-x86', output)

    def test_installation(self):
        qemu = os.path.join(self.folder, 'qemu-system-x86_64')
        self.put({**HOST, 'apt-get': f'case "$*" in *install*qemu-system-x86*) echo "#!/bin/sh" > {qemu}; '
                                     f'/bin/chmod +x {qemu}; esac'})
        out = io.StringIO()
        with mock.patch.object(os, 'geteuid', lambda: 0), contextlib.redirect_stderr(out):
            packages.ensure('build', ['x86_64'])
        self.assertIn('installing from Debian: qemu-system-x86', out.getvalue())

    def test_no_root(self):
        self.put({**HOST, 'apt-get': ''})
        with mock.patch.object(os, 'geteuid', lambda: 1000):
            status, output = self.said('boot', 'x86_64')
        self.assertEqual(status, 2)
        self.assertIn('installing needs root, and there is no sudo', output)


class Kernel(Path):
    """A real Linux that is named by its file."""

    def setUp(self):
        super().setUp()
        self.addCleanup(oracle._named.clear)
        self.image = os.path.join(self.folder, 'vmlinuz')
        with open(self.image, 'wb') as f:
            f.write(bytes(0x202) + b'HdrS' + bytes(100))

    def test_a_named_file_is_taken(self):
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            oracle.name_kernels([f'linux-5.10={self.image}'])
        self.assertEqual(oracle.kernel_image(), self.image)
        self.assertIn('another kernel than the one that linux-5.10 stands for', out.getvalue())

    def test_its_digest_is_pinned(self):
        self.assertRegex(oracle.KERNELS['linux-5.10']['sha256'], r'^[0-9a-f]{64}$')
        with open(self.image, 'rb') as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        out = io.StringIO()
        with mock.patch.dict(oracle.KERNELS['linux-5.10'], sha256=digest), contextlib.redirect_stderr(out):
            oracle.name_kernels([f'linux-5.10={self.image}'])
        self.assertEqual(out.getvalue(), '')

    def test_a_fetched_one_must_be_it(self):
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=self.folder):
            os.makedirs(os.path.join(oracle.cache_dir(), 'linux-5.10'))
            shutil.copy(self.image, os.path.join(oracle.cache_dir(), 'linux-5.10', 'vmlinuz'))
            with self.assertRaisesRegex(common.CannotRun, 'is not the kernel that linux-5.10 stands for'):
                oracle.kernel_image()

    def test_nothing_to_fetch_it_with(self):
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=self.folder):
            with self.assertRaisesRegex(common.CannotRun, r'comes from a Debian mirror.*--kernel linux-5.10=FILE'):
                oracle.kernel_image()

    def test_no_network_is_said(self):
        self.put({'apt-get': 'case "$*" in *indextargets*) echo "http://m x y";; *) echo "Err: Could not resolve m" >&2; '
                             'exit 100;; esac'})
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=self.folder), mock.patch.object(oracle, 'mirror', lambda: 'http://m'):
            with self.assertRaisesRegex(common.CannotRun, 'no kernel for linux-5.10: no network'):
                oracle.kernel_image()

    def test_wrong_uses(self):
        elf = os.path.join(self.folder, 'text')
        with open(elf, 'w') as f:
            f.write('no kernel')
        for word, why in (('linux-9=x', 'wants NAME=FILE'), ('linux-5.10', 'wants NAME=FILE'),
                          ('linux-5.10=/no/such', 'there is no file /no/such'),
                          (f'linux-5.10={elf}', 'not a kernel image of x86_64'),
                          (f'linux-6.12-riscv64={self.image}', 'not a kernel image of riscv64'),
                          (f'linux-5.10={self.folder}', 'is a directory')):
            status, output = self.said('fuzz', '--kernel', word)
            self.assertEqual(status, 2)
            self.assertIn(why, output)


class Documents(unittest.TestCase):
    def test_install_page_has_every_name(self):
        with open(os.path.join(TOP, 'docs', 'install.md'), encoding='utf-8') as f:
            text = f.read()
        for debian, (_, *others) in packages.ELSEWHERE.items():
            row = re.search(rf'^\| .*`{re.escape(debian)}`.*$', text, re.M)
            self.assertTrue(row, debian)
            for names in others:
                for name in names.split():
                    self.assertIn(f'`{name}`', row[0])

    def test_container_has_what_is_needed(self):
        with open(os.path.join(TOP, 'Containerfile'), encoding='utf-8') as f:
            text = f.read()
        for package in packages.needs('all'):
            self.assertRegex(text, rf'\s{re.escape(package)}\s')


if __name__ == '__main__':
    tap.main()
