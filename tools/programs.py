# SPDX-License-Identifier: MIT
"""`./quire programs`: programs of Debian's packages on Quire beside a real Linux 5.10 (docs/programs.md).

The packages, and all that they depend on, are fetched through this machine's own apt with a private state and
unpacked, not installed; nothing of them is part of the project. Of each program the image gets what it needs:
the files named below, the loader that its ELF file names, and the libraries that the loader would look for.
"""
import glob
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass, field

import batch
from common import BUILD, CannotRun, DIFFERENT, OK, Progress, lock_folder, run, say

REFERENCE, MACHINE = 'linux-5.10', 'x86_64'
LIBRARIES = ('lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib64', 'lib', 'usr/lib')
PYTHON = ['usr/lib/python3.*']
# What a program says, or a shell in its place, that could not do what it was asked to: no comparison.
FAILED = re.compile(rb'not found|No such file|cannot open|error while loading|syntax error|Can\'t locate|ModuleNotFoundError')
SOURCE = '#include <stdio.h>\nint main(void) { for (int i = 0; i < 5; i++) printf("%d\\n", i * i); return 7; }\n'


@dataclass
class Program:
    """packages: of Debian; script: for sh, in an empty folder; uses: programs it calls; data: patterns of more
    files and folders below the root; known: why it differs."""
    name: str
    packages: str
    script: str
    uses: str = ''
    data: list = field(default_factory=list)
    seconds: int = 60
    mem: int = 512 << 20
    known: str = ''


