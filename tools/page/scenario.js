// A scenario, action by action.
const PAGE = 4096, SHIFT = { pgd: 39, pud: 30, pmd: 21, pte: 12 };

function place(a) {
	if (a < data.arena[0] || a >= data.arena[1]) return '0x' + a.toString(16);
	const page = Math.floor((a - data.arena[0]) / PAGE), rest = a % PAGE;
	return '@' + page + (rest ? '+' + rest : '');
}

function by_task(step) {
	return Object.entries(step.spaces);
}

// ---- the source ------------------------------------------------------------------------------

const differing = new Set(data.differences.map(d => d[0]));
const source = el('div', { class: 'source mono' });
const panel = el('div');
const ui = control(data.machines[0].steps.length - 1, show);

function draw_source(steps, at) {
	const by_line = new Map(steps.map((s, i) => [s.line, i]));
	source.replaceChildren(...data.source.map((text, i) => {
		const n = by_line.get(i + 1), step = n === undefined ? null : steps[n];
		const line = el('div', { class: [step ? '' : 'idle', n === at && step ? 'now' : '',
			differing.has(n) ? 'differs' : ''].join(' '), onclick: step ? () => ui.go(n) : () => {} },
			el('span', { class: 'no' }, String(i + 1)), text);
		if (step) {
			if (!text.includes(step.result)) line.append(el('span', { class: 'muted' }, '  → ' + step.result));
			if (step.faults.length)
				line.append(el('span', { class: 'dot' }, ' ' + '●'.repeat(Math.min(8, step.faults.length))));
			if (step.wrong) line.append(el('span', { class: 'bad' }, '  ✗ ' + step.wrong));
		}
		return line;
	}));
	const now = source.querySelector('.now');
	if (now) source.scrollTop = Math.max(0, now.offsetTop - source.offsetTop - source.clientHeight / 2);
}

// ---- one process -----------------------------------------------------------------------------

const PERMS = { 'r': '#bcd7f5', 'w': '#c5e8c0', 'x': '#f5d6a8', '-': '#e3e5e8' };

function area_colour(perms) {
	return perms[2] === 'x' ? PERMS.x : perms[1] === 'w' ? PERMS.w : perms[0] === 'r' ? PERMS.r : PERMS['-'];
}

// The areas as a strip: each as wide as its pages, gaps between them short.
function draw_areas(areas) {
	const width = 660, gap = 14;
	const s = drawing(width, 46, 'areas');
	const pages = areas.map(a => Math.log2(1 + (a[1] - a[0]) / PAGE));
	const total = pages.reduce((a, b) => a + b, 0) || 1;
	const gaps = areas.filter((a, i) => i && areas[i - 1][1] !== a[0]).length;
	let x = 0;
	areas.forEach((a, i) => {
		if (i && areas[i - 1][1] !== a[0]) x += gap;
		const w = Math.max(3, (width - gaps * gap) * pages[i] / total);
		const r = shape(s, 'rect', { x, y: 2, width: w, height: 22, fill: area_colour(a[2]), stroke: '#888' });
		shape(r, 'title', {}, `${place(a[0])}-${place(a[1])} ${a[2]} ${a[3] || 'anonymous'}`);
		if (w > 34) shape(s, 'text', { x: x + w / 2, y: 17, 'text-anchor': 'middle', class: 'mono' }, a[2]);
		if (w > 26) shape(s, 'text', { x, y: 40, class: 'mono muted' }, place(a[0]));
		x += w;
	});
	return s;
}

// Entries that lie side by side, have the same flags and frames in a row are drawn as one.
function runs_of(entries) {
	const out = [];
	for (const [a, kind, frame, flags] of entries) {
		const last = out[out.length - 1];
		if (last && last.kind === kind && last.flags === flags && last.address + last.n * PAGE === a &&
			(last.frame + last.n === frame || (kind === 'leaf' && entries.length > 24)) &&
			Math.floor(last.address / 2 ** 21) === Math.floor(a / 2 ** 21)) last.n++;
		else out.push({ address: a, kind, frame, flags, n: 1 });
	}
	return out;
}

const COLUMN = { pgd: 0, pud: 120, pmd: 240, pte: 360, leaf: 480 };

