# SPDX-License-Identifier: Apache-2.0
"""The verbs: build, bake, validate, tune; the command line and Python users call these."""
