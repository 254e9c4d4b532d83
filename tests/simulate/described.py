"""Steps of agents in the words of a story."""

from anypop.agent.decide.elements import Entry
from anypop.agent.decide.steps import AddLink, CreateContainer, SetSpeaker, Step


def described(step: Step) -> str:
    """A step in a line of the story."""
    name = type(step).__name__
    match step:
        case AddLink():
            return f"{name} {step.instance.name} {step.instance.uid[:10]}"
        case CreateContainer():
            return f"{name} {step.instance.name} {step.instance.uid[:10]} of {step.container.image}"
        case SetSpeaker():
            says = ", ".join(
                f"{e.prefix} to {e.upstream}" + (" (fading)" if e.graceful else "") for e in step.config.exports
            )
            return f"{name}: announces {says or 'nothing'}"
    parts = [getattr(step, p) for p in ("uid", "address", "prefix", "image") if hasattr(step, p)]
    members = [m.short or f"by tunnel to {m.peer} ({m.weight})" for m in getattr(step, "members", ())]
    if getattr(step, "entry", None) is Entry.TUNNEL:
        name += " for what comes by tunnels"
    return " ".join(map(str, [name, *parts, *members]))
