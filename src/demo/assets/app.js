// The demo page: wires the three panes, the budget meter and the switches of the page itself.

import { startCallbacks } from './callbacks.js';
import { startCustomer } from './customer.js';
import { startDesk } from './desk.js';
import { $, call, h, keyed, setText, toBottom } from './dom.js';

const WAITING = { send: 'waiting to send', bind: 'to bind', sweep: 'to sweep', get: 'to read' };

function startTabs() {
  const buttons = [...document.querySelectorAll('.tabs button')];
  const show = (pane) => {
    document.body.dataset.pane = pane;
    for (const id of ['chat-scroll', 'case-scroll']) toBottom($(id)); // a hidden pane could not keep to its end
    for (const button of buttons) {
      if (button.dataset.show === pane) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
      if (button.dataset.show === pane) delete button.dataset.news;
    }
  };
  for (const button of buttons) button.addEventListener('click', () => show(button.dataset.show));
  return {
    show,
    news(pane) {
      if (document.body.dataset.pane !== pane) document.querySelector(`.tabs [data-show="${pane}"]`).dataset.news = '';
    },
  };
}

function startTheme() {
  const saved = localStorage.getItem('fini-bridge-demo:theme');
  if (saved) document.documentElement.dataset.theme = saved;
  $('theme').addEventListener('click', () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === 'dark'
      : matchMedia('(prefers-color-scheme: dark)').matches;
    const next = dark ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    localStorage.setItem('fini-bridge-demo:theme', next);
  });
}

function showBudget(budget) {
  const limit = budget.limit ?? 100;
  const used = Math.min(budget.used ?? 0, limit);
  const bar = $('budget-bar');
  setText($('budget-figure'), budget.available ? `${used} of ${limit} in ${budget.window_seconds ?? 60} s` : 'not known');
  bar.setAttribute('aria-valuemax', String(limit));
  bar.setAttribute('aria-valuenow', String(used));
  bar.firstElementChild.style.inlineSize = `${limit ? (100 * used) / limit : 0}%`;
  bar.dataset.level = used > limit * 0.9 ? 'high' : used > limit * 0.6 ? 'middle' : 'low';
  const rows = Object.entries(WAITING).map(([key, name]) => [name, String(budget.waiting?.[key] ?? 0)]);
  if (budget.sweep_age_ms !== null && budget.sweep_age_ms !== undefined) rows.push(['last sweep', `${(budget.sweep_age_ms / 1000).toFixed(1)} s ago`]);
  if (budget.watched !== null && budget.watched !== undefined) rows.push(['watched', String(budget.watched)]);
  keyed($('budget-waiting'), budget.available ? rows : [], ([name]) => name,
    ([name]) => h('div', {}, h('dt', {}, name), h('dd', {})),
    (row, [, value]) => setText(row.lastElementChild, value));
  const ready = $('ready');
  const state = budget.ready === true ? 'ready' : budget.ready === false ? 'not ready' : 'running';
  setText(ready, state);
  ready.dataset.tone = budget.ready === false ? 'warn' : 'good';
}

function startBudget() {
  const step = async () => {
    if (document.visibilityState === 'visible') {
      try {
        showBudget(await call('/demo/budget'));
      } catch {
        showBudget({ available: false, ready: null });
        setText($('ready'), 'no connection');
        $('ready').dataset.tone = 'warn';
      }
    }
    setTimeout(step, 1000);
  };
  void step();
}

const tabs = startTabs();
startTheme();
startBudget();
const customer = startCustomer({ news: () => tabs.news('customer') });
startDesk({ current: customer.conversationId, onCurrentChange: customer.onChange, news: () => tabs.news('desk') });
startCallbacks({
  current: customer.conversationId,
  onCurrentChange: customer.onChange,
  seen(event) {
    tabs.news('callbacks');
    customer.noticed(event);
  },
});
