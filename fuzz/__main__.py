"""``python -m fuzz TARGET [libFuzzer arguments]`` fuzzes one target until told to end."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["stapes", "json"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Hand over to libFuzzer; it ends the process."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"python -m fuzz {{{','.join(TARGETS)}}} [libFuzzer arguments]")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    atheris.enabled_hooks.add("RegEx")
    atheris.enabled_hooks.add("str")
    main()
