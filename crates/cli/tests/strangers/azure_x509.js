// Certificates instead of keys: npm azure-iot-device by thumbprint and by authority, over every way it has.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const assert = require('assert');
const { NoRetry } = require('azure-iot-common');
const { Registry } = require('azure-iothub');
const { Client, Message } = require('azure-iot-device');
const { hostName, ca, owner, run, refused } = require('./hub.js');

const folder = process.env.CERTIFICATES;
const pair = (name) => ({ cert: fs.readFileSync(`${folder}/${name}.pem`, 'ascii'), key: fs.readFileSync(`${folder}/${name}.key`, 'ascii') });
const thumbprint = (name) => new crypto.X509Certificate(pair(name).cert).fingerprint.replaceAll(':', '');

async function client(deviceId, name, transport) {
  const made = Client.fromConnectionString(`HostName=${hostName};DeviceId=${deviceId};x509=true`, transport);
  // (over HTTP this SDK never says that it has taken the options; without `ca` it takes them at once)
  if (transport.name === 'Http') made.setOptions(pair(name));
  else await made.setOptions({ ...pair(name), ca });
  return made;
}

run(async () => {
  const registry = Registry.fromConnectionString(owner);
  const x509Thumbprint = { primaryThumbprint: thumbprint('self') };
  await registry.create({ deviceId: 'self', authentication: { type: 'selfSigned', x509Thumbprint } });
  await registry.create({ deviceId: 'by-ca', authentication: { type: 'certificateAuthority' } });
  const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
  const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
  const { Http } = require('azure-iot-device-http');
  for (const name of ['self', 'by-ca']) {
    for (const transport of [Mqtt, MqttWs, Amqp, AmqpWs, Http]) {
      const device = await client(name, name, transport);
      await device.open();
      await device.sendEvent(new Message(`${name} ${transport.name}`));
      await device.close();
    }
  }
  assert.strictEqual((await registry.get('self')).responseBody.authentication.type, 'selfSigned');
  for (const transport of [Mqtt, Amqp]) {
    await refused('UnauthorizedError', async () => {
      const device = await client('self', 'other', transport);
      device.setRetryPolicy(new NoRetry());
      await device.open(); // (over AMQP nobody has said yet which device this is)
      await device.sendEvent(new Message('x'));
    });
  }
});
