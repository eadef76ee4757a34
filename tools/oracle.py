# SPDX-License-Identifier: MIT
"""Real Linux 5.10 as an oracle: fetched from Debian, booted in QEMU, given jobs, asked what it saw.

The kernel comes through this machine's own apt set-up, with a private state, and nothing is
installed: the package is only unpacked. It is kept under $XDG_CACHE_HOME/quire if that variable is
set, else under build/oracle.
"""
import glob
import hashlib
import mmap
import os
import re
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass, field

import cpio
import disks as images
import packages
from arches import image_machine
from common import BUILD, CannotRun, Progress, TOP, bound_to_us, run, say, scratch, wait_for_lock

# 5.10 is the reference; the others stand beside us in the benchmark, if asked for.
KERNELS = {
    'linux-5.10': {
        'suite': 'bullseye', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-image-5\.10\.[0-9]+-[0-9]+-cloud-amd64-unsigned',
        # What the expectations of the scenarios were seen on: the image of linux-image-5.10.0-32, 5.10.223-1.
        'package': 'linux-image-5.10.0-32-cloud-amd64-unsigned',
        'sha256': '542603ca27943040c4540dea453ce94fa0ebf46bd7644172f59024fd90e4c78b',
    },
    'linux-6.1': {
        'suite': 'bookworm', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-image-6\.1\.[0-9]+-[0-9]+-cloud-amd64-unsigned',
    },
    'linux-6.12': {
        'suite': 'trixie', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-image-6\.12\.[0-9+deb.]+-cloud-amd64-unsigned',
    },
    'linux-7.2': {
        'suite': 'sid', 'arch': 'amd64', 'machine': 'x86_64',
        'pattern': r'linux-binary-7\.2\.[0-9+deb.]+-cloud-amd64',
    },
    'linux-6.12-riscv64': {
        'suite': 'trixie', 'arch': 'riscv64', 'machine': 'riscv64',
        'pattern': r'linux-image-6\.12\.[0-9+deb.]+-riscv64',
    },
}
FRAME_JOB, FRAME_OUTPUT, FRAME_TRACE, FRAME_STATUS, FRAME_END, FRAME_LOG = range(1, 7)
MEM = 1500                      # MiB for the real kernel; random scenarios can tell how much there is
MEM_LEAST = 64                  # MiB; with less the kernel ends without a word
SMP_MOST = 32                   # in software, more take minutes to come up
CHANNEL_BYTES = 4 << 30
RINGS_BYTES = 1 << 20           # a page and three rings of 256 KiB (oracle-init.c)


@dataclass
class Job:
    """One program to run: argv in the guest, seconds that it may take."""
    name: str
    argv: list
    trace: bool = True
    seconds: int = 120
    path: str = ''          # of the program; '': argv[0]
    environment: list = None
    streams: object = None  # hostio.Streams: its standard input and output; else the output is kept


@dataclass
class JobResult:
    """What came back. status is an exit status (128 + n for signal n), None: it did not end."""
    name: str
    status: int = None
    output: bytes = b''
    trace: str = ''
    log: str = ''           # what the kernel said meanwhile, of jobs with streams


def cache_dir():
    base = os.environ.get('XDG_CACHE_HOME')
    return os.path.join(base, 'quire') if base else os.path.join(BUILD, 'oracle')


def mirror():
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


def apt_options(folder):
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
        f.write(f'deb [signed-by={keyring}] {mirror()} {kernel["suite"]} main\n')
    opts = apt_options(work) + [f'-oAPT::Architecture={kernel["arch"]}']
    run(['apt-get', *opts, 'update'], 'fetching the list of kernels', timeout=180)
    found = run(['apt-cache', *opts, 'search', '--names-only', kernel['pattern']]).decode()
    names = [w[0] for w in (line.split() for line in found.splitlines()) if w]
    names = [n for n in names if re.fullmatch(kernel['pattern'], n)]
    if not names:
        raise CannotRun(f'{kernel["suite"]} has no kernel like {kernel["pattern"]}')
    package = kernel.get('package') if kernel.get('package') in names else _newest(names)
    run(['apt-get', *opts, 'download', package], f'downloading {package}', timeout=600, cwd=work)
    deb = glob.glob(os.path.join(work, '*.deb'))[0]
    run(['dpkg-deb', '-x', deb, os.path.join(work, 'root')], 'unpacking the kernel')
    image = [f for where in ('boot/vmlinu[xz]-*', 'usr/lib/modules/*/vmlinuz')
             for f in glob.glob(os.path.join(work, 'root', where))][0]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'package'), 'w') as f:
        f.write(os.path.basename(deb) + '\n')
    os.replace(image, os.path.join(folder, 'vmlinuz'))
    shutil.rmtree(work)


