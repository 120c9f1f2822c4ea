"""A pretended accelerator, device "gpu": its tensors wrap CPU tensors, so that values are real.

Every ATen operation is checked by the rules that CUDA has for devices and generators. Counted are
the kernels that it would launch, and how often the host would wait for the device:

    with pretended.card() as card:
        distill.run(recipe, out=out, device="gpu", executor="inline")
    card.launches, card.waits
"""

import contextlib
import traceback
import weakref
from collections import Counter
from pathlib import Path

import torch
from torch.optim.optimizer import _foreach_supported_types
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

import d3data
from d3data.sources import sampling

PACKAGE = Path(d3data.__file__).parent
CPU = torch.device("cpu")

INDEXING = ("aten.index.", "aten.index_put", "aten._index_put_impl", "aten._unsafe_index")
MASKED = (torch.bool, torch.uint8)
SIZED_BY_VALUES = (  # the host must know values before it knows the size of the result
    "aten.nonzero.", "aten._unique", "aten.unique_", "aten.masked_select.", "aten.bincount.",
    "aten.repeat_interleave.Tensor", "aten.equal.", "aten.is_nonzero.",
)  # fmt: skip
NO_KERNEL = (
    "aten.empty", "aten.new_empty", "aten._unsafe_view.", "aten.detach", "aten.alias.",
    "aten.set_.", "aten.record_stream.", "aten.lift_fresh.", "aten._reshape_alias.",
    "aten._local_scalar_dense.",
)  # fmt: skip
RANDOM = ("rand", "normal", "uniform", "bernoulli", "dropout", "multinomial", "exponential")
NOT_RANDOM = ("norm.", "normalize", "backward")


class MismatchError(RuntimeError):
    """What CUDA would refuse."""


class Wrapped(torch.Tensor):
    """A tensor on the card; `inside` is the CPU tensor with its values."""

    @staticmethod
    def __new__(cls, inside, requires_grad=False):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inside.shape,
            strides=inside.stride(),
            storage_offset=inside.storage_offset(),
            dtype=inside.dtype,
            device=GPU,
            requires_grad=requires_grad,
        )

    def __init__(self, inside, requires_grad=False):
        self.inside = inside

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return CARD.perform(func, args, kwargs or {})

    @property
    def data(self):
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, other):
        torch.Tensor.data.__set__(self, other)
        self.inside = other.inside

    def tolist(self):
        return self.cpu().tolist()

    def __repr__(self):
        return f"Wrapped({self.inside})"

    def __deepcopy__(self, memo):
        copied = memo[id(self)] = Wrapped(self.inside.detach().clone(), self.requires_grad)
        if getattr(self, "_is_param", False):
            copied._is_param = True
        return copied


