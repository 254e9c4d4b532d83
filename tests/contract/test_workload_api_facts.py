"""The Workload API as its clients know it, fact by fact, against a real control process over HTTPS with its own
authority.

Each test is one fact that a client breaks on when it does not hold. What a client does here it does by the wire alone.
"""

import contextlib
import copy
import json
import re
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from anypop.control.store import open_store
from tests.contract.test_api_process import BASE, Process, running
from tests.control_world import UPSTREAMS, a_body

TOKEN = "/identity/v1/oauth2/token"
ANYCAST = "anycast.platform.stackpath.net"
LABELS = "workload.platform.stackpath.net"


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("facts")) as process:
        yield process


@pytest.fixture
def client(control: Process) -> Iterator[httpx.Client]:
    """A client of an empty stack."""
    yield control.client
    empty(control)


def empty(control: Process) -> None:
    """Delete every workload, and let the PoPs report that all is gone."""
    for found in control.client.get(BASE, params={"page_request.first": "1000"}).json()["results"]:
        control.client.delete(f"{BASE}/{found['id']}")
    for pop in UPSTREAMS:
        order = control.order(pop)
        if order["removed"]:
            report = {
                "pop": pop,
                "host": pop,
                "at": 0,
                "generation": order["generation"],
                "gone": [r["uid"] for r in order["removed"]],
            }
            control.client.post(
                f"/anypop/v1/agents/{pop}/report", json=report, headers=control.agent(pop)
            ).raise_for_status()
    assert control.client.get(BASE).json()["results"] == []


@pytest.fixture(scope="module")
def credentials(control: Process) -> dict[str, str]:
    saved = json.loads((control.folder / "client.json").read_text())
    return {"client_id": saved["client_id"], "client_secret": saved["client_secret"]}


def terraform(slug: str = "my-anycast-workload") -> dict[str, Any]:
    """What the Terraform provider sends."""
    return {
        "workload": {
            "metadata": {"annotations": {ANYCAST: "true"}},
            "name": slug,
            "slug": slug,
            "spec": {
                "containers": {
                    "app": {
                        "args": [],
                        "command": [],
                        "env": {"PYTHONUNBUFFERED": {"value": "1"}, "TOKEN": {"secretValue": "hush-hush"}},
                        "image": "example/pythonweb:latest",
                        "ports": {"web": {"enableImplicitNetworkPolicy": True, "port": 8000, "protocol": "TCP"}},
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": 8000, "scheme": "HTTP", "httpHeaders": {}},
                            "periodSeconds": 5,
                        },
                        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
                        "securityContext": {"capabilities": {"add": [], "drop": []}, "runAsUser": "1000"},
                        "volumeMounts": [],
                    }
                },
                "imagePullCredentials": [
                    {"dockerRegistry": {"server": "r.example", "username": "me", "password": "pass-word"}}
                ],
                "networkInterfaces": [
                    {"assignments": [], "enableOneToOneNat": True, "ipFamilies": [], "network": "default"}
                ],
                "runtime": {},
                "volumeClaimTemplates": [],
            },
            "targets": {
                "global": {
                    "spec": {
                        "deploymentScope": "cityCode",
                        "deployments": {
                            "maxReplicas": 4,
                            "minReplicas": 3,
                            "scaleSettings": {"metrics": [{"averageUtilization": 50, "metric": "cpu"}]},
                            "selectors": [{"key": "cityCode", "operator": "in", "values": ["JFK", "LAX"]}],
                        },
                    }
                }
            },
        }
    }


def post(client: httpx.Client, body: Any) -> dict[str, Any]:
    response = client.post(BASE, json=body)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()["workload"]
    return made


