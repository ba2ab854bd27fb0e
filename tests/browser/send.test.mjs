// Sending from a real browser: whatever happens in between, the bridge gets each message once, in the order they were typed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bench, eventually, launch, send, texts, until } from './harness.mjs';
import { mint } from './fake-bridge.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const statusOf = (page, id) => page.evaluate((key) => globalThis.chat.messages.find((message) => message.id === key)?.status, id);
const untilStatus = (page, id, status) => until(page, ([key, wanted]) => globalThis.chat.messages.find((message) => message.id === key)?.status === wanted, [id, status]);
const stored = (fake) => [...(fake.conversation('c-1', false)?.messages.keys() ?? [])];

test('a message is shown at once, accepted and answered', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  const first = await send(page, 'Hello', { messageId: 'm-1' });
  assert.equal(first.status, 'pending');
  await untilStatus(page, 'm-1', 'answered');
  assert.equal((await texts(page)).length, 2);
  const states = await page.evaluate(() => globalThis.log.filter(([type, value]) => type === 'message' && value.id === 'm-1').map(([, value]) => value.status));
  assert.deepEqual([...new Set(states)], ['pending', 'queued', 'answered']);
  assert.equal(await page.evaluate(() => localStorage.length), 0, 'nothing waits any more');
});

test('the same message id twice is one message and one request', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await page.evaluate(() => { for (let i = 0; i < 5; i++) globalThis.chat.send('Double click', { messageId: 'm-1' }); });
  await untilStatus(page, 'm-1', 'answered');
  assert.equal(b.fake.posts.length, 1);
  await send(page, 'Double click', { messageId: 'm-1' });
  assert.equal(b.fake.posts.length, 1);
});

test('offline and back: messages wait and go out in order, once', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat({ minDelay: 5_000, maxDelay: 20_000 });
  await until(page, () => globalThis.chat.connection === 'online');
  await b.offline(true);
  await until(page, () => globalThis.chat.connection === 'offline');
  for (const n of [1, 2, 3]) await send(page, `Message ${n}`, { messageId: `m-${n}` });
  assert.equal(await statusOf(page, 'm-1'), 'pending');
  await b.offline(false); // only the `online` event can be this quick: the retry delay is seconds
  await untilStatus(page, 'm-3', 'answered');
  assert.deepEqual(stored(b.fake), ['m-1', 'm-2', 'm-3']);
});

for (const fault of ['destroy', 'status 500', 'status 502 with a page of a proxy']) {
  test(`an answer that is lost after storing (${fault}) does not make a second message`, async (t) => {
    const b = await bench(t, browser, { autoReply: false });
    const page = await b.chat();
    b.fake.postFaults = [{ storeFirst: true, ...{ destroy: { destroy: true }, 'status 500': { status: 500 } }[fault] ?? { status: 502, body: '<html>Bad gateway</html>' } }];
    await send(page, 'Once', { messageId: 'm-1' });
    await send(page, 'Then', { messageId: 'm-2' });
    await untilStatus(page, 'm-2', 'queued');
    assert.deepEqual(stored(b.fake), ['m-1', 'm-2']);
    assert.deepEqual(await texts(page), ['Once', 'Then']);
  });
}

test('a network that answers 200 with a page of its own has stored nothing', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  b.fake.postFaults = [{ status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Welcome to our Wi-Fi</h1>' }, { status: 200, headers: { 'content-type': 'application/json' }, body: '{}' }];
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  assert.equal(b.fake.posts.length, 3);
});

test('429 with Retry-After is waited for, and the order is kept', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  b.fake.postFaults = [{ status: 429, headers: { 'retry-after': '1' } }];
  await send(page, 'First', { messageId: 'm-1' });
  await send(page, 'Second', { messageId: 'm-2' });
  await page.evaluate(() => dispatchEvent(new Event('online'))); // not even this may cut it short
  await untilStatus(page, 'm-2', 'answered');
  const [refused, again, second] = b.fake.posts;
  assert.ok(again.at - refused.at >= 1000, `came after ${again.at - refused.at} ms`);
  assert.deepEqual([refused.message_id, again.message_id, second.message_id], ['m-1', 'm-1', 'm-2']);
});

