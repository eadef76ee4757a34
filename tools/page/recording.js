// A recording: its faults as density over time.
const ROW_COLOURS = { zero: '#b8bcc4', anon: '#4c9f70', cow: '#d1495b', reuse: '#edae49', file: '#30638e',
	around: '#7aa6c2', shmem: '#8d6a9f', swap: '#b5651d', stack: '#66a182', segv: '#000', bus: '#333', ad: '#ccc' };
const LEFT = 92, WIDTH = 1100, COUNT = 150, BAND = 9;
const columns = Math.max(...data.machines.map(m => m.columns));
const plots = el('div'), panel = el('div');
const ui = control(columns - 1, show);

function rows_of(m) {
	const all = new Map();
	for (const c of m.rows) for (const [r, n] of Object.entries(c)) all.set(r, (all.get(r) || 0) + n);
	return [...all.entries()].sort((a, b) => b[1] - a[1]);
}

function x_of(m, c) {
	return LEFT + (WIDTH - LEFT) * c / m.columns;
}

// How many faults of which row in each piece of time.
function draw_rows(m, at) {
	const s = drawing(WIDTH, COUNT + 24, 'faults by row over time');
	const most = Math.max(1, ...m.rows.map(c => Object.values(c).reduce((a, b) => a + b, 0)));
	const w = x_of(m, 1) - LEFT;
	shape(s, 'text', { x: 0, y: 12, class: 'muted' }, `${number(most)} faults`);
	shape(s, 'text', { x: 0, y: 26, class: 'muted' }, `in ${(m.milliseconds / m.columns).toPrecision(2)} ms`);
	shape(s, 'text', { x: 0, y: COUNT, class: 'muted' }, '0');
	m.rows.forEach((c, i) => {
		let y = COUNT;
		for (const [row] of rows_of(m)) {
			const h = COUNT * (c[row] || 0) / most;
			if (!h) continue;
			y -= h;
			shape(s, 'rect', { x: x_of(m, i), y, width: w + .3, height: h, fill: ROW_COLOURS[row] || '#999' });
		}
	});
	for (const [c, what, who, child] of m.lives.slice(0, 400)) {
		const mark = shape(s, 'line', { x1: x_of(m, c), x2: x_of(m, c), y1: COUNT + 2, y2: COUNT + 9, stroke: { fork: '#06c', exec: '#090', exit: '#c00' }[what], 'stroke-width': 2 });
		shape(mark, 'title', {}, `process ${who}: ${what}${what === 'fork' ? ' of ' + child : ''}`);
	}
	cursor(s, m, at, COUNT + 10);
	return s;
}

// Where in the address space they were.
function draw_heat(m, at) {
	const h = m.bands.length * BAND;
	const s = drawing(WIDTH, h + 22, 'faults by address over time');
	const most = Math.max(1, ...m.heat.map(c => Math.max(...c)));
	const w = x_of(m, 1) - LEFT;
	m.bands.forEach(([first, end], b) => {
		const apart = b && m.bands[b - 1][1] !== first;
		if (!b || apart) shape(s, 'text', { x: 0, y: h - b * BAND - 1, class: 'mono muted' }, first);
		if (apart) shape(s, 'line', { x1: LEFT, x2: WIDTH, y1: h - b * BAND, y2: h - b * BAND, stroke: '#d0d4da' });
	});
	m.heat.forEach((c, i) => c.forEach((n, b) => {
		if (!n) return;
		const r = shape(s, 'rect', { x: x_of(m, i), y: h - (b + 1) * BAND, width: w + .3, height: BAND,
			fill: `hsl(${215 - 215 * Math.sqrt(n / most)} 75% ${72 - 30 * Math.sqrt(n / most)}%)` });
		shape(r, 'title', {}, `${m.bands[b][0]}-${m.bands[b][1]}: ${n}`);
	}));
	cursor(s, m, at, h);
	return s;
}

function cursor(s, m, at, h) {
	shape(s, 'rect', { x: x_of(m, at), y: 0, width: Math.max(1.5, x_of(m, 1) - LEFT), height: h, fill: 'none', stroke: '#000' });
	s.addEventListener('click', e => {
		const box = s.getBoundingClientRect(), x = (e.clientX - box.left) * WIDTH / box.width;
		ui.go(Math.floor((x - LEFT) / (WIDTH - LEFT) * m.columns));
	});
}

function legend(m) {
	return el('p', {}, ...rows_of(m).map(([r, n]) => el('span', { style: 'margin-right:14px' },
		el('span', { style: `display:inline-block;width:10px;height:10px;margin-right:4px;background:${ROW_COLOURS[r] || '#999'}` }), `${r} ${number(n)}`)),
		el('span', { class: 'muted' }, 'below the bars: fork blue, exec green, exit red'));
}

function draw_differences() {
	const names = data.machines.map(m => m.name);
	if (names.length < 2) return '';
	if (!data.differences.length)
		return el('p', { class: 'muted' }, `${names.join(', ')}: every fault, all maps and all present pages are the same.`);
	return el('div', {}, el('h2', { class: 'bad' }, `where they differ from ${names[0]}`),
		...data.differences.map(([index, machine, what]) => el('pre', { class: 'story' }, what)));
}

function show(machine, at) {
	const m = data.machines[machine], sums = new Map();
	for (let c = 0; c <= at && c < m.columns; c++)
		for (const [r, n] of Object.entries(m.rows[c])) sums.set(r, (sums.get(r) || 0) + n);
	const here = m.rows[at] || {}, t = el('table', {}, row_of(['row', el('th', { class: 'n' }, 'here'), el('th', { class: 'n' }, 'so far')], 'th'));
	for (const [r] of rows_of(m)) t.append(row_of([r, el('td', { class: 'n' }, number(here[r] || 0)), el('td', { class: 'n' }, number(sums.get(r) || 0))]));
	const events = el('table', {}, row_of(['fault', 'process', 'address', 'access', 'row', ''], 'th'));
	for (const [i, task, address, r, access, major] of m.samples[at] || [])
		events.append(row_of([number(i), task, el('td', { class: 'mono' }, address), access, r, major ? 'major' : '']));
	plots.replaceChildren(el('h2', {}, 'faults by row, over time'), legend(m), draw_rows(m, at),
		el('h2', {}, 'where they were: addresses over time'), draw_heat(m, at));
	panel.replaceChildren(el('div', { style: 'display:flex;gap:60px;flex-wrap:wrap' },
		el('div', {}, el('h2', {}, 'fault counters'), t), el('div', {}, el('h2', {}, 'the first faults here'), events)));
}

document.getElementById('page').append(
	el('h1', {}, data.path, ' ', el('span', { class: 'muted' }, data.machines.map(m => `${m.name}: ${number(m.faults)} faults of ${m.processes} process${m.processes === 1 ? '' : 'es'}, ${verdict(m.status)}`).join('; '))),
	ui.bar, plots, panel, draw_differences());
ui.begin();
