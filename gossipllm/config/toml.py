"""TOML to frozen dataclasses and back, with strict checks, and with each field's docstring as its comment.

The types understood are those that our configurations use: `str`, `int`, `float`, `bool`, `Literal`, `Annotated`
with a table of names, unions of these, `tuple[X, ...]` and other dataclasses, which become tables. Every error is
the user's and raises `UserMistake` with the file, the dotted key and what to write instead.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import textwrap
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from trust.errors import UserMistake

C = TypeVar("C")

_SCALARS: Final = types.MappingProxyType(
    {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
)


def read_toml(path: Path, cls: type[C]) -> C:
    """The configuration in a file. Keys that it leaves out keep their defaults."""
    return from_mapping(cls, toml_values(path), str(path))


def toml_values(path: Path) -> dict[str, Any]:
    """The contents of a TOML file, not yet checked against any configuration. Raises `UserMistake`."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UserMistake(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserMistake(f"{path}: no valid TOML: {error}") from None


def from_mapping(cls: type[C], mapping: Mapping[str, object], where: str) -> C:
    """`mapping` as a `cls`. `where` (a file's name) begins every error message."""
    return _dataclass(cls, mapping, where, ())


def commented_toml(config: object) -> str:
    """A TOML file with every key of `config`, commented; it reads back as `config`."""
    return toml_text(described(config))


def toml_text(tables: Iterable[TomlTable]) -> str:
    """`tables` as a TOML file. Tables without settings are left out."""
    lines: list[str] = []
    for table in tables:
        if table.name and table.settings:
            lines += [*_comment(table.about), f"[{table.name}]"]
        for setting in table.settings:
            lines += [*_comment(setting.about), f"{setting.name} = {setting.value}", ""]
    return "\n".join(lines).strip() + "\n"


@dataclass(frozen=True, slots=True)
class TomlSetting:
    """A key, its value as TOML, the values that it takes in words, and its docstring."""

    name: str
    value: str
    kind: str
    about: str


@dataclass(frozen=True, slots=True)
class TomlTable:
    """A dataclass as a table: its dotted name ("" for the outermost), its docstring and its settings."""

    name: str
    about: str
    settings: tuple[TomlSetting, ...]


def described(config: object) -> list[TomlTable]:
    """The tables and settings of `config`, in the order of the file."""
    return [*_tables(config, (), "")]


def _dataclass(cls: type[C], mapping: Mapping[str, object], where: str, path: tuple[str, ...]) -> C:
    hints = get_type_hints(cls, include_extras=True)
    known = {field.name: field for field in _fields(cls)}
    for key in mapping:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise _mistake(where, (*path, key), f"unknown key, {hint}")
    for name, field in known.items():
        if name not in mapping and field.default is MISSING and field.default_factory is MISSING:
            raise _mistake(where, (*path, name), "is missing")
    values = {key: _value(hints[key], value, where, (*path, key)) for key, value in mapping.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise _mistake(where, path, str(error)) from None


def _value(kind: Any, value: object, where: str, path: tuple[str, ...]) -> object:
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise _mistake(where, path, f"must be a table, got {_shown(value)}")
        return _dataclass(cast("type[Any]", kind), cast("Mapping[str, object]", value), where, path)
    if choices := _choices(kind):
        return _choice(choices, value, where, path)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _mistake(where, path, f"must be a list, got {_shown(value)}")
        (element, _) = get_args(kind)
        items = cast("list[object]", value)
        return tuple(_value(element, item, where, (*path, str(i))) for i, item in enumerate(items))
    if get_origin(kind) in (Union, types.UnionType):
        return _either(get_args(kind), value, where, path)
    return _scalar(kind, value, where, path)


def _either(kinds: tuple[Any, ...], value: object, where: str, path: tuple[str, ...]) -> object:
    """`value` as the first of `kinds` (scalars and choices) that takes it."""
    for kind in kinds:
        with contextlib.suppress(UserMistake):
            return _value(kind, value, where, path)
    wanted = " or ".join(_wanted(kind) for kind in kinds)
    raise _mistake(where, path, f"must be {wanted}, got {_shown(value)}")


def _kind_text(kind: Any) -> str:
    """The values that a setting of this type takes, in words."""
    if get_origin(kind) is tuple:
        return f"a list, each {_kind_text(get_args(kind)[0])}"
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_kind_text(each) for each in get_args(kind))
    return f"one of {_wanted(kind)}" if _choices(kind) else _wanted(kind)


