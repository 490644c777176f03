// What a page does beside being read: its time zone, what comes new, and menus that close.

const root = document.documentElement;
const zh = root.lang.startsWith("zh");
const say = (en, inChinese) => (zh ? inChinese : en);

// `tz=local` is a wish that only this machine can answer: its zone's name goes into the address, so that the link shows the
// same to everybody.
if (root.dataset.zone === "local") {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const address = new URL(location.href);
  address.searchParams.set("tz", zone);
  location.replace(address);
}

for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("toggle", () => {
    if (menu.open) for (const other of document.querySelectorAll("details.menu[open]")) if (other !== menu) other.open = false;
  });
}
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

// A page that ends now is asked for again, and what differs takes the place of what was there: nothing moves that did not change.
/** Wait between two looks: as long as the last one took, ten times over, within these bounds, milliseconds. */
const WAIT_MS_MIN = 5_000, WAIT_MS_MAX = 60_000, LOOK_FACTOR = 10;
/** A look that takes longer has failed, milliseconds. */
const LOOK_MS_MAX = 20_000;

if (root.dataset.live === "yes") follow();

async function follow() {
  let wait = WAIT_MS_MIN;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    const begun = performance.now();
    try {
      const answer = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" }, signal: AbortSignal.timeout(LOOK_MS_MAX) });
      if (answer.status === 401) { told(say("Signed out: load the page again", "已退出登录，请重新加载"), true); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      told(say("Live", "实时"), false);
    } catch {
      told(say("No answer: what is shown is old", "没有响应，所示内容可能已过时"), true);
    }
    wait = Math.min(WAIT_MS_MAX, Math.max(WAIT_MS_MIN, LOOK_FACTOR * (performance.now() - begun)));
  }
}

/** Takes over each part that is marked for it and differs. What somebody has opened stays open, and the focus where it was. */
function swap(fresh) {
  for (const old of document.querySelectorAll("[data-swap][id]")) {
    const next = fresh.getElementById(old.id);
    if (!next || text(next) === old.dataset.was) continue;
    const was = text(next);
    if (old.dataset.was === undefined && was === text(old)) { old.dataset.was = was; continue; }
    const open = [...old.querySelectorAll("details")].map((one) => one.open);
    const scrolled = [...old.querySelectorAll(".scroll")].map((one) => one.scrollTop);
    const focus = old.contains(document.activeElement) ? place(old, document.activeElement) : -1;
    const made = document.importNode(next, true);
    made.dataset.was = was;
    old.replaceWith(made);
    [...made.querySelectorAll("details")].forEach((one, at) => { if (open[at]) one.open = true; });
    [...made.querySelectorAll(".scroll")].forEach((one, at) => { one.scrollTop = scrolled[at] ?? 0; });
    made.dispatchEvent(new CustomEvent("tally:fresh", { bubbles: true, detail: { was: old } }));
    if (focus >= 0) places(made)[focus]?.focus({ preventScroll: true });
  }
}

const text = (node) => node.innerHTML;
const places = (node) => [...node.querySelectorAll("a, button, summary, input, select, [tabindex]")];
const place = (node, focused) => places(node).indexOf(focused);

function told(what, isOld) {
  const live = document.getElementById("live");
  if (!live) return;
  live.hidden = false;
  live.className = isOld ? "live stale" : "live";
  if (live.textContent !== what) live.textContent = what;
}
