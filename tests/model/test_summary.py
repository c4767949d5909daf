from expkit.model import resnet18, timm
from expkit.model.summary import summary


def test_rows_add_up_to_the_model_and_name_its_layers():
    model = resnet18(5)
    for parameter in model.body.layer4.parameters():
        parameter.requires_grad = False
    early, late, head = summary(model)
    assert early.layers == ("body.conv1", "body.bn1", "body.layer1", "body.layer2")
    assert (late.name, late.layers, head.layers) == ("layer3 and layer4", ("body.layer3", "body.layer4"), ("head",))
    assert early.parameters + late.parameters + head.parameters == sum(p.numel() for p in model.parameters())
    assert late.trainable == sum(p.numel() for p in model.body.layer3.parameters())
    assert head.trainable == head.parameters


def test_size_counts_bytes_of_parameters_and_buffers():
    head = summary(resnet18(5, head="linear"))[-1]
    assert head.size == 4 * head.parameters == 4 * (512 * 5 + 5)
    tensors = resnet18(5).state_dict().values()
    assert sum(row.size for row in summary(resnet18(5))) == sum(t.numel() * t.element_size() for t in tensors)


def test_loose_parameters_of_a_transformer_are_named():
    assert {"body.cls_token", "body.pos_embed"} <= set(summary(timm(3, name="test_vit"))[0].layers)
