"""MineGAN in forty lines computes what the library's `mine` computes, from the same weights and the same draws.

Both mine the zoo's digit GAN for a few steps. What the library draws is overheard at doors that are open to everybody:
a source's prior is a function of the caller's, and its critic sees every image. The page's own cells are then given
the same latents, batches and mixing shares, and must arrive at the same weights.
"""

import ast
import copy
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest
import torch

from minegan_lite import few_shot, mine, zoo
from minegan_lite.chapters import runner
from minegan_lite.miner import Miner

PAGE = nbformat.read(runner.book() / "minegan_in_forty_lines.ipynb", as_version=4)
CODE = [cell for cell in PAGE.cells if cell.cell_type == "code"]
METHOD = runner.tagged(PAGE, "method")
STEPS = 2  # the second is the first that knows of both betas
# Both add up in float32 and in different orders. Adam's first step is as long as the learning rate, however short the
# gradient: a weight whose gradient is within rounding of 0 may step the other way, and in the second step all others
# feel the few that did. So it is the median over the weights that is compared, in lengths of the median way: 4e-4 here.
# The wrong lines below make it 7e-3 and more.
NEAR = 2e-3


def code_lines(source: str) -> int:
    """Lines that hold code: neither blank nor a comment alone."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines())


def imported(tree: ast.Module) -> set[str]:
    """The packages that a cell imports."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_the_method_is_forty_lines_that_import_nothing_of_ours():
    assert sum(code_lines(cell.source) for cell in METHOD) == 40
    install, *cells = CODE[: CODE.index(METHOD[-1]) + 1]
    assert "import minegan_lite" in install.source  # to the others it is a folder
    trees = [ast.parse(cell.source) for cell in cells]
    assert set().union(*map(imported, trees)) == {"importlib", "lzma", "matplotlib", "safetensors", "time", "torch"}
    assert not [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "minegan_lite"
    ]


@pytest.fixture(scope="module")
def shipped() -> dict:
    """What the page has before its method begins: the target, the generator and the critic."""
    names = {"seed": 0, "images": 64}
    for cell in CODE[2 : CODE.index(METHOD[0])]:  # behind the installation and the parameters
        if "Figure" not in cell.source:
            exec(cell.source, names)
    return names


def method(shipped: dict, old: str = "", new: str = "") -> SimpleNamespace:
    """The page's networks, optimizers and steps, untrained; old, new: a change of the method in one place."""
    names = shipped | {name: copy.deepcopy(shipped[name]) for name in ("generator", "critic")}
    assert not old or sum(cell.source.count(old) for cell in METHOD) == 1, old
    for cell in METHOD[:-1]:  # the last one is the loop
        exec(cell.source.replace(old, new) if old else cell.source, names)
    return SimpleNamespace(**names)


def flat(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()]).clone()


def gradients(network: torch.nn.Module) -> torch.Tensor:
    """What has been added up in .grad, 0 where nothing was."""
    return torch.cat([torch.zeros(w.numel()) if w.grad is None else w.grad.flatten() for w in network.parameters()])


@pytest.fixture(scope="module")
def library() -> SimpleNamespace:
    """What the library mines in STEPS steps by its defaults, and what it drew: latents, real images, x̂ by step."""
    gan, target = zoo.load("mnist-no-9"), few_shot("mnist", digit=9, n=64, seed=0)
    us, seen, betweens = [], [], []

    def prior(n, rng):
        us.append(gan.prior(n, rng))
        return us[-1].clone()

    class Overheard(type(gan.critic)):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

        def input_gradient(self, x):
            betweens.append(x.detach().clone())
            return super().input_gradient(x)

    def mined(**options):
        for heard in (us, seen, betweens):
            heard.clear()
        critic = copy.deepcopy(gan.critic)
        critic.__class__ = Overheard
        source = replace(gan, critic=critic, prior=prior)
        return mine(source, target.train, precision="32", device="cpu", progress=False, **options)

    start = mined(steps=1, miner_lr=1e-30)  # too small to change a float32 weight
    ends = mined(steps=STEPS)
    drawn = us[-2 * STEPS :]  # a critic's and a miner's for each step; what comes before is a look at the source
    real = [x for x in torch.cat(seen) if (x == target.train).flatten(1).all(1).any()]
    return SimpleNamespace(
        start=start.miner, miner=ends.miner, critic=ends.critic, us=drawn, betweens=list(betweens),
        real=torch.stack(real).split(len(drawn[0])), source=gan,
    )  # fmt: skip


