// Keeps a page as it is now: what concerns it is heard over the feed, the page is then asked for again, and what differs takes
// the place of what was there. Nothing else moves: focus, selection, scroll and what somebody has opened stay.
//
// What is heard only says that something came; what is shown is the service's own answer. Where the feed tells nothing, or its
// line is gone, the page is asked for by the clock.
import { taken } from "./morph.js";

const root = document.documentElement;
const zh = root.lang.startsWith("zh");
const say = (en, inChinese) => (zh ? inChinese : en);

/** The feed is ahead of the store: after an event the page is looked at so often again, milliseconds after it. */
const SETTLES_MS = [300, 1_500, 4_000, 10_000, 20_000, 40_000];
/** Pace of looks while no line to the feed is open, milliseconds. */
const UNHEARD_MS = 5_000;
/** Between two looks lie as many times what the last one took, and no more than this, milliseconds. */
const LOOK_FACTOR = 10, WAIT_MS_MAX = 60_000;
/** A look that takes longer has failed, milliseconds. */
const LOOK_MS_MAX = 20_000;
/** A feed that ended with the session is opened anew where a look was answered, at most so often, milliseconds. */
const REOPEN_MS_MIN = 30_000;
/** Kept by a window that was loaded again for its feed client, until it has one. */
const AGAIN = "tally:again";
/** Changes are read out at most so often, milliseconds. */
const NEWS_MS_MIN = 4_000;

const { feed: concern, of, subject, role, look: address } = root.dataset;
/** Looks are at least so far apart, and without any event at most, milliseconds. */
const [paceMs, askMs] = [Number(root.dataset.pace), Number(root.dataset.ask)];

/** Whether the feed tells this page anything, and no other script of it has opened it. */
const opens = concern !== "none" && concern !== "own";

const lamp = document.getElementById("live");
const line = { state: concern === "none" ? "none" : "connecting", code: 0, connects: 0, openedAt: -Infinity, feed: null };
let looked = { began: performance.now(), ended: performance.now(), tookMs: 0, failed: false, at: new Date() };
let heardAt = -Infinity, dueAt = Infinity, timer = 0, looking = false, signedOut = false;

/** Whether an event of the feed concerns this page. */
function concerns({ type, data }) {
  switch (concern) {
    case "task": return data.task_id === of;
    case "case": return data.case_id === of;
    case "moderation": return type.startsWith("moderation.");
    default: return true; // what another script of the page hears
  }
}

function heard(event) {
  if (!concerns(event)) return;
  heardAt = performance.now();
  wanted(heardAt + SETTLES_MS[0]);
}

/** Has the page looked at by then, or as soon as the pace allows. */
function wanted(at) {
  dueAt = Math.min(dueAt, at);
  if (looking || signedOut) return;
  const apart = Math.min(WAIT_MS_MAX, Math.max(paceMs, LOOK_FACTOR * looked.tookMs));
  clearTimeout(timer);
  timer = setTimeout(look, Math.max(0, Math.max(dueAt, looked.ended + apart) - performance.now()));
}

async function look() {
  if (document.hidden) return; // it is looked at once it is shown
  [looking, dueAt] = [true, Infinity];
  const began = performance.now();
  let failed = false, at = looked.at;
  try {
    const answer = await fetch(address ?? location.href, { cache: "no-store", headers: { accept: "text/html" }, signal: AbortSignal.timeout(LOOK_MS_MAX) });
    if (answer.status === 401) signedOut = true;
    else if (!answer.ok) throw new Error(String(answer.status));
    else {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = fresh.documentElement.dataset;
      if (now.subject !== subject || now.role !== role) return void location.reload(); // somebody else has signed in beside this page
      at = new Date();
      news(take(fresh));
    }
  } catch {
    failed = true;
  }
  const ended = performance.now();
  looked = { began, ended, tookMs: ended - began, failed, at };
  looking = false;
  told();
  if (signedOut) return void line.feed?.close();
  if (!failed && root.dataset.missing !== undefined && again()) return;
  if (!failed && line.state === "stopped" && ended - line.openedAt > REOPEN_MS_MIN && [0, 4001, 4201].includes(line.code)) reopen();
  next();
}

/** When the page is looked at next where nothing is heard. */
function next() {
  const settles = SETTLES_MS.map((ms) => heardAt + ms).find((at) => at > looked.began) ?? Infinity;
  wanted(Math.min(settles, looked.ended + (line.state === "live" && !looked.failed ? askMs : Math.min(askMs, UNHEARD_MS))));
}

