"""Each technique against an independent calculation; then every technique, and every pair, on every sort of game."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torch.nn.utils import parametrize

import ganvas
from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import kind
from ganvas.models import MODELS, load
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.losses import GAN_LOSSES, PROBABILISTIC
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.layers import BatchNorm, MinibatchLayer, VirtualNorm
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.techniques import (
    AUGMENTATIONS,
    EMA,
    R1,
    R2,
    TECHNIQUES,
    Augment,
    Clip,
    FeatureMatching,
    Freeze,
    GradientPenalty,
    HistoricalAveraging,
    LabelSmoothing,
    MinibatchDiscrimination,
    Mirror,
    Seen,
    SpectralNorm,
    Technique,
    VirtualBatchNorm,
    distance_to_history,
    input_gradient,
)

IMAGES = Draw(7).uniform("images", (5, 1, 8, 8))
SMOOTH = MLP(hidden=(6,), activation="tanh")
CONVOLUTIONS = DCGAN(filters=2)
# shape of the data, generator, discriminator
GAMES: dict[str, tuple[tuple[int, ...], Any, Any]] = {
    "images": ((1, 8, 8), MLP(hidden=(8,), norm="batch"), MLP(hidden=(8,), activation="leaky-relu")),
    "colour": ((3, 16, 16), CONVOLUTIONS, CONVOLUTIONS),
    "points": ((2,), MLP(hidden=(8,), norm="batch"), MLP(hidden=(8,), activation="maxout", dropout=0.5)),
}
CLASHES = {
    frozenset(pair)
    for pair in [
        ("clip", "gradient-penalty"),
        ("clip", "r1"),
        ("clip", "r2"),
        ("clip", "spectral-norm"),
        ("gradient-penalty", "r1"),
        ("gradient-penalty", "r2"),
        ("gradient-penalty", "minibatch-discrimination"),
        ("r1", "minibatch-discrimination"),
        ("r2", "minibatch-discrimination"),
    ]
}


def make(*techniques: Any, net: Any = SMOOTH, shape: tuple[int, ...] = (1, 8, 8), **settings: Any) -> GANModel:
    torch.manual_seed(0)
    settings = {"generator": MLP(hidden=(8,)), "discriminator": net, **settings}
    return GANModel(GAN(latent_dim=3, techniques=techniques, **settings), shape)


def moves(model: GANModel, n: int, lr: float = 0.1) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """n turns of each player by gradient descent, on fresh images; after each move its player's name and costs."""
    for step in range(n):
        images = Draw(3, step).uniform("images", (6, *model.shape))
        for name, player in model.players().items():
            for other, opponent in model.players().items():
                opponent.requires_grad_(other == name)
            parts = player(Batch(images), Draw(0, step))
            parts["loss"].backward()
            torch.optim.SGD(player.parameters(), lr).step()
            model.zero_grad(set_to_none=True)
            model.moved(name)
            yield name, {part: value.detach() for part, value in parts.items()}


def arrays(module: nn.Module) -> list[np.ndarray]:
    return [p.detach().double().numpy().copy() for p in module.parameters()]


def what_is_seen(model: GANModel, images: Tensor = IMAGES, draw: Draw | None = None) -> Seen:
    draw = draw or Draw(0, 1)
    return Seen(model, images, model.generator.fake(len(images), draw, images.device), draw)


# ---- terms ----


def test_feature_matching_is_between_batch_means() -> None:
    model = make(FeatureMatching(weight=2.5))
    seen = what_is_seen(model)
    real, fake = (
        np.tanh(x.detach().flatten(1).numpy() @ w.T + b)
        for x in (seen.real, seen.fake)
        for w, b in [arrays(model.discriminator.body)]
    )
    expected = 2.5 * sum((real[:, unit].mean() - fake[:, unit].mean()) ** 2 for unit in range(6))
    assert model.generator(Batch(IMAGES), Draw(0, 1))["feature-matching"].item() == pytest.approx(expected, rel=1e-4)
    assert "feature-matching" not in model.discriminator(Batch(IMAGES), Draw(0, 1))