def refusal(response: httpx.Response, status: int, code: int) -> list[str]:
    """The fields that are complained about, after checking the shape of the answer."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["code"] == code and body["message"]
    allowed = {f"stackpath.rpc.{name}" for name in ("RequestInfo", "BadRequest")}
    assert {detail["@type"] for detail in body["details"]} <= allowed
    return [v["field"] for detail in body["details"] for v in detail.get("fieldViolations", ())]


def with_version(body: dict[str, Any], version: str = "1") -> dict[str, Any]:
    wanted = copy.deepcopy(body)
    wanted["workload"]["metadata"]["version"] = version
    return wanted


def less_empty(value: Any) -> Any:
    """A document as a provider compares it: what is empty is as good as absent."""
    if isinstance(value, dict):
        less = {key: less_empty(member) for key, member in value.items()}
        return {key: member for key, member in less.items() if member not in (None, "", [], {})}
    return [less_empty(member) for member in value] if isinstance(value, list) else value


# transport and tokens


def test_only_https_with_the_platforms_own_authority_is_spoken(control: Process) -> None:
    """Plain HTTP gets no answer, a client without the authority no connection, and nothing older than TLS 1.2 is
    agreed to.
    """
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{control.port}/anypop/v1/healthz", trust_env=False)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{control.port}/anypop/v1/healthz", trust_env=False)
    for newest, spoken in (
        (ssl.TLSVersion.TLSv1_3, True),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_1, False),
    ):
        context = ssl.create_default_context(cafile=str(control.folder / "control" / "ca.pem"))
        context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is not this side that refuses
        with warnings.catch_warnings(), socket.create_connection(("127.0.0.1", control.port)) as plain:
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, newest
            refused = contextlib.nullcontext() if spoken else pytest.raises(ssl.SSLError, match=r"(?i)protocol")
            with refused, context.wrap_socket(plain, server_hostname="localhost") as link:
                assert link.version() == newest.name.replace("_", ".")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"]
)
def test_the_form_of_gos_oauth2_gets_a_token(control: Process, credentials: dict[str, str], content_type: str) -> None:
    """Terraform's and virtual-kubelet's way in."""
    who = f"client_id={credentials['client_id']}&client_secret={credentials['client_secret']}"
    form = f"{who}&grant_type=client_credentials&scope=workloads"
    given = control.client.post(TOKEN, content=form, headers={"content-type": content_type, "authorization": ""}).json()
    assert given.keys() == {"access_token", "token_type", "expires_in"}
    assert (given["token_type"], given["expires_in"]) == ("bearer", 3600)


def test_a_token_request_may_hold_more_than_it_needs(client: httpx.Client, credentials: dict[str, str]) -> None:
    """Members that nobody asked for are of no interest, whatever they are."""
    assert (
        client.post(
            TOKEN, json={**credentials, "grant_type": "client_credentials", "expires": 5, "x": None}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"client_id":' * 900 + b"1" + b"}" * 900,
        b'{"client_id":"\\ud800","client_secret":"x"}',
        b'{"client_id":"\\u0000","client_secret":"x"}',
        b'{"client_id":7,"client_secret":"x"}',
        b"\xff\xfe",
        b"",
        b"null",
    ],
)
def test_no_token_request_however_strange_is_an_error_of_ours(client: httpx.Client, body: bytes) -> None:
    """Deep, half a character, NUL, wrong types, no text at all: 400."""
    refusal(client.post(TOKEN, content=body, headers={"content-type": "application/json"}), 400, 3)


OPEN = {
    "/anypop/v1/healthz", TOKEN, "/anypop/v1/sign-in", "/anypop/v1/sign-in/oidc", "/anypop/v1/sign-in/oidc/callback",
    "/anypop/v1/sign-in/oidc/token", "/anypop/v1/sign-in/links/use", "/anypop/v1/invitations/accept",
    "/anypop/v1/account-requests",
}  # fmt: skip


def test_an_agents_token_opens_no_users_door_and_a_users_no_agents(control: Process, client: httpx.Client) -> None:
    """Every route of the API but health, its own description and those by which people come in refuses the other's
    token, and none at all, with 401.
    """
    routes = client.get("/anypop/v1/openapi.json").json()["paths"]
    assert len(routes) > 20
    for path, methods in routes.items():
        if path in OPEN:
            continue
        of_agents = path.startswith("/anypop/v1/agents/")
        wrong = dict(client.headers) if of_agents else control.agent("JFK")
        real = re.sub(r"\{stack_id\}", "default", re.sub(r"\{pop\}", "JFK", path)).replace("{", "").replace("}", "")
        for method in methods:
            for headers in (wrong, {"authorization": ""}, {"authorization": "bearer"}):
                response = client.request(
                    method, real, headers={**headers, "content-type": "application/json"}, content=b"{}"
                )
                assert response.status_code == 401, (method, path, response.text)
                assert response.json()["code"] == 16


def test_an_agent_reads_no_other_pops_order_and_reports_for_no_other(control: Process, client: httpx.Client) -> None:
    """403 with code 7."""
    refusal(client.get("/anypop/v1/agents/LAX/order", headers=control.agent("JFK")), 403, 7)
    report = {"pop": "LAX", "host": "LAX", "at": 0, "generation": 0}
    refusal(client.post("/anypop/v1/agents/JFK/report", json=report, headers=control.agent("JFK")), 403, 7)


# stacks


def test_a_stack_has_the_members_of_the_api_and_no_others(client: httpx.Client) -> None:
    """Times are RFC 3339 in UTC with microseconds."""
    stack = client.get("/stack/v1/stacks/default").json()
    assert stack.keys() == {"id", "accountId", "slug", "name", "createdAt", "updatedAt", "status"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stack["createdAt"])


def test_stacks_are_filtered_as_clients_write_it(client: httpx.Client) -> None:
    """In double and single quotes, joined by and."""
    made = client.post("/stack/v1/stacks", json={"name": "Facts"}).json()["stack"]
    assert re.fullmatch(r"facts-[0-9a-f]{6}", made["slug"])
    for text in (f'slug="{made["slug"]}"', "name='Facts' and status='ACTIVE'"):
        found = client.get("/stack/v1/stacks", params={"page_request.filter": text}).json()
        assert [s["id"] for s in found["results"]] == [made["id"]] and found["pageInfo"]["totalCount"] == "1"
    assert (
        client.get("/stack/v1/stacks", params={"page_request.filter": "name='Facts' and status='DISABLED'"}).json()[
            "results"
        ]
        == []
    )


@pytest.mark.parametrize(
    "path",
    ["/stack/v1/stacks/", f"{BASE}/", f"{BASE}//instances", f"{BASE}//instances/x", "/workload/v1/stacks//workloads"],
)
def test_an_empty_id_in_a_path_is_never_answered_with_200(client: httpx.Client, path: str) -> None:
    """Clients take an answer for the object that they asked for."""
    refusal(client.get(path), 404, 5)


# workloads


def test_a_terraform_configuration_has_an_empty_second_plan(client: httpx.Client) -> None:
    """The answers to the provider's POST and GET differ from what it sent only by what the API is known to add, and
    by secrets.
    """
    sent = terraform()
    made = post(client, sent)
    read = client.get(f"{BASE}/{made['slug']}").json()["workload"]
    assert read == made
    assert made["metadata"]["annotations"].pop(f"{ANYCAST}/subnets").split("/")[0].count(".") == 3
    for of_the_server in ("id", "stackId", "status"):
        assert made.pop(of_the_server)
    assert made["metadata"].pop("version") == "1" and made["metadata"].pop("createdAt")
    assert made["spec"]["networkInterfaces"][0].pop("ipFamilies") == ["IPv4"]
    capabilities = made["spec"]["containers"]["app"]["securityContext"].pop("capabilities")
    assert capabilities == {"add": [], "drop": []}
    assert made["spec"]["containers"]["app"]["env"].pop("TOKEN") == {}
    wanted = less_empty(copy.deepcopy(sent["workload"]))
    del wanted["spec"]["containers"]["app"]["env"]["TOKEN"]
    del wanted["spec"]["imagePullCredentials"][0]["dockerRegistry"]["password"]
    assert made == wanted


def test_what_was_read_can_be_put_back_and_changes_nothing(control: Process, client: httpx.Client) -> None:
    """Nothing new is declared, so version and updatedAt stay too; no PoP gets another order; secrets stay."""
    made = post(client, terraform())
    order = control.order("JFK")
    put = client.put(f"{BASE}/{made['id']}", json={"workload": made}).json()["workload"]
    assert put == made
    assert control.order("JFK") == order
    secrets = {
        name: value for i in order["instances"] for c in i["payload"]["containers"] for name, value in c["secrets"]
    }
    assert secrets == {"TOKEN": "hush-hush"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("targets.global.spec.deployments.selectors.0.key", ""),
        ("targets.global.spec.deployments.selectors.0.operator", ""),
        ("targets.global.spec.deployments.selectors.0.values", [""]),
        ("targets.global.spec.deployments.scaleSettings.metrics.0.metric", ""),
        ("spec.imagePullCredentials.0.dockerRegistry", {}),
        ("spec.imagePullCredentials.0.dockerRegistry", {"password": "x"}),
        ("spec.imagePullCredentials.0", {}),
        ("spec.networkInterfaces.0.ipFamilies", ["IPv4", ""]),
        ("spec.runtime", {"containers": {"hostAliases": [{"ip": "", "hostnames": ["a"]}]}}),
        ("spec.runtime", {"containers": {"dnsConfig": {"options": [{"name": "", "value": "1"}]}}}),
        ("spec.runtime", {"containers": {"securityContext": {"sysctls": [{"name": ""}]}}}),
        ("spec.containers.app.ports", {"": {"port": 80}}),
        ("spec.containers.app.image", ""),
    ],
)
def test_what_could_not_be_sent_back_is_refused_at_once(client: httpx.Client, path: str, value: Any) -> None:
    """An empty value is left out of answers, so where one is required it is refused when it comes first."""
    body = terraform()
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    part: Any = body["workload"]
    for step in way:
        part = part[step]
    part[last] = value
    assert refusal(client.post(BASE, json=body), 400, 3)


def test_a_registrys_password_stays_with_its_registry(client: httpx.Client, control: Process) -> None:
    """Sent back without a password, each entry keeps the one of its own registry and user, wherever it stands; no
    other gets it.
    """
    body = terraform()
    body["workload"]["spec"]["imagePullCredentials"].append(
        {"dockerRegistry": {"server": "s.example", "username": "me", "password": "other"}}
    )
    made = post(client, body)
    logins = made["spec"]["imagePullCredentials"]
    assert [sorted(pull["dockerRegistry"]) for pull in logins] == [["server", "username"]] * 2
    made["spec"]["imagePullCredentials"] = [{"dockerRegistry": {"server": "evil.example", "username": "me"}}, logins[0]]
    assert client.put(f"{BASE}/{made['id']}", json={"workload": made}).status_code == 200
    control.end()
    store = open_store(control.folder / "control")
    try:
        state = store.load()
    finally:
        store.close()
    control.start()
    kept = [(s.path, s.value) for s in state.workloads[made["id"]].newest.secrets if s.path.endswith("password")]
    assert kept == [("spec.imagePullCredentials[1].dockerRegistry.password", "pass-word")]
    empty(control)


def test_what_has_no_effect_yet_is_said_in_headers(client: httpx.Client) -> None:
    """On POST, PUT and GET, each field by name, whatever text stands in it, and beside the workload for those who read
    no headers; the document itself is not touched.
    """
    body = terraform()
    body["workload"]["spec"]["containers"]["app"]["ports"]["web"]["protocol"] = 'ü"\r\nX: 1'
    del body["workload"]["targets"]["global"]["spec"]["deployments"]["scaleSettings"]
    path = f"{BASE}/my-anycast-workload"
    for response in (client.post(BASE, json=body), client.put(path, json=with_version(body)), client.get(path)):
        warnings = response.headers.get_list("warning")
        for field in ("ports.web.protocol", "maxReplicas"):
            assert any(re.fullmatch(rf'299 anypop "[^"]*{field}: [^"]+"', warning) for warning in warnings), field
        assert "x" not in response.headers
        assert len(response.json()["warnings"]) == len(warnings)
    quoted = client.post("/anypop/v1/quote", json=body).json()
    assert len(quoted["without_effect"]) == len(warnings)
    client.delete(path)
    plain = client.post(BASE, json=a_body("plain"))
    assert "warning" not in plain.headers and plain.json().keys() == {"workload"}


def test_a_slug_that_is_not_sent_stays_as_it_is(client: httpx.Client) -> None:
    """Also when the name changes: the slug was made, or given, at creation."""
    body = a_body("fun", replicas=0)
    body["workload"]["slug"] = "custom"
    post(client, body)
    del body["workload"]["slug"]
    body["workload"]["name"] = "Something else"
    changed = client.put(f"{BASE}/custom", json=with_version(body)).json()["workload"]
    assert (changed["name"], changed["slug"]) == ("Something else", "custom")


def test_max_replicas_labels_and_runtime_are_never_filled_in(client: httpx.Client) -> None:
    """A client that did not send them must not see them."""
    made = post(client, a_body("plain", anycast=False))
    assert "maxReplicas" not in made["targets"]["eu"]["spec"]["deployments"]
    assert "runtime" not in made["spec"]
    assert not {"labels", "annotations", "updatedAt", "deleteRequestedAt"} & made["metadata"].keys()


@pytest.mark.parametrize(("protocol", "kept"), [("TCP", "TCP"), ("UDP", "UDP"), ("SCTP", "SCTP"), (None, None)])
def test_a_ports_protocol_comes_back_as_it_was_sent(
    client: httpx.Client, protocol: str | None, kept: str | None
) -> None:
    """Unknown and absent ones count as TCP without being changed."""
    body = a_body("ported", ports={"p": {"port": 80} | ({"protocol": protocol} if protocol else {})})
    assert post(client, body)["spec"]["containers"]["web"]["ports"]["p"].get("protocol") == kept


def test_numbers_may_be_texts(client: httpx.Client) -> None:
    """As protobuf's JSON has it; they come back as numbers."""
    body = terraform()
    deployments = body["workload"]["targets"]["global"]["spec"]["deployments"]
    deployments["minReplicas"], deployments["scaleSettings"]["metrics"][0]["averageUtilization"] = "1", "50"
    made = post(client, body)["targets"]["global"]["spec"]["deployments"]
    assert (made["minReplicas"], made["scaleSettings"]["metrics"][0]["averageUtilization"]) == (1, 50)


