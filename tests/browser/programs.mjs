// The real program for the browser tests: the demo, or a sandbox and a bridge that can be stopped and started again, and pages
// of another origin in front of them. Everything listens on a free port of loopback and is ended by its own handle.

import { createHmac, randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createSocket } from 'node:net';

export const BINARY = process.env.FINI_BRIDGE_BINARY ?? new URL('../../target/debug/fini-bridge', import.meta.url).pathname;
const BOT = '4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3';

/** A child whose output is kept; `line` waits for a match in it. */
class Program {
  output = '';
  #heard = new Set();

  constructor(...words) {
    this.child = spawn(BINARY, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH } });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.output += text; for (const look of this.#heard) look(); });
    }
    this.ended = once(this.child, 'exit');
  }

  line(pattern) {
    return this.until(() => pattern.exec(this.output), pattern);
  }

  /** Waits until what it has said so far makes this true, and gives what that is. */
  until(condition, what) {
    return new Promise((resolve, reject) => {
      const stop = (done, value) => { clearTimeout(timer); this.#heard.delete(look); done(value); };
      const look = () => { const found = condition(); if (found) stop(resolve, found); };
      const timer = setTimeout(() => stop(reject, new Error(`never said ${what}: ${this.output}`)), 60_000);
      this.#heard.add(look);
      void this.ended.then(() => stop(reject, new Error(`ended: ${this.output}`)));
      look();
    });
  }

  /** Ends it and gives its status, or the signal's name. */
  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    const [code, by] = await this.ended;
    return by ?? code;
  }
}

/** The demo on a port of its own: {url, stop}. */
export async function demo(...more) {
  const program = new Program('demo', '--listen', '127.0.0.1:0', ...more);
  const [, url] = await program.line(/open (http:\S+)/);
  return { url, stop: () => program.stop() };
}

