"""Web pages, Git LFS pointers and empty files are told from weights by their first bytes."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from minegan_lite import UserError
from minegan_lite.checkpoints import load
from minegan_lite.data.impostors import kind_of, refuse_impostor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 268435456\n"
IMPOSTORS = {
    "quota": (b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>", "a web page"),
    "spaced": (b"\xef\xbb\xbf\r\n  <html lang='en'>", "a web page"),
    "error": (b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
    "pointer": (POINTER, "a Git LFS pointer"),
    "nothing": (b"", "empty"),
}


@pytest.mark.parametrize("name", IMPOSTORS)
@pytest.mark.parametrize("suffix", ["pth", "npz", "safetensors"])
def test_an_impostor_is_refused_as_what_it_is(tmp_path, name, suffix):
    content, kind = IMPOSTORS[name]
    path = tmp_path / f"G_ema.{suffix}"
    path.write_bytes(content)
    for refuses in (refuse_impostor, load):
        with pytest.raises(UserError, match=f"is {kind}: ") as error:
            refuses(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        assert "pickle" not in str(error.value)
    assert kind_of(content) == kind


def test_weights_are_no_impostors(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "zip.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "ascii.pkl").write_bytes(pickle.dumps({"a": 1}, protocol=0))
    for length in range(0, 256, 8):  # headers of safetensors are padded to eights
        save_file({"a" * length: torch.zeros(2)}, tmp_path / f"{length}.safetensors")
    for path in tmp_path.iterdir():
        refuse_impostor(path)


def test_a_path_that_would_move_the_cursor_is_escaped(tmp_path):
    path = tmp_path / "G\x1b[2J.pth"
    path.touch()
    with pytest.raises(UserError) as error:
        refuse_impostor(path)
    assert "\x1b" not in str(error.value)
    assert "G\\x1b[2J.pth" in str(error.value)
