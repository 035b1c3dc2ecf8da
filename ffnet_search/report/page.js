// The charts and the budget slider of a report. No library: what plotly does in 4.5 MB this page needs in 8 kB.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const all = data.candidates, exported = data.exported, metrics = data.metrics;
const { candidate: QUALITY, search: SEARCH, test: TEST } = data.quality;
const count = all.key.length;
const byId = (id) => document.getElementById(id);
/** Three significant digits, as `formatting.figure` prints them. */
const figure = (x) => (Math.abs(x) >= 999.5 ? Math.round(x).toLocaleString("en-US") : x === 0 ? "0.00" : x.toPrecision(3));
const percent = (x) => `${(100 * x).toFixed(2)}\u00a0%`; // no line ends between a number and its unit
/** A value as `Metric.format` prints it, and as a coordinate of a chart. */
function print(name, value) {
  const { scale, decimals, unit } = metrics[name];
  const text = decimals === null ? figure(scale * value) : (scale * value).toFixed(decimals);
  return unit ? `${text}\u00a0${unit}` : text;
}
const scaled = (name, value) => metrics[name].scale * value;
/** Whether a quality is better than another. */
const better = (a, b) => metrics[QUALITY].sign * a < metrics[QUALITY].sign * b;

function add(parent, tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  return parent.appendChild(node);
}

/** Round numbers between low and high, about `wanted` of them, and their texts, which have the same decimals. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const marks = [];
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) marks.push([i * step, (i * step).toFixed(decimals)]);
  return marks;
}

function range(values, share = 0.06) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  if (low > high) return [0, 1];
  const pad = (high - low) * share || Math.abs(high) * share || 1;
  return [low - pad, high + pad];
}

const tip = byId("tip");
function showTip(text, left, top) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(left + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${top + 14 + box.height > innerHeight ? top - box.height - 10 : top + 14}px`;
}

/**
 * A chart that fills its box, redrawn when that changes. `make()` gives {x, y: label, xs, ys: ranges, points, stops,
 * draw(svg, X, Y)}: `points` [x, y, text] are under the pointer, `stops` of them one by one by the arrow keys.
 */
function chart(id, title, make) {
  const box = byId(id);
  const svg = add(box, "svg", { role: "img", tabindex: 0, "aria-label": title });
  let here = null, at = null, stop = -1;
  function draw() {
    const width = Math.max(280, box.clientWidth), height = Math.round(Math.min(430, Math.max(260, width * 0.56)));
    const plot = (here = make());
    const left = 54, right = width - 12, top = 12, bottom = height - 44;
    const X = (x) => left + ((x - plot.xs[0]) / (plot.xs[1] - plot.xs[0])) * (right - left);
    const Y = (y) => bottom - ((y - plot.ys[0]) / (plot.ys[1] - plot.ys[0])) * (bottom - top);
    Object.assign(here, { X, Y });
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const [x, text] of ticks(...plot.xs, width / 90)) {
      add(svg, "line", { x1: X(x), x2: X(x), y1: top, y2: bottom, class: "grid" });
      add(svg, "text", { x: X(x), y: bottom + 17, "text-anchor": "middle" }, text);
    }
    for (const [y, text] of ticks(...plot.ys, height / 60)) {
      add(svg, "line", { x1: left, x2: right, y1: Y(y), y2: Y(y), class: "grid" });
      add(svg, "text", { x: left - 7, y: Y(y) + 4, "text-anchor": "end" }, text);
    }
    add(svg, "line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" });
    add(svg, "text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, plot.x);
    add(svg, "text", { transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, plot.y);
    const clip = add(svg, "clipPath", { id: `${id}-clip` });
    add(clip, "rect", { x: left, y: top - 6, width: right - left + 6, height: bottom - top + 6 });
    plot.draw(add(svg, "g", { "clip-path": `url(#${id}-clip)` }), X, Y, [left, right, top, bottom]);
    at = add(svg, "circle", { r: 7, class: "at", visibility: "hidden" });
  }
  function mark(point) {
    const scale = svg.getBoundingClientRect(), ratio = scale.width / svg.viewBox.baseVal.width;
    const x = here.X(point[0]), y = here.Y(point[1]);
    for (const [name, value] of [["cx", x], ["cy", y], ["visibility", "visible"]]) at.setAttribute(name, value);
    showTip(point[2](), scale.left + x * ratio, scale.top + y * ratio);
  }
  function hide() { tip.hidden = true; if (at) at.setAttribute("visibility", "hidden"); }
  svg.addEventListener("pointermove", (event) => {
    const scale = svg.getBoundingClientRect(), ratio = svg.viewBox.baseVal.width / scale.width;
    const px = (event.clientX - scale.left) * ratio, py = (event.clientY - scale.top) * ratio;
    let best = null, least = 24 ** 2;
    for (const point of here.points) {
      const away = (here.X(point[0]) - px) ** 2 + (here.Y(point[1]) - py) ** 2;
      if (away < least) { least = away; best = point; }
    }
    if (best) mark(best); else hide();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step || !here.stops.length) return;
    event.preventDefault();
    stop = (stop + step + here.stops.length) % here.stops.length;
    mark(here.stops[stop]);
  });
  new ResizeObserver(draw).observe(box);
  return draw;
}

