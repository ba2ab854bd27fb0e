// One conversation from end to end, on a time line: what was written, each request to Fini, what the feed told, and each
// attempt at each destination.

import { get, may, me, path, post, remove } from './api.js';
import { h } from './dom.js';
import { speaker, state } from './people.js';
import { settle } from './repairs.js';
import { button, code, empty, facts, panel, pill, say, span, time, withReason } from './ui.js';

// Texts stay shown while the operator is at this conversation.
let shownTexts = null;

export async function conversation({ parts: [frontend, id], refresh }) {
  if (!frontend || !id) return { body: [empty('No conversation is named.')] };
  const where = path('conversations', frontend, id);
  const object = `${frontend}/${id}`;
  const texts = shownTexts?.object === object ? shownTexts : null;
  const found = await get(where, texts ? { content: 'true', reason: texts.reason } : {});
  return {
    title: id,
    about: `${frontend}${texts ? '' : '; texts are not shown'}`,
    acts: acts({ found, object, texts, where, refresh }),
    body: [summary(found), panel('Time line', filters(), timeline(found))],
  };
}

function acts({ found, object, texts, where, refresh }) {
  const list = [];
  if (me.texts && !texts) {
    list.push(button('Show texts', async () => {
      const reason = await withReason({
        title: 'Show what was written', about: 'The look stands in the audit, with your name.', label: 'Show texts',
        act: async (why) => { await get(where, { content: 'true', reason: why }); return why; },
      });
      if (reason) { shownTexts = { object, reason }; await refresh(); }
    }));
  } else if (texts) {
    list.push(button('Hide texts', () => { shownTexts = null; void refresh(); }));
  }
  if (found.state === 'quarantined' && may('operate')) list.push(button('Settle …', async () => { if (await settle(found)) await refresh(); }, { primary: true }));
  if (found.dead_deliveries && may('operate')) {
    list.push(button('Retry dead letters', async () => {
      const done = await withReason({
        title: 'Retry the dead letters of this conversation', label: 'Retry',
        act: (reason) => post('deliveries/retry', { frontend: found.frontend, conversation_id: found.conversation_id, reason }),
      });
      if (done) { say(`${done.retried} retried.`); await refresh(); }
    }));
  }
  if (may('erase')) {
    list.push(button('Erase …', async () => {
      const upstream = h('input', { type: 'checkbox', id: 'upstream', checked: true });
      const done = await withReason({
        title: 'Erase this conversation', about: 'Texts, ids and callbacks go for good. What is counted in the report stays.', label: 'Erase', danger: true,
        fields: [h('label', { class: 'check' }, upstream, 'Ask Fini to delete it, too')],
        act: (reason) => remove(where, { upstream: String(upstream.checked), reason }),
      });
      if (done) { say('Erased.'); location.hash = '#/waiting'; }
    }, { danger: true }));
  }
  return list;
}

function summary(found) {
  const { handoff } = found;
  return facts([
    ['State', state(found.state)],
    ['Speaker', speaker(handoff.speaker)],
    ['Human asked for', handoff.requested_at && time(handoff.requested_at)],
    ['Agent', handoff.agent?.name],
    ['User', found.user_id],
    ['Fini’s status', found.status_text],
    ['Note', found.note],
    ['Fini conversation', found.interaction_id ? code(found.interaction_id) : 'not known yet'],
    ['Messages that wait', String(found.queued_turns)],
    ['Callbacks owed', String(found.pending_deliveries)],
    ['Dead letters', found.dead_deliveries ? pill(found.dead_deliveries, 'warn') : '0'],
    ['Events', String(found.last_sequence)],
    ['Began', time(found.created_at)],
    ['Next reading', found.next_read_at && time(found.next_read_at)],
  ]);
}

const KINDS = { message: 'Messages', request: 'Requests to Fini', feed: 'Feed', callback: 'Callbacks' };

/** Which kinds are shown: a class on the list hides the others, so that nothing is fetched again. */
function filters() {
  return h('fieldset', { class: 'filters' }, h('legend', { class: 'sr' }, 'Shown kinds'), ...Object.entries(KINDS).map(([kind, name]) => {
    const box = h('input', { type: 'checkbox', checked: true, onchange: () => document.querySelector('.timeline')?.classList.toggle(`without-${kind}`, !box.checked) });
    return h('label', { class: 'check' }, box, h('span', { class: 'dot', 'data-kind': kind }), name);
  }));
}

