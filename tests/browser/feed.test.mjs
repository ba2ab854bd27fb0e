// Following the feed from a real browser: each event once, in order, without gaps, whatever becomes of the connection.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bench, eventually, launch, onChromium, send, sequences, texts, until, upTo } from './harness.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const untilLast = (page, n) => until(page, (wanted) => globalThis.chat.lastSequence >= wanted, n);
const streams = (fake) => fake.conversation('c-1').streams.size;

test('a conversation that does not exist yet is empty, and begins with the first message without delay', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat({ minDelay: 5_000, maxDelay: 30_000 });
  await until(page, () => globalThis.chat.ready && globalThis.chat.connection === 'online');
  assert.deepEqual([await texts(page), await page.evaluate(() => globalThis.chat.state)], [[], 'new']);
  await send(page, 'Hello');
  await untilLast(page, 3); // which gives up long before the retry delay of 25 s is over: the message itself must end the wait
  assert.deepEqual(await sequences(page), [1, 2, 3]);
  assert.equal(await page.evaluate(() => globalThis.chat.state), 'open');
});

test('history comes in order before `ready`, page by page', async (t) => {
  const b = await bench(t, browser, { pageSize: 7 });
  for (const n of upTo(40)) b.fake.say('c-1', 'bot', `Text ${n}`);
  const page = await b.chat();
  await until(page, () => globalThis.chat.ready);
  assert.deepEqual(await sequences(page), upTo(40));
  assert.equal(await page.evaluate(() => globalThis.log.findIndex(([type]) => type === 'ready') > globalThis.log.findLastIndex(([type]) => type === 'event')), true);
  assert.equal((await texts(page)).at(-1), 'Text 40');
});

test('a restart of the bridge in the middle of a conversation loses and repeats nothing', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await send(page, 'Hello');
  await untilLast(page, 3);
  await b.fake.down();
  await until(page, () => globalThis.chat.connection === 'connecting');
  b.fake.say('c-1', 'agent', 'Written during the restart');
  await b.fake.up();
  await untilLast(page, 4);
  b.fake.say('c-1', 'agent', 'Written after it');
  await untilLast(page, 5);
  assert.deepEqual(await sequences(page), upTo(5));
  assert.equal(await page.evaluate(() => globalThis.chat.connection), 'online');
});

test('a gap in the stream is filled from the pages first', async (t) => {
  const b = await bench(t, browser, { pageSize: 2 });
  b.fake.say('c-1', 'bot', 'One');
  const page = await b.chat();
  await eventually(() => streams(b.fake) === 1);
  for (const n of [2, 3, 4, 5]) b.fake.say('c-1', 'bot', `Silent ${n}`, { push: false });
  b.fake.say('c-1', 'bot', 'Loud');
  await untilLast(page, 6);
  assert.deepEqual(await sequences(page), upTo(6));
});

test('repeated and late frames are dropped', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  b.fake.say('c-1', 'bot', 'One');
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await untilLast(page, 1);
  await eventually(() => streams(b.fake) === 1);
  const [two, three, four] = ['Two', 'Three', 'Four'].map((text) => b.fake.say('c-1', 'bot', text, { push: false }));
  for (const event of [four, two, three, two, four]) b.fake.frame('c-1', event);
  b.fake.say('c-1', 'bot', 'Five');
  await untilLast(page, 5);
  assert.deepEqual(await sequences(page), upTo(5));
  assert.deepEqual(await texts(page), ['One', 'Two', 'Three', 'Four', 'Five']);
});

