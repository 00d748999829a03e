"""azure-eventhub reads what reached upstream: from the beginning, from an offset, from now on, with an epoch."""

import sys
import threading

from azure.eventhub import EventHubConsumerClient, TransportType
from azure.eventhub.exceptions import EventHubError

import hub

hub.create_device("thermometer")
for number in range(5):
    headers = {"iothub-app-n": str(number), "iothub-messageid": f"m{number}"}
    status, _ = hub.rest("POST", "/devices/thermometer/messages/events", {"n": number}, headers)
    assert status == 204, status

web_sockets = "websockets" in sys.argv
port = hub.ready["ports"]["https" if web_sockets else "amqps"]


def client():
    return EventHubConsumerClient.from_connection_string(
        hub.ready["eventHub"],
        "$Default",
        connection_verify=hub.ca_file,
        custom_endpoint_address=f"sb://{hub.address}:{port}",
        transport_type=TransportType.AmqpOverWebsocket if web_sockets else TransportType.Amqp,
        retry_total=0,
    )


def read(wanted, **words):
    """The events until `wanted` of them are there."""
    found, done = [], threading.Event()

    def on_event(_, event):
        if event is not None:
            found.append(event)
            if len(found) >= wanted:
                done.set()

    reader = client()
    thread = threading.Thread(target=lambda: reader.receive(on_event, max_wait_time=1, **words), daemon=True)
    thread.start()
    assert done.wait(20), (words, len(found))
    reader.close()
    thread.join(10)
    return found


with client() as asking:
    properties = asking.get_eventhub_properties()
    assert properties["partition_ids"] == ["0", "1", "2", "3"], properties
    partitions = [asking.get_partition_properties(partition) for partition in properties["partition_ids"]]
filled = [one for one in partitions if not one["is_empty"]]
assert len(filled) == 1 and filled[0]["last_enqueued_sequence_number"] == 4, partitions
partition = filled[0]["id"]

events = read(5, starting_position="-1", track_last_enqueued_event_properties=True)
assert [event.body_as_json()["n"] for event in events] == [0, 1, 2, 3, 4]
first = events[0]
assert first.system_properties[b"iothub-connection-device-id"] == b"thermometer", first.system_properties
assert first.system_properties[b"iothub-message-source"] == b"Telemetry"
assert first.properties[b"n"] == b"0", first.properties
assert first.message_id == "m0" and first.enqueued_time is not None

later = read(2, partition_id=partition, starting_position=events[2].offset)
assert [event.sequence_number for event in later] == [3, 4]
later = read(3, partition_id=partition, starting_position=2, starting_position_inclusive=True)
assert [event.sequence_number for event in later] == [2, 3, 4]
later = read(5, partition_id=partition, starting_position=first.enqueued_time, starting_position_inclusive=True)
assert later[0].sequence_number == 0

latest, got = client(), threading.Event()
news = []


def on_news(_, event):
    if event is not None:
        news.append(event.body_as_json()["n"])
        got.set()


opened = threading.Event()
threading.Thread(
    target=lambda: latest.receive(on_news, partition_id=partition, starting_position="@latest"), daemon=True
).start()


def send_and_look():
    hub.rest("POST", "/devices/thermometer/messages/events", {"n": 99})
    return got.wait(3)  # over WebSocket this client hands over what it has when nothing has come for a second


hub.soon(send_and_look, "an event from now on")
assert set(news) == {99}, news
latest.close()

# A reader with a higher owner level takes the partition away from one with a lower.
ends, lower = [], client()
begun = threading.Event()
threading.Thread(
    target=lambda: lower.receive(
        lambda *_: begun.set(), partition_id=partition, owner_level=1, starting_position="-1",
        on_error=lambda _, error: ends.append(error),
    ),
    daemon=True,
).start()
assert begun.wait(20)
assert len(read(5, partition_id=partition, owner_level=2, starting_position="-1")) >= 5
hub.soon(lambda: ends, "the older reader's end")
assert isinstance(ends[0], EventHubError) and "stolen" in str(ends[0]), ends
lower.close()

# A wrong key is told so, and not left to wait.
wrong = hub.ready["eventHub"].replace(hub.part(hub.ready["eventHub"], "SharedAccessKey"), "d3Jvbmc=")
refused = EventHubConsumerClient.from_connection_string(
    wrong, "$Default", connection_verify=hub.ca_file, retry_total=0, transport_type=TransportType.Amqp,
    custom_endpoint_address=f"sb://{hub.address}:{hub.ready['ports']['amqps']}",
)
try:
    refused.get_eventhub_properties()
    raise AssertionError("a wrong key was let in")
except EventHubError as error:
    assert "401" in str(error) or "Authenti" in type(error).__name__, error
print("ok")