function timeline(found) {
  const entries = [...messages(found), ...requests(found), ...feed(found), ...callbacks(found)];
  const order = Object.keys(KINDS);
  entries.sort((one, other) => Date.parse(one.at) - Date.parse(other.at) || order.indexOf(one.kind) - order.indexOf(other.kind) || one.rank - other.rank);
  if (!entries.length) return empty('Nothing has happened.');
  let before = null;
  const rows = entries.map((entry) => {
    const gap = before && (Date.parse(entry.at) - Date.parse(before)) / 1000;
    const when = time(entry.at, { precise: true, before });
    before = entry.at;
    return h('li', { class: 'moment', 'data-kind': entry.kind, ...(entry.tone ? { 'data-tone': entry.tone } : {}) },
      h('div', { class: 'when' }, when, gap >= 1 && h('span', { class: 'gap' }, `+ ${span(gap)}`)),
      h('div', { class: 'what' },
        h('div', { class: 'headline' }, h('span', { class: 'kind' }, KINDS[entry.kind]), h('strong', {}, entry.title), ...(entry.pills ?? [])),
        entry.text && h('p', { class: 'words', dir: 'auto' }, entry.text),
        entry.detail && h('p', { class: 'detail' }, ...[entry.detail].flat())));
  });
  const list = h('ol', { class: 'timeline' }, ...rows);
  const isCut = found.has_more_events || found.has_more_deliveries;
  return isCut ? h('div', {}, list, h('p', { class: 'hint' }, 'Not everything is shown: there are more events or callbacks than fit here.')) : list;
}

const AUTHORS = { user: 'Customer', bot: 'Bot', agent: 'Human agent', otherbot: 'Other bot' };

const messages = ({ turns = [] }) => turns.map((turn, rank) => ({
  kind: 'message', at: turn.accepted_at, rank, title: `${AUTHORS[turn.role] ?? turn.role} wrote`, text: turn.text,
  pills: [pill(turn.state, { answered: 'good', completed: 'good', stored: 'good', failed: 'warn', unclear: 'warn' }[turn.state])],
  tone: turn.state === 'failed' ? 'bad' : undefined,
  detail: ['message ', code(turn.message_id), turn.request_id && ' · request ', turn.request_id && code(turn.request_id), turn.detail && ` · ${turn.detail}`].filter(Boolean),
}));

const requests = ({ turns = [] }) => turns.flatMap((turn) => (turn.tries ?? []).map((one) => ({
  kind: 'request', at: one.began_at ?? one.ended_at ?? turn.sent_at, rank: one.number, title: `Request ${one.number}`, tone: one.error ? 'bad' : undefined,
  pills: [one.duration_ms !== null && one.duration_ms !== undefined && pill(span(one.duration_ms / 1000)), pill(one.outcome ?? 'under way', one.error ? 'warn' : one.outcome && 'good')].filter(Boolean),
  detail: [one.status && `HTTP ${one.status} · `, one.error && `${one.error} · `, 'message ', code(turn.message_id)].filter(Boolean),
})));

const feed = ({ events = [] }) => events.map((event) => {
  const data = event.data ?? {};
  const author = data.message?.author ?? event.author;
  return {
    kind: 'feed', at: event.timestamp, rank: event.sequence, title: event.type, text: data.message?.text ?? data.text,
    tone: event.type === 'turn.failed' ? 'bad' : undefined,
    pills: [author && pill(AUTHORS[author] ?? author, author === 'agent' ? 'human' : undefined), data.withheld && pill('withheld', 'warn')].filter(Boolean),
    detail: [`number ${event.sequence} · `, code(event.id), data.outcome && ` · ${data.outcome}`, data.code && ` · ${data.code}`, data.reason && ` · ${data.reason}`].filter(Boolean),
  };
});

const callbacks = ({ deliveries = [] }) => deliveries.flatMap((delivery) => {
  const name = delivery.destination ?? 'main';
  const of = (more) => ({ kind: 'callback', title: `${name}: ${delivery.type}`, rank: delivery.sequence, ...more });
  const attempts = (delivery.tries ?? []).map((one) => of({
    at: one.ended_at ?? one.began_at ?? delivery.created_at, tone: one.outcome === 'delivered' ? undefined : 'bad',
    pills: [pill(one.status ? `HTTP ${one.status}` : one.outcome ?? 'no answer', one.outcome === 'delivered' ? 'good' : 'warn')],
    detail: [`attempt ${one.number} · `, code(delivery.id), one.error && ` · ${one.error}`].filter(Boolean),
  }));
  // Where the attempts themselves are not on record, the last one is.
  if (!attempts.length && delivery.attempts) {
    attempts.push(of({
      at: delivery.delivered_at ?? delivery.created_at, tone: delivery.state === 'delivered' ? undefined : 'bad',
      pills: [pill(delivery.last_status ? `HTTP ${delivery.last_status}` : delivery.state, delivery.state === 'delivered' ? 'good' : 'warn')],
      detail: [`${delivery.attempts} ${delivery.attempts === 1 ? 'attempt' : 'attempts'} · `, code(delivery.id), delivery.last_error && ` · ${delivery.last_error}`].filter(Boolean),
    }));
  }
  if (delivery.state === 'pending') {
    attempts.push(of({ at: delivery.next_attempt_at ?? delivery.created_at, pills: [pill('due')], detail: [code(delivery.id)] }));
  }
  return attempts;
});
