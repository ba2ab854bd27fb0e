// The client on the real bridge, from a page of another origin: what a shop's visitor goes through.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { eventually, launch, send, sequences, texts, until, upTo } from './harness.mjs';
import { World } from './programs.mjs';

let browser;
let world;
let count = 0;
before(async () => { [browser, world] = await Promise.all([launch(), World.start()]); });
after(() => Promise.all([browser.close(), world.stop()]));

/** A visitor's page in `shop` with a chat of its own, as in the harness, on the client that the bridge serves. */
async function visit(t, { shop = world.shop, conversation = `real-${++count}` } = {}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.exposeFunction('mintToken', () => world.token(conversation));
  await page.goto(shop.origin);
  return { page, context, conversation };
}

function begin({ page, conversation }) {
  return page.evaluate(async ([baseUrl, conversationId]) => {
    const { FiniChat } = await import(`${baseUrl}/v1/client.js`);
    globalThis.log = [];
    globalThis.chat = new FiniChat({ baseUrl, conversationId, getToken: () => globalThis.mintToken(), minDelay: 50, maxDelay: 1000 });
    for (const type of ['event', 'error']) globalThis.chat.on(type, (value) => globalThis.log.push([type, value instanceof Error ? value.code : value]));
  }, [world.url, conversation]);
}

const turns = (page, n) => until(page, (wanted) => globalThis.log.filter(([, event]) => event.type === 'turn.completed').length >= wanted, n);

/** Every event once and in order, and each of these texts at Fini once. */
async function whole(page, words) {
  const seen = await sequences(page);
  assert.deepEqual(seen, upTo(seen.length));
  const own = await page.evaluate(() => globalThis.chat.messages.filter((message) => message.author === 'user').map((message) => message.text));
  assert.deepEqual(own, words);
  for (const text of words) {
    const found = (await world.upstream(text)).flatMap((each) => each.events).filter((event) => event.message === text);
    assert.equal(found.length, 1, `"${text}" at Fini`);
  }
}

test('a page of another origin talks to the bridge with a token of its own backend', async (t) => {
  const visitor = await visit(t);
  await begin(visitor);
  await send(visitor.page, 'Hello from the shop');
  await turns(visitor.page, 1);
  await whole(visitor.page, ['Hello from the shop']);
  assert.equal((await texts(visitor.page)).length, 2);
});

test('the page of the README works as it stands there', async (t) => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const [, html] = /```html\n([^]*?)```/.exec(readme);
  assert.ok(html.trim().split('\n').length <= 10, 'ten lines');
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const body = `<!doctype html><meta charset="utf-8"><title>Shop</title>${html.replaceAll('https://bridge.example.com', world.url)}`;
  world.shop.answers.set('/chat', () => body);
  world.shop.answers.set('/my/token', () => world.token('web-8121'));
  await page.goto(`${world.shop.origin}/chat`);
  const rows = () => page.locator('li').allTextContents();
  const shown = (n) => until(page, (wanted) => document.querySelectorAll('li').length >= wanted, n);
  const input = page.getByRole('textbox', { name: 'Message' });
  await input.fill('Where is my order? <b>#1</b>');
  await input.press('Enter');
  await shown(2);
  await input.fill('And the other one?');
  await input.press('Enter');
  await shown(4);
  const before = await rows();
  assert.deepEqual(before.map((row) => row.split(':')[0]), ['user', 'bot', 'user', 'bot']);
  assert.equal(before[0], 'user: Where is my order? <b>#1</b>');
  await page.reload();
  await shown(4);
  assert.deepEqual(await rows(), before, 'the same after a reload');
  await page.evaluate(await readFile(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8'));
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await page.evaluate(() => globalThis.axe.run('#log, #form'));
    assert.deepEqual(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id }) => id), []);
  }
});

test('the scripts are small on the wire, and nothing but the comments of the sources is missing', async () => {
  let bytes = 0;
  const code = (text) => text.split('\n').map((line) => line.split(' // ')[0].trim()).filter((line) => line && !/^(\/\/|\/\*\*|\*)/.test(line));
  for (const [path, name] of [['client.js', 'fini-bridge.js'], ['markdown.js', 'markdown.js']]) {
    const served = await (await fetch(`${world.url}/v1/${path}`)).text();
    const source = await readFile(new URL(`../../src/http/client/${name}`, import.meta.url), 'utf8');
    assert.deepEqual(code(served), code(source));
    bytes += gzipSync(served, { level: 9 }).length;
  }
  assert.ok(bytes <= 14 * 1024, `${bytes} bytes together`);
});