/** Many dots as one path: five thousand of them take no time. */
const dots = (points, X, Y) => points.map((p) => `M${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}h0`).join("");
function steps(points, X, Y, end) {
  let text = "";
  points.forEach((p, i) => { text += i ? `H${X(p[0]).toFixed(1)}V${Y(p[1]).toFixed(1)}` : `M${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}`; });
  return text && `${text}H${end}`;
}

const about = (i) =>
  `${all.key[i]}, candidate ${i + 1}\n${print(SEARCH, all[QUALITY][i])} on search validation\n` +
  data.costs.map((name) => `${metrics[name].phrase} ${print(name, all[name][i])}`).join(", ") + ` (predicted)\n${all.text[i]}`;
const inherited = (p, key) => p[`inherited_${key}`]; // of a network that was retrained
const before = (p, key) => (inherited(p, key) === undefined ? "" : ` (inherited ${print(key, inherited(p, key))})`);
const error = (p, key) => (p[`${key}_se`] === undefined ? "" : `\u00a0±\u00a0${print(key, p[`${key}_se`])}`);
const deviation = (p) => scaled(SEARCH, p?.[`${SEARCH}_se`] ?? 0); // of an exported network; a candidate shows none
const aboutExported = (p) =>
  `${p.folder}, exported\n${print(SEARCH, p[SEARCH])}${error(p, SEARCH)}${before(p, SEARCH)} on search validation, ` +
  `${print(TEST, p[TEST])}${error(p, TEST)}${before(p, TEST)} on test\n` +
  `${print("measured_ms", p.measured_ms)} measured (± ${print("measured_spread", p.measured_spread)}), ${print("predicted_ms", p.predicted_ms)} predicted\n${p.text}`;

// --- the front, and the budget that chooses from it
const axis = byId("axis"), zoom = byId("zoom"), slider = byId("slider"), number = byId("budget");
let budget = Infinity, chosen = null;
const drawFront = chart("front", `The ${metrics[QUALITY].phrase} of all candidates against their cost; the table of the front has the numbers`, () => {
  const name = axis.value;
  const points = [...all.key.keys()].map((i) => [scaled(name, all[name][i]), scaled(QUALITY, all[QUALITY][i]), () => about(i)]);
  const sorted = points.slice().sort((a, b) => a[0] - b[0] || (better(a[1], b[1]) ? -1 : 1));
  const front = [];
  for (const point of sorted) if (!front.length || better(point[1], front[front.length - 1][1])) front.push(point);
  const spots = exported
    .map((p) => [scaled(name, p[name.replace("latency_ms", "measured_ms")] ?? p[name]), scaled(SEARCH, p[SEARCH]), () => aboutExported(p), p])
    .filter((spot) => isFinite(spot[0])); // cards of earlier versions lack some metrics
  const shown = zoom.checked ? [...front, ...spots] : [...points, ...spots];
  const limit = data.limits[name];
  return {
    x: metrics[name].label, y: metrics[SEARCH].label,
    xs: range(shown.map((p) => p[0])), ys: range(shown.flatMap(([, y, , network]) => [y - deviation(network), y + deviation(network)])),
    points: [...points, ...spots], stops: spots.slice().sort((a, b) => a[0] - b[0]),
    draw(svg, X, Y, [left, right, top, bottom]) {
      add(svg, "path", { d: dots(points, X, Y), class: "dots" });
      add(svg, "path", { d: steps(front, X, Y, right), class: "front" });
      add(svg, "path", { d: dots(front, X, Y), class: "on-front" });
      const rule = (x, kind) => add(svg, "line", { x1: X(x), x2: X(x), y1: top, y2: bottom, class: kind });
      if (limit) rule(limit, "limit");
      if (name === "latency_ms" && isFinite(budget)) rule(budget, "budget-line");
      for (const [x, y, , network] of spots) {
        const off = name === "latency_ms" ? x * network.measured_spread : 0;
        if (off) add(svg, "line", { x1: X(x - off), x2: X(x + off), y1: Y(y), y2: Y(y), class: "error" });
        const up = deviation(network);
        if (up) add(svg, "line", { x1: X(x), x2: X(x), y1: Y(y - up), y2: Y(y + up), class: "error" });
        const from = inherited(network, SEARCH);
        if (from !== undefined) add(svg, "line", { x1: X(x), x2: X(x), y1: Y(scaled(SEARCH, from)), y2: Y(y), class: "gain" });
        const node = add(svg, "circle", { cx: X(x), cy: Y(y), r: 5.5, class: network === chosen ? "exported chosen" : "exported" });
        node.addEventListener("click", () => setBudget(network.measured_ms));
      }
    },
  };
});

