// The operators' API with one of everything, for the console's tests: the answers have the shapes of the documented routes, and
// every act is kept in `acts`. It serves the page's own files, under the policy that the program gives them.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { pageFile } from './fake-bridge.mjs';

const ROOT = new URL('../../', import.meta.url);
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' };
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

/** A customer's words that would be markup if anything took them for it. */
export const MARKUP = '<img src=x onerror="document.title=1"><b>Where is my order?</b>';

export const OPERATORS = {
  'token-of-ada': { name: 'ada', role: 'erase', texts: true },
  'token-of-bob': { name: 'bob', role: 'read', texts: false },
};

/** The policy as it stands in the program. */
async function policy() {
  const source = await readFile(new URL('src/http/console/mod.rs', ROOT), 'utf8');
  const [, text] = /policy: "([^"]+)"/.exec(source);
  return text.replace(/\\\n\s*/g, '');
}

const handoff = (speaker, requested, more = {}) => ({
  speaker, reason: 'requested', requested_at: requested && ago(requested), claimed_at: null, agent: null, position: null, expected_wait_seconds: null, ...more,
});

const outline = (id, more = {}) => ({
  frontend: 'web', conversation_id: id, state: 'open', user: { id: 'u-9', vouched: true }, interaction_id: null, queued_turns: 0, last_sequence: 4,
  created_at: ago(90_000), updated_at: ago(400), ...more,
});

export class FakeConsole {
  acts = []; // [operator, method, path, body or query]
  dead = 2;
  quarantined = true;
  paused = false;

  static async start() {
    const fake = new FakeConsole();
    fake.policy = await policy();
    fake.server = createServer((request, response) => {
      fake.#answer(request, response).catch((error) => response.writeHead(500).end(error.stack));
    });
    await new Promise((done) => fake.server.listen(0, '127.0.0.1', done));
    fake.url = `http://127.0.0.1:${fake.server.address().port}/admin/`;
    return fake;
  }

  stop() {
    return new Promise((done) => { this.server.close(done); this.server.closeAllConnections(); });
  }

