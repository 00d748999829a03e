"""Python azure-iot-device as modules behind GatewayHostName: outputs, inputs by route, twin, methods."""

import json
import os
import queue

from azure.iot.device import IoTHubModuleClient, Message, MethodResponse

from hub import isotherm, ready, rest

def module(name):
    """As a developer's machine starts a module: by these two variables."""
    os.environ["EdgeHubConnectionString"] = ready["modules"][name]
    os.environ["EdgeModuleCACertificateFile"] = ready["ca"]
    client = IoTHubModuleClient.create_from_edge_environment()
    client.connect()
    return client

sensor, filter_ = module("sensor"), module("filter")
received = queue.Queue()
filter_.on_message_received = received.put

message = Message(b"\x0d\x00\x00\xf8A")
message.custom_properties["kind"] = "test"
sensor.send_message_to_output(message, "temperature")
got = received.get(timeout=20)
assert got.input_name == "temperature", got.input_name
assert got.data == b"\x0d\x00\x00\xf8A", got.data
assert got.custom_properties["kind"] == "test", got.custom_properties
assert got.custom_properties["$.cmid"] == "sensor", got.custom_properties

# no route for this output: accepted, and gone
sensor.send_message_to_output(Message("x"), "nowhere")
assert received.empty()

# the twin
assert "TemperatureThreshold" in filter_.get_twin()["desired"]
patches = queue.Queue()
filter_.on_twin_desired_properties_patch_received = patches.put
device = ready.get("deviceId", "edge")
status, _ = rest("PATCH", f"/twins/{device}/modules/filter", {"properties": {"desired": {"TemperatureThreshold": 31}}})
assert status == 200
assert patches.get(timeout=20)["TemperatureThreshold"] == 31
filter_.patch_twin_reported_properties({"TemperatureThreshold": {"value": 31, "ac": 200, "av": 2}})
_, served = rest("GET", f"/twins/{device}/modules/filter")
assert served["properties"]["reported"]["TemperatureThreshold"]["value"] == 31, served

# a method from module to module, through the gateway
def answer(request):
    filter_.send_method_response(MethodResponse.create_from_method_request(request, 200, {"pong": request.payload}))

filter_.on_method_request_received = answer
alert = Message("{}")
alert.custom_properties["MessageType"] = "Alert"
filter_.send_message_to_output(alert, "alert")
line = json.loads(isotherm("watch", "upstream", "--from", "earliest", "--count", "1", "--timeout", "10s", "--json").splitlines()[0])
assert line["from"] == f"{device}/filter" and line["output"] == "alert", line
assert line["properties"]["MessageType"] == "Alert", line

status, result = rest("POST", f"/twins/{device}/modules/filter/methods", {"methodName": "ping", "payload": 1})
assert (status, result) == (200, {"status": 200, "payload": {"pong": 1}}), (status, result)
result = sensor.invoke_method({"methodName": "ping", "payload": {"from": "sensor"}}, device, "filter")
assert result["status"] == 200 and result["payload"] == {"pong": {"from": "sensor"}}, result

sensor.shutdown()
filter_.shutdown()
print("ok")
