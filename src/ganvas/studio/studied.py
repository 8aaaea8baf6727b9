"""The models that the page asks, held in memory; and what it asks of each but once.

Nothing here waits on the event loop: models are loaded, and spaces and atlases computed, by threads. torch is imported
by the first of them, so that the page itself need not wait for it.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from starlette.applications import Starlette

from ganvas.ground.errors import UserError
from ganvas.studio import safety
from ganvas.studio.decoder import THREADS, Decoder
from ganvas.studio.workers import Workers
from ganvas.training import stored

if TYPE_CHECKING:
    from ganvas.data import Dataset
    from ganvas.latent.atlas import Chart, Encoded
    from ganvas.models import Model
    from ganvas.training.run import Run

MODELS, BYTES = 8, 2**31  # that are held at most
WORKERS = 4  # that load, and as many that compute: what is slow to compute keeps no model from being loaded
LOADING, ASKING = 30.0, 300.0  # seconds after which they are given up
LOST = 8  # threads that are given up, with which no more is tried
TOLD, LONGEST = 64, 2**14  # ways in which a model is told labels that are remembered; characters of one
FRESH = 1.0  # seconds for which a model's file is not looked at again
# A team of threads on all cores waits for whoever has one of them: beside a training 200 ms where one thread takes 4.

T = TypeVar("T")
_places: set[str] = set()  # of copies
Identity = tuple[Path, int, int]  # a file, its time in nanoseconds, its size


class CannotError(UserError):
    """A question that this run's model has no answer to."""

    code = 409


class Shelf(Protocol):
    """What is asked of `ganvas.studio.shelf.Shelf`."""

    def find(self, run: str, /) -> Path:
        """The folder of a run."""


