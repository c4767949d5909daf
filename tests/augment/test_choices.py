import random
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as v2

from expkit.augment import none, side_on, top_down
from expkit.augment.policies import SPACES
from expkit.errors import UserError

STILL = {"flip": 0.0, "rotate": 0.0, "zoom": 1.0, "shift": 0.0, "lighting": 0.0}
PLAIN = Image.new("RGB", (90, 70), (100, 150, 200))


def ramp(width, height):
    """An image whose red says how far right, and green how far down, a pixel lies (0 to 1 as 0 to 255)."""
    red = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    green = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([red, green, np.full((height, width), 60)], axis=-1).round().astype(np.uint8))


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def spans(pixels):
    """How much of the width and of the height of a ramp is seen in the middle row and column."""
    pixels = pixels.float() / 255
    middle = len(pixels) // 2
    return pixels[middle, -1, 0] - pixels[middle, 0, 0], pixels[-1, middle, 1] - pixels[0, middle, 1]


@pytest.mark.parametrize("resize", ["crop", "pad", "squish"])
@pytest.mark.parametrize("config", [none, side_on, top_down])
@pytest.mark.parametrize("extent", [(8, 8), (500, 375), (40, 300), (1, 1), (3, 1000), (224, 224)])
def test_any_image_becomes_a_square_of_contiguous_bytes(config, resize, extent):
    transforms = config(64, resize=resize)
    for pixels in (transforms.train(noise(*extent), 5), transforms.valid(noise(*extent))):
        assert pixels.shape == (64, 64, 3)
        assert pixels.dtype == torch.uint8
        assert pixels.is_contiguous()


@pytest.mark.parametrize(("width", "height"), [(400, 200), (200, 400)])
def test_crop_keeps_the_middle_of_the_longer_side(width, height):
    across, down = spans(none(100).valid(ramp(width, height)))
    long, short = (across, down) if width > height else (down, across)
    assert long == pytest.approx(0.5, abs=0.02)
    assert short == pytest.approx(1, abs=0.02)


def test_squish_keeps_all():
    across, down = spans(none(100, resize="squish").valid(ramp(400, 200)))
    assert (across, down) == (pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.02))


def test_pad_keeps_all_and_mirrors_it_above_and_below():
    pixels = none(100, resize="pad").valid(ramp(400, 200))
    assert pixels[50, -1, 0].item() - pixels[50, 0, 0].item() > 250
    assert pixels[26, 50, 1] < 10
    assert pixels[73, 50, 1] > 245
    assert torch.equal(pixels[:25], pixels[25:50].flip(0))
    assert torch.equal(pixels[75:], pixels[50:75].flip(0))


def test_padded_pixels_are_those_of_the_resized_image():
    image = noise(64, 32)
    expected = v2.resize(v2.pil_to_tensor(image), [16, 32], antialias=True).permute(1, 2, 0)
    assert torch.equal(none(32, resize="pad").valid(image)[8:24], expected)


def test_a_square_image_of_the_right_size_is_left_alone():
    image = noise(32, 32)
    for resize in ("crop", "pad", "squish"):
        assert torch.equal(none(32, resize=resize).valid(image), torch.from_numpy(np.array(image)))


def test_small_images_are_enlarged_smoothly():
    """The levels between two pixels appear, none outside them, and the order stays."""
    image = Image.fromarray(np.repeat(np.array([[0, 240]], np.uint8), 2, axis=0)).convert("RGB")
    row = none(32).valid(image)[0, :, 0].int()
    assert (row[0], row[-1]) == (0, 240)
    assert (row.diff() >= 0).all()
    assert len(row.unique()) > 10


def test_large_images_are_averaged_not_picked():
    """A checkerboard of single pixels has no middle grey of its own."""
    board = np.indices((256, 256)).sum(0) % 2 * 255
    pixels = none(32).valid(Image.fromarray(board.astype(np.uint8)).convert("RGB"))
    assert (pixels.int() - 127).abs().max() <= 3