class Card:
    """The one card: what it counts, and the state of its random numbers.

    Attributes:
        launches: kernels.
        waits: times that the host waited for the device.
        places: waits by kind and line of d3data.
        peak: bytes that were alive at once.
        float64: whether it has them; Apple's have not.
    """

    def __init__(self):
        self.float64, self.state = True, 0
        self._storages = {}
        self.reset()

    def reset(self):
        self.launches = self.waits = self.alive = self.peak = 0
        self.places = Counter()
        self.kernels = Counter()
        self._storages.clear()

    def perform(self, func, args, kwargs):
        name = str(func)
        leaves = tree_leaves((args, kwargs))
        wrapped = [leaf for leaf in leaves if isinstance(leaf, Wrapped)]
        device = kwargs.get("device")
        here = on_card(device) if device is not None else bool(wrapped)
        if kwargs.get("generator") is not None and here:
            raise MismatchError(f"{name}: expected a generator of the device, not of the CPU")
        moved = self._moved(name, args, kwargs, here)
        if not moved and wrapped:
            self._check(name, args, leaves)
        if not moved and here and not func.is_view and not name.startswith(NO_KERNEL):
            self._launch(name)
        result = self._computed(func, name, args, kwargs)
        if name == "aten.copy_.default":
            return args[0]
        known = {id(leaf.inside): leaf for leaf in wrapped}

        def outside(made):
            return known[id(made)] if id(made) in known else self._wrap(made) if here else made

        return tree_map_only(torch.Tensor, outside, result)

    def _moved(self, name, args, kwargs, here):
        """Whether it is a copy from one device to another, which may have to wait."""
        if name == "aten.copy_.default":
            target, source = args[:2]
            patient = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
            to = isinstance(target, Wrapped)
        elif name == "aten._to_copy.default":
            source, to, patient = args[0], here, kwargs.get("non_blocking", False)
        else:
            return False
        if isinstance(source, Wrapped) == to:
            return False
        if not to:
            self.wait("to the host")
        elif source.numel() and not (patient and is_pinned(source)):
            self.wait("from memory that is not pinned" if patient else "until it is copied")
        return True

    def _check(self, name, args, leaves):
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        strangers = [tensor for tensor in tensors if not isinstance(tensor, Wrapped)]
        if name.startswith(INDEXING):
            indices = [x for x in args[1] if isinstance(x, torch.Tensor)]
            allowed = isinstance(args[0], Wrapped)
            for index in indices:
                if not isinstance(index, Wrapped):
                    self.wait("for an index of the host")
            if any(index.dtype in MASKED for index in indices):
                self.wait("for a mask")
            strangers = [x for x in strangers if not any(x is index for index in indices)]
        else:
            allowed = not name.startswith(("aten.cat.", "aten.stack.", "aten.mm.", "aten.bmm."))
        if strangers and not (allowed and all(x.dim() == 0 for x in strangers)):
            shapes = [(tensor.device.type, tuple(tensor.shape)) for tensor in tensors]
            raise MismatchError(f"{name}: expected all tensors on one device, found {shapes}")
        if name.startswith(SIZED_BY_VALUES):
            self.wait(name)
        if name == "aten._local_scalar_dense.default":
            self.wait("for a number")

    def _computed(self, func, name, args, kwargs):
        inside = tree_map_only(Wrapped, lambda leaf: leaf.inside, (args, kwargs))
        arguments, options = inside
        if "device" in options:
            options = {**options, "device": CPU}
            if name == "aten._to_copy.default" and isinstance(args[0], Wrapped) != on_card(
                kwargs["device"]
            ):  # a copy even where the wrapped tensor is one already
                del options["device"]
        options.pop("pin_memory", None) if name == "aten._to_copy.default" else None
        part = name.split(".")[1]
        random = any(word in part for word in RANDOM) and not any(w in name for w in NOT_RANDOM)
        if random and kwargs.get("generator") is None and self._draws(args, kwargs):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(self.state)
                self.state += 1
                result = func(*arguments, **options)
        else:
            result = func(*arguments, **options)
        lazy = name in ("aten._conj.default", "aten._neg_view.default")
        return result.resolve_conj().resolve_neg() if lazy else result

    def _draws(self, args, kwargs):
        leaves = tree_leaves((args, kwargs))
        return on_card(kwargs.get("device")) or any(isinstance(x, Wrapped) for x in leaves)

    def _wrap(self, tensor):
        if tensor.dtype == torch.float64 and not self.float64:
            raise MismatchError("this device has no float64")
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            size, key = storage.nbytes(), storage._cdata
            self.alive += size
            self.peak = max(self.peak, self.alive)
            self._storages[key] = weakref.finalize(storage, self._gone, key, size)
        return Wrapped(tensor)

    def _gone(self, key, size):
        if self._storages.pop(key, None) is not None:
            self.alive -= size

    def _launch(self, name):
        self.launches += 1
        self.kernels[name] += 1

    def wait(self, what):
        self.waits += 1
        ours = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(PACKAGE)]
        line = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].line}" if ours else "?"
        self.places[what, line] += 1


class _Everything(TorchDispatchMode):
    """Sees what makes tensors on the card, and pins memory."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = str(func)
        if name == "aten._pin_memory.default":
            return pinned(args[0].clone())
        if name == "aten.is_pinned.default":
            return is_pinned(args[0])
        leaves = tree_leaves((args, kwargs))
        if on_card(kwargs.get("device")) or any(isinstance(leaf, Wrapped) for leaf in leaves):
            return CARD.perform(func, args, kwargs)
        if kwargs.get("pin_memory"):
            return pinned(func(*args, **{**kwargs, "pin_memory": False}))
        return func(*args, **kwargs)


class _Module(_DummyBackendModule):
    """What `torch.gpu` is."""

    def device_count(self):
        return 1

    def current_device(self):
        return 0

    def is_available(self):
        return True

    def _is_in_bad_fork(self):
        return False

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def manual_seed_all(self, seed):
        CARD.state = seed

    def get_rng_state(self, device=None):
        return torch.tensor([CARD.state])

    def set_rng_state(self, state, device=None):
        CARD.state = int(state)

    manual_seed = manual_seed_all


_setup_privateuseone_for_python_backend("gpu", backend_module=_Module())
_fallthrough = torch.library.Library("_", "IMPL")
_fallthrough.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
_foreach_supported_types.append(Wrapped)
GPU = torch.device("gpu", 0)
CARD = Card()


def on_card(device):
    return device is not None and torch.device(device).type == "gpu"


def pinned(tensor):
    tensor.pinned = True
    return tensor


def is_pinned(tensor):
    return getattr(tensor, "pinned", False)


def fused(function, **_):
    """What torch.compile makes of a function on the card: one kernel."""

    def run(*args, **kwargs):
        launches, kernels = CARD.launches, CARD.kernels.copy()
        result = function(*args, **kwargs)
        CARD.launches, CARD.kernels = launches, kernels
        CARD._launch(function.__name__)
        return result

    return run


@contextlib.contextmanager
def card(*, float64=True):
    """The card, inside the block; its counts begin at nothing."""
    CARD.reset()
    CARD.float64 = float64
    torch._C._set_only_lift_cpu_tensors(True)
    sampling._one_kernel.cache_clear()
    compiled, torch.compile = torch.compile, fused
    try:
        with _Everything():
            yield CARD
    finally:
        torch.compile = compiled
        sampling._one_kernel.cache_clear()
        torch._C._set_only_lift_cpu_tensors(False)
