// The realtime feed in a browser: every event once, in order, verified, and caught up after whatever happened meanwhile.
//
//   import { openFeed } from "./feed.js";
//   const feed = openFeed({ token: async () => myToken(), onEvent: (event) => show(event), onSnapshot: (state) => fill(state) });
//
// A page of the service itself, whose reader has signed in, gives `token: () => sessionToken(subject, role)`: the cookie then speaks.
// `token(why)` gives an access token: at the start, before it ends ("renew"), and when the service refused it ("refused").
// `onSnapshot(state)` comes first and after each resync; what came before it is then void, except where `state.complete` is
// false: it has the latest tasks of `state.total`, and of the others what was known stays. `onEvent(event)` gets CloudEvents.
// `onState({state, …})` says what goes on: connecting, live, waiting, stopped. `feed.close()` ends it.
//
// Delivery is at least once; repeats are dropped here by source and id. A frame whose `prev` is not the frame before is a
// gap, and is closed by resuming at the cursor. What does not verify is never handed on: after two more tries it is
// withheld, counted and passed over. Windows of one person share one connection: who holds the Web Lock connects, the
// others hear it over a BroadcastChannel, check the same chain, and close gaps of their own by the long poll.
import { CannotVerify, EVENT_TYPE, KeysUnavailable, Keyring, SNAPSHOT_TYPE } from "./feed-signature.js";
import { events, poll, snapshot, sse, wanted, ws } from "./feed-transports.js";

const WAYS = { ws, sse, poll };
/** No `hello` for so long: the next way is tried beside. */
const HELLO_MS_MAX = 2_000;
/** After so many connections by another way, that one is tried first: until a rotation. */
const MISSES_MAX = 2;
/** No way has answered for so long: the attempt has failed. */
const ATTEMPT_MS_MAX = 8_000;
/** Pace of heartbeats, and after how many of them without a frame the line is dead. */
const VISIBLE_HEARTBEAT_MS = 2_000, HIDDEN_HEARTBEAT_MS = 15_000, DEAD_HEARTBEATS = 1.5;
/** A probe that nothing answers for so long has found a dead line. */
const PROBE_MS_MAX = 1_000;
/** Wait before another try: doubled from the least on, with jitter; to the middle bound where the service is just not there, since asking costs little then. */
const WAIT_MS_MIN = 250, UNREACHABLE_WAIT_MS_MAX = 2_000, WAIT_MS_MAX = 10_000;
/** Acks are cumulative: one for all that came in so long, and prompts at once. */
const ACK_MS = 250, PROMPTS = /^(credit\.supplement|task\.(supplement|acceleration)|moderation)/;
/** So many events are remembered, to know repeats. */
const SEEN_EVENTS_MAX = 4_096;
/** Frames that wait to be verified: more, and this page cannot keep up. */
const PENDING_FRAMES_MAX = 8_192;
/** A payload is asked for so often again before it is withheld. */
const REFUSED_TRIES_MAX = 2;
/** The leading window says so often that it lives; a visible one that hears nothing for the second time takes over. */
const ALIVE_MS = 2_000, LEADER_SILENCE_MS_MAX = 6_000;
/** A token is renewed so long before its end, and at most so often, milliseconds. */
const RENEW_BEFORE_MS = 30_000, RENEW_MS_MIN = 5_000;

/** The reason for which a connection ended, by a close code of the contract (0: it just ended) or a resync. */
class Ended extends Error {
  constructor(code, more = {}) { super(`ended with ${code}`); Object.assign(this, { code, afterMs: 0, ...more }); }
}

/** Opens the feed; see the top of this file. Further options: `base` (URL), `start` (`snapshot`, `stored`, `now`, `earliest` or a cursor), `ways`, `share`. */
export function openFeed(options) {
  const feed = new Feed({ base: new URL(".", document.baseURI), start: "snapshot", ways: ["ws", "sse", "poll"], share: true, ...options });
  feed.run();
  return feed;
}