_named = {}         # kernels that --kernel names: name -> file


def name_kernels(words):
    """Kernels by file, NAME=FILE each, instead of fetched ones."""
    for word in words or ():
        name, _, path = word.partition('=')
        if name not in KERNELS or not path:
            raise CannotRun(f'--kernel {word}: wants NAME=FILE, NAME one of {", ".join(KERNELS)}')
        try:
            machine = image_machine(path)
        except FileNotFoundError:
            raise CannotRun(f'--kernel {word}: there is no file {path}') from None
        except OSError as e:
            raise CannotRun(f'--kernel {word}: {path}: {e.strerror.lower()}') from None
        if machine != KERNELS[name]['machine']:
            raise CannotRun(f'--kernel {word}: not a kernel image of {KERNELS[name]["machine"]}')
        if not pinned(name, path):
            say(f'quire: {path}: another kernel than the one that {name} stands for here; it may answer otherwise')
        _named[name] = os.path.abspath(path)


def pinned(which, path):
    """Whether a file is the very kernel that is meant by a name; one that is not pinned always is."""
    wanted = KERNELS[which].get('sha256')
    if not wanted:
        return True
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest() == wanted


def kernel_image(which='linux-5.10'):
    """The kernel's file, named or fetched if need be. CannotRun says why there is none."""
    if which in _named:
        return _named[which]
    folder = os.path.join(cache_dir(), which)
    image = os.path.join(folder, 'vmlinuz')
    if not os.path.exists(image):
        try:
            os.makedirs(cache_dir(), exist_ok=True)
            with open(folder + '.lock', 'w') as lock:
                wait_for_lock(lock, f'the kernel {which}')
                if not os.path.exists(image):
                    say(f'quire: fetching the kernel {which} (20 to 110 MB, once)')
                    _fetch(which, folder)
        except (CannotRun, OSError, IndexError) as e:
            shutil.rmtree(folder + '.new', ignore_errors=True)
            raise CannotRun(f'no kernel for {which}: {_why(e)} (--kernel {which}=FILE names one)') from None
    if not pinned(which, image):
        raise CannotRun(f'{image}: is not the kernel that {which} stands for, by its digest (remove it, and it is '
                        f'fetched again; --kernel {which}=FILE takes any)')
    return image


def _why(error):
    """What went wrong with fetching, in a few words where that is known."""
    text = str(error)
    if packages.NO_NETWORK.search(text):
        return 'no network: the package mirror cannot be reached'
    if 'the program apt-get is missing' in text:
        return 'it comes from a Debian mirror, by apt-get, which is not here'
    return text


def _init():
    """The init program, built once per source text."""
    source, text = os.path.join(TOP, 'tools', 'oracle-init.c'), b''
    for path in (source, os.path.join(TOP, 'kernel', 'hostio.h')):
        with open(path, 'rb') as f:
            text += f.read()
    digest = hashlib.sha256(text).hexdigest()[:16]
    os.makedirs(cache_dir(), exist_ok=True)
    binary = os.path.join(cache_dir(), f'oracle-init-{digest}')
    if not os.path.exists(binary):
        temporary = f'{binary}.{os.getpid()}'
        run(['gcc', '-O2', '-static', '-Wall', '-o', temporary, source], 'building oracle-init')
        os.replace(temporary, binary)
    return binary


def _job_list(jobs, disks, swap):
    """What init reads: how many disks there are beside the channel, which are read-only, where to
    swap, and the jobs."""
    lines = [f'disk {images.name(n)} /dev/nvme{n + 1}n1 {int(d.read_only)}'
             for n, d in enumerate(disks)]
    lines += [w.replace('=', ' ') for w in swap]
    out = bytearray(''.join(s + '\n' for s in lines).encode())
    for j in jobs:
        stdio = 1 + j.streams.terminal if j.streams else 0
        out += f'job {j.name} {j.seconds} {int(j.trace)} {stdio}\n'.encode()
        words = [('path', j.path)] if j.path else []
        words += [('arg', a) for a in j.argv] + [('env', e) for e in j.environment or []]
        for kind, word in words:
            word = os.fsencode(word)
            out += f'{kind} {len(word)}\n'.encode() + word + b'\n'
        out += b'end\n'
    return bytes(out)


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
        elif cur and kind == FRAME_LOG:
            cur.log = data.decode(errors='replace')
        elif cur and kind == FRAME_STATUS:
            status = int(data)
            if status >= 0:
                cur.status = os.waitstatus_to_exitcode(status)
                if cur.status < 0:
                    cur.status = 128 - cur.status
    return [results.get(j.name, JobResult(j.name)) for j in jobs]


