"""`anypop portal`: a link that signs a person in at the portal, in a browser, once.

In: the platform that is meant, and the token for it. Out: the link, on the terminal alone: it stands in no log, and it
is over after its first use, or after ten minutes.
"""

import typer

from anypop.cli.call import Call, command
from anypop.cli.client import Client


def register(root: typer.Typer) -> None:
    @command(root, "portal", stack=False, examples="anypop portal")
    def portal(call: Call) -> None:
        """Show a link that signs you in at the portal, in a browser, with the rights that you have here."""
        made = link(call.client)
        call.screen.result(
            made, lambda: [str(made["url"]), f"It signs in once, within {int(str(made['expires_in'])) // 60} minutes."]
        )


def link(client: Client) -> dict[str, object]:
    """A new link as a whole address, and for how many seconds it counts."""
    made = client.call("POST", "/anypop/v1/sign-in/links", what="make a link for the portal")
    return {"url": f"{client.settings.url}{made['path']}", "expires_in": made["expires_in"]}
