"""The options of estimators and of their parts, held against the bounds that their types state."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from estimators.core import Bound


def check_options(part: Any) -> None:
    """Raise ValueError for an option that its type forbids, of a partial function or of one among its options."""
    if not isinstance(part, partial):
        return
    try:
        types = get_type_hints(part.func, include_extras=True)
    except (NameError, TypeError):  # a user's annotations may not resolve
        types = {}
    for name, value in part.keywords.items():
        check_options(value)
        for bound in _bounds(types.get(name)):
            bound.check(**{name: value})


def _bounds(annotation: Any) -> Iterator[Bound]:
    """The bounds in a type, also in one of a union."""
    if get_origin(annotation) is Annotated:
        yield from (mark for mark in annotation.__metadata__ if isinstance(mark, Bound))
    else:
        for inner in get_args(annotation):
            yield from _bounds(inner)
