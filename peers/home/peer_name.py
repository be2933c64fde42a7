"""Default names of peers: two speakable random words, as "amber-heron".

Others see a peer's name. The name of the device would tell strangers something private, and would be the same for all
peers of one machine. Names need not be unique: ids are.
"""

from __future__ import annotations

import secrets
from typing import Final

_FIRST: Final = (
    "amber ancient autumn azure bold brave bright bronze calm candid clever coral cosmic crimson curious dapper "
    "dusty eager early ember faithful gentle gilded golden grand hazel hidden humble indigo ivory jolly keen kind "
    "lively lucid lunar mellow merry misty modest noble northern olive opal patient pearl placid plucky polar proud "
    "quick quiet rapid royal ruby rustic sandy scarlet serene silent silver sleepy snowy solar steady stormy sunny "
    "swift tender tidy timber tranquil velvet vivid warm wild winter wise witty woven"
)
_SECOND: Final = (
    "acorn alder aspen badger beacon beaver birch bison breeze brook canyon cedar cliff clover comet condor coral "
    "cricket curlew delta dolphin dune eagle elm falcon fern finch fjord forest fox garnet glacier grove harbour "
    "hare hawk heather heron hill ibis island jasper juniper kestrel lagoon lake lark lichen lily lynx magpie maple "
    "marsh meadow meteor mole moss newt oak orchid otter owl pebble pine plover pond poppy prairie quail rabbit "
    "raven reed ridge river robin sparrow spruce stone swallow thistle thrush tiger valley walnut willow wren"
)


def random_peer_name() -> str:
    return f"{secrets.choice(_FIRST.split())}-{secrets.choice(_SECOND.split())}"