BASE = 'dash coreutils sed grep'
TOOLS = 'sh cat echo seq sort wc head tail tr mkdir rm cp ls mv sleep expr'
PROGRAMS = [
    Program('dash', '', 'x=0; for i in 1 2 3 4 5; do x=$((x + i)); done; echo $x; f() { echo "in $1"; }; f there; '
            'echo a b c | while read p q; do echo "$q"; done; trap "echo bye" EXIT; (exit 3); echo $?'),
    Program('bash', 'bash', "test -e /dev/fd || ln -s /proc/self/fd /dev/fd; bash -c 'declare -A m; for w in a b a; do ((m[$w]++)); done; echo ${m[a]} ${m[b]}; "
            "cat <(echo one) <(echo two) | mapfile -t l; echo {1..5}; [[ abc =~ b(.) ]] && echo ${BASH_REMATCH[1]}; "
            "coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x; printf \"%05.2f\\n\" 3.14159'",
            'bash ln'),
    Program('zsh', 'zsh', "zsh -fc 'a=(3 1 2); print ${(o)a}; for i in {1..3}; print -n $i; print; print ${(U)PWD}; "
            "print -l *(N) | wc -l; x=${$(echo hello)//l/L}; print $x'", 'zsh', ['usr/lib/x86_64-linux-gnu/zsh']),
    Program('busybox', 'busybox-static', 'busybox seq 5 | busybox awk "{ s += \\$1 } END { print s }"; busybox echo abc | '
            'busybox md5sum; busybox sh -c "busybox printf %x 255"; busybox bc -e 2>/dev/null; echo "2^64" | busybox bc; '
            'busybox find / -maxdepth 1 -name tmp', 'busybox'),
    Program('coreutils', 'coreutils', 'seq 1000 | shuf --random-source=/usr/bin/sort | sort -n | tail -2; factor 123456789012; '
            'echo hello | sha256sum; seq 100 | split -l 30 - p; ls p* | wc -l; printf "b\\na\\nc\\n" | tac; '
            'echo abc | od -c; echo 1500000 | numfmt --to=iec; seq 3 | paste -sd+; date -u -d @0; '
            'head -c 10000 /dev/zero | base64 | cksum; cp p* x 2>/dev/null; mkdir d; cp p* d; ls d | sort | comm - /dev/null | wc -l; '
            'dd if=/dev/zero of=f bs=1k count=10 2>/dev/null; stat -c %s f; truncate -s 1M f; du -k --apparent-size f; '
            'ln -s f l; readlink l; test -L l && echo link; mkfifo q; (echo through > q &); cat q; timeout 1 sleep 5; echo $?',
            'shuf factor sha256sum split tac od numfmt paste date base64 cksum comm dd stat truncate du ln readlink mkfifo timeout'),
    Program('sed', 'sed', 'printf "a b\\nc d\\n" > f; sed -i "s/\\(.\\) \\(.\\)/\\2-\\1/" f; cat f; seq 10 | sed -n "3,5p;7{s/7/x/p}"'),
    Program('grep', 'grep', 'seq 200 | grep -c 7; printf "foo\\nbar\\n" | grep -nE "^b.r$"; seq 50 | grep -B1 -A1 25; '
            'mkdir d; echo needle > d/x; grep -r needle d; echo abc123 | grep -oP "\\d+"', 'grep'),
    Program('gawk', 'gawk', "seq 1000 | gawk '{ a[$1 % 7] += $1 } END { n = asorti(a, k); for (i = 1; i <= n; i++) print k[i], a[k[i]] }'; "
            "gawk 'BEGIN { printf \"%s %d\\n\", strftime(\"%Y\", 0, 1), match(\"foobar\", /o+/); \"echo piped\" | getline x; print x }'", 'gawk'),
    Program('mawk', 'mawk', "seq 5000 | mawk '{ s += $1 * $1 } END { print s }'; mawk 'BEGIN { for (i = 0; i < 5; i++) print sin(i) }'", 'mawk'),
    Program('perl', 'perl', "perl -e 'use List::Util qw(sum); my %h; $h{$_ % 10} += $_ for 1..10000; print \"$_ $h{$_}\\n\" for sort keys %h; "
            "print sum(map { length } split /,/, \"a,bb,ccc\"), \"\\n\"; my $p = fork; if (!$p) { print \"child\\n\"; exit 3 } waitpid $p, 0; print $? >> 8, \"\\n\"; "
            "select undef, undef, undef, 0.05; open my $f, q(|-), q(cat); print $f \"piped\\n\"; close $f; local $SIG{ALRM} = sub { print \"alarm\\n\" }; alarm 1; sleep 3'",
            'perl', ['usr/share/perl/5.*', 'usr/lib/x86_64-linux-gnu/perl*', 'usr/share/perl5', 'etc/perl']),
    Program('python3', 'python3.11', "python3.11 -c 'import json, hashlib, subprocess, threading, zlib, collections, tempfile, os, mmap\n"
            "print(json.dumps({str(i): i ** 3 for i in range(5)}))\nprint(hashlib.sha1(b\"x\" * 100000).hexdigest())\n"
            "print(subprocess.run([\"echo\", \"sub\"], capture_output=True).stdout)\nt = [threading.Thread(target=lambda: r.append(1)) for _ in range(8)]\nr = []\n"
            "[x.start() for x in t]; [x.join() for x in t]; print(len(r))\nprint(len(zlib.compress(bytes(range(256)) * 1000)))\n"
            "m = mmap.mmap(-1, 1 << 20); m[5] = 7; print(m[5], m[6])\nprint(collections.Counter(\"mississippi\").most_common(2))\n"
            "with tempfile.NamedTemporaryFile() as f: f.write(b\"abc\"); f.flush(); print(os.stat(f.name).st_size)\n'", 'python3.11', PYTHON, 90),
    Program('python3 multiprocessing', 'python3.11', "python3.11 -c 'import multiprocessing as m\n"
            "with m.get_context(\"fork\").Pool(3) as p: print(p.map(abs, range(-5, 5)))\nq = m.get_context(\"fork\").Queue(); q.put([1, 2]); print(q.get())'", 'python3.11', PYTHON, 90),
    Program('lua5.4', 'lua5.4', "lua5.4 -e 'local t = {} for i = 1, 20000 do t[i] = i * i % 1009 end table.sort(t) print(t[1], t[#t]) "
            "print(string.format(\"%q\", \"a\\nb\"), (\"x\"):rep(3)) local c = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) print(c(), c(), c())'", 'lua5.4'),
    Program('luajit', 'luajit', "luajit -e 'local s = 0 for i = 1, 1e7 do s = s + i % 7 end print(s) local ffi = require(\"ffi\") ffi.cdef[[int getppid(void);]] print(ffi.C.getppid() > 0)'", 'luajit'),
    Program('sqlite3', 'sqlite3', 'sqlite3 db "pragma journal_mode=wal; create table t(a integer primary key, b text); '
            "with recursive c(x) as (select 1 union all select x+1 from c where x < 2000) insert into t select x, 'row' || x from c; select count(*), sum(a) from t;\"; "
            'sqlite3 db "select * from t where b like \'%99\' limit 3; pragma integrity_check"', 'sqlite3'),
    Program('tcl', 'tcl8.6', "echo 'set l {}; for {set i 0} {$i < 10} {incr i} {lappend l [expr {$i*$i}]}; puts $l; puts [exec echo run]; after 20 {set x 1}; vwait x; puts [clock format 0 -gmt 1 -format %Y]' > f; tclsh8.6 f",
            'tclsh8.6', ['usr/share/tcltk/tcl8.6']),
    Program('bc', 'bc', 'printf "2^200\\nscale=30\\n4*a(1)\\ndefine f(x) {\\nif (x < 2) return (1)\\nreturn (x * f(x-1))\\n}\\nf(30)\\n" | bc -l', 'bc'),
    Program('dc', 'dc', 'echo "5 3 ^ p 2 k 10 3 / p [la1-dsa0<b]sb 3sa lbx la p" | dc', 'dc'),
    Program('jq', 'jq', "echo '{\"a\":[1,2,{\"b\":3}],\"c\":\"x\"}' | jq -c '.a[2].b, (.a|length), ([.a[0:2][]]|add), keys'", 'jq'),
    Program('m4', 'm4', "printf 'define(`f'\\'', `[$1:$2]'\\'')f(a, b)\\neval(3 * 7)\\nesyscmd(`echo shell'\\'')' | m4", 'm4'),
    Program('make', 'make', "printf 'all: a b c\\n\\t@echo all\\na b c:\\n\\t@echo $@\\n\\t@touch $@\\n' > Makefile; make -j1; make; make -j4 clean 2>&1 | head -1; rm a b; make -j2 | sort", 'make touch'),
    Program('git', 'git', 'export GIT_AUTHOR_DATE="1000000000 +0000" GIT_COMMITTER_DATE="1000000000 +0000" HOME=/tmp; git init -q r; cd r; git config user.name a; git config user.email a@b; '
            'for i in 1 2 3; do echo $i >> f; git add f; git commit -qm c$i; done; git log --oneline | cat; git diff HEAD~2 --stat | cat; git checkout -qb x HEAD~1; git merge-base x master; git fsck 2>/dev/null; git gc -q; git count-objects -v | grep in-pack',
            'git', ['usr/share/git-core/templates'], 90),
    Program('tar', 'tar', 'mkdir d; for i in 1 2 3; do seq $i 100 > d/$i; done; tar cf t d; tar tf t | sort; mkdir e; tar xf t -C e; ls e/d; cat t | tar xO d/3 | wc -l', 'tar'),
    Program('gzip', 'gzip', 'seq 20000 > f; gzip -9kn f; wc -c < f.gz; gzip -dc f.gz | cksum; gzip -l f.gz | tail -1', 'gzip cksum'),
    Program('bzip2', 'bzip2', 'seq 20000 | bzip2 > f; wc -c < f; bzip2 -dc f | cksum', 'bzip2 cksum'),
    Program('xz', 'xz-utils', 'seq 20000 | xz -T2 > f; wc -c < f; xz -dc f | cksum', 'xz cksum'),
    Program('zstd', 'zstd', 'seq 20000 | zstd -q -T2 > f; wc -c < f; zstd -dqc f | cksum', 'zstd cksum'),
    Program('diff and patch', 'diffutils patch', 'seq 50 > a; sed "10d;20s/.*/x/" a > b; diff -u --label a --label b a b > p; cat p | wc -l; patch -s a p; cmp a b && echo equal', 'diff patch cmp'),
    Program('find and xargs', 'findutils', 'mkdir -p d/e; for i in 1 2 3; do echo $i > d/e/$i; done; find d -type f | sort | xargs -P2 -n1 cat | sort; find d -name "[12]" -exec echo {} + | wc -w', 'find xargs'),
    Program('file', 'file libmagic-mgc', 'file -b /bin/sh | cut -c1-20; echo hello > t; file t', 'file cut', ['usr/lib/file', 'usr/share/misc/magic*', 'etc/magic*']),
    Program('openssl', 'openssl', 'echo abc | openssl dgst -sha3-256; openssl enc -aes-256-cbc -K 00 -iv 00 -nosalt -in /bin/sh 2>/dev/null | openssl dgst -md5; openssl rand 8 | wc -c; openssl prime 1000003', 'openssl', ['usr/lib/ssl', 'etc/ssl/openssl.cnf']),
    Program('gcc (cc1, as, ld)', 'gcc-12 libc6-dev', f"printf '%s' '{SOURCE}' > a.c; gcc-12 -O2 -S a.c -o a.s; wc -l < a.s; gcc-12 -O2 a.c -o a; ./a; echo $?", 'gcc-12 as ld',
            ['usr/lib/gcc/x86_64-linux-gnu/12/cc1', 'usr/lib/gcc/x86_64-linux-gnu/12/collect2', 'usr/lib/gcc/x86_64-linux-gnu/12/*.[oa]', 'usr/lib/gcc/x86_64-linux-gnu/12/libgcc_s.so',
             'usr/lib/gcc/x86_64-linux-gnu/12/include', 'usr/lib/x86_64-linux-gnu/crt*.o', 'usr/lib/x86_64-linux-gnu/libc.so', 'usr/lib/x86_64-linux-gnu/libc_nonshared.a', 'usr/lib/x86_64-linux-gnu/libgcc_s.so.1',
             'lib/x86_64-linux-gnu/libgcc_s.so.1', 'lib/x86_64-linux-gnu/libc.so.6', 'usr/include/*.h', 'usr/include/linux', 'usr/include/asm-generic', 'usr/include/x86_64-linux-gnu', 'usr/lib/gcc/x86_64-linux-gnu/12/liblto_plugin.so', 'usr/bin/x86_64-linux-gnu-*'], 120),
    Program('redis (AF_UNIX)', 'redis-server redis-tools', 'redis-server --port 0 --unixsocket /tmp/s --save "" --daemonize no --logfile /tmp/log > /dev/null & for i in 1 2 3 4 5 6 7 8 9 10; do test -S /tmp/s && break; sleep 1; done; '
            'redis-cli -s /tmp/s set a 1; redis-cli -s /tmp/s incr a; for i in 1 2 3; do redis-cli -s /tmp/s rpush l $i; done; redis-cli -s /tmp/s lrange l 0 -1; redis-cli -s /tmp/s eval "return redis.call(\'get\', \'a\')" 0; redis-cli -s /tmp/s bgsave; sleep 2; ls dump.rdb; redis-cli -s /tmp/s shutdown nosave; echo $?',
            'redis-server redis-cli', seconds=120),
    Program('ed', 'ed', "printf 'a\\none\\ntwo\\n.\\n1,2p\\ns/two/2/p\\nw f\\nq\\n' | ed; cat f", 'ed'),
    Program('xxd', 'xxd', 'seq 20 | xxd | tail -2; echo 616263 | xxd -r -p', 'xxd'),
    Program('stress-ng memory', 'stress-ng', 'for s in mmap mremap malloc brk vm stack; do stress-ng --$s 1 --$s-ops 20 --oomable --temp-path /tmp -q; echo $s $?; done', 'stress-ng', seconds=200),
]


