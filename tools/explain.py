# SPDX-License-Identifier: MIT
"""`./quire run --explain`: the way of each fault, from the trap to the row that was chosen."""
import trace

# Per machine: name of each level from the top, index shift, index bits, end of the user half.
LEVELS = [('pgd', 39, 9), ('pud', 30, 9), ('pmd', 21, 9), ('pte', 12, 9)]


def _indices(address):
    return ' '.join(f'{name}[{address >> shift & (1 << bits) - 1}]' for name, shift, bits in LEVELS)


def _trap(r):
    if r.type == trace.X86_FAULT:
        return f'trap   #PF: cr2=0x{r.w[0]:x}, error code 0x{r.w[1]:x}, at ip 0x{r.w[2]:x}'
    causes = {12: 'fetch', 13: 'load', 15: 'store'}
    return (f'trap   scause={r.w[1]} ({causes.get(r.w[1], "?")} page fault): stval=0x{r.w[0]:x}, '
            f'at sepc 0x{r.w[2]:x}')


def _code_text(code):
    parts = [('present', 1), ('write', 2), ('user', 4), ('reserved', 8), ('fetch', 16)]
    return ' '.join(n for n, b in parts if code & b) or 'read, not present, kernel'


def _leaves(path):
    """Bits of the live entries at the end, from the last table dump."""
    leaves, fresh = {}, False
    for r in trace.read_records(path):
        if r.type == trace.TABLE_LEAF:
            if fresh:
                leaves, fresh = {}, False
            flags = ''.join(c if r.w[3] >> i & 1 else '-' for i, c in enumerate('rwxuad'))
            leaves[r.w[0]] = (r.w[1], flags)
        elif r.type == trace.TABLE_END:
            fresh = True
    return leaves


def show(result):
    """Prints each fault between the markers with its way."""
    if result.trace_path.endswith('.txt'):
        print(f'{result.machine}: only Quire\'s own machines explain their faults')
        return
    leaves, on = _leaves(result.trace_path), False
    for r in trace.read_records(result.trace_path):
        if r.type == trace.MARKER:
            on = on and not r.text.startswith(trace.END) or r.text.startswith(trace.BEGIN)
            print(f'-- {r.text}')
        elif not on:
            continue
        elif r.type in trace.RAW_FAULT:
            print('  ' + _trap(r))
        elif r.type in (trace.PF_USER, trace.PF_KERNEL):
            who = 'user' if r.type == trace.PF_USER else 'kernel'
            print(f'  fault  {who}, address 0x{r.w[0]:x}, code 0x{r.w[2]:x} ({_code_text(r.w[2])})')
            print(f'  walk   {_indices(r.w[0])}')
        elif r.type == trace.MM_FAULT:
            _show_row(r, leaves)


def _show_row(r, leaves):
    row, access, major = r.w[1] & 0xff, r.w[1] >> 8 & 3, r.w[1] >> 16 & 0xff
    if r.w[3]:
        print(f'  area   0x{r.w[2]:x}-0x{r.w[3]:x} {trace.vm_flags_text(r.w[4])}')
    else:
        print('  area   none')
    name = trace.ROWS[row] if row < len(trace.ROWS) else str(row)
    print(f'  row    {name} ({trace.ACCESSES[access]}, {"major" if major else "minor"})')
    at = leaves.get(r.w[0] & ~0xfff)
    if at:
        print(f'  entry  at the end: frame 0x{at[0] >> 12:x} {at[1]}')
