// What stands still and how it goes on: dead letters, quarantines, blocked lanes and paused destinations.

import { get, may, path, post } from './api.js';
import { h } from './dom.js';
import { outline } from './people.js';
import { button, code, conversationLink, empty, facts, field, pages, panel, pill, say, secondsSince, span, table, time, withReason } from './ui.js';

async function frontendNames() {
  return (await get('frontends')).frontends.map((each) => each.frontend);
}

export async function deadLetters({ refresh }) {
  const names = await frontendNames();
  const retry = async (delivery) => {
    const done = await withReason({
      title: 'Retry this callback', about: `${delivery.type} of ${delivery.conversation_id}, number ${delivery.sequence}; the same bytes under the same id.`, label: 'Retry',
      act: (reason) => post(`${path('deliveries', delivery.id)}/retry`, { reason }),
    });
    if (done) { say('It is tried again.'); await refresh(); }
  };
  let count = 0;
  const list = await pages(async (cursor) => {
    const { deliveries, next_cursor: next } = await get('deliveries', { state: 'dead', cursor });
    count += deliveries.length;
    return [table('Dead letters, the latest first', [
      ['Conversation', (each) => conversationLink(each.frontend, each.conversation_id)],
      ['To', (each) => `${each.frontend} / ${each.destination ?? 'main'}`],
      ['Event', (each) => h('span', {}, code(each.type), ` ${each.sequence}`)],
      ['Attempts', (each) => String(each.attempts), { number: true }],
      ['Last answer', (each) => [each.last_status && `HTTP ${each.last_status}`, each.last_error].filter(Boolean).join(': ')],
      ['Recorded', (each) => time(each.created_at)],
      ...(may('operate') ? [['Act', (each) => button('Retry', () => void retry(each), { label: `Retry ${each.type} ${each.sequence} of ${each.conversation_id}` })]] : []),
    ], deliveries, { none: 'No callback was given up.' }), next];
  });
  const acts = may('operate') && count ? [button('Retry many …', async () => {
    const frontend = h('select', { id: 'retry-frontend' }, h('option', { value: '' }, 'all frontends'), ...names.map((name) => h('option', { value: name }, name)));
    const done = await withReason({
      title: 'Retry dead letters', about: 'All of them, oldest first; each conversation keeps its order.', label: 'Retry them',
      fields: [field('Of', frontend)],
      act: (reason) => post('deliveries/retry', { ...(frontend.value ? { frontend: frontend.value } : {}), reason }),
    });
    if (done) { say(`${done.retried} retried.`); await refresh(); }
  }, { primary: true })] : [];
  return { about: 'Callbacks that were given up. They are kept until their retention ends.', acts, body: [list] };
}

export async function quarantines({ refresh }) {
  const side = (title, ...children) => h('div', { class: 'side' }, h('h4', {}, title), ...children);
  let count = 0;
  const list = await pages(async (cursor) => {
    const { quarantines: found, next_cursor: next } = await get('quarantines', { cursor });
    count += found.length;
    if (!found.length) return [empty('No conversation is in quarantine.'), next];
    return [h('div', { class: 'cards' }, ...found.map((each) => h('section', { class: 'panel' },
      h('h3', {}, conversationLink(each.frontend, each.conversation_id)),
      h('p', { class: 'detail' }, `for ${span(secondsSince(each.since))}`, each.note && ` · ${each.note}`),
      h('div', { class: 'sides' },
        side('Ours: waits for you', outline(each.ours)),
        side('In Fini', facts([['Fini conversation', code(each.interaction_id)]]),
          each.theirs ? h('p', { class: 'detail' }, 'It belongs to this conversation of ours:') : h('p', { class: 'detail' }, 'It is no other conversation’s that the bridge knows.'),
          each.theirs && outline(each.theirs))),
      may('operate') && button('Settle …', async () => { if (await settle(each)) await refresh(); }, { primary: true, label: `Settle ${each.conversation_id}` })))), next];
  });
  return { about: 'A customer’s messages turned up where another’s may be. Nothing is told until somebody says whose they are.', body: [list] };
}

/** Both ways to settle a quarantine, with a look at whose history it would bring before it is done. */
export async function settle({ frontend, conversation_id: id, interaction_id: interaction }) {
  const where = `${path('conversations', frontend, id)}/bind`;
  const known = h('input', { id: 'settle-id', autocomplete: 'off', spellcheck: false, value: interaction ?? '', 'aria-describedby': 'settle-hint' });
  const way = (value, text, checked) => h('label', { class: 'check' }, h('input', { type: 'radio', name: 'way', value, checked }), text);
  const isNew = () => document.querySelector('input[name="way"]:checked')?.value === 'new';
  const wish = () => (isNew() ? { new: true } : { interaction_id: known.value.trim() });
  let seen = null;
  const done = await withReason({
    title: `Settle ${id}`, label: 'Settle',
    about: 'The first press shows what it would bring. Only the second one, of the same choice, does it.',
    fields: [
      h('fieldset', { class: 'ways' }, h('legend', {}, 'Go on'),
        way('new', 'in a new Fini conversation, without any history', true), way('id', 'in this Fini conversation:', false)),
      h('div', { class: 'field' }, h('label', { class: 'sr', for: 'settle-id' }, 'Id of the Fini conversation'), known),
    ],
    act: async (reason) => {
      const chosen = wish();
      if (seen === JSON.stringify(chosen)) return post(where, { ...chosen, reason });
      const dry = await post(where, { ...chosen, dry_run: true, reason });
      document.getElementById('ask-answer').replaceChildren(preview(dry));
      document.getElementById('ask-do').textContent = 'Settle it so';
      seen = JSON.stringify(chosen);
      return undefined;
    },
  });
  if (done) say(`${id} is ${done.state}.`);
  return done;
}

