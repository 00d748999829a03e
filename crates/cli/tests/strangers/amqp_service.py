"""azure-iot-hub sends to a device over AMQP (its uamqp), and an AMQP device of qpid-proton takes it."""

import os
import sys

import certifi

# uamqp trusts certifi's bundle and nothing else.
bundle = os.path.join(os.environ["ISOTHERM_STATE"], "bundle.pem")
with open(bundle, "w", encoding="ascii") as file:
    file.write(hub_ca := open(__import__("json").loads(os.environ["READY"])["ca"], encoding="ascii").read())
certifi.where = lambda: bundle

from azure.iot.hub import IoTHubRegistryManager  # noqa: E402
from proton import Delivery, Message, SSLDomain, symbol  # noqa: E402
from proton.utils import BlockingConnection  # noqa: E402

import hub  # noqa: E402

assert hub_ca and sys.argv

key = hub.create_device("lamp")
owner = hub.ready["policies"]["iothubowner"].replace(hub.host_name, hub.address)
manager = IoTHubRegistryManager.from_connection_string(owner)
manager.send_c2d_message("lamp", "first", {"colour": "red", "messageId": "c1", "contentType": "text/plain"})
manager.send_c2d_message("lamp", "second", {"messageId": "c2", "iothub-ack": "full"})

trust = SSLDomain(SSLDomain.MODE_CLIENT)
trust.set_trusted_ca_db(hub.ca_file)
trust.set_peer_authentication(SSLDomain.ANONYMOUS_PEER)
url = f"amqps://{hub.address}:{hub.ready['ports']['amqps']}"
device = BlockingConnection(url, ssl_domain=trust, allowed_mechs="ANONYMOUS", timeout=10)


def put_token(token):
    answers = device.create_receiver("$cbs", name="cbs-in")
    asking = device.create_sender("$cbs", name="cbs-out")
    asking.send(Message(body=token, id="t1", properties={
        "operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "whatever",
    }))
    answer = answers.receive(timeout=10)
    asking.close()
    answers.close()
    return answer.correlation_id, answer.properties["status-code"]


assert put_token(hub.sas(f"{hub.host_name}/devices/lamp", "d3Jvbmc=")) == ("t1", 401)
try:
    device.create_receiver("/devices/lamp/messages/devicebound", name="too-early")
    raise AssertionError("let in without a token")
except Exception as error:  # proton has a class for each of its own
    assert "unauthorized-access" in str(error), error
assert put_token(hub.sas(f"{hub.host_name}/devices/lamp", key)) == ("t1", 200)

inbox = device.create_receiver("/devices/lamp/messages/devicebound", name="inbox")
first = inbox.receive(timeout=10)
assert bytes(first.body) == b"first" and first.properties["colour"] == "red" and first.id == "c1", first
inbox.release(delivered=False)
again = inbox.receive(timeout=10)
ids = {again.id}
inbox.accept()
other = inbox.receive(timeout=10)
ids.add(other.id)
inbox.accept()
assert ids == {"c1", "c2"}, ids

outbox = device.create_sender("amqps://x/devices/lamp/messages/events", name="outbox")
assert outbox.send(Message(body=b"{}", id="d1", properties={"k": "v"})).remote_state == Delivery.ACCEPTED
try:
    device.create_sender("/devices/other/messages/events", name="foreign")
    raise AssertionError("let in as somebody else")
except Exception as error:
    assert "unauthorized-access" in str(error) or "not-found" in str(error), error

# What became of the second message, as the service side hears it.
service = BlockingConnection(url, ssl_domain=trust, allowed_mechs="ANONYMOUS", timeout=10)
device, kept = service, device
secret = hub.part(hub.ready["policies"]["iothubowner"], "SharedAccessKey")
assert put_token(hub.sas(hub.host_name, secret, "iothubowner")) == ("t1", 200)
feedback = service.create_receiver("/messages/serviceBound/feedback", name="feedback")
batch = feedback.receive(timeout=10)
feedback.accept()
assert b'"c2"' in bytes(batch.body) and b"Success" in bytes(batch.body), batch.body
try:
    service.create_receiver("/messages/serviceBound/filenotifications", name="files")
    raise AssertionError("file notifications were promised")
except Exception as error:
    assert "not-implemented" in str(error), error
assert symbol("x")
kept.close()
service.close()
print("ok")
