"""pythae's side of (a) and (c), as its documentation has it: a VAE with custom nets, `BaseTrainer`, `get_nll`.

Chosen in its favour: `BaseTrainer` itself rather than the pipeline, which would copy and check the data first; no
predictions and no checkpoints between (its defaults); validation in batches of 1000. The learning rate is 1e-3, as in
its README (its default of 1e-4 would leave an easy target). It loads in the main process, its default.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from common import serve
from elbo import elbo
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Encoder(BaseEncoder):
    """784-500-500-2 twice: mean and log-variance."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 4)
        )

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.layers(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """2-500-500-784, probabilities at the end, which pythae's BCE takes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 784), nn.Sigmoid()
        )

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).unflatten(-1, (1, 28, 28)))


class Clock(TrainingCallback):
    """Seconds of each epoch's training, without its validation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_step_begin(self, training_config: Any, **_: Any) -> None:
        self.began = time.perf_counter()

    def on_eval_step_begin(self, training_config: Any, **_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def make() -> VAE:
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=2, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(), decoder=Decoder())


def parameters(model: VAE) -> list[Tensor]:
    """The encoder's, then the decoder's: pythae itself has them the other way round."""
    return [*model.encoder.parameters(), *model.decoder.parameters()]


def dataset(path: str) -> BaseDataset:
    images = torch.from_numpy(np.load(path))
    return BaseDataset(images, torch.zeros(len(images)))


def train(data: str, epochs: int, batch_size: int, seed: int, workers: int = 0) -> dict[str, Any]:
    """Seconds from the import to the trained model, images per second after the first epoch, and its ELBOs."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    clock = Clock()
    config = BaseTrainerConfig(
        output_dir="pythae",
        num_epochs=epochs,
        learning_rate=1e-3,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=1000,
        train_dataloader_num_workers=workers,
        eval_dataloader_num_workers=workers,
        seed=seed,
    )
    train_set, validation = dataset(f"{data}-train.npy"), dataset(f"{data}-validation.npy")
    trainer = BaseTrainer(make(), train_set, validation, config, callbacks=[clock])
    trainer.train()
    seconds = time.perf_counter() - began
    steady = clock.seconds[1:] or clock.seconds
    found = {
        split: elbo(parameters(trainer._best_model), np.load(f"{data}-{split}.npy").reshape(-1, 784))
        for split in ("validation", "test")
    }
    return {
        "seconds": seconds,
        "images_per_second": len(train_set) * len(steady) / sum(steady),
        **found,
    }


def nll(data: str, weights: str, images: int, samples: int, batch_sizes: list[int]) -> dict[str, Any]:
    """The mean NLL of the first images, and images per second for each batch size."""
    model = make().to(DEVICE).eval()
    with np.load(weights) as arrays, torch.no_grad():
        for parameter, name in zip(parameters(model), sorted(arrays.files), strict=True):
            parameter.copy_(torch.from_numpy(arrays[name]))
    x = torch.from_numpy(np.load(f"{data}-test.npy")[:images]).float().to(DEVICE)
    answer: dict[str, Any] = {"speed": {}}
    with torch.no_grad():
        for batch_size in batch_sizes:
            model.get_nll(x[:1], n_samples=samples, batch_size=batch_size)
            began = time.perf_counter()
            answer["nll"] = -float(model.get_nll(x, n_samples=samples, batch_size=batch_size))  # it gives log P(x)
            answer["speed"][str(batch_size)] = images / (time.perf_counter() - began)
    return answer


if __name__ == "__main__":
    serve(train, nll)
