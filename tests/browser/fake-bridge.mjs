// A small scriptable bridge for the browser client's tests: the public HTTP surface, kept in memory, with faults on demand.
// It is written from the documented API alone and shares no code with the client or the service.

import { createHmac, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { demoRoutes } from './fake-demo.mjs';
import { handOff, newHandoff } from './fake-handoff.mjs';

const ROOT = new URL('../../', import.meta.url);
const FILES = {
  '/v1/client.js': 'src/http/client/fini-bridge.js',
  '/v1/markdown.js': 'src/http/client/markdown.js',
  '/blank': 'tests/browser/blank.html',
};
const SECRET = 'only-for-these-tests';
const base64url = (text) => Buffer.from(text).toString('base64url');
const sign = (text) => createHmac('sha256', SECRET).update(text).digest('base64url');

export function mint(conversationId, { lifetime = 3600, now = Date.now(), ...extra } = {}) {
  const iat = Math.floor(now / 1000);
  const payload = { iss: 'fini-bridge', frontend: 'demo', conversation_id: conversationId, iat, exp: iat + lifetime, ...extra };
  const head = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify(payload))}`;
  return `${head}.${sign(head)}`;
}

export class FakeBridge {
  conversations = new Map();
  /** Next answers to POST, oldest first: {status, headers?, body?, storeFirst?} or {destroy: true, storeFirst?}. */
  postFaults = [];
  streamFaults = [];
  posts = []; // every POST that was authorised: {message_id, text, raw, at}
  tokensSeen = [];
  autoReply = true;
  replyDelay = 5;
  holdStreams = false; // answers streams with a head and nothing more, as a buffering proxy does
  refuseStreams = null; // a fault for every stream
  cutStreams = false; // ends streams right after their greeting
  streamsCut = 0;
  acts = []; // read marks and wishes for a human: [route, body]
  actFaults = [];
  streamsOpened = 0;
  desk = { open: true, next_open: null };
  refusePosts = null; // a fault for some messages: (message) => fault | undefined
  #sockets = new Set();
  #server = null;
  #port = 0;

  static async start(setUp = {}) {
    const fake = Object.assign(new FakeBridge(), setUp);
    fake.demo = demoRoutes(fake);
    await fake.up();
    return fake;
  }

  get url() { return `http://127.0.0.1:${this.#port}`; }

  /** Listens, after the first time on the port it had: a restart the clients can come back to. */
  async up() {
    this.#server = createServer((request, response) => {
      this.#route(request, response).catch((error) => problem(response, 500, 'internal', String(error)));
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise((done) => this.#server.listen(this.#port, '127.0.0.1', done));
    this.#port = this.#server.address().port;
  }

  async down() {
    const closed = new Promise((done) => this.#server.close(done));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  conversation(id, create = true) {
    if (!this.conversations.has(id) && create) {
      const wrapper = { id: randomUUID(), createdAt: Date.now(), status: null, resolved: false, userAttributes: {}, events: [] };
      this.conversations.set(id, { id, events: [], messages: new Map(), streams: new Set(), wrapper, words: [], handoff: newHandoff() });
    }
    return this.conversations.get(id);
  }

  /** Appends to the feed. `push: false` leaves the streams in the dark, as a lost frame would. */
  emit(id, type, data, { push = true } = {}) {
    const conversation = this.conversation(id);
    const event = {
      id: `evt_${randomUUID()}`, type, timestamp: new Date().toISOString(), frontend: 'demo', conversation_id: id,
      interaction_id: conversation.wrapper.id, sequence: conversation.events.length + 1, data,
    };
    conversation.events.push(event);
    if (push) this.frame(id, event);
    this.demo?.callback(event);
    return event;
  }

  say(id, author, text, more = {}) {
    const message = { id: randomUUID(), author, text, format: 'plain', created_at: new Date().toISOString(), articles: [], attachments: [], tags: [], ...more.message };
    const { wrapper, words, handoff } = this.conversation(id);
    wrapper.events.push({ id: message.id, createdAt: Date.now(), role: author === 'bot' ? 'finibot' : author, type: 'message', message: text });
    const isWithheld = author === 'bot' && handoff.isFenced;
    words.push({ ...message, ...(isWithheld && { withheld: true }) });
    if (isWithheld) return this.emit(id, 'hidden', {}, more);
    return this.emit(id, 'message.created', { message, origin: 'fini', in_reply_to: more.inReplyTo ?? null }, more);
  }

  /** Writes an event to the open streams, whatever its number. */
  frame(id, event) {
    this.raw(id, `id: ${event.sequence}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  }

  raw(id, text) {
    for (const stream of this.conversation(id).streams) stream.write(text);
  }

  dropStreams(id) {
    for (const stream of this.conversation(id).streams) stream.destroy();
  }

  async #route(request, response) {
    const url = new URL(request.url, 'http://fake');
    response.setHeader('x-request-id', randomUUID());
    if (FILES[url.pathname]) return sendFile(response, FILES[url.pathname]);
    if (!url.pathname.startsWith('/v1/')) return this.demo.route(request, response, url);
    const token = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
    this.tokensSeen.push(token);
    const claims = verified(token);
    if (!claims || this.refuseTokens?.(token)) return problem(response, 401, 'unauthorized', 'token is not valid');
    if (request.method === 'POST' && url.pathname === '/v1/messages') return this.#post(request, response, claims);
    if (url.pathname === `/v1/users/${claims.sub}/conversations`) return json(response, 200, this.#list(url));
    const [, id, what] = /^\/v1\/conversations\/([^/]+)\/(events|stream|read|handoff)$/.exec(url.pathname) ?? [];
    if (!id) return problem(response, 404, 'not_found', 'no such route');
    if (decodeURIComponent(id) !== claims.conversation_id) return problem(response, 403, 'forbidden', 'token is for another conversation');
    const conversation = this.conversation(decodeURIComponent(id), what === 'handoff');
    if (!conversation) return problem(response, 404, 'not_found', 'no such conversation');
    if (request.method === 'POST') return this.#act(what, JSON.parse(await body(request)), response, conversation);
    return what === 'events' ? this.#events(url, response, conversation) : this.#stream(request, response, conversation);
  }

  async #post(request, response, claims) {
    const raw = await body(request);
    const message = JSON.parse(raw);
    this.posts.push({ ...message, raw, at: Date.now() });
    if (message.conversation_id !== claims.conversation_id) return problem(response, 403, 'forbidden', 'other conversation');
    const fault = this.refusePosts?.(message) || this.postFaults.shift();
    if (fault && !fault.storeFirst) return breakDown(response, fault);
    const conversation = this.conversation(message.conversation_id);
    const known = conversation.messages.get(message.message_id);
    if (known && known.raw !== raw) return problem(response, 409, 'message_conflict', 'same id, other content');
    if (!known) this.#store(conversation, message, raw, claims);
    if (fault) return breakDown(response, fault);
    const { conversation_id, message_id } = message;
    const status = conversation.messages.get(message_id).status;
    return json(response, 202, { conversation_id, message_id, status, duplicate: Boolean(known) });
  }

  #store(conversation, { message_id: id, text, user }, raw, claims) {
    conversation.messages.set(id, { raw, status: 'queued' });
    Object.assign(conversation.wrapper.userAttributes, user?.attributes, claims.attributes);
    conversation.wrapper.events.push({ id: randomUUID(), createdAt: Date.now(), role: 'user', type: 'message', message: text });
    const message = { id, author: 'user', text, format: 'plain', created_at: new Date().toISOString(), articles: [], attachments: [], tags: [] };
    conversation.words.push(message);
    this.emit(conversation.id, 'message.created', { message, origin: 'frontend', in_reply_to: null });
    if (this.autoReply) setTimeout(() => this.reply(conversation.id, id, text), this.replyDelay);
  }

  reply(conversationId, messageId, text) {
    const conversation = this.conversation(conversationId);
    conversation.messages.get(messageId).status = 'answered';
    this.demo.answer(conversation, messageId, text);
  }

  /** The customer's read mark, and the wish for a human. */
  #act(what, fields, response, conversation) {
    this.acts.push([what, fields]);
    const fault = this.actFaults.shift();
    if (fault) return breakDown(response, fault);
    const read = Math.min(fields.sequence, conversation.events.length);
    if (what === 'read') this.raw(conversation.id, `event: read.updated\ndata: ${JSON.stringify({ sequence: read })}\n\n`);
    if (what === 'handoff') handOff(this, conversation, 'request', fields);
    return json(response, 200, what === 'read' ? { conversation_id: conversation.id, read_sequence: read, last_sequence: conversation.events.length } : {});
  }

  #list(url) {
    const all = [...this.conversations.values()].map(({ id, events }) => {
      const last = events.findLast((event) => event.type === 'message.created');
      const { author, text, created_at } = last?.data.message ?? {};
      return { conversation_id: id, state: 'open', last_message: last ? { author, text, created_at } : null, last_sequence: events.length, read_sequence: 1, updated_at: last?.timestamp ?? null };
    });
    const from = Number(url.searchParams.get('cursor') ?? 0);
    return { conversations: all.slice(from, from + 2), next_cursor: from + 2 < all.length ? String(from + 2) : null };
  }

  #events(url, response, conversation) {
    const after = Number(url.searchParams.get('after') ?? 0);
    const limit = Math.min(500, Number(url.searchParams.get('limit') ?? 100), this.pageSize ?? 500);
    const rest = conversation.events.filter((event) => event.sequence > after);
    json(response, 200, { events: rest.slice(0, limit), last_sequence: conversation.events.length, has_more: rest.length > limit });
  }

  #stream(request, response, conversation) {
    this.streamsOpened += 1;
    const fault = this.refuseStreams ?? this.streamFaults.shift();
    if (fault) return breakDown(response, fault);
    const after = Number(request.headers['last-event-id'] ?? 0);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    if (this.holdStreams) return response.flushHeaders();
    if (this.cutStreams) {
      this.streamsCut += 1;
      return response.end('retry: 20\n: hello\n\n');
    }
    response.write(':\n\n');
    conversation.streams.add(response);
    response.on('close', () => conversation.streams.delete(response));
    for (const event of conversation.events.filter((each) => each.sequence > after)) this.frame(conversation.id, event);
    return undefined;
  }
}

function verified(token) {
  const [head, payload, signature] = token.split('.');
  if (!signature || sign(`${head}.${payload}`) !== signature) return null;
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  return claims.exp * 1000 > Date.now() ? claims : null;
}

function breakDown(response, { status, headers, body: text, destroy }) {
  if (destroy) return response.destroy();
  if (text !== undefined) return response.writeHead(status, headers).end(text);
  return problem(response, status, status === 429 ? 'backlog_full' : status === 422 ? 'invalid_message' : 'fault', 'as ordered', headers);
}

export function json(response, status, value, headers) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

function problem(response, status, code, detail, headers) {
  if (response.headersSent) return response.destroy();
  return json(response, status, { type: 'about:blank', title: code, status, code, detail }, { ...headers, 'content-type': 'application/problem+json' });
}

export async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** Where a file of a page stands: beside it, or among those that all pages share. */
export const pageFile = (folder, name) => (['base.css', 'dom.js', 'mark.svg'].includes(name) ? 'src/http/page/' : folder) + name;

export async function sendFile(response, path, headers = {}) {
  const type = { js: 'text/javascript', css: 'text/css', html: 'text/html', svg: 'image/svg+xml' }[path.split('.').pop()];
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, ...headers }).end(await readFile(new URL(path, ROOT)));
}
