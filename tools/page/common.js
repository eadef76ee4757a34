// What both kinds of page use: making elements, reading the data, numbers for people.
const data = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';

function el(name, attributes, ...children) {
	const e = document.createElement(name);
	for (const [k, v] of Object.entries(attributes || {})) {
		if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
		else if (v !== false && v !== undefined) e.setAttribute(k, v);
	}
	e.append(...children.filter(c => c !== null && c !== undefined && c !== false));
	return e;
}

function fill(parent, ...children) {
	parent.replaceChildren(...children.filter(c => c));
}

function shape(parent, name, attributes, text) {
	const e = document.createElementNS(SVG, name);
	for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
	if (text !== undefined) e.textContent = text;
	parent.append(e);
	return e;
}

function drawing(width, height, title) {
	const s = document.createElementNS(SVG, 'svg');
	s.setAttribute('width', width);
	s.setAttribute('height', height);
	s.setAttribute('viewBox', `0 0 ${width} ${height}`);
	s.setAttribute('role', 'img');
	shape(s, 'title', {}, title);
	return s;
}

function number(n) {
	return n.toLocaleString('en-US');
}

function verdict(status) {
	return status === 0 ? 'as expected' : status === 1 ? 'NOT as expected' : 'could not run';
}

function row_of(cells, tag) {
	return el('tr', {}, ...cells.map(c => c instanceof Node ? c : el(tag || 'td', {}, String(c))));
}

// A colour for a frame: the same frame has the same one, whoever maps it.
function colour_of(frame) {
	return `hsl(${(frame * 137.5) % 360} 65% 82%)`;
}

// A bar with machines to choose from, and a slider over the steps from 0 to last.
function control(last, show) {
	const state = { machine: 0, at: 0 };
	const slider = el('input', { type: 'range', min: 0, max: last, value: 0, 'aria-label': 'step',
		oninput: () => go(Number(slider.value)) });
	const where = el('span', { class: 'mono' });
	const buttons = data.machines.map((m, i) => el('button', { type: 'button', onclick: () => pick(i) }, m.name));

	function go(at) {
		state.at = Math.max(0, Math.min(last, at));
		slider.value = state.at;
		where.textContent = `${state.at}/${last}`;
		history.replaceState(null, '', `#${data.machines[state.machine].name}:${state.at}`);
		show(state.machine, state.at);
	}
	function pick(i) {
		state.machine = i;
		buttons.forEach((b, j) => b.classList.toggle('on', i === j));
		go(state.at);
	}
	document.addEventListener('keydown', e => {
		if (e.target === slider) return;
		if (e.key === 'ArrowRight' || e.key === 'ArrowDown') { e.preventDefault(); go(state.at + 1); }
		if (e.key === 'ArrowLeft' || e.key === 'ArrowUp') { e.preventDefault(); go(state.at - 1); }
	});
	const bar = el('div', { class: 'bar' }, ...buttons,
		el('button', { type: 'button', title: 'back (left arrow)', onclick: () => go(state.at - 1) }, '‹'), slider,
		el('button', { type: 'button', title: 'on (right arrow)', onclick: () => go(state.at + 1) }, '›'), where);
	// The address may name where to begin: #MACHINE:STEP.
	const [name, at] = decodeURIComponent(location.hash.slice(1)).split(':');
	const begin = () => {
		state.at = Number(at) || 0;
		pick(Math.max(0, data.machines.findIndex(m => m.name === name)));
	};
	return { bar, go, begin };
}
