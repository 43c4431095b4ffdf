"""Several sources: the winner's gradient is Eq. 6's, p finds a known mixture, order means nothing."""

import pytest
import torch
from tiny import TinyCritic, everything, same, tiny_gan, tiny_target
from torch import nn

from minegan_lite import files, zoo
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, ClassSpace, OneClass, StandardNormal, classes_of
from minegan_lite.mined import Mined, Unmined, load
from minegan_lite.miner import Miner
from minegan_lite.networks.biggan import Generator as BigGAN
from minegan_lite.networks.mnist import ConditionalCritic, ConditionalGenerator
from minegan_lite.nn import frozen
from minegan_lite.probe import sources_of
from minegan_lite.selector import Selector
from minegan_lite.supersample import Player, compete, fakes, mixes_rows, replay
from minegan_lite.training import finetune, mine

FAST = {"steps": 12, "batch": 4, "save_every": 4, "log_every": 3, "progress": False, "device": "cpu"}
CPU = torch.device("cpu")


def tiny_sources(n=3) -> list[GAN]:
    return [GAN(*(lambda g: (g.generator, g.critic, g.prior))(tiny_gan(seed)), f"tiny{seed}") for seed in range(n)]


def conditional_gan(classes=3) -> GAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = ConditionalGenerator(4, 8, [str(i) for i in range(classes)])
        critic = ConditionalCritic(4, classes)
        nn.init.normal_(critic.rows.weight)
    return GAN(generator, critic, StandardNormal(8), "cond")


def members(sources: list[GAN]) -> list[Player]:
    made = []
    for i, source in enumerate(sources):
        latent = source.generator.latent_dim
        rng = torch.Generator().manual_seed(i)
        made.append(Player(source.generator, Miner((latent, latent, latent), rng=rng), source.prior, rng, CPU))
    return made


def outcome(mined: Mined) -> list[torch.Tensor]:
    parts = (mined.miners, mined.critic, mined.miners_average, mined.generators_average)
    return [*(w for part in parts for w in part.state_dict().values()), mined.selector.wins(), mined.sample(9)]


def equal(a: Mined, b: Mined) -> bool:
    return a.history == b.history and all(torch.equal(x, y) for x, y in zip(outcome(a), outcome(b), strict=True))


# --- Eq. 5 and 6 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5])
def test_the_winners_gradient_is_the_reference_gradient_of_equation_6(count):
    """Reference: every image with a graph, −E[max_i D(G_i(M_i(u^i)))] written down as it stands, autograd."""
    sources = tiny_sources(count)
    for source in sources:
        source.generator.double().eval()
    critic, team = sources[0].critic.double(), members(sources)
    for member in team:
        member.miner.double()
    us = [member.draw(16).double() for member in team]
    weights = [w for member in team for w in member.miner.parameters()]

    scores = torch.stack([critic(member.generator(member.miner(u))) for member, u in zip(team, us, strict=True)])
    reference = torch.autograd.grad(-scores.amax(0).mean(), weights)

    winner, images = compete(team, us, lambda x: critic(x.double()))
    again = replay(team, us, winner)
    ours = torch.autograd.grad(-critic(again.double()).mean(), weights, allow_unused=True, materialize_grads=True)

    assert len(set(winner.tolist())) > 1  # or nothing would be chosen
    assert torch.equal(winner, scores.squeeze(2).argmax(0))
    torch.testing.assert_close(again, images)
    largest = max(g.abs().max() for g in reference)
    assert largest > 0
    for a, b in zip(ours, reference, strict=True):
        assert (a - b).abs().max() <= 1e-6 * largest


def test_losers_get_no_gradient_at_all():
    sources = tiny_sources(2)
    team = members(sources)
    us = [member.draw(8) for member in team]
    with frozen(*(source.generator for source in sources)):
        replay(team, us, torch.zeros(8, dtype=torch.int64)).sum().backward()
    assert all(w.grad is not None for w in team[0].miner.parameters())
    assert all(w.grad is None for w in team[1].miner.parameters())


