// The tabs of one origin that show one conversation: one stream, one queue, and each of them shows everything once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mint } from './fake-bridge.mjs';
import { bench, eventually, launch, onChromium, send, sequences, texts, until, upTo } from './harness.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const streams = (fake) => fake.conversation('c-1').streams.size;
const untilLast = (page, n) => until(page, (wanted) => globalThis.chat.lastSequence >= wanted, n);
const stored = (fake) => [...(fake.conversation('c-1', false)?.messages.keys() ?? [])];

/** As the browser tells it; headless pages are all in sight otherwise. */
const show = (page, state) => page.evaluate((wanted) => {
  Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => wanted });
  document.dispatchEvent(new Event('visibilitychange'));
}, state);

async function tabs(b, count, options) {
  const pages = [];
  for (let n = 0; n < count; n++) pages.push(await b.chat(options));
  return pages;
}

test('thirty tabs hold one stream, and each shows every event and every message of the others once', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome');
  const pages = await tabs(b, 30);
  await Promise.all(pages.map((page) => untilLast(page, 1)));
  await eventually(() => streams(b.fake) === 1);
  await send(pages[7], 'From the eighth', { messageId: 'm-8' });
  await send(pages[23], 'From the other end', { messageId: 'm-24' });
  b.fake.say('c-1', 'agent', 'To all of you');
  for (const page of pages) {
    await untilLast(page, 8);
    assert.deepEqual(await sequences(page), upTo(8));
    assert.equal((await texts(page)).length, 6);
  }
  assert.equal(streams(b.fake), 1);
  assert.deepEqual(stored(b.fake), ['m-8', 'm-24']);
});

test('when the tab with the stream is closed another takes over, with what the closed one had not sent', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome');
  const [first, second] = await tabs(b, 2);
  await Promise.all([first, second].map((page) => untilLast(page, 1)));
  b.fake.refusePosts = () => ({ status: 503 });
  await send(first, 'Typed first', { messageId: 'm-1' });
  await send(second, 'Typed second', { messageId: 'm-2' });
  await until(second, () => globalThis.chat.messages.length >= 3);
  await eventually(() => b.fake.posts.length >= 1);
  await first.close();
  b.fake.refusePosts = null;
  await until(second, () => globalThis.chat.messages.filter(({ status }) => status === 'answered').length >= 2);
  assert.deepEqual(stored(b.fake), ['m-1', 'm-2']);
  await eventually(() => streams(b.fake) === 1);
  b.fake.say('c-1', 'agent', 'Still there?');
  await until(second, () => globalThis.chat.messages.some(({ text }) => text === 'Still there?'));
  assert.equal(await second.evaluate(() => localStorage.length), 0);
});

test('a hidden tab gives its stream up, still hears, and has one again when it comes back', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome');
  const page = await b.chat({ hidden: 50 });
  await eventually(() => streams(b.fake) === 1);
  await show(page, 'hidden');
  await eventually(() => streams(b.fake) === 0);
  b.fake.say('c-1', 'agent', 'While you looked elsewhere');
  await untilLast(page, 2);
  assert.equal(streams(b.fake), 0, 'it came by a page');
  await send(page, 'From out of sight', { messageId: 'm-1' });
  await untilLast(page, 5);
  await show(page, 'visible');
  await eventually(() => streams(b.fake) === 1);
  assert.deepEqual(await sequences(page), upTo(5));
});

test('a tab in sight takes over from a hidden one', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome');
  const [first, second] = await tabs(b, 2, { hidden: 50 });
  await Promise.all([first, second].map((page) => untilLast(page, 1)));
  await eventually(() => streams(b.fake) === 1);
  const [before] = b.fake.conversation('c-1').streams;
  await show(first, 'hidden');
  await eventually(() => streams(b.fake) === 1 && !b.fake.conversation('c-1').streams.has(before));
  b.fake.say('c-1', 'agent', 'Hello both');
  await Promise.all([first, second].map((page) => untilLast(page, 2)));
  await second.close();
  b.fake.say('c-1', 'agent', 'Hello you');
  await untilLast(first, 3);
  assert.deepEqual(await sequences(first), upTo(3));
});