class Feed {
  #options; #keys; #name; #token = null; #leads = false; #closed = new AbortController();
  #position = null; // cursor up to which everything was handed on
  #chain = null; // cursors that the next event may follow; null takes any
  #behind = true; #owed = null; // a window without a line that has to catch up first, and the last event it passed over meanwhile
  #seen = new Set(); #tries = { cursor: null, count: 0 };
  #queue = Promise.resolve(); #pending = 0; #renewing = null; #renewedAt = -Infinity;
  #line = null; #way = null; #misses = 0; #paced = 0; #cut = null; #wake = () => {}; #heardAt = 0; #ack = { timer: 0, cursor: null };
  #channel = null; #leaderAt = 0; #othersVisibleAt = -Infinity; #id = crypto.randomUUID?.() ?? `${Math.random()}`;
  /** What goes on; handed to `onState` on each change. */
  status = { state: "connecting", transport: null, leads: false, code: 0, reason: null, withheld: 0, gaps: 0, repeats: 0, connects: 0 };

  constructor(options) {
    this.#options = options;
    this.#keys = new Keyring(new URL(".well-known/jwks.json", options.base));
  }

  /** Ends it for good. */
  close() { this.#closed.abort(); this.#cut?.(new Ended(0)); this.#wake(); this.#channel?.close(); }

  /** Runs until `close`. `openFeed` calls it. */
  async run() {
    const signal = this.#closed.signal;
    const look = () => this.#look();
    addEventListener("online", look, { signal });
    document.addEventListener("visibilitychange", look, { signal });
    if (!await this.#begin(signal)) return;
    if (!this.#options.share || !navigator.locks || !globalThis.BroadcastChannel) return void await this.#lead(signal);
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#leaderAt = performance.now();
    const watch = setInterval(() => this.#watch(), ALIVE_MS / 2);
    signal.addEventListener("abort", () => clearInterval(watch));
    while (!signal.aborted && this.status.state !== "stopped") await this.#stand(signal);
    this.#channel.close();
    this.#channel = null; // it says nothing more, whatever the page is told
  }

  /** The first token and the first state; false where it ended before. */
  async #begin(signal) {
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        const subject = claims(await this.#fresh());
        this.#name = `feed.v1 ${this.#options.base} ${subject.role ?? ""} ${subject.sub ?? ""}`;
        const { start } = this.#options;
        const stored = start === "stored" ? sessionStorage.getItem(this.#name) : null;
        if (stored !== null) this.#position = stored;
        else if (start === "snapshot" || start === "stored") await this.#takeSnapshot("/feed/snapshot");
        else if (start !== "now") this.#position = start;
        return true;
      } catch (error) {
        if (!await this.#after(error, failures, signal)) break;
      }
    }
    return false;
  }

  /** Waits for the lock, and leads while it is held. A hung leader's lock is taken from it: it then stands again. */
  async #stand(signal) {
    const wait = new AbortController();
    const stop = () => wait.abort();
    signal.addEventListener("abort", stop);
    this.#steal = () => { wait.abort(); steal = true; };
    let steal = false;
    const lead = async () => {
      const lost = new AbortController();
      this.#lost = () => lost.abort();
      await this.#lead(AbortSignal.any([signal, lost.signal]));
    };
    const ended = (error) => { if (error.name !== "AbortError") throw error; };
    await navigator.locks.request(this.#name, { signal: wait.signal }, lead).catch(ended);
    if (steal && !signal.aborted) await navigator.locks.request(this.#name, { steal: true }, lead).catch(ended);
    this.#lost(); // the lock was taken away: stop leading
    await this.#leading;
    signal.removeEventListener("abort", stop);
  }
  #steal = () => {}; #lost = () => {}; #leading = Promise.resolve();

  #lead(signal) { return (this.#leading = this.#connectAgainAndAgain(signal)); }

  async #connectAgainAndAgain(signal) {
    this.#leads = true;
    const alive = setInterval(() => { this.#say({ kind: "alive", status: this.status }); this.#repace(); }, ALIVE_MS);
    this.#say({ kind: "alive", status: this.status });
    const cut = () => { this.#cut?.(new Ended(0)); this.#wake(); };
    signal.addEventListener("abort", cut);
    for (let failures = 0; !signal.aborted; ) {
      this.#tell({ state: "connecting", leads: true });
      let ended, live = false;
      try {
        const token = await this.#fresh();
        ended = await this.#connect(token, () => { live = true; });
        await this.#queue; // nothing of this connection may be taken under the next
        if (ended.resync && !signal.aborted) await this.#resync(ended.resync);
      } catch (error) {
        ended = error;
      }
      failures = live && !ended.resync ? 0 : failures + 1; // a state that is too old to go on from is no success
      if (signal.aborted || !await this.#after(ended, Math.max(failures - 1, 0), signal)) break;
    }
    signal.removeEventListener("abort", cut);
    clearInterval(alive);
    [this.#leads, this.#behind, this.#leaderAt] = [false, true, performance.now()]; // who took the line is given time to be heard
  }

  /** Says why it ended, and waits as long as that asks for; false where it is not to be tried again. */
  async #after(ended, failures, signal) {
    const stop = (code, reason) => { this.#tell({ state: "stopped", transport: null, code, reason }); return false; };
    const { code = 0, afterMs = 0 } = ended;
    const reason = code ? `code ${code}` : ended.message;
    if (ended instanceof CannotVerify) return stop(0, reason);
    if (code === 4201 || (code === 4001 && failures === 0)) {
      const renewed = await this.#renew(code === 4001 ? "refused" : "renew").catch(() => null);
      if (renewed === null) return stop(code, "no token");
    } else if (wanted(code) === "stop") return stop(code, reason);
    const max = wanted(code) === "back off" || document.hidden ? WAIT_MS_MAX : UNREACHABLE_WAIT_MS_MAX;
    const wait = Math.max(Math.min(max / 2, WAIT_MS_MIN * 2 ** Math.min(failures, 10)) * (1 + Math.random()), afterMs);
    this.#tell({ state: "waiting", transport: null, code, reason });
    if (ended.code === 4204) this.#misses = 0; // now and then the first way gets its chance again
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => { if (signal.aborted || wanted(code) !== "back off") { clearTimeout(timer); resolve(); } };
    });
    this.#wake = () => {};
    return !signal.aborted;
  }

  /** One connection, by the first way that greets; resolves with [`Ended`] at its end. */
  #connect(token, onLive) {
    const { base, ways } = this.#options;
    const preferred = this.#misses < MISSES_MAX ? ways[0] : this.#way;
    const order = [preferred, ...ways.filter((way) => way !== preferred)];
    const heartbeatMs = this.#pace();
    return new Promise((resolve) => {
      const lines = new Map();
      let won = null, over = false, next = 0, helloTimer = 0;
      const end = (ended) => {
        if (over) return;
        over = true;
        for (const timer of [helloTimer, attempt]) clearTimeout(timer);
        clearInterval(dead);
        for (const line of lines.values()) line.close();
        this.#line = this.#cut = null;
        resolve(ended);
      };
      const attempt = setTimeout(() => { if (!won) end(new Ended(0)); }, ATTEMPT_MS_MAX);
      this.#heardAt = performance.now();
      let silenceMs = heartbeatMs * DEAD_HEARTBEATS, since = 0; // a new pace is counted from where it was asked for
      const dead = setInterval(() => { if (won && performance.now() - Math.max(this.#heardAt, since) > silenceMs) end(new Ended(4202)); }, 250);
      this.#cut = end;
      const startNext = () => {
        clearTimeout(helloTimer);
        if (won || over || next === order.length) return;
        const way = order[next++];
        const onFrame = (frame) => {
          if (over || (won && won !== way)) return;
          this.#heardAt = performance.now();
          if (frame.op === "hello" && !won) {
            won = way;
            for (const [other, line] of lines) if (other !== way) line.close();
            this.#line = lines.get(way);
            this.#way = way;
            this.#misses = way === ways[0] ? 0 : this.#misses + 1;
            silenceMs = Math.max(frame.heartbeat_ms ?? heartbeatMs, VISIBLE_HEARTBEAT_MS) * DEAD_HEARTBEATS;
            this.#hush = (ms) => { [silenceMs, since] = [ms * DEAD_HEARTBEATS, performance.now()]; };
            onLive();
            this.#tell({ state: "live", transport: way, code: 0, reason: null, connects: this.status.connects + 1 });
          }
          if (this.#pending >= PENDING_FRAMES_MAX) return end(new Ended(4102));
          this.#enqueue(async () => { if (!over) await this.#take(frame).catch((error) => end(error)); });
        };
        const onEnd = ({ code, afterMs }) => {
          lines.delete(way);
          if (won === way || wanted(code) === "stop") return this.#enqueue(() => end(new Ended(code, { afterMs })));
          startNext();
          if (lines.size === 0) end(new Ended(code, { afterMs }));
        };
        helloTimer = setTimeout(startNext, HELLO_MS_MAX);
        lines.set(way, WAYS[way]({ base, token, cursor: this.#position ?? "now", heartbeatMs, onFrame, onEnd }));
        this.#paced = heartbeatMs;
      };
      startNext();
    });
  }
  #hush = () => {};

  /** One frame of our own line, in its turn. Throws [`Ended`] where the connection is over. */
  async #take(frame) {
    switch (frame.op) {
      case "hello":
        if (this.#position === null || frame.recovered) [this.#position, this.#chain, this.#behind] = [frame.cursor, [frame.cursor], false];
        return;
      case "event":
        if (this.#follows(frame)) return this.#event(frame);
        throw new Ended(4202, { message: "a gap" });
      case "heartbeat": return this.#moved(frame, false);
      case "resync": throw new Ended(4203, { resync: frame });
      case "goaway": throw new Ended(frame.code, { afterMs: frame.after_ms ?? 0 });
      case "reauth": // if no token can be had then, the end of this one asks again
        setTimeout(() => { if (this.#line) this.#renew("renew").catch(() => {}); }, this.#renewedAt + RENEW_MS_MIN - performance.now());
    }
  }

  /** Whether nothing is missing before this event. */
  #follows(frame) {
    const follows = this.#chain === null || this.#chain.includes(frame.prev);
    if (!follows) this.#tell({ gaps: this.status.gaps + 1 });
    return follows;
  }

  /** An event of our own line, heard, or caught up: verified, once. */
  async #event(frame) {
    if (!await this.#verify(frame)) return;
    const event = JSON.parse(frame.payload);
    const key = keyOf(event);
    if (this.#seen.has(key)) this.#tell({ repeats: this.status.repeats + 1 });
    else {
      this.#seen.add(key);
      if (this.#seen.size > SEEN_EVENTS_MAX) this.#seen.delete(this.#seen.values().next().value);
      try { this.#options.onEvent?.(event, frame); } catch (error) { reportError(error); } // theirs, not the stream's
    }
    this.#moved(frame, true);
    if (this.#leads) this.#acknowledge(frame.cursor, PROMPTS.test(event.type));
  }

  /** True for what may be shown. False for what was withheld for good; throws where another try may bring it whole. */
  async #verify(frame) {
    const whole = await this.#keys.verify(frame, EVENT_TYPE).catch((error) => {
      throw error instanceof KeysUnavailable ? new Ended(0, { message: error.message }) : error;
    });
    if (whole) return true;
    this.#tries = { cursor: frame.prev, count: this.#tries.cursor === frame.prev ? this.#tries.count + 1 : 1 };
    if (this.#tries.count <= REFUSED_TRIES_MAX) throw new Ended(0, { message: "an event did not verify" });
    this.#tell({ withheld: this.status.withheld + 1 });
    this.#moved({ op: "heartbeat", cursor: frame.cursor }, true); // the other windows do not get it either
    return false;
  }

  #moved(frame, isEvent) {
    this.#position = frame.cursor;
    this.#chain = isEvent ? [frame.cursor] : [frame.cursor, ...(this.#chain ?? []).slice(-1)]; // an event may name the heartbeat or the event before
    if (this.#leads) this.#say({ kind: "frame", frame });
    try { sessionStorage.setItem(this.#name, frame.cursor); } catch { /* full or forbidden: memory has it */ }
  }

  #enqueue(work) {
    this.#pending += 1;
    this.#queue = this.#queue.then(work).catch((error) => this.#cut?.(error)).finally(() => { this.#pending -= 1; });
  }

  /**
   * A window without a line: everything after its position by the long poll, until nothing is left. What it hears
   * meanwhile it passes over; the last of that must have come this way before it listens again, or it looks once more.
   */
  async #catchUp() {
    const { base } = this.#options, signal = this.#closed.signal;
    while (this.#position !== null) {
      if (!this.#behind || this.#leads || signal.aborted) return;
      const page = await events({ base, token: await this.#fresh(), cursor: this.#position, signal, waitS: 0 });
      if (page.resync) return this.#resync(page.resync);
      if (page.code !== undefined) throw new Ended(page.code);
      this.#chain = null;
      for (const frame of page.events) await this.#event(frame);
      this.#position = page.cursor;
      if (page.events.length > 0) continue;
      if (this.#owed !== null && !this.#seen.has(this.#owed)) return; // another replica knows more than the one asked
      break;
    }
    [this.#behind, this.#owed, this.#chain] = [false, null, null]; // the leader's chain is joined at its next frame
  }

  async #resync({ reason, snapshot: path }) {
    await this.#takeSnapshot(path ?? "/feed/snapshot");
    this.#tell({ reason: `resync: ${reason}` });
    if (this.#leads) this.#say({ kind: "resync", reason });
    else [this.#behind, this.#owed] = [true, null];
  }

  async #takeSnapshot(path) {
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(ATTEMPT_MS_MAX)]);
    const taken = await snapshot({ base: this.#options.base, token: await this.#fresh(), signal, path });
    if (taken.code !== undefined) throw new Ended(taken.code, { afterMs: taken.afterMs });
    if (!await this.#keys.verify(taken, SNAPSHOT_TYPE)) throw new Ended(0, { message: "the snapshot did not verify" });
    [this.#position, this.#chain] = [taken.cursor, null];
    this.#options.onSnapshot?.(JSON.parse(taken.payload));
  }

  /** What another window says. */
  #hear({ kind, from, status, frame, reason }) {
    if (kind === "visible") {
      this.#othersVisibleAt = performance.now();
      return this.#repace();
    }
    if (this.#leads) return;
    this.#leaderAt = performance.now();
    if (this.#leader !== from) [this.#leader, this.#behind] = [from, true];
    if (kind === "alive") {
      if (!document.hidden) this.#say({ kind: "visible" });
      const { state, transport, code, reason: why } = status;
      if (state !== "stopped") this.#tell({ state, transport, code, reason: why, leads: false });
    }
    if (kind === "resync") this.#enqueue(() => this.#leads || this.#resync({ reason }));
    if (kind === "frame") this.#enqueue(() => this.#leads || this.#heard(frame));
    if (this.#behind) this.#enqueue(() => this.#catchUp());
  }
  #leader = null;

  /** A frame of the leader's line, in its turn. */
  async #heard(frame) {
    if (frame.op === "event" && !this.#behind && !this.#follows(frame)) this.#behind = true;
    if (!this.#behind) return frame.op === "event" ? this.#event(frame) : this.#moved(frame, false);
    if (frame.op === "event") this.#owed = keyOf(JSON.parse(frame.payload)); // the leader has verified it
  }

  #say(what) { if (!this.#closed.signal.aborted) this.#channel?.postMessage({ from: this.#id, ...what }); }

  /** A visible window that has not heard its leader takes the lead: hidden windows may be put to sleep. */
  #watch() {
    if (this.#leads) return;
    if (this.#behind && this.#pending === 0) this.#enqueue(() => this.#catchUp());
    if (document.hidden || performance.now() - this.#leaderAt < LEADER_SILENCE_MS_MAX) return;
    this.#leaderAt = performance.now();
    this.#steal();
  }

  /** The network came back, or the page was shown or hidden: look at once whether the line lives. */
  #look() {
    this.#wake();
    if (!document.hidden) this.#say({ kind: "visible" });
    this.#repace(true);
    if (!this.#line || document.hidden) return;
    const asked = performance.now();
    const answersToProbes = this.#way === "ws";
    if (!answersToProbes && asked - this.#heardAt < VISIBLE_HEARTBEAT_MS * DEAD_HEARTBEATS) return;
    setTimeout(() => { if (this.#heardAt < asked) this.#cut?.(new Ended(4202)); }, answersToProbes ? PROBE_MS_MAX : 0);
  }

  #pace() {
    const othersVisible = performance.now() - this.#othersVisibleAt < 2 * ALIVE_MS;
    return document.hidden && !othersVisible ? HIDDEN_HEARTBEAT_MS : VISIBLE_HEARTBEAT_MS;
  }

  /** Asks for another pace of heartbeats where that has changed, or always: a heartbeat answers it, so it probes too. */
  #repace(always = false) {
    const pace = this.#pace();
    if (this.#way !== "ws" || !this.#line || (pace === this.#paced && !always)) return; // the other ways take their pace at the next connect
    this.#line.send({ op: "pace", heartbeat_ms: pace });
    this.#hush(pace);
    this.#paced = pace;
  }

  #acknowledge(cursor, atOnce) {
    this.#ack.cursor = cursor;
    const send = () => { clearTimeout(this.#ack.timer); this.#ack.timer = 0; this.#line?.send({ op: "ack", cursor: this.#ack.cursor }); };
    if (atOnce) send();
    else this.#ack.timer ||= setTimeout(send, ACK_MS);
  }

  /** A token that does not end within the next half minute. */
  async #fresh() {
    const ends = this.#token === null ? 0 : (claims(this.#token).exp ?? Infinity) * 1000;
    return ends - Date.now() > RENEW_BEFORE_MS ? this.#token : this.#renew(this.#token === null ? "start" : "renew");
  }

  #renew(why) { return (this.#renewing ??= this.#askForToken(why).finally(() => { this.#renewing = null; })); }

  async #askForToken(why) {
    const token = await this.#options.token(why);
    if (typeof token !== "string" || token === "" || (why === "refused" && token === this.#token)) throw new Ended(4001);
    [this.#token, this.#renewedAt] = [token, performance.now()];
    if (this.#way === "ws") this.#line?.send({ op: "refresh", token });
    else this.#cut?.(new Ended(4201)); // HTTP carries a token once: resume with the new one
    return token;
  }

  #tell(change) {
    Object.assign(this.status, change);
    this.#options.onState?.({ ...this.status });
  }
}

/** In the place of a token: whose session the cookie is, which goes along by itself and which no script reads. */
export function sessionToken(subject, role) {
  const bytes = new TextEncoder().encode(JSON.stringify({ sub: subject, role }));
  return `.${btoa(String.fromCharCode(...bytes))}.`;
}

/** The platform's identity of an event. */
function keyOf(event) { return `${event.source} ${event.id}`; }

/** The claims of a token, to know its end and whose it is; whether it holds is for the service to say. */
function claims(token) {
  try {
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0))));
  } catch {
    return {};
  }
}
