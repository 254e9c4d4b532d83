"""A workload as a resource of Terraform: what the provider takes, without a secret, and no text of anybody is HCL."""

import re

from anypop.portal import declaring
from anypop.portal.terraform import as_terraform
from anypop.portal.visit import Form

SIZES = [{"name": "SP-1", "cpuMillis": 1000, "memoryBytes": 2 << 30, "hourly": 0.045}]
PLAIN = """resource "stackpath_compute_workload" "web" {
  name = "web"
  slug = "web"

  annotations = {
    "anycast.platform.stackpath.net" = "true"
  }

  network_interface {
    network     = "default"
    ip_families = ["IPv4", "IPv6"]
  }

  container {
    name  = "app"
    image = "r/web:1"
    resources {
      requests = {
        cpu = "1"
        memory = "2Gi"
      }
    }
    port {
      name                           = "port-53-udp"
      port                           = 53
      protocol                       = "UDP"
      enable_implicit_network_policy = true
    }
    env {
      key          = "A"
      value        = "1"
    }
    env {
      key          = "S"
      secret_value = var.S
    }
  }

  target {
    name             = "eu1"
    deployment_scope = "cityCode"
    min_replicas     = 2
    selector {
      key      = "cityCode"
      operator = "in"
      values   = ["AMS", "LHR"]
    }
  }
}
"""


def made(**fields: str) -> str:
    told = {"name": "web", "image": "r/web:1", "size": "SP-1", "replicas-AMS": "2", "replicas-LHR": "2", **fields}
    wish = declaring.wish(Form([*told.items(), ("city", "AMS"), ("city", "LHR")]))
    return as_terraform(declaring.document(wish, SIZES, {"AMS": "EU", "LHR": "EU"}))


def test_a_workload_is_a_resource_of_the_provider_and_its_secrets_are_variables() -> None:
    text = made(ports="53/udp", env="A=1", secrets="S=hunter2", anycast="on")
    assert text.partition("resource")[0] == 'variable "S" {\n  type      = string\n  sensitive = true\n}\n\n'
    assert text[text.index("resource") :] == PLAIN
    assert "hunter2" not in text


def test_no_text_leaves_its_quotes_or_becomes_an_expression() -> None:
    evil = '"} resource "x" "y" { a = "${file("/etc/passwd")}%{ if true }\\'
    text = made(env=f"A={evil}", image=evil, name="9 lives")
    assert 'resource "stackpath_compute_workload" "_9_lives"' in text and text.count("\nresource") == 0
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "TEXT", text)
    assert "passwd" not in bare and bare.count("{") == bare.count("}") == made(env="A=1").count("{")
    assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", text), "no expression begins in it"