test('what waits survives a reload and is sent with the same bytes', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat({ user: { id: 'u-1', attributes: { plan: 'Free' } }, minDelay: 60_000, maxDelay: 60_000 });
  b.fake.postFaults = [{ status: 503 }];
  await send(page, 'Do not lose me', { messageId: 'm-1' });
  await send(page, 'Nor me', { messageId: 'm-2' });
  await eventually(() => b.fake.posts.length >= 1);
  await page.reload();
  await b.chat({ user: { id: 'u-1', attributes: { plan: 'Pro' } } }, page);
  await untilStatus(page, 'm-2', 'answered');
  assert.equal(b.fake.posts[1].raw, b.fake.posts[0].raw);
  assert.deepEqual(stored(b.fake), ['m-1', 'm-2']);
});

test('what waits for one conversation is not sent to another whose id begins alike', async (t) => {
  const b = await bench(t, browser);
  b.mint = () => mint('c-1:x');
  const page = await b.chat({ conversationId: 'c-1:x', minDelay: 60_000, maxDelay: 60_000 });
  b.fake.postFaults = [{ status: 503 }];
  await send(page, 'For the other one', { messageId: 'm-1' });
  await eventually(() => b.fake.posts.length >= 1);
  await page.reload();
  b.mint = () => mint('c-1');
  await b.chat({}, page);
  assert.deepEqual(await texts(page), []);
});

test('what has waited for a day is not sent behind its author’s back, but can be', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat({ minDelay: 60_000, maxDelay: 60_000 });
  b.fake.postFaults = [{ status: 503 }];
  await send(page, 'Yesterday', { messageId: 'm-1' });
  await eventually(() => b.fake.posts.length >= 1);
  await page.reload();
  await page.evaluate(() => { const real = Date.now.bind(Date); Date.now = () => real() + 25 * 3_600_000; });
  await b.chat({}, page);
  assert.equal(await statusOf(page, 'm-1'), 'failed');
  assert.equal(b.fake.posts.length, 1);
  const again = await page.evaluate(() => [globalThis.chat.resend('m-1').id, (() => { try { globalThis.chat.resend('m-1'); return 'sent'; } catch (error) { return error.code; } })()]);
  assert.deepEqual(again, ['m-1~2', 'not_resendable']);
  await untilStatus(page, 'm-1~2', 'answered');
  assert.deepEqual(stored(b.fake), ['m-1~2']);
});

test('two tabs of one customer send one message', async (t) => {
  const b = await bench(t, browser);
  const slow = { minDelay: 300, maxDelay: 300 };
  const one = await b.chat(slow);
  b.fake.postFaults = Array(1000).fill({ status: 503 });
  await send(one, 'From the first tab', { messageId: 'm-1' });
  await eventually(() => b.fake.posts.length >= 1);
  const two = await b.chat(slow);
  assert.deepEqual(await texts(two), ['From the first tab']);
  b.fake.postFaults = [];
  for (const page of [one, two]) await until(page, () => globalThis.chat.lastSequence >= 3);
  assert.deepEqual(stored(b.fake), ['m-1']);
  for (const page of [one, two]) assert.equal((await texts(page)).length, 2);
});

test('a refusal is final, is told, and holds up nothing behind it', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  b.fake.postFaults = [{ status: 422 }];
  const settled = page.evaluate(() => globalThis.chat.accepted(globalThis.chat.send('Bad', { messageId: 'm-1' }).id).catch((error) => error.code));
  await send(page, 'Good', { messageId: 'm-2' });
  assert.equal(await settled, 'invalid_message');
  await untilStatus(page, 'm-2', 'answered');
  const bad = await page.evaluate(() => globalThis.chat.messages.find((message) => message.id === 'm-1'));
  assert.deepEqual([bad.status, bad.code, bad.mayResend], ['failed', 'invalid_message', false]);
  assert.ok(await page.evaluate(() => globalThis.log.some(([type, value]) => type === 'error' && value.status === 422)));
  assert.equal(b.fake.posts.filter((post) => post.message_id === 'm-1').length, 1);
});

