#!/usr/bin/env bash
# A semi-supervised set has rows without a label. One expects that a column of Hugging Face's ClassLabel has one way to say so,
# and that its own functions take what the column holds. It has two, and they part: -1 is accepted when rows are written, and
# -2 is refused, but int2str refuses -1 as well, so names can't be read back. None is kept too, and makes the whole column
# float64 in the numpy format, so that labels are 0.0 and 1.0 and no index of a list of names. class_encode_column makes of an
# empty string a class of its own, named "", and shifts all other labels by one, and of None beside it no class.
# datasets 4.4.1. ganvas takes -1, None and NaN of such a column as not known, whatever the format. Exits with 1 if this is no
# longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q datasets==4.4.1 pyarrow==26.0.1
HF_HOME="$dir/hf" "$dir/env/bin/python" -W ignore - <<'PYTHON'
import datasets
from datasets import ClassLabel, Dataset, Features

datasets.disable_progress_bars()
print("datasets", datasets.__version__)


def of(labels):
    return Dataset.from_dict({"label": labels}, features=Features({"label": ClassLabel(names=["cat", "dog"])}))


def refused(ask):
    try:
        ask()
    except ValueError as error:
        return str(error)
    return None


kept = of([0, 1, -1])["label"][:]
written, read = refused(lambda: of([0, 1, -2])), refused(lambda: ClassLabel(names=["cat", "dog"]).int2str(-1))
print(f"-1 is kept: {kept}; -2: {written!r}; int2str(-1): {read!r}")
floats = of([0, 1, None]).with_format("numpy")["label"][:]
print("None in the numpy format:", [f"{value!r}" for value in floats])
encoded = Dataset.from_dict({"label": ["cat", "dog", "", None]}).class_encode_column("label")
names = encoded.features["label"].names
print("class_encode_column of 'cat', 'dog', '', None:", names, encoded["label"][:])
as_before = (
    kept == [0, 1, -1]
    and written is not None
    and read is not None
    and all(value.dtype.kind == "f" for value in floats)
    and names == ["", "cat", "dog"]
    and encoded["label"][:] == [1, 2, 0, None]
)
raise SystemExit(not as_before)
PYTHON
