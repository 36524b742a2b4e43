"""All of the article again: its runs, its numbers, its figures and its text.

python -m docs.study.make --data parquet:PATH --out study     # the runs that are not there yet, and the rest
python -m docs.study.make                                     # figures and text of the stored numbers
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from docs.study import article, figures, numbers, runs

HERE = Path(__file__).parent
NUMBERS, TEMPLATE, ARTICLE = HERE / "numbers.json", HERE / "report.template", HERE / "report.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", help="CIFAR-10, as for `streamspread run`")
    parser.add_argument("--out", type=Path, default=Path("study"), help="the folder of the runs' results")
    options = parser.parse_args()
    if options.data:
        runs.make(options.data, options.out)
        numbers.write(numbers.numbers(options.out), NUMBERS)
    found = json.loads(NUMBERS.read_text(encoding="utf-8"))
    figures.write(found, HERE / "figures")
    ARTICLE.write_text(article.render(TEMPLATE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
