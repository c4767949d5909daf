"""The images of a run as inputs of MLflow's, which its list and its pages show as data sets."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from expkit.tracking.nested import config_in, data_of, nested_in
from expkit.whole_files import read_json

CONTEXTS = {"train": "training", "valid": "validation", "test": "test"}
"""What MLflow calls the use of a set of images."""
PLACES = ("root", "file", "source", "images")
"""Keys of the data that say where the images are."""
SCHEMA = {"mlflow_colspec": [{"name": "image", "type": "binary"}, {"name": "label", "type": "string"}]}


def inputs_in(path: Path, facts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, list[DatasetInput]]:
    """The sets of images that the run in a folder reads, or those nested in it, by the fingerprint of their data.

    `facts` is the content of its run.json, `config` its config. Empty while nothing is known of them.
    """
    if "kind" not in facts:
        known = data_of(path)
        return {known["fingerprint"]: inputs_of(config, facts, known)} if known else {}
    found: dict[str, list[DatasetInput]] = {}
    for run in nested_in(path):
        known = data_of(run)
        if known and known["fingerprint"] not in found:
            found[known["fingerprint"]] = inputs_of(config_in(run), read_json(run / "run.json"), known)
    return found


def inputs_of(config: Mapping[str, Any], facts: Mapping[str, Any], known: Mapping[str, Any]) -> list[DatasetInput]:
    """The sets of images of a run, by its config, its run.json, and what `data_of` knows of them.

    MLflow tells data sets apart by name and digest, so each has the name of its split behind that of the data.
    """
    node = config.get("data", {})
    choice = facts.get("choices", {}).get("data") or str(node.get("_target_", "data")).rpartition(".")[2]
    place = next((str(node[key]) for key in PLACES if isinstance(node.get(key), str)), None)
    source = ("local", {"uri": place}) if place else ("code", {"tags": {"mlflow.source.name": node.get("_target_")}})
    name = (PurePath(place).stem if place else "") or choice
    return [
        DatasetInput(
            Dataset(
                name=f"{name} {split}",
                digest=known["fingerprint"],
                source_type=source[0],
                source=json.dumps(source[1]),
                schema=json.dumps(SCHEMA),
                profile=json.dumps({"num_rows": count, "classes": len(known["classes"])}),
            ),
            [InputTag(MLFLOW_DATASET_CONTEXT, CONTEXTS[split])],
        )
        for split, count in known["images"].items()
    ]
