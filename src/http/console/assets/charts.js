// Small line charts, drawn by the page itself. Each says in words what its last and its highest value are.

const NS = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 120;
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Round spans in seconds: what an axis of durations ends with.
const SPANS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18_000, 36_000, 86_400, 172_800, 604_800];

/** The next round value: what the axis ends with. */
function ceiling(value, isSpan) {
  const round = isSpan && SPANS.find((one) => one >= value);
  if (value <= 0 || round) return value <= 0 ? 1 : round;
  const decade = 10 ** Math.floor(Math.log10(value));
  return decade * [1, 2, 2.5, 5, 10].find((step) => step * decade >= value);
}

/**
 * A chart of `points` ({at, value, limit?}; null where nothing is known) as a figure. `show` writes a value, `isSpan` says that
 * values are seconds; time runs from the first point to the last.
 */
export function chart(title, points, show, { isSpan = false, latest = 'now' } = {}) {
  const known = points.filter((point) => point.value !== null && point.value !== undefined);
  const figure = document.createElement('figure');
  figure.className = 'chart';
  const caption = document.createElement('figcaption');
  const readout = document.createElement('span');
  readout.className = 'figure';
  const name = document.createElement('span');
  name.textContent = title;
  caption.append(name, readout);
  figure.append(caption);
  if (!known.length) {
    readout.textContent = 'nothing known yet';
    return figure;
  }
  const highest = Math.max(...known.map((point) => point.value));
  const summary = `${latest} ${show(known.at(-1).value)}, highest ${show(highest)}`;
  readout.textContent = summary;
  const [first, last] = [Date.parse(points[0].at), Date.parse(points.at(-1).at)];
  const limit = Math.max(...points.map((point) => point.limit ?? 0));
  const top = ceiling(Math.max(highest, limit), isSpan);
  const x = (at) => (last > first ? ((Date.parse(at) - first) / (last - first)) * WIDTH : WIDTH);
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  const runs = [[]];
  for (const point of points) {
    if (point.value === null || point.value === undefined) runs.push([]);
    else runs.at(-1).push(`${x(point.at).toFixed(1)},${y(point.value).toFixed(1)}`);
  }
  // A single point is all that is known of the whole time.
  if (points.length === 1) runs[0].unshift(`0,${runs[0][0].split(',')[1]}`);
  const lines = runs.filter((run) => run.length).flatMap((run) => {
    const [start, end] = [run[0].split(',')[0], run.at(-1).split(',')[0]];
    return [svg('polygon', { class: 'area', points: `${start},${HEIGHT} ${run.join(' ')} ${end},${HEIGHT}` }), svg('polyline', { class: 'line', points: run.length > 1 ? run.join(' ') : `${run[0]} ${Number(start) + 1},${run[0].split(',')[1]}` })];
  });
  const grid = [0, 0.5, 1].map((part) => svg('line', { class: 'grid', x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }));
  const bound = limit > 0 ? [svg('line', { class: 'limit', x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit) })] : [];
  const marker = svg('line', { class: 'marker', y1: 0, y2: HEIGHT, visibility: 'hidden' });
  const named = (at) => (last - first > 36 * 3_600_000 ? `${day.format(new Date(at))}` : clock.format(new Date(at)));
  const picture = svg('svg', { viewBox: `0 -2 ${WIDTH} ${HEIGHT + 4}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${title}: ${summary}` }, ...grid, ...lines, ...bound, marker);
  picture.addEventListener('pointermove', (event) => {
    const box = picture.getBoundingClientRect();
    const wanted = first + ((event.clientX - box.left) / box.width) * (last - first);
    const near = known.reduce((one, other) => (Math.abs(Date.parse(other.at) - wanted) < Math.abs(Date.parse(one.at) - wanted) ? other : one));
    for (const end of ['x1', 'x2']) marker.setAttribute(end, x(near.at));
    marker.setAttribute('visibility', 'visible');
    readout.textContent = `${named(near.at)}: ${show(near.value)}`;
  });
  picture.addEventListener('pointerleave', () => {
    marker.setAttribute('visibility', 'hidden');
    readout.textContent = summary;
  });
  const scale = document.createElement('div');
  scale.className = 'scale';
  scale.setAttribute('aria-hidden', 'true');
  for (const text of [show(top), '0']) scale.append(Object.assign(document.createElement('span'), { textContent: text }));
  const plot = document.createElement('div');
  plot.className = 'plot';
  plot.append(scale, picture);
  const ends = document.createElement('div');
  ends.className = 'ends';
  ends.setAttribute('aria-hidden', 'true');
  for (const at of first === last ? [last] : [first, last]) ends.append(Object.assign(document.createElement('time'), { textContent: named(at) }));
  figure.append(plot, ends);
  return figure;
}
