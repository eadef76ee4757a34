# SPDX-License-Identifier: MIT
"""The tables of a space that runs on four processors, as the kernel dumps them on each, are those that
QEMU shows of that very processor, while other threads of the space would change them all the time.
usage: test_dumps.py MACHINE; TAP on standard output.
"""
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import qemu  # noqa: E402
from arches import ARCHES  # noqa: E402
from common import CannotRun, have  # noqa: E402

CPUS = 4
ROUNDS = 3
PROGRAM = '''
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
static int over, failures;
static void *changes(void *arg)
{
	unsigned long at = 0x20000000 + (unsigned long)arg * 0x1000000;

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		char *p = mmap((void *)at, 64 * 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		for (int i = 0; i < 64; i++)
			p[i * 4096] = 1;
		if (mprotect(p, 32 * 4096, PROT_READ) || munmap(p + 16 * 4096, 32 * 4096))
			failures++;
	}
	return NULL;
}
int main(void)
{
	int fd = open("/proc/quire/dump_tables", O_WRONLY);
	pthread_t t[CPUS];
	cpu_set_t c;

	for (long i = 0; i < CPUS; i++)
		pthread_create(&t[i], NULL, changes, (void *)i);
	for (int i = 0; i < ROUNDS * CPUS; i++) {
		CPU_ZERO(&c);
		CPU_SET(i % CPUS, &c);
		if (sched_setaffinity(0, sizeof(c), &c) || sched_getcpu() != i % CPUS || write(fd, "7", 1) != 1)
			failures++;
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < CPUS; i++)
		pthread_join(t[i], NULL);
	printf("%d failures\\n", failures);
	return failures != 0;
}
'''


def outcome(machine, compiler):
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, 'p.c'), os.path.join(folder, 'program')
        with open(source, 'w') as f:
            f.write(PROGRAM)
        subprocess.run([compiler, '-O1', '-static', '-pthread', f'-DCPUS={CPUS}', f'-DROUNDS={ROUNDS}', '-o',
                        binary, source], check=True)
        return qemu.run(qemu.Config(machine, '/program', [], {'/program': binary}, ['norandmaps'], smp=CPUS,
                                    trace_path=os.path.join(folder, 'trace')))


def main():
    machine = sys.argv[1]
    compiler = next((c for c in ARCHES[machine].compilers if have(c)), None)
    print('1..1')
    if not compiler or os.environ.get('QUIRE_ICOUNT'):
        print('ok 1 - dumps # SKIP ' + ('instructions are counted on one CPU alone' if compiler else 'no compiler'))
        return 0
    try:
        r = outcome(machine, compiler)
        why = [f'status {r.status}'] if r.status else []
        why += [] if r.dumps >= ROUNDS * CPUS else [f'{r.dumps} dumps']
        why += r.table_differences[:10]
        why += r.log.splitlines()[-10:] if why else []
    except CannotRun as e:
        why = str(e).splitlines()
    for line in why:
        print('# ' + line)
    print(f'{"not " if why else ""}ok 1 - {machine}: dumps on each of {CPUS} CPUs are what QEMU shows of it')
    return bool(why)


if __name__ == '__main__':
    sys.exit(main())
