// The operators' drill on the real bridge, by the console and by the command line: a stuck conversation is found and its dead letters
// are sent again, a quarantine is settled, secrets are rotated, the numbers are read. Each step says how long it took: an operator
// has two minutes for it. The audit has it, too.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch } from './harness.mjs';
import { World, isSignedBy, newCallbackSecret, newToken } from './programs.mjs';

let browser;
let world;
before(async () => {
  const operators = [{ name: 'ada', role: 'erase', texts: true }, { name: 'bob', role: 'read', texts: false }];
  [browser, world] = await Promise.all([launch(), World.start({ operators })]);
});
after(() => Promise.all([browser.close(), world.stop()]));

/** The console, signed in as this operator; it must never throw, nor break its own policy. */
async function console_(t, name = 'ada') {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => { if (/content security policy/i.test(message.text())) faults.push(message.text()); });
  t.after(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });
  await page.goto(`${world.admin}/admin/`);
  await page.getByLabel('Token').fill(world.operators.find((each) => each.name === name).token);
  await page.keyboard.press('Enter');
  await page.getByText(`${name} (`).waitFor();
  return page;
}

const dialog = (page) => page.getByRole('dialog');
const row = (page, text) => page.getByRole('row').filter({ hasText: text });

async function find(page, id) {
  await page.getByRole('searchbox').fill(id);
  await page.keyboard.press('Enter');
}

async function give(page, reason, label) {
  await dialog(page).getByLabel('Reason').fill(reason);
  await dialog(page).getByRole('button', { name: label, exact: true }).click();
}

/** A step of the drill; says how long it took. */
async function step(t, what, how, work) {
  const began = performance.now();
  await work();
  t.diagnostic(`drill: ${what} by the ${how} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

const rows = (text) => text.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));

const acts = async (reason) => (await world.operate('ada', 'audit')).audit.filter((act) => act.reason === reason).map((act) => [act.operator, act.act, act.refused]);

test('a stuck conversation is found by an id, its dead letters are retried, and the receiver has them', async (t) => {
  world.receiver.status = 500;
  const { id, requestId } = await world.say('stuck', 'Where is my order?');
  await eventually(async () => (await world.operate('ada', 'deliveries?state=dead')).deliveries.length >= 2);
  const page = await console_(t);
  await step(t, 'a stuck conversation found and its dead letters sent again', 'console', async () => {
    for (const [key, name] of [[id, 'message id'], [requestId, 'request id']]) {
      await find(page, key);
      await row(page, name).getByRole('link', { name: 'stuck' }).waitFor();
    }
    await page.getByRole('link', { name: 'stuck' }).click();
    await page.locator('.moment', { hasText: 'HTTP 500' }).first().waitFor();
    assert.ok(await page.locator('.moment[data-kind="request"]').count() >= 1, 'the request to Fini stands on the time line');
    assert.equal(await page.getByText('Where is my order?').count(), 0);
    world.receiver.status = 200;
    await page.getByRole('button', { name: 'Retry dead letters' }).click();
    await give(page, 'the receiver works again', 'Retry');
    await eventually(() => world.receiver.taken.length >= 2);
  });
  assert.deepEqual(world.receiver.taken.map((event) => event.type), ['message.created', 'turn.completed']);
  assert.deepEqual(await acts('the receiver works again'), [['ada', 'deliveries.retry', false]]);
});

test('the same by the command line', async (t) => {
  world.receiver.status = 500;
  const { id, requestId } = await world.say('stuck-too', 'And where is mine?');
  const dead = async () => rows(await world.command('ada', 'deliveries', 'list', '--state', 'dead', '--conversation', 'stuck-too', '--json'));
  await eventually(async () => (await dead()).length >= 2);
  world.receiver.status = 200;
  world.receiver.taken.length = 0;
  await step(t, 'a stuck conversation found and its dead letters sent again', 'command line', async () => {
    for (const [key, matched] of [[id, 'message_id'], [requestId, 'request_id']]) {
      const found = rows(await world.command('ada', 'find', key, '--json'));
      assert.deepEqual(found.map((one) => [one.conversation_id, one.matched]), [['stuck-too', matched]]);
    }
    assert.ok((await dead()).every((one) => one.last_status === 500));
    await world.command('ada', 'deliveries', 'retry', '--conversation', 'stuck-too', '--yes');
    await eventually(() => world.receiver.taken.length >= 2);
  });
  assert.deepEqual(await dead(), []);
  assert.match(await world.command('ada', 'find', 'nobody'), /^FRONTEND +CONVERSATION +MATCHED[^\n]*\n$/);
});

test('texts are shown to whoever may see them, and the look is on record', async (t) => {
  await world.say('private', 'Something <b>private</b>');
  const page = await console_(t);
  await page.goto(`${world.admin}/admin/#/conversation/web/private`);
  await page.getByRole('button', { name: 'Show texts' }).click();
  await give(page, 'a complaint of today', 'Show texts');
  await page.locator('.words', { hasText: 'Something <b>private</b>' }).first().waitFor();
  const looks = await acts('a complaint of today');
  assert.ok(looks.length >= 1 && looks.every(([operator, act]) => operator === 'ada' && act === 'texts.read'));
  const reader = await console_(t, 'bob');
  await reader.goto(`${world.admin}/admin/#/conversation/web/private`);
  await reader.locator('.moment').first().waitFor();
  assert.equal(await reader.getByText('private</b>').count(), 0);
  assert.deepEqual(await reader.locator('#acts button').allTextContents(), []);
});

