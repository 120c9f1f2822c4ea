"""The networks that are trained on real and on distilled images."""

from d3data.nets.building import NetworkSpec, build, check, names
from d3data.nets.convnet import default_depth
from d3data.nets.flops import Flops, count_flops
from d3data.nets.network import Network
from d3data.nets.norms import Norm

__all__ = [
    "Flops",
    "Network",
    "NetworkSpec",
    "Norm",
    "build",
    "check",
    "count_flops",
    "default_depth",
    "names",
]