test('hundreds of events over a bad line arrive once and in order', async (t) => {
  const b = await bench(t, browser, { pageSize: 9 });
  b.fake.say('c-1', 'bot', 'First');
  const page = await b.chat();
  let dice = 20261121; // a fixed seed (numerical recipes' generator), so that a failure repeats
  const roll = (sides) => { dice = (dice * 1664525 + 1013904223) % 4294967296; return Math.floor((dice / 4294967296) * sides); };
  for (let n = 2; n <= 400; n++) {
    const event = b.fake.say('c-1', roll(2) ? 'bot' : 'agent', `Text ${n}`, { push: roll(8) > 0 });
    if (roll(10) === 0) b.fake.frame('c-1', b.fake.conversation('c-1').events[roll(event.sequence)]);
    if (roll(25) === 0) b.fake.dropStreams('c-1');
    if (roll(60) === 0) b.fake.streamFaults.push({ status: 503 }, { destroy: true });
    if (roll(5) === 0) await new Promise((done) => setImmediate(done));
  }
  await eventually(() => streams(b.fake) > 0);
  b.fake.say('c-1', 'bot', 'Last');
  await untilLast(page, 401);
  assert.deepEqual(await sequences(page), upTo(401));
  assert.equal((await texts(page)).at(-1), 'Last');
});

test('a tab that was frozen catches up when it wakes', onChromium, async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  const page = await b.chat();
  await untilLast(page, 1);
  const devtools = await b.context.newCDPSession(page);
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
  b.fake.say('c-1', 'agent', 'While asleep');
  b.fake.dropStreams('c-1');
  b.fake.say('c-1', 'agent', 'Still asleep');
  await devtools.send('Page.setWebLifecycleState', { state: 'active' });
  await untilLast(page, 3);
  assert.deepEqual(await sequences(page), upTo(3));
});

test('a tab that comes back into view drops a stream that went silent meanwhile', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  const page = await b.chat();
  await eventually(() => streams(b.fake) === 1);
  b.fake.raw('c-1', 'event: typing\ndata: {}\n\n');
  await until(page, () => globalThis.chat.typing !== null); // the stream is open on this side too
  await page.evaluate(() => { const real = Date.now.bind(Date); Date.now = () => real() + 46_000; });
  const before = [...b.fake.conversation('c-1').streams][0];
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await eventually(() => streams(b.fake) === 1 && !b.fake.conversation('c-1').streams.has(before));
});

test('silence is noticed, heartbeats are not taken for silence', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  const page = await b.chat({ silence: 500 });
  await eventually(() => streams(b.fake) === 1);
  const [first] = b.fake.conversation('c-1').streams;
  const beats = setInterval(() => b.fake.raw('c-1', ': beat\n\n'), 100);
  const quiet = new Promise((done) => setTimeout(done, 1500)); // three times the limit: time itself is under test here
  await quiet;
  assert.ok(b.fake.conversation('c-1').streams.has(first), 'heartbeats kept it open');
  clearInterval(beats);
  await eventually(() => streams(b.fake) === 1 && !b.fake.conversation('c-1').streams.has(first));
  b.fake.say('c-1', 'bot', 'After');
  await untilLast(page, 2);
});

test('a bridge that fails is asked less and less often', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  b.fake.streamFaults = upTo(100).map(() => ({ status: 503 }));
  const page = await b.chat({ minDelay: 100, maxDelay: 60_000 });
  await eventually(() => b.fake.streamFaults.length <= 96);
  // 4 tries so far, with at least half of 100 + 200 + 400 ms between them; a fifth is 400 to 800 ms away.
  assert.ok(await page.evaluate(() => performance.now()) > 350);
  const left = b.fake.streamFaults.length;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await eventually(() => b.fake.streamFaults.length < left);
});

test('hints show who is writing and never count', async (t) => {
  const b = await bench(t, browser, { autoReply: false });
  const page = await b.chat();
  await send(page, 'Hello', { messageId: 'm-1' });
  await untilLast(page, 1);
  await eventually(() => streams(b.fake) === 1);
  b.fake.raw('c-1', 'event: turn.started\ndata: {"message_id":"m-1"}\n\n');
  await until(page, () => globalThis.chat.typing?.author === 'bot');
  b.fake.say('c-1', 'bot', 'Hi');
  await until(page, () => globalThis.chat.typing === null);
  b.fake.raw('c-1', 'event: typing\ndata: {"author":"agent"}\n\n');
  await until(page, () => globalThis.chat.typing?.author === 'agent');
  b.fake.dropStreams('c-1');
  await until(page, () => globalThis.chat.typing === null);
  b.fake.say('c-1', 'agent', 'There');
  await untilLast(page, 3);
  assert.deepEqual(await sequences(page), upTo(3));
});

