"""The MNIST networks of the supplement: improved-WGAN conv nets at 28×28, and our digit classifier.

Source: MineGAN supplement A ("the same framework [11]"). Reference 11 is Gulrajani et al. 2017; these are its MNIST
networks, with width 64 there and 32 in our zoo. The original ends in a sigmoid and draws in [0, 1]. Since
2·sigmoid(x) − 1 = tanh(x/2), ours ends in tanh and draws in [−1, 1], like every generator of this library.
The conditional pair: the generator takes a one-hot row beside z (supplement A); the critic adds a projection on the
label (Miyato & Koyama 2018). Mining leaves the projection out, as the supplement does for BigGAN.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Generator(nn.Module):
    """Latent (n, latent_dim) → images (n, 1, 28, 28) in [−1, 1]; `width` is the original's DIM."""

    embedding_dim = None
    image_shape = (1, 28, 28)

    def __init__(self, width: int = 32, latent_dim: int = 128):
        super().__init__()
        self.width, self.latent_dim = width, latent_dim
        self.project = nn.Linear(latent_dim, 4 * width * 4 * 4)
        self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 5, stride=2, padding=2, output_padding=1)
        self.up2 = nn.ConvTranspose2d(2 * width, width, 5, stride=2, padding=2, output_padding=1)
        self.up3 = nn.ConvTranspose2d(width, 1, 5, stride=2, padding=2, output_padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = F.relu(self.project(z)).unflatten(1, (4 * self.width, 4, 4))  # (n, 4w, 4, 4)
        h = F.relu(self.up1(h))[:, :, :7, :7]  # (n, 2w, 7, 7): 28 is 7·4, so the 8×8 map loses a row and a column
        h = F.relu(self.up2(h))  # (n, w, 14, 14)
        return torch.tanh(self.up3(h))  # (n, 1, 28, 28)


class ConditionalGenerator(Generator):
    """Latent (n, latent_dim) and a one-hot row (n, embedding_dim) → images (n, 1, 28, 28) in [−1, 1].

    classes: what its classes are called; embedding_dim is their number.
    """

    embedding_dim: int  # type: ignore[assignment] # the unconditional generator's is None

    def __init__(self, width: int = 32, latent_dim: int = 128, classes: Sequence[str] = "0123456789"):
        super().__init__(width, latent_dim + len(classes))
        self.latent_dim, self.embedding_dim, self.classes = latent_dim, len(classes), tuple(classes)

    one_hot = True  # what embed gives

    def embed(self, labels: Tensor) -> Tensor:
        """Class numbers (n,) → one-hot rows (n, embedding_dim)."""
        return F.one_hot(labels, len(self.classes)).float()

    def forward(self, z: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override] # as every conditional one
        return super().forward(torch.cat([z, embedding], dim=1))


class Critic(nn.Module):
    """Images (n, 1, 28, 28) → scores (n, 1), unbounded; no normalisation, as the gradient penalty asks."""

    image_shape = (1, 28, 28)

    def __init__(self, width: int = 32):
        super().__init__()
        self.width = width
        self.down1 = nn.Conv2d(1, width, 5, stride=2, padding=2)
        self.down2 = nn.Conv2d(width, 2 * width, 5, stride=2, padding=2)
        self.down3 = nn.Conv2d(2 * width, 4 * width, 5, stride=2, padding=2)
        self.score = nn.Linear(4 * width * 4 * 4, 1)

    def last_hidden(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.down1(x), 0.2)  # (n, w, 14, 14)
        h = F.leaky_relu(self.down2(h), 0.2)  # (n, 2w, 7, 7)
        h = F.leaky_relu(self.down3(h), 0.2)  # (n, 4w, 4, 4)
        return h.flatten(1)  # (n, 64w)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.last_hidden(x))  # (n, 1)

    def input_gradient(self, x: Tensor) -> Tensor:
        """∇ₓD(x) (n, 1, 28, 28), written out, so that the gradient penalty needs no second derivative.

        Where a leaky ReLU does not flip, its slopes do not depend on the weights: ∇ₓD is the score's weights sent back
        through transposed convolutions and fixed masks, and one backward pass through those trains them.
        """
        return self._sent_back(x, self.score.weight)

    def _sent_back(self, x: Tensor, weight: Tensor) -> Tensor:
        """∇ₓ of the inner product of the features and weight (1 or n, 64w)."""
        h, slopes = x, []
        with torch.no_grad():
            for layer in (self.down1, self.down2, self.down3):
                h = layer(h)
                slopes.append(torch.where(h > 0, 1.0, 0.2).to(h.dtype))
                h = F.leaky_relu(h, 0.2)
        gradient = weight.unflatten(1, h.shape[1:]) * slopes[2]  # (n, 4w, 4, 4)
        gradient = F.conv_transpose2d(gradient, self.down3.weight, stride=2, padding=2) * slopes[1]  # (n, 2w, 7, 7)
        for weight, slope in ((self.down2.weight, slopes[0]), (self.down1.weight, 1)):
            gradient = F.conv_transpose2d(gradient, weight, stride=2, padding=2, output_padding=1) * slope
        return gradient


class ConditionalCritic(Critic):
    """Images and labels (n,) → scores (n, 1): the Critic's score plus the features' inner product with the label's row.

    Without labels the second term is left out.
    """

    def __init__(self, width: int = 32, classes: int = 10):
        super().__init__(width)
        self.rows = nn.Embedding(classes, 4 * width * 4 * 4)
        nn.init.zeros_(self.rows.weight)  # training starts from an unconditional critic

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            return super().forward(x)
        h = self.last_hidden(x)
        return self.score(h) + (self.rows(labels) * h).sum(1, keepdim=True)  # (n, 1)

    def input_gradient(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """∇ₓD(x) or ∇ₓD(x, labels), written out as the Critic's."""
        rows = 0 if labels is None else self.rows(labels)
        return self._sent_back(x, self.score.weight + rows)


class DigitClassifier(nn.Module):
    """Images (n, 1, 28, 28) in [−1, 1] → logits (n, 10); `features` gives the 128 numbers before them.

    It judges samples (classifier error, supplement D) and gives the features of our Fréchet distance. Inception's
    features would be those of grey digits enlarged tenfold.
    """

    image_shape = (1, 28, 28)

    def __init__(self, width: int = 32, feature_dim: int = 128):
        super().__init__()
        self.width, self.feature_dim = width, feature_dim

        def block(cin: int, cout: int) -> list[nn.Module]:
            return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]

        self.trunk = nn.Sequential(
            *block(1, width), *block(width, width), nn.MaxPool2d(2),
            *block(width, 2 * width), *block(2 * width, 2 * width), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * width * 7 * 7, feature_dim), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(feature_dim, 10))

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(x)  # (n, feature_dim), non-negative

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))  # (n, 10)