async function freePort() {
  const probe = createSocket().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

/**
 * A page server: an empty page under a policy that lets it load and ask the bridge, and nothing else; and, by their paths,
 * `answers`: functions that give a text.
 */
async function pages(bridge) {
  const answers = new Map();
  const policy = `default-src 'none'; script-src ${bridge}; connect-src ${bridge}; base-uri 'none'`;
  const server = createServer(async (request, response) => {
    const answer = answers.get(request.url);
    if (answer) {
      const text = await answer();
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(text);
      return;
    }
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy });
    response.end('<!doctype html><meta charset="utf-8"><title>Shop</title><link rel="icon" href="data:,"><button id="send">Send</button>');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const stop = () => new Promise((done) => { server.close(done); server.closeAllConnections(); });
  return { origin: `http://127.0.0.1:${server.address().port}`, answers, stop };
}

/** A receiver of callbacks: answers `status`, and keeps what it was sent. */
async function receiver() {
  const self = { status: 200, taken: [], signed: [] };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    if (self.status < 300) {
      self.taken.push(JSON.parse(body));
      self.signed.push({ headers: request.headers, body });
    }
    response.writeHead(self.status).end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  self.url = `http://127.0.0.1:${server.address().port}/callback`;
  self.stop = () => new Promise((done) => { server.close(done); server.closeAllConnections(); });
  return self;
}

export const newToken = () => randomBytes(24).toString('hex');

export const newCallbackSecret = () => `whsec_${randomBytes(32).toString('base64')}`;

/** Whether a callback carries a signature of this secret (Standard Webhooks). */
export function isSignedBy(secret, { headers, body }) {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const mac = createHmac('sha256', key).update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`).digest('base64');
  return headers['webhook-signature'].split(' ').includes(`v1,${mac}`);
}

/** Named operators, and callbacks that are given up soon. */
const operated = (world) => `
[delivery]
allow_http = true
allow_networks = ["127.0.0.0/8"]
retry_schedule = ["100ms"]
${world.operators.map(({ name, role, texts }) => `[[admin.operators]]
name = "${name}"
role = "${role}"
texts = ${texts}
token_file = "${join(world.folder, `${name}.token`)}"`).join('\n')}
`;

/** A sandbox, a bridge on it, and two shops, of which only the first may talk to the bridge. */
export class World {
  #token = randomBytes(24).toString('hex');

  /** With `operators`, of whom the console asks for a token, callbacks go to a receiver of the test's. */
  static async start({ operators = [] } = {}) {
    const world = new World();
    world.operators = operators.map((each) => ({ ...each, token: randomBytes(24).toString('hex') }));
    world.receiver = await receiver();
    world.folder = await mkdtemp(join(tmpdir(), 'fini-bridge-browser.'));
    world.sandboxProgram = new Program('sandbox', '--listen', '127.0.0.1:0', '--reply-latency', '50ms', '--unlimited');
    [world.sandbox] = await world.sandboxProgram.line(/http:\/\/127\.0\.0\.1:\d+/);
    const [listen, admin] = [await freePort(), await freePort()];
    world.url = `http://127.0.0.1:${listen}`;
    world.admin = `http://127.0.0.1:${admin}`;
    world.shop = await pages(world.url);
    world.stranger = await pages(world.url);
    await writeFile(join(world.folder, 'bridge.toml'), `
[server]
listen = "127.0.0.1:${listen}"
shutdown_grace = "5s"
cors_origins = ["${world.shop.origin}"]
[admin]
listen = "127.0.0.1:${admin}"
[store]
url = "sqlite://${world.folder}/bridge.db"
[fini]
base_url = "${world.sandbox}"
api_key = "fini_sandbox"
rate_limit = { requests = 100000, window = "60s" }
[poll]
sweep_interval = "250ms"
[turns]
absence_window = "1s"
${operators.length ? operated(world) : ''}
[[frontends]]
name = "web"
bot_id = "${BOT}"
${operators.length ? `tokens_file = "${join(world.folder, 'tokens')}"` : `tokens = ["${world.#token}"]`}
browser_token_secret = "${randomBytes(32).toString('hex')}"
${operators.length ? `callback_url = "${world.receiver.url}"\ncallback_secrets_file = "${join(world.folder, 'callback_secrets')}"` : 'callbacks = false'}
`);
    if (operators.length) {
      world.callbackSecret = newCallbackSecret();
      await world.#put({ tokens: [world.#token], callback_secrets: [world.callbackSecret], ...Object.fromEntries(world.operators.map(({ name, token }) => [`${name}.token`, [token]])) });
    }
    await world.up();
    return world;
  }

  /** The frontend's bearer token. */
  get frontendToken() { return this.#token; }

  set frontendToken(token) { this.#token = token; }

  /** Secrets into their files, one per line: each beside its place first, and then put there whole. */
  async #put(files) {
    for (const [name, lines] of Object.entries(files)) {
      await writeFile(join(this.folder, `${name}.new`), `${lines.join('\n')}\n`, { mode: 0o600 });
      await rename(join(this.folder, `${name}.new`), join(this.folder, name));
    }
  }

  /** Replaces secrets as an operator does, and waits until the bridge goes by them. */
  async rotate(files) {
    const read = () => this.bridge.output.split('"message":"secrets read again"').length;
    const before = read();
    await this.#put(files);
    this.bridge.child.kill('SIGHUP');
    await this.bridge.until(() => read() > before, 'secrets to be read again');
  }

  async up() {
    this.bridge = new Program('serve', '--config', join(this.folder, 'bridge.toml'));
    await this.bridge.line(/"message":"ready to serve"/);
  }

  async stop() {
    await Promise.all([this.bridge.stop(), this.sandboxProgram.stop(), this.receiver.stop(), this.shop.stop(), this.stranger.stop()]);
    await rm(this.folder, { recursive: true });
  }

  /** What a shop's own backend does. */
  async token(conversation, origins = [this.shop.origin]) {
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${this.url}/v1/conversations/${conversation}/tokens`, { method: 'POST', headers, body: JSON.stringify({ origins }) });
    return (await answer.json()).token;
  }

  /** What a customer writes, told by the shop's backend; gives its message's id once the turn is over. */
  async say(conversation, text, user) {
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json', prefer: 'wait=30' };
    const body = { conversation_id: conversation, text, ...(user ? { user: { id: user } } : {}) };
    const answer = await fetch(`${this.url}/v1/messages`, { method: 'POST', headers, body: JSON.stringify(body) });
    const { message_id: id } = await answer.json();
    return { id, requestId: answer.headers.get('x-request-id'), status: answer.status };
  }

  /** Asks for a human. */
  async askForHuman(conversation) {
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' };
    await fetch(`${this.url}/v1/conversations/${conversation}/handoff`, { method: 'POST', headers, body: '{}' });
  }

  /** One of the operators' routes, as the operator of that name. */
  async operate(name, path) {
    const { token } = this.operators.find((each) => each.name === name);
    const answer = await fetch(`${this.admin}/admin/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
    return answer.json();
  }

  /** What a command of the program prints, as the operator of that name; rejects where it fails. */
  async command(name, ...words) {
    const file = join(this.folder, `token-${name}`);
    await writeFile(file, this.operators.find((each) => each.name === name).token, { mode: 0o600 });
    const program = new Program(...words, '--admin', this.admin, '--admin-token-file', file);
    const [status] = await program.ended;
    if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${program.output}`);
    return program.output;
  }

  /** Another character of the simulated Fini. */
  async vendor(settings) {
    await this.#control('settings', settings, 'PATCH');
  }

  async #control(path, body, method = 'POST') {
    const answer = await fetch(`${this.sandbox}/_sandbox/${path}`, body && { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    return answer.json();
  }

  /** The simulated Fini's conversations that hold this text. */
  async upstream(text) {
    const { conversations } = await this.#control('conversations?limit=1000');
    return conversations.filter((each) => each.events.some((event) => event.message === text));
  }

  agent(upstream, text) {
    return this.#control(`conversations/${upstream.id}/agent-message`, { text });
  }
}
