"""Control's side of the store of metrics, from its start to its end.

In: the operator's file, or none. Out: a platform whose charts come from the store, whose holes are filled, and whose
alerts are told. Without a file control runs all the same, and says so: charts come from the hosts, and nobody is told
of alerts.
"""

import asyncio
import logging
from typing import Any

from anypop.api.context import Platform
from anypop.api.objectives import keep_measuring
from anypop.control.metrics.settings import MetricsSettings

log = logging.getLogger("anypop.api")


def begin(platform: Platform, settings: MetricsSettings | None) -> list[asyncio.Task[Any]]:
    """What goes on until control ends."""
    if settings is None:
        log.info("no store of metrics is set (--metrics): charts come from the hosts, of a month at most")
        return []
    # their libraries are for those alone who have a store
    from anypop.control.metrics.alerts import Alerts  # noqa: PLC0415
    from anypop.control.metrics.filling import Filling  # noqa: PLC0415
    from anypop.control.metrics.store import MetricsStore  # noqa: PLC0415

    store = platform.metrics_store = MetricsStore(settings.store)
    filling = platform.filling = Filling(platform.measured, store, platform.clock)
    platform.streams.on_arrival.append(filling.arrived)
    tasks = [asyncio.create_task(filling.run())]
    if platform.vantages is not None:
        tasks.append(asyncio.create_task(keep_measuring(platform)))
    if settings.webhook is not None:
        alerts = Alerts(store, settings.webhook, platform.clock, active=lambda: platform.standby is None)
        tasks.append(asyncio.create_task(alerts.run()))
    return tasks
