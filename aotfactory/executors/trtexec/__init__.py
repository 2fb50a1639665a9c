# SPDX-License-Identifier: Apache-2.0
"""trtexec as a subprocess: its command, its output, its report."""
