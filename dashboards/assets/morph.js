// Makes a part of a page what a fresh copy of it is, by as few changes as that takes. What is the same stays the very node that
// it was, with its focus, its selection and where it was scrolled to.
//
// A part that a script fills says so (`data-own`) and is passed over. A figure that a script has drawn is compared by what the
// service had sent, and taken whole where that differs.

/** So many siblings ahead it is looked for a node that was moved by what came before it. */
const AHEAD_MAX = 64;

/** What the service sent of a figure that a script has drawn since. */
const sent = new WeakMap();
for (const figure of document.querySelectorAll("figure[data-chart]")) sent.set(figure, bare(figure));

/** Has `old` say what `next` says; whether anything changed. */
export function taken(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) return replaced(old, next);
  if (old.nodeType !== Node.ELEMENT_NODE) return worded(old, next);
  if (old.hasAttribute("data-own") || (old.matches("form") && old.contains(document.activeElement))) return false;
  if (old.matches("figure[data-chart]")) return renewed(old, next);
  const named = attributes(old, next);
  return children(old, next) || named;
}

/** A text that somebody is selecting is left until they are done. */
function worded(old, next) {
  const selection = getSelection();
  if (old.data === next.data || (!selection.isCollapsed && selection.containsNode(old, true))) return false;
  old.data = next.data;
  return true;
}

function replaced(old, next) {
  old.replaceWith(document.importNode(next, true));
  return true;
}

/** What somebody has opened is theirs. */
const kept = (element, name) => name === "open" && element.matches("details");

function attributes(old, next) {
  let changed = false;
  for (const { name, value } of next.attributes) {
    if (kept(old, name) || old.getAttribute(name) === value) continue;
    old.setAttribute(name, value);
    changed = true;
  }
  for (const { name } of [...old.attributes]) {
    if (kept(old, name) || next.hasAttribute(name)) continue;
    old.removeAttribute(name);
    changed = true;
  }
  return changed;
}

/** The same thing: by its id where it has one, else by all that it says. */
const alike = (a, b) => (a.id || b.id ? a.id === b.id && a.nodeName === b.nodeName : a.isEqualNode(b));

/** Which of the nodes ahead is the same as this one, counted from the next; -1 where none is. */
const ahead = (nodes, from, one) => nodes.slice(from + 1, from + 1 + AHEAD_MAX).findIndex((other) => alike(other, one));

function children(old, next) {
  const [was, will] = [[...old.childNodes], [...next.childNodes]];
  let changed = false, at = 0;
  for (let to = 0; to < will.length; to += 1) {
    const [here, there] = [was[at], will[to]];
    if (here === undefined) {
      old.append(document.importNode(there, true));
      changed = true;
    } else if (here.isEqualNode(there)) {
      at += 1;
    } else if (ahead(will, to, here) >= 0) {
      here.before(document.importNode(there, true)); // it came in before what is here
      changed = true;
    } else {
      const gone = ahead(was, at, there);
      for (let left = 0; left <= gone; left += 1, at += 1) { was[at].remove(); changed = true; }
      changed = taken(was[at], there) || changed;
      at += 1;
    }
  }
  for (const rest of was.slice(at)) { rest.remove(); changed = true; }
  return changed;
}

/** A figure as the service sent it: without what a script has made of it. */
function bare(figure) {
  const copy = figure.cloneNode(true);
  for (const made of copy.querySelectorAll(".legend, .said")) made.remove();
  for (const canvas of copy.querySelectorAll(".canvas")) canvas.replaceWith(Object.assign(document.createElement("div"), { className: "canvas" }));
  for (const details of copy.querySelectorAll("details")) details.open = false;
  return copy.outerHTML;
}

/** A drawn figure: where its numbers differ it is taken whole and drawn anew; what was open, focused and scrolled to is so again. */
function renewed(old, next) {
  const fresh = bare(next);
  if (!sent.has(old)) sent.set(old, bare(old));
  if (sent.get(old) === fresh) return false;
  const open = [...old.querySelectorAll("details")].map((one) => one.open);
  const scrolled = [...old.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
  const focus = old.contains(document.activeElement) ? places(old).indexOf(document.activeElement) : -1;
  const made = document.importNode(next, true);
  sent.set(made, fresh);
  old.replaceWith(made);
  [...made.querySelectorAll("details")].forEach((one, at) => { if (open[at]) one.open = true; });
  [...made.querySelectorAll(".scroll")].forEach((one, at) => { [one.scrollLeft, one.scrollTop] = scrolled[at] ?? [0, 0]; });
  made.dispatchEvent(new CustomEvent("tally:fresh", { bubbles: true, detail: { was: old } }));
  if (focus >= 0) places(made)[focus]?.focus({ preventScroll: true });
  return true;
}

const places = (node) => [...node.querySelectorAll("a, button, summary, input, select, [tabindex]")];
