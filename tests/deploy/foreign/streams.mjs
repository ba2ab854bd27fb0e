// Readers of an event stream as JavaScript's libraries make them, each cut off once and then resuming by itself.
//
//     node streams.mjs BASE TOKEN LAST MODULES < CUTS
//
// Prints a line of JSON for each reader: its name, and for each cut the numbers of the events that it was given.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [base, token, last, modules] = process.argv.slice(2);
const load = createRequire(`${modules}/`);
const cuts = JSON.parse(readFileSync(0, 'utf8'));
const TYPES = ['message.created', 'turn.completed', 'turn.failed', 'conversation.status_changed', 'conversation.resolved'];
const AT_ONCE = 250;
const PATIENCE = 20_000;

// fetch-event-source wants a browser's page around it.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = load('@microsoft/fetch-event-source');

const byEventSource = (name, EventSource) => (cut, take) => {
  const source = new EventSource(`${base}/${name}/${cut}?access_token=${token}`);
  for (const type of TYPES) source.addEventListener(type, (event) => take(event.data));
  return () => source.close();
};

const readers = {
  'eventsource 2': byEventSource('eventsource2', load('eventsource2')),
  'eventsource 3': byEventSource('eventsource3', load('eventsource3').EventSource),
  'eventsource 4': byEventSource('eventsource4', (await import(load.resolve('eventsource4'))).EventSource),
  undici: byEventSource('undici', load('undici').EventSource),
  'fetch-event-source': (cut, take) => {
    const ending = new AbortController();
    fetchEventSource(`${base}/fetch-event-source/${cut}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: ending.signal,
      openWhenHidden: true,
      // As its readme has it: whatever comes is parsed.
      onmessage: (message) => take(message.data),
    }).catch(() => {});
    return () => ending.abort();
  },
};

function read(reader, cut) {
  const told = [];
  let close;
  const done = new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE);
    close = reader(cut, (data) => {
      const { sequence } = JSON.parse(data);
      if (sequence) told.push(sequence);
      if (sequence === Number(last)) { clearTimeout(timer); resolve(); }
    });
  });
  return { told, done, close };
}

// What a reader's own handler throws is what it does not take.
process.on('uncaughtException', () => {});
await Promise.all(Object.entries(readers).map(async ([name, reader]) => {
  const told = {};
  for (let from = 0; from < cuts.length; from += AT_ONCE) {
    const batch = cuts.slice(from, from + AT_ONCE).map((cut) => [cut, read(reader, cut)]);
    await Promise.all(batch.map(([, one]) => one.done));
    for (const [cut, one] of batch) {
      one.close();
      told[cut] = one.told;
    }
  }
  console.log(JSON.stringify({ reader: name, told }));
}));
process.exit(0);
