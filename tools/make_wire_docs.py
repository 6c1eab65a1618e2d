#!/usr/bin/env python3
"""Makes ``docs/asyncapi.yaml``, and the tables of ``docs/wire.md``, again from the code.

The text of ``wire.md`` is written by hand; what stands between ``<!-- table: NAME -->`` and
``<!-- end -->`` is replaced. Run ``PYTHONPATH=src:. python tools/make_wire_docs.py`` after a change
of the messages, the parameters, the transitions, the errors or a limit.
"""

from __future__ import annotations

from pathlib import Path

from tools.asyncapi import asyncapi
from tools.wire_tables import wire

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """Write both documents."""
    document = DOCS / "wire.md"
    document.write_text(wire(document.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "asyncapi.yaml").write_text(asyncapi(), encoding="utf-8")


if __name__ == "__main__":
    main()
