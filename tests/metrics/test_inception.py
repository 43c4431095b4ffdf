"""Inception without its weights: what goes in, which doors are locked, and one line where something is missing."""

import hashlib
import http.server
import pickle
import threading

import pytest
import torch
from torch import nn

from minegan_lite.errors import UserError
from minegan_lite.metrics import inception
from minegan_lite.metrics.features import features_of, signature

NOWHERE = f"http://127.0.0.1:9/{inception.FID_WEIGHTS}"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MINEGAN_OFFLINE", raising=False)
    monkeypatch.setattr(inception, "FID_URL", NOWHERE)  # nobody is there
    return tmp_path / "cache"


class Network(nn.Module):
    """torchmetrics' NoTrainInceptionV3 by its interface: loads as torch-fidelity does, remembers what it is shown."""

    def __init__(self, name, features_list, feature_extractor_weights_path):
        super().__init__()
        self.asked, self.scale = (name, features_list), nn.Parameter(torch.zeros(1))
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))

    def forward(self, x):
        assert x.dtype == torch.uint8
        self.seen = x
        return self.scale * x.flatten(1)


@pytest.fixture
def torch_fidelity(monkeypatch):
    """torch-fidelity as if it were installed."""
    from torchmetrics.image import fid

    monkeypatch.setattr(fid, "_TORCH_FIDELITY_AVAILABLE", True)
    monkeypatch.setattr(fid, "NoTrainInceptionV3", Network)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Weights of Network at FID_URL, with their own hash."""
    torch.save({"scale": torch.full((1,), 2.0)}, tmp_path / "weights")
    content = (tmp_path / "weights").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(inception, "FID_URL", f"http://127.0.0.1:{server.server_port}/{inception.FID_WEIGHTS}")
    monkeypatch.setattr(inception, "FID_SHA256", hashlib.sha256(content).hexdigest())
    yield
    server.shutdown()
    server.server_close()


def test_fid_sees_8_bits_as_tensorflow_did(torch_fidelity, served, own_cache):
    network = inception.fid_inception()
    assert network.network.asked == ("inception-v3-compat", ["2048"])
    assert network.network.use_antialias is False
    images = torch.tensor([-1, -0.5, 0.5, 1, 1.2, -1.2]).view(2, 3, 1, 1)
    features = features_of(images, network)
    assert network.network.seen.flatten().tolist() == [0, 64, 191, 255, 255, 0]
    assert features.tolist() == [[0, 128, 382], [510, 510, 0]]
    assert signature(network).startswith("inception-2015-12-05/2048/8-bit/tf1-bilinear-299/")
    assert (own_cache / inception.FID_WEIGHTS).exists()


def test_fetched_once(torch_fidelity, served, monkeypatch):
    inception.fid_inception()
    monkeypatch.setattr(inception, "FID_URL", NOWHERE)
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    assert inception.fid_inception().network.scale == 2


def test_a_damaged_file_of_the_cache_is_fetched_again_but_not_offline(torch_fidelity, served, own_cache, monkeypatch):
    inception.fid_inception()
    kept = own_cache / inception.FID_WEIGHTS
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    with pytest.raises(UserError, match="MINEGAN_OFFLINE forbids fetching FID's Inception"):
        inception.fid_inception()
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    inception.fid_inception()
    assert kept.read_bytes() == whole


def test_other_weights_than_promised_are_not_opened(torch_fidelity, served, monkeypatch, own_cache):
    monkeypatch.setattr(inception, "FID_SHA256", "0" * 64)
    with pytest.raises(UserError, match="hash") as error:
        inception.fid_inception()
    assert "\n" not in str(error.value)
    assert not (own_cache / inception.FID_WEIGHTS).exists()


def test_a_pickle_of_objects_is_not_opened(torch_fidelity, monkeypatch, tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "objects")
    monkeypatch.setattr(inception, "_fid_weights", lambda: tmp_path / "objects")
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        inception.fid_inception()


def test_without_the_package_or_the_network_there_is_one_clear_line(torch_fidelity, monkeypatch):
    with pytest.raises(UserError, match=r"cannot be fetched .*go online, or put http://127.0.0.1:9/.* into") as error:
        inception.fid_inception()
    assert "\n" not in str(error.value)
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    for network in (inception.fid_inception, inception.torchvision_inception):
        with pytest.raises(UserError, match="MINEGAN_OFFLINE forbids"):
            network()
    from torchmetrics.image import fid

    monkeypatch.setattr(fid, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(UserError, match="pip install torch-fidelity"):
        inception.fid_inception()


@pytest.mark.parametrize("wrapper", [inception.FIDInception, inception.TorchvisionInception])
def test_grey_images_are_refused(wrapper):
    with pytest.raises(UserError, match="RGB"):
        features_of(-torch.ones(2, 1, 28, 28), wrapper(nn.Flatten()))


@pytest.fixture(scope="module")
def untrained() -> dict:
    """The state of torchvision's Inception before training."""
    from torchvision import models

    torch.manual_seed(0)
    return models.inception_v3(weights=None, init_weights=False).state_dict()


def test_torchvision_inception_is_its_own_chain_without_the_head(untrained, monkeypatch):
    from torchvision import models, transforms

    asked = {}

    def get_state_dict(self, **options):
        asked.update(options)
        return untrained

    monkeypatch.setattr(models.Inception_V3_Weights, "get_state_dict", get_state_dict)
    network = inception.torchvision_inception()
    assert asked["check_hash"] is asked["weights_only"] is True
    x = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 2 - 1
    whole = models.inception_v3(weights=None, init_weights=False, transform_input=True)
    whole.load_state_dict(untrained)
    pooled = []
    whole.eval().dropout.register_forward_hook(lambda module, given, result: pooled.append(result.flatten(1)))
    imagenet = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        whole(imagenet((x + 1) / 2))
    torch.testing.assert_close(features_of(x, network), pooled[0], rtol=1e-3, atol=1e-4 * pooled[0].abs().max().item())
    assert pooled[0].shape == (2, 2048)
    assert pooled[0].std() > 0
    assert signature(network).startswith("torchvision-inception-v3/2048/bilinear-antialias-299/")


def test_the_real_network_takes_the_weights_and_gives_pooled_features(monkeypatch, tmp_path):
    """torch-fidelity's own class, with random weights in the place of the published ones."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with monkeypatch.context() as patch:
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        torch.manual_seed(0)
        made = theirs.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).eval()
    path = tmp_path / "cache" / inception.FID_WEIGHTS
    path.parent.mkdir()
    torch.save(made.state_dict(), path)
    monkeypatch.setattr(inception, "FID_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    features = features_of(x, inception.fid_inception())
    assert features.shape == (2, 2048)
    expected = made(((x + 1) * 127.5).round().to(torch.uint8))[0]  # enlarged by its own TensorFlow 1 resize
    torch.testing.assert_close(features, expected)