test('an id that is taken by another text is a conflict that a new id solves', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await send(page, 'First', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  const other = await b.chat({ storage: null, conversationId: 'c-1', fetch: undefined });
  await other.evaluate(() => { globalThis.chat.close(); globalThis.chat = globalThis.make({ requestTimeout: 5_000 }); globalThis.chat.send('Other', { messageId: 'm-1' }); });
  await until(other, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'message_conflict'));
});

test('a failed turn can be sent again as one new message, also after a reload', async (t) => {
  const b = await bench(t, browser, { autoReply: false });
  const page = await b.chat();
  await send(page, 'Unlucky', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'queued');
  b.fake.emit('c-1', 'turn.failed', { message_id: 'm-1', code: 'fini_unavailable', detail: 'no answer', may_resend: true });
  await untilStatus(page, 'm-1', 'failed');
  await page.reload();
  await b.chat({}, page);
  await untilStatus(page, 'm-1', 'failed');
  assert.equal((await page.evaluate(() => globalThis.chat.resend('m-1'))).id, 'm-1~2');
  await untilStatus(page, 'm-1~2', 'queued');
  await page.reload();
  await b.chat({}, page);
  await untilStatus(page, 'm-1~2', 'queued');
  assert.equal(await page.evaluate(() => globalThis.chat.messages.find((message) => message.id === 'm-1').mayResend), false);
  assert.deepEqual(stored(b.fake), ['m-1', 'm-1~2']);
});

test('a token is renewed before it expires', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await send(page, 'One', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  assert.equal(b.tokens.length, 1, 'one token serves until it is nearly over');
  await page.evaluate(() => { const real = Date.now.bind(Date); Date.now = () => real() + 59.5 * 60_000; });
  b.mint = () => mint('c-1', { generation: 2 });
  await send(page, 'Two', { messageId: 'm-2' });
  await untilStatus(page, 'm-2', 'answered');
  assert.equal(b.fake.tokensSeen.at(-1), b.tokens[1]);
});

test('a token that is refused is renewed once and the message goes through', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await send(page, 'One', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  const old = b.tokens[0];
  b.fake.refuseTokens = (token) => token === old;
  b.mint = () => mint('c-1', { generation: 2 });
  await send(page, 'Two', { messageId: 'm-2' });
  await untilStatus(page, 'm-2', 'answered');
  assert.equal(b.tokens.length, 2);
  assert.ok(!(await page.evaluate(() => globalThis.log.some(([type]) => type === 'error'))));
});

test('without a good token a message waits, says so, and goes out with the next one', async (t) => {
  const b = await bench(t, browser);
  const page = await b.page();
  await b.chat({ maxDelay: 60_000 }, page);
  await page.evaluate((token) => { globalThis.chat.close(); globalThis.chat = globalThis.make({ getToken: undefined, token, maxDelay: 60_000 }); }, mint('c-1', { lifetime: -10 }));
  await send(page, 'Locked out', { messageId: 'm-1' });
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'unauthorized'));
  assert.equal(await statusOf(page, 'm-1'), 'pending');
  await page.evaluate((token) => globalThis.chat.setToken(token), mint('c-1'));
  await untilStatus(page, 'm-1', 'answered');
});

test('a customer whose clock is hours off does not ask for a token with every request', async (t) => {
  const b = await bench(t, browser);
  for (const hours of [-5, 5]) {
    b.tokens.length = 0;
    const page = await b.page();
    await page.evaluate((shift) => { const real = Date.now.bind(Date); Date.now = () => real() + shift; }, hours * 3_600_000);
    await b.chat({ storage: null }, page);
    for (const n of [1, 2, 3]) await send(page, `Message ${n}`, { messageId: `m${hours}-${n}` });
    await untilStatus(page, `m${hours}-3`, 'answered');
    assert.equal(b.tokens.length, 1);
    await page.close();
  }
});

