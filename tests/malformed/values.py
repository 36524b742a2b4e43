# ruff: noqa: E501, RUF001 - tables of what is wrong, a row each
"""Values that nobody should have to think of: texts for a command line, and objects for Python."""

import fractions

import numpy as np
import torch

TEXTS = [
    "", " ", "-1", "0", "1", "2", "+1", "1.5", "1e999", "-1e-9", "nan", "inf", "1e9", "0x10", "1_0", "９", "½", "²",
    "true", "None", "auto", "default", "all", "none", "*", "[", "[]", "{}", "c1", "c1,", ",", ",,", "=", "a=b",
    "a=NCHW,a=NCHW", "NCHW", "NN", "XYZ", "1/0", "0.7;0.9", "0.7,", "1.0000001", "8GiB", "-8GiB", "8 GiBs", "1e3B",
    "cpu", "cuda", "cuda:99", "cpu:-1", "meta", "mps", "fp16", "FP16", "fp8", "gram", "grams", "whole,whole", "position",
    ".", "..", "/", "~", "~nobody", "missing/x.arrow", "x.txt", "x.arrow", "x.safetensors", "/dev/null", "/dev/zero",
    "--help", "-", "--", "a b", "a\nb", "\x1b]0;title\x07", "\u202egnp", "\udce9", "💥" * 40, "x" * 4000, "no1", "no5",
    "plan:", "plan:2,M", "hf:", "timm:", "torchvision:", "folder:", "parquet:", "noise", "noise:3", "patches", "os:system",
    "os.path:join", "os:", ":os", "a:b:c", "torch.nn:Linear", "builtins:list", "math:pi", "%s%n", "$HOME", "'; drop", "0" * 400,
    str(2**31), str(2**63), str(-(2**63)), str(2**64), "9" * 400,
]  # fmt: skip


def objects(random):
    """One of many, made anew, since some can be used up."""
    makers = [
        lambda: None, lambda: True, lambda: 0, lambda: -1, lambda: 2**70, lambda: 1.5, lambda: float("nan"),
        lambda: float("inf"), lambda: 1j, lambda: fractions.Fraction(1, 3), lambda: "", lambda: "x", lambda: "auto",
        lambda: "\x1b[31m", lambda: "x" * 5000, lambda: b"x", list, dict, tuple, set, lambda: [None], lambda: [[]],
        lambda: [-1], lambda: ["", ""], lambda: {"a": 1}, lambda: {1: 2}, object, lambda: print, lambda: int,
        lambda: (lambda: 3), lambda: iter([]), lambda: range(3), lambda: np.zeros(0), lambda: np.zeros((2, 0)),
        lambda: np.array(["a"]), lambda: np.array([None]), lambda: np.float32(0.5), lambda: np.int64(-3),
        lambda: np.full((3, 3), np.nan), lambda: torch.zeros(0), lambda: torch.tensor(3), lambda: torch.zeros(2, 2),
        lambda: torch.zeros(3, dtype=torch.complex64), lambda: torch.zeros(3, device="meta"), lambda: torch.nn.ReLU(),
        lambda: torch.nn.Linear(2, 2), lambda: torch.device("cpu"), lambda: torch.float16, lambda: Exception("x"),
        lambda: slice(None), lambda: NotImplemented, lambda: ..., lambda: [float("nan")], lambda: (0.5, "x"),
    ]  # fmt: skip
    return random.choice(makers)()