/** The last answer whose budget is kept: `export/answer.py` made them all. */
const answer = (value) => data.answers.findLast((one) => one[0] <= value * (1 + 1e-9));
/** A budget rounded up to three digits, or to so many more that the answer is the same. */
function rounded(value) {
  for (let digits = 3; digits < 12; digits++) {
    const unit = 10 ** (Math.floor(Math.log10(value)) - digits + 1), up = (Math.ceil(value / unit - 1e-6) * unit).toPrecision(digits);
    if (answer(+up) === answer(value)) return String(+up >= 1000 ? +up : up);
  }
  return String(value);
}

function setBudget(value) {
  slider.value = number.value = rounded(value);
  budget = +number.value;
  const [, shown, hint, command] = answer(value) ?? [0, -1, "", ""];
  chosen = shown < 0 ? null : exported[shown];
  const winner = byId("winner");
  if (!chosen) {
    const least = exported.reduce((best, p) => (p.measured_ms < best.measured_ms ? p : best));
    winner.textContent = `No exported network is that fast; the fastest takes ${print("measured_ms", least.measured_ms)}.`;
  } else winner.replaceChildren(byId(`card-${chosen.folder}`).content.cloneNode(true));
  if (hint) {
    const note = document.createElement("p"), code = document.createElement("code");
    note.className = "muted";
    note.textContent = `${hint[0].toUpperCase()}${hint.slice(1)}. To have it: `;
    code.textContent = command;
    note.append(code);
    winner.append(note);
  }
  for (const row of document.querySelectorAll("#exported tr")) row.classList.toggle("chosen", !!chosen && row.id === `row-${chosen.folder}`);
  drawFront();
}
if (exported.length) {
  number.min = 0; // the base of its steps: a hundredth of the largest budget or less
  number.step = 10 ** (Math.floor(Math.log10(+slider.max)) - 2);
  slider.addEventListener("input", () => setBudget(+slider.value));
  number.addEventListener("change", () => setBudget(+number.value));
  setBudget(+slider.value);
}
axis.addEventListener("change", drawFront);
zoom.addEventListener("change", drawFront);

// --- the search over time
chart("quality", `The ${metrics[QUALITY].phrase} of each candidate in the order of evaluation, and the best so far`, () => {
  const points = [...all.key.keys()].map((i) => [i + 1, scaled(QUALITY, all[QUALITY][i]), () => about(i)]);
  const best = [];
  for (const point of points) if (!best.length || better(point[1], best[best.length - 1][1])) best.push(point);
  return {
    x: "candidate", y: metrics[QUALITY].label, xs: [0, count + 1], ys: range(points.map((p) => p[1])), points, stops: best,
    draw(svg, X, Y, [, right]) {
      add(svg, "path", { d: dots(points, X, Y), class: "dots" });
      add(svg, "path", { d: steps(best, X, Y, right), class: "front" });
    },
  };
});
chart("hypervolume", "Hypervolume of the front after each candidate: it rises where the front gets better", () => {
  const points = data.hypervolume.map(([i, v]) => [i, 100 * v, () => `after ${i} candidates: ${percent(v)} of the final hypervolume`]);
  return {
    x: "candidate", y: "hypervolume, % of the last", xs: [0, count + 1], ys: [Math.min(0, ...points.map((p) => p[1])), 104], points, stops: points,
    draw(svg, X, Y, [, right]) { add(svg, "path", { d: steps(points, X, Y, right), class: "front" }); },
  };
});

// --- latency
chart("latency", data.repeated ? "Latency in the table, where each network was measured, against a second measurement" : "Predicted against measured latency of networks held out from fitting and of the exported ones", () => {
  const held = data.held_out.map(([m, p, text]) => [m, p, () => `${data.repeated ? "again" : "held out"}: ${print("measured_ms", m)} measured, ${print("predicted_ms", p)} predicted (${percent(p / m - 1)})\n${text}`]);
  const alone = exported.map((p) => [p.measured_ms, p.predicted_ms, () => aboutExported(p)]);
  const both = range([...held, ...alone].flatMap((p) => [p[0], p[1]]));
  return {
    x: "measured, ms", y: "predicted, ms", xs: both, ys: both, points: [...held, ...alone], stops: [...held, ...alone].sort((a, b) => a[0] - b[0]),
    draw(svg, X, Y) {
      const [low, high] = both, at = (m, s) => `${X(m)} ${Y(m * s)}`;
      add(svg, "path", { d: `M${at(low, 0.9)}L${at(high, 0.9)}L${at(high, 1.1)}L${at(low, 1.1)}Z`, class: "band" });
      add(svg, "path", { d: `M${at(low, 1)}L${at(high, 1)}`, class: "axis" });
      add(svg, "path", { d: dots(held, X, Y), class: "dots", style: "opacity:1;stroke-width:7" });
      for (const [x, y] of alone) add(svg, "circle", { cx: X(x), cy: Y(y), r: 5, class: "exported" });
    },
  };
});
document.documentElement.dataset.ready = performance.now().toFixed(0);
