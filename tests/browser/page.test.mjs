// The demo page as a person uses it: only through what is on the screen. Runs on the fake bridge, or with DEMO_URL on the
// real thing.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { FakeBridge } from './fake-bridge.mjs';
import { launch } from './harness.mjs';

const PATIENCE = 30_000; // ms; the real bridge finds an agent's words by reading, within its budget
let browser;
let fake;
let url = process.env.DEMO_URL;

before(async () => {
  browser = await launch();
  if (!url) {
    fake = await FakeBridge.start({ replyDelay: 100 });
    ({ url } = fake);
  }
});
after(async () => {
  await browser.close();
  await fake?.down();
});

/** A fresh visitor. The page must never break its own policy, throw, or open a dialog. */
async function visit(t, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const faults = [];
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => { faults.push(`dialog: ${dialog.message()}`); void dialog.dismiss(); });
  page.on('console', (message) => { if (/content security policy/i.test(message.text())) faults.push(message.text()); });
  page.on('request', (request) => { if (new URL(request.url()).origin !== new URL(url).origin) faults.push(`asked elsewhere: ${request.url()}`); });
  await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`)));
  await page.goto(url);
  t.after(async () => {
    if (process.env.SCREENSHOTS) {
      mkdirSync('screenshots', { recursive: true });
      await page.screenshot({ path: `screenshots/${process.env.DEMO_URL ? 'demo' : 'fake'}-${t.name.replace(/\W+/g, '-')}.png` });
    }
    await context.close();
    assert.deepEqual(faults, []);
  });
  return page;
}

const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** axe's serious and critical findings. */
async function serious(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`);
}

const chat = (page) => page.locator('#chat-log');
const own = (page) => chat(page).locator('.message.own');
const bot = (page) => chat(page).locator('.message.bot');
const agent = (page) => chat(page).locator('.message.agent');
const rows = (page, text) => page.locator('#callback-list .callback', { hasText: text });

async function say(page, text) {
  await page.getByLabel('Message to support').fill(text);
  await page.locator('#chat-form').getByRole('button', { name: 'Send' }).click();
}

/** Waits until the desk shows this visitor's conversation (it follows the open chat). */
async function atDesk(page, text) {
  await page.locator(`#case[data-chat="${await page.locator('#chat-id').textContent()}"]`).waitFor();
  await page.locator('#case-log', { hasText: text }).waitFor();
}

/** The desk shows Fini's inbox instead of the company's own desk. */
const inFini = (page) => page.getByText('Fini\'s inbox', { exact: true }).click();

const banner = (page, text) => page.locator('#banner', { hasText: text }).waitFor();

async function reply(page, text) {
  await page.getByLabel('Text of the agent').fill(text);
  await page.locator('#desk-form').getByRole('button', { name: 'Send' }).click();
}

test('a customer writes, the bot answers, the callbacks arrive verified', async (t) => {
  const page = await visit(t);
  await page.locator('#only-this').check();
  await page.locator('#ideas').getByText('Where is my order?').click();
  await bot(page).first().waitFor();
  await own(page).getByText('answered').waitFor();
  assert.equal(await own(page).count(), 1);
  await rows(page, 'message.created').first().waitFor();
  await rows(page, 'turn.completed').first().waitFor();
  assert.equal(await page.locator('#callback-list .verdict.bad').count(), 0);
  await rows(page, 'turn.completed').first().locator('summary').click();
  const body = JSON.parse(await rows(page, 'turn.completed').first().locator('pre').textContent());
  assert.equal(body.conversation_id, await page.locator('#chat-id').textContent());
  const numbers = (await page.locator('#callback-list .seq').allTextContents()).map((text) => Number(text.slice(1)));
  assert.deepEqual(numbers, numbers.toSorted((a, b) => b - a), 'newest first, in order');
});

