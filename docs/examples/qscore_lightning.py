"""Fine-tuning with Q-Score's regularizer in a LightningModule.

    python docs/examples/qscore_lightning.py fixtures/encoders/simclr.pt fixtures/digits --epochs 3 --eps 3

Needs `pip install 'repdiag[lightning]'`. The regularizer is a child of the module, so that it moves to the device with
it and Lightning's checkpoints hold S: a run that is stopped and resumed goes on with the same one.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import repdiag
from repdiag.objectives import QScoreRegularizer


class Tuned(pl.LightningModule):
    """SimCLR from a checkpoint, with the regularizer."""

    def __init__(self, encoder: repdiag.Encoder, clean: DataLoader, eps: float = 4.0) -> None:
        super().__init__()
        self.backbone = (
            copy.deepcopy(encoder.module).train().requires_grad_(True)
        )  # what was loaded stays frozen
        self.head = nn.Sequential(nn.Linear(encoder.dim, 128), nn.ReLU(), nn.Linear(128, 64))
        self.regularizer = QScoreRegularizer(eps=eps)
        self.clean = clean

    @torch.no_grad()
    def clean_features(self) -> Iterator[Tensor]:
        """Features (B, D) of the images as they are. Of several processes each may give all images or its part."""
        self.backbone.eval()
        for batch, _ in self.clean:
            yield self.backbone(batch.to(self.device))
        self.backbone.train()

    def on_train_epoch_start(self) -> None:
        """Find S, the discriminative features."""
        self.backbone.train()
        self.regularizer.fit(self.clean_features(), self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """SimCLR's loss of two noisy views, and the regularizer's."""
        images = batch[0]
        h1, h2 = (self.backbone(images + 0.2 * torch.randn_like(images)) for _ in range(2))
        z = F.normalize(torch.cat([self.head(h1), self.head(h2)]), dim=1)
        likeness = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
        ssl = F.cross_entropy(likeness, torch.arange(len(z), device=z.device).roll(len(images)))
        extra = self.regularizer(h1, h2)
        self.log("ssl", ssl, on_step=False, on_epoch=True)
        self.log("qscore", extra, on_step=False, on_epoch=True)
        return ssl + extra

    def on_train_epoch_end(self) -> None:
        """The share of rows without a Q-Score, and the others of `facts`, of the last step."""
        self.log_dict(dict(self.regularizer.facts()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD for all that is trained; the regularizer itself has no weights."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def loaders(encoder: repdiag.Encoder, data: Path) -> tuple[DataLoader, DataLoader]:
    """(batches to train on, the same images in order)."""
    about = encoder.preprocessing
    prepare = v2.Compose(
        [
            v2.Resize((about.size, about.size)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(about.mean, about.std),
        ]
    )
    images = ImageFolder(data / "train", prepare)
    return DataLoader(images, 128, shuffle=True, drop_last=True), DataLoader(images, 256)


def tune(
    model: str, data: Path, epochs: int, out: Path, eps: float = 4.0, accelerator: str = "auto"
) -> Tuned:
    """Train and save the backbone's state_dict, and Lightning's own checkpoint beside it."""
    pl.seed_everything(0)
    encoder = repdiag.load_encoder(model)
    batches, clean = loaders(encoder, data)
    tuned = Tuned(encoder, clean, eps)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(tuned, batches)
    out.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(out.with_suffix(".ckpt"))
    torch.save(tuned.backbone.state_dict(), out)
    print({name: round(float(value), 4) for name, value in trainer.callback_metrics.items()})  # noqa: T201
    return tuned


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="anything that `repdiag score` loads")
    parser.add_argument("data", type=Path, help="image folder with train/, with a folder per class")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--eps", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=Path("out/tuned.pt"))
    arguments = parser.parse_args()
    tune(arguments.model, arguments.data, arguments.epochs, arguments.out, arguments.eps)
