"""Entropic transport by POT, for crates/transport/tests/pot.json.

pip install numpy POT torch
python scripts/reference/pot_transport.py > crates/transport/tests/pot.json

POT's `sinkhorn_log` minimises <P,C> + reg*sum(P*log P); the minimiser is that of the KL form used
here, min <P,C> + eps*KL(P || a x b), and the value is restated in it from the plan. It is held
against `ot.solve(reg_type="KL").value`, which uses the KL form itself. POT needs a million sweeps
for a cloud against itself at small eps, so divergence and gradient come from torch, through sweeps
that start at POT's potentials of the cross problem, with eps = share * mean cost in the graph;
where eps is large the divergence is held against POT's.
"""

import json
import sys
import warnings

import numpy as np
import ot
import torch

warnings.simplefilter("error")


def entropic(x, y, epsilon):
    cost = ot.dist(x, y, metric="sqeuclidean")
    a, b = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    options = {"method": "sinkhorn_log", "numItermax": 1_000_000, "stopThr": 1e-13, "log": True}
    plan, log = ot.bregman.sinkhorn(a, b, cost, epsilon, **options)
    divergence = np.sum(plan * np.log(np.maximum(plan, 1e-300) / np.outer(a, b)))
    linear = np.sum(plan * cost)
    value = linear + epsilon * divergence
    other = ot.solve(cost, a, b, reg=epsilon, reg_type="KL", max_iter=1_000_000, tol=1e-13)
    assert abs(other.value - value) < 1e-9 * max(1, value), (other.value, value)
    return value, linear, log["log_u"]


def softmin(cost, potential, epsilon):
    return -epsilon * (torch.logsumexp((potential - cost) / epsilon, 1) - np.log(cost.shape[1]))


def distances(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def dual_value(x, y, epsilon, log_u):
    cost = distances(x, y)
    f = epsilon.detach() * torch.tensor(log_u)
    for _ in range(20):
        g = softmin(cost.T, f, epsilon)
        f = softmin(cost, g, epsilon)
    return f.mean() + g.mean()


def dual_value_within(x, epsilon):
    cost = distances(x, x)
    f = torch.zeros(len(x), dtype=x.dtype)
    for _ in range(200):
        f = (f + softmin(cost, f, epsilon)) / 2
    return 2 * f.mean()


def divergence_gradient(x, y, share, log_u):
    x, y = torch.tensor(x, requires_grad=True), torch.tensor(y)
    epsilon = share * distances(x, y).mean()
    within = dual_value_within(x, epsilon) + dual_value_within(y, epsilon)
    value = dual_value(x, y, epsilon, log_u) - within / 2
    value.backward()
    return value.item(), x.grad.tolist()


def case(rng, n, m, d, share, shift):
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift
    epsilon = share * ot.dist(x, y, metric="sqeuclidean").mean()
    value, cost, log_u = entropic(x, y, epsilon)
    divergence, gradient = divergence_gradient(x, y, share, log_u)
    if share >= 1:
        by_pot = value - (entropic(x, x, epsilon)[0] + entropic(y, y, epsilon)[0]) / 2
        assert abs(by_pot - divergence) < 1e-9, (by_pot, divergence)
    return {
        "x_nd": x.tolist(),
        "y_md": y.tolist(),
        "share": share,
        "value": value,
        "cost": cost,
        "divergence": divergence,
        "gradient_nd": gradient,
    }


rng = np.random.default_rng(20250)
sizes = [(3, 5, 2, 0.0), (8, 8, 3, 0.3), (20, 15, 5, 1.0)]
cases = [case(rng, n, m, d, share, s) for n, m, d, s in sizes for share in (0.05, 0.1, 1.0, 10.0)]
json.dump(cases, sys.stdout, indent=None)