def test_valid_is_the_same_each_time_and_none_trains_on_it():
    transforms = none(32)
    image = noise(50, 40)
    assert not transforms.random
    assert transforms.size == 32
    assert torch.equal(transforms.train(image, 1), transforms.valid(image))
    assert torch.equal(transforms.train(image, 2), transforms.valid(image))
    assert torch.equal(side_on(32).valid(image), transforms.valid(image))


@pytest.mark.parametrize("config", [side_on, top_down])
def test_the_seed_alone_decides(config):
    transforms = config(32)
    image = noise(50, 40)
    assert transforms.random
    views = [transforms.train(image, seed) for seed in range(20)]
    again = [transforms.train(image, seed) for seed in reversed(range(20))][::-1]
    assert all(map(torch.equal, views, again))
    assert len({view.numpy().tobytes() for view in views}) == 20


def test_global_random_states_are_untouched():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    for seed in range(5):
        top_down(32).train(noise(50, 40), seed)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_threads_do_not_change_a_bit():
    """In the parent two threads may transform an image, in a worker it is one."""
    transforms, image = top_down(224), noise(400, 300)
    threads = torch.get_num_threads()
    views = []
    for count in (1, 4):
        torch.set_num_threads(count)
        views.append(torch.stack([transforms.train(image, seed) for seed in range(8)]))
    torch.set_num_threads(threads)
    assert torch.equal(*views)


def test_training_crops_lie_anywhere_along_the_longer_side():
    transforms = side_on(50, **STILL)
    lefts = torch.tensor([transforms.train(ramp(200, 100), seed)[25, 0, 0] / 255 for seed in range(60)])
    assert lefts.min() < 0.05
    assert lefts.max() > 0.45
    assert ((lefts >= 0) & (lefts < 0.52)).all()


def test_padded_images_lie_anywhere_in_training():
    transforms = side_on(50, resize="pad", **STILL)
    image = Image.new("RGB", (100, 50))
    image.paste((255, 255, 255), (0, 0, 100, 2))
    rows = {transforms.train(image, seed)[:, 25, 0].argmax().item() for seed in range(40)}
    assert len(rows) > 8


def test_without_amounts_training_differs_by_position_only():
    image = noise(40, 40)
    assert torch.equal(side_on(40, **STILL).train(image, 3), none(40).valid(image))


def test_flips_are_left_to_right_and_as_frequent_as_asked():
    image = noise(16, 16)
    still, mirrored = none(16).valid(image), none(16).valid(image).flip(1)
    views = [side_on(16, **{**STILL, "flip": 0.5}).train(image, seed) for seed in range(200)]
    flips = sum(torch.equal(view, mirrored) for view in views)
    assert flips + sum(torch.equal(view, still) for view in views) == 200
    assert 70 < flips < 130


def test_top_down_reaches_all_eight_ways_to_lay_a_tile():
    image = noise(16, 16)
    tile = none(16).valid(image)
    ways = {torch.rot90(t, turns).numpy().tobytes() for t in (tile, tile.flip(1)) for turns in range(4)}
    still = {**STILL, "flip": 0.5}
    assert {top_down(16, **still).train(image, seed).numpy().tobytes() for seed in range(150)} == ways
    upright = {tile.numpy().tobytes(), tile.flip(0).numpy().tobytes()}
    only_vertical = partial(top_down, 16, **STILL, quarter_turns=False)
    assert {only_vertical().train(image, seed).numpy().tobytes() for seed in range(30)} == upright


