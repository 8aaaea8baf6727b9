"""The nets by name."""

from typing import TYPE_CHECKING, Any

from ganvas.registry import Registry

NETS = Registry("net", needs=("encoder", "decoder"))

if TYPE_CHECKING:
    Net = Any
else:
    Net = NETS.field
