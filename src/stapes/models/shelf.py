"""The shelf: the folder of installed models.

::

    models/
    ├── NAME/                    an installed model: put in place last, whole and checked
    │   ├── stapes-model.toml    its row, with the commit, and size and hash of every file
    │   └── …                    its files
    └── .NAME.…                  one that is being pulled, or taken away

Whatever a pull was cut off by, what stands there under its name is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stapes.engines.model_folder import RECORD
from stapes.errors import ModelError
from stapes.models.catalogue import Catalogue, Model, parse_model

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model that can be loaded; ``folder`` is None when it comes with Stapes."""

    row: Model
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        return self.row.name


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is installed, by name, and what looks installed and cannot be read."""

    models: dict[str, InstalledModel]
    faults: tuple[str, ...] = ()


def read_shelf(folder: Path, catalogue: Catalogue) -> Shelf:
    """What is installed in ``folder``, and what comes with Stapes."""
    models = {row.name: InstalledModel(row) for row in catalogue.values() if row.is_built_in}
    faults = []
    for path in sorted(folder.glob(f"[!.]*/{RECORD}")):
        try:
            model = InstalledModel(read_record(path.parent), path.parent)
        except ModelError as error:
            faults.append(str(error))
        else:
            models[model.name] = model
    return Shelf(models, tuple(faults))


def only(name: str, shelf: Shelf) -> list[InstalledModel]:
    """The one model of this name that hears, and those that set marks in what it hears.

    Raises `ModelError`, which names what is installed, when it is not.
    """
    hearing = sorted(each.name for each in shelf.models.values() if each.row.hears)
    if name not in hearing:
        installed = ", ".join(hearing)
        raise ModelError(f"no model {name!r} that hears is installed; there are: {installed}")
    return [each for each in shelf.models.values() if each.name == name or not each.row.hears]


def read_record(folder: Path) -> Model:
    """What was written of the model in ``folder`` when it was pulled. Raises `ModelError`."""
    path = folder / RECORD
    try:
        row = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if row.get("name") != folder.name:
        raise ModelError(f"{path} is of the model {row.get('name')}, and its folder is not")
    return parse_model(row, str(path))


def write_record(folder: Path, row: Model) -> None:
    """Write what `read_record` reads, all of it or nothing."""
    made = folder / f".{RECORD}"
    made.write_text(_document(row.model_dump(exclude_none=True)), encoding="utf-8")
    made.replace(folder / RECORD)


def _document(values: Mapping[str, Any]) -> str:
    """A document in TOML: values first, then tables and lists of tables."""
    plain, tables = [], []
    for key, value in values.items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *_pairs(value)] if value else []
        elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
            tables += [line for each in value for line in ("", f"[[{key}]]", *_pairs(each))]
        else:
            plain += _pairs({key: value})
    return "\n".join([*plain, *tables]) + "\n"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    """A value in TOML: what JSON writes of texts, numbers, truths and lists of them is that too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def find_faults(model: InstalledModel) -> list[str]:
    """What is wrong with the files of a model, one sentence each; reads all of them."""
    if model.folder is None:
        return []
    found = []
    for file in model.row.files:
        path = model.folder / file.path
        if not path.is_file():
            found.append(f"{file.path} is missing")
        elif file.size not in {None, path.stat().st_size}:
            found.append(f"{file.path} has {path.stat().st_size} bytes, not {file.size}")
        elif file.sha256 not in {None, hash_file(path)}:
            found.append(f"{file.path} is not what was pulled: its SHA-256 is another")
    return found


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def put(made: Path, folder: Path, name: str) -> InstalledModel:
    """Put the whole model in ``made`` on the shelf, in place of one of the same name."""
    final = folder / name
    if final.exists():
        final.rename(_aside(folder, name))
    made.rename(final)
    sweep(folder, name)
    return InstalledModel(read_record(final), final)


def remove(folder: Path, name: str) -> None:
    """Take a model away. What a server has loaded, it keeps. Raises `ModelError`."""
    path = next((path for path in folder.glob(f"[!.]*/{RECORD}") if path.parent.name == name), None)
    if path is None:
        raise ModelError(f"the model {name!r} is not installed; see `stapes models list`")
    path.parent.rename(_aside(folder, name))
    sweep(folder, name)


def _aside(folder: Path, name: str) -> Path:
    return folder / f".{name}.removed-{os.getpid()}"


def sweep(folder: Path, name: str) -> None:
    """Clear away what pulls and removals of a model left."""
    for what in ("pulling", "copying", "removed"):
        for left in folder.glob(f".{name}.{what}-*"):
            shutil.rmtree(left)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time changes the shelf; the lock ends with the process, whatever its end.

    Makes the folder when it is not there. Raises `ModelError` when another one is at it, and for
    what the disk does not take.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)
    except BlockingIOError as error:
        raise ModelError(f"another command changes {folder} right now; try again") from error
    except OSError as error:
        raise ModelError(f"{folder} cannot be changed: {error}") from error
