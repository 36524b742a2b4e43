# ruff: noqa: E501 - tables of what is wrong, a row each
"""Networks and data of one's own that are broken in some way, from Python and from the command line."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import streamspread

_HEAD = "import torch, sys, os\nfrom torch import nn\n"
_MODULE = (
    _HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 2, 1)
    def forward(self, x):
        {body}
make = Net
"""
)
BODIES = [
    "raise ValueError('no')", "raise KeyError", "raise SystemExit(3)", "raise OSError(5, 'bad')", "raise AssertionError",
    "return self.c1(x)[0]", "return None", "return self.c1(x).sum()", "return self.forward(x)", "return self.c2(x)",
    "return self.c1(x.long())", "return self.c1(x) / 0", "return self.c1(x[:, :1])", "return self.c1(x).expand(2, 2)",
    "raise MemoryError", "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'no')", "return self.c1(x.to('meta'))",
    "return self.c1(x) * float('nan')", "self.c1 = None; return x", "return self.c1(x).to_sparse()", "raise StopIteration",
    "return {'a': [self.c1(x)]}", "return self.c1(x).double()", "return self.c1(torch.rand(1, 3, 8, 8))",
    "return self.c1(torch.rand_like(x))", "return torch.zeros(0)", "raise Exception('a\\nb')", "raise GeneratorExit",
    "return self.c1(x).bool()", "return self.c1(x).to(torch.complex64)", "del self.c1; return x",
]  # fmt: skip
SOURCES = [
    "make = 3", "def make(): return 3", "def make(a): return nn.ReLU()", "make = nn.Linear", "1/0", "def make(:",
    "raise SystemExit(0)", "import missing_module", "def make(): raise ValueError('a\\x1b]0;x')", "make = nn.Module",
    "make = lambda: nn.Sequential()", "def make(): yield nn.ReLU()", "async def make(): return nn.ReLU()", "\x00",
    "class make(nn.Module):\n    def __init__(self): pass", "def make(): return torch.jit.script(nn.ReLU())",
    "class make(nn.Module):\n    @property\n    def layers(self): raise OSError\n    def forward(self, x): return x",
    "def make(): return nn.Linear(3, 3).to('meta')", "def make(): return nn.LazyLinear(3)", "def make(): return make()",
    "class make(nn.Module):\n    def eval(self): raise ValueError\n    def forward(self, x): return x",
    "class make(nn.Module):\n    def named_modules(self, *a, **k): raise ValueError\n    def forward(self, x): return x",
    "class make(nn.ReLU):\n    def state_dict(self, *a, **k): raise ValueError",
    "class make(nn.ReLU):\n    def __repr__(self): raise ValueError", "class make(nn.ReLU):\n    def __getattr__(self, n): return 3",
]  # fmt: skip
_COUNT = [0]


def modules(random, folder):
    """A command with a network of one's own."""
    _COUNT[0] += 1
    source = (
        _MODULE.format(body=random.choice(BODIES))
        if random.random() < 0.6
        else _HEAD + random.choice(SOURCES)
    )
    name = f"own_{_COUNT[0]}"
    (folder / f"{name}.py").write_text(source)
    spec = f"{name}:{random.choice(['make'] * 8 + ['missing', '', '__doc__', 'nn.ReLU'])}"
    command = random.choice(["run", "plan", "layers"])
    rest = ["--data", "noise", "--samples", "4", "--image-size", "8", "--device", "cpu"]
    if command == "run":
        rest += ["--quiet", "--out", "x.arrow"]
    return [command, "--model", spec, *(rest if command != "layers" else [])]


class Broken(Dataset):
    def __init__(self, length, item):
        self._length, self._item = length, item

    def __len__(self):
        if isinstance(self._length, Exception):
            raise self._length
        return self._length

    def __getitem__(self, i):
        value = self._item(i)
        if isinstance(value, BaseException):
            raise value
        return value


class Endless(IterableDataset):
    def __init__(self, items):
        self._items = items

    def __iter__(self):
        for item in self._items:
            if isinstance(item, BaseException):
                raise item
            yield item


def _row(n=5):
    return torch.ones(n)


ITEMS = {
    "texts": lambda i: "x", "nothing": lambda i: None, "ragged": lambda i: _row(4 + i % 2), "integers": lambda i: i,
    "NaN": lambda i: _row() * float("nan"), "objects": lambda i: object(), "empty": lambda i: torch.zeros(0),
    "raises": lambda i: ValueError("no") if i == 3 else _row(), "exits": lambda i: SystemExit(0) if i == 3 else _row(),
    "dtypes": lambda i: _row().double() if i == 3 else _row(), "complex": lambda i: _row().to(torch.complex64),
    "meta": lambda i: torch.ones(5, device="meta"), "sparse": lambda i: _row().to_sparse(), "lists": lambda i: [[1], [2, 3]],
    "mappings": lambda i: {"a": _row(), "b": "x"}, "other names": lambda i: {str(i): _row()}, "wide": lambda i: _row(7),
    "scalars": lambda i: torch.tensor(1.0), "bytes": lambda i: b"x", "arrays of objects": lambda i: np.array([None] * 5),
    "bool": lambda i: _row().bool(), "stops": lambda i: StopIteration() if i == 3 else _row(),
    "an index": lambda i: IndexError("no") if i == 3 else _row(), "recursion": lambda i: RecursionError("deep"),
}  # fmt: skip
FORMS = ("data set", "loader", "iterable", "list", "callable", "iterator", "shuffled")
LENGTHS = [12, 12, 12, 12, 0, 1, 2, ValueError("no"), TypeError("no")]


def data(random, folder):
    """A call with data of one's own, as a text and a function."""
    kind, length = random.choice(list(ITEMS)), random.choice(LENGTHS)
    form = random.choice(FORMS)
    item = ITEMS[kind]
    count = length if isinstance(length, int) else 6

    def made():
        if form == "data set":
            return Broken(length, item)
        if form == "loader":
            return DataLoader(Broken(length, item), batch_size=4)
        if form == "shuffled":
            return DataLoader(Broken(length, item), batch_size=4, shuffle=True)
        items = [item(i) for i in range(count)]
        if form == "iterable":
            return Endless(items)
        if form == "list":
            return items
        return (lambda: iter(items)) if form == "callable" else iter(items)

    def call():
        net = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
        streamspread.analyze(
            net, made(), batch_size=4, device="cpu", method=random.choice(["auto", "gram", "sketch"])
        )

    return f"{form} of {kind}, length {length!r}", call
