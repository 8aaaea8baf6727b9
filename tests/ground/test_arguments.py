"""Every public call, walked with a table of wrong values for each kind of parameter."""

import copy
import inspect
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pytest
import torch
from pydantic import Field
from typing_extensions import TypeAliasType

import ganvas
from ganvas import evaluate, export, recipes
from ganvas.data import Dataset, Split
from ganvas.ground.arguments import checked, shown
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, Fraction, Positive, Seed, build
from ganvas.latent import explore
from ganvas.models import Model, fitted
from ganvas.models.base import FAMILIES, VERBS
from ganvas.recipes import Facts
from ganvas.training.train import train

SHAPE = (1, 8, 8)
LISTS = [[], [3], (1, 2), {}, {"n": 1}, {3}, np.arange(3), np.ones((2, 2)), torch.arange(3), range(3)]
NO_NUMBERS = ["", "64", "x", b"64", object(), lambda: 3, type, 3j, np.bool_(True), True, ..., *LISTS]
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400]
NO_WHOLE = [*NO_NUMBERS, *NOT_FINITE[:4], 1.5, 2.0, np.float64(3), torch.tensor(1.5), torch.tensor(True)]
NO_PATHS = ["", "a\0b", "x" * 300, "/".join(["x" * 200] * 30), 5, 1.5, [], {}, object()]
NO_FLAGS = ["", "yes", 0, 1, 2.5, [], {}, object()]
# What parameters of these names can't be, whatever the function.
WRONG: dict[str, list[Any]] = {
    "n k num_samples components columns images classes cells": [*NO_WHOLE, 0, -1],
    "epochs batch_size patience snapshots limit world": [*NO_WHOLE, 0, -1, -(2**70)],
    "steps": [*NO_WHOLE, 1, 0, -5],
    "seed": [*NO_WHOLE, -1, 2**63, 2**70],
    "channels": [*NO_WHOLE, 0, 2, 5, -1],
    "size": [*NO_NUMBERS[:-10], [], [3], (1, 2, 3), {}, 0, -8, 4097, (8, 0), (8, 1.5), ("8", 8), 8.0, math.nan],
    "range": [*NO_NUMBERS[:-10], [3], (1, 2, 3), {}, 5, (1, 1), (2, 1), (0, math.nan), (0, math.inf), ("a", "b")],
    "noise": [*NO_NUMBERS, *NOT_FINITE, -0.1],
    "proposal": ["", "prior", 5, [], {}, object(), True],
    "lr minutes decay peak std": [*NO_NUMBERS, *NOT_FINITE, 0, -1e-9],
    "strict progress binarise stream": NO_FLAGS,
    "track": ["x", 5, 1.5, object(), [3], True],
    "device": ["x", "", "cpu:banana", "cuda:99", "meta", "gpu", 5, -1, 2.5, [], {}, object()],
    "kind": ["", "spheric", 5, [], {}, object(), True, b"linear"],
    "model dataset split known": ["x", 5, 1.5, [], object(), np.ones(3), Path("x"), True],
    "features report classify predict": ["x", 5, [], {}, object(), np.ones(3)],
    "recipe": ["", "vea", 5, [], {}, object(), True, b"vae"],
    "schedule precision": ["", "x", 5, [], {}, object(), True],
    "out path folder init": NO_PATHS,
    "source data": [value for value in NO_PATHS if isinstance(value, str)],
}
WRONG = {name: values for names, values in WRONG.items() for name in names.split()}
BAD_ARRAYS: dict[str, Any] = {
    "text": "x",
    "texts": np.array(["a", "b"]),
    "objects": np.array([object(), None]),
    "numbers as objects": np.ones((2, 3), object),
    "ragged": [[1, 2], [3]],
    "None": None,
    "complex": np.ones((2, 3)) * 1j,
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
    "spans": np.array([1], "timedelta64[s]"),
    "fields": np.zeros(3, [("a", "f4"), ("b", "i4")]),
    "bytes": np.array([b"ab"]),
    "void": np.zeros(3, "V4"),
    "long doubles": np.ones((2, 3), np.longdouble),
    "object": object(),
    "a function": lambda: 3,
    "a set": {1, 2},
    "a dict": {"a": 1},
    "sparse": torch.eye(3).to_sparse(),
    "complex tensor": torch.ones(2, 3, dtype=torch.complex64),
    "meta": torch.ones(2, 3, device="meta"),
    "a scalar": 3.5,
    "nothing": np.empty((0, 3)),
    "too many axes": np.ones((1, 2, 3, 4, 5, 6)),
    "another width": np.ones((2, 17)),
    "NaN": np.full((2, 3), np.nan),
    "infinite": np.full((2, *SHAPE), np.inf, np.float32),
}


