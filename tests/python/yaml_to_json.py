"""Prints a list of YAML files as one JSON object, name to content: for tests, which read JSON alone."""

import json
import sys

import yaml

documents = {}
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        documents[path] = yaml.safe_load(file)
json.dump(documents, sys.stdout)
