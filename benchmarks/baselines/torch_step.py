"""Times a training step or inference in PyTorch, eager or compiled.

    python -m benchmarks.baselines.torch_step --weights=FILE [--compile=default] \
        [--layout=contiguous] [--model=cnn] [--work=inference]

The data lie on the device as uint8 [N, H, W, 3], as in signjax, and each step takes its
batch from there.
"""

# pyright: reportMissingImports=false
# PyTorch is no dependency of this project.

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.baselines import measure
from benchmarks.baselines.torch_networks import make_network

MODES = ("off", "default", "max-autotune")


def main() -> None:
    parser = measure.make_parser(__doc__)
    parser.add_argument("--compile", choices=MODES, default="off")
    parser.add_argument(
        "--layout", choices=("channels_last", "contiguous"), default="channels_last"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(measure.cores())
    layout = (
        torch.channels_last
        if arguments.layout == "channels_last"
        else torch.contiguous_format
    )
    network = make_network(arguments.model, measure.read_weights(arguments.weights))
    device = torch.device("cuda" if arguments.device == "gpu" else "cpu")
    network = network.to(device, memory_format=layout)
    clock = measure.Clock(arguments)
    timer = time_training if arguments.work == "train" else time_inference
    settings = timer(clock, network, device, arguments)
    measure.print_result(
        arguments,
        clock,
        packages=("torch", "numpy"),
        settings={
            "compile": arguments.compile,
            "layout": arguments.layout,
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            **settings,
        },
    )


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


def compiled(function: Callable[..., Tensor], mode: str) -> Callable[..., Tensor]:
    return function if mode == "off" else torch.compile(function, mode=mode)


def time_training(
    clock: measure.Clock,
    network: nn.Module,
    device: torch.device,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    network.train()
    optimizer = make_optimizer(arguments.model, network)
    images, labels = (torch.from_numpy(x).to(device) for x in measure.make_data())
    low = arguments.dtype == "bfloat16"

    def loss_of(batch: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = network(batch)
        return functional.cross_entropy(logits.float(), targets)

    loss_function = compiled(loss_of, arguments.compile)

    def step(number: int) -> Tensor:
        indices = torch.from_numpy(measure.batch_indices(number, arguments.batch_size))
        indices = indices.to(device)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(images[indices], labels[indices].long())
        loss.backward()
        optimizer.step()
        return loss.detach()

    def wait(loss: Tensor) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    clock.run(step, wait)
    return {"optimizer": f"{type(optimizer).__name__}, fused"}


def make_optimizer(model: str, network: nn.Module) -> torch.optim.Optimizer:
    if model == "resnet":
        return torch.optim.SGD(
            network.parameters(),
            lr=measure.RESNET_RATE,
            momentum=measure.MOMENTUM,
            nesterov=True,
            fused=True,
        )
    return torch.optim.Adam(
        network.parameters(), lr=measure.CNN_RATE, eps=measure.ADAM_EPSILON, fused=True
    )


def time_inference(
    clock: measure.Clock,
    network: nn.Module,
    device: torch.device,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    # Weights become constants: BatchNorm is folded and kernels are laid out once.
    torch._inductor.config.freezing = True
    network.eval()
    images = torch.from_numpy(measure.make_data()[0][: arguments.batch_size])
    images = images.to(device)
    predict = compiled(network, arguments.compile)
    with torch.no_grad():
        clock.run(lambda _: predict(images), lambda logits: logits.cpu().numpy())
    return {"freezing": arguments.compile != "off"}


if __name__ == "__main__":
    main()
