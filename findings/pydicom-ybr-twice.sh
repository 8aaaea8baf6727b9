#!/usr/bin/env bash
# Ultrasound and photographs in DICOM are often stored as luma and chroma, PhotometricInterpretation YBR_FULL. The usual
# line is convert_color_space(ds.pixel_array, ds.PhotometricInterpretation, "RGB"), and pydicom 2 needs it. From version 3 on
# pixel_array is RGB already, but the data set goes on saying YBR_FULL: the same line converts twice, without a word.
# Orange becomes green, and whoever trains on it sees no error: what pixel_array gives can't be told from the data set.
# pydicom 2.4.4 and 3.0.2. ganvas reads pixel_array as RGB, and takes pydicom from version 3 on alone.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
for version in 2.4.4 3.0.2; do
    python3 -m venv "$dir/$version"
    "$dir/$version/bin/pip" install -q "pydicom==$version" "numpy<2.5"
    "$dir/$version/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

try:
    from pydicom.pixels import convert_color_space
except ImportError:
    from pydicom.pixel_data_handlers import convert_color_space

orange = np.array([[[200, 50, 20]]], np.uint8)
ds = Dataset()
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PlanarConfiguration = 1, 1, 3, 0
ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
ds.PhotometricInterpretation = "YBR_FULL"
ds.PixelData = convert_color_space(orange, "RGB", "YBR_FULL").tobytes() + b"\0"  # of even length
given = ds.pixel_array
line = convert_color_space(given, ds.PhotometricInterpretation, "RGB")
print(
    f"pydicom {pydicom.__version__}: RGB {orange[0, 0]} stored as YBR_FULL; pixel_array {given[0, 0]}, "
    f"the data set says {ds.PhotometricInterpretation}, and by the usual line it is {line[0, 0]}"
)
near = [bool((abs(pixels.astype(int) - orange) <= 1).all()) for pixels in (given, line)]
raise SystemExit(near != [pydicom.__version__ >= "3", pydicom.__version__ < "3"] or ds.PhotometricInterpretation != "YBR_FULL")
PYTHON
done
