"""Builds EdgeFuncCall's splits out of `functions.json`: seeded, without duplicates, the same bytes on every machine.

In `train_large` several cases in a row are offered the same functions: what they begin with is computed once where they
are trained on together.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.data import normalised
from slmbench.files import write_atomic
from slmbench.tasks import LARGE
from slmbench.tasks.edge_func_call import ASK, TASK, functions
from slmbench.tasks.edge_func_call.say import (
    Function,
    Said,
    draw,
    droppable,
    missing,
    ordered,
    parameter,
    request,
)

VERSION = TASK.version
# How many of 500 cases are of a kind, in the frozen splits.
KINDS = {
    "single": 60, "choose": 110, "parallel": 80, "none": 70, "missing": 60, "answered": 30, "corrected": 40,
    "corrected_twice": 25, "recovered": 25,
}  # fmt: skip
# The same for `train_large`, which has more of what is hard to learn.
LARGE_KINDS = {
    "choose": 160, "parallel": 100, "none": 80, "missing": 120, "answered": 30, "corrected": 40, "corrected_twice": 30,
    "recovered": 30,
}  # fmt: skip
SIZES = {"train": 2000, "test": 500}
"""Of the splits that are frozen."""
LARGE_SIZE = 4000
TOGETHER = 8
"""Cases of `train_large` that are offered the same."""
# The part of each list of values that a split draws from: a quarter is common to all. `train_large` has more.
VALUES = {"train": slice(0, 18), LARGE: slice(0, 18), "test": slice(12, 24)}
Call = dict[str, Any]
Case = tuple[str, list[str], list[Call]]
"""(text, the functions offered, the calls)"""

_JOINS = (". Also, {}", ". And {}", "\n{}", ". Oh, and {}", "; then {}", ". After that, {}", " and also: {}")
_ASKS = ("I still need this: {}.", "Could you tell me the following? {}.", "One thing is missing: {}.", "Sure. {}?")
_ANSWERS = ("{}", "{}, please", "It's {}.", "Make it {}.", "{} would be good", "let's say {}", "oh sorry, {}")
_READY = ("Shall I go ahead?", "Is that right?", "I have noted that.", "All set, unless you want to change something.")
_CORRECTIONS = (
    "No, {new}, not {old}.", "Sorry, make that {new} instead of {old}.", "Change {old} to {new}, please.",
    "wait, {old} is wrong, I meant {new}", "{new} rather than {old}, actually.", "Hm, let's take {new} and not {old}.",
)  # fmt: skip
_FAILURES = ("That did not work: {} was refused.", "Error: {} is not available.", "I'm afraid {} cannot be used here.")
_RETRIES = ("Then take {}.", "All right, try {}.", "Use {} instead, then.", "ok {} then")
_WITHDRAWN = (
    "Actually, never mind.", "Forget it, I'll do it myself.", "No, leave it, please.", "stop, I changed my mind",
    "Don't do it after all.",
)  # fmt: skip
_CHAT = {
    "train": (
        "Thanks, you've been a great help today.", "Good morning! How are you?", "Who built you, if I may ask?",
        "tell me something that makes me laugh", "I'm so tired of Mondays.", "What is the meaning of life?",
        "Do you think it is rude to be five minutes late?", "My cat just looked at me as if I owed him money.",
        "Explain to me in one sentence why the sky is blue.", "ok", "Never mind, I have what I need.",
        "lol that was quick", "Which is heavier, a pound of feathers or a pound of lead?",
        "I love the way you put that.", "Say something in a pirate's voice.",
        "What's your opinion on pineapple pizza?", "You misunderstood me, but it's fine.",
        "Are you a person or a machine?", "Write me a haiku about rain.", "How many bones does a grown-up have?",
    ),
    LARGE: (
        "Hi!", "hey, you awake?", "Goodbye for today.", "Perfect, thank you.", "no thanks", "yes I know", "haha",
        "What's your name?", "Where do you come from?", "How old are you, actually?", "Can you think for yourself?",
        "Tell me a story about a dragon.", "Do you dream at night?", "I feel a bit lonely tonight.",
        "my dog ate a whole cheese today", "Why do cats purr?", "Who painted the Mona Lisa?",
        "How far away is the moon?", "Is it normal to talk to plants?", "What do you call a fish with no eyes?",
        "You're cleverer than my brother-in-law.", "That was not funny.", "I passed my driving test at last!",
        "what is the capital of australia", "How do you spell rhythm?", "Who won the war of the roses?",
        "Let me think about it for a while.", "We will see.", "Can a penguin fly?", "I had soup for lunch.",
        "Count backwards from five.", "Give me advice on how to be happier.", "why is everyone so rude today",
        "Guess what I'm holding in my hand.", "Nothing more, that will do.", "Are cucumbers fruit or vegetable?",
        "My grandmother says hello.", "What rhymes with silver?", "Explain gravity to a child.", "Sorry, wrong window.",
        "That is just what I needed.", "Great, that sorted it.", "Exactly right, you star.", "wonderful wonderful",
        "ta very much", "Couldn't have done it better myself.", "Spot on.", "Well, that went smoothly!", "much obliged",
        "Oh good, I was worried for a moment.", "see you tomorrow then", "Good night, sleep tight.", "hmm", "I see.",
        "Right you are.", "whatever you say", "Fair enough.", "You must get tired of me.", "Do you have feelings?",
        "Have you ever made a mistake you regret?", "What would you do if you were me?", "are bats blind",
        "Is it true that goldfish forget everything?", "Why do we yawn when others do?", "who invented the fork",
        "What was life like before electricity?", "My uncle thinks computers are a fad. Your view?",
        "Recite a nursery rhyme for me.", "Hum something cheerful.", "Tell me a riddle.", "What rhymes with month?",
        "say hello to your makers", "I've had hiccups since breakfast.", "My foot has gone to sleep again.",
        "It's raining cats and dogs out here.", "the neighbours are shouting at each other", "I burnt my toast.",
        "Nobody ever laughs at my jokes.", "Is a hot dog a sandwich?", "How many legs has a lobster?",
        "what does serendipity mean", "Which planet is the largest?", "Was Shakespeare a real person?",
        "I only wanted to hear your voice.", "Testing, testing, one two three.", "oops, pocket call",
        "Don't mind me, I'm thinking aloud.", "I forgot what I was going to say.", "You sound different today.",
        "Can robots be funny?", "What's the longest word you know?", "Give me three reasons to get out of bed.",
    ),
    "test": (
        "That's all for now, cheers.", "hello there", "Were you ever wrong about something?",
        "I can't stop sneezing, sorry.", "Give me a rhyme for orange.", "What did people do before telephones?",
        "Brilliant, exactly what I was after.", "My neighbour says robots will take over. What do you say?",
        "is a tomato a fruit", "Sing me a lullaby.",
    ),
}  # fmt: skip
_CHATTY, _DROPPED = 0.2, 0.15
"""Shares of the cases where nothing fits: small talk; something that is wanted no longer."""


def build(split: str, n: int | None = None) -> list[dict[str, Any]]:
    """The rows {id, style, text, tools, target} of a split. The same arguments give the same rows.

    Raises BadInput for an unknown split or for n below 1.
    """
    if split not in VALUES:
        raise BadInput(f"edge_func_call: no split {split!r}: take one of {', '.join(VALUES)}")
    if n is not None and n < 1:
        raise BadInput(f"edge_func_call: {n} rows of {split} were asked for: ask for at least 1")
    wanted = n or SIZES.get(split, LARGE_SIZE)
    shares = LARGE_KINDS if split == LARGE else KINDS
    total = sum(shares.values())
    kinds = [kind for kind, share in shares.items() for _ in range(-(-share * wanted // total))]
    random.Random(f"{VERSION}/{split}/kinds").shuffle(kinds)
    seen = {row["text"] for row in build("test")} if split != "test" else set()
    seen = {normalised(text) for text in seen}
    rows: list[dict[str, Any]] = []
    maker, turn = Maker(split), 0
    while len(rows) < wanted:
        kind = kinds[len(rows)]
        if split == LARGE and len(rows) % TOGETHER == 0:
            maker.offer_together(turn)
        turn += 1
        try:
            text, tools, calls = maker.make(kind, turn - 1)
        except Unsayable:  # of none that is offered is enough said
            maker.offer_together(turn)
            continue
        # Small talk may come again: there is no other way to say "ok".
        if normalised(text) in seen and calls:
            continue
        seen.add(normalised(text))
        name = f"{split}-{len(rows) + 1:04d}"
        rows.append({"id": name, "style": kind, "text": text, "tools": tools, "target": calls})
    return rows


def functions_of(split: str) -> dict[str, Function]:
    """Name -> the function with the `templates` of a split, and in its parameters the `values`."""
    more: dict[str, Any] = {}
    if split == LARGE:
        more = json.loads((Path(__file__).parent / "train_large.json").read_text(encoding="utf-8"))
    found: dict[str, Function] = {}
    for name, function in functions().items():
        own = more.get(name, {"templates": function.get(split), "values": {}})
        parameters = _with_values({"properties": function["parameters"]}, VALUES[split], own["values"])["properties"]
        found[name] = {**function, "templates": own["templates"], "parameters": parameters}
    return found


def _with_values(schema: Function, part: slice, more: Mapping[str, list[str]], path: str = "") -> dict[str, Any]:
    """A schema whose `values` are a part of what they were, and more by their dotted path."""
    changed = dict(schema)
    if "values" in schema:
        changed["values"] = [*schema["values"][part], *more.get(path, ())]
    if "properties" in schema:
        inner = {
            key: _with_values(each, part, more, f"{path}.{key}".lstrip("."))
            for key, each in schema["properties"].items()
        }
        changed["properties"] = inner
    return changed


def write(split: str, folder: Path, n: int | None = None) -> Path:
    """Write a split as FOLDER/SPLIT.jsonl and return the file."""
    path = folder / f"{split}.jsonl"
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in build(split, n))
    write_atomic(path, "".join(lines).encode("utf-8"))
    return path


class Unsayable(Exception):
    """A case cannot be made of the functions that are offered."""


class Maker:
    """Makes the cases of a split, the functions taking turns."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.all = functions_of(split)
        self.names = sorted(self.all)
        random.Random(f"{VERSION}/{split}/functions").shuffle(self.names)
        self.offered: list[str] = []
        """What every case is offered until that changes; nothing where each has an offer of its own."""

    def offer_together(self, turn: int) -> None:
        """Let the cases from `turn` on be offered the same: 1 to 8 functions, half of them from one domain."""
        chance = random.Random(f"{VERSION}/{self.split}/{turn}/offer")
        first, self.offered = self.all[chance.choice(self.names)], []
        self.offered = [first["name"]] if chance.random() < 0.1 else self._offer([first], chance)

    def make(self, kind: str, turn: int) -> Case:
        """The case number `turn`, which is of a kind."""
        chance = random.Random(f"{VERSION}/{self.split}/{turn}")
        function = self.all[chance.choice(self.offered) if self.offered else self.names[turn % len(self.names)]]
        makers: dict[str, Callable[[Function, random.Random], Case]] = {
            "single": self._single, "choose": self._choose, "parallel": self._parallel, "none": self._none,
            "missing": self._missing, "answered": self._answered, "recovered": self._recovered,
            "corrected": lambda f, c: self._corrected(f, c, 1),
            "corrected_twice": lambda f, c: self._corrected(f, c, 2),
        }  # fmt: skip
        return makers[kind](function, chance)

    def _single(self, function: Function, chance: random.Random) -> Case:
        said = self._said(function, chance)
        return said.text, [function["name"]], [_call(function, said)]

    def _choose(self, function: Function, chance: random.Random) -> Case:
        said = self._said(function, chance)
        return said.text, self._offer([function], chance), [_call(function, said)]

    def _parallel(self, function: Function, chance: random.Random) -> Case:
        pool = self.offered or self.names
        others = [self.all[name] for name in (chance.sample(pool, 2) if len(pool) > 1 else pool * 2)]
        asked = [function, *others][: chance.choice((2, 2, 2, 3))]
        if chance.random() < 0.25:
            asked = [function, function]
        parts = [self._said(each, chance) for each in asked]
        text = parts[0].text
        for part in parts[1:]:
            text = joined(text, chance.choice(_JOINS), part.text)
        calls = [_call(each, part) for each, part in zip(asked, parts, strict=True)]
        return text, self._offer(asked, chance), calls

    def _none(self, function: Function, chance: random.Random) -> Case:
        roll = chance.random()
        if roll < _CHATTY:
            return chance.choice(_CHAT[self.split]), self._offer([function], chance), []
        said = self._said(function, chance)
        if roll < _CHATTY + _DROPPED:
            text = dialogue(said.text, chance.choice(_READY), chance.choice(_WITHDRAWN))
            return text, self._offer([function], chance), []
        if self.offered:
            return self._said(self._foreign(chance), chance).text, self.offered, []
        return said.text, self._others(function, chance), []

    def _missing(self, function: Function, chance: random.Random) -> Case:
        said = self._incomplete(function, chance)
        ask = {"name": ASK, "arguments": {"missing": missing(function, said.arguments)}}
        return said.text, self._offer([function], chance), [ask]

    def _answered(self, function: Function, chance: random.Random) -> Case:
        said = self._incomplete(function, chance)
        absent = missing(function, said.arguments)
        wanted = [function["parameters"][name]["description"].rstrip(".") for name in absent]
        arguments, answers = dict(said.arguments), []
        for name in absent:
            schema = function["parameters"][name]
            if schema.get("type") == "object":
                parts = {part: draw(schema["properties"][part], chance) for part in schema["required"]}
                arguments[name] = {**arguments.get(name, {}), **{part: value for part, (value, _) in parts.items()}}
                answers.append(", ".join(text for _, text in parts.values()))
            else:
                arguments[name], text = draw(schema, chance, set(said.surfaces.values()))
                answers.append(text)
        asked = chance.choice(_ASKS).format("; ".join(wanted))
        reply = chance.choice(_ANSWERS).format(" and ".join(answers)) if len(answers) == 1 else ", ".join(answers)
        call = {"name": function["name"], "arguments": ordered(function, arguments)}
        return dialogue(said.text, asked, reply), self._offer([function], chance), [call]

    def _corrected(self, function: Function, chance: random.Random, times: int) -> Case:
        function, said, arguments, slots = self._changeable(function, chance, times)
        turns = [said.text]
        for slot in slots:
            new, text = draw(parameter(function, slot), chance, set(said.surfaces.values()))
            _put(arguments, slot, new)
            turns += [chance.choice(_READY), chance.choice(_CORRECTIONS).format(old=said.surfaces[slot], new=text)]
        call = {"name": function["name"], "arguments": arguments}
        return dialogue(*turns), self._offer([function], chance), [call]

    def _recovered(self, function: Function, chance: random.Random) -> Case:
        function, said, arguments, (slot,) = self._changeable(function, chance, 1)
        new, text = draw(parameter(function, slot), chance, set(said.surfaces.values()))
        _put(arguments, slot, new)
        turns = (said.text, chance.choice(_FAILURES).format(said.surfaces[slot]), chance.choice(_RETRIES).format(text))
        call = {"name": function["name"], "arguments": arguments}
        return dialogue(*turns), self._offer([function], chance), [call]

    def _said(self, function: Function, chance: random.Random) -> Said:
        """A request with all that is required."""
        return request(function, chance.choice(function["templates"]), chance)

    def _incomplete(self, function: Function, chance: random.Random) -> Said:
        """A request without something that is required."""
        templates = [t for t in function["templates"] if droppable(function, t)]
        template = chance.choice(templates)
        places = droppable(function, template)
        drop = chance.sample(places, 2 if len(places) > 1 and chance.random() < 0.3 else 1)
        return request(function, template, chance, drop)

    def _changeable(
        self, function: Function, chance: random.Random, times: int
    ) -> tuple[Function, Said, dict[str, Any], list[str]]:
        """(a function, a request, a copy of its arguments to change, that many slots of it that can be named again): of
        this function, or of another where too little is ever said of it."""
        for _ in range(300):
            said = self._said(function, chance)
            texts = list(said.surfaces.values())
            slots = [
                slot
                for slot, text in said.surfaces.items()
                if texts.count(text) == 1 and len(parameter(function, slot).get("enum", "more")) > 2
            ]
            if len(slots) >= times:
                return function, said, json.loads(json.dumps(said.arguments)), chance.sample(slots, times)
            if chance.random() < 0.1:
                function = self.all[chance.choice(self.offered or self.names)]
        raise Unsayable(f"no template says {times} things that can be changed")

    def _offer(self, wanted: list[Function], chance: random.Random) -> list[str]:
        """Those that are wanted among 2 to 8, half of the others from their domain, in any order; or what all are."""
        if self.offered:
            return self.offered
        names = list(dict.fromkeys(function["name"] for function in wanted))
        count = max(len(names) + 1, chance.choice((2, 3, 3, 4, 4, 5, 6, 8)))
        domains = {function["domain"] for function in wanted}
        others = [name for name in self.names if name not in names]
        chance.shuffle(others)
        near = [name for name in others if self.all[name]["domain"] in domains][: (count - len(names) + 1) // 2]
        offered = [*names, *near, *(name for name in others if name not in near)][:count]
        chance.shuffle(offered)
        return offered

    def _foreign(self, chance: random.Random) -> Function:
        """A function that shares no word of its name with any that is offered."""
        words = {word for name in self.offered for word in name.split("_")}
        return self.all[chance.choice([name for name in self.names if not words & set(name.split("_"))])]

    def _others(self, function: Function, chance: random.Random) -> list[str]:
        """1 to 6 functions of which none fits: of its own domain none that shares a word of its name."""
        words = set(function["name"].split("_"))
        own = [n for n in self.names if self.all[n]["domain"] == function["domain"] and not words & set(n.split("_"))]
        far = [n for n in self.names if self.all[n]["domain"] != function["domain"] and not words & set(n.split("_"))]
        count = chance.choice((1, 2, 3, 4, 5, 6))
        near = chance.sample(own, min(len(own), count // 3))
        offered = [*near, *chance.sample(far, count - len(near))]
        chance.shuffle(offered)
        return offered


def dialogue(*turns: str) -> str:
    """Turns of a user and an assistant, the user's first."""
    return "\n".join(f"{('User', 'Assistant')[i % 2]}: {turn}" for i, turn in enumerate(turns))


def joined(first: str, join: str, second: str) -> str:
    """Two requests as one text. The second's first letter is small where it is a common word's and not a name's."""
    if not join.startswith("\n"):
        join = join.lstrip(".;") if first.endswith("?") else join
        first = first.rstrip(".!")
        if second.split(" ", 1)[0].lower() in _COMMON:
            second = second[0].lower() + second[1:]
    return first + join.format(second)


_COMMON = frozenset((
    "a", "an", "and", "are", "arrange", "ask", "at", "before", "book", "buy", "call", "can", "cancel", "change",
    "check", "could", "do", "draw", "fetch", "find", "for", "get", "give", "go", "have", "he", "how", "if", "in",
    "is", "it", "keep", "kindly", "let", "look", "make", "move", "my", "no", "of", "on", "our", "place", "please",
    "put", "remind", "reserve", "send", "set", "she", "show", "so", "start", "switch", "take", "tell", "that",
    "the", "there", "this", "turn", "we", "what", "when", "where", "which", "who", "will", "with", "would", "you",
    "your",
))  # fmt: skip


def _call(function: Function, said: Said) -> Call:
    return {"name": function["name"], "arguments": said.arguments}


def _put(arguments: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for name in parents:
        arguments = arguments[name]
    arguments[last] = value