def replayed(page: SimpleNamespace, library: SimpleNamespace) -> SimpleNamespace:
    """The page after the library's steps: its miner's first weights, latents, batches and mixing shares."""
    for own, theirs in zip(page.miner.parameters(), library.start.parameters(), strict=True):
        own.data.copy_(theirs)
    for step in range(STEPS):
        u, again = library.us[2 * step : 2 * step + 2]
        real, between = library.real[step], library.betweens[step]
        with torch.no_grad():
            fake = page.generator(page.miner(u))
        way = (real - fake).flatten(1)  # x̂ = fake + alpha · way
        alpha = ((between - fake).flatten(1) * way).sum(1) / way.square().sum(1)
        before = gradients(page.miner)
        page.critic_step(real, u, alpha.view(-1, 1, 1, 1))
        assert torch.equal(gradients(page.miner), before), "the critic's step reached the miner"
        page.miner_step(again)
    return page


def apart(page: SimpleNamespace, library: SimpleNamespace, shipped: dict) -> dict[str, float]:
    """How far the page's weights are from the library's, in lengths of the way that the library's went: medians."""

    def median(name: str, start: torch.nn.Module) -> float:
        end = flat(getattr(library, name))
        return ((flat(getattr(page, name)) - end).abs().median() / (end - flat(start)).abs().median()).item()

    return {"miner": median("miner", library.start), "critic": median("critic", shipped["critic"])}


def test_the_networks_are_those_of_the_zoo(shipped, library):
    z, x = torch.randn(16, 128), shipped["target"][:16]
    for name, given in (("generator", z), ("critic", x)):
        with torch.no_grad():
            ours, theirs = shipped[name](given), getattr(library.source, name)(given)
        assert (flat(shipped[name]) == flat(getattr(library.source, name))).all()
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())  # sums of up to 3,200 terms


def test_the_target_is_nines_as_the_library_has_them(shipped):
    nines = few_shot("mnist", digit=9, n=5949).train.flatten(1)
    rows = shipped["target"].flatten(1)
    assert rows.shape == (64, 784)
    assert len(rows.unique(dim=0)) == 64
    assert all((row == nines).all(1).any() for row in rows)


def test_the_miner_starts_as_the_library_starts_it(shipped):
    """The draws differ; what the init makes of them does not: orthogonal rows, their length, and the bias of a ReLU."""
    ours, theirs = method(shipped).miner, Miner()
    for layer, other in zip((ours[0], ours[2]), theirs.layers, strict=True):
        gram, expected = (weight.detach() @ weight.detach().T for weight in (layer.weight, other.weight))
        assert torch.allclose(gram, expected, atol=1e-4)
        (bias, total), (wanted, sums) = ((one.bias.detach(), one.weight.detach().sum(1)) for one in (layer, other))
        ratio = (wanted @ sums) / (sums @ sums)  # theirs is a multiple of the weights' sums: of the activation's mean
        assert torch.allclose(bias, ratio * total, atol=1e-4)


def test_the_same_draws_lead_to_the_same_weights(shipped, library):
    assert [len(draws) for draws in (library.us, library.real, library.betweens)] == [2 * STEPS, STEPS, STEPS]
    page = method(shipped)
    frozen = flat(page.generator)
    gaps = apart(replayed(page, library), library, shipped)
    assert gaps["miner"] < NEAR
    assert gaps["critic"] < NEAR
    assert torch.equal(flat(page.generator), frozen)


MUTANTS = {
    "the miner's sign": ("loss = -critic(", "loss = critic("),
    "the critic's sign": ("critic(fake).mean() - critic(x).mean()", "critic(x).mean() - critic(fake).mean()"),
    "slope one": (".norm(dim=1) - 1)", ".norm(dim=1) - 2)"),
    "the penalty's weight": ("10 * penalty", "9 * penalty"),
    "the penalty's place": ("alpha * x + (1 - alpha) * fake", "alpha * fake + (1 - alpha) * x"),
    "the penalty's square": (".square().mean()", ".abs().mean()"),
    "the penalty is a constant": ("create_graph=True)", "create_graph=True); slope = slope.detach()"),
    "the first beta": ('"betas": (0.5, 0.9)', '"betas": (0.0, 0.9)'),
    "the second beta": ('"betas": (0.5, 0.9)', '"betas": (0.5, 0.99)'),
    "the learning rate": ('"lr": 1e-3', '"lr": 9e-4'),
    "old gradients of the miner": ("    miner_optimizer.zero_grad()\n", ""),
    "old gradients of the critic": ("    critic_optimizer.zero_grad()\n", ""),
    "the activation": ("    nn.ReLU(),\n", "    nn.LeakyReLU(0.2),\n"),
}


@pytest.mark.parametrize(("old", "new"), MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_line_leads_elsewhere(old, new, shipped, library):
    gaps = apart(replayed(method(shipped, old, new), library), library, shipped)
    print(gaps)
    assert max(gaps.values()) > 2 * NEAR


def test_a_critic_step_that_reaches_the_miner_is_seen(shipped, library):
    with pytest.raises(AssertionError, match="reached the miner"):
        replayed(method(shipped, "with torch.no_grad():  # the", "if True:  # the"), library)
