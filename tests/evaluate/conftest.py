import hashlib
from pathlib import Path

import pytest
import torch

from ganvas.evaluate.networks import inception


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like that of the published weights, drawn so that features vary from image to image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = inception.Inception()
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.running_mean, -0.1, 0.1),
                    (module.running_var, 0.5, 1.5),
                    (module.weight.data, 0.5, 1.5),
                    (module.bias.data, -1, 1),
                ):
                    tensor.uniform_(low, high)  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("weights") / inception.FILE
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture
def accepted(random_inception: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same file, whose checksum is taken for the published one."""
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(random_inception.read_bytes()).hexdigest())
    return random_inception
