"""`python -m anypop.api`: the control process.

    python -m anypop.api --state DIR --listen 127.0.0.1:8443 [--listen netns=NAME,ADDRESS:PORT] [--network FILE]
    [--prices FILE] [--lab DIR] [--graph DIR] [--client-file FILE] [--public-name NAME]
    [--certificate FILE --key FILE | --acme URL] [--metrics FILE] [--scrape-file FILE]

Logs to standard error. What is in the way at start is one line and exit code 1; wrong options are exit code 2. A worker
process of control imports this module again, and must not load all of control with it: hence the late imports.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from anypop.host.memory_pools import loading, share_pools


def main(argv: Sequence[str] | None = None) -> int:
    share_pools()
    with loading():
        from anypop.api import listen  # noqa: PLC0415 - see the module
        from anypop.api.certificates import Acme  # noqa: PLC0415
        from anypop.api.door import Bounds  # noqa: PLC0415
        from anypop.api.serve import Settings, serve  # noqa: PLC0415
        from anypop.control.refusals import Refused  # noqa: PLC0415
        from anypop.model.errors import Invalid, WorldError  # noqa: PLC0415
        from anypop.model.visible import VisibleFormatter, visible_line  # noqa: PLC0415
        from anypop.plan.check import Unsafe  # noqa: PLC0415

    options = argparse.ArgumentParser(prog="anypop.api", description="The control process: API, store and loops.")
    options.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="folder of the store, the certificates and the tokens"
    )
    options.add_argument(
        "--listen",
        action="append",
        required=True,
        metavar="[own-ca,][netns=NAME,]HOST:PORT",
        help="where to listen; repeatable",
    )
    options.add_argument(
        "--network", type=Path, metavar="FILE", help="the operator's network (YAML); replaces the stored one"
    )
    options.add_argument("--prices", type=Path, metavar="FILE", help="the price book (YAML)")
    options.add_argument(
        "--lab", type=Path, metavar="DIR", help="folder of a running lab: gives vantages and a looking glass"
    )
    options.add_argument(
        "--graph", type=Path, metavar="DIR", help="folder of graph.yaml: what predictions ask (default: --state)"
    )
    options.add_argument(
        "--client-file", type=Path, metavar="FILE", help="where to write the first client's credentials"
    )
    options.add_argument(
        "--connections", type=int, default=4096, metavar="N", help="most open connections at each --listen (4096)"
    )
    options.add_argument(
        "--connections-per-address", type=int, default=200, metavar="N", help="most from one address or /64 (200)"
    )
    options.add_argument(
        "--answers-at",
        default="",
        metavar="URL",
        help="where others reach this control: a standby on the same PostgreSQL names it (default: from --listen)",
    )
    options.add_argument(
        "--certificate-days", type=float, default=90, metavar="N", help="how long an agent's certificate counts"
    )
    options.add_argument(
        "--public-name",
        action="append",
        default=[],
        type=listen.public_name,
        metavar="[own-ca,]NAME",
        help="a further name or address that clients know it by, for its certificate; repeatable",
    )
    options.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="the certificate of each --public-name, then those that signed it",
    )
    options.add_argument("--key", type=Path, metavar="FILE", help="the private key of --certificate")
    options.add_argument(
        "--acme",
        default="",
        metavar="URL",
        help="the directory of an authority that signs for each --public-name (ACME); it agrees to that one's terms",
    )
    options.add_argument("--acme-email", default="", metavar="ADDRESS", help="where that authority may write to")
    options.add_argument(
        "--acme-listen",
        action="append",
        default=[],
        metavar="[netns=NAME,]HOST:PORT",
        help="where that authority asks, by HTTP (port 80 of every address); repeatable",
    )
    options.add_argument(
        "--acme-ca", type=Path, metavar="FILE", help="who signed that authority's own certificate, if nobody public"
    )
    options.add_argument(
        "--oidc", type=Path, metavar="FILE", help="by whom people sign in, besides passwords (YAML; OpenID Connect)"
    )
    options.add_argument(
        "--metrics", type=Path, metavar="FILE", help="the store of metrics, and whom alerts are told (YAML)"
    )
    options.add_argument(
        "--scrape-file", type=Path, metavar="FILE", help="where to write the credential of a store of metrics"
    )
    given = options.parse_args(argv)
    bounds = Bounds(per_address=max(1, given.connections_per_address), altogether=max(1, given.connections))
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        serve(
            Settings(
                state=given.state,
                listen=tuple(listen.read(text) for text in given.listen),
                network=given.network,
                prices=given.prices,
                lab=given.lab,
                graph=given.graph,
                client_file=given.client_file,
                answers_at=given.answers_at,
                certificate_days=given.certificate_days,
                public_names=tuple(given.public_name),
                certificate=given.certificate,
                key=given.key,
                acme=Acme(
                    directory=given.acme,
                    email=given.acme_email,
                    ca=given.acme_ca,
                    listen=tuple(listen.read(text) for text in given.acme_listen),
                )
                if given.acme
                else None,
                oidc=given.oidc,
                metrics=given.metrics,
                scrape_file=given.scrape_file,
                bounds=bounds,
            )
        )
    except (Invalid, Refused, Unsafe, WorldError) as error:
        # the one line for whoever started it
        print(f"anypop.api: {visible_line(str(error).replace(chr(10), '; '))}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Everything is stored and closed. A thread that still waits for a far vantage would keep the interpreter from
    # ending.
    os._exit(code)
