"""A tiny checkpoint in every layout, as its own code would write it."""

from tests.checkpoints import (
    test_biggan_deep_hf,
    test_biggan_pytorch,
    test_dcgan,
    test_mobilestylegan_openvino,
    test_pgan_zoo,
    test_progan_genforce,
    test_sngan,
    test_studiogan,
    test_stylegan2_ada,
    test_stylegan2_rosinality,
    test_stylegan_rosinality,
)

FILES = {
    "biggan-deep-hf": test_biggan_deep_hf.generator_state,
    "biggan-pytorch": test_biggan_pytorch.generator_state,
    "biggan-studiogan": test_studiogan.biggan_state,
    "dcgan": test_dcgan.generator_state,
    "mobilestylegan-openvino": test_mobilestylegan_openvino.generator_state,
    "pgan-zoo": test_pgan_zoo.a_file,
    "progan-genforce": test_progan_genforce.a_file,
    "sngan-chainer": test_sngan.chainer_state,
    "sngan-mimicry": test_sngan.mimicry_state,
    "sngan-studiogan": test_studiogan.sngan_state,
    "stylegan2-ada": test_stylegan2_ada.a_file,
    "stylegan2-rosinality": test_stylegan2_rosinality.a_file,
    "stylegan-rosinality": test_stylegan_rosinality.a_file,
}
