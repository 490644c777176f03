// Makes pictures of the tables that stand in each figure. The table is the truth: what is drawn is read from it, and it stays
// there for whoever cannot see a picture. Keys: left and right move along time, Home and End to its ends, Escape leaves.

/** Height of a picture, CSS pixels. */
const HEIGHT = 184;
/** Patterns of lines, so that they are told apart without colour. */
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4]];
const LINES = DASHES.length;
/** Who reads a picture by keys reads on for so long after the last one: it is not taken from under them, milliseconds. */
const READING_MS_MAX = 30_000;

const root = document.documentElement;
const zh = root.lang.startsWith("zh");
const charts = new Map(); // canvas element -> Chart
let drawnOnce = false;

const style = () => getComputedStyle(root);
let known = null;

/** The colours of the theme: one that has two values is one only once an element has it. */
function palette() {
  if (known) return known;
  const names = ["ink", "soft", "grid", "rule", "card", "line1", "line2", "line3", "line4", "line5", "line6"];
  const probes = names.map((name) => { const probe = document.createElement("i"); probe.style.color = `var(--${name})`; return probe; });
  const holder = document.createElement("div");
  holder.hidden = true;
  holder.append(...probes);
  document.body.append(holder);
  known = Object.fromEntries(names.map((name, at) => [name, getComputedStyle(probes[at]).color]));
  holder.remove();
  return known;
}

/** Numbers of one table: moments in seconds, and a list of values for each line, null where there is none. */
function read(table) {
  const rows = [...table.tBodies[0].rows];
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const times = rows.map((row) => Number(row.cells[0].firstElementChild.dataset.us) / 1e6);
  const labels = rows.map((row) => row.cells[0].textContent);
  const cells = names.map((_, at) => rows.map((row) => row.cells[at + 1]));
  const values = cells.map((line) => line.map((cell) => (cell.firstElementChild ? Number(cell.firstElementChild.value) : null)));
  const texts = cells.map((line) => line.map((cell) => cell.textContent));
  return { names, times, labels, values, texts };
}

/** A short form of a number on an axis. */
function tick(unit, money) {
  const compact = new Intl.NumberFormat(zh ? "zh" : "en", { notation: "compact", maximumFractionDigits: 2 });
  const digits = money ? (new Intl.NumberFormat("en", { style: "currency", currency: money }).resolvedOptions().maximumFractionDigits) : 2;
  switch (unit) {
    case "ratio": return (v) => `${+(v * 100).toFixed(2)} %`;
    case "credits_micros": return (v) => compact.format(v / 1e6);
    case "currency_minor": return (v) => compact.format(v / 10 ** digits);
    case "duration_us": return (v) => (v >= 60e6 ? `${+(v / 60e6).toFixed(1)} ${zh ? "分" : "min"}` : v >= 1e6 ? `${+(v / 1e6).toFixed(1)} ${zh ? "秒" : "s"}` : `${+(v / 1e3).toFixed(0)} ${zh ? "毫秒" : "ms"}`);
    default: return (v) => compact.format(v);
  }
}