test('a page of an origin that is not listed gets nothing', async (t) => {
  const visitor = await visit(t, { shop: world.stranger });
  await assert.rejects(begin(visitor), 'not even the client');
  const token = await world.token(visitor.conversation);
  const answer = await visitor.page.evaluate(([url, bearer]) => fetch(`${url}/v1/messages`, {
    method: 'POST', headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    body: JSON.stringify({ conversation_id: 'c', text: 'From a stranger' }),
  }).then((response) => response.status, (error) => error.name), [world.url, token]);
  assert.equal(answer, 'TypeError');
  assert.deepEqual(await world.upstream('From a stranger'), []);
});

test('a token opens one conversation and no other', async (t) => {
  const [mine, other] = [await visit(t), await visit(t)];
  await begin(other);
  await send(other.page, 'Something private');
  await turns(other.page, 1);
  const token = await world.token(mine.conversation);
  const statuses = await mine.page.evaluate(async ([url, bearer, id]) => {
    const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
    const ask = async (path, method = 'GET', body = undefined) => (await fetch(url + path, { method, headers, body: body && JSON.stringify(body) })).status;
    return Promise.all([
      ask(`/v1/conversations/${id}`), ask(`/v1/conversations/${id}/events`), ask(`/v1/conversations/${id}/stream`),
      ask(`/v1/conversations/${id}`, 'DELETE'), ask(`/v1/conversations/${id}/tokens`, 'POST', {}),
      ask('/v1/messages', 'POST', { conversation_id: id, text: 'In another name' }),
    ]);
  }, [world.url, token, other.conversation]);
  assert.deepEqual(statuses, [403, 403, 403, 403, 403, 403]);
});

for (const [how, status] of [['SIGTERM', 0], ['SIGKILL', 'SIGKILL']]) {
  test(`${how} in the middle of a conversation loses and repeats nothing`, async (t) => {
    const visitor = await visit(t);
    const { page } = visitor;
    await begin(visitor);
    const words = upTo(12).map((n) => `${how} ${n}`);
    await send(page, words[0]);
    await turns(page, 1);
    // Some are accepted, some on their way to Fini, some still here when it ends.
    for (const text of words.slice(1, 6)) await send(page, text);
    assert.equal(await world.bridge.stop(how), status);
    await until(page, () => globalThis.chat.connection === 'connecting');
    for (const text of words.slice(6)) await send(page, text);
    await world.up();
    await turns(page, words.length);
    await whole(page, words);
    assert.equal(await page.evaluate(() => globalThis.chat.connection), 'online');
  });
}

test('offline and back: what was written meanwhile goes out once, in order', async (t) => {
  const visitor = await visit(t);
  const { page, context } = visitor;
  await begin(visitor);
  await send(page, 'Before the tunnel');
  await turns(page, 1);
  await context.setOffline(true);
  await until(page, () => globalThis.chat.connection === 'offline');
  for (const n of [1, 2, 3]) await send(page, `In the tunnel ${n}`);
  const [upstream] = await world.upstream('Before the tunnel');
  await world.agent(upstream, 'Are you there?');
  await context.setOffline(false);
  await turns(page, 4);
  await until(page, () => globalThis.chat.messages.some((message) => message.text === 'Are you there?'));
  await whole(page, ['Before the tunnel', 'In the tunnel 1', 'In the tunnel 2', 'In the tunnel 3']);
});

test('a tab that was asleep over a restart has everything when it wakes', async (t) => {
  const visitor = await visit(t);
  const { page, context } = visitor;
  await begin(visitor);
  await send(page, 'Before the nap');
  await turns(page, 1);
  const devtools = await context.newCDPSession(page);
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
  const [upstream] = await world.upstream('Before the nap');
  await world.agent(upstream, 'First while asleep');
  assert.equal(await world.bridge.stop(), 0);
  await world.agent(upstream, 'Second while asleep');
  await world.up();
  await devtools.send('Page.setWebLifecycleState', { state: 'active' });
  await until(page, () => globalThis.chat.messages.some((message) => message.text === 'Second while asleep'));
  const seen = await texts(page);
  assert.deepEqual(seen.slice(-2), ['First while asleep', 'Second while asleep']);
  await whole(page, ['Before the nap']);
});

test('duplicate clicks make one message', async (t) => {
  const visitor = await visit(t);
  const { page } = visitor;
  await begin(visitor);
  await page.evaluate(() => {
    document.querySelector('#send').addEventListener('click', () => globalThis.chat.send('Order it', { messageId: 'order-1' }));
  });
  await page.locator('#send').click({ clickCount: 5 });
  await turns(page, 1);
  // And the same once more from a page that knows nothing of the first.
  const again = await visit(t, { conversation: visitor.conversation });
  await begin(again);
  await send(again.page, 'Order it', { messageId: 'order-1' });
  await turns(again.page, 1);
  await eventually(async () => (await world.upstream('Order it')).length > 0);
  for (const each of [page, again.page]) await whole(each, ['Order it']);
});
