/**
 * Browser client for fini-bridge.
 *
 * One conversation: messages in, the ordered feed out. What it keeps: a message is accepted by the bridge once however often it is tried (same `message_id`, same bytes);
 * feed events reach listeners once, in `sequence` order, without gaps. The tabs of an origin that show one conversation share
 * one stream and one queue. It draws nothing: every text it hands out is plain text and must be set with `textContent`.
 */

const DEFAULTS = {
  minDelay: 500, // ms, first retry
  maxDelay: 30_000, // ms, ceiling of the exponential backoff
  silence: 45_000, // ms without a byte (the bridge sends a comment every 15 s) until a stream counts as dead
  greeting: 10_000, // ms until the first byte of a stream (the bridge greets at once); later, something holds it back
  settled: 5_000, // ms that a stream must live, or bring an event in, until its end is no failure
  hidden: 5_000, // ms out of sight after which a tab gives its stream up and reads pages
  requestTimeout: 30_000, // ms for one POST or one page of events
  pendingTtl: 86_400_000, // ms; an unsent message older than this is not sent behind its author's back
};
const MAX_LINE = 4 * 1024 * 1024;
const MAX_WISH = 300_000; // ms; an absurd wish (a broken clock, a maintenance page) must not silence a chat for a day
const MUTE_STREAMS = 3; // streams in a row without a byte until pages are read instead
const STREAM_EVERY = 5; // and then every so many pages a stream is tried again
const TRIES = 5; // failures of one message, while others get through, until the next one is tried in its place
const TELL = 2; // failures in a row before the one that is told
const BEAT = 5_000; // ms between two signs of life of the tab that leads
const FAILED_TTL = 7 * 86_400_000; // ms that a failed message is remembered
const RANK = { pending: 0, queued: 1, stored: 2, answered: 2, failed: 2 };
const BOT = Object.freeze({
  speaker: 'bot', reason: null, requestedAt: null, claimedAt: null, agent: null, agents: Object.freeze([]), position: null, expectedWaitSeconds: null, deskOpen: null, nextOpen: null,
});

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

/**
 * The tabs of one origin that show the same conversation. One at a time leads (it holds the lock); they hear each other. Where
 * the browser has no locks or refuses them, the tab is alone.
 */
class Tabs {
  leads = false;
  alone = true;
  #name;
  #hear;
  #changed;
  #channel = null;
  #waiting = null;
  #release = null;

