"""What the user writes: two kinds of YAML documents, their models, and what is wrong with them.

``load`` reads a directory and returns a ``Spec`` or raises every problem at once. Nothing here reads a
clock or the network; nothing outside needs to know YAML.
"""

from leeward.base.problem import Problem, ProblemsError, Severity
from leeward.spec.load import load
from leeward.spec.schema import json_schema
from leeward.spec.spec import Spec

__all__ = ["Problem", "ProblemsError", "Severity", "Spec", "json_schema", "load"]
