"""What a module of somebody else's may do when looked at: raise from its properties, or be half made."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from streamspread.errors import ModelError, kind_and_line


def check_made(model: nn.Module) -> None:
    """Refuse a module, or one within it, on which ``nn.Module.__init__`` has not run.

    Raises:
        ModelError: there is one, or its modules cannot be listed: they lie too deep within each other, a
            name is no text, or its own ``named_modules`` raises.
    """
    todo = [model]
    seen = {id(model)}
    while todo:
        module = todo.pop()
        if isinstance(module, torch.jit.ScriptModule):  # which keeps its modules elsewhere
            continue
        try:
            inside = vars(module)["_modules"].values()
        except KeyError:
            raise ModelError(
                f"{type(module).__name__} is half made: its __init__ must begin with super().__init__()"
            ) from None
        todo += [one for one in inside if one is not None and id(one) not in seen]
        seen |= {id(one) for one in inside}
    try:
        for name, _ in model.named_modules():
            name.encode()  # or no file could hold it
    except RecursionError:
        raise ModelError(f"{type(model).__name__}: its modules lie too deep within each other") from None
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__}: its modules cannot be listed: {kind_and_line(error)}"
        ) from error


def own(module: nn.Module, name: str, default: Any) -> Any:
    """An attribute that a module may have, such as ``default_layers``.

    Raises:
        ModelError: it is a property that raises.
    """
    try:
        return getattr(module, name, default)
    except Exception as error:
        raise ModelError(f"{type(module).__name__}.{name} cannot be read: {kind_and_line(error)}") from error