  constructor(name, hear, changed) {
    [this.#name, this.#hear, this.#changed] = [name, hear, changed];
    this.open();
  }

  open() {
    if (this.#channel || !globalThis.document) return;
    try {
      const channel = new globalThis.BroadcastChannel(this.#name);
      channel.onmessage = ({ data }) => this.#channel === channel && this.#hear(data ?? {});
      this.#channel = channel;
      this.alone = false;
      this.#queue();
    } catch { this.close(); } // neither is to be had in some frames
  }

  #queue() {
    const waiting = (this.#waiting = new AbortController());
    const hold = () => new Promise((release) => {
      if (waiting.signal.aborted) return release();
      this.#release = release;
      this.leads = true;
      return this.#changed();
    });
    globalThis.navigator.locks.request(this.#name, { signal: waiting.signal }, hold).catch(() => {
      if (this.#waiting !== waiting) return;
      this.close();
      this.#changed();
    });
  }

  post(message) {
    try { this.#channel?.postMessage(message); } catch { /* closed by the browser */ }
  }

  /** Lets another tab lead, and stands at the end of the line again. */
  yield() {
    if (!this.leads) return;
    this.leads = false;
    this.#release();
    this.#queue();
  }

  /** Holds nothing any more: a page that sleeps with a lock would keep the others from working, and out of the back/forward cache. */
  close() {
    const [waiting, release, channel] = [this.#waiting, this.#release, this.#channel];
    this.#waiting = this.#release = this.#channel = null;
    this.leads = false;
    this.alone = true;
    waiting?.abort();
    release?.();
    channel?.close();
  }
}

/** One customer's conversation. See `fini-bridge.d.ts` for every option and event. */
export class FiniChat {
  #o;
  #path;
  #prefix;
  #storage;
  #tabs;
  #beats;
  #heardAt = -Infinity; // when the leading tab was last heard, by a clock that nobody sets
  #told = 'connecting'; // the leading tab's connection
  #ahead = 0; // the largest sequence that another tab has spoken of
  #isHidden = false; // out of sight for so long that its stream is given up
  #hiddenTimer;
  #listeners = new Map();
  #messages = new Map(); // key -> message; own ones under `m:`, what Fini wrote under `e:`
  #places = new Map(); // message id -> where among the sequences a failed message is shown
  #sorted = null;
  #snapshot = null;
  #changing = false;
  #page = null; // while a page is taken in: the messages that it changed, told once each at its end
  #last = 0;
  #lastId = null;
  #feed = 0; // counts the feeds: an erased one begins anew
  #read = 0;
  #outbox = []; // { id, n, at, text, body, … } in the order typed: one POST at a time keeps it
  #gone = new Set(); // ids taken out: storage lags between tabs
  #sending = false;
  #tried = null; // what was tried last
  #synced = false; // the feed has been read up to its end
  #ready = false;
  #token = { value: null, until: Infinity };
  #refreshing = null;
  #state = { state: 'new', statusText: null };
  #handoff = BOT;
  #connection = 'connecting';
  #typing = null;
  #typingTimer;
  #connectionTimer;
  #stream = null;
  #spoke = false; // the present stream has brought a byte
  #held = false; // the present stream was given up for bringing none
  #wantsStream = false;
  #hurries = false; // news is likely: pages are asked for quickly again
  #lastByte = 0;
  #alive = -Infinity; // when the bridge was last heard, by a clock that nobody sets
  #reported = null; // the code of the trouble that was told last, so that one trouble is told once
  #calls = new Set(); // requests under way, other than the stream
  #wakers = new Set();
  #closed = new AbortController();

  constructor(options) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#o = { ...DEFAULTS, baseUrl: '', share: true, fetch: (...args) => globalThis.fetch(...args), ...given };
    const { baseUrl, conversationId, token, getToken, share } = this.#o;
    if (!conversationId) throw new TypeError('conversationId is required');
    if (!token && !getToken) throw new TypeError('token or getToken is required');
    this.#o.baseUrl = baseUrl.replace(/\/+$/, '');
    this.#path = `/v1/conversations/${encodeURIComponent(conversationId)}`;
    // Encoded, because ids may hold colons: `a` must not find what waits for `a:b`.
    const name = `fini-bridge:${encodeURIComponent(this.#o.baseUrl)}:${encodeURIComponent(conversationId)}`;
    this.#prefix = `${name}:`;
    this.#storage = options.storage === undefined ? browserStorage() : options.storage;
    if (token) this.#keepToken(token);
    this.#restore();
    this.#isHidden = isHidden();
    if (share) {
      this.#tabs = new Tabs(`${name}/1`, (message) => this.#hear(message), () => this.#lead());
      this.#expectLeader();
      this.#tabs.post({ type: 'want', isHidden: this.#isHidden });
      if (!this.#tabs.alone) this.#beats = setInterval(() => this.#beat(), BEAT);
    }
    this.#listenToBrowser();
    void this.#follow();
    void this.#flush();
  }

  get conversationId() { return this.#o.conversationId; }
  get state() { return this.#state.state; }
  get statusText() { return this.#state.statusText; }
  get handoff() { return this.#handoff; }
  get connection() { return this.#connection; }
  get typing() { return this.#typing; }
  get lastSequence() { return this.#last; }
  get readSequence() { return this.#read; }
  get ready() { return this.#ready; }

  /** The conversation as one would draw it: the feed's order, what failed at its place, then what the bridge has not accepted yet. */
  get messages() {
    const place = ({ id, sequence }) => sequence ?? this.#places.get(id) ?? Infinity;
    this.#sorted ??= Object.freeze([...this.#messages.values()].sort((a, b) => place(a) - place(b) || 0));
    return this.#sorted;
  }

  /** Everything that one draws, the same object until something changes; with `subscribe`, what React's store hook asks for. */
  get getSnapshot() { return this.#getSnapshot; }
  get subscribe() { return this.#subscribe; }

  #subscribe = (listener) => this.on('change', listener);
  #getSnapshot = () => {
    const { messages, state, statusText, handoff, connection, typing, readSequence, ready } = this;
    return (this.#snapshot ??= Object.freeze({ messages, state, statusText, handoff, connection, typing, readSequence, ready }));
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
    // Counted on from what waits, also from other tabs: clocks step.
    const n = 1 + Math.max(0, ...[...this.#outbox, ...this.#stored()].map((entry) => entry.n));
    const entry = { id: messageId, at: Date.now(), n, text, body };
    this.#keep(entry);
    this.#enqueue({ ...entry, isMine: true });
    this.#tabs?.post({ type: 'entry', entry });
    void this.#flush();
    return this.#messages.get(`m:${messageId}`);
  }

  /** Takes a message out that is not accepted yet, or has failed. Should the bridge have it all the same, the feed shows it. */
  discard(messageId) {
    const isDone = this.#takeOut(messageId);
    if (isDone) this.#tabs?.post({ type: 'discard', id: messageId });
    return isDone;
  }

  #takeOut(id) {
    const message = this.#messages.get(`m:${id}`);
    if (message?.status !== 'pending' && message?.status !== 'failed') return false;
    this.#drop(id);
    this.#forget(id);
    this.#gone.add(id);
    if (message.sequence === null) this.#messages.delete(`m:${id}`);
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
    const again = this.send(message.text, { messageId: nextId(messageId) });
    this.#sentAgain(again.id);
    this.#forget(messageId);
    return again;
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

  /** Moves the customer's read mark, never back; whether the bridge has it. */
  async markRead(sequence = this.#last) {
    if (sequence <= this.#read) return true;
    const mark = await this.#insist(`${this.#path}/read`, { sequence }).catch(() => undefined);
    if (mark === undefined) return false;
    this.#setRead(mark?.read_sequence ?? sequence); // no further than the feed goes
    return true;
  }

  /** Asks for a human. Rejects with `FiniChatError` when the bridge refuses or cannot be reached. */
  async requestHandoff({ reason, note } = {}) {
    await this.#insist(`${this.#path}/handoff`, { reason, note });
  }

  /** The conversations of the token's user, newest first, a page at a time. */
  async conversations({ cursor } = {}) {
    const user = claims(await this.#bearer()).sub ?? this.#o.user?.id;
    if (!user) throw new FiniChatError('no_user', 'the token names no user');
    const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : '';
    const page = await this.#call(`/v1/users/${encodeURIComponent(user)}/conversations${query}`, {}, (body) => Array.isArray(body?.conversations));
    return { conversations: page.conversations.map(listed), nextCursor: page.next_cursor ?? null };
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
    this.#tabs?.close();
    clearInterval(this.#beats);
    clearTimeout(this.#hiddenTimer);
    clearTimeout(this.#typingTimer);
    this.#setConnection('closed');
    this.#emit('change', undefined);
    this.#listeners.clear();
  }

  // --- the tabs ----------------------------------------------------------------------------------------------------

  /** Whether this tab is the one to ask the bridge: it leads, or there is no other that does. */
  get #acts() {
    return !this.#tabs || this.#tabs.leads || this.#tabs.alone || this.#leaderIsDue() <= 0;
  }

  /** ms until the leading tab counts as gone. Timers of tabs out of sight run once a minute. */
  #leaderIsDue() {
    return this.#heardAt + (isHidden() ? 15 : 3) * BEAT - performance.now();
  }

  /** One that leads answers at once; if nobody does within a second, this tab goes on by itself. */
  #expectLeader() {
    this.#heardAt = performance.now() - (isHidden() ? 15 : 3) * BEAT + 1_000;
  }

  #lead() {
    this.#beat();
    this.#wake();
    void this.#flush();
  }

  #beat() {
    if (this.#tabs?.leads) this.#tabs.post({ type: 'beat', waits: this.#outbox.map(({ id }) => id), last: this.#last, lastId: this.#lastId, connection: this.#connection, isHidden: this.#isHidden });
  }

  /** What another tab says. It may be of another release: nothing is taken for granted. */
  #hear(message) {
    const { type, id, entry, event } = message;
    if (this.#closed.signal.aborted) return;
    if (type === 'want') {
      this.#beat();
      this.#offer();
      if (this.#isHidden && !message.isHidden) this.#tabs.yield();
    } else if (type === 'entry') this.#offered(entry);
    else if (type === 'discard') this.#takeOut(id);
    else if (type === 'settled') this.#settle(id, message.change ?? {}, message.error && new FiniChatError(message.error.code, message.error.message, message.error));
    else if (!this.#tabs.leads) this.#obey(message, event);
  }

  /** What waits here the others may not have: storage can be refused. */
  #offer(known = []) {
    for (const entry of this.#outbox) if (!known.includes(entry.id)) this.#tabs.post({ type: 'entry', entry });
  }

  /** Something to send, of another tab. */
  #offered(entry) {
    if (!isEntry(entry) || this.#outbox.some((other) => other.id === entry.id)) return;
    if (this.#gone.has(entry.id)) return this.#tabs.post({ type: 'discard', id: entry.id });
    const known = this.#messages.get(`m:${entry.id}`);
    if (known?.text === entry.text && known.status !== 'pending') {
      const { status, code, detail, errors, mayResend } = known;
      return this.#tabs.post({ type: 'settled', id: known.id, change: { status, code, detail, errors, mayResend } });
    }
    const { id, n, at, text, body } = entry; // the rest is that tab's own
    this.#enqueue({ id, n, at, text, body });
    void this.#flush();
  }

  #obey({ type, last, lastId, connection, isHidden: hides, waits, before, name, data }, event) {
    const acted = this.#acts;
    this.#heardAt = performance.now();
    if (acted) this.#stream?.abort();
    if (type === 'event') {
      if (this.#synced && event?.sequence === this.#last + 1 && before === this.#lastId) this.#accept(event);
      else this.#ahead = Math.max(this.#ahead, event?.sequence ?? 0);
    } else if (type === 'hint') this.#hint(name, data ?? {});
    else if (type === 'reset') {
      this.#reset();
      this.#synced = false; // what comes now is read by this tab's own right
    }
    else if (type === 'beat') {
      this.#ahead = Math.max(this.#ahead, last || 0);
      // Another feed than the one shown here.
      if (connection === 'online' && (last < this.#last || (last === this.#last && lastId !== this.#lastId))) this.#synced = false;
      this.#told = connection;
      this.#offer(waits);
      if (hides && !isHidden()) this.#tabs.post({ type: 'want' }); // it gives way to one in sight
      if (this.#synced) this.#setConnection(connection);
    }
    if (acted || !this.#synced || this.#ahead > this.#last) this.#wake();
  }

  // --- sending -----------------------------------------------------------------------------------------------------

  async #flush() {
    if (this.#sending || !this.#acts || this.#closed.signal.aborted) return;
    this.#sending = true;
    this.#restore(); // what tabs left behind that are gone
    let attempt = 0;
    while (this.#outbox.length && this.#acts && !this.#closed.signal.aborted) {
      // Past those that never get through; what was tried last goes on first, as it may have arrived.
      const entry = this.#outbox.find((other) => !this.#isStuck(other)) ?? this.#outbox.find((other) => other === this.#tried) ?? this.#outbox[0];
      this.#tried = entry;
      const error = await this.#try(entry);
      if (error) await this.#wait(error, attempt++);
      else {
        attempt = 0;
        this.#passBy(entry);
      }
    }
    this.#sending = false;
  }

  /** Tries a message once; what came in the way, if it is worth another try. */
  async #try(entry) {
    // A tab that slept has not heard what became of it. What another tab wrote and nobody keeps any more was accepted or taken out.
    // Storage lags between tabs, so only what was seen in it can be missed.
    const kept = this.#recall(entry.id);
    const { failed } = parse(kept) ?? {};
    const { isMine, isKept } = entry;
    entry.isKept = Boolean(kept);
    if (failed) this.#settle(entry.id, failed);
    else if (Date.now() - entry.at > this.#o.pendingTtl) this.#fail(entry.id, new FiniChatError('expired', 'was never sent'), true);
    else if (kept === null && isKept && !isMine) this.#takeOut(entry.id);
    else if (kept === null && (isKept || !isMine) && !entry.hasWaited) {
      entry.hasWaited = true;
      await this.#pause(500, true); // what this tab slept through is on its way; else storage was emptied
    }
    if (!this.#outbox.includes(entry)) return null;
    try {
      await this.#post(entry);
      this.#reported = null;
      return null;
    } catch (thrown) {
      const error = ours(thrown);
      // It counts against the text if the bridge is heard otherwise, and is not itself who refuses for now.
      const isHeard = (this.#stream && this.#spoke) || this.#alive > entry.failedAt;
      if (isHeard && !error.isProblem && error.code !== 'token' && !isOffline()) entry.tries = (entry.tries ?? 0) + 1;
      entry.failedAt = performance.now();
      return error;
    }
  }

  /** Whether a message has failed again and again where others may not. */
  #isStuck({ tries }) {
    return tries >= TRIES;
  }

  /** One got through where those typed before it did not: a filter in between dislikes them, say. */
  #passBy(entry) {
    for (const other of [...this.#outbox]) {
      if (typed(other, entry) < 0 && this.#isStuck(other)) this.#fail(other.id, new FiniChatError('undeliverable', 'this message does not get through'), true);
      other.tries = 0;
    }
  }

  async #post({ id, body }) {
    const headers = { 'content-type': 'application/json' };
    let answer;
    try {
      // A portal or proxy that says 200 with a page of its own has stored nothing.
      answer = await this.#call('/v1/messages', { method: 'POST', headers, body }, (given) => given?.message_id === id);
    } catch (error) {
      // Only the bridge's own word is final; anything else came from something in between.
      if (!error.isFinal) throw error;
      // Nothing was stored. A reused id could succeed as a new message, a stranger's with another token; the rest is refused again.
      this.#fail(id, error, error.code === 'message_conflict' || error.status === 403);
      return;
    }
    const status = answer.status in RANK ? answer.status : 'queued'; // `sending` is queued to a customer
    this.#tell(id, { status, expectedWaitMs: answer.expected_wait_ms ?? null });
    // Its answer comes by the feed: by pages, where the stream has not brought a byte so far.
    if (this.#stream && !this.#spoke) this.#giveUpStream();
    this.#hurries = true;
    this.#wake(); // nor may the feed have existed until now
    void this.#pause(this.#o.settled, true).then(() => this.#messages.get(`m:${id}`)?.sequence === null && this.#giveUpStream());
  }

  /** It is of no use: the next round begins with a page. */
  #giveUpStream() {
    this.#held = true;
    this.#synced = false;
    this.#stream?.abort();
  }

  #fail(id, { code, status, message: detail, errors = [], cause, isFinal, requestId }, mayResend) {
    const place = this.#synced ? this.#last + 0.5 : null; // after what was there, before what comes
    const entry = this.#outbox.find((other) => other.id === id);
    const change = { status: 'failed', code, detail, errors, mayResend, place };
    // Its text is the customer's work: it stays until it is sent again or taken out.
    if (entry) this.#keep({ ...entry, isMine: undefined, failed: change });
    this.#tell(id, change, code === 'expired' ? undefined : { code, status, message: detail, errors, isFinal, requestId }, cause);
  }

  /** How the trying ended, to this tab and the others. */
  #tell(id, change, error, cause) {
    this.#tabs?.post({ type: 'settled', id, change, error });
    this.#settle(id, change, error && new FiniChatError(error.code, error.message, { ...error, cause }));
    if (change.status !== 'failed') this.#forget(id);
  }

  #settle(id, { place, ...change }, error) {
    this.#drop(id);
    const message = this.#messages.get(`m:${id}`);
    const isPending = message?.status === 'pending';
    if (change.status === 'failed' && isPending) this.#places.set(id, place ?? Infinity);
    // The feed may know more already.
    if (message && RANK[change.status] > RANK[message.status] && (isPending || change.status !== 'failed')) this.#update(message, change);
    // It may even have brought another message of this id: then the refusal is told all the same.
    if (error && (isPending || error.isFinal)) this.#emit('error', error);
  }

  #enqueue(entry) {
    const { id, at, text } = entry;
    const key = `m:${id}`;
    if (!this.#messages.has(key)) {
      const createdAt = new Date(at).toISOString();
      this.#update(blank({ id, author: 'user', text, createdAt, origin: 'frontend', status: 'pending' }), {});
    }
    this.#outbox.push(entry);
    this.#outbox.sort(typed);
    this.#sentAgain(id);
  }

  /** A failed message whose successor exists cannot be sent again. */
  #sentAgain(id) {
    const failed = this.#messages.get(`m:${previousId(id)}`);
    if (failed?.mayResend) this.#update(failed, { mayResend: false });
  }

  /** It is no longer to be sent. */
  #drop(id) {
    this.#outbox = this.#outbox.filter((other) => other.id !== id);
  }

  // One storage item per message: two tabs of one customer never overwrite each other's list.
  #keep(entry) {
    try { this.#storage?.setItem(this.#prefix + entry.id, JSON.stringify(entry)); } catch { /* full or forbidden: memory only */ }
  }

  #forget(id) {
    try { this.#storage?.removeItem(this.#prefix + id); } catch { /* as above */ }
  }

  /** What is kept: null if nothing, undefined if nobody can tell. */
  #recall(id) {
    try { return this.#storage?.getItem(this.#prefix + id); } catch { return undefined; }
  }

  #stored() {
    const found = [];
    try {
      for (let i = 0; i < (this.#storage?.length ?? 0); i++) {
        const key = this.#storage.key(i);
        if (key?.startsWith(this.#prefix)) found.push(parse(this.#storage.getItem(key)));
      }
    } catch { /* storage may be forbidden at any time */ }
    return found.filter(isEntry).sort(typed);
  }

  #restore() {
    for (const { failed, ...entry } of this.#stored()) {
      if (this.#gone.has(entry.id) || this.#messages.has(`m:${entry.id}`)) continue;
      const age = Date.now() - entry.at;
      if (failed && age > FAILED_TTL) this.#forget(entry.id);
      else this.#enqueue({ ...entry, isKept: true });
      if (failed) this.#settle(entry.id, failed);
      else if (age > this.#o.pendingTtl) this.#fail(entry.id, new FiniChatError('expired', 'was never sent'), true);
    }
  }

  // --- the feed ----------------------------------------------------------------------------------------------------

  async #follow() {
    let attempt = 0; // failures in a row
    let mute = 0; // streams in a row that brought nothing
    for (let round = 0; !this.#closed.signal.aborted; round++) {
      try {
        const acts = this.#acts;
        const before = this.#last;
        const paging = acts && (this.#isHidden || (mute >= MUTE_STREAMS && !this.#wantsStream && round % STREAM_EVERY !== 0));
        if (!this.#synced || paging || this.#ahead > before) await this.#catchUp();
        if (!acts) {
          this.#setConnection(this.#told);
          attempt = this.#ahead > this.#last ? attempt + 1 : 0; // a page that lags behind what another tab has
          await this.#pause(attempt ? this.#backoff(attempt) : Math.max(10, this.#leaderIsDue()));
          continue;
        }
        void this.#flush();
        if (mute || paging) this.#setConnection('online');
        if (paging) {
          attempt = this.#last > before || this.#hurries ? 0 : attempt + 1;
          this.#hurries = false;
          await this.#pause(this.#backoff(attempt));
          continue;
        }
        if (!this.#acts || this.#isHidden) continue; // that took its time
        this.#wantsStream = false;
        const { settled, retry } = await this.#readStream();
        this.#synced = false; // a page tells whether it is still the same feed
        if (settled === undefined) continue;
        // An end like any other: the bridge restarts, or a proxy's time is up.
        if (settled) [attempt, mute] = [0, 0];
        else mute = this.#unheard(mute);
        this.#setConnection('connecting', 1_000);
        await this.#pause(this.#delay(attempt++, Math.min(retry, this.#o.maxDelay)), true);
      } catch (thrown) {
        if (this.#closed.signal.aborted) return;
        const error = ours(thrown);
        this.#synced = false;
        this.#changed(); // half a history is better than none
        if (this.#wantsStream) attempt = 0; // somebody came back while this try was under way
        if (error.code === 'mute') mute = this.#unheard(mute);
        else if (isMissing(error)) this.#empty();
        else this.#setConnection(isOffline() ? 'offline' : 'connecting');
        await this.#wait(error, attempt++);
      }
    }
  }

  /** A stream that brought nothing: pages say what it did not. */
  #unheard(mute) {
    this.#synced = false;
    if (mute + 1 === MUTE_STREAMS) this.#report(new FiniChatError('no_stream', 'no event stream gets through; pages are read instead'));
    return mute + 1;
  }

  /** Pages through what was missed. The page is the authority: a number it leaves out does not exist any more. */
  async #catchUp() {
    for (let more = true; more; ) {
      const [before, feed] = [this.#last, this.#feed];
      // From the last one on: another event of its number tells of a feed that was erased and has grown again.
      const after = Math.max(0, before - 1);
      const page = await this.#call(`${this.#path}/events?after=${after}&limit=500`, {}, (body) => Array.isArray(body?.events));
      if (this.#feed !== feed) continue; // it began anew meanwhile
      const [first] = page.events;
      if (page.reset || (first?.sequence === before && this.#last === before && first.id !== this.#lastId)) {
        this.#reset();
        if (first && first.sequence > 1) continue;
      }
      this.#page = new Set();
      page.events.forEach((event) => this.#accept(event));
      const told = this.#page;
      this.#page = null;
      for (const key of told) if (this.#messages.has(key)) this.#emit('message', this.#messages.get(key));
      more = page.has_more && this.#last !== before;
    }
    this.#synced = true;
    this.#reported = null;
    this.#markReady();
  }

  /** Reads a stream to its end; whether it was one to rely on (undefined: given up from here), and the pause that it asked for. */
  async #readStream() {
    const guard = (this.#stream = this.#guard());
    this.#spoke = this.#held = false;
    const began = performance.now();
    const first = this.#last;
    const parser = new SseParser();
    let reader;
    let watchdog;
    const within = (ms) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => { this.#held = true; guard.abort(); }, ms);
    };
    try {
      within(this.#o.greeting);
      const headers = { accept: 'text/event-stream', 'last-event-id': String(this.#last) };
      const response = await this.#request(`${this.#path}/stream`, { headers }, guard);
      if (!response.ok) throw problem(response, await this.#unless(guard, response.text()));
      reader = response.body?.getReader?.();
      if (!reader || !response.headers.get('content-type')?.startsWith('text/event-stream')) throw new FiniChatError('mute', 'not an event stream');
      this.#setConnection('online');
      for (let chunk; !(chunk = await this.#unless(guard, reader.read())).done; ) {
        this.#spoke = true;
        this.#lastByte = Date.now();
        this.#alive = performance.now();
        within(this.#o.silence);
        for (const frame of parser.push(chunk.value)) await this.#frame(frame);
      }
      if (!this.#spoke) throw new FiniChatError('mute', 'the stream ended before it began');
      return { settled: this.#last > first || performance.now() - began > this.#o.settled, retry: parser.retry };
    } catch (thrown) {
      const error = ours(thrown);
      if (guard.signal.aborted && !this.#held) return {};
      // Held back, cut off or refused by something in between, or refused by the bridge for its number: pages may get through.
      if (!this.#spoke && !error.isFinal && error.code !== 'token' && error.status !== 401) {
        throw new FiniChatError('mute', error.message, { retryAfter: error.retryAfter, cause: error });
      }
      throw error;
    } finally {
      clearTimeout(watchdog);
      guard.abort();
      Promise.resolve(reader?.cancel?.()).catch(() => {});
      this.#stream = null;
      this.#hint('typing', { active: false }); // hints are not repeated, so none may outlive the stream that carried it
    }
  }

  async #frame({ event, data }) {
    const payload = parse(data);
    if (event === 'feed.reset') return this.#reset(); // what comes now begins at 1
    if (!Number.isSafeInteger(payload?.sequence) || !payload.type) return this.#hint(event, payload ?? {});
    if (payload.sequence > this.#last + 1) await this.#catchUp();
    if (payload.sequence > this.#last + 1) throw new FiniChatError('gap', 'events are missing and cannot be read back yet');
    this.#accept(payload);
  }

  #accept(event) {
    if (!(event?.sequence > this.#last)) return;
    const before = this.#lastId;
    [this.#last, this.#lastId] = [event.sequence, event.id];
    if (event.conversation_id !== this.conversationId) return this.#emit('error', new FiniChatError('foreign_event', 'event of another conversation'));
    const data = event.data ?? {};
    if (event.type === 'message.created' && data.message) this.#onMessage(event, data);
    else if (event.type === 'turn.completed') {
      this.#onTurn(data.message_id, { status: data.outcome === 'answered' ? 'answered' : 'stored', outcome: data.outcome, expectedWaitMs: null });
    } else if (event.type === 'turn.failed') {
      const mayResend = data.may_resend === true && !this.#messages.has(`m:${nextId(data.message_id)}`);
      this.#onTurn(data.message_id, { status: 'failed', code: data.code, detail: data.detail ?? null, mayResend, expectedWaitMs: null });
    } else if (event.type === 'conversation.escalated') this.#setState('escalated', data.status_text);
    else if (event.type === 'conversation.status_changed') this.#setState(data.state, data.status_text);
    else if (event.type === 'conversation.continued') this.#setState('continued', this.statusText);
    else if (event.type === 'message.updated') this.#onUpdate(data.message_id, data.changed ?? {});
    else if (event.type === 'conversation.resolved') {
      if (data.resolved) this.#setState('resolved', this.statusText);
      else if (this.state === 'resolved') this.#setState('open', this.statusText);
    }
    this.#setHandoff(handedOff(this.#handoff, event, data));
    if (this.state === 'new') this.#setState('open', null);
    this.#emit('event', event);
    if (this.#ready && this.#acts) this.#tabs?.post({ type: 'event', event, before });
  }

  #onMessage({ sequence }, { message, origin, in_reply_to: inReplyTo = null }) {
    const own = origin === 'frontend';
    const { id, author, text, created_at: createdAt, format = 'plain', articles = [], attachments = [], tags = [] } = message;
    const known = this.#messages.get(`${own ? 'm' : 'e'}:${id}`) ?? blank({ id, origin, status: own && author === 'user' ? 'queued' : null });
    // In the feed means accepted, also when the answer to the POST was lost and the message was given up here.
    const accepted = known.status === 'pending' || (known.sequence === null && known.status === 'failed') ? { status: 'queued', code: null, detail: null, mayResend: false } : {};
    if (own && known.text === text) {
      this.#drop(id);
      this.#forget(id);
    }
    this.#update(known, { ...accepted, author, text, createdAt, format, articles: articles.map(safe), attachments, tags, inReplyTo, sequence });
    if (author !== 'user') this.#setTyping(null);
    // After a reload it is the feed that tells which failures have been sent again.
    if (own) this.#sentAgain(id);
  }

  #onUpdate(id, { text, articles, attachments, tags }) {
    const message = this.#messages.get(`e:${id}`);
    const given = Object.entries({ text, articles: articles?.map(safe), attachments, tags }).filter(([, value]) => value !== undefined);
    if (message) this.#update(message, Object.fromEntries(given));
  }

  #onTurn(id, change) {
    const message = this.#messages.get(`m:${id}`);
    this.#setTyping(null);
    if (message) this.#update(message, change);
  }

  /** Stream-only hints carry no number and are not part of the feed. */
  #hint(name, data) {
    if (name === 'turn.started') this.#handoff.speaker === 'human' || this.#setTyping({ author: 'bot' }, 130_000);
    else if (name === 'turn.delayed') this.#emit('delayed', { messageId: data.message_id, expectedAt: data.expected_at ?? null });
    else if (name === 'read.updated') this.#setRead(data.sequence);
    else if (name === 'typing') this.#setTyping(data.active === false ? null : { author: data.author ?? 'agent' }, 8_000);
    if (this.#acts) this.#tabs?.post({ type: 'hint', name, data });
  }

  /** No such conversation: not begun yet, or erased. What was shown of an erased one must go, and numbers start anew. */
  #empty() {
    this.#setConnection('online');
    if (this.#last > 0) {
      this.#synced = this.#ready = false;
      this.#reset();
    }
    this.#ahead = 0;
    this.#markReady();
  }

  /** The feed begins anew: what was shown of the old one must go. */
  #reset() {
    this.#feed += 1;
    this.#last = this.#read = this.#ahead = 0;
    this.#lastId = null;
    for (const [key, { sequence }] of this.#messages) if (sequence !== null) this.#messages.delete(key);
    this.#setState('new', null);
    this.#setHandoff(BOT);
    this.#emit('reset', undefined);
    this.#changed();
    if (this.#acts) this.#tabs?.post({ type: 'reset' });
  }

  #markReady() {
    if (this.#ready) return;
    this.#ready = true;
    this.#emit('ready', undefined);
    this.#changed();
  }

  // --- requests and tokens -----------------------------------------------------------------------------------------

  /** One rule for what an answer means: it is the bridge's if it says what it must (`isIt`) or is the bridge's own problem. */
  async #call(path, init, isIt) {
    const guard = this.#guard(this.#o.requestTimeout);
    this.#calls.add(guard);
    try {
      const response = await this.#request(path, init, guard);
      const text = await this.#unless(guard, response.text());
      const body = parse(text);
      const isIts = response.ok && isIt(body, text);
      const error = isIts ? null : problem(response, text);
      if (isIts || error.isFinal) this.#alive = performance.now();
      if (error) throw error;
      return body;
    } finally {
      this.#calls.delete(guard);
      guard.abort();
    }
  }

  /** What a person has asked for: a few tries, then the error is theirs. */
  async #insist(path, fields) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(fields) };
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#call(path, init, (body, text) => body !== null || text === '');
      } catch (thrown) {
        const error = ours(thrown);
        if (error.isFinal || attempt === TELL || this.#closed.signal.aborted) throw error;
        await this.#pause(this.#delay(attempt, error.retryAfter), error.retryAfter !== undefined);
      }
    }
  }

  async #request(path, { method, headers, body }, guard) {
    for (let again = false; ; again = true) {
      const token = await this.#unless(guard, this.#bearer());
      const response = await this.#fetch(this.#o.baseUrl + path, {
        method, body, headers: { ...headers, authorization: `Bearer ${token}` }, signal: guard.signal,
        cache: 'no-store', credentials: 'omit', keepalive: Boolean(body) && body.length < 16_000, // outlives the page
      }, guard);
      if (response.status !== 401 || again || !this.#o.getToken) return response;
      if (this.#token.value === token) this.#token = { value: null, until: 0 };
      response.body?.cancel?.()?.catch?.(() => {});
    }
  }

  /** The page's own `fetch` may do anything; what comes back is an answer or an error of ours. */
  async #fetch(url, init, guard) {
    let asked;
    let response;
    try {
      asked = Promise.resolve(this.#o.fetch(url, init));
      response = await this.#unless(guard, asked);
    } catch (cause) {
      asked?.then((late) => late?.body?.cancel?.()).catch(() => {}); // nobody waits for it any more
      throw new FiniChatError('network', 'the bridge could not be reached', { cause });
    }
    if (typeof response?.status === 'number' && response.headers?.get) return response;
    throw new FiniChatError('network', 'fetch gave no answer');
  }

  /** The promise's word, unless the guard ends it first: not everybody's `fetch` minds its signal. */
  #unless({ signal }, promise) {
    return new Promise((resolve, reject) => {
      const stop = () => reject(new FiniChatError('network', 'no answer in time'));
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop);
      Promise.resolve(promise).then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
    });
  }

  /** A token; however the page's `getToken` fails, the error is ours. */
  #bearer() {
    const { getToken, requestTimeout } = this.#o;
    if (!getToken || (this.#token.value && Date.now() < this.#token.until)) return this.#token.value;
    if (this.#refreshing) return this.#refreshing;
    const guard = this.#guard(requestTimeout);
    const fail = (cause) => { throw new FiniChatError('token', 'getToken failed', { cause }); };
    return (this.#refreshing = this.#unless(guard, Promise.resolve().then(getToken).then((token) => this.#keepToken(token))).catch(fail).finally(() => {
      guard.abort();
      this.#refreshing = null;
    }));
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
    if (this.#closed.signal.aborted) abort();
    return { signal: controller.signal, abort };
  }

  // --- waiting and waking ------------------------------------------------------------------------------------------

  #listenToBrowser() {
    const { signal } = this.#closed;
    const { document } = globalThis;
    const listen = (target, type, fn) => target?.addEventListener?.(type, fn, { signal });
    const restart = () => { this.#wantsStream = true; this.#stream?.abort(); this.#wake(); }; // the old connection may be dead without a word
    const sleep = () => { this.#tabs?.close(); this.#stream?.abort(); };
    const wakeUp = () => {
      this.#tabs?.open();
      this.#synced = false; // the others spoke meanwhile
      restart();
    };
    listen(globalThis, 'online', restart);
    listen(globalThis, 'offline', () => {
      this.#setConnection('offline');
      for (const each of [this.#stream, ...this.#calls]) each?.abort(); // some would hang until their time is up
    });
    listen(globalThis, 'pagehide', sleep);
    listen(globalThis, 'pageshow', (event) => event.persisted && wakeUp());
    listen(document, 'freeze', sleep);
    listen(document, 'resume', wakeUp);
    listen(document, 'visibilitychange', () => {
      clearTimeout(this.#hiddenTimer);
      if (isHidden()) {
        this.#hiddenTimer = setTimeout(() => {
          this.#isHidden = true;
          this.#stream?.abort();
          this.#beat(); // for one in sight to take over
        }, this.#o.hidden);
        return;
      }
      this.#isHidden = false;
      if (this.#tabs && !this.#acts) {
        this.#expectLeader(); // it may sleep
        this.#tabs.post({ type: 'want' });
      }
      this.#wantsStream = true;
      if (Date.now() - this.#lastByte > this.#o.silence) this.#stream?.abort(); // the tab slept through its own watchdog
      this.#wake();
    });
  }

  /** After a failure: the larger of the server's wish and our own patience; only the latter may be cut short by `#wake`. */
  #wait(error, attempt) {
    const { status, code, retryAfter } = error;
    const isRefused = status === 401 || (status === 403 && error.isFinal);
    if (isRefused || code === 'token' || code === 'gap') this.#report(error);
    else if (attempt === TELL && code !== 'mute' && !isMissing(error)) void this.#diagnose(error);
    // Another tab may have a better token.
    if (isRefused || code === 'token') this.#tabs?.yield();
    // A conversation that does not exist yet mostly begins with our own message, which wakes us; a greeting may begin it too.
    const missing = isMissing(error) && Math.min(10 * this.#backoff(attempt), isHidden() ? Infinity : 5_000);
    const own = isRefused ? this.#o.maxDelay : missing || this.#backoff(attempt);
    return this.#pause(this.#delay(attempt, retryAfter, own), retryAfter !== undefined);
  }

  /** What keeps going wrong, told with what is probably the cause. */
  async #diagnose(cause) {
    if (isOffline()) return;
    const { baseUrl } = this.#o;
    const where = baseUrl || 'the page\'s own origin';
    const { status } = cause;
    if (status >= 500 || status === 429) return this.#report(cause);
    if (cause.code !== 'network') return this.#report(new FiniChatError('address', `what answers at ${where} is not the bridge: is baseUrl right?`, { status, cause }));
    const guard = this.#guard(this.#o.requestTimeout);
    // Without CORS: whether anything answers there at all.
    const answers = await this.#fetch(`${baseUrl}/v1/client.js`, { mode: 'no-cors', cache: 'no-store', credentials: 'omit', signal: guard.signal }, guard).then(() => true, () => false);
    guard.abort();
    if (this.#alive > -Infinity) this.#report(cause); // it was heard before: an outage
    else if (answers) this.#report(new FiniChatError('origin', `${where} answers, but not to this page: server.cors_origins must list ${globalThis.location?.origin}`, { cause }));
    else this.#report(new FiniChatError('address', `nothing answers at ${where}: is baseUrl right?`, { cause }));
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

  /** One rule for pauses: the larger of the server's wish and our own, so many asked at once spread out. */
  #delay(attempt, wish, own = this.#backoff(attempt)) {
    return wish === undefined ? own : Math.max(wish, own) * (1 + Math.random() / 2);
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

  /** One `change` for all that changes at once; a history of many pages changes once, when it has been read. */
  #changed() {
    this.#sorted = this.#snapshot = null;
    if (this.#changing || (this.#page && !this.#ready)) return;
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

  #setHandoff(handoff) {
    if (handoff === this.#handoff) return;
    this.#handoff = Object.freeze(handoff);
    if (handoff.speaker === 'human' && this.#typing?.author === 'bot') this.#setTyping(null); // what it writes is not shown
    this.#changed();
    this.#emit('handoff', handoff);
  }

  #setRead(sequence) {
    if (!(sequence > this.#read)) return;
    this.#read = sequence;
    this.#changed();
    this.#emit('read', { sequence });
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
    this.#beat();
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
      try { listener(value); } catch (error) { (globalThis.reportError ?? console.error)(error); }
    }
  }
}

const blank = (fields) => ({
  id: '', author: 'user', text: '', format: 'plain', createdAt: '', sequence: null, origin: 'fini', inReplyTo: null, articles: [], attachments: [],
  tags: [], status: null, outcome: null, expectedWaitMs: null, code: null, detail: null, errors: [], mayResend: false, ...fields,
});

/** Who speaks to the customer after this event: the desk's own routes decide, or, where nobody claimed, whoever wrote last. */
function handedOff(now, { type, timestamp }, data) {
  switch (type) {
    case 'handoff.requested':
      return { ...BOT, speaker: 'waiting', reason: data.reason ?? null, requestedAt: timestamp, deskOpen: data.desk_open ?? null, nextOpen: data.next_open ?? null };
    case 'handoff.claimed':
    case 'handoff.agent_joined':
      return { ...held(now, data.agent, true), speaker: 'human', claimedAt: now.claimedAt ?? timestamp, position: null, expectedWaitSeconds: null };
    case 'handoff.agent_left': {
      const left = held(now, data.agent, false);
      return left.agents.length ? left : { ...left, speaker: 'waiting', claimedAt: null };
    }
    case 'handoff.position':
      return { ...now, position: data.position ?? null, expectedWaitSeconds: data.expected_wait_seconds ?? null };
    case 'handoff.unclaimed':
      return data.then === 'bot' ? BOT : now;
    case 'handoff.returned':
      return BOT;
    case 'conversation.resolved':
      return data.resolved ? BOT : now;
    case 'message.created':
      if (data.message?.author === 'agent' && now.speaker === 'waiting') return { ...now, speaker: 'human' };
      if (now.claimedAt || data.origin !== 'fini') return now;
      if (data.message?.author === 'agent') return { ...now, speaker: 'human' };
      return data.message?.author === 'bot' && now.speaker === 'human' ? BOT : now;
    default:
      return now;
  }
}

/** With an agent, who comes last, or without; the first of those who are there has the conversation. */
function held(now, agent, isIn) {
  const agents = Object.freeze([...now.agents.filter((other) => other.id !== agent?.id), ...(isIn && agent ? [agent] : [])]);
  return { ...now, agents, agent: agents[0] ?? null };
}

const listed = (entry) => ({
  conversationId: entry.conversation_id, state: entry.state, lastSequence: entry.last_sequence, readSequence: entry.read_sequence ?? 0, updatedAt: entry.updated_at,
  lastMessage: entry.last_message ? { author: entry.last_message.author, text: entry.last_message.text, createdAt: entry.last_message.created_at } : null,
});

/** An address may stand in the company's knowledge base as anybody typed it there; a link of `javascript:` must not. */
const safe = (article) => (/^https?:\/\//i.test(article?.url ?? '') ? article : { ...article, url: null });

/** Whatever was thrown, as an error of ours. */
const ours = (thrown) => (thrown instanceof FiniChatError ? thrown : new FiniChatError('network', said(thrown), { cause: thrown }));

/** Things can be thrown that not even turn into text. */
function said(thrown) {
  try { return String(thrown?.message ?? thrown); } catch { return 'unknown'; }
}

const isMissing = (error) => error.status === 404 && error.code === 'not_found';

const isHidden = () => globalThis.document?.visibilityState === 'hidden';

const isOffline = () => globalThis.navigator?.onLine === false;

const isEntry = (entry) => [entry?.id, entry?.text, entry?.body].every((part) => typeof part === 'string') && Number.isFinite(entry.n) && Math.abs(entry.at) < 8.64e15;

/** The order in which messages were typed. */
const typed = (a, b) => a.n - b.n || a.at - b.at;

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
  const part = token?.split('.')[1]?.replace(/-/g, '+').replace(/_/g, '/') ?? '';
  try { return JSON.parse(atob(part)) ?? {}; } catch { return {}; }
}

/** Refusals that pass: later, or with another token, the same request may succeed. */
const isTransient = (status) => status >= 500 || [401, 408, 425, 429].includes(status);

/** What an answer that is not the one asked for says: the bridge's own problem document (RFC 9457) is final, a page of a proxy nothing. */
function problem({ status, headers }, text) {
  const body = parse(text) ?? {};
  const wish = headers.get('retry-after') ?? ''; // seconds or a date (RFC 9110, 10.2.3), judged by the sender's clock where it is told
  const wanted = /^\d+$/.test(wish) ? wish * 1000 : Date.parse(wish) - (Date.parse(headers.get('date') ?? '') || Date.now());
  const isProblem = headers.get('content-type')?.startsWith('application/problem+json') && typeof body.code === 'string';
  const code = isProblem ? body.code : status < 300 ? 'protocol' : `http_${status}`;
  return new FiniChatError(code, (isProblem && (body.detail ?? body.title)) || `unexpected answer (${status})`, {
    status,
    isProblem: Boolean(isProblem),
    isFinal: Boolean(isProblem) && !isTransient(status),
    requestId: body.request_id ?? headers.get('x-request-id'),
    errors: body.errors ?? [],
    retryAfter: wanted >= 0 ? Math.min(wanted, MAX_WISH) : undefined,
  });
}

function browserStorage() {
  try { return globalThis.localStorage; } catch { return null; } // blocked cookies make the mere access throw
}
