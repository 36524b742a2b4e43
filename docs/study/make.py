"""All of the article again: its runs, its numbers, its figures and its text.

python -m docs.study.make --data parquet:PATH --out study     # the runs that are not there yet, and the rest
python -m docs.study.make                                     # figures and text of the stored numbers
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from docs.study import article, figures, numbers, runs
from streamspread.errors import StreamspreadError

HERE = Path(__file__).parent
NUMBERS, TEMPLATE, ARTICLE = HERE / "numbers.json", HERE / "report.template", HERE / "report.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", help="CIFAR-10, as for `streamspread run`")
    parser.add_argument("--out", type=Path, default=Path("study"), help="the folder of the runs' results")
    options = parser.parse_args()
    try:
        make(options.data, options.out)
    except (StreamspreadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def make(data: str | None, out: Path) -> None:
    """Runs and numbers, where there are data, then figures and text.

    Raises:
        StreamspreadError: a result cannot be read, or a package is missing.
    """
    if data:
        runs.make(data, out)
        numbers.write(numbers.numbers(out), NUMBERS)
    found = json.loads(NUMBERS.read_text(encoding="utf-8"))
    figures.write(found, HERE / "figures")
    ARTICLE.write_text(article.render(TEMPLATE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
