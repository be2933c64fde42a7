"""The error that invalid bytes from a remote peer cause. Decoding raises no other."""


class WireError(Exception):
    """Bytes that violate the protocol, with the field and the reason.

    The remote peer is at fault, so this becomes an event (`Misbehaved`, a refusal), never a traceback. `field` is a
    dotted path such as `announcement.round` or `update.layers.0.q_proj.lora_A`.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why
