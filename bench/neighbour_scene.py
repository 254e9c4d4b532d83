"""Another account misbehaves, in a covering prefix that it has shared with its neighbour since an older version.

In: a running platform with PoPs in AMS and LHR; while the scene lasts it has no backbone. Out: how many of the
neighbour's requests, from all vantages, got no answer or one from another city than before; and how many when the
operator does the same, for whom the rules do not hold, so that no zero is empty. What the other account does: it
withholds, blackholes and resets its own announcements, at once and in waves, and one of its workloads never answers in
one of the cities. Every workload made here is told to go; nobody waits for its end, which is for connections that were
cut off.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import update

from anypop.cli import settings, views
from anypop.cli.client import Client
from anypop.cli.failure import Failure
from anypop.control import schema
from anypop.control.accounts import Accounts
from anypop.control.store import open_store
from anypop.host import process
from anypop.lab import build, platform
from anypop.lab.address import VantageHost
from anypop.lab.serving import until_serving
from anypop.lab.until import until
from anypop.lab.vantage import Answer, Stream, probe
from bench.scene import Scene

CITIES = ("AMS", "LHR")
NEIGHBOUR, OTHER, NEWCOMER = "neighbour", "other", "newcomer"
INTERVAL_S = 0.25
# an older version gave a newcomer 30 s before it counted against the others
PATIENCE_S = 40.0
SEEN_S = 1.0  # how long each deed of the operator is left to be felt: withdrawals take some tenths of a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of `asked` requests of the neighbour, those that `failed` while the other account misbehaved; `failed_without`:
    while the operator did the same.
    """

    asked: int
    failed: int
    failed_without: int


def neighbour_requests(place: platform.Platform, *, patience_s: float = PATIENCE_S) -> Counted:
    """`patience_s`: how long the newcomer is given to do harm. Raises AssertionError where a misdeed of the other
    account is not refused, and `WorldError` where the neighbour does not come back to a city beside the newcomer.
    """
    with _Scene(place) as scene:
        with scene.asking() as without:
            scene.misdeeds(scene.operator)
        scene.comes_back()
        with scene.asking() as told:
            scene.misdeeds(scene.tenant)
            time.sleep(patience_s)
        return Counted(asked=sum(map(len, told.values())), failed=scene.hurt(told), failed_without=scene.hurt(without))


