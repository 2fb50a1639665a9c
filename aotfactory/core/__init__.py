# SPDX-License-Identifier: Apache-2.0
"""Values that everything passes around, and facts about the machine."""