@dataclass
class Held:
    """A model in memory.

    Attributes:
        id: of the run.
        name: of its folder.
        model: quicker than the one in the file, see `ganvas.studio.quick`.
        dataset: what it was trained on, if the cache has it.
        decoder: its decoding thread.
        recipe: its recipe's name.
        data: its data set's name, or the path.
        told: the model as `told` gives it.
    """

    id: str
    name: str
    model: Model
    dataset: Dataset | None
    decoder: Decoder
    recipe: str
    data: str
    told: Callable[[str, str], Model] = field(init=False)
    _answers: dict[str, Future[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # The same object for the same words: what is asked of one object is decoded as one batch.
        self.told = lru_cache(TOLD)(partial(told, self.model))

    def space(self) -> bytes:
        """The answer of /api/space; computed once, as the next two are."""

        def make() -> bytes:
            from ganvas.latent import atlas

            made = atlas.space(
                self.model,
                self.dataset,
                seen=self._encoded(),
                id=self.id,
                name=self.name,
                recipe=self.recipe,
                data=self.data,
            )
            return _json(made)

        return self._once("space", make)

    def atlas(self) -> bytes:
        """The answer of /api/atlas."""
        return self._once("atlas", lambda: _json(self._chart().atlas))

    def thumbnails(self) -> bytes:
        """The answer of /api/atlas.png."""
        return self._once("thumbnails", lambda: png(self._chart().thumbnails))

    def _chart(self) -> Chart:
        def make() -> Chart:
            from ganvas.latent import atlas

            return atlas.chart(self.model, self.dataset, seen=self._encoded())

        return self._once("chart", make)

    def _encoded(self) -> Encoded | None:
        def make() -> Encoded | None:
            from ganvas.latent import atlas

            return atlas.encoded(self.model, self.dataset)

        return self._once("encoded", make)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made by the first who asks while the others wait; what it refuses, it refuses all."""
        with self._lock:
            first = name not in self._answers
            future: Future[T] = self._answers.setdefault(name, Future())
        if first:
            try:
                future.set_result(make())
            except UserError as error:
                future.set_exception(CannotError(str(error)))
            except BaseException as error:
                del self._answers[name]
                future.set_exception(error)
        return future.result()

    @property
    def bytes(self) -> int:
        """That it takes."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        answers = [future for future in list(self._answers.values()) if future.done() and not future.exception()]
        return sum(tensor.nbytes for tensor in tensors) + sum(_size(future.result()) for future in answers)


class Studied:
    """Models by their run, those that are in use the longest ago dropped first.

    A model is known by its file: when that changes, as the checkpoint of a training does, it is loaded again.

    Args:
        shelf: where the runs are.
        models: that are held at most.
        size: of all of them, in bytes; the last one is held whatever it takes.
    """

    def __init__(self, shelf: Shelf, models: int = MODELS, size: int = BYTES) -> None:
        self.shelf, self.models, self.size = shelf, models, size
        self._held: OrderedDict[str, tuple[Identity, Held]] = OrderedDict()
        self._looked: dict[str, float] = {}
        self._lock = threading.Lock()
        self._loading = Workers("loading", LOADING, WORKERS, LOST)
        self._asking = Workers("asking", ASKING, WORKERS, LOST)

    async def held(self, run: str) -> Held:
        """The model of a run.

        Raises:
            UserError: no such run, or one without a model as yet.
            SlowError: it takes too long.
        """
        known = self._held.get(run)
        # What is at hand and fresh needs no other thread: this is asked for each picture.
        if known and time.monotonic() - self._looked.get(run, 0.0) < FRESH:
            return known[1]
        return await self._loading.do(f"loading the model of {run}", lambda: self._look(run), of=run, once=True)

    async def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives, by a thread.

        Raises:
            SlowError: it takes too long.
        """
        return await self._asking.do("the answer", lambda: _calm(function, *arguments))

    def _look(self, run: str) -> Held:
        folder = self.shelf.find(run)
        identity = identify(folder)
        known = self._held.get(run)
        held = known[1] if known and known[0] == identity else _calm(load, run, folder)
        with self._lock:
            self._held[run] = identity, held
            self._held.move_to_end(run)
            self._looked[run] = time.monotonic()
        self._trim()
        return held

    def _trim(self) -> None:
        with self._lock:
            sizes = {run: held.bytes for run, (_, held) in self._held.items()}
            for run in list(sizes)[:-1]:
                if len(sizes) <= self.models and sum(sizes.values()) <= self.size:
                    return
                del self._held[run], self._looked[run], sizes[run]


def of(app: Starlette) -> Studied:
    """The models of an app, whose `state.shelf` finds the runs."""
    if not hasattr(app.state, "studied"):
        app.state.studied = Studied(app.state.shelf)
    found: Studied = app.state.studied
    return found


def identify(folder: Path) -> Identity:
    """The file of a run's model, see `ganvas.training.stored`.

    Raises:
        CannotError: there is none.
    """
    for file in stored.files(folder):
        try:
            facts = file.stat()
        except OSError:  # a training drops all but its two newest checkpoints
            continue
        return file, facts.st_mtime_ns, facts.st_size
    raise CannotError(f"{folder.name} has no model yet: its training writes one every half a minute. Try again then.")


def load(run: str, folder: Path) -> Held:
    """The model of a run.

    Its files are copied, and the copies loaded. safetensors holds Python's lock while it opens and reads a file: one
    that is a pipe, or on a disk that hangs, would stop all threads.

    Raises:
        CannotError: it is damaged, or does not fit its run.
        RefusedError: a file of it is a pipe or a device, or a link that leads out of the run.
    """
    from ganvas.studio.quick import quicker
    from ganvas.training.run import Run

    with TemporaryDirectory(prefix="ganvas-studio-", ignore_cleanup_errors=True) as place:
        try:
            _places.add(place)
            safety.copied(folder, "recipe.json", Path(place))
            with contextlib.suppress(safety.NotFoundError):
                safety.copied(folder, "data.json", Path(place))
            it = Run(place)
            recipe, model = it.recipe, _model(folder, it)
            dataset = _trained_on(it, model)
        except safety.RefusedError:
            raise
        except safety.NotFoundError as error:
            raise CannotError(f"the model of {folder.name} is being replaced, or {error} Try again.") from error
        except Exception as error:
            said = str(error).replace(place, str(folder))
            raise CannotError(f"the model of {folder.name} can't be read: {said}") from error
        finally:
            _places.discard(place)
    if dataset and model.range is None:  # a checkpoint is weights alone
        model.range = dataset.range
    quick = quicker(model)
    return Held(run, folder.name, quick, dataset, Decoder(quick), recipe.name, recipe.data.source)


def _model(folder: Path, copy: Run) -> Model:
    """The first that can be read of those that `ganvas.training.stored` names; a finished one, or none."""
    from ganvas import models

    found = stored.files(folder)
    for file in found:
        part = file.relative_to(folder)
        try:
            own = safety.copied(folder, part.as_posix(), copy.path)
            if part.parts[0] == "checkpoints" and part.parent.name != "best":
                return stored.of_checkpoint(copy, own).eval()
            safety.copied(folder, (part.parent / "config.json").as_posix(), copy.path)
            return models.load(own.parent)
        except safety.RefusedError:
            raise
        except UserError:
            if part.parts[0] == "model" or file == found[-1]:
                raise
    raise safety.NotFoundError("there is none.")


def told(model: Model, condition: str, guidance: str) -> Model:
    """A model that is told what a request says.

    Args:
        model: any.
        condition: '{"class": "7"}'; "" or "{}": nothing.
        guidance: a number; "" is 1.

    Raises:
        UserError: no JSON object, no number, or what the model's `given` refuses.
    """
    if len(condition) > LONGEST:
        raise UserError(f"a condition of {len(condition):,} characters: the studio takes {LONGEST:,}.")
    try:
        named = json.loads(condition or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f'condition={condition:.80}: it takes JSON, such as {{"class": "7"}}.') from error
    try:
        strength = float(guidance or 1)
    except ValueError as error:
        raise UserError(f"guidance={guidance:.80}: it takes a number from 0.") from error
    if named == {}:
        return model
    if not getattr(model.config, "condition", ()):
        raise UserError("this model was trained without a condition: it can't be told one.")
    found: Model = model.given(named, strength)
    return found


def clear() -> None:
    """Remove the copies of models that are being loaded, or hang."""
    for place in list(_places):
        shutil.rmtree(place, ignore_errors=True)


def _trained_on(run: Any, model: Model) -> Dataset | None:
    """What a run was trained on, as it lies in the cache; a page does not wait for data to be fetched or drawn."""
    from ganvas.data import store
    from ganvas.data.dataset import prepared

    source = run.recipe.data.source
    name = source.split(":")[0] if "/" not in source else Path(source).stem
    try:
        entry = store.find(run.data["fingerprint"])
        found = None if entry is None else prepared(name, source, entry)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found and found.shape == model.shape else None


def _calm(function: Callable[..., T], *arguments: Any) -> T:
    """What a function gives, with few threads."""
    import torch

    torch.set_num_threads(THREADS)
    return function(*arguments)


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _size(answer: Any) -> int:
    """Bytes of an answer; what is no array in it is little."""
    if answer is None or isinstance(answer, bytes):
        return len(answer or b"")
    return sum(getattr(value, "nbytes", 0) for value in vars(answer).values())


def png(pixels: Any) -> bytes:
    """A picture uint8 (H, W, C) as a PNG, written quickly rather than small."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
