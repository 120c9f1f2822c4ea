"""Gradients through many steps of descent, in the memory of one.

The student of DD and MTT takes T steps of gradient descent, with velocity v and rates r,

    v_{t+1} = m v_t + g_t(theta_t; x),    theta_{t+1} = theta_t - r_t v_{t+1},

and a loss of where it ends is differentiated in x, r and theta_0. Backwards in t, with l the
gradient of theta and n that of v,

    n <- n - r_t l,    dr_t = -<v_{t+1}, l>,    l <- l + n dg_t/dtheta,    dx <- dx + n dg_t/dx,
    n <- m n,

where a step's products come of the graph of that step alone, which is built again from theta_t:
only theta_t and v_{t+1} are kept. Exact, not truncated: Wang, Zhu, Torralba, Efros 2018,
arXiv 1811.10959, Eq. 5-7, with the momentum of Deng, Russakovsky 2022, arXiv 2206.02916.

Legend: T steps, P parameters, B images of a step, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.errors import TrainingError
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.network import FlatNetwork

Batch = Callable[[int, Sequence[Tensor]], tuple[Tensor, Tensor]]


def descended(
    network: FlatNetwork,
    lesson: Batch,
    start: Tensor,
    inputs: Sequence[Tensor],
    *,
    rates: Tensor,
    momentum: float = 0.0,
    stored: bool = False,
    compute: Compute = AS_WRITTEN,
) -> Tensor:
    """(P,): where T steps of descent on the cross-entropy of `network` end, from `start` (P,).

    `lesson(t, inputs)` are the images (B, C, H, W) of step t and their classes (B,) or the
    probabilities of these (B, K). It must be a pure function of `inputs`: called twice, it must
    give the same bits. Gradients reach `inputs`, `rates` (T,) and `start`. Passes are compiled
    where `compute` says so, and never bfloat16. If `stored`, the graphs of all steps are kept
    instead: a quarter faster than passes that are not compiled, and T times the memory.

    Raises:
        TrainingError: a step that is computed again would have other dropout.
    """
    if stored:
        return _stored(network, lesson, start, inputs, rates, momentum)
    if network.random:
        raise TrainingError(
            "the network has dropout, which is another one when a step is computed again: choose "
            "a network without, or stored = true"
        )
    end: Tensor = _Descent.apply(
        network, lesson, compute.unrounded, momentum, start, rates, *inputs
    )
    return end


def _stored(
    network: FlatNetwork,
    lesson: Batch,
    theta: Tensor,
    inputs: Sequence[Tensor],
    rates: Tensor,
    momentum: float,
) -> Tensor:
    theta = theta if theta.requires_grad else theta.detach().requires_grad_()
    speed: Tensor | None = None
    for step, rate in enumerate(rates):
        loss = _loss(network, theta, *lesson(step, inputs))
        (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
        speed = slope if speed is None else slope + momentum * speed
        theta = theta - rate * speed
    return theta


class _Descent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        network: FlatNetwork,
        lesson: Batch,
        compute: Compute,
        momentum: float,
        start: Tensor,
        rates: Tensor,
        *inputs: Tensor,
    ) -> Tensor:
        thetas: list[Tensor] = []
        speeds: list[Tensor] = []
        theta = start.detach()  # alike at every step, for who compiles
        for step, rate in enumerate(rates):
            slope = compute(_slope, network, theta, *lesson(step, inputs))
            speed = slope + momentum * speeds[-1] if momentum and speeds else slope
            thetas.append(theta)
            if momentum:
                speeds.append(speed)
            theta = theta - rate * speed
        ctx.network, ctx.lesson, ctx.compute, ctx.momentum = network, lesson, compute, momentum
        ctx.save_for_backward(rates, *inputs, *thetas, *speeds)
        return theta

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (of_theta,) = gradients
        rates, *saved = ctx.saved_tensors
        count, stored = len(rates), 2 if ctx.momentum else 1
        inputs = saved[: len(saved) - stored * count]
        thetas, speeds = (saved[len(inputs) :][at * count :][:count] for at in (0, 1))
        wanted = [x for x, wants in zip(inputs, ctx.needs_input_grad[6:], strict=True) if wants]
        of_inputs = [torch.zeros_like(x) for x in wanted]
        of_rates, of_speed = [], torch.zeros_like(of_theta)
        for step in reversed(range(count)):
            of_speed = of_speed - rates[step] * of_theta
            leaves = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
            with torch.enable_grad():
                given = ctx.lesson(step, leaves)
            slope, of_start, *of_given = ctx.compute(
                _pulled, ctx.network, thetas[step], *(x.detach() for x in given), of_speed
            )
            for total, part in zip(of_inputs, _below(given, of_given, leaves), strict=True):
                total += part
            speed = speeds[step] if speeds else slope
            of_rates.append(-(speed * of_theta).sum())
            of_theta = of_theta + of_start
            of_speed = ctx.momentum * of_speed
        made = iter(of_inputs)
        back = [next(made) if wants else None for wants in ctx.needs_input_grad[6:]]
        return None, None, None, None, of_theta, torch.stack(of_rates[::-1]), *back


def _below(
    given: Sequence[Tensor], of_given: Sequence[Tensor], inputs: Sequence[Tensor]
) -> Sequence[Tensor]:
    """The gradients of what a lesson gave, in those of its inputs that want some."""
    wanted = [x for x in inputs if x.requires_grad]
    reached = [at for at, x in enumerate(given) if x.requires_grad]
    if not (reached and wanted):
        return [torch.zeros_like(x) for x in wanted]
    made: Sequence[Tensor] = torch.autograd.grad(
        [given[at] for at in reached],
        wanted,
        [of_given[at] for at in reached],
        allow_unused=True,
        materialize_grads=True,
    )
    return made


def _loss(network: FlatNetwork, theta: Tensor, images: Tensor, goal: Tensor) -> Tensor:
    return F.cross_entropy(network(theta, images), goal)


def _slope(network: FlatNetwork, theta: Tensor, images: Tensor, goal: Tensor) -> Tensor:
    """The gradient (P,) of a step's loss, without a graph."""
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_loss(network, theta, images, goal), theta)
        return slope


def _pulled(
    network: FlatNetwork, theta: Tensor, images: Tensor, goal: Tensor, speed: Tensor
) -> tuple[Tensor, ...]:
    """The gradient (P,) of a step's loss; then those of its product with `speed` (P,).

    These are in theta, in the images and, where they are probabilities, in the labels.
    """
    with torch.enable_grad():
        given = [x.detach().requires_grad_(x.is_floating_point()) for x in (theta, images, goal)]
        loss = _loss(network, *(x.view_as(x) for x in given))  # hooks of a module want no leaves
        (slope,) = torch.autograd.grad(loss, given[0], create_graph=True)
        leaving = [x for x in given if x.requires_grad]
        made = torch.autograd.grad(
            slope, leaving, speed, allow_unused=True, materialize_grads=True
        )
        return slope.detach(), *made
