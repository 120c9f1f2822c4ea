"""Start latents of a generator, and the generator itself where it is neither random nor given.

It is then fitted to the task's images as a variational autoencoder whose decoder knows the class
(Sohn, Lee, Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative
Models"): a mapping makes styles of normal noise and a class, the synthesis network an image of
these. Latents begin as in GLaD (Cazenavette et al. 2023, arXiv 2305.01649).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.artifact import generator_file
from d3data.artifact.generator_file import Generator, GeneratorAbout
from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting, Stage
from d3data.distill.recipe import FirstLatents, Recipe, WarmStart
from d3data.distill.starts.autoencoder import fit
from d3data.distill.starts.perceptual import perceptual
from d3data.errors import RecipeError
from d3data.images import augment
from d3data.images.spec import Image
from d3data.images.tasks import Task
from d3data.sources.base import Source
from d3data.sources.decoders import ValueRange, center
from d3data.sources.generator import GeneratorSource, GeneratorSpec, generated
from d3data.sources.mapping import StyleMapping, shapes
from d3data.sources.synthesis import Synthesis, SynthesisSpec, random_weights, sizes
from d3data.utils import rng
from d3data.utils.device import to_device
from d3data.utils.hashing import file_sha256

CHUNK = 64  # latents at a time
AVERAGED = 1024  # styles of a class whose mean is one
SEEN = 256  # latents whose mean and deviation are taken
LARGEST = 10.0  # magnitude of a map that latents begin with


class GeneratorStart:
    """Latents of a random, a given or a fitted generator."""

    def steps(self, recipe: Recipe) -> int:
        assert isinstance(recipe.source, GeneratorSpec)
        made = recipe.source.seed is not None or recipe.warm_start.weights is not None
        return 0 if made else recipe.warm_start.steps

    def require_fit(self, recipe: Recipe, task: Task) -> None:
        assert isinstance(recipe.source, GeneratorSpec)
        config = recipe.warm_start
        if config.weights is None:
            if config.weights_sha256 is not None:
                raise RecipeError("warm_start.weights_sha256 is of warm_start.weights: give these")
            return
        if recipe.source.seed is not None:
            raise RecipeError(
                "warm_start.weights: the weights of a generator with source.seed are made of it; "
                "leave out one of them"
            )
        known = read(Path(config.weights), recipe.source, task, config.weights_sha256).mapping
        if known.classes not in (0, len(task.classes)):
            raise RecipeError(
                f"warm_start.weights: {config.weights} knows {known.classes} classes, and "
                f"{task.name} has {len(task.classes)}: choose another"
            )

    def training(
        self, source: Source, setting: Setting, context: ObjectiveContext
    ) -> tuple["Autoencoder", Iterator[Tensor]]:
        assert isinstance(source, GeneratorSource)
        config, classes = setting.recipe.warm_start, len(setting.task.classes)
        with rng.seeded(setting.seed, "autoencoder"):
            autoencoder = Autoencoder(source.spec, source.image, classes, width=config.width)
        autoencoder.initialize(rng.generator(setting.seed, "generator"))
        autoencoder.to(setting.device)
        return autoencoder, losses(config, autoencoder, context)

    def fill(self, source: Source, stage: Stage, setting: Setting) -> None:
        assert isinstance(source, GeneratorSource)
        context = setting.context(stage)
        labels = torch.arange(len(setting.task.classes))
        config, image = setting.recipe.warm_start, source.image
        if source.spec.seed is not None:
            generator = random_generator(source.spec, image, len(labels))
        elif setting.weights is not None:
            generator = read(setting.weights, source.spec, setting.task, config.weights_sha256)
            labels = torch.tensor(setting.classes)
        else:
            autoencoder, stream = self.training(source, setting, context)
            fit(autoencoder, stream, stage, rate=config.learning_rate)
            generator = autoencoder.generator(source.spec.network, setting.task)
        begin(source, generator, labels, config.latents, context)


class Autoencoder(nn.Module):
    """An encoder of stride-2 convolutions, a mapping and a synthesis network."""

    mapping: StyleMapping
    synthesis: Synthesis
    values: ValueRange
    encoder: nn.Sequential

    def __init__(self, spec: GeneratorSpec, image: Image, classes: int, *, width: int) -> None:
        super().__init__()
        self.mapping = StyleMapping(shapes(spec.network.styles, classes))
        self.synthesis = Synthesis(sizes(spec.network, image))
        self.values = ValueRange(image)
        layers: list[nn.Module] = []
        channels, size = int(image.channels), image.size
        while size > 4:
            after = min(8 * width, 2 * channels if layers else width)
            layers += [nn.Conv2d(channels, after, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.01)]
            channels, size = after, -(-size // 2)
        head = nn.Linear(channels * size**2, 2 * self.mapping.noise)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), head)

    def initialize(self, random: torch.Generator) -> None:
        """Random weights of both networks."""
        self.mapping.randomize(random)
        seed = int(torch.randint(2**53, (), generator=random))
        own = self.synthesis.sizes
        self.synthesis.load_state_dict(random_weights(own, seed))

    def forward(
        self, images: Tensor, labels: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images again, of draws of their latents; these' means and log-variances (B, Z)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        styles = self.mapping(mean + (0.5 * log_variance).exp() * noise, labels)
        made = self.synthesis(None, None, spread(styles, self.synthesis))
        return self.values(made), mean, log_variance

    def generator(self, network: SynthesisSpec, task: Task) -> Generator:
        """The two networks without the encoder."""
        about = GeneratorAbout(
            network=network,
            size=task.size,
            channels=task.channels,
            origin=f"an autoencoder of {task.name}",
        )
        return Generator(
            about,
            self.mapping.requires_grad_(False).eval(),
            self.synthesis.requires_grad_(False).eval(),
        )


def losses(
    config: WarmStart, autoencoder: Autoencoder, context: ObjectiveContext
) -> Iterator[Tensor]:
    """The autoencoder's stream: squared error plus weighted divergence, per value."""
    change, seen = augment.augmentation(config.augment), perceptual(config, context)
    values = autoencoder.synthesis.sizes.image.values
    for step in context.step_range:
        random = context.rng("warm start", step)
        images, labels = context.task.train.batch(config.batch, rng=random)
        images = change(images, random)
        noise = torch.randn(len(images), autoencoder.mapping.noise, generator=random)
        noise = to_device(noise, context.device)
        decoded, mean, log_variance = context.compute(_called, autoencoder, images, labels, noise)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        error = F.mse_loss(decoded, images) + seen(decoded, images, random)
        yield error + config.kl * divergence / values


