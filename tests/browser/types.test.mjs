// The declarations against the module: what they promise exists, and a strict compiler accepts an ordinary widget.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
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
    const unsubscribe: () => void = chat.subscribe(() => console.log(chat.getSnapshot().handoff.agent?.name ?? ''));
    chat.on('handoff', ({ speaker, position }) => console.log(speaker, position ?? 0));
    chat.on('event', (event) => { if (event.type === 'handoff.claimed') console.log(event.data.agent.name); });
    void chat.markRead(); void chat.requestHandoff({ reason: 'asked' }); unsubscribe();
    chat.conversations({ cursor: null }).then(({ conversations }) => conversations[0]?.lastMessage?.text ?? '');
    chat.accepted(id).then((message) => message.sequence, () => chat.resend(id));
    off(); chat.close();`;
  const good = join(folder, 'good.ts');
  const bad = join(folder, 'bad.ts');
  await writeFile(good, widget);
  await writeFile(bad, `${widget}\nchat.on('messages', () => {}); chat.send(1); new FiniChat({}); chat.messages[0]!.text = 'x';`);
  assert.deepEqual(complaints([good]), []);
  assert.equal(complaints([bad]).length, 4);
});

test('packed as a package it is found by its name, with its types and nothing else', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'fini-bridge-package-'));
  t.after(() => rm(folder, { recursive: true }));
  const run = promisify(execFile);
  const source = fileURLToPath(new URL('../../src/http/client/', import.meta.url));
  const packed = await run('npm', ['pack', source, '--pack-destination', folder, '--json', '--offline'], { cwd: folder });
  const [{ filename, files }] = JSON.parse(packed.stdout);
  assert.deepEqual(files.map((file) => file.path).sort(), ['README.md', 'fini-bridge.d.ts', 'fini-bridge.js', 'markdown.d.ts', 'markdown.js', 'package.json', 'react.d.ts', 'react.js']);
  const installed = join(folder, 'node_modules', 'fini-bridge-client');
  await mkdir(installed, { recursive: true });
  await run('tar', ['-xzf', join(folder, filename), '--strip-components=1', '-C', installed]);
  const page = join(folder, 'page.mjs');
  await writeFile(page, "import * as found from 'fini-bridge-client'; import { markdown } from 'fini-bridge-client/markdown'; console.log(Object.keys(found).sort().join(), typeof markdown);");
  const { stdout } = await run(process.execPath, [page]);
  assert.equal(stdout.trim(), `${Object.keys(client).sort().join()} function`);
  const widget = join(folder, 'widget.ts');
  await writeFile(widget, "import { FiniChat } from 'fini-bridge-client'; import { markdown } from 'fini-bridge-client/markdown'; export const draw = (row: HTMLElement, text: string) => row.replaceChildren(markdown(text)); import { useFiniChat } from 'fini-bridge-client/react'; export const chat: FiniChat | undefined = undefined; export const Chat = (): string => useFiniChat({ conversationId: 'c', token: 't' }).messages[0]?.text ?? '';");
  assert.deepEqual(complaints([widget]), []);
});
