"""The selector: which of several GANs to sample, learned by counting who wins (Sec. 3.3)."""

from typing import Any

import torch
from torch import Tensor

WINDOW = 1000  # minibatches, Sec. 3.3


class Selector:
    """A categorical distribution p over n sources (Sec. 3.3, "Selector").

    A supersample has one image of each source; the source whose image the critic scores highest wins the supersample.
    p̂_i is the share of a minibatch's K supersamples that source i wins, and p_i is the average of p̂_i over the last
    `window` minibatches. The paper asks for p_i > 0: one win is therefore added to each source's wins in the window.

    p changes during training only. All counts are kept, so that `trace` can show the whole course of p.
    Raises ValueError for n or window below 1.
    """

    def __init__(self, n: int, window: int = WINDOW):
        if n < 1 or window < 1:
            raise ValueError(f"a selector needs at least one source and one minibatch, got n={n}, window={window}")
        self.n, self.window = n, window
        self._wins: list[list[int]] = []  # one row for each minibatch, one number for each source

    def __len__(self) -> int:
        """How many minibatches were counted."""
        return len(self._wins)

    def count(self, winners: Tensor) -> None:
        """Counts one minibatch: winners (K,), the index of the source that won each supersample."""
        self._wins.append(torch.bincount(winners.flatten().cpu(), minlength=self.n).tolist())

    @property
    def probabilities(self) -> Tensor:
        """p (n,): positive numbers that sum to 1, all equal before the first minibatch."""
        return self.trace()[-1]

    def trace(self) -> Tensor:
        """p as it was after each minibatch, before the first included: (minibatches + 1, n)."""
        total = self.wins().double().cumsum(0)  # (t, n)
        total = torch.cat([torch.zeros(1, self.n, dtype=torch.double), total])
        in_window = total.clone()
        if len(self) > self.window:
            in_window[self.window :] -= total[: -self.window]
        in_window += 1
        return (in_window / in_window.sum(1, keepdim=True)).float()

    def wins(self) -> Tensor:
        """Supersamples won by each source in each minibatch, int64 (minibatches, n); a row divided by its sum is p̂."""
        return torch.tensor(self._wins, dtype=torch.int64).reshape(-1, self.n)

    def choose(self, n: int, rng: torch.Generator) -> Tensor:
        """n sources drawn independently with probabilities p, int64 (n,): the multinomial sampling of Sec. 3.3."""
        return torch.multinomial(self.probabilities, n, replacement=True, generator=rng)

    def state_dict(self) -> dict[str, Any]:
        return {"wins": self.wins()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._wins = state["wins"].tolist()
