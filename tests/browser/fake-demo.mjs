// The demo page's server side for the fake bridge: the same routes, with a simulated Fini of a few lines behind them.

import { createHmac, randomUUID } from 'node:crypto';
import { body, json, mint, pageFile, sendFile } from './fake-bridge.mjs';
import { handOff, shown } from './fake-handoff.mjs';

const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ESCALATED = 'Escalated to Human Agent';

export function demoRoutes(fake) {
  const callbacks = [];
  const watchers = new Set();
  const key = 'fake-callback-key';
  let working = true;
  let used = 0;

  const frame = (row) => `id: ${row.n}\nevent: callback\ndata: ${JSON.stringify(row)}\n\n`;

  const due = [];
  let isHeld = false;

  /** Refused callbacks come again, in order, as from the bridge; the rest of the fake does not depend on them. */
  function callBack(event) {
    due.push(event);
    if (!isHeld) pump();
  }

  function pump() {
    for (isHeld = false; due.length && !isHeld;) {
      isHeld = !working;
      record(due[0]);
      if (isHeld) setTimeout(pump, 150);
      else due.shift();
    }
  }

  function record(event) {
    const text = JSON.stringify(event);
    const timestamp = String(Math.floor(Date.now() / 1000));
    const signature = `v1,${createHmac('sha256', key).update(`${event.id}.${timestamp}.${text}`).digest('base64')}`;
    const row = {
      n: callbacks.length + 1, received_at: new Date(Date.now() + 180 + Math.random() * 400).toISOString(), status: working ? 204 : 503, verified: true, reason: null,
      repeat: callbacks.some((other) => other.event?.id === event.id),
      headers: { 'webhook-id': event.id, 'webhook-timestamp': timestamp, 'webhook-signature': signature }, event, body: null,
    };
    callbacks.push(row);
    for (const watcher of watchers) watcher.write(frame(row));
  }

  function setStatus(conversation, status) {
    const { wrapper, id } = conversation;
    const was = wrapper.status === ESCALATED ? 'escalated' : 'open';
    wrapper.status = status;
    const is = status === ESCALATED ? 'escalated' : 'open';
    if (is === 'escalated' && was !== is) handOff(fake, conversation, 'request', { reason: 'status' });
    if (is === 'open' && was !== is) handOff(fake, conversation, 'return');
    if (is === 'escalated' && was !== is) fake.emit(id, 'conversation.status_changed', { state: is, previous_state: was, status_text: status });
  }

  const internal = (conversation, type, message) => conversation.wrapper.events.push({ id: randomUUID(), createdAt: Date.now(), role: type === 'internalnote' ? 'agent' : 'finibot', type, message });

  /** The simulated bot: the same trigger words as the sandbox. */
  function answer(conversation, messageId, text) {
    const { id } = conversation;
    const says = (words, more) => fake.say(id, 'bot', words, { inReplyTo: messageId, ...more });
    const done = (outcome, replies) => fake.emit(id, 'turn.completed', { message_id: messageId, outcome, replies });
    const lower = text.toLowerCase();
    used += 2;
    if (conversation.wrapper.status === ESCALATED) return done('stored', 0);
    if (lower.includes('silently')) {
      internal(conversation, 'silent_escalation', null);
      handOff(fake, conversation, 'request', { reason: 'silent_escalation' });
      conversation.wrapper.status = ESCALATED;
      return done('escalated', 0);
    }
    if (lower.includes('human')) {
      says('I will get a colleague for you.');
      setStatus(conversation, ESCALATED);
      return done('escalated', 1);
    }
    if (lower.includes('markdown')) { says('**Three steps**:\n\n1. Open `Orders`\n2. Print it\n\n[More](https://help.example.com)', { message: { format: 'markdown' } }); return done('answered', 1); }
    if (lower.includes('later')) { setTimeout(() => says('Here it is, late.'), 1500); return done('no_reply', 0); }
    if (conversation.handoff.isFenced) { says('On its way when somebody claimed.'); return done('stored', 0); }
    if (lower.includes('no reply')) { internal(conversation, 'no_reply', null); return done('no_reply', 0); }
    if (lower.includes('note')) internal(conversation, 'internalnote', 'Customer asked for a note. Check the account first.');
    if (lower.includes('debounce')) internal(conversation, 'debounce', null);
    if (lower.includes('form')) fake.emit(id, 'form.presented', { event_id: randomUUID(), text: 'Please leave your order number.', raw: {} });
    if (lower.includes('odd')) fake.emit(id, 'fini.unrecognized', { event_id: randomUUID(), role: 'finibot', type: 'hologram', raw: {} });
    says(`You can follow your order in your account under “Orders”. It left our warehouse this morning and should be with you in two days.`, {
      message: { articles: [{ id: randomUUID(), title: 'Tracking an order', url: 'https://help.example.com/tracking' }, { id: randomUUID(), title: 'Delivery times', url: null }] },
    });
    return done('answered', 1);
  }

  /** The company's own desk: what its backend passes on. */
  async function ownDesk(request, response, path) {
    if (request.method === 'GET') {
      const conversations = [...fake.conversations.values()].map(({ id, events, words, handoff, wrapper }) => ({
        conversation_id: id, state: wrapper.resolved ? 'resolved' : handoff.speaker === 'bot' ? 'open' : 'escalated', handoff: shown(handoff), transcript: words,
        customer: { name: wrapper.userAttributes.name ?? null, plan: wrapper.userAttributes.plan ?? null }, updated_at: events.at(-1)?.timestamp ?? new Date().toISOString(),
      }));
      return json(response, 200, { desk: fake.desk, conversations });
    }
    const given = JSON.parse(await body(request));
    if (request.method === 'PUT') return json(response, 200, (fake.desk = given));
    const [, id, act] = /^\/conversations\/([^/]+)\/([a-z]+)$/.exec(path) ?? [null, given.conversation_id, 'speak'];
    const conversation = fake.conversations.get(decodeURIComponent(id));
    if (!conversation) return json(response, 404, { detail: 'no such conversation' });
    const refused = handOff(fake, conversation, act, given);
    if (refused) return json(response, refused.status, refused);
    if (act === 'speak') {
      const message = { id: randomUUID(), author: 'agent', text: given.text, format: 'plain', created_at: new Date().toISOString(), articles: [], attachments: [], tags: [] };
      conversation.words.push(message);
      fake.emit(id, 'message.created', { message, origin: 'frontend', in_reply_to: null });
    }
    return json(response, 200, {});
  }

  async function desk(request, response, path) {
    if (request.method === 'GET') return json(response, 200, { conversations: [...fake.conversations.values()].map((each) => each.wrapper) });
    const [, id, action] = /^\/([^/]+)\/([a-z-]+)$/.exec(path) ?? [];
    const conversation = [...fake.conversations.values()].find((each) => each.wrapper.id === id);
    if (!conversation) return json(response, 404, { detail: 'no such conversation' });
    const { text, status, resolved } = JSON.parse(await body(request));
    if (action === 'agent-message') fake.say(conversation.id, 'agent', text);
    else if (action === 'note') internal(conversation, 'internalnote', text);
    else if (action === 'status') setStatus(conversation, status);
    else if (action === 'resolve') {
      conversation.wrapper.resolved = resolved;
      fake.emit(conversation.id, 'conversation.resolved', { resolved });
    }
    return json(response, 200, {});
  }

  function stream(request, response, url) {
    const after = Number(request.headers['last-event-id'] ?? url.searchParams.get('after') ?? 0);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: start\ndata: ${JSON.stringify({ newest: callbacks.length })}\n\nevent: receiver\ndata: ${JSON.stringify({ working })}\n\n`);
    callbacks.filter((row) => row.n > after).forEach((row) => response.write(frame(row)));
    watchers.add(response);
    response.on('close', () => watchers.delete(response));
  }

  async function route(request, response, url) {
    const path = url.pathname;
    if (path === '/') return sendFile(response, 'src/demo/assets/index.html', { 'content-security-policy': CSP });
    if (path.startsWith('/demo/assets/') && !path.includes('..')) return sendFile(response, pageFile('src/demo/assets/', path.slice('/demo/assets/'.length)));
    if (path === '/demo/token') {
      const { conversation_id: id, attributes } = JSON.parse(await body(request));
      return json(response, 200, { token: mint(id, { attributes }), expires_at: new Date(Date.now() + 3.6e6).toISOString() });
    }
    if (path.startsWith('/demo/fini/conversations')) return desk(request, response, path.slice('/demo/fini/conversations'.length));
    if (path.startsWith('/demo/desk')) return ownDesk(request, response, path.slice('/demo/desk'.length));
    if (path === '/demo/callbacks/stream') return stream(request, response, url);
    if (path === '/demo/callbacks/receiver') {
      working = JSON.parse(await body(request)).working;
      return json(response, 200, { working });
    }
    if (path === '/demo/budget') {
      return json(response, 200, { available: true, limit: 100, window_seconds: 60, used: Math.min(100, 17 + used), waiting: { send: 0, bind: 0, sweep: 1, get: 0 }, sweep_age_ms: 1400, watched: fake.conversations.size, sent: 1, read: 16 + used, ready: true });
    }
    return json(response, 404, { detail: 'no such route' });
  }

  return { route, answer, callback: callBack };
}
