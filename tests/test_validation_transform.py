"""A run has one validation transform, the one that the exported model keeps."""

import pytest

from expkit.errors import UserError
from expkit.wiring import assemble
from tests.conftest import SMALL_MODEL

RUN = ("+experiment=digits", *SMALL_MODEL, "image_size=16", "augment=side_on", "transfer=fine_tune", "epochs=2")


@pytest.mark.parametrize(
    "override",
    [
        "{resize: pad}",
        "{_target_: expkit.augment.none, resize: squish}",
        "{_target_: expkit.augment.top_down, resize: pad}",
    ],
)
@pytest.mark.parametrize("phase", ["head", "all"])
def test_a_phase_cannot_change_it(config_of, override, phase):
    with pytest.raises(UserError, match=rf"transfer\.phases\.{phase}\.augment would change.*augment\.resize="):
        assemble(config_of(*RUN, f"+transfer.phases.{phase}.augment={override}"))


@pytest.mark.parametrize("override", ["{resize: crop, zoom: 1.5}", "{_target_: expkit.augment.none}", "false"])
def test_a_phase_may_change_the_training_images(config_of, override):
    run = assemble(config_of(*RUN, f"+transfer.phases.head.augment={override}"))
    (_, first), (_, second) = (run.feed.batches(phase) for phase in run.recipe.phases)
    assert first is second
    run.feed.close()


def test_a_phase_may_say_the_run_s_own_resize(config_of):
    overrides = ("augment.resize=pad", "+transfer.phases.head.augment={_target_: expkit.augment.none, resize: pad}")
    assemble(config_of(*RUN, *overrides)).feed.close()
