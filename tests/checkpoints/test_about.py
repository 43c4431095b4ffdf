"""What is told about a checkpoint: counted by hand, and facts for every layout."""

import dataclasses
import json

import pytest

from minegan_lite import UserError, checkpoints
from minegan_lite.checkpoints.about import ABOUT, About
from minegan_lite.gan import GAN
from tests.checkpoints.files import FILES


def test_every_layout_has_its_facts_and_a_file_to_test_with():
    names = [layout.NAME for layout in checkpoints.LAYOUTS]
    assert sorted(ABOUT) == sorted(names) == sorted(FILES)
    for about in ABOUT.values():
        for field in dataclasses.fields(About):
            text = getattr(about, field.name)
            assert text.strip() == text != ""
            assert "|" not in text, "it would break a table"
        assert about.origin.count("/") == 1


@pytest.mark.parametrize("name", FILES)
def test_what_is_told_is_what_was_loaded(name):
    told, gan = checkpoints.describe(FILES[name]()), checkpoints.load(FILES[name]())
    assert json.loads(json.dumps(told)) == told
    assert (told["layout"], told["architecture"]) == (name, ABOUT[name].family)
    assert told["image_shape"] == list(gan.generator.image_shape)
    assert told["latent_dim"] == gan.generator.latent_dim
    assert (told["classes"] is None) == (gan.generator.embedding_dim is None)
    assert (told["critic_parameters"] is None) == (gan.critic is None)
    text = checkpoints.format_description(told)
    assert f"{told['generator_parameters']:,} parameters" in text
    for fact in ("code_licence", "weights_licence", "origin"):
        assert told[fact] in text


def test_parameters_are_counted_without_buffers():
    told = checkpoints.describe(FILES["sngan-mimicry"]())
    state = FILES["sngan-mimicry"]()
    weights = [x for key, x in state.items() if key.endswith(("weight", "bias"))]
    assert told["generator_parameters"] == sum(x.numel() for x in weights)
    assert told["critic_parameters"] is None
    assert "none here (of this layout: a file of its own" in checkpoints.format_description(told)


def test_a_critic_in_the_same_file_or_in_another_is_counted():
    told = checkpoints.describe(FILES["pgan-zoo"]())
    assert told["critic_parameters"] == sum(x.numel() for x in FILES["pgan-zoo"]()["netD"].values())
    alone = checkpoints.describe(FILES["stylegan2-rosinality"]()["g_ema"])
    both = checkpoints.describe(FILES["stylegan2-rosinality"]()["g_ema"], critic=FILES["stylegan2-rosinality"]()["d"])
    assert alone["critic_parameters"] is None
    assert both["critic_parameters"] > 0
    assert alone["generator_parameters"] == both["generator_parameters"]


def test_it_is_read_and_made_once(monkeypatch):
    made = []
    monkeypatch.setattr(checkpoints, "GAN", lambda *given: made.append(given) or GAN(*given))
    checkpoints.describe(FILES["sngan-mimicry"]())
    assert len(made) == 1


def test_errors_are_those_of_loading():
    with pytest.raises(UserError, match="no known generator layout"):
        checkpoints.describe({"conv1.weight": FILES["sngan-mimicry"]()["l1.weight"]})
    with pytest.raises(UserError, match="unknown layout 'sngan'"):
        checkpoints.describe(FILES["sngan-mimicry"](), layout="sngan")
