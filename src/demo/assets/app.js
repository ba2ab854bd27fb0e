// The demo page: wires the three panes, the budget meter and the switches of the page itself.

import { startCallbacks } from './callbacks.js';
import { startCustomer } from './customer.js';
import { startDesk } from './desk.js';
import { $, call, h, keyed, setText, toBottom } from './dom.js';

/** What waits for a free request: [name, what it means]. */
const WAITING = {
  send: ['to send', 'Customers\' messages that wait for a free request'],
  bind: ['to match', 'New conversations whose number at Fini is being looked up'],
  sweep: ['lists to read', 'Pages of Fini\'s list of conversations: how an agent\'s words are found there'],
  get: ['chats to read', 'Single conversations of which news is expected'],
};
const LAST_LOOK = ['last look', 'When the newest page of that list was read'];
const WATCHED = ['watched', 'Conversations of which news may come'];

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
  const rows = Object.entries(WAITING).map(([key, meant]) => [meant, String(budget.waiting?.[key] ?? 0)]);
  if (budget.sweep_age_ms !== null && budget.sweep_age_ms !== undefined) rows.push([LAST_LOOK, `${(budget.sweep_age_ms / 1000).toFixed(1)} s ago`]);
  if (budget.watched !== null && budget.watched !== undefined) rows.push([WATCHED, String(budget.watched)]);
  keyed($('budget-waiting'), budget.available ? rows : [], ([[name]]) => name,
    ([[name, why]]) => h('div', { title: why }, h('dt', {}, name), h('dd', {})),
    (row, [, value]) => setText(row.lastElementChild, value));
  const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;
  const { sent, read } = budget;
  const isCounted = typeof sent === 'number' && typeof read === 'number';
  setText($('budget-total'), isCounted ? `Since the start: ${count(sent, 'message', 'messages')} sent, ${count(read, 'request', 'requests')} to read.` : '');
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
for (const [name, why] of [...Object.values(WAITING), LAST_LOOK, WATCHED]) $('budget-words').append(h('div', {}, h('dt', {}, name), h('dd', {}, why)));
startBudget();
const customer = startCustomer({ news: () => tabs.news('customer') });
const desk = startDesk({ current: customer.conversationId, onCurrentChange: customer.onChange, news: () => tabs.news('desk') });
startCallbacks({
  current: customer.conversationId,
  onCurrentChange: customer.onChange,
  seen(event) {
    tabs.news('callbacks');
    customer.noticed(event);
    desk.noticed(event);
  },
});
