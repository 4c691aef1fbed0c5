"""Fine-tuning with Q-Score's regularizer in a plain PyTorch loop.

    python docs/examples/qscore_pytorch.py fixtures/encoders/simclr.pt fixtures/digits --epochs 3 --eps 3

SimCLR goes on from a checkpoint, on an image folder with train/: two noisy views per image, NT-Xent loss, and the
regularizer's two lines: `fit` before each epoch, on clean images, and one more summand in the loss.

Without `--eps` a feature is active four standard deviations above its image's mean, as in the paper. Its encoders
have 512 and 2048 features; the fixtures' have 128, where that leaves 96 % of the images without a Q-Score.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import repdiag
from repdiag.objectives import QScoreRegularizer


def prepare(encoder: repdiag.Encoder) -> v2.Compose:
    """What the checkpoint's encoder expects of an image."""
    about = encoder.preprocessing
    return v2.Compose(
        [
            v2.Resize((about.size, about.size)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(about.mean, about.std),
        ]
    )


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.2) -> Tensor:
    """SimCLR's loss of two views, (B, P) each: every row has to find its other view among all others."""
    z = F.normalize(torch.cat([first, second]), dim=1)
    likeness = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(likeness, torch.arange(len(z), device=z.device).roll(len(first)))


@torch.no_grad()
def clean_features(backbone: nn.Module, images: DataLoader, device: str) -> Iterator[Tensor]:
    """Features (B, D) of the images as they are, one batch after the other."""
    backbone.eval()
    for batch, _ in images:
        yield backbone(batch.to(device))
    backbone.train()


def tune(
    model: str, data: Path, epochs: int, out: Path, device: str, eps: float = 4.0
) -> list[dict[str, float]]:
    """Train, and save the backbone's state_dict; the mean loss and the regularizer's facts after each epoch."""
    torch.manual_seed(0)
    encoder = repdiag.load_encoder(model)
    backbone = copy.deepcopy(encoder.module).to(device).requires_grad_(True)  # what was loaded stays frozen
    head = nn.Sequential(nn.Linear(encoder.dim, 128), nn.ReLU(), nn.Linear(128, 64)).to(device)
    images = ImageFolder(data / "train", prepare(encoder))
    batches = DataLoader(images, batch_size=128, shuffle=True, drop_last=True)
    in_order = DataLoader(images, batch_size=256)
    regularizer = QScoreRegularizer(eps=eps).to(device)
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.01, momentum=0.9)
    history = []
    for epoch in range(epochs):
        regularizer.fit(clean_features(backbone, in_order, device))  # finds S, the discriminative features
        total = 0.0
        for batch, _ in batches:
            batch = batch.to(device)
            h1, h2 = (backbone(batch + 0.2 * torch.randn_like(batch)) for _ in range(2))
            loss = nt_xent(head(h1), head(h2)) + regularizer(h1, h2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        history.append({"loss": total / len(batches), **regularizer.facts()})
        said = ", ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
        print(f"epoch {epoch}: {said}")  # noqa: T201 - a script
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(backbone.state_dict(), out)
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="anything that `repdiag score` loads")
    parser.add_argument("data", type=Path, help="image folder with train/, with a folder per class")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--eps", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=Path("out/tuned.pt"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    tune(arguments.model, arguments.data, arguments.epochs, arguments.out, arguments.device, arguments.eps)
