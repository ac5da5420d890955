"use strict";
(() => {
  const {make, state, keep, choose, options, chosen, title, verdict, documentOf, leavesTable, raw} = slmbench;
  const $ = (id) => document.getElementById(id);
  let board = null, found = [], at = 0;

  async function changed(said = new URLSearchParams()) {
    const read = await chosen(board, "documents", ({entries}) => {
      const pairs = entries.map((entry) => [entry.key, title(entry)]);
      options($("wrong"), [["", "all documents"], ["any", "any row"], ["every", "every row"], ...pairs], "");
    });
    if (read === undefined) return;
    board = read;
    $("browse").hidden = board === null;
    choose($("wrong"), said.get("wrong"));
    search(said.get("id"));
  }

  function search(id) {
    if (!board) return;
    const query = $("query").value.toLowerCase(), wrong = $("wrong").value;
    const kept = id || (found.length ? board.ids[found[at]] : "");
    found = board.ids.map((_, i) => i).filter((i) => matches(i, query) && isWrong(i, wrong));
    $("list").replaceChildren(...found.map(item));
    $("browse").hidden = found.length === 0;
    $("state").textContent = found.length + " of " + board.ids.length + " documents.";
    at = Math.max(0, found.findIndex((i) => board.ids[i] === kept));
    show();
  }

  function matches(i, query) {
    if (!query) return true;
    const texts = [board.ids[i], board.text[i] || "", board.gold[i], ...board.entries.map((entry) => entry.out[i] || "")];
    return texts.some((text) => text.toLowerCase().includes(query));
  }

  function isWrong(i, wrong) {
    if (wrong === "any") return board.entries.some((entry) => !entry.exact[i]);
    if (wrong === "every") return board.entries.every((entry) => !entry.exact[i]);
    const entry = board.entries.find((one) => one.key === wrong);
    return !entry || !entry.exact[i];
  }

  function item(i, place) {
    const line = make("li"), button = make("button"), right = board.entries.filter((entry) => entry.exact[i]).length;
    button.type = "button";
    button.append(make("span", board.ids[i]), make("small", right + "/" + board.entries.length + " right"));
    button.addEventListener("click", () => { at = place; show(); });
    line.append(button);
    return line;
  }

  function show() {
    const i = found[at];
    keep({set: board.key, q: $("query").value, wrong: $("wrong").value, id: i === undefined ? "" : board.ids[i]});
    if (i === undefined) return;
    [...$("list").querySelectorAll("button")].forEach((button, place) => {
      if (place === at) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      if (place === at) $("list").scrollTop = button.offsetTop - $("list").offsetTop - 60;
    });
    $("place").textContent = at + 1 + " of " + found.length;
    $("previous").disabled = at === 0;
    $("next").disabled = at === found.length - 1;
    const labels = make("p", [board.schema_id[i], board.complexity[i], board.style[i]].join(" · "), "lead");
    $("document").replaceChildren(make("h2", board.ids[i]), labels, documentOf(board, i), make("h3", "Gold"),
      leavesTable(board, [], [], i, false), make("h3", "Answers"), ...board.entries.map((entry) => answer(entry, i)));
  }

  function answer(entry, i) {
    const box = make("div", undefined, "answer"), name = make("h4", title(entry) + " "), changes = entry.changes[i];
    name.append(verdict(board, entry, i));
    box.append(name);
    if (changes && changes.length) box.append(leavesTable(board, [entry], ["Answer"], i, true));
    box.append(raw(board, entry, i));
    return box;
  }

  function step(by) {
    if (!found.length) return;
    at = Math.min(found.length - 1, Math.max(0, at + by));
    show();
  }

  document.addEventListener("keydown", (event) => {
    // In fields and in boxes that scroll sideways the arrows have their own use.
    const busy = event.target.closest("input, select, textarea, .scroll");
    if (busy || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else return;
    event.preventDefault();
  });
  $("set").addEventListener("change", () => { found = []; changed(); });
  $("wrong").addEventListener("change", () => search());
  $("query").addEventListener("input", () => search());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  function begin() {
    choose($("set"), state().get("set"));
    $("query").value = state().get("q") || "";
    changed(state());
  }
  window.addEventListener("hashchange", begin);
  begin();
})();