// The tree of tables with the entries that are used, from the root to the frames.
function draw_tables(space, old) {
	const runs = runs_of(space.entries).slice(0, 40);
	const paths = space.tables.filter(t => runs.some(r => covers(t, r.address)));
	const s = drawing(680, 26 + 24 * Math.max(1, runs.length), 'page tables');
	const had = new Set(old ? old.tables.map(t => t[2]) : []), before = new Map(old ? old.entries.map(e => [e[0], e]) : []);

	for (const [name, x] of Object.entries(COLUMN))
		shape(s, 'text', { x, y: 11, class: 'muted' }, name === 'leaf' ? 'frame' : name);
	if (!runs.length) shape(s, 'text', { x: 0, y: 34, class: 'muted' }, 'no page of the scenario is mapped');
	runs.forEach((r, i) => { r.y = 34 + 24 * i; });
	// entry: the index in the table above it, and where it stands
	const boxes = [['pgd', 0, space.root], ...paths.map(t => [below(t[0]), t[1], t[2]])];
	const middle = new Map();
	for (const [level, first, frame] of boxes) {
		const of = runs.filter(r => level === 'pgd' || covers_at(level, first, r.address));
		if (!of.length) continue;
		middle.set(level + first, (of[0].y + of[of.length - 1].y) / 2);
	}
	for (const [level, first, frame] of boxes) {
		const y = middle.get(level + first);
		if (y === undefined) continue;
		const fresh = level !== 'pgd' && old && !had.has(frame);
		const children = level === 'pte' ? runs.filter(r => covers_at('pte', first, r.address)).map(r => [index('pte', r.address), r.y]) :
			boxes.filter(b => above(b[0]) === level && (level === 'pgd' || covers_at(level, first, b[1])) &&
				middle.has(b[0] + b[1])).map(b => [index(level, b[1]), middle.get(b[0] + b[1])]);
		const x = COLUMN[level];
		const to = level === 'pte' ? COLUMN.leaf : COLUMN[below(level)];
		for (const [, cy] of children) shape(s, 'path', { d: `M${x + 88} ${y - 4} C${x + 104} ${y - 4} ${to - 18} ${cy - 4} ${to} ${cy - 4}`, fill: 'none', stroke: '#99a' });
		const r = shape(s, 'rect', { x, y: y - 14, width: 88, height: 20, rx: 3, fill: fresh ? '#fff3c4' : '#eef0f3', stroke: fresh ? '#c90' : '#aab' });
		shape(r, 'title', {}, `table in frame 0x${frame.toString(16)}${fresh ? ', made by this action' : ''}`);
		const text = children.length === 1 ? `[${children[0][0]}]` : `${children.length} entries`;
		shape(s, 'text', { x: x + 44, y, 'text-anchor': 'middle', class: 'mono' }, text);
	}
	for (const r of runs) {
		const was = before.get(r.address);
		const changed = old && r.n === 1 && (!was || was[1] !== r.kind || was[2] !== r.frame || was[3] !== r.flags);
		const box = shape(s, 'rect', { x: COLUMN.leaf, y: r.y - 14, width: 196, height: 20, rx: 3,
			fill: r.kind === 'leaf' ? colour_of(r.frame) : '#eee', stroke: changed ? '#c00' : '#888',
			'stroke-width': changed ? 2 : 1, 'stroke-dasharray': r.kind === 'leaf' ? 'none' : '3 3' });
		shape(box, 'title', {}, `${place(r.address)}: ${r.kind} 0x${r.frame.toString(16)} ${r.flags}` +
			(was && changed ? `; before: ${was[1]} 0x${was[2].toString(16)} ${was[3]}` : ''));
		const flags = r.flags.replace('accessed', 'A').replace('dirty', 'D');
		shape(s, 'text', { x: COLUMN.leaf + 6, y: r.y, class: 'mono' },
			`${place(r.address)} ${r.n > 1 ? '×' + r.n + (r.kind === 'leaf' ? '' : ' ' + r.kind) : r.kind === 'leaf' ? '0x' + r.frame.toString(16) : r.kind} ${flags}`);
	}
	return s;
}

