// The page's tests once more, on the real demo. With DEMO_URL set, page.test.mjs runs on that one already.

import { after } from 'node:test';
import { demo } from './programs.mjs';

if (!process.env.DEMO_URL) {
  const program = await demo();
  process.env.DEMO_URL = program.url;
  await import('./page.test.mjs');
  after(() => program.stop());
}
