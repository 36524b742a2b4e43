"""What a user's own model may do to the program: one line and exit code 2, never another end."""

import re
import sys

import pytest

MODELS = {
    "exits_when_called": "import sys\ndef make():\n    sys.exit(0)",
    "exits_in_forward": """
import sys
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 4, 1)
    def forward(self, x):
        sys.exit(0)
make = Net""",
    "leaves_in_forward": """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 4, 1)
    def forward(self, x):
        raise GeneratorExit
make = Net""",
    "recurses_in_forward": """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 4, 1)
    def forward(self, x):
        return self.forward(x)
make = Net""",
    "deep": """
from torch import nn
def make():
    net = nn.Conv2d(3, 4, 1)
    for _ in range(3000):
        net = nn.Sequential(net)
    return net""",
    "layers_raise": """
from torch import nn
class Net(nn.Sequential):
    @property
    def default_layers(self):
        raise ZeroDivisionError("no layers\\nat all")
def make():
    return Net(nn.Conv2d(3, 4, 1))""",
    "eval_exits": """
import sys
from torch import nn
class Net(nn.Sequential):
    def eval(self):
        sys.exit(0)
def make():
    return Net(nn.Conv2d(3, 4, 1))""",
}

WORDS = {
    "exits_when_called": "cannot build the model 'exits_when_called:make': SystemExit: 0",
    "exits_in_forward": "the model or the data ended the program",
    "leaves_in_forward": "the model or the data ended the program",
    "recurses_in_forward": "does not run on a batch of shape",
    "deep": "its modules lie too deep within each other",
    "layers_raise": "Net.default_layers cannot be read: ZeroDivisionError: no layers",
    "eval_exits": r"Net\.eval\(\) raised SystemExit: 0$",
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_ones_own_never_ends_the_program_its_own_way(cli, tmp_path, name, monkeypatch):
    (tmp_path / f"{name}.py").write_text(MODELS[name])
    options = "--data noise --samples 8 --image-size 8 --device cpu -q"
    code, out, err = cli("run", "--model", f"{name}:make", *options.split())
    sys.modules.pop(name, None)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert re.search(WORDS[name], err), err
    assert not list(tmp_path.glob("*.arrow"))
