// The human agent's desk: one view of two places, the company's own desk and Fini's inbox.

import { finiInbox } from './desk-fini.js';
import { AGENTS, ownDesk } from './desk-own.js';
import { $, atBottom, clock, enterSends, h, initials, keyed, setText, toBottom } from './dom.js';
import { says } from './words.js';

const PACE = 1500; // ms between looks; neither place costs a request to Fini

export function startDesk({ current, onCurrentChange, news }) {
  const me = () => AGENTS.find((agent) => agent.id === $('agent').value) ?? AGENTS[0];
  const places = { own: ownDesk({ me }), fini: finiInbox() };
  let place = places.own;
  let cases = [];
  let selected = null;
  let following = true; // shows the customer whose chat is open, until the agent picks another
  let looks = 0;
  let complaint = ''; // of the last act; it stays until the next one
  const seenAt = new Map([[places.own, new Map()], [places.fini, new Map()]]); // conversation -> number of entries shown to the agent

  const chosen = () => cases.find((one) => one.id === selected);
  const kind = () => (place.hasNotes ? new FormData($('desk-form')).get('kind') : 'agent-message');

  async function refresh() {
    const [asked, look] = [place, ++looks];
    try {
      const found = await asked.list();
      if (place !== asked || look < looks) return; // a later look says more
      cases = found.sort((a, b) => b.at - a.at);
      setText($('desk-problem'), complaint);
    } catch (error) {
      setText($('desk-problem'), error.message);
    }
    if (following && !$('desk-text').value && cases.some((one) => one.id === current())) selected = current();
    if (!chosen()) selected = cases[0]?.id ?? null;
    draw();
  }

  function draw() {
    const [one, seen] = [chosen(), seenAt.get(place)];
    if (one) seen.set(one.id, one.entries.length);
    keyed($('queue'), cases, ({ id }) => id, queueItem, (item, { id, name, label, tone, at, entries }) => {
      const unread = entries.length > (seen.get(id) ?? 0);
      item.setAttribute('aria-pressed', String(id === selected));
      if (unread && item.dataset.news === undefined) news();
      if (unread) item.dataset.news = ''; else delete item.dataset.news;
      setText(item.querySelector('.name'), name);
      setText(item.querySelector('.preview'), entries.findLast((entry) => entry.text)?.text ?? '');
      setText(item.querySelector('time'), clock(at));
      const pill = item.querySelector('.pill');
      setText(pill, label);
      pill.dataset.tone = tone;
    });
    $('desk-empty').hidden = cases.length > 0;
    $('case').hidden = !one;
    if (one) drawCase(one);
    const isOwn = place === places.own;
    for (const each of document.querySelectorAll('#pane-desk [data-own]')) each.hidden = !isOwn;
    $('desk-kinds').hidden = !place.hasNotes;
    setText($('desk-hint'), place.hint);
    if (isOwn && place.desk) $('desk-open').checked = place.desk.open;
  }

  function queueItem({ id, name }) {
    const choose = () => { following = false; selected = id; $('case-log').replaceChildren(); draw(); toBottom($('case-scroll')); };
    return h('button', { type: 'button', class: 'queue-item', onclick: choose },
      h('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(name)),
      h('span', { class: 'queue-text' },
        h('span', { class: 'queue-line' }, h('span', { class: 'name', dir: 'auto' }), h('time', {})),
        h('span', { class: 'preview', dir: 'auto' }),
        h('span', { class: 'pill small' })));
  }

  function drawCase(one) {
    $('case').dataset.chat = one.chat;
    setText($('case-name'), one.name);
    setText($('case-plan'), one.plan ? `${one.plan} plan` : '');
    setText($('case-status'), one.label);
    $('case-status').dataset.tone = one.tone;
    setText($('case-info'), one.info);
    $('case-info').hidden = !one.info;
    keyed($('case-actions'), place.actions(one), ({ id }) => id,
      ({ id }) => h('button', { type: 'button', class: 'button', id, onclick: () => act(id) }),
      (button, { label, isOff, isPrimary }) => {
        setText(button, label);
        button.disabled = isOff;
        button.classList.toggle('primary', Boolean(isPrimary));
      });
    $('desk-text').placeholder = place.placeholder(one, kind());
    const scroll = $('case-scroll');
    const stick = atBottom(scroll);
    keyed($('case-log'), one.entries, ({ key }) => key, entry, (element, { text, format }) => element.querySelector('.text') && says(element.querySelector('.text'), text, format));
    if (stick) toBottom(scroll);
  }

  function entry({ notice, isNote, isWithheld, side, who, at }) {
    if (notice) return h('li', { class: 'notice', dir: 'auto' }, notice);
    const looks = isNote ? 'internal' : `${side}${side === 'user' ? '' : ' mine'}${isWithheld ? ' withheld' : ''}`;
    return h('li', { class: `message ${looks}` }, h('div', { class: 'meta' }, h('span', {}, who), h('time', {}, clock(at))), h('div', { class: 'text', dir: 'auto' }));
  }

  /** Does it and shows what came of it; whether it was done. */
  async function attempt(work) {
    complaint = '';
    try {
      await work();
    } catch (error) {
      const holder = error.problem?.agent?.name;
      complaint = holder ? `${holder} has it already` : error.message;
    }
    await refresh();
    if (!complaint) toBottom($('case-scroll'));
    return !complaint;
  }

  function act(id) {
    const one = chosen();
    const action = one && place.actions(one).find((each) => each.id === id);
    return action && attempt(() => action.run());
  }

  onCurrentChange(() => { following = true; void refresh(); });
  for (const { id, name } of AGENTS) $('agent').append(h('option', { value: id }, name));
  $('agent').addEventListener('change', draw);
  $('desk-open').addEventListener('change', (event) => attempt(() => places.own.open(event.target.checked)));
  for (const radio of document.querySelectorAll('input[name="desk"]')) {
    radio.addEventListener('change', () => {
      place = places[radio.value];
      cases = [];
      for (const id of ['queue', 'case-log', 'case-actions']) $(id).replaceChildren();
      void refresh();
    });
  }
  enterSends($('desk-text'));
  $('desk-text').addEventListener('input', () => { if (chosen()) place.typing(chosen()); });
  for (const radio of document.querySelectorAll('input[name="kind"]')) {
    radio.addEventListener('change', () => {
      $('desk-form').dataset.kind = radio.value;
      setText($('desk-form').querySelector('button'), radio.value === 'note' ? 'Save note' : 'Send');
      draw();
    });
  }
  $('desk-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const [field, one] = [$('desk-text'), chosen()];
    const text = field.value;
    if (!text.trim() || !one) return;
    field.value = '';
    if (!(await attempt(() => place.send(one, text, kind()))) && !field.value) field.value = text; // nothing an agent wrote is lost
  });

  const loop = async () => {
    if (document.visibilityState === 'visible') await refresh();
    setTimeout(loop, PACE);
  };
  void loop();

  return {
    /** A callback tells the desk that something has changed. */
    noticed(event) {
      if (!event?.conversation_id || !event.data) return;
      places.own.noticed(event);
      if (place === places.own) void refresh();
    },
  };
}
