# SPDX-License-Identifier: Apache-2.0
"""Options in, text or JSON out."""
