# SPDX-License-Identifier: MIT
"""`./quire repl`, `./quire run -`: a scenario that is typed, one action at a time.

Behind every line the machine is started again and does all actions so far; only what the last one did is
shown. A scenario does the same every time, so this is as if the machine had waited; it works on every
machine, and a line can be taken back.
"""
import os
import shutil
import sys

import explain
import machines
import story
from common import CannotRun, DIFFERENT, OK, scratch

HELP = """An action as in a scenario (docs/scenario.md), as in
    A = mmap(@0, 2p, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
    store(A, 7)
    fork(child)
    child: store(A, 9)
or one of these words:
    list           the actions so far
    undo           the last one is taken back
    look COMMAND   what the kernel's monitor says now: buddy, slab, maps %, walk %child @0 ...
    save FILE      the actions so far as a scenario
    help           this
    quit           the end, as Ctrl-D"""


class Session:
    """What was typed so far, and the machine that does it."""

    def __init__(self, machine, options, folder):
        self.machine, self.options, self.folder = machine, options, folder
        self.lines, self.worst = [], OK

    def path(self):
        return os.path.join(self.folder, 'typed.scn')

    def _write(self, lines):
        with open(self.path(), 'w', encoding='utf-8') as f:
            f.write(''.join(s + '\n' for s in lines))

    def _run(self, lines, looks=()):
        """The result of these lines. CannotRun: a line is malformed, or the machine could not."""
        self._write(lines)
        wrong = machines.malformed([self.path()])
        if wrong:
            raise CannotRun(wrong.replace(f'{self.path()}:{len(lines)}:', '').replace(self.path() + ':', ''))
        subject = machines.Subject(self.path())
        opt = story.options(self.options, looks)
        _, result = next(iter(machines.execute([subject], self.machine, opt)))
        if isinstance(result, CannotRun):
            raise result
        return subject, result

    def act(self, line):
        """Does one more action and says what it did; a line that cannot be done is not kept."""
        lines = [*self.lines, line]
        ours = self.machine in machines.QUIRES
        subject, result = self._run(lines, story.LOOKS if ours else ())
        if ours:
            tale = story.read(subject, result)
            steps = tale.steps
        else:
            steps = story.steps_of(result.output, subject.path)
        self.lines = lines
        if steps[-1].line != len(lines):        # a comment, or a line of the other architecture
            return
        step = steps[-1]
        print(f'= {step.result}')
        if ours:
            for s in explain.lines(steps[-2], step):
                print(f'  {s}')
        if step.mismatch:
            self.worst = DIFFERENT
            print(f'NOT as expected: {step.mismatch}')

    def look(self, command):
        if self.machine not in machines.QUIRES:
            raise CannotRun(f'{self.machine}: only Quire\'s own machines can be looked into')
        last = len(self.lines)
        _, result = self._run(self.lines or ['# nothing yet'], [f'{last}:{command}'])
        shown = result.output.splitlines()
        at = next((i for i, s in enumerate(shown) if s.startswith('     look: ')), len(shown))
        for s in shown[at + 1:]:
            print(s)

    def word(self, line):
        """One of the words of HELP; True: the end."""
        name, _, rest = line.partition(' ')
        if name in ('quit', 'exit', 'q') and not rest:
            return True
        if name == 'help':
            print(HELP)
        elif name == 'list':
            for n, s in enumerate(self.lines, 1):
                print(f'{n:3d}  {s}')
        elif name == 'undo':
            print(f'taken back: {self.lines.pop()}' if self.lines else 'there is nothing to take back')
        elif name == 'look' and rest.strip():
            self.look(rest.strip())
        elif name == 'save' and rest.strip():
            with open(rest.strip(), 'w', encoding='utf-8') as f:
                f.write(''.join(s + '\n' for s in self.lines))
            print(f'{rest.strip()}: {len(self.lines)} lines')
        else:
            print(f'{name}? (help lists what there is)')
        return False


def _lines():
    """What is typed, line by line; a prompt only where somebody sees it."""
    if not sys.stdin.isatty():
        yield from (s.rstrip('\n') for s in sys.stdin)
        return
    import readline     # noqa: F401  (editing and history)
    while True:
        try:
            yield input('quire> ')
        except EOFError:
            print()
            return


def run(machine, options):
    """The command; 0, or 1 if something was not as expected."""
    machines.prepare([machine])
    folder = scratch('repl')
    try:
        session = Session(machine, options, folder)
        if sys.stdin.isatty():
            print(f'One action at a time on {machine}; help lists what there is.')
        for line in _lines():
            text = line.strip()
            try:
                if not text:
                    continue
                if '(' not in text and not text.startswith('#') or text.startswith(('look ', 'save ')):
                    if session.word(text):
                        break
                else:
                    session.act(text)
            except (CannotRun, OSError) as e:
                print(f'not done: {e}')
            sys.stdout.flush()
        return session.worst
    finally:
        shutil.rmtree(folder, ignore_errors=True)
