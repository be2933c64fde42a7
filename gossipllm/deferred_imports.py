"""Imports that wait for the first use: libraries which others import and which a peer does not use.

`transformers` imports the compiler of torch, tensors spread over machines, `accelerate` and `scipy.optimize` together
with every model: half of the time and of the memory of its own import, for functions that a peer never calls. After
`defer()` a module of `DEFERRED`, or below it, is found as usual and not executed:

- `import m` gives the module, which executes itself, in place, at the first access to one of its attributes;
- `from m import name` gives a placeholder. Calling it, deriving from it, or any access to an attribute of it executes
  the module and goes on with the real object, which also replaces the placeholder in the modules that imported it.
  `isinstance(x, placeholder)` is false without executing anything: no object has a class that does not exist yet.
  Errors are never placeholders, because `except` takes real classes alone: a name that ends in `Error` or `Exception`
  executes the module. A constant is one until the module is executed, and nothing can be computed with it, which
  raises `TypeError`; so no module whose constants are imported by others belongs in the list.

So nothing is taken away: a model that does use these libraries loads them when it does. That a placeholder is given
only to `from m import name` is read from the importer's bytecode; whatever looks different, `hasattr(m, name)` for
example, executes the module. Where an installed version of a library uses one of these modules while it is imported,
the module is loaded then, and the process is merely as heavy as without this file; `tests/test_footprint.py`
tells.
"""

from __future__ import annotations

import dis
import importlib
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial, wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import isfunction
from types import FrameType, ModuleType
from typing import Any, Final, Union, cast

DEFERRED: Final[Mapping[str, str]] = {
    "accelerate": "models spread over devices; transformers imports it for `device_map`, which no peer sets",
    "httpx": "certificates from a public authority, which libp2p can ask for",
    "libp2p.bitswap": "another protocol for blocks",
    "libp2p.discovery": "finding peers in ways that peers do not use",
    "libp2p.kad_dht": "a distributed table of addresses",
    "libp2p.transport.websocket": "libp2p imports all of its transports, and peers use TCP",
    "prometheus_client": "metrics over HTTP",
    "requests": "as httpx",
    "zeroconf": "finding peers by multicast",
    "scipy.optimize": "losses of object detectors, imported with the table of all losses",
    "torch._dynamo": "the compiler: masks and paged caches import it, and only `torch.compile` uses it",
    "torch.distributed._composable": "sharding, as below",
    "torch.distributed.checkpoint": "checkpoints of sharded models",
    "torch.distributed.fsdp": "sharding: a learner trains on one device",
    "torch.distributed.tensor": "tensors spread over machines; imports sympy",
    "transformers.distributed.expert_parallel": "experts spread over machines",
    "transformers.distributed.tensor_parallel": "layers spread over machines",
}
"""Modules that are executed at their first use, and why a peer has none for them."""

POSTPONED: Final[Mapping[str, frozenset[str]]] = {
    "torch._dynamo": frozenset({"allow_in_graph", "assume_constant_result", "disable"}),
}
"""Decorators that say how the compiler shall take a function. They are applied when their module is executed."""

_IMPORT_FROM: Final = dis.opmap["IMPORT_FROM"]
_ASKED_BY_TYPING: Final = {
    "__origin__",
    "__parameters__",
    "__typing_is_unpacked_typevartuple__",
    "__typing_subst__",
    "__typing_unpacked_tuple_args__",
    "__unpacked__",
}
_NAMES: Final = "__deferred_names__"
_lock: Final = threading.RLock()


def defer() -> None:
    """From now on, defer the modules of `DEFERRED` in this process. Those that are loaded already stay as they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def is_executed(name: str) -> bool:
    """Whether a module has been imported and executed, or has begun to be."""
    return name in sys.modules and not isinstance(sys.modules[name], _Module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent = sys.modules.get(fullname.rpartition(".")[0])
        if isinstance(parent, _Module) and not _untouched(parent):
            # Its package is in use, and a part of a package never comes before the package.
            _executed(parent)
        if not (fullname in DEFERRED or isinstance(parent, _Module)):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty: `_Module` executes it when it is used."""
        module.__class__ = _Module