def test_resources_are_on_every_container_of_workloads_and_instances(client: httpx.Client) -> None:
    """Also where none were sent: clients look into it unasked."""
    body = a_body("bare")
    del body["workload"]["spec"]["containers"]["web"]["resources"]
    assert post(client, body)["spec"]["containers"]["web"]["resources"] == {}
    for instance in client.get(f"{BASE}/bare/instances").json()["results"]:
        assert instance["containers"]["web"]["resources"] == {}


def test_an_instance_is_described_once_and_for_all(client: httpx.Client) -> None:
    """Name, labels, addresses and place; nothing in it is null or empty but `resources` and what the user keyed."""
    post(client, a_body("fun", replicas=1))
    found = client.get(f"{BASE}/fun/instances/fun-eu-lhr-0").json()["instance"]
    assert found["metadata"]["labels"] == {
        f"{LABELS}/target-name": "eu", f"{LABELS}/workload-slug": "fun", f"{LABELS}/workload-id": found["workloadId"],
    }  # fmt: skip
    assert found["location"]["cityCode"] == "LHR" and found["location"]["countryCode"] == "GB"
    link = found["networkInterfaces"][0]
    assert (link["network"], link["ipAddress"], link["ipv6Address"]) == (
        "default",
        found["ipAddress"],
        found["ipv6Address"],
    )
    anycast = client.get(f"{BASE}/fun").json()["workload"]["metadata"]["annotations"][f"{ANYCAST}/subnets"]
    assert found["metadata"]["annotations"][f"{ANYCAST}/subnets"] == anycast
    assert link["ipAddressAliases"] == [anycast.split("/")[0]]
    assert found["phase"] == "SCHEDULING"
    assert less_empty(found) == found


