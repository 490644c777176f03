// My tasks, live: the state from a signed snapshot, then event by event. Text is set as text, never as markup.
import { openFeed } from "./feed.js";

/** Finished tasks that are shown; older ones leave the page. */
const DONE_TASKS_MAX = 50;
/** Changes are read out at most this often, milliseconds. */
const NEWS_MS_MIN = 4_000;

const byId = (id) => document.getElementById(id);
const tasks = new Map(); // task id -> what is known of it, and its row
const prompts = new Map(); // task id and kind -> its line

/** What a kind of task event says to a person: the state, and how it is drawn. */
const STATES = {
  SUBMITTED: ["submitted", "open"], QUEUED: ["queued", "open"], STARTED: ["running", "open"], PROGRESSED: ["running", "open"],
  ACCELERATION_OFFERED: ["queued", "open"], ACCELERATED: ["queued", "open"], SUPPLEMENT_REQUIRED: ["waiting for credits", "waiting"],
  SUPPLEMENT_SETTLED: ["running", "open"], PAUSED: ["paused", "waiting"], RESUMED: ["running", "open"], SUCCEEDED: ["done", "succeeded"],
  FAILED: ["failed", "failed"], CANCELLED: ["cancelled", "ended"], ROLLED_BACK: ["rolled back", "ended"],
};
const FINISHED = new Set(["SUCCEEDED", "FAILED", "CANCELLED", "ROLLED_BACK"]);

function made(tag, name, text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return element;
}

/** 1 credit = 1,000,000 micros; text, so that nothing is rounded. */
function credits(micros) {
  const digits = String(micros).padStart(7, "0");
  const rest = digits.slice(-6).replace(/0+$/, "");
  return `${BigInt(digits.slice(0, -6)).toLocaleString("en")}${rest && `.${rest}`}`;
}

/** A row's parts are made once and filled on each change, so that focus and reading position stay. */
function row(id) {
  const item = made("li", "task");
  item.dataset.task = id;
  const head = made("div");
  const parts = { item, title: made("h3", "", id), about: made("p", "about"), what: made("p", "what"), word: made("span"), queue: made("span", "queue", "accelerated"), bar: made("div", "bar"), progress: made("progress"), share: made("span", "share"), time: made("time") };
  parts.title.id = `task-${id}`;
  parts.progress.max = 1000;
  parts.progress.setAttribute("aria-labelledby", parts.title.id);
  head.append(parts.title, parts.about);
  parts.what.append(parts.word, parts.queue);
  parts.bar.append(parts.progress, parts.share);
  item.append(head, parts.what, parts.bar, parts.time);
  return parts;
}

