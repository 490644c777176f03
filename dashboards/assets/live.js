// Asks for the ledger's counts once a second and fills three tables. Text is set as text, never as markup.
"use strict";
const history = new Map(); // topic -> rates of the last 60 seconds
const number = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);

function cell(tag, text, name) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

function fill(id, rows, width, empty) {
  const body = byId(id);
  if (rows.length === 0) {
    const none = cell("td", empty);
    none.colSpan = width;
    const row = document.createElement("tr");
    row.append(none);
    body.replaceChildren(row);
    return;
  }
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  }));
}

function spark(topic, rate) {
  const rates = history.get(topic) ?? [];
  rates.push(rate);
  if (rates.length > 60) rates.shift();
  history.set(topic, rates);
  const top = Math.max(1, ...rates);
  const points = rates.map((r, i) => `${(i * 120 / 59).toFixed(1)} ${(22 - 20 * r / top).toFixed(1)}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 120 24");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${topic}: from ${Math.round(Math.min(...rates))} to ${Math.round(Math.max(...rates))} events per second in the last ${rates.length} seconds`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M" + points.join(" L"));
  svg.append(path);
  const td = document.createElement("td");
  td.append(svg);
  return td;
}

function show(live) {
  fill("topics", live.topics.map((t) => {
    const name = cell("th", t.topic);
    name.scope = "row";
    const rate = t.last_ten_seconds / 10;
    return [name, cell("td", number.format(t.accepted), "number"), cell("td", number.format(t.dead), "number"),
      cell("td", number.format(t.duplicates), "number"), cell("td", number.format(Math.round(rate)), "number"), spark(t.topic, rate)];
  }), 6, "no event yet");
  fill("reasons", live.reasons.map((r) => [cell("td", r.topic), cell("td", r.reason), cell("td", number.format(r.letters), "number")]), 3, "none");
  fill("letters", live.letters.map((l) => [cell("td", new Date(l.appended_ms).toISOString().slice(0, 23).replace("T", " ")),
    cell("td", `${l.topic} / ${l.partition} / ${l.offset}`), cell("td", l.reason), cell("td", l.path || "–"), cell("td", l.sentence, "sentence")]), 5, "none");
}

async function tick() {
  const state = byId("state");
  try {
    const ask = () => fetch("api/v1/live", { signal: AbortSignal.timeout(5000) });
    let answer = await ask();
    if (answer.status === 401) { // the token has ended: loading the document anew brings another, where it brings one at all
      await fetch("./", { cache: "no-store", signal: AbortSignal.timeout(5000) });
      answer = await ask();
    }
    if (answer.status === 401) throw new Error("this page has no access token");
    if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
    show(await answer.json());
    state.className = "fresh";
    state.textContent = `as of ${new Date().toISOString().slice(11, 19)} UTC; not final: events still arrive`;
  } catch (error) {
    state.className = "stale";
    state.textContent = `no counts: ${error.message}; what stands below is old`;
  }
  setTimeout(tick, 1000);
}
tick();
