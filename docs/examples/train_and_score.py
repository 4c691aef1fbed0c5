"""A plain PyTorch training loop that scores its encoder after every epoch.

    python docs/examples/train_and_score.py fixtures/digits --epochs 5 --out out/training

SimCLR on an image folder with train/ and test/: two noisy views per image, NT-Xent loss. The scoring is one call of
`repdiag.score` with the module itself; what it does leaves no trace in the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import repdiag

METRICS = ("knn_accuracy", "cdnv", "rankme")
PREPARE = v2.Compose(
    [
        v2.Resize(16),
        v2.CenterCrop(16),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ]
)


def encoder() -> nn.Module:
    """(B, 3, H, W) -> (B, 64) non-negative features."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """SimCLR's loss of two views, (B, D) each: every row has to find its other view among all others."""
    z = F.normalize(torch.cat([first, second]), dim=1)
    likeness = z @ z.T / temperature
    likeness.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(first))
    return F.cross_entropy(likeness, partner)


def train(data: Path, epochs: int, out: Path, device: str) -> list[dict[str, float]]:
    """Train and score; the metrics' values after each epoch."""
    torch.manual_seed(0)
    training = DataLoader(ImageFolder(data / "train", PREPARE), batch_size=128, shuffle=True, drop_last=True)
    held_out = DataLoader(ImageFolder(data / "test", PREPARE), batch_size=256)
    backbone, head = encoder().to(device), nn.Linear(64, 32).to(device)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=3e-3)
    history = []
    for epoch in range(epochs):
        for images, _ in training:
            images = images.to(device)
            views = [head(backbone(images + 0.3 * torch.randn_like(images))) for _ in range(2)]
            loss = nt_xent(*views)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        report = repdiag.score(
            backbone, held_out, metrics=METRICS, draw_map=False, out=out / f"epoch={epoch:03d}"
        )
        found = {name: result.value for name in METRICS if (result := report.value(name)) is not None}
        said = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        print(f"epoch {epoch}: {said}")  # noqa: T201 - a script
        history.append(found)
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "data", type=Path, help="image folder with train/ and test/, each with a folder per class"
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out/training"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    train(arguments.data, arguments.epochs, arguments.out, arguments.device)
