"""A `World` that a real browser reaches: its application behind the real HTTPS server, and Debian's Chromium.

`serving` gives the address; `chromium` a browser that trusts nobody and takes any certificate. What a page's console
complains of is collected, and a test that ends with complaints has failed.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from anypop.api.serve import server_config
from anypop.api.server import Server
from anypop.control import ca
from tests.control_world import World
from tests.wait import wait_until

CHROMIUM = "/usr/bin/chromium"
# What the browser leaves out here. For the address bar of each window it would load two pages of its own, three hundred
# scripts, while ours comes: a second of a processor, where ours takes a tenth. The second part is Playwright's own
# list, which counts no more where there is another.
LEFT_OUT = (
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
    "AimEnabled", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints",
    "PaintHolding", "PreconnectToSearch", "ThirdPartyStoragePartitioning",
)  # fmt: skip


@contextlib.contextmanager
def serving(world: World, port: int = 0) -> Iterator[str]:
    """The address of the world's control, for a browser of this machine."""
    credentials = ca.ensure(world.folder, ["127.0.0.1"], now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", port))
        server = Server(server_config(world.platform), world.platform.core, [context])

        async def run() -> None:
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([place])
            await server.main_loop()
            await server.shutdown([place])

        ended = asyncio.run_coroutine_threadsafe(run(), world._loop)
        wait_until(lambda: server.started, timeout_s=60, reason="the server listens")
        try:
            yield f"https://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            ended.result(60)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # no user namespace for its sandbox here, and root; what it opens is ours alone
        args = ["--no-sandbox", "--disable-gpu", f"--disable-features={','.join(LEFT_OUT)}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        try:
            yield browser
        finally:
            browser.close()


def complaints(context: BrowserContext) -> list[str]:
    """What pages of this context complain of from now on: errors, and whatever breaks the policy."""
    found: list[str] = []

    def listen(page: Page) -> None:
        page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))

    context.on("page", listen)
    return found
