"""The filter on paho-mqtt and protobuf: what `isotherm bench` measures ours against.

python filter.py HOST PORT INPUT_TOPIC OUTPUT_TOPIC THRESHOLD [CA_FILE]

A reading above the threshold goes on as it came, QoS 1 on both sides. The library acknowledges an input when its
callback returns; nothing is kept on disk.
"""
import socket
import sys

import paho.mqtt.client as mqtt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

host, port, source, target, threshold = sys.argv[1:6]
authority = sys.argv[6] if len(sys.argv) > 6 else None
above = float(threshold)

Field = descriptor_pb2.FieldDescriptorProto
file = descriptor_pb2.FileDescriptorProto(name="reading.proto", syntax="proto3")
reading = file.message_type.add(name="TemperatureReading")
for number, (name, kind) in enumerate(
    [("reading", Field.TYPE_FLOAT), ("timestamp", Field.TYPE_STRING),
     ("sensor_id", Field.TYPE_STRING), ("sequence", Field.TYPE_UINT64)], 1):
    reading.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
TemperatureReading = message_factory.GetMessageClass(pool.FindMessageTypeByName("TemperatureReading"))


def on_connect(client, _userdata, _flags, _reason, _properties=None):
    client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.subscribe(source, qos=1)


def on_message(client, _userdata, message):
    if TemperatureReading.FromString(message.payload).reading > above:
        client.publish(target, message.payload, qos=1)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="bench-python")
client.max_inflight_messages_set(65535)
client.max_queued_messages_set(0)
if authority:
    client.tls_set(ca_certs=authority)
client.on_connect = on_connect
client.on_message = on_message
client.connect(host, int(port))
client.loop_forever()
