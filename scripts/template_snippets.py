# SPDX-License-Identifier: Apache-2.0
"""Snippets for diff_template.py."""
SNIPPETS = ["{{ 1 }}"]
