"""Verbs that look through a data set by a model's codes: similar, duplicates, cluster."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from ganvas.cli.explore import located
from ganvas.cli.models import image_shape, load_data, load_model
from ganvas.cli.shared import ModelData, RunFolder, table
from ganvas.ground.errors import UserError

SHOWN = 30  # rows of a picture, at most
WIDE = 10  # images in a row of it, at most


def similar(
    run: RunFolder,
    images: Annotated[tuple[str, ...], "IMAGE...", "image files, or test:0"] = (),
    /,
    *,
    data: ModelData = None,
    k: Annotated[int, "INT", "how many for each"] = 8,
    out: Annotated[Path | None, "PNG", "the picture, and beside it a .csv (default: RUN/similar.png)"] = None,
) -> None:
    """The images of a data set that are most like given ones, by the model's codes: each given image, framed, and after
    it the nearest, with their names and distances.

    Example:
        ganvas similar runs/first photo.png --data ./photos
    """
    if k < 1:
        raise UserError(f"-k {k}: it takes at least 1.")
    model = load_model(run, "encode")
    image_shape(model)
    if not images:
        raise UserError(f"which images? For example: ganvas similar {run} photo.png, or test:0")
    out = _picture(out or run / "similar.png")
    import torch

    from ganvas.latent import collection

    given = located(run, model, images, data, 0)[1]
    found = collection.collect(model, load_data(run, model, data), progress=True)
    distances, places = collection.similar(found, model, given, k)
    names = [found.names(row) for row in places]
    lines = [
        [image, rank, name, f"{distance:.4f}"]
        for image, some, row in zip(images, names, distances, strict=True)
        for rank, (name, distance) in enumerate(zip(some, row, strict=True), 1)
    ]
    _write(out.with_suffix(".csv"), ["image", "rank", "name", "distance"], lines)
    shown = range(min(SHOWN, len(images)))
    cells = [torch.cat([given[i : i + 1], found.images(places[i])]) for i in shown]
    captions = [
        [images[i], *(f"{far:.2f} {name}" for far, name in zip(distances[i], names[i], strict=True))] for i in shown
    ]
    table([("codes", f"two of {len(found):,} images are {found.apart():.2f} apart")])
    _draw(out, cells, captions, [0])


def duplicates(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    alike: Annotated[
        float, "FLOAT", "correlation of pixels from which on two are one; of many false ones, raise it"
    ] = 0.985,
    out: Annotated[Path | None, "PNG", "the picture, and beside it a .csv (default: RUN/duplicates.png)"] = None,
) -> None:
    """Images that are in a data set more than once, as groups, the worst first: equal ones, and those that a JPEG's
    noise, a shift by a pixel or another brightness tells apart. They are looked for among the nearest codes and
    spectra, and compared pixel by pixel at the model's size.

    Example:
        ganvas duplicates runs/first --data ./photos
    """
    model = load_model(run, "encode")
    image_shape(model)
    if not 0 < alike <= 1:
        raise UserError(f"--alike {alike:g}: it takes a correlation above 0, up to 1.")
    out = _picture(out or run / "duplicates.png")
    from ganvas.latent import collection

    found = collection.collect(model, load_data(run, model, data), progress=True)
    groups = collection.duplicates(found, alike, progress=True)
    rows, across = [], 0
    for number, group in enumerate(groups):
        splits = found.splits(group.places)
        across += len({*splits}) > 1
        each = zip(found.names(group.places), splits, group.alike, group.exact, strict=True)
        rows += [[number, *row[:2], f"{row[2]:.4f}", "yes" if row[3] else "no"] for row in each]
    _write(out.with_suffix(".csv"), ["group", "name", "split", "correlation", "equal"], rows)
    extra = sum(len(group.places) - 1 for group in groups)
    table(
        [("duplicates", f"{extra:,} of {len(found):,} images are one that is there already, in {len(groups):,} groups")]
    )
    if across:
        table([("across splits", f"{across:,} groups have images in more than one split")])
    if groups:
        some = [group.places[:WIDE] for group in groups[:SHOWN]]
        captions = [
            [f"{alike:.3f} {name}" for alike, name in zip(group.alike, found.names(places), strict=False)]
            for group, places in zip(groups, some, strict=False)
        ]
        _draw(out, [found.images(places) for places in some], captions, [])


def cluster(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    clusters: Annotated[int | None, "INT", "how many (default: as many as are apart)"] = None,
    confused: Annotated[float, "RATE", "share of codes taken for another cluster's, up to which two are apart"] = 0.025,
    n: Annotated[int, "INT", "images of each on the page"] = 24,
    seed: Annotated[int, "INT", "of the start, and of which codes it is fitted to"] = 0,
    out: Annotated[Path | None, "DIR", "a new folder (default: RUN/clusters)"] = None,
) -> None:
    """Groups of images by a model's codes, as clusters.csv and a page, index.html, with the most and the least typical
    images of each. How many groups there are is chosen: a mixture of normals is fitted to the codes, and normals whose
    codes are taken for one another's are one group. Labels, where the data have them, are only held against it.

    Example:
        ganvas cluster runs/first --data ./photos
    """
    for name, value in (("--clusters", clusters), ("-n", n)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: it takes at least 1.")
    if not 0 < confused < 1:
        raise UserError(f"--confused {confused:g}: it takes a share between 0 and 1.")
    model = load_model(run, "encode")
    from ganvas.ground.files import free, vacant, whole, write_text
    from ganvas.latent import clusters as groups
    from ganvas.latent import collection

    if out:
        vacant(out)
    place = out or free(run / "clusters")
    found = collection.collect(model, load_data(run, model, data), progress=True)
    grouped = groups.cluster(found, clusters, confused, seed)
    lines = groups.lines(grouped, found)
    with whole(place) as folder:
        groups.write_table(folder / "clusters.csv", grouped, found)
        write_text(folder / "index.html", groups.page(grouped, found, lines, n))
    table([*lines, ("written", place / "clusters.csv"), ("", place / "index.html")])


def _picture(path: Path) -> Path:
    """A name that a picture may have, and beside it a .csv."""
    if path.suffix.lower() != ".png":
        raise UserError(f"--out {path}: it takes a name that ends in .png; the .csv lies beside it.")
    return path


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A .csv, aside first."""
    from ganvas.ground.files import replace

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])

    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, write)
    print(path)


def _draw(path: Path, rows: Sequence[Any], captions: Sequence[Sequence[str]], framed: Sequence[int]) -> None:
    """Rows of images (n, *shape), each with its text; short rows end in white."""
    import torch

    from ganvas.ground import plots

    columns = max(map(len, captions))
    cells, texts = [], []
    for images, said in zip(rows, captions, strict=True):
        room = columns - len(said)
        cells.append(torch.cat([images.cpu(), images.new_ones(room, *images.shape[1:]).cpu()]))
        texts += [*said, *[""] * room]
    frames = [row * columns + place for row in range(len(rows)) for place in framed]
    print(plots.save(plots.captioned(torch.cat(cells), texts, columns, frames), path))


HELP = """\
  similar RUN IMAGE...          the images of the data that are most like it
  duplicates RUN --data DATA    images that are there more than once
  cluster RUN                   groups of images, and how many there are
"""
VERBS: dict[str, Callable[..., None]] = {"similar": similar, "duplicates": duplicates, "cluster": cluster}
