"""``python -m bench NAME [--json] [arguments]`` runs one benchmark; without a name, lists them.

Prints a table. With --json the last line is one JSON object: name, machine, figures, bars.
Exit code 0: every bar met; 1: a bar not met; 2: no such benchmark.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Report, publish

FRAME = {
    "__init__",
    "__main__",
    "both_ways",
    "harness",
    "instances",
    "socket_peer",
    "soaking",
    "socket_script",
    "token_peer",
}


def benchmarks() -> dict[str, str]:
    """Name and first docstring line of each benchmark; none is imported for it."""
    paths = [path for path in Path(__file__).parent.glob("*.py") if path.stem not in FRAME]
    return {path.stem.replace("_", "-"): _first_line(path) for path in sorted(paths)}


def main(arguments: Sequence[str], console: Console) -> int:
    """Run what the arguments name; return the exit code."""
    names = [argument for argument in arguments if argument != "--json"]
    if not names or names[0] in {"-h", "--help"}:
        console.print(_help(), markup=False, highlight=False)
        return 0
    name, rest = names[0], names[1:]
    if name not in benchmarks():
        console.print(f"no benchmark {name!r}; there are: {', '.join(benchmarks())}", markup=False)
        return 2
    module = importlib.import_module(f"bench.{name.replace('-', '_')}")
    report: Report = module.run(rest)
    return publish(report, as_json="--json" in arguments, console=console)


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _help() -> str:
    lines = [f"  {name:12} {line}" for name, line in benchmarks().items()]
    return "\n".join(["scripts/bench NAME [--json] [arguments of the benchmark]", "", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Console()))
