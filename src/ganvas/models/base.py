"""What every model shares: its file format, and a clear answer to a question that it can't be asked.

A `Sampler` samples, a `Latent` has codes and decodes them, an `Encoder` gives codes for images, a `LatentVariable`
draws codes from P(z), a `Variational` has a likelihood and a posterior, and an `Imitator` gives an image that is like
another one. A family takes of these what fits. What can be asked of a model are its verbs: methods with the mark
`verb`.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from ganvas.data import masks, ranges
from ganvas.ground import memory, tensors
from ganvas.ground.arguments import checked, tensor
from ganvas.ground.devices import has_amx
from ganvas.ground.errors import UserError
from ganvas.ground.files import existing, read_json, write_text
from ganvas.ground.randomness import Draw, Shared, Stream
from ganvas.ground.registry import Count, Positive, Registry, Seed, dump, kind
from ganvas.models.completion import Completed
from ganvas.models.descent import MATCH, descended
from ganvas.models.units import Units
from ganvas.parts.priors import Distribution

if TYPE_CHECKING:
    from ganvas.data import Dataset
    from ganvas.data.loader import Batch
    from ganvas.parts.likelihoods import BaseLikelihood

log = logging.getLogger("ganvas")

VERBS: list[str] = []  # of all families
MODELS = Registry("model")
FAMILIES: dict[type, type[Model]] = {}
CHUNK = 500
SAMPLED = 500  # pairs of samples, of which the median distance says what is far
BOUNDED = 4  # draws of the ELBO that is a score
# What else may be missing, in words.
PARTS = {
    **{"latent_dim": "codes", "posterior": "codes of images", "prior": "P(z)", "likelihood": "P(x given z)"},
    **{"given": "condition", "each_given": "condition", "with_prior": "codes of images", "truncated": "P(z)"},
}
F = TypeVar("F", bound=Callable[..., Any])
_ASKING = threading.RLock()  # over the modes of all models, which are set in no time


def verb(function: F) -> F:
    """Decorator: a method that a model can be asked by; with `condition=`, as the model that is `given` it."""
    if function.__name__ not in VERBS:
        VERBS.append(function.__name__)

    @functools.wraps(function)
    def ask(model: Any, *values: Any, condition: Any = None, **named: Any) -> Any:
        if condition is None or isinstance(condition, Mapping):
            return function(model if condition is None else model.given(condition), *values, **named)
        return model.each_given(condition, function, *values, **named)

    return ask  # type: ignore[return-value]


class UnsupportedError(UserError, AttributeError):
    """A verb, or a part, asked of a model that does not have it."""


class Model(nn.Module):
    """A model of data of one shape.

    Attributes:
        config: its settings.
        shape: of one example: (C, H, W) with values in [0, 1], or (d,) for rows of numbers in the data's units.
        figures: of `measure`, those that a person looks at, the first one first, and the unit of each.
        range: what was black and white in the training, in the data's units; None: not known, or rows of numbers.
        units: those in which its nets see rows of numbers.
        counters: the names of buffers that count the moves of a training, and are none of a net's.
    """

    Config: ClassVar[type[Any]]
    figures: ClassVar[dict[str, str]] = {}
    measures_labels: ClassVar[bool] = False
    config: Any
    range: tuple[float, float] | None = None
    counters: tuple[str, ...] = ()
    askers = 0  # threads in `asked`
    _trained = False  # before the first of them came

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "Config" in vars(cls):
            FAMILIES[MODELS.register(cls.Config)] = cls

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.config, self.shape = config, tuple(shape)
        self.units = Units(self.shape)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in VERBS and name not in PARTS:
                raise
        what = PARTS.get(name, name)
        said = f"a model of kind {kind(self.Config)} has no {what}; it has {', '.join(self.verbs())}."
        have = [known for known, config in MODELS.items() if name in FAMILIES[config].verbs()]
        raise UnsupportedError(said + f" Kinds with {what}: {', '.join(sorted(have))}." * bool(have))

    def __setattr__(self, name: str, value: Any) -> None:
        # torch would keep such a layer, and give the class's own attribute when it is asked for.
        if isinstance(value, nn.Module) and hasattr(type(self), name):
            raise UserError(f"{type(self).__name__}.{name} is what every model has: give this layer another name.")
        super().__setattr__(name, value)

    @classmethod
    def verbs(cls) -> list[str]:
        """What it can be asked."""
        return [verb for verb in VERBS if hasattr(cls, verb)]

    def __call__(self, *values: Any, **named: Any) -> Any:
        """`forward(batch, draw)`, the loss and its parts, which the training asks for."""
        if len(values) + len(named) < 2:
            here = ", ".join(self.verbs())
            raise UserError(f"a model is asked by its verbs: {here}. To call it gives its loss, of (batch, draw).")
        return super().__call__(*values, **named)

    def __repr__(self) -> str:
        numbers = sum(weight.numel() for weight in self.parameters())
        code = f"latent_dim {self.latent_dim}, " if hasattr(type(self), "latent_dim") else ""
        return f"<{type(self.config).__name__} of {' x '.join(map(str, self.shape))}: {code}{numbers:,} parameters>"

    def _repr_html_(self) -> str:
        from ganvas import notebook

        return notebook.of_model(self)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def players(self) -> dict[str, nn.Module]:
        """The modules that move, by name: each one's forward takes (batch, draw) and returns its loss's parts."""
        raise NotImplementedError(type(self).__name__)

    def prepare(self, dataset: Dataset, seed: int) -> None:
        """What it takes from the data before the first move: the range of images, or the units of rows of numbers."""
        self.range = dataset.range
        self.units.prepare(dataset)

    def finished(self, dataset: Dataset, seed: int) -> Model:
        """The model that is kept when a training ends: itself, unless a family says otherwise."""
        return self

    def inherit(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights to begin with, by name, of those of another model: the same, unless a family says otherwise."""
        return weights

    def moved(self, player: str) -> None:
        """What a family does after each move of a player: nothing, unless it says otherwise."""

    def phase(self, count: int) -> tuple[bool, ...]:
        """What moves with that number, of the step and in it, do that others don't: what is recorded once for each."""
        return ()

    def measure(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Figures of a batch, its means: a single player's own loss and its parts; of several: none."""
        return self(batch, draw) if list(self.players().values()) == [self] else {}

    @contextmanager
    def calibrated(self, figures: dict[str, float]) -> Iterator[dict[str, float]]:
        """While it lasts, what can only be learned of images that the nets have not seen is set by `figures` of them.

        Args:
            figures: that `measure` gave, means over the validation images.

        Yields:
            The figures that it gives now.
        """
        yield figures

    def save(self, folder: str | Path) -> Path:
        """Write `config.json` and `model.safetensors` into `folder`, each aside first and then renamed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors.save(folder / "model.safetensors", self.state_dict())
        facts = {"format": 1, "shape": self.shape, "range": self.range, "model": dump(self.config)}
        text = json.dumps(facts, indent=2) + "\n"
        write_text(folder / "config.json", text)
        return folder

    def load_state_dict(self, weights: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Take weights and counts by their names.

        Raises:
            UserError: one is missing or unknown, of another shape or type, or not finite.
        """
        own = self.state_dict()
        for name, weight in weights.items():
            here, there = (f"{tuple(t.shape)} of {t.dtype}" for t in (own.get(name, weight), weight))
            if here != there:
                raise UserError(f"{name} is {there}, and {here} in the model.")
            if not bool(torch.isfinite(weight).all()):
                raise UserError(f"{name} is not finite.")
        try:
            return super().load_state_dict(weights, strict, assign)
        except RuntimeError as error:  # of names
            raise UserError(str(error)) from error

    def rows(self, images: Any) -> Tensor:
        """Images as the model takes them, checked.

        Args:
            images: (N, *shape), or with channels last, floats in [0, 1], or any numbers in the range of the training; a
                tensor, array, PIL image, path or list of these, see `ganvas.data.reading.read_rows`; one image may come
                alone.

        Raises:
            UserError: another shape, another range, or NaN.
        """
        from ganvas.data.reading import read_rows

        return read_rows(images, self.shape, known=self.range).to(self.device)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While it is asked and not trained: evaluation mode, no gradients.

        Threads may ask at a time: the first one sets the mode, and the last one sets what it was before.
        """
        with _ASKING:
            if not self.askers:
                self._trained = self.training
                self.eval()
            self.askers += 1
        try:
            with torch.inference_mode():
                yield
        finally:
            with _ASKING:
                self.askers -= 1
                if not self.askers and self._trained:
                    self.train()

    def chunks(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """`function` over the rows of x, some at a time; the model is `asked`."""
        return self.gathered((function(part) for part in torch.split(x, CHUNK)), len(x))

    def gathered(self, parts: Iterator[Tensor], n: int) -> Tensor:
        """n rows that come in parts, each written where it belongs; the model is `asked`."""
        with self.asked():
            first = next(parts)
            with torch.inference_mode(False):  # what is given away is a tensor like any other
                result = first.new_empty((n, *first.shape[1:]))
            start = 0
            for part in chain([first], parts):
                result[start : start + len(part)] = part
                start += len(part)
        return result

    def observed(self, images: Tensor, draw: Draw) -> Tensor:
        """Images (N, *shape) as its encoder is trained on them."""
        return images


class Sampler(Model):
    """The verbs of families that draw images."""

    def source(self) -> Callable[[Draw, int], Tensor]:
        """What gives n images (n, *shape) of a draw, as the model is now."""
        raise NotImplementedError(type(self).__name__)

    @verb
    @checked
    def sample(self, n: Count, seed: Seed = 0) -> Tensor:
        """Images (n, *shape); the same seed gives the same samples.

        Raises:
            UserError: memory does not hold so many.
        """
        remedy = "take fewer, or some at a time, as `ganvas sample RUN -n N --out FILE.npy` does"
        memory.require_images(n, self.shape, remedy, self.device)
        return self.gathered(self._drawn(n, seed), n)

    @checked
    def samples(self, n: Count, seed: Seed = 0) -> Iterator[Tensor]:
        """`sample`, some at a time: memory does not grow with n."""
        drawn = self._drawn(n, seed)
        for start in range(0, n, CHUNK):
            yield self.gathered(islice(drawn, 1), min(CHUNK, n - start))

    def _drawn(self, n: int, seed: int) -> Iterator[Tensor]:
        draw, source = Stream(seed), self.source()
        for start in range(0, n, CHUNK):
            yield source(draw, min(CHUNK, n - start))


class Latent(Model):
    """The verbs of families with codes."""

    @property
    def latent_dim(self) -> int:
        """Numbers of a code."""
        return int(self.config.latent_dim)

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Of a code: (latent_dim,), or (channels, h, w) of a net that keeps places."""
        net = getattr(self.config, "net", None)
        return (net and net.code_shape(self.shape)) or (self.latent_dim,)

    @property
    def components(self) -> int:
        """Of a principal component analysis that keeps about as much of an image as a code can."""
        return self.latent_dim

    def decoded(self, z: Tensor) -> Tensor:
        """`decode` with a gradient in z."""
        raise NotImplementedError(type(self).__name__)

    def codes(self, codes: Any) -> Tensor:
        """Codes (N, latent_dim) as the model takes them, checked; one may come alone, and each in its `code_shape`.

        Raises:
            UserError: another shape, no numbers, or NaN.
        """
        d, places = self.latent_dim, self.code_shape
        try:
            z: Tensor = tensor(codes)
        except ValueError as error:
            raise UserError(f"codes: {error}.") from error
        whole = len(places) > 1 and z.shape[-3:] == places and z.dim() in (3, 4)
        if not whole and (z.dim() not in (1, 2) or z.shape[-1] != d):
            takes = f"(N, {d})" + f" or (N, {', '.join(map(str, places))})" * (len(places) > 1)
            raise UserError(f"codes of shape {tuple(z.shape)}: this model takes {takes}.")
        if not bool(torch.isfinite(z).all()):
            raise UserError("codes hold NaN or infinite values: they must be finite.")
        return z.to(self.device, torch.float32).reshape(-1, d)

    @verb
    def decode(self, codes: Any) -> Tensor:
        """Images (N, *shape), the mean of P(x given z) or G(z), from codes z (N, latent_dim) or (N, channels, h, w)."""
        return self.chunks(self.decoded, self.codes(codes))


class Imitator(Model):
    """The verb of families that give for an image one that is like it: how far off that is says how strange it is.

    Attributes:
        searches: whether they look for it by gradient descent, which takes up to a second an image.
    """

    searches: ClassVar[bool] = False

    def imitated(self, images: Tensor) -> Tensor:
        """What it gives for images (N, *shape) as they are, each by itself."""
        raise NotImplementedError(type(self).__name__)

    def missed(self, images: Tensor) -> Tensor:
        """The mean squared error of `imitated`, (N,); of rows of numbers in variances of the columns."""
        difference: Tensor = self.units(images) - self.units(self.imitated(images))
        return difference.square().flatten(1).mean(1)

    def normality(self, images: Tensor) -> Tensor:
        """`score_samples` of images (N, *shape) as they are."""
        return -self.missed(images)

    @verb
    def score_samples(self, images: Any) -> Tensor:
        """How normal images are, (N,): the HIGHER the more so, as scikit-learn has it. A VAE's is the ELBO in nats.

        Of other families it is -1 times the mean squared error of what they give for an image: its reconstruction; of a
        GAN the nearest image that it can make; of a denoiser what it makes of the image with noise. It depends on the
        image alone, up to the rounding of float32, and neither on the others nor on their order.
        """
        return self.chunks(self.normality, self.rows(images))


class Encoder(Latent, Imitator):
    """The verbs of families that give codes for images.

    Attributes:
        codes_are: what a code is, where it is not simply the encoder's output.
    """

    codes_are: ClassVar[str] = ""
    searches = False

    def encoded(self, images: Tensor) -> Tensor:
        """`encode` of images (N, *shape) as they are, with a gradient."""
        raise NotImplementedError(type(self).__name__)

    def imitated(self, images: Tensor) -> Tensor:
        """`reconstruct` of images (N, *shape) as they are."""
        return self.decoded(self.encoded(images))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of Q(z given x), each (N, latent_dim); a code that is no draw has the variance 0."""
        mean = self.encoded(x)
        return mean, torch.full_like(mean, -math.inf)

    def with_prior(self, components: int) -> Any:
        """The settings of this model with a mixture of so many normals for its P(z).

        Raises:
            UserError: its P(z) is none that could be a mixture.
        """
        raise UserError(f"a model of kind {kind(self.Config)} takes no P(z) that is fitted to its codes.")

    @verb
    def encode(self, images: Any) -> Tensor:
        """Codes (N, latent_dim), of a net that keeps places (N, channels, h, w): of a VAE the posterior's mean."""
        return torch.unflatten(self.chunks(self.encoded, self.rows(images)), 1, self.code_shape)

    @verb
    def reconstruct(self, images: Any) -> Tensor:
        """decode(encode(images))."""
        return self.chunks(lambda x: self.decoded(self.encoded(x)), self.rows(images))


class LatentVariable(Latent, Sampler, Imitator):
    """A model with a P(z), its `prior`: a sample is `decode` of z from it."""

    prior: Distribution
    searches = True

    def imitated(self, images: Tensor) -> Tensor:
        """The nearest that it can make, as `ganvas.models.inversion` finds it."""
        from ganvas.models.inversion import invert

        with torch.inference_mode(False), torch.no_grad():  # the search takes gradients
            return self.decoded(invert(self, images.clone()).codes.to(self.device))

    @checked
    def truncated(self, bound: Positive) -> Self:
        """The same model, whose samples are of codes within +- bound in every dimension: less varied, more typical.

        That of BigGAN: numbers of z beyond it are drawn anew (Brock et al. 2019, section 3.1). Near 0.5 all samples are
        much alike, and at 3 nearly none is changed. The bound is in standard deviations, of each normal in a mixture. A
        GAN that has seen few such codes may fade (the same: of their models 16 % bore it without a regulariser).

        Raises:
            UserError: P(z) is neither N(0, I) nor a mixture of normals.
        """
        found = copy.copy(self)
        found._modules = {name: module for name, module in self._modules.items() if name != "prior"}
        found.prior = self.prior.truncated(bound)
        return found

    def source(self) -> Callable[[Draw, int], Tensor]:
        """`decoded` of z from P(z)."""
        prior = self.prior.held()
        return lambda draw, n: self.decoded(prior.sample(draw, (n, self.latent_dim)).to(self.device))

    @verb
    @checked
    def complete(self, images: Any, mask: Any, n: Count = 4, seed: Seed = 0) -> Tensor:
        """The images of `completed`, (N, n, *shape)."""
        return self.completed(images, mask, n, seed).images

    @checked
    def completed(self, images: Any, mask: Any, n: Count = 4, seed: Seed = 0) -> Completed:
        """Images whose missing pixels are filled in, n times each, by `decode` of codes that fit the visible ones.

        Of a VAE the codes are draws from P(z given the visible pixels). Others have no likelihood that could be drawn
        by: their codes are the nearest ones that gradient descent finds, and n of them are no distribution.

        Args:
            images: as `encode` takes them; what the mask covers does not matter.
            mask: what is missing, of all images alike, see `ganvas.data.masks.read_mask`.
            n: completions of each image.
            seed: of all draws.

        Raises:
            UserError: images of another shape or range, or a mask that doesn't fit; memory does not hold so many.
        """
        x, missing = self.rows(images), masks.read_mask(mask, self.shape, seed).to(self.device)
        memory.require_images(2 * n * len(x), self.shape, "take fewer images or completions", self.device)
        codes = self.codes_of(torch.where(missing, 0, x), ~missing, n, seed)
        made = torch.unflatten(self.chunks(self.decoded, codes.flatten(0, 1)), 0, codes.shape[:2])
        seen = (~missing).expand(self.shape)
        distances = (made - x[:, None])[..., seen].square().mean(-1).sqrt()
        z = self.prior.held().sample(Draw(seed), (2 * SAMPLED, self.latent_dim)).to(self.device)
        samples, drawn = (self.chunks(f, z)[:, seen] for f in (self.decoded, lambda z: self.simulated(z, Draw(seed))))
        apart = float((samples[::2] - samples[1::2]).square().mean(1).sqrt().median())
        noise = float((drawn - samples).square().mean())  # by which images are off from those of their codes
        off = distances.min(1).values
        lost = (off >= math.sqrt((MATCH * apart) ** 2 + 2 * noise)).nonzero().flatten().tolist()
        if lost:
            places = ", ".join(map(str, lost[:5])) + " ..." * (len(lost) > 5)
            said = (
                "%d of %d images are doubtful (%s): this model has none like them. What is visible is missed "
                "by %.0f %% of what two samples are apart there."
            )
            log.warning(said, len(lost), len(x), places, 100 * float(off[lost].median()) / apart)
        return Completed(torch.where(missing, made, x[:, None]), codes, distances, apart)

    def simulated(self, z: Tensor, draw: Draw) -> Tensor:
        """Data (N, *shape) of codes z: without a P(x given z) their images themselves."""
        return self.decoded(z)

    def codes_of(self, x: Tensor, seen: Tensor, n: int, seed: int) -> Tensor:
        """Codes (N, n, latent_dim) that fit the visible pixels of x.

        Args:
            x: (N, *shape), 0 where it is missing.
            seen: which pixels (H, W), or numbers (d,) of a row, are visible.
            n: codes of each image.
            seed: of all draws.
        """
        return descended(self, x, seen.expand(self.shape), n, seed=seed).codes


class Variational(Encoder, LatentVariable):
    """A model with a P(x given z) and a Q(z given x), which measures of the ELBO ask."""

    @property
    def likelihood(self) -> BaseLikelihood:
        """P(x given z)."""
        found: BaseLikelihood = self.config.likelihood
        return found

    def observed(self, images: Tensor, draw: Draw) -> Tensor:
        """As the likelihood has it."""
        return self.likelihood.observe(images, draw)

    def output(self, z: Tensor) -> Tensor:
        """The decoder's output (N, ...), which the likelihood takes, for z (N, latent_dim)."""
        raise NotImplementedError(type(self).__name__)

    def elbo(self, x: Tensor, draw: Draw, form: str = "analytic", samples: int = 1) -> dict[str, Tensor]:
        """{"elbo", "reconstruction", "kl"} of data (N, *shape), means over draws of z: nats, each (N,)."""
        raise NotImplementedError(type(self).__name__)

    def normality(self, images: Tensor) -> Tensor:
        """The ELBO, a mean over draws that are the same for each image."""
        return torch.stack([self.elbo(images, Shared(0, draw))["elbo"] for draw in range(BOUNDED)]).mean(0)

    def log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        """log P(x given z) of x (N, *shape) by the decoder's output for it (..., N, ...): nats, (..., N)."""
        raise NotImplementedError(type(self).__name__)

    def drawn(self, output: Tensor, draw: Draw) -> Tensor:
        """x (N, *shape) from P(x given z) by the decoder's output."""
        raise NotImplementedError(type(self).__name__)


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Matrix products of float32 by oneDNN on a CPU, which are twice as fast as MKL's on AMD processors and as exact.

    Where there is AMX they are MKL's: oneDNN would round their inputs to bfloat16 there.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if device.type == "cpu" and not has_amx() else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@checked
def load(folder: str | Path, device: str | torch.device = "cpu") -> Model:
    """The model in a folder that `save` wrote, or in model/ of it; nothing in it is unpickled.

    Raises:
        UserError: no model there, or one that does not fit its settings.
    """
    folder = existing(folder)
    folder = folder / "model" if (folder / "model").is_dir() else folder
    if not (folder / "config.json").is_file():
        raise UserError(f"no model in {folder}: it has no config.json, and no recipe.json of a run.")
    file = folder / "model.safetensors"
    if not file.is_file():
        raise UserError(f"no model in {folder}: it has no {file.name}.")
    config, (weights, _) = read_json(folder / "config.json"), tensors.load(file)
    if not isinstance(config, dict) or not {"model", "shape"} <= config.keys():
        raise UserError(f'{folder / "config.json"} is no model\'s: it needs "model" and "shape".')
    shape = config["shape"]
    whole = isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
    if not whole or len(shape) not in (1, 3):
        raise UserError(f"{folder / 'config.json'} has the shape {shape!r:.80}: it takes C, H, W, or one number.")
    try:
        settings = MODELS.parse(config["model"])
        model = FAMILIES[type(settings)](settings, tuple(shape))
        model.range = ranges.checked(config.get("range"))
        model.load_state_dict(weights)
    except Exception as error:
        raise UserError(f"{file} does not fit its config.json: {error}") from error
    return model.to(device).eval()
