#!/usr/bin/env node
// Verifies one callback with the library of Standard Webhooks (`npm install standardwebhooks`).
//
//   verify_library.cjs HEADERS_FILE BODY_FILE SECRET_FILE     exit 0: genuine, 1: not

const { readFileSync } = require("node:fs");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

/** Whether `body` was signed with `secret` in the last five minutes. Header names in lower case, as Node gives them. */
function verify(secret, headers, body) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

if (process.argv.length !== 5) {
  console.error("usage: verify_library.cjs HEADERS_FILE BODY_FILE SECRET_FILE");
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
