/**
 * A message's Markdown as nodes, for `format: 'markdown'`: `row.replaceChildren(markdown(text))`. A small subset (paragraphs, bold,
 * italic, code, lists, titles as bold lines, links to http(s) that open elsewhere); everything else is shown as it was typed. Safe
 * for any text: nothing becomes markup, runs or loads, and the time grows with the length of the text and no faster.
 */
export function markdown(text: string, document?: Document): DocumentFragment;
