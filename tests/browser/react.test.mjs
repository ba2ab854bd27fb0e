// The React hook in real React, mounted twice as StrictMode does, without a build step: by an import map.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { mint } from './fake-bridge.mjs';
import { bench, eventually, launch, until } from './harness.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
const SOURCES = { react: 'react/cjs/react.development.js', scheduler: 'scheduler/cjs/scheduler.development.js', 'react-dom': 'react-dom/cjs/react-dom.development.js', 'react-dom/client': 'react-dom/cjs/react-dom-client.development.js' };

/** React's packages are CommonJS: one module that holds them all. */
const VENDOR = `
const process = { env: { NODE_ENV: 'development' } };
const sources = { ${Object.entries(SOURCES).map(([name, path]) => `${JSON.stringify(name)}(module, exports, require) { ${read(`node_modules/${path}`)} }`).join(',\n')} };
const loaded = {};
export const require = (name) => {
  if (!loaded[name]) sources[name](loaded[name] = { exports: {} }, loaded[name].exports, require);
  return loaded[name].exports;
};
export const { createElement, StrictMode, useEffect, useState, useSyncExternalStore } = require('react');`;

const PAGE = `<!doctype html><meta charset="utf-8"><title>Shop</title><div id="root"></div>
<script type="importmap">{ "imports": { "react": "/vendor.js", "fini-bridge-client": "/v1/client.js" } }</script>
<script type="module">
  import { createElement, require, StrictMode } from 'react';
  import { useFiniChat } from '/hook.js';
  globalThis.renders = 0;
  function Chat({ conversationId }) {
    globalThis.renders += 1;
    const { chat, messages, connection } = useFiniChat({ conversationId, getToken: () => globalThis.mintFor(conversationId), minDelay: 10, maxDelay: 200 });
    globalThis.chat = chat;
    return createElement('ol', { title: connection }, messages.map(({ id, origin, text }) => createElement('li', { key: origin + id }, text)));
  }
  const root = require('react-dom/client').createRoot(document.querySelector('#root'));
  globalThis.show = (conversationId) => root.render(createElement(StrictMode, null, conversationId && createElement(Chat, { conversationId })));
  globalThis.show('c-1');
</script>`;

test('the hook shows a conversation, changes to another, and leaves nothing behind', async (t) => {
  const b = await bench(t, browser);
  b.fake.say('c-1', 'bot', 'Welcome to the first');
  b.fake.say('c-2', 'bot', 'Welcome to the second');
  const page = await b.context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()); });
  await page.exposeFunction('mintFor', (id) => mint(id));
  for (const [path, contentType, body] of [['vendor.js', 'text/javascript', VENDOR], ['hook.js', 'text/javascript', read('../../src/http/client/react.js')], ['shop', 'text/html', PAGE]]) {
    await page.route(`${b.fake.url}/${path}`, (route) => route.fulfill({ contentType, body }));
  }
  await page.goto(`${b.fake.url}/shop`);
  const shown = () => page.locator('li').allTextContents();
  const streams = (id) => b.fake.conversation(id).streams.size;
  await until(page, () => document.querySelectorAll('li').length >= 1);
  await eventually(() => streams('c-1') === 1);
  await page.evaluate(() => globalThis.chat.send('From React'));
  await until(page, () => document.querySelectorAll('li').length >= 3);
  assert.deepEqual((await shown()).slice(0, 2), ['Welcome to the first', 'From React']);
  await page.evaluate(() => globalThis.show('c-2'));
  await until(page, () => document.querySelector('li')?.textContent === 'Welcome to the second');
  await eventually(() => streams('c-1') === 0 && streams('c-2') === 1);
  await page.evaluate(() => globalThis.show(null));
  await eventually(() => streams('c-2') === 0);
  const renders = await page.evaluate(() => globalThis.renders);
  assert.ok(renders < 60, `${renders} renders`);
  assert.deepEqual(faults, []);
});
