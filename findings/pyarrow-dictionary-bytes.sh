#!/usr/bin/env bash
# Before a row group of a parquet file of images is read, its metadata says how large it is: total_byte_size, "the total
# size of all uncompressed data". One expects memory of about that. Equal values are stored once, in a dictionary, and
# total_byte_size counts the dictionary and its indices: 600 equal images of 100 kB say 0.1 MB, and take 60 MB when they
# are read, the column's statistics and schema do not tell either. With read_dictionary the column stays a dictionary, also
# inside of the struct that Hugging Face's image columns are: the path is "image.bytes".
# pyarrow 26.0.1. ganvas reads such columns as dictionaries, and refuses what unpacks to too much.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q pyarrow==26.0.1
cd "$dir"
"$dir/env/bin/python" - <<'PYTHON'
import os

import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__)
rows, size = 600, 100_000
image = os.urandom(size)
column = pa.array([{"bytes": image, "path": None}] * rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
pq.write_table(pa.table({"image": column}), "images.parquet")
file = os.path.getsize("images.parquet")
said = pq.ParquetFile("images.parquet").metadata.row_group(0).total_byte_size
before = pa.total_allocated_bytes()
table = pq.ParquetFile("images.parquet").read_row_group(0)
plain = pa.total_allocated_bytes() - before
del table
before = pa.total_allocated_bytes()
table = pq.ParquetFile("images.parquet", read_dictionary=["image.bytes"]).read_row_group(0)
once = pa.total_allocated_bytes() - before
assert table["image"][rows - 1].as_py()["bytes"] == image
print(f"{rows} equal images of {size:,} bytes: a file of {file:,} bytes, total_byte_size {said:,}")
print(f"read: {plain:,} bytes; with read_dictionary: {once:,} bytes")
raise SystemExit(not (file < 3 * size and said < 3 * size and plain > 0.9 * rows * size and once < 5 * size))
PYTHON
