"""What a user would pick instead, each as its own documentation advises for speed.

Each settles the same documents with the same rows written, exactly once, in as many
processes as this project. A module a peer; `environments` says where packages are.
"""

from __future__ import annotations
