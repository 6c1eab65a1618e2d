"""Take a session up again: when to dial, how often, and when to give up."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from stapes.client.dialing import Dialer, Opened
from stapes.client.resuming import Resuming
from stapes.errors import (
    ClientError,
    ConnectionLostError,
    ServerRefusedError,
    ServerUnreachableError,
    TokenCallbackError,
)

PASSING = (409, 429, 503)
"""Refusals that time can lift: the lost socket still seems live, there is no room, or it stops."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost connection is mended; times in s.

    The wait before each attempt is random, up to a bound that doubles from ``first_s`` to
    ``longest_s``. ``give_up_s`` after the loss the session has failed; servers keep a session for
    about as long.
    """

    first_s: float = 0.2
    longest_s: float = 5.0
    give_up_s: float = 120.0


class Redialing:
    """The attempts of one session, counted over sockets that die before they were of any use."""

    def __init__(self, dialer: Dialer, reconnect: Reconnect) -> None:
        self._dialer = dialer
        self._reconnect = reconnect
        self._lost_at: float | None = None
        self._attempts = 0

    def note_alive(self) -> None:
        """The server has said something after CONNECT: the next loss is a new one."""
        self._lost_at, self._attempts = None, 0

    def move_on(self) -> None:
        """Dial the next server from now on."""
        self._dialer.move_on()

    async def redial(self, ledger: Resuming) -> Opened:
        """A socket on which the session goes on. Raises `ConnectionLostError` in the end."""
        loop = asyncio.get_running_loop()
        if self._lost_at is None:
            self._lost_at = loop.time()
        deadline = self._lost_at + self._reconnect.give_up_s
        cause: Exception | None = None
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(self._wait_s())
                    return await self._resume(ledger)
            except TimeoutError:
                break
            except (ServerUnreachableError, TokenCallbackError) as error:
                cause = error
            except ServerRefusedError as error:
                if error.status not in PASSING:
                    raise _lost(f"could not be mended ({error})", ledger) from error
                cause = error
            self.move_on()
        why = f"was not mended within {self._reconnect.give_up_s:g} s"
        raise _lost(f"{why} ({cause})" if cause else why, ledger) from cause

    async def _resume(self, ledger: Resuming) -> Opened:
        opened = await self._dialer.dial(
            resume=ledger.session_id, lastResult=str(ledger.last_result)
        )
        try:
            ledger.connected(opened.message)
        except ClientError:
            opened.socket.transport.abort()
            raise
        return opened

    def _wait_s(self) -> float:
        bound_s = min(self._reconnect.longest_s, self._reconnect.first_s * 2**self._attempts)
        self._attempts = min(self._attempts + 1, 30)
        return random.uniform(0, bound_s)  # noqa: S311 - spreads clients, keeps no secret


def _lost(why: str, ledger: Resuming) -> ConnectionLostError:
    return ConnectionLostError(f"the connection was lost and {why}; {ledger.loss()}")
