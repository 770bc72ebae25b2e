"""Frozen keyword-only values, declared like dataclasses and made by one small base class.

A dataclass costs 0.3 to 0.6 ms each at import; forty of them would be half of what a command may
spend before it runs a container. A `Value` costs 0.01 ms. Type checkers see a frozen dataclass
(`dataclass_transform`); at run time the fields become `__slots__` and one shared `__init__`,
`__eq__`, `__hash__` and `__repr__` serve every class.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_options: object) -> object:
        """Return the class unchanged: the marker is for type checkers only."""
        return lambda cls: cls


class _ValueType(type):
    """Turns a class body's annotations into slots, fields and defaults."""

    _fields: tuple[str, ...]
    _defaults: dict[str, Any]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _ValueType:
        """Make the class; annotated names are its fields, in order, after its bases' fields."""
        own = tuple(field for field in namespace.get("__annotations__", ()) if field[0] != "_")
        defaults = {field: namespace.pop(field) for field in own if field in namespace}
        namespace["__slots__"] = own
        cls = super().__new__(mcs, name, bases, namespace)
        inherited = [base for base in bases if isinstance(base, _ValueType)]
        cls._fields = tuple(f for base in inherited for f in base._fields) + own
        cls._defaults = {k: v for base in inherited for k, v in base._defaults.items()} | defaults  # noqa: SLF001
        return cls


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Value(metaclass=_ValueType):
    """An immutable value: keyword-only construction, equality and hash by fields.

    Defaults are shared between instances, so they must be immutable (use `()` and `EMPTY`).
    """

    def __init__(self, **given: Any) -> None:
        """Set every field; a missing or an unknown one raises TypeError."""
        cls = type(self)
        fields, defaults, assign = cls._fields, cls._defaults, object.__setattr__
        for field in fields:
            if field in given:
                assign(self, field, given[field])
            elif field in defaults:
                assign(self, field, defaults[field])
            else:
                message = f"{cls.__name__}: missing field {field!r}"
                raise TypeError(message)
        if len(given) > len(fields) or not given.keys() <= set(fields):
            unknown = ", ".join(sorted(given.keys() - set(fields)))
            message = f"{cls.__name__}: no such field: {unknown}"
            raise TypeError(message)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.as_dict(), **changes})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, values as they are (not copied, not converted)."""
        return {field: getattr(self, field) for field in type(self)._fields}

    def __setattr__(self, name: str, _value: object = None) -> None:
        """Refuse: values do not change."""
        message = f"{type(self).__name__}.{name} is read-only"
        raise AttributeError(message)

    __delattr__ = __setattr__

    def __eq__(self, other: object) -> bool:
        """Compare by class and fields."""
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, f) == getattr(other, f) for f in type(self)._fields)

    def __hash__(self) -> int:
        """Hash by class and fields; mappings, which cannot be hashed, are left to `__eq__`."""
        fields = (getattr(self, f) for f in type(self)._fields)
        return hash((type(self), *(v for v in fields if not isinstance(v, _MAPPINGS))))

    def __repr__(self) -> str:
        """Show the class and every field."""
        shown = ", ".join(f"{f}={getattr(self, f)!r}" for f in type(self)._fields)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by fields (slots without `__setattr__` cannot do it by themselves)."""
        fields = {k: dict(v) if isinstance(v, _mappingproxy) else v for k, v in self.as_dict().items()}
        return (_rebuild, (type(self), fields))


def _rebuild(cls: type[Value], fields: dict[str, Any]) -> Value:
    return cls(**fields)


class _Nothing:
    """Only its empty class dictionary's type is used."""


# The type of a read-only mapping, without importing `types`.
_mappingproxy: Any = type(_Nothing.__dict__)
_MAPPINGS = (dict, _mappingproxy)
EMPTY: Any = _mappingproxy({})
"""An empty read-only mapping, for defaults."""
