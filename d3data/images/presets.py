"""The data sets that are known by name, one row each.

Means and standard deviations are over the pixels of train, in [0, 1]; for photographs of
differing sizes they are the customary ones of ImageNet.
"""

from dataclasses import dataclass
from typing import Literal

from d3data.images.formats.index import Role
from d3data.images.preprocessing import Fit

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_TERMS = "ImageNet terms of access: non-commercial research and education only"
IMAGENET_SOURCE = "Russakovsky et al. 2015, arXiv:1409.0575, https://image-net.org"


@dataclass(frozen=True)
class Preset:
    """A known data set: where it is, how its columns are named, its shape and its terms.

    `hub` is `ORG/NAME[:CONFIG][@REVISION]` on the Hugging Face Hub, or empty for what comes with
    scikit-learn. `fit` is the rule at the `native` size and `elsewhere` the rule at any other.
    `images` is how many train has, of all `classes`; `test` is the split that is evaluated on.
    """

    hub: str
    native: int
    classes: int
    images: int
    channels: Literal[1, 3]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    license: str
    source: str
    image: str = "image"
    label: str = "label"
    fit: Fit = "exact"
    elsewhere: Fit = "squash"
    test: Role = "test"


PRESETS = {
    "digits": Preset(
        hub="",
        native=8,
        classes=10,
        images=1_438,
        channels=1,
        mean=(0.3053,),
        std=(0.3758,),
        license="CC BY 4.0",
        source="Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80",
    ),
    "mnist": Preset(
        hub="ylecun/mnist",
        native=28,
        classes=10,
        images=60_000,
        channels=1,
        mean=(0.1307,),
        std=(0.3081,),
        license="MIT",
        source="LeCun, Cortes and Burges 1998, http://yann.lecun.com/exdb/mnist",
        elsewhere="pad",
    ),
    "fashion-mnist": Preset(
        hub="zalando-datasets/fashion_mnist",
        native=28,
        classes=10,
        images=60_000,
        channels=1,
        mean=(0.2860,),
        std=(0.3530,),
        license="MIT",
        source="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
        elsewhere="pad",
    ),
    "svhn": Preset(
        hub="ufldl-stanford/svhn:cropped_digits",
        native=32,
        classes=10,
        images=73_257,
        channels=3,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        license="non-commercial use only",
        source="Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers",
    ),
    "cifar10": Preset(
        hub="uoft-cs/cifar10",
        native=32,
        classes=10,
        images=50_000,
        channels=3,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        license="not stated",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        image="img",
    ),
    "cifar100": Preset(
        hub="uoft-cs/cifar100",
        native=32,
        classes=100,
        images=50_000,
        channels=3,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        license="not stated",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        image="img",
        label="fine_label",
    ),
    "tiny-imagenet": Preset(
        hub="zh-plus/tiny-imagenet",
        native=64,
        classes=200,
        images=100_000,
        channels=3,
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
        license=IMAGENET_TERMS,
        source="Le and Yang 2015, http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        test="validation",
    ),
    "imagenet-64": Preset(
        hub="benjamin-paine/imagenet-1k-64x64",
        native=64,
        classes=1000,
        images=1_281_167,
        channels=3,
        mean=(0.482, 0.458, 0.408),
        std=(0.269, 0.261, 0.276),
        license=IMAGENET_TERMS,
        source=IMAGENET_SOURCE,
        test="validation",
    ),
    "imagenet": Preset(
        hub="ILSVRC/imagenet-1k",
        native=224,
        classes=1000,
        images=1_281_167,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        license=IMAGENET_TERMS,
        source=IMAGENET_SOURCE,
        fit="crop",
        elsewhere="crop",
        test="validation",
    ),
    "imagenette": Preset(
        hub="frgfm/imagenette:320px@refs/convert/parquet",
        native=128,
        classes=10,
        images=9_469,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        license=IMAGENET_TERMS,
        source="Howard 2019, https://github.com/fastai/imagenette",
        fit="crop",
        elsewhere="crop",
        test="validation",
    ),
    "imagewoof": Preset(
        hub="frgfm/imagewoof:320px@refs/convert/parquet",
        native=128,
        classes=10,
        images=9_025,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        license=IMAGENET_TERMS,
        source="Howard 2019, https://github.com/fastai/imagenette",
        fit="crop",
        elsewhere="crop",
        test="validation",
    ),
}
