"""Train a network on a distilled set, test it on real images.

python examples/train_a_classifier.py ./runs/digits-ipc4/artifact
"""

import sys

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import d3data
from d3data import nets


def main(name: str, epochs: int = 10) -> float:
    """Return the accuracy on the digits' real test images."""
    data = d3data.load(name, output="normalized", draws_per_class=128)
    loader = DataLoader(data, batch_size=64, shuffle=True)
    torch.manual_seed(0)
    network = nets.build(
        channels=data.image.channels, size=data.image.size, classes=len(data.classes), width=32
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(epochs):  # every epoch has fresh images
        for images, labels in loader:
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    test = d3data.load_task("digits").test
    with torch.no_grad():
        predicted = network(test.read(range(len(test)))).argmax(1)
    accuracy = (predicted == test.labels).float().mean().item()
    print(f"accuracy on real images: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main(sys.argv[1])
