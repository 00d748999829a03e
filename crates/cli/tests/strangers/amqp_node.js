// azure-iot-device over AMQP as a device: telemetry, cloud-to-device, a method, the twin, being taken over.
'use strict';
const assert = require('assert');
const { Client, Message } = require('azure-iot-device');
const amqp = require('azure-iot-device-amqp');
const service = require('azure-iothub');

const ready = JSON.parse(process.env.READY);
const part = (text, name) => text.split(';').find((it) => it.startsWith(name + '=')).slice(name.length + 1);
const key = part(ready.policies.iothubowner, 'SharedAccessKey');
const host = ready.address;
const owner = `HostName=${host};SharedAccessKeyName=iothubowner;SharedAccessKey=${key}`;
const within = (promise, what) =>
  Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error(what + ' did not happen')), 20000))]);

async function main() {
  const registry = service.Registry.fromConnectionString(owner);
  const device = (await registry.create({ deviceId: 'fan' })).responseBody;
  const secret = device.authentication.symmetricKey.primaryKey;
  const Transport = process.argv[2] === 'websockets' ? amqp.AmqpWs : amqp.Amqp;
  const client = Client.fromConnectionString(`HostName=${host};DeviceId=fan;SharedAccessKey=${secret}`, Transport);
  await within(client.open(), 'opening');

  const told = new Message('{"t":1}');
  told.messageId = 'm1';
  told.contentType = 'application/json';
  told.contentEncoding = 'utf-8';
  told.properties.add('k', 'v');
  await within(client.sendEvent(told), 'telemetry');

  // Cloud-to-device: given back once, then completed; the service hears of it.
  const inbox = [];
  const completed = new Promise((yes) => client.on('message', async (message) => {
    inbox.push(message);
    if (inbox.length === 1) return client.abandon(message);
    await client.complete(message);
    yes();
  }));
  const cloud = service.Client.fromConnectionString(owner);
  await within(cloud.open(), 'opening the service side');
  const feedback = new Promise((yes) => cloud.getFeedbackReceiver((error, receiver) => {
    assert.ifError(error);
    receiver.on('message', async (message) => {
      await receiver.complete(message);
      yes(JSON.parse(message.data.toString()));
    });
  }));
  const note = new (require('azure-iot-common').Message)('turn');
  note.messageId = 'c1';
  note.ack = 'full';
  note.properties.add('speed', '3');
  await within(cloud.send('fan', note), 'sending to the device');
  await within(completed, 'the message');
  assert.strictEqual(inbox[1].getData().toString(), 'turn');
  assert.strictEqual(inbox[1].messageId, 'c1');
  assert.strictEqual(inbox[1].properties.getValue('speed'), '3');
  const records = await within(feedback, 'feedback');
  assert.strictEqual(records[0].originalMessageId, 'c1');
  assert.strictEqual(records[0].statusCode, 'Success');
  await assert.rejects(within(cloud.send('nobody', note), 'a refusal'));

  // A direct method, with a payload and with none.
  client.onDeviceMethod('echo', (request, response) => response.send(201, request.payload ?? null, () => {}));
  await new Promise((yes) => setTimeout(yes, 500)); // the link is attached in the background
  for (const payload of [{ a: 1 }, null]) {
    const call = { methodName: 'echo', payload, responseTimeoutInSeconds: 10, connectTimeoutInSeconds: 10 };
    const { result } = await within(cloud.invokeDeviceMethod('fan', call), 'the method');
    assert.strictEqual(result.status, 201);
    assert.deepStrictEqual(result.payload, payload);
  }

  // The twin, both ways.
  const twin = await within(client.getTwin(), 'the twin');
  const desired = new Promise((yes) => twin.on('properties.desired.speed', yes));
  await within(new Promise((yes, no) => twin.properties.reported.update({ speed: 1 }, (error) => error ? no(error) : yes())), 'reporting');
  const etag = (await registry.getTwin('fan')).responseBody.etag;
  const seen = (await registry.updateTwin('fan', { properties: { desired: { speed: 7 } } }, etag)).responseBody;
  assert.strictEqual(seen.properties.reported.speed, 1);
  assert.strictEqual(await within(desired, 'the desired property'), 7);

  // A second connection takes the first one's place.
  const gone = new Promise((yes) => client.on('disconnect', yes));
  client.setRetryPolicy(new (require('azure-iot-common').NoRetry)());
  const second = Client.fromConnectionString(`HostName=${host};DeviceId=fan;SharedAccessKey=${secret}`, Transport);
  await within(second.open(), 'opening again');
  await within(second.sendEvent(new Message('mine')), 'telemetry of the second');
  await within(gone, 'the end of the first');
  await second.close();

  // A wrong key is refused in so many words.
  const wrong = Client.fromConnectionString(`HostName=${host};DeviceId=fan;SharedAccessKey=d3Jvbmc=`, Transport);
  wrong.setRetryPolicy(new (require('azure-iot-common').NoRetry)());
  await assert.rejects(within(wrong.open(), 'a refusal'), (error) => /Unauthorized/i.test(error.name));
  await cloud.close();
  console.log('ok');
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
