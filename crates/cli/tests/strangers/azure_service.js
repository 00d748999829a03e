// npm azure-iothub as its documentation shows it: registry, twins, methods, queries, configurations, jobs.
'use strict';

const assert = require('assert');
const { Client: Service, Registry, JobClient } = require('azure-iothub');
const { Client: Device } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { hostName, ca, owner, soon, Inbox, refused, run } = require('./hub.js');

run(async () => {
  const registry = Registry.fromConnectionString(owner);

  // devices and modules
  const { responseBody: made } = await registry.create({ deviceId: 'n1', tags: {} });
  const key = made.authentication.symmetricKey.primaryKey;
  assert.strictEqual(key.length, 44);
  await refused('DeviceAlreadyExistsError', () => registry.create({ deviceId: 'n1' }));
  await refused('DeviceNotFoundError', () => registry.get('nobody'));
  const { responseBody: changed } = await registry.update({ deviceId: 'n1', status: 'enabled', statusReason: 'because' });
  assert.strictEqual(changed.statusReason, 'because');
  assert.notStrictEqual(changed.etag, made.etag);
  assert.strictEqual(changed.authentication.symmetricKey.primaryKey, key, 'keys that nothing is said about stay');
  const { responseBody: module } = await registry.addModule({ deviceId: 'n1', moduleId: 'm-1' });
  assert.ok(module.authentication.symmetricKey.primaryKey);
  module.managedBy = 'somebody';
  const { responseBody: managed } = await registry.updateModule(module);
  assert.strictEqual(managed.managedBy, 'somebody');
  await refused('InvalidEtagError', () => registry.updateModule(module));
  const { responseBody: modules } = await registry.getModulesOnDevice('n1');
  assert.deepStrictEqual(modules.map((it) => it.moduleId), ['m-1']);
  assert.ok((await registry.list()).responseBody.some((it) => it.deviceId === 'n1'));
  const { responseBody: added } = await registry.addDevices([{ deviceId: 'n2' }, { deviceId: 'n3' }]);
  assert.strictEqual(added.isSuccessful, true);
  const { responseBody: twice } = await registry.addDevices([{ deviceId: 'n2' }]);
  assert.strictEqual(twice.isSuccessful, false);
  assert.strictEqual(twice.errors[0].errorCode, 'DeviceAlreadyExists');
  await registry.updateDevices([{ deviceId: 'n2', status: 'disabled' }], true);
  assert.strictEqual((await registry.get('n2')).responseBody.status, 'disabled');
  await registry.removeDevices([{ deviceId: 'n3' }], true);
  await refused('DeviceNotFoundError', () => registry.get('n3'));
  const { responseBody: statistics } = await registry.getRegistryStatistics();
  assert.strictEqual(statistics.disabledDeviceCount, 1);

  // twins
  const { responseBody: twin } = await registry.getTwin('n1');
  const before = twin.etag;
  await twin.update({ tags: { site: 'a' }, properties: { desired: { x: { y: 1 }, gone: 1 } } });
  assert.strictEqual(twin.properties.desired.x.y, 1);
  await registry.updateTwin('n1', { properties: { desired: { gone: null } } }, twin.etag);
  await refused('InvalidEtagError', () => registry.updateTwin('n1', { tags: { site: 'b' } }, before));
  const { responseBody: again } = await registry.getTwin('n1');
  assert.deepStrictEqual([again.properties.desired.gone, again.tags.site], [undefined, 'a']);
  const { responseBody: moduleTwin } = await registry.getModuleTwin('n1', 'm-1');
  await moduleTwin.update({ properties: { desired: { z: 2 } } });
  assert.strictEqual((await registry.getModuleTwin('n1', 'm-1')).responseBody.properties.desired.z, 2);

  // methods, with the device there and without
  const service = Service.fromConnectionString(owner);
  const call = (method) => service.invokeDeviceMethod('n1', method);
  const offline = await call({ methodName: 'm' }).catch((error) => error);
  assert.strictEqual(offline.response.statusCode, 404, offline);
  assert.match(offline.responseBody, /404103/);
  await refused('DeviceNotFoundError', () => service.invokeDeviceMethod('nobody', { methodName: 'm' }));
  const device = Device.fromConnectionString(`HostName=${hostName};DeviceId=n1;SharedAccessKey=${key}`, Mqtt);
  await device.setOptions({ ca });
  await device.open();
  device.onDeviceMethod('echo', (request, response) => response.send(201, { got: request.payload }));
  device.onDeviceMethod('silent', () => {});
  const { result } = await soon(() => call({ methodName: 'echo', payload: { a: 1 }, connectTimeoutInSeconds: 10 }), 'an answer');
  assert.deepStrictEqual(result, { status: 201, payload: { got: { a: 1 } } });
  assert.deepStrictEqual((await call({ methodName: 'echo', payload: null })).result.payload, { got: null });
  await refused('GatewayTimeoutError', () => call({ methodName: 'silent', responseTimeoutInSeconds: 5 }));

  // the twin from the device's side
  const mine = await device.getTwin();
  const patches = new Inbox();
  mine.on('properties.desired', (patch) => patches.put(patch));
  await patches.next('the desired properties there are');
  let nudges = 0;
  await soon(async () => { // until the subscription stands, patches pass it by
    await registry.updateTwin('n1', { properties: { desired: { nudge: (nudges += 1) } } }, '*');
    return patches.items.length;
  }, 'a first patch');
  await soon(() => patches.items.some((patch) => patch.nudge === nudges), 'the last of them');
  patches.items.length = 0;
  await registry.updateTwin('n1', { properties: { desired: { colour: 'red', x: null } } }, '*');
  const patch = await patches.next('a patch');
  assert.deepStrictEqual([patch.colour, patch.x], ['red', null]);
  await new Promise((done, fail) => mine.properties.reported.update({ on: true, temp: 20 }, (error) => (error ? fail(error) : done())));
  assert.strictEqual((await registry.getTwin('n1')).responseBody.properties.reported.on, true);

  // queries
  const query = registry.createQuery("SELECT * FROM devices WHERE deviceId IN ['n1', 'n2']", 1);
  const pages = [];
  while (query.hasMoreResults) pages.push((await query.nextAsTwin()).result.map((it) => it.deviceId));
  assert.deepStrictEqual(pages, [['n1'], ['n2']]);
  const counted = await registry.createQuery('SELECT status, COUNT() AS n FROM devices GROUP BY status').next();
  assert.deepStrictEqual(counted.result, [{ status: 'enabled', n: 2 }, { status: 'disabled', n: 1 }]);
  await refused('ArgumentError', () => registry.createQuery('SELECT nothing').next());

  // configurations
  await registry.addConfiguration({ id: 'c1', schemaVersion: '1.0', content: { deviceContent: { 'properties.desired.a': 1 } }, targetCondition: '*', priority: 1 });
  assert.strictEqual((await patches.next('the configuration')).a, 1); // rolled out to everybody
  const { responseBody: configuration } = await registry.getConfiguration('c1');
  configuration.priority = 2;
  assert.strictEqual((await registry.updateConfiguration(configuration)).responseBody.priority, 2);
  assert.strictEqual((await registry.getConfigurations()).responseBody.length, 1);
  await registry.removeConfiguration('c1');
  const missing = await registry.getConfiguration('c1').catch((error) => error);
  assert.strictEqual(missing.response.statusCode, 404);
  await registry.create({ deviceId: 'n4', capabilities: { iotEdge: true } });
  await registry.applyConfigurationContentOnDevice('n4', { modulesContent: { worker: { 'properties.desired': { speed: 1 } } } });
  assert.strictEqual((await registry.getModuleTwin('n4', 'worker')).responseBody.properties.desired.speed, 1);

  // jobs
  const jobs = JobClient.fromConnectionString(owner);
  const ended = (id) => soon(async () => {
    const { jobStatus } = await jobs.getJob(id);
    return jobStatus.status === 'completed' && jobStatus;
  }, `job ${id}`);
  await jobs.scheduleTwinUpdate('j1', "deviceId = 'n1'", { etag: '*', properties: { desired: { job: 1 } } }, new Date(), 60);
  assert.strictEqual((await ended('j1')).deviceJobStatistics.succeededCount, 1);
  assert.strictEqual((await patches.next('the job')).job, 1);
  await jobs.scheduleDeviceMethod('j2', "deviceId = 'n1'", { methodName: 'echo', payload: 5, responseTimeoutInSeconds: 10 }, new Date(), 60);
  await ended('j2');
  const parts = await registry.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j2'").next();
  assert.deepStrictEqual(parts.result[0].outcome.deviceMethodResponse, { status: 201, payload: { got: 5 } });
  await jobs.scheduleTwinUpdate('j3', '*', { tags: { late: 1 } }, new Date(Date.now() + 3600e3), 60);
  assert.strictEqual((await jobs.cancelJob('j3')).jobStatus.status, 'cancelled');
  const listed = await jobs.createQuery('scheduleDeviceMethod', 'completed').next();
  assert.deepStrictEqual(listed.result.map((it) => it.jobId), ['j2']);

  await device.close();
  await registry.delete('n1');
  await refused('DeviceNotFoundError', () => registry.getTwin('n1'));
});