test('what is taken out in one tab is gone in all, and sent by none', async (t) => {
  const b = await bench(t, browser);
  const [first, second] = await tabs(b, 2);
  await b.offline(true);
  await send(first, 'Oops', { messageId: 'm-1' });
  await until(second, () => globalThis.chat.messages.length >= 1);
  assert.equal(await second.evaluate(() => globalThis.chat.discard('m-1')), true);
  await until(first, () => globalThis.chat.messages.length === 0);
  await send(second, 'Better', { messageId: 'm-2' });
  await b.offline(false);
  await until(first, () => globalThis.chat.messages.some(({ status }) => status === 'answered'));
  assert.deepEqual(stored(b.fake), ['m-2']);
});

test('a refusal is shown in the tab that wrote, whichever tab sent it', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome');
  const [first, second] = await tabs(b, 2);
  await Promise.all([first, second].map((page) => untilLast(page, 1)));
  b.fake.postFaults = [{ status: 422 }];
  const settled = second.evaluate(() => globalThis.chat.accepted(globalThis.chat.send('Bad', { messageId: 'm-1' }).id).catch((error) => error.code));
  assert.equal(await settled, 'invalid_message');
  assert.deepEqual(await first.evaluate(() => globalThis.chat.messages.map(({ status }) => status)), [null, 'failed']);
  for (const page of [first, second]) assert.ok(await page.evaluate(() => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'invalid_message')));
  assert.equal(b.fake.posts.length, 1);
});

test('a tab whose token is refused lets another lead', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome');
  const first = await b.chat();
  await untilLast(first, 1);
  const bad = b.tokens[0];
  b.mint = () => mint('c-1', { generation: 2 });
  const second = await b.chat();
  await untilLast(second, 1);
  b.fake.refuseTokens = (token) => token === bad;
  await first.evaluate((token) => { globalThis.mintToken = async () => token; }, bad);
  b.fake.dropStreams('c-1');
  await eventually(() => streams(b.fake) === 1);
  await until(first, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'unauthorized'));
  await send(first, 'Typed where the token is refused', { messageId: 'm-1' });
  await until(first, () => globalThis.chat.messages.some(({ status }) => status === 'queued'));
  await untilLast(second, 4);
  assert.deepEqual(stored(b.fake), ['m-1']);
  b.fake.refuseTokens = null;
  await first.evaluate((token) => globalThis.chat.setToken(token), mint('c-1', { generation: 3 }));
  await untilLast(first, 4);
});

test('a feed that begins anew is seen by every tab', async (t) => {
  const b = await bench(t, browser);
  for (const n of upTo(4)) b.fake.say('c-1', 'bot', `Old ${n}`);
  const pages = await tabs(b, 3);
  await Promise.all(pages.map((page) => untilLast(page, 4)));
  await eventually(() => streams(b.fake) === 1);
  b.fake.conversation('c-1').events.length = 0;
  b.fake.raw('c-1', 'event: feed.reset\ndata: {"id":null,"type":"feed.reset","data":{}}\n\n');
  b.fake.say('c-1', 'bot', 'New 1');
  for (const page of pages) {
    await until(page, () => globalThis.chat.messages.some(({ text }) => text === 'New 1'));
    assert.deepEqual(await texts(page), ['New 1']);
  }
});

test('a page that is left and returned to by the history is one with a stream again', onChromium, async (t) => {
  const own = await launch({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });
  t.after(() => own.close());
  const b = await bench(t, own);
  b.fake.say('c-1', 'bot', 'Welcome');
  const page = await b.chat();
  await eventually(() => streams(b.fake) === 1);
  await page.evaluate(() => { globalThis.kept = true; });
  await page.goto(`${b.fake.url}/blank?elsewhere`);
  await eventually(() => streams(b.fake) === 0);
  b.fake.say('c-1', 'agent', 'Meanwhile');
  await page.goBack({ waitUntil: 'commit' });
  assert.equal(await page.evaluate(() => globalThis.kept), true, 'the browser kept the page');
  await untilLast(page, 2);
  await eventually(() => streams(b.fake) === 1);
  assert.deepEqual(await sequences(page), [1, 2]);
});
