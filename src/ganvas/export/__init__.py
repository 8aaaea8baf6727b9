"""A trained model without ganvas and PyTorch: as ONNX files, and as the studio's Explore page.

Each ONNX file is one function of a model, with a batch of any size. It is checked by onnxruntime against the model
before it is kept, and says in its metadata what goes in and what comes out.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import logging
import math
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.data import Dataset
from ganvas.data.loader import to_tensor
from ganvas.ground import plots
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.files import write_text
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import dump
from ganvas.latent import atlas
from ganvas.models import Model
from ganvas.models.base import Encoder, Latent, LatentVariable
from ganvas.models.conditions import Attribute
from ganvas.parts.nets.layers import Maxout, VirtualNorm, WithReference
from ganvas.parts.priors import ToldMixture
from ganvas.parts.techniques import replace_modules
from ganvas.version import __version__

log = logging.getLogger("ganvas")
OPSET = 18
TOLERANCE = 1e-4  # of images; of what is not in [0, 1], a share of the largest value
BATCHES = (1, 2, 7)
PAGE = ("encoder", "decoder", "prior", "denoiser")  # the functions that the page needs
INPUTS = ("images", "codes", "noise", "guidance")  # that a file has beside labels
LARGEST = 32 * 2**20  # bytes of ONNX in a page that is one file
BUILT = Path(__file__).parents[1] / "studio" / "page" / "exported"
ALWAYS = {"decoder.onnx", "denoiser.onnx"}  # one of them is in every export
# What a folder of an export may hold beside *.onnx.
OWN = {"index.html", "assets", "onnxruntime-license.txt", "example.py", "space.json", "atlas.json", "atlas.png"}


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        name: of the file.
        size: bytes.
        difference: the largest one between onnxruntime's and PyTorch's results; None where there is nothing to check.
    """

    name: str
    size: int
    difference: float | None = None


@dataclass(frozen=True)
class Part:
    """One function of a model, float32 in, float32 out.

    Attributes:
        name: of the file.
        model: whose parameters the function uses.
        function: of a batch of any size, with torch operations that can be traced; and of what the model is told.
        inputs: (name, what it is) of each: the batch, labels that the model is told, and guidance.
        output: likewise.
        rows: values to check it with, of each input: so many as the largest of BATCHES, or a scalar.
        answer: to them, of the model itself.
    """

    name: str
    model: Model
    function: Callable[..., Tensor]
    inputs: tuple[tuple[str, str], ...]
    output: tuple[str, str]
    rows: tuple[Tensor, ...]
    answer: Tensor


@checked
def write_onnx(
    model: Model, out: Path, facts: Mapping[str, str] | None = None, dataset: Dataset | None = None
) -> list[Written]:
    """Write what the model can do as ONNX files, and an example that runs them.

    encoder.onnx, decoder.onnx, sampler.onnx, denoiser.onnx and classifier.onnx, those that the model has.

    Args:
        model: any.
        out: the folder; it is made, or replaced where it holds an earlier export and nothing else.
        facts: {"run", "recipe", "data"} for the metadata, those that are known.
        dataset: whose test images the files are checked with; without it, with random numbers.

    Raises:
        UserError: the packages are missing, the folder holds something else, or a file gives other results than the
            model; then nothing is left behind.
    """
    require()
    with _aside(out) as folder:
        parts = _parts(model, dataset)
        written = [_write(model, part, folder, facts or {}) for part in parts if part.name != "prior"]
        shutil.copyfile(Path(__file__).with_name("example.py"), folder / "example.py")
        return [*written, Written("example.py", (folder / "example.py").stat().st_size)]


@checked
def write_page(
    model: Model, out: Path, facts: Mapping[str, str] | None = None, dataset: Dataset | None = None
) -> list[Written]:
    """Write the Explore page as a folder that any web server can serve: it asks for nothing outside of it.

    Args:
        model: of images.
        out: the folder, as for `write_onnx`.
        facts: {"run", "recipe", "data"}, those that are known.
        dataset: what it was trained on: the map is of its test images; without it, of samples where there are some.

    Raises:
        UserError: as for `write_onnx`; the page is not built.
    """
    require()
    built()
    with _aside(out) as folder:
        shutil.copytree(BUILT, folder, dirs_exist_ok=True)
        (folder / "exported.html").rename(folder / "index.html")
        written = _write_contents(model, folder, facts or {}, dataset)
        page = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - sum(f.size for f in written)
        return [*written, Written("index.html and assets", page)]


