// A small world in virtual time for the client's model: browsers' tabs with their locks, channels, storage and clocks, a bridge
// with a feed, and what stands between them. Everything random comes from one seed, so that a failure repeats.

import { readFileSync } from 'node:fs';

const SOURCE = readFileSync(new URL('../../src/http/client/fini-bridge.js', import.meta.url), 'utf8').replaceAll(/^export /gm, '');
const NAMES = ['globalThis', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date', 'Math', 'queueMicrotask'];
const load = new Function(...NAMES, `${SOURCE}; return { FiniChat, FiniChatError };`);
const ID = 'c-1';
const HTML = 'text/html';

/** mulberry32: small, seeded, good enough for schedules. */
export function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, often: (share) => next() < share, pick: (list) => list[below(list.length)] };
}

export class World {
  now = 0;
  skew = 0; // ms that the customer's clock is off
  steps = 0;
  #timers = [];
  #count = 0;
  tabs = [];
  storage = new Map();
  refusesStorage = false;
  locks = new Map(); // name -> { holder, queue }
  online = true;
  /** What stands in between: shares of requests that end in each way, and what becomes of streams. */
  weather = { lost: 0, lostAfter: 0, page: 0, busy: 0, hang: 0, streams: 'pass', tokens: 'good' };
  bridge = new Bridge(this);
  errors = [];

  constructor(seed) {
    this.dice = dice(seed);
  }

