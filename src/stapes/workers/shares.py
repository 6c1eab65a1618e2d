"""What each model of a server serves, as it is told: in the log, at ``/ready``, in refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from stapes.models.catalogue import Need

MOST_LANGUAGES_NAMED = 12


@dataclass(frozen=True, slots=True)
class Share:
    """What one model serves: every language in every domain."""

    model: str
    engine: str
    model_type: str
    domains: tuple[str, ...]
    languages: tuple[str, ...]


def share_out(routes: Mapping[Need, str], engines: Mapping[str, str]) -> list[Share]:
    """The needs that each model serves, together."""

    def order(need: Need) -> tuple[str, Need]:
        return routes[need], need

    return [
        Share(name, engines[name], model_type, *split(served))
        for (name, model_type), served in groupby(
            sorted(routes, key=order), key=lambda need: (routes[need], need.model_type)
        )
    ]


def split(served: Iterable[Need]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The domains and the languages of the needs that are served."""
    needs = list(served)
    domains, languages = ({need.domain for need in needs}, {need.language for need in needs})
    return tuple(sorted(domains)), tuple(sorted(languages))


def listed(languages: tuple[str, ...], separator: str) -> str:
    """Languages as one reads them: of many, the first."""
    shown = separator.join(languages[:MOST_LANGUAGES_NAMED])
    more = len(languages) - MOST_LANGUAGES_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
