"""The template process: loads an engine once, then forks workers that share its memory.

Run as ``python -m stapes.workers.template FD ENGINE MODEL [PUNCTUATOR...]``. ``FD`` is a unix
stream socket to the server: a byte that comes with a file descriptor asks for a worker on that
descriptor; every answer is a line of JSON. ``MODEL`` is the folder of the engine's model, empty if
it brings one, and each ``PUNCTUATOR`` that of a model that sets marks, the best first; one that
cannot be loaded is told of and left out. The process ends when the server's side of the socket
does, however that came.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from stapes.engines.hearing import Listener, ListenerParams, Punctuator
from stapes.engines.port import Engine, HearingParams
from stapes.engines.registry import load_engine
from stapes.errors import EngineError
from stapes.protocol.words import Word
from stapes.workers import worker

REAP_INTERVAL_S = 0.5
PR_SET_THP_DISABLE = 41

Loaded = tuple[Engine, Sequence[Punctuator]]


def main(control_fd: int, engine_name: str, model: str, *punctuators: str) -> int:
    """Load, tell what was loaded, fork on demand. Returns the exit code."""
    _ignore_stop_signals()
    folder = Path(model) if model else None
    with socket.socket(fileno=control_fd) as control:
        try:
            return _load_and_serve(engine_name, folder, punctuators, control)
        except ConnectionError:
            return 0  # the server went away


def _load_and_serve(
    engine_name: str, model: Path | None, punctuators: Sequence[str], control: socket.socket
) -> int:
    try:
        engine = load_engine(engine_name, model)
        _warm(engine)
    except EngineError as error:
        _tell(control, failed=str(error))
        return 1
    loaded, faults = _load_punctuators(punctuators)
    _share_memory()
    able = asdict(engine.capabilities)
    _tell(control, ready=able, punctuators=list(loaded), faults=faults)
    _serve((engine, list(loaded.values())), control)
    return 0


def _load_punctuators(
    folders: Sequence[str],
) -> tuple[dict[str, Punctuator], dict[str, str]]:
    """Those that can be loaded by their folders, and what is wrong with the others."""
    loaded: dict[str, Punctuator] = {}
    faults: dict[str, str] = {}
    if not folders:
        return loaded, faults
    from stapes.engines.punctuator import SherpaPunctuator

    for folder in folders:
        try:
            loaded[folder] = punctuator = SherpaPunctuator(Path(folder))
            punctuator.punctuate([Word("warm", 0, 0, 1.0)])
        except EngineError as error:
            faults[folder] = str(error)
    return loaded, faults


def _ignore_stop_signals() -> None:
    """Ctrl-C and service managers signal the whole group; the server decides when we end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _warm(engine: Engine) -> None:
    """Hear half a second of silence: what is imported or allocated on first use is then shared."""
    able = engine.capabilities
    hearing = HearingParams(able.languages[0], able.model_type, able.model_domains[0])
    params = ListenerParams("audio/raw;rate=8000", hearing, 0, 0)
    listener = Listener(engine, params)
    listener.accept(bytes(8000))
    listener.flush()
    listener.close()


def _share_memory() -> None:
    """Keep the collector from writing to every object, which would unshare its page."""
    gc.collect()
    gc.disable()
    gc.freeze()


def _serve(loaded: Loaded, control: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([control], [], [], REAP_INTERVAL_S)
        _reap(control)
        if not readable:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        for descriptor in descriptors:
            _fork(loaded, control, descriptor)


def _fork(loaded: Loaded, control: socket.socket, descriptor: int) -> None:
    pid = os.fork()
    if pid == 0:
        control.close()
        _work(loaded, descriptor)
    os.close(descriptor)
    _tell(control, forked=pid)


def _work(loaded: Loaded, descriptor: int) -> NoReturn:
    """The forked child: serve, then leave without the template's clean-up."""
    _take_small_pages()
    status = 1
    try:
        with socket.socket(fileno=descriptor) as connection:
            worker.serve(loaded[0], connection, loaded[1])
        status = 0
    except ConnectionError:
        status = 0  # the server went away
    finally:
        os._exit(status)


def _take_small_pages() -> None:
    """What a worker adds comes in small pages, so that it is no more than what is used (prctl(2)).

    What it shares with the template stays in large ones.
    """
    with suppress(OSError, AttributeError):  # another system
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _reap(control: socket.socket) -> None:
    """Collect children that ended; tell of those that did not end by themselves."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if status:
            _tell(control, ended=pid, exit_code=os.waitstatus_to_exitcode(status))


def _tell(control: socket.socket, **message: Any) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