test('a page without storage still sends', async (t) => {
  const b = await bench(t, browser);
  const page = await b.page();
  await page.evaluate(() => { Object.defineProperty(globalThis, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } }); });
  await b.chat({}, page);
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
});

test('after close nothing is sent and nothing is said', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await until(page, () => globalThis.chat.ready);
  await page.evaluate(() => globalThis.chat.close());
  const [entries, requests] = [await page.evaluate(() => globalThis.log.length), b.fake.tokensSeen.length];
  b.fake.say('c-1', 'agent', 'Anyone there?');
  await page.evaluate(() => { dispatchEvent(new Event('online')); document.dispatchEvent(new Event('visibilitychange')); });
  assert.equal(await page.evaluate(() => { try { globalThis.chat.send('x'); return 'sent'; } catch (error) { return error.code; } }), 'closed');
  assert.deepEqual([await page.evaluate(() => globalThis.log.length), b.fake.tokensSeen.length], [entries, requests]);
});

for (const status of [400, 403, 404, 405, 502]) {
  test(`a page of something in between (${status}) is not the bridge's word`, async (t) => {
    const b = await bench(t, browser);
    const page = await b.chat();
    b.fake.postFaults = [1, 2].map(() => ({ status, headers: { 'content-type': 'text/html' }, body: '<html>default backend</html>' }));
    await send(page, 'Hello', { messageId: 'm-1' });
    await untilStatus(page, 'm-1', 'answered');
    assert.deepEqual(stored(b.fake), ['m-1']);
  });
}

test('a text that never gets through does not silence what is written after it', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  b.fake.refusePosts = (message) => message.text.includes('DROP TABLE') && { status: 403, headers: { 'content-type': 'text/html' }, body: '<html>blocked</html>' };
  await send(page, "'; DROP TABLE users", { messageId: 'm-1' });
  await until(page, () => globalThis.chat.connection === 'online');
  const beats = setInterval(() => b.fake.conversation('c-1', false) && b.fake.raw('c-1', ': beat\n\n'), 20);
  t.after(() => clearInterval(beats));
  b.fake.say('c-1', 'bot', 'Anything else?');
  await send(page, 'Hello', { messageId: 'm-2' });
  await untilStatus(page, 'm-2', 'answered');
  await untilStatus(page, 'm-1', 'failed');
  assert.deepEqual(await page.evaluate(() => globalThis.chat.messages.filter(({ id }) => id === 'm-1').map(({ code, mayResend }) => [code, mayResend])), [['undeliverable', true]]);
  assert.equal(await page.evaluate(() => globalThis.chat.discard('m-1')), true);
  assert.ok(!(await texts(page)).includes("'; DROP TABLE users"));
});

test('a message that waits can be taken out, and is not sent then', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await b.offline(true);
  await send(page, 'Oops', { messageId: 'm-1' });
  await send(page, 'Hello', { messageId: 'm-2' });
  assert.equal(await page.evaluate(() => globalThis.chat.discard('m-1')), true);
  assert.equal(await page.evaluate(() => globalThis.chat.discard('m-1')), false);
  await b.offline(false);
  await untilStatus(page, 'm-2', 'answered');
  assert.deepEqual(stored(b.fake), ['m-2']);
});

test('a wish to be asked again at once is no hot loop', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat({ minDelay: 200, maxDelay: 2_000 });
  b.fake.postFaults = Array.from({ length: 4 }, () => ({ status: 503, headers: { 'retry-after': '0' } }));
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  const at = b.fake.posts.map((post) => post.at);
  // At least half of 200 + 400 + 800 + 1,600 ms, whatever the wish.
  assert.ok(at.at(-1) - at[0] >= 1_400, `${at.at(-1) - at[0]} ms for five tries`);
});

test('half a character is sent as one that JSON can carry', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await send(page, 'cut \ud83d', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  assert.equal(b.fake.posts[0].text, 'cut \ufffd');
});