@checked
def write_file(
    model: Model, out: Path, facts: Mapping[str, str] | None = None, dataset: Dataset | None = None
) -> list[Written]:
    """Write the Explore page as one HTML file, which a browser opens from a disk too; as `write_page` otherwise.

    Raises:
        UserError: as for `write_page`; a model above 32 MiB, or a name that is no page's.
    """
    if out.suffix != ".html" or out.is_dir():
        raise UserError(f"--out {out}: a page that is one file has a name that ends in .html.")
    require()
    built()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written = _write_contents(model, folder, facts or {}, dataset)
        if (size := sum(file.size for file in written)) > LARGEST:
            raise UserError(f"{size / 2**20:.0f} MiB are too much for one file: leave --one-file out.")
        write_text(out, _one_file([folder / file.name for file in written]))
    return [*written, Written(out.name, out.stat().st_size)]


def require() -> None:
    """Whether the packages that write and check ONNX files are there.

    Raises:
        UserError: they are not; says how to install them.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(f"an export needs {', '.join(missing)}: pip install 'ganvas[onnx]'")


def built() -> None:
    """Whether the page is there.

    Raises:
        UserError: it is not; says what builds it.
    """
    if not (BUILT / "exported.html").is_file():
        raise UserError("the page is not built: in a checkout run `make studio`; an installed ganvas holds it.")


# ---- the functions of a model ----


def _parts(model: Model, dataset: Dataset | None) -> Iterator[Part]:
    """Those that the model has, to be checked with test images, or with random numbers of their shape."""
    model = copy.deepcopy(model).cpu().eval()
    it, n = traceable(model), max(BATCHES)
    prior_given = getattr(it, "prior_given", None)
    if prior_given is not None:
        it.prior_given = None  # it is of all codes alike; `_from_noise` has one of each
    rows = Draw(0).uniform("export", (n, *model.shape))
    if dataset is not None:
        test = dataset.splits["test"].images
        rows = to_tensor(test[np.arange(n) % len(test)]).contiguous()
    shape = ", ".join(map(str, model.shape))
    images = f"float32 (N, {shape})" + (
        ", images in [0, 1]" if len(model.shape) == 3 else ", numbers in the data's units"
    )
    nothing, labels, all_ = Told(()), Told.of(model, n), Told.of(model, n, guided=True)

    def part(
        name: str,
        verb: Callable[[Any, Tensor], Tensor],
        traced: Callable[[Any, Tensor], Tensor],
        given: tuple[str, str],
        made: tuple[str, str],
        batch: Tensor,
        told: Told,
    ) -> Part:
        def function(x: Tensor, *said: Tensor) -> Tensor:
            return traced(told.tell(it, said), x)

        answer = verb(told.tell(model, told.rows), batch)
        return Part(name, it, function, (given, *told.inputs), made, (batch, *told.rows), answer)

    seen = ("images", images)
    if hasattr(model, "denoise"):
        made = ("denoised", images)
        yield part("denoiser", lambda m, x: m.denoise(x), lambda m, x: m.denoised(x), seen, made, rows, labels)
    if hasattr(model, "classify"):
        made = ("log_probabilities", f"float32 (N, {model.config.classes}), log p(class given the image), nats")
        yield part("classifier", lambda m, x: m.classify(x), lambda m, x: m.classified(x), seen, made, rows, labels)
    if not isinstance(model, Latent):
        return
    d = model.latent_dim
    codes = ("codes", f"float32 (N, {d})")
    z: Tensor | None = None
    if isinstance(model, Encoder):
        made = ("codes", ", ".join(filter(None, [codes[1], model.codes_are])))
        encoder = part(
            "encoder", lambda m, x: m.encode(x).flatten(1), lambda m, x: m.encoded(x), seen, made, rows, labels
        )
        z = encoder.answer
        yield encoder
    if isinstance(model, LatentVariable) and model.prior.discrete:
        log.warning("sampler.onnx is left out: tokens are drawn one after the other, by `ganvas sample` alone.")
    elif isinstance(model, LatentVariable):
        k, to_code = _from_noise(it, prior_given)
        given = ("noise", f"float32 (N, {k}), numbers drawn from N(0, 1)")
        noise = Draw(0).normal("prior", (n, k))
        prior = part("prior", to_code, to_code, given, codes, noise, nothing if prior_given is None else labels)
        z = prior.answer if z is None else z
        yield prior

        def sampled(model: Latent, noise: Tensor) -> Tensor:
            return model.decode(to_code(model, noise))

        def traced(model: Latent, noise: Tensor) -> Tensor:
            return model.decoded(to_code(model, noise))

        yield part("sampler", sampled, traced, given, seen, noise, all_)
    if z is None:
        z = Draw(0).normal("codes", (n, d))
    yield part("decoder", lambda m, x: m.decode(x), lambda m, x: m.decoded(x), codes, seen, z, all_)


@dataclass(frozen=True)
class Told:
    """What a function is told beside its batch, as inputs.

    Attributes:
        condition: the model's; () where the function is told nothing.
        inputs: as a `Part` has them: of each attribute, and of guidance.
        rows: likewise.
    """

    condition: tuple[Attribute, ...]
    inputs: tuple[tuple[str, str], ...] = ()
    rows: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, model: Model, n: int, guided: bool = False) -> Told:
        """What a model can be told, and n values of each; of some of them it is told nothing.

        Args:
            model: of any family.
            n: how many.
            guided: whether guidance is told, of a family that guides.
        """
        inputs, rows = [], []
        condition: tuple[Attribute, ...] = getattr(model.config, "condition", ())
        for it in condition:
            places = (torch.arange(n) + 1) % (len(it.values) + 1) - 1  # -1 is the last one: nothing
            if it.number:
                low, high = it.range
                what = f"float32 (N,), a number, in the training {low:g} to {high:g}; NaN: not told"
                rows.append(torch.tensor([*map(float, it.values), math.nan])[places])
            else:
                names = ", ".join(f"{place} {value}" for place, value in enumerate(it.values))
                what = f"int64 (N,), -1: not told; {names}"
                rows.append(places)
            inputs.append((f"label {it.name}" if it.name in INPUTS else it.name, what))
        if guided and condition and getattr(model, "guides", False):
            inputs.append(("guidance", "float32, one number: above 1 images show more of what is told, 1 is without"))
            rows.append(torch.tensor(1.5))
        return cls(condition, tuple(inputs), tuple(rows))

    def tell(self, model: Any, values: Sequence[Tensor]) -> Any:
        """The model that is told the values of its inputs."""
        if not self.condition:
            return model
        found = model.being_told(torch.cat([it.rows(x) for it, x in zip(self.condition, values, strict=False)], 1))
        if len(values) > len(self.condition):
            found.guidance = values[-1]
        return found


def _from_noise(model: Any, given: ToldMixture | None) -> tuple[int, Callable[[Any, Tensor], Tensor]]:
    """How many numbers from N(0, 1) a code takes, k, and what makes codes of them (N, k), of the model as it is told.

    Args:
        model: with a P(z), that is told nothing.
        given: P(z given what is told), where that is another one.
    """
    k, plain = model.prior.held().from_noise(model.latent_dim)
    if given is None:
        return k, lambda told, noise: plain(noise)

    def drawn(told: Any, noise: Tensor) -> Tensor:
        _, to_code = given.of(told.told).from_noise(model.latent_dim)  # each code has weights of its own
        return torch.where((told.told != 0).any(1, keepdim=True), to_code(noise), plain(noise))

    return k, drawn


def traceable(model: Model) -> Model:
    """A copy that gives the same, and in which nothing depends on the size of the batch.

    torch's exporter takes the length of a tensor as a fixed number. And a reference batch of virtual batch norm, which
    would be computed again with every batch, is there as what it leaves in each layer.
    """
    model = copy.deepcopy(model)
    replace_modules(model, WithReference, _without_reference)
    replace_modules(model, Maxout, lambda layer: _Maxout(layer.pieces))
    return model


class _Maxout(nn.Module):
    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 1, (-1, self.pieces)).amax(-1)


def _without_reference(net: WithReference) -> nn.Module:
    seen: dict[nn.Module, Tensor] = {}
    norms = [module for module in net.modules() if isinstance(module, VirtualNorm)]
    hooks = [
        norm.register_forward_pre_hook(lambda norm, given: seen.update({norm: given[0].clone()})) for norm in norms
    ]
    with torch.no_grad():
        net.net(net.reference)
    for hook in hooks:
        hook.remove()
    replace_modules(net, VirtualNorm, lambda norm: _ReferredNorm(norm, seen[norm]))
    inner: nn.Module = net.net
    return inner


class _ReferredNorm(nn.Module):
    """`VirtualNorm` after a known reference (size, C, ...): a function of each example alone."""

    def __init__(self, norm: VirtualNorm, reference: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.own = norm.weight, norm.bias, norm.eps, 1 / (norm.size + 1)
        over = (0, *range(2, reference.dim()))
        self.center = reference.mean(over, keepdim=True)
        self.square = (reference - self.center).square().mean(over)

    def forward(self, x: Tensor) -> Tensor:
        values = x - self.center
        over = tuple(range(2, x.dim()))
        mean, square = (v.mean(over) if over else v for v in (values, values * values))  # (N, C)
        mean = self.own * mean  # that of the reference is 0
        variance = self.own * square + (1 - self.own) * self.square - mean * mean
        scale = self.weight * torch.rsqrt(variance.clamp(min=0) + self.eps)
        shift = self.bias - mean * scale
        return values * scale.reshape(*scale.shape, *[1] * len(over)) + shift.reshape(*shift.shape, *[1] * len(over))


# ---- one file ----


class _Graph(nn.Module):
    """A function of a model as a module, whose parameters are the model's."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of itself: old names within torch, and packages that no model here needs."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
            warnings.filterwarnings("ignore", r".*The axis name: N", UserWarning)  # several inputs have that one size
            yield
    finally:
        log.setLevel(level)