test('states follow the feed', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  b.fake.say('c-1', 'bot', 'Hello');
  b.fake.emit('c-1', 'conversation.escalated', { reason: 'status', status_text: 'Escalated to Human Agent' });
  b.fake.emit('c-1', 'conversation.status_changed', { state: 'escalated', previous_state: 'open', status_text: 'Escalated to Human Agent' });
  b.fake.emit('c-1', 'conversation.status_changed', { state: 'open', previous_state: 'escalated', status_text: null });
  b.fake.emit('c-1', 'conversation.resolved', { resolved: true });
  b.fake.emit('c-1', 'conversation.resolved', { resolved: false });
  b.fake.emit('c-1', 'something.new', { anything: 1 });
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await untilLast(page, 7);
  assert.deepEqual(await page.evaluate(() => globalThis.log.filter(([type]) => type === 'state').map(([, value]) => value.state)), ['open', 'escalated', 'open', 'resolved', 'open']);
  assert.deepEqual(await sequences(page), upTo(7));
});

test('an erased conversation disappears and can begin again', async (t) => {
  const b = await bench(t, browser);
  const page = await b.chat();
  await send(page, 'Forget me');
  await untilLast(page, 3);
  const erased = b.fake.conversation('c-1');
  b.fake.conversations.delete('c-1');
  for (const stream of erased.streams) stream.destroy();
  await until(page, () => globalThis.log.some(([type]) => type === 'reset'));
  assert.deepEqual(await texts(page), []);
  await send(page, 'Hello again');
  await untilLast(page, 3);
  assert.equal((await texts(page))[0], 'Hello again');
});

test('an event of another conversation is never shown', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Mine');
  const page = await b.chat();
  await eventually(() => streams(b.fake) === 1);
  const foreign = b.fake.say('c-1', 'bot', 'Not yours', { push: false });
  b.fake.frame('c-1', { ...foreign, conversation_id: 'c-2' });
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'foreign_event'));
  assert.deepEqual(await texts(page), ['Mine']);
});

test('a listener that throws disturbs neither the feed nor the others', async (t) => {
  const b = await bench(t, browser);
  const page = await b.page();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  await b.chat({}, page);
  await page.evaluate(() => globalThis.chat.on('message', () => { throw new Error('widget bug'); }));
  await send(page, 'Hello');
  await untilLast(page, 3);
  assert.deepEqual(await sequences(page), upTo(3));
  await eventually(() => faults.length > 0);
  assert.deepEqual([...new Set(faults)], ['widget bug']);
});

for (const thrown of ['undefined', 'null', '0', "''", '{}', "Object.assign(new Error('no session'), { status: 404, code: 'not_found' })", "Object.assign(new Error('no session'), { status: 401 })"]) {
  test(`a token function and a fetch that reject with ${thrown} are asked again, and nothing is lost`, async (t) => {
    const b = await bench(t, browser);
    const page = await b.page();
    const faults = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    b.fake.say('c-1', 'bot', 'Before');
    await b.chat({}, page);
    await untilLast(page, 1);
    await page.evaluate((reason) => {
      globalThis.chat.close();
      const reject = (times, then) => (...args) => (times-- > 0 ? new Function(`return Promise.reject(${reason})`)() : then(...args));
      globalThis.log.length = 0;
      globalThis.chat = globalThis.make({ getToken: reject(3, () => globalThis.mintToken()), fetch: reject(3, (...args) => fetch(...args)) });
    }, thrown);
    await send(page, 'Hello', { messageId: 'm-1' });
    await untilLast(page, 4);
    assert.deepEqual((await texts(page)).slice(0, 2), ['Before', 'Hello']);
    const log = await page.evaluate(() => globalThis.log);
    assert.ok(log.some(([type, value]) => type === 'error' && value.code === 'token'), 'the cause is told');
    assert.ok(!log.some(([type]) => type === 'reset'), 'the page\'s own errors are not the bridge\'s');
    assert.deepEqual(faults, []);
  });
}