class _Module(ModuleType):
    """A module that has not been executed. It is no `_Module` any more as soon as that begins."""

    def __getattr__(self, name: str) -> Any:
        # The machinery of imports asks for these of modules that lack them.
        if name in {"__path__", "__wrapped__", "__warningregistry__"}:
            raise AttributeError(name)
        if name in POSTPONED.get(self.__name__, ()):
            return partial(_postponed, self, name)
        importer = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # nothing else tells
        # `except` takes real classes alone.
        is_raised = name.endswith(("Error", "Exception"))
        if is_raised or not (_imports_from(importer) and _untouched(self)):
            return getattr(_executed(self), name)
        names: dict[str, _Name] = self.__dict__.setdefault(_NAMES, {})
        if name not in names:
            names[name] = _Name(self, name)
        return names[name].deferred_into(importer.f_globals)


def _imports_from(importer: FrameType) -> bool:
    """Whether the frame performs `from m import name`, or is the machinery of imports preparing that."""
    code = importer.f_code
    return code.co_name == "_handle_fromlist" or code.co_code[importer.f_lasti] == _IMPORT_FROM


def _untouched(module: ModuleType) -> bool:
    """False for a submodule whose package has been executed: it imports its parts for use."""
    return module.__name__ in DEFERRED or isinstance(_parent(module), _Module)


def _parent(module: ModuleType) -> ModuleType | None:
    return sys.modules.get(module.__name__.rpartition(".")[0])


def _executed(module: ModuleType) -> ModuleType:
    with _lock:
        parent = _parent(module)
        if isinstance(parent, _Module):
            _executed(parent)
        # The parent may have used it.
        if not isinstance(module, _Module):
            return module
        spec = module.__spec__
        assert spec is not None, "an imported module has one"
        assert isinstance(spec.loader, _Loader), "a deferred module was found by our finder"
        deferring, names = spec.loader, cast("dict[str, _Name]", module.__dict__.get(_NAMES, {}))
        cast("Any", module).__class__ = ModuleType
        module.__loader__ = spec.loader = deferring.loader
        try:
            spec.loader.exec_module(module)
        except BaseException:
            # The next use tries again.
            spec.loader = deferring
            module.__class__ = _Module
            raise
        for placeholder in names.values():
            placeholder.deferred_replace()
        return module


def _postponed(module: ModuleType, name: str, function: Any = None, *arguments: Any, **named: Any) -> Any:
    """The function, which the decorator `name` of the module decorates as soon as the module has been executed."""
    if function is None:
        return partial(_postponed, module, name, **named)
    if not isfunction(function):
        return getattr(_executed(module), name)(function, *arguments, **named)
    decorated: Any = None

    @wraps(function)
    def plain_at_first(*given: Any, **given_named: Any) -> Any:
        nonlocal decorated
        if decorated is None and not isinstance(module, _Module):
            decorated = getattr(module, name)(function, *arguments, **named)
        return (decorated or function)(*given, **given_named)

    return plain_at_first


class _Name:
    """Stands for `name` of `module` in the modules that imported it, until the module is executed. Its own methods have
    names that no other object has, because all other attributes are the real object's."""

    __slots__ = ("_importers", "_module", "_name")

    def __init__(self, module: ModuleType, name: str) -> None:
        own = partial(object.__setattr__, self)
        own("_module", module)
        own("_name", name)
        own("_importers", [])

    def deferred_into(self, namespace: dict[str, Any]) -> _Name:
        self._importers.append(namespace)
        return self

    def deferred_replace(self) -> None:
        """Give the real object to the modules that imported this."""
        for namespace in self._importers:
            namespace.update(
                {key: self.deferred_object() for key, value in namespace.items() if value is self}
            )

    def deferred_object(self) -> Any:
        module = _executed(self._module)
        if not hasattr(module, self._name):
            # A submodule, which `from m import name` imports too.
            importlib.import_module(f"{module.__name__}.{self._name}")
        return getattr(module, self._name)

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED_BY_TYPING:
            raise AttributeError(name)
        return getattr(self.deferred_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.deferred_object(), name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.deferred_object()(*arguments, **named)

    def __getitem__(self, key: Any) -> Any:
        return self.deferred_object()[key]

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        del bases
        return (self.deferred_object(),)

    def __instancecheck__(self, instance: object) -> bool:
        return is_executed(self._module.__name__) and isinstance(instance, self.deferred_object())

    def __subclasscheck__(self, subclass: type) -> bool:
        return is_executed(self._module.__name__) and issubclass(subclass, self.deferred_object())

    # In annotations that are evaluated: `name | None`.
    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007  `|` would call this again

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007
