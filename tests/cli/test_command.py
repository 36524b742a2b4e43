"""A command is one file: what it takes, its help and its place in the list follow from it."""

import re

import pytest
import typer

from streamspread.cli.arguments import Network, Quiet
from streamspread.cli.command import COMMANDS, Command, flags
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
