// @azure/event-hubs reads what reached upstream: from the beginning, from a place, from now on, with an owner level.
'use strict';
const assert = require('assert');
const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = require('@azure/event-hubs');
const { Registry } = require('azure-iothub');
const { Client, Message } = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');
const { ready, hostName, owner, soon, run } = require('./hub.js');

const webSockets = process.argv[2] === 'websockets';
const port = ready.ports[webSockets ? 'https' : 'amqps'];
const options = {
  customEndpointAddress: `sb://${ready.address}:${port}`,
  retryOptions: { maxRetries: 0 },
  ...(webSockets && { webSocketOptions: { webSocket: require('ws') } }),
};
const consumer = (connectionString = ready.eventHub) =>
  new EventHubConsumerClient('$Default', connectionString, options);

/** The events until `wanted` of them are there. */
async function read(wanted, partition, words) {
  const found = [];
  const reader = consumer();
  const handlers = {
    processEvents: async (events) => { found.push(...events); },
    processError: async (error) => { found.error = error; },
  };
  const subscription = partition === undefined
    ? reader.subscribe(handlers, { maxWaitTimeInSeconds: 1, ...words })
    : reader.subscribe(partition, handlers, { maxWaitTimeInSeconds: 1, ...words });
  await soon(() => { if (found.error) throw found.error; return found.length >= wanted; }, `${wanted} events`);
  await subscription.close();
  await reader.close();
  return found;
}

run(async () => {
  const registry = Registry.fromConnectionString(owner);
  const { responseBody: made } = await registry.create({ deviceId: 'thermometer' });
  const key = made.authentication.symmetricKey.primaryKey;
  const device = Client.fromConnectionString(`HostName=${hostName};DeviceId=thermometer;SharedAccessKey=${key}`, Amqp);
  await device.open();
  const send = async (n) => {
    const message = new Message(JSON.stringify({ n }));
    Object.assign(message, { messageId: `m${n}`, contentType: 'application/json', contentEncoding: 'utf-8' });
    message.properties.add('n', `${n}`);
    await device.sendEvent(message);
  };
  for (let n = 0; n < 5; n++) await send(n);

  const asking = consumer();
  assert.deepStrictEqual(await asking.getPartitionIds(), ['0', '1', '2', '3']);
  const all = await Promise.all(['0', '1', '2', '3'].map((id) => asking.getPartitionProperties(id)));
  const filled = all.filter((one) => !one.isEmpty);
  assert.strictEqual(filled.length, 1);
  assert.strictEqual(filled[0].lastEnqueuedSequenceNumber, 4);
  const partition = filled[0].partitionId;
  await assert.rejects(asking.getPartitionProperties('17'));
  await asking.close();

  const events = await read(5, undefined, { startPosition: earliestEventPosition });
  assert.deepStrictEqual(events.map((event) => event.body.n), [0, 1, 2, 3, 4]);
  const [first, , third] = events;
  assert.strictEqual(first.systemProperties['iothub-connection-device-id'], 'thermometer');
  assert.strictEqual(first.systemProperties['iothub-message-source'], 'Telemetry');
  assert.deepStrictEqual([first.properties.n, first.messageId, first.contentType], ['0', 'm0', 'application/json']);
  assert.ok(first.enqueuedTimeUtc instanceof Date);

  const numbers = async (wanted, startPosition) =>
    (await read(wanted, partition, { startPosition })).map((event) => event.sequenceNumber);
  assert.deepStrictEqual(await numbers(2, { offset: third.offset }), [3, 4]);
  assert.deepStrictEqual(await numbers(3, { sequenceNumber: 2, isInclusive: true }), [2, 3, 4]);
  assert.strictEqual((await numbers(5, { enqueuedOn: new Date(first.enqueuedTimeUtc.getTime() - 1000) }))[0], 0);

  // from now on
  const latest = consumer();
  const news = [];
  const subscription = latest.subscribe(partition, {
    processEvents: async (events) => { news.push(...events.map((event) => event.body.n)); },
    processError: async (error) => { news.push(error); },
  }, { startPosition: latestEventPosition });
  await soon(async () => { await send(99); return news.length; }, 'an event from now on');
  assert.deepStrictEqual([...new Set(news)], [99]);
  await subscription.close();
  await latest.close();

  // A reader with a higher owner level takes the partition away from one with a lower.
  const lower = consumer();
  const ends = [];
  let begun = false;
  const reading = lower.subscribe(partition, {
    processEvents: async () => { begun = true; },
    processError: async (error) => { ends.push(error); },
  }, { startPosition: earliestEventPosition, ownerLevel: 1, maxWaitTimeInSeconds: 1 });
  await soon(() => begun, 'the older reader');
  assert.ok((await read(5, partition, { startPosition: earliestEventPosition, ownerLevel: 2 })).length >= 5);
  await soon(() => ends.length, "the older reader's end");
  assert.match(`${ends[0].name} ${ends[0].code} ${ends[0].message}`, /stolen|ReceiverDisconnected/i);
  await reading.close();
  await lower.close();

  // A wrong key is told so, and not left to wait.
  const wrong = consumer(ready.eventHub.replace(/SharedAccessKey=[^;]*/, 'SharedAccessKey=d3Jvbmc='));
  await assert.rejects(wrong.getPartitionIds(), (error) => /401|unauthorized/i.test(`${error.code} ${error.message}`));
  await wrong.close();
  await device.close();
});
