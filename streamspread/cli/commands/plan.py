"""``streamspread plan``: what run would do with the same options, and why."""

from __future__ import annotations

from functools import partial

from streamspread.api.sources import Source, open_first
from streamspread.cli.app import Command
from streamspread.cli.arguments import Output
from streamspread.cli.terminal import note, progress_bars
from streamspread.options import Options
from streamspread.system.process import speaks


def plan(source: Source, options: Options, output: Output) -> None:
    """Say what run would do: method, passes, memory and time of each layer, and why."""
    with progress_bars(output.quiet or not speaks()):
        from streamspread.api import analyze
        from streamspread.api.calls import Subject

        with analyze.joined(str(options.device)) as ranks, ranks.together():
            opened = open_first(source, options, partial(note, quiet=output.quiet), ranks)
            subject = Subject(opened.loaded.module, opened.data)
            found = analyze.plan_with(subject, options, timed=True, ranks=ranks)
    if not ranks.leads:
        return
    from rich.console import Console

    from streamspread.reports.plan_table import print_plan

    print_plan(found, Console())
    if options.with_random:
        print("and all of it again for the random twin")


COMMAND = Command(
    plan,
    (
        "streamspread plan --samples 50000 --memory 8GiB",
        "streamspread plan --model torchvision:resnet50 --weights none --data noise --samples 10000",
    ),
    place=2,
    panel="Analyse a network",
    hides=frozenset({"columns", "form", "out"}),  # a plan is a table, and written nowhere
)
