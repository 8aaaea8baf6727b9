"""scikit-learn estimators, one for each recipe: `VAE(latent_dim=8).fit(X).transform(X)`.

X is rows of numbers (n, d), as everywhere in scikit-learn, or images: arrays (n, H, W) or (n, H, W, C), or rows of
pixels with `image_shape`. What comes back is in the units and the form of X. A model that encodes is a transformer;
`score_samples` says how normal each row is, `score` is its mean, and `sample` draws new rows.
"""

from __future__ import annotations

import inspect
import json
import math
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import ganvas
from ganvas.data import store
from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json, write_text
from ganvas.ground.registry import parameters
from ganvas.models.base import FAMILIES, Model
from ganvas.models.base import load as load_model
from ganvas.recipes import RECIPES

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("ganvas.sklearn needs scikit-learn 1.6 or later: pip install 'ganvas[sklearn]'.") from error

Array = NDArray[Any]
FILE = "estimator.json"
FEWEST = 3  # rows
# Of every estimator, beside its recipe's own.
SHARED: dict[str, Any] = {
    "epochs": None,
    "batch_size": None,
    "lr": None,
    "image_shape": None,
    "validation_fraction": 0.1,
    "device": "auto",
    "random_state": None,
}
RENAMED = {"fit": "fit_prior"}  # flags whose name is a method's here
SAID = """
Parameters
----------
latent_dim, ... :
    The flags of `ganvas train {recipe}`: see `ganvas train {recipe} --help`. None chooses from the data.
epochs, batch_size, lr :
    Passes over the data, rows a move, learning rate. None takes the recipe's.
image_shape : tuple of int, default=None
    (H, W) or (H, W, C) of images whose pixels are the rows of X. None: rows of numbers, or an array of images.
validation_fraction : float, default=0.1
    Share of the rows, at least one, that is not trained on and chooses the best epoch.
device : str, default="auto"
    "auto", "cpu", "cuda", "cuda:1" or "mps".
random_state : int, RandomState instance or None, default=None
    Of the weights, the order, every draw and the validation rows.

Attributes
----------
model_ : ganvas.models.Model
    The model, with all its verbs.
history_ : list of dict
    A row of metrics each.
n_features_in_ : int
    Numbers in a row; of an array of images its height.
"""


class Estimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators share.

    Attributes:
        recipe: the recipe's name.
        flags: of it, that are parameters.
    """

    recipe: str
    flags: tuple[str, ...]
    model_: Model

    def __init__(self, **values: Any) -> None:
        known = inspect.signature(type(self).__init__).parameters
        if unknown := values.keys() - known.keys():
            raise TypeError(f"{type(self).__name__} takes no {', '.join(sorted(unknown))}; see get_params().")
        for name, item in known.items():
            if name != "self":
                setattr(self, name, values.get(name, item.default))

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Train on X, (n, d) or images; y is not used.

        Raises:
            ValueError: NaN, fewer than 3 rows, or settings that can't work; says why, before training starts.
        """
        if not 0 < self.validation_fraction < 1:
            raise UserError(f"validation_fraction is {self.validation_fraction!r}: it takes a share between 0 and 1.")
        rows = self._images(self._valid(X, reset=True))
        random = check_random_state(self.random_state)
        order, seed = random.permutation(len(rows)), int(random.randint(2**31 - 1))
        held_out = max(1, math.floor(self.validation_fraction * len(rows)))
        validation, train = rows[order[:held_out]], rows[order[held_out:]]
        own = [(flag, RENAMED.get(flag, flag)) for flag in (*self.flags, "epochs", "batch_size", "lr")]
        asked = {flag: value for flag, name in own if (value := getattr(self, name)) is not None}
        with tempfile.TemporaryDirectory(prefix="ganvas-") as folder, store.rooted(Path(folder, "cache")):
            run = ganvas.train(
                self.recipe,
                data={"train": train, "validation": validation, "test": validation},
                seed=seed,
                device=self.device,
                out=Path(folder, "run"),
                **asked,
            )
            self.history_ = run.metrics
            self.model_ = run.model
        if "encode" in self.model_.verbs():
            self._n_features_out = self.model_.latent_dim
        return self

    def score_samples(self, X: Any) -> Array:  # noqa: N803
        """How normal each row is, (n,): the higher the more so. Of a VAE it is the ELBO in nats."""
        return self._asked(X, self.recalled.score_samples)

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """The mean of `score_samples`; y is not used."""
        return float(self.score_samples(X).mean())

    def save(self, folder: str | Path) -> Path:
        """Write the model and the parameters into a folder; nothing is pickled. `ganvas.sklearn.load` reads it.

        Raises:
            UserError: a parameter that JSON can't hold, such as a RandomState.
        """
        model = self.recalled
        facts = {
            "estimator": type(self).__name__,
            "params": self.get_params(),
            "form": list(self._form),
            "n_features_in": self.n_features_in_,
        }
        try:
            text = json.dumps(facts, indent=2) + "\n"
        except TypeError as error:
            raise UserError(f"{error}: a saved estimator takes numbers, texts and None as parameters.") from error
        folder = model.save(folder)
        write_text(folder / FILE, text)
        return folder

    @property
    def recalled(self) -> Model:
        """The model, once there is one."""
        check_is_fitted(self)
        return self.model_

    def _valid(self, X: Any, *, reset: bool) -> Array:  # noqa: N803
        deep = getattr(X, "ndim", 2) > 2 and self.image_shape is None
        number = "numeric" if deep or self.image_shape else [np.float64, np.float32]
        fewest = FEWEST if reset else 1
        found: Array = validate_data(self, X, dtype=number, allow_nd=deep, reset=reset, ensure_min_samples=fewest)
        if reset:
            self._form = tuple(self.image_shape or found.shape[1:])
            if math.prod(self._form) != math.prod(found.shape[1:]):
                said = f"image_shape {self._form} has {math.prod(self._form)} numbers, and a row of X"
                raise UserError(f"{said} {math.prod(found.shape[1:])}.")
        return found

    def _images(self, rows: Array) -> Array:
        return rows.reshape(len(rows), *self._form)

    def _asked(self, X: Any, ask: Any) -> Array:  # noqa: N803
        rows = self._valid(X, reset=False)
        found: Array = ask(self._images(rows)).cpu().numpy()
        return found.astype(rows.dtype if rows.dtype.kind == "f" else np.float64)

    def _as_given(self, made: Any) -> Array:
        """What a model gives, (N, *shape), in the units and the form of X."""
        rows: Array = made.cpu().numpy()
        if rows.ndim == 4:
            low, high = self.model_.range or (0, 1)
            rows = rows.transpose(0, 2, 3, 1) * (high - low) + low
        flat = len(self._form) == 1 or self.image_shape is not None
        return rows.reshape(len(rows), -1) if flat else rows.reshape(len(rows), *self._form)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags


