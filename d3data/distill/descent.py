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

Legend: T steps, P parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[int, Tensor, Sequence[Tensor]], Tensor]


def descended(
    loss: Loss,
    start: Tensor,
    inputs: Sequence[Tensor],
    *,
    rates: Tensor,
    momentum: float = 0.0,
    stored: bool = False,
) -> Tensor:
    """(P,): where T steps of descent on `loss(t, theta, inputs)` end that begin at `start` (P,).

    Gradients reach `inputs`, `rates` (T,) and `start`. The loss of a step must be a pure function
    of theta and `inputs`: called twice, it must give the same bits. If `stored`, the graphs of
    all steps are kept instead: a quarter faster, and T times the memory.
    """
    if stored:
        return _stored(loss, start, inputs, rates, momentum)
    end: Tensor = _Descent.apply(loss, momentum, start, rates, *inputs)
    return end


def _stored(
    loss: Loss, theta: Tensor, inputs: Sequence[Tensor], rates: Tensor, momentum: float
) -> Tensor:
    theta = theta if theta.requires_grad else theta.detach().requires_grad_()
    speed: Tensor | None = None
    for step, rate in enumerate(rates):
        slope = _gradient(loss(step, theta, inputs), theta, create_graph=True)
        speed = slope if speed is None else slope + momentum * speed
        theta = theta - rate * speed
    return theta


class _Descent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loss: Loss, momentum: float, start: Tensor, rates: Tensor, *inputs: Tensor
    ) -> Tensor:
        thetas: list[Tensor] = []
        speeds: list[Tensor] = []
        theta = start
        for step, rate in enumerate(rates):
            slope = _slope(loss, step, theta, inputs)
            speed = slope + momentum * speeds[-1] if momentum and speeds else slope
            thetas.append(theta)
            if momentum:
                speeds.append(speed)
            theta = theta - rate * speed
        ctx.loss, ctx.momentum = loss, momentum
        ctx.save_for_backward(rates, *inputs, *thetas, *speeds)
        return theta

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (of_theta,) = gradients
        rates, *saved = ctx.saved_tensors
        count, stored = len(rates), 2 if ctx.momentum else 1
        inputs = saved[: len(saved) - stored * count]
        thetas, speeds = (saved[len(inputs) :][at * count :][:count] for at in (0, 1))
        wanted = [x for x, wants in zip(inputs, ctx.needs_input_grad[4:], strict=True) if wants]
        of_inputs = [torch.zeros_like(x) for x in wanted]
        of_rates, of_speed = [], torch.zeros_like(of_theta)
        for step in reversed(range(count)):
            of_speed = of_speed - rates[step] * of_theta
            with torch.enable_grad():
                theta = thetas[step].detach().requires_grad_()
                leaves = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
                slope = _gradient(ctx.loss(step, theta, leaves), theta, create_graph=True)
                leaving = [theta, *(x for x in leaves if x.requires_grad)]
                made: Any = torch.autograd.grad(
                    slope, leaving, of_speed, allow_unused=True, materialize_grads=True
                )
            speed = speeds[step] if speeds else slope.detach()
            of_rates.append(-(speed * of_theta).sum())
            of_theta = of_theta + made[0]
            for total, part in zip(of_inputs, made[1:], strict=True):
                total += part
            of_speed = ctx.momentum * of_speed
        given = iter(of_inputs)
        back = [next(given) if wants else None for wants in ctx.needs_input_grad[4:]]
        return None, None, of_theta, torch.stack(of_rates[::-1]), *back


def _slope(loss: Loss, step: int, theta: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """The gradient (P,) of a step's loss, without a graph."""
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        return _gradient(loss(step, theta, [x.detach() for x in inputs]), theta)


def _gradient(loss: Tensor, theta: Tensor, *, create_graph: bool = False) -> Tensor:
    (slope,) = torch.autograd.grad(loss, theta, create_graph=create_graph)
    return slope
