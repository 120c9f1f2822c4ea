"""The networks that are trained on real and on distilled images."""

from typing import TYPE_CHECKING

from d3data.nets.building import NetworkSpec, build, check, get_network, list_networks
from d3data.nets.convnet import default_depth
from d3data.nets.flops import Flops, count_flops
from d3data.nets.network import Network
from d3data.nets.norms import Norm
from d3data.utils.renamed import moved

__all__ = [
    "Flops",
    "Network",
    "NetworkSpec",
    "Norm",
    "build",
    "check",
    "count_flops",
    "default_depth",
    "get_network",
    "list_networks",
]

if not TYPE_CHECKING:
    __getattr__ = moved(__name__, names="d3data.nets:list_networks")