test('a customer asks for a person, knows who is there, and gets the bot back', async (t) => {
  const page = await visit(t);
  const state = (text) => page.locator('#chat-state', { hasText: text }).waitFor();
  const speak = async (name, text) => {
    await page.locator('#agent').selectOption({ label: name });
    await reply(page, text);
    await agent(page).getByText(text).waitFor();
  };
  await say(page, 'Where is my order?');
  await bot(page).first().waitFor();
  await page.getByRole('button', { name: 'Talk to a person' }).click();
  await banner(page, 'You are waiting for a person');
  await banner(page, 'Nobody has joined yet');
  await state('waiting for a person');
  await atDesk(page, 'Where is my order?');
  await page.getByRole('button', { name: 'Tell place' }).click();
  await banner(page, /You are number \d+ in line, about/);

  // A reply of the bot is on its way when somebody claims.
  await say(page, 'Answer me later 2');
  await own(page).getByText('Answer me later 2').waitFor();
  await page.locator('#case-log', { hasText: 'Answer me later 2' }).waitFor();
  await page.getByRole('button', { name: 'Claim' }).click();
  await banner(page, 'Ada Lovelace is with you');
  await state('with a person');
  assert.equal(await page.locator('#banner-faces img').evaluate((image) => image.complete && image.naturalWidth > 0), true, 'her picture');
  await page.locator('#case-log .withheld').waitFor();
  await speak('Ada Lovelace', 'After the late reply');
  assert.equal(await bot(page).count(), 1, 'the late reply is not shown');
  assert.equal(await agent(page).first().locator('.meta span').textContent(), 'Ada Lovelace');
  await page.getByLabel('Text of the agent').pressSequentially('I am');
  await page.locator('#chat-typing', { hasText: 'Ada Lovelace is writing' }).waitFor();
  await page.getByLabel('Text of the agent').fill('');

  // A second one joins; the last one who leaves lets it wait, and the bot stays silent.
  await page.locator('#agent').selectOption({ label: 'Grace Hopper' });
  await page.getByRole('button', { name: 'Join' }).click();
  await banner(page, 'Ada Lovelace and Grace Hopper are with you');
  await page.getByRole('button', { name: 'Leave' }).click();
  await banner(page, 'Ada Lovelace is with you');
  await page.locator('#agent').selectOption({ label: 'Ada Lovelace' });
  await page.getByRole('button', { name: 'Leave' }).click();
  await banner(page, 'Ada Lovelace has left. You are waiting for somebody else');
  await banner(page, 'The bot stays silent meanwhile');
  await state('waiting for a person');
  await say(page, 'Is anybody there?');
  await own(page).getByText('Is anybody there?').waitFor();
  await page.locator('#case-log', { hasText: 'Is anybody there?' }).waitFor();
  await speak('Grace Hopper', 'I am here now');
  await banner(page, 'Grace Hopper is with you');
  assert.equal(await bot(page).count(), 1);

  await page.getByRole('button', { name: 'Return to bot' }).click();
  await page.locator('#banner').waitFor({ state: 'hidden' });
  await state('with the bot');
  await say(page, 'Where is my order?');
  await bot(page).nth(1).waitFor();
  const lines = await chat(page).locator('.notice').allTextContents();
  assert.deepEqual(lines, [
    'A person was asked for.', 'Ada Lovelace has joined.', 'Grace Hopper has joined.', 'Grace Hopper has left.', 'Ada Lovelace has left.', 'Grace Hopper has joined.', 'The bot is back.',
  ]);
  await page.reload();
  await bot(page).nth(1).waitFor();
  assert.deepEqual(await chat(page).locator('.notice').allTextContents(), lines, 'the same after a reload');
});

test('somebody takes over in Fini, answers, and gives the conversation back', async (t) => {
  const page = await visit(t);
  await say(page, 'Where is my order?');
  await bot(page).first().waitFor();
  await inFini(page);
  await atDesk(page, 'Where is my order?');
  await page.getByRole('button', { name: 'Take over' }).click();
  await page.locator('#chat-state', { hasText: 'waiting for a person' }).waitFor();
  await reply(page, 'Hello, a person speaking.');
  await agent(page).getByText('Hello, a person speaking.').waitFor();
  await banner(page, 'A person is answering you');
  await page.getByRole('button', { name: 'Return to bot' }).click();
  await page.locator('#chat-state', { hasText: 'with the bot' }).waitFor();
  await page.getByRole('button', { name: 'Resolve' }).click();
  await page.locator('#chat-state', { hasText: 'resolved' }).waitFor();
  assert.equal(await agent(page).count(), 1);
});

