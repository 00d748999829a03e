// npm azure-iot-device as a device, over the transport named on the command line: mqtt, mqttws or http.
'use strict';

const assert = require('assert');
const { execFileSync } = require('child_process');
const { Registry } = require('azure-iothub');
const { Client, Message } = require('azure-iot-device');
const { hostName, ca, owner, Inbox, run, refused, soon } = require('./hub.js');

const transports = {
  mqtt: () => require('azure-iot-device-mqtt').Mqtt,
  mqttws: () => require('azure-iot-device-mqtt').MqttWs,
  http: () => require('azure-iot-device-http').Http,
};
const transport = process.argv[2];

const isotherm = (words, input = '') => execFileSync(process.env.ISOTHERM, words, { encoding: 'utf8', input, timeout: 30000 });
const upstream = (count) =>
  isotherm(['watch', 'upstream', '--from', 'earliest', '--count', `${count}`, '--timeout', '10s', '--json'])
    .trim().split('\n').map((line) => JSON.parse(line));

async function send(to, text, headers = []) {
  const https = require('https');
  const { SharedAccessSignature } = require('azure-iothub');
  const parts = Object.fromEntries(owner.split(';').map((part) => part.split(/=(.*)/s)));
  const authorization = SharedAccessSignature.create(parts.HostName, parts.SharedAccessKeyName, parts.SharedAccessKey, Math.floor(Date.now() / 1000) + 3600).toString();
  await new Promise((done, fail) => {
    const path = `/isotherm/v1/devices/${to}/messages/devicebound`;
    const request = https.request({ host: hostName, method: 'POST', path, ca, headers: { authorization, ...headers } }, (answer) => {
      answer.resume();
      answer.on('end', () => (answer.statusCode < 300 ? done() : fail(new Error(`${answer.statusCode}`))));
    });
    request.on('error', fail);
    request.end(text);
  });
}

run(async () => {
  const registry = Registry.fromConnectionString(owner);
  const deviceId = `node-${transport}`;
  const { responseBody: made } = await registry.create({ deviceId });
  const key = made.authentication.symmetricKey.primaryKey;
  const client = Client.fromConnectionString(`HostName=${hostName};DeviceId=${deviceId};SharedAccessKey=${key}`, transports[transport]());
  // (over HTTP this SDK never says that it has taken the option; NODE_EXTRA_CA_CERTS does it there)
  if (transport !== 'http') await client.setOptions({ ca });
  await client.open();

  // telemetry
  const message = new Message('{"temp":21.5}');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.messageId = 'm-1';
  message.properties.add('colour', 'dark red');
  await client.sendEvent(message);
  const [event] = upstream(1);
  assert.strictEqual(event.from, deviceId);
  assert.strictEqual(event.body, '{"temp":21.5}');
  assert.strictEqual(event.properties.colour, 'dark red');
  if (transport === 'http') {
    const batch = ['1', '2'].map((text) => new Message(text));
    batch[0].properties.add('first', 'yes');
    await client.sendEventBatch(batch);
    const events = upstream(3);
    assert.deepStrictEqual(events.slice(1).map((it) => it.body), ['1', '2']);
    assert.strictEqual(events[1].properties.first, 'yes', JSON.stringify(events[1]));
  }

  // cloud-to-device: completed; over HTTP also given back and rejected
  if (transport === 'http') await client.setOptions({ http: { receivePolicy: { interval: 1 } } });
  const inbox = new Inbox();
  client.on('message', (received) => inbox.put(received));
  client.on('error', (error) => { throw error; });
  await send(deviceId, 'hello', { 'iothub-messageid': 'c-1', 'iothub-app-kind': 'greeting' });
  const first = await inbox.next();
  assert.strictEqual(first.getData().toString(), 'hello');
  assert.strictEqual(first.messageId, 'c-1');
  await client.complete(first);
  const count = async () => (await registry.getTwin(deviceId)).responseBody.cloudToDeviceMessageCount;
  await soon(async () => (await count()) === 0, 'an empty queue');
  if (transport === 'http') {
    await send(deviceId, 'twice');
    await client.abandon(await inbox.next());
    const second = await inbox.next();
    assert.strictEqual(second.getData().toString(), 'twice');
    await client.reject(second);
    await soon(async () => (await count()) === 0, 'an empty queue');
    const gone = await client.complete(second).catch((error) => error);
    assert.strictEqual(gone.response.statusCode, 412, 'the lock is lost');
  } else {
    const twin = await client.getTwin();
    assert.strictEqual(twin.properties.desired.$version, 1);
  }
  await client.close();

  // a wrong key is refused, and said so
  const wrong = Client.fromConnectionString(`HostName=${hostName};DeviceId=${deviceId};SharedAccessKey=${'A'.repeat(43)}=`, transports[transport]());
  if (transport !== 'http') await wrong.setOptions({ ca });
  await refused('UnauthorizedError', async () => { await wrong.open(); await wrong.sendEvent(new Message('x')); });
});
