"""Python azure-iot-device as a leaf device: telemetry, twin both ways, methods, cloud-to-device."""

import json
import queue
import sys

from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse

from hub import address, ca_text, create_device, host_name, isotherm, rest, soon

websockets = "websockets" in sys.argv
device_id = "leaf-ws" if websockets else "leaf"
key = create_device(device_id)
client = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={host_name};DeviceId={device_id};SharedAccessKey={key};GatewayHostName={address}",
    server_verification_cert=ca_text(),
    websockets=websockets,
)
client.connect()
assert client.connected

# telemetry: every property arrives as it was set
message = Message('{"temp": 21.5}')
message.message_id = "m 1"
message.content_type = "application/json"
message.content_encoding = "utf-8"
message.custom_properties["prop a"] = "v&b=ü"
message.custom_properties["empty"] = ""
client.send_message(message)
lines = [json.loads(line) for line in isotherm(
    "watch", "upstream", "--from", "earliest", "--count", "1", "--timeout", "10s", "--json"
).splitlines()]
event = next(line for line in lines if line["from"] == device_id)
assert event["body"] == '{"temp": 21.5}', event
assert event["properties"]["prop a"] == "v&b=ü", event
assert event["properties"]["empty"] == "", event

# the twin, both ways, with a null
twin = client.get_twin()
assert twin["desired"]["$version"] >= 1 and twin["reported"]["$version"] >= 1, twin
client.patch_twin_reported_properties({"colour": "red", "gone": 1})
client.patch_twin_reported_properties({"gone": None})
status, served = rest("GET", f"/twins/{device_id}")
assert status == 200 and served["properties"]["reported"]["colour"] == "red", served
assert "gone" not in served["properties"]["reported"], served
assert "$lastUpdated" in served["properties"]["reported"]["$metadata"]["colour"], served

patches = queue.Queue()
client.on_twin_desired_properties_patch_received = patches.put
status, served = rest("PATCH", f"/twins/{device_id}", {"properties": {"desired": {"a": {"b": 1}, "c": 2}}})
assert status == 200, served
patch = patches.get(timeout=20)
assert patch["a"] == {"b": 1} and patch["c"] == 2, patch
assert patch["$version"] == served["properties"]["desired"]["$version"], (patch, served)
status, served = rest("PATCH", f"/twins/{device_id}", {"properties": {"desired": {"c": None}}})
assert patches.get(timeout=20)["c"] is None
assert "c" not in client.get_twin()["desired"]

# a stale etag is refused, the right one is not
status, _ = rest("PATCH", f"/twins/{device_id}", {"tags": {"a": 1}}, {"If-Match": '"stale"'})
assert status == 412, status
status, _ = rest("PATCH", f"/twins/{device_id}", {"tags": {"a": 1}}, {"If-Match": f'"{served["etag"]}"'})
assert status == 200, status

# methods, with a payload and with none
def answer(request):
    client.send_method_response(MethodResponse.create_from_method_request(request, 201, {"got": request.payload}))

client.on_method_request_received = answer
soon(lambda: rest("POST", f"/twins/{device_id}/methods", {"methodName": "up"})[0] == 200, "a method-ready device")
status, result = rest("POST", f"/twins/{device_id}/methods", {"methodName": "reboot", "payload": {"a": 1}})
assert (status, result) == (200, {"status": 201, "payload": {"got": {"a": 1}}}), (status, result)
status, result = rest("POST", f"/twins/{device_id}/methods", {"methodName": "reboot", "payload": None})
assert (status, result) == (200, {"status": 201, "payload": {"got": None}}), (status, result)

# cloud-to-device
received = queue.Queue()
client.on_message_received = received.put
status, body = rest(
    "POST", f"/isotherm/v1/devices/{device_id}/messages/devicebound", {"hello": "there"},
    {"iothub-messageid": "c-1", "iothub-app-colour": "blue"},
)
assert status in (200, 204), (status, body)
message = received.get(timeout=20)
assert json.loads(message.data) == {"hello": "there"}, message.data
assert message.message_id == "c-1" and message.custom_properties["colour"] == "blue", message.custom_properties

client.shutdown()
status, body = rest("POST", f"/twins/{device_id}/methods", {"methodName": "reboot"})
assert status == 404, (status, body)

# a wrong key is refused, and said so
from azure.iot.device.exceptions import CredentialError

wrong = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={host_name};DeviceId={device_id};SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAA==;GatewayHostName={address}",
    server_verification_cert=ca_text(), websockets=websockets, connection_retry=False,
)
try:
    wrong.connect()
    raise AssertionError("a wrong key was let in")
except CredentialError:
    pass
wrong.shutdown()
print("ok")