  async #answer(request, response) {
    const url = new URL(request.url, 'http://localhost');
    const json = (status, value) => response.writeHead(status, { 'content-type': status < 300 ? 'application/json' : 'application/problem+json' }).end(JSON.stringify(value));
    if (url.pathname === '/readyz') return json(200, { ready: true });
    if (!url.pathname.startsWith('/admin/v1/')) return this.#file(url.pathname, response);
    const operator = OPERATORS[(request.headers.authorization ?? '').replace('Bearer ', '')];
    if (!operator) return json(401, { code: 'unauthorized', title: 'Valid credentials are required', status: 401 });
    const path = url.pathname.slice('/admin/v1/'.length);
    const query = Object.fromEntries(url.searchParams);
    let body = '';
    for await (const part of request) body += part;
    const given = body ? JSON.parse(body) : null;
    const texts = query.content === 'true';
    if (request.method !== 'GET' || texts) this.acts.push([operator.name, request.method, path, given ?? query]);
    if ((request.method !== 'GET' && operator.role === 'read') || (texts && !operator.texts)) {
      return json(403, { code: 'forbidden', title: 'These credentials do not allow this', detail: 'your role is read', status: 403 });
    }
    if (query.format === 'csv') return response.writeHead(200, { 'content-type': 'text/csv' }).end('from,messages\r\n2026-12-01T00:00:00Z,1\r\n');
    const answer = request.method === 'GET' ? this.#look(path, query, operator, texts) : this.#act(path, given, request.method);
    return answer ? json(200, answer) : json(404, { code: 'not_found', title: 'Not found', status: 404 });
  }

  async #file(path, response) {
    const name = path === '/admin/' ? 'index.html' : path.slice('/admin/'.length);
    try {
      const content = await readFile(new URL(pageFile('src/http/console/assets/', name), ROOT));
      response.writeHead(200, { 'content-type': TYPES[name.split('.').pop()], 'content-security-policy': this.policy }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  }

  #act(path, body) {
    if (path === 'deliveries/retry') { const retried = this.dead; this.dead = 0; return { retried }; }
    if (/^deliveries\/[^/]+\/retry$/.test(path)) { this.dead -= 1; return { id: path.split('/')[1] }; }
    if (path.endsWith('/pause')) { this.paused = true; return { paused: true }; }
    if (path.endsWith('/resume')) { this.paused = false; return { paused: false }; }
    if (path.endsWith('/ping')) return { delivered: true, status: 204, duration_ms: 12 };
    if (path.endsWith('/bind') && body.dry_run) {
      return { state: 'quarantined', dry_run: true, waiting_messages: 1, history: body.new ? null : {
        created_at: ago(200_000), names: { frontend: 'web', conversation_id: 'web-7001' }, user_id: 'u-4', messages: { user: 3, bot: 3, agent: 0 },
        first_message_at: ago(200_000), last_message_at: ago(4000), messages_before_ours: 6, latest: [] } };
    }
    if (path.endsWith('/bind')) { this.quarantined = false; return { state: 'open' }; }
    return { local: 'erased' };
  }

  #look(path, query, operator, texts) {
    switch (path) {
      case 'operators/me': return operator;
      case 'handoffs': return this.#handoffs();
      case 'deliveries': return { deliveries: this.#deadLetters(), next_cursor: null };
      case 'quarantines': return { quarantines: this.quarantined ? [this.#quarantine()] : [], next_cursor: null };
      case 'frontends': return this.#frontends();
      case 'lanes': return this.#lanes();
      case 'budget': return { limit: 100, window_seconds: 60, used: 63, used_by: {}, waiting: { send: 2, bind: 0, sweep: 1, get: 0 }, sweep_age_ms: 2100 };
      case 'figures': return FakeConsole.#figures();
      case 'report': return FakeConsole.#report(query);
      case 'audit': return this.#audit(query.cursor);
      case 'configuration': return FakeConsole.#configuration();
      case 'conversations': return { conversations: query.q === 'nothing' ? [] : [{ ...outline('web-8121'), matched: 'user_id' }], next_cursor: null };
      default: return path.startsWith('conversations/') ? FakeConsole.#conversation(path, texts) : null;
    }
  }

  #handoffs() {
    const one = (id, of, frontend = 'web') => ({ frontend, conversation_id: id, handoff: of });
    return {
      handoffs: [
        one('web-8121', handoff('waiting', 780, { position: 1 })),
        one('web-8130', handoff('waiting', 95, { reason: 'silent_escalation', position: 2 })),
        one('a-very-long-conversation-id-that-has-no-place-to-break-in-it-0123456789-0123456789', handoff('waiting', 31, { reason: 'action' }), 'app'),
        one('web-8007', handoff('human', 3000, { claimed_at: ago(2800), agent: { id: 'a-1', name: 'Ada', avatar_url: null } })),
      ],
      unmatched: [{ id: 'p-1', received_at: ago(50), interaction_id: 'int_01h8', bridge_conversation: null, note: null }],
    };
  }

  #deadLetters() {
    return [['dlv_1', 'message.created', 17, 500, 'Internal Server Error'], ['dlv_2', 'turn.completed', 18, null, 'no answer within 15 s']].slice(0, this.dead).map(([id, type, sequence, status, error]) => ({
      id, event_id: `evt_${sequence}`, frontend: 'web', destination: 'main', conversation_id: 'web-8121', sequence, type, state: 'dead', attempts: 11, replays: 0,
      next_attempt_at: null, last_status: status, last_error: error, created_at: ago(7000), delivered_at: null,
    }));
  }

  #quarantine() {
    return {
      frontend: 'web', conversation_id: 'web-8200', since: ago(5400), note: 'Fini put its first message into a conversation of another person', interaction_id: 'int_01h7zq',
      ours: outline('web-8200', { state: 'quarantined', queued_turns: 1 }), theirs: outline('web-7001', { user: { id: 'u-4', vouched: true }, interaction_id: 'int_01h7zq' }),
    };
  }

  #frontends() {
    const of = (destination, more) => ({ destination, callback_host: 'chat.example.com', paused: null, breaker: 'closed', deferred_until: null, ...more });
    const main = of('main', this.paused ? { paused: { reason: 'operator', since: ago(5) } } : {});
    return { frontends: [
      { frontend: 'web', ...main, destinations: [main, of('desk', { callback_host: 'desk.example.com', breaker: 'open' })] },
      { frontend: 'app', callback_host: null, paused: null, breaker: null, deferred_until: null, destinations: [] },
    ] };
  }

  #lanes() {
    const lane = (more) => ({ kind: 'callbacks', frontend: 'web', conversation_id: 'web-8121', destination: 'main', blocked_by: 'dead_letter', until: null, waiting: 3, since: ago(6000), head: null, dead_letter: null, open_turn: null, ...more });
    return { next_cursor: null, lanes: [
      lane({ dead_letter: 'dlv_1', head: { delivery_id: 'dlv_1', event_id: 'evt_17', sequence: 17, type: 'message.created', attempts: 11, last_status: 500, last_error: 'Internal Server Error' } }),
      lane({ kind: 'messages', destination: null, conversation_id: 'web-8200', blocked_by: 'quarantine', waiting: 1 }),
      lane({ kind: 'messages', destination: null, conversation_id: 'web-8300', blocked_by: 'turn', waiting: 2, since: ago(40), open_turn: { message_id: 'm-3', state: 'late', since: ago(40) } }),
    ] };
  }

  static #figures() {
    const points = Array.from({ length: 288 }, (_, i) => ({
      at: ago((287 - i) * 300), budget: { used: Math.round(40 + 35 * Math.sin(i / 30) + (i % 7)), limit: 100 },
      waiting: { turn: i % 5, breaker: i > 200 && i < 220 ? 6 : 0, pause: 0, quarantine: i > 250 ? 1 : 0, budget: i % 3, handoff: Math.max(0, Math.round(3 * Math.sin(i / 20))) },
      oldest_waiting_seconds: { turn: 2, breaker: 0, pause: 0, quarantine: 0, budget: 0, handoff: Math.max(0, 400 * Math.sin(i / 20)) },
      oldest_due_seconds: { turns: (i % 9) / 10, deliveries: i > 200 && i < 220 ? 300 : 0.2 }, sweep_age_seconds: 2 + (i % 4), event_lag_seconds: i % 40 < 3 ? null : 1.5 + (i % 11) / 5,
    }));
    return { replica: 'bridge-0', window_seconds: 86_400, step_seconds: 300, points };
  }

  static #report(query) {
    const row = (from, messages) => ({
      from, to: from, frontend: query.frontend || null, messages, answered: Math.round(messages * 0.8), escalated: 4, resolved: 9, failed: 1, dead_letters: 0,
      budget_used: query.frontend ? null : messages * 3, first_answers: messages, first_answer_median_seconds: 3.15, first_answer_p95_seconds: 11.2, humans: 4, human_median_seconds: 140,
      human_p95_seconds: messages ? 900 : null, tz: query.tz,
    });
    const day = (n) => new Date(Date.UTC(2026, 10, 25 + n)).toISOString().replace('.000Z', 'Z');
    const rows = [412, 398, 120, 96, 455, 471, 1204].map((messages, n) => row(day(n), messages));
    return { by: query.by, tz: query.tz, frontend: query.frontend || null, rows, total: row(day(0), 3156) };
  }

  #audit(cursor) {
    const done = this.acts.map(([operator, , object, body]) => ({ at: ago(1), operator, act: 'delivery.retry', object, reason: body?.reason ?? null, refused: false })).reverse();
    const older = [
      { at: ago(3600), operator: 'ada', act: 'frontend.pause', object: 'frontends/web/pause', reason: 'the receiver is being moved', refused: false },
      { at: ago(9000), operator: 'bob', act: 'conversation.erase', object: 'conversations/web/3f6c0e5ba1', reason: null, refused: true },
    ];
    return cursor ? { audit: older, next_cursor: null } : { audit: done, next_cursor: 'older' };
  }

  static #configuration() {
    return { replica: 'bridge-0', configuration: {
      server: { listen: '0.0.0.0:8080', shutdown_grace: '25s', cors_origins: ['https://shop.example.com'] },
      fini: { base_url: 'https://api-prod.usefini.com', read_api_key: '(hidden)', proxy: null, rate_limit: { requests: 100, window: '60s' } },
      frontends: [{ name: 'web', bot_id: '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3', tokens: ['(hidden)'], browser_token_secrets: [], handoff: { claim_timeout: '10m' } }],
    } };
  }

  static #conversation(path, texts) {
    const [, frontend, id] = path.split('/');
    const words = (text) => (texts ? text : null);
    const event = (sequence, seconds, type, author, text) => ({ id: `evt_${sequence}`, sequence, type, timestamp: ago(seconds), ...(texts ? { data: author ? { message: { author, text } } : {} } : { author: author ?? null, message_id: null }) });
    const tried = (number, seconds, status, error) => ({ number, began_at: null, ended_at: ago(seconds), duration_ms: null, outcome: error ? 'retried' : 'delivered', status, error });
    const delivery = (sequence, type, state, tries, more) => ({ id: `dlv_${sequence}`, event_id: `evt_${sequence}`, frontend, destination: 'main', conversation_id: id, sequence, type, state, attempts: tries.length, replays: 0, next_attempt_at: null, last_status: tries.at(-1)?.status ?? null, last_error: tries.at(-1)?.error ?? null, created_at: ago(800), delivered_at: null, tries, ...more });
    return {
      ...outline(id), frontend: decodeURIComponent(frontend), conversation_id: decodeURIComponent(id), user_id: 'u-9', state: 'escalated', note: null, status_text: 'Escalated to Human Agent', awaiting_customer: false,
      handoff: handoff('waiting', 780, { position: 1 }), interaction_id: 'int_01h7zq', binding_version: 1, last_sequence: 5, read_sequence: 3, pending_deliveries: 1, dead_deliveries: 1,
      next_read_at: ago(-4), watch_until: ago(-90_000), has_more_events: false, has_more_deliveries: false,
      turns: [
        { message_id: 'm-1', role: 'user', state: 'answered', accepted_at: ago(820), sent_at: ago(819.9), state_since: ago(815), replies: 1, detail: '', request_id: 'req_01h8', text: words(MARKUP), tries: [{ number: 1, began_at: ago(819.9), ended_at: ago(817), duration_ms: 2900, outcome: 'unclear', status: 500, error: 'HTTP 500' }, { number: 2, began_at: ago(816.5), ended_at: ago(815), duration_ms: 1480, outcome: 'answered', status: 200, error: null }] },
        { message_id: 'm-2', role: 'user', state: 'late', accepted_at: ago(790), sent_at: ago(789), state_since: ago(700), replies: 0, detail: '', request_id: 'req_01h9', text: words('I want to talk to a human'), tries: [{ number: 1, began_at: ago(789), ended_at: null, duration_ms: null, outcome: null, status: null, error: null }] },
      ],
      events: [event(1, 820, 'message.created', 'user', MARKUP), event(2, 815, 'message.created', 'bot', 'It is on its way.'), event(3, 815, 'turn.completed'), event(4, 790, 'message.created', 'user', 'I want to talk to a human'), event(5, 780, 'handoff.requested')],
      deliveries: [
        delivery(2, 'message.created', 'delivered', [tried(1, 814.5, 503, 'HTTP 503'), tried(2, 809, 200, null)], { delivered_at: ago(809) }),
        delivery(3, 'turn.completed', 'dead', [tried(1, 808, 500, 'HTTP 500'), tried(2, 790, 500, 'HTTP 500')]),
        delivery(5, 'handoff.requested', 'pending', [], { next_attempt_at: ago(-30) }),
      ],
    };
  }
}
