// The company's own desk, outside Fini: the bridge's handoff routes, by way of the company's own backend.

import { call, clock } from './dom.js';

const picture = (name) => `${location.origin}/demo/assets/${name}.svg`;
export const AGENTS = [
  { id: 'ada', name: 'Ada Lovelace', avatar_url: picture('ada') },
  { id: 'grace', name: 'Grace Hopper', avatar_url: picture('grace') },
];
const WHO = { user: 'Customer', agent: 'Agent', bot: 'Bot', otherbot: 'Other bot' };
const REASONS = { requested: 'Asked for a person', status: 'Fini escalated', silent_escalation: 'Fini escalated silently', action: 'Fini\'s action asked for a person', human_message: 'A person wrote in Fini' };
const WAIT = 120; // seconds for each place in the line, as this desk guesses
const TYPING_EVERY = 2500; // ms

export function ownDesk({ me }) {
  const present = new Map(); // conversation -> ids of the agents who are in it, as the callbacks tell
  let typedAt = -Infinity;

  const act = (one, name, body) => call(`/demo/desk/conversations/${encodeURIComponent(one.id)}/${name}`, body);
  const isIn = (one) => present.get(one.id)?.has(me().id) || one.handoff.agent?.id === me().id;

  function labelOf({ state, handoff }) {
    if (handoff.speaker === 'waiting') return ['Waits for a person', 'human'];
    if (handoff.speaker === 'human') return [handoff.agent ? `${handoff.agent.name} has it` : 'A person in Fini has it', 'human'];
    return state === 'resolved' ? ['Resolved', ''] : ['With the bot', 'good'];
  }

  function infoOf({ reason, requested_at: asked, claimed_at: claimed, position }) {
    const parts = [];
    if (asked) parts.push(`${REASONS[reason] ?? reason} at ${clock(asked)}`);
    if (position) parts.push(`told: number ${position} in line`);
    if (claimed) parts.push(`taken at ${clock(claimed)}`);
    return parts.join(' · ');
  }

  function caseOf(view) {
    const { conversation_id: id, customer, handoff, transcript } = view;
    const [label, tone] = labelOf(view);
    const entries = transcript.map((message) => ({
      key: `${message.author}:${message.id}`, side: message.author, who: message.withheld ? 'Bot, withheld from the customer' : WHO[message.author] ?? message.author,
      at: message.created_at, text: message.text, format: message.format, isWithheld: message.withheld === true,
    }));
    const last = transcript.at(-1);
    return { id, chat: id, name: customer.name ?? id, plan: customer.plan, label, tone, info: infoOf(handoff), entries, at: Date.parse(last?.created_at ?? view.updated_at), handoff };
  }

  return {
    hint: 'Your desk, outside Fini, on the bridge\'s handoff routes.',
    hasNotes: false,
    desk: null,

    async list() {
      const { desk, conversations } = await call('/demo/desk');
      this.desk = desk;
      if (!desk) await this.open(true); // this desk is there, and says so
      const cases = conversations.map(caseOf);
      const line = cases.filter((one) => one.handoff.speaker === 'waiting').sort((a, b) => Date.parse(a.handoff.requested_at) - Date.parse(b.handoff.requested_at));
      for (const one of cases) one.place = 1 + line.indexOf(one);
      return cases;
    },

    async open(open) {
      const tomorrow = new Date();
      tomorrow.setHours(33, 0, 0, 0); // nine o'clock
      this.desk = await call('/demo/desk', { open, next_open: open ? null : tomorrow.toISOString() }, 'PUT');
    },

    actions(one) {
      const { speaker } = one.handoff;
      const [isBots, waits, joins] = [speaker === 'bot', speaker === 'waiting', speaker === 'human' && one.handoff.agent && !isIn(one)];
      return [
        { id: 'claim', label: joins ? 'Join' : 'Claim', isOff: isIn(one), isPrimary: !isIn(one), run: () => act(one, 'claim', { agent: me(), ...(joins && { join: true }) }) },
        { id: 'place', label: 'Tell place', isOff: !waits, run: () => act(one, 'position', { position: one.place, expected_wait_seconds: one.place * WAIT }) },
        { id: 'leave', label: 'Leave', isOff: !isIn(one), run: () => act(one, 'leave', { agent: { id: me().id } }) },
        { id: 'return-bot', label: 'Return to bot', isOff: isBots, run: () => act(one, 'return', { to: 'bot' }) },
      ];
    },

    placeholder: (one) => (isIn(one) ? `Reply as ${me().name}` : `Reply as ${me().name} (claims it)`),

    send(one, text) {
      typedAt = -Infinity; // the next word is news
      return call('/demo/desk/messages', { conversation_id: one.id, role: 'agent', text, agent: me() });
    },

    typing(one) {
      const now = performance.now();
      if (!isIn(one) || now - typedAt < TYPING_EVERY) return;
      typedAt = now;
      void act(one, 'typing', { agent: { id: me().id } }).catch(() => {}); // only a hint
    },

    /** A callback: who is in a conversation. Says whether the desk has to look. */
    noticed({ type, conversation_id: id, data }) {
      const agents = present.get(id) ?? new Set();
      if (type === 'handoff.claimed' || type === 'handoff.agent_joined') agents.add(data.agent.id);
      else if (type === 'handoff.agent_left') agents.delete(data.agent.id);
      else if (type === 'handoff.requested' || type === 'handoff.returned' || type === 'handoff.unclaimed') agents.clear();
      present.set(id, agents);
    },
  };
}
