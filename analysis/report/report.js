"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const PAGE_OF_RUNS = 100;
  const CROWDED = 25; // fronts with more points have smaller markers, as in the figures
  const hidden = new Set();
  let nShown = PAGE_OF_RUNS;

  // Plotly interprets some HTML in every text. Names are untrusted and must show literally.
  const asText = (value) =>
    String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // On a dark background, dark colours are mixed with white until they are visible.
  function readable(colour) {
    let rgb = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    if (dark.matches) {
      const luminance = (0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) / 255;
      const share = Math.max(0, 0.5 - luminance) * 1.3;
      rgb = rgb.map((part) => Math.round(part + (255 - part) * share));
    }
    return rgb;
  }
  const solid = (colour) => `rgb(${readable(colour).join(",")})`;
  const faint = (colour, alpha) => `rgba(${readable(colour).join(",")},${alpha})`;

  function element(tag, text, properties = {}) {
    const made = Object.assign(document.createElement(tag), properties);
    if (text !== null) made.textContent = text;
    return made;
  }

  function fill(select, values) {
    select.replaceChildren(...values.map(([value, text]) => element("option", text, { value })));
  }

  const unique = (values) => [...new Set(values)];
  const key = (scenario) => `${scenario.model} / ${scenario.device}`;

  function paintSwatches() {
    for (const swatch of document.querySelectorAll(".swatch")) {
      const look = data.entries[Number(swatch.dataset.entry)];
      if (!look) continue;
      swatch.style.borderColor = solid(look.colour);
      swatch.style.background = look.filled ? solid(look.colour) : "transparent";
    }
  }

  // ---- filters ----

  function buildFilters() {
    fill(byId("filter-task"), unique(data.scenarios.map((scenario) => scenario.task)).map((name) => [name, name]));
    fill(byId("filter-model"), unique(data.scenarios.map(key)).map((name) => [name, name]));
    if (data.ranks.length) fill(byId("filter-track"), data.ranks.map((ranks, i) => [String(i), ranks.title]));
    const seeds = unique(data.runs.map((run) => run.seed)).sort((a, b) => a - b);
    fill(byId("filter-seed"), [["all", "all"], ...seeds.map((seed) => [String(seed), String(seed)])]);
    byId("filter-dominated").checked = data.runs.length <= 5;
    // Many runs at once are unreadable. Begin with entries with default options, if there are any, and one seed.
    const isUsual = (run) => data.entries[run.entry].usual && run.n_evaluations > 0;
    const usualScenarios = new Set(data.runs.filter(isUsual).map((run) => run.scenario));
    data.entries.forEach((entry, i) => {
      const own = data.runs.filter((run) => run.entry === i);
      if (!entry.usual && own.every((run) => usualScenarios.has(run.scenario))) hidden.add(i);
    });
    const shown = data.scenarios.map((_, i) => data.runs.filter((run) => run.scenario === i && !hidden.has(run.entry)));
    const nEntries = shown.map((runs) => new Set(runs.map((run) => run.entry)).size);
    const first = nEntries.indexOf(Math.max(...nEntries));
    byId("filter-task").value = data.scenarios[first].task;
    byId("filter-model").value = key(data.scenarios[first]);
    if (shown[first].length > 12) byId("filter-seed").value = String(seeds[0]);
    data.entries.forEach((entry, i) => {
      const chip = element("button", null, { type: "button", className: "chip" });
      chip.dataset.entry = String(i);
      const swatch = element("i", null, { className: "swatch" });
      swatch.dataset.entry = String(i);
      chip.title = entry.name;
      chip.append(swatch, element("span", entry.short));
      chip.addEventListener("click", () => {
        if (!hidden.delete(i)) hidden.add(i);
        drawAll();
      });
      byId("chips-all").before(chip);
    });
    byId("chips-all").addEventListener("click", () => { hidden.clear(); drawAll(); });
    byId("chips-none").addEventListener("click", () => { data.entries.forEach((_, i) => hidden.add(i)); drawAll(); });
    for (const id of ["filter-task", "filter-model", "filter-seed", "filter-split", "filter-dominated"]) {
      byId(id).addEventListener("change", drawAll);
    }
    if (data.ranks.length) byId("filter-track").addEventListener("change", drawRanks);
    for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
  }

  function selection() {
    const task = byId("filter-task").value;
    const model = byId("filter-model").value;
    const seed = byId("filter-seed").value;
    const scenario = data.scenarios.findIndex((scenario) => scenario.task === task && key(scenario) === model);
    const inScenario = data.runs.filter((run) => run.scenario === scenario);
    return {
      task, model, scenario, inScenario,
      runs: inScenario.filter((run) => !hidden.has(run.entry) && (seed === "all" || run.seed === Number(seed))),
    };
  }

  // ---- plots ----

  function layout(xTitle, yTitle) {
    const axis = (text) => ({
      title: { text, standoff: 8 }, gridcolor: variable("--grid"), zeroline: false, linecolor: variable("--line"),
      automargin: true, fixedrange: false,
    });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
      margin: { l: 56, r: 12, t: 30, b: 46 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: variable("--line"), activecolor: variable("--accent") },
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: variable("--ink") },
      hoverlabel: { bgcolor: variable("--paper"), bordercolor: variable("--line"), font: { color: variable("--ink") }, align: "left" },
      xaxis: axis(xTitle), yaxis: axis(yTitle),
    };
  }

  // Replace meaningless axes by a text.
  function emptied(shape) {
    shape.xaxis.visible = shape.yaxis.visible = false;
    shape.annotations = [{ xref: "paper", yref: "paper", x: 0.5, y: 0.5, text: "nothing to show", showarrow: false, font: { color: variable("--soft") } }];
    return shape;
  }

  // plotly would offer a button that uploads the chart
  const config = { responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };

  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const number = (value) => (value === null ? "not measured" : value.toFixed(4));

  const configuration = (points, i) => points.config[i].split(", ").map((value, k) => (points.names[k] || "") + value).join(", ");

  function hover(run, i) {
    const look = data.entries[run.entry];
    const scenario = data.scenarios[run.scenario];
    const points = run.points;
    const lines = [
      `<b>${asText(look.name)}</b>, seed ${run.seed}, evaluation ${points.index[i]}`,
      `parameters ${percent(points.params[i])} (${Math.round(points.params[i] * run.n_params).toLocaleString("en")})`,
      `validation error ${number(points.error[i])}`,
      `test error ${number(points.test[i])}`,
      `after ${points.elapsed[i].toLocaleString("en")} s`,
      asText(configuration(points, i)).replace(/(.{60}[^,]*), /g, "$1,<br>"),
    ];
    return `${lines.join("<br>")}<br>${asText(scenario.title)}`;
  }

  function trace(run, rows, values, extra) {
    return {
      type: "scatter", x: rows.map((i) => (run.points.cost || run.points.params)[i]), y: rows.map((i) => values[i]),
      text: rows.map((i) => hover(run, i)), hoverinfo: "text", ...extra,
    };
  }

  function drawPareto(chosen) {
    const onTest = byId("filter-split").value === "test";
    const dominatedToo = byId("filter-dominated").checked && !onTest;
    byId("filter-dominated").disabled = onTest;
    const under = [];
    const over = [];
    for (const run of chosen.runs) {
      const look = data.entries[run.entry];
      const values = onTest ? run.points.test : run.points.error;
      const all = values.map((_, i) => i).filter((i) => values[i] !== null);
      const front = all.filter((i) => run.points.front[i]);
      const colour = solid(look.colour);
      if (dominatedToo) {
        under.push(trace(run, all.filter((i) => !run.points.front[i]), values, {
          mode: "markers", marker: { color: faint(look.colour, 0.35), size: 5, symbol: look.symbol },
        }));
      }
      over.push(trace(run, front, values, {
        mode: data.scenarios[run.scenario].n_objectives > 2 ? "markers" : "lines+markers", name: asText(look.short),
        line: { color: faint(look.colour, chosen.runs.length > 12 ? 0.5 : 0.9), width: 1.5, dash: look.dash, shape: onTest ? "linear" : "hv" },
        marker: { color: colour, size: front.length > CROWDED ? 5 : 7.5, symbol: look.symbol + (look.filled ? "" : "-open"), line: { color: look.filled ? variable("--paper") : colour, width: look.filled ? 0.8 : 1.5 } },
      }));
    }
    const scenario = data.scenarios[chosen.scenario];
    const full = scenario ? scenario.full_error[onTest ? "test" : "validation"] : null;
    const metric = scenario ? scenario.metric : "metric";
    const shape = layout(`${scenario ? asText(scenario.cost) : "parameters"}, fraction of the full network`, `${onTest ? "test" : "validation"} error (1 − ${asText(metric)})`);
    if (full !== null) {
      shape.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: full, y1: full, line: { color: variable("--soft"), width: 1, dash: "dot" } }];
      shape.annotations = [{ xref: "paper", x: 0, y: full, text: "full network", showarrow: false, xanchor: "left", yanchor: "bottom", font: { color: variable("--soft"), size: 11.5 } }];
    }
    const nPoints = over.reduce((sum, line) => sum + line.x.length, 0);
    Plotly.react("pareto", [...under, ...over], nPoints ? shape : emptied(shape), config);
    byId("pareto-status").textContent = chosen.inScenario.length === 0
      ? `no run of ${chosen.task} with ${chosen.model}`
      : `${chosen.runs.length} run${chosen.runs.length === 1 ? "" : "s"}, ${nPoints} sub-networks on the fronts`;
  }

  // Hypervolumes of several runs at common times, up to the end of the longest run. A run that has ended keeps its last
  // value. Before its first evaluation the value is null.
  function atCommonTimes(runs) {
    const longest = Math.max(...runs.map((run) => run.horizon_s));
    const times = data.grid.map((part) => part * longest);
    const at = (run, time) => run.hypervolume[data.grid.findLastIndex((part) => part * run.horizon_s <= time)] ?? null;
    return { times, curves: runs.map((run) => times.map((time) => at(run, time))) };
  }

  function drawHypervolume(chosen) {
    const bands = [];
    const lines = [];
    const runs = chosen.runs.filter((run) => run.hypervolume.some((value) => value !== null));
    const longest = Math.max(...runs.map((run) => run.horizon_s));
    const hours = longest > 7200;
    const scale = hours ? 3600 : 1;
    for (const entry of unique(runs.map((run) => run.entry))) {
      const look = data.entries[entry];
      const own = atCommonTimes(runs.filter((run) => run.entry === entry));
      // The mean begins when every run has evaluated a network. Otherwise it would jump whenever a run begins.
      const begun = own.times.map((_, i) => i).filter((i) => own.curves.every((curve) => curve[i] !== null));
      const times = begun.map((i) => own.times[i] / scale);
      const over = (summary) => begun.map((i) => summary(own.curves.map((curve) => curve[i])));
      const mean = over((values) => values.reduce((a, b) => a + b, 0) / values.length);
      if (own.curves.length > 1) {
        const low = over((values) => Math.min(...values));
        const high = over((values) => Math.max(...values));
        bands.push({
          type: "scatter", mode: "lines", x: [...times, ...[...times].reverse()], y: [...high, ...low.reverse()], fill: "toself",
          fillcolor: faint(look.colour, 0.1), line: { width: 0 }, hoverinfo: "skip",
        });
      }
      lines.push({
        type: "scatter", mode: mean.length > 1 ? "lines" : "markers", name: asText(look.short), x: times, y: mean,
        line: { color: solid(look.colour), width: 2, dash: look.dash, shape: "hv" }, marker: { color: solid(look.colour), size: 7 },
        text: mean.map((value, i) => `<b>${asText(look.name)}</b><br>${value.toFixed(4)} after ${times[i].toFixed(hours ? 2 : 0)} ${hours ? "h" : "s"}<br>${own.curves.length} run${own.curves.length === 1 ? "" : "s"}`),
        hoverinfo: "text",
      });
    }
    const shape = layout(hours ? "charged hours" : "charged seconds", "hypervolume (at most 4)");
    const drawn = lines.filter((line) => line.y.length);
    if (drawn.length) {
      // The first evaluations of each line would flatten the rest. A double click on the plot shows them.
      const low = Math.min(...drawn.map((line) => line.y[Math.floor(line.y.length / 5)]));
      const high = Math.max(...drawn.map((line) => line.y.at(-1)));
      const margin = Math.max(high - low, 0.02) * 0.1;
      shape.yaxis.range = [low - margin, high + margin];
      shape.xaxis.range = [0, 1.01 * longest / scale];
    }
    Plotly.react("hypervolume", [...bands, ...lines], drawn.length ? shape : emptied(shape), config);
    byId("hypervolume-status").textContent = bands.length > 0 && byId("filter-seed").value === "all" ? "mean over seeds; the band spans the lowest to the highest seed" : "";
  }

  function drawRanks() {
    if (!data.ranks.length) return;
    const ranks = data.ranks[Number(byId("filter-track").value)];
    const traces = [];
    const times = data.grid.map((part) => 100 * part);
    const visible = ranks.lines.filter((line) => !hidden.has(line.entry));
    const strength = Math.min(0.12, 0.6 / visible.length);
    for (const line of visible) {
      const look = data.entries[line.entry];
      // Too few scenarios have no interval: its bounds are null.
      const bounded = line.low.every((value) => value !== null);
      const bounds = (i) => (bounded ? ` [${line.low[i].toFixed(2)}, ${line.high[i].toFixed(2)}]` : "");
      if (bounded) {
        traces.push({
          type: "scatter", mode: "lines", x: [...times, ...[...times].reverse()], y: [...line.high, ...[...line.low].reverse()], fill: "toself",
          fillcolor: faint(look.colour, strength), line: { width: 0 }, hoverinfo: "skip",
        });
      }
      traces.push({
        type: "scatter", mode: "lines", name: asText(look.short), x: times, y: line.mean,
        line: { color: solid(look.colour), width: 2, dash: look.dash },
        text: line.mean.map((value, i) => `<b>${asText(look.name)}</b><br>rank ${value.toFixed(2)}${bounds(i)}<br>at ${times[i].toFixed(0)} % of the budget`),
        hoverinfo: "text",
      });
    }
    const shape = layout("budget spent (%)", "average rank (1 = best)");
    shape.yaxis.autorange = "reversed";
    Plotly.react("rank-plot", traces, traces.length ? shape : emptied(shape), config);
    byId("ranks-left-out").textContent = ranks.left_out.length
      ? `All entries share no scenario and seed here. Left out, because they lack runs that the shown entries share: ${ranks.left_out.join(", ")}.`
      : "";
  }

  function drawAll() {
    const chosen = selection();
    const present = new Set(chosen.inScenario.map((run) => run.entry));
    for (const chip of document.querySelectorAll(".chip")) {
      const i = Number(chip.dataset.entry);
      chip.setAttribute("aria-pressed", String(!hidden.has(i)));
      chip.hidden = !present.has(i);
    }
    paintSwatches();
    drawPareto(chosen);
    drawHypervolume(chosen);
    drawRanks();
  }

  // ---- provenance ----

  function details(run) {
    const box = element("details", null);
    box.append(element("summary", "show"));
    box.addEventListener("toggle", () => {
      if (box.open && box.children.length === 1) {
        const shown = { ...run.record, provenance: data.provenance[run.provenance] };
        box.append(element("pre", JSON.stringify(shown, null, 1)));
      }
    });
    return box;
  }

  function drawRuns() {
    const wanted = byId("filter-runs").value.toLowerCase();
    const found = data.runs.filter((run) => run.folder.toLowerCase().includes(wanted));
    const rows = found.slice(0, nShown).map((run) => {
      const row = element("tr", null);
      row.append(element("th", run.folder, { scope: "row" }));
      row.append(element("td", run.reason ? `${run.status}: ${run.reason}` : run.status));
      row.append(element("td", run.unofficial.length ? `no: ${run.unofficial.join("; ")}` : run.official ? "yes" : "no"));
      row.append(element("td", run.n_evaluations.toLocaleString("en"), { className: "number" }));
      row.append(element("td", Math.round(run.elapsed_s).toLocaleString("en"), { className: "number" }));
      row.append(element("td", run.started_at || ""));
      const last = element("td", null);
      last.append(details(run));
      row.append(last);
      return row;
    });
    byId("runs").tBodies[0].replaceChildren(...rows);
    byId("runs-status").textContent = `${rows.length} of ${found.length} runs`;
    byId("runs-more").hidden = rows.length === found.length;
  }

  buildFilters();
  byId("filter-runs").addEventListener("input", () => { nShown = PAGE_OF_RUNS; drawRuns(); });
  byId("runs-more").addEventListener("click", () => { nShown += PAGE_OF_RUNS; drawRuns(); });
  dark.addEventListener("change", drawAll);
  drawAll();
  drawRuns();
})();