def _first(rows: Sequence[Tensor], n: int) -> tuple[Tensor, ...]:
    """n of the rows of each input; a scalar is of all."""
    return tuple(each[:n] if each.dim() else each for each in rows)


def _write(model: Model, part: Part, folder: Path, facts: Mapping[str, str]) -> Written:
    """One part as a file, checked."""
    n = torch.export.Dim("N")
    try:
        with _quiet():
            program = torch.onnx.export(
                _Graph(part.model, part.function).eval(),
                _first(part.rows, 2),
                dynamo=True,
                input_names=[name for name, _ in part.inputs],
                output_names=[part.output[0]],
                dynamic_shapes=(tuple({0: n} if rows.dim() else {} for rows in part.rows),),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        why: BaseException = error
        while why.__cause__:
            why = why.__cause__
        raise UserError(f"the {part.name} can't be written as ONNX: {str(why).splitlines()[0]:.200}") from error
    assert program is not None
    whole = program.model
    items: list[Any] = [*whole.graph.all_nodes(), *whole.graph.inputs, *whole.graph.outputs]
    for item in items:
        item.metadata_props.clear()  # stack traces, with this machine's paths
        item.doc_string = None
    whole.metadata_props.update(
        {
            "ganvas": __version__,
            **facts,
            "model": json.dumps(dump(model.config)),
            "shape": json.dumps(model.shape),
            "range": json.dumps(model.range),
            **({"latent_dim": str(model.latent_dim)} if isinstance(model, Latent) else {}),
            **{f"input {name}": what for name, what in part.inputs},
            f"output {part.output[0]}": part.output[1],
        }
    )
    path = folder / f"{part.name}.onnx"
    program.save(path)
    return Written(path.name, path.stat().st_size, _check(part, path))


def _check(part: Part, path: Path) -> float:
    """The largest difference between onnxruntime's results and the model's, over batches of several sizes.

    Raises:
        UserError: it is above the tolerance, or the results are not finite.
    """
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [name for name, _ in part.inputs]
    asked = [{name: rows.numpy() for name, rows in zip(names, _first(part.rows, n), strict=True)} for n in BATCHES]
    found = [session.run(None, values)[0] for values in asked]
    answers = [part.answer[:n].numpy() for n in BATCHES]
    worst = float(np.max([np.abs(a - b).max() for a, b in zip(found, answers, strict=True)]))
    scale = max(1.0, float(part.answer.abs().max()))
    if not worst <= TOLERANCE * scale:  # NaN is not either
        raise UserError(
            f"{path.name} differs from the model by {worst:.3g}, more than {TOLERANCE * scale:.3g}: nothing was "
            "written. If the model's own results are finite, this is a fault of the exporter: please report it."
        )
    return worst


# ---- the page ----


def _write_contents(model: Model, folder: Path, facts: Mapping[str, str], dataset: Dataset | None) -> list[Written]:
    """What the page reads: ONNX files, space.json, atlas.json (null without a map) and atlas.png."""
    if not isinstance(model, Latent):
        raise UserError(
            "the page explores codes, and this model has none: `ganvas export RUN --onnx` writes its files."
        )
    parts = _parts(model, dataset)
    written = [_write(model, part, folder, facts) for part in parts if part.name in PAGE]
    run, recipe, data = (facts.get(key, "") for key in ("run", "recipe", "data"))
    space = atlas.space(model, dataset, id=run, name=run, recipe=recipe, data=data)
    space["range"] = model.range  # the page says where a browser's 8 bits are fewer
    if hasattr(model, "denoise"):
        space["noise"] = model.config.noise  # the page puts it on, where the studio's server would
    try:
        chart = atlas.chart(model, dataset)
    except UserError:
        chart = None
    if chart is not None:
        plots.save(chart.thumbnails, folder / "atlas.png")
    write_text(folder / "space.json", json.dumps(space))
    write_text(folder / "atlas.json", json.dumps(chart and chart.atlas))
    made = [folder / name for name in ("space.json", "atlas.json", "atlas.png") if (folder / name).is_file()]
    return [*written, *(Written(path.name, path.stat().st_size) for path in made)]


def _one_file(contents: Sequence[Path]) -> str:
    """The built page with its script, its style, the runtime and these files inside."""

    def inline(found: re.Match[str]) -> str:
        file = BUILT / found[1]
        if file.suffix == ".js":
            # In a script "<!--" and "</script" would be markup; in JavaScript's strings "\\x3c" is "<".
            code = re.sub(r"<(?=!--|/?script)", r"\\x3c", file.read_text(encoding="utf-8"), flags=re.I)
            return f'<script type="module">{code}</script>'
        if file.suffix == ".css":
            return f"<style>{file.read_text(encoding='utf-8')}</style>"
        return f'<link rel="icon" href="{_address("image/svg+xml", file.read_bytes())}">'

    page = (BUILT / "exported.html").read_text(encoding="utf-8")
    page = re.sub(r'<(?:script|link)\b[^>]*?(?:src|href)="\./(assets/[^"]+)"[^>]*>(?:</script>)?', inline, page)
    (runtime,) = BUILT.glob("assets/*.wasm")
    data = "".join(
        f'<script type="text/plain" data-file="{name}">{_data(path)}</script>\n'
        for name, path in (("runtime.wasm", runtime), *((path.name, path) for path in contents))
    )
    return page.replace("</body>", data + "</body>")


def _data(path: Path) -> str:
    """A file as an address that holds it: a picture as it is, others compressed, which the page undoes."""
    if path.suffix == ".png":
        return _address("image/png", path.read_bytes())
    return _address("application/gzip", gzip.compress(path.read_bytes(), mtime=0))


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# ---- a folder that is whole or not there ----


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `out` at the end, or is gone after an error.

    Raises:
        UserError: `out` is something else than an earlier export.
    """
    out = Path.cwd() / out
    if out.exists() and not _replaceable(out):
        raise UserError(f"{out} holds something else than an export: say with --out where it may go.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside, old = (out.with_name(f".{out.name}.{os.getpid()}.{what}") for what in ("part", "old"))
    aside.mkdir()
    try:
        yield aside
        if out.exists():
            out.rename(old)
        aside.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replaceable(out: Path) -> bool:
    """Whether it is an empty folder, or one that an export has made."""
    if not out.is_dir():
        return False
    names = {path.name for path in out.iterdir()}
    return not names or (bool(names & ALWAYS) and all(name in OWN or name.endswith(".onnx") for name in names))
