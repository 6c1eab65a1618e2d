"""Models on a shelf that need no download: the scripted engine stands in for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stapes.models.catalogue import Model, ModelFile
from stapes.models.shelf import InstalledModel, write_record


def install(shelf: Path, name: str, *languages: str, **changes: Any) -> InstalledModel:
    """Put one there; it serves what its row says, and says what the scripted engine does."""
    values = {
        "name": name,
        "engine": "scripted",
        "model_type": "ORACLE",
        "languages": languages,
        "domains": ["GENERIC"],
        "sample_rate_hz": 16000,
        "streaming": True,
        "files": [ModelFile(path="model.onnx")],
    }
    row = Model.model_validate({**values, **changes})
    folder = shelf / name
    folder.mkdir(parents=True)
    write_record(folder, row)
    for file in row.files:
        (folder / file.path).touch()
    return InstalledModel(row, folder)