def test_the_critic_judges_winners_only_or_everything():
    sources = tiny_sources(3)
    with frozen(*(source.generator for source in sources)), torch.no_grad():
        us = [member.draw(8) for member in members(sources)]
        everyone = torch.stack([m.images(u) for m, u in zip(members(sources), us, strict=True)])  # (3, 8, …)
        scores = torch.stack([sources[0].critic(images) for images in everyone]).squeeze(2)
        best = everyone[scores.argmax(0), torch.arange(8)]
        for objective, expected in (("max", best), ("mean", everyone.flatten(0, 1))):
            selector = Selector(3)
            torch.testing.assert_close(fakes(members(sources), 8, sources[0].critic, selector, objective), expected)
            wins = torch.bincount(scores.argmax(0), minlength=3)
            assert torch.equal(selector.wins(), wins.unsqueeze(0))


class Dot(nn.Module):
    """A known generator: z (n, 2) → images of two pixels, points near (place, 0)."""

    latent_dim, embedding_dim, image_shape = 2, None, (1, 1, 2)

    def __init__(self, place: float):
        super().__init__()
        self.place = nn.Parameter(torch.tensor(place))

    def forward(self, z):
        return (self.place * torch.tensor([1.0, 0.0]) + 0.1 * torch.tanh(z)).view(-1, 1, 1, 2)


class Plane(nn.Module):
    """A critic of points. (On a line the penalty's slope of ±1 could not change its sign: two dimensions it takes.)"""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x):
        return self.layers(x)


def dots(*places: float) -> list[GAN]:
    torch.manual_seed(0)
    critic = Plane()
    return [GAN(Dot(place), critic, StandardNormal(2), f"dot{place}") for place in places]


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_p_finds_a_known_mixture_under_an_oracle_critic(share):
    """The critic that Eq. 5 asks for, known in closed form, stands where training would have to find it.

    Between two far places the best critic lowers the score of the one that wins too often and raises the other's: its
    two levels follow the winners' surplus, and they can only rest where the shares are the target's.
    """
    near, far = dots(-0.5, 0.5)
    team, selector, level = members([near, far]), Selector(2), torch.zeros(2)

    def oracle(x):
        place = (x[..., 0].flatten() > 0).long()
        return (level[place] + x[..., 1].flatten()).unsqueeze(1)  # of equal places the images themselves decide

    for _ in range(1500):
        images = fakes(team, 64, oracle, selector)
        won = (images[..., 0] > 0).float().mean()
        level += 0.02 * (torch.tensor([share, 1 - share]) - torch.stack([1 - won, won]))
    assert selector.probabilities[0].item() == pytest.approx(share, abs=0.02)


def test_p_finds_a_known_mixture_with_a_critic_that_has_to_learn():
    share = 0.3
    rng = torch.Generator().manual_seed(0)
    place = torch.where(torch.rand(2000, generator=rng) < share, -0.5, 0.5)
    target = (torch.stack([place, 0 * place], 1) + 0.05 * torch.randn(2000, 2, generator=rng)).view(-1, 1, 1, 2)
    options = {"steps": 600, "critic_steps": 2, "critic_lr": 3e-3, "device": "cpu", "progress": False}
    p = mine(dots(-0.5, 0.5), target, **options).probabilities
    assert p["dot-0.5"] == pytest.approx(share, abs=0.08)


def test_the_order_of_the_sources_means_nothing_but_for_the_start_of_the_critic():
    target = tiny_target()
    one = mine(tiny_sources(3), target, **FAST)
    a, b, c = tiny_sources(3)
    other = mine([c, a, b], target, critic_from=1, **FAST)
    assert torch.equal(one.selector.wins()[:, [2, 0, 1]], other.selector.wins())
    assert one.probabilities == pytest.approx(other.probabilities)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        for x, y in zip(one.miners[i].parameters(), other.miners[j].parameters(), strict=True):
            torch.testing.assert_close(x, y)