def slope(pixels):
    """The angle in degrees, modulo flips, at which the red ramp runs."""
    red = pixels[..., 0].float()
    middle = slice(len(red) // 4, -len(red) // 4)
    right, down = red.diff(dim=1)[middle, middle].mean(), red.diff(dim=0)[middle, middle].mean()
    return torch.rad2deg(torch.atan2(down, right)).item()


def test_rotations_stay_within_their_bound_and_use_it():
    transforms = side_on(100, **{**STILL, "rotate": 30.0, "p_affine": 1.0})
    angles = [slope(transforms.train(ramp(150, 150), seed)) for seed in range(60)]
    assert max(angles) == pytest.approx(30, abs=4)
    assert min(angles) == pytest.approx(-30, abs=4)
    assert max(map(abs, angles)) < 30.5


def test_a_rotation_is_that_of_torchvision_in_the_middle():
    image = ramp(100, 100)
    transforms = side_on(100, **{**STILL, "rotate": 20.0, "p_affine": 1.0})
    view = transforms.train(image, 4)
    turned = v2.rotate(v2.pil_to_tensor(image), -slope(view), interpolation=v2.InterpolationMode.BILINEAR).permute(
        1, 2, 0
    )
    assert (view.int() - turned.int())[25:75, 25:75].abs().max() <= 2


def test_corners_mirror_the_image_and_are_not_black():
    transforms = side_on(60, **{**STILL, "rotate": 45.0, "shift": 0.4, "p_affine": 1.0})
    for seed in range(10):
        assert torch.equal(transforms.train(PLAIN, seed), none(60).valid(PLAIN))


def test_zooms_stay_within_their_bound_and_use_it():
    transforms = side_on(100, **{**STILL, "zoom": 2.0, "p_affine": 1.0})
    seen = torch.tensor([spans(transforms.train(ramp(300, 300), seed)) for seed in range(60)])
    assert seen.min() == pytest.approx(0.5, abs=0.03)
    assert seen.max() == pytest.approx(1.0, abs=0.05)
    assert (seen[:, 0] - seen[:, 1]).abs().max() < 0.02


def test_shifts_stay_within_their_bound_and_use_it():
    transforms = side_on(100, **{**STILL, "shift": 0.2, "p_affine": 1.0})
    views = torch.stack([transforms.train(ramp(100, 100), seed) for seed in range(80)])
    moved = views[:, 50, 50, :2] / 255 - 0.505
    assert moved.abs().max() < 0.21
    assert moved.amax(0).min() > 0.15
    assert moved.amin(0).max() < -0.15


def test_small_images_shift_by_parts_of_a_pixel():
    transforms = side_on(64, **{**STILL, "shift": 0.05, "p_affine": 1.0})
    assert len({transforms.train(ramp(8, 8), seed).numpy().tobytes() for seed in range(20)}) == 20


def test_lighting_stays_within_its_bound_and_keeps_black_and_white():
    """The brightest and the darkest are those of fastai: logit(0.5 * (1 +- amount)), times 1 / (1 - amount)."""
    image = Image.fromarray(np.repeat([[0, 128, 255]], 3, axis=0).astype(np.uint8)).convert("RGB")
    transforms = side_on(3, **{**STILL, "lighting": 0.2, "p_lighting": 1.0})
    views = torch.stack([transforms.train(image, seed)[1, :, 0] for seed in range(200)]).int()
    assert (views[:, 0] == 0).all()
    assert (views[:, 2] == 255).all()
    assert 154 <= views[:, 1].max() <= 160
    assert 96 <= views[:, 1].min() <= 102


def test_chances_of_nothing_change_nothing():
    image = noise(40, 40)
    transforms = side_on(40, flip=0.0, p_affine=0.0, p_lighting=0.0)
    assert all(torch.equal(transforms.train(image, seed), none(40).valid(image)) for seed in range(20))


@pytest.mark.parametrize(
    "wrong", [{"flip": 1.5}, {"rotate": -1.0}, {"zoom": 0.9}, {"shift": 0.6}, {"lighting": 1.0}, {"resize": "stretch"}]
)
def test_impossible_amounts_are_refused_by_name(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        side_on(64, **wrong)


def test_real_photos_keep_their_look(pets_mini):
    """A training view of a photo has the colours of the photo, within the change of lighting."""
    transforms = side_on(64)
    for path in sorted((pets_mini / "images").glob("*.jpg"))[:10]:
        image = Image.open(path).convert("RGB")
        view, whole = transforms.train(image, 1).float(), none(64, resize="squish").valid(image).float()
        assert abs(view.mean() - whole.mean()) < 45
        assert view.std() > 0.5 * whole.std()


@pytest.mark.parametrize("policy", ["trivial", "rand"])
def test_each_operation_of_a_policy_changes_a_photo_within_bytes(policy):
    pixels = v2.pil_to_tensor(noise(48, 48)) // 2 + 50
    for name, operation in SPACES[policy].items():
        for strength in (-1.0, -0.5, 0.5, 1.0):
            seen = operation(pixels, strength)
            assert seen.shape == pixels.shape, name
            assert seen.dtype == torch.uint8, name
            assert torch.equal(seen, pixels) == (name == "identity"), (name, strength)
            assert torch.equal(seen, operation(pixels, strength)), name
        if name not in ("identity", "equalize", "autocontrast"):
            assert torch.equal(operation(pixels, 0.0), pixels), name


@pytest.mark.parametrize(
    ("name", "strength", "theirs"),
    [
        ("brightness", 0.5, lambda image: v2.adjust_brightness(image, 1.45)),
        ("contrast", -0.5, lambda image: v2.adjust_contrast(image, 0.55)),
        ("sharpness", 1.0, lambda image: v2.adjust_sharpness(image, 1.9)),
    ],
)
def test_operations_of_our_own_are_torchvisions(name, strength, theirs):
    pixels = v2.pil_to_tensor(noise(40, 40))
    assert (SPACES["rand"][name](pixels, strength).int() - theirs(pixels).int()).abs().max() <= 1


def test_a_policy_turns_and_moves_as_far_as_it_says():
    pixels = v2.pil_to_tensor(ramp(100, 100))
    moved = SPACES["trivial"]["translate_x"](pixels, 1.0).float() / 255
    assert moved[0, 50, 0] == pytest.approx(32 / 224, abs=0.02)
    turned = SPACES["rand"]["rotate"](pixels, 1.0).float() / 255
    across = (turned[0, 50, 75] - turned[0, 50, 25]) * 2
    assert across == pytest.approx(np.cos(np.radians(30)), abs=0.03)


@pytest.mark.parametrize(
    "keys", [{"policy": "trivial"}, {"policy": "rand", "policy_ops": 3}, {"erase": 1.0}, {"crop_scale": 0.2}]
)
def test_further_augmentation_is_drawn_from_the_seed_alone(keys):
    image, transforms = noise(90, 70), side_on(32, **STILL, **keys)
    torch.manual_seed(1)
    random.seed(1)
    views = [transforms.train(image, seed) for seed in range(20)]
    torch.manual_seed(2)
    random.seed(2)
    assert all(torch.equal(transforms.train(image, seed), views[seed]) for seed in range(20))
    assert len({view.numpy().tobytes() for view in views}) > 10
    assert torch.equal(transforms.valid(image), none(32).valid(image))


def test_an_erased_box_has_the_mean_colour_and_a_third_at_most():
    transforms = side_on(60, **STILL, erase=1.0)
    before = none(60).valid(ramp(60, 60)).int()
    for seed in range(30):
        pixels = transforms.train(ramp(60, 60), seed).int()
        changed = (pixels != before).any(-1)
        assert 0 < changed.float().mean() < 0.36
        assert len(pixels[changed].unique(dim=0)) == 1
        assert (pixels[changed][0] - before.float().mean((0, 1)).int()).abs().max() <= 1


def test_a_random_crop_shows_parts_of_all_sizes_down_to_the_least():
    transforms = side_on(50, **STILL, crop_scale=0.25)
    seen = [spans(transforms.train(ramp(200, 200), seed)) for seed in range(200)]
    areas = [float(across * down) for across, down in seen]
    assert 0.2 < min(areas) < 0.3
    assert max(areas) > 0.85
    assert transforms.train_side == 116
    assert transforms.train_side >= 49 / min(min(float(across), float(down)) for across, down in seen)
