"""Runs the exported model beside this file; needs onnxruntime, numpy and pillow, and nothing else.

python example.py               new images as samples.png
python example.py photo.png     what the model makes of an image, as made.png, beside it

A model that was trained with a condition can be told labels, and guidance where the decoder takes it:

python example.py class=7 guidance=1.5
"""
# mypy: ignore-errors

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent


def load(name):
    """The model's function of this name, or None where it has no such one."""
    file = HERE / f"{name}.onnx"
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) if file.is_file() else None


def run(session, batch):
    """float32 in, float32 out; the first dimension is the batch, of any size. What is `told` goes beside it."""
    first, *labels = session.get_inputs()
    given = {first.name: batch}
    for it, attribute in zip(labels, condition, strict=False):
        value = told.get(attribute["name"])
        if attribute["number"]:
            given[it.name] = np.full(len(batch), np.nan if value is None else float(value), np.float32)
        elif value is None or value in attribute["values"]:
            given[it.name] = np.full(len(batch), -1 if value is None else attribute["values"].index(value))
        else:
            sys.exit(f"{attribute['name']}={value}: it takes one of {', '.join(attribute['values'])}.")
    if len(labels) > len(condition):
        given["guidance"] = np.array(told.get("guidance", 1), np.float32)
    return session.run(None, given)[0]


def read(path, shape, known):
    """An image file as (1, C, H, W) in [0, 1]: scaled to cover the model's size, and cropped at its centre.

    What is black and what is white is `known` from the training, where the file's samples can be of that range.
    """
    channels, height, width = shape
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        wide = image.mode == "F" or image.mode.startswith("I")
        if wide:
            image = Image.fromarray(np.asarray(image, np.float32))
        else:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("L" if channels == 1 else "RGB")
    top = 65535 if wide else 255
    low, high = known or (0, top)
    holds = low >= 0 and np.asarray(image).max() <= high
    if (high <= 255 and not holds) if wide else (high > 255 or (high <= 64 and not holds)):
        low, high = 0, top
    image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    rows = np.asarray(image, np.float32).reshape(height, width, -1).transpose(2, 0, 1)[None]
    return np.broadcast_to(((rows - low) / (high - low)).clip(0, 1), (1, *shape)).astype(np.float32)


def save(images, columns, file):
    """Images (N, C, H, W) in [0, 1], row by row, as one picture."""
    n, channels, height, width = images.shape
    levels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    rows = levels.reshape(n // columns, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = rows.reshape(n // columns * height, columns * width, channels)
    Image.fromarray(picture.squeeze(-1) if channels == 1 else picture).save(file)
    print(file)


decoder = load("decoder")
facts = (decoder or load("denoiser")).get_modelmeta().custom_metadata_map  # what it is, what goes in and comes out
shape = json.loads(facts["shape"])
is_image = len(shape) == 3
condition = json.loads(facts["model"]).get("condition", [])  # what it can be told
able = [attribute["name"] for attribute in condition] + ["guidance"] * bool(condition)
told = dict(word.split("=", 1) for word in sys.argv[1:] if word.split("=", 1)[0] in able and "=" in word)
files = [word for word in sys.argv[1:] if word.split("=", 1)[0] not in told]

if files:
    if not is_image:
        sys.exit("this model is one of points: there is no image to give it")
    x = read(files[0], shape, json.loads(facts.get("range", "null")))
    made = [x]
    if encoder := load("encoder"):
        code = run(encoder, x)
        print("code:", np.array2string(code[0], precision=3))
        made.append(run(decoder, code))
    if denoiser := load("denoiser"):  # of a noisy image
        made[1:] = [run(denoiser, x)]
    if classifier := load("classifier"):
        print("p(class):", np.array2string(np.exp(run(classifier, x)[0]), precision=3, suppress_small=True))
    save(np.concatenate(made), len(made), "made.png")
elif sampler := load("sampler"):
    noise = np.random.default_rng(0).standard_normal((64, sampler.get_inputs()[0].shape[1]), np.float32)
    samples = run(sampler, noise)
    if is_image:
        save(samples, 8, "samples.png")
    else:
        np.savetxt("samples.csv", samples, fmt="%.6g", delimiter=",")
        print("samples.csv")
else:
    sys.exit("this model has no samples: give it an image, python example.py photo.png")