/** Takes over what differs; returns how many events came to the timeline, null where there is none or nothing has changed. */
function take(fresh) {
  const rows = () => document.querySelectorAll("#part-timeline-rows tbody tr").length;
  const before = rows();
  let changed = false;
  for (const id of ["standing", "main"]) {
    const [old, made] = [document.getElementById(id), fresh.getElementById(id)];
    if (old && made) changed = taken(old, made) || changed;
  }
  return changed ? rows() - before : null;
}

/** What changed, for whoever cannot see it; pages of figures change all the time and stay silent. */
let said = { at: -Infinity, timer: 0, events: 0 };
function news(events) {
  const place = document.getElementById("heard");
  if (events === null || !place) return;
  said.events += events;
  said.timer ||= setTimeout(() => {
    place.textContent = said.events > 0 ? say(`${said.events} more event${said.events === 1 ? "" : "s"}`, `新增 ${said.events} 个事件`) : say("The page has changed", "页面内容已更新");
    said = { at: performance.now(), timer: 0, events: 0 };
  }, Math.max(0, said.at + NEWS_MS_MIN - performance.now()));
}

/** The lamp: live, on its way there, asked by the clock, or old since a moment. */
function told() {
  if (!lamp) return;
  const since = looked.at.toLocaleTimeString("en-GB", { timeZone: root.dataset.tz || "UTC" });
  const [look, words] = signedOut ? ["stale", say("Signed out: load the page again", "已退出登录，请重新加载")]
    : looked.failed ? ["stale", say(`No answer: stale since ${since}`, `没有响应：内容停留在 ${since}`)]
    : line.state === "live" ? ["", say("Live", "实时")]
    : line.state === "none" || line.state === "stopped" ? ["asked", say("Asked again by the clock", "定时刷新")]
    : ["waiting", line.connects ? say("Reconnecting; asked again by the clock", "正在重新连接，定时刷新") : say("Connecting", "正在连接")];
  lamp.hidden = false;
  lamp.className = `live ${look}`.trim();
  if (lamp.textContent !== words) lamp.textContent = words;
}

function onState({ state, code, connects }) {
  const was = line.state;
  [line.state, line.code, line.connects] = [state, code, connects];
  sessionStorage.removeItem(AGAIN);
  told();
  // what came between the page and the line, or while there was none, is not told again
  if (state === "live" && was !== "live") wanted(performance.now() + Math.random() * paceMs); // all pages hear of a restart at once
  else if (was === "live" && state !== "live") wanted(performance.now() + UNHEARD_MS);
}

/** Opens the feed with the session's cookie, which no script reads or renews: it ends with the session. */
async function open() {
  line.openedAt = performance.now();
  line.feed?.close();
  const client = await import("/feed.js").catch(() => null);
  if (client === null) return void (root.dataset.missing = ""); // a module that could not be had once is not asked for again by every browser
  delete root.dataset.missing;
  const { openFeed, sessionToken } = client;
  const token = (why) => {
    if (why !== "start") throw new Error("the session has ended");
    return sessionToken(subject, role);
  };
  line.feed = openFeed({ base: new URL("/", location.href), token, start: "now", onEvent: heard, onState });
}

/** A page whose feed client could not be had is loaded again, once: where that does not help it goes by the clock. Whether it is. */
function again() {
  if (sessionStorage.getItem(AGAIN) === null) {
    sessionStorage.setItem(AGAIN, "");
    location.reload();
    return true;
  }
  line.state = "stopped";
  told();
  return false;
}

/** Whoever has opened the feed opens it again: one that nobody shows would answer for prompts that nobody has seen. */
function reopen() {
  if (opens) return void open();
  line.openedAt = performance.now();
  document.dispatchEvent(new CustomEvent("tally:reopen"));
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) wanted(performance.now()); });
addEventListener("pagehide", () => line.feed?.close());
addEventListener("pageshow", ({ persisted }) => { if (persisted && opens) open(); });
// a page that opens the feed itself hands on what it hears
document.addEventListener("tally:heard", ({ detail }) => heard(detail));
document.addEventListener("tally:line", ({ detail }) => onState(detail));

told();
next();
if (opens) { // the first picture goes ahead of it
  if (document.readyState === "complete") open();
  else addEventListener("load", () => open(), { once: true });
}
