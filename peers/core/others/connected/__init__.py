"""Who is connected, and how their models relate to this peer's."""