function below(level) { return { pgd: 'pud', pud: 'pmd', pmd: 'pte' }[level]; }
function above(level) { return { pud: 'pgd', pmd: 'pud', pte: 'pmd' }[level]; }
function index(level, a) { return Math.floor(a / 2 ** SHIFT[level]) % 512; }
// Whether a table of this level, whose first address this is, leads to a.
function covers_at(level, first, a) {
	const span = 2 ** (SHIFT[level] + 9);
	return Math.floor(first / span) === Math.floor(a / span);
}
function covers(t, a) {
	const span = 2 ** SHIFT[t[0]];
	return Math.floor(t[1] / span) === Math.floor(a / span);
}

function draw_task(name, space, old) {
	const many = space.entries.length;
	return el('div', {}, el('h3', {}, `${name} `, el('span', { class: 'muted' }, `process ${space.pid}, ${many} page${many === 1 ? '' : 's'} of the scenario`)),
		space.areas.length ? draw_areas(space.areas) : el('p', { class: 'muted' }, 'no area of the scenario'),
		space.areas.length || many ? draw_tables(space, old) : null);
}

// ---- the machine -----------------------------------------------------------------------------

function draw_buddy(step, last) {
	const t = el('table', {}, row_of(['free blocks of order', ...step.buddy[0][1].map((_, i) => el('th', { class: 'n' }, String(i)))], 'th'));
	step.buddy.forEach(([zone, blocks], z) => {
		t.append(row_of([zone, ...blocks.map((n, i) => {
			const d = last && last.buddy[z] ? n - last.buddy[z][1][i] : 0;
			return el('td', { class: 'n ' + (d > 0 ? 'up' : d < 0 ? 'down' : ''), title: d ? `${d > 0 ? '+' : ''}${d} by this action` : '' }, String(n));
		})]));
	});
	return t;
}

function draw_counters(now, last, unit) {
	const t = el('table');
	for (const [name, n] of Object.entries(now)) {
		const d = last ? n - (last[name] || 0) : 0;
		t.append(row_of([name, el('td', { class: 'n' }, number(n) + unit), el('td', { class: d > 0 ? 'up' : 'down' }, d ? `${d > 0 ? '+' : ''}${d}` : '')]));
	}
	return t;
}

function draw_differences() {
	const names = data.machines.map(m => m.name);
	if (names.length < 2) return null;
	if (!data.differences.length)
		return el('p', { class: 'muted' }, `${names.join(', ')}: results, faults, areas and entries are the same after every action.`);
	return el('div', {}, el('h2', { class: 'bad' }, `where they differ from ${names[0]}`),
		el('ul', {}, ...data.differences.slice(0, 50).map(([n, machine, what]) =>
			el('li', {}, el('a', { href: '#', onclick: e => { e.preventDefault(); ui.go(n); } }, `line ${data.machines[0].steps[n].line}`),
				` on ${machine}: ${what}`))));
}

function show(machine, at) {
	const m = data.machines[machine], step = m.steps[at], last = at ? m.steps[at - 1] : null;
	draw_source(m.steps, at);
	if (!step) { panel.replaceChildren(el('p', { class: 'bad' }, `${m.name} did not come to this action.`)); return; }
	fill(panel,
		el('h2', {}, at ? `${step.task}: ${step.text.replace(/^(\[\w+\] *)?\w+: /, '')}` : 'before the first action'),
		at ? el('div', { class: 'mono' }, '= ' + step.result) : null,
		step.wrong ? el('div', { class: 'bad' }, step.wrong) : null,
		step.story.length ? el('pre', { class: 'story' }, step.story.join('\n')) : null,
		el('h2', {}, 'processes: areas, tables, frames'),
		...by_task(step).map(([t, s]) => draw_task(t, s, last ? last.spaces[t] : null)),
		el('div', { style: 'display:flex;gap:40px;flex-wrap:wrap' },
			el('div', {}, el('h2', {}, 'faults so far, by row, of the whole machine'), draw_counters(step.rows, last && last.rows, '')),
			el('div', {}, el('h2', {}, 'memory'), draw_counters(step.memory, last && last.memory, ' kB'))),
		el('h2', {}, 'free blocks'), step.buddy.length ? draw_buddy(step, last) : null);
}

document.getElementById('page').append(
	el('h1', {}, data.path, ' ', el('span', { class: 'muted' }, data.machines.map(m => `${m.name}: ${verdict(m.status)}`).join(', '))),
	ui.bar, el('div', { class: 'columns' }, el('div', {}, el('h2', {}, 'the scenario'), source, draw_differences() || ''), panel));
ui.begin();
