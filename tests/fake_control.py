"""A control process small enough to read: enough of its HTTP API for tests of the command line, held in memory, behind
httpx's transport.

`FakeControl` keeps what it was asked (`requests`) and can be told to fail (`answers`). Instances move one phase further
each time they are listed. Its fidelity is the business of the contract test, which runs the same commands against the
real one.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx

from tests.fake_waves import FakeWaves

ANYCAST = "anycast.platform.stackpath.net"
PHASES = ("SCHEDULING", "STARTING", "RUNNING")
ADDRESSES = {"JFK": "203.0.113", "LAX": "203.0.114", "AMS": "203.0.115", "LHR": "203.0.116"}
CLIENT_ID, SECRET = "0" * 32, "1" * 64


def client_file(url: str = "https://control.test") -> str:
    return json.dumps({"url": url, "ca": "", "client_id": CLIENT_ID, "client_secret": SECRET, "stack": "default"})


class FakeControl:
    def __init__(self) -> None:
        self.workloads: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.stuck: dict[str, tuple[str, str]] = {}  # instance name -> reason, message: it never runs
        self.rules: dict[tuple[str, str], dict[str, Any]] = {}
        self.waves = FakeWaves(lambda: self.rules, self.lands)
        self.tokens_given = 0
        self.valid_token = ""
        self.streams = True
        self.page = 2

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def changes(self) -> list[tuple[str, str, Any]]:
        """The requests that change something, quotes and probes aside."""
        return [r for r in self.requests if r[0] != "GET" and "quote" not in r[1] and "probes" not in r[1]]

    def expire(self) -> None:
        self.valid_token = "expired"

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content) if request.content else None
        if path == "/identity/v1/oauth2/token":
            return self._token(body)
        self.requests.append((request.method, path, body))
        if request.headers.get("Authorization") != f"Bearer {self.valid_token}":
            return _refusal(401, 16, "the token is unknown or has expired")
        if (request.method, path) in self.answers:
            status, found = self.answers[request.method, path]
            return (
                httpx.Response(status, content=found)
                if isinstance(found, bytes)
                else httpx.Response(status, json=found)
            )
        for method, pattern, reply in self._routes():
            matched = re.fullmatch(pattern, path)
            if method == request.method and matched:
                return reply(request, body, *matched.groups())
        return _refusal(404, 5, f"nothing at {path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., httpx.Response]]]:
        one = r"/workload/v1/stacks/default/workloads/([^/]+)"
        ours = r"/anypop/v1/stacks/default/workloads/([^/]+)"
        return [
            ("POST", "/anypop/v1/quote", lambda r, b: httpx.Response(200, json=quote(b["workload"]))),
            ("POST", "/workload/v1/stacks/default/workloads", self._create),
            (
                "GET",
                "/workload/v1/stacks/default/workloads",
                lambda r, b: self._listed(r, list(self.workloads.values())),
            ),
            ("GET", one, lambda r, b, w: self._of(w, lambda found: httpx.Response(200, json={"workload": found}))),
            ("DELETE", one, self._delete),
            (
                "GET",
                one + "/instances",
                lambda r, b, w: self._of(w, lambda found: self._listed(r, self._instances(found))),
            ),
            ("GET", ours + "/watch", lambda r, b, w: self._of(w, self._watch)),
            ("GET", ours + "/rollouts", lambda r, b, w: self._of(w, self._rollouts)),
            ("POST", ours + "/rollouts", lambda r, b, w: self._of(w, lambda found: _rollout(self.waves.begin(b)))),
            ("GET", ours + "/rollouts/([^/]+)", lambda r, b, w, i: self._of(w, lambda found: self._rollout(found, i))),
            (
                "POST",
                ours + "/rollouts/([^/]+)/abort",
                lambda r, b, w, i: self._of(w, lambda found: _rollout(self.waves.abort(i))),
            ),
            ("GET", ours + "/revisions", lambda r, b, w: self._of(w, self._revisions)),
            ("GET", "/anypop/v1/hosts", lambda r, b: httpx.Response(200, json={"results": HOSTS})),
            ("GET", "/anypop/v1/quota", lambda r, b: httpx.Response(200, json=QUOTA)),
            (
                "GET",
                ours + "/announcements",
                lambda r, b, w: httpx.Response(200, json={"results": self._announcements()}),
            ),
            ("PATCH", ours + "/announcements", self._rule),
            ("GET", r"/anypop/v1/communities/(\d+)", lambda r, b, asn: httpx.Response(200, json=dictionary(int(asn)))),
            ("GET", "/anypop/v1/vantages", lambda r, b: httpx.Response(200, json={"results": VANTAGES})),
            ("GET", "/anypop/v1/pops", lambda r, b: httpx.Response(200, json={"results": POPS})),
            ("GET", "/anypop/v1/events", lambda r, b: httpx.Response(200, json={"results": EVENTS})),
            ("POST", "/anypop/v1/probes", self._probe),
            ("GET", "/anypop/v1/why", lambda r, b: httpx.Response(200, json=WHY)),
        ]

    def _token(self, body: Any) -> httpx.Response:
        if body["client_id"] != CLIENT_ID:
            return _refusal(404, 5, "no such client")
        if body["client_secret"] != SECRET:
            return _refusal(401, 16, "wrong secret")
        self.tokens_given += 1
        self.valid_token = f"token-{self.tokens_given}"
        return httpx.Response(200, json={"access_token": self.valid_token, "token_type": "bearer", "expires_in": 3600})

    def _create(self, request: httpx.Request, body: Any) -> httpx.Response:
        wanted = body["workload"]
        slug = wanted.get("slug") or wanted["name"]
        if slug in self.workloads:
            return _refusal(409, 6, f"a workload named {slug} exists already")
        found = json.loads(json.dumps(wanted)) | {
            "id": f"id-{slug}",
            "slug": slug,
            "stackId": "default-id",
            "status": "ACTIVE",
        }
        metadata = found.setdefault("metadata", {})
        metadata |= {"version": "1", "createdAt": "2024-02-01T12:30:05.000000Z"}
        if ANYCAST in metadata.get("annotations", {}):
            metadata["annotations"][f"{ANYCAST}/subnets"] = "198.51.100.1/32"
        self.workloads[slug] = found
        return httpx.Response(200, json={"workload": found})

    def _rollouts(self, found: dict[str, Any]) -> httpx.Response:
        revision, count = int(found["metadata"]["version"]), len(self._instances(found))
        return httpx.Response(
            200,
            json={
                "revision": revision,
                "good": 1,
                "instances": count,
                "instances_on_it": count,
                "results": list(self.waves.rollouts.values()),
            },
        )

    def _rollout(self, found: dict[str, Any], identity: str) -> httpx.Response:
        status = json.loads(self._rollouts(found).content)
        del status["results"]
        whole = next((known for known in self.waves.rollouts if known.startswith(identity)), identity)
        return httpx.Response(200, json=status | {"rollout": self.waves.further(whole)})

    def _revisions(self, found: dict[str, Any]) -> httpx.Response:
        images = [container["image"] for container in found["spec"]["containers"].values()]
        row = {
            "revision": 1,
            "template": "t",
            "createdAt": "2024-02-01T12:30:05.000000Z",
            "newest": True,
            "good": True,
            "images": images,
        }
        return httpx.Response(200, json={"results": [row]})

    def _delete(self, request: httpx.Request, body: Any, name: str) -> httpx.Response:
        return self._of(name, lambda found: httpx.Response(204 if self.workloads.pop(found["slug"]) else 500))

    def _of(self, name: str, reply: Callable[[dict[str, Any]], httpx.Response]) -> httpx.Response:
        found = next((w for w in self.workloads.values() if name in (w["slug"], w["id"])), None)
        return reply(found) if found else _refusal(404, 5, f"no workload {name}")

    def _listed(self, request: httpx.Request, rows: list[Any]) -> httpx.Response:
        first = min(int(request.url.params.get("page_request.first", 10)), self.page)
        start = int(request.url.params.get("page_request.after", -1)) + 1
        part = rows[start : start + first]
        end = start + len(part)
        if end == len(rows) and request.url.path.endswith("/instances"):
            slug = request.url.path.split("/")[-2]
            self.looks[slug] = self.looks.get(slug, 0) + 1
        info = {"totalCount": str(len(rows)), "hasPreviousPage": start > 0, "hasNextPage": end < len(rows)}
        return httpx.Response(
            200, json={"pageInfo": info | {"startCursor": str(start), "endCursor": str(end - 1)}, "results": part}
        )

    def _watch(self, found: dict[str, Any]) -> httpx.Response:
        if not self.streams:
            return _refusal(404, 5, "no such stream")
        events = [
            {"instances": self._instances(found, step)}
            for step in range(min(self.looks.get(found["slug"], 0), 2), len(PHASES))
        ]
        self.looks[found["slug"]] = 1_000
        text = ": hello\n\n" + "".join(f"event: instances\ndata: {json.dumps(event)}\n\n" for event in events)
        return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})

    def _instances(self, found: dict[str, Any], step: int | None = None) -> list[dict[str, Any]]:
        slug = found["slug"]
        if step is None:
            step = self.looks.get(slug, 0)
        phase = PHASES[min(step, len(PHASES) - 1)]
        rows = []
        for target, spec in found["targets"].items():
            deployments = spec["spec"]["deployments"]
            for city in deployments["selectors"][0]["values"]:
                for n in range(deployments["minReplicas"]):
                    name = f"{slug}-{target}-{city.lower()}-{n}"
                    row = {
                        "name": name,
                        "location": {"cityCode": city},
                        "phase": phase,
                        "ipAddress": f"10.0.{n}.1",
                        "externalIpAddress": f"{ADDRESSES.get(city, '192.0.2')}.{n}",
                        "externalIpv6Address": f"2001:db8:{n}::1",
                        "startedAt": "2024-02-01T12:30:07Z" if phase == "RUNNING" else "",
                    }
                    if name in self.stuck:
                        reason, message = self.stuck[name]
                        row |= {"phase": "STARTING", "reason": reason, "message": message, "startedAt": ""}
                    rows.append(row)
        return rows

    def _announcements(self) -> list[dict[str, Any]]:
        plain = {
            "mode": "announce",
            "prepend": 0,
            "communities": [],
            "large_communities": [],
            "extended_communities": [],
        }
        rows = []
        for prefix in ("198.51.100.0/24", "2001:db8:1::/48"):
            for pop, asn in (("AMS", 1299), ("LHR", 1299), ("JFK", 209), ("LAX", 209)):
                scope = self.rules.get((pop, str(asn)), plain)
                out = scope["mode"] == "announce"
                row = {
                    "prefix": prefix,
                    "pop": pop,
                    "upstream": f"as{asn}",
                    "asn": asn,
                    "scope": scope,
                    "announced": out,
                }
                rows.append(row | {"reason": "announced" if out else "withheld", "note": ""})
        return rows

    def _rule(self, request: httpx.Request, body: Any, name: str) -> httpx.Response:
        for rule in body["rules"]:
            self.rules[rule["pop"], rule["upstream"].removeprefix("as")] = rule["scope"]
        return httpx.Response(200, json={"results": self._announcements()})

    def lands(self) -> dict[str, str | None]:
        """PoP by vantage."""
        return {str(v["name"]): str(probed(v, 1)["pop"]) for v in VANTAGES}

    def _probe(self, request: httpx.Request, body: Any) -> httpx.Response:
        names = body.get("vantages") or [v["name"] for v in VANTAGES]
        known = {str(v["name"]) for v in VANTAGES}
        unknown = [name for name in names if name not in known]
        if unknown:
            return _refusal(404, 5, f"no vantage {', '.join(unknown)} (there are {', '.join(sorted(known))})")
        found = [probed(v, body["requests"]) for v in VANTAGES if v["name"] in names]
        return httpx.Response(200, json={"address": "198.51.100.1", "results": found})


def _rollout(found: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"rollout": found})


def _refusal(status: int, code: int, message: str, violations: list[dict[str, str]] | None = None) -> httpx.Response:
    details: list[Any] = [{"@type": "stackpath.rpc.RequestInfo", "requestId": "deadbeef", "servingData": ""}]
    if violations:
        details.append({"@type": "stackpath.rpc.BadRequest", "fieldViolations": violations})
    return httpx.Response(status, json={"code": code, "message": message, "details": details})


def bad_workload() -> tuple[int, Any]:
    """The answer to a workload with two mistakes."""
    violations = [
        {"field": "workload.targets.eu1.spec.deployments.selectors[0].values[1]", "description": "no city XXX"},
        {"field": "workload.spec.containers.app.ports.tcp-70000.port", "description": "must be 1 to 65535"},
    ]
    return 400, json.loads(_refusal(400, 3, "this workload cannot be created", violations).content)


def quote(workload: dict[str, Any]) -> dict[str, Any]:
    """0.09 an hour for each instance, 0.14 for anycast, months of 730 hours."""
    count = sum(
        t["spec"]["deployments"]["minReplicas"] * len(t["spec"]["deployments"]["selectors"][0]["values"])
        for t in workload["targets"].values()
    )
    rows = [("instance SP-2", count, 0.09)]
    if ANYCAST in (workload.get("metadata") or {}).get("annotations", {}):
        rows.append(("anycast address", 1, 0.14))
    lines = [
        {"item": i, "quantity": q, "unit_hourly": u, "hourly": round(q * u, 4), "monthly": round(q * u * 730, 2)}
        for i, q, u in rows
    ]
    hourly = round(sum(q * u for _, q, u in rows), 4)
    return {"currency": "USD", "lines": lines, "hourly": hourly, "monthly": round(hourly * 730, 2)}


def dictionary(asn: int) -> dict[str, Any]:
    made_up = {"source": "made up for labs", "date": "2026", "invented": True, "verified": False}
    memory = {"source": "from memory", "date": "unknown", "invented": False, "verified": False}
    entries: dict[int, list[dict[str, Any]]] = {
        209: [
            {
                "community": "209:7100",
                "action": {"kind": "keep-in-region", "region": "NA"},
                "meaning": "Kept in North America",
                **made_up,
            },
            {
                "community": "209:7030",
                "action": {"kind": "no-export-to", "neighbour": "peers", "where": ""},
                "meaning": "Not sent to peers",
                **made_up,
            },
        ],
        3356: [
            {
                "community": "65000:<asn>",
                "action": {"kind": "no-export-to", "where": ""},
                "meaning": "Not sent to peer <asn>",
                **memory,
            },
        ],
    }
    names = {209: "CenturyLink (Qwest)", 1299: "Arelion", 3356: "Lumen"}
    return {"asn": asn, "name": names.get(asn, ""), "note": "", "entries": entries.get(asn, [])}


VANTAGES = [
    {"name": "amsterdam", "city": "AMS", "asn": 64501, "address": "192.0.2.1", "nearest": "AMS"},
    {"name": "london", "city": "LHR", "asn": 64502, "address": "192.0.2.2", "nearest": "LHR"},
    {"name": "seattle", "city": "SEA", "asn": 64504, "address": "192.0.2.4", "nearest": "LAX"},
]
_LANDS = {
    "amsterdam": ("AMS", "eu1-ams", 0.21),
    "london": ("JFK", "na1-jfk", 2.094),
    "seattle": ("LAX", "na1-lax", 0.68),
}


def probed(vantage: dict[str, Any], requests: int) -> dict[str, Any]:
    pop, name, seconds = _LANDS[vantage["name"]]
    hits = {f"web-{name}-0": requests - requests // 2, f"web-{name}-1": requests // 2}
    return {
        "vantage": vantage["name"],
        "city": vantage["city"],
        "requests": requests,
        "answered": requests,
        "seconds": seconds,
        "pop": pop,
        "nearest": vantage["nearest"],
        "hits": {k: v for k, v in hits.items() if v},
        "errors": [],
    }


HOSTS = [
    {
        "host": "LHR",
        "pop": "LHR",
        "state": "in use",
        "trusted": True,
        "reason": "running",
        "says": "runs and answers",
        "instances": {"total": 2, "healthy": 2, "phases": {"RUNNING": 2}},
        "taken": {"cpu_millis": 4000, "memory_bytes": 8 << 30, "disk_bytes": 2 << 30},
    }
]
_USED = {"instances": 2, "cpu_millis": 4000, "memory_bytes": 8 << 30, "anycast": 1, "local_only": 0, "workloads": 1}
QUOTA = {
    "account": "account-id",
    "quota": {},
    "used": _USED | {"stacks": 1},
    "stacks": [{"stack": "default-id", "slug": "default", "quota": {}, "used": _USED}],
}

POPS = [
    {
        "pop": "AMS",
        "city": "Amsterdam",
        "trusted": True,
        "reason": "running",
        "generation": 3,
        "instances": {"total": 2, "healthy": 1},
        "sessions": [{"upstream": "as1299", "state": "established"}, {"upstream": "as1299", "state": "established"}],
    },
    {
        "pop": "LHR",
        "city": "London",
        "trusted": False,
        "reason": "report-stale",
        "says": "the last report is too old to trust",
        "generation": 3,
        "instances": {"total": 1, "healthy": 0},
        "sessions": [],
    },
]
EVENTS = [
    {"id": 2, "at": 1706790607.0, "kind": "instance", "subject": "web-eu1-ams-0", "message": "runs and answers"},
    {"id": 1, "at": 1706790605.5, "kind": "workload", "subject": "web", "message": "was created"},
]


def _route(path: list[int], pref: int, relationship: str, learnt: str, best: bool) -> dict[str, Any]:
    return {
        "prefix": "198.51.100.0/24",
        "as_path": path,
        "local_pref": pref,
        "relationship": relationship,
        "learnt_at": learnt,
        "best": best,
    }


def _option(route: dict[str, Any], step: str | None, pop: str) -> dict[str, Any]:
    return {
        "candidate": route,
        "eliminated_by": step,
        "lands": {"end": "landed", "pop": pop, "routers": [], "cities": []},
    }


_HOME = _route([1299, 33438], 200, "peer", "LHR", False)
_AWAY = _route([209, 33438], 300, "customer", "JFK", True)
WHY = {
    "vantage": "london",
    "start": "as64502-lhr",
    "end": "landed",
    "landed": "JFK",
    "nearest": "LHR",
    "hops": [
        {
            "router": "as64502-lhr",
            "asn": 64502,
            "city": "LHR",
            "options": [
                _option(_route([3356, 209, 33438], 100, "provider", "LHR", True), None, "JFK"),
                _option(_route([2914, 1299, 33438], 100, "provider", "LHR", False), "oldest route", "LHR"),
                _option(_route([3257, 1299, 33438], 100, "provider", "LHR", False), "oldest route", "LHR"),
            ],
            "step": "oldest route",
        },
        {
            "router": "as3356-lhr",
            "asn": 3356,
            "city": "LHR",
            "options": [_option(_AWAY, None, "JFK"), _option(_HOME, "local preference", "LHR")],
            "step": "local preference",
        },
    ],
    "decided_at_as": 3356,
    "decided_in": "LHR",
    "decided_by": "local preference",
    "chosen": _AWAY,
    "rejected": _HOME,
    "caused_by": {"pop": "JFK", "upstream_asn": 209, "upstream": "as209", "router": "as209-jfk"},
    "rtt_ms": 69.6,
    "nearest_rtt_ms": 0.4,
    "extra_ms": 69.2,
    "sentences": [
        "AS3356 in London prefers the customer route 209 33438 (local preference 300), learnt in JFK, "
        "over the peer route 1299 33438 (200).",
        "london lands in JFK by what JFK announces to AS209, 69 ms further than LHR.",
    ],
}
