"""Export the CIFAR-10 ResNet-20 of a public checkpoint and measure its float accuracy.

K. He et al., "Deep residual learning for image recognition", 2016, section 4.2, with parameter-free
shortcuts (option A). The checkpoint is resnet20-12fca82f.th of akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

from pathlib import Path

import click
from _cifar10 import cifar10
from _options import ROOT, data_option, weights_option
from _training import Command, accuracy, nn, prepare, report, torch
from termac.errors import InputError
from termac.examples import datasets
from termac.train.export import export

__all__ = ["Block", "ResNet20", "main"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what it was trained with
CHECKPOINT = "resnet_cifar10/resnet20-12fca82f.th"
PROPERTIES = {
    "dataset": "cifar10",
    "input_full_scale": "255",
    "input_mean": " ".join(map(str, MEAN)),
    "input_std": " ".join(map(str, STD)),
}
"""What a model file says of its input."""
relu = nn.functional.relu


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; module names are those of the checkpoint."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.missing:
            sides = (self.missing // 2,) * 2
            x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *sides))
        return relu(y + x)


class ResNet20(nn.Module):
    """[N, 3, 32, 32], normalized -> scores [N, 10]; 269,722 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(2)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(2)))
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(nn.functional.avg_pool2d(x, 8), 1))


def load(path: Path) -> ResNet20:
    """Build the network with the weights of a checkpoint file.

    Raises
    ------
    InputError
        The file is missing, damaged, or of another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; name the checkpoint with --weights")
    model = ResNet20()
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
        model.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    except Exception as error:  # torch raises a dozen kinds on a damaged file
        raise InputError(f"{path}: not a checkpoint of this ResNet-20 (option A)") from error
    return model


@click.command(cls=Command, help="Write the CIFAR-10 ResNet-20 to OUTPUT [build/resnet20.onnx].")
@click.argument(
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "build" / "resnet20.onnx",
)
@weights_option(CHECKPOINT)
@data_option("cifar10", "the CIFAR-10 sheets")
def main(output: Path, weights: Path, data: Path) -> None:
    prepare(seed=1)
    model = load(weights)
    test = cifar10(data).test
    score = accuracy(model, datasets.normalize(test.images, MEAN, STD), test.labels)
    exported = export(
        model,
        (3, 32, 32),
        output,
        about="ResNet-20 (option A) for CIFAR-10. Input NCHW, (pixel / 255 - mean) / std, RGB mean "
        f"{MEAN}, std {STD}. Float accuracy {score:.1f} % on {len(test):,} test images.",
        properties={**PROPERTIES, "float_accuracy": f"{score:.2f}"},
    )
    report(exported, output, score)


if __name__ == "__main__":
    main()
