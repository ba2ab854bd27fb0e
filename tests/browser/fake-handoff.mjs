// Who speaks to the customer, for the fake bridge: the documented routes in a few lines, kept in memory.

const REFUSED = { claimed: ['already_claimed', 'another agent has the conversation'], none: ['no_handoff', 'the bot has the conversation: no human was asked for'] };

export const newHandoff = () => ({ speaker: 'bot', reason: null, requested_at: null, claimed_at: null, agents: [], isFenced: false, position: null, expected_wait_seconds: null });

/** As a conversation shows it. */
export const shown = ({ agents, isFenced, ...rest }) => ({ ...rest, agent: agents[0] ?? null });

/** Does what a route is for: nothing, or `{status, code, detail, agent}` of the refusal. */
export function handOff(fake, conversation, act, body = {}) {
  const { id } = conversation;
  const { handoff } = conversation;
  const now = new Date().toISOString();
  const emit = (type, data) => fake.emit(id, type, data);
  const changed = (state, before) => emit('conversation.status_changed', { state, previous_state: before, status_text: conversation.wrapper.status });
  const refuse = ([code, detail], more) => ({ status: 409, code, detail, ...more });
  const join = (agent) => {
    const isFirst = handoff.agents.length === 0;
    const isUnasked = handoff.speaker === 'bot';
    if (handoff.agents.some((other) => other.id === agent.id)) return;
    handoff.agents.push(agent);
    Object.assign(handoff, { speaker: 'human', isFenced: true, position: null, expected_wait_seconds: null });
    handoff.claimed_at ??= now;
    emit(isFirst ? 'handoff.claimed' : 'handoff.agent_joined', { agent });
    if (isUnasked) changed('escalated', 'open');
  };
  if (act === 'request') {
    if (handoff.speaker !== 'bot') return null;
    Object.assign(handoff, { speaker: 'waiting', reason: body.reason ?? 'requested', requested_at: now });
    emit('conversation.escalated', { reason: handoff.reason, status_text: null });
    emit('handoff.requested', { reason: handoff.reason, desk_open: fake.desk?.open ?? null, next_open: fake.desk?.next_open ?? null });
  } else if (act === 'claim') {
    const [owner] = handoff.agents;
    if (owner && owner.id !== body.agent.id && !body.join) return refuse(REFUSED.claimed, { agent: owner });
    join(body.agent);
  } else if (act === 'speak') join(body.agent);
  else if (act === 'typing') fake.raw(id, `event: typing\ndata: ${JSON.stringify({ author: 'agent' })}\n\n`);
  else if (handoff.speaker === 'bot') return refuse(REFUSED.none);
  else if (act === 'position') {
    if (handoff.speaker !== 'waiting') return refuse(REFUSED.none);
    Object.assign(handoff, body);
    emit('handoff.position', body);
  } else if (act === 'leave') {
    const at = body.agent ? handoff.agents.findIndex((agent) => agent.id === body.agent.id) : 0;
    const [agent] = at < 0 ? [] : handoff.agents.splice(at, 1);
    if (agent) emit('handoff.agent_left', { agent });
    if (agent && !handoff.agents.length) Object.assign(handoff, { speaker: 'waiting', claimed_at: null });
  } else if (act === 'return') {
    conversation.handoff = newHandoff();
    emit('handoff.returned', { by: 'desk' });
    changed('open', 'escalated');
  }
  return null;
}
