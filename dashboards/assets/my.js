// My tasks, live: the state from a signed snapshot, then event by event. Text is set as text, never as markup.
const client = await import("/feed.js").catch(() => null);
if (client === null) {
  document.documentElement.dataset.missing = ""; // live.js sees to it
  throw new Error("the feed's client could not be loaded");
}
const { openFeed, sessionToken } = client;

const zh = document.documentElement.lang.startsWith("zh");
const say = (en, inChinese) => (zh ? inChinese : en);

/** Finished tasks that are shown; older ones leave the page. */
const DONE_TASKS_MAX = 50;
/** Changes are read out at most this often, milliseconds. */
const NEWS_MS_MIN = 4_000;

const byId = (id) => document.getElementById(id);
const tasks = new Map(); // task id -> what is known of it, and its row
const prompts = new Map(); // task id and kind -> its line

/** What a kind of task event says to a person: the state, and how it is drawn. */
const queued = say("queued", "排队中"), running = say("running", "运行中");
const STATES = {
  SUBMITTED: [say("submitted", "已提交"), "open"], QUEUED: [queued, "open"], STARTED: [running, "open"], PROGRESSED: [running, "open"],
  ACCELERATION_OFFERED: [queued, "open"], ACCELERATED: [queued, "open"], SUPPLEMENT_REQUIRED: [say("waiting for credits", "等待积分"), "waiting"],
  SUPPLEMENT_SETTLED: [running, "open"], PAUSED: [say("paused", "已暂停"), "waiting"], RESUMED: [running, "open"], SUCCEEDED: [say("succeeded", "已完成"), "succeeded"],
  FAILED: [say("failed", "失败"), "failed"], CANCELLED: [say("cancelled", "已取消"), "ended"], ROLLED_BACK: [say("rolled back", "已回滚"), "ended"],
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

/** The page of a task, in the view of this page. */
function taskLink(id) {
  const address = new URL(`/task/${encodeURIComponent(id)}`, location.href);
  for (const name of ["tz", "lang", "theme"]) if (new URL(location.href).searchParams.has(name)) address.searchParams.set(name, new URL(location.href).searchParams.get(name));
  return address.pathname + address.search;
}

/** A row's parts are made once and filled on each change, so that focus and reading position stay. */
function row(id) {
  const item = made("li", "task");
  item.dataset.task = id;
  const head = made("div");
  const parts = { item, title: made("h3"), link: made("a", "", id), about: made("p", "about"), what: made("p", "what"), word: made("span"), queue: made("span", "queue", say("accelerated", "加速")), bar: made("div", "bar"), progress: made("progress"), share: made("span", "share"), time: made("time") };
  parts.title.id = `task-${id}`;
  parts.link.href = taskLink(id);
  parts.title.append(parts.link);
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
  parts.about.textContent = [data.template_id && `${say("template", "模板")} ${data.template_id}`, data.license_id && `${say("licence", "授权")} ${data.license_id}`].filter(Boolean).join(", ");
  parts.word.textContent = data.kind === "FAILED" && data.error_code ? `${say("failed", "失败")}: ${data.error_code}` : word;
  parts.queue.hidden = data.queue !== "ACCELERATED";
  parts.progress.value = permille;
  parts.share.textContent = `${(permille / 10).toFixed(1)} %`;
  const at = new Date(data.occurred_at);
  parts.time.dateTime = at.toISOString();
  parts.time.title = at.toISOString();
  parts.time.textContent = clock(at);
}

const zone = document.documentElement.dataset.tz || "UTC";
const clock = (at) => at.toLocaleTimeString("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });

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
  prompted(data);
}

/** What a prompt or a banner says of itself in each state. */
const PROMPTS = {
  shown: [say("shown", "已显示"), "open"], accepted: [say("accepted", "已接受"), "pass"], declined: [say("declined", "已拒绝"), "fail"],
  expired: [say("expired", "已失效"), "open"], undone: [say("rolled back", "已回滚"), "warn"],
};
/** Settled prompts that stay to be read; older ones leave the page. The table below has all. */
const SETTLED_PROMPTS_MAX = 6;

/** Moves a task's prompts on. An offer that is not taken before the task starts has expired; a request that nobody answers before it ends, too. */
function prompted(data) {
  const { task_id: id, kind } = data;
  if (kind === "ACCELERATION_OFFERED") shown(id, "acceleration", say("It may move to the accelerated queue.", "可转入加速队列。"), data);
  if (kind === "ACCELERATED") settled(id, "acceleration", "accepted", data);
  if (kind === "STARTED") settled(id, "acceleration", "expired", data);
  if (kind === "SUPPLEMENT_REQUIRED" && prompts.get(`${id} supplement`)?.state !== "shown") shown(id, "supplement", say("It needs more credits to go on.", "需要更多积分才能继续。"), data);
  if (kind === "SUPPLEMENT_SETTLED") settled(id, "supplement", "accepted", data);
  if (kind === "ROLLED_BACK") for (const what of ["acceleration", "supplement"]) undone(id, what, data);
  if (FINISHED.has(kind)) for (const what of ["acceleration", "supplement"]) settled(id, what, "expired", data);
}

function shown(id, what, text, data) {
  prompts.get(`${id} ${what}`)?.item.remove();
  const item = made("li", "prompt");
  item.dataset.prompt = `${id} ${what}`;
  const link = made("a", "", id);
  link.href = taskLink(id);
  const word = made("span", "verdict open");
  const title = what === "supplement" ? say("Supplement", "补充积分") : say("Acceleration", "加速");
  const since = made("span", "about", `${say("since", "自")} ${clock(new Date(data.occurred_at))}`);
  item.append(made("strong", "", title), " ", link, `: ${text} `, since, " ", word);
  const prompt = { item, word, since, state: "" };
  prompts.set(`${id} ${what}`, prompt);
  state(prompt, "shown");
  byId("prompts").prepend(item);
}

function state(prompt, name) {
  const [word, look] = PROMPTS[name];
  prompt.state = name;
  prompt.item.dataset.state = name;
  prompt.item.className = `prompt ${name}`;
  prompt.word.className = `verdict ${look}`;
  prompt.word.textContent = word;
}

/** A prompt that is shown takes its answer; one that has an answer keeps it. */
function settled(id, what, name, data) {
  const prompt = prompts.get(`${id} ${what}`);
  if (prompt?.state !== "shown") return;
  state(prompt, name);
  prompt.since.textContent = clock(new Date(data.occurred_at));
  byId("prompts").append(prompt.item); // those that wait stand first
}

/** What was accepted and then taken back. */
function undone(id, what, data) {
  const prompt = prompts.get(`${id} ${what}`);
  if (prompt?.state !== "accepted") return;
  state(prompt, "undone");
  prompt.since.textContent = clock(new Date(data.occurred_at));
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
    byId(`${place}-none`).textContent = place === "open" ? say("No task is open. A new one shows here by itself.", "没有进行中的任务，新任务会自动显示。") : say("No task has finished yet.", "尚无已结束的任务。");
  }
  const answered = [...prompts].filter(([, prompt]) => prompt.state !== "shown");
  for (const [key, prompt] of answered.slice(0, Math.max(0, answered.length - SETTLED_PROMPTS_MAX))) {
    prompt.item.remove();
    prompts.delete(key);
  }
  const waiting = prompts.size - Math.min(answered.length, SETTLED_PROMPTS_MAX);
  byId("prompts-count").textContent = waiting > 0 ? String(waiting) : "";
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
    taken(data);
    if (supplement) supplementAsked(supplement);
  }
  count();
}

