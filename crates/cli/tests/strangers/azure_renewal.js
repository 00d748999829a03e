// npm azure-iot-device through what happens to a device that stays: tokens renewed on a live connection, connections cut,
// a door that is shut for a while, acknowledgements that never come. The transport stands on the command line.
'use strict';

const assert = require('assert');
const { execFileSync } = require('child_process');
const { Registry, Client: Service } = require('azure-iothub');
const { Message: Note } = require('azure-iot-common');
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { hostName, owner, Inbox, run, soon } = require('./hub.js');

const transports = {
  mqtt: () => require('azure-iot-device-mqtt').Mqtt,
  mqttws: () => require('azure-iot-device-mqtt').MqttWs,
  amqp: () => require('azure-iot-device-amqp').Amqp,
  amqpws: () => require('azure-iot-device-amqp').AmqpWs,
};
const transport = process.argv[2];
const isotherm = (...words) => execFileSync(process.env.ISOTHERM, words, { encoding: 'utf8', timeout: 30000 });
const upstream = (count) =>
  isotherm('watch', 'upstream', '--from', 'earliest', '--count', `${count}`, '--timeout', '10s', '--json')
    .trim().split('\n').map((line) => JSON.parse(line).body);

run(async () => {
  const registry = Registry.fromConnectionString(owner);
  const { responseBody: made } = await registry.create({ deviceId: 'stays' });
  const key = made.authentication.symmetricKey.primaryKey;
  const address = `HostName=${hostName};DeviceId=stays;SharedAccessKey=${key}`;
  const inbox = new Inbox();
  const connect = async (credentials) => {
    const client = Client.fromAuthenticationProvider(credentials, transports[transport]());
    client.on('error', () => {});
    await client.open();
    client.on('message', async (message) => { await client.complete(message); inbox.put(message.getData().toString()); });
    client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload, () => {}));
    return client;
  };
  const service = Service.fromConnectionString(owner);
  await service.open();
  const call = (payload) => service.invokeDeviceMethod('stays', { methodName: 'echo', payload, connectTimeoutInSeconds: 20, responseTimeoutInSeconds: 20 });

  // Nothing stops while tokens are renewed.
  const brief = SharedAccessKeyAuthenticationProvider.fromConnectionString(address, 5, 3); // good for 5 s, renewed after 2
  let renewals = 0;
  brief.on('newTokenAvailable', () => { renewals += 1; });
  let client = await connect(brief);
  let sent = 0;
  const send = async () => { sent += 1; await client.sendEvent(new Message(`${sent}`)); };
  await soon(async () => { await send(); return renewals >= 3; }, 'three renewals');
  // Over MQTT this client renews by a new connection, and acknowledges unread what reaches the old one while it leaves
  // it. A send that is through says that the new one stands.
  await send();
  await service.send('stays', new Note('renewed'));
  assert.strictEqual(await inbox.next(), 'renewed');
  assert.strictEqual((await call('still here')).result.payload, 'still here');
  await client.close();

  // The connection is cut: the client comes back by itself, and nothing that waited is lost.
  client = await connect(SharedAccessKeyAuthenticationProvider.fromConnectionString(address));
  await send();
  isotherm('fault', 'disconnect', 'stays');
  await service.send('stays', new Note('after the cut'));
  assert.strictEqual(await inbox.next(), 'after the cut');
  await send();
  assert.strictEqual((await call('and again')).result.payload, 'and again');

  // The door is shut for a while.
  isotherm('fault', 'disconnect', 'stays', '--duration', '2s');
  await send();
  await service.send('stays', new Note('after the door'));
  assert.strictEqual(await inbox.next(), 'after the door');

  // What is lost on the way is not acknowledged, and so it is sent again, or said to have failed.
  isotherm('fault', 'delay', 'stays', '--by', '300ms', '--duration', '2s');
  await send();
  const bodies = upstream(sent);
  assert.deepStrictEqual([...new Set(bodies)], Array.from({ length: sent }, (_, n) => `${n + 1}`));
  await client.close();
  await service.close();
});
