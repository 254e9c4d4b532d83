"""What stands around an instance's processes: names that they know, whom they ask for others, and who may pull their
images.

In: nothing; these are the nouns of `plan.surroundings` (what a workload asks for) and of the agent (what it makes of
it). Aliases and resolving shape a process and belong to its template; logins do not, since an image is the same
whoever has fetched it. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from anypop.model.announce import Address
from anypop.model.registries import DEFAULT, domain_of

_DOCKER_HUB = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAlias:
    """A line of /etc/hosts."""

    address: Address
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolving:
    """What stands in /etc/resolv.conf. `nameservers`: in place of the platform's, where there are any. `options`: as
    the libc has them, each with its value or without (""). See resolv.conf(5).
    """

    nameservers: tuple[Address, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who pulls from a registry. `server`: HOST or HOST:PORT, and perhaps the beginning of its images' names."""

    server: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All of it, for all containers of an instance."""

    aliases: tuple[HostAlias, ...] = ()
    resolving: Resolving = Resolving()
    logins: tuple[Login, ...] = ()


NO_SURROUNDINGS = Surroundings()


def server_of(told: str) -> str:
    """A server as clients write it, as one that images are named by: without scheme, version and slash at the end;
    Docker Hub by its one name.
    """
    plain = told.strip().partition("://")[2] or told.strip()
    plain = plain.rstrip("/").removesuffix("/v1").removesuffix("/v2")
    host, slash, path = plain.partition("/")
    return (DEFAULT if host.lower() in _DOCKER_HUB else host.lower()) + slash + path


def login_for(image: str, logins: Iterable[Login]) -> Login | None:
    """The one whose server is the image's registry; of several the one that tells most of its name, then the first."""
    known = tuple(logins)
    name = _whole(image) if known else ""
    fitting = [one for one in known if name == one.server or name.startswith(f"{one.server}/")]
    return max(fitting, key=lambda one: len(one.server), default=None)


def repository_of(image: str) -> str:
    """The whole name of a reference without its tag and its digest."""
    folder, slash, last = _whole(image).partition("@")[0].rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _whole(image: str) -> str:
    """The image's name with its registry in front."""
    domain = domain_of(image)
    host, _, rest = image.partition("/")
    if domain == DEFAULT and host != DEFAULT:
        return f"{DEFAULT}/{image}"
    return f"{DEFAULT if host.lower() in _DOCKER_HUB else domain.lower()}/{rest}"
