// The client's Markdown in a real DOM: what it draws, and what no text can make it do.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { FakeBridge } from './fake-bridge.mjs';
import { launch } from './harness.mjs';

let browser;
let fake;
let page;
before(async () => {
  [browser, fake] = await Promise.all([launch(), FakeBridge.start()]);
  page = await browser.newPage();
  await page.goto(`${fake.url}/blank`);
  await page.evaluate(async () => {
    const { markdown } = await import('/v1/markdown.js');
    globalThis.draw = (text) => {
      const box = document.createElement('div');
      box.append(markdown(text));
      return box;
    };
  });
});
after(() => Promise.all([browser.close(), fake.down()]));

const html = (text) => page.evaluate((given) => globalThis.draw(given).innerHTML, text);
const LINK = 'target="_blank" rel="noopener noreferrer nofollow"';

const DRAWN = {
  'plain text': ['Hello', '<p>Hello</p>'],
  'paragraphs and lines': ['One\ntwo\r\n\r\n\r\nthree', '<p>One<br>two</p><p>three</p>'],
  'bold and italic': ['**a** and *b*, __c__ and _d_', '<p><strong>a</strong> and <em>b</em>, <strong>c</strong> and <em>d</em></p>'],
  'both at once': ['***a*** **b *c* d** *e **f***', '<p><strong><em>a</em></strong> <strong>b <em>c</em> d</strong> <em>e <strong>f</strong></em></p>'],
  'in a word of a script without spaces': ['請**注意**時間', '<p>請<strong>注意</strong>時間</p>'],
  'marks without an end': ['**a *b _c', '<p>**a *b _c</p>'],
  'marks that cross': ['*a **b* c**', '<p><em>a **b</em> c**</p>'],
  'sums and names': ['2*3*4 = 24, snake_case_name, a * b * c', '<p>2*3*4 = 24, snake_case_name, a * b * c</p>'],
  'escapes': ['\\*a\\* \\[b\\](https://x.example) \\`c\\` C:\\dir', '<p>*a* [b](https://x.example) `c` C:\\dir</p>'],
  'code': ['`a *b* <i>` and `` c`d `` and `e', '<p><code>a *b* &lt;i&gt;</code> and <code>c`d</code> and `e</p>'],
  'a block of code': ['Do:\n```sh\nrm *a*\n\n  x\n```\nthen', '<p>Do:</p><pre><code>rm *a*\n\n  x</code></pre><p>then</p>'],
  'a block without an end': ['~~~\n**a**\n```', '<pre><code>**a**\n```</code></pre>'],
  'a list': ['You can:\n- one\n- **two**\n  more\n\n* three\n\nDone', '<p>You can:</p><ul><li>one</li><li><strong>two</strong><br>more</li><li>three</li></ul><p>Done</p>'],
  'numbers': ['3. a\n4) b', '<ol start="3"><li>a</li><li>b</li></ol>'],
  'lists in lists': ['1. a\n   - b\n     - c\n2. d', '<ol><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ol>'],
  'one list after another': ['- a\n1. b', '<ul><li>a</li></ul><ol><li>b</li></ol>'],
  'a title': ['## What *now*\ntext', '<p><strong>What <em>now</em></strong></p><p>text</p>'],
  'a link': ['See [the **guide**](https://x.example/a_b?c=(d)&e) now', `<p>See <a href="https://x.example/a_b?c=(d)&amp;e" ${LINK}>the <strong>guide</strong></a> now</p>`],
  'a picture is a link': ['![cat](http://x.example/cat.png)', `<p><a href="http://x.example/cat.png" ${LINK}>cat</a></p>`],
};

for (const [name, [text, drawn]] of Object.entries(DRAWN)) {
  test(`${name}: as it should look`, async () => assert.equal(await html(text), drawn));
}

const HOSTILE = [
  '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '**<b onclick=alert(1)>**', '`<svg/onload=alert(1)>`', '```\n</code></pre><script>alert(1)</script>\n```',
  '[a](javascript:alert(1))', '[a](JaVaScRiPt:alert(1))', '[a](java\nscript:alert(1))', '[a](\u0001javascript:alert(1))', '[a](data:text/html,<script>alert(1)</script>)',
  '[a](//evil.example)', '[a](vbscript:x)', '[a](https:javascript:alert(1))', '[a](https://x.example" onmouseover="alert(1))', '[<img src=x onerror=alert(1)>](https://x.example)',
  '![x](https://x.example/"onerror="alert(1))', '[a](https://x.example/<script>)', '[[a](https://x.example)](javascript:alert(1))', '[a](https://x.example)](javascript:alert(1))',
  '<https://x.example>', '&lt;script&gt;alert(1)&lt;/script&gt;', '[a]: javascript:alert(1)\n[a]', '- <iframe src=javascript:alert(1)>\n  - [b](blob:x)', '# <style>*{display:none}</style>',
  '\u0000\ufffe\ud800 [\udc00](https://x.example/\ud800)',
];

