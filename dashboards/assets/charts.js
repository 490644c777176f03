// Makes pictures of the tables that stand in each figure. The table is the truth: what is drawn is read from it, and it stays
// there for whoever cannot see a picture. Keys: left and right move along time, Home and End to its ends, Escape leaves.

/** Height of a picture, CSS pixels. */
const HEIGHT = 184;
/** Patterns of lines, so that they are told apart without colour. */
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4]];
const LINES = DASHES.length;

const root = document.documentElement;
const zh = root.lang.startsWith("zh");
const charts = new Map(); // canvas element -> { plot, draw }
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
    case "duration_us": return (v) => (v >= 60e6 ? `${+(v / 60e6).toFixed(1)} min` : v >= 1e6 ? `${+(v / 1e6).toFixed(1)} s` : `${+(v / 1e3).toFixed(0)} ms`);
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

function draw(figure, picture) {
  const canvas = picture.querySelector(".canvas");
  const data = read(picture.querySelector("table"));
  const unit = figure.dataset.unit;
  const step = Number(figure.dataset.step);
  const short = tick(unit, picture.dataset.money);
  const ink = palette();
  const rules = [...picture.querySelectorAll(".threshold")].map((rule) => ({ at: Number(rule.value), label: rule.textContent }));
  const count = data.times.length;
  const few = data.values.every((line) => line.filter((v) => v !== null).length * 3 < count * 2);
  const legend = document.createElement("div");
  legend.className = "legend";
  const title = figure.querySelector("h3").textContent;

  const font = `11px ${style().fontFamily}`;
  const highest = Math.max(...data.values.flat().filter((v) => v !== null), 0);
  const lowest = Math.min(...data.values.flat().filter((v) => v !== null), 0);
  // a line of a threshold is shown where it can be seen beside the data
  const shown = rules.filter((rule) => rule.at <= highest * 4 || unit === "ratio");
  const top = Math.max(highest, ...shown.map((rule) => rule.at)) || 1;
  const options = {
    width: Math.max(200, canvas.clientWidth), height: HEIGHT,
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
    hooks: {
      draw: [(plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        for (const rule of shown) {
          const y = Math.round(plot.valToPos(rule.at, "y", true)) + .5;
          ctx.strokeStyle = ink.rule;
          ctx.lineWidth = devicePixelRatio * 1.25;
          ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
          ctx.beginPath();
          ctx.moveTo(bbox.left, y);
          ctx.lineTo(bbox.left + bbox.width, y);
          ctx.stroke();
        }
        ctx.restore();
      }],
      setCursor: [(plot) => tell(plot.cursor.idx)],
      setSelect: [(plot) => {
        if (plot.select.width < 8) return;
        const [from, to] = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
        const address = new URL(location.href);
        address.searchParams.delete("range");
        address.searchParams.set("from", new Date(from * 1000).toISOString());
        address.searchParams.set("to", new Date(to * 1000).toISOString());
        location.assign(address);
      }],
    },
  };

  /** The numbers at one moment; without one the names alone. */
  function tell(at) {
    legend.replaceChildren();
    const known = at !== null && at !== undefined && at >= 0 && at < count;
    if (known) {
      const time = document.createElement("span");
      time.className = "at";
      time.textContent = data.labels[at];
      legend.append(time);
    }
    data.names.forEach((name, line) => {
      if (data.names.length === 1 && !known) return;
      const item = document.createElement("span");
      item.append(sample(line), `${name} `);
      if (known) {
        const value = document.createElement("b");
        value.textContent = data.texts[line][at];
        item.append(value);
      }
      legend.append(item);
    });
  }

  canvas.replaceChildren();
  const plot = new window.uPlot(options, [data.times, ...data.values], canvas);
  canvas.before(legend);
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${title}. ${zh ? "图表；用左右方向键读数，数据见下方表格" : "Chart; left and right arrow keys read its values, the table below has them all"}`);
  tell(null);

  const said = document.createElement("span");
  said.className = "said";
  said.setAttribute("role", "status");
  canvas.after(said);
  let here = -1;
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") { here = -1; plot.setCursor({ left: -10, top: -10 }); tell(null); said.textContent = ""; return; }
    if (!(event.key in moves)) return;
    event.preventDefault();
    here = Math.min(count - 1, Math.max(0, (here < 0 ? (event.key === "ArrowLeft" ? count : -1) : here) + moves[event.key]));
    plot.setCursor({ left: plot.valToPos(data.times[here], "x"), top: HEIGHT / 3 });
    tell(here);
    said.textContent = `${data.labels[here]}: ${data.names.map((name, line) => `${name} ${data.texts[line][here]}`).join(", ")}`;
  });
  charts.set(canvas, { plot, again: () => { plot.destroy(); legend.remove(); said.remove(); draw(figure, picture); } });
  if (!drawnOnce) {
    drawnOnce = true;
    performance.mark("tally:first-chart");
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

function drawAll(within) {
  const figures = within.matches?.("figure[data-chart=time]") ? [within] : within.querySelectorAll("figure[data-chart=time]");
  for (const figure of figures) for (const picture of figure.querySelectorAll(".picture")) draw(figure, picture);
}

drawAll(document);
document.addEventListener("tally:fresh", (event) => {
  for (const canvas of event.detail.was.querySelectorAll(".canvas")) {
    charts.get(canvas)?.plot.destroy();
    charts.delete(canvas);
  }
  drawAll(event.target);
});

let waiting = 0;
const again = () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => {
    for (const [canvas, chart] of [...charts]) {
      charts.delete(canvas);
      if (canvas.isConnected) chart.again();
    }
  });
};
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; again(); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { known = null; again(); });
