"""Pulling a model: from the hub, a mirror of it, or a folder, onto the shelf.

Files go to a folder of the shelf whose name begins with a dot. What is there already is not
fetched again, and a file that was cut off goes on where it ended. The model is put in place when
every file is there with the hash that it should have.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from stapes.errors import HubUnreachableError, ModelError
from stapes.models.catalogue import Model, ModelFile
from stapes.models.shelf import (
    InstalledModel,
    find_faults,
    hash_file,
    locked,
    put,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ANSWER_TIMEOUT_S = 4.5
"""How long the hub may take to say what a repository holds, its name's look-up included."""

OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
)
"""What goes wrong with a file that is written, and is no fault of the hub's."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the hub says of a file: its size, and its SHA-256 or else its git object id."""

    size: int | None
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class HubListing:
    """A repository at one commit: its files by path."""

    commit: str
    files: dict[str, HubFile]


def pull(row: Model, shelf: Path, *, mirror: str | None = None) -> InstalledModel:
    """Pull a model from the hub, or from a mirror that speaks as it does.

    A progress bar is drawn where standard error is a terminal. A model that is installed at the
    commit that was asked for, whole, is left as it is.

    Raises:
        HubUnreachableError: no answer within 5 s, or none any more; what came so far is kept.
        ModelError: the hub has no such thing, a file is not what it should be, or the disk takes
            no more; what came so far is kept then, too.
    """
    if row.repository is None:
        raise ModelError(f"{row.name} has no repository; give its folder with --from")
    with locked(shelf):
        hub = _open_hub(mirror)
        listing = _list_files(hub, row)
        if (present := _present(row, shelf / row.name, listing.commit)) is not None:
            return _described(present, row)
        making = shelf / f".{row.name}.pulling-{listing.commit[:12]}"
        files = [_fetch(hub, row, listing, file, making) for file in row.files]
        return _finish(row, listing.commit, files, making, shelf)


