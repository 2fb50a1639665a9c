# SPDX-License-Identifier: Apache-2.0
"""Every error that aotfactory raises on purpose.

    AotError                     code, message, where, hint
      CheckError          1      AOT1xx  a check failed
      UsageError          2      AOT2xx  arguments do not fit together, or name what does not exist
      MissingError        3      AOT3xx  this machine lacks something
      DefinitionError     4      AOT4xx  a plugin definition, kernel or recipe is wrong
        DamagedError      5      AOT5xx  a file that aotfactory wrote is not as it was written

The number is the exit code. What is raised is one of the kinds below these, each with a code that stays, an example and
a remedy: `aotfactory explain AOT201` prints them, docs/reference/errors.md lists them.
"""

from aotfactory.core.errors.base import AotError as AotError
from aotfactory.core.errors.base import CheckError as CheckError
from aotfactory.core.errors.base import DamagedError as DamagedError
from aotfactory.core.errors.base import DefinitionError as DefinitionError
from aotfactory.core.errors.base import MissingError as MissingError
from aotfactory.core.errors.base import UsageError as UsageError
from aotfactory.core.errors.checks import BuilderError as BuilderError
from aotfactory.core.errors.checks import EngineError as EngineError
from aotfactory.core.errors.checks import InterpreterError as InterpreterError
from aotfactory.core.errors.checks import OutOfTimeError as OutOfTimeError
from aotfactory.core.errors.checks import OutputError as OutputError
from aotfactory.core.errors.checks import PlanError as PlanError
from aotfactory.core.errors.checks import ProgramError as ProgramError
from aotfactory.core.errors.checks import PtxasError as PtxasError
from aotfactory.core.errors.checks import ReferenceCheckError as ReferenceCheckError
from aotfactory.core.errors.checks import TrtexecError as TrtexecError
from aotfactory.core.errors.checks import TrtexecOutputError as TrtexecOutputError
from aotfactory.core.errors.checks import WorkerError as WorkerError
from aotfactory.core.errors.damage import DamagedBundleError as DamagedBundleError
from aotfactory.core.errors.damage import DamagedRankingsError as DamagedRankingsError
from aotfactory.core.errors.damage import DamagedRecordError as DamagedRecordError
from aotfactory.core.errors.definitions import AuthorError as AuthorError
from aotfactory.core.errors.definitions import CallingConventionError as CallingConventionError
from aotfactory.core.errors.definitions import ChangedDefinitionError as ChangedDefinitionError
from aotfactory.core.errors.definitions import CombinationError as CombinationError
from aotfactory.core.errors.definitions import CompilerError as CompilerError
from aotfactory.core.errors.definitions import ConfigError as ConfigError
from aotfactory.core.errors.definitions import CudaSourceError as CudaSourceError
from aotfactory.core.errors.definitions import DocumentError as DocumentError
from aotfactory.core.errors.definitions import EmptyBundleError as EmptyBundleError
from aotfactory.core.errors.definitions import ExpressionError as ExpressionError
from aotfactory.core.errors.definitions import KernelArgumentError as KernelArgumentError
from aotfactory.core.errors.definitions import LaunchError as LaunchError
from aotfactory.core.errors.definitions import LibraryError as LibraryError
from aotfactory.core.errors.definitions import LimitError as LimitError
from aotfactory.core.errors.definitions import PluginError as PluginError
from aotfactory.core.errors.definitions import ProgramDefinitionError as ProgramDefinitionError
from aotfactory.core.errors.definitions import PtxError as PtxError
from aotfactory.core.errors.definitions import RecipeError as RecipeError
from aotfactory.core.errors.missing import NoClusterError as NoClusterError
from aotfactory.core.errors.missing import NoGpuError as NoGpuError
from aotfactory.core.errors.missing import NoKernelError as NoKernelError
from aotfactory.core.errors.missing import NoMemoryError as NoMemoryError
from aotfactory.core.errors.missing import NoPackageError as NoPackageError
from aotfactory.core.errors.missing import NoPtxasError as NoPtxasError
from aotfactory.core.errors.missing import NoTensorRTError as NoTensorRTError
from aotfactory.core.errors.missing import NoToolchainError as NoToolchainError
from aotfactory.core.errors.missing import NoTrtexecError as NoTrtexecError
from aotfactory.core.errors.missing import ProgramMissingError as ProgramMissingError
from aotfactory.core.errors.missing import SettingMissingError as SettingMissingError
from aotfactory.core.errors.missing import TensorRTVersionError as TensorRTVersionError
from aotfactory.core.errors.missing import UnusablePlaceError as UnusablePlaceError
from aotfactory.core.errors.usage import ArchitectureError as ArchitectureError
from aotfactory.core.errors.usage import ArtifactError as ArtifactError
from aotfactory.core.errors.usage import AttributeValueError as AttributeValueError
from aotfactory.core.errors.usage import DataTypeError as DataTypeError
from aotfactory.core.errors.usage import DimensionError as DimensionError
from aotfactory.core.errors.usage import EngineNameError as EngineNameError
from aotfactory.core.errors.usage import ExecutorError as ExecutorError
from aotfactory.core.errors.usage import ExistsError as ExistsError
from aotfactory.core.errors.usage import FarmFileError as FarmFileError
from aotfactory.core.errors.usage import InputError as InputError
from aotfactory.core.errors.usage import OnnxFileError as OnnxFileError
from aotfactory.core.errors.usage import OnnxNodeError as OnnxNodeError
from aotfactory.core.errors.usage import OnnxShapeError as OnnxShapeError
from aotfactory.core.errors.usage import OperatorError as OperatorError
from aotfactory.core.errors.usage import OptionsError as OptionsError
from aotfactory.core.errors.usage import OptionValueError as OptionValueError
from aotfactory.core.errors.usage import PluginModuleError as PluginModuleError
from aotfactory.core.errors.usage import ProgramUsageError as ProgramUsageError
from aotfactory.core.errors.usage import RulesError as RulesError
from aotfactory.core.errors.usage import SettingError as SettingError
from aotfactory.core.errors.usage import ShapeError as ShapeError
from aotfactory.core.errors.usage import SkippedCheckError as SkippedCheckError
from aotfactory.core.errors.usage import TacticError as TacticError
from aotfactory.core.errors.usage import TargetError as TargetError
from aotfactory.core.errors.usage import UnsupportedError as UnsupportedError
from aotfactory.core.errors.usage import UnwritableError as UnwritableError


def catalogue() -> dict[str, type[AotError]]:
    """Every kind of error, by its code."""
    kinds = [value for value in globals().values() if isinstance(value, type) and issubclass(value, AotError)]
    kinds.sort(key=lambda kind: str(kind.code))
    return {code: kind for kind in kinds if isinstance(code := kind.__dict__.get("code"), str)}
