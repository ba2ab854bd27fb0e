#!/usr/bin/env node
// Verifies one callback with nothing but Node's own modules.
//
//   verify.mjs HEADERS_FILE BODY_FILE SECRET_FILE     exit 0: genuine, 1: not
//
// Take `verify` into your own receiver: give it the raw body as a Buffer (in Express: `express.raw({ type: "*/*" })`),
// not an object that was parsed and written again.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

const TOLERANCE_SECONDS = 300;

/** Whether `body` was signed with `secret` in the last five minutes. Header names in lower case, as Node gives them. */
export function verify(secret, headers, body) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const signatures = headers["webhook-signature"];
  if (!id || !signatures || !/^[0-9]+$/.test(timestamp ?? "")) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) return false;

  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const wanted = Buffer.from(expected);

  // While secrets are rotated there is one signature per secret; one that fits is enough.
  return signatures.split(" ").some((entry) => {
    const [version, value] = entry.split(",", 2);
    const given = Buffer.from(value ?? "");
    return version === "v1" && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

if (process.argv.length !== 5) {
  console.error("usage: verify.mjs HEADERS_FILE BODY_FILE SECRET_FILE");
  process.exit(2);
}
const [headersFile, bodyFile, secretFile] = process.argv.slice(2);
const headers = {};
for (const line of readFileSync(headersFile, "utf8").split("\n")) {
  const colon = line.indexOf(":");
  if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
}
const secret = readFileSync(secretFile, "utf8").trim();
process.exit(verify(secret, headers, readFileSync(bodyFile)) ? 0 : 1);
