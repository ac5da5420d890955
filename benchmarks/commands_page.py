"""docs/commands.md: what every verb takes, out of the parser itself.

The page has a section for each verb, with words and an example by hand; what stands between `<!-- help: VERB -->` and
`<!-- help end -->` is written by this script, so that it cannot differ from what `slmbench VERB --help` says.

    python benchmarks/commands_page.py --write docs/commands.md
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from slmbench.cli import parser
from slmbench.core import SlmbenchError
from slmbench.files import write_atomic
from slmbench.publish.tables import cell

END = "<!-- help end -->"
_PART = re.compile(rf"<!-- help: ([a-z -]+) -->\n.*?{END}", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: print what every verb takes, or with --write put it into its place in a page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", type=Path, metavar="FILE", help="a page with a section for each verb")
    path = options.parse_args(argv).write
    if path is None:
        print("\n\n".join(f"## {name}\n\n{helped(verb, says)}" for name, verb, says in verbs(parser())))
        return 0
    try:
        write_atomic(path, filled(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SlmbenchError) as error:
        options.error(f"{path}: {error}")
    return 0


def verbs(top: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """(name, parser, what it does) of every verb that does something: `run`, `data build`."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            listed = {part.dest: str(part.help) for part in action._choices_actions}
            for name, verb in action.choices.items():
                says = verb.description or f"{listed[name][0].upper()}{listed[name][1:]}."
                deeper = list(verbs(verb, f"{before}{name} "))
                yield from deeper or [(before + name, verb, says)]


def filled(text: str) -> str:
    """A page with what every verb takes. Raises ValueError where it has no section for a verb, or one too many."""
    found = {name: helped(verb, says) for name, verb, says in verbs(parser())}
    names = [match[1] for match in _PART.finditer(text)]
    if missing := sorted(found.keys() - set(names)):
        raise ValueError(f"no section for {', '.join(missing)}; add one with an example, <!-- help: VERB --> and {END}")
    if unknown := sorted(set(names) - found.keys()):
        raise ValueError(f"sections for {', '.join(unknown)}, which are no verbs; take them away")
    return _PART.sub(lambda match: f"<!-- help: {match[1]} -->\n\n{found[match[1]]}\n\n{END}", text)


def helped(verb: argparse.ArgumentParser, says: str) -> str:
    """What a verb does, and a table of what it takes."""
    actions = [action for action in verb._actions if not isinstance(action, argparse._HelpAction)]
    rows = [f"| {called(action)} | {cell(told(action))} |" for action in actions]
    return "\n".join([*described(says), *(["", "| takes | |", "|---|---|", *rows] if rows else [])])


def described(text: str) -> Iterator[str]:
    """Sentences as they are; indented lines, `name  what`, as a list."""
    in_list = False
    for line in text.splitlines():
        if line.startswith("  ") and not in_list:
            yield ""
        if in_list := line.startswith("  "):
            name, _, what = line.strip().partition(" ")
            yield f"- `{name}`: {cell(what)}"
        else:
            yield cell(line)


def called(action: argparse.Action) -> str:
    """How an option or argument is written: `--out DIR`, `FILE ...`."""
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    if not action.option_strings:
        again = {"*": f"[{name} ...]", "+": f"{name} ...", "?": f"[{name}]"}
        return f"`{cell(again.get(str(action.nargs), name))}`"
    if action.nargs == 0:
        value = ""
    elif action.choices is not None and action.metavar is None:
        value = " " + "|".join(map(str, action.choices))
    else:
        value = f" {name if action.metavar else name.upper()}"
    return ", ".join(f"`{cell(option + value)}`" for option in action.option_strings)


def told(action: argparse.Action) -> str:
    """Its help, and its default where the help does not say it."""
    says = action.help or ""
    if "default" in says or not isinstance(action.default, int | float | str) or isinstance(action.default, bool):
        return says
    return f"{says} (default: {action.default})".strip()


if __name__ == "__main__":
    sys.exit(main())
