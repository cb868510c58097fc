"""The daemon's OpenAPI document against the standard, and real traffic against the document.

Usage: openapi_check.py FOLDER. The folder holds openapi.json, and request.json and response.json,
an inference of the model `digits` that the daemon answered. Prints `all passed`.
"""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

folder = Path(sys.argv[1])
document = json.loads((folder / "openapi.json").read_text())
errors = [
    f"{list(error.absolute_path)}: {error.message}"
    for error in OpenAPIV31SpecValidator(document).iter_errors()
]
assert not errors, "\n".join(errors)

registry = Registry().with_resource("urn:doc", Resource(document, DRAFT202012))


def validator(pointer):
    return Draft202012Validator({"$ref": f"urn:doc#{pointer}"}, registry=registry)


post = "/paths/~1v2~1models~1digits~1infer/post"
content = "/content/application~1json/schema"
request = validator(f"{post}/requestBody{content}")
response = validator(f"{post}/responses/200{content}")
sent = json.loads((folder / "request.json").read_text())
answered = json.loads((folder / "response.json").read_text())
request.validate(sent)
response.validate(answered)


def refuses(schema, value, change):
    value = json.loads(json.dumps(value))
    change(value)
    assert not schema.is_valid(value), f"the document admits {json.dumps(value)[:200]}"


refuses(request, sent, lambda it: it["inputs"][0].update(name="pictures"))
refuses(request, sent, lambda it: it["inputs"][0].update(datatype="INT8"))
refuses(request, sent, lambda it: it["inputs"][0].update(shape=[1, 63]))
refuses(request, sent, lambda it: it["inputs"][0].update(shape=[64]))
refuses(request, sent, lambda it: it["inputs"][0].update(data=["text"]))
refuses(request, sent, lambda it: it["inputs"][0].pop("data"))
refuses(request, sent, lambda it: it.update(inputs=[]))
refuses(request, sent, lambda it: it.update(outputs=[{"name": "nothing"}]))
refuses(response, answered, lambda it: it.pop("outputs"))
print("all passed")