def test_an_instance_without_annotations_shows_none(client: httpx.Client) -> None:
    """Empty members are left out of instances too."""
    post(client, a_body("bare", anycast=False))
    found = client.get(f"{BASE}/bare/instances").json()["results"][0]
    assert "annotations" not in found["metadata"]
    assert less_empty(found) == found


def test_workloads_and_stacks_go_by_id_and_by_slug_everywhere(client: httpx.Client) -> None:
    """In every path, in every combination."""
    made = post(client, a_body("both", replicas=1))
    for stack in ("default", made["stackId"]):
        for ref in ("both", made["id"]):
            base = f"/workload/v1/stacks/{stack}/workloads/{ref}"
            assert client.get(base).json()["workload"] == made
            assert client.get(f"{base}/instances").json()["pageInfo"]["totalCount"] == "2"
            assert client.get(f"{base}/instances/both-eu-ams-0").status_code == 200
            assert client.get(f"/anypop/v1/stacks/{stack}/workloads/{ref}/announcements").status_code == 200


def test_delete_answers_204_without_a_body_and_get_tells_of_it(client: httpx.Client) -> None:
    """Until the PoPs are done: 200 with deleteRequestedAt."""
    post(client, a_body("leaving"))
    response = client.delete(f"{BASE}/leaving")
    assert (response.status_code, response.content) == (204, b"")
    assert client.get(f"{BASE}/leaving").json()["workload"]["metadata"]["deleteRequestedAt"]
    assert client.delete(f"{BASE}/leaving").status_code == 204


