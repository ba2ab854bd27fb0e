// What the company's own server receives: each signed callback as it came in, newest first.

import { $, call, h, keyed, preciseClock, setText } from './dom.js';

const KEEP = 300; // rows in the page; the server keeps some more

export function startCallbacks({ current, onCurrentChange, seen }) {
  let rows = [];
  let last = 0;
  let source = null;
  let frame = 0;

  const schedule = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };

  function connect() {
    source?.close();
    source = new EventSource(`/demo/callbacks/stream?after=${last}`);
    source.addEventListener('callback', (message) => {
      const row = JSON.parse(message.data);
      if (row.n <= last) return;
      last = row.n;
      rows = [row, ...rows].slice(0, KEEP);
      if (row.verified && row.status === 204) seen(row.event);
      schedule();
    });
    // A demo that was started anew counts from 1 again.
    source.addEventListener('start', (message) => {
      const { newest } = JSON.parse(message.data);
      if (newest >= last) return;
      rows = [];
      last = 0;
      connect();
    });
    source.addEventListener('receiver', (message) => showReceiver(JSON.parse(message.data).working));
  }

  function draw() {
    const shown = $('only-this').checked ? rows.filter((row) => row.event?.conversation_id === current()) : rows;
    keyed($('callback-list'), shown, (row) => row.n, item);
    $('callback-empty').hidden = shown.length > 0;
    const bad = shown.filter((row) => !row.verified).length;
    const refused = shown.filter((row) => row.status >= 500).length;
    const words = [`${shown.length} received`, bad ? `${bad} with a bad signature` : 'every signature verified'];
    if (refused) words.push(`${refused} refused`);
    setText($('callback-summary'), shown.length ? words.join(', ') : 'None yet');
    $('callback-summary').dataset.tone = bad ? 'warn' : '';
  }

  function item(row) {
    const event = row.event ?? {};
    const latency = Date.parse(row.received_at) - Date.parse(event.timestamp);
    const [tone, verdict, why] = verdictOf(row);
    return h('li', { class: 'callback', 'data-type': (event.type ?? '').split('.')[0], 'data-refused': String(row.status >= 300) },
      h('details', {},
        h('summary', {},
          h('span', { class: 'callback-line' }, h('span', { class: 'type' }, event.type ?? 'not JSON'), h('span', { class: 'seq', title: `number ${event.sequence} of this conversation's feed` }, event.sequence ? `#${event.sequence}` : ''), h('span', { class: `verdict ${tone}`, title: why }, verdict)),
          h('span', { class: 'callback-line muted' }, h('time', {}, preciseClock(row.received_at)), h('code', {}, event.conversation_id ?? ''), h('span', { class: 'latency', title: 'from the event to its arrival' }, Number.isFinite(latency) ? duration(latency) : ''))),
        h('dl', { class: 'headers' },
          ...['webhook-id', 'webhook-timestamp', 'webhook-signature'].flatMap((name) => [h('dt', {}, name), h('dd', {}, row.headers?.[name] ?? '(missing)')])),
        h('pre', { tabIndex: 0, dir: 'auto', 'aria-label': 'Body of the callback' }, row.event ? JSON.stringify(row.event, null, 2) : row.body ?? '')));
  }

  function showReceiver(working) {
    $('receiver-up').checked = working;
    setText($('receiver-note'), working ? 'Switch it off to see retries: the answer is then 503.' : 'Answering 503. The bridge keeps everything and tries again, in order.');
  }

  $('receiver-up').addEventListener('change', async (event) => {
    const working = event.target.checked;
    try {
      showReceiver((await call('/demo/callbacks/receiver', { working })).working);
    } catch {
      showReceiver(!working);
    }
  });
  $('only-this').addEventListener('change', draw);
  onCurrentChange(schedule);
  // A hidden tab gives its connection back: browsers allow six per origin, and several demo tabs would use them up.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') connect();
    else { source?.close(); source = null; }
  });
  connect();
}

/** What became of a callback: tone, words, and why. A right signature alone makes no callback a success. */
function verdictOf({ verified, reason, status, repeat }) {
  if (!verified) return ['bad', `✗ ${reason ?? 'failed'}`, reason ?? ''];
  if (status >= 300) return ['bad', `refused: ${status}`, 'The signature is right; the receiver refused it, and the bridge tries again'];
  return ['good', repeat ? '✓ verified, tried again' : '✓ verified', repeat ? 'Came before under the same webhook-id: a receiver takes each id once' : 'The signature is right'];
}

function duration(ms) {
  if (ms < 1000) return `${Math.max(0, ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}
