"""A workload as a resource of StackPath's Terraform provider, which Anypop's API answers. Pure.

In: a document of the API as the form for a new workload makes it. Out: HCL. A secret is a variable, whose value its
user gives to Terraform; it stands in no text here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from anypop.portal.declaring import units

Data = Mapping[str, Any]


def as_terraform(document: Data) -> str:
    secrets = [
        name
        for container in units(document).values()
        for name, value in container.get("env", {}).items()
        if "secretValue" in value
    ]
    lines = [f"variable {_text(_name(name))} {{\n  type      = string\n  sensitive = true\n}}\n" for name in secrets]
    lines.append(f"resource {_text('stackpath_compute_workload')} {_text(_name(document['slug']))} {{")
    lines += [f"  {line}" if line else "" for line in _workload(document)]
    return "\n".join([*lines, "}"]) + "\n"


def _workload(document: Data) -> Iterator[str]:
    yield f"name = {_text(document['name'])}"
    yield f"slug = {_text(document['slug'])}"
    if annotations := document.get("metadata", {}).get("annotations"):
        yield from ("", "annotations = {")
        yield from (f"  {_text(key)} = {_text(value)}" for key, value in annotations.items())
        yield "}"
    for interface in document["spec"]["networkInterfaces"]:
        yield from ("", "network_interface {", f"  network     = {_text(interface['network'])}")
        yield f"  ip_families = {_list(interface['ipFamilies'])}"
        yield "}"
    kind = "virtual_machine" if document["spec"].get("virtualMachines") else "container"
    for name, container in units(document).items():
        yield from ("", f"{kind} {{", f"  name  = {_text(name)}", f"  image = {_text(container['image'])}")
        yield from (f"  {line}" if line else "" for line in _container(container))
        yield "}"
    for name, target in document["targets"].items():
        deployments = target["spec"]["deployments"]
        yield from ("", "target {", f"  name             = {_text(name)}")
        yield f"  deployment_scope = {_text(target['spec']['deploymentScope'])}"
        yield f"  min_replicas     = {deployments['minReplicas']}"
        for selector in deployments["selectors"]:
            yield from ("  selector {", f"    key      = {_text(selector['key'])}")
            yield from (f"    operator = {_text(selector['operator'])}", f"    values   = {_list(selector['values'])}")
            yield "  }"
        yield "}"


def _container(container: Data) -> Iterator[str]:
    if "userData" in container:
        yield f"user_data = {_text(container['userData'])}"
    if "sshKeys" in container:
        yield "# the provider has no field for SSH keys: put them into the user data"
    yield "resources {"
    yield "  requests = {"
    yield from (f"    {key} = {_text(value)}" for key, value in container["resources"]["requests"].items())
    yield from ("  }", "}")
    for name, port in container.get("ports", {}).items():
        yield from ("port {", f"  name                           = {_text(name)}")
        yield f"  port                           = {port['port']}"
        yield f"  protocol                       = {_text(port['protocol'])}"
        yield "  enable_implicit_network_policy = true"
        yield "}"
    for name, value in container.get("env", {}).items():
        yield from ("env {", f"  key          = {_text(name)}")
        yield (
            f"  secret_value = var.{_name(name)}"
            if "secretValue" in value
            else f"  value        = {_text(value['value'])}"
        )
        yield "}"


def _text(value: object) -> str:
    """Between quotes, where nothing of it is an expression."""
    text = json.dumps(str(value), ensure_ascii=False).replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    return text.replace("${", "$${").replace("%{", "%%{")


def _list(values: list[str]) -> str:
    return "[" + ", ".join(_text(value) for value in values) + "]"


def _name(text: str) -> str:
    """As a name of HCL."""
    found = re.sub(r"[^A-Za-z0-9_-]", "_", text) or "workload"
    return found if found[0].isalpha() or found[0] == "_" else f"_{found}"
