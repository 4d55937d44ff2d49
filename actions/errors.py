"""What can go wrong between us and the world, by what it says about an effect. It imports nothing, so that all may import it."""


class ActionError(Exception):
    """Something went wrong between us and the world. The message is one sentence for a person."""


class Unreachable(ActionError):
    """A source did not answer a question; nothing was changed. `final`: it refused to, and asking again would not help."""

    final: bool = False


class Refused(ActionError):
    """The effect provably did not happen: it was not sent, or the provider refused it."""


class Uncertain(ActionError):
    """The request left us and its answer did not arrive: the effect may have happened. Read back before doing anything."""


class UnknownStep(ActionError):
    """A stored plan names a step that this version does not have, or with other arguments."""
