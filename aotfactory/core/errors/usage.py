# SPDX-License-Identifier: Apache-2.0
"""Arguments that do not fit together, or name something that does not exist: exit code 2."""

from __future__ import annotations

from aotfactory.core.errors.base import UsageError


class OptionsError(UsageError):
    """Options that exclude each other, that are given twice, or that do not go with this target or artifact."""

    code = "AOT201"
    example = "--output and --name both name the engine"
    remedy = "Leave one of them out; `aotfactory COMMAND --help` says what goes with what."


class OptionValueError(UsageError):
    """The value of an option cannot be read, or lies outside what the option takes."""

    code = "AOT202"
    example = "--attr 'pads' has no value"
    remedy = "`aotfactory COMMAND --help` has the form of every value."


class TargetError(UsageError):
    """There is no recipe or plugin of this name, or not with these options."""

    code = "AOT203"
    example = "no recipe 'circpad'"
    remedy = "`aotfactory list` shows the recipes; plugins of your own need `--plugins FILE`."


class PluginModuleError(UsageError):
    """A module of `--plugins` is not there, or not the function that it is to be called with."""

    code = "AOT204"
    example = "no such file: my_plugins.py"
    remedy = "`--plugins` takes a file, a directory or a dotted module name, and `:FUNC` of a function that registers."


class ArchitectureError(UsageError):
    """An architecture or PTX ISA that does not exist, or the two do not go together."""

    code = "AOT205"
    example = "unknown architecture 'sm_91'"
    remedy = "`--arch sm_80,sm_90`, `portable` or `native`; leave `--ptx-isa` out to get one that fits."


class DataTypeError(UsageError):
    """A data type that does not exist, or that the plugin or its kernel does not take."""

    code = "AOT206"
    example = "unknown data type 'fp12'"
    remedy = "`aotfactory list NAME` shows the types that a recipe takes."


class ShapeError(UsageError):
    """A shape cannot be read, is not complete, or is one that the target or the profile does not allow."""

    code = "AOT207"
    example = "'1xx3' is not a shape"
    remedy = "`--shape 1x3x32x32`, or all of `--min-shape`, `--opt-shape` and `--max-shape`; `NAME=` chooses the input."


class DimensionError(UsageError):
    """A dimension of `--dim` does not exist, or contradicts a shape."""

    code = "AOT208"
    example = "'4:2' does not rise"
    remedy = "`--dim batch=1:8:32` or `batch=8`; a recipe's dimensions stand in `aotfactory list NAME`."


class AttributeValueError(UsageError):
    """An attribute does not exist, is missing, or its value is not of its type."""

    code = "AOT209"
    example = "attribute block of demo::swell is an int, not 'x'"
    remedy = "`--attr NAME=VALUE`, arrays as `1,1,1,1`; `aotfactory list NAME` shows the attributes."


class InputError(UsageError):
    """An input that does not exist, or whose file is not an array that fits it."""

    code = "AOT210"
    example = "the bundle has no input 'z'"
    remedy = "`aotfactory inspect PATH` shows the inputs; `numpy.save` writes the files."


class UnsupportedError(UsageError):
    """A plugin does not take tensors of these shapes or types, or an attribute of this value.

    Definitions raise it too: `from aotfactory import UnsupportedError`.
    """

    code = "AOT211"
    example = "softmax of a scalar"
    remedy = "Give what the message asks for; `aotfactory list NAME` shows the limits of a recipe."


class ArtifactError(UsageError):
    """There is no such bundle, plan or directory of engines."""

    code = "AOT212"
    example = "no such plan: engines/swell.plan"
    remedy = "`aotfactory build` makes them, in `engines/` unless `--out` says otherwise."


class UnwritableError(UsageError):
    """A file or directory cannot be written."""

    code = "AOT213"
    example = "cannot write engines/swell.aot: Permission denied"
    remedy = "Choose another place (`--out`), or see to permissions and space (`aotfactory doctor`)."


class ExistsError(UsageError):
    """A file would be overwritten that aotfactory did not make."""

    code = "AOT214"
    example = "swell.py is there already"
    remedy = "Choose another name, or remove the file."


class EngineNameError(UsageError):
    """A name that cannot be that of an engine or a plugin."""

    code = "AOT215"
    example = "--name: '../x' cannot be the name of an engine"
    remedy = "Letters, digits, `_`, `-` and dots inside; not a path."


class TacticError(UsageError):
    """A tactic that is not offered here."""

    code = "AOT216"
    example = "the bundle has no tactic 7 for sm_90"
    remedy = "`aotfactory inspect BUNDLE` shows the tactics; leave `--tactic` out to have all."


class ExecutorError(UsageError):
    """An executor that does not run such an artifact."""

    code = "AOT217"
    example = "executor trtexec does not run a bundle"
    remedy = "Bundles: interpreter, launcher. Plans: trtexec, runner."


class SettingError(UsageError):
    """An environment variable of aotfactory's has a value that it does not take."""

    code = "AOT218"
    example = "AOTFACTORY_TENSORRT is 'none'"
    remedy = "docs/reference/environment.md lists the variables; `aotfactory doctor` shows those set."


class FarmFileError(UsageError):
    """A farm.toml cannot be read, or something in it is not what belongs there."""

    code = "AOT219"
    example = "no [[engine]] is in the file"
    remedy = "The message names the line; docs/farm.md has an example of every entry."


class OnnxFileError(UsageError):
    """An ONNX model cannot be read, or has no plugin node."""

    code = "AOT220"
    example = "model.onnx has no plugin node"
    remedy = "See docs/onnx.md; `onnx.checker.check_model` finds what is wrong with a file."


class OnnxNodeError(UsageError):
    """A plugin node of an ONNX model does not fit the plugin, or stands where TensorRT takes none."""

    code = "AOT221"
    example = "demo::swell leaves an input out"
    remedy = "See docs/how-to/onnx-node.md for what a node must look like."


class OnnxShapeError(UsageError):
    """Shapes or types of an ONNX model are open, contradict each other, or contradict the options."""

    code = "AOT222"
    example = "dimension 0 of 'x' is open in the model"
    remedy = "Give the shape (`--shape`, `--dim`); `onnx.shape_inference` shows what the model itself says."


class RulesError(UsageError):
    """A file of rules for `graft` has none."""

    code = "AOT223"
    example = "rules.py has no list RULES of rules"
    remedy = "Define `RULES`, a list; see `aotfactory graft --help`."


class OperatorError(UsageError):
    """A plugin cannot be a PyTorch operator, or is called with tensors that it does not take."""

    code = "AOT224"
    example = "demo::swell has outputs whose shape depends on data"
    remedy = "See docs/pytorch.md for what an operator can be."


class SkippedCheckError(UsageError):
    """A check is to be skipped that cannot be, or without a reason."""

    code = "AOT225"
    example = "--skip-check interpreter without a reason"
    remedy = "Give one `--because REASON` for each `--skip-check NAME`; the bundle keeps both."


class ProgramUsageError(UsageError):
    """The launcher or the runner refuses what it was asked for: a shape, an input, an option."""

    code = "AOT226"
    example = "no input 'z'; the inputs are 'x'"
    remedy = "`aotfactory inspect PATH` shows inputs and shapes."
