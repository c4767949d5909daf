"""`task=audit`: what is probably wrong with the images of an experiment and their labels."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.build import function_of, keys_of
from expkit.check import checked, defaults
from expkit.command import override, pasted, shown
from expkit.config.schema import Config, filled
from expkit.logs import logging_to
from expkit.run_folder import RunFolder
from expkit.trainer import default
from expkit.words import duration, many

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from expkit.audit.findings import Audit
    from expkit.audit.gallery import Gallery
    from expkit.features.rows import Features

log = logging.getLogger("expkit")

PACKAGED = "expkit.model.efficientnet_lite0"
"""The model whose weights come with a package, so that nothing is downloaded."""


@checked
def audit(config: Config, folder: RunFolder, *, labels: bool = True) -> "Audit":
    """Look for what is wrong with the config's images and labels, on features of a pretrained body.

    Finds images of train that are in valid or test as well, duplicates, groups on both sides of the split (of a
    table's data.group_column), labels that are probably wrong, and images that are blurred, dark, of an odd size or
    unlike all others. The body is that of the config's model where it names weights, else the packaged
    efficientnet_lite0; its features are kept in the feature cache.

    Leaves audit/ in the folder: audit.html, findings.parquet, images.parquet, and, of image files, exclude.csv and
    relabel.csv for data.exclude and data.relabel.

    Args:
        config: the experiment, or the run's.
        folder: its folder.
        labels: look for labels that are probably wrong, by the package cleanlab (the extra audit).

    Raises UserError where images cannot be read, the body's package or cleanlab is not installed, or the cache cannot
    be written.
    """
    with folder.held(), logging_to(folder.log):
        from expkit.audit.gallery import Gallery
        from expkit.audit.labels import check_installed
        from expkit.wiring import read

        if labels:
            check_installed()
        began = time.perf_counter()
        data = read(config.data)
        gallery = Gallery.of(data)
        with_body = pretrained(config)
        space, found = examined(with_body, gallery, labels)
        report(with_body, folder, found, space, data.summary)
        log.info("audited in %s", duration(time.perf_counter() - began))
        return found


def pretrained(config: Config) -> Config:
    """The config with a body that has learnt something: its own where it names weights, else the packaged one."""
    keys = {**defaults(function_of(config.model, "model")), **keys_of(config.model)}
    if keys.get("weights") is not None:
        return config
    packaged = {"_target_": PACKAGED}
    return replace(config, model=packaged | defaults(function_of(packaged, "model")))


def features_of(config: Config, gallery: "Gallery") -> "list[Features]":
    """The features of each part, from the cache or computed now."""
    from expkit.features import FeatureCache
    from expkit.left_open import settled
    from expkit.own_functions import made
    from expkit.wiring import frozen_body

    classes = max(2, len(gallery.classes))
    frozen = frozen_body(settled(config, classes, trains=False), classes)
    transforms = made(config.augment, config.image_size, group="augment")
    cache = FeatureCache()
    return [
        cache.features(frozen, images, transforms, num_workers=config.num_workers, part=split.name.lower())
        for split, images in gallery.parts.items()
    ]


def examined(config: Config, gallery: "Gallery", labels: bool) -> "tuple[NDArray[Any], Audit]":
    """The features in few dimensions, and what was found by them."""
    from expkit.audit.duplicates import duplicates_of
    from expkit.audit.findings import audit_of
    from expkit.audit.labels import doubts_of
    from expkit.audit.looks import looks_of
    from expkit.audit.space import nearest, space_of
    from expkit.features import FeatureCache
    from expkit.trainer.precision import pick_device

    looks = looks_of(gallery, FeatureCache().entries)
    space = space_of(features_of(config, gallery))
    neighbours = nearest(space, pick_device(filled(config.trainer, like=default)["device"]))
    duplicates = duplicates_of(gallery, looks, *neighbours)
    doubts = doubts_of(space, gallery.labels, duplicates.clusters) if labels else None
    return space, audit_of(gallery, looks, duplicates, doubts, neighbours, config.image_size)


def report(config: Config, folder: RunFolder, found: "Audit", space: "NDArray[Any]", title: str) -> None:
    """Write page and tables of an audit, and show what matters on the screen."""
    from rich.console import Console

    from expkit.audit.files import write_corrections, write_tables
    from expkit.audit.leaks import accuracies_of, leaks_of
    from expkit.audit.page import write_page
    from expkit.audit.summary import facts_of, sentences_of, table_of

    place = folder.path / "audit"
    place.mkdir(exist_ok=True)
    leaks = leaks_of(found)
    answers = sentences_of(found, leaks, accuracies_of(found, leaks, space, folder.predictions))
    body = str(config.model.get("name") or str(config.model["_target_"]).rpartition(".")[2])
    facts = [*facts_of(found), f"features of {body} at {config.image_size} pixels"]
    write_tables(found, place)
    uses = uses_of(write_corrections(found, place))
    write_page(found, place / "audit.html", title=title, facts=facts, answers=answers, uses=uses)
    console = Console()
    console.print("\n".join(facts), highlight=False, soft_wrap=True, markup=False)
    if found.findings:
        console.print()
        console.print(table_of(found), markup=False)
    lines = ["", *answers, "", f"{shown(place / 'audit.html')}: {many(len(found.findings), 'finding', 'findings')}"]
    console.print("\n".join([*lines, *uses]), highlight=False, soft_wrap=True, markup=False)


def uses_of(files: tuple[Path, Path] | None) -> list[str]:
    """The keys that use the files of corrections, ready to paste; none where images are no files."""
    if files is None:
        return []
    exclude, relabel = (str(shown(path)) for path in files)
    return [pasted(override("data.exclude", exclude), override("data.relabel", relabel))]
