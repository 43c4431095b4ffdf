"""Supersamples: one image of each source; the critic's favourite wins, and winners alone are learned from (Eq. 5–6).

With one source there is nothing to choose, and Eq. 5 and 6 are Eq. 3 and 4.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.files import weights_fingerprint
from minegan_lite.gan import GAN, Prior
from minegan_lite.miner import mean_square_shift
from minegan_lite.nn import device_of, moving, put_back, still, stream
from minegan_lite.selector import Selector

Score = Callable[[Tensor], Tensor]


@dataclass
class Player:
    """One source while it is mined: its generator behind its own miner, its prior p(u) and its own stream of draws.

    mixes: whether the generator mixes_rows(), as in stage two with BatchNorm.
    """

    generator: Any
    miner: nn.Module
    prior: Prior
    rng: torch.Generator
    device: torch.device
    mixes: bool = False

    def draw(self, n: int) -> Tensor:
        """u (n, |u|)."""
        return self.prior(n, self.rng).to(self.device)

    def images(self, u: Tensor) -> Tensor:
        """G(M(u)): u (n, |u|) → (n, C, H, W)."""
        return self.generator(self.miner(u)).float()

    def shift(self, n: int) -> Tensor:
        """The mean square of what its residual miner adds to n draws of u, with a graph."""
        return mean_square_shift(self.miner, self.draw(n))


def fakes(players: Sequence[Player], n: int, score: Score, selector: Selector, objective: str = "max") -> Tensor:
    """The fakes of a minibatch, with a graph where gradients are enabled; the selector counts the winners.

    One source: n images. Several: what the objective looks at of n supersamples, for "max" (Eq. 5 and 6) the winner of
    each, (n, C, H, W), for "mean" (supplement C's ablation) all of them, source by source, (N·n, C, H, W).
    The miners learn from the very images that the critic judged. Running statistics of generators that mix rows move
    once with each update of their own, and not with the critic's, however often their images are looked at.
    """
    us = [player.draw(n) for player in players]  # (n, |u|) each
    learning = torch.is_grad_enabled()
    if len(players) > 1:
        winner, images = compete(players, us, score)  # (n,) and (n, C, H, W)
        selector.count(winner)
        if objective == "max":
            return replay(players, us, winner) if learning else images
        if learning:
            return torch.cat(run_again(players, us, [torch.arange(n, device=u.device) for u in us]))
    with still(*(player.generator for player in players if player.mixes and not learning)):
        return torch.cat([player.images(u) for player, u in zip(players, us, strict=True)])


@torch.no_grad()
def compete(players: Sequence[Player], us: Sequence[Tensor], score: Score) -> tuple[Tensor, Tensor]:
    """Who wins each of K supersamples, and the winning images: (K,) and (K, C, H, W), without a graph or a trace.

    us: of each player, u (K, |u|). score: images → (K, 1). One player after the other, so that no more than two
    players' images are held at a time. Of equal scores the earlier player's wins.
    """
    winner = best = images = torch.empty(0)  # until the first player's are there
    for i, (player, u) in enumerate(zip(players, us, strict=True)):
        with still(player.generator, player.miner):
            candidates = player.images(u)  # (K, C, H, W)
        scores = score(candidates).float().squeeze(1)  # (K,)
        if i == 0:
            winner, best, images = torch.zeros(len(u), dtype=torch.int64, device=u.device), scores, candidates
            continue
        better = scores > best  # the max of Eq. 5 and 6
        winner, best = torch.where(better, i, winner), torch.where(better, scores, best)
        images = torch.where(better[:, None, None, None], candidates, images)
    return winner, images


def replay(players: Sequence[Player], us: Sequence[Tensor], winner: Tensor) -> Tensor:
    """The winners' images (K, C, H, W) once more, now with a graph: K images in all, whatever the number of players.

    −E[max_i D(G_i(M_i(u^i)))] of Eq. 6 has the gradient of its winners alone; this is what makes it cost no more.
    """
    rows = [(winner == i).nonzero().squeeze(1) for i in range(len(players))]
    return torch.cat(run_again(players, us, rows))[torch.cat(rows).argsort()]


def run_again(players: Sequence[Player], us: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Tensor]:
    """Of each player with any, the images of these rows of its u, as they were judged, with a graph.

    A player that mixes rows runs its whole batch, as when it was judged: among themselves the winners would be
    normalised by other statistics, and be other images. That costs a graph of its losers, too. Buffers move once: every
    player starts from the same ones, and where players share them they go to the average, each counted by its rows.
    """
    before = {buffer: buffer.clone() for player in players for buffer in moving(player.generator, player.miner)}
    moved: dict[Tensor, Any] = dict.fromkeys(before, 0.0)
    counts, parts = dict.fromkeys(before, 0), []
    for player, u, own in zip(players, us, rows, strict=True):
        if not len(own):
            continue
        parts.append(player.images(u)[own] if player.mixes else player.images(u[own]))
        for buffer in moving(player.generator, player.miner):
            moved[buffer] = moved[buffer] + len(own) * (buffer.data - before[buffer])
            counts[buffer] += len(own)
            put_back(buffer, before[buffer])
    for buffer, count in counts.items():
        if count:
            put_back(buffer, before[buffer] + moved[buffer] / count)
    return parts


@torch.no_grad()
def mixes_rows(generator: Any) -> bool:
    """Whether an image depends on the other latents of its batch, as it does behind a BatchNorm in training mode."""
    z = torch.randn(4, generator.latent_dim, generator=torch.Generator().manual_seed(0)).to(device_of(generator))
    with still(generator):
        together = generator(z)[:2]
    with still(generator):
        apart = generator(z[:2])
    return bool((together - apart).abs().max() > 1e-2 * together.abs().max())  # rounding is less, a norm does more


def streams(purpose: str, sources: Sequence[GAN], seed: int) -> list[torch.Generator]:
    """The stream of random numbers of a training, and one for each of its sources; of one source they are the same.

    Those go by the generators' weights, not by places or names: neither the order in which sources are given must
    matter, nor what a file is called. Weights that differ in a last bit give other draws.
    """
    own = stream(purpose, seed)
    if len(sources) == 1:
        return [own, own]
    seen: Counter[str] = Counter()
    rngs, hashes = [own], {}  # classes share a generator, which is read once
    for source in sources:
        inner = getattr(source.generator, "generator", source.generator)
        if inner not in hashes:
            hashes[inner] = weights_fingerprint(inner)
        who = f"{hashes[inner]} {getattr(source.generator, 'label', '')}"
        rngs.append(stream(f"{purpose} {who} {seen[who]}", seed))
        seen[who] += 1
    return rngs
