"use strict";
(() => {
  const {state, keep, choose, percent} = slmbench;
  const $ = (id) => document.getElementById(id), table = $("board"), body = table.tBodies[0];
  // As they came: test sets in their order, ranks within each.
  const rows = [...body.rows], filters = [...document.querySelectorAll("[data-filter]")];
  const buttons = [...table.querySelectorAll("[data-sort]")];
  const FIRST = {key: "test", way: "asc"};
  let sort = FIRST, picked = [];

  function value(row, key) {
    const text = row.querySelector("." + key + "[data-v]").dataset.v;
    return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
  }

  function order(x, y) {
    const [a, b] = [value(x, sort.key), value(y, sort.key)];
    if (a === null || b === null) return (a === null) - (b === null);
    const by = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return sort.way === "asc" ? by : -by;
  }

  function passes(row) {
    return filters.every(({value: wanted, dataset: {filter}}) => {
      if (!wanted) return true;
      const has = row.dataset[filter];
      return filter === "size" ? has !== "" && Number(has) <= Number(wanted) : has === wanted;
    });
  }

  function draw() {
    for (const row of rows) row.hidden = !passes(row);
    const sorted = [...rows].sort((x, y) => order(x, y) || rows.indexOf(x) - rows.indexOf(y));
    body.append(...sorted);
    const left = sorted.filter((row) => !row.hidden);
    left.forEach((row, i) => {
      const begins = sort.key === "test" && i > 0 && row.dataset.set !== left[i - 1].dataset.set;
      row.classList.toggle("begin", begins);
    });
    for (const button of buttons) {
      const on = button.dataset.sort === sort.key;
      button.closest("th").setAttribute("aria-sort", on ? {asc: "ascending", desc: "descending"}[sort.way] : "none");
    }
    $("count").textContent = left.length ? left.length + " of " + rows.length + " rows" : "No row passes these filters.";
    const set = filters.find((one) => one.dataset.filter === "set").value;
    if (set) $("plot-set").value = set;
    else if (left.length && !left.some((row) => row.dataset.set === $("plot-set").value)) $("plot-set").value = left[0].dataset.set;
    plots();
    pick();
    remember();
  }

  function remember() {
    const busiest = $("plot-set").dataset.most, plain = sort.key === "test" && sort.way === "asc";
    keep({
      ...Object.fromEntries(filters.map((one) => [one.dataset.filter, one.value])),
      sort: plain ? "" : sort.key, way: plain ? "" : sort.way, pick: picked.join(","),
      plot: $("plot-set").value === busiest ? "" : $("plot-set").value,
    });
  }

  function restore() {
    const said = state(), button = buttons.find((one) => one.dataset.sort === said.get("sort"));
    for (const one of filters) choose(one, said.get(one.dataset.filter) || "");
    sort = button ? {key: button.dataset.sort, way: said.get("way") === "desc" ? "desc" : "asc"} : FIRST;
    $("plot-set").value = $("plot-set").dataset.most;
    choose($("plot-set"), said.get("plot"));
    const known = new Set(rows.map((row) => row.dataset.key));
    picked = (said.get("pick") || "").split(",").filter((key) => known.has(key)).slice(0, 2);
    draw();
  }

  // ---- two rows to compare

  function pick() {
    for (const row of rows) row.querySelector("input").checked = picked.includes(row.dataset.key);
    const two = picked.map((key) => rows.find((row) => row.dataset.key === key));
    const fit = two.length === 2 && two[0].dataset.set === two[1].dataset.set;
    $("compare").hidden = !fit;
    $("picked").textContent = two.length === 0 ? "Tick two rows of one test set to compare them."
      : two.length === 1 ? two[0].dataset.name + " is ticked: tick another row of " + two[0].dataset.label + "."
        : fit ? two[0].dataset.name + " and " + two[1].dataset.name + " on " + two[0].dataset.label + "."
          : "These two answered different test sets and cannot be compared in pairs.";
    if (fit) $("compare").href = "compare.html#" + new URLSearchParams({set: two[0].dataset.set, a: picked[0], b: picked[1]});
  }

  // ---- plots

  const SVG = "http://www.w3.org/2000/svg", MOST = 560, LOWEST = 300, LEFT = 40, RIGHT = 150, TOP = 10, BOTTOM = 38, GAP = 13;

  function svgOf(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, its] of Object.entries(attributes)) element.setAttribute(name, its);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const WORDS = {
    bytes: (x) => (x >= 1e9 ? (x / 1e9).toFixed(1) + " GB" : Math.round(x / 1e6) + " MB"),
    latency: (x) => (x >= 1 ? Number(x.toFixed(2)) + " s" : Math.round(1000 * x) + " ms"),
  };
  const NOUNS = {bytes: "size", latency: "latency"};
  const TITLES = {bytes: "weights on the disk", latency: "seconds a document, median"};

  function plots() {
    const shown = [...body.rows].filter((row) => !row.hidden && row.dataset.set === $("plot-set").value);
    for (const axis of ["bytes", "latency"]) {
      const known = shown.filter((row) => Number(row.dataset[axis]) > 0).map((row) => ({
        name: row.dataset.name, base: row.dataset.side === "base", x: Number(row.dataset[axis]),
        y: Number(row.dataset.value), low: Number(row.dataset.low), high: Number(row.dataset.high),
        machine: row.dataset.machine,
      }));
      const machine = axis === "latency" ? most(known.map((p) => p.machine)) : null;
      const points = machine === null ? known : known.filter((p) => p.machine === machine);
      const timed = machine === null ? "" : " Timed on " + machine + ".";
      const left = known.length === points.length ? ""
        : " " + (known.length - points.length) + " more, timed on other machines, do not compare: choose theirs among the filters.";
      const none = shown.length === known.length ? "" : " " + (shown.length - known.length) + " without a " + NOUNS[axis] + ".";
      const box = $("plot-" + axis), said = box.parentElement.querySelector(".front"), best = front(points);
      box.replaceChildren(...(points.length ? [chart(axis, points, best)] : []));
      said.textContent = points.length
        ? "Pareto front: " + best.map((p) => p.name + " (" + percent(p.y) + ", " + WORDS[axis](p.x) + ")").join("; ") + "." + timed + left + none
        : "None of these rows has a " + NOUNS[axis] + ".";
    }
  }

  // What occurs most often, the first by name among equals; null of nothing.
  function most(values) {
    const often = new Map();
    for (const value of values) often.set(value, (often.get(value) || 0) + 1);
    const [first] = [...often].sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
    return first ? first[0] : null;
  }

  // The points that no other beats in one of accuracy and price without losing in the other, cheapest first.
  function front(points) {
    return points
      .filter((p) => !points.some((q) => q.x <= p.x && q.y >= p.y && (q.x < p.x || q.y > p.y)))
      .sort((p, q) => p.x - q.x);
  }

  function ticks(low, high) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of [1, 2, 5]) {
        const at = step * 10 ** power;
        if (at >= low * 0.999 && at <= high * 1.001) found.push(at);
      }
    }
    return found;
  }

  // Heights of names, from the top down, moved so that none stands on another or below `lowest`.
  function apart(heights, lowest) {
    const found = [];
    for (const at of heights) found.push(Math.max(at, found.length ? found.at(-1) + GAP : 0));
    for (let i = found.length - 1, limit = lowest; i >= 0; i--, limit -= GAP) {
      found[i] = Math.min(found[i], limit);
      limit = Math.min(limit, found[i]);
    }
    return found;
  }

  function chart(axis, points, best) {
    // As wide as its place, so that words keep their size on a phone.
    const WIDE = Math.max(320, Math.min(MOST, $("plot-" + axis).clientWidth));
    // And as high as the names need that stand below each other.
    const HIGH = Math.max(LOWEST, TOP + BOTTOM + GAP * points.length);
    const xs = points.map((p) => p.x), low = Math.min(...xs) / 1.5, high = Math.max(...xs) * 1.5;
    const x = (at) => LEFT + (Math.log(at / low) / Math.log(high / low)) * (WIDE - LEFT - RIGHT);
    const y = (at) => HIGH - BOTTOM - at * (HIGH - TOP - BOTTOM);
    const listed = points.map((p) => p.name + (p.base ? ", base" : "") + ": " + percent(p.y) + ", " + WORDS[axis](p.x)).join("; ");
    const label = "JSONExact against " + TITLES[axis] + ". " + listed + ".";
    const svg = svgOf("svg", {viewBox: "0 0 " + WIDE + " " + HIGH, role: "img", "aria-label": label});
    for (const at of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(svgOf("path", {d: "M" + LEFT + " " + y(at) + "H" + (WIDE - RIGHT), class: "grid"}));
      svg.append(svgOf("text", {x: LEFT - 6, y: y(at) + 4, class: "end"}, 100 * at + " %"));
    }
    let last = -Infinity;
    for (const at of ticks(low, high)) {
      if (x(at) - last < 40) continue;
      last = x(at);
      svg.append(svgOf("text", {x: x(at), y: HIGH - BOTTOM + 16, class: "mid"}, WORDS[axis](at)));
    }
    svg.append(svgOf("text", {x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 5, class: "mid"}, TITLES[axis]));
    const steps = best.map((p, i) => (i ? "H" + x(p.x) + "V" + y(p.y) : "M" + x(p.x) + " " + y(p.y))).join("");
    if (best.length > 1) svg.append(svgOf("path", {d: steps, class: "pareto"}));
    const sorted = [...points].sort((one, other) => other.y - one.y), places = apart(sorted.map((p) => y(p.y)), y(0));
    sorted.forEach((p, i) => {
      svg.append(svgOf("path", {d: "M" + x(p.x) + " " + y(p.low) + "V" + y(p.high), class: "whisker"}));
      const dot = svgOf("circle", {cx: x(p.x), cy: y(p.y), r: 4.5, class: p.base ? "dot base" : "dot"});
      dot.append(svgOf("title", {}, p.name + ": " + percent(p.y) + ", " + WORDS[axis](p.x)));
      svg.append(svgOf("path", {d: "M" + x(p.x) + " " + y(p.y) + "L" + (x(p.x) + 9) + " " + places[i], class: "leader"}));
      svg.append(dot, svgOf("text", {x: x(p.x) + 11, y: places[i] + 4, class: "name"}, p.name + (p.base ? ", base" : "")));
    });
    return svg;
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      const again = button.dataset.sort === sort.key;
      sort = {key: button.dataset.sort, way: again ? (sort.way === "asc" ? "desc" : "asc") : button.dataset.first};
      draw();
    });
  }
  for (const select of [...filters, $("plot-set")]) select.addEventListener("change", draw);
  for (const row of rows) {
    row.querySelector("input").addEventListener("change", (event) => {
      picked = event.target.checked ? [...picked, row.dataset.key].slice(-2) : picked.filter((key) => key !== row.dataset.key);
      pick();
      remember();
    });
  }
  $("reset").addEventListener("click", () => {
    for (const one of filters) one.value = "";
    sort = FIRST;
    draw();
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", restore);
  // Rows stay where they are: one that is put in its place again loses the keyboard's focus.
  window.addEventListener("resize", plots);
  restore();
})();