# pages


def test_ansible_reads_pages_from_before_the_first_item_to_the_end(client: httpx.Client) -> None:
    """first=10 and after=-1, then after=endCursor while there is a next page: every instance once."""
    post(client, a_body("many", cities=("AMS", "LHR", "JFK"), replicas=9))
    names: list[str] = []
    after, more = "-1", True
    while more:
        page = client.get(
            f"{BASE}/many/instances", params={"page_request.first": "10", "page_request.after": after}
        ).json()
        names += [i["name"] for i in page["results"]]
        info = page["pageInfo"]
        assert info.keys() == {"totalCount", "hasPreviousPage", "hasNextPage", "startCursor", "endCursor"}
        assert all(isinstance(info[key], str) for key in ("totalCount", "startCursor", "endCursor"))
        assert info["hasPreviousPage"] is (after != "-1")
        after, more = info["endCursor"], info["hasNextPage"]
    assert len(names) == len(set(names)) == 27
    assert names == sorted(names)


def test_page_info_is_always_there_and_a_page_has_ten_items_unless_asked(client: httpx.Client) -> None:
    """On empty lists too; virtual-kubelet asks for 99999 at once."""
    empty = client.get(BASE).json()
    assert empty == {
        "pageInfo": {**empty["pageInfo"], "totalCount": "0", "hasNextPage": False, "hasPreviousPage": False},
        "results": [],
    }
    post(client, a_body("many", replicas=6))
    info = client.get(f"{BASE}/many/instances").json()["pageInfo"]
    assert (info["totalCount"], info["startCursor"], info["endCursor"], info["hasNextPage"]) == ("12", "0", "9", True)
    assert len(client.get(f"{BASE}/many/instances", params={"page_request.first": "99999"}).json()["results"]) == 12
    assert client.get("/workload/v1/locations").json()["pageInfo"]["totalCount"] == "4"


