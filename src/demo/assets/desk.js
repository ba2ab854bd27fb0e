// The human agent's desk: reads and writes the simulated Fini workspace, as a person in Fini's inbox would.

import { $, atBottom, call, clock, enterSends, h, initials, keyed, setText, toBottom } from './dom.js';

const ESCALATED = 'Escalated to Human Agent';
const OPEN = 'Open';
const PACE = 1500; // ms between looks; the sandbox's own control routes cost no Fini requests
const WHO = { user: 'Customer', agent: 'Agent', finibot: 'Bot', otherbot: 'Other bot' };
const INTERNAL = { debounce: 'Customer was still typing: the bot waited', no_reply: 'The bot chose not to reply', silent_escalation: 'The bot escalated silently' };

export function startDesk({ current, onCurrentChange, news }) {
  let conversations = [];
  let selected = null;
  let following = true; // shows the customer whose chat is open, until the agent picks another
  const seen = new Map(); // conversation id -> number of events shown to the agent

  const nameOf = (wrapper) => String(wrapper.userAttributes?.name ?? wrapper.subjectPreview ?? 'Customer');
  const escalated = (wrapper) => (wrapper.status ?? '').toLowerCase() === ESCALATED.toLowerCase();

  function statusOf(wrapper) {
    if (wrapper.resolved) return ['Resolved', ''];
    if (escalated(wrapper)) return ['Needs a human', 'human'];
    if (wrapper.events?.some((event) => event.type === 'silent_escalation')) return ['Asked for a human', 'human'];
    return [wrapper.status || 'With the bot', 'good'];
  }

  async function refresh() {
    try {
      const answer = await call('/demo/desk/conversations');
      conversations = Array.isArray(answer) ? answer : answer.conversations ?? answer.interactions ?? [];
      setText($('desk-problem'), '');
    } catch (error) {
      setText($('desk-problem'), error.message);
    }
    const latest = (wrapper) => wrapper.events?.at(-1)?.createdAt ?? wrapper.createdAt ?? 0;
    conversations.sort((a, b) => latest(b) - latest(a));
    const own = conversations.find((wrapper) => wrapper.userAttributes?.chat === current());
    if (own && following && !$('desk-text').value) selected = own.id;
    selected ??= conversations[0]?.id ?? null;
    draw();
  }

  function draw() {
    const chosen = conversations.find((wrapper) => wrapper.id === selected);
    if (chosen) seen.set(chosen.id, chosen.events?.length ?? 0);
    keyed($('queue'), conversations, (wrapper) => wrapper.id, queueItem, (item, wrapper) => {
      const last = wrapper.events?.findLast((event) => event.message);
      const [label, tone] = statusOf(wrapper);
      const unread = (wrapper.events?.length ?? 0) > (seen.get(wrapper.id) ?? 0);
      item.setAttribute('aria-pressed', String(wrapper.id === selected));
      if (unread && item.dataset.news === undefined) news();
      if (unread) item.dataset.news = ''; else delete item.dataset.news;
      setText(item.querySelector('.name'), nameOf(wrapper));
      setText(item.querySelector('.preview'), last?.message ?? '');
      setText(item.querySelector('time'), last ? clock(last.createdAt) : '');
      const pill = item.querySelector('.pill');
      setText(pill, label);
      pill.dataset.tone = tone;
    });
    $('desk-empty').hidden = conversations.length > 0;
    $('case').hidden = !chosen;
    if (chosen) drawCase(chosen);
  }

  function queueItem(wrapper) {
    return h('button', { type: 'button', class: 'queue-item', onclick: () => { following = false; selected = wrapper.id; $('case-log').replaceChildren(); draw(); toBottom($('case-scroll')); } },
      h('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(nameOf(wrapper))),
      h('span', { class: 'queue-text' },
        h('span', { class: 'queue-line' }, h('span', { class: 'name', dir: 'auto' }), h('time', {})),
        h('span', { class: 'preview', dir: 'auto' }),
        h('span', { class: 'pill small' })));
  }

  function drawCase(wrapper) {
    $('case').dataset.chat = wrapper.userAttributes?.chat ?? '';
    setText($('case-name'), nameOf(wrapper));
    setText($('case-plan'), wrapper.userAttributes?.plan ? `${wrapper.userAttributes.plan} plan` : '');
    const [label, tone] = statusOf(wrapper);
    setText($('case-status'), label);
    $('case-status').dataset.tone = tone;
    $('take-over').disabled = escalated(wrapper) && !wrapper.resolved;
    // What no human has taken cannot be given back: it waits for one, whatever its status becomes.
    $('return-bot').disabled = !escalated(wrapper) || !(wrapper.events ?? []).some((event) => event.role === 'agent' && event.type === 'message');
    setText($('resolve'), wrapper.resolved ? 'Reopen' : 'Resolve');
    const scroll = $('case-scroll');
    const stick = atBottom(scroll);
    keyed($('case-log'), wrapper.events ?? [], (event) => event.id, entry);
    if (stick) toBottom(scroll);
  }

  function entry(event) {
    const time = h('time', {}, clock(event.createdAt));
    if (event.type === 'internalnote') {
      return h('li', { class: 'message internal' }, h('div', { class: 'meta' }, h('span', {}, 'Internal note, not for the customer'), time), h('div', { class: 'text', dir: 'auto' }, event.message ?? ''));
    }
    if (event.type !== 'message' || !event.message) {
      const words = INTERNAL[event.type] ?? `${event.role}: ${event.type}`;
      return h('li', { class: 'notice', dir: 'auto' }, event.message && !INTERNAL[event.type] ? `${words}: ${event.message}` : words);
    }
    const side = { user: 'user', agent: 'agent mine', finibot: 'bot mine', otherbot: 'otherbot mine' }[event.role] ?? 'user';
    return h('li', { class: `message ${side}` }, h('div', { class: 'meta' }, h('span', {}, WHO[event.role] ?? event.role), time), h('div', { class: 'text', dir: 'auto' }, event.message));
  }

  async function act(action, body) {
    if (!selected) return false;
    try {
      await call(`/demo/desk/conversations/${encodeURIComponent(selected)}/${action}`, body);
      await refresh();
      toBottom($('case-scroll'));
      return true;
    } catch (error) {
      setText($('desk-problem'), error.message);
      return false;
    }
  }

  onCurrentChange(() => { following = true; void refresh(); });
  $('take-over').addEventListener('click', () => act('status', { status: ESCALATED }));
  // The bot has a conversation back when it speaks again; a status alone ends no escalation.
  $('return-bot').addEventListener('click', async () => {
    if (await act('status', { status: OPEN })) await act('bot-message', { text: 'The assistant is back. What else can I do for you?' });
  });
  $('resolve').addEventListener('click', () => act('resolve', { resolved: !conversations.find((wrapper) => wrapper.id === selected)?.resolved }));
  enterSends($('desk-text'));
  for (const radio of document.querySelectorAll('input[name="kind"]')) {
    radio.addEventListener('change', () => {
      const note = radio.value === 'note';
      $('desk-form').dataset.kind = radio.value;
      $('desk-text').placeholder = note ? 'Only your colleagues will see this' : 'Reply to the customer';
      setText($('desk-form').querySelector('button'), note ? 'Save note' : 'Send');
    });
  }
  $('desk-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const field = $('desk-text');
    const text = field.value;
    if (!text.trim()) return;
    field.value = '';
    const kind = new FormData(event.target).get('kind');
    if (!(await act(kind, { text })) && !field.value) field.value = text; // nothing an agent wrote is lost
  });

  const loop = async () => {
    if (document.visibilityState === 'visible') await refresh();
    setTimeout(loop, PACE);
  };
  void loop();
}