test('the bot\'s Markdown is drawn, the customer\'s is not', async (t) => {
  const page = await visit(t);
  await say(page, 'Answer in **Markdown**');
  await bot(page).locator('ol li').nth(1).waitFor();
  assert.equal(await own(page).first().locator('.text').textContent(), 'Answer in **Markdown**');
  assert.equal(await bot(page).locator('strong').first().textContent(), await bot(page).locator('strong').first().innerHTML());
  const link = bot(page).locator('.text a');
  assert.deepEqual(await link.evaluate(({ protocol, target, relList }) => [protocol, target, relList.contains('noopener')]), ['https:', '_blank', true]);
});

test('the numbers on the page say what they mean', async (t) => {
  const page = await visit(t);
  await page.locator('#welcome', { hasText: 'The bot is a script' }).waitFor();
  await page.getByRole('button', { name: 'What these numbers mean' }).click();
  await page.locator('#budget-legend', { hasText: 'why the meter is busy while nobody writes' }).waitFor();
  await page.locator('#budget-total', { hasText: /\d+ messages? sent, \d+ requests? to read/ }).waitFor();
  const named = await page.locator('#budget-words dt').allTextContents();
  for (const shown of await page.locator('#budget-waiting dt').allTextContents()) assert.ok(named.includes(shown), shown);
  await page.keyboard.press('Escape');
  await page.getByLabel('Receiver works').uncheck({ force: true });
  await say(page, 'Where is my order?');
  const refused = rows(page, 'refused: 503').first();
  await refused.waitFor();
  assert.ok(!(await refused.locator('.verdict').textContent()).includes('✓'), 'a 503 is no success');
  await page.getByLabel('Receiver works').check({ force: true });
  await rows(page, 'tried again').first().waitFor();
  await bot(page).first().waitFor();
  await atDesk(page, 'Where is my order?');
  const times = await page.locator('time').allTextContents();
  assert.deepEqual(times.filter((time) => !/^\d\d:\d\d(:\d\d)?$/.test(time)), [], 'one clock');
  await page.locator('#only-this').check();
  await page.getByLabel('Text of the agent').fill('From the desk');
  await page.locator('#desk-form').getByRole('button', { name: 'Send' }).click();
  await rows(page, 'From the desk').first().waitFor();
  const numbers = async () => {
    const passed = await page.locator('#callback-list .callback[data-refused="false"] .seq').allTextContents();
    return [...new Set(passed.map((text) => Number(text.slice(1))))].sort((a, b) => a - b);
  };
  const found = await numbers();
  assert.deepEqual(found, found.map((_, n) => n + 1), 'no number is missing');
  await page.getByLabel('Customer has network').uncheck({ force: true });
  await page.locator('#chat-state', { hasText: 'no network' }).waitFor();
});

test('an internal note reaches colleagues and nobody else', async (t) => {
  const page = await visit(t);
  await say(page, 'Write a note about me');
  await bot(page).first().waitFor();
  await inFini(page);
  await page.locator('#case-log .internal').first().waitFor();
  await page.getByText('Internal note', { exact: true }).click();
  await page.getByLabel('Text of the agent').fill('Between us: zebra');
  await page.getByRole('button', { name: 'Save note' }).click();
  await page.locator('#case-log .internal', { hasText: 'zebra' }).waitFor();
  await page.locator('#desk-form').getByText('Reply', { exact: true }).click();
  await reply(page, 'For the customer');
  await agent(page).getByText('For the customer').waitFor(); // written after the note, so the note has had its chance
  await rows(page, 'For the customer').first().waitFor({ state: 'attached' });
  assert.ok(!(await page.locator('#pane-customer').textContent()).includes('zebra'));
  assert.ok(!(await page.locator('#pane-callbacks').textContent()).includes('zebra'));
  assert.equal(await chat(page).locator('.internal').count(), 0);
});

test('markup, scripts and long words are shown as they were typed', async (t) => {
  const page = await visit(t);
  const hostile = '<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b> javascript:alert(3) ' + 'w'.repeat(400);
  await say(page, hostile);
  await own(page).first().waitFor();
  await atDesk(page, '<script>alert(2)</script>');
  await reply(page, hostile);
  await agent(page).first().waitFor();
  await rows(page, 'agent').first().waitFor({ state: 'attached' });
  for (const message of [own(page), agent(page)]) assert.equal(await message.first().locator('.text').textContent(), hostile);
  assert.equal(await page.locator('main .text').locator('script, img, b').count(), 0);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
});