def _command(image, folder, mem, smp, words, disks):
    return ['qemu-system-x86_64', '-M', 'q35,accel=tcg', '-cpu', 'max,la57=off,pku=off',
            '-m', str(mem), '-smp', str(smp), '-display', 'none', '-nodefaults', '-no-reboot',
            '-serial', 'file:' + os.path.join(folder, 'log'),
            '-kernel', image, '-initrd', os.path.join(folder, 'initrd'),
            '-drive', f'if=none,id=s,file={folder}/channel,format=raw',
            '-device', 'nvme,serial=s,drive=s', *images.nvme_options(disks), '-append',
            'console=ttyS0 quiet panic=-1 transparent_hugepage=madvise norandmaps nokaslr '
            'rdinit=/init mitigations=off no_timer_check ' + ' '.join(words)]


def check_machine(which, mem, smp):
    """CannotRun if the kernel does not come up in such a machine. mem: MiB."""
    if mem < MEM_LEAST:
        raise CannotRun(f'{which}: does not start in {mem} MiB; it wants at least {MEM_LEAST}M')
    if not 1 <= smp <= SMP_MOST:
        raise CannotRun(f'{which}: {smp} processors: wants 1 to {SMP_MOST}')


def run_jobs(jobs, files, which='linux-5.10', mem=MEM, words=(), smp=1, disks=(), swap=0, links=None):
    """Boots the kernel once and runs all jobs in it. files, links: guest path -> contents (cpio.build);
    mem: MiB; swap: bytes of a temporary disk behind the others. Only the last job may have streams."""
    check_machine(which, mem, smp)
    image = kernel_image(which)
    folder = scratch('oracle')
    log = os.path.join(folder, 'log')
    try:
        disks, swap_word = images.with_swap(disks, swap, folder)
        with open(os.path.join(folder, 'initrd'), 'wb') as f:
            f.write(cpio.build({**files, '/init': _init(),
                                '/jobs': (_job_list(jobs, disks, swap_word), 0o644)}, links,
                               nodes={'/dev/console': (0o20600, 5, 1)}))
        with open(os.path.join(folder, 'channel'), 'wb') as f:
            f.truncate(CHANNEL_BYTES)
        limit = 60 + 4 * smp + sum(j.seconds for j in jobs)
        if not all(j.seconds for j in jobs):
            limit = 0
        streams = jobs[-1].streams
        memory = os.memfd_create('quire-rings')
        try:
            _boot(_command(image, folder, mem, smp, words, disks) +
                  (_rings(memory) if streams else []), limit, log, which, streams, memory)
        finally:
            os.close(memory)
        results = _collect(os.path.join(folder, 'channel'), jobs)
        if all(r.status is None and not r.output for r in results):
            raise CannotRun(f'{which}: no result came back from a machine of {mem} MiB and {smp} '
                            'processors; the end of its log:\n' + _tail(log))
        return results
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rings(memory):
    """A device whose memory is the host's too: the rings of hostio."""
    return ['-object', f'memory-backend-file,id=rings,size={RINGS_BYTES},mem-path=/proc/self/fd/{memory},'
            'share=on', '-device', 'ivshmem-plain,memdev=rings']


def _pump(p, streams, memory):
    """Moves what is there, or waits a moment."""
    if not streams.rings:
        if os.fstat(memory).st_size == RINGS_BYTES:
            streams.attach(memoryview(mmap.mmap(memory, RINGS_BYTES)))
        time.sleep(0.005)
    elif not streams.step():
        streams.wait(0.002)


def _boot(command, limit, log, which, streams=None, memory=-1):
    progress = Progress(which)
    start = time.monotonic()
    try:
        p = subprocess.Popen(command, preexec_fn=bound_to_us(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             pass_fds=[memory] if streams else [], start_new_session=True)
    except FileNotFoundError:
        raise CannotRun(f'{which}: {command[0]} is missing (./quire setup installs it)') from None
    try:
        while True:
            try:
                if streams:
                    _pump(p, streams, memory)
                p.wait(0 if streams else 0.2)
                break
            except subprocess.TimeoutExpired:
                spent = time.monotonic() - start
                if not streams or not streams.rings:
                    progress.update(f'{spent:.0f} s')
                elif streams.rings:
                    progress.done()
                if 0 < limit < spent:
                    raise CannotRun(f'{which}: no end after {limit} s; the end of its log:\n' +
                                    _tail(log)) from None
        if streams:
            streams.drain()
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