# ---- packages ----------------------------------------------------------------------------------

def _packages():
    return sorted({w for p in PROGRAMS for w in p.packages.split()} | set(BASE.split()) | {'libc-bin'})


def fetch_root():
    """The folder that all packages are unpacked in; fetched once for each list of them."""
    folder = os.path.join(BUILD, 'programs')
    root, done = os.path.join(folder, 'root'), os.path.join(folder, 'packages')
    os.makedirs(folder, exist_ok=True)
    lock = lock_folder(folder)
    wanted = ' '.join(_packages())
    if os.path.exists(done):
        with open(done) as f:
            if f.readline().strip() == wanted:
                return root, lock
    say('quire: fetching programs from Debian\'s packages (about 200 MB, once)')
    work = os.path.join(folder, 'new')
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(os.path.join(work, 'archives', 'partial'))
    os.makedirs(root)
    run(['apt-get', '-oDir::State::status=/dev/null', f'-oDir::Cache::archives={work}/archives/', '-oDebug::NoLocking=1',
         '-oAPT::Install-Recommends=0', '-oAPT::Sandbox::User=root', '-y', '--download-only', 'install', *_packages()],
        'downloading the packages', timeout=900)
    debs = sorted(glob.glob(os.path.join(work, 'archives', '*.deb')))
    for deb in debs:
        run(['dpkg-deb', '-x', deb, root], f'unpacking {os.path.basename(deb)}')
    with open(done, 'w') as f:
        f.write(wanted + '\n' + ''.join(os.path.basename(d).rsplit('_', 1)[0].replace('%3a', ':') + '\n' for d in debs))
    shutil.rmtree(work)
    return root, lock