test('right-to-left text runs from the right', async (t) => {
  const page = await visit(t);
  await say(page, 'أين طلبي؟ 🙂');
  await own(page).first().waitFor();
  assert.equal(await own(page).first().locator('.text').evaluate((element) => getComputedStyle(element).direction), 'rtl');
  assert.equal(await own(page).first().locator('.text').textContent(), 'أين طلبي؟ 🙂');
});

test('without network messages wait in the chat and go out once, in order', async (t) => {
  const page = await visit(t);
  await say(page, 'Where is my order?');
  await own(page).getByText('answered').waitFor();
  await page.getByLabel('Customer has network').uncheck({ force: true });
  await say(page, 'First of two');
  await say(page, 'Second of two');
  await own(page).getByText('waiting for network').nth(1).waitFor();
  await page.getByLabel('Customer has network').check({ force: true });
  await own(page).getByText('answered').nth(2).waitFor();
  const words = await own(page).locator('.text').allTextContents();
  assert.deepEqual(words, ['Where is my order?', 'First of two', 'Second of two']);
  await page.locator('#case-log', { hasText: 'Second of two' }).waitFor();
  assert.equal(await page.locator('#case-log .message.user').count(), 3);
});

test('a receiver that was down gets everything afterwards', async (t) => {
  const page = await visit(t);
  await page.locator('#only-this').check();
  const receiver = page.getByLabel('Receiver works');
  await receiver.uncheck({ force: true });
  await say(page, 'Where is my order?');
  await bot(page).first().waitFor(); // the customer does not suffer
  await rows(page, 'refused: 503').first().waitFor();
  await receiver.check({ force: true });
  await page.locator('#callback-list .callback[data-refused="false"]', { hasText: 'turn.completed' }).first().waitFor();
  const delivered = await page.locator('#callback-list .callback[data-refused="false"] .seq').allTextContents();
  const numbers = delivered.map((text) => Number(text.slice(1)));
  assert.deepEqual(numbers, numbers.toSorted((a, b) => b - a));
});

test('two customers never see each other', async (t) => {
  const page = await visit(t);
  await say(page, 'Mine alone');
  await bot(page).first().waitFor();
  await page.getByRole('button', { name: 'New customer' }).click();
  await page.locator('#welcome').waitFor();
  assert.equal(await chat(page).locator('.message').count(), 0);
  await say(page, 'Another person');
  await bot(page).first().waitFor();
  assert.ok(!(await chat(page).textContent()).includes('Mine alone'));
  await page.locator('#customers button').first().click();
  await own(page).getByText('Mine alone').waitFor();
  assert.ok(!(await chat(page).textContent()).includes('Another person'));
});

test('a reload brings the same conversation back', async (t) => {
  const page = await visit(t);
  await say(page, 'Remember me');
  await bot(page).first().waitFor();
  const before = await chat(page).locator('.text').allTextContents();
  await page.reload();
  await bot(page).first().waitFor();
  assert.deepEqual(await chat(page).locator('.text').allTextContents(), before);
});

test('everything works from the keyboard', async (t) => {
  const page = await visit(t);
  await page.locator('#welcome').waitFor();
  const press = (key) => page.keyboard.press(key);
  const focused = () => page.evaluate(() => document.activeElement === document.body ? '' : document.activeElement.id || document.activeElement.textContent.trim());
  const tabTo = async (wanted) => {
    // Round the whole page if need be: each callback in the list is a place of its own.
    for (let i = 0; i < 400; i++) {
      if ((await focused()).startsWith(wanted)) return;
      await press('Tab');
    }
    assert.fail(`${wanted} cannot be reached with Tab`);
  };
  await page.evaluate(() => document.activeElement.blur());
  await tabTo('Skip to');
  await press('Enter');
  await page.keyboard.type('Line one');
  await press('Shift+Enter');
  await page.keyboard.type('line two');
  await press('Enter');
  await own(page).first().waitFor();
  assert.equal(await own(page).first().locator('.text').textContent(), 'Line one\nline two');
  await bot(page).first().waitFor();
  await atDesk(page, 'line two');
  await tabTo('claim');
  await press('Enter');
  await page.locator('#chat-state', { hasText: 'with a person' }).waitFor();
  await tabTo('desk-text');
  await page.keyboard.type('From the keyboard');
  await press('Enter');
  await agent(page).getByText('From the keyboard').waitFor();
  await page.locator('#callback-list summary').first().focus();
  await press('Enter');
  await page.locator('#callback-list details[open] pre').waitFor();
});