test('who waits for a human is seen with how long', async (t) => {
  await world.say('patient', 'Hello');
  await world.askForHuman('patient');
  const page = await console_(t);
  await row(page, 'patient').getByText(/^\d+(\.\d)? (ms|s)/).first().waitFor();
});

test('a quarantine is settled after a look at both sides', async (t) => {
  await world.say('first', 'I am the first', 'u-1');
  await world.vendor({ resolve_mode: 'newest_of_bot' });
  await world.say('second', 'I am another', 'u-2');
  await eventually(async () => (await world.operate('ada', 'quarantines')).quarantines.length >= 1);
  await world.vendor({ resolve_mode: 'always_new' });
  const page = await console_(t);
  await step(t, 'a quarantine settled', 'console', async () => {
    await page.getByRole('link', { name: 'Quarantines' }).click();
    await page.getByText('Ours: waits for you').waitFor();
    assert.match(await page.locator('.sides').textContent(), /second.*u-2.*quarantined.*first.*u-1/);
    await page.getByRole('button', { name: 'Settle second' }).click();
    await give(page, 'asked u-2', 'Settle');
    await dialog(page).getByText('no history comes along').waitFor();
    await dialog(page).getByRole('button', { name: 'Settle it so' }).click();
    await page.getByText('No conversation is in quarantine.').waitFor();
  });
  const left = await acts('asked u-2');
  assert.ok(left.some(([operator, act, refused]) => operator === 'ada' && act === 'conversation.bind' && !refused));
});

test('a quarantine is found and settled by the command line', async (t) => {
  await world.say('third', 'I am the third', 'u-3');
  await world.vendor({ resolve_mode: 'newest_of_bot' });
  await world.say('fourth', 'I am one more', 'u-4');
  const standing = async () => rows(await world.command('ada', 'find', '--json')).filter((lane) => lane.blocked_by === 'quarantine');
  await eventually(async () => (await standing()).length >= 1);
  await world.vendor({ resolve_mode: 'always_new' });
  await step(t, 'a quarantine settled', 'command line', async () => {
    const [lane] = await standing();
    assert.equal(lane.conversation_id, 'fourth');
    await world.command('ada', 'bind', lane.frontend, lane.conversation_id, '--new', '--dry-run');
    await world.command('ada', 'bind', lane.frontend, lane.conversation_id, '--new', '--yes', '--reason', 'asked u-4');
    await eventually(async () => (await standing()).length === 0);
  });
  assert.ok((await acts('asked u-4')).some(([operator, act, refused]) => operator === 'ada' && act === 'conversation.bind' && !refused));
});