class Encoding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):  # type: ignore[misc]
    """Of models with codes for X."""

    def transform(self, X: Any) -> Array:  # noqa: N803
        """Codes (n, latent_dim) of X; of a VAE the posterior's means."""
        return self._asked(X, lambda x: self.recalled.encode(x).flatten(1))

    def inverse_transform(self, X: Any) -> Array:  # noqa: N803
        """Rows of codes (n, latent_dim), in the units and the form of the X that it was fitted to."""
        return self._as_given(self.recalled.decode(X))


class Sampling(Estimator):
    """Of models with a P(z)."""

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """New rows, in the units and the form of the X that it was fitted to."""
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self._as_given(self.recalled.sample(n_samples, seed))


def _made(recipe: str, name: str) -> type[Estimator]:
    """The estimator of a recipe: its flags are the parameters, and its model's verbs the methods."""
    function = RECIPES[recipe]
    verbs = FAMILIES[type(function().model)].verbs()
    bases = [mixin for mixin, verb in ((Encoding, "encode"), (Sampling, "sample")) if verb in verbs]
    own = {flag: item.default for flag, item in parameters(function).items() if flag != "paper"}
    values = {RENAMED.get(flag, flag): default for flag, default in own.items()} | SHARED
    words = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in values.items()]

    def __init__(self: Any, **values: Any) -> None:  # noqa: N807
        Estimator.__init__(self, **values)

    selfless = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = inspect.Signature([selfless, *words])  # type: ignore[attr-defined]
    about = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    body = {
        "__init__": __init__,
        "__doc__": f"{about}\n{SAID.format(recipe=recipe)}",
        "__module__": __name__,
        "recipe": recipe,
        "flags": tuple(own),
    }
    return type(name, tuple(bases), body)


# What can be fitted without labels.
NAMES = {
    "autoencoder": "Autoencoder",
    "denoising-autoencoder": "DenoisingAutoencoder",
    "vae": "VAE",
    "iwae": "IWAE",
    "vampprior": "VampPrior",
    "vae-gan": "VAEGAN",
    "vq-vae": "VQVAE",
    "gan": "GAN",
    "dcgan": "DCGAN",
    "wgan": "WGAN",
}
__all__ = [*NAMES.values(), "load"]
globals().update({name: _made(recipe, name) for recipe, name in NAMES.items()})


def load(folder: str | Path) -> Estimator:
    """The estimator that `save` wrote into a folder; nothing in it is unpickled.

    Raises:
        UserError: no estimator there, or one that does not fit its files.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        raise UserError(f"no estimator in {folder}: it has no {FILE}. ganvas.load reads models.")
    facts = read_json(file)
    names = {"estimator", "params", "form", "n_features_in"}
    if not isinstance(facts, dict) or names - facts.keys() or facts["estimator"] not in NAMES.values():
        raise UserError(f"{file} is no estimator's: it needs {', '.join(sorted(names))}.")
    made: Estimator = globals()[facts["estimator"]](**facts["params"])
    made.model_ = load_model(folder)
    made._form = tuple(facts["form"])
    made.n_features_in_ = facts["n_features_in"]
    if "encode" in made.model_.verbs():
        made._n_features_out = made.model_.latent_dim
    return made
