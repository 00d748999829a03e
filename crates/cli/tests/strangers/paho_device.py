"""paho-mqtt, which knows nothing of IoT Hub: the documented topics by hand, and what is refused."""

import json
import queue
import ssl

import paho.mqtt.client as mqtt

from hub import address, ca_file, create_device, host_name, ready, sas, soon

device_id = "paho"
key = create_device(device_id)
resource = f"{host_name}/devices/{device_id}"


class Client:
    def __init__(self, token, client_id=device_id, clean=False):
        self.messages, self.connected, self.gone, self.acked, self.subscribed = (queue.Queue() for _ in range(5))
        self.client = mqtt.Client(client_id=client_id, protocol=mqtt.MQTTv311, clean_session=clean)
        self.client.username_pw_set(f"{host_name}/{client_id}/?api-version=2021-04-12", token)
        self.client.tls_set_context(ssl.create_default_context(cafile=ca_file))
        self.client.on_connect = lambda c, u, flags, code: self.connected.put((flags["session present"], code))
        self.client.on_disconnect = lambda c, u, code: self.gone.put(code)
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_publish = lambda c, u, mid: self.acked.put(mid)
        self.client.on_subscribe = lambda c, u, mid, granted: self.subscribed.put(granted)
        self.client.connect(address, ready["ports"]["mqtts"], keepalive=20)
        self.client.loop_start()

    def let_in(self):
        present, code = self.connected.get(timeout=20)
        assert code == 0, code
        return present

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


good = sas(resource, key)
first = Client(good)
assert first.let_in() in (False, 0)
first.client.subscribe("$iothub/twin/res/#", 0)
assert first.subscribed.get(timeout=20)[0] == 0
first.client.subscribe(f"devices/{device_id}/messages/devicebound/#", 2)
assert first.subscribed.get(timeout=20)[0] == 1, "QoS 2 is granted as 1"
first.client.publish("$iothub/twin/GET/?$rid=7", "", 0)
message = first.messages.get(timeout=20)
assert message.topic == "$iothub/twin/res/200/?$rid=7", message.topic
assert set(json.loads(message.payload)) == {"desired", "reported"}, message.payload

first.client.publish("$iothub/twin/PATCH/properties/reported/?$rid=8", json.dumps({"x": {"a.b": 1}}), 0)
message = first.messages.get(timeout=20)
assert message.topic.startswith("$iothub/twin/res/400/?$rid=8"), message.topic
assert "a.b" in message.payload.decode(), message.payload

# a second connection of the same identity takes over
second = Client(good)
assert second.let_in()
first.gone.get(timeout=20)
first.client.loop_stop()

# telemetry is acknowledged once it is safe; somebody else's topic ends the connection, unacknowledged
second.client.publish(f"devices/{device_id}/messages/events/a=b", "x", 1)
second.acked.get(timeout=20)
second.client.publish("devices/other/messages/events/", "x", 1)
second.gone.get(timeout=20)
second.client.loop_stop()

third = Client(good)
third.let_in()
third.client.publish(f"devices/{device_id}/messages/events/", "x", 2)
third.gone.get(timeout=20)
third.client.loop_stop()

for what, token in {
    "an expired token": sas(resource, key, seconds=-600),
    "somebody else's token": sas(f"{host_name}/devices/other", key),
    "a token by a wrong key": sas(resource, "AAAAAAAAAAAAAAAAAAAAAA=="),
    "no token": "",
}.items():
    client = Client(token)
    _, code = client.connected.get(timeout=20)
    assert code == 5, (what, code)
    client.client.loop_stop()
print("ok")