test('a refused message says which fields were wrong', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  const body = JSON.stringify({ status: 422, code: 'invalid_message', title: 'no', errors: [{ field: 'text', message: 'too long' }] });
  b.fake.postFaults = [{ status: 422, headers: { 'content-type': 'application/problem+json' }, body }];
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'failed');
  assert.deepEqual(await page.evaluate(() => globalThis.chat.messages[0].errors), [{ field: 'text', message: 'too long' }]);
});

test('what has failed stays with its text over a reload, where it failed, until it is sent again or taken out', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  const page = await b.chat();
  await until(page, () => globalThis.chat.ready);
  b.fake.postFaults = [{ status: 422 }, { status: 409 }];
  await send(page, 'Refused', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'failed');
  await send(page, 'Refused too', { messageId: 'm-2' });
  await untilStatus(page, 'm-2', 'failed');
  b.fake.say('c-1', 'agent', 'After');
  await until(page, () => globalThis.chat.lastSequence >= 2);
  assert.deepEqual(await texts(page), ['Before', 'Refused', 'Refused too', 'After']);
  await page.reload();
  await b.chat({}, page);
  await until(page, () => globalThis.chat.lastSequence >= 2);
  assert.deepEqual(await texts(page), ['Before', 'Refused', 'Refused too', 'After']);
  assert.equal(await page.evaluate(() => globalThis.chat.discard('m-1')), true);
  await page.reload();
  await b.chat({}, page);
  await until(page, () => globalThis.chat.lastSequence >= 2);
  assert.deepEqual(await texts(page), ['Before', 'Refused too', 'After']);
  assert.equal(b.fake.posts.length, 2, 'none of them was tried again');
});

test('what was typed goes out in that order, whatever the clock did in between', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat({ minDelay: 60_000, maxDelay: 60_000 });
  b.fake.postFaults = [{ status: 503 }];
  await send(page, 'First', { messageId: 'm-1' });
  await eventually(() => b.fake.posts.length >= 1);
  await page.evaluate(() => { const real = Date.now.bind(Date); Date.now = () => real() - 3 * 3_600_000; });
  await send(page, 'Second', { messageId: 'm-2' });
  await page.reload();
  await send(await b.chat({}, page), 'Third', { messageId: 'm-3' });
  await untilStatus(page, 'm-3', 'answered');
  assert.deepEqual(stored(b.fake), ['m-1', 'm-2', 'm-3']);
});

test('a fetch and a body that never end are given up, whether or not they mind a signal', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  const page = await b.page();
  await b.chat({}, page);
  await page.evaluate(() => {
    globalThis.chat.close();
    const never = new Promise(() => {});
    let calls = 0;
    globalThis.chat = globalThis.make({
      requestTimeout: 100, greeting: 100, share: false,
      fetch: async (...args) => {
        calls += 1;
        if (calls < 4) return never;
        const response = await fetch(...args);
        return calls < 8 ? { status: response.status, ok: response.ok, headers: response.headers, body: { getReader: () => ({ read: () => never }) }, text: () => never } : response;
      },
    });
  });
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
  assert.deepEqual(stored(b.fake), ['m-1']);
});

test('storage that refuses everything, or holds rubbish, changes nothing but what a reload remembers', async (t) => {
  const b = await bench(t, browser);
  const page = await b.page();
  await page.evaluate(() => {
    for (const [n, rubbish] of ['', '{', 'null', '{"id":"x"}', '{"id":"x","n":1,"at":1e300,"text":"a","body":"b"}'].entries()) localStorage.setItem(`fini-bridge::c-1:${n}`, rubbish);
    const throws = () => { throw new DOMException('no', 'QuotaExceededError'); };
    globalThis.refusing = { get length() { return throws(); }, key: throws, getItem: throws, setItem: throws, removeItem: throws };
  });
  await b.chat({}, page);
  assert.deepEqual(await texts(page), []);
  await page.evaluate(() => { globalThis.chat.close(); globalThis.chat = globalThis.make({ storage: globalThis.refusing }); });
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilStatus(page, 'm-1', 'answered');
});
