"""What a set is worth to the regression that KIP distills it for.

    python benchmarks/kernel_regression.py SET [--depth 1] [--data PATH]

The real test images are classified by kernel ridge regression on the set's images and labels, in
the neural tangent kernel of an infinitely wide fully connected network; nothing is trained. Prints
the accuracy. Half a minute of one core for 100 images of CIFAR-10.
"""

import argparse

import torch

import d3data
from d3data.distill.objectives.kernel_regression import KernelRegression, tangent_kernel
from d3data.distill.objectives.regression import centered, ridge
from d3data.evaluation import validate

LOT = 1000  # test images at a time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("set")
    parser.add_argument("--depth", type=int, default=KernelRegression().depth)
    parser.add_argument("--data")
    options = parser.parse_args()
    data = d3data.load(options.set, output="normalized")
    task = validate.origin(data, options.data)
    validate.require_fit(data, task)
    images, labels = data.batch(0, range(len(data)))
    if not labels.is_floating_point():
        labels = centered(labels, len(task.classes))
    x, test = images.flatten(1).double(), task.test
    k_ss, right = tangent_kernel(x, x, options.depth), 0
    for rows in torch.arange(len(test)).split(LOT):
        k_ts = tangent_kernel(test.read(rows).flatten(1).double(), x, options.depth)
        predicted = ridge(k_ss, k_ts, labels, regularization=KernelRegression().regularization)
        right += int((predicted.argmax(1) == test.labels[rows]).sum())
    print(f"{100 * right / len(test):.1f} % of {len(test):,} test images")


if __name__ == "__main__":
    main()