test('where a proxy holds every stream back, pages bring the answers', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  b.fake.holdStreams = true;
  const page = await b.chat({ greeting: 200 });
  await send(page, 'Hello');
  await untilLast(page, 4);
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'no_stream'));
  b.fake.say('c-1', 'agent', 'From the desk', { push: false });
  await untilLast(page, 5);
  assert.equal(await page.evaluate(() => globalThis.chat.connection), 'online');
  b.fake.holdStreams = false;
  await eventually(() => streams(b.fake) === 1);
  assert.equal(await page.evaluate(() => globalThis.log.filter(([type, value]) => type === 'error' && value.code === 'no_stream').length), 1);
});

test('streams that are cut right after their greeting are asked for less and less often, and pages bring the answers', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  b.fake.cutStreams = true;
  const page = await b.chat({ minDelay: 50, maxDelay: 2_000 });
  await untilLast(page, 1);
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'no_stream'));
  b.fake.say('c-1', 'agent', 'From the desk', { push: false });
  await untilLast(page, 2);
  assert.ok(b.fake.streamsCut < 12, `${b.fake.streamsCut} streams`);
});

test('a feed that begins anew takes what was shown of the old one away, by stream and by page', async (t) => {
  const b = await bench(t, browser);
  for (const n of upTo(5)) b.fake.say('c-1', 'bot', `Old ${n}`);
  const page = await b.chat();
  await untilLast(page, 5);
  await eventually(() => streams(b.fake) === 1);
  b.fake.conversation('c-1').events.length = 0;
  b.fake.raw('c-1', 'event: feed.reset\ndata: {"id":null,"type":"feed.reset","data":{}}\n\n');
  b.fake.say('c-1', 'bot', 'New 1');
  await until(page, () => globalThis.chat.messages.some((message) => message.text === 'New 1'));
  assert.deepEqual(await texts(page), ['New 1']);
  assert.ok(await page.evaluate(() => globalThis.log.some(([type]) => type === 'reset')));
});

test('a message that Fini changes later is shown as it is now', async (t) => {
  const b = await bench(t, browser);
  const event = b.fake.say('c-1', 'bot', 'Look here');
  b.fake.emit('c-1', 'message.updated', { message_id: event.data.message.id, changed: { tags: ['billing'] } });
  b.fake.emit('c-1', 'hidden', {});
  const page = await b.chat();
  await untilLast(page, 3);
  assert.deepEqual(await page.evaluate(() => globalThis.chat.messages.map(({ text, tags }) => [text, tags])), [['Look here', ['billing']]]);
});

test('a long history is one change, and what did not change stays the same object', async (t) => {
  const b = await bench(t, browser);
  for (const n of upTo(400)) b.fake.say('c-1', 'bot', `Text ${n}`);
  const page = await b.page();
  await b.chat({}, page);
  const changes = await page.evaluate(async () => {
    globalThis.chat.close();
    const chat = globalThis.make();
    let count = 0;
    const off = chat.subscribe(() => { count += 1; });
    await new Promise((done) => { chat.on('ready', () => setTimeout(done)); });
    off();
    const [before, again] = [chat.getSnapshot(), chat.getSnapshot()];
    return { count, stable: before === again && chat.messages === before.messages, last: chat.messages.length };
  });
  assert.ok(changes.count <= 4, `${changes.count} changes`);
  assert.deepEqual([changes.stable, changes.last], [true, 400]);
});

