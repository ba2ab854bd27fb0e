// The event stream parser alone, with every way to cut the bytes. Expectations follow the WHATWG HTML standard, section 9.2.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SseParser } from '../../src/http/client/fini-bridge.js';

const bytes = (text) => new TextEncoder().encode(text);

function parse(text, cut) {
  const whole = bytes(text);
  const parser = new SseParser();
  const frames = [];
  for (let at = 0; at < whole.length; at += cut) frames.push(...parser.push(whole.slice(at, at + cut)));
  return frames;
}

const STREAM = ['\uFEFF: heartbeat', '', 'id: 1', 'event: a', 'data: {"text":"Grüße, 你好 🙂"}', '', ':', 'data:first', 'data:  second', 'data', '', 'id', 'event: nothing', '', 'unknown: x', 'id: 7', 'data: last', '', 'data: unfinished'];
const EXPECTED = [
  { id: '1', event: 'a', data: '{"text":"Grüße, 你好 🙂"}' },
  { id: null, event: 'message', data: 'first\n second\n' },
  { id: '7', event: 'message', data: 'last' },
];

for (const [name, end] of [['LF', '\n'], ['CR', '\r'], ['CRLF', '\r\n']]) {
  test(`lines ending in ${name}, cut after any number of bytes`, () => {
    const text = STREAM.join(end);
    for (let cut = 1; cut <= bytes(text).length; cut++) assert.deepEqual(parse(text, cut), EXPECTED, `cut every ${cut} bytes`);
  });
}

test('mixed line ends', () => {
  assert.deepEqual(parse('data: a\r\rdata: b\n\r\ndata: c\r\n\n', 1).map((frame) => frame.data), ['a', 'b', 'c']);
});

test('an id with a NUL is no id, and a colon may be part of the data', () => {
  assert.deepEqual(parse('id: a\0b\ndata: x: y\n\n', 3), [{ id: null, event: 'message', data: 'x: y' }]);
});

test('a line without end is refused before it fills the memory', () => {
  const parser = new SseParser();
  const block = bytes('x'.repeat(1 << 20));
  assert.throws(() => { for (let i = 0; i < 8; i++) parser.push(block); }, { code: 'protocol' });
});
