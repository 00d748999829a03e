"""Judges a bill of materials from standard input by CycloneDX's own library; prints what is wrong with it."""

import json
import sys

from cyclonedx import spdx
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = sys.stdin.read()
wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
if wrong:
    print(wrong)
    sys.exit(0)
for part in Bom.from_json(json.loads(text)).components:
    licences = [getattr(licence, "value", None) for licence in part.licenses]
    if not licences or not all(licence and spdx.is_expression(licence) for licence in licences):
        print(f"{part.name}: {licences} is no SPDX expression")
