// How a message's words are drawn.

import { markdown } from '/v1/markdown.js';

/** A message's words, in the format that it says; drawn again only when they differ. */
export function says(element, text, format) {
  if (element.said === text && element.dataset.format === (format ?? 'plain')) return;
  element.said = text;
  element.dataset.format = format ?? 'plain';
  element.replaceChildren(format === 'markdown' ? markdown(text) : text);
}
