# SPDX-License-Identifier: Apache-2.0
"""Plugin definitions, kernels and recipes that are wrong: exit code 4."""

from __future__ import annotations

from aotfactory.core.errors.base import DefinitionError


class AuthorError(DefinitionError):
    """Code of a module of definitions raised an exception, when it was imported or when TensorRT would call it."""

    code = "AOT401"
    example = "aot_impl of demo::swell: NameError: name 'n' is not defined"
    remedy = "The message begins with the line of your file; `--debug` shows the whole traceback."


class PluginError(DefinitionError):
    """The functions of a plugin do not fit each other, or what TensorRT demands of them."""

    code = "AOT402"
    example = "plugin demo::swell has no aot_impl"
    remedy = "See docs/writing-kernels.md for the functions and what each takes and returns."


class LaunchError(DefinitionError):
    """Grid, block, shared memory or an extra argument is not something that TensorRT can compute and pass."""

    code = "AOT403"
    example = "the grid has 4 extents"
    remedy = "Launch parameters are ints or expressions of the dimensions: `+ - * //`, `trtp.cdiv`, `max`, `min`."


class KernelArgumentError(DefinitionError):
    """The arguments that `aot_kernel` or `aot_cuda` is given are not those of the kernel, or not of its types."""

    code = "AOT404"
    example = "swell_kernel is not given x_ptr"
    remedy = "Give every parameter by its name: tensors, expressions, and plain numbers for what is constant."


class CallingConventionError(DefinitionError):
    """The compiled kernel cannot be launched as TensorRT launches AOT plugins."""

    code = "AOT405"
    example = "kernel swell: it needs global scratch memory"
    remedy = "See docs/explanation/calling-convention.md for what a kernel may and may not use."


class PtxError(DefinitionError):
    """PTX that cannot be read: what a definition returns as PTX is something else, or is cut off."""

    code = "AOT406"
    example = "the PTX has no kernel"
    remedy = "Return the text of the PTX, with the kernel as `.visible .entry`, and the name of that entry."


class ExpressionError(DefinitionError):
    """An expression of dimensions has no value, may divide by zero, is too large, or cannot be read."""

    code = "AOT407"
    example = "dimension N has no range"
    remedy = "Keep divisors positive (`max(x, 1)`), and use dimensions of the inputs only."


class RecipeError(DefinitionError):
    """A recipe is incomplete, contradicts itself, or has a name that is taken."""

    code = "AOT408"
    example = "two recipes are called 'swell'"
    remedy = "See `aotfactory.Recipe` and `aotfactory.Input` in the docs/reference/api.md."


class CombinationError(DefinitionError):
    """`autotune` does not offer the types that the network needs, or offers tactics that do not exist."""

    code = "AOT409"
    example = "autotune offers tactic 0"
    remedy = "Offer every combination of types that the kernel takes; tactics count from 1."


class ConfigError(DefinitionError):
    """A config of an autotuned kernel cannot be launched by a plan, or does not exist."""

    code = "AOT410"
    example = "config=3, but the kernel is not autotuned"
    remedy = "Other configs stay as tactics; smaller blocks and fewer stages take less shared memory."


class CudaSourceError(DefinitionError):
    """CUDA C++ that NVRTC refuses, or whose kernel cannot be found."""

    code = "AOT411"
    example = "the source has no kernel 'swell'"
    remedy = 'The message is NVRTC\'s own, with the line. Mark kernels `extern "C" __global__`.'


class ChangedDefinitionError(DefinitionError):
    """The plugin as it is loaded now is not the one that the bundle was compiled from."""

    code = "AOT412"
    example = "the loaded definition of demo::swell is not the one that the bundle was compiled from"
    remedy = "Compile the bundle again, or load the definitions that it was compiled from."


class CompilerError(DefinitionError):
    """Triton's or NVIDIA's compiler refuses the kernel, or it was compiled for other tensors than those of the call."""

    code = "AOT413"
    example = "the kernel takes x as *fp16, but the tensor is fp32"
    remedy = "Compile it for the types and the block that the call has."


class EmptyBundleError(DefinitionError):
    """A bundle, or a part of it, has nothing to run."""

    code = "AOT414"
    example = "the bundle has no kernels"
    remedy = "Compile it again, with a tactic and an architecture that are offered."


class LimitError(DefinitionError):
    """Something is larger than bundles may be."""

    code = "AOT415"
    example = "the bundle has 70000000 bytes, more than 67108864 (limit manifest_bytes)"
    remedy = "The limits stand in docs/bundle.md; split the network into several bundles."


class ProgramDefinitionError(DefinitionError):
    """The launcher or the driver finds that a kernel of the bundle cannot be launched at this shape."""

    code = "AOT416"
    example = "swell.ptx: the driver refuses it: CUDA_ERROR_INVALID_PTX"
    remedy = "`aotfactory validate` says at which shapes it can; then see to grid and block of the definition."


class DocumentError(DefinitionError):
    """A part of a network cannot be written down: a name, a value or a number of parts that bundles do not hold."""

    code = "AOT417"
    example = "it is nested too deeply"
    remedy = "Plainer or shorter names, fewer parts; docs/bundle.md lists the limits."


class LibraryError(DefinitionError):
    """A plugin library cannot carry these bundles: TensorRT could not tell calls apart, or compute their shapes."""

    code = "AOT418"
    example = "aotfactory::circ_pad is there twice with the same attributes, types and shapes, and other kernels"
    remedy = "Give fewer bundles, or make several libraries."