@pytest.mark.parametrize(
    ("technique", "player"),
    [
        (FeatureMatching(), "generator"),
        (LabelSmoothing(), "discriminator"),
        (GradientPenalty(), "discriminator"),
        (R1(), "discriminator"),
        (R2(), "discriminator"),
        (HistoricalAveraging(weight=50), "discriminator"),
        (HistoricalAveraging(weight=50), "generator"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_term_is_summed_into_its_players_loss(technique: Any, player: str) -> None:
    """No optimiser step of its own: the gradient is that of the sum."""
    plain, model = make(), make(technique)
    for _ in moves(model, 1):
        pass
    model.requires_grad_(True)
    plain.load_state_dict({name: model.state_dict()[name] for name in plain.state_dict()})
    parts, base = (m.players()[player](Batch(IMAGES), Draw(0, 1)) for m in (model, plain))
    (term,) = parts.keys() - base.keys()
    assert parts[term].item() != 0
    torch.testing.assert_close(parts["loss"], base["loss"] + parts[term])
    weights = [list(m.players()[player].parameters()) for m in (model, plain)]
    together, alone = (
        torch.autograd.grad(cost, own, retain_graph=True)
        for cost, own in zip((parts["loss"], base["loss"]), weights, strict=True)
    )
    of_term = torch.autograd.grad(parts[term], weights[0], allow_unused=True)
    for a, b, c in zip(together, alone, of_term, strict=True):
        torch.testing.assert_close(a, b if c is None else b + c)
    other = next(name for name in model.players() if name != player)
    assert term not in model.players()[other](Batch(IMAGES), Draw(0, 1)) or isinstance(technique, HistoricalAveraging)


@pytest.mark.parametrize(("real", "fake"), [(0.9, 0.0), (0.75, 0.1)])
@pytest.mark.parametrize("loss", PROBABILISTIC)
def test_label_smoothing_is_cross_entropy_with_other_targets(real: float, fake: float, loss: str) -> None:
    model = make(LabelSmoothing(real=real, fake=fake), loss=loss)
    seen, ours = what_is_seen(model), model.discriminator(Batch(IMAGES), Draw(0, 1))["loss"]
    expected = sum(
        F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
        for logits, target in ((seen.real_logits, real), (seen.fake_logits, fake))
    )
    torch.testing.assert_close(ours, expected)
    weights = list(model.discriminator.parameters())
    torch.testing.assert_close(torch.autograd.grad(ours, weights), torch.autograd.grad(expected, weights))
    assert "label-smoothing" not in model.generator(Batch(IMAGES), Draw(0, 1)), "one-sided: only D's targets change"


def test_historical_averaging_is_the_distance_to_the_mean_of_the_past() -> None:
    model = make(HistoricalAveraging(weight=0.5))
    past = {name: [arrays(player)] for name, player in model.players().items()}
    for name, parts in moves(model, 6):
        means = [np.mean(values, axis=0) for values in zip(*past[name], strict=True)]
        expected = 0.5 * sum(((w - m) ** 2).sum() for w, m in zip(past[name][-1], means, strict=True))
        assert parts["historical-averaging"].item() == pytest.approx(expected, rel=1e-3, abs=1e-9)
        past[name].append(arrays(model.players()[name]))
    for name, history in past.items():
        *means, count = model.history[name].buffers()
        assert count.item() == 7
        for mean, values in zip(means, zip(*history, strict=True), strict=True):
            np.testing.assert_allclose(mean, np.mean(values, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [1, -1])
def test_history_is_of_clipped_weights_whatever_order_they_are_given_in(order: int) -> None:
    model = make(*(HistoricalAveraging(), Clip(bound=0.02))[::order])
    start = arrays(model.discriminator)
    next(moves(model, 1, lr=0.5))
    *means, _ = model.history["discriminator"].buffers()
    for mean, first, now in zip(means, start, arrays(model.discriminator), strict=True):
        assert np.abs(now).max() <= np.float32(0.02)
        np.testing.assert_allclose(mean, (first + now) / 2, rtol=1e-5, atol=1e-7)


def test_the_pull_of_history_is_towards_the_mean() -> None:
    w, mean = torch.tensor([1.0, -2.0], requires_grad=True), torch.tensor([0.5, 0.5])
    (slope,) = torch.autograd.grad(distance_to_history([w], [mean]), w)
    assert slope.tolist() == [2 * (1 - 0.5), 2 * (-2 - 0.5)]


def slopes_by_differences(model: GANModel, points: Tensor, h: float = 1e-2) -> np.ndarray:
    """|| grad D || at each of the points, each by itself."""
    norms = []
    for point in points:
        step = h * torch.eye(point.numel()).view(-1, *point.shape)
        with torch.no_grad():
            above, below = (model.discriminator.logits(x) for x in (point + step, point - step))
        norms.append(np.linalg.norm((above - below).double().numpy() / (2 * h)))
    return np.array(norms)


@pytest.mark.parametrize("output", ["sigmoid", "tanh"])
def test_gradient_penalty_by_finite_differences(output: Any) -> None:
    """Gulrajani et al. 2017, algorithm 1: an alpha and a norm for each sample."""
    model = make(GradientPenalty(weight=3.0), output=output)
    model.discriminator.body[1].weight.data *= 5  # so that slopes differ
    seen = what_is_seen(model)
    alpha = Draw(0, 1).uniform("between", (5, 1, 1, 1))
    assert len(set(alpha.flatten().tolist())) == 5
    slopes = slopes_by_differences(model, seen.real + alpha * (seen.fake - seen.real).detach())
    assert slopes.std() > 0.02
    ours = model.discriminator(Batch(IMAGES), Draw(0, 1))["gradient-penalty"].item()
    assert ours == pytest.approx(3.0 * ((slopes - 1) ** 2).mean(), rel=1e-3)
    assert ours != pytest.approx(3.0 * (np.linalg.norm(slopes) - 1) ** 2, rel=0.1), "one norm over the batch"


def test_r1_of_a_linear_discriminator_by_hand() -> None:
    """Mescheder et al. 2018, equation 9: D(x) = w x + b has the slope w."""
    model = make(R1(weight=4.0), net=MLP(hidden=()))
    (w, _), parts = arrays(model.discriminator), model.discriminator(Batch(IMAGES), Draw(0, 1))
    assert parts["r1"].item() == pytest.approx(4.0 / 2 * (w**2).sum(), rel=1e-5)
    (gradient,) = torch.autograd.grad(parts["r1"], model.discriminator.head.weight)
    np.testing.assert_allclose(gradient, 4.0 * w, rtol=1e-5)


def test_r1_is_at_real_images_by_finite_differences() -> None:
    model = make(R1(weight=4.0), output="tanh")
    slopes = slopes_by_differences(model, 2 * IMAGES - 1)
    ours = model.discriminator(Batch(IMAGES), Draw(0, 1))["r1"].item()
    assert ours == pytest.approx(2.0 * (slopes**2).mean(), rel=1e-3)


def test_r2_is_at_fakes_by_finite_differences() -> None:
    model, draw = make(R2(weight=4.0), output="tanh"), Draw(0, 1)
    with torch.no_grad():
        fake = model.fakes(IMAGES, draw)
    ours = model.discriminator(Batch(IMAGES), draw)["r2"].item()
    assert ours == pytest.approx(2.0 * (slopes_by_differences(model, fake) ** 2).mean(), rel=1e-3)


@pytest.mark.parametrize("technique", [GradientPenalty, R1, R2], ids=["gradient-penalty", "r1", "r2"])
def test_a_lazy_penalty_costs_as_much_on_average(technique: Any) -> None:
    """At every third move, by the number of the step and of the move in it, and three times as heavy."""
    (usual, lazy), name = (make(technique(weight=2.0, every=k)) for k in (1, 3)), kind(technique)
    for step, move in ((0, 0), (0, 1), (1, 2), (2, 0), (3, 0)):
        draw = Draw(0, step, 0, move)
        both = (model.discriminator(Batch(IMAGES), draw) for model in (usual, lazy))
        whole, part = ({term: value.item() for term, value in parts.items()} for parts in both)
        without = whole["loss"] - whole[name]
        if (step + move) % 3:
            assert name not in part and part["loss"] == pytest.approx(without, rel=1e-5)
        else:
            assert part[name] == pytest.approx(3 * whole[name], rel=1e-5)
            assert part["loss"] == pytest.approx(without + part[name], rel=1e-5)


@pytest.mark.parametrize("technique", [GradientPenalty(), R1(), R2()], ids=["gradient-penalty", "r1", "r2"])
def test_a_slope_is_that_of_one_image(technique: Any) -> None:
    """Batch norm, which would mix the images of a batch, is layer norm in the critic, and stays in the generator."""
    model = make(technique, net=CONVOLUTIONS, generator=CONVOLUTIONS, shape=(1, 16, 16))
    kinds = [{type(module) for module in player.modules()} for player in model.players().values()]
    assert BatchNorm not in kinds[0] and nn.GroupNorm in kinds[0] and BatchNorm in kinds[1]
    x = Draw(1).uniform("x", (4, 1, 16, 16))
    changed = x.clone()
    changed[2] = 1 - changed[2]
    a, b = (input_gradient(model.discriminator.logits, images) for images in (x, changed))
    torch.testing.assert_close(a[[0, 1, 3]], b[[0, 1, 3]])
    torch.testing.assert_close(a[:1], input_gradient(model.discriminator.logits, x[:1]))
    mixed = make(net=CONVOLUTIONS, shape=(1, 16, 16))
    a, b = (input_gradient(mixed.discriminator.logits, images) for images in (x, changed))
    assert not torch.allclose(a[[0, 1, 3]], b[[0, 1, 3]])


def test_layer_norm_is_over_all_values_of_an_image() -> None:
    model = make(GradientPenalty(), net=CONVOLUTIONS, shape=(1, 16, 16))
    (norm,) = (module for module in model.discriminator.modules() if isinstance(module, nn.GroupNorm))
    x = Draw(1).normal("x", (3, norm.num_channels, 4, 4))
    torch.testing.assert_close(norm(x), F.layer_norm(x, x.shape[1:]))


def test_a_flat_critic_has_a_finite_penalty() -> None:
    """The norm's own slope at 0 is not a number by the chain rule alone."""
    model = make(GradientPenalty(weight=10.0))
    for p in model.discriminator.parameters():
        nn.init.zeros_(p)
    parts = model.discriminator(Batch(IMAGES), Draw(0, 1))
    parts["loss"].backward()
    assert parts["gradient-penalty"].item() == 10
    assert all(p.grad.isfinite().all() for p in model.discriminator.parameters())


# ---- layers and weights ----


@pytest.mark.parametrize("net", [SMOOTH, CONVOLUTIONS], ids=["mlp", "dcgan"])
def test_minibatch_discrimination_stands_before_the_head(net: Any) -> None:
    """With no weight on nearness, D is what it was; with some, D sees whether a batch has collapsed."""
    model, plain = make(MinibatchDiscrimination(kernels=7, dims=3), net=net), make(net=net)
    layer, head = model.discriminator.head
    assert isinstance(layer, MinibatchLayer) and (layer.kernels, layer.dims) == (7, 3)
    old = plain.discriminator.head.in_features
    assert head.weight.shape == (1, old + 7)
    logits = model.discriminator.logits(IMAGES)
    with torch.no_grad():
        head.weight[:, old:] = 0
    torch.testing.assert_close(model.discriminator.logits(IMAGES), plain.discriminator.logits(IMAGES))
    assert not torch.allclose(model.discriminator.logits(IMAGES), logits)
    with torch.no_grad():
        head.weight[:] = 0
        head.weight[:, old:] = 1
        head.bias[:] = 0
    same = model.discriminator.logits(IMAGES[:1].expand(4, -1, -1, -1))
    torch.testing.assert_close(same, torch.full((4,), 7.0))


def test_real_and_fake_batches_are_compared_apart() -> None:
    """Salimans et al. 2016, 3.2: the nearness of the real images does not depend on the fakes."""
    model = make(MinibatchDiscrimination())
    a, b = what_is_seen(model), what_is_seen(model, draw=Draw(0, 2))
    assert torch.equal(a.real_logits, b.real_logits) and not torch.equal(a.fake_logits, b.fake_logits)


def test_virtual_batch_norm_replaces_the_generators_batch_norm() -> None:
    model = make(VirtualBatchNorm(size=9), generator=CONVOLUTIONS, net=CONVOLUTIONS, shape=(1, 16, 16))
    kinds = [{type(module) for module in player.modules()} for player in model.players().values()]
    assert VirtualNorm in kinds[1] and BatchNorm not in kinds[1] and BatchNorm in kinds[0]
    z = Draw(1).normal("z", (6, 3))
    images = model.generator.images(z)
    for i in range(6):
        torch.testing.assert_close(model.generator.images(z[i : i + 1])[0], images[i])
    torch.testing.assert_close(model.decode(z), images)
    reference = model.generator.net.reference.clone()
    assert reference.shape == (9, 3) and reference.abs().max() <= 1, "a draw of the prior, U(-1, 1)"
    for _ in moves(model, 2):
        pass
    assert torch.equal(model.generator.net.reference, reference)


def test_the_critics_weights_alone_are_clipped_after_each_of_its_moves() -> None:
    model = make(Clip(bound=0.02), loss="wasserstein")
    for number, (_, _) in enumerate(moves(model, 4, lr=0.5)):
        critic, generator = (np.concatenate([a.ravel() for a in arrays(p)]) for p in model.players().values())
        assert np.abs(critic).max() == np.float32(0.02) and (np.abs(critic) < 0.019).any(), number
        assert np.abs(generator).max() > 0.1


@pytest.mark.parametrize("net", [SMOOTH, DCGAN(filters=4)], ids=["mlp", "dcgan"])
def test_spectral_norm_divides_by_the_largest_singular_value(net: Any) -> None:
    model = make(SpectralNorm(), MinibatchDiscrimination(), net=net, shape=(1, 16, 16), generator=net)
    x = Draw(1).uniform("x", (4, 1, 16, 16))
    before = [
        np.linalg.svd(p.detach().flatten(1).numpy(), compute_uv=False)[0]
        for name, p in model.discriminator.named_parameters()
        if name.endswith("original")
    ]
    for _ in range(100):
        model.discriminator.logits(x)
    weights = [m.weight for m in model.discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d | MinibatchLayer)]
    largest = [np.linalg.svd(w.detach().flatten(1).numpy(), compute_uv=False)[0] for w in weights]
    assert largest == pytest.approx([1] * len(before), rel=1e-3)
    assert not any(0.95 < value < 1.05 for value in before), "they were others"
    assert not any(parametrize.is_parametrized(module) for module in model.generator.modules())


@pytest.mark.parametrize("layers", [1, 2])
def test_frozen_layers_stay_and_pass_the_gradient_on(layers: int, tmp_path: Path) -> None:
    net = DCGAN(filters=4)
    model, free = make(Freeze(layers=layers), net=net, shape=(3, 16, 16)), make(net=net, shape=(3, 16, 16))
    assert {k: t.shape for k, t in model.state_dict().items()} == {k: t.shape for k, t in free.state_dict().items()}
    model.load_state_dict(free.state_dict())
    before = {name: tensor.clone() for name, tensor in model.discriminator.state_dict().items()}
    for _ in moves(model, 2):
        pass
    after = model.discriminator.state_dict()
    weights = [name for name, tensor in after.items() if tensor.dim() > 1]
    still = [name for name in weights if torch.equal(after[name], before[name])]
    assert still == weights[:layers] and len(weights) > layers
    x = IMAGES[:, :1].expand(-1, 3, -1, -1).clone()
    x = torch.nn.functional.interpolate(x, (16, 16)).requires_grad_()
    (slope,) = torch.autograd.grad(what_is_seen(model, x).real_logits.sum(), x)
    assert slope.abs().sum() > 0
    with pytest.raises(UserError, match=r"freeze is 9: this discriminator has \d layers, and one has to learn"):
        make(Freeze(layers=9), net=net, shape=(3, 16, 16))


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_the_moving_average_by_its_recursion(decay: float) -> None:
    model = make(EMA(decay=decay), generator=MLP(hidden=(8,), norm="batch"))
    z, t = Draw(1).uniform("z", (4, 3)), 0
    expected = arrays(model.generator.net)
    for name, _ in moves(model, 8):
        if name == "generator":
            t += 1
            d = min(decay, (1 + t) / (10 + t))
            expected = [d * e + (1 - d) * w for e, w in zip(expected, arrays(model.generator.net), strict=True)]
    for ours, theirs in zip(arrays(model.average.net), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    kept, live = (dict(net.named_buffers()) for net in (model.average.net, model.generator.net))
    assert len(live) == 3 and all(torch.equal(kept[name], buffer) for name, buffer in live.items())
    assert not any(p.requires_grad for p in model.average.parameters())
    assert not {id(p) for p in model.average.parameters()} & {id(p) for p in model.generator.parameters()}
    with torch.no_grad():
        of_average, of_live = (model.activate(net.eval()(z)) for net in (model.average.net, model.generator.net))
    torch.testing.assert_close(model.decode(z), of_average)
    assert not torch.allclose(of_average, of_live)


# ---- augmentation ----

SIZES = [(8, 8), (28, 28), (7, 9), (6, 17), (16, 30), (1, 5)]


def by_hand(policy: str, image: np.ndarray, u: tuple[float, float]) -> np.ndarray:
    """Pixel by pixel."""
    _, height, width = image.shape
    if policy == "brightness":
        return image + (np.float32(u[0]) - np.float32(0.5))
    out = np.zeros_like(image) if policy == "translation" else image.copy()
    if policy == "translation":
        down, right = (side // 8 - int(v * (2 * (side // 8) + 1)) for v, side in zip(u, (height, width), strict=True))
        for row, column in itertools.product(range(height), range(width)):
            if 0 <= row - down < height and 0 <= column - right < width:
                out[:, row, column] = image[:, row - down, column - right]
        return out
    halves = height // 2, width // 2
    tops = [int(v * (s + 1 - h % 2)) - h // 2 for v, s, h in zip(u, (height, width), halves, strict=True)]
    for row, column in itertools.product(range(height), range(width)):
        if tops[0] <= row < tops[0] + halves[0] and tops[1] <= column < tops[1] + halves[1]:
            out[:, row, column] = 0
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("policy", sorted(AUGMENTATIONS))
def test_augmentations_pixel_by_pixel(policy: str, size: tuple[int, int]) -> None:
    images, u = 1 + Draw(1).uniform("x", (40, 2, *size)), Draw(2).uniform("u", (40, 2))
    u[0], u[1] = 0, 1 - 2**-24  # the ends of the range
    ours = AUGMENTATIONS[policy](images, u)
    for image, row, result in zip(images.numpy(), u.tolist(), ours.numpy(), strict=True):
        np.testing.assert_array_equal(result, by_hand(policy, image, tuple(row)))


@pytest.mark.parametrize("policy", sorted(AUGMENTATIONS))
def test_augmentations_are_differentiable(policy: str) -> None:
    images, u = Draw(1).uniform("x", (3, 1, 8, 9)).double().requires_grad_(), Draw(2).uniform("u", (3, 2))
    assert torch.autograd.gradcheck(lambda x: AUGMENTATIONS[policy](x, u), images)


@pytest.mark.parametrize("side", [8, 9, 28, 30])
def test_translations_are_uniform_up_to_an_eighth(side: int) -> None:
    """Chi-square over 4,000 draws, false alarm 1e-9."""
    images = torch.zeros(4000, 1, side, side)
    images[:, 0, side // 2, side // 2] = 1
    moved = AUGMENTATIONS["translation"](images, Draw(0).uniform("u", (4000, 2)))
    for axis in (1, 2):
        shifts = moved[:, 0].amax(3 - axis).argmax(1) - side // 2
        counts = torch.bincount(shifts + side // 8)
        assert len(counts) == 2 * (side // 8) + 1 and stats.chisquare(counts).pvalue > 1e-9


@pytest.mark.parametrize("side", [8, 9, 28, 30])
def test_cut_boxes_are_half_the_sides_with_their_middle_anywhere(side: int) -> None:
    """Every pixel is as often cut as the one that mirrors it; a box in the image has exactly half its sides."""
    n = 4000
    cut = 1 - AUGMENTATIONS["cutout"](torch.ones(n, 1, side, side), Draw(0).uniform("u", (n, 2)))[:, 0]
    heights = cut.amax(2).sum(1)
    assert heights.max() == side // 2 and heights.min() < side // 2
    share = cut.mean(0)
    spread = 6 * (share * (1 - share) * 2 / n).sqrt() + 1e-6  # six standard deviations
    assert ((share - share.flip(0, 1)).abs() < spread).all()
    assert share[side // 2, side // 2] > 1.3 * share[0, 0]


def test_real_and_fake_images_are_changed_alike_but_each_by_its_own_draw() -> None:
    """Brightness of both is U(-0.5, 0.5) (Kolmogorov-Smirnov, false alarm 1e-8), in either player's turn."""
    model = make(Augment(policy=("brightness",)))
    images = torch.full((2000, 1, 8, 8), 0.25)
    seen = Seen(model, images, images, Draw(0, 1))
    shifts = [(x - 0.25)[:, 0, 0, 0].numpy() for x in (seen.real, seen.fake)]
    for shift in shifts:
        assert len(set(shift.tolist())) > 1900
        assert stats.kstest(shift, "uniform", (-0.5, 1)).pvalue > 1e-8
    assert abs(np.corrcoef(*shifts)[0, 1]) < 0.15
    again, other = Seen(model, images, images, Draw(0, 1)), Seen(model, images, images, Draw(0, 2))
    assert torch.equal(again.real, seen.real) and not torch.equal(other.real, seen.real)


def test_half_of_the_real_images_are_mirrored() -> None:
    """Of 2,000 the share is within 5 standard deviations of a half: false alarm 6e-7. Fakes stay as they are."""
    model, images = make(Mirror()), torch.zeros(2000, 1, 8, 8)
    images[:, :, 2, 1] = 1
    seen = Seen(model, images, images, Draw(0, 1))
    assert torch.equal(seen.fake, images)
    there, turned = seen.real[:, 0, 2, 1] == 1, seen.real[:, 0, 2, 6] == 1
    assert bool((there ^ turned).all()) and torch.equal(seen.real.sum((1, 2, 3)), torch.ones(2000))
    assert abs(float(turned.float().mean()) - 0.5) < 5 * 0.5 / 2000**0.5
    assert torch.equal(seen.real, Seen(model, images, images, Draw(0, 1)).real)


def test_the_policy_is_followed_in_its_order() -> None:
    """What translation and cutout make 0 stays so only if brightness came before."""
    images, dark = torch.ones(50, 1, 16, 16), {}
    for policy in itertools.permutations(AUGMENTATIONS):
        dark[policy] = bool((Augment(policy=policy).view(images, Draw(0), "real") == 0).any())
    assert dark == {policy: policy[-1] != "brightness" for policy in dark}


def test_the_generators_gradient_passes_through_the_augmentation() -> None:
    model = make(Augment(), generator=CONVOLUTIONS, net=CONVOLUTIONS, shape=(1, 16, 16))
    model.generator(Batch(torch.rand(5, 1, 16, 16)), Draw(0))["loss"].backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.generator.parameters())


# ---- all of them together ----


def game(which: str, techniques: tuple[str, ...], loss: str = "non-saturating") -> GANModel:
    shape, generator, discriminator = GAMES[which]
    made = tuple(TECHNIQUES[name]() for name in techniques)
    return make(*made, shape=shape, generator=generator, net=discriminator, loss=loss)


def move_each(model: GANModel, bfloat16: bool = False) -> None:
    """One move of each player: a finite gradient for all that is its own, none for the other's."""
    for place, (name, player) in enumerate(model.players().items()):
        for other, opponent in model.players().items():
            opponent.requires_grad_(other == name)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            parts = player(Batch(Draw(5).uniform("images", (6, *model.shape))), Draw(0, place))
        assert all(value.shape == () and value.isfinite() for value in parts.values())
        parts["loss"].backward()
        for own, p in model.named_parameters():
            moving = own.startswith(f"{name}.")
            assert (p.grad is not None and bool(p.grad.isfinite().all())) if moving else p.grad is None, own
        torch.optim.SGD(player.parameters(), 0.1).step()
        model.zero_grad(set_to_none=True)
        model.moved(name)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def refusal(which: str, techniques: tuple[str, ...], loss: str = "non-saturating") -> str | None:
    """What these can't be played for, by this test's own table."""
    if frozenset(techniques) in CLASHES:
        return " and .* leave one of them away"
    if "label-smoothing" in techniques and loss not in PROBABILISTIC:
        return f"under the {loss} loss the discriminator gives none: leave it away, or take the loss minimax or non-sat"
    if "augment" in techniques and which == "points":
        return r"augment is of images, this data is points of shape \(2,\): leave it away"
    if "mirror" in techniques and which == "points":
        return r"mirror is of images, this data is points of shape \(2,\): leave it away"
    return None


@pytest.mark.parametrize("which", GAMES)
@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
def test_each_technique_with_each_loss(technique: str, which: str) -> None:
    for loss in GAN_LOSSES:
        if says := refusal(which, (technique,), loss):
            with pytest.raises(UserError, match=says):
                game(which, (technique,), loss)
        else:
            move_each(game(which, (technique,), loss), bfloat16=loss in ("wasserstein", "non-saturating"))


@pytest.mark.parametrize("pair", list(itertools.combinations(sorted(TECHNIQUES), 2)), ids="+".join)
def test_each_pair_is_built_alike_in_either_order_or_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    which = "colour"
    if says := refusal(which, pair):
        for order in (pair, pair[::-1]):
            with pytest.raises(UserError, match=says):
                game(which, order)
        return
    model = game(which, pair)
    assert {k: t.shape for k, t in model.state_dict().items()} == {
        k: t.shape for k, t in game(which, pair[::-1]).state_dict().items()
    }
    move_each(model, bfloat16="ema" in pair)
    again = load(model.save(tmp_path / "model"))
    assert again.config == model.config and torch.equal(again.sample(5), model.sample(5))
    assert all(torch.equal(tensor, again.state_dict()[k]) for k, tensor in model.state_dict().items())


def test_all_that_go_together_do_so_at_once() -> None:
    names = tuple(sorted(set(TECHNIQUES) - {"clip", "r1", "r2", "gradient-penalty"}))
    model = game("colour", names)
    move_each(model)
    weights = [name for name, _ in model.discriminator.named_parameters() if not name.endswith("bias")]
    norms = [name for name in weights if "original" not in name]
    assert all(isinstance(model.discriminator.get_submodule(n.rsplit(".", 1)[0]), BatchNorm) for n in norms)
    assert isinstance(next(m for m in model.average.modules() if isinstance(m, VirtualNorm)), VirtualNorm)
    assert len(list(model.history["discriminator"].buffers())) == 1 + len(list(model.discriminator.parameters()))


@pytest.mark.parametrize("name", sorted(TECHNIQUES))
def test_settings_are_json_in_and_out(name: str) -> None:
    technique = TECHNIQUES[name]()
    assert isinstance(technique, Technique) and type(technique).__doc__
    config = MODELS.parse({"kind": "gan", "techniques": [{"kind": name}]})
    assert config.techniques == (technique,)


def test_clashes_name_techniques() -> None:
    assert {frozenset((name, other)) for name, t in TECHNIQUES.items() for other in t.clashes} == CLASHES
    assert {name for pair in CLASHES for name in pair} <= TECHNIQUES.keys()


# ---- what is refused ----

FAST = {"data": "digits", "epochs": 1, "batch_size": 64, "device": "cpu"}


@pytest.mark.parametrize(
    ("recipe", "settings", "says"),
    [
        ("gan", {"label_smoothing": 1.2}, "--label-smoothing: real: 1.2 is refused: should be less than 1"),
        ("gan", {"gradient_penalty": float("nan")}, "--gradient-penalty: weight: nan is refused"),
        ("gan", {"ema": -0.5}, "--ema: decay: -0.5 is refused"),
        ("gan", {"augment": {"policy": ["flip"]}}, "--augment: policy.0: 'flip' is refused"),
        ("gan", {"gradient_penalties": 1}, "Did you mean 'gradient_penalty'"),
        ("gan", {"loss": "wasserstien"}, "unknown GAN loss 'wasserstien'. Did you mean 'wasserstein'"),
        ("gan", {"loss": "hinge", "label_smoothing": 0.9}, "label smoothing changes the target of a probability"),
        ("wgan", {"label_smoothing": 0.9}, "label smoothing changes the target of a probability"),
        ("wgan", {"clip": 0.1, "gradient_penalty": 10}, "clip and gradient-penalty both bound the critic's slope"),
        ("gan", {"r1": 1, "minibatch_discrimination": 5}, "r1 and minibatch-discrimination do not go together"),
        (
            "gan",
            {"paper": True, "virtual_batch_norm": 8},
            "batch norm, and this one has none: leave it away",
        ),
        ("gan", {"data": "ring", "augment": True}, "augment is of images"),
        ("gan", {"data": "ring", "mirror": True}, "mirror is of images"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_run(recipe: str, settings: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        ganvas.train(recipe, out=tmp_path / "run", **{**FAST, **settings})
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_the_command_line_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ganvas.cli import main

    words = "train dcgan --loss wasserstein --label-smoothing 0.9 --data digits --size 16 --out"
    assert main([*words.split(), str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("ganvas: label smoothing") and "\n" not in said and "leave it away" in said
    assert not (tmp_path / "run").exists()


def test_a_technique_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="the technique ema is given twice"):
        make(EMA(), EMA(decay=0.5))


@pytest.mark.parametrize("flag", ["gradient_penalty", "r1", "r2", "spectral_norm"])
def test_the_wasserstein_recipe_trains_with_another_bound(flag: str, tmp_path: Path) -> None:
    nets = {"generator": "mlp", "critic": "mlp", "warm_up": False, "n_critic": 2}
    run = ganvas.train("wgan", out=tmp_path / "run", **{**FAST, "batch_size": 256, **nets, flag: 1})
    assert run.state["state"] == "finished"
