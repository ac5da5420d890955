"""What a run becomes for readers: its record, a model card, a report, the README's table. Pure folds."""

from slmbench.publish.card import card
from slmbench.publish.record import build_record, split_record, value_sha256
from slmbench.publish.report import report
from slmbench.publish.stored import load_record, load_samples, samples_path, write_result
from slmbench.publish.tables import load_results, readme_table, summary, update_readme

__all__ = [
    "build_record",
    "card",
    "load_record",
    "load_results",
    "load_samples",
    "readme_table",
    "report",
    "samples_path",
    "split_record",
    "summary",
    "update_readme",
    "value_sha256",
    "write_result",
]
