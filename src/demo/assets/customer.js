// The customer's side: what a company's own chat widget would be, on top of fini-bridge.js and nothing else.

import { FiniChat } from '/v1/client.js';
import { $, atBottom, call, clock, enterSends, h, initials, keyed, link, setText, toBottom } from './dom.js';

const STORE = 'fini-bridge-demo:customers';
const NAMES = ['Maya Lind', 'Omar Haddad', 'Chloé Dupont', '李 雷', 'Tomás Rivera', 'נועה לוי', 'Ada Okafor', 'Jonas Berg'];
const PLANS = ['Free', 'Pro', 'Business'];
/** [text sent, what it shows]: the simulated bot knows these words. */
const IDEAS = [
  ['Where is my order?', 'the bot answers, with its sources'],
  ['I want to talk to a human', 'escalation to a person'],
  ['Please escalate silently', 'handed over without a word'],
  ['Answer me later', 'the reply comes after the turn'],
  ['Give me no reply', 'the bot decides to stay silent'],
  ['Show me the form', 'a form the widget may draw'],
  ['Write a note about me', 'an internal note that never gets here'],
  ['Test the debounce', 'an internal event that never gets here'],
  ['Send something odd', 'an event type nobody knows yet'],
  ['<b>bold?</b> <img src=x onerror=alert(1)>', 'markup stays text'],
  ['أين طلبي؟ 🙂', 'right to left, and emoji'],
];
const STATES = { new: ['not started', ''], open: ['with the bot', 'good'], escalated: ['with a human', 'human'], resolved: ['resolved', ''], quarantined: ['on hold', 'warn'], lost: ['lost', 'warn'], continued: ['goes on elsewhere', ''] };
const WHO = { bot: 'Bot', agent: 'Human agent', otherbot: 'Other bot' };

let offline = false;
/** The switch in the pane: the widget sees a dead network, the rest of the page does not. */
const customerFetch = (...args) => (offline ? Promise.reject(new TypeError('the customer has no network')) : fetch(...args));

