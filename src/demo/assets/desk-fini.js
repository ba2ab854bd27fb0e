// Fini's own inbox: reads and writes the simulated workspace, as a person in Fini would.

import { call } from './dom.js';

const ESCALATED = 'Escalated to Human Agent';
const OPEN = 'Open';
const WHO = { user: 'Customer', agent: 'Agent', finibot: 'Bot', otherbot: 'Other bot' };
const SIDES = { user: 'user', agent: 'agent', finibot: 'bot', otherbot: 'otherbot' };
const INTERNAL = { debounce: 'Customer was still typing: the bot waited', no_reply: 'The bot chose not to reply', silent_escalation: 'The bot escalated silently' };

export function finiInbox() {
  const act = ({ interaction }, action, body) => call(`/demo/fini/conversations/${encodeURIComponent(interaction)}/${action}`, body);
  const isEscalated = ({ status }) => (status ?? '').toLowerCase() === ESCALATED.toLowerCase();

  function labelOf(wrapper) {
    if (wrapper.resolved) return ['Resolved', ''];
    if (isEscalated(wrapper)) return ['Needs a human', 'human'];
    if (wrapper.events?.some((event) => event.type === 'silent_escalation')) return ['Asked for a human', 'human'];
    return [wrapper.status || 'With the bot', 'good'];
  }

  function entryOf({ id, createdAt: at, role, type, message }) {
    if (type === 'internalnote') return { key: id, isNote: true, who: 'Internal note, not for the customer', at, text: message ?? '' };
    if (type === 'message' && message) return { key: id, side: SIDES[role] ?? 'user', who: WHO[role] ?? role, at, text: message };
    const words = INTERNAL[type] ?? `${role}: ${type}`;
    return { key: id, notice: message && !INTERNAL[type] ? `${words}: ${message}` : words };
  }

  return {
    hint: 'What your team sees in Fini (simulated here).',
    hasNotes: true,

    async list() {
      const { conversations } = await call('/demo/fini/conversations');
      return conversations.map((wrapper) => {
        const { userAttributes = {}, events = [], createdAt } = wrapper;
        const [label, tone] = labelOf(wrapper);
        return {
          id: userAttributes.chat ?? wrapper.id, interaction: wrapper.id, chat: userAttributes.chat ?? '', name: String(userAttributes.name ?? wrapper.subjectPreview ?? 'Customer'), plan: userAttributes.plan,
          label, tone, info: '', entries: events.map(entryOf), at: events.at(-1)?.createdAt ?? createdAt ?? 0, wrapper,
        };
      });
    },

    actions(one) {
      const { wrapper } = one;
      // What no human has taken cannot be given back: it waits for one, whatever its status becomes.
      const isTaken = (wrapper.events ?? []).some((event) => event.role === 'agent' && event.type === 'message');
      return [
        { id: 'take-over', label: 'Take over', isOff: isEscalated(wrapper) && !wrapper.resolved, run: () => act(one, 'status', { status: ESCALATED }) },
        {
          id: 'return-bot', label: 'Return to bot', isOff: !isEscalated(wrapper) || !isTaken,
          // The bot has a conversation back when it speaks again; a status alone ends no escalation.
          run: async () => { await act(one, 'status', { status: OPEN }); await act(one, 'bot-message', { text: 'The assistant is back. What else can I do for you?' }); },
        },
        { id: 'resolve', label: wrapper.resolved ? 'Reopen' : 'Resolve', isOff: false, run: () => act(one, 'resolve', { resolved: !wrapper.resolved }) },
      ];
    },

    placeholder: (_, kind) => (kind === 'note' ? 'Only your colleagues will see this' : 'Reply to the customer'),

    send: (one, text, kind) => act(one, kind, { text }),

    typing() {}, // Fini tells nobody

    noticed() {},
  };
}