for (const width of [390, 320]) {
  test(`on a screen of ${width} px the panes are tabs and nothing scrolls sideways`, async (t) => {
    const page = await visit(t, { viewport: { width, height: 700 }, hasTouch: true, isMobile: true });
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll('.scroll, .pane')].every((each) => each.scrollWidth <= each.clientWidth + 1));
    await page.locator('#welcome').waitFor();
    assert.ok(await fits(), 'empty chat');
    await say(page, 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft'.repeat(3));
    await bot(page).first().waitFor();
    assert.ok(await fits(), 'chat');
    for (const [tab, pane] of [['Agent desk', '#pane-desk'], ['Callbacks', '#pane-callbacks'], ['Customer', '#pane-customer']]) {
      await page.locator('.tabs').getByRole('button', { name: tab }).click();
      await page.locator(pane).waitFor();
      if (tab === 'Callbacks') await page.locator('#callback-list summary').first().click();
      assert.ok(await fits(), tab);
      assert.equal(await page.locator('.pane:visible').count(), 1);
    }
  });
}

for (const colorScheme of ['light', 'dark']) {
  test(`text has enough contrast in the ${colorScheme} scheme`, async (t) => {
    const page = await visit(t, { colorScheme, reducedMotion: 'reduce' });
    await page.locator('#welcome').waitFor();
    assert.deepEqual(await page.evaluate(weak), [], 'first screen');
    await say(page, 'I want to talk to a human');
    await bot(page).first().waitFor();
    await atDesk(page, 'talk to a human');
    await reply(page, 'Here I am');
    await agent(page).first().waitFor();
    assert.deepEqual(await page.evaluate(weak), [], 'the desk');
    await inFini(page);
    await atDesk(page, 'talk to a human');
    await page.getByText('Internal note', { exact: true }).click();
    await page.getByLabel('Customer has network').uncheck({ force: true });
    await say(page, 'Waiting');
    await rows(page, 'message.created').first().locator('summary').click();
    assert.deepEqual(await page.evaluate(weak), [], 'a conversation');
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.typing i')).animationName), 'none');
  });
}

/** Texts with a contrast below 4.5:1 (WCAG 2.2, 1.4.3), computed from what the browser really paints. Runs in the page. */
function weak() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = rgba(getComputedStyle(each).backgroundColor);
      if (color[3] > 250) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest(':disabled, .sr, .skip, script')) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.className || element.tagName} "${walker.currentNode.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return found;
}

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing serious in the ${colorScheme} scheme`, async (t) => {
    const page = await visit(t, { colorScheme });
    await page.locator('#welcome').waitFor();
    assert.deepEqual(await serious(page), [], 'first screen');
    await say(page, 'I want to talk to a human');
    await bot(page).first().waitFor();
    await atDesk(page, 'talk to a human');
    await reply(page, 'Here I am');
    await agent(page).first().waitFor();
    await rows(page, 'message.created').first().locator('summary').click();
    assert.deepEqual(await serious(page), [], 'a conversation');
  });
}

test('an Enter that ends an input method\'s word sends nothing', async (t) => {
  const page = await visit(t);
  const input = page.getByLabel('Message to support');
  await input.fill('にほん');
  // Chromium and Firefox say isComposing; Safari's comes after the composition has ended, with the method's own key code.
  for (const init of [{ isComposing: true }, { keyCode: 229 }]) {
    const isLeft = await input.evaluate((element, more) => element.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...more })), init);
    assert.equal(isLeft, true, `${JSON.stringify(init)} is left to the input method`);
  }
  assert.equal(await own(page).count(), 0);
  await input.press('Enter');
  await own(page).first().waitFor();
});

test('every control has a name', async (t) => {
  const page = await visit(t);
  await say(page, 'Hello');
  await bot(page).first().waitFor();
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, textarea, a, summary')]
    .filter((each) => !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.[0]?.textContent.trim()))
    .map((each) => each.outerHTML));
  assert.deepEqual(nameless, []);
});
