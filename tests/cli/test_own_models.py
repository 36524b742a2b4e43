"""What a user's own model may do to the program: one line and exit code 2, never another end."""

import pytest

MODELS = {
    "exits": "import sys\nsys.exit(0)",
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
    "without_numbers": """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Identity()
    def forward(self, x):
        return self.c1(x.to("meta"))
make = Net""",
    "recurses": "def make():\n    return make()",
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
    "rather_deep": """
from torch import nn
def make():
    net = nn.Conv2d(3, 4, 1)
    for _ in range(450):
        net = nn.Sequential(net)
    return net""",
    "half_made": """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        pass
make = Net""",
    "half_made_inside": """
from torch import nn
class Part(nn.Module):
    def __init__(self):
        pass
def make():
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    net._modules["part"] = Part()
    return net""",
    "layers_raise": """
from torch import nn
class Net(nn.Sequential):
    @property
    def default_layers(self):
        raise ZeroDivisionError("no layers\\nat all")
def make():
    return Net(nn.Conv2d(3, 4, 1))""",
    "size_raises": """
from torch import nn
class Net(nn.Sequential):
    @property
    def image_size(self):
        raise ValueError("no size")
def make():
    return Net(nn.Conv2d(3, 4, 1))""",
    "eval_raises": """
from torch import nn
class Net(nn.Sequential):
    def eval(self):
        raise ValueError("no\\nway")
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
    "scripted": """
import torch, warnings
from torch import nn
def make():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1)))""",
}

WORDS = {
    "exits": "cannot build the model 'exits:make': SystemExit: 0",
    "exits_when_called": "cannot build the model 'exits_when_called:make': SystemExit: 0",
    "exits_in_forward": "the model or the data ended the program",
    "leaves_in_forward": "the model or the data ended the program",
    "without_numbers": "layers 'all' names nothing in this model",
    "recurses": "cannot build the model 'recurses:make': RecursionError",
    "recurses_in_forward": "does not run on a batch of shape",
    "deep": "its modules lie too deep within each other",
    "rather_deep": "does not run on a batch of shape|too deep within each other",
    "half_made": "Net .* __init__ must begin with super",
    "half_made_inside": "Part .* __init__ must begin with super",
    "layers_raise": "Net.default_layers cannot be read: ZeroDivisionError: no layers",
    "size_raises": "Net.image_size cannot be read: ValueError: no size",
    "eval_raises": r"Net\.eval\(\) raised ValueError: no$",
    "eval_exits": r"Net\.eval\(\) raised SystemExit: 0$",
    "scripted": "a TorchScript model cannot be observed",
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_ones_own_never_ends_the_program_its_own_way(cli, tmp_path, name, monkeypatch):
    import re
    import sys

    (tmp_path / f"{name}.py").write_text(MODELS[name])
    code, out, err = cli(
        "run",
        "--model",
        f"{name}:make",
        "--data",
        "noise",
        "--samples",
        "8",
        "--image-size",
        "8",
        "--device",
        "cpu",
        "-q",
    )
    sys.modules.pop(name, None)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert re.search(WORDS[name], err), err
    assert not list(tmp_path.glob("*.arrow"))