test('where only the address of the stream is blocked, pages bring the answers', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  const page = await b.page();
  await page.route('**/stream', (route) => route.abort('blockedbyclient'));
  await b.chat({}, page);
  await untilLast(page, 1);
  await send(page, 'Hello');
  await untilLast(page, 4);
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'no_stream'));
  assert.equal(await page.evaluate(() => globalThis.chat.connection), 'online');
  await page.unroute('**/stream');
  await eventually(() => streams(b.fake) === 1);
});

test('where streams are refused for their number, pages bring the answers', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Before');
  b.fake.refuseStreams = { status: 429, headers: { 'retry-after': '1' } };
  const page = await b.chat();
  await send(page, 'Hello');
  await untilLast(page, 4);
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'no_stream'));
  b.fake.refuseStreams = null;
  await eventually(() => streams(b.fake) === 1);
});

for (const [what, baseUrl, code] of [
  ['a closed port', 'http://127.0.0.1:9', 'address'],
  ['an address without scheme', 'chat.example.com', 'address'],
  ['the shop\'s own pages', '/blank?', 'address'],
]) {
  test(`a wrong baseUrl (${what}) is told after the third failure, once`, async (t) => {
    const b = await bench(t, browser);
    const page = await b.chat({ baseUrl });
    await until(page, () => globalThis.log.some(([type]) => type === 'error'));
    await send(page, 'Anybody?', { messageId: 'm-1' });
    await eventually(() => b.tokens.length >= 1);
    assert.deepEqual(await page.evaluate(() => globalThis.log.filter(([type]) => type === 'error').map(([, value]) => value.code)), [code]);
    assert.equal(await page.evaluate(() => globalThis.chat.messages[0].status), 'pending');
  });
}

test('a bridge that lets other origins in, but not this one, is told as that', async (t) => {
  const [b, other] = [await bench(t, browser), await bench(t, browser)];
  const page = await b.chat({ baseUrl: other.fake.url });
  await until(page, () => globalThis.log.some(([type, value]) => type === 'error' && value.code === 'origin'));
});

test('who speaks and where one stands in the line follow the feed', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Hello');
  const page = await b.chat();
  await eventually(() => streams(b.fake) === 1);
  assert.equal(await page.evaluate(() => globalThis.chat.handoff.speaker), 'bot');
  await page.evaluate(() => globalThis.chat.requestHandoff({ reason: 'asked' }));
  await untilLast(page, 3);
  assert.deepEqual(b.fake.acts, [['handoff', { reason: 'asked' }]]);
  b.fake.emit('c-1', 'handoff.position', { position: 3, expected_wait_seconds: 120 });
  await untilLast(page, 4);
  const handoff = () => page.evaluate(() => globalThis.chat.getSnapshot().handoff);
  const place = await handoff();
  assert.deepEqual([place.speaker, place.reason, place.position, place.expectedWaitSeconds, place.deskOpen], ['waiting', 'asked', 3, 120, true]);
  const [ada, bob] = ['Ada', 'Bob'].map((name) => ({ id: name.toLowerCase(), name, avatar_url: null }));
  b.fake.raw('c-1', 'event: turn.started\ndata: {}\n\n');
  await until(page, () => globalThis.chat.typing?.author === 'bot');
  b.fake.emit('c-1', 'handoff.claimed', { agent: ada });
  b.fake.say('c-1', 'agent', 'I am Ada');
  await untilLast(page, 6);
  const claimed = await handoff();
  assert.deepEqual([claimed.speaker, claimed.agent.name, claimed.position], ['human', 'Ada', null]);
  assert.equal(await page.evaluate(() => globalThis.chat.typing), null, 'the bot\'s word will not be shown');
  b.fake.raw('c-1', 'event: turn.started\ndata: {}\n\nevent: typing\ndata: {"author":"agent"}\n\n');
  await until(page, () => globalThis.chat.typing?.author === 'agent');
  b.fake.emit('c-1', 'handoff.agent_joined', { agent: bob });
  b.fake.emit('c-1', 'handoff.agent_left', { agent: ada });
  await untilLast(page, 8);
  const second = await handoff();
  assert.deepEqual([second.speaker, second.agent, second.agents], ['human', bob, [bob]]);
  b.fake.emit('c-1', 'handoff.agent_left', { agent: bob });
  await untilLast(page, 9);
  const left = await handoff();
  assert.deepEqual([left.speaker, left.agent, left.agents, left.claimedAt], ['waiting', null, [], null], 'nobody is there: it waits again');
  b.fake.emit('c-1', 'handoff.returned', { by: 'desk' });
  await untilLast(page, 10);
  assert.equal((await handoff()).speaker, 'bot');
  b.fake.say('c-1', 'agent', 'Written in Fini itself');
  await until(page, () => globalThis.chat.handoff.speaker === 'human');
  b.fake.say('c-1', 'bot', 'Me again');
  await until(page, () => globalThis.chat.handoff.speaker === 'bot');
});