/** Tokens of an operator and of the frontend and the secret of callbacks, each old one together with its successor. */
async function rotateFirst(name) {
  const operator = world.operators.find((each) => each.name === name);
  const was = { operator: operator.token, frontend: world.frontendToken, callback: world.callbackSecret };
  const is = { operator: newToken(), frontend: newToken(), callback: newCallbackSecret() };
  await world.rotate({ [`${name}.token`]: [is.operator], tokens: [is.frontend, was.frontend], callback_secrets: [is.callback, was.callback] });
  Object.assign(world, { callbackSecret: is.callback });
  return { was, is, use: (token) => { operator.token = token; } };
}

/** How a message with this token is answered, and what its callback is signed with. */
async function signedWith(conversation, token, secrets) {
  world.frontendToken = token;
  const { status } = await world.say(conversation, 'Who signs this?');
  if (status === 401) return [401];
  const its = () => world.receiver.signed.find(({ body }) => JSON.parse(body).conversation_id === conversation);
  await eventually(() => its() !== undefined);
  return [status, ...secrets.map((secret) => isSignedBy(secret, its()))];
}

async function rotateSecond({ was, is }, conversation) {
  await world.rotate({ tokens: [is.frontend], callback_secrets: [is.callback] });
  assert.deepEqual(await signedWith(`${conversation}-old`, was.frontend, []), [401]);
  assert.deepEqual((await signedWith(`${conversation}-new`, is.frontend, [was.callback, is.callback])).slice(1), [false, true]);
}

test('secrets are rotated while the console is open, and nothing is lost', async (t) => {
  const page = await console_(t);
  await step(t, 'secrets rotated', 'console', async () => {
    const rotated = await rotateFirst('ada');
    await page.getByRole('link', { name: 'Report' }).click();
    await page.getByText('The token is not accepted any more.').waitFor();
    await page.getByLabel('Token').fill(rotated.was.operator);
    await page.keyboard.press('Enter');
    await page.getByText('This token opens nothing here.').waitFor();
    await page.getByLabel('Token').fill(rotated.is.operator);
    await page.keyboard.press('Enter');
    await page.getByText('ada (').waitFor();
    rotated.use(rotated.is.operator);
    for (const [which, token] of [['old', rotated.was.frontend], ['new', rotated.is.frontend]]) {
      assert.deepEqual((await signedWith(`rotated-${which}`, token, [rotated.was.callback, rotated.is.callback])).slice(1), [true, true]);
    }
    await rotateSecond(rotated, 'rotated-then');
    await page.getByRole('link', { name: 'Configuration' }).click();
    await page.getByText('callback_secrets').first().waitFor();
    const shown = await page.locator('body').textContent();
    for (const secret of [...Object.values(rotated.was), ...Object.values(rotated.is)]) assert.ok(!shown.includes(secret), 'no secret is shown');
  });
});

test('secrets are rotated by the command line alone', async (t) => {
  await step(t, 'secrets rotated', 'command line', async () => {
    const rotated = await rotateFirst('ada');
    await assert.rejects(world.command('ada', 'audit'), /401/);
    rotated.use(rotated.is.operator);
    await world.command('ada', 'audit');
    await rotateSecond(rotated, 'rotated-cli');
  });
});

test('the numbers are the same by the console, by the command line and by the route', async (t) => {
  const page = await console_(t);
  const table = page.getByRole('table', { name: 'The report' });
  await step(t, 'the numbers read', 'console', async () => {
    await page.getByRole('link', { name: 'Report' }).click();
    await table.waitFor();
  });
  const { total } = await world.operate('ada', 'report');
  assert.ok(total.messages >= 1 && total.dead_letters >= 1, JSON.stringify(total));
  const shown = await table.getByRole('row').last().getByRole('cell').allTextContents();
  assert.deepEqual(shown.slice(0, 7), ['All', ...['messages', 'answered', 'escalated', 'resolved', 'failed', 'dead_letters'].map((name) => String(total[name]))]);
  let lines;
  await step(t, 'the numbers read', 'command line', async () => {
    lines = (await world.command('bob', 'report', '--csv')).trim().split('\r\n').map((line) => line.split(','));
  });
  const column = lines[0].indexOf('messages');
  assert.equal(lines.slice(1).reduce((sum, line) => sum + Number(line[column]), 0), total.messages);
  await assert.rejects(world.command('bob', 'report', '--tz', 'Mars/Olympus'), /tz is no time zone/);
});
