// Runs every test file here and closes with one line of counts. With DEMO_URL set, the page tests use that demo.

import { readdirSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const here = new URL('.', import.meta.url);
const wanted = process.argv.slice(2);
const files = readdirSync(here).filter((name) => name.endsWith('.test.mjs') && (!wanted.length || wanted.some((part) => name.includes(part))));
let passed = 0;
let failed = 0;
const stream = run({ files: files.map((name) => new URL(name, here).pathname), concurrency: 2, timeout: 300_000 });
const isTest = (data) => data.details?.type !== 'suite' && !data.name.endsWith('.test.mjs');
stream.on('test:pass', (data) => { if (isTest(data)) passed += 1; });
stream.on('test:fail', (data) => { failed += 1; });
const report = stream.compose(spec);
report.on('end', () => {
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed || !passed ? 1 : 0;
});
report.pipe(process.stdout, { end: false });