class _Scene(Scene):
    """The neighbour is the operator's own account; the other one gets its stack while control does not run."""

    def __init__(self, place: platform.Platform) -> None:
        super().__init__()
        self.place = place
        self.known = settings.load(place.state, {})
        mark = secrets.token_hex(3)
        self.home, self.stack = f"own-{mark}", f"other-{mark}"
        self.operator = self.tenant = Client(self.known)
        self.vantages: Sequence[VantageHost] = build.attach(place.state / "lab").plan.vantages
        self.addresses: list[str] = []
        self.before: dict[tuple[str, str], str] = {}

    def _close(self) -> None:
        self.tenant.close()
        self.operator.close()

    def make(self) -> None:
        self.undo.callback(self._close)
        self._without_backbone()
        for slug in (self.home, self.stack):
            self.operator.call("POST", "/stack/v1/stacks", what="stack", body={"name": slug, "slug": slug})
        asleep = (
            "case $(hostname) in *lhr*) exec sleep 100000;; esac; hostname > /www/index.html; exec httpd -f -h /www"
        )
        self.addresses = self._create(self.home, NEIGHBOUR)
        others = self._create(self.stack, OTHER)
        until_serving(self.vantages, [*self.addresses, *others], port=80, timeout_s=60)
        self._create(self.stack, NEWCOMER, command=["/bin/busybox", "sh", "-c", f"mkdir -p /www; {asleep}"])
        self._give_away()
        path = f"/workload/v1/stacks/{self.stack}/workloads/{NEWCOMER}/instances"
        until(
            lambda: (
                {(i["location"]["cityCode"], i["phase"]) for i in self.tenant.every(path, what=NEWCOMER)}
                == {("AMS", "RUNNING"), ("LHR", "STARTING")}
            ),
            timeout_s=60,
            what="the newcomer to run in AMS alone",
        )
        self.before = self.landing()
        assert set(self.before.values()) == set(CITIES), self.before

    def _without_backbone(self) -> None:
        """With one nobody is hurt by a neighbour, nor by the operator: whoever loses a PoP is carried to the next."""
        path = "/anypop/v1/network"
        network = self.operator.get(path, what="the network")
        if network.get("backbone") is not None:
            plain = network | {"backbone": None}
            self.operator.call("PUT", path, what="no backbone", body=plain, query={"confirm": "true"})
            self.undo.callback(self.operator.call, "PUT", path, what="the backbone", body=network)

    def _create(self, stack: str, slug: str, **container: Any) -> list[str]:
        """Its anycast addresses."""
        selectors = [{"key": "cityCode", "operator": "in", "values": list(CITIES)}]
        application = {
            "image": self.place.image,
            "ports": {"http": {"port": 80, "enableImplicitNetworkPolicy": True}},
            "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}},
            **container,
        }
        deployments = {"minReplicas": 1, "selectors": selectors}
        document = {
            "name": slug,
            "slug": slug,
            "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
            "spec": {
                "containers": {"app": application},
                "networkInterfaces": [{"network": "default", "ipFamilies": ["IPv4", "IPv6"]}],
            },
            "targets": {"eu": {"spec": {"deploymentScope": "cityCode", "deployments": deployments}}},
        }
        path = f"/workload/v1/stacks/{stack}/workloads"
        made = self.operator.call("POST", path, what=slug, body={"workload": document})["workload"]
        self.undo.callback(self._delete, path, slug)
        return views.anycast_of(made)

    def _delete(self, path: str, slug: str) -> None:
        owner = self.tenant if self.stack in path else self.operator
        owner.call("DELETE", f"{path}/{slug}", what=f"delete {slug}")

    def _give_away(self) -> None:
        """The stack goes to another account, as if an older version had given both their addresses."""
        process.end(self.place.pid_file("control"))
        store = open_store(self.place.state / "control")
        try:
            accounts = Accounts(store, time.time)
            account = accounts.create_account(self.stack)
            made = accounts.create_credential(account.id, self.stack)
            stacks = schema.stacks
            with store.writing() as link:
                link.execute(update(stacks).where(stacks.c.slug == self.stack).values(account_id=account.id))
        finally:
            store.close()
        known = self.place
        platform.up(
            known.topology, state=known.state, prefix=known.prefix, api_port=0, registry_port=0, progress=lambda _: None
        )
        self._without_backbone()  # control starts with the operator's file
        self.tenant = Client(replace(self.known, client_id=made.client_id, client_secret=made.secret, stack=self.stack))

    def landing(self) -> dict[tuple[str, str], str]:
        """The city that answers, by vantage and address; empty: none."""
        pairs = [(vantage, address) for vantage in self.vantages for address in self.addresses]
        with ThreadPoolExecutor(len(pairs)) as pool:
            answers = pool.map(lambda pair: probe(*pair, requests=1, timeout_s=1)[0], pairs)
            return {(v.name, a): city_of(answer) for (v, a), answer in zip(pairs, answers, strict=True)}

    @contextmanager
    def asking(self) -> Iterator[dict[tuple[str, str], tuple[Answer, ...]]]:
        """Requests to the neighbour from every vantage; when it ends, the answers."""
        told: dict[tuple[str, str], tuple[Answer, ...]] = {}
        pairs = [(v, a) for v in self.vantages for a in self.addresses]
        streams = {(v.name, a): Stream(v, a, interval_s=INTERVAL_S, timeout_s=2) for v, a in pairs}
        with ExitStack() as running:
            for stream in streams.values():
                running.enter_context(stream)
            yield told
        told |= {key: stream.answers for key, stream in streams.items()}

    def hurt(self, told: Mapping[tuple[str, str], Sequence[Answer]]) -> int:
        """Requests without an answer, or with one from another city than before."""
        return sum(city_of(answer) != self.before[key] for key, answers in told.items() for answer in answers)

    def comes_back(self) -> None:
        """The operator takes the neighbour out of LHR and in again, beside a newcomer that never answers there."""
        path = f"/anypop/v1/stacks/{self.home}/workloads/{NEIGHBOUR}/announcements"
        rules = [rule for rule in self._rules(path, {"mode": "withhold"}) if rule["pop"] == "LHR"]
        self.operator.call("PUT", path, what="withhold", body={"rules": rules})
        until(lambda: set(self.landing().values()) == {"AMS"}, timeout_s=20, what="clients of LHR in AMS")
        self.operator.call("DELETE", path, what="announce")
        until(lambda: self.landing() == self.before, timeout_s=20, what="the neighbour back in LHR")

    def misdeeds(self, who: Client) -> None:
        """With every right that `who` has over the other account's announcements. To a tenant all are refused; what
        the operator does is left for a moment to be felt.
        """
        path = f"/anypop/v1/stacks/{self.stack}/workloads/{OTHER}"
        rules = f"{path}/announcements"
        withheld, blackholed = (
            {"rules": self._rules(rules, scope)} for scope in ({"mode": "withhold"}, {"communities": ["65535:666"]})
        )
        for method, where, body in (
            ("PUT", rules, withheld),
            ("PUT", rules, blackholed),
            ("PATCH", rules, withheld),
            ("DELETE", rules, None),
            ("POST", f"{path}/rollouts", {"waves": [withheld]}),
        ):
            try:
                answer = who.call(method, where, what="misdeed", body=body)
            except Failure:
                assert who is self.tenant, f"{method} {where} was refused to the operator"
                continue
            assert who is self.operator, f"{method} {where} was not refused"
            time.sleep(SEEN_S if body is not None else 0.0)
            if "rollout" in answer:
                who.call("POST", f"{path}/rollouts/{answer['rollout']['id']}/abort", what="abort")
        if who is self.operator:
            until(lambda: self.landing() == self.before, timeout_s=30, what="everybody where they were")

    def _rules(self, path: str, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows = self.operator.get(path, what="announcements")["results"]
        sessions = dict.fromkeys((row["pop"], row["upstream"]) for row in rows)
        return [{"pop": pop, "upstream": upstream, "scope": scope} for pop, upstream in sessions]


def city_of(answer: Answer) -> str:
    """The web image answers with its instance's name."""
    return answer.body.strip().rsplit("-", 2)[-2].upper() if answer.ok and answer.body.count("-") > 2 else ""