def versions():
    """package -> version"""
    with open(os.path.join(BUILD, 'programs', 'packages')) as f:
        return dict(line.strip().split('_', 1) for line in f.read().splitlines()[1:])


# ---- what a program needs --------------------------------------------------------------------------

class Image:
    """(files, links) for cpio.build, of pieces of an unpacked root."""

    def __init__(self, root):
        self.root, self.files, self.links = root, {}, {}

    def where(self, path):
        """The path below the root without links on the way to its folder."""
        parts = []
        for part in os.path.dirname(path.lstrip('/')).split('/'):
            parts.append(part)
            here = os.path.join(self.root, *parts)
            if os.path.islink(here):
                target = os.readlink(here)
                parts = target.strip('/').split('/') if target.startswith('/') else parts[:-1] + target.split('/')
        return os.path.normpath('/'.join([*parts, os.path.basename(path)])).lstrip('/')

    def add(self, path):
        """A file with its libraries, a link with what it leads to, a folder with all that is in it."""
        path = self.where(path)
        host = os.path.join(self.root, path)
        if '/' + path in self.files or '/' + path in self.links:
            return
        if os.path.islink(host):
            target = os.readlink(host)
            self.links['/' + path] = target
            self.add(target if target.startswith('/') else os.path.join(os.path.dirname(path), target))
        elif os.path.isdir(host):
            for name in os.listdir(host):
                if name not in ('__pycache__', 'test', 'tests', 'doc', 'idlelib', 'tkinter', 'pod'):
                    self.add(os.path.join(path, name))
        elif os.path.isfile(host):
            self.files['/' + path] = (host, stat.S_IMODE(os.stat(host).st_mode))
            self.needs(host)

    def needs(self, host):
        with open(host, 'rb') as f:
            if f.read(4) != b'\x7fELF':
                return
        text = subprocess.run(['readelf', '-ld', host], capture_output=True, text=True).stdout
        for path in re.findall(r'interpreter: (\S+)\]', text):
            self.add(path)
        own = [os.path.dirname(os.path.relpath(host, self.root))]
        own += [p.replace('$ORIGIN', own[0]).lstrip('/') for r in re.findall(r'R(?:UN)?PATH.*\[(.*)\]', text) for p in r.split(':')]
        for name in re.findall(r'\(NEEDED\).*\[(.*)\]', text):
            for folder in (*LIBRARIES, *own):
                if os.path.lexists(os.path.join(self.root, self.where(f'{folder}/{name}'))):
                    self.add(f'{folder}/{name}')
                    break

    def program(self, name):
        """Found where a shell finds it; Debian's alternatives are not set up here."""
        for folder in ('usr/bin', 'bin', 'usr/sbin', 'sbin'):
            if os.path.lexists(os.path.join(self.root, folder, name)):
                self.add(f'{folder}/{name}')
                return
        raise CannotRun(f'programs: no package brings {name}')


