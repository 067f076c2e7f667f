import resource

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from gss.core.errors import InputError
from gss.posterior import palette
from gss.posterior.codec import IGNORE_INDEX, MaskigeCodec

VARIANTS = [
    ("nearest", False),
    ("conv", False),
    ("swin", False),
    ("nearest", True),
    ("conv", True),
]


def build(num_classes: int, method: str = "maxmin", **options) -> MaskigeCodec:
    return MaskigeCodec(palette.build(method, num_classes).tolist(), **options)


def random_labels(num_classes: int, *size: int, void: float = 0.1) -> torch.Tensor:
    labels = torch.randint(0, num_classes, size)
    return torch.where(torch.rand(size) < void, IGNORE_INDEX, labels)


@pytest.mark.parametrize("method", ["maxmin", "lattice", "random", "jitter"])
@pytest.mark.parametrize("num_classes", [1, 2, 19, 150, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 57), (33, 20)])
def test_clean_round_trip(method: str, num_classes: int, size: tuple[int, int]) -> None:
    codec = build(num_classes, method)
    labels = random_labels(num_classes, 2, *size)
    before = labels.clone()
    maskige = codec.encode(labels)
    assert torch.equal(labels, before)
    assert maskige.shape == (2, 3, *size) and maskige.dtype == torch.float32
    assert maskige.min() >= -1 and maskige.max() <= 1
    valid = labels != IGNORE_INDEX
    decoded = codec.decode(maskige)
    assert decoded.dtype == torch.long and decoded.max() < num_classes
    assert torch.equal(decoded[valid], labels[valid])
    assert torch.equal(codec.logits(maskige).argmax(1), decoded)
    picture = ((maskige[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(codec.decode_image(picture)[valid[0].numpy()], labels[0][valid[0]].numpy())


@given(
    num_classes=st.integers(1, 255),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 999),
)
@settings(max_examples=20)
def test_any_lattice_round_trip(num_classes: int, height: int, width: int, seed: int) -> None:
    codec = build(num_classes, "lattice")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, (1, height, width), generator=generator)
    assert torch.equal(codec.decode(codec.encode(labels)), labels)


def test_encode_paints_8_bit_colours_and_void() -> None:
    codec = MaskigeCodec([[0, 10, 20], [255, 1, 128]], void_color=[7, 8, 9])
    painted = (codec.encode(torch.tensor([[[0, 1, 255]]])) + 1) * 127.5
    assert torch.allclose(painted[0, :, 0].t(), torch.tensor([[0.0, 10, 20], [255, 1, 128], [7, 8, 9]]), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_encode_takes_any_integers(dtype: torch.dtype) -> None:
    codec = build(9)
    labels = random_labels(9, 1, 5, 6)
    assert torch.equal(codec.encode(labels.to(dtype)), codec.encode(labels))


@pytest.mark.parametrize("value", [9, 254, 256, -1])
def test_labels_out_of_range(value: int) -> None:
    labels = torch.zeros(1, 3, 4, dtype=torch.long)
    labels[0, 1, 1] = value
    with pytest.raises(InputError, match=f"value {value} is outside 0 to 8"):
        build(9).encode(labels)
    if value != 9:  # 9 is the row of the void colour
        with pytest.raises(IndexError):
            build(9).encode(labels, validate=False)


@pytest.mark.parametrize("labels", [torch.zeros(3, 4, dtype=torch.long), torch.zeros(1, 3, 4)])
def test_wrong_labels(labels: torch.Tensor) -> None:
    with pytest.raises(InputError, match="give integers of shape"):
        build(3).encode(labels)


def test_wrong_maskige() -> None:
    for bad in (torch.zeros(1, 4, 2, 2), torch.zeros(3, 2, 2), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)):
        for method in (build(3).logits, build(3).decode):
            with pytest.raises(InputError, match="maskige"):
                method(bad)
    for image in (np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.float32)):
        with pytest.raises(InputError, match="8-bit RGB"):
            build(3).decode_image(image)


