// The report: what a support lead asks for, as a table and as a file.

import { get, getBlob } from './api.js';
import { chart } from './charts.js';
import { h } from './dom.js';
import { button, field, panel, say, span, table } from './ui.js';

const iso = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`;
const daysFrom = (days) => { const date = new Date(); date.setDate(date.getDate() + days); return iso(date); };

// What was asked for stays for the next look.
let asked = null;

export async function report({ refresh }) {
  asked ??= { from: daysFrom(-6), to: daysFrom(1), by: 'day', tz: Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC', frontend: '' };
  const [answer, { frontends }] = await Promise.all([get('report', asked), get('frontends')]);
  const input = (name, type) => h('input', { type, id: `report-${name}`, value: asked[name], required: true });
  const options = (name, values) => h('select', { id: `report-${name}` }, ...values.map(([value, text]) => h('option', { value, selected: asked[name] === value }, text)));
  const controls = {
    from: input('from', 'date'),
    to: input('to', 'date'),
    by: options('by', [['day', 'day'], ['hour', 'hour']]),
    frontend: options('frontend', [['', 'all'], ...frontends.map((each) => [each.frontend, each.frontend])]),
    tz: input('tz', 'text'),
  };
  const form = h('form', {
    class: 'asked',
    onsubmit: (event) => {
      event.preventDefault();
      const before = asked;
      asked = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value.trim()]));
      void refresh().then(() => { if (!document.getElementById('fault').hidden) asked = before; });
    },
  }, field('From', controls.from), field('To (not itself)', controls.to), field('One row per', controls.by), field('Frontend', controls.frontend), field('Time zone', controls.tz), h('button', { type: 'submit', class: 'button primary' }, 'Show'));
  const download = button('Download CSV', async () => {
    const address = URL.createObjectURL(await getBlob('report', { ...asked, format: 'csv' }));
    h('a', { href: address, download: 'fini-bridge-report.csv' }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    say('The table is downloaded.');
  });
  const count = (name) => (row) => (row[name] === null ? null : row[name].toLocaleString('en'));
  const took = (name) => (row) => (row[name] === null ? null : span(row[name]));
  const number = { number: true };
  const columns = [
    ['Begins', (row) => (row === answer.total ? h('strong', {}, 'All') : h('time', { dateTime: row.from }, row.from.slice(0, asked.by === 'day' ? 10 : 16).replace('T', ' ')))],
    ['Messages', count('messages'), number],
    ['Answered', count('answered'), number],
    ['Escalated', count('escalated'), number],
    ['Resolved', count('resolved'), number],
    ['Failed', count('failed'), number],
    ['Dead letters', count('dead_letters'), number],
    ['First answer, median', took('first_answer_median_seconds'), number],
    ['First answer, p95', took('first_answer_p95_seconds'), number],
    ['Human, median', took('human_median_seconds'), number],
    ['Human, p95', took('human_p95_seconds'), number],
    ['Budget used', count('budget_used'), number],
  ];
  const points = answer.rows.map((row) => ({ at: row.from, value: row.messages }));
  return {
    about: 'Counted as it happened and kept for good. Times are upper bounds, at most 15 % too high.',
    acts: [download],
    body: [form, panel('Messages', chart('Customers’ messages', points, (value) => Math.round(value).toLocaleString('en'), { latest: 'last' })), table('The report', columns, [...answer.rows, answer.total])],
  };
}
