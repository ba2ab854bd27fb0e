// Small helpers for the demo's page and the operators' console. Text always goes in as text: nothing here can turn a string into markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties (`class`, `data-…`, `aria-…` and plain ones) and children; strings become text nodes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class') element.className = value;
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (/^(data|aria)-|^(role|dir|for)$/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets text only when it differs, so that live regions speak only when something changed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes `list` hold exactly `items`, in order, keeping the elements of items that stay: focus, selection and open
 * details survive, and a live region announces only what is new.
 */
export function keyed(list, items, keyOf, create, update) {
  const old = new Map([...list.children].map((element) => [element.dataset.key, element]));
  let before = list.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = old.get(key);
    if (element) old.delete(key);
    else {
      element = create(item);
      element.dataset.key = key;
    }
    update?.(element, item);
    if (element === before) before = before.nextElementSibling;
    else list.insertBefore(element, before);
  }
  for (const element of old.values()) element.remove();
}

/** One clock for the whole page: of 24 hours, in the reader's own time zone. */
const HOURS = { hourCycle: 'h23', hour: '2-digit', minute: '2-digit' };

export const clock = (when) => new Date(when).toLocaleTimeString([], HOURS);

export const preciseClock = (when) => new Date(when).toLocaleTimeString([], { ...HOURS, second: '2-digit' });

export const atBottom = (element) => element.scrollHeight - element.scrollTop - element.clientHeight < 60;

export const toBottom = (element) => { element.scrollTop = element.scrollHeight; };

/** JSON over the page's own origin. Throws with the server's words where it has some, and its whole answer as `problem`. */
export async function call(path, body, method = 'POST') {
  const options = body === undefined ? {} : { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(path, options);
  const text = await response.text();
  let value = null;
  try { value = JSON.parse(text); } catch { /* not JSON: judged by its status alone */ }
  if (!response.ok) throw Object.assign(new Error(value?.detail ?? `${path} answered ${response.status}`), { problem: value });
  return value;
}

/** Enter sends, Shift+Enter breaks the line; Enter that ends an input method's composition does neither. */
export function enterSends(textarea) {
  textarea.addEventListener('keydown', (event) => {
    // 229 is an input method's key, also in Safari, where its Enter comes after the composition has ended.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    textarea.form.requestSubmit();
  });
}

/** Only web addresses become links: `javascript:` and friends stay text. */
export function link(title, url) {
  let target = null;
  try { target = new URL(url); } catch { /* none or no address */ }
  if (!target || !/^https?:$/.test(target.protocol)) return h('span', {}, title);
  return h('a', { href: target.href, target: '_blank', rel: 'noopener noreferrer' }, title);
}

export const initials = (name) => [...name.trim()].slice(0, 1).join('').toUpperCase() || '?';