def _job(p, root):
    image = Image(root)
    for name in f'{TOOLS} sed grep {p.uses}'.split():
        image.program('dash' if name == 'sh' else name)
    for pattern in p.data:
        for path in glob.glob(os.path.join(root, pattern)):
            image.add(os.path.relpath(path, root))
    links = {**image.links, '/bin/sh': 'dash' if '/bin/dash' in image.files else '/usr/bin/dash'}
    return batch.Job(p.name, '/bin/sh', ['sh', '-c', p.script], p.seconds, p.mem, files=image.files, links=links)


def _run(machine, jobs):
    progress = Progress(machine)
    try:
        return batch.run(machine, jobs, lambda n, of: progress.update(f'{n} of {of}'))
    finally:
        progress.done()


# ---- the page -----------------------------------------------------------------------------------

PAGE = """# Programs of other people

`./quire programs --write docs/programs.md` makes this page: it fetches Debian's packages ({release}), runs each program on Quire ({machine}) and on a real Linux 5.10, both under emulation, and compares exit status and every byte of the output. The programs are dynamic ones for the most part: Quire's kernel maps the loader that they name (`PT_INTERP`), and the loader maps the packaged libraries. `tools/programs.py` has what each one is asked to do.

{same} of the {all} in the table are the same.

| program | packages | on Linux 5.10 | on Quire | |
|---|---|---|---|---|
{rows}

{rest}Not built yet: the same on RISC-V, with the packages of a newer Debian; programs that are compiled in the run (Go, Rust, GHC, OCaml); lighttpd, node, sysbench.
"""


