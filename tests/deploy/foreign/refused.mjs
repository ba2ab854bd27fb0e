// Refused requests and good ones in turn, by one pool of connections: Node's fetch, and axios. Prints a line of JSON each.
//
//     node refused.mjs BASE TOKEN ROUNDS MODULES
import http from 'node:http';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';

const [base, token, rounds, modules] = process.argv.slice(2);
const { default: axios } = createRequire(`${modules}/`)('axios');
const good = { authorization: `Bearer ${token}` };
const bad = { authorization: `Bearer ${'x'.repeat(40)}` };
const json = { 'content-type': 'application/json' };
// [status, method, path, headers, bytes of the body, whether it is sent in chunks]
const refusals = [
  [401, 'POST', '/v1/messages', { ...bad, ...json }, 53, false],
  [401, 'POST', '/v1/messages', { ...bad, ...json }, 200_000, false],
  [401, 'POST', '/v1/messages', { ...bad, ...json }, 53, true],
  [401, 'POST', '/v1/messages', { ...bad, ...json }, 200_000, true],
  [404, 'POST', '/v1/nothing', { ...good, ...json }, 53, false],
  [405, 'PUT', '/v1/messages', { ...good, ...json }, 60_000, false],
  [413, 'POST', '/v1/messages', { ...good, ...json }, 400_000, false],
  [413, 'POST', '/v1/messages', { ...good, ...json }, 400_000, true],
  [415, 'POST', '/v1/messages', { ...good, 'content-type': 'text/plain' }, 53, false],
  [400, 'POST', '/v1/messages', { ...good, ...json }, 53, false],
];

function* chunks(size) {
  for (let left = size; left > 0; left -= 16_384) yield Buffer.alloc(Math.min(left, 16_384), 'x');
}

async function each(client, send) {
  const count = { client, good: 0, refused: 0, failed: [] };
  const seen = async (...request) => {
    try { return await send(...request); } catch (error) { return `${error} ${error.cause?.code ?? error.code ?? ''}`; }
  };
  for (let round = 0; round < rounds; round++) {
    for (const [wanted, method, path, headers, size, chunked] of refusals) {
      const what = `${method} ${path} ${wanted}, ${size} bytes${chunked ? ' in chunks' : ''}`;
      const status = await seen(method, path, headers, chunked ? Readable.from(chunks(size)) : Buffer.alloc(size, 'x'));
      count.refused++;
      if (status !== wanted) count.failed.push(`refused ${what}: ${status}`);
      const next = await seen('GET', '/healthz', {}, undefined);
      count.good++;
      if (next !== 200) count.failed.push(`good after ${what}: ${next}`);
    }
  }
  console.log(JSON.stringify(count));
}

await each('Node fetch', async (method, path, headers, body) => {
  const response = await fetch(base + path, { method, headers, body, duplex: 'half' });
  await response.arrayBuffer();
  return response.status;
});
const pool = axios.create({ baseURL: base, httpAgent: new http.Agent({ keepAlive: true, maxSockets: 2 }), validateStatus: () => true, proxy: false, maxRedirects: 0 });
await each('axios', async (method, url, headers, data) => (await pool.request({ method, url, headers, data })).status);
process.exit(0);