def test_of_equal_scores_the_earlier_members_wins():
    team = members(tiny_sources(3))
    us = [member.draw(8) for member in team]
    winner, _ = compete(team, us, lambda x: torch.zeros(len(x), 1))
    assert winner.tolist() == [0] * 8


@pytest.mark.parametrize("objective", ["max", "mean"])
@pytest.mark.parametrize("count", [1, 3])
def test_with_batch_norm_in_training_the_images_learned_from_are_those_judged(objective, count):
    """And statistics move once with the generators' update, by that very batch, but not with the critic's."""
    sources = tiny_sources(count)
    team, critic = members(sources), sources[0].critic
    for member in team:
        member.generator.train()
        assert mixes_rows(member.generator)
        member.mixes = True
    norms, judged = [member.generator.norm for member in team], []

    def score(x):
        judged.append(x.clone())
        return critic(x)

    selector, start = Selector(count), [everything(norm) for norm in norms]
    with torch.no_grad():
        fakes(team, 16, score, selector, objective)
    assert all(map(same, start, map(everything, norms)))
    judged.clear()
    learned = fakes(team, 16, score, selector, objective)
    assert learned.requires_grad
    if count > 1:
        everyone = torch.stack(judged)
        winner = torch.stack([critic(x) for x in judged]).squeeze(2).argmax(0)
        expected = everyone[winner, torch.arange(16)] if objective == "max" else everyone.flatten(0, 1)
        torch.testing.assert_close(learned, expected, rtol=1e-5, atol=1e-5)
    moved = [int(norm.num_batches_tracked) - 3 for norm in norms]  # tiny_gan made three passes
    won = set(winner.tolist()) if count > 1 and objective == "max" else set(range(count))
    assert moved == [int(i in won) for i in range(count)]


# --- mine() and finetune() of several -------------------------------------------------------------------------------


def test_frozen_means_every_byte_of_every_source():
    sources = tiny_sources(3)
    before = [(everything(source.generator), everything(source.critic)) for source in sources]
    mined = mine(sources, tiny_target(), **FAST)
    for source, (generator, critic) in zip(sources, before, strict=True):
        assert same(generator, everything(source.generator))
        assert same(critic, everything(source.critic))
    assert len(mined.miners) == 3
    assert len(mined.selector) == 24  # each step has a minibatch for the critic and one for the miners
    assert mined.history[-1]["probabilities"] == mined.selector.probabilities.tolist()


def test_miners_are_independent_also_of_equal_sources():
    """Supplement A: N independent miners. The same GAN twice is two sources of one name."""
    gan = tiny_gan()
    mined = mine([gan, gan], tiny_target(), **{**FAST, "steps": 1})
    assert not torch.equal(mined.miners[0].layers[0].weight, mined.miners[1].layers[0].weight)


@pytest.mark.parametrize("objective", ["max", "mean"])
def test_one_seed_one_result(objective):
    def run(seed):
        mined = mine(tiny_sources(2), tiny_target(), seed=seed, objective=objective, **FAST)
        torch.randn(5)
        return mined

    assert equal(run(0), run(0))
    assert not equal(run(0), run(1))


class Stop:
    def __init__(self, at):
        self.calls, self.at = 0, at

    def __call__(self, mined):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["mine", "finetune"])
