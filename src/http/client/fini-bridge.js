/**
 * Browser client for fini-bridge: one conversation, messages in, the ordered feed out.
 *
 * What it keeps: a message is accepted by the bridge once however often it is tried (same `message_id`, same bytes);
 * feed events reach listeners once, in `sequence` order, without gaps. It draws nothing: every text it hands out is
 * plain text and must be set with `textContent`.
 */

const DEFAULTS = {
  minDelay: 500, // ms, first retry
  maxDelay: 30_000, // ms, ceiling of the exponential backoff
  silence: 45_000, // ms without a byte (the bridge sends a comment every 15 s) until a stream counts as dead
  requestTimeout: 30_000, // ms for one POST or one page of events
  pendingTtl: 86_400_000, // ms; an unsent message older than this is not sent behind its author's back
};
const MAX_LINE = 4 * 1024 * 1024;
const RANK = { pending: 0, queued: 1, stored: 2, answered: 2, failed: 2 };

/** Why something failed. `code` is stable (the bridge's problem codes, or one of ours), `message` is for people. */
export class FiniChatError extends Error {
  constructor(code, message, extra = {}) {
    super(message);
    Object.assign(this, { name: 'FiniChatError', code, status: 0, ...extra });
  }
}

/** Parser for `text/event-stream` bytes, cut anywhere. `id` is null when the event itself carried none. */
export class SseParser {
  #decoder = new TextDecoder(); // streaming: joins characters split across chunks and drops a BOM
  #rest = '';
  #afterCr = false;
  #frame = { event: 'message', data: [], id: null };

  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    // A CRLF may be cut in two; the CR has ended the line already, so its LF must not end another.
    if (this.#afterCr && text) {
      if (text[0] === '\n') text = text.slice(1);
      this.#afterCr = false;
    }
    if (text.endsWith('\r')) this.#afterCr = true;
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    if (this.#rest.length > MAX_LINE) throw new FiniChatError('protocol', 'line too long in event stream');
    return lines.map((line) => this.#line(line)).filter(Boolean);
  }

  #line(line) {
    const frame = this.#frame;
    if (line === '') {
      this.#frame = { event: 'message', data: [], id: null };
      return frame.data.length ? { ...frame, data: frame.data.join('\n') } : null;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon); // an empty field name is a comment
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') frame.data.push(value);
    else if (field === 'event') frame.event = value || 'message';
    else if (field === 'id' && !value.includes('\0')) frame.id = value;
    return null;
  }
}

/** One customer's conversation. See `fini-bridge.d.ts` for every option and event. */
export class FiniChat {
  #o;
  #path;
  #prefix;
  #storage;
  #listeners = new Map();
  #messages = new Map(); // key -> message; own ones under `m:`, what Fini wrote under `e:`
  #sorted = null;
  #last = 0;
  #outbox = []; // message ids, oldest first: one POST at a time keeps the order they were typed in
  #bodies = new Map();
  #sending = false;
  #synced = false; // the feed has been read up to its end once
  #ready = false;
  #token = { value: null, until: Infinity };
  #refreshing = null;
  #state = { state: 'new', statusText: null };
  #connection = 'connecting';
  #typing = null;
  #typingTimer;
  #stream = null;
  #lastByte = 0;
  #wakers = new Set();
  #closed = new AbortController();

