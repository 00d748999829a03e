"""Certificates instead of keys: Python azure-iot-device and azure-iot-hub, by thumbprint and by authority."""

import hashlib
import os
import ssl

from azure.iot.device import IoTHubDeviceClient, Message, X509
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub import IoTHubRegistryManager

from hub import ca_text, host_name, isotherm, ready, rest

registry = IoTHubRegistryManager.from_connection_string(ready["policies"]["iothubowner"])
folder = os.environ["CERTIFICATES"]


def client(device_id, name, websockets=False):
    return IoTHubDeviceClient.create_from_x509_certificate(
        x509=X509(f"{folder}/{name}.pem", f"{folder}/{name}.key"), hostname=host_name, device_id=device_id,
        server_verification_cert=ca_text(), websockets=websockets, connection_retry=False,
    )


def thumbprint(name):
    with open(f"{folder}/{name}.pem", encoding="ascii") as file:
        return hashlib.sha1(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest().upper()


registry.create_device_with_x509("self", thumbprint("self"), thumbprint("other"), "enabled")
registry.create_device_with_certificate_authority("by-ca", "enabled")
for device_id, name in [("self", "self"), ("self", "other"), ("by-ca", "by-ca")]:
    for websockets in (False, True):
        device = client(device_id, name, websockets)
        device.connect()
        device.send_message(Message(f"{name} {websockets}"))
        assert device.get_twin()["desired"]["$version"] == 1
        device.shutdown()
lines = isotherm("watch", "upstream", "--from", "earliest", "--count", "6", "--timeout", "10s", "--json").splitlines()
assert len(lines) == 6, lines

# another's certificate, another name's, and nobody's
registry.create_device_with_x509("narrow", thumbprint("self"), thumbprint("self"), "enabled")
registry.create_device_with_certificate_authority("another", "enabled")
registry.create_device_with_sas("keyed", "", "", "enabled")
for device_id, name in [("narrow", "other"), ("another", "by-ca"), ("by-ca", "self"), ("keyed", "self"), ("nobody", "self")]:
    device = client(device_id, name)
    try:
        device.connect()
        raise AssertionError(f"{name}'s certificate let {device_id} in")
    except CredentialError:
        pass
    device.shutdown()

# a disabled identity is not let in, whatever it shows
registry.update_device_with_x509("self", registry.get_device("self").etag, thumbprint("self"), thumbprint("other"), "disabled")
device = client("self", "self")
try:
    device.connect()
    raise AssertionError("a disabled device was let in")
except CredentialError:
    pass
device.shutdown()
status, _ = rest("GET", "/devices/self")
assert status == 200
print("ok")