export function startCustomer({ news }) {
  const customers = loadCustomers();
  const listeners = [];
  let current = null;
  let chat = null;
  let notices = []; // lines between messages: {sequence, text}
  let frame = 0;

  const schedule = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };

  function open(customer) {
    chat?.close();
    current = customer;
    notices = [];
    delete customer.unread;
    $('chat-log').replaceChildren();
    $('chat-log').parentElement.setAttribute('aria-live', 'off'); // history is not news; switched on once it is there
    const { conversationId, userId, name, plan } = customer;
    chat = new FiniChat({
      conversationId,
      // Who the customer is stands in the token, where the page cannot change it.
      getToken: () => call('/demo/token', { conversation_id: conversationId, user: userId, attributes: { name, plan, chat: conversationId } }),
      fetch: customerFetch,
      share: false, // the switch above is this tab's alone
    });
    for (const type of ['message', 'state', 'typing', 'connection', 'reset']) chat.on(type, schedule);
    chat.on('reset', () => { notices = []; });
    chat.on('event', (event) => { note(event); schedule(); });
    chat.on('ready', () => { draw(); if (chat.messages.length) toBottom($('chat-scroll')); setTimeout(() => $('chat-log').parentElement.setAttribute('aria-live', 'polite'), 500); });
    chat.on('error', (error) => setText($('chat-connection'), error.message));
    for (const listener of listeners) listener(conversationId);
    saveCustomers(customers, current);
    drawCustomers();
    draw();
  }

  function note({ type, sequence, data }) {
    const text = {
      'conversation.escalated': () => 'You are being handed to a human.',
      'conversation.resolved': () => (data.resolved ? 'This conversation is resolved.' : 'This conversation is open again.'),
      'conversation.status_changed': () => (data.previous_state === 'escalated' && data.state === 'open' ? 'The bot is back.' : null),
      'form.presented': () => `Form: ${data.text || 'the support team asks for some details.'}`,
    }[type]?.();
    if (text) notices.push({ key: `n${sequence}`, sequence, text });
    if (type === 'message.created' && data.message.author !== 'user') news();
  }

  function draw() {
    const messages = chat.messages;
    const rows = [...messages.map((message) => ({ ...message, key: `${message.origin}:${message.id}` })), ...notices];
    rows.sort((a, b) => (a.sequence ?? Infinity) - (b.sequence ?? Infinity) || 0);
    const scroll = $('chat-scroll');
    const stick = atBottom(scroll);
    const count = $('chat-log').children.length;
    keyed($('chat-log'), rows, (row) => row.key, (row) => (row.author ? bubble(row) : h('li', { class: 'notice', dir: 'auto' }, row.text)), (element, row) => row.author && status(element, row));
    $('welcome').hidden = rows.length > 0 || !chat.ready;
    $('chips').hidden = rows.length === 0;
    // The bridge may announce that a reply is being written; a turn that is accepted and open means the same.
    const open = messages.findLast((message) => message.author === 'user');
    const typing = chat.typing ?? (open?.status === 'queued' && chat.state !== 'escalated' && chat.connection === 'online' ? { author: 'bot' } : null);
    $('chat-typing').hidden = !typing;
    setText($('typing-text'), typing ? `${WHO[typing.author] ?? 'Somebody'} is writing` : '');
    if (stick && rows.length) toBottom(scroll);
    else if (rows.length > count) $('chat-jump').hidden = false;
    setText($('chat-name'), current.name);
    setText($('chat-id'), current.conversationId);
    const [label, tone] = STATES[chat.state] ?? [chat.state, ''];
    setText($('chat-state'), label);
    $('chat-state').dataset.tone = tone;
    setText($('chat-connection'), chat.connection === 'online' ? '' : offline ? 'offline: messages wait here' : 'connecting…');
  }

  function bubble(message) {
    const own = message.author === 'user';
    const sources = (message.articles ?? []).map((article) => h('li', {}, link(article.title || article.url || 'source', article.url)));
    return h('li', { class: `message ${own ? 'own' : message.author}` },
      h('div', { class: 'meta' }, own ? h('span', { class: 'sr' }, 'You') : h('span', {}, WHO[message.author] ?? 'Support'), h('time', { dateTime: message.createdAt }, clock(message.createdAt))),
      h('div', { class: 'text', dir: 'auto' }, message.text),
      sources.length > 0 && h('ul', { class: 'sources', 'aria-label': 'Sources' }, ...sources),
      own && h('div', { class: 'status' }));
  }

  function status(element, message) {
    const line = element.querySelector('.status');
    if (!line) return;
    const words = { pending: offline ? 'waiting for network' : 'sending…', queued: 'sent', answered: 'answered', stored: message.outcome === 'no_reply' ? 'read, no reply' : 'sent', failed: `not sent: ${message.detail ?? message.code ?? 'refused'}` };
    element.dataset.status = message.status ?? '';
    const text = message.code === 'expired' || message.sequence === null || message.status !== 'failed' ? words[message.status] ?? '' : `no answer: ${message.detail ?? message.code}`;
    if (line.dataset.text === `${text}${message.mayResend}`) return;
    line.dataset.text = `${text}${message.mayResend}`;
    line.replaceChildren(text);
    if (message.mayResend) line.append(' ', h('button', { type: 'button', class: 'link', onclick: () => chat.resend(message.id) }, 'Try again'));
  }

  function drawCustomers() {
    keyed($('customers'), customers, (customer) => customer.conversationId,
      (customer) => h('button', { type: 'button', class: 'customer', onclick: () => open(customer) },
        h('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(customer.name)), h('span', { class: 'name', dir: 'auto' }, customer.name)),
      (button, customer) => {
        button.setAttribute('aria-pressed', String(customer === current));
        if (customer.unread) button.dataset.news = ''; else delete button.dataset.news;
      });
  }

  function add() {
    const n = customers.length;
    const name = NAMES[n % NAMES.length] + (n < NAMES.length ? '' : ` ${Math.floor(n / NAMES.length) + 1}`);
    const tail = crypto.getRandomValues(new Uint32Array(1))[0].toString(36).padStart(7, '0');
    const customer = { conversationId: `demo-${tail}`, userId: `customer-${tail}`, name, plan: PLANS[n % PLANS.length] };
    customers.push(customer);
    open(customer);
    $('chat-text').focus();
  }

  function send(text) {
    if (!text.trim()) return;
    chat.send(text);
    draw();
    toBottom($('chat-scroll'));
  }

  $('chat-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const field = $('chat-text');
    const text = field.value;
    field.value = ''; // before sending: the second half of a double click finds nothing to send
    send(text);
    field.focus();
  });
  enterSends($('chat-text'));
  $('new-customer').addEventListener('click', add);
  $('chat-jump').addEventListener('click', () => { toBottom($('chat-scroll')); $('chat-jump').hidden = true; });
  $('chat-scroll').addEventListener('scroll', () => { if (atBottom($('chat-scroll'))) $('chat-jump').hidden = true; }, { passive: true });
  $('customer-online').addEventListener('change', (event) => {
    offline = !event.target.checked;
    window.dispatchEvent(new Event(offline ? 'offline' : 'online'));
    schedule();
  });
  for (const [text, why] of IDEAS) {
    $('ideas').append(h('li', {}, h('button', { type: 'button', onclick: () => send(text) }, h('span', { class: 'idea', dir: 'auto' }, text), h('span', { class: 'why' }, why))));
    $('chips').append(h('button', { type: 'button', class: 'chip', title: why, dir: 'auto', onclick: () => send(text) }, text));
  }

  const remembered = customers.find((customer) => customer.current);
  if (remembered ?? customers[0]) open(remembered ?? customers[0]);
  else add();

  return {
    conversationId: () => current.conversationId,
    onChange: (listener) => listeners.push(listener),
    /** Other customers have no open stream here (browsers allow six per origin); their callbacks say that there is news. */
    noticed(event) {
      const customer = customers.find((each) => each.conversationId === event?.conversation_id);
      if (!customer || customer === current || event.type !== 'message.created') return;
      customer.unread = true;
      drawCustomers();
    },
  };
}

function loadCustomers() {
  try {
    const saved = JSON.parse(localStorage.getItem(STORE));
    return Array.isArray(saved) ? saved.filter((each) => each?.conversationId && each?.name) : [];
  } catch {
    return [];
  }
}

function saveCustomers(customers, current) {
  const plain = customers.map(({ unread, ...customer }) => ({ ...customer, current: customer.conversationId === current.conversationId }));
  try { localStorage.setItem(STORE, JSON.stringify(plain)); } catch { /* works without memory */ }
}
