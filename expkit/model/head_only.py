"""The head of a model alone, for features that its body gave before."""

from collections.abc import Sequence

from torch import Tensor, nn

from expkit.model.classifier import LayerGroup
from expkit.model.head import vector_head
from expkit.model.options import Options
from expkit.model.weights import fit_head, read_weights
from expkit.model.weights_file import weights_file


class HeadOnly(nn.Module):
    """The head of a `Classifier` for those who have its features already: vectors N x D to logits N x C.

    The names in its state_dict are those of the head in the whole. `body_groups` names the layer groups of the missing
    body: they stay in `layer_groups`, empty, so that learning rates and traces count the groups alike.
    """

    def __init__(self, head: nn.Module, body_groups: Sequence[str] = ()) -> None:
        super().__init__()
        self.head = head
        self.layer_groups = [*(LayerGroup(name, ()) for name in body_groups), LayerGroup("head", (head,))]

    def forward(self, features: Tensor) -> Tensor:
        """Logits, float32, N x C, of feature vectors N x D."""
        logits: Tensor = self.head(features)
        return logits.float()


def head_only(classes: int, features: int, body_groups: Sequence[str], options: Options) -> HeadOnly:
    """The head that a classifier with these options has on vectors of `features` numbers, with no body built.

    It starts as it would there: from the same draw, or from the head in the file of `options.weights`.
    Raises UserError where that file cannot be read, or its head does not fit.
    """
    model = HeadOnly(vector_head(features, classes, options), body_groups)
    file = weights_file(options.weights) if options.weights and options.weights_part == "all" else None
    if file is not None:
        fit_head(model.head, read_weights(file), source=str(options.weights))
    return model
