"""Finished work onto the Hugging Face Hub."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from slmbench.commands import json_option


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    verb = verbs.add_parser(
        "push",
        help="a run's model, or a data set, onto the Hugging Face Hub; without --yes only what would be sent",
        description="Put a finished run (adapter, tokenizer, card, recipe, record, every answer) or a folder of"
        " `data card` into a repository of the Hugging Face Hub, in one commit. Without --yes nothing is sent, and the"
        " files are listed. The token is the Hub's own: HF_TOKEN, or that of `hf auth login`.",
    )
    verb.add_argument("place", type=Path, metavar="RUN|FOLDER", help="a finished run's folder, or one of `data card`")
    verb.add_argument("--repo", required=True, metavar="OWNER/NAME", help="made if there is none")
    verb.add_argument(
        "--export", action="append", default=[], metavar="FORM", help="an export of the run too, such as int8"
    )
    verb.add_argument("--base", metavar="OWNER/NAME", help="what the base is on the Hub, where it was a folder")
    verb.add_argument("--private", action="store_true", help="for nobody else to see (default: public)")
    verb.add_argument("--endpoint", metavar="URL", help="of another Hub (default: HF_ENDPOINT, else the Hub's own)")
    verb.add_argument("--yes", action="store_true", help="send it")
    json_option(verb)
    verb.set_defaults(call=_push)


def _push(arguments: argparse.Namespace) -> None:
    from slmbench.publish.hub import prepare, push

    upload = prepare(
        arguments.place, arguments.repo, exports=arguments.export, base=arguments.base, private=arguments.private,
        endpoint=arguments.endpoint,
    )  # fmt: skip
    if not arguments.json:
        print(*upload.lines(), sep="\n", flush=True)
    commit = push(upload) if arguments.yes else None
    if arguments.json:
        print(json.dumps({**upload.to_json(), "sent": arguments.yes, "commit": commit}, ensure_ascii=False, indent=1))
    else:
        print(f"sent: {commit}" if commit else "Nothing was sent: --yes sends these files, in one commit.")
