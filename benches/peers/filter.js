// The filter on mqtt.js and protobufjs: what `isotherm bench` measures ours against.
//
// node filter.js HOST PORT INPUT_TOPIC OUTPUT_TOPIC THRESHOLD [CA_FILE]
//
// A reading above the threshold goes on as it came, QoS 1 on both sides. The library acknowledges an input when its
// callback is called; nothing is kept on disk.
'use strict'
const fs = require('fs')
const mqtt = require('mqtt')
const protobuf = require('protobufjs')

const [host, port, input, output, threshold, ca] = process.argv.slice(2)
const Reading = protobuf.parse(`syntax = "proto3";
  message TemperatureReading { float reading = 1; string timestamp = 2; string sensor_id = 3; uint64 sequence = 4; }`)
  .root.lookupType('TemperatureReading')
const above = Number(threshold)

const client = mqtt.connect({
  host, port: Number(port), protocol: ca ? 'mqtts' : 'mqtt', ca: ca && fs.readFileSync(ca), clientId: 'bench-node'
})
client.on('connect', () => {
  client.stream.setNoDelay?.(true)
  client.subscribe(input, { qos: 1 })
})
client.handleMessage = (packet, done) => {
  if (Reading.decode(packet.payload).reading > above) client.publish(output, packet.payload, { qos: 1 })
  done()
}
