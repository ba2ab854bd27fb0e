// Runs every test file here and closes with one line of counts. With DEMO_URL set, the page tests use that demo. `--main` runs of
// the client's tests those below alone.

import { readdirSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** The acts of a customer, by the beginnings of the tests' names: connect, send, resume, reload, tabs, offline; on the real bridge, too. */
const MAIN = [
  'a conversation that does not exist yet', 'history comes in order', 'a restart of the bridge in the middle', 'a gap in the stream is filled',
  'where a proxy holds every stream back', 'a message is shown at once', 'offline and back: messages wait', 'an answer that is lost after storing (destroy)',
  'what waits survives a reload', 'two tabs of one customer', 'a token that is refused', 'when the tab with the stream is closed',
  'a hidden tab gives its stream up', 'what is taken out in one tab', 'a page of another origin talks', 'SIGTERM in the middle', 'duplicate clicks',
];

const here = new URL('.', import.meta.url);
const isMain = process.argv.includes('--main');
const wanted = process.argv.slice(2).filter((word) => word !== '--main');
const files = readdirSync(here).filter((name) => name.endsWith('.test.mjs') && (!wanted.length || wanted.some((part) => name.includes(part))));
const testNamePatterns = isMain ? MAIN.map((name) => `^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`) : undefined;
const passed = [];
let failed = 0;
const stream = run({ files: files.map((name) => new URL(name, here).pathname), concurrency: 2, timeout: 300_000, testNamePatterns });
const isTest = (data) => data.details?.type !== 'suite' && !data.name.endsWith('.test.mjs') && (!isMain || data.skip === undefined);
stream.on('test:pass', (data) => { if (isTest(data)) passed.push(data.name); });
stream.on('test:fail', (data) => { failed += 1; });
const isShown = ({ type, data }) => type === 'test:diagnostic' || (data?.skip === undefined && /^test:(pass|fail|stdout|stderr|diagnostic)$/.test(type));
const report = (isMain ? stream.filter(isShown) : stream).compose(spec);
report.on('end', () => {
  // A test that was given another name must not be left out in silence.
  const lost = isMain && !failed ? MAIN.filter((name) => !passed.some((one) => one.startsWith(name))) : [];
  for (const name of lost) console.log(`not run: ${name}`);
  failed += lost.length;
  console.log(`${passed.length} passed, ${failed} failed`);
  process.exitCode = failed || !passed.length ? 1 : 0;
});
report.pipe(process.stdout, { end: false });
