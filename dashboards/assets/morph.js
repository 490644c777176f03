// Makes a part of a page what a fresh copy of it is, by as few changes as that takes. What is the same stays the very node that
// it was, with its focus, its selection and where it was scrolled to.
//
// A part that a script fills says so (`data-own`) and is passed over. A figure from whose table a script draws is left while
// somebody is at work in it (`tally:renew` asks), and drawn again where its numbers differ (`tally:fresh` tells).

/** So many siblings ahead it is looked for a node that was moved by what came before it. */
const AHEAD_MAX = 64;

/** Has `old` say what `next` says; whether anything changed. */
export function taken(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) return replaced(old, next);
  if (old.nodeType !== Node.ELEMENT_NODE) return worded(old, next);
  if (old.hasAttribute("data-own") || (old.matches("form") && old.contains(document.activeElement))) return false;
  if (old.matches("figure[data-chart]")) return drawn(old, next);
  const named = attributes(old, next);
  return children(old, next) || named;
}

/** Whether somebody has selected of it. */
function selected(node) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(node, true);
}

/** A text that somebody is selecting is left until they are done. */
function worded(old, next) {
  if (old.data === next.data || selected(old)) return false;
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

/** A figure from whose table a script draws; whoever reads in it, draws a stretch out or has selected of it is not disturbed. */
function drawn(old, next) {
  if (selected(old) || !old.dispatchEvent(new CustomEvent("tally:renew", { bubbles: true, cancelable: true }))) return false;
  const named = attributes(old, next);
  const changed = children(old, next) || named;
  if (changed) old.dispatchEvent(new CustomEvent("tally:fresh", { bubbles: true }));
  return changed;
}
