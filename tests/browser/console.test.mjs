// The operators' console as a person uses it, on a stand-in for the operators' API that has one of everything.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { FakeConsole, MARKUP } from './fake-console.mjs';
import { eventually, launch } from './harness.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const VIEWS = ['waiting', 'quarantines', 'dead-letters', 'lanes', 'load', 'report', 'audit', 'configuration', 'search/u-9', 'conversation/web/web-8121'];

/** A console of its own; `token` null for whoever has to sign in first. It must never throw or break its own policy. */
async function open(t, { token = 'token-of-ada', view = '', ...options } = {}) {
  const fake = await FakeConsole.start();
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => { faults.push(`dialog: ${dialog.message()}`); void dialog.dismiss(); });
  page.on('console', (message) => { if (/content security policy/i.test(message.text())) faults.push(message.text()); });
  page.on('request', (request) => { if (new URL(request.url()).origin !== new URL(fake.url).origin && !request.url().startsWith('blob:')) faults.push(`asked elsewhere: ${request.url()}`); });
  await page.addInitScript(([kept]) => {
    addEventListener('securitypolicyviolation', (event) => console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`));
    if (kept) sessionStorage.setItem('fini-bridge-console:token', kept);
  }, [token]);
  t.after(async () => {
    await context.close();
    await fake.stop();
    assert.deepEqual(faults, []);
  });
  await page.goto(`${fake.url}#/${view}`);
  return { page, fake };
}

/** The view of this address, drawn. */
async function visit(page, view) {
  await page.evaluate((hash) => { location.hash = hash; }, `#/${view}`);
  await drawn(page, view);
}

const drawn = (page, view) => page.waitForFunction((name) => {
  const body = document.getElementById('body');
  const inMenu = document.querySelector('.views [aria-current]')?.dataset.view;
  return body.childElementCount && !body.textContent.includes('Loading …') && (!inMenu || inMenu === name);
}, view.split('/')[0]);

async function serious(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`);
}

const row = (page, text) => page.getByRole('row').filter({ hasText: text });
const dialog = (page) => page.getByRole('dialog');

async function give(page, reason, label) {
  await dialog(page).getByLabel('Reason').fill(reason);
  await dialog(page).getByRole('button', { name: label, exact: true }).click();
}

test('it asks for a token, says when one opens nothing, and forgets it with the tab', async (t) => {
  const { page } = await open(t, { token: null });
  await dialog(page).getByLabel('Token').fill('wrong');
  await dialog(page).getByRole('button', { name: 'Sign in' }).click();
  await dialog(page).getByText('This token opens nothing here.').waitFor();
  await dialog(page).getByLabel('Token').fill('token-of-ada');
  await page.keyboard.press('Enter');
  await page.getByText('ada (erase, texts)').waitFor();
  await page.getByText('3 customers wait').waitFor();
  const kept = await page.evaluate(() => [Object.keys(localStorage), document.cookie, Object.values(sessionStorage)]);
  assert.deepEqual(kept, [[], '', ['token-of-ada']]);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog(page).getByLabel('Token').waitFor();
  assert.deepEqual(await page.evaluate(() => Object.values(sessionStorage)), []);
  assert.equal(await page.getByText('web-8121').count(), 0, 'nothing of it is left on the screen');
});

test('who waits the longest stands first, with how long', async (t) => {
  const { page } = await open(t);
  const first = page.getByRole('table', { name: 'Customers who wait for a human' }).getByRole('row').nth(1);
  await first.waitFor();
  assert.match(await first.textContent(), /web-8121.*13 min.*asked for/);
  await page.getByRole('link', { name: 'web-8121' }).click();
  await page.getByRole('heading', { name: 'web-8121' }).waitFor();
});

test('a conversation is told from end to end in the order of time, and its texts only on request, as text', async (t) => {
  const { page, fake } = await open(t, { view: 'conversation/web/web-8121' });
  const moments = page.locator('.timeline .moment');
  await moments.first().waitFor();
  const titles = await moments.locator('.headline').allTextContents();
  const at = (pattern) => titles.findIndex((title) => pattern.test(title));
  const order = [/Customer wrote.*answered/, /Request 1.*2\.9 s.*unclear/, /Request 2.*1\.5 s.*answered/, /Feed.*message\.created.*Bot/, /main: message\.created.*HTTP 503/, /main: message\.created.*HTTP 200/, /main: turn\.completed.*HTTP 500/, /handoff\.requested.*due/];
  const places = order.map(at);
  assert.ok(places.every((place) => place >= 0), JSON.stringify(titles));
  assert.deepEqual([...places].sort((one, other) => one - other), places);
  assert.equal(await page.getByText('Where is my order?').count(), 0);
  assert.deepEqual(fake.acts, []);
  await page.getByRole('button', { name: 'Show texts' }).click();
  await give(page, 'a complaint', 'Show texts');
  await page.locator('.words').first().waitFor();
  assert.equal(await page.locator('.words').first().textContent(), MARKUP);
  assert.equal(await page.locator('.words img, .words b').count(), 0);
  assert.ok(fake.acts.every(([operator, , , query]) => operator === 'ada' && query.reason === 'a complaint'));
  await page.getByLabel('Callbacks').uncheck();
  assert.equal(await page.locator('.moment[data-kind="callback"]').first().isVisible(), false);
});

test('a dead letter is retried with a reason, and never without', async (t) => {
  const { page, fake } = await open(t, { view: 'dead-letters' });
  await page.getByRole('button', { name: 'Retry message.created 17 of web-8121' }).click();
  await dialog(page).getByRole('button', { name: 'Retry', exact: true }).click();
  assert.deepEqual(fake.acts, [], 'the reason is required');
  await give(page, 'the receiver works again', 'Retry');
  await page.getByText('It is tried again.').first().waitFor();
  assert.deepEqual(fake.acts, [['ada', 'POST', 'deliveries/dlv_1/retry', { reason: 'the receiver works again' }]]);
  await eventually(async () => await row(page, 'HTTP').count() + await row(page, 'no answer').count() <= 1);
  await page.getByRole('button', { name: 'Retry many …' }).click();
  await dialog(page).getByLabel('Of').selectOption('web');
  await give(page, 'all of them', 'Retry them');
  await page.getByText('No callback was given up.').waitFor();
  assert.deepEqual(fake.acts[1], ['ada', 'POST', 'deliveries/retry', { frontend: 'web', reason: 'all of them' }]);
  await visit(page, 'audit');
  await row(page, 'the receiver works again').waitFor();
  await page.getByRole('button', { name: 'Older ones' }).click();
  await row(page, 'refused').waitFor();
});

for (const [way, chosen, choose] of [
  ['the Fini conversation that is named', { interaction_id: 'int_01h7zq' }, (page) => dialog(page).getByLabel('in this Fini conversation:').check()],
  ['a new one', { new: true }, async () => {}],
]) {
  test(`a quarantine is settled to ${way}, after a look at what it would bring`, async (t) => {
    const { page, fake } = await open(t, { view: 'quarantines' });
    await page.getByText('Ours: waits for you').waitFor();
    assert.match(await page.locator('.sides').textContent(), /web-8200.*u-9.*quarantined.*int_01h7zq.*web-7001.*u-4/);
    await page.getByRole('button', { name: 'Settle web-8200' }).click();
    await choose(page);
    await give(page, 'asked the customer', 'Settle');
    await dialog(page).getByText(chosen.new ? 'no history comes along' : 'web/web-7001').waitFor();
    await dialog(page).getByRole('button', { name: 'Settle it so' }).click();
    await page.getByText('No conversation is in quarantine.').waitFor();
    const sent = { ...chosen, reason: 'asked the customer' };
    assert.deepEqual(fake.acts.map(([, , , body]) => body), [{ ...chosen, dry_run: true, reason: 'asked the customer' }, sent]);
  });
}

test('a quarantine is not settled to what was not looked at', async (t) => {
  const { page, fake } = await open(t, { view: 'quarantines' });
  await page.getByRole('button', { name: 'Settle web-8200' }).click();
  await give(page, 'asked the customer', 'Settle');
  await dialog(page).getByText('no history comes along').waitFor();
  await dialog(page).getByLabel('in this Fini conversation:').check();
  await dialog(page).getByRole('button', { name: 'Settle it so' }).click();
  await dialog(page).getByText('web/web-7001').waitFor();
  assert.ok(fake.acts.every(([, , , body]) => body.dry_run));
});

test('blocked lanes say what holds them, and a destination is paused and let go', async (t) => {
  const { page, fake } = await open(t, { view: 'lanes' });
  await row(page, 'a dead letter holds it').waitFor();
  await row(page, 'm-3 (late)').waitFor();
  await page.getByRole('button', { name: 'Pause web / main' }).click();
  await give(page, 'it is being moved', 'Pause');
  await page.getByText('paused: operator').waitFor();
  await page.getByRole('button', { name: 'Resume web / main' }).click();
  await give(page, 'it was moved', 'Resume');
  await page.getByRole('button', { name: 'Ping web / desk' }).click();
  await give(page, 'trying it', 'Ping');
  await page.getByText('Answered 204 after 12 ms.').first().waitFor();
  assert.deepEqual(fake.acts.map(([, , path]) => path), ['frontends/web/pause', 'frontends/web/resume', 'frontends/web/ping']);
});

test('budget and lag are drawn over a day, and said in words', async (t) => {
  const { page } = await open(t, { view: 'load' });
  await page.getByText('63 of 100 in 60 s').waitFor();
  const chart = page.getByRole('img', { name: /^Requests in the budget’s window: now \d+, highest \d+$/ });
  await chart.waitFor();
  assert.equal(await page.locator('.chart svg').count(), 12);
  assert.equal(await chart.locator('.limit').count(), 1);
  await chart.hover();
  await page.locator('.chart .figure', { hasText: /^\d\d:\d\d: \d+$/ }).first().waitFor();
});

test('the report is a table that can be had as a file', async (t) => {
  const { page } = await open(t, { view: 'report', timezoneId: 'Europe/Berlin' });
  const table = page.getByRole('table', { name: 'The report' });
  await table.waitFor();
  assert.equal(await page.getByLabel('Time zone').inputValue(), 'Europe/Berlin');
  assert.match(await table.getByRole('row').last().textContent(), /All3,1562,525/);
  await page.getByLabel('Frontend').selectOption('web');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await eventually(async () => (await table.getByRole('row').last().textContent()).endsWith('–'));
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download CSV' }).click()]);
  assert.equal(download.suggestedFilename(), 'fini-bridge-report.csv');
});

test('the configuration shows no secret, and search finds by any id', async (t) => {
  const { page } = await open(t, { view: 'configuration' });
  await row(page, 'read_api_key').getByText('hidden').waitFor();
  await page.getByRole('searchbox').fill('u-9');
  await page.keyboard.press('Enter');
  await row(page, 'user id').getByRole('link', { name: 'web-8121' }).waitFor();
  await page.getByRole('searchbox').fill('nothing');
  await page.keyboard.press('Enter');
  await page.getByText('Nothing has this id.').waitFor();
});

test('a role that only reads sees no texts and no buttons that act', async (t) => {
  const { page, fake } = await open(t, { token: 'token-of-bob' });
  await page.getByText('bob (read)').waitFor();
  for (const view of VIEWS) {
    await visit(page, view);
    const names = await page.locator('#body button, #acts button').allTextContents();
    assert.deepEqual(names.filter((name) => !['Refresh', 'Older ones', 'Show', 'Download CSV'].includes(name)), [], view);
    assert.equal(await page.getByText('Where is my order?').count(), 0);
  }
  assert.deepEqual(fake.acts, []);
});

test('everything is done by the keyboard alone', async (t) => {
  const { page, fake } = await open(t, { token: null });
  await dialog(page).getByLabel('Token').waitFor();
  await page.keyboard.type('token-of-ada');
  await page.keyboard.press('Enter');
  await page.getByText('3 customers wait').waitFor();
  const tabTo = async (pattern) => {
    for (let n = 0; n < 60; n += 1) {
      await page.keyboard.press('Tab');
      const name = await page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
      if (pattern.test(name)) return;
    }
    assert.fail(`never at ${pattern}`);
  };
  await tabTo(/^Dead letters$/);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Retry turn.completed 18 of web-8121' }).waitFor();
  await tabTo(/^Retry turn\.completed 18/);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  await dialog(page).waitFor({ state: 'hidden' });
  assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^Retry turn\.completed 18/, 'the focus is where it was');
  await page.keyboard.press('Enter');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Enter');
  await page.getByText('It is tried again.').first().waitFor();
  assert.deepEqual(fake.acts, [['ada', 'POST', 'deliveries/dlv_2/retry', { reason: 'by keyboard' }]]);
});

for (const [name, options] of [['on a desk', {}], ['in the dark', { colorScheme: 'dark' }], ['on a phone', { viewport: { width: 360, height: 740 } }], ['on a phone in the dark', { viewport: { width: 360, height: 740 }, colorScheme: 'dark' }]]) {
  test(`every view is whole and accessible ${name}`, async (t) => {
    const { page } = await open(t, options);
    for (const view of VIEWS) {
      await visit(page, view);
      const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.equal(isTooWide, false, `${view} scrolls sideways`);
      assert.deepEqual(await serious(page), [], view);
      if (process.env.SCREENSHOTS) {
        mkdirSync('screenshots', { recursive: true });
        await page.screenshot({ path: `screenshots/console-${name.replace(/\W+/g, '-')}-${view.split('/')[0]}.png`, fullPage: true });
      }
    }
    const [r, g, b] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
    assert.equal(r + g + b < 200, options.colorScheme === 'dark');
    await visit(page, 'quarantines');
    await page.getByRole('button', { name: 'Settle web-8200' }).click();
    await give(page, 'a look', 'Settle');
    await dialog(page).getByText('no history comes along').waitFor();
    assert.deepEqual(await serious(page), [], 'the dialog');
  });
}
