"""Python azure-iot-device through what happens to a device that stays: renewed tokens, cuts, a shut door, slow answers."""

import json
import queue
import sys

from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse

from hub import address, bodies_until, ca_text, create_device, host_name, isotherm, rest, soon

websockets = "websockets" in sys.argv
device_id = "stays"
key = create_device(device_id)
client = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={host_name};DeviceId={device_id};SharedAccessKey={key};GatewayHostName={address}",
    server_verification_cert=ca_text(),
    websockets=websockets,
    sastoken_ttl=122,  # renewed 120 s before it ends: every two seconds
    connection_retry_interval=1,
)
client.connect()
states = queue.Queue()
client.on_connection_state_change = lambda: states.put(client.connected)
received = queue.Queue()
client.on_message_received = received.put
answers = queue.Queue()  # what methods wait for


def answer(request):
    if request.name == "slow":
        answers.get()
    client.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))


client.on_method_request_received = answer
path = f"/twins/{device_id}/methods"
soon(lambda: rest("POST", path, {"methodName": "up"})[0] == 200, "a device that answers methods")
sent = 0


def send():
    global sent
    sent += 1
    client.send_message(Message(str(sent)))


def to_device(text):
    """A cloud-to-device message, which has to arrive whatever happens to the connection."""
    status, body = rest("POST", f"/isotherm/v1/devices/{device_id}/messages/devicebound", text)
    assert status in (200, 204), (status, body)
    assert json.loads(received.get(timeout=30).data) == text


def renewed():
    send()
    return states.qsize() >= 6


# nothing stops while tokens are renewed: each renewal is a connection that goes and one that comes
soon(renewed, "three renewals")
to_device("renewed")
status, result = rest("POST", path, {"methodName": "echo", "payload": 1})
assert (status, result) == (200, {"status": 200, "payload": 1}), (status, result)

# a method that is not answered in time is said to have timed out, and the next one is not hurt by it
status, body = rest("POST", path, {"methodName": "slow", "responseTimeoutInSeconds": 5})
assert status == 504, (status, body)
answers.put("go on")
status, result = rest("POST", path, {"methodName": "echo", "payload": 2})
assert (status, result) == (200, {"status": 200, "payload": 2}), (status, result)

# cut off: it comes back by itself, and nothing that waited is lost
isotherm("fault", "disconnect", device_id)
to_device("after the cut")
send()
isotherm("fault", "disconnect", device_id, "--duration", "2s")
to_device("after the door")
send()
status, result = rest("POST", path, {"methodName": "echo", "payload": 3, "connectTimeoutInSeconds": 20})
assert (status, result) == (200, {"status": 200, "payload": 3}), (status, result)

# everything is there; what was on its way when the connection went may be there twice
client.send_message(Message("end"))
bodies = set(bodies_until("end"))
missing = {str(n + 1) for n in range(sent)} - bodies
assert not missing, missing
client.shutdown()

# nobody is there: said at once, or after the time that was asked for
create_device("never-came")
for wait in (0, 1):
    status, body = rest("POST", "/twins/never-came/methods", {"methodName": "echo", "connectTimeoutInSeconds": wait})
    assert status == 404, (status, body)
print("ok")
