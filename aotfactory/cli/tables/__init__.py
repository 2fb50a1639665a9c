# SPDX-License-Identifier: Apache-2.0
"""Tables and sentences for people, in 80 columns. Programs read JSON, which is made where the values are."""
