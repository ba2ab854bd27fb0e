// What is on record of the operators' acts, and how the bridge is configured.

import { get } from './api.js';
import { h } from './dom.js';
import { code, pages, panel, pill, table, time } from './ui.js';

export async function audit() {
  const list = await pages(async (cursor) => {
    const { audit: acts, next_cursor: next } = await get('audit', { cursor });
    return [table('Acts of operators, the latest first', [
      ['At', (act) => time(act.at)],
      ['Operator', (act) => act.operator],
      ['Act', (act) => h('span', {}, act.act, act.refused && ' ', act.refused && pill('refused', 'warn'))],
      ['Object', (act) => code(act.object)],
      ['Reason', (act) => act.reason && h('span', { dir: 'auto' }, act.reason)],
    ], acts, { none: 'Nobody has done anything.' }), next];
  });
  return { about: 'Every act, every look at a text and everything that was refused. Nothing is ever removed.', body: [list] };
}

/** Keys with their values, nested sections as their path; lists of plain values in one line. */
function entries(value, path) {
  if (Array.isArray(value) && value.every((each) => typeof each !== 'object')) return [[path, value.length ? value.join(', ') : '(none)']];
  if (value !== null && typeof value === 'object') {
    return Object.entries(value).flatMap(([name, inner]) => entries(inner, path ? `${path}.${name}` : name));
  }
  return [[path, value === null || value === '' ? '(not set)' : String(value)]];
}

export async function configuration() {
  const { replica, configuration: sections } = await get('configuration');
  const shown = Object.entries(sections).flatMap(([name, section]) => (Array.isArray(section)
    ? section.map((one, index) => [`${name}: ${one.name ?? index + 1}`, one]) : [[name, section]]));
  return {
    about: `As this replica (${replica}) started with it. Of secrets it says only that they are there.`,
    body: [h('div', { class: 'cards' }, ...shown.map(([name, section]) => panel(name, table(`Section ${name}`, [
      ['Key', ([key]) => code(key)],
      ['Value', ([, value]) => (value === '(hidden)' ? pill('hidden') : h('span', { class: 'value' }, value))],
    ], entries(section, '')))))],
  };
}
