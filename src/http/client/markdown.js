/**
 * Markdown for fini-bridge.
 *
 * A small subset as DOM nodes, for messages whose `format` says so: paragraphs and line breaks, bold, italic, code, lists, links
 * to http(s), titles as bold lines; everything else is shown as it was typed. No text becomes markup, an attribute other than a
 * checked address, or anything that loads or runs.
 *
 * Its time grows with the length of the text and no faster, whatever the text: each character is passed over once, a mark that
 * is never closed is moved at most once per level, there are at most four levels, and what looks ahead stops at the next mark
 * of its kind or knows beforehand that there is one.
 */

const MOST_DEEP = 4; // lists in lists; deeper ones stand on this level
const ITEM = /^([ \t]{0,24})(?:[-*+]|(\d{1,9})[.)])[ \t]+(?=\S)/;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const TITLE = /^ {0,3}#{1,6}[ \t]+(?=\S)/;
/** A label without brackets, an address without spaces and brackets but for one pair of parentheses in it. */
const LINK = /!?\[([^[\]\n]{1,1000})\]\((https?:\/\/(?:[^\s()<>[\]]|\([^\s()<>[\]]*\))+)\)/iy;
const WORD = /[\p{L}\p{N}]/u;
const PUNCTUATION = /[!-/:-@[-`{-~]/;

/** The text as nodes of `document`, ready to be appended. */
export function markdown(text, document = globalThis.document) {
  const root = document.createDocumentFragment();
  const lines = String(text).split(/\r\n|\r|\n/);
  let lists = []; // the open lists, outermost first: { indent, list, isOrdered }
  let paragraph = []; // the lines of the one that goes on
  let into = null; // the item that it goes on in
  const element = (name, parent) => parent.appendChild(document.createElement(name));
  const flush = () => {
    if (paragraph.length) inline(paragraph.join('\n'), into ?? element('p', root), document);
    [paragraph, into] = [[], null];
  };
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    const fence = FENCE.exec(line)?.[1];
    const item = ITEM.exec(line);
    if (fence) {
      flush();
      lists = [];
      const code = [];
      const isEnd = (each) => each.trim().startsWith(fence) && !each.trim().replaceAll(fence[0], '');
      while (++at < lines.length && !isEnd(lines[at])) code.push(lines[at]);
      element('code', element('pre', root)).append(code.join('\n'));
    } else if (item) {
      flush();
      const [mark, { length: indent }, number] = [item[0], item[1], item[2]];
      while (lists.length && indent < lists.at(-1).indent) lists.pop();
      const last = lists.at(-1);
      const isDeeper = !last || (indent > last.indent + 1 && lists.length < MOST_DEEP);
      if (isDeeper || last.isOrdered !== Boolean(number)) {
        if (!isDeeper) lists.pop();
        const list = element(number ? 'ol' : 'ul', lists.at(-1)?.list.lastChild ?? root);
        if (number > 1) list.start = Number(number);
        lists.push({ indent, list, isOrdered: Boolean(number) });
      }
      into = element('li', lists.at(-1).list);
      paragraph = [line.slice(mark.length)];
    } else if (!line.trim()) {
      flush();
    } else if (TITLE.test(line)) {
      flush();
      lists = [];
      inline(line.replace(TITLE, ''), element('strong', element('p', root)), document);
    } else {
      // A line at the margin after an empty one is no longer the list's.
      if (!paragraph.length) {
        if (lists.length && /^[ \t]{2,}/.test(line)) into = element('p', lists.at(-1).list.lastChild);
        else lists = [];
      }
      paragraph.push(line.trim());
    }
  }
  flush();
  return root;
}

/** Bold, italic, code, links and line breaks, appended to `parent`. A mark without its end stays text. */
function inline(text, parent, document, isLabel = false) {
  const lastRun = new Map(); // length of a run of backticks -> where the last one begins
  for (const { 0: run, index } of text.matchAll(/`+/g)) lastRun.set(run.length, index);
  const open = [{ mark: '', nodes: [] }]; // innermost last; no mark stands in it twice
  let plain = '';
  const settle = () => {
    if (plain) open.at(-1).nodes.push(document.createTextNode(plain));
    plain = '';
  };
  const add = (node) => {
    settle();
    open.at(-1).nodes.push(node);
  };
  const make = (name, nodes) => {
    const made = document.createElement(name);
    for (const node of nodes) made.appendChild(node);
    return made;
  };
  /** The innermost mark was none. */
  const giveUp = () => {
    settle();
    const { mark, nodes } = open.pop();
    open.at(-1).nodes.push(document.createTextNode(mark));
    for (const node of nodes) open.at(-1).nodes.push(node);
  };
  const close = (mark) => {
    while (open.at(-1).mark !== mark) giveUp();
    settle();
    const { nodes } = open.pop();
    open.at(-1).nodes.push(make(mark.length === 2 ? 'strong' : 'em', nodes));
  };
  const isOpen = (mark) => open.some((each) => each.mark === mark);

  for (let at = 0; at < text.length; ) {
    const char = text[at];
    if (char === '\\' && PUNCTUATION.test(text[at + 1] ?? '')) {
      plain += text[at + 1];
      at += 2;
    } else if (char === '\n') {
      add(document.createElement('br'));
      at += 1;
    } else if (char === '`') {
      const run = runAt(text, at);
      let end = at + run;
      if (lastRun.get(run) > at) {
        // There is one: what is passed over on the way to it is the code.
        for (let length = 0; length !== run; end += length) {
          end = text.indexOf('`', end);
          length = runAt(text, end);
        }
        const code = text.slice(at + run, end - run).replace(/\n/g, ' ');
        add(make('code', [document.createTextNode(/^ .*[^ ].* $/.test(code) ? code.slice(1, -1) : code)]));
      } else plain += text.slice(at, end);
      at = end;
    } else if (char === '*' || char === '_') {
      const run = runAt(text, at);
      emphasis(text, at, run);
      at += run;
    } else if (!isLabel && (char === '[' || (char === '!' && text[at + 1] === '['))) {
      LINK.lastIndex = at;
      const [whole, label, address] = LINK.exec(text) ?? [];
      if (whole) {
        const link = document.createElement('a');
        [link.href, link.target, link.rel] = [address, '_blank', 'noopener noreferrer nofollow'];
        inline(label, link, document, true);
        add(link);
      } else plain += char;
      at += whole?.length ?? 1;
    } else {
      plain += char;
      at += 1;
    }
  }
  while (open.length > 1) giveUp();
  settle();
  for (const node of open[0].nodes) parent.appendChild(node);

  function emphasis(text, at, run) {
    const [before, after] = [text[at - 1] ?? ' ', text[at + run] ?? ' '];
    const char = text[at];
    // `2*3*4` and `snake_case` are no emphasis; `**` may stand within a word, since not every script has spaces.
    const isWithin = WORD.test(before) && WORD.test(after) && (run === 1 || char === '_');
    const marks = run === 3 ? [char + char, char] : [char.repeat(run)];
    if (run > 3 || isWithin) plain += text.slice(at, at + run);
    else if (!/\s/.test(before) && marks.every(isOpen)) for (const { mark } of [...open].reverse()) marks.includes(mark) && close(mark);
    else if (!/\s/.test(after) && !marks.some(isOpen)) {
      settle();
      for (const mark of marks) open.push({ mark, nodes: [] });
    } else plain += text.slice(at, at + run);
  }

}

/** How often the character stands there in a row. */
function runAt(text, at) {
  let end = at;
  while (text[end] === text[at]) end += 1;
  return end - at;
}
