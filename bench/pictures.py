"""The README's pictures of the portal, taken of a platform that runs: what a person sees there.

In: the state folder of a platform (`anypop up`, or what the demo leaves), and where the pictures go. Out: a PNG for
each, small enough for a README. Run by `script/pictures`, by hand, after the portal looks otherwise.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page
from tests.browsed import chromium

WORKLOAD = "stackpath-anycast-fun"
LARGEST = 150_000
WAIT_MS = 60_000
BASE = "/portal/stacks/default"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--state", type=Path, default=Path("/var/lib/anypop"))
    options.add_argument("--to", type=Path, default=Path("docs/images"))
    given = options.parse_args()
    anypop = str(Path(sys.executable).with_name("anypop"))
    said = subprocess.run(
        [anypop, "portal", "--state", str(given.state), "-o", "json"], check=True, capture_output=True, text=True
    )
    link = str(json.loads(said.stdout)["url"])
    given.to.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True, viewport={"width": 1120, "height": 730})
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(link)
        page.get_by_role("button").first.click()
        page.wait_for_url("**/workloads")
        url = link.partition("/portal/")[0]
        _of_workload(page, url)
        _keep(page, given.to / "portal-workload.png")
        _of_map(page, url)
        _keep(page, given.to / "portal-map.png")
    return 0


def _of_workload(page: Page, url: str) -> None:
    page.goto(f"{url}{BASE}/workloads/{WORKLOAD}")
    page.get_by_text("of 8 running").first.wait_for()
    for part in ("#revisions *", "#events *", ".plot canvas"):  # they come after the page
        page.locator(part).first.wait_for()
    page.locator("[data-chart=cpu] .legend li").last.wait_for()


def _of_map(page: Page, url: str) -> None:
    """Where the vantages land, by arcs: London's goes far, as long as no announcement is mended."""
    page.goto(f"{url}{BASE}/map?workload={WORKLOAD}")
    with page.expect_navigation():
        page.get_by_role("button", name="Test now").click()
    page.goto(f"{url}{BASE}/map?workload={WORKLOAD}")
    page.locator("#live svg").first.wait_for()


def _keep(page: Page, file: Path) -> None:
    page.screenshot(path=file)
    size = file.stat().st_size
    if size >= LARGEST:
        raise SystemExit(f"{file} has {size} bytes: too large for a README")
    print(f"{file}: {size} bytes")


if __name__ == "__main__":
    sys.exit(main())
