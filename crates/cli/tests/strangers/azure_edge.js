// npm azure-iot-device as modules: by the runtime's environment, with its workload API, and by a connection string. The
// transport stands on the command line: mqtt or amqp, the one module in a WebSocket.
'use strict';

const assert = require('assert');
const { ModuleClient, Message } = require('azure-iot-device');
const { Client: Service } = require('azure-iothub');
const { ready, hostName, owner, Inbox, run, soon } = require('./hub.js');

const device = ready.deviceId;
const transports = {
  mqtt: () => { const { Mqtt, MqttWs } = require('azure-iot-device-mqtt'); return [Mqtt, MqttWs]; },
  amqp: () => { const { Amqp, AmqpWs } = require('azure-iot-device-amqp'); return [Amqp, AmqpWs]; },
};
const [Plain, InWebSocket] = transports[process.argv[2]]();

/** As edgeAgent starts a module. */
async function fromRuntime(name) {
  Object.assign(process.env, {
    IOTEDGE_WORKLOADURI: ready.workload,
    IOTEDGE_AUTHSCHEME: 'sasToken',
    IOTEDGE_MODULEGENERATIONID: ready.generations[name],
    IOTEDGE_IOTHUBHOSTNAME: hostName,
    IOTEDGE_GATEWAYHOSTNAME: ready.address,
    IOTEDGE_DEVICEID: device,
    IOTEDGE_MODULEID: name,
    IOTEDGE_APIVERSION: '2022-08-03',
  });
  const client = await ModuleClient.fromEnvironment(Plain);
  await client.open();
  return client;
}

/** As a developer's machine does. */
async function fromConnectionString(name) {
  process.env.EdgeHubConnectionString = ready.modules[name];
  process.env.EdgeModuleCACertificateFile = ready.ca;
  const client = await ModuleClient.fromEnvironment(InWebSocket);
  delete process.env.EdgeHubConnectionString;
  await client.open();
  return client;
}

run(async () => {
  const filter = await fromRuntime('filter');
  const sensor = await fromConnectionString('sensor');
  const inbox = new Inbox();
  filter.on('inputMessage', (input, message) => inbox.put({ input, message }));
  filter.on('error', (error) => { throw error; });
  const message = new Message('hello');
  message.properties.add('kind', 'a & b');
  await soon(async () => {
    await sensor.sendOutputEvent('temperature', message);
    return inbox.items.length;
  }, 'a message on the input');
  const got = await inbox.next();
  assert.deepStrictEqual([got.input, got.message.getData().toString()], ['temperature', 'hello']);
  assert.strictEqual(got.message.properties.getValue('kind'), 'a & b');
  await filter.complete(got.message);

  const twin = await filter.getTwin();
  assert.ok('TemperatureThreshold' in twin.properties.desired);
  await new Promise((done, fail) => twin.properties.reported.update({ up: true }, (error) => (error ? fail(error) : done())));

  filter.onMethod('ping', (request, response) => response.send(200, { got: request.payload }));
  const service = Service.fromConnectionString(owner);
  const params = { methodName: 'ping', payload: 7, connectTimeoutInSeconds: 10, responseTimeoutInSeconds: 10 };
  const answer = await service.invokeDeviceMethod(device, 'filter', params);
  assert.deepStrictEqual(answer.result, { status: 200, payload: { got: 7 } });
  const inside = await sensor.invokeMethod(device, 'filter', params);
  assert.deepStrictEqual([inside.status, inside.payload], [200, { got: 7 }]);
  await filter.close();
  await sensor.close();
});
