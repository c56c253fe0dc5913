"""A device that is no processor, for machines that have none: `python other_device.py` runs commands on it.

Its tensors compute on the CPU and claim to be elsewhere. What a GPU refuses, it refuses: operations on tensors of both
places, generators of the other place, arrays made from its tensors without `cpu()`. A GPU's numbers and speed it does
not have. Each line of standard input is a command with its settings.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._contextlib import _DecoratorContextManager
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "elsewhere"
_COPIES = ("aten::_to_copy", "aten::copy_", "aten::_foreach_copy_")
"""Operations that bring tensors from one place to the other; reading by indices of the CPU is allowed, too."""


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
_PLACE = torch.device(NAME, 0)


class Elsewhere(torch.Tensor):
    """A tensor that claims to be on the device; `inner` is where its numbers are."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Elsewhere:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=_PLACE,
        )
        self.inner = inner
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Elsewhere) -> None:
        self.inner = value.inner

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        return super().__getitem__(tuple(torch.tensor(each) if isinstance(each, list) else each for each in keys))

    def __deepcopy__(self, memo: dict[int, Any]) -> Elsewhere:
        if id(self) not in memo:
            copy = Elsewhere(self.inner.detach().clone()).requires_grad_(self.requires_grad)
            copy._is_param = getattr(self, "_is_param", False)
            memo[id(self)] = copy
        return memo[id(self)]

    def tolist(self) -> Any:
        return self.cpu().tolist()


def _is_there(device: Any) -> bool:
    return torch.device(device).type == NAME


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the inner tensors, after what a GPU would refuse."""
    name, leaves = func._schema.name, tree_leaves((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
    here = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Elsewhere) and leaf.ndim]
    to_there = _is_there(kwargs["device"]) if kwargs.get("device") is not None else bool(there)
    indexed_there = name.startswith(("aten::index", "aten::_index_put")) and isinstance(args[0], Elsewhere)
    if there and here and name not in _COPIES and not indexed_there:
        raise RuntimeError(
            f"{name}: tensors on the device and on the CPU, of shape {[tuple(each.shape) for each in here]}"
        )
    inner = {id(each.inner): each for each in there}
    plain_args, plain_kwargs = tree_map(
        lambda leaf: leaf.inner if isinstance(leaf, Elsewhere) else leaf, (args, kwargs)
    )
    if plain_kwargs.get("device") is not None:
        plain_kwargs = {**plain_kwargs, "device": torch.device("cpu")}
    found = func(*plain_args, **plain_kwargs)

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or isinstance(leaf, Elsewhere):
            return leaf
        return inner[id(leaf)] if id(leaf) in inner else Elsewhere(leaf) if to_there else leaf

    return tree_map(placed, found)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """Below the calls that Python makes, a generator is only that of the CPU which it really is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asked = kwargs or {}
        if isinstance(generator := asked.get("generator"), _Generator):
            place = asked.get("device") or (args[0].device if args and isinstance(args[0], torch.Tensor) else "cpu")
            if _is_there(place) != _is_there(generator.device):
                raise RuntimeError(f"{func.__name__}: a generator of {generator.device} for numbers on {place}")
        return func(*args, **asked)


class _Generator(torch.Generator):
    """One that knows where its numbers go."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        self = super().__new__(cls)
        self._place = torch.device(device)
        return self

    def __init__(self, device: Any = "cpu") -> None:
        """As the base class has none that takes a device."""

    @property
    def device(self) -> torch.device:
        return self._place

    def set_state(self, state: torch.Tensor) -> torch.Generator:
        if isinstance(state, Elsewhere):
            raise TypeError("the state of a generator must be a tensor of the CPU")
        return super().set_state(state)


class _NoGradient(_DecoratorContextManager):
    """In place of inference mode, whose tensors cannot be wrapped."""

    def __init__(self, mode: bool = True) -> None:
        self._mode = mode

    def __enter__(self) -> None:
        self._before = torch.is_grad_enabled()
        if self._mode:
            torch.set_grad_enabled(False)

    def __exit__(self, *error: object) -> None:
        torch.set_grad_enabled(self._before)

    def clone(self) -> _NoGradient:
        return _NoGradient(self._mode)


def install() -> None:
    """Make the device known to this process, before anything else imports torch's names."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.Generator, torch.inference_mode = _Generator, _NoGradient
    load, save = torch.load, torch.save

    def load_there(file: Any, map_location: Any = None, **kwargs: Any) -> Any:
        found = load(file, map_location="cpu", **kwargs)
        if map_location is None or not _is_there(map_location):
            return found
        return tree_map(lambda leaf: leaf.to(_PLACE) if isinstance(leaf, torch.Tensor) else leaf, found)

    def save_from_there(content: Any, file: Any, **kwargs: Any) -> None:
        save(
            tree_map(lambda leaf: leaf.inner.clone() if isinstance(leaf, Elsewhere) else leaf, content), file, **kwargs
        )

    torch.load, torch.save = load_there, save_from_there
    _Calls().__enter__()  # for good
    _Mode().__enter__()


if __name__ == "__main__":
    install()
    from drift_wm.cli import main

    for line in sys.stdin:
        if status := main([*shlex.split(line), f"device={NAME}:0"]):
            sys.exit(status)
