"""Every piece of Python in the documents runs and prints what stands under it; every command can be given."""

import re
import shlex

import pytest

from examples import snippets
from streamspread.cli.app import program

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
COMMAND = re.compile(r"^(?:\$ )?(streamspread [^\n]*)", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

PAGES = [page for page in snippets.PAGES if list(snippets.blocks(page.read_text(encoding="utf-8")))]
DOCUMENTS = sorted({*snippets.PAGES, *snippets.ROOT.glob("*.md"), *(snippets.ROOT / "docs").rglob("*.md")})


def name_of(path):
    return str(path.relative_to(snippets.ROOT))


def numbers(text):
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_prints_what_it_says(page):
    shown = [block.output for block in snippets.blocks(page.read_text(encoding="utf-8"))]
    for old, new in zip(shown, snippets.printed(page), strict=True):
        if old is None:
            continue
        # The words are the same. Numbers may differ by what another processor makes of a training.
        assert NUMBER.split(new) == NUMBER.split(old), f"python -m examples.snippets {name_of(page)}"
        assert numbers(new) == pytest.approx(numbers(old), rel=0.1, abs=2)


def commands(text):
    """Commands in fences, without comments and without those that only show a form."""
    for language, fence in FENCE.findall(text):
        if language not in ("", "sh"):
            continue
        for line in COMMAND.findall(fence.replace("\\\n", " ")):
            words = shlex.split(line, comments=True)
            if not any(mark in word for word in words for mark in ("…", "[")):
                yield words[1:]


COMMANDS = sorted(
    {tuple(words) for page in DOCUMENTS for words in commands(page.read_text(encoding="utf-8"))}
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_documents_can_be_given(words):
    name = next((word for word in words if not word.startswith("-")), None)
    command = program(name)
    if name is None:  # these end the program as they are read
        context = command.make_context("streamspread", [], resilient_parsing=True)
        assert {*words} <= {flag for one in command.get_params(context) for flag in one.opts}
        return
    command.commands[name].make_context(name, list(words[1:]))


def test_there_are_pages_and_commands():
    assert len(PAGES) > 3
    assert len(COMMANDS) > 10
    assert "README.md" in map(name_of, PAGES)


def test_a_page_that_fails_names_its_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text.\n\n<!-- setup\nx = 1\n-->\n```python\nprint(x)\n```\n\n```python\n1 / 0\n```\n",
        encoding="utf-8",
    )
    with pytest.raises(ZeroDivisionError) as caught:
        snippets.printed(page)
    frame = caught.traceback[-1]
    assert (str(frame.path), frame.lineno + 1) == (str(page), 11)


def test_output_is_put_under_what_printed_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\nprint(x)\n```\n\n```text\nold\n```\n\n```python\nprint(x + 1)\n```\n",
        encoding="utf-8",
    )
    filled = snippets.filled(page)
    assert filled == page.read_text(encoding="utf-8").replace("old", "2")