def models() -> dict[str, Model]:
    """Every recipe's model, untrained."""
    found = {}
    for name, recipe in recipes.RECIPES.items():
        given = {"facts": Facts(SHAPE, 200)} if "facts" in inspect.signature(recipe).parameters else {}
        config = build(recipe, given).model
        torch.manual_seed(0)
        try:
            found[name] = FAMILIES[type(config)](config, SHAPE).eval()
        except UserError:
            found[name] = FAMILIES[type(config)](config, (1, 32, 32)).eval()
    return found


MODELS = models()
VAE = MODELS["vae"]
D = VAE.config.latent_dim
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype=np.uint8)
SPLIT = Split(IMAGES, np.arange(30) % 3)
SET = Dataset(
    "made up", "", dict.fromkeys(("train", "validation", "test"), SPLIT), SHAPE, ("a", "b", "c"), None, "", (), ""
)
CODES, ROWS, TARGETS = np.zeros((3, D)), np.random.default_rng(1).random((30, 4)), np.arange(30) % 3

# Public calls, each with arguments that it would take.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "train": (ganvas.train, {"recipe": "vae", "data": "digits"}),
    "load": (ganvas.load, {"folder": "somewhere"}),
    "models.load": (ganvas.models.load, {"folder": "somewhere"}),
    "resume": (ganvas.resume, {"path": "somewhere"}),
    "show": (ganvas.show, {"images": IMAGES}),
    "data.load": (ganvas.data.load, {"source": "digits"}),
    "data.describe": (ganvas.data.describe, {"dataset": SET}),
    "fit_prior": (fitted.fit_prior, {"model": VAE, "images": IMAGES}),
    "draw_codes": (fitted.draw_codes, {"model": VAE, "images": IMAGES}),
    "explore.prior": (explore.prior, {"model": VAE}),
    "explore.sample_codes": (explore.sample_codes, {"model": VAE, "n": 3}),
    "explore.as_codes": (explore.as_codes, {"model": VAE, "points": CODES}),
    "explore.manifold": (explore.manifold, {"model": VAE, "points": CODES}),
    "explore.path": (explore.path, {"a": CODES, "b": CODES, "steps": 3}),
    "explore.interpolate": (explore.interpolate, {"model": VAE, "a": CODES, "b": CODES}),
    "explore.arithmetic": (explore.arithmetic, {"model": VAE, "a": CODES, "b": CODES, "c": CODES}),
    "explore.pixel_arithmetic": (explore.pixel_arithmetic, dict.fromkeys("abc", torch.zeros(2, *SHAPE))),
    "explore.direction": (explore.direction, {"codes": CODES, "labels": [0, 1, 1], "low": 0, "high": 1}),
    "explore.turn": (explore.turn, {"model": VAE, "points": CODES, "along": CODES[0]}),
    "explore.neighbours": (explore.neighbours, {"images": torch.zeros(2, *SHAPE), "split": SPLIT}),
    "explore.attributes": (explore.attributes, {"dataset": SET}),
    "explore.labelled": (explore.labelled, {"model": VAE, "split": SPLIT}),
    "explore.judged": (explore.judged, {"model": VAE, "classify": lambda x: x.flatten(1).argmax(1), "n": 5}),
    "precision_recall": (evaluate.precision_recall, {"real": ROWS, "fake": ROWS}),
    "density_coverage": (evaluate.density_coverage, {"real": ROWS, "fake": ROWS}),
    "frechet_distance": (evaluate.frechet_distance, {"real": ROWS, "fake": ROWS}),
    "kernel_distance": (evaluate.kernel_distance, {"real": ROWS, "fake": ROWS}),
    "two_sample_test": (evaluate.two_sample_test, {"real": ROWS, "fake": ROWS}),
    "captured_modes": (evaluate.captured_modes, {"points": ROWS, "centres": ROWS, "std": 1.0}),
    "captured_classes": (evaluate.captured_classes, {"labels": TARGETS, "classes": 3}),
    "stacked_labels": (evaluate.stacked_labels, {"predict": len, "images": torch.zeros(2, 3, 28, 28)}),
    "psnr": (evaluate.psnr, {"x": ROWS, "y": ROWS}),
    "sharpness": (evaluate.sharpness, {"images": np.ones((2, *SHAPE))}),
    "linear_probe": (evaluate.linear_probe, {"train": ROWS, "labels": TARGETS, "test": ROWS}),
    "k_nearest": (evaluate.k_nearest, {"train": ROWS, "labels": TARGETS, "test": ROWS}),
    "average": (evaluate.average, {"model": VAE, "split": SPLIT, "seed": 0}),
    "auroc": (evaluate.auroc, {"strange": np.arange(3.0), "normal": np.arange(3.0)}),
    "score": (evaluate.score, {"model": VAE, "images": torch.zeros(2, *VAE.shape), "normal": SPLIT}),
    "write_codes": (evaluate.write_codes, {"path": "codes.npz", "model": VAE, "dataset": SET}),
    "train_classifier": (evaluate.train_classifier, {"dataset": SET}),
    "write_onnx": (export.write_onnx, {"model": VAE, "out": "onnx"}),
}
for _name, _model in MODELS.items():
    _codes = np.zeros((2, getattr(_model.config, "latent_dim", 1)))
    _own = {"sample": {"n": 2}, "decode": {"codes": _codes}}
    for _verb in VERBS:
        if hasattr(type(_model), _verb):
            _given = _own.get(_verb, {"images": torch.zeros(1, *_model.shape)})
            _given |= {"mask": np.eye(*_model.shape[-2:])} if _verb == "complete" else {}
            CALLS[f"{_name}.{_verb}"] = getattr(_model, _verb), _given