def test_lists_are_filtered_and_sorted_by_what_they_show(client: httpx.Client) -> None:
    """By nested fields too, upwards and downwards."""
    post(client, a_body("one", replicas=1))
    post(client, a_body("two", replicas=1))
    by_name = client.get(BASE, params={"page_request.sort_by": "name desc"}).json()["results"]
    assert [w["name"] for w in by_name] == ["two", "one"]
    asked = {"page_request.filter": "location.cityCode='LHR'", "page_request.sort_by": "-name"}
    assert [i["name"] for i in client.get(f"{BASE}/one/instances", params=asked).json()["results"]] == ["one-eu-lhr-0"]
    assert refusal(client.get(BASE, params={"page_request.filter": "name like 'x'"}), 400, 3) == ["page_request.filter"]


# errors and boundaries


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("depth", [70, 480, 960, 200_000])
def test_a_deep_body_is_refused_in_words(client: httpx.Client, method: str, depth: int) -> None:
    """Whoever asks, however deep."""
    post(client, a_body("fun", replicas=0))
    deep = '{"a":' * depth + "1" + "}" * depth
    path = BASE if method == "POST" else f"{BASE}/fun"
    body = f'{{"workload":{{"metadata":{{"version":"1"}},"spec":{deep}}}}}'
    refusal(client.request(method, path, content=body, headers={"content-type": "application/json"}), 400, 3)


