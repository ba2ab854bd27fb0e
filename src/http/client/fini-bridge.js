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
  greeting: 10_000, // ms until the first byte of a stream (the bridge greets at once); later, something holds it back
  settled: 5_000, // ms that a stream must live, or bring an event in, until its end is no failure
  requestTimeout: 30_000, // ms for one POST or one page of events
  pendingTtl: 86_400_000, // ms; an unsent message older than this is not sent behind its author's back
};
const MAX_LINE = 4 * 1024 * 1024;
const MUTE_STREAMS = 3; // streams in a row without a byte until pages are read instead
const STREAM_EVERY = 5; // and then every so many pages a stream is tried again
const TRIES = 5; // failures of one message, while others get through, until the next one is tried in its place
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
  #retry = 0;

  /** The reconnection time that the stream asked for, in ms; 0 where it did not. */
  get retry() { return this.#retry; }

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
    else if (field === 'retry' && /^\d+$/.test(value)) this.#retry = Number(value);
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
  #snapshot = null;
  #changing = false;
  #page = null; // while a page is taken in: the messages that it changed, told once each at its end
  #last = 0;
  #outbox = []; // message ids, oldest first: one POST at a time keeps the order they were typed in
  #unsent = new Map(); // id -> { body, at, tries, failedAt }
  #sending = false;
  #synced = false; // the feed has been read up to its end once
  #ready = false;
  #token = { value: null, until: Infinity };
  #refreshing = null;
  #state = { state: 'new', statusText: null };
  #connection = 'connecting';
  #typing = null;
  #typingTimer;
  #connectionTimer;
  #stream = null;
  #spoke = false; // the present stream has brought a byte
  #wantsStream = false;
  #lastByte = 0;
  #alive = -1; // when the bridge was last heard, by a clock that nobody sets
  #reported = null; // the code of the trouble that was told last, so that one trouble is told once
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
    this.#sorted ??= Object.freeze([...this.#messages.values()].sort((a, b) => (a.sequence ?? Infinity) - (b.sequence ?? Infinity) || 0));
    return this.#sorted;
  }

  /** Everything that one draws, the same object until something changes; with `subscribe`, what React's store hook asks for. */
  get getSnapshot() { return this.#getSnapshot; }
  get subscribe() { return this.#subscribe; }

  #subscribe = (listener) => this.on('change', listener);
  #getSnapshot = () => {
    const { messages, state, statusText, connection, typing, ready } = this;
    return (this.#snapshot ??= Object.freeze({ messages, state, statusText, connection, typing, ready }));
  };

  on(type, listener) {
    const set = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, set.add(listener));
    return () => set.delete(listener);
  }

  /** Shows the message at once and sends it until the bridge has it. The same `messageId` never makes a second one. */
  send(text, { messageId = uuid(), metadata } = {}) {
    if (this.#closed.signal.aborted) throw new FiniChatError('closed', 'the chat is closed');
    if (typeof text !== 'string' || !text.trim()) throw new TypeError('text must not be blank');
    text = wellFormed(text);
    const known = this.#messages.get(`m:${messageId}`);
    if (known) return known;
    const { conversationId, user } = this.#o;
    // The body is fixed now: a retry after a reload with other user attributes would be a conflict.
    const body = JSON.stringify({ conversation_id: conversationId, message_id: messageId, text, user, metadata });
    const entry = { id: messageId, at: Date.now(), n: this.#outbox.length, text, body };
    this.#keep(entry);
    this.#enqueue(entry);
    void this.#flush();
    return this.#messages.get(`m:${messageId}`);
  }

  /** Takes a message out that is not accepted yet, or has failed. Should the bridge have it all the same, the feed shows it. */
  discard(messageId) {
    const message = this.#messages.get(`m:${messageId}`);
    if (message?.status !== 'pending' && message?.status !== 'failed') return false;
    this.#drop(messageId);
    if (message.sequence === null) this.#messages.delete(`m:${messageId}`);
    else this.#update(message, { mayResend: false });
    this.#changed();
    return true;
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
      else check(known);
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
    this.#emit('change', undefined);
    this.#listeners.clear();
  }

  // --- sending -----------------------------------------------------------------------------------------------------

  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    let attempt = 0;
    while (this.#outbox.length && !this.#closed.signal.aborted) {
      const [id, next] = this.#outbox;
      const error = await this.#try(id);
      if (!error) attempt = 0;
      else if (this.#isStuck(id, error) && next && !(await this.#try(next))) {
        // Others get through, this one never does: a filter in between dislikes it, say.
        this.#fail(id, new FiniChatError('undeliverable', 'this message does not get through', { cause: error }), true);
        attempt = 0;
      } else await this.#wait(error, attempt++);
    }
    this.#sending = false;
  }

  /** Tries a message once; what came in the way, if it is worth another try. */
  async #try(id) {
    const unsent = this.#unsent.get(id);
    if (unsent && Date.now() - unsent.at > this.#o.pendingTtl) this.#fail(id, new FiniChatError('expired', 'was never sent'), true);
    try {
      await this.#post(id);
      this.#drop(id);
      this.#reported = null;
      return null;
    } catch (error) {
      return ours(error);
    }
  }

  /** Whether a message has failed again and again while the bridge was heard otherwise. */
  #isStuck(id, { code }) {
    const unsent = this.#unsent.get(id);
    if (!unsent || code === 'token') return false;
    unsent.failedAt ??= performance.now();
    unsent.tries += 1;
    return unsent.tries >= TRIES && this.#alive > unsent.failedAt;
  }

  async #post(id) {
    const message = this.#messages.get(`m:${id}`);
    if (!message || message.status !== 'pending') return; // its own feed event was faster than the answer
    const headers = { 'content-type': 'application/json' };
    const response = await this.#request('/v1/messages', { method: 'POST', headers, body: this.#unsent.get(id).body });
    if (response.ok) {
      const answer = await response.json().catch(() => null);
      // A portal or proxy that says 200 with a page of its own has stored nothing.
      if (answer?.message_id !== id) throw new FiniChatError('protocol', 'unexpected answer to a message');
      this.#alive = performance.now();
      const status = answer.status in RANK ? answer.status : 'queued'; // `sending` is queued to a customer
      const present = this.#messages.get(`m:${id}`);
      if (present && RANK[status] > RANK[present.status]) this.#update(present, { status }); // the feed may know more already
      // Its answer comes by the feed: by pages, where the stream has not brought a byte so far.
      if (this.#stream && !this.#spoke) this.#stream.abort();
      this.#wake(); // nor may the feed have existed until now
      return;
    }
    const error = await problem(response);
    // Only the bridge's own word is final; anything else came from something in between.
    if (!error.isFinal) throw error;
    this.#alive = performance.now();
    // Nothing was stored. Only a reused id could succeed as a new message; other content is refused again.
    this.#fail(id, error, error.code === 'message_conflict');
  }

  #fail(id, error, mayResend) {
    const message = this.#messages.get(`m:${id}`);
    this.#drop(id);
    const { code, message: detail, errors = [] } = error;
    const isPending = message?.status === 'pending';
    if (isPending) this.#update(message, { status: 'failed', code, detail, errors, mayResend });
    // The feed may have brought another message of this id meanwhile: then the refusal is told all the same.
    if (isPending ? code !== 'expired' : error.isFinal) this.#emit('error', error);
  }

  #enqueue({ id, at, text, body }) {
    const message = blank({ id, author: 'user', text, createdAt: new Date(at).toISOString(), origin: 'frontend', status: 'pending' });
    this.#outbox.push(id);
    this.#unsent.set(id, { body, at, tries: 0, failedAt: null });
    this.#update(message, {});
  }

  /** It is no longer to be sent. */
  #drop(id) {
    this.#outbox = this.#outbox.filter((other) => other !== id);
    this.#unsent.delete(id);
    this.#forget(id);
  }

  // One storage item per message: two tabs of one customer never overwrite each other's list.
  #keep(entry) {
    try { this.#storage?.setItem(this.#prefix + entry.id, JSON.stringify(entry)); } catch { /* full or forbidden: memory only */ }
  }

  #forget(id) {
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
    let attempt = 0; // failures in a row
    let mute = 0; // streams in a row that brought nothing
    const unheard = () => {
      this.#synced = false; // pages say what it did not
      mute += 1;
      if (mute === MUTE_STREAMS) this.#report(new FiniChatError('no_stream', 'no event stream gets through; pages are read instead'));
    };
    for (let round = 0; !this.#closed.signal.aborted; round++) {
      try {
        const paging = mute >= MUTE_STREAMS && !this.#wantsStream && round % STREAM_EVERY !== 0;
        const before = this.#last;
        if (!this.#synced || paging) await this.#catchUp();
        if (paging) {
          this.#setConnection('online');
          attempt = this.#last > before ? 0 : attempt + 1;
          await this.#pause(this.#backoff(attempt));
          continue;
        }
        this.#wantsStream = false;
        const { settled, retry } = await this.#readStream();
        // An end like any other: the bridge restarts, or a proxy's time is up.
        if (settled) [attempt, mute] = [0, 0];
        else unheard();
        this.#setConnection('connecting', 1_000);
        await this.#pause(Math.max(retry, this.#backoff(attempt++)));
      } catch (thrown) {
        if (this.#closed.signal.aborted) return;
        const error = ours(thrown);
        const missing = error.status === 404 && error.code === 'not_found';
        if (this.#wantsStream) attempt = 0; // somebody came back while this try was under way
        if (error.code === 'mute') unheard();
        else if (missing) this.#empty();
        else this.#setConnection(globalThis.navigator?.onLine === false ? 'offline' : 'connecting');
        await this.#wait(error, attempt++);
      }
    }
  }

  /** Pages through what was missed. The page is the authority: a number it leaves out does not exist any more. */
  async #catchUp() {
    for (let more = true; more; ) {
      const before = this.#last;
      const response = await this.#request(`${this.#path}/events?after=${before}&limit=500`);
      if (!response.ok) throw await problem(response);
      const page = await response.json().catch(() => null);
      if (!Array.isArray(page?.events)) throw new FiniChatError('protocol', 'not a page of events');
      this.#alive = performance.now();
      if (page.reset) this.#reset();
      this.#page = new Set();
      page.events.forEach((event) => this.#accept(event));
      const told = this.#page;
      this.#page = null;
      for (const key of told) if (this.#messages.has(key)) this.#emit('message', this.#messages.get(key));
      more = page.has_more && (this.#last > before || page.reset);
    }
    this.#synced = true;
    this.#reported = null;
    this.#markReady();
  }

  /** Reads a stream to its end; whether it was one to rely on, and the pause that it asked for. */
  async #readStream() {
    const guard = this.#guard();
    this.#stream = guard;
    this.#spoke = false;
    const began = performance.now();
    const first = this.#last;
    const parser = new SseParser();
    let watchdog;
    const within = (ms) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(guard.abort, ms);
    };
    try {
      within(this.#o.greeting);
      const headers = { accept: 'text/event-stream', 'last-event-id': String(this.#last) };
      const response = await this.#request(`${this.#path}/stream`, { headers, guard });
      if (!response.ok) throw await problem(response);
      const reader = response.body?.getReader?.();
      const type = response.headers.get('content-type') ?? '';
      if (!reader || !type.startsWith('text/event-stream')) throw new FiniChatError('mute', 'not an event stream');
      this.#setConnection('online');
      for (let chunk; !(chunk = await reader.read()).done; ) {
        [this.#spoke, this.#lastByte, this.#alive] = [true, Date.now(), performance.now()];
        within(this.#o.silence);
        for (const frame of parser.push(chunk.value)) await this.#frame(frame);
      }
      if (!this.#spoke) throw new FiniChatError('mute', 'the stream ended before it began');
      return { settled: this.#last > first || performance.now() - began > this.#o.settled, retry: parser.retry };
    } catch (thrown) {
      const error = ours(thrown);
      // Refused by the bridge for its number, cut off, or held back by something in between: pages may get through.
      const refused = error.status === 429 || error.status >= 500;
      const held = !this.#spoke && error.status === 0 && error.code === 'network' && guard.signal.aborted;
      if (!this.#closed.signal.aborted && (refused || held)) throw new FiniChatError('mute', error.message, { retryAfter: error.retryAfter, cause: error });
      throw error;
    } finally {
      clearTimeout(watchdog);
      guard.abort();
      this.#stream = null;
      this.#setTyping(null); // hints are not repeated, so none may outlive the stream that carried it
    }
  }

  async #frame({ event, data }) {
    const payload = parse(data);
    if (event === 'feed.reset') return this.#reset(); // what comes now begins at 1
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
    else if (event.type === 'turn.completed') {
      this.#onTurn(data.message_id, { status: data.outcome === 'answered' ? 'answered' : 'stored', outcome: data.outcome });
    } else if (event.type === 'turn.failed') {
      const mayResend = data.may_resend === true && !this.#messages.has(`m:${nextId(data.message_id)}`);
      this.#onTurn(data.message_id, { status: 'failed', code: data.code, detail: data.detail ?? null, mayResend });
    } else if (event.type === 'conversation.escalated') this.#setState('escalated', data.status_text);
    else if (event.type === 'conversation.status_changed') this.#setState(data.state, data.status_text);
    else if (event.type === 'conversation.continued') this.#setState('continued', this.statusText);
    else if (event.type === 'message.updated') this.#onUpdate(data.message_id, data.changed ?? {});
    else if (event.type === 'conversation.resolved') {
      if (data.resolved) this.#setState('resolved', this.statusText);
      else if (this.state === 'resolved') this.#setState('open', this.statusText);
    }
    if (this.state === 'new') this.#setState('open', null);
    this.#emit('event', event);
  }

  #onMessage({ sequence }, { message, origin, in_reply_to: inReplyTo = null }) {
    const own = origin === 'frontend';
    const { id, author, text, created_at: createdAt, articles = [], attachments = [], tags = [] } = message;
    const known = this.#messages.get(`${own ? 'm' : 'e'}:${id}`) ?? blank({ id, origin, status: own && author === 'user' ? 'queued' : null });
    // In the feed means accepted, also when the answer to the POST was lost and the message was given up here.
    const accepted = known.status === 'pending' || ['expired', 'undeliverable'].includes(known.code) ? { status: 'queued', code: null, detail: null, mayResend: false } : {};
    this.#update(known, { ...accepted, author, text, createdAt, articles, attachments, tags, inReplyTo, sequence });
    if (author !== 'user') this.#setTyping(null);
    // After a reload it is the feed that tells which failures have been sent again.
    const failed = own && this.#messages.get(`m:${previousId(id)}`);
    if (failed?.mayResend) this.#update(failed, { mayResend: false });
  }

  #onUpdate(id, { text, articles, attachments, tags }) {
    const message = this.#messages.get(`e:${id}`);
    const given = Object.entries({ text, articles, attachments, tags }).filter(([, value]) => value !== undefined);
    if (message) this.#update(message, Object.fromEntries(given));
  }

  #onTurn(id, change) {
    const message = this.#messages.get(`m:${id}`);
    this.#setTyping(null);
    if (message) this.#update(message, change);
  }

  /** Stream-only hints carry no number and are not part of the feed. */
  #hint(event, data) {
    if (event === 'turn.started') this.#setTyping({ author: 'bot' }, 130_000);
    else if (event === 'turn.delayed') this.#emit('delayed', { messageId: data.message_id, expectedAt: data.expected_at ?? null });
    else if (event === 'read.updated') this.#emit('read', { sequence: data.sequence });
    else if (event === 'typing') this.#setTyping(data.active === false ? null : { author: data.author ?? 'agent' }, 8_000);
  }

  /** No such conversation: not begun yet, or erased. What was shown of an erased one must go, and numbers start anew. */
  #empty() {
    this.#setConnection('online');
    if (this.#last > 0) {
      this.#synced = this.#ready = false;
      this.#reset();
    }
    this.#markReady();
  }

  /** The feed begins anew: what was shown of the old one must go. */
  #reset() {
    this.#last = 0;
    for (const [key, { sequence }] of this.#messages) if (sequence !== null) this.#messages.delete(key);
    this.#setState('new', null);
    this.#emit('reset', undefined);
    this.#changed();
  }

  #markReady() {
    if (this.#ready) return;
    this.#ready = true;
    this.#emit('ready', undefined);
    this.#changed();
  }

  // --- requests and tokens -----------------------------------------------------------------------------------------

  async #request(path, { method, headers, body, guard } = {}) {
    const own = guard ?? this.#guard(this.#o.requestTimeout);
    for (let again = false; ; again = true) {
      const token = await this.#bearer();
      const response = await this.#fetch(this.#o.baseUrl + path, {
        method, body, headers: { ...headers, authorization: `Bearer ${token}` }, signal: own.signal,
        cache: 'no-store', credentials: 'omit', keepalive: Boolean(body) && body.length < 16_000, // outlives the page
      });
      if (response.status !== 401 || again || !this.#o.getToken) return response;
      if (this.#token.value === token) this.#token = { value: null, until: 0 };
      void response.body?.cancel?.();
    }
  }

  /** The page's own `fetch` may do anything; what comes back is an answer or an error of ours. */
  async #fetch(url, init) {
    try {
      const response = await this.#o.fetch(url, init);
      if (typeof response?.status === 'number' && response.headers) return response;
    } catch (cause) {
      throw new FiniChatError('network', 'the bridge could not be reached', { cause });
    }
    throw new FiniChatError('network', 'fetch gave no answer');
  }

  /** A token; however the page's `getToken` fails, the error is ours. */
  #bearer() {
    const { getToken, requestTimeout } = this.#o;
    if (!getToken || (this.#token.value && Date.now() < this.#token.until)) return this.#token.value;
    this.#refreshing ??= new Promise((resolve, reject) => {
      const end = (done, value) => {
        clearTimeout(timer);
        this.#closed.signal.removeEventListener('abort', closed);
        this.#refreshing = null;
        done(value);
      };
      const fail = (message, cause) => end(reject, new FiniChatError('token', message, { cause }));
      const closed = () => fail('the chat is closed');
      const timer = setTimeout(fail, requestTimeout, 'no token in time');
      this.#closed.signal.addEventListener('abort', closed);
      Promise.resolve().then(getToken).then((token) => this.#keepToken(token)).then((value) => end(resolve, value), (cause) => fail('getToken failed', cause));
    });
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
    const restart = () => { this.#wantsStream = true; this.#stream?.abort(); this.#wake(); }; // the old connection may be dead without a word
    listen(globalThis, 'online', restart);
    listen(globalThis, 'pageshow', (event) => event.persisted && restart());
    listen(globalThis, 'offline', () => { this.#setConnection('offline'); this.#stream?.abort(); });
    listen(globalThis.document, 'visibilitychange', () => {
      if (document.visibilityState !== 'visible') return;
      if (Date.now() - this.#lastByte > this.#o.silence) this.#stream?.abort(); // the tab slept through its own watchdog
      this.#wake();
    });
  }

  /** After a failure: the larger of the server's wish and our own patience; only the latter may be cut short by `#wake`. */
  #wait(error, attempt) {
    if ([401, 403].includes(error.status) || ['token', 'gap'].includes(error.code)) this.#report(error);
    const { maxDelay } = this.#o;
    const isHidden = globalThis.document?.visibilityState === 'hidden';
    let own = this.#backoff(attempt);
    if (error.status === 401 || error.status === 403) own = maxDelay;
    // A conversation that does not exist yet mostly begins with our own message, which wakes us; a greeting may begin it too.
    else if (error.status === 404) own = Math.min(10 * own, isHidden ? maxDelay : 5_000, maxDelay);
    if (error.retryAfter === undefined) return this.#pause(own);
    return this.#pause(Math.max(error.retryAfter, own) * (1 + Math.random() / 2), true);
  }

  /** Tells a trouble once, until something works again or another one comes. */
  #report(error) {
    if (this.#closed.signal.aborted || this.#reported === error.code) return;
    this.#reported = error.code;
    this.#emit('error', error);
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

  /** Messages are never changed in place: who has one keeps what it was. */
  #update(message, change) {
    const key = `${message.origin === 'fini' ? 'e' : 'm'}:${message.id}`;
    const present = Object.freeze({ ...(this.#messages.get(key) ?? message), ...change });
    this.#messages.set(key, present);
    this.#changed();
    if (this.#page) this.#page.add(key);
    else this.#emit('message', present);
  }

  /** One `change` for all that changes at once. */
  #changed() {
    this.#sorted = this.#snapshot = null;
    if (this.#changing) return;
    this.#changing = true;
    queueMicrotask(() => {
      this.#changing = false;
      this.#emit('change', undefined);
    });
  }

  #setState(state, statusText = null) {
    const previous = this.#state.state;
    if (previous === state && this.#state.statusText === statusText) return;
    this.#state = { state, statusText };
    this.#changed();
    this.#emit('state', { state, previous, statusText });
  }

  /** `late` ms from now, unless something else is the case by then: a quick reconnection is nobody's business. */
  #setConnection(connection, late = 0) {
    clearTimeout(this.#connectionTimer);
    if (connection === this.#connection || this.#connection === 'closed') return;
    if (late) {
      this.#connectionTimer = setTimeout(() => this.#setConnection(connection), late);
      return;
    }
    this.#connection = connection;
    this.#changed();
    this.#emit('connection', connection);
  }

  #setTyping(typing, ms) {
    clearTimeout(this.#typingTimer);
    if (typing) this.#typingTimer = setTimeout(() => this.#setTyping(null), ms);
    if (typing?.author === this.#typing?.author) return;
    this.#typing = typing;
    this.#changed();
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
  tags: [], status: null, outcome: null, code: null, detail: null, errors: [], mayResend: false, ...fields,
});

/** Whatever was thrown, as an error of ours. */
const ours = (thrown) => (thrown instanceof FiniChatError ? thrown : new FiniChatError('network', String(thrown?.message ?? thrown), { cause: thrown }));

/** Half a character, as a cut string leaves it, is no text that JSON may carry. */
function wellFormed(text) {
  return text.toWellFormed?.() ?? text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}

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

/** Refusals that pass: later, or with another token, the same request may succeed. */
const isTransient = (status) => status >= 500 || [401, 408, 425, 429].includes(status);

/** A problem document (RFC 9457), or whatever a proxy put in its place. */
async function problem(response) {
  const body = parse(await response.text().catch(() => '')) ?? {};
  const header = response.headers.get('retry-after') ?? ''; // seconds or a date (RFC 9110, 10.2.3)
  const wanted = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json') && typeof body.code === 'string';
  return new FiniChatError(isProblem ? body.code : `http_${response.status}`, (isProblem && (body.detail ?? body.title)) || `answered ${response.status}`, {
    status: response.status,
    isFinal: Boolean(isProblem) && !isTransient(response.status),
    requestId: body.request_id ?? response.headers.get('x-request-id'),
    errors: body.errors ?? [],
    // An absurd wish (a broken clock, a maintenance page) must not silence a chat for a day.
    retryAfter: wanted >= 0 ? Math.min(wanted, 300_000) : undefined,
  });
}

function browserStorage() {
  try { return globalThis.localStorage; } catch { return null; } // blocked cookies make the mere access throw
}
