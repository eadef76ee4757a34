#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""LZ4 for compressed swap: two files of Debian's source package, pinned, fetched at set-up.

usage: lz4.py where    prints the folder of lz4.c and lz4.h, or nothing if they are not there
       lz4.py fetch    fetches them if need be; exit 2: it could not be done

Nothing of LZ4 is part of this project. The source comes through this machine's own apt set-up, with a
private state, as the reference kernels do (oracle.py), and is kept beside them. Builds work without it:
compressed swap is then left out, unless the embedder brings a compressor of his own.
"""
import glob
import hashlib
import os
import shutil
import sys
import tarfile

import oracle
from common import CannotRun, run, say

PACKAGE, VERSION, SUITE = 'lz4', '1.9.4-1', 'bookworm'
# What the archive is, and what of it is used.
ARCHIVE = '0b0e3aa07c8c063ddf40b082bdf7e37a1562bda40a0ff5272957f3e987e0e54b'
FILES = {
    'lz4.c': 'b6a85fd8f9be0fedb568abd1338719b23b999583ccda6f3404d5ae11e4ce7b8e',
    'lz4.h': 'c1614ecf7ada7b0be1acb560d4239595f96fbb7aa6a79a7c40cb358753830be6',
}


def _folder():
    return os.path.join(oracle.cache_dir(), f'{PACKAGE}-{VERSION}')


def _digest(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def where():
    """The folder with the two files, each as it should be; '' if one is missing or differs."""
    folder = _folder()
    try:
        good = all(_digest(os.path.join(folder, n)) == d for n, d in FILES.items())
    except OSError:
        good = False
    return folder if good else ''


def _unpack(archive, folder):
    """The files that are used; nothing else of the archive is written anywhere."""
    if _digest(archive) != ARCHIVE:
        raise CannotRun(f'{os.path.basename(archive)} is not the archive that is expected')
    with tarfile.open(archive) as t:
        for member in t:
            base = os.path.basename(member.name)
            if base in FILES and member.isfile() and member.name.endswith('/lib/' + base):
                with t.extractfile(member) as src, open(os.path.join(folder, base), 'wb') as dst:
                    shutil.copyfileobj(src, dst)


def _fetch(work):
    os.makedirs(os.path.join(work, 'lists', 'partial'))
    os.makedirs(os.path.join(work, 'cache'))
    keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
    with open(os.path.join(work, 'sources.list'), 'w') as f:
        f.write(f'deb-src [signed-by={keyring}] {oracle.mirror()} {SUITE} main\n')
    opts = oracle.apt_options(work)
    run(['apt-get', *opts, 'update'], 'fetching the list of sources', timeout=180)
    run(['apt-get', *opts, 'source', '--download-only', f'{PACKAGE}={VERSION}'],
        f'downloading the source of {PACKAGE} {VERSION}', timeout=180, cwd=work)
    archives = glob.glob(os.path.join(work, '*.orig.tar.*'))
    if len(archives) != 1:
        raise CannotRun(f'the source of {PACKAGE} {VERSION} has no archive')
    found = os.path.join(work, 'found')
    os.makedirs(found)
    _unpack(archives[0], found)
    return found


def fetch():
    """The folder, after fetching if need be. CannotRun says why there is none."""
    folder = where()
    if folder:
        return folder
    folder = _folder()
    work = folder + '.new'
    say(f'quire: fetching the source of {PACKAGE} {VERSION} for compressed swap (10 MB, once)')
    shutil.rmtree(work, ignore_errors=True)
    try:
        found = _fetch(work)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(found, folder)
    except (CannotRun, OSError, tarfile.TarError) as e:
        raise CannotRun(f'no LZ4: {e}') from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not where():
        raise CannotRun(f'no LZ4: the files of {PACKAGE} {VERSION} are not those that are expected')
    return folder


def main():
    command = sys.argv[1:]
    if command == ['where']:
        sys.stdout.write(where())
        return 0
    if command != ['fetch']:
        say(__doc__)
        return 2
    try:
        print(fetch())
        return 0
    except CannotRun as e:
        say(f'lz4.py: {e}')
        return 2


if __name__ == '__main__':
    sys.exit(main())