ARRAYS = {*"abcxy", "images", "mask", "codes", "points", "along", "real", "fake", "centres", "labels", "train", "test"}


def refused(ask: Callable[[], Any], *says: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        ask()
    assert time.monotonic() - began < 1
    message = str(caught.value)
    assert message.endswith(".") and ".." not in message.replace("...", "") and "\n" not in message, message
    for part in says:
        assert part in message, f"{part!r} is not in {message!r}"


@pytest.fixture(autouse=True)
def nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CALLS)
def test_what_a_parameter_can_t_be_is_refused_by_its_name(name: str) -> None:
    function, given = CALLS[name]
    for parameter in inspect.signature(function).parameters:
        scalar = parameter not in given or not isinstance(given[parameter], np.ndarray | torch.Tensor | list)
        for value in WRONG.get(parameter, []) if scalar else []:
            if name == "resume" and type(value) is int:
                continue  # whether it is enough is known when the run is
            refused(lambda: function(**{**given, parameter: value}), parameter, shown(value).strip("'")[:20])  # noqa: B023


@pytest.mark.parametrize("name", CALLS)
def test_arrays_that_are_none_are_refused(name: str) -> None:
    function, given = CALLS[name]
    for parameter in given:
        for what, value in BAD_ARRAYS.items() if parameter in ARRAYS else ():
            if (name, what) in (("show", "another width"), ("explore.manifold", "None")):
                continue  # a grey picture; no points are what a manifold has by default
            began = time.monotonic()
            with pytest.raises(UserError):
                function(**{**given, parameter: value})
                pytest.fail(f"{name} takes {parameter} that is {what}")
            assert time.monotonic() - began < 1


