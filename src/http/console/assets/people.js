// Customers: who waits for a human and for how long, and conversations found by any id.

import { get } from './api.js';
import { h } from './dom.js';
import { code, conversationLink, empty, facts, panel, pages, pill, secondsSince, span, table, time } from './ui.js';

const REASONS = { status: 'Fini’s status', silent_escalation: 'Fini, silently', human_message: 'a human wrote', action: 'Fini’s action', requested: 'asked for' };
const SPEAKERS = { waiting: ['waiting', 'warn'], human: ['with a human', 'human'], bot: ['bot', 'good'] };

export const speaker = (name) => pill(...(SPEAKERS[name] ?? [name ?? '–']));
export const state = (name) => pill(name, { open: 'good', escalated: 'human', quarantined: 'warn', lost: 'warn' }[name]);

export async function waiting() {
  const { handoffs, unmatched } = await get('handoffs');
  const waits = handoffs.filter((each) => each.handoff.speaker === 'waiting');
  const busy = handoffs.filter((each) => each.handoff.speaker !== 'waiting');
  const since = (each) => each.handoff.requested_at;
  waits.sort((one, other) => String(since(one)).localeCompare(String(since(other))));
  const columns = [
    ['Conversation', (each) => conversationLink(each.frontend, each.conversation_id)],
    ['Frontend', (each) => each.frontend],
  ];
  const longest = waits.length ? `; the first since ${span(secondsSince(since(waits[0])))}` : '';
  const body = [
    panel('Nobody has come yet', table('Customers who wait for a human', [
      ...columns,
      ['Waiting for', (each) => h('strong', { class: 'figure' }, since(each) ? span(secondsSince(since(each))) : '–'), { number: true }],
      ['Since', (each) => time(since(each))],
      ['Why', (each) => REASONS[each.handoff.reason] ?? each.handoff.reason],
      ['Place', (each) => each.handoff.position, { number: true }],
    ], waits, { none: 'Nobody waits.' })),
    panel('With a human', table('Customers whom a human serves', [
      ...columns,
      ['Agent', (each) => each.handoff.agent?.name ?? 'in Fini'],
      ['Since', (each) => time(each.handoff.claimed_at)],
      ['Waited before', (each) => (each.handoff.claimed_at && since(each) ? span((Date.parse(each.handoff.claimed_at) - Date.parse(since(each))) / 1000) : null), { number: true }],
    ], busy, { none: 'No human has a conversation.' })),
  ];
  if (unmatched.length) {
    body.push(panel('Asked for by Fini, in a conversation that nobody here knows', table('Unmatched requests of Fini', [
      ['Received', (each) => time(each.received_at)],
      ['Fini conversation', (each) => code(each.interaction_id)],
      ['Bridge’s key', (each) => code(each.bridge_conversation)],
    ], unmatched)));
  }
  return { about: `${waits.length} ${waits.length === 1 ? 'customer waits' : 'customers wait'}${longest}.`, body };
}

const MATCHED = {
  conversation_id: 'conversation id', user_id: 'user id', message_id: 'message id', request_id: 'request id', event_id: 'event id',
  delivery_id: 'delivery id', fini_event_id: 'Fini’s event id', interaction_id: 'Fini’s conversation id',
};

export async function search({ parts: [id] }) {
  if (!id) return { body: [empty('Write the id of a conversation, user, message or request into the field above.')] };
  let count = 0;
  const list = await pages(async (cursor) => {
    const { conversations, next_cursor: next } = await get('conversations', { q: id, cursor });
    count += conversations.length;
    return [table(`Conversations found by ${id}`, [
      ['Conversation', (each) => conversationLink(each.frontend, each.conversation_id)],
      ['Frontend', (each) => each.frontend],
      ['Found by', (each) => MATCHED[each.matched] ?? each.matched],
      ['State', (each) => state(each.state)],
      ['User', (each) => each.user?.id],
      ['Last change', (each) => time(each.updated_at)],
    ], conversations, { none: 'Nothing has this id. It must be whole: parts of an id find nothing.' }), next];
  });
  return { about: count ? `Found by ${id}` : '', body: [list] };
}

/** A conversation's own facts, as they stand in lists of two sides. */
export function outline(one) {
  return facts([
    ['Conversation', conversationLink(one.frontend, one.conversation_id)],
    ['Frontend', one.frontend],
    ['User', one.user && `${one.user.id}${one.user.vouched ? '' : ' (not vouched for)'}`],
    ['State', state(one.state)],
    ['Fini conversation', one.interaction_id && code(one.interaction_id)],
    ['Messages that wait', String(one.queued_turns)],
    ['Began', time(one.created_at)],
    ['Last change', time(one.updated_at)],
  ]);
}
