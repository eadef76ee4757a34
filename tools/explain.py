# SPDX-License-Identifier: MIT
"""`./quire run --explain`: a scenario told line by line. Each fault of its own with its way, from the trap
to the row that was chosen, and each page-table entry before and after, of the process that has it."""
import story
import trace
from story import PAGE, SHIFTS, place

# What a row does, in a few words (docs/fault.md has the table).
ROWS = {
    'zero': 'the page of zeros, read-only', 'anon': 'a fresh page of zeros',
    'cow': 'a copy: others have the page too', 'reuse': 'made writable: nobody else has the page',
    'file': 'the file\'s page', 'around': 'the file\'s page, and those round it',
    'shmem': 'the page of shared memory', 'swap': 'back from swap', 'stack': 'the stack grows',
    'spurious': 'the entry is right already', 'segv': 'refused', 'bus': 'behind the end of the file',
    'oom': 'no memory', 'ad': 'accessed or dirty noted', 'none': '',
}
MOST = 6        # changed entries, and alike faults, that are told one by one


def indices(address):
    return ' '.join(f'{name}[{address >> shift & 511}]' for name, shift in SHIFTS.items())


def _trap(r):
    if r is None:
        return ''
    if r.type == trace.X86_FAULT:
        return f'; the CPU: cr2=0x{r.w[0]:x}, error code 0x{r.w[1]:x}'
    return f'; the CPU: stval=0x{r.w[0]:x}, scause={r.w[1]}'


def _fault_lines(last, step, fault):
    page = fault.address & ~(PAGE - 1)
    before = last.spaces[fault.task].entries.get(page) if fault.task in last.spaces else None
    space = step.spaces.get(fault.task)
    after = space.entries.get(page) if space else None
    state = 'present' if fault.code & 1 else 'not present'
    who = '' if fault.user else 'the kernel, for '
    yield f'fault  {who}{fault.task}: {fault.access} at {place(fault.address)}, {state}{_trap(fault.raw)}'
    yield f'area   {_area_text(fault, last, step)}'
    made = len([t for t in story.new_tables(last, step, fault.task)
                if t[1] <= page < t[1] + (1 << SHIFTS.get(t[0], 39))])
    yield f'walk   {indices(page)}' + (f' ({made} table{"s" * (made > 1)} made on the way)' if made else '')
    yield f'row    {fault.row}: {ROWS.get(fault.row, "")} ({"major" if fault.major else "minor"})'
    yield f'entry  {_change(before, after)}'


def _area_text(fault, last, step):
    if not fault.area:
        return 'none'
    start, end, flags = fault.area
    for at in (step, last):
        for a in at.spaces[fault.task].areas if fault.task in at.spaces else ():
            if (a.start, a.end) == (start, end):
                return a.text()
    return f'{place(start)}-{place(end)} {trace.vm_flags_text(flags)}'


def _change(before, after):
    old, new = before.text() if before else 'none', after.text() if after else 'none'
    if before and after and before.kind == after.kind == 'leaf' and before.pfn == after.pfn and old != new:
        return f'{old}  ->  {after.flags}'
    return f'{old}  ->  {new}' if old != new else f'{old}, as before'


def _other_changes(last, step):
    """Entries that changed without a fault of their own."""
    told = {(f.task, f.address & ~(PAGE - 1)) for f in step.faults}
    return [c for c in story.changes(last, step) if (c[0], c[1]) not in told]


def lines(last, step):
    """What is told of one step behind the action itself."""
    for fault in step.faults[:MOST]:
        yield from _fault_lines(last, step, fault)
    if len(step.faults) > MOST:
        yield f'fault  … and {len(step.faults) - MOST} more, the last at {place(step.faults[-1].address)}'
    others = _other_changes(last, step)
    for task, address, before, after in others[:MOST]:
        yield f'{task}\'s entry of {place(address)}: {_change(before, after)}'
    if len(others) > MOST:
        yield f'… and {len(others) - MOST} more entries'
    for task in step.ended:
        yield f'{task} and its memory are gone'


def text(tale):
    """The whole story, a line at a time."""
    last = tale.steps[0]
    for step in tale.steps[1:]:
        yield f'{step.line:3d}  {step.text} = {step.result}'
        if step.mismatch:
            yield f'     NOT as expected: {step.mismatch}'
        for s in lines(last, step):
            yield f'       {s}'
        for command, said in step.looks:
            yield f'     look: {command}'
            yield from said
        last = step


def show(subject, result, looks):
    """Tells a run that had these looks."""
    for s in text(story.read(subject, result, looks)):
        print(s)
