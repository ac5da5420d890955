"""A page that is one file and opens offline: its policy, its style in light and dark, and lists that are filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slmbench.publish.html import Markup, el, join

CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(title: str, *sections: str) -> str:
    """The whole page, of its sections."""
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'),
        el("title", title),
        el("style", Markup(STYLE)),
    )
    body = el("body", el("main", *sections), el("script", Markup(SCRIPT)))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{body}</html>\n'


def listing(
    title: str, said: str, names: Mapping[str, str], facets: Sequence[Mapping[str, str]], entries: Sequence[Markup]
) -> Markup:
    """A section of entries that can be filtered; a page has one at most.

    `facets` are what each entry is selected by, as `entry` was given it, and `names` what the selects are called.
    """
    selects = [
        el(
            "label",
            f"{words} ",
            el(
                "select",
                el("option", "all", value=""),
                *(el("option", value) for value in sorted({part[key] for part in facets})),
                data_key=key,
            ),
        )
        for key, words in names.items()
    ]
    shown_now = el("span", el("output", str(len(entries)), id="shown"), " shown.")
    return el(
        "section",
        el("h2", title),
        el("p", said, " ", shown_now),
        el("form", *selects, id="filters"),
        el("div", *entries, id="entries"),
    )


def entry(facet: Mapping[str, str], summary: Markup, *content: str) -> Markup:
    """One entry of a `listing`, closed until it is asked for."""
    data: dict[str, str | float] = {f"data_{key}": value for key, value in facet.items()}
    return el("details", el("summary", summary), *content, class_="entry", **data)


STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--quiet:#66707c;--rule:#e2e6ea;--soft:#f6f7f9;
--base:#9aa5b1;--tuned:#0f766e;--wrong:#b42318;--right:#17663a;--gpu:#b45309;
--r1:#0f766e;--r2:#b45309;--r3:#2563eb;--r4:#a21caf;--r5:#64748b;--r6:#667300}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--quiet:#98a2ad;--rule:#2c3238;--soft:#1c2024;
--base:#6b7683;--tuned:#2bb5a6;--wrong:#ff8a7a;--right:#6fd79a;--gpu:#f0a14a;
--r1:#2bb5a6;--r2:#f0a14a;--r3:#7aa2ff;--r4:#e384f0;--r5:#94a3b8;--r6:#c5cf5a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.5rem 0 .75rem}
h3{font-size:.8rem;margin:.9rem 0 .25rem;color:var(--quiet)}
header p,.quiet{color:var(--quiet);margin:.25rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.75rem;margin-top:1.25rem}
.tile{border:1px solid var(--rule);border-radius:.5rem;padding:.9rem 1rem;display:flex;flex-direction:column;
font-size:.85rem}
.tile strong{font-size:2rem;line-height:1.25;color:var(--tuned)}
.scroll{overflow-x:auto;margin:.5rem 0}table{border-collapse:collapse;width:100%;font-size:.87rem}
th,td{padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--rule);vertical-align:top;text-align:left}
th{color:var(--quiet);font-weight:500;white-space:nowrap}td{min-width:5rem;overflow-wrap:anywhere}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:1.5rem;align-items:start}
details{margin:.5rem 0}summary{cursor:pointer;padding:.25rem 0}
figure{margin:0}figcaption{font-size:.87rem;color:var(--quiet)}
.key{margin-left:.9rem}.key i{display:inline-block;width:.7em;height:.7em;margin-right:.35em;border-radius:2px}
svg{width:100%;height:auto;display:block}svg text{font-size:10px;fill:var(--quiet)}
.end{text-anchor:end}.mid{text-anchor:middle}.grid{stroke:var(--rule)}
.line{fill:none;stroke-width:1.6;stroke:var(--tuned)}.line.train,.line.machine,.line.free{stroke:var(--base)}
.line.gpu{stroke:var(--gpu)}
.box.tuned,.box.model,.dot{fill:var(--tuned)}.box.base{fill:var(--base)}.dot.train,.dot.machine,.dot.free{fill:var(--base)}
.dot.gpu{fill:var(--gpu)}i.gpu{background:var(--gpu)}
i.base,i.train,i.machine,i.free,i.calibrated{background:var(--base)}
i.tuned,i.model,i.validation,i.run,i.cpu,i.values{background:var(--tuned)}
.line.calibrated{stroke:var(--base);stroke-dasharray:4 3}.dot.calibrated{display:none}
.line.documents{stroke:var(--gpu)}.dot.documents{fill:var(--gpu)}i.documents{background:var(--gpu)}
i.r1{background:var(--r1)}i.r2{background:var(--r2)}i.r3{background:var(--r3)}i.r4{background:var(--r4)}
i.r5{background:var(--r5)}i.r6{background:var(--r6)}
.tile.r1 strong{color:var(--r1)}.tile.r2 strong{color:var(--r2)}.tile.r3 strong{color:var(--r3)}
.tile.r4 strong{color:var(--r4)}.tile.r5 strong{color:var(--r5)}.tile.r6 strong{color:var(--r6)}
.line.r1{stroke:var(--r1)}.dot.r1{fill:var(--r1)}.line.r2{stroke:var(--r2)}.dot.r2{fill:var(--r2)}.line.r3{stroke:var(--r3)}.dot.r3{fill:var(--r3)}
.line.r4{stroke:var(--r4)}.dot.r4{fill:var(--r4)}.line.r5{stroke:var(--r5)}.dot.r5{fill:var(--r5)}.line.r6{stroke:var(--r6)}.dot.r6{fill:var(--r6)}
th .key,h3 .key,summary .key{margin:0}td .quiet{white-space:nowrap}
.bar{display:grid;grid-template-columns:minmax(5rem,11rem) 1fr;gap:.75rem;padding:.3rem 0;font-size:.85rem}
.label{overflow-wrap:anywhere}.pair{display:grid;grid-template-columns:1fr 7.5rem;gap:.6rem;align-items:center}
.track{position:relative;height:.6rem;background:var(--soft);border-radius:2px}
.track i{position:absolute;inset:0 auto 0 0;border-radius:2px}
.track b{position:absolute;top:calc(50% - .5px);height:1px;background:var(--ink)}
.note{color:var(--quiet);font-size:.8rem;white-space:nowrap}
form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;margin:.5rem 0}label{max-width:100%}select{font:inherit;max-width:100%}
.entry{border-top:1px solid var(--rule);margin:0;padding:.2rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.6rem .75rem;border-radius:.4rem;
margin:0;max-height:24rem;overflow-y:auto;font-size:.82rem}
ins,del{text-decoration:none}ins{color:var(--right)}del{color:var(--wrong)}
"""

SCRIPT = """
const form = document.getElementById("filters"), count = document.getElementById("shown");
const attribute = key => "data-" + key.replace("_", "-");
form.addEventListener("change", () => {
  const chosen = [...form.querySelectorAll("select")].filter(select => select.value);
  let shown = 0;
  for (const entry of document.querySelectorAll(".entry")) {
    entry.hidden = !chosen.every(select => entry.getAttribute(attribute(select.dataset.key)) === select.value);
    shown += !entry.hidden;
  }
  count.textContent = shown;
});
form.addEventListener("submit", event => event.preventDefault());
"""
