# SPDX-License-Identifier: MIT
"""One machine under everything that can be run on it: all scenarios, all recordings against the
fake, programs made by ordinary compilers. usage: test_machine.py MACHINE [few]; TAP on standard
output. few: a handful of scenarios and no recordings.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import compare  # noqa: E402
import disks  # noqa: E402
import machines  # noqa: E402
import oracle  # noqa: E402
import qemu  # noqa: E402
import trace  # noqa: E402
from arches import ARCHES  # noqa: E402
from common import CannotRun, build_folder, have  # noqa: E402

PROGRAM = '''
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <setjmp.h>
static sigjmp_buf back;
static void caught(int sig, siginfo_t *info, void *context)
{
	(void)context;
	siglongjmp(back, info->si_addr == (void *)64 && sig == SIGSEGV ? 1 : 2);
}
int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
	char *p = malloc(3 << 20);
	int status = 0, how;
	memset(p, 42, 3 << 20);
	if (fork() == 0) {
		memset(p, 7, 3 << 20);
		_exit(p[1000] == 7 ? 5 : 6);
	}
	wait(&status);
	sigaction(SIGSEGV, &sa, NULL);
	how = sigsetjmp(back, 1);
	if (!how)
		*(volatile char *)64 = 1;
	printf("%s %d child=%d mine=%d caught=%d pi=%.3f\\n", argv[argc - 1], argc,
	       WEXITSTATUS(status), p[1000], how, 355.0 / 113.0);
	return 3;
}
'''
count = 0
failed = 0


def report(good, name, why=()):
    global count, failed
    count += 1
    failed += not good
    print(f'{"" if good else "not "}ok {count} - {name}')
    for line in why if not good else ():
        print('# ' + line)
    sys.stdout.flush()


def problems(subject, result, reference=None):
    """Why a result is not as it should be: lines."""
    if isinstance(result, CannotRun):
        return str(result).splitlines()
    out = list(result.mismatches[:5]) + list(result.table_differences[:5])
    if result.status:
        out += [s for s in result.output.splitlines() if ': expected ' in s or s.startswith(
            ('call ', 'access ', 'pattern '))][:10] or result.output.splitlines()[-5:]
    if reference is not None and not isinstance(reference, CannotRun):
        d, left, right = compare.machines(reference, result, machines.QUIRES)
        if d:
            out += trace.difference_text(d, reference.machine, result.machine, left,
                                         right).splitlines()
        if subject.is_recording:
            out += compare.replay_differences(reference, result)
    elif reference is not None:
        out.append(f'no reference: {reference}')
    if not out and result.status:
        out.append(f'status {result.status}')
    return out


def run_files(machine, paths, seconds):
    opt = machines.Options(seconds=seconds)
    subjects = [machines.Subject(p) for p in paths]
    references = {}
    if machine != 'host' and os.path.exists(os.path.join(build_folder('host'), 'user')):
        references = {s.path: r for s, r in machines.execute(subjects, 'host', opt)}
    dumps = 0
    for s, r in machines.execute(subjects, machine, opt):
        why = problems(s, r, references.get(s.path))
        dumps += getattr(r, 'dumps', 0)
        report(not why, f'{machine}: {os.path.relpath(s.path, TOP)}', why)
    if machine != 'host' and paths:
        report(dumps > 0, f'{machine}: live tables were compared with QEMU\'s ({dumps} dumps)',
               ['no dump came'])


def run_program(machine):
    """An unmodified program: malloc, fork, a SIGSEGV handler, floating point, exit status."""
    for compiler in ARCHES[machine].compilers:
        if not have(compiler):
            continue
        with tempfile.TemporaryDirectory() as folder:
            source, binary = os.path.join(folder, 'p.c'), os.path.join(folder, 'program')
            with open(source, 'w') as f:
                f.write(PROGRAM)
            subprocess.run([compiler, '-O1', '-static', '-o', binary, source], check=True)
            try:
                r = qemu.run(qemu.Config(machine, '/program', ['hello'], {'/program': binary},
                                         ['norandmaps', 'mem_check=1']))
            except CannotRun as e:
                report(False, f'{machine}: a program of {compiler}', str(e).splitlines())
                continue
        output = machines.program_output(r.log)
        report(r.status == 3 and output == 'hello 2 child=5 mine=42 caught=1 pi=3.142\n',
               f'{machine}: a program of {compiler}',
               [f'status {r.status}', *r.log.splitlines()[-20:]])


FORKTEST = 'forktest: children 64, bad 0, the parent\'s wrong words 0'
FEW = ['anon-write', 'brk', 'copies-cow', 'file-private', 'fork-shared', 'merge', 'mremap-grow',
       'stack-gap', 'tables']
BALANCE = re.compile(r'free pages before=(\d+) after=(\d+), more than before: 0 slab, 0 tables, '
                     '0 cache')


def forktest_log(machine):
    """Status and output of the program where it runs; our own kernels say at the end what is left."""
    if machine == 'host':
        r = subprocess.run([os.path.join(build_folder('host'), 'user', 'quire-forktest-x86_64')],
                           stdout=subprocess.PIPE, timeout=120, check=False)
        return r.returncode, r.stdout.decode(errors='replace')
    native = machine.startswith('linux')
    files = {'/forktest': os.path.join(build_folder('host' if native else machine), 'user',
                                       'forktest-native' if native else 'forktest')}
    if native:
        r = oracle.run_jobs([oracle.Job('forktest', ['/forktest'], False, 120)], files, machine)[0]
        return r.status, r.output.decode(errors='replace')
    r = qemu.run(qemu.Config(machine, '/forktest', [], files, ['mem_check=1']))
    return r.status, r.log


def run_forktest(machine):
    """64 children that write over what they share with their parent: no word wrong, no page lost."""
    try:
        status, log = forktest_log(machine)
    except CannotRun as e:
        if machine.startswith('linux'):
            report(True, f'{machine}: 64 children # SKIP {str(e).splitlines()[0]}')
        else:
            report(False, f'{machine}: 64 children', str(e).splitlines())
        return
    left = BALANCE.search(log)
    balanced = machine.startswith('linux') or (left and left.group(1) == left.group(2))
    report(status == 0 and FORKTEST in log and balanced, f'{machine}: 64 children',
           [f'status {status}', *log.splitlines()[-5:]])


SIZES = '''
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/sysinfo.h>
int main(void)
{
	struct sysinfo s;
	cpu_set_t c;

	CPU_ZERO(&c);
	if (sysinfo(&s) || sched_getaffinity(0, sizeof(c), &c))
		return 1;
	printf("%lu MiB, %d processors\\n", s.totalram * s.mem_unit >> 20, CPU_COUNT(&c));
	return 0;
}
'''


def run_sizes(machine):
    """./quire exec gives a real kernel the memory and the processors that are asked for."""
    try:
        oracle.kernel_image(machine)
    except CannotRun as e:
        report(True, f'{machine}: exec --mem --smp # SKIP {str(e).splitlines()[0]}')
        return
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, 'p.c'), os.path.join(folder, 'sizes')
        with open(source, 'w') as f:
            f.write(SIZES)
        subprocess.run(['gcc', '-O1', '-static', '-o', binary, source], check=True)
        for mem, smp in ((200, 3), (700, 1)):
            r = subprocess.run([os.path.join(TOP, 'quire'), 'exec', '--mem', f'{mem}M', '--smp',
                                str(smp), machine, binary], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            m = re.search(r'^(\d+) MiB, (\d+) processors$', r.stdout, re.M)
            # The kernel keeps its own image and tables.
            good = m and mem - 80 <= int(m.group(1)) <= mem and int(m.group(2)) == smp
            report(r.returncode == 0 and good, f'{machine}: exec --mem {mem}M --smp {smp}',
                   r.stdout.splitlines())


DISKS = '''
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <unistd.h>
int main(void)
{
	int a = open("/dev/vda", O_RDWR), b = open("/dev/vdb", O_RDWR);
	char c[2] = "??";
	struct sysinfo s;

	if (a < 0 || b < 0 || sysinfo(&s))
		return 1;
	if (pread(a, c, 1, 1000) != 1 || pwrite(a, "w", 1, 5000) != 1 || fsync(a) ||
	    pread(b, c + 1, 1, 2000) != 1 || pwrite(b, "w", 1, 5000) != -1)
		return 2;
	printf("%ld %ld %.2s %lu\\n", (long)lseek(a, 0, SEEK_END), (long)lseek(b, 0, SEEK_END), c,
	       (unsigned long)(s.totalswap * s.mem_unit >> 10));
	return 0;
}
'''


def disk_run(machine, compiler, folder):
    """(status, output, the first disk's contents) of a program with two disks and swap."""
    source, binary = os.path.join(folder, 'p.c'), os.path.join(folder, 'program')
    with open(source, 'w') as f:
        f.write(DISKS)
    subprocess.run([compiler, '-O1', '-static', '-o', binary, source], check=True)
    found = []
    for n, size in enumerate((3 << 20, 5 << 20)):
        data = bytearray(size)
        data[1000 * (n + 1)] = ord('ab'[n])
        found.append(disks.Disk(os.path.join(folder, f'disk{n}'), n == 1))
        with open(found[n].path, 'wb') as f:
            f.write(data)
    files = {'/program': (binary, 0o755)}
    if machine in ARCHES:
        r = qemu.run(qemu.Config(machine, '/program', [], files, disks=found, swap=16 << 20))
        out = r.status, r.log
    else:
        job = oracle.Job('disks', ['/program'], False, 60)
        r = oracle.run_jobs([job], files, machine, disks=found, swap=16 << 20)[0]
        out = r.status, r.output.decode(errors='replace')
    with open(found[0].path, 'rb') as f:
        return *out, f.read()


def run_disks(machine):
    """Disks by the names that they have everywhere, one that cannot be written, and swap behind them."""
    compiler = next((c for c in (ARCHES[machine].compilers if machine in ARCHES else ('gcc',))
                     if have(c)), None)
    try:
        if not compiler:
            raise CannotRun('no compiler')
        with tempfile.TemporaryDirectory() as folder:
            status, log, data = disk_run(machine, compiler, folder)
    except CannotRun as e:
        if machine in ARCHES and compiler:
            report(False, f'{machine}: disks', str(e).splitlines())
        else:
            report(True, f'{machine}: disks # SKIP {str(e).splitlines()[0]}')
        return
    good = re.search(r'^3145728 5242880 ab 16380$', log, re.M)
    report(status == 0 and good and data[5000] == ord('w') and data.count(0) == len(data) - 2,
           f'{machine}: disks', [f'status {status}', *log.splitlines()[-5:]])


def main():
    machine = sys.argv[1]
    run_forktest(machine)
    if machine in ARCHES or machine.startswith('linux'):
        run_disks(machine)
    if machine.startswith('linux'):     # its scenarios are asked for by ./quire ask and diff
        run_sizes(machine)
        print(f'1..{count}')
        return bool(failed)
    if sys.argv[2:] == ['few']:
        run_files(machine, [os.path.join(TOP, 'test/scenario', n + '.scn') for n in FEW], 60)
    else:
        run_files(machine, sorted(glob.glob(os.path.join(TOP, 'test/scenario/**/*.scn'), recursive=True)), 60)
        run_files(machine, sorted(glob.glob(os.path.join(TOP, 'test/recording/*.rec.xz'))), 180)
    if machine in ARCHES:
        run_program(machine)
    print(f'1..{count}')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
