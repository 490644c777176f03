// The three ways to the feed. Each is a function of a call, opens at once, and returns a line:
// `send(frame)` (where the way has one back), `close()`, after which nothing more is heard of it.
//
// The call: `base` (URL), `token`, `cursor` (a cursor, `now` or `earliest`), `heartbeatMs`, `onFrame(frame)` for each
// frame, and `onEnd({code, afterMs})`, once, where the way ends by itself: a close code of the contract, else 0.

/** Largest frame taken, in characters: what is larger is no frame of ours. */
const FRAME_CHARS_MAX = 4 * 1024 * 1024;
/** Events asked for at once by the long poll. */
const POLL_EVENTS_MAX = 500;

/** Close codes of the contract, and what they ask for. */
const STOP = new Set([4000, 4001, 4003, 4004, 4005, 4006]);
const BACK_OFF = new Set([4100, 4101, 4102, 4103]);

/** What a close code asks for: `stop` (not again unchanged), `back off`, or `resume` (at once, or where it tells nothing). */
export function wanted(code) {
  if (STOP.has(code)) return "stop";
  return BACK_OFF.has(code) ? "back off" : "resume";
}

/** A frame from text; null where it is none. */
function frameOf(text) {
  if (typeof text !== "string" || text.length > FRAME_CHARS_MAX) return null;
  try {
    const frame = JSON.parse(text);
    return typeof frame?.op === "string" ? frame : null;
  } catch {
    return null;
  }
}

/** Hears nothing more after the end, and hears of the end once. */
function guarded(call, release) {
  let open = true;
  return {
    frame(frame) { if (open) call.onFrame(frame); },
    end(code, afterMs = 0) {
      if (!open) return;
      open = false;
      release();
      call.onEnd({ code, afterMs });
    },
    close() { open = false; release(); },
    get open() { return open; },
  };
}

/** The close code that an answer other than 200 stands for, and how long to wait. */
async function refusal(answer) {
  const after = Number(answer.headers.get("retry-after"));
  const problem = await answer.json().catch(() => ({}));
  const byStatus = { 401: 4001, 403: 4003, 429: 4100, 502: 0, 503: 4101, 504: 0 };
  const code = Number.isInteger(problem.close) ? problem.close : byStatus[answer.status] ?? 0;
  return { code, afterMs: after > 0 ? after * 1000 : 0, problem };
}

/** What begins with a dot stands for the session: its cookie goes along by itself. */
const isSession = (token) => token.startsWith(".");
const bearer = (token) => (isSession(token) ? {} : { authorization: `Bearer ${token}` });

/** WebSocket. */
export function ws(call) {
  const url = new URL("feed/ws", call.base);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  const line = guarded(call, () => socket.close());
  socket.onopen = () => {
    const { token, cursor, heartbeatMs } = call;
    socket.send(JSON.stringify({ op: "connect", token: isSession(token) ? "" : token, cursor, heartbeat_ms: heartbeatMs }));
  };
  socket.onmessage = ({ data }) => {
    const frame = frameOf(data);
    if (frame) line.frame(frame);
    else line.end(4000);
  };
  socket.onclose = ({ code }) => line.end(code >= 4000 ? code : 0);
  return {
    close: line.close,
    send(frame) { if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame)); },
  };
}

/** Server-sent events, by fetch: the token stays in a header. */
export function sse(call) {
  const abort = new AbortController();
  const line = guarded(call, () => abort.abort());
  const read = async () => {
    const url = new URL("feed/sse", call.base);
    url.searchParams.set("heartbeat_ms", call.heartbeatMs);
    const headers = { ...bearer(call.token), accept: "text/event-stream", "last-event-id": call.cursor };
    const answer = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
    if (!answer.ok) {
      const { code, afterMs } = await refusal(answer);
      return line.end(code, afterMs);
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let data = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return line.end(0);
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      if (rest.length > FRAME_CHARS_MAX) return line.end(4000);
      for (const raw of lines) {
        const text = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (text.startsWith("data:")) data.push(text.slice(text[5] === " " ? 6 : 5));
        if (text !== "" || data.length === 0) continue;
        const frame = frameOf(data.join("\n"));
        data = [];
        if (!frame) return line.end(4000);
        line.frame(frame);
      }
    }
  };
  read().catch(() => line.end(0));
  return { close: line.close, send: acknowledgeByPost(call) };
}

/** Long poll: the frames of the other two, and a heartbeat after each answer. */
export function poll(call) {
  const abort = new AbortController();
  const line = guarded(call, () => abort.abort());
  const read = async () => {
    let greeted = false;
    for (let after = call.cursor; line.open; ) {
      const page = await events({ ...call, cursor: after, signal: abort.signal, waitS: greeted ? call.heartbeatMs / 1000 : 0 });
      if (page.resync) return line.frame({ op: "resync", ...page.resync });
      if (page.code !== undefined) return line.end(page.code, page.afterMs);
      if (!greeted) line.frame({ op: "hello", cursor: page.events[0]?.prev ?? page.cursor, recovered: page.recovered, heartbeat_ms: call.heartbeatMs });
      greeted = true;
      for (const frame of page.events) line.frame(frame);
      line.frame({ op: "heartbeat", cursor: page.cursor });
      after = page.cursor;
    }
  };
  read().catch(() => line.end(0));
  return { close: line.close, send: acknowledgeByPost(call) };
}

/**
 * One page of events after a cursor: `{cursor, recovered, events}`, else `{resync: {reason, snapshot}}`, else
 * `{code, afterMs}`. Throws where the service cannot be reached.
 */
export async function events({ base, token, cursor, signal, waitS }) {
  const url = new URL("feed/events", base);
  url.searchParams.set("after", cursor);
  url.searchParams.set("limit", POLL_EVENTS_MAX);
  url.searchParams.set("wait", Math.floor(waitS));
  const answer = await fetch(url, { headers: bearer(token), signal, cache: "no-store" });
  if (answer.ok) return answer.json();
  const { code, afterMs, problem } = await refusal(answer);
  if (answer.status === 410) return { resync: { reason: problem.reason, snapshot: problem.snapshot } };
  return { code, afterMs };
}

/** The state and the cursor taken before it, signed: `{cursor, kid, sig, payload}`, else `{code, afterMs}`. */
export async function snapshot({ base, token, signal, path }) {
  const answer = await fetch(new URL(path.replace(/^\//, ""), base), { headers: bearer(token), signal, cache: "no-store" });
  if (answer.ok) return answer.json();
  const { code, afterMs } = await refusal(answer);
  return { code, afterMs };
}

/** Of the frames of a client only acks have a way of their own over HTTP. */
function acknowledgeByPost({ base, token }) {
  return ({ op, cursor }) => {
    if (op !== "ack") return;
    const headers = { ...bearer(token), "content-type": "application/json" };
    const body = JSON.stringify({ cursor });
    fetch(new URL("feed/acks", base), { method: "POST", headers, body, keepalive: true }).catch(() => {}); // acks are cumulative: the next one covers it
  };
}
