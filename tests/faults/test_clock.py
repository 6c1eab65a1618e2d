"""The wall clock steps: sessions go by the monotonic one."""

from __future__ import annotations

import datetime as real
import time
from typing import Any

import pytest

from stapes import Final
from stapes.server import accounting
from tests.conftest import Served
from tests.faults.conftest import bounded, heard
from tests.faults.proxy import Fault, proxy

pytestmark = pytest.mark.usefixtures("left_clean")


@pytest.mark.parametrize("step_s", [-3_600, 3_600, 86_400])
async def test_a_session_does_not_notice_that_the_wall_clock_steps(
    faulty: Served,
    demo: bytes,
    expected: list[Final],
    step_s: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does one that is cut meanwhile; only what its records say is another time."""

    class Stepped(real.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Stepped:
            return super().now(tz) + real.timedelta(seconds=step_s)

    wall = time.time
    async with proxy(faulty.url, Fault("delay", 180_000, delay_s=0.3)) as passing:
        monkeypatch.setattr(accounting, "datetime", Stepped)
        monkeypatch.setattr(time, "time", lambda: wall() + step_s)
        finals = await bounded(heard(demo, faulty, passing.url))
    assert finals == expected