def _called(module: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    made: tuple[Tensor, Tensor, Tensor] = module(*inputs)
    return made


def random_generator(spec: GeneratorSpec, image: Image, classes: int) -> Generator:
    """The generator of a seed, with a mapping of the same seed."""
    assert spec.seed is not None
    mapping = StyleMapping(shapes(spec.network.styles, classes))
    mapping.randomize(rng.generator(spec.seed, "mapping"))
    synthesis = Synthesis(sizes(spec.network, image))
    synthesis.load_state_dict(generated(spec.network, image, spec.seed))
    about = GeneratorAbout(
        network=spec.network, size=image.size, channels=image.channels, origin=f"seed {spec.seed}"
    )
    return Generator(about, mapping, synthesis.requires_grad_(False))


def read(path: Path, spec: GeneratorSpec, task: Task, sha256: str | None) -> Generator:
    """The generator of a file.

    Raises:
        FormatError: there is none.
        RecipeError: it is not the one that the recipe is for.
    """
    found = generator_file.read(path)
    if sha256 is not None and (own := file_sha256(path)) != sha256:
        raise RecipeError(f"{path} has the sha256 {own}, and warm_start.weights_sha256 is another")
    about = found.about
    wanted = {
        "source.network": (about.network, spec.network),
        "task.size": (about.size, task.size),
        "task.channels": (about.channels, task.channels),
    }
    for key, (theirs, ours) in wanted.items():
        if theirs != ours:
            raise RecipeError(f"{key} of {path} is {theirs}, and that of the recipe {ours}")
    return found


@torch.no_grad()
def begin(
    source: GeneratorSource,
    generator: Generator,
    labels: Tensor,
    how: FirstLatents,
    context: ObjectiveContext,
) -> None:
    """Give the source its first latents, and the generator's weights if it stores some.

    `labels` (K,) are the numbers that the generator knows the classes by.
    """
    random, device = context.rng("latents", 0), source.step_size.device
    mapping, synthesis = generator.mapping.to(device), generator.synthesis.to(device)
    wanted = labels[source.classes.cpu()]

    def styles(classes: Tensor) -> Tensor:
        noise = torch.randn(len(classes), mapping.noise, generator=random)
        made: Tensor = mapping(noise.to(device), classes.to(device))
        return made

    if how == "random":
        latents = before(synthesis, styles(wanted), source)
    elif how == "mean":
        means = {int(k): styles(k.expand(AVERAGED)).mean(0) for k in wanted.unique()}
        latents = before(synthesis, torch.stack([means[int(k)] for k in wanted]), source)
    else:
        seen = before(synthesis, styles(labels.repeat(-(-SEEN // len(labels)))), source)
        white = torch.randn(len(wanted), seen.shape[1], generator=random).to(device)
        latents = seen.mean(0) + seen.std(0) * white
    source.fill(latents)
    if source.spec.seed is None:
        state = source.decoder.state_dict()
        source.decoder.load_state_dict({name: synthesis.state_dict()[name] for name in state})


def before(synthesis: Synthesis, styles: Tensor, source: GeneratorSource) -> Tensor:
    """(B, D) -> (B, V): what goes into the layer that the source is cut before, flat."""
    made = []
    for some in styles.split(CHUNK):
        layers, layer = spread(some, synthesis), source.spec.layer
        features, image = synthesis.through(None, None, layers, layer)
        if layer == synthesis.sizes.pixels and image is not None:
            image = center(image, source.image.size)
        inputs: Any = {"features": features, "image": image, "styles": layers[:, layer:]}
        made.append(torch.cat([inputs[name].flatten(1) for name in source.cut], 1))
    return torch.cat(made).nan_to_num().clamp(-LARGEST, LARGEST)


def spread(styles: Tensor, synthesis: Synthesis) -> Tensor:
    """(B, D) -> (B, L, D): one style for all layers."""
    return styles[:, None].expand(-1, synthesis.sizes.pixels + 1, -1)
