import pytest

from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.task.model_summary import summary


@pytest.fixture
def printed(config_of, tmp_path, capsys, monkeypatch):
    """What the task prints for an experiment on an 80-column terminal, line by line."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*overrides: str) -> list[str]:
        summary(config_of("+experiment=digits", *overrides), RunFolder(tmp_path, "digits"))
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return run


def rows(lines, header):
    """The rows of the table below a header, up to the next empty line."""
    start = next(number for number, line in enumerate(lines) if line.startswith(header)) + 1
    end = next((number for number in range(start, len(lines)) if not lines[number]), len(lines))
    return lines[start:end]


def test_groups_come_with_layers_parameters_and_sizes(printed):
    lines = printed("model.head=linear")
    assert lines[0] == "resnet18 on 1438 training and 359 validation images of 10 classes"
    assert lines[1].strip().startswith("valid is cut from train: data.valid_pct=0.2")
    early, late, head, whole = rows(lines, "group ")
    assert early.split("  ")[0] == "stem to layer2"
    assert "conv1, bn1, layer1, layer2" in early
    assert head.split() == ["head", "head", "5,130", "0.0", "MB"]
    assert whole.split() == ["all", "11,181,642", "44.8", "MB"]
    assert late.split()[-3] == "10,493,440"


def test_phases_say_what_trains_also_of_frozen_groups(printed):
    moving = [f"transfer.phases.{name}.train_bn=null" for name in ("head", "last_two", "all")]
    lines = printed("transfer=gradual_unfreeze", "epochs=5", "model.head=linear", *moving)
    head, last_two, whole = (line.split(maxsplit=2) for line in rows(lines, "phase "))
    assert (head[:2], last_two[:2], whole[:2]) == (["head", "1"], ["last_two", "1"], ["all", "3"])
    assert head[2].startswith("head, norms of the others ")
    assert last_two[2].startswith("layer3 and layer4, head, norms of the others ")
    assert whole[2].split("  ")[0] == "all groups"
    norms = 2 * (64 + 4 * 64 + 4 * 128 + 128) + 2 * (4 * 256 + 256 + 4 * 512 + 512)
    assert head[2].split()[-1] == f"{5130 + norms:,}"
    still = rows(printed("transfer=gradual_unfreeze", "epochs=5", "model.head=linear", *moving[1:]), "phase ")
    assert still[0].split() == ["head", "1", "head", "5,130"]
    as_it_is = rows(printed("transfer=gradual_unfreeze", "epochs=5", "model.head=linear"), "phase ")
    assert as_it_is[2].split(maxsplit=2)[2].startswith("all groups, but norms of the body ")


def test_precomputed_phases_train_the_head_alone(printed):
    lines = printed("augment=side_on", "transfer=frozen_views", "model.head=linear", "model.weights=IMAGENET1K_V1")
    (head,) = rows(lines, "phase ")
    assert head.split(maxsplit=2)[2].split("  ")[0] == "head, on features of 4 views"


def test_a_long_list_of_layers_wraps_within_80_columns(printed):
    lines = printed(
        "model=timm", "model.name=vit_tiny_patch16_224", "transfer=full_recipe", "augment=side_on", "epochs=9"
    )
    assert lines[0].startswith("vit_tiny_patch16_224 on ")
    assert max(map(len, lines)) <= 80
    assert "cls_token, pos_embed, patch_embed, blocks.0" in "\n".join(lines)


def test_groups_named_in_the_config_are_shown(printed):
    groups = "{stem: [conv1, bn1, layer1], late: [layer2, layer3, layer4]}"
    assert [row.split()[0] for row in rows(printed(f"model.groups={groups}"), "group ")] == [
        "stem",
        "late",
        "head",
        "all",
    ]


def test_more_groups_than_there_are_cannot_train(printed):
    with pytest.raises(UserError, match=r"last_two.trains=4, but the model has 3 layer groups \(stem to layer2, "):
        printed("transfer=gradual_unfreeze", "transfer.phases.last_two.trains=4")
