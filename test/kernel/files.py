#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files on a disk, judged from outside: mke2fs makes an image, the program changes it on a machine, e2fsck finds
nothing, debugfs reads the same bytes, and the next start of the machine goes on with it.
usage: files.py MACHINE IMAGE PROGRAM BLOCK_SIZE [damaged SEED | killed | program CPUS MIB ARGUMENT… | slow IOPS]
With damaged, some bytes of the image's tables are changed first: the machine must end as it should, whatever the
program was told. With killed, the machine is ended by force once the program says that it has written, and what
it wrote with O_DSYNC must be there. With program, it is started
once, on a machine of so many CPUs and so much memory; with slow too, and the disk takes so many requests a second."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ['PATH'] += ':/usr/sbin:/sbin'
MIB = 16


def tool(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)


def make(path, folder, block_size):
    tree = os.path.join(folder, 'tree')
    os.makedirs(os.path.join(tree, 'dir'))
    for name, text in ('hello', 'hello, disk\n'), ('dir/deep', 'deeper\n'):
        with open(os.path.join(tree, name), 'w') as f:
            f.write(text)
    with open(path, 'wb') as f:
        f.truncate(MIB << 20)
    r = tool('mke2fs', '-q', '-t', 'ext2', '-b', str(block_size), '-E', 'root_owner=0:0', '-d', tree, path)
    if r.returncode:
        sys.exit(f'mke2fs: {r.stdout}')


def fsck(path, why):
    r = tool('e2fsck', '-fn', path)
    if r.returncode:
        why.append(f'e2fsck -fn: status {r.returncode}\n{r.stdout}')


def start(machine, image, program, path, arguments, why, options=(), disk=''):
    argv = [sys.executable, os.path.join(HERE, 'run_program.py'), machine, image, *options, '-d', f'image={path}{disk}']
    for word in arguments:
        argv += ['-a', word]
    r = subprocess.run([*argv, program], stdout=subprocess.PIPE, universal_newlines=True)
    sys.stdout.write(''.join('# ' + line + '\n' for line in r.stdout.splitlines()))
    if r.returncode:
        why.append(f'{" ".join(arguments)}: it did not end as it should')


def reads(path, name, text, why):
    r = tool('debugfs', '-R', f'cat {name}', path)
    if text not in r.stdout:
        why.append(f'debugfs does not read {text!r} in {name}')


def damage(path, seed):
    """Bytes of the super block's page, the tables and the first directories: there the image is small."""
    r = random.Random(seed)
    with open(path, 'r+b') as f:
        for _ in range(r.choice((1, 3, 20, 200))):
            at = r.choice((1024 + r.randrange(120), r.randrange(16 << 10), r.randrange(300 << 10)))
            f.seek(at)
            old = f.read(1)[0]
            f.seek(at)
            f.write(bytes([r.choice((0, 0xff, old ^ 1 << r.randrange(8), r.randrange(256)))]))


def main():
    machine, image, program, block_size, *mode = sys.argv[1:]
    damaged, program_alone = mode[:1] == ['damaged'], mode[:1] == ['program']
    if not shutil.which('mke2fs'):
        print('1..0 # SKIP mke2fs is not here')
        return 0
    why = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'disk')
        make(path, folder, block_size)
        if damaged:
            damage(path, int(mode[1]))
            start(machine, image, program, path, ['bad'], why)
        elif mode[:1] == ['killed']:
            start(machine, image, program, path, ['killed'], why, ['-k', 'written: end it now'])
            r = tool('e2fsck', '-fy', path)
            if r.returncode not in (0, 1):
                why.append(f'e2fsck -fy: status {r.returncode}\n{r.stdout}')
            reads(path, '/synced', ''.join(f'line {i} of what was written\n' for i in range(2000)), why)
            if 'behind' in tool('debugfs', '-R', 'cat /not-synced', path).stdout:
                why.append('what nobody synced is there too: the test shows nothing')
        elif mode[:1] == ['slow']:
            start(machine, image, program, path, ['slow'], why, disk=f',iops={mode[1]}')
            fsck(path, why)
        elif program_alone:
            start(machine, image, program, path, mode[3:], why, ['-c', mode[1], '-m', mode[2], '-t', '3000'])
            fsck(path, why)
        else:
            for what in 'first', 'again', 'full':
                start(machine, image, program, path, [what], why)
                fsck(path, why)
            reads(path, '/hello', 'hello, disk', why)
            reads(path, '/sub/file-with-a-long-name-005', '/mnt/sub/file-with-a-long-name-005', why)
    print('1..1')
    for line in why:
        print('# ' + line.replace('\n', '\n# '))
    print(f'{"not " if why else ""}ok 1 - files of {block_size}-byte blocks on {machine}')
    return 1 if why else 0


sys.exit(main())
