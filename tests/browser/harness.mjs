// What the browser tests share: one Chromium, pages on the fake bridge, and a chat inside a page with a log of all it said.

import assert from 'node:assert/strict';
import playwright from 'playwright-core';
import { FakeBridge, mint } from './fake-bridge.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync'];

/** Debian's Firefox by WebDriver BiDi, as it comes; what needs Chromium's developer tools says so by `onChromium`. */
export const isFirefox = process.env.BROWSER === 'firefox';
export const onChromium = isFirefox ? { skip: 'needs Chromium' } : {};

export const launch = (more = {}) => (isFirefox
  ? playwright._bidiFirefox.launch({ executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr' })
  : playwright.chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, ...more }));

/** Fast retries; everything else as by default. */
const QUICK = { minDelay: 10, maxDelay: 200 };

/** A fake bridge and a browser context of its own for one test, both gone when it ends. */
export async function bench(t, browser, setUp) {
  const fake = await FakeBridge.start(setUp);
  const context = await browser.newContext();
  t.after(async () => {
    await context.close();
    await fake.down();
  });
  return new Bench(fake, context);
}

class Bench {
  tokens = []; // every token handed out, oldest first
  mint = () => mint('c-1');

  constructor(fake, context) {
    Object.assign(this, { fake, context });
  }

  /** Without a network, and with one again; Firefox has no switch for it, so there the bridge goes and the page is told. */
  async offline(isOffline) {
    if (!isFirefox) return this.context.setOffline(isOffline);
    await (isOffline ? this.fake.down() : this.fake.up());
    const tell = (offline) => {
      Object.defineProperty(navigator, 'onLine', { configurable: true, get: () => !offline });
      dispatchEvent(new Event(offline ? 'offline' : 'online'));
    };
    return Promise.all(this.context.pages().map((page) => page.evaluate(tell, isOffline)));
  }

  async page() {
    const page = await this.context.newPage();
    await page.exposeFunction('mintToken', () => {
      this.tokens.push(this.mint());
      return this.tokens.at(-1);
    });
    await page.goto(`${this.fake.url}/blank`);
    return page;
  }

  /** A page with `chat` and `log` ([type, value] of everything it emits) as globals. */
  async chat(options = {}, page = undefined) {
    const target = page ?? await this.page();
    await target.evaluate(async ([given]) => {
      const { FiniChat } = await import('/v1/client.js');
      globalThis.log = [];
      globalThis.make = (more = {}) => {
        const chat = new FiniChat({ conversationId: 'c-1', user: { id: 'u-1' }, getToken: () => globalThis.mintToken(), ...given, ...more });
        for (const type of ['event', 'message', 'state', 'typing', 'connection', 'error', 'ready', 'reset', 'handoff', 'read', 'delayed']) {
          chat.on(type, (value) => globalThis.log.push([type, value instanceof Error ? { code: value.code, status: value.status } : value]));
        }
        return chat;
      };
      globalThis.chat = globalThis.make();
    }, [{ ...QUICK, ...options }]);
    return target;
  }
}

/** Waits for a condition inside the page; its source is what a time-out shows. */
export const until = (page, condition, argument) => page.waitForFunction(condition, argument, { timeout: 20_000, polling: 10 });

/** Waits for a condition on this side. */
export async function eventually(condition) {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `never came true: ${condition}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

export const send = (page, text, options) => page.evaluate(([words, more]) => globalThis.chat.send(words, more), [text, options]);

export const sequences = (page) => page.evaluate(() => globalThis.log.filter(([type]) => type === 'event').map(([, event]) => event.sequence));

export const texts = (page) => page.evaluate(() => globalThis.chat.messages.map((message) => message.text));

/** 1, 2, 3 … n */
export const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);
