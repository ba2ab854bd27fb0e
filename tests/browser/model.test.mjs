// The client under random schedules, in virtual time: offline hours, proxies' answers, reloads, tabs, sleep, token failures,
// clock steps and erasures. Afterwards every text is at the bridge once, in the order typed, or shown as failed with its text,
// and every tab has shown every event once. SEED=n repeats one schedule; MODEL_SECONDS says how long schedules are tried, from
// MODEL_FROM on.

import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { test } from 'node:test';
import { World } from './model-world.mjs';

const SECONDS = Number(process.env.MODEL_SECONDS ?? 25);
const MOST = Number(process.env.MODEL_SCHEDULES ?? 400);
const FIRST = Number(process.env.SEED ?? process.env.MODEL_FROM ?? 20_261_201);
const counts = { schedules: 0, steps: 0, hours: 0, texts: 0, failed: 0, events: 0, reloads: 0, tabs: 0, sleeps: 0, clockSteps: 0, erasures: 0, offline: 0, errors: 0 };

class Schedule {
  typed = []; // { text, generation, discarded }
  violations = [];

  constructor(seed) {
    this.world = new World(seed);
    this.dice = this.world.dice;
    this.world.refusesStorage = this.dice.often(0.1);
    this.erases = this.dice.often(0.3);
  }

  get awake() { return this.world.tabs.filter((tab) => !tab.isAsleep); }

  type() {
    const tab = this.dice.pick(this.awake.filter(({ born }) => this.world.now - born > 100)); // nobody types sooner
    if (!tab) return;
    const kind = this.dice.often(0.03) ? 'POISON ' : this.dice.often(0.03) ? 'REFUSED ' : '';
    const text = `${kind}text ${this.typed.length}`;
    const { id } = tab.chat.send(text);
    this.typed.push({ id, text, generation: this.world.bridge.generation });
  }

  takeOut() {
    const tab = this.dice.pick(this.awake);
    const message = tab?.chat.messages.find(({ status }) => status === 'pending' || status === 'failed');
    if (message && tab.chat.discard(message.id)) this.typed.find(({ id }) => id === message.id).isDiscarded = true;
  }

  reload() {
    const { world } = this;
    // Without storage a reload loses what waits: nobody could keep it.
    if (world.refusesStorage || !world.tabs.length) return;
    counts.reloads += 1;
    this.dice.pick(world.tabs).kill();
    if (this.dice.often(0.7) || !world.tabs.length) world.open(this.dice.often(0.2));
  }

  weather() {
    const { world, dice } = this;
    const share = () => (dice.often(0.5) ? 0 : dice.next() * 0.25);
    world.weather = {
      lost: share(), lostAfter: share(), page: share(), busy: share(), hang: dice.often(0.8) ? 0 : 0.1,
      streams: dice.pick(['pass', 'pass', 'pass', 'held', 'cut', 'blocked']), tokens: dice.pick(['good', 'good', 'good', 'failing', 'stale', 'silent']),
    };
  }