@pytest.mark.parametrize("make", [lambda: tiny_sources(2), conditional_gan], ids=["several", "conditional"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, stage, make):
    image_target = tiny_target() if isinstance(make(), list) else digits_target()
    base = None if stage == "mine" else mine(make(), image_target, **FAST)

    def run(out, watch):
        call = (mine, make()) if stage == "mine" else (finetune, base)
        return call[0](call[1], image_target, out=out, watch=watch, **FAST)

    whole = run(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Stop(3))  # at step 9, after the checkpoint of step 8
    assert equal(whole, run(tmp_path / "killed", None))
    assert (tmp_path / "whole/state.pt").read_bytes() == (tmp_path / "killed/state.pt").read_bytes()
    loaded = load(tmp_path / "whole", make())
    assert equal(whole, loaded)
    assert torch.equal(whole.selector.trace(), loaded.selector.trace())


def digits_target(n=12):
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_stage_two_releases_every_generator_and_leaves_stage_one_alone():
    sources = tiny_sources(2)
    mined = mine(sources, tiny_target(), **FAST)
    before = [everything(part) for part in (*(s.generator for s in sources), mined.miners, mined.critic)]
    tuned = finetune(mined, tiny_target(), **FAST)
    after = [everything(part) for part in (*(s.generator for s in sources), mined.miners, mined.critic)]
    assert all(same(a, b) for a, b in zip(before, after, strict=True))
    for old, new in zip(sources, tuned.sources, strict=True):
        assert not torch.equal(old.generator.up.bias, new.generator.up.bias)
    assert tuned.record["objective"] == "max"


def test_the_classes_of_a_fine_tuned_conditional_gan_still_share_one_generator():
    gan = conditional_gan()
    tuned = finetune(mine(gan, digits_target(), **FAST), digits_target(), **FAST)
    shared = {id(source.generator.generator) for source in tuned.sources}
    assert len(shared) == 1
    assert id(gan.generator) not in shared
    assert len({id(one.generator) for one in tuned.generators_average}) == 1


def test_a_list_of_one_is_a_family_and_a_single_gan_is_not():
    family = mine([tiny_gan()], tiny_target(), **FAST)
    assert isinstance(family, Mined)
    assert family.probabilities == {"tiny": 1.0}
    assert family.sample(3).shape == (3, 1, 6, 6)
    assert isinstance(mine(tiny_gan(), tiny_target(), **FAST), Mined)


def test_watch_sees_every_logged_step():
    seen = []
    mine(
        tiny_sources(2), tiny_target(), watch=lambda mined: seen.append((len(mined.selector), mined.sample(2).shape)),
        **FAST,
    )  # fmt: skip
    assert seen == [(6 * i, (2, 1, 6, 6)) for i in (1, 2, 3, 4)]


def test_where_the_critic_starts():
    sources = tiny_sources(2)
    still = {**FAST, "steps": 1, "critic_lr": 1e-12}

    def first_weight(**options):
        return mine(sources, tiny_target(), **{**still, **options}).critic.layers[1].weight

    for i in (0, 1):
        torch.testing.assert_close(first_weight(critic_from=i), sources[i].critic.layers[1].weight)
    fresh = first_weight(critic_from="fresh")
    assert all((fresh - source.critic.layers[1].weight).abs().max() > 0.01 for source in sources)
    torch.manual_seed(123)
    torch.testing.assert_close(fresh, first_weight(critic_from="fresh"))
    assert (fresh - first_weight(critic_from="fresh", seed=1)).abs().max() > 0.01


def test_a_fresh_critic_leaves_the_global_generator_alone():
    def after(critic_from):
        torch.manual_seed(0)
        mine(tiny_gan(), tiny_target(), critic_from=critic_from, **FAST)
        return torch.randn(3)

    assert torch.equal(after("fresh"), after(0))


# --- sampling -------------------------------------------------------------------------------------------------------


def test_samples_come_from_the_chosen_sources():
    mined = mine(dots(-0.5, 0.5), torch.full((8, 1, 1, 2), 0.5), **{**FAST, "steps": 3})
    images = mined.sample(200, seed=3)[..., 0].flatten()
    assert torch.equal((images > 0).long(), mined.chosen(200, seed=3))
    torch.testing.assert_close(images, mined.sample(200, seed=3)[..., 0].flatten())
    assert not torch.equal(mined.chosen(200, seed=3), mined.chosen(200, seed=4))


def test_a_supersample_has_one_image_of_each_source_and_the_critics_winner():
    mined = mine(tiny_sources(3), tiny_target(), **FAST)
    images, scores, winner = mined.supersample(seed=2)
    assert images.shape == (3, 1, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(scores, mined.critic(images).squeeze(1))
    assert scores[winner] == scores.max()


def test_before_mining_each_source_has_equal_chances():
    images = Unmined(dots(-0.5, 0.5)).sample(2000, seed=0)[..., 0]
    assert (images > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert Unmined(conditional_gan()).sample(7).shape == (7, 1, 28, 28)


# --- conditional GANs -----------------------------------------------------------------------------------------------


def test_the_classes_of_a_conditional_gan_are_its_generator_at_each_label():
    gan = conditional_gan()
    family = classes_of(gan)
    z = torch.randn(5, 8)
    for i, source in enumerate(family):
        assert source.name == f"cond:{i}"
        one_hot = torch.zeros(5, 3)
        one_hot[:, i] = 1
        torch.testing.assert_close(source.generator(z), gan.generator(z, one_hot))
        assert source.generator.generator is gan.generator
    assert [source.name for source in sources_of(gan)] == [source.name for source in family]
    with pytest.raises(UserError, match="unconditional"):
        classes_of(tiny_gan())
    with pytest.raises(UserError, match="no class 3"):
        OneClass(gan.generator, 3)


def test_as_many_numbers_as_classes_are_not_one_hot_rows():
    gan = GAN(BigGAN(32, 2, 2, embedding_dim=7, classes=7, attention=()), TinyCritic(), StandardNormal(8), "big")
    assert len(sources_of(gan)) == 1
    assert isinstance(sources_of(gan)[0].generator, ClassSpace)


def test_one_gan_twice_is_mined_tuned_and_loaded_and_each_has_its_share(tmp_path):
    gan = tiny_gan()
    mined = mine([gan, gan], tiny_target(), out=tmp_path / "one", **FAST)
    tuned = finetune(mined, tiny_target(), out=tmp_path / "two", **FAST)
    for run, result in (("one", mined), ("two", tuned)):
        assert list(result.probabilities) == ["tiny", "tiny (2)"]
        assert sum(result.probabilities.values()) == pytest.approx(1)
        loaded = load(tmp_path / run, [tiny_gan()] * 2)
        assert torch.equal(loaded.sample(5), result.sample(5))


def test_one_hot_classes_are_sources_and_embedded_ones_are_one_source():
    gan = conditional_gan()
    assert len(sources_of(gan)) == 3
    gan.generator.one_hot = False  # it is what the generator says, not how many numbers there are
    assert [source.name for source in sources_of(gan)] == ["cond"]
    assert sources_of(gan)[0].generator.latent_dim == 8 + 3


def test_mining_leaves_the_label_term_of_a_conditional_critic_out():
    gan = conditional_gan()
    x, labels = digits_target(4), torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        plain = gan.critic(x)
        torch.testing.assert_close(plain, gan.critic.score(gan.critic.last_hidden(x)))
        assert not torch.allclose(plain, gan.critic(x, labels))


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 2, 1, 1])])
def test_the_conditional_critics_gradient_is_autograds(labels):
    critic, given = conditional_gan().critic.double(), () if labels is None else (labels,)
    x = torch.randn(4, 1, 28, 28, dtype=torch.double, requires_grad=True)
    (expected,) = torch.autograd.grad(critic(x, *given).sum(), x, create_graph=True)
    ours = critic.input_gradient(x.detach(), *given)
    torch.testing.assert_close(ours, expected)
    weights = [w for w in critic.parameters() if labels is not None or w is not critic.rows.weight]
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), weights, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(expected.square().sum(), weights, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


# --- bad input ------------------------------------------------------------------------------------------------------


def other_shape() -> GAN:
    return GAN(Dot(0.0), Plane(), StandardNormal(2), "dot")


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([], {}, "no source"),
        ([tiny_gan(), "mnist-no-9"], {}, "must be a GAN, got a str"),
        ([tiny_gan(), other_shape()], {}, r"different shapes: tiny \(1, 6, 6\), dot \(1, 1, 2\)"),
        ([tiny_gan(), tiny_gan()], {"critic_from": 2}, r"critic_from is 2, there are 2 source\(s\)"),
        ([tiny_gan()], {"critic_from": -1}, "critic_from must be"),
        ([tiny_gan()], {"critic_from": "new"}, "critic_from must be"),
        ([tiny_gan()], {"objective": "median"}, "objective must be one of max, mean"),
        ([GAN(tiny_gan().generator, TinyCritic(5), StandardNormal(4), "odd"), tiny_gan()], {}, "critic of odd"),
    ],
)
def test_invalid_sources_leave_nothing_behind(tmp_path, sources, options, message):
    with pytest.raises(UserError, match=message) as caught:
        mine(sources, tiny_target(), out=tmp_path / "a/b", **{**FAST, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_only_the_critic_that_training_starts_from_must_exist():
    bare = GAN(tiny_gan().generator, None, StandardNormal(4), "bare")
    assert mine([bare, tiny_gan()], tiny_target(), critic_from=1, **FAST).probabilities.keys() == {"bare", "tiny"}


def test_more_sources_than_fit_is_one_clear_line(monkeypatch):
    def full(self, z):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    sources = tiny_sources(3)
    monkeypatch.setattr(type(sources[0].generator), "forward", full)
    with pytest.raises(UserError, match=r"cpu has too little memory for 3 source\(s\) at batch 4: lower the batch"):
        mine(sources, tiny_target(), **FAST)


def test_a_changed_family_is_refused(tmp_path):
    mine(tiny_sources(2), tiny_target(), out=tmp_path / "run", **FAST)
    with pytest.raises(UserError, match="source"):
        mine(tiny_sources(3), tiny_target(), out=tmp_path / "run", **FAST)
    with pytest.raises(UserError, match="other weights than these of tiny1"):
        load(tmp_path / "run", tiny_sources(3)[1:])


def test_the_zoo_finds_sources_by_their_recorded_names(tmp_path):
    pair = nn.ModuleDict({"generator": conditional_gan().generator, "critic": conditional_gan().critic})
    config = {"width": 4, "latent_dim": 8, "classes": ["0", "1", "2"]}
    zoo.pack("cond", pair, kind="gan", config=config, digits=[0, 1, 2], card="# cond\n", folder=tmp_path)
    one, two = zoo.load_all(["cond:2", "cond:0"], tmp_path)
    assert (one.name, two.name) == ("cond:2", "cond:0")
    assert one.generator.generator is two.generator.generator
    assert zoo.load_all(["cond"], tmp_path)[0].generator.embedding_dim == 3
    with pytest.raises(UserError, match="cond gives cond:0, cond:1, cond:2"):
        zoo.load_all(["cond:7"], tmp_path)
    assert files.sources_fingerprint([one]) == files.sources_fingerprint(zoo.load_all(["cond:2"], tmp_path))


def test_under_mean_the_penalty_looks_at_every_source_alike():
    """Real images are black, so an image between real and fake lies on its source's side."""
    seen = []

    class Watching(Plane):
        def input_gradient(self, x):
            seen.append(x[:, 0, 0, 0].sign())
            x = x.requires_grad_()
            return torch.autograd.grad(self(x).sum(), x, create_graph=True)[0]

    near, far = dots(-0.5, 0.5)
    sources = [GAN(near.generator, Watching(), near.prior, "near"), far]
    target = torch.zeros(4, 1, 1, 2)
    with pytest.warns(UserWarning, match="no value below 0"):
        mine(sources, target, objective="mean", **{**FAST, "steps": 1})
    assert sorted(seen[0].tolist()) == [-1, -1, 1, 1]
