// Budget, waiting and lag: now, and over a day.

import { get } from './api.js';
import { chart } from './charts.js';
import { h } from './dom.js';
import { facts, panel, span } from './ui.js';

const KINDS = {
  turn: 'Messages behind an earlier one', breaker: 'Held, the other side does not work', pause: 'Callbacks of paused destinations', quarantine: 'Conversations in quarantine',
  budget: 'Messages waiting for budget', handoff: 'Customers waiting for a human',
};
const WAITING = { send: 'Waiting to send', bind: 'to bind', sweep: 'to sweep', get: 'to read' };

export async function load() {
  const [budget, { points, step_seconds: step, replica }] = await Promise.all([get('budget'), get('figures', { window: '24h' })]);
  const series = (value, limit) => points.map((point) => ({ at: point.at, value: value(point), limit: limit?.(point) }));
  const whole = (value) => (Math.round(value * 10) / 10).toLocaleString('en');
  const now = facts([
    ['Budget used', `${whole(budget.used)} of ${whole(budget.limit)} in ${budget.window_seconds} s`],
    ...Object.entries(WAITING).map(([kind, name]) => [name, String(budget.waiting[kind] ?? 0)]),
    ['Fini not read for', budget.sweep_age_ms === null || budget.sweep_age_ms === undefined ? 'nothing needs it' : span(budget.sweep_age_ms / 1000)],
  ]);
  const waits = Object.entries(KINDS).map(([kind, name]) => chart(name, series((point) => point.waiting[kind]), whole));
  return {
    about: `The last day, in steps of ${span(step)}, as this replica (${replica}) saw it; it begins with its start.`,
    body: [
      panel('Now', now),
      panel('Fini', h('div', { class: 'charts' },
        chart('Requests in the budget’s window', series((point) => point.budget.used, (point) => point.budget.limit), whole),
        chart('Event lag: from Fini’s clock to found', series((point) => point.event_lag_seconds), span, { isSpan: true }),
        chart('Fini not read although needed', series((point) => point.sweep_age_seconds), span, { isSpan: true }))),
      panel('Overdue', h('div', { class: 'charts' },
        chart('Oldest due message', series((point) => point.oldest_due_seconds.turns), span, { isSpan: true }),
        chart('Oldest due callback', series((point) => point.oldest_due_seconds.deliveries), span, { isSpan: true }),
        chart('Longest wait for a human', series((point) => point.oldest_waiting_seconds.handoff), span, { isSpan: true }))),
      panel('Waiting', h('div', { class: 'charts' }, ...waits)),
    ],
  };
}
