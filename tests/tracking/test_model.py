from expkit.tracking.model import requirement


def test_versions_of_the_model_are_those_that_every_index_knows(tmp_path, monkeypatch):
    info = tmp_path / "locally_built-2.14.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: locally-built\nVersion: 2.14.1+cu130\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert requirement("locally-built") == "locally-built==2.14.1"