test('no text becomes anything but the few elements, and no link leads anywhere but to the web', async () => {
  const asked = [];
  const faults = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('dialog', (dialog) => { faults.push(dialog.message()); void dialog.dismiss(); });
  page.on('pageerror', (error) => faults.push(error.message));
  const allowed = { P: [], BR: [], STRONG: [], EM: [], CODE: [], PRE: [], UL: [], OL: ['start'], LI: [], A: ['href', 'target', 'rel'] };
  const pieces = ['*', '**', '_', '`', '```\n', '[', '](', ')', 'https://x.example', 'javascript:alert(1)', '<img src=x onerror=alert(1)>', '\n', '\n\n', '- ', '1. ', '# ', ' ', '\\', 'word', '!', '"', '\u202e', '|', '>'];
  // The same ones each time: a linear congruential generator.
  let state = 7;
  const drawn = (n) => { state = (state * 1_103_515_245 + 12_345) % 2_147_483_648; return Math.floor((state / 2_147_483_648) * n); };
  const random = Array.from({ length: 4000 }, () => Array.from({ length: 1 + drawn(24) }, () => pieces[drawn(pieces.length)]).join(''));
  const bad = await page.evaluate(([texts, rules]) => {
    const found = [];
    for (const text of texts) {
      const box = globalThis.draw(text);
      document.body.replaceChildren(box);
      for (const each of box.querySelectorAll('*')) {
        const names = each.getAttributeNames();
        const isRight = rules[each.tagName] && names.every((name) => rules[each.tagName].includes(name))
          && (each.tagName !== 'A' || (/^https?:$/.test(each.protocol) && each.rel.split(' ').includes('noopener')));
        if (!isRight) found.push([text, each.outerHTML]);
      }
    }
    return found;
  }, [[...HOSTILE, ...random], allowed]);
  assert.deepEqual(bad, []);
  assert.deepEqual([asked, faults], [[], []]);
});

test('words are never lost: what is no mark is there as it was typed', async () => {
  for (const text of HOSTILE.slice(0, 19)) {
    const shown = await page.evaluate((given) => globalThis.draw(given).textContent, text);
    const words = text.match(/[a-z]{3,}/gi).filter((word) => !/^(https|example)$/.test(word));
    const isWhole = words.every((word) => shown.includes(word));
    assert.ok(isWhole || /\]\(https:\/\/x/.test(text), `${text} → ${shown}`);
  }
});

// A million characters: what takes time by their square would take hours, and the runner ends a file after five minutes.
const LONG = 1_000_000;
const SHAPES = ['*', '**', '***', '_', '*a ', '**a ', 'a**', ' *a **b', '*a _b __c **d ', '`', '` `` ', '`a``', '[', '[a](', '[a](https://', '[a](https://x.example/(', '](', '![', '- ', '- a\n', '  - a\n',
  '1. a\n\n', '\\', '\n', '# ', '```\n', '~~~~ a\n', ' ', '<', '[*a*](https://x.example) ', '*[`a`](https://x.example)', '\t- a\n  b\n\n'];

for (const shape of SHAPES) {
  test(`a million characters of ${JSON.stringify(shape)} are drawn in one pass`, async () => {
    const { nodes, deep, kept } = await page.evaluate(([part, long]) => {
      const text = part.repeat(long / part.length);
      const box = globalThis.draw(text);
      let [count, most] = [0, 0];
      const walker = document.createTreeWalker(box);
      for (let depth = 0, node = walker.currentNode; node;) {
        count += 1;
        most = Math.max(most, depth);
        if (walker.firstChild()) depth += 1;
        else {
          while (!walker.nextSibling()) {
            if (depth <= 1 || !walker.parentNode()) return { nodes: count, deep: most, kept: box.textContent.length };
            depth -= 1;
          }
        }
        node = walker.currentNode;
      }
      return { nodes: count, deep: most, kept: box.textContent.length };
    }, [shape, LONG]);
    assert.ok(nodes <= 2 * LONG, `${nodes} nodes`);
    assert.ok(deep <= 16, `${deep} levels`);
    assert.ok(kept <= LONG);
  });
}
