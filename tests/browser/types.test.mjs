// The declarations against the module: what they promise exists, and a strict compiler accepts an ordinary widget.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import * as client from '../../src/http/client/fini-bridge.js';

const DECLARATIONS = new URL('../../src/http/client/fini-bridge.d.ts', import.meta.url).pathname;
const STRICT = { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], types: [] };

const complaints = (files) => ts.getPreEmitDiagnostics(ts.createProgram(files, STRICT)).map((each) => ts.flattenDiagnosticMessageText(each.messageText, '\n'));

/** Members of the exported classes in the declarations. */
function declared() {
  const source = ts.createProgram([DECLARATIONS], STRICT).getSourceFile(DECLARATIONS);
  return Object.fromEntries(source.statements.filter(ts.isClassDeclaration).map((each) => [each.name.text, each.members.filter((member) => member.name).map((member) => member.name.text)]));
}

test('classes and members are the same in both', () => {
  const classes = declared();
  assert.deepEqual(Object.keys(classes).sort(), Object.keys(client).sort());
  for (const name of ['FiniChat', 'SseParser']) {
    const real = Object.getOwnPropertyNames(client[name].prototype).filter((member) => member !== 'constructor');
    assert.deepEqual(classes[name].toSorted(), real.sort(), name);
  }
});

test('a widget in strict TypeScript compiles, and mistakes do not', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'fini-bridge-types-'));
  t.after(() => rm(folder, { recursive: true }));
  const widget = `
    import { FiniChat, FiniChatError, type ChatMessage, type FeedEvent } from ${JSON.stringify(DECLARATIONS.replace(/\.d\.ts$/, '.js'))};
    const chat = new FiniChat({ conversationId: 'c', getToken: async () => (await fetch('/token')).json() as Promise<{ token: string }> });
    const off: () => void = chat.on('message', (message: ChatMessage) => { document.body.textContent = message.text; });
    chat.on('event', (event: FeedEvent) => { if (event.type === 'turn.failed') console.log(event.data.may_resend ? event.data.code : ''); });
    chat.on('error', (error) => console.log(error instanceof FiniChatError, error.code, error.retryAfter ?? 0));
    const { id } = chat.send('Hello', { messageId: 'm-1', metadata: { page: '/' } });
    chat.accepted(id).then((message) => message.sequence, () => chat.resend(id));
    off(); chat.close();`;
  const good = join(folder, 'good.ts');
  const bad = join(folder, 'bad.ts');
  await writeFile(good, widget);
  await writeFile(bad, `${widget}\nchat.on('messages', () => {}); chat.send(1); new FiniChat({}); chat.messages[0]!.text = 'x';`);
  assert.deepEqual(complaints([good]), []);
  assert.equal(complaints([bad]).length, 4);
});