def _row(p, there, here, found):
    packages = ', '.join(f'{n} {found[n]}' for n in (p.packages or 'dash').split() if n in found)
    line = batch.first_difference(there.output, here.output)
    failed = FAILED.search(there.output) or there.ended != '0'
    same = there.ended == here.ended and not line and not failed
    why = 'the same' if same else p.known or ('fails on the real kernel too: nothing is compared' if failed else '') or (f'line {line[0]}: `{line[1][:60]}` there, `{line[2][:60]}` here' if line else 'ends otherwise')
    return same, f'| {p.name} | {packages} | {there.ended} | {here.ended} | {why.replace("|", "/")} |'


def execute(args):
    """The command; its exit status."""
    chosen = [p for p in PROGRAMS if not args.names or p.name in args.names or p.name.split()[0] in args.names]
    if not chosen:
        raise CannotRun(f'programs: {", ".join(args.names)}: there is none of that name '
                        f'({", ".join(p.name for p in PROGRAMS)})')
    root, lock = fetch_root()
    jobs = [_job(p, root) for p in chosen]
    there, here = _run(REFERENCE, jobs), _run(MACHINE, jobs)
    found, rows, same = versions(), [], 0
    for p, a, b in zip(chosen, there, here):
        good, row = _row(p, a, b, found)
        same += good
        rows.append(row)
        print(row)
        if args.show:
            print(b.output.decode(errors='replace'))
    print(f'{same} of {len(chosen)} are the same')
    if args.write:
        release = 'bookworm'
        with open('/etc/os-release') as f:
            release = (re.findall(r'^VERSION_CODENAME=(\S+)', f.read(), re.M) or [release])[0]
        with open(args.write, 'w') as f:
            rest = ', '.join(p.name for p in PROGRAMS if p not in chosen)
            rest = f'In the list, but not compared for this page: {rest}.\n\n' if rest else ''
            f.write(PAGE.format(rest=rest, release=release, machine=MACHINE, same=same, all=len(chosen), rows='\n'.join(rows)))
    del lock
    return OK if same == len(chosen) else DIFFERENT
