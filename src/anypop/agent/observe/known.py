"""What the agent's event loop knows of what is metered, put together for one row.

In: the ledger's page, the observer, the speaker as last seen. Out: `Known`. It asks nobody.
"""

from anypop.agent.act.bgp.bird import SpeakerSeen
from anypop.agent.ledger import Page
from anypop.agent.observe.metering import Known
from anypop.agent.observe.observer import Observer
from anypop.model.metrics import MICROS


def known_of(page: Page | None, observer: Observer, speaker: SpeakerSeen | None) -> Known:
    """Those that leave are metered until they are gone."""
    instances = {i.uid: i for i in page.order.instances} if page is not None else {}
    if page is not None:
        instances |= {x.removal.uid: x.instance for x in page.leaving if x.instance is not None}
    took: dict[str, int] = {}
    for (uid, _), places in observer.probes.took_s.items():
        for seconds in places.values():
            took[uid] = max(took.get(uid, 0), round(seconds * MICROS))
    return Known(
        order=page.order if page is not None else None,
        instances=tuple(instances.values()),
        containers=observer.containers or (),
        took_us=took,
        sessions=speaker.sessions if speaker is not None else (),
        bfd=dict(speaker.bfd) if speaker is not None else {},
    )
