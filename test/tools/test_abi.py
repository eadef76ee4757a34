# SPDX-License-Identifier: MIT
"""include/quire/abi.h: its numbers are this host's libc's, and stand nowhere else in the tree."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True

import tap  # noqa: E402

ABI = os.path.join(TOP, 'include', 'quire', 'abi.h')
HEADERS = ('errno.h', 'fcntl.h', 'poll.h', 'sched.h', 'signal.h', 'stdio.h', 'time.h', 'unistd.h',
           'sys/epoll.h', 'sys/eventfd.h', 'sys/ioctl.h', 'sys/mman.h', 'sys/personality.h', 'sys/prctl.h',
           'sys/random.h',
           'sys/resource.h', 'sys/socket.h', 'sys/stat.h', 'sys/time.h', 'sys/timerfd.h', 'sys/wait.h',
           'linux/capability.h', 'linux/elf-em.h', 'linux/fs.h', 'linux/futex.h', 'linux/magic.h', 'linux/mempolicy.h',
           'linux/reboot.h', 'linux/userfaultfd.h')
# What a header has as members of an enum, where no preprocessor sees it.
ENUMS = re.compile(r'(MPOL_(DEFAULT|PREFERRED|INTERLEAVE|LOCAL|MAX)|UNAME26|READ_IMPLIES_EXEC|MMAP_PAGE_ZERO|'
                   r'ADDR_(NO_RANDOMIZE|COMPAT_LAYOUT))$')
# Numbers of Linux that no header for programs has.
KERNEL_ONLY = {'ERESTARTSYS', 'ERESTARTNOINTR'}
# Old numbers that the host's headers may lack or tell differently, with the reason.
DIFFERS = {'CAP_LAST_CAP': 'grows with the kernel; 40 is 5.10\'s',
           'MINSIGSTKSZ': 'glibc asks the running kernel; 2048 is the number of the interface',
           'SA_RESTORER': 'glibc keeps it to itself',
           'MPOL_MAX': '5.10\'s: later kernels have more modes',
           'MPOL_MODE_FLAGS': 'the same',
           'PROT_SEM': 'only in the kernel\'s own header'}
FOLDERS = ('arch', 'bench', 'examples', 'include', 'kernel', 'lib', 'mm', 'test', 'user')


def names():
    text = open(ABI, encoding='utf-8').read()
    return [n for n in re.findall(r'^#define (\w+)[ \t]+\S', text, re.M)]


def values(folder, which, includes):
    """Name to value as a C compiler sees it; a name that is not there is missing."""
    src, exe = os.path.join(folder, 'x.c'), os.path.join(folder, 'x')
    lines = ['#define _GNU_SOURCE'] + [f'#include {i}' for i in includes]
    lines += ['int printf(const char *, ...);', 'int main(void)', '{']
    for n in which:
        lines += [f'#if defined({n}) || {int(bool(ENUMS.match(n)))}',
                  f'\tprintf("{n} %llx\\n", (unsigned long long)({n}));', '#endif']
    with open(src, 'w', encoding='utf-8') as f:
        f.write('\n'.join(lines + ['\treturn 0;', '}', '']))
    subprocess.run(['cc', '-w', '-I', os.path.join(TOP, 'include'), src, '-o', exe], check=True)
    out = subprocess.run([exe], stdout=subprocess.PIPE, check=True, text=True).stdout
    return {n: int(v, 16) for n, v in (line.split() for line in out.splitlines())}


def sources():
    for folder in FOLDERS:
        for at, _, files in os.walk(os.path.join(TOP, folder)):
            for name in sorted(files):
                if name.endswith(('.c', '.h', '.S')):
                    yield os.path.join(at, name)


class Abi(unittest.TestCase):
    def test_each_number_is_libcs(self):
        which = names()
        self.assertGreater(len(which), 250)
        self.assertEqual(len(which), len(set(which)))
        with tempfile.TemporaryDirectory() as folder:
            ours = values(folder, which, ['"quire/abi.h"'])
            libc = values(folder, which, [f'<{h}>' for h in HEADERS])
        self.assertEqual(set(ours), set(which))
        for n in which:
            if n in KERNEL_ONLY or n in DIFFERS:
                continue
            self.assertIn(n, libc, 'no header of this host has it')
            self.assertEqual(ours[n] & 0xffffffffffffffff, libc[n], n)

    def test_beside_libc_it_stands_back(self):
        """Included behind libc's headers it is silent, whatever they had: no redefinition."""
        with tempfile.TemporaryDirectory() as folder:
            src = os.path.join(folder, 'x.c')
            with open(src, 'w', encoding='utf-8') as f:
                f.write(''.join(f'#include <{h}>\n' for h in HEADERS) + '#include <quire/abi.h>\n')
            for std in ('-std=gnu11', '-std=c11', '-D_GNU_SOURCE'):
                subprocess.run(['cc', std, '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-I',
                                os.path.join(TOP, 'include'), src], check=True)

    def test_no_second_definition(self):
        which = '|'.join(names())
        define = re.compile(rf'^[ \t]*#[ \t]*define[ \t]+({which})\b', re.M)
        member = re.compile(rf'^[ \t]*(?:enum[^;{{]*{{)?[ \t]*({which})[ \t]*=[ \t]*[-\w(]', re.M)
        found = []
        for path in sources():
            if path == ABI:
                continue
            text = open(path, encoding='utf-8').read()
            found += [f'{os.path.relpath(path, TOP)}: {n}'
                      for n in define.findall(text) + member.findall(text)]
        self.assertEqual(found, [], 'these stand in include/quire/abi.h')


if __name__ == '__main__':
    tap.main()
