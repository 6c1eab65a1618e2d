"""Policy statements, in OCI's words.

Source: OCI documentation, policy syntax, of which this is the part that speech needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stapes.errors import InvalidParameterError
from stapes.identity.model import Verb

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
