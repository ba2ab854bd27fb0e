// The page's tests once more, on the real demo. With DEMO_URL set, page.test.mjs runs on that one already.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { launch } from './harness.mjs';
import { demo } from './programs.mjs';

if (!process.env.DEMO_URL) {
  const program = await demo();
  process.env.DEMO_URL = program.url;
  await import('./page.test.mjs');
  after(() => program.stop());
}

test('a customer for whom nobody comes is told so, and keeps its place', async (t) => {
  const [program, browser] = await Promise.all([demo('--claim-timeout', '1s'), launch()]);
  t.after(() => Promise.all([program.stop(), browser.close()]));
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(program.url);
  await page.locator('#welcome').waitFor();
  await page.getByLabel('Desk is open').uncheck({ force: true });
  await page.waitForResponse((answer) => answer.url().endsWith('/demo/desk') && answer.request().method() === 'GET');
  assert.equal(await page.getByLabel('Desk is open').isChecked(), false);
  // Nobody has to write first.
  await page.getByRole('button', { name: 'Talk to a person' }).click();
  const banner = (text) => page.locator('#banner', { hasText: text }).waitFor();
  await banner('The desk is closed until');
  await banner('Nobody has come so far; you keep your place.');
  assert.deepEqual(await page.locator('#chat-log .notice').allTextContents(), ['A person was asked for.', 'Nobody has come so far.']);
  await page.locator('#chat-state', { hasText: 'waiting for a person' }).waitFor();
  await page.getByRole('button', { name: 'Claim' }).click();
  await banner('Ada Lovelace is with you');
});