@pytest.mark.parametrize(
    "version", ["9" * 4500, "-1", "1.0", "one", True, [1], {"a": 1}], ids=lambda version: str(version)[:5]
)
def test_a_version_that_is_no_number_is_refused_by_name(client: httpx.Client, version: Any) -> None:
    """However long."""
    made = post(client, a_body("fun", replicas=0))
    made["metadata"]["version"] = version
    assert refusal(client.put(f"{BASE}/fun", json={"workload": made}), 400, 3) == ["metadata.version"]


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", "/anypop/v1/communities/" + "9" * 5000, "asn"),
        ("GET", "/anypop/v1/events?limit=" + "9" * 5000, "limit"),
        ("GET", f"{BASE}?page_request.after=-2", "page_request.after"),
        ("PUT", "/anypop/v1/network?confirm=perhaps", "confirm"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client: httpx.Client, method: str, path: str, field: str) -> None:
    """With the name that the client gave it."""
    assert refusal(client.request(method, path, json={} if method == "PUT" else None), 400, 3) == [field]


@pytest.mark.parametrize("slug", ["A", "-a", "a-", "a.b", "a" * 64, "ä", "a b", "ａ"])
def test_a_slug_is_a_dns_label_or_refused(client: httpx.Client, slug: str) -> None:
    """1 to 63 of a-z, 0-9 and inner hyphens."""
    body = a_body("fine")
    body["workload"]["slug"] = slug
    assert refusal(client.post(BASE, json=body), 400, 3) == ["slug"]


def test_a_name_in_any_script_is_kept_as_it_is(client: httpx.Client) -> None:
    """Only its slug is made of letters that a host name may have."""
    body = a_body("münchen 東京")
    del body["workload"]["slug"]
    made = post(client, body)
    assert (made["name"], made["slug"]) == ("münchen 東京", "m-nchen")


# secrets


def test_secrets_stand_in_no_answer_no_event_and_no_log(control: Process, client: httpx.Client) -> None:
    """Neither of a creation, nor of a refusal that is about the very field that holds them."""
    body = terraform("secretive")
    made = post(client, body)
    texts = [json.dumps(made)]
    for path in (BASE, f"{BASE}/secretive", f"{BASE}/secretive/instances", "/anypop/v1/events", "/anypop/v1/pops"):
        texts.append(client.get(path).text)
    wrong = terraform("other")
    wrong["workload"]["spec"]["containers"]["app"]["env"]["TOKEN"] = {"secretValue": "hush-hush", "value": "pass-word"}
    wrong["workload"]["spec"]["imagePullCredentials"] = [{"dockerRegistry": {"username": "", "password": "pass-word"}}]
    texts.append(client.post(BASE, json=wrong).text)
    wrong["workload"]["spec"]["containers"]["app"]["env"]["TOKEN"] = {"secretValue": ["hush-hush"]}
    texts.append(client.post(BASE, json=wrong).text)
    texts.append(control.log())
    assert not [text for text in texts if "hush-hush" in text or "pass-word" in text]