const supplementAsked = (data) => shown(data.task_id, "supplement", say(`It needs ${credits(data.amount_micros)} more credits to go on.`, `还需 ${credits(data.amount_micros)} 积分才能继续。`), data);

/** What stands below comes from the store: whoever keeps it as it is now hears what is heard here. */
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

function onEvent(event) {
  tell("tally:heard", event);
  const { type, data } = event;
  if (type.startsWith("task.")) taken(data);
  else if (type === "credit.supplement_requested.v1") supplementAsked(data);
  else if (type === "credit.supplement_charged.v1") settled(data.task_id, "supplement", "accepted", data);
  else if (type === "credit.supplement_declined.v1") settled(data.task_id, "supplement", "declined", data);
  else if (type === "credit.rolled_back.v1") undone(data.task_id, "supplement", data);
  count();
  if (type === "credit.supplement_requested.v1" || (type.startsWith("task.") && !type.startsWith("task.progressed"))) {
    const said = type.startsWith("task.") ? STATES[data.kind]?.[0] ?? data.kind : say("needs more credits", "需要更多积分");
    announce(`${data.task_id}: ${said}`);
  }
}

const WAYS = { ws: "WebSocket", sse: say("event stream", "事件流"), poll: say("long poll", "长轮询") };
const STOPPED = {
  0: say("this page is not a secure context: nothing can be verified", "此页面不是安全上下文，无法核验签名"),
  4001: say("the session has ended: load the page and sign in again", "会话已结束：请重新加载并登录"),
  4201: say("its session has ended; it goes on by itself once there is another", "所用会话已结束，有新会话后会自动继续"),
  4003: say("this session may not read the feed", "此会话无权读取事件流"),
  4004: say("access was revoked", "访问权限已被撤销"), 4005: say("too many windows are open", "打开的窗口过多"),
};
function onState({ state, transport, leads, code, reason, withheld, ...more }) {
  tell("tally:line", { state, code, connects: more.connects });
  const line = byId("state");
  line.className = state;
  line.dataset.transport = transport ?? "";
  line.dataset.leads = leads;
  for (const name of ["gaps", "repeats", "connects"]) line.dataset[name] = more[name];
  const texts = {
    connecting: say("connecting; what stands below may be old", "连接中，下方内容可能已过时"), waiting: say("not connected, trying again; what stands below may be old", "未连接，正在重试，下方内容可能已过时"),
    live: `${say("live by", "实时：")} ${WAYS[transport] ?? ""}${leads ? "" : say(", shared with another window", "，与另一窗口共享")}`, stopped: `${say("stopped", "已停止")}: ${STOPPED[code] ?? reason}`,
  };
  if (byId("state-text").textContent !== texts[state]) byId("state-text").textContent = texts[state];
  byId("withheld").hidden = withheld === 0;
  byId("withheld").textContent = say(`${withheld} event${withheld === 1 ? " was" : "s were"} not shown: the signature does not fit. Tell whoever runs this service.`, `${withheld} 个事件因签名不符未显示，请告知服务运营方。`);
}

/** The session's cookie speaks for whoever looks; a script cannot read it, nor have another. */
const { subject, role } = byId("my").dataset;
function token(why) {
  if (why !== "start") throw new Error("the session has ended");
  return sessionToken(subject, role);
}

const open = () => openFeed({ base: new URL("/", location.href), token, onSnapshot, onEvent, onState });
let feed = open();

/** A feed that ended with its session begins anew, from the state as it is then. */
function reopen() {
  if (feed.status.state !== "stopped" || ![0, 4001, 4201].includes(feed.status.code)) return;
  feed.close();
  feed = open();
}
document.addEventListener("tally:reopen", reopen); // a look at the page was answered: there is a session
document.addEventListener("visibilitychange", () => { if (!document.hidden) reopen(); }); // somebody may have signed in beside it
addEventListener("pagehide", () => feed.close());
addEventListener("pageshow", ({ persisted }) => { if (persisted) feed = open(); });
