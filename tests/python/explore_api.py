"""Runs schemathesis against a document and the service behind it; fails where an answer is none that the document has.

Of the paths that the third argument matches; without it of those of the API, since a service may have no feed. A document that
is a file needs a fourth argument: where the service is.
"""

import os
import subprocess
import sys
import tempfile

document, token, *more = sys.argv[1:]
place = ["--url", more[1]] if len(more) > 1 else []
paths = ["--include-path-regex", more[0]] if more else ["--exclude-path-regex", "^/(feed/|[.]well-known/)"]
checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance"
command = [
    os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", document,
    "--header", f"Authorization: Bearer {token}",
    "--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-time", "45", "--max-examples", "15",
    "--seed", "1", "--continue-on-failure", "--no-color",
    # one worker: CPython 3.11 breaks off with a SystemError where two threads parse Python at once, as Hypothesis does
    "--workers", "1", *paths, *place,
]
with tempfile.TemporaryDirectory() as folder:  # it keeps what it found in its working folder
    with open(os.path.join(folder, "schemathesis.toml"), "w") as settings:
        settings.write('[parameters]\n"query.wait" = 0\n')  # else a long poll waits for what nobody publishes
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
print(ended.stdout.replace(token, "…"))
print(ended.stderr.replace(token, "…"), file=sys.stderr)
sys.exit(ended.returncode)
