// The console: signing in, the views and their addresses, and looking again while somebody looks.

import { Refused, hasToken, me, signIn, signOut } from './api.js';
import { conversation } from './conversation.js';
import { $, h, setText } from './dom.js';
import { load } from './load.js';
import { search, waiting } from './people.js';
import { audit, configuration } from './records.js';
import { deadLetters, lanes, quarantines } from './repairs.js';
import { report } from './report.js';
import { button } from './ui.js';

// Address, name, view, and after how many seconds it looks again.
const VIEWS = [
  ['waiting', 'Waiting for a human', waiting, 5],
  ['quarantines', 'Quarantines', quarantines, 30],
  ['dead-letters', 'Dead letters', deadLetters, 30],
  ['lanes', 'Blocked lanes', lanes, 15],
  ['load', 'Budget and lag', load, 15],
  ['report', 'Report', report, 0],
  ['audit', 'Audit', audit, 0],
  ['configuration', 'Configuration', configuration, 0],
  ['search', 'Search', search, 0],
  ['conversation', 'Conversation', conversation, 0],
];
const IN_MENU = VIEWS.slice(0, 8);

let shown = 0;
let again;

/** Where the address leads: the view and its parts. */
function place() {
  const [name, ...parts] = location.hash.replace(/^#\/?/, '').split('/').map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return [VIEWS.find(([known]) => known === name) ?? VIEWS[0], parts];
}

function fault(error) {
  const element = $('fault');
  element.hidden = !error;
  if (!error) return;
  if (!(error instanceof Refused)) console.error(error);
  element.textContent = error.status === 403 ? `Your role does not allow this: ${error.message}` : error.message;
}

/** Draws the view of the address; `isNew` where somebody came to it, and not where it merely looks again. */
async function show(isNew) {
  clearTimeout(again);
  const turn = ++shown;
  const [[name, title, view, seconds], parts] = place();
  if (isNew) {
    for (const link of $('views').children) {
      if (link.dataset.view === name) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
    }
    $('views').querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    document.title = `${title} · fini-bridge console`;
    setText($('title'), title);
    setText($('about'), '');
    $('acts').replaceChildren();
    $('body').replaceChildren(h('p', { class: 'empty' }, 'Loading …'));
    fault(null);
  }
  try {
    const drawn = await view({ parts, refresh: () => show(false) });
    if (turn !== shown) return;
    fault(null);
    setText($('title'), drawn.title ?? title);
    setText($('about'), drawn.about ?? '');
    $('acts').replaceChildren(...(drawn.acts ?? []), ...(seconds ? [button('Refresh', () => void show(false))] : []));
    $('body').replaceChildren(...drawn.body);
    $('body').setAttribute('aria-busy', 'false');
  } catch (error) {
    if (turn !== shown) return;
    if (isNew) $('body').replaceChildren();
    if (error.status !== 401) fault(error);
  }
  if (seconds) again = setTimeout(lookAgain, seconds * 1000);
}

/** Not under somebody's hands: whoever is inside the view, or at a dialog, goes on undisturbed. */
function lookAgain() {
  const isBusy = $('body').contains(document.activeElement) || document.querySelector('dialog[open]') || document.hidden;
  if (isBusy) again = setTimeout(lookAgain, 2000);
  else void show(false);
}

async function showReadiness() {
  try {
    const answer = await fetch('/readyz', { credentials: 'omit' });
    const body = await answer.json();
    setText($('ready'), body.ready ? 'ready' : 'not ready');
    $('ready').dataset.tone = body.ready ? 'good' : 'warn';
  } catch {
    setText($('ready'), 'no connection');
    $('ready').dataset.tone = 'warn';
  }
  setTimeout(showReadiness, 10_000);
}

function begin() {
  $('sign-in').close();
  $('views').hidden = false;
  $('find').hidden = false;
  $('sign-out').hidden = !hasToken();
  setText($('operator'), `${me.name} (${me.role}${me.texts ? ', texts' : ''})`);
  void show(true);
}

function askForToken(error) {
  clearTimeout(again);
  shown += 1;
  for (const part of ['views', 'find', 'sign-out']) $(part).hidden = true;
  for (const part of ['body', 'acts']) $(part).replaceChildren();
  for (const part of ['title', 'about', 'operator']) setText($(part), '');
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  $('sign-in-fault').hidden = !error;
  setText($('sign-in-fault'), error ?? '');
  $('token').value = '';
  $('sign-in').showModal();
  $('token').focus();
}

$('sign-in-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    await signIn($('token').value.trim());
    begin();
  } catch (error) {
    askForToken(error.status === 401 ? 'This token opens nothing here.' : error.message);
  }
});
$('sign-in').addEventListener('cancel', (event) => event.preventDefault());
document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); $('view').focus(); });
$('sign-out').addEventListener('click', () => { signOut(); askForToken(); });
$('find').addEventListener('submit', (event) => {
  event.preventDefault();
  const id = $('find-id').value.trim();
  if (id) location.hash = `#/search/${encodeURIComponent(id)}`;
});
addEventListener('signed-out', () => { if (me) { signOut(); askForToken('The token is not accepted any more.'); } });
addEventListener('hashchange', () => {
  if (!me) return;
  void show(true).then(() => $('view').focus({ preventScroll: true }));
  scrollTo(0, 0);
});

$('views').append(...IN_MENU.map(([name, title]) => h('a', { href: `#/${name}`, 'data-view': name }, title)));
void showReadiness();
signIn().then(begin, (error) => {
  if (error.status === 401) askForToken();
  else fault(error);
});