/** Moments on the axis, in the page's zone. */
function moments(zone, stepUs) {
  const make = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
  const day = make({ month: "2-digit", day: "2-digit" });
  const minute = make({ hour: "2-digit", minute: "2-digit" });
  const second = make({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const date = (at) => { const [d, m] = day.format(at).split("/"); return `${m}-${d}`; };
  return (_, splits) => {
    const between = splits.length > 1 ? splits[1] - splits[0] : stepUs / 1e6;
    let last = "";
    return splits.map((s) => {
      const at = new Date(s * 1000);
      if (between >= 86400) return date(at);
      const text = (between < 60 ? second : minute).format(at);
      const today = date(at);
      const first = today !== last;
      last = today;
      return first ? `${text}\n${today}` : text;
    });
  };
}

/** What uPlot is told of a picture: its data, the colours of now, and whom to tell of the cursor and of a stretch that was chosen. */
function described(figure, picture, data, { onCursor, onChosen }) {
  const unit = figure.dataset.unit;
  const step = Number(figure.dataset.step);
  const short = tick(unit, picture.dataset.money);
  const ink = palette();
  const rules = [...picture.querySelectorAll(".threshold")].map((rule) => Number(rule.value));
  const count = data.times.length;
  const few = data.values.every((line) => line.filter((v) => v !== null).length * 3 < count * 2);
  const font = `11px ${style().fontFamily}`;
  const highest = Math.max(...data.values.flat().filter((v) => v !== null), 0);
  const lowest = Math.min(...data.values.flat().filter((v) => v !== null), 0);
  // a line of a threshold is shown where it can be seen beside the data
  const shown = rules.filter((rule) => rule <= highest * 4 || unit === "ratio");
  const top = Math.max(highest, ...shown) || 1;
  return {
    width: Math.max(200, picture.querySelector(".canvas").clientWidth), height: HEIGHT,
    legend: { show: false }, padding: [6, 8, 0, 0],
    cursor: { points: { size: 7 }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: true, range: [Number(figure.dataset.from) / 1e6, Number(figure.dataset.to) / 1e6] }, y: { range: [lowest < 0 ? lowest * 1.08 : 0, unit === "ratio" ? Math.min(top * 1.08, Math.max(1.04, top)) : top * 1.08] } },
    axes: [
      { stroke: ink.soft, font, grid: { show: false }, ticks: { stroke: ink.grid, size: 4 }, values: moments(figure.dataset.zone, step), space: 64, size: 36, gap: 3 },
      { stroke: ink.soft, font, grid: { stroke: ink.grid, width: 1 }, ticks: { show: false }, values: (_, splits) => splits.map(short), size: 56, space: 32, gap: 4 },
    ],
    series: [{}, ...data.names.map((name, at) => {
      const stroke = ink[`line${(at % LINES) + 1}`];
      return { label: name, stroke, width: 1.75, dash: DASHES[at % LINES], spanGaps: false, points: { show: few ? true : undefined, size: few ? 6 : 5, stroke, fill: few ? stroke : ink.card } };
    })],
    hooks: { draw: [(plot) => ruled(plot, shown, ink.rule)], setCursor: [onCursor], setSelect: [onChosen] },
  };
}

/** The lines of the thresholds, over the data. */
function ruled({ ctx, bbox, valToPos }, rules, ink) {
  ctx.save();
  for (const rule of rules) {
    const y = Math.round(valToPos(rule, "y", true)) + .5;
    ctx.strokeStyle = ink;
    ctx.lineWidth = devicePixelRatio * 1.25;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

/** The same page over the stretch that was drawn out on a picture. */
function chosen(plot) {
  if (plot.select.width < 8) return;
  const [from, to] = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
  const address = new URL(location.href);
  for (const name of ["range", "cursor"]) address.searchParams.delete(name); // a place in a list is one of that list's time
  address.searchParams.set("from", new Date(from * 1000).toISOString());
  address.searchParams.set("to", new Date(to * 1000).toISOString());
  location.assign(address);
}

/** A picture that is drawn. Its table may be filled anew and it be painted again: where somebody stands in it stays. */
class Chart {
  #figure; #picture; #canvas; #plot = null; #data = null;
  #legend = document.createElement("div"); #said = document.createElement("span");
  /** The moment that somebody reads by keys, seconds, null where nobody does; and when they last pressed one. */
  #at = null; #keyAt = -Infinity;
  #isPressed = false;

  constructor(figure, picture) {
    [this.#figure, this.#picture, this.#canvas] = [figure, picture, picture.querySelector(".canvas")];
    const canvas = this.#canvas;
    this.#legend.className = "legend";
    this.#said.className = "said";
    this.#said.setAttribute("role", "status");
    canvas.before(this.#legend);
    canvas.after(this.#said);
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    const title = figure.querySelector("h3").textContent;
    canvas.setAttribute("aria-label", `${title}. ${zh ? "图表；用左右方向键读数，数据见下方表格" : "Chart; left and right arrow keys read its values, the table below has them all"}`);
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => { this.#keyAt = -Infinity; });
    canvas.addEventListener("mousedown", () => { this.#isPressed = true; });
    this.paint();
  }

  /** Whether somebody reads it by keys or draws a stretch out just now: it then stays as it is. */
  get isHeld() { return this.#isPressed || performance.now() - this.#keyAt < READING_MS_MAX; }

  released() { this.#isPressed = false; }

  /** Draws what the table says now, in the colours of now. */
  paint() {
    const pointed = this.#plot === null || this.#plot.cursor.left < 0 ? null : { left: this.#plot.cursor.left, top: this.#plot.cursor.top };
    this.#plot?.destroy();
    this.#canvas.replaceChildren();
    this.#data = read(this.#picture.querySelector("table"));
    const options = described(this.#figure, this.#picture, this.#data, { onCursor: (plot) => this.#tell(plot.cursor.idx), onChosen: chosen });
    this.#plot = new window.uPlot(options, [this.#data.times, ...this.#data.values], this.#canvas);
    this.#tell(null);
    if (this.#at !== null) this.#point(this.#row());
    else if (pointed !== null) this.#plot.setCursor(pointed);
  }

  destroy() { this.#plot.destroy(); }

  /** The row of the moment that is read, or of the one that has come nearest to it; -1 where none is read. */
  #row() {
    if (this.#at === null) return -1;
    const far = this.#data.times.map((time) => Math.abs(time - this.#at));
    return far.indexOf(Math.min(...far));
  }

  #key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") {
      [this.#at, this.#keyAt] = [null, -Infinity];
      this.#plot.setCursor({ left: -10, top: -10 });
      this.#tell(null);
      this.#said.textContent = "";
      return;
    }
    if (!(event.key in moves)) return;
    event.preventDefault();
    const { labels, names, texts, times } = this.#data;
    const begin = event.key === "ArrowLeft" ? times.length : -1;
    const here = Math.min(times.length - 1, Math.max(0, (this.#at === null ? begin : this.#row()) + moves[event.key]));
    [this.#at, this.#keyAt] = [times[here], performance.now()];
    this.#point(here);
    this.#said.textContent = `${labels[here]}: ${names.map((name, line) => `${name} ${texts[line][here]}`).join(", ")}`;
  }

  #point(row) {
    this.#plot.setCursor({ left: this.#plot.valToPos(this.#data.times[row], "x"), top: HEIGHT / 3 });
    this.#tell(row);
  }

  /** The numbers at one moment; without one the names alone. */
  #tell(row) {
    const { labels, names, texts, times } = this.#data;
    this.#legend.replaceChildren();
    const known = row !== null && row !== undefined && row >= 0 && row < times.length;
    if (known) {
      const time = document.createElement("span");
      time.className = "at";
      time.textContent = labels[row];
      this.#legend.append(time);
    }
    names.forEach((name, line) => {
      if (names.length === 1 && !known) return;
      const item = document.createElement("span");
      item.append(sample(line), `${name} `);
      if (known) {
        const value = document.createElement("b");
        value.textContent = texts[line][row];
        item.append(value);
      }
      this.#legend.append(item);
    });
  }
}

/** The piece of a line that stands before its name. */
function sample(line) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 24 8");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(ns, "path");
  path.setAttribute("d", "M0 4H24");
  path.setAttribute("class", `line${(line % LINES) + 1}`);
  path.setAttribute("stroke-width", "2");
  path.setAttribute("stroke-dasharray", DASHES[line % LINES].join(" ") || "none");
  svg.append(path);
  return svg;
}

/** Draws the pictures of a figure, or of all: those that are there again by what their tables say now. */
function draw(within) {
  for (const [canvas, chart] of charts) {
    if (canvas.isConnected) continue;
    chart.destroy();
    charts.delete(canvas);
  }
  const figures = within.matches?.("figure[data-chart=time]") ? [within] : within.querySelectorAll("figure[data-chart=time]");
  for (const figure of figures) {
    for (const picture of figure.querySelectorAll(".picture")) {
      const canvas = picture.querySelector(".canvas");
      if (charts.has(canvas)) charts.get(canvas).paint();
      else charts.set(canvas, new Chart(figure, picture));
    }
  }
  if (!drawnOnce && charts.size > 0) {
    drawnOnce = true;
    performance.mark("tally:first-chart");
  }
}

draw(document);
document.addEventListener("tally:fresh", ({ target }) => draw(target));
// somebody at work in a figure is asked first
document.addEventListener("tally:renew", (event) => {
  if ([...event.target.querySelectorAll(".canvas")].some((canvas) => charts.get(canvas)?.isHeld)) event.preventDefault();
});
addEventListener("mouseup", () => { for (const chart of charts.values()) chart.released(); });

let waiting = 0;
const again = () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => draw(document));
};
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; again(); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { known = null; again(); });
