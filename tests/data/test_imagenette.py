import pytest

from expkit.data import imagenette
from expkit.data.fetch import Archive
from expkit.data.imagenette import ARCHIVES, NAMES
from expkit.errors import UserError


@pytest.fixture
def layout(tmp_path, save):
    """A made-up data set in the official layout."""

    def make(folder: str):
        for part, count in (("train", 3), ("val", 1)):
            for wnid in NAMES:
                for number in range(count):
                    save(f"{folder}/{part}/{wnid}/{wnid}_{number}.JPEG")
        return tmp_path / folder

    return make


def test_the_official_division_and_readable_names(layout):
    data = imagenette(root=str(layout("imagenette2-160")))
    assert (len(data.train), len(data.valid), data.test) == (30, 10, None)
    assert data.classes[:3] == ("tench", "English springer", "cassette player")
    for images in (data.train, data.valid):
        wnids = [images.name(i).split("/")[1] for i in range(len(images))]
        assert [NAMES[wnid] for wnid in wnids] == [data.classes[label] for label in images.labels]


def test_names_are_those_of_torchvision():
    from torchvision.datasets import Imagenette

    assert {wnid: names[0] for wnid, names in Imagenette._WNID_TO_CLASS.items()} == NAMES
    sizes = {"full": "full", "320px": 320, "160px": 160}
    for theirs, ours in sizes.items():
        assert (ARCHIVES[ours].url, ARCHIVES[ours].md5) == Imagenette._ARCHIVES[theirs]


@pytest.mark.parametrize("size", ["full", 320, 160])
def test_sizes_lie_side_by_side_below_a_root(layout, size):
    for folder in ("imagenette2", "imagenette2-320", "imagenette2-160"):
        layout(f"root/{folder}")
    root = layout("root/imagenette2").parent
    assert imagenette(root=str(root), size=size).train.root == str(root / ARCHIVES[size].folder)


def test_it_is_fetched_where_the_root_lacks_it(layout, publish, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHIVES, 160, publish(layout("imagenette2-160")))
    data = imagenette(root=str(tmp_path / "fetched"))
    assert (len(data.train), len(data.valid)) == (30, 10)
    (tmp_path / "www" / "imagenette2-160.tgz").unlink()
    assert imagenette(root=str(tmp_path / "fetched")).fingerprint == data.fingerprint


def test_offline_one_line_says_what_to_fetch_and_where_to_put_it(server, tmp_path, monkeypatch):
    address = f"http://127.0.0.1:{server.server_port}/imagenette2-160.tgz"
    monkeypatch.setitem(ARCHIVES, 160, Archive(address, "", "imagenette2-160"))
    root = tmp_path / "none"
    with pytest.raises(UserError) as raised:
        imagenette(root=str(root))
    assert "\n" not in str(raised.value)
    assert f"cannot be fetched (HTTPError: HTTP Error 404: File not found); fetch {address}" in str(raised.value)
    assert f"and unpack it in {root}" in str(raised.value)
    with pytest.raises(UserError, match=r"data\.root: .* has no train/ and val/, and data\.download is false"):
        imagenette(root=str(root), download=False)


def test_other_folders_are_refused(layout, save):
    root = layout("imagenette2-160")
    save("imagenette2-160/train/n02086240/1.JPEG")
    with pytest.raises(UserError, match=r"(?s)not that of Imagenette.*data=folders.*n02086240 is none of its classes"):
        imagenette(root=str(root))


@pytest.mark.parametrize("size", ["160", 128, True])
def test_sizes_that_there_are_not_are_refused(size):
    with pytest.raises(UserError, match="size must be one of full, 320, 160"):
        imagenette(size=size)


def test_a_root_that_is_beside_the_data_set_fetches_nothing(layout):
    root = layout("data/imagenette2-160")
    for wrong, right in ((root / "train", root), (root.parents[1], root.parent)):
        with pytest.raises(UserError, match=rf"{wrong} does not hold the data set, but data\.root={right} does"):
            imagenette(root=str(wrong))


def test_what_was_fetched_and_is_not_whole_is_not_blamed_on_the_download_key(publish, save, tmp_path, monkeypatch):
    save("packed/imagenette2-160/train/n01440764/1.JPEG")
    monkeypatch.setitem(ARCHIVES, 160, publish(tmp_path / "packed" / "imagenette2-160"))
    with pytest.raises(UserError, match="what was fetched is not whole") as raised:
        imagenette(root=str(tmp_path / "data"))
    assert "data.download is false" not in str(raised.value)
