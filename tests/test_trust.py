import pytest

from expkit.errors import UserError
from expkit.trust import check_targets, resolve


def test_names_in_trusted_packages_are_resolved():
    import torch

    from expkit.sched import one_cycle

    assert resolve("expkit.sched.one_cycle", "sched._target_") is one_cycle
    assert resolve("torch.optim.Adam", "key") is torch.optim.Adam
    assert resolve("sklearn.datasets.load_digits", "key")().target_names.tolist() == list(range(10))


@pytest.mark.parametrize(
    "dotted",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "expkit.run_folder.os.replace",
        "expkit.data.listing.os.remove",  # by way of a trusted module
        "torch.load",
        "torch.hub.load",
        "torch.nn.modules.module.torch.load",
        "torch.nn.functional.importlib.import_module",
        "expkitten.sched.one_cycle",
        "sklearn.datasets.clear_data_home",
        "sklearn.datasets.dump_svmlight_file",
        "sklearn.datasets.fetch_file",
        "timm.models.load_state_dict",
    ],
)
def test_everything_else_is_refused_whatever_path_leads_to_it(dotted):
    with pytest.raises(UserError, match=r"^optim\._target_: "):
        resolve(dotted, "optim._target_")


def test_nested_targets_are_found():
    with pytest.raises(UserError, match=r"^data\.a\[1\]\.b\._target_: os\.system"):
        check_targets({"a": [1, {"b": {"_target_": "os.system"}}]}, "data")


def test_the_user_trusts_packages_by_environment_only(monkeypatch, tmp_path):
    (tmp_path / "my_policies.py").write_text("def rising(t): return t\nimport os\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="EXPKIT_TRUST=my_policies"):
        resolve("my_policies.rising", "sched")
    monkeypatch.setenv("EXPKIT_TRUST", "other, my_policies")
    assert resolve("my_policies.rising", "sched")(0.5) == 0.5
    with pytest.raises(UserError, match="posix"):
        resolve("my_policies.os.system", "sched")


def test_misspelt_names_say_where_they_end():
    with pytest.raises(UserError, match=r"expkit\.sched has no 'one_cicle'"):
        resolve("expkit.sched.one_cicle", "sched")
