"""The template process: loads an engine once, then forks workers that share its memory.

Run as ``python -m stapes.workers.template FD ENGINE [MODEL]``. ``FD`` is a unix stream socket to
the server: a byte that comes with a file descriptor asks for a worker on that descriptor; every
answer is a line of JSON. ``MODEL`` is the folder of the engine's model, if it brings none. The
process ends when the server's side of the socket does, however that came.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from stapes.engines.hearing import Listener, ListenerParams
from stapes.engines.port import Engine, HearingParams
from stapes.engines.registry import load_engine
from stapes.errors import EngineError
from stapes.workers import worker

REAP_INTERVAL_S = 0.5


def main(control_fd: int, engine_name: str, model: Path | None = None) -> int:
    """Load, tell what was loaded, fork on demand. Returns the exit code."""
    _ignore_stop_signals()
    with socket.socket(fileno=control_fd) as control:
        try:
            return _load_and_serve(engine_name, model, control)
        except ConnectionError:
            return 0  # the server went away


def _load_and_serve(engine_name: str, model: Path | None, control: socket.socket) -> int:
    try:
        engine = load_engine(engine_name, model)
        _warm(engine)
    except EngineError as error:
        _tell(control, failed=str(error))
        return 1
    _share_memory()
    _tell(control, ready=asdict(engine.capabilities))
    _serve(engine, control)
    return 0


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


def _serve(engine: Engine, control: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([control], [], [], REAP_INTERVAL_S)
        _reap(control)
        if not readable:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        for descriptor in descriptors:
            _fork(engine, control, descriptor)


def _fork(engine: Engine, control: socket.socket, descriptor: int) -> None:
    pid = os.fork()
    if pid == 0:
        control.close()
        _work(engine, descriptor)
    os.close(descriptor)
    _tell(control, forked=pid)


def _work(engine: Engine, descriptor: int) -> NoReturn:
    """The forked child: serve, then leave without the template's clean-up."""
    status = 1
    try:
        with socket.socket(fileno=descriptor) as connection:
            worker.serve(engine, connection)
        status = 0
    except ConnectionError:
        status = 0  # the server went away
    finally:
        os._exit(status)


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
    sys.exit(main(int(sys.argv[1]), sys.argv[2], *map(Path, sys.argv[3:])))
