"""A command is one file: what it takes, its help and its place in the list follow from it."""

import re

import pytest
import typer

from streamspread.api.sources import Network
from streamspread.cli import main
from streamspread.cli.app import COMMANDS, Command, flags
from streamspread.cli.arguments import Quiet
from streamspread.options import EmbedOptions, Options, documented, option_of


def greet(context: typer.Context, network: Network, said: Quiet) -> None:
    """Say which network was meant."""
    print(network.model, network.weights, said.quiet, context.obj)


@pytest.fixture
def greeting():
    undo = COMMANDS.add("greet", Command(greet, ("streamspread greet --model no2",), place=9))
    yield
    undo()


@pytest.mark.usefixtures("greeting")
def test_one_more_command_is_listed_helps_and_runs(cli):
    assert re.search(r"greet\s+Say which network was meant\.", cli("--help").out)
    helped = cli("greet", "--help").out
    for part in ("--model", "--weights", "--quiet", "streamspread greet --model no2"):
        assert part in helped
    said = "no2 None True ['streamspread', 'greet', '--model', 'no2', '-q']\n"
    assert cli("greet", "--model", "no2", "-q") == (0, said, "")


def test_a_command_that_was_taken_back_is_unknown(cli):
    code, _, err = cli("greet")
    assert (code, err) == (2, "error: No such command 'greet' (see streamspread --help)\n")


def test_commands_stand_in_their_order(cli):
    listed = re.findall(r"^│ (\w+) ", cli("--help").out, re.MULTILINE)
    assert listed == ["run", "plan", "layers", "show", "report", "study", "embed", "cka", "train"]
    assert sorted(listed) == sorted(COMMANDS.names())


@pytest.mark.parametrize("name", COMMANDS.names())
def test_every_command_has_help_with_examples(cli, name):
    code, out, err = cli(name, "--help")
    assert (code, err) == (0, "")
    for example in COMMANDS.get(name).examples:
        assert example.split()[:2] == ["streamspread", name]
        assert " ".join(example.split()) in " ".join(out.split())


@pytest.mark.parametrize("options", [Options, EmbedOptions])
def test_a_class_of_options_is_a_flag_for_each(options):
    names = [parameter.name for parameter in flags(options)]
    assert names == [one.name for one in documented(options) if option_of(one).flag is not None]


@pytest.mark.parametrize(
    "arguments", [("--help",), *((name, "--help") for name in COMMANDS.names())], ids=str
)
def test_flags_without_a_value_are_shown_without_one(cli, arguments):
    out = cli(*arguments, "--help").out
    assert "<bool>" not in out
    assert "<str>" not in out


def test_the_version_has_a_short_flag(cli):
    assert cli("-V") == cli("--version")
    assert cli("-V").out.startswith("streamspread ")


@pytest.mark.parametrize(
    ("line", "there", "missing"),
    [
        ("streamspread ", "run", "--method"),
        ("streamspread run --me", "--memory", "--model"),
        ("streamspread run --method ", "covariance", "gram "),
        ("streamspread run --data p", "parquet:", "noise"),
        ("streamspread plan --model t", "torchvision:", "no1"),
    ],
)
def test_a_shell_completes_commands_options_and_values(monkeypatch, capsys, line, there, missing):
    monkeypatch.setenv("_STREAMSPREAD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert main([]) == 0
    offered = capsys.readouterr().out.split("\n")
    assert there in offered
    assert missing not in offered
