"""The SAMI loss and its gradient by torch, for crates/information/tests/sami.json.

pip install numpy torch
python scripts/reference/sami_information.py > crates/information/tests/sami.json

The formula is that of `sami_loss` in github.com/janphilippfranken/sami: with rows for constitutions
and columns for completions, half the sum of the cross-entropies of the diagonal along each axis.
The gradient is torch's own.

`channel_bounds` are exact InfoNCE bounds over k constitutions, for a channel with two equally
likely constitutions: the expectation runs over a pair (c, y) and over how many of the other k - 1
constitutions equal c.
"""

import json
import sys
from math import comb, log

import torch
from torch.nn.functional import cross_entropy


def case(k, scale):
    matrix = (scale * torch.randn(k, k, dtype=torch.float64)).requires_grad_()
    partners = torch.arange(k)
    over_completions = cross_entropy(matrix, partners)
    over_constitutions = cross_entropy(matrix.T, partners)
    loss = (over_completions + over_constitutions) / 2
    loss.backward()
    return {
        "matrix_kk": matrix.tolist(),
        "loss": loss.item(),
        "over_constitutions": over_constitutions.item(),
        "over_completions": over_completions.item(),
        "gradient_kk": matrix.grad.tolist(),
    }


CHANNEL = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]


def channel_bound(k):
    def term(c, y, equal):
        right, wrong = CHANNEL[c][y], CHANNEL[1 - c][y]
        weight = comb(k - 1, equal) / 2 ** (k - 1) / 2 * right
        return weight * log(k * right / ((equal + 1) * right + (k - 1 - equal) * wrong))

    return sum(term(c, y, equal) for c in range(2) for y in range(3) for equal in range(k))


torch.manual_seed(20250)
cases = [case(k, scale) for k in (2, 3, 6) for scale in (0.3, 1.0, 30.0)]
channel_bounds = [(k, channel_bound(k)) for k in (2, 8, 64)]
json.dump({"cases": cases, "channel_bounds": channel_bounds}, sys.stdout)
