"""A model of sherpa-onnx in a folder: which kind it is, and how it is loaded.

The files of the folder (`stapes.engines.model_folder`) tell what it is:

* a transducer (Zipformer and others): ``encoder*.onnx``, ``decoder*.onnx``, ``joiner*.onnx``; with
  ``bpe.vocab`` or ``bpe.model`` (or the option ``modeling_unit = "cjkchar"``) it takes phrases
* Paraformer: ``encoder*.onnx``, ``decoder*.onnx``
* one ``*.onnx``: a CTC model, of Zipformer2, NeMo or T-one by the fields of its metadata

and ``tokens.txt`` in each. Where they do not tell, the option ``kind`` does: one of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from stapes.engines.model_folder import ModelFolder, read_onnx_fields
from stapes.engines.vocabulary import write_vocabulary
from stapes.errors import EngineError


def _transducer(folder: ModelFolder, scratch: Path) -> dict[str, str]:
    files = {part: str(folder.file(f"{part}*.onnx")) for part in ("encoder", "decoder", "joiner")}
    if not takes_phrases(folder):
        return files
    unit = str(folder.options.get("modeling_unit", "bpe"))
    beam = {"decoding_method": "modified_beam_search", "modeling_unit": unit}
    return {**files, **beam, "bpe_vocab": _vocabulary(folder, scratch)}


def _vocabulary(folder: ModelFolder, scratch: Path) -> str:
    """The file of the pieces that words are spelt with; made of ``bpe.model`` where it is not."""
    given = folder.find("bpe.vocab")
    model = folder.find("bpe.model")
    if given is not None or model is None:
        return str(given or "")
    made = scratch / "bpe.vocab"
    made.write_text(write_vocabulary(model.read_bytes()), encoding="utf-8")
    return str(made)


def _ctc(folder: ModelFolder, _scratch: Path) -> dict[str, str]:
    return {"model": str(folder.file("*.onnx"))}


def _paraformer(folder: ModelFolder, _scratch: Path) -> dict[str, str]:
    return {part: str(folder.file(f"{part}*.onnx")) for part in ("encoder", "decoder")}


KINDS: Mapping[str, tuple[str, Callable[[ModelFolder, Path], dict[str, str]]]] = MappingProxyType(
    {
        "transducer": ("from_transducer", _transducer),
        "zipformer2-ctc": ("from_zipformer2_ctc", _ctc),
        "nemo-ctc": ("from_nemo_ctc", _ctc),
        "t-one-ctc": ("from_t_one_ctc", _ctc),
        "paraformer": ("from_paraformer", _paraformer),
    }
)
"""What loads each kind, and the arguments that are its own: of its files, or made in a folder that
is there while it loads."""


def find_kind(folder: ModelFolder) -> str:
    """The kind of model that is in a folder. Raises `EngineError`."""
    kind = str(folder.options.get("kind") or _kind_by_files(folder))
    if kind not in KINDS:
        raise EngineError(f"no kind of model {kind!r}; there are: {', '.join(KINDS)}")
    return kind


def _kind_by_files(folder: ModelFolder) -> str:
    if folder.find("joiner*.onnx"):
        return "transducer"
    if folder.find("encoder*.onnx"):
        return "paraformer"
    fields = read_onnx_fields(folder.file("*.onnx"))
    if "frame_length_ms" in fields:
        return "t-one-ctc"
    return "zipformer2-ctc" if fields.get("model_type") == "zipformer2" else "nemo-ctc"


def load_recognizer(folder: ModelFolder, kind: str) -> Any:
    """sherpa-onnx's own recogniser, of one of `KINDS`. Raises `EngineError`."""
    name, own_arguments = KINDS[kind]
    try:
        import sherpa_onnx

        with TemporaryDirectory(prefix="stapes-") as scratch:
            return getattr(sherpa_onnx.OnlineRecognizer, name)(
                tokens=str(folder.file("tokens.txt")),
                num_threads=1,  # a process is one core's work; threads would not survive the fork
                sample_rate=folder.sample_rate_hz,
                **own_arguments(folder, Path(scratch)),
            )
    except ImportError as error:
        raise EngineError(f"sherpa-onnx is not installed: {error}") from error
    except (RuntimeError, ValueError, AssertionError) as error:
        raise EngineError(f"the model could not be loaded: {error}") from error


def takes_phrases(folder: ModelFolder) -> bool:
    """Whether a transducer in this folder can be told what to hear rather."""
    is_spelt = folder.options.get("modeling_unit") == "cjkchar"
    return is_spelt or any(folder.find(name) for name in ("bpe.vocab", "bpe.model"))
