# SPDX-License-Identifier: Apache-2.0
"""Where plugin modules imported `Recipe` from before `from aotfactory import Recipe` worked."""

from aotfactory.core.recipe import Input as Input
from aotfactory.core.recipe import Recipe as Recipe
from aotfactory.core.recipe import Tolerance as Tolerance
