"""The one error that bytes from somebody else can cause."""


class WireError(Exception):
    """Bytes that are not what the protocol says, with the field and the reason.

    The guilty party is the remote, so this becomes an event (`Misbehaved`, a refusal), never a
    traceback. `field` is a dotted path such as `announcement.round` or `update.layers.0.q_proj.lora_A`.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why
