// What a customer is told of a handoff, in words: only what the feed says, nothing invented.

const minutes = (seconds) => (seconds < 90 ? 'about a minute' : `about ${Math.round(seconds / 60)} minutes`);

const when = (time) => new Date(time).toLocaleString([], { weekday: 'long', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

const list = (names) => (names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`);

/** What the feed has told beside the chat's own `handoff`. */
export const NOTHING_TOLD = Object.freeze({ left: null, isLate: false });

export function told(before, { type, data }) {
  switch (type) {
    case 'handoff.agent_left': return { left: data.agent.name, isLate: false };
    case 'handoff.unclaimed': return { ...before, isLate: data.then !== 'bot' };
    case 'handoff.requested':
    case 'handoff.claimed':
    case 'handoff.returned': return NOTHING_TOLD;
    default: return before;
  }
}

/** The banner's two lines; null while the bot has the conversation. */
export function banner({ speaker, agents, position, expectedWaitSeconds, deskOpen, nextOpen }, { left, isLate }) {
  if (speaker === 'human') {
    if (!agents.length) return ['A person is answering you', ''];
    return [`${list(agents.map((agent) => agent.name))} ${agents.length > 1 ? 'are' : 'is'} with you`, 'The bot is silent until the conversation is given back.'];
  }
  if (speaker !== 'waiting') return null;
  const lines = [];
  if (position) lines.push(`You are number ${position} in line${expectedWaitSeconds === null ? '' : `, ${minutes(expectedWaitSeconds)}`}.`);
  if (isLate) lines.push('Nobody has come so far; you keep your place.');
  if (deskOpen === false) lines.push(`The desk is closed${nextOpen ? ` until ${when(nextOpen)}` : ''}.`);
  if (left) lines.push('The bot stays silent meanwhile.');
  else if (!lines.length) lines.push('Nobody has joined yet. Until then the bot may answer.');
  return [left ? `${left} has left. You are waiting for somebody else` : 'You are waiting for a person', lines.join(' ')];
}

const ASKED = { requested: 'A person was asked for.', human_message: 'A person takes over.' };

/** The line that an event leaves in the conversation; null for most. */
export function notice({ type, data }) {
  switch (type) {
    case 'handoff.requested': return ASKED[data.reason] ?? 'The bot hands you over to a person.';
    case 'handoff.claimed':
    case 'handoff.agent_joined': return `${data.agent.name} has joined.`;
    case 'handoff.agent_left': return `${data.agent.name} has left.`;
    case 'handoff.unclaimed': return data.text ?? (data.then === 'bot' ? 'Nobody could come. The bot goes on.' : 'Nobody has come so far.');
    case 'handoff.returned': return data.by === 'idle' ? 'Nobody wrote for a long time: the bot is back.' : data.by === 'desk' ? 'The bot is back.' : null;
    default: return null;
  }
}
