"use strict";
// What the pages share: elements out of text alone, the state of a view in the address's fragment, a test set's data.
const slmbench = (() => {
  const arrived = new Map();

  function make(tag, text, name) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  }

  function state() { return new URLSearchParams(location.hash.slice(1)); }

  function keep(values) {
    const said = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
    try { history.replaceState(null, "", "#" + said); } catch { /* Too many at once for a browser: the next one says it. */ }
  }

  // Chooses `value` in a list if it has it, else leaves the list as it is.
  function choose(select, value) {
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  }

  function options(select, pairs, value) {
    select.replaceChildren(...pairs.map(([key, words]) => {
      const option = make("option", words);
      option.value = key;
      return option;
    }));
    choose(select, value);
  }

  // Called by a file of data itself; a page opened from a disk may load scripts and nothing else.
  function loaded(board) { arrived.set(board.key, board); }

  function load(key) {
    if (arrived.has(key)) return Promise.resolve(arrived.get(key));
    return new Promise((done, failed) => {
      const script = make("script");
      script.src = "data/" + encodeURIComponent(key) + ".js";
      script.onload = () => (arrived.has(key) ? done(arrived.get(key)) : failed(new Error("not read")));
      script.onerror = () => failed(new Error("not found"));
      document.head.append(script);
    });
  }

  // The data of the test set that is chosen: `filled(board)` when it is another than `now`. undefined where a later
  // choice has overtaken this one, null where nothing can be read, which is said.
  let asked = 0;
  async function chosen(now, what, filled) {
    const turn = ++asked, told = document.getElementById("state");
    told.textContent = "Reading…";
    try {
      const read = await load(document.getElementById("set").value);
      if (turn !== asked) return undefined;
      if (read !== now) filled(read);
      return read;
    } catch {
      told.textContent = `The ${what} of this test set cannot be read: is the site whole?`;
      return null;
    }
  }

  const percent = (value) => (100 * value).toFixed(1) + " %";
  const title = (entry) => entry.name + " (" + entry.about + ")";

  // What an entry says at each leaf: leaf (its index, or a path that the gold has not) -> JSON text, null where missing.
  function differing(entry, row) { return entry.changes[row] === null ? null : new Map(entry.changes[row]); }

  // The output as it was written.
  function output(board, entry, row) { return entry.out[row] === null ? board.gold[row] : entry.out[row]; }

  function verdict(board, entry, row) {
    const right = Boolean(entry.exact[row]);
    return make("span", (right ? "✓ " : "✗ ") + board.kinds[entry.kind[row]], right ? "good" : "bad");
  }

  function pre(text, label) {
    const box = make("pre", text, "text");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", label);
    return box;
  }

  function scroll(table, label) {
    const box = make("div", undefined, "scroll");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", label);
    box.append(table);
    return box;
  }

  function head(...words) {
    const line = make("tr");
    for (const word of words) {
      const cell = make("th", word);
      cell.scope = "col";
      line.append(cell);
    }
    const top = make("thead");
    top.append(line);
    return top;
  }

  function documentOf(board, row) {
    const text = board.text[row];
    if (text === null) return make("p", "The document is not part of slmbench; its gold and the answers are.", "lead");
    return pre(text, "Document " + board.ids[row]);
  }

  // The leaves of the gold beside what entries say, the same in all of them less loudly.
  function leavesTable(board, entries, names, row, onlyDiffering) {
    const said = entries.map((entry) => differing(entry, row)), gold = board.leaves[row], body = make("tbody");
    const keys = gold.map((_, index) => index);
    for (const map of said) if (map) for (const key of map.keys()) if (!keys.includes(key)) keys.push(key);
    for (const key of keys) {
      const [path, wanted] = typeof key === "number" ? gold[key] : [key, null];
      const changed = said.some((map) => map && map.has(key));
      if (onlyDiffering && !changed) continue;
      const line = make("tr", undefined, changed || !entries.length ? "" : "same"), name = make("th");
      // A long path may be broken behind its marks.
      for (const piece of path.split(/(?<=[._\]])/)) name.append(piece, make("wbr"));
      name.scope = "row";
      line.append(name, make("td", wanted === null ? "absent" : wanted));
      for (const map of said) {
        if (map === null) line.append(make("td", "–"));
        else if (map.has(key)) line.append(make("td", "✗ " + (map.get(key) === null ? "missing" : map.get(key)), "bad"));
        else line.append(make("td", (changed ? "✓ " : "") + (wanted === null ? "absent" : wanted), changed ? "good" : ""));
      }
      body.append(line);
    }
    const table = make("table", undefined, "leaves");
    table.append(head("Field", "Gold", ...names), body);
    return scroll(table, "Fields of " + board.ids[row]);
  }

  function raw(board, entry, row) {
    const box = make("details");
    box.append(make("summary", "Output of " + title(entry)), pre(output(board, entry, row), "Output"));
    return box;
  }

  return {
    make, state, keep, choose, options, loaded, chosen, percent, title, verdict, scroll, head, documentOf,
    leavesTable, raw,
  };
})();
