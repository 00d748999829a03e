// npm azure-iot-device through what happens to a device that stays: tokens renewed on a live connection, connections cut,
// a door that is shut for a while, acknowledgements and answers that never come. The transport stands on the command line.
'use strict';

const assert = require('assert');
const { execFileSync, spawn } = require('child_process');
const readline = require('readline');
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
/** What reached upstream from the beginning on, up to this body. */
async function bodiesUntil(last) {
  const watch = spawn(process.env.ISOTHERM, ['watch', 'upstream', '--from', 'earliest', '--timeout', '20s', '--json']);
  const bodies = new Set();
  for await (const line of readline.createInterface({ input: watch.stdout })) {
    bodies.add(JSON.parse(line).body);
    if (bodies.has(last)) break;
  }
  watch.kill();
  return bodies;
}

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
  const outcome = (who, words) => service.invokeDeviceMethod(who, words).then(() => 200, (error) => error.response?.statusCode);

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

  // A method that is not answered in time is said to have timed out, and the next one is not hurt by it.
  client.onDeviceMethod('slow', () => {});
  await soon(async () => (await outcome('stays', { methodName: 'slow', responseTimeoutInSeconds: 5 })) === 504, 'a time-out');
  assert.strictEqual((await call('not hurt')).result.payload, 'not hurt');

  // The door is shut for a while.
  isotherm('fault', 'disconnect', 'stays', '--duration', '2s');
  await send();
  await service.send('stays', new Note('after the door'));
  assert.strictEqual(await inbox.next(), 'after the door');

  // What is lost on the way is not acknowledged, and so it is sent again, or said to have failed.
  isotherm('fault', 'delay', 'stays', '--by', '300ms', '--duration', '2s');
  await send();
  await client.sendEvent(new Message('end'));
  const bodies = await bodiesUntil('end');
  assert.ok(bodies.has('end'));
  assert.deepStrictEqual(Array.from({ length: sent }, (_, n) => `${n + 1}`).filter((body) => !bodies.has(body)), []);
  await client.close();

  // Nobody is there: said at once, or after the time that was asked for.
  await registry.create({ deviceId: 'never-came' });
  for (const connectTimeoutInSeconds of [0, 1]) {
    assert.strictEqual(await outcome('never-came', { methodName: 'echo', connectTimeoutInSeconds }), 404);
  }
  await service.close();
});