test('a read mark moves forward only, is tried again, and is heard of from other devices', async (t) => {
  const b = await bench(t, browser);
  for (const n of upTo(5)) b.fake.say('c-1', 'bot', `Text ${n}`);
  const page = await b.chat();
  await until(page, () => globalThis.chat.connection === 'online' && globalThis.chat.ready);
  b.fake.actFaults = [{ status: 503 }];
  assert.deepEqual(await page.evaluate(async () => [await globalThis.chat.markRead(3), await globalThis.chat.markRead(2), globalThis.chat.readSequence]), [true, true, 3]);
  assert.deepEqual(b.fake.acts, [['read', { sequence: 3 }], ['read', { sequence: 3 }]]);
  await page.evaluate(() => globalThis.chat.markRead(4));
  await eventually(() => streams(b.fake) === 1);
  b.fake.raw('c-1', 'event: read.updated\ndata: {"sequence":5}\n\n');
  await until(page, () => globalThis.log.some(([type, value]) => type === 'read' && value.sequence === 5));
  b.fake.actFaults = [{ status: 403 }];
  assert.equal(await page.evaluate(() => globalThis.chat.markRead(6)), false);
  assert.deepEqual(await page.evaluate(async () => [await globalThis.chat.markRead(99), globalThis.chat.readSequence]), [true, 5]);
  b.fake.actFaults = [{ status: 403 }];
  assert.equal(await page.evaluate(() => globalThis.chat.requestHandoff().catch((error) => error.status)), 403);
});

test('the conversations of a user are listed page by page', async (t) => {
  const b = await bench(t, browser);
  const { mint } = await import('./fake-bridge.mjs');
  b.mint = () => mint('c-1', { sub: 'u-1' });
  for (const n of upTo(3)) b.fake.say(`c-${n}`, 'bot', `Hello ${n}`);
  const page = await b.chat();
  const first = await page.evaluate(() => globalThis.chat.conversations());
  assert.deepEqual(first.conversations.map(({ conversationId, lastMessage, lastSequence, readSequence }) => [conversationId, lastMessage.text, lastSequence, readSequence]), [['c-1', 'Hello 1', 1, 1], ['c-2', 'Hello 2', 1, 1]]);
  const second = await page.evaluate((cursor) => globalThis.chat.conversations({ cursor }), first.nextCursor);
  assert.deepEqual([second.conversations.length, second.nextCursor], [1, null]);
});

test('the address of an article is http or nothing', async (t) => {
  const b = await bench(t, browser);
  const articles = ['https://help.example.com/a', 'javascript:alert(1)', ' data:text/html,x', null].map((url, n) => ({ id: `a-${n}`, title: 'T', url }));
  b.fake.say('c-1', 'bot', 'See here', { message: { articles } });
  const page = await b.chat();
  await untilLast(page, 1);
  assert.deepEqual(await page.evaluate(() => globalThis.chat.messages[0].articles.map(({ title, url }) => [title, url])), [['T', 'https://help.example.com/a'], ['T', null], ['T', null], ['T', null]]);
});
