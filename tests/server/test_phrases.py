"""Phrase lists: which are selected, what may be in them, and what leads nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.errors import InvalidParameterError
from stapes.server.phrases import LONGEST_PHRASE, MOST_BYTES, MOST_LISTS, MOST_PHRASES, read_phrases


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists, and files that are none."""
    home = tmp_path_factory.mktemp("home")
    made = home / "customizations"
    made.mkdir()
    (home / "secret.txt").write_text("secret")
    (made / ".hidden.txt").write_text("hidden")
    (made / "drugs.txt").write_text("\ufeffamoxicillin\r\n\n  beta   blocker \n", "utf-8")
    (made / "names.txt").write_text("Zoë\namoxicillin\n", "utf-8")
    (made / "ocid1.aispeechcustomization.oc1..abc.txt").write_text("by id")
    (made / "bytes.txt").write_bytes(b"\xff\xfe")
    (made / "many.txt").write_text("\n".join(map(str, range(MOST_PHRASES + 1))))
    (made / "full.txt").write_text("\n".join(map(str, range(MOST_PHRASES))))
    (made / "large.txt").write_text(" " * (MOST_BYTES + 1))
    (made / "long.txt").write_text("x" * (LONGEST_PHRASE + 1))
    (made / "control.txt").write_text("a\x00b")
    (made / "folder.txt").mkdir()
    os.mkfifo(made / "pipe.txt")
    return made


def read(folder: Path, *customizations: dict[str, Any], ignores: bool = False) -> tuple[str, ...]:
    return read_phrases(folder, customizations, ignores_invalid=ignores)


def test_lists_are_joined(folder: Path) -> None:
    """Every phrase once, spaces made plain, the alias before the id."""
    drugs = {"customizationAlias": "drugs", "customizationId": "other", "compartmentId": "any"}
    assert read(folder, drugs) == ("amoxicillin", "beta blocker")
    by_id = {"customizationId": "ocid1.aispeechcustomization.oc1..abc"}
    found = read(folder, drugs, {"customizationId": "names"}, by_id)
    assert found == ("amoxicillin", "beta blocker", "Zoë", "by id")


def test_entities_select_lists(folder: Path) -> None:
    """Beside that of their customization, or alone."""
    entities = [{"entityType": "name", "customizationAlias": "names"}]
    assert read(folder, {"entities": entities}) == ("Zoë", "amoxicillin")
    both = {"customizationAlias": "drugs", "entities": entities}
    assert read(folder, both) == ("amoxicillin", "beta blocker", "Zoë")


@pytest.mark.parametrize(
    ("alias", "named"),
    [
        ("nonesuch", "nonesuch cannot be used: the server has no such list"),
        ("Drugs", "no such list"),
        ("folder", "no such list"),
        ("pipe", "no such list"),
        ("bytes", "it cannot be read"),
        ("many", "it is too long"),
        ("large", "it is too long"),
        ("long", "a phrase in it that is none"),
        ("control", "a phrase in it that is none"),
        ("../secret", "number 2 has not"),
        ("/etc/passwd", "number 2 has not"),
        (".hidden", "number 2 has not"),
        ("", "number 2 has not"),
        ("drugs\n", "number 2 has not"),
        ("drugs\x00", "number 2 has not"),
        ("d" * 201, "number 2 has not"),
        ("٣", "number 2 has not"),
        (7, "number 2 has not"),
        (None, "number 2 has not"),
        ({"a": 1}, "number 2 has not"),
    ],
)
def test_a_list_that_cannot_be_used(folder: Path, alias: object, named: str) -> None:
    """Is named; or passed over, and the others stand."""
    chosen = ({"customizationAlias": "drugs"}, {"customizationAlias": alias})
    with pytest.raises(InvalidParameterError) as caught:
        read(folder, *chosen)
    assert named in caught.value.public
    assert read(folder, *chosen, ignores=True) == ("amoxicillin", "beta blocker")


@pytest.mark.parametrize("entities", ["names", 1, {"customizationAlias": "names"}, [["names"]]])
def test_entities_that_are_none(folder: Path, entities: object) -> None:
    """A list of objects, or what is taken for one of one object."""
    chosen = {"customizationAlias": "drugs", "entities": entities}
    assert read(folder, chosen, ignores=True)[:2] == ("amoxicillin", "beta blocker")


def test_bounds(folder: Path) -> None:
    """Of lists, and of phrases in all."""
    full, names = {"customizationAlias": "full"}, {"customizationAlias": "names"}
    with pytest.raises(InvalidParameterError, match="more than 500 phrases"):
        read(folder, full, names)
    assert len(read(folder, full, names, ignores=True)) == MOST_PHRASES
    with pytest.raises(InvalidParameterError, match=f"at most {MOST_LISTS} lists"):
        read(folder, *[names] * (MOST_LISTS + 1))
    assert len(read(folder, *[names] * 10_000, ignores=True)) == 2


def test_no_folder(tmp_path: Path) -> None:
    """A home without lists has none."""
    with pytest.raises(InvalidParameterError, match="no such list"):
        read(tmp_path / "customizations", {"customizationAlias": "drugs"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NAMED = st.dictionaries(
    st.sampled_from(["customizationAlias", "customizationId", "entities", "compartmentId"]), JSON
)


@given(st.lists(NAMED, max_size=4), st.booleans())
def test_whatever_is_sent(folder: Path, customizations: list[Any], ignores: bool) -> None:
    """Selects nothing, or is refused; nothing else is ever raised."""
    try:
        assert read(folder, *customizations, ignores=ignores) == ()
    except InvalidParameterError:
        assert not ignores
