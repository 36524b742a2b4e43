# ruff: noqa: E501 - tables of what is wrong, a row each
"""Command lines with one or two values that are not what an option takes; and networks and data by name."""

from streamspread.cli.app import COMMANDS, program
from tests.malformed.values import TEXTS

TINY = {
    "--model": "plan:2,M", "--weights": "none", "--data": "noise", "--samples": "4", "--image-size": "8",
    "--layers": "c1", "--device": "cpu", "--batch-size": "2",
}  # fmt: skip
BASES = {
    "run": {**TINY, "--out": "x.arrow", "--quiet": None},
    "plan": TINY,
    "layers": {"--model": "plan:2,M"},
    "cka": {**TINY, "--quiet": None},
    "embed": {**TINY, "--samples": "3", "--quiet": None, "--out": "e.arrow"},  # too few for any perplexity
    "train": {"--model": "plan:2,M", "--data": "folder:missing", "--device": "cpu", "--out": "w.safetensors", "--quiet": None},
    "study": {"--model": "plan:2,M", "--data": "folder:missing", "--parts": "samples", "--device": "cpu", "--quiet": None},
    "show": {},
    "report": {},
}  # fmt: skip
#: What is right and takes long: a training.
LONG = {("train", "--data", "patches"), ("study", "--data", "patches")}


def flags(name):
    """The options of a command, each with whether it takes a value."""
    command = program(name).commands[name]
    return [
        (one.opts[0], not one.is_flag)
        for one in command.params
        if one.param_type_name == "option" and "--help" not in one.opts
    ]


def options(random, folder):
    name = random.choice([one for one in BASES if one in COMMANDS.names()])
    given = dict(BASES[name])
    line = [name]
    for _ in range(random.choice([1, 1, 1, 2])):
        flag, valued = random.choice(flags(name) or [("--bogus", True)])
        text = random.choice(TEXTS)
        if valued and (name, flag, text) not in LONG:
            given[flag] = text
        elif not valued and random.random() < 0.3:
            line.append(f"{flag}={text}")
    if random.random() < 0.1:
        line.append(random.choice(TEXTS))
    if name in ("show", "report"):
        line.append(random.choice(TEXTS))
    return line + [
        part for flag, text in given.items() for part in ([flag] if text is None else [flag, text])
    ]


def models(random, folder):
    """Specs of networks: pieces that are put together wrongly."""
    pieces = ["no1", "plan", ":", "64", ",", "M", "-1", "0", "hf", "timm", "torchvision", "resnet18", "vit", ".", "/", " ",
              "x" * 300, "é", "\x07", "os", "nn.Linear", "99999999999", "1e3", "M,M,M,M,M,M,M"]  # fmt: skip
    spec = "".join(random.choice(pieces) for _ in range(random.randint(1, 5)))
    prefix = random.choice(["", "", "plan:", "timm:", "torchvision:", "hf:", "folder."])
    weights = random.choice([[], ["--weights", "none"], ["--weights", random.choice(TEXTS)]])
    command = random.choice(["layers", "plan"])
    rest = (
        ["--data", "noise", "--samples", "4", "--image-size", "8", "--device", "cpu"]
        if command == "plan"
        else []
    )
    return [command, "--model", prefix + spec, *weights, *rest]


def data(random, folder):
    """Specs of data."""
    pieces = ["cifar10", "folder", "parquet", "noise", "patches", "hf", ":", "/", "..", "missing", "~", "train", "*", "?", " ",
              "x" * 300, "\x1b[0m", "/dev/null", "/proc/self/mem", "/etc/passwd", "1e9", "-1", "é"]  # fmt: skip
    spec = "".join(random.choice(pieces) for _ in range(random.randint(1, 5)))
    prefix = random.choice(["", "", "folder:", "parquet:", "hf:", "noise:", "cifar10:"])
    more = random.choice(
        [[], ["--split", random.choice(["test", "val", "x"])], ["--samples", random.choice(TEXTS)]]
    )
    line = [
        "plan",
        "--model",
        "plan:2",
        "--weights",
        "none",
        "--device",
        "cpu",
        "--samples",
        "4",
        "--image-size",
        "8",
    ]
    return [*line, "--data", prefix + spec, *more]