def test_a_folder_that_can_t_be_made_is_refused_before_any_data_is_read(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("place") / "file"
    file.write_text("")
    for out in ("/etc/passwd", "/dev/null/run", file, file / "run", str(file)):
        refused(lambda: train("vae", data="no such data", out=out), "out: ", "is no folder")  # noqa: B023
    if os.geteuid():
        refused(lambda: train("vae", data="no such data", out="/run-of-nobody"), "out: ", "can't be written into")


def test_what_would_not_fit_into_memory_is_refused_with_what_it_takes() -> None:
    for name in (name for name, model in MODELS.items() if hasattr(type(model), "sample")):
        refused(lambda: MODELS[name].sample(10**12), "1,000,000,000,000 images of 1 x", "TB of memory", "fewer")  # noqa: B023
    refused(lambda: explore.sample_codes(VAE, 10**13), f"codes of {D} numbers", "TB of memory", "take fewer")
    refused(lambda: explore.manifold(VAE, 10**7, CODES), "100,000,000,000,000 images", "take fewer")
    for steps in (10**9, 10**15):
        refused(lambda: explore.interpolate(VAE, CODES, CODES, steps), "of memory", "take fewer")  # noqa: B023
        refused(lambda: explore.turn(VAE, CODES, CODES[0], steps), "of memory", "take fewer")  # noqa: B023


def test_numbers_of_any_maker_are_numbers() -> None:
    for two in (2, np.int8(2), np.uint64(2), np.array(2), torch.tensor(2)):
        assert torch.equal(VAE.sample(two, seed=two), VAE.sample(2, seed=2))
    for half in (0.5, np.float32(0.5), np.float64(0.5)):
        ways = [explore.arithmetic(VAE, *CODES[:3, None], noise=noise) for noise in (half, 0.5)]
        assert torch.equal(*ways)
    z = torch.zeros(2, D, dtype=torch.float64)
    for codes in (z, z.numpy(), z.tolist(), z.numpy().astype(">f4"), z.half(), z.to(torch.bfloat16), z.int(), z.bool()):
        assert torch.equal(VAE.decode(codes), VAE.decode(z))
    assert torch.equal(VAE.decode(z[0]), VAE.decode(z[:1]))


# ---- the door itself ----


@checked
def asked(
    n: Count,
    seed: Seed = -1,
    *,
    share: Fraction = 7.0,
    rate: Positive | None = None,
    word: Literal["a", "b"] = "a",
    sides: int | tuple[int, int] = 0,
    names: Sequence[str] = (),
    table: Mapping[str, int] | None = None,
    folder: str | os.PathLike[str] = "",
    at_most: Annotated[int, Field(le=5)] = 9,
    **rest: Any,
) -> dict[str, Any]:
    return copy.copy(locals())


def test_what_is_taken_reaches_the_function_as_its_type() -> None:
    found = asked(
        np.int16(3), share=np.float32(0.5), sides=[np.int8(1), 2], names=["x"], folder=Path("a"), other=object
    )
    assert found["n"] == 3 and type(found["n"]) is int and type(found["share"]) is float
    assert found["sides"] == (1, 2) and found["rest"] == {"other": object} and found["folder"] == Path("a")
    assert found["seed"] == -1 and found["at_most"] == 9, "a default is never refused"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n": 0}, "n: 0 is refused: it takes a whole number of at least 1."),
        ({"n": "64"}, "n: '64' is refused: it takes a whole number of at least 1."),
        ({"seed": -1}, "seed: -1 is refused: it takes a whole number of at least 0 and below 2^63."),
        ({"share": 1}, "share: 1 is refused: it takes a number of at least 0 and below 1."),
        ({"rate": 0}, "rate: 0 is refused: it takes a number above 0."),
        ({"word": "c"}, "word: 'c' is refused: it takes 'a' or 'b'."),
        ({"sides": (1, 2, 3)}, "sides: (1, 2, 3) is refused: it takes a whole number or 2, each a whole number."),
        ({"names": 5}, "names: 5 is refused: it takes a list."),
        ({"table": [1]}, "table: [1] is refused: it takes a dict."),
        ({"folder": "a\0b"}, "is refused: it takes text or a path: no file has such a name."),
        ({"at_most": 6}, "at_most: 6 is refused: it takes a whole number of at most 5."),
        ({"n": np.ones((2, 2))}, "n: a ndarray of float64 (2, 2) is refused"),
        ({"n": "x" * 99}, f"n: '{'x' * 55} ... is refused"),
    ],
)
def test_what_is_refused_is_said_with_the_value_and_the_remedy(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        asked(**{"n": 1, **given})
    assert says in str(caught.value)


def test_a_type_that_a_type_statement_names_is_what_it_stands_for() -> None:
    """NumPy's NDArray is one from 2.5 on; Python has the statement from 3.12 on, and typing_extensions before it."""
    item = TypeVar("item")
    rows = TypeAliasType("rows", np.ndarray[Any, item], type_params=(item,))
    again = TypeAliasType("again", rows[Any])

    def of_rows(x: Any, y: Any = None) -> None: ...

    of_rows.__annotations__ = {"x": rows[Any], "y": again | None}
    door = checked(of_rows)
    door(np.ones(3), y=np.ones(2))
    for given in ({"x": 5}, {"x": np.ones(3), "y": 5}):
        with pytest.raises(UserError, match=r"[xy]: 5 is refused: it takes an array"):
            door(**given)


def test_missing_and_unknown_arguments_are_python_s() -> None:
    with pytest.raises(TypeError, match=r"asked\(\) missing 1 required positional argument: 'n'"):
        asked()
    with pytest.raises(TypeError, match="path"):
        explore.path(1, 2, 3, 4, 5)


def test_the_door_looks_like_the_function() -> None:
    assert inspect.signature(asked).parameters.keys() == inspect.signature(asked.__wrapped__).parameters.keys()
    assert checked(asked) is asked and ganvas.train is train and ganvas.load is ganvas.load