def test_wrong_arguments() -> None:
    colors = palette.maxmin(4).tolist()
    with pytest.raises(InputError, match="void_color"):
        MaskigeCodec(colors, void_color=(0, 0))
    with pytest.raises(InputError, match="temperature"):
        MaskigeCodec(colors, temperature=0.0)
    with pytest.raises(InputError, match="share"):
        MaskigeCodec([[1, 2, 3], [1, 2, 3]])
    with pytest.raises(InputError, match="outside 1 to 255"):
        MaskigeCodec([[i % 256, i // 256, 0] for i in range(300)])


def test_logits_are_the_nearest_colour_scores() -> None:
    codec = build(31, temperature=500.0)
    maskige = torch.rand(2, 3, 5, 7) * 2.4 - 1.2
    pixels = (maskige.double() + 1) * 127.5
    distance = ((pixels[:, None] - codec.palette.double()[None, :, :, None, None]) ** 2).sum(2)
    expected = torch.log_softmax(-distance / 500.0, dim=1)
    assert torch.allclose(torch.log_softmax(codec.logits(maskige), 1).double(), expected, atol=1e-3)
    assert codec.logits(maskige.half()).dtype == torch.float32


def test_autocast_does_not_blur_colours() -> None:
    codec = build(255)
    maskige = codec.encode(random_labels(255, 1, 24, 31, void=0.0)) + 0.05 * torch.randn(1, 3, 24, 31)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(codec.logits(maskige).argmax(1), codec.decode(maskige))
        blurred = codec.logits(maskige)
    assert torch.equal(blurred, codec.logits(maskige))


@pytest.mark.parametrize("num_classes", [5, 150, 255])
def test_table_equals_affine_argmax(num_classes: int) -> None:
    codec = build(num_classes)
    picture = np.random.default_rng(0).integers(0, 256, (120, 75, 3)).astype(np.uint8)
    maskige = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    two = codec.logits(maskige).topk(2, dim=1).values[0]
    clear = ((two[0] - two[1]) > 1e-3).numpy()
    affine = codec.decode(maskige)[0].numpy()
    table = codec.decode_image(picture)
    assert table.dtype == np.int64 and clear.mean() > 0.9
    assert np.array_equal(table[clear], affine[clear])
    assert np.array_equal(table, codec.decode_image(Image.fromarray(picture)))


def test_table_follows_the_palette() -> None:
    codec = MaskigeCodec([[0, 0, 0], [100, 0, 0]], learn_palette=True)
    picture = np.full((1, 1, 3), (58, 0, 0), np.uint8)
    assert codec.decode_image(picture)[0, 0] == 1
    with torch.no_grad():
        codec.palette_shift.copy_(torch.tensor([[1e6, 0, 0], [1e6, 0, 0]]))
    assert codec.palette[:, 0].tolist() == pytest.approx([25, 125], abs=0.1)
    assert codec.decode_image(picture)[0, 0] == 0


@pytest.mark.parametrize("num_classes", [19, 150, 194])
def test_noise_hurts_less_than_with_the_jittered_grid(num_classes: int) -> None:
    labels = random_labels(num_classes, 1, 96, 128, void=0.0)
    noise = torch.randn(1, 3, 96, 128) * 15 / 127.5
    accuracy = {}
    for method in ("maxmin", "jitter", "random"):
        codec = build(num_classes, method)
        accuracy[method] = (codec.decode(codec.encode(labels) + noise) == labels).float().mean().item()
    assert accuracy["maxmin"] > max(accuracy["jitter"], accuracy["random"])
    assert accuracy["maxmin"] > {19: 0.999, 150: 0.86, 194: 0.8}[num_classes]


@pytest.mark.parametrize("num_classes", [19, 150])
def test_least_squares_inverse_is_no_inverse(num_classes: int) -> None:
    """The paper's beta^T (beta beta^T)^-1: singular for K > 3, and its pseudo-inverse loses clean colours."""
    colors = palette.maxmin(num_classes).astype(np.float64) / 127.5 - 1
    assert np.linalg.matrix_rank(colors @ colors.T) == 3
    affine = np.c_[colors, np.ones(num_classes)]
    for basis in (colors, affine):
        recovered = (basis @ np.linalg.pinv(basis)).argmax(1) == np.arange(num_classes)
        assert recovered.mean() < (0.8 if num_classes == 19 else 0.2)
    codec = build(num_classes)
    labels = torch.arange(num_classes)[None, None]
    assert torch.equal(codec.decode(codec.encode(labels)), labels)


@pytest.mark.parametrize(("inverse", "learn"), VARIANTS)
def test_trained_inverses_start_at_the_nearest_colour(inverse: str, learn: bool) -> None:
    plain, codec = build(12), build(12, inverse=inverse, learn_palette=learn)
    maskige = torch.rand(2, 3, 13, 18) * 2 - 1
    assert torch.equal(codec.palette, plain.palette)
    assert torch.equal(codec.logits(maskige), plain.logits(maskige))
    assert torch.equal(codec.decode(maskige), plain.decode(maskige))
    assert codec.pointwise == (inverse == "nearest")


@pytest.mark.parametrize(("inverse", "learn"), VARIANTS)
def test_save_and_load_is_bit_exact(inverse: str, learn: bool, tmp_path) -> None:
    codec = build(23, inverse=inverse, learn_palette=learn, inverse_width=8, void_color=(9, 8, 7), temperature=321.0)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(torch.randn_like(parameter))
    picture = np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)
    before = codec.decode_image(picture)
    codec.save_pretrained(tmp_path)
    again = MaskigeCodec.from_pretrained(tmp_path)
    maskige, labels = torch.rand(1, 3, 9, 14) * 2 - 1, random_labels(23, 1, 9, 14)
    assert torch.equal(again.logits(maskige), codec.logits(maskige))
    assert torch.equal(again.encode(labels), codec.encode(labels))
    assert np.array_equal(again.decode_image(picture), before)
    assert again.temperature == 321.0
    saved = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert saved["start_palette"].tolist() == palette.maxmin(23).tolist()
    assert sum(tensor.nbytes for tensor in saved.values()) < 1 << 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_palette(dtype: torch.dtype) -> None:
    codec = build(150).to(dtype)
    labels = random_labels(150, 1, 8, 9, void=0.0)
    assert torch.equal(codec.encode(labels), build(150).encode(labels))
    assert torch.equal(codec.decode(codec.encode(labels).to(dtype)), labels)
    swin = build(5, inverse="swin").to(dtype)
    assert swin.logits(torch.zeros(1, 3, 4, 6)).dtype == torch.float32


def test_learned_palette_gets_gradients_through_both_maps() -> None:
    codec = build(6, learn_palette=True)
    labels = random_labels(6, 1, 7, 9)
    codec.encode(labels).square().sum().backward()
    through_encode = codec.palette_shift.grad.clone()
    codec.zero_grad()
    codec.logits(torch.rand(1, 3, 7, 9)).square().sum().backward()
    assert (through_encode.abs().sum(1) > 0).all()
    assert (codec.palette_shift.grad.abs().sum(1) > 0).all()
    assert not list(build(6).parameters())


def test_gradient_of_encode_matches_finite_differences() -> None:
    # Inside the cube, where the straight-through clamp is the identity.
    codec = MaskigeCodec([[100, 120, 130], [150, 90, 60], [60, 60, 190]], learn_palette=True)
    labels, weight = random_labels(3, 1, 5, 6), torch.randn(1, 3, 5, 6)
    with torch.no_grad():
        codec.palette_shift.normal_(std=0.3)
    (codec.encode(labels) * weight).sum().backward()
    step = 1e-2
    for position in [(0, 0), (1, 2), (2, 1)]:
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                codec.palette_shift[position] += sign * step
                ends.append((codec.encode(labels) * weight).double().sum())
                codec.palette_shift[position] -= sign * step
        slope = (ends[0] - ends[1]) / (2 * step)
        assert codec.palette_shift.grad[position].item() == pytest.approx(slope.item(), rel=2e-2, abs=1e-3)


@given(seed=st.integers(0, 999), scale=st.sampled_from((0.1, 3.0, 1e4)))
def test_learned_palette_cannot_collapse(seed: int, scale: float) -> None:
    codec = build(25, "jitter", learn_palette=True)
    start = palette.min_distance(codec.start_palette.numpy())
    with torch.no_grad():
        codec.palette_shift.copy_(scale * torch.randn(25, 3, generator=torch.Generator().manual_seed(seed)))
    moved = codec.palette.detach().numpy()
    assert moved.min() >= 0 and moved.max() <= 255
    assert palette.min_distance(moved) >= 0.5 * start - 1e-2


def test_learned_palette_leaves_the_faces_of_the_cube() -> None:
    codec = MaskigeCodec([[0, 0, 0], [255, 255, 255]], learn_palette=True)
    optimizer = torch.optim.SGD(codec.parameters(), lr=0.05)
    for target in (-2.0, -0.8):  # first pushed out of the cube, then called back inside
        for _ in range(40):
            optimizer.zero_grad()
            (codec.encode(torch.zeros(1, 1, 1, dtype=torch.long)) - target).square().sum().backward()
            optimizer.step()
        assert codec.palette[0].detach() == pytest.approx(max(0.0, (target + 1) * 127.5), abs=3)


@pytest.mark.parametrize(("inverse", "learn"), VARIANTS)
def test_variants_learn_to_undo_a_colour_shift(inverse: str, learn: bool) -> None:
    """A decoder that greys every colour: what is trained recovers classes that were confused."""
    codec = build(12, inverse=inverse, learn_palette=learn, inverse_width=16)
    labels = torch.randint(0, 12, (2, 3, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(codec.logits(0.45 * codec.encode(labels) + 0.2), labels)

    first = loss().item()
    if not list(codec.parameters()):
        return
    optimizer = torch.optim.Adam(codec.parameters(), lr=2e-2)
    for _ in range(30):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert loss().item() < 0.7 * first
    assert palette.min_distance(codec.palette.detach().numpy()) > 60


def test_calibration_finds_the_noise() -> None:
    codec = build(150)
    labels = random_labels(150, 2, 90, 120)
    sigma = 14.0
    noisy = codec.encode(labels) + torch.randn(2, 3, 90, 120) * sigma / 127.5
    temperature = codec.calibrate_temperature(noisy, labels)
    # Gaussian noise: log p(x | k) = -|x - beta_k|^2 / (2 sigma^2) + const.
    assert temperature == pytest.approx(2 * sigma**2, rel=0.06)
    assert codec.temperature == codec.config.temperature == temperature
    valid = labels != IGNORE_INDEX
    probabilities = codec.logits(noisy).softmax(1).amax(1)[valid]
    accuracy = (codec.decode(noisy) == labels)[valid].float().mean()
    assert probabilities.mean().item() == pytest.approx(accuracy.item(), abs=0.01)


def test_calibration_survives_saving_and_perfect_input(tmp_path) -> None:
    codec = build(10)
    labels = random_labels(10, 1, 12, 15)
    assert codec.calibrate_temperature(codec.encode(labels), labels) == pytest.approx(10.0, rel=1e-2)
    codec.save_pretrained(tmp_path)
    assert MaskigeCodec.from_pretrained(tmp_path).temperature == codec.temperature


def test_calibration_refuses_what_it_cannot_do() -> None:
    maskige, labels = torch.zeros(1, 3, 4, 5), torch.full((1, 4, 5), IGNORE_INDEX)
    with pytest.raises(InputError, match="every pixel is void"):
        build(3).calibrate_temperature(maskige, labels)
    with pytest.raises(InputError, match="does not match"):
        build(3).calibrate_temperature(maskige, labels[:, :2])
    with pytest.raises(InputError, match="calibrated by its training"):
        build(3, inverse="conv").calibrate_temperature(maskige, labels)


def test_memory_stays_far_below_classes_times_colours() -> None:
    codec = build(150)
    maskige = torch.rand(1, 3, 768, 1024) * 2 - 1
    codec.decode(maskige[:, :, :16])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    codec.decode(maskige)
    decode_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert decode_kib < 64 * 1024  # all scores would be 450 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    codec.logits(maskige)
    logits_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert logits_kib < 600 * 1024  # the scores themselves are 450 MiB; K x 3 would add 1350
