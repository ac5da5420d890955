"""What a run becomes for readers: its record, a model card, a report, the README's table. Pure folds."""

from slmbench.publish.card import card
from slmbench.publish.record import build_record, check_record, split_record, verify
from slmbench.publish.report import report
from slmbench.publish.tables import load_results, readme_table, summary, update_readme

__all__ = [
    "build_record",
    "card",
    "check_record",
    "load_results",
    "readme_table",
    "report",
    "split_record",
    "summary",
    "update_readme",
    "verify",
]