def pull_from(row: Model, shelf: Path, source: Path) -> InstalledModel:
    """Install a model from a folder that holds its files, by their paths or bare names.

    Hashes that the catalogue knows are checked; the others are taken as they are found, and so is
    the commit, when the folder is one that was pulled. Raises `ModelError`.
    """
    with locked(shelf):
        making = shelf / f".{row.name}.copying-{os.getpid()}"
        try:
            files = [_copy(file, source, making) for file in row.files]
            return _finish(row, _commit_of(row, source), files, making, shelf)
        except OSError as error:
            raise ModelError(f"{row.name} cannot be installed from {source}: {error}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)


def _present(row: Model, folder: Path, commit: str) -> InstalledModel | None:
    try:
        installed = InstalledModel(read_record(folder), folder)
    except ModelError:
        return None
    paths = {file.path for file in installed.row.files}
    if installed.row.revision != commit or paths != {file.path for file in row.files}:
        return None
    return None if find_faults(installed) else installed


def _described(installed: InstalledModel, row: Model) -> InstalledModel:
    """The model as the catalogue has it now: its files are the same, the rest may have changed."""
    assert installed.folder is not None
    known = {"revision": installed.row.revision, "files": installed.row.files}
    now = row.model_copy(update=known)
    if now != installed.row:
        write_record(installed.folder, now)
    return InstalledModel(now, installed.folder)


def _finish(
    row: Model, commit: str | None, files: list[ModelFile], making: Path, shelf: Path
) -> InstalledModel:
    record = row.model_copy(update={"revision": commit, "files": tuple(files)})
    write_record(making, record)
    return put(making, shelf, row.name)


def _open_hub(mirror: str | None) -> HfApi:
    """The hub's client. Raises `ModelError` that says how to get it where it is missing."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ModelError(
            "pulling models needs another package: pip install 'stapes[models]'"
        ) from error
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # we say it ourselves
    endpoint = mirror.rstrip("/") if mirror else None
    # No token: the models are public, and a mirror must not see one.
    return HfApi(endpoint=endpoint, token=False, library_name="stapes")


def _list_files(hub: HfApi, row: Model) -> HubListing:
    """Ask what the repository holds, at the commit that the row names or else the newest."""

    def ask() -> Any:
        return hub.model_info(
            str(row.repository),
            revision=row.revision,
            files_metadata=True,
            timeout=ANSWER_TIMEOUT_S,
        )

    info = _translated(row, hub, lambda: _within(ANSWER_TIMEOUT_S, ask))
    if row.is_pinned and info.sha != row.revision:
        raise ModelError(f"{hub.endpoint} answers {row.name} with the commit {info.sha}")
    files = {
        file.rfilename: HubFile(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
        for file in info.siblings or ()
    }
    return HubListing(str(info.sha), files)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What ``call`` returns or raises; `TimeoutError` when it takes longer.

    A name's look-up heeds no timeout, so the caller may end while the call goes on.
    """
    outcome: list[Callable[[], T]] = []

    def work() -> None:
        try:
            result = call()
        except BaseException as error:
            outcome.append(_raiser(error))
        else:
            outcome.append(lambda: result)

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return outcome[0]()


def _raiser(error: BaseException) -> Callable[[], Any]:
    def throw() -> Any:
        raise error

    return throw


def _fetch(hub: HfApi, row: Model, listing: HubListing, file: ModelFile, making: Path) -> ModelFile:
    """Fetch one file and check it; return it with its true size and hash."""
    promised = listing.files.get(file.path)
    if promised is None:
        raise ModelError(f"{row.repository} has no {file.path} at {listing.commit}")

    path = making / file.path
    if not path.exists():
        url = f"{hub.endpoint}/{row.repository}/resolve/{listing.commit}/{quote(file.path)}"
        _translated(row, hub, lambda: _download(url, path, promised.size))
    found = _measured(file, path)
    if not (_is_wanted(file, found) and _is_promised(promised, found, path)):
        path.unlink()  # or the next pull would find it there
        raise ModelError(f"{file.path} of {row.name} is not what it should be: its hash is wrong")
    return found


def _download(url: str, path: Path, size: int | None) -> None:
    """Download to ``path``, onward from where the last try was cut off."""
    from huggingface_hub.file_download import http_get

    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as target:
        begun, name = target.tell(), path.name
        http_get(url, target, resume_size=begun, expected_size=size, displayed_filename=name)
    part.rename(path)


def _measured(file: ModelFile, path: Path) -> ModelFile:
    size = path.stat().st_size
    return file.model_copy(update={"size": size, "sha256": hash_file(path)})


def _is_wanted(file: ModelFile, found: ModelFile) -> bool:
    """Whether a file is the one of the catalogue."""
    return file.sha256 in {None, found.sha256} and file.size in {None, found.size}


def _is_promised(promised: HubFile, found: ModelFile, path: Path) -> bool:
    """Whether a file is the one that the hub's listing names."""
    if promised.sha256 is not None:
        return promised.sha256 == found.sha256
    return promised.blob in {None, _git_id(path)}


def _git_id(path: Path) -> str:
    """The id of a file as a git object; small files have no other hash at the hub."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _translated(row: Model, hub: HfApi, call: Callable[[], T]) -> T:
    """Call the hub's client; its errors, which differ by its version, become ours."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return call()
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500:
            raise _unreachable(hub, row, f"it answers {status}") from error
        raise ModelError(
            f"{hub.endpoint} refuses {row.repository} at {row.revision or 'main'}: it answers "
            f"{status}"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            raise
        raise _unreachable(hub, row, str(error) or type(error).__name__) from error


def _unreachable(hub: HfApi, row: Model, reason: str) -> HubUnreachableError:
    return HubUnreachableError(
        f"{hub.endpoint} cannot be reached ({reason}), so {row.name} was not pulled; what is "
        "installed goes on serving. --mirror and --from are other ways"
    )


def _commit_of(row: Model, source: Path) -> str | None:
    """The commit of files that were copied, as far as it is known."""
    if row.is_pinned and all(file.sha256 for file in row.files):
        return row.revision
    try:
        return read_record(source).revision
    except ModelError:
        return None


def _copy(file: ModelFile, source: Path, making: Path) -> ModelFile:
    candidates = (source / file.path, source / Path(file.path).name)
    origin = next((path for path in candidates if path.is_file()), None)
    if origin is None:
        raise ModelError(f"there is no {file.path} in {source}")
    path = making / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(origin, path)
    found = _measured(file, path)
    if not _is_wanted(file, found):
        raise ModelError(f"{origin} is not what it should be: its hash is wrong")
    return found
