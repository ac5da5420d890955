"""A static site of all published results: a table to sort, rows compared in pairs, every document and answer.

`entries` reads the results and finds what can stand in one table, `ranks` says which rows are ties, `front`, `testset`,
`model`, `tools` and `method` are the pages, `answers` their data, `site` writes them. Scripts and style are
`slmbench/static/leaderboard/`. Nothing is fetched from elsewhere, and what models wrote is only ever text.
"""

from slmbench.publish.leaderboard.site import build

__all__ = ["build"]
