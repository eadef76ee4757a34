# SPDX-License-Identifier: MIT
"""Real Linux 5.10 as an oracle: fetched from Debian, booted in QEMU, given jobs, asked what it saw.

The kernel comes through this machine's own apt set-up, with a private state, and nothing is
installed: the package is only unpacked. It is kept under $XDG_CACHE_HOME/quire if that variable is
set, else under build/oracle.
"""
import glob
import hashlib
import os
import re
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass, field

import cpio
from common import BUILD, CannotRun, Progress, TOP, run, say, scratch

# 5.10 is the reference; the others stand beside us in the benchmark, if asked for.
KERNELS = {
    'linux-5.10': {
        'suite': 'bullseye', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-image-5\.10\.[0-9]+-[0-9]+-cloud-amd64-unsigned',
    },
    'linux-6.1': {
        'suite': 'bookworm', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-image-6\.1\.[0-9]+-[0-9]+-cloud-amd64-unsigned',
    },
    'linux-6.12': {
        'suite': 'trixie', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-image-6\.12\.[0-9+deb.]+-cloud-amd64-unsigned',
    },
    'linux-6.12-riscv64': {
        'suite': 'trixie', 'arch': 'riscv64', 'machine': 'riscv64',
        'pattern': r'linux-image-6\.12\.[0-9+deb.]+-riscv64',
    },
}
FRAME_JOB, FRAME_OUTPUT, FRAME_TRACE, FRAME_STATUS, FRAME_END = range(1, 6)
MEM = 1500                      # MiB for the real kernel; random scenarios can tell how much there is
MEM_LEAST = 64                  # MiB; with less the kernel ends without a word
SMP_MOST = 32                   # in software, more take minutes to come up
CHANNEL_BYTES = 4 << 30


@dataclass
class Job:
    """One program to run: argv in the guest, seconds that it may take."""
    name: str
    argv: list
    trace: bool = True
    seconds: int = 120


@dataclass
class JobResult:
    """What came back. status is an exit status (128 + n for signal n), None: it did not end."""
    name: str
    status: int = None
    output: bytes = b''
    trace: str = ''
    extra: dict = field(default_factory=dict)


def cache_dir():
    base = os.environ.get('XDG_CACHE_HOME')
    return os.path.join(base, 'quire') if base else os.path.join(BUILD, 'oracle')


def _mirror():
    """The mirror that this machine's apt uses for its own release."""
    codename = ''
    try:
        with open('/etc/os-release') as f:
            m = re.search(r'^VERSION_CODENAME=(\S+)', f.read(), re.M)
            codename = m.group(1) if m else ''
    except OSError:
        pass
    text = run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(RELEASE) $(CODENAME)',
                'Created-By: Packages'], 'apt-get indextargets').decode()
    for line in text.splitlines():
        word = line.split()
        if len(word) >= 2 and 'security' not in word[0] and codename in word[1:]:
            return word[0].rstrip('/')
    raise CannotRun('this machine\'s apt names no mirror for its own release')


def _apt_options(folder):
    return ['-oDir::State::Lists=' + os.path.join(folder, 'lists'),
            '-oDir::Etc::sourcelist=' + os.path.join(folder, 'sources.list'),
            '-oDir::Etc::sourceparts=/dev/null',
            '-oDir::Cache=' + os.path.join(folder, 'cache'),
            '-oDir::State::status=/dev/null',
            '-oAPT::Sandbox::User=root',
            '-oAcquire::Retries=2', '-oAcquire::http::Timeout=20']


def _newest(names):
    def key(name):
        return [int(n) for n in re.findall(r'\d+', name)]
    return max(names, key=key)


def _fetch(which, folder):
    """Downloads and unpacks; the result appears in one rename, so a broken try leaves nothing."""
    kernel = KERNELS[which]
    work = folder + '.new'
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(os.path.join(work, 'lists', 'partial'))
    os.makedirs(os.path.join(work, 'cache'))
    keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
    with open(os.path.join(work, 'sources.list'), 'w') as f:
        f.write(f'deb [signed-by={keyring}] {_mirror()} {kernel["suite"]} main\n')
    opts = _apt_options(work) + [f'-oAPT::Architecture={kernel["arch"]}']
    run(['apt-get', *opts, 'update'], 'fetching the list of kernels', timeout=180)
    found = run(['apt-cache', *opts, 'search', '--names-only', kernel['pattern']]).decode()
    names = [w[0] for w in (line.split() for line in found.splitlines()) if w]
    names = [n for n in names if re.fullmatch(kernel['pattern'], n)]
    if not names:
        raise CannotRun(f'{kernel["suite"]} has no kernel like {kernel["pattern"]}')
    package = _newest(names)
    run(['apt-get', *opts, 'download', package], f'downloading {package}', timeout=600, cwd=work)
    deb = glob.glob(os.path.join(work, '*.deb'))[0]
    run(['dpkg-deb', '-x', deb, os.path.join(work, 'root')], 'unpacking the kernel')
    image = glob.glob(os.path.join(work, 'root', 'boot', 'vmlinu[xz]-*'))[0]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'package'), 'w') as f:
        f.write(os.path.basename(deb) + '\n')
    os.replace(image, os.path.join(folder, 'vmlinuz'))
    shutil.rmtree(work)


