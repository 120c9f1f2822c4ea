"""Walk through the latents of each class, beside draws of it, and keep the walk as a GIF.

    python examples/walk.py ./runs/digits-ipc4/artifact walk.gif

Each picture shows first a place on the line between two priors of a class, then eight draws of
that class: what the decoder makes of the space in between, and how far noise leads.
"""

import sys
from itertools import pairwise

import torch
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

import d3data

GAP = 4  # white pixels around each image


def main(name: str, out: str = "walk.gif", steps: int = 10, side: int = 64) -> int:
    """Write the GIF, images at least `side` pixels wide; return how many pictures it has."""
    data = d3data.load(name)
    _, classes = data.mean_images()  # of every prior
    frames = []
    for label in range(len(data.classes)):
        draws, _ = data.sample(8, classes=[label])
        priors = (classes == label).nonzero().flatten().tolist()
        for a, b in pairwise([*priors, priors[0]]):
            for image in data.interpolate(a, b, steps + 1)[:-1]:
                images = torch.stack([image, *draws])
                scale = -(-side // images.shape[-1])  # each pixel becomes a square
                large = images.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
                row = make_grid(large, nrow=9, padding=GAP, pad_value=255)
                frames.append(to_pil_image(row))
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=80, loop=0)
    print(f"{out}: {len(frames)} pictures of {len(data.classes)} classes")
    return len(frames)


if __name__ == "__main__":
    main(*sys.argv[1:])
