"use strict";
(() => {
  const {make, state, keep, choose, options, chosen, percent, title, verdict, scroll, head, documentOf, leavesTable, raw} = slmbench;
  const $ = (id) => document.getElementById(id), PAGE = 20;
  let board = null, rows = [], drawn = 0;

  const SHOWN = {
    differ: (a, b, i) => a.exact[i] !== b.exact[i],
    a: (a, b, i) => a.exact[i] && !b.exact[i],
    b: (a, b, i) => !a.exact[i] && b.exact[i],
    answers: (a, b, i) => a.out[i] !== b.out[i],
    wrong: (a, b, i) => !a.exact[i] && !b.exact[i],
    all: () => true,
  };

  function sides() { return ["a", "b"].map((id) => board.entries.find((entry) => entry.key === $(id).value)); }

  async function changed(said = new URLSearchParams()) {
    const read = await chosen(board, "answers", (found) => {
      const pairs = found.entries.map((entry) => [entry.key, title(entry)]);
      options($("a"), pairs, pairs[Math.min(1, pairs.length - 1)][0]);
      options($("b"), pairs, pairs[0][0]);
    });
    if (read === undefined) return;
    board = read;
    $("figuresbox").hidden = $("rowsbox").hidden = board === null;
    for (const id of ["a", "b", "show"]) choose($(id), said.get(id));
    draw();
  }

  function draw() {
    if (!board) return;
    const [a, b] = sides();
    keep({set: board.key, a: a.key, b: b.key, show: $("show").value === "differ" ? "" : $("show").value});
    $("figuresbox").hidden = $("rowsbox").hidden = a === b;
    $("state").textContent = a === b
      ? (board.entries.length > 1 ? "Choose two different rows." : "Only one row answered this test set.")
      : "A is " + title(a) + ". B is " + title(b) + ".";
    if (a !== b) {
      $("figures").replaceChildren(...figures(slmbench.stats.compare(a, b)));
      rows = board.ids.map((_, i) => i).filter((i) => SHOWN[$("show").value](a, b, i));
      drawn = 0;
      $("rows").replaceChildren();
      more();
    }
  }

  const signed = (value, digits, scale) => (value < 0 ? "−" : "+") + (Math.abs(value) * scale).toFixed(digits);
  const chance = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

  function figures(found) {
    const table = make("table"), body = make("tbody");
    const line = (name, show, part, digits, scale, how) => {
      const row = make("tr"), label = make("th", name);
      label.scope = "row";
      row.append(label, ...[
        show(part.a), show(part.b), signed(part.difference, digits, scale),
        signed(part.low, digits, scale) + " … " + signed(part.high, digits, scale), chance(part.p), how,
      ].map((text) => make("td", text)));
      body.append(row);
    };
    const rounds = "bootstrap over documents, " + slmbench.stats.RESAMPLES + " resamples, seed " + slmbench.stats.SEED;
    line("JSONExact", percent, found.exact, 1, 100, "McNemar’s exact test; interval of Agresti and Min");
    line("JSONExact", percent, {...found.exact, ...found.exactBootstrap}, 1, 100, rounds);
    line("FieldF1 (micro)", (value) => value.toFixed(3), found.f1, 3, 1, rounds);
    table.append(head("Measure", "A", "B", "B − A", "95 % interval", "p", "How"), body);
    const counts = make("p", "Of " + found.n + " documents " + found.both + " are right in both, " + found.lost +
      " in A only, " + found.gained + " in B only, " + found.neither + " in neither.");
    counts.id = "counts";
    return [counts, scroll(table, "Figures of A and B")];
  }

  function more() {
    const [a, b] = sides(), next = rows.slice(drawn, drawn + PAGE);
    $("rows").append(...next.map((i) => pair(a, b, i)));
    drawn += next.length;
    $("shown").textContent = rows.length ? "The first " + drawn + " of " + rows.length + " documents." : "There are none.";
    if (drawn === rows.length && rows.length) $("shown").textContent = "All " + rows.length + " of them.";
    $("more").hidden = drawn === rows.length;
  }

  function pair(a, b, i) {
    const box = make("article", undefined, "case"), said = make("p", undefined, "verdicts"), wide = make("div", undefined, "sides");
    said.append("A ", verdict(board, a, i), " · B ", verdict(board, b, i), " · ",
      [board.schema_id[i], board.complexity[i], board.style[i]].join(", "));
    const left = make("div"), right = make("div");
    left.append(documentOf(board, i));
    const whole = make("details");
    whole.append(make("summary", "All fields"), leavesTable(board, [a, b], ["A", "B"], i, false));
    right.append(leavesTable(board, [a, b], ["A", "B"], i, true), whole, raw(board, a, i), raw(board, b, i));
    wide.append(left, right);
    box.append(make("h3", board.ids[i]), said, wide);
    return box;
  }

  $("set").addEventListener("change", () => changed());
  for (const id of ["a", "b", "show"]) $(id).addEventListener("change", draw);
  $("swap").addEventListener("click", () => {
    const [a, b] = ["a", "b"].map((id) => $(id).value);
    $("a").value = b;
    $("b").value = a;
    draw();
  });
  $("more").addEventListener("click", more);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  function begin() {
    choose($("set"), state().get("set"));
    changed(state());
  }
  window.addEventListener("hashchange", begin);
  begin();
})();