def _wanted(kind: Any) -> str:
    choices = _choices(kind)
    return ", ".join(literal(choice) for choice in choices) if choices else _SCALARS[kind]


def _choices(kind: Any) -> tuple[object, ...]:
    """The values that a `Literal` allows, or an `Annotated` with a table whose keys are the values; else none."""
    if get_origin(kind) is Annotated:
        return tuple(get_args(kind)[1])
    return get_args(kind) if get_origin(kind) is Literal else ()


def _choice(choices: tuple[object, ...], value: object, where: str, path: tuple[str, ...]) -> object:
    # Not `in`: True equals 1, and 1.0 equals 1.
    if any(type(choice) is type(value) and choice == value for choice in choices):
        return value
    close = difflib.get_close_matches(value, [str(c) for c in choices], n=1) if isinstance(value, str) else []
    hint = f"; did you mean {literal(close[0])}?" if close else ""
    listed = ", ".join(literal(choice) for choice in choices)
    raise _mistake(where, path, f"must be one of {listed}, got {_shown(value)}{hint}")


def _scalar(kind: Any, value: object, where: str, path: tuple[str, ...]) -> object:
    if kind not in _SCALARS:
        raise TypeError(f"{'.'.join(path)} has a type that settings do not know: {kind}")
    if kind is float and type(value) is int:
        return float(value)
    # `type(...) is`, because a bool is an int to isinstance.
    if type(value) is not kind:
        raise _mistake(where, path, f"must be {_SCALARS[kind]}, got {_shown(value)}")
    return value


def _tables(config: object, path: tuple[str, ...], about: str) -> Iterator[TomlTable]:
    documented, hints = _docstrings(type(config)), get_type_hints(type(config), include_extras=True)
    values = {field.name: getattr(config, field.name) for field in _fields(type(config))}
    settings = (
        TomlSetting(name, literal(value), _kind_text(hints[name]), " ".join(documented.get(name, "").split()))
        for name, value in values.items()
        if not is_dataclass(value)
    )
    yield TomlTable(".".join(path), about, tuple(settings))
    for name, value in values.items():
        if is_dataclass(value):
            yield from _tables(value, (*path, name), documented.get(name) or _summary(type(value)))


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), width=98):
        yield f"# {line}"


def _summary(cls: type) -> str:
    """The class's own docstring; the one that `dataclass` makes up is its signature."""
    text = cls.__doc__ or ""
    return "" if text.startswith(f"{cls.__name__}(") else text.split("\n\n")[0]


@cache
def _docstrings(cls: type) -> dict[str, str]:
    """Field name -> the string that stands under it in the source of `cls` or of a base."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef), "the source of a class is a class definition"
        for statement, after in zip(body.body, body.body[1:], strict=False):
            match statement, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
                case _:
                    pass
    return found


def literal(value: object) -> str:
    """A value as TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            return '"' + "".join(map(_escaped, value)) + '"'
        case tuple():
            return "[" + ", ".join(literal(item) for item in cast("tuple[object, ...]", value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} has no form in TOML here")


_ESCAPES = types.MappingProxyType({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def _fields(cls: type) -> tuple[Field[Any], ...]:
    return fields(cast("Any", cls))


def _mistake(where: str, path: tuple[str, ...], what: str) -> UserMistake:
    return UserMistake(": ".join(part for part in (where, ".".join(path), what) if part))
