"""The error tree: complete, drawn as it is, and each leaf raised by some test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stapes import errors
from stapes.errors import ApiError, StapesError

TESTS = Path(__file__).parents[1]
DRAWN = re.compile(r"^ {4}([│├└─ ]*)(\w+Error)\b(?:\s+(\d{3}) +(\w+))?", re.MULTILINE)
CLOSE_CODES = {1001, 1008, 1009, 1011, 1013}


def descendants(kind: type[StapesError]) -> Iterator[type[StapesError]]:
    """The errors of `stapes.errors` below one, parents first."""
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from descendants(child)


def public_parent(kind: type[StapesError]) -> str:
    """The nearest parent that is part of the tree; a name with an underscore is not."""
    parents = (parent.__name__ for parent in kind.__mro__[1:])
    return next(name for name in parents if not name.startswith("_"))


def drawn_tree() -> dict[str, tuple[str | None, str | None, str | None]]:
    """Name -> (parent, status, code) as drawn in the docstring; depth is four columns a step."""
    path: list[str] = []
    tree: dict[str, tuple[str | None, str | None, str | None]] = {}
    for branch, name, status, code in DRAWN.findall(errors.__doc__ or ""):
        del path[len(branch) // 4 :]
        tree[name] = (path[-1] if path else None, status or None, code or None)
        path.append(name)
    return tree


EVERY = [kind for kind in descendants(StapesError) if not kind.__name__.startswith("_")]
TOLD = [kind for kind in EVERY if issubclass(kind, ApiError) and kind is not ApiError]
LEAVES = [kind for kind in TOLD if not list(descendants(kind))]


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    """Every error stands in the docstring below its own parent, and nothing else does."""
    real = {kind.__name__: public_parent(kind) for kind in EVERY}
    drawn = {name: parent for name, (parent, _, _) in drawn_tree().items()}
    assert drawn == {"StapesError": None, **real}


def test_the_drawn_codes_are_the_real_ones() -> None:
    """Where the drawing names a status and a code word, the class has them."""
    tree = drawn_tree()
    drawn = {name: (status, code) for name, (_, status, code) in tree.items() if status}
    real = {kind.__name__: (str(kind.status), kind.code) for kind in TOLD}
    assert drawn == {name: real[name] for name in drawn}
    assert len(drawn) >= 15


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_an_error_for_the_peer_has_all_its_codes(kind: type[ApiError]) -> None:
    """Code word, HTTP status, close code and a sentence; 5xx closes as our fault, 4xx does not."""
    assert re.fullmatch(r"[A-Z][A-Za-z]+", kind.code)
    assert 400 <= kind.status <= 599
    assert kind.close_code in CLOSE_CODES
    assert (kind.close_code in {1008, 1009}) == (kind.status < 500)
    assert kind.sentence.endswith(".")


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is(kind: type[StapesError]) -> None:
    """Each class has a docstring of its own."""
    assert kind.__dict__.get("__doc__")


def test_the_cause_never_reaches_the_peer() -> None:
    """The detail is in the log's text, and not in the public sentence."""
    error = errors.SignatureMismatchError("key 20:3b")
    assert "20:3b" in str(error)
    assert "20:3b" not in error.public


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_for_the_peer_is_named_by_a_test(kind: type[ApiError]) -> None:
    """Outside this folder, by its class or, when no other leaf has it, by its code word."""
    paths = [path for path in TESTS.rglob("*.py") if Path(__file__).parent not in path.parents]
    is_only_one = [leaf.code for leaf in LEAVES].count(kind.code) == 1
    name = re.compile(rf'\b{kind.__name__}\b|"{kind.code if is_only_one else kind.__name__}"')
    assert any(name.search(path.read_text(encoding="utf-8")) for path in paths)
