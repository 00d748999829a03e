"""What every stranger's script needs: the hub's `ready` object, and its service side."""

import base64
import hashlib
import hmac
import json
import os
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

ready = json.loads(os.environ["READY"])
host_name = ready["hostName"]
ca_file = ready["ca"]
address = ready["address"]


def ca_text():
    with open(ca_file, encoding="ascii") as file:
        return file.read()


def sas(resource, key, policy=None, seconds=3600):
    expiry = str(int(time.time()) + seconds)
    quoted = urllib.parse.quote(resource, safe="")
    signature = hmac.new(base64.b64decode(key), f"{quoted}\n{expiry}".encode(), hashlib.sha256).digest()
    token = f"SharedAccessSignature sr={quoted}&sig={urllib.parse.quote(base64.b64encode(signature), safe='')}&se={expiry}"
    return token + (f"&skn={policy}" if policy else "")


def part(connection_string, name):
    for pair in connection_string.split(";"):
        key, _, value = pair.partition("=")
        if key == name:
            return value
    raise KeyError(name)


def rest(method, path, body=None, headers=None):
    """One call of the service API, as its documentation has it; (status, body)."""
    key = part(ready["policies"]["iothubowner"], "SharedAccessKey")
    joint = "&" if "?" in path else "?"
    request = urllib.request.Request(
        f"https://{address}:{ready['ports']['https']}{path}{joint}api-version=2021-04-12",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": sas(host_name, key, "iothubowner"),
            "Content-Type": "application/json; charset=utf-8",
            **(headers or {}),
        },
    )
    context = ssl.create_default_context(cafile=ca_file)
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text else None


def create_device(device_id):
    status, device = rest("PUT", f"/devices/{device_id}", {"deviceId": device_id})
    assert status == 200, (status, device)
    return device["authentication"]["symmetricKey"]["primaryKey"]


def isotherm(*words):
    """A verb of ours, against the same hub; its standard output."""
    done = subprocess.run(
        [os.environ["ISOTHERM"], *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def bodies_until(last):
    """What reached upstream from the beginning on, up to this body."""
    words = ["watch", "upstream", "--from", "earliest", "--timeout", "20s", "--json"]
    bodies = []
    with subprocess.Popen([os.environ["ISOTHERM"], *words], stdout=subprocess.PIPE, text=True) as watch:
        for line in watch.stdout:
            bodies.append(json.loads(line)["body"])
            if bodies[-1] == last:
                break
        watch.terminate()
    assert bodies[-1:] == [last], bodies[-3:]
    return bodies


def soon(question, what, seconds=20):
    """Waits until the answer is true; fails with what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {seconds} s")
