// The customer's side: what a company's own chat widget would be, on top of fini-bridge.js and nothing else.

import { FiniChat } from '/v1/client.js';
import { $, atBottom, call, clock, enterSends, h, initials, keyed, link, setText, toBottom } from './dom.js';
import { NOTHING_TOLD, banner, notice, told } from './handoff.js';
import { says } from './words.js';

const STORE = 'fini-bridge-demo:customers';
const NAMES = ['Maya Lind', 'Omar Haddad', 'Chloé Dupont', '李 雷', 'Tomás Rivera', 'נועה לוי', 'Ada Okafor', 'Jonas Berg'];
const PLANS = ['Free', 'Pro', 'Business'];
/** [text sent, what it shows]: the simulated bot knows these words. */
const IDEAS = [
  ['Where is my order?', 'the bot answers, with its sources'],
  ['I want to talk to a human', 'escalation to a person'],
  ['Please escalate silently', 'handed over without a word'],
  ['Answer in Markdown', 'the client draws it, as nodes and nothing else'],
  ['Answer me later', 'the reply comes after the turn'],
  ['Give me no reply', 'the bot decides to stay silent'],
  ['Show me the form', 'a form the widget may draw'],
  ['Write a note about me', 'an internal note that never gets here'],
  ['Test the debounce', 'an internal event that never gets here'],
  ['Send something odd', 'an event type nobody knows yet'],
  ['<b>bold?</b> <img src=x onerror=alert(1)>', 'markup stays text'],
  ['أين طلبي؟ 🙂', 'right to left, and emoji'],
];
const STATES = { new: ['not started', ''], open: ['with the bot', 'good'], escalated: ['with a person', 'human'], resolved: ['resolved', ''], quarantined: ['on hold', 'warn'], lost: ['lost', 'warn'], continued: ['goes on elsewhere', ''] };
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
  let toldOfHandoff = NOTHING_TOLD;
  const speakers = new Map(); // message id -> the agent's name, where only one was there
  let frame = 0;

  const schedule = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };

  function open(customer) {
    chat?.close();
    current = customer;
    notices = [];
    toldOfHandoff = NOTHING_TOLD;
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
    for (const type of ['message', 'state', 'typing', 'connection', 'reset', 'handoff']) chat.on(type, schedule);
    chat.on('reset', () => { notices = []; toldOfHandoff = NOTHING_TOLD; });
    chat.on('event', (event) => { note(event); schedule(); });
    chat.on('ready', () => { draw(); if (chat.messages.length) toBottom($('chat-scroll')); setTimeout(() => $('chat-log').parentElement.setAttribute('aria-live', 'polite'), 500); });
    chat.on('error', (error) => setText($('chat-connection'), error.message));
    for (const listener of listeners) listener(conversationId);
    saveCustomers(customers, current);
    drawCustomers();
    draw();
  }

  function note(event) {
    const { type, sequence, data } = event;
    toldOfHandoff = told(toldOfHandoff, event);
    const text = type === 'conversation.resolved' ? (data.resolved ? 'This conversation is resolved.' : 'This conversation is open again.') : notice(event);
    if (text) notices.push({ key: `n${sequence}`, sequence, text });
    if (type === 'form.presented') notices.push({ key: `n${sequence}`, sequence, text: data.text || 'The support team asks for some details.', isForm: true });
    if (type !== 'message.created' || data.message.author === 'user') return;
    const { agents } = chat.handoff;
    if (data.message.author === 'agent' && data.origin === 'frontend' && agents.length === 1) speakers.set(data.message.id, agents[0].name);
    news();
  }

  function draw() {
    const messages = chat.messages;
    const rows = [...messages.map((message) => ({ ...message, key: `${message.origin}:${message.id}` })), ...notices];
    rows.sort((a, b) => (a.sequence ?? Infinity) - (b.sequence ?? Infinity) || 0);
    const scroll = $('chat-scroll');
    const stick = atBottom(scroll);
    const count = $('chat-log').children.length;
    keyed($('chat-log'), rows, (row) => row.key, (row) => (row.author ? bubble(row) : line(row)), (element, row) => row.author && refresh(element, row));
    $('welcome').hidden = rows.length > 0 || !chat.ready;
    $('chips').hidden = rows.length === 0;
    // The bridge may announce that a reply is being written; a turn that is accepted and open means the same.
    const open = messages.findLast((message) => message.author === 'user');
    const { handoff } = chat;
    const typing = chat.typing ?? (open?.status === 'queued' && handoff.speaker === 'bot' && chat.connection === 'online' ? { author: 'bot' } : null);
    $('chat-typing').hidden = !typing;
    const name = typing?.author === 'agent' && handoff.agents.length === 1 ? handoff.agents[0].name : WHO[typing?.author] ?? 'Somebody';
    setText($('typing-text'), typing ? `${name} is writing` : '');
    drawBanner(handoff);
    if (stick && rows.length) toBottom(scroll);
    else if (rows.length > count) $('chat-jump').hidden = false;
    setText($('chat-name'), current.name);
    setText($('chat-id'), current.conversationId);
    const waits = chat.state === 'escalated' && handoff.speaker === 'waiting' && ['waiting for a person', 'human'];
    const [label, tone] = chat.connection === 'online' ? waits || (STATES[chat.state] ?? [chat.state, '']) : [offline ? 'no network' : 'connecting', 'warn'];
    setText($('chat-state'), label);
    $('chat-state').dataset.tone = tone;
    setText($('chat-connection'), chat.connection === 'online' ? '' : offline ? 'offline: messages wait here' : 'connecting…');
  }

  function drawBanner(handoff) {
    const words = banner(handoff, toldOfHandoff);
    $('banner').hidden = !words;
    $('banner').dataset.speaker = handoff.speaker;
    $('ask-person').hidden = handoff.speaker !== 'bot';
    if (!words) return;
    setText($('banner-title'), words[0]);
    setText($('banner-text'), words[1]);
    keyed($('banner-faces'), handoff.agents, ({ id }) => id, ({ name, avatar_url: picture }) => (picture
      ? h('img', { class: 'avatar', src: picture, alt: '', width: 34, height: 34 })
      : h('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(name))));
  }

  function line({ text, isForm }) {
    if (!isForm) return h('li', { class: 'notice', dir: 'auto' }, text);
    return h('li', { class: 'form-card' }, h('strong', {}, 'Form'), h('p', { dir: 'auto' }, text), h('p', { class: 'hint' }, 'Fini asks for a form here. Your widget draws it; this page does not.'));
  }

  function bubble(message) {
    const own = message.author === 'user';
    const sources = (message.articles ?? []).map((article) => h('li', {}, link(article.title || article.url || 'source', article.url)));
    return h('li', { class: `message ${own ? 'own' : message.author}` },
      h('div', { class: 'meta' }, own ? h('span', { class: 'sr' }, 'You') : h('span', {}, speakers.get(message.id) ?? WHO[message.author] ?? 'Support'), h('time', { dateTime: message.createdAt }, clock(message.createdAt))),
      h('div', { class: 'text', dir: 'auto' }),
      sources.length > 0 && h('ul', { class: 'sources', 'aria-label': 'Sources' }, ...sources),
      own && h('div', { class: 'status' }));
  }

  function refresh(element, message) {
    // What customers type is no Markdown.
    says(element.querySelector('.text'), message.text, message.author === 'user' ? 'plain' : message.format);
    status(element, message);
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
    const [chance] = crypto.getRandomValues(new Uint32Array(1));
    const tail = chance.toString(36).padStart(7, '0');
    // By chance, so that the desk can tell the visitors of several browsers apart.
    const free = NAMES.filter((each) => !customers.some((other) => other.name === each));
    const name = free.length ? free[chance % free.length] : `Customer ${customers.length + 1}`;
    const customer = { conversationId: `demo-${tail}`, userId: `customer-${tail}`, name, plan: PLANS[chance % PLANS.length] };
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
  $('ask-person').addEventListener('click', async () => {
    $('ask-person').disabled = true; // until the feed tells what came of it, or nothing did
    try {
      await chat.requestHandoff();
    } catch (error) {
      const sequence = chat.lastSequence + 0.5; // after what is there
      notices.push({ key: `asked${sequence}`, sequence, text: `Nobody could be asked: ${error.message}` });
      schedule();
    } finally {
      $('ask-person').disabled = false;
    }
  });
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