  at(ms, run) {
    const timer = { due: this.now + Math.max(0, ms), order: this.#count++, run };
    // A sorted list: there are a few dozen at a time.
    let place = this.#timers.length;
    while (place > 0 && this.#timers[place - 1].due > timer.due) place -= 1;
    this.#timers.splice(place, 0, timer);
    return timer;
  }

  cancel(timer) {
    const place = this.#timers.indexOf(timer);
    if (place >= 0) this.#timers.splice(place, 1);
  }

  /** Lets `ms` pass, or less if `until` becomes true. */
  async pass(ms, until = () => false) {
    const end = this.now + ms;
    while (this.#timers.length && this.#timers[0].due <= end) {
      const timer = this.#timers.shift();
      this.now = timer.due;
      this.steps += 1;
      timer.run();
      await new Promise(setImmediate); // everything that this set off
      if (until()) return true;
    }
    this.now = end;
    return until();
  }

  open(isHidden = false) {
    const tab = new Tab(this, isHidden);
    this.tabs.push(tab);
    tab.start();
    return tab;
  }

  setOnline(online) {
    if (this.online === online) return;
    this.online = online;
    if (!online) this.bridge.dropStreams();
    for (const tab of this.tabs) tab.later(0, () => tab.fire(online ? 'online' : 'offline'));
  }
}

class Tab {
  isDead = false;
  isAsleep = false;
  log = []; // sequences of the events shown since the last reset
  violations = [];
  #asleep = [];
  #listeners = new Map();
  #channels = new Set();
  #intervals = new Map();
  #held = new Set();

  constructor(world, isHidden) {
    Object.assign(this, { world, born: world.now, visibility: isHidden ? 'hidden' : 'visible' });
  }

  later(ms, run) {
    return this.world.at(ms, () => {
      if (this.isDead) return;
      if (this.isAsleep) this.#asleep.push(run);
      else run();
    });
  }

  listen(type, run) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), run]);
  }

  fire(type, event = {}) {
    for (const run of this.#listeners.get(type) ?? []) run(event);
  }

  start() {
    const { world } = this;
    const tab = this;
    class FakeDate extends Date {
      constructor(...given) { super(...(given.length ? given : [FakeDate.now()])); }
      static now() { return 1_790_000_000_000 + world.now + world.skew; }
    }
    const target = { addEventListener: (type, run) => tab.listen(type, run) };
    const storage = {
      get length() { tab.#mayStore(); return world.storage.size; },
      key: (n) => [...world.storage.keys()][n] ?? null,
      getItem: (key) => { tab.#mayStore(); return world.storage.get(key) ?? null; },
      setItem: (key, value) => { tab.#mayStore(); world.storage.set(key, value); },
      removeItem: (key) => { tab.#mayStore(); world.storage.delete(key); },
    };
    const globals = {
      ...target, localStorage: storage, location: { origin: 'https://shop.example' },
      document: { ...target, get visibilityState() { return tab.visibility; } },
      navigator: { get onLine() { return world.online; }, locks: { request: (...given) => tab.#lock(...given) } },
      crypto: { randomUUID: () => `id-${world.dice.below(2 ** 31)}-${world.dice.below(2 ** 31)}` },
      BroadcastChannel: class { constructor(name) { return tab.#channel(name); } },
      reportError: (error) => { throw error; },
    };
    let count = 0;
    const interval = (run, ms) => {
      const id = count++;
      const tick = () => { tab.#intervals.set(id, tab.later(ms, tick)); run(); };
      tab.#intervals.set(id, tab.later(ms, tick));
      return id;
    };
    const clearInterval = (id) => world.cancel(tab.#intervals.get(id));
    const random = Object.create(Math, { random: { value: world.dice.next } });
    const { FiniChat } = load(globals, (run, ms) => this.later(ms, run), (timer) => world.cancel(timer), interval, clearInterval, { now: () => world.now }, FakeDate, random, queueMicrotask);
    this.chat = new FiniChat({ baseUrl: 'https://bridge.example', conversationId: ID, getToken: () => this.#token(), fetch: (url, init) => this.#fetch(url, init) });
    this.chat.on('event', ({ sequence }) => {
      if (sequence !== this.log.length + 1) this.violations.push(`event ${sequence} after ${this.log.length}`);
      this.log.push(sequence);
    });
    this.chat.on('reset', () => { this.log = []; });
    this.chat.on('error', (error) => { world.errors.push(error.code); });
  }

  #mayStore() {
    if (this.world.refusesStorage) throw new Error('storage is refused');
  }

  #token() {
    const { tokens } = this.world.weather;
    const { dice } = this.world;
    return new Promise((resolve, reject) => {
      this.later(dice.below(200), () => {
        if (tokens === 'failing' && dice.often(0.7)) reject(dice.pick([undefined, null, 0, '', { status: 404, code: 'not_found' }]));
        else if (tokens === 'silent' && dice.often(0.5)) return; // never answers
        else resolve(tokens === 'stale' && dice.often(0.5) ? 'stale' : 'good');
      });
    });
  }

  #lock(name, { signal }, hold) {
    const lock = this.world.locks.get(name) ?? { holder: null, queue: [] };
    this.world.locks.set(name, lock);
    return new Promise((resolve, reject) => {
      const entry = { tab: this, grant: () => {
        lock.holder = entry;
        Promise.resolve(hold()).then(() => {
          if (lock.holder === entry) pass(lock);
          resolve();
        });
      } };
      signal.addEventListener('abort', () => {
        if (!lock.queue.includes(entry)) return;
        lock.queue = lock.queue.filter((other) => other !== entry);
        reject(new Error('aborted'));
      });
      lock.queue.push(entry);
      if (!lock.holder) pass(lock);
      this.#held.add(lock);
    });
  }

  #channel(name) {
    const channel = {
      name, tab: this, onmessage: null,
      postMessage: (data) => {
        const copy = structuredClone(data);
        for (const other of this.world.tabs) for (const each of other.#channels) if (each !== channel && each.name === name) other.later(1, () => each.onmessage?.({ data: copy }));
      },
      close: () => this.#channels.delete(channel),
    };
    this.#channels.add(channel);
    return channel;
  }

  #fetch(url, { method = 'GET', headers, body, signal }) {
    const { world } = this;
    const { dice } = world;
    const weather = { ...world.weather };
    const heeds = !dice.often(0.1); // some do not mind their signal
    return new Promise((resolve, reject) => {
      const end = (run, ms = dice.below(dice.often(0.1) ? 2_000 : 60)) => this.later(ms, run);
      const refuse = () => reject(dice.pick([new TypeError('Failed to fetch'), undefined, null]));
      if (heeds) signal?.addEventListener('abort', () => reject(new Error('aborted')));
      if (!world.online) return end(refuse, 1);
      const stream = url.endsWith('/stream');
      const roll = dice.next();
      const edges = { lost: weather.lost, page: weather.page, busy: weather.busy, hang: weather.hang, lostAfter: weather.lostAfter };
      let fate = 'pass';
      let edge = 0;
      for (const [name, share] of Object.entries(edges)) {
        edge += share;
        if (roll < edge) { fate = name; break; }
      }
      if (body?.includes('POISON')) fate = 'filtered';
      if (stream && weather.streams === 'blocked') fate = 'lost';
      if (fate === 'hang') return undefined;
      if (fate === 'lost') return end(refuse);
      if (fate === 'page') return end(() => resolve(answer(dice.pick([200, 400, 403, 404, 502, 503]), '<html>not the bridge</html>', { 'content-type': HTML })));
      if (fate === 'busy') return end(() => resolve(problem(dice.pick([429, 503]), 'backlog_full', { 'retry-after': String(dice.below(8)) })));
      if (fate === 'filtered') return end(() => resolve(answer(403, '<html>blocked</html>', { 'content-type': HTML })));
      // The request travels, is answered there, and the answer travels back, if the tab still lives.
      world.at(dice.below(60), () => {
        if (signal?.aborted && heeds) return;
        const found = world.bridge.answer({ path: url.replace('https://bridge.example', ''), method, headers, body, tab: this, streams: weather.streams });
        if (heeds) signal?.addEventListener('abort', () => found.body?.cancel());
        const isLost = fate === 'lostAfter' || !world.online;
        if (isLost || this.isDead) found.body?.cancel();
        if (isLost) end(refuse);
        else end(() => resolve(found));
      });
      return undefined;
    });
  }

  /** A reload, a closed tab, a crash: nothing that it had set up runs any more. */
  kill() {
    this.isDead = true;
    this.world.tabs = this.world.tabs.filter((other) => other !== this);
    for (const lock of this.#held) {
      lock.queue = lock.queue.filter((entry) => entry.tab !== this);
      if (lock.holder?.tab === this) pass(lock);
    }
    for (const channel of this.#channels) channel.close();
    this.world.bridge.dropStreams(this);
  }

  /** As phones do: no timer runs, no message arrives, and nobody is told. */
  sleep() { this.isAsleep = true; }

  wake() {
    this.isAsleep = false;
    const runs = this.#asleep;
    this.#asleep = [];
    for (const run of runs) this.later(0, run);
  }

  show(visibility) {
    if (this.visibility === visibility) return;
    this.visibility = visibility;
    this.later(0, () => this.fire('visibilitychange'));
  }
}

function pass(lock) {
  lock.holder = null;
  const next = lock.queue.shift();
  if (next) lock.holder = next;
  if (next) next.tab.world.at(1, () => (next.tab.isDead ? lock.holder === next && pass(lock) : next.grant()));
}

const encoder = new TextEncoder();
const head = (headers) => ({ get: (name) => headers[name] ?? null });
const answer = (status, text, headers = { 'content-type': 'application/json' }) => ({ status, ok: status < 300, headers: head(headers), text: async () => text, body: null });
const problem = (status, code, headers = {}) => answer(status, JSON.stringify({ status, code, title: code }), { 'content-type': 'application/problem+json', ...headers });

/** The bridge, from the documented API alone. */
class Bridge {
  events = [];
  stored = new Map(); // message id -> raw body
  exists = false;
  generation = 0;
  streams = new Set();

  constructor(world) {
    this.world = world;
    world.at(15_000, () => this.#beat());
  }

  #beat() {
    for (const stream of this.streams) stream.push(': beat\n\n');
    this.world.at(15_000, () => this.#beat());
  }

  emit(type, data) {
    const event = { id: `evt-${this.generation}-${this.events.length + 1}`, type, timestamp: '2026-11-21T05:00:00Z', frontend: 'web', conversation_id: ID, interaction_id: null, sequence: this.events.length + 1, data };
    this.exists = true;
    this.events.push(event);
    for (const stream of this.streams) stream.push(frame(event));
  }

  say(text) {
    this.emit('message.created', { message: { id: `f-${this.generation}-${this.events.length}`, author: 'agent', text, created_at: '2026-11-21T05:00:00Z' }, origin: 'fini', in_reply_to: null });
  }

  erase() {
    this.events = [];
    this.stored.clear();
    this.exists = false;
    this.generation += 1;
    this.dropStreams();
  }

  dropStreams(tab) {
    for (const stream of [...this.streams]) if (!tab || stream.tab === tab) stream.end();
  }

  answer({ path, method, headers, body, tab, streams }) {
    if (path === '/v1/client.js') return answer(200, '', {});
    if (headers.authorization !== 'Bearer good') return problem(401, 'unauthorized');
    if (method === 'POST') return this.#take(body);
    if (!this.exists) return problem(404, 'not_found');
    if (path.endsWith('/stream')) return this.#stream(Number(headers['last-event-id']), tab, streams);
    const after = Number(/after=(\d+)/.exec(path)[1]);
    if (after > this.events.length) return answer(200, JSON.stringify({ events: this.events.slice(0, 7), last_sequence: this.events.length, has_more: this.events.length > 7, reset: true }));
    const rest = this.events.slice(after);
    return answer(200, JSON.stringify({ events: rest.slice(0, 7), last_sequence: this.events.length, has_more: rest.length > 7 }));
  }

  #take(body) {
    const { message_id: id, text } = JSON.parse(body);
    const known = this.stored.get(id);
    if (known && known !== body) return problem(409, 'message_conflict');
    if (text.includes('REFUSED')) return problem(422, 'invalid_message');
    if (!known) {
      this.stored.set(id, body);
      this.emit('message.created', { message: { id, author: 'user', text, created_at: '2026-11-21T05:00:00Z' }, origin: 'frontend', in_reply_to: null });
      const { generation } = this;
      this.world.at(300, () => generation === this.generation && this.emit('turn.completed', { message_id: id, outcome: 'answered', replies: 1 }));
    }
    return answer(202, JSON.stringify({ conversation_id: ID, message_id: id, status: 'queued', duplicate: Boolean(known) }));
  }

  #stream(after, tab, manner) {
    const stream = { tab, chunks: [], waiting: null, isOver: false };
    const give = () => {
      if (!stream.waiting || tab.isDead) return;
      const { waiting } = stream;
      if (stream.chunks.length) {
        stream.waiting = null;
        const value = encoder.encode(stream.chunks.shift());
        tab.later(5, () => waiting({ done: false, value }));
      } else if (stream.isOver) {
        stream.waiting = null;
        tab.later(5, () => waiting({ done: true }));
      }
    };
    stream.push = (text) => { if (manner !== 'held') { stream.chunks.push(text); give(); } };
    stream.end = () => { this.streams.delete(stream); stream.isOver = true; give(); };
    stream.push('retry: 1000\n: hello\n\n');
    if (after > this.events.length) stream.push('event: feed.reset\ndata: {"id":null,"type":"feed.reset","data":{}}\n\n');
    if (manner !== 'cut') for (const event of this.events.slice(after > this.events.length ? 0 : after)) stream.push(frame(event));
    this.streams.add(stream);
    if (manner === 'cut') stream.end();
    const cancel = () => { this.streams.delete(stream); };
    const getReader = () => ({ read: () => new Promise((resolve) => { stream.waiting = resolve; give(); }), cancel });
    return { status: 200, ok: true, headers: head({ 'content-type': 'text/event-stream' }), body: { getReader, cancel }, text: async () => '' };
  }
}

const frame = (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\nid: ${event.sequence}\n\n`;