def test_files_of_control_are_its_owners_alone(control: Process) -> None:
    """Only certificates may be read by others, and their folder lets nobody in."""
    state = control.folder / "control"
    assert state.stat().st_mode & 0o777 == 0o700
    open_to_others = {path.name for path in state.rglob("*") if path.is_file() and path.stat().st_mode & 0o077}
    assert open_to_others <= {"ca.pem", "server.pem"}
    assert (control.folder / "client.json").stat().st_mode & 0o777 == 0o600


def test_words_of_the_api_are_taken_in_any_case_and_known_as_they_are_written(client: httpx.Client) -> None:
    """Numbers as texts and zeros left out, too, wherever protobuf's JSON has them."""
    body = terraform("cases")
    spec = body["workload"]["spec"]
    app = spec["containers"]["app"]
    app |= {"imagePullPolicy": "always", "terminationMessagePolicy": "File"}
    app["readinessProbe"] = {
        "httpGet": {"port": "8000", "scheme": "https"}, "periodSeconds": "5", "failureThreshold": "0",
    }  # fmt: skip
    app["ports"]["web"] = {"port": "8000"}
    spec["networkInterfaces"] = [{"network": "default", "ipFamilies": ["ipv4", "IPV6"]}]
    spec["runtime"] = {"containers": {"terminationGracePeriodSeconds": 30}}
    target = body["workload"]["targets"]["global"]["spec"]
    target["deploymentScope"] = "CityCode"
    target["deployments"] = {"selectors": [{"key": "citycode", "operator": "IN", "values": ["JFK"]}]}
    made = post(client, body)
    shown = made["spec"]["containers"]["app"]
    assert (shown["imagePullPolicy"], shown["terminationMessagePolicy"]) == ("ALWAYS", "FILE")
    assert shown["readinessProbe"]["httpGet"] == {"port": 8000, "scheme": "HTTPS"}
    assert shown["readinessProbe"]["periodSeconds"] == 5 and shown["ports"]["web"]["port"] == 8000
    assert made["spec"]["networkInterfaces"][0]["ipFamilies"] == ["IPv4", "IPv6"]
    assert made["spec"]["runtime"]["containers"]["terminationGracePeriodSeconds"] == "30"
    assert made["targets"]["global"]["spec"]["deploymentScope"] == "cityCode"
    assert "minReplicas" not in made["targets"]["global"]["spec"]["deployments"]
    assert client.get(f"{BASE}/cases/instances").json()["pageInfo"]["totalCount"] == "0"


@pytest.mark.parametrize(
    ("path", "wrong", "near"),
    [
        ("spec.containers.app", "imgae", "image"),
        ("spec.containers.app.ports.web", "protocoll", "protocol"),
        ("spec.containers.app.readinessProbe", "periodSecond", "periodSeconds"),
        ("spec.containers.app.securityContext", "runAsUsr", "runAsUser"),
        ("spec.networkInterfaces.0", "ipFamilys", "ipFamilies"),
        ("targets.global.spec.deployments", "minReplica", "minReplicas"),
        ("metadata", "label", "labels"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(
    client: httpx.Client, path: str, wrong: str, near: str
) -> None:
    """Wherever it stands: nothing is dropped in silence."""
    body = terraform()
    part: Any = body["workload"]
    for step in path.split("."):
        part = part[int(step) if step.isdigit() else step]
    part[wrong] = "x"
    answer = client.post(BASE, json=body)
    (field,) = refusal(answer, 400, 3)
    assert field.endswith(wrong) and f"is {near} meant?" in answer.text
