"""The selector: which of several GANs to sample, learned by counting who wins (Sec. 3.3)."""

from typing import Any

import torch
from torch import Tensor

WINDOW = 1000  # minibatches, Sec. 3.3


class Selector:
    """A categorical distribution p over n sources (Sec. 3.3, "Selector").

    A supersample is one image of each source; the critic's highest score wins it. The share of a minibatch's K
    supersamples that source i wins is p̂_i, and p_i is the average of p̂_i over the last `window` minibatches. So that
    p_i > 0 holds, as the paper asks, each source is given one win more than it had in the window.

    Training counts; afterwards p is fixed. Everything counted is kept, so that `trace` can show how p came about.
    Raises ValueError for n or window below 1.
    """

    def __init__(self, n: int, window: int = WINDOW):
        if n < 1 or window < 1:
            raise ValueError(f"a selector needs at least one source and one minibatch, got n={n}, window={window}")
        self.n, self.window = n, window
        self._wins: list[list[int]] = []  # of each minibatch and source

    def __len__(self) -> int:
        """How many minibatches were counted."""
        return len(self._wins)

    def count(self, winners: Tensor) -> None:
        """Counts one minibatch: winners (K,), the index of the source that won each supersample."""
        self._wins.append(torch.bincount(winners.flatten().cpu(), minlength=self.n).tolist())

    @property
    def probabilities(self) -> Tensor:
        """p (n,), positive, of sum 1; equal shares before the first minibatch."""
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
        """Supersamples won, by minibatch and source: int64 (minibatches, n); p̂ is a row over its sum."""
        return torch.tensor(self._wins, dtype=torch.int64).reshape(-1, self.n)

    def choose(self, n: int, rng: torch.Generator) -> Tensor:
        """n independent draws of a source by p, int64 (n,): Sec. 3.3's multinomial sampling at inference."""
        return torch.multinomial(self.probabilities, n, replacement=True, generator=rng)

    def state_dict(self) -> dict[str, Any]:
        return {"wins": self.wins()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._wins = state["wins"].tolist()