function preview({ history, waiting_messages: waiting }) {
  const waits = `${waiting ?? 0} ${waiting === 1 ? 'message waits' : 'messages wait'} to be sent.`;
  if (!history) return h('div', { class: 'panel preview' }, h('p', {}, `It begins anew: no history comes along. ${waits}`));
  const { messages = {} } = history;
  return h('div', { class: 'panel preview' }, h('p', {}, `It would bring this history along. ${waits}`), facts([
    ['Began', time(history.created_at)],
    ['Names', history.names ? `${history.names.frontend}/${history.names.conversation_id}` : 'no conversation of ours'],
    ['User', history.user_id],
    ['Messages', `${messages.user ?? 0} of a customer, ${messages.bot ?? 0} of the bot, ${messages.agent ?? 0} of humans`],
    ['From before ours', String(history.messages_before_ours ?? 0)],
    ['First', history.first_message_at && time(history.first_message_at)],
    ['Last', history.last_message_at && time(history.last_message_at)],
  ]));
}

const BLOCKS = {
  pause: 'the destination is paused', dead_letter: 'a dead letter holds it', breaker: 'the other side does not work', deferred: 'the receiver asked for time',
  retry: 'it is tried again later', quarantine: 'quarantine', turn: 'an earlier message is under way', binding: 'its Fini conversation is looked for', budget: 'the budget is used up',
};

const BREAKERS = { closed: ['works', 'good'], open: ['left alone: it fails', 'warn'], 'half-open': ['tried anew', 'warn'] };

export async function lanes({ refresh }) {
  const [fares, blocked] = await Promise.all([get('frontends'), pages(async (cursor) => {
    const { lanes: found, next_cursor: next } = await get('lanes', { cursor });
    return [table('Lanes that stand still', [
      ['Conversation', (each) => conversationLink(each.frontend, each.conversation_id)],
      ['Lane', (each) => (each.kind === 'messages' ? 'messages to Fini' : `callbacks to ${each.frontend} / ${each.destination}`)],
      ['Held because', (each) => BLOCKS[each.blocked_by] ?? each.blocked_by],
      ['For', (each) => span(secondsSince(each.since)), { number: true }],
      ['Until', (each) => each.until && time(each.until)],
      ['Waiting', (each) => String(each.waiting), { number: true }],
      ['First of it', (each) => (each.head ? `${each.head.type} ${each.head.sequence}${each.head.last_error ? `: ${each.head.last_error}` : ''}` : each.open_turn && `${each.open_turn.message_id} (${each.open_turn.state})`)],
    ], found, { none: 'Every lane moves.' }), next];
  })]);
  const destinations = fares.frontends.flatMap((each) => (each.destinations?.length ? each.destinations : [{ ...each, destination: 'main' }]).map((one) => ({ ...one, frontend: each.frontend })));
  return {
    about: 'A lane is one conversation’s messages to Fini, or its callbacks to one destination; only its head is sent.',
    body: [panel('Lanes that stand still', blocked), panel('Destinations', table('Destinations', [
      ['Destination', (each) => `${each.frontend} / ${each.destination}`],
      ['Receiver', (each) => each.callback_host],
      ['Standing', (each) => (each.paused ? pill(`paused: ${each.paused.reason}`, 'warn') : pill(...(BREAKERS[each.breaker] ?? [each.breaker ?? 'no callback'])))],
      ['Asked to wait until', (each) => each.deferred_until && time(each.deferred_until)],
      ...(may('operate') ? [['Act', (each) => h('div', { class: 'row-acts' }, ...destinationActs(each, refresh))]] : []),
    ], destinations))],
  };
}

function destinationActs({ frontend, destination, paused, callback_host: host }, refresh) {
  const act = (name, title, done) => async () => {
    const answer = await withReason({ title, label: name, act: (reason) => post(`${path('frontends', frontend)}/${name.toLowerCase()}`, { reason }, { destination: host ? destination : undefined }) });
    if (answer) { say(done(answer)); await refresh(); }
  };
  const label = (name) => ({ label: `${name} ${frontend} / ${destination}` });
  const of = `callbacks to ${frontend} / ${destination}`;
  return [
    paused ? button('Resume', act('Resume', `Resume ${of}`, () => 'Resumed.'), label('Resume')) : button('Pause', act('Pause', `Pause ${of}`, () => 'Paused.'), label('Pause')),
    host && button('Ping', act('Ping', `Send a signed test to ${frontend} / ${destination}`, (answer) => (answer.delivered ? `Answered ${answer.status} after ${answer.duration_ms} ms.` : `Not taken: ${answer.error ?? answer.status}.`)), label('Ping')),
  ].filter(Boolean);
}