  act() {
    const { world, dice } = this;
    const acts = [
      [30, () => this.type()],
      [10, () => world.bridge.say(`desk ${world.now}`)],
      [6, () => this.weather()],
      [4, () => { counts.offline += 1; world.setOnline(!world.online); }],
      [4, () => this.reload()],
      [3, () => { if (world.tabs.length < 4) { counts.tabs += 1; world.open(dice.often(0.3)); } }],
      [4, () => dice.pick(world.tabs)?.show(dice.pick(['visible', 'hidden']))],
      [world.refusesStorage ? 0 : 2, () => { counts.sleeps += 1; dice.pick(world.tabs)?.sleep(); }], // asleep, a tab's memory is out of reach
      [3, () => dice.pick(world.tabs)?.wake()],
      [2, () => { counts.clockSteps += 1; world.skew += (dice.next() - 0.5) * 6 * 3_600_000; }],
      [2, () => this.takeOut()],
      [2, () => world.bridge.dropStreams()],
      [this.erases ? 1 : 0, () => { counts.erasures += 1; world.bridge.erase(); }],
    ];
    let roll = dice.below(acts.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, run] of acts) {
      if (roll < weight) return run();
      roll -= weight;
    }
    return undefined;
  }

  async run() {
    const { world, dice } = this;
    world.open();
    for (let n = 40 + dice.below(40); n > 0; n--) {
      await world.pass(dice.often(0.1) ? dice.below(120_000) : dice.below(4_000));
      this.act();
    }
    // Everything is well again: what the client owes, it owes now.
    world.weather = { lost: 0, lostAfter: 0, page: 0, busy: 0, hang: 0, streams: 'pass', tokens: 'good' };
    world.setOnline(true);
    for (const tab of world.tabs) { tab.wake(); tab.show('visible'); }
    if (!world.tabs.length) world.open();
    await world.pass(15 * 60_000, () => this.isSettled());
    await world.pass(60_000); // and it stays so
    await world.pass(300_000, () => world.bridge.streams.size === 1); // a stream is tried now and then
    this.check();
    return this.violations;
  }

  isSettled() {
    const { tabs, bridge } = this.world;
    return tabs.every(({ chat }) => chat.connection === 'online' && chat.ready && chat.lastSequence === bridge.events.length && !chat.messages.some(({ status, text }) => status === 'pending' && !text.includes('POISON')));
  }

  check() {
    const { world } = this;
    const { bridge, tabs } = world;
    const fault = (text) => this.violations.push(text);
    if (!this.isSettled()) fault(`not settled: ${JSON.stringify(tabs.map(({ chat }) => [chat.connection, chat.ready, chat.lastSequence, chat.messages.filter(({ status }) => status === 'pending').map(({ text }) => text)]))} of ${bridge.events.length}`);
    for (const tab of tabs) {
      tab.violations.forEach(fault);
      if (tab.log.length !== bridge.events.length) fault(`shown ${tab.log.length} of ${bridge.events.length} events`);
      const shown = tab.chat.messages.filter(({ sequence }) => sequence !== null).map(({ text }) => text);
      const said = bridge.events.filter(({ type }) => type === 'message.created').map(({ data }) => data.message.text);
      if (shown.join('|') !== said.join('|')) fault(`messages shown: ${shown} instead of ${said}`);
    }
    const accepted = bridge.events.filter(({ type, data }) => type === 'message.created' && data.origin === 'frontend').map(({ data }) => data.message.text);
    if (new Set(accepted).size !== accepted.length) fault('a text was stored twice');
    // What was typed before an erasure may have been on its way.
    const order = this.typed.filter(({ text, generation }) => accepted.includes(text) && generation === bridge.generation).map(({ text }) => text);
    const stored = accepted.filter((text) => order.includes(text));
    if (order.join('|') !== stored.join('|')) fault(`typed ${order}, stored ${stored}`);
    for (const { text, generation, isDiscarded } of this.typed) {
      if (isDiscarded || generation < bridge.generation || accepted.includes(text)) continue;
      const found = tabs.map(({ chat }) => chat.messages.find((message) => message.text === text)?.status ?? 'missing');
      const isLost = (status) => status !== 'failed' && !(world.refusesStorage && status === 'missing' && found.includes('failed'));
      if (found.some(isLost) && !(text.includes('POISON') && found.every((status) => status === 'pending'))) fault(`${text}: ${found}`);
      counts.failed += 1;
    }
    if (bridge.streams.size !== 1 && bridge.exists) fault(`${bridge.streams.size} streams of ${tabs.length} tabs`);
    counts.schedules += 1;
    counts.texts += this.typed.length;
    counts.events += tabs.reduce((sum, tab) => sum + tab.log.length, 0);
    counts.steps += world.steps;
    counts.hours += world.now / 3_600_000;
    counts.errors += world.errors.length;
    for (const tab of tabs) tab.chat.close();
  }
}

test('random schedules: every text once in order or shown as failed, every event shown once', async (t) => {
  setMaxListeners(0); // a world of many tabs has many signals
  const rejections = [];
  const note = (reason) => rejections.push(String(reason?.stack ?? reason));
  process.on('unhandledRejection', note);
  t.after(() => process.off('unhandledRejection', note));
  const end = performance.now() + SECONDS * 1_000;
  const failures = [];
  for (let seed = FIRST; counts.schedules < MOST && performance.now() < end && failures.length < 5; seed++) {
    const violations = await new Schedule(seed).run();
    if (violations.length) failures.push(`SEED=${seed}: ${violations.slice(0, 4).join('; ')}`);
    if (process.env.SEED) break;
  }
  counts.hours = Math.round(counts.hours);
  t.diagnostic(`${JSON.stringify(counts)}, violations ${failures.length + rejections.length}`);
  console.log(`model of the client: ${JSON.stringify(counts)}, violations ${failures.length + rejections.length}`);
  assert.deepEqual([failures, rejections.slice(0, 3)], [[], []]);
  assert.ok(counts.schedules >= 1);
});
