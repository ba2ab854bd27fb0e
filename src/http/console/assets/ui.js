// What the views share: times, tables, pills, and the dialog in which every act gets its reason.

import { Refused } from './api.js';
import { $, h } from './dom.js';

/** How long something has taken or waited, in the two largest units. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return '–';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const units = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  let rest = Math.round(seconds);
  const parts = [];
  for (const [name, size] of units.slice(first, first + 2)) {
    if (Math.floor(rest / size)) parts.push(`${Math.floor(rest / size)} ${name}`);
    rest %= size;
  }
  return parts.join(' ');
}

export const secondsSince = (at) => Math.max(0, (Date.now() - Date.parse(at)) / 1000);

const day = new Intl.DateTimeFormat('en-CA', { year: 'numeric', month: '2-digit', day: '2-digit' });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** A point in time as the operator's own clock shows it, with its day where that is not `before`'s; in full for whoever points at it. */
export function time(at, { precise = false, before = new Date() } = {}) {
  if (!at) return h('span', {}, '–');
  const when = new Date(at);
  const millis = precise ? `.${String(when.getMilliseconds()).padStart(3, '0')}` : '';
  const isSameDay = before && day.format(when) === day.format(new Date(before));
  return h('time', { dateTime: at, title: at }, `${isSameDay ? '' : `${day.format(when)} `}${clock.format(when)}${millis}`);
}

export const pill = (text, tone) => h('span', tone ? { class: 'pill', 'data-tone': tone } : { class: 'pill' }, String(text));

export const code = (text) => h('code', { class: 'id', dir: 'ltr' }, text ?? '–');

export const empty = (text) => h('p', { class: 'empty' }, text);

export const conversationLink = (frontend, id) => h('a', { href: `#/conversation/${encodeURIComponent(frontend)}/${encodeURIComponent(id)}`, dir: 'auto' }, id);

export function button(text, act, { primary = false, danger = false, label } = {}) {
  const element = h('button', { type: 'button', class: `button${primary ? ' primary' : ''}${danger ? ' danger' : ''}`, onclick: act }, text);
  if (label) element.setAttribute('aria-label', label);
  return element;
}

/**
 * A table: columns are [title, cell function, options]; on a narrow screen each row becomes a card whose cells name their
 * columns. The roles keep it a table for whoever does not see it.
 */
export function table(caption, columns, rows, { none = 'Nothing here.' } = {}) {
  if (!rows.length) return empty(none);
  const head = columns.map(([title, , options]) => h('th', { scope: 'col', role: 'columnheader', class: options?.number ? 'number' : '' }, title));
  const body = rows.map((row) => h('tr', { role: 'row' }, ...columns.map(([title, cell, options]) => {
    const shown = cell(row);
    const bare = shown === null || shown === undefined || shown === '';
    return h('td', { role: 'cell', 'data-label': title, class: [options?.number && 'number', bare && 'bare'].filter(Boolean).join(' ') }, bare ? '–' : shown);
  })));
  return h('div', { class: 'table', role: 'region', 'aria-label': caption, tabIndex: 0 },
    h('table', { role: 'table' }, h('caption', { class: 'sr' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...head)), h('tbody', { role: 'rowgroup' }, ...body)));
}

/** Facts about one thing; those that are not known are left out. */
export function facts(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'facts' }, ...known.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

export function panel(title, ...children) {
  return h('section', { class: 'panel' }, h('h3', {}, title), ...children);
}

let fading;
/** Says that something was done, to whoever looks and to whoever listens. */
export function say(text) {
  $('said').textContent = text;
  $('toast').textContent = text;
  $('toast').hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { $('toast').hidden = true; }, 6000);
}

/** A field of the dialog: a label and its control. */
export function field(label, control, hint) {
  control.id ||= `field-${label.toLowerCase().replace(/\W+/g, '-')}`;
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control, hint && h('p', { class: 'hint' }, hint));
}

/**
 * Asks for a reason, and does it. `act(reason)` sends the request; what it refuses is shown, and the dialog stays for another
 * try. Gives what the act gave, or null where it was cancelled.
 */
export function withReason({ title, about = '', label, danger = false, fields = [], act }) {
  const dialog = $('ask');
  $('ask-title').textContent = title;
  $('ask-about').textContent = about;
  $('ask-about').hidden = !about;
  $('ask-fields').replaceChildren(...fields);
  $('ask-answer').replaceChildren();
  $('ask-fault').hidden = true;
  $('reason').value = '';
  const confirm = $('ask-do');
  confirm.textContent = label;
  confirm.classList.toggle('danger', danger);
  const before = document.activeElement;
  return new Promise((resolve) => {
    let done = null;
    const submit = async (event) => {
      event.preventDefault();
      confirm.disabled = true;
      $('ask-fault').hidden = true;
      try {
        const answer = await act($('reason').value.trim());
        if (answer === undefined) return; // it goes on
        done = answer;
        dialog.close();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        $('ask-fault').textContent = error.message;
        $('ask-fault').hidden = false;
      } finally {
        confirm.disabled = false;
      }
    };
    const cancel = () => dialog.close();
    const closed = () => {
      $('ask-form').removeEventListener('submit', submit);
      $('ask-cancel').removeEventListener('click', cancel);
      dialog.removeEventListener('close', closed);
      if (before?.isConnected) before.focus();
      resolve(done);
    };
    $('ask-form').addEventListener('submit', submit);
    $('ask-cancel').addEventListener('click', cancel);
    dialog.addEventListener('close', closed);
    dialog.showModal();
    (fields.length ? $('ask-fields').querySelector('input, select') ?? $('reason') : $('reason')).focus();
  });
}

/** A list that is read part by part: `read(cursor)` gives [elements of the next part, cursor of the one after it]. */
export async function pages(read) {
  const list = h('div', { class: 'pages' });
  const more = button('Older ones', () => void next());
  let cursor;
  const next = async () => {
    more.disabled = true;
    try {
      const [shown, after] = await read(cursor);
      cursor = after;
      more.remove();
      list.append(shown);
      if (after) list.append(more);
    } finally {
      more.disabled = false;
    }
  };
  await next();
  return list;
}