function fill(task) {
  const { data, parts } = task;
  const [word, look] = STATES[data.kind] ?? [data.kind.toLowerCase(), "open"];
  const permille = data.kind === "SUCCEEDED" ? 1000 : task.permille;
  parts.item.className = `task ${look}`;
  parts.item.dataset.kind = data.kind;
  parts.item.dataset.version = data.state_version;
  parts.about.textContent = [data.template_id && `template ${data.template_id}`, data.license_id && `licence ${data.license_id}`].filter(Boolean).join(", ");
  parts.word.textContent = data.kind === "FAILED" && data.error_code ? `failed: ${data.error_code}` : word;
  parts.queue.hidden = data.queue !== "ACCELERATED";
  parts.progress.value = permille;
  parts.share.textContent = `${(permille / 10).toFixed(1)} %`;
  const at = new Date(data.occurred_at);
  parts.time.dateTime = at.toISOString();
  parts.time.title = at.toISOString();
  parts.time.textContent = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** Takes what is newer than what is known; a state has a number, so nothing can go backwards. */
function taken(data) {
  const known = tasks.get(data.task_id);
  if (known && Number(data.state_version) <= Number(known.data.state_version)) return;
  const task = known ?? { parts: row(data.task_id), permille: 0, place: null };
  task.data = data;
  task.permille = data.progress_permille ?? task.permille;
  tasks.set(data.task_id, task);
  fill(task);
  const place = FINISHED.has(data.kind) ? "done" : "open";
  if (task.place !== place) {
    byId(place).prepend(task.parts.item);
    task.place = place;
  }
  if (data.kind === "ACCELERATION_OFFERED") prompt(data.task_id, "acceleration", "You may move it to the accelerated queue.", data);
  else if (["ACCELERATED", "STARTED"].includes(data.kind)) settled(data.task_id, "acceleration");
  if (data.kind === "SUPPLEMENT_REQUIRED" && !prompts.has(`${data.task_id} supplement`)) prompt(data.task_id, "supplement", "It needs more credits to go on.", data);
  else if (data.kind === "SUPPLEMENT_SETTLED") settled(data.task_id, "supplement");
  if (place === "done") settled(data.task_id, "acceleration"), settled(data.task_id, "supplement");
}

function prompt(id, kind, text, data) {
  settled(id, kind);
  const item = made("li");
  item.dataset.prompt = `${id} ${kind}`;
  item.append(made("strong", "", id), document.createTextNode(`: ${text} `), made("span", "about", `since ${new Date(data.occurred_at).toLocaleTimeString()}`));
  prompts.set(`${id} ${kind}`, item);
  byId("prompts").prepend(item);
}

function settled(id, kind) {
  prompts.get(`${id} ${kind}`)?.remove();
  prompts.delete(`${id} ${kind}`);
}

function count() {
  const done = byId("done");
  while (done.children.length > DONE_TASKS_MAX) {
    tasks.delete(done.lastElementChild.dataset.task);
    done.lastElementChild.remove();
  }
  for (const place of ["open", "done"]) {
    const number = byId(place).children.length;
    byId(`${place}-count`).textContent = number ? String(number) : "";
    byId(`${place}-none`).hidden = number > 0;
    byId(`${place}-none`).textContent = place === "open" ? "No task is open. A new one shows here by itself." : "No task has finished yet.";
  }
  byId("prompts-part").hidden = prompts.size === 0;
}

let news = { at: -Infinity, timer: 0, text: "" };
function announce(text) {
  news.text = text;
  news.timer ||= setTimeout(() => {
    byId("news").textContent = news.text;
    news = { at: performance.now(), timer: 0, text: "" };
  }, Math.max(0, news.at + NEWS_MS_MIN - performance.now()));
}

function onSnapshot(state) {
  if (state.complete !== false) {
    tasks.clear();
    prompts.clear();
    for (const id of ["open", "done", "prompts"]) byId(id).replaceChildren();
  }
  for (const { supplement, ...data } of [...state.tasks].reverse()) {
    settled(data.task_id, "supplement");
    taken(data);
    if (supplement) supplementAsked(supplement);
  }
  count();
}

const supplementAsked = (data) => prompt(data.task_id, "supplement", `It needs ${credits(data.amount_micros)} more credits to go on.`, data);

function onEvent({ type, data }) {
  if (type.startsWith("task.")) taken(data);
  else if (type === "credit.supplement_requested.v1") supplementAsked(data);
  else if (/^credit\.supplement_(charged|declined)\.v1$/.test(type)) settled(data.task_id, "supplement");
  count();
  if (type === "credit.supplement_requested.v1" || (type.startsWith("task.") && !type.startsWith("task.progressed"))) {
    const said = type.startsWith("task.") ? STATES[data.kind]?.[0] ?? data.kind : "needs more credits";
    announce(`${data.task_id}: ${said}`);
  }
}

const WAYS = { ws: "WebSocket", sse: "event stream", poll: "long poll" };
const STOPPED = { 4001: "the token was refused", 4003: "this token may not read the feed", 4004: "access was revoked", 4005: "too many windows are open" };
function onState({ state, transport, leads, code, reason, withheld, ...more }) {
  const line = byId("state");
  line.className = state;
  line.dataset.transport = transport ?? "";
  line.dataset.leads = leads;
  for (const name of ["gaps", "repeats", "connects"]) line.dataset[name] = more[name];
  const texts = {
    connecting: "connecting; what stands below may be old", waiting: "not connected, trying again; what stands below may be old",
    live: `live by ${WAYS[transport] ?? "the service"}${leads ? "" : ", shared with another window"}`, stopped: `stopped: ${STOPPED[code] ?? reason}`,
  };
  if (byId("state-text").textContent !== texts[state]) byId("state-text").textContent = texts[state];
  byId("withheld").hidden = withheld === 0;
  byId("withheld").textContent = `${withheld} event${withheld === 1 ? " was" : "s were"} not shown: the signature does not fit. Tell whoever runs this service.`;
}

/** A token that a person pastes: in a page of one's own, whatever the session has. */
function token(why) {
  const form = byId("sign-in");
  form.hidden = false;
  if (why !== "renew") byId("state-text").textContent = "not signed in";
  if (why === "refused") byId("sign-in-why").textContent = "The service refused that token. Paste another one.";
  if (why === "renew") byId("sign-in-why").textContent = "The token is about to end. Paste a new one to stay signed in.";
  if (why !== "renew") byId("token").focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const given = byId("token").value.trim();
      form.reset();
      form.hidden = true;
      if (why !== "renew") byId("state-text").textContent = "connecting";
      resolve(given);
    };
  });
}

const feed = openFeed({ token, onSnapshot, onEvent, onState });
addEventListener("pagehide", () => feed.close());
