"""The Rust crate azure_iot_sdk as a device: every way that it has, and its keep-alive: it announces ten seconds and pings
every fifteen."""

import json
import os
import subprocess
import sys
import time

from hub import address, create_device, isotherm, part, ready, rest, soon

QUIET = 17  # seconds; longer than from one of its pings to the next

key = create_device("rusty")
program = subprocess.Popen(
    [os.environ["STRANGER"], address, "rusty", key], stdout=subprocess.PIPE, text=True,
    env={**os.environ, "SSL_CERT_FILE": ready["ca"]},
)


def line():
    text = program.stdout.readline()
    assert text, f"it ended with {program.wait(10)}"
    return text.strip()


assert line() == "ready"
upstream = isotherm("watch", "upstream", "--from", "earliest", "--count", "1", "--timeout", "10s", "--json")
event = json.loads(upstream.splitlines()[0])
assert (event["from"], event["body"], event["properties"]["kind"]) == ("rusty", '{"n":1}', "first"), event
soon(lambda: rest("GET", "/twins/rusty")[1]["properties"]["reported"].get("colour") == "red", "the report")

status, _ = rest("PATCH", "/twins/rusty", {"properties": {"desired": {"speed": 3}}})
assert status == 200
word, _, patch = line().partition(" ")
assert word == "desired" and json.loads(patch)["speed"] == 3, patch

call = {"methodName": "echo", "payload": {"a": [1, None]}, "responseTimeoutInSeconds": 10}
status, answer = rest("POST", "/twins/rusty/methods", call)
assert (status, answer) == (200, {"status": 200, "payload": {"a": [1, None]}}), (status, answer)
assert line().startswith("method echo "), "it was called"

started = time.monotonic()
soon(lambda: time.monotonic() - started > QUIET, "nothing for a while", seconds=QUIET + 5)
status, _ = rest("POST", "/isotherm/v1/devices/rusty/messages/devicebound", "end")
assert status in (200, 204), status
assert line() == 'message "end"', "still connected"
status, _ = rest("POST", "/isotherm/v1/devices/rusty/messages/devicebound", "unread")
program.terminate()
print("ok")