def kernel_image(which='linux-5.10'):
    """The kernel's file, fetched if need be. CannotRun says why there is none."""
    folder = os.path.join(cache_dir(), which)
    image = os.path.join(folder, 'vmlinuz')
    if not os.path.exists(image):
        say(f'quire: fetching the kernel {which} (20 to 110 MB, once)')
        try:
            _fetch(which, folder)
        except (CannotRun, OSError, IndexError) as e:
            shutil.rmtree(folder + '.new', ignore_errors=True)
            raise CannotRun(f'no kernel for {which}: {e}') from None
    return image


def _init():
    """The init program, built once per source text."""
    source = os.path.join(TOP, 'tools', 'oracle-init.c')
    with open(source, 'rb') as f:
        digest = hashlib.sha256(f.read()).hexdigest()[:16]
    os.makedirs(cache_dir(), exist_ok=True)
    binary = os.path.join(cache_dir(), f'oracle-init-{digest}')
    if not os.path.exists(binary):
        temporary = f'{binary}.{os.getpid()}'
        run(['gcc', '-O2', '-static', '-Wall', '-o', temporary, source], 'building oracle-init')
        os.replace(temporary, binary)
    return binary


def _job_list(jobs):
    lines = []
    for j in jobs:
        lines.append(f'job {j.name} {j.seconds} {int(j.trace)}')
        lines += ['arg ' + a for a in j.argv]
        lines.append('end')
    return ('\n'.join(lines) + '\n').encode()


def _frames(path):
    with open(path, 'rb') as f:
        while True:
            head = f.read(16)
            if len(head) < 16 or head[:4] != b'QFRM':
                return
            kind, length = struct.unpack('<4xIQ', head)
            data = f.read(length)
            if kind == FRAME_END or len(data) < length:
                return
            yield kind, data


def _collect(path, jobs):
    results, cur = {}, None
    for kind, data in _frames(path):
        if kind == FRAME_JOB:
            cur = results.setdefault(data.decode(), JobResult(data.decode()))
        elif cur and kind == FRAME_OUTPUT:
            cur.output = data
        elif cur and kind == FRAME_TRACE:
            cur.trace = data.decode(errors='replace')
        elif cur and kind == FRAME_STATUS:
            status = int(data)
            if status >= 0:
                cur.status = os.waitstatus_to_exitcode(status)
                if cur.status < 0:
                    cur.status = 128 - cur.status
    return [results.get(j.name, JobResult(j.name)) for j in jobs]


def _command(image, folder, mem, smp, words):
    return ['qemu-system-x86_64', '-M', 'q35,accel=tcg', '-cpu', 'max,la57=off,pku=off',
            '-m', str(mem), '-smp', str(smp), '-display', 'none', '-nodefaults', '-no-reboot',
            '-serial', 'file:' + os.path.join(folder, 'log'),
            '-kernel', image, '-initrd', os.path.join(folder, 'initrd'),
            '-drive', f'if=none,id=s,file={folder}/channel,format=raw',
            '-device', 'nvme,serial=s,drive=s', '-append',
            'console=ttyS0 quiet panic=-1 transparent_hugepage=madvise norandmaps nokaslr '
            'rdinit=/init mitigations=off no_timer_check ' + ' '.join(words)]


def check_machine(which, mem, smp):
    """CannotRun if the kernel does not come up in such a machine. mem: MiB."""
    if mem < MEM_LEAST:
        raise CannotRun(f'{which}: does not start in {mem} MiB; it wants at least {MEM_LEAST}M')
    if not 1 <= smp <= SMP_MOST:
        raise CannotRun(f'{which}: {smp} processors: wants 1 to {SMP_MOST}')


def run_jobs(jobs, files, which='linux-5.10', mem=MEM, words=(), smp=1):
    """Boots the kernel once and runs all jobs in it. files: guest path -> contents (cpio.build);
    mem: MiB."""
    check_machine(which, mem, smp)
    image = kernel_image(which)
    folder = scratch('oracle')
    log = os.path.join(folder, 'log')
    try:
        with open(os.path.join(folder, 'initrd'), 'wb') as f:
            f.write(cpio.build({**files, '/init': _init(), '/jobs': (_job_list(jobs), 0o644)},
                               nodes={'/dev/console': (0o20600, 5, 1)}))
        with open(os.path.join(folder, 'channel'), 'wb') as f:
            f.truncate(CHANNEL_BYTES)
        limit = 60 + 4 * smp + sum(j.seconds for j in jobs)
        _boot(_command(image, folder, mem, smp, words), limit, log, which)
        results = _collect(os.path.join(folder, 'channel'), jobs)
        if all(r.status is None and not r.output for r in results):
            raise CannotRun(f'{which}: no result came back from a machine of {mem} MiB and {smp} '
                            'processors; the end of its log:\n' + _tail(log))
        return results
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _boot(command, limit, log, which):
    progress = Progress(which)
    start = time.monotonic()
    try:
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise CannotRun(f'{which}: {command[0]} is missing (./quire setup installs it)') from None
    try:
        while True:
            try:
                p.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                spent = time.monotonic() - start
                progress.update(f'{spent:.0f} s')
                if spent > limit:
                    raise CannotRun(f'{which}: no end after {limit} s; the end of its log:\n' +
                                    _tail(log)) from None
    finally:
        progress.done()
        if p.poll() is None:
            p.kill()
            p.wait()
    if p.returncode:
        raise CannotRun(f'{which}: QEMU ended with status {p.returncode}: ' +
                        p.stderr.read().decode(errors='replace').strip() + '\n' + _tail(log))


def _tail(log, lines=20):
    try:
        with open(log, 'rb') as f:
            text = f.read().decode(errors='replace')
    except OSError:
        return '    (no log)'
    return '\n'.join('    ' + s for s in text.splitlines()[-lines:])
