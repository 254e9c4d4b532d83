"""What the written forms have in common: a scene's routes in the words and the order of a text."""

from collections.abc import Callable

from tests.recorded.routes.scenes import SCENES, Announced, Scene

SHORT = {"IGP": "i", "EGP": "e", "INCOMPLETE": "?"}
WORDS = {"IGP": "IGP", "EGP": "EGP", "INCOMPLETE": "incomplete"}
JUNOS = {"IGP": "I", "EGP": "E", "INCOMPLETE": "?"}


def path_of(route: Announced) -> str:
    return " ".join(map(str, route.as_path))


def preference_of(route: Announced) -> int:
    return 100 if route.local_pref is None else route.local_pref


def kind_of(route: Announced) -> str:
    return "internal" if route.internal else "external"


def best_of(scene: Scene, maker: str) -> int:
    """Where the best stands among the routes of a scene, from 0."""
    peer, _ = scene.truth(maker)
    return [route.peer for route in scene.routes].index(peer)


def reflected_by(route: Announced, sign: str = ", ") -> str:
    return f"Originator: {route.originator}, Cluster list: {sign.join(route.clusters)}" if route.originator else ""


def seconds_of(route: Announced) -> int:
    """Seconds that a route is there: greater numbers announce earlier."""
    return 3600 + route.peer * 61


def clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


WIDE = ("origin", "wide")  # their numbers run together in a table with columns of seven characters


def narrow() -> list[Scene]:
    return [scene for scene in SCENES if scene.name not in WIDE]


def extended_of(route: Announced, write: Callable[[str, str, str], str], sign: str = " ") -> str:
    """Its extended communities that have names: each of a name (`rt`, `ro`), an administrator and a value."""
    named = [word.split(":") for word in route.extended if not word.startswith("generic")]
    return sign.join(write(name, head, value) for name, head, value in named)


def cisco(name: str, head: str, value: str) -> str:
    return f"{'RT' if name == 'rt' else 'SoO'}:{head}:{value}"


def target(name: str, head: str, value: str) -> str:
    """As Junos and SR OS write it: `L` behind a number of four octets."""
    long = "L" if head.isdecimal() and int(head) > 65535 else ""
    return f"{'target' if name == 'rt' else 'origin'}:{head}{long}:{value}"


def arista(name: str, head: str, value: str) -> str:
    kind = "IP" if "." in head else "AS4" if int(head) > 65535 else "AS"
    return f"Route-{'Target' if name == 'rt' else 'Origin'}-{kind}:{head}:{value}"


def huawei(name: str, head: str, value: str) -> str:
    return f"{'RT' if name == 'rt' else 'SoO'} <{head} : {value}>"