  constructor(options) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#o = { ...DEFAULTS, baseUrl: '', fetch: (...args) => globalThis.fetch(...args), ...given };
    const { baseUrl, conversationId, token, getToken } = this.#o;
    if (!conversationId) throw new TypeError('conversationId is required');
    if (!token && !getToken) throw new TypeError('token or getToken is required');
    this.#o.baseUrl = baseUrl.replace(/\/+$/, '');
    this.#path = `/v1/conversations/${encodeURIComponent(conversationId)}`;
    // Encoded, because ids may hold colons: `a` must not find what waits for `a:b`.
    this.#prefix = `fini-bridge:${encodeURIComponent(this.#o.baseUrl)}:${encodeURIComponent(conversationId)}:`;
    this.#storage = options.storage === undefined ? browserStorage() : options.storage;
    if (token) this.#keepToken(token);
    this.#restore();
    this.#listenToBrowser();
    void this.#follow();
    void this.#flush();
  }

  get conversationId() { return this.#o.conversationId; }
  get state() { return this.#state.state; }
  get statusText() { return this.#state.statusText; }
  get connection() { return this.#connection; }
  get typing() { return this.#typing; }
  get lastSequence() { return this.#last; }
  get ready() { return this.#ready; }

  /** The conversation as one would draw it: the feed's order, then what the bridge has not accepted yet. */
  get messages() {
    this.#sorted ??= [...this.#messages.values()].sort((a, b) => (a.sequence ?? Infinity) - (b.sequence ?? Infinity) || 0);
    return this.#sorted.map((message) => ({ ...message }));
  }

  on(type, listener) {
    const set = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, set.add(listener));
    return () => set.delete(listener);
  }

  /** Shows the message at once and sends it until the bridge has it. The same `messageId` never makes a second one. */
  send(text, { messageId = uuid(), metadata } = {}) {
    if (this.#closed.signal.aborted) throw new FiniChatError('closed', 'the chat is closed');
    if (typeof text !== 'string' || !text.trim()) throw new TypeError('text must not be blank');
    const known = this.#messages.get(`m:${messageId}`);
    if (known) return { ...known };
    const { conversationId, user } = this.#o;
    // The body is fixed now: a retry after a reload with other user attributes would be a conflict.
    const body = JSON.stringify({ conversation_id: conversationId, message_id: messageId, text, user, metadata });
    const entry = { id: messageId, at: Date.now(), n: this.#outbox.length, text, body };
    this.#keep(entry);
    this.#enqueue(entry);
    void this.#flush();
    return { ...this.#messages.get(`m:${messageId}`) };
  }

  /**
   * Sends a failed message again as a new one. The new id follows from the old one, so two clicks (or two tabs) still
   * make one message: the bridge would answer a repeated old id with its old failure.
   */
  resend(messageId) {
    const message = this.#messages.get(`m:${messageId}`);
    if (!message?.mayResend) throw new FiniChatError('not_resendable', 'this message cannot be sent again');
    this.#update(message, { mayResend: false });
    return this.send(message.text, { messageId: nextId(messageId) });
  }

  /** Resolves with the message once the bridge has it; rejects when that has failed for good or the chat is closed. */
  accepted(messageId) {
    return new Promise((resolve, reject) => {
      const stop = (done, value) => { off(); this.#closed.signal.removeEventListener('abort', closed); done(value); };
      const closed = () => stop(reject, new FiniChatError('closed', 'the chat is closed'));
      const check = (message) => {
        if (message?.id !== messageId || message.origin === 'fini' || message.status === 'pending') return;
        if (message.status === 'failed') stop(reject, new FiniChatError(message.code, message.detail ?? message.code));
        else stop(resolve, message);
      };
      const off = this.on('message', check);
      this.#closed.signal.addEventListener('abort', closed);
      const known = this.#messages.get(`m:${messageId}`);
      if (this.#closed.signal.aborted) closed();
      else if (!known) stop(reject, new FiniChatError('not_found', 'no such message'));
      else check({ ...known });
    });
  }

  /** For pages that get tokens on their own. Wakes whatever waits for a better one. */
  setToken(token) {
    this.#keepToken(token);
    this.#wake();
  }

  /** Stops everything. What has not been accepted stays in storage for the next visit. */
  close() {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    clearTimeout(this.#typingTimer);
    this.#setConnection('closed');
    this.#listeners.clear();
  }

  // --- sending -----------------------------------------------------------------------------------------------------

  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    for (let attempt = 0; this.#outbox.length && !this.#closed.signal.aborted; attempt++) {
      const id = this.#outbox[0];
      try {
        await this.#post(id);
        this.#outbox.shift();
        this.#forget(id);
        attempt = -1;
      } catch (error) {
        await this.#wait(error, attempt);
      }
    }
    this.#sending = false;
  }

  async #post(id) {
    const message = this.#messages.get(`m:${id}`);
    if (!message || message.status !== 'pending') return; // its own feed event was faster than the answer
    const headers = { 'content-type': 'application/json' };
    const response = await this.#request('/v1/messages', { method: 'POST', headers, body: this.#bodies.get(id) });
    if (response.ok) {
      const answer = await response.json();
      // A portal or proxy that says 200 with a page of its own has stored nothing.
      if (answer?.message_id !== id) throw new FiniChatError('protocol', 'unexpected answer to a message');
      const status = answer.status in RANK ? answer.status : 'queued'; // `sending` is queued to a customer
      if (RANK[status] > RANK[message.status]) this.#update(message, { status }); // the feed may know more already
      this.#wake(); // nor may the feed have existed until now
      return;
    }
    const error = await problem(response);
    if (response.status === 401 || isTransient(response.status)) throw error;
    // Nothing was stored. Only a reused id could succeed as a new message; other content is refused again.
    const { code, message: detail } = error;
    this.#update(message, { status: 'failed', code, detail, mayResend: code === 'message_conflict' });
    this.#emit('error', error);
  }

  #enqueue({ id, at, text, body }) {
    const message = blank({ id, author: 'user', text, createdAt: new Date(at).toISOString(), origin: 'frontend', status: 'pending' });
    this.#messages.set(`m:${id}`, message);
    if (Date.now() - at > this.#o.pendingTtl) {
      this.#forget(id);
      this.#update(message, { status: 'failed', code: 'expired', detail: 'was never sent', mayResend: true });
    } else {
      this.#outbox.push(id);
      this.#bodies.set(id, body);
      this.#update(message, {});
    }
  }

  // One storage item per message: two tabs of one customer never overwrite each other's list.
  #keep(entry) {
    try { this.#storage?.setItem(this.#prefix + entry.id, JSON.stringify(entry)); } catch { /* full or forbidden: memory only */ }
  }

  #forget(id) {
    this.#bodies.delete(id);
    try { this.#storage?.removeItem(this.#prefix + id); } catch { /* as above */ }
  }

  #restore() {
    const found = [];
    try {
      for (let i = 0; i < (this.#storage?.length ?? 0); i++) {
        const key = this.#storage.key(i);
        if (key?.startsWith(this.#prefix)) found.push(parse(this.#storage.getItem(key)));
      }
    } catch { /* storage may be forbidden at any time */ }
    const whole = (entry) => entry && [entry.id, entry.text, entry.body].every((part) => typeof part === 'string');
    found.filter(whole).sort((a, b) => a.at - b.at || a.n - b.n).forEach((entry) => this.#enqueue(entry));
  }

  // --- the feed ----------------------------------------------------------------------------------------------------

  async #follow() {
    for (let attempt = 0; !this.#closed.signal.aborted; attempt++) {
      try {
        if (!this.#synced) await this.#catchUp();
        await this.#readStream(() => { attempt = Math.min(attempt, 1); });
        this.#setConnection('connecting'); // an orderly end: the bridge restarts, or a proxy's time is up
        await this.#pause(this.#backoff(attempt));
      } catch (error) {
        if (this.#closed.signal.aborted) return;
        const missing = error.status === 404 && error.code === 'not_found';
        if (missing) this.#empty();
        else this.#setConnection(globalThis.navigator?.onLine === false ? 'offline' : 'connecting');
        await this.#wait(error, attempt);
      }
    }
  }

  /** Pages through what was missed. The page is the authority: a number it leaves out does not exist any more. */
  async #catchUp() {
    for (let more = true; more; ) {
      const before = this.#last;
      const response = await this.#request(`${this.#path}/events?after=${before}&limit=500`);
      if (!response.ok) throw await problem(response);
      const page = await response.json();
      page.events.forEach((event) => this.#accept(event));
      more = page.has_more && this.#last > before;
    }
    this.#synced = true;
    this.#markReady();
  }

  async #readStream(onFirstByte) {
    const guard = this.#guard();
    this.#stream = guard;
    let watchdog;
    try {
      const alive = () => {
        this.#lastByte = Date.now();
        clearTimeout(watchdog);
        watchdog = setTimeout(guard.abort, this.#o.silence);
      };
      alive();
      const headers = { accept: 'text/event-stream', 'last-event-id': String(this.#last) };
      const response = await this.#request(`${this.#path}/stream`, { headers, guard });
      if (!response.ok) throw await problem(response);
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) throw new FiniChatError('protocol', 'not an event stream');
      this.#setConnection('online');
      const reader = response.body.getReader();
      const parser = new SseParser();
      for (let chunk; !(chunk = await reader.read()).done; onFirstByte()) {
        alive();
        for (const frame of parser.push(chunk.value)) await this.#frame(frame);
      }
    } finally {
      clearTimeout(watchdog);
      guard.abort();
      this.#setTyping(null); // hints are not repeated, so none may outlive the stream that carried it
    }
  }

  async #frame({ event, data }) {
    const payload = parse(data);
    if (!Number.isSafeInteger(payload?.sequence)) return this.#hint(event, payload ?? {});
    if (payload.sequence > this.#last + 1) await this.#catchUp();
    if (payload.sequence > this.#last + 1) throw new FiniChatError('gap', 'events are missing and cannot be read back yet');
    this.#accept(payload);
  }

  #accept(event) {
    if (!(event?.sequence > this.#last)) return;
    this.#last = event.sequence;
    if (event.conversation_id !== this.conversationId) return this.#emit('error', new FiniChatError('foreign_event', 'event of another conversation'));
    const data = event.data ?? {};
    if (event.type === 'message.created' && data.message) this.#onMessage(event, data);
    else if (event.type === 'message.updated') this.#onUpdate(data);
    else if (event.type === 'turn.completed') {
      this.#onTurn(data.message_id, { status: data.outcome === 'answered' ? 'answered' : 'stored', outcome: data.outcome });
    } else if (event.type === 'turn.failed') {
      const mayResend = data.may_resend === true && !this.#messages.has(`m:${nextId(data.message_id)}`);
      this.#onTurn(data.message_id, { status: 'failed', code: data.code, detail: data.detail ?? null, mayResend });
    } else if (event.type === 'conversation.escalated') this.#setState('escalated', data.status_text);
    else if (event.type === 'conversation.status_changed') this.#setState(data.state, data.status_text);
    else if (event.type === 'conversation.resolved') {
      if (data.resolved) this.#setState('resolved', this.statusText);
      else if (this.state === 'resolved') this.#setState('open', this.statusText);
    }
    if (this.state === 'new') this.#setState('open', null);
    this.#emit('event', event);
  }

  #onMessage({ sequence }, { message, origin, in_reply_to: inReplyTo = null }) {
    const own = origin === 'frontend';
    const key = `${own ? 'm' : 'e'}:${message.id}`;
    const { id, author, text, created_at: createdAt, articles = [], attachments = [], tags = [] } = message;
    const known = this.#messages.get(key) ?? blank({ status: own && author === 'user' ? 'queued' : null });
    this.#messages.set(key, known);
    // In the feed means accepted, also when the answer to the POST was lost and the message given up as expired.
    if (known.status === 'pending' || known.code === 'expired') Object.assign(known, { status: 'queued', code: null, detail: null, mayResend: false });
    this.#update(known, { id, author, text, createdAt, articles, attachments, tags, origin, inReplyTo, sequence });
    if (author !== 'user') this.#setTyping(null);
    // After a reload it is the feed that tells which failures have been sent again.
    const failed = own && this.#messages.get(`m:${previousId(id)}`);
    if (failed?.mayResend) this.#update(failed, { mayResend: false });
  }

  /** Fini changed what it said before. */
  #onUpdate({ message_id: id, changed = {} }) {
    const message = this.#messages.get(`e:${id}`);
    const known = ['text', 'articles', 'attachments', 'tags'].filter((name) => changed[name] !== undefined);
    if (message && known.length > 0) this.#update(message, Object.fromEntries(known.map((name) => [name, changed[name]])));
  }

  #onTurn(id, change) {
    const message = this.#messages.get(`m:${id}`);
    this.#setTyping(null);
    if (message) this.#update(message, change);
  }

  /** Stream-only hints carry no number and are not part of the feed. */
  #hint(event, data) {
    if (event === 'turn.started') this.#setTyping({ author: 'bot' }, 130_000);
    else if (event === 'typing') this.#setTyping(data.active === false ? null : { author: data.author ?? 'agent' }, 8_000);
  }

  /** No such conversation: not begun yet, or erased. What was shown of an erased one must go, and numbers start anew. */
  #empty() {
    this.#setConnection('online');
    if (this.#last > 0) {
      this.#last = 0;
      for (const [key, { sequence }] of this.#messages) if (sequence !== null) this.#messages.delete(key);
      this.#sorted = null;
      this.#synced = this.#ready = false;
      this.#setState('new', null);
      this.#emit('reset', undefined);
    }
    this.#markReady();
  }

  #markReady() {
    if (this.#ready) return;
    this.#ready = true;
    this.#emit('ready', undefined);
  }

  // --- requests and tokens -----------------------------------------------------------------------------------------

  async #request(path, { method, headers, body, guard } = {}) {
    const own = guard ?? this.#guard(this.#o.requestTimeout);
    for (let again = false; ; again = true) {
      const token = await this.#bearer();
      const response = await this.#o.fetch(this.#o.baseUrl + path, {
        method, body, headers: { ...headers, authorization: `Bearer ${token}` }, signal: own.signal,
        cache: 'no-store', credentials: 'omit', keepalive: Boolean(body) && body.length < 16_000, // outlives the page
      });
      if (response.status !== 401 || again || !this.#o.getToken) return response;
      if (this.#token.value === token) this.#token = { value: null, until: 0 };
      void response.body?.cancel();
    }
  }

  #bearer() {
    const { getToken, requestTimeout } = this.#o;
    if (!getToken || (this.#token.value && Date.now() < this.#token.until)) return this.#token.value;
    const late = () => new Promise((_, reject) => setTimeout(reject, requestTimeout, new FiniChatError('token', 'no token in time')));
    this.#refreshing ??= Promise.race([Promise.resolve().then(getToken), late()])
      .then((token) => this.#keepToken(token))
      .finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  #keepToken(given) {
    const value = typeof given === 'string' ? given : given?.token;
    if (!value) throw new FiniChatError('token', 'getToken gave no token');
    const { exp, iat } = claims(value);
    const left = exp * 1000 - Date.now();
    const life = (exp - (iat ?? exp - 3600)) * 1000;
    // A customer's clock may be hours off: a fresh token that looks expired is trusted for its own lifetime instead.
    const use = left > 0 ? Math.min(left, life) : life;
    this.#token = { value, until: exp ? Date.now() + use - Math.min(60_000, use / 5) : Infinity };
    return value;
  }

  /** Aborts on time-out, on `abort()` and when the chat closes. */
  #guard(ms) {
    const controller = new AbortController();
    const abort = () => {
      clearTimeout(timer);
      this.#closed.signal.removeEventListener('abort', abort);
      controller.abort();
    };
    const timer = ms && setTimeout(abort, ms);
    this.#closed.signal.addEventListener('abort', abort);
    return { signal: controller.signal, abort };
  }

  // --- waiting and waking ------------------------------------------------------------------------------------------

  #listenToBrowser() {
    const { signal } = this.#closed;
    const listen = (target, type, fn) => target?.addEventListener?.(type, fn, { signal });
    const restart = () => { this.#stream?.abort(); this.#wake(); }; // the old connection may be dead without a word
    listen(globalThis, 'online', restart);
    listen(globalThis, 'pageshow', (event) => event.persisted && restart());
    listen(globalThis, 'offline', () => { this.#setConnection('offline'); this.#stream?.abort(); });
    listen(globalThis.document, 'visibilitychange', () => {
      if (document.visibilityState !== 'visible') return;
      if (Date.now() - this.#lastByte > this.#o.silence) this.#stream?.abort(); // the tab slept through its own watchdog
      this.#wake();
    });
  }

  /** After a failure: the server's own wish is kept to the letter, everything else may be cut short by `#wake`. */
  #wait(error, attempt) {
    const refused = error.status === 401 || error.status === 403 || error.code === 'token' || error.code === 'gap';
    if (refused && !this.#closed.signal.aborted) this.#emit('error', error);
    if (error.retryAfter !== undefined) return this.#pause(error.retryAfter + Math.random() * this.#o.minDelay, true);
    if (error.status === 401 || error.status === 403) return this.#pause(this.#o.maxDelay);
    // A conversation that does not exist yet mostly begins with our own message, which wakes us: looking is a side line.
    return this.#pause(error.status === 404 ? Math.min(10 * this.#backoff(attempt), this.#o.maxDelay) : this.#backoff(attempt));
  }

  #backoff(attempt) {
    const { minDelay, maxDelay } = this.#o;
    return Math.min(maxDelay, minDelay * 2 ** Math.min(attempt, 20)) * (0.5 + Math.random() / 2);
  }

  #pause(ms, firm = false) {
    const { signal } = this.#closed;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wakers.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      if (!firm) this.#wakers.add(done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  #wake() {
    for (const done of [...this.#wakers]) done();
  }

  // --- what listeners see ------------------------------------------------------------------------------------------

  #update(message, change) {
    Object.assign(message, change);
    this.#sorted = null;
    this.#emit('message', { ...message });
  }

  #setState(state, statusText = null) {
    const previous = this.#state.state;
    if (previous === state && this.#state.statusText === statusText) return;
    this.#state = { state, statusText };
    this.#emit('state', { state, previous, statusText });
  }

  #setConnection(connection) {
    if (connection === this.#connection || this.#connection === 'closed') return;
    this.#connection = connection;
    this.#emit('connection', connection);
  }

  #setTyping(typing, ms) {
    clearTimeout(this.#typingTimer);
    if (typing) this.#typingTimer = setTimeout(() => this.#setTyping(null), ms);
    if (typing?.author === this.#typing?.author) return;
    this.#typing = typing;
    this.#emit('typing', typing);
  }

  #emit(type, value) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      // A listener's fault is reported as its own, and never stops the feed.
      try { listener(value); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }
}

const blank = (fields) => ({
  id: '', author: 'user', text: '', createdAt: '', sequence: null, origin: 'fini', inReplyTo: null, articles: [], attachments: [],
  tags: [], status: null, outcome: null, code: null, detail: null, mayResend: false, ...fields,
});

/** `m`, `m~2`, `m~3` …: the ids of one text sent again. */
function nextId(id) {
  const [, base, count] = /^(.*?)(?:~(\d+))?$/s.exec(id);
  const next = `${base}~${Number(count ?? 1) + 1}`;
  return next.length <= 200 ? next : uuid();
}

function previousId(id) {
  const [, base, count] = /^(.*?)(?:~(\d+))?$/s.exec(id);
  return count > 2 ? `${base}~${count - 1}` : count === '2' && base;
}

/** `crypto.randomUUID` exists in secure contexts only; a development page on plain http has `getRandomValues`. */
function uuid() {
  if (globalThis.crypto.randomUUID) return globalThis.crypto.randomUUID();
  const hex = [...globalThis.crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0'));
  return hex.join('');
}

function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}

/** The payload of a JWT, unverified: only the bridge can judge it, we want to know when to ask for the next. */
function claims(token) {
  const part = token.split('.')[1]?.replace(/-/g, '+').replace(/_/g, '/') ?? '';
  try { return JSON.parse(atob(part)) ?? {}; } catch { return {}; }
}

const isTransient = (status) => status >= 500 || [408, 425, 429].includes(status);

/** A problem document (RFC 9457), or whatever a proxy put in its place. */
async function problem(response) {
  const body = parse(await response.text().catch(() => '')) ?? {};
  const header = response.headers.get('retry-after') ?? ''; // seconds or a date (RFC 9110, 10.2.3)
  const wanted = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return new FiniChatError(body.code ?? `http_${response.status}`, body.detail ?? body.title ?? `answered ${response.status}`, {
    status: response.status,
    requestId: body.request_id ?? response.headers.get('x-request-id'),
    errors: body.errors ?? [],
    // An absurd wish (a broken clock, a maintenance page) must not silence a chat for a day.
    retryAfter: wanted >= 0 ? Math.min(wanted, 300_000) : undefined,
  });
}

function browserStorage() {
  try { return globalThis.localStorage; } catch { return null; } // blocked cookies make the mere access throw
}
