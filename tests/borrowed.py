"""scikit-learn's own tests, from the installed package, run against another class."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def module_of_tests(name: str, **classes: Any) -> ModuleType:
    """The module ``sklearn.decomposition.tests.<name>`` under another name, in which each of
    ``sklearn.decomposition``'s classes of that name is the one given; skips where scikit-learn came without
    its tests."""
    import sklearn.decomposition as home

    path = Path(home.__file__).parent / "tests" / f"{name}.py"
    if not path.is_file():
        pytest.skip("scikit-learn was installed without its tests", allow_module_level=True)
    spec = importlib.util.spec_from_file_location(f"borrowed_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        for known, own in classes.items():
            patch.setattr(home, known, own)
        spec.loader.exec_module(module)
    return module


def others_of(module: ModuleType, without: dict[str, str]) -> dict[str, Any]:
    """Its test functions but those excluded, each of which must be there."""
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    gone = set(without) - set(tests)
    assert not gone, f"scikit-learn has no such tests to leave out: {gone}"
    return {name: test for name, test in tests.items() if name not in without}
