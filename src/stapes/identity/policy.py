"""Policy statements, in OCI's words.

Source: OCI documentation, policy syntax, of which this is the part that speech needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stapes.errors import InvalidParameterError
from stapes.identity.model import Binding, Directory, Verb

FAMILY = "ai-service-speech-family"
FORM = (
    f"Allow {{any-user | group NAME}} to {{inspect | read | use | manage}} {FAMILY} "
    "in {tenancy | compartment NAME[:NAME]}"
)

_GROUP = r"""group\s+(?:'(?P<single>[^']+)'|"(?P<double>[^"]+)"|(?P<bare>[\w.@+-]+))"""
_NAME = r"[\w.-]+"
_STATEMENT = re.compile(
    rf"allow\s+(?:any-user|{_GROUP})\s+to\s+(?P<verb>inspect|read|use|manage)\s+{FAMILY}"
    rf"\s+in\s+(?:tenancy|compartment\s+(?P<path>{_NAME}(?::{_NAME})*))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement.

    Attributes:
        group: the name of the group it speaks of; None for any user.
        verb: what it allows.
        path: names of compartments from the root down; empty for the whole tenancy.
    """

    group: str | None
    verb: Verb
    path: tuple[str, ...]


def parse_statement(text: str) -> Statement:
    """Parse one statement; keywords in any case, names as they are.

    Raises `InvalidParameterError` naming the statement and the form it must have.
    """
    found = _STATEMENT.fullmatch(text.strip())
    if found is None:
        raise InvalidParameterError(f"statement {text!r:.300}: must be {FORM}")
    path = found["path"]
    return Statement(
        group=found["single"] or found["double"] or found["bare"],
        verb=Verb(found["verb"].lower()),
        path=tuple(path.split(":")) if path else (),
    )


def bind(directory: Directory, tenancy_id: str, statements: Iterable[str]) -> tuple[Binding, ...]:
    """What statements speak of, by OCID, as things are named now.

    Names are looked up once, when a policy is written: whoever later renames or moves a
    compartment, or makes another of the same name, gains nothing by it. Raises
    `InvalidParameterError` naming the statement, and the group or compartment that does not exist.
    """
    return tuple(_bind(directory, tenancy_id, text) for text in statements)


def _bind(directory: Directory, tenancy_id: str, text: str) -> Binding:
    statement = parse_statement(text)
    group_id = None
    if statement.group is not None:
        group_id = _group_id(directory, tenancy_id, statement.group, text)
    place = tenancy_id
    for name in statement.path:
        place = _child_id(directory, tenancy_id, place, name, text)
    return Binding(group_id, statement.verb, place)


def _group_id(directory: Directory, tenancy_id: str, name: str, text: str) -> str:
    for group in directory.groups.values():
        if group.tenancy_id == tenancy_id and group.name == name:
            return group.id
    raise InvalidParameterError(f"statement {text!r:.300}: there is no group {name}")


def _child_id(directory: Directory, tenancy_id: str, parent_id: str, name: str, text: str) -> str:
    for it in directory.compartments.values():
        if (it.tenancy_id, it.parent_id, it.name) == (tenancy_id, parent_id, name):
            return it.id
    raise InvalidParameterError(f"statement {text!r:.300}: there is no compartment {name} there")
