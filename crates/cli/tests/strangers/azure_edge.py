"""Python azure-iot-device as a module started by the runtime: the workload API instead of a connection string."""

import os
import queue

from azure.iot.device import IoTHubModuleClient, Message, MethodResponse

from hub import address, host_name, ready, rest, soon

device = ready["deviceId"]


def module(name):
    """The environment that edgeAgent gives a module's container."""
    os.environ.update({
        "IOTEDGE_WORKLOADURI": ready["workload"],
        "IOTEDGE_AUTHSCHEME": "sasToken",
        "IOTEDGE_MODULEGENERATIONID": ready["generations"][name],
        "IOTEDGE_IOTHUBHOSTNAME": host_name,
        "IOTEDGE_GATEWAYHOSTNAME": address,
        "IOTEDGE_DEVICEID": device,
        "IOTEDGE_MODULEID": name,
        "IOTEDGE_APIVERSION": "2022-08-03",
    })
    client = IoTHubModuleClient.create_from_edge_environment()
    client.connect()
    return client


sensor, filter_ = module("sensor"), module("filter")
received = queue.Queue()
filter_.on_message_received = received.put
sensor.send_message_to_output(Message("hello"), "temperature")
got = received.get(timeout=20)
assert (got.input_name, got.data) == ("temperature", b"hello"), got
assert "TemperatureThreshold" in filter_.get_twin()["desired"]
filter_.on_method_request_received = lambda request: filter_.send_method_response(
    MethodResponse.create_from_method_request(request, 200, {"got": request.payload})
)
path = f"/twins/{device}/modules/filter/methods"
soon(lambda: rest("POST", path, {"methodName": "ping"})[0] == 200, "a module that answers")
answer = sensor.invoke_method({"methodName": "ping", "payload": 7}, device, "filter")
assert (answer["status"], answer["payload"]) == (200, {"got": 7}), answer

# another generation of the module is not this one
os.environ["IOTEDGE_MODULEGENERATIONID"] = "1"
try:
    IoTHubModuleClient.create_from_edge_environment()
    raise AssertionError("a token was signed for a module that is gone")
except ValueError as error:
    assert "SasToken" in str(error), error
sensor.shutdown()
filter_.shutdown()
print("ok")
