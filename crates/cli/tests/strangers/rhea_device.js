// rhea, an AMQP client that knows nothing of IoT Hub, as a device: what IoT Hub's AMQP documentation says, by hand.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const rhea = require('rhea');
const { Registry, Client: Service } = require('azure-iothub');
const { ready, hostName, owner, Inbox, soon, run } = require('./hub.js');

const webSockets = process.argv[2] === 'websockets';
const model = 'dtmi:example:Fan;1';

function sas(resource, key, seconds) {
  const expiry = Math.floor(Date.now() / 1000) + seconds;
  const name = encodeURIComponent(resource);
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(`${name}\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=${name}&sig=${encodeURIComponent(signature)}&se=${expiry}`;
}

/** The next of these events, with what came with it. */
const once = (emitter, ...names) => new Promise((done, fail) => {
  const timer = setTimeout(() => fail(new Error(`none of ${names} came`)), 20000);
  for (const name of names) emitter.once(name, (context) => { clearTimeout(timer); done({ name, context }); });
});

async function connect(words = {}) {
  const container = rhea.create_container();
  const stranger = container.connect({
    host: ready.address, hostname: hostName, servername: '', port: ready.ports.amqps, transport: 'tls', reconnect: false,
    ...(webSockets && {
      connection_details: container.websocket_connect(require('ws'))(`wss://${ready.address}:${ready.ports.https}/$iothub/websocket`, ['AMQPWSB10'], {}),
    }),
    ...words,
  });
  const { name, context } = await once(stranger, 'connection_open', 'connection_close', 'disconnected');
  assert.strictEqual(name, 'connection_open', `${context.error}`);
  return stranger;
}

/** Puts a token; the status that comes back. */
async function claim(stranger, token, resource) {
  const answers = stranger.open_receiver({ source: '$cbs', name: rhea.generate_uuid() });
  const asks = stranger.open_sender({ target: '$cbs', name: rhea.generate_uuid() });
  await once(asks, 'sendable');
  const answer = once(answers, 'message');
  asks.send({
    message_id: rhea.generate_uuid(), reply_to: 'cbs', to: '$cbs', body: token,
    application_properties: { operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: resource },
  });
  const { message } = (await answer).context;
  answers.close();
  asks.close();
  return message.application_properties['status-code'];
}

const attach = async (link) => {
  const { name, context } = await once(link, link.is_sender() ? 'sendable' : 'receiver_open', 'sender_error', 'receiver_error');
  return name.endsWith('error') ? (context.sender || context.receiver).error : link;
};

run(async () => {
  const registry = Registry.fromConnectionString(owner);
  const { responseBody: made } = await registry.create({ deviceId: 'fan' });
  const key = made.authentication.symmetricKey.primaryKey;
  const resource = `${hostName}/devices/fan`;
  const stranger = await connect();

  // Nobody attaches before a token was put, nor with one for somebody else.
  const events = '/devices/fan/messages/events';
  const early = await attach(stranger.open_sender({ target: events }));
  assert.strictEqual(early.condition, 'amqp:unauthorized-access');
  assert.strictEqual(await claim(stranger, sas(resource, 'd3Jvbmc=', 60), resource), 401);
  assert.strictEqual(await claim(stranger, 'nonsense', resource), 400);
  assert.strictEqual(await claim(stranger, sas(resource, key, 60), resource), 200);
  await registry.create({ deviceId: 'other' });
  const foreign = await attach(stranger.open_sender({ target: '/devices/other/messages/events' }));
  assert.strictEqual(foreign.condition, 'amqp:unauthorized-access');
  const nowhere = await attach(stranger.open_sender({ target: '/no/such/address' }));
  assert.strictEqual(nowhere.condition, 'amqp:not-found');

  // Telemetry: accepted one by one, whole batches too; what is too large is rejected with the reason.
  const properties = { 'com.microsoft:client-version': 'rhea', 'com.microsoft:model-id': model };
  const telemetry = await attach(stranger.open_sender({ target: events, properties }));
  for (let n = 0; n < 500; n++) {
    if (!telemetry.sendable()) await once(telemetry, 'sendable');
    telemetry.send({ message_id: `m${n}`, content_type: 'application/json', body: rhea.message.data_section(Buffer.from(`{"n":${n}}`)) });
  }
  let accepted = 0;
  telemetry.on('accepted', () => { accepted += 1; });
  await soon(() => accepted === 500, 'every acceptance');
  const rejected = once(telemetry, 'rejected');
  telemetry.send({ body: rhea.message.data_section(Buffer.alloc(262145)) });
  const refusal = await Promise.race([rejected, once(telemetry, 'sender_error')]);
  const why = refusal.name === 'rejected' ? refusal.context.delivery.remote_state.error : refusal.context.sender.error;
  assert.strictEqual(why.condition, 'amqp:link:message-size-exceeded');
  const { responseBody: twin } = await registry.getTwin('fan');
  assert.strictEqual(twin.modelId, model);

  // Cloud-to-device: rejected, released, accepted; nothing comes without credit.
  const service = Service.fromConnectionString(owner);
  await service.open();
  const inbox = new Inbox();
  const mail = stranger.open_receiver({ source: '/devices/fan/messages/devicebound', credit_window: 0, autoaccept: false });
  mail.on('message', ({ message, delivery }) => inbox.put({ message, delivery }));
  await once(mail, 'receiver_open');
  for (const text of ['one', 'two']) await service.send('fan', text);
  await new Promise((done) => setTimeout(done, 200));
  assert.strictEqual(inbox.items.length, 0, 'there was no credit');
  mail.add_credit(1);
  const one = await inbox.next();
  one.delivery.reject({ condition: 'amqp:decode-error', description: 'not for me' });
  mail.add_credit(1);
  const two = await inbox.next();
  assert.strictEqual(two.message.body.content.toString(), 'two');
  two.delivery.release();
  mail.add_credit(1);
  const again = await inbox.next();
  assert.strictEqual(again.message.body.content.toString(), 'two');
  assert.ok(again.message.message_annotations['iothub-deliverycount'] >= 1, JSON.stringify(again.message.message_annotations));
  again.delivery.accept();
  mail.drain_credit();
  await soon(async () => (await registry.getTwin('fan')).responseBody.cloudToDeviceMessageCount === 0, 'an empty queue');

  // The twin: read, reported with a null, refused; each answer under the request's correlation id.
  const pair = { 'com.microsoft:channel-correlation-id': 'twin:1', 'com.microsoft:api-version': '2021-04-12' };
  const reads = await attach(stranger.open_receiver({ source: '/devices/fan/twin', properties: pair }));
  const writes = await attach(stranger.open_sender({ target: '/devices/fan/twin', properties: pair }));
  const ask = async (annotations, body = ' ') => {
    const answer = once(reads, 'message');
    const correlation_id = rhea.generate_uuid();
    writes.send({ correlation_id, message_annotations: annotations, body: rhea.message.data_section(Buffer.from(body)) });
    const { message } = (await answer).context;
    assert.strictEqual(`${message.correlation_id}`, correlation_id);
    const text = message.body && message.body.content.toString();
    return { status: message.message_annotations.status, body: text ? JSON.parse(text) : null };
  };
  assert.strictEqual((await ask({ operation: 'GET' })).body.desired.$version, 1);
  const report = { operation: 'PATCH', resource: '/properties/reported' };
  assert.ok([200, 204].includes((await ask(report, '{"a":{"b":1},"c":2}')).status));
  assert.ok([200, 204].includes((await ask(report, '{"a":{"b":null},"c":null}')).status));
  const { reported } = (await ask({ operation: 'GET' })).body;
  assert.deepStrictEqual([reported.a, reported.c, reported.$version], [{}, undefined, 3]);
  assert.strictEqual((await ask(report, '[1]')).status, 400);
  assert.strictEqual((await ask(report, 'no JSON')).status, 400);

  // A token put in time keeps a live connection alive; the others' time is over all the same.
  assert.strictEqual(await claim(stranger, sas(resource, key, 3600), resource), 200);
  const after = once(telemetry, 'accepted', 'sender_error', 'sender_close');
  if (!telemetry.is_open()) throw new Error('the link was closed by the refusal of one message');
  telemetry.send({ body: rhea.message.data_section(Buffer.from('renewed')) });
  assert.strictEqual((await after).name, 'accepted');

  // Whoever is disabled or deleted is told so on each link.
  for (const link of [reads, mail]) link.on('receiver_error', () => {});
  writes.on('sender_error', () => {});
  const told = once(telemetry, 'sender_error');
  await registry.update({ ...(await registry.get('fan')).responseBody, status: 'disabled' });
  assert.ok((await told).context.sender.error.description.includes('disabled'));
  await service.close();
  stranger.close();
});
